"""The monitor spends one alpha over all batches; the plan is met when it is carried out."""

import numpy as np
import pytest

from smoothcs.portfolio import BudgetExceeded, PortfolioMonitor, certify_portfolio, plan_portfolio
from smoothcs.portfolio._majorant import risk_under_attack


def batch(rng, n, chance, K=10):
    costly = rng.binomial(K, chance, size=n)
    return np.stack([costly, K - costly], axis=1), np.ones(n, int)


def test_states(rng):
    monitor = PortfolioMonitor(sigma=1.0, eps=0.3, budget=0.2, alpha=0.01, window=2)
    with pytest.warns(UserWarning, match="show nothing"):
        first = monitor.update(*batch(rng, 5, 0.05))
    assert (first.state, first.left, first.look) == ("unknown", False, 1)
    states = [monitor.update(*batch(rng, 1500, 0.05)) for _ in range(3)]
    assert [s.state for s in states][1:] == ["within", "within"]
    drifted = [monitor.update(*batch(rng, 1500, 0.5)) for _ in range(2)]
    assert drifted[0].left
    assert [s.state for s in drifted] == ["exceeded", "exceeded"]
    assert not drifted[1].left
    assert monitor.status is drifted[1]
    assert drifted[1].certificate.n_inputs == 3000


def test_raises(rng):
    monitor = PortfolioMonitor(sigma=1.0, eps=0.3, budget=0.2, window=1, raises=True)
    assert monitor.update(*batch(rng, 1500, 0.05)).state == "within"
    with pytest.raises(BudgetExceeded, match="look 2") as caught:
        monitor.update(*batch(rng, 1500, 0.15))
    assert caught.value.status is monitor.status
    assert monitor.status.left
    assert monitor.update(*batch(rng, 2500, 0.05)).look == 3  # the batch counted


def test_the_shares_of_alpha_sum_to_alpha(rng):
    monitor = PortfolioMonitor(sigma=1.0, eps=0.3, budget=0.2, alpha=0.04)
    shares = []
    for _ in range(4):
        monitor.update(*batch(rng, 200, 0.05))
        shares.append(2 * monitor.status.certificate.alpha)
    np.testing.assert_allclose(shares, 0.04 / np.array([2.0, 6.0, 12.0, 20.0]))
    assert sum(shares) < 0.04


def test_a_look_is_a_certificate_of_all_inputs_so_far(rng):
    monitor = PortfolioMonitor(sigma=1.0, eps=0.3, budget=0.2, alpha=0.04)
    parts = [batch(rng, 200, 0.05), batch(rng, 300, 0.1)]
    for part in parts:
        status = monitor.update(*part)
    votes, y = (np.concatenate(both) for both in zip(*parts, strict=True))
    alone = certify_portfolio(votes, y, sigma=1.0, eps=0.3, alpha=0.04 / 12, sampling="fixed")
    assert status.certificate.risk == alone.risk


def test_costs_of_the_rows(rng):
    monitor = PortfolioMonitor(sigma=1.0, eps=0.3, budget=100.0, alpha=0.04)
    for _ in range(2):
        votes, y = batch(rng, 800, 0.05)
        costs = np.zeros((800, 2, 2))
        costs[:, 1, 0] = rng.uniform(50, 500, 800)
        status = monitor.update(votes, y, costs=costs)
    assert status.state == "within"
    assert status.certificate.largest_risk > 200


def test_a_refused_batch_is_not_added(rng):
    monitor = PortfolioMonitor(sigma=1.0, eps=0.3, budget=0.2)
    monitor.update(*batch(rng, 500, 0.05))
    with pytest.raises(ValueError, match="same number in every row"):
        monitor.update(*batch(rng, 500, 0.05, K=9))
    status = monitor.update(*batch(rng, 500, 0.05))
    assert (status.look, status.certificate.n_inputs) == (2, 1000)


def test_no_false_alarm_and_no_false_claim(rng):
    """The truth is just above the budget under attack, and below it without one."""
    truth = risk_under_attack(np.array([0.1]), 0.5)[0]
    for _ in range(4):
        monitor = PortfolioMonitor(sigma=1.0, eps=0.5, budget=0.99 * truth, alpha=0.1)
        states = {monitor.update(*batch(rng, 120, 0.1, K=3)).state for _ in range(4)}
        assert states == {"unknown"}


@pytest.mark.parametrize("bad", [{"budget": -1.0}, {"budget": np.nan}, {"eps": 0.0}, {"window": 0}])
def test_monitor_refuses(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        PortfolioMonitor(**({"sigma": 1.0, "eps": 0.3, "budget": 0.2} | bad))


@pytest.mark.parametrize("gap", [0.05, 0.02])
def test_a_plan_is_met(gap, rng):
    q = rng.beta(0.3, 4.0, 2000)
    plan = plan_portfolio(gap, sigma=1.0, eps=0.5, chances=q, n_votes=(5, 10))
    assert plan.risk == pytest.approx(risk_under_attack(q, 0.5).mean())
    assert (plan.n_votes, plan.n_inputs) in {(o.n_votes, o.n_inputs) for o in plan.options}
    for option in plan.options:
        bounds = []
        for _ in range(4):
            costly = rng.binomial(option.n_votes, rng.choice(q, option.n_inputs))
            votes = np.stack([costly, option.n_votes - costly], axis=1)
            y = np.ones(len(votes), int)
            bounds.append(certify_portfolio(votes, y, sigma=1.0, eps=0.5).risk)
        assert np.mean(bounds) - plan.risk == pytest.approx(gap, rel=0.35)


def test_a_pilot_stands_for_the_chances(rng):
    q = rng.beta(0.5, 4.0, 3000)
    known = plan_portfolio(0.03, sigma=1.0, eps=0.5, chances=q, n_votes=(10,))
    pilot = (rng.binomial(10, q), 10)
    guessed = plan_portfolio(0.03, sigma=1.0, eps=0.5, pilot=pilot, n_votes=(10,))
    assert guessed.risk == pytest.approx(known.risk, abs=0.02)
    assert guessed.n_inputs == pytest.approx(known.n_inputs, rel=0.3)


def test_a_gap_that_so_few_votes_never_reach():
    plan = plan_portfolio(1e-4, sigma=1.0, eps=1.0, chances=[0.01, 0.4], n_votes=(1,))
    assert plan.n_inputs is None
    assert plan.options[0].expected_bound > plan.risk + 1e-4


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"chances": None}, "either chances or pilot"),
        ({"pilot": ([1], 10)}, "either chances or pilot"),
        ({"chances": [0.2, 1.2]}, "chances must be"),
        ({"chances": [np.nan]}, "chances must be"),
        ({"chances": None, "pilot": ([11], 10)}, "at most 10 votes"),
        ({"gap": 0.0}, "gap"),
        ({"n_votes": (0,)}, "n_votes"),
    ],
)
def test_plan_refuses(bad, message):
    arguments = {"gap": 0.02, "sigma": 1.0, "eps": 0.5, "chances": [0.1]} | bad
    with pytest.raises(ValueError, match=message):
        plan_portfolio(arguments.pop("gap"), **arguments)


def test_a_monitor_keeps_what_it_was_given_and_refuses_a_window_with_and_without_costs():
    rng = np.random.default_rng(0)
    buffer, y = rng.multinomial(10, [0.9, 0.1], size=1500), np.zeros(1500, int)
    matrix = np.array([[0.0, 1.0], [1.0, 0.0]])
    reused, fresh = (
        PortfolioMonitor(sigma=0.5, eps=0.1, budget=0.1, cost_matrix=matrix) for _ in range(2)
    )
    for share in (0.9, 0.05):
        buffer[:] = rng.multinomial(10, [1 - share, share], size=1500)
        status, expected = reused.update(buffer, y), fresh.update(buffer.copy(), y)
        assert status.certificate.risk == expected.certificate.risk
        assert status.certificate.clean_risk > 0.4

    priced = PortfolioMonitor(sigma=0.5, eps=0.1, budget=1.0)
    priced.update(buffer, y, costs=np.full((1500, 2, 2), 50.0))
    with pytest.raises(ValueError, match="costs must come with every batch"):
        priced.update(buffer, y)
    assert priced.status.look == 1
