"""The base classifier that votes: a module or model, and the rule that turns scores into answers.

Where every input has costs of its own, they are appended to it as entries without noise, so that
the base classifier stays one function of its input. An attacker does not change them: they belong
to the contract, not to x.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from smoothcs._estimator._inputs import is_dataset
from smoothcs.decision import MinCost, WeightedScores

Rule = WeightedScores | MinCost


def base_classifier(
    fitted: Any, rule: Rule | None, input_shape: tuple[int, ...], n_classes: int, own_costs: bool
) -> Any:
    """Return what votes: ``fitted`` itself, or with its scores decided by ``rule``.

    With ``own_costs`` its inputs are flat, and end in the costs (m, m) of the example.
    """
    if rule is None:
        if own_costs:
            raise ValueError("costs are used by decision='min-cost' alone; leave them out here.")
        return fitted
    if isinstance(fitted, nn.Module):
        return DecidedModule(fitted, rule, input_shape, n_classes, own_costs)
    scores = getattr(fitted, "scores", fitted)
    return DecidedScores(scores, rule, input_shape, n_classes, own_costs)


class DecidedModule(nn.Module):
    """A module whose logits, as probabilities, are decided by a rule."""

    def __init__(
        self,
        module: nn.Module,
        rule: Rule,
        input_shape: tuple[int, ...],
        n_classes: int,
        own_costs: bool,
    ) -> None:
        super().__init__()
        self.module = module
        self.input_shape, self.n_classes, self.own_costs = input_shape, n_classes, own_costs
        log_weights = costs = None
        if isinstance(rule, WeightedScores):
            log_weights = torch.as_tensor(np.log(rule.weights), dtype=torch.float32)
        elif not own_costs:
            costs = torch.tensor(rule.costs, dtype=torch.float32)
        self.register_buffer("log_weights", log_weights)
        self.register_buffer("costs", costs)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (b, m) whose largest is the answer."""
        costs = self.costs
        if self.own_costs:
            size = math.prod(self.input_shape)
            costs = x[:, size:].unflatten(1, (self.n_classes, self.n_classes))
            x = x[:, :size].unflatten(1, self.input_shape)
        logits = self.module(x)
        if self.log_weights is not None:
            return logits + self.log_weights
        p = logits.float().softmax(dim=1)
        if self.own_costs:
            return -(p[:, None] @ costs.float())[:, 0]
        return -(p @ costs.float())


class DecidedScores:
    """A function that returns probabilities (b, m), decided by a rule."""

    def __init__(
        self,
        scores: Callable[[NDArray[np.float32]], Any],
        rule: Rule,
        input_shape: tuple[int, ...],
        n_classes: int,
        own_costs: bool,
    ) -> None:
        self.scores, self.rule = scores, rule
        self.input_shape, self.n_classes, self.own_costs = input_shape, n_classes, own_costs

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float64]:
        costs = None
        if self.own_costs:
            size = math.prod(self.input_shape)
            costs = batch[:, size:].reshape(-1, self.n_classes, self.n_classes)
            batch = batch[:, :size].reshape(-1, *self.input_shape)
        p = self.scores(batch)
        p = p.detach().cpu().numpy() if isinstance(p, torch.Tensor) else np.asarray(p)
        if p.ndim != 2 or p.shape != (len(batch), self.n_classes):
            raise ValueError(
                "a decision by scores needs a base classifier that returns a probability per "
                f"class, shape ({len(batch)}, {self.n_classes}); got shape {p.shape}. For one that "
                "answers labels alone, use decision=WeightedVotes(...)."
            )
        p = p.astype(np.float64)
        if not np.all(p >= 0):
            raise ValueError(
                "a decision by scores needs probabilities >= 0 from a base classifier that is no "
                f"nn.Module; got {p.min()}."
            )
        return self.rule.adjusted(p, costs)


def with_costs(X: Any, costs: NDArray[np.float32]) -> Any:
    """Append the costs (n, m, m) of the examples to their flat inputs."""
    flat = costs.reshape(len(costs), -1)
    if is_dataset(X):
        return CostedDataset(X, flat)
    return np.concatenate([X.reshape(len(X), -1), flat], axis=1)


class CostedDataset(Dataset):
    """Inputs of a Dataset, flat, with the costs of each appended."""

    def __init__(self, dataset: Any, costs: NDArray[np.float32]) -> None:
        self.dataset, self.costs = dataset, costs

    def __len__(self) -> int:
        return len(self.costs)

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        item = self.dataset[index]
        x = item[0] if isinstance(item, tuple | list) else item
        return np.concatenate([np.asarray(x, np.float32).ravel(), self.costs[index]])


def check_costs(costs: Any, n_inputs: int, n_classes: int) -> NDArray[np.float32] | None:
    """Return the costs of each example as float32 (n, m, m), or raise.

    Raises
    ------
    ValueError
        If there is not one matrix of costs >= 0 per input.
    """
    if costs is None:
        return None
    try:
        array = np.asarray(costs, dtype=np.float32)
    except (TypeError, ValueError):
        raise ValueError("costs must be an array of numbers of shape (n, m, m).") from None
    wanted = (n_inputs, n_classes, n_classes)
    if array.shape != wanted:
        raise ValueError(
            f"costs must have shape {wanted}, a matrix (true class, answer) per row of X; got "
            f"{array.shape}."
        )
    if not np.all((array >= 0) & np.isfinite(array)):
        i, y, k = np.argwhere(~((array >= 0) & np.isfinite(array)))[0]
        raise ValueError(
            f"costs must be finite and >= 0; costs[{i}, {y}, {k}] is {array[i, y, k]}."
        )
    unpriced = np.flatnonzero(~array.any(axis=(1, 2)))
    if len(unpriced):
        raise ValueError(
            f"costs of row {unpriced[0]} are all 0: no answer would be better than another."
        )
    return array
