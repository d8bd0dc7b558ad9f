"""Lower bounds on differences of logits over a ball: the convex outer polytope of [WK18]_.

The dual network is that of the package ``convex_adversarial`` by the authors of [WK18]_. This file
decides which networks it may be given: those that it would bound wrongly, or not at all, are
refused here.

References
----------
.. [WK18] Wong, Kolter, "Provable Defenses against Adversarial Examples via the Convex Outer
   Adversarial Polytope", ICML 2018.
.. [Wong18] Wong, Schmidt, Metzen, Kolter, "Scaling Provable Adversarial Defenses", NeurIPS 2018.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

NORMS = ("linf", "l2")
_ALLOWED = (nn.Linear, nn.Conv2d, nn.ReLU, nn.Flatten)
# The methods that decide what a module computes from its layers.
_COMPUTES = ("forward", "__call__", "_call_impl", "_wrapped_call_impl", "__iter__")
# convex_adversarial names the dual norm of the ball; the second name is its projected estimate.
_NORM_TYPES = {"linf": ("l1", "l1_median"), "l2": ("l2", "l2_normal")}
# Memory for a batch of exact bounds, whose matrices hold a row per input and per unstable ReLU.
_BATCH_BYTES = 2**28


def require_convex_adversarial() -> Any:
    """Return the optional package, or raise an ImportError that says what to install."""
    try:
        return importlib.import_module("convex_adversarial")
    except ImportError as error:
        raise ImportError(
            "ConvexRelaxationClassifier needs the package convex_adversarial: "
            "pip install smoothcs[convex]"
        ) from error


def plain_sequential(module: nn.Module) -> nn.Sequential:
    """Return ``module`` as one flat Sequential that shares its layers, or raise TypeError."""
    layers = list(_layers(module))
    if not layers or type(layers[-1]) is not nn.Linear:
        _refuse(layers[-1] if layers else module, "as the last layer")
    return nn.Sequential(*layers)


def check_bounded_module(module: nn.Module, input_shape: tuple[int, ...]) -> None:
    """Refuse, with a TypeError, a module that cannot be bounded for inputs of this shape."""
    x = torch.zeros((1, *input_shape))
    for layer in copy.deepcopy(plain_sequential(module)).cpu():
        if isinstance(layer, nn.Linear) and x.ndim != 2:
            _refuse(layer, f"on an input of shape {tuple(x.shape[1:])}: put a Flatten before it")
        if isinstance(layer, nn.Conv2d):
            _check_conv(layer, x)
        with torch.no_grad():
            x = layer(x)


def lower_bounds(
    net: nn.Sequential,
    x: Tensor,
    rows: Tensor,
    *,
    eps: float,
    norm: str,
    bounds: tuple[float, float] | None = None,
    projection: int | None = None,
) -> Tensor:
    """Return J (b, m), with J[i, j] <= min over the ball of logit ``rows[i]`` minus logit j.

    With a ``projection``, the bounds inside the network are random estimates of dimension
    ``projection`` ([Wong18]_): good enough for training, but not certificates.
    """
    return _dual_bounds(net, x, rows, eps, norm, bounds, projection)[0]


def certified_lower_bounds(
    module: nn.Module,
    x: np.ndarray,
    rows: np.ndarray,
    *,
    eps: float,
    norm: str,
    bounds: tuple[float, float] | None,
    device: torch.device,
) -> np.ndarray:
    """Return J (b, m) for a certificate: exact, in float64, -inf where a bound is missing.

    ``module`` is on ``device`` and in float64. 1e-9 of the size of the result, and 1e-12 of the
    largest sum that any layer could form from the ball, are subtracted, so that rounding, which is
    of the order of 1e-14 of that sum, can only weaken a certificate.
    """
    inputs = torch.as_tensor(x, dtype=torch.float64, device=device)
    net = plain_sequential(module)
    with torch.no_grad():
        margins, dual = _dual_bounds(
            net, inputs, torch.as_tensor(rows, device=device), eps, norm, bounds, None
        )
        size = 1 + margins.abs() + net(inputs).abs().amax(dim=1, keepdim=True)
        margins = margins - 1e-9 * size - 1e-12 * _largest_sums(net, inputs.abs() + eps)
        known = torch.isfinite(margins)
        for layer in dual.dual_net:
            # A ReLU whose bounds are nan would count as one that is always off.
            if hasattr(layer, "zl"):
                finite = torch.isfinite(layer.zl) & torch.isfinite(layer.zu)
                known &= finite.flatten(1).all(dim=1, keepdim=True)
    return torch.where(known, margins, -torch.inf).cpu().numpy()


def _largest_sums(net: nn.Sequential, magnitude: Tensor) -> Tensor:
    """Return the largest sum of absolute values that any layer may form, (b, 1)."""
    largest = magnitude.flatten(1).amax(dim=1, keepdim=True)
    for layer in net:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            bias = None if layer.bias is None else layer.bias.abs()
            if isinstance(layer, nn.Linear):
                magnitude = nn.functional.linear(magnitude, layer.weight.abs(), bias)
            else:
                magnitude = nn.functional.conv2d(
                    magnitude, layer.weight.abs(), bias, layer.stride, layer.padding
                )
            largest = torch.maximum(largest, magnitude.flatten(1).amax(dim=1, keepdim=True))
        elif isinstance(layer, nn.Flatten):
            magnitude = layer(magnitude)
    return largest


def exact_batch_size(module: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Return how many examples may be bounded at once within a fixed amount of memory."""
    x = torch.zeros((1, *input_shape), dtype=next(module.parameters()).dtype)
    rows, most = x.numel(), 1
    for layer in plain_sequential(module):
        with torch.no_grad():
            x = layer(x)
        if isinstance(layer, nn.ReLU):
            rows += x.numel()
        most = max(most, rows * x.numel())
    return int(np.clip(_BATCH_BYTES // (8 * most), 1, 256))


def _dual_bounds(
    net: nn.Sequential,
    x: Tensor,
    rows: Tensor,
    eps: float,
    norm: str,
    bounds: tuple[float, float] | None,
    projection: int | None,
) -> tuple[Tensor, Any]:
    package = require_convex_adversarial()
    x = x.contiguous()  # the package takes views
    # The package cannot project an input that is no larger than the projection.
    estimated = projection is not None and x[0].numel() > projection
    proj, norm_type = projection if estimated else None, _NORM_TYPES[norm][estimated]
    low, high = (0.0, 1.0) if bounds is None else bounds
    duals = [
        package.dual_inputs.select_input(x, eps, proj, norm_type, bounds is not None, l=low, u=high)
    ]
    last_relu = max((i for i, layer in enumerate(net) if isinstance(layer, nn.ReLU)), default=0)
    example = x[:1]
    for i, layer in enumerate(net):
        with torch.no_grad():
            image = layer(example)
        dual = package.dual_layers.select_layer(
            layer, duals, x, proj, norm_type, example.size(), image.size(), example
        )
        # The package's own DualNetwork carries everything before a layer forward, for bounds on a
        # later ReLU. It does so even where there is none, which is then most of the work.
        if i < last_relu:
            for earlier in duals:
                earlier.apply(dual)
        duals.append(dual)
        example = image
    network = package.DualNetwork.__new__(package.DualNetwork)
    nn.Module.__init__(network)
    network.dual_net, network.last_layer = duals[:-1], duals[-1]
    identity = torch.eye(example.shape[1], dtype=x.dtype, device=x.device)
    return network(identity[rows][:, None] - identity), network


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    if any(name in vars(module) for name in _COMPUTES):
        _refuse(module, "with a method of its own in place of forward")
    if isinstance(module, nn.Sequential) and _computes_as(nn.Sequential, module):
        for layer in module:
            yield from _layers(layer)
    # Exact types: a subclass, such as a parametrized or quantized layer, may compute anything.
    elif type(module) in _ALLOWED:
        yield module
    else:
        _refuse(module)
    if module._forward_hooks or module._forward_pre_hooks:
        _refuse(module, "with forward hooks")
    if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) != (1, -1):
        _refuse(module, "which does not flatten the whole input")


def _computes_as(kind: type[nn.Module], module: nn.Module) -> bool:
    return all(getattr(type(module), name, None) is getattr(kind, name, None) for name in _COMPUTES)


def _check_conv(conv: nn.Conv2d, x: Tensor) -> None:
    if x.ndim != 4:
        _refuse(conv, f"on an input of shape {tuple(x.shape[1:])}, not (channels, height, width)")
    if conv.groups != 1 or conv.dilation != (1, 1) or conv.padding_mode != "zeros":
        _refuse(conv, "with groups, dilation or a padding that is not zeros")
    if isinstance(conv.padding, str):
        _refuse(conv, "with padding given as a string: give it in pixels")
    for axis, size in enumerate(x.shape[2:]):
        if (size + 2 * conv.padding[axis] - conv.kernel_size[axis]) % conv.stride[axis]:
            _refuse(
                conv,
                f"on images of {size} pixels: size + 2 * padding - kernel_size must be a multiple "
                "of the stride",
            )


def _refuse(layer: nn.Module, why: str = "") -> NoReturn:
    raise TypeError(
        "module must be a torch.nn.Sequential of Linear, Conv2d, ReLU and Flatten layers that ends "
        f"in Linear, since no other can be bounded; found {type(layer).__name__} {why}".rstrip()
        + f": {layer!r}."
    )
