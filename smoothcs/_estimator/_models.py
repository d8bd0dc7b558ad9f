"""Any scikit-learn classifier as the base: trained on noisy copies of every row."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from smoothcs._estimator._fit import TrainingData
from smoothcs._estimator._inputs import PredictedClass, is_dataset


def is_model(module: Any) -> bool:
    """Tell an unfitted scikit-learn classifier from a torch module, its class or a factory."""
    return hasattr(module, "fit") and hasattr(module, "predict") and not inspect.isclass(module)


def fit_on_noisy_copies(
    clf: Any, data: TrainingData, scale: NDArray[np.float32] | None, seed: int
) -> PredictedClass:
    """Return a clone of ``clf.module``, fitted on ``n_copies`` noisy copies of every row.

    Raises
    ------
    TypeError
        If the inputs are a Dataset, or there are weights that the model does not take.
    """
    if is_dataset(data.X):
        raise TypeError(
            "a scikit-learn classifier as the base needs X as an array or a frame, not a Dataset."
        )
    noise = np.random.default_rng(seed)
    X = np.tile(data.X, (clf.n_copies, *[1] * (data.X.ndim - 1)))
    draws = noise.standard_normal(X.shape, dtype=np.float32)
    X += np.float32(clf.sigma) * (draws if scale is None else draws * scale)
    fit_params = {}
    if data.weights is not None:
        fit_params["sample_weight"] = np.tile(data.weights, clf.n_copies)
    model = clone(clf.module)
    if "random_state" in model.get_params(deep=False) and model.random_state is None:
        model.set_params(random_state=seed)
    model.fit(X, np.tile(data.classes[data.encoded], clf.n_copies), **fit_params)
    return PredictedClass(model, data.classes)
