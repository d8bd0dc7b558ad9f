"""One copy of a classifier, ready to label noisy batches; the caller's own is never changed."""

from __future__ import annotations

import copy
import math
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

PRECISIONS = ("float32", "bfloat16", "float16")

# By how much of the spread of its logits, and by how many last bits of its largest one, two runs
# of a classifier may differ that use other batch shapes, kernels, threads or machines.
_OF_SPREAD = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
_LAST_BITS = 4

# About what filling and counting cost a batch of any size.
_SECONDS_BETWEEN_BATCHES = 3e-4

# Batches that are larger gain nothing on a CPU, and would make a run's memory depend on whether it
# is long enough for measuring the batch size: 32 MiB.
_MOST_FLOATS_ON_CPU = 2**23

# Nothing is known of a callable's thread safety, so two threads never run the same one at once.
_locks: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
_lock_of_others = threading.RLock()


def _lock_of(classifier: Any) -> Any:
    """Return the lock of a callable; one for all that cannot be a weak key."""
    with _lock_of_others:
        try:
            return _locks.setdefault(classifier, threading.RLock())
        except TypeError:
            return _lock_of_others


def rounding(logits: torch.Tensor, precision: str) -> torch.Tensor:
    """Return by how much rounding may change a logit of this batch.

    The scale is that of the whole batch: a row of small logits may come of large numbers that
    cancel.
    """
    spread = (logits.amax(dim=1) - logits.amin(dim=1)).max()
    last_bit = torch.finfo(getattr(torch, precision)).eps * logits.abs().max()
    return _OF_SPREAD[precision] * spread + _LAST_BITS * last_bit


def _refuse_batch_statistics(module: nn.Module) -> None:
    """Refuse normalisation by statistics of the batch, now or whenever a layer is run."""
    for name, layer in module.named_modules():
        if not isinstance(layer, nn.modules.batchnorm._BatchNorm):
            continue
        what = f"layer {name!r} ({type(layer).__name__}) of the classifier normalises by the batch"
        why = "so that the label of an input would depend on the others in its batch"
        if layer.running_mean is None and layer.running_var is None:
            raise ValueError(
                f"{what} (it has no running statistics), {why}; use track_running_stats=True."
            )

        def refuse(layer: nn.Module, args: Any, what: str = what, why: str = why) -> None:
            if layer.training:
                raise ValueError(f"{what} (the forward pass puts it in train mode), {why}.")

        layer.register_forward_pre_hook(refuse)


def copy_module(
    module: nn.Module, device: torch.device | None = None, dtype: torch.dtype | None = None
) -> nn.Module:
    """Return a copy in eval mode; weights that need no change are shared with ``module``.

    What a module keeps on itself during a forward pass is copied, so that two copies may run in
    two threads.
    """
    memo: dict[int, Any] = {}
    for part in module.modules():
        for parameter in part._parameters.values():
            if parameter is not None:
                memo[id(parameter)] = nn.Parameter(parameter.detach(), requires_grad=False)
        # weight_norm and the like keep tensors with a history as attributes; deepcopy refuses them.
        for value in vars(part).values():
            if isinstance(value, torch.Tensor):
                memo[id(value)] = value.detach().clone()
    duplicate = copy.deepcopy(module, memo).eval()
    return duplicate.to(device=device, dtype=dtype)


class Forward:
    """A classifier as a function from a float32 batch to labels.

    Parameters
    ----------
    classifier : nn.Module or callable
        A module receives tensors on ``device``; any other callable NumPy float32 arrays.
    input_shape : tuple of int
        Shape of one input.
    device : torch.device
        Where batches lie.
    precision : {"float32", "bfloat16", "float16"}
        What a module computes in.
    n_classes : int or None
        Number of classes; if None, the number of logits of the first batch.

    Attributes
    ----------
    n_classes : int or None
        Known after the first batch.
    observe : callable or None
        Is shown the output (logits or labels) for every batch.
    """

    def __init__(
        self,
        classifier: nn.Module | Callable[[np.ndarray], Any],
        input_shape: tuple[int, ...],
        *,
        device: torch.device,
        precision: str = "float32",
        n_classes: int | None = None,
    ) -> None:
        self.input_shape = input_shape
        self.device = device
        self.precision = precision
        self.n_classes = n_classes
        self.is_module = isinstance(classifier, nn.Module)
        self._dtype: torch.dtype = getattr(torch, precision)
        self._grad_mode: Callable[[], Any] = torch.inference_mode
        self._format = torch.contiguous_format
        self._is_compiled = False
        self._run: Any = classifier
        self._lock = None if self.is_module else _lock_of(classifier)
        self.observe: Callable[[torch.Tensor], object] | None = None
        if isinstance(classifier, nn.Module):
            self._run = copy_module(classifier, device, self._dtype)
            _refuse_batch_statistics(self._run)
            if len(input_shape) == 3 and (device.type == "cpu" or precision != "float32"):
                self._format = torch.channels_last
                self._run = self._run.to(memory_format=torch.channels_last)

    def probe(self, x: torch.Tensor) -> None:
        """Run one input, to learn the number of classes and settle the memory layout.

        A module whose answer to an input depends on the others in its batch is refused.
        """
        batch = x.repeat(2, 1)
        if self._format is torch.channels_last:
            try:
                output = self._output(batch)
            except RuntimeError:
                # Typically x.view(len(x), -1) in the module, which only contiguous tensors allow.
                self._format = torch.contiguous_format
                self._run = self._run.to(memory_format=torch.contiguous_format)
        if self._format is torch.contiguous_format:
            output = self._output(batch)
        self._to_labels(output, 2)
        if not self.is_module or self._agree(output, self._output(torch.cat([x, x + 1.0]))):
            return
        if self._agree(output, self._output(batch)):  # otherwise it is random, which votes may be
            raise ValueError(
                "the classifier's answer to an input depends on the others in its batch, so that "
                "its votes are not those of one function of the input."
            )

    def _agree(self, one: torch.Tensor, other: torch.Tensor) -> bool:
        """Whether two outputs agree about their first row."""
        if one.ndim == 1:
            return bool(one[0] == other[0])
        one, other = one.float(), other.float()
        return bool(((one[0] - other[0]).abs() <= rounding(one, self.precision)).all())

    def compile(self, batch_size: int) -> None:
        """Compile the module for batches of one size; other sizes are compiled when they come."""
        from torch._inductor import config

        self._grad_mode = torch.no_grad  # which freezing needs
        self._is_compiled = True
        self._run = torch.compile(_as_function(self._run), dynamic=False)
        # On the CPU the weights become part of the code: twice as fast for a ResNet in bfloat16.
        # Given as an option of torch.compile, freezing has only a part of this effect.
        with config.patch(freezing=self.device.type == "cpu"):
            self.labels(torch.zeros((batch_size, math.prod(self.input_shape)), device=self.device))

    def best_batch_size(self, start: int) -> int:
        """Return the fastest of a few batch sizes, or a smaller one that is as fast within 3 %."""
        seconds: dict[int, float] = {}
        size = math.prod(self.input_shape)
        most = max(start, _MOST_FLOATS_ON_CPU // size) if self.device.type == "cpu" else 4 * start
        for rows in (start // 4, start // 2, start, 2 * start, 4 * start):
            if rows < 1 or rows > most:
                continue
            try:
                batch = torch.zeros((rows, size), device=self.device)
                fastest = min(self._time(batch) for _ in range(4))
                seconds[rows] = (fastest + _SECONDS_BETWEEN_BATCHES) / rows
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                break
        if not seconds:
            return 1
        return min(rows for rows, s in seconds.items() if s <= 1.03 * min(seconds.values()))

    def _time(self, batch: torch.Tensor) -> float:
        begin = time.perf_counter()
        self.labels(batch)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter() - begin

    def replicate(self) -> Forward:
        """Return a copy for another thread; the weights are shared."""
        twin = copy.copy(self)
        if self.is_module and not self._is_compiled:
            twin._run = copy_module(self._run)
        return twin

    def labels(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the label of every row.

        Parameters
        ----------
        batch : torch.Tensor
            float32, (b, size), on the device; a module may overwrite it.

        Returns
        -------
        torch.Tensor
            int64, (b,), on the device; the value ``n_classes`` marks a row without a valid label
            (logits that are not finite, a label out of range).
        """
        output = self._output(batch)
        with self._grad_mode():
            labels = self._to_labels(output, len(batch))
            if self.observe is not None:
                self.observe(output)
        return labels

    def _output(self, batch: torch.Tensor) -> Any:
        """Return what the classifier returns; an ambient autocast would make it another one."""
        x = batch.view(-1, *self.input_shape)
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            if self.is_module:
                with self._grad_mode():
                    return self._run(x.to(dtype=self._dtype, memory_format=self._format))
            assert self._lock is not None  # of every callable
            with self._lock:
                return _as_tensor(self._run(x.numpy().copy()))

    def _to_labels(self, output: Any, rows: int) -> torch.Tensor:
        """Check the classifier's output and return labels, ``n_classes`` for an invalid row."""
        if not isinstance(output, torch.Tensor):
            raise TypeError(
                "the classifier must return one tensor or array: logits of shape (b, m) or integer "
                f"labels of shape (b,); got {type(output).__name__}."
            )
        if output.ndim == 2 and len(output) == rows:
            n_classes = self._check_width(output.shape[1])
            valid = torch.isfinite(output).all(dim=1)
            labels = output.argmax(dim=1)
        elif output.ndim == 1 and len(output) == rows:
            n_classes = self._check_labels(output)
            labels = output.long()
            valid = (labels >= 0) & (labels < n_classes)
        else:
            raise ValueError(
                f"the classifier must return logits of shape ({rows}, m) or integer labels of "
                f"shape ({rows},) for a batch of {rows} inputs; got shape {tuple(output.shape)}."
            )
        return torch.where(valid, labels, n_classes)

    def _check_width(self, width: int) -> int:
        if self.n_classes is None:
            if width < 2:
                raise ValueError(
                    "the classifier must return one logit for each of at least 2 classes; got "
                    f"logits of shape (b, {width})."
                )
            self.n_classes = width
        if width != self.n_classes:
            raise ValueError(
                f"the classifier must return logits for {self.n_classes} classes; got logits of "
                f"shape (b, {width})."
            )
        return width

    def _check_labels(self, labels: torch.Tensor) -> int:
        if self.n_classes is None:
            raise ValueError(
                "n_classes must be given for a classifier that returns labels instead of logits."
            )
        if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
            raise TypeError(
                f"labels returned by the classifier must be integers in 0..{self.n_classes - 1}; "
                f"got dtype {str(labels.dtype).removeprefix('torch.')}."
            )
        return self.n_classes


def _as_function(module: nn.Module) -> Callable[[torch.Tensor], Any]:
    """Return a function that calls the module and shares its code object with no other.

    Dynamo keeps what it compiled by code object, which modules of one class share, and gives up on
    the ninth entry.
    """

    def forward(x: torch.Tensor) -> Any:
        return module(x)

    forward.__code__ = forward.__code__.replace()
    return forward


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that a smaller batch may succeed."""
    text = str(error).lower()
    return (
        isinstance(error, MemoryError | torch.cuda.OutOfMemoryError)
        or "out of memory" in text
        or "can't allocate memory" in text
    )


def _as_tensor(output: Any) -> Any:
    """Return what a plain callable gave as a CPU tensor, or unchanged if that is not possible."""
    if isinstance(output, torch.Tensor):
        return output.detach().cpu()
    if isinstance(output, tuple | dict) or output is None:
        return output
    array = np.asarray(output)
    if array.dtype.kind not in "fiub":
        raise TypeError(
            "the classifier must return logits or integer labels; got an array of dtype "
            f"{array.dtype}."
        )
    if array.dtype.kind == "u":
        array = array.astype(np.int64)
    return torch.from_numpy(np.array(array))
