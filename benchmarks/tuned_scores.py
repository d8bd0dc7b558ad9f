"""Weights of scores against weights of votes, from the same model and the same tuning data.

    python -m benchmarks.tuned_scores --data DIR [--table german_credit]

A model is trained on the training part, and weights are tuned for the certified bill at eps on the
validation part, from 300 votes per input. Printed are the savings on the test part (1 - bill / bill
of the best constant answer), clean and certified, eps in standard deviations of the numeric
columns. Nothing is tuned for "min-cost".
"""

from __future__ import annotations

import argparse
import time
from copy import copy
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier

from benchmarks.money.data import Part, load
from smoothcs import CostSensitiveSmoothedClassifier, TunedDecisionClassifier
from smoothcs.modules import MLP


def main() -> None:
    """Print one row per model, what is weighed, and eps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--table", default="german_credit")
    parser.add_argument("--rows", type=int, default=3000, help="of each part, at most")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sigma", type=float, default=0.5)
    parser.add_argument("--votes", type=int, default=1000)
    args = parser.parse_args()
    rows = [row for seed in range(args.seeds) for row in measure(args, seed)]
    table = pd.DataFrame(rows)
    means = table.groupby(["model", "weigh", "eps"], sort=False).mean(numeric_only=True)
    print(means.drop(columns="seed").round(3).to_string())


def measure(args: argparse.Namespace, seed: int) -> list[dict[str, Any]]:
    """Return the rows of one seed."""
    data = load(args.table, args.data, seed=seed, unit_variance=True)
    train, valid, test = (_encoded(part, args.rows, seed) for part in data[3:])
    columns = train.X.columns.union(valid.X.columns, sort=False)
    train, valid, test = (
        part._replace(X=part.X.reindex(columns=columns, fill_value=0).astype(np.float32))
        for part in (train, valid, test)
    )
    numeric = [c for c in data.train.X if c not in data.categorical]
    scale = [float(c in numeric) for c in columns]
    rows = []
    for name, module in (
        ("HistGB", HistGradientBoostingClassifier(max_iter=60, learning_rate=0.1)),
        ("MLP", MLP),
    ):
        started = time.perf_counter()
        clf = CostSensitiveSmoothedClassifier(
            module, sigma=args.sigma, noise_scale=scale, alpha=0.001, n_estimation=args.votes,
            max_epochs=30, lr=0.002, lr_schedule=None, batch_size=128, n_copies=5,
            random_state=seed,
            **({} if name == "HistGB" else {"objective": "gaussian"}),
        ).fit(train.X, train.y)  # fmt: skip
        for weigh in ("nothing", "min-cost", "votes", "scores"):
            for eps in (0.1, 0.3):
                model: Any = clf
                if weigh == "min-cost":
                    model = copy(clf).set_params(decision="min-cost")
                elif weigh != "nothing":
                    model = TunedDecisionClassifier(
                        clf, eps=eps, objective="bill", max_accuracy_loss=None, weigh=weigh,
                        validation="prefit", n_votes=300, random_state=0,
                    ).fit(valid.X, valid.y, costs=valid.costs)  # fmt: skip
                certified = model.certify_at(
                    test.X, test.y, eps, kinds=("pair", "label"), costs=test.costs
                )
                rows.append(
                    {
                        "seed": seed, "model": name, "weigh": weigh, "eps": eps,
                        "clean": certified.savings(0.0), "certified": certified.savings(eps),
                        "accuracy": (certified.label == test.y).mean(),
                        "weight": getattr(model, "label_weights_", {1: np.nan})[1],
                        "tuned bill": getattr(model, "best_score_", np.nan),
                    }
                )  # fmt: skip
        print(f"seed {seed}, {name}: {time.perf_counter() - started:.0f} s", flush=True)
    return rows


def _encoded(part: Part, rows: int, seed: int) -> Part:
    """Return some rows, categories as columns of 0 and 1."""
    chosen = np.random.default_rng(seed).permutation(len(part.y))[:rows]
    X = pd.get_dummies(part.X.iloc[chosen], dtype=np.float32)
    return Part(X, part.y[chosen], part.costs[chosen])


if __name__ == "__main__":
    main()
