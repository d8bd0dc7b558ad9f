"""Weights found on stored votes keep their promises."""

import numpy as np
import pytest

from smoothcs.certification import certify_votes
from smoothcs.decision import WeightedVotes, weighted_radius
from smoothcs.tuning import tune_decision
from smoothcs.tuning._decision import _bounds, _families
from smoothcs.tuning._frontier import STEP, Examples, kept
from smoothcs.tuning._votes import vote_table


def certify_weighted_votes(selection, estimation, *, weights, **options):
    return certify_votes(selection, estimation, decision=WeightedVotes(weights), **options)


def validation_set(rng, n=1500, m=4, n_votes=300):
    """Votes of a classifier that often takes class 1, the sensitive one, for class 0."""
    y = rng.integers(0, m, n)
    concentration = np.full((n, m), 0.25)
    concentration[np.arange(n), y] = 2.5
    concentration[y == 1, 0] += 1.2
    h = np.array([rng.dirichlet(row) for row in concentration])
    return y, rng.multinomial(100, h), rng.multinomial(n_votes, h)


COSTS = np.array([[0, 0, 0, 0], [8.0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize("objective", ["rob_cs", "rob_cost"])
def test_the_frontier_tells_what_certification_will_say(rng, objective):
    y, selection, votes = validation_set(rng, n=500)
    options = {"sigma": 0.5, "alpha": 0.01, "cost_matrix": COSTS, "bound": "closed-form"}
    plain = certify_votes(selection, votes, y=y, **options)
    tuned = tune_decision(plain, eps=0.2, objective=objective)
    for i in range(0, len(tuned.frontier_weights), 7):
        c = certify_weighted_votes(
            selection, votes, y=y, weights=tuned.frontier_weights[i], **options
        )
        assert getattr(c, objective)(0.2) == pytest.approx(tuned.frontier_metric[i])
        assert (c.label == y).mean() == pytest.approx(tuned.frontier_accuracy[i])
    assert tuned.baseline_metric == pytest.approx(getattr(plain, objective)(0.2))


def examples_of(y, costs, objective, against="accuracy", fold=None, weight=None):
    n = len(y)
    return Examples(
        y, costs[y], costs[y] > 0, np.ones(n) if weight is None else weight,
        np.zeros(n, dtype=int) if fold is None else fold, objective, against,
    )  # fmt: skip


@pytest.mark.parametrize("objective", ["rob_cs", "rob_cost", "bill", "cost"])
@pytest.mark.parametrize("against", ["accuracy", "clean_cost"])
@pytest.mark.parametrize("alpha", [None, 0.01])
def test_a_line_search_agrees_with_evaluating_every_point(rng, objective, against, alpha):
    y, _, votes = validation_set(rng, n=300, n_votes=60)
    costs = COSTS + np.diag([0.0, 0, 2, 0])[::-1]
    np.fill_diagonal(costs, 0.0)
    examples = examples_of(y, costs, objective, against, weight=rng.uniform(0.5, 2.0, 300))
    n_targets = np.maximum(examples.omega.sum(axis=1, keepdims=True), 1)
    table = vote_table(
        votes, *_bounds(votes, n_targets, n=np.full((300, 1), 60), alpha=alpha, as_if=None),
        examples, 0.2,
    )  # fmt: skip
    moves = np.arange(-20, 21)
    for family in _families(examples):
        for chosen in family:
            steps = rng.integers(-6, 7, 4)
            keeps, gain = table.along(steps, chosen, moves)
            for i, move in enumerate(moves):
                totals = table.totals(steps + move * chosen)
                assert keeps[i] == pytest.approx(kept(examples, totals))
                assert gain[i] == pytest.approx(totals[2] / examples.sizes()[2])


def test_two_classes_reach_the_best_of_all_weights(rng):
    y = rng.integers(0, 2, 800)
    p = np.clip(rng.beta(2 + 2 * y, 3.0), 0.01, 0.99)
    votes = rng.multinomial(200, np.column_stack([1 - p, p]))
    costs = [[0, 0], [1, 0]]
    tuned = tune_decision(votes, y, costs, 0.1, sigma=0.5, cv=0, max_accuracy_loss=0.02)
    best = 0.0
    h = (votes + 0.5) / 201
    for step in range(-48, 49):
        w = np.exp(STEP * np.array([0.0, step]))
        label = WeightedVotes(w).winner(votes)
        if (label == y).mean() >= tuned.baseline_accuracy - 0.02 - 1e-12:
            radius = weighted_radius(h[:, 1], h[:, 0], w[1], w[0], sigma=0.5)
            best = max(best, ((radius > 0.1) & (label == 1))[y == 1].mean())
    assert tuned.metric == pytest.approx(best)
    assert tuned.accuracy >= tuned.baseline_accuracy - 0.02
    assert best > tuned.baseline_metric


def test_tuning_keeps_its_promise_on_fresh_inputs():
    new_y, _, new_votes = validation_set(np.random.default_rng(99), n=10_000)
    plain = (new_votes.argmax(axis=1) == new_y).mean()
    h, rows = new_votes / 300, new_y == 1
    lost, surprise = [], []
    for seed in range(5):
        y, _, votes = validation_set(np.random.default_rng(seed))
        tuned = tune_decision(votes, y, COSTS, 0.2, sigma=0.5, max_accuracy_loss=0.01)
        assert tuned.accuracy_cv >= tuned.baseline_accuracy - 0.01
        assert tuned.metric_cv > 1.3 * tuned.baseline_metric
        w = tuned.weights
        label = WeightedVotes(w).winner(new_votes)
        radius = weighted_radius(
            h[rows, 1][:, None], h[rows][:, [0, 2, 3]], w[1], w[[0, 2, 3]], sigma=0.5
        )
        robust = (radius > 0.2).all(axis=1) & (label[rows] == 1)
        surprise.append(robust.mean() - tuned.metric_cv)
        lost.append(plain - (label == new_y).mean())
    # One validation set of 1500 knows a difference in accuracy to about one point.
    assert np.mean(lost) < 0.018
    assert abs(np.mean(surprise)) < 0.03


def test_a_class_without_votes_is_not_taken_for_one_that_never_gets_any(rng):
    # Hundred votes for class 0 do not tell that it withstands every weight of class 1.
    y = np.repeat([0, 1], 300)
    p = np.concatenate([np.full(300, 0.0005), rng.uniform(0.55, 0.95, 300)])
    h = np.column_stack([1 - p, p])
    tuned = tune_decision(
        rng.multinomial(100, h), y, [[0, 1], [1, 0]], 1.0, sigma=0.5, max_accuracy_loss=0.05
    )

    def truly_robust(w):
        own, other = h[np.arange(600), y], h[np.arange(600), 1 - y]
        return (weighted_radius(own, other, w[y], w[1 - y], sigma=0.5) > 1.0).mean()

    # Shares of 0 and 1 chose a weight of 45, said 0.97, and lost all of class 0.
    assert tuned.weights[1] > tuned.weights[0]
    assert truly_robust(tuned.weights) > truly_robust(np.ones(2)) == 0.5
    assert tuned.metric_cv < truly_robust(tuned.weights) + 0.03


def test_a_bolder_choice_from_the_same_frontier(rng):
    y, _, votes = validation_set(rng, n=600)
    tuned = tune_decision(votes, y, COSTS, 0.2, sigma=0.5)
    bold = tuned.pick(max_accuracy_loss=0.1)
    assert bold.metric_cv >= tuned.metric_cv
    assert bold.accuracy_cv >= tuned.baseline_accuracy - 0.1
    assert tuned.pick(max_accuracy_loss=0.01).weights.tolist() == tuned.weights.tolist()
    floor = tuned.pick(min_accuracy=tuned.baseline_accuracy - 0.05)
    assert floor.accuracy_cv >= tuned.baseline_accuracy - 0.05
    with pytest.raises(ValueError, match="min_accuracy"):
        tuned.pick(min_accuracy=0.9999)
    assert (np.diff(tuned.frontier_metric_cv) > 0).all()
    assert (np.diff(tuned.frontier_accuracy_cv) <= 0).all()
    assert tuned.label_weights == dict(enumerate(tuned.weights.tolist()))
    assert list(tuned.to_frame().columns[:2]) == ["accuracy", "rob_cs"]


def test_tuning_is_deterministic_and_keeps_the_ratio(rng):
    y, _, votes = validation_set(rng, n=400)
    one, other = (tune_decision(votes, y, COSTS, 0.2, sigma=0.5, max_ratio=4.0) for _ in range(2))
    np.testing.assert_array_equal(one.frontier_weights, other.frontier_weights)
    np.testing.assert_array_equal(one.frontier_metric_cv, other.frontier_metric_cv)
    ratio = one.frontier_weights.max(axis=1) / one.frontier_weights.min(axis=1)
    assert ratio.max() <= 4.0 + 1e-9


def test_where_no_weights_help_the_plurality_vote_stays():
    votes = np.array([[90, 10, 0], [10, 90, 0], [0, 10, 90]] * 20)
    tuned = tune_decision(votes, [0, 1, 2] * 20, [[0, 1, 0], [0, 0, 0], [0, 0, 0]], 0.1, sigma=0.5)
    assert tuned.weights.tolist() == [1, 1, 1]
    assert tuned.metric == tuned.baseline_metric == 1.0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"y": None}, "y must be given"),
        ({"y": [0, 1]}, "y must hold"),
        ({"sigma": None}, "sigma"),
        ({"eps": None}, "eps"),
        ({"eps": 0.0}, "eps"),
        ({"objective": "accuracy"}, "objective"),
        ({"cost_matrix": np.zeros((3, 3))}, "sensitive"),
        ({"max_accuracy_loss": 2.0}, "max_accuracy_loss"),
        ({"min_accuracy": 1.0, "y": [1, 1, 0]}, "min_accuracy"),
        ({"cv": -1}, "cv"),
        ({"selection": [[1, 2]]}, "selection"),
    ],
)
def test_wrong_tuning_input_is_refused_by_name(wrong, message):
    arguments = {
        "votes": [[9, 1, 0], [1, 9, 0], [0, 1, 9]],
        "y": [0, 1, 2],
        "cost_matrix": None,
        "eps": 0.1,
        "sigma": 0.5,
        "cv": 0,
    }
    with pytest.raises(ValueError, match=message):
        tune_decision(**(arguments | wrong))
