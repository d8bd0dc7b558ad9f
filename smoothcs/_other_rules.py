"""Stopping rules for radii and for predictions.

References
----------
.. [Cohen19] Cohen, Rosenfeld and Kolter, "Certified Adversarial Robustness via Randomized
   Smoothing", ICML 2019.
.. [HF19] Hung and Fithian, "Rank verification for exponential families", Annals of Statistics 47,
   2019.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from smoothcs._looks import (
    Looks,
    blocker_sets,
    check_selection,
    check_vote_weights,
    look_schedule,
)
from smoothcs._validation import check_integer, check_positive, check_real
from smoothcs.bounds import top_two_abstains
from smoothcs.exact import exact_group_radius, likely_radius

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class RadiusRule(Looks):
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
        selection, wanted = check_selection(selection_votes, targets)
        looks, levels = look_schedule(
            n_max, alpha, first_look=first_look, growth=growth, final_share=final_share
        )
        super().__init__(len(selection), looks, levels, selection.shape[1])
        self.sigma = check_positive("sigma", sigma)
        self.radius_tol = check_positive("radius_tol", radius_tol)
        self.targets = wanted
        w = check_vote_weights(weights, selection.shape[1])
        self.blockers = blocker_sets(selection, wanted, "group", blockers, None, w)
        self._finished = np.asarray(~wanted.any(axis=1))
        self.radius = np.where(self._finished, np.inf, 0.0)

    def _look_at(self, inputs: NDArray[np.intp], votes: Ints, look: int) -> None:
        sets, targets = self.blockers[inputs], self.targets[inputs]
        eta = exact_group_radius(votes, sets, targets, float(self.levels[look]))
        self.radius[inputs] = np.maximum(self.radius[inputs], eta * self.sigma)
        # The same shares of n_max votes, tested at the last level.
        more = float(self.looks[-1] / self.looks[look])
        in_the_end = likely_radius(
            more * sets.count(votes), more * votes, self.looks[-1], sets.scale, self.levels[-1]
        )
        in_the_end = np.where(targets, np.nan_to_num(in_the_end), np.inf).min(axis=1)
        gain = in_the_end * self.sigma - self.radius[inputs]
        self._finished[inputs] = gain < self.radius_tol


class PredictionRule(Looks):
    """Stop as soon as the most voted class is decided, or cannot be any more.

    At each look the two most voted classes are compared by the two-sided binomial test of PREDICT
    [Cohen19] at that look's level.  Each look names a wrong class with probability at most its
    level ([HF19], proven on the theory page for the multinomial case), so the whole procedure
    does with probability at most alpha, although the leader may change from look to look.

    Parameters
    ----------
    n_inputs : int
        Number of inputs.
    alpha : float, default=0.001
        Failure probability per input.
    n_max : int, default=1000
        Most votes drawn for one input.
    first_look : int, default=20
        Votes at the first look.
    growth, final_share, futility
        As in `StoppingRule`.
    decision : object, optional
        A decision rule other than the plurality vote, `smoothcs.decision.WeightedVote` or
        `smoothcs.decision.ExpectedCost`, whose own test takes the place of PREDICT.

    Attributes
    ----------
    label : ndarray of intp of shape (n_inputs,)
        The decided class index; -1 where the rule abstains or is still sampling.

    Examples
    --------
    >>> from smoothcs.sequential import PredictionRule
    >>> rule = PredictionRule(2, n_max=1000)
    >>> rule.update([0, 1], [[20, 0, 0], [12, 8, 0]])
    >>> rule.label, rule.finished
    (array([ 0, -1]), array([ True, False]))
    """

    def __init__(
        self,
        n_inputs: int,
        *,
        alpha: float = 0.001,
        n_max: int = 1000,
        first_look: int = 20,
        growth: float = 1.5,
        final_share: float = 0.5,
        futility: float = 0.005,
        decision: Any = None,
    ) -> None:
        looks, levels = look_schedule(
            n_max, alpha, first_look=first_look, growth=growth, final_share=final_share
        )
        super().__init__(check_integer("n_inputs", n_inputs, low=0), looks, levels)
        if decision is not None and not hasattr(decision, "abstains"):
            raise TypeError(
                "decision must be None, a WeightedVote or an ExpectedCost of smoothcs.decision; "
                f"got {decision!r}."
            )
        self.decision = decision
        self.futility = check_real("futility", futility, low=0.0, high=1.0, high_open=True)
        self.label = np.full(n_inputs, -1, dtype=np.intp)

    def _look_at(self, inputs: NDArray[np.intp], votes: Ints, look: int) -> None:
        level = float(self.levels[look])
        if self.decision is None:
            winner, abstains = votes.argmax(axis=1), top_two_abstains(votes, level)
            scores = np.eye(votes.shape[1])
        else:
            winner, abstains = self.decision.winner(votes), self.decision.abstains(votes, level)
            scores = self.decision.scores
        decided = ~abstains
        self.label[inputs[decided]] = winner[decided]
        second, first = np.argsort(votes @ scores, axis=1)[:, -2:].T
        n, n_max = float(self.looks[look]), float(self.looks[-1])
        # Normal forecast of the lead at n_max, per vote: its variance is about that of the lead.
        step = (scores[:, first] - scores[:, second]).T
        lead = (votes * step).sum(axis=1) / n
        spread = np.maximum((votes * step**2).sum(axis=1), 1.0) / n
        needed = -ndtri(0.5 * self.levels[-1]) * np.sqrt(spread / n_max)
        unsure = np.sqrt(spread * (1.0 / n - 1.0 / n_max)) + 1e-12
        hopeless = ndtr((lead - needed) / unsure) < self.futility
        self._finished[inputs] = decided | hopeless
