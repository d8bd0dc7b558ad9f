"""Labels as users write them: read once, found by value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDS = "A fold of a cross-validation may lack a class; StratifiedKFold avoids that."


def plain(label: Any) -> Any:
    """Return the Python value that a numpy scalar equals; anything else as it is."""
    return label.item() if isinstance(label, np.generic) else label


def label_array(name: str, values: Any) -> NDArray[Any]:
    """Return a 1-D array of labels, without numpy's coercions (``[1, "a"]`` keeps its integer)."""
    is_array = hasattr(values, "__array__")
    if isinstance(values, str | bytes | Mapping | AbstractSet) or not (
        is_array or isinstance(values, Iterable)
    ):
        raise TypeError(f"{name} must be a 1-D array of labels; got {values!r}.")
    if is_array:
        array = np.asarray(values)
    else:
        labels = [plain(value) for value in values]
        try:
            array = np.asarray(labels)
        except ValueError:  # ragged
            raise ValueError(f"{name} must be a 1-D array of labels; got {labels!r}.") from None
        if array.ndim == 1 and array.tolist() != labels:
            array = np.empty(len(labels), dtype=object)
            array[:] = labels
    if array.ndim != 1:
        raise ValueError(f"{name} must be a 1-D array of labels; got shape {array.shape}.")
    return array


def class_array(classes: Any) -> NDArray[Any]:
    """Return the labels of the classes: at least one, all distinct."""
    array = label_array("classes", classes)
    if array.size == 0:
        raise ValueError("classes must hold at least one label; got none.")
    distinct("classes", array.tolist())
    return array


def distinct(name: str, labels: Iterable[Any]) -> tuple[Any, ...]:
    """Return the labels as plain Python values, refusing nan and a label that is given twice."""
    seen: dict[Any, None] = {}
    for label in map(plain, labels):
        if label != label:
            raise ValueError(f"{name} must not hold nan: it equals no label.")
        if label in seen:
            raise ValueError(f"{name} gives {label!r} twice.")
        seen[label] = None
    return tuple(seen)


def one_or_several(name: str, labels: Any) -> tuple[Any, ...]:
    """Return one label or several as a tuple of distinct ones."""
    if isinstance(labels, str | bytes) or not isinstance(labels, Iterable):
        labels = [labels]
    found = distinct(name, labels)
    if not found:
        raise ValueError(f"{name} must name at least one class; got none.")
    return found


def positions(labels: Sequence[Any], classes: Sequence[Any]) -> NDArray[np.int64]:
    """Return the index (n,) of each label among ``classes``, -1 where it is none of them."""
    index = {label: i for i, label in enumerate(classes)}
    return np.fromiter((index.get(label, -1) for label in labels), np.int64, count=len(labels))


def unknown_label(name: str, label: Any, classes: list[Any]) -> str:
    """Say that ``name`` holds a label that is not a class, and where the classes may come from."""
    said = f"{name} names the unknown label {label!r}; the classes are {shorten(classes)}. {FOLDS}"
    if isinstance(label, int) or classes != list(range(len(classes))):
        return said
    return (
        f"{said} A wrapper that encodes labels before it fits (VotingClassifier, "
        "StackingClassifier, BaggingClassifier, OneVsRestClassifier, cross_val_predict with "
        "method='predict_proba') passes 0 to m - 1 in place of your labels, in sorted order: "
        f"encode y by LabelEncoder before, and use these numbers in {name}."
    )


def holds_integers(array: NDArray[Any]) -> bool:
    """Tell integers, which may be class indices, from other labels (booleans among them)."""
    if array.dtype != object:
        return array.dtype.kind in "iu"
    return all(isinstance(x, int | np.integer) and not isinstance(x, bool) for x in array)


def shorten(labels: list[Any]) -> str:
    """Write at most twelve labels in full, of more the first three and the last."""
    if len(labels) <= 12:
        return str(labels)
    return f"[{', '.join(map(repr, labels[:3]))}, ..., {labels[-1]!r}]"
