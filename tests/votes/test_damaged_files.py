"""Damaged and forged files: no votes but the right ones, no memory asked for."""

import io
import json
import pickle
import struct
import tracemalloc
import warnings
import zipfile
import zlib

import numpy as np
import pytest

from smoothcs import Certificates, sample_votes
from smoothcs.votes import draw_votes

# -------------------------------------------------------------------- resume files, damaged

N_INPUTS, N = 8, 60
X = np.random.default_rng(0).normal(size=(N_INPUTS, 3)).astype(np.float32)
WEIGHT = np.random.default_rng(1).normal(size=(3, 3)).astype(np.float32)
N_MUTATIONS = 2200


def logits(batch):
    return batch @ WEIGHT


class Looks:
    """A schedule of one to three looks."""

    def __repr__(self):
        return "Looks()"

    def __call__(self, index, counts):
        n = counts.sum(axis=1)
        done = (n >= 20) & ((n >= 60) | (counts.max(axis=1) > 0.7 * n))
        return np.where(done, n, n + 20)


def fixed(path):
    return sample_votes(logits, X, N, 1.0, random_state=0, batch_size=64, resume_from=path)


def scheduled(path):
    return draw_votes(logits, X, Looks(), 1.0, random_state=0, batch_size=64, resume_from=path)


RUNS = {"fixed": fixed, "scheduled": scheduled}


def split(content):
    """Cut a file into its header and its records."""
    end = 16 + struct.unpack_from("<I", content, 8)[0]
    parts = [content[:end]]
    while end < len(content):
        stop = end + 8 + struct.unpack_from("<I", content, end)[0]
        parts.append(content[end:stop])
        end = stop
    return parts


def flip_bits(content, rng):
    changed = bytearray(content)
    for at in rng.integers(len(content), size=rng.integers(1, 4)):
        changed[at] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def truncate(content, rng):
    return content[: rng.integers(len(content))]


def insert(content, rng):
    at = int(rng.integers(len(content) + 1))
    return content[:at] + rng.bytes(int(rng.integers(1, 40))) + content[at:]


def delete(content, rng):
    at = int(rng.integers(len(content)))
    return content[:at] + content[at + int(rng.integers(1, 40)) :]


def zero(content, rng):
    at = int(rng.integers(len(content)))
    length = min(int(rng.integers(1, 300)), len(content) - at)
    return content[:at] + bytes(length) + content[at + length :]


def zeros_behind(content, rng):
    return truncate(content, rng) + bytes(int(rng.integers(1, 300)))


def overwrite_a_length(content, rng):
    parts = split(content)
    i = int(rng.integers(len(parts)))
    at = sum(map(len, parts[:i])) + (8 if i == 0 else 0)
    length = int(rng.choice([0, 1, 56, 57, 58, 81, 105, 10**6, 2**31, 2**32 - 1]))
    return content[:at] + struct.pack("<I", length) + content[at + 4 :]


def shuffle_records(content, rng):
    header, *records = split(content)
    return header + b"".join(records[i] for i in rng.permutation(len(records)))


def duplicate_records(content, rng):
    header, *records = split(content)
    return header + b"".join(records[i] for i in rng.integers(len(records), size=14))


def drop_records(content, rng):
    header, *records = split(content)
    return header + b"".join(r for r in records if rng.random() < 0.5)


def two_files(content, rng):
    return content + content[int(rng.integers(len(content))) :]


MUTATIONS = [
    flip_bits,
    truncate,
    insert,
    delete,
    zero,
    zeros_behind,
    overwrite_a_length,
    shuffle_records,
    duplicate_records,
    drop_records,
    two_files,
]


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda f: f.__name__)
def test_a_damaged_file_is_refused_or_ends_with_the_same_votes(run, mutate, tmp_path):
    expected = RUNS[run](tmp_path / "whole")
    content = (tmp_path / "whole").read_bytes()
    path = tmp_path / "damaged"
    outcomes = {"refused": 0, "repaired": 0}
    rng = np.random.default_rng([MUTATIONS.index(mutate), run == "fixed"])
    for _ in range(N_MUTATIONS // (2 * len(MUTATIONS)) + 1):
        damaged = mutate(content, rng)
        path.write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the last record", UserWarning)
            try:
                votes = RUNS[run](path)
            except ValueError as error:
                text = str(error)
                assert text.startswith(f"resume_from={str(path)!r} ")
                assert any(w in text for w in ("damaged", "not a resume file", "other", "format"))
                assert path.read_bytes() == damaged  # evidence is not destroyed
                outcomes["refused"] += 1
                continue
        np.testing.assert_array_equal(votes, expected)
        outcomes["repaired"] += 1
        # What was written in the end is a good file.
        np.testing.assert_array_equal(RUNS[run](path), expected)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["damaged", "whole"]
    whole_records = (shuffle_records, duplicate_records, drop_records)
    assert outcomes["repaired" if mutate in whole_records else "refused"] > 0
    assert mutate not in whole_records or outcomes["refused"] == 0


# ------------------------------------------- resume files, forged: every checksum is right


def with_header(content, **changes):
    parts = split(content)
    header = {**json.loads(parts[0][12:-4]), **changes}
    header = {k: v for k, v in header.items() if v is not ...}
    return raw_header(json.dumps(header).encode()) + b"".join(parts[1:])


def raw_header(text):
    return b"SMOOTHCS" + struct.pack("<I", len(text)) + text + struct.pack("<I", zlib.crc32(text))


def with_body(content, change):
    """Change the body of the first record, and its length and CRC to match."""
    header, first, *others = split(content)
    body = change(first[4:-4])
    record = struct.pack("<I", len(body)) + body + struct.pack("<I", zlib.crc32(body))
    return header + record + b"".join(others)


def counts(*numbers):
    return struct.pack(f"<{len(numbers)}q", *numbers)


def twice_with_other_votes(content):
    header, first, *others = split(content)
    forged = with_body(header + first, lambda b: b[:57] + counts(20, 20, 20))
    return header + first + forged[len(header) :] + b"".join(others)


FORGED = {
    "header-no-json": (lambda c: raw_header(b"{") + c, "damaged header"),
    "header-no-text": (lambda c: raw_header(b"\xff\xfe") + c, "damaged header"),
    "header-list": (lambda c: raw_header(b"[1]") + c, "damaged header"),
    "header-deep": (lambda c: raw_header(b"[" * 10**5) + c, "damaged header"),
    "header-pickle": (lambda c: raw_header(pickle.dumps(1)) + c, "damaged header"),
    "header-without-classes": (lambda c: with_header(c, n_classes=...), "another n_classes"),
    "header-more": (lambda c: with_header(c, surprise=1), "another surprise"),
    "header-sigma-nan": (lambda c: with_header(c, sigma=float("nan")), "another sigma"),
    "header-classes-2": (lambda c: with_header(c, n_classes=2), "another n_classes"),
    "batch-size-zero": (lambda c: with_header(c, batch_size=0), "batch_size is 0"),
    "batch-size-negative": (lambda c: with_header(c, batch_size=-4), "batch_size is -4"),
    "batch-size-text": (lambda c: with_header(c, batch_size="x"), "batch_size is 'x'"),
    "batch-size-true": (lambda c: with_header(c, batch_size=True), "batch_size is True"),
    "batch-size-huge": (lambda c: with_header(c, batch_size=10**15), "batch_size is 1000"),
    "batch-size-missing": (lambda c: with_header(c, batch_size=...), "batch_size is None"),
    "body-empty": (lambda c: with_body(c, lambda b: b""), "impossible length 0"),
    "body-short": (lambda c: with_body(c, lambda b: b[:30]), "impossible length 30"),
    "body-odd": (lambda c: with_body(c, lambda b: b + b"x"), "impossible length 82"),
    "purpose-7": (lambda c: with_body(c, lambda b: b"\x07" + b[1:]), "no record of votes"),
    "negative-votes": (
        lambda c: with_body(c, lambda b: b[:57] + counts(100, -40, 0)),
        "no record of votes",
    ),
    "falling-votes": (
        lambda c: with_body(c, lambda b: b[:57] + counts(60, 0, 0, 20, 20, 20)),
        "no record of votes",
    ),
    "too-many-votes": (lambda c: with_body(c, lambda b: b[:57] + counts(60, 1, 0)), "n = 60"),
    "no-votes": (lambda c: with_body(c, lambda b: b[:57]), "expected one look at n = 60"),
    "other-index": (
        lambda c: with_body(c, lambda b: b[:1] + struct.pack("<Q", 5) + b[9:]),
        r"other data: X\[5\]",
    ),
    "huge-index": (
        lambda c: with_body(c, lambda b: b[:1] + b"\xff" * 8 + b[9:]),
        r"other data: X\[18446744073709551615\]",
    ),
    "two-answers": (twice_with_other_votes, "of input 0 twice, and they differ"),
}


@pytest.mark.parametrize("case", FORGED)
def test_a_forged_resume_file_is_refused_and_left_alone(case, tmp_path):
    change, message = FORGED[case]
    path = tmp_path / "votes"
    fixed(path)
    forged = change(path.read_bytes())
    path.write_bytes(forged)
    with pytest.raises(ValueError, match=message):
        fixed(path)
    assert path.read_bytes() == forged


def test_a_damaged_part_beside_a_resume_file_is_refused_and_kept(tmp_path):
    path = tmp_path / "votes"
    expected = fixed(path)
    part = tmp_path / "votes.part-0123456789ab"
    part.write_bytes(b"SMOOTHCS garbage")
    with pytest.raises(ValueError, match="part-0123456789ab.* damaged"):
        fixed(path)
    assert part.read_bytes() == b"SMOOTHCS garbage"
    part.unlink()
    np.testing.assert_array_equal(fixed(path), expected)


def marker(tmp_path):
    path = tmp_path / "marker"
    yield path
    assert not path.exists()


# ------------------------------------------------------------------- no memory asked for


def npy_header(shape, dtype="<f8", fortran=False):
    text = f"{{'descr': '{dtype}', 'fortran_order': {fortran}, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def archive_of(content, compression=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("votes.npy", content)
    return file.getvalue()


def huge_shape():
    return archive_of(npy_header((10**12, 10)) + bytes(80))


def negative_shape():
    return archive_of(npy_header((-(10**6), -(10**6))) + bytes(80))


def overflowing_shape():
    return archive_of(npy_header((2**62, 8)))


def strong_compression():
    return archive_of(npy_header((4_000_000,)) + bytes(32_000_000), zipfile.ZIP_LZMA)


def claimed_size():
    """An entry whose directory claims what deflate cannot give."""
    content = bytearray(archive_of(npy_header((10**8,)) + bytes(80)))
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", 8 * 10**8 + 128)
    return bytes(content)


def overlapping_entries():
    """Directory entries that all point to one kernel."""
    content = archive_of(npy_header((10**6,)) + bytes(8 * 10**6))
    at, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    entry, kernel = content[at:end], content[:at]
    entries = b"".join(
        entry[:46] + f"vote{i}.npy".encode() + entry[46 + len("votes.npy") :] for i in range(10)
    )
    tail = bytearray(content[end:])
    tail[8:12] = struct.pack("<HH", 10, 10)
    tail[12:20] = struct.pack("<II", len(entries), at)
    return kernel + entries + bytes(tail)


def same_name_twice():
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with zipfile.ZipFile(file, "w") as archive:
            for _ in range(2):
                archive.writestr("votes.npy", npy_header((0,)))
    return file.getvalue()


BOMBS = {
    huge_shape: "does not fit its",
    negative_shape: "does not fit its",
    overflowing_shape: "does not fit its",
    strong_compression: "compressed in an unknown way",
    claimed_size: "claims more than it can hold",
    overlapping_entries: "overlap",
    same_name_twice: "two entries have one name",
}


@pytest.mark.parametrize("make", BOMBS, ids=lambda f: f.__name__)
def test_a_bomb_is_refused_before_it_is_unpacked(make, tmp_path):
    path = tmp_path / "bomb.npz"
    path.write_bytes(make())
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=f"bomb.npz is not a valid .*{BOMBS[make]}"):
            Certificates.load(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
