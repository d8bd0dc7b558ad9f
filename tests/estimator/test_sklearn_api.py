"""scikit-learn's own checks, with every expected failure listed once and its reason."""

import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from smoothcs import (
    CostSensitiveSmoothedClassifier,
    TunedDecisionClassifier,
    TunedWeightsClassifier,
)
from smoothcs.objectives import OBJECTIVES

EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": (
        "training in mini-batches is random: dropping an example and giving it weight 0 shuffle "
        "differently, as for scikit-learn's own SGD estimators"
    ),
}
# Only with the default abstain_label: where the vote is too close to call, predict abstains and
# argmax(predict_proba) does not.
EXPECTED_WITH_ABSTENTION = {
    "check_classifiers_train": "compares predict with argmax(predict_proba)",
    "check_classifiers_classes": (
        "has a problem with the classes -1 and 1, for which abstain_label='auto' finds no free "
        "label and says so"
    ),
}


# Weights predict another class than the likeliest, or the one with most votes.
EXPECTED_WITH_RULE = {
    "check_classifiers_train": "compares predict with argmax(predict_proba)",
    "check_sample_weight_equivalence_on_dense_data": (
        "copies of an example may fall into different parts of the split into training and tuning "
        "data, and one of a greater weight does not"
    ),
    "check_sample_weight_equivalence_on_sparse_data": "as on dense data",
}


def expected_failures(estimator):
    if isinstance(estimator, TunedDecisionClassifier | TunedWeightsClassifier):
        return EXPECTED_WITH_RULE
    abstains = estimator.abstain_label is not None
    return {**EXPECTED_FAILURES, **(EXPECTED_WITH_ABSTENTION if abstains else {})}


def fast(**params):
    return CostSensitiveSmoothedClassifier(n_estimation=200, n_prediction=200, **params)


# Few and large steps: 91 % of the blobs of check_classifiers_train, which asks for 83.
STEPS = {"max_epochs": 5, "lr": 0.02}


@parametrize_with_checks(
    [
        CostSensitiveSmoothedClassifier(max_epochs=20),
        CostSensitiveSmoothedClassifier(**STEPS, abstain_label=None),
        *(fast(objective=name, **STEPS, abstain_label=None) for name in sorted(OBJECTIVES)),
        fast(module=LogisticRegression(), n_copies=3, abstain_label=None),
        fast(module=RandomForestClassifier(5), n_copies=3, random_state=0),
        TunedDecisionClassifier(
            fast(abstain_label=None, max_epochs=3, random_state=0), n_votes=100, random_state=0
        ),
        TunedWeightsClassifier(LogisticRegression(), n_repeats=2, random_state=0),
    ],
    expected_failed_checks=expected_failures,
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    "reasons", [EXPECTED_FAILURES, EXPECTED_WITH_ABSTENTION, EXPECTED_WITH_RULE]
)
def test_every_expected_failure_has_a_reason(reasons):
    assert all(len(reason) > 10 for reason in reasons.values())
