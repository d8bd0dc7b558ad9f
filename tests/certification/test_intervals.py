"""Intervals where inputs come in groups: what they are of, and how often they cover."""

import warnings

import numpy as np
import pytest
from _small import X, Y, convex, fit, tune
from sklearn.model_selection import GroupKFold, cross_validate

import smoothcs
from smoothcs import certified_scorer, certify_votes
from smoothcs.certification._intervals import MEANS, SHARES
from smoothcs.plotting._accuracy import confidence_band
from smoothcs.sequential import KINDS

# Models are trained as little as the claims about them need.
pytestmark = pytest.mark.filterwarnings("ignore::smoothcs.exceptions.UninformativeWarning")

GROUPS = np.array([f"patient {i // 3}" for i in range(36)])


@pytest.fixture(scope="module")
def clf():
    return fit(max_epochs=8)


@pytest.mark.parametrize("own_costs", [False, True])
@pytest.mark.parametrize("name", SHARES + MEANS)
def test_a_weighted_metric_is_what_its_rows_sum_to(clf, name, own_costs):
    rng = np.random.default_rng(0)
    costs = None
    if own_costs:
        costs = rng.lognormal(size=(36, 3, 3)) * (1 - np.eye(3))
    weight = rng.integers(1, 4, 36).astype(float)
    for c in (clf.certify(X, Y, costs=costs), clf.certify_at(X, Y, 0.3, kinds=KINDS, costs=costs)):
        report = c.report(0.3, weight)
        low, high = c.intervals(0.3, names=[name], sample_weight=weight, groups=GROUPS)[name]
        assert low <= report[name] <= high
        paid, against = (weight @ rows for rows in c._columns(name, 0.3))
        value = paid[0] / against.min()
        value = 1 - value if "savings" in name else value
        assert value == pytest.approx(report[name])


def test_equal_groups_leave_no_doubt_and_shares_of_1_do():
    votes = np.array([[900, 100], [500, 500]] * 10)
    c = certify_votes(votes, votes, sigma=0.5, y=np.zeros(20, int))
    pairs = np.repeat(np.arange(10), 2)
    assert c.intervals(0.1, groups=pairs, names=["rob_cs"]) == {"rob_cs": (0.5, 0.5)}
    # Ten groups without a failure may come of a population where a third of the groups fail.
    sure = certify_votes(votes[::2], votes[::2], sigma=0.5, y=np.zeros(10, int))
    low, high = sure.intervals(0.1, names=["rob_cs"])["rob_cs"]
    assert low == pytest.approx(0.025 ** (1 / 10))
    assert high == 1.0


def test_bills_of_equal_groups_are_known_at_every_radius():
    # In each group an input of class 0 that is certified up to about .6, and one that is abstained
    # on: by hand, 1 and then 2 of the 2 that are at stake, where a constant answer costs 1.
    votes = np.array([[900, 100], [500, 500]] * 10)
    y, pairs = np.array([0, 1] * 10), np.repeat(np.arange(10), 2)
    c = certify_votes(votes, votes, sigma=0.5, y=y, costs=np.tile(1.0 - np.eye(2), (20, 1, 1)))
    eps = [0.0, 0.3, 2.0]
    for name, values in (("mean_bill", [0.5, 0.5, 1.0]), ("savings", [0.0, 0.0, -1.0])):
        low, high = c.intervals(eps, groups=pairs, names=[name])[name]
        assert low.tolist() == high.tolist() == values


def test_savings_of_groups_for_whom_an_answer_is_free_are_bounded_without_nan():
    # One class in each of two groups: a sample of one group alone has an answer that costs nothing.
    votes = np.array([[990, 10], [990, 10], [10, 990], [400, 600]])
    y, groups = np.array([0, 0, 1, 1]), ["a", "a", "b", "b"]
    costs = np.tile(1.0 - np.eye(2), (4, 1, 1))
    c = certify_votes(votes, votes, sigma=0.5, y=y, costs=costs)
    low, high = c.intervals(np.array([0.0, 0.2]), groups=groups, names=["savings"])["savings"]
    assert low.tolist() == [1.0, -np.inf]
    assert high.tolist() == [1.0, 0.5]
    assert c.savings(np.array([0.0, 0.2])).tolist() == [1.0, 0.5]
    # Where an answer is free for everybody, there is nothing to save.
    one = certify_votes(votes[[0, 3]], votes[[0, 3]], sigma=0.5, y=[0, 0], costs=costs[:2])
    low, high = one.intervals(np.array([0.0, 0.2]), names=["savings"])["savings"]
    assert low.tolist() == high.tolist() == [-np.inf, -np.inf]


def simulated(rng, n_groups=40, size=10):
    """Certificates of groups, each with a chance of its own to be certified: 1/2 on average."""
    chance = np.repeat(rng.beta(0.7, 0.7, n_groups), size)
    held = rng.random(len(chance)) < chance
    votes = np.where(held[:, None], [950, 50], [500, 500])
    groups = np.repeat(np.arange(n_groups), size)
    return certify_votes(votes, votes, sigma=0.5, y=0 * groups, bound="closed-form"), groups


def test_intervals_over_groups_cover_where_intervals_over_inputs_do_not():
    rng = np.random.default_rng(0)
    covered = {"groups": 0, "inputs": 0}
    ratio = []
    for _ in range(300):
        c, groups = simulated(rng)
        low, high = c.intervals(0.3, groups=groups, names=["rob_cs"], n_resamples=300)["rob_cs"]
        covered["groups"] += low <= 0.5 <= high
        below, above = confidence_band(np.array([c.rob_cs(0.3)]), len(c), 0.95)
        covered["inputs"] += below[0] <= 0.5 <= above[0]
        ratio.append((high - low) / (above[0] - below[0]))
    assert 0.92 <= covered["groups"] / 300 <= 0.98
    assert covered["inputs"] / 300 < 0.75
    assert 1.7 < np.mean(ratio) < 2.7


def test_a_report_has_intervals_if_groups_are_given(clf):
    plain = clf.certified_report(X, Y, eps=0.3)
    report = clf.certified_report(X, Y, eps=0.3, groups=GROUPS)
    assert report["n_groups"] == 12
    assert {name for name in report if name in SHARES + MEANS} == set(report["intervals"])
    for name, (low, high) in report["intervals"].items():
        assert low <= report[name] <= high
        assert plain[name] == report[name]
    assert "intervals" not in plain
    assert report["intervals"] == clf.certified_report(X, Y, eps=0.3, groups=GROUPS)["intervals"]
    tuned = tune()
    assert smoothcs.certified_report(tuned, X, Y, groups=GROUPS)["n_groups"] == 12
    radii = fit(bound="closed-form").certified_report(X, Y, groups=GROUPS)
    assert radii["intervals"]["rob_cs"][0] <= radii["rob_cs"]
    exact = convex().certified_report(X, Y, groups=GROUPS)["intervals"]
    assert exact["certified_accuracy"][0] <= exact["certified_accuracy"][1]


def test_intervals_of_many_radii(clf):
    c = clf.certify(X, Y)
    eps = np.array([0.1, 0.3, 0.6])
    for name in ("rob_cs", "rob_cost", "certified_accuracy", "mean_bill", "savings"):
        low, high = c.intervals(eps, groups=GROUPS, names=[name])[name]
        values = c.bill(eps) / len(X) if name == "mean_bill" else getattr(c, name)(eps)
        assert (low <= values).all()
        assert (values <= high).all()
        at_one = c.intervals(0.3, groups=GROUPS, names=[name])[name]
        assert (low[1], high[1]) == pytest.approx(at_one)


def test_what_was_not_decided_has_no_interval(clf):
    c = clf.certify_at(X, Y, 0.3, kinds=("group",))
    assert set(c.intervals(groups=GROUPS)) == {"rob_cs"}
    with pytest.raises(ValueError, match="certified_pair was not asked for"):
        c.intervals(groups=GROUPS, names=["rob_cost"])
    with pytest.raises(ValueError, match="eps=0.7 was not decided"):
        c.intervals(0.7, groups=GROUPS)
    with pytest.raises(ValueError, match="sample_weight must be finite and >= 0; got -1"):
        c.intervals(groups=GROUPS, sample_weight=-np.ones(36))
    apart = clf.certify(X, Y, simultaneous=False).intervals(0.3, groups=GROUPS)
    assert "rob_cost" in apart
    assert "mean_bill" not in apart
    harmless = clf.certify(X[Y == 2], Y[Y == 2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(harmless.intervals(0.3, names=["rob_cs"])["rob_cs"]).all()


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (GROUPS[:5], "one label per input, 36; got 5"),
        (np.zeros(36), "at least 2 groups; got 1"),
        (np.zeros((36, 2)), "groups must be a 1-D array"),
        ([None, *GROUPS[1:]], "a group for every input; got None or nan"),
        (np.r_[np.nan, np.arange(35)], "a group for every input; got None or nan"),
    ],
)
def test_groups_are_checked(clf, groups, message):
    with pytest.raises(ValueError, match=message):
        clf.certified_report(X, Y, groups=groups)


def test_folds_by_group_and_certified_scorers():
    scores = cross_validate(
        fit(), X, Y, groups=GROUPS, cv=GroupKFold(3), scoring=certified_scorer(0.3),
        error_score="raise",
    )  # fmt: skip
    assert np.isfinite(scores["test_rob_cs"]).all()


def test_one_group_that_counts_says_nothing_of_the_spread():
    labels = [0] * 20 + [1] * 4
    votes = [[950, 50]] * 20 + [[50, 950], [600, 400]] * 2
    c = certify_votes(
        [[9, 1]] * 20 + [[1, 9]] * 4, votes, sigma=0.5, y=labels, cost_matrix=[[0, 0], [1, 0]]
    )
    groups = [*range(20), 20, 20, 20, 20]
    low, high = c.intervals(0.1, groups=groups, names=["rob_cs"])["rob_cs"]
    assert np.isnan([low, high]).all()
    groups = [*range(20), 20, 20, 21, 21]
    assert np.isfinite(c.intervals(0.1, groups=groups, names=["rob_cs"])["rob_cs"]).all()
