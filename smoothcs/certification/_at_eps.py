"""What is certified at given attack radii, decided with as few votes as that needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from smoothcs._metrics.frames import as_frame
from smoothcs._validation import check_integer
from smoothcs.certification._core import Record
from smoothcs.cost import CostMatrix
from smoothcs.decision import WeightedVotes
from smoothcs.sequential import KINDS, Together

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class CertifiedAt(Record):
    """What was certified at the radii asked for; made by ``certify_at``.

    Metrics take ``eps``, one of the radii that were decided (it may be left out where there is
    one), and are those of :class:`~smoothcs.Certificates`, except that an input is abstained on
    where its label could not be decided. What was not decided, was given up or was interrupted is
    not certified.

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
    n_max : int
        Most estimation votes that an input might have used.
    sigma, alpha, cost_matrix, y, decision, model, costs, noise_scale
        As of :class:`~smoothcs.Certificates`.
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
    decision: WeightedVotes
    model: str | None = None
    costs: NDArray[np.float64] | None = None
    noise_scale: NDArray[np.float32] | None = None

    FORMAT: ClassVar[str] = "smoothcs certified at eps 1"
    STORED_AS: ClassVar[dict[str, str]] = {
        "eps": "f8",
        "abstained": "b1",
        "certified_group": "b1",
        "certified_pair": "b1",
        "certified_standard": "b1",
        "votes": "i8",
        "selection_votes": "i8",
    }

    @classmethod
    def from_rules(
        cls,
        rules: Together,
        votes: NDArray[np.int64],
        selection: NDArray[np.int64],
        *,
        cost_matrix: CostMatrix,
        y: NDArray[Any] | None,
        harmless_errors: str,
        **more: Any,
    ) -> CertifiedAt:
        """Read off the rules what may be claimed; ``more`` are further attributes."""
        void = void_claims(rules.top, cost_matrix, y, harmless_errors)
        # Inputs that were interrupted have no votes left, though a claim may have been decided.
        unfinished = votes.sum(axis=1) == 0

        def held(kind: str) -> NDArray[np.bool_] | None:
            shown = rules.certified(kind)
            out = void[kind] | unfinished
            return None if shown is None else shown & ~out.reshape(-1, *[1] * (shown.ndim - 1))

        label = held("label")
        return cls(
            label=cost_matrix.labels[rules.top],
            abstained=None if label is None else ~label[:, 0],
            certified_group=held("group"),
            certified_pair=held("pair"),
            certified_standard=held("standard"),
            votes=votes,
            selection_votes=selection,
            cost_matrix=cost_matrix,
            y=y,
            **more,
        )

    def __repr__(self) -> str:
        return (
            f"CertifiedAt({len(self)} inputs at eps={self.eps.tolist()}, sigma={self.sigma:g}, "
            f"alpha={self.alpha:g}, {self.n_used.mean():.0f} votes per input{self._notes()})"
        )

    @property
    def n_used(self) -> NDArray[np.int64]:
        """Votes drawn for each input, selection votes included, (n,)."""
        used: NDArray[np.int64] = self.votes.sum(axis=1) + self.selection_votes.sum(axis=1)
        return used

    def to_frame(self) -> pd.DataFrame:
        """One row per input: labels, claims by kind and radius, votes; needs pandas."""
        columns: dict[str, Any] = {} if self.y is None else {"y": self.y}
        columns["label"] = self.label
        if self.abstained is not None:
            columns["abstained"] = self.abstained
        for e, eps in enumerate(self.eps.tolist()):
            for kind in ("group", "standard"):
                certified = getattr(self, f"certified_{kind}")
                if certified is not None:
                    columns[f"certified_{kind}_{eps}"] = certified[:, e]
            if self.certified_pair is not None:
                for j, name in enumerate(self.classes):
                    columns[f"certified_pair_{name}_{eps}"] = self.certified_pair[:, e, j]
        columns["n_used"] = self.n_used
        return as_frame(columns, noise_scale=self.noise_scale)

    def _at(self, kind: str, eps: Any) -> tuple[float, NDArray[np.float64]]:
        """Return eps and radii that lie above it exactly where the claim was certified."""
        if kind == "label":
            return 0.0, np.where(self._abstained(), 0.0, 1.0)
        certified = self._decided(f"certified_{'pair' if kind == 'other' else kind}")
        e = self._reported(eps)
        return e, np.where(certified[:, self._column(eps)], 2.0 * e, 0.0)

    def _reported(self, eps: Any) -> float:
        return float(self.eps[self._column(eps)])

    def _column(self, eps: Any) -> int:
        if eps is None and len(self.eps) == 1:
            return 0
        if eps is None or np.ndim(eps):
            raise ValueError(
                f"eps must be one of {self.eps.tolist()}, the radii decided; got {eps!r}."
            )
        position = np.flatnonzero(self.eps == eps)
        if len(position) != 1:
            raise ValueError(
                f"eps={eps!r} was not decided; the radii decided are {self.eps.tolist()}."
            )
        return int(position[0])

    def _abstained(self) -> NDArray[np.bool_]:
        return self._decided("abstained")

    def _decided(self, name: str) -> NDArray[np.bool_]:
        value: NDArray[np.bool_] | None = getattr(self, name)
        if value is None:
            raise ValueError(f"{name} was not asked for: certify with its kind among {KINDS}.")
        return value

    def _check(self) -> None:
        super()._check()
        n, m = self.votes.shape
        if self.eps.ndim != 1 or not np.all((self.eps > 0) & np.isfinite(self.eps)):
            raise ValueError("eps does not hold radii > 0.")
        check_integer("n_max", self.n_max)
        if self.votes.sum(axis=1).max(initial=0) > self.n_max:
            raise ValueError("there are more votes than n_max.")
        unfinished = self.votes.sum(axis=1) == 0
        top, omega = self._rows()
        costly = omega[np.arange(n), top]
        for name, shape in (
            ("certified_group", (n, len(self.eps))),
            ("certified_pair", (n, len(self.eps), m)),
            ("certified_standard", (n, len(self.eps))),
        ):
            shown = getattr(self, name)
            if shown is not None and (shown.shape != shape or shown[unfinished | costly].any()):
                raise ValueError(f"{name} holds claims that no certificate has.")


def void_claims(
    top: NDArray[np.intp], cost_matrix: CostMatrix, y: NDArray[Any] | None, harmless_errors: str
) -> dict[str, NDArray[np.bool_]]:
    """Return for each kind of claim where it would be false or empty whatever the votes, (n,)."""
    row = top if y is None else cost_matrix.encode(y)
    costly = cost_matrix.omega[row, top]
    void = costly | (top != row) if harmless_errors == "zero" else costly
    # Where no mistake is costly a claim about costly ones is empty: not certified by default.
    empty = ~cost_matrix.omega[row].any(axis=1)
    never = np.zeros_like(void)
    return {"group": void | empty, "pair": void, "standard": void, "label": never}
