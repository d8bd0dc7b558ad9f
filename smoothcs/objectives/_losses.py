"""What the objectives share: weights of examples, cross-entropies and hinges on margins."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from smoothcs._soft import normal_quantile
from smoothcs._validation import check_real
from smoothcs.objectives.base import TrainingContext


def sensitive_examples(rows: Tensor) -> Tensor:
    """Return which examples have a costly mistake, a *bool* mask (b,), from their costs (b, m)."""
    return (rows > 0).any(dim=1)


def class_weight(y: Tensor, context: TrainingContext, weight_sensitive: float) -> Tensor:
    """Return ``weight_sensitive`` for examples of sensitive classes and 1 for the others, (b,).

    Where examples have costs of their own, scaled to a mean of 1, what exceeds 1 is in proportion
    to the largest of them.
    """
    rows = context.rows(y)
    if context.costs is not None:
        return 1.0 + (weight_sensitive - 1.0) * rows.amax(dim=1)
    weight = torch.ones_like(y, dtype=rows.dtype)
    return weight.masked_fill(sensitive_examples(rows), weight_sensitive)


def check_weight_sensitive(value: Any) -> float:
    """Return ``value`` as a float >= 1, or raise."""
    return check_real("weight_sensitive", value, low=1.0, high_open=True)


def warm_up(context: TrainingContext, warmup_epochs: int) -> float:
    """Return the share in (0, 1] of a quantity that grows linearly over the first epochs."""
    return min(1.0, (context.epoch + 1) / max(warmup_epochs, 1))


def noisy_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Return the cross-entropy of each example, averaged over its draws: (b, n, m) -> (b,)."""
    log_p = logits.log_softmax(-1)
    return -log_p.gather(-1, y[:, None, None].expand(-1, log_p.shape[1], 1)).mean((1, 2))


def log_one_plus_sum_exp(exponents: Tensor) -> Tensor:
    """Return log(1 + sum_k exp(exponents_k)): (b, m) -> (b,)."""
    zero = torch.zeros_like(exponents[:, :1])
    return torch.cat([zero, exponents], dim=1).logsumexp(1)


def margin_loss(margin: Tensor, lower: float, upper: float) -> Tensor:
    """Return L(v; lower, upper) = max(upper - v, 0) where lower <= v <= upper, else 0."""
    inside = (margin >= lower) & (margin <= upper)
    return (upper - margin).clamp(min=0).masked_fill(~inside, 0.0)


def standard_margin(p: Tensor, y: Tensor) -> Tensor:
    """Return PhiInv(p_y) - PhiInv(max_{k != y} p_k): (b, m), (b,) -> (b,)."""
    p_y = p.gather(1, y[:, None])[:, 0]
    p_other = p.scatter(1, y[:, None], -1.0).amax(1)
    return normal_quantile(p_y) - normal_quantile(p_other)


def classification_term(kind: str, logits: Tensor, log_p: Tensor, y: Tensor) -> Tensor:
    """Return the "average" cross-entropy -log G(x)_y, from log G, or the "noisy" one: (b,)."""
    if kind == "noisy":
        return noisy_cross_entropy(logits, y)
    return -log_p.gather(1, y[:, None])[:, 0]
