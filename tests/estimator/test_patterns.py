"""What a user of scikit-learn and skorch tries first, and what an error then says."""

import numpy as np
import pytest
import torch
from _small import COSTS, NAMES, ListDataset, X, Y, convex, estimator, fit, tune
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelEncoder, StandardScaler
from skorch.callbacks import Checkpoint, EarlyStopping, EpochScoring, LRScheduler
from skorch.dataset import ValidSplit
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from smoothcs import CostMatrix, rob_cs_scorer
from smoothcs._labels import FOLDS
from smoothcs.modules import MLP

NAMED = {("dog", "cat"): 10.0, ("dog", "fox"): 1.0, ("cat", "dog"): 1.0}


# -- wrappers that encode labels -------------------------------------------------------------------


def in_company(clf, kind, **params):
    return kind([("smoothed", clf), ("bayes", GaussianNB())], **params)


@pytest.mark.parametrize(
    "fitted",
    [
        lambda clf: in_company(clf, VotingClassifier).fit(X, NAMES[Y]),
        lambda clf: in_company(clf, StackingClassifier, cv=2).fit(X, NAMES[Y]),
        lambda clf: BaggingClassifier(clf, n_estimators=1).fit(X, NAMES[Y]),
        lambda clf: OneVsRestClassifier(clf).fit(X, NAMES[Y]),
        lambda clf: cross_val_predict(clf, X, NAMES[Y], cv=2, method="predict_proba"),
    ],
    ids=["voting", "stacking", "bagging", "one against the rest", "cross_val_predict"],
)
@pytest.mark.parametrize(
    "params",
    [
        {"cost_matrix": NAMED},
        {"cost_matrix": CostMatrix(COSTS, classes=NAMES)},
        {"cost_matrix": None, "decision": {"dog": 2.0}},
    ],
    ids=["dict", "matrix", "decision"],
)
def test_a_wrapper_that_encodes_labels_is_named_as_the_likely_cause(fitted, params):
    with pytest.raises(ValueError, match=r"'(dog|cat)'; the classes are \[0, 1.*LabelEncoder"):
        fitted(estimator(**params))


def test_a_misspelt_label_is_not_blamed_on_a_wrapper():
    named = rf"unknown label 'dgo'; the classes are \['cat', 'dog', 'fox'\]\. {FOLDS}$"
    with pytest.raises(ValueError, match=named):
        fit(y=NAMES[Y], cost_matrix={("dgo", "cat"): 1.0})
    with pytest.raises(
        ValueError, match=rf"unknown label 7; the classes are \[0, 1, 2\]\. {FOLDS}$"
    ):
        fit(cost_matrix={(7, 1): 1.0})


def test_wrappers_take_costs_by_index_and_labels_that_are_encoded_already():
    y = LabelEncoder().fit_transform(NAMES[Y])
    clf = estimator(cost_matrix={(1, 0): 10.0, (1, 2): 1.0, (0, 1): 1.0}, abstain_label=None)
    assert cross_val_predict(clf, X, y, cv=2, method="predict_proba").shape == (36, 3)
    for voting in ("hard", "soft"):
        model = in_company(clf, VotingClassifier, voting=voting).fit(X, y)
        assert set(model.predict(X)) <= {0, 1, 2}
    assert in_company(clf, StackingClassifier, cv=2).fit(X, y).predict(X).shape == (36,)
    assert BaggingClassifier(clf, n_estimators=2).fit(X, y).predict(X).shape == (36,)


@pytest.mark.parametrize("wrap", [lambda clf: clf, lambda clf: make_pipeline(clf)])
def test_a_hard_vote_cannot_count_abstentions(wrap):
    clf = wrap(estimator(cost_matrix=None, n_prediction=5))  # too few votes to decide
    hard = in_company(clf, VotingClassifier).fit(X, NAMES[Y])
    with pytest.raises(ValueError, match="cannot count an abstention: use abstain_label=None or"):
        hard.predict(X)
    assert set(in_company(clf, VotingClassifier, voting="soft").fit(X, NAMES[Y]).predict(X))
    assert (hard.estimators_[0].predict(X) == -1).all()


def test_wrappers_that_leave_labels_alone_take_costs_by_name():
    clf = estimator(cost_matrix=NAMED)
    assert set(CalibratedClassifierCV(clf, cv=2).fit(X, NAMES[Y]).predict(X)) <= set(NAMES)
    assert set(cross_val_predict(clf, X, NAMES[Y], cv=2)) <= {*NAMES, "abstain"}


# -- grids over parameters inside parameters -------------------------------------------------------


def search(clf, grid):
    return GridSearchCV(clf, grid, cv=2, scoring=rob_cs_scorer, error_score="raise").fit(X, Y)


def test_a_grid_over_entries_of_net_params():
    found = search(
        estimator(net_params={"optimizer__weight_decay": 0.1}),
        {"net_params__module__hidden": [(4,), (8,)]},
    )
    assert found.best_estimator_.net_params.keys() == {"optimizer__weight_decay", "module__hidden"}
    hidden = found.best_params_["net_params__module__hidden"][0]
    assert hidden in [p.shape[0] for p in found.best_estimator_.module_.parameters()]
    assert search(estimator(), {"net_params__optimizer__weight_decay": [0, 1]}).best_params_


def test_a_grid_over_parameters_of_callbacks_by_name_and_by_class():
    steps = LRScheduler("StepLR", step_size=1, gamma=0.5)
    for callbacks, name in (([("steps", steps)], "steps"), ([steps], "LRScheduler")):
        grid = {f"callbacks__{name}__gamma": [0.1]}
        found = search(estimator(callbacks=callbacks), grid).best_estimator_
        rates = [row["event_lr"] for row in found.history_]
        assert rates[1] / rates[0] == pytest.approx(0.1)
    assert steps.get_params()["gamma"] == 0.5  # the user's own stays
    pipe = make_pipeline(StandardScaler(), estimator(callbacks=[("steps", steps)]))
    pipe.set_params(costsensitivesmoothedclassifier__callbacks__steps=None).fit(X, Y)
    assert "event_lr" not in pipe[-1].history_[-1]


def test_parameters_inside_parameters_are_listed_and_copied():
    clf = estimator(
        callbacks=[EarlyStopping("train_loss"), EarlyStopping("train_loss", patience=7)],
        net_params={"module__hidden": (4,)},
    )
    for params in (clf.get_params(), clone(clf).get_params()):
        assert params["callbacks__EarlyStopping_2__patience"] == 7
        assert params["net_params__module__hidden"] == (4,)
    assert not any("__" in name for name in clf.get_params(deep=False))
    before = clf.callbacks
    clf.set_params(callbacks__EarlyStopping_2__patience=3)
    assert before[1].patience == 7
    assert clf.get_params()["callbacks__EarlyStopping_2__patience"] == 3


def test_unknown_callbacks_are_named():
    with pytest.raises(ValueError, match=r"no callback 'stop', .*callbacks__stop__patience"):
        estimator(callbacks=[LRScheduler()]).set_params(callbacks__stop__patience=3)
    with pytest.raises(ValueError, match="it has \\[\\]"):
        estimator().set_params(callbacks__stop=None)


# -- callbacks that need a validation set ----------------------------------------------------------


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (EarlyStopping(), "EarlyStopping monitors 'valid_loss'.*train_split"),
        (EarlyStopping("valid_accuracy"), "monitors 'valid_accuracy'"),
        (
            Checkpoint(f_params=None, f_optimizer=None, f_criterion=None, f_history=None),
            "Checkpoint monitors 'valid_loss_best'",
        ),
        (EpochScoring("accuracy"), "EpochScoring scores a validation set.*on_train=True"),
    ],
)
def test_callbacks_that_wait_for_a_validation_set_in_vain(callback, message):
    with pytest.raises(ValueError, match=message):
        fit(callbacks=[callback])
    accuracy = ("accuracy", EpochScoring("accuracy", name="valid_accuracy"))
    split = {"train_split": ValidSplit(3, stratified=True)}
    fit(callbacks=[accuracy, callback], net_params=split)


def test_accuracy_is_scored_by_epoch():
    split = {"train_split": ValidSplit(3, stratified=True)}
    held_out = fit(callbacks=[EpochScoring("accuracy")], net_params=split, max_epochs=40, lr=0.05)
    assert held_out.history_[-1]["accuracy"] > 0.9 > held_out.history_[0]["accuracy"]
    on_train = EpochScoring("accuracy", on_train=True, name="valid_accuracy")
    stop = EarlyStopping("valid_accuracy", patience=50)
    seen = fit(callbacks=[on_train, stop], max_epochs=40, lr=0.05)
    assert seen.history_[-1]["valid_accuracy"] > 0.9


@pytest.mark.parametrize("callbacks", [EarlyStopping("train_loss"), ["EarlyStopping"], [int]])
def test_what_is_no_list_of_callbacks_is_refused(callbacks):
    with pytest.raises(TypeError, match="callbacks must"):
        fit(callbacks=callbacks)


# -- data that cannot be read by number ------------------------------------------------------------


class Stream(IterableDataset):
    def __iter__(self):
        return zip(torch.from_numpy(X), Y, strict=True)


class StreamWithLength(Stream):
    def __len__(self):
        return len(X)


LOADER = DataLoader(TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)), batch_size=8)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Stream(), "Stream, an IterableDataset"),
        (StreamWithLength(), "StreamWithLength, an IterableDataset"),
        (LOADER, "DataLoader.*loader.dataset"),
    ],
)
def test_streams_and_loaders_are_refused_at_every_door(data, message):
    clf = fit()
    for call in (
        fit,
        clf.predict,
        clf.certify,
        clf.certified_report,
        clf.score,
        tune(n_votes=20).certified_report,
        lambda data: tune().fit(data),
        lambda data: convex().fit(data),
    ):
        with pytest.raises(TypeError, match=message):
            call(data)
    assert fit(LOADER.dataset, None).score(LOADER.dataset) >= 0
    items = [(x, int(y)) for x, y in zip(X, Y, strict=True)]
    assert fit(ListDataset(items), None).score(ListDataset(items)) >= 0


# -- other raw errors ------------------------------------------------------------------------------


def test_costs_as_a_dict_of_dicts_show_the_dict_that_is_meant():
    nested = {"dog": {"cat": 10.0}}
    message = r"not a dict of dicts; write \{\('dog', 'cat'\): 10.0\}"
    with pytest.raises(ValueError, match=message):
        CostMatrix(nested)
    with pytest.raises(ValueError, match=message):
        fit(y=NAMES[Y], cost_matrix=nested)
    for costs in (nested, NAMED):
        with pytest.raises(ValueError, match=r"got dict \(costs by label are the cost_matrix\)"):
            estimator().fit(X, NAMES[Y], costs=costs)


def test_a_resume_file_in_a_missing_folder(tmp_path):
    clf = fit()
    with pytest.raises(FileNotFoundError, match=r"resume_from=.*there is no folder .*runs"):
        clf.certify(X, Y, resume_from=tmp_path / "runs" / "a.votes")
    with pytest.raises(IsADirectoryError, match="resume_from=.*is a folder"):
        clf.certify(X, Y, resume_from=tmp_path)


# -- images ----------------------------------------------------------------------------------------

PICTURES = np.random.default_rng(0).integers(0, 256, (36, 3, 8, 8)).astype(np.uint8)
SMALL = {"module": MLP, "max_epochs": 1}


@pytest.mark.parametrize("as_dataset", [False, True])
def test_images_in_0_to_255_are_warned_of(as_dataset):
    data = (PICTURES, Y)
    if as_dataset:
        data = (TensorDataset(torch.from_numpy(PICTURES), torch.from_numpy(Y)),)
    with pytest.warns(UserWarning, match=r"0\.25 in these units.*divide X by 255"):
        fit(*data, *([None] if as_dataset else []), **SMALL)
    fit(PICTURES / 255, Y, **SMALL)
    fit(PICTURES, Y, sigma=64.0, **SMALL)
    fit(PICTURES[:, 0, 0].astype(float), Y, **SMALL)  # a table


def test_images_with_channels_last_are_warned_of_before_the_module_fails():
    last = PICTURES.transpose(0, 2, 3, 1) / 255
    with pytest.warns(UserWarning, match=r"\(8, 8, 3\).*X\.transpose\(0, 3, 1, 2\)"):
        fit(last, Y, **SMALL)
    conv = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 3))
    with (
        pytest.warns(UserWarning, match="channels last"),
        pytest.raises(ValueError, match="module failed on an input batch.*expected input"),
    ):
        fit(last, Y, module=conv)
    fit(last.transpose(0, 3, 1, 2), Y, module=conv)
