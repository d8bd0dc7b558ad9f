"""Files of plain arrays: npz without pickles, written as a whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Kinds of numpy dtype that our files hold: booleans, integers, floats, strings.
PLAIN_KINDS = "biufU"


def write_npz(path: str | os.PathLike[str], entries: Mapping[str, Any]) -> None:
    """Write named arrays, numbers or strings to ``path``.

    The file appears under its name only when it is complete, so an interrupted call leaves what
    was there before. Values that would need a pickle are refused.
    """
    arrays: dict[str, Any] = {name: _plain(name, value) for name, value in entries.items()}
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            np.savez_compressed(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def read_npz(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """Read every entry of an npz file; nothing in it is ever run.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is not an npz file, is damaged, or holds anything but plain arrays.
    """
    with open(path, "rb") as file:
        try:
            with np.load(file, allow_pickle=False) as archive:
                entries = {name: archive[name] for name in archive.files}
        # zipfile, zlib and numpy each raise their own for the many ways to be damaged.
        except Exception as error:
            raise ValueError(f"not a readable npz file ({error})") from error
    for name, value in entries.items():
        if not isinstance(value, np.ndarray) or value.dtype.kind not in PLAIN_KINDS:
            raise ValueError(f"entry {name!r} is not a plain array")
    return entries


def _plain(name: str, value: Any) -> NDArray[Any]:
    array = np.asarray(value)
    if array.dtype.kind in "OT" and all(isinstance(item, str) for item in array.flat):
        array = array.astype(np.str_)
    if array.dtype.kind not in PLAIN_KINDS:
        raise ValueError(
            f"{name} of dtype {array.dtype} cannot be saved: it must hold numbers or strings."
        )
    return array
