"""TunedWeightsClassifier: weights of probabilities without smoothing; routing of both tuners."""

import pickle

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, make_classification
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Perceptron
from sklearn.model_selection import GridSearchCV, cross_validate, train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from smoothcs import (
    CostSensitiveSmoothedClassifier,
    TunedDecisionClassifier,
    TunedWeightsClassifier,
)
from smoothcs.plotting import FrontierDisplay

COSTS = np.array([[0, 1, 1], [1, 0, 1], [1, 10, 0]])


@pytest.fixture(scope="module")
def data():
    X, y = make_classification(
        1200, 6, n_informative=4, n_classes=3, class_sep=0.8, flip_y=0.05, random_state=0
    )
    return X, y


def paid(y, label):
    return COSTS[y, label].mean()


@pytest.fixture(scope="module")
def tuned(data):
    return TunedWeightsClassifier(
        LogisticRegression(), cost_matrix=COSTS, n_repeats=8, random_state=0
    ).fit(*data)


def test_weights_save_costs_on_new_data(data):
    X, y = data
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, random_state=0)
    clf = TunedWeightsClassifier(GaussianNB(), cost_matrix=COSTS, random_state=0).fit(X, y)
    plain = GaussianNB().fit(X, y)
    assert paid(y_test, clf.predict(X_test)) < 0.85 * paid(y_test, plain.predict(X_test))
    assert -clf.score(X_test, y_test) == paid(y_test, clf.predict(X_test))
    np.testing.assert_array_equal(clf.predict_proba(X_test), plain.predict_proba(X_test))
    weighted = clf.predict_proba(X_test) * list(clf.label_weights_.values())
    np.testing.assert_array_equal(clf.predict(X_test), weighted.argmax(axis=1))
    low, high = clf.stability_.interval(0.9)["cost_saved"]
    assert 0 < low < paid(y_test, plain.predict(X_test)) - paid(y_test, clf.predict(X_test)) < high


def test_two_calibrated_classes_get_the_threshold_of_elkan():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((8000, 1))
    y = (rng.uniform(size=8000) < 1 / (1 + np.exp(-1.5 * X[:, 0]))).astype(int)
    clf = TunedWeightsClassifier(
        LogisticRegression(), cost_matrix=[[0, 1], [4, 0]], random_state=0
    ).fit(X, y)
    assert 3.0 < clf.label_weights_[1] / clf.label_weights_[0] < 5.3
    low, high = clf.stability_.interval(0.9)["weights"]
    assert low[1] / high[0] < 4 < high[1] / low[0]


def test_limits_on_accuracy_are_kept_and_another_point_is_picked(data, tuned):
    X, y = data
    t = tuned.tuned_
    assert (t.objective, t.weigh, t.eps) == ("cost", "scores", 0)
    assert t.metric_cv == pytest.approx(t.clean_cost_cv)
    assert tuned.best_score_ == t.metric_cv < t.baseline_metric
    tight = TunedWeightsClassifier(
        LogisticRegression(), cost_matrix=COSTS, max_accuracy_loss=0.01, n_repeats=0, random_state=0
    ).fit(X, y)
    assert tight.stability_ is None
    assert tight.tuned_.accuracy_cv >= tight.tuned_.baseline_accuracy - 0.01
    assert tight.best_score_ > tuned.best_score_
    before = tight.predict(X)
    tight.pick(max_accuracy_loss=1.0)
    assert tight.label_weights_ == tuned.label_weights_
    np.testing.assert_array_equal(tight.predict(X), tuned.predict(X))
    assert (before != tight.predict(X)).any()
    with pytest.raises(ValueError, match="no weights reach min_accuracy"):
        clone(tight).set_params(min_accuracy=0.999).fit(X, y)


def test_stability_tells_how_far_weights_and_losses_spread(tuned):
    s = tuned.stability_
    assert s.weights.shape == (8, 3)
    assert len(np.unique(s.weights, axis=0)) > 1
    np.testing.assert_allclose(np.log(s.weights).mean(axis=1), 0, atol=1e-12)
    wide, narrow = s.interval(0.9), s.interval(0.5)
    for name in ("weights", "cost", "accuracy", "cost_saved", "accuracy_lost"):
        assert wide[name].shape == narrow[name].shape
        assert (wide[name][0] <= narrow[name][0]).all()
        assert (wide[name][1] >= narrow[name][1]).all()
    assert wide["cost_saved"][0] > 0


def test_labels_pipelines_searches_frames_and_pickles(data):
    X, y = load_digits(return_X_y=True, as_frame=True)
    names = np.array([f"digit {k}" for k in range(10)])[y]
    pipe = make_pipeline(StandardScaler(), GaussianNB())
    clf = TunedWeightsClassifier(
        pipe, cost_matrix={("digit 8", "digit 1"): 20.0}, validation=0.3, n_repeats=0,
        random_state=0,
    )  # fmt: skip
    search = GridSearchCV(clf, {"min_accuracy": [None, 0.75]}, cv=2, error_score="raise")
    search.fit(X, names)
    best = search.best_estimator_
    assert best.feature_names_in_.tolist() == list(X.columns)
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(again.predict(X[:50]), search.predict(X[:50]))
    display = FrontierDisplay.from_estimator(search)
    assert display.ax_.get_xlabel().startswith("Cost")
    wrong = (names == "digit 8") & (search.predict(X) == "digit 1")
    assert wrong.sum() < ((names == "digit 8") & (pipe.fit(X, names).predict(X) == "digit 1")).sum()


def test_prefit_and_own_costs(data):
    X, y = data
    fitted = LogisticRegression().fit(X[:600], y[:600])
    amount = np.random.default_rng(0).exponential(size=600)
    costs = COSTS * amount[:, None, None]
    clf = TunedWeightsClassifier(fitted, cost_matrix=COSTS, validation="prefit", n_repeats=3)
    by_costs = clone(clf).set_params(estimator=fitted).fit(X[600:], y[600:], costs=costs)
    by_weight = clf.fit(X[600:], y[600:], sample_weight=amount)
    # The same costs; accuracy, the other side of the frontier, is not.
    one, other = (list(c.label_weights_.values()) for c in (by_costs, by_weight))
    np.testing.assert_allclose(np.log(one), np.log(other), atol=0.2)
    best = by_weight.best_score_ * amount.mean()
    assert by_costs.best_score_ == pytest.approx(best, rel=0.1)
    assert by_costs.tuned_.baseline_metric == pytest.approx(
        by_weight.tuned_.baseline_metric * amount.mean()
    )
    np.testing.assert_array_equal(clf.estimator_.coef_, fitted.coef_)
    score = by_costs.score(X[600:], y[600:], costs=costs)
    assert score == pytest.approx(
        amount.mean() * by_costs.score(X[600:], y[600:], sample_weight=amount)
    )


def test_wrong_parameters_are_refused_and_leave_nothing_behind(data):
    X, y = data
    for params, error, message in [
        ({"estimator": Perceptron()}, TypeError, "predict_proba"),
        ({"n_repeats": -1}, ValueError, "n_repeats"),
        ({"max_ratio": 0.5}, ValueError, "max_ratio"),
        ({"max_accuracy_loss": 2.0}, ValueError, "max_accuracy_loss"),
        ({"validation": "test"}, ValueError, "validation"),
        ({"cost_matrix": np.zeros((2, 2))}, ValueError, "cost_matrix"),
        ({"cost_matrix": np.zeros((3, 3))}, ValueError, "nothing to tune"),
    ]:
        clf = TunedWeightsClassifier(LogisticRegression()).set_params(**params)
        with pytest.raises(error, match=message):
            clf.fit(X, y)
        assert not hasattr(clf, "estimator_")
        assert not hasattr(clf, "stability_")
    with pytest.raises(ValueError, match="costs must have shape"):
        TunedWeightsClassifier(LogisticRegression()).fit(X, y, costs=np.ones((5, 3, 3)))
    with pytest.raises(NotFittedError):
        TunedWeightsClassifier(LogisticRegression()).predict(X)


# -- metadata of the smoothed tuner -------------------------------------------------------------


def smoothed(**params):
    clf = CostSensitiveSmoothedClassifier(
        objective="gaussian", sigma=0.3, eps=0.1, max_epochs=4, lr=0.02, n_estimation=200,
        n_prediction=100, random_state=0, device="cpu",
    )  # fmt: skip
    return TunedDecisionClassifier(
        clf,
        **{"n_votes": 60, "validation": 0.4, "random_state": 0, "max_accuracy_loss": 0.3, **params},
    )


@pytest.fixture(scope="module")
def loans():
    X, y = load_iris(return_X_y=True)
    X, y = X[50:, :2].astype(np.float32), y[50:] - 1  # which overlap
    amount = np.random.default_rng(0).exponential(size=100) + 0.1
    costs = np.zeros((100, 2, 2))
    costs[:, 1, 0], costs[:, 0, 1] = 5 * amount, 1
    return X, y, costs


def test_costs_are_those_of_the_bill(loans):
    X, y, costs = loans
    # Trained enough for two labels: where all are 1 already, no weight makes a bill smaller.
    longer = smoothed(objective="bill")
    longer.set_params(estimator__max_epochs=10, estimator__batch_size=16)
    clf = clone(longer).fit(X, y, costs=costs)
    twice = clone(longer).fit(X, y, costs=2 * costs)
    assert twice.label_weights_ == clf.label_weights_
    assert twice.best_score_ == pytest.approx(2 * clf.best_score_)
    assert clf.best_score_ <= clf.tuned_.baseline_metric
    assert clf.label_weights_[1] > clf.label_weights_[0]
    limited = smoothed(objective="bill", max_cost_increase=0.0).fit(X, y, costs=costs)
    t = limited.tuned_
    assert t.against == "clean_cost"
    assert t.clean_cost_cv <= t.baseline_clean_cost
    assert FrontierDisplay.from_estimator(limited).ax_.get_ylabel() == "Clean cost"


@pytest.mark.filterwarnings("ignore::smoothcs.exceptions.UninformativeWarning")
def test_examples_of_weight_zero_are_left_out(loans):
    X, y, _ = loans
    weight = np.ones(100)
    weight[::5] = 0
    clf = smoothed().fit(X, y, sample_weight=weight)
    without = smoothed().fit(X[weight > 0], y[weight > 0], sample_weight=np.ones(80))
    assert clf.tuned_.frontier_weights.tolist() == without.tuned_.frontier_weights.tolist()
    assert clf.score(X, y, sample_weight=weight) == clf.score(X[weight > 0], y[weight > 0])


@pytest.mark.filterwarnings("ignore:this search compares candidates by rob_cs alone")
@pytest.mark.filterwarnings("ignore::smoothcs.exceptions.UninformativeWarning")
def test_metadata_reach_the_last_step_of_a_pipeline_and_pass_through_searches(loans):
    X, y, costs = loans
    inside = smoothed(objective="bill")
    pipe = clone(inside).set_params(estimator=make_pipeline(StandardScaler(), inside.estimator))
    by_prefix = pipe.fit(X, y, costs=costs)
    with sklearn.config_context(enable_metadata_routing=True):
        last = clone(inside.estimator).set_fit_request(costs=True, sample_weight=True)
        routed = clone(inside).set_params(estimator=make_pipeline(StandardScaler(), last))
        assert routed.fit(X, y, costs=costs).label_weights_ == by_prefix.label_weights_
        clf = clone(inside).set_fit_request(costs=True).set_score_request(costs=True)
        search = GridSearchCV(clf, {"min_accuracy": [None, 0.3]}, cv=2, error_score="raise")
        search.fit(X, y, costs=costs)
        alone = clone(search.best_estimator_).fit(X, y, costs=costs)
        assert search.best_estimator_.label_weights_ == alone.label_weights_
        scores = cross_validate(
            make_pipeline(StandardScaler(), clf), X, y, cv=2, params={"costs": costs},
            error_score="raise",
        )  # fmt: skip
        assert np.isfinite(scores["test_score"]).all()


@pytest.mark.filterwarnings("ignore::smoothcs.exceptions.UninformativeWarning")
def test_models_that_answer_labels_get_weights_of_votes(loans):
    X, y, _ = loans
    probabilities = LogisticRegression().fit(X, y)
    for module, weigh in [
        (probabilities, "scores"),
        (Perceptron().fit(X, y), "votes"),
        (lambda x: probabilities.predict_proba(x), "scores"),
        (lambda x: probabilities.predict(x), "votes"),
        (lambda x: probabilities.predict_log_proba(x), "votes"),
    ]:
        wrapped = CostSensitiveSmoothedClassifier.from_module(
            module, classes=2, sigma=0.3, n_estimation=200, random_state=0
        )
        clf = smoothed(validation="prefit", weigh="auto").set_params(estimator=wrapped).fit(X, y)
        assert clf.tuned_.weigh == weigh
        assert clf.estimator_.decision == clf.tuned_.decision
        assert clf.score(X, y) >= 0
    wrapped = CostSensitiveSmoothedClassifier.from_module(Perceptron().fit(X, y), classes=2)
    with pytest.raises(TypeError, match="predict_proba"):
        smoothed(validation="prefit", weigh="scores").set_params(estimator=wrapped).fit(X, y)


def test_a_model_of_scikit_learn_is_tuned_by_its_probabilities(loans):
    X, y, _ = loans
    clf = smoothed(objective="bill")
    clf.set_params(estimator__module=LogisticRegression(), estimator__n_copies=3)
    with pytest.raises(ValueError, match="lr=.* has no effect with a scikit-learn classifier"):
        clf.set_params(estimator__lr=0.5, estimator__objective="margin-cs").fit(X, y)
    clf.set_params(estimator__lr=2e-3)
    clf.set_params(estimator__objective="margin-cs").fit(X, y)
    assert clf.tuned_.weigh == "scores"
    again = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(again.predict(X), clf.predict(X))
