"""Certified savings on tables with costs in money: constant answers, unsmoothed trees, smoothing.

    python -m benchmarks.money --data DIR [--out OUT] [--tables ...] [--bases ...]

Every base and sigma is judged on the validation part; the best of each rule is trained again on
both parts and certified on the test part. Each step is one file in OUT, so that a run may be
killed and started again. Radii are in standard deviations of the numeric columns; categories have
no noise. Of the table with an official matrix for five classes, nsl_kdd, mean costs are printed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from benchmarks.money.bases import BASES, estimator
from benchmarks.money.data import SOURCES, Part, Table, load
from smoothcs import TunedDecisionClassifier
from smoothcs.tuning import fit_temperature

EPS = (0.0, 0.05, 0.1, 0.2, 0.3)
RULES = ("plurality", "weighted votes", "weighted scores", "min-cost inside", "tempered min-cost")
# What is chosen on validation is the mean of what is certified here.
CHOSEN_AT = (EPS.index(0.1), EPS.index(0.3))


def value(worst: np.ndarray, part: Part) -> float:
    """Savings; with more than two classes, the mean cost with a minus, so that more is better."""
    paid = part.costs[np.arange(len(part.y)), part.y]
    if paid.shape[1] > 2:
        return -float(worst.mean())
    return float(1.0 - worst.sum() / paid.sum(axis=0).min())


def some(part: Part, n: int, seed: int) -> Part:
    """At most n rows, drawn at random."""
    rows = np.random.default_rng(seed).permutation(len(part.y))[:n]
    return Part(part.X.iloc[rows], part.y[rows], part.costs[rows])


def first(part: Part, n: int) -> Part:
    """At most the first n rows, which were drawn at random."""
    return Part(*(rows[:n] for rows in part))


def unsmoothed(table: Table, seed: int, args: Any) -> dict[str, float]:
    """Clean value of constant answers and of gradient boosting, by two rules."""
    model = HistGradientBoostingClassifier(
        categorical_features="from_dtype", early_stopping=True, random_state=seed
    ).fit(table.train.X, table.train.y)
    test = table.test
    p, rows = model.predict_proba(test.X), np.arange(len(test.y))
    constant = test.costs[rows, test.y].sum(axis=0).argmin()
    answers = {
        "best constant answer": np.full(len(test.y), constant),
        "trees, likeliest class": p.argmax(axis=1),
        "trees, least cost": np.einsum("nk,nkj->nj", p, test.costs).argmin(axis=1),
    }
    return {name: value(test.costs[rows, test.y, k], test) for name, k in answers.items()}


def encoded(table: Table, base: str) -> tuple[list[Part], np.ndarray]:
    """Return the three parts as numbers, and the scale of the noise of their columns."""
    numeric = [c for c in table.train.X if c not in table.categorical]
    if base == "trees":
        encoder: Any = OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=254, max_categories=250
        )
    else:
        encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False, min_frequency=20)
    columns = ColumnTransformer(
        [("number", "passthrough", numeric), ("category", encoder, table.categorical)]
    ).fit(table.train.X)
    parts = [
        p._replace(X=columns.transform(p.X).astype(np.float32))
        for p in (table.train, table.valid, table.test)
    ]
    return parts, np.arange(parts[0].X.shape[1]) < len(numeric)


def fitted(base: str, part: Part, scale: np.ndarray, sigma: float, seed: int) -> Any:
    """Train one base."""
    clf = estimator(base, len(part.y), scale.astype(float), sigma=sigma, random_state=seed)
    return clf.fit(part.X, part.y, costs=part.costs)


def certified(clf: Any, part: Part, votes: int, base: str) -> list[float]:
    """Return the value at every eps; trees, which vote slowly, get fewer votes."""
    clf.set_params(n_estimation=votes // 4 if base == "trees" else votes)
    c = clf.certify(part.X, part.y, costs=part.costs)
    return [value(c.worst_cost(eps), part) for eps in EPS]


def judged(table: Table, base: str, sigma: float, seed: int, args: Any) -> dict[str, list[float]]:
    """Certify the validation part by the rules that need no tuning."""
    (train, valid, _), scale = encoded(table, base)
    clf, found = fitted(base, train, scale, sigma, seed), {}
    for rule, decision in (("plurality", None), ("min-cost inside", "min-cost")):
        clf.set_params(decision=decision)
        found[rule] = certified(clf, first(valid, args.rows // 2), args.votes // 4, base)
    return found


def tested(
    table: Table, rule: str, base: str, sigma: float, seed: int, args: Any
) -> dict[str, Any]:
    """Train on training and validation part and certify the test part."""
    begin = time.perf_counter()
    (train, valid, test), scale = encoded(table, base)
    decision: Any = "min-cost" if "min-cost" in rule else None
    temperature = 1.0
    if rule == "tempered min-cost":
        clf, part = fitted(base, train, scale, sigma, seed), first(valid, args.rows // 2)
        temperature = fit_temperature(clf, part.X, part.y, random_state=0)
    if rule.startswith("weighted"):
        # Weights are tuned on rows that were not trained on, and kept.
        clf, part = fitted(base, train, scale, sigma, seed), first(valid, args.rows // 2)
        tuner = TunedDecisionClassifier(
            clf, eps=0.1, objective="bill", max_accuracy_loss=None, weigh=rule.split()[1],
            validation="prefit", n_votes=300, random_state=0,
        )  # fmt: skip
        decision = tuner.fit(part.X, part.y, costs=part.costs).tuned_.decision
    both = Part(*(np.concatenate(rows) for rows in zip(train, valid, strict=True)))
    clf = fitted(base, both, scale, sigma, seed).set_params(
        decision=decision, temperature=temperature
    )
    trained = time.perf_counter()
    found = certified(clf, first(test, args.rows), args.votes, base)
    minutes = [(trained - begin) / 60, (time.perf_counter() - trained) / 60]
    return {
        "value": found,
        "minutes": minutes,
        "decision": str(decision),
        "temperature": temperature,
    }


def kept(path: Path, measure: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a file holds, or measure it."""
    if not path.exists():
        found = measure(*arguments)
        path.write_text(json.dumps(found))
        print(path.stem, json.dumps(found), flush=True)
    return json.loads(path.read_text())


def main() -> None:
    """Measure what is missing, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/money"))
    parser.add_argument("--tables", nargs="+", default=list(SOURCES), choices=list(SOURCES))
    parser.add_argument("--bases", nargs="+", default=list(BASES), choices=list(BASES))
    parser.add_argument("--rules", nargs="+", default=list(RULES), choices=list(RULES))
    parser.add_argument("--sigmas", nargs="+", type=float, default=[0.1, 0.25, 0.5])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--rows", type=int, default=2000, help="test rows that are certified")
    parser.add_argument("--votes", type=int, default=4000)
    parser.add_argument("--train", type=int, default=25_000, help="most rows to train on")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    lines = [row for name in args.tables for row in rows_of(name, args)]
    print(f"\n{'table':18} {'rule':23} {'base':18} sigma " + " ".join(f"{e:>7g}" for e in EPS))
    print("\n".join(lines))


def rows_of(name: str, args: argparse.Namespace) -> list[str]:
    """Return the lines of one table: means over the seeds."""
    tables = {}
    for seed in args.seeds:
        table = load(name, args.data, seed=seed)
        train, test = some(table.train, args.train, seed), some(table.test, args.rows, 0)
        tables[seed] = table._replace(train=train, test=test)

    def line(rule: str, base: str, sigma: str, values: Any) -> str:
        values = np.abs(values) if name == "nsl_kdd" else values
        shown = " ".join(f"{v:7.3f}" for v in values)
        return f"{name:18} {rule:23} {base:18} {sigma:>5} {shown}"

    def each(part: str, measure: Callable[..., Any], *arguments: Any) -> list[Any]:
        return [
            kept(args.out / f"{name}-{part}-{seed}.json", measure, table, *arguments, seed, args)
            for seed, table in tables.items()
        ]

    clean = each("unsmoothed", unsmoothed)
    lines = [line(rule, "", "", [np.mean([c[rule] for c in clean])]) for rule in clean[0]]
    valid = {
        (base, sigma): each(f"{base}-{sigma:g}-valid", judged, base, sigma)
        for base in args.bases
        for sigma in args.sigmas
    }
    for rule in args.rules:
        # Tuned weights are tried on the base and sigma of min-cost.
        by = rule if rule == "plurality" else "min-cost inside"
        base, sigma = max(
            valid, key=lambda k: np.mean([[v[by][i] for i in CHOSEN_AT] for v in valid[k]])
        )
        runs = each(f"{rule}-{base}-{sigma:g}-test", tested, rule, base, sigma)
        mean = np.mean([run["value"] for run in runs], axis=0)
        lines.append(line(rule, base, f"{sigma:g}", mean))
    return lines


if __name__ == "__main__":
    main()
