"""Why does Margin-CS not beat class weights? One change at a time, judged on validation data.

    python -m benchmarks.papers.remedies --data DIR [--only schedule optimiser] [--seeds 3]

Fashion-MNIST, shirt (S-Seed), the cpu budget of :mod:`benchmarks.papers`, means of the seeds. A
change of the loss is one more setting of Margin-CS; a change of the training is made to Gaussian
and Gaussian-CS as well. Beside accuracy and rob_cs stands what a tuned decision rule makes of the
model at one point less accuracy than the Gaussian model of the same training: it compares models
that trade accuracy for rob_cs at different rates. Models are kept under --out, with those of the
tables.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smoothcs.objectives import Gaussian, MarginCS

from .choose import choose, validation_numbers
from .data import load
from .methods import BUDGETS, Budget, Candidate, candidates
from .store import Store
from .tasks import Task, find_task

ONE_POINT = 0.01
BASE: dict[str, Any] = {
    "lambda_robust": 0.3,
    "lambda_sensitive": 3.0,
    "gamma_normal": 4.0,
    "gamma_sensitive": 8.0,
    "cross_entropy": "noisy",
    "inverse_temperature": 4.0,
    "normalize_costs": "row",
    "n_noise": 8,
}
LOSSES: dict[str, dict[str, Any]] = {
    "as in the tables": {},
    "1.5 times the weight": {"lambda_sensitive": 4.5},
    "twice the weight": {"lambda_sensitive": 6.0},
    "published weights": {"lambda_robust": 3.0, "gamma_sensitive": 16.0},
    "averaged cross-entropy": {"cross_entropy": "average"},
    "temperature 1": {"inverse_temperature": 1.0},
    "temperature 1/16": {"inverse_temperature": 16.0},
    "group margin": {"margin": "group"},
    "lower end 0": {"sensitive_lower": "zero"},
    "interval to 3": {"gamma_normal": 3.0, "gamma_sensitive": 3.0},
    "costs not normalised": {"normalize_costs": False},
    "16 draws": {"n_noise": 16},
}
TRAININGS: dict[str, dict[str, Any]] = {
    "optimiser": {"optimizer": "sgd", "lr": 0.02},
    "schedule": {"epochs": 36},
    "data": {"n_train": None},
}
COMPARED = (1.5, 2.0, 3.0, "as in the tables", "1.5 times the weight", "twice the weight")


def pool(task: Task, budget: Budget, whole: bool) -> Iterator[tuple[str, Candidate]]:
    """Yield names and models; ``whole``: every change of the loss."""
    for method in ("gaussian", "gaussian-cs"):
        for candidate in candidates(method, task, budget):
            objective = candidate.objective
            assert isinstance(objective, Gaussian)
            if method == "gaussian" or whole or objective.weight_sensitive in COMPARED:
                yield f"{method} {candidate.setting}", candidate
    for name, change in LOSSES.items():
        if whole or name in COMPARED:
            objective = MarginCS(**{**BASE, **change})
            yield name, Candidate("margin-cs", objective, task.costs, task.sigma, name)


def report(store: Store, task: Task, whole: bool, seeds: int) -> None:
    """Train what is missing and print one line a model."""
    models = list(pool(task, store.budget, whole))
    plain = {
        (name, seed): validation_numbers(store, task, store.valid_votes(candidate, seed))
        for name, candidate in models
        for seed in range(seeds)
    }
    for name, candidate in models:
        numbers = np.mean([plain[name, seed] for seed in range(seeds)], axis=0)
        ruled = [
            choose(
                store, task, [candidate], seed, plain[models[0][0], seed][0] - ONE_POINT, rule=True
            )
            for seed in range(seeds)
        ]
        accuracy, rob_cs = (np.mean([getattr(r, k) for r in ruled]) for k in ("accuracy", "rob_cs"))
        reached = all(r.feasible for r in ruled)
        tuned = f"{accuracy:.3f}  {rob_cs:.3f}" if reached else "out of reach"
        print(f"  {name:34}{numbers[0]:.3f}  {numbers[1]:.3f}   with a rule  {tuned}", flush=True)


def main() -> None:
    """Print one block a way of training."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of the data (or SMOOTHCS_DATA)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/papers"))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=["loss", *TRAININGS])
    args = parser.parse_args()
    torch.set_num_threads(1)
    task = find_task("fashion_mnist", "s-seed")
    images = load("fashion_mnist", args.data)
    for name in args.only:
        budget = replace(BUDGETS["cpu"], **TRAININGS.get(name, {}))
        folder = "cpu" if name == "loss" else f"cpu-{name}"
        print(f"{name} {TRAININGS.get(name, '')}", flush=True)
        report(
            Store(args.out, "fashion_mnist", budget, folder, images),
            task,
            name == "loss",
            args.seeds,
        )


if __name__ == "__main__":
    main()
