"""From the estimator's parameters to a net that is ready to train."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from ._inputs import first_input, is_dataset
from ._net import ObjectiveNet, build_module
from .objectives import Objective

_GLOBAL_GENERATOR = threading.RLock()


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generator for the block, and leave it as it was before.

    Initialisation, shuffling and dropout draw from it. A process has only one, so threads that
    train wait for each other: otherwise the same seed would not give the same model.
    """
    devices = [device] if device.type == "cuda" else []
    with _GLOBAL_GENERATOR, torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def new_net(
    clf: Any,
    objective: Objective,
    cost: np.ndarray,
    optimizer: type[torch.optim.Optimizer],
    device: torch.device,
    seed: int,
) -> ObjectiveNet:
    """Return an initialised net for a first ``fit``."""
    if not isinstance(clf.net_params, Mapping | None):
        raise TypeError(
            "net_params must be None or a dict of parameters of skorch.NeuralNet; "
            f"got {clf.net_params!r} of type {type(clf.net_params).__name__}."
        )
    params = dict(clf.net_params or {})
    module_params = {
        name.removeprefix("module__"): params.pop(name)
        for name in list(params)
        if name.startswith("module__")
    }
    module = build_module(clf.module, clf.input_shape_, len(cost), module_params)
    defaults = {"train_split": None, "iterator_train__shuffle": True}
    return ObjectiveNet(
        module,
        objective=objective,
        sigma=float(clf.sigma),
        cost=cost,
        seed=seed,
        optimizer=optimizer,
        lr=clf.lr,
        max_epochs=clf.max_epochs,
        batch_size=clf.batch_size,
        callbacks=copy.deepcopy(clf.callbacks),
        device=str(device),
        verbose=int(clf.verbose),
        **{**defaults, **params},
    ).initialize()


def continued_net(
    clf: Any, classes: np.ndarray, objective: Objective, cost: np.ndarray, seed: int
) -> ObjectiveNet:
    """Return a copy of the fitted net that goes on training (``warm_start``)."""
    if not np.array_equal(classes, clf.classes_):
        raise ValueError(
            f"warm_start=True goes on with the classes {clf.classes_.tolist()}, "
            f"but y has {classes.tolist()}."
        )
    # A copy, so that a failure leaves the fitted weights alone.
    net = copy.deepcopy(clf.net_)
    net.module_.to(net.device)
    net.objective, net.sigma, net.cost, net.seed = objective, float(clf.sigma), cost, seed
    net.max_epochs = clf.max_epochs
    return net


def check_module_output(net: ObjectiveNet, X: Any, n_classes: int) -> None:
    """Refuse a module whose output for one input is not (1, n_classes) logits."""
    # A copy: frames and memory maps may be read-only, which torch warns of.
    first = np.array(first_input(X)[None] if is_dataset(X) else X[:1])
    was_training = net.module_.training
    net.module_.eval()
    with torch.no_grad():
        logits = net.module_(torch.as_tensor(first, device=net.device))
    net.module_.train(was_training)
    shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if shape != (1, n_classes):
        raise ValueError(
            f"module must return logits of shape (b, {n_classes}), one column a class of y; "
            f"for an input batch of shape {tuple(first.shape)} it returned {shape}."
        )
    if not logits.is_floating_point():
        raise TypeError(
            "module must return logits in floating point; "
            f"got dtype {str(logits.dtype).removeprefix('torch.')}."
        )
    if not bool(torch.isfinite(logits).all()):
        raise ValueError(
            f"module must return finite logits; for the first input it returned {logits.tolist()}."
        )


@contextmanager
def unchanged_on_error(estimator: Any) -> Iterator[None]:
    """Give an estimator back its attributes if the block raises or is interrupted."""
    before = dict(estimator.__dict__)
    try:
        yield
    except BaseException:
        estimator.__dict__.clear()
        estimator.__dict__.update(before)
        raise
