"""The object that certification returns: radii, what they were made from, and metrics on them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothcs import metrics
from smoothcs._metrics.frames import as_frame
from smoothcs._validation import (
    check_blockers,
    check_choice,
)
from smoothcs.bounds.binomial import check_counts
from smoothcs.certification._core import HARMLESS_ERRORS, Record
from smoothcs.cost import CostMatrix
from smoothcs.decision import WeightedVotes
from smoothcs.decision._radii import Problem, pairs_certified

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class Certificates(Record):
    """Certified radii of n inputs over m classes; made by ``certify_votes``.

    Metrics that compare with the truth raise a ValueError when it was not given. Each takes ``eps``
    (the l2 radius of the attack, in the units of sigma) as a number and returns a float, or as an
    array and returns an array. An input that was abstained on never counts as robust.

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
        0 where ``label`` is itself a sensitive target.
    votes, selection_votes : ndarray of int64 of shape (n, m)
        The estimation and selection votes.
    sigma, alpha : float
        Standard deviation of the noise, failure probability.
    level : float or ndarray of float64 of shape (n,)
        Level at which the votes were tested: ``alpha``, or what a sequential rule spent of it on
        the look at which each input stopped.
    n : int or ndarray of int64 of shape (n,)
        Number of estimation votes, of all inputs or of each.
    bound, simultaneous, blockers, also_correct, harmless_errors
        As given to :func:`certify_votes`.
    cost_matrix : CostMatrix
        The costs, in the order of the columns of the votes.
    y : ndarray of shape (n,) or None
        True classes, as labels.
    decision : WeightedVotes
        How votes become a label; equal weights are the plurality vote.
    input_error : float or ndarray of float64 of shape (n,)
        What was taken off every radius because inputs were rounded before they were voted on.
    model : str or None
        Which estimator certified, and behind which steps.
    costs : ndarray of float64 of shape (n, m, m) or None
        Costs of each example, ``costs[i, y, k]`` of calling a y a k.
    noise_scale : ndarray of float32 or None
        Scale of the noise of each entry of an input; radii are those of
        ``||perturbation / noise_scale||_2``, and entries of scale 0 do not change.
    radius_other : ndarray of float64 of shape (n, m) or None
        ``radius_pair`` where ``label`` costs nothing. Where it does, the same claims about the
        other sensitive targets, by which a bill knows what else may have to be paid.

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
    decision: WeightedVotes
    input_error: float | NDArray[np.float64] = 0.0
    model: str | None = None
    costs: NDArray[np.float64] | None = None
    noise_scale: NDArray[np.float32] | None = None
    radius_other: NDArray[np.float64] | None = None

    FORMAT: ClassVar[str] = "smoothcs certificates 2"
    # The types of the arrays of which only one is right, whatever the order of their bytes.
    STORED_AS: ClassVar[dict[str, str]] = {
        "radius_standard": "f8",
        "radius_group": "f8",
        "radius_pair": "f8",
        "radius_other": "f8",
        "votes": "i8",
        "selection_votes": "i8",
    }

    def __repr__(self) -> str:
        return (
            f"Certificates({len(self)} inputs, {self.votes.shape[1]} classes, sigma={self.sigma:g},"
            f" alpha={self.alpha:g}, bound={self.bound!r}, {int(self.abstained.sum())} abstained"
            f"{self._notes()})"
        )

    def __getitem__(self, index: slice | int | NDArray[Any]) -> Certificates:
        """The certificates of some inputs, by a slice, a mask or positions."""
        rows = np.atleast_1d(np.arange(len(self))[index])
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in values.items():
            if isinstance(value, np.ndarray) and name != "noise_scale":  # one entry per input
                values[name] = value[rows]
        return Certificates(**values)

    def robust_error_matrix(
        self, eps: Any = None, sample_weight: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """Entry (i, j): share of the examples of class i not certified against target j at eps.

        Every target counts, whatever its cost: the votes are tested with every other class as a
        target. An example labelled j is not certified against j; one labelled as a third class may
        be ([ZE19]_, Fig. 1b; [Xin25]_, Fig. 6).
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
            self.decision,
            self.simultaneous,
            self.blockers,
            correct=true if self.also_correct else None,
        )
        allowed = columns != problem.top[:, None]
        if self.harmless_errors == "zero":
            allowed &= (problem.top == true)[:, None]

        def at(e: float) -> NDArray[np.float64]:
            eta = (e + self.input_error) / self.sigma
            certified = allowed & pairs_certified(self.votes, problem, eta)
            above = np.where(targets, np.where(certified, e + 1.0, 0.0), np.nan)
            return metrics.robust_error_matrix(
                y, above, classes=self.classes, eps=e, sample_weight=sample_weight
            )

        radii = np.asarray(self._given(eps), dtype=np.float64)
        return at(float(radii)) if radii.ndim == 0 else np.array([at(float(e)) for e in radii])

    def to_frame(self) -> pd.DataFrame:
        """One row per input: labels and radii, one column per target; needs pandas.

        Its ``attrs`` hold the ``noise_scale``, if there is one, as a list.
        """
        columns: dict[str, Any] = {} if self.y is None else {"y": self.y}
        for name in ("label", "abstained", "radius_standard", "radius_group"):
            columns[name] = getattr(self, name)
        for j, name in enumerate(self.classes):
            columns[f"radius_pair_{name}"] = self.radius_pair[:, j]
        return as_frame(columns, noise_scale=self.noise_scale)

    def _at(self, kind: str, eps: Any) -> tuple[Any, NDArray[np.float64]]:
        kind = "standard" if kind == "label" else kind
        if kind == "other" and self.radius_other is None:  # of an old file
            kind = "pair"
        return self._given(eps), getattr(self, f"radius_{kind}")

    def _reported(self, eps: Any) -> Any:
        return eps

    def _given(self, eps: Any) -> Any:
        if eps is None:
            raise ValueError("eps must be given: radii answer for every eps.")
        return eps

    def _abstained(self) -> NDArray[np.bool_]:
        return self.abstained

    def _check(self) -> None:
        super()._check()
        shape = self.votes.shape
        if self.abstained.dtype != bool:
            raise ValueError("abstained does not hold booleans.")
        if not np.array_equal(self.votes.sum(axis=1), np.broadcast_to(self.n, shape[:1])):
            raise ValueError("the votes do not sum to n.")
        check_counts("n", self.n)
        for name, most in (("level", self.alpha), ("input_error", np.inf)):
            value = np.asarray(getattr(self, name))
            inside = (value > 0) | ((value == 0) & (name == "input_error"))
            if value.shape not in ((), shape[:1]) or not np.all(inside & (value <= most)):
                raise ValueError(f"{name} does not lie between 0 and {most}.")
        check_choice("bound", self.bound, self.decision.bounds)
        check_choice("simultaneous", self.simultaneous, [True, False])
        check_blockers(self.blockers)
        check_choice("also_correct", self.also_correct, [True, False])
        check_choice("harmless_errors", self.harmless_errors, HARMLESS_ERRORS)
        top, omega = self._rows()
        for name, defined in (
            ("radius_standard", np.ones(shape[:1], dtype=bool)),
            ("radius_group", omega.any(axis=1)),
            ("radius_pair", omega),
            ("radius_other", omega),
        ):
            radius = getattr(self, name)
            if radius is None:
                continue
            if radius.shape != defined.shape:
                raise ValueError(f"{name} does not fit the votes.")
            valid = np.where(defined, (radius >= 0) & (radius < np.inf), np.isnan(radius))
            if not valid.all() or np.any(radius[self.abstained] > 0):
                raise ValueError(f"{name} holds values that no certificate has.")
        if self.radius_other is not None:
            costly = omega[np.arange(len(top)), top]
            same = np.array_equal(
                self.radius_other[~costly], self.radius_pair[~costly], equal_nan=True
            )
            if not same or self.radius_other[costly, top[costly]].any():
                raise ValueError("radius_other does not fit radius_pair and label.")
