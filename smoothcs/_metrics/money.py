"""Metrics in money: what each example may cost at worst, and what all of them cost."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar

from smoothcs._labels import label_array
from smoothcs._metrics.checks import (
    bool_array,
    check_length,
    checked_weights,
    over_eps,
    predicted_classes,
    real_array,
)
from smoothcs._validation import check_probability, check_real
from smoothcs.cost import as_cost_matrix

# The least attack: what holds for it is certified at all.
LEAST = float(np.nextafter(0.0, 1.0))


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

    costs_at: NDArray[np.float64] = over_eps(worst, eps)
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
    weight = checked_weights(sample_weight, len(codes))

    def known(at: float) -> float:
        return float(weight @ _at_column(prices, _dearest(radii, prices, called, at)))

    if confidence is None:
        return over_eps(known, eps)
    check_probability("confidence", confidence)
    if alpha is None:
        raise ValueError("confidence needs alpha, the probability that claims about an input fail.")
    check_real("alpha", alpha, low=0.0, high=1.0, high_open=True)
    if noise_groups is not None:
        noise_groups = label_array("noise_groups", noise_groups)
        check_length("noise_groups", len(noise_groups), len(codes))
    most = prices.max(axis=1)
    # Which inputs abstain depends on the votes that certify: their terms are the largest possible.
    least = _at_column(prices, called)
    if abstained is not None:
        least = np.where(np.asarray(abstained, dtype=bool), prices.min(axis=1), least)
    excess = _excess(weight * (most - least), alpha, 1.0 - confidence, noise_groups)

    return over_eps(lambda at: min(known(max(at, LEAST)) + excess, float(weight @ most)), eps)


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
    bills: NDArray[np.float64] = checked_weights(sample_weight, len(codes)) @ prices
    return bills


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
    array = real_array("costs", array, (len(codes), n_classes, n_classes))
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
    radii = real_array("radius_pair", radius_pair, (None, None))
    m = radii.shape[1]
    codes, prices = _prices(y, cost_matrix, costs, m)
    check_length("radius_pair", len(radii), len(codes))
    answers, predicted = predicted_classes(
        as_cost_matrix(cost_matrix, n_classes=m),
        label,
        bool_array("abstained", abstained, len(codes)),
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
