"""Training, validation and test splits of the data sets, as float32 images in [0, 1]."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SPLIT_SEED = 20251
VALIDATION_SHARE = 1 / 6  # of the official training images; never trained on
MALIGNANT = ("mel", "bcc")


class Split(NamedTuple):
    """Images (n, c, h, w) in [0, 1] and class indices (n,)."""

    X: NDArray[np.float32]
    y: NDArray[np.int64]

    def take(self, rows: NDArray[np.intp]) -> Split:
        """Return some examples."""
        return Split(self.X[rows], self.y[rows])


class Images(NamedTuple):
    """One data set; training examples are those that validation leaves."""

    train: Split
    valid: Split
    test: Split


def load(dataset: str, folder: str | None) -> Images:
    """Return the splits of a data set, or say what is missing."""
    folder = folder or os.environ.get("SMOOTHCS_DATA")
    if folder is None:
        raise SystemExit("name the folder of the data with --data DIR or SMOOTHCS_DATA")
    return READERS[dataset](Path(folder))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        raise SystemExit(f"{path} is missing")
    with np.load(path, allow_pickle=False) as data:
        return {key: data[key] for key in data.files}


def _images(array: np.ndarray) -> NDArray[np.float32]:
    array = array[..., None] if array.ndim == 3 else array
    return np.ascontiguousarray(array.transpose(0, 3, 1, 2), dtype=np.float32) / 255


def _split(train: Split, test: Split, held_out: NDArray[np.bool_]) -> Images:
    """Divide the official training images; all three in an order drawn once."""
    order = np.random.default_rng(SPLIT_SEED)
    rows = [order.permutation(np.flatnonzero(mask)) for mask in (~held_out, held_out)]
    return Images(
        train.take(rows[0]), train.take(rows[1]), test.take(order.permutation(len(test.y)))
    )


def _held_out(n: int) -> NDArray[np.bool_]:
    return np.random.default_rng(SPLIT_SEED).random(n) < VALIDATION_SHARE


def _mnist_like(name: str) -> Callable[[Path], Images]:
    def read(folder: Path) -> Images:
        data = _arrays(folder / name)
        train, test = (
            Split(_images(data[f"x_{part}"]), data[f"y_{part}"].astype(np.int64))
            for part in ("train", "test")
        )
        return _split(train, test, _held_out(len(train.y)))

    return read


def _cifar10(folder: Path) -> Images:
    """The JPEG pack: fit for comparing methods with each other, not with published radii."""
    from PIL import Image

    data = _arrays(folder / "cifar10_jpeg.npz")

    def decode(part: str) -> Split:
        raw, offset = data[f"jpeg_{part}"].tobytes(), data[f"offset_{part}"]
        pictures = [
            np.asarray(Image.open(io.BytesIO(raw[offset[i] : offset[i + 1]])))
            for i in range(len(offset) - 1)
        ]
        return Split(_images(np.stack(pictures)), data[f"y_{part}"].astype(np.int64))

    train, test = decode("train"), decode("test")
    return _split(train, test, _held_out(len(train.y)))


def _ham10000(folder: Path) -> Images:
    """Malignant (melanoma, basal cell carcinoma) = 1; all images of a lesion in one split."""
    data = _arrays(folder / "ham10000_28.npz")
    codes = [list(data["class_names"]).index(name) for name in MALIGNANT]
    everything = Split(_images(data["x"]), np.isin(data["y"], codes).astype(np.int64))
    test = data["split_lesion"] == 1
    lesions, lesion = np.unique(data["lesion_id"][~test], return_inverse=True)
    return _split(
        everything.take(np.flatnonzero(~test)),
        everything.take(np.flatnonzero(test)),
        (np.random.default_rng(SPLIT_SEED).random(len(lesions)) < VALIDATION_SHARE)[lesion],
    )


READERS: dict[str, Callable[[Path], Images]] = {
    "mnist": _mnist_like("mnist.npz"),
    "fashion_mnist": _mnist_like("fashion_mnist.npz"),
    "cifar10": _cifar10,
    "ham10000": _ham10000,
}
