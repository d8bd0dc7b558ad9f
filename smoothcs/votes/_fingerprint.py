"""What a classifier did, by which a resumed run knows it again.

Weights, code, closures, globals, environment: a classifier can change in more ways than can be
listed, so a resume file keeps what it *did*. When votes are continued,

- its outputs on a few keyed noisy copies of the first input are compared with those in the file;
  they may differ by rounding, since batch shape, threads and machine may be others;
- the finished inputs with the closest votes are voted again from their keyed noise. The same copies
  have the same labels, but for those whose two largest logits are so close that rounding decides
  between them. These are counted, and the votes may differ by no more; labels know no rounding, so
  that the votes of a classifier that returns labels must be equal.

A classifier that gives two answers to one input is refused at once.

What this cannot see: a change that leaves both the outputs on those copies and the votes of those
inputs as they were, because it concerns other inputs only or is smaller than rounding. Whoever may
have changed a classifier in such a way must begin a new file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from smoothcs.votes._forward import Forward, rounding
from smoothcs.votes._scheduler import Input, Scheduler
from smoothcs.votes._source import Source
from smoothcs.votes._worker import run_workers
from smoothcs.votes.noise import NoiseLaw

PROBES = 8
VOTED_AGAIN = 3
ENOUGH = 1000  # votes of a schedule with several looks that are drawn again


def votes_of_one(
    forward: Forward,
    x: np.ndarray,
    n: int,
    *,
    noise: NoiseLaw,
    key: bytes,
    purpose: str,
    batch_size: int,
    observe: Callable[[torch.Tensor], object],
    row: int = 0,
) -> np.ndarray:
    """Return the votes of one input; ``observe`` is shown the outputs, those of padding last."""
    assert forward.n_classes is not None
    finished: list[Input] = []
    scheduler = Scheduler(
        Source(x[None], names=np.array([row])),
        lambda index, counts: np.full(len(index), n),
        key,
        purpose,
        forward.n_classes,
        finished.append,
        lambda votes: None,
    )
    forward = forward.replicate()
    forward.observe = observe
    run_workers(scheduler, [forward], batch_size, noise)
    return finished[0].all_looks()[-1]


class NearTies:
    """Counts the rows whose label rounding may change, among the first ``n``."""

    def __init__(self, n: int, precision: str) -> None:
        self.count = 0
        self._left, self._precision = n, precision

    def __call__(self, output: torch.Tensor) -> None:
        """Count in one batch of outputs."""
        rows = output[: self._left]
        self._left -= len(rows)
        if rows.ndim == 2 and len(rows) > 0:
            logits = rows.cpu().double()
            first, second = logits.topk(2, dim=1).values.T
            self.count += int((first - second <= 2 * rounding(logits, self._precision)).sum())


def agree(there: Any, here: Any, precision: str) -> bool:
    """Whether outputs that a file holds are those of this classifier, up to rounding."""
    try:
        known = torch.tensor(there, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return False
    found = torch.tensor(here, dtype=torch.float64)
    if known.shape != found.shape:
        return False
    if found.ndim == 1:
        return bool((known == found).all())
    return bool(((known - found).abs() <= rounding(found, precision)).all())
