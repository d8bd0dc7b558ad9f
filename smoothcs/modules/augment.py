"""Random flips and shifts of images while training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from smoothcs._validation import check_choice, check_integer


class Augment(nn.Module):
    """Flip and shift images at random in training mode; the identity in eval mode.

    Put it first: ``nn.Sequential(Augment(shift=2), network)``. What is certified is eval mode,
    in which there is no augmentation. Within ``fit``, each example gets one draw per
    step from the training generator, which all its noisy copies and all forward passes of the
    objective share: an attack sees the image that is then trained on. Elsewhere each call draws
    from torch's global generator.

    Parameters
    ----------
    horizontal, vertical : bool, default=True, False
        Whether to flip left and right, up and down, each with probability 1/2.
    shift : int, default=0
        Largest shift in pixels, in each direction: a random crop of the image, padded by its mirror
        image. Noise is moved with its pixels, so that each pixel still has noise of its own size.

    Raises
    ------
    ValueError
        If an input is not an image (b, c, h, w), or is too small to be shifted that far.

    Examples
    --------
    >>> import torch
    >>> from smoothcs.modules import Augment
    >>> augment, x = Augment(shift=1), torch.rand(4, 1, 8, 8)
    >>> augment(x).shape, torch.equal(augment.eval()(x), x)
    (torch.Size([4, 1, 8, 8]), True)
    """

    def __init__(self, *, horizontal: bool = True, vertical: bool = False, shift: int = 0) -> None:
        super().__init__()
        self.horizontal = bool(check_choice("horizontal", horizontal, (True, False)))
        self.vertical = bool(check_choice("vertical", vertical, (True, False)))
        self.shift = check_integer("shift", shift, low=0)
        self._drawn: Tensor | None = None

    def extra_repr(self) -> str:
        """Return the parameters, for the repr."""
        return f"horizontal={self.horizontal}, vertical={self.vertical}, shift={self.shift}"

    def forward(self, x: Tensor) -> Tensor:
        """Return the augmented batch, same shape; row ``r`` belongs to example ``r % n``."""
        if not self.training:
            return x
        if x.ndim != 4 or min(x.shape[2:]) <= self.shift:
            raise ValueError(
                f"Augment(shift={self.shift}) takes images (b, c, h, w) of more than {self.shift} "
                f"pixels; got shape {tuple(x.shape)}."
            )
        drawn = self._drawn
        if drawn is None or len(x) % len(drawn):
            drawn = self.draw(len(x), None, x.device)
        drawn = drawn.repeat(len(x) // len(drawn), 1)
        rows = _places(x.shape[2], drawn[:, 0], drawn[:, 2])
        columns = _places(x.shape[3], drawn[:, 1], drawn[:, 3])
        every = torch.arange(len(x), device=x.device)[:, None, None]
        return x.permute(0, 2, 3, 1)[every, rows[:, :, None], columns[:, None, :]].permute(
            0, 3, 1, 2
        )

    def draw(self, n: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """Return flips (0 or 1) and shifts of ``n`` examples, rows before columns: int64 (n, 4)."""
        flips = torch.randint(0, 2, (n, 2), generator=generator, device=device)
        flips *= torch.tensor([self.vertical, self.horizontal], device=device)
        reach = (-self.shift, self.shift + 1)
        return torch.cat(
            [flips, torch.randint(*reach, (n, 2), generator=generator, device=device)], dim=1
        )


def _places(size: int, flip: Tensor, shift: Tensor) -> Tensor:
    """Return which of ``size`` places each place shows, mirrored at the ends: (b,) -> (b, size)."""
    place = (torch.arange(size, device=flip.device) + shift[:, None]).abs()
    place = torch.minimum(place, 2 * (size - 1) - place)
    return torch.where(flip[:, None] == 1, size - 1 - place, place)


@contextmanager
def fixed_augmentation(
    module: nn.Module, n: int, generator: torch.Generator, device: torch.device
) -> Iterator[None]:
    """Within it, every :class:`Augment` of ``module`` treats each of ``n`` examples in one way."""
    layers = [layer for layer in module.modules() if isinstance(layer, Augment)]
    for layer in layers:
        layer._drawn = layer.draw(n, generator, device)
    try:
        yield
    finally:
        for layer in layers:
            layer._drawn = None
