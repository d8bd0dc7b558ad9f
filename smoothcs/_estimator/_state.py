"""What skops needs to write a fitted estimator: torch's objects in terms of arrays and lists.

skops stores an object as its class and its attributes, or as a class and the arguments to call it
with. It knows neither tensors nor dicts with tuples for keys. pickle and copy know both, and get
the objects as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from smoothcs._torch import device_here


def portable_state(state: dict[str, Any]) -> dict[str, Any]:
    """Return an estimator's state in which modules and dicts are marked as portable."""
    marked: dict[int, Portable] = {}  # one mark for one object, so that copies stay one object
    return {
        name: marked.setdefault(id(value), Portable(value))
        if isinstance(value, (nn.Module, dict))
        else value
        for name, value in state.items()
    }


def restored_state(state: dict[str, Any]) -> dict[str, Any]:
    """Undo :func:`portable_state`; a fitted estimator keeps only a device that exists here."""
    state = {
        name: value.value if isinstance(value, Portable) else value for name, value in state.items()
    }
    if "module_" in state and "device" in state:
        state["device"] = device_here(state["device"])
    return state


class Portable:
    """An object that pickle and copy take as it is, and skops in terms of arrays and lists."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return Portable, (self.value,)

    # skops asks for __reduce__ only, pickle and copy for __reduce_ex__ only.
    def __reduce__(self) -> tuple[Any, ...]:
        return Portable, (_packed(self.value, {}),)


class PackedTensor:
    """A tensor as bytes; calling it with them gives the tensor back, on the CPU.

    Parameters
    ----------
    data : ndarray of uint8
        The entries in row-major order, as bytes: NumPy lacks some of torch's dtypes.
    dtype : str
        Name of torch's dtype.
    shape : list of int
    requires_grad, is_parameter : bool
    """

    _args: tuple[Any, ...]

    def __new__(  # type: ignore[misc]
        cls, data: np.ndarray, dtype: str, shape: list[int], requires_grad: bool, is_parameter: bool
    ) -> torch.Tensor:
        torch_dtype = getattr(torch, dtype, None)
        if not isinstance(torch_dtype, torch.dtype):
            raise ValueError(f"the file has a tensor of the unknown dtype {dtype!r}.")
        data = np.asarray(data)
        size = int(np.prod(shape, dtype=np.int64)) * torch_dtype.itemsize
        if data.dtype != np.uint8 or data.shape != (size,):
            raise ValueError(
                f"the file has a tensor of shape {tuple(shape)} and dtype {dtype}, which needs "
                f"{size} bytes, and an array of {data.dtype} and shape {data.shape} for it."
            )
        # A copy, since torch's tensors are writeable and an array that was read may not be.
        tensor = torch.from_numpy(data.copy()).view(torch_dtype).reshape(tuple(shape))
        if is_parameter:
            return nn.Parameter(tensor, requires_grad=bool(requires_grad))
        return tensor.requires_grad_(bool(requires_grad))

    def __reduce__(self) -> tuple[Any, ...]:
        return PackedTensor, self._args


class PackedDict:
    """A dict whose keys are not all strings; calling it with its items gives the dict back."""

    _items: list[Any]

    def __new__(cls, items: list[Any]) -> dict[Any, Any]:  # type: ignore[misc]
        return dict(items)

    def __reduce__(self) -> tuple[Any, ...]:
        return PackedDict, (self._items,)


def _packed(value: Any, memo: dict[int, tuple[Any, Any]]) -> Any:
    """Return ``value`` with the tensors and dicts inside it packed; shared ones stay shared."""
    if id(value) in memo:
        return memo[id(value)][1]
    result: Any = value
    if isinstance(value, torch.Tensor):
        flat = value.detach().cpu().contiguous().reshape(-1)
        result = object.__new__(PackedTensor)
        # With the original: an id may be used again once its object is gone.
        memo[id(value)] = value, result
        result._args = (
            flat.view(torch.uint8).numpy(),
            str(value.dtype).removeprefix("torch."),
            list(value.shape),
            value.requires_grad,
            isinstance(value, nn.Parameter),
        )
    elif isinstance(value, nn.Module):
        # A stand-in that bears the name of the class; modules that cannot be saved say so in
        # __getstate__.
        kind = type(value)
        result = type(kind.__name__, (), {"__module__": kind.__module__})()
        memo[id(value)] = value, result
        state = value.__getstate__() if hasattr(value, "__getstate__") else value.__dict__
        result.__dict__.update({name: _packed(entry, memo) for name, entry in state.items()})
    elif isinstance(value, dict) and all(isinstance(key, str) for key in value):
        result = type(value)((key, _packed(entry, memo)) for key, entry in value.items())
    elif type(value) is dict:
        result = object.__new__(PackedDict)
        result._items = [(key, _packed(entry, memo)) for key, entry in value.items()]
    elif type(value) in (list, tuple):
        result = type(value)(_packed(entry, memo) for entry in value)
    return result


@contextmanager
def unchanged_on_error(estimator: Any) -> Iterator[None]:
    """Give an estimator back its attributes if the block raises or is interrupted."""
    before = dict(estimator.__dict__)
    try:
        yield
    except BaseException:
        estimator.__dict__.clear()
        estimator.__dict__.update(before)
        raise
