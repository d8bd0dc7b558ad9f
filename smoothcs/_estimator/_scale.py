"""Noise where the attacker is: the scale of the noise of each column."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import OneToOneFeatureMixin
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.validation import check_is_fitted

from smoothcs._validation import Floats, check_noise_scale, check_real


def resolve_noise_scale(
    noise_scale: Any, input_shape: tuple[int, ...] | None, names: Any = None
) -> NDArray[np.float32] | None:
    """Return the scale of each entry of an input, float32 of its shape, or None for 1 everywhere.

    Parameters
    ----------
    noise_scale : None, array-like or mapping
        A mapping holds scales by column name or, for a key that is no column, by pattern
        (``"cat__*"``); the last entry that matches a column counts, and columns that none matches
        have scale 1.
    input_shape : tuple of int or None
        If None, an array is taken to have it.
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
            "with a scale for each column."
        )
    columns = [str(name) for name in names]
    scale = np.ones(len(columns))
    for key, value in noise_scale.items():
        # A name may hold signs that mean something in a pattern: it is a name first.
        matching = [j for j, name in enumerate(columns) if name == key]
        matching = matching or [j for j, name in enumerate(columns) if fnmatchcase(name, str(key))]
        if not matching:
            raise ValueError(f"noise_scale names the column {key!r}, which is none of {columns}.")
        scale[matching] = check_real(f"noise_scale[{key!r}]", value, low=0.0, high_open=True)
    return check_noise_scale(scale, input_shape)


def category_scale(transformer: Any) -> dict[str, float]:
    """Read from a fitted transformer which of its output columns are categories, and give them 0.

    Parameters
    ----------
    transformer : fitted OneHotEncoder, OrdinalEncoder, TargetEncoder, ColumnTransformer or Pipeline
        Outputs of encoders of categories, also when scaled or selected afterwards, have no noise.
        All others have scale 1, among them categories that are passed through as they are.

    Returns
    -------
    noise_scale : dict of str to float
        Scale of each output column, by the names of ``get_feature_names_out``. If the transformer
        returns arrays, which have no names, pass ``list(category_scale(transformer).values())``.

    Raises
    ------
    ValueError
        If a step makes columns of categories and others together, as PCA does.

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
    check_is_fitted(transformer)
    names = [str(name) for name in transformer.get_feature_names_out()]
    n_inputs = getattr(transformer, "n_features_in_", 1)
    scales = _scales(transformer, np.ones(n_inputs), len(names))
    return dict(zip(names, scales.tolist(), strict=True))


def _scales(step: Any, before: Floats, n_outputs: int | None = None) -> Floats:
    """Return the scales of the outputs of a transformer from those of its inputs."""
    if hasattr(step, "categories_"):  # encoders of categories
        return np.zeros(_n_outputs(step, n_outputs))
    if isinstance(step, Pipeline):
        for _, part in step.steps:
            if part is not None and part != "passthrough":
                before = _scales(part, before, n_outputs if part is step[-1] else None)
        return before
    if isinstance(step, ColumnTransformer):
        after = np.ones(sum(part.stop - part.start for part in step.output_indices_.values()))
        for name, part in step.named_transformers_.items():
            outputs = step.output_indices_[name]
            if outputs.stop > outputs.start:
                inputs = before[step._transformer_to_input_indices[name]]
                after[outputs] = _scales(part, inputs, outputs.stop - outputs.start)
        return after
    if isinstance(step, FeatureUnion):
        return np.concatenate([_scales(part, before) for _, part in step.transformer_list])
    if isinstance(step, str):  # "passthrough"
        return before
    if hasattr(step, "get_support"):
        return before[step.get_support()]
    n = _n_outputs(step, n_outputs)
    one_to_one = isinstance(step, OneToOneFeatureMixin | FunctionTransformer) and n == len(before)
    if one_to_one:
        return before
    if before.min(initial=1.0) == before.max(initial=0.0):
        return np.full(n, before[0])
    raise ValueError(
        f"{type(step).__name__} makes columns of categories and of other columns together, so that "
        "no scale is right for them; encode categories after it."
    )


def _n_outputs(step: Any, known: int | None) -> int:
    return len(step.get_feature_names_out()) if known is None else known
