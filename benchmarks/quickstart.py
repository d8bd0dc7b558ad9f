"""Does Margin-CS beat Gaussian on the quickstart's data, with lambda and gamma chosen honestly?

For each of three seeds: split, choose lambda and gamma by GridSearchCV on the training part only
(highest rob_cs among candidates within one point of the best accuracy), fit, certify the test part.

    python -m benchmarks.quickstart [--seeds 3] [--jobs 2]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.preprocessing import StandardScaler

from smoothcs import CostSensitiveSmoothedClassifier, best_under, certified_scorer
from smoothcs.objectives import Gaussian, MarginCS

GRIDS = {
    "digits": {
        "objective__lambda_robust": [0.3, 1.0],
        "objective__lambda_sensitive": [1.0, 3.0, 10.0],
        "objective__gamma_sensitive": [8.0],
    },
    "breast cancer": {
        "objective__normalize_costs": [False, "row"],
        "objective__lambda_robust": [0.3],
        "objective__lambda_sensitive": [0.1, 0.3, 1.0, 3.0],
        "objective__gamma_sensitive": [4.0, 8.0],
    },
}


def load(name: str, seed: int):
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


def measure(clf, X, y, grave):
    """Return the test metrics of a fitted classifier."""
    report = clf.certified_report(X, y)
    report["rob_cs_grave"] = clf.certify(X, y, cost_matrix=grave).rob_cs(clf.sigma)
    return [report[k] for k in ("accuracy", "rob_cs", "rob_cs_grave", "rob_cost")]


def main() -> None:
    """Print one line a data set, method and seed, and the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", choices=list(GRIDS))
    args = parser.parse_args()
    print(f"{'data':14}{'method':12}{'seed':>5}{'acc':>8}{'rob_cs':>8}{'grave':>8}{'cost':>8}")
    for name, grid in GRIDS.items():
        if args.only not in (None, name):
            continue
        rows: dict[str, list[list[float]]] = {"gaussian": [], "margin-cs": []}
        for seed in range(args.seeds):
            start = time.perf_counter()
            (X, X_test, y, y_test), costs, grave, sigma = load(name, seed)
            common = {
                "cost_matrix": costs,
                "sigma": sigma,
                "lr": 0.01,
                "max_epochs": 30,
                "random_state": seed,
            }
            gaussian = CostSensitiveSmoothedClassifier(objective=Gaussian(n_noise=8), **common)
            objective = MarginCS(cross_entropy="noisy", inverse_temperature=4.0)
            search = GridSearchCV(
                CostSensitiveSmoothedClassifier(objective=objective, **common),
                grid,
                scoring=certified_scorer(n_estimation=1000),
                refit=best_under("rob_cs", accuracy=-0.01),
                cv=3,
                n_jobs=args.jobs,
            ).fit(X, y)
            for method, clf in (
                ("gaussian", gaussian.fit(X, y)),
                ("margin-cs", search.best_estimator_),
            ):
                rows[method].append(measure(clf, X_test, y_test, grave))
                numbers = "".join(f"{v:8.3f}" for v in rows[method][-1])
                print(f"{name:14}{method:12}{seed:5}{numbers}", flush=True)
            print(f"  chosen: {search.best_params_} ({time.perf_counter() - start:.0f} s)")
        for method, values in rows.items():
            numbers = "".join(f"{v:8.3f}" for v in np.mean(values, axis=0))
            print(f"{name:14}{method:12}{'mean':>5}{numbers}")


if __name__ == "__main__":
    main()
