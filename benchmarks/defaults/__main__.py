"""What the defaults of training are worth: objectives, and the recipe, one change at a time.

    python -m benchmarks.defaults --data DIR
    python -m benchmarks.defaults --data DIR --compare recipe --problems s-seed digits

For each problem, variant and seed: train on the training part, tune weights of scores on the
validation part, certify the test part at eps = sigma. "plain" is the plurality vote; the other
columns are weights that lose 0, .5, 1 and 3 points of the validation accuracy of plain Gaussian
noise (for the recipe: of Gaussian under the defaults as they were), or, marked by *, the plurality
vote where none do. Results are kept under --out and skipped when present.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch

from benchmarks.papers.tables import grid

from .measure import frontier, train, tuned
from .problems import PROBLEMS, Problem, load
from .variants import OBJECTIVES, RECIPES, TABLE_RECIPES, Parameters

FLOORS = {"objectives": "gaussian", "recipe": "as before, Gaussian"}
SHARED = {"s-seed", "s-pair", "m-pair"}  # the same images, which Gaussian sees without costs


def main() -> None:
    """Make what is missing and print one table a problem."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of the data (or SMOOTHCS_DATA)")
    parser.add_argument("--compare", default="objectives", choices=list(FLOORS))
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS))
    parser.add_argument("--variants", nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/defaults"))
    parser.add_argument("--tables-only", action="store_true", help="print what there is")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in args.problems:
        variants = variants_of(args.compare, name)
        folder = args.out / args.compare / name
        if not args.tables_only:
            wanted = [FLOORS[args.compare], *(v for v in args.variants or variants)]
            for seed in range(args.seeds):
                run(folder, load(name, args.data, seed), variants, wanted, seed, args.compare)
        print(f"\n{name}\n\n{table(folder, variants)}")


def variants_of(compare: str, problem: str) -> dict[str, Parameters]:
    """Return what is compared on a problem."""
    if compare == "objectives":
        return OBJECTIVES
    return RECIPES if problem in ("s-seed", "s-pair", "m-pair") else TABLE_RECIPES


def run(
    folder: Path, problem: Problem, variants: dict[str, Parameters], wanted: list[str],
    seed: int, compare: str,
) -> None:  # fmt: skip
    """Measure what is missing for one seed; the first variant sets the accuracies to keep."""
    floor: float | None = None
    for name in dict.fromkeys(wanted):
        path = folder / f"{name.replace(' ', '-')}-{seed}.json"
        if path.exists():
            result = json.loads(path.read_text())
        else:
            clf, seconds = fitted(folder, problem, name, variants[name], seed)
            points = tuned(problem, clf)
            if floor is None:
                floor = points.baseline_accuracy
            result = {
                "seconds": seconds,
                "validation": points.baseline_accuracy,
                "test": frontier(problem, clf, points, floor),
            }
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(result))
            print(folder.name, name, seed, result["test"]["plain"], flush=True)
        floor = result["validation"] if floor is None else floor


def fitted(
    folder: Path, problem: Problem, name: str, params: Parameters, seed: int
) -> tuple[Any, float]:
    """Train, or take the model of another task on the same images that knows as little of costs."""
    blind = folder.name in SHARED and "margin" not in name and "before" not in name
    path = folder.parent / f"fashion-{name.replace(' ', '-')}-{seed}.joblib"
    if not blind or not path.exists():
        clf, seconds = train(problem, seed, params)
        if not blind:
            return clf, seconds
        path.parent.mkdir(parents=True, exist_ok=True)
        joblib.dump((clf, seconds), path)
    return joblib.load(path)


def table(folder: Path, variants: dict[str, Parameters]) -> str:
    """Return means of the seeds: accuracy / rob_cs, its deviation in brackets."""
    body = []
    for name in variants:
        paths = sorted(folder.glob(f"{name.replace(' ', '-')}-[0-9].json"))
        runs = [json.loads(path.read_text()) for path in paths]
        if runs:
            cells = [cell([run["test"][column] for run in runs]) for column in runs[0]["test"]]
            seconds = f"{np.mean([run['seconds'] for run in runs]):.0f}"
            body.append([name, *cells, str(len(runs)), seconds])
    head = ["variant", "plain", "0 points", ".5 points", "1 point", "3 points", "seeds", "CPU s"]
    return grid([head, *body])


def cell(values: list[list[float]]) -> str:
    """Return one cell; a star where some seed did not reach the accuracy."""
    accuracy, rob_cs = ([v[i] for v in values] for i in (0, 1))
    spread = f" ({np.std(rob_cs, ddof=1):.3f})" if len(values) > 1 else ""
    star = "" if all(v[2] for v in values if len(v) > 2) else " *"
    return f"{np.mean(accuracy):.3f} / {np.mean(rob_cs):.3f}{spread}{star}".replace("0.", ".")


if __name__ == "__main__":
    main()
