"""Which looks decide with the fewest votes: simulated decisions on six populations.

    python -m benchmarks.looks [--inputs 4000] [--n-max 100000]

Every line is a schedule of looks; means over the populations of the mean and the median votes an
input (selection votes included) relative to the first line, and of the share certified less that of
the first line, in points. Ten minutes on one core.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from smoothcs.sequential.planning import simulate_decisions

SCHEDULES = [  # first look, growth, share of alpha for the last look, selection votes
    (100, 1.5, 0.5, 100),
    (30, 1.5, 0.3, 100),
    (30, 1.3, 0.5, 100),
    (30, 1.3, 0.3, 100),
    (30, 1.3, 0.2, 100),
    (30, 1.2, 0.3, 100),
    (20, 1.3, 0.3, 100),
    (50, 1.3, 0.3, 100),
    (30, 1.3, 0.3, 50),
    (30, 1.3, 0.3, 30),
]


def populations(size: int) -> list[tuple[NDArray[np.float64], list[int], float]]:
    """Return votes (size, m), the targets of class 0 and eps / sigma of each population."""
    rng = np.random.default_rng(0)

    def certain(a: float, b: float, m: int, spread: float) -> NDArray[np.float64]:
        top = rng.beta(a, b, size)
        rest = rng.dirichlet([spread] * (m - 1), size)
        return np.column_stack([top, rest * (1.0 - top)[:, None]])

    return [
        (certain(2, 0.5, 2, 1.0), [1], 0.5),
        (rng.dirichlet([3, 0.7, 0.5], size), [1], 0.5),
        (certain(3, 1.2, 10, 0.3), [1], 0.5),
        (certain(3, 1.2, 10, 0.3), [1, 2, 3], 0.5),
        (certain(2, 0.3, 10, 0.2), list(range(1, 10)), 1.0),
        (certain(1.5, 0.5, 10, 0.2), list(range(1, 10)), 0.5),
    ]


def main() -> None:
    """Print one line a schedule."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=4000)
    parser.add_argument("--n-max", type=int, default=100_000)
    args = parser.parse_args()
    print(
        f"{'first':>6}{'growth':>8}{'last':>6}{'selection':>11}{'mean':>8}{'median':>8}{'points':>8}"
    )
    first = None
    for first_look, growth, final_share, n_selection in SCHEDULES:
        rows = []
        for P, targets, eta in populations(args.inputs):
            costs = np.zeros((P.shape[1], P.shape[1]))
            costs[0, targets] = 1.0
            found = simulate_decisions(
                P, y=np.zeros(len(P), dtype=int), cost_matrix=costs, sigma=1.0, eps=eta,
                n_max=args.n_max, n_selection=n_selection, random_state=1,
                first_look=first_look, growth=growth, final_share=final_share,
            )  # fmt: skip
            votes = found.n_used
            rows.append([votes.mean(), np.median(votes), 100.0 * found.certified.mean()])
        table = np.array(rows)
        first = table if first is None else first
        mean, median = (table[:, :2] / first[:, :2]).mean(axis=0)
        points = (table - first)[:, 2].mean()
        print(
            f"{first_look:6}{growth:8.1f}{final_share:6.1f}{n_selection:11}{mean:8.3f}"
            f"{median:8.3f}{points:8.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
