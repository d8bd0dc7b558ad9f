"""Bad input of every kind, over the whole public API: refused by a message that names the cause.

Each row is an id, the call, the exception and a pattern of its message. What such calls leave
behind (nothing) is the subject of test_unchanged_after_errors.py.
"""

from __future__ import annotations

import copy
import functools
import re

import numpy as np
import pytest
import torch
from _small import (
    COSTS,
    NAMES,
    ListDataset,
    X,
    Y,
    after,
    by_distance,
    convex,
    estimator,
    fit,
    later,
    raises,
    tune,
    wrap,
)
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from torch import nn

from smoothcs import (
    Certificates,
    CertificationInterrupted,
    ConvexRelaxationClassifier,
    CostMatrix,
    TunedDecisionClassifier,
    best_under,
    certified_scorer,
    certify_votes,
    metrics,
    modules,
    objectives,
    plotting,
    rob_cs_scorer,
    sample_votes,
)
from smoothcs.attacks import l2_pgd
from smoothcs.bounds import (
    clopper_pearson_lower,
    clopper_pearson_upper,
    smallest_n,
    top_two_abstains,
)
from smoothcs.bounds.blockers import choose_blockers
from smoothcs.bounds.exact import exact_group_radius, exact_pair_radius, exact_radius, exact_rejects
from smoothcs.certification import radii_from_probabilities, with_costs
from smoothcs.decision import WeightedVotes, weighted_radius
from smoothcs.sequential import PredictionRule, RadiusRule, StoppingRule, look_schedule
from smoothcs.sequential.planning import plan_votes, simulate_decisions
from smoothcs.tuning import tune_decision
from smoothcs.votes import VotesInterrupted
from smoothcs.votes.noise import make_key

NAN, INF = float("nan"), float("inf")
SELECTION, VOTES = [[90, 10, 0], [5, 90, 5]], [[900, 100, 0], [50, 900, 50]]
TARGETS = [[False, True, False], [True, False, True]]


@functools.cache
def fitted():
    return fit()


@functools.cache
def fitted_on_names():
    return fit(y=NAMES[Y])


def with_params(**params):
    """Return the fitted classifier with parameters set after ``fit``."""
    return copy.deepcopy(fitted()).set_params(**params)


def certify_output(function):
    """Certify with a callable whose output is ``function(batch)``."""
    return wrap(function).certify(X[:3])


class Linear(nn.Module):
    """Logits of a linear layer, or what ``change(logits, call)`` makes of them."""

    def __init__(self, change=None):
        super().__init__()
        self.layer, self.change, self.calls = nn.Linear(2, 3), change, 0

    def forward(self, x):
        self.calls += 1
        logits = self.layer(x)
        return logits if self.change is None else self.change(logits, self.calls)


def certificates(**params):
    return certify_votes(
        SELECTION, VOTES, **{"sigma": 0.5, "cost_matrix": COSTS, "y": [0, 1], **params}
    )


def weighted(weights, **params):
    decision = WeightedVotes(weights)
    return certify_votes(SELECTION, VOTES, decision=decision, **{"sigma": 0.5, **params})


def tuned(*args, **params):
    params = {"sigma": 0.5, "cost_matrix": COSTS, "cv": 0, **params}
    return tune_decision(*(args or (VOTES, [0, 1])), **{"eps": 0.1, **params})


@functools.cache
def fitted_convex():
    return convex(module=modules.MLP, net_params={"module__hidden": (4,)})


def stopping(**params):
    return StoppingRule(SELECTION, TARGETS, **{"eps": 0.1, "sigma": 0.5, "n_max": 1000, **params})


def vote(classifier=by_distance, X=X[:2], n=20, sigma=0.5, **params):
    return sample_votes(classifier, X, n, sigma, **params)


def attack(**params):
    x, y = torch.zeros(2, 2), torch.tensor([0, 1])
    return l2_pgd(nn.Linear(2, 3), x, y, **{"eps": 0.5, "sigma": 0.25, **params})


def votes_display(**params):
    return plotting.VotesDisplay.from_certificates(certificates(), **params)


def bad(name, call, error, match):
    return pytest.param(call, error, match, id=name)


class Unsized:
    """Neither an array nor a data set."""


def changed(value, at=(0, 0)):
    out = X.copy()
    out[at] = value
    return out


FIT = [
    bad("sigma-zero", lambda: fit(sigma=0), ValueError, "sigma"),
    bad("sigma-text", lambda: fit(sigma="0.5"), TypeError, "sigma"),
    bad("sigma-nan", lambda: fit(sigma=NAN), ValueError, "sigma"),
    bad("sigma-bool", lambda: fit(sigma=True), TypeError, "sigma"),
    bad("eps-negative", lambda: fit(eps=-1.0), ValueError, "eps"),
    bad("eps-inf", lambda: fit(eps=INF), ValueError, "eps"),
    bad("alpha-one", lambda: fit(alpha=1), ValueError, "alpha"),
    bad("lr-none", lambda: fit(lr=None), TypeError, "lr"),
    bad("n-selection-zero", lambda: fit(n_selection=0), ValueError, "n_selection"),
    bad("n-estimation-float", lambda: fit(n_estimation=1e4), TypeError, "n_estimation"),
    bad("n-estimation-too-few", lambda: fit(n_estimation=5), ValueError, "n_estimation=5"),
    bad("n-prediction-text", lambda: fit(n_prediction="many"), TypeError, "n_prediction"),
    bad("max-epochs-zero", lambda: fit(max_epochs=0), ValueError, "max_epochs"),
    bad("batch-size-negative", lambda: fit(batch_size=-1), ValueError, "batch_size"),
    bad("bound-unknown", lambda: fit(bound="tight"), ValueError, "bound"),
    bad("precision-unknown", lambda: fit(precision="int8"), ValueError, "precision"),
    bad("device-unknown", lambda: fit(device="gpu"), ValueError, "device"),
    bad("device-none-listed", lambda: fit(device=[]), ValueError, "device"),
    bad("optimizer-unknown", lambda: fit(optimizer="lion"), ValueError, "optimizer"),
    bad("objective-unknown", lambda: fit(objective="mix"), ValueError, "objective"),
    bad("objective-class", lambda: fit(objective=objectives.MarginCS), TypeError, "objective"),
    bad("random-state-text", lambda: fit(random_state="seed"), ValueError, "seed"),
    bad("vote-batch-size-zero", lambda: fit(vote_batch_size=0), ValueError, "batch_size"),
    bad("abstain-label-a-class", lambda: fit(abstain_label=1), ValueError, "abstain_label"),
    bad("module-number", lambda: fit(module=3), TypeError, "module"),
    bad("module-factory-of-none", lambda: fit(module=lambda: None), TypeError, "module"),
    bad("net-params-unknown", lambda: fit(net_params={"depth": 3}), ValueError, "depth"),
    bad("module-params-unknown", lambda: fit(net_params={"module__x": 3}), TypeError, "x"),
    bad("net-params-list", lambda: fit(net_params=["module"]), TypeError, "net_params"),
    bad("costs-negative", lambda: fit(cost_matrix=-np.ones((3, 3))), ValueError, "cost_matrix"),
    bad("costs-of-2-classes", lambda: fit(cost_matrix=[[0, 1], [1, 0]]), ValueError, "cost_matrix"),
    bad("costs-of-no-class", lambda: fit(cost_matrix={(0, 9): 1}), ValueError, "9"),
    bad("decision-unknown", lambda: fit(decision="majority"), ValueError, "decision"),
    bad("decision-zero", lambda: fit(decision=WeightedVotes([1, 0, 1])), ValueError, "weights"),
    bad("decision-nan", lambda: fit(decision=WeightedVotes([1, NAN, 1])), ValueError, "weights"),
    bad("decision-too-short", lambda: fit(decision=WeightedVotes([1, 2])), ValueError, "weights"),
    bad("decision-of-no-class", lambda: fit(decision=WeightedVotes({7: 2.0})),
        ValueError, "weights.*7"),
    bad("decision-of-text", lambda: fit(decision=WeightedVotes({0: "big"})),
        ValueError, "weights"),
    bad("decision-paper", lambda: fit(decision=WeightedVotes([1, 2, 1]), bound="paper"),
        ValueError, "paper"),
    bad("decision-number", lambda: fit(decision=3.0), TypeError, "decision"),
    bad("X-nan", lambda: fit(changed(NAN)), ValueError, "X contains NaN"),
    bad("X-inf", lambda: fit(changed(INF)), ValueError, "X contains infinity"),
    bad("X-too-large", lambda: fit(X.astype(float) * 1e300), ValueError, "X contains infinity"),
    bad("X-empty", lambda: fit(X[:0], Y[:0]), ValueError, "0 sample"),
    bad("X-no-columns", lambda: fit(X[:, :0]), ValueError, r"0 feature"),
    bad("X-one-dimension", lambda: fit(X[:, 0]), ValueError, "2D array"),
    bad("X-text", lambda: fit(np.full((36, 2), "a")), ValueError, "string to float"),
    bad("X-complex", lambda: fit(X * 1j), ValueError, "[Cc]omplex"),
    bad("X-ragged", lambda: fit([[1.0], [1.0, 2.0]], [0, 1]), ValueError, "inhomogeneous"),
    bad("X-none", lambda: fit(None), ValueError, "2D array"),
    bad("dataset-empty", lambda: fit(ListDataset([]), None),
        ValueError, "X is a Dataset of length 0"),
    bad("dataset-no-labels", lambda: fit(ListDataset(list(X)), None),
        ValueError, r"items must be \(x, y"),
    bad("y-none", lambda: fit(y=None), ValueError, "y"),
    bad("y-too-short", lambda: fit(y=Y[:-1]), ValueError, "y has 35 labels"),
    bad("y-one-class", lambda: fit(y=np.zeros(36, int)), ValueError, "y has one class"),
    bad("y-continuous", lambda: fit(y=X[:, 0]), ValueError, "[Uu]nknown label type"),
    bad("y-nan", lambda: fit(y=np.where(Y == 1, NAN, Y)), ValueError, "y contains NaN"),
    bad("y-two-columns", lambda: fit(y=np.c_[Y, Y]), ValueError, "y should be a 1d array"),
    bad("y-mixed", lambda: fit(y=np.array([0, "a", None] * 12, object)),
        ValueError, "[Uu]nknown label type"),
    bad("weights-negative", lambda: fit(sample_weight=-np.ones(36)), ValueError, "sample_weight"),
    bad("weights-nan", lambda: fit(sample_weight=np.full(36, NAN)), ValueError, "sample_weight"),
    bad("weights-too-few", lambda: fit(sample_weight=np.ones(3)), ValueError, "sample_weight"),
    bad("lr-explodes", lambda: fit(lr=1e30, optimizer="sgd", max_epochs=9),
        ValueError, "loss became"),
]  # fmt: skip

MODULES = [
    bad("raises", lambda: fit(module=Linear(raises(OSError("no sensor")))), OSError, "no sensor"),
    bad("too-wide", lambda: fit(module=nn.Linear(2, 4)), ValueError, "module must return logits"),
    bad("too-narrow-input", lambda: fit(module=nn.Linear(5, 3)),
        ValueError, r"module failed on an input batch of shape \(1, 2\)"),
    bad("labels", lambda: fit(module=Linear(lambda z, _: z.argmax(1))), ValueError, "module must"),
    bad("integers", lambda: fit(module=Linear(lambda z, _: z.long())),
        TypeError, "module must.*int64"),
    bad("tuple", lambda: fit(module=Linear(lambda z, _: (z, z))), ValueError, "module must.*tuple"),
    bad("none", lambda: fit(module=Linear(lambda z, _: None)), ValueError, "module must.*None"),
    bad("nan", lambda: fit(module=Linear(lambda z, _: z * NAN)), ValueError, "module must.*finite"),
    bad("changes-width", lambda: fit(module=after(2, lambda z: z[:, :2])), ValueError, "module"),
    bad("changes-rows", lambda: fit(module=after(2, lambda z: z[:1])), ValueError, "module"),
    bad("nan-later", lambda: fit(module=after(2, lambda z: z * NAN)),
        ValueError, "loss became nan"),
    bad("raises-later", lambda: fit(module=after(2, raises(OSError("lost")))), OSError, "lost"),
    bad("no-weights", lambda: fit(module=nn.Flatten(), X=np.eye(3)[Y]),
        ValueError, "empty parameter list"),
    bad("wrapped-number", lambda: wrap(3), TypeError, "module"),
    bad("wrapped-unfitted", lambda: wrap(LogisticRegression()).predict(X),
        NotFittedError, "not fitted"),
    bad("wrapped-one-class", lambda: wrap(by_distance, classes=1), ValueError, "classes"),
    bad("wrapped-twice-a-class", lambda: wrap(by_distance, classes=[0, 1, 1]),
        ValueError, "classes"),
    bad("wrapped-float-classes", lambda: wrap(by_distance, classes=3.0), ValueError, "classes"),
    bad("wrapped-wrong-width", lambda: wrap(by_distance, classes=4).predict(X),
        ValueError, "4 classes"),
    bad("wrapped-unseen-label", lambda: wrap(LogisticRegression().fit(X, Y + 5)).predict(X),
        ValueError, "module predicts.*5"),
    bad("callable-raises", lambda: certify_output(raises(OSError("offline"))), OSError, "offline"),
    bad("callable-none", lambda: certify_output(lambda x: None), TypeError, "classifier.*NoneType"),
    bad("callable-dict", lambda: certify_output(lambda x: {"z": x}), TypeError, "classifier.*dict"),
    bad("callable-text", lambda: certify_output(lambda x: ["a"] * len(x)), TypeError, "classifier"),
    bad("callable-nan", lambda: certify_output(lambda x: by_distance(x) * NAN),
        ValueError, "nan or inf"),
    bad("callable-inf", lambda: certify_output(lambda x: by_distance(x) + INF),
        ValueError, "nan or inf"),
    bad("callable-float-labels", lambda: certify_output(lambda x: np.ones(len(x))),
        TypeError, "integers"),
    bad("callable-bool-labels", lambda: certify_output(lambda x: x[:, 0] > 0),
        TypeError, "integers"),
    bad("callable-label-3-of-3", lambda: certify_output(lambda x: np.full(len(x), 3)),
        ValueError, r"0\.\.2"),
    bad("callable-label-minus-1", lambda: certify_output(lambda x: np.full(len(x), -1)),
        ValueError, r"0\.\.2"),
    bad("callable-one-row", lambda: certify_output(lambda x: by_distance(x)[:1]),
        ValueError, "shape"),
    bad("callable-3d", lambda: certify_output(lambda x: by_distance(x)[None]), ValueError, "shape"),
    bad("callable-changes-width", lambda: certify_output(later(3, lambda z: z[:, :2])),
        ValueError, "3 classes"),
    bad("callable-changes-rows", lambda: certify_output(later(3, lambda z: z[1:])),
        ValueError, "shape"),
    bad("callable-nan-later", lambda: certify_output(later(3, lambda z: z * NAN)),
        ValueError, "input [012]"),
    bad("module-changes-width", lambda: wrap(after(5, lambda z: z[:, :2])).certify(X),
        ValueError, "3 classes"),
    bad("module-raises-later", lambda: wrap(after(5, raises(OSError("gone")))).certify(X),
        OSError, "gone"),
    bad("fit-interrupted", lambda: fit(module=after(2, raises(KeyboardInterrupt("stop")))),
        KeyboardInterrupt, "stop"),
    bad("selection-interrupted", lambda: certify_output(later(1, raises(KeyboardInterrupt()))),
        CertificationInterrupted, "certification was interrupted"),
    bad("estimation-interrupted", lambda: certify_output(later(3, raises(KeyboardInterrupt()))),
        CertificationInterrupted, "certification was interrupted"),
    bad("votes-interrupted", lambda: vote(later(1, raises(KeyboardInterrupt()))),
        VotesInterrupted, "interrupted with 0 of 2 inputs finished"),
]  # fmt: skip


USE = [
    bad("predict-unfitted", lambda: estimator().predict(X), NotFittedError, "not fitted"),
    bad("abstains-unfitted", lambda: estimator().abstains(X), NotFittedError, "not fitted"),
    bad("proba-unfitted", lambda: estimator().predict_proba(X), NotFittedError, "not fitted"),
    bad("certify-unfitted", lambda: estimator().certify(X), NotFittedError, "not fitted"),
    bad("score-unfitted", lambda: estimator().score(X, Y), NotFittedError, "not fitted"),
    bad("report-unfitted", lambda: estimator().certified_report(X, Y),
        NotFittedError, "not fitted"),
    bad("plan-unfitted", lambda: estimator().plan_votes(X), NotFittedError, "not fitted"),
    bad("predict-3-columns", lambda: fitted().predict(np.ones((2, 3))), ValueError, "3 features"),
    bad("predict-image", lambda: fitted().predict(np.ones((2, 2, 2))),
        ValueError, r"shape \(2, 2\)"),
    bad("predict-nan", lambda: fitted().predict(changed(NAN)), ValueError, "X contains NaN"),
    bad("predict-empty", lambda: fitted().predict(X[:0]), ValueError, "0 sample"),
    bad("predict-number", lambda: fitted().predict(3.0), ValueError, "2D array"),
    bad("predict-none", lambda: fitted().predict(None), ValueError, "2D array"),
    bad("abstains-text", lambda: fitted().abstains("iris"), ValueError, "string to float"),
    bad("predict-dataset-shape", lambda: fitted().predict(ListDataset(list(np.ones((2, 5))))),
        ValueError, "shape"),
    bad("proba-n-none", lambda: with_params(n_prediction=None).predict_proba(X),
        TypeError, "n_prediction"),
    bad("predict-alpha-zero", lambda: with_params(alpha=0.0).predict(X), ValueError, "alpha"),
    bad("predict-decision-later",
        lambda: with_params(decision=WeightedVotes([1, -1, 1])).predict(X),
        ValueError, "weights"),
    bad("predict-precision-later", lambda: with_params(precision="half").predict(X),
        ValueError, "precision"),
    bad("predict-device-later", lambda: with_params(device="tpu9").predict(X),
        ValueError, "device"),
    bad("predict-batch-later", lambda: with_params(vote_batch_size=0).predict(X),
        ValueError, "batch_size"),
    bad("certify-bound-later", lambda: with_params(bound="loose").certify(X),
        ValueError, "bound"),
    bad("certify-alpha-later", lambda: with_params(alpha=2).certify(X), ValueError, "alpha"),
    bad("certify-sigma-later", lambda: with_params(sigma=-1.0).certify(X), ValueError, "sigma"),
    bad("certify-n-few", lambda: with_params(n_estimation=3).certify(X),
        ValueError, "n_estimation=3"),
    bad("certify-n-float", lambda: with_params(n_selection=2.5).certify(X),
        TypeError, "n_selection"),
    bad("certify-eps", lambda: fitted().certify(X, eps=0.1), TypeError, "eps"),
    bad("at-unfitted", lambda: estimator().certify_at(X), NotFittedError, "not fitted"),
    bad("at-n-max-zero", lambda: fitted().certify_at(X, n_max=0), ValueError, "n_max"),
    bad("at-n-max-few", lambda: fitted().certify_at(X, n_max=4), ValueError, "n_max=4"),
    bad("at-bound", lambda: with_params(bound="paper").certify_at(X),
        ValueError, "certify_at needs bound='exact'"),
    bad("at-kinds", lambda: fitted().certify_at(X, kinds=("all",)), ValueError, "kinds"),
    bad("at-kinds-none", lambda: fitted().certify_at(X, kinds=()), ValueError, "kinds"),
    bad("at-kinds-text", lambda: fitted().certify_at(X, kinds="all"), ValueError, "kinds"),
    bad("at-eps-zero", lambda: fitted().certify_at(X, eps=[0.1, 0]), ValueError, "eps"),
    bad("at-eps-none", lambda: fitted().certify_at(X, eps=[]), ValueError, "eps"),
    bad("at-eps-text", lambda: fitted().certify_at(X, eps="far"), TypeError, "eps"),
    bad("at-growth", lambda: fitted().certify_at(X, growth=1.0), ValueError, "growth"),
    bad("at-unknown", lambda: fitted().certify_at(X, looks=3), TypeError, "looks"),
    bad("at-truth-missing", lambda: fitted().certify_at(X, also_correct=True),
        ValueError, "pass y"),
    bad("at-unseen", lambda: fitted().certify_at(X[:2], [0, 7]), ValueError, "y.*7"),
    bad("certify-tolerance", lambda: fitted().certify(X, radius_tol=0), ValueError, "radius_tol"),
    bad("certify-blockers", lambda: fitted().certify(X, blockers=0), ValueError, "blockers"),
    bad("certify-simultaneous", lambda: fitted().certify(X, simultaneous="yes"),
        ValueError, "simultaneous"),
    bad("certify-truth-missing", lambda: fitted().certify(X, also_correct=True),
        ValueError, "pass y"),
    bad("certify-harmless", lambda: fitted().certify(X, Y, harmless_errors="ok"),
        ValueError, "harmless_errors"),
    bad("certify-unseen", lambda: fitted().certify(X[:2], [0, 7]), ValueError, "y.*7"),
    bad("certify-unseen-name", lambda: fitted_on_names().certify(X[:1], ["cow"]),
        ValueError, "y.*cow"),
    bad("certify-indices", lambda: fitted_on_names().certify(X[:1], [0]),
        ValueError, "y contains.*0"),
    bad("certify-y-short", lambda: fitted().certify(X, Y[:3]), ValueError, "y has 3 labels"),
    bad("certify-costs", lambda: fitted().certify(X, cost_matrix=np.eye(3)),
        ValueError, "cost_matrix"),
    bad("certify-resume-folder", lambda: fitted().certify(X, resume_from="/"), OSError, "/"),
    bad("radius-kind", lambda: fitted().certify_radius(X, kind="both"), ValueError, "kind"),
    bad("score-metric", lambda: fitted().score(X, Y, metric="f1"), ValueError, "metric"),
    bad("score-eps", lambda: fitted().score(X, Y, eps=-0.1), ValueError, "eps"),
    bad("score-y-none", lambda: fitted().score(X), ValueError, "y"),
    bad("score-weights", lambda: fitted().score(X, Y, np.ones(2)), ValueError, "sample_weight"),
    bad("report-param", lambda: fitted().certified_report(X, Y, votes=9), TypeError, "votes"),
    bad("plan-power", lambda: fitted().plan_votes(X, power=1.0), ValueError, "power"),
    bad("plan-eps", lambda: fitted().plan_votes(X, eps=NAN), ValueError, "eps"),
    bad("plan-unseen", lambda: fitted().plan_votes(X[:1], [8]), ValueError, "8"),
    bad("plan-y-short", lambda: fitted().plan_votes(X, Y[:4]), ValueError, "y has 4 labels"),
    bad("set-params-unknown", lambda: estimator().set_params(noise=1), ValueError, "noise"),
]  # fmt: skip

COST_MATRICES = [
    bad("nan", lambda: CostMatrix([[0, NAN], [1, 0]]), ValueError, "cost_matrix.*nan"),
    bad("inf", lambda: CostMatrix([[0, INF], [1, 0]]), ValueError, "cost_matrix.*inf"),
    bad("diagonal", lambda: CostMatrix([[1, 1], [1, 0]]),
        ValueError, "cost_matrix.*diagonal|\\[0, 0\\]"),
    bad("not-square", lambda: CostMatrix([[0, 1, 2], [1, 0, 2]]), ValueError, "cost_matrix"),
    bad("ragged", lambda: CostMatrix([[0, 1], [1]]), ValueError, "cost_matrix"),
    bad("text", lambda: CostMatrix([["a", "b"], ["c", "d"]]), TypeError, "cost_matrix"),
    bad("complex", lambda: CostMatrix([[0, 1j], [1, 0]]), TypeError, "cost_matrix"),
    bad("empty", lambda: CostMatrix({}), ValueError, "cost_matrix"),
    bad("pair-of-three", lambda: CostMatrix({(1, 2, 3): 1}), ValueError, "pair"),
    bad("classes-twice", lambda: CostMatrix([[0, 1], [1, 0]], classes=["a", "a"]),
        ValueError, "classes"),
    bad("classes-many", lambda: CostMatrix([[0, 1], [1, 0]], classes=[1, 2, 3]),
        ValueError, "cost_matrix|classes"),
    bad("classes-number", lambda: CostMatrix([[0, 1], [1, 0]], classes=2), TypeError, "classes"),
    bad("uniform-zero", lambda: CostMatrix.uniform(0), ValueError, "cost"),
    bad("seedwise-none", lambda: CostMatrix.seedwise([]), ValueError, "seeds"),
    bad("seedwise-twice", lambda: CostMatrix.seedwise([1, 1]), ValueError, "seeds"),
    bad("seedwise-unknown", lambda: CostMatrix.seedwise("cow").align(NAMES), ValueError, "cow"),
    bad("targetwise-cost", lambda: CostMatrix.targetwise([1], cost=-1), ValueError, "cost"),
    bad("pairwise-itself", lambda: CostMatrix.pairwise([(1, 1)]), ValueError, "diagonal|1, 1"),
    bad("pairwise-mapping", lambda: CostMatrix.pairwise({(1, 2): 3}), TypeError, "pairs"),
    bad("function-number", lambda: CostMatrix.from_function(3), TypeError, "function"),
    bad("function-nan", lambda: CostMatrix.from_function(lambda i, j: NAN, [0, 1]),
        ValueError, "nan"),
    bad("vehicle-negative", lambda: CostMatrix.vehicle_animal(["a"], ["b"], across=-1),
        ValueError, "cost_matrix"),
    bad("no-size", lambda: CostMatrix.uniform().matrix, ValueError, "align"),
    bad("encode-unknown", lambda: CostMatrix(COSTS).encode([3]), ValueError, "y.*3"),
    bad("encode-negative", lambda: CostMatrix(COSTS).encode([-1]), ValueError, "y.*-1"),
    bad("written-to", lambda: CostMatrix(COSTS).matrix.__setitem__((0, 1), 5),
        ValueError, "read-only"),
    bad("attribute-set", lambda: setattr(CostMatrix(COSTS), "matrix", 0),
        AttributeError, "immutable"),
]  # fmt: skip

CERTIFICATION = [
    bad("lower-k-large", lambda: clopper_pearson_lower(5, 3, 0.1),
        ValueError, "k must not exceed n"),
    bad("lower-k-half", lambda: clopper_pearson_lower(0.5, 3, 0.1), ValueError, "k must hold"),
    bad("upper-alpha", lambda: clopper_pearson_upper(1, 3, NAN), ValueError, "alpha"),
    bad("upper-n-huge", lambda: clopper_pearson_upper(1, 2.0**54, 0.1), ValueError, "n must hold"),
    bad("top-two-one-class", lambda: top_two_abstains([[3]], 0.1), ValueError, "votes"),
    bad("smallest-bound", lambda: smallest_n(0.1, "best"), ValueError, "bound"),
    bad("votes-negative", lambda: certify_votes([[1, 2]], [[-1, 9]], sigma=1),
        ValueError, "estimation"),
    bad("votes-nan", lambda: certify_votes([[1, 2]], [[NAN, 9]], sigma=1),
        ValueError, "estimation"),
    bad("votes-text", lambda: certify_votes([["a", "b"]], [[1, 9]], sigma=1),
        ValueError, "selection"),
    bad("votes-none", lambda: certify_votes(np.zeros((0, 3)), np.zeros((0, 3)), sigma=1),
        ValueError, "selection"),
    bad("votes-shapes", lambda: certify_votes([[1, 2, 3]], [[1, 9]], sigma=1),
        ValueError, "selection"),
    bad("votes-sums-differ", lambda: certify_votes(SELECTION, [[900, 0, 0], [0, 99, 0]], sigma=1),
        ValueError, "n = 900"),
    bad("votes-too-few", lambda: certify_votes([[1, 0]], [[3, 0]], sigma=1), ValueError, "n=3"),
    bad("votes-n-wrong", lambda: certificates(n=999), ValueError, "n = 999"),
    bad("votes-sigma", lambda: certificates(sigma=0.0), ValueError, "sigma"),
    bad("votes-alpha", lambda: certificates(alpha=[0.1]), TypeError, "alpha"),
    bad("votes-level", lambda: certificates(level=[0.5, 0.5]), ValueError, "level"),
    bad("votes-blockers", lambda: certificates(blockers=-1), ValueError, "blockers"),
    bad("votes-y-long", lambda: certificates(y=[0, 1, 1]), ValueError, "y must hold"),
    bad("votes-y-unseen", lambda: certificates(y=[0, 5]), ValueError, "y.*5"),
    bad("votes-costs", lambda: certificates(cost_matrix=np.ones((3, 3))),
        ValueError, "cost_matrix"),
    bad("votes-zero-no-y", lambda: certificates(y=None, harmless_errors="zero"),
        ValueError, "pass y"),
    bad("radii-not-one", lambda: radii_from_probabilities([[0.5, 0.6]], sigma=1),
        ValueError, "probabilities"),
    bad("radii-nan", lambda: radii_from_probabilities([[0.5, NAN]], sigma=1),
        ValueError, "probabilities"),
    bad("weights-zero", lambda: weighted([1, 0, 1]), ValueError, "weights"),
    bad("weights-inf", lambda: weighted([1, INF, 1]), ValueError, "weights"),
    bad("weights-apart", lambda: weighted([1, 1e10, 1]), ValueError, "weights"),
    bad("weights-two", lambda: weighted([1, 2]), ValueError, "weights"),
    bad("weights-unknown", lambda: weighted({5: 2.0}), ValueError, "weights.*5"),
    bad("weights-paper", lambda: weighted([1, 2, 1], bound="paper"), ValueError, "bound"),
    bad("weighted-radius-h", lambda: weighted_radius(1.5, 0.1, 1, 1, sigma=1), ValueError, "h_top"),
    bad("weighted-radius-w", lambda: weighted_radius(0.5, 0.1, 1, 0, sigma=1),
        ValueError, "w_target"),
    bad("tune-eps-none", lambda: tuned(eps=None), ValueError, "eps"),
    bad("tune-sigma-none", lambda: tuned(sigma=None), ValueError, "sigma"),
    bad("tune-objective", lambda: tuned(objective="accuracy"), ValueError, "objective"),
    bad("tune-y-none", lambda: tuned(VOTES), ValueError, "y must be given"),
    bad("tune-y-short", lambda: tuned(VOTES, [0]), ValueError, "y must hold"),
    bad("tune-nothing-sensitive", lambda: tuned(VOTES, [2, 2]), ValueError, "sensitive class"),
    bad("tune-accuracy", lambda: tuned(min_accuracy=1.5), ValueError, "min_accuracy"),
    bad("tune-loss", lambda: tuned(max_accuracy_loss=-0.1), ValueError, "max_accuracy_loss"),
    bad("tune-cv", lambda: tuned(cv=-1), ValueError, "cv"),
    bad("tune-cv-one", lambda: tuned(cv=1), ValueError, "cv"),
    bad("tune-ratio", lambda: tuned(max_ratio=0.5), ValueError, "max_ratio"),
    bad("exact-inconsistent", lambda: exact_rejects(8, 3, 10, 0.1, 0.01), ValueError, "n_block"),
    bad("exact-level", lambda: exact_rejects(8, 1, 10, 0.1, 0.0), ValueError, "level"),
    bad("exact-s-zero", lambda: exact_rejects(8, 1, 10, 0.1, 0.01, 0.0), ValueError, "s must"),
    bad("exact-gamma", lambda: exact_rejects(8, 1, 10, 0.1, 0.01, gamma=1.0), ValueError, "gamma"),
    bad("exact-tol", lambda: exact_radius(8, 1, 10, 0.01, tol=0), ValueError, "tol"),
    bad("exact-targets",
        lambda: exact_group_radius(VOTES, choose_blockers(SELECTION, TARGETS), [[True]], 0.01),
        ValueError, "targets"),
    bad("exact-n",
        lambda: exact_pair_radius(VOTES, choose_blockers(SELECTION, TARGETS), TARGETS, 0.01, n=5),
        ValueError, "n = 5"),
    bad("blockers-size", lambda: choose_blockers(SELECTION, TARGETS, max_size=0),
        ValueError, "max_size"),
    bad("blockers-eta", lambda: choose_blockers(SELECTION, TARGETS, eta=[0.0, 1.0]),
        ValueError, "eta"),
]  # fmt: skip

SEQUENTIAL = [
    bad("eps-negative", lambda: stopping(eps=-0.1), ValueError, "eps"),
    bad("eps-nan", lambda: stopping(eps=[0.1, NAN]), ValueError, "eps"),
    bad("eps-none", lambda: stopping(eps=[]), ValueError, "eps"),
    bad("sigma", lambda: stopping(sigma=0), ValueError, "sigma"),
    bad("alpha", lambda: stopping(alpha=0), ValueError, "alpha"),
    bad("n-max", lambda: stopping(n_max=10.5), TypeError, "n_max"),
    bad("mode", lambda: stopping(mode="all"), ValueError, "mode"),
    bad("blockers", lambda: stopping(blockers=0), ValueError, "blockers"),
    bad("label-unseen", lambda: stopping(also_correct=[0, 3]), ValueError, "also_correct"),
    bad("label-short", lambda: stopping(also_correct=[0]), ValueError, "also_correct"),
    bad("weights", lambda: stopping(weights=[1, 2]), ValueError, "weights"),
    bad("growth", lambda: stopping(growth=1.0), ValueError, "growth"),
    bad("futility", lambda: stopping(futility=1.0), ValueError, "futility"),
    bad("targets", lambda: StoppingRule(SELECTION, [[True]], eps=1, sigma=1),
        ValueError, "targets"),
    bad("update-twice-one-input", lambda: stopping().update([0, 0], SELECTION),
        ValueError, "index"),
    bad("update-no-input", lambda: stopping().update([2], SELECTION[:1]), ValueError, "index"),
    bad("update-twice-by-sign", lambda: stopping().update([1, -1], SELECTION), ValueError, "index"),
    bad("update-half-input", lambda: stopping().update([0.5], SELECTION[:1]), ValueError, "index"),
    bad("update-off-schedule", lambda: stopping().update([0], [[7, 0, 0]]), ValueError, "votes"),
    bad("update-width", lambda: stopping().update([0], [[90, 10]]), ValueError, "votes"),
    bad("radius-tolerance", lambda: RadiusRule(SELECTION, TARGETS, sigma=1, radius_tol=NAN),
        ValueError, "radius_tol"),
    bad("prediction-inputs", lambda: PredictionRule(-1), ValueError, "n_inputs"),
    bad("prediction-weights", lambda: PredictionRule(1, decision=WeightedVotes([1.0, NAN])),
        ValueError, "weights"),
    bad("prediction-decision", lambda: PredictionRule(1, decision=[1.0, 2.0]),
        TypeError, "decision"),
    bad("schedule-share", lambda: look_schedule(100, 0.1, final_share=0.0),
        ValueError, "final_share"),
    bad("simulate-P", lambda: simulate_decisions([[0.5, 0.6]], y=[0], sigma=1, eps=1),
        ValueError, "P must"),
    bad("simulate-y", lambda: simulate_decisions([[0.5, 0.5]], y=[0, 1], sigma=1, eps=1),
        ValueError, "y must"),
    bad("plan-P", lambda: plan_votes([0.5, 0.5], y=[0], sigma=1, eps=1), ValueError, "P must"),
    bad("plan-eps", lambda: plan_votes([[0.5, 0.5]], y=[0], sigma=1, eps=-1), ValueError, "eps"),
]  # fmt: skip

SAMPLING = [
    bad("n-zero", lambda: vote(n=0), ValueError, "n must"),
    bad("n-bool", lambda: vote(n=True), TypeError, "n must"),
    bad("sigma-text", lambda: vote(sigma="big"), TypeError, "sigma"),
    bad("classifier-none", lambda: vote(None), TypeError, "classifier"),
    bad("n-classes-one", lambda: vote(n_classes=1), ValueError, "n_classes"),
    bad("n-classes-wrong", lambda: vote(n_classes=5), ValueError, "5 classes"),
    bad("n-classes-missing", lambda: vote(lambda x: np.zeros(len(x), int)),
        ValueError, "n_classes"),
    bad("purpose", lambda: vote(purpose="fun"), ValueError, "purpose"),
    bad("precision", lambda: vote(precision="float8"), ValueError, "precision"),
    bad("device", lambda: vote(device="abacus"), ValueError, "device"),
    bad("batch-size", lambda: vote(batch_size=1.5), TypeError, "batch_size"),
    bad("n-jobs", lambda: vote(n_jobs=0), ValueError, "n_jobs"),
    bad("n-jobs-text", lambda: vote(n_jobs="all"), TypeError, "n_jobs"),
    bad("resume-no-key", lambda: vote(resume_from="votes.bin"), ValueError, "random_state"),
    bad("X-vector", lambda: vote(X=X[0]), ValueError, "X must"),
    bad("X-nan", lambda: vote(X=changed(NAN)), ValueError, r"X\[0\]"),
    bad("X-object", lambda: vote(X=Unsized()), TypeError, "X must"),
    bad("X-empty", lambda: vote(X=X[:0]), ValueError, "X holds no input"),
    bad("dataset-shapes", lambda: vote(X=ListDataset([X[0], X[0][:1]])), ValueError, "one shape"),
    bad("dataset-text", lambda: vote(X=ListDataset([X[0], "cat"])), ValueError, r"X\[1\]"),
    bad("key-text", lambda: make_key("secret"), TypeError, "random_state"),
    bad("key-short", lambda: make_key(b"123"), ValueError, "random_state"),
    bad("key-bool", lambda: make_key(True), TypeError, "random_state"),
    bad("key-float", lambda: make_key(0.5), TypeError, "random_state"),
]  # fmt: skip

METRICS = [
    bad("rob-cs-length", lambda: metrics.rob_cs([0, 1], [1.0], cost_matrix=COSTS, eps=1),
        ValueError, "radius"),
    bad("rob-cs-eps", lambda: metrics.rob_cs([0], [1.0], cost_matrix=COSTS, eps=-1),
        ValueError, "eps"),
    bad("rob-cs-eps-nan", lambda: metrics.rob_cs([0], [1.0], cost_matrix=COSTS, eps=[NAN]),
        ValueError, "eps"),
    bad("rob-cs-eps-text", lambda: metrics.rob_cs([0], [1.0], cost_matrix=COSTS, eps="a"),
        TypeError, "eps"),
    bad("rob-cs-unseen", lambda: metrics.rob_cs([4], [1.0], cost_matrix=COSTS, eps=1),
        ValueError, "y.*4"),
    bad("rob-cs-text", lambda: metrics.rob_cs([0], ["a"], cost_matrix=COSTS, eps=1),
        TypeError, "radius"),
    bad("rob-cs-weight",
        lambda: metrics.rob_cs([0], [1.0], cost_matrix=COSTS, eps=1, sample_weight=[-1]),
        ValueError, "sample_weight"),
    bad("rob-cost-shape", lambda: metrics.rob_cost([0], [1.0], cost_matrix=COSTS, eps=1),
        ValueError, "radius_pair"),
    bad("nonsensitive-length",
        lambda: metrics.rob_standard_nonsensitive([0], [0, 1], [1.0], cost_matrix=COSTS, eps=1),
        ValueError, "label"),
    bad("accuracy-kinds", lambda: metrics.certified_accuracy(["a"], [0], [1.0], eps=1),
        TypeError, "label"),
    bad("accuracy-mask",
        lambda: metrics.certified_accuracy([0], [0], [1.0], eps=1, abstained=[0.5]),
        TypeError, "abstained"),
    bad("abstention-numbers", lambda: metrics.abstention_rate([0, 1]), TypeError, "abstained"),
    bad("cost-label-unseen", lambda: metrics.misclassification_cost([0], [9], cost_matrix=COSTS),
        ValueError, "9"),
    bad("precision-kinds", lambda: metrics.precision_recall([0], [0], positive="a"),
        TypeError, "positive"),
    bad("errors-unseen", lambda: metrics.clean_error_matrix([0, 3], [0, 0], classes=[0, 1]),
        ValueError, "3"),
    bad("robust-errors-shape",
        lambda: metrics.robust_error_matrix([0], [[1.0]], classes=[0, 1], eps=1),
        ValueError, "radius_pair"),
    bad("certificates-no-y", lambda: certificates(y=None).rob_cs(0.1), ValueError, "y"),
    bad("certificates-eps", lambda: certificates().rob_cs(-0.1), ValueError, "eps"),
    bad("certificates-weights", lambda: certificates().rob_cost(0.1, [1.0]),
        ValueError, "sample_weight"),
    bad("certificates-costs", lambda: with_costs(certificates(), np.eye(3)),
        ValueError, "cost_matrix"),
    bad("certificates-load", lambda: Certificates.load("/no/such/file.npz"), OSError, "no/such"),
    bad("scorer-metric", lambda: certified_scorer(metrics=["auc"]), ValueError, "metrics"),
    bad("scorer-none", lambda: certified_scorer(metrics=[]), ValueError, "metrics"),
    bad("scorer-eps", lambda: certified_scorer(eps=0), ValueError, "eps"),
    bad("scorer-n", lambda: certified_scorer(n_estimation="many"), TypeError, "n_estimation"),
    bad("scorer-estimator", lambda: rob_cs_scorer(RandomForestClassifier(), X, Y),
        TypeError, "certified_report"),
    bad("under-text", lambda: best_under("rob_cs", accuracy="high"), ValueError, "accuracy"),
    bad("under-nan", lambda: best_under("rob_cs", accuracy=NAN), ValueError, "accuracy"),
    bad("under-no-metric", lambda: best_under("rob_cs")({"mean_test_accuracy": [1]}),
        ValueError, "rob_cs"),
    bad("under-none-left", lambda: best_under("a", b=2.0)({"mean_test_a": [1], "mean_test_b": [1]}),
        ValueError, "b >= 2"),
]  # fmt: skip

TRAINING = [
    bad("margin-lambda", lambda: objectives.MarginCS(lambda_robust=-1).validate(),
        ValueError, "lambda_robust"),
    bad("margin-gamma", lambda: objectives.MarginCS(gamma_normal=0).validate(),
        ValueError, "gamma_normal"),
    bad("margin-kind", lambda: objectives.MarginCS(margin="soft").validate(), ValueError, "margin"),
    bad("margin-balanced", lambda: objectives.MarginCS(balanced=1).validate(),
        ValueError, "balanced"),
    bad("gaussian-weight", lambda: objectives.Gaussian(weight_sensitive=0.5).validate(),
        ValueError, "weight_sensitive"),
    bad("gaussian-noise", lambda: objectives.Gaussian(n_noise=0).validate(), ValueError, "n_noise"),
    bad("gaussian-microbatch", lambda: objectives.Gaussian(microbatch=1.5).validate(),
        TypeError, "microbatch"),
    bad("macer-temperature", lambda: objectives.Macer(inverse_temperature=NAN).validate(),
        ValueError, "inverse_temperature"),
    bad("smoothadv-eps", lambda: objectives.SmoothAdv(eps_attack=-1).validate(),
        ValueError, "eps_attack"),
    bad("smoothadv-steps", lambda: objectives.SmoothAdv(n_steps="4").validate(),
        TypeError, "n_steps"),
    bad("smoothmix-beta", lambda: objectives.SmoothMix(beta=INF).validate(), ValueError, "beta"),
    bad("smoothmix-eta", lambda: objectives.SmoothMix(eta=-1.0).validate(), ValueError, "eta"),
    bad("objective-in-fit", lambda: fit(objective=objectives.Macer(gamma=0)), ValueError, "gamma"),
    bad("objective-unknown-param", lambda: estimator().set_params(objective__depth=1),
        ValueError, "depth"),
    bad("attack-eps", lambda: attack(eps=-1.0), ValueError, "eps"),
    bad("attack-eps-tensor", lambda: attack(eps=torch.ones(3)), ValueError, "eps"),
    bad("attack-eps-nan", lambda: attack(eps=torch.tensor([1.0, NAN])), ValueError, "eps"),
    bad("attack-sigma-none", lambda: attack(sigma=None), ValueError, "sigma"),
    bad("attack-noise", lambda: attack(noise=torch.zeros(2, 2)), ValueError, "noise"),
    bad("attack-steps", lambda: attack(n_steps=0), ValueError, "n_steps"),
    bad("attack-step-size", lambda: attack(step_size=0.0), ValueError, "step_size"),
    bad("attack-bounds", lambda: attack(bounds=(0.5, 1.0)), ValueError, "bounds"),
    bad("mlp-features", lambda: modules.MLP(0, 3), ValueError, "n_features"),
    bad("mlp-hidden", lambda: modules.MLP(2, 3, hidden=(4, "a")), TypeError, "hidden"),
    bad("mlp-hidden-number", lambda: modules.MLP(2, 3, hidden=4), TypeError, "hidden"),
    bad("mlp-dropout", lambda: modules.MLP(2, 3, dropout=1.0), ValueError, "dropout"),
    bad("normalize-std", lambda: modules.Normalize(0.0, [1.0, 0.0]), ValueError, "std"),
    bad("normalize-mean-nan", lambda: modules.Normalize(NAN, 1.0), ValueError, "mean"),
    bad("conv-size", lambda: modules.small_conv(image_size=30), ValueError, "image_size"),
    bad("resnet-classes", lambda: modules.cifar_resnet20(n_classes=0), ValueError, "n_classes"),
]  # fmt: skip

OTHER_ESTIMATORS = [
    bad("tuned-estimator", lambda: tune(LogisticRegression()), TypeError, "estimator"),
    bad("tuned-decision", lambda: tune(estimator(decision=WeightedVotes([1, 2, 1]))),
        ValueError, "decision"),
    bad("tuned-validation", lambda: tune(validation=1.0), ValueError, "validation"),
    bad("tuned-validation-text", lambda: tune(validation="all"), ValueError, "validation"),
    bad("tuned-folds", lambda: tune(validation=1), ValueError, "validation"),
    bad("tuned-objective", lambda: tune(objective="accuracy"), ValueError, "objective"),
    bad("tuned-eps", lambda: tune(eps=0), ValueError, "eps"),
    bad("tuned-votes", lambda: tune(n_votes=0), ValueError, "n_votes"),
    bad("tuned-loss", lambda: tune(max_accuracy_loss="1%"), TypeError, "max_accuracy_loss"),
    bad("tuned-prefit-unfitted", lambda: tune(validation="prefit"), NotFittedError, "not fitted"),
    bad("tuned-refit-folds", lambda: tune(validation=2, refit=False), ValueError, "refit"),
    bad("tuned-random-state", lambda: tune(random_state="x"), ValueError, "seed"),
    bad("tuned-unfitted", lambda: TunedDecisionClassifier(estimator()).predict(X),
        NotFittedError, "not fitted"),
    bad("convex-eps", lambda: convex(eps=0), ValueError, "eps"),
    bad("convex-eps-start", lambda: convex(eps=0.1, eps_start=0.2), ValueError, "eps_start"),
    bad("convex-norm", lambda: convex(norm="l1"), ValueError, "norm"),
    bad("convex-objective", lambda: convex(objective="madry"), ValueError, "objective"),
    bad("convex-alpha", lambda: convex(alpha_robust=-1), ValueError, "alpha_robust"),
    bad("convex-warmup", lambda: convex(warmup_epochs=5), ValueError, "warmup_epochs"),
    bad("convex-bounds", lambda: convex(bounds=(0.0, 0.1)), ValueError, "bounds"),
    bad("convex-bounds-order", lambda: convex(bounds=(9.0, -9.0)), ValueError, "bounds"),
    bad("convex-bounds-number", lambda: convex(bounds=1.0), ValueError, "bounds"),
    bad("convex-module", lambda: convex(module=nn.Sequential(nn.Linear(2, 3), nn.Tanh())),
        TypeError, "Tanh"),
    bad("convex-nan", lambda: convex(X=changed(NAN)), ValueError, "X contains NaN"),
    bad("convex-one-class", lambda: convex(y=np.ones(36, int)), ValueError, "y has one class"),
    bad("convex-unfitted", lambda: ConvexRelaxationClassifier().certify(X),
        NotFittedError, "not fitted"),
    bad("convex-certify-eps", lambda: fitted_convex().certify(X, eps=-1), ValueError, "eps"),
    bad("convex-certify-unseen", lambda: fitted_convex().certify(X[:1], [9]), ValueError, "9"),
    bad("convex-score-metric", lambda: fitted_convex().score(X, Y, metric="f1"),
        ValueError, "metric"),
    bad("plot-estimator",
        lambda: plotting.CertifiedAccuracyDisplay.from_estimator(LogisticRegression(), X, Y),
        TypeError, "certified_report|estimator"),
    bad("plot-certificates", lambda: plotting.CertifiedAccuracyDisplay.from_certificates(VOTES),
        TypeError, "certificates"),
    bad("plot-metric",
        lambda: plotting.CertifiedAccuracyDisplay.from_certificates(certificates(), metric="f1"),
        ValueError, "metric"),
    bad("plot-confidence",
        lambda: plotting.CertifiedAccuracyDisplay.from_certificates(certificates(), confidence=95),
        ValueError, "confidence"),
    bad("plot-eps",
        lambda: plotting.CertifiedAccuracyDisplay.from_certificates(certificates(), eps=[-1.0]),
        ValueError, "eps"),
    bad("plot-radii", lambda: plotting.RadiusDistributionDisplay.from_certificates(None),
        TypeError, "certificates"),
    bad("plot-errors-no-y",
        lambda: plotting.RobustErrorDisplay.from_certificates(certificates(y=None), eps=0.1),
        ValueError, "y"),
    bad("plot-errors-eps",
        lambda: plotting.RobustErrorDisplay.from_certificates(certificates(), eps=-1),
        ValueError, "eps"),
    bad("plot-votes-index",
        lambda: votes_display(index=9),
        ValueError, "index"),
    bad("plot-votes-index-text",
        lambda: votes_display(index="a"),
        TypeError, "index"),
    bad("plot-votes-names",
        lambda: votes_display(x=[1, 2], feature_names=["a"]),
        ValueError, "feature_names"),
    bad("plot-votes-image",
        lambda: votes_display(x=[1, 2], image_shape=(3, 3)),
        ValueError, "image_shape"),
    bad("plot-frontier", lambda: plotting.FrontierDisplay.from_estimator(fitted()),
        TypeError, "TunedDecision"),
    bad("plot-frontier-tuned", lambda: plotting.FrontierDisplay.from_tuned(VOTES),
        TypeError, "tuned"),
]  # fmt: skip

COST = np.tile(1.0 - np.eye(3), (len(X), 1, 1))
MONEY_AND_NOISE = [
    pytest.param(
        lambda: fit(noise_scale=0), ValueError, "noise_scale is 0 everywhere", id="no-noise"
    ),
    pytest.param(
        lambda: fit(noise_scale={"job": 0}), ValueError, "noise_scale by column", id="no-names"
    ),
    pytest.param(
        lambda: with_params(noise_scale=[1, -1]).predict(X),
        ValueError,
        "noise_scale must hold finite numbers >= 0",
        id="negative-scale",
    ),
    pytest.param(
        lambda: attack(noise_scale=[1, 1, 1]), ValueError, "noise_scale must broad", id="attack"
    ),
    pytest.param(
        lambda: vote(noise_scale=[NAN, 1]), ValueError, "noise_scale must hold finite", id="vote"
    ),
    pytest.param(
        lambda: fitted().predict(X, costs=COST[1:]),
        ValueError,
        r"costs must have shape \(36, 3, 3\)",
        id="costs-of-other-rows",
    ),
    pytest.param(
        lambda: estimator().fit(X, Y, costs=-COST),
        ValueError,
        r"costs must be finite and >= 0; costs\[0, 0, 1\] is -1",
        id="negative-costs",
    ),
    pytest.param(
        lambda: fitted().certify(X, costs=0 * COST),
        ValueError,
        "costs of row 0 are all 0",
        id="no-costs",
    ),
    pytest.param(
        lambda: fit(decision="min-cost"),
        ValueError,
        "in cost_matrix, calling 0 by the name 2 is free.*with_default",
        id="free-mistakes",
    ),
    pytest.param(
        lambda: wrap(by_distance, decision={1: 2.0}).predict(X),
        ValueError,
        "needs probabilities",
        id="no-probabilities",
    ),
]

TABLES = {
    "money-and-noise": MONEY_AND_NOISE,
    "fit": FIT,
    "modules": MODULES,
    "use": USE,
    "cost": COST_MATRICES,
    "certification": CERTIFICATION,
    "sequential": SEQUENTIAL,
    "sampling": SAMPLING,
    "metrics": METRICS,
    "training": TRAINING,
    "others": OTHER_ESTIMATORS,
}
TABLE = [
    pytest.param(*row.values, id=f"{area}-{row.id}")
    for area, rows in TABLES.items()
    for row in rows
]


@pytest.mark.parametrize(("call", "error", "match"), TABLE)
def test_bad_input_is_refused_by_a_message_that_names_it(call, error, match):
    with pytest.raises(error) as caught:
        call()
    assert re.search(match, str(caught.value), re.DOTALL), f"{match!r} is not in: {caught.value}"


def test_every_row_has_an_id_of_its_own():
    ids = [row.id for row in TABLE]
    assert len(set(ids)) == len(ids) >= 60
