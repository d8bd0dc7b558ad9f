"""The search behind `tune_decision`: what is kept against what is gained, over weights.

A table knows the stored votes or scores of a validation set, and tells accuracy, clean cost and
gain of any weights. Weights move along lines: those of the classes in a set are multiplied by one
factor exp(t). Within the set, and outside of it, leaders stay who they are, so that one threshold
for t says which of the two wins: a sort gives the numbers at every t (an exact line search).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from smoothcs._validation import Bools, Floats, Indices
from smoothcs.decision._undominated import undominated

Steps = NDArray[np.int64]

# Log weights are multiples of this: steps of 9 percent, too coarse to fit single examples.
STEP = np.log(2.0) / 8.0
# What a point of accuracy is worth in points of robustness, from cautious to bold.
_TRADE_OFFS = 2.0 ** np.arange(6, -5, -1)
_MAX_SWEEPS = 4
_MAX_POINTS = 60


class Frontier(NamedTuple):
    """Points no other point beats in both numbers, by falling ``kept``.

    ``log_weights`` (p, m) in steps, ``kept`` (p,) and ``gain`` (p,), which are maximised.
    """

    log_weights: Steps
    kept: Floats
    gain: Floats

    def take(self, points: Indices) -> Frontier:
        """Some of the points."""
        return Frontier(self.log_weights[points], self.kept[points], self.gain[points])


@dataclass(frozen=True)
class Examples:
    """What answers to n examples are worth.

    ``truth`` (n,) are class indices (-1: never correct), ``row`` (n, m) what each answer costs,
    ``omega`` (n, m) the sensitive targets, ``weight`` (n,) sample weights, ``fold`` (n,) the fold
    of each. ``objective`` is what is gained, ``against`` what is kept: "accuracy" or "clean_cost".
    """

    truth: Indices
    row: Floats
    omega: Bools
    weight: Floats
    fold: Indices
    objective: str
    against: str

    def __len__(self) -> int:
        return len(self.truth)

    def take(self, rows: Indices) -> Examples:
        """Some of the examples."""
        arrays = {k: getattr(self, k)[rows] for k in ("truth", "row", "omega", "weight", "fold")}
        return replace(self, **arrays)

    @property
    def counted(self) -> Bools:
        """Examples over which the gain is a mean: those of sensitive classes, or all."""
        if self.objective in ("rob_cs", "rob_cost"):
            return np.asarray(self.omega.any(axis=1))
        return np.ones(len(self), dtype=bool)

    @property
    def most(self) -> Floats:
        """The largest gain of each example (n,), weighted."""
        if self.objective == "rob_cs":
            return self.counted * self.weight
        if self.objective == "rob_cost":
            return (self.row * self.omega).sum(axis=1) * self.weight
        return self.row.max(axis=1) * self.weight

    def sizes(self) -> Floats:
        """What totals (3,) are divided by to be means."""
        total = self.weight.sum()
        return np.array([total, total, self.weight[self.counted].sum()])

    def values(self, label: Indices, held: Bools | None) -> Floats:
        """Weighted correctness, clean cost and gain (n, g, 3) at each of g weights.

        ``label`` (n, g) are answers, and ``held`` (n, m, g) says which targets cannot win.
        """
        paid = np.take_along_axis(self.row, label, axis=1)
        correct = label == self.truth[:, None]
        gain = self._gain(label, paid, held)
        return np.stack([correct, paid, gain], axis=2) * self.weight[:, None, None]

    def _gain(self, label: Indices, paid: Floats, held: Bools | None) -> Floats:
        row, omega = self.row[:, :, None], self.omega[:, :, None]
        if self.objective == "cost":
            return row.max(axis=1) - paid
        assert held is not None
        harmless = ~np.take_along_axis(self.omega, label, axis=1)
        if self.objective == "bill":
            left = ~(held & omega) | (np.arange(row.shape[1])[:, None] == label[:, None, :])
            return (row.max(axis=1) - np.where(left, row, 0.0).max(axis=1)) * harmless
        if self.objective == "rob_cs":
            is_robust = (held | ~omega).all(axis=1) & harmless & omega.any(axis=1)
            return is_robust.astype(np.float64)
        return np.einsum("nm,nmg->ng", self.row * self.omega, held) * harmless


class Table(Protocol):
    """Stored votes or scores of examples, as the search asks them."""

    @property
    def examples(self) -> Examples:
        """What their answers are worth."""

    @property
    def n_classes(self) -> int:
        """Number of classes."""

    def totals(self, steps: Steps) -> Floats:
        """Totals (3,) of correct answers, clean cost and gain at log weights given in steps."""

    def along(self, steps: Steps, chosen: Bools, moves: Steps) -> tuple[Floats, Floats]:
        """What is kept, and mean gain, when the classes ``chosen`` move by each of ``moves``."""

    def without(self, fold: int) -> Self:
        """The table of all folds but one."""

    def only(self, fold: int) -> Self:
        """The table of one fold."""


def kept(examples: Examples, totals: Floats) -> Floats:
    """What is maximised against the gain, from totals (..., 3): accuracy, or minus the cost."""
    if examples.against == "accuracy":
        return totals[..., 0] / examples.weight.sum()
    return -totals[..., 1] / (examples.row.max(axis=1) * examples.weight).sum()


def search(table: Table, span: int, directions: list[Bools]) -> Frontier:
    """Climb from equal weights at one trade-off after the other, and keep all good points seen.

    ``span``: the largest difference of log weights, in steps.
    """
    examples = table.examples
    worth = examples.most.sum() / examples.sizes()[2]
    steps = np.zeros(table.n_classes, dtype=np.int64)
    found: list[Frontier] = []
    for trade_off in _TRADE_OFFS:
        for _ in range(_MAX_SWEEPS):
            moved = False
            for chosen in directions:
                moves = _moves(steps, chosen, span)
                keeps, gain = table.along(steps, chosen, moves)
                points = steps + moves[:, None] * chosen
                found.append(Frontier(points, keeps, gain).take(undominated(keeps, gain)))
                value = trade_off * keeps + gain / worth
                here = int(np.flatnonzero(moves == 0)[0])
                # Of equally good moves the shortest.
                best = np.lexsort((np.abs(moves), -np.round(value, 12)))[0]
                if value[best] > value[here] + 1e-12:
                    steps, moved = points[best], True
            if not moved:
                break
    everything = joined(found)
    good = undominated(everything.kept, everything.gain)
    if len(good) > _MAX_POINTS:
        good = good[np.linspace(0, len(good) - 1, _MAX_POINTS).round().astype(int)]
    return everything.take(good)


def cross_fit(table: Table, span: int, directions: list[Bools], losses: Floats) -> Floats:
    """Totals (p, 3) on held-out folds, of weights that lose at most ``losses`` on the others.

    The loss is that of what is kept, against equal weights.
    """
    equal = np.zeros(table.n_classes, dtype=np.int64)
    totals = np.zeros((len(losses), 3))
    for fold in np.unique(table.examples.fold).tolist():
        train, test = table.without(fold), table.only(fold)
        frontier = search(train, span, directions)
        floor = kept(train.examples, train.totals(equal)) - losses - 1e-12
        allowed = (frontier.kept[:, None] >= floor).sum(axis=0)
        # The gain rises along the frontier: the last point allowed is the best.
        point = np.maximum(allowed - 1, 0)
        for i in np.unique(point):
            totals[point == i] += test.totals(frontier.log_weights[i])
    return totals


def _moves(steps: Steps, chosen: Bools, span: int) -> Steps:
    """Moves that keep all weights within the span."""
    inside, outside = steps[chosen], steps[~chosen]
    return np.arange(outside.max() - span - inside.min(), outside.min() + span - inside.max() + 1)


def joined(parts: list[Frontier]) -> Frontier:
    """All points of all parts."""
    return Frontier(
        np.concatenate([part.log_weights for part in parts]),
        np.concatenate([part.kept for part in parts]),
        np.concatenate([part.gain for part in parts]),
    )
