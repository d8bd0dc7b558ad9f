"""The tests made at a look, and the forecast of the test at the last."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

from smoothcs._validation import Bools, Floats, Ints
from smoothcs.bounds.exact import exact_rejects
from smoothcs.bounds.geometry import feasible_end, null_boundary, null_slope, vote_variance

# Nodes of the integral over the target's unknown probability, in standard deviations.
_NODES, _NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(9)
_NODE_WEIGHTS = _NODE_WEIGHTS / _NODE_WEIGHTS.sum()


class LookTests:
    """The votes of some inputs, each at one of its looks, and the tests that can be made of them.

    ``n_block``, ``n_target`` and ``scale`` belong to inputs and targets, ``n`` and ``level`` to
    inputs.
    """

    def __init__(
        self, n_block: Ints, n_target: Ints, scale: Floats, n: Ints, level: Floats
    ) -> None:
        self.n_block = n_block
        self.n_target = n_target
        self.scale = scale
        self.n = n
        self.level = level

    def _rejects(self, opened: Bools, eta: float, level: Floats, ordering: Floats) -> Bools:
        """Test the open hypotheses at a level per input."""
        row, target = np.nonzero(opened)
        rejected = np.zeros(opened.shape, dtype=bool)
        if len(row):
            rejected[row, target] = exact_rejects(
                self.n_block[row, target],
                self.n_target[row, target],
                self.n[row],
                eta,
                level[row],
                self.scale[row, target],
                ordering_level=ordering[row],
                two_classes=opened.shape[1] == 2,
            )
        return rejected

    def reject_worst_first(self, opened: Bools, eta: float) -> Bools:
        """Test the target that looks worst, and the others only where it is rejected.

        A group is certified as a whole, so where the worst target stands the rest can wait.
        """
        rows = np.flatnonzero(opened.any(axis=1))
        score = np.where(opened[rows], self._margin(eta)[rows], np.inf)
        worst = np.zeros(opened.shape, dtype=bool)
        worst[rows, score.argmin(axis=1)] = True
        rejected = self._rejects(worst & opened, eta, self.level, self.level)
        others = opened & ~worst & rejected.any(axis=1, keepdims=True)
        return rejected | self._rejects(others, eta, self.level, self.level)

    def reject_holm(self, opened: Bools, eta: float, n_targets: Ints) -> Bools:
        """Share the level among the hypotheses still open, again after every rejection."""
        # One ordering for all levels of a look keeps the rejection regions nested in the level.
        ordering = self.level / np.maximum(n_targets, 1)
        rejected = np.zeros(opened.shape, dtype=bool)
        left = opened.copy()
        while left.any():
            new = self._rejects(left, eta, self.level / np.maximum(left.sum(axis=1), 1), ordering)
            rejected |= new
            # Only inputs that gained something test again, at a larger level.
            left &= ~new & new.any(axis=1, keepdims=True)
        return rejected

    def reject_bonferroni(self, opened: Bools, eta: float, n_targets: Ints) -> Bools:
        """Give every target of an input the same share of the level."""
        share = self.level / np.maximum(n_targets, 1)
        return self._rejects(opened, eta, share, share)

    def _margin(self, eta: float) -> Floats:
        """Return a z-score of each target's distance to the null hypothesis; small looks bad."""
        n = self.n[:, None]
        q = (self.n_target + 0.5) / (n + 1.0)
        P = np.minimum((self.n_block + 0.5) / (n + 1.0), 1.0 - q)
        scale = np.where(np.isnan(self.scale), 1.0, self.scale)
        slope = null_slope(np.minimum(q, 0.999 * feasible_end(eta, scale)), eta, scale)
        margin = (P - null_boundary(q, eta, scale)) / np.sqrt(vote_variance(P, q, slope))
        return np.where(np.isnan(self.scale), -np.inf, margin)

    def chance(self, opened: Bools, eta: float, n_max: int, level: Floats) -> Floats:
        """Estimate the chance that each open hypothesis is rejected at the last look (1 elsewhere).

        The unknown probabilities are integrated out given the votes (the target's over nodes in the
        angle arcsin(sqrt(p)), the blockers' as a normal), the final test is taken as normal.  No
        random draw: equal votes get equal answers in whatever order inputs are certified.
        """
        chance = np.ones(opened.shape)
        row, target = np.nonzero(opened)
        if len(row) == 0:
            return chance
        n_target = self.n_target[row, target].astype(np.float64)[:, None]
        n_block = self.n_block[row, target].astype(np.float64)[:, None]
        scale, n = self.scale[row, target][:, None], self.n[row][:, None]
        centre = np.arcsin(np.sqrt((n_target + 0.375) / (n + 0.75)))
        angle = np.clip(centre + 0.5 * _NODES / np.sqrt(n + 0.5), 0.0, 0.5 * np.pi)
        q = np.clip(np.sin(angle) ** 2, 1e-9, 1.0 - 1e-9)
        others = n - n_target
        share = (n_block + 0.5) / (others + 1.0)
        P = (1.0 - q) * share
        unsure = (1.0 - q) ** 2 * share * (1.0 - share) / (others + 1.0)
        slope = null_slope(np.minimum(q, 0.999 * feasible_end(eta, scale)), eta, scale)
        noise = vote_variance(P, q, slope) / n_max
        z = (P - null_boundary(q, eta, scale)) / np.sqrt(noise) + ndtri(level)[row][:, None]
        value = ndtr(z / np.sqrt(1.0 + unsure / noise)) @ _NODE_WEIGHTS
        # Without a blocker set (nan) nothing can ever be shown.
        chance[row, target] = np.where(np.isnan(value), 0.0, value)
        return chance
