"""Weights of scores: counted exactly, optimal where the optimum is known, within memory."""

import tracemalloc

import numpy as np
import pytest
from scipy.special import expit, softmax
from scipy.stats import norm

from smoothcs import CostSensitiveSmoothedClassifier, sample_votes
from smoothcs.certification import certify_votes
from smoothcs.decision import WeightedVotes
from smoothcs.tuning import sample_scores, tune_decision
from smoothcs.tuning._decision import _bounds, _families
from smoothcs.tuning._frontier import STEP, Examples, kept
from smoothcs.tuning._scores import score_table
from smoothcs.votes.noise import make_key

COSTS = np.array([[0, 1, 0, 2], [8.0, 0, 1, 1], [0, 0, 0, 0], [3, 0, 0, 0]])


def noisy_scores(rng, n=120, copies=50, m=4, spread=2.0):
    """Scores of a classifier that often takes class 1 for class 0."""
    y = rng.integers(0, m, n)
    centre = 2.0 * np.eye(m)[y] + rng.standard_normal((n, m))
    centre[y == 1, 0] += 1.5
    logits = centre[:, None] + spread * rng.standard_normal((n, copies, m))
    return y, softmax(logits, axis=2).astype(np.float16)


def votes_of(scores, weights):
    answers = (scores.astype(np.float64) * weights).argmax(axis=2)
    return np.stack([np.bincount(row, minlength=scores.shape[2]) for row in answers])


def certified(scores, y, weights, costs, alpha=0.01):
    votes = votes_of(scores, weights)
    return certify_votes(
        votes, votes, sigma=0.5, alpha=alpha, y=y, cost_matrix=costs, bound="closed-form"
    )


def worst_cost(c, y, row, omega, eps):
    """The dearest answer that is not ruled out, input by input."""
    worst = np.empty(len(y))
    for i in range(len(y)):
        left = [
            row[i, j]
            for j in range(row.shape[1])
            if j == c.label[i] or not (omega[i, j] and c.radius_pair[i, j] > eps)
        ]
        worst[i] = max(left)
    return worst


@pytest.mark.parametrize("objective", ["rob_cs", "rob_cost", "bill"])
def test_the_frontier_tells_what_certification_will_say(rng, objective):
    y, scores = noisy_scores(rng)
    tuned = tune_decision(scores, y, COSTS, 0.1, sigma=0.5, alpha=0.01, objective=objective)
    assert tuned.weigh == "scores"
    assert len(tuned.frontier_weights) > 3
    row, omega = COSTS[y], COSTS[y] > 0
    for i in range(0, len(tuned.frontier_weights), 3):
        c = certified(scores, y, tuned.frontier_weights[i], COSTS)
        expected = (
            worst_cost(c, y, row, omega, 0.1) if objective == "bill" else getattr(c, objective)(0.1)
        )
        assert tuned.frontier_metric[i] == pytest.approx(np.mean(expected))
        assert tuned.frontier_accuracy[i] == pytest.approx((c.label == y).mean())
        paid = row[np.arange(len(y)), c.label].mean()
        assert tuned.frontier_clean_cost[i] == pytest.approx(paid)


@pytest.mark.parametrize("objective", ["rob_cs", "rob_cost", "bill", "cost"])
@pytest.mark.parametrize("alpha", [None, 0.01])
def test_a_pass_over_a_line_counts_what_every_point_counts(rng, objective, alpha):
    y, scores = noisy_scores(rng, n=60, copies=20)
    scores[:5, :, 2] = 0.0  # as forests say
    examples = Examples(
        y, COSTS[y], COSTS[y] > 0, rng.uniform(0.5, 2.0, 60), np.arange(60) % 3, objective,
        "accuracy",
    )  # fmt: skip
    n_targets = np.maximum(examples.omega.sum(axis=1), 1)

    def bounds(counts, t):
        return _bounds(counts, t, n=20, alpha=alpha, as_if=None)

    table = score_table(scores, examples, 48, bounds, n_targets, 0.2)
    assert 0 < table.decided.sum() < 60 * 20
    moves = np.arange(-20, 21)
    for family in _families(examples):
        for chosen in family:
            steps = rng.integers(-6, 7, 4)
            for part in (table, table.without(1), table.only(2)):
                keeps, gain = part.along(steps, chosen, moves)
                for i in range(0, len(moves), 8):
                    w = np.exp(STEP * (steps + moves[i] * chosen))
                    rows = np.isin(table.examples.fold, part.folds)
                    right = votes_of(scores[rows], w).argmax(axis=1) == y[rows]
                    weight = examples.weight[rows]
                    assert keeps[i] == pytest.approx(np.average(right, weights=weight))
                    part.known.clear()  # otherwise remembered
                    totals = part.totals(steps + moves[i] * chosen)
                    assert keeps[i] == pytest.approx(kept(part.examples, totals))
                    assert gain[i] == pytest.approx(totals[2] / part.examples.sizes()[2])


def test_scores_of_known_law_give_the_known_best_weight():
    # Calibrated probabilities, no noise: the best weight is the ratio of the costs (Elkan 2001).
    rng = np.random.default_rng(0)
    p = rng.uniform(0, 1, 20_000)
    y = (rng.uniform(size=p.size) < p).astype(int)
    scores = np.column_stack([1 - p, p])[:, None]
    tuned = tune_decision(scores, y, [[0, 1], [5, 0]], objective="cost", max_accuracy_loss=1.0)
    assert 4.2 < tuned.weights[1] / tuned.weights[0] < 6.0
    # Call it 1 where p > 1/6: the cost is int_0^1/6 5p dp + int_1/6^1 (1 - p) dp = 5/12.
    assert tuned.clean_cost == pytest.approx(tuned.metric) == pytest.approx(5 / 12, abs=0.01)
    assert tuned.baseline_clean_cost == pytest.approx(0.75, abs=0.01)
    assert tuned.accuracy_cv == pytest.approx(1 - 1 / 72 - 25 / 72, abs=0.02)


def test_two_gaussians_under_noise_give_the_known_best_weight():
    # x = +-1 along a line, noise sigma; the answer is 1 where x + d > -log(w) / 2. Inputs of class
    # 1 at z are robust at eps where z - eps > -log(w) / 2; those of class 0 stay right where
    # z < -log(w) / 2: the weight that loses 5 % of class 0 is known, and so is what it gains.
    rng = np.random.default_rng(1)
    n, sigma, eps = 3000, 0.5, 0.3
    y = np.arange(n) % 2
    z = rng.standard_normal(n) + 2 * y - 1
    p = expit(2 * (z[:, None] + sigma * rng.standard_normal((n, 400))))
    tuned = tune_decision(
        np.stack([1 - p, p], axis=2), y, [[0, 0], [1, 0]], eps, sigma=sigma, max_accuracy_loss=0.05
    )
    grid = np.exp(STEP * np.arange(49))
    cut = -np.log(grid) / 2
    truly_right = 0.5 * (norm.cdf(cut + 1) + norm.sf(cut - 1))
    allowed = truly_right >= truly_right[0] - 0.05
    best = np.flatnonzero(allowed)[-1]
    ratio = tuned.weights[1] / tuned.weights[0]
    assert abs(np.log(ratio / grid[best])) < 2.5 * STEP
    assert tuned.metric == pytest.approx(norm.sf(np.log(1 / ratio) / 2 + eps - 1), abs=0.03)
    assert tuned.metric_cv == pytest.approx(tuned.metric, abs=0.03)


def test_scores_help_where_votes_are_saturated(rng):
    # Class 1 is rare: no copy of anything is called 1, so that no weight of votes can raise it.
    y = rng.integers(0, 2, 400)
    p = np.clip(rng.normal(0.1 + 0.2 * y, 0.05, (60, 400)).T, 0.01, 0.45)
    scores = np.stack([1 - p, p], axis=2)
    options = {"eps": 0.2, "sigma": 0.5, "max_accuracy_loss": 0.05}
    by_votes = tune_decision(votes_of(scores, np.ones(2)), y, [[0, 0], [1, 0]], **options)
    by_scores = tune_decision(scores, y, [[0, 0], [1, 0]], **options)
    assert by_votes.metric == 0.0
    assert by_scores.metric > 0.9
    assert by_scores.accuracy > by_votes.accuracy
    assert by_scores.decision == by_scores.label_weights
    assert isinstance(by_votes.decision, WeightedVotes)


def test_the_target_of_a_pair_is_lowered_where_that_is_better(rng):
    # Raising class 1 alone takes inputs from class 2; lowering class 0 does not.
    n = 900
    y = np.arange(n) % 3
    logits = 3.0 * np.eye(3)[y] + 0.7 * rng.standard_normal((n, 3))
    logits[y == 1] = [1.0, 0.9, -2.0] + 0.3 * rng.standard_normal(((y == 1).sum(), 3))
    logits[y == 2] = [-2.0, 1.0, 1.1] + 0.3 * rng.standard_normal(((y == 2).sum(), 3))
    p = softmax(logits[:, None] + 0.2 * rng.standard_normal((n, 60, 3)), axis=2)
    costs = [[0, 0, 0], [1, 0, 0], [0, 0, 0]]
    tuned = tune_decision(p, y, costs, 0.2, sigma=0.5, max_accuracy_loss=0.0)
    w = tuned.weights
    assert w[0] < 0.8 * min(w[1], w[2])
    assert tuned.metric > tuned.baseline_metric + 0.3


def test_costs_of_the_examples_and_their_weights_count(rng):
    y, scores = noisy_scores(rng, n=200)
    costs = COSTS[None] * rng.uniform(0.1, 5.0, (200, 1, 1))
    amount = costs[:, 1, 0]
    options = {"eps": 0.1, "sigma": 0.5, "objective": "bill", "max_accuracy_loss": 0.1}
    own = tune_decision(scores, y, COSTS, costs=costs, **options)
    # One cost matrix, and its scale as a sample weight, is the same bill up to the mean weight.
    scaled = tune_decision(scores, y, COSTS, sample_weight=amount / 8, **options)
    assert own.baseline_metric == pytest.approx(scaled.baseline_metric * (amount / 8).mean())
    twice = tune_decision(np.concatenate([scores, scores]), np.tile(y, 2), COSTS, cv=0, **options)
    weighted = tune_decision(scores, y, COSTS, sample_weight=np.full(200, 2.0), cv=0, **options)
    assert twice.metric == pytest.approx(weighted.metric)


def test_limits_of_the_clean_cost_are_kept(rng):
    y, scores = noisy_scores(rng, n=400)
    options = {"eps": 0.1, "sigma": 0.5, "objective": "rob_cs"}
    free = tune_decision(scores, y, COSTS, max_cost_increase=1.0, **options)
    tight = free.pick(max_cost_increase=0.0)
    assert free.against == "clean_cost"
    assert tight.clean_cost_cv <= tight.baseline_clean_cost
    assert free.metric_cv >= tight.metric_cv
    assert (np.diff(free.frontier_clean_cost_cv) >= 0).all()
    cheaper = free.pick(max_cost_increase=-0.1)
    assert cheaper.clean_cost_cv <= 0.9 * cheaper.baseline_clean_cost
    with pytest.raises(ValueError, match="no weights keep max_cost_increase"):
        free.pick(max_cost_increase=-1.0)
    both = free.pick(max_cost_increase=1.0, min_accuracy=free.baseline_accuracy)
    assert both.accuracy_cv >= free.baseline_accuracy
    assert "clean cost" in repr(free)
    assert list(free.to_frame().columns[:2]) == ["clean_cost", "rob_cs"]


def test_the_same_scores_give_the_same_weights(rng):
    y, scores = noisy_scores(rng)
    one, other = (tune_decision(scores, y, COSTS, 0.1, sigma=0.5) for _ in range(2))
    np.testing.assert_array_equal(one.frontier_weights, other.frontier_weights)
    np.testing.assert_array_equal(one.frontier_metric_cv, other.frontier_metric_cv)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"votes": np.full((3, 4, 3), -0.1)}, "scores must be finite and >= 0"),
        ({"votes": np.full((3, 4, 3), np.nan)}, "scores must be finite and >= 0"),
        ({"votes": np.zeros((3, 4, 3))}, "score > 0"),
        ({"votes": np.ones((3, 4, 3), int)}, "scores must be floats"),
        ({"votes": np.ones((3, 0, 3))}, "scores must be floats of shape"),
        ({"costs": np.ones((2, 3, 3))}, "costs must have shape"),
        ({"sample_weight": [1, -1, 1]}, "sample_weight"),
        ({"max_cost_increase": -2}, "max_cost_increase"),
        ({"selection": np.ones((3, 3), int)}, "selection applies to votes"),
        ({"as_if": 0}, "as_if"),
        ({"objective": "cost", "cost_matrix": np.zeros((3, 3))}, "nothing to tune"),
    ],
)
def test_wrong_scores_are_refused_by_name(wrong, message):
    arguments = {
        "votes": np.full((3, 4, 3), 1 / 3),
        "y": [0, 1, 2],
        "cost_matrix": None,
        "eps": 0.1,
        "sigma": 0.5,
        "cv": 0,
    }
    with pytest.raises(ValueError, match=message):
        tune_decision(**(arguments | wrong))


# -- sampling -----------------------------------------------------------------------------------


def small_fit(**params):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 3)).astype(np.float32)
    y = (X[:, 0] > 0).astype(int)
    clf = CostSensitiveSmoothedClassifier(
        objective="gaussian", sigma=0.5, max_epochs=3, lr=0.02, random_state=0, device="cpu",
        **params,
    ).fit(X, y)  # fmt: skip
    return clf, X


@pytest.mark.parametrize("scale", [None, [1.0, 0.0, 2.0]])
def test_scores_are_those_of_the_copies_that_votes_count(scale):
    clf, X = small_fit(noise_scale=scale)
    key = make_key(5)
    scores = sample_scores(clf, X, 300, random_state=key)
    assert scores.dtype == np.float16
    assert scores.sum(axis=2) == pytest.approx(1.0, abs=2e-3)
    votes = sample_votes(
        clf.module_, X, 300, 0.5, random_state=key, noise_scale=scale, device="cpu"
    )
    # float16 may turn a copy on the boundary.
    assert np.abs(votes_of(scores, np.ones(2)) - votes).max() <= 1
    clf.set_params(vote_batch_size=7)
    again = sample_scores(clf, X, 300, random_state=key)
    np.testing.assert_allclose(again, scores, atol=1e-3)
    other = sample_scores(clf, X, 300, purpose="selection", random_state=key)
    assert (other != scores).mean() > 0.5
    with pytest.raises(ValueError, match="purpose must be one of"):
        sample_scores(clf, X, 10, purpose="portfolio")


def test_weighted_votes_of_the_scores_are_those_of_the_weighted_estimator():
    clf, X = small_fit(n_prediction=300)
    scores = sample_scores(clf, X, 300, purpose="prediction", random_state=clf.vote_key_)
    clf.set_params(decision={1: 3.0})
    shares = clf.predict_proba(X)
    np.testing.assert_allclose(votes_of(scores, np.array([1.0, 3.0])) / 300, shares, atol=0.004)


def test_tuning_ten_thousand_inputs_stays_under_500_mb(rng):
    n, copies, m = 10_000, 500, 10
    y = rng.integers(0, m, n)
    tracemalloc.start()
    scores = np.empty((n, copies, m), dtype=np.float16)
    for i in range(n):  # nothing is decided whatever the weights, which is the worst case
        scores[i] = rng.uniform(0.05, 0.15, (copies, m))
    examples = Examples(
        y, np.ones((n, m)), np.ones((n, m), bool), np.ones(n), np.arange(n) % 5, "bill", "accuracy"
    )
    table = score_table(
        scores, examples, 48,
        lambda counts, t: _bounds(counts, t, n=copies, alpha=0.001, as_if=10_000),
        np.full(n, m - 1), 1.0,
    )  # fmt: skip
    assert table.scores.shape == (m, n * copies)
    table.along(np.zeros(m, dtype=int), np.arange(m) == 3, np.arange(-48, 49))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500e6, peak
