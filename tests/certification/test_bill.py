"""Bills: values by hand, the limit against enumeration, and its promise against simulation."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from _full import FULL
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri
from scipy.stats import binom, multinomial

from smoothcs import Certificates, CertifiedAt, CostMatrix, certify_votes, example_costs
from smoothcs._metrics.money import _excess
from smoothcs.convex._margins import CertifiedMargins
from smoothcs.decision import WeightedVotes
from smoothcs.metrics import bill, constant_bills, savings, worst_cost

NAN = np.nan
# Rows: a answered rightly, a called b, b answered rightly; what b costs if called c is not ruled
# out by any radius.
Y = np.array(["a", "a", "b"])
LABEL = np.array(["a", "b", "b"])
PAIR = np.array([[NAN, 0.5, 1.0], [NAN, 0.0, 0.0], [0.25, NAN, NAN]])
COST = CostMatrix([[0, 1, 4], [10, 0, 0], [0, 0, 0]], ["a", "b", "c"])
ARGS = (Y, LABEL, PAIR)


def test_worst_cost_by_hand():
    got = worst_cost(*ARGS, cost_matrix=COST, eps=[0, 0.2, 0.25, 0.5, 1.0])
    # A radius that equals eps does not count.
    np.testing.assert_array_equal(got, [[0, 1, 0], [0, 4, 0], [0, 4, 10], [1, 4, 10], [4, 4, 10]])
    np.testing.assert_array_equal(worst_cost(*ARGS, cost_matrix=COST, eps=0.25), got[2])


def test_costs_of_the_example_come_first_and_the_diagonal_counts():
    costs = np.zeros((3, 3, 3))
    costs[0, 0] = [2, 50, 60]
    costs[1, 0] = [3, 1, 2]
    costs[2, 1] = [7, 0, 5]
    got = worst_cost(*ARGS, cost_matrix=COST, costs=costs, eps=[0, 0.1, 0.6])
    # nan is not out: class a of the first and c of the third.
    np.testing.assert_array_equal(got, [[2, 1, 0], [2, 3, 5], [50, 3, 7]])
    assert bill(*ARGS, cost_matrix=COST, costs=costs, eps=0.6) == 60
    np.testing.assert_array_equal(constant_bills(Y, cost_matrix=COST, costs=costs), [12, 51, 67])
    assert savings(*ARGS, cost_matrix=COST, costs=costs, eps=0) == pytest.approx(1 - 3 / 12)


def test_an_abstention_pays_the_most_at_every_radius():
    abstained = np.array([True, False, False])
    label = np.where(abstained, "abstain", LABEL)
    got = worst_cost(Y, label, PAIR, cost_matrix=COST, eps=[0, 0.1], abstained=abstained)
    np.testing.assert_array_equal(got[:, 0], [4, 4])


def test_weights_count_how_often():
    weight = [2, 0, 1]
    again = np.repeat(np.arange(3), weight)
    rows = tuple(a[again] for a in ARGS)
    for options in ({}, {"confidence": 0.5, "alpha": 0.4}):
        one = bill(*ARGS, cost_matrix=COST, eps=0.3, sample_weight=weight, **options)
        two = bill(*rows, cost_matrix=COST, eps=0.3, **options)
        assert one == pytest.approx(two)


def test_nothing_to_save_is_nan_and_says_so():
    with pytest.warns(UserWarning, match="some constant answer costs nothing"):
        value = savings(["c"], ["c"], [[NAN] * 3], cost_matrix=COST, eps=[0.0, 0.1])
    assert np.isnan(value).all()
    assert value.shape == (2,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"costs": np.ones((3, 2, 2))}, r"costs must have shape \(3, 3, 3\)"),
        ({"costs": np.ones((2, 3, 3))}, r"costs must have shape \(3, 3, 3\)"),
        ({"costs": -np.ones((3, 3, 3))}, r"costs\[0, 0, 0\] is -1"),
        ({"costs": np.full((3, 3, 3), NAN)}, r"costs\[0, 0, 0\] is nan"),
        ({"eps": -1.0}, "eps must be finite and >= 0"),
        ({"sample_weight": [1, 2]}, "sample_weight must have shape"),
        ({"confidence": 0.95}, "confidence needs alpha"),
        ({"confidence": 1.0, "alpha": 0.1}, "confidence must be"),
        ({"confidence": 0.9, "alpha": 1.0}, "alpha must be"),
        ({"confidence": 0.9, "alpha": 0.1, "noise_groups": [1]}, "noise_groups must have one row"),
    ],
)
def test_bad_arguments_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        bill(*ARGS, **{"cost_matrix": COST, "eps": 0.1, **options})


# -- the objects ----------------------------------------------------------------------------------


def certificates(**options):
    rng = np.random.default_rng(0)
    p = rng.dirichlet([0.6, 0.4, 0.3], 30)
    common = {"sigma": 0.5, "y": rng.integers(3, size=30), "bound": "closed-form"}
    return certify_votes(rng.multinomial(50, p), rng.multinomial(500, p), **{**common, **options})


def test_certificates_price_what_their_pair_radii_leave_open():
    costs = np.random.default_rng(1).random((30, 3, 3))
    c = certificates(costs=costs)
    common = {"cost_matrix": c.cost_matrix, "costs": costs, "abstained": c.abstained}
    for eps in (0.0, 0.3, [0.0, 0.1, 0.5]):
        args = c.y, c.label, c.radius_other
        np.testing.assert_array_equal(c.worst_cost(eps), worst_cost(*args, eps=eps, **common))
        np.testing.assert_array_equal(c.bill(eps), bill(*args, eps=eps, **common))
        np.testing.assert_array_equal(c.savings(eps), savings(*args, eps=eps, **common))
    assert c.bill(0) < c.bill(0.1) <= c.bill(0.5) <= c.bill(0.5, 0.95)
    report = c.report(0.1)
    assert report["bill"] == c.bill(0.1)
    assert report["mean_bill"] == pytest.approx(c.worst_cost(0.1).mean())
    assert report["clean_savings"] == pytest.approx(c.savings(0))
    assert c[:10].bill(0.1) == pytest.approx(c.worst_cost(0.1)[:10].sum())


def test_a_bill_is_not_rounded_down():
    """An eighth of a cent more than 2**24 cents is no float32."""
    price = (2**24 + 1) / 100 + 1.25e-3
    costs = np.array([[[0, price], [price, 0]]])
    c = certify_votes([[50, 0]], [[10, 490]], sigma=0.5, y=[0], costs=costs)
    assert c.bill(0.1) == price
    made = example_costs(false_positive=[price], false_negative=0, classes=[0, 1], positive=1)
    assert made.max() == price


@pytest.mark.parametrize("apart", [{"simultaneous": False}, {"bound": "paper"}])
def test_pair_radii_that_do_not_hold_together_are_refused(apart):
    c = certificates(**apart)
    for call in (c.worst_cost, c.bill, c.savings, c.bill_frame):
        with pytest.raises(ValueError, match="hold together"):
            call(0.1)
    with pytest.raises(ValueError, match="hold together"):
        c.bill(0.0, 0.95)
    assert c.bill(0.0) == certificates().bill(0.0)
    assert np.isnan(c.report(0.1)["bill"])


def test_a_bill_needs_the_truth():
    with pytest.raises(ValueError, match="bill compares with the true classes"):
        certificates(y=None).bill(0.1)


def test_decisions_at_eps_price_what_was_not_decided():
    votes = np.array([[0, 500], [500, 0], [0, 0]])
    decided = CertifiedAt(
        eps=np.array([0.25]),
        label=np.array([1, 0, 1]),
        abstained=np.array([False, False, True]),
        certified_group=None,
        certified_pair=np.array([[[True, False]], [[False, False]], [[False, False]]]),
        certified_standard=None,
        votes=votes,
        selection_votes=votes // 10,
        sigma=0.5,
        alpha=0.001,
        n_max=500,
        cost_matrix=CostMatrix([[0, 1], [10, 0]]),
        y=np.array([1, 1, 1]),
        decision=WeightedVotes.equal(2),
    )
    # The last was interrupted: it pays the most at any radius.
    np.testing.assert_array_equal(decided.worst_cost(), [0, 10, 10])
    np.testing.assert_array_equal(decided.worst_cost(0), [0, 10, 10])
    assert decided.bill(0.25) == 20
    assert decided.bill(0.25, 0.95) == 20
    with pytest.raises(ValueError, match="was not decided"):
        decided.bill(0.1)


def test_margins_are_certain():
    margins = np.array([[NAN, 0.3], [NAN, 0.0], [-1.0, NAN]])
    label = np.array([0, 0, 0])
    c = CertifiedMargins(margins, np.array([0, 0, 1]), CostMatrix([[0, 1], [10, 0]]), label)
    np.testing.assert_array_equal(c.worst_cost(), [0, 1, 10])
    np.testing.assert_array_equal(c.worst_cost(0), [0, 0, 10])
    assert c.bill() == c.bill(confidence=0.99) == 11
    assert c.report()["savings"] == 1 - 11 / 2


def test_a_frame_says_who_may_be_flipped_and_at_which_price():
    pytest.importorskip("pandas")
    amount = np.array([100.0, 50.0, 10.0])
    c = certify_votes(
        [[0, 50], [50, 0], [26, 24]],
        [[0, 500], [495, 5], [260, 240]],
        sigma=0.5,
        cost_matrix=CostMatrix.uniform(classes=["paid", "default"]),
        y=["default", "paid", "paid"],
        costs=example_costs(
            false_positive=0.1 * amount,
            false_negative=amount,
            classes=["paid", "default"],
            positive="default",
        ),
    )
    frame = c.bill_frame(2.0)
    assert frame["worst_answer"].tolist() == ["paid", "default", "default"]
    assert frame["cost_now"].tolist() == [0, 0, 1]  # the last abstains
    assert frame["worst_cost"].tolist() == [100, 5, 1]
    assert frame["at_risk"].tolist() == [100, 5, 0]
    assert c.bill_frame(0.1)["worst_answer"].tolist() == ["default", "paid", "default"]
    assert frame["worst_cost"].sum() == c.bill(2.0)
    with pytest.raises(ValueError, match="one number"):
        c.bill_frame([0.1, 0.2])


# -- the limit ------------------------------------------------------------------------------------


@given(
    st.lists(st.floats(0.01, 100), min_size=1, max_size=9),
    st.floats(0.001, 0.3),
    st.floats(0.01, 0.5),
)
def test_the_excess_is_an_upper_bound_by_enumeration(terms, alpha, level):
    terms = np.array(terms)
    t = _excess(terms, alpha, level, np.arange(len(terms)))
    failed = np.array(list(itertools.product([0, 1], repeat=len(terms))))
    chance = (alpha**failed * (1 - alpha) ** (1 - failed)).prod(axis=1)
    assert chance[failed @ terms > t].sum() <= level * (1 + 1e-9)
    # However they depend on each other, Markov's inequality holds, or none fails at all.
    together = _excess(terms, alpha, level, None)
    assert together >= alpha * terms.sum() / level or alpha * len(terms) <= level


@given(st.integers(0, 2**32 - 1), st.floats(0.001, 0.2))
def test_adding_the_terms_of_more_inputs_never_lowers_the_excess(seed, alpha):
    rng = np.random.default_rng(seed)
    terms = rng.lognormal(0, 1, 40)
    fine = rng.integers(12, size=40)
    coarse = fine // 3
    one, two = (_excess(terms, alpha, 0.05, g) for g in (fine, coarse))
    assert one <= two * (1 + 1e-6)
    assert two <= _excess(terms, alpha, 0.05, None) * (1 + 1e-6)


@pytest.mark.parametrize(("n", "alpha"), [(1000, 0.001), (10_000, 0.001), (300, 0.05)])
def test_for_equal_terms_the_excess_is_close_to_the_binomial_quantile(n, alpha):
    t = _excess(np.full(n, 7.0), alpha, 0.05, np.arange(n))
    exact = 7.0 * binom.ppf(0.95, n, alpha)
    assert exact <= t <= 1.5 * exact


def test_inputs_with_equal_votes_are_taken_for_identical():
    c = certificates(alpha=0.05)
    twice = certify_votes(
        np.vstack([c.selection_votes] * 2), np.vstack([c.votes] * 2),
        sigma=0.5, alpha=0.05, y=np.tile(c.y, 2), bound="closed-form",
    )  # fmt: skip
    pairs = np.tile(np.arange(30), 2)
    assert twice.bill(0.1, 0.95) == twice.bill(0.1, 0.95, noise_groups=pairs)
    assert twice.bill(0.1, 0.95) >= 2 * c.bill(0.1, 0.95) * (1 - 1e-6)
    assert twice.bill(0.1, 0.95) > twice.bill(0.1, 0.95, noise_groups=np.arange(60))


def test_where_votes_stopped_says_nothing_about_which_inputs_are_identical():
    c = certify_votes([[0, 50], [0, 50]], [[0, 100], [0, 130]], sigma=0.5, n=[100, 130], y=[1, 0])
    assert len(set(c._alike())) == 1


# -- labels that are costly themselves -----------------------------------------------------------


def test_a_cheap_mistake_is_not_charged_as_the_dearest_one():
    """The votes say b for an a, which costs 1; calling it a c would cost 9."""
    common = {"sigma": 0.5, "cost_matrix": [[0, 1, 9], [1, 0, 1], [1, 1, 0]], "y": [0]}
    c = certify_votes([[1, 48, 1]], [[60, 900, 40]], **common)
    assert c.label == [1]
    assert c.rob_cs(0.01) == 0  # it is a costly mistake
    assert c.rob_cost(0.01) == 10
    reach = c.radius_other[0, 2]
    assert 0.3 < reach < 0.5 * (ndtri(0.96) + ndtri(0.96)) / 2
    np.testing.assert_array_equal(c.worst_cost([0.0, 0.01, reach]), [[1], [1], [9]])
    # Beyond doubt, but not by plurality: what is abstained on pays the most.
    split = certify_votes([[1, 25, 24]], [[20, 490, 490]], **common)
    assert split.abstained.all()
    np.testing.assert_array_equal(split.worst_cost([0.0, 0.01]), [[9], [9]])
    strict = certify_votes([[1, 48, 1]], [[60, 900, 40]], harmless_errors="zero", **common)
    assert strict.worst_cost(0.01) == [9]


def test_what_bills_know_of_costly_labels_is_kept_in_files(tmp_path):
    c = certificates(cost_matrix=[[0, 1, 9], [1, 0, 9], [9, 1, 0]])
    costly = c.label != c.y
    assert c.radius_other[costly].any(axis=1).sum() > 3
    np.testing.assert_array_equal(c.radius_other[~costly], c.radius_pair[~costly])
    assert (c.radius_pair[costly] <= 0).sum() == 2 * costly.sum()
    c.save(tmp_path / "c.npz")
    loaded = Certificates.load(tmp_path / "c.npz")
    np.testing.assert_array_equal(loaded.worst_cost(0.1), c.worst_cost(0.1))
    np.testing.assert_array_equal(c[::2].worst_cost(0.1), c.worst_cost(0.1)[::2])
    replace(c, radius_other=None).save(tmp_path / "old.npz")
    old = Certificates.load(tmp_path / "old.npz").worst_cost(0.1)
    assert (old >= c.worst_cost(0.1)).all()
    assert old.sum() > c.bill(0.1)
    replace(c, radius_other=c.radius_other[:, :2]).save(tmp_path / "damaged.npz")
    with pytest.raises(ValueError, match="radius_other does not fit"):
        Certificates.load(tmp_path / "damaged.npz")


def shares_on_the_edge(eta, s):
    """Shares of four classes; 1 and 2 are reached at eta just despite the s classes that block."""

    def target(blocked_by):
        return ndtr(ndtri(ndtr(ndtri(blocked_by) - eta) / s) - eta)

    if s == 2:  # 0 and 3 block
        t = target(brentq(lambda p: p + 2 * target(p) - 1, 1e-9, 1 - 1e-9))
        return [np.array([0.6 * (1 - 2 * t), t, t, 0.4 * (1 - 2 * t)])]
    alone = [p for p in (0.5, 0.7, 0.9) if p + 2 * target(p) <= 1]
    return [np.array([p, target(p), target(p), 1 - p - 2 * target(p)]) for p in alone]


@pytest.mark.parametrize(
    ("bound", "blockers", "s"), [("exact", False, 1), ("closed-form", False, 1), ("exact", 2, 2)]
)
def test_false_claims_beside_a_costly_label_by_enumeration(bound, blockers, s):
    n, alpha, eta = 14, 0.1, 0.3
    outcomes = np.array([k for k in itertools.product(range(n + 1), repeat=4) if sum(k) == n])
    c = certify_votes(
        np.tile([16, 1, 1, 14], (len(outcomes), 1)), outcomes,
        sigma=1.0, alpha=alpha, bound=bound, blockers=blockers, y=np.full(len(outcomes), 3),
    )  # fmt: skip
    assert (c.label == 0).all()  # costly, as the truth is 3
    false = (c.radius_other[:, 1:3] > eta * (1 + 1e-9)).any(axis=1)
    assert false.any()
    for h in shares_on_the_edge(eta, s):
        assert multinomial.pmf(outcomes, n, h)[false].sum() <= alpha


# -- the promise ----------------------------------------------------------------------------------

ALPHA, N, SIGMA, EPS = 0.02, 400, 1.0, 0.3


def loans(rng, shape, place):
    """Min-cost decisions of known scores p(x) = Phi(x): answer 1 where x > b, the loan's own b.

    Returns signed distances to b, true classes and prices (..., 2).
    """
    y = rng.integers(2, size=shape)
    amount = rng.lognormal(0, 1, shape)
    fp, fn, tp = 0.3 * amount, rng.uniform(0.5, 2, shape) * amount, 0.05 * amount
    b = ndtri(fp / (fp + fn - tp))
    x = b + (EPS - 1e-9) * rng.choice([-1, 1], shape) if place == "edge" else rng.normal(size=shape)
    wrong = np.stack([fn, tp], axis=-1), np.stack([np.zeros(shape), fp], axis=-1)
    return x - b, y, np.where((y == 1)[..., None], *wrong)


def simulated(n_sets, n_loans, place, copies, seed):
    """Return true worst bills, certified limits, and what two tempting shortcuts would say."""
    rng = np.random.default_rng(seed)
    shape = n_sets, n_loans // copies
    margin, y, prices = loans(rng, shape, place)
    h = ndtr(margin / SIGMA)  # the share of noisy copies that is answered 1
    counts = [rng.binomial(n, h) for n in (50, N)]
    # Identical inputs have identical votes.
    margin, y, *counts = (np.repeat(a, copies, axis=1) for a in (margin, y, *counts))
    prices = np.repeat(prices, copies, axis=1)
    votes = [np.stack([n - k, k], axis=-1).reshape(-1, 2) for n, k in zip((50, N), counts)]  # noqa: B905
    c = certify_votes(*votes, sigma=SIGMA, alpha=ALPHA, y=y.ravel())
    answer = np.take_along_axis(prices, (margin > 0)[..., None].astype(int), axis=-1)[..., 0]
    truth = np.where(np.abs(margin) <= EPS, prices.max(axis=-1), answer).sum(axis=1)
    costs = np.zeros((*y.shape, 2, 2))
    np.put_along_axis(costs, y[..., None, None], prices[..., None, :], axis=-2)
    label, pair, abstained = (
        a.reshape(*y.shape, *a.shape[1:]) for a in (c.label, c.radius_pair, c.abstained)
    )
    groups = np.arange(n_loans) // copies
    common = {"cost_matrix": None, "eps": EPS}
    limits, plain, naive = np.empty((3, n_sets))
    for s in range(n_sets):
        rows = y[s], label[s], pair[s]
        given = {**common, "costs": costs[s], "abstained": abstained[s]}
        limits[s] = bill(*rows, confidence=0.95, alpha=ALPHA, noise_groups=groups, **given)
        worst = worst_cost(*rows, **given)
        plain[s] = worst.sum()
        # As if only what was certified could fail: the terms then depend on the same votes.
        naive[s] = plain[s] + _excess(prices[s].max(axis=1) - worst, ALPHA, 0.05, groups)
    return [np.mean(value < truth * (1 - 1e-12)) for value in (limits, plain, naive)]


@pytest.mark.parametrize("copies", [1, 5])
def test_the_limit_is_below_the_true_worst_bill_in_at_most_5_percent(copies):
    # All inputs sit just within eps of their boundary, where certificates fail most often.
    limit, plain, naive = simulated(2000, 60, "edge", copies, seed=0)
    assert limit <= 0.05
    assert plain > 0.05
    assert copies > 1 or naive > 0.05
    assert simulated(500, 60, "population", copies, seed=1)[0] <= 0.05


@pytest.mark.slow
def test_the_limit_over_many_data_sets():
    limit, plain, _ = simulated(20_000 if FULL else 5000, 40, "edge", 1, seed=2)
    assert limit <= 0.05
    assert plain > 0.05


def test_the_limit_holds_for_three_classes_in_slabs():
    # Along the normal of its boundaries, the base classifier answers 0, 1, 2 in turn.
    rng = np.random.default_rng(0)
    edges = np.array([-np.inf, -1.0, 1.0, np.inf])

    def shares(x):
        return np.diff(ndtr((edges - np.asarray(x)[..., None]) / SIGMA), axis=-1)

    turn = brentq(lambda x: shares(x)[0] - shares(x)[1], -3, 0)  # where the vote turns to 1
    n_sets, n = 500, 20
    near = rng.choice([-1, 1], (n_sets, n)) * turn
    x = near + (EPS - 1e-9) * rng.choice([-1, 1], near.shape)
    y = rng.integers(3, size=x.shape)
    costs = rng.lognormal(0, 1, (n_sets, n, 3, 3)) * (1 - np.eye(3))
    h = shares(x)
    c = certify_votes(
        rng.multinomial(50, h).reshape(-1, 3), rng.multinomial(N, h).reshape(-1, 3),
        sigma=SIGMA, alpha=ALPHA, y=y.ravel(), bound="closed-form",
        costs=costs.reshape(-1, 3, 3),
    )  # fmt: skip
    low, high = x - EPS, x + EPS
    reached = np.stack([low < turn, (high > turn) & (low < -turn), high > -turn], axis=-1)
    prices = np.take_along_axis(costs, y[..., None, None], axis=-2)[..., 0, :]
    truth = np.where(reached, prices, 0).max(axis=-1).sum(axis=1)
    limits = [
        c[s * n : (s + 1) * n].bill(EPS, 0.95, noise_groups=np.arange(n)) for s in range(n_sets)
    ]
    assert np.mean(np.array(limits) < truth * (1 - 1e-6)) <= 0.05
    assert np.mean(limits) < 1.3 * truth.mean()
