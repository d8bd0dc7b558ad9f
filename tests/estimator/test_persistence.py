"""Fitted estimators on disk: joblib, skops, safetensors, copies, and from a GPU to a CPU."""

import copy
import io
import json
import os
import pickle
import subprocess
import sys
import warnings
import zipfile

import joblib
import numpy as np
import pytest
import safetensors.torch
import skops.io
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skops.io.exceptions import UntrustedTypesFoundException
from torch import nn

from smoothcs import ConvexRelaxationClassifier, CostMatrix, CostSensitiveSmoothedClassifier
from smoothcs._estimator._state import Portable
from smoothcs.modules import MLP, Normalize, default_module
from smoothcs.objectives import MarginCS


def quick(module=None, **params):
    defaults = {
        "cost_matrix": {("versicolor", "virginica"): 5.0},
        "objective": "gaussian",
        "sigma": 0.3,
        "lr": 0.02,
        "max_epochs": 4,
        "n_estimation": 200,
        "n_prediction": 200,
        "random_state": 0,
    }
    return CostSensitiveSmoothedClassifier(module, **{**defaults, **params})


@pytest.fixture(scope="module")
def iris():
    data = load_iris(as_frame=True)
    return data.data, data.target_names[data.target].astype(object)


@pytest.fixture(scope="module")
def fitted(iris):
    return quick().fit(*iris)


def assert_same(loaded, original, X, y):
    """The same answers, parameters and attributes."""
    np.testing.assert_array_equal(loaded.predict(X), original.predict(X))
    np.testing.assert_array_equal(loaded.predict_proba(X), original.predict_proba(X))
    one, other = loaded.certify(X, y), original.certify(X, y)
    for name in ("votes", "selection_votes", "radius_group", "radius_pair", "label", "abstained"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert loaded.classes_.tolist() == original.classes_.tolist()
    assert loaded.cost_matrix_ == original.cost_matrix_
    for name in ("sigma", "alpha", "n_estimation", "cost_matrix", "random_state", "device"):
        assert getattr(loaded, name) == getattr(original, name)


def test_joblib_keeps_a_pipeline(iris, tmp_path):
    X, y = iris
    pipe = make_pipeline(StandardScaler(), quick()).fit(X, y)
    joblib.dump(pipe, tmp_path / "model.joblib")
    loaded = joblib.load(tmp_path / "model.joblib")
    np.testing.assert_array_equal(loaded.predict(X), pipe.predict(X))
    assert_same(loaded[-1], pipe[-1], pipe[:-1].transform(X), y)


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
def test_copies_answer_alike_and_a_deep_one_is_independent(fitted, iris, how):
    twin = how(fitted)
    assert_same(twin, fitted, *iris)
    assert list(twin.feature_names_in_) == list(iris[0].columns)
    assert len(twin.history_) == len(fitted.history_)
    if how is copy.copy:
        assert twin.module_ is fitted.module_
    else:
        before = fitted.predict_proba(iris[0])
        with torch.no_grad():
            next(twin.module_.parameters()).zero_()
        twin.set_params(sigma=3.0)
        np.testing.assert_array_equal(fitted.predict_proba(iris[0]), before)
        assert (twin.predict_proba(iris[0]) != before).any()


def test_a_subclass_decides_what_of_its_state_is_saved(fitted, iris):
    clf = WithSecret(**quick().get_params(deep=False)).fit(*iris)
    clf.secret = 1
    for loaded in (pickle.loads(pickle.dumps(clf)), copy.copy(clf), copy.deepcopy(clf)):
        assert not hasattr(loaded, "secret")
        assert_same(loaded, fitted, *iris)


class WithSecret(CostSensitiveSmoothedClassifier):
    def __getstate__(self):
        return {name: value for name, value in super().__getstate__().items() if name != "secret"}


# ---------------------------------------------------------------- skops

OURS = {
    "skorch.history.History",
    "smoothcs._classifier.CostSensitiveSmoothedClassifier",
    "smoothcs._estimator._state.PackedDict",
    "smoothcs._estimator._state.PackedTensor",
    "smoothcs._estimator._state.Portable",
    "smoothcs.cost.CostMatrix",
}
LAYERS = {
    "smoothcs.modules.dense.MLP",
    "torch.nn.modules.activation.ReLU",
    "torch.nn.modules.batchnorm.BatchNorm1d",
    "torch.nn.modules.dropout.Dropout",
    "torch.nn.modules.flatten.Flatten",
    "torch.nn.modules.linear.Linear",
}


def test_skops_keeps_a_pipeline_and_names_all_that_must_be_trusted(iris, tmp_path):
    X, y = iris
    pipe = make_pipeline(StandardScaler(), quick()).fit(X, y)
    path = tmp_path / "model.skops"
    skops.io.dump(pipe, path)
    needed = set(skops.io.get_untrusted_types(file=path))
    assert needed == OURS | LAYERS | {"smoothcs.objectives.gaussian.Gaussian"}
    with pytest.raises(UntrustedTypesFoundException):
        skops.io.load(path)
    loaded = skops.io.load(path, trusted=sorted(needed))
    np.testing.assert_array_equal(loaded.predict(X), pipe.predict(X))
    assert_same(loaded[-1], pipe[-1], pipe[:-1].transform(X), y)
    assert loaded[-1].history_[:, "train_loss"] == pipe[-1].history_[:, "train_loss"]
    # What was loaded is an estimator like any other.
    assert_same(clone(loaded).fit(X, y)[-1], pipe[-1], pipe[:-1].transform(X), y)


class Recurrent(nn.Module):
    def __init__(self, n_features, n_classes):
        super().__init__()
        self.lstm = nn.LSTM(1, 8, batch_first=True)
        self.head = nn.Linear(8, n_classes)

    def forward(self, x):
        return self.head(self.lstm(x[..., None])[0][:, -1])


class Tied(nn.Module):
    """Shared, frozen and half-precision weights, and a buffer that is not saved."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.second.bias.requires_grad_(False)
        self.head = nn.Linear(4, 3)
        self.register_buffer("shift", torch.ones(4, dtype=torch.bfloat16), persistent=False)

    def forward(self, x):
        return self.head(self.second(torch.relu(self.first(x + self.shift.float()))))


@pytest.mark.parametrize(
    "module",
    [Recurrent, Tied(), nn.Sequential(Normalize(4.0, 2.0), nn.BatchNorm1d(4), MLP(4, 3))],
    ids=["recurrent", "tied", "batchnorm"],
)
@pytest.mark.parametrize("params", [{}, {"cost_matrix": CostMatrix.seedwise(["virginica"])}])
def test_skops_keeps_modules_of_all_kinds(iris, module, params):
    clf = quick(
        module, objective=MarginCS(gamma_sensitive=3.0), optimizer=torch.optim.SGD, **params
    ).fit(*iris)
    data = skops.io.dumps(clf)
    loaded = skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data))
    assert_same(loaded, clf, *iris)
    assert type(loaded.module_) is type(clf.module_)
    assert loaded.get_params()["objective__gamma_sensitive"] == 3.0
    again, before = loaded.module_.state_dict(), clf.module_.state_dict()
    assert list(again) == list(before)
    assert all(torch.equal(again[name], before[name]) for name in before)
    for (name, new), (_, old) in zip(
        loaded.module_.named_parameters(), clf.module_.named_parameters(), strict=True
    ):
        assert new.requires_grad == old.requires_grad, name
    if isinstance(module, Tied):
        assert loaded.module_.second.weight is loaded.module_.first.weight
        assert loaded.module_.shift.dtype == torch.bfloat16
    assert_same(clone(loaded).fit(*iris), clf, *iris)


def test_skops_keeps_estimators_made_from_other_models(iris):
    X, y = iris[0].to_numpy(), iris[1]
    forest = RandomForestClassifier(5, random_state=0).fit(X, y)
    for module in (forest, MLP(4, 3)):
        clf = CostSensitiveSmoothedClassifier.from_module(
            module, classes=forest.classes_, sigma=0.3, n_prediction=200, random_state=0
        )
        clf.set_params(n_estimation=200)
        data = skops.io.dumps(clf)
        loaded = skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data))
        loaded.set_params(module=None)
        assert_same(loaded, clf, X[::5], y[::5])


def test_skops_keeps_the_convex_classifier(iris):
    X, y = iris
    clf = ConvexRelaxationClassifier(eps=0.1, max_epochs=2, random_state=0).fit(X, y)
    data = skops.io.dumps(clf)
    loaded = skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data))
    np.testing.assert_array_equal(loaded.certify(X, y), clf.certify(X, y))


def _with_schema(data, change):
    """Return a skops file in which ``change`` was applied to every node of the schema."""

    def walk(node):
        if isinstance(node, dict):
            change(node)
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    result = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as source,
        zipfile.ZipFile(result, "w") as target,
    ):
        for name in source.namelist():
            content = source.read(name)
            if name == "schema.json":
                schema = json.loads(content)
                walk(schema)
                content = json.dumps(schema)
            target.writestr(name, content)
    return result.getvalue()


def test_a_forged_skops_file_is_refused(fitted):
    data = skops.io.dumps(fitted)
    trusted = skops.io.get_untrusted_types(data=data)

    def call_system(node):
        if node.get("__class__") == "Portable":
            node.update({"__class__": "system", "__module__": "os"})

    with pytest.raises(UntrustedTypesFoundException, match=r"os\.system"):
        skops.io.loads(_with_schema(data, call_system), trusted=trusted)

    def other_dtype(node):
        if node.get("content") == '"float32"':
            node["content"] = '"load"'

    with pytest.raises(ValueError, match="unknown dtype 'load'"):
        skops.io.loads(_with_schema(data, other_dtype), trusted=trusted)

    def wider_dtype(node):
        if node.get("content") == '"float32"':
            node["content"] = '"float64"'

    with pytest.raises(ValueError, match=r"needs \d+ bytes"):
        skops.io.loads(_with_schema(data, wider_dtype), trusted=trusted)


# ---------------------------------------------------------------- weights


def test_safetensors_weights_in_a_fresh_estimator_give_identical_votes(iris, tmp_path):
    X, y = iris[0].to_numpy(), iris[1]
    fitted = quick().fit(X, y)
    safetensors.torch.save_model(fitted.module_, tmp_path / "weights.safetensors")
    module = default_module((4,), n_classes=3)
    safetensors.torch.load_model(module, tmp_path / "weights.safetensors")
    clf = CostSensitiveSmoothedClassifier.from_module(
        module,
        classes=fitted.classes_,
        **{name: getattr(fitted, name) for name in ("cost_matrix", "sigma", "random_state")},
        n_estimation=200,
        n_prediction=200,
    )
    assert_same(clf, fitted, X, y)


def test_a_pickle_is_no_safetensors_file(fitted, tmp_path):
    torch.save(fitted.module_.state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(safetensors.SafetensorError):
        safetensors.torch.load_model(MLP(4, 3, batch_norm=True), tmp_path / "weights.safetensors")


# ---------------------------------------------------------------- devices


@pytest.mark.parametrize("device", ["cuda:63", ["cuda:63", "cpu"], torch.device("cuda", 63)])
@pytest.mark.parametrize("how", ["pickle", "skops"])
def test_a_model_from_a_gpu_that_is_not_here_runs_on_what_is(fitted, iris, device, how):
    clf = copy.deepcopy(fitted).set_params(device=device)
    with pytest.raises(ValueError, match="63"):
        clf.predict(iris[0])
    if how == "pickle":
        data, load = pickle.dumps(clf), pickle.loads
    else:
        data = skops.io.dumps(clf)
        trusted = skops.io.get_untrusted_types(data=data)

        def load(data):
            return skops.io.loads(data, trusted=trusted)

    with pytest.warns(UserWarning, match=r"cuda.*63.*device='auto'"):
        loaded = load(data)
    assert loaded.device == "auto"
    loaded.set_params(device="cpu")
    assert_same(loaded, copy.deepcopy(fitted).set_params(device="cpu"), *iris)


def test_an_unfitted_estimator_keeps_its_device_and_a_fitted_one_what_exists(fitted):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pickle.loads(pickle.dumps(quick(device="cuda:63"))).device == "cuda:63"
        for device in ("cpu", "auto", ["cpu", "cpu"], torch.device("cpu")):
            clf = copy.deepcopy(fitted).set_params(device=device)
            assert pickle.loads(pickle.dumps(clf)).device == device


@pytest.mark.cuda
@pytest.mark.parametrize("how", ["joblib", "skops"])
def test_a_model_trained_on_cuda_loads_where_cuda_is_hidden(iris, tmp_path, how):
    X, y = iris
    clf = quick(device="cuda").fit(X, y)
    path, inputs = str(tmp_path / "model"), str(tmp_path / "inputs.npy")
    np.save(inputs, X.to_numpy(np.float32))
    if how == "joblib":
        joblib.dump(clf, path)
        load = f"joblib.load({path!r})"
    else:
        skops.io.dump(clf, path)
        trusted = skops.io.get_untrusted_types(file=path)
        load = f"skops.io.load({path!r}, trusted={trusted!r})"
    script = (
        "import joblib, skops.io, numpy as np, torch\n"
        "assert not torch.cuda.is_available()\n"
        f"clf = {load}\n"
        "assert clf.device == 'auto'\n"
        f"np.save({str(tmp_path / 'shares.npy')!r}, clf.predict_proba(np.load({inputs!r})))\n"
    )
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([sys.executable, "-c", script], check=True, env=env, timeout=300)
    # Another kind of device draws other noise: the shares agree up to their sampling error.
    shares = np.load(tmp_path / "shares.npy")
    assert np.abs(shares - clf.predict_proba(X)).max() < 5 * np.sqrt(0.5 / 200)


class MakesItsState(nn.Module):
    """Its state holds tensors that exist only while it is written."""

    def __init__(self, k):
        super().__init__()
        self.k = k

    def __getstate__(self):
        return {**self.__dict__, "made": [torch.full((4,), i + 0.1 * self.k) for i in range(3)]}

    def forward(self, x):
        return x


def test_tensors_that_exist_only_while_saving_are_not_mixed_up():
    packed = Portable(nn.Sequential(*(MakesItsState(k) for k in range(6)))).__reduce__()[1][0]
    for k, part in enumerate(vars(packed)["_modules"].values()):
        made = [tensor.__reduce__()[1][0].view(np.float32)[0] for tensor in vars(part)["made"]]
        np.testing.assert_allclose(made, [i + 0.1 * k for i in range(3)], rtol=1e-6)
