"""The metrics of everything that certifies: radii, decisions at eps, convex margins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothcs import metrics
from smoothcs.cost import CostMatrix

Many = Sequence[float] | NDArray[Any]

# The metrics of ``score``, each with the kind of claim that it counts.
SCORES = {"rob_cs": "group", "rob_cost": "pair", "certified_accuracy": "standard"}


class CertifiedMetrics:
    """Mixin: every certified metric, from ``label``, ``abstained`` and what :meth:`_at` returns.

    Metrics that compare with the truth raise a ValueError when it was not given. Each takes
    ``eps``, the radius of the attack, as a number and returns a float, or as an array and returns
    an array.
    An input that was abstained on never counts as robust.
    """

    label: NDArray[Any]
    cost_matrix: CostMatrix
    y: NDArray[Any] | None

    def _at(self, kind: str, eps: Any) -> tuple[Any, NDArray[np.float64]]:
        """Return (e, radii) such that the claim ``kind`` holds at eps where the radius is > e.

        ``kind`` is "group", "standard", "pair" or, for the label itself, "label".
        """
        raise NotImplementedError

    def _abstained(self) -> NDArray[np.bool_]:
        """Where no label is certain."""
        raise NotImplementedError

    @overload
    def rob_cs(self, eps: float | None = ..., sample_weight: ArrayLike | None = ...) -> float: ...
    @overload
    def rob_cs(self, eps: Many, sample_weight: ArrayLike | None = ...) -> NDArray[np.float64]: ...
    def rob_cs(self, eps: Any = None, sample_weight: Any = None) -> Any:
        """Share of the sensitive examples certified against all sensitive targets ([Xin25]_, 6)."""
        return self._rob_cs("group", eps, sample_weight)

    @overload
    def rob_cs_standard(
        self, eps: float | None = ..., sample_weight: ArrayLike | None = ...
    ) -> float: ...
    @overload
    def rob_cs_standard(
        self, eps: Many, sample_weight: ArrayLike | None = ...
    ) -> NDArray[np.float64]: ...
    def rob_cs_standard(self, eps: Any = None, sample_weight: Any = None) -> Any:
        """``rob_cs`` as the standard radius, which ignores costs, would have it ([Xin23]_)."""
        return self._rob_cs("standard", eps, sample_weight)

    @overload
    def rob_cost(self, eps: float | None = ..., sample_weight: ArrayLike | None = ...) -> float: ...
    @overload
    def rob_cost(self, eps: Many, sample_weight: ArrayLike | None = ...) -> NDArray[np.float64]: ...
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

    @overload
    def certified_accuracy(
        self, eps: float | None = ..., sample_weight: ArrayLike | None = ...
    ) -> float: ...
    @overload
    def certified_accuracy(
        self, eps: Many, sample_weight: ArrayLike | None = ...
    ) -> NDArray[np.float64]: ...
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

    @overload
    def rob_standard_nonsensitive(self, eps: float | None = ...) -> float: ...
    @overload
    def rob_standard_nonsensitive(self, eps: Many) -> NDArray[np.float64]: ...
    def rob_standard_nonsensitive(self, eps: Any = None) -> Any:
        """Certified accuracy on the examples of classes without sensitive targets ([Xin23]_)."""
        e, radius = self._at("standard", eps)
        return metrics.rob_standard_nonsensitive(
            self._truth("rob_standard_nonsensitive"),
            self.label,
            radius,
            cost_matrix=self.cost_matrix,
            eps=e,
        )

    def abstention_rate(self) -> float:
        """Share of the inputs on which the procedure abstains."""
        return metrics.abstention_rate(self._abstained())

    def misclassification_cost(self) -> float:
        """Mean cost of the labels; an abstention pays the largest cost of its row."""
        return metrics.misclassification_cost(
            self._truth("misclassification_cost"),
            self.label,
            cost_matrix=self.cost_matrix,
            abstained=self._abstained(),
        )

    def precision_recall(self, positive: Any) -> tuple[float, float]:
        """Precision and recall of the labels for the class ``positive``."""
        return metrics.precision_recall(
            self._truth("precision_recall"),
            self.label,
            positive=positive,
            abstained=self._abstained(),
        )

    def clean_error_matrix(self) -> NDArray[np.float64]:
        """Entry (i, j): share of the examples of class i that are labelled j."""
        return metrics.clean_error_matrix(
            self._truth("clean_error_matrix"),
            self.label,
            classes=self.classes,
            abstained=self._abstained(),
        )

    def robust_error_matrix(self, eps: Any = None) -> NDArray[np.float64]:
        """Entry (i, j): share of class i not certified against j; nan where j costs nothing."""
        e, radius = self._at("pair", eps)
        targets = self.cost_matrix.omega[
            self.cost_matrix.encode(self._truth("robust_error_matrix"))
        ]
        radius = np.where(targets, radius, np.nan)
        return metrics.robust_error_matrix(
            self._truth("robust_error_matrix"), radius, classes=self.classes, eps=e
        )

    def report(self, eps: float | None = None) -> dict[str, Any]:
        """Return every metric at ``eps`` by its name; ``precision`` and ``recall`` by label."""
        sensitive = self.cost_matrix.sensitive_mask(self._truth("report"))
        both = {label: self.precision_recall(label) for label in self.classes.tolist()}
        return {
            "rob_cs": self.rob_cs(eps),
            "rob_cost": self.rob_cost(eps),
            "accuracy": self.certified_accuracy(0.0),
            "certified_accuracy": self.certified_accuracy(eps),
            "rob_cs_standard": self.rob_cs_standard(eps),
            # Nobody asked for this one in particular: nan without a warning where undefined.
            "rob_standard_nonsensitive": (
                float("nan") if sensitive.all() else self.rob_standard_nonsensitive(eps)
            ),
            "abstention_rate": self.abstention_rate(),
            "misclassification_cost": self.misclassification_cost(),
            "precision": {label: precision for label, (precision, _) in both.items()},
            "recall": {label: recall for label, (_, recall) in both.items()},
            "clean_error_matrix": self.clean_error_matrix(),
            "robust_error_matrix": self.robust_error_matrix(eps),
            "n_inputs": len(sensitive),
            "n_sensitive": int(sensitive.sum()),
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

    def _truth(self, metric: str) -> NDArray[Any]:
        if self.y is None:
            raise ValueError(f"{metric} compares with the true classes: certify with y to have it.")
        return self.y
