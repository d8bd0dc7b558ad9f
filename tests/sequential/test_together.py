"""One stream of votes for several kinds of claims, and what resume files are told of them."""

import numpy as np
import pytest

from smoothcs.decision import WeightedVotes
from smoothcs.sequential import PredictionRule, RadiusRule, StoppingRule
from smoothcs.sequential._together import KINDS, Together

P = np.array([[0.9, 0.06, 0.04], [0.55, 0.4, 0.05], [0.6, 0.1, 0.3], [0.97, 0.02, 0.01]])
OMEGA = np.array([[False, True, True], [False, True, False], [False] * 3, [False, False, True]])
SELECTION = np.random.default_rng(0).multinomial(60, P)


def together(kinds=KINDS, **params):
    options = {"eps": [0.2, 0.4], "sigma": 1.0, "alpha": 0.01, "n_max": 3000} | params
    return Together(SELECTION, OMEGA, kinds=kinds, **options)


MAKE = {
    "together": together,
    "weighted": lambda: together(weights=[1.0, 2.0, 0.5], correct=np.zeros(4, dtype=int)),
    "group": lambda: StoppingRule(SELECTION, OMEGA, eps=0.3, sigma=1.0, n_max=3000),
    "radius": lambda: RadiusRule(SELECTION, OMEGA, sigma=1.0, radius_tol=0.2, n_max=9000),
    "prediction": lambda: PredictionRule(4),
    "weighted prediction": lambda: PredictionRule(4, decision=WeightedVotes([1.0, 2.0, 0.5])),
}


def drive(rule, groups):
    """Draw votes until no input wants more, asking about the inputs in the given groups."""
    votes = np.zeros((4, 3), dtype=np.int64)
    streams = [np.random.default_rng(seed) for seed in range(4)]
    trace = [[] for _ in range(4)]
    for group in groups:
        active = np.array(group)
        while len(active):
            wanted = rule(active, votes[active])
            more = wanted > votes[active].sum(axis=1)
            for i, n in zip(active, wanted, strict=True):
                trace[i].append(int(n))
            active, wanted = active[more], wanted[more]
            for i, n in zip(active, wanted, strict=True):
                votes[i] += streams[i].multinomial(n - votes[i].sum(), P[i])
    return trace


@pytest.mark.parametrize("name", MAKE)
def test_answers_do_not_depend_on_which_inputs_are_asked_about_together(name):
    one, other, third = MAKE[name](), MAKE[name](), MAKE[name]()
    expected = drive(one, [[0, 1, 2, 3]])
    assert drive(other, [[3], [1], [0], [2]]) == expected
    assert drive(third, [[2, 0], [3, 1]]) == expected
    assert max(len(trace) for trace in expected) > 2


def test_each_kind_is_decided_as_by_its_own_rule():
    all_kinds = together()
    drive(all_kinds, [[0, 1, 2, 3]])
    for kind in KINDS:
        alone = together(kinds=[kind])
        drive(alone, [[0, 1, 2, 3]])
        np.testing.assert_array_equal(alone.certified(kind), all_kinds.certified(kind))
        assert alone.certified("label" if kind != "label" else "pair") is None


def test_weights_name_the_class_that_is_certified():
    assert together(weights=[1.0, 100.0, 1.0]).top.tolist() == [1, 1, 1, 1]
    assert together(weights=[1.0, 1.0, 1.0]).top.tolist() == together().top.tolist() == [0] * 4


def test_an_input_that_no_vote_has_seen_is_certified_of_nothing():
    rule = Together(SELECTION * 0, OMEGA, kinds=KINDS, eps=0.2, sigma=1.0, alpha=0.01, n_max=3000)
    drive(rule, [[0, 1, 2, 3]])
    assert rule.unseen.all()
    assert not any(rule.certified(kind).any() for kind in KINDS)


def test_looks_can_be_chosen():
    rule = together(kinds=["group"], first_look=40, growth=2.0, final_share=0.4, futility=0.0)
    assert rule.rules["group"].looks[:3].tolist() == [40, 80, 160]
    assert rule.rules["group"].levels[-1] == pytest.approx(0.004)


CHANGES = {
    "eps": 0.3,
    "sigma": 0.9,
    "alpha": 0.02,
    "n_max": 4000,
    "blockers": False,
    "weights": [1.0, 2.0, 1.0],
    "first_look": 50,
    "growth": 2.0,
    "final_share": 0.6,
    "futility": 0.0,
    "kinds": ["group"],
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_repr_tells_apart_what_is_asked(name):
    assert repr(together()) == repr(together())
    assert repr(together(**{name: CHANGES[name]})) != repr(together())


def test_the_repr_tells_single_rules_apart():
    radius = {"sigma": 1.0, "radius_tol": 0.1}
    assert repr(PredictionRule(4)) != repr(
        PredictionRule(4, decision=WeightedVotes([1.0, 2.0, 0.5]))
    )
    # The number of inputs is not asked about any one of them.
    assert repr(PredictionRule(4)) == repr(PredictionRule(5))
    one, other = (RadiusRule(SELECTION, OMEGA, **(radius | c)) for c in ({}, {"radius_tol": 0.2}))
    assert repr(one) != repr(other)
    assert "mode='pairs'" in repr(together(kinds=["pair"]))


def test_the_claim_tells_apart_what_is_to_be_shown_of_an_input():
    claims = {
        together().claim(1),
        together().claim(0),
        together(correct=np.zeros(4, dtype=int)).claim(1),
        together(correct=np.ones(4, dtype=int)).claim(1),
        Together(
            SELECTION[:, ::-1], OMEGA, kinds=KINDS, eps=0.2, sigma=1.0, alpha=0.01, n_max=3000
        ).claim(1),
        Together(SELECTION, ~OMEGA, kinds=KINDS, eps=0.2, sigma=1.0, alpha=0.01, n_max=3000).claim(
            1
        ),
    }
    assert len(claims) == 6
    assert PredictionRule(4).claim(1) == ""
