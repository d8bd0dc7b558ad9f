"""Scorers and the selection rule, on scikit-learn's own search classes."""

import pickle

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, cross_validate
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from smoothcs import (
    CostSensitiveSmoothedClassifier,
    best_under,
    certified_accuracy_scorer,
    certified_scorer,
    neg_rob_cost_scorer,
    rob_cs_scorer,
)
from smoothcs.scoring import METRICS, CertifiedScorer
from smoothcs.sequential import KINDS

# Models are trained as little as the claims about scorers need.
pytestmark = pytest.mark.filterwarnings("ignore::smoothcs.exceptions.UninformativeWarning")


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


def quick(**params):
    return CostSensitiveSmoothedClassifier(
        **{
            "cost_matrix": {(1, 2): 5.0, (2, 1): 1.0},
            "objective": "margin-cs",
            "lr": 0.01,
            "max_epochs": 10,
            "n_estimation": 200,
            "random_state": 0,
            **params,
        }
    )


def test_grid_search_over_lambda_and_gamma_with_two_jobs(iris):
    grid = {"objective__lambda_sensitive": [0.1, 3.0], "objective__gamma_sensitive": [2.0, 8.0]}
    search = GridSearchCV(
        quick(),
        grid,
        scoring=certified_scorer(0.2, n_estimation=150),
        refit=best_under("rob_cs", accuracy=-0.05),
        cv=3,
        n_jobs=2,
        error_score="raise",
    ).fit(*iris)
    accuracy = search.cv_results_["mean_test_accuracy"]
    rob_cs = search.cv_results_["mean_test_rob_cs"]
    allowed = accuracy >= accuracy.max() - 0.05
    assert rob_cs[search.best_index_] == rob_cs[allowed].max()
    assert search.best_estimator_.objective.get_params().items() >= {
        (k.removeprefix("objective__"), v) for k, v in search.best_params_.items()
    }
    assert len(set(map(tuple, np.c_[accuracy, rob_cs]))) > 1


def test_grid_search_runs_on_a_dask_cluster_with_the_same_scores(iris):
    distributed = pytest.importorskip("dask.distributed")
    search = GridSearchCV(
        quick(max_epochs=3),
        {"objective__lambda_sensitive": [0.1, 3.0]},
        scoring=certified_scorer(0.2, n_estimation=150, metrics=["rob_cs", "accuracy"]),
        refit=best_under("rob_cs"),
        cv=2,
        error_score="raise",
    )
    here = clone(search).fit(*iris)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        there = clone(search).fit(*iris)
    for metric in ("rob_cs", "accuracy"):
        name = f"mean_test_{metric}"
        np.testing.assert_array_equal(here.cv_results_[name], there.cv_results_[name])


def test_objective_names_are_gridded_too(iris):
    search = GridSearchCV(
        quick(max_epochs=2), {"objective": ["gaussian", "macer"]}, cv=2, scoring=rob_cs_scorer
    ).fit(*iris)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_cross_validate_returns_every_metric_and_single_scorers_agree(iris):
    scores = cross_validate(quick(), *iris, cv=3, scoring=certified_scorer())
    for name, scorer in (
        ("rob_cs", rob_cs_scorer),
        ("neg_rob_cost", neg_rob_cost_scorer),
        ("certified_accuracy", certified_accuracy_scorer),
    ):
        single = cross_val_score(quick(), *iris, cv=3, scoring=scorer)
        np.testing.assert_allclose(scores[f"test_{name}"], single)
    assert (scores["test_neg_rob_cost"] <= 0).all()


@pytest.mark.parametrize("cost_matrix", [None, {(0, 1): 1.0}, np.ones((3, 3)) - np.eye(3)])
def test_a_class_that_a_fold_lacks_is_named_with_what_avoids_it(iris, cost_matrix):
    X, y = iris
    sorted_by_class = np.argsort(y, kind="stable")
    with pytest.raises(ValueError, match=r"fold .* may lack a class; StratifiedKFold"):
        cross_validate(
            quick(max_epochs=1, cost_matrix=cost_matrix),
            X[sorted_by_class],
            y[sorted_by_class],
            cv=KFold(3),
            scoring=rob_cs_scorer,
            error_score="raise",
        )


def test_scorers_reach_through_pipelines_and_searches(iris):
    X, y = iris
    pipe = make_pipeline(StandardScaler(), quick()).fit(X, y)
    direct = pipe[-1].certified_report(pipe[:-1].transform(X), y, eps=0.3)
    assert certified_scorer(0.3)(pipe, X, y)["rob_cs"] == direct["rob_cs"]
    search = GridSearchCV(
        pipe,
        {"costsensitivesmoothedclassifier__sigma": [0.3, 0.4]},
        cv=2,
        scoring=certified_scorer(0.3, n_estimation=100),
        refit=best_under("rob_cs"),
    ).fit(X, y)
    assert 0 <= rob_cs_scorer(search, X, y) <= 1


def test_a_scorer_refuses_an_estimator_that_cannot_certify(iris):
    with pytest.raises(TypeError, match="GaussianNB"):
        rob_cs_scorer(GaussianNB().fit(*iris), *iris)


def test_scorers_and_rules_survive_pickling():
    scorer = pickle.loads(pickle.dumps(certified_scorer(0.5, metrics=["rob_cs"])))
    assert scorer.eps == 0.5
    rule = pickle.loads(pickle.dumps(best_under("rob_cs", accuracy=0.5)))
    assert rule({"mean_test_rob_cs": [0.1, 0.9], "mean_test_accuracy": [0.6, 0.4]}) == 0


RESULTS = {
    "mean_test_rob_cs": np.array([0.20, 0.50, 0.90, np.nan]),
    "mean_test_accuracy": np.array([0.840, 0.831, 0.600, 0.9]),
    "mean_test_certified_accuracy": np.array([0.5, 0.6, 0.4, 0.1]),
}


@pytest.mark.parametrize(
    ("limits", "best"),
    [
        ({}, 2),
        ({"certified_accuracy": -0.05}, 1),
        ({"certified_accuracy": -0.1}, 1),
        ({"certified_accuracy": 0.4}, 2),
        ({"accuracy": 0.84}, 0),
        ({"accuracy": 0.8, "certified_accuracy": -0.05}, 1),
    ],
)
def test_best_under_takes_the_best_candidate_within_the_limits(limits, best):
    assert best_under("rob_cs", **limits)(RESULTS) == best


def test_best_under_never_takes_a_nan_and_says_when_nothing_qualifies():
    with pytest.raises(ValueError, match=r"accuracy >= 0\.95"):
        best_under("rob_cs", accuracy=0.95)(RESULTS)
    with pytest.raises(ValueError, match="no metric 'robcs'"):
        best_under("robcs")(RESULTS)
    with pytest.raises(ValueError, match=r"a single metric.*'rob_cs'.*metrics=\['rob_cs', 'acc"):
        best_under("rob_cs")({"mean_test_score": np.array([0.5])})
    with pytest.raises(ValueError, match="accuracy"):
        best_under("rob_cs", accuracy=np.nan)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"eps": 0.0}, "eps"),
        ({"n_estimation": 0}, "n_estimation"),
        ({"metrics": ["rob"]}, "rob_cs"),
        ({"metrics": []}, "metrics"),
    ],
)
def test_certified_scorer_refuses_bad_arguments(args, message):
    with pytest.raises(ValueError, match=message):
        certified_scorer(**args)


def test_a_limit_of_minus_zero_loses_nothing():
    results = {"mean_test_rob_cs": [0.2, 0.9], "mean_test_accuracy": [0.8, 0.7]}
    assert best_under("rob_cs", accuracy=-0.0)(results) == 0
    assert best_under("rob_cs", accuracy=0.0)(results) == 1


# -- one name, searches of searches, other scorers -------------------------------------------------


def test_one_name_gives_a_float_that_stands_beside_other_scorers(iris):
    clf = quick(max_epochs=3).fit(*iris)
    scorer = certified_scorer(0.2, metrics="rob_cs")
    assert type(scorer(clf, *iris)) is float
    assert scorer(clf, *iris) == certified_scorer(0.2, metrics=["rob_cs"])(clf, *iris)["rob_cs"]
    assert repr(scorer) == "certified_scorer(eps=0.2, n_estimation=None, metrics='rob_cs')"
    scoring = {"robust": scorer, "plain": "accuracy"}
    scores = cross_validate(quick(max_epochs=3), *iris, cv=2, scoring=scoring, error_score="raise")
    assert np.isfinite([scores["test_robust"], scores["test_plain"]]).all()


@pytest.mark.parametrize(
    "scoring",
    [
        certified_scorer(0.2, n_estimation=150, metrics=["rob_cs", "accuracy"]),
        {
            "rob_cs": certified_scorer(0.2, n_estimation=150, metrics="rob_cs"),
            "accuracy": "accuracy",
        },
    ],
    ids=["one scorer", "a dict"],
)
def test_a_search_by_a_rule_scores_its_metric_and_can_be_nested(iris, scoring):
    search = GridSearchCV(
        quick(max_epochs=3),
        {"lr": [0.01, 0.03]},
        scoring=scoring,
        refit=best_under("rob_cs", accuracy=-0.05),
        cv=2,
        error_score="raise",
    )
    fitted = clone(search).fit(*iris)
    expected = certified_scorer(0.2, n_estimation=150)(fitted, *iris)["rob_cs"]
    assert fitted.score(*iris) == expected
    assert np.isfinite(cross_val_score(search, *iris, cv=2, error_score="raise")).all()


def test_a_rule_is_the_name_of_its_metric_and_survives_copies():
    rule = best_under("rob_cs", accuracy=-0.01)
    for again in (rule, clone(rule, safe=False), pickle.loads(pickle.dumps(rule))):
        assert {"rob_cs": 0.5}[again] == 0.5
        assert repr(again) == "best_under('rob_cs', accuracy=-0.01)"


# -- weights and costs -----------------------------------------------------------------------------


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def costs_of(X, y):
    rng = np.random.default_rng(0)
    return rng.lognormal(0, 1, (len(X), 3, 3)).astype(np.float32) * (
        1 - np.eye(3, dtype=np.float32)
    )


def test_every_metric_counts_weights(iris):
    X, y = iris
    clf = quick(max_epochs=3, cost_matrix=None).fit(X, y)
    weight = np.arange(len(y)) % 3.0
    again = np.repeat(np.arange(len(y)), weight.astype(int))
    scorer = certified_scorer(0.2, metrics=[m for m in METRICS if m != "rob_standard_nonsensitive"])
    weighted = scorer(clf, X, y, sample_weight=weight)
    repeated = scorer(clf, X[again], y[again])
    assert weighted == pytest.approx(repeated)
    assert weighted != scorer(clf, X, y)


def test_money_is_scored_by_the_costs_of_the_examples(iris):
    X, y = iris
    clf = quick(max_epochs=10, cost_matrix=None).fit(X, y)
    costs = costs_of(X, y)
    names = ["savings", "clean_savings", "neg_mean_bill"]
    got = certified_scorer(0.2, metrics=names)(clf, X, y, costs=costs)
    decided = clf.certify_at(X, y, 0.2, kinds=KINDS, costs=costs)
    assert got["savings"] == pytest.approx(decided.savings(0.2))
    assert got["clean_savings"] == pytest.approx(decided.savings(0))
    assert got["clean_savings"] > got["savings"]
    assert got["neg_mean_bill"] == pytest.approx(-decided.worst_cost(0.2).mean())


def test_costs_and_weights_are_routed_through_pipeline_and_search(iris, routing):
    X, y = iris
    costs, weight = costs_of(X, y), np.random.default_rng(1).random(len(y))
    clf = quick(max_epochs=2, cost_matrix=None, decision="min-cost")
    clf.set_fit_request(costs=True, sample_weight=True)
    pipe = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), clf)
    seen = []

    class Spy(CertifiedScorer):
        def __call__(self, estimator, X, y=None, sample_weight=None, costs=None):
            seen.append((X, sample_weight, costs))
            return super().__call__(estimator, X, y, sample_weight, costs)

    scorer = Spy(0.2, 150, ("savings",), single=True)
    scorer.set_score_request(costs=True, sample_weight=True)
    search = GridSearchCV(
        pipe,
        {"costsensitivesmoothedclassifier__lr": [0.01]},
        scoring=scorer,
        cv=2,
        error_score="raise",
    )
    search.fit(X, y, costs=costs, sample_weight=weight)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(seen) == 2
    for inputs, weights, prices in seen:  # the rows of the fold, and these only
        row = [int(np.flatnonzero(weight == w)[0]) for w in weights]
        np.testing.assert_array_equal(X[row], inputs)
        np.testing.assert_array_equal(costs[row], prices)
    assert search.score(X, y, costs=costs, sample_weight=weight) <= 1
    mixed = {"savings": scorer, "accuracy": make_scorer(accuracy_score)}
    mixed["accuracy"].set_score_request(sample_weight=True)
    pipe[-1].set_predict_request(costs=False)
    scores = cross_validate(
        pipe.set_params(costsensitivesmoothedclassifier__decision=None),
        X, y, cv=2, scoring=mixed, error_score="raise",
        params={"costs": costs, "sample_weight": weight},
    )  # fmt: skip
    assert np.isfinite([scores["test_savings"], scores["test_accuracy"]]).all()


def test_metadata_that_nobody_asked_for_is_an_error(iris, routing):
    X, y = iris
    with pytest.raises(UnsetMetadataPassedError, match="costs"):
        cross_validate(
            quick(max_epochs=1).set_fit_request(costs=True), X, y, cv=2,
            scoring=certified_scorer(0.2), params={"costs": costs_of(X, y)},
        )  # fmt: skip
    with pytest.raises(TypeError, match=r"takes the metadata \['sample_weight', 'costs'\]"):
        certified_scorer(0.2).set_score_request(groups=True)


def test_requests_need_routing():
    with pytest.raises(RuntimeError, match="enable_metadata_routing"):
        certified_scorer(0.2).set_score_request(costs=True)


def test_requests_survive_pickling(routing):
    scorer = certified_scorer(0.2, metrics="savings").set_score_request(costs=True)
    again = pickle.loads(pickle.dumps(scorer))
    assert again.get_metadata_routing().score.requests == {"sample_weight": None, "costs": True}
