"""The soft smoothed classifier G(x) = E[softmax F(x + d)], estimated from a few Gaussian draws.

Shared by the training objectives and by the attack. Layout everywhere: example first, draw second,
so ``logits[j, i]`` belongs to example ``j`` under its draw ``i``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint

P_CLAMP = 1e-7
"""Probabilities are kept in [P_CLAMP, 1 - P_CLAMP], so |PhiInv| <= 5.2 and its slope is finite."""


class NoiseDraws:
    """``n_noise`` draws of N(0, sigma^2 I) for one batch, the same at every request.

    Draw ``i`` is always the ``i``-th tensor of the shape of ``x`` drawn from ``generator``, however
    the draws are grouped. Without ``microbatch`` they are stored; with it only the generator's
    states are, and a draw is made again when asked for, so memory does not grow with ``n_noise``.

    Parameters
    ----------
    x : Tensor of shape (b, ...)
        The batch; gives shape, dtype and device.
    n_noise : int
    sigma : float
        Standard deviation, in the units of ``x``.
    generator : torch.Generator
        On the device of ``x``. Advanced by exactly ``n_noise`` draws once all were asked for.
    microbatch : int or None
        How many draws share one forward pass; None: all of them.
    scale : Tensor or None
        Entry j gets noise of standard deviation ``sigma * scale[j]``; of the shape of one input.
    """

    def __init__(
        self,
        x: Tensor,
        n_noise: int,
        sigma: float,
        generator: torch.Generator,
        microbatch: int | None = None,
        scale: Tensor | None = None,
    ) -> None:
        self.n_noise = n_noise
        self.sigma = sigma
        self.scale = scale
        self.size = n_noise if microbatch is None else min(microbatch, n_noise)
        self._x = x.detach()
        self._generator = generator
        self._states: list[Tensor] = []
        self._stored: Tensor | None = None

    @classmethod
    def given(cls, noise: Tensor, microbatch: int | None = None) -> NoiseDraws:
        """Wrap noise of shape (b, n_noise, ...), already scaled by sigma."""
        draws = cls(noise[:, 0], noise.shape[1], 1.0, torch.Generator(noise.device), microbatch)
        draws._stored = noise.detach().transpose(0, 1)
        return draws

    def chunks(self) -> range:
        """First draw of every microbatch."""
        return range(0, self.n_noise, self.size)

    def chunk(self, start: int) -> Tensor:
        """Return draws ``start, start + 1, ...`` of one microbatch: Tensor (k, b, ...)."""
        stop = min(start + self.size, self.n_noise)
        if self._stored is not None:
            return self._stored[start:stop]
        noise = self._x.new_empty((stop - start, *self._x.shape))
        for i, draw in enumerate(noise, start):
            draw.normal_(0.0, self.sigma, generator=self._generator_of(i))
        if self.scale is not None:
            noise *= self.scale
        if self.size == self.n_noise:
            self._stored = noise
        return noise

    def _generator_of(self, i: int) -> torch.Generator:
        """Return a generator in the state in which draw ``i`` is made."""
        if self.size == self.n_noise:  # drawn once, in order
            return self._generator
        if i == len(self._states):
            self._states.append(self._generator.get_state())
            return self._generator
        generator = torch.Generator(self._x.device)
        generator.set_state(self._states[i])
        return generator


@contextmanager
def frozen_running_statistics(module: nn.Module) -> Iterator[None]:
    """Compute what ``module`` computes in its present mode, without updating running statistics.

    A momentum of 0 keeps the old statistics whole. Not tracking them at all would compute the same
    but save fewer tensors for the backward pass, which a checkpoint does not allow.
    """
    layers = [
        layer
        for layer in module.modules()
        if isinstance(layer, _NormBase) and layer.training and layer.track_running_stats
    ]
    saved = [(layer, layer.momentum, layer.num_batches_tracked) for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
        layer.num_batches_tracked = None
    try:
        yield
    finally:
        for layer, momentum, num_batches_tracked in saved:
            layer.momentum = momentum
            layer.num_batches_tracked = num_batches_tracked


def check_logits(logits: object, n_rows: int, n_classes: int | None = None) -> Tensor:
    """Return logits (n_rows, n_classes), in float32 if they were in less; refuse anything else."""
    if (
        isinstance(logits, Tensor)
        and logits.ndim == 2
        and len(logits) == n_rows
        and n_classes in (None, logits.shape[1])
    ):
        return logits if logits.dtype == torch.float64 else logits.float()
    got = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
    raise ValueError(
        f"module must map {n_rows} inputs to a tensor of logits of shape "
        f"({n_rows}, {n_classes or 'n_classes'}); got {got}."
    )


def noisy_logits(
    module: nn.Module, x: Tensor, draws: NoiseDraws, n_classes: int | None = None
) -> Tensor:
    """Return the logits of every example under every draw, Tensor (b, n_noise, m).

    Raises ValueError if the module gives no (rows, n_classes) tensor.

    With more than one microbatch each is recomputed in the backward pass instead of being kept
    (``torch.utils.checkpoint``), so activations are held for one microbatch at a time. Values and
    gradients are those of the unsplit pass, except that batch normalisation in training mode sees
    one microbatch at a time.
    """

    def forward(x: Tensor, start: int) -> Tensor:
        noise = draws.chunk(start)
        logits = module((x.unsqueeze(0) + noise).flatten(0, 1))
        logits = check_logits(logits, noise.shape[0] * noise.shape[1], n_classes)
        return logits.unflatten(0, noise.shape[:2]).transpose(0, 1)

    starts = draws.chunks()
    if len(starts) == 1 or not torch.is_grad_enabled():
        logits = [forward(x, start) for start in starts]
    else:
        # The recomputation must not count a batch twice in the running statistics.
        logits = [
            checkpoint(
                forward,
                x,
                start,
                use_reentrant=False,
                context_fn=lambda: (nullcontext(), frozen_running_statistics(module)),
            )
            for start in starts
        ]
    return torch.cat(logits, dim=1)


def soft_log_prediction(logits: Tensor) -> Tensor:
    """Return log G(x), the log of the softmax averaged over draws: (b, n_noise, m) -> (b, m).

    Computed in logarithms, hence finite with finite gradients for any finite logits.
    """
    return logits.log_softmax(-1).logsumexp(1) - math.log(logits.shape[1])


def soft_prediction(logits: Tensor, inverse_temperature: float = 1.0) -> Tensor:
    """Return G(x) with softmax(inverse_temperature * logits): (b, n_noise, m) -> (b, m).

    In float64 wherever the device has it: near the clamps of :func:`normal_quantile` the gradient
    is a difference of large numbers that float32 gets wrong.
    """
    if logits.device.type != "mps":
        logits = logits.double()
    return (inverse_temperature * logits).softmax(-1).mean(1)


def normal_quantile(p: Tensor) -> Tensor:
    """PhiInv of probabilities clamped to [P_CLAMP, 1 - P_CLAMP]; value and slope finite."""
    return torch.special.ndtri(p.clamp(P_CLAMP, 1 - P_CLAMP))
