"""A high certified score of a classifier that says nothing is not passed over in silence."""

import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate

from smoothcs import CostSensitiveSmoothedClassifier, certified_scorer, rob_cs_scorer
from smoothcs.certification._informative import uninformative
from smoothcs.cost import CostMatrix
from smoothcs.exceptions import UninformativeWarning
from smoothcs.metrics import constant_accuracy

# Calling an eight anything else costs something; calling anything an eight is free.
COSTS = CostMatrix({(1, 0): 10.0}, classes=[0, 1])
X = np.linspace(-2, 2, 40)[:, None].astype(np.float32)
Y = (X[:, 0] > 0.7).astype(int)  # 13 of class 1


def always_one(batch):
    return np.ones(len(batch), dtype=int)


def above(batch):
    return (batch[:, 0] > 0.7).astype(int)


def wrap(module, **params):
    params = {"sigma": 0.25, "n_estimation": 100, "cost_matrix": COSTS, **params}
    return CostSensitiveSmoothedClassifier.from_module(module, classes=2, random_state=0, **params)


@pytest.mark.parametrize("bound", ["exact", "closed-form"])
def test_a_constant_answer_scores_one_and_is_warned_about(bound):
    clf = wrap(always_one, bound=bound)
    with pytest.warns(UninformativeWarning, match="One class takes nearly all predictions"):
        assert clf.score(X, Y, eps=0.1) == 1.0
    with pytest.warns(UninformativeWarning):
        report = clf.certified_report(X, Y, eps=0.1)
    assert list(report)[:3] == ["rob_cs", "accuracy", "constant_accuracy"]
    assert report["rob_cs"] == 1.0
    assert report["accuracy"] == pytest.approx(13 / 40)
    assert report["constant_accuracy"] == pytest.approx(27 / 40)


def test_an_informative_classifier_and_accuracies_are_not_warned_about():
    wrap(above).score(X, Y, eps=0.1)
    wrap(above).certified_report(X, Y, eps=0.1)
    assert wrap(always_one).score(X, Y, metric="certified_accuracy", eps=0.1) < 0.5


@pytest.mark.parametrize("keep", [slice(0, 19), Y == 1])
def test_few_inputs_or_one_class_say_nothing(keep):
    assert uninformative(Y[keep], np.ones_like(Y[keep]), COSTS) is None


def test_a_score_of_zero_misleads_nobody():
    other = wrap(lambda batch: np.zeros(len(batch), dtype=int))
    assert other.score(X, Y, eps=0.1) == 0.0


def test_scorers_beside_others_do_not_warn_where_accuracy_is_among_them():
    clf = CostSensitiveSmoothedClassifier(
        LogisticRegression(C=1e-6), cost_matrix=COSTS, n_estimation=50, n_copies=1, random_state=0
    )
    inverted = CostMatrix({(0, 1): 10.0}, classes=[0, 1])
    clf.set_params(cost_matrix=inverted)
    both = {"rob_cs": rob_cs_scorer, "accuracy": "accuracy"}
    scores = cross_validate(clf, np.tile(X, (2, 1)), np.tile(Y, 2), scoring=both, cv=2)
    assert (scores["test_rob_cs"] > 0.9).all()
    with pytest.warns(UninformativeWarning):
        cross_validate(clf, np.tile(X, (2, 1)), np.tile(Y, 2), scoring=rob_cs_scorer, cv=2)


def test_the_warning_names_the_line_of_the_user():
    with pytest.warns(UninformativeWarning) as caught:
        wrap(always_one).score(X, Y, eps=0.1)
    assert caught[0].filename == __file__


def test_a_rare_class_that_is_found_is_no_constant_answer():
    y = np.array([1] * 2 + [0] * 198)
    assert uninformative(y, y, COSTS) is None
    reason = uninformative(y, np.zeros(200, dtype=int), COSTS)
    assert reason == "One class takes nearly all predictions."


def test_accuracy_given_up_for_money_is_no_fault():
    y = np.array([0] * 70 + [1] * 30)
    alarm = np.array([1] * 35 + [0] * 35 + [1] * 30)  # accuracy .65 < .70
    both = CostMatrix([[0, 1], [5, 0]])
    assert uninformative(y, alarm, both) is None  # pays 35; the cheapest constant answer, 70
    assert "no cheaper" in uninformative(y, alarm, CostMatrix([[0, 3], [1, 0]]))
    costs = np.zeros((100, 2, 2), dtype=np.float32)
    costs[:, 0, 1], costs[:, 1, 0] = 3, 1
    assert "no cheaper" in uninformative(y, alarm, both, costs=costs)


def test_weights_count():
    y, label = np.array([0, 1] * 20), np.array([0, 0] * 20)
    weight = np.where(y == 0, 1.0, 0.0)
    assert uninformative(y, label, COSTS, sample_weight=weight) is None  # one class alone counts
    assert uninformative(y, label, COSTS, sample_weight=np.ones(40)) is not None
    assert constant_accuracy(y, cost_matrix=COSTS, sample_weight=1 + weight) == pytest.approx(2 / 3)


def test_scorers_that_show_an_accuracy_do_not_warn():
    clf = wrap(always_one)
    assert certified_scorer(0.1, metrics=["rob_cs", "accuracy"])(clf, X, Y)["rob_cs"] == 1.0
    with pytest.warns(UninformativeWarning):
        certified_scorer(0.1, metrics=["rob_cs", "neg_rob_cost"])(clf, X, Y)
    with pytest.warns(UninformativeWarning):
        rob_cs_scorer(clf, X, Y)


def test_folds_do_not_repeat_the_warning():
    clf = CostSensitiveSmoothedClassifier(
        LogisticRegression(C=1e-6),
        cost_matrix={(0, 1): 10.0},
        n_estimation=50,
        n_copies=1,
        random_state=0,
    )
    big, labels = np.tile(X, (5, 1)), np.tile(Y, 5)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cross_val_score(clf, big, labels, cv=4)
    assert [w.category for w in caught] == [UninformativeWarning]
    with pytest.warns(UninformativeWarning):  # another line warns again
        cross_val_score(clf, big, labels, cv=4)


def test_a_search_that_sees_accuracy_survives_warnings_as_errors():
    clf = CostSensitiveSmoothedClassifier(
        LogisticRegression(), cost_matrix=COSTS, n_estimation=50, n_copies=1, random_state=0
    )
    search = GridSearchCV(
        clf,
        {"module__C": [1e-6, 1.0]},
        scoring=certified_scorer(0.1, metrics=["rob_cs", "accuracy"]),
        refit="accuracy",
        cv=2,
        error_score="raise",
    )
    search.fit(np.tile(X, (2, 1)), np.tile(Y, 2))
    assert search.best_params_ == {"module__C": 1.0}
