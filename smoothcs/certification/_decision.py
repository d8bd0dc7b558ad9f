"""Decision rules that know the costs, and their certificates: robustness without retraining.

A plurality vote ignores costs at the last step.  Two rules do not:

* the weighted vote, ``argmax_k w_k h_k(x)``, and
* the rule of least expected cost, ``argmin_j sum_k h_k(x) C[k, j]`` ([Elkan01]).

Both are certified from the same votes as the plurality vote, at the same failure probability.  The
weighted vote with equal weights *is* the plurality vote.  Weights are found on stored votes by
`smoothcs.tuning.tune_decision`; nothing is sampled or trained again.

References
----------
.. [Elkan01] C. Elkan, "The foundations of cost-sensitive learning", IJCAI 2001.
.. [Cohen19] J. Cohen, E. Rosenfeld and J. Z. Kolter, "Certified adversarial robustness via
   randomized smoothing", ICML 2019.
.. [Xin25] Y. Xin, D. Chen, M. Backes and X. Zhang, "Provably cost-sensitive adversarial defense
   via randomized smoothing", ICML 2025.
.. [HF19] K. Hung and W. Fithian, "Rank verification for exponential families", Annals of
   Statistics 47, 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothcs._validation import (
    check_blockers,
    check_choice,
    check_positive,
    check_probability,
)
from smoothcs.bounds.binomial import check_counts, check_votes
from smoothcs.certification._certify import (
    Certificates,
    _check_level,
    _labels,
    _sensitive_rows,
    certify_votes,
)
from smoothcs.certification._decision_certificates import DecisionCertificates
from smoothcs.cost import CostMatrix, as_cost_matrix
from smoothcs.decision._plurality import Problem, settle
from smoothcs.decision._radii import DECISION_BOUNDS, vote_root
from smoothcs.decision._votes import ExpectedCost, WeightedVote, check_weights

__all__ = [
    "DecisionCertificates",
    "ExpectedCost",
    "WeightedVote",
    "certify_decision",
    "certify_expected_cost",
    "certify_weighted_votes",
    "expected_cost_label",
    "resolve_decision",
    "weighted_label",
    "weighted_radius",
]


def weighted_label(votes: ArrayLike, weights: ArrayLike) -> NDArray[np.intp]:
    """Class indices with the largest weighted votes; the lowest index at ties.

    Parameters
    ----------
    votes : array-like of shape (n_inputs, n_classes)
        Votes or probabilities, >= 0.
    weights : array-like of shape (n_classes,)
        Weights > 0; only their ratios matter.

    Returns
    -------
    ndarray of intp of shape (n_inputs,)

    Examples
    --------
    >>> from smoothcs.certification._decision import weighted_label
    >>> weighted_label([[60, 40], [70, 30]], weights=[1, 2])
    array([1, 0])
    """
    shares = _shares(votes)
    return WeightedVote(check_weights(weights, n_classes=shares.shape[1])).winner(shares)


def expected_cost_label(votes: ArrayLike, costs: ArrayLike) -> NDArray[np.intp]:
    """Class indices of least expected cost, argmin_j sum_k h_k C[k, j] ([Elkan01]).

    Parameters
    ----------
    votes : array-like of shape (n_inputs, n_classes)
        Votes or probabilities, >= 0.
    costs : array-like of shape (n_classes, n_classes)
        ``costs[k, j]`` is the cost of calling a ``k`` a ``j``.

    Returns
    -------
    ndarray of intp of shape (n_inputs,)
        The lowest index at ties.

    Raises
    ------
    ValueError
        If costs are not a cost matrix, or some class costs nothing whatever the truth is: it would
        be the answer for every input.

    Examples
    --------
    >>> from smoothcs.certification._decision import expected_cost_label
    >>> expected_cost_label([[85, 15], [95, 5]], costs=[[0, 1], [10, 0]])
    array([1, 0])
    """
    shares = _shares(votes)
    return ExpectedCost(as_cost_matrix(costs, n_classes=shares.shape[1]).matrix).winner(shares)


def weighted_radius(
    h_top: ArrayLike,
    h_target: ArrayLike,
    w_top: ArrayLike,
    w_target: ArrayLike,
    *,
    sigma: float,
) -> NDArray[np.float64]:
    """Radius within which a target class cannot overtake the top class of a weighted vote.

    Parameters
    ----------
    h_top, h_target : array-like of float
        Probabilities in [0, 1] that a noisy prediction is the top class and the target, or a lower
        bound of the first and an upper bound of the second.
    w_top, w_target : array-like of float
        The weights of the two classes, > 0. The four arguments broadcast.
    sigma : float
        Standard deviation of the noise.

    Returns
    -------
    ndarray of float64
        The root r of ``w_top Phi(PhiInv(h_top) - r/sigma) = w_target Phi(PhiInv(h_target) +
        r/sigma)``, never rounded up; 0 where it is not positive, and inf for a target without
        probability. It rises with h_top and w_top/w_target, and falls with h_target.

    Raises
    ------
    ValueError
        If probabilities are outside [0, 1] or nan, or weights are not finite and > 0.

    Notes
    -----
    With equal weights this is sigma/2 (PhiInv(h_top) - PhiInv(h_target)), Definition 4.1 of
    [Xin25]. For two classes no larger radius is true: a linear classifier attains it.

    Examples
    --------
    >>> from smoothcs.certification._decision import weighted_radius
    >>> weighted_radius([0.6, 0.6], 0.2, [1, 3], 1, sigma=0.5).round(3)
    array([0.274, 0.547])
    """
    probabilities = [np.asarray(h, dtype=np.float64) for h in (h_top, h_target)]
    weights = [np.asarray(w, dtype=np.float64) for w in (w_top, w_target)]
    for name, h in zip(("h_top", "h_target"), probabilities, strict=True):
        if not np.all((h >= 0) & (h <= 1)):
            raise ValueError(f"{name} must hold probabilities from 0 to 1; got {h}.")
    for name, w in zip(("w_top", "w_target"), weights, strict=True):
        if not np.all((w > 0) & np.isfinite(w)):
            raise ValueError(f"{name} must hold finite weights > 0; got {w}.")
    sigma = check_positive("sigma", sigma)
    eta = vote_root(probabilities[0], probabilities[1], weights[1] / weights[0])
    # Written so that a root that is not a number certifies nothing.
    return np.where(eta > 0, eta, 0.0) * sigma


def certify_weighted_votes(
    selection: ArrayLike,
    estimation: ArrayLike,
    *,
    weights: ArrayLike | Mapping[Any, float],
    sigma: float,
    alpha: float = 0.001,
    cost_matrix: Any = None,
    y: ArrayLike | None = None,
    bound: str = "exact",
    simultaneous: bool = True,
    blockers: bool | int = True,
    also_correct: bool = False,
    harmless_errors: str = "count",
    n: int | ArrayLike | None = None,
    level: ArrayLike | None = None,
    classes: ArrayLike | None = None,
) -> DecisionCertificates:
    """Certify the weighted vote ``argmax_k w_k h_k``.

    Parameters
    ----------
    selection, estimation : array-like of int of shape (n_inputs, n_classes)
        As in :func:`~smoothcs.certify_votes`; the class with the largest weighted
        selection vote is the one certified.
    weights : array-like of shape (n_classes,) or mapping
        Weights > 0 in the order of the columns, or by label (1 for labels left out). Only ratios
        matter. They must not depend on these votes: tune them on other inputs.
    sigma, alpha, cost_matrix, y
        As in :func:`~smoothcs.certify_votes`.
    bound : {"exact", "closed-form"}, default="exact"
        "exact": the direct test, which takes blocker sets; its size s becomes w_j times the sum of
        1/w_k over the set. "closed-form": one confidence bound at alpha/2 for the top class, one
        for the target; its standard radius gives rivals no heavier than the top class all the
        missing votes (one bound at alpha), and bounds heavier ones by their own votes. There is no
        "paper": the published algorithms hold for equal weights.
    simultaneous, blockers, also_correct, harmless_errors, n, level, classes
        As in :func:`~smoothcs.certify_votes`.

    Returns
    -------
    DecisionCertificates
        With all weights equal, the radii of ``certify_votes``.

    Raises
    ------
    ValueError, TypeError
        As :func:`~smoothcs.certify_votes`; or if weights are not positive and within
        a factor of 1e9 of each other.

    Examples
    --------
    A malignant lesion (1) called benign (0) is what must not happen: its votes count threefold.

    >>> from smoothcs.certification._decision import certify_weighted_votes
    >>> costs, y = [[0, 0], [10, 0]], [1]
    >>> for weights in ([1, 1], [1, 3]):
    ...     certificates = certify_weighted_votes(
    ...         [[40, 60]], [[400, 600]], weights=weights, sigma=0.5, cost_matrix=costs, y=y
    ...     )
    ...     print(certificates.radius_group.round(2))
    [0.06]
    [0.4]
    """
    check_choice("bound", bound, DECISION_BOUNDS)
    votes = check_votes("estimation", estimation)
    cost = as_cost_matrix(cost_matrix, classes=classes, n_classes=votes.shape[1])
    return _certify(
        WeightedVote(check_weights(weights, n_classes=votes.shape[1], classes=cost.classes)),
        selection, votes, sigma, alpha, cost, y, bound, simultaneous, blockers, also_correct,
        harmless_errors, n, level,
    )  # fmt: skip


def certify_expected_cost(
    selection: ArrayLike,
    estimation: ArrayLike,
    *,
    sigma: float,
    alpha: float = 0.001,
    cost_matrix: Any = None,
    decision_costs: Any = None,
    y: ArrayLike | None = None,
    simultaneous: bool = True,
    also_correct: bool = False,
    harmless_errors: str = "count",
    n: int | ArrayLike | None = None,
    level: ArrayLike | None = None,
    classes: ArrayLike | None = None,
) -> DecisionCertificates:
    """Certify the rule of least expected cost, ``argmin_j sum_k h_k C[k, j]`` ([Elkan01]).

    Target j stays dearer than the class A picked while the least value of ``sum_k (C[k, j] -
    C[k, A]) h_k`` over the ball is positive; written over growing sets of classes, each set takes
    one Neyman-Pearson term and one lower confidence bound.

    Parameters
    ----------
    selection, estimation : array-like of int of shape (n_inputs, n_classes)
        As in :func:`~smoothcs.certify_votes`; the class of least expected cost by the
        selection votes is the one certified.
    sigma, alpha, cost_matrix, y, simultaneous, also_correct, harmless_errors, n, level, classes
        As in :func:`~smoothcs.certify_votes`.
    decision_costs : CostMatrix or anything it can be built from, default=None
        The costs by which the rule decides; None: ``cost_matrix``. Needed where many mistakes cost
        nothing: a class that costs nothing whatever the truth is would always be the answer.

    Returns
    -------
    DecisionCertificates
        With ``bound`` "closed-form". For uniform costs, the closed-form group and pair radii of
        the plurality vote.

    Raises
    ------
    ValueError, TypeError
        As :func:`~smoothcs.certify_votes`, and as :func:`expected_cost_label`.

    Notes
    -----
    Given the vote probabilities the radius of one target against the class picked is the largest
    true one. Not tight are: other classes that would also keep the target from being predicted are
    ignored; the t sets of a target share its level equally (alpha/t each), t at most the number of
    classes less one; and the targets of simultaneous pair radii share alpha.

    Examples
    --------
    >>> from smoothcs.certification._decision import certify_expected_cost
    >>> certificates = certify_expected_cost(
    ...     [[80, 20]], [[800, 200]], sigma=0.5, cost_matrix=[[0, 1], [10, 0]], y=[1]
    ... )
    >>> certificates.label, certificates.radius_group.round(2)
    (array([1]), array([0.18]))
    """
    votes = check_votes("estimation", estimation)
    cost = as_cost_matrix(cost_matrix, classes=classes, n_classes=votes.shape[1])
    by = cost if decision_costs is None else as_cost_matrix(
        decision_costs, classes=cost.classes, n_classes=cost.n_classes
    )  # fmt: skip
    return _certify(
        ExpectedCost(by.matrix), selection, votes, sigma, alpha, cost, y, "closed-form",
        simultaneous, False, also_correct, harmless_errors, n, level,
    )  # fmt: skip


def certify_decision(
    decision: WeightedVote | ExpectedCost | None,
    selection: ArrayLike,
    estimation: ArrayLike,
    *,
    bound: str = "exact",
    blockers: bool | int = True,
    **options: Any,
) -> Certificates:
    """Certify whatever rule `resolve_decision` returned.

    Parameters
    ----------
    decision : WeightedVote, ExpectedCost or None
        None: the plurality vote.
    selection, estimation : array-like of int of shape (n_inputs, n_classes)
    bound, blockers, **options
        As in :func:`~smoothcs.certify_votes`. Expected costs have one bound, the
        closed form, which is also taken for "exact".

    Returns
    -------
    Certificates

    Raises
    ------
    ValueError
        If ``bound`` is "paper" and the rule is not the plurality vote.

    Examples
    --------
    >>> from smoothcs.certification._decision import WeightedVote, certify_decision
    >>> certify_decision(None, [[9, 1]], [[900, 100]], sigma=0.5).bound
    'exact'
    """
    if decision is None:
        return certify_votes(selection, estimation, bound=bound, blockers=blockers, **options)
    if not isinstance(decision, WeightedVote | ExpectedCost):
        raise TypeError(
            "decision must be None or what resolve_decision returned; "
            f"got {type(decision).__name__}."
        )
    check_choice("bound", bound, DECISION_BOUNDS)
    if isinstance(decision, ExpectedCost):
        return certify_expected_cost(
            selection, estimation, decision_costs=decision.costs, **options
        )
    return certify_weighted_votes(
        selection, estimation, weights=decision.weights, bound=bound, blockers=blockers, **options
    )


def resolve_decision(decision: Any, cost_matrix: CostMatrix) -> WeightedVote | ExpectedCost | None:
    """Read what a ``decision`` parameter accepts.

    Parameters
    ----------
    decision : {"plurality", "min-cost"}, array-like of shape (n_classes,), mapping or costs
        A name; weights in the order of the classes, or by label (1 for labels left out); or a
        CostMatrix, frame or array of shape (n_classes, n_classes), the costs to be expected.
    cost_matrix : CostMatrix
        Tied to the classes; the costs of "min-cost".

    Returns
    -------
    WeightedVote, ExpectedCost or None
        None for the plurality vote. The rules have ``winner(votes)`` and ``abstains(votes,
        alpha)``.

    Raises
    ------
    ValueError
        If ``decision`` is none of these, or some class would always be cheapest.

    Examples
    --------
    >>> from smoothcs.cost import CostMatrix
    >>> from smoothcs.certification._decision import resolve_decision
    >>> cost = CostMatrix([[0, 1], [10, 0]], classes=["benign", "malignant"])
    >>> resolve_decision({"malignant": 3}, cost).weights
    array([1., 3.])
    """
    if isinstance(decision, str):
        check_choice("decision", decision, ["plurality", "min-cost"])
        if decision == "plurality":
            return None
        free = _labels(cost_matrix)[~cost_matrix.matrix.any(axis=0)]
        if len(free):
            raise ValueError(
                "decision='min-cost' needs an entry > 0 in every column of cost_matrix; the column "
                f"of {free.tolist()[0]!r} has none: calling everything that class would always be "
                "cheapest. Pass other costs as decision, such as cost_matrix plus 1 off the "
                "diagonal; cost_matrix still says which mistakes are sensitive."
            )
        return ExpectedCost(cost_matrix.matrix)
    if isinstance(decision, CostMatrix) or np.ndim(decision) == 2:
        try:
            costs = as_cost_matrix(decision, cost_matrix.classes, cost_matrix.n_classes)
            return ExpectedCost(costs.matrix)
        except ValueError as error:
            raise ValueError(f"decision is not a matrix of costs to decide by: {error}") from None
    weights = check_weights(decision, cost_matrix.n_classes, cost_matrix.classes, name="decision")
    return WeightedVote(weights)


def _certify(
    rule: WeightedVote | ExpectedCost,
    selection: ArrayLike,
    votes: NDArray[np.int64],
    sigma: float,
    alpha: float,
    cost: CostMatrix,
    y: ArrayLike | None,
    bound: str,
    simultaneous: bool,
    blockers: bool | int,
    also_correct: bool,
    harmless_errors: str,
    n: int | ArrayLike | None,
    level: ArrayLike | None,
) -> DecisionCertificates:
    """Check what the rules share, bound the radii and wrap them."""
    picked = check_votes("selection", selection)
    if picked.shape != votes.shape:
        raise ValueError(
            "selection and estimation must have the same shape; "
            f"got {picked.shape} and {votes.shape}."
        )
    if not len(votes):
        raise ValueError("selection and estimation must hold at least one input; got none.")
    sigma = check_positive("sigma", sigma)
    alpha = check_probability("alpha", alpha)
    check_choice("simultaneous", simultaneous, [True, False])
    check_blockers(blockers)
    check_choice("also_correct", also_correct, [True, False])
    if also_correct and y is None:
        raise ValueError("also_correct=True compares with the true classes: pass y.")
    trials = _trials(votes, n)
    needed = rule.smallest_n(alpha)
    same = n is None or np.ndim(n) == 0
    if trials.max() < needed and (same or trials.max() > 0):
        raise ValueError(
            f"n = {trials.max()} estimation votes can never certify anything at alpha = {alpha:g} "
            f"with these weights; the smallest n that can is {needed}."
        )
    spent = alpha if level is None else _check_level(level, alpha, len(votes))
    top = rule.winner(picked)
    omega, dropped, truth = _sensitive_rows(cost, top, y, harmless_errors)
    correct = cost.encode(truth) if also_correct and truth is not None else None
    problem = Problem(picked, trials, omega, spent, bound, simultaneous, blockers, correct)
    radii, abstained = settle(rule.radii(votes, problem), top, omega, sigma, dropped)
    return DecisionCertificates(
        label=_labels(cost)[top],
        abstained=abstained,
        radius_standard=radii.standard,
        radius_group=radii.group,
        radius_pair=radii.pair,
        votes=votes,
        selection_votes=picked,
        sigma=sigma,
        alpha=alpha,
        level=spent,
        n=int(trials[0]) if same else trials,
        bound=bound,
        simultaneous=simultaneous,
        blockers=blockers,
        also_correct=also_correct,
        cost_matrix=cost,
        y=truth,
        harmless_errors=harmless_errors,
        weights=rule.weights if isinstance(rule, WeightedVote) else None,
        decision_costs=rule.costs if isinstance(rule, ExpectedCost) else None,
    )


def _trials(votes: NDArray[np.int64], n: int | ArrayLike | None) -> NDArray[np.int64]:
    """The number of votes of each input, which must be what was asked for."""
    totals = votes.sum(axis=1)
    if n is None:
        expected = np.full(totals.shape, totals[0])
    else:
        expected = check_counts("n", n)
        if expected.ndim == 0:
            expected = np.full(totals.shape, int(expected))
        if expected.shape != totals.shape:
            raise ValueError(
                f"n must be an integer or have one entry for each of the {len(totals)} inputs; "
                f"got shape {expected.shape}."
            )
    wrong = np.flatnonzero(totals != expected)
    if wrong.size:
        i = int(wrong[0])
        raise ValueError(
            f"estimation votes of input {i} sum to {totals[i]}; expected n = {expected[i]}. "
            "Where inputs have different numbers of votes, pass them as n."
        )
    return expected


def _shares(votes: ArrayLike) -> NDArray[np.float64]:
    shares = np.asarray(votes, dtype=np.float64)
    if shares.ndim != 2 or shares.shape[1] < 2:
        raise ValueError(
            "votes must have shape (n_inputs, n_classes) with at least two classes; "
            f"got shape {shares.shape}."
        )
    if not (np.all(shares >= 0) and np.isfinite(shares).all()):
        raise ValueError("votes must hold finite numbers >= 0.")
    return shares
