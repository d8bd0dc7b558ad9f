"""Scorers and the selection rule, on scikit-learn's own search classes."""

import pickle

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
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


def test_scorers_reach_through_pipelines_and_searches(iris):
    X, y = iris
    pipe = make_pipeline(StandardScaler(), quick()).fit(X, y)
    direct = pipe[-1].certified_report(pipe[:-1].transform(X), y, eps=0.3)
    assert certified_scorer(0.3)(pipe, X, y)["rob_cs"] == direct["rob_cs"]
    search = GridSearchCV(
        pipe,
        {"costsensitivesmoothedclassifier__sigma": [0.2, 0.4]},
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
