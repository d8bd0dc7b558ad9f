"""Resume files: the votes of finished inputs on disk, so that a killed run loses almost nothing.

A file is appended to whenever an input is finished, with one write. It serves all purposes of a run
(selection and estimation votes may share it). It is text, one JSON object per line; nothing in it
is executed when it is read. The last field of every line, ``crc32``, is the CRC-32 of the text
before it in hexadecimal digits.

The first line is the header:

==============  ===================================================================================
field           content
==============  ===================================================================================
``smoothcs``    ``"votes"``
``format``      1
``sigma``       standard deviation of the noise
``noise_scale`` digest of the scale of each entry, or null
``key``         fingerprint of the key; the key itself is not stored
``precision``   what the classifier computed in
``streams``     whose noise: ``"cpu"`` or ``"cuda"``
``n_classes``   m
``batch_size``  a hint; not compared
``input``       digest of the first input
``outputs``     the classifier's outputs on noisy copies of it (:mod:`smoothcs.votes._fingerprint`)
==============  ===================================================================================

followed by one line for every finished input:

==============  ===================================================================================
field           content
==============  ===================================================================================
``purpose``     ``"selection"``, ``"estimation"``, ``"prediction"`` or ``"portfolio"``
``index``       index of the input
``input``       digest of its content (:func:`smoothcs.votes.noise.content_digest`)
``schedule``    digest of the schedule: the number of votes asked for or, of sequential votes, what
                is to be certified of this input, and how
``votes``       cumulative votes at each of the k looks at the input, k lists of m numbers; k = 1
                where the number of votes is fixed
==============  ===================================================================================

A last line that was cut off (the process was killed while writing, the disk was full) or has a
wrong checksum is removed with a warning when the file is opened; so are zeros at the end, which a
loss of power may leave. A wrong checksum elsewhere means that the file was damaged, and it is
refused. So is a file of another classifier, sigma, key or precision, and a record of another input
or schedule: votes are continued with exactly what they were begun with, or not at all. Checksums
find accidents, not forgery: whoever may write the file may write votes.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import time
import uuid
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smoothcs.votes._fingerprint import agree
from smoothcs.votes.noise import PURPOSES, NoiseLaw

FORMAT = 1
_START = b'{"smoothcs": "votes", "format": '
_SECONDS_BETWEEN_SYNCS = 5.0
_MAX_BATCH_SIZE = 2**31


class FileInUseError(ValueError):
    """The file is being written by another process."""


def seal(fields: dict[str, Any]) -> bytes:
    """Return a line with its checksum."""
    text = json.dumps(fields)[:-1].encode()
    return b'%s, "crc32": "%08x"}\n' % (text, zlib.crc32(text))


def _unseal(line: bytes) -> dict[str, Any] | None:
    """Return the fields of a line, or None if it has a wrong checksum."""
    text, _, end = line.rpartition(b', "crc32": ')
    if end != b'"%08x"}\n' % zlib.crc32(text):
        return None
    try:
        fields = json.loads(text + b"}")
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


@dataclass(frozen=True)
class Record:
    """The votes of one finished input."""

    purpose: str
    index: int
    digest: bytes  # of the content of the input
    schedule: str  # digest
    looks: np.ndarray  # int64 (k, m): cumulative votes at every look

    def to_bytes(self) -> bytes:
        """Return the record as it stands in the file."""
        return seal(
            {
                "purpose": self.purpose,
                "index": int(self.index),
                "input": self.digest.hex(),
                "schedule": self.schedule,
                "votes": self.looks.tolist(),
            }
        )

    @classmethod
    def from_fields(cls, fields: dict[str, Any], n_classes: int) -> Record:
        """Return the record that a line holds, or raise."""
        purpose, index, digest, schedule, votes = fields.values()
        rows = [[v for v in row if type(v) is int and 0 <= v < 2**40] for row in votes]
        looks = np.array(rows, dtype=np.int64).reshape(len(rows), n_classes)
        if (
            list(fields) != ["purpose", "index", "input", "schedule", "votes"]
            or purpose not in PURPOSES
            or type(index) is not int
            or index < 0
            or votes != rows
            or np.any(looks[1:] < looks[:-1])
        ):
            raise ValueError("fields of no record")
        return cls(purpose, index, bytes.fromhex(digest), str(schedule), looks)


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
    FileNotFoundError, IsADirectoryError
        If its folder does not exist, or it is a folder.
    """

    def __init__(self, path: str | os.PathLike[str], header: dict[str, Any]) -> None:
        self.path = Path(path)
        self.header = header
        self.records: list[Record] = []
        self._known: set[tuple[str, int]] = set()
        self._synced = time.monotonic()
        name = f"resume_from={str(self.path)!r}"
        if self.path.is_dir():
            raise IsADirectoryError(f"{name} is a folder; name a file.")
        if not self.path.parent.is_dir():
            folder = str(self.path.parent)
            raise FileNotFoundError(f"{name}: there is no folder {folder!r}; make it first.")
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
        temporary = self.path.with_name(f".{self.path.name}.new-{uuid.uuid4().hex[:12]}")
        temporary.write_bytes(seal(self.header))
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
        name = f"resume_from={str(self.path)!r}"
        content = self.path.read_bytes()
        if not content.startswith(_START):
            raise ValueError(f"{name} is not a resume file of smoothcs.")
        first, *lines = content.splitlines(keepends=True)
        self.header = self._check_header(_unseal(first), name)
        end = len(first)
        for number, line in enumerate(lines, 2):
            fields = _unseal(line)
            if fields is None and line is lines[-1]:
                break
            if fields is None:
                raise ValueError(f"{name} is damaged: line {number} has a wrong checksum.")
            try:
                self.records.append(Record.from_fields(fields, self.header["n_classes"]))
            except (ValueError, TypeError) as error:
                raise ValueError(
                    f"{name} is damaged: line {number} holds no votes of an input."
                ) from error
            end += len(line)
        self._known = {(record.purpose, record.index) for record in self.records}
        if end < len(content):
            warnings.warn(
                f"the last line of {str(self.path)!r} is incomplete and was removed; "
                f"{len(self.records)} records are kept.",
                UserWarning,
                stacklevel=2,
            )
            os.ftruncate(self._file, end)

    def _check_header(self, found: dict[str, Any] | None, name: str) -> dict[str, Any]:
        """Return the header of a file if it holds votes like these, or raise."""
        if not found:
            raise ValueError(f"{name} has a damaged header.")
        if found.get("format") != FORMAT:
            raise ValueError(
                f"{name} has format {found.get('format')!r}; this release reads format {FORMAT}."
            )
        for field in [*self.header, *found]:
            there, here = found.get(field), self.header.get(field)
            if field == "outputs":
                if not agree(there, here, self.header["precision"]):
                    raise ValueError(
                        f"{name} holds votes of another classifier: its outputs on noisy copies of "
                        "X[0] differ from those of this one."
                    )
            elif field == "input" and there != here:
                raise ValueError(f"{name} holds votes of other data: X[0] is another input.")
            elif field != "batch_size" and there != here:
                raise ValueError(
                    f"{name} holds votes with another {field}: {there!r} there, {here!r} here."
                )
        size = found.get("batch_size")
        if size != "auto" and not (type(size) is int and 1 <= size <= _MAX_BATCH_SIZE):
            raise ValueError(f"{name} has a damaged header (batch_size is {size!r}).")
        return found

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
    *,
    noise: NoiseLaw,
    key: bytes,
    precision: str,
    on_cuda: bool,
    n_classes: int,
    batch_size: int | str,
    digest: bytes,
    outputs: list[Any],
    rule: str | None = None,
) -> dict[str, Any]:
    """Return the header of a file for these votes.

    ``rule`` names exactly what a classifier decides by, which outputs show up to rounding alone.
    """
    return {
        "smoothcs": "votes",
        "format": FORMAT,
        "sigma": noise.sigma,
        "noise_scale": noise.digest,
        "key": hashlib.blake2b(key, digest_size=16, person=b"fingerprint").hexdigest(),
        "precision": precision,
        "streams": "cuda" if on_cuda else "cpu",
        "n_classes": n_classes,
        "batch_size": batch_size,
        "input": digest.hex(),
        "outputs": outputs,
        "rule": rule,
    }


def schedule_digest(schedule: Any, index: int) -> str:
    """Return a digest that tells apart what is asked of one input.

    Schedules are known by their repr and, if they have the method, by ``claim(index)``.
    """
    claim = getattr(schedule, "claim", None)
    # Without addresses, which differ between processes.
    text = re.sub(r"0x[0-9a-f]+", "", repr(schedule))
    text += "" if claim is None else repr(claim(index))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


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
