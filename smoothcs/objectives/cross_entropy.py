"""Plain and cost-sensitive cross-entropy without noise: the baselines that are not robust.

    ce:                 loss = mean_i log(1 + sum_{j != y} exp(F(x_i)_j - F(x_i)_y)),     y = y_i
    cost-sensitive-ce:  loss = mean_i log(1 + sum_{j != y} C[y, j] exp(F(x_i)_j - F(x_i)_y))

The second is [Khan18]_ as used in [ZE19]_ Eq. B.1; with costs of 1 it is the first.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from smoothcs._soft import check_logits
from smoothcs.objectives.base import Objective, TrainingContext, register


@register("ce")
class CrossEntropy(Objective):
    """Cross-entropy of clean inputs; has no parameters.

    Examples
    --------
    >>> from smoothcs.objectives import CrossEntropy
    >>> CrossEntropy()
    CrossEntropy()
    """

    def validate(self) -> None:
        """Check the parameters: there are none."""

    def per_example(
        self, module: nn.Module, x: Tensor, y: Tensor, context: TrainingContext
    ) -> tuple[Tensor, Tensor]:
        """Return the terms (b,) and logits (b, m)."""
        logits = check_logits(module(x), len(x), len(context.cost))
        return cross_entropy(logits, y, reduction="none"), logits


@register("cost-sensitive-ce")
class CostSensitiveCrossEntropy(Objective):
    """Cross-entropy in which every rival class counts by its cost; has no parameters.

    A class whose mistakes all cost 0 contributes nothing, so give such mistakes a small cost if
    their accuracy matters at all ([ZE19]_ uses 0.1).

    References
    ----------
    .. [Khan18] Khan, Hayat, Bennamoun, et al., "Cost-Sensitive Learning of Deep Feature
       Representations from Imbalanced Data", IEEE TNNLS 29(8), 2018.
    .. [ZE19] Zhang, Evans, "Cost-Sensitive Robustness against Adversarial Examples", ICLR 2019.

    Examples
    --------
    >>> from smoothcs.objectives import CostSensitiveCrossEntropy
    >>> CostSensitiveCrossEntropy()
    CostSensitiveCrossEntropy()
    """

    def validate(self) -> None:
        """Check the parameters: there are none."""

    def per_example(
        self, module: nn.Module, x: Tensor, y: Tensor, context: TrainingContext
    ) -> tuple[Tensor, Tensor]:
        """Return the terms (b,) and logits (b, m)."""
        logits = check_logits(module(x), len(x), len(context.cost))
        rivals = logits - logits.gather(1, y[:, None]) + context.cost[y].log()
        return torch.cat([torch.zeros_like(rivals[:, :1]), rivals], dim=1).logsumexp(1), logits
