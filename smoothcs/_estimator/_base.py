"""The base classifier that votes: a module or model, and the rule that turns scores into answers.

Where every input has costs of its own, they are appended to it as entries without noise, so that
the base classifier stays one function of its input. An attacker does not change them: they belong
to the contract, not to x.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from smoothcs._estimator._inputs import PredictedClass, is_dataset
from smoothcs._soft import check_logits
from smoothcs.decision import MinCost, WeightedScores
from smoothcs.votes._forward import _lock_of
from smoothcs.votes._source import input_of

Rule = WeightedScores | MinCost


def base_classifier(
    fitted: Any, rule: Rule | None, input_shape: tuple[int, ...], n_classes: int
) -> Any:
    """Return what votes: ``fitted`` itself, or with its scores decided by ``rule``.

    If the rule needs the costs of each example, inputs are flat and end in these costs (m, m).
    """
    if rule is None:
        return fitted
    kind = DecidedModule if isinstance(fitted, nn.Module) else DecidedScores
    return kind(fitted, rule, input_shape, n_classes)


def _rule_id(rule: Rule) -> str:
    """Return what a rule decides by, to the last bit: files of votes are known by it."""
    values = rule.weights if isinstance(rule, WeightedScores) else rule.costs
    exact = "of each example" if values is None else np.asarray(values, np.float64).tobytes().hex()
    tempered = "" if rule.temperature == 1.0 else f" temperature {rule.temperature.hex()}"
    return f"{type(rule).__name__} {exact}{tempered}"


class DecidedModule(nn.Module):
    """A module whose logits, as probabilities, are decided by a rule."""

    log_weights: Tensor | None
    costs: Tensor | None

    def __init__(
        self, module: nn.Module, rule: Rule, input_shape: tuple[int, ...], n_classes: int
    ) -> None:
        super().__init__()
        self.module = module
        self.input_shape, self.n_classes, self.own_costs = input_shape, n_classes, rule.needs_costs
        self.rule_id, self.temperature = _rule_id(rule), rule.temperature
        log_weights = costs = None
        if isinstance(rule, WeightedScores):
            log_weights = torch.as_tensor(np.log(rule.weights), dtype=torch.float32)
        elif rule.costs is not None:
            # Only ratios matter, and float16 ends at 65,504.
            costs = torch.as_tensor(rule.costs / rule.costs.max(), dtype=torch.float32)
        self.register_buffer("log_weights", log_weights)
        self.register_buffer("costs", costs)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (b, m) whose largest is the answer."""
        costs = self.costs
        if self.own_costs:
            size = math.prod(self.input_shape)
            costs = x[:, size:].unflatten(1, (self.n_classes, self.n_classes))
            x = x[:, :size].contiguous().unflatten(1, self.input_shape)
        logits = check_logits(self.module(x), len(x), self.n_classes)
        if self.temperature != 1.0:
            logits = logits / self.temperature
        if self.log_weights is not None:
            return logits + self.log_weights.float()
        assert costs is not None  # of the example or of all
        p = logits.float().softmax(dim=1)
        if self.own_costs:
            return -(p[:, None] @ costs.float())[:, 0]
        return -(p @ costs.float())


class DecidedScores:
    """Probabilities (b, m), of a scikit-learn model or a callable, decided by a rule."""

    def __init__(
        self, model: Any, rule: Rule, input_shape: tuple[int, ...], n_classes: int
    ) -> None:
        self.model, self.rule, self.rule_id = model, rule, _rule_id(rule)
        self.input_shape, self.n_classes = input_shape, n_classes

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float64]:
        costs = None
        if self.rule.needs_costs:
            size = math.prod(self.input_shape)
            costs = batch[:, size:].reshape(-1, self.n_classes, self.n_classes)
            batch = batch[:, :size].reshape(-1, *self.input_shape)
        scores = self.model.scores if isinstance(self.model, PredictedClass) else self.model
        with _lock_of(self.model):  # this object is one of several around the same model
            p = scores(batch)
        p = p.detach().cpu().numpy() if isinstance(p, torch.Tensor) else np.asarray(p)
        if p.ndim != 2 or p.shape != (len(batch), self.n_classes):
            raise ValueError(
                "a decision by scores needs a base classifier that returns a probability per "
                f"class, shape ({len(batch)}, {self.n_classes}); got shape {p.shape}. For one that "
                "answers labels alone, use decision=WeightedVotes(...)."
            )
        p = p.astype(np.float64)
        total = p.sum(axis=1)
        wrong = ~((p >= 0).all(axis=1) & (np.abs(total - 1) <= 0.01))
        if wrong.any():
            raise ValueError(
                "a decision by scores needs probabilities, >= 0 and of sum 1, from a base "
                f"classifier that is no nn.Module; got {p[wrong][0].tolist()}."
            )
        if self.rule.temperature != 1.0:
            p = (p / p.max(axis=1, keepdims=True)) ** (1.0 / self.rule.temperature)
            p /= p.sum(axis=1, keepdims=True)
        return self.rule.adjusted(p, costs)


def with_costs(X: Any, costs: NDArray[np.float64]) -> Any:
    """Append the costs (n, m, m) of the examples to their flat inputs.

    Those of an example are divided by a power of 2 that makes the largest at most 1: no decision
    changes, and they fit into float16.
    """
    flat = costs.reshape(len(costs), -1)
    flat = np.ldexp(flat, -np.frexp(flat.max(axis=1, keepdims=True))[1]).astype(np.float32)
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
        x = np.asarray(input_of(self.dataset[index]), np.float32)
        return np.concatenate([x.ravel(), self.costs[index]])
