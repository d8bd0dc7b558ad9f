"""The candidates of each method: its objective with every setting that validation may choose.

Gaussian, MACER, SmoothAdv and SmoothMix ignore the costs, so they are trained once for all tasks of
a data set; the reweighted methods know only which classes are sensitive.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smoothcs.objectives import Gaussian, Macer, MarginCS, Objective, SmoothAdv, SmoothMix

from .tasks import Task

METHODS = {
    "gaussian": "Gaussian",
    "macer": "MACER",
    "smoothadv": "SmoothAdv",
    "smoothmix": "SmoothMix",
    "gaussian-cs": "Gaussian-CS",
    "smoothadv-cs": "SmoothAdv-CS",
    "smoothmix-cs": "SmoothMix-CS",
    "margin-cs": "Margin-CS",
}
SLOW = frozenset({"smoothadv", "smoothmix", "smoothadv-cs", "smoothmix-cs"})


@dataclass(frozen=True)
class Budget:
    """How much is spent. ``n_noise`` draws an input for every method that does not attack."""

    module: str
    epochs: int
    n_train: int | None
    n_valid: int
    n_valid_votes: int
    n_noise: int
    n_attack: int
    n_accuracy: int
    n_certify: int
    n: int
    precision: str
    rich: bool
    optimizer: str = "adam"
    lr: float = 1e-3


BUDGETS = {
    "smoke": Budget("small", 1, 600, 300, 50, 2, 1, 200, 60, 200, "float32", False),
    "cpu": Budget("small", 12, 12_000, 3_000, 300, 8, 2, 4_000, 500, 10_000, "bfloat16", True),
    "gpu": Budget(
        "resnet56",
        150,
        None,
        5_000,
        1_000,
        16,
        4,
        10_000,
        1_000,
        100_000,
        "float32",
        True,
        "sgd",
        1e-2,
    ),
}


def budget_of(name: str, dataset: str) -> Budget:
    """Return a budget; the few images of HAM10000 are seen more often, with fewer draws."""
    budget = BUDGETS[name]
    if (name, dataset) == ("cpu", "ham10000"):
        return replace(budget, epochs=20, n_noise=4)
    return budget


@dataclass(frozen=True)
class Candidate:
    """One model to train: a method, an objective and the costs it is trained with."""

    method: str
    objective: Objective
    costs: NDArray[np.float64] | None
    sigma: float
    setting: str

    @property
    def key(self) -> str:
        """Name of its folder: the same for the same training, whatever the task."""
        costs = "none" if self.costs is None else self.costs.tolist()
        # Not its repr, which scikit-learn shortens: two settings would share a folder.
        parameters = self.objective.get_params(deep=False)
        text = f"{type(self.objective).__name__} {parameters} {costs} {self.sigma}"
        return f"{self.method}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def candidates(method: str, task: Task, budget: Budget) -> Iterator[Candidate]:
    """Yield what validation may choose from."""
    noise, attack = {"n_noise": budget.n_noise}, {"n_noise": budget.n_attack}
    marked = np.zeros_like(task.costs)  # sensitive classes alone, for the reweighted methods
    marked[task.seeds] = 1.0 - np.eye(len(marked))[task.seeds]

    def make(kind: type[Objective], costs: Any = None, **params: Any) -> Candidate:
        fixed = {"n_noise", "cross_entropy", "inverse_temperature", "normalize_costs"}
        shown = ", ".join(f"{k}={v}" for k, v in params.items() if k not in fixed)
        return Candidate(method, kind(**params), costs, task.sigma, shown or "-")

    def every(**grid: list[Any]) -> Iterator[dict[str, Any]]:
        values = list(product(*grid.values())) if budget.rich else [next(product(*grid.values()))]
        yield from (dict(zip(grid, value, strict=True)) for value in values)

    fine = [2.0, 1.2, 1.5, 3.0, 4.0]
    weights = every(weight_sensitive=fine if len(task.costs) > 2 else [1.5, 1.2, 3.0])
    slow_weights = every(weight_sensitive=[1.5, 3.0])
    margins = {**noise, "cross_entropy": "noisy", "inverse_temperature": 4.0}
    if method == "gaussian":
        yield make(Gaussian, **noise)
    elif method == "gaussian-cs":
        yield from (make(Gaussian, marked, **w, **noise) for w in weights)
    elif method == "macer":
        for strength in every(lambda_robust=[0.3, 1.0]):
            yield make(Macer, **strength, gamma=4.0, **margins)
    elif method in ("smoothadv", "smoothadv-cs"):
        steps = {"n_steps": 2, "warmup_epochs": max(1, budget.epochs // 3), **attack}
        # At a radius beyond sigma, where attacks while training are at their best, stronger ones.
        beyond = [task.eps] if task.eps > task.sigma else []
        reach = every(eps_attack=[task.eps / 2, *beyond])
        if method == "smoothadv":
            yield from (make(SmoothAdv, **e, **steps) for e in reach)
        else:
            for w in slow_weights:
                yield make(SmoothAdv, marked, eps_attack=task.sigma / 2, **w, **steps)
    elif method in ("smoothmix", "smoothmix-cs"):
        steps = {"n_steps": 2, "warmup_epochs": max(1, budget.epochs // 3), **attack}
        if method == "smoothmix":
            yield from (make(SmoothMix, **e, **steps) for e in every(eta=[1.0]))
        else:
            yield from (make(SmoothMix, marked, eta=1.0, **w, **steps) for w in slow_weights)
    elif method == "margin-cs":
        for grid in margin_grid(task, budget.rich):
            # Normalised costs forget that one class is costlier than another: all that 10:1 says.
            normalize = len(task.costs) > 2
            yield make(MarginCS, task.costs, **grid, **margins, normalize_costs=normalize)
    else:
        raise SystemExit(f"the methods are {', '.join(METHODS)}; got {method}")


def margin_grid(task: Task, rich: bool) -> list[dict[str, Any]]:
    """Return the settings of Margin-CS: far below the published (3, 3), (4, 16).

    A hinge of 2 r / sigma up to 3 stops pushing once a radius is 1.5 sigma, beyond eps = sigma.
    """
    names = ("lambda_robust", "lambda_sensitive", "gamma_normal", "gamma_sensitive")
    if len(task.costs) == 2:
        values = [(0.3, 0.3, 4.0, 8.0), (0.3, 1.0, 4.0, 8.0), (0.1, 1.0, 3.0, 3.0)]
        values += [(0.1, 0.3, 4.0, 8.0)]
    elif (task.costs > 0).sum(axis=1).max() <= 3:
        values = [(0.3, k, 4.0, 8.0) for k in (3.0, 1.0, 2.0, 6.0)] + [(0.1, 5.0, 3.0, 3.0)]
    else:  # costs are normalised over the targets of a class: each of nine counts for a ninth
        values = [(0.3, k, 4.0, 8.0) for k in (3.0, 4.5, 6.0, 10.0)]
        values += [(0.1, 30.0, 3.0, 3.0), (3.0, 3.0, 4.0, 16.0)]
    return [dict(zip(names, value, strict=True)) for value in (values if rich else values[:1])]
