"""What eps looks like: noise and an attack of that size, beside the image."""

import matplotlib
import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from torch import nn

from smoothcs import CostSensitiveSmoothedClassifier
from smoothcs.plotting import PerturbationDisplay

matplotlib.use("Agg")
import matplotlib.pyplot as plt

SHAPES = [(6, 6), (1, 6, 6), (3, 6, 6), (6, 6, 3)]


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


class Bright(nn.Module):
    """Class 1 where the mean is above 1/2, and noise in train mode."""

    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.9)

    def forward(self, x):
        score = self.dropout(x).flatten(1).mean(dim=1) - 0.5
        return torch.stack([-40 * score, 40 * score], dim=1)


def wrap(module, **params):
    params = {"sigma": 0.25, "n_estimation": 50, "n_prediction": 100, "random_state": 0, **params}
    return CostSensitiveSmoothedClassifier.from_module(module, classes=["dark", "bright"], **params)


def images(shape, n=3):
    return np.random.default_rng(0).random((n, *shape)).astype(np.float32) * 0.2 + 0.45


@pytest.mark.parametrize("shape", SHAPES)
def test_sizes_and_answers(shape):
    X = images(shape)
    display = PerturbationDisplay.from_estimator(wrap(Bright()), X, index=1, eps=1.5)
    image, noise, attacked = display.images.values()
    np.testing.assert_array_equal(image, X[1])
    for other in (noise, attacked):
        assert np.linalg.norm(other - image) == pytest.approx(1.5, rel=1e-4)
    titles = [axes.get_title().splitlines() for axes in display.ax_]
    assert [title[0] for title in titles] == ["input", "noise of size 1.5", "attack of size 1.5"]
    assert titles[0][1] == "called bright"
    assert titles[2][1] == "called dark"  # the attack moves away from what is predicted
    assert len(display.images_) == 3
    assert display.ax_[1].get_xlabel() == "l2, units of X"


@pytest.mark.parametrize("shape", SHAPES[:3])
def test_one_unbatched_image(shape):
    clf = wrap(Bright())
    clf.input_shape_ = shape
    X = images(shape)
    one = PerturbationDisplay.from_estimator(clf, X[2], "bright", eps=0.5)
    same = PerturbationDisplay.from_estimator(clf, X, ["bright"] * 3, index=2, eps=0.5)
    for a, b in zip(one.images.values(), same.images.values(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_grey_values_are_those_of_one_scale():
    display = PerturbationDisplay.from_estimator(wrap(Bright()), images((6, 6)), eps=2.0)
    assert len({image.get_clim() for image in display.images_}) == 1
    low, high = display.images_[0].get_clim()
    assert low == min(x.min() for x in display.images.values())
    assert high == max(x.max() for x in display.images.values())


def test_the_module_is_attacked_in_eval_mode_and_left_as_it_was():
    module = Bright().train()
    displays = [
        PerturbationDisplay.from_estimator(wrap(module), images((6, 6)), eps=0.5) for _ in "ab"
    ]
    a, b = (list(display.images.values())[2] for display in displays)
    np.testing.assert_array_equal(a, b)
    assert module.training


def test_entries_without_noise_are_not_moved():
    scale = np.ones((6, 6))
    scale[:3] = 0.0
    scale[3] = 2.0
    clf = wrap(Bright(), noise_scale=scale)
    display = PerturbationDisplay.from_estimator(clf, images((6, 6)), eps=1.0)
    image, *others = display.images.values()
    for other in others:
        np.testing.assert_array_equal(other[:3], image[:3])
        moved = (other - image)[3:] / scale[3:]
        assert np.linalg.norm(moved) == pytest.approx(1.0, rel=1e-4)
    assert "18 of 36 entries fixed" in display.ax_[2].get_xlabel()


def test_pipelines_bounds_and_the_estimators_own_eps():
    pipe = make_pipeline(FunctionTransformer(lambda x: x), wrap(Bright(), eps=0.75))
    display = PerturbationDisplay.from_estimator(
        pipe, images((6, 6)), attack_params={"bounds": (0.0, 1.0), "n_steps": 3}, units="grey"
    )
    assert display.eps == 0.75
    assert list(display.images.values())[2].min() >= 0.0
    assert display.ax_[1].get_xlabel() == "l2, grey"


def test_what_has_no_picture_is_refused():
    with pytest.raises(ValueError, match=r"must be an image.*\(8,\).*use VotesDisplay"):
        PerturbationDisplay.from_estimator(wrap(Bright()), np.zeros((4, 8)))
    with pytest.raises(ValueError, match=r"must be an image .*\(2, 5, 5\)"):
        PerturbationDisplay.from_estimator(wrap(Bright()), np.zeros((4, 2, 5, 5)))
    forest = RandomForestClassifier(2).fit([[0.0], [1.0]], ["dark", "bright"])
    with pytest.raises(TypeError, match="must be a torch module; got RandomForestClassifier"):
        PerturbationDisplay.from_estimator(wrap(forest), [[0.0]])
    with pytest.raises(ValueError, match="eps"):
        PerturbationDisplay.from_estimator(wrap(Bright()), images((6, 6)), eps=-1.0)
    assert plt.get_fignums() == []
