"""PyTorch's devices, memory and random numbers, each named once."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_GLOBAL_GENERATOR = threading.RLock()


def resolve_devices(device: Any, *, training: bool = False) -> list[torch.device]:
    """Turn "auto", one device or a list of them into devices that exist here.

    "auto" is CUDA where there is a device, else the CPU; for training, Apple's GPU comes before the
    CPU. Votes use Apple's GPU only where it is named.
    """
    if isinstance(device, list | tuple):
        if not device:
            raise ValueError("device must name at least one device; got an empty list.")
        return [found for one in device for found in resolve_devices(one, training=training)]
    if isinstance(device, str) and device == "auto":
        if torch.cuda.is_available():
            return [torch.device("cuda")]
        apple = training and torch.backends.mps.is_available()
        return [torch.device("mps" if apple else "cpu")]
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            "device must be 'auto', 'cpu', 'cuda', 'cuda:1', 'mps', a torch.device or a list of "
            f"these; got {device!r}."
        ) from error
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device={device!r} asks for a CUDA device, and torch sees "
            f"{torch.cuda.device_count()} of them here."
        )
    if found.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"device={device!r} is not available here.")
    return [found]


def device_here(device: Any) -> Any:
    """Return ``device``, or "auto" with a warning if it names a GPU that is not in this machine.

    For estimators that were fitted on another machine.
    """
    for one in device if isinstance(device, list | tuple) else [device]:
        try:
            resolve_devices(one)
        except ValueError:
            if str(one).partition(":")[0] in ("cuda", "mps"):
                warnings.warn(
                    f"this estimator was fitted with device={device!r}, which is not available "
                    "here; it continues with device='auto'.",
                    stacklevel=2,
                )
                return "auto"
    return device


def keep_freed_memory() -> None:
    """Let glibc reuse the memory of one forward pass for the next.

    It otherwise returns what is freed to the system at once and faults it in again, which costs a
    small net up to half of its speed. Its limits grow when a large block is freed; no page of this
    one is ever touched.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generator for the block, and leave it as it was before.

    Initialisation, shuffling and dropout draw from it. A process has only one, so threads that
    train wait for each other: otherwise the same seed would not give the same model.
    """
    devices = [device] if device.type == "cuda" else []
    with _GLOBAL_GENERATOR, torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
