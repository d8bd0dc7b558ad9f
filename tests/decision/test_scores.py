"""Rules inside the base classifier against enumeration and against Elkan's threshold."""

import numpy as np
import pandas as pd
import pytest

from smoothcs import CostMatrix, WeightedVotes
from smoothcs.decision import MinCost, WeightedScores, read_decision

UNIFORM = CostMatrix.uniform(classes=["a", "b", "c"])


def scores(rng, n=200, m=3):
    return rng.dirichlet(np.ones(m), size=n)


def test_weighted_scores_are_the_products(rng):
    p, w = scores(rng), np.array([1.0, 0.5, 4.0])
    expected = [max(range(3), key=lambda k: w[k] * row[k]) for row in p]
    assert (WeightedScores(w).adjusted(p).argmax(axis=1) == expected).all()


@pytest.mark.parametrize("own", [False, True])
def test_min_cost_is_the_least_expected_cost(own, rng):
    p = scores(rng)
    costs = rng.gamma(1.0, size=(len(p), 3, 3))  # with a diagonal
    rule = MinCost(None if own else costs[0])
    assert rule.needs_costs == own
    expected = []
    for i, row in enumerate(p):
        C = costs[i if own else 0]
        expected.append(min(range(3), key=lambda j: sum(row[k] * C[k, j] for k in range(3))))
    found = rule.adjusted(p, costs if own else None).argmax(axis=1)
    assert (found == expected).all()


def test_two_classes_are_decided_by_elkans_threshold(rng):
    n = 500
    fp, fn = rng.gamma(2.0, 10.0, size=(2, n))
    tp, tn = 0.3 * fn * rng.random(n), 0.3 * fp * rng.random(n)
    costs = np.stack([np.stack([tn, fp], 1), np.stack([fn, tp], 1)], 1)
    threshold = (fp - tn) / (fp - tn + fn - tp)
    for shift in (-1e-6, 1e-6):
        p = threshold + shift
        found = MinCost(None).adjusted(np.stack([1 - p, p], 1), costs).argmax(axis=1)
        assert (found == (shift > 0)).all()


def test_equal_weights_change_no_score(rng):
    p = scores(rng)
    assert (WeightedScores(np.ones(3)).adjusted(p) == p).all()


@pytest.mark.parametrize(
    "decision",
    [{"b": 3}, [1, 3, 1], (1.0, 3.0, 1.0), np.array([1, 3, 1]), pd.Series({"b": 3.0, "a": 1.0})],
)
def test_weights_may_be_a_dict_an_array_or_a_series(decision):
    found = read_decision(decision, UNIFORM)
    assert found.is_plurality
    assert found.inside.weights.tolist() == [1, 3, 1]


@pytest.mark.parametrize("decision", [None, "argmax"])
def test_argmax_has_no_rule_inside(decision):
    assert read_decision(decision, UNIFORM).inside is None


def test_the_costs_of_min_cost():
    named = CostMatrix({("a", "b"): 5}, classes=["a", "b", "c"])
    read = read_decision("min-cost", named, named.with_default(1.0))
    assert read.inside.costs.tolist() == [[0, 5, 1], [1, 0, 1], [1, 1, 0]]
    # An example's own costs come first.
    assert read_decision("min-cost", named, own_costs=True).inside.costs is None
    # By labels, whatever their order.
    turned = CostMatrix([[0, 7, 1], [1, 0, 1], [1, 1, 0]], classes=["c", "b", "a"])
    assert read_decision("min-cost", UNIFORM, turned).inside.costs[2].tolist() == [1, 7, 0]


def test_a_diagonal_shifts_no_decision(rng):
    costs = np.array([[2.0, 5, 4], [9, 1, 3], [8, 6, 5]])
    rule, p = read_decision("min-cost", UNIFORM, costs).inside, scores(rng)
    assert (rule.costs.diagonal() == 0).all()
    assert (rule.adjusted(p).argmax(1) == MinCost(costs).adjusted(p).argmax(1)).all()


@pytest.mark.parametrize(
    ("decision", "costs", "message"),
    [
        ({"d": 2}, None, "decision names the unknown label 'd'"),
        ([1, 2], None, "decision must hold one weight for each of 3 classes"),
        ([1, 0, 1], None, "decision must be finite and > 0"),
        ([1, np.nan, 1], None, "decision must be finite and > 0"),
        ("cost", None, "decision must be None, 'argmax'"),
        (3, None, "decision must be None, 'argmax', 'min-cost', weights"),
        (UNIFORM, None, "decision must be None, 'argmax', 'min-cost', weights"),
        ("min-cost", [[0, 1], [1, 0]], "decision_costs"),
        ("min-cost", [[0, 1, 1], [1, 0, -1], [1, 1, 0]], "decision_costs"),
        ("min-cost", [[0, 1, 1], [1, 0, np.nan], [1, 1, 0]], "decision_costs"),
        ("min-cost", [[0, 1, 1], [1, 0, 1], [1, 0, 0]], "in decision_costs, calling 'c' .* 'b'"),
        (WeightedVotes([1, 1, 1], "MinCost([[0, 1], [1, 0]])"), None, "of which a file keeps"),
        (WeightedVotes([1, 1, 1], MinCost(None)), None, "set decision='min-cost'"),
    ],
)
def test_what_is_no_decision_is_refused(decision, costs, message):
    with pytest.raises((ValueError, TypeError), match=message):
        read_decision(decision, UNIFORM, costs)


def test_free_mistakes_are_refused_with_the_builder_that_fills_them():
    free = CostMatrix({("a", "b"): 5}, classes=["a", "b", "c"])
    with pytest.raises(ValueError, match=r"in cost_matrix, calling 'a' .*'c'.*with_default"):
        read_decision("min-cost", free)
