"""Inputs, one at a time, as checked float32 arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset


def input_of(item: Any) -> Any:
    """Return x of an item of a data set, which is x or (x, y)."""
    return item[0] if isinstance(item, tuple | list) else item


class SameInputs(Dataset):
    """A data set whose votes must all be of the same inputs, however often it is read.

    A data set that augments at random gives another input in every pass, and selection votes of
    one say nothing of another. :func:`smoothcs.votes.sample_votes` calls :meth:`check` for every
    input that it has finished.

    Parameters
    ----------
    X : data set
        Anything with ``__len__`` and ``__getitem__``.
    """

    def __init__(self, X: Any) -> None:
        self._X = X
        self._digests: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self._X)

    def __getitem__(self, index: int) -> Any:
        return self._X[index]

    def check(self, index: int, digest: bytes) -> None:
        """Remember the content of an input; refuse one that differs from an earlier pass."""
        if self._digests.setdefault(index, digest) != digest:
            raise ValueError(
                f"X[{index}] is another input than in an earlier pass over the data set; a "
                "certificate applies to one input, so that its data set must give the same one "
                "every time (random augmentation belongs in training data)."
            )


class Source:
    """Inputs by position, as checked float32 arrays; a data set is read one input at a time.

    Parameters
    ----------
    X : array, tensor or data set
        The inputs.
    rows : ndarray of int, optional
        Rows of X that are the inputs; default: all.
    names : ndarray of int, optional
        The index under which each is known to the caller; default: its row.
    """

    def __init__(
        self, X: Any, rows: np.ndarray | None = None, names: np.ndarray | None = None
    ) -> None:
        if hasattr(X, "iloc"):  # a frame, whose items are columns
            X = np.asarray(X)
        if hasattr(X, "ndim") and X.ndim < 2:
            raise ValueError(
                "X must hold one input per row, shape (n_inputs, ...) with at least 2 dimensions; "
                f"got shape {tuple(X.shape)}."
            )
        if not (hasattr(X, "__len__") and hasattr(X, "__getitem__")):
            raise TypeError(
                "X must be an array, a tensor or a data set with __len__ and __getitem__; got "
                f"{type(X).__name__}."
            )
        self._X = X
        self._is_data_set = not hasattr(X, "ndim")
        self._rows = np.arange(len(X)) if rows is None else rows
        self.names = self._rows if names is None else names
        self.shape: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def part(self, positions: np.ndarray) -> Source:
        """Return the inputs at some positions, under the same names."""
        return Source(self._X, self._rows[positions], self.names[positions])

    def detached(self) -> Source:
        """Return the same inputs without the other rows of X, to be sent to another process."""
        if self._is_data_set:
            return self
        return Source(self._X[self._rows], names=self.names)

    def check(self, index: int, digest: bytes) -> None:
        """Refuse an input that differs from the one that an earlier pass had, if X remembers it."""
        if isinstance(self._X, SameInputs):
            self._X.check(index, digest)

    def get(self, position: int) -> np.ndarray:
        """Return one input, float32, of the shape of all inputs and finite."""
        # As a DataLoader would ask: many data sets refuse NumPy's integers.
        x = self._X[int(self._rows[position])]
        name = f"X[{self.names[position]}]"
        if self._is_data_set:
            x = input_of(x)
        if isinstance(x, torch.Tensor):
            x = x.detach().to(device="cpu", dtype=torch.float32).numpy()
        try:
            with np.errstate(over="ignore"):  # becomes inf and is refused below
                x = np.ascontiguousarray(x, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name} cannot be converted to a float32 array: {error}") from None
        if x.ndim == 0 or x.size == 0:
            raise ValueError(f"{name} must hold at least one number; got shape {x.shape}.")
        if self.shape is None:
            self.shape = x.shape
        if x.shape != self.shape:
            raise ValueError(
                f"all inputs must have one shape; got {name} of shape {x.shape} after {self.shape}."
            )
        if not np.isfinite(x).all():
            raise ValueError(
                f"{name} must be finite in float32; it contains nan, infinite or too large values."
            )
        return x
