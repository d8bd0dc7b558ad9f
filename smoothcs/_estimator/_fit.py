"""The steps of ``fit``, and what stays of it, that all classifiers with a trained module share."""

from __future__ import annotations

import inspect
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from torch.utils.data import Dataset

from smoothcs._costs import check_costs
from smoothcs._estimator._inputs import (
    check_inputs,
    check_labels,
    check_weights,
    encode_labels,
    is_dataset,
)
from smoothcs._estimator._nested import NestedParams
from smoothcs._estimator._state import portable_state, restored_state
from smoothcs.cost import CostMatrix, as_cost_matrix
from smoothcs.votes._source import input_of

_CHANNELS = (1, 3, 4)
_LOOKED_AT = 8  # items of a Dataset, which may be slow to read


class ArrayDataset(Dataset):
    """Arrays in memory, fetched a whole batch at a time."""

    def __init__(self, x: np.ndarray, y: np.ndarray, **more: np.ndarray | None) -> None:
        self.x, self.y, self.more = x, y, more

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: Any) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        return _item(torch.as_tensor(self.x[index]), index, self.y, self.more)

    # torch's fetcher calls this once per batch; without it, images are collated one by one.
    __getitems__ = __getitem__


class EncodedDataset(Dataset):
    """A user's Dataset of ``(x, y)`` with its labels replaced by class indices."""

    def __init__(self, dataset: Any, encoded: np.ndarray, **more: np.ndarray | None) -> None:
        self.dataset, self.y, self.more = dataset, encoded, more

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        x = torch.as_tensor(input_of(self.dataset[index]), dtype=torch.float32)
        return _item(x, index, self.y, self.more)


def _item(
    x: torch.Tensor, index: Any, y: np.ndarray, more: dict[str, np.ndarray | None]
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    inputs = {"x": x}
    for name, values in more.items():
        if values is not None:
            inputs[name] = torch.as_tensor(values[index])
    return inputs, torch.as_tensor(y[index])


@dataclass(frozen=True)
class TrainingData:
    """What ``fit`` was given, checked.

    Parameters
    ----------
    X : ndarray of float32 (n, ...) or Dataset
    encoded : ndarray of int64 (n,)
        The labels as class indices.
    weights : ndarray of float32 (n,) or None
        Sample weights.
    costs : ndarray of float64 (n, m, m) or None
        Costs of each example.
    classes : ndarray (m,)
        The labels, sorted; at least two.
    cost_matrix : CostMatrix
        The estimator's costs, aligned to ``classes``.
    """

    X: Any
    encoded: np.ndarray
    weights: np.ndarray | None
    costs: np.ndarray | None
    classes: np.ndarray
    cost_matrix: CostMatrix

    def dataset(self) -> ArrayDataset | EncodedDataset:
        """Return the examples as the net trains on them."""
        kind = EncodedDataset if is_dataset(self.X) else ArrayDataset
        return kind(self.X, self.encoded, sample_weight=self.weights, costs=self.row_costs())

    def row_costs(self) -> np.ndarray | None:
        """Return what calling each example a class costs more than the truth, (n, m), at least 0.

        Scaled to a mean maximum of 1.
        """
        if self.costs is None:
            return None
        every = np.arange(len(self.encoded))
        rows = self.costs[every, self.encoded]
        rows = (rows - rows[every, self.encoded][:, None]).clip(min=0.0)
        mean = rows.max(axis=1).mean()
        return (rows / mean if mean > 0 else rows).astype(np.float32)


def check_training_data(
    estimator: Any, X: Any, y: Any, sample_weight: Any, costs: Any = None, *, reset: bool = True
) -> TrainingData:
    """Check the arguments of ``fit``, and tie the estimator's ``cost_matrix`` to their classes.

    With ``reset`` the estimator takes the shape of an input from ``X``; otherwise ``X`` must have
    the shape that the estimator was fitted with.
    """
    X = check_inputs(estimator, X, reset=reset)
    warn_of_images(X, getattr(estimator, "sigma", getattr(estimator, "eps", None)))
    y = check_labels(X, y, estimator)
    weights = check_weights(sample_weight, X)
    classes = np.unique(y)
    if len(classes) < 2:
        raise ValueError(
            f"y has one class, {classes.tolist()}; a classifier needs at least 2 classes."
        )
    cost_matrix = as_cost_matrix(estimator.cost_matrix, classes=classes)
    own = check_costs(costs, len(y), len(classes))
    return TrainingData(X, encode_labels(y, classes), weights, own, classes, cost_matrix)


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


def draw_seed(random_state: Any) -> int:
    """Return a seed for training; a RandomState is advanced, so draw after all checks."""
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


class TrainedClassifier(NestedParams, ClassifierMixin, BaseEstimator):
    """Base class of the classifiers that train a module: what they keep of it and save."""

    def _keep(self, net: Any, data: TrainingData) -> None:
        self.classes_, self.cost_matrix_ = data.classes, data.cost_matrix
        self.net_, self.history_ = net, net.history
        self.module_ = net.module_.cpu().eval()

    def _keep_model(self, model: Any, data: TrainingData) -> None:
        self.classes_, self.cost_matrix_ = data.classes, data.cost_matrix
        self.module_ = model
        for name in ("net_", "history_", "objective_"):
            self.__dict__.pop(name, None)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "module_")

    def __getstate__(self) -> dict[str, Any]:
        # The net holds the optimiser's state, device tensors and callbacks; predictions and
        # certificates need none of them, and a model trained on a GPU must load without one.
        state = {name: value for name, value in super().__getstate__().items() if name != "net_"}
        return portable_state(state)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Parameters that the version which wrote the state did not have.
        defaults = inspect.signature(type(self).__init__).parameters
        known = {name: p.default for name, p in defaults.items() if p.default is not p.empty}
        super().__setstate__({**known, **restored_state(state)})
