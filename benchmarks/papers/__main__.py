"""Train, choose, certify and print: the tables of the papers on real data.

    python -m benchmarks.papers --dataset fashion_mnist --task s-seed --budget cpu --data DIR

Every model, vote and result is kept under --out and skipped when present, so a run may be killed
and started again, and tasks share what does not depend on the costs. Candidates are trained with
seed 0; only those that validation chooses at some loss of accuracy get further seeds and test
votes. The accuracies to keep are those of Gaussian under the "before" budget, whose network and
schedule are those of small published experiments and which takes as long as "cpu". "cpu-all" is
"cpu" on all training images; on CIFAR-10 "cpu" is a residual network of 8 layers on all of them,
and the accuracies to keep are those of its own Gaussian. "gpu" is the papers' own setting with a
shorter schedule; it needs a CUDA device to end in reasonable time.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path
from typing import Any

import torch
from joblib import Parallel, delayed

from .choose import LOSSES, RULES, choose, shortlist, validation_numbers
from .data import READERS, load
from .figures import draw
from .measure import measure
from .methods import BUDGETS, METHODS, SLOW, Candidate, candidates
from .store import Store, note
from .tables import tables
from .tasks import Task, find_task


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", required=True, choices=sorted(READERS))
    parser.add_argument("--task", required=True, nargs="+")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--budget", default="smoke", choices=list(BUDGETS))
    parser.add_argument("--data", help="folder of the data (or SMOOTHCS_DATA)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/papers"))
    parser.add_argument("--seeds", type=int, default=3, help="seeds of the fast methods")
    parser.add_argument("--jobs", type=int, default=1, help="models trained at a time")
    parser.add_argument("--sigma", type=float, help="sigma and eps, instead of the task's own")
    parser.add_argument("--alpha", type=float, default=0.001)
    parser.add_argument("--tables-only", action="store_true", help="print what there is")
    args = parser.parse_args()

    torch.set_num_threads(1)
    tasks = [find_task(args.dataset, name, args.sigma) for name in args.task]
    images = load(args.dataset, args.data)
    store = Store.of(args.out, args.dataset, args.budget, images)
    if not args.tables_only:
        for task in tasks:
            run(store, task, args.methods, args.seeds, args.jobs, args.alpha)
    for task in tasks:
        print(tables(store, task))
        draw(store, task)


def run(store: Store, task: Task, methods: list[str], seeds: int, jobs: int, alpha: float) -> None:
    """Make every result file of a task that is missing."""
    kept = store.floor or store
    gaussian = next(candidates("gaussian", task, kept.budget))
    _train(kept, [(gaussian, seed) for seed in range(seeds)], jobs)
    floors = {seed: _floors(kept, task, gaussian, seed) for seed in range(seeds)}
    for method in methods:
        wanted = range(1 if method in SLOW else seeds)
        if all(_is_measured(_result(store, task, method, seed)) for seed in wanted):
            continue
        pool = list(candidates(method, task, store.budget))
        _train(store, [(c, 0) for c in pool], jobs)
        short = shortlist(store, task, pool, floors[0])
        _train(store, [(c, seed) for seed in wanted[1:] for c in short], jobs)
        for seed in wanted:
            result = {
                "rows": _measured(store, task, short, seed, floors[seed], alpha),
                "n": store.budget.n,
                "hardware": "cuda" if torch.cuda.is_available() else "CPU",
            }
            note(_result(store, task, method, seed), result)


def _floors(store: Store, task: Task, gaussian: Candidate, seed: int) -> list[float]:
    """Return the validation accuracies to keep: that of Gaussian less each loss."""
    accuracy, _ = validation_numbers(store, task, store.valid_votes(gaussian, seed))
    return [accuracy - loss for loss in LOSSES]


def _result(store: Store, task: Task, method: str, seed: int) -> Path:
    return store.folder / task.name / f"{method}-s{seed}.json"


def _is_measured(path: Path) -> bool:
    """Return whether a result file is there and has all rules at all losses."""
    if not path.exists():
        return False
    rows = json.loads(path.read_text())["rows"]
    return {(row["loss"], row["rule"]) for row in rows} == set(itertools.product(LOSSES, RULES))


def _train(store: Store, models: list[tuple[Candidate, int]], jobs: int) -> None:
    missing = [m for m in models if not (store.place(*m) / "valid.npz").exists()]
    Parallel(n_jobs=jobs)(delayed(_train_one)(store, *model) for model in missing)


def _train_one(store: Store, candidate: Candidate, seed: int) -> None:
    torch.set_num_threads(1)
    start = time.perf_counter()
    store.valid_votes(candidate, seed)
    seconds = time.perf_counter() - start
    print(f"{candidate.method:14}{candidate.setting:80} seed {seed} {seconds:6.0f} s", flush=True)


def _measured(
    store: Store, task: Task, pool: list[Candidate], seed: int, floors: list[float], alpha: float
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    measured: dict[str, dict[str, Any]] = {}  # several floors may choose the same
    for loss, floor in zip(LOSSES, floors, strict=True):
        for rule in RULES:
            pick = choose(store, task, pool, seed, floor, rule)
            same = f"{pick.candidate.key} {pick.weights} {rule if pick.weights else ''}"
            if same not in measured:
                measured[same] = measure(store, task, pick, seed, alpha, rule)
            rows.append(
                {
                    "loss": loss,
                    "rule": rule,
                    "setting": pick.candidate.setting,
                    "key": pick.candidate.key,
                    "weights": pick.weights,
                    "feasible": pick.feasible,
                    "validation": {"accuracy": pick.accuracy, "rob_cs": pick.rob_cs},
                    "seconds": store.seconds(pick.candidate, seed),
                    "test": measured[same],
                }
            )
    return rows


if __name__ == "__main__":
    main()
