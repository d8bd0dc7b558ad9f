"""Decisions inside the base classifier, on linear modules whose true radii are known."""

import numpy as np
import pytest
import sklearn
import torch
from _small import ListDataset, X, Y, by_distance, estimator, wrap
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from smoothcs import CostMatrix, WeightedVotes, certified_scorer, rob_cs_scorer
from smoothcs.decision import MinCost, WeightedScores
from smoothcs.objectives import Gaussian, MarginCS

NORMAL = torch.tensor([1.0, -2.0, 0.5])
LENGTH = float(NORMAL.norm())
CHEAP, DEAR = [[0.0, 1.0], [4.0, 0.0]], [[0.0, 4.0], [1.0, 0.0]]


def linear(bias=0.3):
    """Two logits that differ by ``NORMAL @ x + bias``."""
    module = nn.Linear(3, 2)
    with torch.no_grad():
        module.weight[:] = torch.stack([torch.zeros(3), NORMAL])
        module.bias[:] = torch.tensor([0.0, bias])
    return module


def at_logits(logits, bias=0.3):
    """Return points (n, 3) at which the difference of the logits is as given."""
    rng = np.random.default_rng(0)
    points, unit = rng.standard_normal((len(logits), 3)), NORMAL.numpy() / LENGTH
    points -= (points @ unit)[:, None] * unit
    return (points + ((np.asarray(logits) - bias) / LENGTH)[:, None] * unit).astype(np.float32)


def two_classes(module=None, **params):
    given = {"sigma": 1.0, "n_estimation": 40_000, "n_prediction": 2000, **params}
    return wrap(module or linear(), 2, **given)


LOGITS = np.array([-6.0, -4.5, -3.2, 2.4, 3.5, 5.0])


def costs_of(threshold):
    """Costs (n, 2, 2), with a diagonal, whose Elkan thresholds are as given."""
    t = np.asarray(threshold, dtype=float)
    return np.stack([[0.5 + 0 * t, 0.5 + t], [1.25 - t, 0.25 + 0 * t]]).transpose(2, 0, 1)


@pytest.mark.parametrize(
    ("decision", "threshold"),
    [
        ({1: 3}, 1 / 4),
        ([2.0, 1.0], 2 / 3),
        ("min-cost", 1 / 5),
        ("of the example", np.array([0.1, 0.3, 0.5, 0.7, 0.4, 0.9])),
    ],
)
def test_radii_are_the_distance_from_the_moved_boundary(decision, threshold):
    points = at_logits(LOGITS)
    costs = None
    if decision == "of the example":
        decision, costs = "min-cost", costs_of(threshold)
    clf = two_classes(decision=decision, cost_matrix=CHEAP if decision == "min-cost" else None)
    beyond = LOGITS - np.log(threshold / (1 - threshold))
    distance = np.abs(beyond) / LENGTH
    assert distance.min() > 0.5
    c = clf.certify(points, costs=costs)
    assert (c.label == (beyond > 0)).all()
    assert (clf.predict(points, costs=costs) == c.label).all()
    assert (c.radius_standard <= distance).all()  # at 6 * alpha
    np.testing.assert_allclose(c.radius_standard, distance, rtol=0.06)
    found = clf.certify_at(points, eps=[0.4, 3.0], kinds=("standard",), costs=costs)
    assert found.certified_standard.tolist() == [[True, False]] * 6


def test_weights_of_one_are_the_argmax_bit_for_bit():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 4))
    points = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)
    plain, ones = wrap(module, 4), wrap(module, 4, decision=[1, 1, 1, 1])
    assert ones._decision().inside is not None
    a, b = plain.certify(points), ones.certify(points)
    for name in ("votes", "selection_votes", "radius_pair", "radius_group", "radius_standard"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    np.testing.assert_array_equal(plain.predict(points), ones.predict(points))
    np.testing.assert_array_equal(plain.predict_proba(points), ones.predict_proba(points))


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("own", [True, False])
def test_costs_in_any_currency_decide_alike_in_any_precision(precision, own):
    points = at_logits(LOGITS)
    answers = []
    for currency in (1e-3, 1.0, 1e7):
        costs = np.tile(np.multiply(CHEAP, currency), (6, 1, 1))
        clf = two_classes(
            decision="min-cost", decision_costs=None if own else costs[0], precision=precision
        )
        answers.append(clf.predict(points, costs=costs if own else None).tolist())
    assert answers[0] == answers[1] == answers[2] == [0, 0, 0, 1, 1, 1]


def test_everything_follows_a_decision_set_after_fit(tmp_path):
    points = at_logits([-0.9] * 4)  # argmax 0, weighted 1
    y = np.array([1, 1, 0, 0])
    clf = two_classes(cost_matrix=CHEAP)
    eps = 0.4 * (np.log(9) - 0.9) / LENGTH

    def everything():
        c = clf.certify(points, y)
        report = clf.certified_report(points, y, eps=eps)
        return {
            "predict": clf.predict(points).tolist(),
            "abstains": clf.abstains(points).tolist(),
            "share": clf.predict_proba(points).argmax(axis=1).tolist(),
            "certify": c.label.tolist(),
            "certify_at": clf.certify_at(points, y, eps).label.tolist(),
            "plan": np.isfinite(clf.plan_votes(points, y, eps=eps)).tolist(),
            "score": clf.score(points, y, eps=eps),
            "accuracy": report["accuracy"],
            "scorer": rob_cs_scorer(clf.set_params(eps=eps), points, y),
            "scorers": certified_scorer(eps)(clf, points, y)["rob_cs"],
            "says": str(c.decision.inside) in repr(c) or c.decision.inside is None,
        }

    before = everything()
    clf.set_params(decision={1: 9})
    after = everything()
    clf.set_params(decision=None)
    assert everything() == before
    common = {"abstains": [False] * 4, "score": 0.5, "accuracy": 0.5, "says": True}
    common |= {"scorer": 0.5, "scorers": 0.5}
    for found, label in ((before, 0), (after, 1)):
        same = dict.fromkeys(("predict", "share", "certify", "certify_at"), [label] * 4)
        plan = (y == label).tolist()
        assert found == {**same, **common, "plan": plan}


@pytest.mark.parametrize(
    "change",
    [
        {"decision": None},
        {"decision": {1: 2.5}},
        {"decision_costs": DEAR},
        {"noise_scale": [1, 1, 0.5]},
        {"costs": 0},
        {"costs": 4},
    ],
)
def test_a_resume_file_of_another_decision_is_refused(change, tmp_path):
    points, path = at_logits(LOGITS), tmp_path / "votes"
    costs = costs_of([0.1, 0.3, 0.5, 0.7, 0.4, 0.9])
    clf = two_classes(decision="min-cost", decision_costs=CHEAP, n_estimation=300)
    own = costs if "costs" in change else None
    first = clf.certify(points, costs=own, resume_from=path)
    again = clf.certify(points, costs=own, resume_from=path)
    np.testing.assert_array_equal(first.votes, again.votes)
    if own is not None:
        own = costs.copy()
        own[change["costs"], 0, 1] *= 1.5
        change = {}
    with pytest.raises(ValueError, match="holds (votes|selection votes) "):
        clf.set_params(**change).certify(points, costs=own, resume_from=path)


def test_votes_are_not_continued_for_prices_that_hardly_change_the_first_outputs(tmp_path):
    """They change the answers to the second input; those to the first are compared."""

    def scores(x):
        rare = np.where(x[:, 0] > 50, 0.999, 2e-4)
        return np.stack([1 - rare, rare], axis=1)

    points, path = np.array([[100.0], [0.0]], dtype=np.float32), tmp_path / "votes"
    clf = wrap(scores, 2, decision="min-cost", decision_costs=[[0, 1], [10_000, 0]])
    assert clf.certify(points[1:]).label == [1]
    clf.certify(points[:1], resume_from=path)
    clf.certify(points[:1], resume_from=path)
    clf.set_params(decision_costs=[[0, 3], [10_000, 0]])
    assert clf.certify(points[1:]).label == [0]
    with pytest.raises(ValueError, match="holds votes with another rule"):
        clf.certify(points, resume_from=path)


def test_costs_of_each_example_in_a_dataset_and_in_processes():
    points = at_logits(LOGITS)
    costs = costs_of([0.1, 0.3, 0.5, 0.7, 0.4, 0.9])
    clf = two_classes(decision="min-cost", n_estimation=300)
    votes = clf.certify(points, costs=costs).votes
    for given, n_jobs in ((ListDataset(list(points)), None), (points, 2)):
        found = clf.set_params(n_jobs=n_jobs).certify(given, costs=costs)
        np.testing.assert_array_equal(found.votes, votes)


def test_a_dataset_that_augments_is_refused_with_costs_too():
    points, rng = at_logits(LOGITS), np.random.default_rng(0)

    class Augmented(ListDataset):
        def __getitem__(self, index):
            return self.items[index] + rng.standard_normal(3).astype(np.float32)

    clf = two_classes(decision="min-cost", n_estimation=300)
    with pytest.raises(ValueError, match="another input than in an earlier pass"):
        clf.certify(Augmented(list(points)), costs=costs_of([0.5] * 6))


def test_images_with_costs_of_their_own_reach_the_module_in_their_shape():
    class Net(nn.Module):
        def forward(self, x):
            assert x.shape[1:] == (3, 4, 5)
            total = x.view(-1).view(len(x), -1).mean(dim=1)  # needs contiguous memory
            return torch.stack([-total, total], dim=1)

    images = np.random.default_rng(0).standard_normal((4, 3, 4, 5)).astype(np.float32)
    clf = wrap(Net(), 2, decision="min-cost", sigma=0.5)
    same = [[0.0, 1.0], [1.0, 0.0]]
    own = clf.certify(images, costs=np.tile(same, (4, 1, 1)))
    plain = clf.set_params(decision=None).certify(images)
    np.testing.assert_array_equal(own.label, plain.label)


# -- what has no scores --------------------------------------------------------------------------


@pytest.mark.parametrize("decision", [{1: 3}, "min-cost"])
def test_what_gives_no_probabilities_is_refused(decision):
    def labels(x):
        return by_distance(x).argmax(axis=1)

    how = {"decision": decision, "cost_matrix": CostMatrix.uniform()}
    with pytest.raises(ValueError, match=r"answers labels alone, use decision=WeightedVotes"):
        wrap(labels, **how).predict(X)
    with pytest.raises(ValueError, match=r"probabilities, >= 0 and of sum 1"):
        wrap(by_distance, **how).predict(X)
    with pytest.raises(ValueError, match=r"probabilities, >= 0 and of sum 1"):
        wrap(lambda x: by_distance(x) + 1000, **how).predict(X)
    with pytest.raises(ValueError, match=r"module must map .* to a tensor of logits"):
        wrap(ModuleOfLabels(), **how).predict(X)
    ridge = RidgeClassifier().fit(X, Y)
    with pytest.raises(TypeError, match=r"predict_proba, which RidgeClassifier lacks"):
        wrap(ridge, decision=decision)
    clf = wrap(ridge)
    clf.predict(X)
    with pytest.raises(TypeError, match=r"predict_proba, which RidgeClassifier lacks"):
        clf.set_params(decision=decision).predict(X)
    assert (clf.set_params(decision=WeightedVotes({1: 3})).predict(X) == Y).mean() > 0.9


class ModuleOfLabels(nn.Module):
    def forward(self, x):
        return x[:, 0].long()


def test_a_callable_and_a_model_decide_by_their_probabilities():
    model = LogisticRegression().fit(X, Y)
    for base in (model, model.predict_proba, lambda x: torch.from_numpy(model.predict_proba(x))):
        clf = wrap(base, decision={1: 1e8}, sigma=0.1)
        assert (clf.predict(X) == 1).all()
        assert (clf.set_params(decision=None).predict(X) == Y).mean() > 0.9


# -- bad costs -----------------------------------------------------------------------------------

GOOD = np.tile(1.0 - np.eye(3), (36, 1, 1))


def changed(index, value):
    costs = GOOD.copy()
    costs[index] = value
    return costs


BAD_COSTS = [
    (GOOD[0], r"costs must have shape \(36, 3, 3\).*got \(3, 3\)"),
    (GOOD[:35], r"costs must have shape \(36, 3, 3\).*got \(35, 3, 3\)"),
    (GOOD[:, :2, :2], r"costs must have shape \(36, 3, 3\).*got \(36, 2, 2\)"),
    (changed((4, 1, 2), -1), r"costs\[4, 1, 2\] is -1"),
    (changed((4, 1, 2), np.nan), r"costs\[4, 1, 2\] is nan"),
    (changed((4, 1, 2), np.inf), r"costs\[4, 1, 2\] is inf"),
    (changed(7, 0), r"costs of row 7 are all 0"),
    ("dear", r"costs must hold numbers, in shape \(36, 3, 3\); got str"),
]


@pytest.mark.parametrize("decision", [None, "min-cost"])
@pytest.mark.parametrize(("costs", "message"), BAD_COSTS)
def test_bad_costs_are_refused_everywhere_and_nothing_changes(costs, message, decision):
    clf = estimator(decision=decision, cost_matrix=None)
    before = dict(vars(clf))
    with pytest.raises(ValueError, match=message):
        clf.fit(X, Y, costs=costs)
    assert vars(clf) == before
    clf = wrap(LogisticRegression().fit(X, Y), decision=decision)
    before = dict(vars(clf))
    calls = [
        lambda: clf.predict(X, costs=costs),
        lambda: clf.abstains(X, costs=costs),
        lambda: clf.predict_proba(X, costs=costs),
        lambda: clf.certify(X, Y, costs=costs),
        lambda: clf.certify_at(X, Y, 0.1, costs=costs),
        lambda: clf.certify_radius(X, Y, costs=costs),
        lambda: clf.plan_votes(X, Y, costs=costs),
        lambda: clf.score(X, Y, costs=costs),
        lambda: clf.certified_report(X, Y, costs=costs),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call()
    assert vars(clf) == before


# -- training ------------------------------------------------------------------------------------


def test_objectives_get_what_a_mistake_costs_more_than_the_truth():
    seen = []

    class Recorder(Gaussian):
        def per_example(self, module, x, y, context):
            seen.append((y, context.costs))
            return super().per_example(module, x, y, context)

    costs = np.zeros((36, 3, 3))
    costs[:, [0, 1, 2], [0, 1, 2]] = 2.0  # paid in any case
    costs[:, 0, 1], costs[:, 1, 0], costs[:, 2, 0] = 10.0, 4.0, 1.0
    estimator(module=nn.Linear(2, 3), objective=Recorder(), max_epochs=1).fit(X, Y, costs=costs)
    rows = {int(k): row.tolist() for y, c in seen for k, row in zip(y, c, strict=True)}
    mean = (8 + 2 + 0) / 3  # class 2 may be called anything but a 1: nothing costs more
    expected = {0: [0, 8 / mean, 0], 1: [2 / mean, 0, 0], 2: [0, 0, 0]}
    for k in rows:
        assert rows[k] == pytest.approx(expected[k])


@pytest.mark.parametrize(
    "objective",
    ["gaussian-cs", MarginCS(normalize_costs="largest"), "smoothadv-cs", "smoothmix-cs"],
)
def test_costs_of_examples_that_are_those_of_the_matrix_train_the_same_net(objective):
    """Where the largest cost of every row is 1, scaling to a mean of 1 changes nothing."""
    matrix = np.array([[0, 1.0, 0.5], [1, 0, 0], [0.25, 1, 0]])
    by_class = estimator(objective=objective, cost_matrix=matrix).fit(X, Y)
    own = estimator(objective=objective, cost_matrix=None).fit(
        X, Y, costs=np.tile(matrix, (36, 1, 1))
    )
    for a, b in zip(by_class.module_.parameters(), own.module_.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    other = estimator(objective=objective).fit(
        X, Y, costs=np.tile(matrix.T, (36, 1, 1)) * [[[9, 1, 1]]]
    )
    weights = zip(own.module_.parameters(), other.module_.parameters(), strict=True)
    assert any((a != b).any() for a, b in weights)


# -- metadata routing ----------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:this search compares candidates by rob_cs alone")
def test_costs_are_routed_through_pipelines_and_searches():
    rng = np.random.default_rng(0)
    points = at_logits(rng.normal(0, 4, size=60))
    y = (points @ NORMAL.numpy() + 0.3 > 0).astype(int)
    costs = costs_of(rng.uniform(0.02, 0.98, size=60))
    with sklearn.config_context(enable_metadata_routing=True):
        clf = estimator(
            module=LogisticRegression(),
            objective="margin-cs",
            cost_matrix=None,
            decision="min-cost",
        )
        clf.set_fit_request(costs=True).set_predict_request(costs=True)
        clf.set_score_request(costs=True)
        pipeline = make_pipeline(StandardScaler(), clf).fit(points, y, costs=costs)
        direct = pipeline[-1].predict(pipeline[0].transform(points), costs=costs)
        assert (pipeline.predict(points, costs=costs) == direct).all()
        with pytest.raises(ValueError, match="needs costs, and there are none"):
            pipeline.predict(points)
        scaled = pipeline[0].transform(points)
        assert pipeline.score(points, y, costs=costs) == pipeline[-1].score(scaled, y, costs=costs)
        search = GridSearchCV(
            pipeline, {"costsensitivesmoothedclassifier__sigma": [0.1, 0.2]}, cv=2
        ).fit(points, y, costs=costs)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()
        assert search.score(points, y, costs=costs) == search.best_estimator_.score(
            points, y, costs=costs
        )


def test_the_rule_is_part_of_the_certificates_on_disk(tmp_path):
    points, costs = at_logits(LOGITS), costs_of([0.1, 0.3, 0.5, 0.7, 0.4, 0.9])
    clf = two_classes(decision="min-cost", n_estimation=300, noise_scale=[1, 0, 2])
    y = (LOGITS > 0).astype(int)
    for found in (clf.certify(points, y, costs=costs), clf.certify_at(points, y, 0.1, costs=costs)):
        found.save(tmp_path / "certificates.npz")
        loaded = type(found).load(tmp_path / "certificates.npz")
        np.testing.assert_array_equal(loaded.costs, costs)
        np.testing.assert_array_equal(loaded.noise_scale, [1, 0, 2])
        np.testing.assert_array_equal(loaded.cost_matrix.matrix, found.cost_matrix.matrix)
        assert loaded.decision == found.decision
        assert repr(loaded) == repr(found)
        assert "MinCost(of each example), noise on 2 of 3 entries" in repr(found)
        with pytest.raises(TypeError, match="of which a file keeps the name alone"):
            clf.set_params(decision=loaded.decision).predict(points)
        clf.set_params(decision="min-cost")


def test_rules_print_what_they_do():
    assert repr(WeightedScores(np.array([1.0, 3.0]))) == "WeightedScores([1.0, 3.0])"
    assert repr(MinCost(None)) == "MinCost(of each example)"
