"""Certificates at given attack radii, decided with as few votes as they need."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothcs import metrics
from smoothcs.certification._certificates import freeze
from smoothcs.cost import CostMatrix
from smoothcs.sequential._together import KINDS, Together


@dataclass(frozen=True, eq=False, repr=False)
class CertifiedDecisions:
    """What was certified at the radii asked for; made by ``certify(..., mode="decide")``.

    Metrics take ``eps``, one of the radii that were decided (it may be left out where there is one)
    and are those of :class:`~smoothcs.Certificates`, except that an input is abstained on where its
    label could not be decided. What was not decided, was given up or was interrupted is not
    certified.

    Attributes
    ----------
    eps : ndarray of float64 of shape (n_eps,)
        The radii, in the units of sigma.
    label : ndarray of shape (n,)
        The class picked by the selection votes.
    abstained : ndarray of bool of shape (n,) or None
        Where it was not shown that the smoothed classifier predicts ``label``.
    certified_group : ndarray of bool of shape (n, n_eps) or None
        No sensitive target is predicted within eps. False where the label is one, and where there
        is none.
    certified_pair : ndarray of bool of shape (n, n_eps, m) or None
        The target is not predicted within eps; all claims about an input hold together.
    certified_standard : ndarray of bool of shape (n, n_eps) or None
        The label is predicted everywhere within eps.
    votes, selection_votes : ndarray of int64 of shape (n, m)
        Estimation votes, as many as an input needed, and selection votes.
    sigma, alpha : float
        Standard deviation of the noise, failure probability.
    n_max : int
        Most estimation votes that an input might have used.
    cost_matrix : CostMatrix
        The costs.
    y : ndarray of shape (n,) or None
        True classes, as labels.
    weights : ndarray of float64 of shape (m,) or None
        Weights of the vote that is certified; None: the plurality vote.
    """

    eps: NDArray[np.float64]
    label: NDArray[Any]
    abstained: NDArray[np.bool_] | None
    certified_group: NDArray[np.bool_] | None
    certified_pair: NDArray[np.bool_] | None
    certified_standard: NDArray[np.bool_] | None
    votes: NDArray[np.int64]
    selection_votes: NDArray[np.int64]
    sigma: float
    alpha: float
    n_max: int
    cost_matrix: CostMatrix
    y: NDArray[Any] | None
    weights: NDArray[np.float64] | None = None

    @classmethod
    def from_rules(
        cls,
        rules: Together,
        votes: NDArray[np.int64],
        selection: NDArray[np.int64],
        *,
        sigma: float,
        alpha: float,
        n_max: int,
        eps: NDArray[np.float64],
        cost_matrix: CostMatrix,
        y: NDArray[Any] | None,
        harmless_errors: str,
    ) -> CertifiedDecisions:
        """Read off the rules what may be claimed."""
        top = rules.top
        row = top if y is None else cost_matrix.encode(y)
        costly = cost_matrix.omega[row, top]
        void = costly | (top != row) if harmless_errors == "zero" else costly

        # Where no mistake is costly a claim about costly ones is empty: not certified by default.
        void_group = void | ~cost_matrix.omega[row].any(axis=1)
        # Inputs that were interrupted have no votes left, though a claim may have been decided.
        unfinished = votes.sum(axis=1) == 0

        def without(void: NDArray[np.bool_], kind: str) -> NDArray[np.bool_] | None:
            shown = rules.certified(kind)
            void = void | unfinished
            return None if shown is None else shown & ~void.reshape(-1, *[1] * (shown.ndim - 1))

        label = without(np.zeros_like(unfinished), "label")
        return cls(
            eps=eps,
            label=_classes(cost_matrix)[top],
            abstained=None if label is None else ~label[:, 0],
            certified_group=without(void_group, "group"),
            certified_pair=without(void, "pair"),
            certified_standard=without(void, "standard"),
            votes=votes,
            selection_votes=selection,
            sigma=sigma,
            alpha=alpha,
            n_max=n_max,
            cost_matrix=cost_matrix,
            y=y,
            weights=rules.weights,
        )

    def __post_init__(self) -> None:
        for field in fields(self):
            freeze(self, field.name)

    def __len__(self) -> int:
        return len(self.label)

    def __repr__(self) -> str:
        return (
            f"CertifiedDecisions({len(self)} inputs at eps={self.eps.tolist()}, "
            f"sigma={self.sigma:g}, alpha={self.alpha:g}, {self.n_used.mean():.0f} votes an input)"
        )

    @property
    def n_used(self) -> NDArray[np.int64]:
        """Votes drawn for each input, selection votes included, (n,)."""
        return self.votes.sum(axis=1) + self.selection_votes.sum(axis=1)

    def rob_cs(self, eps: float | None = None, sample_weight: ArrayLike | None = None) -> float:
        """Share of the sensitive examples certified against all sensitive targets."""
        return self._rob_cs("certified_group", eps, sample_weight)

    def rob_cs_standard(
        self, eps: float | None = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """``rob_cs`` as the standard radius, which knows no costs, would have it."""
        return self._rob_cs("certified_standard", eps, sample_weight)

    def rob_cost(self, eps: float | None = None, sample_weight: ArrayLike | None = None) -> float:
        """Mean cost of the targets that are not certified against."""
        e, radius = self._radii("certified_pair", eps)
        return metrics.rob_cost(
            self._truth(),
            radius,
            cost_matrix=self.cost_matrix,
            eps=e,
            sample_weight=sample_weight,
        )

    def certified_accuracy(
        self, eps: float | None = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Share of the examples certified to keep their true label; at eps=0, to have it."""
        if eps == 0:
            e, radius = 0.0, np.where(self._decided("abstained"), 0.0, 1.0)
        else:
            e, radius = self._radii("certified_standard", eps)
        return metrics.certified_accuracy(
            self._truth(), self.label, radius, eps=e, sample_weight=sample_weight
        )

    def rob_standard_nonsensitive(self, eps: float | None = None) -> float:
        """Certified accuracy on the examples of classes without sensitive targets."""
        e, radius = self._radii("certified_standard", eps)
        return metrics.rob_standard_nonsensitive(
            self._truth(), self.label, radius, cost_matrix=self.cost_matrix, eps=e
        )

    def abstention_rate(self) -> float:
        """Share of the inputs whose label was not decided."""
        return metrics.abstention_rate(self._decided("abstained"))

    def misclassification_cost(self) -> float:
        """Mean cost of the labels; an abstention pays the largest cost of its row."""
        return metrics.misclassification_cost(
            self._truth(),
            self.label,
            cost_matrix=self.cost_matrix,
            abstained=self._decided("abstained"),
        )

    def precision_recall(self, positive: Any) -> tuple[float, float]:
        """Precision and recall of the labels for the class ``positive``."""
        return metrics.precision_recall(
            self._truth(), self.label, positive=positive, abstained=self._decided("abstained")
        )

    def clean_error_matrix(self) -> NDArray[np.float64]:
        """Entry (i, j): share of the examples of class i that are labelled j."""
        return metrics.clean_error_matrix(
            self._truth(),
            self.label,
            classes=_classes(self.cost_matrix),
            abstained=self._decided("abstained"),
        )

    def robust_error_matrix(self, eps: float | None = None) -> NDArray[np.float64]:
        """Entry (i, j): share of class i not certified against j; nan where j costs nothing."""
        e, radius = self._radii("certified_pair", eps)
        true = self.cost_matrix.encode(self._truth())
        radius = np.where(self.cost_matrix.omega[true], radius, np.nan)
        return metrics.robust_error_matrix(
            self._truth(), radius, classes=_classes(self.cost_matrix), eps=e
        )

    def _rob_cs(self, kind: str, eps: float | None, sample_weight: ArrayLike | None) -> float:
        e, radius = self._radii(kind, eps)
        return metrics.rob_cs(
            self._truth(),
            radius,
            cost_matrix=self.cost_matrix,
            eps=e,
            sample_weight=sample_weight,
        )

    def _radii(self, name: str, eps: float | None) -> tuple[float, NDArray[np.float64]]:
        """Return eps and radii that lie above it exactly where the claim was certified."""
        certified = self._decided(name)
        if eps is not None and np.ndim(eps):
            raise ValueError(
                f"eps must be one of {self.eps.tolist()}, the radii decided; got {eps!r}."
            )
        if eps is None and len(self.eps) > 1:
            raise ValueError(f"eps must be one of {self.eps.tolist()}, the radii decided.")
        position = 0 if eps is None else np.flatnonzero(self.eps == eps)
        if np.size(position) != 1:
            raise ValueError(
                f"eps={eps!r} was not decided; the radii decided are {self.eps.tolist()}."
            )
        column = int(np.ravel(position)[0])
        e = float(self.eps[column])
        return e, np.where(certified[:, column], 2.0 * e, 0.0)

    def _decided(self, name: str) -> NDArray[np.bool_]:
        value = getattr(self, name)
        if value is None:
            raise ValueError(f"{name} was not asked for: certify with its kind among {KINDS}.")
        return value

    def _truth(self) -> NDArray[Any]:
        if self.y is None:
            raise ValueError("metrics compare with the true classes: certify with y to have them.")
        return self.y


def _classes(cost_matrix: CostMatrix) -> NDArray[Any]:
    classes = cost_matrix.classes
    return np.arange(cost_matrix.n_classes) if classes is None else np.asarray(classes)
