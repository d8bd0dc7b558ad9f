"""A resumed run knows its classifier again by what it does, whatever has changed about it."""

import contextlib
import functools
import importlib
import io
import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils import parametrizations

from smoothcs import CostSensitiveSmoothedClassifier
from smoothcs.votes import sample_votes
from smoothcs.votes._fingerprint import NearTies, agree

X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
WEIGHT = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
N = 60
SIGN = 1.0  # by which the classifiers below multiply their logits
SETTINGS = {"sign": 1.0}


def votes(classifier, path=None, **params):
    params = {"random_state": 0, "batch_size": 16, "device": "cpu", **params}
    return sample_votes(classifier, params.pop("X", X), N, 1.0, resume_from=path, **params)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "votes"


def forget(path, left):
    """Leave the header and a few inputs in a file, as if the run had been killed."""
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[: 1 + left]))


# ------------------------------------------------------------- 31 changes that a walker may miss


class Net(nn.Module):
    """A linear layer times a sign, which the subclasses hide."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(4, 3)

    def sign(self):
        return 1.0

    def forward(self, x):
        return self.sign() * self.layer(x)


def net_with(sign):
    """A net whose sign is what a function of it says."""
    net = Net()
    net.sign = functools.partial(sign, net)
    return net


HELPER = "CONSTANT = {}\n\ndef sign():\n    return CONSTANT\n"


@pytest.fixture
def helper(tmp_path, monkeypatch):
    """A user's module on disk."""
    (tmp_path / "users_helper.py").write_text(HELPER.format(1.0))
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("users_helper")
    sys.modules.pop("users_helper", None)


def edited_helper_module(helper, monkeypatch):
    def edit():
        with open(helper.__file__, "w") as file:
            file.write(HELPER.format("-1.00"))
        importlib.reload(helper)

    return lambda x: helper.sign() * (x @ WEIGHT), edit


def constant_of_a_helper(helper, monkeypatch):
    return (
        lambda x: helper.sign() * (x @ WEIGHT),
        lambda: monkeypatch.setattr(helper, "CONSTANT", -1.0),
    )


def replaced_function_of_a_module(helper, monkeypatch):
    return (
        lambda x: helper.sign() * (x @ WEIGHT),
        lambda: monkeypatch.setattr(helper, "sign", lambda: -1.0),
    )


def import_inside_a_function(helper, monkeypatch):
    def classifier(x):
        import users_helper

        return users_helper.CONSTANT * (x @ WEIGHT)

    other = type(sys)("users_helper")
    other.CONSTANT = -1.0
    return classifier, lambda: monkeypatch.setitem(sys.modules, "users_helper", other)


def environment(helper, monkeypatch):
    monkeypatch.setenv("SIGN", "1")
    return (
        lambda x: float(os.environ["SIGN"]) * (x @ WEIGHT),
        lambda: monkeypatch.setenv("SIGN", "-1"),
    )


def name_in_globals(helper, monkeypatch):
    return (
        lambda x: globals()["SI" + "GN"] * (x @ WEIGHT),
        lambda: monkeypatch.setitem(globals(), "SIGN", -1.0),
    )


def item_of_a_global(helper, monkeypatch):
    return (
        lambda x: SETTINGS["sign"] * (x @ WEIGHT),
        lambda: monkeypatch.setitem(SETTINGS, "sign", -1.0),
    )


def slots_of_a_module(helper, monkeypatch):
    class Slotted(Net):
        __slots__ = ("hidden",)

        def sign(self):
            return self.hidden

        def __deepcopy__(self, memo):
            twin = Slotted()
            twin.hidden = self.hidden
            return twin

    net = Slotted()
    net.hidden = 1.0
    return net, lambda: setattr(net, "hidden", -1.0)


def global_forward_hook(helper, monkeypatch):
    def hook(module, args, output):
        return -output if isinstance(module, Net) else output

    def change():
        monkeypatch.hook = register_module_forward_hook(hook)

    return Net(), change


def number_with_a_state(helper, monkeypatch):
    class Number(float):
        pass

    number = Number(2.0)
    number.sign = 1.0
    return net_with(lambda net: number.sign), lambda: setattr(number, "sign", -1.0)


def property_of_a_metaclass(helper, monkeypatch):
    class Meta(type):
        hidden = 1.0

        @property
        def sign(cls):
            return Meta.hidden

    class Named(metaclass=Meta):
        pass

    return net_with(lambda net: Named.sign), lambda: setattr(Meta, "hidden", -1.0)


def state_that_pickle_drops(helper, monkeypatch):
    class Forgets:
        def __init__(self):
            self.sign = 1.0

        def __getstate__(self):
            return {}

        def __call__(self, x):
            return self.sign * (x @ WEIGHT)

    classifier = Forgets()
    return classifier, lambda: setattr(classifier, "sign", -1.0)


def weights(helper, monkeypatch):
    net = Net()
    return net, lambda: net.layer.weight.data.neg_()


def one_bias(helper, monkeypatch):
    net = Net()
    return net, lambda: net.layer.bias.data[1].add_(0.01)


def buffer_that_is_not_saved(helper, monkeypatch):
    net = net_with(lambda net: 1.0)
    net.register_buffer("shift", torch.ones(1), persistent=False)
    net.forward = lambda x: net.shift * net.layer(x)
    return net, lambda: net.shift.neg_()


def attribute(helper, monkeypatch):
    class Signed(Net):
        number = 1.0

        def sign(self):
            return self.number

    net = Signed()
    return net, lambda: setattr(net, "number", -1.0)


def attribute_of_the_class(helper, monkeypatch):
    class Signed(Net):
        number = 1.0

        def sign(self):
            return self.number

    return Signed(), lambda: setattr(Signed, "number", -1.0)


def method_of_the_class(helper, monkeypatch):
    return Net(), lambda: monkeypatch.setattr(Net, "sign", lambda net: -1.0)


def nested_attribute(helper, monkeypatch):
    class Signed(Net):
        def __init__(self):
            super().__init__()
            self.options = {"signs": [torch.ones(1)]}

        def sign(self):
            return self.options["signs"][0]

    net = Signed()
    return net, lambda: net.options["signs"][0].neg_()


def hook(helper, monkeypatch):
    net = Net()
    return net, lambda: net.register_forward_hook(lambda module, args, output: -output)


def hook_before(helper, monkeypatch):
    net = Net()
    return net, lambda: net.layer.register_forward_pre_hook(lambda module, args: (-args[0],))


def parametrization(helper, monkeypatch):
    net = Net()
    parametrizations.weight_norm(net.layer)
    return net, lambda: net.layer.parametrizations.weight.original0.data.mul_(-1.0)


def running_statistics(helper, monkeypatch):
    net = nn.Sequential(Net(), nn.BatchNorm1d(3))
    return net, lambda: net[1].running_mean.add_(0.1)


def activation(helper, monkeypatch):
    net = nn.Sequential(Net(), nn.ReLU())
    return net, lambda: net.__setitem__(1, nn.Tanh())


def closure(helper, monkeypatch):
    sign = 1.0

    def change():
        nonlocal sign
        sign = -1.0

    return lambda x: sign * (x @ WEIGHT), change


def default(helper, monkeypatch):
    def classifier(x, sign=1.0):
        return sign * (x @ WEIGHT)

    return classifier, lambda: setattr(classifier, "__defaults__", (-1.0,))


def code(helper, monkeypatch):
    def classifier(x):
        return x @ WEIGHT

    def other(x):
        return -x @ WEIGHT

    return classifier, lambda: setattr(classifier, "__code__", other.__code__)


def argument_of_a_partial(helper, monkeypatch):
    weight = WEIGHT.copy()
    return functools.partial(np.dot, b=weight), lambda: np.negative(weight, out=weight)


def array_of_a_wrapped_function(helper, monkeypatch):
    weight = WEIGHT.copy()
    inner = functools.lru_cache(lambda: weight)
    return lambda x: x @ inner(), lambda: weight.__imul__(-1)


def file_on_disk(helper, monkeypatch):
    path = helper.__file__ + ".npy"
    np.save(path, WEIGHT)
    return lambda x: x @ np.load(path), lambda: np.save(path, -WEIGHT)


def other_end_of_a_line(helper, monkeypatch):
    """A service: nothing of it is in this process."""
    remote = {"weight": WEIGHT}
    lock = threading.Lock()

    def classifier(x):
        with lock:
            return x @ remote["weight"]

    return classifier, lambda: remote.update(weight=-WEIGHT)


CHANGES = [
    edited_helper_module,
    constant_of_a_helper,
    replaced_function_of_a_module,
    import_inside_a_function,
    environment,
    name_in_globals,
    item_of_a_global,
    slots_of_a_module,
    global_forward_hook,
    number_with_a_state,
    property_of_a_metaclass,
    state_that_pickle_drops,
    weights,
    one_bias,
    buffer_that_is_not_saved,
    attribute,
    attribute_of_the_class,
    method_of_the_class,
    nested_attribute,
    hook,
    hook_before,
    parametrization,
    running_statistics,
    activation,
    closure,
    default,
    code,
    argument_of_a_partial,
    array_of_a_wrapped_function,
    file_on_disk,
    other_end_of_a_line,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
def test_whatever_changes_an_answer_is_refused(change, path, helper, monkeypatch):
    monkeypatch.hook = None
    classifier, apply = change(helper, monkeypatch)
    expected = votes(classifier, path)
    np.testing.assert_array_equal(votes(classifier, path), expected)  # unchanged, it resumes
    forget(path, 3)
    content = path.read_bytes()
    try:
        apply()
        with pytest.raises(ValueError, match="holds votes of another classifier"):
            votes(classifier, path)
    finally:
        if monkeypatch.hook is not None:
            monkeypatch.hook.remove()
    assert path.read_bytes() == content


def labels_of(factor, only=lambda x: np.ones(len(x), dtype=bool)):
    """Labels, which are other ones where ``only`` says so, for a factor below 0."""

    def classifier(x):
        return (np.where(only(x), factor, 1.0)[:, None] * (x @ WEIGHT)).argmax(axis=1)

    return classifier


def test_a_black_box_of_labels_is_known_again_by_its_labels(path):
    votes(labels_of(1.0), path, n_classes=3)
    with pytest.raises(ValueError, match=r"outputs on noisy copies of X\[0\] differ"):
        votes(labels_of(-1.0), path, n_classes=3)


def test_a_change_that_the_first_input_does_not_show_is_seen_in_the_votes(path):
    far = X.copy()
    far[1:] += 6.0
    moved = labels_of(-1.0, lambda x: x.mean(axis=1) > 3)
    expected = votes(labels_of(1.0), X=far, n_classes=3)
    assert (votes(moved, X=far, n_classes=3) != expected).any()
    votes(labels_of(1.0), path, X=far, n_classes=3)
    with pytest.raises(ValueError, match=r"of 60 noisy copies of X\[\d\] it had the votes"):
        votes(moved, path, X=far, n_classes=3)


def test_what_no_probed_input_shows_is_not_seen(path):
    """The limit that the docstring of the fingerprint states."""
    far = np.concatenate([X, [[500.0] * 4]]).astype(np.float32)
    moved = labels_of(-1.0, lambda x: x.mean(axis=1) > 400)
    votes(labels_of(1.0), path, X=far, n_classes=3)
    assert (votes(moved, path, X=far, n_classes=3) != votes(moved, X=far, n_classes=3)).any()


# ------------------------------------------------------------------------- random classifiers


def test_a_random_classifier_is_refused_at_once(path):
    generator = np.random.default_rng(0)
    with pytest.raises(ValueError, match="gives one answer to one input; this one gave two"):
        votes(lambda x: x @ WEIGHT + generator.normal(size=(len(x), 3)), path)
    assert not path.exists()
    with pytest.raises(ValueError, match="gives one answer to one input"):
        votes(lambda x: generator.integers(3, size=len(x)), path, n_classes=3)

    class Dropout(Net):
        def forward(self, x):
            return nn.functional.dropout(super().forward(x), 0.5, training=True)

    with pytest.raises(ValueError, match="gives one answer to one input"):
        votes(Dropout(), path)


def test_a_classifier_that_is_random_for_some_inputs_is_refused_when_its_votes_are_continued(path):
    far = X.copy()
    far[3] += 20.0
    generator = np.random.default_rng(0)

    def classifier(x):
        random = generator.normal(size=(len(x), 3))
        return np.where(x.mean(axis=1, keepdims=True) > 10, random, x @ WEIGHT)

    votes(classifier, path, X=far)
    with pytest.raises(ValueError, match=r"another classifier: of 60 noisy copies of X\[3\]"):
        votes(classifier, path, X=far)


# ----------------------------------------------------------------------------- what must resume


def iris(clf):
    return clf.fit(*load_iris(return_X_y=True)).predict_proba


class Locked:
    """What cannot be pickled."""

    def __init__(self):
        self.lock = threading.Lock()

    def __call__(self, x):
        with self.lock:
            return x @ WEIGHT


RESUME = {
    "module": Net,
    "lambda": lambda: lambda x: x @ WEIGHT,
    "partial": lambda: functools.partial(np.dot, b=WEIGHT),
    "forest": lambda: iris(RandomForestClassifier(10, random_state=0)),
    "labels of a forest": lambda: (
        RandomForestClassifier(10, random_state=0).fit(*load_iris(return_X_y=True)).predict
    ),
    "neighbours": lambda: iris(KNeighborsClassifier(3, algorithm="kd_tree")),
    "pipeline": lambda: iris(
        make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=2, random_state=0))
    ),
    "black box": Locked,
    "weight norm": lambda: parametrizations.weight_norm(nn.Linear(4, 3)),
    "wide logits": lambda: lambda x: x @ WEIGHT * 1e30,
    "offset": lambda: lambda x: x @ WEIGHT + 1e5,
}
OTHERWISE = [{}, {"batch_size": 7}, {"batch_size": "auto"}, {"n_classes": 3}]


@pytest.mark.parametrize("name", RESUME)
def test_the_same_classifier_is_continued(name, path):
    torch.manual_seed(0)
    classifier = RESUME[name]()
    expected = votes(classifier, path, n_classes=3)
    for params in OTHERWISE:
        forget(path, 4)
        again = votes(classifier, path, **{"n_classes": 3, **params})
        if "batch_size" not in params:
            np.testing.assert_array_equal(again, expected)
        assert len(path.read_bytes().splitlines()) == 1 + len(X)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_module_of_low_precision_is_continued(path, precision):
    expected = votes(Net(), path, precision=precision)
    forget(path, 3)
    np.testing.assert_array_equal(votes(Net(), path, precision=precision), expected)
    forget(path, 3)
    votes(Net(), path, precision=precision, batch_size=7)
    other = Net()
    other.layer.weight.data.neg_()
    with pytest.raises(ValueError, match="another classifier"):
        votes(other, path, precision=precision)


def test_shards_are_continued_in_one_process_and_the_other_way_round(path):
    expected = votes(Net())
    for jobs in (2, 1, 2):
        np.testing.assert_array_equal(votes(Net(), path, n_jobs=jobs), expected)
        forget(path, 3)
    other = Net()
    other.layer.weight.data.neg_()
    with pytest.raises(ValueError, match="another classifier"):
        votes(other, path, n_jobs=2)


PROCESS = """
import sys, numpy as np, torch
from smoothcs.modules import small_conv
from smoothcs.votes import sample_votes
torch.manual_seed(0)
net = small_conv(3, image_size=8)
X = np.random.default_rng(0).normal(size=(4, 1, 8, 8))
votes = sample_votes(net, X, 100, 1.0, random_state=0, resume_from=sys.argv[1], device="cpu")
print(votes.tolist())
"""


@pytest.mark.slow
def test_another_process_continues_the_same_module(path, monkeypatch):
    here = io.StringIO()
    with monkeypatch.context() as patched, contextlib.redirect_stdout(here):
        patched.setattr(sys, "argv", ["", str(path)])
        exec(PROCESS, {})
    forget(path, 2)
    # Of another hash seed, and two threads where the tests have one.
    run = subprocess.run(
        [sys.executable, "-c", PROCESS.replace("net =", "torch.set_num_threads(2); net ="), path],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == here.getvalue()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_compiled_code_continues_the_votes_of_the_module(path):
    if shutil.which("g++") is None:
        pytest.skip("needs a C++ compiler")
    net = Net()
    expected = votes(net, path)
    forget(path, 3)
    assert np.abs(votes(net, path, compile=True) - expected).sum() <= 2
    net.layer.weight.data.neg_()
    with pytest.raises(ValueError, match="another classifier"):
        votes(net, path, compile=True)


# ------------------------------------------------------------------------------- what rounding is


def test_only_near_ties_may_differ_between_runs():
    ties = NearTies(3, "float32")
    ties(torch.tensor([[1.0, 1.0 + 1e-6, -1.0], [1.0, 1.01, -1.0]]))
    assert ties.count == 1
    ties(torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]))  # the last row is padding
    assert ties.count == 1
    ties = NearTies(2, "float32")
    ties(torch.tensor([0, 1]))  # labels know no rounding
    assert ties.count == 0


def test_votes_may_move_by_as_many_as_rounding_decides(path):
    """Logits of which a few are equal but for the last bits, which another machine rounds so."""

    def rounded(direction):
        def classifier(x):
            tie = (np.abs(x[:, 0] - X[0, 0]) < 0.2) * direction * 1e-7
            return np.stack([tie, np.where(tie == 0, x[:, 0] - X[0, 0], 0.0)], axis=1)

        return classifier

    expected = votes(rounded(1.0), path)
    assert (votes(rounded(-1.0)) != expected).any()
    np.testing.assert_array_equal(votes(rounded(-1.0), path), expected)

    def shifted(x):  # more of them than rounding explains
        return np.stack([np.zeros(len(x)), x[:, 0] - X[0, 0] - 0.9 * (x.mean(axis=1) > 0.5)], 1)

    with pytest.raises(ValueError, match="another classifier"):
        votes(shifted, path)


@pytest.mark.parametrize(
    "there", [None, 1, "x", {}, [], [[1.0]], [[1.0, float("nan")]], [[10**400, 1]], [["1", "2"]]]
)
def test_what_is_not_the_outputs_does_not_agree(there):
    assert agree([[1.0, 2.0]], [[1.0, 2.0]], "float32")
    assert not agree(there, [[1.0, 2.0]], "float32")
    assert not agree(there, [1, 2], "float32")


def test_outputs_of_nan_agree_with_nothing():
    nan = [[float("nan"), 0.0]]
    assert not agree(nan, nan, "float32")


# ------------------------------------------------------------------------------- certificates


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_votes_of_one_classifier_do_not_certify_another(path, sign):
    def certify(sign):
        clf = CostSensitiveSmoothedClassifier.from_module(
            lambda x: sign * (x @ WEIGHT), classes=3, random_state=0, n_estimation=1000
        )
        return clf.certify(X, [0] * len(X), resume_from=path)

    certify(sign)
    with pytest.raises(ValueError, match="another classifier"):
        certify(-sign)
