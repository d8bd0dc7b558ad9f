"""What votes allow an attacker: radii of a weighted vote, in units of sigma.

The smoothed classifier predicts ``argmax_k w_k h_k``; with equal weights that is the plurality vote
of the papers. Class j cannot overtake the class A within eta while

    w_A Phi(PhiInv(h_A) - eta) > w_j Phi(PhiInv(h_j) + eta)

([Cohen19], Lemma 4, applied to each side). A bound is a function ``(votes, problem) -> Radii``
whose radii may be negative (nothing is certified). A new bound is one function and one entry of
``BOUNDS``.

References
----------
.. [Cohen19] J. Cohen, E. Rosenfeld and J. Z. Kolter, "Certified adversarial robustness via
   randomized smoothing", ICML 2019.
.. [Xin25] Y. Xin, D. Chen, M. Backes and X. Zhang, "Provably cost-sensitive adversarial defense
   via randomized smoothing", ICML 2025.
.. [Berger82] R. L. Berger, "Multiparameter hypothesis testing and acceptance sampling",
   Technometrics 24, 1982 (intersection-union tests).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from smoothcs._validation import Bools, Floats, Indices, Ints
from smoothcs.bounds.binomial import clopper_pearson_lower, clopper_pearson_upper
from smoothcs.bounds.blockers import BlockerSets, choose_blockers, single_blocker
from smoothcs.bounds.exact import exact_group_radius, exact_pair_radius, exact_rejects
from smoothcs.bounds.geometry import vote_root

if TYPE_CHECKING:
    from smoothcs.decision._votes import WeightedVotes


# Scores this close to each other, relatively, are a tie: rounding must not decide.
TIE = 1e-12


class Radii(NamedTuple):
    """Radii of n inputs: ``standard`` (n,), ``group`` (n,) and ``pair`` (n, m)."""

    standard: Floats
    group: Floats
    pair: Floats


@dataclass(frozen=True)
class Problem:
    """What radii are wanted for n inputs over m classes.

    By ``selection`` (n, m) votes ``decision``, tied to the classes, picked the class ``top`` (n,)
    of each input; ``n`` (n,) estimation votes bound the radii against the sensitive targets
    ``omega`` (n, m). ``correct`` (n,) are the true class indices if the claims are to include "the
    smoothed classifier predicts y". ``alpha`` is the level: a float, or one per input.
    """

    selection: Ints
    n: Ints
    omega: Bools
    alpha: Any
    bound: str
    decision: WeightedVotes
    simultaneous: bool = True
    blockers: bool | int = True
    correct: Indices | None = None

    @property
    def top(self) -> Indices:
        """The class picked for each input."""
        return self.decision.winner(self.selection)

    @property
    def weights(self) -> Floats:
        """How much a vote for each class counts, (m,)."""
        weights: Floats = self.decision.weights
        return weights

    @property
    def ratio(self) -> Floats:
        """Weight of each class relative to that of the class picked, (n, m)."""
        return self.weights / self.weights[self.top][:, None]

    @property
    def n_together(self) -> NDArray[np.int64] | int:
        """How many pair claims of an input share its level, (n, 1)."""
        return np.maximum(self.omega.sum(axis=1, keepdims=True), 1) if self.simultaneous else 1

    @property
    def seen(self) -> Bools:
        """Inputs whose class was picked, and is bounded, by votes."""
        return (self.selection.sum(axis=1) > 0) & (self.n > 0)

    def take(self, rows: Indices, level: float) -> Problem:
        """The problem of some inputs that are tested at one level."""
        return replace(
            self,
            selection=self.selection[rows],
            n=self.n[rows],
            omega=self.omega[rows],
            alpha=level,
            correct=None if self.correct is None else self.correct[rows],
        )


def weighted_winner(votes: NDArray[Any], weights: Floats) -> Indices:
    """Index of the largest weighted vote of each row, the lowest at a tie."""
    score = votes * (weights / weights.max())
    best = score.max(axis=1, keepdims=True)
    return (score >= best - TIE * np.abs(best)).argmax(axis=1)


def exact_radii(votes: Ints, problem: Problem) -> Radii:
    """Radii of the exact test, with blocker sets fixed by the selection votes.

    Standard and group radii are intersection-union tests: each target at the full level.
    """
    n, omega, alpha = problem.n, problem.omega, problem.alpha
    alone = single_blocker(problem.top, votes.shape[1], problem.weights)
    others = np.arange(votes.shape[1]) != problem.top[:, None]
    group_sets, pair_sets = _blocker_sets(problem)
    return Radii(
        standard=exact_group_radius(votes, alone, others, alpha, n=n),
        group=exact_group_radius(votes, group_sets, omega, alpha, n=n),
        pair=exact_pair_radius(votes, pair_sets, omega, alpha / problem.n_together, n=n),
    )


def closed_form_radii(votes: Ints, problem: Problem) -> Radii:
    """Radii of the intersection-union argument [Berger82], all at failure probability ``alpha``.

    The group radius is the least of the pair radii. It can only be too large if the bounds of the
    *one* target with the smallest true radius fail: alpha/2 for the top class and alpha/2 for that
    target, however many targets there are. Pair radii that are used together pay for each target.
    """
    n, omega, alpha = problem.n, problem.omega, problem.alpha
    every = _pair_bounds(votes, problem, omega, alpha / 2)
    return Radii(
        standard=_standard(votes, n, problem),
        group=np.where(omega, every, np.inf).min(axis=1),
        pair=_pair_bounds(votes, problem, omega, alpha / (2 * problem.n_together)),
    )


def paper_radii(votes: Ints, problem: Problem) -> Radii:
    """Algorithms 1 and 2 of [Xin25], letter for letter; ``simultaneous`` does not enter them.

    They are those of the plurality vote.
    """
    n, omega, alpha = problem.n, problem.omega, problem.alpha
    n_top = _take(votes, problem.top)
    standard = ndtri(clopper_pearson_lower(n_top, n, alpha))
    lower = ndtri(clopper_pearson_lower(n_top, n, alpha / 2))
    # The bound rises with the count: the largest bound is the bound of the largest count.
    largest = np.where(omega, votes, 0).max(axis=1)
    share = alpha / (2.0 * np.maximum(omega.sum(axis=1), 1))
    group_upper = ndtri(clopper_pearson_upper(largest, n, share))
    pair_upper = ndtri(clopper_pearson_upper(votes, n[:, None], alpha / 2))
    return Radii(
        standard=standard,
        group=np.maximum(standard, 0.5 * (lower - group_upper)),
        pair=np.maximum(standard[:, None], 0.5 * (lower[:, None] - pair_upper)),
    )


BOUNDS: dict[str, Callable[[Ints, Problem], Radii]] = {
    "exact": exact_radii,
    "closed-form": closed_form_radii,
    "paper": paper_radii,
}


def raw_radii(votes: Ints, problem: Problem) -> Radii:
    """Bound each input's radii; -inf where the class was picked, or shown correct, by no votes."""
    n, m = votes.shape
    raw = Radii(np.full(n, -np.inf), np.full(n, -np.inf), np.full((n, m), -np.inf))
    levels = np.broadcast_to(np.asarray(problem.alpha, dtype=np.float64), (n,))
    for level in np.unique(levels[problem.seen]):
        rows = np.flatnonzero(problem.seen & (levels == level))
        part = problem.take(rows, float(level))
        radii = BOUNDS[problem.bound](votes[rows], part)
        shown = _shown_correct(votes[rows], part)
        for whole, some in zip(raw, radii, strict=True):
            whole[rows] = np.where(_column(shown, some), some, -np.inf)
    return raw


def pairs_certified(votes: Ints, problem: Problem, eta: Any) -> Bools:
    """Tell for each input and class whether the pair radius exceeds ``eta``, one per input.

    For the exact bound one test each, where a radius would take a search.
    """
    etas = np.broadcast_to(np.asarray(eta, dtype=np.float64), (len(votes),))
    if problem.bound != "exact":
        return raw_radii(votes, problem).pair > etas[:, None]
    sets = _blocker_sets(problem)[1]
    levels = np.broadcast_to(np.reshape(problem.alpha, (-1, 1)) / problem.n_together, votes.shape)
    row, target = np.nonzero(problem.omega & problem.seen[:, None])
    shown = np.zeros(votes.shape, dtype=bool)
    shown[row, target] = exact_rejects(
        sets.count(votes)[row, target],
        votes[row, target],
        problem.n[row],
        etas[row],
        levels[row, target],
        sets.scale[row, target],
    )
    return shown & _shown_correct(votes, problem)[:, None]


def _shown_correct(votes: Ints, problem: Problem) -> Bools:
    """Tell for which inputs it is shown that the smoothed classifier predicts ``correct``.

    Every rival is tested at the full level (intersection-union).
    """
    if problem.correct is None:
        return np.ones(len(votes), dtype=bool)
    own = problem.correct[:, None]
    is_own = np.arange(votes.shape[1]) == own
    beaten = exact_rejects(
        np.take_along_axis(votes, own, axis=1),
        np.where(is_own, 0, votes),
        problem.n[:, None],
        0.0,
        np.reshape(problem.alpha, (-1, 1)),
        problem.weights / problem.weights[own],
    )
    return (beaten | is_own).all(axis=1)


def _blocker_sets(problem: Problem) -> tuple[BlockerSets, BlockerSets]:
    """Return the sets for the claim about the group and for the claims about pairs."""
    selection, omega, weights = problem.selection, problem.omega, problem.weights
    if problem.blockers is False:
        alone = single_blocker(problem.top, len(weights), weights)
        return alone, alone
    size = 3 if problem.blockers is True else int(problem.blockers)
    return (
        choose_blockers(selection, omega, ~omega, max_size=size, weights=weights),
        choose_blockers(selection, omega, max_size=size, weights=weights),
    )


def _pair_bounds(
    votes: Ints, problem: Problem, targets: Bools, level_target: Floats | float
) -> Floats:
    """Radius of each target from one bound for the top class, at alpha/2, and one for the target.

    -inf outside ``targets``, and for the top class itself, which nothing keeps from winning.
    """
    n = problem.n[:, None]
    lower = clopper_pearson_lower(_take(votes, problem.top)[:, None], n, problem.alpha / 2)
    # Where the lower bound holds, no other class can have more than the rest.
    upper = np.minimum(clopper_pearson_upper(votes, n, level_target), 1.0 - lower)
    radius = vote_root(lower, upper, problem.ratio)
    return np.where(targets & ~np.isnan(radius), radius, -np.inf)


def _standard(votes: Ints, n: Ints, problem: Problem) -> Floats:
    """Radius within which the top class stays ahead of every rival, each shown at level alpha.

    Rivals that count no more than the top class are given all its missing votes, as in [Cohen19]:
    one bound at alpha. For a heavier rival that would be much too pessimistic: its own votes are
    bounded, as those of a target are. The weights alone decide which, so alpha is not spent twice.
    """
    own = np.arange(votes.shape[1]) == problem.top[:, None]
    heavier = ~own & (problem.ratio > 1.0 + TIE)
    lighter = np.where(own | heavier, 0.0, problem.ratio).max(axis=1)
    lower = clopper_pearson_lower(_take(votes, problem.top), n, problem.alpha)
    any_lighter = lighter > 0
    radius = vote_root(lower, 1.0 - lower, np.where(any_lighter, lighter, 1.0))
    radius = np.where(any_lighter, radius, np.inf)
    if heavier.any():
        against = _pair_bounds(votes, problem, heavier, problem.alpha / 2)
        radius = np.minimum(radius, np.where(heavier, against, np.inf).min(axis=1))
    return radius


def _take(rows: Ints, column: Indices) -> Ints:
    return np.take_along_axis(rows, column[:, None], axis=1)[:, 0]


def _column(per_input: Bools, like: Floats) -> Bools:
    return per_input if like.ndim == 1 else per_input[:, None]
