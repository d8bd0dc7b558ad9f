"""Costs as users write them: a matrix of classes, or a matrix for each example."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothcs._labels import FOLDS, class_array, distinct, plain, positions, shorten


def example_costs(
    *,
    false_positive: ArrayLike,
    false_negative: ArrayLike,
    true_positive: ArrayLike = 0.0,
    true_negative: ArrayLike = 0.0,
    classes: ArrayLike,
    positive: Any,
) -> NDArray[np.float64]:
    """Costs of each example for two classes: what ``costs=`` of an estimator takes.

    Parameters
    ----------
    false_positive, false_negative, true_positive, true_negative : float or array-like of shape (n,)
        What each outcome costs, >= 0, in one unit of money: `false_positive` is the cost of
        calling an example positive that is not. A number applies to all examples; at least one of
        the four must be an array. A correct answer may cost something, too, such as a discount
        that was granted.
    classes : array-like of shape (2,)
        The two labels, in the order of ``classes_`` of the estimator (sorted).
    positive : label
        Which of them is "positive".

    Returns
    -------
    ndarray of float64 of shape (n, 2, 2)
        ``costs[i, y, k]`` is the cost of calling example i, if it is of class y, a k; y and k are
        positions in `classes`. They belong to the contract, not to the inputs: an attacker is
        taken not to change them.

    Raises
    ------
    ValueError
        If `classes` are not two labels, `positive` is none of them, lengths differ, a cost is
        negative or not finite, or all costs of an example are 0.

    See Also
    --------
    CostMatrix : costs that are the same for all examples.

    Examples
    --------
    A declined good loan loses its interest, a granted bad one three quarters of the amount:

    >>> import numpy as np
    >>> from smoothcs import example_costs
    >>> amount = np.array([1000.0, 200.0])
    >>> example_costs(
    ...     false_positive=0.1 * amount,
    ...     false_negative=0.75 * amount,
    ...     classes=["bad", "good"],
    ...     positive="bad",
    ... )
    array([[[  0., 750.],
            [100.,   0.]],
    <BLANKLINE>
           [[  0., 150.],
            [ 20.,   0.]]])
    """
    labels = class_array(classes).tolist()
    if len(labels) != 2:
        raise ValueError(f"classes must be two labels; got {shorten(labels)}.")
    (hit,) = positions([plain(positive)], labels)
    if hit < 0:
        raise ValueError(f"positive must be one of the classes {labels}; got {positive!r}.")
    miss = 1 - hit
    entries = {
        "false_positive": (miss, hit, false_positive),
        "false_negative": (hit, miss, false_negative),
        "true_positive": (hit, hit, true_positive),
        "true_negative": (miss, miss, true_negative),
    }
    priced = {name: _check_prices(name, values) for name, (_, _, values) in entries.items()}
    lengths = {name: len(values) for name, values in priced.items() if values.ndim}
    if not lengths:
        raise ValueError(
            f"at least one of {', '.join(entries)} must be an array, with a cost per example; for "
            "costs that are the same for all, use CostMatrix."
        )
    if len(set(lengths.values())) > 1:
        raise ValueError(f"costs must have one length; got {lengths}.")
    costs = np.empty((max(lengths.values()), 2, 2), dtype=np.float64)
    for name, (y, k, _) in entries.items():
        costs[:, y, k] = priced[name]
    free = np.flatnonzero(~costs.any(axis=(1, 2)))
    if len(free):
        raise ValueError(
            f"all costs of example {free[0]} are 0: no answer would be better than another."
        )
    return costs


def check_costs(costs: Any, n_inputs: int, n_classes: int) -> NDArray[np.float64] | None:
    """Return the costs of each example as float64 (n, m, m), or raise.

    Raises
    ------
    ValueError
        If there is not one matrix of costs >= 0 per input, some of them > 0.
    """
    if costs is None:
        return None
    array = read_costs(costs, n_inputs, n_classes)
    unpriced = np.flatnonzero(~array.any(axis=(1, 2)))
    if len(unpriced):
        raise ValueError(
            f"costs of row {unpriced[0]} are all 0: no answer would be better than another."
        )
    return array


def read_costs(costs: Any, n_inputs: int, n_classes: int) -> NDArray[np.float64]:
    """As :func:`check_costs`, but an example may be free of costs."""
    wanted = (n_inputs, n_classes, n_classes)
    try:
        array = np.asarray(costs, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"costs must hold numbers, in shape {wanted}; got {type(costs).__name__}"
            + (" (costs by label are the cost_matrix)." if isinstance(costs, Mapping) else ".")
        ) from None
    if array.shape != wanted:
        raise ValueError(
            f"costs must have shape {wanted}, a matrix (true class, answer) per row of X; got "
            f"{array.shape}."
            + (f" {FOLDS}" if array.ndim == 3 and array.shape[1] > n_classes else "")
        )
    if not np.all((array >= 0) & np.isfinite(array)):
        i, y, k = np.argwhere(~((array >= 0) & np.isfinite(array)))[0]
        raise ValueError(
            f"costs must be finite and >= 0; costs[{i}, {y}, {k}] is {array[i, y, k]}."
        )
    return array


def _check_prices(name: str, values: Any) -> NDArray[np.float64]:
    array = np.asarray(values)
    if array.dtype.kind not in "iuf" or array.ndim > 1:
        raise ValueError(
            f"{name} must be a number or a 1-D array of numbers; got dtype {array.dtype} and shape "
            f"{array.shape}."
        )
    prices = array.astype(np.float64)
    bad = ~(np.isfinite(prices) & (prices >= 0))
    if bad.any():
        at = f" in row {np.argmax(bad)}" if array.ndim else ""
        raise ValueError(f"{name} must be finite and >= 0; got {array[bad].flat[0]}{at}.")
    return prices


def check_size(matrix: NDArray[Any], labels: Iterable[Any]) -> None:
    """Refuse a matrix that has not one row per label."""
    names = list(labels)
    if len(matrix) != len(names):
        raise ValueError(
            f"cost_matrix is {len(matrix)} x {len(matrix)}, but there are {len(names)} classes: "
            f"{shorten(names)}." + (f" {FOLDS}" if len(matrix) > len(names) else "")
        )


def check_matrix(costs: Any, classes: NDArray[Any] | None) -> NDArray[np.float64]:
    """Return `costs` as float64 (m, m), or raise naming the first bad entry."""
    try:
        array = np.asarray(costs)
    except ValueError:
        raise ValueError("cost_matrix must be square; got rows of different lengths.") from None
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.size == 0:
        raise ValueError(
            "cost_matrix must be a square array (rows true, columns predicted classes); "
            f"got shape {array.shape}."
        )
    labels = list(range(len(array))) if classes is None else classes.tolist()
    check_size(array, labels)

    def refuse(error: type[Exception], bad: NDArray[np.bool_], allowed: str) -> None:
        if bad.any():
            i, j = np.argwhere(bad)[0]
            raise error(
                f"cost_matrix entry (seed {labels[i]!r}, target {labels[j]!r}) is "
                f"{plain(array[i, j])!r}; {allowed}."
            )

    numbers = np.full(array.shape, array.dtype.kind in "buif")
    if array.dtype == object:
        numbers = np.frompyfunc(lambda entry: isinstance(entry, Real), 1, 1)(array).astype(bool)
    refuse(TypeError, ~numbers, "every cost must be a number")
    matrix = array.astype(np.float64)
    refuse(ValueError, ~np.isfinite(matrix), "costs must be finite")
    refuse(ValueError, matrix < 0, "costs must be >= 0")
    diagonal = np.eye(len(matrix), dtype=bool)
    refuse(ValueError, diagonal & (matrix != 0), "the diagonal (a correct prediction) must cost 0")
    return matrix + 0.0  # -0.0 would hash differently


def read_frame(frame: Any) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Matrix and labels of a DataFrame whose columns may be in another order than its index."""
    if not hasattr(frame, "index") or not hasattr(frame, "to_numpy"):
        raise TypeError(
            f"cost_matrix of type {type(frame).__name__} has column names but no row labels; "
            "pass an array and its classes instead: CostMatrix(array, classes=...)."
        )
    rows = distinct("the index of cost_matrix", frame.index)
    columns = distinct("the columns of cost_matrix", frame.columns)
    if len(rows) != len(columns):
        raise ValueError(f"cost_matrix must be square; got shape {(len(rows), len(columns))}.")
    unknown = [label for label in columns if label not in rows]
    if unknown:
        raise ValueError(
            f"cost_matrix has the column {unknown[0]!r}, an unknown label: its index is "
            f"{list(rows)}."
        )
    classes = class_array(rows)
    return check_matrix(frame.to_numpy()[:, positions(rows, columns)], classes), classes


def refuse_nested(costs: Mapping[Any, Any]) -> None:
    """Refuse a dict of dicts, with the dict of pairs to write instead."""
    for seed, row in costs.items():
        if isinstance(row, Mapping):
            target, cost = next(iter(row.items()), ("target", 1.0))
            raise ValueError(
                "cost_matrix must be a dict of pairs, {(seed, target): cost}, not a dict of dicts; "
                f"write {{({seed!r}, {target!r}): {cost!r}}} for {{{seed!r}: {{{target!r}: "
                f"{cost!r}}}}}."
            )


def read_pair(pair: Any) -> tuple[Any, Any]:
    # A string of two letters would unpack too, and a set in any order.
    if isinstance(pair, tuple | list | np.ndarray) and len(pair) == 2:
        seed, target = map(plain, pair)
        return seed, target
    raise ValueError(f"every pair must be (seed, target); got {pair!r}.")


def frozen(array: NDArray[Any] | None) -> NDArray[Any] | None:
    """A private read-only copy."""
    if array is not None:
        array = array.copy()
        array.flags.writeable = False
    return array
