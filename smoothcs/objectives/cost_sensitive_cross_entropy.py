"""Cost-sensitive cross-entropy without noise: the baseline that is not robust.

    loss = mean_i log(1 + sum_{j != y} C[y, j] exp(F(x_i)_j - F(x_i)_y)),     y = y_i

This is [Khan18]_ as used in [ZE19]_ Eq. B.1; with costs of 1 it is the plain cross-entropy.
"""

from __future__ import annotations

from torch import Tensor, nn

from smoothcs._soft import check_logits
from smoothcs.objectives._losses import log_one_plus_sum_exp
from smoothcs.objectives.base import Objective, TrainingContext, register


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
        rivals = logits - logits.gather(1, y[:, None]) + context.rows(y).log()
        return log_one_plus_sum_exp(rivals), logits
