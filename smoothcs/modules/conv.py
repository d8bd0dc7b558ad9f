"""Small convolutional networks."""

from __future__ import annotations

from torch import nn

from smoothcs._validation import check_integer


def small_conv(n_classes: int = 10, in_channels: int = 1, image_size: int = 28) -> nn.Sequential:
    """Small network of [WK18] and [ZE19]: two strided convolutions and two dense layers.

    Parameters
    ----------
    n_classes, in_channels : int
    image_size : int, default=28
        Height and width of the images, a multiple of 4.

    Returns
    -------
    nn.Sequential
        Maps (b, in_channels, image_size, image_size) to logits (b, n_classes).

    Examples
    --------
    >>> import torch
    >>> from smoothcs.modules import small_conv
    >>> small_conv()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    if check_integer("image_size", image_size, low=4) % 4:
        raise ValueError(f"image_size must be a multiple of 4; got {image_size!r}.")
    check_integer("n_classes", n_classes)
    return nn.Sequential(
        nn.Conv2d(in_channels, 16, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * (image_size // 4) ** 2, 100),
        nn.ReLU(),
        nn.Linear(100, n_classes),
    )


def conv_net(
    input_shape: tuple[int, int, int], n_classes: int, width: int = 16, hidden: int = 100
) -> nn.Sequential:
    """Small network with batch normalisation for images of 8 to 63 pixels.

    A convolution of 8 x 8 with stride 2, which averages noise, one of 4 x 4 with stride 2, and two
    dense layers. The statistics of the normalisation are those of noisy inputs, and fixed once the
    network is trained.

    Parameters
    ----------
    input_shape : tuple of int
        Channels, height and width; both at least 4.
    n_classes : int
    width : int, default=16
        Filters of the first convolution; the second has twice as many.
    hidden : int, default=100
        Units of the hidden dense layer.

    Returns
    -------
    nn.Sequential
        Maps (b, ...) to logits (b, n_classes).

    Examples
    --------
    >>> import torch
    >>> from smoothcs.modules import conv_net
    >>> conv_net((1, 28, 28), 10)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    if len(input_shape) != 3 or min(input_shape[1:]) < 4 or input_shape[0] < 1:
        raise ValueError(
            "input_shape must be (channels, height, width), both sides at least 4; "
            f"got {input_shape!r}."
        )
    width = check_integer("width", width)
    channels, height, breadth = input_shape
    return nn.Sequential(
        nn.Conv2d(channels, width, 8, stride=2, padding=3),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2 * width * (height // 4) * (breadth // 4), check_integer("hidden", hidden)),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Linear(hidden, check_integer("n_classes", n_classes)),
    )
