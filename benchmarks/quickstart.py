"""Margin-CS against Gaussian on the quickstart's data, both with the defaults alone.

    python -m benchmarks.quickstart [--seeds 3]

For each seed: split, fit, certify the test part at eps = sigma. Abstentions count as errors.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from benchmarks.papers.tables import grid
from smoothcs import CostSensitiveSmoothedClassifier

DATA = ("digits", "breast cancer")


def load(name: str, seed: int) -> tuple[list[Any], Any, Any, float]:
    """Return train and test parts, costs, the costs of the grave mistakes alone, and sigma."""
    if name == "digits":
        X, y = load_digits(return_X_y=True)
        X, sigma = X / 16, 0.35
        costs = {(8, k): 1.0 for k in range(10) if k != 8}
        grave = costs
    else:
        X, y = load_breast_cancer(return_X_y=True)
        sigma = 0.5
        y = np.where(y == 0, "malignant", "benign")
        costs = {("malignant", "benign"): 10.0, ("benign", "malignant"): 1.0}
        grave = {("malignant", "benign"): 10.0}
    parts = train_test_split(X, y, test_size=0.3, random_state=seed, stratify=y)
    if name != "digits":
        scaler = StandardScaler().fit(parts[0])
        parts[:2] = scaler.transform(parts[0]), scaler.transform(parts[1])
    return parts, costs, grave, sigma


def measure(name: str, objective: str, seed: int) -> list[float]:
    """Return accuracy, rob_cs, rob_cs of the gravest class and rob_cost on the test part."""
    (X, X_test, y, y_test), costs, grave, sigma = load(name, seed)
    clf = CostSensitiveSmoothedClassifier(
        cost_matrix=costs, objective=objective, sigma=sigma, random_state=seed
    ).fit(X, y)
    report = clf.certified_report(X_test, y_test)
    gravest = clf.certify_at(X_test, y_test, cost_matrix=grave, kinds=("group",)).rob_cs()
    return [report["accuracy"], report["rob_cs"], gravest, report["rob_cost"]]


def main() -> None:
    """Print the means of the seeds, deviations in brackets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    rows = [["data", "objective", "accuracy", "rob_cs", "rob_cs, gravest class", "rob_cost"]]
    for name in DATA:
        for objective in ("gaussian", "margin-cs"):
            runs = np.array([measure(name, objective, seed) for seed in range(args.seeds)])
            spread = runs.std(axis=0, ddof=1) if len(runs) > 1 else np.zeros(4)
            cells = [f"{m:.3f} ({s:.3f})" for m, s in zip(runs.mean(axis=0), spread, strict=True)]
            rows.append([name, objective, *cells])
    print(grid(rows))


if __name__ == "__main__":
    main()
