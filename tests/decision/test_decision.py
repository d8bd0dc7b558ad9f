"""Weighted votes and their certificates against closed forms, truth and enumeration."""

from dataclasses import fields
from itertools import combinations
from math import lgamma

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq, linprog
from scipy.sparse import csr_array, eye_array, hstack, vstack
from scipy.special import ndtr, ndtri
from scipy.stats import binomtest

from smoothcs.bounds import top_two_abstains
from smoothcs.bounds.geometry import blocker_radius
from smoothcs.certification import Certificates, certify_votes, with_costs
from smoothcs.decision import WeightedVotes, as_decision, weighted_radius
from smoothcs.sequential import PredictionRule, StoppingRule

BOUNDS = ["closed-form", "exact"]
TRIALS = 100_000
ALPHA = 0.05

probabilities = st.floats(1e-6, 1 - 1e-6)
weights_of_two = st.floats(0.02, 50)


def weighted_label(votes, weights):
    return WeightedVotes(weights).align(len(weights)).winner(votes)


def certify_weighted_votes(selection, estimation, *, weights, **options):
    return certify_votes(selection, estimation, decision=WeightedVotes(weights), **options)


def cost_row(omega, m, seed=0):
    """A cost matrix in which only class `seed` is sensitive, to the classes `omega`."""
    costs = np.zeros((m, m))
    costs[seed, list(omega)] = 1.0
    return costs


def random_costs(rng, m):
    costs = rng.uniform(0.2, 5.0, (m, m))
    np.fill_diagonal(costs, 0.0)
    return costs


def votes_for(k, rows, m):
    """Selection votes that are all for class k."""
    selection = np.zeros((rows, m), dtype=int)
    selection[:, k] = 1
    return selection


def tabulated(rng, n, h, trials=TRIALS):
    """Distinct vote counts of many trials, and how often each occurred."""
    return np.unique(rng.multinomial(n, h, size=trials), axis=0, return_counts=True)


def assert_fails_at_most(failed, counts, alpha):
    """The failures are no more than chance allows at a true rate of at most alpha."""
    failures, trials = int(counts[failed].sum()), int(counts.sum())
    assert trials >= TRIALS
    test = binomtest(failures, trials, alpha, alternative="greater")
    assert test.pvalue > 1e-4, f"{failures / trials:.5f} > {alpha}"


def compositions(n, parts):
    """All ways to write n as an ordered sum of `parts` counts."""
    if parts == 1:
        return np.full((1, 1), n)
    rest = [compositions(n - first, parts - 1) for first in range(n + 1)]
    return np.concatenate(
        [np.column_stack([np.full(len(r), first), r]) for first, r in enumerate(rest)]
    )


def law(votes, h):
    """P(votes) under h: multinomial probabilities, (n_votes, n_h)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        log_h = np.where(votes[:, None] == 0, 0.0, votes[:, None] * np.log(h)).sum(axis=2)
    ways = [lgamma(sum(row) + 1) - sum(lgamma(k + 1) for k in row) for row in votes.tolist()]
    return np.exp(log_h + np.array(ways)[:, None])


def test_decisions_are_read_by_label_and_position_and_nothing_else():
    classes = ["benign", "malignant"]
    for plain in (None, "argmax"):
        assert as_decision(plain, classes).is_plurality
    for weights in ([1, 2], {"malignant": 2}):
        assert as_decision(WeightedVotes(weights), classes).weights.tolist() == [1, 2]
    assert as_decision(WeightedVotes([3, 3]), classes).is_plurality
    with pytest.raises(ValueError, match="decided inside the base classifier"):
        as_decision("min-cost", classes)
    with pytest.raises(ValueError, match="None, 'argmax' or a WeightedVotes; got 'median'"):
        as_decision("median", classes)
    with pytest.raises(ValueError, match="unknown label 'other'"):
        as_decision(WeightedVotes({"other": 1.0}), classes)
    for bare in ([1, 2], {"malignant": 2}, object()):
        with pytest.raises(TypeError, match="wrap weights of votes as WeightedVotes"):
            as_decision(bare, classes)


# -- labels -------------------------------------------------------------------------------------


def test_weights_decide_and_ties_go_to_the_lowest_index():
    votes = [[60, 40, 0], [30, 10, 0], [0, 0, 0]]
    assert weighted_label(votes, [1, 2, 9]).tolist() == [1, 0, 0]
    assert weighted_label([[3, 1], [1, 3]], [0.1, 0.3]).tolist() == [0, 1]


@given(
    st.lists(st.integers(0, 40), min_size=3, max_size=3),
    st.lists(st.sampled_from([0.1, 0.2, 0.3, 1.0, 2.0, 3.0]), min_size=3, max_size=3),
    st.floats(1e-3, 1e3),
)
def test_only_ratios_of_weights_matter(votes, weights, scale):
    scaled = scale * np.array(weights)
    assert weighted_label([votes], scaled) == weighted_label([votes], weights)


# -- the radius of one pair ---------------------------------------------------------------------


@given(probabilities, probabilities, st.floats(0.1, 10), st.floats(0.01, 100))
def test_equal_weights_give_the_plurality_radius(h_top, h_target, sigma, w):
    radius = weighted_radius(h_top, h_target, w, w, sigma=sigma)
    plain = max(0.0, 0.5 * (ndtri(h_top) - ndtri(h_target)))
    assert radius / sigma == pytest.approx(plain, abs=1e-9)


@given(probabilities, probabilities, weights_of_two, weights_of_two)
def test_radius_is_the_root_and_never_beyond_it(h_top, h_target, w_top, w_target):
    def lead(r):
        return w_top * ndtr(ndtri(h_top) - r) - w_target * ndtr(ndtri(h_target) + r)

    radius = float(weighted_radius(h_top, h_target, w_top, w_target, sigma=1.0))
    if lead(0.0) <= 0:
        assert radius == 0
    else:
        assert radius == pytest.approx(brentq(lead, 0, 20, xtol=1e-13), abs=1e-9)
        assert lead(radius) >= -1e-15 * w_top


@given(probabilities, probabilities, weights_of_two, st.floats(1.0, 4.0))
def test_radius_rises_with_the_top_and_falls_with_the_target(h_top, h_target, w, factor):
    def radius(a, b, w_top):
        return float(weighted_radius(a, b, w_top, 1.0, sigma=1.0))

    base = radius(h_top, h_target, w)
    assert radius(min(1.0, h_top * factor), h_target, w) >= base - 1e-9
    assert radius(h_top, h_target / factor, w) >= base - 1e-9
    assert radius(h_top, h_target, w * factor) >= base - 1e-9


@given(probabilities, probabilities, weights_of_two, weights_of_two, st.floats(1e-3, 1e3))
def test_radius_does_not_depend_on_the_scale_of_the_weights(h_top, h_target, a, b, scale):
    one, other = (weighted_radius(h_top, h_target, c * a, c * b, sigma=1.0) for c in (1.0, scale))
    assert one == pytest.approx(other, abs=1e-9)


def test_ends_ties_and_bad_values():
    top, target = [0.0, 0.5, 1.0, 0.25, 0.9], [0.5, 0.0, 0.5, 0.5, 1.0]
    radius = weighted_radius(top, target, [1, 1, 1, 2, 5], [1, 1, 1, 1, 1], sigma=2.0)
    assert radius.tolist() == [0.0, np.inf, np.inf, 0.0, 0.0]
    assert weighted_radius([[0.9], [0.8]], [0.1, 0.05, 0.0], 1, 1, sigma=1).shape == (2, 3)
    for wrong in ({"h_top": np.nan}, {"h_target": 1.1}, {"w_top": 0}, {"w_target": np.inf}):
        arguments = {"h_top": 0.6, "h_target": 0.1, "w_top": 1, "w_target": 1} | wrong
        with pytest.raises(ValueError, match=next(iter(wrong))):
            weighted_radius(**arguments, sigma=1.0)
    with pytest.raises(ValueError, match="sigma"):
        weighted_radius(0.6, 0.1, 1, 1, sigma=0)


# -- with equal weights, the plurality vote -----------------------------------------------------


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_equal_weights_reproduce_the_plurality_certificates(rng, bound, weight):
    h = rng.dirichlet([2.0, 1, 0.5, 0.2], 40)
    votes, selection = rng.multinomial(400, h), rng.multinomial(50, h)
    costs = cost_row([2, 3], 4) + cost_row([0], 4, seed=1)
    options = {"sigma": 0.5, "cost_matrix": costs, "y": rng.integers(0, 3, 40), "bound": bound}
    for blockers in (False, True):
        plain = certify_votes(selection, votes, blockers=blockers, **options)
        ours = certify_weighted_votes(
            selection, votes, weights=np.full(4, weight), blockers=blockers, **options
        )
        for name in ("radius_standard", "radius_group", "radius_pair"):
            np.testing.assert_allclose(
                getattr(ours, name), getattr(plain, name), rtol=0, atol=1e-9, err_msg=name
            )
        assert (ours.label == plain.label).all()
        assert (ours.abstained == plain.abstained).all()


@pytest.mark.parametrize("bound", BOUNDS)
def test_certificates_do_not_depend_on_the_scale_of_the_weights(rng, bound):
    h = rng.dirichlet([2.0, 1, 0.5], 30)
    votes, selection = rng.multinomial(300, h), rng.multinomial(50, h)
    weights = np.array([1.0, 3.0, 0.7])
    one, other = (
        certify_weighted_votes(selection, votes, weights=c * weights, sigma=0.5, bound=bound)
        for c in (1.0, 0.37)
    )
    for name in ("radius_standard", "radius_group", "radius_pair"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=0, atol=1e-9)
    assert (one.radius_group > 0).sum() > 10


# -- two classes and a linear module: the distance to the shifted boundary ----------------------

SIGMA = 0.5


def shifted_distance(margin, weights):
    """Signed distance to where w_1 Phi(m / sigma) = w_0 Phi(-m / sigma); > 0 is class 1."""
    return margin - SIGMA * ndtri(weights[0] / (weights[0] + weights[1]))


def linear_votes(margin):
    """Vote probabilities of a linear module at signed distances `margin` from its boundary."""
    return np.column_stack([ndtr(-margin / SIGMA), ndtr(margin / SIGMA)])


@pytest.mark.parametrize("weights", [(1.0, 3.0), (5.0, 1.0)])
def test_radius_of_a_linear_module_is_the_distance_to_the_shifted_boundary(weights):
    margin = np.array([-0.9, -0.2, 0.1, 0.4, 1.1])
    h, truth = linear_votes(margin), shifted_distance(margin, weights)
    top = weighted_label(h, weights)
    assert (top == (truth > 0)).all()
    rows, w = np.arange(5), np.array(weights)
    radius = weighted_radius(h[rows, top], h[rows, 1 - top], w[top], w[1 - top], sigma=SIGMA)
    np.testing.assert_allclose(radius, np.abs(truth), rtol=1e-9)


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_million_votes_certify_97_percent_of_that_distance(rng, bound):
    weights = np.array([1.0, 3.0])
    margin = np.array([-1.0, 0.1, 0.4, 0.9])
    votes = rng.multinomial(1_000_000, linear_votes(margin))
    selection = rng.multinomial(1000, linear_votes(margin))
    c = certify_weighted_votes(selection, votes, weights=weights, bound=bound, sigma=SIGMA)
    truth = np.abs(shifted_distance(margin, weights))
    for radius in (c.radius_group, c.radius_standard):
        assert np.all(radius <= truth)
        assert np.all(radius >= 0.97 * truth)


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("margin", [0.05, 0.4])
def test_that_distance_is_exceeded_at_most_alpha_often(rng, bound, margin):
    weights = np.array([1.0, 3.0])
    votes, counts = tabulated(rng, 80, linear_votes(np.array([margin]))[0])
    selection = votes_for(1, len(votes), 2)
    options = {"sigma": SIGMA, "alpha": ALPHA}
    c = certify_weighted_votes(selection, votes, weights=weights, bound=bound, **options)
    truth = float(shifted_distance(margin, weights))
    for radius in (c.radius_standard, c.radius_group, np.nanmax(c.radius_pair, axis=1)):
        assert_fails_at_most(radius > truth + 1e-9, counts, ALPHA)
    # The test could see a violation: the level is used.
    assert counts[c.radius_standard > truth + 1e-9].sum() > 0.2 * ALPHA * counts.sum()


# -- many classes along one projection ----------------------------------------------------------


class Intervals:
    """A classifier of one projection z of x: class k between edges[k] and edges[k + 1]."""

    def __init__(self, edges):
        self.edges = np.concatenate([[-np.inf], edges, [np.inf]])

    def probabilities(self, z):
        return np.diff(ndtr((self.edges - np.asarray(z)[..., None]) / SIGMA), axis=-1)

    def distance(self, z, scores, targets):
        """Least move of z after which a class of `targets` has the largest votes @ scores."""
        step = np.linspace(0.0, 6.0, 12_001)
        inside = np.isin(np.arange(len(scores)), targets)
        found = []
        for sign in (-1, 1):
            s = self.probabilities(z + sign * step) @ scores
            won = np.flatnonzero(s[:, inside].max(-1) >= s[:, ~inside].max(-1))
            found.append(step[won[0]] if won.size else np.inf)
        return min(found)


def test_radii_of_known_votes_never_exceed_the_true_distances(rng):
    compared = 0
    for _ in range(60):
        classifier = Intervals(np.sort(rng.uniform(-1.5, 1.5, 4)))
        z = rng.uniform(-1, 1)
        h = classifier.probabilities(z)
        w = np.exp(rng.normal(0, 0.8, 5))
        top = int((w * h).argmax())
        for j in range(5):
            if j != top:
                radius = weighted_radius(h[top], h[j], w[top], w[j], sigma=SIGMA)
                assert radius <= classifier.distance(z, np.diag(w), [j]) + 1e-9
                compared += radius > 0.01
    assert compared > 100


SITES = [
    # edges, z, sensitive targets, weights
    ([0.0, 0.6, 1.1], 0.3, [0], [1, 1, 1, 1]),
    ([0.0, 0.6, 1.1], 0.3, [0, 3], [2, 3, 1, 0.5]),
    ([-0.5, 0.5, 0.7], 0.0, [0, 2], [0.5, 1, 4, 1]),
    ([-0.4, 0.3, 0.9], 0.5, [3], [1, 0.7, 2, 1.5]),
]


@pytest.mark.parametrize("site", range(len(SITES)))
@pytest.mark.parametrize("bound", BOUNDS)
def test_no_costly_class_wins_within_the_radius_more_than_alpha_often(rng, bound, site):
    edges, z, omega, weights = SITES[site]
    classifier, w = Intervals(edges), np.array(weights, dtype=float)
    h = classifier.probabilities(z)
    votes, counts = tabulated(rng, 24, h)
    scores = np.diag(w)
    top = int((h @ scores).argmax())
    # Where the rule picks the target, another class is the target.
    omega = [k for k in omega if k != top] or [(top + 1) % 4]
    options = {
        "sigma": SIGMA,
        "alpha": ALPHA,
        "cost_matrix": cost_row(omega, 4, seed=top),
        "y": np.full(len(votes), top),
    }
    selection = votes_for(top, len(votes), 4)
    c = certify_weighted_votes(selection, votes, weights=w, bound=bound, **options)
    slack = 0.001  # the distances are found on a grid
    leaves = classifier.distance(z, scores, [k for k in range(4) if k != top])
    reached = np.array(
        [classifier.distance(z, scores, [k]) if k in omega else np.nan for k in range(4)]
    )
    assert_fails_at_most(c.radius_standard > leaves + slack, counts, ALPHA)
    assert_fails_at_most(c.radius_group > np.nanmin(reached) + slack, counts, ALPHA)
    assert_fails_at_most((c.radius_pair > reached + slack).any(axis=1), counts, ALPHA)


# -- hostile votes: ties of weighted votes, boundaries, a wrong top class -----------------------


def boundary(w, eta, h_target, m):
    """Votes for which class 1 overtakes class 0 exactly at eta; the rest goes to class 2."""
    h_top = ndtr(eta + ndtri(w[1] / w[0] * ndtr(ndtri(h_target) + eta)))
    return np.array([h_top, h_target, 1 - h_top - h_target] + [0.0] * (m - 3))


HOSTILE = {
    "a tie of weighted votes": ([0.25, 0.5, 0.25], [2.0, 1.0, 1.0]),
    "a tie of all three": ([0.2, 0.6, 0.2], [3.0, 1.0, 3.0]),
    "a boundary, heavy target": (boundary([1, 4], 0.3, 0.06, 3), [1.0, 4.0, 2.0]),
    "a boundary, light target": (boundary([4, 1], 0.5, 0.2, 3), [4.0, 1.0, 1.0]),
    "a top class that is not the top": ([0.3, 0.4, 0.3], [1.0, 1.5, 0.2]),
    "nearly certain": ([0.97, 0.01, 0.02], [1.0, 8.0, 3.0]),
    "two heavy rivals": ([0.6, 0.2, 0.2], [1.0, 2.9, 2.9]),
    "a target that never occurs": ([0.4, 0.0, 0.6], [3.0, 5.0, 1.0]),
}


def true_radii(h, w, top):
    """The radius of every class given the votes: one that `top` alone can certify."""
    with np.errstate(divide="ignore"):
        return np.maximum(blocker_radius(h[top], h, np.array(w) / w[top]), 0.0)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("n", [40, 100])
def test_radii_exceed_those_of_the_true_votes_at_most_alpha_often(rng, name, bound, n):
    h, w = HOSTILE[name]
    h, w = np.array(h), np.array(w)
    votes, counts = tabulated(rng, n, h)
    c = certify_weighted_votes(
        votes_for(0, len(votes), 3),
        votes,
        weights=w,
        sigma=1.0,
        alpha=ALPHA,
        bound=bound,
        blockers=False,
        cost_matrix=cost_row([1, 2], 3),
        y=np.zeros(len(votes), dtype=int),
    )
    truth = true_radii(h, w, 0)
    least = truth[1:].min() + 1e-9
    assert_fails_at_most(c.radius_standard > least, counts, ALPHA)
    assert_fails_at_most(c.radius_group > least, counts, ALPHA)
    assert_fails_at_most((c.radius_pair > truth + 1e-9).any(axis=1), counts, ALPHA)


def test_a_radius_that_ignored_the_weights_would_fail(rng):
    h, w = HOSTILE["a boundary, heavy target"]
    votes, counts = tabulated(rng, 100, h)
    plain = certify_votes(
        votes_for(0, len(votes), 3),
        votes,
        sigma=1.0,
        alpha=ALPHA,
        bound="closed-form",
        cost_matrix=cost_row([1], 3),
    )
    failed = plain.radius_group > true_radii(np.array(h), np.array(w), 0)[1] + 1e-9
    assert counts[failed].sum() > 10 * ALPHA * counts.sum()


@pytest.mark.parametrize("bound", BOUNDS)
def test_enumerated_failure_probability_is_at_most_alpha(bound):
    n, w = 16, np.array([1.0, 2.5, 0.5])
    votes, grid = compositions(n, 3), compositions(16, 3) / 16
    chance = law(votes, grid)
    np.testing.assert_allclose(chance.sum(axis=0), 1.0)
    c = certify_weighted_votes(
        votes_for(0, len(votes), 3),
        votes,
        weights=w,
        sigma=1.0,
        alpha=0.1,
        bound=bound,
        blockers=False,
        cost_matrix=cost_row([1, 2], 3),
        y=np.zeros(len(votes), dtype=int),
    )
    truth = np.array([true_radii(h, w, 0) for h in grid])
    least = truth[:, 1:].min(axis=1) + 1e-9
    for radius in (c.radius_standard, c.radius_group):
        size = (chance * (radius[:, None] > least)).sum(axis=0)
        assert 0.005 < size.max() <= 0.1
    together = (c.radius_pair[:, None, 1:] > truth[None, :, 1:] + 1e-9).any(axis=2)
    assert (chance * together).sum(axis=0).max() <= 0.1


# -- tightness: linear programmes over all classifiers with the same votes ----------------------


def worst_lead(h, scores, target, rivals, eta, n_bins=800):
    """Largest lead of the target's score over all rivals' at a shift eta, given votes h.

    A linear programme over (soft) classifiers that are constant on bins of the line along the
    shift: only that coordinate tells the two noise distributions apart.
    """
    m = len(h)
    edges = np.concatenate([[-np.inf], np.linspace(-5, 5 + eta, n_bins - 1), [np.inf]])
    before, after = np.diff(ndtr(edges)), np.diff(ndtr(edges - eta))
    votes = np.zeros((m, m * n_bins + 1))
    for k in range(m):
        votes[k, k * n_bins : (k + 1) * n_bins] = before
    lead = np.zeros((len(rivals), m * n_bins + 1))
    for row, b in enumerate(rivals):
        lead[row, :-1] = np.kron(scores[:, b] - scores[:, target], after)
        lead[row, -1] = 1.0
    cost = np.zeros(m * n_bins + 1)
    cost[-1] = -1.0
    whole = hstack([eye_array(n_bins)] * m + [csr_array((n_bins, 1))])
    result = linprog(
        cost,
        A_ub=csr_array(lead),
        b_ub=np.zeros(len(rivals)),
        A_eq=vstack([csr_array(votes[:-1]), whole]),
        b_eq=np.concatenate([h[:-1], np.ones(n_bins)]),
        bounds=[(0, 1)] * (m * n_bins) + [(None, None)],
        method="highs",
    )
    assert result.status == 0
    return -result.fun


def test_given_the_votes_no_larger_radius_than_that_of_the_best_weighted_blockers_is_true(rng):
    tried = several = 0
    while tried < 5:
        h, w = rng.dirichlet([3.0, 3.0, 1.5, 0.3]), np.exp(rng.normal(0, 0.4, 4))
        sets = [list(s) for size in (1, 2, 3) for s in combinations(range(3), size)]
        radii = [blocker_radius(h[s].sum(), h[3], w[3] * (1 / w[s]).sum()) for s in sets]
        radius = float(max(radii))
        if 0.05 < radius < 2.5:
            tried += 1
            several += int(np.argmax(radii)) > 2
            assert worst_lead(h, np.diag(w), 3, [0, 1, 2], radius - 2e-3) < 0
            assert worst_lead(h, np.diag(w), 3, [0, 1, 2], radius + 2e-3) > 0
    assert several > 0


def test_a_second_blocker_certifies_more_where_it_helps():
    h = np.array([0.45, 0.4, 0.05, 0.1])
    votes = np.round(20_000 * h).astype(int)[None]
    options = {"sigma": 1.0, "cost_matrix": cost_row([2], 4), "y": [0], "weights": [1, 1.2, 1, 0.5]}
    alone, several = (
        certify_weighted_votes(votes // 100, votes, blockers=b, **options).radius_group[0]
        for b in (False, 2)
    )
    assert several > 1.2 * alone > 0


# -- prediction ---------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.2, 0.05])
@pytest.mark.parametrize("rule", ["heavy", "light"])
def test_a_wrong_label_is_predicted_at_most_alpha_often(alpha, rule):
    """Enumerated over all votes, at all probabilities of a grid, weighted ties included."""
    decision = {
        "heavy": WeightedVotes(np.array([1.0, 2.0, 4.0])),
        "light": WeightedVotes(np.array([3.0, 3.0, 1.0])),
    }[rule]
    votes, grid = compositions(30, 3), compositions(28, 3) / 28
    grid = np.concatenate([grid, np.array([[4, 2, 1], [1, 1, 3], [2, 1, 0]]) / [[7], [5], [3]]])
    named = np.where(decision.abstains(votes, alpha), -1, decision.winner(votes))
    wrong = (named[:, None] >= 0) & (named[:, None] != decision.winner(grid))
    size = (law(votes, grid) * wrong).sum(axis=0)
    assert size.max() <= alpha
    assert size.max() > 0.3 * alpha
    # It is not silent: clear votes get their label.
    assert (named >= 0).mean() > 0.3


def test_equal_weights_predict_as_the_plurality_vote(rng):
    votes = rng.multinomial(60, rng.dirichlet(np.ones(4), 500))
    abstains = WeightedVotes(np.full(4, 0.3)).abstains(votes, 0.01)
    assert (abstains == top_two_abstains(votes, 0.01)).all()


def test_votes_for_nothing_abstain():
    votes = np.zeros((1, 3), dtype=int)
    assert WeightedVotes(np.array([1.0, 2.0, 1.0])).abstains(votes, 0.05).all()


# -- the certificates as an object --------------------------------------------------------------


@pytest.fixture
def certificates(rng):
    y = rng.integers(0, 3, 40)
    h = np.array([rng.dirichlet(1 + 6 * (np.arange(3) == k)) for k in y])
    votes, selection = rng.multinomial(500, h), rng.multinomial(50, h)
    options = {"sigma": 0.5, "cost_matrix": [[0, 1, 0], [5, 0, 5], [0, 0, 0]], "y": y}
    return certify_weighted_votes(
        selection, votes, weights=[1, 2, 1], bound="closed-form", **options
    )


def test_certificates_survive_a_file(certificates, tmp_path):
    certificates.save(tmp_path / "c.npz")
    again = Certificates.load(tmp_path / "c.npz")
    for name in ("label", "radius_group", "radius_pair", "votes", "selection_votes"):
        np.testing.assert_array_equal(getattr(again, name), getattr(certificates, name))
    assert again.decision == certificates.decision


def test_a_file_whose_rule_does_not_fit_its_labels_is_refused(certificates, tmp_path):
    wrong = {"decision": WeightedVotes(np.array([1e3, 1.0, 1.0]))}
    values = {f.name: getattr(certificates, f.name) for f in fields(certificates)}
    Certificates(**values | wrong).save(tmp_path / "c.npz")
    with pytest.raises(ValueError, match="label"):
        Certificates.load(tmp_path / "c.npz")


def test_a_part_of_the_certificates_keeps_rule_and_radii(certificates):
    part = certificates[10:20]
    assert len(part) == 10
    np.testing.assert_array_equal(part.radius_pair, certificates.radius_pair[10:20])
    np.testing.assert_array_equal(part.selection_votes, certificates.selection_votes[10:20])
    assert part.decision == certificates.decision
    assert "WeightedVotes([1.0, 2.0, 1.0])" in repr(part)


def test_robust_error_matrix_is_that_of_all_mistakes_being_costly(certificates):
    everything = with_costs(certificates, None)
    errors = certificates.robust_error_matrix(0.2)
    for i in range(3):
        rows = everything.y == i
        for j in {0, 1, 2} - {i}:
            held = (everything.radius_pair[rows, j] > 0.2).mean()
            # An input whose label is a target is void as a whole with all mistakes costly.
            assert errors[i, j] <= 1 - held + 1e-12
        clean = everything[rows & (everything.label == everything.y)]
        share = clean.robust_error_matrix(0.2)[i]
        for j in {0, 1, 2} - {i}:
            assert share[j] == pytest.approx(1 - (clean.radius_pair[:, j] > 0.2).mean())


def test_metrics_are_those_of_the_weighted_vote(certificates):
    expected = certificates.radius_group[certificates.y != 2] > 0.1
    assert certificates.rob_cs(0.1) == pytest.approx(expected.mean())
    assert (certificates.label != certificates.selection_votes.argmax(axis=1)).any()


def test_nothing_is_certified_for_a_costly_class_or_without_votes():
    costs = [[0, 1, 1], [0, 0, 0], [0, 0, 0]]
    c = certify_weighted_votes(
        [[60, 40, 0], [60, 10, 0], [0, 0, 0], [9, 1, 0]],
        [[600, 400, 0], [900, 100, 0], [900, 100, 0], [0, 0, 0]],
        weights=[1, 3, 1],
        sigma=1.0,
        cost_matrix=costs,
        y=[0, 0, 0, 0],
        n=[1000, 1000, 1000, 0],
    )
    assert c.label.tolist() == [1, 0, 0, 0]
    assert c.radius_group[0] == 0
    assert c.radius_standard[0] == 0
    assert c.radius_group[1] > 0
    assert c.abstained[1:].tolist() == [False, True, True]
    assert np.nansum(c.radius_pair[2:]) == 0


def test_also_correct_drops_radii_where_the_label_is_not_shown():
    votes = [[900, 50, 50], [350, 600, 50]]
    options = {"sigma": 1.0, "cost_matrix": cost_row([2], 3), "y": [0, 0], "weights": [1, 1.1, 1]}
    selection = [[90, 5, 5], [35, 60, 5]]
    without = certify_weighted_votes(selection, votes, **options)
    with_label = certify_weighted_votes(selection, votes, also_correct=True, **options)
    assert (without.radius_group > 0).all()
    assert (with_label.radius_group > 0).tolist() == [True, False]


def test_levels_of_a_sequential_rule_are_those_of_separate_certificates(rng):
    votes = rng.multinomial(400, [0.7, 0.2, 0.1], 2)
    options = {"weights": [1, 2, 1], "sigma": 1.0}
    both = certify_weighted_votes(votes, votes, alpha=0.01, level=[0.01, 0.002], **options)
    for i, alpha in enumerate((0.01, 0.002)):
        one = certify_weighted_votes(votes[[i]], votes[[i]], alpha=alpha, **options)
        assert both.radius_group[i] == one.radius_group[0]
        assert both.radius_standard[i] == one.radius_standard[0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"bound": "paper"}, "bound"),
        ({"weights": [1, 0]}, "weights must be finite and > 0"),
        ({"weights": [1, np.nan]}, "weights must be finite"),
        ({"weights": [1, 2, 3]}, "weights must hold one weight"),
        ({"weights": [1, 1e12]}, "factor"),
        ({"weights": {7: 2.0}}, "7"),
        ({"sigma": -1.0}, "sigma"),
        ({"n": 99}, "sum to"),
        ({"estimation": [[3, 0]]}, "can never certify"),
        ({"selection": [[1, 2, 3]]}, "same shape"),
        ({"also_correct": True}, "also_correct"),
    ],
)
def test_wrong_input_is_refused_by_name(wrong, message):
    arguments = {"selection": [[9, 1]], "estimation": [[90, 10]], "weights": [1, 2], "sigma": 1.0}
    with pytest.raises(ValueError, match=message):
        certify_weighted_votes(**(arguments | wrong))


def test_the_smallest_n_is_exact():
    weights = [1.0, 3.0]
    needed = WeightedVotes(np.array(weights)).smallest_n(0.001, "closed-form")
    enough = certify_weighted_votes(
        [[0, 9]], [[0, needed]], weights=weights, sigma=1.0, bound="closed-form"
    )
    assert enough.radius_standard[0] > 0
    with pytest.raises(ValueError, match=f"smallest that can is {needed}"):
        certify_weighted_votes([[0, 9]], [[0, needed - 1]], weights=weights, sigma=1.0)


# -- sequential decisions of a weighted vote ----------------------------------------------------


def run(rule, rng, h, n_inputs):
    """Feed votes of probabilities h until every input is finished."""
    votes = np.zeros((n_inputs, len(h)), dtype=int)
    for look in rule.looks:
        open_ = np.flatnonzero(~rule.finished)
        if not len(open_):
            break
        votes[open_] += rng.multinomial(look - votes[open_].sum(axis=1), h)
        rule.update(open_, votes[open_])
    return rule


@pytest.mark.parametrize("blockers", [False, True])
@pytest.mark.parametrize("w", [(1.0, 4.0, 2.0), (3.0, 1.0, 3.0)])
def test_a_sequential_claim_at_the_boundary_is_false_at_most_alpha_often(rng, blockers, w):
    h = boundary(w, 0.3, 0.05, 3)
    selection = votes_for(0, 4000, 3)
    targets = np.tile([False, True, False], (4000, 1))
    if blockers:
        # No votes for class 2: class 0 is all that there is to block.
        h = np.array([h[0], h[1], 0.0]) / h[:2].sum()
    truth = true_radii(h, w, 0)[1]
    rule = StoppingRule(
        selection,
        targets,
        eps=float(truth) + 1e-9,
        sigma=1.0,
        alpha=0.1,
        n_max=600,
        blockers=blockers,
        weights=w,
    )
    claimed = run(rule, rng, h, 4000).certified[:, 0]
    assert binomtest(int(claimed.sum()), 4000, 0.1, alternative="greater").pvalue > 1e-4
    assert claimed.any()


def test_sequential_claims_of_equal_weights_are_those_of_the_plurality_vote(rng):
    h = [0.7, 0.2, 0.1]
    selection = rng.multinomial(50, h, 200)
    targets = np.tile([False, True, True], (200, 1))
    label = np.zeros(200, dtype=int)
    options = {"eps": [0.2, 0.4], "sigma": 1.0, "n_max": 2000, "also_correct": label}
    one, other = (
        run(
            StoppingRule(selection, targets, weights=w, **options), np.random.default_rng(3), h, 200
        )
        for w in (None, [0.5, 0.5, 0.5])
    )
    np.testing.assert_array_equal(one.status, other.status)
    np.testing.assert_array_equal(one.n_seen, other.n_seen)


def test_a_sequential_rule_proves_the_label_of_the_weighted_vote(rng):
    h, label = [0.55, 0.45], np.array([1])
    rule = StoppingRule(
        [[55, 45]], [[True, False]], eps=0.1, sigma=1.0, weights=[1, 3], also_correct=label
    )
    assert run(rule, rng, h, 1).certified.all()
    without = StoppingRule([[55, 45]], [[True, False]], eps=0.1, sigma=1.0, also_correct=label)
    assert not run(without, rng, h, 1).certified.any()


def test_sequential_predictions_are_those_of_the_weighted_vote_and_seldom_wrong(rng):
    w = WeightedVotes([1.0, 2.0, 1.0])
    clear = run(PredictionRule(50, n_max=2000, decision=w), rng, [0.5, 0.4, 0.1], 50)
    assert (clear.label == 1).all()
    assert clear.n_seen.max() < 2000
    tie = run(PredictionRule(4000, alpha=0.1, decision=w), rng, [0.6, 0.3, 0.1], 4000)
    wrong = int((tie.label > 0).sum())
    assert binomtest(wrong, 4000, 0.1, alternative="greater").pvalue > 1e-4


class Shy(WeightedVotes):
    """A decision that prefers the last class and answers nothing but unanimous votes."""

    def winner(self, votes):
        votes = np.asarray(votes)
        return np.where(votes[:, -1] > 0, votes.shape[1] - 1, super().winner(votes))

    def abstains(self, votes, alpha):
        return np.max(votes, axis=1) < np.sum(votes, axis=1)


def test_predictions_and_radii_ask_the_decision_who_wins_and_when_to_abstain():
    votes = [[0, 20], [1, 19]]
    decided = {}
    for decision in (WeightedVotes([1, 1]), Shy([1, 1])):
        rule = PredictionRule(2, decision=decision, n_max=20)
        rule.update([0, 1], votes)
        decided[type(decision)] = rule.label.tolist()
    assert decided == {WeightedVotes: [1, 1], Shy: [1, -1]}
    c = certify_votes([[9, 1]], [[900, 100]], sigma=1.0, y=[0], decision=Shy([1, 1]))
    assert c.label.tolist() == [1]
    assert c.radius_standard[0] == 0
