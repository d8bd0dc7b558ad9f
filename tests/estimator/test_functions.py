"""certify, certify_at and certified_report of whatever ends in a smoothed classifier."""

import dataclasses

import numpy as np
import pytest
from _small import COSTS, X, Y, convex, estimator, fit, tune
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import smoothcs
from smoothcs import TunedDecisionClassifier, rob_cs_scorer

NAME = "CostSensitiveSmoothedClassifier"


def search_over(model, name="sigma"):
    return GridSearchCV(model, {name: [0.25, 0.3]}, cv=2, scoring=rob_cs_scorer).fit(X, Y)


def pipeline():
    return make_pipeline(StandardScaler(), estimator()).fit(X, Y)


def search():
    return search_over(make_pipeline(StandardScaler(), estimator()), f"{NAME.lower()}__sigma")


def skipping():
    steps = [("nothing", "passthrough"), ("scale", StandardScaler()), ("none", None)]
    return Pipeline([*steps, ("clf", estimator())]).fit(X, Y)


def everything():
    """A Pipeline around a tuned Pipeline."""
    inner = make_pipeline(StandardScaler(), estimator())
    tuned = TunedDecisionClassifier(inner, n_votes=50, random_state=0)
    return make_pipeline(FunctionTransformer(lambda X: 3 * X), tuned).fit(X, Y)


# The model, the smoothed classifier inside it, what reaches that of X, and what is said of it.
MODELS = {
    "classifier": (fit, lambda m: m, lambda m: X, NAME),
    "pipeline": (
        pipeline,
        lambda m: m[-1],
        lambda m: m[0].transform(X),
        f"{NAME} behind StandardScaler",
    ),
    "passthrough": (
        skipping,
        lambda m: m[-1],
        lambda m: m["scale"].transform(X),
        f"{NAME} behind StandardScaler",
    ),
    "search": (
        search,
        lambda m: m.best_estimator_[-1],
        lambda m: m.best_estimator_[0].transform(X),
        f"{NAME} behind GridSearchCV, StandardScaler",
    ),
    "tuned": (
        tune,
        lambda m: m.estimator_,
        lambda m: X,
        f"{NAME} behind TunedDecisionClassifier",
    ),
    "everything": (
        everything,
        lambda m: m[-1].estimator_[-1],
        lambda m: m[-1].estimator_[0].transform(3 * X),
        f"{NAME} behind FunctionTransformer, TunedDecisionClassifier, StandardScaler",
    ),
}


@pytest.fixture(scope="module", params=MODELS)
def case(request):
    make, last, reaches, said = MODELS[request.param]
    model = make()
    return model, last(model), reaches(model), said


def assert_same(found, expected):
    """Compare everything but what is said about the model."""
    assert type(found) is type(expected)
    for field in dataclasses.fields(expected):
        if field.name != "model":
            np.testing.assert_equal(getattr(found, field.name), getattr(expected, field.name))


def test_certify_is_that_of_the_classifier_inside(case):
    model, clf, Z, said = case
    options = {"cost_matrix": {(0, 2): 1.0}, "also_correct": True, "simultaneous": False}
    for given in ({}, options):
        found = smoothcs.certify(model, X, Y, **given)
        assert_same(found, clf.certify(Z, Y, **given))
        assert found.model == said
        assert said in repr(found)
    assert_same(smoothcs.certify(model, X), clf.certify(Z))
    assert clf.certify(Z[:2], Y[:2]).model is None


def test_certify_at_is_that_of_the_classifier_inside(case):
    model, clf, Z, said = case
    options = {"kinds": ("group", "label"), "n_max": 200}
    for eps, given in ((None, {}), (0.1, {}), ([0.1, 0.2], options)):
        found = smoothcs.certify_at(model, X, Y, eps, **given)
        assert_same(found, clf.certify_at(Z, Y, eps, **given))
        assert found.model == said
        assert said in repr(found)


def test_certified_report_is_that_of_the_classifier_inside(case):
    model, clf, Z, said = case
    found = smoothcs.certified_report(model, X, Y, eps=0.1, n_estimation=60)
    assert found.pop("model") == said
    np.testing.assert_equal(found, clf.certified_report(Z, Y, eps=0.1, n_estimation=60))


def test_what_was_unwrapped_is_saved(case, tmp_path):
    model, _, _, said = case
    for result in (smoothcs.certify(model, X, Y), smoothcs.certify_at(model, X, Y)):
        result.save(tmp_path / "result.npz")
        assert type(result).load(tmp_path / "result.npz").model == said


def test_a_tuned_classifier_certifies_its_own_decision():
    model = tune()
    found = smoothcs.certify(model, X, Y)
    assert found.decision.inside.weights.tolist() == list(model.label_weights_.values())
    assert_same(model.certify(X, Y), found)
    assert_same(model.certify_at(X, Y, 0.1), smoothcs.certify_at(model, X, Y, 0.1))


@pytest.mark.parametrize(
    "function", [smoothcs.certify, smoothcs.certify_at, smoothcs.certified_report]
)
def test_what_cannot_certify_is_refused(function):
    never = LogisticRegression().fit(X, Y)
    unfitted = GridSearchCV(estimator(), {"sigma": [0.25]})
    for model in (never, make_pipeline(StandardScaler(), never).fit(X, Y), unfitted, object()):
        with pytest.raises(TypeError, match="a Pipeline or a fitted search"):
            function(model, X, Y)


@pytest.mark.filterwarnings("ignore::smoothcs.exceptions.UninformativeWarning")  # one epoch
def test_convex_bounds_have_a_report_and_no_votes():
    pytest.importorskip("convex_adversarial")
    clf = convex(cost_matrix=COSTS)
    report = smoothcs.certified_report(clf, X, Y)
    assert report["model"] == "ConvexRelaxationClassifier"
    for function in (smoothcs.certify, smoothcs.certify_at):
        with pytest.raises(TypeError, match=r"certify_at is needed.*ConvexRelaxationClassifier"):
            function(clf, X, Y)
