"""Checks at the door: every message names the parameter, what was got and what is allowed.

And the types of arrays.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Indices = NDArray[np.intp]


def check_real(
    name: str,
    value: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    low_open: bool = False,
    high_open: bool = False,
) -> float:
    """Return ``value`` as a float, or raise naming ``name`` and the allowed interval."""
    interval = f"{'(' if low_open else '['}{low:g}, {high:g}{')' if high_open else ']'}"
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(
            f"{name} must be a number in {interval}; got {value!r} of type {type(value).__name__}."
        )
    number = float(value)
    below = number <= low if low_open else number < low
    above = number >= high if high_open else number > high
    if not math.isfinite(number) or below or above:
        raise ValueError(f"{name} must be a finite number in {interval}; got {value!r}.")
    return number


def check_positive(name: str, value: Any) -> float:
    """Return ``value`` as a finite float > 0, or raise."""
    return check_real(name, value, low=0.0, low_open=True, high_open=True)


def check_probability(name: str, value: Any) -> float:
    """Return ``value`` as a float strictly between 0 and 1, or raise."""
    return check_real(name, value, low=0.0, high=1.0, low_open=True, high_open=True)


def check_integer(name: str, value: Any, *, low: int = 1) -> int:
    """Return ``value`` as an int >= ``low``, or raise."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(
            f"{name} must be an integer >= {low}; got {value!r} of type {type(value).__name__}."
        )
    if value < low:
        raise ValueError(f"{name} must be an integer >= {low}; got {value!r}.")
    return int(value)


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> Any:
    """Return ``value`` if it is one of ``choices``, or raise listing them."""
    allowed = list(choices)
    value = value.item() if isinstance(value, np.generic) else value  # grids hold NumPy's
    if not any(value is c or (type(value) is type(c) and value == c) for c in allowed):
        raise ValueError(f"{name} must be one of {allowed}; got {value!r}.")
    return value


def check_blockers(value: Any) -> bool | int:
    """Return ``value`` if it is a bool or an int >= 1, or raise."""
    return value if isinstance(value, bool) else check_integer("blockers", value)


def check_n_jobs(value: Any) -> int | None:
    """Return ``value`` if it is None or an int other than 0, or raise."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(
            "n_jobs must be None or an integer other than 0; "
            f"got {value!r} of type {type(value).__name__}."
        )
    if value == 0:
        raise ValueError("n_jobs must be None or an integer other than 0; got 0.")
    return int(value)


def check_noise_scale(scale: Any, shape: tuple[int, ...] | None) -> NDArray[np.float32]:
    """Return a noise scale as float32 of the shape of an input, if that is known, or raise.

    Raises
    ------
    TypeError
        If it does not hold numbers.
    ValueError
        If it does not broadcast to ``shape``, holds a negative or infinite number or nan, or is 0
        everywhere.
    """
    try:
        with np.errstate(over="ignore"):  # becomes inf and is refused
            array = np.asarray(scale, dtype=np.float32)
    except (TypeError, ValueError):
        raise TypeError(f"noise_scale must hold numbers >= 0; got {scale!r}.") from None
    try:
        array = np.broadcast_to(array, array.shape if shape is None else shape)
    except ValueError:
        raise ValueError(
            f"noise_scale must broadcast to the shape {shape} of an input; got shape {array.shape}."
        ) from None
    if not np.all((array >= 0) & np.isfinite(array)):
        raise ValueError(f"noise_scale must hold finite numbers >= 0; got {scale!r}.")
    if not array.any():
        raise ValueError("noise_scale is 0 everywhere: without noise nothing can be certified.")
    return np.ascontiguousarray(array)
