"""Training, validation and test parts of the tables, with the costs of every row.

A file has the columns ``label``, ``split`` (0 training, 1 test) and, where costs differ by row,
``cost_*``; all others are features. For two classes the second is the positive one: the client who
defaults or leaves. Where a table brings no costs of its own, they are:

- german_credit: the official matrix, a bad risk called good 5, a good one called bad 1;
- nsl_kdd: the official matrix of the KDD Cup 1999;
- credit_default_tw: none are published. A default missed costs .375 of the client's credit limit,
  half of it drawn and 75 % of that lost; a good client refused costs .1 of the limit. Our choice.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import QuantileTransformer

VALIDATION_SHARE = 0.2  # of the training rows
CLIP = 3.0  # standard deviations


class Part(NamedTuple):
    """Features (n, d), class indices (n,), and costs (n, m, m) by row, true and predicted class."""

    X: pd.DataFrame
    y: NDArray[np.intp]
    costs: NDArray[np.float64]


class Table(NamedTuple):
    """One table: numeric columns in standard units, categorical ones as they are."""

    classes: tuple[str, ...]
    categorical: list[str]
    cost_matrix: NDArray[np.float64] | None  # (m, m) where all rows share it
    train: Part
    valid: Part
    test: Part


class _Source(NamedTuple):
    classes: tuple[str, ...]  # negative, positive for two
    codes: tuple[str, ...]  # numbers that name categories; columns of text are categorical anyway
    costs: Callable[[pd.DataFrame], NDArray[np.float64]]
    ignored: tuple[str, ...] = ()
    redraw_test: bool = False


def load(
    name: str, folder: str | Path | None = None, *, seed: int = 0, unit_variance: bool = False
) -> Table:
    """Return a table, or say what is missing.

    The validation part is drawn from the training rows by `seed`, in the proportions of the
    classes. The test part is that of the file, but for german_credit: its 300 rows are too few for
    one split, so every seed but 0 divides all rows anew, in the file's proportion. Numeric columns
    get a standard normal distribution by their quantiles on the training part, cut at 3 standard
    deviations, and missing numbers the training median. A column of few values is no normal
    distribution whatever its units: its ends lie at -3 and 3 and its standard deviation may be near
    2. `unit_variance` divides each column by its own on the training part.
    """
    if name not in SOURCES:
        raise SystemExit(f"no table {name!r}; there are {', '.join(SOURCES)}")
    folder = folder or os.environ.get("SMOOTHCS_DATA")
    if folder is None:
        raise SystemExit("name the folder of the data with --data DIR or SMOOTHCS_DATA")
    path = Path(folder) / "tabular" / f"{name}.csv.gz"
    if not path.exists():
        raise SystemExit(f"{path} is missing")
    source, rows = SOURCES[name], pd.read_csv(path)
    y = _codes(rows["label"], source.classes)
    costs = source.costs(rows)
    if not (np.isfinite(costs).all() and (costs >= 0).all()):
        raise SystemExit(f"{path}: a cost is negative or missing")
    no_features = [c for c in rows if c.startswith("cost_") or c in ("label", "split")]
    X = rows.drop(columns=[*no_features, *source.ignored])
    categorical = [c for c in X if c in source.codes or not pd.api.types.is_numeric_dtype(X[c])]
    train, valid, test = _divide(rows["split"].to_numpy(), y, seed, source.redraw_test)
    X = _standard_units(X, categorical, train, unit_variance)
    shared = costs if costs.ndim == 2 else None
    costs = np.broadcast_to(costs, (len(rows), *costs.shape[-2:]))
    parts = (Part(X.iloc[i], y[i], costs[i]) for i in (train, valid, test))
    return Table(source.classes, categorical, shared, *parts)


def example_costs(
    false_positive: ArrayLike,
    false_negative: ArrayLike,
    true_positive: ArrayLike = 0.0,
    true_negative: ArrayLike = 0.0,
) -> NDArray[np.float64]:
    """Return costs (n, 2, 2), class 1 the positive one, from amounts (n,) or numbers."""
    entries = np.broadcast_arrays(true_negative, false_positive, false_negative, true_positive)
    return np.stack(entries, axis=-1).astype(np.float64).reshape(-1, 2, 2)


def _codes(labels: pd.Series, classes: tuple[str, ...]) -> NDArray[np.intp]:
    if unknown := sorted(set(labels.astype(str)) - set(classes)):
        raise SystemExit(f"labels must be among {', '.join(classes)}; got {', '.join(unknown)}")
    return labels.map({name: k for k, name in enumerate(classes)}).to_numpy(np.intp)


def _divide(
    split: NDArray[np.int64], y: NDArray[np.intp], seed: int, redraw_test: bool
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    def apart(rows: NDArray[np.intp], size: int | float) -> list[NDArray[np.intp]]:
        return train_test_split(rows, test_size=size, stratify=y[rows], random_state=seed)

    train, test = np.flatnonzero(split == 0), np.flatnonzero(split == 1)
    if redraw_test and seed != 0:
        train, test = apart(np.arange(len(y)), len(test))
    train, valid = apart(train, VALIDATION_SHARE)
    return train, valid, test


def _standard_units(
    X: pd.DataFrame, categorical: list[str], train: NDArray[np.intp], unit_variance: bool
) -> pd.DataFrame:
    numeric = [c for c in X if c not in categorical]
    known = X[numeric].fillna(X[numeric].iloc[train].median())
    scaler = QuantileTransformer(
        output_distribution="normal", n_quantiles=min(500, len(train)), random_state=0
    ).fit(known.iloc[train])
    units = np.clip(scaler.transform(known), -CLIP, CLIP)
    if unit_variance:
        deviation = units[train].std(axis=0)
        units /= np.where(deviation > 0, deviation, 1.0)
    scaled = pd.DataFrame(units.astype(np.float32), columns=numeric, index=X.index)
    return scaled.join(X[categorical].astype("category"))[list(X)]


def _given(rows: pd.DataFrame) -> NDArray[np.float64]:
    kinds = ("false_positive", "false_negative", "true_positive", "true_negative")
    given = {kind: rows[f"cost_{kind}"] for kind in kinds if f"cost_{kind}" in rows}
    return example_costs(**given)


def _by_credit_limit(rows: pd.DataFrame) -> NDArray[np.float64]:
    limit = rows["LIMIT_BAL"]
    return example_costs(0.1 * limit, 0.75 * 0.5 * limit)


def _official_german(rows: pd.DataFrame) -> NDArray[np.float64]:
    return example_costs(1, 5)[0]


def _official_kdd(rows: pd.DataFrame) -> NDArray[np.float64]:
    costs = [[0, 1, 2, 2, 2], [1, 0, 2, 2, 2], [2, 1, 0, 2, 2], [3, 2, 2, 0, 2], [4, 2, 2, 2, 0]]
    return np.array(costs, dtype=np.float64)


SOURCES = {
    "german_credit": _Source(("good", "bad"), (), _official_german, redraw_test=True),
    "give_me_credit": _Source(("pays", "default"), (), _given),
    "churn_tv": _Source(("stays", "leaves"), tuple(f"x{i}" for i in range(1, 22)), _given),
    "credit_default_tw": _Source(
        ("pays", "default"), ("SEX", "EDUCATION", "MARRIAGE"), _by_credit_limit
    ),
    "nsl_kdd": _Source(
        ("normal", "probe", "dos", "u2r", "r2l"),
        ("land", "logged_in", "is_host_login", "is_guest_login"),  # "symbolic" in the original
        _official_kdd,
        ignored=("attack", "difficulty"),
    ),
}
