"""The bill display shows what the certificates say, and no more."""

import matplotlib
import numpy as np
import pytest

from smoothcs import CostSensitiveSmoothedClassifier, certify_votes, example_costs
from smoothcs.plotting import CertifiedBillDisplay

matplotlib.use("Agg")
import matplotlib.pyplot as plt


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


def prices(n, seed=0):
    amount = np.random.default_rng(seed).lognormal(0, 1, n)
    return example_costs(
        false_positive=0.1 * amount,
        false_negative=amount,
        classes=["paid", "default"],
        positive="default",
    )


def certificates(n=40, seed=0, **options):
    rng = np.random.default_rng(seed)
    p = rng.random(n)
    shares = np.stack([1 - p, p], axis=1)
    y = np.where(rng.random(n) < p, "default", "paid")
    return certify_votes(
        rng.multinomial(50, shares), rng.multinomial(500, shares), sigma=0.5, alpha=0.01,
        classes=["paid", "default"], **{"y": y, "costs": prices(n), **options},
    )  # fmt: skip


def half_plane(batch):
    return (batch[:, 0] > 0).astype(int)


@pytest.fixture
def classifier():
    return CostSensitiveSmoothedClassifier.from_module(
        half_plane, classes=["paid", "default"], sigma=0.5, n_estimation=300, random_state=0
    )


X = np.array([[-2.0, 0.0], [-0.3, 1.0], [0.4, 0.0], [0.4, 0.0], [1.5, 3.0]])
Y = np.array(["paid", "paid", "default", "default", "default"])


def test_curve_dot_line_and_band_are_the_bill():
    c = certificates()
    display = CertifiedBillDisplay.from_certificates(c, eps=[0.4, 0.0, 0.2], confidence=0.9)
    np.testing.assert_array_equal(display.line_.get_xdata(), [0.0, 0.2, 0.4])
    np.testing.assert_allclose(display.line_.get_ydata(), [c.bill(e) for e in (0, 0.2, 0.4)])
    np.testing.assert_allclose(display.upper, [c.bill(e, 0.9) for e in (0, 0.2, 0.4)])
    assert (display.upper >= display.bill).all()
    assert display.clean_.get_ydata()[0] == c.bill(0)
    constant = display.constant_.get_ydata()[0]
    assert 1 - c.bill(0.2) / constant == pytest.approx(c.savings(0.2))
    assert "cheapest constant answer, default" in display.constant_.get_label()
    assert display.line_.get_drawstyle() == "steps-pre"


def test_default_radii_reach_to_where_everything_is_lost():
    c = certificates()
    display = CertifiedBillDisplay.from_certificates(c)
    assert display.bill[-1] == pytest.approx(c.costs[np.arange(40), c.cost_matrix.encode(c.y)]
                                             .max(axis=1).sum(dtype=float))  # fmt: skip
    assert (np.diff(display.bill) >= 0).all()
    assert display.upper[-1] == display.bill[-1]


def test_models_share_the_constant_answer_and_differ_in_style():
    _, ax = plt.subplots()
    displays = [
        CertifiedBillDisplay.from_certificates(
            certificates(), name=name, ax=ax, money="euros", units="sd"
        )
        for name in ("one", "two")
    ]
    assert len({d.line_.get_color() for d in displays}) == 2
    assert displays[0].constant_ is displays[1].constant_
    texts = [t.get_text() for t in ax.get_legend().get_texts()]
    assert texts == ["one", "cheapest constant answer, default", "two"]
    assert "euros" in ax.get_ylabel()
    assert ax.get_xlabel() == "l2 radius eps (sd)"


def test_decisions_at_eps_are_drawn_at_their_radii(classifier):
    costs = prices(5)
    decided = classifier.certify_at(X, Y, [0.1, 0.3], kinds=("pair", "label"), costs=costs)
    display = CertifiedBillDisplay.from_certificates(decided)
    np.testing.assert_array_equal(display.eps, [0.1, 0.3])
    np.testing.assert_array_equal(display.bill, [decided.bill(e) for e in (0.1, 0.3)])
    assert display.band_ is not None
    assert CertifiedBillDisplay.from_certificates(decided, confidence=None).band_ is None


def test_from_estimator_takes_costs_and_knows_identical_inputs(classifier):
    costs = prices(5)
    display = CertifiedBillDisplay.from_estimator(classifier, X, Y, costs=costs, eps=[0.3])
    c = classifier.certify(X, Y, costs=costs)
    groups = [0, 1, 2, 2, 3]
    assert display.bill[0] == c.bill(0.3)
    assert display.upper[0] == c.bill(0.3, 0.95, noise_groups=groups)
    assert display.line_.get_label() == "CostSensitiveSmoothedClassifier"


def test_what_cannot_be_drawn_is_refused(classifier):
    with pytest.raises(ValueError, match="certify with y"):
        CertifiedBillDisplay.from_certificates(certificates(y=None))
    with pytest.raises(ValueError, match="certify with y"):
        CertifiedBillDisplay.from_estimator(classifier, X)
    with pytest.raises(ValueError, match="confidence"):
        CertifiedBillDisplay.from_certificates(certificates(), confidence=1.0)
    with pytest.raises(ValueError, match="hold together"):
        CertifiedBillDisplay.from_certificates(certificates(simultaneous=False))
    with pytest.raises(TypeError, match="certificates must be"):
        CertifiedBillDisplay.from_certificates([1.0])
    assert not plt.get_fignums()
