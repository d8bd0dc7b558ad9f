"""Train, tune a decision on the validation part, and certify the test part at eps = sigma."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks.papers.choose import LOSSES
from smoothcs import CostSensitiveSmoothedClassifier
from smoothcs.tuning import TunedDecision, sample_scores, tune_decision

from .problems import Problem

VOTES, VALIDATION_VOTES, CERTIFIED = 10_000, 200, 300


def train(problem: Problem, seed: int, params: dict[str, Any]) -> tuple[Any, float]:
    """Return a fitted classifier and the CPU seconds that training took."""
    shared = {"module": problem.module, "noise_scale": problem.scale}
    clf = CostSensitiveSmoothedClassifier(
        cost_matrix=problem.costs, sigma=problem.sigma, n_estimation=VOTES, n_prediction=200,
        abstain_label=None, device="cpu", random_state=seed, **{**shared, **params},
    )  # fmt: skip
    start = time.process_time()
    clf.fit(problem.train.X, problem.train.y)
    return clf, time.process_time() - start


def tuned(problem: Problem, clf: Any) -> TunedDecision:
    """Return the frontier of weights of scores on the validation part."""
    scores = sample_scores(clf, problem.valid.X, VALIDATION_VOTES, random_state=1)
    return tune_decision(
        scores, problem.valid.y, problem.graver, problem.sigma, sigma=problem.sigma,
        max_accuracy_loss=1.0, max_ratio=16.0,
    )  # fmt: skip


def certified(problem: Problem, clf: Any, decision: Any) -> tuple[float, float]:
    """Return accuracy and certified rob_cs of the test part."""
    clf.set_params(decision=decision)
    X, y = problem.test
    rows = np.flatnonzero(problem.graver[y].any(axis=1))[:CERTIFIED]
    claims = clf.certify_at(
        X[rows], y[rows], problem.sigma, kinds=("group",), cost_matrix=problem.graver
    )
    return float((clf.predict(X) == y).mean()), float(claims.rob_cs(problem.sigma))


def frontier(problem: Problem, clf: Any, points: TunedDecision, floor: float) -> dict[str, Any]:
    """Return (accuracy, rob_cs) without weights, and with those of each loss against ``floor``.

    Where no weights reach an accuracy on the validation part, the most accurate ones are taken.
    """
    found: dict[str, Any] = {"plain": certified(problem, clf, None)}
    for loss in LOSSES:
        try:
            pick = points.pick(min_accuracy=floor - loss)
            found[str(loss)] = (*certified(problem, clf, pick.label_weights), True)
        except ValueError:
            found[str(loss)] = (*found["plain"], False)
    return found
