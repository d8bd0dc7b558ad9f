"""The object that certification returns: radii, what they were made from, and metrics on them."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothcs import metrics
from smoothcs._validation import (
    check_blockers,
    check_choice,
    check_positive,
    check_probability,
)
from smoothcs.bounds.binomial import check_counts, check_votes
from smoothcs.certification._npz import read_npz, write_npz
from smoothcs.cost import CostMatrix
from smoothcs.decision._plurality import BOUNDS, Problem, pairs_certified

if TYPE_CHECKING:
    import pandas as pd

HARMLESS_ERRORS = ["count", "zero"]

FORMAT_VERSION = 1

# Fields with one entry an input, which a selection of inputs has to cut.
_PER_INPUT = (
    "label",
    "abstained",
    "radius_standard",
    "radius_group",
    "radius_pair",
    "votes",
    "selection_votes",
)
# The types of those of which only one is right, whatever the order of their bytes.
_STORED_AS = {
    "radius_standard": "f8",
    "radius_group": "f8",
    "radius_pair": "f8",
    "votes": "i8",
    "selection_votes": "i8",
}


def freeze(record: Any, name: str) -> None:
    """Make an array of a frozen dataclass read-only: what was certified does not change."""
    value = getattr(record, name)
    if isinstance(value, np.ndarray):
        frozen = value.view()
        frozen.flags.writeable = False
        object.__setattr__(record, name, frozen)


@dataclass(frozen=True, eq=False, repr=False)
class Certificates:
    """Certified radii of n inputs over m classes; made by ``certify_votes``.

    Metrics that compare with the truth raise a ValueError when it was not given. Each takes ``eps``
    (the l2 radius of the attack, in the units of sigma) as a number, and returns a float, or as an
    array, and returns an array. An input that was abstained on is never counted as robust.

    Attributes
    ----------
    label : ndarray of shape (n,)
        The class picked by the selection votes, also where the procedure abstains.
    abstained : ndarray of bool of shape (n,)
        Inputs for which nothing is certified: no radius of any kind is positive.
    radius_standard : ndarray of float64 of shape (n,)
        Within it the smoothed classifier predicts ``label``.
    radius_group : ndarray of float64 of shape (n,)
        Within it the smoothed classifier predicts no sensitive target. nan where there is none.
    radius_pair : ndarray of float64 of shape (n, m)
        Within ``radius_pair[i, j]`` it does not predict class j; nan outside the sensitive targets.
    votes, selection_votes : ndarray of int64 of shape (n, m)
        The estimation and selection votes.
    sigma, alpha : float
        Standard deviation of the noise, failure probability.
    level : float or ndarray of float64 of shape (n,)
        Level at which the votes were tested: ``alpha``, or what a sequential rule spent of it on
        the look at which each input stopped.
    n : int or ndarray of int64 of shape (n,)
        Number of estimation votes, of all inputs or of each.
    bound : str
        How radii were bounded.
    simultaneous : bool
        Whether the pair radii of an input hold together.
    blockers : bool or int
        Largest blocker set of the exact bound.
    also_correct : bool
        Whether the claims include that the smoothed classifier predicts y.
    cost_matrix : CostMatrix
        The costs, in the order of the columns of the votes.
    y : ndarray of shape (n,) or None
        True classes, as labels.
    harmless_errors : {"count", "zero"}
        Whether a wrong prediction that costs nothing keeps its radii.

    Examples
    --------
    >>> from smoothcs.certification import certify_votes
    >>> certificates = certify_votes([[9, 1], [1, 9]], [[950, 50], [480, 520]], sigma=0.5, y=[0, 1])
    >>> certificates
    Certificates(2 inputs, 2 classes, sigma=0.5, alpha=0.001, bound='exact', 1 abstained)
    >>> certificates.rob_cs(eps=0.5)
    0.5
    >>> certificates.rob_cs(eps=[0.0, 0.5, 1.0])
    array([0.5, 0.5, 0. ])
    """

    label: NDArray[Any]
    abstained: NDArray[np.bool_]
    radius_standard: NDArray[np.float64]
    radius_group: NDArray[np.float64]
    radius_pair: NDArray[np.float64]
    votes: NDArray[np.int64]
    selection_votes: NDArray[np.int64]
    sigma: float
    alpha: float
    level: float | NDArray[np.float64]
    n: int | NDArray[np.int64]
    bound: str
    simultaneous: bool
    blockers: bool | int
    also_correct: bool
    cost_matrix: CostMatrix
    y: NDArray[Any] | None
    harmless_errors: str

    def __post_init__(self) -> None:
        for name in (*_PER_INPUT, "y", "n", "level"):
            freeze(self, name)

    def __len__(self) -> int:
        return len(self.label)

    def __repr__(self) -> str:
        return (
            f"Certificates({len(self)} inputs, {self.votes.shape[1]} classes, sigma={self.sigma:g},"
            f" alpha={self.alpha:g}, bound={self.bound!r}, {int(self.abstained.sum())} abstained)"
        )

    def __getitem__(self, index: slice | int | NDArray[Any]) -> Certificates:
        """The certificates of some inputs, by a slice, a mask or positions."""
        rows = np.atleast_1d(np.arange(len(self))[index])
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in (*_PER_INPUT, "y", "n", "level"):
            if isinstance(values[name], np.ndarray):
                values[name] = values[name][rows]
        return Certificates(**values)

    def rob_cs(self, eps: ArrayLike, sample_weight: ArrayLike | None = None) -> Any:
        """Share of the sensitive examples with ``radius_group > eps`` ([Xin25], Sec. 6)."""
        return metrics.rob_cs(
            self._truth("rob_cs"),
            self.radius_group,
            cost_matrix=self.cost_matrix,
            eps=eps,
            sample_weight=sample_weight,
        )

    def rob_cost(self, eps: ArrayLike, sample_weight: ArrayLike | None = None) -> Any:
        """Mean cost of the targets with ``radius_pair <= eps`` ([Xin25], Def. 4.3)."""
        return metrics.rob_cost(
            self._truth("rob_cost"),
            self.radius_pair,
            cost_matrix=self.cost_matrix,
            eps=eps,
            sample_weight=sample_weight,
        )

    def rob_cs_standard(self, eps: ArrayLike, sample_weight: ArrayLike | None = None) -> Any:
        """``rob_cs`` as the standard radius, which knows no costs, would have it ([Xin23])."""
        return metrics.rob_cs(
            self._truth("rob_cs_standard"),
            self.radius_standard,
            cost_matrix=self.cost_matrix,
            eps=eps,
            sample_weight=sample_weight,
        )

    def rob_standard_nonsensitive(self, eps: ArrayLike) -> Any:
        """Certified accuracy on the examples of classes without sensitive targets ([Xin23])."""
        return metrics.rob_standard_nonsensitive(
            self._truth("rob_standard_nonsensitive"),
            self.label,
            self.radius_standard,
            cost_matrix=self.cost_matrix,
            eps=eps,
            abstained=self.abstained,
        )

    def certified_accuracy(
        self, eps: ArrayLike = 0.0, sample_weight: ArrayLike | None = None
    ) -> Any:
        """Share of the examples that are predicted correctly with ``radius_standard > eps``."""
        return metrics.certified_accuracy(
            self._truth("certified_accuracy"),
            self.label,
            self.radius_standard,
            eps=eps,
            abstained=self.abstained,
            sample_weight=sample_weight,
        )

    def abstention_rate(self) -> float:
        """Share of the inputs on which the procedure abstains."""
        return metrics.abstention_rate(self.abstained)

    def misclassification_cost(self) -> float:
        """Mean cost of the labels; an abstention pays the largest cost of its row."""
        return metrics.misclassification_cost(
            self._truth("misclassification_cost"),
            self.label,
            cost_matrix=self.cost_matrix,
            abstained=self.abstained,
        )

    def precision_recall(self, positive: Any) -> tuple[float, float]:
        """Precision and recall of the labels for the class ``positive``."""
        y = self._truth("precision_recall")
        return metrics.precision_recall(y, self.label, positive=positive, abstained=self.abstained)

    def clean_error_matrix(self) -> NDArray[np.float64]:
        """Entry (i, j): share of the examples of class i that are labelled j."""
        y = self._truth("clean_error_matrix")
        return metrics.clean_error_matrix(
            y, self.label, classes=self._classes, abstained=self.abstained
        )

    def robust_error_matrix(self, eps: ArrayLike) -> NDArray[np.float64]:
        """Entry (i, j): share of the examples of class i not certified against target j at eps.

        Every target is looked at, whatever its cost: the pair radii are made again from the votes
        with every other class as a target. An example labelled j is not certified against j; one
        labelled as a third class may be ([ZE19], Fig. 1b; [Xin25], Fig. 6).
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
        allowed = columns != problem.top[:, None]
        if self.harmless_errors == "zero":
            allowed &= (problem.top == true)[:, None]

        def at(e: float) -> NDArray[np.float64]:
            certified = allowed & pairs_certified(self.votes, problem, e / self.sigma)
            above = np.where(targets, np.where(certified, e + 1.0, 0.0), np.nan)
            return metrics.robust_error_matrix(y, above, classes=self._classes, eps=e)

        radii = np.asarray(eps, dtype=np.float64)
        return at(float(radii)) if radii.ndim == 0 else np.array([at(float(e)) for e in radii])

    def with_costs(self, cost_matrix: Any) -> Certificates:
        """The certificates of the same votes for other costs; nothing is sampled again."""
        from smoothcs.certification._certify import certify_votes

        return certify_votes(
            self.selection_votes,
            self.votes,
            sigma=self.sigma,
            alpha=self.alpha,
            cost_matrix=cost_matrix,
            y=self.y,
            bound=self.bound,
            simultaneous=self.simultaneous,
            blockers=self.blockers,
            also_correct=self.also_correct,
            harmless_errors=self.harmless_errors,
            n=self.n,
            level=None if np.ndim(self.level) == 0 else self.level,
            classes=self.cost_matrix.classes,
        )

    def to_frame(self) -> pd.DataFrame:
        """One row an input: label, abstained, radii (a column a target) and y; needs pandas."""
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("Certificates.to_frame needs pandas: pip install pandas.") from error
        columns: dict[str, Any] = {} if self.y is None else {"y": self.y}
        for name in ("label", "abstained", "radius_standard", "radius_group"):
            columns[name] = getattr(self, name)
        for j, name in enumerate(self._classes):
            columns[f"radius_pair_{name}"] = self.radius_pair[:, j]
        return pd.DataFrame(columns)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to ``path`` as npz without pickles; an existing file is replaced as a whole."""
        entries: dict[str, Any] = {"format_version": FORMAT_VERSION}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "cost_matrix":
                entries["costs"] = value.matrix
                if value.classes is not None:
                    entries["classes"] = value.classes
            elif value is not None:
                entries[field.name] = value
        write_npz(path, entries)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Certificates:
        """Read what :meth:`save` wrote. Nothing in the file is ever run.

        Certificates of a decision rule come back as
        :class:`~smoothcs.decision.DecisionCertificates`.

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
            raise ValueError(f"{path} is not a valid file of certificates: {error}") from error

    @classmethod
    def _from_entries(cls, entries: dict[str, NDArray[Any]]) -> Certificates:
        version = entries.pop("format_version").item()
        if version != FORMAT_VERSION:
            raise ValueError(f"format version {version}; this release reads {FORMAT_VERSION}.")
        values: dict[str, Any] = {
            name: value.item() if value.ndim == 0 else value for name, value in entries.items()
        }
        values["cost_matrix"] = CostMatrix(values.pop("costs"), classes=values.pop("classes", None))
        values.setdefault("y", None)
        if cls is Certificates and not {"weights", "decision_costs"}.isdisjoint(values):
            from smoothcs.certification._decision_certificates import DecisionCertificates

            cls = DecisionCertificates
        certificates = cls(**values)
        certificates._check()
        return certificates

    def _check(self) -> None:
        """Refuse fields that do not fit together, as those of a damaged file."""
        for name, kind in _STORED_AS.items():
            # Radii of a shorter type may have been rounded up.
            if np.asarray(getattr(self, name)).dtype.str[1:] != kind:
                raise ValueError(f"{name} is not stored as {kind}.")
        shape = check_votes("votes", self.votes).shape
        if check_votes("selection_votes", self.selection_votes).shape != shape:
            raise ValueError("votes and selection_votes differ in shape.")
        if self.cost_matrix.n_classes != shape[1] or self.radius_pair.shape != shape:
            raise ValueError("cost_matrix or radius_pair does not fit the votes.")
        per_input = {name: getattr(self, name) for name in _PER_INPUT if "votes" not in name}
        if self.y is not None:
            per_input["y"] = self.y
        for name, value in per_input.items():
            if value.shape[:1] != shape[:1] or (value.ndim != 1 and name != "radius_pair"):
                raise ValueError(f"{name} does not hold one entry for each input.")
        if not np.array_equal(self.votes.sum(axis=1), np.broadcast_to(self.n, shape[:1])):
            raise ValueError("the votes do not sum to n.")
        check_counts("n", self.n)
        check_positive("sigma", self.sigma)
        check_probability("alpha", self.alpha)
        level = np.asarray(self.level)
        if level.shape not in ((), shape[:1]) or not np.all((level > 0) & (level <= self.alpha)):
            raise ValueError("level does not lie between 0 and alpha.")
        check_choice("bound", self.bound, BOUNDS)
        check_choice("simultaneous", self.simultaneous, [True, False])
        check_blockers(self.blockers)
        check_choice("also_correct", self.also_correct, [True, False])
        check_choice("harmless_errors", self.harmless_errors, HARMLESS_ERRORS)
        top = self.selection_votes.argmax(axis=1)
        if not np.array_equal(self.label, self._classes[top]) or self.abstained.dtype != bool:
            raise ValueError("label or abstained does not fit the votes.")
        row = top if self.y is None else self.cost_matrix.encode(self.y)
        omega = self.cost_matrix.omega[row]
        for name, defined in (
            ("radius_standard", np.ones(shape[:1], dtype=bool)),
            ("radius_group", omega.any(axis=1)),
            ("radius_pair", omega),
        ):
            radius = getattr(self, name)
            valid = np.where(defined, (radius >= 0) & (radius < np.inf), np.isnan(radius))
            if not valid.all() or np.any(radius[self.abstained] > 0):
                raise ValueError(f"{name} holds values that no certificate has.")

    @property
    def _classes(self) -> NDArray[Any]:
        classes = self.cost_matrix.classes
        return np.arange(self.votes.shape[1]) if classes is None else np.asarray(classes)

    def _truth(self, metric: str) -> NDArray[Any]:
        if self.y is None:
            raise ValueError(f"{metric} compares with the true classes: certify with y to have it.")
        return self.y
