"""SmoothAdv and SmoothAdv-CS: adversarial training of the smoothed classifier.

    loss = mean_i  w(y_i) * mean_d[ CE(F(x~_i + d), y_i) ],     w = weight_sensitive on sensitive y
    x~_i = argmax over ||x' - x_i||_2 <= eps_attack of  -log mean_d[ softmax(F(x' + d))_{y_i} ]

[Salman19]_ Section 3; reweighted as in [Xin25]_ Eqs. 10-11. The same draws d are used in the attack
and in the loss.
"""

from __future__ import annotations

from torch import Tensor, nn

from smoothcs._soft import noisy_logits, soft_log_prediction
from smoothcs._validation import check_integer, check_positive
from smoothcs.attacks import l2_pgd
from smoothcs.objectives._losses import (
    check_weight_sensitive,
    class_weight,
    noisy_cross_entropy,
    warm_up,
)
from smoothcs.objectives.base import NoisyObjective, TrainingContext, register


@register("smoothadv-cs", weight_sensitive=2.0)
@register("smoothadv")
class SmoothAdv(NoisyObjective):
    """Cross-entropy of inputs that are attacked before noise is added.

    A step costs ``n_steps + 1`` forward and backward passes of ``n_noise`` draws.

    Parameters
    ----------
    eps_attack : float or None, default=None
        Radius of the attack, in input units. If None, sigma.
    n_steps : int, default=4
        Attack steps; [Salman19]_ uses 2 to 10.
    step_size : float or None, default=None
        Length of a step, in input units. If None, ``2 * eps_attack / n_steps``, as published.
    warmup_epochs : int, default=10
        Epochs over which the radius grows linearly to ``eps_attack``. With 0, there is no warm-up.
    weight_sensitive : float, default=1.0
        Weight (>= 1) of an example whose class has a sensitive target; ``"smoothadv-cs"`` sets 2.
    n_noise : int, default=4
        Draws per input; published: 1 to 8.
    microbatch : int or None, default=None
        Draws per forward pass; limits memory and changes nothing else.

    References
    ----------
    .. [Salman19] Salman, Yang, Li, et al., "Provably Robust Deep Learning via Adversarially
       Trained Smoothed Classifiers", NeurIPS 2019.
    .. [Xin25] Xin, Chen, Backes, Zhang, "Provably Cost-Sensitive Adversarial Defense via
       Randomized Smoothing", ICML 2025.

    Examples
    --------
    >>> from smoothcs.objectives import SmoothAdv
    >>> SmoothAdv(eps_attack=1.0, weight_sensitive=2.0)
    SmoothAdv(eps_attack=1.0, weight_sensitive=2.0)
    """

    def __init__(
        self,
        *,
        eps_attack: float | None = None,
        n_steps: int = 4,
        step_size: float | None = None,
        warmup_epochs: int = 10,
        weight_sensitive: float = 1.0,
        n_noise: int = 4,
        microbatch: int | None = None,
    ) -> None:
        self.eps_attack = eps_attack
        self.n_steps = n_steps
        self.step_size = step_size
        self.warmup_epochs = warmup_epochs
        self.weight_sensitive = weight_sensitive
        self.n_noise = n_noise
        self.microbatch = microbatch

    def validate(self) -> None:
        """Check the parameters."""
        super().validate()
        if self.eps_attack is not None:
            check_positive("eps_attack", self.eps_attack)
        check_integer("n_steps", self.n_steps)
        if self.step_size is not None:
            check_positive("step_size", self.step_size)
        check_integer("warmup_epochs", self.warmup_epochs, low=0)
        check_weight_sensitive(self.weight_sensitive)

    def per_example(
        self, module: nn.Module, x: Tensor, y: Tensor, context: TrainingContext
    ) -> tuple[Tensor, Tensor]:
        """Return the terms (b,) and logits (b, m)."""
        draws = self.draw_noise(x, context)
        eps = context.sigma if self.eps_attack is None else self.eps_attack
        eps = eps * warm_up(context, self.warmup_epochs)
        x_adv = l2_pgd(
            module,
            x,
            y,
            eps=eps,
            noise=draws,
            n_steps=self.n_steps,
            step_size=self.step_size,
            noise_scale=context.noise_scale,
        )
        logits = noisy_logits(module, x_adv, draws, len(context.cost))
        weight = class_weight(y, context, self.weight_sensitive)
        return weight * noisy_cross_entropy(logits, y), soft_log_prediction(logits)
