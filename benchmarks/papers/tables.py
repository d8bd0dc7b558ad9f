"""Tables in reStructuredText, printed from result files alone."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np

from .choose import RULES
from .methods import METHODS, SLOW
from .store import Store
from .tasks import Task

COLUMNS = {
    "accuracy": "Acc",
    "rob_cs": "Rob_cs",
    "rob_cost": "Rob_cost",
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
    """Return all that docs/benchmarks.rst says of a task: the papers' table, frontiers, winners."""
    found = results(store, task)
    if not found:
        return f"{task.dataset} {task.name}: no results yet"
    run = next(iter(found.values()))[0]
    test = run["rows"][0]["test"]
    return "\n\n".join(
        [
            f"{task.dataset}, {task.name}: sigma = {task.sigma}, eps = {task.eps}, n = {run['n']}, "
            f"{test['n_certified']} sensitive inputs certified, accuracy on "
            f" {test['n_accuracy']}, {run['hardware']}",
            "accuracy loss <= 1 point",
            _papers_table(found),
            *(
                text
                for rule, name in RULES.items()
                for text in (
                    f"accuracy / rob_cs (deviation) at each loss, {name}",
                    _frontier_table(found, rule),
                    f"accuracy / rob_cost (deviation) at each loss, {name}",
                    _frontier_table(found, rule, key="rob_cost"),
                )
            ),
            "highest rob_cs, with or without a rule, of the fast methods that keep the accuracy "
            "with every seed: accuracy / rob_cs, standard deviation over seeds",
            _winners_table(found),
            _training_time(store),
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
        rows = [_row(run, 0.01, "plurality") for run in runs]
        seconds = f"{np.mean([row['seconds'] for row in rows]):.0f}"
        numbers = [_mean(rows, key) for key in shown]
        body.append([_name(method, rows), *numbers, str(len(rows)), seconds, _setting(rows[0])])
    return grid([["method", *shown.values(), "seeds", "CPU s", "setting of seed 0"], *body])


def _frontier_table(found: dict[str, list[dict[str, Any]]], rule: str, key: str = "rob_cs") -> str:
    losses = sorted({row["loss"] for runs in found.values() for row in runs[0]["rows"]})
    body = []
    for method, runs in found.items():
        cells = []
        for loss in losses:
            rows = [_row(run, loss, rule) for run in runs]
            star = _name("", rows)
            spread = _spread(rows, key)
            cells.append(f"{_mean(rows, 'accuracy')} / {_mean(rows, key)}{spread}{star}")
        body.append([METHODS[method], *cells])
    return grid([["method", *(f"{100 * loss:g} points" for loss in losses)], *body])


def _winners_table(found: dict[str, list[dict[str, Any]]]) -> str:
    losses = sorted({row["loss"] for runs in found.values() for row in runs[0]["rows"]})
    body = []
    for loss in losses:
        best: tuple[float, list[str]] = (-1.0, [f"{100 * loss:g} points", "none", "", ""])
        for method, rule in itertools.product(sorted(set(found) - SLOW), RULES):
            rows = [_row(run, loss, rule) for run in found[method]]
            values = [row["test"]["rob_cs"] for row in rows]
            if all(row["feasible"] for row in rows) and np.mean(values) > best[0]:
                spread = f"{np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
                name = METHODS[method] + (f" + {rule}" if rule != "plurality" else "")
                numbers = f"{_mean(rows, 'accuracy')} / {_mean(rows, 'rob_cs')}"
                best = float(np.mean(values)), [best[1][0], name, numbers, spread.lstrip("0")]
        body.append(best[1])
    return grid([["loss", "method", "test", "deviation"], *body])


def _training_time(store: Store) -> str:
    """What all models of this folder took, those of other tasks included."""
    notes = list((store.folder / "models").glob("*/train-from-*.json"))
    seconds = sum(json.loads(path.read_text())["seconds"] for path in notes)
    folders = {path.parent for path in notes}
    return f"{len(folders)} models in this folder, trained in {seconds / 60:.0f} CPU minutes"


def _mean(rows: list[dict[str, Any]], key: str) -> str:
    return f"{np.mean([row['test'].get(key, np.nan) for row in rows]):.3f}".lstrip("0")


def _spread(rows: list[dict[str, Any]], key: str) -> str:
    """Return the standard deviation over seeds, in brackets."""
    if len(rows) == 1:
        return ""
    deviation = np.std([row["test"].get(key, np.nan) for row in rows], ddof=1)
    return f" ({deviation:.3f})".replace("0.", ".")


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


def _row(run: dict[str, Any], loss: float, rule: str) -> dict[str, Any]:
    return next(row for row in run["rows"] if row["loss"] == loss and row["rule"] == rule)
