"""Does an objective cost more than the passes it needs? Step time against the bare passes.

Margin-CS with 16 noise draws a batch of 64, against forward, cross-entropy and backward of the same
module on the same 16 x 64 inputs; medians of interleaved repeats, as a ratio of one run.

    python -m benchmarks.speed.training [--repeats 15] [--threads 2] [--net small]

``--threads 1 --clock cpu`` compares fairly on a busy machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from smoothcs._torch import keep_freed_memory
from smoothcs.modules import cifar_resnet20, small_conv
from smoothcs.objectives import MarginCS, TrainingContext

BATCH, N_NOISE = 64, 16
NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "resnet20": (cifar_resnet20, (3, 32, 32)),
    "small": (small_conv, (1, 28, 28)),
}


def measure(
    module: nn.Module, shape: tuple[int, ...], repeats: int, clock: Callable[[], float]
) -> tuple[float, float, float]:
    """Return the median seconds of a bare step and of a Margin-CS step, and the median ratio."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand((BATCH, *shape), generator=generator)
    y = torch.randint(10, (BATCH,), generator=generator)
    many, labels = x.repeat(N_NOISE, 1, 1, 1), y.repeat(N_NOISE)
    cost = torch.zeros(10, 10)
    cost[3, :] = 1.0
    cost[3, 3] = 0.0
    context = TrainingContext(0.5, cost, generator)
    objective = MarginCS.published(n_noise=N_NOISE)

    def bare() -> None:
        nn.functional.cross_entropy(module(many), labels).backward()

    def margin() -> None:
        objective(module, x, y, context).loss.backward()

    seconds: dict[str, list[float]] = {"bare": [], "margin": []}
    for repeat in range(repeats + 2):
        for name, step in (("bare", bare), ("margin", margin)):
            module.zero_grad(set_to_none=True)
            start = clock()
            step()
            if repeat >= 2:  # the first ones warm up
                seconds[name].append(clock() - start)
    ratio = np.divide(seconds["margin"], seconds["bare"])
    return (
        float(np.median(seconds["bare"])),
        float(np.median(seconds["margin"])),
        float(np.median(ratio)),
    )


def main() -> None:
    """Print one line a net."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--net", choices=[*NETS, "both"], default="both")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()  # as fit does, here for both sides
    clock = time.perf_counter if args.clock == "wall" else time.process_time
    print(f"{'net':12}{'bare s':>10}{'Margin-CS s':>13}{'ratio':>8}")
    for name in NETS if args.net == "both" else [args.net]:
        make, shape = NETS[name]
        bare, margin, ratio = measure(make(), shape, args.repeats, clock)
        print(f"{name:12}{bare:10.3f}{margin:13.3f}{ratio:8.3f}", flush=True)


if __name__ == "__main__":
    main()
