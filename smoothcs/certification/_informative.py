"""Whether answers say anything about the inputs: a certified score alone does not show it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothcs import metrics
from smoothcs.cost import CostMatrix
from smoothcs.exceptions import UninformativeWarning

# Of fewer inputs, or of one class alone, nothing can be said.
LEAST_INPUTS = 20
# One class takes nearly all answers if the others get less than this part of what is theirs.
NEARLY_NONE = 0.1

_searches: set[Any] = set()
_silent: ContextVar[bool] = ContextVar("accuracy is shown beside", default=False)


@contextmanager
def shown_with_accuracy(names: Any) -> Iterator[None]:
    """Do not warn in this block if an accuracy is among the ``names`` that its user gets to see."""
    token = _silent.set(_silent.get() or any("accuracy" in name for name in names))
    try:
        yield
    finally:
        _silent.reset(token)


def warn_if_uninformative(certified: Any, score: float, sample_weight: Any = None) -> None:
    """Warn if the labels of an object with ``y`` and costs say little about its inputs.

    A cross-validation warns once, not for each fold; a ``score`` of 0 misleads nobody.
    """
    if _silent.get() or score == 0:
        return
    reason = uninformative(
        certified.y,
        certified.label,
        certified.cost_matrix,
        costs=certified.costs,
        sample_weight=sample_weight,
    )
    if reason is not None and not _quiet_in_this_search():
        warnings.warn(
            f"{reason} A certified score can be high all the same, where mistakes are free: read "
            "it beside accuracy and constant_accuracy of certified_report.",
            UninformativeWarning,
            stacklevel=3,  # who called the estimator
        )


def _quiet_in_this_search() -> bool:
    """Tell whether a validation by scikit-learn has warned from the same line, or shows accuracy.

    Python's own record of past warnings does not last there: scikit-learn changes the filters of
    warnings in every fold, which clears it.
    """
    frame: Any = sys._getframe(2)
    inside, ours = False, ("smoothcs", "sklearn", "joblib")
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] in ours:
        inside |= frame.f_globals["__name__"] == "sklearn.model_selection._validation"
        # Several scorers beside each other, which do not know of one another.
        beside = getattr(frame.f_locals.get("self"), "_scorers", ())
        if any("accuracy" in str(name) for name in beside):
            return True
        frame = frame.f_back
    if not inside:
        return False
    line = None if frame is None else (frame.f_code.co_filename, frame.f_lineno)
    seen = line in _searches
    _searches.add(line)
    return seen


def uninformative(
    y: ArrayLike,
    label: ArrayLike,
    cost_matrix: CostMatrix,
    *,
    costs: NDArray[Any] | None = None,
    sample_weight: ArrayLike | None = None,
) -> str | None:
    """Say in a sentence why labels (n,) tell little about inputs of classes y, or return None."""
    true, given = cost_matrix.encode(y), cost_matrix.encode(label)
    weight = np.ones(len(true)) if sample_weight is None else np.asarray(sample_weight, float)
    m = cost_matrix.n_classes
    of_class, answers = (np.bincount(k, weight, minlength=m) / weight.sum() for k in (true, given))
    if np.count_nonzero(weight) < LEAST_INPUTS or of_class.max() >= 1.0 - 1e-9:
        return None
    # Answers that weigh costs may give up accuracy for money: that is not a fault.
    same: dict[str, Any] = {"cost_matrix": cost_matrix, "costs": costs, "sample_weight": weight}
    paid = metrics.bill(y, label, np.zeros((len(true), m)), eps=0.0, **same)
    if paid < metrics.constant_bills(y, **same).min():
        return None
    top = int(answers.argmax())
    if 1.0 - answers[top] < NEARLY_NONE * (1.0 - of_class[top]):
        return "One class takes nearly all predictions."
    if weight[true == given].sum() / weight.sum() > of_class.max():
        return None
    return (
        "The predictions are no more accurate than the commonest class, and no cheaper than the "
        "cheapest constant answer."
    )
