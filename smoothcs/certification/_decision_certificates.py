"""Certificates of decision rules other than the plurality vote."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothcs import metrics
from smoothcs._validation import check_choice
from smoothcs.certification._certificates import Certificates, freeze
from smoothcs.cost import CostMatrix
from smoothcs.decision._plurality import Problem
from smoothcs.decision._radii import DECISION_BOUNDS
from smoothcs.decision._votes import ExpectedCost, WeightedVote, check_weights


@dataclass(frozen=True, eq=False, repr=False)
class DecisionCertificates(Certificates):
    """Certified radii of a weighted vote, or of the rule of least expected cost.

    All that :class:`~smoothcs.Certificates` are, with ``label`` and radii those of
    the decision rule.

    Attributes
    ----------
    weights : ndarray of float64 of shape (m,) or None
        Weights of a weighted vote.
    decision_costs : ndarray of float64 of shape (m, m) or None
        Costs of the rule of least expected cost.

    Examples
    --------
    >>> from smoothcs.certification._decision import certify_weighted_votes
    >>> certify_weighted_votes([[9, 1]], [[900, 100]], weights=[1, 2], sigma=0.5)
    DecisionCertificates(1 inputs, 2 classes, sigma=0.5, alpha=0.001, bound='exact', 0 abstained)
    """

    weights: NDArray[np.float64] | None = None
    decision_costs: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        freeze(self, "weights")
        freeze(self, "decision_costs")

    @property
    def rule(self) -> WeightedVote | ExpectedCost:
        """The decision rule that is certified."""
        if self.weights is not None:
            return WeightedVote(self.weights)
        if self.decision_costs is None:
            raise ValueError("weights or decision_costs must be given.")
        return ExpectedCost(self.decision_costs)

    def __repr__(self) -> str:
        return f"Decision{super().__repr__()}"

    def __getitem__(self, index: slice | int | NDArray[Any]) -> DecisionCertificates:
        """The certificates of some inputs, by a slice, a mask or positions."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        plain = self._as_plurality()[index]
        values.update({f.name: getattr(plain, f.name) for f in fields(plain)})
        rows = np.atleast_1d(np.arange(len(self))[index])
        return DecisionCertificates(**values | {"selection_votes": self.selection_votes[rows]})

    def robust_error_matrix(self, eps: ArrayLike) -> NDArray[np.float64]:
        """Entry (i, j): share of the examples of class i not certified against target j at eps.

        As :meth:`Certificates.robust_error_matrix`, for the decision rule.
        """
        y = self._truth("robust_error_matrix")
        true = self.cost_matrix.encode(y)
        columns = np.arange(self.votes.shape[1])
        targets = columns != true[:, None]
        problem = Problem(
            self.selection_votes,
            np.broadcast_to(self.n, true.shape),
            targets,
            self.level,
            self.bound,
            self.simultaneous,
            self.blockers,
            correct=true if self.also_correct else None,
        )
        top, raw = self.rule.winner(self.selection_votes), self.rule.radii(self.votes, problem)
        certified = (raw.pair > 0) & (columns != top[:, None])
        if self.harmless_errors == "zero":
            certified &= (top == true)[:, None]
        pair = np.where(certified, raw.pair * self.sigma, 0.0)
        pair[~targets] = np.nan
        return metrics.robust_error_matrix(y, pair, classes=self._classes, eps=eps)

    def with_costs(self, cost_matrix: Any) -> DecisionCertificates:
        """The certificates of the same votes and the same rule for other costs."""
        from smoothcs.certification._decision import certify_expected_cost, certify_weighted_votes

        shared: dict[str, Any] = {
            "sigma": self.sigma,
            "alpha": self.alpha,
            "cost_matrix": cost_matrix,
            "y": self.y,
            "simultaneous": self.simultaneous,
            "also_correct": self.also_correct,
            "harmless_errors": self.harmless_errors,
            "n": self.n,
            "level": None if np.ndim(self.level) == 0 else self.level,
            "classes": self.cost_matrix.classes,
        }
        votes = self.selection_votes, self.votes
        if self.weights is None:
            return certify_expected_cost(*votes, decision_costs=self.decision_costs, **shared)
        return certify_weighted_votes(
            *votes, weights=self.weights, bound=self.bound, blockers=self.blockers, **shared
        )

    def _as_plurality(self) -> Certificates:
        """The same radii as of a plurality vote whose selection voted for the label alone."""
        values = {f.name: getattr(self, f.name) for f in fields(Certificates)}
        own = self.rule.winner(self.selection_votes)[:, None] == np.arange(self.votes.shape[1])
        return Certificates(**values | {"selection_votes": own.astype(np.int64)})

    def _check(self) -> None:
        """Refuse fields that do not fit together, as those of a damaged file."""
        n_classes = self.cost_matrix.n_classes
        if (self.weights is None) == (self.decision_costs is None):
            raise ValueError("give either weights or decision_costs.")
        if self.weights is not None:
            check_weights(self.weights, n_classes)
        elif CostMatrix(self.decision_costs).n_classes != n_classes:
            raise ValueError("decision_costs does not fit cost_matrix.")
        if self.selection_votes.shape != self.votes.shape:
            raise ValueError("votes and selection_votes differ in shape.")
        check_choice("bound", self.bound, DECISION_BOUNDS)
        self._as_plurality()._check()
