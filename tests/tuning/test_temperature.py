"""The temperature of scores: found where it is known, and obeyed by every decision."""

import numpy as np
import pytest
import torch
from _small import ListDataset, wrap
from scipy.special import expit
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from torch import nn

from smoothcs.tuning import fit_temperature, sample_scores


def module_of(slope):
    """Two logits that differ by ``slope * x``."""
    module = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        module.weight[:] = torch.tensor([[0.0], [slope]])
    return module


def overconfident(factor, n=1500, sigma=1e-3):
    """Classes of odds exp(x), and an estimator that takes them for exp(factor x)."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 3, n)
    y = (rng.random(n) < expit(x)).astype(int)
    return wrap(module_of(factor), 2, sigma=sigma), x[:, None].astype(np.float32), y


@pytest.mark.parametrize("factor", [0.5, 1.0, 4.0])
def test_a_known_temperature_is_found(factor):
    clf, X, y = overconfident(factor)
    before = dict(vars(clf))
    assert fit_temperature(clf, X, y, 1, random_state=0) == pytest.approx(factor, rel=0.15)
    assert vars(clf) == before


def test_what_is_set_does_not_matter_nor_how_inputs_are_held():
    clf, X, y = overconfident(2.0, n=100)
    found = fit_temperature(clf, X, y, 2, random_state=0)
    assert fit_temperature(clf.set_params(temperature=3.0), X, y, 2, random_state=0) == found
    assert fit_temperature(clf, ListDataset(list(X)), y, 2, random_state=0) == found


def at_temperature(t, **params):
    """A rule that answers 1 where p > 1/4, on logits 2 x: x > -t log(3) / 2."""
    clf = wrap(module_of(2.0), 2, sigma=0.5, n_estimation=20_000, temperature=t, **params)
    return clf, -t * np.log(3.0) / 2


@pytest.mark.parametrize("t", [0.5, 1.0, 3.0])
@pytest.mark.parametrize(
    "rule", [{"decision": {1: 3}}, {"decision_costs": [[0, 1], [3, 0]]}, "own"]
)
def test_the_boundary_moves_as_the_temperature_says(t, rule):
    costs = np.tile([[0.0, 1.0], [3.0, 0.0]], (4, 1, 1)) if rule == "own" else None
    params = {"decision": "min-cost"} | ({} if rule == "own" else rule)
    clf, boundary = at_temperature(t, **params)
    X = (boundary + np.array([-0.8, -0.4, 0.4, 0.8]))[:, None].astype(np.float32)
    c = clf.certify(X, costs=costs)
    assert c.label.tolist() == [0, 0, 1, 1]
    assert (c.radius_standard <= [0.8, 0.4, 0.4, 0.8]).all()
    np.testing.assert_allclose(c.radius_standard, [0.8, 0.4, 0.4, 0.8], rtol=0.06)
    assert ("temperature=" in repr(c)) == (t != 1.0)
    # A callable that returns probabilities is tempered alike.
    p = wrap(lambda x: torch.softmax(module_of(2.0)(torch.from_numpy(x)), 1).detach().numpy(), 2)
    p.set_params(**{**clf.get_params(), "module": p.module})
    assert p.certify(X, costs=costs).label.tolist() == [0, 0, 1, 1]


def test_it_is_a_parameter_like_others(tmp_path):
    clf, _ = at_temperature(2.0, decision={1: 3})
    assert clone(clf).temperature == 2.0
    X = np.array([[-1.0], [-0.3]], dtype=np.float32)
    clf.certify(X, resume_from=tmp_path / "votes")
    with pytest.raises(ValueError, match="holds votes with another rule|votes of another class"):
        clf.set_params(temperature=2.5).certify(X, resume_from=tmp_path / "votes")
    # Argmax does not depend on it.
    plain = clf.set_params(decision=None).certify(X)
    np.testing.assert_array_equal(clf.set_params(temperature=1.0).certify(X).votes, plain.votes)
    hot, cold = (
        sample_scores(clf.set_params(temperature=t), X, 50, random_state=0) for t in (4.0, 1.0)
    )
    np.testing.assert_allclose(np.log(hot / (1 - hot)) * 4, np.log(cold / (1 - cold)), atol=0.1)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_bad_temperatures_are_refused(bad):
    clf, X, _ = overconfident(1.0, n=5)
    with pytest.raises(ValueError, match="temperature must be"):
        clf.set_params(temperature=bad).predict(X)
    with pytest.raises(ValueError, match="temperature must be"):
        wrap(module_of(1.0), 2, temperature=bad)


def test_what_has_no_scores_has_no_temperature():
    X, y = np.array([[0.0], [1.0]] * 10, dtype=np.float32), np.array([0, 1] * 10)
    labels = wrap(lambda x: (np.asarray(x)[:, 0] > 0.5).astype(int), 2)
    with pytest.raises(ValueError, match="answers labels alone"):
        fit_temperature(labels, X, y)
    with pytest.raises(ValueError, match="y "):
        fit_temperature(wrap(LogisticRegression().fit(X, y), 2), X, y + 1)


def test_a_temperature_without_effect_is_refused():
    rule = wrap(module_of(2.0), 2, decision={1: 3}, temperature=8.0)._decision()
    X = np.zeros((3, 1), np.float32)
    assert len(wrap(module_of(2.0), 2, decision=rule).predict(X)) == 3
    assert len(wrap(module_of(2.0), 2, decision=rule, temperature=8.0).predict(X)) == 3
    with pytest.raises(ValueError, match="temperature=2 has no effect on the rule"):
        wrap(module_of(2.0), 2, decision=rule, temperature=2.0)


def test_low_temperatures_do_not_underflow():
    clf = wrap(
        lambda x: np.full((len(x), 3), 1 / 3), 3, decision={1: 3}, temperature=1e-4, n_prediction=20
    )
    assert clf.predict_proba(np.zeros((2, 1), np.float32))[:, 1].tolist() == [1, 1]
