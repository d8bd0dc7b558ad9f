"""What a chosen model is worth on the test split: accuracy of all, decisions at eps of some."""

from __future__ import annotations

from typing import Any

import numpy as np

from smoothcs.decision import WeightedVotes

from .choose import Choice
from .store import Store
from .tasks import MALIGNANT, Task


def measure(
    store: Store, task: Task, choice: Choice, seed: int, alpha: float, rule: str
) -> dict[str, Any]:
    """Return the metrics of section "benchmarks" of the documentation, ready for JSON.

    Accuracy is that of 100 votes an input, without abstentions. Certified are inputs of sensitive
    classes, by sequential decisions at eps of at most ``n`` votes an input.
    """
    decision: Any = None
    if choice.weights is not None:
        weights = dict(enumerate(choice.weights))
        decision = weights if rule == "scores" else WeightedVotes(weights)
    clf = store.classifier(
        choice.candidate, seed, task,
        alpha=alpha, decision=decision, n_estimation=store.budget.n, n_prediction=100,
        abstain_label=None,
    )  # fmt: skip
    X, y = store.test
    rows = np.flatnonzero(np.isin(y, task.seeds))[: store.budget.n_certify]
    certified = clf.certify_at(
        X[rows], y[rows], task.eps, kinds=("group", "pair"), cost_matrix=task.graver
    )
    label = clf.predict(X)
    result = {
        "accuracy": (label == y).mean(),
        "accuracy_sensitive": (label == y)[np.isin(y, task.seeds)].mean(),
        "rob_cs": certified.rob_cs(task.eps),
        "rob_cost": certified.rob_cost(task.eps),
        "n_certified": len(rows),
        "n_accuracy": len(y),
    }
    if task.dataset == "ham10000":
        called, truly = label == MALIGNANT, y == MALIGNANT
        result["precision"] = (called & truly).sum() / max(called.sum(), 1)
        result["recall"] = (called & truly).sum() / truly.sum()
    return {name: float(value) for name, value in result.items()}
