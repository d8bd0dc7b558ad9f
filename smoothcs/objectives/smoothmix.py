"""SmoothMix and SmoothMix-CS: soft targets on the way to an adversarial input.

    loss  = mean_i [ w(y_i) * mean_d[ CE(F(x_i + d), y_i) ]
                     + eta * mean_d[ CE(F(x_mix + d), y_mix) ] ]
    x_mix = (1 - t) x + t x~,     y_mix = (1 - t) G(x) + t / m,     t ~ U[0, 1/2] per example
    x~    = argmax over x' of  -log G(x')_y - beta ||x' - x||_2^2,  by gradient steps from x

[Jeong21]_ Section 3; [Xin25]_ Eqs. 12-14, with the weight w on the first term only. The targets
x_mix and y_mix carry no gradient. The same draws d are used throughout.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from smoothcs._soft import (
    NoiseDraws,
    frozen_running_statistics,
    noisy_logits,
    soft_log_prediction,
)
from smoothcs._validation import check_choice, check_integer, check_positive, check_real
from smoothcs.attacks import normalized_ascent, soft_smoothed_loss
from smoothcs.objectives._losses import (
    check_weight_sensitive,
    class_weight,
    noisy_cross_entropy,
    warm_up,
)
from smoothcs.objectives.base import NoisyObjective, TrainingContext, register


@register("smoothmix-cs", weight_sensitive=2.0)
@register("smoothmix")
class SmoothMix(NoisyObjective):
    """Mixes inputs with unrestricted adversarial ones, and makes their targets less confident.

    A step costs ``n_steps + 2`` forward and backward passes of ``n_noise`` draws.

    Parameters
    ----------
    n_steps : int, default=4
        Gradient steps towards x~.
    step_size : float or None, default=None
        Length of a step, in input units. If None, 2 sigma, the values published for CIFAR-10.
    beta : float, default=0.0
        Weight of the squared distance in the search for x~. With 0, as in the published runs, only
        ``n_steps * step_size`` bounds the distance.
    eta : float, default=5.0
        Weight of the mixed term; published: 1 or 5.
    one_step : bool, default=False
        Whether to train the first term on the first iterate of the search instead of x, a
        single-step adversary (the "one-step" option of [Jeong21]_).
    only_correct : bool, default=False
        Whether to keep the mixed term only where G(x) predicts y, as the code published with
        [Jeong21]_ does; the equations have no such factor.
    warmup_epochs : int, default=10
        Epochs over which eta and the length of the one-step adversary grow linearly, as in that
        code. With 0, there is no warm-up.
    weight_sensitive : float, default=1.0
        Weight (>= 1), in the first term, of an example whose class has a sensitive target;
        ``"smoothmix-cs"`` sets 2.
    n_noise : int, default=2
        Draws per input; published: 2 for CIFAR-10, 4 for MNIST.
    microbatch : int or None, default=None
        Draws per forward pass; limits memory and changes nothing else.

    References
    ----------
    .. [Jeong21] Jeong, Park, Kim, et al., "SmoothMix: Training Confidence-calibrated Smoothed
       Classifiers for Certified Robustness", NeurIPS 2021.
    .. [Xin25] Xin, Chen, Backes, Zhang, "Provably Cost-Sensitive Adversarial Defense via
       Randomized Smoothing", ICML 2025.

    Examples
    --------
    >>> from smoothcs.objectives import SmoothMix
    >>> SmoothMix(eta=1.0, one_step=True)
    SmoothMix(eta=1.0, one_step=True)
    """

    def __init__(
        self,
        *,
        n_steps: int = 4,
        step_size: float | None = None,
        beta: float = 0.0,
        eta: float = 5.0,
        one_step: bool = False,
        only_correct: bool = False,
        warmup_epochs: int = 10,
        weight_sensitive: float = 1.0,
        n_noise: int = 2,
        microbatch: int | None = None,
    ) -> None:
        self.n_steps = n_steps
        self.step_size = step_size
        self.beta = beta
        self.eta = eta
        self.one_step = one_step
        self.only_correct = only_correct
        self.warmup_epochs = warmup_epochs
        self.weight_sensitive = weight_sensitive
        self.n_noise = n_noise
        self.microbatch = microbatch

    def validate(self) -> None:
        """Check the parameters."""
        super().validate()
        check_integer("n_steps", self.n_steps)
        if self.step_size is not None:
            check_positive("step_size", self.step_size)
        check_real("beta", self.beta, low=0.0, high_open=True)
        check_real("eta", self.eta, low=0.0, high_open=True)
        check_choice("one_step", self.one_step, (True, False))
        check_choice("only_correct", self.only_correct, (True, False))
        check_integer("warmup_epochs", self.warmup_epochs, low=0)
        check_weight_sensitive(self.weight_sensitive)

    def per_example(
        self, module: nn.Module, x: Tensor, y: Tensor, context: TrainingContext
    ) -> tuple[Tensor, Tensor]:
        """Return the terms (b,) and logits (b, m)."""
        draws = self.draw_noise(x, context)
        warm = warm_up(context, self.warmup_epochs)
        step_size = 2 * context.sigma if self.step_size is None else self.step_size
        first, x_adv = self.search(module, x, y, draws, step_size, context.noise_scale)
        if self.one_step:
            x = x + warm * (first - x)

        logits = noisy_logits(module, x, draws, len(context.cost))
        log_p = soft_log_prediction(logits)
        t = torch.rand(len(x), dtype=x.dtype, device=x.device, generator=context.generator) / 2
        x_mix, y_mix = mix(x, x_adv, log_p.detach().exp(), t)
        mixed = -(y_mix[:, None] * noisy_logits(module, x_mix, draws).log_softmax(-1))
        mixed = mixed.sum(-1).mean(1)
        if self.only_correct:
            mixed = mixed * (log_p.argmax(1) == y)

        weight = class_weight(y, context, self.weight_sensitive)
        return weight * noisy_cross_entropy(logits, y) + warm * self.eta * mixed, log_p

    def search(
        self,
        module: nn.Module,
        x: Tensor,
        y: Tensor,
        draws: NoiseDraws,
        step_size: float,
        noise_scale: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the first and the last iterate of the search for x~, both (b, ...)."""
        scale = 1.0 if noise_scale is None else noise_scale

        def loss(step: Tensor) -> Tensor:
            distance = step.flatten(1).square().sum(1)
            return soft_smoothed_loss(module, x + scale * step, y, draws) - self.beta * distance

        start = torch.zeros_like(x)
        with frozen_running_statistics(module):
            first = normalized_ascent(loss, start, n_steps=1, step_size=step_size)
            last = normalized_ascent(loss, first, n_steps=self.n_steps - 1, step_size=step_size)
        return x + scale * first, x + scale * last


def mix(x: Tensor, x_adv: Tensor, p: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Return x_mix = (1 - t) x + t x_adv and y_mix = (1 - t) p + t / m, with t of shape (b,)."""
    t_x = t.view(-1, *[1] * (x.ndim - 1))
    t_y = t.to(p)[:, None]
    # In this form an entry that the search left alone stays what it was, to the last bit.
    return x + t_x * (x_adv - x), (1 - t_y) * p + t_y / p.shape[1]
