"""Certified savings on tables with costs in money: constant answers, unsmoothed trees, smoothing.

    python -m benchmarks.money --data DIR [--out OUT] [--tables ...] [--bases mlp trees]

Each table, base, seed and sigma is one file in OUT, so that a run may be killed and started again.
sigma is chosen by certified savings at eps = .1 on the validation part; what is printed is measured
on the test part. Radii are in standard deviations of the numeric columns; categories have no noise.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.preprocessing import OneHotEncoder

from benchmarks.money.data import SOURCES, Part, Table, load
from smoothcs import CostSensitiveSmoothedClassifier, category_scale
from smoothcs.modules import MLP

EPS = (0.0, 0.05, 0.1, 0.2, 0.3)
CHOSEN_AT = 0.1
RULES: dict[str, Any] = {"plurality": None, "min-cost inside": "min-cost"}


def savings(worst: np.ndarray, part: Part) -> float:
    """1 - cost / cost of the best constant answer."""
    paid = part.costs[np.arange(len(part.y)), part.y]
    return float(1.0 - worst.sum() / paid.sum(axis=0).min())


def some(part: Part, n: int, seed: int) -> Part:
    """At most n rows, drawn at random."""
    rows = np.random.default_rng(seed).permutation(len(part.y))[:n]
    return Part(part.X.iloc[rows], part.y[rows], part.costs[rows])


def unsmoothed(table: Table, seed: int) -> dict[str, float]:
    """Clean savings of gradient boosting: its likeliest class, and its class of least cost."""
    model = HistGradientBoostingClassifier(
        categorical_features="from_dtype", early_stopping=True, random_state=seed
    ).fit(table.train.X, table.train.y)
    test = table.test
    p, rows = model.predict_proba(test.X), np.arange(len(test.y))
    found = {}
    for name, label in (
        ("trees, likeliest class", p.argmax(axis=1)),
        ("trees, least cost", np.einsum("nk,nkj->nj", p, test.costs).argmin(axis=1)),
    ):
        found[name] = savings(test.costs[rows, test.y, label], test)
    return found


def encoded(table: Table, base: str) -> tuple[ColumnTransformer | None, dict[str, float]]:
    """Return what turns a frame into numbers, and the scale of the noise of its columns."""
    numeric = [c for c in table.train.X if c not in table.categorical]
    if base == "mlp":
        encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False, min_frequency=20)
    else:
        from sklearn.preprocessing import OrdinalEncoder

        encoder = OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=254, max_categories=250
        )
    columns = ColumnTransformer(
        [("number", "passthrough", numeric), ("category", encoder, table.categorical)],
        verbose_feature_names_out=True,
    ).set_output(transform="pandas")
    columns.fit(table.train.X)
    scale = {
        name: 0.0 if name.startswith("category__") else 1.0
        for name in columns.get_feature_names_out()
    }
    assert not table.categorical or scale == category_scale(columns)
    return columns, scale


def estimator(
    base: str, table: Table, sigma: float, scale: dict[str, float], seed: int, n: int, epochs: int
) -> CostSensitiveSmoothedClassifier:
    """Return an unfitted smoothed classifier that decides by cost."""
    shared: dict[str, Any] = {
        "sigma": sigma,
        "noise_scale": scale,
        "n_estimation": n,
        "objective": "gaussian",
        "device": "cpu",
        "random_state": seed,
    }
    if base == "trees":
        categories = [i for i, name in enumerate(scale) if name.startswith("category__")]
        model = HistGradientBoostingClassifier(
            categorical_features=categories or None, early_stopping=True
        )
        return CostSensitiveSmoothedClassifier(model, **shared)
    return CostSensitiveSmoothedClassifier(
        MLP,
        net_params={
            "module__hidden": (128, 64),
            "module__batch_norm": True,
            "optimizer__weight_decay": 1e-2,
        },
        optimizer="adamw",
        lr=2e-3,
        lr_schedule="one-cycle",
        max_epochs=epochs,
        batch_size=256,
        **shared,
    )


def worst_costs(clf: Any, X: pd.DataFrame, part: Part) -> dict[str, list[float]]:
    """Certified savings at every eps, by rule."""
    found = {}
    for rule, decision in RULES.items():
        clf.set_params(decision=decision)
        c = clf.certify(X, part.y, costs=part.costs)
        found[rule] = [savings(c.worst_cost(eps), part) for eps in EPS]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/money"))
    parser.add_argument("--tables", nargs="+", default=list(SOURCES), choices=list(SOURCES))
    parser.add_argument("--bases", nargs="+", default=["mlp", "trees"], choices=["mlp", "trees"])
    parser.add_argument("--sigmas", nargs="+", type=float, default=[0.1, 0.25, 0.5])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--rows", type=int, default=2000, help="test rows that are certified")
    parser.add_argument("--votes", type=int, default=4000)
    parser.add_argument("--train", type=int, default=25_000, help="most rows to train on")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.tables:
        for seed in args.seeds:
            table = load(name, args.data, seed=seed)
            train = some(table.train, args.train, seed)
            table = table._replace(train=train)
            path = args.out / f"{name}-unsmoothed-{seed}.json"
            if not path.exists():
                path.write_text(json.dumps(unsmoothed(table, seed)))
            for base in args.bases:
                for sigma in args.sigmas:
                    path = args.out / f"{name}-{base}-{sigma:g}-{seed}.json"
                    if not path.exists():
                        found = measure(table, base, sigma, seed, args)
                        path.write_text(json.dumps(found))
                        print(path.stem, json.dumps(found), flush=True)
    show(args)


def measure(table: Table, base: str, sigma: float, seed: int, args: Any) -> dict[str, Any]:
    """Train one base and certify both parts."""
    begin = time.perf_counter()
    columns, scale = encoded(table, base)
    # Few rows are soon known by heart, and a net that is sure of everything prices nothing well.
    epochs = int(np.clip(len(table.train.y) / 30, 15, 40))
    clf = estimator(base, table, sigma, scale, seed, args.votes, epochs)
    clf.fit(columns.transform(table.train.X), table.train.y, costs=table.train.costs)
    trained = time.perf_counter()
    found: dict[str, Any] = {}
    votes = args.votes if base == "mlp" else args.votes // 4
    for part_name, rows in (("valid", args.rows // 2), ("test", args.rows)):
        part = some(getattr(table, part_name), rows, 0)
        clf.set_params(n_estimation=votes // 2 if part_name == "valid" else votes)
        found[part_name] = worst_costs(clf, columns.transform(part.X), part)
    found["votes"] = votes
    found["minutes"] = [round(t / 60, 2) for t in (trained - begin, time.perf_counter() - trained)]
    return found


def show(args: Any) -> None:
    """Print the table: mean over seeds, sigma chosen on validation."""
    print(f"\n{'table':18} {'rule':34} sigma " + " ".join(f"{e:>7g}" for e in EPS))
    for name in args.tables:
        clean = [
            json.loads((args.out / f"{name}-unsmoothed-{s}.json").read_text()) for s in args.seeds
        ]
        for rule in clean[0]:
            value = np.mean([c[rule] for c in clean])
            print(f"{name:18} {rule:34}   -   {value:7.3f}")
        for base in args.bases:
            runs = {
                (sigma, s): json.loads((args.out / f"{name}-{base}-{sigma:g}-{s}.json").read_text())
                for sigma in args.sigmas
                for s in args.seeds
            }
            for rule in RULES:
                at = EPS.index(CHOSEN_AT)
                best = max(
                    args.sigmas,
                    key=lambda sigma: np.mean(
                        [runs[sigma, s]["valid"][rule][at] for s in args.seeds]
                    ),
                )
                values = np.mean([runs[best, s]["test"][rule] for s in args.seeds], axis=0)
                line = " ".join(f"{v:7.3f}" for v in values)
                print(f"{name:18} {base + ', ' + rule:34} {best:5g} {line}")


if __name__ == "__main__":
    main()
