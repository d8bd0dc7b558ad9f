"""What all certificates share: when a radius may be published, and how records are kept."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import Self

from smoothcs._validation import (
    Bools,
    Indices,
    Ints,
    check_choice,
    check_positive,
    check_probability,
)
from smoothcs.bounds.binomial import check_votes
from smoothcs.certification._metrics import CertifiedMetrics
from smoothcs.certification._npz import read_npz, write_npz
from smoothcs.cost import CostMatrix
from smoothcs.decision import WeightedVotes
from smoothcs.decision._radii import Radii

HARMLESS_ERRORS = ["count", "zero"]


def settle(
    raw: Radii,
    top: NDArray[np.intp],
    omega: NDArray[np.bool_],
    sigma: float,
    dropped: NDArray[np.bool_] | None = None,
) -> tuple[Radii, NDArray[np.float64], NDArray[np.bool_]]:
    """Scale by sigma, and leave no positive radius where nothing may be claimed.

    Returns the radii, those of the bill, and which inputs are abstained on. All radii are 0 where
    the procedure abstains, where the class picked is itself a sensitive target, and where
    ``dropped`` says so; group radii are nan without a sensitive target, pair radii outside the
    sensitive targets. The bill charges a costly class that was picked, and keeps the pair radii
    against all others.
    """
    costly = omega[np.arange(len(top)), top]
    sensitive = omega.any(axis=1)
    # Comparisons with nan are false, so a radius that is not a number certifies nothing.
    avoids = ((raw.group > 0) & sensitive) | ((raw.pair > 0) & omega).any(axis=1)
    abstained = ~((raw.standard > 0) | (avoids & ~costly))
    silent = abstained if dropped is None else abstained | dropped

    def published(r: NDArray[np.float64], void: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.where((r > 0) & ~void.reshape(-1, *[1] * (r.ndim - 1)), r, 0.0) * sigma

    standard, group, pair = (published(r, silent | costly) for r in raw)
    radii = Radii(standard, np.where(sensitive, group, np.nan), np.where(omega, pair, np.nan))
    picked = np.arange(omega.shape[1]) == top[:, None]
    other = np.where(omega, np.where(picked, 0.0, published(raw.pair, silent)), np.nan)
    return radii, other, abstained


def sensitive_rows(
    cost: CostMatrix, top: NDArray[np.intp], y: ArrayLike | None, harmless_errors: str
) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | None, NDArray[Any] | None]:
    """Each input's sensitive targets, the inputs to drop, and y as labels."""
    check_choice("harmless_errors", harmless_errors, HARMLESS_ERRORS)
    if y is None:
        if harmless_errors == "zero":
            raise ValueError('harmless_errors="zero" compares with the true classes: pass y.')
        return cost.omega[top], None, None
    row = cost.encode(y)
    if row.shape != top.shape:
        raise ValueError(
            f"y must hold one class for each input: expected shape {top.shape}, got {row.shape}."
        )
    dropped = top != row if harmless_errors == "zero" else None
    return cost.omega[row], dropped, cost.labels[row]


class Record(CertifiedMetrics):
    """Base of the certificates, which are frozen dataclasses: arrays are read-only, files plain.

    A subclass names its ``FORMAT`` and the types of the arrays that it stores.
    """

    FORMAT: ClassVar[str]
    STORED_AS: ClassVar[dict[str, str]]
    abstained: Bools | None
    votes: Ints
    selection_votes: Ints
    sigma: float
    alpha: float
    decision: WeightedVotes
    model: str | None
    costs: NDArray[np.float64] | None
    noise_scale: NDArray[np.float32] | None

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                frozen = value.view()
                frozen.flags.writeable = False
                object.__setattr__(self, field.name, frozen)

    def __len__(self) -> int:
        return len(self.label)

    def _besides(self, values: dict[str, Any], eps: Any) -> dict[str, Any]:
        return {
            "eps": self._reported(eps),
            "sigma": self.sigma,
            "alpha": self.alpha,
            "mean_votes": float(self.votes.sum(axis=1).mean()),
        }

    def _reported(self, eps: Any) -> Any:
        """Return the radius that a report names."""
        raise NotImplementedError

    def _notes(self) -> str:
        """Return what the repr says of the decision, the noise and the model."""
        notes = []
        if not self.decision.is_plurality:
            notes.append(repr(self.decision))
        elif self.decision.inside is not None:
            notes.append(str(self.decision.inside))
        if self.noise_scale is not None:
            moved = np.count_nonzero(self.noise_scale)
            notes.append(f"noise on {moved} of {self.noise_scale.size} entries")
        if self.model is not None:
            notes.append(self.model)
        return "".join(f", {note}" for note in notes)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to ``path`` as npz without pickles; an existing file is replaced as a whole."""
        entries: dict[str, Any] = {"format": self.FORMAT}
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if field.name == "cost_matrix":
                entries["costs"] = value.matrix
                if value.classes is not None:
                    entries["classes"] = value.classes
            elif field.name == "decision":
                entries["weights"] = value.weights
                if value.inside is not None:
                    entries["inside"] = str(value.inside)
            elif value is not None:
                entries["example_costs" if field.name == "costs" else field.name] = value
        write_npz(path, entries)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what :meth:`save` wrote. Nothing in the file is ever run.

        Raises
        ------
        ValueError
            If the file is of another format or version, is damaged, holds Python objects, or its
            entries do not fit together.
        """
        try:
            return cls._from_entries(read_npz(path))
        except OSError:
            raise
        except Exception as error:
            raise ValueError(f"{path} is not a valid file of {cls.__name__}: {error}") from error

    @classmethod
    def _from_entries(cls, entries: dict[str, NDArray[Any]]) -> Self:
        found = entries.pop("format").item()
        if found != cls.FORMAT:
            raise ValueError(f"format {found!r}; this release reads {cls.FORMAT!r}.")
        values: dict[str, Any] = {
            name: value.item() if value.ndim == 0 else value for name, value in entries.items()
        }
        values["cost_matrix"] = CostMatrix(values.pop("costs"), classes=values.pop("classes", None))
        values["costs"] = values.pop("example_costs", None)
        n_classes = values["cost_matrix"].n_classes
        inside = values.pop("inside", None)
        values["decision"] = WeightedVotes(values.pop("weights"), inside).align(n_classes)
        for field in fields(cls):  # type: ignore[arg-type]
            if "None" in str(field.type):
                values.setdefault(field.name, None)
            elif field.name not in values:
                raise ValueError(f"{field.name} is missing.")
        record = cls(**values)
        for name, kind in cls.STORED_AS.items():
            # Radii of a shorter type may have been rounded up.
            value = getattr(record, name)
            if value is not None and np.asarray(value).dtype.str[1:] != kind:
                raise ValueError(f"{name} is not stored as {kind}.")
        record._check()
        record._check_notes()
        return record

    def _check(self) -> None:
        """Refuse fields that do not fit together, as those of a damaged file."""
        shape = check_votes("votes", self.votes).shape
        if check_votes("selection_votes", self.selection_votes).shape != shape:
            raise ValueError("votes and selection_votes differ in shape.")
        if self.cost_matrix.n_classes != shape[1]:
            raise ValueError("cost_matrix does not fit the votes.")
        self._check_per_input(label=self.label, abstained=self.abstained, y=self.y)
        check_positive("sigma", self.sigma)
        check_probability("alpha", self.alpha)
        if not np.array_equal(self.label, self.classes[self._rows()[0]]):
            raise ValueError("label does not fit the votes.")

    def _rows(self) -> tuple[Indices, Bools]:
        """Return the class index picked for each input, and its sensitive targets (n, m)."""
        top = self.decision.winner(self.selection_votes)
        row = top if self.y is None else self.cost_matrix.encode(self.y)
        return top, self.cost_matrix.omega[row]

    def _check_notes(self) -> None:
        n, m = self.votes.shape
        costs, scale = self.costs, self.noise_scale
        if costs is not None and not (costs.shape == (n, m, m) and _valid(costs)):
            raise ValueError("costs are not one matrix of costs >= 0 per input.")
        if scale is not None and not (_valid(scale) and scale.any()):
            raise ValueError("noise_scale does not hold scales >= 0.")

    def _check_per_input(self, **values: NDArray[Any] | None) -> None:
        for name, value in values.items():
            if value is not None and (value.ndim != 1 or len(value) != len(self.votes)):
                raise ValueError(f"{name} does not hold one entry for each input.")


def _valid(array: NDArray[Any]) -> bool:
    return bool(array.dtype.kind == "f" and np.all((array >= 0) & np.isfinite(array)))
