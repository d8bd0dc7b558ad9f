"""Which draws come next: inputs in flight, leases of draws, and when an input is finished."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch

from smoothcs.votes._source import Source
from smoothcs.votes.noise import NoiseStream, block_draws, content_digest

Schedule = Callable[[np.ndarray, np.ndarray], np.ndarray]

# The schedule is asked about many inputs at once, for a statistical test of one costs nearly as
# much as of hundreds: when this many have reached their target, or one has waited so long (s).
_MOST_COLLECTED = 512
_LONGEST_WAIT = 0.05
# Inputs that are read at once, and numbers that the collected inputs may hold.
_READ_AT_ONCE = 16
_MOST_FLOATS = 2**24


@dataclass(eq=False)
class Input:
    """An input in flight, or finished."""

    position: int
    name: int  # the index under which the caller knows it
    x: torch.Tensor  # flat, on the CPU
    digest: bytes
    stream: NoiseStream
    counts: np.ndarray  # (n_classes + 1,), of the draws counted so far; the last: invalid outputs
    target: int = 0
    issued: int = 0
    counted: int = 0
    looks: list[np.ndarray] = field(default_factory=list)  # the counts at every target reached

    def all_looks(self) -> np.ndarray:
        """Return the looks as an array, (number of looks, n_classes)."""
        return np.array(self.looks, dtype=np.int64).reshape(-1, len(self.counts) - 1)


@dataclass(eq=False)
class Lease:
    """A range of draws of one input, in the hands of one worker."""

    owner: Input
    first: int
    stop: int
    x: torch.Tensor  # the input, where noise is drawn
    counts: torch.Tensor  # (n_classes + 1,), likewise
    taken: int = field(init=False)

    def __post_init__(self) -> None:
        self.taken = self.first


class Scheduler:
    """Hands out leases and collects counts; shared by all workers of a process.

    Parameters
    ----------
    source : Source
        The inputs.
    schedule : callable
        ``schedule(names, counts) -> targets``, arrays of shapes (k,), (k, n_classes) and (k,): the
        next cumulative number of votes wanted for each of some inputs; not above the current one:
        the input is finished. Never called by two threads at once. The answer about an input must
        depend on its own counts only: which inputs are asked about together depends on time.
    key : bytes
        The key of the noise.
    purpose : str
        What the votes are for.
    n_classes : int
        Number of classes.
    on_finished : callable
        ``on_finished(input)``; never called by two threads at once.
    on_votes : callable
        ``on_votes(k)``: k more votes were counted; likewise.
    """

    def __init__(
        self,
        source: Source,
        schedule: Schedule,
        key: bytes,
        purpose: str,
        n_classes: int,
        on_finished: Callable[[Input], None],
        on_votes: Callable[[int], None],
    ) -> None:
        self._source = source
        self._schedule = schedule
        self._key = key
        self.purpose = purpose
        self._n_classes = n_classes
        self._on_finished = on_finished
        self._on_votes = on_votes
        self._waiting = iter(range(len(source)))
        self._ready: deque[Input] = deque()
        self._collected: list[Input] = []
        self._collected_since = 0.0
        self._in_flight = 0
        self._changed = threading.Condition(threading.RLock())
        self._asking = threading.Lock()
        self.stopped = False

    def stop(self) -> None:
        """Hand out no more leases."""
        with self._changed:
            self.stopped = True
            self._changed.notify_all()

    def lease(self, length: int, device: torch.device, *, wait: bool) -> Lease | None:
        """Return about ``length`` draws of one input, or None: nothing to do.

        With ``wait``, None means that all inputs are finished or the run was stopped; without, that
        no draw is to be had just now.
        """
        while True:
            with self._changed:
                if self.stopped:
                    return None
                due = self._due()
                if not due and self._ready:
                    return self._cut(self._ready[0], length, device)
                if not due:
                    if self._in_flight == 0 or not wait:
                        return None
                    self._changed.wait()
                    continue
            # Outside the lock of the other workers: asking may take statistical tests.
            self._ask(due)

    def _cut(self, owner: Input, length: int, device: torch.device) -> Lease:
        # Leases end where blocks end, so that two workers seldom draw the same block.
        block = block_draws(owner.stream.size, device.type, self.purpose)
        first = owner.issued
        stop = min(owner.target, -(-(first + length) // block) * block)
        owner.issued = stop
        if stop == owner.target:
            self._ready.popleft()
        counts = torch.zeros(self._n_classes + 1, dtype=torch.int64, device=device)
        return Lease(owner, first, stop, owner.x.to(device), counts)

    def _due(self) -> list[Input]:
        """Return inputs about which the schedule is to be asked now: collected or new ones."""
        collected = self._collected
        late = collected and time.monotonic() - self._collected_since > _LONGEST_WAIT
        if not (late or len(collected) >= _MOST_COLLECTED or self._is_full(collected)):
            if self._ready:
                return []
            new = [self._read(position) for position in islice(self._waiting, _READ_AT_ONCE)]
            if new:
                self._in_flight += len(new)
                return new
        self._collected = []
        return collected

    @staticmethod
    def _is_full(collected: list[Input]) -> bool:
        return bool(collected) and len(collected) * collected[0].x.numel() >= _MOST_FLOATS

    def _read(self, position: int) -> Input:
        x = self._source.get(position)
        digest, name = content_digest(x), int(self._source.names[position])
        return Input(
            position=position,
            name=name,
            x=torch.from_numpy(x.copy()).view(-1),
            digest=digest,
            stream=NoiseStream(self._key, digest, self.purpose, x.shape, name),
            counts=np.zeros(self._n_classes + 1, dtype=np.int64),
        )

    def report(self, owner: Input, draws: int, counts: np.ndarray) -> None:
        """Add the counts of a finished lease."""
        with self._changed:
            owner.counts += counts
            owner.counted += draws
            if counts[-1] > 0:
                raise ValueError(
                    "the classifier returned logits that are nan or infinite, or labels outside "
                    f"0..{self._n_classes - 1}, for {int(counts[-1])} of {draws} noisy copies of "
                    f"input {owner.name}."
                )
            self._on_votes(draws)
            if owner.counted == owner.target:
                if not self._collected:
                    self._collected_since = time.monotonic()
                self._collected.append(owner)
                self._changed.notify_all()

    def settle(self) -> None:
        """After a failed run, finish the collected inputs that need no more votes."""
        with self._changed:
            collected, self._collected = self._collected, []
        self._ask(collected)

    def _ask(self, owners: list[Input]) -> None:
        """Ask how many votes each input needs next, and finish those that need no more."""
        if not owners:
            return
        with self._asking:
            for owner in owners:
                if owner.counted > 0:
                    owner.looks.append(owner.counts[:-1].copy())
            names = np.array([owner.name for owner in owners], dtype=np.intp)
            counts = np.array([owner.counts[:-1] for owner in owners])
            targets = np.asarray(self._schedule(names, counts))
            for owner, target in zip(owners, targets.tolist(), strict=True):
                if target <= owner.target:
                    self._on_finished(owner)
        with self._changed:
            for owner, target in zip(owners, targets.tolist(), strict=True):
                if target <= owner.target:
                    self._in_flight -= 1
                else:
                    owner.target = int(target)
                    self._ready.append(owner)
            self._changed.notify_all()
