"""Gaussian and Gaussian-CS: cross-entropy under noise.

    loss = mean_i  w(y_i) * mean_d[ CE(F(x_i + d), y_i) ],     w = weight_sensitive on sensitive y

[Cohen19]_ Section 3.3 with weight 1; reweighted as in [Xin25]_ Appendix D.1.
"""

from __future__ import annotations

from torch import Tensor, nn

from smoothcs._soft import soft_log_prediction
from smoothcs.objectives._losses import check_weight_sensitive, class_weight, noisy_cross_entropy
from smoothcs.objectives.base import NoisyObjective, TrainingContext, register


@register("gaussian-cs", weight_sensitive=2.0)
@register("gaussian")
class Gaussian(NoisyObjective):
    """Cross-entropy of noisy inputs, optionally with more weight on sensitive classes.

    Parameters
    ----------
    weight_sensitive : float, default=1.0
        Weight (>= 1) of an example whose class has a sensitive target; ``"gaussian-cs"`` sets 2.
        With 1 this is exactly plain Gaussian training. This is the weight of an *example*. The
        "lambda = 1.1" of [Xin25]_ is on another scale: the published runs added 0.1 times the
        *mean* loss of the sensitive examples of a batch, which for a class of 10 % prevalence is a
        weight of 2.
    n_noise : int, default=1
        Noise draws per input and step.
    microbatch : int or None, default=None
        Draws per forward pass; limits memory and changes nothing else.

    References
    ----------
    .. [Cohen19] Cohen, Rosenfeld, Kolter, "Certified Adversarial Robustness via Randomized
       Smoothing", ICML 2019.
    .. [Xin25] Xin, Chen, Backes, Zhang, "Provably Cost-Sensitive Adversarial Defense via
       Randomized Smoothing", ICML 2025.

    Examples
    --------
    >>> from smoothcs.objectives import Gaussian
    >>> Gaussian(weight_sensitive=3.0)
    Gaussian(weight_sensitive=3.0)
    """

    def __init__(
        self, *, weight_sensitive: float = 1.0, n_noise: int = 1, microbatch: int | None = None
    ) -> None:
        self.weight_sensitive = weight_sensitive
        self.n_noise = n_noise
        self.microbatch = microbatch

    def validate(self) -> None:
        """Check the parameters."""
        super().validate()
        check_weight_sensitive(self.weight_sensitive)

    def per_example(
        self, module: nn.Module, x: Tensor, y: Tensor, context: TrainingContext
    ) -> tuple[Tensor, Tensor]:
        """Return the terms (b,) and logits (b, m)."""
        logits = self.noisy_logits(module, x, context)
        weight = class_weight(y, context, self.weight_sensitive)
        return weight * noisy_cross_entropy(logits, y), soft_log_prediction(logits)
