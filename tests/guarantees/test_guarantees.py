"""Does the promise hold? Certificates against classifiers whose truth is known in closed form.

Three kinds of evidence: simulated certificates against true distances, failure probabilities
enumerated exactly over all votes, and theorems as properties of exact probabilities.
"""

from math import lgamma

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri
from scipy.stats import binom, binomtest

from smoothcs.bounds import clopper_pearson_lower, clopper_pearson_upper
from smoothcs.certification import certify_votes, radii_from_probabilities
from smoothcs.sequential.planning import simulate_decisions

BOUNDS = ["closed-form", "paper"]


def assert_at_most(failures, alpha):
    """The failures are no more than chance allows at a true rate of at most alpha."""
    failures = np.asarray(failures)
    assert failures.size >= 20_000
    test = binomtest(int(failures.sum()), failures.size, alpha, alternative="greater")
    assert test.pvalue > 1e-4, f"{failures.mean():.5f} > {alpha}"


def cost_row(omega, m, seed=0):
    """A cost matrix in which only class `seed` is sensitive, to the classes `omega`."""
    costs = np.zeros((m, m))
    costs[seed, list(omega)] = 1.0
    return costs


# -- two classes and a linear module: votes and radii in closed form ---------------------------

SIGMA = 0.5


@pytest.fixture
def linear():
    module = torch.nn.Linear(3, 2)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0, -2.0, 0.5], [-0.5, 1.0, 1.5]]))
        module.bias.copy_(torch.tensor([0.3, -0.2]))
        normal = (module.weight[1] - module.weight[0]).double().numpy()
        offset = float(module.bias[1] - module.bias[0])
    points = np.array([[0.1, 0.2, 0.1], [0.5, -0.3, 0.2], [0.0, 0.4, 0.3], [-0.4, 0.5, 0.1]])
    margin = (points @ normal + offset) / np.linalg.norm(normal)  # > 0: class 1
    return module, points, margin


def test_a_linear_module_votes_as_its_margin_says(linear, rng):
    module, points, margin = linear
    draws = 50_000
    noisy = points[:, None] + SIGMA * rng.standard_normal((len(points), draws, 3))
    with torch.no_grad():
        predictions = module(torch.from_numpy(noisy).float()).argmax(-1).numpy()
    exact = ndtr(margin / SIGMA)
    error = predictions.mean(axis=1) - exact
    assert np.all(np.abs(error) < 5 * np.sqrt(exact * (1 - exact) / draws))


def test_the_exact_radius_of_a_linear_module_is_the_distance_to_its_boundary(linear):
    _, _, margin = linear
    h = np.column_stack([ndtr(-margin / SIGMA), ndtr(margin / SIGMA)])
    radii = radii_from_probabilities(h, sigma=SIGMA)
    np.testing.assert_allclose(radii.standard, np.abs(margin), rtol=1e-9)
    np.testing.assert_allclose(radii.group, np.abs(margin), rtol=1e-9)
    np.testing.assert_allclose(np.nansum(radii.pair, axis=1), np.abs(margin), rtol=1e-9)


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("alpha", [0.05, 0.001])
@pytest.mark.parametrize("n", [100, 5000])
def test_radii_of_a_linear_module_exceed_the_true_distance_at_most_alpha_often(
    linear, rng, bound, alpha, n
):
    _, _, margin = linear
    margin = np.repeat(margin, 6000)
    h = np.column_stack([ndtr(-margin / SIGMA), ndtr(margin / SIGMA)])
    # Few selection votes: often the wrong class is picked. Deployment: nobody knows the truth.
    c = certify_votes(
        rng.multinomial(5, h), rng.multinomial(n, h), sigma=SIGMA, alpha=alpha, bound=bound
    )
    truth = np.maximum(0.0, np.where(c.label == 1, margin, -margin))
    assert_at_most(c.radius_standard > truth, alpha)
    assert_at_most(c.radius_group > truth, alpha)
    assert_at_most(np.nanmax(c.radius_pair, axis=1) > truth, alpha)
    # The published standard radius spends its alpha: the test could see a violation.
    assert np.mean(c.radius_standard > truth) > 0.3 * alpha


# -- many classes along one projection: regions of the smoothed classifier found numerically ----


class Intervals:
    """A classifier of one projection z of x: class k between edges[k] and edges[k + 1]."""

    def __init__(self, edges, sigma=SIGMA):
        self.edges = np.concatenate([[-np.inf], edges, [np.inf]])
        self.sigma = sigma

    def probabilities(self, z):
        return np.diff(ndtr((self.edges - np.asarray(z)[..., None]) / self.sigma), axis=-1)

    def distance(self, z, classes):
        """Length of the least perturbation of z that makes the *smoothed* one say `classes`."""

        def lead(delta):
            h = self.probabilities(z + delta)
            inside = np.isin(np.arange(h.shape[-1]), classes)
            return h[..., inside].max(-1) - h[..., ~inside].max(-1)

        found = [np.inf]
        for sign in (-1, 1):
            step = np.linspace(0.0, 8.0, 16_001)
            won = np.flatnonzero(lead(sign * step) >= 0)
            if won.size:
                first = won[0]
                found.append(
                    0.0
                    if first == 0
                    else brentq(lambda d, s=sign: lead(s * d), step[first - 1], step[first])
                )
        return min(found)


# edges, z, sensitive targets: a target next door, behind a harmless class, on both sides, all.
SITES = [
    ([0.0, 0.6, 1.1, 2.0], 0.3, [0]),
    ([0.0, 0.6, 1.1, 2.0], 0.3, [3, 4]),
    ([0.0, 0.6, 1.1, 2.0], -0.4, [1, 2, 3, 4]),
    ([-0.5, 0.5, 0.7, 0.9], 0.0, [0, 3]),
    ([-0.9, -0.6, -0.3, 0.6], 0.1, [0, 1, 2]),
    ([0.0, 3.0, 4.0, 5.0], 0.2, [0]),
]


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_no_costly_class_is_predicted_within_the_radius_more_than_alpha_often(rng, bound, alpha):
    repeats, n = 4000, 300
    failures = {"standard": [], "group": [], "pair": []}
    for edges, z, omega in SITES:
        classifier = Intervals(edges)
        h = classifier.probabilities(z)
        m, top = len(h), int(h.argmax())
        c = certify_votes(
            rng.multinomial(20, h, size=repeats),
            rng.multinomial(n, h, size=repeats),
            sigma=SIGMA,
            alpha=alpha,
            bound=bound,
            cost_matrix=cost_row(omega, m, seed=top),
            y=np.full(repeats, top),
        )
        leaves = [classifier.distance(z, np.delete(np.arange(m), k)) for k in range(m)]
        reached = [classifier.distance(z, [k]) if k in omega else np.nan for k in range(m)]
        failures["standard"].append(c.radius_standard > np.take(leaves, c.label))
        failures["group"].append(c.radius_group > classifier.distance(z, omega))
        failures["pair"].append((c.radius_pair > np.array(reached)).any(axis=1))
        assert np.mean(c.radius_group > 0) > 0.02  # the promise is not kept by silence
        assert np.nanmin(reached) == pytest.approx(classifier.distance(z, omega))
    for kind in failures.values():
        assert_at_most(np.concatenate(kind), alpha)


@pytest.mark.parametrize("alpha", [0.05, 0.001])
@pytest.mark.parametrize("sequential", [False, True])
def test_the_exact_test_claims_the_true_distance_at_most_alpha_often(rng, alpha, sequential):
    repeats, n, claimed = 4000, 400, {"group": [], "pair": [], "standard": []}
    for edges, z, omega in SITES:
        classifier = Intervals(edges)
        h = classifier.probabilities(z)
        m, top = len(h), int(h.argmax())
        reached = classifier.distance(z, omega)
        draws = {"sigma": SIGMA, "alpha": alpha, "random_state": rng, "n_selection": 20}
        draws |= {"n_max": n} if sequential else {"n_max": n, "first_look": n}
        for kind, targets, eps in (
            ("group", omega, reached),
            ("pair", omega, reached),
            ("standard", np.delete(np.arange(m), top), None),
        ):
            eps = classifier.distance(z, targets) if eps is None else eps
            result = simulate_decisions(
                np.tile(h, (repeats, 1)),
                y=np.full(repeats, top),
                cost_matrix=cost_row(targets, m, seed=top),
                eps=eps,
                mode="pairs" if kind == "pair" else "group",
                futility=0.0,
                **draws,
            )
            if kind == "pair":
                nearest = [k for k in omega if classifier.distance(z, [k]) <= reached + 1e-9]
                claimed[kind].append(result.certified_pair[:, nearest].any(axis=1))
            else:
                claimed[kind].append(result.certified)
    for kind in claimed.values():
        assert_at_most(np.concatenate(kind), alpha)


def test_exact_radii_of_interval_classifiers_never_exceed_the_true_distances(rng):
    compared = 0
    for _ in range(60):
        classifier = Intervals(np.sort(rng.uniform(-1.5, 1.5, 4)))
        z = rng.uniform(-1, 1)
        h = classifier.probabilities(z)
        top = int(h.argmax())
        others = np.delete(np.arange(5), top)
        omega = rng.choice(others, size=rng.integers(1, 5), replace=False)
        radii = radii_from_probabilities(
            h[None], sigma=SIGMA, cost_matrix=cost_row(omega, 5, seed=top), y=[top]
        )
        assert radii.standard[0] <= classifier.distance(z, others) + 1e-9
        assert radii.group[0] <= classifier.distance(z, omega) + 1e-9
        for j in omega:
            assert radii.pair[0, j] <= classifier.distance(z, [j]) + 1e-9
        compared += radii.group[0] > 0
    assert compared == 60


# -- any probabilities, also hostile ones: estimated radii against the exact ones ---------------

HOSTILE = {
    "ties among nine targets": [0.4, *[0.6 / 9] * 9],
    "one target with all the rest": [0.55, 0.45, *[0.0] * 8],
    "a tie with the top class": [0.5, 0.5, *[0.0] * 8],
    "a top class that is not the top": [0.30, 0.32, 0.30, 0.08, *[0.0] * 6],
    "mass on harmless classes": [0.3, 0.02, *[0.0] * 7, 0.68],
    "nearly certain": [0.995, *[0.005 / 9] * 9],
    "targets that never occur": [0.51, *[0.0] * 8, 0.49],
    "two rivals": [0.36, 0.32, 0.32, *[0.0] * 7],
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("bound", BOUNDS)
def test_radii_exceed_the_exact_ones_at_most_alpha_often(name, bound, rng):
    h = np.array(HOSTILE[name])
    quantile, repeats = ndtri(h), 20_000
    for omega in (range(1, 9), [1]):
        for alpha, n in ((0.05, 60), (0.001, 1000)):
            options = {"sigma": 1.0, "alpha": alpha, "cost_matrix": cost_row(omega, 10)}
            votes = rng.multinomial(n, h, size=repeats)
            # Whatever class the selection picks, here always class 0, the promise has to hold.
            selection = np.zeros_like(votes)
            selection[:, 0] = 1
            c = certify_votes(
                selection, votes, y=np.zeros(repeats, dtype=int), bound=bound, **options
            )
            pair = np.maximum(0.0, (quantile[0] - quantile) / 2)
            assert_at_most(c.radius_group > pair[list(omega)].min() + 1e-12, alpha)
            assert_at_most(c.radius_standard > max(0.0, quantile[0]) + 1e-12, alpha)
            if bound == "paper":  # each pair by itself
                for j in omega:
                    assert_at_most(c.radius_pair[:, j] > pair[j] + 1e-12, alpha)
            else:  # all pairs together
                assert_at_most((c.radius_pair > pair + 1e-12).any(axis=1), alpha)


# -- enumeration: failure probabilities without any chance --------------------------------------


def compositions(n, parts):
    """All ways to write n as an ordered sum of `parts` counts."""
    if parts == 1:
        return np.full((1, 1), n)
    blocks = []
    for first in range(n + 1):
        rest = compositions(n - first, parts - 1)
        blocks.append(np.column_stack([np.full(len(rest), first), rest]))
    return np.concatenate(blocks)


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("alpha", [0.2, 0.05])
@pytest.mark.parametrize(("omega", "parts", "n"), [([1], 3, 24), ([1, 2], 3, 24), ([1, 2], 4, 14)])
def test_enumerated_failure_probability_is_at_most_alpha(bound, alpha, omega, parts, n):
    votes = compositions(n, parts)
    h = compositions(20, parts) / 20
    with np.errstate(divide="ignore", invalid="ignore"):
        log_h = np.log(h)
        # 0 log 0 = 0; a vote for a class of probability 0 has probability 0.
        powers = np.where(votes[:, None] == 0, 0.0, votes[:, None] * log_h).sum(axis=2)
    ways = [lgamma(n + 1) - sum(lgamma(k + 1) for k in row) for row in votes.tolist()]
    probability = np.exp(powers + np.array(ways)[:, None])
    np.testing.assert_allclose(probability.sum(axis=0), 1.0)

    selection = np.zeros_like(votes)
    selection[:, 0] = 1
    zeros = np.zeros(len(votes), dtype=int)
    costs = cost_row(omega, parts)
    c = certify_votes(
        selection, votes, sigma=1.0, alpha=alpha, bound=bound, cost_matrix=costs, y=zeros
    )
    quantile = ndtri(h)
    with np.errstate(invalid="ignore"):  # inf - inf: both at probability 1 cannot be
        pair = np.maximum(0.0, (quantile[:, :1] - quantile) / 2)[:, omega]

    def size(estimate, truth):
        return (probability * (estimate > truth + 1e-12)).sum(axis=0).max()

    assert size(c.radius_group[:, None], pair.min(axis=1)) <= alpha
    assert size(c.radius_standard[:, None], np.maximum(0.0, quantile[:, 0])) <= alpha
    estimates = c.radius_pair[:, omega]
    for k in range(len(omega)):
        assert size(estimates[:, [k]], pair[:, k]) <= alpha
    if bound == "closed-form":
        together = (estimates[:, None] > pair[None] + 1e-12).any(axis=2)
        assert (probability * together).sum(axis=0).max() <= alpha


def failure_with_one_rival(radius, n, alpha):
    """Largest failure probability of a group radius over p, with p_A = p and p_j = 1 - p.

    `radius` maps all counts of the top class, 0..n, to group radii in units of sigma.
    """
    k = np.arange(n + 1)
    p = np.linspace(0.5, 0.999, 3000)[:, None]
    failed = radius(k, n, alpha) > ndtri(p) + 1e-12
    return (binom.pmf(k, n, p) * failed).sum(axis=1).max()


def multiplied(k, n, alpha, targets=9):
    """The published group radius with alpha / 2 * targets for alpha / (2 * targets)."""
    lower = ndtri(clopper_pearson_lower(k, n, alpha / 2))
    upper = ndtri(clopper_pearson_upper(n - k, n, alpha / 2 * targets))
    standard = ndtri(clopper_pearson_lower(k, n, alpha))
    return np.maximum(standard, (lower - upper) / 2)


@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_a_level_multiplied_by_the_targets_fails_and_ours_do_not(alpha):
    def ours(bound):
        def radius(k, n, alpha):
            votes = np.zeros((n + 1, 10), dtype=int)
            votes[:, 0], votes[:, 1] = k, n - k
            selection = np.zeros_like(votes)
            selection[:, 0] = 1
            c = certify_votes(
                selection,
                votes,
                sigma=1.0,
                alpha=alpha,
                bound=bound,
                cost_matrix=cost_row(range(1, 10), 10),
                y=np.zeros(n + 1, dtype=int),
            )
            return c.radius_group

        return radius

    sizes = [30, 60, 100]
    assert max(failure_with_one_rival(multiplied, n, alpha) for n in sizes) > 1.5 * alpha
    for n in sizes:
        # The published rule is the larger of two radii that each hold at alpha.
        assert failure_with_one_rival(ours("paper"), n, alpha) <= alpha
        assert failure_with_one_rival(ours("closed-form"), n, alpha) <= alpha


# -- tightness: with many votes almost all of the exact radius is certified ---------------------


@pytest.mark.parametrize("bound", ["exact", "closed-form"])
def test_a_million_votes_certify_98_percent_of_the_exact_radius(rng, bound):
    # Two classes nearer to a tie than .65 : .35 need more votes for 98 percent.
    n, alpha = 1_000_000, 0.001
    h = np.array(
        [
            [0.65, 0.35, 0.0, 0.0],
            [0.75, 0.25, 0.0, 0.0],
            [0.90, 0.05, 0.03, 0.02],
            [0.99, 0.01, 0.0, 0.0],
            [0.99, 0.004, 0.003, 0.003],
            [0.60, 0.30, 0.05, 0.05],
            [0.50, 0.20, 0.2, 0.1],
            [0.40, 0.05, 0.05, 0.5],  # a harmless error
        ]
    )
    votes = rng.multinomial(n, h)
    options = {"sigma": 0.25, "cost_matrix": cost_row([1, 2], 4), "y": np.zeros(len(h), dtype=int)}
    exact = radii_from_probabilities(h, **options)
    # The formula knows single blockers only.
    options.update(bound=bound, blockers=False)
    c = certify_votes(rng.multinomial(10_000, h), votes, alpha=alpha, **options)
    assert np.all(exact.group > 0)
    assert np.all(c.radius_group >= 0.98 * exact.group)
    assert np.all(c.radius_group <= exact.group)
    occurs = (h > 0) & np.array([False, True, True, False])
    assert np.all(c.radius_pair[occurs] >= 0.98 * exact.pair[occurs])
    two = (h > 0).sum(axis=1) == 2
    assert two.sum() == 3
    assert np.all(c.radius_standard[two] >= 0.98 * exact.standard[two])
    # Two classes: the exact radius is the true distance to the boundary.
    np.testing.assert_allclose(exact.group[two], 0.25 * ndtri(h[two, 0]))


# -- Theorem 4.2 of [Xin25], on exact probabilities ---------------------------------------------


@st.composite
def situations(draw):
    """Probabilities, a seed class, and sensitive targets that do not hold the top class."""
    m = draw(st.integers(2, 7))
    weights = draw(st.lists(st.integers(0, 50), min_size=m, max_size=m).filter(any))
    h = np.array(weights) / sum(weights)
    y = draw(st.integers(0, m - 1))
    top = int(h.argmax())
    eligible = [k for k in range(m) if k not in (top, y)]
    omega = draw(st.sets(st.sampled_from(eligible), min_size=1)) if eligible else set()
    return h, y, top, sorted(omega)


@given(situations())
def test_pair_is_at_least_group_is_at_least_standard(situation):
    h, y, _, omega = situation
    if not omega:
        return
    costs = cost_row(omega, len(h), seed=y)
    radii = radii_from_probabilities(h[None], sigma=1.5, cost_matrix=costs, y=[y])
    assert np.all(radii.pair[0, omega] >= radii.group[0])
    assert radii.group[0] >= radii.standard[0] >= 0
    assert radii.group[0] == radii.pair[0, omega].min()
    if len(omega) == 1:
        assert radii.group[0] == radii.pair[0, omega[0]]


@given(situations())
def test_group_is_standard_when_every_mistake_of_a_right_prediction_costs(situation):
    h, _, top, _ = situation
    radii = radii_from_probabilities(h[None], sigma=1.5, y=[top])
    assert radii.group[0] == radii.standard[0]
    if len(h) == 2:
        assert radii.pair[0, 1 - top] == radii.group[0]


@given(situations())
def test_exact_radii_are_definition_4_1(situation):
    h, y, top, omega = situation
    costs = cost_row(omega, len(h), seed=y)
    got = radii_from_probabilities(h[None], sigma=0.7, cost_matrix=costs, y=[y])
    second = max(np.delete(h, top))
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(got.standard[0], 0.35 * (ndtri(h[top]) - ndtri(second)))
        for j in omega:
            np.testing.assert_allclose(got.pair[0, j], 0.35 * (ndtri(h[top]) - ndtri(h[j])))
    by_letter = radii_from_probabilities(
        h[None], sigma=0.7, cost_matrix=costs, y=[y], harmless_errors="zero"
    )
    if top != y:
        assert by_letter.standard[0] == 0
        np.testing.assert_array_equal(by_letter.pair[0, omega], 0)
    else:
        np.testing.assert_array_equal(by_letter.pair, got.pair)


@given(situations(), st.integers(20, 2000), st.integers(0, 2**32 - 1))
def test_estimated_pair_radii_at_the_same_level_are_at_least_the_group_radius(situation, n, seed):
    h, y, _, omega = situation
    rng = np.random.default_rng(seed)
    costs = cost_row(omega, len(h), seed=y)
    for bound in BOUNDS:
        c = certify_votes(
            rng.multinomial(10, h, size=5),
            rng.multinomial(n, h, size=5),
            sigma=1.0,
            cost_matrix=costs,
            y=[y] * 5,
            bound=bound,
            simultaneous=False,
        )
        assert not np.any(c.radius_pair < c.radius_group[:, None])
