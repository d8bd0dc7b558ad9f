"""The polynomial above the worst case: against closed forms, dense grids and another solver."""

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.special import ndtr, ndtri
from scipy.stats import binom

from smoothcs.portfolio import _majorant
from smoothcs.portfolio._majorant import (
    cheapest_majorant,
    lowest_excess,
    polynomial,
    risk_under_attack,
)


def counts_of(q, K):
    return binom.pmf(np.arange(K + 1)[:, None], K, np.clip(q, 1e-12, 1 - 1e-12)[None]).mean(axis=1)


def cheapest(weights, eta, cap, spread=0.0):
    return cheapest_majorant(tuple(weights), (spread,) * len(weights), eta, cap)


def anywhere(rng, size=20_000):
    """Chances of every order of magnitude, near 0, in between and near 1."""
    small = 10.0 ** -rng.uniform(0, 40, size)
    return np.concatenate(
        [[0.0, 1.0], rng.random(size), small, 1 - 10.0 ** -rng.uniform(0, 16, size)]
    )


def test_the_polynomial_is_the_expectation_over_counts(rng):
    u = rng.normal(size=8)
    q = rng.random(50)
    expected = u @ binom.pmf(np.arange(8)[:, None], 7, q[None])
    np.testing.assert_allclose(polynomial(u, q), expected, rtol=1e-12)


@pytest.mark.parametrize("K", [1, 2, 3, 7, 20, 40])
@pytest.mark.parametrize("eta", [0.05, 0.5, 1.0, 3.0])
def test_it_lies_above_the_worst_case_everywhere(K, eta, rng):
    q = anywhere(rng)
    for shape in ((0.3, 4.0), (5.0, 0.5)):
        u = cheapest(counts_of(rng.beta(*shape, size=500), K), eta, 1 + 4 / K, spread=0.01)
        assert np.all(polynomial(u, q) >= risk_under_attack(q, eta))
        assert u.max() <= 1 + 4 / K


@pytest.mark.parametrize("eta", [0.1, 0.7, 2.5])
def test_with_one_vote_it_is_the_tangent(eta, rng):
    # phi is concave: the best line above it touches at the mean, and costs phi(mean) (Jensen).
    for mean in (0.05, 0.3, 0.8):
        u = cheapest([1 - mean, mean], eta, 50.0)
        assert 0 <= np.dot([1 - mean, mean], u) - ndtr(ndtri(mean) + eta) < 1e-6


@pytest.mark.parametrize("K", [2, 5, 10])
@pytest.mark.parametrize("eta", [0.25, 1.0, 2.0])
def test_its_price_is_that_of_the_moment_problem(K, eta, rng):
    """The dual, on another grid by an interior point method: the worst mixture with these counts.

    maximise E[phi] - cap |s| over measures G >= 0 and s >= 0 with counts(G) - s = weights.
    """
    cap = 1 + 4 / K
    weights = counts_of(rng.beta(0.4, 3.0, size=400), K)
    q = np.unique(np.concatenate([[0.0], ndtr(np.linspace(-9, 7, 12_001)), [1.0]]))
    B = binom.pmf(np.arange(K + 1)[:, None], K, np.clip(q, 0, 1)[None])
    other = linprog(
        np.concatenate([-risk_under_attack(q, eta), np.full(K + 1, cap - 1e-3)]),
        A_eq=np.hstack([B, -np.eye(K + 1)]),
        b_eq=weights,
        method="highs-ipm",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    assert other.status == 0
    price = weights @ cheapest(weights, eta, cap)
    assert -1e-9 <= price + other.fun < 1e-6


@pytest.mark.parametrize("K", [1, 2, 3, 9])
def test_the_bound_of_a_cell_holds_within_the_cell(K, rng):
    # For any coefficients, majorant or not, wild or smooth.
    for eta in (0.3, 2.0, 8.0):
        for u in (rng.normal(size=K + 1), np.sort(rng.random(K + 1)), 30 * rng.normal(size=K + 1)):
            bound = lowest_excess(u, eta)
            q = anywhere(rng, 3_000)
            cell = np.clip(np.searchsorted(_majorant._ENDS, ndtri(q)) - 1, 0, len(bound) - 1)
            excess = polynomial(u, q) - risk_under_attack(q, eta)
            assert np.all(excess >= bound[cell] - 1e-10)


def test_the_bound_of_a_cell_is_sharp():
    u = cheapest([0.7, 0.1, 0.1, 0.1], 1.0, 3.0)
    ends = ndtr(_majorant._ENDS[1:-1])
    excess = polynomial(u, ends) - risk_under_attack(ends, 1.0)
    below = np.minimum(excess[1:], excess[:-1]) - lowest_excess(u, 1.0)[1:-1]
    assert below.min() >= -1e-15
    assert below.max() < 1e-2  # first order in the cell, where the majorant is far above
    near = np.minimum(excess[1:], excess[:-1]) < 1e-4
    assert below[near].max() < 1e-6


@pytest.mark.parametrize("answer", ["none", "nan", "too low", "wild"])
def test_a_solver_that_fails_costs_tightness_and_never_validity(answer, rng, monkeypatch):
    def solver(tails, phi, weights, spread, cap):
        if answer == "none":
            return None
        wrong = {"nan": np.nan, "too low": -0.3, "wild": 7.0}[answer]
        return np.linspace(0, 0.5, len(weights)) + wrong

    monkeypatch.setattr(_majorant, "_solve", solver)
    cheapest_majorant.cache_clear()
    u = cheapest([0.4, 0.3, 0.2, 0.1], 0.5, 2.0)
    cheapest_majorant.cache_clear()
    q = anywhere(rng)
    assert np.all(polynomial(u, q) >= risk_under_attack(q, 0.5))
    assert u.max() <= 2.0
