"""lowest.txt pins what pyproject.toml declares as the lowest versions."""

import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
SHARED = {"torch"}  # the same version as in constraints.txt
NOT_DECLARED = {"pyparsing"}  # needed by a pinned version of another package


def pins(name):
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib came with Python 3.11")
def test_lowest_versions_are_those_declared():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = ("plot", "convex", "distributed", "persistence", "export", "test")
    texts = project["dependencies"] + [
        text for extra in extras for text in project["optional-dependencies"][extra]
    ]
    lowest = pins("lowest.txt")
    declared = {}
    for requirement in map(Requirement, texts):
        if requirement.name != "smoothcs":
            [bound] = requirement.specifier
            names = {requirement.name, *requirement.extras}
            declared |= dict.fromkeys(names, re.sub(r"(\.0)+$", "", bound.version))
    plain = {name: re.sub(r"(\.0)+$", "", version) for name, version in lowest.items()}
    assert {k: v for k, v in plain.items() if k not in SHARED | NOT_DECLARED} == {
        k: v for k, v in declared.items() if k not in SHARED
    }
    assert lowest["torch"] == pins("constraints.txt")["torch"]
