"""PortfolioDisplay draws the numbers of certificates, and refuses what is none."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn

from smoothcs import CostSensitiveSmoothedClassifier
from smoothcs.plotting import PortfolioDisplay
from smoothcs.portfolio import certify_portfolio


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


class HalfSpace(nn.Module):
    def forward(self, x):
        return torch.stack([torch.zeros(len(x)), x[:, 0]], dim=1)


def certified(eps, n_votes=5):
    missed = np.random.default_rng(0).binomial(n_votes, 0.1, size=800)
    votes = np.stack([missed, n_votes - missed], axis=1)
    return certify_portfolio(votes, np.ones(800, int), sigma=0.5, eps=eps)


def test_lines_are_the_certificate_and_what_the_attack_reached():
    certificate, other = certified([0.4, 0.1]), certified(0.4, 2)
    display = PortfolioDisplay.from_certificate(
        certificate, attacked=[0.3, 0.2], by_votes=[certified(0.4), other]
    )
    for line, values in (
        (display.bound_, certificate.risk),
        (display.one_vote_, certificate.one_vote_risk),
        (display.attacked_, [0.3, 0.2]),
    ):
        np.testing.assert_array_equal(line.get_xdata(), [0.1, 0.4])
        np.testing.assert_array_equal(line.get_ydata(), values[::-1])
    np.testing.assert_array_equal(display.votes_.get_xdata(), [2, 5])
    assert display.votes_.get_ydata()[0] == other.risk


def test_without_attack_the_clean_risk_is_the_lower_limit():
    display = PortfolioDisplay.from_certificate(certified(0.4))
    assert display.attacked_.get_ydata() == [display.certificate.clean_risk]
    assert display.votes_ is None
    assert len(display.axes_) == 1


@pytest.mark.parametrize("module", [HalfSpace(), lambda x: (x[:, 0] > 0).astype(int)])
def test_from_estimator(module):
    X = np.random.default_rng(0).normal(1.0, 0.7, size=(400, 2)).astype(np.float32)
    clf = CostSensitiveSmoothedClassifier.from_module(
        module, classes=2, sigma=0.5, random_state=0, device="cpu"
    )
    display = PortfolioDisplay.from_estimator(
        clf, X, np.ones(400, int), [0.2, 0.4], n_votes=3, by_votes=[1, 3]
    )
    assert np.all(display.attacked_.get_ydata() < display.bound_.get_ydata())
    assert (display.attacked is None) == (not isinstance(module, nn.Module))


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"certificate": 0.3}, TypeError, "certificate"),
        ({"attacked": [0.1, 0.2]}, ValueError, "attacked"),
        ({"by_votes": [0.1, 0.2]}, ValueError, "by_votes"),
    ],
)
def test_bad_input_is_refused(arguments, error, match):
    if "by_votes" in arguments:
        arguments = {"by_votes": [certified(eps) for eps in arguments["by_votes"]]}
    with pytest.raises(error, match=match):
        PortfolioDisplay.from_certificate(**{"certificate": certified(0.4), **arguments})
    assert not plt.get_fignums()
