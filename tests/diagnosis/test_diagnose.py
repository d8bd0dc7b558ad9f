"""Every check finds what it is for, and nothing where there is nothing."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from _small import CENTRES, NAMES, ListDataset, X, Y, by_distance, convex, fit, raises, tune, wrap
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import smoothcs
from smoothcs import CostMatrix, diagnose
from smoothcs.diagnosis import CHECKS, Finding, Findings
from smoothcs.exceptions import UnreachableRadiusWarning

PAGE = Path(__file__).parents[2] / "docs" / "user_guide" / "diagnose.rst"
SURE = {"n_estimation": 2000, "sigma": 0.5}


def finding(code, clf, inputs=X, y=Y, *args, **params) -> Finding:
    (found,) = diagnose(clf, inputs, y, *args, ignore=set(CHECKS) - {code}, **params)
    assert found.code == code
    return found


def status(code, *args, **params) -> str:
    return finding(code, *args, **params).status


def images(n=4):
    return np.random.default_rng(0).random((n, 1, 4, 4), dtype=np.float32)


def normed(**params):
    module = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(2, **params), nn.Linear(2, 3))
    return module.train()


@pytest.mark.parametrize(
    ("factor", "expected", "words"),
    [
        (1.0, "passed", "times the spread"),
        (1000.0, "issue", "raise sigma"),
        (0.01, "issue", "drowns"),
    ],
)
def test_sigma_against_the_units(factor, expected, words):
    found = finding("SC101", wrap(by_distance), X * factor)
    assert found.status == expected
    assert words in found.message


def test_images_in_bytes_are_recognised():
    clf = wrap(lambda x: np.zeros(len(x), dtype=int))
    found = finding("SC101", clf, images() * 255, None)
    assert found.status == "issue"
    assert "divide by 255" in found.message
    assert status("SC101", clf, np.ones((4, 2)), None) == "tip"


@pytest.mark.parametrize(("eps", "expected"), [(0.2, "passed"), (0.3, "tip"), (0.4, "issue")])
def test_alpha_and_n_against_eps(eps, expected):
    found = finding("SC102", wrap(by_distance), eps=eps)  # 100 votes, sigma .25
    assert found.status == expected
    assert "reach 0.35" in found.message


def test_votes_that_certify_nothing_are_an_issue():
    found = finding("SC102", wrap(by_distance).set_params(n_estimation=5))
    assert found.status == "issue"
    assert "reach 0;" in found.message


def test_reach_of_a_score_is_what_unanimous_votes_certify():
    clf = wrap(lambda x: np.zeros(len(x), dtype=int))
    most = float(re.search(r"reach ([0-9.]+)", finding("SC102", clf).message).group(1))
    kinds = {"kinds": ("standard",)}
    assert clf.certify_at(X[:2], eps=most - 0.001, **kinds).certified_standard.all()
    with pytest.warns(UnreachableRadiusWarning, match="the largest radius is"):
        beyond = clf.certify_at(X[:2], eps=most + 0.001, **kinds)
    assert not beyond.certified_standard.any()


def test_noise_that_can_be_foreseen():
    assert status("SC103", wrap(by_distance, random_state=None)) == "passed"
    found = finding("SC103", wrap(by_distance, random_state=123456))
    assert found.status == "issue"
    assert "random_state=123456" in found.message
    hidden = wrap(by_distance, random_state=42).set_params(random_state=None)
    assert "random_state=42" in finding("SC103", hidden).message  # the key is still that of 42
    state = np.random.RandomState(99_999_999)
    assert status("SC103", wrap(by_distance, random_state=state)) == "tip"


def test_votes_that_are_saturated():
    assert status("SC104", wrap(by_distance, sigma=0.01)) == "issue"
    assert status("SC104", wrap(by_distance, sigma=1.0)) == "passed"


def test_radii_at_the_ceiling():
    found = finding("SC105", wrap(by_distance, sigma=0.05))
    assert found.status == "issue"
    assert "100% of 20 inputs have 100 equal votes" in found.message
    assert status("SC105", wrap(by_distance, sigma=1.5)) == "passed"


def test_copies_within_the_inputs():
    assert status("SC201", wrap(by_distance)) == "passed"
    found = finding("SC201", wrap(by_distance), np.vstack([X, X[:3]]), np.append(Y, Y[:3]))
    assert found.status == "issue"
    assert "3 of 39 inputs" in found.message


def test_copies_of_training_inputs():
    clf = wrap(by_distance)
    assert status("SC202", clf) == "tip"
    assert status("SC202", clf, X, Y, X + 0.001) == "passed"
    found = finding("SC202", clf, X, Y, X_train=np.vstack([X + 1, X[:5]]))
    assert found.status == "issue"
    assert "5 of 36 inputs" in found.message


def test_training_inputs_pass_through_the_pipeline():
    pipe = make_pipeline(StandardScaler(), fit())
    pipe[0].fit(X)
    assert "36 of 36" in finding("SC202", pipe, X, Y, X).message


def test_columns_of_unequal_scale():
    wide = X * [1, 1000]
    clf = wrap(by_distance)
    assert status("SC203", clf) == "passed"
    assert status("SC203", clf, wide) == "issue"
    assert status("SC203", wrap(by_distance, noise_scale=[1, 1000]), wide) == "passed"
    assert status("SC203", wrap(by_distance, noise_scale=[1, 0]), wide) == "passed"
    assert status("SC203", clf, images(), None) == "passed"


def test_columns_are_named():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X * np.float32([1, 1000]), columns=["ratio", "salary"])
    clf = fit(frame)
    assert "'salary' spreads" in finding("SC203", clf, frame).message
    assert len(diagnose(clf, frame, Y, frame, n_votes=10)) == len(CHECKS)


def test_a_constant_classifier():
    constant = wrap(lambda x: np.zeros(len(x), dtype=int), cost_matrix=CostMatrix.seedwise([1]))
    assert status("SC301", constant) == "issue"
    assert status("SC301", constant, X, None) == "issue"
    found = finding("SC301", wrap(by_distance))
    assert found.status == "passed"
    assert "accuracy is 1.000" in found.message
    assert status("SC301", wrap(by_distance), X, None) == "passed"


def test_answers_that_are_cheap_by_the_costs_of_each_example():
    # Wrong on most inputs, but on those only where a mistake is cheap.
    module = wrap(lambda x: np.where(x[:, 0] > 1.5, 1, 2))  # calls the first class the third
    y = np.where(Y == 2, 0, Y)
    costs = np.tile(1 - np.eye(3, dtype=np.float32), (36, 1, 1))
    assert status("SC301", module, X, y, costs=costs) == "issue"
    costs[y == 0, :, 2] = 0.01
    assert status("SC301", module, X, y, costs=costs) == "passed"


def test_batch_normalisation():
    assert status("SC302", wrap(by_distance)) == "passed"
    module = normed()
    found = finding("SC302", wrap(module))
    assert (found.status, "no data" in found.message) == ("issue", True)
    module(torch.from_numpy(X))
    found = finding("SC302", wrap(module))
    assert (found.status, "train mode" in found.message) == ("issue", True)
    assert module.training  # a check changes nothing
    assert status("SC302", wrap(module.eval())) == "passed"
    stateless = normed(track_running_stats=False)[:1]
    assert status("SC302", wrap(stateless)) == "passed"
    assert finding("SC302", wrap(normed(affine=False)[:2].eval())).status == "issue"


# ---------------------------------------------------------------- the list


def test_all_checks_run_once_and_votes_are_counted():
    clf, drawn = wrap(by_distance), []
    draw = clf._draw
    clf._draw = lambda X, costs: (
        lambda n, purpose: drawn.append(len(X) * n) or draw(X, costs)(n, purpose=purpose)
    )
    found = diagnose(clf, X, Y, X_train=X + 1)
    assert [f.code for f in found] == sorted(CHECKS)
    assert found.n_votes == sum(drawn) == 36 * 100 + 20 * 100
    assert f"{found.n_votes:,} votes were drawn" in repr(found)
    assert found.issues == [f for f in found if f.status == "issue"]
    few = diagnose(clf, X, Y, max_inputs=5, n_votes=10, ignore=["SC105"])
    assert few.n_votes == 50


def test_every_code_is_explained():
    text = PAGE.read_text(encoding="utf-8")
    for code, (title, _) in CHECKS.items():
        assert f".. _{code.lower()}:" in text
        assert f"{code}: {title}" in text


def test_table_in_text_and_html():
    found = diagnose(fit(y=np.array(["<i>", "b", "c"])[Y]), X, np.array(["<i>", "b", "c"])[Y])
    lines = repr(found).splitlines()
    assert len(lines) == len(CHECKS) + 1
    assert repr(Findings(2 * found.issues[:1])).splitlines()[-1].startswith("2 issues, 0 tips, 0 ")
    assert repr(Findings(found.issues[:1])).splitlines()[-1].startswith("1 issue, 0 tips, 0 passed")
    assert all(line.startswith(f.code) for line, f in zip(lines, found, strict=False))
    html = found._repr_html_()
    assert html.count("<tr>") == len(CHECKS) + 1
    assert "<i>" not in html
    assert found[0].link == "user_guide/diagnose.html#sc101"


@pytest.mark.parametrize(
    ("model", "inputs", "y"),
    [
        (lambda: tune(), X, Y),
        (lambda: fit(y=NAMES[Y], decision={"cat": 2.0}), X, NAMES[Y]),
        (lambda: wrap(by_distance), ListDataset(list(zip(X, Y.tolist(), strict=True))), None),
        (lambda: wrap(by_distance), ListDataset(list(X)), None),
        (lambda: wrap(by_distance), torch.from_numpy(X), torch.from_numpy(Y)),
        (lambda: wrap(RandomForestClassifier(3, random_state=0).fit(X, Y)), X, Y),
    ],
)
def test_models_and_inputs_of_every_kind(model, inputs, y):
    clf = model()
    before = repr(clf)
    found = diagnose(clf, inputs, y, max_inputs=10, n_votes=10)
    assert len(found) == len(CHECKS)
    assert repr(clf) == before


def test_decisions_by_the_costs_of_each_example():
    softmax = nn.Sequential(nn.Linear(2, 3)).eval()
    with torch.no_grad():
        softmax[0].weight[:] = torch.from_numpy(2 * CENTRES)
        softmax[0].bias[:] = -torch.from_numpy((CENTRES**2).sum(axis=1))
    clf = wrap(softmax, decision="min-cost", decision_costs=CostMatrix.uniform(classes=[0, 1, 2]))
    costs = np.tile(1 - np.eye(3, dtype=np.float32), (36, 1, 1))
    found = diagnose(clf, X, Y, costs=costs)
    assert next(f for f in found if f.code == "SC301").status == "passed"


def test_what_is_refused():
    clf = wrap(by_distance)
    with pytest.raises(ValueError, match="ignore must be one of"):
        diagnose(clf, X, Y, ignore=["SC999"])
    with pytest.raises(ValueError, match="n_votes"):
        diagnose(clf, X, Y, n_votes=0)
    with pytest.raises(ValueError, match="eps must be one number"):
        diagnose(clf, X, Y, eps=[0.1, 0.2])
    with pytest.raises(ValueError, match="labels that fit never saw"):
        diagnose(clf, X, Y + 1)
    with pytest.raises(ValueError, match="y has 3 labels"):
        diagnose(clf, X, Y[:3])
    with pytest.raises(TypeError, match="certify_at is needed"):
        diagnose(convex(), X, Y)
    with pytest.raises(KeyboardInterrupt):
        diagnose(wrap(raises(KeyboardInterrupt)), X, Y)


def test_it_certifies_nothing(monkeypatch):
    def fail(*args, **kwargs):
        pytest.fail("certified")

    for name in ("certify", "certify_at"):
        monkeypatch.setattr(smoothcs.CostSensitiveSmoothedClassifier, name, fail)
    assert len(diagnose(wrap(by_distance), X, Y)) == len(CHECKS)
