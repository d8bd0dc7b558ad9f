"""What a check is given, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

STATUSES = ("issue", "tip", "passed")
PAGE = "user_guide/diagnose.html"


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes
    ----------
    code : str
        Of the check, such as "SC101".
    title : str
        What was checked.
    status : {"issue", "tip", "passed"}
        "issue": numbers may mislead, mend it first; "tip": worth a look.
    message : str
        What was found and what to do.
    link : str
        Where the documentation explains it.
    """

    code: str
    title: str
    status: str
    message: str

    @property
    def link(self) -> str:
        """Where the documentation explains the check."""
        return f"{PAGE}#{self.code.lower()}"


class Findings(list[Finding]):
    """A list of findings, shown as a table.

    Attributes
    ----------
    n_votes : int
        How many votes were drawn in all.
    """

    def __init__(self, findings: Iterable[Finding] = (), n_votes: int = 0) -> None:
        super().__init__(findings)
        self.n_votes = n_votes

    @property
    def issues(self) -> list[Finding]:
        """Those whose status is "issue"."""
        return [finding for finding in self if finding.status == "issue"]

    def __repr__(self) -> str:
        lines = [f"{f.code}  {f.status:6}  {f.title}: {f.message}" for f in self]
        return "\n".join([*lines, self._footer()])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{f.code}</td><td><strong>{f.status}</strong></td>"
            f"<td>{escape(f.title)}</td><td>{escape(f.message)}</td></tr>"
            for f in self
        )
        head = "<tr><th>code</th><th>status</th><th>check</th><th>found</th></tr>"
        return f"<table>{head}{rows}</table><p>{escape(self._footer())}</p>"

    def _footer(self) -> str:
        issues, tips, passed = (sum(f.status == s for f in self) for s in STATUSES)
        counts = (
            f"{issues} issue{'s' * (issues != 1)}, {tips} tip{'s' * (tips != 1)}, {passed} passed"
        )
        return f"{counts}; {self.n_votes:,} votes were drawn. Explained in {PAGE}."


class Answer(NamedTuple):
    """Status and message, as a check returns them."""

    status: str
    message: str


@dataclass
class Case:
    """A fitted classifier and the inputs that are to be checked.

    Attributes
    ----------
    clf : CostSensitiveSmoothedClassifier
    X : ndarray of float32 (n, ...)
        Inputs as they reach it.
    y : ndarray (n,) or None
    X_train : ndarray of float32 or None
        Training inputs as they reach it.
    eps : float
    draw : callable (rows, n) -> ndarray of int (len(rows), m)
        Draws votes.
    max_inputs, n_votes : int
        How many inputs are voted on, and how often.
    names : sequence of str or None
        Of the columns.
    costs : ndarray (n, m, m) or None
        Costs of each example.
    """

    clf: Any
    X: NDArray[np.float32]
    y: NDArray[Any] | None
    X_train: NDArray[np.float32] | None
    eps: float
    draw: Callable[[NDArray[np.intp], int], NDArray[np.int64]]
    max_inputs: int
    n_votes: int
    names: Any = None
    costs: NDArray[np.float64] | None = None

    def rows(self, at_most: int) -> NDArray[np.intp]:
        """Return positions of inputs, spread evenly."""
        return np.linspace(0, len(self.X) - 1, min(at_most, len(self.X))).astype(np.intp)

    @cached_property
    def voted(self) -> NDArray[np.intp]:
        """Positions of the inputs that are voted on."""
        return self.rows(self.max_inputs)

    @cached_property
    def votes(self) -> NDArray[np.int64]:
        """The votes on them (k, m), drawn once for all checks."""
        return self.draw(self.voted, self.n_votes)

    @cached_property
    def scale(self) -> NDArray[np.float64]:
        """Scale of the noise of each entry of an input, 1 where none is set."""
        scale = self.clf._scale(self.X.shape[1:])
        return np.ones(self.X.shape[1:]) if scale is None else scale.astype(np.float64)

    def column(self, j: int) -> str:
        """Return the name of a column."""
        return f"column {j}" if self.names is None else repr(str(self.names[j]))


Check = Callable[[Case], Answer]

# Code -> title and function, in the order of the codes.
CHECKS: dict[str, tuple[str, Check]] = {}


def check(code: str, title: str) -> Callable[[Check], Check]:
    """Register a check under its code."""

    def register(function: Check) -> Check:
        CHECKS[code] = title, function
        return function

    return register


def issue(message: str) -> Answer:
    """Return what should be mended first."""
    return Answer("issue", message)


def passed(message: str) -> Answer:
    """Return that nothing was found."""
    return Answer("passed", message)
