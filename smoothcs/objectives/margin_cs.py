"""Margin-CS: cross-entropy, a hinge on the radius of normal examples, and one on every costly pair.

    loss = mean_i [ -log G(x_i)_{y_i} ]
         + lambda_robust * (sigma / 2) * { mean over normal i of L(v_i; 0, gamma_normal)
             + lambda_sensitive * mean over sensitive i of
                   sum_{j in Omega_{y_i}} C[y_i, j] L(v_ij; lower, gamma_sensitive) }

    v_i  = PhiInv(G_y) - PhiInv(max_{k != y} G_k),       v_ij = PhiInv(G_y) - PhiInv(G_j),
    L(v; l, u) = max(u - v, 0) 1{l <= v <= u}

[Xin25]_ Eq. 4; the options are those of [Xin23]_ Eq. 2. The margins v are 2 r / sigma, so the
gammas have no units of length, and ``(sigma / 2) * L`` is the hinge in units of the radius, as in
MACER: with no sensitive class and ``normal_term="all"`` this is MACER with ``gamma=gamma_normal``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from smoothcs._soft import normal_quantile, soft_log_prediction, soft_prediction
from smoothcs._validation import check_choice, check_positive, check_real
from smoothcs.objectives._losses import (
    classification_term,
    margin_loss,
    sensitive_examples,
    standard_margin,
)
from smoothcs.objectives.base import NoisyObjective, TrainingContext, register

PUBLISHED: dict[str, Any] = {
    "lambda_robust": 3.0,
    "lambda_sensitive": 3.0,
    "gamma_normal": 4.0,
    "gamma_sensitive": 16.0,
    "margin": "pairwise",
    "normalize_costs": False,
    "cross_entropy": "average",
    "n_noise": 16,
    "inverse_temperature": 16.0,
}


@register("margin-cs")
class MarginCS(NoisyObjective):
    """Cost-sensitive margin loss, which makes costly mistakes hard to provoke.

    The defaults cost little accuracy on small problems and large ones; :meth:`published` gives the
    values of the papers, found for CIFAR-10 with a ResNet-56, which on small problems push nearly
    every input into the sensitive classes. Tune ``lambda_sensitive`` first.

    Parameters
    ----------
    lambda_robust : float, default=0.3
        Weight of both radius terms (lambda_1; published: 3).
    lambda_sensitive : float, default=3.0
        Weight of the sensitive term within them (lambda_2), as published.
    gamma_normal : float, default=4.0
        Upper end of the hinge of normal examples, in units of 2 r / sigma (gamma_1).
    gamma_sensitive : float, default=8.0
        Upper end of the hinge of sensitive pairs, same units (gamma_2; published: 16). Margins are
        at most 10.4 here, because probabilities are clamped to [1e-7, 1 - 1e-7].
    margin : {"group", "pairwise"}, default="group"
        ``"group"`` has one term, against the likeliest sensitive target, times that target's cost
        ([Xin23]_), so that the lambdas mean the same for 1 and for 9 targets. ``"pairwise"``, as
        published, sums over the sensitive targets of the class ([Xin25]_ Eq. 4).
    sensitive_lower : {"negative-gamma", "zero"}, default="negative-gamma"
        Lower end of the sensitive hinge: ``-gamma_sensitive`` also moves misclassified inputs
        ([Xin23]_ Eq. 2); 0 leaves them to the cross-entropy ([Xin25]_ Eq. 4).
    normal_term : {"normal", "all"}, default="normal"
        Which examples the first hinge includes: those of classes that are not sensitive
        ([Xin25]_ Eq. 4), or all ([Xin23]_, which recommends this for pairwise cost matrices).
    balanced : bool, default=False
        If False, the sums over a batch are divided by the batch size, as in the published runs, so
        the sensitive term scales with prevalence. If True, each hinge is divided by the number of
        examples that it includes, which gives the conditional expectations of Eq. 4.
    normalize_costs : {"mean", "largest", "row", False}, default="mean"
        ``"mean"`` divides the cost matrix by the mean of its positive entries, so that its unit
        does not matter and one dear mistake does not make the others free; ``"largest"`` by its
        largest entry. Costs of the examples come scaled already. ``"row"`` divides the costs of a
        row by their sum (for ``margin="group"``, by their mean over the sensitive targets): ratios
        within a row remain, differences between rows are lost. False, as published, takes them as
        given.
    cross_entropy : {"noisy", "average"}, default="noisy"
        ``"noisy"`` is the average of the cross-entropies of the noisy inputs, as in Eq. 4 of
        [Xin25]_, which holds each draw to its label and trains small networks better;
        ``"average"``, as in [Zhai20]_ and the published runs, is the cross-entropy of the averaged
        prediction G.
    n_noise : int, default=2
        Draws per input (published: 16). Fresh noise in more epochs is worth more than many draws.
    inverse_temperature : float, default=4.0
        Sharpens the softmax in the margins towards the votes of the hard classifier (published:
        16).
    microbatch : int or None, default=None
        Draws per forward pass; limits memory and changes nothing else.

    References
    ----------
    .. [Xin25] Xin, Chen, Backes, Zhang, "Provably Cost-Sensitive Adversarial Defense via
       Randomized Smoothing", ICML 2025 (arXiv 2310.08732v3).
    .. [Zhai20] Zhai, Dan, He, et al., "MACER: Attack-free and Scalable Robust Training via
       Maximizing Certified Radius", ICLR 2020.
    .. [Xin23] The first version of the same paper, arXiv 2310.08732v1.

    Examples
    --------
    >>> from smoothcs.objectives import MarginCS
    >>> MarginCS(lambda_robust=1.0, gamma_sensitive=16.0)
    MarginCS(gamma_sensitive=16.0, lambda_robust=1.0)
    """

    def __init__(
        self,
        *,
        lambda_robust: float = 0.3,
        lambda_sensitive: float = 3.0,
        gamma_normal: float = 4.0,
        gamma_sensitive: float = 8.0,
        margin: str = "group",
        sensitive_lower: str = "negative-gamma",
        normal_term: str = "normal",
        balanced: bool = False,
        normalize_costs: str | bool = "mean",
        cross_entropy: str = "noisy",
        n_noise: int = 2,
        inverse_temperature: float = 4.0,
        microbatch: int | None = None,
    ) -> None:
        self.lambda_robust = lambda_robust
        self.lambda_sensitive = lambda_sensitive
        self.gamma_normal = gamma_normal
        self.gamma_sensitive = gamma_sensitive
        self.margin = margin
        self.sensitive_lower = sensitive_lower
        self.normal_term = normal_term
        self.balanced = balanced
        self.normalize_costs = normalize_costs
        self.cross_entropy = cross_entropy
        self.n_noise = n_noise
        self.inverse_temperature = inverse_temperature
        self.microbatch = microbatch

    @classmethod
    def published(cls, **changes: Any) -> MarginCS:
        """Return the objective with the values of the published runs, or some ``changes`` to them.

        Examples
        --------
        >>> from smoothcs.objectives import MarginCS
        >>> MarginCS.published(n_noise=4).gamma_sensitive
        16.0
        """
        return cls(**{**PUBLISHED, **changes})

    def validate(self) -> None:
        """Check the parameters."""
        super().validate()
        check_real("lambda_robust", self.lambda_robust, low=0.0, high_open=True)
        check_real("lambda_sensitive", self.lambda_sensitive, low=0.0, high_open=True)
        check_positive("gamma_normal", self.gamma_normal)
        check_positive("gamma_sensitive", self.gamma_sensitive)
        check_choice("margin", self.margin, ("pairwise", "group"))
        check_choice("sensitive_lower", self.sensitive_lower, ("negative-gamma", "zero"))
        check_choice("normal_term", self.normal_term, ("normal", "all"))
        check_choice("balanced", self.balanced, (True, False))
        check_choice("normalize_costs", self.normalize_costs, (False, "row", "largest", "mean"))
        check_positive("inverse_temperature", self.inverse_temperature)
        check_choice("cross_entropy", self.cross_entropy, ("average", "noisy"))

    def per_example(
        self, module: nn.Module, x: Tensor, y: Tensor, context: TrainingContext
    ) -> tuple[Tensor, Tensor]:
        """Return the terms (b,) and logits (b, m)."""
        logits = self.noisy_logits(module, x, context)
        log_p = soft_log_prediction(logits)
        p = soft_prediction(logits, self.inverse_temperature)
        sensitive = sensitive_examples(context.rows(y))
        normal = ~sensitive if self.normal_term == "normal" else torch.ones_like(sensitive)

        normal_hinge = margin_loss(standard_margin(p, y), 0.0, self.gamma_normal)
        hinge = self._mean_over(normal, normal_hinge) + self.lambda_sensitive * self._mean_over(
            sensitive, self._sensitive_hinge(p, y, self._scaled(context, y))
        )
        hinge = context.sigma / 2 * hinge
        terms = classification_term(self.cross_entropy, logits, log_p, y) + (
            self.lambda_robust * hinge
        ).to(log_p)
        return terms, log_p

    def _sensitive_hinge(self, p: Tensor, y: Tensor, cost: Tensor) -> Tensor:
        """Return sum_j C[y, j] L(v_j; lower, gamma_sensitive), Tensor (b,)."""
        quantile = normal_quantile(p)
        margins = quantile.gather(1, y[:, None]) - quantile
        if self.margin == "group":
            nearest = margins.masked_fill(cost <= 0, torch.inf).argmin(1, keepdim=True)
            margins, cost = margins.gather(1, nearest), cost.gather(1, nearest)
        lower = 0.0 if self.sensitive_lower == "zero" else -self.gamma_sensitive
        return (cost * margin_loss(margins, lower, self.gamma_sensitive)).sum(1)

    def _scaled(self, context: TrainingContext, y: Tensor) -> Tensor:
        """Return the costs (b, m) of the examples, normalised on request; rows of zeros stay."""
        cost = context.rows(y)
        if not self.normalize_costs or (cost is context.costs and self.normalize_costs != "row"):
            return cost  # those of the examples come scaled
        if self.normalize_costs == "largest":
            unit = context.cost.max()
        elif self.normalize_costs == "mean":
            unit = context.cost.sum() / (context.cost > 0).sum().clamp(min=1)
        else:
            unit = cost.sum(1, keepdim=True)
            if self.margin == "group":
                unit = unit / (cost > 0).sum(1, keepdim=True).clamp(min=1)
        return cost / unit.masked_fill(unit == 0, 1.0)

    def _mean_over(self, mask: Tensor, hinge: Tensor) -> Tensor:
        """Keep the examples in ``mask``; if balanced, rescale so that the batch mean is theirs."""
        hinge = hinge.masked_fill(~mask, 0.0)
        if self.balanced:
            hinge = hinge * (len(mask) / mask.sum().clamp(min=1))
        return hinge
