"""Certificates against loops written from the papers, and everything that must weaken them."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, norm

from smoothcs import metrics
from smoothcs.bounds import smallest_n
from smoothcs.bounds.exact import exact_rejects
from smoothcs.certification import Certificates, certify_votes, radii_from_probabilities, with_costs
from smoothcs.cost import CostMatrix

M = 10


def lcb(k, n, confidence):
    return 0.0 if k == 0 else beta.ppf(1 - confidence, k, n - k + 1)


def ucb(k, n, confidence):
    return 1.0 if k == n else beta.ppf(confidence, k + 1, n - k)


def certify_group_by_the_paper(counts0, counts, sigma, n, alpha, omega):
    """Algorithm 1 of [Xin25], line by line; 0 stands for ABSTAIN."""
    c_a = int(np.argmax(counts0))
    r_std = norm.ppf(lcb(counts[c_a], n, 1 - alpha)) * sigma
    p_a = lcb(counts[c_a], n, 1 - alpha / 2)
    p_b = max(ucb(counts[k], n, 1 - alpha / (2 * len(omega))) for k in omega)
    r_group = (norm.ppf(p_a) - norm.ppf(p_b)) * sigma / 2
    return max(r_std, r_group) if max(r_std, r_group) > 0 else 0.0


def certify_pair_by_the_paper(counts0, counts, sigma, n, alpha, j):
    """Algorithm 2 of [Xin25], line by line; 0 stands for ABSTAIN."""
    c_a = int(np.argmax(counts0))
    r_std = norm.ppf(lcb(counts[c_a], n, 1 - alpha)) * sigma
    p_a = lcb(counts[c_a], n, 1 - alpha / 2)
    p_b = ucb(counts[j], n, 1 - alpha / 2)
    r_pair = (norm.ppf(p_a) - norm.ppf(p_b)) * sigma / 2
    return max(r_std, r_pair) if max(r_std, r_pair) > 0 else 0.0


def cost_towards(omega, m=M):
    """Costs of seed class 0 only, different for every target."""
    costs = np.zeros((m, m))
    costs[0, list(omega)] = 1.0 + np.arange(len(omega))
    return costs


def draw(rng, omega, n, rows=60):
    """Votes of seed class 0 from confused to certain, n_k = 0 and n_k = n included."""
    sure = rng.uniform(0.2, 1.0, rows)
    rest = rng.dirichlet(np.full(M - 1, 0.4), rows) * (1 - sure)[:, None]
    votes = rng.multinomial(n, np.column_stack([sure, rest]))
    votes[0], votes[1] = 0, 0
    votes[0, 0] = n
    votes[1, omega[0]] = n
    harmless = [k for k in range(1, M) if k not in omega]
    selection = votes.copy()
    selection[1] = 0
    selection[1, 0] = 1  # selection and estimation disagree
    if harmless:
        votes[2] = 0
        votes[2, harmless[0]] = n
        selection[2] = votes[2]
    return selection, votes


OMEGAS = [[7], [2, 5, 9], list(range(1, M))]


@pytest.mark.parametrize("omega", OMEGAS)
@pytest.mark.parametrize("n", [12, 300, 100_000])
@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_paper_bound_is_algorithms_1_and_2_letter_for_letter(rng, omega, n, alpha):
    selection, votes = draw(rng, omega, n)
    got = certify_votes(
        selection,
        votes,
        sigma=0.7,
        alpha=alpha,
        cost_matrix=cost_towards(omega),
        y=np.zeros(len(votes), dtype=int),
        bound="paper",
    )
    checked = 0
    for i, (counts0, counts) in enumerate(zip(selection, votes, strict=True)):
        if np.argmax(counts0) in omega:
            continue  # the algorithms would certify a costly prediction; see below
        group = certify_group_by_the_paper(counts0, counts, 0.7, n, alpha, omega)
        np.testing.assert_allclose(got.radius_group[i], group, rtol=0, atol=1e-12)
        for j in omega:
            pair = certify_pair_by_the_paper(counts0, counts, 0.7, n, alpha, j)
            np.testing.assert_allclose(got.radius_pair[i, j], pair, rtol=0, atol=1e-12)
        checked += group > 0
    assert checked >= 5
    assert np.all(np.isnan(np.delete(got.radius_pair, omega, axis=1)))


@pytest.mark.parametrize("omega", OMEGAS)
@pytest.mark.parametrize("simultaneous", [True, False])
def test_closed_form_bound_is_the_formula(rng, omega, simultaneous):
    n, alpha, sigma = 500, 0.01, 0.5
    selection, votes = draw(rng, omega, n)
    got = certify_votes(
        selection,
        votes,
        sigma=sigma,
        alpha=alpha,
        cost_matrix=cost_towards(omega),
        y=np.zeros(len(votes), dtype=int),
        bound="closed-form",
        simultaneous=simultaneous,
    )
    level = alpha / (2 * len(omega)) if simultaneous else alpha / 2
    for i, (counts0, counts) in enumerate(zip(selection, votes, strict=True)):
        a = int(np.argmax(counts0))
        if a in omega:
            continue
        low = lcb(counts[a], n, 1 - alpha / 2)

        def radius(j, share, low=low, counts=counts):
            high = min(ucb(counts[j], n, 1 - share), 1 - low)
            return max(0.0, sigma / 2 * (norm.ppf(low) - norm.ppf(high)))

        standard = max(0.0, sigma * norm.ppf(lcb(counts[a], n, 1 - alpha)))
        assert got.radius_standard[i] == pytest.approx(standard, abs=1e-12)
        group = min(radius(j, alpha / 2) for j in omega)
        assert got.radius_group[i] == pytest.approx(group, abs=1e-12)
        for j in omega:
            assert got.radius_pair[i, j] == pytest.approx(radius(j, level), abs=1e-12)


def test_alpha_is_divided_by_the_number_of_targets_and_not_multiplied():
    # Nine targets without a vote. alpha / 2 * 9 in place of alpha / (2 * 9) gives 1.0956.
    votes = [[70_000] + [0] * 9 + [30_000]]
    costs = cost_towards(range(1, 10), m=11)
    got = certify_votes(votes, votes, sigma=0.5, cost_matrix=costs, y=[0], bound="paper")
    assert got.radius_group[0] == pytest.approx(1.0587, abs=5e-5)


def test_group_radius_does_not_pay_for_the_number_of_targets():
    votes = [[70_000] + [0] * 9 + [30_000]]
    one, nine = (
        certify_votes(votes, votes, sigma=0.5, cost_matrix=cost_towards(o, m=11), y=[0])
        for o in ([1], range(1, 10))
    )
    assert nine.radius_group[0] == one.radius_group[0]
    assert nine.radius_pair[0, 1] < one.radius_pair[0, 1] == one.radius_group[0]


@pytest.mark.parametrize("bound", ["closed-form", "paper"])
def test_a_costly_prediction_certifies_nothing_however_sure_it_is(bound):
    votes = [[0, 10_000, 0]]
    got = certify_votes(votes, votes, sigma=1, cost_matrix=[[0, 5, 1], [0, 0, 0], [0, 0, 0]],
                        y=[0], bound=bound)  # fmt: skip
    assert got.label[0] == 1
    assert not got.abstained[0]
    assert got.radius_standard[0] == got.radius_group[0] == 0.0
    np.testing.assert_array_equal(got.radius_pair[0, 1:], 0.0)
    assert got.rob_cs(0.0) == 0.0
    assert got.rob_cost(0.0) == 6.0
    assert got.misclassification_cost() == 5.0


@pytest.mark.parametrize("bound", ["closed-form", "paper"])
def test_a_harmless_error_keeps_its_radii_or_loses_them(bound):
    votes = [[0, 0, 10_000], [10_000, 0, 0]]
    costs = [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    count, zero = (
        certify_votes(votes, votes, sigma=1, cost_matrix=costs, y=[0, 0], bound=bound,
                      harmless_errors=h)
        for h in ("count", "zero")
    )  # fmt: skip
    assert count.radius_group[0] > 2
    assert count.rob_cs(1.0) == 1.0
    assert zero.radius_standard[0] == zero.radius_group[0] == zero.radius_pair[0, 1] == 0.0
    assert zero.rob_cs(1.0) == 0.5
    assert count.certified_accuracy(1.0) == zero.certified_accuracy(1.0) == 0.5
    assert zero.radius_group[1] == count.radius_group[1]


@pytest.mark.parametrize("bound", ["closed-form", "paper"])
def test_abstention_certifies_nothing_and_keeps_its_label(bound):
    votes = [[500, 500]]
    got = certify_votes([[3, 7]], votes, sigma=1, y=["b"], classes=["a", "b"], bound=bound)
    assert got.abstained[0]
    assert got.label[0] == "b"
    assert got.radius_standard[0] == got.radius_group[0] == got.radius_pair[0, 0] == 0.0
    assert got.certified_accuracy() == got.rob_cs(0.0) == 0.0
    assert got.rob_cost(0.0) == got.misclassification_cost() == got.abstention_rate() == 1.0


@pytest.mark.parametrize("bound", ["closed-form", "paper"])
def test_a_positive_pair_radius_alone_is_no_abstention(bound):
    # Class 1 cannot be told from 0, class 2 is far away: one target is ruled out, the other not.
    votes = [[480, 480, 40]]
    got = certify_votes([[2, 1, 0]], votes, sigma=1, y=[0], bound=bound)
    assert got.radius_standard[0] == got.radius_group[0] == got.radius_pair[0, 1] == 0.0
    assert got.radius_pair[0, 2] > 0.5
    assert not got.abstained[0]
    assert got.rob_cost(0.5) == 1.0


def test_selection_ties_go_to_the_lowest_index_and_no_selection_votes_abstain():
    got = certify_votes([[0, 5, 5], [0, 0, 0]], [[0, 900, 100], [1000, 0, 0]], sigma=1, y=[1, 0])
    np.testing.assert_array_equal(got.label, [1, 0])
    np.testing.assert_array_equal(got.abstained, [False, True])
    assert got.radius_group[0] > 0.5
    assert got.radius_group[1] == got.radius_standard[1] == got.radius_pair[1, 1] == 0.0
    assert got.robust_error_matrix(0.0)[0, 1] == 1.0


def test_radii_are_nan_where_no_costly_mistake_exists():
    votes = [[990, 10], [990, 10]]
    got = certify_votes(votes, votes, sigma=1, cost_matrix=[[0, 0], [10, 0]], y=[0, 1])
    assert np.isnan(got.radius_group[0])
    assert np.all(np.isnan(got.radius_pair[0]))
    assert got.radius_standard[0] > 1
    assert not got.abstained[0]
    assert got.radius_group[1] == 0.0
    assert got.rob_cs(0.0) == 0.0  # only the second example is sensitive


def test_without_y_the_row_of_the_predicted_class_is_used():
    costs = np.array([[0, 1, 0], [1, 0, 1], [0, 0, 0]])
    votes = [[900, 60, 40], [60, 900, 40], [10, 10, 980]]
    deployed = certify_votes(votes, votes, sigma=1, cost_matrix=costs)
    known = certify_votes(votes, votes, sigma=1, cost_matrix=costs, y=[0, 1, 2])
    np.testing.assert_array_equal(deployed.radius_pair, known.radius_pair)
    np.testing.assert_array_equal(deployed.radius_group, known.radius_group)
    np.testing.assert_array_equal(np.isnan(deployed.radius_pair), costs[[0, 1, 2]] == 0)
    assert deployed.y is None


METRICS_WITH_TRUTH = [
    ("rob_cs", {"eps": 0.5}),
    ("rob_cost", {"eps": 0.5}),
    ("certified_accuracy", {"eps": 0.5}),
    ("rob_cs_standard", {"eps": 0.5}),
    ("rob_standard_nonsensitive", {"eps": 0.5}),
    ("misclassification_cost", {}),
    ("precision_recall", {"positive": 1}),
    ("clean_error_matrix", {}),
    ("robust_error_matrix", {"eps": 0.5}),
]


@pytest.mark.parametrize(("name", "arguments"), METRICS_WITH_TRUTH)
def test_metrics_that_need_the_truth_say_so(name, arguments):
    got = certify_votes([[9, 1]], [[900, 100]], sigma=1)
    with pytest.raises(ValueError, match=f"{name} .* certify with y"):
        getattr(got, name)(**arguments)
    assert got.abstention_rate() == 0.0


@pytest.fixture
def labelled(rng):
    """Three string classes, one without sensitive targets, some abstentions and errors."""
    h = rng.dirichlet([0.5, 0.5, 0.5], size=200)
    cost = CostMatrix([[0, 2, 0], [1, 0, 3], [0, 0, 0]], classes=["ant", "bee", "cow"])
    y = np.array(["ant", "bee", "cow"])[rng.integers(0, 3, 200)]
    return certify_votes(
        rng.multinomial(50, h),
        rng.multinomial(400, h),
        sigma=0.5,
        cost_matrix=cost,
        y=y,
        bound="closed-form",
    )


def test_metric_methods_are_the_functions_on_these_radii(labelled):
    c, eps = labelled, [0.0, 0.2, 0.6]
    same = np.testing.assert_array_equal
    cost = {"cost_matrix": c.cost_matrix, "eps": eps}
    same(c.rob_cs(eps), metrics.rob_cs(c.y, c.radius_group, **cost))
    same(c.rob_cost(eps), metrics.rob_cost(c.y, c.radius_pair, **cost))
    # By hand, where a mix-up of arguments would show.
    sensitive = np.isin(c.y, ["ant", "bee"])
    same(c.rob_cs(0.2), np.mean(c.radius_group[sensitive] > 0.2))
    same(c.certified_accuracy(0.2), np.mean((c.label == c.y) & (c.radius_standard > 0.2)))
    same(c.rob_cs_standard(0.2), np.mean(c.radius_standard[sensitive] > 0.2))
    same(
        c.rob_standard_nonsensitive(0.2),
        np.mean(((c.label == c.y) & (c.radius_standard > 0.2))[~sensitive]),
    )
    once = np.arange(200) < 100
    weighted = {"eps": 0.2, "sample_weight": once.astype(float)}
    for name in ("rob_cs", "rob_cost", "rob_cs_standard", "certified_accuracy"):
        assert getattr(c, name)(**weighted) == pytest.approx(getattr(c[once], name)(0.2))
    assert c.abstention_rate() == np.mean(c.abstained) > 0
    spent = c.cost_matrix.matrix[c.cost_matrix.encode(c.y), c.cost_matrix.encode(c.label)]
    worst = c.cost_matrix.matrix[c.cost_matrix.encode(c.y)].max(axis=1)
    paid = np.mean(np.where(c.abstained, worst, spent))
    assert c.misclassification_cost() == pytest.approx(paid)
    called = (c.label == "bee") & ~c.abstained
    assert c.precision_recall("bee")[1] == pytest.approx(np.mean(called[c.y == "bee"]))
    outcome = {"abstained": c.abstained}
    same(
        c.precision_recall("bee"),
        metrics.precision_recall(c.y, c.label, positive="bee", **outcome),
    )
    same(
        c.clean_error_matrix(),
        metrics.clean_error_matrix(c.y, c.label, classes=["ant", "bee", "cow"], **outcome),
    )


def test_robust_error_matrix_looks_at_every_target_whatever_its_cost(labelled):
    c = labelled
    codes, top = c.cost_matrix.encode(c.y), c.selection_votes.argmax(axis=1)
    for eps in (0.0, 0.3):
        got = c.robust_error_matrix(eps)
        for i in range(3):
            for j in range(3):
                if i == j:
                    assert np.isnan(got[i, j])
                    continue
                # Certified alone, with the level that two simultaneous targets get.
                rows = np.flatnonzero(codes == i)
                errors = 0
                for row in rows:
                    low = lcb(c.votes[row, top[row]], 400, 1 - 0.001 / 2)
                    high = min(ucb(c.votes[row, j], 400, 1 - 0.001 / 4), 1 - low)
                    radius = 0.25 * (norm.ppf(low) - norm.ppf(high))
                    errors += top[row] == j or not radius > eps
                assert got[i, j] == pytest.approx(errors / len(rows))
    assert c.robust_error_matrix([0.0, 0.3]).shape == (2, 3, 3)


def test_a_sure_third_class_is_no_error_against_other_targets():
    votes = [[0, 0, 1000]]
    one = {"sigma": 1, "y": [0]}
    count = certify_votes(votes, votes, **one).robust_error_matrix(0.5)
    zero = certify_votes(votes, votes, harmless_errors="zero", **one).robust_error_matrix(0.5)
    np.testing.assert_array_equal(count[0], [np.nan, 0.0, 1.0])
    np.testing.assert_array_equal(zero[0], [np.nan, 1.0, 1.0])


def test_y_may_be_labels_or_indices():
    votes = [[900, 60, 40], [60, 900, 40]]
    by_label, by_index = (
        certify_votes(votes, votes, sigma=1, y=y, classes=["x", "y", "z"])
        for y in (["x", "z"], [0, 2])
    )
    np.testing.assert_array_equal(by_label.y, ["x", "z"])
    np.testing.assert_array_equal(by_index.y, ["x", "z"])
    np.testing.assert_array_equal(by_label.radius_pair, by_index.radius_pair)
    np.testing.assert_array_equal(by_label.label, ["x", "y"])


def test_classes_put_a_labelled_cost_matrix_in_the_order_of_the_votes():
    cost = CostMatrix([[0, 7], [0, 0]], classes=["malignant", "benign"])
    got = certify_votes([[1, 9]], [[10, 990]], sigma=1, cost_matrix=cost, y=["malignant"],
                        classes=["benign", "malignant"])  # fmt: skip
    assert got.label[0] == "malignant"
    assert got.radius_pair[0, 0] == got.radius_group[0] > 1.5
    np.testing.assert_array_equal(got.cost_matrix.classes, ["benign", "malignant"])


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["exact", "closed-form"]))
def test_inputs_do_not_depend_on_each_other(seed, bound):
    rng = np.random.default_rng(seed)
    m, rows = int(rng.integers(2, 6)), 12
    costs = rng.integers(0, 3, (m, m)) * (1 - np.eye(m))
    h = rng.dirichlet(np.full(m, 0.4), rows)
    selection, votes = rng.multinomial(20, h), rng.multinomial(200, h)
    y = rng.integers(0, m, rows)
    options = {"sigma": 1, "alpha": 0.01, "cost_matrix": costs, "bound": bound}
    whole = certify_votes(selection, votes, y=y, **options)
    order = rng.permutation(rows)[:7]
    part = certify_votes(selection[order], votes[order], y=y[order], **options)
    for name in ("label", "abstained", "radius_standard", "radius_group", "radius_pair"):
        alone, together = getattr(part, name), getattr(whole[order], name)
        np.testing.assert_allclose(alone, together, rtol=1e-13 if bound == "exact" else 0)
    scaled = certify_votes(selection, votes, y=y, **{**options, "sigma": 3})
    np.testing.assert_allclose(scaled.radius_pair, 3 * whole.radius_pair, rtol=1e-14)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["closed-form", "paper"]))
def test_invariants_of_every_certificate(seed, bound):
    rng = np.random.default_rng(seed)
    m, rows = int(rng.integers(2, 6)), 30
    costs = rng.integers(0, 3, (m, m)) * (1 - np.eye(m))
    h = rng.dirichlet(np.full(m, 0.3), rows)
    y = rng.integers(0, m, rows)
    c = certify_votes(rng.multinomial(20, h), rng.multinomial(200, h), sigma=1, alpha=0.01,
                      cost_matrix=costs, y=y, bound=bound)  # fmt: skip
    omega = costs[y] > 0
    costly = omega[np.arange(rows), c.label]
    np.testing.assert_array_equal(np.isnan(c.radius_group), ~omega.any(axis=1))
    np.testing.assert_array_equal(np.isnan(c.radius_pair), ~omega)
    best = np.nanmax(np.column_stack([c.radius_standard, c.radius_group, c.radius_pair]), axis=1)
    assert np.all(best >= 0)
    assert np.all(best[c.abstained | costly] == 0)
    assert np.all(best[~c.abstained & ~costly] > 0)
    if bound == "paper":
        sure = omega.any(axis=1) & ~costly
        assert np.all(c.radius_group[sure] >= c.radius_standard[sure])


def test_an_interrupted_input_abstains_and_the_others_are_as_with_their_own_n():
    votes = np.array([[900, 100], [0, 0], [4500, 500], [3, 0]])
    c = certify_votes(votes, votes, sigma=1, y=[0, 0, 0, 0], n=[1000, 0, 5000, 3])
    np.testing.assert_array_equal(c.abstained, [False, True, False, True])
    for row in (0, 2):
        alone = certify_votes(votes[[row]], votes[[row]], sigma=1, y=[0])
        assert c.radius_group[row] == alone.radius_group[0]
    np.testing.assert_array_equal(c[1:].n, [0, 5000, 3])
    assert c.rob_cs(0.5) == 0.5
    nothing = certify_votes(votes * 0, votes * 0, sigma=1, n=[0, 0, 0, 0])
    assert nothing.abstained.all()


SELECTION, ESTIMATION = [[8, 2], [1, 9]], [[80, 20], [5, 95]]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"selection": [[8, 2]]}, "same shape"),
        ({"selection": [[8, -2], [1, 9]]}, "selection must hold"),
        ({"estimation": [[80, np.nan], [5, 95]]}, "estimation must hold"),
        ({"estimation": [[80.5, 19.5], [5, 95]]}, "estimation must hold"),
        ({"estimation": [[80, 20], [5, 96]]}, "input 1 sum to 101; expected n = 100"),
        ({"estimation": [[80, 20], [0, 0]]}, "input 1 sum to 0; expected n = 100"),
        ({"n": 99}, "input 0 sum to 100; expected n = 99"),
        ({"n": [100, 99]}, "input 1 sum to 100; expected n = 99"),
        ({"n": [100]}, "n must be an integer or have one entry"),
        ({"n": [100, -1]}, "n must hold"),
        ({"n": [100, np.nan]}, "n must hold"),
        ({"n": 0}, "n must be an integer >= 1"),
        ({"sigma": 0}, "sigma"),
        ({"sigma": np.nan}, "sigma"),
        ({"sigma": np.inf}, "sigma"),
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": 1.0}, "alpha"),
        ({"alpha": np.nan}, "alpha"),
        ({"bound": "cohen"}, "closed-form"),
        ({"harmless_errors": "ignore"}, "count"),
        ({"harmless_errors": "zero", "y": None}, "pass y"),
        ({"simultaneous": None}, "simultaneous"),
        ({"y": [0]}, "one class for each input"),
        ({"y": [0, 2]}, "label 2"),
        ({"cost_matrix": np.ones((3, 3)) - np.eye(3)}, "3"),
        ({"classes": ["a", "b", "c"]}, "3"),
        ({"selection": np.zeros((0, 2)), "estimation": np.zeros((0, 2)), "y": None}, "got none"),
    ],
)
def test_bad_input_is_refused_by_name(change, named):
    arguments = {"selection": SELECTION, "estimation": ESTIMATION, "sigma": 0.5, "y": [0, 1]}
    with pytest.raises(ValueError, match=named):
        certify_votes(**{**arguments, **change})


@pytest.mark.parametrize("change", [{"sigma": "1"}, {"alpha": None}, {"n": 100.0}, {"n": True}])
def test_wrong_types_are_refused(change):
    arguments = {"selection": SELECTION, "estimation": ESTIMATION, "sigma": 0.5, "y": [0, 1]}
    with pytest.raises(TypeError, match=next(iter(change))):
        certify_votes(**{**arguments, **change})


@pytest.mark.parametrize("bound", ["closed-form", "paper"])
@pytest.mark.parametrize("alpha", [0.3, 0.05, 0.001, 1e-7])
def test_smallest_n_can_certify_and_one_vote_fewer_is_refused(bound, alpha):
    n = smallest_n(alpha, bound)
    options = {"sigma": 1, "alpha": alpha, "y": [0], "bound": bound}
    assert certify_votes([[1, 0]], [[n, 0]], **options).radius_group[0] > 0
    with pytest.raises(ValueError, match=f"smallest that can is {n}"):
        certify_votes([[1, 0]], [[n - 1, 0]], **options)


def test_integral_floats_are_counts():
    a = certify_votes(np.array(SELECTION, float), np.array(ESTIMATION, float), sigma=0.5)
    b = certify_votes(SELECTION, ESTIMATION, sigma=0.5)
    np.testing.assert_array_equal(a.radius_pair, b.radius_pair)


def test_certificates_cannot_be_changed_and_do_not_hold_the_callers_arrays():
    selection, votes = np.array(SELECTION), np.array(ESTIMATION)
    c = certify_votes(selection, votes, sigma=0.5)
    votes[:] = 0
    np.testing.assert_array_equal(c.votes, ESTIMATION)
    with pytest.raises(ValueError, match="read-only"):
        c.radius_group[0] = 99.0
    with pytest.raises(AttributeError):
        c.sigma = 99.0


def test_certificates_can_be_cut_by_slice_mask_or_position(labelled):
    mask = labelled.y == "ant"
    cut = labelled[mask]
    assert len(cut) == mask.sum()
    np.testing.assert_array_equal(cut.radius_pair, labelled.radius_pair[mask])
    np.testing.assert_array_equal(cut.y, "ant")
    assert cut.rob_cs(0.1) == np.mean(labelled.radius_group[mask] > 0.1)
    assert len(labelled[3]) == 1
    assert len(labelled[-5:]) == 5
    assert len(labelled[np.array([4, 4, 1])]) == 3
    assert "200 inputs" in repr(labelled)


def test_to_frame_has_one_row_an_input(labelled):
    frame = labelled.to_frame()
    assert list(frame.columns) == [
        "y", "label", "abstained", "radius_standard", "radius_group",
        "radius_pair_ant", "radius_pair_bee", "radius_pair_cow",
    ]  # fmt: skip
    np.testing.assert_array_equal(frame["radius_pair_cow"], labelled.radius_pair[:, 2])
    assert "y" not in certify_votes(SELECTION, ESTIMATION, sigma=1).to_frame()


CASES = {
    "labels": {"y": ["a", "b"], "classes": ["a", "b"]},
    "object labels": {"y": ["a", "b"], "classes": np.array(["a", "b"], dtype=object)},
    "numbers": {"y": [5, 3], "classes": [5, 3], "bound": "paper"},
    "no truth": {},
    "costs": {"cost_matrix": [[0, 0], [0.1, 0]], "y": [1, 1], "harmless_errors": "zero"},
    "own n": {"n": [100, 100], "simultaneous": False},
}


@pytest.mark.parametrize("case", CASES)
def test_a_saved_file_gives_the_same_certificates(case, tmp_path):
    c = certify_votes(SELECTION, ESTIMATION, sigma=0.3, alpha=0.01, **CASES[case])
    path = tmp_path / "certificates.npz"
    c.save(path)
    again = Certificates.load(str(path))
    for name in ("label", "y", "n", "abstained", "radius_standard", "radius_group", "radius_pair",
                 "votes", "selection_votes"):  # fmt: skip
        np.testing.assert_array_equal(getattr(again, name), getattr(c, name))
    for name in ("sigma", "alpha", "bound", "simultaneous", "harmless_errors"):
        assert getattr(again, name) == getattr(c, name)
        assert type(getattr(again, name)) is type(getattr(c, name))
    np.testing.assert_array_equal(again.cost_matrix.matrix, c.cost_matrix.matrix)
    if c.y is not None:
        assert again.rob_cs(0.1) == c.rob_cs(0.1)
    assert os.listdir(tmp_path) == ["certificates.npz"]


def test_a_failed_save_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "certificates.npz"
    c = certify_votes(SELECTION, ESTIMATION, sigma=0.3)
    c.save(path)
    before = path.read_bytes()

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        c[:1].save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["certificates.npz"]


class Bomb:
    exploded = False

    def __reduce__(self):
        return (setattr, (Bomb, "exploded", True))


@pytest.fixture
def entries(tmp_path):
    path = tmp_path / "good.npz"
    c = certify_votes(SELECTION, ESTIMATION, sigma=0.3, y=["a", "b"], classes=["a", "b"])
    c.save(path)
    with np.load(path) as archive:
        return dict(archive)


TAMPERED = {
    "pickled object": {"label": np.array([Bomb(), Bomb()], dtype=object)},
    "unknown entry": {"surprise": np.zeros(3)},
    "missing entry": {"radius_group": None},
    "no version": {"format": None},
    "later version": {"format": 2},
    "negative radius": {"radius_group": np.array([-1.0, 0.0])},
    "infinite radius": {"radius_group": np.array([np.inf, 0.0])},
    "nan radius": {"radius_standard": np.array([np.nan, 0.0])},
    "complex radius": {"radius_standard": np.array([1j, 0.0])},
    "radius of an abstention": {"abstained": np.array([True, True])},
    "integers for a mask": {"abstained": np.array([0, 0])},
    "shorter": {"label": np.array(["a"])},
    "another label": {"label": np.array(["b", "b"])},
    "unknown truth": {"y": np.array(["a", "c"])},
    "two-dimensional truth": {"y": np.array([["a"], ["b"]])},
    "negative votes": {"votes": np.array([[101, -1], [5, 95]])},
    "votes that do not sum": {"votes": np.array([[80, 21], [5, 95]])},
    "other selection": {"selection_votes": np.array([[1, 2, 3], [4, 5, 6]])},
    "sigma": {"sigma": 0.0},
    "sigma array": {"sigma": np.array([1.0, 1.0])},
    "alpha": {"alpha": np.nan},
    "bound": {"bound": "no such bound"},
    "convention": {"harmless_errors": "forgive"},
    "costs": {"costs": np.array([[0.0, -1.0], [1.0, 0.0]])},
    "costs of another size": {"costs": np.zeros((3, 3)), "classes": None},
}


@pytest.mark.parametrize("case", TAMPERED)
def test_a_malformed_file_is_refused(case, entries, tmp_path):
    entries.update(TAMPERED[case])
    path = tmp_path / "bad.npz"
    np.savez(path, **{k: v for k, v in entries.items() if v is not None})
    with pytest.raises(ValueError, match=r"bad\.npz is not a valid file of Certificates"):
        Certificates.load(path)
    assert not Bomb.exploded


def test_files_of_other_formats_are_refused(entries, tmp_path):
    path = tmp_path / "bad.npz"
    np.save(tmp_path / "array.npy", np.zeros(3))
    good = (tmp_path / "good.npz").read_bytes()
    array = (tmp_path / "array.npy").read_bytes()
    damaged = bytearray(good)
    damaged[len(good) // 3] ^= 0xFF
    for content in (b"", b"not a zip file", array, good[: len(good) // 2], bytes(damaged)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="not a valid file of Certificates"):
            Certificates.load(path)
    with pytest.raises(FileNotFoundError):
        Certificates.load(tmp_path / "absent.npz")


def test_labels_that_need_a_pickle_cannot_be_saved(tmp_path):
    classes = np.array([("a", 1), ("b", 2)], dtype="U1,i4")
    c = certify_votes(SELECTION, ESTIMATION, sigma=1)
    object.__setattr__(c, "label", classes)
    with pytest.raises(ValueError, match="label of dtype"):
        c.save(tmp_path / "no.npz")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("h", [[[0.5, 0.6]], [[np.nan, 1.0]], [[-0.1, 1.1]], [[1.0]], [0.5, 0.5]])
def test_probabilities_are_checked(h):
    with pytest.raises(ValueError, match="probabilities must"):
        radii_from_probabilities(h, sigma=1)


def test_with_costs_certifies_the_same_votes_again(rng):
    votes = rng.multinomial(1000, [0.6, 0.3, 0.1], size=20)
    selection = rng.multinomial(100, [0.6, 0.3, 0.1], size=20)
    y = rng.integers(0, 3, 20)
    one_pair = np.zeros((3, 3))
    one_pair[0, 2] = 4.0
    uniform = certify_votes(selection, votes, sigma=0.5, alpha=0.01, y=y)
    again = with_costs(uniform, one_pair)
    direct = certify_votes(selection, votes, sigma=0.5, alpha=0.01, y=y, cost_matrix=one_pair)
    np.testing.assert_array_equal(again.radius_pair, direct.radius_pair)
    assert (again.radius_group[y == 0] > uniform.radius_group[y == 0]).any()


def test_exact_radii_are_certified_by_the_test_itself_and_beat_the_closed_form(rng):
    h = rng.dirichlet([6, 2, 1, 1], size=60)
    selection, votes = rng.multinomial(100, h), rng.multinomial(1000, h)
    options = {"sigma": 1.0, "alpha": 0.001, "y": np.zeros(60, int)}
    exact = certify_votes(selection, votes, bound="exact", blockers=False, **options)
    closed = certify_votes(selection, votes, bound="closed-form", **options)
    top = selection.argmax(axis=1)
    right = top == 0
    assert right.sum() > 30
    own = votes[:, 0]
    for i in np.flatnonzero(right & (exact.radius_group > 0)):
        radius = exact.radius_group[i]
        assert exact_rejects(own[i], votes[i, 1:], 1000, radius, 0.001).all()
        assert not exact_rejects(own[i], votes[i, 1:], 1000, radius + 0.003, 0.001).all()
    assert (exact.radius_group >= closed.radius_group - 0.002).all()
    assert exact.radius_group.mean() > closed.radius_group.mean()
    assert (exact.radius_group[~right] == 0).all()


def test_blockers_widen_radii_and_also_correct_narrows_claims(rng):
    h = np.tile([0.42, 0.4, 0.03, 0.15], (200, 1))
    cost = np.zeros((4, 4))
    cost[0, 2] = 1.0
    selection, votes = rng.multinomial(100, h), rng.multinomial(2000, h)
    options = {"sigma": 1.0, "alpha": 0.01, "cost_matrix": cost, "y": np.zeros(200, int)}
    alone = certify_votes(selection, votes, blockers=False, **options)
    blocked = certify_votes(selection, votes, **options)
    assert blocked.radius_group.mean() > 1.05 * alone.radius_group.mean()
    correct = certify_votes(selection, votes, also_correct=True, **options)
    shown = correct.radius_group > 0
    np.testing.assert_array_equal(correct.radius_group[shown], blocked.radius_group[shown])
    assert 0 < shown.mean() < 0.5  # .42 against .40 is seldom decided by 2,000 votes
    lead = votes[:, 0] - votes[:, 1]
    assert lead[shown].min() > lead[~shown].max()
    with pytest.raises(ValueError, match="also_correct.*pass y"):
        certify_votes(selection, votes, also_correct=True, sigma=1.0)
    with pytest.raises(ValueError, match="blockers"):
        certify_votes(selection, votes, blockers=0, sigma=1.0)


@pytest.mark.parametrize("alpha", [0.05, 0.001, 1e-6])
def test_smallest_n_of_the_exact_bound_is_where_it_starts_to_certify(alpha):
    n = smallest_n(alpha, "exact")
    assert exact_rejects(n, 0, n, 0.0, alpha)
    assert not exact_rejects(n - 1, 0, n - 1, 0.0, alpha)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("costs", np.ones((2, 2)), r"costs must have shape \(2, 2, 2\)"),
        ("costs", np.full((2, 2, 2), -1.0), r"costs\[0, 0, 0\] is -1"),
        ("costs", np.full((2, 2, 2), np.nan), r"costs\[0, 0, 0\] is nan"),
        ("costs", np.zeros((2, 2, 2)), "costs of row 0 are all 0"),
        ("noise_scale", [1.0, -1.0], "finite numbers >= 0"),
        ("noise_scale", [0.0, 0.0], "0 everywhere"),
    ],
)
def test_notes_that_a_bill_would_rest_on_are_refused(name, value, message):
    votes = [[2, 98], [98, 2]]
    with pytest.raises(ValueError, match=message):
        certify_votes(votes, votes, sigma=0.5, alpha=0.1, y=[1, 1], **{name: value})
