"""What is seen of a long run: the bar, the lines of the logger."""

import logging

import joblib
import numpy as np
import pytest
from _small import COSTS, X, Y, by_distance, estimator, fit, tune, wrap

HARMLESS = Y == 2


def last_bar(capfd):
    return capfd.readouterr().err.split("\r")[-1]


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("harmless_errors", ["count", "zero"])
def test_the_bar_tells_how_many_are_certified(capfd, n_jobs, harmless_errors):
    # Most inputs keep their radii, some are called what is costly, some have nothing to protect.
    clf = wrap(by_distance, cost_matrix=COSTS, verbose=1, n_jobs=n_jobs)
    y = np.where(np.arange(36) % 3 == 0, 0, Y)
    with joblib.parallel_config(backend="threading"):
        found = clf.certify_at(X, y, 0.3, harmless_errors=harmless_errors)
    n = int(found.certified_group.sum())
    assert 0 < n < 36
    assert "36/36 inputs" in (text := last_bar(capfd))
    assert f", {n} certified]" in text


def test_the_bar_of_radii_counts_radii_above_0(capfd):
    points = X.copy()
    points[::3] = [1.5, 0.0]  # as near to one class as to another
    found = wrap(by_distance, cost_matrix=COSTS, verbose=1).certify(points, Y)
    radius = np.where(HARMLESS, found.radius_standard, found.radius_group)
    assert 0 < int((radius > 0).sum()) < 36
    assert f", {int((radius > 0).sum())} certified]" in last_bar(capfd)


def test_the_logger_tells_epochs_votes_and_what_was_tuned(caplog, capfd):
    with caplog.at_level(logging.INFO, logger="smoothcs"):
        clf = fit(max_epochs=3)
        clf.certify_at(X, Y, 0.3)
        tune(estimator(max_epochs=1))
    lines = [record.getMessage() for record in caplog.records]
    assert all(record.name.startswith("smoothcs.") for record in caplog.records)
    assert any(line.startswith("epoch 3 of 3: train_loss ") for line in lines)
    assert any(line.startswith("selection votes: 36 of 36 inputs after") for line in lines)
    estimation = [line for line in lines if line.startswith("estimation votes: 36 of 36 inputs")]
    assert "votes/s, " in estimation[0]
    assert estimation[0].endswith(" certified")
    assert any(line.startswith("tuned on ") for line in lines)
    assert capfd.readouterr().err == ""


def test_nothing_is_logged_unless_asked(capfd):
    fit().certify_at(X, Y, 0.3)
    assert capfd.readouterr() == ("", "")


def test_long_runs_tell_now_and_then(caplog, monkeypatch):
    monkeypatch.setattr("smoothcs.votes._progress._SECONDS_BETWEEN_LINES", 0.0)
    with caplog.at_level(logging.INFO, logger="smoothcs"):
        fit().certify(X[:5], Y[:5])
    lines = [r.getMessage() for r in caplog.records if "estimation votes: 3 of 5" in r.getMessage()]
    assert len(lines) == 1


def test_the_bar_of_too_few_votes_for_its_bound_does_not_stop_the_run():
    X = np.zeros((2, 1), np.float32)
    for verbose in (0, 1):
        clf = wrap(lambda x: np.zeros(len(x), int), 2, n_estimation=10, verbose=verbose)
        assert (clf.certify(X).radius_standard > 0).all()
