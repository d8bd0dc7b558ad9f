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
    """How much is spent. ``passes`` noisy copies of each image, ``n_noise`` of them at a time.

    Objectives on the averaged prediction draw ``n_margin`` at a time, those that attack
    ``n_attack``, for as many epochs as make the same number of copies.
    """

    module: str
    passes: int
    n_train: int | None
    n_valid: int
    n_valid_votes: int
    n_noise: int
    n_margin: int
    n_attack: int
    n_accuracy: int
    n_certify: int
    n: int
    precision: str
    rich: bool
    schedule: str = "one-cycle"
    optimizer: str = "adam"
    lr: float = 2e-3
    floor: str | None = None  # the budget whose Gaussian sets the accuracies to keep; None: this

    def epochs(self, objective: Objective) -> int:
        """Return how often the objective sees each image."""
        return max(1, self.passes // objective.get_params().get("n_noise", 1))


_SMOKE = Budget("default", 2, 600, 300, 50, 1, 2, 1, 200, 60, 200, "float32", False)
_CPU = Budget("default", 48, 12_000, 3_000, 200, 1, 2, 2, 4_000, 500, 20_000, "bfloat16", False)
BUDGETS = {
    "smoke": _SMOKE,
    "cpu": replace(_CPU, floor="before"),
    "cpu-all": replace(_CPU, n_train=None, floor="before"),
    "before": replace(
        _CPU, module="small", passes=96, n_noise=8, n_margin=8, schedule="cosine", lr=1e-3
    ),
    "gpu": replace(
        _CPU,
        module="resnet56",
        passes=2400,
        n_train=None,
        n_valid=5_000,
        n_valid_votes=1_000,
        n_noise=16,
        n_margin=16,
        n_attack=4,
        n_accuracy=10_000,
        n_certify=1_000,
        n=100_000,
        precision="float32",
        rich=True,
        schedule="milestones",
        optimizer="sgd",
        lr=1e-2,
    ),
}


def budget_of(name: str, dataset: str) -> Budget:
    """Return a budget; the few images of HAM10000 are seen more often, all of CIFAR-10 less often.

    Votes of the residual network of CIFAR-10 are dear on a CPU, so fewer are drawn.
    """
    budget = BUDGETS[name]
    if dataset == "cifar10" and name == "cpu":
        return replace(
            budget, module="small-resnet", passes=24, n_train=None, n_valid=1_500,
            n_accuracy=2_000, n_certify=300, n=10_000, floor=None,
        )  # fmt: skip
    if dataset == "ham10000" and name == "before":
        return replace(budget, passes=80, n_noise=4)
    if dataset == "ham10000" and name == "cpu":
        return replace(budget, passes=80)
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
    warmup = max(1, budget.passes // budget.n_attack // 3)
    marked = np.zeros_like(task.costs)  # sensitive classes alone, for the reweighted methods
    marked[task.seeds] = 1.0 - np.eye(len(marked))[task.seeds]

    def make(kind: type[Objective], costs: Any = None, **params: Any) -> Candidate:
        fixed = {"n_noise", "cross_entropy", "inverse_temperature", "normalize_costs"}
        short = {"lambda_robust": "l1", "lambda_sensitive": "l2", "weight_sensitive": "weight"}
        shown = ", ".join(f"{short.get(k, k)}={v}" for k, v in params.items() if k not in fixed)
        return Candidate(method, kind(**params), costs, task.sigma, shown or "-")

    def every(**grid: list[Any]) -> Iterator[dict[str, Any]]:
        values = list(product(*grid.values())) if budget.rich else [next(product(*grid.values()))]
        yield from (dict(zip(grid, value, strict=True)) for value in values)

    weights = every(weight_sensitive=[2.0, 1.5])
    slow_weights = every(weight_sensitive=[1.5, 3.0])
    margins = {
        "n_noise": budget.n_margin, "cross_entropy": "noisy", "inverse_temperature": 4.0
    }  # fmt: skip
    if method == "gaussian":
        yield make(Gaussian, **noise)
    elif method == "gaussian-cs":
        yield from (make(Gaussian, marked, **w, **noise) for w in weights)
    elif method == "macer":
        for strength in every(lambda_robust=[0.3, 1.0]):
            yield make(Macer, **strength, gamma=4.0, **margins)
    elif method in ("smoothadv", "smoothadv-cs"):
        steps = {"n_steps": 2, "warmup_epochs": warmup, **attack}
        # At a radius beyond sigma, where attacks while training are at their best, stronger ones.
        beyond = [task.eps] if task.eps > task.sigma else []
        reach = every(eps_attack=[task.eps / 2, *beyond])
        if method == "smoothadv":
            yield from (make(SmoothAdv, **e, **steps) for e in reach)
        else:
            for w in slow_weights:
                yield make(SmoothAdv, marked, eps_attack=task.sigma / 2, **w, **steps)
    elif method in ("smoothmix", "smoothmix-cs"):
        steps = {"n_steps": 2, "warmup_epochs": warmup, **attack}
        if method == "smoothmix":
            yield from (make(SmoothMix, **e, **steps) for e in every(eta=[1.0]))
        else:
            yield from (make(SmoothMix, marked, eta=1.0, **w, **steps) for w in slow_weights)
    elif method == "margin-cs":
        for weight in every(lambda_sensitive=[3.0, 1.0]):
            yield make(MarginCS, task.costs, **weight, n_noise=budget.n_margin)
    else:
        raise SystemExit(f"the methods are {', '.join(METHODS)}; got {method}")
