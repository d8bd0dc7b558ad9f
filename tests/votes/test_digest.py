"""What a classifier computes is told apart, and told the same in another process."""

import functools
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from torch import fx, nn
from torch.nn.utils import parametrizations

from smoothcs import CostSensitiveSmoothedClassifier
from smoothcs.modules import small_conv
from smoothcs.votes._digest import classifier_digest

FACTOR = 1.0


def by_global(batch):
    return helper(batch) * FACTOR


def helper(batch):
    return batch


def always(k):
    return lambda batch: np.full(len(batch), k)


def picky(batch):
    return np.where(np.isin(batch[:, 0], 1.0), 0, int("c" in {"a", "b", "c"}))


def linear(seed=0):
    torch.manual_seed(seed)
    return nn.Linear(4, 2)


class Signed(nn.Module):
    def __init__(self, sign=1.0, shift=0.0, nested=None):
        super().__init__()
        self.sign = sign
        self.inner = linear()
        self.options = {"nested": [nested]}
        self.register_buffer("shift", torch.tensor([shift]), persistent=False)

    def forward(self, x):
        return self.sign * self.inner(x) + self.shift


class Wrapper:
    def __init__(self, module):
        self.module = module

    def __call__(self, batch):
        with torch.no_grad():
            return self.module(torch.from_numpy(batch)).numpy()


class Table(dict):
    def __init__(self, default):
        super().__init__()
        self.default = default

    def __call__(self, batch):
        return np.full(len(batch), self.default)


def hooked(factor):
    module = linear()
    for k in range(factor):  # the keys of hooks count up
        module.register_forward_hook(always(k)).remove()
    module.register_forward_hook(lambda module, args, out: factor * out)
    return module


def forest(seed=0):
    X, y = load_iris(return_X_y=True)
    return RandomForestClassifier(3, random_state=seed).fit(X, y)


def local_class(sign):
    class Local(nn.Module):
        def forward(self, x):
            return sign * x

    return Local()


def default_of_a_method(sign):
    class Local(nn.Module):
        def forward(self, x, sign=sign):
            return sign * x

    return Local()


def decorated(sign):
    class Local(nn.Module):
        @torch.no_grad()
        def forward(self, x):
            return sign * x

    return Local()


def calls_a_helper(number):
    space = {"nn": nn, "torch": torch, "__name__": "mine", "NUMBER": torch.tensor(number)}
    body = """
def helper(x):
    return x + NUMBER
class Net(nn.Module):
    def forward(self, x):
        return helper(x)
"""
    exec(body, space)
    return space["Net"]()


def uses_a_class(number):
    space = {"__name__": "mine"}
    exec(f"class Helper:\n go = staticmethod(lambda x: x + {number})", space)
    exec("def function(x):\n return Helper.go(x)", space)
    return space["function"]


def with_attribute(k):
    def function(batch):
        return batch * function.k

    function.k = k
    return function


def cached(k):
    @functools.lru_cache
    def helper(x):
        return x + k

    return lambda batch: helper(batch)


class Plain(nn.Module):
    def __init__(self, **attributes):
        super().__init__()
        self.__dict__.update(attributes)


class Other(Plain):
    def forward(self, x):
        return -x


def in_mode(training):
    module = nn.Sequential(linear(), nn.BatchNorm1d(2)).train(training)
    return lambda batch: module(torch.from_numpy(batch))


def searched(depth):
    X, y = load_iris(return_X_y=True)
    tree = DecisionTreeClassifier(random_state=0)
    return GridSearchCV(tree, {"max_depth": [depth]}, cv=2).fit(X, y).predict


def neighbours(k, used=False):
    X, y = load_iris(return_X_y=True)
    clf = KNeighborsClassifier(k, algorithm="kd_tree").fit(X, y)
    if used:
        clf.predict(X)
    return clf.predict


def class_with(code, sign=1, number=1):
    space = {"nn": nn, "__name__": "mine", "NUMBER": number}
    body = f"class Net(nn.Module):\n sign = {sign}\n def forward(self, x):\n  return {code}"
    exec(body, space)
    return space["Net"]()


def changed_weight(make, change):
    module = make()
    with torch.no_grad():
        change(module)
    return module


def set_global(value):
    function = always(0)
    space = {"FACTOR": value, "__name__": "mine"}
    return type(function)(by_global.__code__, space, "by_global")


PAIRS = {
    "closure": lambda: (always(0), always(1)),
    "default": lambda: (lambda b, k=0: b + k, lambda b, k=1: b + k),
    "constant": lambda: (lambda b: b + 1, lambda b: b + 2),
    "operation": lambda: (lambda b: b + 1, lambda b: b - 1),
    "global": lambda: (set_global(1.0), set_global(2.0)),
    "partial": lambda: (functools.partial(np.add, 1), functools.partial(np.add, 2)),
    "partial of a lambda": lambda: (functools.partial(always(0)), functools.partial(always(1))),
    "method": lambda: (forest(0).predict, forest(1).predict),
    "other method": lambda: (forest().predict, forest().predict_proba),
    "wrapped module": lambda: (Wrapper(linear(0)), Wrapper(linear(1))),
    "method of a built-in": lambda: ({1: 2}.get, {1: 3}.get),
    "subclass of a dict": lambda: (Table(1), Table(2)),
    "closure of a method": lambda: (local_class(1), local_class(-1)),
    "default of a method": lambda: (default_of_a_method(1), default_of_a_method(-1)),
    "decorated method": lambda: (decorated(1), decorated(-1)),
    "global tensor of a helper": lambda: (calls_a_helper(1.0), calls_a_helper(2.0)),
    "class that a function uses": lambda: (uses_a_class(1), uses_a_class(2)),
    "attribute of a function": lambda: (with_attribute(1), with_attribute(2)),
    "cached helper": lambda: (cached(1), cached(2)),
    "nesting of a list": lambda: (Plain(groups=[[0], 1]), Plain(groups=[[0, 1]])),
    "nesting of a dict": lambda: (
        Plain(o={"a": {"b": 1}, "c": 2}),
        Plain(o={"a": {"b": 1, "c": 2}}),
    ),
    "name like one of PyTorch": lambda: (
        Plain(n_backward_steps=1, my_hooks=2, teacher_state_dict=1),
        Plain(n_backward_steps=1, my_hooks=2, teacher_state_dict=2),
    ),
    "wrapped by torch.compile": lambda: (torch.compile(Plain()), torch.compile(Other())),
    "mode of a module inside": lambda: (in_mode(True), in_mode(False)),
    "search": lambda: (searched(1), searched(2)),
    "neighbours": lambda: (neighbours(1), neighbours(2)),
    "traced": lambda: (fx.symbolic_trace(nn.ReLU()), fx.symbolic_trace(nn.Tanh())),
    "weight": lambda: (linear(0), linear(1)),
    "one weight": lambda: (
        small_conv(),
        changed_weight(small_conv, lambda m: next(m.parameters()).view(-1)[0].add_(1e-7)),
    ),
    "attribute": lambda: (Signed(1.0), Signed(-1.0)),
    "buffer that is not saved": lambda: (Signed(shift=0.0), Signed(shift=1.0)),
    "nested attribute": lambda: (Signed(nested=torch.zeros(2)), Signed(nested=torch.ones(2))),
    "function in a list": lambda: (Signed(nested=always(0)), Signed(nested=always(1))),
    "activation": lambda: (nn.Sequential(linear(), nn.ReLU()), nn.Sequential(linear(), nn.Tanh())),
    "hook": lambda: (hooked(2), hooked(3)),
    "code of the class": lambda: (class_with("x + 1"), class_with("x - 1")),
    "attribute of the class": lambda: (
        class_with("self.sign * x"),
        class_with("self.sign * x", -1),
    ),
    "global of a method": lambda: (
        class_with("x + NUMBER"),
        class_with("x + NUMBER", number=2),
    ),
    "parametrization": lambda: (linear(), parametrizations.weight_norm(linear())),
    "script": lambda: (torch.jit.script(linear(0)), torch.jit.script(linear(1))),
}

SAME = {
    "function": lambda: by_global,
    "lambda": lambda: always(3),
    "set in the code": lambda: picky,
    "net": lambda: changed_weight(small_conv, lambda m: [p.fill_(0.5) for p in m.parameters()]),
    "module": lambda: Signed(nested={"a": np.arange(3)}),
    "hook": lambda: hooked(2),
    "method": lambda: forest().predict,
    "wrapped module": lambda: Wrapper(linear()),
    "partial": lambda: functools.partial(np.add, 1),
    "parametrization": lambda: parametrizations.weight_norm(linear()),
    "search": lambda: searched(2),
    "neighbours": lambda: neighbours(2),
    "logistic": lambda: (
        LogisticRegression(max_iter=1000).fit(*load_iris(return_X_y=True)).predict_proba
    ),
    "pipeline": lambda: (
        make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=2, random_state=0))
        .fit(*load_iris(return_X_y=True))
        .predict
    ),
    "object": lambda: Table(1),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TorchScript is old
@pytest.mark.parametrize("name", PAIRS)
def test_classifiers_that_compute_something_else_have_another_digest(name):
    if name in ("one weight",):
        torch.manual_seed(0)
    one, other = PAIRS[name]()
    assert classifier_digest(one) != classifier_digest(other)
    again, _ = PAIRS[name]()
    if name != "one weight":
        assert classifier_digest(one) == classifier_digest(again)


def all_digests():
    """Each of them twice: asking may leave traces, in caches of classes, say."""
    classifiers = {name: make() for name, make in SAME.items()}
    first = {name: classifier_digest(one) for name, one in classifiers.items()}
    assert first == {name: classifier_digest(one) for name, one in classifiers.items()}
    return first


def test_another_process_finds_the_same_digest():
    code = "import test_digest; print(sorted(test_digest.all_digests().items()))"
    found = set()
    for seed in "0", "1":
        path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
        run = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(run.stdout.strip())
    assert len(found) == 1
    assert len(next(iter(found)).split("), (")) == len(SAME)


def test_a_digest_does_not_change_by_running():
    module = Signed()
    before = classifier_digest(module)
    clf = CostSensitiveSmoothedClassifier.from_module(module, classes=2, random_state=0)
    clf.certify(np.zeros((2, 4)), [0, 1], n_estimation=100)
    assert classifier_digest(module) == before


def test_predicting_does_not_change_the_digest_of_neighbours():
    assert classifier_digest(neighbours(2)) == classifier_digest(neighbours(2, used=True))


def test_a_global_that_is_not_used_does_not_count():
    space = {"__name__": "mine", "run": 1}
    exec("def function(x):\n return x.run", space)
    before = classifier_digest(space["function"])
    space["run"] = 2
    assert classifier_digest(space["function"]) == before


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.frompyfunc(lambda x: x, 1, 1),
        lambda: Plain(meta=torch.empty(2, device="meta")),
        lambda: functools.reduce(lambda inner, _: [inner], range(5000), []),
        lambda: nn.LazyLinear(3),
    ],
)
def test_whatever_goes_wrong_is_a_refusal(make):
    with pytest.raises(TypeError, match="one cannot tell what it computes"):
        classifier_digest(make())


def test_what_cannot_be_looked_into_is_refused_by_name(tmp_path):
    module = Signed(nested=threading.Lock())
    with pytest.raises(TypeError, match=r"Signed\.options\['nested'\]\[0\] is a lock"):
        classifier_digest(module)
    clf = CostSensitiveSmoothedClassifier.from_module(Signed(), classes=2, random_state=0)
    clf.module_.stream = open(tmp_path / "log", "w")  # noqa: SIM115
    with clf.module_.stream, pytest.raises(TypeError, match=r"stream is a TextIOWrapper"):
        classifier_digest(clf.module_)


@pytest.mark.parametrize(
    ("one", "other"),
    [(always(0), always(1)), (Signed(1.0), Signed(-1.0)), (Signed(shift=0.0), Signed(shift=9.0))],
)
def test_votes_of_one_classifier_do_not_certify_another(tmp_path, one, other):
    def certify(classifier):
        clf = CostSensitiveSmoothedClassifier.from_module(
            classifier, classes=2, random_state=0, n_estimation=1000
        )
        return clf.certify(np.zeros((2, 4)), [0, 0], resume_from=tmp_path / "votes")

    certify(one)
    with pytest.raises(ValueError, match="another classifier"):
        certify(other)


IRIS, SPECIES = load_iris(return_X_y=True)


@pytest.mark.parametrize(
    "change",
    [
        {"cost_matrix": {(2, 0): 1.0}},
        {"also_correct": True},
        {"blockers": False},
        {"n_selection": 50},
        {"y": 2 - SPECIES},
    ],
)
def test_votes_for_one_claim_are_not_continued_for_another(tmp_path, change):
    clf = CostSensitiveSmoothedClassifier.from_module(
        forest().predict_proba, classes=3, sigma=0.3, random_state=0, cost_matrix={(2, 1): 1.0}
    )
    keywords = {"y": SPECIES[90:110], "mode": "decide", "eps": 0.2, "n_estimation": 2000}
    keywords["resume_from"] = tmp_path / "votes"
    whole = clf.certify(IRIS[90:110], **keywords)
    again = clf.certify(IRIS[90:110], **keywords)
    np.testing.assert_array_equal(whole.certified_group, again.certified_group)
    if "y" in change:
        change = {"y": change["y"][90:110]}
    with pytest.raises(ValueError, match="another n or schedule, or for another claim"):
        clf.certify(IRIS[90:110], **{**keywords, **change})
    if "also_correct" not in change:
        keywords = {**keywords, "mode": "radius", "radius_tol": 0.01, "eps": None}
        keywords["resume_from"] = tmp_path / "radii"
        clf.certify(IRIS[90:110], **keywords)
        with pytest.raises(ValueError, match="another n or schedule, or for another claim"):
            clf.certify(IRIS[90:110], **{**keywords, **change})
