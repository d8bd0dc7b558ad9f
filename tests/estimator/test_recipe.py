"""The recipe that ``fit`` follows when it is told nothing: schedule, length, normalisation."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, EarlyStopping, LRScheduler
from skorch.dataset import ValidSplit
from torch import nn

from smoothcs import CostSensitiveSmoothedClassifier
from smoothcs.modules import MLP
from smoothcs.objectives import Gaussian, Macer, MarginCS, SmoothAdv, SmoothMix


class Rates(Callback):
    """Keeps the learning rate of every training step."""

    seen: ClassVar[list[float]] = []

    def on_grad_computed(self, net, named_parameters, X=None, y=None, training=True, **kwargs):
        if training:
            self.seen.append(net.optimizer_.param_groups[0]["lr"])


@pytest.fixture
def rates(monkeypatch):
    seen = []
    monkeypatch.setattr(Rates, "seen", seen)
    return seen


@pytest.fixture
def table(rng):
    return rng.normal(size=(60, 3)).astype(np.float32), np.arange(60) % 2


def quick(module=None, **params):
    shared = {"objective": "gaussian", "max_epochs": 5, "batch_size": 10, "random_state": 0}
    return CostSensitiveSmoothedClassifier(module, **{**shared, **params})


def assert_one_cycle(rates, lr, n_steps):
    """Linear to ``lr`` over a fifth of the steps, then half a cosine to 0."""
    assert len(rates) == n_steps
    share = np.arange(1, n_steps + 1) / n_steps
    expected = np.where(share < 0.2, share / 0.2, 0.5 * (1 + np.cos(np.pi * (share - 0.2) / 0.8)))
    np.testing.assert_allclose(rates, lr * expected, atol=1e-12)
    assert max(rates) == pytest.approx(lr, rel=0.05)
    assert rates[-1] == pytest.approx(0, abs=1e-9)


def test_the_default_schedule_is_one_cycle(table, rates):
    quick(lr=0.03, callbacks=[Rates()]).fit(*table)
    assert_one_cycle(rates, 0.03, 30)


def test_the_cycle_ends_with_training_where_a_split_takes_examples(table, rates):
    split = {"train_split": ValidSplit(3, stratified=True)}
    quick(callbacks=[Rates()], net_params=split).fit(*table)
    assert_one_cycle(rates, 2e-3, 20)


def test_a_warm_start_is_another_cycle(table, rates):
    clf = quick(callbacks=[Rates()], warm_start=True).fit(*table)
    before = clf.module_.state_dict()["1.weight"].clone()
    rates.clear()
    clf.set_params(max_epochs=2).fit(*table)
    assert_one_cycle(rates, 2e-3, 12)
    assert not torch.equal(before, clf.module_.state_dict()["1.weight"])


def test_schedules_of_the_user_take_the_place_of_the_default(table, rates):
    steps = LRScheduler("StepLR", step_size=2, gamma=0.1)
    expected = np.repeat(2e-3 * 0.1 ** (np.arange(5) // 2), 6)
    for params in ({"callbacks": [Rates(), steps]}, {"lr_schedule": steps}):
        rates.clear()
        quick(**{"callbacks": [Rates()], **params}).fit(*table)
        np.testing.assert_allclose(rates, expected)
    rates.clear()
    quick(callbacks=[Rates()], lr_schedule=None).fit(*table)
    assert set(rates) == {2e-3}


@pytest.mark.parametrize("schedule", ["cosine", 0.1, LRScheduler])
def test_other_schedules_are_refused(table, schedule):
    with pytest.raises(ValueError, match="lr_schedule must be 'one-cycle', None or a skorch"):
        quick(lr_schedule=schedule).fit(*table)


def test_early_stopping_works_beside_the_cycle(table):
    stop = EarlyStopping("train_loss", patience=2, threshold=10.0, sink=lambda text: 0)
    assert len(quick(max_epochs=9, callbacks=[stop]).fit(*table).history_) == 3


@pytest.mark.parametrize(
    ("n", "objective", "expected"),
    [
        (120, "gaussian", 750),  # 1,500 steps for few images
        (4000, "gaussian", 48),  # 48 copies of each image
        (4000, Gaussian(n_noise=2), 24),
        (4000, MarginCS(n_noise=16), 24),
        (120, "table", 500),  # 1,000 steps of a small table
        (4000, "table", 16),
    ],
)
def test_epochs_are_as_many_as_the_data_need(n, objective, expected):
    first = EarlyStopping("train_loss", patience=1, threshold=1e9, sink=lambda text: 0)
    table = objective == "table"
    clf = CostSensitiveSmoothedClassifier(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(2, 2)),
        objective="gaussian" if table else objective,
        callbacks=[first],
        random_state=0,
    )
    X = np.random.default_rng(0).normal(size=(n, 2) if table else (n, 1, 1, 2))
    clf.fit(X, np.arange(n) % 2)
    assert clf.net_.max_epochs == expected


@pytest.mark.parametrize(
    ("value", "error"), [("all", ValueError), (0, ValueError), (2.5, TypeError)]
)
def test_bad_epochs_are_refused(table, value, error):
    with pytest.raises(error, match="max_epochs must be"):
        quick(max_epochs=value).fit(*table)


OBJECTIVES = [
    Gaussian(n_noise=2),
    Macer(n_noise=2),
    MarginCS(n_noise=2),
    SmoothAdv(n_steps=2, n_noise=2, eps_attack=1e-6),
    SmoothMix(n_noise=2),
]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: type(objective).__name__)
def test_batch_statistics_are_those_of_noisy_inputs(objective):
    # Inputs without any variance: all that a layer can see of them is noise.
    X, y = np.zeros((64, 500), np.float32), np.arange(64) % 2
    clf = CostSensitiveSmoothedClassifier(
        objective=objective, sigma=2.0, lr=1e-9, max_epochs=40, random_state=0
    ).fit(X, y)
    norm, weight = clf.module_[2], clf.module_[1].weight
    expected = 4.0 * weight.square().sum(1)
    ratio = (norm.running_var / expected).detach().numpy()
    np.testing.assert_allclose(np.median(ratio), 1.0, atol=0.15)
    # Attacks look through the layers without counting.
    passes = 2 if isinstance(objective, SmoothMix) else 1
    assert norm.num_batches_tracked <= 40 * passes
    assert not clf.module_.training


@pytest.mark.parametrize("n_noise", [1, 2])
def test_a_last_batch_of_one_example_is_left_out(n_noise, rates, rng):
    X, y = rng.normal(size=(21, 3)), np.arange(21) % 2
    clf = quick(objective=Gaussian(n_noise=n_noise), callbacks=[Rates()]).fit(X, y)
    assert_one_cycle(rates, 2e-3, 10)
    assert int(clf.module_[2].num_batches_tracked) == 10
    rates.clear()
    plain = quick(MLP, callbacks=[Rates()]).fit(X, y)
    assert plain.classes_.size == 2
    assert len(rates) == 15, "without batch normalisation it is not"


def test_batches_of_one_are_refused_for_batch_normalisation(table):
    with pytest.raises(ValueError, match="batch_size must be at least 2"):
        quick(batch_size=1).fit(*table)
    quick(lambda: nn.Linear(3, 2), batch_size=1, max_epochs=1).fit(*table)


def test_images_get_a_convolutional_network_and_tables_an_mlp(table, rng):
    images = rng.random((20, 1, 8, 8), dtype=np.float32)
    y = np.arange(20) % 2
    clf = quick(n_estimation=200).fit(images, y)
    assert isinstance(clf.module_[0], nn.Conv2d)
    assert clf.certify_radius(images[:3], y[:3]).shape == (3,)
    narrow = quick(net_params={"module__hidden": (7,)}).fit(*table)
    assert narrow.module_[1].out_features == 7


def test_the_schedule_is_a_parameter_of_searches(table):
    steps = LRScheduler("StepLR", step_size=1)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), quick(n_estimation=100, n_prediction=50)),
        {"costsensitivesmoothedclassifier__lr_schedule": ["one-cycle", None, steps]},
        cv=2,
        scoring="accuracy",
        error_score="raise",
    ).fit(*table)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert not hasattr(steps, "lr_scheduler_")


def test_dropout_of_the_default_network_is_off_wherever_it_answers(table):
    X, y = table
    clf = CostSensitiveSmoothedClassifier(
        sigma=0.5, max_epochs=2, n_estimation=200, n_prediction=100, random_state=0
    ).fit(X, y)
    assert any(isinstance(layer, nn.Dropout) for layer in clf.module_)

    def answers():
        return [
            clf.predict_proba(X),
            clf.certify(X, y).radius_pair,
            clf.certify_at(X, y, 0.25).rob_cs(0.25),
        ]

    expected = answers()
    clf.module_.train()  # left so by its user
    for got, before in zip(answers(), expected, strict=True):
        np.testing.assert_array_equal(got, before)
