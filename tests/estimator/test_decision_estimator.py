"""The estimator follows its decision rule wherever it predicts, certifies, decides and scores."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri
from scipy.stats import binomtest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from smoothcs import (
    Certificates,
    CertificationInterrupted,
    CertifiedAt,
    CostSensitiveSmoothedClassifier,
    WeightedVotes,
    best_under,
    certified_scorer,
    certify_votes,
    rob_cs_scorer,
    sample_votes,
)
from smoothcs.sequential.planning import plan_votes

SIGMA, ALPHA = 0.5, 0.1
WEIGHTS = WeightedVotes({"yes": 3.0})
# The vote of "yes" counts threefold: the boundary moves to where it has a quarter of the votes.
SHIFT = SIGMA * ndtri(0.25)


def half_plane(batch):
    return (batch[:, 0] > 0).astype(int)


def linear(**params):
    """A linear module: its votes, and the distance to the boundary of the rule, are known."""
    defaults = {"decision": WEIGHTS, "sigma": SIGMA, "alpha": ALPHA, "random_state": 0}
    return CostSensitiveSmoothedClassifier.from_module(
        half_plane, classes=["no", "yes"], **(defaults | params)
    )


def at(margin, n=1):
    """Inputs at one signed distance from the boundary of the module, each with its own noise."""
    return np.column_stack([np.full(n, margin), np.arange(n)])


MARGINS = np.array([-1.2, -0.7, -0.1, 0.2, 0.8])
POINTS = np.concatenate([at(margin) for margin in MARGINS])
DISTANCES = np.abs(MARGINS - SHIFT)
LABELS = np.where(MARGINS > SHIFT, "yes", "no")


# -- a linear module: everything follows the shifted boundary -----------------------------------


def test_predictions_change_at_the_shifted_boundary():
    clf = linear()
    assert clf.predict(POINTS).tolist() == LABELS.tolist()
    assert clf.set_params(decision=None).predict(POINTS)[2] == "no"  # margin -.1
    never = linear(abstain_label=None)
    assert never.predict(POINTS).tolist() == LABELS.tolist()
    assert (never.classes_[never.predict_proba(POINTS).argmax(axis=1)] != LABELS).any()


def test_predict_abstains_on_the_shifted_boundary_and_not_on_that_of_the_module():
    clf = linear(alpha=0.001)
    assert clf.abstains(at(SHIFT, 50)).mean() > 0.9
    assert not clf.abstains(at(0.0, 50)).any()
    clf.set_params(decision=None)
    assert not clf.abstains(at(SHIFT, 50)).any()


@pytest.mark.parametrize("bound", ["exact", "closed-form"])
@pytest.mark.parametrize("decision", [WEIGHTS, WeightedVotes([1, 3])])
def test_radii_approach_the_distance_to_the_shifted_boundary_from_below(bound, decision):
    clf = linear(decision=decision, bound=bound, n_estimation=100_000, alpha=0.001)
    c = clf.certify(POINTS, LABELS)
    assert c.label.tolist() == LABELS.tolist()
    for radius in (c.radius_standard, c.radius_group, np.nanmax(c.radius_pair, axis=1)):
        assert (radius <= DISTANCES).all()
        assert (radius >= 0.95 * DISTANCES).all()


def test_radii_to_a_tolerance_approach_that_distance_with_fewer_votes():
    c = linear(alpha=0.001, n_estimation=100_000).certify(POINTS, LABELS, radius_tol=0.05)
    assert (c.radius_group <= DISTANCES).all()
    assert (c.radius_group >= DISTANCES - 0.06).all()
    assert c.votes.sum() < 0.5 * 100_000 * len(POINTS)


def test_decisions_hold_within_that_distance_and_not_beyond():
    clf = linear(alpha=0.001)
    kinds = ("group", "pair", "standard", "label")
    for share, expected in ((0.9, True), (1.001, False)):
        for i, distance in enumerate(DISTANCES):
            d = clf.certify_at(
                POINTS[[i]], LABELS[[i]], share * distance, kinds=kinds, n_max=100_000
            )
            assert d.certified_group[0, 0] == expected
            assert d.certified_standard[0, 0] == expected
            assert d.certified_pair[0, 0].any() == expected
            assert d.abstained[0] == False  # noqa: E712
            assert d.label[0] == LABELS[i]
            assert d.decision.weights.tolist() == [1, 3]


@pytest.mark.parametrize("mode", ["radius", "tolerance", "at eps", "at eps standard", "label"])
def test_false_claims_through_the_estimator_are_rarer_than_alpha(mode):
    # At margin .1 the distance is known; claims beyond it are false.
    # Radii of growing votes take time.
    n, margin = 120 if mode == "tolerance" else 600, 0.1
    X, distance = at(margin, n), margin - SHIFT
    clf = linear(n_estimation=300, n_prediction=200)
    if mode == "radius":
        false = clf.certify_radius(X) > distance
    elif mode == "tolerance":
        c = clf.set_params(n_estimation=2000).certify(X, radius_tol=1e-3)
        false = c.radius_group > distance
    elif mode == "label":
        # Just on the other side the smoothed classifier says no.
        false = clf.predict(at(SHIFT - 1e-6, n)) == "yes"
    else:
        kind = "standard" if "standard" in mode else "group"
        d = clf.certify_at(X, eps=distance + 1e-9, kinds=(kind,))
        false = getattr(d, f"certified_{kind}")[:, 0]
    assert binomtest(int(false.sum()), n, ALPHA, alternative="greater").pvalue > 1e-4
    # The test could see a violation: something of alpha is used.
    assert false.any()


def test_without_a_rule_those_claims_would_be_false():
    # The certificates of the plurality vote do not hold for the weighted one.
    clf = linear(n_estimation=2000, alpha=0.001)
    X = at(-0.4, 20)  # the weighted boundary is .06 away, that of the module .4
    assert (clf.certify_radius(X) < 0.07).all()
    assert (clf.set_params(decision=None).certify_radius(X) > 0.3).all()


# -- real data: one rule, one answer ------------------------------------------------------------


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return X, np.array(["se", "ve", "vi"])[y]


def quick(**params):
    defaults = {
        "cost_matrix": {("vi", "ve"): 10.0, ("ve", "vi"): 1.0},
        "objective": "gaussian",
        "sigma": 0.3,
        "lr": 0.01,
        "max_epochs": 15,
        "n_estimation": 400,
        "n_prediction": 300,
        "random_state": 0,
    }
    return CostSensitiveSmoothedClassifier(**(defaults | params))


@pytest.fixture(scope="module")
def plain(iris):
    return quick().fit(*iris)


@pytest.fixture
def fitted(plain):
    return pickle.loads(pickle.dumps(plain))


def votes_of(clf, X, n, purpose):
    return sample_votes(
        clf.module_,
        X.astype(np.float32),
        n,
        clf.sigma,
        purpose=purpose,
        random_state=clf.vote_key_,
    )


KINDS = ("group", "pair", "standard", "label")
AT_EPS = ("label", "votes", "certified_group", "certified_pair", "certified_standard")


@pytest.mark.parametrize("weights", [[2.0, 2.0, 2.0], {"ve": 1}])
def test_equal_weights_are_the_plurality_vote_bit_for_bit(plain, fitted, iris, weights):
    X, y = iris[0][60:120:2], iris[1][60:120:2]
    fitted.set_params(decision=WeightedVotes(weights))
    np.testing.assert_array_equal(fitted.predict(X), plain.predict(X))
    np.testing.assert_array_equal(fitted.plan_votes(X), plain.plan_votes(X))
    one, other = (clf.certify_at(X, y, kinds=KINDS) for clf in (fitted, plain))
    for name in AT_EPS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for params, options in (
        ({}, {}),
        ({}, {"radius_tol": 0.05}),
        ({"bound": "closed-form"}, {}),
        ({"bound": "paper"}, {}),
    ):
        one, other = (
            pickle.loads(pickle.dumps(clf)).set_params(**params).certify(X, y, **options)
            for clf in (fitted, plain)
        )
        for name in ("label", "votes", "radius_standard", "radius_group", "radius_pair"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_nearly_equal_weights_give_the_same_answers(plain, fitted, iris):
    X, y = iris[0][60:120:2], iris[1][60:120:2]
    fitted.set_params(decision=WeightedVotes([1.0, 1.0, 1.0 + 1e-13]))
    np.testing.assert_array_equal(fitted.predict(X), plain.predict(X))
    np.testing.assert_allclose(
        fitted.certify(X, y).radius_pair, plain.certify(X, y).radius_pair, atol=1e-9
    )
    one, other = (clf.certify_at(X, y, kinds=KINDS) for clf in (fitted, plain))
    for name in AT_EPS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_certificates_are_those_of_the_rule_and_the_votes_drawn(fitted, iris):
    X, y = iris[0][50:90], iris[1][50:90]
    selection = votes_of(fitted, X, 100, "selection")
    estimation = votes_of(fitted, X, 400, "estimation")
    decision = WeightedVotes({"vi": 3.0, "ve": 0.5})
    got = fitted.set_params(decision=decision).certify(X, y)
    expected = certify_votes(
        selection,
        estimation,
        decision=WeightedVotes([1, 0.5, 3]),
        sigma=0.3,
        cost_matrix=fitted.cost_matrix_,
        y=y,
        input_error=got.input_error,
    )
    assert (got.label != fitted.classes_[selection.argmax(axis=1)]).any()
    np.testing.assert_array_equal(got.label, expected.label)
    np.testing.assert_array_equal(got.radius_pair, expected.radius_pair)


def test_predictions_without_abstention_are_the_weighted_winners_of_the_prediction_votes(iris):
    clf = quick(abstain_label=None, decision=WeightedVotes({"vi": 4.0})).fit(*iris)
    votes = votes_of(clf, iris[0], 300, "prediction")
    expected = clf.classes_[WeightedVotes([1, 1, 4]).align(3).winner(votes)]
    np.testing.assert_array_equal(clf.predict(iris[0]), expected)
    np.testing.assert_allclose(clf.predict_proba(iris[0]), votes / 300)
    assert (expected != clf.classes_[votes.argmax(axis=1)]).any()


def test_without_labels_the_row_of_the_predicted_class_applies(fitted, iris):
    X = iris[0][50:]
    c = fitted.set_params(decision=WeightedVotes({"vi": 5.0})).certify(X)
    d = fitted.certify_at(X, kinds=KINDS)
    np.testing.assert_array_equal(c.label, d.label)
    row = fitted.cost_matrix_.encode(c.label)
    np.testing.assert_array_equal(~np.isnan(c.radius_pair), fitted.cost_matrix_.omega[row])


def test_scores_scorers_and_reports_follow_the_rule(plain, fitted, iris):
    X, y = iris[0][40::4], iris[1][40::4]
    fitted.set_params(decision=WeightedVotes({"vi": 8.0}), eps=0.25)
    report = fitted.certified_report(X, y)
    assert report["rob_cs"] != plain.certified_report(X, y, eps=0.25)["rob_cs"]
    assert report["mean_votes"] < 400
    c = fitted.certify_at(X, y, 0.25, kinds=KINDS)
    assert report["rob_cs"] == c.rob_cs(0.25) == fitted.score(X, y)
    assert report["rob_cost"] == c.rob_cost(0.25) == fitted.score(X, y, metric="rob_cost")
    accuracy = fitted.score(X, y, metric="certified_accuracy")
    assert report["certified_accuracy"] == c.certified_accuracy(0.25) == accuracy
    assert rob_cs_scorer(fitted, X, y) == report["rob_cs"]
    scores = certified_scorer(0.25)(fitted, X, y)
    assert scores["accuracy"] == report["accuracy"] == np.mean((c.label == y) & ~c.abstained)


def test_a_rule_may_be_set_and_removed_after_fit(plain, fitted, iris):
    X, y = iris
    before = fitted.certify(X, y)
    weighted = fitted.set_params(decision=WeightedVotes({"vi": 3.0})).certify(X, y)
    np.testing.assert_array_equal(weighted.votes, before.votes)
    assert (weighted.label != before.label).any()
    again = fitted.set_params(decision=None).certify(X, y)
    np.testing.assert_array_equal(again.radius_pair, before.radius_pair)
    copied = pickle.loads(pickle.dumps(fitted.set_params(decision=WeightedVotes({"vi": 3.0}))))
    np.testing.assert_array_equal(copied.certify(X, y).radius_pair, weighted.radius_pair)
    assert clone(fitted).decision == WeightedVotes({"vi": 3.0})


@pytest.mark.filterwarnings("ignore:eps=0.5 cannot be certified")  # with equal weights
def test_a_grid_search_runs_over_decisions_of_every_form(iris):
    X, y = iris
    decisions = [
        None, "argmax", WeightedVotes({"vi": 4.0}), WeightedVotes(np.array([1.0, 1.0, 8.0]))
    ]  # fmt: skip
    search = GridSearchCV(
        quick(cost_matrix={("vi", "ve"): 10.0}, max_epochs=8),
        {"decision": decisions},
        scoring=certified_scorer(0.5, n_estimation=60, metrics=["rob_cs"]),
        refit=best_under("rob_cs"),
        cv=2,
        error_score="raise",
    ).fit(X, y)
    rob_cs = search.cv_results_["mean_test_rob_cs"]
    assert len(set(rob_cs)) > 1
    assert rob_cs[search.best_index_] == rob_cs.max() > rob_cs[0]


def test_a_pipeline_reaches_the_rule(iris):
    X, y = iris
    pipe = make_pipeline(StandardScaler(), quick(decision=WeightedVotes({"vi": 5.0}))).fit(X, y)
    Z = pipe[:-1].transform(X)
    np.testing.assert_array_equal(pipe.predict(X), pipe[-1].predict(Z))
    name = pipe.steps[-1][0]
    weighted = pipe.score(X, y)
    pipe.set_params(**{f"{name}__decision": None})
    assert pipe.score(X, y) != weighted


def test_a_plan_of_votes_is_that_of_the_weighted_vote(rng, fitted, iris):
    h, w, eps, sigma = np.array([0.62, 0.38]), np.array([1.0, 4.0]), 0.2, 0.5
    costs = [[0, 0], [1, 0]]
    n = int(plan_votes([h], y=[1], cost_matrix=costs, sigma=sigma, eps=eps, weights=w)[0])
    assert np.isinf(plan_votes([h], y=[1], cost_matrix=costs, sigma=sigma, eps=eps))[0]
    votes = rng.multinomial(n, h, 2000)
    c = certify_votes(
        np.tile([62, 38], (2000, 1)),
        votes,
        decision=WeightedVotes(w),
        sigma=sigma,
        cost_matrix=costs,
        y=np.ones(2000, dtype=int),
    )
    assert 0.8 < (c.radius_group > eps).mean() < 0.98
    X, y = iris[0][100:], iris[1][100:]
    plurality = fitted.plan_votes(X, y)
    weighted = fitted.set_params(decision=WeightedVotes({"vi": 5.0})).plan_votes(X, y)
    assert (weighted <= plurality).all()
    assert (weighted < plurality).any()


# -- files and interruptions --------------------------------------------------------------------


@pytest.mark.parametrize("sequential", ["at eps", "tolerance"])
def test_votes_that_one_rule_stopped_are_not_continued_by_another(
    fitted, iris, tmp_path, sequential
):
    X, y = iris[0][60:110:2], iris[1][60:110:2]
    path = tmp_path / "votes"

    def certify(decision):
        clf = fitted.set_params(decision=decision)
        if sequential == "at eps":
            return clf.certify_at(X, y, resume_from=path)
        return clf.certify(X, y, resume_from=path, radius_tol=0.05)

    first, again = (certify(WeightedVotes({"vi": 3.0})) for _ in range(2))
    np.testing.assert_array_equal(first.votes, again.votes)
    for other in (None, WeightedVotes({"vi": 3.5})):
        with pytest.raises(ValueError, match="another n or schedule"):
            certify(other)


def test_votes_of_a_fixed_number_serve_every_rule(fitted, iris, tmp_path):
    X, y = iris[0][40:110], iris[1][40:110]
    fitted.certify(X, y, resume_from=tmp_path / "votes")
    size = (tmp_path / "votes").stat().st_size
    for decision in (WeightedVotes({"vi": 3.0}), WeightedVotes([1, 2, 1])):
        fitted.set_params(decision=decision)
        from_file = fitted.certify(X, y, resume_from=tmp_path / "votes")
        np.testing.assert_array_equal(from_file.radius_pair, fitted.certify(X, y).radius_pair)
        np.testing.assert_array_equal(from_file.label, fitted.certify(X, y).label)
    assert (tmp_path / "votes").stat().st_size == size


class Stops:
    """The half-plane, interrupted at its k-th batch."""

    def __init__(self, k):
        self.left = k

    def __call__(self, batch):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return half_plane(batch)


@pytest.mark.parametrize("k", [1, 30])
def test_an_interruption_leaves_only_true_certificates(k):
    clf = linear(n_estimation=300)
    clf.set_params(vote_batch_size=256)
    whole = clf.certify(at(0.3, 30))
    clf.module_ = Stops(k)
    with pytest.raises(CertificationInterrupted) as stop:
        clf.certify(at(0.3, 30))
    part = stop.value.certificates
    done = part.votes.sum(axis=1) > 0
    assert done.any() == (k > 1)
    assert not done.all()
    assert part.abstained[~done].all()
    assert (part.radius_standard[~done] == 0).all()
    # After an interrupted selection not even the class is known.
    np.testing.assert_array_equal(part.radius_standard[done], whole.radius_standard[done])


# -- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decision", "error", "message"),
    [
        ("median", ValueError, "decision must be None, 'argmax' or a WeightedVotes"),
        (object(), TypeError, "decision must be None, 'argmax', 'min-cost', weights of scores"),
        ([1, 3], ValueError, "decision must hold one weight for each of 3 classes"),
        ({"xx": 3.0}, ValueError, "decision names the unknown label 'xx'"),
        (WeightedVotes([1, 2]), ValueError, "weights must hold one weight for each of 3"),
        (WeightedVotes([1, 0, 2]), ValueError, "weights must be finite and > 0"),
        (WeightedVotes({"ve": np.nan}), ValueError, "weights must be finite and > 0"),
        (WeightedVotes({"xx": 2}), ValueError, "weights names the unknown label 'xx'"),
        (WeightedVotes([1, 1e10, 1]), ValueError, "weights must lie within a factor"),
    ],
)
def test_bad_rules_are_refused_before_training(iris, decision, error, message):
    clf = quick(decision=decision)
    with pytest.raises(error, match=message):
        clf.fit(*iris)
    assert not hasattr(clf, "module_")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"bound": "paper"}, "bound='paper' .* plurality vote alone"),
        ({"n_estimation": 4}, "n_estimation=4 .*with the weights .*; the smallest"),
    ],
)
def test_votes_and_bounds_that_never_certify_a_weighted_vote_are_refused(iris, params, message):
    with pytest.raises(ValueError, match=message):
        quick(decision=WeightedVotes([1, 2, 3]), **params).fit(*iris)


def test_bad_rules_set_after_fit_are_refused_when_used(fitted, iris):
    X, y = iris
    fitted.set_params(decision=WeightedVotes([1, 2]))
    for use in (
        fitted.predict, fitted.abstains, fitted.certify, fitted.certify_at, fitted.plan_votes
    ):  # fmt: skip
        with pytest.raises(ValueError, match="weights must hold one weight"):
            use(X)
    fitted.set_params(decision=WeightedVotes([1, 1, 2]))
    with pytest.raises(ValueError, match="n_max=3 can never certify"):
        fitted.certify_at(X, y, n_max=3)
    fitted.set_params(bound="paper")
    with pytest.raises(ValueError, match="bound='paper'"):
        fitted.certify(X, y)


def test_weights_of_a_series_are_read_by_label(fitted, iris):
    X, y = iris
    names = fitted.classes_.tolist()
    by_label = dict(zip(names[::-1], [8.0, 1.0, 2.0], strict=True))
    one, other = (
        clone_with(fitted, WeightedVotes(weights)).certify(X, y)
        for weights in (by_label, pd.Series(by_label))
    )
    np.testing.assert_array_equal(one.decision.weights, other.decision.weights)
    np.testing.assert_array_equal(one.radius_group, other.radius_group)
    with pytest.raises(ValueError, match="unknown label 'rose'"):
        clone_with(fitted, WeightedVotes(pd.Series({"rose": 2.0}))).certify(X, y)


def clone_with(clf, decision):
    return pickle.loads(pickle.dumps(clf)).set_params(decision=decision)


def test_names_of_rules_may_be_numpy_strings(fitted, iris):
    X, y = iris
    certificates = clone_with(fitted, np.str_("argmax")).certify(X, y)
    np.testing.assert_array_equal(certificates.radius_group, fitted.certify(X, y).radius_group)


def test_a_plan_from_sure_or_single_votes_is_a_plan():
    sure = plan_votes([[1.0, 0.0]], y=[0], sigma=0.5, eps=0.5)
    assert 1 <= sure[0] < 1000
    single = plan_votes([[1, 0], [0, 1]], y=[0, 0], sigma=0.5, eps=0.5)
    assert single[0] > sure[0]
    assert np.isinf(single[1])


def test_a_report_decides_for_itself(fitted, iris):
    X, y = iris
    for name, value in {"kinds": ("group",), "radius_tol": 0.1, "n_max": 900}.items():
        with pytest.raises(TypeError, match=name):
            fitted.certified_report(X, y, **{name: value})
    with pytest.raises(ValueError, match="eps must be one number"):
        fitted.certified_report(X, y, eps=[0.1, 0.2])


def test_decided_radii_are_asked_for_one_by_one(fitted, iris):
    X, y = iris
    decided = fitted.certify_at(X, y, [0.1, 0.3, 0.1], kinds="group")
    np.testing.assert_array_equal(decided.eps, [0.1, 0.3])
    assert decided.rob_cs(0.1) >= decided.rob_cs(0.3)
    with pytest.raises(ValueError, match=r"eps must be one of \[0.1, 0.3\]"):
        decided.rob_cs([0.1, 0.3])
    with pytest.raises(ValueError, match="read-only"):
        decided.certified_group[:] = True


def test_what_was_loaded_is_as_frozen_as_what_was_certified(fitted, iris, tmp_path):
    X, y = iris
    rule = clone_with(fitted, WeightedVotes([1.0, 2.0, 3.0]))
    rule.certify(X, y).save(tmp_path / "c.npz")
    with pytest.raises(ValueError, match="read-only"):
        Certificates.load(tmp_path / "c.npz").decision.weights[:] = 1.0


def test_an_interrupted_selection_is_of_the_kind_that_was_asked_for(iris):
    X, _ = iris

    def interrupted(batch):
        raise KeyboardInterrupt

    clf = CostSensitiveSmoothedClassifier.from_module(interrupted, classes=3, sigma=0.5)
    for certify, kind in {clf.certify: Certificates, clf.certify_at: CertifiedAt}.items():
        with pytest.raises(CertificationInterrupted) as stop:
            certify(X, np.zeros(len(X), dtype=int))
        assert isinstance(stop.value.certificates, kind)
        assert stop.value.certificates.rob_cs(0.5) == 0.0


def test_what_an_interruption_left_undecided_is_not_certified_at_any_radius():
    """At .1 the first look decides, at the second radius none does: an interrupt comes between."""
    calls = []

    def surely(batch):
        calls.append(len(batch))
        if sum(calls) > 20_000:
            raise KeyboardInterrupt
        return (np.arange(len(batch)) % 40 == 0).astype(int)

    clf = CostSensitiveSmoothedClassifier.from_module(
        surely, classes=2, sigma=0.5, random_state=0, vote_batch_size=100, n_estimation=100_000
    )
    kinds = ("group", "pair", "label")
    with pytest.raises(CertificationInterrupted) as stop:
        clf.certify_at(np.zeros((1, 2)), [0], [0.1, 0.93], kinds=kinds)
    left = stop.value.certificates
    assert left.votes.sum() == 0
    assert sum(calls) > 10_000
    assert not left.certified_group.any()
    assert not left.certified_pair.any()
    assert left.abstained.all()
    # With the votes drawn up to then the first radius had been decided.
    calls.clear()
    only_near = clf.certify_at(np.zeros((1, 2)), [0], 0.1, kinds=kinds)
    assert only_near.certified_group.all()
    assert only_near.votes.sum() < 10_000
