"""How many votes a second: the bare forward pass, the usual loop, another toolbox, and smoothcs.

    python benchmarks/speed/votes.py                 # both nets, medians of 5, about ten minutes
    python benchmarks/speed/votes.py --net small --repeats 3 --seconds 1
    python benchmarks/speed/votes.py --net small --memory 1000 1000000

All rows are measured in turn within every repetition; ratios are medians over repetitions. "bare"
is the module alone on one ready batch, at the best batch size and memory layout. The toolbox's row
needs ``pip install adversarial-robustness-toolbox``. ``--memory`` measures memory instead of time:
for every number of votes the peak of a process of its own that draws them for one input, above that
of the imports (Linux). Where a module is compiled that includes the compiler.

With several threads, operations that are spread over all cores wait for the slowest: rows other
than smoothcs, which runs one batch on each core, then collapse as soon as other programs are at
work. ``--threads 1 --clock cpu`` compares fairly on a busy machine.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch._inductor import config

from smoothcs.modules import cifar_resnet20, small_conv
from smoothcs.votes import sample_votes
from smoothcs.votes._run import default_batch_size

SIGMA = 0.5
LOOP_BATCH = 400
NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "resnet20": (cifar_resnet20, (3, 32, 32)),
    "small": (small_conv, (1, 28, 28)),
}
ROWS = {
    "bare forward, float32": ("bare", "float32", False),
    "bare forward, bfloat16": ("bare", "bfloat16", False),
    "bare forward, bfloat16, compiled": ("bare", "bfloat16", True),
    "usual loop": ("loop", "float32", False),
    "toolbox": ("toolbox", "float32", False),
    "smoothcs, float32": ("smoothcs", "float32", False),
    "smoothcs, bfloat16": ("smoothcs", "bfloat16", False),
    "smoothcs, float32, compiled": ("smoothcs", "float32", True),
    "smoothcs, bfloat16, compiled": ("smoothcs", "bfloat16", True),
}
FORMATS = (torch.contiguous_format, torch.channels_last)


def make_net(name: str) -> nn.Module:
    torch.manual_seed(0)
    return NETS[name][0]().eval()


class Bare:
    """The module on one ready batch, nothing else."""

    def __init__(self, net: str, precision: str, compiled: bool) -> None:
        self.dtype = getattr(torch, precision)
        self.net, self.shape = net, NETS[net][1]
        candidates = []
        sizes = (64, 128, 256, 512) if not compiled else (128,)
        formats = FORMATS if not compiled else FORMATS[1:]
        for rows, layout in itertools.product(sizes, formats):
            run = self.prepare(rows, layout, compiled)
            candidates.append((min(timed(run) for _ in range(3)) / rows, rows, run))
        _, self.rows, self.run = min(candidates, key=lambda c: c[:2])

    def prepare(self, rows: int, layout: torch.memory_format, compiled: bool) -> Callable[[], None]:
        module = make_net(self.net).to(dtype=self.dtype, memory_format=layout)
        batch = torch.randn(rows, *self.shape).to(dtype=self.dtype, memory_format=layout)
        if compiled:
            module.compile(dynamic=False)
        mode = torch.no_grad if compiled else torch.inference_mode

        def run() -> None:
            with mode():
                module(batch)

        with config.patch(freezing=True):
            run()
        return run

    def votes(self, n: int) -> None:
        for _ in range(-(-n // self.rows)):
            self.run()


class Loop:
    """One input at a time: repeat, add noise, forward, count."""

    def __init__(self, net: str, precision: str, compiled: bool) -> None:
        self.module, self.x = make_net(net), torch.rand(1, *NETS[net][1])

    def votes(self, n: int) -> None:
        counts = np.zeros(10, dtype=int)
        with torch.no_grad():
            for start in range(0, n, LOOP_BATCH):
                rows = min(LOOP_BATCH, n - start)
                batch = self.x.repeat((rows, 1, 1, 1))
                batch = batch + torch.randn_like(batch) * SIGMA
                labels = self.module(batch).argmax(1).numpy()
                counts += np.bincount(labels, minlength=10)


class Toolbox:
    """The certify method of the adversarial robustness toolbox."""

    def __init__(self, net: str, precision: str, compiled: bool) -> None:
        from art.estimators.certification.randomized_smoothing import PyTorchRandomizedSmoothing

        shape = NETS[net][1]
        self.x = np.random.default_rng(0).random((1, *shape), dtype=np.float32)
        self.classifier = PyTorchRandomizedSmoothing(
            model=make_net(net),
            loss=nn.CrossEntropyLoss(),
            input_shape=shape,
            nb_classes=10,
            sample_size=100,
            scale=SIGMA,
            alpha=0.001,
            device_type="cpu",
        )

    def votes(self, n: int) -> None:
        # certify draws its selection votes as well; all of them count.
        self.classifier.certify(self.x, n=max(n - 100, 1), batch_size=LOOP_BATCH)


class Smoothcs:
    """`smoothcs.votes.sample_votes` at its default batch size, which here is not measured."""

    def __init__(self, net: str, precision: str, compiled: bool) -> None:
        self.module, self.x = make_net(net), torch.rand(1, *NETS[net][1])
        rows = default_batch_size(self.x.numel(), "cpu")
        self.options = {"precision": precision, "compile": compiled, "batch_size": rows}
        self.votes(2)  # compiles before the clock runs

    def votes(self, n: int) -> None:
        sample_votes(self.module, self.x, n, SIGMA, **self.options)


KINDS = {"bare": Bare, "loop": Loop, "toolbox": Toolbox, "smoothcs": Smoothcs}


clock = time.perf_counter


def timed(function: Callable[..., None], *arguments: int) -> float:
    begin = clock()
    function(*arguments)
    return clock() - begin


def make_rows(net: str, names: list[str]) -> dict[str, Bare | Loop | Toolbox | Smoothcs]:
    rows = {}
    for name in names:
        kind, precision, compiled = ROWS[name]
        try:
            rows[name] = KINDS[kind](net, precision, compiled)
        except ImportError as error:
            print(f"{name}: skipped, {error}")
    return rows


def peak_mib() -> float:
    # Linux only. Not ru_maxrss, which begins with the peak of the parent process.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def memory(net: str, name: str, n: int) -> str:
    """Return the peak memory of a process that draws n votes of one input."""
    command = [sys.executable, __file__, "--net", net, "--memory-of", name, "--memory", str(n)]
    command += ["--threads", str(torch.get_num_threads())]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    return run.stdout.strip().splitlines()[-1] if run.returncode == 0 else "-"


def measure_memory(net: str, name: str, n: int) -> None:
    kind, precision, compiled = ROWS[name]
    before = peak_mib()
    KINDS[kind](net, precision, compiled).votes(n)
    print(f"{peak_mib() - before:.0f}")


def memory_table(net: str, numbers: list[int], only: str) -> None:
    print(f"\n{net}: {torch.get_num_threads()} threads, peak MiB")
    print(f"{'':36}" + "".join(f"{f'n={n:,}':>14}" for n in numbers))
    for name in ROWS:
        if ROWS[name][0] != "bare" and only in name:
            used = "".join(f"{memory(net, name, n):>14}" for n in numbers)
            print(f"{name:36}{used}", flush=True)


def table(net: str, repeats: int, seconds: float, only: str) -> None:
    rows = make_rows(net, [name for name in ROWS if only in name])
    n = {}
    for name, row in rows.items():
        row.votes(256)
        rate = 2048 / timed(row.votes, 2048)
        n[name] = max(2048, int(rate * seconds))
    rates: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(repeats):
        for name, row in rows.items():
            rates[name].append(n[name] / timed(row.votes, n[name]))

    def ratio(name: str, other: str) -> str:
        if other not in rates:
            return ""
        return f"{np.median(np.divide(rates[name], rates[other])):.2f}"

    print(f"\n{net}: {torch.get_num_threads()} threads, medians of {repeats}")
    print(f"{'':36}{'votes/s':>10}{'of bare':>10}{'of loop':>10}")
    for name in rows:
        _, precision, compiled = ROWS[name]
        bare = f"bare forward, {precision}" + (", compiled" if compiled else "")
        print(
            f"{name:36}{np.median(rates[name]):>10,.0f}{ratio(name, bare):>10}"
            f"{ratio(name, 'usual loop'):>10}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", choices=[*NETS, "both"], default="both")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of every measurement")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--memory", type=int, nargs="+", help="numbers of votes of one input")
    parser.add_argument("--memory-of", choices=list(ROWS), help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--clock",
        choices=["wall", "cpu"],
        default="wall",
        help="cpu: seconds of this process, for one thread on a machine that is busy",
    )
    arguments = parser.parse_args()
    global clock
    clock = time.perf_counter if arguments.clock == "wall" else time.process_time
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    if arguments.memory_of:
        measure_memory(arguments.net, arguments.memory_of, arguments.memory[0])
        return
    for net in NETS if arguments.net == "both" else [arguments.net]:
        if arguments.memory:
            memory_table(net, arguments.memory, arguments.only)
        else:
            table(net, arguments.repeats, arguments.seconds, arguments.only)


if __name__ == "__main__":
    main()
