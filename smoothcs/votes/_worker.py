"""The sampling loop: leases of draws are packed into batches, run and counted.

A `Worker` (one per CPU core, or one per GPU) takes leases from the `Scheduler`, packs them into
batches of one fixed shape, runs these and reports a lease when all its draws are counted. Several
inputs share a batch, and only the last batch of a run is padded.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

import torch

from smoothcs.votes._forward import Forward, is_out_of_memory
from smoothcs.votes._scheduler import Input, Lease, Scheduler
from smoothcs.votes.noise import NoiseLaw, block_draws


@dataclass(eq=False)
class Piece:
    """A part of a lease that lies in one batch."""

    lease: Lease
    first: int
    stop: int


class Worker:
    """Runs leases on one device, in batches of one shape.

    Parameters
    ----------
    scheduler : Scheduler
        Where leases come from.
    forward : Forward
        The classifier; ``replicate`` it for every thread.
    batch_size : int
        Rows of a batch; halved when memory does not suffice.
    noise : NoiseLaw
        The law of the noise.
    """

    def __init__(
        self, scheduler: Scheduler, forward: Forward, batch_size: int, noise: NoiseLaw
    ) -> None:
        self._scheduler = scheduler
        self._forward = forward
        self._sigma = noise.sigma
        self._size = math.prod(forward.input_shape)
        device = forward.device
        # Noise is drawn on CUDA devices themselves, for all others on the CPU.
        on_cuda = device.type == "cuda"
        self._noise_device = device if on_cuda else torch.device("cpu")
        self._generator = torch.Generator(device) if on_cuda else None
        self._scale: torch.Tensor | None = None
        if noise.scale is not None:
            self._scale = torch.tensor(noise.scale, device=self._noise_device)
        self._block_draws = block_draws(self._size, self._noise_device.type, scheduler.purpose)
        self._block: torch.Tensor | None = None
        self._block_of: tuple[Input, int] | None = None
        self._batch_size = batch_size
        self._batch: torch.Tensor | None = None
        self._lease: Lease | None = None
        self._fetched: deque[tuple[Lease, torch.Tensor, Any]] = deque()

    def run(self) -> None:
        """Work until nothing is left to do."""
        while not self._scheduler.stopped:
            pieces = self._next_pieces()
            if pieces:
                self._count(pieces)
                self._collect([p.lease for p in pieces if p.stop == p.lease.stop])
            self._report(wait=not pieces)
            if not pieces and self._lease is None:
                self._lease = self._scheduler.lease(
                    self._lease_length, self._noise_device, wait=True
                )
                if self._lease is None:
                    return

    @property
    def _lease_length(self) -> int:
        # Reading counts back waits for a GPU, so leases are longer there.
        return self._batch_size * (16 if self._forward.device.type == "cuda" else 1)

    def _next_pieces(self) -> list[Piece]:
        """Return draws for one batch; less than a batch only if no more are to be had now."""
        pieces: list[Piece] = []
        room = self._batch_size
        while room > 0:
            if self._lease is None:
                self._lease = self._scheduler.lease(
                    self._lease_length, self._noise_device, wait=False
                )
                if self._lease is None:
                    break
            lease = self._lease
            first, lease.taken = lease.taken, min(lease.taken + room, lease.stop)
            pieces.append(Piece(lease, first, lease.taken))
            room -= lease.taken - first
            if lease.taken == lease.stop:
                self._lease = None
        return pieces

    def _count(self, pieces: list[Piece]) -> None:
        """Count the votes of the pieces, in smaller and smaller batches while memory runs out."""
        if sum(p.stop - p.first for p in pieces) > self._batch_size:
            for half in _halves(pieces):
                self._count(half)
            return
        labels = None
        try:
            labels = self._forward.labels(self._fill(pieces))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or self._batch_size == 1:
                raise
        if labels is None:  # Out of the except clause, whose traceback holds on to memory.
            self._shrink()
            self._count(pieces)
            return
        row = 0
        for piece in pieces:
            part = labels[row : row + piece.stop - piece.first]
            piece.lease.counts.scatter_add_(
                0, part.to(piece.lease.counts.device), torch.ones_like(part)
            )
            row += len(part)

    def _shrink(self) -> None:
        self._batch_size = -(-self._batch_size // 2)
        self._batch = None
        if self._forward.device.type == "cuda":
            torch.cuda.empty_cache()

    def _fill(self, pieces: list[Piece]) -> torch.Tensor:
        """Return the batch of the noisy inputs."""
        if self._batch is None:
            self._batch = torch.zeros(
                (self._batch_size, self._size), dtype=torch.float32, device=self._noise_device
            )
        row = 0
        for piece in pieces:
            draw = piece.first
            while draw < piece.stop:
                index, offset = divmod(draw, self._block_draws)
                rows = min(piece.stop - draw, self._block_draws - offset)
                noise = self._noise(piece.lease.owner, index)[offset : offset + rows]
                part = self._batch[row : row + rows]
                if self._scale is None:
                    torch.add(noise, piece.lease.x, out=part)
                else:
                    # Where the scale is 0 this is x itself, to the last bit.
                    torch.mul(noise, self._scale, out=part)
                    part += piece.lease.x
                draw += rows
                row += rows
        # Always the full shape: compiled code is specialised to it, and the last bit of logits may
        # depend on it.
        self._batch[row:] = 0.0
        return self._batch.to(self._forward.device)

    def _noise(self, owner: Input, index: int) -> torch.Tensor:
        if self._block is None or self._block_of != (owner, index):
            self._block_of = None  # not valid if drawing is interrupted
            self._block = owner.stream.block(
                index, self._sigma, generator=self._generator, out=self._block
            )
            self._block_of = (owner, index)
        return self._block

    def _collect(self, leases: list[Lease]) -> None:
        """Start to bring the counts of finished leases to the host."""
        for lease in leases:
            if lease.counts.device.type == "cuda":
                counts = torch.empty(lease.counts.shape, dtype=torch.int64, pin_memory=True)
                counts.copy_(lease.counts, non_blocking=True)
                event = torch.cuda.Event()
                event.record(torch.cuda.current_stream(lease.counts.device))
                self._fetched.append((lease, counts, event))
            else:
                self._fetched.append((lease, lease.counts, None))

    def _report(self, *, wait: bool) -> None:
        """Report leases whose counts have arrived; with ``wait``, all of them."""
        while self._fetched:
            lease, counts, event = self._fetched[0]
            if event is not None and not event.query():
                if not wait:
                    return
                event.synchronize()
            self._fetched.popleft()
            self._scheduler.report(lease.owner, lease.stop - lease.first, counts.numpy())


def _halves(pieces: list[Piece]) -> list[list[Piece]]:
    """Split a batch into two of about the same number of draws."""
    half = -(-sum(p.stop - p.first for p in pieces) // 2)
    left: list[Piece] = []
    right: list[Piece] = []
    for piece in pieces:
        cut = min(piece.stop, piece.first + half)
        if cut > piece.first:
            left.append(Piece(piece.lease, piece.first, cut))
        if cut < piece.stop:
            right.append(Piece(piece.lease, cut, piece.stop))
        half -= cut - piece.first
    return [left, right]


def run_workers(
    scheduler: Scheduler, forwards: list[Forward], batch_size: int, noise: NoiseLaw
) -> None:
    """Run one worker per forward until all inputs are finished.

    Several workers run in threads; a single one in the calling thread.
    """
    try:
        _run_all(scheduler, forwards, batch_size, noise)
    except BaseException:
        scheduler.settle()  # whose votes are drawn needs no drawing again
        raise


def _run_all(
    scheduler: Scheduler, forwards: list[Forward], batch_size: int, noise: NoiseLaw
) -> None:
    if len(forwards) == 1:
        Worker(scheduler, forwards[0], batch_size, noise).run()
        return
    failures: list[BaseException] = []

    def work(forward: Forward) -> None:
        try:
            torch.get_num_threads()  # a thread's first question undoes an earlier setting
            torch.set_num_threads(1)  # PyTorch keeps a number for every thread
            Worker(scheduler, forward, batch_size, noise).run()
        except BaseException as error:
            failures.append(error)
            scheduler.stop()

    pool = [threading.Thread(target=work, args=(f,), daemon=True) for f in forwards]
    try:
        for thread in pool:
            thread.start()
        for thread in pool:
            thread.join()
    finally:
        # After an interruption, wait for the batches under way.
        scheduler.stop()
        for thread in pool:
            if thread.is_alive():
                thread.join()
    if failures:
        raise failures[0]
