"""The report of a certified classifier: one certification, and a document made from it."""

from __future__ import annotations

import os
import warnings
from copy import copy
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from smoothcs._estimator._inputs import check_inputs, check_labels, identical_inputs
from smoothcs._estimator._unwrap import _describe, _unwrapped
from smoothcs._validation import check_integer, check_probability
from smoothcs.bounds.binomial import clopper_pearson_lower, clopper_pearson_upper
from smoothcs.certification import Certificates
from smoothcs.certification._intervals import MEANS, SHARES, group_codes
from smoothcs.certification._npz import written_whole
from smoothcs.plotting._accuracy import confidence_band
from smoothcs.plotting._common import units_of
from smoothcs.reporting import _content
from smoothcs.reporting._document import as_html, as_markdown, as_page, as_text
from smoothcs.reporting._pictures import pictures


class Interval(NamedTuple):
    """A number between its confidence limits, which are nan where there are none."""

    value: float
    lower: float = float("nan")
    upper: float = float("nan")
    n: int = 0


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


@dataclass(eq=False, repr=False)
class Report:
    """What a classifier achieves on given inputs, and what is certified about it.

    Made by :func:`smoothcs.report`. In a notebook it shows itself as HTML.

    Attributes
    ----------
    certificates : Certificates
        What all numbers are computed from.
    eps : float
        The radius at which certified metrics are taken.
    confidence : float
        Of the intervals.
    model : dict of str to str
        What was certified, and how.
    title : str
    units : str
        Of eps and of all radii.
    created : str
        When, in UTC.

    See Also
    --------
    smoothcs.diagnose : checks of a classifier before it is reported on.
    """

    certificates: Certificates
    _: KW_ONLY
    eps: float
    confidence: float
    model: dict[str, str]
    title: str
    units: str
    noise_groups: Any
    foreseeable: bool
    groups: Any = None
    created: str = field(default_factory=_now, init=False)

    @property
    def y(self) -> np.ndarray:
        """The true classes."""
        return self.certificates._truth("a report")

    @cached_property
    def metrics(self) -> dict[str, Interval]:
        """Every metric by its name, with limits at ``confidence`` for the draw of the inputs.

        Shares have the limits of Clopper and Pearson, means of costs those that an inequality for
        bounded numbers allows, as in :class:`smoothcs.plotting.CertifiedAccuracyDisplay`. Bills and
        savings have none: they are those of these inputs. With groups, limits are those of
        :meth:`Certificates.intervals <smoothcs.Certificates.intervals>`, for savings as well.
        """
        c, eps = self.certificates, self.eps
        with warnings.catch_warnings():  # metrics of sensitive inputs are left out without any
            warnings.filterwarnings("ignore", "rob_.* is nan: no example", UserWarning)
            values = c.report(eps)
        dearest = c.cost_matrix.matrix[c.cost_matrix.encode(self.y)]
        n, few = len(c), self.n_sensitive
        found = {
            "accuracy": self._share(values["accuracy"], n),
            "constant_accuracy": Interval(values["constant_accuracy"], n=n),
        }
        if few:
            found["rob_cs"] = self._share(values["rob_cs"], few)
            top = float(dearest.sum(axis=1).max())
            found["rob_cost"] = self._share(values["rob_cost"], few, top)
        found["certified_accuracy"] = self._share(values["certified_accuracy"], n)
        found["abstention_rate"] = self._share(values["abstention_rate"], n)
        top = float(dearest.max())
        if top > 0:
            cost = values["misclassification_cost"]
            found["misclassification_cost"] = self._share(cost, n, top)
        for name in ("clean_bill", "bill", "clean_savings", "savings"):
            if np.isfinite(values[name]):
                found[name] = Interval(values[name], n=n)
        return found if self.groups is None else self._between_groups(found)

    def _between_groups(self, found: dict[str, Interval]) -> dict[str, Interval]:
        names = [name for name in found if name in SHARES + MEANS]
        limits = self.certificates.intervals(
            self.eps, groups=self.groups, names=names, confidence=self.confidence
        )
        bounded = {k: found[k]._replace(lower=low, upper=up) for k, (low, up) in limits.items()}
        return {**found, **bounded}

    @cached_property
    def by_class(self) -> dict[Any, dict[str, Interval]]:
        """Recall, precision and, where mistakes of the class cost something, rob_cs by label.

        Without limits if there are groups.
        """
        c = self.certificates
        correct = (c.label == self.y) & ~c.abstained
        found: dict[Any, dict[str, Interval]] = {}
        for label, targets in zip(c.classes.tolist(), c.cost_matrix.omega, strict=True):
            own, called = self.y == label, (c.label == label) & ~c.abstained
            shares = {"recall": correct[own], "precision": correct[called]}
            if targets.any():
                shares["rob_cs"] = c.radius_group[own] > self.eps
            found[label] = {
                name: self._share(float(np.mean(hit)), len(hit)) if len(hit) else Interval(np.nan)
                for name, hit in shares.items()
            }
        return found

    @property
    def n_sensitive(self) -> int:
        """How many of the inputs are of a class some of whose mistakes cost something."""
        return int(np.count_nonzero(~np.isnan(self.certificates.radius_group)))

    def __repr__(self) -> str:
        return as_text(self.title, _content.sections(self))

    def to_markdown(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the report as Markdown, without pictures, and write it to ``path`` if given."""
        return _written(as_markdown(self.title, _content.sections(self)), path)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the report as an HTML page of its own, and write it to ``path`` if given.

        The three displays are part of it if matplotlib is installed.
        """
        return _written(as_page(self.title, self._repr_html_()), path)

    def _repr_html_(self) -> str:
        return self._html

    @cached_property
    def _html(self) -> str:
        drawn = pictures(
            self.certificates, self.eps, self.units, confidence=self.confidence, groups=self.groups
        )
        return as_html(self.title, [*_content.sections(self), *drawn])

    def _share(self, mean: float, n: int, top: float | None = None) -> Interval:
        if self.groups is not None:
            return Interval(float(mean), n=n)
        if top is None:
            k, level = round(mean * n), (1.0 - self.confidence) / 2.0
            lower, upper = clopper_pearson_lower(k, n, level), clopper_pearson_upper(k, n, level)
        else:
            lower, upper = confidence_band(np.asarray(mean), n, self.confidence, top=top)
        return Interval(float(mean), float(lower), float(upper), n)


def report(
    model: Any,
    X: Any,
    y: Any = None,
    *,
    eps: float | None = None,
    costs: Any = None,
    groups: Any = None,
    confidence: float = 0.95,
    n_estimation: int | None = None,
    title: str | None = None,
    units: str | None = None,
) -> Report:
    """Certify inputs once, and report on the classifier in a form that can be handed on.

    Parameters
    ----------
    model : CostSensitiveSmoothedClassifier, TunedDecisionClassifier, Pipeline or fitted search
        Fitted.
    X : array-like (n, ...) or Dataset
        Inputs that took no part in training, as ``model`` takes them.
    y : array-like (n,)
        True labels; optional for a Dataset that yields ``(x, y)``.
    eps : float, default=None
        Radius at which certified metrics are taken. If None, the estimator's.
    costs : array-like (n, m, m), default=None
        Costs of each example, as in :meth:`CostSensitiveSmoothedClassifier.certify`.
    groups : array-like (n,), default=None
        To whom or what each input belongs (a patient, a sign seen in several frames): intervals are
        then by bootstrap over groups. If None, inputs are taken to be independent.
    confidence : float, default=0.95
        Of the intervals, in (0, 1). They cover the draw of the inputs, or of the groups.
    n_estimation : int, default=None
        Votes per input, in place of the estimator's. All are drawn: the report shows radii.
    title : str, default=None
        Of the document.
    units : str, default=None
        Units of eps and of the radii, for instance "standard deviations". If None, those of
        ``X``.

    Returns
    -------
    report : Report
        Its repr is text; ``to_html`` and ``to_markdown`` make documents.

    Raises
    ------
    ValueError, TypeError
        If the data or a parameter is refused, or nothing in ``model`` certifies by votes.
    CertificationInterrupted
        On Ctrl-C. No report is made on a part of the inputs; the exception holds the certificates
        of those that were finished.

    Examples
    --------
    >>> import smoothcs
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = smoothcs.CostSensitiveSmoothedClassifier(
    ...     objective="gaussian", max_epochs=30, lr=0.01, n_estimation=200, random_state=0
    ... ).fit(X[::2], y[::2])
    >>> report = smoothcs.report(clf, X[1::2], y[1::2], eps=0.1, units="cm")
    >>> report.metrics["accuracy"].n
    75
    >>> print(report.to_markdown().splitlines()[0])
    # Certified report: CostSensitiveSmoothedClassifier
    """
    clf, reached, passed = _unwrapped(model, X, "certify")
    name = _describe(clf, passed)
    if not hasattr(clf, "certify_at"):
        raise TypeError(
            f"{name} certifies without votes and radii, on which a report rests; its numbers are "
            "those of certified_report."
        )
    check_probability("confidence", confidence)
    y = check_labels(reached, y, clf)
    if groups is not None:
        group_codes(groups, len(y))  # refused before anything is drawn
    if n_estimation is not None:
        clf = copy(clf).set_params(n_estimation=check_integer("n_estimation", n_estimation))
    at = clf._eps(eps)
    if np.ndim(at):
        raise ValueError(f"eps must be one number for a report; got {eps!r}.")
    certificates = replace(clf.certify(reached, y, costs=costs), model=name)
    units = units_of(certificates, units)
    if passed:
        units = f"{units} behind {', '.join(passed)}" if units.startswith("units of") else units
    return Report(
        certificates,
        eps=at,
        confidence=confidence,
        model=_content.describe_model(clf, certificates),
        title=f"Certified report: {name}" if title is None else title,
        units=units,
        noise_groups=identical_inputs(check_inputs(clf, reached, reset=False)),
        foreseeable=clf.random_state is not None,
        groups=groups,
    )


class ReportMixin:
    """Gives an estimator the method ``report``."""

    report = report  # as a method, whose model is the estimator


def _written(text: str, path: str | os.PathLike[str] | None) -> str:
    if path is not None:
        with written_whole(Path(path)) as file:
            file.write(text.encode("utf-8"))
    return text
