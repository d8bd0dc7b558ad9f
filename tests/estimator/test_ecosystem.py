"""The estimator among its neighbours: scikit-learn, pandas, matplotlib and skorch, as they are."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.calibration import CalibrationDisplay
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.model_selection import (
    GridSearchCV,
    cross_val_score,
    cross_validate,
    train_test_split,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from skorch.callbacks import (
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    LoadInitState,
    LRScheduler,
)
from skorch.dataset import ValidSplit
from skorch.helper import SliceDataset, predefined_split
from torch.utils.data import TensorDataset

from smoothcs import (
    ConvexRelaxationClassifier,
    CostSensitiveSmoothedClassifier,
    best_under,
    certified_accuracy_scorer,
    certified_scorer,
    rob_cs_scorer,
)

matplotlib.use("Agg")


def quick(**params):
    defaults = {
        "cost_matrix": {(1, 2): 5.0},
        "objective": "gaussian",
        "sigma": 0.3,
        "lr": 0.02,
        "max_epochs": 8,
        "n_estimation": 200,
        "n_prediction": 200,
        "random_state": 0,
    }
    return CostSensitiveSmoothedClassifier(**{**defaults, **params})


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


# ---------------------------------------------------------------- representations


def test_text_representation_names_what_was_changed():
    with sklearn.config_context(display="text", print_changed_only=True):
        clf = CostSensitiveSmoothedClassifier(sigma=0.5, objective="macer")
        assert repr(clf) == "CostSensitiveSmoothedClassifier(objective='macer', sigma=0.5)"
        assert not hasattr(clf, "_repr_html_")
    with sklearn.config_context(print_changed_only=False):
        assert "n_estimation=10000" in repr(clf)


@pytest.mark.parametrize("fit", [False, True])
def test_html_representation_shows_parameters_and_the_units_of_a_radius(iris, fit):
    pipe = make_pipeline(StandardScaler(), quick(max_epochs=1))
    if fit:
        pipe.fit(*iris)
    with sklearn.config_context(display="diagram"):
        for shown in (pipe, pipe[-1]):
            html = shown._repr_html_()
            assert "CostSensitiveSmoothedClassifier" in html
            assert "{(1, 2): 5.0}" in html
            assert html.count("in standard deviations") == 1
            assert html.count("<div") == html.count("</div>")
        assert "standard deviations" not in StandardScaler()._repr_html_()
        assert "ConvexRelaxationClassifier" in ConvexRelaxationClassifier()._repr_html_()


# ---------------------------------------------------------------- metadata routing, validation


@pytest.mark.filterwarnings("ignore:this search compares candidates by rob_cs alone")
@pytest.mark.parametrize("how", ["pipeline", "search", "cross_val_score"])
def test_sample_weights_are_routed_to_fit(iris, how):
    # A class whose examples weigh nothing is never predicted.
    X, y = iris
    weight = (y != 2).astype(float)

    def share_of_two(estimator, X, y=None):
        return float((estimator.predict(X) == 2).mean())

    with sklearn.config_context(enable_metadata_routing=True):
        clf = quick(abstain_label=None).set_fit_request(sample_weight=True)
        clf.set_score_request(sample_weight=True)
        pipe = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), clf)
        search = GridSearchCV(pipe, {"costsensitivesmoothedclassifier__lr": [0.02, 0.03]}, cv=2)
        shares = {}
        for name, params in {"weighted": {"sample_weight": weight}, "even": {}}.items():
            if how == "pipeline":
                shares[name] = share_of_two(pipe.fit(X, y, **params), X)
            elif how == "search":
                shares[name] = share_of_two(search.fit(X, y, **params), X)
            else:
                scores = cross_val_score(pipe, X, y, cv=2, scoring=share_of_two, params=params)
                shares[name] = scores.mean()
    assert shares["even"] > 0.2
    assert shares["weighted"] == 0


def test_weights_that_nobody_asked_for_are_refused(iris):
    X, y = iris
    with sklearn.config_context(enable_metadata_routing=True):
        pipe = make_pipeline(StandardScaler(), quick(max_epochs=1))
        with pytest.raises(ValueError, match="sample_weight"):
            pipe.fit(X, y, sample_weight=np.ones(len(y)))


def test_certified_cross_validation_under_metadata_routing(iris):
    X, y = iris
    weight = np.where(y == 1, 2.0, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=True)
        pipe = make_pipeline(scaler, quick().set_fit_request(sample_weight=True))
        scores = cross_validate(
            pipe,
            X,
            y,
            cv=3,
            scoring=certified_scorer(0.2).set_score_request(sample_weight=True),
            params={"sample_weight": weight},
            return_estimator=True,
        )
        single = cross_val_score(pipe, X, y, cv=3, scoring=rob_cs_scorer)
    assert single.shape == (3,)
    whole = scores["estimator"][0]
    radius = whole[-1].certify_radius(whole[:-1].transform(X), y)
    assert scores["test_rob_cs"].mean() == pytest.approx((radius[y == 1] > 0.2).mean(), abs=0.25)
    assert (scores["test_certified_accuracy"] <= scores["test_accuracy"]).all()


# ---------------------------------------------------------------- tables


@pytest.fixture(scope="module")
def patients():
    """A table with numbers of other units, string categories, and string labels."""
    rng = np.random.default_rng(0)
    n = 240
    table = pd.DataFrame(
        {
            "age": rng.integers(20, 90, n),
            "pressure": rng.normal(120, 20, n),
            "ward": rng.choice(["north", "south", "west"], n),
            "smoker": pd.Categorical(rng.choice(["yes", "no"], n)),
        }
    )
    risk = (table["age"] - 55) / 15 + 2 * (table["smoker"] == "yes") - 1
    labels = pd.Series(np.where(risk + rng.normal(0, 0.3, n) > 0, "ill", "well"), name="state")
    return table, labels


def table_pipeline(**params):
    columns = make_column_transformer(
        (StandardScaler(), ["age", "pressure"]),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["ward", "smoker"]),
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    return make_pipeline(columns, quick(cost_matrix={("ill", "well"): 10.0}, **params))


def test_a_table_with_string_categories_and_labels_is_learned_and_certified(patients):
    train, test, y_train, y_test = train_test_split(*patients, random_state=0)
    pipe = table_pipeline(max_epochs=25).fit(train, y_train)
    labels = pipe.predict(test)
    assert set(labels) <= {"ill", "well", "abstain"}
    assert np.mean(labels[labels != "abstain"] == y_test[labels != "abstain"]) > 0.85
    names = ["age", "pressure", "ward_north", "ward_south", "ward_west", "smoker_no", "smoker_yes"]
    assert list(pipe[-1].feature_names_in_) == names
    certificates = pipe[-1].certify(pipe[:-1].transform(test), y_test)
    assert (certificates.radius_group[y_test == "ill"] > 0.2).mean() > 0.5
    # A category that fit never saw is a row of zeros, not an error.
    assert len(pipe.predict(test.head(3).assign(ward="east"))) == 3
    score = cross_val_score(pipe, *patients, cv=3, scoring=certified_accuracy_scorer)
    assert (score > 0.5).all()


def test_a_sparse_table_is_refused_with_the_way_out(patients):
    table, labels = patients
    pipe = make_pipeline(OneHotEncoder(), quick(cost_matrix=None))
    with pytest.raises(TypeError, match="dense data is required"):
        pipe.fit(table[["ward", "smoker"]], labels)


def test_frames_with_other_names_are_refused_or_warned_of(iris):
    X, y = load_iris(return_X_y=True, as_frame=True)
    clf = quick(max_epochs=1).fit(X, y)
    calls = [clf.predict, clf.predict_proba, clf.abstains, clf.certify, clf.certify_radius]
    for call in calls:
        with pytest.raises(ValueError, match="feature names"):
            call(X.rename(columns={X.columns[0]: "other"}))
        with pytest.warns(UserWarning, match="does not have valid feature names"):
            call(X.to_numpy()[:2])
    with pytest.warns(UserWarning, match="was fitted without feature names"):
        quick(max_epochs=1).fit(*iris).predict(X.head(2))


def test_calibration_display_takes_the_shares_of_votes():
    X, y = load_breast_cancer(return_X_y=True)
    pipe = make_pipeline(StandardScaler(), quick(cost_matrix=None, sigma=0.5)).fit(X, y)
    display = CalibrationDisplay.from_estimator(pipe, X, y, n_bins=5)
    shares = pipe.predict_proba(X)
    np.testing.assert_array_equal(display.y_prob, shares[:, 1])
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    # Its curve, by hand: the share of class 1 in each fifth of the predicted shares.
    bins = np.clip(np.ceil(shares[:, 1] * 5 - 1e-9) - 1, 0, 4)
    expected = [y[bins == b].mean() for b in range(5) if (bins == b).any()]
    np.testing.assert_allclose(display.prob_true, expected)
    matplotlib.pyplot.close(display.figure_)


# ---------------------------------------------------------------- skorch


def test_callbacks_are_passed_through_and_the_callers_stay_fresh(iris):
    scheduler = LRScheduler("StepLR", step_size=2, gamma=0.1)
    stopping = EarlyStopping(monitor="train_loss", patience=3, threshold=0.9, sink=lambda text: 0)
    before = stopping.get_params()
    clf = quick(callbacks=[scheduler, ("stop", stopping)], max_epochs=50).fit(*iris)
    rates = [row["event_lr"] for row in clf.history_]
    np.testing.assert_allclose(rates, 0.02 * 0.1 ** (np.arange(len(rates)) // 2))
    # No epoch is 90 % better than the first, so that patience runs out after 3 more.
    assert len(clf.history_) == 4
    assert not hasattr(scheduler, "lr_scheduler_")
    assert stopping.get_params() == before
    assert not hasattr(stopping, "best_epoch_")


@pytest.mark.parametrize("split", ["stratified", "predefined"])
@pytest.mark.parametrize("as_dataset", [False, True])
def test_early_stopping_watches_a_validation_set(iris, split, as_dataset):
    X, y = torch.as_tensor(iris[0], dtype=torch.float32), torch.as_tensor(iris[1])
    if split == "stratified":
        train_split = ValidSplit(3, stratified=True)
    else:
        train_split = predefined_split(TensorDataset(X[::3], y[::3]))
    clf = quick(
        callbacks=[EarlyStopping(patience=2, load_best=True, sink=lambda text: 0)],
        net_params={"train_split": train_split},
        max_epochs=60,
        lr=0.2,
    ).fit(*((TensorDataset(X, y),) if as_dataset else iris))
    losses = [row["valid_loss"] for row in clf.history_]
    assert len(losses) < 60
    assert int(np.argmin(losses)) == len(losses) - 3


def test_training_goes_on_from_a_checkpoint(iris, tmp_path):
    def fitted(max_epochs):
        checkpoint = Checkpoint(dirname=tmp_path, monitor=None)
        return quick(
            callbacks=[
                ("resume", LoadInitState(checkpoint)),
                ("steps", LRScheduler("MultiStepLR", milestones=[4], gamma=0.1)),
                ("checkpoint", checkpoint),
            ],
            max_epochs=max_epochs,
        ).fit(*iris)

    first = fitted(3)
    saved = torch.load(tmp_path / "params.pt", weights_only=True)
    for name, weights in first.module_.state_dict().items():
        assert torch.equal(saved[name], weights)
    second = fitted(3)
    assert [row["epoch"] for row in second.history_] == [1, 2, 3, 4, 5, 6]
    assert second.history_[3]["train_loss"] < first.history_[0]["train_loss"]
    assert [row["train_loss"] for row in second.history_[:3]] == [
        row["train_loss"] for row in first.history_
    ]
    assert [row["event_lr"] for row in second.history_] == pytest.approx([0.02] * 4 + [0.002] * 2)


def test_epochs_are_scored_by_a_certified_metric_and_the_best_is_kept(iris, tmp_path):
    X_train, X_valid, y_train, y_valid = train_test_split(*iris, random_state=0)

    def certified_accuracy(net, X=None, y=None):
        now = CostSensitiveSmoothedClassifier.from_module(
            net.module_, classes=3, sigma=0.3, n_estimation=500, random_state=1
        )
        return now.score(X_valid, y_valid, metric="certified_accuracy", eps=0.2)

    scoring = EpochScoring(
        certified_accuracy, lower_is_better=False, on_train=True, use_caching=False
    )
    checkpoint = Checkpoint(
        monitor="certified_accuracy_best", dirname=tmp_path, load_best=True, sink=lambda text: 0
    )
    constant = {"max_epochs": 10, "lr": 0.05, "lr_schedule": None}
    clf = quick(callbacks=[scoring, checkpoint], **constant).fit(X_train, y_train)
    scores = [row["certified_accuracy"] for row in clf.history_]
    assert certified_accuracy(clf.net_) == scores[-1] == max(scores)
    assert scores.index(max(scores)) == len(scores) - 1 < 9  # history ends where the weights do
    # Looking on does not change what is trained.
    unseen = quick(**{**constant, "max_epochs": len(scores)}).fit(X_train, y_train)
    for one, other in zip(clf.module_.parameters(), unseen.module_.parameters(), strict=True):
        assert torch.equal(one, other)


def test_slice_datasets_take_part_in_searches_and_give_the_scores_of_arrays(iris):
    X, y = iris[0].astype(np.float32), iris[1]
    data = TensorDataset(torch.as_tensor(X), torch.as_tensor(y))
    X_slices, y_slices = SliceDataset(data, idx=0), SliceDataset(data, idx=1)
    search = GridSearchCV(
        quick(),
        {"sigma": [0.2, 0.4]},
        cv=2,
        scoring=certified_scorer(0.2, n_estimation=100),
        refit=best_under("rob_cs"),
        error_score="raise",
    )
    labels = np.asarray(y_slices)  # scikit-learn stratifies folds by an array of labels
    sliced = search.fit(X_slices, labels).cv_results_["mean_test_rob_cs"]
    predicted = search.predict(X_slices)
    np.testing.assert_array_equal(search.fit(X, y).cv_results_["mean_test_rob_cs"], sliced)
    np.testing.assert_array_equal(search.predict(X), predicted)
    scores = [
        cross_val_score(quick(n_estimation=100), data, labels, cv=2, scoring=rob_cs_scorer)
        for data in (X_slices, X)
    ]
    np.testing.assert_array_equal(*scores)
    direct = quick(max_epochs=2).fit(X_slices, y_slices)
    np.testing.assert_array_equal(
        direct.predict(X_slices), quick(max_epochs=2).fit(X, y).predict(X)
    )
