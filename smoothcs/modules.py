"""Ready-made networks; any ``nn.Module`` that maps (b, ...) to logits (b, n_classes) will do.

References
----------
.. [He16] He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016.
.. [WK18] Wong, Kolter, "Provable Defenses against Adversarial Examples via the Convex Outer
   Adversarial Polytope", ICML 2018.
.. [ZE19] Zhang, Evans, "Cost-Sensitive Robustness against Adversarial Examples", ICLR 2019.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, relu

from smoothcs._validation import check_integer


class MLP(nn.Sequential):
    """Fully connected ReLU network on inputs of any shape, which it flattens.

    Parameters
    ----------
    n_features : int
        Number of entries of one input.
    n_classes : int
    hidden : sequence of int, default=(128, 128)
        Widths of the hidden layers; ``()`` gives a linear model.
    batch_norm : bool, default=False
        Whether batch normalisation follows each hidden layer; its statistics are those of noisy
        inputs, and fixed once the network is trained.

    Examples
    --------
    >>> import torch
    >>> from smoothcs.modules import MLP
    >>> MLP(64, 10)(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 10])
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        hidden: Sequence[int] = (128, 128),
        batch_norm: bool = False,
    ) -> None:
        width = check_integer("n_features", n_features)
        if not isinstance(hidden, Iterable):
            raise TypeError(f"hidden must be a sequence of widths; got {hidden!r}.")
        layers: list[nn.Module] = [nn.Flatten()]
        for next_width in hidden:
            layers.append(nn.Linear(width, check_integer("hidden", next_width)))
            layers += [nn.BatchNorm1d(next_width)] if batch_norm else []
            layers.append(nn.ReLU())
            width = next_width
        super().__init__(*layers, nn.Linear(width, check_integer("n_classes", n_classes)))


class Normalize(nn.Module):
    """``(x - mean) / std`` per channel, inside the module so that radii stay in input units.

    Put it first: ``nn.Sequential(Normalize(mean, std), network)``. Noise is then added to the raw
    input, which is impossible with a scaler outside the estimator.

    Parameters
    ----------
    mean, std : float or sequence of float
        One number, or one per channel (images (b, c, h, w)) or feature (tables (b, c)); std > 0.

    Raises
    ------
    ValueError
        If a std is not positive, or the lengths differ.

    Examples
    --------
    >>> import torch
    >>> from smoothcs.modules import Normalize
    >>> Normalize([1.0, 2.0], [1.0, 4.0])(torch.tensor([[3.0, 4.0]]))
    tensor([[2.0000, 0.5000]])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        super().__init__()
        means = torch.as_tensor(mean, dtype=torch.float32).reshape(-1)
        stds = torch.as_tensor(std, dtype=torch.float32).reshape(-1)
        if not bool((torch.isfinite(stds) & (stds > 0)).all()):
            raise ValueError(f"std must be finite and > 0; got {std!r}.")
        if not bool(torch.isfinite(means).all()):
            raise ValueError(f"mean must be finite; got {mean!r}.")
        if len(means) != len(stds):
            raise ValueError(
                f"mean and std must have the same length; got {len(means)} and {len(stds)}."
            )
        self.register_buffer("mean", means)
        self.register_buffer("std", stds)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised batch, same shape."""
        if len(self.mean) not in (1, x.shape[1]):
            raise ValueError(
                f"mean has {len(self.mean)} entries for inputs of shape {tuple(x.shape[1:])}; "
                f"give 1, or {x.shape[1]}."
            )
        shape = (1, -1) + (1,) * (x.ndim - 2)
        return (x - self.mean.view(shape)) / self.std.view(shape)


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


class _PadShortcut(nn.Module):
    """Identity that subsamples and pads new channels with zeros ([He16] option A)."""

    def __init__(self, new_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels = new_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride]
        before = self.new_channels // 2
        return pad(x, (0, 0, 0, 0, before, self.new_channels - before))


def _conv_shortcut(c_in: int, c_out: int, stride: int) -> nn.Module:
    """Strided 1x1 convolution ([He16] option B)."""
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, 1, stride=stride, bias=False), nn.BatchNorm2d(c_out)
    )


class _BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation around a shortcut."""

    def __init__(self, c_in: int, c_out: int, stride: int, shortcut: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(c_out)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm2(self.conv2(relu(self.norm1(self.conv1(x)))))
        return relu(out + self.shortcut(x))


def _stages(widths: Sequence[int], n_blocks: int, *, padded: bool) -> list[nn.Module]:
    """Return the residual blocks; every stage except the first halves the image."""
    blocks: list[nn.Module] = []
    c_in = widths[0]
    for stage, c_out in enumerate(widths):
        for block in range(n_blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            shortcut: nn.Module
            if stride == 1:
                shortcut = nn.Identity()
            elif padded:
                shortcut = _PadShortcut(c_out - c_in, stride)
            else:
                shortcut = _conv_shortcut(c_in, c_out, stride)
            blocks.append(_BasicBlock(c_in, c_out, stride, shortcut))
            c_in = c_out
    return blocks


def _resnet(
    stem: list[nn.Module], blocks: list[nn.Module], width: int, n_classes: int
) -> nn.Module:
    last = nn.Linear(width, check_integer("n_classes", n_classes))
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), last]
    network = nn.Sequential(*stem, *blocks, *head)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return network


def _cifar_resnet(n_blocks: int, n_classes: int, in_channels: int) -> nn.Module:
    stem = [nn.Conv2d(in_channels, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    return _resnet(stem, _stages((16, 32, 64), n_blocks, padded=True), 64, n_classes)


def cifar_resnet20(n_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Residual network of 20 layers for 32x32 images, [He16] Section 4.2."""
    return _cifar_resnet(3, n_classes, in_channels)


def cifar_resnet56(n_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Residual network of 56 layers for 32x32 images, [He16] Section 4.2."""
    return _cifar_resnet(9, n_classes, in_channels)


def cifar_resnet110(n_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Residual network of 110 layers for 32x32 images, [He16] Section 4.2."""
    return _cifar_resnet(18, n_classes, in_channels)


def resnet18(n_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Residual network of 18 layers for larger images (say 96 to 299 pixels), [He16] Table 1."""
    stem = [
        nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
    ]
    return _resnet(stem, _stages((64, 128, 256, 512), 2, padded=False), 512, n_classes)
