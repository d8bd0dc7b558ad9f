"""What a chosen model is worth on the test split: accuracy of all, certificates of some."""

from __future__ import annotations

from typing import Any

import numpy as np

from smoothcs.certification import certify_votes, with_costs
from smoothcs.decision import WeightedVotes

from .choose import Choice
from .store import Store
from .tasks import MALIGNANT, Task

EPS_STEPS = 41
RADIUS_BINS = np.linspace(0, 4, 41)  # in units of sigma


def measure(
    store: Store, task: Task, choice: Choice, seed: int, alpha: float, rule: str
) -> dict[str, Any]:
    """Return the metrics of section "benchmarks" of the documentation, ready for JSON."""
    if rule == "scores" and choice.weights is not None:
        return _decided(store, task, choice, seed, alpha)
    votes = store.test_votes(choice.candidate, seed, task)
    y_all = store.test.y
    weights = np.ones(len(task.costs)) if choice.weights is None else np.array(choice.weights)
    label = (votes.selection * weights).argmax(axis=1)
    shared: dict[str, Any] = {"sigma": task.sigma, "alpha": alpha, "y": y_all[votes.rows]}
    if choice.weights is not None:
        shared["decision"] = WeightedVotes(weights)
    selection = votes.selection[votes.rows]
    # Expected costs need each pair radius by itself, not all of them together.
    full = certify_votes(
        selection, votes.estimation, cost_matrix=task.costs, simultaneous=False, **shared
    )
    graver = full if (task.graver == task.costs).all() else with_costs(full, task.graver)
    sensitive = np.isin(shared["y"], task.seeds)
    eps_grid = np.linspace(0, 3 * task.sigma, EPS_STEPS)
    correct = label == y_all
    result: dict[str, Any] = {
        "accuracy": correct.mean(),
        "accuracy_sensitive": correct[np.isin(y_all, task.seeds)].mean(),
        "rob_cs": graver.rob_cs(task.eps),
        "rob_cost": _rob_cost(full, y_all, task),
        "rob_standard": ((graver.radius_standard > task.eps) & _right(graver))[sensitive].mean(),
        "rob_nonsensitive": ((graver.radius_standard > task.eps) & _right(graver))[
            ~sensitive
        ].mean()
        if (~sensitive).any()
        else np.nan,
        "average_certified_radius": np.where(_right(graver), graver.radius_standard, 0).mean(),
        "curve_eps": eps_grid,
        "curve_rob_cs": graver.rob_cs(eps_grid),
        "histogram_group": np.histogram(
            (graver.radius_group[sensitive] / task.sigma).clip(0, RADIUS_BINS[-1]), RADIUS_BINS
        )[0],
        "histogram_standard": np.histogram(
            (np.where(_right(graver), graver.radius_standard, 0)[sensitive] / task.sigma).clip(
                0, RADIUS_BINS[-1]
            ),
            RADIUS_BINS,
        )[0],
        "clean_error": _clean_error(label, y_all, len(task.costs)),
        "robust_error": full.robust_error_matrix(task.eps),
        "n_certified": len(votes.rows),
        "n_sensitive": int(sensitive.sum()),
        "n_accuracy": len(y_all),
    }
    if task.dataset == "ham10000":
        called = label == MALIGNANT
        truly = y_all == MALIGNANT
        result["precision"] = (called & truly).sum() / max(called.sum(), 1)
        result["recall"] = (called & truly).sum() / truly.sum()
    return {k: np.asarray(v).tolist() for k, v in result.items()}


def _decided(store: Store, task: Task, choice: Choice, seed: int, alpha: float) -> dict[str, Any]:
    """Return what weights of scores give, by decisions at eps with at most ``n`` votes an input."""
    assert choice.weights is not None
    clf = store.classifier(
        choice.candidate, seed, task,
        alpha=alpha, decision=dict(enumerate(choice.weights)), n_prediction=100,
        n_estimation=store.budget.n, abstain_label=None,
    )  # fmt: skip
    test, rows = store.test, store.certified_rows(task)
    certified = clf.certify_at(test.X[rows], test.y[rows], task.eps, kinds=("group", "standard"))
    correct = clf.predict(test.X) == test.y
    sensitive = np.isin(test.y[rows], task.seeds)
    standard = certified.certified_standard[:, 0] & _right(certified)
    return {
        "accuracy": float(correct.mean()),
        "accuracy_sensitive": float(correct[np.isin(test.y, task.seeds)].mean()),
        "rob_cs": float(certified.rob_cs(task.eps)),
        "rob_standard": float(standard[sensitive].mean()),
        "rob_nonsensitive": float(standard[~sensitive].mean()) if (~sensitive).any() else np.nan,
        "n_certified": len(rows),
        "n_sensitive": int(sensitive.sum()),
        "n_accuracy": len(test.y),
    }


def _right(certificates: Any) -> np.ndarray:
    """Return where the certified class is the true one."""
    return certificates.label == certificates.y


def _rob_cost(certificates: Any, y_all: np.ndarray, task: Task) -> float:
    """Return the mean certified cost over examples of sensitive classes.

    Certified inputs are not drawn in proportion to the classes, so that the means of the sensitive
    classes are weighted by their shares of the whole test split.
    """
    total, share = 0.0, 0.0
    for k in np.flatnonzero(task.costs.any(axis=1)):
        rows = certificates.y == k
        if rows.any():
            part = float((y_all == k).mean())
            total += part * float(certificates[rows].rob_cost(task.eps))
            share += part
    return total / share


def _clean_error(label: np.ndarray, y: np.ndarray, m: int) -> np.ndarray:
    counts = np.zeros((m, m))
    np.add.at(counts, (y, label), 1)
    return counts / counts.sum(axis=1, keepdims=True).clip(1)
