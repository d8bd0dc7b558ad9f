"""Radii of decision rules other than the plurality vote, in units of sigma.

Every radius is the root of a function that falls in eta = r / sigma: a combination, with weights
>= 0, of the least share Phi(PhiInv(P) - eta) that a perturbation of that length can leave to a set
of classes which holds the share P of the votes ([Cohen19], Lemma 4).  Proofs: the theory pages.

References
----------
.. [Cohen19] J. Cohen, E. Rosenfeld and J. Z. Kolter, "Certified adversarial robustness via
   randomized smoothing", ICML 2019.
.. [Elkan01] C. Elkan, "The foundations of cost-sensitive learning", IJCAI 2001.
.. [Berger82] R. L. Berger, "Multiparameter hypothesis testing and acceptance sampling",
   Technometrics 24, 1982 (intersection-union tests).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from smoothcs.bounds.binomial import clopper_pearson_lower, clopper_pearson_upper
from smoothcs.bounds.blockers import choose_blockers, single_blocker
from smoothcs.bounds.exact import exact_group_radius, exact_pair_radius, exact_rejects
from smoothcs.bounds.geometry import vote_root
from smoothcs.decision._plurality import Counts, Floats, Mask, Problem, Radii

Labels = NDArray[np.intp]

DECISION_BOUNDS = ("closed-form", "exact")

# Scores this close to each other, relatively, are a tie: rounding must not decide.
TIE = 1e-12

# No radius is claimed beyond this many sigma: the normal tails underflow there.
_LONGEST = 37.0


def lowest_best(score: Floats) -> Labels:
    """Index of the largest score of each row, the lowest at a tie."""
    best = score.max(axis=1, keepdims=True)
    return (score >= best - TIE * np.abs(best)).argmax(axis=1)


def weighted_winner(votes: NDArray, weights: Floats) -> Labels:
    """The class with the largest weighted vote."""
    return lowest_best(votes * (weights / weights.max()))


def expected_cost_winner(votes: NDArray, costs: Floats) -> Labels:
    """The class of least expected cost."""
    # As the cost avoided against always paying the most: >= 0, so that a tie is relative to it.
    return lowest_best(votes @ (costs.max() - costs))


def share_root(shares: Floats, gaps: Floats, least: float) -> Floats:
    """Root of least + sum_i gaps[i] Phi(PhiInv(shares[:, i]) - eta), never rounded up.

    ``shares`` (n, t) rise along a row; -inf where the function is not positive at eta = 0.
    """
    quantile = ndtri(shares)
    # Far above the rounding error of the sum: what is not clearly positive is not positive.
    margin = 1e-14 * (abs(least) + gaps.sum())

    def positive(eta: Floats) -> Mask:
        return least + ndtr(quantile - eta[:, None]) @ gaps > margin

    low, high = np.zeros(len(shares)), np.full(len(shares), _LONGEST)
    never = ~positive(low)
    for _ in range(52):
        middle = 0.5 * (low + high)
        holds = positive(middle)
        low, high = np.where(holds, middle, low), np.where(holds, high, middle)
    return np.where(never, -np.inf, low)


def cost_steps(costs: Floats, top: int, rival: int) -> tuple[Labels, Floats, float]:
    """The expected cost of ``rival`` less that of ``top``, as steps over growing sets of classes.

    With c_k = C[k, rival] - C[k, top] in falling order, sum_k c_k h_k = least + sum_i gaps[i] P_i,
    where P_i is the share of the first ``ends[i] + 1`` classes of ``order``.  Returned is, for each
    class, the first i whose set holds it (len(gaps) if none does), then the gaps and the least c_k.
    """
    c = costs[:, rival] - costs[:, top]
    order = np.argsort(-c, kind="stable")
    gaps = -np.diff(c[order])
    kept = np.flatnonzero(gaps > TIE * np.abs(c).max(initial=0.0))
    entry = np.empty(len(c), dtype=np.intp)
    entry[order] = np.searchsorted(kept, np.arange(len(c)))
    return entry, gaps[kept], float(c.min())


def _cumulative_shares(values: NDArray, entry: Labels, n_steps: int) -> NDArray:
    """Sums of the columns of ``values`` over the sets of `cost_steps`, of shape (n, n_steps)."""
    total = [values[:, entry <= i].sum(axis=1) for i in range(n_steps)]
    return np.stack(total, axis=1) if total else np.empty((len(values), 0), dtype=values.dtype)


def expected_cost_root(h: Floats, costs: Floats, top: int, rival: int) -> Floats:
    """Radius of known probabilities within which ``rival`` does not become cheaper than ``top``."""
    entry, gaps, least = cost_steps(costs, top, rival)
    shares = np.clip(_cumulative_shares(h, entry, len(gaps)), 0.0, 1.0)
    return share_root(shares, gaps, least)


def expected_cost_bound(
    votes: Counts, n: Counts, costs: Floats, top: int, rival: int, level: Floats | float
) -> Floats:
    """As `expected_cost_root`, from votes: too large with probability at most ``level``.

    Every set whose share enters gets an equal part of the level (Bonferroni).
    """
    entry, gaps, least = cost_steps(costs, top, rival)
    counts = _cumulative_shares(votes, entry, len(gaps))
    part = np.broadcast_to(level, n.shape)[:, None] / max(len(gaps), 1)
    shares = clopper_pearson_lower(counts, n[:, None], part)
    # A larger set holds at least the share of a smaller one.
    return share_root(np.maximum.accumulate(shares, axis=1), gaps, least)


def radii_by_level(
    bound: Callable[[Counts, Problem, float], Radii], votes: Counts, problem: Problem
) -> Radii:
    """Radii that are not positive certify nothing; ``problem.alpha`` may differ between inputs."""
    levels = np.broadcast_to(np.asarray(problem.alpha, dtype=np.float64), problem.n.shape)
    n, m = votes.shape
    raw = Radii(np.full(n, -np.inf), np.full(n, -np.inf), np.full((n, m), -np.inf))
    # An input whose class was picked, or would be bounded, by no votes has nothing certified.
    seen = (problem.selection.sum(axis=1) > 0) & (problem.n > 0)
    for level in np.unique(levels[seen]):
        rows = np.flatnonzero(seen & (levels == level))
        part = replace(
            problem,
            selection=problem.selection[rows],
            n=problem.n[rows],
            omega=problem.omega[rows],
            alpha=float(level),
            correct=None if problem.correct is None else problem.correct[rows],
        )
        for whole, some in zip(raw, bound(votes[rows], part, float(level)), strict=True):
            whole[rows] = some
    return raw


def weighted_radii(votes: Counts, problem: Problem, alpha: float, weights: Floats) -> Radii:
    """Radii of the weighted vote at failure probability alpha."""
    n, omega = problem.n, problem.omega
    top = weighted_winner(problem.selection, weights)
    alone = single_blocker(top, len(weights), weights)
    n_targets = np.maximum(omega.sum(axis=1, keepdims=True), 1) if problem.simultaneous else 1
    if problem.bound == "exact":
        others = np.arange(len(weights)) != top[:, None]
        group_sets = pair_sets = alone
        if problem.blockers is not False:
            size = 3 if problem.blockers is True else int(problem.blockers)
            group_sets, pair_sets = (
                choose_blockers(problem.selection, omega, allowed, max_size=size, weights=weights)
                for allowed in (~omega, None)
            )
        radii = Radii(
            standard=exact_group_radius(votes, alone, others, alpha),
            group=exact_group_radius(votes, group_sets, omega, alpha),
            pair=exact_pair_radius(votes, pair_sets, omega, alpha / n_targets),
        )
    else:
        every = _closed_form(votes, n, top, omega, alone.scale, alpha / 2, alpha / 2)
        radii = Radii(
            standard=_standard(votes, n, top, alpha, weights),
            group=np.where(omega, every, np.inf).min(axis=1),
            pair=_closed_form(
                votes, n, top, omega, alone.scale, alpha / 2, alpha / (2 * n_targets)
            ),
        )
    if problem.correct is not None:
        # Every rival at the full level (intersection-union).
        own = np.take_along_axis(votes, problem.correct[:, None], axis=1)
        is_own = np.arange(len(weights)) == problem.correct[:, None]
        ratio = weights / weights[problem.correct][:, None]
        rivals = np.where(is_own, 0, votes)
        shown = (exact_rejects(own, rivals, n[:, None], 0.0, alpha, ratio) | is_own).all(axis=1)
        radii = _where(shown, radii)
    return radii


def expected_cost_radii(votes: Counts, problem: Problem, alpha: float, costs: Floats) -> Radii:
    """Radii of the rule of least expected cost at failure probability alpha."""
    n, omega = problem.n, problem.omega
    top = expected_cost_winner(problem.selection, costs)
    every = _expected_cost_pairs(votes, n, top, costs, np.full(len(votes), alpha))
    share = alpha / np.maximum(omega.sum(axis=1), 1)
    pair = _expected_cost_pairs(votes, n, top, costs, share) if problem.simultaneous else every
    radii = Radii(
        # The class itself is no rival; as a target it is costly, and nothing is certified.
        standard=np.where(np.arange(len(costs)) == top[:, None], np.inf, every).min(axis=1),
        group=np.where(omega, every, np.inf).min(axis=1),
        pair=np.where(omega, pair, -np.inf),
    )
    if problem.correct is not None:
        ahead = _expected_cost_pairs(votes, n, problem.correct, costs, np.full(len(votes), alpha))
        is_own = np.arange(len(costs)) == problem.correct[:, None]
        radii = _where(((ahead >= 0) | is_own).all(axis=1), radii)
    return radii


def _expected_cost_pairs(
    votes: Counts, n: Counts, top: Labels, costs: Floats, level: Floats
) -> Floats:
    """Radius within which each class stays dearer than the top class; -inf for the latter."""
    radius = np.full(votes.shape, -np.inf)
    for a in np.unique(top):
        rows = np.flatnonzero(top == a)
        for j in range(len(costs)):
            if j != a:
                radius[rows, j] = expected_cost_bound(
                    votes[rows], n[rows], costs, int(a), j, level[rows]
                )
    return radius


def _where(shown: Mask, radii: Radii) -> Radii:
    """Certify nothing where the claim about the label is not shown."""
    return Radii(*(np.where(shown if r.ndim == 1 else shown[:, None], r, -np.inf) for r in radii))


def _closed_form(
    votes: Counts,
    n: Counts,
    top: Labels,
    omega: Mask,
    ratio: Floats,
    level_top: float,
    level_target: Floats | float,
) -> Floats:
    """Radius of each target from one bound for the top class and one for the target."""
    n_top = np.take_along_axis(votes, top[:, None], axis=1)
    lower = clopper_pearson_lower(n_top, n[:, None], level_top)
    # Where the lower bound holds, no other class can have more than the rest.
    upper = np.minimum(clopper_pearson_upper(votes, n[:, None], level_target), 1.0 - lower)
    radius = vote_root(lower, upper, ratio)
    # nan: the top class itself, which nothing keeps from winning.
    return np.where(omega & ~np.isnan(radius), radius, -np.inf)


def _standard(votes: Counts, n: Counts, top: Labels, alpha: float, weights: Floats) -> Floats:
    """Radius within which the top class stays ahead of every rival, each shown at level alpha.

    Rivals that count no more than the top class are given all its missing votes, as in [Cohen19]:
    one bound at alpha.  For a heavier rival that would be much too pessimistic: its own votes are
    bounded, as those of a target are.  The weights alone decide which, so alpha is not spent twice.
    """
    own = np.arange(len(weights)) == top[:, None]
    ratio = weights / weights[top][:, None]
    heavier = ~own & (ratio > 1.0 + TIE)
    lighter = np.where(own | heavier, 0.0, ratio).max(axis=1)
    n_top = np.take_along_axis(votes, top[:, None], axis=1)[:, 0]
    lower = clopper_pearson_lower(n_top, n, alpha)
    any_lighter = lighter > 0
    against_lighter = vote_root(lower, 1.0 - lower, np.where(any_lighter, lighter, 1.0))
    against = _closed_form(votes, n, top, heavier, ratio, alpha / 2, alpha / 2)
    against[~heavier] = np.inf
    return np.minimum(np.where(any_lighter, against_lighter, np.inf), against.min(axis=1))
