"""Files of plain arrays: npz without pickles, written as a whole or not at all."""

from __future__ import annotations

import math
import os
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

# Kinds of numpy dtype that our files hold: booleans, integers, floats, strings.
PLAIN_KINDS = "biufU"

# Deflate cannot make more bytes out of one.
_DEFLATE_RATIO = 1032


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file that appears under its name only when the block ends without an error."""
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_npz(path: str | os.PathLike[str], entries: Mapping[str, Any]) -> None:
    """Write named arrays, numbers or strings to ``path``.

    The file appears under its name only when it is complete, so an interrupted call leaves what
    was there before. Values that would need a pickle are refused.
    """
    arrays: dict[str, Any] = {name: _plain(name, value) for name, value in entries.items()}
    with written_whole(path) as file:
        np.savez_compressed(file, **arrays)


def read_npz(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """Read every entry of an npz file; nothing in it is ever run.

    What the entries claim to hold is checked before any of it is unpacked, so that a small file
    cannot ask for much memory.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is not an npz file, is damaged, or holds anything but plain arrays.
    """
    with open(path, "rb") as file:
        try:
            _check_claims(file)
            with np.load(file, allow_pickle=False) as archive:
                entries = {name: archive[name] for name in archive.files}
        # zipfile, zlib and numpy each raise their own for the many ways to be damaged.
        except Exception as error:
            raise ValueError(f"not a readable npz file ({error})") from error
    return entries


def _check_claims(file: BinaryIO) -> None:
    """Refuse entries that are no plain arrays, or that would unpack to more than the file can hold.

    Overlapping entries, as of a zip bomb, add up to more than the file.
    """
    size = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if len({member.filename.removesuffix(".npy") for member in members}) != len(members):
            raise ValueError("two entries have one name")
        if sum(member.compress_size for member in members) > size:
            raise ValueError("its entries overlap")
        for member in members:
            name = member.filename.removesuffix(".npy")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"entry {name!r} is compressed in an unknown way")
            if member.file_size > _DEFLATE_RATIO * member.compress_size:
                raise ValueError(f"entry {name!r} claims more than it can hold")
            with archive.open(member) as content:
                _check_header(name, content, member.file_size)
    file.seek(0)


def _check_header(name: str, content: Any, size: int) -> None:
    """Refuse an array whose shape does not fit the bytes that follow, or that is not plain."""
    version = npy.read_magic(content)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"entry {name!r} has version {version} of the npy format")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(content)
    if dtype.kind not in PLAIN_KINDS:
        raise ValueError(f"entry {name!r} is not a plain array")
    if math.prod(shape) * dtype.itemsize != size - content.tell():
        raise ValueError(f"entry {name!r} of shape {shape} does not fit its {size} bytes")


def _plain(name: str, value: Any) -> NDArray[Any]:
    array = np.asarray(value)
    if array.dtype.kind in "OT" and all(isinstance(item, str) for item in array.flat):
        array = array.astype(np.str_)
    if array.dtype.kind not in PLAIN_KINDS:
        raise ValueError(
            f"{name} of dtype {array.dtype} cannot be saved: it must hold numbers or strings."
        )
    return array
