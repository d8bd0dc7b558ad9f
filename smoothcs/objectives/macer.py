"""MACER: cross-entropy plus a hinge on the certified radius.

    loss = mean_i [ -log G(x_i)_{y_i}  +  lambda_robust * (sigma / 2) * L(v_i; 0, gamma) ]
    v    = PhiInv(G_y) - PhiInv(max_{k != y} G_k),     L(v; l, u) = max(u - v, 0) 1{l <= v <= u}

[Zhai20]_ Eqs. 8-9 and Algorithm 1. ``v`` is 2 r / sigma, so gamma has no units of length and
``(sigma / 2) * L`` is the hinge in units of the radius. The first G averages plain softmaxes; the
one in ``v`` averages softmax(inverse_temperature * logits).
"""

from __future__ import annotations

from torch import Tensor, nn

from smoothcs._soft import soft_log_prediction, soft_prediction
from smoothcs._validation import check_choice, check_positive, check_real
from smoothcs.objectives._losses import classification_term, margin_loss, standard_margin
from smoothcs.objectives.base import NoisyObjective, TrainingContext, register


@register("macer")
class Macer(NoisyObjective):
    """MACER, which enlarges the certified radii of correctly classified inputs.

    Parameters
    ----------
    lambda_robust : float, default=1.0
        Weight of the radius term. Published: 4 ([Xin25]_), 6 to 16 ([Zhai20]_), for hundreds of
        epochs of large networks; small problems lose accuracy at those values.
    gamma : float, default=8.0
        Upper end of the hinge, in units of ``2 r / sigma``: inputs beyond it add nothing.
    inverse_temperature : float, default=16.0
        Sharpens the softmax in the radius towards the votes of the hard classifier.
    cross_entropy : {"average", "noisy"}, default="average"
        ``"average"`` is the cross-entropy of the averaged prediction G, as in [Zhai20]_;
        ``"noisy"`` is the average of the cross-entropies of the noisy inputs, as in Eq. 4 of
        [Xin25]_, which holds each draw to its label and trains small networks better.
    n_noise : int, default=8
        Draws per input; the papers use 16, at twice the cost.
    microbatch : int or None, default=None
        Draws per forward pass; limits memory and changes nothing else.

    References
    ----------
    .. [Zhai20] Zhai, Dan, He, et al., "MACER: Attack-free and Scalable Robust Training via
       Maximizing Certified Radius", ICLR 2020.
    .. [Xin25] Xin, Chen, Backes, Zhang, "Provably Cost-Sensitive Adversarial Defense via
       Randomized Smoothing", ICML 2025.

    Examples
    --------
    >>> from smoothcs.objectives import Macer
    >>> Macer(gamma=4.0)
    Macer(gamma=4.0)
    """

    def __init__(
        self,
        *,
        lambda_robust: float = 1.0,
        gamma: float = 8.0,
        inverse_temperature: float = 16.0,
        cross_entropy: str = "average",
        n_noise: int = 8,
        microbatch: int | None = None,
    ) -> None:
        self.lambda_robust = lambda_robust
        self.gamma = gamma
        self.inverse_temperature = inverse_temperature
        self.cross_entropy = cross_entropy
        self.n_noise = n_noise
        self.microbatch = microbatch

    def validate(self) -> None:
        """Check the parameters."""
        super().validate()
        check_real("lambda_robust", self.lambda_robust, low=0.0, high_open=True)
        check_positive("gamma", self.gamma)
        check_positive("inverse_temperature", self.inverse_temperature)
        check_choice("cross_entropy", self.cross_entropy, ("average", "noisy"))

    def per_example(
        self, module: nn.Module, x: Tensor, y: Tensor, context: TrainingContext
    ) -> tuple[Tensor, Tensor]:
        """Return the terms (b,) and logits (b, m)."""
        logits = self.noisy_logits(module, x, context)
        log_p = soft_log_prediction(logits)
        margin = standard_margin(soft_prediction(logits, self.inverse_temperature), y)
        hinge = context.sigma / 2 * margin_loss(margin, 0.0, self.gamma)
        terms = classification_term(self.cross_entropy, logits, log_p, y) + (
            self.lambda_robust * hinge
        ).to(log_p)
        return terms, log_p
