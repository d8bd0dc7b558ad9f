"""Attacks find no costly mistake inside a certified radius, and do find them beyond it.

A costly mistake is a point at which the smoothed classifier answers with a sensitive target of the
true class.  Projected gradient ascent on the soft smoothed classifier looks for one, towards every
sensitive target; fresh hard votes and an exact binomial test say whether it found one.  Counts are
printed: ``pytest -rP tests/guarantees/test_attack_guarantee.py``.
"""

import numpy as np
import pytest
import torch
from _attack import (
    SIGMA,
    Goals,
    attacked,
    costly,
    costly_p_values,
    margin_pgd,
    targeted_pgd,
)
from _full import FULL
from scipy.special import ndtr, ndtri
from scipy.stats import binomtest
from sklearn.datasets import load_digits

from smoothcs import CostSensitiveSmoothedClassifier, WeightedVotes, certify_votes
from smoothcs.decision import weighted_radius
from smoothcs.modules import MLP
from smoothcs.objectives import OBJECTIVES
from smoothcs.votes import sample_votes

EQUAL = np.ones(10)


def row_costs(sensitive_targets):
    costs = np.zeros((10, 10))
    for seed, targets in sensitive_targets.items():
        costs[seed, list(targets)] = 5.0
    return costs


def test_the_judge_agrees_with_binomial_tests_one_by_one(rng):
    weights = np.array([1.0, 3.0, 0.5, 1.0])
    votes = rng.multinomial(60, [0.3, 0.25, 0.4, 0.05], size=40)
    forbidden = np.tile([False, True, True, False], (40, 1))
    got = costly_p_values(votes, forbidden, weights)
    for i in range(40):
        for j in (1, 2):
            tests = [
                binomtest(
                    int(votes[i, j]),
                    int(votes[i, j] + votes[i, k]),
                    weights[k] / (weights[j] + weights[k]),
                    alternative="greater",
                )
                for k in (0, 3)
            ]
            assert got[i, j] == pytest.approx(max(test.pvalue for test in tests))
    assert (got[:, [0, 3]] == 1).all()


# -- a classifier whose true radius is known -----------------------------------------------------


@pytest.mark.parametrize("attack", [targeted_pgd, margin_pgd])
@pytest.mark.parametrize("weights", [[1.0, 1.0], [3.0, 1.0]])
def test_the_attack_comes_close_to_the_true_radius_of_a_linear_classifier(attack, weights, rng):
    """Both halves of the judgement: successes from 10 % beyond the radius, none 10 % within it."""
    module = torch.nn.Linear(64, 2).requires_grad_(False)
    module.weight.copy_(torch.from_numpy(rng.standard_normal((2, 64)) / 8))
    module.bias.zero_()
    normal = (module.weight[1] - module.weight[0]).double()
    distance = torch.linspace(0.2, 0.8, 30).double()  # of class 0, from the plain boundary
    direction = normal / normal.norm()
    offset = float(module.bias[1] - module.bias[0]) / float(normal.norm())
    start = torch.from_numpy(rng.standard_normal((30, 64)))
    start = start - (start @ direction + offset + distance)[:, None] * direction
    h = ndtr(distance.numpy() / SIGMA)
    radius = weighted_radius(h, 1 - h, *weights, sigma=SIGMA)
    expected = distance.numpy() - SIGMA * ndtri(1 / (1 + weights[0]))  # where 1 - h = w h
    np.testing.assert_allclose(radius, expected, rtol=1e-9)
    for factor, share in ((0.9, 0.0), (1.1, 1.0)):
        goals = Goals(
            start.float(),
            torch.tensor([[False, True]]).expand(30, 2),
            torch.ones(30, dtype=torch.int64),
            torch.from_numpy(factor * radius).float(),
        )
        found = attacked(attack, module, goals, np.array(weights), n_noise=16)
        hits = costly(module, found, goals.forbidden, np.array(weights), n=100_000, n_screen=0)
        assert hits.mean() == share


# -- digits --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32), y


def trained(objective, X, y, costs):
    if objective == "cost-sensitive-ce":
        # Classes whose mistakes all cost nothing would not be learnt at all.
        costs = np.where(costs > 0, costs, 0.1 * (1 - np.eye(10)))
    return CostSensitiveSmoothedClassifier(
        MLP,
        objective=objective,
        cost_matrix=costs,
        sigma=SIGMA,
        n_estimation=1000,
        lr=0.005,
        max_epochs=6,
        net_params={"module__hidden": (64,)},
        device="cpu",
        random_state=0,
    ).fit(X, y)


def goals_at(factor, X, certificates, costs, y, kind="group"):
    """Attacks on every certified input, towards every sensitive target; also the inputs' rows.

    "group": eps is ``factor`` times the group radius, every sensitive target is forbidden; "pair":
    times the pair radius of the target, which alone is forbidden.
    """
    sensitive = (costs[y] > 0) & (certificates.radius_group > 0)[:, None]
    row, target = np.nonzero(sensitive)
    if kind == "group":
        radius, forbidden = certificates.radius_group[row], sensitive[row]
    else:
        radius, forbidden = certificates.radius_pair[row, target], np.eye(10, dtype=bool)[target]
    eps = torch.from_numpy(factor * radius).float()
    return row, Goals(*map(torch.from_numpy, (X[row], forbidden, target)), eps)


INSIDE = [
    (targeted_pgd, 0.5, "group"),
    (targeted_pgd, 0.8, "group"),
    (targeted_pgd, 0.99, "group"),
    (margin_pgd, 0.99, "group"),
    (margin_pgd, 0.99, "pair"),
]
BEYOND = 2.0


@pytest.mark.slow
@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
def test_no_attack_succeeds_inside_a_certified_radius(objective, digits):
    X, y = digits
    costs = row_costs({1: (8, 9), 3: (5, 9), 5: (3, 6), 7: (4, 9), 8: (1, 9), 9: (3, 4)})
    clf = trained(objective, X[:1000], y[:1000], costs)
    test = 1000 + np.flatnonzero(costs[y[1000:]].any(axis=1))[: 230 if FULL else 120]
    X, y = X[test], y[test]
    certificates = clf.certify(X, y=y, cost_matrix=costs)
    module = clf.module_.requires_grad_(False)
    n_inputs = int((certificates.radius_group > 0).sum())
    assert n_inputs >= (200 if FULL else 100)
    n_attacks = 0
    for attack, factor, kind in INSIDE:
        _, goals = goals_at(factor, X, certificates, costs, y, kind)
        found = attacked(attack, module, goals, EQUAL, n_noise=16)
        assert not costly(module, found, goals.forbidden, EQUAL, n=10_000).any()
        n_attacks += len(found)
    row, goals = goals_at(BEYOND, X, certificates, costs, y)
    broken = {}
    for attack in (targeted_pgd, margin_pgd):
        found = attacked(attack, module, goals, EQUAL, n_noise=16)
        hits = costly(module, found, goals.forbidden, EQUAL, n=1000)
        broken[attack.__name__] = len(set(row[hits]))
    print(f"{objective}: {n_inputs} inputs, {n_attacks} attacks inside, 0 succeed; ", end="")
    print(f"inputs broken at {BEYOND} radii: {broken}")
    assert min(broken.values()) >= 0.1 * n_inputs


@pytest.mark.slow
def test_no_attack_on_the_weighted_vote_succeeds_inside_a_certified_radius(digits):
    X, y = digits
    costs = row_costs({1: (4, 7), 3: (2, 9), 5: (6, 9), 8: (2, 9)})
    weights = np.where(costs.any(axis=1), 3.0, 1.0)
    clf = trained("gaussian", X[:800], y[:800], costs)
    test = 800 + np.flatnonzero(costs[y[800:]].any(axis=1))[:345]
    X, y = X[test], y[test]
    module = clf.module_.requires_grad_(False)
    selection, estimation = (
        sample_votes(module, X, n, SIGMA, purpose=purpose, random_state=1, device="cpu")
        for n, purpose in ((100, "selection"), (1000, "estimation"))
    )
    certificates = certify_votes(
        selection,
        estimation,
        decision=WeightedVotes(weights),
        sigma=SIGMA,
        cost_matrix=costs,
        y=y,
    )
    n_inputs = int((certificates.radius_group > 0).sum())
    assert n_inputs >= 300
    n_attacks = 0
    for kind in ("group", "pair"):
        _, goals = goals_at(0.99, X, certificates, costs, y, kind)
        found = attacked(margin_pgd, module, goals, weights, n_noise=32)
        assert not costly(module, found, goals.forbidden, weights, n=10_000).any()
        n_attacks += len(found)
    row, goals = goals_at(BEYOND, X, certificates, costs, y)
    found = attacked(margin_pgd, module, goals, weights, n_noise=32)
    hits = costly(module, found, goals.forbidden, weights, n=10_000)
    print(f"weighted vote: {n_inputs} inputs, {n_attacks} attacks inside, 0 succeed; ", end="")
    print(f"inputs broken at {BEYOND} radii: {len(set(row[hits]))}")
    assert len(set(row[hits])) >= 0.1 * n_inputs
