"""CertifiedAt: what is saved is loaded, what is damaged is refused, a frame shows it all."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from smoothcs import Certificates, CertifiedAt, CostSensitiveSmoothedClassifier, WeightedVotes
from smoothcs.sequential import KINDS

CLASSES = ["cat", "dog", "fox"]
COSTS = {("cat", "dog"): 10.0, ("dog", "cat"): 1.0, ("dog", "fox"): 2.0}
CENTRES = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
X = np.array([[0.0, 0.0], [2.0, 0.1], [1.0, 0.0], [0.2, 2.0], [1.9, 0.0], [0.7, 0.7]])
Y = np.array(["cat", "dog", "cat", "fox", "cat", "dog"])


def by_distance(batch):
    return -((batch[:, None] - CENTRES) ** 2).sum(axis=2)


def certified(y=Y, eps=(0.1, 0.25), kinds=KINDS, decision=None, **options):
    clf = CostSensitiveSmoothedClassifier.from_module(
        by_distance,
        classes=CLASSES,
        cost_matrix=COSTS,
        sigma=0.5,
        n_estimation=400,
        decision=decision,
        random_state=0,
    )
    return clf.certify_at(X, y, eps, kinds=kinds, **options)


CASES = {
    "all": {},
    "no truth": {"y": None},
    "one radius": {"eps": 0.2},
    "groups alone": {"kinds": "group"},
    "pairs and labels": {"kinds": ("pair", "label")},
    "weighted": {"decision": WeightedVotes({"dog": 3})},
    "correct": {"also_correct": True},
    "harmless": {"harmless_errors": "zero"},
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_saved_is_loaded(case, tmp_path):
    one = certified(**CASES[case])
    one.save(tmp_path / "at.npz")
    other = CertifiedAt.load(tmp_path / "at.npz")
    for field in dataclasses.fields(one):
        here, there = getattr(one, field.name), getattr(other, field.name)
        assert type(here) is type(there), field.name
        np.testing.assert_equal(there, here, err_msg=field.name)
        if isinstance(here, np.ndarray):
            assert here.dtype == there.dtype
            assert not there.flags.writeable
    assert repr(other) == repr(one)
    if case == "all":
        assert one.certified_group.any()
        assert not one.certified_group.all()
        np.testing.assert_equal(other.report(0.1), one.report(0.1))


def test_an_existing_file_is_replaced(tmp_path):
    certified(kinds="group").save(tmp_path / "at.npz")
    certified().save(tmp_path / "at.npz")
    assert CertifiedAt.load(tmp_path / "at.npz").certified_pair is not None


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The entries of a good file."""
    path = tmp_path_factory.mktemp("good") / "at.npz"
    certified().save(path)
    with np.load(path) as archive:
        return dict(archive)


def refused(path, entries, match="is not a valid file of CertifiedAt"):
    np.savez(path, **entries)
    with pytest.raises(ValueError, match=match) as raised:
        CertifiedAt.load(path)
    assert path.name in str(raised.value)


def truths(saved, name):
    return np.ones_like(saved[name])


# Index 4 is a cat taken for a dog, which costs 10: nothing may be claimed of it.
WRONG = {
    "eps of another length": lambda s: {"eps": s["eps"][:1]},
    "eps of zero": lambda s: {"eps": np.array([0.0, 0.25])},
    "eps of nan": lambda s: {"eps": np.array([np.nan, 0.25])},
    "eps of inf": lambda s: {"eps": np.array([0.1, np.inf])},
    "eps of single precision": lambda s: {"eps": s["eps"].astype(np.float32)},
    "a scalar eps": lambda s: {"eps": np.float64(0.1)},
    "certified groups everywhere": lambda s: {"certified_group": truths(s, "certified_group")},
    "certified pairs everywhere": lambda s: {"certified_pair": truths(s, "certified_pair")},
    "certified labels everywhere": lambda s: {
        "certified_standard": truths(s, "certified_standard")
    },
    "groups as integers": lambda s: {"certified_group": s["certified_group"].astype(int)},
    "groups of one radius": lambda s: {"certified_group": s["certified_group"][:, :1]},
    "groups in a row": lambda s: {"certified_group": s["certified_group"][:, 0]},
    "groups of fewer inputs": lambda s: {"certified_group": s["certified_group"][:3]},
    "pairs of fewer classes": lambda s: {"certified_pair": s["certified_pair"][..., :2]},
    "abstentions of fewer inputs": lambda s: {"abstained": s["abstained"][:3]},
    "abstentions as text": lambda s: {"abstained": s["abstained"].astype(str)},
    "votes as floats": lambda s: {"votes": s["votes"].astype(float)},
    "negative votes": lambda s: {"votes": s["votes"] - 500},
    "more votes than n_max": lambda s: {"votes": s["votes"] + 400},
    "votes of fewer classes": lambda s: {"votes": s["votes"][:, :2]},
    "votes of fewer inputs": lambda s: {"votes": s["votes"][:3]},
    "interrupted, and yet certified": lambda s: {"votes": 0 * s["votes"]},
    "selection that picks other labels": lambda s: {"selection_votes": s["selection_votes"][::-1]},
    "labels of no class": lambda s: {"label": np.array(["cow"] * 6)},
    "truth of no class": lambda s: {"y": np.array(["cow"] * 6)},
    "truth of fewer inputs": lambda s: {"y": s["y"][:3]},
    "sigma of nan": lambda s: {"sigma": np.float64("nan")},
    "sigma of zero": lambda s: {"sigma": np.float64(0)},
    "alpha of one": lambda s: {"alpha": np.float64(1)},
    "n_max of half": lambda s: {"n_max": np.float64(400.5)},
    "costs of two classes": lambda s: {"costs": np.array([[0.0, 1.0], [1.0, 0.0]])},
    "negative costs": lambda s: {"costs": -s["costs"]},
    "weights of two classes": lambda s: {"weights": np.ones(2)},
    "weights of nan": lambda s: {"weights": np.array([1.0, np.nan, 1.0])},
    "another format": lambda s: {"format": np.array("smoothcs certificates 2")},
    "a later format": lambda s: {"format": np.array("smoothcs certified at eps 2")},
    "an entry too many": lambda s: {"surprise": np.zeros(3)},
    "an object": lambda s: {"y": np.array([{}] * 6, dtype=object)},
}


@pytest.mark.parametrize("case", WRONG)
def test_entries_that_do_not_fit_are_refused(case, saved, tmp_path):
    refused(tmp_path / "at.npz", {**saved, **WRONG[case](saved)})


OPTIONAL = {"abstained", "certified_group", "certified_pair", "certified_standard"}


def test_a_missing_entry_is_refused_unless_it_is_optional(saved, tmp_path):
    for name in saved:
        entries = {key: value for key, value in saved.items() if key != name}
        if name in OPTIONAL:
            np.savez(tmp_path / "at.npz", **entries)
            assert getattr(CertifiedAt.load(tmp_path / "at.npz"), name) is None
        elif name != "y":
            refused(tmp_path / "at.npz", entries)


def test_without_the_truth_a_costly_label_is_not_known_and_nothing_is_compared(saved, tmp_path):
    entries = {key: value for key, value in saved.items() if key != "y"}
    np.savez(tmp_path / "at.npz", **entries)
    with pytest.raises(ValueError, match="certify with y"):
        CertifiedAt.load(tmp_path / "at.npz").rob_cs(0.1)


def test_damaged_bytes_are_refused_or_hold_the_same(tmp_path):
    one, path = certified(), tmp_path / "at.npz"
    one.save(path)
    content, n_refused = path.read_bytes(), 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        damaged = bytearray(content)
        if seed % 2:
            del damaged[int(rng.integers(len(content))) :]
        for at in rng.integers(len(damaged), size=int(rng.integers(1, 9))) if damaged else ():
            damaged[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(damaged))
        try:
            other = CertifiedAt.load(path)
        except ValueError as error:
            if "at.npz is not a valid file of CertifiedAt" not in str(error):
                raise
            n_refused += 1
            continue
        for name in (*OPTIONAL, "label", "votes", "selection_votes", "eps", "y"):
            np.testing.assert_array_equal(getattr(other, name), getattr(one, name))
    assert 100 < n_refused < 200


def test_files_of_one_kind_are_no_files_of_the_other(tmp_path):
    path = tmp_path / "at.npz"
    certified().save(path)
    with pytest.raises(ValueError, match="not a valid file of Certificates: format 'smoothcs cert"):
        Certificates.load(path)


def test_a_frame_has_one_row_per_input_and_all_claims():
    one = certified()
    frame = one.to_frame()
    pairs = [f"certified_pair_{name}_{eps}" for eps in (0.1, 0.25) for name in CLASSES]
    assert set(frame.columns) == {
        "y", "label", "abstained", "n_used", *pairs,
        *(f"certified_{kind}_{eps}" for kind in ("group", "standard") for eps in (0.1, 0.25)),
    }  # fmt: skip
    assert len(frame) == len(X)
    for name in ("y", "label", "abstained", "n_used"):
        np.testing.assert_array_equal(frame[name], getattr(one, name))
    for e, eps in enumerate((0.1, 0.25)):
        np.testing.assert_array_equal(frame[f"certified_group_{eps}"], one.certified_group[:, e])
        np.testing.assert_array_equal(
            frame[f"certified_standard_{eps}"], one.certified_standard[:, e]
        )
        for j, name in enumerate(CLASSES):
            np.testing.assert_array_equal(
                frame[f"certified_pair_{name}_{eps}"], one.certified_pair[:, e, j]
            )
    assert frame["certified_group_0.1"].dtype.kind == "b"
    pd.testing.assert_frame_equal(frame, certified().to_frame())


def test_a_frame_leaves_out_what_was_not_asked_for():
    frame = certified(y=None, kinds="group", eps=0.1).to_frame()
    assert list(frame.columns) == ["label", "certified_group_0.1", "n_used"]


def test_radii_that_agree_in_six_digits_have_columns_of_their_own():
    frame = certified(eps=[0.1, 0.1 + 1e-9], kinds="group").to_frame()
    assert len([name for name in frame.columns if name.startswith("certified_group")]) == 2
