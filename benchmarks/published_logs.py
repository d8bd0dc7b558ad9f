"""Class-wise and worst-class rob_cs of published CIFAR-10 models, from their certification logs.

A log holds, for each test image, the prediction and its standard radius. Where every mistake on a
class is costly (a seed-wise cost matrix) the group radius equals the standard one, so the logs
decide rob_cs of every class without running a model. No radius of a single target follows from
them. The logs are those of the CAT-RS repository (folder ``certification_logs``); the command
rewrites the tables and the figure of docs/published_logs.rst.

    python -m benchmarks.published_logs --data DIR
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from benchmarks.papers.tables import grid
from smoothcs import CostMatrix
from smoothcs.metrics import certified_accuracy, rob_cs

METHODS = {
    "cohen": "Gaussian",
    "stab": "Stability",
    "salman": "SmoothAdv",
    "macer": "MACER",
    "consistency": "Consistency",
    "smoothmix": "SmoothMix",
    "cat-rs": "CAT-RS",
}
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
EPS = {
    0.25: np.arange(0, 1.0, 0.25),
    0.5: np.arange(0, 2.0, 0.25),
    1.0: np.arange(0, 4.0, 0.5),
}
RESAMPLES = 1000
ABSTAINED = -1
DOCS = Path(__file__).parents[1] / "docs"


class Log(NamedTuple):
    """One published model: its method, labels and predictions (n,), standard radii (n,)."""

    method: str
    y: NDArray[np.int64]
    predicted: NDArray[np.int64]
    radius: NDArray[np.float64]

    @property
    def robust_radius(self) -> NDArray[np.float64]:
        """The radius where the prediction is right, else 0: every mistake is costly here."""
        return np.where(self.predicted == self.y, self.radius, 0.0)

    def average(self, eps: NDArray[np.float64]) -> NDArray[np.float64]:
        """Certified accuracy of all classes at each eps."""
        abstained = self.predicted == ABSTAINED
        return certified_accuracy(self.y, self.predicted, self.radius, eps=eps, abstained=abstained)

    def by_class(self, eps: NDArray[np.float64]) -> NDArray[np.float64]:
        """rob_cs of the task that protects one class, for each class and eps: (10, len(eps))."""
        classes = range(len(CLASSES))
        return np.array(
            [
                rob_cs(
                    self.y,
                    self.robust_radius,
                    cost_matrix=CostMatrix.seedwise(k, classes=classes),
                    eps=eps,
                )
                for k in classes
            ]
        )


def read(folder: Path) -> dict[float, list[Log]]:
    """Return the logs by sigma, all of the same images in the same order."""
    logs: dict[float, list[Log]] = {}
    for path in sorted(folder.glob("cifar10_sigma*_*.tsv.gz")):
        sigma, method = path.name[len("cifar10_sigma") : -len(".tsv.gz")].split("_")
        table = pd.read_csv(path, sep="\t")
        columns = (table[name].to_numpy() for name in ("label", "predict", "radius"))
        log = Log(METHODS[method], *columns)
        if not np.array_equal(table["idx"], np.arange(len(table))):
            raise SystemExit(f"{path}: the images are not numbered in order")
        if any(not np.array_equal(log.y, other.y) for group in logs.values() for other in group):
            raise SystemExit(f"{path}: the labels differ from those of the other logs")
        logs.setdefault(float(sigma), []).append(log)
    if not logs:
        raise SystemExit(f"{folder} holds no cifar10_sigma*.tsv.gz")
    order = list(METHODS.values())
    return {s: sorted(logs[s], key=lambda log: order.index(log.method)) for s in sorted(logs)}


def rank_correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Spearman's coefficient along the last axis; ties share their mean rank."""
    ranks = [rankdata(values, axis=-1) for values in (a, b)]
    x, y = (r - r.mean(axis=-1, keepdims=True) for r in ranks)
    with np.errstate(invalid="ignore"):
        return (x * y).sum(-1) / np.sqrt((x**2).sum(-1) * (y**2).sum(-1))


def resampled(logs: list[Log], eps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return class-wise rob_cs on resampled test images: (len(eps), resamples, models, 10).

    The images of each class are drawn with replacement, the same ones for all models.
    """
    rng = np.random.default_rng(0)
    robust = np.array([[log.robust_radius > e for log in logs] for e in eps], dtype=float)
    shares = []
    for k in range(len(CLASSES)):
        own = robust[:, :, logs[0].y == k]
        n = own.shape[-1]
        drawn = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(float)
        shares.append(drawn @ own.swapaxes(1, 2) / n)
    return np.stack(shares, axis=-1)


def number(value: float) -> str:
    """Return a share with three digits, as in the other tables."""
    text = f"{value:.3f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


def leaders(logs: dict[float, list[Log]]) -> list[list[str]]:
    """One row per sigma and eps: who leads on average, who on the worst class, how they agree."""
    head = ["sigma", "eps", "best average", "all", "worst", "best worst class", "all", "worst"]
    rows = [[*head, "rank correlation", "classes led"]]
    for sigma, models in logs.items():
        averages = np.array([log.average(EPS[sigma]) for log in models])
        shares = np.array([log.by_class(EPS[sigma]) for log in models])
        for e, draws in enumerate(resampled(models, EPS[sigma])):
            average, classes = averages[:, e], shares[:, :, e]
            worst = classes.min(axis=1)
            i, j = np.lexsort((worst, average))[-1], np.lexsort((average, worst))[-1]
            low, high = np.nanquantile(
                rank_correlation(draws.mean(axis=-1), draws.min(axis=-1)), [0.025, 0.975]
            )
            row = [f"{sigma:g}", f"{EPS[sigma][e]:g}"]
            for k in (i, j):
                row += [models[k].method, number(average[k]), number(worst[k])]
            agreement = rank_correlation(average, worst)
            row.append(f"{agreement:.2f} ({low:.2f} to {high:.2f})")
            row.append(str(int((classes[i] == classes.max(axis=0)).sum())))
            rows.append(row)
    return rows


def board(sigma: float, models: list[Log]) -> list[list[str]]:
    """All models at every eps: the average, the worst class, then each class; best in bold."""
    rows = [["eps", "model", "all", "worst", *CLASSES]]
    average = np.array([log.average(EPS[sigma]) for log in models])
    classes = np.array([log.by_class(EPS[sigma]) for log in models])
    values = np.concatenate([average[:, None], classes.min(axis=1, keepdims=True), classes], 1)
    for e, eps in enumerate(EPS[sigma]):
        best = values[:, :, e].max(axis=0)
        for log, shares in zip(models, values[:, :, e], strict=True):
            cells = [
                f"**{number(v)}**" if v == top > 0 else number(v)
                for v, top in zip(shares, best, strict=True)
            ]
            rows.append([f"{eps:g}", log.method, *cells])
    return rows


def draw(logs: dict[float, list[Log]], path: Path) -> None:
    """Write the figure: worst class against average as eps grows; the classes at eps = sigma."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        2, len(logs), figsize=(4 * len(logs), 7.2), sharey="row", layout="constrained"
    )
    styles = {name: (f"C{i}", "osD^vPX"[i]) for i, name in enumerate(METHODS.values())}
    for column, (sigma, models) in zip(axes.T, logs.items(), strict=True):
        eps = np.linspace(0, 3.8 * sigma, 96)
        at = np.array([sigma])
        for log in models:
            colour, marker = styles[log.method]
            column[0].plot(log.average(eps), log.by_class(eps).min(axis=0), color=colour, lw=1)
            classes = log.by_class(at)[:, 0]
            look: dict[str, Any] = {"color": colour, "marker": marker, "ls": "none", "ms": 6}
            column[0].plot(log.average(at), classes.min(), label=log.method, **look)
            column[1].plot(classes, **look)
        column[0].set(
            title=f"sigma = {sigma:g}; marks: eps = {sigma:g}", xlabel="certified accuracy"
        )
        column[1].set(title=f"eps = {sigma:g}")
        column[1].set_xticks(range(len(CLASSES)), CLASSES, rotation=60)
        column[1].grid(axis="x", alpha=0.3)
    axes[0, 0].set(ylabel="rob_cs of the worst class")
    axes[1, 0].set(ylabel="rob_cs of each class")
    axes[0, 0].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Write the tables and the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("SMOOTHCS_DATA"))
    parser.add_argument("--docs", type=Path, default=DOCS, help="where the page lives")
    args = parser.parse_args()
    if args.data is None:
        raise SystemExit("name the folder of the data with --data DIR or SMOOTHCS_DATA")
    logs = read(Path(args.data) / "certification_logs")
    args.docs.mkdir(parents=True, exist_ok=True)
    agreement = grid(leaders(logs))
    print(agreement)
    boards = [f"sigma = {s:g}\n\n{grid(board(s, models))}" for s, models in logs.items()]
    for name, text in (("leaders", agreement), ("boards", "\n\n".join(boards))):
        path = args.docs / f"published_logs_{name}.txt"
        path.write_text(text + "\n", encoding="utf-8")
        print(f"wrote {path}")
    path = args.docs / "_static" / "benchmarks" / "published-logs.png"
    draw(logs, path)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
