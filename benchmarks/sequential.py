"""Decisions against the published rule on real votes: how many votes, what is lost, how long.

Trains the small convolutional net on Fashion-MNIST under noise, then certifies test shirts at
eps = sigma = 0.5 for three tasks, once with 100,000 votes an input under the published rule and
once by sequential decisions with at most 100,000.

    python -m benchmarks.sequential --data DIR [--inputs 500] [--n 100000]

DIR holds fashion_mnist.npz (x_train, y_train, x_test, y_test); the environment variable
SMOOTHCS_DATA may name it instead. Votes are kept in a resume file beside the results.
"""

from __future__ import annotations

import argparse
import copy
import os
import time
from pathlib import Path

import numpy as np
import torch

from smoothcs import CostMatrix, CostSensitiveSmoothedClassifier
from smoothcs.certification import with_costs
from smoothcs.modules import small_conv

SHIRT = 6
TASKS = {
    "S-Seed shirt": CostMatrix.seedwise([SHIRT]),
    "S-Pair shirt -> T-shirt": CostMatrix.pairwise([(SHIRT, 0)]),
    "M-Pair shirt -> T-shirt, pullover, coat": CostMatrix.pairwise(
        [(SHIRT, 0), (SHIRT, 2), (SHIRT, 4)]
    ),
}


def load(folder: str | None, name: str) -> dict[str, np.ndarray]:
    """Return the arrays of a data file, or say what is missing."""
    folder = folder or os.environ.get("SMOOTHCS_DATA")
    if folder is None:
        raise SystemExit("name the data folder with --data DIR or SMOOTHCS_DATA")
    path = Path(folder) / name
    if not path.exists():
        raise SystemExit(f"{path} is missing")
    with np.load(path, allow_pickle=False) as data:
        return {key: data[key] for key in data.files}


def images(array: np.ndarray) -> np.ndarray:
    """Return images (n, 1, 28, 28) in [0, 1]."""
    return (array.reshape(-1, 1, 28, 28) / 255.0).astype(np.float32)


def main() -> None:
    """Print one line a task."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data")
    parser.add_argument("--inputs", type=int, default=500)
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--train", type=int, default=12_000)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--out", default="benchmarks/results/sequential")
    args = parser.parse_args()
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)

    data = load(args.data, "fashion_mnist.npz")
    rows = np.random.default_rng(0).permutation(len(data["y_train"]))[: args.train]
    clf = CostSensitiveSmoothedClassifier(
        small_conv,
        objective="gaussian",
        cost_matrix=TASKS["S-Seed shirt"],
        sigma=0.5,
        n_estimation=args.n,
        lr=1e-3,
        lr_schedule=None,
        max_epochs=args.epochs,
        batch_size=128,
        random_state=0,
    )
    start = time.perf_counter()
    clf.fit(images(data["x_train"][rows]), data["y_train"][rows].astype(int))
    print(f"trained in {time.perf_counter() - start:.0f} s, {torch.get_num_threads()} threads")

    X = images(data["x_test"][data["y_test"] == SHIRT][: args.inputs])
    y = np.full(len(X), SHIRT)
    clf.certify_at(X[:2], y[:2], 0.5)  # measures the batch size once, for both
    published_rule = copy.copy(clf).set_params(bound="paper")
    start = time.perf_counter()
    fixed = published_rule.certify(X, y, resume_from=out / f"fixed-{args.n}-{len(X)}")
    fixed_seconds = time.perf_counter() - start
    print(f"fixed n = {args.n}: {len(X)} inputs in {fixed_seconds:.0f} s")

    print(
        f"{'task':42}{'n_max':>8}{'fixed %':>9}{'decided %':>10}{'lost':>6}{'won':>5}"
        f"{'votes':>8}{'of fixed':>9}{'seconds':>9}{'time ratio':>11}"
    )
    for task, costs in TASKS.items():
        published = with_costs(fixed, costs.align(clf.classes_)).radius_group > 0.5
        for n_max in (args.n, 4 * args.n):
            start = time.perf_counter()
            decided = clf.certify_at(X, y, 0.5, cost_matrix=costs, n_max=n_max)
            seconds = time.perf_counter() - start
            certified = decided.certified_group[:, 0]
            votes = decided.n_used.mean()
            print(
                f"{task:42}{n_max:8}{100 * published.mean():9.2f}{100 * certified.mean():10.2f}"
                f"{(published & ~certified).sum():6}{(certified & ~published).sum():5}"
                f"{votes:8.0f}{100 * votes / (args.n + 100):8.2f}%{seconds:9.1f}"
                f"{fixed_seconds / seconds:11.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
