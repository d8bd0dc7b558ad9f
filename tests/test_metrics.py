"""Metrics against values worked out by hand and against plain loops."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_score, recall_score

from smoothcs import metrics
from smoothcs.cost import CostMatrix
from smoothcs.metrics import (
    abstention_rate,
    certified_accuracy,
    clean_error_matrix,
    misclassification_cost,
    precision_recall,
    rob_cost,
    rob_cs,
    rob_standard_nonsensitive,
    robust_error_matrix,
)

NAN = np.nan
# Class 0 may not be called 1 (cost 1) or 2 (cost 4); class 1 not 0 (cost 10); class 2 is free.
COST = CostMatrix([[0, 1, 4], [10, 0, 0], [0, 0, 0]], ["a", "b", "c"])
Y = np.array(["a", "a", "b", "b", "c", "c"])
LABEL = np.array(["a", "b", "b", "c", "c", "a"])
GROUP = np.array([0.5, 0.0, 0.25, 0.75, NAN, NAN])
STANDARD = np.array([0.25, 0.0, 0.25, 0.5, 0.5, 0.75])
PAIR = np.array(
    [
        [NAN, 0.5, 1.0],
        [NAN, 0.0, 0.0],
        [0.25, NAN, NAN],
        [0.75, NAN, NAN],
        [NAN, NAN, NAN],
        [NAN, NAN, NAN],
    ]
)
EPS = [0.0, 0.25, 0.5, 0.75, 1.0]


# -- values by hand -------------------------------------------------------------------------------


def test_rob_cs_by_hand():
    # Sensitive: the first four. A radius that equals eps does not count.
    np.testing.assert_array_equal(
        rob_cs(Y, GROUP, cost_matrix=COST, eps=EPS), [3 / 4, 2 / 4, 1 / 4, 0, 0]
    )


def test_rob_cost_by_hand():
    np.testing.assert_allclose(
        rob_cost(Y, PAIR, cost_matrix=COST, eps=EPS),
        [5 / 4, 15 / 4, 16 / 4, 26 / 4, 30 / 4],
        rtol=1e-15,
    )


def test_certified_accuracy_by_hand():
    np.testing.assert_array_equal(
        certified_accuracy(Y, LABEL, STANDARD, eps=EPS), [3 / 6, 1 / 6, 0, 0, 0]
    )
    abstained = np.array([True, False, False, False, False, False])
    assert certified_accuracy(Y, LABEL, STANDARD, eps=0, abstained=abstained) == 2 / 6


def test_rob_standard_nonsensitive_by_hand():
    common = {"cost_matrix": COST, "eps": [0, 0.5]}
    values = rob_standard_nonsensitive(Y, LABEL, STANDARD, **common)
    np.testing.assert_array_equal(values, [0.5, 0])
    values = rob_standard_nonsensitive(Y, LABEL, STANDARD, abstained=np.arange(6) == 4, **common)
    np.testing.assert_array_equal(values, [0, 0])


def test_misclassification_cost_by_hand():
    # a called b: 1; b called c and c called a: free.
    assert misclassification_cost(Y, LABEL, cost_matrix=COST) == 1 / 6
    # An abstention pays the dearest mistake: a 4, b 10, c 0.
    abstained = np.array([True, False, True, False, True, False])
    labels = np.where(abstained, "abstain", LABEL)
    assert misclassification_cost(
        Y, labels, cost_matrix=COST, abstained=abstained
    ) == pytest.approx(15 / 6, rel=1e-15)


def test_abstention_rate_by_hand():
    assert abstention_rate([True, False, False, True]) == 0.5
    assert abstention_rate(np.zeros(3, dtype=bool)) == 0.0


def test_precision_and_recall_by_hand():
    assert precision_recall(Y, LABEL, positive="a") == (1 / 2, 1 / 2)
    # The hit abstains: neither precision nor recall gains by it.
    assert precision_recall(Y, LABEL, positive="a", abstained=np.arange(6) == 0) == (0.0, 0.0)
    assert precision_recall(Y, LABEL, positive="a", abstained=np.arange(6) == 5) == (0.5, 0.5)


def test_precision_and_recall_of_nothing_are_nan():
    precision, recall = precision_recall([0, 0], [1, 0], positive=1)
    assert precision == 0.0
    assert np.isnan(recall)
    precision, recall = precision_recall([0, 1], [0, 0], positive=1)
    assert np.isnan(precision)
    assert recall == 0.0


def test_clean_error_matrix_by_hand():
    np.testing.assert_array_equal(
        clean_error_matrix(Y, LABEL, classes=["a", "b", "c"]),
        [[NAN, 0.5, 0.0], [0.0, NAN, 0.5], [0.5, 0.0, NAN]],
    )


def test_an_abstention_counts_as_every_mistake():
    abstained = np.array([True, False, False, False, False, False])
    np.testing.assert_array_equal(
        clean_error_matrix(Y, LABEL, classes=["a", "b", "c"], abstained=abstained)[0],
        [NAN, 1.0, 0.5],
    )


def test_robust_error_matrix_by_hand():
    at_half = [[NAN, 1.0, 0.5], [0.5, NAN, NAN], [NAN, NAN, NAN]]
    np.testing.assert_array_equal(
        robust_error_matrix(Y, PAIR, classes=["a", "b", "c"], eps=0.5), at_half
    )
    both = robust_error_matrix(Y, PAIR, classes=["a", "b", "c"], eps=[0, 0.5])
    assert both.shape == (2, 3, 3)
    np.testing.assert_array_equal(both[1], at_half)


def test_error_matrices_leave_a_class_without_examples_open():
    assert np.isnan(clean_error_matrix([0], [1], classes=[0, 1])[1]).all()
    assert np.isnan(robust_error_matrix([0], [[NAN, 0.5]], classes=[0, 1], eps=0)[1]).all()


# -- the promise: doubt never helps ---------------------------------------------------------------


def test_nan_radius_is_not_robust():
    cost = [[0, 3], [0, 0]]
    assert rob_cs([0, 0], [NAN, 1.0], cost_matrix=cost, eps=0) == 0.5
    assert rob_cost([0, 0], [[NAN, NAN], [NAN, 1.0]], cost_matrix=cost, eps=0) == 1.5
    assert certified_accuracy([0, 0], [0, 0], [NAN, 1.0], eps=0) == 0.5
    # A nan among certified radii of a pair is an error, not a gap.
    matrix = robust_error_matrix([0, 0], [[NAN, NAN], [NAN, 1.0]], classes=[0, 1], eps=0)
    assert matrix[0, 1] == 0.5


@pytest.mark.parametrize("name", ["rob_cs", "rob_cost"])
def test_without_a_sensitive_example_the_metric_is_nan_and_says_so(name):
    radius = {"rob_cs": [1.0, 1.0], "rob_cost": np.ones((2, 3))}[name]
    with pytest.warns(UserWarning, match=f"{name} is nan: no example is of a sensitive class"):
        value = getattr(metrics, name)(["c", "c"], radius, cost_matrix=COST, eps=[0.1, 0.2])
    assert value.shape == (2,)
    assert np.isnan(value).all()
    with pytest.warns(UserWarning, match=f"{name} is nan"):
        assert np.isnan(getattr(metrics, name)([2, 2], radius, cost_matrix=COST, eps=0.1))


def test_without_a_nonsensitive_example_the_metric_is_nan_and_says_so():
    with pytest.warns(UserWarning, match="no example is of a non-sensitive class"):
        value = rob_standard_nonsensitive(["a"], ["a"], [1.0], cost_matrix=COST, eps=0)
    assert np.isnan(value)


def test_no_example_at_all_is_nan_and_says_so():
    with pytest.warns(UserWarning, match="no example was given"):
        assert np.isnan(certified_accuracy([], [], [], eps=0))
    with pytest.warns(UserWarning, match="no example was given"):
        assert np.isnan(abstention_rate([]))
    with pytest.warns(UserWarning, match="no example was given"):
        assert np.isnan(misclassification_cost([], [], cost_matrix=COST))


def test_the_warning_points_at_the_caller():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rob_cs(["c"], [1.0], cost_matrix=COST, eps=0)
        rob_cost(["c"], np.ones((1, 3)), cost_matrix=COST, eps=0)
        abstention_rate([])
    assert {entry.filename for entry in caught} == {__file__}
    assert len(caught) == 3


# -- against plain loops --------------------------------------------------------------------------


@st.composite
def problems(draw):
    m, n = draw(st.integers(2, 5)), draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    matrix = rng.integers(0, 4, (m, m)).astype(float)
    np.fill_diagonal(matrix, 0)
    y, label = rng.integers(0, m, n), rng.integers(0, m, n)
    # A coarse grid, so that radii often equal eps; some are missing.
    radius_pair = rng.integers(0, 5, (n, m)) / 4
    radius_pair[rng.random((n, m)) < 0.15] = NAN
    return matrix, y, label, radius_pair, rng.random(n) < 0.3


def rob_cs_loop(matrix, y, radius, eps):
    robust = [bool(r > eps) for c, r in zip(y, radius, strict=True) if matrix[c].max() > 0]
    return sum(robust) / len(robust) if robust else NAN


def rob_cost_loop(matrix, y, radius_pair, eps):
    paid = []
    for c, radii in zip(y, radius_pair, strict=True):
        targets = [j for j in range(len(matrix)) if matrix[c, j] > 0]
        if targets:
            paid.append(sum(matrix[c, j] for j in targets if not radii[j] > eps))
    return sum(paid) / len(paid) if paid else NAN


@pytest.mark.filterwarnings("ignore:.*is nan. no example:UserWarning")
@given(problems())
def test_metrics_equal_plain_loops(problem):
    matrix, y, label, pair, abstained = problem
    standard = pair[:, 0]
    right = (y == label) & ~abstained & (standard > 0)
    free = matrix.max(axis=1)[y] == 0
    for eps in EPS:
        equal = np.testing.assert_allclose
        common = {"cost_matrix": matrix, "eps": eps}
        equal(rob_cs(y, standard, **common), rob_cs_loop(matrix, y, standard, eps))
        equal(rob_cost(y, pair, **common), rob_cost_loop(matrix, y, pair, eps))
        certified = right & (standard > eps)
        accuracy = certified_accuracy(y, label, standard, eps=eps, abstained=abstained)
        equal(accuracy, np.mean(certified))
        value = rob_standard_nonsensitive(y, label, standard, abstained=abstained, **common)
        equal(value, np.mean(certified[free]) if free.any() else NAN)
    costs = [matrix[c].max() if a else matrix[c, k] for c, k, a in zip(y, label, abstained)]  # noqa: B905
    equal(misclassification_cost(y, label, cost_matrix=matrix, abstained=abstained), np.mean(costs))


@pytest.mark.filterwarnings("ignore:.*is nan. no example:UserWarning")
@given(problems())
def test_metrics_are_monotone_in_eps_and_bounded(problem):
    matrix, y, label, pair, _ = problem
    eps = np.linspace(0, 1.5, 13)
    robust = rob_cs(y, pair[:, 0], cost_matrix=matrix, eps=eps)
    cost = rob_cost(y, pair, cost_matrix=matrix, eps=eps)
    accuracy = certified_accuracy(y, label, pair[:, 0], eps=eps)
    assert (np.diff(accuracy) <= 0).all()
    assert ((accuracy >= 0) & (accuracy <= 1)).all()
    if matrix[y].any():
        assert (np.diff(robust) <= 0).all()
        assert ((robust >= 0) & (robust <= 1)).all()
        assert (np.diff(cost) >= 0).all()
        sensitive = y[matrix[y].any(axis=1)]
        assert (cost >= 0).all()
        assert cost[-1] == pytest.approx(matrix[sensitive].sum(axis=1).mean())
    else:
        assert np.isnan(robust).all()
        assert np.isnan(cost).all()


@pytest.mark.filterwarnings("ignore:.*is nan. no example:UserWarning")
@given(problems())
def test_abstaining_never_helps(problem):
    matrix, y, label, pair, abstained = problem
    standard = pair[:, 0]
    assert certified_accuracy(y, label, standard, eps=0.25, abstained=abstained) <= (
        certified_accuracy(y, label, standard, eps=0.25)
    )
    assert misclassification_cost(y, label, cost_matrix=matrix, abstained=abstained) >= (
        misclassification_cost(y, label, cost_matrix=matrix)
    )
    for less, more in zip(
        precision_recall(y, label, positive=1, abstained=abstained),
        precision_recall(y, label, positive=1),
        strict=True,
    ):
        assert less <= more or (np.isnan(less) and np.isnan(more))
    with_gaps = clean_error_matrix(y, label, classes=range(len(matrix)), abstained=abstained)
    without = clean_error_matrix(y, label, classes=range(len(matrix)))
    assert np.all((with_gaps >= without) | np.isnan(without))


@given(problems())
def test_clean_metrics_equal_those_of_scikit_learn(problem):
    matrix, y, label, _, _ = problem
    m = len(matrix)
    counts = confusion_matrix(y, label, labels=range(m))
    assert misclassification_cost(y, label, cost_matrix=matrix) == pytest.approx(
        (counts * matrix).sum() / len(y)
    )
    shares = np.full((m, m), NAN)
    seen = counts.sum(axis=1) > 0
    shares[seen] = counts[seen] / counts[seen].sum(axis=1, keepdims=True)
    np.fill_diagonal(shares, NAN)
    np.testing.assert_allclose(clean_error_matrix(y, label, classes=range(m)), shares)
    ours = precision_recall(y, label, positive=1)
    options = {"labels": [1], "average": "macro", "zero_division": np.nan}
    theirs = precision_score(y, label, **options), recall_score(y, label, **options)
    np.testing.assert_allclose(ours, theirs)


@given(problems())
def test_robust_errors_weighted_by_cost_add_up_to_rob_cost(problem):
    matrix, y, _, pair, _ = problem
    if not matrix[y].any():
        return
    errors = robust_error_matrix(y, pair, classes=range(len(matrix)), eps=0.25)
    # A pair that was never certified at all is left open there and paid in rob_cost.
    errors = np.where(np.isnan(errors), 1.0, errors)
    counts = np.bincount(y, minlength=len(matrix))
    n_sensitive = counts[matrix.any(axis=1)].sum()
    total = (counts[:, None] * errors * matrix).sum() / n_sensitive
    assert rob_cost(y, pair, cost_matrix=matrix, eps=0.25) == pytest.approx(total)


@given(problems(), st.integers(0, 2**32 - 1))
def test_integer_weights_equal_repeated_examples(problem, seed):
    matrix, y, label, pair, _ = problem
    times = np.random.default_rng(seed).integers(0, 4, len(y))
    times[0] = 1
    sensitive = matrix.any(axis=1)[y]
    again = np.repeat(np.arange(len(y)), times)
    one = certified_accuracy(y, label, pair[:, 0], eps=0.25, sample_weight=times)
    two = certified_accuracy(y[again], label[again], pair[again, 0], eps=0.25)
    assert one == pytest.approx(two)
    abstained = pair[:, -1] > 0.5
    for metric, args, options in (
        (misclassification_cost, (y, label), {"cost_matrix": matrix, "abstained": abstained}),
        (precision_recall, (y, label), {"positive": 1, "abstained": abstained}),
        (abstention_rate, (abstained,), {}),
        (clean_error_matrix, (y, label), {"classes": range(len(matrix)), "abstained": abstained}),
        (robust_error_matrix, (y, pair), {"classes": range(len(matrix)), "eps": 0.25}),
    ):
        rows = tuple(a[again] for a in args)
        repeated = options | {k: v[again] for k, v in options.items() if k == "abstained"}
        np.testing.assert_allclose(
            metric(*args, sample_weight=times, **options), metric(*rows, **repeated)
        )
    if not sensitive[again].all():
        args = (y, label, pair[:, 0])
        common = {"cost_matrix": matrix, "eps": 0.25}
        np.testing.assert_allclose(
            rob_standard_nonsensitive(*args, sample_weight=times, **common),
            rob_standard_nonsensitive(*(a[again] for a in args), **common),
        )
    if sensitive[again].any():
        common = {"cost_matrix": matrix, "eps": 0.25}
        one = rob_cs(y, pair[:, 0], sample_weight=times, **common)
        assert one == pytest.approx(rob_cs(y[again], pair[again, 0], **common))
        one = rob_cost(y, pair, sample_weight=times, **common)
        assert one == pytest.approx(rob_cost(y[again], pair[again], **common))


def test_huge_weights_do_not_overflow_and_zero_weights_are_no_example():
    common = {"cost_matrix": [[0, 2], [0, 0]], "eps": 0}
    assert rob_cs([0, 0], [0, 1], sample_weight=[1e308, 1e308], **common) == 0.5
    assert rob_cost([0, 0], [[0, 0], [1, 1]], sample_weight=[1e308, 1e308], **common) == 1.0
    with pytest.warns(UserWarning, match="no example with a positive weight"):
        assert np.isnan(rob_cs([0, 1], [1, 1], sample_weight=[0, 1], **common))


# -- shapes and types -----------------------------------------------------------------------------


@pytest.mark.parametrize("eps", [0.25, 0, np.float32(0.25), np.array(0.25)])
def test_one_eps_gives_a_python_float(eps):
    for value in (
        rob_cs(Y, GROUP, cost_matrix=COST, eps=eps),
        rob_cost(Y, PAIR, cost_matrix=COST, eps=eps),
        certified_accuracy(Y, LABEL, STANDARD, eps=eps),
        rob_standard_nonsensitive(Y, LABEL, STANDARD, cost_matrix=COST, eps=eps),
    ):
        assert type(value) is float


@pytest.mark.parametrize("eps", [[0.25], (0.5, 0.25), np.array([0, 1, 2]), []])
def test_several_eps_give_an_array_in_their_order(eps):
    values = rob_cs(Y, GROUP, cost_matrix=COST, eps=eps)
    assert isinstance(values, np.ndarray)
    assert values.tolist() == [rob_cs(Y, GROUP, cost_matrix=COST, eps=e) for e in eps]
    assert rob_cost(Y, PAIR, cost_matrix=COST, eps=eps).shape == (len(eps),)


def test_scalar_metrics_are_python_floats():
    assert type(misclassification_cost(Y, LABEL, cost_matrix=COST)) is float
    assert type(abstention_rate([True, False])) is float
    assert [type(v) for v in precision_recall(Y, LABEL, positive="a")] == [float, float]


def test_class_indices_may_stand_for_labels():
    codes = COST.encode(Y)
    for eps in EPS:
        common = {"cost_matrix": COST, "eps": eps}
        assert rob_cs(codes, GROUP, **common) == rob_cs(Y, GROUP, **common)
        assert rob_cost(codes, PAIR, **common) == rob_cost(Y, PAIR, **common)


@pytest.mark.parametrize("eps", [-0.1, NAN, np.inf, [0.1, -1.0], [[0.1]]])
def test_eps_out_of_range_is_refused(eps):
    with pytest.raises(ValueError, match="eps must be"):
        rob_cs(Y, GROUP, cost_matrix=COST, eps=eps)
    with pytest.raises(ValueError, match="eps must be"):
        robust_error_matrix(Y, PAIR, classes=["a", "b", "c"], eps=eps)


@pytest.mark.parametrize("eps", ["0.5", None, True, [None]])
def test_eps_that_is_no_number_is_refused(eps):
    with pytest.raises(TypeError, match="eps must be"):
        certified_accuracy(Y, LABEL, STANDARD, eps=eps)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rob_cs(Y, GROUP[:5], cost_matrix=COST, eps=0), r"radius must have shape \(6\)"),
        (lambda: rob_cs(Y, PAIR, cost_matrix=COST, eps=0), "radius must have shape"),
        (lambda: rob_cost(Y, GROUP, cost_matrix=COST, eps=0), "radius_pair must have shape"),
        (lambda: rob_cost(Y[:4], PAIR, cost_matrix=COST, eps=0), "radius_pair must have one row"),
        (lambda: rob_cost(Y, PAIR[:, :2], cost_matrix=COST, eps=0), "3 x 3, but there are 2"),
        (lambda: certified_accuracy(Y, LABEL[:5], STANDARD, eps=0), "label must have one row"),
        (lambda: certified_accuracy(Y, LABEL, STANDARD[:5], eps=0), "radius_standard must have"),
        (lambda: certified_accuracy([Y], LABEL, STANDARD, eps=0), "y must be a 1-D array"),
        (
            lambda: certified_accuracy(Y, LABEL, STANDARD, eps=0, abstained=[True]),
            "abstained must have one row",
        ),
        (lambda: abstention_rate([[True]]), "abstained must be a 1-D"),
        (lambda: misclassification_cost(Y, LABEL[1:], cost_matrix=COST), "label must have one row"),
        (
            lambda: misclassification_cost(["a"], ["abstain"], cost_matrix=COST),
            "label holds the label 'abstain'.*Pass abstained=",
        ),
        (lambda: rob_cs(["z"], [1.0], cost_matrix=COST, eps=0), "y holds the label 'z'"),
        (lambda: rob_cs([0], [1.0], cost_matrix=None, eps=0), r"call align\(classes\)"),
        (
            lambda: robust_error_matrix(Y, PAIR, classes=["a", "b"], eps=0),
            "y holds the label 'c'",
        ),
        (
            lambda: robust_error_matrix([0], PAIR[:1], classes=[0, 1], eps=0),
            r"radius_pair must have shape \(1, 2\)",
        ),
        (
            lambda: rob_cs(Y, GROUP, cost_matrix=COST, eps=0, sample_weight=[1] * 5),
            "sample_weight must have shape",
        ),
        (
            lambda: rob_cs(Y, GROUP, cost_matrix=COST, eps=0, sample_weight=[1] * 5 + [-1]),
            "sample_weight must be finite and >= 0; got -1",
        ),
        (
            lambda: rob_cost(Y, PAIR, cost_matrix=COST, eps=0, sample_weight=[NAN] * 6),
            "sample_weight must be finite",
        ),
    ],
)
def test_shapes_and_labels_that_do_not_fit_are_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: abstention_rate([0, 1]), "abstained must be a boolean mask"),
        (lambda: rob_cs(Y, list("123456"), cost_matrix=COST, eps=0), "radius must hold real"),
        (lambda: certified_accuracy(Y, np.arange(6), STANDARD, eps=0), "label and y .* same kind"),
        (lambda: precision_recall(Y, LABEL, positive=1), "positive and y .* same kind"),
    ],
)
def test_the_wrong_kind_of_value_is_a_type_error(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_inputs_are_left_alone():
    pair, y = PAIR.copy(), Y.copy()
    rob_cost(y, pair, cost_matrix=COST, eps=EPS)
    robust_error_matrix(y, pair, classes=["a", "b", "c"], eps=EPS)
    np.testing.assert_array_equal(pair, PAIR)
    np.testing.assert_array_equal(y, Y)
