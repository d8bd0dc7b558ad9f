"""The direct test of "no perturbation within eps makes the smoothed classifier predict the target".

The published certificate bounds the probability of the top class and that of the target apart,
each at a share of alpha, and combines the bounds.  Here the hypothesis itself is tested.  With n
votes, n_block of them in a set S fixed beforehand and n_target for the target j, the null
hypothesis at eta = eps / sigma is

    H0(eta):  h_S <= g(h_j; eta, s),          g = `smoothcs.bounds.geometry.null_boundary`.

Outcomes are ordered by the radius that Wilson's score limits give.  The p-value is the largest null
probability of an outcome at least as extreme, over h_j in a Clopper-Pearson interval of level
1 - gamma * level ([BB94]); H0 is rejected when it is at most (1 - gamma) * level.  The supremum is
enclosed by branch and bound: what is computed is never below it, and an undecided case is not
rejected.  The p-value does not fall as eta grows, so one run may be asked about any number of eta.

With two classes n_target is n - n_block and the test is binomial: nothing needs to be searched.

References
----------
.. [BB94] Berger and Boos, "P values maximized over a confidence set for the nuisance parameter",
   Journal of the American Statistical Association 89, 1994.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from smoothcs._validation import Bools, Floats, check_positive, check_probability
from smoothcs.bounds._enclosure import decide, wilson
from smoothcs.bounds.binomial import check_counts, check_votes, clopper_pearson_lower
from smoothcs.bounds.blockers import BlockerSets
from smoothcs.bounds.geometry import blocker_radius, null_boundary, two_class_radius

__all__ = ["exact_group_radius", "exact_pair_radius", "exact_radius", "exact_rejects"]


def exact_rejects(
    n_block: ArrayLike,
    n_target: ArrayLike,
    n: ArrayLike,
    eta: ArrayLike,
    level: ArrayLike,
    s: ArrayLike = 1.0,
    *,
    gamma: float = 0.01,
    ordering_level: ArrayLike | None = None,
    two_classes: bool = False,
) -> Bools:
    """Test whether the target can be predicted within ``eta``; True certifies that it cannot.

    Parameters
    ----------
    n_block : array_like of int
        Estimation votes in the blocker set, which was fixed before they were drawn.
    n_target : array_like of int
        Estimation votes for the target, which is not in the blocker set.
    n : array_like of int
        Estimation votes in all.
    eta : array_like of float
        Attack radius in units of sigma, eps / sigma.
    level : array_like of float
        Largest probability of a false rejection, in (0, 1).
    s : array_like of float, default=1
        Size of the blocker set, or its weighted size, > 0.
    gamma : float, default=0.01
        Share of the level spent on the interval for the nuisance parameter.
    ordering_level : array_like of float, optional
        Level whose quantile orders the outcomes; by default ``level``.  Where one hypothesis is
        tested at several levels on the same votes (Holm's procedure), give the same ordering_level
        in each test: the rejection regions are then nested in the level.
    two_classes : bool, default=False
        Whether there is no class but the blocker and the target, so that the test is binomial and
        needs neither ``gamma`` nor ``ordering_level``.  It must not depend on the votes.

    Returns
    -------
    ndarray of bool, broadcast shape
        False wherever nothing is proven, in particular where ``eta`` or ``s`` is nan.

    Raises
    ------
    ValueError
        If counts are not integers >= 0, if ``n_block + n_target > n``, if ``s`` is not positive,
        or if a level is outside (0, 1); with ``two_classes``, if votes are missing.

    Examples
    --------
    >>> exact_rejects(n_block=[84, 88], n_target=1, n=100, eta=1.0, level=0.001)
    array([False,  True])
    """
    cases = _check_cases(n_block, n_target, n, eta, level, s, gamma, ordering_level)
    shape = cases[0].shape
    if two_classes:
        return np.isfinite(cases[3]) & (cases[3] <= _two_class_radius(cases))
    flat = np.stack([array.ravel() for array in cases], axis=1)
    rejected = np.zeros(len(flat), dtype=bool)
    # Equal cases are common (few votes, many targets without any), so each is decided once.
    possible = np.flatnonzero(_may_reject(flat))
    if len(possible):
        first, inverse = _distinct(flat[possible])
        rejected[possible] = decide(flat[possible[first]], gamma)[inverse]
    return rejected.reshape(shape)


def exact_radius(
    n_block: ArrayLike,
    n_target: ArrayLike,
    n: ArrayLike,
    level: ArrayLike,
    s: ArrayLike = 1.0,
    *,
    tol: float = 1e-3,
    gamma: float = 0.01,
    ordering_level: ArrayLike | None = None,
    two_classes: bool = False,
) -> Floats:
    """Return the largest radius that `exact_rejects` certifies, in units of sigma.

    Parameters
    ----------
    n_block, n_target, n, level, s, gamma, ordering_level, two_classes
        As in `exact_rejects`.
    tol : float, default=1e-3
        The radius is rounded down by at most this much, and not at all with ``two_classes``.

    Returns
    -------
    ndarray of float64, broadcast shape
        0 where nothing is certified, not even at the input itself.

    Notes
    -----
    The null hypotheses grow with eta, so a rejection at one eta is a proof for every smaller one:
    the radius holds with the confidence of a single test.

    Examples
    --------
    >>> exact_radius(n_block=[990, 600], n_target=[5, 300], n=1000, level=0.001).round(2)
    array([2.06, 0.27])
    """
    check_positive("tol", tol)
    cases = _check_cases(n_block, n_target, n, 0.0, level, s, gamma, ordering_level)
    shape = cases[0].shape
    if two_classes:
        return np.fmax(_two_class_radius(cases), 0.0)
    flat = np.stack([array.ravel() for array in cases], axis=1)
    first, inverse = _distinct(flat)
    return _search(flat[first], tol, gamma)[inverse].reshape(shape)


def _two_class_radius(cases: list[Floats]) -> Floats:
    """Return the radius of the binomial test; negative or nan where nothing is certified."""
    n_block, n_target, n, _, level, s, _ = cases
    if not np.all((n_block + n_target == n) | np.isnan(s)):
        raise ValueError("with two classes n_block + n_target must be n: votes are missing.")
    return two_class_radius(clopper_pearson_lower(n_block, n, level), s)


def _search(unique: Floats, tol: float, gamma: float) -> Floats:
    """Find the radius of every case, all of them in step."""
    n_block, n_target, n, _, _, s, ordering_level = unique.T
    guess = np.maximum(likely_radius(n_block, n_target, n, s, ordering_level), 0.0)
    nowhere = np.full(len(unique), np.inf)
    # One null point refuses at a fraction of the cost of a proof, and is seldom wrong by much.
    near, above = _bracket(unique, guess, nowhere, 0.2 * tol, gamma, prove=False)
    # A little below, proofs are much cheaper: fewer cells come close to the threshold.
    start = np.where(near > 0.0, np.maximum(near - 0.7 * tol, 0.0), near)
    radius, _ = _bracket(unique, start, above, tol, gamma, prove=True)
    return np.maximum(radius, 0.0)


def _bracket(
    unique: Floats, eta: Floats, above: Floats, tol: float, gamma: float, *, prove: bool
) -> tuple[Floats, Floats]:
    """Bracket each radius within ``tol``: rejected at the first number (-1: nowhere), not at the
    other.

    The search starts at ``eta`` and stays below ``above``; without ``prove`` a case counts as
    rejected until a null point speaks against it.
    """
    below, above, eta = np.full(len(unique), -1.0), above.copy(), eta.copy()
    step = np.maximum(tol, 0.01 * eta) if not prove else np.full(len(unique), tol)
    active = np.flatnonzero(np.isfinite(eta) & (eta >= 0.0))
    while len(active):
        trial = unique[active].copy()
        trial[:, 3] = eta[active]
        passed = _may_reject(trial)
        passed[passed] = decide(trial[passed], gamma, prove=prove)
        below[active[passed]] = eta[active[passed]]
        above[active[~passed]] = eta[active[~passed]]
        # Walk away from the start with growing steps until both ends are known, then bisect.
        walk = np.where(passed, eta[active] + step[active], eta[active] - step[active])
        known = (below[active] >= 0.0) & np.isfinite(above[active])
        middle = 0.5 * (below[active] + above[active])
        eta[active] = np.where(known, middle, np.maximum(walk, 0.0))
        step[active] *= 3.0
        active = active[(above[active] > 0.0) & (above[active] - below[active] > tol)]
    return below, above


def likely_radius(
    n_block: ArrayLike, n_target: ArrayLike, n: ArrayLike, s: ArrayLike, level: ArrayLike
) -> Floats:
    """Guess the radius: the estimate less the root of the summed squares of its two margins."""
    z = np.maximum(-ndtri(level), 0.0)
    n = np.maximum(np.asarray(n, dtype=np.float64), 1.0)
    # Half a vote keeps the estimate finite where a class got all votes or none.
    n_block, n_target = np.clip(n_block, 0.5, n - 0.5), np.clip(n_target, 0.5, n - 0.5)
    block, target = n_block / n, n_target / n
    estimate = blocker_radius(block, target, s)
    less = estimate - blocker_radius(wilson(n_block, n, z, -1.0), target, s)
    more = estimate - blocker_radius(block, wilson(n_target, n, z, 1.0), s)
    return estimate - np.hypot(less, more)


def _check_cases(
    n_block: ArrayLike,
    n_target: ArrayLike,
    n: ArrayLike,
    eta: ArrayLike,
    level: ArrayLike,
    s: ArrayLike,
    gamma: float,
    ordering_level: ArrayLike | None,
) -> list[Floats]:
    """Return the seven arguments as float64 arrays of one shape, or raise naming the wrong one."""
    counts = [
        check_counts(name, value).astype(np.float64)
        for name, value in (("n_block", n_block), ("n_target", n_target), ("n", n))
    ]
    if not np.all(counts[0] + counts[1] <= counts[2]):
        raise ValueError("n_block + n_target must not exceed n: the votes are inconsistent.")
    check_probability("gamma", gamma)
    levels = [np.asarray(level, dtype=np.float64)]
    levels.append(levels[0] if ordering_level is None else np.asarray(ordering_level, np.float64))
    for name, value in zip(("level", "ordering_level"), levels, strict=True):
        if not np.all((value > 0) & (value < 1)):
            raise ValueError(f"{name} must lie strictly between 0 and 1; got {value!r}.")
    sizes = np.asarray(s, dtype=np.float64)
    if np.any(sizes <= 0):
        raise ValueError(f"s must be > 0; got {sizes.min()}.")
    arrays = [*counts, np.asarray(eta, dtype=np.float64), levels[0], sizes, levels[1]]
    return list(np.broadcast_arrays(*arrays))


def _distinct(flat: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return where each distinct row occurs first, and for every row which distinct one it is."""
    key = np.zeros(len(flat), dtype=np.intp)
    for column in flat.T:
        # Most columns hold one number: comparing is much faster than sorting whole rows.
        if len(column) and not (column == column[0]).all():
            values, code = np.unique(column, return_inverse=True)
            key = np.unique(key * len(values) + code, return_inverse=True)[1]
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    return first, inverse


def _may_reject(flat: Floats) -> Bools:
    """Return False for cases that cannot be rejected; True decides nothing."""
    n_block, n_target, n, eta, level, s, _ = flat.T
    known = np.isfinite(eta) & np.isfinite(s) & (n_block > 0)
    eta = np.where(known, eta, np.nan)
    share = 1.0 / np.maximum(n, 1.0)
    # Votes that lie on the null side themselves speak for no level below one half.
    return known & ((level >= 0.5) | (n_block * share > null_boundary(n_target * share, eta, s)))


def exact_pair_radius(
    votes: ArrayLike,
    blockers: BlockerSets,
    targets: ArrayLike,
    level: ArrayLike,
    *,
    n: ArrayLike | None = None,
    tol: float = 1e-3,
) -> Floats:
    """Return the radius within which each target is not predicted, in units of sigma.

    Parameters
    ----------
    votes : array_like of int of shape (n_inputs, n_classes)
        Estimation votes.
    blockers : BlockerSets
        Chosen without the estimation votes, see `smoothcs.bounds.blockers.choose_blockers`.
    targets : array_like of bool of shape (n_inputs, n_classes)
        The sensitive targets.
    level : array_like of float, broadcastable to (n_inputs, n_classes)
        Failure probability of each radius.  The radii of one input hold together with confidence
        1 - alpha when their levels sum to alpha, for instance alpha / number of targets.
    n : array_like of int of shape (n_inputs,), optional
        Votes drawn per input; by default the sum of each row.
    tol : float, default=1e-3
        The radii are rounded down by at most this much.

    Returns
    -------
    ndarray of float64 of shape (n_inputs, n_classes)
        nan where the class is not a target, 0 where nothing is certified.

    Examples
    --------
    >>> from smoothcs.bounds.blockers import single_blocker
    >>> one = single_blocker([0], n_classes=3)
    >>> exact_pair_radius([[90, 8, 2]], one, [[False, True, True]], 0.01).round(1)
    array([[nan, 0.9, 1.1]])
    """
    counts, wanted, totals = _check_group(votes, targets, n)
    levels = np.broadcast_to(np.asarray(level, dtype=np.float64), counts.shape)
    row, target = np.nonzero(wanted)
    blocked = blockers.count(counts)
    radius = np.full(counts.shape, np.nan)
    radius[row, target] = exact_radius(
        blocked[row, target], counts[row, target], totals[row], levels[row, target],
        blockers.scale[row, target], tol=tol, two_classes=counts.shape[1] == 2,
    )  # fmt: skip
    return radius


def exact_group_radius(
    votes: ArrayLike,
    blockers: BlockerSets,
    targets: ArrayLike,
    level: ArrayLike,
    *,
    n: ArrayLike | None = None,
    tol: float = 1e-3,
) -> Floats:
    """Return the radius within which none of the targets is predicted, in units of sigma.

    Each target is tested at the full level: a false claim about the group needs a false claim
    about the one target whose true radius is smallest (an intersection-union test).

    Parameters
    ----------
    votes, blockers, targets, n, tol
        As in `exact_pair_radius`.
    level : float or array_like of float of shape (n_inputs,)
        Failure probability of the group radius.

    Returns
    -------
    ndarray of float64 of shape (n_inputs,)
        inf for an input without targets, 0 where nothing is certified.

    Examples
    --------
    >>> from smoothcs.bounds.blockers import single_blocker
    >>> one = single_blocker([0], n_classes=3)
    >>> exact_group_radius([[90, 8, 2]], one, [[False, True, True]], 0.01).round(1)
    array([0.9])
    """
    counts, wanted, totals = _check_group(votes, targets, n)
    row, target = np.nonzero(wanted)
    levels = np.broadcast_to(np.asarray(level, dtype=np.float64), len(counts))[row]
    blocked, hits = blockers.count(counts)[row, target], counts[row, target]
    total, scale = totals[row], blockers.scale[row, target]
    radius = np.full(len(counts), np.inf)
    two_classes = counts.shape[1] == 2

    def radii(cases: NDArray[np.intp]) -> Floats:
        return exact_radius(
            blocked[cases], hits[cases], total[cases], levels[cases], scale[cases],
            tol=tol, two_classes=two_classes,
        )  # fmt: skip

    if len(row) == 0:
        return radius
    # The radius of the target that looks worst is an upper bound which the others seldom lower.
    guess = likely_radius(blocked, hits, total, scale, levels)
    order = np.lexsort((np.where(np.isnan(guess), -np.inf, guess), row))
    worst = order[np.unique(row[order], return_index=True)[1]]
    radius[row[worst]] = radii(worst)
    rest = np.setdiff1d(np.flatnonzero(radius[row] > 0.0), worst)
    passed = exact_rejects(
        blocked[rest], hits[rest], total[rest], radius[row[rest]], levels[rest], scale[rest],
        two_classes=two_classes,
    )  # fmt: skip
    rest = rest[~passed]
    np.minimum.at(radius, row[rest], radii(rest))
    return radius


def _check_group(
    votes: ArrayLike, targets: ArrayLike, n: ArrayLike | None
) -> tuple[NDArray[np.int64], Bools, NDArray[np.int64]]:
    """Return votes, targets and votes per input as arrays, or raise naming the wrong one."""
    counts = check_votes("votes", votes)
    wanted = np.asarray(targets, dtype=bool)
    if wanted.shape != counts.shape:
        raise ValueError(f"targets must have shape {counts.shape} as votes; got {wanted.shape}.")
    totals = counts.sum(axis=1)
    if n is not None and not np.array_equal(totals, np.broadcast_to(n, totals.shape)):
        raise ValueError(f"votes must sum to n in every row; got sums {totals} for n = {n!r}.")
    return counts, wanted, totals
