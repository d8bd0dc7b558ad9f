"""Does cost-sensitive training by convex relaxation keep its promise on MNIST? [ZE19]_ Sec. 4.1.

For eps = .1 and .2 in the l_inf norm: a network trained for overall robustness (Eq. 2.7) beside
networks trained for one task each (Eq. 3.2), on the pair (4, 9), the seed 8, the target 1 and
small-large. alpha_robust is chosen on validation images, as in Appendix A: the best among those
whose error there is at most half a point above the baseline's. A second table, in the l2 norm, puts
smoothing (certified by votes) beside convex relaxation on the same data and network.

    python -m benchmarks.zhang_evans --budget smoke|cpu --data mnist.npz [--out DIR] [--jobs 2]

The data are the arrays x_train, y_train, x_test, y_test (uint8 images); without ``--data``, the
file mnist.npz in the folder named by SMOOTHCS_DATA. Every finished training is kept in ``--out``:
a run that is cut off goes on where it was. "cpu" trains one hidden layer on half of MNIST, far
less than the published networks: compare rows of its tables with each other.

References
----------
.. [ZE19] Zhang, Evans, "Cost-Sensitive Robustness against Adversarial Examples", ICLR 2019.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed
from skorch.callbacks import LRScheduler
from torch import nn

from smoothcs import CostMatrix, CostSensitiveSmoothedClassifier, metrics
from smoothcs.convex import ConvexRelaxationClassifier
from smoothcs.objectives import MarginCS


@dataclass(frozen=True)
class Budget:
    """How much is trained and measured."""

    n_train: int
    n_valid: int
    n_test: int
    max_epochs: int
    n_smoothed: int
    n_estimation: int


BUDGETS = {
    "smoke": Budget(600, 200, 200, 2, 100, 200),
    "cpu": Budget(30_000, 5_000, 10_000, 10, 1_000, 2_000),
}


def small_large(i: int, j: int) -> int:
    """The forger of [ZE19]: turning a digit into a larger one pays the square of the gain."""
    return (j - i) ** 2 if j > i else 0


def small_large_ce(i: int, j: int) -> float:
    """The costs of [ZE19] Appendix B, where no mistake is free."""
    return (j - i) ** 2 if j > i else 0.1


# Task: costs, values of alpha_robust to choose from, published baseline and result (eps = .2, %, or
# robust cost).
TASKS: dict[str, tuple[CostMatrix, tuple[float, ...], tuple[float, float]]] = {
    "pair (4, 9)": (CostMatrix.pairwise([(4, 9)]), (1.0, 2.0, 4.0), (10.08, 1.02)),
    "seed 8": (CostMatrix.seedwise(8), (0.2, 0.4, 0.8), (22.28, 5.75)),
    "target 1": (CostMatrix.targetwise(1), (4.0,), (2.23, 0.14)),
    "small-large": (CostMatrix.from_function(small_large), (0.03, 0.05, 0.08), (2.245, 0.947)),
}
# The weights of Margin-CS with which the table was made, before its defaults changed.
OLD_MARGIN = MarginCS.published(
    lambda_robust=0.3, lambda_sensitive=0.5, gamma_sensitive=8.0, n_noise=8
)
EPS = (0.1, 0.2)
EPS_L2 = (0.5, 1.0)
SIGMA = 0.5


def network() -> nn.Sequential:
    """One hidden layer: 16 filters of 8 x 8 pixels, 5 apart."""
    return nn.Sequential(nn.Conv2d(1, 16, 8, stride=5), nn.ReLU(), nn.Flatten(), nn.Linear(400, 10))


@dataclass(frozen=True)
class Job:
    """One network to train: a method, its task and weight, and the ball."""

    method: str  # "robust", "cost-sensitive", "cost-sensitive-ce", or a smoothed objective
    eps: float
    norm: str = "linf"
    task: str = ""
    alpha: float = 0.0

    @property
    def name(self) -> str:
        """A file name."""
        task = "".join(c if c.isalnum() else "-" for c in self.task)
        return f"{self.norm}-{self.eps}-{self.method}-{task}-{self.alpha}"


def all_jobs() -> list[Job]:
    """Every network of both tables, those that take long first."""
    jobs = [Job("robust", eps) for eps in EPS] + [Job("robust", max(EPS_L2), "l2")]
    for task in reversed(TASKS):
        jobs += [Job("cost-sensitive", eps, "linf", task, a) for eps in EPS for a in TASKS[task][1]]
    jobs += [Job("cost-sensitive-ce", eps, "linf", "small-large") for eps in EPS]
    for task in ("pair (4, 9)", "seed 8"):
        jobs += [Job("cost-sensitive", max(EPS_L2), "l2", task, a) for a in TASKS[task][1]]
        jobs += [Job(f"{o}-cs", SIGMA, "smoothed", task) for o in ("gaussian", "margin")]
    return [*jobs, Job("gaussian", SIGMA, "smoothed")]


def load(path: str) -> dict[str, np.ndarray]:
    """Return the arrays, images as float32 (n, 1, 28, 28) in [0, 1]."""
    with np.load(path) as file:
        data = {k: file[k] for k in ("x_train", "y_train", "x_test", "y_test")}
    for part in ("x_train", "x_test"):
        data[part] = data[part].reshape(-1, 1, 28, 28).astype(np.float32) / 255
    return data


def measure(clf: Any, X: np.ndarray, y: np.ndarray, eps: float) -> dict[str, Any]:
    """Return the classification error and what every task counts."""
    margins, label = clf.certify(X, y, eps=eps), clf.predict(X)
    out: dict[str, Any] = {"error": float(np.mean(label != y))}
    for task, (cost, _, _) in TASKS.items():
        aligned = cost.align(clf.classes_)
        if task == "small-large":
            out[task] = metrics.rob_cost(y, margins, cost_matrix=aligned, eps=0.0)
            out["misclassification cost"] = metrics.misclassification_cost(
                y, label, cost_matrix=CostMatrix.from_function(small_large_ce, classes=range(10))
            )
        else:
            least = np.where(aligned.omega[y], margins, np.inf).min(axis=1)
            out[task] = 100 * (1 - metrics.rob_cs(y, least, cost_matrix=aligned, eps=0.0))
    return out


def run_convex(job: Job, budget: Budget, data: dict[str, np.ndarray]) -> dict[str, Any]:
    """Train and certify one network by convex relaxation."""
    cost = TASKS[job.task][0] if job.task else None
    if job.method == "cost-sensitive-ce":
        cost = CostMatrix.from_function(small_large_ce)
    epochs = budget.max_epochs
    decay = LRScheduler("MultiStepLR", milestones=[epochs // 2, (3 * epochs) // 4], gamma=0.5)
    clf = ConvexRelaxationClassifier(
        network,
        cost_matrix=cost,
        eps=job.eps,
        norm=job.norm,
        bounds=(0, 1) if job.norm == "linf" else None,
        objective=job.method,
        alpha_robust=job.alpha,
        eps_start=min(0.05, job.eps),
        lr=5e-3,
        batch_size=100,
        max_epochs=epochs,
        callbacks=[("decay", decay)],
        device="cpu",
        random_state=0,
    ).fit(data["x_train"][: budget.n_train], data["y_train"][: budget.n_train])
    valid = slice(len(data["x_train"]) - budget.n_valid, None)
    out = {}
    for eps in EPS_L2 if job.norm == "l2" else (job.eps,):
        out[str(eps)] = {
            "valid": measure(clf, data["x_train"][valid], data["y_train"][valid], eps),
            "test": measure(
                clf, data["x_test"][: budget.n_test], data["y_test"][: budget.n_test], eps
            ),
        }
    return out


def run_smoothed(job: Job, budget: Budget, data: dict[str, np.ndarray]) -> dict[str, Any]:
    """Train the same network under noise and certify it by votes."""
    clf = CostSensitiveSmoothedClassifier(
        network,
        cost_matrix=TASKS[job.task][0] if job.task else None,
        objective=OLD_MARGIN if job.method == "margin-cs" else job.method,
        sigma=SIGMA,
        lr=5e-3,
        lr_schedule=None,
        batch_size=100,
        max_epochs=budget.max_epochs,
        n_estimation=budget.n_estimation,
        device="cpu",
        random_state=0,
    ).fit(data["x_train"][: budget.n_train], data["y_train"][: budget.n_train])
    X, y = data["x_test"][: budget.n_smoothed], data["y_test"][: budget.n_smoothed]
    out = {}
    by_task = {}
    for task, (cost, _, _) in TASKS.items():
        if task in ("pair (4, 9)", "seed 8") and job.task in ("", task):
            by_task[task] = clf.certify(X, y, cost_matrix=cost)
    for eps in EPS_L2:
        scores = {task: 100 * (1 - c.rob_cs(eps)) for task, c in by_task.items()}
        some = next(iter(by_task.values()))
        out[str(eps)] = {"test": {"error": 1 - some.certified_accuracy(0.0), **scores}}
    return out


def run(job: Job, budget: Budget, path: str, folder: Path) -> None:
    """Run a job that has no result yet, and keep its result."""
    target = folder / f"{job.name}.json"
    if target.exists():
        return
    torch.set_num_threads(1)
    start = time.perf_counter()
    result = (run_smoothed if job.norm == "smoothed" else run_convex)(job, budget, load(path))
    result["seconds"] = time.perf_counter() - start
    part = target.with_suffix(".part")
    part.write_text(json.dumps(result))
    os.replace(part, target)
    print(f"{job.name}: {result['seconds']:.0f} s", flush=True)


def read(folder: Path, job: Job) -> dict[str, Any]:
    """Return the kept result of a job, by eps."""
    return json.loads((folder / f"{job.name}.json").read_text())


def chosen(folder: Path, task: str, norm: str, eps: float) -> Job:
    """Return the network trained for ``task`` that the validation images choose."""
    limit = read(folder, Job("robust", eps, norm))[str(eps)]["valid"]["error"] + 0.005

    def rank(job: Job) -> tuple[float, float]:
        valid = read(folder, job)[str(eps)]["valid"]
        return max(valid["error"] - limit, 0.0), valid[task]

    return min((Job("cost-sensitive", eps, norm, task, a) for a in TASKS[task][1]), key=rank)


def print_linf(folder: Path) -> None:
    """Print the table of [ZE19] Tables 1, 2 and 4."""
    print("\nl_inf: cost-sensitive robust error in % (small-large: robust cost), test images")
    print(f"{'eps':5}{'task':14}{'alpha':>6}{'error %: base':>15}{'ours':>7}", end="")
    print(f"{'base':>9}{'ours':>8}{'cut %':>8}   published at .2")
    for eps in EPS:
        base = read(folder, Job("robust", eps))[str(eps)]["test"]
        for task, (_, _, published) in TASKS.items():
            job = chosen(folder, task, "linf", eps)
            ours = read(folder, job)[str(eps)]["test"]
            cut = 100 * (1 - ours[task] / base[task])
            print(f"{eps:<5}{task:14}{job.alpha:6}{100 * base['error']:15.2f}", end="")
            print(f"{100 * ours['error']:7.2f}{base[task]:9.3f}{ours[task]:8.3f}{cut:8.1f}", end="")
            print("   {} -> {}".format(*published))
        ce = read(folder, Job("cost-sensitive-ce", eps, "linf", "small-large"))[str(eps)]["test"]
        print(f"{eps:<5}small-large, not robust (B.1): error {100 * ce['error']:.2f} %,", end=" ")
        print(f"misclassification cost {ce['misclassification cost']:.3f}", end=" ")
        print(f"(overall robust {base['misclassification cost']:.3f}),", end=" ")
        print(f"robust cost {ce['small-large']:.2f}")


def print_l2(folder: Path, budget: Budget) -> None:
    """Print smoothing beside convex relaxation."""
    print("\nl2: cost-sensitive robust error in %, the same network and training images")
    print(f"convex: {budget.n_test} test images, exact; smoothed: {budget.n_smoothed}", end=" ")
    print(f"test images, sigma {SIGMA}, {budget.n_estimation} votes, alpha .001")
    head = "".join(f"{f'eps {eps}':>10}" for eps in EPS_L2)
    print(f"{'task':14}{'method':28}{'error %':>8}{head}")
    for task in ("pair (4, 9)", "seed 8"):
        for method, job in {
            "convex, overall robust": Job("robust", max(EPS_L2), "l2"),
            "convex, cost-sensitive": chosen(folder, task, "l2", max(EPS_L2)),
            "smoothed, gaussian": Job("gaussian", SIGMA, "smoothed"),
            "smoothed, gaussian-cs": Job("gaussian-cs", SIGMA, "smoothed", task),
            "smoothed, margin-cs": Job("margin-cs", SIGMA, "smoothed", task),
        }.items():
            tests = [read(folder, job)[str(eps)]["test"] for eps in EPS_L2]
            values = "".join(f"{test[task]:10.2f}" for test in tests)
            print(f"{task:14}{method:28}{100 * tests[-1]['error']:8.2f}{values}")


def main() -> None:
    """Train what is missing, then print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", choices=BUDGETS, default="smoke")
    parser.add_argument("--data", default=None, help="mnist.npz")
    parser.add_argument("--out", type=Path, default=Path("results/zhang_evans"))
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    path = args.data or os.path.join(os.environ.get("SMOOTHCS_DATA", ""), "mnist.npz")
    if not Path(path).is_file():
        parser.error(f"no file {path!r}: give --data mnist.npz, or set SMOOTHCS_DATA")
    folder, budget, start = args.out / args.budget, BUDGETS[args.budget], time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    Parallel(n_jobs=args.jobs)(delayed(run)(job, budget, path, folder) for job in all_jobs())
    print(f"{time.perf_counter() - start:.0f} s in this run")
    print_linf(folder)
    print_l2(folder, budget)


if __name__ == "__main__":
    main()
