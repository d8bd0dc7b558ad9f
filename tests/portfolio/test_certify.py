"""Portfolio certificates: validity by enumeration and simulation, tightness, bad input."""

from dataclasses import FrozenInstanceError
from itertools import product

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import binom, multinomial

from smoothcs.cost import CostMatrix
from smoothcs.portfolio import _bound, _majorant, certify_portfolio
from smoothcs.portfolio._bound import read_rows, risk_bounds
from smoothcs.portfolio._majorant import lowest_excess, risk_under_attack

SEED_ONE = [[0, 0], [1, 0]]


def two_class(costly, K):
    """Votes of inputs of class 1, `costly` of which say 0."""
    return np.stack([costly, K - np.asarray(costly)], axis=1)


def certify(costly, K, **kwargs):
    kwargs = {"sigma": 1.0, "eps": 0.5, "cost_matrix": SEED_ONE} | kwargs
    return certify_portfolio(two_class(costly, K), np.ones(len(costly), int), **kwargs)


# -- validity -------------------------------------------------------------------------------------


@pytest.mark.parametrize("chances", [[0.0, 0.0, 0.5], [0.3] * 3, [0.05, 0.5, 0.9], [0.9] * 3])
@pytest.mark.parametrize("K", [1, 3])
def test_a_fixed_list_by_enumeration(chances, K):
    chances = np.array(chances)
    etas = np.array([0.4, 1.0])
    truth = np.array([risk_under_attack(chances, eta).mean() for eta in etas])
    for alpha in (0.2, 0.6):
        fails = np.zeros(2)
        together = 0.0
        for k in product(range(K + 1), repeat=3):
            weight = np.prod(binom.pmf(k, K, chances))
            rows = read_rows(two_class(np.array(k), K), np.tile([1.0, 0.0], (3, 1)), 1.0)
            wrong = risk_bounds(rows, etas, alpha, "fixed") < truth
            fails += weight * wrong
            together += weight * wrong.any()
        assert together <= alpha


def hostile(n, K, eta):
    """Mixtures of chances: (name, values, probabilities)."""
    yield "points at 0, 1, 1/K", [0.0, 1.0, 1 / K], [0.5, 0.1, 0.4]
    yield "rare and catastrophic", [0.0, 0.95], [1 - 1 / n, 1 / n]
    yield "all alike", [0.5 / K], [1.0]
    # Where the majorant for these counts touches phi, nothing is lost to the programme.
    weights = np.diff(np.linspace(0, 1, K + 2) ** 0.3)
    u = _bound.majorant_of(weights, n, eta)
    touching = np.flatnonzero(lowest_excess(u, eta) < 1e-4)
    points = np.unique(ndtr(_majorant._ENDS[touching]))[:: max(1, len(touching) // 3)]
    yield "contact points", points, np.full(len(points), 1 / len(points))


@pytest.mark.slow
@pytest.mark.parametrize("sampling", ["population", "fixed"])
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_hostile_portfolios(sampling, alpha, rng):
    n, K, eta, runs = 30, 2, 1.0, 120
    for name, values, chances in hostile(n, K, eta):
        values = np.asarray(values, float)
        q = rng.choice(values, size=n, p=chances)
        truth = risk_under_attack(values, eta) @ np.asarray(chances)
        fails = 0
        for _ in range(runs):
            if sampling == "population":
                q = rng.choice(values, size=n, p=chances)
            else:
                truth = risk_under_attack(q, eta).mean()
            rows = read_rows(two_class(rng.binomial(K, q), K), np.tile([1.0, 0.0], (n, 1)), 1.0)
            fails += risk_bounds(rows, np.array([eta]), alpha, sampling)[0] < truth - 1e-12
        limit = runs * alpha + 3 * np.sqrt(runs * alpha * (1 - alpha))
        assert fails <= limit, (name, fails)


def test_the_simulation_would_notice(rng, monkeypatch):
    """With phi(k / K) for a majorant (the plug-in estimate) the bounds fail."""
    n, K, eta = 400, 2, 1.0
    monkeypatch.setattr(
        _bound,
        "cheapest_majorant",
        lambda weights, spread, eta, cap: risk_under_attack(np.linspace(0, 1, len(weights)), eta),
    )
    q = np.full(n, 0.25)
    truth = risk_under_attack(q, eta).mean()
    fails = 0
    for _ in range(20):
        rows = read_rows(two_class(rng.binomial(K, q), K), np.tile([1.0, 0.0], (n, 1)), 1.0)
        fails += risk_bounds(rows, np.array([eta]), 0.05, "population")[0] < truth
    assert fails == 20


@pytest.mark.parametrize("prices", [[0.0, 0.1, 1.0], [0.2, 0.2, 0.6], [1.0, 0.0, 0.0]])
def test_a_row_with_several_prices_is_paid_for(prices):
    """E[Y] >= the worst expected cost, which half-spaces attain, by enumeration of the votes."""
    K, eta = 3, 0.8
    for answers in ([0.7, 0.2, 0.1], [0.05, 0.05, 0.9], [0.0, 1.0, 0.0]):
        expected = 0.0
        for votes in product(range(K + 1), repeat=3):
            if sum(votes) == K:
                rows = read_rows(np.array([votes]), np.array([prices]), 1.0)
                value = _bound._upper_values(rows, eta)[0]
                expected += multinomial.pmf(votes, K, answers) * value
        # The classifier on the line that answers by half-spaces, the dearest answers outermost.
        order = np.argsort(prices)[::-1]
        edges = np.cumsum(np.array(answers)[order])[:-1]
        at_shift = np.diff(np.concatenate([[0.0], ndtr(ndtri(edges) + eta), [1.0]]))
        assert expected >= at_shift @ np.array(prices)[order]


def test_prices_of_the_row_itself(rng):
    """Priced portfolios against the truth; the excess is small."""
    n, K = 4000, 10
    price = np.minimum(rng.lognormal(0.0, 1.0, n), 10.0)
    q = rng.beta(0.3, 4.0, n) * price / 10  # dearer rows are worse
    costs = np.zeros((n, 2, 2))
    costs[:, 1, 0] = price
    truth = np.mean(price * risk_under_attack(q, 0.5))
    for sampling in ("fixed", "population"):
        certificate = certify(
            rng.binomial(K, q), K, cost_matrix=None, costs=costs, max_cost=10.0, sampling=sampling
        )
        assert truth < certificate.risk < 1.5 * truth
        assert certificate.risk < 0.8 * certificate.one_vote_risk
        low, high = certificate.clean_risk_interval
        assert low < np.mean(price * q) < high


def test_a_linear_classifier_under_its_worst_attack(rng):
    """Half-spaces attain the bound of one row, so an attack shows the whole looseness."""
    n, K, sigma, eps = 5000, 10, 0.5, 0.3
    margin = rng.normal(0.8, 0.6, n)  # distance to the costly side
    noise = sigma * rng.normal(size=(n, K))
    costly = (margin[:, None] + noise < 0).sum(axis=1)
    certificate = certify(costly, K, sigma=sigma, eps=eps)
    attacked = np.mean(margin - eps + sigma * rng.normal(size=n) < 0)
    exact = ndtr((eps - margin) / sigma).mean()
    assert attacked - 0.03 < exact < certificate.risk < exact + 0.05


# -- tightness ------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", ["population", "fixed"])
def test_ten_votes_are_nearly_as_good_as_knowing_the_chances(sampling, rng):
    q = rng.beta(0.3, 4.0, 10_000)
    truth = risk_under_attack(q, 0.5).mean()
    certificate = certify(rng.binomial(10, q), 10, sampling=sampling)
    assert truth < certificate.risk < truth + 0.02
    assert certificate.one_vote_risk > truth + 0.04


# -- what the certificate says --------------------------------------------------------------------


@pytest.fixture(scope="module")
def three_classes():
    rng = np.random.default_rng(3)
    y = rng.integers(3, size=3000)
    p = np.full((3000, 3), 0.1)
    p[np.arange(3000), y] = 0.8
    return rng.multinomial(8, p), y


def test_by_class(three_classes):
    votes, y = three_classes
    C = [[0, 1, 4], [2, 0, 0], [0, 0, 0]]
    certificate = certify_portfolio(votes, y, sigma=1.0, eps=[0.5, 0.2], cost_matrix=C)
    assert certificate.risk_by_class.shape == (2, 3)
    np.testing.assert_array_equal(certificate.risk_by_class[:, 2], 0.0)  # nothing costs anything
    only = [[0, 0, 0], C[1], [0, 0, 0]]
    own = y == 1
    alone = certify_portfolio(votes[own], y[own], sigma=1.0, eps=[0.5, 0.2], cost_matrix=only)
    np.testing.assert_array_equal(alone.risk_by_class[:, 1], alone.risk)
    np.testing.assert_allclose(alone.risk, certificate.risk_by_class[:, 1], rtol=0.1)
    assert np.isnan(alone.risk_by_class[:, 0]).all()
    expected = np.mean((votes * np.array(C)[y]).sum(axis=1)) / 8
    assert certificate.clean_risk == pytest.approx(expected)
    assert certificate.risk[0] > certificate.risk[1] > expected  # the larger eps came first


def test_several_eps_hold_together_and_rise(three_classes):
    votes, y = three_classes
    eps = np.array([0.05, 0.4, 1.0])
    many = certify_portfolio(votes, y, sigma=1.0, eps=eps)
    assert np.all(np.diff(many.risk) >= 0)
    one = certify_portfolio(votes, y, sigma=1.0, eps=float(eps[-1]))
    assert isinstance(one.risk, float)
    assert one.risk < many.risk[-1]  # alpha is divided
    share = certify_portfolio(votes, y, sigma=1.0, eps=float(eps[-1]), alpha=0.001 / 3)
    assert share.risk == pytest.approx(many.risk[-1], rel=1e-9)


def test_units(three_classes):
    votes, y = three_classes
    small = certify_portfolio(votes, y, sigma=1.0, eps=0.5, cost_matrix=np.ones((3, 3)) - np.eye(3))
    large = certify_portfolio(votes, y, sigma=4.0, eps=2.0, cost_matrix=70 - 70 * np.eye(3))
    assert large.risk == pytest.approx(70 * small.risk, rel=1e-9)
    same = certify_portfolio(votes, y, sigma=1.0, eps=0.5)
    assert same.risk == small.risk


def test_costs_per_row_that_equal_the_matrix(three_classes):
    votes, y = three_classes
    C = np.array([[0, 1, 4], [2, 0, 0], [0, 3, 0.0]])
    by_matrix = certify_portfolio(votes, y, sigma=1.0, eps=0.5, cost_matrix=C)
    by_row = certify_portfolio(
        votes, y, sigma=1.0, eps=0.5, costs=np.tile(C, (len(y), 1, 1)), max_cost=4.0
    )
    assert by_row.risk == by_matrix.risk
    assert by_row.clean_risk_interval == by_matrix.clean_risk_interval


def test_a_price_that_every_answer_has_is_paid_in_full(three_classes):
    votes, y = three_classes
    costs = np.full((len(y), 3, 3), 2.0)
    certificate = certify_portfolio(votes, y, sigma=1.0, eps=3.0, costs=costs, sampling="fixed")
    assert certificate.risk == pytest.approx(2.0)
    assert certificate.clean_risk == pytest.approx(2.0)


def test_labels(three_classes):
    votes, y = three_classes
    names = np.array(["cat", "dog", "fox"])
    cost = CostMatrix.seedwise("cat", classes=["fox", "dog", "cat"])
    named = certify_portfolio(votes, names[y], sigma=1.0, eps=0.5, cost_matrix=cost, classes=names)
    plain = certify_portfolio(
        votes, y, sigma=1.0, eps=0.5, cost_matrix=[[0, 1, 1], [0, 0, 0], [0, 0, 0]]
    )
    assert named.risk == plain.risk
    frame = named.to_frame()
    assert list(frame.columns) == [
        "eps",
        "risk",
        "one_vote_risk",
        "risk_cat",
        "risk_dog",
        "risk_fox",
    ]
    assert frame["risk"][0] == named.risk


def test_repr_rounds_up(three_classes):
    votes, y = three_classes
    certificate = certify_portfolio(votes, y, sigma=1.0, eps=[0.2, 0.5])
    text = repr(certificate)
    assert "3000 inputs, 8 votes each" in text
    shown = [float(part.split()[0]) for part in text.split("at most ")[1:]]
    assert np.all(shown >= certificate.risk)
    assert np.all(shown <= certificate.risk * 1.002)
    with pytest.raises(FrozenInstanceError):
        certificate.risk = 0.0


def test_one_vote_uses_one_of_the_votes(three_classes):
    votes, y = three_classes
    single = (votes == votes.max(axis=1, keepdims=True)).astype(int)
    single[single.cumsum(axis=1) > 1] = 0
    certificate = certify_portfolio(single, y, sigma=1.0, eps=0.5)
    assert certificate.one_vote_risk == certificate.risk


def test_the_same_votes_give_the_same_certificate(three_classes):
    votes, y = three_classes
    a, b = (certify_portfolio(votes, y, sigma=1.0, eps=0.5) for _ in range(2))
    assert a.risk == b.risk
    assert a.one_vote_risk == b.one_vote_risk


# -- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"votes": [[3, 1], [2, 1]]}, ValueError, "row 0 holds 4 and row 1 holds 3"),
        ({"votes": [[3, 1], [0, 0]]}, ValueError, "votes must sum to the same number"),
        ({"votes": [[0, 0], [0, 0]]}, ValueError, "from 1 to 100 votes per row; got 0"),
        ({"votes": [[200, 0], [0, 200]]}, ValueError, "got 200"),
        ({"votes": np.zeros((0, 2), int), "y": []}, ValueError, "at least one input"),
        ({"votes": [[np.nan, 1], [2, 1]]}, ValueError, "votes must hold integer counts"),
        ({"votes": [[-1, 4], [2, 1]]}, ValueError, "votes must hold integer counts"),
        ({"votes": [3, 1]}, ValueError, "votes must be an array of shape"),
        ({"y": [0]}, ValueError, "y must hold one label per row of votes"),
        ({"y": [0, 2]}, ValueError, "y holds the label 2"),
        ({"eps": 0.0}, ValueError, "eps must be a finite number in \\(0"),
        ({"eps": -1.0}, ValueError, "eps"),
        ({"eps": np.nan}, ValueError, "eps"),
        ({"eps": []}, ValueError, "eps must be a number or a list"),
        ({"eps": [0.5, 0.0]}, ValueError, "eps"),
        ({"sigma": 0.0}, ValueError, "sigma"),
        ({"alpha": 1.0}, ValueError, "alpha"),
        ({"sampling": "iid"}, ValueError, "sampling must be one of"),
        ({"costs": np.ones((2, 2, 2)), "cost_matrix": SEED_ONE}, TypeError, "pass one of them"),
        ({"costs": np.ones((2, 2))}, ValueError, "costs must have shape \\(2, 2, 2\\)"),
        ({"costs": -np.ones((2, 2, 2))}, ValueError, "costs must be finite and >= 0"),
        ({"costs": np.full((2, 2, 2), np.nan)}, ValueError, "costs must be finite and >= 0"),
        ({"costs": np.ones((2, 2, 2))}, ValueError, "max_cost is needed"),
        ({"costs": np.ones((2, 2, 2)), "max_cost": 0.5}, ValueError, "max_cost must be at least"),
        ({"costs": np.ones((2, 2, 2)), "max_cost": np.nan}, ValueError, "max_cost"),
        ({"cost_matrix": SEED_ONE, "max_cost": 3.0}, TypeError, "max_cost applies to costs"),
        ({"max_cost": 3.0}, TypeError, "max_cost applies to costs of each input alone"),
        ({"eps": 1e10, "sigma": 1e-300}, ValueError, "eps / sigma must be finite; got eps=1e"),
        ({"eps": [1.0, 1e10], "sigma": 1e-300}, ValueError, "eps / sigma must be finite"),
    ],
)
def test_bad_input_is_refused(change, error, message):
    arguments = {"votes": [[3, 1], [2, 2]], "y": [0, 1], "sigma": 1.0, "eps": 0.5} | change
    votes, y = arguments.pop("votes"), arguments.pop("y")
    with pytest.raises(error, match=message):
        certify_portfolio(votes, y, **arguments)


@pytest.mark.parametrize("sampling", ["population", "fixed"])
def test_too_few_inputs_give_the_trivial_bound_and_say_how_many(sampling):
    with pytest.warns(UserWarning, match=r"These 3 inputs show nothing.*, (\d+) inputs") as caught:
        certificate = certify([0, 0, 0], 10, sampling=sampling)
    assert certificate.risk == certificate.largest_risk == 1.0
    needed = int(str(caught[0].message).split("costly vote, ")[1].split()[0])
    assert certify([0] * needed, 10, sampling=sampling).risk <= 0.5


def test_a_budget_beyond_the_votes_is_said():
    with pytest.warns(UserWarning, match="no number of inputs with 1 votes would"):
        certify([1, 0, 0], 1, eps=9.0)


def test_no_costly_answer_exists():
    certificate = certify([3, 2], 4, cost_matrix=np.zeros((2, 2)))
    assert certificate.risk == 0.0
    assert certificate.clean_risk_interval == (0.0, 0.0)
    assert "at most 0" in repr(certificate)


@pytest.mark.filterwarnings("ignore:These 500 inputs show nothing")
@pytest.mark.parametrize(
    "prices",
    [
        {"cost_matrix": [[0, 0], [1000, 0]]},
        {"costs": np.tile([[0.0, 0.0], [1000.0, 0.0]], (500, 1, 1)), "max_cost": 1000.0},
    ],
)
def test_a_rare_dear_class_that_no_sample_shows_is_not_bounded_by_zero(prices):
    """A class of 1 in 1,000 that is always missed costs 1; 500 inputs show none with chance .6."""
    votes, y = np.tile([10, 0], (500, 1)), np.zeros(500, int)
    found = certify_portfolio(votes, y, sigma=1.0, eps=0.5, alpha=0.05, **prices)
    assert min(found.risk, found.one_vote_risk) >= found.clean_risk_interval[1] >= 1.0


def test_free_rows_alone_cost_nothing_if_they_are_all_there_is():
    votes, y = np.tile([10, 0], (50, 1)), np.zeros(50, int)
    prices = {"cost_matrix": [[0, 0], [1000, 0]], "sampling": "fixed"}
    assert certify_portfolio(votes, y, sigma=1.0, eps=0.5, **prices).risk == 0.0
