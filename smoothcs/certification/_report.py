"""Certificates in, the metrics of a data set out."""

from __future__ import annotations

from typing import Any

import numpy as np

from smoothcs.certification._at_eps import CertifiedDecisions
from smoothcs.certification._certify import Certificates

SCORES = ("rob_cs", "rob_cost", "certified_accuracy")


def report(
    certificates: Certificates | CertifiedDecisions, eps: float, classes: np.ndarray
) -> dict[str, Any]:
    """Return the dict that ``certified_report`` documents."""
    c = certificates
    assert c.y is not None
    sensitive = c.cost_matrix.omega[c.cost_matrix.encode(c.y)].any(axis=1)
    both = {label: c.precision_recall(label) for label in classes.tolist()}
    return {
        "rob_cs": c.rob_cs(eps),
        "rob_cost": c.rob_cost(eps),
        "accuracy": c.certified_accuracy(0.0),
        "certified_accuracy": c.certified_accuracy(eps),
        "rob_cs_standard": c.rob_cs_standard(eps),
        # Nobody asked for this one in particular: nan without a warning where it is not defined.
        "rob_standard_nonsensitive": (
            float("nan") if sensitive.all() else c.rob_standard_nonsensitive(eps)
        ),
        "abstention_rate": c.abstention_rate(),
        "misclassification_cost": c.misclassification_cost(),
        "precision": {label: precision for label, (precision, _) in both.items()},
        "recall": {label: recall for label, (_, recall) in both.items()},
        "clean_error_matrix": c.clean_error_matrix(),
        "robust_error_matrix": c.robust_error_matrix(eps),
        "eps": eps,
        "sigma": c.sigma,
        "alpha": c.alpha,
        "n_inputs": len(c),
        "n_sensitive": int(sensitive.sum()),
        "mean_votes": float(c.votes.sum(axis=1).mean()),
    }
