"""How many inputs and votes a portfolio certificate needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc

from smoothcs._validation import Floats, check_integer, check_positive, check_probability
from smoothcs.bounds.binomial import check_counts
from smoothcs.portfolio._bound import majorant_of
from smoothcs.portfolio._certify import in_sigmas
from smoothcs.portfolio._majorant import risk_under_attack

_FEWEST, _MOST = 20, 10**8
_EM_STEPS = 300
_GRID = 200


class PlanOption(NamedTuple):
    """A number of votes per input and the inputs it needs (None where no number is enough)."""

    n_votes: int
    n_inputs: int | None
    expected_bound: float


@dataclass(frozen=True)
class PortfolioPlan:
    """The cheapest number of inputs and votes.

    Attributes
    ----------
    n_inputs, n_votes : int or None
        None where no option reaches the gap.
    risk : float
        The worst-case risk under the assumed distribution.
    options : tuple of PlanOption
        For each number of votes that was asked for.
    """

    n_inputs: int | None
    n_votes: int | None
    risk: float
    options: tuple[PlanOption, ...]


def plan_portfolio(
    gap: float,
    *,
    sigma: float,
    eps: float,
    chances: ArrayLike | None = None,
    pilot: tuple[ArrayLike, int] | None = None,
    alpha: float = 0.001,
    n_votes: Sequence[int] = (5, 10, 20),
) -> PortfolioPlan:
    """Say how many inputs and votes bring the expected bound to within `gap` of the true risk.

    Every costly answer costs 1. A forecast, not a guarantee: the certificate is valid whatever the
    plan assumed.

    Parameters
    ----------
    gap : float
        Desired difference between the bound and the true worst-case risk, > 0.
    sigma, eps, alpha
        As in :func:`certify_portfolio`; one eps.
    chances : array-like of shape (n,), default=None
        Assumed chances of a costly answer of typical inputs, in [0, 1].
    pilot : tuple of (array-like of int of shape (n,), int), default=None
        Instead: costly votes of each input of a pilot, and the votes each of them had. The
        distribution of the chances is estimated by maximum likelihood.
    n_votes : sequence of int, default=(5, 10, 20)
        Numbers of votes per input to compare.

    Returns
    -------
    plan : PortfolioPlan
        The option with the fewest votes in all, and all options.

    Raises
    ------
    ValueError
        If neither or both of ``chances`` and ``pilot`` are given, or a parameter is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from smoothcs.portfolio import plan_portfolio
    >>> rng = np.random.default_rng(0)
    >>> plan = plan_portfolio(0.02, sigma=0.5, eps=0.25, chances=rng.beta(0.3, 4.0, size=1000))
    >>> plan.n_votes, round(plan.n_inputs, -3)
    (5, 5000)
    """
    gap = check_positive("gap", gap)
    eta = float(in_sigmas(check_positive("eps", eps), check_positive("sigma", sigma)))
    alpha = check_probability("alpha", alpha)
    if (chances is None) == (pilot is None):
        raise ValueError("Pass either chances or pilot, and not both.")
    q, share = _check_chances(chances) if pilot is None else _mixture(*pilot)
    risk = float(share @ risk_under_attack(q, eta))
    options = tuple(
        _option(check_integer("n_votes", K), q, share, eta, alpha, risk + gap) for K in n_votes
    )
    reached = [(o.n_inputs * o.n_votes, o) for o in options if o.n_inputs is not None]
    if not reached:
        return PortfolioPlan(None, None, risk, options)
    best = min(reached)[1]
    return PortfolioPlan(best.n_inputs, best.n_votes, risk, options)


def _option(K: int, q: Floats, share: Floats, eta: float, alpha: float, goal: float) -> PlanOption:
    """Search the number of inputs on a scale of one per cent."""
    weights = share @ _likelihood(np.arange(K + 1), K, q).T
    low, high = np.log(_FEWEST), np.log(_MOST)
    if _expected_bound(weights, eta, alpha, _MOST) > goal:
        return PlanOption(K, None, _expected_bound(weights, eta, alpha, _MOST))
    while high - low > 0.01:
        middle = (low + high) / 2
        reached = _expected_bound(weights, eta, alpha, int(np.exp(middle))) <= goal
        low, high = (low, middle) if reached else (middle, high)
    n = int(np.ceil(np.exp(high)))
    return PlanOption(K, n, _expected_bound(weights, eta, alpha, n))


def _expected_bound(weights: Floats, eta: float, alpha: float, n: int) -> float:
    """Mean of the best majorant's values plus what betting on n of them leaves open.

    A majorant is fitted to about a third of the inputs; the first block, a share of 1 / sqrt(n),
    has a worse one, for which an eighth of the distance to 1 is added (found by trial).
    """
    u = majorant_of(weights, max(1, n // 3), eta)
    mean = float(weights @ u)
    log = np.log(1 / alpha)
    deviation = np.sqrt(2 * log * float(weights @ (u - mean) ** 2) / n) + log / (3 * n)
    return float(min(1.0, mean + deviation + max(0.0, 1 - mean) / (8 * np.sqrt(n))))


def _check_chances(chances: ArrayLike | None) -> tuple[Floats, Floats]:
    q = np.asarray(chances, dtype=np.float64)
    if q.ndim != 1 or not len(q) or not np.all((q >= 0) & (q <= 1)):
        raise ValueError("chances must be a non-empty list of numbers in [0, 1].")
    return q, np.full(len(q), 1.0 / len(q))


def _mixture(costly: ArrayLike, trials: int) -> tuple[Floats, Floats]:
    """Estimate the distribution of the chances behind counts, by EM on a grid."""
    K = check_integer("pilot votes", trials)
    counts = check_counts("pilot", costly)
    if counts.ndim != 1 or not len(counts) or counts.max() > K:
        raise ValueError(f"pilot must hold counts of shape (n,) of at most {K} votes.")
    q = np.sin(np.linspace(0.0, np.pi / 2, _GRID)) ** 2
    observed = np.bincount(counts, minlength=K + 1) / len(counts)
    likelihood = _likelihood(np.arange(K + 1), K, q)
    share = np.full(_GRID, 1.0 / _GRID)
    for _ in range(_EM_STEPS):
        mixed = likelihood * share
        share = observed @ (mixed / mixed.sum(axis=1, keepdims=True))
    return q, share


def _likelihood(k: NDArray[np.int64], K: int, q: Floats) -> Floats:
    """P(N = k) for N ~ Binomial(K, q), of shape (k, q)."""
    tails = np.vstack([np.ones_like(q), betainc(k[1:, None], K - k[1:, None] + 1.0, q)])
    return np.maximum(tails - np.vstack([tails[1:], np.zeros_like(q)]), 0.0)
