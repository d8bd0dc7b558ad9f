"""Ten usual tasks from data to certificates, as a user would type them, on held-out data."""

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
import torch
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    StratifiedKFold,
    cross_val_score,
    cross_validate,
    train_test_split,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import smoothcs
from smoothcs import (
    CostSensitiveSmoothedClassifier,
    TunedDecisionClassifier,
    best_under,
    certified_scorer,
)

COSTS = {("malignant", "benign"): 10.0, ("benign", "malignant"): 1.0}


@pytest.fixture(scope="module")
def tumours():
    """A frame with named columns, string labels, split into training and test rows."""
    data = load_breast_cancer(as_frame=True)
    labels = data.target.map({0: "malignant", 1: "benign"}).rename("tumour")
    return train_test_split(data.data, labels, test_size=0.4, stratify=labels, random_state=0)


@pytest.fixture(scope="module")
def digits():
    """Images (n, 1, 8, 8) in [0, 1]."""
    data = load_digits()
    images = (data.images[:, None] / 16).astype(np.float32)
    return train_test_split(images, data.target, test_size=0.4, random_state=0)


def quick(**params):
    return CostSensitiveSmoothedClassifier(
        **{
            "cost_matrix": COSTS,
            "objective": "gaussian",
            "sigma": 0.5,
            "eps": 0.3,
            "lr": 0.01,
            "max_epochs": 10,
            "n_estimation": 1000,
            "random_state": 0,
            **params,
        }
    )


def on_tumours(**params):
    return make_pipeline(StandardScaler().set_output(transform="pandas"), quick(**params))


@pytest.fixture(scope="module")
def model(tumours):
    X_train, _, y_train, _ = tumours
    return on_tumours().fit(X_train, y_train)


def test_1_train_on_a_frame(tumours):
    X_train, X_test, y_train, y_test = tumours
    mean, std = X_train.mean(), X_train.std()
    clf = quick().fit((X_train - mean) / std, y_train)
    assert list(clf.feature_names_in_) == list(X_train.columns)
    answers = clf.predict((X_test - mean) / std)
    assert set(answers) <= {"benign", "malignant", "abstain"}
    assert np.mean(answers == y_test) > 0.85
    assert clf.score((X_test - mean) / std, y_test) > 0.6


def test_2_images(digits):
    X_train, X_test, y_train, y_test = digits
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip
    clf = quick(module=net, cost_matrix={(8, 3): 5.0, (3, 8): 5.0}, sigma=0.25, max_epochs=6)
    report = clf.fit(X_train, y_train).certified_report(X_test[:300], y_test[:300], eps=0.2)
    assert report["accuracy"] > 0.8
    assert report["rob_cs"] > 0.8
    assert report["n_sensitive"] == np.isin(y_test[:300], (3, 8)).sum()


def test_3_a_net_that_is_trained_already(digits):
    X_train, X_test, y_train, y_test = digits
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    X, y = torch.as_tensor(X_train), torch.as_tensor(y_train)
    for _ in range(60):
        noisy = X + 0.25 * torch.randn_like(X)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(noisy), y).backward()
        optimizer.step()
    clf = CostSensitiveSmoothedClassifier.from_module(
        net, classes=10, cost_matrix={(8, 3): 1.0}, sigma=0.25, n_estimation=1000, random_state=0
    )
    assert clf.score(X_test[:200], y_test[:200], eps=0.2) > 0.7
    radius = clf.certify_radius(X_test[y_test == 8][:10], y_test[y_test == 8][:10])
    assert radius.max() > 0.3


def test_4_a_forest(tumours):
    X_train, X_test, y_train, y_test = tumours
    forest = RandomForestClassifier(30, min_samples_leaf=3, random_state=0)
    model = make_pipeline(
        StandardScaler().set_output(transform="pandas"),
        CostSensitiveSmoothedClassifier(
            forest, cost_matrix=COSTS, sigma=0.5, n_copies=5, n_estimation=300, random_state=0
        ),
    ).fit(X_train, y_train)
    report = smoothcs.certified_report(model, X_test[:60], y_test[:60], eps=0.2)
    assert report["accuracy"] > 0.85
    assert 0.5 < report["certified_accuracy"] <= report["accuracy"]


def search_of(model, **params):
    return GridSearchCV(
        model,
        {"costsensitivesmoothedclassifier__sigma": [0.3, 0.6]},
        scoring=certified_scorer(0.3, n_estimation=200),
        refit=best_under("rob_cs", accuracy=-0.02),
        cv=StratifiedKFold(2, shuffle=True, random_state=0),
        error_score="raise",
        **params,
    )


def test_5_grid_search(tumours):
    X_train, X_test, y_train, y_test = tumours
    search = search_of(on_tumours(max_epochs=5)).fit(X_train, y_train)
    results = pd.DataFrame(search.cv_results_)
    accuracy = results["mean_test_accuracy"]
    chosen = results.loc[search.best_index_]
    allowed = results[accuracy >= accuracy.max() - 0.02]
    assert chosen["mean_test_rob_cs"] == allowed["mean_test_rob_cs"].max()
    assert 0.5 < search.score(X_test, y_test) <= 1


def test_6_nested_cross_validation(tumours):
    X_train, _, y_train, _ = tumours
    scores = cross_val_score(
        search_of(on_tumours(max_epochs=5)), X_train, y_train, cv=2, error_score="raise"
    )
    assert ((scores > 0.5) & (scores <= 1)).all()


def test_7_a_pipeline_with_a_tuned_decision(tumours):
    X_train, X_test, y_train, y_test = tumours
    tuned = TunedDecisionClassifier(on_tumours(), n_votes=100, random_state=0)
    plain = on_tumours().fit(X_train, y_train)
    tuned.fit(X_train, y_train)
    assert tuned.tuned_.metric_cv >= tuned.tuned_.baseline_metric
    reports = [smoothcs.certified_report(m, X_test, y_test) for m in (plain, tuned)]
    assert reports[1]["accuracy"] > reports[0]["accuracy"] - 0.05
    assert "TunedDecisionClassifier" in reports[1]["model"]


def test_8_save_and_load(model, tumours, tmp_path):
    _, X_test, _, y_test = tumours
    joblib.dump(model, tmp_path / "model.joblib")
    skops.io.dump(model, tmp_path / "model.skops")
    trusted = skops.io.get_untrusted_types(file=tmp_path / "model.skops")
    found = smoothcs.certify(model, X_test[:20], y_test[:20]).radius_group
    for again in (
        joblib.load(tmp_path / "model.joblib"),
        skops.io.load(tmp_path / "model.skops", trusted=trusted),
    ):
        radius = smoothcs.certify(again, X_test[:20], y_test[:20]).radius_group
        np.testing.assert_array_equal(radius, found)


def test_9_report_with_groups(model, tumours):
    _, X_test, _, y_test = tumours
    patients = np.arange(len(y_test)) // 2
    report = smoothcs.certified_report(model, X_test, y_test, groups=patients)
    for name in ("rob_cs", "accuracy", "rob_cost", "savings"):
        low, high = report["intervals"][name]
        assert low <= report[name] <= high
    assert report["certified_accuracy"] <= report["accuracy"]
    assert report["model"] == "CostSensitiveSmoothedClassifier behind StandardScaler"
    folds = cross_validate(
        on_tumours(max_epochs=5), X_test, y_test, groups=patients, cv=GroupKFold(2),
        scoring={"robust": certified_scorer(0.3, metrics="rob_cs"), "plain": "accuracy"},
        error_score="raise",
    )  # fmt: skip
    assert (folds["test_robust"] > 0.4).all()
    assert (folds["test_plain"] > 0.7).all()


def test_10_a_cluster(model, tumours):
    distributed = pytest.importorskip("dask.distributed")
    _, X_test, _, y_test = tumours
    here = smoothcs.certify(model, X_test, y_test)
    model[-1].set_params(n_jobs=2)
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        there = smoothcs.certify(model, X_test, y_test)
    model[-1].set_params(n_jobs=None)
    np.testing.assert_array_equal(here.votes, there.votes)
    assert here.rob_cs(0.3) == there.rob_cs(0.3) > 0.6
