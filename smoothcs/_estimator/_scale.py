"""Noise where the attacker is: the scale of the noise of each column."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smoothcs.votes.noise import check_noise_scale


def resolve_noise_scale(
    noise_scale: Any, input_shape: tuple[int, ...], names: Any = None
) -> NDArray[np.float32] | None:
    """Return the scale of each entry of an input, float32 of its shape, or None for 1 everywhere.

    Parameters
    ----------
    noise_scale : None, array-like or mapping
        A mapping holds scales by column name or pattern (``"cat__*"``); the last entry that
        matches a column counts, and columns that none matches have scale 1.
    input_shape : tuple of int
    names : sequence of str, default=None
        Column names seen in ``fit``.

    Raises
    ------
    ValueError, TypeError
        If the scale is not that of an input, or a name matches no column.
    """
    if noise_scale is None:
        return None
    if not isinstance(noise_scale, Mapping):
        return check_noise_scale(noise_scale, input_shape)
    if names is None:
        raise ValueError(
            "noise_scale by column name needs column names: pass a DataFrame to fit, or an array "
            f"of shape {input_shape}."
        )
    scale = np.ones(len(names), dtype=np.float64)
    for pattern, value in noise_scale.items():
        matching = [j for j, name in enumerate(names) if fnmatchcase(str(name), str(pattern))]
        if not matching:
            raise ValueError(
                f"noise_scale names the column {pattern!r}, which is none of {list(names)}."
            )
        scale[matching] = value
    return check_noise_scale(scale, input_shape)


def category_scale(transformer: Any) -> dict[str, float]:
    """Read from a fitted transformer which of its output columns are categories, and give them 0.

    Parameters
    ----------
    transformer : fitted OneHotEncoder, OrdinalEncoder, ColumnTransformer or Pipeline
        Outputs of encoders of categories have no noise; all others have scale 1.

    Returns
    -------
    noise_scale : dict of str to float
        Scale of each output column, by the names of ``get_feature_names_out``.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.compose import make_column_transformer
    >>> from sklearn.preprocessing import OneHotEncoder, StandardScaler
    >>> from smoothcs import category_scale
    >>> X = pd.DataFrame({"amount": [1.0, 2.0, 3.0], "job": ["a", "b", "a"]})
    >>> columns = make_column_transformer(
    ...     (StandardScaler(), ["amount"]), (OneHotEncoder(), ["job"])
    ... ).fit(X)
    >>> category_scale(columns)
    {'standardscaler__amount': 1.0, 'onehotencoder__job_a': 0.0, 'onehotencoder__job_b': 0.0}
    """
    names = [str(name) for name in transformer.get_feature_names_out()]
    return dict(zip(names, _scales(transformer, len(names)), strict=True))


def _scales(transformer: Any, n_outputs: int) -> list[float]:
    if hasattr(transformer, "categories_"):  # encoders of categories
        return [0.0] * n_outputs
    if hasattr(transformer, "steps"):  # a Pipeline: any step that encodes decides
        encodes = any(hasattr(step, "categories_") for _, step in transformer.steps)
        return [0.0 if encodes else 1.0] * n_outputs
    if hasattr(transformer, "output_indices_"):
        scales = [1.0] * n_outputs
        for name, step in transformer.named_transformers_.items():
            part = transformer.output_indices_[name]
            if not isinstance(step, str):
                scales[part] = _scales(step, part.stop - part.start)
        return scales
    return [1.0] * n_outputs
