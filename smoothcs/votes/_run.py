"""Running the engine: in this process, or in joblib workers that share out the inputs."""

from __future__ import annotations

import copy
import hashlib
import threading
import warnings
import weakref
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import joblib
import numpy as np
import torch
from joblib.externals.loky.process_executor import BrokenProcessPool
from torch import nn

from smoothcs._torch import keep_freed_memory, resolve_devices
from smoothcs.votes._fingerprint import PROBES, NearTies, votes_of_one
from smoothcs.votes._forward import Forward
from smoothcs.votes._resume import Record, ResumeFile, schedule_digest
from smoothcs.votes._scheduler import Input, Schedule, Scheduler
from smoothcs.votes._source import Source
from smoothcs.votes._worker import run_workers
from smoothcs.votes.noise import NoiseLaw, content_digest

# Rows that measuring the batch size costs, in batches of the default size, and how much larger a
# run must be for that to be worth while.
_MEASURING = 31
_WORTH_MEASURING = 20
_ATTEMPTS = 5
_VOTES_GUESSED = 1000  # of an input, for a schedule

_best_batch_sizes: weakref.WeakKeyDictionary[nn.Module, dict[Any, int]] = (
    weakref.WeakKeyDictionary()
)


@dataclass(frozen=True)
class Settings:
    """What votes are drawn of; checked, and picklable if classifier and schedule are."""

    classifier: Any
    schedule: Schedule
    noise: NoiseLaw
    n_classes: int | None
    purpose: str
    key: bytes
    precision: str
    device: Any
    batch_size: int | str
    compile: bool

    @property
    def on_cuda(self) -> bool:
        """Whether the noise is drawn on CUDA."""
        if not isinstance(self.classifier, nn.Module):
            return False
        if isinstance(self.device, str) and self.device == "auto":
            return torch.cuda.is_available()
        return "cuda" in str(self.device)

    def record(self, name: int, digest: bytes, looks: np.ndarray) -> Record:
        """Return the resume record of a finished input."""
        return Record(self.purpose, name, digest, schedule_digest(self.schedule, name), looks)


class LocalRun:
    """Draws votes in this process.

    Parameters
    ----------
    settings : Settings
        What to draw.
    x : ndarray
        Any of the inputs, with which the classifier is tried.
    n_votes : int, default=0
        About how many votes will be drawn, which decides whether the batch size is measured.

    Attributes
    ----------
    n_classes, batch_size : int
    """

    def __init__(self, settings: Settings, x: np.ndarray, n_votes: int = 0) -> None:
        self._settings = settings
        self._devices = resolve_devices(settings.device)
        self._threads = one_thread_per_worker.threads_outside()
        is_module = isinstance(settings.classifier, nn.Module)
        if not is_module:
            # Nothing is known of a callable's thread safety, so it runs in the calling thread.
            self._devices = [torch.device("cpu")]
        elif self._devices == [torch.device("cpu")]:
            self._devices *= self._threads
        self._forwards: list[Forward] = []
        for device in dict.fromkeys(self._devices):
            forward = Forward(
                settings.classifier,
                x.shape,
                device=device,
                precision=settings.precision,
                n_classes=settings.n_classes,
            )
            forward.probe(torch.from_numpy(x.copy()).view(1, -1).to(device))
            self._forwards.append(forward)
        assert self._forwards[0].n_classes is not None  # known from the probe
        self.n_classes: int = self._forwards[0].n_classes
        self.batch_size = self._batch_size(x.size, n_votes)

    def _batch_size(self, size: int, n_votes: int) -> int:
        settings, first = self._settings, self._forwards[0]
        if isinstance(settings.batch_size, int):
            return settings.batch_size
        if not first.is_module:
            # Batches are filled up, so no larger than there is use for.
            used = max(default_batch_size(size, "cpu"), n_votes)
            return min(default_batch_size(size, "callable"), 1 << (used.bit_length() - 1))
        start = default_batch_size(size, first.device.type)
        cache = _best_batch_sizes.setdefault(settings.classifier, {})
        place = (first.device, settings.precision, first.input_shape)
        if place not in cache:
            if n_votes < _WORTH_MEASURING * _MEASURING * start * len(self._devices):
                return start
            with one_thread_per_worker(self._devices, self._threads):
                cache[place] = first.best_batch_size(start)
        return cache[place]

    def outputs(self, x: np.ndarray) -> list[Any]:
        """Return what the classifier gives for a few noisy copies of an input."""
        found: list[Any] = []
        self._votes_of_one(
            x,
            PROBES,
            # Noise that no vote has.
            key=hashlib.blake2b(self._settings.key, digest_size=32, person=b"probes").digest(),
            purpose="prediction",
            batch_size=PROBES,
            observe=lambda output: found.extend(output.tolist()),
        )
        return found[:PROBES]

    def vote_again(self, x: np.ndarray, row: int, n: int) -> tuple[np.ndarray, int]:
        """Return the votes of one input, and how many of them rounding may have changed."""
        ties = NearTies(n, self._settings.precision)
        votes = self._votes_of_one(
            x,
            n,
            key=self._settings.key,
            purpose=self._settings.purpose,
            batch_size=self.batch_size,
            observe=ties,
            row=row,
        )
        return votes, ties.count

    def _votes_of_one(self, x: np.ndarray, n: int, **how: Any) -> np.ndarray:
        return votes_of_one(self._forwards[0], x, n, noise=self._settings.noise, **how)

    def draw(
        self,
        source: Source,
        on_finished: Callable[[Input], None],
        on_votes: Callable[[int], None] = lambda votes: None,
    ) -> None:
        """Draw all votes; ``on_finished`` receives every input once."""
        settings = self._settings
        scheduler = Scheduler(
            source,
            settings.schedule,
            settings.key,
            settings.purpose,
            self.n_classes,
            on_finished,
            on_votes,
        )
        keep_freed_memory()
        with one_thread_per_worker(self._devices, self._threads):
            if settings.compile and isinstance(settings.classifier, nn.Module):
                # Anew in every call: the weights are part of the code.
                for forward in self._forwards:
                    forward.compile(self.batch_size)
            found = {forward.device: forward for forward in self._forwards}
            workers = [found[device].replicate() for device in self._devices]
            run_workers(scheduler, workers, self.batch_size, settings.noise)


class one_thread_per_worker:
    """While several workers run in threads, let every operation use one thread.

    Every core then runs batches of its own, which needs no synchronisation within an operation and
    is faster than one batch on all cores.

    Runs in several threads of the caller may overlap. PyTorch keeps the number for each thread, but
    a thread that asks for the first time gets what any thread set last, which may be our 1.
    """

    _lock = threading.Lock()
    _n_running = 0
    _outside = 1

    def __init__(self, devices: list[torch.device], threads: int) -> None:
        self._several = len(devices) > 1
        self._threads = threads

    @classmethod
    def threads_outside(cls) -> int:
        """Return the number of threads that an operation has outside of all runs."""
        with cls._lock:
            threads = torch.get_num_threads()  # now it is settled for this thread
            return cls._outside if cls._n_running > 0 else threads

    def __enter__(self) -> None:
        if self._several:
            cls = type(self)
            with cls._lock:
                if cls._n_running == 0:
                    cls._outside = self._threads
                cls._n_running += 1
                torch.set_num_threads(1)

    def __exit__(self, *exception: object) -> None:
        if self._several:
            cls = type(self)
            with cls._lock:
                torch.set_num_threads(self._threads)
                cls._n_running -= 1


def default_batch_size(size: int, device_type: str) -> int:
    """Return rows for about a megabyte of inputs on a CPU core, 32 times that on a GPU.

    A "callable" has four times as much: a forest takes 14 microseconds a row in a batch of 16,384
    rows, 19 in one of 4,096 and 29 in one of 1,024.
    """
    limits = {"cuda": (2**23, 4096), "callable": (2**20, 8192)}
    floats, most = limits.get(device_type, (2**18, 1024))
    return 1 << (min(max(floats // size, 8), most).bit_length() - 1)


Result = tuple[int, bytes, np.ndarray]  # index, content digest, looks


def draw_in_shards(
    settings: Settings,
    source: Source,
    n_jobs: int | None,
    store: ResumeFile | None,
    accept: Callable[[int, bytes, np.ndarray], None],
) -> None:
    """Draw votes in joblib workers; what a worker that dies has not delivered is drawn again.

    ``accept(index, digest, looks)`` receives every input once. With a resume file, workers write
    to files beside it, so that only inputs under way are lost with a worker.
    """
    left = np.arange(len(source))
    for attempt in range(_ATTEMPTS):
        done: set[int] = set()
        try:
            with closing(_shard_results(settings, source.part(left), n_jobs, store)) as results:
                for result in results:
                    done.add(result[0])
                    accept(*result)
            return
        except BrokenProcessPool:
            if attempt == _ATTEMPTS - 1:
                raise
        finally:
            if store is not None:
                for record in store.absorb_parts():
                    if record.purpose == settings.purpose and record.index not in done:
                        done.add(record.index)
                        accept(record.index, record.digest, record.looks)
        left = left[~np.isin(source.names[left], list(done))]
        warnings.warn(
            f"a worker process died; {len(left)} inputs are drawn again.", UserWarning, stacklevel=3
        )


def _shard_results(
    settings: Settings, source: Source, n_jobs: int | None, store: ResumeFile | None
) -> Any:
    n_shards = min(len(source), 4 * joblib.effective_n_jobs(n_jobs))
    # Workers may be threads: each shard has its own schedule, and none that of this thread.
    unasked = copy.deepcopy(settings.schedule)
    shards = joblib.Parallel(n_jobs=n_jobs, return_as="generator")(
        joblib.delayed(_draw_shard)(
            replace(settings, schedule=copy.deepcopy(unasked)),
            source.part(positions).detached(),
            None if store is None else (store.part_path(), store.header),
        )
        for positions in np.array_split(np.arange(len(source)), n_shards)
    )
    try:
        for shard in shards:
            yield from shard
    finally:
        with warnings.catch_warnings():  # of results that nobody asks for after an error
            warnings.simplefilter("ignore", UserWarning)
            shards.close()


def _draw_shard(
    settings: Settings, source: Source, part: tuple[str, dict[str, Any]] | None
) -> list[Result]:
    """Draw the votes of one shard on one core of a worker process."""
    results: list[Result] = []
    file = None if part is None else ResumeFile(*part)

    def keep(owner: Input) -> None:
        results.append((owner.name, owner.digest, owner.all_looks()))
        if file is not None:
            file.append(settings.record(*results[-1]))

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        is_module = isinstance(settings.classifier, nn.Module)
        run = LocalRun(settings, source.get(0), 0 if is_module else _VOTES_GUESSED * len(source))
        run.draw(source, keep)
    finally:
        torch.set_num_threads(threads)
        if file is not None:
            file.close()
    return results


def ask_local_run(settings: Settings, method: str, x: np.ndarray, *args: Any) -> Any:
    """Call a method of a :class:`LocalRun` of the process that this runs in."""
    return getattr(LocalRun(settings, x), method)(x, *args)


def restore(settings: Settings, source: Source, store: ResumeFile) -> list[Record]:
    """Return the finished inputs of a resume file, after checking that they are these inputs."""
    results: dict[int, Record] = {}
    where = f"resume_from={str(store.path)!r} holds {settings.purpose} votes"
    for record in store.records:
        index = record.index
        if record.purpose != settings.purpose:
            continue
        if index < len(source) and record.schedule != schedule_digest(settings.schedule, index):
            raise ValueError(
                f"{where} drawn with another n or schedule, or for another claim: "
                f"{record.looks[-1:].sum()} votes of input {index}, and "
                f"{settings.schedule!r} is wanted."
            )
        if index >= len(source) or record.digest != content_digest(source.get(index)):
            raise ValueError(f"{where} of other data: X[{index}] is another input.")
        known = results.setdefault(index, record)
        if not np.array_equal(known.looks, record.looks):
            raise ValueError(f"{where} of input {index} twice, and they differ.")
    return list(results.values())


def settings_for_probe(settings: Settings) -> Settings:
    """Return settings with which any machine can find the number of classes."""
    return replace(settings, device="cpu", precision="float32", batch_size=1)
