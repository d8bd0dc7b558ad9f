"""Flips and shifts: what they may do, when, and from which random numbers."""

import numpy as np
import pytest
import torch
from torch import nn

from smoothcs import CostSensitiveSmoothedClassifier
from smoothcs.modules import Augment
from smoothcs.modules.augment import fixed_augmentation
from smoothcs.objectives import Gaussian, SmoothAdv, SmoothMix


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def moved(x, vertical, horizontal, down, right):
    """Flip and shift one image (c, h, w) by numpy's own padding."""
    x = x[:, ::-1] if vertical else x
    x = x[:, :, ::-1] if horizontal else x
    reach = max(abs(down), abs(right), 1)
    padded = np.pad(x, ((0, 0), (reach, reach), (reach, reach)), mode="reflect")
    h, w = x.shape[1:]
    return padded[:, reach + down : reach + down + h, reach + right : reach + right + w]


def test_images_are_flipped_and_shifted_each_in_its_own_way():
    augment = Augment(vertical=True, shift=2)
    x = torch.randn(40, 2, 5, 6)
    with fixed_augmentation(augment, 40, generator(), x.device):
        drawn = augment._drawn.tolist()
        got = augment(x)
    flips = {(v, h) for v, h, *_ in drawn}
    assert flips == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert {d for *_, down, right in drawn for d in (down, right)} == {-2, -1, 0, 1, 2}
    for image, result, (v, h, down, right) in zip(x.numpy(), got.numpy(), drawn, strict=True):
        np.testing.assert_array_equal(result, moved(image, v, h, down, right))


@pytest.mark.parametrize("params", [{}, {"horizontal": False, "vertical": True}])
def test_flips_that_are_not_asked_for_do_not_happen(params):
    x = torch.randn(50, 1, 4, 4)
    flipped = x.flip(2 if params else 3)
    got = Augment(**params)(x)
    is_same, is_flipped = ((got == other).flatten(1).all(1) for other in (x, flipped))
    assert (is_same ^ is_flipped).all()
    assert 5 < is_same.sum() < 45


def test_eval_mode_is_the_identity_and_takes_anything():
    augment = Augment(shift=3).eval()
    x = torch.randn(2, 5)
    assert augment(x) is x


@pytest.mark.parametrize("shape", [(2, 5), (2, 1, 2, 9)])
def test_what_cannot_be_shifted_is_refused(shape):
    with pytest.raises(ValueError, match="Augment\\(shift=2\\) takes images"):
        Augment(shift=2)(torch.zeros(shape))


def test_bad_parameters_are_refused():
    with pytest.raises(ValueError, match="shift"):
        Augment(shift=-1)
    with pytest.raises(ValueError, match="horizontal"):
        Augment(horizontal="left")


def test_gradients_pass():
    x = torch.randn(6, 1, 4, 4, requires_grad=True)
    Augment(vertical=True)(x).pow(2).sum().backward()
    assert torch.equal(x.grad, 2 * x)


class Watched(nn.Module):
    """Linear model that keeps which pixel of a ramp came first: 0 or, flipped, 3."""

    def __init__(self):
        super().__init__()
        self.linear, self.seen = nn.Linear(16, 2), []

    def forward(self, x):
        if self.training:
            self.seen.append((x[:, 0, 0, 0] > x[:, 0, 0, 3]).tolist())
        return self.linear(x.flatten(1))


@pytest.mark.parametrize(
    "objective",
    [
        Gaussian(n_noise=3),
        Gaussian(n_noise=4, microbatch=2),  # whose draws are made again in the backward pass
        SmoothAdv(n_steps=2, n_noise=2),
        SmoothMix(n_noise=2),
    ],
    ids=lambda objective: type(objective).__name__,
)
def test_all_draws_and_passes_of_a_step_share_the_augmentation_of_an_example(objective):
    X = np.tile(np.arange(4, dtype=np.float32), (10, 1, 4, 1))
    y = np.arange(10) % 2
    watched = Watched()
    CostSensitiveSmoothedClassifier(
        lambda: nn.Sequential(Augment(), watched), objective=objective, sigma=0.01, max_epochs=1,
        lr=1e-6, random_state=0,
    ).fit(X, y)  # fmt: skip
    flips = np.concatenate([np.reshape(call, (-1, 10)) for call in watched.seen])
    assert len(flips) > 2
    assert 0 < flips[0].sum() < 10
    assert (flips == flips[0]).all()


def test_training_is_repeatable_and_leaves_the_generator_of_torch_alone():
    X = np.random.default_rng(0).random((30, 1, 8, 8), dtype=np.float32)
    y = np.arange(30) % 3

    def weights(*first):
        clf = CostSensitiveSmoothedClassifier(
            nn.Sequential(*first, nn.Flatten(), nn.Linear(64, 3)), objective="gaussian",
            max_epochs=2, random_state=0,
        )  # fmt: skip
        return clf.fit(X, y).module_[-1].weight

    torch.manual_seed(1)
    one = weights(Augment(shift=1))
    expected, _ = torch.rand(3), torch.manual_seed(1)
    two = weights(Augment(shift=1))
    assert torch.equal(one, two)
    assert torch.equal(torch.rand(3), expected)
    assert not torch.equal(one, weights())
