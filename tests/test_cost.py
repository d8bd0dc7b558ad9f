"""Costs sit where the labels say, and nothing dubious gets in."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, clone

from smoothcs.cost import CostMatrix, as_cost_matrix

ANIMALS = ["cat", "dog", "fox"]


class Holder(BaseEstimator):
    def __init__(self, cost_matrix=None):
        self.cost_matrix = cost_matrix


# -- builders -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("built", "expected"),
    [
        (CostMatrix.uniform(2), [[0, 2, 2], [2, 0, 2], [2, 2, 0]]),
        (CostMatrix.seedwise(["dog"], 3), [[0, 0, 0], [3, 0, 3], [0, 0, 0]]),
        (CostMatrix.seedwise(["dog", "cat"]), [[0, 1, 1], [1, 0, 1], [0, 0, 0]]),
        (CostMatrix.targetwise(["dog"], 3), [[0, 3, 0], [0, 0, 0], [0, 3, 0]]),
        # An id of its own: a set has no order, and test ids must not change from run to run.
        pytest.param(
            CostMatrix.targetwise({"dog", "fox"}), [[0, 1, 1], [0, 0, 1], [0, 1, 0]], id="a set"
        ),
        (CostMatrix.pairwise([("cat", "fox")], 4), [[0, 0, 4], [0, 0, 0], [0, 0, 0]]),
        (CostMatrix.pairwise(np.array([["fox", "cat"]])), [[0, 0, 0], [0, 0, 0], [1, 0, 0]]),
        (CostMatrix({("fox", "dog"): 5, ("cat", "cat"): 0}), [[0, 0, 0], [0, 0, 0], [0, 5, 0]]),
        (
            CostMatrix.from_function(lambda s, t: len(s) + (t > s)),
            [[0, 4, 4], [3, 0, 4], [3, 3, 0]],
        ),
    ],
    ids=repr,
)
def test_builder_fills_the_entries_it_names(built, expected):
    aligned = built.align(ANIMALS)
    np.testing.assert_array_equal(aligned.matrix, expected)
    np.testing.assert_array_equal(aligned.omega, np.array(expected) > 0)
    assert aligned.matrix.dtype == np.float64
    assert aligned.classes.tolist() == ANIMALS
    assert aligned.n_classes == 3


def test_builders_with_classes_equal_the_aligned_ones():
    assert CostMatrix.uniform(classes=ANIMALS) == CostMatrix.uniform().align(ANIMALS)
    assert CostMatrix.seedwise("dog", classes=ANIMALS) == CostMatrix.seedwise(["dog"]).align(
        ANIMALS
    )
    assert CostMatrix({("cat", "dog"): 1}, classes=ANIMALS) == CostMatrix.pairwise(
        [("cat", "dog")], classes=ANIMALS
    )


def test_a_string_seed_is_one_label_not_its_letters():
    assert CostMatrix.seedwise("ab", classes=["ab", "a", "b"]).omega.any(axis=1).tolist() == [
        True,
        False,
        False,
    ]


def test_digit_tasks_of_zhang_and_evans():
    small_large = CostMatrix.from_function(
        lambda i, j: (i - j) ** 2 if j > i else 0, classes=range(10)
    )
    i, j = np.indices((10, 10))
    np.testing.assert_array_equal(small_large.matrix, np.triu((i - j) ** 2))
    assert small_large.omega.sum() == 45  # "sparsity 45/90" in their Table 2


def test_unaligned_builder_says_how_to_give_it_a_size():
    with pytest.raises(ValueError, match=r"seedwise.*call align\(classes\)"):
        _ = CostMatrix.seedwise([8]).matrix
    with pytest.raises(ValueError, match="align"):
        CostMatrix.uniform().encode([0])


# -- alignment ------------------------------------------------------------------------------------


@given(st.permutations(range(5)), st.integers(0, 2**32 - 1))
def test_align_permutes_so_that_every_labelled_entry_keeps_its_cost(order, seed):
    costs = np.random.default_rng(seed).uniform(0, 9, (5, 5))
    np.fill_diagonal(costs, 0)
    labels = list("abcde")
    shuffled = [labels[i] for i in order]
    frame = pd.DataFrame(costs, index=labels, columns=labels).loc[shuffled]  # rows only
    mapping = {(s, t): costs[i, j] for i, s in enumerate(labels) for j, t in enumerate(labels)}
    for source in (frame, mapping, CostMatrix(costs, labels), CostMatrix(costs, labels).align):
        aligned = source(shuffled) if callable(source) else as_cost_matrix(source, shuffled)
        np.testing.assert_array_equal(aligned.matrix, costs[np.ix_(order, order)])
        assert aligned.classes.tolist() == shuffled
        assert aligned.align(labels) == CostMatrix(costs, labels)


def test_unlabelled_array_is_taken_in_the_order_of_the_classes():
    aligned = CostMatrix([[0, 1], [2, 0]]).align(["b", "a"])
    assert aligned.matrix.tolist() == [[0, 1], [2, 0]]
    assert aligned.classes.tolist() == ["b", "a"]


@pytest.mark.parametrize(
    ("classes", "labels"),
    [
        (np.array([3, 5, 7]), [3, 5, 7]),
        ([np.int64(3), 5, np.uint8(7)], [3, 5, 7]),
        ([0.5, 1.5, 2.5], np.array([0.5, 1.5, 2.5])),
        ([1.0, 2.0, 3.0], [1, 2, 3]),
        (["a", "b", "c"], np.array(["a", "b", "c"])),
        (np.array(["a", "b", "c"], dtype=object), pd.Series(["a", "b", "c"])),
        ([1, "a", 2.5], [1, "a", 2.5]),
    ],
    ids=repr,
)
def test_labels_of_any_kind_are_found_by_value(classes, labels):
    cost = CostMatrix.seedwise([list(labels)[1]], classes=classes)
    assert cost.encode(labels).tolist() == [0, 1, 2]
    assert cost.encode(labels).dtype == np.intp
    assert cost.sensitive_mask(labels).tolist() == [False, True, False]


def test_a_number_and_its_digits_are_different_labels():
    cost = CostMatrix.seedwise(["1"], classes=[1, "1"])
    assert cost.encode(["1", 1]).tolist() == [1, 0]
    assert cost.matrix.tolist() == [[0, 0], [1, 0]]


def test_boolean_labels():
    cost = CostMatrix({(np.True_, False): 10}, classes=np.array([False, True]))
    assert cost.matrix.tolist() == [[0, 0], [10, 0]]
    assert cost.encode([True, False]).tolist() == [1, 0]


def test_integers_are_labels_of_numeric_classes_and_indices_of_others():
    assert CostMatrix.uniform(classes=[2, 1, 0]).encode([0, 2]).tolist() == [2, 0]
    assert CostMatrix.uniform(classes=[2.0, 1.0]).encode([1, 2]).tolist() == [1, 0]
    assert CostMatrix.uniform(classes=ANIMALS).encode(np.array([2, 0])).tolist() == [2, 0]
    assert CostMatrix([[0, 1], [1, 0]]).encode([1, 0, 1]).tolist() == [1, 0, 1]
    assert CostMatrix([[0, 1], [1, 0]]).encode([]).tolist() == []


@pytest.mark.parametrize(
    ("cost", "y", "named"),
    [
        (CostMatrix.uniform(classes=ANIMALS), ["cat", "cow"], "'cow'"),
        (CostMatrix.uniform(classes=ANIMALS), [0, 3], "3"),
        (CostMatrix.uniform(classes=ANIMALS), [0, -1], "-1"),
        (CostMatrix.uniform(classes=["0", "1"]), [0.0], "0.0"),
        (CostMatrix.uniform(classes=[0, 1]), ["1"], "'1'"),
        (CostMatrix.uniform(classes=[0.0, 1.0]), [np.nan], "nan"),
        (CostMatrix([[0, 1], [1, 0]]), [2], "2"),
        (CostMatrix([[0, 1], [1, 0]]), [-1], "-1"),
    ],
)
def test_unseen_label_is_refused_by_name(cost, y, named):
    with pytest.raises(ValueError, match=rf"y holds the label {named}, which is none of"):
        cost.encode(y)


def test_sensitive_targets_are_the_labels_with_a_cost():
    cost = CostMatrix({("cat", "fox"): 1, ("cat", "dog"): 2, ("dog", "cat"): 1}, classes=ANIMALS)
    assert cost.sensitive_targets("cat").tolist() == ["dog", "fox"]
    assert cost.sensitive_targets(1).tolist() == ["cat"]
    assert cost.sensitive_targets("fox").tolist() == []
    assert CostMatrix([[0, 0], [1, 0]]).sensitive_targets(1).tolist() == [0]


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CostMatrix([[0, 1, 2], [1, 0, 2]]), r"square.*\(2, 3\)"),
        (lambda: CostMatrix([0, 1]), r"square.*\(2,\)"),
        (lambda: CostMatrix([[0, 1], [1]]), "square.*different lengths"),
        (lambda: CostMatrix(np.zeros((0, 0))), r"square.*\(0, 0\)"),
        (lambda: CostMatrix(3.0), r"square.*\(\)"),
        (lambda: CostMatrix([[0, 1], [1, 0]], ANIMALS), "2 x 2, but there are 3 classes.*'fox'"),
        (lambda: CostMatrix([[0, 1], [1, 0]]).align(ANIMALS), "2 x 2, but there are 3 classes"),
        (lambda: as_cost_matrix([[0, 1], [1, 0]], n_classes=3), "2 x 2, but there are 3 classes"),
        (lambda: CostMatrix([[0, -1], [1, 0]]), r"seed 0, target 1\) is -1; costs must be >= 0"),
        (lambda: CostMatrix([[0, 1], [np.nan, 0]]), r"seed 1, target 0\) is nan.*finite"),
        (
            lambda: CostMatrix([[0, 1], [np.inf, 0]], "ab"),
            "must be a 1-D array of labels; got 'ab'",
        ),
        (lambda: CostMatrix([[0, 1], [np.inf, 0]], ["a", "b"]), r"seed 'b', target 'a'\) is inf"),
        (
            lambda: CostMatrix([[0, 1], [1, 2]], ["a", "b"]),
            r"seed 'b', target 'b'\) is 2.*diagonal",
        ),
        (lambda: CostMatrix({("a", "b"): -2}), r"seed 'a', target 'b'\) is -2"),
        (lambda: CostMatrix({("a", "a"): 2}), r"seed 'a', target 'a'\) is 2.*diagonal"),
        (lambda: CostMatrix({("a", "b"): np.nan}), r"seed 'a', target 'b'\) is nan"),
        (lambda: CostMatrix({"ab": 1}), r"\(seed, target\); got 'ab'"),
        (lambda: CostMatrix({}), "at least one"),
        (lambda: CostMatrix({("a", "cow"): 1}, ANIMALS), "unknown label 'a'.*'cat', 'dog', 'fox'"),
        (lambda: CostMatrix.seedwise(["cow"], classes=ANIMALS), "unknown label 'cow'"),
        (lambda: CostMatrix.seedwise([1], classes=["0", "1"]), r"unknown label 1; .*\['0', '1'\]"),
        (lambda: CostMatrix.targetwise([9], classes=range(9)), "unknown label 9"),
        (lambda: CostMatrix.pairwise([("cat", "cow")], classes=ANIMALS), "unknown label 'cow'"),
        (lambda: CostMatrix.pairwise([("cat", "cat")]), r"target 'cat'\) is 1.0.*diagonal"),
        (lambda: CostMatrix.pairwise(("ab", "cd")), r"\(seed, target\); got 'ab'"),
        (lambda: CostMatrix.pairwise([(1, 2), (1, 2)]), r"pairs gives \(1, 2\) twice"),
        (lambda: CostMatrix.seedwise([8, np.int64(8)]), "seeds gives 8 twice"),
        (lambda: CostMatrix.targetwise([1, 2, 1.0]), "targets gives 1.0 twice"),
        (lambda: CostMatrix.seedwise([]), "seeds must name at least one class"),
        (lambda: CostMatrix.seedwise([8], cost=-1), "cost must be a finite number"),
        (lambda: CostMatrix.uniform(np.inf), "cost must be a finite number"),
        (lambda: CostMatrix([[0, 1], [1, 0]], ["a", "a"]), "classes gives 'a' twice"),
        (lambda: CostMatrix.uniform(classes=[1.0, np.nan]), "classes must not hold nan"),
        (lambda: CostMatrix.uniform(classes=[]), "classes must hold at least one"),
        (lambda: CostMatrix.uniform(classes=[["a"], ["b"]]), r"classes.*1-D.*\(2, 1\)"),
        (
            lambda: CostMatrix([[0, 1], [1, 0]], ["a", "b"]).align(["a", "c"]),
            r"unknown label 'b'.*missing: \['c'\]",
        ),
        (
            lambda: CostMatrix([[0, 1], [1, 0]], ["a", "b"]).align(["a", "b", "c"]),
            r"lacks a label.*missing: \['c'\]",
        ),
        (lambda: as_cost_matrix(None, classes=["a", "b"], n_classes=3), "there are 3 classes"),
        (
            lambda: CostMatrix.from_function(lambda s, t: s - t, classes=[0, 1]),
            r"seed 0, target 1\) is -1",
        ),
    ],
)
def test_bad_costs_and_labels_are_refused_naming_the_entry(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: CostMatrix([["0", "1"], ["1", "0"]]),
        lambda: CostMatrix([[0, 1j], [1, 0]]),
        lambda: CostMatrix(np.array([[0, None], [1, 0]], dtype=object)),
        lambda: CostMatrix({("a", "b"): "1"}),
        lambda: CostMatrix.from_function(lambda s, t: "1", classes=[0, 1]),
        lambda: CostMatrix.from_function(3),
        lambda: CostMatrix.pairwise({(1, 2): 3}),
        lambda: CostMatrix.seedwise([1], cost="2"),
        lambda: CostMatrix.uniform(classes={"a", "b"}),
        lambda: CostMatrix.uniform(classes=3),
    ],
)
def test_things_of_the_wrong_type_are_type_errors(make):
    with pytest.raises(TypeError):
        make()


def test_frame_refusals_name_the_label():
    frame = pd.DataFrame([[0, 1], [1, 0]], index=["a", "b"], columns=["a", "c"])
    with pytest.raises(ValueError, match="column 'c', an unknown label"):
        CostMatrix(frame)
    with pytest.raises(ValueError, match="index of cost_matrix gives 'a' twice"):
        CostMatrix(frame.set_axis(["a", "a"]))
    with pytest.raises(ValueError, match="columns of cost_matrix gives 'a' twice"):
        CostMatrix(frame.set_axis(["a", "a"], axis=1))
    with pytest.raises(ValueError, match=r"square.*\(1, 2\)"):
        CostMatrix(frame.iloc[:1])
    with pytest.raises(ValueError, match="unknown label 'a'"):
        CostMatrix(frame.set_axis(["a", "b"], axis=1), classes=[0, 1])


def test_named_columns_without_row_labels_are_refused():
    class Columns:
        columns = ("a", "b")

    with pytest.raises(TypeError, match="no row labels"):
        CostMatrix(Columns())


# -- as an object ---------------------------------------------------------------------------------

OBJECTS = [
    CostMatrix([[0, 1], [10, 0]]),
    CostMatrix([[0, 1], [10, 0]], ["benign", "malignant"]),
    CostMatrix(np.triu(np.ones((30, 30)), 1), range(30)),
    CostMatrix({("a", "b"): 2, ("b", "a"): 1}),
    CostMatrix.uniform(),
    CostMatrix.seedwise([8]),
    CostMatrix.seedwise([8], cost=2),
    CostMatrix.targetwise([8]),
    CostMatrix.pairwise([(3, 5), (3, 2)]),
    CostMatrix.from_function(max),
]


@pytest.mark.parametrize("cost", OBJECTS, ids=repr)
def test_copies_pickles_and_clones_are_equal_and_still_read_only(cost):
    holder = clone(Holder(cost))
    pickled = pickle.loads(pickle.dumps(cost))
    for twin in (copy.copy(cost), copy.deepcopy(cost), pickled, holder.cost_matrix):
        assert twin == cost
        assert hash(twin) == hash(cost)
        assert repr(twin) == repr(cost)
        if cost._matrix is not None:
            assert not twin.matrix.flags.writeable
            assert twin.classes is None or not twin.classes.flags.writeable
    assert holder.get_params()["cost_matrix"] == cost


def test_different_matrices_differ():
    assert len(set(OBJECTS)) == len(OBJECTS)
    plain = OBJECTS[0]
    assert (plain == plain.matrix) is False
    assert (plain.matrix == plain) is False
    assert plain != None  # noqa: E711


def test_equality_ignores_the_order_in_which_entries_were_named():
    a, b = (1, 2), (2, 1)
    assert CostMatrix({a: 1, b: 2}) == CostMatrix({b: 2, a: 1.0})
    assert CostMatrix.seedwise([1, 2]) == CostMatrix.seedwise((2, 1))
    assert hash(CostMatrix([[0, -0.0], [1, 0]])) == hash(CostMatrix([[0, 0], [1, 0]]))
    assert CostMatrix(OBJECTS[1]) == OBJECTS[1]


def test_nothing_can_be_changed_afterwards():
    source, classes = np.array([[0.0, 1.0], [2.0, 0.0]]), np.array(["a", "b"])
    cost = CostMatrix(source, classes)
    source[0, 1], classes[0] = 7, "z"
    assert cost.matrix[0, 1] == 1
    assert cost.classes.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="read-only"):
        cost.matrix[0, 1] = 5
    with pytest.raises(ValueError, match="read-only"):
        cost.classes[0] = "c"
    with pytest.raises(AttributeError, match="immutable"):
        cost._matrix = source
    with pytest.raises(AttributeError, match="immutable"):
        del cost._matrix


@pytest.mark.parametrize("cost", [*OBJECTS[:2], *OBJECTS[3:-1]], ids=repr)
def test_short_repr_is_the_code_that_builds_it(cost):
    assert eval(repr(cost), {"CostMatrix": CostMatrix}) == cost


def test_repr_of_many_classes_says_what_is_sensitive():
    text = repr(CostMatrix.seedwise([8], 2, classes=range(10)))
    assert "10 classes" in text
    assert "9 costly mistakes, total cost 18" in text
    assert "1 sensitive classes [8]" in text
    assert len(repr(CostMatrix.uniform(classes=range(1000)))) < 200


# -- as a parameter -------------------------------------------------------------------------------


def test_as_cost_matrix_reads_every_accepted_form():
    expected = CostMatrix([[0, 1], [10, 0]], ["benign", "malignant"])
    labels = expected.classes
    forms = [
        [[0, 1], [10, 0]],
        np.array([[0, 1], [10, 0]], dtype=np.float32),
        pd.DataFrame([[0, 10], [1, 0]], index=labels[::-1], columns=labels[::-1]),
        {("benign", "malignant"): 1, ("malignant", "benign"): 10},
        expected,
    ]
    for form in forms:
        assert as_cost_matrix(form, classes=labels) == expected
    assert as_cost_matrix(expected) is expected


def test_none_means_that_every_mistake_costs_one():
    assert as_cost_matrix(None, classes=["a", "b"]).matrix.tolist() == [[0, 1], [1, 0]]
    bare = as_cost_matrix(None, n_classes=2)
    assert bare.classes is None
    assert bare.matrix.tolist() == [[0, 1], [1, 0]]


def test_without_labels_a_builder_counts_classes_by_index():
    assert as_cost_matrix(CostMatrix.seedwise([1]), n_classes=2).matrix.tolist() == [[0, 0], [1, 0]]
    assert as_cost_matrix({(0, 1): 3}, n_classes=2).matrix.tolist() == [[0, 3], [0, 0]]
    with pytest.raises(ValueError, match="unknown label 2"):
        as_cost_matrix({(0, 2): 3}, n_classes=2)


def test_the_tasks_of_zhang_and_evans_are_builders():
    labels = np.arange(10)
    gain = labels[None, :] - labels[:, None]
    up = pickle.loads(pickle.dumps(CostMatrix.small_large())).align(labels)
    down = CostMatrix.large_small().align(labels)
    np.testing.assert_array_equal(up.matrix, np.where(gain > 0, gain**2, 0))
    np.testing.assert_array_equal(down.matrix, np.where(gain < 0, gain**2, 0))
    task = CostMatrix.vehicle_animal([0, 1], [2]).align([0, 1, 2, 3])
    np.testing.assert_array_equal(
        task.matrix, [[0, 1, 10, 0], [1, 0, 10, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    )
    with pytest.raises(ValueError, match="must cost 0"):
        CostMatrix.vehicle_animal([0, 1], [1], classes=[0, 1])
