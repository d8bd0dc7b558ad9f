"""The metrics of everything that certifies: radii, decisions at eps, convex margins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothcs import metrics
from smoothcs._metrics.frames import as_frame
from smoothcs.certification._intervals import GroupIntervals, group_codes
from smoothcs.cost import CostMatrix

if TYPE_CHECKING:
    import pandas as pd

Many = Sequence[float] | NDArray[Any]

# The metrics of ``score``, each with the kind of claim that it counts.
SCORES = {"rob_cs": "group", "rob_cost": "pair", "certified_accuracy": "standard"}


class _AtEps(Protocol):
    """A metric for type checkers: a float of one eps, an array of several."""

    @overload
    def __call__(self, eps: float | None = ..., sample_weight: ArrayLike | None = ...) -> float: ...
    @overload
    def __call__(self, eps: Many, sample_weight: ArrayLike | None = ...) -> NDArray[np.float64]: ...


def _at_eps(method: Callable[..., Any]) -> _AtEps:
    return method


class CertifiedMetrics(GroupIntervals):
    """Mixin: every certified metric, from ``label``, ``abstained`` and what :meth:`_at` returns.

    Metrics that compare with the truth raise a ValueError when it was not given. Each takes
    ``eps``, the radius of the attack, as a number and returns a float, or as an array and returns
    an array.
    An input that was abstained on never counts as robust.
    """

    label: NDArray[Any]
    cost_matrix: CostMatrix
    y: NDArray[Any] | None
    costs: NDArray[np.float64] | None = None

    def _at(self, kind: str, eps: Any) -> tuple[Any, NDArray[np.float64]]:
        """Return (e, radii) such that the claim ``kind`` holds at eps where the radius is > e.

        ``kind`` is "group", "standard", "pair", "other" (pair claims that are made beside a costly
        label, too) or, for the label itself, "label".
        """
        raise NotImplementedError

    def _abstained(self) -> NDArray[np.bool_]:
        """Where no label is certain."""
        raise NotImplementedError

    @_at_eps
    def rob_cs(self, eps: Any = None, sample_weight: Any = None) -> Any:
        """Share of the sensitive examples certified against all sensitive targets ([Xin25]_, 6)."""
        return self._rob_cs("group", eps, sample_weight)

    @_at_eps
    def rob_cs_standard(self, eps: Any = None, sample_weight: Any = None) -> Any:
        """``rob_cs`` as the standard radius, which ignores costs, would have it ([Xin23]_)."""
        return self._rob_cs("standard", eps, sample_weight)

    @_at_eps
    def rob_cost(self, eps: Any = None, sample_weight: Any = None) -> Any:
        """Mean, over sensitive examples, of the summed costs of targets that are not ruled out.

        It is a sum over targets ([Xin25]_, Def. 4.3), so it may exceed the largest single cost.
        """
        e, radius = self._at("pair", eps)
        return metrics.rob_cost(
            self._truth("rob_cost"),
            radius,
            cost_matrix=self.cost_matrix,
            eps=e,
            sample_weight=sample_weight,
        )

    @_at_eps
    def certified_accuracy(self, eps: Any = 0.0, sample_weight: Any = None) -> Any:
        """Share of the examples certified to keep their true label; at eps=0, to have it."""
        kind = "label" if np.ndim(eps) == 0 and eps == 0 else "standard"
        e, radius = self._at(kind, eps)
        return metrics.certified_accuracy(
            self._truth("certified_accuracy"),
            self.label,
            radius,
            eps=e,
            sample_weight=sample_weight,
        )

    @_at_eps
    def rob_standard_nonsensitive(self, eps: Any = None, sample_weight: Any = None) -> Any:
        """Certified accuracy on the examples of classes without sensitive targets ([Xin23]_)."""
        e, radius = self._at("standard", eps)
        return metrics.rob_standard_nonsensitive(
            self._truth("rob_standard_nonsensitive"),
            self.label,
            radius,
            cost_matrix=self.cost_matrix,
            eps=e,
            sample_weight=sample_weight,
        )

    def worst_cost(self, eps: Any = None) -> NDArray[np.float64]:
        """What each example may cost at worst within eps, (n,); at k radii, (k, n).

        At eps=0 it is what the label costs. The prices are the ``costs`` of the examples, else
        those of the cost matrix. The label
        counts, and every other class unless it is certified out at eps; an input that was abstained
        on pays the largest price of its row.
        """
        return metrics.worst_cost(**self._priced("worst_cost", eps))

    def bill(
        self,
        eps: Any = None,
        confidence: float | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        noise_groups: ArrayLike | None = None,
    ) -> Any:
        """Sum of the worst costs within eps; at eps=0, the clean bill.

        With ``confidence``, a limit that the true worst-case bill of the smoothed classifier
        exceeds with probability at most 1 - confidence: certificates may fail, each input's with
        probability ``alpha``. Identical inputs share their noise, hence their failures. Votes do
        not tell which are identical, so inputs with equal votes (where their number was not fixed:
        with equal selection votes) are taken for identical unless ``noise_groups`` (n,) tells them
        apart by unequal entries; ``np.arange(n)`` says that no two inputs are identical.
        """
        return metrics.bill(
            **self._priced("bill", eps, confidence),
            **self._failures(confidence, noise_groups),
            sample_weight=sample_weight,
        )

    def savings(
        self,
        eps: Any = None,
        confidence: float | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        noise_groups: ArrayLike | None = None,
    ) -> Any:
        """Share of the cheapest constant answer's bill that is saved within eps, at most 1.

        With ``confidence``, a lower limit; ``noise_groups`` as in :meth:`bill`.
        """
        return metrics.savings(
            **self._priced("savings", eps, confidence),
            **self._failures(confidence, noise_groups),
            sample_weight=sample_weight,
        )

    def bill_frame(self, eps: Any = None) -> pd.DataFrame:
        """Return who may be flipped within eps, to what, and at which price; needs pandas.

        One row per input, in their order: ``y``, ``label``, ``abstained`` (where that was
        decided), ``worst_answer`` (the label, unless a dearer answer is not ruled out),
        ``cost_now``, ``worst_cost`` and their difference ``at_risk``.
        """
        priced = self._priced("bill_frame", eps)
        if np.ndim(priced["eps"]):
            raise ValueError(f"eps must be one number for a frame; got {eps!r}.")
        now = metrics.worst_cost(**{**priced, "eps": 0.0})
        worst = metrics.worst_cost(**priced)
        columns = {"y": self._truth("bill_frame"), "label": self.label}
        if priced["abstained"] is not None:
            columns["abstained"] = priced["abstained"]
        columns["worst_answer"] = self.classes[metrics.worst_answer(**priced)]
        columns |= {"cost_now": now, "worst_cost": worst, "at_risk": worst - now}
        return as_frame(columns, "bill_frame")

    def abstention_rate(self, sample_weight: ArrayLike | None = None) -> float:
        """Share of the inputs on which the procedure abstains."""
        return metrics.abstention_rate(self._abstained(), sample_weight=sample_weight)

    def misclassification_cost(self, sample_weight: ArrayLike | None = None) -> float:
        """Mean cost of the labels; an abstention pays the largest cost of its row."""
        return metrics.misclassification_cost(
            self._truth("misclassification_cost"),
            self.label,
            cost_matrix=self.cost_matrix,
            abstained=self._abstained(),
            sample_weight=sample_weight,
        )

    def precision_recall(
        self, positive: Any, sample_weight: ArrayLike | None = None
    ) -> tuple[float, float]:
        """Precision and recall of the labels for the class ``positive``."""
        return metrics.precision_recall(
            self._truth("precision_recall"),
            self.label,
            positive=positive,
            abstained=self._abstained(),
            sample_weight=sample_weight,
        )

    def clean_error_matrix(self, sample_weight: ArrayLike | None = None) -> NDArray[np.float64]:
        """Entry (i, j): share of the examples of class i that are labelled j."""
        return metrics.clean_error_matrix(
            self._truth("clean_error_matrix"),
            self.label,
            classes=self.classes,
            abstained=self._abstained(),
            sample_weight=sample_weight,
        )

    def robust_error_matrix(
        self, eps: Any = None, sample_weight: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """Entry (i, j): share of class i not certified against j; nan where j costs nothing."""
        e, radius = self._at("pair", eps)
        targets = self.cost_matrix.omega[
            self.cost_matrix.encode(self._truth("robust_error_matrix"))
        ]
        radius = np.where(targets, radius, np.nan)
        return metrics.robust_error_matrix(
            self._truth("robust_error_matrix"),
            radius,
            classes=self.classes,
            eps=e,
            sample_weight=sample_weight,
        )

    def report(
        self,
        eps: float | None = None,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> dict[str, Any]:
        """Return every metric at ``eps`` by its name; ``precision`` and ``recall`` by label.

        With ``groups`` (n,), ``intervals`` and ``n_groups`` as well, see :meth:`intervals`. Those
        of certificates by votes have sigma, alpha and the mean votes, too.
        """
        sensitive = self.cost_matrix.sensitive_mask(self._truth("report"))
        weight = np.ones(len(sensitive))
        if sample_weight is not None:
            weight = np.asarray(sample_weight, dtype=np.float64)
        both = {label: self.precision_recall(label, weight) for label in self.classes.tolist()}
        values = {
            "rob_cs": self.rob_cs(eps, weight),
            "accuracy": self.certified_accuracy(0.0, weight),
            "constant_accuracy": metrics.constant_accuracy(
                self._truth("report"), cost_matrix=self.cost_matrix, sample_weight=weight
            ),
            "rob_cost": self.rob_cost(eps, weight),
            "certified_accuracy": self.certified_accuracy(eps, weight),
            "rob_cs_standard": self.rob_cs_standard(eps, weight),
            # Nobody asked for this one in particular: nan without a warning where undefined.
            "rob_standard_nonsensitive": (
                self.rob_standard_nonsensitive(eps, weight)
                if weight[~sensitive].any()
                else float("nan")
            ),
            **self._money(eps, weight),
            "abstention_rate": self.abstention_rate(weight),
            "misclassification_cost": self.misclassification_cost(weight),
            "precision": {label: precision for label, (precision, _) in both.items()},
            "recall": {label: recall for label, (_, recall) in both.items()},
            "clean_error_matrix": self.clean_error_matrix(weight),
            "robust_error_matrix": self.robust_error_matrix(eps, weight),
            "n_inputs": len(sensitive),
            "n_sensitive": int(sensitive.sum()),
            **self._grouped(eps, weight, groups),
        }
        return {**values, **self._besides(values, eps)}

    def _besides(self, values: dict[str, Any], eps: Any) -> dict[str, Any]:
        """Return what a report has beside the metrics."""
        return {}

    def _grouped(self, eps: Any, weight: NDArray[Any], groups: Any) -> dict[str, Any]:
        if groups is None:
            return {}
        n_groups = int(group_codes(groups, len(weight)).max()) + 1
        intervals = self.intervals(eps, groups=groups, sample_weight=weight)
        return {"intervals": intervals, "n_groups": n_groups}

    def _money(self, eps: float | None, weight: NDArray[Any]) -> dict[str, float]:
        """Return what a report says of money; nan where it is undefined."""
        nan = float("nan")
        clean = self.bill(0.0, sample_weight=weight)
        bill = nan if self._apart() else self.bill(eps, sample_weight=weight)
        constant = metrics.constant_bills(
            self._truth("report"),
            cost_matrix=self.cost_matrix,
            costs=self.costs,
            sample_weight=weight,
        ).min()
        return {
            "bill": bill,
            "mean_bill": bill / float(weight.sum()),
            "clean_bill": clean,
            "savings": 1.0 - bill / float(constant) if constant > 0 else nan,
            "clean_savings": 1.0 - clean / float(constant) if constant > 0 else nan,
        }

    @property
    def classes(self) -> NDArray[Any]:
        """Labels of the columns, (m,)."""
        return self.cost_matrix.labels

    def _rob_cs(self, kind: str, eps: Any, sample_weight: ArrayLike | None) -> Any:
        e, radius = self._at(kind, eps)
        return metrics.rob_cs(
            self._truth("rob_cs" if kind == "group" else f"rob_cs_{kind}"),
            radius,
            cost_matrix=self.cost_matrix,
            eps=e,
            sample_weight=sample_weight,
        )

    def _priced(self, name: str, eps: Any, confidence: float | None = None) -> dict[str, Any]:
        """Return the arguments that the metrics in money share."""
        y = self._truth(name)
        if confidence is None and eps is not None and np.ndim(eps) == 0 and eps == 0:
            # No class but the label counts, so nothing need have been decided about the others.
            e, radius = 0.0, np.zeros((len(y), self.cost_matrix.n_classes))
            abstained: NDArray[np.bool_] | None = self._abstained()
        else:
            if self._apart():
                raise ValueError(
                    f"{name} needs pair radii that hold together for an input: certify with "
                    f"simultaneous=True and a bound other than 'paper'; got {self._apart()}."
                )
            e, radius = self._at("other", eps)
            abstained = getattr(self, "abstained", None)
        return {
            "y": y,
            "label": self.label,
            "radius_pair": radius,
            "eps": e,
            "cost_matrix": self.cost_matrix,
            "costs": self.costs,
            "abstained": abstained,
        }

    def _apart(self) -> str:
        """Say why the pair claims about an input do not hold together; empty if they do."""
        if not getattr(self, "simultaneous", True):
            return "simultaneous=False"
        return "bound='paper'" if getattr(self, "bound", "exact") == "paper" else ""

    def _failures(self, confidence: float | None, noise_groups: ArrayLike | None) -> dict[str, Any]:
        """Return with which probability claims fail, and which of them may fail together."""
        alpha = getattr(self, "alpha", 0.0)  # margins never fail
        if confidence is not None and noise_groups is None and alpha > 0:
            noise_groups = self._alike()
        return {"confidence": confidence, "alpha": alpha, "noise_groups": noise_groups}

    def _alike(self) -> NDArray[np.intp]:
        """Number the groups of inputs whose votes might be those of identical inputs."""
        votes = [self.selection_votes]  # type: ignore[attr-defined]
        if np.ndim(getattr(self, "n", np.empty(0))) == 0:
            votes.append(self.votes)  # type: ignore[attr-defined]
        return np.unique(np.hstack(votes), axis=0, return_inverse=True)[1].reshape(-1)

    def _truth(self, metric: str) -> NDArray[Any]:
        if self.y is None:
            raise ValueError(f"{metric} compares with the true classes: certify with y to have it.")
        return self.y
