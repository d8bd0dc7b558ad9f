"""The search behind `tune_decision`: accuracy against certified robustness, over weights.

Multiply the weights of the classes in a set T by one factor exp(t).  The leader within T and the
leader outside stay who they are; which of the two wins depends on one threshold for t, and so does
whether a target can overtake the winner.  An example is therefore robust for all t below one number
and all t above another: one sort gives both metrics at every t (an exact line search).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtri

from smoothcs.decision._radii import Floats, Indices, Mask, weighted_winner

# Log weights are multiples of this: steps of 9 percent, too coarse to fit single examples.
STEP = np.log(2.0) / 8.0
# What a point of accuracy is worth in points of robustness, from cautious to bold.
_TRADE_OFFS = 2.0 ** np.arange(6, -5, -1)
_MAX_SWEEPS = 4
_MAX_POINTS = 60
# Two leaders this close tie; the one with the lower index wins.
_TIE = 1e-9


class Frontier(NamedTuple):
    """Points no other point beats in both numbers, by falling accuracy.

    ``log_weights`` (p, m) in steps, ``accuracy`` (p,) and ``gain`` (p,), which is maximised.
    """

    log_weights: NDArray[np.int64]
    accuracy: Floats
    gain: Floats

    def take(self, points: Indices) -> Frontier:
        """Some of the points."""
        return Frontier(self.log_weights[points], self.accuracy[points], self.gain[points])


@dataclass(frozen=True)
class VoteTable:
    """What votes say about n inputs at one eps; s of them are of sensitive classes.

    ``votes`` (n, m) pick the winner, ``truth`` (n,) are class indices (-1: never correct),
    ``sensitive`` (s,) says which inputs the next rows are. ``stake`` (s, m) is what each sensitive
    target contributes to the gain if it is certified; with ``together`` all targets of an input
    must be, and ``stake`` counts once. Logarithms of shares of votes at a distance eps: ``kept``
    (s, m) the least that a class can keep, ``taken`` the most that it can get, ``left`` the most
    that it can leave to others.
    """

    votes: NDArray[np.int64]
    truth: Indices
    sensitive: Indices
    omega: Mask
    stake: Floats
    together: bool
    kept: Floats
    taken: Floats
    left: Floats

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return self.votes.shape[1]

    @property
    def worth(self) -> float:
        """Mean gain if everything is certified."""
        total = self.stake.max(axis=1) if self.together else self.stake.sum(axis=1)
        return float(total.mean())

    def take(self, rows: Indices) -> VoteTable:
        """The table of some inputs."""
        place = np.full(len(self.votes), -1)
        place[rows] = np.arange(len(rows))
        some = np.flatnonzero(place[self.sensitive] >= 0)
        return VoteTable(
            self.votes[rows], self.truth[rows], place[self.sensitive[some]], self.omega[some],
            self.stake[some], self.together, self.kept[some], self.taken[some], self.left[some],
        )  # fmt: skip

    def totals(self, steps: NDArray[np.int64]) -> tuple[float, float]:
        """Number of correct inputs and total gain of log weights given in steps."""
        v = steps * STEP
        winner = weighted_winner(self.votes, np.exp(v))
        top = winner[self.sensitive]
        rows = np.arange(len(top))
        ahead = v[top] + self.kept[rows, top]
        behind = v + np.minimum(self.taken, self.left[rows, top][:, None])
        held = (ahead[:, None] > behind) & ~self.omega[rows, top][:, None]
        return float((winner == self.truth).sum()), float(self._gain(held).sum())

    def _gain(self, held: Mask) -> Floats:
        if self.together:
            return self.stake.max(axis=1) * (held | ~self.omega).all(axis=1)
        return (self.stake * held).sum(axis=1)

    def along(
        self, steps: NDArray[np.int64], chosen: Mask, moves: NDArray[np.int64]
    ) -> tuple[Floats, Floats]:
        """Accuracy and mean gain when the classes ``chosen`` move by each of ``moves`` steps."""
        v = steps * STEP
        grid = moves * STEP
        with np.errstate(divide="ignore", invalid="ignore"):
            score = np.log(self.votes) + v
            inside = np.where(chosen, score, -np.inf)
            outside = np.where(chosen, -np.inf, score)
            a_in, a_out = inside.argmax(axis=1), outside.argmax(axis=1)
            rows = np.arange(len(score))
            change = outside[rows, a_out] - inside[rows, a_in]
        # The chosen classes win beyond `change`.
        change = np.nan_to_num(change, nan=np.inf) + np.where(a_in > a_out, _TIE, -_TIE)
        accuracy = _count(
            np.where(a_out == self.truth, change, -np.inf),
            np.where(a_in == self.truth, change, np.inf),
            np.ones(len(change)),
            grid,
        ) / len(change)
        below, above = self._thresholds(
            v, chosen, a_in[self.sensitive], a_out[self.sensitive], change[self.sensitive]
        )
        stake = self.stake
        if self.together:
            below = np.where(self.omega, below, np.inf).min(axis=1)
            above = np.where(self.omega, above, -np.inf).max(axis=1)
            stake = stake.max(axis=1)
        gain = _count(below.ravel(), above.ravel(), stake.ravel(), grid) / len(self.sensitive)
        return accuracy, gain

    def _thresholds(
        self, v: Floats, chosen: Mask, a_in: Indices, a_out: Indices, change: Floats
    ) -> tuple[Floats, Floats]:
        """Each target is held for moves below the first number and above the second."""
        rows = np.arange(len(change))
        with np.errstate(invalid="ignore"):
            margin_out, margin_in = (
                (v[a] + self.kept[rows, a])[:, None]
                - (v + np.minimum(self.taken, self.left[rows, a][:, None]))
                for a in (a_out, a_in)
            )
            # A leader outside loses ground to chosen targets only; to others it is as it was.
            below = np.where(chosen, margin_out, np.where(margin_out > 0, np.inf, -np.inf))
            above = np.where(chosen, np.where(margin_in > 0, -np.inf, np.inf), -margin_in)
        below = np.minimum(np.where(np.isnan(below), -np.inf, below), change[:, None])
        above = np.maximum(np.where(np.isnan(above), np.inf, above), change[:, None])
        below[self.omega[rows, a_out]] = -np.inf
        above[self.omega[rows, a_in]] = np.inf
        return below, above


def vote_table(
    selection: NDArray[np.int64],
    lower: Floats,
    upper: Floats,
    truth: Indices,
    omega: Mask,
    costs: Floats,
    eta: float,
    together: bool,
) -> VoteTable:
    """Prepare the table from bounds (n, m) on the share of votes of each class."""
    sensitive = np.flatnonzero(omega.any(axis=1))
    low, up = lower[sensitive], upper[sensitive]
    seen = selection.sum(axis=1) > 0
    kept = np.where(seen[sensitive, None], log_ndtr(ndtri(low) - eta), -np.inf)
    stake = np.where(omega, 1.0 if together else costs, 0.0)[sensitive]
    return VoteTable(
        selection, np.where(seen, truth, -1), sensitive, omega[sensitive], stake, together, kept,
        log_ndtr(ndtri(up) + eta), log_ndtr(ndtri(1.0 - low) + eta),
    )  # fmt: skip


def search(table: VoteTable, span: int, directions: list[Mask]) -> Frontier:
    """Climb from equal weights at one trade-off after the other, and keep all good points seen.

    ``span``: the largest difference of log weights, in steps.
    """
    steps = np.zeros(table.n_classes, dtype=np.int64)
    found: list[Frontier] = []
    for trade_off in _TRADE_OFFS:
        for _ in range(_MAX_SWEEPS):
            moved = False
            for chosen in directions:
                moves = _moves(steps, chosen, span)
                accuracy, gain = table.along(steps, chosen, moves)
                points = steps + moves[:, None] * chosen
                seen = Frontier(points, accuracy, gain)
                found.append(seen.take(undominated(accuracy, gain)))
                value = trade_off * accuracy + gain / table.worth
                here = int(np.flatnonzero(moves == 0)[0])
                # Of equally good moves the shortest.
                best = np.lexsort((np.abs(moves), -np.round(value, 12)))[0]
                if value[best] > value[here] + 1e-12:
                    steps, moved = points[best], True
            if not moved:
                break
    everything = joined(found)
    good = undominated(everything.accuracy, everything.gain)
    if len(good) > _MAX_POINTS:
        good = good[np.linspace(0, len(good) - 1, _MAX_POINTS).round().astype(int)]
    return everything.take(good)


def cross_fit(
    table: VoteTable, folds: Indices, span: int, directions: list[Mask], losses: Floats
) -> tuple[Floats, Floats]:
    """Accuracy and gain on held-out folds, of weights that lose at most ``losses`` on the others.

    The loss is that of accuracy against equal weights.
    """
    equal = np.zeros(table.n_classes, dtype=np.int64)
    correct, gain = np.zeros(len(losses)), np.zeros(len(losses))
    for fold in np.unique(folds):
        train = table.take(np.flatnonzero(folds != fold))
        test = table.take(np.flatnonzero(folds == fold))
        frontier = search(train, span, directions)
        floor = train.totals(equal)[0] / len(train.votes) - losses - 1e-12
        allowed = (frontier.accuracy[:, None] >= floor).sum(axis=0)
        # The gain rises along the frontier: the last point allowed is the best.
        point = np.maximum(allowed - 1, 0)
        for i in np.unique(point):
            c, g = test.totals(frontier.log_weights[i])
            correct[point == i] += c
            gain[point == i] += g
    return correct / len(table.votes), gain / len(table.sensitive)


def _count(below: Floats, above: Floats, worth: Floats, grid: Floats) -> Floats:
    """Total worth of what is below its first threshold or above its second, at each grid point."""
    size = len(grid) + 1
    smaller = np.bincount(np.searchsorted(grid, below, side="left"), worth, size)
    larger = np.bincount(np.searchsorted(grid, above, side="right"), worth, size)
    return (worth.sum() - np.cumsum(smaller) + np.cumsum(larger))[:-1]


def _moves(steps: NDArray[np.int64], chosen: Mask, span: int) -> NDArray[np.int64]:
    """Moves that keep all weights within the span."""
    inside, outside = steps[chosen], steps[~chosen]
    return np.arange(outside.max() - span - inside.min(), outside.min() + span - inside.max() + 1)


def joined(parts: list[Frontier]) -> Frontier:
    """All points of all parts."""
    return Frontier(
        np.concatenate([part.log_weights for part in parts]),
        np.concatenate([part.accuracy for part in parts]),
        np.concatenate([part.gain for part in parts]),
    )


def undominated(accuracy: Floats, gain: Floats) -> Indices:
    """Indices, by falling accuracy, of points of larger gain than all before; the first of equals.

    Examples
    --------
    >>> undominated(np.array([0.7, 0.9, 0.8, 0.9]), np.array([0.5, 0.3, 0.2, 0.3]))
    array([1, 0])
    """
    order = np.lexsort((-gain, -accuracy))
    best_before = np.maximum.accumulate(np.concatenate([[-np.inf], gain[order][:-1]]))
    return order[gain[order] > best_before + 1e-12]
