"""Training objectives on the lower bounds J of the convex relaxation: [ZE19]_ Eq. 3.2 and 2.7.

References
----------
.. [ZE19] Zhang, Evans, "Cost-Sensitive Robustness against Adversarial Examples", ICLR 2019.
.. [WK18] Wong, Kolter, "Provable Defenses against Adversarial Examples via the Convex Outer
   Adversarial Polytope", ICML 2018.
.. [Wong18] Wong, Schmidt, Metzen, Kolter, "Scaling Provable Adversarial Defenses", NeurIPS 2018.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from smoothcs.convex._bounds import lower_bounds, plain_sequential
from smoothcs.objectives._losses import log_one_plus_sum_exp, sensitive_examples
from smoothcs.objectives.base import Objective, TrainingContext


@dataclass(frozen=True)
class TrainingBall:
    """The perturbations that training defends against.

    Parameters
    ----------
    eps : float
        Radius.
    norm : {"linf", "l2"}
    eps_start : float
        Radius in the first epoch.
    warmup_epochs : int
        Epochs over which the radius grows linearly from ``eps_start`` to ``eps``.
    bounds : (float, float) or None
        Range of the entries of perturbed inputs.
    projection : int or None
        Dimension of the random projections of [Wong18]_. If None, bounds are exact.
    """

    eps: float
    norm: str
    eps_start: float = 0.0
    warmup_epochs: int = 0
    bounds: tuple[float, float] | None = None
    projection: int | None = None

    def eps_at(self, epoch: int) -> float:
        """Return the radius to use after ``epoch`` finished epochs."""
        if epoch >= self.warmup_epochs:
            return self.eps
        return self.eps_start + (self.eps - self.eps_start) * epoch / self.warmup_epochs

    def margins(self, module: nn.Module, x: Tensor, y: Tensor, epoch: int) -> Tensor:
        """Return J (b, m) of class ``y`` against every class; 0 against itself."""
        return lower_bounds(
            plain_sequential(module),
            x,
            y,
            eps=self.eps_at(epoch),
            norm=self.norm,
            bounds=self.bounds,
            projection=self.projection,
        )


class OverallRobust(Objective):
    """Bound on the worst-case cross-entropy, without costs: mean log(1 + sum_j exp(-J_j)).

    Eq. 2.7 of [ZE19]_, the objective of [WK18]_.
    """

    def __init__(self, ball: TrainingBall) -> None:
        self.ball = ball

    def validate(self) -> None:
        """Check nothing: the estimator has checked these parameters, which are its own."""

    def per_example(
        self, module: nn.Module, x: Tensor, y: Tensor, context: TrainingContext
    ) -> tuple[Tensor, Tensor]:
        """Return the terms (b,) and logits (b, m)."""
        with torch.no_grad():
            logits = module(x)
        margins = self.ball.margins(module, x, y, context.epoch)
        return cross_entropy(-margins, y, reduction="none"), logits


class CostSensitiveRobust(OverallRobust):
    """Cross-entropy plus a penalty on costly transformations only, [ZE19]_ Eq. 3.2.

    CE + alpha_robust * sum over sensitive classes y of the mean over their examples of
    log(1 + sum_{j in Omega_y} C[y, j] exp(-J_j)). An example of class y therefore counts N / N_y
    times in the penalty: over an epoch this is Eq. 3.2, however it is divided into batches.

    Parameters
    ----------
    ball : TrainingBall
    alpha_robust : float
        Weight of the penalty.
    class_share : ndarray (m,)
        N_y / N in the training set.
    """

    def __init__(self, ball: TrainingBall, alpha_robust: float, class_share: np.ndarray) -> None:
        super().__init__(ball)
        self.alpha_robust = alpha_robust
        self.class_share = class_share

    def per_example(
        self, module: nn.Module, x: Tensor, y: Tensor, context: TrainingContext
    ) -> tuple[Tensor, Tensor]:
        """Return the terms (b,) and logits (b, m)."""
        logits = module(x)
        terms = cross_entropy(logits, y, reduction="none")
        sensitive = sensitive_examples(context.rows(y))
        if self.alpha_robust == 0 or not sensitive.any():
            return terms, logits
        # Bounds are most of the work, and only sensitive examples need them.
        x, y = x[sensitive], y[sensitive]
        exponents = context.rows(y).log() - self.ball.margins(module, x, y, context.epoch)
        share = torch.as_tensor(self.class_share, dtype=terms.dtype, device=terms.device)
        extra = self.alpha_robust * log_one_plus_sum_exp(exponents) / share[y]
        return terms.masked_scatter(sensitive, terms[sensitive] + extra), logits
