"""A digest of what a classifier computes.

Votes are continued, and compiled code is used again, only for a classifier with an equal one. A
digest that overlooks something would let the votes of one classifier certify another, so whatever
cannot be looked into is refused.
"""

from __future__ import annotations

import copyreg
import dis
import functools
import hashlib
import sys
import sysconfig
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.special
import torch
from sklearn.model_selection._search import BaseSearchCV
from torch import nn

_PLAIN = (str, bytes, int, float, complex, bool, type(None), torch.dtype, torch.device, torch.Size)
# What PyTorch keeps on a module that its answers do not depend on.
_BOOKKEEPING = {
    "_backward_hooks",
    "_backward_pre_hooks",
    "_compiled_call_impl",
    "_forward_hooks_always_called",
    "_forward_hooks_with_kwargs",
    "_forward_pre_hooks_with_kwargs",
    "_is_full_backward_hook",
    "_load_state_dict_post_hooks",
    "_load_state_dict_pre_hooks",
    "_non_persistent_buffers_set",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
}
_DESCRIPTORS = (
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
)
_STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib")).resolve()
_INSTALLED = {"site-packages", "dist-packages"}


def classifier_digest(classifier: Any) -> str:
    """Return a digest of all that a classifier's answers may depend on.

    Of a module: its structure, weights, buffers, attributes and forward hooks. Of a function: its
    code, defaults, attributes, closure and the globals that it names. Of any other object: what it
    would pickle. With it goes the code of classes and functions, except of installed packages,
    which are known by name and version.

    Raises
    ------
    TypeError
        If some part can be compared in no way; the message names it.
    """
    where = type(classifier).__qualname__
    hasher = hashlib.blake2b(digest_size=16)
    try:
        _Digest(hasher, classifier).add(classifier, where)
    except _Unknown as error:
        raise TypeError(str(error)) from error
    except Exception as error:
        raise TypeError(_refusal(where, classifier, error)) from error
    return hasher.hexdigest()


class _Unknown(Exception):
    """Something of which one cannot tell what it computes."""


def _refusal(where: str, value: Any, error: Any) -> str:
    return (
        f"{where} is a {type(value).__name__}, of which one cannot tell what it computes "
        f"({error}); votes of one classifier must not be taken for those of another. Pass a "
        "module, a function, or an object that can be pickled."
    )


class _Digest:
    """Feeds a hash with values; containers are entered, and nothing is entered twice."""

    def __init__(self, hasher: Any, root: Any) -> None:
        self._hasher = hasher
        self._seen: dict[int, int] = {}
        self._classes: set[type] = set()
        self._alive: list[Any] = []  # an id may not be used again while it stands for a value
        # Only these are put into eval mode before they vote.
        root = getattr(root, "_orig_mod", root)
        self._evaluated = set(map(id, root.modules())) if isinstance(root, nn.Module) else set()

    def add(self, value: Any, where: str) -> None:
        """Add one value; ``where`` names it in errors."""
        if isinstance(value, nn.Module):
            value = getattr(value, "_orig_mod", value)  # of torch.compile, which computes the same
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
        if not isinstance(value, type):
            self._add_class(kind, where)
        self._enter(value, kind, where)

    def _enter(self, value: Any, kind: type, where: str) -> None:
        if isinstance(value, torch.Tensor):
            self._add_tensor(value, where)
        elif isinstance(value, torch.jit.ScriptModule):
            self._write(value.save_to_buffer())
        elif isinstance(value, nn.Module):
            self._add_module(value, where)
        elif isinstance(value, type):
            self._add_class(value, where)
        elif isinstance(value, types.ModuleType):
            self._write(value.__name__)
        elif isinstance(value, types.BuiltinFunctionType):
            self._write(f"{value.__module__}.{value.__qualname__}")
            self.add(value.__self__, where)
        elif isinstance(value, types.FunctionType):
            self._add_function(value, where)
        elif isinstance(value, types.MethodType):
            self._add_all([value.__func__, value.__self__], where)
        elif isinstance(value, functools.partial | functools.partialmethod):
            self._add_all([value.func, value.args, value.keywords], where)
        elif isinstance(value, property):
            self._add_all([value.fget, value.fset], where)
        elif isinstance(value, classmethod | staticmethod | functools._lru_cache_wrapper):
            self.add(value.__wrapped__, where)
        elif kind in (dict, OrderedDict):
            self._write(f"{len(value)} items")
            for name, item in value.items():
                self.add(name, where)
                self.add(item, f"{where}[{name!r}]")
        elif kind in (list, tuple):
            self._add_all(value, where)
        elif kind in (set, frozenset):  # the order differs between processes
            self._write(" ".join(sorted(classifier_digest(item) for item in value)))
        elif kind is np.ndarray and not value.dtype.hasobject:
            self._write(f"{value.dtype!r} {value.shape}")
            self._write(value.tobytes())
        elif isinstance(value, np.ufunc):
            name = value.__name__
            if value not in (getattr(np, name, None), getattr(scipy.special, name, None)):
                raise _Unknown(_refusal(where, value, "it may call anything"))
            self._write(name)
        elif isinstance(value, BaseSearchCV):  # its results hold times
            self.add(value.best_estimator_, where)
        elif hasattr(value, "get_tree_stats"):  # scikit-learn's trees count their calls
            self._add_all(value.get_arrays(), where)
        elif not isinstance(value, _DESCRIPTORS):
            self._add_object(value, where)

    def _write(self, part: str | bytes) -> None:
        data = part.encode() if isinstance(part, str) else part
        self._hasher.update(f"{len(data)}:".encode() + data)

    def _add_all(self, values: Any, where: str) -> None:
        values = list(values)
        self._write(f"{len(values)} parts")
        for i, value in enumerate(values):
            self.add(value, f"{where}[{i}]")

    def _add_named(self, values: dict[str, Any], where: str) -> None:
        self._write(f"{len(values)} names")
        for name, value in values.items():
            self._write(name)
            self.add(value, f"{where}.{name}")

    def _add_class(self, kind: type, where: str) -> None:
        for base in kind.__mro__:
            self._write(f"{base.__qualname__} {_version(base.__module__)}")
            if base in self._classes or not _is_own(base.__module__):
                continue
            self._classes.add(base)
            # Without Python's own names: texts, slots, line numbers, caches.
            members = {
                name: item
                for name, item in vars(base).items()
                if name != "_abc_impl"
                and (callable(item) or not (name.startswith("__") and name.endswith("__")))
            }
            self._add_named(dict(sorted(members.items())), f"{where}, its class {base.__name__}")

    def _add_tensor(self, value: torch.Tensor, where: str) -> None:
        if value.layout is not torch.strided or value.is_quantized or value.is_meta:
            raise _Unknown(_refusal(where, value, "it is no ordinary tensor"))
        array = value.detach().resolve_conj().resolve_neg().cpu().contiguous()
        self._write(f"{array.dtype} {tuple(array.shape)}")
        self._write(array.view(-1).view(torch.uint8).numpy().tobytes())
        if type(value) not in (torch.Tensor, nn.Parameter):
            self._add_named(dict(vars(value)), where)

    def _add_module(self, value: nn.Module, where: str) -> None:
        state = {name: item for name, item in vars(value).items() if name not in _BOOKKEEPING}
        if isinstance(value, torch.fx.GraphModule):
            parts = ("_parameters", "_buffers", "_modules", "training")
            state = {name: state[name] for name in parts} | {"code": value.code}
        if id(value) in self._evaluated:
            del state["training"]
        for name in ("_forward_hooks", "_forward_pre_hooks"):
            if name in state:  # the keys count up with every hook of a process
                state[name] = list(state[name].values())
        self._add_named(state, where)

    def _add_function(self, function: types.FunctionType, where: str) -> None:
        self._write(f"{function.__qualname__} {_version(function.__module__)}")
        if not _is_own(function.__module__):
            return
        self._add_code(function.__code__)
        self._add_all([function.__defaults__, function.__kwdefaults__, vars(function)], where)
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        for name, cell in cells:
            try:
                content = cell.cell_contents
            except ValueError:  # not assigned yet
                content = None
            self.add(content, f"{where}, its {name!r}")
        for name in sorted(_globals(function.__code__)):
            if name in function.__globals__:
                self.add(function.__globals__[name], f"{where}, its global {name!r}")

    def _add_code(self, code: types.CodeType) -> None:
        self._write(code.co_code)
        self._write(" ".join((*code.co_names, *code.co_varnames)))
        self._write(f"{len(code.co_consts)} constants")
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
            reducer: Callable[[Any], Any] | None = copyreg.dispatch_table.get(type(value))
            reduced = value.__reduce_ex__(4) if reducer is None else reducer(value)
        except Exception as error:
            raise _Unknown(_refusal(where, value, error)) from error
        # Class, arguments, state, and iterators over the items of lists and dicts.
        parts = [reduced] if isinstance(reduced, str) else list(reduced)
        parts = [list(part) if isinstance(part, Iterator) else part for part in parts]
        # An empty state is none, as some classes lose it when they are copied.
        parts = [None if isinstance(part, dict) and not part else part for part in parts]
        self._add_all(parts, where)


def _is_own(module: str) -> bool:
    """Whether code is the user's, and may change from one run to the next."""
    if module.partition(".")[0] in ("smoothcs", *sys.builtin_module_names):
        return False
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:  # a notebook, or code that was executed
        return True
    path = Path(file).resolve()
    return not (path.is_relative_to(_STANDARD_LIBRARY) or _INSTALLED & set(path.parts))


def _version(module: str) -> str:
    """Return a module's name, with the version of its package where that is installed."""
    package = sys.modules.get(module.partition(".")[0])
    version = "" if _is_own(module) else getattr(package, "__version__", "")
    return f"{module} {version}"


def _globals(code: types.CodeType) -> set[str]:
    """Return the globals that a function, or one inside it, looks up."""
    names = {
        str(step.argval)
        for step in dis.get_instructions(code)
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    inner = (_globals(c) for c in code.co_consts if isinstance(c, types.CodeType))
    return names.union(*inner)
