"""Shapes, sizes known from the papers, and the normalisation inside a module."""

import pickle

import numpy as np
import pytest
import torch
from torch import nn

from smoothcs import modules


def n_parameters(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("shape", [(5,), (1, 5), (5, 1, 1)])
def test_mlp_flattens_any_input(shape):
    module = modules.MLP(5, 3, hidden=(7,))
    x = torch.randn(4, *shape)
    first, last = module[1], module[3]
    expected = last(first(x.reshape(4, 5)).clamp(min=0))
    assert torch.equal(module(x), expected)


def test_mlp_without_hidden_layers_is_linear():
    assert n_parameters(modules.MLP(5, 3, hidden=())) == 5 * 3 + 3


def test_mlp_drops_hidden_units_in_training_alone():
    torch.manual_seed(0)
    module = modules.MLP(5, 3, hidden=(400,), dropout=0.25)
    without = nn.Sequential(*(layer for layer in module if not isinstance(layer, nn.Dropout)))
    x = torch.randn(4, 5)
    assert torch.equal(module.eval()(x), without(x))
    seen = nn.Sequential(*list(module.train())[:4])(x)
    kept = without[:3](x)
    dropped = (seen == 0) & (kept > 0)
    assert int(dropped.sum()) == pytest.approx(0.25 * int((kept > 0).sum()), rel=0.2)
    torch.testing.assert_close(seen[~dropped], kept[~dropped] / 0.75)


def test_mlp_refuses_bad_sizes():
    with pytest.raises(ValueError, match="n_features must be"):
        modules.MLP(0, 3)
    with pytest.raises(ValueError, match="hidden must be"):
        modules.MLP(4, 3, hidden=(0,))
    with pytest.raises(ValueError, match="n_classes must be"):
        modules.MLP(4, 0)


@pytest.mark.parametrize(
    ("factory", "n_expected"),
    [
        # [He16] Table 6 says 0.27 M, 0.85 M, 1.7 M; exact counts follow from the layer list:
        # convolutions, two numbers per normalised channel, and the dense layer.
        (modules.cifar_resnet20, 3),
        (modules.cifar_resnet56, 9),
        (modules.cifar_resnet110, 18),
    ],
)
def test_cifar_resnets_have_the_published_size(factory, n_expected):
    n = n_expected
    blocks = sum(
        9 * c_in * c + 9 * c * c * (2 * n - 1) + 2 * c * 2 * n
        for c_in, c in ((16, 16), (16, 32), (32, 64))
    )
    stem, head = 27 * 16 + 32, 64 * 10 + 10
    assert n_parameters(factory()) == stem + blocks + head
    published = {3: 0.27e6, 9: 0.85e6, 18: 1.7e6}[n]
    assert n_parameters(factory()) == pytest.approx(published, rel=0.02)
    n_layers = sum(isinstance(layer, nn.Conv2d | nn.Linear) for layer in factory().modules())
    assert n_layers == 6 * n + 2


def test_resnet18_has_the_published_size():
    assert n_parameters(modules.resnet18(n_classes=1000)) == 11_689_512


def test_small_conv_has_the_layers_of_the_paper():
    module = modules.small_conv()
    expected = (16 * 16 + 16) + (16 * 16 * 32 + 32) + (32 * 49 * 100 + 100) + (1000 + 10)
    assert n_parameters(module) == expected


@pytest.mark.parametrize(
    ("factory", "size", "in_channels"),
    [
        (modules.small_conv, 28, 1),
        (modules.small_conv, 28, 3),
        (modules.cifar_resnet20, 32, 3),
        (modules.cifar_resnet20, 28, 1),
        (modules.resnet18, 64, 3),
        (modules.resnet18, 96, 1),
    ],
)
def test_images_give_finite_logits_and_every_parameter_a_gradient(factory, size, in_channels):
    torch.manual_seed(0)
    module = factory(n_classes=4, in_channels=in_channels)
    logits = module(torch.randn(3, in_channels, size, size))
    assert logits.shape == (3, 4)
    nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2])).backward()
    assert all(torch.isfinite(p.grad).all() for p in module.parameters())


def test_small_conv_for_other_image_sizes():
    assert modules.small_conv(image_size=32)(torch.zeros(1, 1, 32, 32)).shape == (1, 10)
    with pytest.raises(ValueError, match="image_size must be a multiple of 4"):
        modules.small_conv(image_size=30)


def test_modules_pickle():
    module = nn.Sequential(modules.Normalize(0.5, 0.2), modules.cifar_resnet20()).eval()
    copied = pickle.loads(pickle.dumps(module))
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(module(x), copied(x))


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 5), (4, 3, 5, 6)])
def test_normalize_works_per_channel(shape):
    mean, std = np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 0.5])
    x = np.random.default_rng(0).normal(size=shape)
    module = modules.Normalize(list(mean), list(std))
    got = module(torch.as_tensor(x, dtype=torch.float32)).numpy()
    for channel in range(3):
        expected = (x[:, channel] - mean[channel]) / std[channel]
        np.testing.assert_allclose(got[:, channel], expected, rtol=1e-5, atol=1e-5)


def test_normalize_is_saved_and_not_trained():
    module = modules.Normalize([0.1, 0.2], [1.0, 2.0])
    assert set(module.state_dict()) == {"mean", "std"}
    assert not list(module.parameters())


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan"), float("inf")])
def test_normalize_refuses_a_std_that_is_not_positive(std):
    with pytest.raises(ValueError, match="std must be finite and > 0"):
        modules.Normalize(0.0, std)


def test_normalize_refuses_lengths_that_differ():
    with pytest.raises(ValueError, match="mean and std must have the same length; got 2 and 3"):
        modules.Normalize([0.0, 1.0], [1.0, 1.0, 1.0])


def test_normalize_refuses_another_number_of_channels():
    normalize = modules.Normalize([0.5] * 3, [0.5] * 3)
    assert normalize(torch.zeros(2, 3, 4, 4)).shape == (2, 3, 4, 4)
    with pytest.raises(ValueError, match="mean has 3 entries for inputs of shape"):
        normalize(torch.zeros(2, 1, 4, 4))
    assert modules.Normalize(0.5, 0.5)(torch.zeros(2, 5)).shape == (2, 5)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 8, 8), (2, 13, 31), (1, 4, 63)])
def test_conv_net_normalises_after_every_hidden_layer(shape):
    module = modules.conv_net(shape, 5)
    kinds = [type(layer) for layer in module]
    for place, kind in enumerate(kinds[:-1]):
        if kind in (nn.Conv2d, nn.Linear):
            assert kinds[place + 1] in (nn.BatchNorm2d, nn.BatchNorm1d)
            assert kinds[place + 2] is nn.ReLU
    assert module(torch.randn(3, *shape)).shape == (3, 5)


@pytest.mark.parametrize("shape", [(28, 28), (1, 3, 28), (0, 8, 8)])
def test_conv_net_refuses_what_is_no_image(shape):
    with pytest.raises(ValueError, match="input_shape must be"):
        modules.conv_net(shape, 2)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((30,), modules.MLP),
        ((28, 28), modules.MLP),
        ((28, 28, 3), modules.MLP),  # channels last: no image of 28 x 3
        ((1, 7, 7), modules.MLP),
        ((3, 4, 5, 6), modules.MLP),
        ((1, 8, 8), nn.Conv2d),
        ((3, 63, 100), nn.Conv2d),
    ],
)
def test_the_default_is_sized_from_the_data(shape, kind):
    module = modules.default_module(shape, 3)
    assert isinstance(module, kind) or isinstance(module[0], kind)
    assert any(isinstance(layer, nn.BatchNorm1d) for layer in module)
    assert module.eval()(torch.zeros(2, *shape)).shape == (2, 3)


def test_the_default_for_large_images_is_a_resnet():
    module = modules.default_module((2, 64, 64), 3)
    assert n_parameters(module) == n_parameters(modules.resnet18(3, in_channels=2))
    assert modules.default_module((9,), 2, hidden=(4,))[1].out_features == 4
    assert modules.default_module((9,), 2)[4].p == 0.25
