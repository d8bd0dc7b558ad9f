"""Binomial bounds and tests against scipy, statsmodels and exact enumeration."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest
from statsmodels.stats.proportion import proportion_confint

from smoothcs.bounds.binomial import (
    check_votes,
    clopper_pearson_lower,
    clopper_pearson_upper,
    smallest_n,
    top_two_abstains,
)


@pytest.mark.parametrize("alpha", [0.2, 0.05, 0.001, 0.001 / 18])
@pytest.mark.parametrize("n", [1, 2, 17, 100, 100_000])
def test_clopper_pearson_equals_statsmodels(n, alpha):
    k = np.unique(np.linspace(0, n, 40).astype(int))
    lower, upper = proportion_confint(k, n, alpha=2 * alpha, method="beta")
    np.testing.assert_allclose(clopper_pearson_lower(k, n, alpha), lower, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(clopper_pearson_upper(k, n, alpha), upper, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("alpha", [0.3, 0.05, 0.001])
@pytest.mark.parametrize("n", [1, 7, 40])
def test_failure_probability_is_at_most_alpha_and_reaches_it(n, alpha):
    # The lower bound fails at p when it exceeds p. It is worst just below one of its own values;
    # there the failures are exactly the counts from that value's on.
    k = np.arange(n + 1)
    lower = clopper_pearson_lower(k, n, alpha)
    worst = lower[1:] * (1 - 1e-12)
    p = np.concatenate([worst, np.linspace(0, 1, 301)])[:, None]
    failure = (binom.pmf(k, n, p) * (lower > p)).sum(axis=1)
    assert failure.max() <= alpha * (1 + 1e-8)
    np.testing.assert_allclose(failure[:n], alpha, rtol=1e-8)

    upper = clopper_pearson_upper(k, n, alpha)
    worst = upper[:-1] + 1e-13
    p = np.concatenate([worst, np.linspace(0, 1, 301)])[:, None]
    failure = (binom.pmf(k, n, p) * (upper < p)).sum(axis=1)
    assert failure.max() <= alpha * (1 + 1e-8)
    np.testing.assert_allclose(failure[:n], alpha, rtol=1e-8)


def test_a_narrower_bound_would_fail_the_enumeration():
    # The same enumeration with the bound of twice the level: it does tell them apart.
    n, alpha = 40, 0.05
    k = np.arange(n + 1)
    lower = clopper_pearson_lower(k, n, 2 * alpha)
    p = (lower[1:] * (1 - 1e-12))[:, None]
    assert (binom.pmf(k, n, p) * (lower > p)).sum(axis=1).max() > 1.9 * alpha


@pytest.mark.parametrize("n", [1, 10, 1_000_000])
@pytest.mark.parametrize("alpha", [0.5, 1e-3, 1e-12, 1e-100])
def test_ends_are_known_in_closed_form(n, alpha):
    assert clopper_pearson_lower(0, n, alpha) == 0.0
    assert clopper_pearson_upper(n, n, alpha) == 1.0
    power = np.log(alpha) / n
    np.testing.assert_allclose(clopper_pearson_lower(n, n, alpha), np.exp(power), rtol=1e-12)
    np.testing.assert_allclose(clopper_pearson_upper(0, n, alpha), -np.expm1(power), rtol=1e-9)


def test_no_votes_mean_nothing_is_known():
    assert clopper_pearson_lower(0, 0, 0.05) == 0.0
    assert clopper_pearson_upper(0, 0, 0.05) == 1.0


@given(st.integers(1, 10**6), st.data(), st.floats(1e-9, 0.5))
def test_bounds_enclose_the_estimate_mirror_each_other_and_rise_with_the_count(n, data, alpha):
    k = data.draw(st.integers(0, n))
    lower, upper = clopper_pearson_lower(k, n, alpha), clopper_pearson_upper(k, n, alpha)
    assert 0.0 <= lower <= k / n <= upper <= 1.0
    assert abs(clopper_pearson_upper(n - k, n, alpha) - (1.0 - lower)) <= 1e-12
    if k < n:
        assert clopper_pearson_lower(k + 1, n, alpha) > lower
        assert clopper_pearson_upper(k + 1, n, alpha) > upper


def test_bounds_broadcast_and_return_float64():
    lower = clopper_pearson_lower(np.arange(3)[:, None], 10, np.array([0.1, 0.01]))
    assert lower.shape == (3, 2)
    assert lower.dtype == np.float64
    assert lower[2, 1] == clopper_pearson_lower(2, 10, 0.01)


@pytest.mark.parametrize("function", [clopper_pearson_lower, clopper_pearson_upper])
@pytest.mark.parametrize(
    ("k", "n", "alpha", "named"),
    [
        (-1, 10, 0.05, "k must"),
        (1.5, 10, 0.05, "k must"),
        (np.nan, 10, 0.05, "k must"),
        ("3", 10, 0.05, "k must"),
        (3, np.inf, 0.05, "n must"),
        (11, 10, 0.05, "k must not exceed n"),
        (3, 10, 0.0, "alpha"),
        (3, 10, 1.0, "alpha"),
        (3, 10, np.nan, "alpha"),
    ],
)
def test_bounds_refuse_what_is_not_a_count_or_a_level(function, k, n, alpha, named):
    with pytest.raises(ValueError, match=named):
        function(k, n, alpha)


def test_top_two_equals_scipy_for_every_count_up_to_forty():
    first, second = np.divmod(np.arange(41 * 41), 41)
    for alpha in (0.3, 0.05, 0.001):
        expected = [
            a == b or binomtest(int(max(a, b)), int(a + b), 0.5).pvalue > alpha
            for a, b in zip(first, second, strict=True)
        ]
        # A third class with fewer votes does not take part.
        third = np.minimum(first, second) // 2
        got = top_two_abstains(np.column_stack([first, third, second]), alpha)
        np.testing.assert_array_equal(got, expected)


def test_top_two_equals_scipy_for_large_counts(rng):
    votes = rng.multinomial(100_000, [0.34, 0.335, 0.325], size=200)
    ordered = np.sort(votes, axis=1)[:, ::-1]
    p_values = [binomtest(int(a), int(a + b), 0.5).pvalue for a, b, _ in ordered]
    got = top_two_abstains(votes, 0.01)
    np.testing.assert_array_equal(got, np.array(p_values) > 0.01)
    assert 0 < got.sum() < 200


def test_top_two_abstains_at_ties_and_without_votes():
    votes = [[500, 500, 0], [0, 0, 0], [1, 1, 1], [0, 1000, 0]]
    np.testing.assert_array_equal(top_two_abstains(votes, 0.999), [True, True, True, False])


@pytest.mark.parametrize("alpha", [0.6, 0.5, 0.25, 0.05, 0.001, 1e-9])
@pytest.mark.parametrize(("bound", "share"), [("paper", 1.0), ("closed-form", 0.5)])
def test_smallest_n_is_the_first_that_passes_one_half(alpha, bound, share):
    n = smallest_n(alpha, bound)
    assert (share * alpha) ** (1 / n) > 0.5
    assert n == 1 or (share * alpha) ** (1 / (n - 1)) <= 0.5


def test_smallest_n_names_the_known_bounds():
    with pytest.raises(ValueError, match="closed-form"):
        smallest_n(0.001, "no such bound")


@pytest.mark.parametrize(
    ("votes", "named"),
    [
        ([1, 2, 3], "shape"),
        ([[1], [2]], "at least two classes"),
        ([[1, -1]], "integer counts"),
        ([[1.5, 0.5]], "integer counts"),
        ([[np.nan, 1]], "integer counts"),
        ([[np.inf, 1]], "integer counts"),
        ([[True, False]], "integer counts"),
        ([["1", "2"]], "integer counts"),
        ([[1j, 2]], "integer counts"),
        (np.array([[1, 2]], dtype=object), "integer counts"),
        ([[2**53, 1]], "at most 2\\*\\*53"),
        (np.array([[2**64 - 1, 1]], dtype=np.uint64), "integer counts"),
    ],
)
def test_check_votes_refuses_what_is_not_counts(votes, named):
    with pytest.raises(ValueError, match=named):
        check_votes("estimation", votes)
    with pytest.raises(ValueError, match="estimation"):
        check_votes("estimation", votes)


def test_check_votes_accepts_integral_floats_and_copies():
    votes = np.array([[3.0, 1.0]])
    counts = check_votes("votes", votes)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, [[3, 1]])
    integers = np.array([[3, 1]])
    assert not np.shares_memory(check_votes("votes", integers), integers)
