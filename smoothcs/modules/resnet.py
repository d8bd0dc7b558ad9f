"""Residual networks ([He16]_)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import pad, relu

from smoothcs._validation import check_integer


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
