"""Scores that cannot mean what they seem to: radii out of reach, searches without a scorer."""

import warnings

import numpy as np
import pytest
from _small import X, Y, estimator, fit, raises, tune, wrap
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from smoothcs import (
    CertificationInterrupted,
    WeightedVotes,
    certified_scorer,
    certify_votes,
)
from smoothcs.certification import largest_radius
from smoothcs.exceptions import UnreachableRadiusWarning
from smoothcs.sequential import StoppingRule
from smoothcs.sequential._looks import look_schedule

# Models are trained as little as the claims about them need.
pytestmark = pytest.mark.filterwarnings("ignore::smoothcs.exceptions.UninformativeWarning")

# -- eps out of reach ------------------------------------------------------------------------------


@pytest.mark.parametrize("n_max", [60, 1000, 20_000])
@pytest.mark.parametrize("weights", [[1.0, 1.0], [1.0, 1.0, 1.0], [1.0, 4.0, 2.0]])
def test_the_largest_radius_is_what_unanimous_votes_reach_and_no_more(n_max, weights):
    looks, levels = look_schedule(n_max, 0.001)
    w = np.array(weights)
    limit = largest_radius(n_max, levels[-1], 0.5, weights=w, bound="exact")
    heaviest, lightest = int(w.argmax()), len(w) - 1 if w.max() == w.min() else int(w.argmin())
    for factor, status in ((0.995, 1), (1.0001, -1)):
        one = np.eye(len(w), dtype=int)[[heaviest]]
        rule = StoppingRule(
            100 * one, np.eye(len(w), dtype=bool)[[lightest]], eps=factor * limit, sigma=0.5,
            alpha=0.001, n_max=n_max, weights=w, futility=0.0,
        )  # fmt: skip
        for look in looks:
            if not rule.finished[0]:
                rule.update(np.array([0]), look * one)
        assert rule.status[0, 0] == status


@pytest.mark.parametrize("bound", ["exact", "closed-form", "paper"])
def test_the_largest_radius_of_a_fixed_number_of_votes(bound):
    one = [[1000, 0, 0]]
    c = certify_votes(one, one, sigma=0.5, y=[0], cost_matrix={(0, 1): 1.0}, bound=bound)
    limit = largest_radius(1000, 0.001, 0.5, weights=np.ones(3), bound=bound)
    assert c.radius_group[0] <= limit
    assert c.radius_group[0] == pytest.approx(limit, rel=0.02)


def test_an_eps_out_of_reach_is_warned_of_everywhere():
    clf = fit(n_estimation=200)
    reach = r"eps=2 cannot be certified.*200 votes and alpha=0\.001 the largest radius is 0\.438"
    for call in (
        lambda: clf.score(X, Y, eps=2.0),
        lambda: clf.certified_report(X, Y, eps=2.0),
        lambda: clf.certify_at(X, Y, [0.2, 2.0]),
        lambda: certified_scorer(2.0)(clf, X, Y),
        lambda: tune(estimator(n_estimation=200)).certified_report(X, Y, eps=2.0),
    ):
        with pytest.warns(UnreachableRadiusWarning, match=reach):
            call()
    closed = fit(n_estimation=200, bound="closed-form")
    for call in (closed.score, closed.certified_report):
        with pytest.warns(UnreachableRadiusWarning, match=r"the largest radius is 0\.456"):
            call(X, Y, eps=2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clf.certified_report(X, Y, eps=0.43)
        clf.certify_at(X, Y, 0.5, n_max=1000)


def test_weights_may_reach_further():
    plain, weighted = (
        fit(n_estimation=200),
        fit(n_estimation=200, decision=WeightedVotes([9, 1, 1])),
    )
    with pytest.warns(UnreachableRadiusWarning):
        plain.score(X, Y, eps=0.6)
    assert weighted.score(X, Y, eps=0.6) >= 0


# -- searches without a scorer ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrap",
    [lambda clf: clf, lambda clf: make_pipeline(StandardScaler(), clf)],
    ids=["classifier", "pipeline"],
)
def test_a_search_without_scoring_is_pointed_to_certified_scorer(wrap):
    model = wrap(estimator(max_epochs=1))
    sigma = next(name for name in model.get_params() if name.endswith("sigma"))
    with pytest.warns(UserWarning, match=r"scoring=smoothcs\.certified_scorer\(eps\)"):
        GridSearchCV(model, {sigma: [0.2, 0.3]}, cv=2).fit(X, Y)


def test_what_chooses_no_candidate_by_default_scores_is_not_warned():
    clf = estimator(max_epochs=15)
    assert len(cross_val_score(clf, X, Y, cv=2)) == 2
    grid = {"sigma": [0.2, 0.3]}
    scorer = certified_scorer(0.2, metrics="rob_cs")
    search = GridSearchCV(clf, grid, cv=2, scoring=scorer, error_score="raise").fit(X, Y)
    assert search.score(X, Y) >= 0
    own = GridSearchCV(clf, grid, cv=2, scoring=lambda clf, X, y: clf.score(X, y))
    assert own.fit(X, Y).best_score_ >= 0


# -- interruptions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["certify", "certify_at"])
def test_an_interruption_says_how_to_go_on(how, tmp_path, monkeypatch):
    clf = fit()
    clf.module_.forward = raises(KeyboardInterrupt())
    with pytest.raises(
        CertificationInterrupted, match="0 of 36 inputs are finished.*Nothing was kept on disk"
    ):
        getattr(clf, how)(X, Y)
    fine, path = fit(), tmp_path / "a.votes"
    real, calls = fine.module_.forward, iter(range(10**6))

    def forward(x):
        if next(calls) > 12:
            raise KeyboardInterrupt
        return real(x)

    fine.set_params(vote_batch_size=128)
    fine.module_.forward = forward
    with pytest.raises(CertificationInterrupted, match=rf"resume_from='{path}', goes on") as stop:
        getattr(fine, how)(X, Y, resume_from=path)
    finished = int(stop.value.certificates.votes.any(axis=1).sum())
    assert f"{finished} of 36 inputs are finished" in str(stop.value)
    fine.module_.forward = real
    again = getattr(fine, how)(X, Y, resume_from=path)
    assert (again.votes == getattr(fit(vote_batch_size=128), how)(X, Y).votes).all()


def test_labels_have_no_radius_that_could_be_out_of_reach(recwarn):
    wrap(lambda x: np.zeros(len(x), int), 2).certify_at(X[:2], eps=5.0, kinds=("label",))
    assert [str(w.message) for w in recwarn] == []
