"""Dense networks, and the normalisation of inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from smoothcs._validation import check_integer, check_real


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
    dropout : float, default=0.0
        Share of the hidden units that is dropped while training, in [0, 1).

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
        dropout: float = 0.0,
    ) -> None:
        width = check_integer("n_features", n_features)
        check_real("dropout", dropout, low=0.0, high=1.0, high_open=True)
        if not isinstance(hidden, Iterable):
            raise TypeError(f"hidden must be a sequence of widths; got {hidden!r}.")
        layers: list[nn.Module] = [nn.Flatten()]
        for next_width in hidden:
            layers.append(nn.Linear(width, check_integer("hidden", next_width)))
            layers += [nn.BatchNorm1d(next_width)] if batch_norm else []
            layers.append(nn.ReLU())
            layers += [nn.Dropout(dropout)] if dropout else []
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
