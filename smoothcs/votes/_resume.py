"""Resume files: the votes of finished inputs on disk, so that a killed run loses almost nothing.

A file is appended to whenever an input is finished, with one write. It serves all purposes of a run
(selection and estimation votes may share it). Nothing in it is executed when it is read, and no
pickle is used. All integers are little-endian.

Layout
------
======================  ===========================================================================
bytes                   content
======================  ===========================================================================
8                       ``SMOOTHCS``
4                       length L of the header
L                       the header, JSON in UTF-8: ``format`` (1), ``classifier`` (digest of all
                        that its answers depend on), ``sigma``, ``key`` (fingerprint; the key
                        itself is not stored), ``precision``, ``streams`` (CPU's or CUDA's),
                        ``n_classes`` (m) and ``batch_size`` (a hint: not compared)
4                       CRC-32 of the header
======================  ===========================================================================

followed by one record for every finished input:

======================  ===========================================================================
bytes                   content
======================  ===========================================================================
4                       length L of the rest without the CRC
1                       purpose: 0 selection, 1 estimation, 2 prediction
8                       index of the input
32                      digest of the input's content (:func:`smoothcs.votes.noise.content_digest`)
16                      digest of the schedule: the number of votes asked for or, of sequential
                        votes, what is to be certified of this input, and how
8 m k                   cumulative votes, int64, at each of the k looks at the input; k = 1
                        where the number of votes is fixed
4                       CRC-32 of these L bytes
======================  ===========================================================================

A record that was cut off (the process was killed while writing, the disk was full) is removed with
a warning when the file is opened; so are a last record with a wrong CRC and zeros at the end, which
a loss of power may leave. A wrong CRC or an impossible length elsewhere means that the file was
damaged, and it is refused. So is a file of another classifier, sigma, key or precision, and a
record of another input or schedule: votes are continued with exactly what they were begun with, or
not at all. Checksums find accidents, not forgery: whoever may write the file may write votes.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import struct
import time
import uuid
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smoothcs.votes._digest import classifier_digest
from smoothcs.votes.noise import PURPOSES

FORMAT = 1
_MAGIC = b"SMOOTHCS"
_HINTS = ("batch_size",)
_RECORD = struct.Struct("<BQ32s16s")
_SECONDS_BETWEEN_SYNCS = 5.0
_MAX_BATCH_SIZE = 2**31


class FileInUseError(ValueError):
    """The file is being written by another process."""


@dataclass(frozen=True)
class Record:
    """The votes of one finished input."""

    purpose: str
    index: int
    digest: bytes  # of the content of the input, 32 bytes
    schedule: bytes  # digest of the schedule, 16 bytes
    looks: np.ndarray  # int64 (k, m): cumulative votes at every look

    def to_bytes(self) -> bytes:
        """Return the record as it stands in the file."""
        head = _RECORD.pack(PURPOSES.index(self.purpose), self.index, self.digest, self.schedule)
        body = head + np.ascontiguousarray(self.looks, dtype="<i8").tobytes()
        return struct.pack("<I", len(body)) + body + struct.pack("<I", zlib.crc32(body))

    @classmethod
    def from_body(cls, body: bytes, n_classes: int) -> Record:
        """Return the record from what stands between its length and its CRC, or raise."""
        purpose, index, digest, schedule = _RECORD.unpack_from(body)
        looks = np.frombuffer(body, dtype="<i8", offset=_RECORD.size).reshape(-1, n_classes)
        looks = looks.astype(np.int64)
        if purpose >= len(PURPOSES) or np.any(looks < 0) or np.any(looks[1:] < looks[:-1]):
            raise ValueError("it holds what is no record of votes")
        return cls(PURPOSES[purpose], index, digest, schedule, looks)


class ResumeFile:
    """A resume file, opened for appending; see the module for its format.

    Parameters
    ----------
    path : str or PathLike
        The file; made if it does not exist.
    header : dict
        What the votes depend on; compared with that of an existing file.

    Attributes
    ----------
    header : dict
        The header of the file.
    records : list of Record
        What the file held when it was opened.

    Raises
    ------
    ValueError
        If the file is no resume file, is damaged, belongs to other votes (the message names the
        field) or is in use.
    """

    def __init__(self, path: str | os.PathLike[str], header: dict[str, Any]) -> None:
        self.path = Path(path)
        self.header = {"format": FORMAT, **header}
        self.records: list[Record] = []
        self._known: set[tuple[str, int]] = set()
        self._synced = time.monotonic()
        if not self.path.exists() or self.path.stat().st_size == 0:
            self._create()
        self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0))
        try:
            _lock(self._file, self.path)
            if not _is_still(self._file, self.path):
                raise FileInUseError(f"resume_from={str(self.path)!r} was replaced by another run.")
            self._read()
            self.absorb_parts()
        except BaseException:
            os.close(self._file)
            raise

    def _create(self) -> None:
        # Renamed into place, so that no file has half a header.
        text = json.dumps(self.header).encode()
        temporary = self.path.with_name(f".{self.path.name}.new-{uuid.uuid4().hex[:12]}")
        temporary.write_bytes(
            _MAGIC + struct.pack("<I", len(text)) + text + struct.pack("<I", zlib.crc32(text))
        )
        try:
            # Not over a file that another run has made and locked meanwhile.
            os.link(temporary, self.path)
        except FileExistsError:
            if self.path.stat().st_size == 0:
                os.replace(temporary, self.path)
        except OSError:  # a file system without links
            os.replace(temporary, self.path)
        temporary.unlink(missing_ok=True)

    def _read(self) -> None:
        content = self.path.read_bytes()
        found, position = _parse_header(content, self.path)
        for name in [*found, *self.header]:
            if name not in _HINTS and found.get(name) != self.header.get(name):
                raise ValueError(
                    f"resume_from={str(self.path)!r} holds votes with another {name}: "
                    f"{found.get(name)!r} there, {self.header.get(name)!r} here."
                )
        self.records, end = _parse_records(content, position, self.header["n_classes"], self.path)
        self.header = found
        self._known = {(record.purpose, record.index) for record in self.records}
        if end < len(content):
            warnings.warn(
                f"the last record of {str(self.path)!r} is incomplete and was removed; "
                f"{len(self.records)} records are kept.",
                UserWarning,
                stacklevel=2,
            )
            os.ftruncate(self._file, end)

    def __contains__(self, record: Record) -> bool:
        return (record.purpose, record.index) in self._known

    def append(self, record: Record) -> None:
        """Write one record."""
        content = record.to_bytes()
        if os.write(self._file, content) != len(content):
            raise OSError(f"{str(self.path)!r} could not be written: is the disk full?")
        self._known.add((record.purpose, record.index))
        # A killed process loses nothing that was written; a machine that loses power, seconds.
        if time.monotonic() - self._synced > _SECONDS_BETWEEN_SYNCS:
            os.fsync(self._file)
            self._synced = time.monotonic()

    def part_path(self) -> str:
        """Return a path beside this file, for a :class:`ResumeFile` of another process.

        Its records are taken over by :meth:`absorb_parts`, or when this file is opened next.
        """
        return f"{self.path}.part-{uuid.uuid4().hex[:12]}"

    def absorb_parts(self) -> list[Record]:
        """Take over what other processes wrote, and return it."""
        new = []
        for part in sorted(glob.glob(f"{glob.escape(str(self.path))}.part-*")):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)  # cut off when its process died
                    beside = ResumeFile(part, self.header)
            except FileInUseError:
                continue  # of a process that outlived its killed parent
            for record in beside.records:
                if record not in self:
                    self.append(record)
                    new.append(record)
            beside.close()
            os.unlink(part)
        self.records += new
        return new

    def close(self) -> None:
        """Flush and close the file."""
        if self._file >= 0:
            os.fsync(self._file)
            os.close(self._file)
            self._file = -1


def header_of(
    classifier: Any,
    *,
    sigma: float,
    key: bytes,
    precision: str,
    on_cuda: bool,
    n_classes: int,
    batch_size: int | str,
) -> dict[str, Any]:
    """Return the header of a file for these votes."""
    fingerprint = hashlib.blake2b(key, digest_size=16, person=b"fingerprint").hexdigest()
    return {
        "classifier": classifier_digest(classifier),
        "sigma": sigma,
        "key": fingerprint,
        "precision": precision,
        "streams": "cuda" if on_cuda else "cpu",
        "n_classes": n_classes,
        "batch_size": batch_size,
    }


def schedule_digest(schedule: Any, index: int) -> bytes:
    """Return 16 bytes that tell apart what is asked of one input.

    Schedules are known by their repr and, if they have the method, by ``claim(index)``.
    """
    claim = getattr(schedule, "claim", None)
    text = _without_addresses(repr(schedule)) + ("" if claim is None else repr(claim(index)))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _without_addresses(text: str) -> str:
    return re.sub(r"0x[0-9a-f]+", "", text)


def _parse_header(content: bytes, path: Path) -> tuple[dict[str, Any], int]:
    """Return the header and where the records begin."""
    start = len(_MAGIC) + 4
    if content[: len(_MAGIC)] != _MAGIC or len(content) < start:
        raise ValueError(f"resume_from={str(path)!r} is not a resume file of smoothcs.")
    end = start + struct.unpack_from("<I", content, len(_MAGIC))[0]
    text, checksum = content[start:end], content[end : end + 4]
    if checksum != struct.pack("<I", zlib.crc32(text)):
        raise ValueError(f"resume_from={str(path)!r} has a damaged header.")
    try:
        header = json.loads(text)
        if not isinstance(header, dict):
            raise ValueError("not an object")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"resume_from={str(path)!r} has a damaged header ({error}).") from None
    if header.get("format") != FORMAT:
        raise ValueError(
            f"resume_from={str(path)!r} has format {header.get('format')!r}; this release reads "
            f"format {FORMAT}."
        )
    batch_size = header.get("batch_size")
    # The only field that is used without having been compared.
    is_size = type(batch_size) is int and 1 <= batch_size <= _MAX_BATCH_SIZE
    if batch_size != "auto" and not is_size:
        raise ValueError(
            f"resume_from={str(path)!r} has a damaged header (batch_size is {batch_size!r})."
        )
    return header, end + 4


def _parse_records(
    content: bytes, position: int, n_classes: int, path: Path
) -> tuple[list[Record], int]:
    """Return the records, and where the last whole one ends."""
    records: list[Record] = []
    while position + 4 <= len(content):
        start = position + 4
        length = struct.unpack_from("<I", content, position)[0]
        end = start + length
        # A record that was cut off still has its true length; zeros are what a lost block reads as.
        if length < _RECORD.size or (length - _RECORD.size) % (8 * n_classes):
            if not any(content[position:]):
                break
            raise ValueError(
                f"resume_from={str(path)!r} is damaged: record {len(records)} (at byte {position}) "
                f"has the impossible length {length}."
            )
        if end + 4 > len(content):
            break
        body, checksum = content[start:end], content[end : end + 4]
        if checksum != struct.pack("<I", zlib.crc32(body)):
            if end + 4 == len(content):
                break
            raise ValueError(
                f"resume_from={str(path)!r} is damaged: record {len(records)} (at byte {position}) "
                "has a wrong checksum."
            )
        try:
            records.append(Record.from_body(body, n_classes))
        except ValueError as error:
            raise ValueError(
                f"resume_from={str(path)!r} is damaged: record {len(records)} (at byte {position}) "
                f"is no record: {error}."
            ) from None
        position = end + 4
    return records, position


def _is_still(file: int, path: Path) -> bool:
    """Whether an open file is the one that the path names now."""
    try:
        here, there = os.fstat(file), os.stat(path)
    except FileNotFoundError:
        return False
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def _lock(file: int, path: Path) -> None:
    """Lock the file until it is closed, where the system can."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FileInUseError(f"resume_from={str(path)!r} is in use by another run.") from None
    except OSError:  # a file system without locks
        return
