"""The decision rules as objects: who wins, when to abstain, and the radii."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc

from smoothcs._validation import check_probability
from smoothcs.bounds.binomial import check_votes, top_two_abstains
from smoothcs.decision._plurality import Counts, Floats, Mask, Problem, Radii
from smoothcs.decision._radii import (
    TIE,
    expected_cost_bound,
    expected_cost_radii,
    expected_cost_winner,
    radii_by_level,
    weighted_radii,
    weighted_winner,
)

# Weights further apart than this are a mistake; the radii would lose digits.
_LARGEST_RATIO = 1e9


@dataclass(frozen=True, eq=False)
class WeightedVote:
    """``argmax_k w_k h_k``; ``weights`` are an (n_classes,) array of float64 > 0."""

    weights: Floats

    @property
    def scores(self) -> Floats:
        """Column j combines the votes to the score of class j, (n_classes, n_classes)."""
        return np.diag(self.weights / self.weights.max())

    def winner(self, votes: NDArray) -> NDArray[np.intp]:
        """Class indices with the largest weighted votes, (n_inputs,); the lowest at ties."""
        return weighted_winner(votes, self.weights)

    def radii(self, votes: Counts, problem: Problem) -> Radii:
        """Radii in units of sigma of the winners of ``problem.selection``."""

        def bound(votes: Counts, problem: Problem, alpha: float) -> Radii:
            return weighted_radii(votes, problem, alpha, self.weights)

        return radii_by_level(bound, votes, problem)

    def abstains(self, votes: Any, alpha: float) -> Mask:
        """Inputs whose weighted winner is not certain at level alpha, bool (n_inputs,).

        If the rule does not abstain, ``winner(votes)`` is the prediction of the weighted vote with
        probability at least 1 - alpha. Each rival is tested given that the winner leads, by the
        binomial law of the votes of the two cut off where the lead begins ([HF19], for equal
        probabilities). With equal weights it is the test of PREDICT ([Cohen19]).

        References
        ----------
        .. [HF19] K. Hung and W. Fithian, "Rank verification for exponential families", Annals of
           Statistics 47, 2019.
        .. [Cohen19] J. Cohen, E. Rosenfeld and J. Z. Kolter, "Certified adversarial robustness
           via randomized smoothing", ICML 2019.
        """
        votes = check_votes("votes", votes)
        alpha = check_probability("alpha", alpha)
        w = self.weights
        if w.max() <= w.min() * (1.0 + TIE):
            return top_two_abstains(votes, alpha)
        rows, every = np.arange(len(votes)), np.arange(len(w))
        top = self.winner(votes)
        own = every == top[:, None]
        n_top = votes[rows, top].astype(np.float64)[:, None]
        ratio = w / w[top][:, None]
        # Fewest votes with which the winner would still lead; the third class may be what counts.
        score = np.where(own, -np.inf, votes * ratio)
        runner_up = score.argmax(axis=1)
        without = score.copy()
        without[rows, runner_up] = -np.inf
        third = np.where(
            every == runner_up[:, None], without.max(axis=1)[:, None], score.max(axis=1)[:, None]
        )
        both = n_top + votes
        share = ratio / (1.0 + ratio)
        edge = np.maximum(both * share, third)
        # A tie does not lead: rounded up, and past a tie that rounding might hide.
        first = np.floor(edge * (1.0 + TIE) + 1e-9) + 1.0
        leads = first <= n_top
        with np.errstate(divide="ignore", invalid="ignore"):
            tail = betainc(np.where(leads, n_top, 1.0), np.where(leads, votes, 0.0) + 1.0, share)
            start = np.where(leads, first, 1.0)
            cut = betainc(start, np.where(leads, both - first, 0.0) + 1.0, share)
            # Where the cut-off law underflows this is nan, and not shown.
            beaten = leads & (tail / cut <= alpha)
        return ~(beaten | own).all(axis=1)

    def smallest_n(self, alpha: float) -> int:
        """The fewest votes, all for one class, that could certify anything at level alpha."""
        ratio = self.weights.min() / self.weights.max()
        # Under the tie the heavier class has the share ratio / (1 + ratio).
        return int(np.floor(np.log(alpha) / np.log(ratio / (1.0 + ratio)))) + 1


@dataclass(frozen=True, eq=False)
class ExpectedCost:
    """``argmin_j sum_k h_k C[k, j]``; ``costs`` are an (n_classes, n_classes) array >= 0."""

    costs: Floats

    def __post_init__(self) -> None:
        free = np.flatnonzero(~self.costs.any(axis=0))
        if free.size:
            raise ValueError(
                f"the costs by which the rule decides hold only zeros in column {free[0]}: calling "
                "everything that class would always be cheapest. Give every mistake a cost, for "
                "instance by adding 1 to all entries off the diagonal."
            )

    @property
    def scores(self) -> Floats:
        """Column j combines the votes to the score of class j, (n_classes, n_classes)."""
        return 1.0 - self.costs / self.costs.max()

    def winner(self, votes: NDArray) -> NDArray[np.intp]:
        """Class indices of least expected cost, (n_inputs,); the lowest at ties."""
        return expected_cost_winner(votes, self.costs)

    def radii(self, votes: Counts, problem: Problem) -> Radii:
        """Radii in units of sigma of the winners of ``problem.selection``."""

        def bound(votes: Counts, problem: Problem, alpha: float) -> Radii:
            return expected_cost_radii(votes, problem, alpha, self.costs)

        return radii_by_level(bound, votes, problem)

    def abstains(self, votes: Any, alpha: float) -> Mask:
        """Inputs whose cheapest class is not certain at level alpha, bool (n_inputs,).

        Every rival must be shown to be dearer at level alpha/(n_classes - 1): whichever class these
        votes make the winner, a wrong one is named with probability at most alpha (a union over the
        classes other than the true winner).
        """
        votes = check_votes("votes", votes)
        level = check_probability("alpha", alpha) / (len(self.costs) - 1)
        n, top = votes.sum(axis=1), self.winner(votes)
        abstains = n == 0
        for a in np.unique(top):
            rows = np.flatnonzero(top == a)
            for j in np.flatnonzero(np.arange(len(self.costs)) != a):
                ahead = expected_cost_bound(votes[rows], n[rows], self.costs, int(a), int(j), level)
                abstains[rows] |= ~(ahead >= 0)
        return abstains

    def smallest_n(self, alpha: float) -> int:
        """One vote: for extreme costs few votes may be enough."""
        return 1


def check_weights(
    weights: Any, n_classes: int, classes: NDArray[Any] | None = None, name: str = "weights"
) -> Floats:
    """Return weights as a read-only float64 array of shape (n_classes,), or raise naming them.

    Examples
    --------
    >>> from smoothcs.decision._votes import check_weights
    >>> check_weights({"b": 3}, 2, np.array(["a", "b"]))
    array([1., 3.])
    """
    if hasattr(weights, "to_dict") and hasattr(weights, "index"):  # a pandas Series
        weights = weights.to_dict()
    if isinstance(weights, Mapping):
        labels = list(range(n_classes)) if classes is None else np.asarray(classes).tolist()
        unknown = [label for label in weights if label not in labels]
        if unknown:
            raise ValueError(f"{name} has a weight for {unknown[0]!r}, which is none of {labels}.")
        weights = [weights.get(label, 1.0) for label in labels]
    try:
        array = np.array(weights, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} must hold one weight for each of {n_classes} classes; got {weights!r}."
        ) from None
    if array.shape != (n_classes,):
        raise ValueError(
            f"{name} must hold one weight for each of {n_classes} classes; got shape {array.shape}."
        )
    if not np.all((array > 0) & np.isfinite(array)):
        raise ValueError(f"{name} must be finite and > 0; got {array}.")
    if array.max() > _LARGEST_RATIO * array.min():
        raise ValueError(f"{name} must lie within a factor of 1e9 of each other; got {array}.")
    array.flags.writeable = False
    return array
