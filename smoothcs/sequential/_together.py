"""Several stopping rules fed by one stream of votes, one for each kind of claim.

Each kind has its own failure probability alpha per input, over all its radii, as each kind of
radius has.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothcs.bounds.blockers import check_vote_weights
from smoothcs.decision import WeightedVotes
from smoothcs.sequential._decisions import StoppingRule

KINDS = ("group", "pair", "standard", "label")
"""What can be decided: no sensitive target, not this target, the same label, the label itself."""


class Together:
    """The schedule of the vote engine: how many votes the open claims of each input need next.

    Parameters
    ----------
    selection : ndarray of int64 of shape (n, m)
        Selection votes; they name the class of each input and its blocker sets.
    omega : ndarray of bool of shape (n, m)
        The sensitive targets of each input.
    kinds : collection of str
        Which of ``KINDS`` to decide.
    eps : float or array_like of shape (n_eps,)
        Attack radii, in the units of sigma.
    sigma, alpha, n_max, blockers, weights
        As in :class:`smoothcs.sequential.StoppingRule`.
    correct : ndarray of intp of shape (n,), optional
        True class indices, if group and pair claims are to include that they are predicted.
    **looks
        first_look, growth, final_share and futility of
        :class:`smoothcs.sequential.StoppingRule`.

    Attributes
    ----------
    top : ndarray of intp of shape (n,)
        The class index picked for each input.
    unseen : ndarray of bool of shape (n,)
        Inputs whose class was picked by no vote: nothing is certified of them.
    rules : dict of str to StoppingRule
        The rule of each kind.
    """

    def __init__(
        self,
        selection: NDArray[np.int64],
        omega: NDArray[np.bool_],
        *,
        kinds: Collection[str],
        eps: ArrayLike,
        sigma: float,
        alpha: float,
        n_max: int,
        blockers: bool | int = True,
        correct: NDArray[np.intp] | None = None,
        weights: ArrayLike | None = None,
        **looks: Any,
    ) -> None:
        self.weights = None if weights is None else np.asarray(weights, dtype=np.float64)
        self.top = WeightedVotes(check_vote_weights(weights, selection.shape[1])).winner(selection)
        self.unseen = selection.sum(axis=1) == 0
        others = np.arange(selection.shape[1]) != self.top[:, None]
        wanted: dict[str, tuple[NDArray[np.bool_], dict[str, Any]]] = {
            "group": (omega, {"blockers": blockers, "also_correct": correct}),
            "pair": (omega, {"mode": "pairs", "blockers": blockers, "also_correct": correct}),
            "standard": (others, {"blockers": False}),
            "label": (np.zeros_like(others), {"blockers": False, "also_correct": self.top}),
        }
        looks |= {"eps": eps, "sigma": sigma, "alpha": alpha, "n_max": n_max, "weights": weights}
        self.rules = {
            kind: StoppingRule(selection, wanted[kind][0], **wanted[kind][1], **looks)
            for kind in KINDS
            if kind in kinds
        }

    def __call__(self, index: ArrayLike, counts: ArrayLike) -> NDArray[np.int64]:
        """Return the cumulative votes that each input needs next, (k,); 0 for finished ones."""
        return np.max([rule(index, counts) for rule in self.rules.values()], axis=0)

    def claim(self, index: int) -> str:
        """Return what is to be certified of an input, for its resume record."""
        return "; ".join(rule.claim(index) for rule in self.rules.values())

    def __repr__(self) -> str:
        return f"Together({self.rules!r})"

    def certified(self, kind: str) -> NDArray[np.bool_] | None:
        """Return what a rule has certified, (n, n_eps) or (n, n_eps, m) for "pair"."""
        if kind not in self.rules:
            return None
        rule = self.rules[kind]
        shown = rule.certified_pair if kind == "pair" else rule.certified
        return shown & ~self.unseen.reshape(-1, *[1] * (shown.ndim - 1))
