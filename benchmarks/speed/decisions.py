"""Decisions for a cheap model: how much of the bare forward pass's speed is left.

    python -m benchmarks.speed.decisions                    # 1,000 rows, 20 columns, 2 classes
    python -m benchmarks.speed.decisions --classes 10 --repeats 5
    python -m benchmarks.speed.decisions --threads 1 --clock cpu    # on a busy machine

A small MLP on a made-up table decides "group" at eps = sigma / 2. "bare" is the module alone, on
ready batches, for as many rows as votes were drawn. "decisions" draws selection and estimation
votes, noise included, and runs the stopping rule; "rule" is what the rule alone takes. All are
measured in turn within every repetition; medians are printed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from smoothcs.sequential._together import Together
from smoothcs.votes import sample_votes

SIGMA, EPS, BATCH = 0.5, 0.25, 4096


def make_net(X: np.ndarray, y: np.ndarray, n_classes: int) -> nn.Module:
    """Return an MLP trained under noise for a few seconds."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(X.shape[1], 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(),
        nn.Linear(128, n_classes),
    )  # fmt: skip
    optimiser = torch.optim.Adam(net.parameters(), 2e-3)
    inputs, labels = torch.from_numpy(X), torch.from_numpy(y)
    for _ in range(300):
        rows = torch.randint(len(X), (256,))
        noisy = inputs[rows] + SIGMA * torch.randn(256, X.shape[1])
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(noisy), labels[rows]).backward()
        optimiser.step()
    return net.eval()


class Timed:
    """A schedule, and the seconds it took."""

    def __init__(self, rule: Together, clock: Callable[[], float]) -> None:
        self.rule, self.clock, self.seconds, self.calls = rule, clock, 0.0, 0

    def __call__(self, index: np.ndarray, counts: np.ndarray) -> np.ndarray:
        start = self.clock()
        wanted = self.rule(index, counts)
        self.seconds += self.clock() - start
        self.calls += 1
        return wanted


def main() -> None:
    """Print one line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--columns", type=int, default=20)
    parser.add_argument("--classes", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--n-selection", type=int, default=50)
    parser.add_argument("--n-max", type=int, default=10_000)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    args = parser.parse_args()
    clock = time.perf_counter if args.clock == "wall" else time.process_time
    if args.threads:
        torch.set_num_threads(args.threads)

    def timed(function: Callable[[], Any]) -> tuple[float, Any]:
        start = clock()
        result = function()
        return clock() - start, result

    rng = np.random.default_rng(0)
    X = rng.normal(size=(5000 + args.rows, args.columns)).astype(np.float32)
    score = X @ rng.normal(size=args.columns)
    y = np.digitize(score, np.quantile(score, np.arange(1, args.classes) / args.classes))
    net = make_net(X[: -args.rows], y[: -args.rows], args.classes)
    X, y = X[-args.rows :], y[-args.rows :]
    omega = np.arange(args.classes) != y[:, None]

    def decide() -> tuple[Timed, int]:
        selection = sample_votes(net, X, args.n_selection, SIGMA, purpose="selection")
        schedule = Timed(
            Together(
                selection, omega, kinds=["group"], eps=EPS, sigma=SIGMA, alpha=0.001,
                n_max=args.n_max,
            ),
            clock,
        )  # fmt: skip
        votes = sample_votes(net, X, schedule, SIGMA)
        return schedule, int(selection.sum() + votes.sum())

    def bare(n: int) -> None:
        with torch.inference_mode():
            for _ in range(-(-n // BATCH)):
                net(batch)

    batch = torch.randn(BATCH, args.columns)
    decide()
    rows = []
    for _ in range(args.repeats):
        seconds, (schedule, n_votes) = timed(decide)
        forward, _ = timed(lambda n=n_votes: bare(n))
        rows.append((seconds, schedule.seconds, forward, forward / seconds, n_votes))
        certified = schedule.rule.certified("group")
    seconds, rule, forward, ratio, n_votes = np.median(rows, axis=0)
    assert certified is not None
    print(
        f"{args.rows} rows, {args.classes} classes, {n_votes / args.rows:.0f} votes each, "
        f"{100 * certified.mean():.1f} % certified, {torch.get_num_threads()} threads\n"
        f"decisions {seconds:.2f} s ({n_votes / seconds / 1e3:.0f} thousand votes a second), of "
        f"which rule {rule:.3f} s in {schedule.calls} calls; bare {forward:.2f} s; "
        f"bare / decisions {ratio:.2f}"
    )


if __name__ == "__main__":
    main()
