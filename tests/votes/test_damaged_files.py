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
        clear = (n >= 60) | (counts.max(axis=1) > 0.7 * n)
        return np.where((n >= 20) & clear, n, n + 20)


def fixed(path):
    return sample_votes(logits, X, N, 1.0, random_state=0, batch_size=64, resume_from=path)


def scheduled(path):
    return sample_votes(logits, X, Looks(), 1.0, random_state=0, batch_size=64, resume_from=path)


RUNS = {"fixed": fixed, "scheduled": scheduled}


def split(content):
    """Cut a file into its header and its records."""
    return content.splitlines(keepends=True)


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


def break_lines(content, rng):
    changed = bytearray(content)
    for at in rng.integers(len(content), size=rng.integers(1, 4)):
        changed[at] = ord("\n")
    return bytes(changed)


def join_lines(content, rng):
    lines = split(content)
    i = int(rng.integers(len(lines)))
    return b"".join(lines[:i]) + lines[i].rstrip() + b"".join(lines[i + 1 :])


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
    break_lines,
    join_lines,
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
            warnings.filterwarnings("ignore", "the last line", UserWarning)
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


def sealed(text):
    return text + b', "crc32": "%08x"}\n' % zlib.crc32(text)


def changed(line, **changes):
    fields = {**json.loads(line), **changes}
    del fields["crc32"]
    return sealed(json.dumps({k: v for k, v in fields.items() if v is not ...}).encode()[:-1])


def with_header(content, **changes):
    header, *others = split(content)
    return changed(header, **changes) + b"".join(others)


def with_record(content, **changes):
    """Change the first record, and its checksum to match."""
    header, first, *others = split(content)
    return header + changed(first, **changes) + b"".join(others)


def header_of(rest):
    return sealed(b'{"smoothcs": "votes", "format": 1, "sigma": ' + rest)


def twice_with_other_votes(content):
    header, first, *others = split(content)
    return header + first + changed(first, votes=[[20, 20, 20]]) + b"".join(others)


FORGED = {
    "header-no-json": (lambda c: header_of(b"{") + c, "damaged header"),
    "header-no-text": (lambda c: header_of(b"\xff\xfe") + c, "damaged header"),
    "header-deep": (lambda c: header_of(b"[" * 10**5) + c, "damaged header"),
    "header-pickle": (lambda c: header_of(pickle.dumps(1)) + c, "damaged header"),
    "header-short": (lambda c: header_of(b"1.0") + c, "another key"),
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
    "record-without-votes": (lambda c: with_record(c, votes=...), "line 2 holds no votes"),
    "record-with-more": (lambda c: with_record(c, more=1), "line 2 holds no votes"),
    "purpose-7": (lambda c: with_record(c, purpose=7), "line 2 holds no votes"),
    "negative-votes": (lambda c: with_record(c, votes=[[100, -40, 0]]), "line 2 holds no votes"),
    "falling-votes": (
        lambda c: with_record(c, votes=[[60, 0, 0], [20, 20, 20]]),
        "line 2 holds no votes",
    ),
    "too-many-votes": (lambda c: with_record(c, votes=[[60, 1, 0]]), "expected 60 votes"),
    "no-votes": (lambda c: with_record(c, votes=[]), "expected 60 votes at look 1"),
    "look-too-many": (
        lambda c: with_record(c, votes=[[60, 0, 0], [60, 1, 0]]),
        "expected no votes at look 2",
    ),
    "same-look-twice": (
        lambda c: with_record(c, votes=[[60, 0, 0], [60, 0, 0]]),
        "expected no votes at look 2",
    ),
    "other-index": (lambda c: with_record(c, index=5), r"other data: X\[5\]"),
    "huge-index": (
        lambda c: with_record(c, index=2**64 - 1),
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
    part.write_bytes(b'{"smoothcs": "votes", "format": garbage')
    with pytest.raises(ValueError, match="part-0123456789ab.* damaged"):
        fixed(path)
    assert part.read_bytes() == b'{"smoothcs": "votes", "format": garbage'
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
