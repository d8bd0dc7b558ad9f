"""A small problem, and networks and callables that misbehave after some calls."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import nn

from smoothcs import (
    ConvexRelaxationClassifier,
    CostSensitiveSmoothedClassifier,
    TunedDecisionClassifier,
)

CENTRES = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]], dtype=np.float32)
Y = np.repeat([0, 1, 2], 12)
X = (CENTRES[Y] + 0.3 * np.random.default_rng(0).standard_normal((36, 2))).astype(np.float32)
NAMES = np.array(["cat", "dog", "fox"])
COSTS = [[0, 1, 0], [10, 0, 1], [0, 0, 0]]
PARAMS = {"objective": "gaussian", "random_state": 0, "device": "cpu", "cost_matrix": COSTS}
FAST = {"n_selection": 20, "n_estimation": 100, "n_prediction": 50}


def estimator(**params):
    return CostSensitiveSmoothedClassifier(**{**PARAMS, **FAST, "max_epochs": 2, **params})


def fit(X=X, y=Y, sample_weight=None, **params):
    return estimator(**params).fit(X, y, sample_weight)


def by_distance(x):
    return -((np.asarray(x)[:, None] - CENTRES) ** 2).sum(axis=2)


def wrap(module, classes=3, **params):
    params = {"random_state": 0, "device": "cpu", **FAST, **params}
    return CostSensitiveSmoothedClassifier.from_module(module, classes=classes, **params)


class Counter:
    """A number that copies of its owner share."""

    def __init__(self):
        self.count = 0

    def __deepcopy__(self, memo):
        return self


class AfterCalls(nn.Module):
    """Logits until some number of calls, counted over all copies, then something else."""

    def __init__(self, n, then, counter):
        super().__init__()
        self.layer, self.n, self.then, self.counter = nn.Linear(2, 3), n, then, counter

    def forward(self, x):
        self.counter.count += 1
        logits = self.layer(x)
        return logits if self.counter.count <= self.n else self.then(logits)


def after(n, then):
    return AfterCalls(n, then, Counter())


def _raise(error, *_):
    raise error


def raises(error):
    """Return a function of anything that raises."""
    return functools.partial(_raise, error)


def later(n, then):
    """Return a callable that gives logits n times, and ``then(logits)`` from there on."""
    calls = Counter()

    def classifier(x):
        calls.count += 1
        logits = by_distance(x)
        return logits if calls.count <= n else then(logits)

    return classifier


def tune(inner=None, **params):
    inner = estimator() if inner is None else inner
    return TunedDecisionClassifier(inner, **{"n_votes": 50, **params}).fit(X, Y)


def convex(X=X, y=Y, **params):
    return ConvexRelaxationClassifier(
        **{"device": "cpu", "random_state": 0, "max_epochs": 1, **params}
    ).fit(X, y)


class ListDataset(torch.utils.data.Dataset):
    """Inputs, with labels or without."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]
