"""From votes to radii, in units of sigma: one function a bound, and the rules shared by all.

A bound is a function ``(votes, top, n, omega, alpha, simultaneous) -> Radii`` whose radii may be
negative (nothing certified). :func:`raw_radii` calls it, :func:`settle` turns its answer into
what may be published. A new bound is one function and one entry of ``BOUNDS``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from smoothcs.bounds import clopper_pearson_lower, clopper_pearson_upper

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Radii(NamedTuple):
    """Radii of n inputs: ``standard`` (n,), ``group`` (n,) and ``pair`` (n, m)."""

    standard: Floats
    group: Floats
    pair: Floats


def closed_form_radii(
    votes: Counts, top: NDArray[np.intp], n: Counts, omega: Mask, alpha: float, simultaneous: bool
) -> Radii:
    """Radii of the intersection-union argument, all at failure probability ``alpha``.

    The group radius is the least of the pair radii. It can only be too large if the bounds of the
    *one* target with the smallest true radius fail: alpha/2 for the top class and alpha/2 for that
    target, however many targets there are. Pair radii that are used together pay for each target.
    """
    n_top = _take(votes, top)
    lower = clopper_pearson_lower(n_top, n, alpha / 2)
    # Where the lower bound holds, no other class can have more than the rest.
    rest = 1.0 - lower
    group_upper = np.minimum(clopper_pearson_upper(_largest(votes, omega), n, alpha / 2), rest)
    level = _pair_level(omega, alpha) if simultaneous else alpha / 2
    pair_upper = np.minimum(_upper_of_targets(votes, n, omega, level), rest[:, None])
    return Radii(
        standard=ndtri(clopper_pearson_lower(n_top, n, alpha)),
        group=_half_gap(lower, group_upper),
        pair=_half_gap(lower[:, None], pair_upper),
    )


def paper_radii(
    votes: Counts, top: NDArray[np.intp], n: Counts, omega: Mask, alpha: float, simultaneous: bool
) -> Radii:
    """Algorithms 1 and 2 of [Xin25], letter for letter; ``simultaneous`` does not enter them."""
    n_top = _take(votes, top)
    standard = ndtri(clopper_pearson_lower(n_top, n, alpha))
    lower = clopper_pearson_lower(n_top, n, alpha / 2)
    # The bound rises with the count: the largest bound is the bound of the largest count.
    group_upper = clopper_pearson_upper(_largest(votes, omega), n, _pair_level(omega, alpha)[:, 0])
    pair_upper = _upper_of_targets(votes, n, omega, alpha / 2)
    return Radii(
        standard=standard,
        group=np.maximum(standard, _half_gap(lower, group_upper)),
        pair=np.maximum(standard[:, None], _half_gap(lower[:, None], pair_upper)),
    )


BOUNDS: dict[str, Callable[[Counts, NDArray[np.intp], Counts, Mask, float, bool], Radii]] = {
    "closed-form": closed_form_radii,
    "paper": paper_radii,
}


def raw_radii(
    selection: Counts,
    votes: Counts,
    n: Counts,
    omega: Mask,
    alpha: float,
    *,
    bound: str,
    simultaneous: bool,
) -> tuple[NDArray[np.intp], Radii]:
    """Pick each input's class by its selection votes and bound its radii by the others."""
    top = selection.argmax(axis=1)
    radii = BOUNDS[bound](votes, top, n, omega, alpha, simultaneous)
    unseen = selection.sum(axis=1) == 0
    if unseen.any():
        radii = Radii(*(np.where(_column(unseen, r), -np.inf, r) for r in radii))
    return top, radii


def settle(
    raw: Radii, top: NDArray[np.intp], omega: Mask, sigma: float, dropped: Mask | None = None
) -> tuple[Radii, Mask]:
    """Scale by sigma, and leave no positive radius where nothing may be claimed.

    Returns the radii and which inputs are abstained on. All radii are 0 where the procedure
    abstains, where the class picked is itself a sensitive target, and where ``dropped`` says so;
    group radii are nan without a sensitive target, pair radii outside the sensitive targets.
    """
    costly = _take(omega, top)
    sensitive = omega.any(axis=1)
    # Comparisons with nan are false, so a radius that is not a number certifies nothing.
    avoids = ((raw.group > 0) & sensitive) | ((raw.pair > 0) & omega).any(axis=1)
    abstained = ~((raw.standard > 0) | (avoids & ~costly))
    void = abstained | costly
    if dropped is not None:
        void = void | dropped
    standard, group, pair = (np.where((r > 0) & ~_column(void, r), r, 0.0) * sigma for r in raw)
    radii = Radii(standard, np.where(sensitive, group, np.nan), np.where(omega, pair, np.nan))
    return radii, abstained


def _take(rows: NDArray, column: NDArray[np.intp]) -> NDArray:
    return np.take_along_axis(rows, column[:, None], axis=1)[:, 0]


def _column(per_input: Mask, like: NDArray) -> Mask:
    return per_input if like.ndim == 1 else per_input[:, None]


def _largest(votes: Counts, omega: Mask) -> Counts:
    return np.where(omega, votes, 0).max(axis=1)


def _pair_level(omega: Mask, alpha: float) -> Floats:
    """alpha / (2 |Omega|) of shape (n, 1)."""
    return alpha / (2.0 * np.maximum(omega.sum(axis=1, keepdims=True), 1))


def _upper_of_targets(votes: Counts, n: Counts, omega: Mask, level: Floats | float) -> Floats:
    """Upper bounds of the sensitive targets' probabilities; 1 (nothing known) elsewhere."""
    upper = np.ones(votes.shape)
    levels = np.broadcast_to(level, votes.shape)
    trials = np.broadcast_to(n[:, None], votes.shape)
    upper[omega] = clopper_pearson_upper(votes[omega], trials[omega], levels[omega])
    return upper


def _half_gap(lower: Floats, upper: Floats) -> Floats:
    return 0.5 * (ndtri(lower) - ndtri(upper))
