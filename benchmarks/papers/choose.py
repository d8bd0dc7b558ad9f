"""The papers' rule on the validation split: highest rob_cs at little loss of accuracy.

"Accuracy within 1 point of the Gaussian baseline" is asked of the validation split, at each loss
and with or without a tuned decision rule. Shares of validation votes are taken for probabilities
(by tune_decision with half a vote more): they choose, they certify nothing.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import joblib
import numpy as np

from smoothcs.certification import radii_from_probabilities
from smoothcs.tuning import TunedDecision, sample_scores, tune_decision

from .methods import Candidate
from .store import Store, Votes
from .tasks import Task

LOSSES = (0.0, 0.005, 0.01, 0.03)
RULES = {"plurality": "plurality vote", "votes": "tuned weights of votes", "scores": "of scores"}


class Choice(NamedTuple):
    """A candidate, the weights of its decision rule, and its validation numbers."""

    candidate: Candidate
    weights: list[float] | None
    accuracy: float
    rob_cs: float
    feasible: bool


def validation_numbers(store: Store, task: Task, votes: Votes) -> tuple[float, float]:
    """Return accuracy and rob_cs of the plurality vote on the validation split."""
    y = store.validation.y
    radii = radii_from_probabilities(
        votes / votes.sum(axis=1, keepdims=True), sigma=task.sigma, cost_matrix=task.graver, y=y
    )
    seeds = np.isin(y, task.seeds)
    accuracy = float((votes.argmax(axis=1) == y).mean())
    return accuracy, float((radii.group[seeds] > task.eps).mean())


def choose(
    store: Store, task: Task, pool: list[Candidate], seed: int, floor: float, rule: str
) -> Choice:
    """Return the candidate with the highest validation rob_cs at accuracy >= floor.

    If none reaches the floor: the most accurate one, marked as infeasible.
    """
    best: Choice | None = None
    for candidate in pool:
        votes = store.valid_votes(candidate, seed)
        accuracy, rob_cs = validation_numbers(store, task, votes)
        option = Choice(candidate, None, accuracy, rob_cs, accuracy >= floor)
        if rule != "plurality":
            option = _with_rule(store, task, option, seed, floor, rule)
        if best is None or _rank(option) > _rank(best):
            best = option
    assert best is not None
    return best


def _rank(option: Choice) -> tuple[bool, float]:
    return option.feasible, option.rob_cs if option.feasible else option.accuracy


def _with_rule(
    store: Store, task: Task, plain: Choice, seed: int, floor: float, rule: str
) -> Choice:
    """Return the candidate with tuned weights; judged out of sample by cross-fitting."""
    try:
        tuned = _frontier(store, task, plain.candidate, seed, rule).pick(min_accuracy=floor)
    except ValueError:  # no weights reach the floor
        return plain
    return Choice(plain.candidate, tuned.weights.tolist(), tuned.accuracy_cv, tuned.metric_cv, True)


def _frontier(
    store: Store, task: Task, candidate: Candidate, seed: int, rule: str
) -> TunedDecision:
    """Return the points of one search, which serves every floor."""
    path = store.place(candidate, seed) / f"frontier-{task.name}-{rule}.joblib"
    if not path.exists():
        if rule == "scores":
            clf = store.classifier(candidate, seed, task)
            held_out = store.validation.X
            votes = sample_scores(clf, held_out, store.budget.n_valid_votes, random_state=seed)
        else:
            votes = store.valid_votes(candidate, seed)
        tuned = tune_decision(
            votes,
            store.validation.y,
            task.graver,
            task.eps,
            sigma=task.sigma,
            max_accuracy_loss=1.0,
            max_ratio=16.0,
        )
        part = path.with_suffix(f".{os.getpid()}.part")
        joblib.dump(tuned, part)
        os.replace(part, path)
    return joblib.load(path)


def shortlist(
    store: Store, task: Task, pool: list[Candidate], floors: list[float]
) -> list[Candidate]:
    """Return the candidates that seed 0 chooses, by plurality or by weighted votes.

    Only these get further seeds, weights of scores and test votes.
    """
    if len(pool) == 1:
        return pool
    picks = [
        choose(store, task, pool, 0, floor, rule).candidate
        for floor in floors
        for rule in ("plurality", "votes")
    ]
    return list({candidate.key: candidate for candidate in picks}.values())
