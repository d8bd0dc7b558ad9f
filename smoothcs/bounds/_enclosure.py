"""Upper bounds on null probabilities: the machinery under the exact test.

A case is one observed pair of counts with its hypothesis.  The p-value is a supremum over a curve
of null votes; branch and bound encloses it from above, many cases at a time.  Every number
computed here errs upwards, except where a function says that it only guesses.

References
----------
.. [Wilson27] Wilson, "Probable inference, the law of succession, and statistical inference",
   Journal of the American Statistical Association 22, 1927.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincc, gammaln, ndtri, xlog1py, xlogy

from smoothcs._validation import Bools, Floats, Ints
from smoothcs.bounds.binomial import clopper_pearson_lower, clopper_pearson_upper
from smoothcs.bounds.geometry import blocker_radius, feasible_end, null_boundary

# Terms of a flat sum computed at once: bounds the memory to a few tens of megabytes.
_MAX_TERMS = 500_000
# Cells of the nuisance parameter at the start, and how often one may be halved.
_FIRST_CELLS = 12
_MAX_HALVINGS = 7


@dataclass(frozen=True)
class _Cases:
    """Distinct cases and the region of outcomes at least as extreme as what was observed.

    The region of a case is {n_block >= k(n_target)}; its rows of the flat tables start at
    ``offset`` and belong to n_target = ``first``, ..., ``last``.
    """

    n: Floats
    n_block: Floats
    n_target: Floats
    s: Floats
    z: Floats
    observed: Floats
    low: Floats
    high: Floats
    reach: Floats
    first: Ints
    last: Ints
    offset: Ints
    k: Floats
    log_choose: Floats


def decide(unique: Floats, gamma: float, *, prove: bool = True) -> Bools:
    """Decide distinct cases, a memory-bounded number at a time.

    Without ``prove``, True only says that no evidence against a rejection was found at first sight.
    """
    n_block, n_target, n, eta, level, s, ordering_level = unique.T
    low = clopper_pearson_lower(n_target, n, 0.5 * gamma * level)
    high = clopper_pearson_upper(n_target, n, 0.5 * gamma * level)
    end = feasible_end(eta, s)
    low, high = np.minimum(low, end), np.minimum(high, end)
    z = np.maximum(-ndtri(ordering_level), 0.0)
    reach = np.maximum(-ndtri(level), 0.0) + 1.5
    first = _window_start(n, low, reach)
    rows = _window_end(n, high) - first + 1

    rejected = np.zeros(len(unique), dtype=bool)
    start = 0
    ends = np.cumsum(rows)
    while start < len(unique):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _MAX_TERMS, side="right")))
        part = slice(start, stop)
        cases = _tabulate(
            n[part], n_block[part], n_target[part], s[part], z[part],
            low[part], high[part], reach[part], first[part], rows[part],
        )  # fmt: skip
        threshold = (1.0 - gamma) * level[part]
        passed = _passes_at_likely_maximum(cases, eta[part], threshold)
        if prove:
            passed = _branch_and_bound(cases, eta[part], threshold, passed)
        rejected[part] = passed
        start = stop
    return rejected


def _window_start(n: Floats, p: Floats, reach: Floats) -> Ints:
    """Return a count of target votes below which next to nothing falls when h_j = p."""
    spread = np.sqrt(n * p * (1.0 - p))
    return np.maximum(np.floor(n * p - reach * spread - 2.0), 0.0).astype(np.int64)


def _window_end(n: Floats, p: Floats) -> Ints:
    """Return a count of target votes beyond which outcomes hardly matter."""
    spread = np.sqrt(n * p * (1.0 - p))
    return np.minimum(np.ceil(n * p + 3.0 * spread + 8.0), n).astype(np.int64)


def _tabulate(
    n: Floats, n_block: Floats, n_target: Floats, s: Floats, z: Floats,
    low: Floats, high: Floats, reach: Floats, first: Ints, rows: Ints,
) -> _Cases:  # fmt: skip
    """Tabulate k(n_target) of every case over the counts of the target that can matter."""
    lower = wilson(n_block, n, z, -1.0)
    upper = wilson(n_target, n, z, 1.0)
    # Rounded down: a smaller observed statistic means a larger region, which is the safe side.
    observed = blocker_radius(lower, upper, s) - 1e-9
    case, place, offset = _ragged(rows)
    count = first[case] + place
    with np.errstate(invalid="ignore"):
        edge = null_boundary(
            wilson(count.astype(np.float64), n[case], z[case], 1.0), observed[case], s[case]
        )
    trials = n[case]
    k = np.ceil(trials * edge + z[case] * np.sqrt(trials * edge * (1.0 - edge)) - 1e-6)
    k = np.where(edge < 1.0, k, trials + 1.0)
    # The observed outcome and all that dominate it belong to the region whatever the rounding.
    k = np.where(count <= n_target[case], np.minimum(k, n_block[case]), k)
    # Nondecreasing within a case, whatever the rounding: the proof needs an increasing region.
    shift = case * (trials.max() + 2.0)
    k = np.minimum.accumulate((k + shift)[::-1])[::-1] - shift
    log_choose = gammaln(trials + 1.0) - gammaln(count + 1.0) - gammaln(trials - count + 1.0)
    last = first + rows - 1
    return _Cases(
        n, n_block, n_target, s, z, observed, low, high, reach, first, last, offset, k, log_choose
    )


def wilson(k: Floats, n: Floats, z: Floats, sign: float) -> Floats:
    """Return Wilson's score limit [Wilson27], lower for sign = -1 and upper for +1."""
    share = k / n
    half = z * np.sqrt(share * (1.0 - share) / n + (0.5 * z / n) ** 2)
    limit = (share + 0.5 * z * z / n + sign * half) / (1.0 + z * z / n)
    return np.clip(limit, 0.0, 1.0)


def _ragged(rows: Ints) -> tuple[NDArray[np.intp], Ints, Ints]:
    """Return owner and place of every element of concatenated rows, and where each row starts."""
    offset = np.cumsum(rows) - rows
    owner = np.repeat(np.arange(len(rows)), rows)
    return owner, np.arange(len(owner)) - offset[owner], offset


def _branch_and_bound(cases: _Cases, eta: Floats, threshold: Floats, hopeful: Bools) -> Bools:
    """Return True where the p-value of a hopeful case is proven to be at most ``threshold``."""
    alive = hopeful.copy()
    # In the angle arcsin(sqrt(p)) a binomial count has about the same spread everywhere.
    start, stop = (np.arcsin(np.sqrt(end)) for end in (cases.low, cases.high))
    case = np.repeat(np.flatnonzero(alive), _FIRST_CELLS)
    step = np.tile(np.arange(_FIRST_CELLS), alive.sum()) / _FIRST_CELLS
    width = (stop - start) / _FIRST_CELLS
    left = start[case] + step * (stop - start)[case]
    for _ in range(_MAX_HALVINGS + 1):
        # Cells of a case that some other cell has sunk need no more work.
        keep = alive[case]
        case, left = case[keep], left[keep]
        if len(case) == 0:
            break
        right = left + width[case]
        bound = _corner_bound(cases, case, np.sin(left) ** 2, np.sin(right) ** 2, eta)
        # Written so that a nan stays undecided.
        undecided = ~(bound <= threshold[case])
        case, left, right = case[undecided], left[undecided], right[undecided]
        middle = 0.5 * (left + right)
        # One null point per case, in its worst cell, may settle that it cannot be rejected.
        order = np.lexsort((bound[undecided], case))
        worst = order[np.flatnonzero(np.diff(case[order], append=-1))]
        p = np.sin(middle[worst]) ** 2
        sunk = ~(_corner_bound(cases, case[worst], p, p, eta) <= threshold[case[worst]])
        alive[case[worst[sunk]]] = False
        width = 0.5 * width
        case, left = np.concatenate([case, case]), np.concatenate([left, middle])
    # Cells left over after the last halving were never decided.
    alive[case] = False
    return alive


def _corner_bound(
    cases: _Cases, case: NDArray[np.intp], b1: Floats, b2: Floats, eta: Floats
) -> Floats:
    """Bound P(region) on the null boundary, h_j in [b1, b2]: it rises in h_S, falls in h_j."""
    b1 = np.clip(b1, cases.low[case], cases.high[case])
    b2 = np.clip(b2, cases.low[case], cases.high[case])
    p_block = np.minimum(null_boundary(b2, eta[case], cases.s[case]), 1.0 - b1)
    return _probability_bound(cases, case, p_block, b1)


def _passes_at_likely_maximum(cases: _Cases, eta: Floats, threshold: Floats) -> Bools:
    """Return False where one null point, guessed to be the worst, already exceeds the threshold."""
    grid = np.linspace(0.0, 1.0, 17)
    start, stop = (np.arcsin(np.sqrt(end))[:, None] for end in (cases.low, cases.high))
    p = np.sin(start + grid * (stop - start)) ** 2
    n, s = cases.n[:, None], cases.s[:, None]
    boundary = np.minimum(null_boundary(p, eta[:, None], s), 1.0 - p)
    # Pearson's distance of the observed outcome from each null point, along the region's edge.
    step = np.maximum(np.sqrt(cases.n_target), 1.0)
    slope = (_edge(cases, cases.n_target + step) - _edge(cases, cases.n_target)) / step
    slope = np.maximum(slope, 0.0)[:, None]
    gap = cases.n_block[:, None] - n * boundary - slope * (cases.n_target[:, None] - n * p)
    variance = boundary * (1 - boundary) + slope**2 * p * (1 - p) + 2 * slope * boundary * p
    worst = np.argmin(gap / np.sqrt(n * variance + 1e-12), axis=1)
    every = np.arange(len(eta))
    likely = p[every, worst]
    return _corner_bound(cases, every, likely, likely, eta) <= threshold


def _edge(cases: _Cases, n_target: Floats) -> Floats:
    """Return the region's edge k(n_target) before it is rounded to a count."""
    upper = wilson(np.minimum(n_target, cases.n), cases.n, cases.z, 1.0)
    edge = null_boundary(upper, cases.observed, cases.s)
    return cases.n * edge + cases.z * np.sqrt(cases.n * edge * (1.0 - edge))


def _probability_bound(
    cases: _Cases, case: NDArray[np.intp], p_block: Floats, p_target: Floats
) -> Floats:
    """Return an upper bound on P(n_block >= k(n_target)) at null points, one per element of
    ``case``.

    It is the exact sum over a window of n_target, plus the whole probability of fewer target votes
    and a bound on the share of more.
    """
    n = cases.n[case]
    low = np.maximum(_window_start(n, p_target, cases.reach[case]), cases.first[case])
    high = np.maximum(np.minimum(_window_end(n, p_target), cases.last[case]), low)
    # Given n_target, the rest of the votes fall in the blocker set with this probability.
    share = np.minimum(p_block / np.maximum(1.0 - p_target, 1e-300), 1.0)
    high = _where_tails_vanish(cases, case, low, high, share)
    size = high - low + 1
    total = np.empty(len(case))
    ends = np.cumsum(size)
    start = 0
    while start < len(case):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _MAX_TERMS, side="right")))
        part = slice(start, stop)
        owner, place, offset = _ragged(size[part])
        b = p_target[part]
        trials = n[part][owner]
        count = (low[part][owner] + place).astype(np.float64)
        row = (cases.offset[case[part]] + low[part] - cases.first[case[part]])[owner] + place
        log_pmf = cases.log_choose[row] + xlogy(count, b[owner])
        log_pmf += xlog1py(trials - count, -b[owner])
        tail = _binomial_tail(cases.k[row], trials - count, share[part][owner])
        inside = np.add.reduceat(np.exp(log_pmf) * tail, offset)
        last_tail = tail[offset + size[part] - 1]
        total[part] = inside + _outside(n[part], b, low[part], high[part], last_tail)
        start = stop
    # Far above the rounding error of the sums, which grows with the logarithms of factorials.
    return total * (1.0 + 1e-9 + 1e-14 * n * np.log1p(n))


def _where_tails_vanish(
    cases: _Cases, case: NDArray[np.intp], low: Ints, high: Ints, share: Floats
) -> Ints:
    """Shorten windows at the end where the region's tail, falling in n_target, is next to nothing.

    Judged by z-scores at both ends; what is cut off is bounded like the rest outside the window.
    """
    n, offset, first = (values[case] for values in (cases.n, cases.offset, cases.first))

    def score(count: Ints) -> Floats:
        trials = n - count
        spread = np.sqrt(trials * share * (1.0 - share)) + 0.5
        return (cases.k[offset + count - first] - trials * share) / spread

    enough = cases.reach[case] + 1.5
    at_low, at_high = score(low), score(high)
    cut = (enough - at_low) / np.maximum(at_high - at_low, 1e-9)
    shorter = low + np.ceil(np.clip(cut, 0.0, 1.0) * (high - low)).astype(np.int64) + 2
    shorter = np.minimum(shorter, high)
    # The scores are no straight line: near the edge of the simplex the guess may come too early.
    vanished = (at_high > enough) & (score(shorter) > enough - 0.5)
    return np.where(vanished, shorter, high)


def _binomial_tail(k: Floats, trials: Floats, p: Floats) -> Floats:
    """Return P(Bin(trials, p) >= k), with the ends that the incomplete beta does not take."""
    inner = (k > 0) & (k <= trials)
    value = betainc(np.where(inner, k, 1.0), np.where(inner, trials - k + 1.0, 1.0), p)
    return np.where(inner, value, np.where(k <= 0, 1.0, 0.0))


def _outside(n: Floats, p: Floats, low: Ints, high: Ints, last_tail: Floats) -> Floats:
    """Bound the part of the region outside the window [low, high] of target votes."""
    below = np.where(low > 0, betaincc(np.maximum(low, 1), n - low + 1.0, p), 0.0)
    above = np.where(high < n, betainc(high + 1.0, np.maximum(n - high, 1.0), p), 0.0)
    return below + above * last_tail
