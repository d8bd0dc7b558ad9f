"""Certified metrics: arrays in, numbers out.

Every function takes radii and labels as plain arrays, so it serves certificates from anywhere.
``eps`` is the attack radius, in the units of the radii: one number gives a float, a sequence of
numbers an array of that length. An example counts as robust only where its radius is *strictly*
greater than eps; a nan radius or an abstention is never robust and never correct.

References
----------
.. [Xin25] Xin, Chen, Backes, Zhang. Provably Cost-Sensitive Adversarial Defense via Randomized
   Smoothing. ICML 2025.
.. [Xin23] Its first version, Provably Robust Cost-Sensitive Learning via Randomized Smoothing,
   arXiv:2310.08732v1.
.. [ZE19] Zhang, Evans. Cost-Sensitive Robustness against Adversarial Examples. ICLR 2019.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar

from smoothcs._labels import label_array
from smoothcs._validation import check_probability, check_real
from smoothcs.cost import CostMatrix, as_cost_matrix

__all__ = [
    "abstention_rate",
    "bill",
    "certified_accuracy",
    "clean_error_matrix",
    "constant_accuracy",
    "constant_bills",
    "misclassification_cost",
    "precision_recall",
    "rob_cost",
    "rob_cs",
    "rob_standard_nonsensitive",
    "robust_error_matrix",
    "savings",
    "worst_answer",
    "worst_cost",
]

# The least attack: what holds for it is certified at all.
LEAST = float(np.nextafter(0.0, 1.0))


def rob_cs(
    y: ArrayLike,
    radius: ArrayLike,
    *,
    cost_matrix: Any,
    eps: ArrayLike,
    sample_weight: ArrayLike | None = None,
) -> Any:
    """Certified cost-sensitive robustness: the share of sensitive examples with radius > eps.

    Mean over the examples of sensitive classes of 1{radius > eps}, [Xin25] Section 6 with the
    group radius.

    Parameters
    ----------
    y : array-like of shape (n,)
        True labels (or class indices, see :meth:`~smoothcs.cost.CostMatrix.encode`).
    radius : array-like of shape (n,)
        Group radii, 0 where the prediction is costly or abstained. Standard radii in their place
        give "Rob_c-s (std)" of [Xin23] Tables 1 and 2, if they too are 0 there: by itself a
        standard radius only says that the prediction is stable, be it a costly one.
    cost_matrix : CostMatrix or array of shape (m, m)
    eps : float >= 0 or array-like of shape (k,)
    sample_weight : array-like of shape (n,), default=None
        Weights >= 0 of the mean over examples; None: all equal.

    Returns
    -------
    float or ndarray of shape (k,)
        nan, with a UserWarning, where no example is of a sensitive class.

    Raises
    ------
    ValueError
        If lengths differ, eps is negative or not finite, or `y` holds an unknown label.

    Examples
    --------
    >>> from smoothcs.metrics import rob_cs
    >>> C = [[0, 0], [10, 0]]  # only class 1 is sensitive
    >>> rob_cs([0, 1, 1], [0.9, 0.2, 0.6], cost_matrix=C, eps=[0.1, 0.2, 0.6])
    array([1. , 0.5, 0. ])
    """
    cost = as_cost_matrix(cost_matrix)
    sensitive = cost.sensitive_mask(y)
    radii = _real_array("radius", radius, (len(sensitive),))
    weight = _weights(sample_weight, sensitive, "rob_cs", "is of a sensitive class")
    return _share_beyond(radii, weight, eps)


def rob_standard_nonsensitive(
    y: ArrayLike,
    label: ArrayLike,
    radius_standard: ArrayLike,
    *,
    cost_matrix: Any,
    eps: ArrayLike,
    abstained: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> Any:
    """Certified accuracy of the examples whose mistakes cost nothing.

    Mean over the examples of non-sensitive classes of 1{label = y and radius_standard > eps},
    "Rob_non (std)" in [Xin23] Tables 1 and 2: what a cost-sensitive method gives up.

    Parameters
    ----------
    y : array-like of shape (n,)
        True labels.
    label : array-like of shape (n,)
        Predicted labels, of the same kind as `y`.
    radius_standard : array-like of shape (n,)
    cost_matrix : CostMatrix or array of shape (m, m)
    eps : float >= 0 or array-like of shape (k,)
    abstained : array-like of shape (n,), bool, default=None
        None: no example.
    sample_weight : array-like of shape (n,), default=None
        Weights >= 0 of the mean over examples; None: all equal.

    Returns
    -------
    float or ndarray of shape (k,)
        nan, with a UserWarning, where every example is of a sensitive class.

    Raises
    ------
    ValueError
        If lengths differ, eps is negative or not finite, or `y` holds an unknown label.

    Examples
    --------
    >>> from smoothcs.metrics import rob_standard_nonsensitive
    >>> C = [[0, 0], [10, 0]]
    >>> rob_standard_nonsensitive([0, 0, 1], [0, 1, 1], [0.9, 0.4, 0.6], cost_matrix=C, eps=0.1)
    0.5
    """
    insensitive = ~as_cost_matrix(cost_matrix).sensitive_mask(y)
    radii = _radius_where_correct(y, label, radius_standard, abstained)
    _check_length("label", len(radii), len(insensitive))
    name = "rob_standard_nonsensitive"
    weight = _weights(sample_weight, insensitive, name, "is of a non-sensitive class")
    return _share_beyond(radii, weight, eps)


def rob_cost(
    y: ArrayLike,
    radius_pair: ArrayLike,
    *,
    cost_matrix: Any,
    eps: ArrayLike,
    sample_weight: ArrayLike | None = None,
) -> Any:
    """Certified robust cost: the mean cost of the mistakes that are not ruled out within eps.

    Mean over the examples of sensitive classes of the sum over j in Omega_y of
    C[y, j] 1{radius_pair[j] <= eps}, [Xin25] Definition 4.3 (Eq. 3.1 of [ZE19]). Smaller is
    better.

    Parameters
    ----------
    y : array-like of shape (n,)
        True labels (or class indices).
    radius_pair : array-like of shape (n, m)
        Pair radii; 0 where the prediction is costly or abstained. Only the sensitive targets of
        an example are read; nan there counts as not certified.
    cost_matrix : CostMatrix or array of shape (m, m)
    eps : float >= 0 or array-like of shape (k,)
    sample_weight : array-like of shape (n,), default=None
        Weights >= 0 of the mean over examples; None: all equal.

    Returns
    -------
    float or ndarray of shape (k,)
        In units of the cost matrix; nan, with a UserWarning, where no example is of a sensitive
        class.

    Raises
    ------
    ValueError
        If shapes differ, eps is negative or not finite, or `y` holds an unknown label.

    Examples
    --------
    >>> import numpy as np
    >>> from smoothcs.metrics import rob_cost
    >>> C = [[0, 1, 5], [0, 0, 0], [0, 0, 0]]
    >>> radius_pair = [[np.nan, 0.4, 0.8], [np.nan, 0.1, 0.2]]
    >>> rob_cost([0, 0], radius_pair, cost_matrix=C, eps=[0, 0.2, 0.5])
    array([0. , 3. , 3.5])
    """
    radii = _real_array("radius_pair", radius_pair, (None, None))
    cost = as_cost_matrix(cost_matrix, n_classes=radii.shape[1])
    codes = cost.encode(y)
    _check_length("radius_pair", len(radii), len(codes))
    sensitive = cost.sensitive_mask(y)
    weight = _weights(sample_weight, sensitive, "rob_cost", "is of a sensitive class")
    chosen = weight > 0
    costs = cost.matrix[codes[chosen]] * weight[chosen, None]
    radii, total = radii[chosen], weight.sum()

    def mean_cost(at: float) -> float:
        # ~(r > eps), not (r <= eps): nan must pay.
        return float(costs[~(radii > at)].sum() / total) if total > 0 else np.nan

    return _over_eps(mean_cost, eps)


def certified_accuracy(
    y: ArrayLike,
    label: ArrayLike,
    radius_standard: ArrayLike,
    *,
    eps: ArrayLike,
    abstained: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> Any:
    """The share of examples that are certified to be classified correctly within eps.

    Mean of 1{label = y and radius_standard > eps}; at eps = 0 the "Acc" of [Xin25] Section 6.

    Parameters
    ----------
    y : array-like of shape (n,)
        True labels.
    label : array-like of shape (n,)
        Predicted labels, of the same kind as `y`.
    radius_standard : array-like of shape (n,)
    eps : float >= 0 or array-like of shape (k,)
    abstained : array-like of shape (n,), bool, default=None
        None: no example.
    sample_weight : array-like of shape (n,), default=None
        Weights >= 0 of the mean over examples; None: all equal.

    Returns
    -------
    float or ndarray of shape (k,)

    Raises
    ------
    ValueError
        If lengths differ, or eps is negative or not finite.
    TypeError
        If `y` and `label` are of different kinds, as strings and numbers.

    Examples
    --------
    >>> from smoothcs.metrics import certified_accuracy
    >>> certified_accuracy([0, 1, 1, 0], [0, 1, 0, 0], [0.5, 0.2, 0.9, 0.0], eps=[0, 0.3])
    array([0.5 , 0.25])
    """
    radii = _radius_where_correct(y, label, radius_standard, abstained)
    everyone = np.ones(len(radii), dtype=bool)
    weight = _weights(sample_weight, everyone, "certified_accuracy", "was given")
    return _share_beyond(radii, weight, eps)


def abstention_rate(abstained: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
    """The share of examples on which the classifier gives no answer.

    Parameters
    ----------
    abstained : array-like of shape (n,), bool
    sample_weight : array-like of shape (n,), default=None
        Weights >= 0 of the mean over examples; None: all equal.

    Returns
    -------
    float
        nan, with a UserWarning, for no example.

    Raises
    ------
    TypeError
        If `abstained` is not boolean.

    Examples
    --------
    >>> from smoothcs.metrics import abstention_rate
    >>> abstention_rate([True, False, False, False])
    0.25
    """
    mask = _bool_array("abstained", abstained, None)
    return _mean(mask, _weights(sample_weight, np.ones_like(mask), "abstention_rate", "was given"))


def misclassification_cost(
    y: ArrayLike,
    label: ArrayLike,
    *,
    cost_matrix: Any,
    abstained: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Mean cost C[y, label] of the predictions, without any attack ([ZE19] Appendix B).

    An abstention pays the largest cost of its row: it is never cheaper than an answer.

    Parameters
    ----------
    y : array-like of shape (n,)
        True labels (or class indices).
    label : array-like of shape (n,)
        Predicted labels (or class indices); ignored where `abstained`.
    cost_matrix : CostMatrix or array of shape (m, m)
    abstained : array-like of shape (n,), bool, default=None
        None: no example.
    sample_weight : array-like of shape (n,), default=None
        Weights >= 0 of the mean over examples; None: all equal.

    Returns
    -------
    float
        In units of the cost matrix; nan, with a UserWarning, for no example.

    Raises
    ------
    ValueError
        If lengths differ, or `y` or `label` holds an unknown label.

    Examples
    --------
    >>> from smoothcs.metrics import misclassification_cost
    >>> misclassification_cost([0, 1, 1, 1], [1, 0, 1, 1], cost_matrix=[[0, 1], [10, 0]])
    2.75
    """
    cost = as_cost_matrix(cost_matrix)
    codes = cost.encode(y)
    mask = _bool_array("abstained", abstained, len(codes))
    answers, predicted = _predicted(cost, label, mask)
    paid = cost.matrix[codes].max(axis=1)
    paid[answers] = cost.matrix[codes[answers], predicted]
    everyone = np.ones(len(paid), dtype=bool)
    return _mean(paid, _weights(sample_weight, everyone, "misclassification_cost", "was given"))


def precision_recall(
    y: ArrayLike,
    label: ArrayLike,
    *,
    positive: Any,
    abstained: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> tuple[float, float]:
    """Precision and recall of the classifier for one class.

    Precision is the share of the predictions of `positive` that are right, recall the share of
    the examples of `positive` that are found. An abstention is never a hit; an abstained example
    whose `label` is `positive` still counts as a prediction, so that abstaining raises neither.

    Parameters
    ----------
    y : array-like of shape (n,)
        True labels.
    label : array-like of shape (n,)
        Predicted labels, of the same kind as `y`.
    positive : label
        The class of interest.
    abstained : array-like of shape (n,), bool, default=None
        None: no example.
    sample_weight : array-like of shape (n,), default=None
        Weights >= 0 by which examples are counted; None: all equal.

    Returns
    -------
    precision, recall : float
        nan where `positive` was never predicted, or never occurs.

    Raises
    ------
    ValueError
        If lengths differ.
    TypeError
        If `y`, `label` and `positive` are of different kinds, as strings and numbers.

    Examples
    --------
    >>> from smoothcs.metrics import precision_recall
    >>> precision_recall([1, 1, 1, 1, 0], [1, 0, 0, 0, 1], positive=1)
    (0.5, 0.25)
    """
    truth, predicted, mask = _outcomes(y, label, abstained)
    wanted = label_array("positive", [positive])
    _check_same_kind("positive", wanted, "y", truth)
    is_positive, called_positive = truth == wanted[0], predicted == wanted[0]
    weight = _checked_weights(sample_weight, len(truth))
    hits = weight[is_positive & called_positive & ~mask].sum()
    n_called, n_positive = weight[called_positive].sum(), weight[is_positive].sum()
    return (
        float(hits / n_called) if n_called else np.nan,
        float(hits / n_positive) if n_positive else np.nan,
    )


def clean_error_matrix(
    y: ArrayLike,
    label: ArrayLike,
    *,
    classes: ArrayLike,
    abstained: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """How often each class is called each other one, without attack ([Xin25] Figure 6).

    Parameters
    ----------
    y : array-like of shape (n,)
        True labels.
    label : array-like of shape (n,)
        Predicted labels; ignored where `abstained`.
    classes : array-like of shape (m,)
        Labels of rows and columns, in order.
    abstained : array-like of shape (n,), bool, default=None
        None: no example.
    sample_weight : array-like of shape (n,), default=None
        Weights >= 0 by which examples are counted; None: all equal.

    Returns
    -------
    ndarray of shape (m, m)
        Entry [i, j] is the share of the examples of class i that are called j. An abstention
        rules out no mistake: it counts in every column, so that a row may sum to more than 1.
        nan on the diagonal, for a class is no mistake of itself, and in the row of a class
        without examples.

    Raises
    ------
    ValueError
        If lengths differ, or `y` or `label` holds a label that is none of `classes`.

    Examples
    --------
    >>> from smoothcs.metrics import clean_error_matrix
    >>> clean_error_matrix(["a", "a", "b"], ["a", "b", "b"], classes=["a", "b"])
    array([[nan, 0.5],
           [0. , nan]])
    """
    cost = CostMatrix.uniform(classes=classes)
    codes = cost.encode(y)
    mask = _bool_array("abstained", abstained, len(codes))
    answers, predicted = _predicted(cost, label, mask)
    called = np.ones((len(codes), cost.n_classes), dtype=bool)
    called[answers] = np.eye(cost.n_classes, dtype=bool)[predicted]
    return _mean_by_seed(called, codes, _checked_weights(sample_weight, len(codes)))


def robust_error_matrix(
    y: ArrayLike,
    radius_pair: ArrayLike,
    *,
    classes: ArrayLike,
    eps: ArrayLike,
    sample_weight: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """How often each class is *not* certified against each other one at eps.

    The heat maps of [Xin25] Figure 6 and [ZE19] Figure 1b.

    Parameters
    ----------
    y : array-like of shape (n,)
        True labels.
    radius_pair : array-like of shape (n, m)
        Pair radii; nan counts as not certified.
    classes : array-like of shape (m,)
        Labels of rows and columns, in order.
    eps : float >= 0 or array-like of shape (k,)
    sample_weight : array-like of shape (n,), default=None
        Weights >= 0 by which examples are counted; None: all equal.

    Returns
    -------
    ndarray of shape (m, m) or (k, m, m)
        Entry [i, j] is the share of the examples of class i whose pair radius against j is not
        greater than eps. nan on the diagonal, in the row of a class without examples, and where
        all radii of a pair are nan: it was not certified (j is no sensitive target of i).

    Raises
    ------
    ValueError
        If shapes differ, eps is negative or not finite, or `y` holds a label that is none of
        `classes`.

    Examples
    --------
    >>> import numpy as np
    >>> from smoothcs.metrics import robust_error_matrix
    >>> radius_pair = [[np.nan, 0.3], [np.nan, 0.7], [0.2, np.nan]]
    >>> robust_error_matrix([0, 0, 1], radius_pair, classes=[0, 1], eps=0.5)
    array([[nan, 0.5],
           [1. , nan]])
    """
    cost = CostMatrix.uniform(classes=classes)
    codes = cost.encode(y)
    radii = _real_array("radius_pair", radius_pair, (len(codes), cost.n_classes))
    asked = np.zeros((cost.n_classes, cost.n_classes), dtype=bool)
    weight = _checked_weights(sample_weight, len(codes))
    np.logical_or.at(asked, codes, ~np.isnan(radii) & (weight > 0)[:, None])

    def matrix_at(at: float) -> NDArray[np.float64]:
        return np.where(asked, _mean_by_seed(~(radii > at), codes, weight), np.nan)

    matrices: NDArray[np.float64] = _over_eps(matrix_at, eps)
    return matrices


# -- money ------------------------------------------------------------------------------------


def worst_cost(
    y: ArrayLike,
    label: ArrayLike,
    radius_pair: ArrayLike,
    *,
    cost_matrix: Any,
    eps: ArrayLike,
    costs: ArrayLike | None = None,
    abstained: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """What each example may cost at worst under an attack within eps.

    The largest of the prices of the label and of every class that is not certified out at eps:
    a class is out where its pair radius is > eps. At eps = 0 there is no attack, and the price of
    the label is paid. An abstention pays the largest price of its row, whatever eps is.

    Parameters
    ----------
    y : array-like of shape (n,)
        True labels (or class indices).
    label : array-like of shape (n,)
        Predicted labels (or class indices); ignored where `abstained`.
    radius_pair : array-like of shape (n, m)
        Pair radii that hold together for an example; nan (a class without a radius) is never out.
    cost_matrix : CostMatrix or array of shape (m, m)
        Names the classes, and gives the prices where `costs` is None.
    eps : float >= 0 or array-like of shape (k,)
    costs : array-like of shape (n, m, m), default=None
        Costs of each example, ``costs[i, y, k]`` of calling a y a k, >= 0; the diagonal too may
        cost something.
    abstained : array-like of shape (n,), bool, default=None
        None: no example.

    Returns
    -------
    ndarray of shape (n,) or (k, n)
        In units of the costs.

    Raises
    ------
    ValueError
        If shapes differ, costs are negative or not finite, eps is negative or not finite, or `y` or
        `label` holds an unknown label.

    See Also
    --------
    smoothcs.example_costs : costs of each example, for two classes.

    Examples
    --------
    Of two defaulted loans one is found, and certified to be found within .4:

    >>> from smoothcs import example_costs
    >>> from smoothcs.metrics import worst_cost
    >>> costs = example_costs(false_positive=5, false_negative=[90, 40], classes=[0, 1], positive=1)
    >>> radius_pair = [[0.4, float("nan")], [0.0, float("nan")]]
    >>> worst_cost([1, 1], [1, 0], radius_pair, cost_matrix=None, eps=[0, 0.5], costs=costs)
    array([[ 0., 40.],
           [90., 40.]])
    """
    radii, _, prices, called = _priced(y, label, radius_pair, cost_matrix, costs, abstained)

    def worst(at: float) -> NDArray[np.float64]:
        return _at_column(prices, _dearest(radii, prices, called, at))

    costs_at: NDArray[np.float64] = _over_eps(worst, eps)
    return costs_at


def worst_answer(
    y: ArrayLike,
    label: ArrayLike,
    radius_pair: ArrayLike,
    *,
    cost_matrix: Any,
    eps: float,
    costs: ArrayLike | None = None,
    abstained: ArrayLike | None = None,
) -> NDArray[np.intp]:
    """Index of the answer that :func:`worst_cost` is the price of; the label at a tie."""
    radii, _, prices, called = _priced(y, label, radius_pair, cost_matrix, costs, abstained)
    return _dearest(radii, prices, called, eps)


def bill(
    y: ArrayLike,
    label: ArrayLike,
    radius_pair: ArrayLike,
    *,
    cost_matrix: Any,
    eps: ArrayLike,
    costs: ArrayLike | None = None,
    abstained: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    confidence: float | None = None,
    alpha: float | None = None,
    noise_groups: ArrayLike | None = None,
) -> Any:
    """The sum of the worst costs of all examples under attacks within eps.

    At eps = 0 it is the clean bill: what the labels cost.

    Parameters
    ----------
    y, label, radius_pair, cost_matrix, eps, costs, abstained
        As in :func:`worst_cost`.
    sample_weight : array-like of shape (n,), default=None
        How often each example counts, >= 0; None: once.
    confidence : float, default=None
        If given, what is returned is a limit that the true worst-case bill of the smoothed
        classifier exceeds with probability at most 1 - `confidence` over the votes: the bill plus
        what certificates that fail may cost. At eps = 0 the classes that no radius > 0 rules out
        then count, too: the label may not be the answer of the smoothed classifier.
    alpha : float, default=None
        Probability that the claims about an example fail, in [0, 1). Needed with `confidence`.
    noise_groups : array-like of shape (n,), default=None
        Equal entries for examples that share their noise, as identical inputs do; certificates of
        different groups are independent. None: nothing is known, and the limit, which is wider,
        holds however they depend on each other.

    Returns
    -------
    float or ndarray of shape (k,)
        In units of the costs. All limits at eps > 0 hold together.

    Raises
    ------
    ValueError
        As for :func:`worst_cost`, or if `confidence` comes without `alpha`.

    Notes
    -----
    An example whose claims fail costs at most the largest price of its row, so the true bill
    exceeds ``bill`` by at most the sum of ``terms[i] = max_i - price of label_i`` over the examples
    that fail, each with probability <= alpha. That sum is bounded by Chernoff's inequality, terms
    of a group being added first, or by Markov's inequality, whichever is less. The terms must not
    depend on the votes that certify: in particular, an example that was not certified has its term
    too (see "The certified bill" in the theory of certificates).

    Examples
    --------
    >>> from smoothcs.metrics import bill
    >>> C = [[0, 1], [10, 0]]
    >>> radius_pair = [[0.4, float("nan")], [float("nan"), 0.7]]
    >>> bill([1, 0], [1, 0], radius_pair, cost_matrix=C, eps=[0.3, 0.5])
    array([ 0., 10.])
    >>> bill([1, 0], [1, 0], radius_pair, cost_matrix=C, eps=0.3, confidence=0.95, alpha=0.01)
    0.0
    """
    radii, codes, prices, called = _priced(y, label, radius_pair, cost_matrix, costs, abstained)
    weight = _checked_weights(sample_weight, len(codes))

    def known(at: float) -> float:
        return float(weight @ _at_column(prices, _dearest(radii, prices, called, at)))

    if confidence is None:
        return _over_eps(known, eps)
    check_probability("confidence", confidence)
    if alpha is None:
        raise ValueError("confidence needs alpha, the probability that claims about an input fail.")
    check_real("alpha", alpha, low=0.0, high=1.0, high_open=True)
    if noise_groups is not None:
        noise_groups = label_array("noise_groups", noise_groups)
        _check_length("noise_groups", len(noise_groups), len(codes))
    most = prices.max(axis=1)
    # Which inputs abstain depends on the votes that certify: their terms are the largest possible.
    least = _at_column(prices, called)
    if abstained is not None:
        least = np.where(np.asarray(abstained, dtype=bool), prices.min(axis=1), least)
    excess = _excess(weight * (most - least), alpha, 1.0 - confidence, noise_groups)

    return _over_eps(lambda at: min(known(max(at, LEAST)) + excess, float(weight @ most)), eps)


def savings(
    y: ArrayLike,
    label: ArrayLike,
    radius_pair: ArrayLike,
    *,
    cost_matrix: Any,
    eps: ArrayLike,
    costs: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    **options: Any,
) -> Any:
    """The share of the cheapest constant answer's bill that is saved, even under attack.

    1 - :func:`bill` / :func:`constant_bills`.min(): 1 if nothing is paid, 0 if the classifier is
    worth no more than always giving the same answer, negative if it is worth less.

    Parameters
    ----------
    y, label, radius_pair, cost_matrix, eps, costs, sample_weight
        As in :func:`bill`.
    **options
        ``abstained``, ``confidence``, ``alpha`` and ``noise_groups`` of :func:`bill`; with
        ``confidence``, a lower limit of the savings.

    Returns
    -------
    float or ndarray of shape (k,)
        nan, with a UserWarning, where some constant answer costs nothing.

    Raises
    ------
    ValueError
        As for :func:`bill`.

    Examples
    --------
    >>> from smoothcs.metrics import savings
    >>> C = [[0, 1], [10, 0]]
    >>> radius_pair = [[0.4, float("nan")], [float("nan"), 0.7], [float("nan"), 0.0]]
    >>> savings([1, 0, 0], [1, 0, 1], radius_pair, cost_matrix=C, eps=0.3)
    0.5
    """
    paid = bill(
        y,
        label,
        radius_pair,
        cost_matrix=cost_matrix,
        eps=eps,
        costs=costs,
        sample_weight=sample_weight,
        **options,
    )
    constant = constant_bills(
        y, cost_matrix=cost_matrix, costs=costs, sample_weight=sample_weight
    ).min()
    if not constant > 0:
        warnings.warn(
            "savings is nan: some constant answer costs nothing, so there is nothing to save.",
            UserWarning,
            stacklevel=2,
        )
        return paid * np.nan
    return 1.0 - paid / float(constant)


def constant_bills(
    y: ArrayLike,
    *,
    cost_matrix: Any,
    costs: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """What it would cost to give every example the same answer, for each answer.

    Parameters
    ----------
    y, cost_matrix, costs, sample_weight
        As in :func:`bill`.

    Returns
    -------
    ndarray of shape (m,)

    Examples
    --------
    >>> from smoothcs.metrics import constant_bills
    >>> constant_bills([0, 0, 1], cost_matrix=[[0, 1], [10, 0]])
    array([10.,  2.])
    """
    codes, prices = _prices(y, cost_matrix, costs)
    bills: NDArray[np.float64] = _checked_weights(sample_weight, len(codes)) @ prices
    return bills


def constant_accuracy(
    y: ArrayLike, *, cost_matrix: Any, sample_weight: ArrayLike | None = None
) -> float:
    """The accuracy of the best constant answer: the share of the commonest class.

    Parameters
    ----------
    y : array-like of shape (n,)
        True labels (or class indices).
    cost_matrix : CostMatrix or array of shape (m, m)
        Names the classes.
    sample_weight : array-like of shape (n,), default=None
        Weights >= 0 of the examples; None: all equal.

    Returns
    -------
    float

    Examples
    --------
    >>> from smoothcs.metrics import constant_accuracy
    >>> constant_accuracy([0, 1, 1, 1], cost_matrix=[[0, 1], [10, 0]])
    0.75
    """
    codes = as_cost_matrix(cost_matrix).encode(y)
    weight = _checked_weights(sample_weight, len(codes))
    return float(np.bincount(codes, weight).max() / weight.sum())


def _prices(
    y: ArrayLike, cost_matrix: Any, costs: ArrayLike | None, n_classes: int | None = None
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """True class indices, and the row of costs of each example (n, m)."""
    if costs is None:
        cost = as_cost_matrix(cost_matrix, n_classes=n_classes)
        codes = cost.encode(y)
        return codes, cost.matrix[codes]
    array = np.asarray(costs)
    if array.ndim == 3 and n_classes is None:
        n_classes = array.shape[1]
    codes = as_cost_matrix(cost_matrix, n_classes=n_classes).encode(y)
    array = _real_array("costs", array, (len(codes), n_classes, n_classes))
    prices = array[np.arange(len(codes)), codes]
    bad = ~(np.isfinite(prices) & (prices >= 0))
    if bad.any():
        i, k = np.argwhere(bad)[0]
        raise ValueError(
            f"costs must be finite and >= 0; costs[{i}, {codes[i]}, {k}] is {prices[i, k]:g}."
        )
    return codes, prices


def _priced(
    y: ArrayLike,
    label: ArrayLike,
    radius_pair: ArrayLike,
    cost_matrix: Any,
    costs: ArrayLike | None,
    abstained: ArrayLike | None,
) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.float64], NDArray[np.intp]]:
    """Radii, true classes, rows of prices, and labels; an abstention gives the dearest answer."""
    radii = _real_array("radius_pair", radius_pair, (None, None))
    m = radii.shape[1]
    codes, prices = _prices(y, cost_matrix, costs, m)
    _check_length("radius_pair", len(radii), len(codes))
    answers, predicted = _predicted(
        as_cost_matrix(cost_matrix, n_classes=m),
        label,
        _bool_array("abstained", abstained, len(codes)),
    )
    called = prices.argmax(axis=1)
    called[answers] = predicted
    return radii, codes, prices, called


def _dearest(
    radii: NDArray[np.float64],
    prices: NDArray[np.float64],
    called: NDArray[np.intp],
    at: float,
) -> NDArray[np.intp]:
    """The dearest answer that is not ruled out within `at`; the label at a tie or at 0."""
    if at == 0:
        return called
    # ~(r > eps), not (r <= eps): nan must pay.
    open_prices = np.where(~(radii > at), prices, 0.0)
    dearer = open_prices.max(axis=1) > _at_column(prices, called)
    return np.where(dearer, open_prices.argmax(axis=1), called)


def _at_column(rows: NDArray[np.float64], column: NDArray[np.intp]) -> NDArray[np.float64]:
    return np.take_along_axis(rows, column[:, None], axis=1)[:, 0]


def _excess(
    terms: NDArray[np.float64], alpha: float, level: float, groups: NDArray[Any] | None
) -> float:
    """What sum_i terms_i F_i exceeds with probability <= level, if P[F_i = 1] <= alpha.

    F_i of different `groups` are independent; None: they may depend on each other in any way.
    Adding the terms of independent F_i never makes the bound smaller, so groups may be too coarse.
    """
    if alpha * np.count_nonzero(terms) <= level:
        return 0.0  # no F_i is 1
    bounds = [alpha * terms.sum() / level]  # Markov
    if groups is not None:
        together = np.bincount(np.unique(groups, return_inverse=True)[1], terms)
        unit = together.max()
        together = together[together > 0] / unit
        stays, fails = np.log1p(-alpha), np.log(alpha)

        def chernoff(log_rate: float) -> float:
            rate = np.exp(log_rate)
            log_moment = np.logaddexp(stays, fails + rate * together).sum()
            return float((log_moment - np.log(level)) / rate)

        # Every rate gives a bound; the search only looks for a small one.
        best = minimize_scalar(chernoff, bounds=(-12.0, 12.0), method="bounded")
        bounds.append(unit * chernoff(best.x))
    return float(min(bounds)) * (1.0 + 1e-9)  # rounding


# -- shared steps -----------------------------------------------------------------------------


def _over_eps(metric: Callable[[float], Any], eps: ArrayLike) -> Any:
    """``metric(eps)`` for one eps, or an array over all of them."""
    array = np.asarray(eps)
    if array.dtype.kind not in "iuf" and array.size:
        raise TypeError(f"eps must be a number or a 1-D array of numbers; got {eps!r}.")
    if array.ndim > 1:
        raise ValueError(f"eps must be a number or 1-D; got shape {array.shape}.")
    values = np.atleast_1d(array).astype(np.float64)
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        raise ValueError(f"eps must be finite and >= 0; got {values[bad][0]:g}.")
    if array.ndim == 0:
        return metric(values.item())
    return np.asarray([metric(value) for value in values.tolist()], dtype=np.float64)


def _share_beyond(radii: NDArray[np.float64], weight: NDArray[np.float64], eps: ArrayLike) -> Any:
    """The weighted share of the examples whose radius exceeds eps."""
    total = weight.sum()

    def share(at: float) -> float:
        # nan > eps is False: a nan radius certifies nothing.
        return float(weight[radii > at].sum() / total) if total > 0 else np.nan

    return _over_eps(share, eps)


def _weights(
    sample_weight: ArrayLike | None, among: NDArray[np.bool_], name: str, who: str
) -> NDArray[np.float64]:
    """The weight of every example: `sample_weight`, but 0 outside of `among`."""
    weight = np.where(among, _checked_weights(sample_weight, len(among)), 0.0)
    if not (weight > 0).any():
        weighted = "" if sample_weight is None else " with a positive weight"
        warnings.warn(f"{name} is nan: no example{weighted} {who}.", UserWarning, stacklevel=3)
        return weight
    return weight / weight.max()  # the sum of huge weights would overflow


def _mean(values: NDArray[Any], weight: NDArray[np.float64]) -> float:
    """The weighted mean; nan where nothing counts."""
    return float(weight @ values / weight.sum()) if weight.any() else np.nan


def _mean_by_seed(
    errors: NDArray[np.bool_], codes: NDArray[np.intp], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Column means of `errors` (n, m) over the examples of each class: (m, m), diagonal nan."""
    m = errors.shape[1]
    means = np.full((m, m), np.nan)
    for seed in np.unique(codes[weight > 0]):
        means[seed] = np.average(errors[codes == seed], axis=0, weights=weight[codes == seed])
    np.fill_diagonal(means, np.nan)
    return means


# -- checks at the door -----------------------------------------------------------------------


def _check_length(name: str, got: int, n: int) -> None:
    if got != n:
        raise ValueError(f"{name} must have one row per example of y, {n}; got {got}.")


def _checked_weights(sample_weight: ArrayLike | None, n: int) -> NDArray[np.float64]:
    if sample_weight is None:
        return np.ones(n)
    weight = _real_array("sample_weight", sample_weight, (n,))
    bad = ~(np.isfinite(weight) & (weight >= 0))
    if bad.any():
        raise ValueError(f"sample_weight must be finite and >= 0; got {weight[bad][0]:g}.")
    return weight


def _real_array(name: str, value: ArrayLike, shape: tuple[int | None, ...]) -> NDArray[np.float64]:
    """`value` as float64 of this shape (None: any length); nan allowed."""
    array = np.asarray(value)
    if array.dtype.kind not in "iuf" and array.size:
        raise TypeError(f"{name} must hold real numbers; got dtype {array.dtype}.")
    fits = array.ndim == len(shape) and all(
        want in (None, got) for want, got in zip(shape, array.shape, strict=True)
    )
    if not fits:
        wanted = "(" + ", ".join("any" if want is None else str(want) for want in shape) + ")"
        raise ValueError(f"{name} must have shape {wanted}; got {array.shape}.")
    return array.astype(np.float64)


def _bool_array(name: str, value: ArrayLike | None, n: int | None) -> NDArray[np.bool_]:
    """A boolean mask; None is all False. Integers are refused: they may be positions."""
    if value is None:
        return np.zeros(n or 0, dtype=bool)
    mask = np.asarray(value)
    if mask.dtype != bool and mask.size:
        raise TypeError(f"{name} must be a boolean mask; got dtype {mask.dtype}.")
    if mask.ndim != 1:
        raise ValueError(f"{name} must be a 1-D boolean mask; got shape {mask.shape}.")
    if n is not None:
        _check_length(name, len(mask), n)
    return mask.astype(bool)


def _check_same_kind(name: str, a: NDArray[Any], other: str, b: NDArray[Any]) -> None:
    """Refuse strings against numbers: they would just never be equal."""
    kinds = {"number" if x.dtype.kind in "biuf" else x.dtype.kind for x in (a, b)}
    if a.size and b.size and "number" in kinds and kinds & set("USTM"):
        raise TypeError(
            f"{name} and {other} must hold labels of the same kind; got dtype {a.dtype} and "
            f"{b.dtype}."
        )


def _outcomes(
    y: ArrayLike, label: ArrayLike, abstained: ArrayLike | None
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    truth, predicted = label_array("y", y), label_array("label", label)
    _check_length("label", len(predicted), len(truth))
    _check_same_kind("label", predicted, "y", truth)
    return truth, predicted, _bool_array("abstained", abstained, len(truth))


def _radius_where_correct(
    y: ArrayLike, label: ArrayLike, radius_standard: ArrayLike, abstained: ArrayLike | None
) -> NDArray[np.float64]:
    """The standard radius of answers that are right, nan (certifies nothing) elsewhere."""
    truth, predicted, mask = _outcomes(y, label, abstained)
    radii = _real_array("radius_standard", radius_standard, (len(truth),))
    return np.where((truth == predicted) & ~mask, radii, np.nan)


def _predicted(
    cost: CostMatrix, label: ArrayLike, abstained: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Which examples were answered, and the class indices of those answers."""
    labels = label_array("label", label)
    _check_length("label", len(labels), len(abstained))
    answers = ~abstained
    try:
        return answers, cost.encode(labels[answers])
    except ValueError as error:
        raise ValueError(
            f"label {str(error).removeprefix('y ')} Pass abstained= where the label of an "
            "abstention is no class."
        ) from None
