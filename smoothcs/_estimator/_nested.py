"""Parameters inside parameters: entries of ``net_params``, and callbacks by name."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from skorch.callbacks import Callback
from skorch.callbacks.scoring import ScoringBase

CALLBACKS, NET_PARAMS = "callbacks__", "net_params__"


class NestedParams:
    """Mixin: ``net_params__module__hidden`` and ``callbacks__NAME__patience`` as parameters.

    A callback without a name goes by its class, as in skorch: ``callbacks__EarlyStopping``, and
    ``callbacks__EarlyStopping_2`` for the second of two.
    """

    callbacks: Any
    net_params: Any

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name.

        Parameters
        ----------
        deep : bool, default=True
            Whether to name those of the objective, the callbacks and ``net_params`` as well.

        Returns
        -------
        params : dict
        """
        params: dict[str, Any] = super().get_params(deep)  # type: ignore[misc]
        if deep:
            if isinstance(self.net_params, Mapping):
                params |= {f"{NET_PARAMS}{name}": v for name, v in self.net_params.items()}
            if isinstance(self.callbacks, list | tuple):
                for name, callback in named_callbacks(self.callbacks):
                    params[f"{CALLBACKS}{name}"] = callback
                    if isinstance(callback, Callback):
                        params |= {
                            f"{CALLBACKS}{name}__{key}": value
                            for key, value in callback.get_params().items()
                        }
        return params

    def set_params(self, **params: Any) -> Any:
        """Set parameters by name; those inside others as well."""
        params = dict(params)
        entries = _taken(params, NET_PARAMS)
        if entries:
            now = params.get("net_params", self.net_params)
            params["net_params"] = {**(now or {}), **entries}
        changes = _taken(params, CALLBACKS)
        if changes:
            params["callbacks"] = _changed(params.get("callbacks", self.callbacks), changes)
        return super().set_params(**params)  # type: ignore[misc]


def _taken(params: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Remove the parameters that begin with ``prefix``, and return them without it."""
    found = [name for name in params if name.startswith(prefix)]
    return {name.removeprefix(prefix): params.pop(name) for name in found}


def named_callbacks(callbacks: Any) -> list[tuple[str, Any]]:
    """Return callbacks with the names by which skorch knows them."""
    given = [item if isinstance(item, tuple) else (None, item) for item in callbacks or ()]
    kinds = [c.__name__ if isinstance(c, type) else type(c).__name__ for _, c in given]
    named = []
    for i, ((name, callback), kind) in enumerate(zip(given, kinds, strict=True)):
        if name is None:
            alike = [k for k, (own, _) in enumerate(given) if own is None and kinds[k] == kind]
            name = kind if len(alike) == 1 else f"{kind}_{alike.index(i) + 1}"
        named.append((name, callback))
    return named


def _changed(callbacks: Any, changes: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the callbacks with changes by ``NAME`` or ``NAME__PARAMETER``; the given ones stay."""
    found = dict(named_callbacks(callbacks))
    fresh: set[str] = set()
    for change, value in sorted(changes.items()):  # a callback before its parameters
        name, _, parameter = change.partition("__")
        if name not in found:
            raise ValueError(
                f"callbacks has no callback {name!r}, which {CALLBACKS}{change} names; "
                f"it has {list(found)}."
            )
        if not parameter:
            found[name] = value
            continue
        if name not in fresh:
            found[name] = copy.deepcopy(found[name])
            fresh.add(name)
        found[name].set_params(**{parameter: value})
    return list(found.items())


def check_callbacks(callbacks: Any, net_params: Mapping[str, Any]) -> None:
    """Refuse what is no list of callbacks, and callbacks that wait for a validation set in vain."""
    if not isinstance(callbacks, list | tuple | None):
        raise TypeError(f"callbacks must be None or a list of skorch callbacks; got {callbacks!r}.")
    named = named_callbacks(callbacks)
    for _, callback in named:
        is_class = isinstance(callback, type) and issubclass(callback, Callback)
        if callback is not None and not is_class and not isinstance(callback, Callback):
            raise TypeError(f"callbacks must hold skorch callbacks; got {callback!r} among them.")
    if net_params.get("train_split") is not None:
        return
    on_train = {
        f"{callback.name or callback.scoring}{end}"
        for _, callback in named
        if isinstance(callback, ScoringBase) and callback.on_train
        for end in ("", "_best")
    }
    for name, callback in named:
        monitor = getattr(callback, "monitor", None)
        waits = isinstance(monitor, str) and monitor.startswith("valid") and monitor not in on_train
        scores = isinstance(callback, ScoringBase) and not callback.on_train
        if waits or scores:
            kind = type(callback).__name__
            does = f"monitors {monitor!r}" if waits else "scores a validation set"
            instead = "monitor='train_loss'" if waits else "..., on_train=True"
            raise ValueError(
                f"callbacks: {name} {does}, and no data are held out: pass net_params="
                "{'train_split': skorch.dataset.ValidSplit(5, stratified=True)}, or use "
                f"{kind}({instead})."
            )
