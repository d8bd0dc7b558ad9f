"""Warnings about images that are not as torch and the noise expect them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from smoothcs._estimator._inputs import is_dataset
from smoothcs.votes._source import input_of

_CHANNELS = (1, 3, 4)
_LOOKED_AT = 8  # items of a Dataset, which may be slow to read


def warn_of_images(X: Any, noise: float | None) -> None:
    """Warn of images in 0..255 under noise for 0..1, and of images with channels last.

    Parameters
    ----------
    X : ndarray (n, ...) or Dataset
    noise : float or None
        Standard deviation of the noise, or another length in the units of ``X``.
    """
    if is_dataset(X):
        items = [np.asarray(input_of(X[i]), np.float32) for i in range(min(_LOOKED_AT, len(X)))]
        sample = np.stack([x for x in items if x.shape == items[0].shape])
    else:
        sample = X
    if sample.ndim not in (3, 4):
        return
    top = float(sample.max())
    if noise is not None and noise <= 2 and 100 < top <= 255 and sample.min() >= 0:
        warnings.warn(
            f"X holds values from 0 to {top:g}, as images in 0..255 do, and {noise:g} in these "
            "units is next to nothing: divide X by 255, or give sigma and eps in its units.",
            UserWarning,
            stacklevel=5,
        )
    shape = sample.shape[1:]
    if len(shape) == 3 and shape[2] in _CHANNELS and shape[0] not in _CHANNELS:
        warnings.warn(
            f"X has inputs of shape {shape}, as images with channels last do, and torch's layers "
            "expect channels first: pass X.transpose(0, 3, 1, 2), of shape (n, c, h, w).",
            UserWarning,
            stacklevel=5,
        )
