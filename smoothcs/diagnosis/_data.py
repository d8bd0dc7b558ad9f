"""Checks of the data: copies, leaks, columns of unequal scale."""

from __future__ import annotations

import numpy as np

from smoothcs._estimator._inputs import identical_inputs, input_digests
from smoothcs.diagnosis._checks import Answer, Case, check, issue, passed

UNEQUAL = 10.0  # ratio of the spreads of two columns


@check("SC201", "copies within the inputs")
def copies_within(case: Case) -> Answer:
    """Identical inputs share their noise and fail together; intervals count them as several."""
    copies = len(case.X) - len(np.unique(identical_inputs(case.X)))
    if copies:
        return issue(
            f"{copies} of {len(case.X)} inputs are copies of others: they share their noise, and "
            "intervals that count them as independent are too narrow. Drop them, or pass groups."
        )
    return passed(f"{len(case.X)} inputs, all different.")


@check("SC202", "copies of training inputs")
def copies_of_training(case: Case) -> Answer:
    """Inputs that were trained on flatter every metric."""
    if case.X_train is None:
        return Answer("tip", "not compared: pass X_train.")
    known = set(input_digests(case.X_train))
    leaked = sum(digest in known for digest in input_digests(case.X))
    if leaked:
        return issue(
            f"{leaked} of {len(case.X)} inputs were trained on: metrics on them flatter the "
            "classifier. Leave them out."
        )
    return passed(f"none of {len(case.X)} inputs is among {len(case.X_train)} trained on.")


@check("SC203", "columns of unequal scale")
def unscaled_columns(case: Case) -> Answer:
    """One sigma for a salary and a ratio says little of either."""
    if case.X.ndim != 2:
        return passed("the inputs are not a table.")
    spread = case.X.std(axis=0, dtype=np.float64)
    columns = np.flatnonzero((spread > 0) & (case.scale > 0))
    if len(columns) < 2:
        return passed("there are fewer than two columns to compare.")
    relative = spread[columns] / case.scale[columns]
    ratio = float(relative.max() / relative.min())
    widest, narrowest = columns[relative.argmax()], columns[relative.argmin()]
    found = (
        f"in units of the noise, {case.column(widest)} spreads {ratio:.3g} times as far as "
        f"{case.column(narrowest)}"
    )
    if ratio > UNEQUAL:
        return issue(
            f"{found}: one radius means different things in them. Scale the columns, or pass "
            "noise_scale."
        )
    return passed(f"{found}.")
