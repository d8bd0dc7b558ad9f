"""Cross-entropy without noise: the baseline that is neither cost-sensitive nor robust.

loss = mean_i log(1 + sum_{j != y} exp(F(x_i)_j - F(x_i)_y)),     y = y_i
"""

from __future__ import annotations

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
