"""Memory and time of tuning weights of scores, from the first noisy copy's scores to the weights.

    python -m benchmarks.speed.tuning [--inputs 10000] [--copies 500] [--classes 10]

Printed is what the process grew by at its peak, imports not included. The scores are Dirichlet
with a leaning to the true class, so that most copies are close to a decision.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from smoothcs.tuning import tune_decision


def peak() -> float:
    """Return the largest size of this process so far, in MB (on Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Draw scores and tune on them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--copies", type=int, default=500)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--cv", type=int, default=5)
    args = parser.parse_args()
    n, m, rng = args.inputs, args.classes, np.random.default_rng(0)
    y = rng.integers(m, size=n)
    before, start = peak(), time.perf_counter()
    scores = np.empty((n, args.copies, m), dtype=np.float16)
    for i in range(n):
        lean = rng.uniform(0.0, 1.0) * (np.arange(m) == y[i])
        scores[i] = rng.dirichlet(np.full(m, 5.0), args.copies) * 0.5 + 0.05 + 0.3 * lean
    print(f"scores: {scores.nbytes / 2**20:.0f} MB, grown by {peak() - before:.0f} MB", flush=True)
    cost = np.where(np.arange(m)[:, None] == 3, 1.0, 0.0) * (1 - np.eye(m))
    tuned = tune_decision(scores, y, cost, eps=0.25, sigma=0.5, alpha=0.001, cv=args.cv)
    minutes = (time.perf_counter() - start) / 60
    print(f"tuned in {minutes:.1f} minutes, grown by {peak() - before:.0f} MB")
    print(
        f"rob_cs {tuned.baseline_metric:.3f} -> {tuned.metric:.3f}, accuracy {tuned.accuracy:.3f}"
    )


if __name__ == "__main__":
    main()
