"""The papers' figures, from result files: curves, histograms, heat maps, frontier."""

from __future__ import annotations

from typing import Any

import numpy as np

from .measure import RADIUS_BINS
from .methods import METHODS
from .store import Store
from .tables import results
from .tasks import Task

LOSS = 0.01  # the models whose curves and histograms are shown, as in the papers


def draw(store: Store, task: Task) -> None:
    """Write the figures of a task beside its results; nothing without matplotlib or results."""
    found = results(store, task)
    if not found:
        return
    try:
        import matplotlib
    except ImportError:
        print("no figures: matplotlib is not installed")
        return
    matplotlib.use("Agg")
    for name, figure in (
        ("curves", _curves),
        ("histograms", _histograms),
        ("errors", _errors),
        ("frontier", _frontier),
    ):
        path = store.folder / task.name / f"{name}.png"
        figure(found, task).savefig(path, dpi=120)
        print(f"wrote {path}")


def _plain(run: dict[str, Any]) -> dict[str, Any]:
    return next(r["test"] for r in run["rows"] if r["loss"] == LOSS and r["rule"] == "plurality")


def _axes(rows: int, columns: int, width: float, height: float) -> Any:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        rows, columns, figsize=(width, height), layout="constrained", squeeze=False
    )
    return figure, axes


def _curves(found: dict[str, Any], task: Task) -> Any:
    figure, axes = _axes(1, 1, 6, 4)
    for i, (method, runs) in enumerate(found.items()):
        tests = [_plain(run) for run in runs]
        axes[0, 0].plot(
            tests[0]["curve_eps"],
            np.mean([t["curve_rob_cs"] for t in tests], axis=0),
            ["-", "--", "-.", ":"][i % 4],
            label=METHODS[method],
        )
    axes[0, 0].set(
        xlabel="eps (l2, pixels in [0, 1])", ylabel="rob_cs", title=f"{task.dataset} {task.name}"
    )
    axes[0, 0].legend(fontsize=8)
    return figure


def _histograms(found: dict[str, Any], task: Task) -> Any:
    methods = [m for m in ("gaussian", "gaussian-cs", "macer", "margin-cs") if m in found]
    figure, axes = _axes(1, len(methods), 3 * len(methods), 3)
    for ax, method in zip(axes[0], methods, strict=True):
        test = _plain(found[method][0])
        for kind in ("standard", "group"):
            ax.stairs(test[f"histogram_{kind}"], RADIUS_BINS, label=kind, fill=kind == "standard")
        ax.set(title=METHODS[method], xlabel="radius / sigma", ylabel="sensitive inputs")
    axes[0, 0].legend(fontsize=8)
    return figure


def _errors(found: dict[str, Any], task: Task) -> Any:
    methods = [m for m in ("gaussian", "margin-cs") if m in found]
    figure, axes = _axes(len(methods), 2, 9, 4 * len(methods))
    for row, method in zip(axes, methods, strict=True):
        test = _plain(found[method][0])
        for ax, kind in zip(row, ("clean_error", "robust_error"), strict=True):
            values = np.array(test[kind], dtype=float)
            np.fill_diagonal(values, np.nan)
            image = ax.imshow(values, vmin=0, vmax=1, cmap="viridis")
            for y, k in np.argwhere(task.costs > 0):
                ax.plot(k, y, "rs", markersize=9, fillstyle="none")
            ax.set(
                title=f"{METHODS[method]}: {kind.replace('_', ' ')}",
                xlabel="predicted class",
                ylabel="true class",
            )
        figure.colorbar(image, ax=row, label="share of the class (red: costly)")
    return figure


def _frontier(found: dict[str, Any], task: Task) -> Any:
    figure, axes = _axes(1, 1, 7, 4.5)
    colours = [f"C{i}" for i in range(10)]
    for colour, (method, runs) in zip(colours, found.items(), strict=False):
        for rule, style in (("plurality", "o-"), ("votes", "s--"), ("scores", "^:")):
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
            name = METHODS[method] + (" + rule" if rule else "")
            axes[0, 0].plot(points[:, 0], points[:, 1], style, color=colour, label=name, ms=4)
    axes[0, 0].set(xlabel="accuracy", ylabel="rob_cs", title=f"{task.dataset} {task.name}, test")
    axes[0, 0].legend(fontsize=7, ncols=2)
    return figure
