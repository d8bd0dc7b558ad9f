"""What may cost: the tasks of [Xin25] and [Xin23], and those of the other data sets."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

SHIRT, T_SHIRT, PULLOVER, COAT = 6, 0, 2, 4
BIRD, CAT, DEER, DOG = 2, 3, 4, 5
BENIGN, MALIGNANT = 0, 1


@dataclass(frozen=True)
class Task:
    """A cost matrix of a data set, and where it is measured.

    ``graver`` are the costs of which rob_cs speaks, where they are not all: for HAM10000 the papers
    count malignant lesions alone, although both directions cost.
    """

    dataset: str
    name: str
    costs: NDArray[np.float64]
    sigma: float
    eps: float
    graver: NDArray[np.float64]

    @property
    def seeds(self) -> NDArray[np.intp]:
        """The sensitive classes of which rob_cs speaks."""
        return np.flatnonzero(self.graver.any(axis=1))


def _pairs(m: int, *pairs: tuple[int, int, float]) -> NDArray[np.float64]:
    costs = np.zeros((m, m))
    for seed, target, cost in pairs:
        costs[seed, target] = cost
    return costs


def _seeds(m: int, *seeds: int) -> NDArray[np.float64]:
    return _pairs(m, *((s, k, 1.0) for s in seeds for k in range(m) if k != s))


_IMAGE_TASKS = {
    "cifar10": {
        "s-seed": _seeds(10, CAT),
        "m-seed": _seeds(10, BIRD, DEER),
        "s-pair": _pairs(10, (CAT, DOG, 1.0)),
        "m-pair": _pairs(10, *((CAT, k, 1.0) for k in (BIRD, DEER, DOG))),
        "m-pair-1-1-10": _pairs(10, (CAT, BIRD, 1.0), (CAT, DEER, 1.0), (CAT, DOG, 10.0)),
    },
    "fashion_mnist": {
        "s-seed": _seeds(10, SHIRT),
        "m-seed": _seeds(10, SHIRT, COAT),
        "s-pair": _pairs(10, (SHIRT, T_SHIRT, 1.0)),
        "m-pair": _pairs(10, *((SHIRT, k, 1.0) for k in (T_SHIRT, PULLOVER, COAT))),
        "m-pair-1-1-10": _pairs(
            10, (SHIRT, PULLOVER, 1.0), (SHIRT, COAT, 1.0), (SHIRT, T_SHIRT, 10.0)
        ),
    },
    "mnist": {
        "s-seed": _seeds(10, 8),
        "m-seed": _seeds(10, 3, 8),
        "s-pair": _pairs(10, (4, 9, 1.0)),
        "m-pair": _pairs(10, (4, 9, 1.0), (4, 7, 1.0), (4, 1, 1.0)),
    },
}


def find_task(dataset: str, name: str, sigma: float | None = None) -> Task:
    """Return a task, or say which there are; with ``sigma`` instead of its own, and eps equal."""
    if dataset == "ham10000":
        tasks = {
            f"ham-{cost}-1": _pairs(2, (MALIGNANT, BENIGN, cost), (BENIGN, MALIGNANT, 1.0))
            for cost in (1, 2, 5, 10)
        }
    else:
        # Every mistake counts, at a radius of twice sigma: what attacks while training are for.
        tasks = {**_IMAGE_TASKS[dataset], "overall": _seeds(10, *range(10))}
    if name not in tasks:
        raise SystemExit(f"{dataset} has the tasks {', '.join(tasks)}; got {name}")
    costs = tasks[name]
    eps = 0.12 if dataset == "ham10000" else 0.5
    usual = 0.25 if name == "overall" else eps
    graver = costs * (costs == costs.max()) if dataset == "ham10000" else costs
    task = Task(dataset, name, costs, usual, eps, graver)
    if sigma is None or sigma == usual == eps:
        return task
    return replace(task, name=f"{name}-sigma-{sigma:g}", sigma=sigma, eps=sigma)
