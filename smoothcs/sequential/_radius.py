"""When to stop drawing votes for a radius."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothcs._validation import Ints, check_positive
from smoothcs.bounds.exact import exact_group_radius, likely_radius
from smoothcs.sequential._looks import TargetLooks


class RadiusRule(TargetLooks):
    """Draw votes for a group radius until more of them would hardly enlarge it.

    Parameters
    ----------
    selection_votes, targets, sigma, alpha, n_max, blockers, weights
        As in `StoppingRule`, for the group of all targets.
    radius_tol : float
        Stop when n_max votes are estimated to gain less than this, in the units of sigma; > 0.
    first_look, growth, final_share
        See `look_schedule`; few looks serve a radius better than many.

    Attributes
    ----------
    radius : ndarray of float64 of shape (n_inputs,)
        Largest radius certified at any look, in the units of sigma: within it no target is
        predicted. inf for an input without targets.

    Notes
    -----
    The radius of look i is false with probability at most alpha_i, so the largest of them is false
    with probability at most the sum, alpha, whenever the sampling stops.

    Examples
    --------
    >>> from smoothcs.sequential import RadiusRule
    >>> rule = RadiusRule([[95, 5]], [[False, True]], sigma=0.5, radius_tol=0.1)
    >>> rule.update([0], [[940, 60]])
    >>> rule.radius.round(2)
    array([0.66])
    """

    def __init__(
        self,
        selection_votes: ArrayLike,
        targets: ArrayLike,
        *,
        sigma: float,
        radius_tol: float,
        alpha: float = 0.001,
        n_max: int = 100_000,
        blockers: bool | int = True,
        weights: ArrayLike | None = None,
        first_look: int = 1000,
        growth: float = 3.0,
        final_share: float = 0.5,
    ) -> None:
        self.radius_tol = check_positive("radius_tol", radius_tol)
        super().__init__(
            selection_votes,
            targets,
            sigma=sigma,
            radius_tol=radius_tol,
            mode="group",
            etas=None,
            alpha=alpha,
            n_max=n_max,
            blockers=blockers,
            weights=weights,
            first_look=first_look,
            growth=growth,
            final_share=final_share,
        )
        self._finished = np.asarray(~self.targets.any(axis=1))
        self.radius = np.where(self._finished, np.inf, 0.0)

    def _look_at(self, inputs: NDArray[np.intp], votes: Ints, look: NDArray[np.intp]) -> None:
        sets, targets = self.blockers[inputs], self.targets[inputs]
        eta = exact_group_radius(votes, sets, targets, self.levels[look])
        self.radius[inputs] = np.maximum(self.radius[inputs], eta * self.sigma)
        # The same shares of n_max votes, tested at the last level.
        more = (self.looks[-1] / self.looks[look])[:, None]
        in_the_end = likely_radius(
            more * sets.count(votes), more * votes, self.looks[-1], sets.scale, self.levels[-1]
        )
        in_the_end = np.where(targets, np.nan_to_num(in_the_end), np.inf).min(axis=1)
        gain = in_the_end * self.sigma - self.radius[inputs]
        self._finished[inputs] = gain < self.radius_tol
