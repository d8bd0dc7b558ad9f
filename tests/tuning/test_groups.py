"""Tuning where inputs come in groups: none is both trained and tuned on."""

import numpy as np
import pytest
import sklearn
from _small import X, Y, estimator
from sklearn.model_selection import GroupKFold, cross_validate
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from smoothcs import TunedDecisionClassifier, TunedWeightsClassifier, certified_scorer
from smoothcs.cost import as_cost_matrix
from smoothcs.tuning import tune_decision
from smoothcs.tuning._decision import _examples, _stratified

# Models are trained as little as the claims about them need.
pytestmark = pytest.mark.filterwarnings("ignore::smoothcs.exceptions.UninformativeWarning")

GROUPS = np.array([f"sign {i}" for i in np.arange(36) // 2])


@pytest.mark.parametrize("validation", [0.2, 0.5, 3, GroupKFold(3)])
def test_no_group_is_trained_and_tuned_on(validation):
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 60, 300)
    y = rng.integers(0, 3, 60)[groups]
    tuner = TunedDecisionClassifier(estimator(), validation=validation, random_state=0)
    splits = list(tuner._splits(y, groups))
    for train, held_out in splits:
        assert not set(groups[train]) & set(groups[held_out])
        assert len(train) + len(held_out) == 300
        shares = [np.mean(y[part] == 1) for part in (train, held_out)]
        assert abs(shares[0] - shares[1]) < 0.25
    if isinstance(validation, float):
        assert len(splits[0][1]) / 300 == pytest.approx(validation, abs=0.06)


@pytest.mark.parametrize("validation", [0.3, 4])
def test_copies_of_an_input_flatter_weights_unless_they_are_one_group(validation):
    # Labels are noise, and the classifier remembers: only copies can be "predicted".
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 2)), rng.integers(0, 2, 60)
    groups = np.repeat(np.arange(60), 4)
    tuner = TunedWeightsClassifier(
        KNeighborsClassifier(1), validation=validation, n_repeats=3, random_state=0
    )
    accuracy = [
        tuner.fit(x[groups], y[groups], groups=g).tuned_.baseline_accuracy for g in (None, groups)
    ]
    assert accuracy[0] > 0.9
    assert accuracy[1] < 0.7
    assert tuner.stability_.accuracy.max() < 0.75


def test_cross_fitting_keeps_groups_together():
    votes = np.random.default_rng(0).multinomial(100, [0.5, 0.3, 0.2], 60)
    groups = np.random.default_rng(1).integers(0, 12, 60)
    cost = as_cost_matrix({(0, 1): 1.0}, n_classes=3)
    y = np.random.default_rng(2).integers(0, 3, 60)
    examples = _examples(votes, y, cost, None, None, ("rob_cs", "accuracy"))
    codes = np.unique(groups, return_inverse=True)[1]
    folds = _stratified(examples, codes, 4)
    assert all(len(set(folds[groups == g])) == 1 for g in groups)
    assert len(set(folds[y == 0])) > 1
    tuned = tune_decision(votes, y, cost, 0.1, sigma=0.5, groups=groups)
    other = tune_decision(votes, y, cost, 0.1, sigma=0.5)
    assert tuned.baseline_metric == other.baseline_metric
    with pytest.raises(ValueError, match="of different groups; got 1"):
        tune_decision(votes, y, cost, 0.1, sigma=0.5, groups=(y != 0).astype(int))


def test_groups_reach_the_tuner_through_pipelines_and_folds():
    tuner = TunedDecisionClassifier(estimator(), n_votes=20, validation=0.5, random_state=0)
    pipe = make_pipeline(StandardScaler(), tuner)
    pipe.fit(X, Y, tuneddecisionclassifier__groups=GROUPS)
    with sklearn.config_context(enable_metadata_routing=True):
        tuner.set_fit_request(groups=True)
        scores = cross_validate(
            pipe, X, Y, cv=GroupKFold(2), scoring=certified_scorer(0.3), error_score="raise",
            params={"groups": GROUPS},
        )  # fmt: skip
    assert np.isfinite(scores["test_rob_cs"]).all()


def test_prefit_estimators_and_weights_of_0_go_with_groups():
    weight = (np.arange(36) % 4 > 0).astype(float)
    fitted = estimator().fit(X, Y)
    tuned = TunedDecisionClassifier(fitted, n_votes=20, validation="prefit", random_state=0)
    assert tuned.fit(X, Y, weight, groups=GROUPS).score(X, Y) >= 0
    split = TunedDecisionClassifier(estimator(), n_votes=20, validation=0.3, random_state=0)
    assert split.fit(X, Y, weight, groups=GROUPS).score(X, Y) >= 0


def test_groups_are_checked():
    tuner = TunedDecisionClassifier(estimator(), n_votes=20)
    with pytest.raises(ValueError, match="groups must hold one label per input, 36; got 35"):
        tuner.fit(X, Y, groups=GROUPS[:-1])
    with pytest.raises(ValueError, match="at least 2 groups"):
        tuner.fit(X, Y, groups=np.zeros(36))
