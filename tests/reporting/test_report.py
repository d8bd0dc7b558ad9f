"""A report says what the certificates say, to whomever it is handed."""

import copy
import pickle
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from _small import NAMES, ListDataset, X, Y, by_distance, convex, fit, later, raises, tune, wrap
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from statsmodels.stats.proportion import proportion_confint

import smoothcs
from smoothcs import CertificationInterrupted, CostSensitiveSmoothedClassifier
from smoothcs.plotting import CertifiedAccuracyDisplay

HOSTILE = ["<script>alert(1)</script>", "a|b`*_c_*`\n# d", "$\\frac{$ \x1b[31m&amp; 猫"]


@pytest.fixture(scope="module")
def report():
    clf = wrap(by_distance, classes=NAMES, cost_matrix={("dog", "cat"): 10, ("cat", "dog"): 1})
    return clf.report(X, NAMES[Y], eps=0.3)


class Tags(HTMLParser):
    """Collects tags and text, and refuses tags that are not closed in order."""

    VOID = ("img", "meta")

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_numbers_are_those_of_the_certificates(report):
    c = report.certificates
    values = c.report(0.3)
    for name in ("accuracy", "constant_accuracy", "rob_cs", "certified_accuracy", "bill"):
        assert report.metrics[name].value == pytest.approx(values[name])
    assert report.n_sensitive == 24
    rob_cs = report.metrics["rob_cs"]
    k = round(rob_cs.value * 24)
    expected = proportion_confint(k, 24, alpha=0.05, method="beta")
    np.testing.assert_allclose([rob_cs.lower, rob_cs.upper], expected, atol=1e-9)
    assert report.by_class["dog"]["recall"].value == values["recall"]["dog"]
    assert "rob_cs" not in report.by_class["fox"]  # its mistakes are free


def test_text_shows_accuracy_beside_rob_cs_and_says_what_is_not_certified(report):
    text = repr(report)
    lines = text.splitlines()
    accuracy = next(i for i, line in enumerate(lines) if line.startswith("- Accuracy"))
    assert lines[accuracy + 1].startswith("- Rob_cs")
    for words in ("What is certified", "What is not certified", "alpha", "eps = 0.3", "float32"):
        assert words in text
    assert re.search(r"sigma\)\s+0\.25", text)
    assert re.search(r"torch\s+2\.", text)
    assert "foreseeable" in text


def test_votes_are_drawn_once(monkeypatch):
    asked = []
    draw = CostSensitiveSmoothedClassifier._draw

    def counted(self, *args):
        found = draw(self, *args)
        return lambda n, **how: asked.append((n, how["purpose"])) or found(n, **how)

    monkeypatch.setattr(CostSensitiveSmoothedClassifier, "_draw", counted)
    report = wrap(by_distance).report(X, Y, eps=0.3)
    repr(report), report.to_html(), report.to_markdown()
    assert asked == [(20, "selection"), (100, "estimation")]


def test_hostile_labels_and_titles_stay_text(tmp_path):
    clf = wrap(by_distance, classes=HOSTILE, cost_matrix={(HOSTILE[0], HOSTILE[1]): 2.0})
    y = np.array(HOSTILE, dtype=object)[Y]
    report = clf.report(X, y, eps=0.3, title="<img src=x onerror=alert(1)>", units="<b>")
    html = report.to_html(tmp_path / "report.html")
    page = Tags(html)
    assert "script" not in {tag for tag, _ in page.tags}
    assert "b" not in {tag for tag, _ in page.tags}
    assert all(a["src"].startswith("data:image/png") for t, a in page.tags if t == "img")
    assert HOSTILE[0] in page.texts
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == html
    text = report.to_markdown(tmp_path / "report.md")
    assert "<script" not in text
    assert "<img" not in text
    assert text == (tmp_path / "report.md").read_text(encoding="utf-8")
    rows = [re.sub(r"\\.", "", line) for line in text.splitlines() if line.startswith("| a")]
    assert rows  # a pipe in a label makes no column
    assert "\x1b" not in repr(report)
    table = text.split("## By class")[1].split("##")[0]
    lines = [line for line in table.splitlines() if line.startswith("|")]
    assert {re.sub(r"\\.", "", line).count("|") for line in lines} == {6}


def test_html_holds_the_three_displays(report):
    page = Tags(report.to_html())
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    assert [image["alt"] for image in images] == [
        "rob_cs against eps",
        "Certified radii",
        "Errors",
    ]
    assert report._repr_html_() in report.to_html()


def test_no_figure_is_left_open(report):
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    fresh = pickle.loads(pickle.dumps(report))
    fresh.__dict__.pop("_html", None)
    fresh.to_html()
    assert plt.get_fignums() == before


def test_costs_of_each_example(report):
    costs = np.zeros((36, 3, 3), dtype=np.float32)
    costs[:, :, 0] = np.arange(1, 37)[:, None]
    priced = wrap(by_distance, classes=NAMES).report(X, NAMES[Y], eps=0.3, costs=costs)
    assert priced.metrics["bill"].value == priced.certificates.bill(0.3)
    text = repr(priced)
    assert "Costs of each input" in text
    assert re.search(r"sum\s+666", text)
    assert "Costs of each input" not in repr(report)


def test_abstentions_count_against_it():
    def undecided(x):
        return (np.arange(len(x)) % 3).astype(int)

    report = wrap(undecided).report(X, Y, eps=0.3)
    assert report.metrics["abstention_rate"].value == 1.0
    assert report.metrics["accuracy"].value == 0.0
    assert report.metrics["rob_cs"].value == 0.0
    assert np.isnan(report.by_class[0]["precision"].value)
    assert "not defined" in repr(report)


def test_no_sensitive_input_leaves_rob_cs_out():
    clf = wrap(by_distance, cost_matrix={(2, 0): 5.0})
    report = clf.report(X[Y < 2], Y[Y < 2], eps=0.3)
    assert "rob_cs" not in report.metrics
    assert "rob_cs is undefined" in repr(report)
    assert "certified_accuracy against eps" in report.to_html()


def test_a_constant_classifier_is_cautioned_about():
    report = wrap(lambda x: np.ones(len(x), dtype=int)).report(X, Y, eps=0.3)
    assert repr(report).splitlines()[2] == "Caution"


def test_an_interruption_leaves_no_report(tmp_path):
    clf = wrap(later(3, raises(KeyboardInterrupt)), vote_batch_size=32)
    with pytest.raises(CertificationInterrupted) as stop:
        clf.report(X, Y, eps=0.3).to_html(tmp_path / "report.html")
    assert len(stop.value.certificates) == len(X)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_written_as_a_whole_or_not_at_all(report, tmp_path):
    with pytest.raises(OSError, match="No such file"):
        report.to_markdown(tmp_path / "missing" / "report.md")
    (tmp_path / "report.md").mkdir()
    with pytest.raises(OSError, match="directory"):
        report.to_markdown(tmp_path / "report.md")
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"]


def test_pipelines_and_tuned_classifiers():
    pipe = make_pipeline(StandardScaler(), fit())
    pipe[0].fit(X)
    report = smoothcs.report(pipe, X, Y, eps=0.3)
    assert report.certificates.model == "CostSensitiveSmoothedClassifier behind StandardScaler"
    assert report.units == "units of X behind StandardScaler"
    assert "after them" in repr(report)
    tuned = tune()
    report = tuned.report(X, Y, eps=0.3, n_estimation=50)
    assert set(report.certificates.votes.sum(axis=1)) == {50}
    assert tuned.estimator_.n_estimation == 100


def test_forests_and_datasets():
    forest = CostSensitiveSmoothedClassifier(
        RandomForestClassifier(5, random_state=0), n_copies=2, n_selection=10, n_estimation=20
    ).fit(X, Y)
    text = repr(forest.report(X[::3], Y[::3], eps=0.1))
    assert "RandomForestClassifier" in text
    assert "secret, drawn at fit" in text
    report = wrap(by_distance).report(ListDataset(list(zip(X, Y.tolist(), strict=True))), eps=0.3)
    assert len(report.certificates) == 36


def test_many_classes_show_the_dearest_mistakes():
    clf = wrap(lambda x: np.zeros(len(x), dtype=int), classes=20)
    text = repr(clf.report(X, Y, eps=0.1))
    assert "The dearest of 380 mistakes" in text


def test_noise_on_some_entries_is_said():
    clf = wrap(by_distance, noise_scale=[0.5, 0.0])
    text = repr(clf.report(X, Y, eps=0.3))
    assert "1 of 2 entries have noise, of scale 0.5 to 0.5" in text
    assert "the others are fixed" in text


def test_what_is_refused():
    clf = wrap(by_distance)
    with pytest.raises(ValueError, match="confidence"):
        clf.report(X, Y, confidence=1.0)
    with pytest.raises(ValueError, match="eps must be one number"):
        clf.report(X, Y, eps=[0.1, 0.2])
    with pytest.raises(ValueError, match="y to be passed"):
        clf.report(X)
    with pytest.raises(ValueError, match="n_estimation"):
        clf.report(X, Y, n_estimation=0)
    with pytest.raises(TypeError, match="certifies without votes"):
        smoothcs.report(convex(), X, Y)
    with pytest.raises(TypeError, match="certify is needed"):
        smoothcs.report(RandomForestClassifier(), X, Y)


def test_without_matplotlib_there_are_no_pictures(monkeypatch, report):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    fresh = copy.copy(report)
    fresh.__dict__.pop("_html", None)  # drawn by another test
    html = fresh.to_html()
    assert "<img" not in html
    assert "Certified report" in html


def test_groups_widen_the_intervals(report):
    clf = wrap(by_distance, classes=NAMES, cost_matrix={("dog", "cat"): 10, ("cat", "dog"): 1})
    groups = np.arange(len(X)) // 6
    grouped = clf.report(X, NAMES[Y], eps=0.3, groups=groups)
    limits = grouped.certificates.intervals(0.3, groups=groups, names=["accuracy", "rob_cost"])
    for name, (low, high) in limits.items():
        assert grouped.metrics[name][:3] == (report.metrics[name].value, low, high)
    assert np.isfinite(grouped.metrics["misclassification_cost"].lower)
    assert np.isnan(grouped.by_class["dog"]["recall"].upper)
    assert f"{len(set(groups))} groups of inputs" in grouped.to_markdown()
    with pytest.raises(ValueError, match="groups must hold one label per input"):
        clf.report(X, NAMES[Y], eps=0.3, groups=groups[1:])


def test_the_picture_of_a_report_has_its_intervals(monkeypatch):
    drawn = {}
    draw = CertifiedAccuracyDisplay.from_certificates.__func__

    def noted(cls, certificates, **given):
        drawn.update(given)
        return draw(cls, certificates, **given)

    monkeypatch.setattr(CertifiedAccuracyDisplay, "from_certificates", classmethod(noted))
    groups = np.arange(len(X)) // 6
    clf = wrap(by_distance, classes=NAMES, cost_matrix={("dog", "cat"): 10, ("cat", "dog"): 1})
    clf.report(X, NAMES[Y], eps=0.3, confidence=0.5, groups=groups).to_html()
    assert drawn["confidence"] == 0.5
    assert drawn["groups"] is groups


def test_scaled_noise_is_said_beside_the_units():
    clf = wrap(by_distance, classes=NAMES, noise_scale=np.linspace(0.1, 1, X.shape[1]))
    text = repr(clf.report(X, NAMES[Y], eps=0.3, units="cm"))
    assert "cm / noise_scale" in text
    assert "others are taken to be fixed" not in text
