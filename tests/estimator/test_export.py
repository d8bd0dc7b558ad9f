"""The base classifier in a file of torch or ONNX, with its meaning, and back in an estimator."""

import copy
import io
import json
import pickle
import shutil
import zipfile
from functools import cache

import joblib
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_iris
from sklearn.ensemble import RandomForestClassifier
from torch import nn

from smoothcs import (
    CostMatrix,
    CostSensitiveSmoothedClassifier,
    WeightedVotes,
    export_module,
    load_module,
)
from smoothcs._estimator._meaning import _DECISION, _PARAMETERS
from smoothcs.decision import WeightedScores

SUFFIXES = ["pt2", "onnx"]


def estimator(module=None, **params):
    defaults = {
        "objective": "gaussian",
        "sigma": 0.3,
        "lr": 0.02,
        "max_epochs": 2,
        "n_estimation": 300,
        "n_prediction": 200,
        "random_state": 0,
        "device": "cpu",
    }
    return CostSensitiveSmoothedClassifier(module, **{**defaults, **params})


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return (X[:300] / 16).astype(np.float32).reshape(-1, 1, 8, 8), y[:300]


@pytest.fixture(scope="module")
def conv(digits):
    """A net with batch statistics that are not those of a new net."""
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10)
    )
    return estimator(net, cost_matrix=CostMatrix.seedwise([8])).fit(*digits)


@pytest.fixture(scope="module")
def iris():
    data = load_iris(as_frame=True)
    return data.data, data.target_names[data.target].astype(object)


@pytest.fixture(scope="module")
def table(iris):
    return estimator(
        cost_matrix={("virginica", "versicolor"): 5.0},
        noise_scale={"petal*": 0.5},
        eps=0.2,
        abstain_label="unknown",
    ).fit(*iris)


@pytest.fixture(scope="module")
def files(table, tmp_path_factory):
    """A function from a suffix to a file of the table's estimator."""
    folder = tmp_path_factory.mktemp("export")
    return cache(lambda suffix: exported(table, folder, suffix, units="cm"))


@pytest.fixture
def copied(files, tmp_path):
    """A file of the table's estimator that a test may damage."""
    return lambda suffix="pt2": shutil.copy(files(suffix), tmp_path / f"copy.{suffix}")


def votes(clf, X):
    return clf.certify(X).votes


def exported(clf, folder, suffix, **options):
    if suffix == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    path = folder / f"model.{suffix}"
    export_module(clf, path, **options)
    return path


def test_votes_are_those_of_the_estimator_to_the_last_one(conv, digits, tmp_path):
    path = exported(conv, tmp_path, "pt2")
    again = CostSensitiveSmoothedClassifier.from_module(path, random_state=0)
    X, y = digits[0][:40], digits[1][:40]
    np.testing.assert_array_equal(votes(again, X), votes(conv, X))
    np.testing.assert_array_equal(again.predict(X), conv.predict(X))
    assert again.score(X, y) == conv.score(X, y)
    module = load_module(path)
    for n in (1, 2, 7):
        x = torch.as_tensor(X[:n])
        with torch.no_grad():
            assert torch.equal(module(x), conv.module_(x))


def test_onnx_answers_as_the_estimator_does(conv, digits, tmp_path):
    path = exported(conv, tmp_path, "onnx")
    again = CostSensitiveSmoothedClassifier.from_module(path, random_state=0)
    X = digits[0][:40]
    # Other kernels round otherwise, which moves a vote where two logits are nearly equal.
    assert np.abs(votes(again, X) - votes(conv, X)).sum() <= 2
    np.testing.assert_array_equal(again.predict(X), conv.predict(X))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_file_has_what_the_estimator_means(table, iris, files, suffix):
    path = files(suffix)
    again = CostSensitiveSmoothedClassifier.from_module(path, random_state=0)
    names = ("sigma", "eps", "alpha", "n_selection", "n_estimation", "n_prediction", "bound")
    for name in names:
        assert getattr(again, name) == getattr(table, name), name
    assert again.classes_.tolist() == table.classes_.tolist()
    assert again.classes_.dtype == table.classes_.dtype
    assert again.cost_matrix_ == table.cost_matrix_
    assert again.abstain_label_ == "unknown"
    assert again.feature_names_in_.tolist() == iris[0].columns.tolist()
    assert again.input_shape_ == (4,)
    np.testing.assert_array_equal(again._scale(), table._scale())
    np.testing.assert_array_equal(again.predict(iris[0]), table.predict(iris[0]))
    meaning = load_module(path).meaning
    assert meaning["units"] == "cm"
    assert meaning["versions"]["torch"] == torch.__version__
    assert "random_state" not in meaning["parameters"], "the key of the noise is a secret"
    with pytest.raises(ValueError, match="feature names"):
        again.predict(iris[0].rename(columns={"petal width (cm)": "girth"}))


def test_what_is_given_comes_before_what_the_file_says(table, files):
    path = files("pt2")
    costs = {("setosa", "virginica"): 1.0}
    again = CostSensitiveSmoothedClassifier.from_module(
        load_module(path), cost_matrix=costs, sigma=0.1, random_state=0
    )
    assert again.sigma == 0.1
    assert again.cost_matrix_ == CostMatrix(costs).align(table.classes_)
    with pytest.raises(TypeError, match="classes must be left out"):
        CostSensitiveSmoothedClassifier.from_module(path, classes=3)
    with pytest.raises(TypeError, match="classes must be given"):
        CostSensitiveSmoothedClassifier.from_module(nn.Linear(4, 3))


WEIGHTS = {"setosa": 1.0, "versicolor": 1.0, "virginica": 3.0}
COSTS = np.array([[0.0, 1.0, 2.0], [3.0, 0.0, 1.0], [9.0, 7.0, 0.5]])


@pytest.mark.parametrize(
    "params",
    [
        {"decision": WEIGHTS},
        {"decision": WEIGHTS, "temperature": 5.0},
        {"decision": "min-cost", "decision_costs": COSTS},
        {"decision": "min-cost", "cost_matrix": COSTS - np.diag(COSTS.diagonal())},
        {"decision": WeightedVotes({"versicolor": 50.0})},
        {"decision": WeightedVotes([1, 2, 1], WeightedScores(np.array([1.0, 1.0, 9.0]), 5.0))},
    ],
    ids=["scores", "tempered scores", "min-cost", "min-cost by the cost matrix", "votes", "both"],
)
def test_decisions_travel(table, iris, tmp_path, params):
    clf = CostSensitiveSmoothedClassifier.from_module(
        table.module_,
        classes=table.classes_,
        **{"sigma": 0.6, "n_estimation": 400, "random_state": 0, **params},
    )
    plain = CostSensitiveSmoothedClassifier.from_module(
        table.module_, classes=table.classes_, sigma=0.6, n_estimation=400, random_state=0
    )
    path = exported(clf, tmp_path, "pt2", input_shape=(4,))
    again = CostSensitiveSmoothedClassifier.from_module(path, random_state=0)
    X = iris[0].to_numpy()
    np.testing.assert_array_equal(again.predict(X), clf.predict(X))
    np.testing.assert_array_equal(again.certify_radius(X), clf.certify_radius(X))
    assert (clf.predict(X) != plain.predict(X)).any(), "the decision matters on these inputs"


def test_costs_of_each_example_still_decide(table, iris, tmp_path):
    clf = CostSensitiveSmoothedClassifier.from_module(
        table.module_, classes=table.classes_, decision="min-cost", sigma=0.3, random_state=0
    )
    path = exported(clf, tmp_path, "pt2", input_shape=(4,))
    again = CostSensitiveSmoothedClassifier.from_module(path, random_state=0)
    X = iris[0].to_numpy()
    costs = np.random.default_rng(0).uniform(0.5, 5.0, (len(X), 3, 3))
    np.testing.assert_array_equal(again.predict(X, costs=costs), clf.predict(X, costs=costs))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_was_read_can_be_saved_and_run_by_workers(conv, digits, tmp_path, suffix):
    path = exported(conv, tmp_path, suffix)
    again = CostSensitiveSmoothedClassifier.from_module(path, random_state=0)
    file = io.BytesIO()
    joblib.dump(again, file)
    path.unlink()
    loaded = joblib.load(io.BytesIO(file.getvalue()))
    np.testing.assert_array_equal(votes(loaded, digits[0][:8]), votes(again, digits[0][:8]))
    with joblib.parallel_backend("threading", n_jobs=2):
        again.set_params(n_jobs=2)
        np.testing.assert_array_equal(votes(again, digits[0][:8]), votes(loaded, digits[0][:8]))
    assert not again.module_.train().training


def test_a_copy_has_weights_of_its_own(files):
    module = load_module(files("pt2"))
    x = torch.randn(3, 4)
    before = module(x)
    twin = copy.deepcopy(module).to(torch.float64)
    assert twin(x.double()).dtype == torch.float64
    assert torch.equal(module(x), before)


def test_an_export_leaves_the_estimator_alone(conv, digits, tmp_path):
    before = pickle.dumps(conv.module_.state_dict())
    exported(conv, tmp_path, "pt2")
    assert pickle.dumps(conv.module_.state_dict()) == before
    assert list(tmp_path.iterdir()) == [tmp_path / "model.pt2"]


class Doubtful(nn.Module):
    """Answers by a value, which a graph fixes when it is written."""

    def forward(self, x):
        return x if float(x.sum()) > 0 else -x


class Random(nn.Module):
    def forward(self, x):
        return torch.randn_like(x)


def test_modules_that_no_graph_can_stand_for_are_refused(tmp_path):
    for module, words in ((Doubtful(), "cannot write Doubtful"), (Random(), "other logits")):
        clf = CostSensitiveSmoothedClassifier.from_module(module, classes=3)
        with pytest.raises(ValueError, match=words):
            export_module(clf, tmp_path / "x.pt2", input_shape=(3,))
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_is_named(iris, conv, tmp_path):
    X, y = iris
    forest = RandomForestClassifier(2, random_state=0).fit(X, y)
    clf = CostSensitiveSmoothedClassifier.from_module(forest, classes=forest.classes_)
    with pytest.raises(TypeError, match="whose base is a torch module"):
        export_module(clf, tmp_path / "x.pt2")
    with pytest.raises(ValueError, match=r"\.pt2"):
        export_module(conv, tmp_path / "x.pkl")
    linear = CostSensitiveSmoothedClassifier.from_module(nn.Linear(4, 3), classes=3)
    with pytest.raises(ValueError, match="input_shape must be given"):
        export_module(linear, tmp_path / "x.pt2")
    dates = CostSensitiveSmoothedClassifier.from_module(
        nn.Linear(4, 2), classes=np.array(["2026-01-01", "2026-01-02"], dtype="datetime64[D]"),
        abstain_label=None,
    )  # fmt: skip
    with pytest.raises(TypeError, match="labels must be numbers"):
        export_module(dates, tmp_path / "x.pt2", input_shape=(4,))


# ------------------------------------------------------------------ files that are not ours


def rewritten(path, change):
    """Write the description of a .pt2 file again, changed, and return the file."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            if name.endswith("smoothcs.json"):
                content = change(json.loads(content))
                content = content if isinstance(content, str) else json.dumps(content)
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: "{", "not readable"),
        (lambda m: "[" * 100_000, "not readable"),
        (lambda m: [], "must have format 1"),
        (lambda m: {**m, "format": 2}, "must have format 1"),
        (lambda m: {**m, "module": "os"}, "or has others"),
        (lambda m: {**m, "parameters": {**m["parameters"], "callbacks": []}}, "parameters must"),
        (lambda m: {**m, "classes": m["classes"][:2]}, "logits"),
        (lambda m: {**m, "classes": [[1], [2], [3]]}, "classes must be"),
        (lambda m: {**m, "dtype": "i1"}, "do not fit the dtype"),
        (lambda m: {**m, "dtype": "M8[D]"}, "do not fit the dtype"),
        (lambda m: {**m, "input_shape": [5]}, "feature_names must be"),
        (lambda m: {**m, "input_shape": [5], "feature_names": None}, "not a readable file"),
        (lambda m: {**m, "input_shape": [2**62], "feature_names": None}, "not a readable file"),
        (lambda m: {**m, "input_shape": [-1]}, "input_shape must be"),
    ],
)
def test_a_description_that_was_tampered_with_is_refused(copied, change, words):
    path = rewritten(copied(), change)
    with pytest.raises(ValueError, match=words):
        CostSensitiveSmoothedClassifier.from_module(path)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("cost_matrix", [[0.0, -1.0, 1.0]] * 3, "cost_matrix"),
        ("noise_scale", [1.0, -1.0, 1.0, 1.0], "noise_scale"),
        ("decision", "argmax", "decision is not readable"),
        ("decision", dict.fromkeys(_DECISION) | {"scores": [1, 0, 1]}, "> 0"),
    ],
)
def test_costs_and_noise_of_a_file_are_checked_like_any(copied, field, value, words):
    path = rewritten(copied(), lambda m: {**m, field: value})
    with pytest.raises(ValueError, match=words):
        CostSensitiveSmoothedClassifier.from_module(path)


def test_parameters_of_a_file_are_checked_like_any(copied):
    def change(meaning):
        return {**meaning, "parameters": {**meaning["parameters"], "sigma": -1.0}}

    path = rewritten(copied(), change)
    with pytest.raises(ValueError, match="sigma"):
        CostSensitiveSmoothedClassifier.from_module(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_damaged_file_says_so(copied, tmp_path, suffix):
    path = copied(suffix)
    whole = path.read_bytes()
    for content in (b"", b"nothing", whole[: len(whole) // 2], whole[:-50], whole[100:]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="not a readable file of export_module"):
            load_module(path)
    with pytest.raises(FileNotFoundError):
        load_module(tmp_path / f"missing.{suffix}")


def ran(*_):
    raise AssertionError("the file's code was run")


class Hostile:
    def __reduce__(self):
        return ran, ()


def test_a_file_without_our_description_is_never_given_to_torch(tmp_path):
    path = tmp_path / "x.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data/sample_inputs/model.pt", pickle.dumps(Hostile()))
        archive.writestr("x/models/model.json", "{}")
    with pytest.raises(ValueError, match="no description by smoothcs"):
        load_module(path)


def test_no_parameter_that_changes_answers_is_forgotten():
    elsewhere = {"cost_matrix", "decision", "decision_costs", "noise_scale", "module"}
    training = {
        "objective", "n_copies", "optimizer", "lr", "lr_schedule", "max_epochs", "batch_size",
        "callbacks", "warm_start", "net_params",
    }  # fmt: skip
    running = {"device", "compile", "vote_batch_size", "n_jobs", "random_state", "verbose"}
    known = {*_PARAMETERS, *elsewhere, *training, *running}
    assert set(CostSensitiveSmoothedClassifier().get_params()) == known
