"""Costs of each example for two classes."""

import numpy as np
import pytest

from smoothcs import CostSensitiveSmoothedClassifier, example_costs

AMOUNT = np.array([1000.0, 200.0, 50.0])
COMMON = {"classes": ["bad", "good"], "positive": "bad"}


def test_every_outcome_is_where_it_belongs():
    costs = example_costs(
        false_positive=AMOUNT, false_negative=2 * AMOUNT, true_positive=3, true_negative=4, **COMMON
    )
    assert costs.shape == (3, 2, 2)
    assert costs.dtype == np.float64
    np.testing.assert_array_equal(costs[1], [[3, 400], [200, 4]])
    flipped = example_costs(
        false_positive=AMOUNT, false_negative=2 * AMOUNT, true_positive=3, true_negative=4,
        classes=["bad", "good"], positive="good",
    )  # fmt: skip
    np.testing.assert_array_equal(flipped[1], [[4, 200], [400, 3]])


def test_an_estimator_takes_them_and_decides_by_them():
    # Scores of one half: the cheaper mistake is made.
    clf = CostSensitiveSmoothedClassifier.from_module(
        lambda x: np.full((len(x), 2), 0.5), classes=["bad", "good"], decision="min-cost",
        n_prediction=50, random_state=0,
    )  # fmt: skip
    costs = example_costs(false_positive=[1, 9, 1], false_negative=[2, 2, 2], **COMMON)
    assert clf.predict(np.zeros((3, 1)), costs=costs).tolist() == ["bad", "good", "bad"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": [0, 1, 2]}, "classes must be two labels"),
        ({"positive": "worse"}, r"positive must be one of the classes \['bad', 'good'\]"),
        ({"false_positive": 1, "false_negative": 2}, "at least one of false_positive"),
        ({"false_negative": [1, 2]}, r"one length; got \{'false_positive': 3"),
        ({"false_negative": [1, -2, 1]}, "false_negative must be finite and >= 0; got -2 in row 1"),
        ({"true_positive": np.nan}, "true_positive must be finite"),
        ({"false_positive": [np.inf, 1, 1]}, "false_positive must be finite"),
        ({"false_positive": ["1", "2", "3"]}, "false_positive must be a number or a 1-D array"),
        ({"false_positive": [[1, 2, 3]]}, "false_positive must be a number or a 1-D array"),
        ({"false_positive": [1, 0, 1], "false_negative": 0}, "all costs of example 1 are 0"),
    ],
)
def test_bad_costs_are_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        example_costs(**{"false_positive": AMOUNT, "false_negative": AMOUNT, **COMMON, **change})
