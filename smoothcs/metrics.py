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

from smoothcs._labels import label_array
from smoothcs.cost import CostMatrix, as_cost_matrix

__all__ = [
    "abstention_rate",
    "certified_accuracy",
    "clean_error_matrix",
    "misclassification_cost",
    "precision_recall",
    "rob_cost",
    "rob_cs",
    "rob_standard_nonsensitive",
    "robust_error_matrix",
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
    weight = _weights(None, insensitive, name, "is of a non-sensitive class")
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


def abstention_rate(abstained: ArrayLike) -> float:
    """The share of examples on which the classifier gives no answer.

    Parameters
    ----------
    abstained : array-like of shape (n,), bool

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
    if len(mask) == 0:
        warnings.warn("abstention_rate is nan: no example was given.", UserWarning, stacklevel=2)
        return np.nan
    return float(mask.mean())


def misclassification_cost(
    y: ArrayLike, label: ArrayLike, *, cost_matrix: Any, abstained: ArrayLike | None = None
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
    if len(paid) == 0:
        warnings.warn(
            "misclassification_cost is nan: no example was given.", UserWarning, stacklevel=2
        )
        return np.nan
    return float(paid.mean())


def precision_recall(
    y: ArrayLike, label: ArrayLike, *, positive: Any, abstained: ArrayLike | None = None
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
    hits = np.count_nonzero(is_positive & called_positive & ~mask)
    n_called, n_positive = np.count_nonzero(called_positive), np.count_nonzero(is_positive)
    return (
        float(hits / n_called) if n_called else np.nan,
        float(hits / n_positive) if n_positive else np.nan,
    )


def clean_error_matrix(
    y: ArrayLike, label: ArrayLike, *, classes: ArrayLike, abstained: ArrayLike | None = None
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
    return _mean_by_seed(called, codes)


def robust_error_matrix(
    y: ArrayLike, radius_pair: ArrayLike, *, classes: ArrayLike, eps: ArrayLike
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
    np.logical_or.at(asked, codes, ~np.isnan(radii))

    def matrix_at(at: float) -> NDArray[np.float64]:
        return np.where(asked, _mean_by_seed(~(radii > at), codes), np.nan)

    matrices: NDArray[np.float64] = _over_eps(matrix_at, eps)
    return matrices


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
    weight = np.ones(len(among))
    if sample_weight is not None:
        weight = _real_array("sample_weight", sample_weight, (len(among),))
        bad = ~(np.isfinite(weight) & (weight >= 0))
        if bad.any():
            raise ValueError(f"sample_weight must be finite and >= 0; got {weight[bad][0]:g}.")
    weight = np.where(among, weight, 0.0)
    if not (weight > 0).any():
        weighted = "" if sample_weight is None else " with a positive weight"
        warnings.warn(f"{name} is nan: no example{weighted} {who}.", UserWarning, stacklevel=3)
        return weight
    return weight / weight.max()  # the sum of huge weights would overflow


def _mean_by_seed(errors: NDArray[np.bool_], codes: NDArray[np.intp]) -> NDArray[np.float64]:
    """Column means of `errors` (n, m) over the examples of each class: (m, m), diagonal nan."""
    m = errors.shape[1]
    means = np.full((m, m), np.nan)
    for seed in np.unique(codes):
        means[seed] = errors[codes == seed].mean(axis=0)
    np.fill_diagonal(means, np.nan)
    return means


# -- checks at the door -----------------------------------------------------------------------


def _check_length(name: str, got: int, n: int) -> None:
    if got != n:
        raise ValueError(f"{name} must have one row per example of y, {n}; got {got}.")


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
