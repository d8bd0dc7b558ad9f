"""Does certifying take memory in proportion to the data? Peaks as a Dataset grows to 20 GB.

Every size runs in a process of its own: a torch Dataset that makes images of 4 MiB when they are
asked for, a cheap module, few votes, and a resume file. Memory is the peak of the process above
that of the imports (Linux).

    python -m benchmarks.speed.large_data [--gigabytes 1 5 20] [--votes 4] [--threads 2]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.speed.votes import peak_mib
from smoothcs import CostSensitiveSmoothedClassifier, sample_votes

SHAPE = (3, 592, 592)  # 4.01 MiB in float32
GIGABYTES_PER_ITEM = 4 * 3 * 592**2 / 1e9
WAYS = ("sample_votes", "certify")


class Generated(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """Grey images, no two of which are equal; nothing is kept."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.full(SHAPE, index / self.length), index * 10 // self.length


class Brightness(nn.Module):
    """Ten classes of brightness."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        level = x.flatten(1).mean(dim=1, keepdim=True)
        return -((level - torch.arange(0.05, 1.0, 0.1)) ** 2)


def draw(way: str, data: Generated, n: int, path: Path) -> None:
    """Draw n estimation votes of every item, with `sample_votes` or through the estimator."""
    if way == "sample_votes":
        votes = sample_votes(Brightness(), data, n, 0.5, random_state=0, resume_from=path)
    else:
        clf = CostSensitiveSmoothedClassifier.from_module(
            Brightness(),
            classes=range(10),
            sigma=0.5,
            alpha=0.3,
            n_selection=1,
            n_estimation=n,
            random_state=0,
        )
        y = np.arange(len(data)) * 10 // len(data)
        votes = clf.certify(data, y, resume_from=path).votes
    assert votes.sum() == n * len(data)


def run_one(way: str, items: int, n: int, threads: int) -> None:
    """Print the peak in MiB and the seconds of one run; the parent process reads them."""
    torch.set_num_threads(threads)
    before, begin = peak_mib(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "votes.smoothcs"
        draw(way, Generated(items), n, path)
        size = path.stat().st_size
    print(f"{peak_mib() - before:.0f} {time.perf_counter() - begin:.0f} {size / 2**10:.0f}")


def main() -> None:
    """Print one line a run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, nargs="+", default=[1, 5, 20])
    parser.add_argument("--votes", type=int, default=4, help="of every item; certify needs 4")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--way", choices=[*WAYS, "both"], default="both")
    parser.add_argument("--items", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.items is not None:
        run_one(args.way, args.items, args.votes, args.threads)
        return
    print(f"{'through':14}{'data GB':>8}{'items':>7}{'peak MiB':>10}{'file KiB':>10}{'seconds':>9}")
    for way in WAYS if args.way == "both" else [args.way]:
        for gigabytes in args.gigabytes:
            items = round(gigabytes / GIGABYTES_PER_ITEM)
            command = [sys.executable, "-m", "benchmarks.speed.large_data", "--way", way]
            command += ["--items", str(items), "--votes", str(args.votes)]
            command += ["--threads", str(args.threads)]
            run = subprocess.run(command, capture_output=True, text=True, check=True)
            peak, seconds, size = run.stdout.split()[-3:]
            print(f"{way:14}{gigabytes:8g}{items:7}{peak:>10}{size:>10}{seconds:>9}", flush=True)


if __name__ == "__main__":
    main()
