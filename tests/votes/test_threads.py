"""Several threads that use one fitted estimator get the answers that one thread gets."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
import torch
from _small import CENTRES, X, Y, by_distance, convex, fit, tune, wrap
from sklearn.ensemble import RandomForestClassifier

from smoothcs import WeightedVotes, sample_votes
from smoothcs.modules import MLP

N_THREADS = 8
CALLS = {
    "predict": lambda clf, rows: clf.predict(X[rows]),
    "proba": lambda clf, rows: clf.predict_proba(X[rows]),
    "votes": lambda clf, rows: clf.certify(X[rows], Y[rows]).votes,
    "radius": lambda clf, rows: clf.certify(X[rows], Y[rows]).radius_pair,
    "at eps": lambda clf, rows: clf.certify_at(X[rows]).certified_group,
    "score": lambda clf, rows: clf.score(X[rows], Y[rows], eps=0.1),
}


class Scratch:
    """A classifier that keeps its work in one place, as many not written for threads do."""

    def __init__(self, pause=0.0):
        self.pause, self.entered, self.x = pause, 0, None

    def __call__(self, x):
        self.entered += 1
        alone = self.entered == 1
        self.x = x
        time.sleep(self.pause)  # long enough for another thread to overwrite it
        logits = -((self.x[:, None] - CENTRES) ** 2).sum(axis=2)
        self.entered -= 1
        if not alone:
            raise RuntimeError("two threads ran the classifier at once")
        return logits


def batch_norm_module():
    """A module with buffers and dropout, which train mode would change."""
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(2, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(), torch.nn.Linear(8, 3)
    )


ESTIMATORS = {
    "fitted": fit,
    "weighted": lambda: fit(decision=WeightedVotes([1.0, 3.0, 2.0])),
    "tuned": tune,
    "module": lambda: wrap(batch_norm_module()),
    "callable": lambda: wrap(by_distance),
    "scratch": lambda: wrap(Scratch(0.001)),
    "forest": lambda: wrap(RandomForestClassifier(5, random_state=0).fit(X, Y)),
}


@pytest.fixture(scope="module", params=ESTIMATORS)
def clf(request):
    return ESTIMATORS[request.param]()


def test_eight_threads_get_the_answers_of_one(clf):
    rng = np.random.default_rng(0)
    jobs = [
        (name, rng.permutation(len(X))[: rng.integers(4, 12)]) for name in CALLS for _ in range(2)
    ]
    expected = [CALLS[name](clf, rows) for name, rows in jobs]
    before = dict(vars(clf))
    start = threading.Barrier(N_THREADS)

    def work(thread):
        start.wait()
        order = np.random.default_rng(thread).permutation(len(jobs))[:6]
        return [(i, CALLS[jobs[i][0]](clf, jobs[i][1])) for i in order]

    with ThreadPoolExecutor(N_THREADS) as pool:
        results = [result for part in pool.map(work, range(N_THREADS)) for result in part]
    assert len(results) == 6 * N_THREADS
    for i, answer in results:
        np.testing.assert_array_equal(answer, expected[i], err_msg=jobs[i][0])
    assert vars(clf) == before


def test_eight_threads_get_the_bounds_of_one():
    pytest.importorskip("convex_adversarial")
    clf = convex(module=MLP, net_params={"module__hidden": (4,)})
    expected = clf.certify(X, Y), clf.predict_proba(X)
    with ThreadPoolExecutor(N_THREADS) as pool:
        margins = list(pool.map(lambda _: clf.certify(X, Y), range(N_THREADS)))
        shares = list(pool.map(lambda _: clf.predict_proba(X), range(N_THREADS)))
    for margin, share in zip(margins, shares, strict=True):
        np.testing.assert_array_equal(margin, expected[0])
        np.testing.assert_array_equal(share, expected[1])


def test_eight_threads_may_fail_without_hurting_each_other(clf):
    rows = np.arange(9)
    expected = CALLS["proba"](clf, rows)

    def work(thread):
        if thread % 2:
            return CALLS["proba"](clf, rows)
        with pytest.raises(ValueError, match="X contains NaN"):
            clf.predict_proba(np.full((2, 2), np.nan))
        return expected

    with ThreadPoolExecutor(N_THREADS) as pool:
        for answer in pool.map(work, range(N_THREADS)):
            np.testing.assert_array_equal(answer, expected)


def test_threads_of_one_run_never_enter_a_callable_together():
    expected = sample_votes(by_distance, X, 50, 0.5, random_state=0)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        votes = sample_votes(Scratch(0.001), X, 50, 0.5, random_state=0)
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(votes, expected)


def test_threads_of_joblib_never_enter_a_callable_together():
    expected = sample_votes(by_distance, X, 50, 0.5, random_state=0)
    with joblib.parallel_config(backend="threading", n_jobs=4):
        votes = sample_votes(Scratch(0.001), X, 50, 0.5, random_state=0)
    np.testing.assert_array_equal(votes, expected)


def test_threads_of_joblib_share_no_schedule():
    one, two = (wrap(by_distance, sigma=1.0, n_jobs=n) for n in (1, 2))
    kinds = ("group", "pair")
    expected = one.certify_at(X, Y, 0.3, kinds=kinds)
    with joblib.parallel_config(backend="threading"):
        found = two.certify_at(X, Y, 0.3, kinds=kinds)
    np.testing.assert_array_equal(found.votes, expected.votes)
    np.testing.assert_array_equal(found.certified_pair, expected.certified_pair)


def test_threads_may_share_what_cannot_be_a_key():
    class Unhashable(Scratch):
        __hash__ = None

    classifier = Unhashable(0.001)
    expected = sample_votes(by_distance, X, 20, 0.5, random_state=0)
    with ThreadPoolExecutor(N_THREADS) as pool:
        runs = pool.map(
            lambda _: sample_votes(classifier, X, 20, 0.5, random_state=0), range(N_THREADS)
        )
        for votes in runs:
            np.testing.assert_array_equal(votes, expected)


def test_different_callables_do_not_wait_for_each_other():
    both_inside = threading.Barrier(2, timeout=30)

    class Waiting:
        def __init__(self):
            self.waited = False

        def __call__(self, x):
            if not self.waited:
                self.waited = True
                both_inside.wait()  # broken unless two callables run at the same time
            return by_distance(x)

    with ThreadPoolExecutor(2) as pool:
        runs = pool.map(
            lambda classifier: sample_votes(classifier, X, 20, 0.5, random_state=0),
            [Waiting(), Waiting()],
        )
        first, second = runs
    np.testing.assert_array_equal(first, second)


def test_overlapping_runs_leave_every_thread_its_number_of_torch_threads():
    def run(_):
        torch.set_num_threads(2)
        sample_votes(MLP(2, 3), X[:3], 40, 0.3, random_state=0)
        return torch.get_num_threads()

    before = torch.get_num_threads()
    try:
        for _ in range(10):
            with ThreadPoolExecutor(N_THREADS) as pool:
                assert list(pool.map(run, range(N_THREADS))) == [2] * N_THREADS
    finally:
        torch.set_num_threads(before)
