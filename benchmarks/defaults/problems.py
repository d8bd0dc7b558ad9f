"""Data, costs and noise on which defaults are judged; training, validation and test parts."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from benchmarks.money.data import load as load_table
from benchmarks.papers.data import Images, Split
from benchmarks.papers.data import load as load_images
from benchmarks.papers.tasks import find_task
from smoothcs import CostMatrix
from smoothcs.cost import as_cost_matrix
from smoothcs.modules import Augment, default_module

_load_images = cache(load_images)  # pictures are decoded once

# Three vehicles (aeroplane, car, lorry) against three animals (cat, dog, horse).
VEHICLES, ANIMALS = (0, 1, 9), (3, 5, 7)


class Problem(NamedTuple):
    """Three parts, what costs, of which mistakes rob_cs speaks, and the noise."""

    train: Split
    valid: Split
    test: Split
    costs: NDArray[np.float64]
    graver: NDArray[np.float64]
    sigma: float
    scale: Any = None
    module: Any = None  # None: the default


def load(name: str, folder: str | None, seed: int) -> Problem:
    """Return a problem; ``seed`` draws the training part, and the parts where none are given."""
    return PROBLEMS[name](folder, seed)


def _digits(folder: str | None, seed: int) -> Problem:
    X, y = load_digits(return_X_y=True)
    costs = as_cost_matrix(CostMatrix.seedwise([8]), classes=np.arange(10)).matrix
    return Problem(*_parts(X / 16, y, seed), costs, costs, 0.35)


def _breast_cancer(folder: str | None, seed: int) -> Problem:
    X, y = load_breast_cancer(return_X_y=True)
    train, valid, test = _parts(X, y, seed)
    scaler = StandardScaler().fit(train.X)
    parts = (Split(scaler.transform(part.X), part.y) for part in (train, valid, test))
    costs = np.array([[0.0, 10.0], [1.0, 0.0]])  # 0: malignant
    return Problem(*parts, costs, costs * (costs == 10), 0.5)


def _table(name: str, rows: int) -> Callable[[str | None, int], Problem]:
    def read(folder: str | None, seed: int) -> Problem:
        data = load_table(name, folder, seed=seed, unit_variance=True)
        rng = np.random.default_rng(seed)
        frames = [pd.get_dummies(part.X, dtype=np.float32) for part in data[3:]]
        columns = frames[0].columns
        numeric = np.array(
            [float(c in data.train.X and c not in data.categorical) for c in columns]
        )
        parts = []
        for frame, part in zip(frames, data[3:], strict=True):
            chosen = rng.permutation(len(part.y))[:rows]
            X = frame.reindex(columns=columns, fill_value=0).to_numpy(np.float32)
            parts.append(Split(X[chosen], part.y[chosen]))
        costs = data.train.costs.mean(axis=0)
        np.fill_diagonal(costs, 0.0)
        costs /= costs[costs > 0].min()
        return Problem(*parts, costs, costs * (costs == costs.max()), 0.25, numeric)

    return read


def _images(dataset: str, task_name: str, n_train: int) -> Callable[[str | None, int], Problem]:
    def read(folder: str | None, seed: int) -> Problem:
        images, task = _load_images(dataset, folder), find_task(dataset, task_name)
        rows = np.random.default_rng(seed).permutation(len(images.train.y))[:n_train]
        valid, test = (part.take(np.arange(min(2000, len(part.y)))) for part in images[1:])
        module = _flipped if dataset == "ham10000" else None
        train = images.train.take(rows)
        return Problem(train, valid, test, task.costs, task.graver, task.sigma, module=module)

    return read


def _flipped(input_shape: tuple[int, ...], n_classes: int) -> Any:
    from torch import nn

    return nn.Sequential(Augment(vertical=True), default_module(input_shape, n_classes))


def _vehicles(folder: str | None, seed: int) -> Problem:
    """4,000 images of six classes; a vehicle called an animal costs 1."""
    images: Images = _load_images("cifar10", folder)
    names = np.array(VEHICLES + ANIMALS)
    rng = np.random.default_rng(seed)

    def some(part: Split, n: int) -> Split:
        rows = rng.permutation(np.flatnonzero(np.isin(part.y, names)))[:n]
        return Split(part.X[rows], (part.y[rows, None] == names).argmax(axis=1))

    costs = np.zeros((6, 6))
    costs[:3, 3:] = 1.0
    parts = (some(part, n) for part, n in zip(images, (4000, 1500, 2000), strict=True))
    return Problem(*parts, costs, costs, 0.25)


def _parts(X: NDArray[Any], y: NDArray[Any], seed: int) -> list[Split]:
    rest, test, y_rest, y_test = train_test_split(
        X, y, test_size=0.3, random_state=seed, stratify=y
    )
    train, valid, y_train, y_valid = train_test_split(
        rest, y_rest, test_size=0.25, random_state=seed, stratify=y_rest
    )
    return [Split(train, y_train), Split(valid, y_valid), Split(test, y_test)]


PROBLEMS: dict[str, Callable[[str | None, int], Problem]] = {
    "digits": _digits,
    "breast-cancer": _breast_cancer,
    "german_credit": _table("german_credit", 3000),
    "give_me_credit": _table("give_me_credit", 3000),
    "credit_default_tw": _table("credit_default_tw", 3000),
    "s-seed": _images("fashion_mnist", "s-seed", 4000),
    "s-pair": _images("fashion_mnist", "s-pair", 4000),
    "m-pair": _images("fashion_mnist", "m-pair", 4000),
    "ham-10-1": _images("ham10000", "ham-10-1", 4000),
    "vehicles": _vehicles,
}
