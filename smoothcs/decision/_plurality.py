"""From votes to radii, in units of sigma: one function a bound, and the rules shared by all.

A bound is a function ``(votes, problem) -> Radii`` whose radii may be negative (nothing certified).
:func:`raw_radii` calls it, :func:`settle` turns its answer into what may be published. A new bound
is one function and one entry of ``BOUNDS``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from smoothcs.bounds.binomial import clopper_pearson_lower, clopper_pearson_upper
from smoothcs.bounds.blockers import BlockerSets, choose_blockers, single_blocker
from smoothcs.bounds.exact import exact_group_radius, exact_pair_radius, exact_rejects

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Radii(NamedTuple):
    """Radii of n inputs: ``standard`` (n,), ``group`` (n,) and ``pair`` (n, m)."""

    standard: Floats
    group: Floats
    pair: Floats


@dataclass(frozen=True)
class Problem:
    """What radii are wanted for n inputs over m classes.

    ``selection`` (n, m) votes picked the class ``top`` (n,) of each input; ``n`` (n,) estimation
    votes are to bound the radii against the sensitive targets ``omega`` (n, m). ``correct`` (n,)
    are the true class indices if the claims are to include "the smoothed classifier predicts y".
    ``alpha`` is the level: a float, or one for each input.
    """

    selection: Counts
    n: Counts
    omega: Mask
    alpha: Any
    bound: str
    simultaneous: bool = True
    blockers: bool | int = True
    correct: NDArray[np.intp] | None = None

    @property
    def top(self) -> NDArray[np.intp]:
        """The class picked for each input."""
        return self.selection.argmax(axis=1)


def closed_form_radii(votes: Counts, problem: Problem) -> Radii:
    """Radii of the intersection-union argument, all at failure probability ``alpha``.

    The group radius is the least of the pair radii. It can only be too large if the bounds of the
    *one* target with the smallest true radius fail: alpha/2 for the top class and alpha/2 for that
    target, however many targets there are. Pair radii that are used together pay for each target.
    """
    n, omega, alpha = problem.n, problem.omega, problem.alpha
    n_top = _take(votes, problem.top)
    lower = clopper_pearson_lower(n_top, n, alpha / 2)
    # Where the lower bound holds, no other class can have more than the rest.
    rest = 1.0 - lower
    group_upper = np.minimum(clopper_pearson_upper(_largest(votes, omega), n, alpha / 2), rest)
    level = _pair_level(omega, alpha) if problem.simultaneous else alpha / 2
    pair_upper = np.minimum(_upper_of_targets(votes, n, omega, level), rest[:, None])
    return Radii(
        standard=ndtri(clopper_pearson_lower(n_top, n, alpha)),
        group=_half_gap(lower, group_upper),
        pair=_half_gap(lower[:, None], pair_upper),
    )


def paper_radii(votes: Counts, problem: Problem) -> Radii:
    """Algorithms 1 and 2 of [Xin25], letter for letter; ``simultaneous`` does not enter them."""
    n, omega, alpha = problem.n, problem.omega, problem.alpha
    n_top = _take(votes, problem.top)
    standard = ndtri(clopper_pearson_lower(n_top, n, alpha))
    lower = clopper_pearson_lower(n_top, n, alpha / 2)
    # The bound rises with the count: the largest bound is the bound of the largest count.
    group_upper = clopper_pearson_upper(_largest(votes, omega), n, _pair_level(omega, alpha)[:, 0])
    pair_upper = _upper_of_targets(votes, n, omega, alpha / 2)
    return Radii(
        standard=standard,
        group=np.maximum(standard, _half_gap(lower, group_upper)),
        pair=np.maximum(standard[:, None], _half_gap(lower[:, None], pair_upper)),
    )


def exact_radii(votes: Counts, problem: Problem) -> Radii:
    """Radii of the exact test, with blocker sets fixed by the selection votes.

    Standard and group radii are intersection-union tests: each target at the full level.
    """
    n, omega, alpha = problem.n, problem.omega, problem.alpha
    n_classes = votes.shape[1]
    alone = single_blocker(problem.top, n_classes)
    others = np.arange(n_classes) != problem.top[:, None]
    group_sets, pair_sets = _blocker_sets(problem)
    n_targets = np.maximum(omega.sum(axis=1, keepdims=True), 1)
    return Radii(
        standard=exact_group_radius(votes, alone, others, alpha, n=n),
        group=exact_group_radius(votes, group_sets, omega, alpha, n=n),
        pair=exact_pair_radius(
            votes, pair_sets, omega, alpha / n_targets if problem.simultaneous else alpha, n=n
        ),
    )


def _blocker_sets(problem: Problem) -> tuple[BlockerSets, BlockerSets]:
    """Return the sets for the claim about the group and for the claims about pairs."""
    if problem.blockers is False:
        alone = single_blocker(problem.top, problem.omega.shape[1])
        return alone, alone
    size = 3 if problem.blockers is True else int(problem.blockers)
    return (
        choose_blockers(problem.selection, problem.omega, ~problem.omega, max_size=size),
        choose_blockers(problem.selection, problem.omega, max_size=size),
    )


BOUNDS: dict[str, Callable[[Counts, Problem], Radii]] = {
    "exact": exact_radii,
    "closed-form": closed_form_radii,
    "paper": paper_radii,
}


def raw_radii(votes: Counts, problem: Problem) -> Radii:
    """Bound each input's radii; -inf where the class was picked, or shown correct, by no votes.

    The level ``alpha`` may be given per input (a sequential rule spends it over several looks).
    """
    if np.ndim(problem.alpha):
        return _by_level(votes, problem)
    radii = BOUNDS[problem.bound](votes, problem)
    void = (problem.selection.sum(axis=1) == 0) | (problem.n == 0)
    if problem.correct is not None:
        void |= ~shown_correct(votes, problem.n, problem.correct, problem.alpha)
    if void.any():
        radii = Radii(*(np.where(_column(void, r), -np.inf, r) for r in radii))
    return radii


def pairs_certified(votes: Counts, problem: Problem, eta: float) -> Mask:
    """Tell for each input and class whether the pair radius exceeds ``eta``, in units of sigma.

    For the exact bound one test each, where a radius would take a search.
    """
    if problem.bound != "exact":
        return raw_radii(votes, problem).pair > eta
    sets = _blocker_sets(problem)[1]
    n_targets = np.maximum(problem.omega.sum(axis=1, keepdims=True), 1)
    level = np.reshape(problem.alpha, (-1, 1)) / (n_targets if problem.simultaneous else 1)
    row, target = np.nonzero(problem.omega)
    shown = np.zeros(votes.shape, dtype=bool)
    shown[row, target] = exact_rejects(
        sets.count(votes)[row, target],
        votes[row, target],
        problem.n[row],
        eta,
        np.broadcast_to(level, votes.shape)[row, target],
        sets.scale[row, target],
        two_classes=votes.shape[1] == 2,
    )
    void = (problem.selection.sum(axis=1) == 0) | (problem.n == 0)
    if problem.correct is not None:
        level = np.reshape(problem.alpha, (-1, 1))
        void |= ~shown_correct(votes, problem.n, problem.correct, level)
    return shown & ~void[:, None]


def _by_level(votes: Counts, problem: Problem) -> Radii:
    """Bound the radii of inputs that are tested at different levels."""
    levels = np.asarray(problem.alpha)
    radii = Radii(*(np.full(shape, -np.inf) for shape in (len(votes), len(votes), votes.shape)))
    for level in np.unique(levels):
        rows = levels == level
        part = replace(
            problem,
            selection=problem.selection[rows],
            n=problem.n[rows],
            omega=problem.omega[rows],
            alpha=float(level),
            correct=None if problem.correct is None else problem.correct[rows],
        )
        for whole, some in zip(radii, raw_radii(votes[rows], part), strict=True):
            whole[rows] = some
    return radii


def shown_correct(votes: Counts, n: Counts, correct: NDArray[np.intp], alpha: Any) -> Mask:
    """Tell for which inputs it is shown that the smoothed classifier predicts ``correct``.

    Every rival is tested at the full level (intersection-union).
    """
    is_own = np.arange(votes.shape[1]) == correct[:, None]
    rivals = np.where(is_own, 0, votes)
    beaten = exact_rejects(_take(votes, correct)[:, None], rivals, n[:, None], 0.0, alpha)
    return (beaten | is_own).all(axis=1)


def settle(
    raw: Radii, top: NDArray[np.intp], omega: Mask, sigma: float, dropped: Mask | None = None
) -> tuple[Radii, Mask]:
    """Scale by sigma, and leave no positive radius where nothing may be claimed.

    Returns the radii and which inputs are abstained on. All radii are 0 where the procedure
    abstains, where the class picked is itself a sensitive target, and where ``dropped`` says so;
    group radii are nan without a sensitive target, pair radii outside the sensitive targets.
    """
    costly = _take(omega, top)
    sensitive = omega.any(axis=1)
    # Comparisons with nan are false, so a radius that is not a number certifies nothing.
    avoids = ((raw.group > 0) & sensitive) | ((raw.pair > 0) & omega).any(axis=1)
    abstained = ~((raw.standard > 0) | (avoids & ~costly))
    void = abstained | costly
    if dropped is not None:
        void = void | dropped
    standard, group, pair = (np.where((r > 0) & ~_column(void, r), r, 0.0) * sigma for r in raw)
    radii = Radii(standard, np.where(sensitive, group, np.nan), np.where(omega, pair, np.nan))
    return radii, abstained


def _take(rows: NDArray, column: NDArray[np.intp]) -> NDArray:
    return np.take_along_axis(rows, column[:, None], axis=1)[:, 0]


def _column(per_input: Mask, like: NDArray) -> Mask:
    return per_input if like.ndim == 1 else per_input[:, None]


def _largest(votes: Counts, omega: Mask) -> Counts:
    return np.where(omega, votes, 0).max(axis=1)


def _pair_level(omega: Mask, alpha: float) -> Floats:
    """alpha / (2 |Omega|) of shape (n, 1)."""
    return alpha / (2.0 * np.maximum(omega.sum(axis=1, keepdims=True), 1))


def _upper_of_targets(votes: Counts, n: Counts, omega: Mask, level: Floats | float) -> Floats:
    """Upper bounds of the sensitive targets' probabilities; 1 (nothing known) elsewhere."""
    upper = np.ones(votes.shape)
    levels = np.broadcast_to(level, votes.shape)
    trials = np.broadcast_to(n[:, None], votes.shape)
    upper[omega] = clopper_pearson_upper(votes[omega], trials[omega], levels[omega])
    return upper


def _half_gap(lower: Floats, upper: Floats) -> Floats:
    return 0.5 * (ndtri(lower) - ndtri(upper))
