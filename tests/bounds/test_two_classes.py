"""With two classes the exact test is binomial: its size, its radius, and what it gains."""

import numpy as np
import pytest
from scipy.stats import beta, binom

from smoothcs.bounds.blockers import choose_blockers, single_blocker
from smoothcs.bounds.exact import exact_group_radius, exact_pair_radius, exact_radius, exact_rejects
from smoothcs.bounds.geometry import (
    blocker_radius,
    feasible_end,
    null_boundary,
    two_class_radius,
)

SIZES = [0.3, 1.0, 2.5]
LEVELS = [0.001, 0.05, 0.2]


def rejects(k, n, eta, level, s=1.0):
    return exact_rejects(k, n - k, n, eta, level, s, two_classes=True)


@pytest.mark.parametrize("s", SIZES)
@pytest.mark.parametrize("eta", [0.0, 0.1, 0.4, 0.9, 2.0])
def test_size_is_at_most_the_level_by_enumeration(s, eta):
    for n in (1, 7, 25, 60, 300):
        k = np.arange(n + 1)
        # All null votes: the blocker has P and the target the rest, P <= g(1 - P).
        P = np.concatenate(
            [1 - feasible_end(eta, s) * np.linspace(1, 3, 60), np.linspace(0, 1, 999)]
        )
        null = (P >= 0) & (null_boundary(1 - P, eta, s) + 1e-12 >= P)
        assert null.any()
        probability = binom.pmf(k, n, P[null, None])
        for level in LEVELS:
            wrong = probability[:, rejects(k, n, eta, level, s)].sum(axis=1)
            assert wrong.max() <= level * (1 + 1e-9)


def test_the_whole_level_is_used_where_the_counts_allow_it():
    n, k, level = 300, np.arange(301), 0.05
    edge = beta.ppf(level, k[1:], n - k[1:] + 1)  # hypotheses whose threshold is a count
    for P, least in zip(edge[200::20], k[201::20], strict=True):
        rejected = rejects(k, n, float(two_class_radius(P)) - 1e-12, level)
        assert rejected.tolist() == (k >= least).tolist()
        assert binom.pmf(k[rejected], n, P).sum() == pytest.approx(level, rel=1e-9)


@pytest.mark.parametrize("s", SIZES)
@pytest.mark.parametrize("level", LEVELS)
def test_decisions_are_those_of_the_binomial_p_value(s, level):
    for n in (10, 45, 200):
        k = np.arange(n + 1)
        for eta in (0.05, 0.37, 1.1):
            p_value = binom.sf(k - 1, n, 1 - feasible_end(eta, s))
            clear = np.abs(p_value - level) > 1e-9 * level
            np.testing.assert_array_equal(
                rejects(k, n, eta, level, s)[clear], (p_value <= level)[clear]
            )


@pytest.mark.parametrize("s", SIZES)
@pytest.mark.parametrize("level", LEVELS)
def test_whatever_the_general_test_rejects_is_rejected(s, level):
    for n in (10, 25, 45, 300):
        k = np.arange(n + 1)
        for eta in (0.0, 0.1, 0.4, 0.9):
            general = exact_rejects(k, n - k, n, eta, level, s)
            assert not (general & ~rejects(k, n, eta, level, s)).any()


def test_the_radius_is_that_of_the_lower_bound_and_where_the_test_ends():
    for s in SIZES:
        for n in (1, 9, 80, 100_000):
            k = np.unique(np.linspace(0, n, 50).astype(int))
            radius = exact_radius(k, n - k, n, 0.01, s, two_classes=True)
            with np.errstate(invalid="ignore"):
                L = np.where(k > 0, beta.ppf(0.01, k, n - k + 1), 0.0)
            expected = np.maximum(blocker_radius(L, 1 - L, s), 0)
            np.testing.assert_allclose(radius, expected, atol=1e-9)
            positive = radius > 0
            assert rejects(k, n, radius, 0.01, s)[positive].all()
            assert not rejects(k, n, radius + 1e-12, 0.01, s).any()


def test_two_class_radius_is_the_inverse_of_the_feasible_end():
    P, s = np.meshgrid(np.linspace(0.01, 0.999, 30), SIZES)
    eta = two_class_radius(P, s)
    np.testing.assert_allclose(1 - feasible_end(eta, s), P, rtol=1e-12)
    np.testing.assert_allclose(eta, blocker_radius(P, 1 - P, s), atol=1e-9)


def test_radii_gain_less_than_a_hundredth(rng):
    n = rng.choice([60, 300, 1000, 5000], 400)
    k = rng.binomial(n, rng.uniform(0.5, 1, 400))
    for level in (0.001, 0.05):
        two = exact_radius(k, n - k, n, level, two_classes=True)
        gain = two - exact_radius(k, n - k, n, level)
        assert (gain >= 0).all()
        assert 0 < gain.max() < 0.01


def test_groups_and_pairs_of_two_classes_use_it():
    votes, targets = [[940, 60], [30, 970], [500, 500]], [[False, True]] * 3
    for sets in (single_blocker([0, 0, 0], 2), choose_blockers([[9, 1]] * 3, targets)):
        expected = np.maximum(two_class_radius(beta.ppf(0.01, [940, 30, 500], [61, 971, 501])), 0)
        assert expected[0] > 0
        np.testing.assert_allclose(exact_group_radius(votes, sets, targets, 0.01), expected)
        pair = exact_pair_radius(votes, sets, targets, 0.01)
        np.testing.assert_allclose(pair[:, 1], expected)
        assert np.isnan(pair[:, 0]).all()


def test_a_third_class_without_votes_is_no_two_class_problem():
    votes, targets = [[940, 60, 0]], [[False, True, False]]
    three = exact_group_radius(votes, single_blocker([0], 3), targets, 0.01)
    two = exact_group_radius([[940, 60]], single_blocker([0], 2), [[False, True]], 0.01)
    assert three == exact_radius(940, 60, 1000, 0.01)
    assert three < two


@pytest.mark.parametrize("hopeless", [{"eta": np.nan}, {"eta": np.inf}, {"s": np.nan}])
def test_what_is_not_known_is_not_rejected(hopeless):
    sure = {"n_block": 100, "n_target": 0, "n": 100, "eta": 0.1, "level": 0.01, "s": 1.0}
    assert exact_rejects(**sure, two_classes=True)
    assert not exact_rejects(**(sure | hopeless), two_classes=True)


def test_nothing_is_shown_by_no_votes_or_without_a_blocker():
    assert not exact_rejects(0, [0, 50], [0, 50], 0.1, 0.2, two_classes=True).any()
    assert exact_radius(0, 0, 0, 0.2, two_classes=True) == 0
    # Class 1 cannot block itself.
    alone = single_blocker([1], 2)
    assert exact_group_radius([[3, 97]], alone, [[False, True]], 0.01) == 0


def test_votes_of_a_third_class_are_refused():
    with pytest.raises(ValueError, match="n_block \\+ n_target must be n"):
        exact_rejects(90, 5, 100, 0.1, 0.01, two_classes=True)
    with pytest.raises(ValueError, match="n_block \\+ n_target must be n"):
        exact_radius(90, 5, 100, 0.01, two_classes=True)
