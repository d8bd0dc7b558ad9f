"""Portfolio certificates of an estimator, and the predictor that they are about."""

import joblib
import numpy as np
import pytest
import torch
from scipy.special import ndtr
from scipy.stats import binomtest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from torch import nn
from torch.utils.data import TensorDataset

import smoothcs
from smoothcs import CostSensitiveSmoothedClassifier, WeightedVotes
from smoothcs._estimator._portfolio import attacked_risk
from smoothcs.portfolio import PortfolioMonitor
from smoothcs.votes import VotesInterrupted, sample_votes

SIGMA, EPS = 0.5, 0.25
N = 1500


class HalfSpace(nn.Module):
    """Class 1 where the first coordinate is positive; its logits are 0 and that coordinate."""

    def forward(self, x):
        return torch.stack([torch.zeros(len(x)), x[:, 0]], dim=1)


def wrap(module=None, classes=2, **params):
    params = {"sigma": SIGMA, "random_state": 0, "device": "cpu", "n_estimation": 100, **params}
    module = HalfSpace() if module is None else module
    return CostSensitiveSmoothedClassifier.from_module(module, classes=classes, **params)


def inputs(n=N, seed=0):
    return np.random.default_rng(seed).normal(1.0, 0.7, size=(n, 2)).astype(np.float32)


def worst_risk(X, eps=EPS):
    """True worst-case chance of answering 0: the attacker moves straight to the plane."""
    return ndtr((-X[:, 0] + eps) / SIGMA).mean()


X, Y = inputs(), np.ones(N, int)


# The predictor


def test_one_draw_answers_have_the_law_of_the_noise():
    clf = wrap(classes=["no", "yes"])
    far = np.tile(np.float32([[0.3, 0.0]]), (4000, 1))
    yes = np.count_nonzero(clf.predict_one_draw(far) == "yes")
    assert binomtest(yes, 4000, ndtr(0.3 / SIGMA)).pvalue > 1e-4


def test_every_call_draws_fresh_noise_whatever_random_state():
    clf = wrap(random_state=0)
    close = np.zeros((64, 2), np.float32)
    answers = {clf.predict_one_draw(close).tobytes() for _ in range(3)}
    assert len(answers) == 3
    again = wrap(random_state=0).predict_one_draw(close).tobytes()
    assert again not in answers


def test_one_draw_never_uses_the_key_of_certificates(monkeypatch):
    clf = wrap()
    keys = []

    def spy(*args, random_state, **options):
        keys.append(random_state)
        return sample_votes(*args, random_state=random_state, **options)

    monkeypatch.setattr("smoothcs._estimator._voting.sample_votes", spy)
    clf.predict_one_draw(X[:3])
    clf.portfolio_votes(X[:3], 5)
    clf.certify_portfolio(X, Y, EPS, n_votes=2)
    assert keys == [None, None, clf.vote_key_]


def test_decision_acts_on_the_single_copy():
    far = np.full((400, 2), -0.4, np.float32)
    plain, weighted = (wrap(decision=d).predict_one_draw(far).mean() for d in (None, [1.0, 50.0]))
    assert weighted > plain + 0.3
    # One vote has the same winner whatever its weight.
    votes = wrap(decision=WeightedVotes([1.0, 50.0])).predict_one_draw(far).mean()
    assert abs(votes - plain) < 0.15


def test_costs_of_each_example_decide_the_single_copy():
    costs = np.tile([[0.0, 1.0], [1.0, 0.0]], (300, 1, 1))
    costs[::2, 1, 0] = 100.0  # a 1 that is called 0 is dear in every other row
    clf = wrap(decision="min-cost")
    answers = clf.predict_one_draw(np.full((300, 2), -1.0, np.float32), costs)
    assert answers[::2].mean() > 0.9
    assert answers[1::2].mean() < 0.2


def test_no_noise_where_the_scale_is_zero():
    clf = wrap(noise_scale=[0.0, 1.0])
    assert set(clf.predict_one_draw(np.full((200, 2), 0.01, np.float32))) == {1}


# The certificate


def test_bound_holds_and_is_close_for_a_half_space():
    certificate = wrap().certify_portfolio(X, Y, [EPS, 2 * EPS], sampling="fixed", alpha=0.01)
    truth = np.array([worst_risk(X), worst_risk(X, 2 * EPS)])
    assert np.all(certificate.risk >= truth)
    assert np.all(certificate.risk <= truth + 0.1)
    np.testing.assert_array_equal(certificate.eps, [EPS, 2 * EPS])
    assert certificate.n_votes == 10


def test_failures_are_within_alpha():
    alpha, runs = 0.2, 200
    truth = worst_risk(X[:60])
    failures = 0
    for seed in range(runs):
        clf = wrap(random_state=seed)
        certificate = clf.certify_portfolio(
            X[:60], Y[:60], EPS, n_votes=3, alpha=alpha, sampling="fixed"
        )
        failures += certificate.risk < truth
    assert binomtest(failures, runs, alpha, alternative="greater").pvalue > 1e-3


def test_repeated_rows_have_independent_votes():
    same = np.zeros((600, 2), np.float32)
    votes = wrap()._draw(same)(10, purpose="portfolio")
    counts = votes[:, 0]
    # Binomial(10, 1/2) has variance 2.5; votes keyed by content alone have 0.
    assert 2.0 < counts.var() < 3.1
    assert abs(np.corrcoef(counts[:-1], counts[1:])[0, 1]) < 0.2
    assert len(np.unique(wrap()._draw(same)(10, purpose="estimation"), axis=0)) == 1


def test_shards_and_batches_do_not_change_the_votes():
    same = np.zeros((40, 2), np.float32)
    expected = wrap()._draw(same)(20, purpose="portfolio")
    for params in ({"vote_batch_size": 7}, {"n_jobs": 2}):
        with joblib.parallel_config(backend="threading"):  # processes take seconds to start
            votes = wrap(**params)._draw(same)(20, purpose="portfolio")
        np.testing.assert_array_equal(votes, expected)


def test_noise_scale_changes_the_units():
    half = wrap(noise_scale=[0.5, 1.0]).certify_portfolio(X * [0.5, 1.0], Y, EPS, sampling="fixed")
    whole = wrap(noise_scale=[1.0, 1.0]).certify_portfolio(X, Y, EPS, sampling="fixed")
    assert abs(half.risk - whole.risk) < 0.04
    assert half.risk >= worst_risk(X)


def test_costs_of_each_example_are_money():
    costs = np.zeros((N, 2, 2))
    costs[:, 0, 1] = 1.0
    costs[:, 1, 0] = np.linspace(1, 9, N)
    clf = wrap()
    certificate = clf.certify_portfolio(X, Y, EPS, costs=costs, max_cost=10, n_votes=5)
    truth = (costs[:, 1, 0] * ndtr((EPS - X[:, 0]) / SIGMA)).mean()
    assert truth <= certificate.risk <= truth + 1
    with pytest.raises(ValueError, match="max_cost"):
        clf.certify_portfolio(X, Y, EPS, costs=costs)
    with pytest.raises(TypeError, match="cost_matrix and costs"):
        clf.certify_portfolio(X, Y, EPS, costs=costs, cost_matrix=[[0, 1], [1, 0]])


@pytest.mark.parametrize("decision", [None, "argmax", {1: 3.0}, "min-cost", WeightedVotes([1, 3])])
def test_every_decision_is_certified_as_it_predicts(decision):
    clf = wrap(decision=decision)
    certificate = clf.certify_portfolio(X, Y, EPS, n_votes=5)
    errors = np.mean(clf.predict_one_draw(X) != Y)
    assert abs(errors - certificate.clean_risk) < 0.05
    assert errors < certificate.risk < 0.5


def test_functions_datasets_and_pipelines():
    clf = wrap(lambda x: (x[:, 0] > 0).astype(int))
    from_array = clf.certify_portfolio(X, Y, EPS, n_votes=4)
    data = TensorDataset(torch.tensor(X), torch.tensor(Y))
    assert clf.certify_portfolio(data, eps=EPS, n_votes=4).risk == from_array.risk
    model = make_pipeline(FunctionTransformer(), clf)
    assert smoothcs.certify_portfolio(model, X, Y, EPS, n_votes=4).risk == from_array.risk
    assert smoothcs.predict_one_draw(model, X[:4]).shape == (4,)
    with pytest.raises(TypeError, match="certify_portfolio"):
        smoothcs.certify_portfolio(nn.Linear(2, 2), X, Y, EPS)


def test_a_killed_run_goes_on_to_the_same_bound(tmp_path):
    path = tmp_path / "votes.jsonl"
    repeated, y = np.tile(X[:5], (60, 1)), Y[:300]
    expected = wrap().certify_portfolio(repeated, y, EPS)
    wrap().certify_portfolio(repeated, y, EPS, resume_from=path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:100]))
    certificate = wrap().certify_portfolio(repeated, y, EPS, resume_from=path)
    assert certificate.risk == expected.risk
    with pytest.raises(ValueError, match="another n"):
        wrap().certify_portfolio(repeated, y, EPS, n_votes=5, resume_from=path)


def test_an_interruption_leaves_no_certificate():
    calls = []

    def module(x):
        calls.append(len(x))
        if len(calls) > 3:
            raise KeyboardInterrupt
        return (x[:, 0] > 0).astype(int)

    with pytest.raises(VotesInterrupted):
        wrap(module, vote_batch_size=32).certify_portfolio(X, Y, EPS)


def test_batches_for_a_monitor_have_noise_of_their_own():
    clf = wrap()
    monitor = PortfolioMonitor(sigma=SIGMA, eps=EPS, budget=0.5)
    first, second = (clf.portfolio_votes(X, 3) for _ in range(2))
    assert np.any(first != second)
    monitor.update(first, Y)
    assert monitor.update(second, Y).state == "within"


# Attack


def test_attack_reaches_the_truth_of_a_half_space_and_stays_below_the_bound():
    clf = wrap()
    reached = attacked_risk(clf, X, Y, [EPS])
    certificate = clf.certify_portfolio(X, Y, EPS, sampling="fixed")
    assert abs(reached[0] - worst_risk(X)) < 0.02
    assert reached[0] < certificate.risk


# Bad input


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"n_votes": 0}, ValueError, "n_votes"),
        ({"n_votes": 101}, ValueError, "n_votes"),
        ({"n_votes": 2.5}, TypeError, "n_votes"),
        ({"eps": 0.0}, ValueError, "eps"),
        ({"eps": [0.1, -1.0]}, ValueError, "eps"),
        ({"eps": []}, ValueError, "eps"),
        ({"eps": float("nan")}, ValueError, "eps"),
        ({"alpha": 0.0}, ValueError, "alpha"),
        ({"sampling": "stratified"}, ValueError, "sampling"),
        ({"y": [2] * N}, ValueError, "labels that fit never saw"),
        ({"y": [1]}, ValueError, "y has 1 labels"),
        ({"y": None}, ValueError, "y"),
        ({"costs": np.ones((N, 2))}, ValueError, "costs"),
    ],
)
def test_bad_input_is_refused_before_anything_is_drawn(options, error, match):
    def never(x):
        raise AssertionError("drawn")

    arguments = {"y": Y, "eps": EPS, **options}
    with pytest.raises(error, match=match):
        wrap(never).certify_portfolio(X, **arguments)


def test_too_few_inputs_say_nothing_and_how_many_would():
    with pytest.warns(UserWarning, match=r"\d+ inputs would bring it to half"):
        certificate = wrap().certify_portfolio(X[:4], Y[:4], EPS)
    assert certificate.risk == 1.0
