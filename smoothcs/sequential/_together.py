"""Several stopping rules fed by one stream of votes, one for each kind of claim.

Each kind has its own failure probability alpha per input, over all its radii, as each kind of
radius has.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smoothcs.decision import WeightedVotes as WeightedVote
from smoothcs.sequential._decisions import StoppingRule
from smoothcs.sequential._prediction import PredictionRule
from smoothcs.sequential._radius import RadiusRule

KINDS = ("group", "pair", "standard", "label")
"""What can be decided: no sensitive target, not this target, the same label, the label itself."""


def winner(decision: WeightedVote | None, votes: NDArray[Any]) -> NDArray[np.intp]:
    """Return the class indices that votes make the decision rule (None: plurality) choose, (n,)."""
    return votes.argmax(axis=1) if decision is None else decision.winner(votes)


class Together:
    """The schedule of the vote engine: how many votes the open claims of an input need next.

    Parameters
    ----------
    selection : ndarray of int64 of shape (n, m)
        Selection votes; they name the class of each input and its blocker sets.
    omega : ndarray of bool of shape (n, m)
        The sensitive targets of each input.
    kinds : collection of str
        Which of ``KINDS`` to decide.
    eps : ndarray of shape (n_eps,)
        Attack radii, in the units of sigma.
    sigma, alpha, n_max, blockers
        As in :class:`smoothcs.sequential.StoppingRule`.
    correct : ndarray of intp of shape (n,), optional
        True class indices, if group and pair claims are to include that they are predicted.
    decision : WeightedVote, optional
        The rule whose predictions the claims are about; None: the plurality vote.
    """

    def __init__(
        self,
        selection: NDArray[np.int64],
        omega: NDArray[np.bool_],
        *,
        kinds: Collection[str],
        eps: NDArray[np.float64],
        sigma: float,
        alpha: float,
        n_max: int,
        blockers: bool | int = True,
        correct: NDArray[np.intp] | None = None,
        decision: WeightedVote | None = None,
    ) -> None:
        self.decision = decision
        self.top = top = winner(decision, selection)
        others = np.arange(selection.shape[1]) != top[:, None]
        wanted: dict[str, tuple[NDArray[np.bool_], dict[str, Any]]] = {
            "group": (omega, {"blockers": blockers, "also_correct": correct}),
            "pair": (omega, {"mode": "pairs", "blockers": blockers, "also_correct": correct}),
            "standard": (others, {"blockers": False}),
            "label": (np.zeros_like(others), {"blockers": False, "also_correct": top}),
        }
        self._settings: dict[str, Any] = {
            "eps": eps.tolist(),
            "sigma": sigma,
            "alpha": alpha,
            "n_max": n_max,
        }
        if decision is not None:
            # In the repr as well: it keeps the votes of one rule from being continued by another.
            self._settings["weights"] = decision.weights.tolist()
        self.rules = {
            kind: StoppingRule(selection, wanted[kind][0], **self._settings, **wanted[kind][1])
            for kind in kinds
        }
        self._claims = Claims(selection, omega, blockers, correct)
        # An input whose class was picked by no vote has nothing to be certified.
        self.unseen = selection.sum(axis=1) == 0

    def __call__(self, index: NDArray[np.intp], counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the cumulative votes that these inputs need next; 0 when one is finished."""
        rules = self.rules.values()
        rows = zip(index, counts, strict=True)
        return np.array([max(rule.schedule(i, row) for rule in rules) for i, row in rows])

    def claim(self, index: int) -> str:
        """Return what is to be certified of an input, for its resume record."""
        return self._claims(index)

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in self._settings.items())
        return f"Together(kinds={sorted(self.rules)}, {settings})"

    def certified(self, kind: str) -> NDArray[np.bool_] | None:
        """Return what a rule has certified, (n, n_eps) or (n, n_eps, m) for "pair"."""
        if kind not in self.rules:
            return None
        rule = self.rules[kind]
        shown = rule.certified_pair if kind == "pair" else rule.certified
        return shown & ~self.unseen.reshape(-1, *[1] * (shown.ndim - 1))


@dataclass(frozen=True, eq=False)
class Claims:
    """What is claimed of every input: the votes of one claim must not be stopped by another."""

    selection: NDArray[np.int64]
    targets: NDArray[np.bool_]
    blockers: bool | int
    correct: NDArray[np.intp] | None = None

    def __call__(self, index: int) -> str:
        """Return the claim about one input as text."""
        correct = None if self.correct is None else int(self.correct[index])
        targets = np.flatnonzero(self.targets[index]).tolist()
        return f"{self.selection[index].tolist()} {targets} {self.blockers} {correct}"


class RuleSchedule:
    """A single rule as the schedule of the vote engine, with a repr that tells runs apart."""

    def __init__(
        self, rule: PredictionRule | RadiusRule, description: str, claims: Claims | None = None
    ) -> None:
        self.rule = rule
        self._description = description
        self._claims = claims

    def claim(self, index: int) -> str:
        """Return what is to be certified of an input, for its resume record."""
        return "" if self._claims is None else self._claims(index)

    def __call__(self, index: NDArray[np.intp], counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the cumulative votes that these inputs need next; 0 when one is finished."""
        return np.array([self.rule.schedule(i, row) for i, row in zip(index, counts, strict=True)])

    def __repr__(self) -> str:
        return f"RuleSchedule({self._description})"
