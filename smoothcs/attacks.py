"""Attacks on the soft smoothed classifier G(x) = E[softmax F(x + d)].

The loss of an attack is ``-log G(x')_y`` with the expectation replaced by the mean over noise draws
that stay fixed during the attack, [Salman19] Eq. 6. Inputs may have any shape; each example of a
batch has its own gradient, its own normalisation and its own ball.

References
----------
.. [Salman19] Salman, Yang, Li, et al., "Provably Robust Deep Learning via Adversarially Trained
   Smoothed Classifiers", NeurIPS 2019 (arXiv 1906.04584).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from smoothcs._soft import NoiseDraws, frozen_running_statistics, noisy_logits, soft_log_prediction
from smoothcs._validation import (
    check_integer,
    check_noise_scale,
    check_positive,
    check_real,
)


def l2_pgd(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    eps: float | Tensor,
    sigma: float | None = None,
    noise: Tensor | NoiseDraws | None = None,
    n_noise: int = 16,
    generator: torch.Generator | None = None,
    n_steps: int = 10,
    step_size: float | None = None,
    targeted: bool = False,
    bounds: tuple[float, float] | None = None,
    microbatch: int | None = None,
    noise_scale: Tensor | ArrayLike | None = None,
) -> Tensor:
    """Projected gradient ascent within an l2 ball around every input.

    The module runs in its current mode; running statistics of batch normalisation do not change,
    and no parameter gets a gradient.

    Parameters
    ----------
    module : nn.Module
        Maps (b, ...) to logits (b, m).
    x : Tensor of shape (b, ...)
        Inputs, in the space in which the noise is added.
    y : Tensor of shape (b,), int64
        True classes to move away from or, if ``targeted``, classes to move towards.
    eps : float or Tensor of shape (b,)
        Radius >= 0 of the ball, in units of ``x``; a tensor gives each input its own, for example
        its certified radius.
    sigma, n_noise, generator
        Standard deviation, number and source of the noise draws, unless ``noise`` is given.
        If ``generator`` is None, torch's default generator is used.
    noise : Tensor of shape (b, n_noise, ...), optional
        Noise to be added, already scaled by sigma.
    n_steps : int, default=10
    step_size : float, optional
        Length of a step, in units of ``x``. If None, ``2 * eps / n_steps``, with each input's eps.
    targeted : bool, default=False
    bounds : (low, high), optional
        Range of the entries of the inputs and of the result, for example (0, 1). If None, the
        result is not clamped.
    microbatch : int, optional
        Noise draws per forward pass; limits memory and changes nothing else.
    noise_scale : Tensor or array-like that broadcasts to the shape of an input, optional
        Entry j has noise of standard deviation ``sigma * noise_scale[j]``, and the ball is that of
        ``||(x' - x) / noise_scale||_2``; entries of scale 0 are never moved.

    Returns
    -------
    Tensor of shape (b, ...)
        Attacked inputs, detached, with ``||result - x||_2 <= eps`` up to rounding.

    Raises
    ------
    ValueError, TypeError
        For a parameter out of range, neither ``sigma`` nor ``noise``, or inputs outside ``bounds``.

    References
    ----------
    [Salman19] Section 3.1.

    Examples
    --------
    >>> import torch
    >>> from smoothcs.attacks import l2_pgd
    >>> module = torch.nn.Linear(2, 3)
    >>> x, y = torch.zeros(4, 2), torch.tensor([0, 1, 2, 0])
    >>> x_adv = l2_pgd(module, x, y, eps=0.5, sigma=0.25)
    >>> bool((x_adv.norm(dim=1) <= 0.5001).all())
    True
    """
    eps = _check_eps(eps, x)
    if not isinstance(y, Tensor) or y.dtype != torch.int64 or y.shape != x.shape[:1]:
        got = f"{y.dtype} {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
        raise ValueError(f"y must be an int64 tensor of shape ({len(x)},); got {got}.")
    if x.is_inference():
        x = x.clone()  # gradients are taken
    check_integer("n_steps", n_steps)
    length: float | Tensor
    if step_size is not None:
        length = check_positive("step_size", step_size)
    elif isinstance(eps, Tensor):
        length = (2 * eps / n_steps).view(-1, *[1] * (x.ndim - 1))
    else:
        length = 2 * eps / n_steps
    scale = None if noise_scale is None else _as_scale(noise_scale, x)
    draws = _as_draws(x, noise, n_noise, sigma, generator, microbatch, scale)
    if bounds is not None and (np.shape(bounds) != (2,) or not bounds[0] < bounds[1]):
        raise ValueError(f"bounds must be None or (low, high) with low < high; got {bounds!r}.")
    if bounds is not None and not bool(((x >= bounds[0]) & (x <= bounds[1])).all()):
        raise ValueError(f"bounds must hold every input; got bounds={bounds} and inputs outside.")
    sign = -1.0 if targeted else 1.0
    factor = torch.ones(()).to(x) if scale is None else scale

    def moved(step: Tensor) -> Tensor:
        return x + factor * step

    def project(step: Tensor) -> Tensor:
        step = project_l2(step, eps)
        if bounds is None:
            return step
        # The box holds x, so clamping moves no entry away from it and the ball is kept.
        inside = (moved(step).clamp(*bounds) - x) / factor
        return torch.where(factor > 0, inside, 0.0)

    with frozen_running_statistics(module):
        step = normalized_ascent(
            lambda step: sign * soft_smoothed_loss(module, moved(step), y, draws),
            torch.zeros_like(x),
            n_steps=n_steps,
            step_size=length,
            project=project,
        )
    x_adv = moved(step)
    return x_adv if bounds is None else x_adv.clamp(*bounds)


def soft_smoothed_loss(module: nn.Module, x: Tensor, y: Tensor, draws: NoiseDraws) -> Tensor:
    """Return -log mean_i softmax(F(x + d_i))_y, Tensor (b,)."""
    log_p = soft_log_prediction(noisy_logits(module, x, draws))
    return -log_p.gather(1, y[:, None])[:, 0]


def normalized_ascent(
    loss: Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    n_steps: int,
    step_size: float | Tensor,
    project: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Increase ``loss`` (b, ...) -> (b,) from ``x`` by steps of l2 length ``step_size``.

    Step sizes that differ between examples have shape (b, 1, ...).
    """
    x_adv = x.detach()
    for _ in range(n_steps):
        with torch.enable_grad():
            x_adv.requires_grad_()
            # grad() affects the input only: parameters keep their .grad.
            (gradient,) = torch.autograd.grad(loss(x_adv).sum(), x_adv)
        x_adv = x_adv.detach() + step_size * unit_l2(gradient)
        if project is not None:
            x_adv = project(x_adv)
    return x_adv.detach()


def unit_l2(v: Tensor) -> Tensor:
    """Scale every example of (b, ...) to l2 length 1; zeros stay zero."""
    flat = v.flatten(1)
    tiny = torch.finfo(v.dtype).tiny
    # Dividing by the largest entry first keeps squares of very small gradients from vanishing.
    flat = flat / flat.abs().amax(1, keepdim=True).clamp(min=tiny)
    return (flat / flat.norm(dim=1, keepdim=True).clamp(min=tiny)).view_as(v)


def project_l2(v: Tensor, radius: float | Tensor) -> Tensor:
    """Shrink every example of (b, ...) to l2 length at most ``radius``, one number or (b,)."""
    flat = v.flatten(1)
    if isinstance(radius, Tensor):
        radius = radius[:, None]
    length = flat.norm(dim=1, keepdim=True).clamp(min=torch.finfo(v.dtype).tiny)
    return (flat * (radius / length).clamp(max=1.0)).view_as(v)


def _check_eps(eps: float | Tensor, x: Tensor) -> float | Tensor:
    if not isinstance(eps, Tensor):
        return check_real("eps", eps, low=0.0, high_open=True)
    if eps.shape != x.shape[:1]:
        raise ValueError(
            f"eps must be a number or a tensor of shape ({len(x)},), one radius for each input; "
            f"got shape {tuple(eps.shape)}."
        )
    if not bool(((eps >= 0) & eps.isfinite()).all()):
        raise ValueError("eps must hold finite numbers >= 0.")
    return eps.to(x)


def _as_scale(noise_scale: Tensor | ArrayLike, x: Tensor) -> Tensor:
    given = noise_scale.cpu() if isinstance(noise_scale, Tensor) else noise_scale
    return torch.tensor(check_noise_scale(given, tuple(x.shape[1:]))).to(x)


def _as_draws(
    x: Tensor,
    noise: Tensor | NoiseDraws | None,
    n_noise: int,
    sigma: float | None,
    generator: torch.Generator | None,
    microbatch: int | None,
    noise_scale: Tensor | None,
) -> NoiseDraws:
    if isinstance(noise, NoiseDraws):
        return noise
    if microbatch is not None:
        check_integer("microbatch", microbatch)
    if noise is not None:
        if noise.ndim != x.ndim + 1 or noise.shape[:1] + noise.shape[2:] != x.shape:
            raise ValueError(
                f"noise must have shape (b, n_noise, ...) for x of shape {tuple(x.shape)}; "
                f"got {tuple(noise.shape)}."
            )
        return NoiseDraws.given(noise, microbatch)
    if sigma is None:
        raise ValueError("sigma must be given when noise is not.")
    if generator is None:
        seed = int(torch.randint(2**62, ()))
        generator = torch.Generator(x.device).manual_seed(seed)
    return NoiseDraws(
        x,
        check_integer("n_noise", n_noise),
        check_positive("sigma", sigma),
        generator,
        microbatch,
        noise_scale,
    )
