"""Files from elsewhere: nothing in them is ever run, and damage is refused or undone."""

import io
import json
import pickle
import struct
import tracemalloc
import warnings
import zipfile
import zlib
from collections import Counter

import joblib
import numpy as np
import pytest
import torch
from torch import nn

from smoothcs import Certificates, WeightedVotes, certify_votes, sample_votes

MEBIBYTE = 2**20
VOTES = np.array([[900, 60, 40], [30, 950, 20], [5, 5, 990], [400, 350, 250]])
COSTS = [[0, 1, 5], [0, 0, 0], [2, 0, 0]]


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return (open, (self.marker, "w"))


@pytest.fixture
def marker(tmp_path):
    """Where a payload leaves its mark; that it would is shown first."""
    path = tmp_path / "marker"
    pickle.loads(pickle.dumps(Payload(path))).close()
    assert path.exists()
    path.unlink()
    return path


def pickled(marker):
    return pickle.dumps(Payload(marker))


def joblib_dump(marker):
    buffer = io.BytesIO()
    joblib.dump([Payload(marker)], buffer)
    return buffer.getvalue()


def torch_save(marker):
    buffer = io.BytesIO()
    torch.save({"weight": Payload(marker)}, buffer)
    return buffer.getvalue()


def object_npy(marker):
    buffer = io.BytesIO()
    np.save(buffer, np.array([Payload(marker), None], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def object_npz(marker):
    buffer = io.BytesIO()
    np.savez(buffer, votes=np.array([Payload(marker), None], dtype=object))
    return buffer.getvalue()


CARRIERS = [pickled, joblib_dump, torch_save, object_npy, object_npz]


# ---- certificates ------------------------------------------------------------------------------


def certificates(**changes):
    return certify_votes(
        VOTES // 10,
        VOTES,
        sigma=0.5,
        y=["a", "b", "c", "a"],
        classes=["a", "b", "c"],
        cost_matrix=COSTS,
        **{"bound": "closed-form", **changes},
    )


def npz_of(saved):
    buffer = io.BytesIO()
    np.savez(buffer, **saved)
    return buffer.getvalue()


def npy_of(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def with_member(content, name, data, compress_type=zipfile.ZIP_STORED):
    """The npz ``content`` with one member written (again) by hand."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(result, "w") as new:
        for member in old.infolist():
            if member.filename != name:
                new.writestr(member.filename, old.read(member))
        new.writestr(name, data, compress_type)
    return result.getvalue()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The entries of a good file."""
    path = tmp_path_factory.mktemp("good") / "good.npz"
    certificates().save(path)
    with np.load(path) as archive:
        return dict(archive)


FIELDS = [
    "format", "label", "abstained", "radius_standard", "radius_group", "radius_pair",
    "radius_other",
    "votes", "selection_votes", "sigma", "alpha", "level", "n", "bound", "simultaneous",
    "blockers", "also_correct", "costs", "classes", "y", "harmless_errors", "weights",
    "input_error",
]  # fmt: skip


def refused(path, content, match="is not a valid file of Certificates"):
    """Loading raises a ValueError that names the file, within a few megabytes."""
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=match) as raised:
            Certificates.load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert path.name in str(raised.value)
    assert peak < 32 * MEBIBYTE
    assert path.read_bytes() == content


def test_the_good_file_loads_and_every_field_is_attacked_below(saved, tmp_path):
    assert sorted(saved) == sorted(FIELDS)
    (tmp_path / "good.npz").write_bytes(npz_of(saved))
    loaded = Certificates.load(tmp_path / "good.npz")
    np.testing.assert_array_equal(loaded.radius_pair, certificates().radius_pair)


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_pickle_under_the_name_of_certificates_is_not_run(carrier, marker, tmp_path):
    refused(tmp_path / "c.npz", carrier(marker))
    assert not marker.exists()


@pytest.mark.parametrize("field", [*FIELDS, "model", "unknown"])
@pytest.mark.parametrize("kind", ["object array", "raw pickle", "object field", "scalar object"])
def test_a_pickle_in_any_entry_is_not_run(field, kind, saved, marker, tmp_path):
    if kind == "raw pickle":
        content = with_member(npz_of(saved), f"{field}.npy", pickled(marker))
    else:
        value = {
            "object array": np.array([Payload(marker)] * 4, dtype=object),
            "object field": np.array([(1.0, Payload(marker))], dtype=[("a", "f8"), ("b", "O")]),
            "scalar object": np.array(Payload(marker), dtype=object),
        }[kind]
        content = npz_of({**saved, field: value})
    refused(tmp_path / "c.npz", content)
    assert not marker.exists()


def forged_header(shape, descr, version=(1, 0)):
    """An npy header with nothing behind it."""
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}".encode()
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + size + text


@pytest.mark.parametrize("field", ["votes", "radius_group", "label", "classes", "n", "sigma"])
@pytest.mark.parametrize(
    ("shape", "descr"),
    [
        ((2**40,), "<f8"),
        ((2**31, 2**31), "<i8"),
        ((2**62, 2**62), "<f8"),
        ((10**30,), "<f8"),
        ((-1,), "<f8"),
        ((4, 3), "<U500000000"),
        ((2**40,), "<U0"),
        ((2**62, 4), "<U0"),
        ((0, 2**62), "<i8"),
        ((2**40, 0), "<f8"),
    ],
    ids=str,
)
def test_an_enormous_claim_is_refused_before_memory_is_asked_for(
    field, shape, descr, saved, tmp_path
):
    for version in ((1, 0), (2, 0)):
        content = with_member(npz_of(saved), f"{field}.npy", forged_header(shape, descr, version))
        refused(tmp_path / "c.npz", content)


def test_a_length_that_the_archive_claims_is_not_believed(saved, tmp_path):
    header = forged_header((2**40,), "<f8")
    content = bytearray(with_member(npz_of(saved), "votes.npy", header))
    # The uncompressed size in the local header and in the central directory.
    claimed = struct.pack("<I", len(header))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = content.rfind(signature) + offset
        assert content[place : place + 4] == claimed
        content[place : place + 4] = struct.pack("<I", 2**32 - 2)
    refused(tmp_path / "c.npz", bytes(content))


def test_a_header_of_nested_brackets_is_refused(saved, tmp_path):
    for depth in (500, 60_000):
        text = b"(" * depth + b")" * depth
        header = b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text
        refused(tmp_path / "c.npz", with_member(npz_of(saved), "n.npy", header))


@pytest.mark.parametrize(
    "odd",
    [
        "two of one name", "no suffix beside it", "directory", "parent path", "encrypted", "bzip2",
        "lzma", "nested npz", "text", "empty member", "no members", "trailing array bytes",
        "later npy version",
    ],
)  # fmt: skip
def test_archives_with_odd_members_are_refused(odd, saved, tmp_path):
    good, name = npz_of(saved), "votes.npy"
    votes = npy_of(saved["votes"])
    if odd == "two of one name":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            buffer = io.BytesIO(good)
            with zipfile.ZipFile(buffer, "a") as archive:
                archive.writestr(name, npy_of(saved["votes"][::-1]))
            content = buffer.getvalue()
    elif odd == "no suffix beside it":
        content = with_member(good, "votes", npy_of(saved["votes"][::-1]))
    elif odd == "directory":
        content = with_member(good, "votes/", b"")
    elif odd == "parent path":
        content = with_member(good, "../votes.npy", votes)
    elif odd == "encrypted":
        content = bytearray(with_member(good, name, votes))
        for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            content[content.rfind(signature) + offset] |= 1
    elif odd in ("bzip2", "lzma"):
        kind = zipfile.ZIP_BZIP2 if odd == "bzip2" else zipfile.ZIP_LZMA
        content = with_member(good, name, votes, kind)
    elif odd == "no members":
        buffer = io.BytesIO()
        zipfile.ZipFile(buffer, "w").close()
        content = buffer.getvalue()
    else:
        data = {
            "nested npz": good,
            "text": b"900 60 40",
            "empty member": b"",
            "trailing array bytes": votes + b"\0" * 8,
            "later npy version": votes.replace(b"NUMPY\x01", b"NUMPY\x09"),
        }[odd]
        content = with_member(good, name, data)
    refused(tmp_path / "c.npz", bytes(content))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.npz"]


WRONG = {
    "votes as floats": {"votes": VOTES.astype(float)},
    "votes as booleans": {"votes": VOTES > 100},
    "votes as text": {"votes": VOTES.astype(str)},
    "votes of one row": {"votes": VOTES[0]},
    "votes of three axes": {"votes": VOTES[None]},
    "votes of fewer inputs": {"votes": VOTES[:2]},
    "votes of fewer classes": {"votes": VOTES[:, :2]},
    "a vote too many": {"votes": VOTES + np.eye(4, 3, dtype=int)},
    "negative votes": {"votes": VOTES + np.array([1, -100, 99])},
    "votes that overflow": {"votes": np.full((4, 3), 2**63 - 1)},
    "selection as floats": {"selection_votes": (VOTES // 10).astype(float)},
    "selection that picks another label": {"selection_votes": VOTES[::-1]},
    "no selection rows": {"selection_votes": VOTES[:0]},
    "n of another sum": {"n": np.int64(999)},
    "n per input of another length": {"n": np.full(3, 1000)},
    "n as text": {"n": np.array("1000")},
    "nan standard radius": {"radius_standard": np.array([np.nan, 0, 0, 0])},
    "nan group radius": {"radius_group": np.full(4, np.nan)},
    "nan pair radii": {"radius_pair": np.full((4, 3), np.nan)},
    "pair radii everywhere": {"radius_pair": np.zeros((4, 3))},
    "other radii beyond those of pairs": {"radius_other": certificates().radius_other + 1.0},
    "infinite radius": {"radius_standard": np.array([np.inf, 0, 0, 0])},
    "negative radius": {"radius_standard": np.array([-0.1, 0, 0, 0])},
    "radii of single precision": {"radius_standard": np.zeros(4, np.float32)},
    "radii of half precision": {"radius_group": np.array([0, np.nan, 0, 0], np.float16)},
    "radii as integers": {"radius_standard": np.zeros(4, int)},
    "radii as booleans": {"radius_standard": np.ones(4, bool)},
    "radii as text": {"radius_standard": np.array(["0.5"] * 4)},
    "radii of another length": {"radius_standard": np.zeros(3)},
    "radii in a column": {"radius_standard": np.zeros((4, 1))},
    "a scalar radius": {"radius_standard": np.float64(0.5)},
    "mask of integers": {"abstained": np.zeros(4, int)},
    "abstained with radii": {"abstained": np.ones(4, bool)},
    "labels as bytes": {"label": np.array([b"a", b"b", b"c", b"a"])},
    "labels as dates": {"label": np.array(["2020-01-01"] * 4, "M8[D]")},
    "labels of no class": {"label": np.array(["a", "b", "x", "a"])},
    "truth of no class": {"y": np.array(["a", "b", "x", "a"])},
    "truth of another length": {"y": np.array(["a"])},
    "one class": {"classes": np.array(["a"])},
    "classes twice": {"classes": np.array(["a", "a", "c"])},
    "nan costs": {"costs": np.full((3, 3), np.nan)},
    "negative costs": {"costs": -np.ones((3, 3))},
    "costs of a row": {"costs": np.zeros(3)},
    "costs on the diagonal": {"costs": np.ones((3, 3))},
    "sigma of nan": {"sigma": np.float64("nan")},
    "sigma of inf": {"sigma": np.float64("inf")},
    "sigma as text": {"sigma": np.array("0.5")},
    "alpha of 1": {"alpha": np.float64(1)},
    "level above alpha": {"level": np.float64(0.5)},
    "level of nan": {"level": np.float64("nan")},
    "unknown bound": {"bound": np.array("loose")},
    "bound of numbers": {"bound": np.arange(3)},
    "simultaneous as text": {"simultaneous": np.array("yes")},
    "blockers of minus one": {"blockers": np.int64(-1)},
    "correct of two": {"also_correct": np.int64(2)},
    "version of text": {"format": np.array("1")},
    "version of a list": {"format": np.array([1, 1])},
    "input error of nan": {"input_error": np.full(4, np.nan)},
    "negative input error": {"input_error": np.float64(-0.1)},
    "input error of another length": {"input_error": np.zeros(3)},
    "weights of another length": {"weights": np.ones(7)},
    "weights by which another class wins": {"weights": np.array([1.0, 1.0, 1e4])},
    "nan weights": {"weights": np.array([1.0, np.nan, 1.0])},
}


@pytest.mark.parametrize("case", WRONG)
def test_entries_that_do_not_fit_are_refused(case, saved, tmp_path):
    refused(tmp_path / "c.npz", npz_of({**saved, **WRONG[case]}))


@pytest.mark.parametrize("field", FIELDS)
def test_a_missing_entry_is_refused_unless_it_is_optional(field, saved, tmp_path):
    content = npz_of({k: v for k, v in saved.items() if k != field})
    if field == "y":
        # The rows of the cost matrix are then those of the labels, which are the same here.
        (tmp_path / "c.npz").write_bytes(content)
        with pytest.raises(ValueError, match="certify with y"):
            Certificates.load(tmp_path / "c.npz").rob_cs(0.1)
    elif field == "radius_other":  # a bill then charges the most beside a costly label
        (tmp_path / "c.npz").write_bytes(content)
        assert Certificates.load(tmp_path / "c.npz").bill(0.1) >= certificates().bill(0.1)
    else:
        refused(tmp_path / "c.npz", content)


def same(loaded, original):
    radii = ("radius_standard", "radius_group", "radius_pair", "radius_other")
    for field in ("label", "abstained", *radii, "votes"):
        np.testing.assert_array_equal(getattr(loaded, field), getattr(original, field))
    np.testing.assert_array_equal(loaded.selection_votes, original.selection_votes)
    np.testing.assert_array_equal(loaded.y, original.y)
    assert (loaded.sigma, loaded.alpha, loaded.n) == (original.sigma, original.alpha, original.n)
    assert loaded.cost_matrix == original.cost_matrix
    return True


def mutate(content, rng, records=None):
    """A seeded accident: its name and what the file holds after it."""
    data = bytearray(content)
    at = int(rng.integers(len(data)))
    kinds = ["flip a bit", "flip bits", "truncate", "insert", "delete", "append", "zero a block"]
    kinds += ["zeros at the end", "zeros appended", "overwrite"]
    kinds += [] if records is None else ["duplicate", "swap", "remove a record", "splice"]
    kind = str(rng.choice(kinds))
    if kind == "flip a bit":
        data[at] ^= 1 << int(rng.integers(8))
    elif kind == "flip bits":
        for place in rng.integers(len(data), size=int(rng.integers(2, 30))):
            data[place] ^= 1 << int(rng.integers(8))
    elif kind == "truncate":
        del data[at:]
    elif kind == "insert":
        data[at:at] = rng.bytes(int(rng.integers(1, 40)))
    elif kind == "delete":
        del data[at : at + int(rng.integers(1, 40))]
    elif kind == "append":
        data += rng.bytes(int(rng.integers(1, 200)))
    elif kind == "zero a block":
        length = min(int(rng.integers(1, 200)), len(data) - at)
        data[at : at + length] = bytes(length)
    elif kind == "zeros at the end":
        data[at:] = bytes(len(data) - at)
    elif kind == "zeros appended":
        data += bytes(int(rng.integers(1, 5000)))
    elif kind == "overwrite":
        length = min(int(rng.integers(1, 60)), len(data) - at)
        data[at : at + length] = rng.bytes(length)
    else:
        head, parts = records
        i, j = rng.choice(len(parts), size=2, replace=False)
        parts = list(parts)
        if kind == "duplicate":
            parts.insert(int(rng.integers(len(parts) + 1)), parts[i])
        elif kind == "swap":
            parts[i], parts[j] = parts[j], parts[i]
        elif kind == "remove a record":
            del parts[i]
        else:
            parts[i] = parts[i][: len(parts[i]) // 2] + parts[j][len(parts[j]) // 2 :]
        data = head + b"".join(parts)
    return kind, bytes(data)


def result_or_refusal(call):
    """What the call returns, or the message of its ValueError; other errors are raised."""
    try:
        return call(), None
    except ValueError as error:
        return None, str(error)


@pytest.mark.parametrize("weighted", [False, True], ids=["plurality", "weighted"])
def test_damaged_archives_are_refused_or_hold_the_same(weighted, tmp_path):
    path = tmp_path / "c.npz"
    original = certificates()
    if weighted:
        original = certificates(decision=WeightedVotes([1, 1, 2]))
    original.save(path)
    content, seen = path.read_bytes(), Counter()
    for seed in range(200):
        kind, damaged = mutate(content, np.random.default_rng(seed))
        path.write_bytes(damaged)
        loaded, message = result_or_refusal(lambda: Certificates.load(path))
        if loaded is None:
            assert "c.npz is not a valid file of Certificates" in message, (seed, kind)
            seen["refused"] += 1
        else:
            assert same(loaded, original), (seed, kind)
            seen["same"] += 1
    print(f"npz mutations: {dict(seen)}")
    assert seen.total() == 200
    assert seen["refused"] > 100
    assert seen["same"] > 0


# ---- resume files ------------------------------------------------------------------------------

N_INPUTS, N = 8, 40
X = np.random.default_rng(0).normal(size=(N_INPUTS, 3)).astype(np.float32)


def linear():
    module = nn.Linear(3, 3)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0, 0.2, -0.5], [-0.4, 0.9, 0.1], [0.3, -0.8, 0.7]]))
        module.bias.zero_()
    return module


LINEAR = linear()


def votes(path=None, batch_size=64):
    return sample_votes(
        LINEAR, X, N, 1.0, random_state=0, batch_size=batch_size, device="cpu", resume_from=path
    )


@pytest.fixture(scope="module")
def reference():
    return votes()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.smoothcs"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The lines of a finished file: the header, and those of the inputs."""
    path = tmp_path_factory.mktemp("resume") / "whole.smoothcs"
    votes(path)
    head, *parts = path.read_bytes().splitlines(keepends=True)
    assert len(parts) == N_INPUTS
    return head, parts


def sealed(text):
    """A line with a true checksum, whatever it holds."""
    return text + b', "crc32": "%08x"}\n' % zlib.crc32(text)


def changed(line, **changes):
    """A line with other contents and a true checksum."""
    fields = {**json.loads(line), **changes}
    del fields["crc32"]
    return sealed(json.dumps({k: v for k, v in fields.items() if v is not ...}).encode()[:-1])


START = b'{"smoothcs": "votes", "format": '


def refuses(path, content, match, **kwargs):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=match) as raised:
        votes(path, **kwargs)
    assert path.name in str(raised.value)
    assert path.read_bytes() == content
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_pickle_under_the_name_of_a_resume_file_is_not_run(carrier, marker, path):
    refuses(path, carrier(marker), "is not a resume file")
    assert not marker.exists()


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_pickle_inside_a_resume_file_is_not_run(carrier, whole, marker, path):
    head, parts = whole
    payload = carrier(marker)
    refuses(path, sealed(START + payload), "damaged header")
    # As the votes of a line that is otherwise the first one.
    before = parts[0][: parts[0].index(b"[")]
    refuses(path, head + sealed(before + payload) + parts[1], "damaged")
    refuses(path, head + b"".join(parts[:3]) + payload + b"\n" + parts[3], "damaged")
    # Beside it, as what a worker process left behind.
    path.write_bytes(head)
    part = path.with_name(path.name + ".part-0123456789ab")
    part.write_bytes(payload)
    with pytest.raises(ValueError, match=r"part-0123456789ab.* is not a resume file"):
        votes(path)
    assert not marker.exists()


def test_damaged_resume_files_are_refused_or_repaired(whole, reference, path):
    head, parts = whole
    content, seen, kinds = head + b"".join(parts), Counter(), Counter()
    for seed in range(600):
        kind, damaged = mutate(content, np.random.default_rng(seed), whole)
        path.write_bytes(damaged)
        kinds[kind] += 1
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            drawn, message = result_or_refusal(lambda: votes(path))
        if drawn is None:
            assert "resume_from='" in message, (seed, kind, message)
            assert path.read_bytes() == damaged, (seed, kind)
            seen["refused"] += 1
            continue
        assert drawn.tobytes() == reference.tobytes(), (seed, kind)
        assert {w.category for w in caught} <= {UserWarning}, (seed, kind)
        assert all("was removed" in str(w.message) for w in caught), (seed, kind)
        # And what is left is a whole file, of which nothing has to be removed (warnings raise).
        assert votes(path).tobytes() == reference.tobytes(), (seed, kind)
        seen["repaired with a warning" if caught else "repaired"] += 1
    print(f"resume mutations: {dict(seen)}, {dict(kinds)}")
    assert seen.total() == 600
    assert min(kinds.values()) >= 20
    assert min(seen[k] for k in ("refused", "repaired", "repaired with a warning")) >= 50


IMPOSSIBLE = {
    "unknown purpose": {"purpose": "training"},
    "numbered purpose": {"purpose": 1},
    "list of purposes": {"purpose": ["estimation"]},
    "another input": {"index": 1},
    "no such input": {"index": N_INPUTS},
    "enormous index": {"index": 2**64 - 1},
    "negative index": {"index": -1},
    "fractional index": {"index": 0.0},
    "truth for an index": {"index": False},
    "missing index": {"index": ...},
    "one field more": {"surprise": 1},
    "digest of no hexadecimals": {"input": "x"},
    "numeric digest": {"input": 1},
    "other digest": {"input": "00" * 32},
    "other schedule": {"schedule": "00" * 16},
    "votes of text": {"votes": [["40", "0", "0"]]},
    "fractional votes": {"votes": [[N + 0.0, 0.0, 0.0]]},
    "true votes": {"votes": [[N, False, False]]},
    "flat votes": {"votes": [N, 0, 0]},
    "votes of two classes": {"votes": [[N, 0]]},
    "no list of votes": {"votes": None},
    "nested votes": {"votes": [[[N, 0, 0]]]},
    "negative votes": {"votes": [[-1, 1, N]]},
    "a vote too few": {"votes": [[N - 1, 0, 0]]},
    "a vote too many": {"votes": [[N, 1, 0]]},
    "no votes": {"votes": [[0, 0, 0]]},
    "no looks": {"votes": []},
    "two looks of which the last has too few": {"votes": [[10, 0, 0], [N - 20, 10, 0]]},
    "votes that are taken back": {"votes": [[N, 0, 0], [0, N, 0]]},
    "votes that overflow": {"votes": [[2**62, 2**62, 2**63 - 1]]},
    "votes whose sum wraps round": {"votes": [[2**63 - 1, 2**63 - 1, N + 2]]},
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_a_record_with_a_true_checksum_and_impossible_content_is_refused(case, whole, path):
    head, parts = whole
    forged = changed(parts[0], **IMPOSSIBLE[case])
    refuses(path, head + forged + b"".join(parts[1:]), "votes")
    refuses(path, head + b"".join(parts[1:]) + forged, "votes")


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a":' * 100_000, b"9" * 10_000, b"1e400"])
def test_enormous_values_in_a_line_are_refused(text, whole, path):
    head, parts = whole
    for field in (b'"votes": ', b'"index": '):
        before = parts[0][: parts[0].index(field) + len(field)]
        refuses(path, head + sealed(before + text) + b"".join(parts), "holds no votes")


@pytest.mark.parametrize(
    "text", [b"[]", b"null", b"1", b"", b"{}", b"NaN", b"[" * 100_000, b"9" * 10_000, b"\xff\xfe"],
    ids=lambda text: repr(text[:12]),
)  # fmt: skip
def test_a_header_with_a_true_checksum_that_is_no_header_is_refused(text, path):
    refuses(path, sealed(text), "is not a resume file")
    refuses(path, sealed(START + text), "header|format")
    refuses(path, sealed(START + b'1, "sigma": ' + text), "header|another sigma")


@pytest.mark.parametrize(
    "batch_size", [0, -1, 1.5, True, None, "64", [64], {}, 10**30, 2**26, 2**40], ids=repr
)
def test_a_batch_size_that_no_run_has_is_refused(batch_size, whole, path):
    head, parts = whole
    forged = changed(head, batch_size=batch_size)
    refuses(path, forged + b"".join(parts), "batch_size", batch_size="auto")


@pytest.mark.parametrize(
    "field", ["sigma", "key", "precision", "streams", "n_classes", "format", "input", "outputs"]
)
@pytest.mark.parametrize("value", [None, 0, -1, "x", [], {}, 1e308, float("nan")], ids=repr)
def test_a_header_field_of_any_other_value_is_refused(field, value, whole, path):
    head, parts = whole
    reason = {"format": "has format", "input": "other data", "outputs": "another classifier"}
    forged = changed(head, **{field: value})
    refuses(path, forged + b"".join(parts), reason.get(field, f"another {field}"))
