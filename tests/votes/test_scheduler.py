"""The schedule is asked about many inputs at once, soon enough, and never twice at a time."""

import threading

import numpy as np
import pytest
import torch

from smoothcs.votes import sample_votes
from smoothcs.votes._sample import VotesInterrupted

X = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)


def labels(batch):
    return (batch[:, 0] > 0).astype(int) + (batch[:, 1] > 0.5)


class Looks:
    """Looks of 20 votes until a class has 80 % of them; notes how it was asked."""

    def __init__(self):
        self.asked, self.busy = [], threading.Lock()

    def __call__(self, index, counts):
        assert self.busy.acquire(blocking=False)
        self.asked.append(len(index))
        n = counts.sum(axis=1)
        done = (n >= 100) | ((n > 0) & (counts.max(axis=1) > 0.8 * n))
        self.busy.release()
        return np.where(done, n, n + 20)


def draw(schedule, classifier=labels, **params):
    options = {"n_classes": 3, "random_state": 0, "batch_size": 256} | params
    return sample_votes(classifier, X, schedule, 0.5, **options)


def test_few_calls_ask_about_many_inputs():
    schedule = Looks()
    draw(schedule)
    assert sum(schedule.asked) > 2 * len(X)
    assert len(schedule.asked) < sum(schedule.asked) / 8


def test_votes_do_not_depend_on_how_inputs_are_collected(monkeypatch):
    expected = draw(Looks())
    for name, value in (("_MOST_COLLECTED", 1), ("_LONGEST_WAIT", 0.0), ("_READ_AT_ONCE", 300)):
        with monkeypatch.context() as patch:
            patch.setattr(f"smoothcs.votes._scheduler.{name}", value)
            np.testing.assert_array_equal(draw(Looks()), expected)
            np.testing.assert_array_equal(draw(Looks(), batch_size=7), expected)


def test_large_inputs_are_not_collected(monkeypatch):
    # Room for two inputs: those that were read together and one batch of collected ones.
    monkeypatch.setattr("smoothcs.votes._scheduler._MOST_FLOATS", 2 * X.shape[1])
    schedule = Looks()
    np.testing.assert_array_equal(draw(schedule, batch_size=20), draw(Looks()))
    assert max(schedule.asked) <= 16


def test_threads_get_the_same_votes_and_ask_one_at_a_time():
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    expected = draw(Looks(), module, n_classes=None)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        threads = draw(Looks(), module, n_classes=None, batch_size=64)
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(threads, expected)


def test_an_interruption_keeps_inputs_that_waited_to_be_asked_about(monkeypatch):
    monkeypatch.setattr("smoothcs.votes._scheduler._LONGEST_WAIT", 1e9)
    calls = []

    def interrupted(batch):
        calls.append(1)
        if len(calls) > 4:
            raise KeyboardInterrupt
        return np.zeros(len(batch), dtype=int)

    with pytest.raises(VotesInterrupted) as stop:
        draw(Looks(), interrupted, batch_size=20)
    assert stop.value.finished.tolist() == [True] * 3 + [False] * 297
    assert stop.value.votes.sum() == 3 * 20


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_of_the_schedule_ends_the_run(threads):
    def broken(index, counts):
        if counts.any():
            raise RuntimeError("broken")
        return np.full(len(index), 20)

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with pytest.raises(RuntimeError, match="broken"):
            draw(broken, torch.nn.Linear(4, 3), n_classes=None)
    finally:
        torch.set_num_threads(before)
