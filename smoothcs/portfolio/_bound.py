"""From votes and prices to a bound on the mean worst-case cost."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import betainc

from smoothcs._validation import Floats, Ints
from smoothcs.portfolio._majorant import cheapest_majorant
from smoothcs.portfolio._mean import blocks, upper_mean

_CAUTION = 3.0  # standard errors that the programme fears in the counts it is given
_PRIOR = (0.3, 2.7)  # chances of a costly answer that the first block is prepared for: a Beta
_PRIOR_INPUTS = 100


class Rows(NamedTuple):
    """Votes and prices of inputs, in the order in which they are bet on; prices are at most 1.

    The answers of a row are ordered by price. ``levels[i, l]`` counts its votes for the answers
    above the l-th; ``jumps[i, l]`` is what the next price adds; ``floor[i]`` is the lowest price.
    """

    levels: Ints
    jumps: Floats
    floor: Floats
    n_votes: int


def read_rows(counts: Ints, prices: Floats, largest: float) -> Rows:
    """Return rows with prices in units of `largest` (0 where all of them are 0)."""
    order = np.argsort(prices, axis=1, kind="stable")
    prices = np.take_along_axis(prices, order, axis=1) / (largest or 1.0)
    above = np.take_along_axis(counts, order, axis=1)[:, ::-1].cumsum(axis=1)[:, ::-1]
    return Rows(above[:, 1:], np.diff(prices, axis=1), prices[:, 0], int(above[0, 0]))


def risk_bounds(rows: Rows, etas: Floats, alpha: float, sampling: str) -> Floats:
    """Bound the mean worst-case cost for each eta, in units of the largest price; jointly valid.

    A radius bounds what smaller ones allow, so the least bound of the larger radii counts.
    """
    highest = rows.floor + rows.jumps.sum(axis=1)
    if sampling == "fixed" and not highest.any():
        return np.zeros(len(etas))  # of a population, free inputs alone do not show that all are
    trivial = 1.0 if sampling == "population" else float(highest.mean())
    level = alpha / len(etas)
    scale = float(np.mean(highest**2))
    cap = majorant_cap(rows.n_votes)
    order = np.argsort(etas)
    bounds = np.empty(len(etas))
    for i in order:
        values = _upper_values(rows, float(etas[i]))
        bounds[i] = upper_mean(values, level, reach=cap, sampling=sampling, scale=scale)
    bounds[order] = np.minimum.accumulate(bounds[order][::-1])[::-1]
    return np.minimum(bounds, trivial)


def _upper_values(rows: Rows, eta: float) -> Floats:
    """Return a number per row whose expectation is at least its worst-case cost.

    The majorant of a block is chosen from the rows before it.
    """
    values = rows.floor.copy()
    for start, stop in blocks(len(values)):
        u = _first_majorant(rows.n_votes, eta) if start == 0 else _next_majorant(rows, start, eta)
        block = slice(start, stop)
        values[block] += (rows.jumps[block] * u[rows.levels[block]]).sum(axis=1)
    return values


def majorant_of(weights: Floats, n: int, eta: float) -> Floats:
    """Return the majorant for the counts of n inputs that each cost 1, with shares `weights`."""
    return _majorant(weights, weights, n, eta)


def _first_majorant(n_votes: int, eta: float) -> Floats:
    ends = betainc(*_PRIOR, np.linspace(0.0, 1.0, n_votes + 2))
    return majorant_of(np.diff(ends), _PRIOR_INPUTS, eta)


def _next_majorant(rows: Rows, n: int, eta: float) -> Floats:
    """Return the majorant for the first n rows, weighted with their jumps in price."""
    levels, jumps = rows.levels[:n].ravel(), rows.jumps[:n].ravel()
    weights, squares = (
        np.bincount(levels, part, rows.n_votes + 1) / n for part in (jumps, jumps**2)
    )
    return _majorant(weights, squares, n, eta)


def _majorant(weights: Floats, squares: Floats, n: int, eta: float) -> Floats:
    """Return the majorant that is cheap for tails a standard error off those of n rows."""
    tails, second = (part[::-1].cumsum()[::-1] for part in (weights, squares))
    error = _CAUTION * np.sqrt(np.maximum(second - tails**2, 1.0 / n) / n)
    return cheapest_majorant(tuple(weights), tuple(error), eta, majorant_cap(len(weights) - 1))


def majorant_cap(n_votes: int) -> float:
    """Return how high a majorant may reach: fewer votes need to overshoot more."""
    return 1.0 + 4.0 / n_votes
