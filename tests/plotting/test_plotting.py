"""The displays show what the certificates say, and no more."""

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from statsmodels.stats.proportion import proportion_confint

from smoothcs import (
    Certificates,
    ConvexRelaxationClassifier,
    CostSensitiveSmoothedClassifier,
    certify_votes,
)
from smoothcs.certification import largest_radius
from smoothcs.modules import MLP
from smoothcs.plotting import (
    CertifiedAccuracyDisplay,
    CertifiedBillDisplay,
    FrontierDisplay,
    RadiusDistributionDisplay,
    RobustErrorDisplay,
    VotesDisplay,
)
from smoothcs.plotting._accuracy import confidence_band
from smoothcs.plotting._common import distance
from smoothcs.plotting._votes import in_words
from smoothcs.tuning import tune_decision

matplotlib.use("Agg")
import matplotlib.pyplot as plt

CLASSES = ["cat", "dog", "fox"]
COSTS = {("cat", "dog"): 5.0, ("cat", "fox"): 1.0}


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


def make_certificates(n_inputs=40, with_y=True, seed=0) -> Certificates:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet([0.6, 0.4, 0.3], n_inputs)
    y = [CLASSES[k] for k in rng.integers(3, size=n_inputs)]
    return certify_votes(
        rng.multinomial(100, p),
        rng.multinomial(1000, p),
        sigma=0.5,
        cost_matrix=COSTS,
        classes=CLASSES,
        y=y if with_y else None,
        bound="closed-form",
    )


def one_certificate(votes, *, y=None, cost_matrix=COSTS) -> Certificates:
    return certify_votes([votes], [votes], sigma=0.5, cost_matrix=cost_matrix, classes=CLASSES, y=y)


def half_plane(batch):
    return (batch[:, 0] > 0).astype(int)


@pytest.fixture
def classifier():
    return CostSensitiveSmoothedClassifier.from_module(
        half_plane, classes=["no", "yes"], sigma=0.5, n_estimation=300, random_state=0
    )


X_LINE = np.array([[-2.0, 0.0], [-0.3, 1.0], [0.4, 0.0], [1.5, 3.0]])
Y_LINE = np.array(["no", "no", "yes", "yes"])

# ---------------------------------------------------------------- certified accuracy


@pytest.mark.parametrize("metric", ["rob_cs", "rob_cost", "certified_accuracy"])
def test_curve_is_the_metric_at_every_radius(metric):
    certificates = make_certificates()
    eps = [0.4, 0.0, 0.2]
    display = CertifiedAccuracyDisplay.from_certificates(certificates, eps=eps, metric=metric)
    np.testing.assert_array_equal(display.line_.get_xdata(), [0.0, 0.2, 0.4])
    expected = [getattr(certificates, metric)(e) for e in (0.0, 0.2, 0.4)]
    np.testing.assert_allclose(display.line_.get_ydata(), expected)
    assert (display.lower <= display.values).all()
    assert (display.upper >= display.values).all()


def test_default_radii_reach_beyond_the_largest_certificate():
    certificates = make_certificates()
    display = CertifiedAccuracyDisplay.from_certificates(certificates)
    assert display.eps[0] == 0
    assert display.eps[-1] > certificates.radius_standard.max()
    assert display.values[-1] == 0


def test_between_computed_radii_the_worse_value_is_drawn():
    certificates = make_certificates()
    display = CertifiedAccuracyDisplay.from_certificates(certificates, eps=[0.0, 0.5])
    assert display.line_.get_drawstyle() == "steps-pre"
    assert certificates.rob_cs(0.25) >= display.values[1]


def test_band_of_a_share_is_that_of_clopper_and_pearson():
    share = np.array([0, 7, 20, 32]) / 32
    lower, upper = confidence_band(share, 32, 0.9)
    expected = proportion_confint([0, 7, 20, 32], 32, alpha=0.1, method="beta")
    np.testing.assert_allclose([lower, upper], expected, atol=1e-9)


@pytest.mark.parametrize(("a", "b"), [(0.05, 0.05), (0.2, 2.0), (3.0, 1.0)])
def test_band_of_a_mean_covers_it(a, b):
    rng = np.random.default_rng(0)
    means = 7.0 * rng.beta(a, b, (4000, 25)).mean(axis=1)
    lower, upper = confidence_band(means, 25, 0.9, top=7.0)
    truth = 7.0 * a / (a + b)
    assert np.mean((lower <= truth) & (truth <= upper)) > 0.9
    assert (lower <= means).all()
    assert (means <= upper).all()
    assert upper.max() <= 7.0


def test_band_uses_the_sensitive_inputs_only():
    certificates = make_certificates()
    cats = certificates.y == "cat"
    display = CertifiedAccuracyDisplay.from_certificates(certificates, eps=[0.1])
    k = round(float(display.values[0]) * cats.sum())
    expected = proportion_confint(k, cats.sum(), alpha=0.05, method="beta")
    np.testing.assert_allclose([display.lower[0], display.upper[0]], expected, atol=1e-9)


def test_models_on_one_axis_differ_in_colour_and_in_line_style():
    _, ax = plt.subplots()
    ax.axvline(0.1)  # a mark of the user does not use up a style
    displays = [
        CertifiedAccuracyDisplay.from_certificates(make_certificates(seed=s), name=f"m{s}", ax=ax)
        for s in range(3)
    ]
    lines = [d.line_ for d in displays]
    assert len({line.get_color() for line in lines}) == 3
    assert len({line.get_linestyle() for line in lines}) == 3
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["m0", "m1", "m2"]
    assert all(d.ax_ is ax and d.figure_ is ax.figure for d in displays)


def test_line_arguments_reach_matplotlib():
    display = CertifiedAccuracyDisplay.from_certificates(make_certificates(), c="red", linewidth=3)
    assert display.line_.get_color() == "red"
    assert display.line_.get_linewidth() == 3
    display.plot(band=False, ls=":")
    assert display.band_ is None
    assert display.line_.get_linestyle() == ":"


def test_axes_say_units():
    display = CertifiedAccuracyDisplay.from_certificates(make_certificates(), units="mm")
    assert display.ax_.get_xlabel() == "l2 radius eps (mm)"
    display = RadiusDistributionDisplay.from_certificates(make_certificates(), units="mm")
    assert display.ax_.get_xlabel() == "certified l2 radius (mm)"


def test_curves_need_the_truth_and_a_sensitive_input():
    with pytest.raises(ValueError, match="certify with y"):
        CertifiedAccuracyDisplay.from_certificates(make_certificates(with_y=False))
    certificates = make_certificates()
    with pytest.raises(ValueError, match="sensitive inputs"):
        CertifiedAccuracyDisplay.from_certificates(certificates[certificates.y == "dog"])
    with pytest.raises(ValueError, match="metric"):
        CertifiedAccuracyDisplay.from_certificates(certificates, metric="accuracy")
    with pytest.raises(ValueError, match="confidence"):
        CertifiedAccuracyDisplay.from_certificates(certificates, confidence=1.0)
    with pytest.raises(TypeError, match="certificates must be"):
        CertifiedAccuracyDisplay.from_certificates([1.0])


# ---------------------------------------------------------------- radii


def test_rows_of_the_radius_distribution():
    certificates = make_certificates()
    display = RadiusDistributionDisplay.from_certificates(certificates, name="model")
    cats = certificates.y == "cat"
    assert list(display.radii) == [
        "sensitive, group",
        "sensitive, standard",
        "other, standard",
        "all, standard",
    ]
    group = certificates.radius_group[cats]
    np.testing.assert_array_equal(display.radii["sensitive, group"], group)
    assert display.texts_[0].get_text().split("\n") == [
        f" n = {cats.sum()}",
        f" {np.mean(group == 0):.0%} at 0",
    ]
    np.testing.assert_allclose(display.points_[0].get_offsets()[:, 0], group)
    np.testing.assert_allclose(display.boxes_["medians"][0].get_xdata(), np.median(group))
    assert display.ax_.get_title() == "model"


def test_rows_without_inputs_are_left_out():
    certificates = make_certificates()
    cats = certificates[certificates.y == "cat"]
    rows = RadiusDistributionDisplay.from_certificates(cats).radii
    assert list(rows) == ["sensitive, group", "sensitive, standard"]
    dogs = certificates[certificates.y == "dog"]
    rows = RadiusDistributionDisplay.from_certificates(dogs).radii
    assert list(rows) == ["other, standard", "all, standard"]


# ---------------------------------------------------------------- errors


def test_error_maps_by_hand():
    votes = np.array([[990, 5, 5], [5, 990, 5], [500, 490, 10], [10, 980, 10]])
    certificates = certify_votes(
        votes, votes, sigma=0.5, cost_matrix=COSTS, classes=CLASSES, y=["cat"] * 3 + ["dog"]
    )
    display = RobustErrorDisplay.from_certificates(certificates, eps=0.25)
    # Cats: one sure, one called dog, one too close to dog to rule that out, but far from fox.
    np.testing.assert_allclose(display.clean[0], [np.nan, 1 / 3, 0])
    np.testing.assert_allclose(display.robust[0], [np.nan, 2 / 3, 0])
    np.testing.assert_allclose(display.robust[1], [0, np.nan, 0])
    assert np.isnan(display.robust[2]).all()  # no fox
    np.testing.assert_array_equal(display.costs, certificates.cost_matrix.matrix)
    cost, clean, robust = display.images_
    assert np.ma.getmaskarray(cost.get_array()).diagonal().all()
    np.testing.assert_allclose(clean.get_array().filled(np.nan), display.clean)
    np.testing.assert_allclose(robust.get_array().filled(np.nan), display.robust)
    assert [t.get_text() for t in display.texts_] == ["5", "1", "33", "67"]


def test_what_may_happen_under_attack_is_never_less_than_without():
    display = RobustErrorDisplay.from_certificates(make_certificates(200), eps=0.01)
    off = ~np.eye(3, dtype=bool)
    assert (display.robust[off] >= display.clean[off]).all()


def test_errors_need_the_truth_and_a_radius():
    with pytest.raises(ValueError, match="certify with y"):
        RobustErrorDisplay.from_certificates(make_certificates(with_y=False), eps=0.1)
    with pytest.raises(ValueError, match="eps"):
        RobustErrorDisplay.from_certificates(make_certificates(), eps=np.nan)


def test_one_axes_is_divided_and_three_are_used_as_they_are():
    display = RobustErrorDisplay.from_certificates(make_certificates(), eps=0.1)
    figure, axes = plt.subplots(1, 3)
    display.plot(axes)
    assert list(display.ax_) == list(axes)
    figure, ax = plt.subplots()
    display.plot(ax)
    assert display.figure_ is figure
    assert len(display.ax_) == 3
    with pytest.raises(ValueError, match="3 axes; got 2"):
        display.plot(plt.subplots(1, 2)[1])
    with pytest.raises(ValueError, match="no place in a grid"):
        display.plot(plt.figure().add_axes((0, 0, 1, 1)))


def test_many_classes_get_a_colour_bar_instead_of_numbers():
    m = 40
    errors = np.full((m, m), 0.3)
    display = RobustErrorDisplay(
        clean=errors, robust=errors, costs=1 - np.eye(m), classes=np.arange(m), eps=0.5
    ).plot()
    assert display.texts_ == []
    assert len(display.figure_.axes) == 4
    assert len(display.ax_[0].get_xticks()) < m


# ---------------------------------------------------------------- votes


def test_bars_are_shares_with_confidence_limits():
    votes = [900, 80, 20]
    display = VotesDisplay.from_certificates(one_certificate(votes, y=["cat"]))
    np.testing.assert_allclose([bar.get_width() for bar in display.bars_], [0.9, 0.08, 0.02])
    segments = display.bars_.errorbar.lines[2][0].get_segments()
    expected = proportion_confint(votes, 1000, alpha=0.001, method="beta")
    np.testing.assert_allclose([s[:, 0] for s in segments], np.transpose(expected), atol=1e-9)
    hatched = [bar.get_hatch() is not None for bar in display.bars_]
    assert hatched == [False, True, True]


def test_words_name_what_is_certified_and_no_more():
    sure = one_certificate([980, 10, 10], y=["cat"])
    radius = distance(sure.radius_group[0])
    assert in_words(sure) == (
        f"predicted: cat (true class: cat)\nnot called dog or fox\nwithin {radius} (units of X)"
    )
    # A harmless error keeps its radius, and the words do not call the prediction right.
    harmless = one_certificate([20, 970, 10], y=["fox"], cost_matrix={("fox", "cat"): 1.0})
    assert in_words(harmless).startswith("predicted: dog (true class: fox)\nnot called cat\n")
    assert in_words(one_certificate([350, 330, 320])) == "abstains\ntoo close to certify anything"
    for votes in ([20, 970, 10], [400, 350, 250]):  # a costly prediction; dog is not ruled out
        assert in_words(one_certificate(votes, y=["cat"])).endswith("is not ruled out")
    # In deployment nothing is said of costs where the predicted class has none.
    free = in_words(one_certificate([20, 970, 10]), "mm")
    radius = distance(one_certificate([20, 970, 10]).radius_standard[0])
    assert free == f"predicted: dog\nstays dog\nwithin {radius} (mm)"


def test_texts_give_the_pair_radii():
    certificate = one_certificate([700, 250, 50], y=["cat"])
    display = VotesDisplay.from_certificates(certificate)
    for text, radius in zip(display.texts_, certificate.radius_pair[0, 1:], strict=True):
        assert 0.99 * radius < float(text.get_text().split()[-1]) <= radius
    costly = VotesDisplay.from_certificates(one_certificate([20, 970, 10], y=["cat"]))
    assert {t.get_text() for t in costly.texts_} == {"possible"}


@given(st.floats(1e-6, 1e4))
def test_written_radii_are_never_above_the_certified_ones(radius):
    assert radius * 0.989 <= float(distance(radius)) <= radius
    assert distance(0.0) == "0"
    assert distance(float("nan")) == "0"


@pytest.mark.parametrize(
    ("shape", "image_shape"),
    [((16,), (4, 4)), ((1, 4, 4), None), ((3, 4, 4), None), ((4, 4), None)],
)
def test_images_are_shown(shape, image_shape):
    x = np.linspace(-1, 2, int(np.prod(shape))).reshape(shape)
    display = VotesDisplay.from_certificates(
        make_certificates(), index=3, x=x, image_shape=image_shape
    )
    assert display.image_ is not None
    assert display.image_.get_array().shape[:2] == (4, 4)
    assert len(display.ax_) == 2


def test_features_furthest_from_zero_are_shown():
    x = np.arange(20.0) - 4.5
    names = [f"f{i}" for i in range(20)]
    display = VotesDisplay.from_certificates(make_certificates(), x=x, feature_names=names)
    assert [bar.get_width() for bar in display.feature_bars_] == list(np.arange(5.5, 15))
    assert [t.get_text() for t in display.ax_[0].get_yticklabels()] == names[10:]
    with pytest.raises(ValueError, match="feature_names has 2 names for 20"):
        VotesDisplay.from_certificates(make_certificates(), x=x, feature_names=["a", "b"])
    with pytest.raises(ValueError, match="x must be features"):
        VotesDisplay.from_certificates(make_certificates(), x=np.zeros((2, 5, 5)))


# ---------------------------------------------------------------- estimators


def test_displays_from_an_estimator_certify_with_it(classifier):
    certificates = classifier.certify(X_LINE, Y_LINE)
    curve = CertifiedAccuracyDisplay.from_estimator(classifier, X_LINE, Y_LINE, eps=[0.1, 0.5])
    np.testing.assert_array_equal(curve.values, certificates.rob_cs([0.1, 0.5]))
    assert curve.line_.get_label() == "CostSensitiveSmoothedClassifier"
    radii = RadiusDistributionDisplay.from_estimator(classifier, X_LINE, Y_LINE)
    np.testing.assert_array_equal(radii.radii["sensitive, group"], certificates.radius_group)
    errors = RobustErrorDisplay.from_estimator(classifier, X_LINE, Y_LINE)
    assert errors.eps == 0.5
    np.testing.assert_array_equal(errors.robust, certificates.robust_error_matrix(0.5))
    votes = VotesDisplay.from_estimator(classifier, X_LINE, Y_LINE, index=2)
    np.testing.assert_array_equal(votes.certificate.votes[0], certificates.votes[2])
    assert votes.feature_bars_ is not None


@pytest.mark.parametrize(
    ("display", "y", "params", "message"),
    [
        (CertifiedAccuracyDisplay, Y_LINE, {"metric": "accuracy"}, "metric must be"),
        (CertifiedAccuracyDisplay, Y_LINE, {"confidence": 2.0}, "confidence must be"),
        (CertifiedAccuracyDisplay, None, {}, "rob_cs compares.*certify with y"),
        (RobustErrorDisplay, None, {}, "errors compare.*certify with y"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_certified(
    classifier, monkeypatch, display, y, params, message
):
    def certify(*args, **kwargs):
        pytest.fail("certified")

    monkeypatch.setattr(type(classifier), "certify", certify)
    with pytest.raises(ValueError, match=message):
        display.from_estimator(classifier, X_LINE, y, **params)


def test_a_name_that_is_given_takes_the_place_of_the_class(classifier):
    for name, shown in (("mine", "mine"), (None, "CostSensitiveSmoothedClassifier")):
        display = RadiusDistributionDisplay.from_estimator(classifier, X_LINE, Y_LINE, name=name)
        assert display.ax_.get_title() == shown


def test_options_of_certify_reach_it(classifier):
    for X in (X_LINE, X_LINE[:1]):
        display = VotesDisplay.from_estimator(classifier, X, certify_params={"blockers": False})
        assert display.certificate.blockers is False
    with pytest.raises(TypeError, match="n_estimation"):
        VotesDisplay.from_estimator(classifier, X_LINE, certify_params={"n_estimation": 50})


def test_a_pipeline_is_certified_in_the_units_of_its_last_step(classifier):
    halve = FunctionTransformer(lambda X: X / 2).fit(X_LINE)
    pipeline = make_pipeline(halve, classifier)
    for make in (CertifiedAccuracyDisplay.from_estimator, RobustErrorDisplay.from_estimator):
        make(pipeline, X_LINE, Y_LINE)
    display = RadiusDistributionDisplay.from_estimator(pipeline, X_LINE, Y_LINE)
    expected = classifier.certify(X_LINE / 2, Y_LINE).radius_group
    np.testing.assert_array_equal(display.radii["sensitive, group"], expected)
    one = VotesDisplay.from_estimator(pipeline, X_LINE, index=3)
    np.testing.assert_array_equal(one.x, X_LINE[3] / 2)


def test_one_input_of_a_dataset_is_asked_for_as_an_array(classifier):
    data = torch.utils.data.TensorDataset(torch.tensor(X_LINE), torch.arange(len(X_LINE)))
    with pytest.raises(TypeError, match="X must be an array here"):
        VotesDisplay.from_estimator(classifier, data)
    one = data[2][0][None].numpy()
    assert VotesDisplay.from_estimator(classifier, one).figure_


def test_estimators_that_cannot_certify_are_refused():
    with pytest.raises(TypeError, match="certified_report"):
        CertifiedAccuracyDisplay.from_estimator(object(), X_LINE, Y_LINE)


def test_bounds_without_votes_have_error_maps_and_no_radii():
    clf = ConvexRelaxationClassifier(MLP, eps=0.1, max_epochs=2, random_state=0).fit(X_LINE, Y_LINE)
    display = RobustErrorDisplay.from_estimator(clf, X_LINE, Y_LINE)
    report = clf.certified_report(X_LINE, Y_LINE)
    assert display.eps == 0.1
    np.testing.assert_array_equal(display.robust, report["robust_error_matrix"])
    np.testing.assert_array_equal(display.clean, report["clean_error_matrix"])
    with pytest.raises(TypeError, match="does not return Certificates"):
        CertifiedAccuracyDisplay.from_estimator(clf, X_LINE, Y_LINE)


# ---------------------------------------------------------------- matplotlib


def test_matplotlib_is_imported_only_to_draw():
    code = (
        "import sys, smoothcs.plotting;"
        "sys.exit(any(name.split('.')[0] == 'matplotlib' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_matplotlib_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install smoothcs\[plot\]"):
        CertifiedAccuracyDisplay.from_certificates(make_certificates())


# ---------------------------------------------------------------- ceilings, single points, labels


def test_the_ceiling_of_n_and_alpha_is_drawn():
    certificates = make_certificates()
    most = largest_radius(1000, 0.001, 0.5, bound="closed-form")
    curve = CertifiedAccuracyDisplay.from_certificates(certificates)
    radii = RadiusDistributionDisplay.from_certificates(certificates)
    bill = CertifiedBillDisplay.from_certificates(certificates)
    for display in (curve, radii, bill):
        assert list(display.ceiling_.get_xdata()) == [most, most]
        assert display.ax_.get_xlim()[1] >= most
        assert any("n and alpha" in text.get_text() for text in display.ax_.texts)
    assert certificates.radius_standard.max() <= most


def test_models_with_the_same_ceiling_share_the_line():
    _, ax = plt.subplots()
    first, second = (
        CertifiedAccuracyDisplay.from_certificates(make_certificates(seed=s), ax=ax)
        for s in range(2)
    )
    assert first.ceiling_ is second.ceiling_
    assert len(ax.texts) == 1


def test_interrupted_certificates_have_no_ceiling():
    nothing = certify_votes(
        [[0, 0, 0]], [[0, 0, 0]], sigma=0.5, n=[0], y=["cat"], classes=CLASSES, cost_matrix=COSTS
    )
    display = CertifiedAccuracyDisplay.from_certificates(nothing)
    assert display.ceiling_ is None
    assert RadiusDistributionDisplay.from_certificates(nothing).ceiling_ is None


@pytest.mark.parametrize("display", [CertifiedAccuracyDisplay, CertifiedBillDisplay])
def test_a_curve_of_one_point_can_be_seen(display):
    certificates = make_certificates()
    assert display.from_certificates(certificates, eps=[0.2]).line_.get_marker() == "o"
    assert display.from_certificates(certificates, eps=[0.2, 0.3]).line_.get_marker() == "None"
    assert display.from_certificates(certificates, eps=[0.2], marker="s").line_.get_marker() == "s"


def test_a_frontier_of_one_point_can_be_seen():
    votes = np.tile([[0, 100], [100, 0]], (30, 1))
    tuned = tune_decision(votes, [1, 0] * 30, [[0, 0], [1, 0]], eps=0.1, sigma=0.5)
    display = FrontierDisplay.from_tuned(tuned)
    for line in (display.line_, display.in_sample_):
        assert len(np.unique(np.column_stack(line.get_data()), axis=0)) == 1
        assert line.get_marker() != "None"


def test_labels_with_dollars_and_escapes_are_text():
    classes = ["$\\frac{$", "$b$", "\x1b[31m"]
    certificates = certify_votes(
        [[90, 10, 0]], [[900, 90, 10]], sigma=0.5, y=["$b$"], classes=classes,
        cost_matrix={("$b$", "$\\frac{$"): 2.0},
    )  # fmt: skip
    for display in (
        RobustErrorDisplay.from_certificates(certificates, eps=0.1),
        VotesDisplay.from_certificates(certificates, x=[1.0], feature_names=["$_$"]),
        CertifiedBillDisplay.from_certificates(certificates),
    ):
        display.figure_.canvas.draw()


# ---------------------------------------------------------------- one unbatched input


@pytest.mark.parametrize("shape", [(4, 4), (1, 4, 4), (3, 4, 4)])
def test_votes_of_one_unbatched_image(shape):
    clf = CostSensitiveSmoothedClassifier.from_module(
        lambda x: (x.mean(axis=tuple(range(1, x.ndim))) > 0).astype(int),
        classes=["no", "yes"], sigma=0.5, n_estimation=100, random_state=0,
    )  # fmt: skip
    clf.input_shape_ = shape
    X = np.random.default_rng(0).standard_normal((3, *shape))
    one = VotesDisplay.from_estimator(clf, X[1], "yes")
    same = VotesDisplay.from_estimator(clf, X, ["yes"] * 3, index=1)
    np.testing.assert_array_equal(one.certificate.votes, same.certificate.votes)
    assert one.image_ is not None
    assert one.certificate.y == "yes"
    torch_one = VotesDisplay.from_estimator(clf, torch.from_numpy(X[1]), ["yes"])
    np.testing.assert_array_equal(one.certificate.votes, torch_one.certificate.votes)


def test_votes_of_one_row_of_a_frame_through_a_pipeline(classifier):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X_LINE, columns=["a", "b"])
    scaler = StandardScaler().set_output(transform="pandas").fit(frame)
    pipe = make_pipeline(scaler, classifier)
    one = VotesDisplay.from_estimator(pipe, frame.iloc[2], "yes")
    same = VotesDisplay.from_estimator(pipe, frame, Y_LINE, index=2)
    np.testing.assert_array_equal(one.certificate.votes, same.certificate.votes)
