"""Blocker radii are the best that votes allow; sets are chosen from the selection votes alone."""

from itertools import combinations

import numpy as np
import pytest
from _best_radius import best_blocker_radius
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.sparse import csr_array, eye_array, hstack, vstack
from scipy.special import ndtr, ndtri

from smoothcs.bounds.blockers import choose_blockers, single_blocker
from smoothcs.bounds.geometry import blocker_radius, feasible_end, null_boundary, null_slope

probabilities = st.floats(1e-6, 1 - 1e-6)
sizes = st.floats(0.2, 20.0)


@given(P=probabilities, q=probabilities)
def test_one_blocker_gives_half_the_difference_of_the_quantiles(P, q):
    assert blocker_radius(P, q) == pytest.approx(0.5 * (ndtri(P) - ndtri(q)), abs=1e-12)


@given(P=probabilities, q=probabilities, s=sizes)
def test_radius_solves_its_equation(P, q, s):
    eta = float(blocker_radius(P, q, s))
    left, right = ndtr(ndtri(P) - eta), s * ndtr(ndtri(q) + eta)
    assert left == pytest.approx(right, rel=1e-9)


@given(q=probabilities, eta=st.floats(-1, 3), s=sizes)
def test_boundary_is_the_inverse_of_the_radius(q, eta, s):
    P = float(null_boundary(q, eta, s))
    if 1e-12 < P < 1 - 1e-9:
        assert blocker_radius(P, q, s) == pytest.approx(eta, abs=1e-5)


@given(eta=st.floats(0, 3), s=sizes)
def test_feasible_end_is_where_boundary_and_target_share_all_votes(eta, s):
    end = float(feasible_end(eta, s))
    assert null_boundary(end, eta, s) + end == pytest.approx(1.0, abs=1e-9)


@given(eta=st.floats(0, 2), s=sizes, share=st.floats(0.05, 0.9))
def test_slope_is_the_derivative_of_the_boundary(eta, s, share):
    p = share * float(feasible_end(eta, s))
    h = 1e-5 * p
    numeric = (null_boundary(p + h, eta, s) - null_boundary(p - h, eta, s)) / (2 * h)
    assert null_slope(p, eta, s) == pytest.approx(float(numeric), rel=1e-4)


def test_radius_at_the_ends_is_on_the_safe_side():
    assert blocker_radius([0, 0, 1, 0.5], [0, 0.3, 1, 1]).tolist() == [-np.inf] * 4
    assert blocker_radius([0.5, 1], [0, 0.5]).tolist() == [np.inf] * 2
    assert np.isnan(blocker_radius([np.nan, 0.5], [0.1, np.nan], 2)).all()


def worst_lead(h, target, blockers, eta, n_bins=1500):
    """Largest lead of the target over all blockers at a shift eta, over every classifier with
    votes h.

    A linear programme over (soft) classifiers that are constant on bins of the line along the
    shift: only that coordinate tells the two noise distributions apart.
    """
    m = len(h)
    edges = np.concatenate([[-np.inf], np.linspace(-5, 5 + eta, n_bins - 1), [np.inf]])
    before, after = np.diff(ndtr(edges)), np.diff(ndtr(edges - eta))
    # Variables: f[k, bin] for each class, then the lead.
    n_variables = m * n_bins + 1
    cost = np.zeros(n_variables)
    cost[-1] = -1.0
    votes = np.zeros((m, n_variables))
    lead = np.zeros((len(blockers), n_variables))
    for k in range(m):
        votes[k, k * n_bins : (k + 1) * n_bins] = before
    for row, k in enumerate(blockers):
        lead[row, k * n_bins : (k + 1) * n_bins] = after
        lead[row, target * n_bins : (target + 1) * n_bins] = -after
        lead[row, -1] = 1.0
    whole = hstack([eye_array(n_bins)] * m + [csr_array((n_bins, 1))])
    result = linprog(
        cost,
        A_ub=csr_array(lead),
        b_ub=np.zeros(len(blockers)),
        A_eq=vstack([csr_array(votes[:-1]), whole]),
        b_eq=np.concatenate([h[:-1], np.ones(n_bins)]),  # the last class has the rest
        bounds=[(0, 1)] * (m * n_bins) + [(-1, 1)],
        method="highs",
    )
    assert result.status == 0
    return -result.fun


@pytest.mark.parametrize("seed", range(24))
def test_radius_is_the_optimum_of_a_linear_programme(seed):
    rng = np.random.default_rng(seed)
    m = int(rng.integers(3, 5))
    h = rng.dirichlet(np.r_[np.full(m - 1, 2.0), 0.3])
    h = np.maximum(h, 0.002) / np.maximum(h, 0.002).sum()
    target = m - 1
    # Half of the vectors forbid one class to block, as a second sensitive target would be.
    allowed = np.arange(m) != target
    if seed % 2:
        allowed[int(np.argmin(h[:-1]))] = False
    radius, _ = best_blocker_radius(h, target, allowed)
    if radius < 0.01:
        pytest.skip("nothing to certify")
    blockers = np.flatnonzero(allowed)
    assert worst_lead(h, target, blockers, radius - 1e-3) < 0
    assert worst_lead(h, target, blockers, radius + 1e-3) > 0


def test_best_radius_is_the_best_over_all_subsets_and_no_less_than_the_pair_radius(rng):
    for h in rng.dirichlet(np.full(6, 0.7), 50):
        h = np.maximum(h, 1e-6)
        h /= h.sum()
        target = int(rng.integers(6))
        others = [k for k in range(6) if k != target]
        radius, chosen = best_blocker_radius(h, target)
        by_subset = {
            subset: float(blocker_radius(h[list(subset)].sum(), h[target], size))
            for size in range(1, 6)
            for subset in combinations(others, size)
        }
        assert radius == pytest.approx(max(0.0, *by_subset.values()), abs=1e-9)
        assert target not in chosen
        pair = 0.5 * (ndtri(h[others].max()) - ndtri(h[target]))
        assert radius >= pair - 1e-12


def test_published_examples_of_the_gain():
    for h, gain in (([0.6, 0.3, 0.01, 0.09], 0.17), ([0.45, 0.4, 0.05, 0.1], 0.31)):
        radius, _ = best_blocker_radius(h, target=2, allowed=[True, True, False, False])
        pair = 0.5 * (ndtri(h[0]) - ndtri(h[2]))
        assert radius / pair - 1 == pytest.approx(gain, abs=0.006)


def test_several_blockers_without_the_share_would_be_no_certificate():
    # The sum of two classes at 0.3 exceeds the target at 0.4, which wins all the same.
    assert best_blocker_radius([0.3, 0.3, 0.4], target=2)[0] == 0.0


@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=5), st.integers(0, 10**6))
def test_weighted_size_bounds_the_best_weighted_vote(weights, seed):
    w = np.array(weights)
    h = np.random.default_rng(seed).dirichlet(np.ones(len(w)))
    assert (w * h).max() >= h.sum() / (1 / w).sum() * (1 - 1e-12)


def test_sets_hold_the_most_voted_allowed_classes(rng):
    votes = rng.multinomial(100, rng.dirichlet(np.full(8, 0.5), 60))
    targets = rng.random(votes.shape) < 0.3
    sets = choose_blockers(votes, targets, ~targets, max_size=3, eta=0.5)
    for i, j in np.argwhere(targets):
        chosen = sets.index[i, j][sets.index[i, j] >= 0]
        assert sets.scale[i, j] == len(chosen) or not len(chosen)
        assert not targets[i, chosen].any()
        assert len(set(chosen)) == len(chosen)
        outside = np.setdiff1d(np.flatnonzero(~targets[i]), chosen)
        if len(chosen) and len(outside):
            assert votes[i, chosen].min() >= votes[i, outside].max()
    assert (sets.index[~targets] == -1).all()
    assert np.isnan(sets.scale[~targets]).all()


def test_default_lets_every_class_but_the_target_block():
    sets = choose_blockers([[60, 38, 2]], [[True, True, True]], max_size=1)
    assert sets.index[0, :, 0].tolist() == [1, 0, 0]


def test_a_second_blocker_is_taken_where_it_helps_and_only_there():
    helps = choose_blockers([[45, 40, 5, 10]], [[False, False, True, False]], max_size=2, eta=0.5)
    assert helps.scale[0, 2] == 2
    alone = choose_blockers([[85, 5, 5, 5]], [[False, False, True, False]], max_size=3, eta=0.5)
    assert alone.scale[0, 2] == 1


def test_counts_are_those_of_the_chosen_classes(rng):
    selection = rng.multinomial(100, [0.4, 0.3, 0.2, 0.1], 20)
    votes = rng.multinomial(1000, [0.4, 0.3, 0.2, 0.1], 20)
    targets = np.tile([False, False, True, True], (20, 1))
    sets = choose_blockers(selection, targets, ~targets)
    counted = sets.count(votes)
    for i, j in np.argwhere(targets):
        assert counted[i, j] == sum(votes[i, k] for k in sets.index[i, j] if k >= 0)
    assert (sets[:5].count(votes[:5]) == counted[:5]).all()


def test_no_set_without_allowed_classes():
    sets = choose_blockers([[9, 1]], [[True, True]], [[False, False]])
    assert (sets.index == -1).all()
    assert np.isnan(sets.scale).all()
    assert (sets.count(np.array([[90, 10]])) == 0).all()


def test_weights_enter_the_size_of_a_set():
    weights = np.array([1.0, 2.0, 4.0])
    sets = choose_blockers(
        [[45, 40, 15]], [[False, False, True]], max_size=2, eta=0.1, weights=weights
    )
    chosen = sets.index[0, 2][sets.index[0, 2] >= 0]
    assert sets.scale[0, 2] == pytest.approx(4.0 * (1 / weights[chosen]).sum())


def test_single_blocker_is_the_label_for_every_other_class():
    sets = single_blocker([1, 0], n_classes=3)
    assert sets.index[:, :, 0].tolist() == [[1, -1, 1], [-1, 0, 0]]
    assert np.isnan(sets.scale[[0, 1], [1, 0]]).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"targets": [[True, False]]}, "targets"),
        ({"max_size": 0}, "max_size"),
        ({"eta": np.nan}, "eta"),
        ({"eta": -1.0}, "eta"),
        ({"weights": [1.0, 0.0, 1.0]}, "weights"),
        ({"allowed": [[True, True]]}, "allowed"),
        ({"selection_votes": [[1.5, 2, 3]]}, "selection_votes"),
    ],
)
def test_wrong_input_is_refused_by_name(wrong, message):
    arguments = {"selection_votes": [[5, 3, 2]], "targets": [[False, True, True]]} | wrong
    with pytest.raises(ValueError, match=message):
        choose_blockers(**arguments)
