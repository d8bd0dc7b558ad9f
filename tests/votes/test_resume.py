"""A killed run continues to the same votes; a file of other votes is refused."""

import copy
import json
import multiprocessing
import os
import signal
import time
import zlib

import numpy as np
import pytest
import torch
from _full import FULL
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from torch import nn

from smoothcs import CostSensitiveSmoothedClassifier
from smoothcs.votes import VotesInterrupted, sample_votes
from smoothcs.votes import _resume as resume
from smoothcs.votes._resume import ResumeFile
from smoothcs.votes.noise import NoiseLaw, content_digest, make_key

N_INPUTS, N = 40, 2000
X = np.random.default_rng(0).normal(size=(N_INPUTS, 6)).astype(np.float32)
WEIGHT = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)


def logits(batch):
    return batch @ WEIGHT


def slow_logits(batch):
    time.sleep(0.007 if FULL else 0.004)
    return batch @ WEIGHT


def votes(path=None, classifier=logits, data=X, n=N, sigma=1.0, **kwargs):
    kwargs = {"random_state": 0, "batch_size": 256, **kwargs}
    return sample_votes(classifier, data, n, sigma, resume_from=path, **kwargs)


def records_of(path):
    """Read a file by its documented layout, without the code under test."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line, text in zip(lines, path.read_bytes().splitlines(), strict=True):
        assert list(line)[-1] == "crc32"
        assert int(line.pop("crc32"), 16) == zlib.crc32(text[: text.index(b', "crc32"')])
    header, *records = lines
    return header, [(r["purpose"], r["index"], np.array(r["votes"])) for r in records]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "votes.smoothcs"


@pytest.fixture(scope="module")
def reference():
    return votes()


class InterruptedAfter:
    """A classifier that is interrupted at its k-th batch."""

    def __init__(self, k, more_classes=0):
        self.left, self.more_classes, self.sizes = k, more_classes, []

    def __call__(self, batch):
        self.sizes.append(len(batch))
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return batch @ np.pad(WEIGHT, ((0, 0), (0, self.more_classes)))


def test_an_uninterrupted_run_has_the_votes_of_one_without_a_file(path, reference):
    np.testing.assert_array_equal(votes(path), reference)
    header, records = records_of(path)
    assert header["format"] == 1
    assert header["sigma"] == 1.0
    assert [index for _, index, _ in records] == list(range(N_INPUTS))
    np.testing.assert_array_equal(np.concatenate([c for _, _, c in records]), reference)


# The first batch of all, and two of the fingerprint.
BEFORE = 3
# Three inputs that are voted again, in batches of 256.
VOTED_AGAIN = 3 * 8


def test_a_finished_file_is_read_without_sampling_but_for_a_few_inputs(path, reference):
    votes(path, InterruptedAfter(10**9))
    size = path.stat().st_size
    again = InterruptedAfter(BEFORE + VOTED_AGAIN)
    np.testing.assert_array_equal(votes(path, again), reference)
    assert again.left == 0
    assert path.stat().st_size == size


@pytest.mark.parametrize("k", [0, 3, 50, 200])
def test_an_interrupted_run_continues_to_the_same_votes(path, reference, k):
    with pytest.raises(VotesInterrupted) as stop:
        votes(path, InterruptedAfter(k + BEFORE))
    finished = stop.value.finished
    assert len(records_of(path)[1]) == finished.sum()
    np.testing.assert_array_equal(stop.value.votes, np.where(finished[:, None], reference, 0))
    np.testing.assert_array_equal(votes(path, InterruptedAfter(10**9)), reference)
    assert sorted(index for _, index, _ in records_of(path)[1]) == list(range(N_INPUTS))


MANY = np.random.default_rng(2).normal(size=(160, 6)).astype(np.float32)


def run_to_be_killed(path):
    def classifier(batch):
        path.with_name("begun").touch()
        return slow_logits(batch)

    # At least 5.1 seconds, of which the killed runs have 3.2; in full, 8.7 and 8.2.
    votes(path, classifier, MANY)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_at_random_moments_a_run_ends_with_the_same_votes(path):
    # The server imports once and forks the runs, so that a kill may fall at any point of them.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["smoothcs.votes"])
    rng = np.random.default_rng(0)
    finished = []
    begun = path.with_name("begun")
    for i in range(20 if FULL else 12):
        begun.unlink(missing_ok=True)
        run = context.Process(target=run_to_be_killed, args=(path,))
        run.start()
        deadline = time.monotonic() + 20
        # Every other kill may fall before the first batch, however slow the machine.
        awaited = path if i % 2 == 0 else begun
        while not (path.exists() and awaited.exists()) and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(rng.uniform(0.0, 0.8 if FULL else 0.5))
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
    assert [purpose for purpose, _, _ in records_of(path)[1]] == (
        ["selection"] * N_INPUTS + ["estimation"] * N_INPUTS
    )


class Rule:
    """A schedule with a state: it stops when a class has 70 % of the votes at two looks."""

    def __init__(self):
        self.seen = {i: [] for i in range(N_INPUTS)}

    def __repr__(self):
        return "Rule()"

    def __call__(self, index, counts):
        return np.array([self.one(i, row) for i, row in zip(index, counts.tolist(), strict=True)])

    def one(self, index, counts):
        n = sum(counts)
        if n > 0:
            self.seen[index].append(counts)
        clear = sum(max(c) > 0.7 * sum(c) for c in self.seen[index])
        return n if clear >= 2 or n >= 1000 else n + 100

    def certified(self, index, counts):
        return len(self.seen[index]) < 10


def rule_votes(path, classifier, rule, **kwargs):
    return sample_votes(
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
        ({"data": X[[0, *range(39, 0, -1)]]}, r"other data: X\[1\] is another input"),
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


@pytest.mark.parametrize("cut", [1, 2, 5, 60, 150])
def test_a_torn_last_line_is_removed_with_a_warning(path, reference, cut):
    votes(path)
    content = path.read_bytes()
    path.write_bytes(content[:-cut])
    with pytest.warns(UserWarning, match="last line .* was removed; 39 records are kept"):
        np.testing.assert_array_equal(votes(path), reference)
    assert path.read_bytes() == content


def test_zeros_at_the_end_are_removed_with_a_warning(path, reference):
    votes(path)
    content = path.read_bytes()
    path.write_bytes(content[:-20] + bytes(500))
    with pytest.warns(UserWarning, match="39 records are kept"):
        np.testing.assert_array_equal(votes(path), reference)
    assert path.read_bytes() == content


def test_a_last_line_with_a_wrong_checksum_is_removed_with_a_warning(path, reference):
    votes(path)
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="39 records are kept"):
        np.testing.assert_array_equal(votes(path), reference)


def test_a_damaged_line_in_the_middle_is_refused(path):
    votes(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged: line \d+ has a wrong checksum"):
        votes(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"PK\x03\x04 something else entirely", "is not a resume file of smoothcs"),
        (b'{"smoothcs"', "is not a resume file"),
        (b'{"smoothcs": "votes", "format": 1, "crc32": "00000000"}\n', "damaged header"),
        (b'{"smoothcs": "votes", "format": ', "damaged header"),
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
    held = ResumeFile(path, records_of(path)[0])
    try:
        with pytest.raises(ValueError, match="in use by another run"):
            votes(path)
    finally:
        held.close()
    votes(path)
    assert path.read_bytes() == content


def outputs_of(path):
    votes(path)
    outputs = records_of(path)[0]["outputs"]
    path.unlink()
    return outputs


def test_a_file_that_appears_meanwhile_is_not_replaced(path, reference, monkeypatch):
    """Two runs begin with the same new file: the second must not take it from the first."""
    header = resume.header_of(
        noise=NoiseLaw(1.0, None), key=make_key(0), precision="float32", on_cuda=False, n_classes=3,
        batch_size=256, digest=content_digest(X[0]), outputs=outputs_of(path),
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
    path.write_bytes(b"".join(content.splitlines(keepends=True)[:-1]))
    stops = InterruptedAfter(10**9)
    np.testing.assert_array_equal(votes(path, stops, batch_size="auto"), reference)
    assert header["batch_size"] == 96
    assert set(stops.sizes[BEFORE:]) == {96}


class Asks(Rule):
    """A rule that says what it asks of each input."""

    def __init__(self, claim):
        super().__init__()
        self.says = claim

    def claim(self, index):
        return self.says[index % 2]


def test_votes_for_one_claim_are_not_continued_for_another(path):
    expected = rule_votes(path, logits, Asks(["target 1", "target 2"]))
    again = rule_votes(path, logits, Asks(["target 1", "target 2"]))
    np.testing.assert_array_equal(again, expected)
    with pytest.raises(ValueError, match=r"for another claim: \d+ votes of input 1, and Rule\(\)"):
        rule_votes(path, logits, Asks(["target 1", "target 0"]))
    with pytest.raises(ValueError, match="for another claim"):
        rule_votes(path, logits, Rule())


def test_votes_that_a_schedule_would_not_have_asked_for_are_refused(path):
    """Two schedules of one repr: what was drawn is compared with what is asked for."""

    class Other(Rule):
        def one(self, index, counts):
            return super().one(index, counts) + (50 if sum(counts) == 0 else 0)

    rule_votes(path, logits, Rule())
    with pytest.raises(ValueError, match=r"input \d+ has the votes .*expected 150 votes"):
        rule_votes(path, logits, Other())


IRIS, SPECIES = load_iris(return_X_y=True)


@pytest.mark.parametrize(
    "change",
    [
        {"cost_matrix": {(2, 0): 1.0}},
        {"also_correct": True},
        {"blockers": False},
        {"n_selection": 50},
        {"y": 2 - SPECIES},
    ],
)
def test_certificates_of_one_claim_are_not_continued_for_another(tmp_path, change):
    forest = RandomForestClassifier(3, random_state=0).fit(IRIS, SPECIES)
    clf = CostSensitiveSmoothedClassifier.from_module(
        forest.predict_proba, classes=3, sigma=0.3, random_state=0, cost_matrix={(2, 1): 1.0}
    ).set_params(n_estimation=2000)
    keywords = {"y": SPECIES[90:110], "eps": 0.2, "resume_from": tmp_path / "votes"}
    whole = clf.certify_at(IRIS[90:110], **keywords)
    again = clf.certify_at(IRIS[90:110], **keywords)
    np.testing.assert_array_equal(whole.certified_group, again.certified_group)
    if "y" in change:
        change = {"y": change["y"][90:110]}
    other = copy.copy(clf).set_params(**{k: change[k] for k in change if k == "n_selection"})
    claim = {k: v for k, v in change.items() if k != "n_selection"}
    with pytest.raises(ValueError, match="another n or schedule, or for another claim"):
        other.certify_at(IRIS[90:110], **{**keywords, **claim})
    if "also_correct" not in change:
        keywords = {"y": keywords["y"], "radius_tol": 0.01, "resume_from": tmp_path / "radii"}
        clf.certify(IRIS[90:110], **keywords)
        with pytest.raises(ValueError, match="another n or schedule, or for another claim"):
            other.certify(IRIS[90:110], **{**keywords, **claim})
