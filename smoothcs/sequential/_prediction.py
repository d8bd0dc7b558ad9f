"""When to stop drawing votes for a prediction.

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
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from smoothcs._validation import check_integer, check_real
from smoothcs.bounds.binomial import top_two_abstains
from smoothcs.sequential._looks import Looks, look_schedule

Ints = NDArray[np.int64]


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
