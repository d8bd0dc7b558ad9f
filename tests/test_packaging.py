"""One version everywhere, and the example for contributors runs."""

import re
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_iris

from smoothcs import CostSensitiveSmoothedClassifier, __version__
from smoothcs.objectives import OBJECTIVES, Gaussian, TrainingContext, resolve_objective

ROOT = Path(__file__).parents[1]


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_version_and_date_are_the_same_everywhere():
    citation = dict(re.findall(r"^(version|date-released): (.+)$", read("CITATION.cff"), re.M))
    assert citation["version"] == __version__
    newest = re.search(r"^(\S+) \((.+)\)$", read("CHANGELOG.rst"), re.M)
    assert newest.groups() == (__version__, citation["date-released"])


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib came with Python 3.11")
def test_classifiers_begin_with_the_lowest_python():
    import tomllib

    project = tomllib.loads(read("pyproject.toml"))["project"]
    pythons = [c.rsplit(" ", 1)[1] for c in project["classifiers"] if " :: 3." in c]
    assert project["requires-python"] == f">={pythons[0]}"
    for name in re.findall(r'python-version: \[?(".*")', read(".github/workflows/ci.yml")):
        assert set(re.findall(r'"(.+?)"', name)) <= set(pythons)


@pytest.fixture
def smooth_labels(monkeypatch):
    """The objective that CONTRIBUTING.rst adds, from its own lines."""
    monkeypatch.setattr("smoothcs.objectives.base.OBJECTIVES", dict(OBJECTIVES))
    found = re.search(r"\.\. code-block:: python\n\n((?:    .*\n|\n)+)", read("CONTRIBUTING.rst"))
    namespace = {"__name__": "contributed"}
    exec(compile(textwrap.dedent(found[1]), "CONTRIBUTING.rst", "exec"), namespace)
    return namespace["SmoothLabels"]


def test_the_objective_of_the_contributing_page_works_by_name(smooth_labels):
    assert isinstance(resolve_objective("smooth-labels"), smooth_labels)
    X, y = load_iris(return_X_y=True)
    clf = CostSensitiveSmoothedClassifier(
        objective="smooth-labels", sigma=0.2, lr=0.02, max_epochs=30, random_state=0
    )
    clf.set_params(objective__smoothing=0.05).fit(X, y)
    assert (clf.predict(X) == y).mean() > 0.85
    with pytest.raises(ValueError, match="smoothing"):
        clf.set_params(objective__smoothing=1.0).fit(X, y)


def test_without_smoothing_it_is_plain_cross_entropy_under_noise(smooth_labels):
    torch.manual_seed(0)
    module, x, y = torch.nn.Linear(4, 3), torch.randn(8, 4), torch.arange(8) % 3

    def loss(objective):
        context = TrainingContext(0.5, torch.ones(3, 3), torch.Generator().manual_seed(0))
        return objective(module, x, y, context).loss

    torch.testing.assert_close(loss(smooth_labels(smoothing=0.0)), loss(Gaussian()))
    assert loss(smooth_labels(smoothing=0.5)) != loss(Gaussian())
