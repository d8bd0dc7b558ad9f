"""The estimator: what it learns, what it answers, and what it refuses."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import TensorDataset

from smoothcs import (
    CertificationInterrupted,
    CostMatrix,
    CostSensitiveSmoothedClassifier,
    sample_votes,
)
from smoothcs.certification import certify_votes
from smoothcs.exceptions import UnreachableRadiusWarning
from smoothcs.objectives import OBJECTIVES, Gaussian, MarginCS


def quick(**params):
    defaults = {
        "objective": "gaussian",
        "sigma": 0.3,
        "lr": 0.01,
        "max_epochs": 15,
        "n_estimation": 400,
        "n_prediction": 300,
        "random_state": 0,
    }
    return CostSensitiveSmoothedClassifier(**{**defaults, **params})


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def fitted(iris):
    return quick(cost_matrix={(1, 2): 5.0}).fit(*iris)


def with_params(clf, **params):
    return pickle.loads(pickle.dumps(clf)).set_params(**params)


@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
def test_every_objective_learns_real_data_under_noise(objective):
    X, y = load_digits(return_X_y=True)
    X = X / 16
    clf = quick(objective=objective, sigma=0.25, lr=0.005, max_epochs=6)
    clf.fit(X[:1200], y[:1200])
    assert np.mean(clf.predict(X[1200:1400]) == y[1200:1400]) > 0.7


def test_certificates_are_those_of_the_votes_drawn_with_the_fitted_key(fitted, iris):
    X, y = iris
    votes = [
        sample_votes(
            fitted.module_,
            X[:20].astype(np.float32),
            n,
            0.3,
            purpose=purpose,
            random_state=fitted.vote_key_,
        )
        for n, purpose in ((100, "selection"), (400, "estimation"))
    ]
    got = fitted.certify(X[:20], y[:20])
    expected = certify_votes(
        *votes,
        sigma=0.3,
        cost_matrix=fitted.cost_matrix_,
        y=y[:20],
        input_error=got.input_error,
    )
    np.testing.assert_array_equal(got.radius_group, expected.radius_group)
    np.testing.assert_array_equal(got.votes, expected.votes)


def test_certify_does_not_depend_on_order_subset_or_batch_size(fitted, iris):
    X, y = iris[0][::3], iris[1][::3]
    whole = fitted.certify(X, y).votes
    order = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_array_equal(fitted.certify(X[order], y[order]).votes, whole[order])
    np.testing.assert_array_equal(fitted.certify(X[7:11], y[7:11]).votes, whole[7:11])
    for batch_size, size in ((1, 5), (37, len(X)), (4096, len(X))):
        other = with_params(fitted, vote_batch_size=batch_size)
        np.testing.assert_array_equal(other.certify(X[:size], y[:size]).votes, whole[:size])


def test_one_and_two_jobs_draw_the_same_votes(fitted, iris):
    X, _y = iris
    two = with_params(fitted, n_jobs=2)
    np.testing.assert_array_equal(two.certify(X[:30]).votes, fitted.certify(X[:30]).votes)


def test_selection_estimation_and_prediction_votes_do_not_share_noise(fitted, iris):
    X = iris[0][60:140]  # where classes overlap, so that votes are spread
    fitted = with_params(fitted, n_selection=400, n_estimation=400, n_prediction=400)
    certificates, prediction = fitted.certify(X), fitted.predict_proba(X) * 400
    assert (certificates.selection_votes != certificates.votes).any()
    assert (certificates.votes != prediction.round()).any()


def test_same_random_state_same_model_and_none_draws_a_new_key(iris):
    first, second = (quick(max_epochs=2).fit(*iris) for _ in range(2))
    for a, b in zip(first.module_.parameters(), second.module_.parameters(), strict=True):
        assert torch.equal(a, b)
    assert first.vote_key_ == second.vote_key_
    keys = {quick(max_epochs=1, random_state=None).fit(*iris).vote_key_ for _ in range(2)}
    assert len(keys) == 2


def test_threads_that_train_at_a_time_make_the_models_of_one_after_another(iris):
    def module():
        return nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 3))

    def weights(seed):
        clf = quick(module=module, random_state=seed, max_epochs=4, batch_size=16).fit(*iris)
        return torch.cat([p.detach().flatten() for p in clf.module_.parameters()])

    alone = [weights(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(weights, range(4)))
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one, other)


def test_fit_leaves_the_global_random_state_alone(iris):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    quick(max_epochs=1).fit(*iris)
    assert torch.equal(torch.rand(3), expected)


def test_predict_abstains_where_the_vote_is_close_and_only_there(fitted, iris):
    X, _ = iris
    labels, abstained = fitted.predict(X), fitted.abstains(X)
    assert abstained.any()
    assert not abstained.all()
    assert set(labels[abstained]) == {-1}
    expected = fitted.classes_[fitted.predict_proba(X).argmax(axis=1)]
    np.testing.assert_array_equal(labels[~abstained], expected[~abstained])
    always = clone(fitted).set_params(abstain_label=None).fit(*iris)
    np.testing.assert_array_equal(always.predict(X), expected)


def test_string_labels_widen_to_hold_the_abstain_label(iris):
    X, y = iris
    names = np.array(["se", "ve", "vi"])[y]
    clf = quick(cost_matrix={("ve", "vi"): 2.0}).fit(X, names)
    labels = clf.predict(X)
    assert set(labels) == {"se", "ve", "vi", "abstain"}
    assert clf.cost_matrix_.matrix[1, 2] == 2.0


def test_without_labels_the_row_of_the_predicted_class_applies(fitted, iris):
    X, _y = iris
    deployed = fitted.certify(X)
    predicted_1 = (deployed.label == 1) & ~deployed.abstained
    assert np.isfinite(deployed.radius_group[predicted_1]).all()
    assert np.isnan(deployed.radius_group[deployed.label == 0]).all()
    np.testing.assert_array_equal(
        deployed.radius_group[predicted_1],
        fitted.certify(X[predicted_1], np.ones(predicted_1.sum(), int)).radius_group,
    )


def test_report_and_score_agree_and_state_every_metric(fitted, iris):
    X, y = iris
    report = fitted.certified_report(X, y)
    for metric in ("rob_cs", "rob_cost", "certified_accuracy"):
        assert fitted.score(X, y, metric=metric) == report[metric]
    assert {
        "rob_cs",
        "rob_cost",
        "accuracy",
        "certified_accuracy",
        "rob_cs_standard",
        "rob_standard_nonsensitive",
        "abstention_rate",
        "misclassification_cost",
        "precision",
        "recall",
        "clean_error_matrix",
        "robust_error_matrix",
    } <= set(report)
    assert report["n_sensitive"] == 50
    with pytest.warns(UnreachableRadiusWarning, match=r"the largest radius is 0\.6\d+"):
        assert fitted.score(X, y, eps=10.0) == 0.0


def test_score_weights_examples(fitted, iris):
    X, y = iris[0][50:150], iris[1][50:150]
    twice = np.r_[np.arange(100), np.arange(20)]
    weights = np.where(np.arange(100) < 20, 2.0, 1.0)
    for metric in ("rob_cs", "rob_cost", "certified_accuracy"):
        assert fitted.score(X, y, weights, metric=metric) == pytest.approx(
            fitted.score(X[twice], y[twice], metric=metric)
        )


def test_a_zero_weight_takes_an_example_out_of_training(iris):
    X, y = iris
    flipped = np.where(np.arange(150) % 2 == 0, y, (y + 1) % 3)
    weights = (np.arange(150) % 2 == 0).astype(float)
    clf = quick(max_epochs=40, abstain_label=None).fit(X, flipped, sample_weight=weights)
    assert np.mean(clf.predict(X) == y) > 0.85


class SmallConv(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.LazyLinear(n_classes)
        )
        self.layers(torch.zeros(2, 1, 8, 8))

    def forward(self, x):
        return self.layers(x)


def test_images_with_a_module_class_tensors_and_arrays_alike():
    X, y = load_digits(return_X_y=True)
    images = (X / 16).reshape(-1, 1, 8, 8)
    clf = quick(module=SmallConv, max_epochs=4).fit(images[:600], y[:600])
    assert clf.input_shape_ == (1, 8, 8)
    votes = clf.certify(images[600:620]).votes
    tensors = torch.as_tensor(images[600:620], dtype=torch.float32)
    np.testing.assert_array_equal(clf.certify(tensors).votes, votes)
    assert np.mean(clf.predict(images[600:700]) == y[600:700]) > 0.6
    with pytest.raises(ValueError, match=r"shape \(1, 4, 8\).*\(1, 8, 8\)"):
        clf.predict(images[:3, :, :4])


def test_a_module_instance_is_copied_not_trained_in_place(iris):
    module = nn.Linear(4, 3)
    before = module.weight.detach().clone()
    quick(module=module).fit(*iris)
    assert torch.equal(module.weight, before)


def test_a_dataset_serves_fit_predict_and_certify(iris):
    X, y = iris
    data = TensorDataset(torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(y))
    clf = quick().fit(data)
    array = quick().fit(X, y)
    assert np.mean(clf.predict(data) == array.predict(X)) > 0.9
    np.testing.assert_array_equal(clf.certify(data).votes, clf.certify(X).votes)
    assert clf.certified_report(data)["accuracy"] > 0.5


@pytest.mark.filterwarnings("ignore::smoothcs.exceptions.UninformativeWarning")
def test_frames_keep_their_feature_names(iris):
    X, y = load_iris(return_X_y=True, as_frame=True)
    clf = quick(max_epochs=1).fit(X, y)
    assert list(clf.feature_names_in_) == list(X.columns)
    # Warnings are errors here: no method may lose the names on its way.
    clf.score(X, y)
    clf.certified_report(X, y)
    clf.predict_proba(X)
    with pytest.raises(ValueError, match="feature names"):
        clf.predict(X[X.columns[::-1]])
    assert isinstance(X, pd.DataFrame)


def test_pickle_and_deepcopy_keep_predictions_and_certificates(fitted, iris):
    X, y = iris
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(X), fitted.predict(X))
    np.testing.assert_array_equal(
        again.certify(X[:9], y[:9]).radius_group, fitted.certify(X[:9], y[:9]).radius_group
    )
    assert not hasattr(again, "net_")
    assert not hasattr(clone(fitted), "module_")


def test_warm_start_goes_on_from_the_weights(iris):
    X, y = iris
    clf = quick(max_epochs=3, warm_start=True).fit(X, y)
    first = clf.history_[-1]["train_loss"]
    clf.fit(X, y)
    assert len(clf.history_) == 6
    assert clf.history_[-1]["train_loss"] < first
    with pytest.raises(ValueError, match="warm_start"):
        clf.fit(X, y + 1)


def test_pipeline_certifies_in_the_units_of_the_last_step():
    X, y = load_breast_cancer(return_X_y=True)
    pipe = make_pipeline(StandardScaler(), quick(sigma=0.5, max_epochs=10)).fit(X, y)
    radius = pipe[-1].certify_radius(pipe[:-1].transform(X[:50]), y[:50])
    assert (radius > 0.5).mean() > 0.5
    assert pipe.score(X, y) > 0.5


# ---------------------------------------------------------------- a model one has already


def test_from_module_certifies_without_training(fitted, iris):
    X, y = iris
    clf = CostSensitiveSmoothedClassifier.from_module(
        fitted.module_,
        classes=3,
        cost_matrix={(1, 2): 5.0},
        sigma=0.3,
        n_estimation=400,
        n_prediction=300,
        random_state=0,
    )
    assert clf.vote_key_ == fitted.vote_key_
    assert clf.score(X, y) == fitted.score(X, y)
    np.testing.assert_array_equal(clf.predict(X), fitted.predict(X))


def test_from_module_takes_a_forest_with_string_labels(iris):
    X, y = iris
    names = np.array(["a", "b", "c"])[y]
    forest = RandomForestClassifier(10, random_state=0).fit(X, names)
    clf = CostSensitiveSmoothedClassifier.from_module(
        forest, classes=forest.classes_, sigma=0.1, n_estimation=100, random_state=0
    )
    assert clf.certified_report(X[::5], names[::5])["accuracy"] > 0.7


def test_from_module_keeps_the_order_of_the_outputs(fitted, iris):
    X, y = iris
    names = np.array(["z", "m", "a"])  # not sorted: column 0 is "z"
    clf = CostSensitiveSmoothedClassifier.from_module(
        fitted.module_,
        classes=names,
        cost_matrix={("m", "a"): 5.0},
        sigma=0.3,
        n_estimation=400,
        n_prediction=300,
        random_state=0,
    )
    np.testing.assert_array_equal(clf.predict(X), np.append(names, "abstain")[fitted.predict(X)])
    assert clf.score(X, names[y]) == fitted.score(X, y)


# ---------------------------------------------------------------- refusals


class WrongWidth(nn.Linear):
    def __init__(self):
        super().__init__(4, 7)


class NanLogits(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return torch.full((len(x), 3), float("nan")) * self.weight


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"sigma": 0.0}, ValueError, r"sigma .*got 0"),
        ({"sigma": -1}, ValueError, r"sigma"),
        ({"sigma": "big"}, TypeError, r"sigma"),
        ({"alpha": 0.0}, ValueError, r"alpha"),
        ({"alpha": 1.0}, ValueError, r"alpha"),
        ({"eps": -0.5}, ValueError, r"eps"),
        ({"n_estimation": 5}, ValueError, r"n_estimation=5 .*smallest that can is 10"),
        ({"n_selection": 0}, ValueError, r"n_selection"),
        ({"n_prediction": 2.5}, TypeError, r"n_prediction"),
        ({"cost_matrix": np.ones((2, 2)) - np.eye(2)}, ValueError, r"2.*3"),
        ({"cost_matrix": {(0, 9): 1.0}}, ValueError, r"9"),
        ({"objective": "margin"}, ValueError, r"'gaussian'.*'margin-cs'"),
        ({"objective": 3}, TypeError, r"objective"),
        ({"objective": Gaussian(weight_sensitive=0.5)}, ValueError, r"weight_sensitive"),
        ({"abstain_label": 2}, ValueError, r"abstain_label=2"),
        ({"bound": "tight"}, ValueError, r"bound.*'closed-form'"),
        ({"optimizer": "sgdd"}, ValueError, r"optimizer.*'sgd'"),
        ({"precision": "float8"}, ValueError, r"precision"),
        ({"device": "gpu"}, ValueError, r"device"),
        ({"device": "cuda:99"}, ValueError, r"cuda:99"),
        ({"lr": 0}, ValueError, r"lr"),
        ({"max_epochs": 0}, ValueError, r"max_epochs"),
        ({"module": WrongWidth}, ValueError, r"\(b, 3\).*\(1, 7\)"),
        ({"module": 5}, TypeError, r"module"),
        ({"module": NanLogits}, ValueError, r"module must return finite logits"),
    ],
)
def test_bad_parameters_are_refused_and_the_estimator_is_unchanged(iris, params, error, message):
    clf = quick(max_epochs=1).fit(*iris)
    before = clf.__dict__.copy()
    clf.set_params(**params)
    with pytest.raises(error, match=message):
        clf.fit(*iris)
    clf.set_params(**{name: before[name] for name in params})
    assert clf.__dict__ == before


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda X, y: (np.where(X > 7, np.nan, X), y), ValueError, "NaN"),
        (lambda X, y: (np.where(X > 7, np.inf, X), y), ValueError, "infinity"),
        (lambda X, y: (X, np.zeros_like(y)), ValueError, "one class"),
        (lambda X, y: (X, y[:-1]), ValueError, "149"),
        (lambda X, y: (X, None), ValueError, "y"),
        (lambda X, y: (X, y + 0.5), ValueError, "continuous"),
    ],
)
def test_bad_data_is_refused_and_the_estimator_is_unchanged(iris, change, error, message):
    clf = quick(max_epochs=1).fit(*iris)
    before = clf.__dict__.copy()
    with pytest.raises(error, match=message):
        clf.fit(*change(*iris))
    assert clf.__dict__ == before


def test_unseen_labels_and_wrong_widths_are_refused_after_fit(fitted, iris):
    X, y = iris
    with pytest.raises(ValueError, match=r"never saw: 7"):
        fitted.score(X, np.where(y == 0, 7, y))
    with pytest.raises(ValueError, match="3 features"):
        fitted.predict(X[:, :3])
    with pytest.raises(ValueError, match="NaN"):
        fitted.certify(np.full((2, 4), np.nan))
    with pytest.raises(ValueError, match="metric"):
        fitted.score(X, y, metric="acc")
    with pytest.raises(ValueError, match="kind"):
        fitted.certify_radius(X, kind="groups")


@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "abstains", "certify", "certify_radius"]
)
def test_an_unfitted_estimator_says_so(iris, method):
    with pytest.raises(NotFittedError):
        getattr(quick(), method)(iris[0])


def test_nan_logits_after_training_name_the_input(iris):
    class Sometimes(nn.Linear):
        def forward(self, x):
            out = super().forward(x)
            return torch.where(x[:, :1] > 7.5, torch.nan, out)

    X, _ = iris
    clf = CostSensitiveSmoothedClassifier.from_module(Sometimes(4, 3), classes=3, sigma=1e-3)
    assert X[117, 0] > 7.6
    assert (X[:117, 0] < 7.4).any()
    with pytest.raises(ValueError, match=r"(?i)nan|finite"):
        clf.predict(X[110:120])


@pytest.mark.parametrize(
    ("labels", "abstain_label"),
    [([-1, 1], "auto"), (["abstain", "go"], "auto"), ([False, True], "auto")],
)
def test_auto_abstain_label_asks_for_one_where_none_is_free(iris, labels, abstain_label):
    X, y = iris[0][:100], np.array(labels)[iris[1][:100]]
    with pytest.raises(ValueError, match="abstain_label"):
        quick(max_epochs=1, abstain_label=abstain_label).fit(X, y)
    quick(max_epochs=1, abstain_label=None).fit(X, y)


def test_nested_parameters_reach_an_objective_given_by_name():
    clf = quick(objective="margin-cs").set_params(objective__gamma_sensitive=3.0)
    assert isinstance(clf.objective, MarginCS)
    assert clf.objective.gamma_sensitive == 3.0
    with pytest.raises(ValueError, match="gamma_typo"):
        quick(objective="margin-cs").set_params(objective__gamma_typo=3.0)


def test_interrupted_training_leaves_the_estimator_as_it_was(iris):
    from skorch.callbacks import Callback

    class Interrupt(Callback):
        def on_epoch_end(self, net, **kwargs):
            raise KeyboardInterrupt

    clf = quick(max_epochs=1).fit(*iris)
    before = clf.__dict__.copy()
    clf.callbacks = [Interrupt()]
    with pytest.raises(KeyboardInterrupt):
        clf.fit(*iris)
    clf.callbacks = None
    assert clf.__dict__ == before


def test_cost_matrix_builders_are_aligned_at_fit(iris):
    X, y = iris
    clf = quick(max_epochs=1, cost_matrix=CostMatrix.seedwise([2], cost=4.0)).fit(X, y)
    np.testing.assert_array_equal(clf.cost_matrix_.matrix, [[0, 0, 0], [0, 0, 0], [4, 4, 0]])


# ---------------------------------------------------------------- decisions, tolerances, files


def test_decisions_agree_with_radii_and_cost_fewer_votes(fitted, iris):
    X, y = iris
    radii = with_params(fitted, n_estimation=20_000).certify(X, y)
    decided = fitted.certify_at(X, y, [0.1, 0.3], kinds=("group", "pair", "standard"), n_max=20_000)
    assert decided.n_used.mean() < 0.25 * 20_100
    sensitive = y == 1
    for e, eps in enumerate((0.1, 0.3)):
        for kind, certified in (
            ("group", decided.certified_group[:, e]),
            ("standard", decided.certified_standard[:, e]),
        ):
            radius = getattr(radii, f"radius_{kind}")[sensitive]
            clear = np.abs(radius - eps) > 0.02
            agree = (radius > eps)[clear] == certified[sensitive][clear]
            assert agree.mean() > 0.95
    assert decided.rob_cs(0.3) == pytest.approx(radii.rob_cs(0.3), abs=0.06)
    assert not decided.certified_group[~sensitive].any()  # no costly mistake exists
    with pytest.raises(ValueError, match=r"eps=0.2 was not decided.*\[0.1, 0.3\]"):
        decided.rob_cs(0.2)
    with pytest.raises(ValueError, match="abstained was not asked for"):
        decided.abstention_rate()


def test_decisions_are_the_same_from_two_processes(fitted, iris):
    X, y = iris[0][::4], iris[1][::4]
    one, two = (
        clf.certify_at(X, y, [0.1, 0.3], kinds=("group", "pair", "label"))
        for clf in (fitted, with_params(fitted, n_jobs=2))
    )
    for name in ("votes", "certified_group", "certified_pair", "abstained"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_a_sensitive_label_is_never_certified_by_a_decision(iris):
    X, y = iris

    def always_two(batch):
        return np.full(len(batch), 2)

    clf = CostSensitiveSmoothedClassifier.from_module(
        always_two, classes=3, cost_matrix={(1, 2): 1.0}, sigma=0.3, random_state=0
    )
    report = clf.certified_report(X, y)
    assert report["rob_cs"] == 0.0
    assert report["rob_cost"] == 1.0
    assert report["rob_cs_standard"] == 0.0
    assert report["accuracy"] == pytest.approx(1 / 3)


def test_radius_tol_stops_early_with_nearly_the_full_radius(fitted, iris):
    X, y = iris[0][50:150:2], iris[1][50:150:2]
    many = with_params(fitted, n_estimation=30_000)
    full, early = many.certify(X, y), many.certify(X, y, radius_tol=0.05)
    assert early.votes.sum() < 0.7 * full.votes.sum()
    assert (early.level <= early.alpha).all()
    sensitive = y == 1
    lost = full.radius_group[sensitive] - early.radius_group[sensitive]
    assert lost.mean() < 0.05
    assert np.isfinite(early.robust_error_matrix(0.1)[1, 2])


def test_plan_votes_separates_easy_from_hopeless_inputs(fitted, iris):
    X, y = iris[0][50:100], iris[1][50:100]
    plan = fitted.plan_votes(X, y, eps=[0.1, 3.0])
    assert plan.shape == (50, 2)
    assert (plan[:, 0] <= plan[:, 1]).all()
    assert np.isinf(plan[:, 1]).any()
    assert (plan[:, 0] < 1000).any()


def test_bounds_without_sequential_theory_refuse_to_decide(fitted, iris):
    X, y = iris
    paper = with_params(fitted, bound="paper")
    with pytest.raises(ValueError, match="certify_at needs bound='exact'"):
        paper.certify_at(X, y)
    with pytest.raises(ValueError, match="radius_tol needs bound='exact'"):
        paper.certify(X, y, radius_tol=0.1)
    with pytest.raises(ValueError, match="n_max=4 .*smallest that can is 10"):
        fitted.certify_at(X, y, n_max=4)
    assert paper.score(X, y) == paper.certify(X, y).rob_cs(0.3)


def radii(clf, X, y, **options):
    return clf.certify(X, y, **options)


def to_a_tolerance(clf, X, y, **options):
    return clf.certify(X, y, radius_tol=0.02, **options)


def at_eps(clf, X, y, **options):
    return clf.certify_at(X, y, **options)


@pytest.mark.parametrize("certify", [radii, at_eps, to_a_tolerance])
def test_an_interrupted_certify_hands_over_what_was_finished(iris, certify):
    X, y = iris

    class Interrupting(nn.Linear):
        calls = 0

        def forward(self, x):
            Interrupting.calls += 1
            if Interrupting.calls == Interrupting.stop_at:
                raise KeyboardInterrupt
            return super().forward(x)

    torch.manual_seed(0)
    clf = CostSensitiveSmoothedClassifier.from_module(
        Interrupting(4, 3),
        classes=3,
        sigma=0.3,
        vote_batch_size=256,
        n_estimation=2000,
        random_state=0,
    )
    Interrupting.stop_at = -1
    whole = certify(clf, X, y)
    Interrupting.stop_at = Interrupting.calls // 2
    Interrupting.calls = 0
    with pytest.raises(CertificationInterrupted) as caught:
        certify(clf, X, y)
    part = caught.value.certificates
    finished = part.votes.sum(axis=1) > 0
    assert 0 < finished.sum() < len(X)
    if certify is at_eps:
        assert not part.certified_group[~finished].any()
        np.testing.assert_array_equal(
            part.certified_group[finished], whole.certified_group[finished]
        )
    else:
        assert part.abstained[~finished].all()
        np.testing.assert_allclose(
            part.radius_group[finished], whole.radius_group[finished], rtol=1e-12
        )


@pytest.mark.parametrize("certify", [radii, at_eps])
def test_a_resume_file_gives_the_same_certificates_without_sampling_again(
    fitted, iris, tmp_path, certify
):
    X, y = iris
    first = certify(fitted, X, y, resume_from=tmp_path / "votes")
    size = (tmp_path / "votes").stat().st_size
    again = certify(fitted, X, y, resume_from=tmp_path / "votes")
    np.testing.assert_array_equal(again.votes, first.votes)
    assert (tmp_path / "votes").stat().st_size == size
    other = with_params(fitted, sigma=0.4)
    with pytest.raises(ValueError, match="sigma"):
        certify(other, X, y, resume_from=tmp_path / "votes")


@pytest.mark.cuda
def test_cuda_trains_and_votes_and_the_model_rests_on_the_cpu(iris):
    X, y = iris
    clf = quick(device="cuda").fit(X, y)
    assert next(clf.module_.parameters()).device.type == "cpu"
    on_gpu = clf.certify(X[::5], y[::5])
    on_cpu = pickle.loads(pickle.dumps(clf)).set_params(device="cpu").certify(X[::5], y[::5])
    difference = on_gpu.votes.argmax(axis=1) != on_cpu.votes.argmax(axis=1)
    assert difference.mean() < 0.2
