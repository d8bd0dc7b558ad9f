"""scikit-learn classifiers as the base."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from _small import NAMES, ListDataset, X, Y, wrap
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.tree_attacks import attack_trees
from smoothcs import CostSensitiveSmoothedClassifier, WeightedVotes, rob_cs_scorer
from smoothcs.votes import sample_votes

FOREST = RandomForestClassifier(15, min_samples_leaf=3)


def smoothed(model, **params):
    given = {"n_selection": 20, "n_estimation": 200, "n_prediction": 100, "random_state": 0}
    return CostSensitiveSmoothedClassifier(model, **{**given, "sigma": 0.3, **params})


class Recorder(ClassifierMixin, BaseEstimator):
    """Keeps what it was fitted on."""

    def fit(self, X, y, sample_weight=None):
        self.seen_, self.y_, self.weight_ = X, y, sample_weight
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


def test_the_base_is_a_clone_fitted_on_noisy_copies_of_every_row():
    model = Recorder()
    clf = smoothed(model, n_copies=200, noise_scale=[2.0, 0.0])
    clf.fit(X, NAMES[Y], sample_weight=np.arange(36))
    assert not hasattr(model, "seen_")
    fitted = clf.module_.estimator
    copies = fitted.seen_.reshape(200, 36, 2)
    assert (copies[..., 1] == X[:, 1]).all()
    noise = copies[..., 0] - X[:, 0]
    np.testing.assert_allclose(noise.std(), 0.6, rtol=0.03)
    np.testing.assert_allclose(noise.mean(), 0, atol=0.03)
    assert (fitted.y_.reshape(200, 36) == NAMES[Y]).all()
    assert (fitted.weight_.reshape(200, 36) == np.arange(36)).all()
    assert not hasattr(clf, "objective_")
    assert not hasattr(clf, "net_")
    again = clone(clf).fit(X, NAMES[Y])
    assert (again.module_.estimator.seen_ == fitted.seen_).all()


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        FOREST,
        HistGradientBoostingClassifier(max_iter=20, min_samples_leaf=5),
        make_pipeline(StandardScaler(), LogisticRegression()),
        GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2),
        KNeighborsClassifier(5),
    ],
    ids=lambda model: type(model).__name__,
)
def test_every_classifier_is_trained_predicts_certifies_and_decides(model):
    clf = smoothed(model).fit(X, NAMES[Y])
    assert (clf.predict(X) == NAMES[Y]).mean() > 0.95
    c = clf.certify(X, NAMES[Y])
    assert c.certified_accuracy(0.2) > 0.9
    assert clf.certify_at(X, NAMES[Y], 0.2, kinds=("standard",)).certified_accuracy(0.2) > 0.8
    ones = clf.set_params(decision=[1, 1, 1]).certify(X, NAMES[Y])
    np.testing.assert_array_equal(ones.votes, c.votes)
    plain = clf.set_params(sigma=1.5).certify(X)
    dogs = clf.set_params(decision={"dog": 1e8}).certify(X)
    assert dogs.votes[:, 1].mean() > plain.votes[:, 1].mean()
    clf = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(clf.certify(X).votes, dogs.votes)


def test_random_states_inside_the_model_follow_that_of_the_estimator():
    model = make_pipeline(StandardScaler(), RandomForestClassifier(5, max_features=1))
    first, again, other = (smoothed(model, random_state=k).fit(X, Y) for k in (0, 0, 1))
    inner = [clf.module_.estimator[-1].random_state for clf in (first, again, other)]
    assert inner[0] == inner[1] != inner[2]
    kept = smoothed(RandomForestClassifier(5, random_state=3)).fit(X, Y)
    assert kept.module_.estimator.random_state == 3
    assert model[-1].random_state is None


def test_categories_by_name_of_a_frame_reach_the_model():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 6, size=200)
    table = pd.DataFrame({"amount": rng.standard_normal(200), "job": codes})
    y = np.isin(codes, [1, 2, 5]).astype(int)
    trees = HistGradientBoostingClassifier(
        max_iter=10, max_leaf_nodes=3, categorical_features=["job"], min_samples_leaf=5
    )
    linear = make_pipeline(
        make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), ["job"]), remainder="passthrough"
        ),
        LogisticRegression(),
    )
    for model in (trees, linear):
        clf = smoothed(model, noise_scale={"job": 0}).fit(table, y)
        assert clf.certify(table, y).certified_accuracy(0.1) == 1.0
        # A model that was fitted on a frame before.
        table32 = table.astype(np.float32)
        wrapped = CostSensitiveSmoothedClassifier.from_module(
            clone(model).fit(table32, y),
            classes=2,
            noise_scale={"job": 0},
            n_estimation=200,
            random_state=0,
        )
        assert wrapped.certify(table, y).certified_accuracy(0.1) == 1.0
        with pytest.raises(ValueError, match="noise_scale names the column 'home'"):
            CostSensitiveSmoothedClassifier.from_module(
                clone(model).fit(table32, y), classes=2, noise_scale={"home": 0}
            )
    by_position = HistGradientBoostingClassifier(
        max_iter=10, max_leaf_nodes=3, categorical_features=[1], min_samples_leaf=5
    )
    clf = smoothed(by_position, noise_scale=[1, 0]).fit(table.to_numpy(), y)
    assert clf.certify(table.to_numpy(), y).certified_accuracy(0.1) == 1.0


def test_votes_do_not_depend_on_processes_or_batches():
    clf = smoothed(FOREST, decision={1: 2.0}).fit(X, Y)
    votes = clf.certify(X).votes
    for params in ({"vote_batch_size": 7}, {"n_jobs": 2}):
        np.testing.assert_array_equal(clone_of(clf, **params).certify(X).votes, votes)


def clone_of(clf, **params):
    return pickle.loads(pickle.dumps(clf)).set_params(**params)


def test_callables_get_large_batches_where_there_are_rows_to_fill_them():
    rows = []

    def classifier(batch):
        rows.append(len(batch))
        return np.zeros(len(batch), dtype=int)

    def largest(x, n):
        rows.clear()
        sample_votes(classifier, x, n, 1.0, n_classes=2, random_state=0)
        return max(rows)

    assert largest(np.zeros((40, 24)), 1000) == 8192
    assert largest(np.zeros((1, 24)), 100) == 1024
    assert largest(np.zeros((3, 24)), 1000) == 2048
    assert largest(np.zeros((40, 3072)), 100) == 256


def test_parameters_of_the_model_are_searched():
    grid = {"module__max_depth": [1, 4]}
    search = GridSearchCV(smoothed(FOREST), grid, cv=2, scoring=rob_cs_scorer).fit(X, Y)
    assert search.best_estimator_.module_.estimator.max_depth in (1, 4)


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "weights", "given", "message"),
    [
        ({"objective": "gaussian"}, None, X, "objective must be left at its default, 'margin-cs'"),
        ({"module": Ridge()}, None, X, "module must be a classifier; Ridge is not one"),
        ({"module": KNeighborsClassifier()}, 1, X, "KNeighborsClassifier, takes none in fit"),
        (
            {"module": make_pipeline(StandardScaler(), KNeighborsClassifier())},
            1,
            X,
            "Pipeline, takes none in fit",
        ),
        ({"module": RidgeClassifier(), "decision": {1: 2}}, None, X, "RidgeClassifier lacks"),
        ({"module": RidgeClassifier(), "decision": "min-cost"}, None, X, "RidgeClassifier lacks"),
        ({"n_copies": 0}, None, X, "n_copies must be an integer >= 1"),
        ({}, None, ListDataset(list(zip(X, Y, strict=True))), "not a Dataset"),
        ({"module": RandomForestClassifier}, None, X, "module must make an nn.Module"),
        ({"module": DummyClassifier(strategy="none")}, None, X, "strategy"),
    ],
)
def test_what_a_model_cannot_do_is_refused_and_nothing_changes(params, weights, given, message):
    state = np.random.RandomState(0)
    clf = smoothed(params.pop("module", LogisticRegression()), random_state=state, **params)
    before, drawn = dict(vars(clf)), state.get_state()[2]
    with pytest.raises((TypeError, ValueError), match=message):
        clf.fit(given, None if given is not X else Y, None if weights is None else np.ones(36))
    assert vars(clf) == before
    if "strategy" not in message and "nn.Module" not in message:  # found in training only
        assert state.get_state()[2] == drawn


def test_label_only_models_have_weighted_votes():
    clf = smoothed(RidgeClassifier(), decision=WeightedVotes({1: 3.0})).fit(X, Y)
    assert (clf.predict(X) == Y).mean() > 0.9


def test_weights_reach_the_last_step_of_a_pipeline():
    model = make_pipeline(StandardScaler(), Recorder())
    weights = np.arange(36.0)
    clf = smoothed(model, n_copies=2).fit(X, Y, weights)
    assert (clf.module_.estimator[-1].weight_ == np.tile(weights, 2)).all()
    with sklearn.config_context(enable_metadata_routing=True):
        model = make_pipeline(
            StandardScaler().set_fit_request(sample_weight=False),
            Recorder().set_fit_request(sample_weight=True),
        )
        clf = smoothed(model, n_copies=2).fit(X, Y, weights)
    assert (clf.module_.estimator[-1].weight_ == np.tile(weights, 2)).all()


def test_a_model_whose_labels_are_not_the_classes_is_refused():
    model = LogisticRegression().fit(X, NAMES[Y])
    for decision in (None, {"cow": 3}):
        clf = wrap(model, ["cat", "cow", "dog"], decision=decision)
        with pytest.raises(ValueError, match="module .* labels that classes lacks: 'fox'"):
            clf.predict(X)


# -- attacks -------------------------------------------------------------------------------------


def test_attacks_on_trees_flip_nothing_inside_certified_radii_and_something_beyond():
    found = attack_trees(n_inputs=700, n_votes=400, n_candidates=6, n_noise=32)
    print(found)
    assert found["certified"] >= 500
    assert found["flipped inside"] == 0
    assert found["flipped beyond"] >= 10
