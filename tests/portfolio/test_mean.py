"""The bound of a mean: exact failure probabilities, by enumeration."""

from itertools import pairwise, product

import numpy as np
import pytest

from smoothcs.portfolio._mean import blocks, upper_mean


def failure(chances, alpha, sampling, mean, values=(0.0, 1.0)):
    """Probability that the bound of independent two-valued numbers falls below their mean."""
    fails = 0.0
    for outcome in product((0, 1), repeat=len(chances)):
        weight = np.prod(np.where(outcome, chances, 1 - chances))
        drawn = np.where(outcome, values[1], values[0])
        bound = upper_mean(drawn, alpha, reach=values[1], sampling=sampling, scale=values[1] ** 2)
        fails += weight * (bound < mean)
    return fails


LISTS = {
    "one rare": [0.0] * 7 + [0.6],
    "one sure": [1.0] * 7 + [0.2],
    "halves": [0.5] * 8,
    "half of them": [0.0, 1.0] * 4,
    "mixed": [0.05, 0.1, 0.3, 0.5, 0.6, 0.8, 0.9, 0.99],
}


@pytest.mark.parametrize("chances", LISTS.values(), ids=LISTS)
@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5])
def test_fixed_list(chances, alpha):
    chances = np.array(chances)
    assert failure(chances, alpha, "fixed", chances.mean()) <= alpha


@pytest.mark.parametrize("chance", [0.1, 0.3, 0.5, 0.7, 0.9, 0.97])
@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5])
def test_population(chance, alpha):
    # Stakes that follow the variance of earlier values.
    assert failure(np.full(9, chance), alpha, "population", chance) <= alpha


def test_values_below_zero_are_allowed():
    chances = np.full(8, 0.5)
    assert failure(chances, 0.2, "fixed", 0.35, values=(-0.3, 1.0)) <= 0.2


def test_the_enumeration_would_notice():
    # The bound of a mean that is not the one estimated fails far more often than alpha.
    assert failure(np.full(9, 0.3), 0.05, "population", 0.75) > 0.1


@pytest.mark.parametrize("sampling", ["population", "fixed"])
def test_width(sampling, rng):
    values = (rng.random(10_000) < 0.3).astype(float)
    bound = upper_mean(values, 0.001, reach=1.0, sampling=sampling, scale=1.0)
    normal = values.std() / 100 * 3.09  # of the normal approximation
    assert normal < bound - values.mean() < 1.5 * normal


@pytest.mark.parametrize("sampling", ["population", "fixed"])
def test_nothing_known(sampling):
    assert upper_mean(np.ones(50), 0.01, reach=1.0, sampling=sampling, scale=1.0) == 1.0
    assert upper_mean(np.zeros(1), 1e-6, reach=1.0, sampling=sampling, scale=1.0) == 1.0


@pytest.mark.parametrize("n", [1, 2, 3, 10, 57, 30_000])
def test_blocks_cover_the_inputs_in_order(n):
    cut = blocks(n)
    assert cut[0][0] == 0
    assert cut[-1][1] == n
    assert all(a[1] == b[0] for a, b in pairwise(cut))
    assert all(start < stop for start, stop in cut)
