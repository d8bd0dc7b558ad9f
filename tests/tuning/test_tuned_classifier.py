"""TunedDecisionClassifier: what is tuned, on which inputs, and what uses the result."""

import copy
import pickle

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, PredefinedSplit, StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.utils.data import TensorDataset

from smoothcs import (
    CostSensitiveSmoothedClassifier,
    TunedDecisionClassifier,
    WeightedVotes,
    best_under,
    certified_scorer,
    sample_votes,
)
from smoothcs.plotting import FrontierDisplay
from smoothcs.tuning import sample_scores, tune_decision
from smoothcs.tuning._scores import draw_scores

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COSTS = {("bad", "good"): 10.0}


@pytest.fixture(scope="module")
def data():
    X, y = make_classification(400, 6, n_informative=3, class_sep=0.7, flip_y=0.1, random_state=0)
    return X.astype(np.float32), np.array(["good", "bad"])[y]


def base(**params):
    defaults = {
        "cost_matrix": COSTS,
        "objective": "gaussian",
        "sigma": 0.4,
        "lr": 0.02,
        "max_epochs": 8,
        "n_estimation": 300,
        "n_prediction": 200,
        "random_state": 0,
    }
    return CostSensitiveSmoothedClassifier(**(defaults | params))


def tuner(estimator=None, **params):
    defaults = {"n_votes": 100, "max_accuracy_loss": 0.05, "validation": 0.4, "random_state": 0}
    return TunedDecisionClassifier(base() if estimator is None else estimator, **defaults | params)


@pytest.fixture(scope="module")
def tuned(data):
    return tuner().fit(*data)


# -- what is tuned, and on what -----------------------------------------------------------------


@pytest.mark.parametrize("weigh", ["scores", "votes"])
def test_weights_are_those_of_the_held_out_part(data, weigh):
    X, y = data
    train, held_out = np.arange(len(y)) % 4 > 0, np.arange(len(y)) % 4 == 0
    split = PredefinedSplit(np.where(held_out, 0, -1))
    limits = {"eps": 0.3, "max_accuracy_loss": 0.15}
    clf = tuner(validation=split, refit=False, weigh=weigh, **limits).fit(X, y)
    expected = base().fit(X[train], y[train])
    for a, b in zip(
        clf.estimator_.module_.parameters(), expected.module_.parameters(), strict=True
    ):
        assert torch.equal(a, b)
    # The noise is a secret of the tuner: other votes of the same inputs tune nearly the same.
    if weigh == "scores":
        drawn = sample_scores(expected, X[held_out], 300, random_state=7)
    else:
        drawn = sample_votes(expected.module_, X[held_out], 300, 0.4, random_state=7)
    other = tune_decision(
        drawn, y[held_out], expected.cost_matrix_, sigma=0.4, alpha=0.001, **limits
    )
    assert clf.tuned_.weigh == other.weigh == weigh
    assert clf.tuned_.eps == 0.3
    assert clf.tuned_.baseline_accuracy == pytest.approx(other.baseline_accuracy, abs=0.04)
    assert clf.tuned_.baseline_metric == pytest.approx(other.baseline_metric, abs=0.12)
    assert clf.label_weights_["bad"] / clf.label_weights_["good"] > 1
    assert clf.best_score_ == clf.tuned_.metric_cv >= clf.tuned_.baseline_metric


def test_noise_of_tuning_scores_is_not_that_of_any_certificate(data, monkeypatch):
    import smoothcs.tuning._classifier as module

    drawn = []

    def spy(*args):
        drawn.append(args)
        return draw_scores(*args)

    monkeypatch.setattr(module, "draw_scores", spy)
    fitted = base(n_selection=300).fit(*data)
    clf = tuner(validation="prefit", estimator=fitted, n_votes=300).fit(*data)
    ((_, _, _, purpose, key),) = drawn
    assert key != clf.estimator_.vote_key_
    X = data[0]

    def votes_with(key):
        ones = sample_scores(fitted, X, 300, purpose=purpose, random_state=key).argmax(axis=2)
        return np.stack([(ones == 0).sum(axis=1), (ones == 1).sum(axis=1)], axis=1)

    c = fitted.certify(X)
    for votes in (c.votes, c.selection_votes, fitted.predict_proba(X) * 300):
        assert (votes != votes_with(key)).any(axis=1).mean() > 0.3
    # The noise alone is what differs; float16 may turn a copy on the boundary.
    assert np.abs(votes_with(clf.estimator_.vote_key_) - c.votes).max() <= 3


def test_noise_of_tuning_votes_is_not_that_of_any_certificate(data, monkeypatch):
    # Otherwise certificates of validation inputs would rest on votes that chose the weights.
    import smoothcs._estimator._voting as module

    drawn = []

    def spy(*args, **kwargs):
        drawn.append((args, kwargs))
        return sample_votes(*args, **kwargs)

    monkeypatch.setattr(module, "sample_votes", spy)
    fitted = base(n_selection=300).fit(*data)
    clf = tuner(validation="prefit", estimator=fitted, n_votes=300, weigh="votes").fit(*data)
    ((args, kwargs),) = drawn
    monkeypatch.undo()
    tuning = sample_votes(*args, **kwargs)
    c = clf.certify(data[0])
    for votes in (c.votes, c.selection_votes, clf.predict_proba(data[0]) * 300):
        assert (votes != tuning).any(axis=1).mean() > 0.3
    again = sample_votes(*args, **kwargs | {"random_state": clf.estimator_.vote_key_})
    np.testing.assert_array_equal(again, c.votes)  # the noise alone is what differs


def test_refit_trains_on_everything_and_keeps_the_weights(data, tuned):
    whole = base().fit(*data)
    for a, b in zip(tuned.estimator_.module_.parameters(), whole.module_.parameters(), strict=True):
        assert torch.equal(a, b)
    part = tuner(refit=False).fit(*data)
    assert part.label_weights_ == tuned.label_weights_
    assert any(
        not torch.equal(a, b)
        for a, b in zip(
            part.estimator_.module_.parameters(), whole.module_.parameters(), strict=True
        )
    )


def test_folds_let_every_example_vote_once(data):
    X, y = data
    clf = tuner(validation=3).fit(X, y)
    # Accuracy is a share of all examples, not of a fifth of them.
    share = clf.tuned_.baseline_accuracy * len(y)
    assert share == pytest.approx(round(share))
    assert tuner(validation=3).fit(X, y).label_weights_ == clf.label_weights_
    shuffled = StratifiedShuffleSplit(2, test_size=0.3, random_state=0)
    assert tuner(validation=shuffled).fit(X, y).label_weights_


def test_a_fitted_estimator_is_tuned_as_it_is_and_left_alone(data):
    X, y = data
    fitted = base().fit(X[:250], y[:250])
    clf = tuner(fitted, validation="prefit").fit(X[250:], y[250:])
    assert fitted.decision is None
    assert clf.estimator_.decision == clf.label_weights_
    assert clf.label_weights_ != {"bad": 1.0, "good": 1.0}
    assert clf.estimator_.vote_key_ == fitted.vote_key_


# -- what uses the result -----------------------------------------------------------------------


@pytest.mark.parametrize("weigh", ["scores", "votes"])
def test_everything_follows_the_tuned_weights(data, weigh):
    tuned = tuner(weigh=weigh).fit(*data)
    weights = tuned.label_weights_
    decision = weights if weigh == "scores" else WeightedVotes(weights)
    direct = base(decision=decision).fit(*data)
    plain = base().fit(*data)
    X, y = data[0][:80], data[1][:80]
    np.testing.assert_array_equal(tuned.predict(X), direct.predict(X))
    assert (tuned.predict(X) != plain.predict(X)).any()
    np.testing.assert_array_equal(tuned.abstains(X), direct.abstains(X))
    np.testing.assert_array_equal(tuned.predict_proba(X), direct.predict_proba(X))
    np.testing.assert_array_equal(
        tuned.certify(X, y).radius_group, direct.certify(X, y).radius_group
    )
    np.testing.assert_array_equal(tuned.certify_radius(X), direct.certify_radius(X))
    assert tuned.score(X, y) == direct.score(X, y) > plain.score(X, y)
    report = tuned.certified_report(X, y)
    assert report["rob_cost"] == direct.certified_report(X, y)["rob_cost"]
    assert certified_scorer(0.4)(tuned, X, y)["rob_cs"] == report["rob_cs"]
    assert tuned.classes_.tolist() == ["bad", "good"]
    assert tuned.n_features_in_ == 6


def test_eps_of_the_tuner_is_that_of_its_scores(data):
    X, y = data
    clf = tuner(eps=0.2).fit(X, y)
    assert clf.tuned_.eps == clf.certified_report(X[:20], y[:20])["eps"] == 0.2
    assert tuner(base(eps=0.3)).fit(X, y).tuned_.eps == 0.3


def test_another_point_of_the_frontier_is_picked_without_training(data, tuned):
    X, y = data
    clf = pickle.loads(pickle.dumps(tuned))
    X, y = X[:100], y[:100]
    before = clf.score(X, y)
    assert clf.pick(max_accuracy_loss=0.3) is clf
    assert clf.score(X, y) > before
    assert clf.estimator_.decision == clf.label_weights_
    assert clf.label_weights_ == clf.tuned_.label_weights
    assert clf.best_score_ > tuned.best_score_
    clf.pick(max_accuracy_loss=0.05)
    assert clf.label_weights_ == tuned.label_weights_
    with pytest.raises(ValueError, match="min_accuracy"):
        clf.pick(min_accuracy=1.0)
    assert clf.label_weights_ == tuned.label_weights_


def test_an_objective_of_costs_is_made_smaller(data):
    clf = tuner(objective="rob_cost").fit(*data)
    assert clf.best_score_ < clf.tuned_.baseline_metric


def test_pipelines_inside_and_outside(data):
    X, y = data
    inside = tuner(make_pipeline(StandardScaler(), base())).fit(10 * X, y)
    Z = inside.estimator_[:-1].transform(10 * X)
    np.testing.assert_array_equal(inside.predict(10 * X), inside.estimator_[-1].predict(Z))
    assert inside.estimator_[-1].decision == inside.label_weights_
    outside = make_pipeline(StandardScaler(), tuner()).fit(10 * X, y)
    assert outside[-1].label_weights_
    X, y = 10 * X[:60], y[:60]
    for pipe in (inside, outside):
        assert certified_scorer(0.4)(pipe, X, y)["rob_cs"] == pipe.score(X, y)


def test_grid_search_over_what_is_tuned(data):
    grid = {"estimator__sigma": [0.3, 0.4], "max_accuracy_loss": [0.0, 0.1]}
    search = GridSearchCV(
        tuner(eps=0.3),
        grid,
        scoring=certified_scorer(0.3, n_estimation=150),
        refit=best_under("rob_cs"),
        cv=2,
        error_score="raise",
    ).fit(*data)
    rob_cs = search.cv_results_["mean_test_rob_cs"].reshape(2, 2)
    assert (rob_cs[:, 1] >= rob_cs[:, 0]).all()
    assert len(set(rob_cs.ravel())) > 1
    display = FrontierDisplay.from_estimator(search)
    assert display.tuned is search.best_estimator_.tuned_
    plt.close("all")


def test_frames_tensors_and_data_sets_give_the_same_weights(data, tuned):
    X, y = data
    frame = pd.DataFrame(X, columns=list("abcdef"))
    named = tuner().fit(frame, y)
    assert named.feature_names_in_.tolist() == list("abcdef")
    assert named.label_weights_ == tuned.label_weights_
    assert tuner().fit(torch.tensor(X), y).label_weights_ == tuned.label_weights_
    codes = (y == "good").astype(int)
    clf = tuner(base(cost_matrix={(0, 1): 10.0}))
    dataset = TensorDataset(torch.tensor(X), torch.tensor(codes))
    from_dataset = clf.fit(dataset)
    assert list(from_dataset.label_weights_.values()) == list(tuned.label_weights_.values())
    assert from_dataset.score(dataset) == clone(clf).fit(X, codes).score(X, codes)


# -- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"estimator": StandardScaler()}, "estimator must be a CostSensitiveSmoothedClassifier"),
        (
            {"estimator": base(decision=WeightedVotes({"bad": 2}))},
            "decision of the estimator must be None",
        ),
        ({"estimator": base(bound="paper"), "weigh": "votes"}, "bound='paper'"),
        ({"weigh": "logits"}, "weigh must be one of"),
        ({"objective": "cost"}, "objective must be one of"),
        ({"max_cost_increase": -2}, "max_cost_increase must be"),
        ({"eps": 0.0}, "eps must be"),
        ({"objective": "accuracy"}, "objective must be one of"),
        ({"max_accuracy_loss": -0.1}, "max_accuracy_loss must be"),
        ({"min_accuracy": 2.0}, "min_accuracy must be"),
        ({"min_accuracy": 0.9999}, "no weights reach min_accuracy"),
        ({"n_votes": 0}, "n_votes must be"),
        ({"refit": "no"}, "refit must be one of"),
        ({"validation": "test"}, r"validation must be one of \['prefit'\]"),
        ({"validation": 1}, "validation must be an integer >= 2"),
        ({"validation": 1.0}, "validation must be a finite number"),
        ({"validation": 3, "refit": False}, "refit=False keeps the one copy"),
        ({"estimator": base(cost_matrix={("worse", "good"): 1.0})}, "worse"),
    ],
)
def test_bad_parameters_are_refused_and_leave_nothing_behind(data, params, message):
    clf = tuner(**params)
    with pytest.raises((ValueError, TypeError), match=message):
        clf.fit(*data)
    assert not hasattr(clf, "estimator_")
    assert not hasattr(clf, "tuned_")


def test_other_refusals(data):
    X, y = data
    with pytest.raises(NotFittedError):
        tuner().predict(X)
    with pytest.raises(NotFittedError):
        tuner(validation="prefit").fit(X, y)
    with pytest.raises(NotFittedError):
        tuner().pick(max_accuracy_loss=0.1)
    with pytest.raises(ValueError, match="leaves no example of 'bad' to train on"):
        tuner(validation=PredefinedSplit(np.where(y == "bad", 0, -1))).fit(X, y)
    only_good = np.flatnonzero(y == "good")[:10]
    with pytest.raises(ValueError, match="no example is of a sensitive class"):
        tuner(validation=[(np.setdiff1d(np.arange(len(y)), only_good), only_good)]).fit(X, y)
    one = np.append(only_good, np.flatnonzero(y == "bad")[0])
    with pytest.raises(ValueError, match="at least 2 examples of sensitive classes"):
        tuner(validation=[(np.setdiff1d(np.arange(len(y)), one), one)]).fit(X, y)


# -- the display --------------------------------------------------------------------------------


def test_the_display_shows_the_frontier_and_the_choice(tuned):
    t = tuned.tuned_
    display = FrontierDisplay.from_estimator(tuned)
    np.testing.assert_array_equal(display.line_.get_xdata(), t.frontier_metric_cv)
    np.testing.assert_array_equal(display.line_.get_ydata(), t.frontier_accuracy_cv)
    assert (display.plurality_.get_xdata()[0], display.plurality_.get_ydata()[0]) == (
        t.baseline_metric,
        t.baseline_accuracy,
    )
    assert (display.chosen_.get_xdata()[0], display.chosen_.get_ydata()[0]) == (
        t.metric_cv,
        t.accuracy_cv,
    )
    inside = set(zip(t.frontier_metric, t.frontier_accuracy, strict=True))
    assert set(zip(*display.in_sample_.get_data(), strict=True)) <= inside
    assert (np.diff(display.in_sample_.get_xdata()) > 0).all()
    assert "eps = 0.4" in display.ax_.get_xlabel()
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts[0] == "CostSensitiveSmoothedClassifier"
    plt.close("all")


def test_models_on_one_axes_are_told_apart_and_other_metrics_refused(tuned):
    first = FrontierDisplay.from_tuned(tuned.tuned_, name="a")
    second = FrontierDisplay.from_tuned(tuned.tuned_, name="b", ax=first.ax_, ls="-.")
    for style in ("color", "marker"):
        assert getattr(first.line_, f"get_{style}")() != getattr(second.line_, f"get_{style}")()
    assert second.line_.get_linestyle() == "-."
    texts = [text.get_text() for text in second.ax_.get_legend().get_texts()]
    assert texts == ["a", "b", "equal weights", "weights chosen", "in-sample"]
    votes = [[9, 1], [4, 6], [5, 5], [8, 2]] * 5
    y = [0, 1, 1, 0] * 5
    other = tune_decision(votes, y, None, 0.1, sigma=0.5, cv=0)
    with pytest.raises(ValueError, match="ax holds frontiers of Rob_cs at eps = 0.4"):
        FrontierDisplay.from_tuned(other, ax=first.ax_)
    alone = FrontierDisplay.from_tuned(other)
    assert alone.in_sample_ is None
    np.testing.assert_array_equal(alone.line_.get_ydata(), other.frontier_accuracy)
    plt.close("all")


def test_the_display_refuses_what_was_not_tuned(data):
    with pytest.raises(TypeError, match="estimator must be a TunedDecisionClassifier"):
        FrontierDisplay.from_estimator(base(max_epochs=1).fit(*data))
    with pytest.raises(TypeError, match="tuned must be a TunedDecision"):
        FrontierDisplay.from_tuned({"weights": 1})
    with pytest.raises(NotFittedError):
        FrontierDisplay.from_estimator(tuner())


def test_a_copy_keeps_its_weights_when_the_original_picks_others(data, tuned):
    X, y = data
    one, other = copy.copy(tuned), copy.copy(tuned)
    before = other.certify(X, y).rob_cs(0.5)
    one.pick(max_accuracy_loss=0.5)
    assert one.label_weights_ != other.label_weights_
    assert other.certify(X, y).rob_cs(0.5) == before
    inside = one.certify(X, y).decision.inside
    assert inside.weights.tolist() == list(one.label_weights_.values())


def test_few_votes_do_not_promise_what_many_do_not_keep(data):
    X, y = data
    clf = base(n_estimation=10_000).fit(X, y)
    certificates = clf.certify(X, y)
    for eps in (0.4, 1.1):
        few = tuner(clf, validation="prefit", n_votes=20, eps=eps).fit(X, y)
        assert few.tuned_.baseline_metric <= certificates.rob_cs(eps) + 0.02


def test_an_empty_list_of_splits_is_refused(data):
    with pytest.raises(ValueError, match="validation holds no split"):
        tuner(validation=[]).fit(*data)
