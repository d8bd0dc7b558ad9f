"""Portfolio certificates: validity on hostile portfolios, tightness, money, and time.

    python -m benchmarks.portfolio --data DIR [--only PART] [--runs 100000]

DIR holds certification_logs/*.tsv.gz (per-image logs of published CIFAR-10 models),
tabular/give_me_credit.csv.gz and fashion_mnist.npz; the parts "validity", "solver" and "time" need
no data.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from scipy.optimize import linprog
from scipy.special import ndtr, ndtri
from scipy.stats import beta, binom

from smoothcs.portfolio import _majorant as programme
from smoothcs.portfolio import certify_portfolio
from smoothcs.portfolio._bound import majorant_cap, majorant_of, read_rows, risk_bounds
from smoothcs.portfolio._majorant import cheapest_majorant, lowest_excess, risk_under_attack

ALPHA = 0.001


def two_class(costly, K):
    """Votes of inputs of class 1, `costly` of which say 0."""
    return np.stack([costly, K - costly], axis=1)


def mixtures(n, K, eta):
    """Hostile distributions of the chance of a costly answer."""
    yield "0, 1 and 1/K", [0.0, 1.0, 1 / K], [0.5, 0.1, 0.4]
    yield "0 and 1", [0.0, 1.0], [0.7, 0.3]
    yield "1/K alone", [1 / K], [1.0]
    yield "one half", [0.5], [1.0]
    yield "rare, catastrophic", [0.0, 0.95], [1 - 1 / n, 1 / n]
    yield "rare, on a low floor", [0.002, 0.9], [1 - 2 / n, 2 / n]
    yield "hard to see", [0.5 / K / n, 1 / n], [0.5, 0.5]
    for tilt in (0.3, 1.0, 3.0):
        weights = np.diff(np.linspace(0, 1, K + 2) ** tilt)
        excess = lowest_excess(majorant_of(weights, n, eta), eta)
        touching = np.flatnonzero(excess < max(2 * excess.min(), 1e-5))
        points = ndtr(programme._ENDS[touching])[:: max(1, len(touching) // 4)]
        yield f"worst cells {tilt:g}", points, np.full(len(points), 1 / len(points))


def validity(runs: int) -> None:
    """Count bounds below the truth; with prices for a tenth of the runs."""
    rng = np.random.default_rng(0)
    cases = [
        (n, K, eta, alpha, sampling)
        for n, K, eta in ((40, 2, 1.0), (25, 3, 0.5), (400, 1, 0.5))
        for alpha in (0.05, 0.2)
        for sampling in ("population", "fixed")
    ]
    each = int(np.ceil(runs / (10 * len(cases))))
    total, start = 0, time.perf_counter()
    print(f"{'mixture':22}{'n':>4}{'K':>3}{'eta':>5} {'sampling':11}{'alpha':>6}{'failures':>10}")
    for n, K, eta, alpha, sampling in cases:
        for name, values, chances in mixtures(n, K, eta):
            values = np.asarray(values, float)
            q = rng.choice(values, size=n, p=chances)
            q[n // 2 :] = q[: n - n // 2]  # every input of a fixed list comes twice
            truth = risk_under_attack(values, eta) @ np.asarray(chances)
            if sampling == "fixed":
                truth = risk_under_attack(q, eta).mean()
            fails = 0
            for _ in range(each):
                if sampling == "population":
                    q = rng.choice(values, size=n, p=chances)
                rows = read_rows(two_class(rng.binomial(K, q), K), np.tile([1.0, 0.0], (n, 1)), 1.0)
                fails += risk_bounds(rows, np.array([eta]), alpha, sampling)[0] < truth - 1e-12
            total += each
            flag = "" if fails <= alpha * each else "  <-- above alpha"
            print(
                f"{name:22}{n:4}{K:3}{eta:5} {sampling:11}{alpha:6}{fails / each:10.4f}{flag}",
                flush=True,
            )
    print(f"{total} portfolios in {time.perf_counter() - start:.0f} s")


def priced_validity(runs: int) -> None:
    """The same with prices: dear rows are the risky ones, and rare."""
    rng = np.random.default_rng(1)
    n, K, eta = 40, 2, 1.0
    prices, chances, q = np.array([0.05, 1.0]), np.array([0.9, 0.1]), np.array([0.02, 0.6])
    for alpha in (0.05, 0.2):
        for sampling in ("population", "fixed"):
            fails, kind = 0, rng.choice(2, size=n, p=chances)
            for _ in range(runs):
                if sampling == "population":
                    kind = rng.choice(2, size=n, p=chances)
                    truth = float((prices * risk_under_attack(q, eta)) @ chances)
                else:
                    truth = float((prices * risk_under_attack(q, eta))[kind].mean())
                price = np.stack([prices[kind], np.zeros(n)], axis=1)
                rows = read_rows(two_class(rng.binomial(K, q[kind]), K), price, 1.0)
                fails += risk_bounds(rows, np.array([eta]), alpha, sampling)[0] < truth - 1e-12
            print(f"priced, {sampling:11} alpha {alpha}: failures {fails / runs:.4f} of {runs}")


def solver() -> None:
    """The programme against its dual, on another grid and by an interior point method."""
    rng = np.random.default_rng(0)
    q = np.unique(np.concatenate([[0.0], ndtr(np.linspace(-9, 7, 20_001)), [1.0]]))
    for K in (1, 2, 5, 10, 20):
        for eta in (0.25, 1.0, 2.0):
            chances = rng.beta(0.4, 3.0, size=400)
            weights = binom.pmf(np.arange(K + 1)[:, None], K, chances[None]).mean(axis=1)
            ours = weights @ cheapest_majorant(
                tuple(weights), (0.0,) * (K + 1), eta, majorant_cap(K)
            )
            counts = binom.pmf(np.arange(K + 1)[:, None], K, q[None])
            other = linprog(
                np.concatenate(
                    [-risk_under_attack(q, eta), np.full(K + 1, majorant_cap(K) - 1e-3)]
                ),
                A_eq=np.hstack([counts, -np.eye(K + 1)]),
                b_eq=weights,
                method="highs-ipm",
                options={
                    "primal_feasibility_tolerance": 1e-10,
                    "dual_feasibility_tolerance": 1e-10,
                },
            )
            print(f"K {K:3} eta {eta:4}: ours {ours:.8f}, ours - dual {ours + other.fun:.1e}")


def chances_of_log(path: Path, sigma: float) -> np.ndarray:
    """Chance of a wrong answer of each image, from its published radius.

    Where the prediction was wrong, the share of the true class is not in the log: a draw from
    [0, 1/2] stands for it.
    """
    import pandas as pd

    log = pd.read_csv(path, sep="\t")
    guess = np.random.default_rng(0).uniform(0, 0.5, len(log))
    return 1 - np.where(log.correct == 1, ndtr(log.radius / sigma), guess)


def logs(data: Path) -> None:
    """Bounds minus truth on published models: by K, n and eps."""
    rng = np.random.default_rng(1)
    sigma = 0.5
    print(f"sigma {sigma}, alpha {ALPHA}; truth, then bound - truth; mean of 3 draws of the votes")
    print(
        f"{'model':8}{'eps':>5}{'n':>7}{'truth':>7}{'classic':>9}{'K=1':>7}{'5':>7}{'10':>7}{'20':>7}"
    )
    for model in ("cohen", "cat-rs"):
        path = data / "certification_logs" / f"cifar10_sigma{sigma}_{model}.tsv.gz"
        everything = chances_of_log(path, sigma)
        for eps in (0.25, 0.5, 1.0):
            for n in (1000, 3000, 10_000):
                line, classic = [], []
                for K in (1, 5, 10, 20):
                    excess = []
                    for _ in range(3):
                        q = rng.permutation(everything)[:n]
                        truth = risk_under_attack(q, eps / sigma).mean()
                        votes = two_class(rng.binomial(K, q), K)
                        rows = read_rows(votes, np.tile([1.0, 0.0], (n, 1)), 1.0)
                        etas = np.array([eps / sigma])
                        excess.append(risk_bounds(rows, etas, ALPHA, "population")[0] - truth)
                        if K == 1:
                            k = votes[:, 0].sum()
                            upper = beta.ppf(1 - ALPHA, k + 1, n - k)
                            classic.append(ndtr(ndtri(upper) + eps / sigma) - truth)
                    line.append(np.mean(excess))
                truth = risk_under_attack(everything, eps / sigma).mean()
                shown = "".join(f"{x:7.3f}" for x in line)
                print(
                    f"{model:8}{eps:5}{n:7}{truth:7.3f}{np.mean(classic):9.3f}{shown}", flush=True
                )


def money(data: Path) -> None:
    """A simulated population with the prices of Give Me Some Credit, n = 30,000."""
    import pandas as pd
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import QuantileTransformer

    frame = pd.read_csv(data / "tabular" / "give_me_credit.csv.gz")
    default = (frame.label == "default").to_numpy()
    refused, missed = (frame[f"cost_false_{kind}"].to_numpy() for kind in ("positive", "negative"))
    names = [c for c in frame.columns if c not in ("label", "split") and not c.startswith("cost")]
    Z = QuantileTransformer(output_distribution="normal", random_state=0).fit_transform(
        frame[names]
    )
    model = LogisticRegression().fit(Z, default)
    threshold = refused / (refused + missed)
    margin = model.decision_function(Z) - np.log(threshold / (1 - threshold))
    margin = margin / np.linalg.norm(model.coef_)
    price = np.where(default, missed, refused)
    limit, n = float(np.max(missed)), 30_000
    print(
        f"Give Me Some Credit, largest price {limit:g}, n {n}; "
        "excess over the sample's truth, 5 draws"
    )
    for sigma, eps in ((0.25, 0.1), (0.5, 0.1), (0.5, 0.3), (0.25, 0.3)):
        q = ndtr(np.where(default, -margin, margin) / sigma)
        for K in (10, 20):
            for alpha in (0.05, 0.001):
                excess = {"population": [], "fixed": []}
                for seed in range(5):
                    rng = np.random.default_rng(seed)
                    rows = rng.integers(len(q), size=n)
                    truth = np.mean(price[rows] * risk_under_attack(q[rows], eps / sigma))
                    costs = np.zeros((n, 2, 2))
                    costs[:, 1, 0] = price[rows]
                    votes = two_class(rng.binomial(K, q[rows]), K)
                    for sampling, found in excess.items():
                        certificate = certify_portfolio(
                            votes, np.ones(n, int), sigma=sigma, eps=eps, alpha=alpha,
                            costs=costs, max_cost=limit, sampling=sampling,
                        )  # fmt: skip
                        found.append(certificate.risk / truth - 1)
                shown = ", ".join(f"{name} {np.mean(x):.3f}" for name, x in excess.items())
                print(f"sigma {sigma} eps {eps} K {K:2} alpha {alpha}: {shown}", flush=True)


def seconds() -> None:
    """What the programme takes on one core, once its cells are tabulated."""
    rng = np.random.default_rng(0)
    for n, K in ((10_000, 5), (10_000, 10), (10_000, 20), (30_000, 10)):
        votes = two_class(rng.binomial(K, rng.beta(0.3, 4.0, n)), K)
        rows = read_rows(votes, np.tile([1.0, 0.0], (n, 1)), 1.0)
        for part in ("with its cells", "again"):
            cheapest_majorant.cache_clear()
            start = time.perf_counter()
            risk_bounds(rows, np.array([0.5]), ALPHA, "population")
            print(f"n {n} K {K}: {time.perf_counter() - start:.2f} s ({part})")


def images(data: Path) -> None:
    """Fashion-MNIST end to end: certify the test images, attack them, answer from one copy."""
    from smoothcs import CostSensitiveSmoothedClassifier
    from smoothcs._estimator._portfolio import attacked_risk
    from smoothcs.modules import small_conv

    with np.load(data / "fashion_mnist.npz") as stored:
        found = {name: stored[name] for name in ("x_train", "y_train", "x_test", "y_test")}
    X, X_test = (
        found[f"x_{k}"].reshape(-1, 1, 28, 28) / np.float32(255) for k in ("train", "test")
    )
    y, y_test = (found[f"y_{k}"].astype(np.int64) for k in ("train", "test"))
    clf = CostSensitiveSmoothedClassifier(
        small_conv, objective="gaussian", sigma=0.5, lr=2e-3, lr_schedule="one-cycle",
        max_epochs=5, alpha=ALPHA, device="cpu", random_state=0,
    ).fit(X[:20_000], y[:20_000])  # fmt: skip

    for n_votes in (10, 10, 5, 20):  # the first call also measures its batch size
        wall, cpu = time.perf_counter(), time.process_time()
        certificate = clf.certify_portfolio(X_test, y_test, 0.5, n_votes=n_votes)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(
            f"{certificate!r}\n  {wall:.1f} s on the clock, {cpu:.1f} s of processors", flush=True
        )
    for name, answer in (("predict_one_draw", clf.predict_one_draw), ("predict", clf.predict)):
        cpu = time.process_time()
        wrong = np.mean(answer(X_test[:1000]) != y_test[:1000])
        print(f"{name}, 1,000 images: {time.process_time() - cpu:.1f} s of processors, {wrong:.3f}")

    some, labels, budgets = X_test[:2000], y_test[:2000], [0.125, 0.25, 0.5, 1.0]
    bounds = clf.certify_portfolio(some, labels, budgets, sampling="fixed")
    print(bounds)
    reached = attacked_risk(clf, some, labels, budgets)
    votes = clf.portfolio_votes(some[:500], 10_000)
    q = 1 - votes[np.arange(500), labels[:500]] / 10_000
    for eps, bound, attack in zip(budgets, bounds.risk, reached, strict=True):
        worst = risk_under_attack(q, eps / clf.sigma).mean()
        print(
            f"eps {eps:5}: attack {attack:.3f} <= bound {bound:.3f}; "
            f"worst classifier with the chances of 500 images {worst:.3f}"
        )


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--only", choices=["validity", "solver", "logs", "money", "time", "images"])
    parser.add_argument("--runs", type=int, default=100_000)
    args = parser.parse_args()
    wanted = [args.only] if args.only else ["time", "solver", "logs", "money", "images", "validity"]
    parts = {"logs": logs, "money": money, "images": images}
    if args.data is None and parts.keys() & set(wanted):
        parser.error("logs, money and images need --data")
    for part in wanted:
        if part == "validity":
            validity(args.runs)
            priced_validity(max(1, args.runs // 50))
        elif part in parts:
            parts[part](args.data)
        else:
            {"solver": solver, "time": seconds}[part]()


if __name__ == "__main__":
    main()
