"""Margins in, the metrics of [ZE19]_ out: a margin certifies where it is > 0.

References
----------
.. [ZE19] Zhang, Evans, "Cost-Sensitive Robustness against Adversarial Examples", ICLR 2019.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothcs import metrics
from smoothcs._metrics.money import LEAST
from smoothcs.certification._metrics import CertifiedMetrics
from smoothcs.cost import CostMatrix


class CertifiedMargins(CertifiedMetrics):
    """Lower bounds (n, m) on logit_y - logit_j within the ball; nan at a row's own class.

    Metrics that ask whether a radius is > eps are asked here whether a margin is > 0.
    """

    def __init__(
        self,
        margins: NDArray[np.float64],
        y: NDArray[Any],
        cost_matrix: CostMatrix,
        label: NDArray[Any] | None = None,
        costs: NDArray[np.float64] | None = None,
    ) -> None:
        self.margins, self.y, self.cost_matrix, self.costs = margins, y, cost_matrix, costs
        # A class that no other overtakes is the one predicted.
        self.label = y if label is None else label

    def _besides(self, values: dict[str, Any], eps: Any) -> dict[str, Any]:
        return {
            "classification_error": 1 - values["accuracy"],
            "cost_sensitive_robust_error": 1 - values["rob_cs"],
            "robust_error": 1 - values["certified_accuracy"],
        }

    def robust_error_matrix(
        self, eps: Any = None, sample_weight: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """Entry (i, j): share of the examples of class i not certified against target j."""
        return metrics.robust_error_matrix(
            self._truth("robust_error_matrix"),
            self.margins,
            classes=self.classes,
            eps=0.0,
            sample_weight=sample_weight,
        )

    def _at(self, kind: str, eps: Any) -> tuple[float, NDArray[np.float64]]:
        if kind in ("pair", "other"):
            return LEAST, self.margins  # 0 would be no attack
        if kind == "label":
            return 0.0, np.ones(len(self.margins))
        targets = ~np.isnan(self.margins)
        if kind == "group":
            targets &= self.cost_matrix.omega[self.cost_matrix.encode(self._truth("rob_cs"))]
        # A row without targets has nothing to certify.
        return 0.0, np.where(targets, self.margins, np.inf).min(axis=1)

    def _abstained(self) -> NDArray[np.bool_]:
        return np.zeros(len(self.margins), dtype=bool)
