"""Runs every check on a fitted classifier and its data."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from smoothcs._costs import check_costs
from smoothcs._estimator._inputs import check_inputs, check_labels, encode_labels, is_dataset
from smoothcs._estimator._unwrap import _unwrapped
from smoothcs._validation import check_choice, check_integer
from smoothcs.diagnosis._checks import CHECKS, Case, Finding, Findings
from smoothcs.votes._source import input_of

# A Dataset may not fit into memory: of one, so many inputs are read, spread evenly.
MOST_ITEMS = 2000


def diagnose(
    model: Any,
    X: Any,
    y: Any = None,
    X_train: Any = None,
    *,
    eps: float | None = None,
    costs: Any = None,
    ignore: Collection[str] = (),
    max_inputs: int = 200,
    n_votes: int = 100,
) -> Findings:
    """Check a fitted classifier and the data it is to certify for what often goes wrong.

    It is cheap: ``n_votes`` votes on at most ``max_inputs`` inputs, and at most 1,000 on 20 of
    them. Nothing is certified, and no radius is bounded by these votes.

    Parameters
    ----------
    model
        As in :func:`smoothcs.report`.
    X : array-like (n, ...) or Dataset
        Inputs that are to be certified. Of a Dataset, at most 2,000 are read.
    y : array-like (n,), default=None
        True labels. If None, nothing is compared with them.
    X_train : array-like (n_train, ...) or Dataset, default=None
        What the model was trained on. If None, it is not compared with ``X``.
    eps : float, default=None
        The radius that will be asked for. If None, the estimator's.
    costs : array-like (n, m, m), default=None
        Costs of each example, if the decision needs them.
    ignore : collection of str, default=()
        Codes of checks to leave out.
    max_inputs, n_votes : int, default=200, 100
        Inputs that are voted on, and votes on each.

    Returns
    -------
    findings : Findings
        A list of :class:`~smoothcs.diagnosis.Finding`, one per check, with ``code``, ``status``
        ("issue", "tip" or "passed"), ``message`` and ``link``; its repr is a table.

    Raises
    ------
    ValueError, TypeError
        If a parameter is refused, or nothing in ``model`` draws votes.

    See Also
    --------
    smoothcs.report : what is certified, once nothing is left to mend.

    Examples
    --------
    >>> import smoothcs
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = smoothcs.CostSensitiveSmoothedClassifier(
    ...     objective="gaussian", max_epochs=30, lr=0.01, random_state=0
    ... ).fit(X[::2], y[::2])
    >>> findings = smoothcs.diagnose(clf, X[1::2], y[1::2], X_train=X[::2])
    >>> [(f.code, f.status) for f in findings if f.code in ("SC101", "SC103")]
    [('SC101', 'passed'), ('SC103', 'issue')]
    """
    for code in ignore:
        check_choice("ignore", code, CHECKS)
    clf, reached, _ = _unwrapped(model, X, "certify_at")
    check_is_fitted(clf)
    inputs = check_inputs(clf, reached, reset=False)
    rows = _rows(inputs)
    own = check_costs(costs, len(inputs), len(clf.classes_))
    truth = None if y is None and not _has_labels(inputs) else check_labels(inputs, y, clf)
    if truth is not None:
        encode_labels(truth, clf.classes_)
        truth = truth[rows]
    eps = clf._eps(eps)
    if np.ndim(eps):
        raise ValueError(f"eps must be one number; got {eps!r}.")
    drawn = 0
    chosen = _taken(inputs, rows)
    own = None if own is None else own[rows]

    def draw(at: NDArray[np.intp], n: int) -> NDArray[np.int64]:
        nonlocal drawn
        drawn += n * len(at)
        draw_some = clf._draw(chosen[at], None if own is None else own[at])
        votes: NDArray[np.int64] = draw_some(n, purpose="selection")
        return votes

    case = Case(
        clf,
        chosen,
        truth,
        None if X_train is None else _training(model, clf, X_train),
        eps,
        draw,
        check_integer("max_inputs", max_inputs),
        check_integer("n_votes", n_votes),
        getattr(clf, "feature_names_in_", None),
        own,
    )
    found = []
    for code in sorted(set(CHECKS) - set(ignore)):
        title, function = CHECKS[code]
        status, message = function(case)
        found.append(Finding(code, title, status, message))
    return Findings(found, drawn)


def _training(model: Any, clf: Any, X_train: Any) -> NDArray[np.float32]:
    inputs = check_inputs(clf, _unwrapped(model, X_train, "certify_at")[1], reset=False)
    return _taken(inputs, np.arange(len(inputs)))


def _rows(inputs: Any) -> NDArray[np.intp]:
    n = len(inputs)
    most = min(n, MOST_ITEMS) if is_dataset(inputs) else n
    return np.linspace(0, n - 1, most).astype(np.intp)


def _taken(inputs: Any, rows: NDArray[np.intp]) -> NDArray[np.float32]:
    if not is_dataset(inputs):
        return np.asarray(inputs[rows], dtype=np.float32)
    return np.stack([np.asarray(input_of(inputs[int(i)]), dtype=np.float32) for i in rows])


def _has_labels(inputs: Any) -> bool:
    return is_dataset(inputs) and isinstance(inputs[0], tuple | list)
