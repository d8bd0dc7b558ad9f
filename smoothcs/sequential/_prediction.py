"""When to stop drawing votes for a prediction.

References
----------
.. [Cohen19] Cohen, Rosenfeld and Kolter, "Certified Adversarial Robustness via Randomized
   Smoothing", ICML 2019.
.. [HF19] Hung and Fithian, "Rank verification for exponential families", Annals of Statistics 47,
   2019.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from smoothcs._validation import Ints, check_integer, check_real
from smoothcs.decision import WeightedVotes
from smoothcs.sequential._looks import Looks


class PredictionRule(Looks):
    """Stop as soon as the most voted class is decided, or cannot be any more.

    At each look the leader is tested at that look's level, with equal weights by the two-sided
    binomial test of PREDICT [Cohen19].  Each look names a wrong class with probability at most its
    level ([HF19], proven on the theory page for the multinomial case), so the whole procedure
    does with probability at most alpha, although the leader may change from look to look.

    Parameters
    ----------
    n_inputs : int
        Number of inputs.
    decision : WeightedVotes, optional
        Who wins and when to abstain, tied to the classes; by default all classes count alike.
    alpha : float, default=0.001
        Failure probability per input.
    n_max : int, default=1000
        Most votes drawn for one input.
    first_look : int, default=20
        Votes at the first look.
    growth, final_share, futility
        As in `StoppingRule`.

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
        decision: WeightedVotes | None = None,
        alpha: float = 0.001,
        n_max: int = 1000,
        first_look: int = 20,
        growth: float = 1.5,
        final_share: float = 0.5,
        futility: float = 0.005,
    ) -> None:
        if decision is not None and not isinstance(decision, WeightedVotes):
            raise TypeError(f"decision must be None or a WeightedVotes; got {decision!r}.")
        self._decision = decision and decision.align(np.size(decision.weights))
        self.futility = check_real("futility", futility, low=0.0, high=1.0, high_open=True)
        super().__init__(
            check_integer("n_inputs", n_inputs, low=0),
            alpha=alpha,
            n_max=n_max,
            n_classes=None if decision is None else np.size(decision.weights),
            first_look=first_look,
            growth=growth,
            final_share=final_share,
            decision=self._decision,
            futility=futility,
        )
        self.label = np.full(n_inputs, -1, dtype=np.intp)

    def _look_at(self, inputs: NDArray[np.intp], votes: Ints, look: NDArray[np.intp]) -> None:
        vote = self._decision or WeightedVotes.equal(votes.shape[1])
        decided = np.zeros(len(inputs), dtype=bool)
        for level in np.unique(self.levels[look]):
            here = self.levels[look] == level
            decided[here] = ~vote.abstains(votes[here], float(level))
        self.label[inputs[decided]] = vote.winner(votes)[decided]

        weights = vote.weights / vote.weights.max()
        leaders = np.argsort(votes * weights, axis=1)[:, -2:]
        counts, w = np.take_along_axis(votes, leaders, axis=1), weights[leaders]
        n, n_max = self.looks[look].astype(np.float64), float(self.looks[-1])
        # Normal forecast of the lead at n_max, per vote: its variance is about that of the lead.
        lead = (counts * w) @ [-1.0, 1.0] / n
        spread = np.maximum((counts * w**2).sum(axis=1), 1.0) / n
        needed = -ndtri(0.5 * self.levels[-1]) * np.sqrt(spread / n_max)
        unsure = np.sqrt(spread * (1.0 / n - 1.0 / n_max)) + 1e-12
        hopeless = ndtr((lead - needed) / unsure) < self.futility
        self._finished[inputs] = decided | hopeless
