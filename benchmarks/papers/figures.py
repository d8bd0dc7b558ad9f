"""The frontier of every method, from result files."""

from __future__ import annotations

from typing import Any

import numpy as np

from .choose import RULES
from .methods import METHODS
from .store import Store
from .tables import results
from .tasks import Task


def draw(store: Store, task: Task) -> None:
    """Write the figure of a task beside its results; nothing without matplotlib or results."""
    found = results(store, task)
    if not found:
        return
    try:
        import matplotlib
    except ImportError:
        print("no figures: matplotlib is not installed")
        return
    matplotlib.use("Agg")
    path = store.folder / task.name / "frontier.png"
    _frontier(found, task).savefig(path, dpi=120)
    print(f"wrote {path}")


def _frontier(found: dict[str, Any], task: Task) -> Any:
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for i, (method, runs) in enumerate(found.items()):
        for rule, style in zip(RULES, ("o-", "s--", "^:"), strict=True):
            points = np.array(
                [
                    [
                        [r["test"]["accuracy"], r["test"]["rob_cs"]]
                        for r in run["rows"]
                        if r["rule"] == rule
                    ]
                    for run in runs
                ]
            ).mean(axis=0)
            name = METHODS[method] + ("" if rule == "plurality" else f", weights of {rule}")
            ax.plot(points[:, 0], points[:, 1], style, color=f"C{i}", label=name, ms=4)
    ax.set(xlabel="accuracy", ylabel="rob_cs", title=f"{task.dataset} {task.name}, test")
    ax.legend(fontsize=7, ncols=2)
    return figure
