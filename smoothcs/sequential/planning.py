"""What sequential certification will cost and find, before a single forward pass.

`simulate_decisions` runs the real stopping rule on votes drawn from given probabilities;
`plan_votes` computes how many votes a desired eps needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from smoothcs._validation import (
    Bools,
    Floats,
    Ints,
    check_integer,
    check_positive,
    check_probability,
)
from smoothcs.bounds.blockers import choose_blockers
from smoothcs.bounds.exact import exact_rejects
from smoothcs.bounds.geometry import feasible_end, null_boundary, null_slope, vote_variance
from smoothcs.cost import as_cost_matrix
from smoothcs.sequential._decisions import StoppingRule
from smoothcs.sequential._looks import look_schedule

__all__ = ["Decisions", "plan_votes", "simulate_decisions"]


@dataclass(frozen=True)
class Decisions:
    """Outcome of sequential decisions.

    Attributes
    ----------
    n_used : ndarray of int64 of shape (n_inputs,)
        Votes drawn for each input, selection votes included.
    certified : ndarray of bool of shape (n_inputs,) or (n_inputs, n_eps)
        Whether the claim about all targets of the input was certified at eps.
    certified_pair : ndarray of bool of shape (n_inputs, n_classes) or (n_inputs, n_eps, n_classes)
        The claims about single targets (jointly valid only in mode "pairs"); False elsewhere.
    targets : ndarray of bool of shape (n_inputs, n_classes)
        The sensitive targets.
    """

    n_used: Ints
    certified: Bools
    certified_pair: Bools
    targets: Bools


def simulate_decisions(
    P: ArrayLike,
    *,
    y: ArrayLike,
    cost_matrix: Any = None,
    sigma: float,
    eps: float | ArrayLike,
    alpha: float = 0.001,
    n_max: int = 100_000,
    n_selection: int = 100,
    also_correct: bool = False,
    random_state: int | np.random.Generator | None = None,
    **rule_params: Any,
) -> Decisions:
    """Decide at ``eps`` on votes drawn from known probabilities.

    Parameters
    ----------
    P : array_like of shape (n_inputs, n_classes)
        Probabilities of the noisy prediction; rows sum to 1.
    y : array_like of shape (n_inputs,)
        Labels, whose sensitive targets are guarded against.
    cost_matrix : CostMatrix, array_like, DataFrame or dict, optional
        By default every mistake is sensitive.
    sigma : float
        Standard deviation of the noise.
    eps : float or array_like of shape (n_eps,)
        Attack radii > 0.
    alpha : float, default=0.001
        Failure probability per input.
    n_max : int, default=100_000
        Most estimation votes for one input.
    n_selection : int, default=100
        Votes used to choose the blockers.
    also_correct : bool, default=False
        Whether a claim includes that the smoothed classifier predicts y.
    random_state : int, numpy Generator or None
        Source of the simulated votes.
    **rule_params
        Further parameters of `smoothcs.sequential.StoppingRule`: mode, blockers, first_look,
        growth, final_share, futility.

    Returns
    -------
    Decisions

    Examples
    --------
    >>> result = simulate_decisions(
    ...     [[0.9, 0.08, 0.02]], y=[0], sigma=0.5, eps=[0.25, 0.5], random_state=0)
    >>> result.certified
    array([[ True,  True]])
    """
    probability = _check_probabilities(P)
    n_inputs, n_classes = probability.shape
    costs = as_cost_matrix(cost_matrix, n_classes=n_classes)
    label = costs.encode(y)
    if label.shape != (n_inputs,):
        raise ValueError(f"y must hold {n_inputs} labels as P has rows; got shape {label.shape}.")
    n_selection = check_integer("n_selection", n_selection)
    rng = np.random.default_rng(random_state)
    rule = StoppingRule(
        rng.multinomial(n_selection, probability),
        costs.omega[label],
        eps=eps,
        sigma=sigma,
        alpha=alpha,
        n_max=n_max,
        also_correct=label if also_correct else None,
        **rule_params,
    )
    votes = np.zeros((n_inputs, n_classes), dtype=np.int64)
    seen = 0
    for look in rule.looks:
        active = np.flatnonzero(~rule.finished)
        if len(active) == 0:
            break
        votes[active] += rng.multinomial(look - seen, probability[active])
        rule.update(active, votes[active])
        seen = look
    certified, pair = rule.certified, rule.certified_pair
    if np.ndim(eps) == 0:
        certified, pair = certified[:, 0], pair[:, 0]
    return Decisions(votes.sum(axis=1) + n_selection, certified, pair, rule.targets)


def plan_votes(
    P: ArrayLike,
    *,
    y: ArrayLike,
    cost_matrix: Any = None,
    sigma: float,
    eps: float | ArrayLike,
    alpha: float = 0.001,
    power: float = 0.9,
    blockers: bool | int = True,
    weights: ArrayLike | None = None,
) -> Floats:
    """Return how many estimation votes a group decision at ``eps`` needs, from estimated
    probabilities.

    Parameters
    ----------
    P : array_like of shape (n_inputs, n_classes)
        Probabilities of the noisy prediction, or votes (selection votes, say) to estimate them
        from.
    y, cost_matrix, sigma, eps, alpha
        As in `simulate_decisions`.
    power : float, default=0.9
        Chance with which the certificate should be found.
    blockers : bool or int, default=True
        As in `smoothcs.sequential.StoppingRule`.
    weights : array_like of float of shape (n_classes,), optional
        Weights > 0 of a weighted vote.

    Returns
    -------
    ndarray of float64 of shape (n_inputs,) or (n_inputs, n_eps)
        Votes, within 15 %, for a single test at level alpha; 0 for an input without targets, and
        inf where no number up to n_max is enough, in particular where the radius is smaller than
        eps.

    Notes
    -----
    Up to 10,000 votes the exact test is put to the counts that are met or beaten with probability
    ``power`` under a normal approximation.  A sequential rule needs about as many votes on
    average, for it spends some of alpha at looks that come too early and stops earlier on lucky
    votes.  This is a plan, not a guarantee.

    Examples
    --------
    >>> plan_votes([[0.95, 0.05], [0.6, 0.4]], y=[0, 0], sigma=0.5, eps=0.5) > 1000
    array([False,  True])
    """
    given = np.asarray(P)
    array = given.astype(np.float64)
    # A single vote is one as well: integers are votes.
    if array.ndim == 2 and (given.dtype.kind in "iu" or np.all(array.sum(axis=1) >= 1.5)):
        array = array + min(0.3, 3.0 / array.shape[1])
        array = array / array.sum(axis=1, keepdims=True)
    probability = _check_probabilities(array)
    n_inputs, n_classes = probability.shape
    costs = as_cost_matrix(cost_matrix, n_classes=n_classes)
    targets = costs.omega[costs.encode(y)]
    z_power = float(ndtri(check_probability("power", power)))
    etas = np.atleast_1d(np.asarray(eps, dtype=np.float64)) / check_positive("sigma", sigma)
    if etas.ndim != 1 or not (etas.size and (np.isfinite(etas) & (etas > 0)).all()):
        raise ValueError(f"eps must be one or more finite numbers > 0; got {eps!r}.")
    max_size = 3 if blockers is True else max(int(blockers), 1)
    grid = look_schedule(10_000, alpha, first_look=8, growth=1.15)[0]
    z_total = z_power - float(ndtri(alpha))

    plan = np.zeros((n_inputs, len(etas)))
    row, target = np.nonzero(targets)
    for e, eta in enumerate(etas):
        sets = choose_blockers(
            np.rint(probability * 1e6), targets, ~targets,
            max_size=max_size, eta=float(eta), weights=weights,
        )  # fmt: skip
        p_block = sets.count(probability)[row, target]
        p_target, scale = probability[row, target], sets.scale[row, target]
        slope = null_slope(np.clip(p_target, 1e-12, 0.999 * feasible_end(eta, scale)), eta, scale)
        # Positive also where the votes are known for certain.
        spread = np.sqrt(np.maximum(vote_variance(p_block, p_target, slope), 1e-12))
        # Counts that are as unlucky as ``power`` allows, in the direction that the test measures.
        less_block = z_power * (p_block * (1.0 - p_block) + slope * p_block * p_target) / spread
        more_target = z_power * p_target * (p_block + slope * (1.0 - p_target)) / spread
        gap = p_block - null_boundary(p_target, eta, scale)
        with np.errstate(divide="ignore"):
            needed = np.where(gap > 0, np.ceil((z_total * spread / gap) ** 2), np.inf)
        undecided = gap > 0
        for n in grid:
            todo = np.flatnonzero(undecided)
            if len(todo) == 0:
                break
            n_target = np.ceil(n * p_target[todo] + np.sqrt(n) * more_target[todo])
            n_block = np.floor(n * p_block[todo] - np.sqrt(n) * less_block[todo])
            n_target = np.minimum(n_target, n)
            n_block = np.clip(n_block, 0, n - n_target)
            if n_classes == 2:
                n_target = n - n_block
            done = exact_rejects(
                n_block, n_target, n, eta, alpha, scale[todo], two_classes=n_classes == 2
            )
            needed[todo[done]] = n
            undecided[todo[done]] = False
        needed[undecided] = np.maximum(needed[undecided], grid[-1])
        np.maximum.at(plan[:, e], row, needed)
    return plan if np.ndim(eps) else plan[:, 0]


def _check_probabilities(P: ArrayLike) -> Floats:
    """Return P as float64 rows that sum to 1, or raise."""
    probability = np.asarray(P, dtype=np.float64)
    if probability.ndim != 2 or probability.shape[1] < 2:
        raise ValueError(f"P must have shape (n_inputs, n_classes); got {probability.shape}.")
    total = probability.sum(axis=1)
    if not (np.all(probability >= 0) and np.all(np.abs(total - 1.0) <= 1e-6)):
        raise ValueError("P must hold probabilities >= 0 whose rows sum to 1.")
    return probability / total[:, None]
