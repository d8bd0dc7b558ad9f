"""Margins in, the metrics of [ZE19]_ out: a margin certifies where it is > 0.

The metrics of :mod:`smoothcs.metrics` ask whether a radius is > eps; with margins in place of
radii and 0 in place of eps they are those of [ZE19]_.

References
----------
.. [ZE19] Zhang, Evans, "Cost-Sensitive Robustness against Adversarial Examples", ICLR 2019.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from smoothcs import metrics
from smoothcs.cost import CostMatrix

SCORES = ("rob_cs", "rob_cost", "certified_accuracy")


def least_margin(margins: np.ndarray, targets: np.ndarray | None = None) -> np.ndarray:
    """Return the least margin of each row over its targets (n, m), or over all other classes.

    A row without targets has +inf: there is nothing to certify.
    """
    if targets is None:
        targets = ~np.isnan(margins)  # nan marks a row's own class, and nothing else
    return np.where(targets, margins, np.inf).min(axis=1)


def score_of(
    metric: str,
    margins: np.ndarray,
    y: np.ndarray,
    cost_matrix: CostMatrix,
    sample_weight: np.ndarray | None = None,
) -> float:
    """Return one metric of ``SCORES``, its mean weighted by ``sample_weight``."""
    common: dict[str, Any] = {"eps": 0.0, "sample_weight": sample_weight}
    if metric == "rob_cost":
        return metrics.rob_cost(y, margins, cost_matrix=cost_matrix, **common)
    if metric == "certified_accuracy":
        # A class that no other overtakes is the one predicted.
        return metrics.certified_accuracy(y, y, least_margin(margins), **common)
    group = least_margin(margins, cost_matrix.omega[cost_matrix.encode(y)])
    return metrics.rob_cs(y, group, cost_matrix=cost_matrix, **common)


def report(
    margins: np.ndarray, label: np.ndarray, y: np.ndarray, cost_matrix: CostMatrix
) -> dict[str, Any]:
    """Return the metrics that ``certified_report`` documents."""
    classes = cost_matrix.classes
    assert classes is not None  # the estimator's matrix is aligned to its classes
    sensitive = cost_matrix.sensitive_mask(y)
    least = least_margin(margins)
    both = {c: metrics.precision_recall(y, label, positive=c) for c in classes.tolist()}
    rob_cs = score_of("rob_cs", margins, y, cost_matrix)
    certified = metrics.certified_accuracy(y, label, least, eps=0.0)
    accuracy = float(np.mean(label == y))
    nonsensitive = np.nan
    if not sensitive.all():
        nonsensitive = metrics.rob_standard_nonsensitive(
            y, label, least, cost_matrix=cost_matrix, eps=0.0
        )
    rob_cs_standard = np.nan
    if sensitive.any():
        rob_cs_standard = metrics.rob_cs(y, least, cost_matrix=cost_matrix, eps=0.0)
    return {
        "classification_error": 1 - accuracy,
        "cost_sensitive_robust_error": 1 - rob_cs,
        "robust_error": 1 - certified,
        "rob_cost": score_of("rob_cost", margins, y, cost_matrix),
        "misclassification_cost": metrics.misclassification_cost(y, label, cost_matrix=cost_matrix),
        "accuracy": accuracy,
        "rob_cs": rob_cs,
        "certified_accuracy": certified,
        "rob_cs_standard": rob_cs_standard,
        "rob_standard_nonsensitive": nonsensitive,
        "abstention_rate": 0.0,
        "precision": {c: precision for c, (precision, _) in both.items()},
        "recall": {c: recall for c, (_, recall) in both.items()},
        "clean_error_matrix": metrics.clean_error_matrix(y, label, classes=classes),
        "robust_error_matrix": metrics.robust_error_matrix(y, margins, classes=classes, eps=0.0),
        "n_inputs": len(y),
        "n_sensitive": int(sensitive.sum()),
    }
