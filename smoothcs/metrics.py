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
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothcs._labels import label_array
from smoothcs._metrics.checks import (
    bool_array,
    check_length,
    check_same_kind,
    checked_weights,
    over_eps,
    predicted_classes,
    real_array,
)
from smoothcs._metrics.money import bill, constant_bills, savings, worst_answer, worst_cost
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
        Weights >= 0 of the mean over examples. If None, all are equal.

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
    radii = real_array("radius", radius, (len(sensitive),))
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
    y, label, radius_standard, abstained
        As in :func:`certified_accuracy`.
    cost_matrix, eps, sample_weight
        As in :func:`rob_cs`.

    Returns
    -------
    float or ndarray of shape (k,)
        nan, with a UserWarning, where every example is of a sensitive class.

    Raises
    ------
    ValueError, TypeError
        As for :func:`rob_cs` and :func:`certified_accuracy`.

    Examples
    --------
    >>> from smoothcs.metrics import rob_standard_nonsensitive
    >>> C = [[0, 0], [10, 0]]
    >>> rob_standard_nonsensitive([0, 0, 1], [0, 1, 1], [0.9, 0.4, 0.6], cost_matrix=C, eps=0.1)
    0.5
    """
    insensitive = ~as_cost_matrix(cost_matrix).sensitive_mask(y)
    radii = _radius_where_correct(y, label, radius_standard, abstained)
    check_length("label", len(radii), len(insensitive))
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
    """Certified robust cost: the mean of the summed costs of what is not ruled out within eps.

    Mean over the examples of sensitive classes of the sum over j in Omega_y of
    C[y, j] 1{radius_pair[j] <= eps}, [Xin25] Definition 4.3 (Eq. 3.1 of [ZE19]). Smaller is
    better. A sum over targets, it can exceed the largest cost; :func:`worst_cost` is the largest.

    Parameters
    ----------
    radius_pair : array-like of shape (n, m)
        Pair radii; 0 where the prediction is costly or abstained. Only the sensitive targets of
        an example are read; nan there counts as not certified.
    y, cost_matrix, eps, sample_weight
        As in :func:`rob_cs`.

    Returns
    -------
    float or ndarray of shape (k,)
        In units of the cost matrix; nan, with a UserWarning, where no example is of a sensitive
        class.

    Raises
    ------
    ValueError
        As for :func:`rob_cs`.

    Examples
    --------
    >>> import numpy as np
    >>> from smoothcs.metrics import rob_cost
    >>> C = [[0, 1, 5], [0, 0, 0], [0, 0, 0]]
    >>> radius_pair = [[np.nan, 0.4, 0.8], [np.nan, 0.1, 0.2]]
    >>> rob_cost([0, 0], radius_pair, cost_matrix=C, eps=[0, 0.2, 0.5])
    array([0. , 3. , 3.5])
    """
    radii = real_array("radius_pair", radius_pair, (None, None))
    cost = as_cost_matrix(cost_matrix, n_classes=radii.shape[1])
    codes = cost.encode(y)
    check_length("radius_pair", len(radii), len(codes))
    sensitive = cost.sensitive_mask(y)
    weight = _weights(sample_weight, sensitive, "rob_cost", "is of a sensitive class")
    chosen = weight > 0
    costs = cost.matrix[codes[chosen]] * weight[chosen, None]
    radii, total = radii[chosen], weight.sum()

    def mean_cost(at: float) -> float:
        # ~(r > eps), not (r <= eps): nan must pay.
        return float(costs[~(radii > at)].sum() / total) if total > 0 else np.nan

    return over_eps(mean_cost, eps)


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
    abstained : array-like of shape (n,), bool, default=None
        If None, no example.
    eps, sample_weight
        As in :func:`rob_cs`.

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
    sample_weight
        As in :func:`rob_cs`.

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
    mask = bool_array("abstained", abstained, None)
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
    label : array-like of shape (n,)
        Predicted labels (or class indices); ignored where `abstained`.
    y, cost_matrix, sample_weight
        As in :func:`rob_cs`.
    abstained : array-like of shape (n,), bool, default=None
        If None, no example.

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
    mask = bool_array("abstained", abstained, len(codes))
    answers, predicted = predicted_classes(cost, label, mask)
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
    positive : label
        The class of interest.
    y, label, abstained
        As in :func:`certified_accuracy`.
    sample_weight : array-like of shape (n,), default=None
        Weights >= 0 by which examples are counted. If None, all are equal.

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
    check_same_kind("positive", wanted, "y", truth)
    is_positive, called_positive = truth == wanted[0], predicted == wanted[0]
    weight = checked_weights(sample_weight, len(truth))
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
    classes : array-like of shape (m,)
        Labels of rows and columns, in order.
    y, label, abstained
        As in :func:`misclassification_cost`.
    sample_weight
        As in :func:`precision_recall`.

    Returns
    -------
    ndarray of shape (m, m)
        Entry [i, j] is the share of the examples of class i that are called j. An abstention
        rules out no mistake: it counts in every column, so that a row may sum to more than 1.
        nan on the diagonal, which holds no mistakes, and in the row of a class without examples.

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
    mask = bool_array("abstained", abstained, len(codes))
    answers, predicted = predicted_classes(cost, label, mask)
    called = np.ones((len(codes), cost.n_classes), dtype=bool)
    called[answers] = np.eye(cost.n_classes, dtype=bool)[predicted]
    return _mean_by_seed(called, codes, checked_weights(sample_weight, len(codes)))


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
    radius_pair : array-like of shape (n, m)
        Pair radii; nan counts as not certified.
    y, eps
        As in :func:`rob_cs`.
    classes
        As in :func:`clean_error_matrix`.
    sample_weight
        As in :func:`precision_recall`.

    Returns
    -------
    ndarray of shape (m, m) or (k, m, m)
        Entry [i, j] is the share of the examples of class i whose pair radius against j is not
        greater than eps. nan on the diagonal, in the row of a class without examples, and where
        all radii of a pair are nan: it was not certified (j is not a sensitive target of i).

    Raises
    ------
    ValueError
        As for :func:`rob_cs`.

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
    radii = real_array("radius_pair", radius_pair, (len(codes), cost.n_classes))
    asked = np.zeros((cost.n_classes, cost.n_classes), dtype=bool)
    weight = checked_weights(sample_weight, len(codes))
    np.logical_or.at(asked, codes, ~np.isnan(radii) & (weight > 0)[:, None])

    def matrix_at(at: float) -> NDArray[np.float64]:
        return np.where(asked, _mean_by_seed(~(radii > at), codes, weight), np.nan)

    matrices: NDArray[np.float64] = over_eps(matrix_at, eps)
    return matrices


def constant_accuracy(
    y: ArrayLike, *, cost_matrix: Any, sample_weight: ArrayLike | None = None
) -> float:
    """The accuracy of the best constant answer: the share of the commonest class.

    Parameters
    ----------
    y, cost_matrix, sample_weight
        As in :func:`rob_cs`; the matrix only names the classes.

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
    weight = checked_weights(sample_weight, len(codes))
    return float(np.bincount(codes, weight).max() / weight.sum())


# -- shared steps -----------------------------------------------------------------------------


def _share_beyond(radii: NDArray[np.float64], weight: NDArray[np.float64], eps: ArrayLike) -> Any:
    """The weighted share of the examples whose radius exceeds eps."""
    total = weight.sum()

    def share(at: float) -> float:
        # nan > eps is False: a nan radius certifies nothing.
        return float(weight[radii > at].sum() / total) if total > 0 else np.nan

    return over_eps(share, eps)


def _weights(
    sample_weight: ArrayLike | None, among: NDArray[np.bool_], name: str, who: str
) -> NDArray[np.float64]:
    """The weight of every example: `sample_weight`, but 0 outside of `among`."""
    weight = np.where(among, checked_weights(sample_weight, len(among)), 0.0)
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


def _outcomes(
    y: ArrayLike, label: ArrayLike, abstained: ArrayLike | None
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    truth, predicted = label_array("y", y), label_array("label", label)
    check_length("label", len(predicted), len(truth))
    check_same_kind("label", predicted, "y", truth)
    return truth, predicted, bool_array("abstained", abstained, len(truth))


def _radius_where_correct(
    y: ArrayLike, label: ArrayLike, radius_standard: ArrayLike, abstained: ArrayLike | None
) -> NDArray[np.float64]:
    """The standard radius of answers that are right, nan (certifies nothing) elsewhere."""
    truth, predicted, mask = _outcomes(y, label, abstained)
    radii = real_array("radius_standard", radius_standard, (len(truth),))
    return np.where((truth == predicted) & ~mask, radii, np.nan)
