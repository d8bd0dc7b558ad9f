"""Votes as a table: an example is safe for all moves below one number and all above another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtri

from smoothcs._validation import Bools, Floats, Indices
from smoothcs.decision._radii import weighted_winner
from smoothcs.tuning._frontier import STEP, Examples, Steps, kept

# Two leaders this close tie; the one with the lower index wins.
_TIE = 1e-9


@dataclass(frozen=True)
class VoteTable:
    """What votes say about n examples at one eps; the gain is a mean over s of them.

    ``votes`` (n, m) pick the winner. Logarithms of shares of votes at a distance eps: ``stays``
    (s, m) the least that a class can keep, ``taken`` the most that it can get, ``left`` the most
    that it can leave to others.
    """

    votes: NDArray[np.int64]
    examples: Examples
    stays: Floats
    taken: Floats
    left: Floats

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return self.votes.shape[1]

    def without(self, fold: int) -> VoteTable:
        """The table of all folds but one."""
        return self._take(self.examples.fold != fold)

    def only(self, fold: int) -> VoteTable:
        """The table of one fold."""
        return self._take(self.examples.fold == fold)

    def _take(self, rows: Bools) -> VoteTable:
        some = np.flatnonzero(rows[self.examples.counted])
        return VoteTable(
            self.votes[rows], self.examples.take(np.flatnonzero(rows)), self.stays[some],
            self.taken[some], self.left[some],
        )  # fmt: skip

    def totals(self, steps: Steps) -> Floats:
        """Totals (3,) of correct answers, clean cost and gain at log weights given in steps."""
        v = steps * STEP
        winner = weighted_winner(self.votes, np.exp(v))
        held = np.zeros(self.votes.shape, dtype=bool)
        top = winner[self.examples.counted]
        rows = np.arange(len(top))
        ahead = v[top] + self.stays[rows, top]
        behind = v + np.minimum(self.taken, self.left[rows, top][:, None])
        held[self.examples.counted] = ahead[:, None] > behind
        return self.examples.values(winner[:, None], held[:, :, None]).sum(axis=(0, 1))

    def along(self, steps: Steps, chosen: Bools, moves: Steps) -> tuple[Floats, Floats]:
        """What is kept, and mean gain, when the classes ``chosen`` move by each of ``moves``."""
        examples, counted = self.examples, self.examples.counted
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
        totals = np.zeros((len(grid), 3))
        totals[:, 0] = _count(
            np.where(a_out == examples.truth, change, -np.inf),
            np.where(a_in == examples.truth, change, np.inf),
            examples.weight,
            grid,
        )
        paid_out, paid_in = (examples.row[rows, a] * examples.weight for a in (a_out, a_in))
        totals[:, 1] = paid_in.sum() + _count(
            change, np.full_like(change, np.inf), paid_out - paid_in, grid
        )
        if examples.objective == "cost":
            totals[:, 2] = examples.most.sum() - totals[:, 1]
        else:
            below, above, stake = self._claims(
                *self._thresholds(v, chosen, a_in[counted], a_out[counted], change[counted]),
                a_in[counted],
                a_out[counted],
            )
            stake = stake * examples.weight[counted][:, None]
            totals[:, 2] = _count(below.ravel(), above.ravel(), stake.ravel(), grid)
        return kept(examples, totals), totals[:, 2] / examples.sizes()[2]

    def _thresholds(
        self, v: Floats, chosen: Bools, a_in: Indices, a_out: Indices, change: Floats
    ) -> tuple[Floats, Floats]:
        """Each target is held for moves below the first number and above the second."""
        rows = np.arange(len(change))
        with np.errstate(invalid="ignore"):
            margin_out, margin_in = (
                (v[a] + self.stays[rows, a])[:, None]
                - (v + np.minimum(self.taken, self.left[rows, a][:, None]))
                for a in (a_out, a_in)
            )
            # A leader outside loses ground to chosen targets only; to others it is as it was.
            below = np.where(chosen, margin_out, np.where(margin_out > 0, np.inf, -np.inf))
            above = np.where(chosen, np.where(margin_in > 0, -np.inf, np.inf), -margin_in)
        below = np.minimum(np.where(np.isnan(below), -np.inf, below), change[:, None])
        above = np.maximum(np.where(np.isnan(above), np.inf, above), change[:, None])
        return below, above

    def _claims(
        self, below: Floats, above: Floats, a_in: Indices, a_out: Indices
    ) -> tuple[Floats, Floats, Floats]:
        """Thresholds of what is gained at once, and how much that is; each (s, claims)."""
        counted = self.examples.counted
        omega, row = self.examples.omega[counted], self.examples.row[counted]
        rows = np.arange(len(omega))
        below[omega[rows, a_out]] = -np.inf
        above[omega[rows, a_in]] = np.inf
        if self.examples.objective == "bill":
            # That the worst cost is below a price: every dearer answer is ruled out.
            below, above = np.where(omega, below, -np.inf), np.where(omega, above, np.inf)
            order = np.argsort(-row, axis=1, kind="stable")
            prices = np.take_along_axis(row, order, axis=1)
            below, above = (np.take_along_axis(part, order, axis=1) for part in (below, above))
            below = np.minimum.accumulate(below, axis=1)
            above = np.maximum.accumulate(above, axis=1)
            return below, above, -np.diff(prices, axis=1, append=0.0)
        if self.examples.objective == "rob_cost":
            return below, above, row * omega
        below = np.where(omega, below, np.inf).min(axis=1, keepdims=True)
        above = np.where(omega, above, -np.inf).max(axis=1, keepdims=True)
        return below, above, np.ones_like(below)


def vote_table(
    selection: NDArray[np.int64], lower: Floats, upper: Floats, examples: Examples, eta: float
) -> VoteTable:
    """Prepare the table from bounds (n, m) on the share of votes of each class."""
    counted = examples.counted
    low, up = lower[counted], upper[counted]
    seen = (selection.sum(axis=1) > 0)[counted, None]
    return VoteTable(
        selection, examples, np.where(seen, log_ndtr(ndtri(low) - eta), -np.inf),
        log_ndtr(ndtri(up) + eta), log_ndtr(ndtri(1.0 - low) + eta),
    )  # fmt: skip


def _count(below: Floats, above: Floats, worth: Floats, grid: Floats) -> Floats:
    """Total worth of what is below its first threshold or above its second, at each grid point."""
    size = len(grid) + 1
    smaller = np.bincount(np.searchsorted(grid, below, side="left"), worth, size)
    larger = np.bincount(np.searchsorted(grid, above, side="right"), worth, size)
    return (worth.sum() - np.cumsum(smaller) + np.cumsum(larger))[:-1]
