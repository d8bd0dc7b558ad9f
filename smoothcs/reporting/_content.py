"""What a report contains, as sections."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from smoothcs._version import __version__
from smoothcs.certification import Certificates
from smoothcs.certification._informative import uninformative
from smoothcs.certification._reach import ceiling
from smoothcs.reporting._document import Section, Sentences, Table, plain

if TYPE_CHECKING:
    from smoothcs.reporting._report import Interval, Report

MOST_CLASSES = 12  # whose cost matrix is shown entry by entry
PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "skorch")

MEANING = {
    "accuracy": "share of inputs whose true class is certified to be the prediction, no attack",
    "constant_accuracy": "accuracy of always answering the commonest class",
    "rob_cs": "share of sensitive inputs that no perturbation within eps turns into a costly "
    "mistake",
    "rob_cost": "mean, over sensitive inputs, of the summed costs of what is not ruled out at eps",
    "certified_accuracy": "share of inputs certified to keep their true label within eps",
    "abstention_rate": "share of inputs on which nothing is certified",
    "misclassification_cost": "mean cost, by the cost matrix, of predictions without an attack",
    "clean_bill": "summed costs of these inputs without an attack",
    "bill": "summed costs of these inputs at worst within eps",
    "clean_savings": "share of the cheapest constant answer's bill that is saved",
    "savings": "the same at worst within eps",
}


def describe_model(clf: Any, c: Certificates) -> dict[str, str]:
    """Return what was certified, and how, line by line."""
    reach = ceiling(c)
    rows = {
        "Certified by": c.model or type(clf).__name__,
        "Base classifier": _base(clf.module_),
        "Decision": "the class with the most votes" if clf.decision is None else repr(clf.decision),
        **_scores(clf, c),
        "Noise (sigma)": f"{c.sigma:g}, in the units of what reaches the classifier",
        "Noise by entry": _scale(c.noise_scale),
        "Failure probability (alpha)": f"{c.alpha:g} for each input and each kind of radius",
        "Votes per input": f"{_count(c.n)} that bound the radius, after {clf.n_selection} that "
        "choose the class",
        "Bound": f"{c.bound}; radii are lower bounds, and none can exceed "
        + ("0" if reach is None else f"{reach:.4g}"),
        "Precision": f"{clf.precision} for the module, float32 for the noise",
        "Key of the noise": "made from random_state, hence foreseeable"
        if clf.random_state is not None
        else "secret, drawn at fit",
        "Objective": str(getattr(clf, "objective_", "that of the base classifier itself")),
    }
    return {name: plain(value) for name, value in rows.items()}


def sections(report: Report) -> list[Section]:
    """Return the sections of a report."""
    return [
        *_caution(report),
        _summary(report),
        _metrics(report),
        _by_class(report),
        _data(report),
        *_costs(report.certificates, report.y),
        Table("Classifier and certification", ("", ""), list(report.model.items())),
        Sentences("What is certified", _certified(report)),
        Sentences("What is not certified", _not_certified(report)),
        Table("Versions", ("", ""), list(versions().items())),
    ]


def versions() -> dict[str, str]:
    """Return the versions of what computed a report."""
    found = {"smoothcs": __version__, "Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # vendored, or run from a folder
            continue
    return {**found, "system": platform.platform(terse=True)}


def shown(interval: Interval) -> str:
    """Write a number and its limits with three decimals."""
    value, lower, upper, _ = interval
    if np.isnan(value):
        return "not defined"
    text = f"{value:.3f}" if abs(value) < 1000 else f"{value:,.0f}"
    return text if np.isnan(lower) else f"{text} [{lower:.3f}, {upper:.3f}]"


def _caution(report: Report) -> list[Section]:
    c = report.certificates
    reason = uninformative(report.y, c.label, c.cost_matrix, costs=c.costs)
    if reason is None:
        return []
    advice = "Certified scores below can be high all the same: read them beside the accuracy."
    return [Sentences("Caution", [reason, advice])]


def _summary(report: Report) -> Sentences:
    m, at = report.metrics, f"within eps = {report.eps:g} ({report.units})"
    lines = [
        f"Accuracy {shown(m['accuracy'])}; a constant answer reaches "
        f"{shown(m['constant_accuracy'])}."
    ]
    if "rob_cs" in m:
        lines.append(
            f"Rob_cs {shown(m['rob_cs'])}: the share of the {report.n_sensitive} sensitive inputs "
            f"that no perturbation {at} can turn into a costly mistake."
        )
    else:
        lines.append("No input is of a class whose mistakes cost something: rob_cs is undefined.")
    lines.append(f"Made on {report.created}; intervals at {report.confidence:.0%} confidence.")
    return Sentences("Summary", lines)


def _metrics(report: Report) -> Table:
    rows = [(name, shown(value), MEANING[name]) for name, value in report.metrics.items()]
    if report.groups is None:
        cover = (
            "the random draw of the inputs, if these are independent of each other; frames of one "
            "film or images of one patient are not."
        )
    else:
        groups = np.asarray(report.groups)
        sensitive = ~np.isnan(report.certificates.radius_group)
        cover = (
            f"the random draw of {len(set(groups.tolist()))} groups of inputs, of which "
            f"{len(set(groups[sensitive].tolist()))} have sensitive inputs, approximately."
        )
    note = (
        f"Intervals at {report.confidence:.0%} cover {cover} They do not cover the failure "
        "probability alpha of each certificate."
    )
    return Table(f"Metrics at eps = {report.eps:g}", ("metric", "value", "meaning"), rows, note)


def _by_class(report: Report) -> Table:
    rows = []
    for label, metrics in report.by_class.items():
        texts = [shown(metrics[n]) if n in metrics else "" for n in ("recall", "precision")]
        last = shown(metrics["rob_cs"]) if "rob_cs" in metrics else "no costly mistake"
        rows.append((label, metrics["recall"].n, *texts, last))
    return Table("By class", ("class", "inputs", "recall", "precision", "rob_cs"), rows)


def _data(report: Report) -> Table:
    c, y = report.certificates, report.y
    counts = [(label, int(np.count_nonzero(y == label))) for label in c.classes.tolist()]
    rows: list[tuple[Any, Any]] = [("inputs", len(c)), ("classes", len(counts))]
    rows += [(f"class {label}", f"{k} ({k / len(c):.1%})") for label, k in counts]
    copies = len(c) - len(set(report.noise_groups.tolist()))
    rows += [("of sensitive classes", report.n_sensitive), ("copies of other inputs", copies)]
    return Table("Data", ("", ""), rows)


def _costs(c: Certificates, y: Any) -> list[Section]:
    matrix, classes = c.cost_matrix.matrix, c.classes.tolist()
    note = "Rows are true classes, columns predictions; a mistake that costs 0 is free."
    if len(classes) <= MOST_CLASSES:
        rows = [
            (label, *[f"{cost:g}" for cost in row])
            for label, row in zip(classes, matrix, strict=True)
        ]
        found = [Table("Costs", ("true class", *classes), rows, note)]
    else:
        dearest = np.argsort(-matrix, axis=None, kind="stable")[:MOST_CLASSES]
        pairs = [np.unravel_index(k, matrix.shape) for k in dearest]
        rows = [(classes[i], classes[j], f"{matrix[i, j]:g}") for i, j in pairs if matrix[i, j] > 0]
        note = f"The dearest of {np.count_nonzero(matrix)} mistakes that cost something."
        found = [Table("Costs", ("true class", "predicted", "cost"), rows, note)]
    if c.costs is None:
        return list(found)
    dear = c.costs[np.arange(len(c)), c.cost_matrix.encode(y)].max(axis=1)
    quartiles = np.quantile(dear, [0, 0.25, 0.5, 0.75, 1])
    own = [
        ("dearest answer to an input, from least to most", _row(quartiles)),
        ("mean", f"{dear.mean():.4g}"),
        ("sum", f"{dear.sum():,.4g}"),
    ]
    note = "Least, quarter, median, three quarters, most. Bills and savings use these costs."
    return [*found, Table("Costs of each input", ("", ""), own, note)]


def _certified(report: Report) -> list[str]:
    c = report.certificates
    lines = [
        f"For each input by itself, with probability at least {1 - c.alpha:g} over the noise drawn "
        "for it: no perturbation smaller than its certified radius makes the smoothed classifier "
        "predict a class that is costly for the input's true class.",
        f"Perturbations are measured by their l2 size ({report.units}).",
    ]
    if report.n_sensitive:
        k = int(np.count_nonzero(c.radius_group > report.eps))
        lines.append(
            f"At eps = {report.eps:g} this holds for {k} of {report.n_sensitive} sensitive inputs."
        )
    lines.append(
        "It applies to the classifier as it was run: these weights, this sigma, this precision, on "
        "this kind of device."
    )
    if c.noise_scale is not None and not c.noise_scale.all():
        lines.append("It applies to changes of the entries that have noise; the others are fixed.")
    return lines


def _not_certified(report: Report) -> list[str]:
    c = report.certificates
    lines = [
        f"Attacks beyond eps = {report.eps:g}, or beyond an input's radius: nothing is "
        "claimed about them, neither that they succeed nor that they fail.",
        "Changes of another kind: rotations, occlusions, other norms, inputs of another "
        "distribution than these.",
        f"All inputs at once: of {len(c)} certificates of a kind {c.alpha * len(c):.2g} may be "
        f"expected to be false (alpha = {c.alpha:g}), and more by chance.",
        "That predictions are right: a wrong class that costs nothing may be predicted, even "
        "within the radius.",
        "Shares of other data: intervals cover inputs drawn as these were, not a shift of the data "
        "nor a model that was chosen on them.",
    ]
    if report.foreseeable:
        lines.append(
            "Inputs chosen by anyone who knows random_state: they can foresee the noise, and pick "
            "an input to suit it."
        )
    if c.model is not None and " behind " in c.model:
        lines.append(
            "Changes measured before those steps: sizes are those of what reaches the classifier, "
            "after them."
        )
    return lines


def _base(fitted: Any) -> str:
    if isinstance(fitted, torch.nn.Module):
        n = sum(p.numel() for p in fitted.parameters())
        return f"{type(fitted).__name__}, {n:,} parameters"
    model = getattr(fitted, "estimator", fitted)
    return getattr(model, "__name__", None) or type(model).__name__


def _scores(clf: Any, c: Certificates) -> dict[str, str]:
    """Return what acts on the scores of each noisy copy beside the decision."""
    rule = getattr(c.decision, "inside", None)
    rows = {}
    if rule is not None:
        rows["Temperature of the scores"] = f"{getattr(rule, 'temperature', clf.temperature):g}"
        if clf.decision_costs is not None:
            rows["Costs of the decision"] = str(clf.decision_costs)
    return rows


def _scale(scale: Any) -> str:
    if scale is None:
        return "the same for all entries"
    moving = scale[scale > 0]
    fixed = "; the others are taken to be fixed" if moving.size < scale.size else ""
    return (
        f"{moving.size} of {scale.size} entries have noise, of scale {moving.min():g} to "
        f"{moving.max():g} times sigma{fixed}"
    )


def _count(n: Any) -> str:
    low, high = int(np.min(n)), int(np.max(n))
    return f"{high:,}" if low == high else f"{low:,} to {high:,}"


def _row(values: Any) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
