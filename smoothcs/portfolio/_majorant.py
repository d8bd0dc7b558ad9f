"""Polynomials above the worst case: u with E[u(N)] >= phi(q) for N ~ Binomial(K, q), every q.

An attacker within eps = eta sigma raises the chance q of a costly answer to at most
phi(q) = Phi(PhiInv(q) + eta). The mean of u(N) is the polynomial with Bernstein coefficients u, so
u is paid for by counts alone. Proofs: the page "Portfolio certificates" of the documentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.optimize import linprog
from scipy.special import betainc, ndtr, ndtri

from smoothcs._validation import Floats

# Cells on which the majorant is proven, as the ends z of q = Phi(z): fine where phi bends.
_ENDS = np.concatenate(
    [
        [-np.inf],
        np.arange(-38.0, -12.0, 0.05),
        np.arange(-12.0, -2.5, 0.002),
        np.arange(-2.5, 1.5, 0.001),
        np.arange(1.5, 6.0, 0.002),
        [np.inf],
    ]
)
_FIRST = slice(1, None, 45)  # the cell ends that the programme starts from
_ROUNDING = 1e-10  # what floating point may cost in a sum of at most a thousand terms
_HEADROOM = 1e-3  # between the programme's cap and the real one, for what is added to u
_ENOUGH = 1e-7  # a shortfall at which the programme is not refined further
_ROUNDS = 10
_STEEPEST = 60.0


class _Cells(NamedTuple):
    """Binomial tails P(N >= k), k = 1..K, at the cell ends, for K, K - 1 and K - 2 votes."""

    value: Floats
    slope: Floats
    bend: Floats


def risk_under_attack(q: Floats, eta: float) -> Floats:
    """Return phi(q), with phi(0) = 0 and phi(1) = 1."""
    return np.asarray(ndtr(ndtri(q) + eta))


def polynomial(u: Floats, q: Floats) -> Floats:
    """Return E[u(N)], N ~ Binomial(K, q)."""
    return u[0] + _tails(len(u) - 1, q) @ np.diff(u)


@lru_cache(maxsize=4096)
def cheapest_majorant(
    weights: tuple[float, ...], spread: tuple[float, ...], eta: float, cap: float
) -> Floats:
    """Return u, a proven majorant, that is nearly cheapest for counts with these weights.

    Minimises ``sum_k weights[k] u[k] + sum_k spread[k] |u[k] - u[k - 1]|`` (with u[-1] = 0) over
    majorants with ``u <= cap`` by a linear programme on part of the cell ends, to which ends of
    cells that fall short are added; what still falls short is added to u. Whatever the solver
    returns, the result is a majorant with values of at most `cap` >= 1; if it returns nothing, it
    is the constant 1.
    """
    K = len(weights) - 1
    cells = _cells(K)
    phi = ndtr(_ENDS + eta)
    chosen = np.zeros(len(_ENDS), dtype=bool)
    chosen[_FIRST] = chosen[0] = chosen[-1] = True
    best, best_cost = np.ones(K + 1), float(sum(weights))
    for _ in range(_ROUNDS):
        u = _solve(cells.value[chosen], phi[chosen], weights, spread, cap)
        if u is None:
            break
        excess = lowest_excess(u, eta)
        u = u + (max(0.0, -float(excess.min())) + _ROUNDING)
        cost = float(np.dot(weights, u))
        if cost < best_cost and u.max() <= cap:
            best, best_cost = u, cost
        short = excess < -_ENOUGH
        dips = (
            short & (excess <= np.append(excess[1:], 1.0)) & (excess <= np.append(1, excess[:-1]))
        )
        if not dips.any() or chosen[1:][dips].all():
            break
        chosen[1:][dips] = chosen[:-1][dips] = True
    best.flags.writeable = False
    return best


def lowest_excess(u: Floats, eta: float) -> Floats:
    """Return, for each cell, a lower bound of ``polynomial(u, q) - phi(q)`` over its q.

    Two bounds, of which the higher counts. (1) The tails increase in q, so the polynomial is at
    least the sum of their lowest values, and phi at most its value at the upper end. (2) -phi is
    convex and the polynomial bends down by at most M, so their sum plus M/2 (q - a)(q - b) is
    convex, not higher, and above its tangents at both ends.
    """
    K = len(u) - 1
    cells = _cells(K)
    steps = np.diff(u)
    q, width = ndtr(_ENDS), _widths()
    phi = ndtr(_ENDS + eta)
    coarse = u[0] + _lowest(cells.value, steps) - phi[1:]
    excess = u[0] + cells.value @ steps - phi
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        slope = K * (steps[0] + cells.slope @ np.diff(steps)) - np.exp(-eta * (eta / 2 + _ENDS))
        bend = np.zeros(len(q) - 1)
        if K > 1:
            curvature = np.diff(steps)
            bend = K * (K - 1) * (curvature[0] + _lowest(cells.bend, np.diff(curvature)))
        lift = np.maximum(0.0, -bend) * width / 2
        left, right = slope[:-1] - lift, slope[1:] + lift
        a, b = excess[:-1], excess[1:]
        crossing = a + left * (b - a - right * width) / (left - right)
        tangent = np.where(left >= 0, a, np.where(right <= 0, b, crossing))
    # A crossing above an end is rounding; a nan (an infinite slope) leaves the coarse bound.
    tangent = np.minimum(tangent, np.minimum(a, b))
    return np.fmax(coarse, tangent)


def _solve(
    tails: Floats, phi: Floats, weights: Sequence[float], spread: Sequence[float], cap: float
) -> Floats | None:
    """Solve the programme in the steps of u, split by sign, on the given values of q."""
    above = np.cumsum(np.asarray(weights)[::-1])[::-1]
    penalty = np.asarray(spread)
    scale = max(float(above[0]), float(penalty.max()), 1e-300)
    A = np.hstack([np.ones((len(tails), 1)), tails])
    sums = np.tril(np.ones((len(weights), len(weights))))
    result = linprog(
        np.concatenate([penalty + above, penalty - above]) / scale,
        A_ub=np.vstack([np.hstack([-A, A]), np.hstack([sums, -sums])]),
        b_ub=np.concatenate([-phi, np.full(len(weights), cap - _HEADROOM)]),
        bounds=(0.0, _STEEPEST),
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10},
    )
    if result.x is None or not np.all(np.isfinite(result.x)):
        return None
    rise, fall = np.split(result.x, 2)
    return np.cumsum(rise - fall)


def _lowest(tails: Floats, steps: Floats) -> Floats:
    """Return the least value of ``tails @ steps`` over each cell, tails being increasing."""
    return tails[:-1] @ np.maximum(steps, 0.0) + tails[1:] @ np.minimum(steps, 0.0)


@lru_cache(maxsize=8)
def _cells(K: int) -> _Cells:
    q = ndtr(_ENDS)
    return _Cells(*(_tails(max(k, 0), q) for k in (K, K - 1, K - 2)))


def _widths() -> Floats:
    return np.diff(ndtr(_ENDS))


def _tails(K: int, q: Floats) -> Floats:
    k = np.arange(1, K + 1)
    return np.asarray(betainc(k, K - k + 1.0, np.asarray(q)[:, None]))
