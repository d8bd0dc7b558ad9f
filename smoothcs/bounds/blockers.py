"""Blocker sets: several classes that together keep a target from being predicted.

A target j is predicted at x + d only if it beats *every* other class there.  If the classes of a
set S of size s hold the votes P = sum of h_k over S, one of them always has at least the average
of what S keeps under the worst perturbation, so j is not predicted within eps while

    Phi(PhiInv(P) - eta) > s Phi(PhiInv(h_j) + eta),          eta = eps / sigma.

For s = 1 the root in eta is the pair radius of [Xin25].  A real s serves weighted votes: when
class k counts w_k times, s is w_j times the sum of 1 / w_k over S.

References
----------
.. [Xin25] Xin, Chen, Backes and Zhang, "Provably Cost-Sensitive Adversarial Defense via Randomized
   Smoothing", ICML 2025, Definition 4.1 and Theorem 4.2.
.. [Cohen19] Cohen, Rosenfeld and Kolter, "Certified Adversarial Robustness via Randomized
   Smoothing", ICML 2019, Lemma 4 (Neyman-Pearson for Gaussian noise).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothcs._validation import check_integer
from smoothcs.bounds.binomial import check_votes
from smoothcs.bounds.geometry import (
    blocker_radius,
    feasible_end,
    null_boundary,
    null_slope,
    vote_variance,
)

__all__ = ["BlockerSets", "choose_blockers", "single_blocker"]


@dataclass(frozen=True)
class BlockerSets:
    """One blocker set for every input and target, fixed before the estimation votes are seen.

    Attributes
    ----------
    index : ndarray of intp of shape (n_inputs, n_classes, max_size)
        ``index[i, j]`` lists the classes that block target j at input i, padded with -1.
    scale : ndarray of float64 of shape (n_inputs, n_classes)
        The size s of each set (weighted if weights were given); nan where there is no set.
    """

    index: NDArray[np.intp]
    scale: NDArray[np.float64]

    def count(self, votes: NDArray[Any]) -> NDArray[Any]:
        """Return the votes (n_inputs, n_classes) that fall in each target's blocker set."""
        n_inputs = len(votes)
        padded = np.concatenate([votes, np.zeros((n_inputs, 1), dtype=votes.dtype)], axis=1)
        rows = np.arange(n_inputs)[:, None]
        total = padded[rows, self.index[:, :, 0]]
        for column in range(1, self.index.shape[2]):
            total = total + padded[rows, self.index[:, :, column]]
        return total

    def __getitem__(self, item: Any) -> BlockerSets:
        """Return the sets of some inputs (a slice, a mask or an index array)."""
        return BlockerSets(self.index[item], self.scale[item])


def single_blocker(
    label: ArrayLike, n_classes: int, weights: ArrayLike | None = None
) -> BlockerSets:
    """Return the sets {label[i]}: the certificates of the papers, without 3-way blocking.

    With ``weights`` (n_classes,) of a weighted vote, the size of the set against j is
    ``weights[j] / weights[label[i]]``.

    Examples
    --------
    >>> single_blocker([2], n_classes=3).index[:, :, 0]
    array([[ 2,  2, -1]])
    """
    labels = np.asarray(label, dtype=np.intp)
    own = labels[:, None] == np.arange(n_classes)
    index = np.where(own, -1, labels[:, None])[:, :, None]
    weight = np.ones(n_classes) if weights is None else np.asarray(weights, dtype=np.float64)
    scale = weight / weight[labels][:, None]
    return BlockerSets(index.astype(np.intp), np.where(own, np.nan, scale))


def choose_blockers(
    selection_votes: ArrayLike,
    targets: ArrayLike,
    allowed: ArrayLike | None = None,
    *,
    max_size: int = 3,
    eta: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> BlockerSets:
    """Choose one blocker set per input and target from the selection votes alone.

    Parameters
    ----------
    selection_votes : array_like of int of shape (n_inputs, n_classes)
        Votes that are used for nothing else: never the estimation votes.
    targets : array_like of bool of shape (n_inputs, n_classes)
        The sensitive targets of each input.
    allowed : array_like of bool of shape (n_inputs, n_classes), optional
        Classes that may block.  By default every class but the target, for claims about single
        pairs; a claim about a group of targets needs ``~targets``.
    max_size : int, default=3
        Largest set; 1 gives the most voted allowed class.
    eta : float or array_like of float, optional
        Attack radii, in units of sigma, at which decisions will be taken: each set is chosen for
        the largest of them that looks within reach.  By default the set with the largest estimated
        radius is preferred.
    weights : array_like of float of shape (n_classes,), optional
        Weights of a weighted vote, > 0.

    Returns
    -------
    BlockerSets
        Certificates are valid for *any* choice made from independent votes; a better choice only
        gives larger radii.

    Examples
    --------
    >>> sets = choose_blockers([[45, 40, 5, 10]], [[False, False, True, False]], max_size=2)
    >>> sets.index[0, 2], sets.scale[0, 2]
    (array([0, 1]), np.float64(2.0))
    """
    votes = check_votes("selection_votes", selection_votes)
    wanted = np.asarray(targets, dtype=bool)
    max_size = check_integer("max_size", max_size)
    may_block = np.ones(votes.shape, bool) if allowed is None else np.asarray(allowed, bool)
    if may_block.shape != votes.shape:
        raise ValueError(f"allowed must have shape {votes.shape}; got {may_block.shape}.")
    if wanted.shape != votes.shape:
        raise ValueError(
            "selection_votes and targets must have one shape (n_inputs, n_classes); "
            f"got {votes.shape} and {wanted.shape}."
        )
    n_classes = votes.shape[1]
    weight = check_vote_weights(weights, n_classes)
    etas = None if eta is None else np.sort(np.atleast_1d(np.asarray(eta, dtype=np.float64)))
    if etas is not None and not (np.isfinite(etas) & (etas > 0)).all():
        raise ValueError(f"eta must hold finite numbers > 0; got {eta!r}.")
    candidates = _ranked_candidates(np.where(may_block, votes * weight, -1.0), max_size)

    # A little mass for unseen classes; all of it together stays below 3 votes.
    pseudo = min(0.3, 3.0 / n_classes)
    h = (votes + pseudo) / (votes.sum(axis=1, keepdims=True) + pseudo * n_classes)
    rows = np.arange(len(votes))[:, None, None]
    mass = np.cumsum(np.where(candidates >= 0, h[rows, candidates], 0.0), axis=2)
    scale = weight[:, None] * np.cumsum(1.0 / weight[candidates], axis=2)
    rating = _rating(np.minimum(mass, 1.0 - h[:, :, None]), h[:, :, None], scale, etas)
    rating[candidates < 0] = -np.inf

    size = np.zeros(votes.shape, dtype=np.intp)
    best = rating[:, :, 0].copy()
    for larger in range(1, candidates.shape[2]):
        # A larger set must pay: where the gain is nil it only adds estimation noise.
        better = rating[:, :, larger] > best + 0.05
        size[better] = larger
        best[better] = rating[:, :, larger][better]
    kept = (np.arange(candidates.shape[2]) <= size[:, :, None]) & wanted[:, :, None]
    index = np.where(kept, candidates, -1)
    chosen_scale = np.take_along_axis(scale, size[:, :, None], axis=2)[:, :, 0]
    return BlockerSets(index, np.where(index[:, :, 0] >= 0, chosen_scale, np.nan))


def _ranked_candidates(score: NDArray[np.float64], max_size: int) -> NDArray[np.intp]:
    """Return, for every target, the best classes other than itself (-1 where score < 0)."""
    n_classes = score.shape[1]
    width = min(max_size, n_classes - 1)
    order = np.argsort(-score, axis=1, kind="stable")[:, : width + 1]
    order = np.where(np.take_along_axis(score, order, axis=1) >= 0, order, -1)
    is_target = order[:, None, :] == np.arange(n_classes)[:, None]
    own_place = np.where(is_target.any(axis=2), is_target.argmax(axis=2), width)
    place = np.arange(width) + (np.arange(width) >= own_place[:, :, None])
    return order[np.arange(len(score))[:, None, None], place].astype(np.intp)


def _rating(
    P: NDArray[np.float64],
    q: NDArray[np.float64],
    s: NDArray[np.float64],
    etas: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Rate sets by estimated radius, or by the z-score of the largest decision within reach."""
    if etas is None:
        return blocker_radius(P, q, s)
    rating = np.full(P.shape, -np.inf)
    for eta in etas:
        slope = null_slope(np.minimum(q, 0.999 * feasible_end(eta, s)), eta, s)
        z = (P - null_boundary(q, eta, s)) / np.sqrt(vote_variance(P, q, slope))
        within_reach = (z > 0).any(axis=2, keepdims=True)
        rating = np.where(within_reach | np.isneginf(rating), z, rating)
    return rating


def check_vote_weights(weights: ArrayLike | None, n_classes: int) -> NDArray[np.float64]:
    """Return the weights (n_classes,) of a vote, 1 if None, or raise."""
    array = np.ones(n_classes) if weights is None else np.asarray(weights, dtype=np.float64)
    if array.shape != (n_classes,) or not (np.isfinite(array) & (array > 0)).all():
        raise ValueError(f"weights must be {n_classes} finite numbers > 0; got {weights!r}.")
    return array
