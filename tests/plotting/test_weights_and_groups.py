"""Displays with weights, costs of examples, and groups."""

import matplotlib
import numpy as np
import pytest
from _small import COSTS, X, Y, by_distance, fit, wrap

from smoothcs.plotting import (
    CertifiedAccuracyDisplay,
    CertifiedBillDisplay,
    RobustErrorDisplay,
)

matplotlib.use("Agg")
import matplotlib.pyplot as plt


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def small():
    return fit(max_epochs=8)


WEIGHT = np.arange(36) % 3.0
AGAIN = np.repeat(np.arange(36), np.arange(36) % 3)


def test_displays_of_metrics_count_weights(small):
    for display, attribute, params in (
        (CertifiedAccuracyDisplay, "values", {"eps": [0.2, 0.5]}),
        (CertifiedAccuracyDisplay, "values", {"eps": [0.2, 0.5], "metric": "rob_cost"}),
        (RobustErrorDisplay, "robust", {"eps": 0.3}),
        (RobustErrorDisplay, "clean", {"eps": 0.3}),
        (CertifiedBillDisplay, "bill", {"eps": [0.2, 0.5]}),
        (CertifiedBillDisplay, "constant_bill", {}),
    ):
        weighted = display.from_estimator(small, X, Y, sample_weight=WEIGHT, **params)
        repeated = display.from_estimator(small, X[AGAIN], Y[AGAIN], **params)
        np.testing.assert_allclose(getattr(weighted, attribute), getattr(repeated, attribute))


def test_displays_pass_costs_on(small):
    costs = np.random.default_rng(0).lognormal(size=(36, 3, 3)) * (1 - np.eye(3))
    params = {"decision": "min-cost", "decision_costs": [[0, 1, 1], [1, 0, 1], [1, 1, 0]]}
    clf = fit(max_epochs=8, **params)
    display = CertifiedAccuracyDisplay.from_estimator(clf, X, Y, costs=costs, eps=[0.2])
    assert display.values == clf.certify(X, Y, costs=costs).rob_cs([0.2])
    by_params = RobustErrorDisplay.from_estimator(clf, X, Y, certify_params={"costs": costs})
    direct = RobustErrorDisplay.from_estimator(clf, X, Y, costs=costs)
    np.testing.assert_array_equal(direct.robust, by_params.robust)


def test_the_band_of_copies_is_wide_if_they_are_one_group():
    points = X.copy()
    points[::3] = [1.5, 0.0]  # as near to one class as to another
    groups = np.repeat(np.arange(36), 8)
    c = wrap(by_distance, cost_matrix=COSTS).certify(points[groups], Y[groups])
    width = []
    for own in (None, groups):
        display = CertifiedAccuracyDisplay.from_certificates(
            c, metric="certified_accuracy", eps=[0.3], groups=own
        )
        assert display.lower[0] <= display.values[0] <= display.upper[0]
        width.append(display.upper[0] - display.lower[0])
    assert 0.2 < display.values[0] < 0.8
    assert width[1] / width[0] == pytest.approx(np.sqrt(8), rel=0.15)
