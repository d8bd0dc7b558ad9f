"""Checks at the door of every metric, and the loop over radii."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothcs._labels import label_array
from smoothcs.cost import CostMatrix


def over_eps(metric: Callable[[float], Any], eps: ArrayLike) -> Any:
    """``metric(eps)`` for one eps, or an array over all of them."""
    array = np.asarray(eps)
    if array.dtype.kind not in "iuf" and array.size:
        raise TypeError(f"eps must be a number or a 1-D array of numbers; got {eps!r}.")
    if array.ndim > 1:
        raise ValueError(f"eps must be a number or 1-D; got shape {array.shape}.")
    values = np.atleast_1d(array).astype(np.float64)
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        raise ValueError(f"eps must be finite and >= 0; got {values[bad][0]:g}.")
    if array.ndim == 0:
        return metric(values.item())
    return np.asarray([metric(value) for value in values.tolist()], dtype=np.float64)


def check_length(name: str, got: int, n: int) -> None:
    if got != n:
        raise ValueError(f"{name} must have one row per example of y, {n}; got {got}.")


def checked_weights(sample_weight: ArrayLike | None, n: int) -> NDArray[np.float64]:
    if sample_weight is None:
        return np.ones(n)
    weight = real_array("sample_weight", sample_weight, (n,))
    bad = ~(np.isfinite(weight) & (weight >= 0))
    if bad.any():
        raise ValueError(f"sample_weight must be finite and >= 0; got {weight[bad][0]:g}.")
    return weight


def real_array(name: str, value: ArrayLike, shape: tuple[int | None, ...]) -> NDArray[np.float64]:
    """`value` as float64 of this shape (None: any length); nan allowed."""
    array = np.asarray(value)
    if array.dtype.kind not in "iuf" and array.size:
        raise TypeError(f"{name} must hold real numbers; got dtype {array.dtype}.")
    fits = array.ndim == len(shape) and all(
        want in (None, got) for want, got in zip(shape, array.shape, strict=True)
    )
    if not fits:
        wanted = "(" + ", ".join("any" if want is None else str(want) for want in shape) + ")"
        raise ValueError(f"{name} must have shape {wanted}; got {array.shape}.")
    return array.astype(np.float64)


def bool_array(name: str, value: ArrayLike | None, n: int | None) -> NDArray[np.bool_]:
    """A boolean mask; None is all False. Integers are refused: they may be positions."""
    if value is None:
        return np.zeros(n or 0, dtype=bool)
    mask = np.asarray(value)
    if mask.dtype != bool and mask.size:
        raise TypeError(f"{name} must be a boolean mask; got dtype {mask.dtype}.")
    if mask.ndim != 1:
        raise ValueError(f"{name} must be a 1-D boolean mask; got shape {mask.shape}.")
    if n is not None:
        check_length(name, len(mask), n)
    return mask.astype(bool)


def check_same_kind(name: str, a: NDArray[Any], other: str, b: NDArray[Any]) -> None:
    """Refuse strings against numbers: they would just never be equal."""
    kinds = {"number" if x.dtype.kind in "biuf" else x.dtype.kind for x in (a, b)}
    if a.size and b.size and "number" in kinds and kinds & set("USTM"):
        raise TypeError(
            f"{name} and {other} must hold labels of the same kind; got dtype {a.dtype} and "
            f"{b.dtype}."
        )


def predicted_classes(
    cost: CostMatrix, label: ArrayLike, abstained: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Which examples were answered, and the class indices of those answers."""
    labels = label_array("label", label)
    check_length("label", len(labels), len(abstained))
    answers = ~abstained
    try:
        return answers, cost.encode(labels[answers])
    except ValueError as error:
        raise ValueError(
            f"label {str(error).removeprefix('y ')} Pass abstained= where the label of an "
            "abstention is not a class."
        ) from None
