"""Which draws come next: inputs in flight, leases of draws, and when an input is finished."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from smoothcs.votes._source import Source
from smoothcs.votes.noise import NoiseStream, block_draws, content_digest

Schedule = Callable[[np.ndarray, np.ndarray], np.ndarray]


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
        ``schedule(names, counts) -> numbers``: the cumulative number of votes that each of these
        inputs needs next; one not above the current number finishes the input. Never called by
        two threads at once.
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
        self._purpose = purpose
        self._n_classes = n_classes
        self._on_finished = on_finished
        self._on_votes = on_votes
        self._waiting = iter(range(len(source)))
        self._ready: deque[Input] = deque()
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
        with self._changed:
            while not self.stopped:
                while not self._ready and self._admit():
                    pass
                if self._ready:
                    return self._cut(self._ready[0], length, device)
                if self._in_flight == 0 or not wait:
                    return None
                self._changed.wait()
            return None

    def _cut(self, owner: Input, length: int, device: torch.device) -> Lease:
        # Leases end where blocks end, so that two workers seldom draw the same block.
        block = block_draws(owner.stream.size, device.type)
        first = owner.issued
        stop = min(owner.target, -(-(first + length) // block) * block)
        owner.issued = stop
        if stop == owner.target:
            self._ready.popleft()
        counts = torch.zeros(self._n_classes + 1, dtype=torch.int64, device=device)
        return Lease(owner, first, stop, owner.x.to(device), counts)

    def _admit(self) -> bool:
        position = next(self._waiting, None)
        if position is None:
            return False
        x = self._source.get(position)
        digest = content_digest(x)
        owner = Input(
            position=position,
            name=int(self._source.names[position]),
            x=torch.from_numpy(x.copy()).view(-1),
            digest=digest,
            stream=NoiseStream(self._key, digest, self._purpose, x.shape),
            counts=np.zeros(self._n_classes + 1, dtype=np.int64),
        )
        self._in_flight += 1
        self._advance(owner)
        return True

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
            reached = owner.counted == owner.target
        if reached:
            # Outside the lock of the other workers: asking may take a statistical test.
            self._advance(owner)

    def _advance(self, owner: Input) -> None:
        with self._asking:
            counts = owner.counts[:-1].copy()
            if owner.counted > 0:
                owner.looks.append(counts)
            target = int(self._schedule(np.array([owner.name]), counts[None].copy())[0])
            finished = target <= owner.target
            if finished:
                self._on_finished(owner)
        with self._changed:
            if finished:
                self._in_flight -= 1
            else:
                owner.target = target
                self._ready.append(owner)
            self._changed.notify_all()
