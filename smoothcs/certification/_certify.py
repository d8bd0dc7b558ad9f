"""Certificates from votes: how far an input may move before a costly mistake becomes possible.

Votes may come from anywhere: :func:`smoothcs.votes.sample_votes`, another package, a file. They
must be counts of a base classifier's predictions at x + N(0, sigma^2 I), the estimation votes
drawn independently of the selection votes.

**What a certificate says.** With probability at least 1 - alpha over the estimation votes, no
perturbation of l2 norm below ``radius_group`` makes the smoothed classifier predict *any* sensitive
target of the seed class, and none below ``radius_pair[j]`` makes it predict target j. It does not
say that the prediction is correct: a harmless class may win. Only ``radius_standard`` is about the
prediction itself: within it the smoothed classifier answers ``label``.

**What it does not say.** Each input, and each of the three kinds of radius, has its own 1 - alpha.
The number of votes has to be fixed before they are seen. With y=None a certificate is about the
costs of the *predicted* class's row, whatever the truth is.

References
----------
.. [Xin25] Y. Xin, D. Chen, M. Backes and X. Zhang, "Provably cost-sensitive adversarial defense
   via randomized smoothing", ICML 2025.
.. [Xin23] The first version of [Xin25], arXiv 2310.08732v1.
.. [Cohen19] J. Cohen, E. Rosenfeld and J. Z. Kolter, "Certified adversarial robustness via
   randomized smoothing", ICML 2019.
.. [Berger82] R. L. Berger, "Multiparameter hypothesis testing and acceptance sampling",
   Technometrics 24, 1982 (intersection-union tests).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothcs._costs import check_costs
from smoothcs._validation import (
    check_blockers,
    check_choice,
    check_integer,
    check_noise_scale,
    check_positive,
    check_probability,
)
from smoothcs.bounds.binomial import check_counts, check_votes
from smoothcs.bounds.geometry import blocker_radius
from smoothcs.certification._certificates import Certificates
from smoothcs.certification._core import sensitive_rows, settle
from smoothcs.cost import as_cost_matrix
from smoothcs.decision import BOUNDS, WeightedVotes, as_decision
from smoothcs.decision._radii import Problem, Radii, raw_radii


def certify_votes(
    selection: ArrayLike,
    estimation: ArrayLike,
    *,
    sigma: float,
    alpha: float = 0.001,
    cost_matrix: Any = None,
    y: ArrayLike | None = None,
    decision: WeightedVotes | None = None,
    bound: str = "exact",
    simultaneous: bool = True,
    blockers: bool | int = True,
    also_correct: bool = False,
    harmless_errors: str = "count",
    n: int | ArrayLike | None = None,
    level: ArrayLike | None = None,
    classes: ArrayLike | None = None,
    input_error: float | ArrayLike = 0.0,
    model: str | None = None,
    costs: ArrayLike | None = None,
    noise_scale: ArrayLike | None = None,
) -> Certificates:
    """Certify inputs from the votes of a base classifier under Gaussian noise.

    Parameters
    ----------
    selection : array-like of int of shape (n_inputs, n_classes)
        Selection votes: the class that they make the ``decision`` choose is the one certified (the
        lowest index at a tie). A row without votes abstains.
    estimation : array-like of int of shape (n_inputs, n_classes)
        Estimation votes, drawn independently of the selection votes.
    sigma : float
        Standard deviation of the noise; radii come in its units.
    alpha : float, default=0.001
        Failure probability in (0, 1), for each input and each kind of radius.
    cost_matrix : CostMatrix or anything it can be built from, default=None
        ``C[y, k]`` is the cost of calling a ``y`` a ``k``; None: every mistake costs 1. The
        sensitive targets of a class are the entries > 0 of its row.
    y : array-like of shape (n_inputs,), default=None
        True classes, as labels or class indices. None: the row of the *predicted* class is used, as
        in deployment, and the metrics that need the truth are not available.
    decision : WeightedVotes, default=None
        How votes become a label; None: the class with the most votes. Weights must not depend on
        these votes: tune them on other inputs.
    bound : {"exact", "closed-form", "paper"}, default="exact"
        "exact": the direct test of "target j can be predicted within r",
        :mod:`smoothcs.bounds.exact`; the largest radii at the same alpha.
        "closed-form": L is the lower confidence bound of the top class at alpha/2, U_k the smaller
        of the upper bound of target k and 1 - L. Group radius at level alpha/2 for each target, by
        the intersection-union principle [Berger82]; its failure probability is at most alpha.
        "paper": Algorithms 1 and 2 of [Xin25] letter for letter. Each of the two radii of which
        they return the larger holds at alpha; for the larger itself, what is proven is
        ``alpha (1 + 1/(2 |Omega|))``. They apply to equal weights only.
    simultaneous : bool, default=True
        Pair radii of "exact" and "closed-form": True, all pair radii of an input hold together with
        probability 1 - alpha (each at its share of the level); False, each of them does by itself,
        which is enough for the expectation of a robust cost.
    blockers : bool or int, default=True
        Of "exact": how many harmless classes together may keep a target from winning, see
        :mod:`smoothcs.bounds.blockers`. True is up to 3; False, the class picked alone, as in the
        papers. The sets are fixed by the selection votes.
    also_correct : bool, default=False
        Whether group and pair claims are to include "the smoothed classifier predicts y at the
        input"; radii are 0 where that is not shown. It costs no alpha. Needs ``y``.
    harmless_errors : {"count", "zero"}, default="count"
        Inputs whose class is wrong but costs nothing: "count" keeps their radii ([Xin23], Theorem
        3.2), "zero" sets them to 0 ([Xin25], Definition 4.1; needs ``y``).
    n : int or array-like of int of shape (n_inputs,), default=None
        The number of estimation votes that each row must sum to. None: all rows must agree. As an
        array, rows may differ, and a row with n = 0 (an interrupted run) abstains.
    level : array-like of float of shape (n_inputs,), default=None
        Level at which the votes of each input are tested, where their number was not fixed: the
        share of ``alpha`` that a sequential rule spends on the look at which it stopped. None:
        ``alpha``.
    classes : array-like of shape (n_classes,), default=None
        Labels of the columns of the votes. None: those of the cost matrix, else 0, 1, 2, ...
    input_error : float or array-like of float of shape (n_inputs,), default=0
        l2 distance, in the units of sigma, by which rounding may separate what is certified from
        what was voted on; it is taken off every radius.
    model : str, default=None
        A note of what certified, kept in the certificates.
    costs : array-like of shape (n_inputs, n_classes, n_classes), default=None
        Costs >= 0 of each example, for the metrics in money; kept in the certificates.
    noise_scale : array-like, default=None
        Scale >= 0 of the noise of each entry of an input, kept in the certificates.

    Returns
    -------
    certificates : Certificates
        An input is abstained on when nothing is certified for it: neither the standard radius, nor
        the group radius, nor the pair radius of any target is positive. It then has radii 0.
        Radii are 0 as well, for every bound, where the class picked is itself a sensitive target:
        the published algorithms would certify a costly prediction. Group and pair radii are nan
        where the row has no sensitive target (no costly mistake exists).

    Raises
    ------
    ValueError
        If votes are not counts of matching shapes and sums, there are too few of them ever to
        certify, or a parameter is outside its range. The message names the parameter.
    TypeError
        If a scalar parameter is not of its type.

    Examples
    --------
    A malignant lesion (1) called benign (0) costs 10, the reverse costs nothing.

    >>> from smoothcs.certification import certify_votes
    >>> certificates = certify_votes(
    ...     selection=[[2, 98], [98, 2]],
    ...     estimation=[[20, 980], [990, 10]],
    ...     sigma=0.5, alpha=0.001, cost_matrix=[[0, 0], [10, 0]], y=[1, 1],
    ... )
    >>> certificates.label
    array([1, 0])
    >>> certificates.radius_group.round(3)
    array([0.889, 0.   ])
    """
    picked = check_votes("selection", selection)
    votes = check_votes("estimation", estimation)
    if picked.shape != votes.shape:
        raise ValueError(
            "selection and estimation must have the same shape; "
            f"got {picked.shape} and {votes.shape}."
        )
    if not len(votes):
        raise ValueError("selection and estimation must hold at least one input; got none.")
    sigma = check_positive("sigma", sigma)
    alpha = check_probability("alpha", alpha)
    check_choice("bound", bound, BOUNDS)
    check_choice("simultaneous", simultaneous, [True, False])
    check_blockers(blockers)
    check_choice("also_correct", also_correct, [True, False])
    if also_correct and y is None:
        raise ValueError("also_correct=True compares with the true classes: pass y.")
    cost = as_cost_matrix(cost_matrix, classes=classes, n_classes=votes.shape[1])
    rule = as_decision(decision, cost.labels)
    trials, n = _check_n(votes, n, rule, alpha, bound)
    error = _check_error(input_error, len(votes))
    own = check_costs(costs, *votes.shape)

    top = rule.winner(picked)
    omega, dropped, truth = sensitive_rows(cost, top, y, harmless_errors)
    spent = alpha if level is None else _check_level(level, alpha, len(votes))
    correct = cost.encode(truth) if also_correct and truth is not None else None
    # A class that was picked is no target: its price is paid, and no claim is made against it.
    targets = omega & (np.arange(votes.shape[1]) != top[:, None])
    problem = Problem(picked, trials, targets, spent, bound, rule, simultaneous, blockers, correct)
    raw = raw_radii(votes, problem)
    if np.any(error > 0):
        raw = Radii(*(r - (error / sigma).reshape(-1, *[1] * (r.ndim - 1)) for r in raw))
    radii, other, abstained = settle(raw, top, omega, sigma, dropped)
    return Certificates(
        label=cost.labels[top],
        abstained=abstained,
        radius_standard=radii.standard,
        radius_group=radii.group,
        radius_pair=radii.pair,
        radius_other=other,
        votes=votes,
        selection_votes=picked,
        sigma=sigma,
        alpha=alpha,
        level=spent,
        n=n,
        bound=bound,
        simultaneous=simultaneous,
        blockers=blockers,
        also_correct=also_correct,
        cost_matrix=cost,
        y=truth,
        harmless_errors=harmless_errors,
        decision=rule,
        input_error=float(error[0]) if np.ndim(input_error) == 0 else error,
        model=model,
        costs=own,
        noise_scale=None if noise_scale is None else check_noise_scale(noise_scale, None),
    )


def with_costs(certificates: Certificates, cost_matrix: Any) -> Certificates:
    """The certificates of the same votes for other costs; nothing is sampled again.

    Parameters
    ----------
    certificates : Certificates
    cost_matrix : CostMatrix or anything it can be built from
        Other costs of the same classes.

    Returns
    -------
    certificates : Certificates

    Examples
    --------
    >>> from smoothcs.certification import certify_votes, with_costs
    >>> both = certify_votes([[2, 98]], [[20, 980]], sigma=0.5, y=[1])
    >>> with_costs(both, [[0, 1], [0, 0]]).radius_group  # no mistake of class 1 costs anything
    array([nan])
    """
    c = certificates
    same = ("sigma", "alpha", "y", "bound", "simultaneous", "blockers", "also_correct")
    more = ("harmless_errors", "n", "decision", "input_error", "model", "costs", "noise_scale")
    return certify_votes(
        c.selection_votes,
        c.votes,
        cost_matrix=cost_matrix,
        level=None if np.ndim(c.level) == 0 else c.level,
        classes=c.cost_matrix.classes,
        **{name: getattr(c, name) for name in (*same, *more)},
    )


def radii_from_probabilities(
    probabilities: ArrayLike,
    *,
    sigma: float,
    cost_matrix: Any = None,
    y: ArrayLike | None = None,
    harmless_errors: str = "count",
    classes: ArrayLike | None = None,
) -> Radii:
    """The radii of a smoothed classifier whose vote probabilities are known ([Xin25], Def. 4.1).

    What ``certify_votes(..., blockers=False)`` approaches from below as the number of votes grows;
    sets of blockers, its default, can reach further. Of use for classifiers whose probabilities are
    known in closed form, and to explain a radius.

    Parameters
    ----------
    probabilities : array-like of float of shape (n_inputs, n_classes)
        P[f(x + N(0, sigma^2 I)) = k]; rows sum to 1 (within 1e-6).
    sigma, cost_matrix, y, harmless_errors, classes
        As in :func:`~smoothcs.certify_votes`.

    Returns
    -------
    radii : Radii
        Named tuple of ``standard`` (n_inputs,), ``group`` (n_inputs,) and ``pair`` (n_inputs,
        n_classes), in the units of sigma. Zero where the most probable class (the lowest index at
        a tie) is a sensitive target; nan as in :func:`~smoothcs.certify_votes`.

    Raises
    ------
    ValueError
        If rows are not probabilities, or a parameter is outside its range.

    Examples
    --------
    >>> from smoothcs.certification import radii_from_probabilities
    >>> radii = radii_from_probabilities([[0.6, 0.3, 0.1]], sigma=1.0,
    ...                                  cost_matrix=[[0, 0, 1], [1, 0, 1], [1, 1, 0]], y=[0])
    >>> radii.standard.round(3), radii.group.round(3), radii.pair.round(3)
    (array([0.389]), array([0.767]), array([[  nan,   nan, 0.767]]))
    """
    h = np.asarray(probabilities, dtype=np.float64)
    if h.ndim != 2 or h.shape[1] < 2:
        raise ValueError(
            "probabilities must have shape (n_inputs, n_classes) with at least two classes; "
            f"got shape {h.shape}."
        )
    if not (np.all(h >= 0.0) and np.all(np.abs(h.sum(axis=1) - 1.0) <= 1e-6)):
        raise ValueError("probabilities must be >= 0 and sum to 1 in every row (within 1e-6).")
    sigma = check_positive("sigma", sigma)
    cost = as_cost_matrix(cost_matrix, classes=classes, n_classes=h.shape[1])
    top = h.argmax(axis=1)
    omega, dropped, _ = sensitive_rows(cost, top, y, harmless_errors)

    h = np.minimum(h, 1.0)
    # The top class is no rival of itself.
    rivals = np.where(np.arange(h.shape[1]) == top[:, None], 0.0, h)
    pair = blocker_radius(h.max(axis=1, keepdims=True), rivals)
    raw = Radii(pair.min(axis=1), np.where(omega, pair, np.inf).min(axis=1), pair)
    return settle(raw, top, omega, sigma, dropped)[0]


def _check_level(level: ArrayLike, alpha: float, n_inputs: int) -> NDArray[np.float64]:
    """Levels of one look each, of shape (n_inputs,): never more than alpha."""
    levels = np.asarray(level, dtype=np.float64)
    if levels.shape != (n_inputs,) or not np.all((levels > 0) & (levels <= alpha)):
        raise ValueError(
            f"level must hold {n_inputs} numbers in (0, alpha={alpha:g}]; got {level!r}."
        )
    return levels


def _check_error(error: float | ArrayLike, n_inputs: int) -> NDArray[np.float64]:
    errors = np.asarray(error, dtype=np.float64)
    if errors.shape not in ((), (n_inputs,)) or not np.all((errors >= 0) & np.isfinite(errors)):
        raise ValueError(
            f"input_error must be a number >= 0, or {n_inputs} of them; got {error!r}."
        )
    return np.broadcast_to(errors, (n_inputs,))


def _check_n(
    votes: NDArray[np.int64],
    n: int | ArrayLike | None,
    decision: WeightedVotes,
    alpha: float,
    bound: str,
) -> tuple[NDArray[np.int64], int | NDArray[np.int64]]:
    """The number of votes of each input, and n as it is to be reported."""
    totals = votes.sum(axis=1)
    scalar = n is None or np.ndim(n) == 0
    reported: int | NDArray[np.int64]
    if n is None:
        reported = int(totals[0])
        expected = np.full(totals.shape, reported)
        hint = " Where inputs have different numbers of votes, pass them as n."
    elif scalar:
        reported = check_integer("n", n)
        expected = np.full(totals.shape, reported)
        hint = ""
    else:
        reported = expected = check_counts("n", n)
        hint = ""
        if expected.shape != totals.shape:
            raise ValueError(
                f"n must be an integer or have one entry for each of the {len(totals)} inputs; "
                f"got shape {expected.shape}."
            )
    wrong = np.flatnonzero(totals != expected)
    if wrong.size:
        i = int(wrong[0])
        raise ValueError(
            f"estimation votes of input {i} sum to {totals[i]}; expected n = {expected[i]}.{hint}"
        )
    # An interrupted run may hold inputs without votes; votes too few for all others are a mistake.
    if scalar or expected.max() > 0:
        decision.check_can_certify(int(expected.max()), alpha, bound)
    return expected, reported
