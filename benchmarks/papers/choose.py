"""The papers' rule on the validation split: highest rob_cs at little loss of accuracy.

"Accuracy within 1 point of the Gaussian baseline" is asked of the validation split, at each loss
and with or without a tuned decision rule. Shares of validation votes are taken for probabilities
(by tune_decision with half a vote more): they choose, they certify nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from smoothcs.certification import radii_from_probabilities
from smoothcs.tuning import TunedDecision, tune_decision

from .methods import Candidate
from .store import Store, Votes
from .tasks import Task

LOSSES = (0.0, 0.005, 0.01, 0.03)


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
    store: Store, task: Task, pool: list[Candidate], seed: int, floor: float, rule: bool
) -> Choice:
    """Return the candidate with the highest validation rob_cs at accuracy >= floor.

    If none reaches the floor: the most accurate one, marked as infeasible.
    """
    best: Choice | None = None
    for candidate in pool:
        votes = store.valid_votes(candidate, seed)
        accuracy, rob_cs = validation_numbers(store, task, votes)
        option = Choice(candidate, None, accuracy, rob_cs, accuracy >= floor)
        if rule:
            option = _with_rule(store, task, option, seed, floor)
        if best is None or _rank(option) > _rank(best):
            best = option
    assert best is not None
    return best


def _rank(option: Choice) -> tuple[bool, float]:
    return option.feasible, option.rob_cs if option.feasible else option.accuracy


def _with_rule(store: Store, task: Task, plain: Choice, seed: int, floor: float) -> Choice:
    """Return the candidate with tuned weights; judged out of sample by cross-fitting."""
    try:
        tuned = _frontier(store, task, plain.candidate, seed).pick(min_accuracy=floor)
    except ValueError:  # no weights reach the floor
        return plain
    return Choice(plain.candidate, tuned.weights.tolist(), tuned.accuracy_cv, tuned.metric_cv, True)


_FRONTIERS: dict[tuple[str, str], TunedDecision] = {}  # one search serves every floor


def _frontier(store: Store, task: Task, candidate: Candidate, seed: int) -> TunedDecision:
    key = (str(store.place(candidate, seed)), task.name)
    if key not in _FRONTIERS:
        _FRONTIERS[key] = tune_decision(
            store.valid_votes(candidate, seed),
            store.validation.y,
            task.graver,
            task.eps,
            sigma=task.sigma,
            max_accuracy_loss=1.0,
            max_ratio=16.0,
        )
    return _FRONTIERS[key]


def shortlist(
    store: Store, task: Task, pool: list[Candidate], floors: list[float]
) -> list[Candidate]:
    """Return the candidates that seed 0 chooses for plurality votes.

    Only these get further seeds, decision rules and test votes.
    """
    picks = [choose(store, task, pool, 0, floor, rule=False).candidate for floor in floors]
    return list({candidate.key: candidate for candidate in picks}.values())
