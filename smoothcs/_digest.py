"""A digest of what a classifier computes.

Votes are continued, and compiled code is used again, only for a classifier with an equal one. A
digest that overlooks something would let the votes of one classifier certify another, so whatever
cannot be looked into is refused.
"""

from __future__ import annotations

import copyreg
import functools
import hashlib
import re
import types
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

_PLAIN = (str, bytes, int, float, complex, bool, type(None), torch.dtype, torch.device, torch.Size)
# Of a module's own attributes these say nothing of its answers in eval mode.
_IRRELEVANT = {"training", "_is_full_backward_hook", "_non_persistent_buffers_set"}
_BACKWARD = re.compile("_backward|_state_dict|_hooks_with_kwargs|_hooks_always_called")
# Classes of these packages are known by name; of others the code counts, which users change.
_BY_NAME = {"torch", "builtins", "numpy"}


def classifier_digest(classifier: Any) -> str:
    """Return a digest of all that a classifier's answers may depend on.

    Of a module: its structure, weights, buffers, attributes, forward hooks, and the code of its
    class unless that is PyTorch's. Of a function: its code, defaults, closure and the globals that
    it names; functions of other files by name. Of any other object: what it would pickle, and the
    code of its class.

    Raises
    ------
    TypeError
        If some part can be compared in no way; the message names it.
    """
    hasher = hashlib.blake2b(digest_size=16)
    _Digest(hasher).add(classifier, type(classifier).__qualname__)
    return hasher.hexdigest()


class _Digest:
    """Feeds a hash with values; containers are entered, and nothing is entered twice."""

    def __init__(self, hasher: Any) -> None:
        self._hasher = hasher
        self._seen: dict[int, int] = {}
        self._classes: set[type] = set()
        self._alive: list[Any] = []  # an id may not be used again while it stands for a value

    def add(self, value: Any, where: str) -> None:
        """Add one value; ``where`` names it in errors."""
        kind = type(value)
        self._write(f"{kind.__module__}.{kind.__qualname__}")
        if isinstance(value, _PLAIN):
            self._write(repr(value))
            return
        if id(value) in self._seen:
            self._write(f"seen {self._seen[id(value)]}")
            return
        self._seen[id(value)] = len(self._seen)
        self._alive.append(value)
        self._add_class(kind)
        if isinstance(value, torch.Tensor):
            self._add_tensor(value, where)
        elif isinstance(value, torch.jit.ScriptModule):
            self._write(value.save_to_buffer())
        elif isinstance(value, nn.Module):
            self._add_module(value, where)
        elif isinstance(value, types.ModuleType | type):
            self._write(getattr(value, "__qualname__", value.__name__))
        elif isinstance(value, types.BuiltinFunctionType):
            self._write(f"{value.__module__}.{value.__qualname__}")
            self.add(value.__self__, where)
        elif isinstance(value, types.FunctionType):
            self._add_function(value, where)
        elif isinstance(value, types.MethodType):
            self.add(value.__func__, where)
            self.add(value.__self__, where)
        elif isinstance(value, functools.partial):
            self.add([value.func, value.args, value.keywords], where)
        elif kind in (dict, OrderedDict):
            for name, item in value.items():
                self.add(name, where)
                self.add(item, f"{where}[{name!r}]")
        elif kind in (list, tuple):
            for i, item in enumerate(value):
                self.add(item, f"{where}[{i}]")
        elif kind in (set, frozenset):  # the order differs between processes
            self._write(" ".join(sorted(classifier_digest(item) for item in value)))
        elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
            self._write(f"{value.dtype.descr} {value.shape}")
            self._write(value.tobytes())
        else:
            self._add_object(value, where)

    def _write(self, part: str | bytes) -> None:
        data = part.encode() if isinstance(part, str) else part
        self._hasher.update(f"{len(data)}:".encode() + data)

    def _add_class(self, kind: type) -> None:
        for base in kind.__mro__:
            if base in self._classes:
                continue
            self._classes.add(base)
            if base.__module__.partition(".")[0] not in _BY_NAME:
                for name, item in sorted(vars(base).items()):
                    self._write(name)
                    self._add_member(item)

    def _add_member(self, item: Any) -> None:
        """Add the code of a method, and numbers and texts that it may read; nothing is refused."""
        item = getattr(item, "__func__", getattr(item, "fget", item))
        if isinstance(item, types.FunctionType):
            self._add_code(item.__code__)
            for name in sorted(_names(item.__code__)):
                if isinstance(item.__globals__.get(name), _PLAIN):
                    self._write(f"{name} {item.__globals__.get(name)!r}")
        elif isinstance(item, _PLAIN):
            self._write(repr(item))

    def _add_tensor(self, value: torch.Tensor, where: str) -> None:
        if value.layout is not torch.strided or value.is_quantized:
            self._add_object(value, where)
            return
        array = value.detach().cpu().contiguous()
        self._write(f"{array.dtype} {tuple(array.shape)}")
        self._write(array.view(-1).view(torch.uint8).numpy().tobytes())

    def _add_module(self, value: nn.Module, where: str) -> None:
        # torch.compile wraps a module in one that computes the same.
        value = getattr(value, "_orig_mod", value)
        for name, item in vars(value).items():
            if name in _IRRELEVANT or _BACKWARD.search(name):
                continue
            self._write(name)
            # The keys of hooks count up with every hook of a process.
            item = list(item.values()) if name.endswith("_hooks") else item
            self.add(item, f"{where}.{name}")

    def _add_function(self, function: types.FunctionType, where: str) -> None:
        self._write(f"{function.__module__}.{function.__qualname__}")
        self._add_code(function.__code__)
        self.add([function.__defaults__, function.__kwdefaults__], where)
        for name, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=True
        ):
            try:
                self.add(cell.cell_contents, f"{where}, its {name!r}")
            except ValueError:  # not assigned yet
                self._write("empty")
        for name in sorted(_names(function.__code__)):
            if name not in function.__globals__:
                continue
            item = function.__globals__[name]
            if isinstance(item, types.FunctionType) and item.__module__ != function.__module__:
                self._write(f"{item.__module__}.{item.__qualname__}")
            else:
                self.add(item, f"{where}, its global {name!r}")

    def _add_code(self, code: types.CodeType) -> None:
        self._write(code.co_code)
        self._write(" ".join((*code.co_names, *code.co_varnames)))
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                self._add_code(constant)
            elif isinstance(constant, frozenset):  # its order differs between processes
                self._write(" ".join(sorted(map(repr, constant))))
            else:
                self._write(repr(constant))

    def _add_object(self, value: Any, where: str) -> None:
        reduced: Any
        try:
            reducer = copyreg.dispatch_table.get(type(value))
            reduced = value.__reduce_ex__(4) if reducer is None else reducer(value)
        except Exception as error:
            raise TypeError(
                f"{where} is a {type(value).__name__}, of which one cannot tell what it computes "
                f"({error}); votes of one classifier must not be taken for those of another. Pass "
                "a module, a function, or an object that can be pickled."
            ) from error
        # Class, arguments, state, and iterators over the items of lists and dicts.
        for part in (reduced,) if isinstance(reduced, str) else reduced:
            self.add(list(part) if isinstance(part, Iterator) else part, where)


def _names(code: types.CodeType) -> set[str]:
    """Return all names that a function or one inside it looks up."""
    inner = (_names(c) for c in code.co_consts if isinstance(c, types.CodeType))
    return set(code.co_names).union(*inner)
