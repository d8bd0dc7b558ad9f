"""Attacks on smoothed gradient-boosted trees, inside and beyond their certified radii.

Trees have no gradient, so random, coordinate and transfer search (along the normal of a linear
surrogate) look for a point within the radius at which fewer noisy copies keep the label; fresh
votes and an exact binomial test judge the best one. Columns of scale 0 stay as they are.

    python -m benchmarks.tree_attacks [--inputs 6000] [--votes 1000] [--candidates 20]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from smoothcs import CostSensitiveSmoothedClassifier

Floats = NDArray[np.float32]

SIGMA = 0.5
SCALE = np.array([1, 0.5, 2, 1, 1, 0, 0], dtype=np.float32)
WEIGHTS = np.array([1.0, 1.5])
LEVEL = 1e-6
JUDGED = 1000  # fresh votes of a point that the search found
BEYOND = 2.0
ROWS = 50_000  # at a time
TRAINED_ON = 2000


def table(n: int) -> tuple[Floats, NDArray[np.int64]]:
    """Return rows with five numbers and two categories, and labels of two classes."""
    X, y = make_classification(n, 7, n_informative=6, n_redundant=0, random_state=0)
    X[:, 5:] = np.digitize(X[:, 5:], [-1, 0, 1])
    return X.astype(np.float32), y


def train(X: Floats, y: NDArray[np.int64], n_votes: int) -> CostSensitiveSmoothedClassifier:
    """Return trees fitted on noisy copies of every row, that decide by weighted scores."""
    trees = HistGradientBoostingClassifier(max_iter=30, categorical_features=[5, 6])
    return CostSensitiveSmoothedClassifier(
        trees,
        sigma=SIGMA,
        noise_scale=SCALE,
        n_estimation=n_votes,
        decision=WEIGHTS.tolist(),
        random_state=0,
    ).fit(X, y)


def wrong_share(
    clf: CostSensitiveSmoothedClassifier,
    points: Floats,
    label: NDArray[np.int64],
    n_noise: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return the share of the votes of each point that are not its label."""
    share = np.empty(len(points))
    step = max(1, ROWS // n_noise)
    for i in range(0, len(points), step):
        part = points[i : i + step]
        noise = SIGMA * SCALE * rng.standard_normal((len(part), n_noise, 7), dtype=np.float32)
        p = clf.module_.estimator.predict_proba((part[:, None] + noise).reshape(-1, 7))
        answers = (p * WEIGHTS).argmax(axis=1).reshape(len(part), n_noise)
        share[i : i + step] = (answers != label[i : i + step, None]).mean(axis=1)
    return share


def within(step: Floats, radius: NDArray[np.float64]) -> Floats:
    """Return steps, in units of the noise, shrunk to length ``radius``; scale 0 does not move."""
    step = np.where(SCALE > 0, step, 0)
    length = np.maximum(np.linalg.norm(step, axis=1), 1e-12)
    return (step * np.minimum(1.0, radius / length)[:, None]).astype(np.float32)


def search(
    score: Callable[[Floats], NDArray[np.float64]],
    radius: NDArray[np.float64],
    surrogate: Floats,
    n_candidates: int,
    rng: np.random.Generator,
) -> Floats:
    """Return the best step of each input: transfer, random and then coordinate search."""
    n = len(radius)
    best = np.zeros((n, 7), dtype=np.float32)
    highest = np.full(n, -np.inf)

    def consider(step: Floats) -> None:
        step = within(step, radius)
        found = score(step)
        better = found > highest
        best[better], highest[better] = step[better], found[better]

    for sign in (-1.0, 1.0):
        consider(sign * 1e6 * np.tile(surrogate, (n, 1)))
    for _ in range(n_candidates):
        consider((1e6 * rng.standard_normal((n, 7))).astype(np.float32))
    for _ in range(n_candidates):
        step, axis = best.copy(), rng.choice(np.flatnonzero(SCALE), n)
        step[np.arange(n), axis] += (radius * rng.choice([-1, 1], n)).astype(np.float32)
        # Back onto the border, where the others gain what this one gives up.
        consider(step * 1e3)
    return best


def attack_trees(
    n_inputs: int, n_votes: int, n_candidates: int, n_noise: int, seed: int = 0
) -> dict[str, int]:
    """Certify inputs, attack them within .99 of their radii and beyond, and count flips."""
    X, y = table(TRAINED_ON + n_inputs)
    clf = train(X[:TRAINED_ON], y[:TRAINED_ON], n_votes)
    X, y = X[TRAINED_ON:], y[TRAINED_ON:]
    certificates = clf.certify(X, y)
    keep = certificates.radius_standard > 0
    x, label = X[keep], certificates.label[keep]
    rng = np.random.default_rng(seed)
    normal = LogisticRegression().fit(X, y).coef_[0]
    found = {"inputs": n_inputs, "certified": int(keep.sum())}
    for name, factor in (("inside", 0.99), ("beyond", BEYOND)):
        radius = factor * certificates.radius_standard[keep]

        def score(step: Floats) -> NDArray[np.float64]:
            # The same noise for every candidate.
            return wrong_share(clf, x + SCALE * step, label, n_noise, np.random.default_rng(1))

        surrogate = (normal * SCALE).astype(np.float32)
        step = search(score, radius, surrogate, n_candidates, rng)
        moved = x + SCALE * step
        assert (moved[:, SCALE == 0] == x[:, SCALE == 0]).all()
        wrong = wrong_share(clf, moved, label, JUDGED, rng) * JUDGED
        found[f"flipped {name}"] = int((binom.sf(wrong - 1, JUDGED, 0.5) < LEVEL).sum())
    return found


def main() -> None:
    """Print how many certified inputs were flipped."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=6000)
    parser.add_argument("--votes", type=int, default=1000)
    parser.add_argument("--candidates", type=int, default=20)
    parser.add_argument("--noise", type=int, default=64)
    args = parser.parse_args()
    start = time.perf_counter()
    found = attack_trees(args.inputs, args.votes, args.candidates, args.noise)
    print(found, f"in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
