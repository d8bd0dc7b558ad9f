"""What a refused or interrupted call leaves behind: nothing, in the estimator or on the disk."""

from __future__ import annotations

import copy
import errno
import os

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from _small import (
    COSTS,
    Counter,
    X,
    Y,
    after,
    by_distance,
    convex,
    estimator,
    fit,
    later,
    raises,
    tune,
    wrap,
)
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted
from skorch.callbacks import Callback
from torch import nn

from smoothcs import CertificationInterrupted, certify_votes, plotting, sample_votes
from smoothcs.modules import MLP
from smoothcs.sequential import PredictionRule, RadiusRule, StoppingRule
from smoothcs.votes import VotesInterrupted

CERTIFICATE = certify_votes(
    [[90, 10, 0], [5, 90, 5]], [[900, 100, 0], [50, 900, 50]],
    sigma=0.5, cost_matrix=COSTS, y=[0, 1],
)  # fmt: skip


class StopAtEnd(Callback):
    """Ctrl-C at the last moment of training."""

    def on_train_end(self, net, **kwargs):
        raise KeyboardInterrupt


def small_convex(**params):
    return convex(module=MLP, net_params={"module__hidden": (4,)}, **params)


FITTED = {"smoothed": fit, "tuned": tune, "convex": small_convex}


@pytest.fixture(scope="module", params=FITTED)
def fitted(request):
    if request.param == "convex":
        pytest.importorskip("convex_adversarial")
    return FITTED[request.param]()


def state(value):
    """Return the attributes of an estimator, and copies of the arrays that they hold."""
    attributes = dict(vars(value))
    weights = []
    for part in attributes.values():
        module = getattr(part, "module_", part)
        if isinstance(module, nn.Module):
            weights += [w.clone() for w in module.state_dict().values()] + [module.training]
    return attributes, weights, len(attributes.get("history_", []))


def answers(clf):
    found = [clf.predict(X), clf.predict_proba(X)]
    certified = clf.certify(X, Y)
    return [*found, getattr(certified, "radius_pair", certified)]


def assert_unchanged(clf, before):
    attributes, weights, n_epochs = before
    now = state(clf)
    assert now[0].keys() == attributes.keys()
    for name, value in attributes.items():
        assert now[0][name] is value, name
    assert len(now[1]) == len(weights)
    for new, old in zip(now[1], weights, strict=True):
        assert torch.equal(torch.as_tensor(new), torch.as_tensor(old))
    assert now[2] == n_epochs


def interrupted_from(n):
    return after(n, raises(KeyboardInterrupt()))


def plain(module):
    return {"module": module, "net_params": None}


# What goes wrong in fit: parameters to set, data to fit, and what comes of it.
FAILURES = {
    "parameter": ({"lr": -1.0}, (X, Y), ValueError),
    "no-labels": ({}, (X, None), ValueError),
    "nan": ({}, (np.where(X > 2, np.nan, X), Y), ValueError),
    "more-columns": ({}, (np.c_[X, X, np.full(36, np.inf)], Y), ValueError),
    "fewer-labels": ({}, (X, Y[:5]), ValueError),
    "one-class-of-5-columns": ({}, (np.c_[X, X, Y], 0 * Y), ValueError),
    "costs": ({"cost_matrix": {(0, 9): 1.0}}, (X, Y), ValueError),
    "module": (plain(nn.Linear(2, 7)), (X, Y), ValueError),
    "module-later": (plain(after(2, raises(OSError("lost")))), (X, Y), OSError),
    "interrupted-at-once": (plain(interrupted_from(0)), (X, Y), KeyboardInterrupt),
    "interrupted": (plain(interrupted_from(2)), (X, Y), KeyboardInterrupt),
    "interrupted-at-the-end": ({"callbacks": [("stop", StopAtEnd())]}, (X, Y), KeyboardInterrupt),
}  # fmt: skip


def set_params(clf, params):
    """Set parameters of the classifier, or of the one that is tuned."""
    inner = clf.estimator if hasattr(clf, "estimator") else clf
    inner.set_params(**{k: v for k, v in params.items() if k in inner.get_params(deep=False)})


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failed_fit_leaves_a_fitted_estimator_as_it_was(fitted, failure):
    params, (x, y), error = FAILURES[failure]
    clf = copy.deepcopy(fitted)
    expected = answers(clf)
    if isinstance(params.get("module"), nn.Module) and hasattr(clf, "eps_start"):
        # Its networks are checked layer by layer, so that only plain layers reach the training.
        error = (TypeError, error)
    set_params(clf, params)
    before, random_state = state(clf), torch.get_rng_state()
    with pytest.raises(error):
        clf.fit(x, y)
    assert_unchanged(clf, before)
    assert torch.equal(torch.get_rng_state(), random_state)
    for new, old in zip(answers(clf), expected, strict=True):
        np.testing.assert_array_equal(new, old)


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failed_first_fit_leaves_the_estimator_unfitted(failure):
    params, (x, y), error = FAILURES[failure]
    clf = estimator(**params)
    with pytest.raises(error):
        clf.fit(x, y)
    assert set(vars(clf)) == set(clf.get_params(deep=False))
    with pytest.raises(NotFittedError):
        check_is_fitted(clf)


def test_an_interrupted_fit_does_not_touch_the_module_it_was_given():
    module = interrupted_from(2)
    before = [p.clone() for p in module.parameters()]
    with pytest.raises(KeyboardInterrupt):
        fit(module=module)
    assert module.counter.count == 3
    assert module.training
    for now, then in zip(module.parameters(), before, strict=True):
        assert torch.equal(now, then)
        assert now.grad is None


def test_an_interrupted_warm_start_keeps_the_weights_and_the_history():
    clf = fit(module=after(10**9, raises(KeyboardInterrupt())), warm_start=True)
    # Tried, and trained on one batch.
    clf.net_.module_.n = clf.net_.module_.counter.count + 2
    before = state(clf)
    with pytest.raises(KeyboardInterrupt):
        clf.fit(X, Y)
    assert_unchanged(clf, before)


def test_refused_parameters_are_not_set():
    clf = estimator()
    before = dict(vars(clf))
    for wrong in ({"sigma": 9.0, "noise": 1}, {"sigma": 9.0, "objective__depth": 1}):
        with pytest.raises(ValueError, match=r"noise|depth"):
            clf.set_params(**wrong)
        assert vars(clf) == before


def test_a_refused_pick_keeps_the_weights():
    tuned = tune()
    before, decision = state(tuned), tuned.estimator_.decision
    with pytest.raises(ValueError, match="min_accuracy"):
        tuned.pick(min_accuracy=1.1)
    assert_unchanged(tuned, before)
    assert tuned.estimator_.decision is decision


# ------------------------------------------------------------------ votes and certificates


# 36 inputs are tried once and take 4 batches for each purpose.
BATCHES = {"vote_batch_size": 1000, "n_estimation": 111, "n_selection": 111}
USES = {
    "predict": lambda clf: clf.predict(X),
    "proba": lambda clf: clf.predict_proba(X),
    "certify": lambda clf: clf.certify(X, Y).radius_pair,
    "tolerance": lambda clf: clf.certify(X[:9], radius_tol=0.05).radius_group,
    "at eps": lambda clf: clf.certify_at(X, Y).certified_group,
    "score": lambda clf: np.asarray(clf.score(X, Y)),
    "report": lambda clf: clf.certified_report(X, Y)["robust_error_matrix"],
    "plan": lambda clf: clf.plan_votes(X, Y, eps=0.1),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_failed_use_leaves_the_estimator_and_its_answers_as_they_were(use, error):
    class Failing:
        """Fails in the calls from ``first`` to ``last``."""

        def __init__(self):
            self.calls, self.fails_at = 0, None

        def __call__(self, x):
            self.calls += 1
            if self.calls == self.fails_at:
                raise error("now")
            return by_distance(x)

    classifier = Failing()
    clf = wrap(classifier, **BATCHES)
    expected, n_calls = USES[use](clf), classifier.calls
    before = state(clf)
    for call in {1, 1 + n_calls // 2, n_calls}:
        classifier.calls, classifier.fails_at = 0, call
        with pytest.raises(error):
            USES[use](clf)
        assert_unchanged(clf, before)
    classifier.fails_at = None
    np.testing.assert_array_equal(USES[use](clf), expected)


@pytest.mark.parametrize("n", range(12))
@pytest.mark.parametrize("kind", ["callable", "module"])
def test_an_interrupted_certify_certifies_no_more_than_a_finished_one(kind, n):
    calls = Counter()
    if kind == "callable":

        def full(x):
            calls.count += 1
            return by_distance(x)

        stopped = later(n, raises(KeyboardInterrupt()))
    else:
        torch.manual_seed(0)
        stopped = interrupted_from(10**9)
        full = copy.deepcopy(stopped)
        stopped.n, stopped.counter = n, Counter()
        full.counter = calls
    whole = wrap(full, **BATCHES).certify(X, Y)
    try:
        part = wrap(stopped, **BATCHES).certify(X, Y)
    except CertificationInterrupted as stop:
        part = stop.certificates
    drawn = part.votes.sum(axis=1) > 0
    np.testing.assert_array_equal(part.votes[drawn], whole.votes[drawn])
    np.testing.assert_array_equal(part.radius_pair[drawn], whole.radius_pair[drawn])
    assert part.abstained[~drawn].all()
    assert (np.nan_to_num(part.radius_pair[~drawn]) == 0).all()
    assert (np.nan_to_num(part.radius_group[~drawn]) == 0).all()
    assert (part.radius_standard[~drawn] == 0).all()
    # Tried, selected in 4 batches, tried again: with fewer calls nothing can have been finished.
    trials = (calls.count - 2 * 4) // 2
    assert drawn.any() == (n > 2 * trials + 4)


def test_an_interruption_of_the_first_trial_carries_votes_too():
    with pytest.raises(VotesInterrupted) as stop:
        sample_votes(later(0, raises(KeyboardInterrupt())), X, 10, 0.5, n_classes=3)
    assert stop.value.votes.shape == (36, 3)
    assert not stop.value.votes.any()
    assert not stop.value.finished.any()


def test_an_interrupted_decision_decides_no_more_than_a_finished_one():
    params = {"eps": [0.1, 0.3], "kinds": ("group", "label")}
    whole = wrap(by_distance, **BATCHES).certify_at(X, Y, **params)
    with pytest.raises(CertificationInterrupted) as stop:
        wrap(later(7, raises(KeyboardInterrupt())), **BATCHES).certify_at(X, Y, **params)
    part = stop.value.certificates
    assert not (part.certified_group & ~whole.certified_group).any()
    assert 0 < part.certified_group.sum() < whole.certified_group.sum()
    assert (part.abstained >= whole.abstained).all()
    unfinished = part.votes.sum(axis=1) == 0
    assert unfinished.any()
    assert not part.certified_group[unfinished].any()


def test_an_interrupted_run_gives_threads_back():
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with pytest.raises(KeyboardInterrupt):
            wrap(interrupted_from(4), **BATCHES).certify(X)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


RULES = {
    "stopping": lambda: StoppingRule(
        [[90, 10, 0]] * 2, [[False, True, True]] * 2, eps=0.1, sigma=0.5, n_max=1000
    ),
    "radius": lambda: RadiusRule(
        [[90, 10, 0]] * 2, [[False, True, True]] * 2, sigma=0.5, radius_tol=0.01, first_look=100
    ),
    "prediction": lambda: PredictionRule(2, n_max=1000, first_look=100),
}


@pytest.mark.parametrize("rule", RULES)
def test_refused_votes_do_not_change_a_rule(rule):
    refused, plain = RULES[rule](), RULES[rule]()
    wrong = [
        ([0, 1], [[60, 40, 0], [60, 41, 0]]),  # the second is off the schedule
        ([0, -2], [[60, 40, 0], [60, 40, 0]]),
        ([0, 2], [[60, 40, 0], [60, 40, 0]]),
        ([0, 0], [[60, 40, 0], [60, 40, 0]]),
        ([0], [[60, -10, 50]]),
        ([0], [[60.5, 39.5, 0]]),
        ([0], [60, 40, 0]),
    ]
    for index, votes in wrong:
        with pytest.raises(ValueError, match=r"index|votes"):
            refused.update(index, votes)
    for one in (refused, plain):
        one.update([1], [[99, 1, 0]])
    assert vars(refused).keys() == vars(plain).keys()
    for name, value in vars(plain).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(vars(refused)[name], value)


# ------------------------------------------------------------------ files and figures


def test_certificates_that_cannot_be_saved_leave_no_file(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "kept.txt").write_text("kept")
    for path, error in [(tmp_path / "no" / "such.npz", FileNotFoundError), (folder, OSError)]:
        with pytest.raises(error):
            CERTIFICATE.save(path)
    with pytest.raises(TypeError):
        CERTIFICATE.save(None)
    assert [p.name for p in tmp_path.rglob("*")] == ["folder", "kept.txt"]


def test_a_full_disk_keeps_the_certificates_that_were_saved_before(tmp_path, monkeypatch):
    path = tmp_path / "certificates.npz"
    CERTIFICATE[:1].save(path)
    before = path.read_bytes()

    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        CERTIFICATE.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "params",
    [{"alpha": 2.0}, {"n_estimation": 3}, {"bound": "loose"}, {"eps": -1.0}],
    ids=lambda params: next(iter(params)),
)
@pytest.mark.parametrize("method", ["certify", "certify_at"])
def test_a_refused_certify_makes_no_resume_file(tmp_path, method, params):
    clf = wrap(by_distance).set_params(**params)
    if (method, *params) == ("certify", "eps"):
        pytest.skip("radii know no eps")
    with pytest.raises(ValueError, match=next(iter(params))):
        getattr(clf, method)(X, resume_from=tmp_path / "votes.bin")
    assert not any(tmp_path.iterdir())


def test_a_classifier_that_fails_when_tried_makes_no_resume_file(tmp_path):
    with pytest.raises(OSError, match="offline"):
        wrap(raises(OSError("offline"))).certify(X, resume_from=tmp_path / "votes.bin")
    assert not any(tmp_path.iterdir())


def test_a_file_of_another_kind_is_not_written_to(tmp_path):
    path = tmp_path / "thesis.txt"
    path.write_text("Chapter 1. " * 100)
    with pytest.raises(ValueError, match="not a resume file"):
        wrap(by_distance).certify(X, resume_from=path)
    assert path.read_text() == "Chapter 1. " * 100
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("n", [1, 2, 45, 60, 75])
def test_a_resume_file_of_a_failed_run_is_whole(tmp_path, n, error):
    module = after(n, raises(error("stop")))
    clf = wrap(module, **BATCHES | {"vote_batch_size": 100})
    with pytest.raises(error):
        clf.certify(X, Y, resume_from=tmp_path / "votes.bin")
    module.counter.count = -(10**9)
    expected = clf.certify(X, Y)
    calls = module.counter.count
    resumed = clf.certify(X, Y, resume_from=tmp_path / "votes.bin")
    np.testing.assert_array_equal(resumed.votes, expected.votes)
    np.testing.assert_array_equal(resumed.radius_pair, expected.radius_pair)
    # What was finished is not drawn again, but for the few inputs by which the classifier is known.
    whole = calls + 10**9
    assert (module.counter.count - calls < whole) == (n > 2)
    assert [p.name for p in tmp_path.iterdir()] == ["votes.bin"]


@pytest.mark.parametrize(
    "call",
    [
        lambda: plotting.VotesDisplay.from_certificates(
            CERTIFICATE, x=[1.0, 2.0], feature_names=["a"]
        ),
        lambda: plotting.VotesDisplay.from_certificates(CERTIFICATE, x=np.zeros((2, 2, 2))),
        lambda: plotting.CertifiedAccuracyDisplay.from_certificates(CERTIFICATE, metric="f1"),
        lambda: plotting.CertifiedAccuracyDisplay.from_certificates(CERTIFICATE, eps=[-1.0]),
        lambda: plotting.CertifiedAccuracyDisplay.from_certificates(CERTIFICATE, colour="red"),
        lambda: plotting.RobustErrorDisplay.from_certificates(CERTIFICATE, eps=-1.0),
    ],
    ids=["names", "image", "metric", "eps", "keyword", "errors-eps"],
)
def test_a_refused_plot_leaves_no_figure_open(call):
    before = plt.get_fignums()
    with pytest.raises((ValueError, AttributeError)):
        call()
    assert plt.get_fignums() == before
