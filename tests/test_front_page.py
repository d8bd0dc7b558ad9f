"""The first page prints what it says, and the cheat sheet names what exists."""

import contextlib
import io
import re
import textwrap
from pathlib import Path

import numpy as np

import smoothcs
from smoothcs import CostSensitiveSmoothedClassifier

DOCS = Path(__file__).parents[1] / "docs"


def block(text, kind):
    found = re.search(rf"\.\. code-block:: {kind}\n\n((?:    .*\n|\n)+)", text)
    return textwrap.dedent(found[1]).strip()


def numbers(printed):
    return [float(word) for word in re.findall(r"nan|-?\d+\.?\d*", printed)]


def test_the_twelve_lines_print_what_stands_below_them():
    text = (DOCS / "index.rst").read_text(encoding="utf-8")
    code = block(text, "python")
    assert len([line for line in code.splitlines() if line]) <= 13
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "index.rst", "exec"), {"__name__": "__main__"})
    labels, radii, shares = printed.getvalue().splitlines()
    shown = block(text, "none").splitlines()
    assert labels == shown[0], printed.getvalue()
    # Another machine rounds otherwise, and the votes are then not quite the same.
    np.testing.assert_allclose(numbers(radii), numbers(shown[1]), atol=0.11, err_msg=radii)
    np.testing.assert_allclose(numbers(shares), numbers(shown[2]), atol=0.03)


def test_names_on_the_cheat_sheet_exist():
    text = (DOCS / "cheat_sheet.rst").read_text(encoding="utf-8")
    for name in re.findall(r":(?:func|class):`(\w+)`", text):
        assert hasattr(smoothcs, name), name
    for name in re.findall(r"``(\w+)\(X", text):
        assert hasattr(CostSensitiveSmoothedClassifier, name), name
    parameters = CostSensitiveSmoothedClassifier().get_params()
    for name in re.findall(r"\|(\w+)\|", text):
        assert name in parameters, name
