"""The exact test keeps its level, agrees with brute force and beats the closed form."""

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import beta, binom, multinomial
from statsmodels.stats.proportion import proportion_confint

from smoothcs.bounds.blockers import choose_blockers, single_blocker
from smoothcs.bounds.exact import exact_group_radius, exact_pair_radius, exact_radius, exact_rejects
from smoothcs.bounds.geometry import blocker_radius, feasible_end, null_boundary


def all_outcomes(n):
    block, target = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    keep = block + target <= n
    return block[keep], target[keep]


def null_points(eta, s, n_grid=300, n_inside=200):
    """Points (h_S, h_j) on the boundary of the null hypothesis and inside it."""
    rng = np.random.default_rng(1)
    end = float(feasible_end(eta, s))
    p = np.concatenate([end * np.linspace(0, 1, n_grid) ** 2, end * rng.random(n_inside)])
    share = np.concatenate([np.ones(n_grid), rng.random(n_inside) ** 0.2])
    return np.minimum(null_boundary(p, eta, s) * share, 1 - p), p


def outcome_probabilities(n, n_block, n_target, p_block, p_target):
    counts = np.stack([n_block, n_target, n - n_block - n_target], axis=1)
    rest = np.clip(1 - p_block - p_target, 0, 1)
    return np.stack(
        [
            multinomial.pmf(counts, n, [a, b, c]) if a + b + c <= 1 + 1e-12 else 0
            for a, b, c in zip(p_block, p_target, rest, strict=True)
        ]
    )


@pytest.mark.parametrize("n", [10, 25, 45])
@pytest.mark.parametrize("s", [1, 2])
@pytest.mark.parametrize("eta", [0.1, 0.4, 0.9])
def test_size_is_at_most_the_level_by_enumeration(n, s, eta):
    n_block, n_target = all_outcomes(n)
    probability = outcome_probabilities(n, n_block, n_target, *null_points(eta, s))
    for level in (0.001, 0.05, 0.2):
        rejected = exact_rejects(n_block, n_target, n, eta, level, s)
        assert (probability[:, rejected].sum(axis=1)).max() <= level


@pytest.mark.parametrize("s", [0.3, 2.5])
def test_size_holds_for_weighted_blocker_sets(s):
    n_block, n_target = all_outcomes(25)
    probability = outcome_probabilities(25, n_block, n_target, *null_points(0.4, s))
    rejected = exact_rejects(n_block, n_target, 25, 0.4, 0.05, s)
    assert 0 < (probability[:, rejected].sum(axis=1)).max() <= 0.05


def test_the_level_is_used_and_not_wasted():
    n_block, n_target = all_outcomes(45)
    probability = outcome_probabilities(45, n_block, n_target, *null_points(0.4, 1))
    rejected = exact_rejects(n_block, n_target, 45, 0.4, 0.2)
    assert probability[:, rejected].sum(axis=1).max() > 0.15


def brute_force_p_value(n_block, n_target, n, eta, level, s, gamma=0.01):
    """The definition word by word: statistics by statsmodels, sums over every outcome."""
    z_alpha = 2 * level  # statsmodels' wilson takes the two-sided level
    lower = lambda k: proportion_confint(k, n, z_alpha, method="wilson")[0]  # noqa: E731
    upper = lambda k: proportion_confint(k, n, z_alpha, method="wilson")[1]  # noqa: E731
    block, target = all_outcomes(n)

    def statistic(b, t):
        P = np.clip(lower(b), 0, 1)
        return np.where(P > 1e-14, blocker_radius(P, np.clip(upper(t), 0, 1), s), -np.inf)

    region = statistic(block, target) >= statistic(np.array([n_block]), np.array([n_target])) - 1e-9
    a = gamma * level / 2
    low = beta.ppf(a, n_target, n - n_target + 1) if n_target else 0.0
    high = beta.ppf(1 - a, n_target + 1, n - n_target) if n_target < n else 1.0
    end = float(feasible_end(eta, s))
    p = np.linspace(min(low, end), min(high, end), 400)
    p_block = np.minimum(null_boundary(p, eta, s), 1 - p)
    return outcome_probabilities(n, block[region], target[region], p_block, p).sum(axis=1).max()


@pytest.mark.parametrize("seed", range(40))
def test_decisions_are_those_of_the_brute_force_p_value(seed):
    rng = np.random.default_rng(seed)
    n, s = int(rng.integers(12, 45)), float(rng.choice([1.0, 2.0, 0.3, 2.5]))
    level, eta = float(rng.choice([0.01, 0.05, 0.2])), float(rng.uniform(0.05, 0.8))
    p = rng.uniform(0, 0.2)
    # Votes near the boundary of the rejection region, where decisions are hard.
    centre = min(1 - p, null_boundary(p, eta, s) + 2 * 0.4 / np.sqrt(n))
    n_block, n_target, _ = rng.multinomial(n, [centre, p, max(1 - p - centre, 0)])
    p_value = brute_force_p_value(n_block, n_target, n, eta, level, s)
    rejected = bool(exact_rejects(n_block, n_target, n, eta, level, s))
    if rejected:
        assert p_value <= 0.99 * level
    elif n_block / n > null_boundary(n_target / n, eta, s):
        assert p_value > 0.98 * 0.99 * level


def test_rejection_only_becomes_harder_as_eta_or_target_votes_grow():
    eta = np.linspace(0, 2, 60)
    decisions = exact_rejects(430, 12, 500, eta, 0.001)
    assert decisions[0]
    assert not decisions[-1]
    assert (np.diff(decisions.astype(int)) <= 0).all()
    by_block = exact_rejects(np.arange(0, 489), 12, 500, 0.5, 0.001)
    assert (np.diff(by_block.astype(int)) >= 0).all()


def test_rejection_regions_are_nested_in_the_level_for_one_ordering():
    n_block, n_target = all_outcomes(40)
    smaller, larger = (
        exact_rejects(n_block, n_target, 40, 0.3, level, ordering_level=0.01)
        for level in (0.01, 0.03)
    )
    assert smaller.any()
    assert not (smaller & ~larger).any()


@pytest.mark.parametrize("level", [0.05, 0.001])
@pytest.mark.parametrize("n", [30, 1000])
def test_unanimous_votes_give_the_radius_of_the_binomial_bound(n, level):
    # Only one outcome is as extreme, with probability h_S ** n.
    expected = ndtri((0.99 * level) ** (1 / n))
    assert exact_radius(n, 0, n, level) == pytest.approx(expected, abs=1.01e-3)
    assert exact_radius(n, 0, n, level) <= expected


def random_votes(rng, size):
    n = rng.choice([60, 200, 600, 2000], size)
    p = rng.beta(0.5, 4, size) * (rng.random(size) < 0.9)
    P = (1 - p) * rng.beta(4, 1, size)
    votes = np.array(
        [rng.multinomial(m, [a, b, 1 - a - b]) for m, a, b in zip(n, P, p, strict=True)]
    )
    return votes[:, 0], votes[:, 1], n


def closed_form(n_block, n_target, n, level, s):
    with np.errstate(invalid="ignore"):
        low = np.where(n_block > 0, beta.ppf(level / 2, n_block, n - n_block + 1), 0)
        up = np.where(n_target < n, beta.isf(level / 2, n_target + 1, n - n_target), 1)
    up = np.minimum(up, 1 - low)
    return np.maximum(blocker_radius(low, up, s), 0)


def test_exact_radius_reaches_the_closed_form(rng):
    n_block, n_target, n = random_votes(rng, 2000)
    level = rng.choice([0.001, 0.05], 2000)
    s = rng.choice([1.0, 1.0, 2.0, 3.0], 2000)
    exact = exact_radius(n_block, n_target, n, level, s)
    reference = closed_form(n_block, n_target, n, level, s)
    assert (exact >= reference).mean() >= 0.99
    assert (exact >= reference - 0.002).all()
    assert exact.mean() > reference.mean() + 0.01
    # More would exceed what the votes themselves estimate.
    estimate = blocker_radius(n_block / n, n_target / n, s)
    assert (exact <= np.maximum(estimate, 0)).all()


def test_radius_is_rounded_down_to_the_tolerance(rng):
    n_block, n_target, n = random_votes(rng, 100)
    radius = exact_radius(n_block, n_target, n, 0.01, tol=1e-3)
    positive = radius > 0
    again = exact_rejects(n_block, n_target, n, radius, 0.01)
    assert again[positive].all()
    assert not exact_rejects(n_block, n_target, n, radius + 1e-3, 0.01).any()
    coarse = exact_radius(n_block, n_target, n, 0.01, tol=0.05)
    assert (coarse <= radius + 1e-3).all()
    assert (coarse >= radius - 0.05).all()


def test_group_radius_is_the_least_pair_radius(rng):
    P = rng.dirichlet([8, 1, 0.5, 0.5, 0.2, 0.1], 40)
    votes = rng.multinomial(400, P)
    selection = rng.multinomial(100, P)
    targets = rng.random(votes.shape) < 0.4
    sets = choose_blockers(selection, targets, ~targets)
    pair = exact_pair_radius(votes, sets, targets, 0.01, n=400)
    assert (np.isnan(pair) == ~targets).all()
    least = np.where(targets, pair, np.inf).min(axis=1)
    group = exact_group_radius(votes, sets, targets, 0.01)
    assert np.isinf(group[~targets.any(axis=1)]).all()
    finite = np.isfinite(least)
    assert np.abs(group - least)[finite].max() <= 1e-3
    simultaneous = exact_pair_radius(votes, sets, targets, 0.01 / 6)
    assert (simultaneous[targets] <= pair[targets] + 1e-3).all()


def test_levels_may_differ_between_inputs():
    votes, targets = [[90, 10]] * 2, [[False, True]] * 2
    sets = single_blocker([0, 0], n_classes=2)
    together = exact_group_radius(votes, sets, targets, [0.001, 0.05])
    assert together[0] == exact_group_radius(votes, sets, targets, 0.001)[0]
    assert together[1] == exact_group_radius(votes, sets, targets, 0.05)[1] > together[0]


def test_a_target_without_allowed_blockers_is_never_cleared():
    targets = np.array([[True, True, True]])
    sets = choose_blockers([[90, 5, 5]], targets, ~targets)
    assert exact_group_radius([[900, 50, 50]], sets, targets, 0.01) == 0


@pytest.mark.parametrize("hopeless", [{"eta": np.nan}, {"eta": np.inf}, {"s": np.nan}])
def test_what_is_not_known_is_not_rejected(hopeless):
    sure = {"n_block": 100, "n_target": 0, "n": 100, "eta": 0.1, "level": 0.01, "s": 1.0}
    assert exact_rejects(**sure)
    assert not exact_rejects(**(sure | hopeless))


def test_no_votes_prove_nothing():
    assert not exact_rejects(0, 0, [0, 50], 0.1, 0.2).any()
    assert exact_radius(0, 0, 0, 0.2) == 0


def test_many_votes_do_not_break_the_sums():
    n = 10**7
    radius = exact_radius(int(0.9 * n), int(0.01 * n), n, 0.001, tol=1e-4)
    truth = 0.5 * (ndtri(0.9) - ndtri(0.01))
    assert truth - 0.003 < radius < truth


def test_sum_is_the_probability_of_the_region():
    # With every vote required, the test is binomial and its decision known exactly.
    n, eta = 20, 0.5
    p = ndtr(eta)
    level = binom.pmf(n, n, p) / 0.99
    assert exact_rejects(n, 0, n, eta - 1e-6, level)
    assert not exact_rejects(n, 0, n, eta + 1e-6, level)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"n_block": np.nan}, "n_block"),
        ({"n_target": -1}, "n_target"),
        ({"n_block": 3.5}, "n_block"),
        ({"n": np.inf}, "n "),
        ({"n_block": 60, "n_target": 60}, "n_block"),
        ({"level": 0.0}, "level"),
        ({"level": np.nan}, "level"),
        ({"s": 0.0}, "s "),
        ({"gamma": 1.0}, "gamma"),
        ({"ordering_level": 2.0}, "ordering_level"),
    ],
)
def test_wrong_input_is_refused_by_name(wrong, name):
    arguments = {"n_block": 90, "n_target": 5, "n": 100, "eta": 0.1, "level": 0.01} | wrong
    with pytest.raises(ValueError, match=name):
        exact_rejects(**arguments)


def test_inconsistent_votes_are_refused():
    targets = np.array([[False, True, True]])
    sets = choose_blockers([[9, 1, 0]], targets, ~targets)
    with pytest.raises(ValueError, match="votes must sum to n"):
        exact_group_radius([[90, 5, 4]], sets, targets, 0.01, n=100)
    with pytest.raises(ValueError, match="votes"):
        exact_pair_radius([[90, 5, np.nan]], sets, targets, 0.01)
    with pytest.raises(ValueError, match="targets must have shape"):
        exact_pair_radius([[90, 5, 5]], sets, targets[:, :2], 0.01)
