"""The network of an estimator that was given none."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from smoothcs.modules.conv import conv_net
from smoothcs.modules.dense import MLP
from smoothcs.modules.resnet import resnet18

_SMALLEST_IMAGE = 8
_LARGE_IMAGE = 64
_TABLE = {"hidden": (256, 256), "batch_norm": True, "dropout": 0.25}


def default_module(input_shape: tuple[int, ...], n_classes: int, **params: Any) -> nn.Module:
    """Return an untrained network for inputs of this shape.

    Images (c, h, w): :func:`conv_net`, or :func:`resnet18` if both sides have 64 pixels or more.
    Anything else, images of less than 8 pixels included: :class:`MLP` with two hidden layers of 256
    units, batch normalisation and a dropout of .25.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of one input.
    n_classes : int
    **params
        Further parameters of the network.

    Returns
    -------
    nn.Module
        Maps (b, ...) to logits (b, n_classes).

    Examples
    --------
    >>> from smoothcs.modules import default_module
    >>> type(default_module((30,), 2, hidden=(64,))).__name__
    'MLP'
    """
    if len(input_shape) == 3 and min(input_shape[1:]) >= _LARGE_IMAGE:
        return resnet18(n_classes, in_channels=input_shape[0], **params)
    if len(input_shape) == 3 and min(input_shape[1:]) >= _SMALLEST_IMAGE:
        return conv_net(input_shape, n_classes, **params)
    return MLP(math.prod(input_shape), n_classes, **{**_TABLE, **params})
