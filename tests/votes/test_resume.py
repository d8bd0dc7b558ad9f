"""A killed run continues to the same votes; a file of other votes is refused."""

import json
import multiprocessing
import os
import signal
import struct
import time
import zlib

import numpy as np
import pytest
import torch
from torch import nn

from smoothcs.votes import VotesInterrupted, draw_votes, sample_votes
from smoothcs.votes import _resume as resume
from smoothcs.votes._resume import ResumeFile
from smoothcs.votes.noise import make_key

N_INPUTS, N = 40, 2000
X = np.random.default_rng(0).normal(size=(N_INPUTS, 6)).astype(np.float32)
WEIGHT = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)


def logits(batch):
    return batch @ WEIGHT


def slow_logits(batch):
    time.sleep(0.004)
    return batch @ WEIGHT


def votes(path=None, classifier=logits, data=X, n=N, sigma=1.0, **kwargs):
    kwargs = {"random_state": 0, "batch_size": 256, **kwargs}
    return sample_votes(classifier, data, n, sigma, resume_from=path, **kwargs)


def records_of(path, n_classes=3):
    """Read a file by its documented layout, without the code under test."""
    content = path.read_bytes()
    assert content[:8] == b"SMOOTHCS"
    (length,) = struct.unpack_from("<I", content, 8)
    header = json.loads(content[12 : 12 + length])
    assert struct.unpack_from("<I", content, 12 + length)[0] == zlib.crc32(
        content[12 : 12 + length]
    )
    position, records = 16 + length, []
    while position < len(content):
        (length,) = struct.unpack_from("<I", content, position)
        body = content[position + 4 : position + 4 + length]
        (checksum,) = struct.unpack_from("<I", content, position + 4 + length)
        assert checksum == zlib.crc32(body)
        purpose, index = struct.unpack_from("<BQ", body)
        counts = np.frombuffer(body, dtype="<i8", offset=9 + 32 + 16).reshape(-1, n_classes)
        records.append((purpose, index, counts))
        position += 8 + length
    return header, records


@pytest.fixture
def path(tmp_path):
    return tmp_path / "votes.smoothcs"


@pytest.fixture(scope="module")
def reference():
    return votes()


class InterruptedAfter:
    """A classifier that is interrupted at its k-th batch.

    What it would pickle is what it computes: nothing of this.
    """

    def __init__(self, k, more_classes=0):
        self.left, self.more_classes, self.sizes = k, more_classes, []

    def __call__(self, batch):
        self.sizes.append(len(batch))
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return batch @ np.pad(WEIGHT, ((0, 0), (0, self.more_classes)))

    def __getstate__(self):
        return {}


def test_an_uninterrupted_run_has_the_votes_of_one_without_a_file(path, reference):
    np.testing.assert_array_equal(votes(path), reference)
    header, records = records_of(path)
    assert header["format"] == 1
    assert header["sigma"] == 1.0
    assert [index for _, index, _ in records] == list(range(N_INPUTS))
    np.testing.assert_array_equal(np.concatenate([c for _, _, c in records]), reference)


def test_a_finished_file_is_read_without_sampling(path, reference):
    votes(path, InterruptedAfter(10**9))
    size = path.stat().st_size
    np.testing.assert_array_equal(votes(path, InterruptedAfter(1)), reference)  # one: the probe
    assert path.stat().st_size == size


@pytest.mark.parametrize("k", [0, 3, 50, 200])
def test_an_interrupted_run_continues_to_the_same_votes(path, reference, k):
    with pytest.raises(VotesInterrupted) as stop:
        votes(path, InterruptedAfter(k + 1))
    finished = stop.value.finished
    assert len(records_of(path)[1]) == finished.sum()
    np.testing.assert_array_equal(stop.value.votes, np.where(finished[:, None], reference, 0))
    np.testing.assert_array_equal(votes(path, InterruptedAfter(10**9)), reference)
    assert sorted(index for _, index, _ in records_of(path)[1]) == list(range(N_INPUTS))


MANY = np.random.default_rng(2).normal(size=(160, 6)).astype(np.float32)


def run_to_be_killed(path):
    # At least 5 seconds, so that no kill (at most 4.4 seconds in all) comes too late.
    votes(path, slow_logits, MANY)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_at_twenty_random_moments_a_run_ends_with_the_same_votes(path):
    # The server imports once and forks the runs, so that a kill may fall at any point of them.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["smoothcs.votes"])
    rng = np.random.default_rng(0)
    finished = []
    for _ in range(20):
        run = context.Process(target=run_to_be_killed, args=(path,))
        run.start()
        deadline = time.monotonic() + 20
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(rng.uniform(0.0, 0.4))
        run.kill()
        run.join()
        assert run.exitcode == -signal.SIGKILL
        finished.append(len(records_of(path)[1]))
    assert 0 < finished[-1] < len(MANY)  # the kills fell within the work
    assert len(set(finished)) >= 3
    assert finished == sorted(finished)
    np.testing.assert_array_equal(votes(path, slow_logits, MANY), votes(data=MANY))
    _, records = records_of(path)
    assert sorted(index for _, index, _ in records) == list(range(len(MANY)))


def test_a_file_serves_several_purposes(path, reference):
    selection = votes(path, n=100, purpose="selection")
    np.testing.assert_array_equal(votes(path), reference)
    np.testing.assert_array_equal(selection, votes(n=100, purpose="selection"))
    np.testing.assert_array_equal(votes(path, n=100, purpose="selection"), selection)
    assert [purpose for purpose, _, _ in records_of(path)[1]] == [0] * N_INPUTS + [1] * N_INPUTS


class Rule:
    """A schedule with a state: it stops when a class has 70 % of the votes at two looks."""

    def __init__(self):
        self.seen = {i: [] for i in range(N_INPUTS)}

    def __repr__(self):
        return "Rule()"

    def __call__(self, index, counts):
        return np.array([self.one(*each) for each in zip(index.tolist(), counts, strict=True)])

    def one(self, index, counts):
        n = int(counts.sum())
        if n > 0:
            self.seen[index].append(counts.tolist())
        clear = sum(max(c) > 0.7 * sum(c) for c in self.seen[index])
        return n if clear >= 2 or n >= 1000 else n + 100

    def certified(self, index, counts):
        return len(self.seen[index]) < 10


def rule_votes(path, classifier, rule, **kwargs):
    return draw_votes(
        classifier,
        X,
        rule,
        1.0,
        random_state=0,
        batch_size=64,
        resume_from=path,
        certified=rule.certified,
        **kwargs,
    )


def test_a_stopping_rule_is_shown_the_looks_of_restored_inputs(path):
    whole = Rule()
    expected = rule_votes(None, InterruptedAfter(10**9), whole)
    assert len({len(looks) for looks in whole.seen.values()}) > 2
    with pytest.raises(VotesInterrupted) as stop:
        rule_votes(path, InterruptedAfter(150), Rule())
    assert 0 < stop.value.finished.sum() < N_INPUTS
    rule = Rule()
    np.testing.assert_array_equal(rule_votes(path, InterruptedAfter(10**9), rule), expected)
    assert rule.seen == whole.seen


def test_shards_write_to_the_file_and_show_a_rule_its_looks(path):
    whole, rule = Rule(), Rule()
    expected = rule_votes(None, logits, whole)
    np.testing.assert_array_equal(rule_votes(path, logits, rule, n_jobs=2), expected)
    assert rule.seen == whole.seen
    assert sorted(index for _, index, _ in records_of(path)[1]) == list(range(N_INPUTS))
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # nothing is left beside it
    np.testing.assert_array_equal(rule_votes(path, logits, Rule()), expected)


class DiesOnce:
    """A classifier whose process dies the first time that it meets one of the inputs."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __call__(self, batch):
        time.sleep(0.001)
        if (np.abs(batch - 100).min() < 10) and not os.path.exists(self.mark):
            open(self.mark, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return batch @ WEIGHT


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("with_file", [False, True])
def test_a_worker_that_dies_loses_only_its_inputs_under_way(path, tmp_path, with_file):
    data = X.copy()
    data[33] = 100.0
    expected = votes(data=data)
    with pytest.warns(UserWarning, match="a worker process died; .* drawn again") as caught:
        found = votes(path if with_file else None, DiesOnce(tmp_path / "mark"), data=data, n_jobs=2)
    np.testing.assert_array_equal(found, expected)
    again = int(str(caught[0].message).split("; ")[1].split(" ")[0])
    assert again < N_INPUTS
    if with_file:
        assert sorted(index for _, index, _ in records_of(path)[1]) == list(range(N_INPUTS))


# What is refused or repaired


def net(seed=0, act=nn.ReLU):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), act(), nn.Linear(8, 3))


def changed(row):
    data = X.copy()
    data[row, 2] += 1e-6
    return data


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"classifier": net(1)}, "another classifier"),
        ({"classifier": net(0, nn.Tanh)}, "another classifier"),
        ({"sigma": 1.1}, r"another sigma: 1\.0 there, 1\.1 here"),
        ({"random_state": 1}, "another key"),
        ({"random_state": make_key(5)}, "another key"),
        ({"precision": "bfloat16"}, "another precision: 'float32' there, 'bfloat16' here"),
        ({"n": 2001}, r"another n or .* claim: 2000 votes of input 0, and FixedNumber\(n=2001\)"),
        ({"data": changed(7)}, r"other data: X\[7\] is another input"),
        ({"data": X[::-1].copy()}, r"other data: X\[0\] is another input"),
        ({"data": X[:5]}, r"other data: X\[5\] is another input"),
    ],
)
def test_a_file_of_other_votes_is_refused_and_left_alone(path, change, text):
    votes(path, net())
    content = path.read_bytes()
    with pytest.raises(ValueError, match=text):
        votes(path, **{"classifier": net(), **change})
    assert path.read_bytes() == content
    votes(path, net())  # a copy of the module is the same classifier


def test_another_number_of_classes_is_refused(path):
    votes(path, InterruptedAfter(10**9))
    with pytest.raises(ValueError, match="another n_classes: 3 there, 4 here"):
        votes(path, InterruptedAfter(10**9, more_classes=1))


@pytest.mark.parametrize("cut", [1, 4, 5, 60, 84])
def test_a_torn_last_record_is_removed_with_a_warning(path, reference, cut):
    votes(path)
    content = path.read_bytes()
    path.write_bytes(content[:-cut])
    with pytest.warns(UserWarning, match="last record .* was removed; 39 records are kept"):
        np.testing.assert_array_equal(votes(path), reference)
    assert path.read_bytes() == content


def test_a_last_record_with_a_wrong_checksum_is_removed_with_a_warning(path, reference):
    votes(path)
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="39 records are kept"):
        np.testing.assert_array_equal(votes(path), reference)


def test_a_damaged_record_in_the_middle_is_refused(path):
    votes(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged: record \d+ .* wrong checksum"):
        votes(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"PK\x03\x04 something else entirely", "is not a resume file of smoothcs"),
        (b"SMOOTHCS", "is not a resume file"),
        (b"SMOOTHCS\x04\x00\x00\x00{}xx\x00\x00\x00\x00", "damaged header"),
    ],
)
def test_what_is_not_a_resume_file_is_refused(path, content, text):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=text):
        votes(path)
    assert path.read_bytes() == content


def test_a_file_of_a_later_format_is_refused(path, monkeypatch):
    monkeypatch.setattr(resume, "FORMAT", 9)
    votes(path)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="has format 9; this release reads format 1"):
        votes(path)


def test_an_empty_file_is_a_new_one(path, reference):
    path.touch()
    np.testing.assert_array_equal(votes(path), reference)


def test_a_file_in_use_is_refused(path):
    pytest.importorskip("fcntl")
    votes(path)
    content = path.read_bytes()
    held = ResumeFile(path, {k: v for k, v in records_of(path)[0].items() if k != "format"})
    try:
        with pytest.raises(ValueError, match="in use by another run"):
            votes(path)
    finally:
        held.close()
    votes(path)
    assert path.read_bytes() == content


def test_a_file_that_appears_meanwhile_is_not_replaced(path, reference, monkeypatch):
    """Two runs begin with the same new file: the second must not take it from the first."""
    header = resume.header_of(
        logits, sigma=1.0, key=make_key(0), precision="float32", on_cuda=False, n_classes=3,
        batch_size=256,
    )  # fmt: skip
    first, create = [], ResumeFile._create

    def create_after_another(self):
        if not first:
            monkeypatch.setattr(ResumeFile, "_create", create)
            first.append(ResumeFile(path, header))
        create(self)

    monkeypatch.setattr(ResumeFile, "_create", create_after_another)
    with pytest.raises(ValueError, match="in use"):
        ResumeFile(path, header)
    first[0].close()
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    np.testing.assert_array_equal(votes(path), reference)


def test_a_file_that_was_replaced_while_it_was_opened_is_not_written(path, monkeypatch):
    votes(path, n=10)
    lock = resume._lock

    def lock_what_is_replaced(file, name):
        lock(file, name)
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)

    monkeypatch.setattr(resume, "_lock", lock_what_is_replaced)
    with pytest.raises(ValueError, match="was replaced by another run"):
        votes(path, n=10)


def test_a_fresh_secret_key_cannot_be_continued(path):
    with pytest.raises(ValueError, match="resume_from needs a random_state"):
        votes(path, random_state=None)
    assert not path.exists()


def test_the_key_is_not_in_the_file(path):
    key = make_key(None)
    votes(path, random_state=key)
    assert key not in path.read_bytes()
    assert key.hex() not in path.read_bytes().decode("latin-1")


def test_the_batch_size_of_the_file_is_used_again_for_auto(path, reference):
    votes(path, InterruptedAfter(10**9), batch_size=96)
    header, _ = records_of(path)
    content = path.read_bytes()
    path.write_bytes(content[: -8 - 57 - 24])  # one record less
    stops = InterruptedAfter(10**9)
    np.testing.assert_array_equal(votes(path, stops, batch_size="auto"), reference)
    assert header["batch_size"] == 96
    assert set(stops.sizes[1:]) == {96}
