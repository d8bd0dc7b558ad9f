"""Sequential decisions keep alpha at the least favourable votes, and stop early where it is
easy."""

import pickle

import numpy as np
import pytest
from _best_radius import best_blocker_radius
from _full import FULL
from scipy.special import ndtr, ndtri

from smoothcs.bounds.exact import exact_rejects
from smoothcs.sequential import (
    CERTIFIED,
    CONTINUE,
    FUTILE,
    PredictionRule,
    RadiusRule,
    StoppingRule,
    look_schedule,
)
from smoothcs.sequential.planning import plan_votes, simulate_decisions

N_TRIALS = 100_000 if FULL else 25_000
ALPHA = 0.05


def run(h, targets, eps, *, n_max=400, label=None, seed=0, n_trials=N_TRIALS, **params):
    """Drive the rule on ``n_trials`` independent inputs that all have the votes ``h``."""
    rng = np.random.default_rng(seed)
    h = np.asarray(h, dtype=float)
    # Giving up early could only hide false certificates.
    params = {"futility": 0.0} | params
    selection = rng.multinomial(100, h, n_trials)
    wanted = np.tile(np.isin(np.arange(len(h)), targets), (n_trials, 1))
    rule = StoppingRule(
        selection,
        wanted,
        eps=eps,
        sigma=1.0,
        alpha=ALPHA,
        n_max=n_max,
        also_correct=None if label is None else np.full(n_trials, label),
        **params,
    )
    votes = np.zeros((n_trials, len(h)), dtype=np.int64)
    seen = 0
    for look in rule.looks:
        active = np.flatnonzero(~rule.finished)
        votes[active] += rng.multinomial(look - seen, h, len(active))
        if len(active):
            rule.update(active, votes[active])
        seen = look
    return rule


def true_radius(h, targets, target=None, mode="group"):
    allowed = ~np.isin(np.arange(len(h)), targets) if mode == "group" else None
    each = [best_blocker_radius(h, j, allowed, 3)[0] for j in targets]
    return min(each) if target is None else each[list(targets).index(target)]


# Votes and targets where a false certificate is nearest: eps is put exactly on the true radius.
LEAST_FAVOURABLE = {
    "one target": ([0.8, 0.1, 0.1], [1]),
    "one rare target": ([0.85, 0.006, 0.144], [1]),
    "one target, hardly any margin": ([0.46, 0.44, 0.1], [1]),
    "three tied targets": ([0.7, 0.1, 0.1, 0.1], [1, 2, 3]),
    "three targets, one of them in reach": ([0.7, 0.25, 0.04, 0.01], [1, 2, 3]),
    "nine tied targets": ([0.64, *[0.04] * 9], list(range(1, 10))),
    "nine targets, one of them in reach": ([0.7, 0.22, *[0.01] * 8], list(range(1, 10))),
    "mass split among two blockers": ([0.45, 0.45, 0.1], [2]),
    "mass split among four blockers": ([0.24, 0.24, 0.24, 0.24, 0.04], [4]),
}


@pytest.mark.parametrize("case", LEAST_FAVOURABLE)
def test_false_group_certificates_are_rarer_than_alpha(case):
    h, targets = LEAST_FAVOURABLE[case]
    rule = run(h, targets, true_radius(h, targets))
    assert rule.certified.mean() <= ALPHA
    # A rule that never certified would pass too: slightly inside the radius it must do so.
    inside = run(h, targets, 0.3 * true_radius(h, targets), n_trials=500)
    assert inside.certified.mean() > 0.5 or case == "one target, hardly any margin"


def test_the_error_allowed_is_spent():
    h, targets = LEAST_FAVOURABLE["one target"]
    assert run(h, targets, true_radius(h, targets)).certified.mean() > 0.2 * ALPHA


def test_several_eps_share_one_alpha():
    h, targets = [0.75, 0.15, 0.06, 0.04], [1, 2]
    radius = true_radius(h, targets)
    rule = run(h, targets, [radius * 1.3, radius, 0.5 * radius, radius * 1.1])
    false = rule.certified[:, [0, 1, 3]].any(axis=1)
    assert 0 < false.mean() <= ALPHA
    assert rule.certified[:, 2].mean() > 0.5
    # Whatever holds at a radius holds at every smaller one.
    by_eps = rule.certified[:, np.argsort(rule.eps)].astype(int)
    assert (np.diff(by_eps, axis=1) <= 0).all()


PAIRS = {
    "all pairs on the boundary": [0.7, 0.1, 0.1, 0.1],
    "two pairs on the boundary, one easy": [0.7, 0.145, 0.145, 0.01],
    "one pair on the boundary, two easy": [0.7, 0.28, 0.01, 0.01],
}


@pytest.mark.parametrize("case", PAIRS)
@pytest.mark.parametrize("several_eps", [False, True])
def test_false_pair_certificates_of_an_input_are_rarer_than_alpha(case, several_eps):
    h, targets = PAIRS[case], [1, 2, 3]
    radius = np.array([true_radius(h, targets, j, mode="pairs") for j in targets])
    eps = [radius.min()] if not several_eps else [0.8 * radius.min(), *np.unique(radius)]
    rule = run(h, targets, eps, mode="pairs", blockers=2)
    # Only claims at or beyond a target's own radius are false.
    false = (rule.certified_pair[:, :, 1:] & (rule.eps[:, None] >= radius - 1e-12)).any(axis=(1, 2))
    assert false.mean() <= ALPHA
    assert not rule.certified_pair[:, :, 0].any()


@pytest.mark.parametrize("h", [[0.47, 0.48, 0.05], [0.475, 0.475, 0.05]])
def test_also_correct_rarely_claims_a_wrong_or_tied_label(h):
    # The target is far away, so only the label decides; without also_correct the claim is true.
    rule = run(h, [2], 0.1, label=0, n_max=800)
    assert 0 < rule.certified.mean() <= ALPHA
    assert run(h, [2], 0.1, n_max=800, n_trials=1000).certified.mean() > 0.9


def test_also_correct_costs_no_certificate_where_the_label_is_clear():
    plain, correct = (
        run([0.85, 0.1, 0.05], [1, 2], 0.3, label=label, n_trials=2000) for label in (None, 0)
    )
    assert correct.certified.mean() > plain.certified.mean() - 0.01


def test_schedule_and_levels_are_those_announced():
    looks, levels = look_schedule(100_000, 0.001)
    assert len(looks) == 31
    assert looks[:4].tolist() == [30, 39, 51, 66]
    assert looks[-1] == 100_000
    assert levels.sum() == pytest.approx(0.001)
    assert levels[-1] == pytest.approx(0.0003)
    assert look_schedule(40, 0.01)[0].tolist() == [40]
    assert look_schedule(40, 0.01)[1].tolist() == [0.01]


def make_rule(**params):
    selection = [[90, 6, 4], [50, 45, 5], [60, 0, 40]]
    targets = [[False, True, True], [False, True, False], [False, False, False]]
    looks = {"first_look": 100, "growth": 1.5, "final_share": 0.5}
    return StoppingRule(selection, targets, eps=0.4, sigma=1.0, n_max=2000, **looks, **params)


def test_votes_that_come_in_any_order_give_the_same_decisions(rng):
    P = np.array([[0.9, 0.06, 0.04], [0.55, 0.4, 0.05], [0.6, 0.1, 0.3]])
    steps = np.diff(make_rule().looks, prepend=0)
    paths = np.stack([np.cumsum([rng.multinomial(k, p) for k in steps], axis=0) for p in P])
    together, alone = make_rule(), make_rule()
    for number, look in enumerate(together.looks):
        active = np.flatnonzero(~together.finished)
        if len(active):
            together.update(active, paths[active, number])
            assert (together.n_seen[active] == look).all()
    for i in (2, 0, 1):
        counts, wanted = np.zeros(3, dtype=int), alone([i], [[0, 0, 0]])[0]
        while wanted > counts.sum():
            counts = paths[i, list(alone.looks).index(wanted)]
            wanted = alone([i], [counts])[0]
    assert (together.status == alone.status).all()
    assert (together.n_seen == alone.n_seen).all()


def test_easy_inputs_stop_at_the_first_look_and_hopeless_ones_soon():
    rule = make_rule()
    rule.update([0, 1], [[100, 0, 0], [10, 85, 5]])
    assert rule.status[:2, 0].tolist() == [CERTIFIED, FUTILE]
    assert rule.finished.all()


def test_an_input_without_targets_needs_no_votes():
    rule = make_rule()
    assert rule.status[:, 0].tolist() == [CONTINUE, CONTINUE, CERTIFIED]
    assert rule([2, 0], np.zeros((2, 3), dtype=int)).tolist() == [0, rule.looks[0]]


def test_an_interrupted_input_is_not_certified():
    rule = make_rule(futility=0.0)
    rule.update([0], [[70, 22, 8]])
    assert rule.status[0, 0] == CONTINUE
    assert not rule.certified[0, 0]


def test_looks_may_be_skipped_but_not_repeated():
    rule = make_rule(futility=0.0)
    rule.update([1], [[84, 66, 0]])
    assert rule.n_seen[1] == 150
    with pytest.raises(ValueError, match="looks still to come"):
        rule.update([1], [[60, 40, 0]])


def test_the_last_look_settles_everything():
    rule = make_rule(futility=0.0)
    rule.update([0, 1], [[1200, 500, 300], [1000, 900, 100]])
    assert rule.finished.all()
    assert (rule.status != CONTINUE).all()


def test_a_rejected_target_stays_rejected():
    rule = make_rule(futility=0.0, mode="pairs")
    rule.update([0], [[80, 20, 0]])
    assert rule.proven[0, 0].tolist() == [False, False, True]
    rule.update([0], [[110, 20, 20]])
    assert rule.proven[0, 0, 2]


def test_blockers_false_uses_the_most_voted_class_alone():
    rule = make_rule(blockers=False)
    assert rule.blockers.index[:, 1, 0].tolist() == [0, 0, 0]
    # A most voted class that is itself a target can never be cleared.
    costly = StoppingRule([[10, 90]], [[False, True]], eps=0.1, sigma=1.0, blockers=False)
    costly.update([0], [[3, 27]])
    assert costly.status[0, 0] == FUTILE


def test_rules_survive_pickling():
    rule = make_rule()
    rule.update([0], [[80, 12, 8]])
    copy = pickle.loads(pickle.dumps(rule))
    assert (copy.status == rule.status).all()
    assert copy([1], np.zeros((1, 3), dtype=int)) == copy.looks[0]


@pytest.mark.parametrize(
    ("votes", "message"),
    [
        ([[90, np.nan, 10]], "votes must hold integer counts"),
        ([[101, -1, 0]], "votes must hold integer counts"),
        ([[99.5, 0.5, 0]], "votes must hold integer counts"),
        ([[90, 5, 4]], "votes of input 0 sum to 99"),
        ([[90, 5, 5], [90, 5, 5]], "index must name one distinct input"),
    ],
)
def test_wrong_votes_are_refused_by_name(votes, message):
    with pytest.raises(ValueError, match=message):
        make_rule().update([0], votes)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"eps": 0.0}, "eps"),
        ({"eps": [0.5, np.nan]}, "eps"),
        ({"sigma": -1.0}, "sigma"),
        ({"alpha": 1.0}, "alpha"),
        ({"n_max": 0}, "n_max"),
        ({"mode": "both"}, "mode"),
        ({"blockers": 0}, "blockers"),
        ({"also_correct": [5]}, "also_correct"),
        ({"also_correct": [0.5]}, "also_correct"),
        ({"futility": 1.0}, "futility"),
        ({"growth": 1.0}, "growth"),
        ({"first_look": 0}, "first_look"),
        ({"targets": [[True]]}, "targets"),
        ({"selection_votes": [[-1, 2]]}, "selection_votes"),
    ],
)
def test_wrong_parameters_are_refused_by_name(wrong, message):
    arguments = {
        "selection_votes": [[8, 2]],
        "targets": [[False, True]],
        "eps": 0.5,
        "sigma": 0.5,
    } | wrong
    with pytest.raises(ValueError, match=message):
        StoppingRule(**arguments)


def predict(p, n_max=1000, seed=0, alpha=ALPHA, n_trials=N_TRIALS):
    rng = np.random.default_rng(seed)
    rule = PredictionRule(n_trials, alpha=alpha, n_max=n_max)
    votes = np.zeros((n_trials, len(p)), dtype=np.int64)
    for step, _ in zip(np.diff(rule.looks, prepend=0), rule.looks, strict=True):
        active = np.flatnonzero(~rule.finished)
        if len(active) == 0:
            break
        votes[active] += rng.multinomial(step, p, len(active))
        rule.update(active, votes[active])
    return rule


@pytest.mark.parametrize(
    "p", [[0.5, 0.5], [0.4, 0.4, 0.2], [1 / 3] * 3, [0.2] * 5, [1 / 30] * 30, [0.46, 0.45, 0.09]]
)
def test_predictions_are_wrong_more_rarely_than_alpha(p):
    label = predict(p).label
    largest = np.flatnonzero(np.isclose(p, max(p)))
    wrong = (label >= 0) & ((label != largest[0]) | (len(largest) > 1))
    assert wrong.mean() <= ALPHA


def test_easy_predictions_take_few_votes_and_hard_ones_abstain():
    easy = predict([0.95, 0.05], n_trials=2000, alpha=0.001)
    assert (easy.label == 0).all()
    assert easy.n_seen.mean() < 30
    hard = predict([0.5, 0.5], n_trials=2000, alpha=0.001)
    assert (hard.label == -1).mean() > 0.99


def measure(h, targets, *, n_max=1000, n_trials=N_TRIALS, tol=0.05, first_look=200, **params):
    rng = np.random.default_rng(0)
    selection = rng.multinomial(100, h, n_trials)
    wanted = np.tile(np.isin(np.arange(len(h)), targets), (n_trials, 1))
    rule = RadiusRule(
        selection, wanted, sigma=1.0, radius_tol=tol, n_max=n_max, first_look=first_look, **params
    )
    votes, seen = np.zeros((n_trials, len(h)), dtype=np.int64), 0
    for look in rule.looks:
        active = np.flatnonzero(~rule.finished)
        if len(active) == 0:
            break
        votes[active] += rng.multinomial(look - seen, h, len(active))
        rule.update(active, votes[active])
        seen = look
    return rule


def test_sequential_radii_are_too_large_more_rarely_than_alpha():
    # Coarse counts keep the number of distinct outcomes small.
    h, targets = [0.8, 0.2], [1]
    rule = measure(h, targets, n_max=600, alpha=ALPHA)
    assert 0 < (rule.radius > true_radius(h, targets)).mean() <= ALPHA


def test_radius_rule_stops_early_within_its_tolerance():
    settings = {"n_max": 100_000, "n_trials": 60, "alpha": 0.001, "first_look": 1000}
    h, targets = [0.9, 0.04, 0.06], [1]
    rule = measure(h, targets, tol=0.1, **settings)
    fine = measure(h, targets, tol=0.001, **settings)
    assert rule.n_seen.mean() < 20_000 < fine.n_seen.mean()
    assert 0 < fine.radius.mean() - rule.radius.mean() < 0.12
    assert np.isinf(measure(h, [], n_trials=2).radius).all()


def population(rng, size):
    top = rng.beta(3, 1.2, size)
    return np.column_stack([top, rng.dirichlet([0.3] * 4, size) * (1 - top)[:, None]])


def test_decisions_find_nearly_all_certificates_with_a_fraction_of_the_votes(rng):
    P = population(rng, 400)
    cost = np.zeros((5, 5))
    cost[0, [1, 2]] = 1
    result = simulate_decisions(
        P, y=np.zeros(400, int), cost_matrix=cost, sigma=0.5, eps=[0.25, 0.5], random_state=1
    )
    allowed = np.array([True, False, False, True, True])
    radius = np.array([min(best_blocker_radius(h, j, allowed)[0] for j in (1, 2)) for h in P])
    true = radius[:, None] * 0.5 > [0.25, 0.5]
    assert not (result.certified & ~true).any()
    assert result.certified.sum() >= 0.97 * true.sum()
    assert result.n_used.mean() < 15_000
    assert (result.n_used >= 130).all()


def test_simulated_decisions_have_the_announced_shapes_and_repeat():
    P = [[0.9, 0.08, 0.02], [0.2, 0.7, 0.1]]
    args = {"y": [0, 1], "sigma": 0.5, "n_max": 1000, "random_state": 3}
    one = simulate_decisions(P, eps=0.25, **args)
    several = simulate_decisions(P, eps=[0.25, 0.5, 1.0], mode="pairs", **args)
    assert one.certified.shape == one.n_used.shape == (2,)
    assert several.certified.shape == (2, 3)
    assert several.certified_pair.shape == (2, 3, 3)
    again = simulate_decisions(P, eps=0.25, **args)
    assert (one.certified == again.certified).all()
    assert (one.n_used == again.n_used).all()
    with pytest.raises(ValueError, match="P must hold probabilities"):
        simulate_decisions([[0.5, 0.6]], y=[0], sigma=1.0, eps=1.0)


@pytest.mark.parametrize(
    ("p", "eps"), [([0.9, 0.06, 0.04], 0.5), ([0.99, 0.003, 0.007], 1.5), ([0.6, 0.35, 0.05], 0.15)]
)
def test_planned_votes_reach_the_planned_power(rng, p, eps):
    cost = [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    n = int(plan_votes([p], y=[0], cost_matrix=cost, sigma=1.0, eps=eps, blockers=False)[0])
    votes = rng.multinomial(n, p, 2000)
    rejected = exact_rejects(votes[:, 0], votes[:, 1], n, eps, 0.001)
    assert 0.8 < rejected.mean() < 0.995


def test_plans_beyond_the_radius_are_infinite():
    p = [[0.8, 0.2]]
    radius = 0.5 * (ndtri(0.8) - ndtri(0.2))
    assert np.isinf(plan_votes(p, y=[0], sigma=1.0, eps=radius * 1.01))
    near = plan_votes(p, y=[0], sigma=1.0, eps=[0.5 * radius, 0.99 * radius])
    assert near.shape == (1, 2)
    assert near[0, 0] < near[0, 1] < np.inf
    assert plan_votes(p, y=[1], cost_matrix=[[0, 1], [0, 0]], sigma=1.0, eps=0.1) == 0
    assert ndtr(radius) == pytest.approx(0.8)
