"""Tables in reStructuredText, printed from result files alone."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from .methods import METHODS
from .store import Store
from .tasks import Task

COLUMNS = {
    "accuracy": "Acc",
    "rob_cs": "Rob_cs",
    "rob_cost": "Rob_cost",
    "rob_standard": "standard",
    "rob_nonsensitive": "others",
    "precision": "precision",
    "recall": "recall",
}


def results(store: Store, task: Task) -> dict[str, list[dict[str, Any]]]:
    """Return the result files of a task, by method, one a seed."""
    found = {}
    for method in METHODS:
        paths = sorted((store.folder / task.name).glob(f"{method}-s[0-9]*.json"))
        if paths:
            found[method] = [json.loads(path.read_text()) for path in paths]
    return found


def tables(store: Store, task: Task) -> str:
    """Return the papers' table at one point of accuracy, and frontiers without and with rule."""
    found = results(store, task)
    if not found:
        return f"{task.dataset} {task.name}: no results yet"
    run = next(iter(found.values()))[0]
    test = run["rows"][0]["test"]
    return "\n\n".join(
        [
            f"{task.dataset}, {task.name}: sigma = {task.sigma}, eps = {task.eps}, n = {run['n']}, "
            f"{test['n_certified']} inputs certified ({test['n_sensitive']} sensitive), accuracy "
            f"on {test['n_accuracy']}, {run['hardware']}",
            "accuracy loss <= 1 point",
            _papers_table(found),
            "accuracy / rob_cs at each loss, plurality vote",
            _frontier_table(found, rule=False),
            "accuracy / rob_cs at each loss, tuned decision rule",
            _frontier_table(found, rule=True),
            *_settings_table(found),
        ]
    )


def _papers_table(found: dict[str, list[dict[str, Any]]]) -> str:
    shown = {
        k: title
        for k, title in COLUMNS.items()
        if any(k in run["rows"][0]["test"] for runs in found.values() for run in runs)
    }
    body = []
    for method, runs in found.items():
        rows = [_row(run, 0.01, False) for run in runs]
        minutes = f"{np.mean([row['minutes'] for row in rows]):.1f}"
        numbers = [_mean(rows, key) for key in shown]
        body.append([_name(method, rows), *numbers, str(len(rows)), minutes, _setting(rows[0])])
    return grid([["method", *shown.values(), "seeds", "minutes", "setting of seed 0"], *body])


def _frontier_table(found: dict[str, list[dict[str, Any]]], rule: bool) -> str:
    losses = sorted({row["loss"] for runs in found.values() for row in runs[0]["rows"]})
    body = []
    for method, runs in found.items():
        cells = []
        for loss in losses:
            rows = [_row(run, loss, rule) for run in runs]
            star = _name("", rows)
            cells.append(f"{_mean(rows, 'accuracy')} / {_mean(rows, 'rob_cs')}{star}")
        body.append([METHODS[method], *cells])
    return grid([["method", *(f"{100 * loss:g} points" for loss in losses)], *body])


def _settings_table(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    """The papers' tables over (lambda_1, lambda_2) and (gamma_1, gamma_2), on validation data."""
    if "margin-cs" not in found:
        return []
    names = ("lambda_robust", "lambda_sensitive", "gamma_normal", "gamma_sensitive")
    body = [
        [f"{point['parameters'][name]:g}" for name in names]
        + [f"{value:.3f}".lstrip("0") for value in point["validation"]]
        for point in found["margin-cs"][0]["grid"]
    ]
    head = ["lambda_1", "lambda_2", "gamma_1", "gamma_2", "Acc", "Rob_cs"]
    return ["Margin-CS over its settings, validation split, seed 0", grid([head, *body])]


def _mean(rows: list[dict[str, Any]], key: str) -> str:
    return f"{np.mean([row['test'].get(key, np.nan) for row in rows]):.3f}".lstrip("0")


def _name(method: str, rows: list[dict[str, Any]]) -> str:
    """Return the name, with a star if no candidate kept the accuracy with some seed."""
    return METHODS.get(method, "") + ("" if all(row["feasible"] for row in rows) else " *")


def grid(rows: list[list[str]]) -> str:
    """Return a simple table of reStructuredText."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    line = "  ".join("=" * w for w in widths)
    text = [
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return "\n".join([line, text[0], line, *text[1:], line])


def _setting(row: dict[str, Any]) -> str:
    return "" if row["setting"] == "-" else row["setting"]  # alone, it would be a list


def _row(run: dict[str, Any], loss: float, rule: bool) -> dict[str, Any]:
    return next(row for row in run["rows"] if row["loss"] == loss and row["rule"] == rule)
