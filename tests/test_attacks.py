"""The attack stays in its ball, climbs, reaches targets and leaves the module alone."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from smoothcs._soft import NoiseDraws
from smoothcs.attacks import l2_pgd, project_l2, soft_smoothed_loss, unit_l2
from smoothcs.modules import MLP


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def net(n_features, n_classes=3):
    torch.manual_seed(1)
    return MLP(n_features, n_classes, hidden=(16,))


def lengths(v):
    return v.flatten(1).norm(dim=1)


@given(
    eps=st.floats(0.01, 20.0),
    n_steps=st.integers(1, 6),
    step_size=st.one_of(st.none(), st.floats(0.01, 50.0)),
    shape=st.sampled_from([(3,), (1, 4, 4)]),
    targeted=st.booleans(),
    seed=st.integers(0, 100),
)
def test_the_result_stays_inside_eps(eps, n_steps, step_size, shape, targeted, seed):
    x = randn(5, *shape, seed=seed)
    x_adv = l2_pgd(
        net(x[0].numel()),
        x,
        torch.tensor([0, 1, 2, 0, 1]),
        eps=eps,
        sigma=0.5,
        n_noise=2,
        generator=torch.Generator().manual_seed(seed),
        n_steps=n_steps,
        step_size=step_size,
        targeted=targeted,
    )
    assert x_adv.shape == x.shape
    assert (lengths(x_adv - x) <= eps * (1 + 1e-4) + 1e-5).all()


@given(low=st.floats(-3, 0), width=st.floats(0.1, 5), eps=st.floats(0.01, 10))
def test_bounds_hold_the_result_and_keep_the_ball(low, width, eps):
    x = low + width * torch.rand((6, 3), generator=torch.Generator().manual_seed(0))
    bounds = (float(x.min()), float(x.max()))
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    x_adv = l2_pgd(net(3), x, y, eps=eps, sigma=0.3, n_noise=2, bounds=bounds)
    assert x_adv.min() >= bounds[0]
    assert x_adv.max() <= bounds[1]
    assert (lengths(x_adv - x) <= eps * (1 + 1e-4) + 1e-5).all()


def test_without_bounds_nothing_is_clamped():
    x = torch.full((3, 4), 0.999)
    x_adv = l2_pgd(net(4), x, torch.tensor([0, 1, 2]), eps=5.0, sigma=0.1)
    assert x_adv.max() > 1


def test_on_a_linear_module_the_attack_walks_straight_against_the_margin():
    """Two classes: the gradient of -log G_0 is along W_1 - W_0 whatever the noise."""
    module = nn.Linear(3, 2)
    x = randn(4, 3)
    x_adv = l2_pgd(module, x, torch.zeros(4, dtype=torch.int64), eps=0.7, sigma=0.5, n_steps=3)
    direction = module.weight[1] - module.weight[0]
    expected = x + 0.7 * direction / direction.norm()
    np.testing.assert_allclose(x_adv, expected.detach(), atol=1e-5)


def test_the_ball_is_l2_and_steps_accumulate():
    """An l_inf attack would move every coordinate equally; a forgetful one only one step."""
    module = nn.Linear(3, 2)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[0.0, 0.0, 0.0], [3.0, 4.0, 0.0]]))
    x = torch.zeros(1, 3)
    y = torch.tensor([0])
    x_adv = l2_pgd(module, x, y, eps=10.0, sigma=0.1, n_steps=5, step_size=0.5)
    np.testing.assert_allclose(x_adv, [[1.5, 2.0, 0.0]], atol=1e-5)


def test_the_loss_increases_with_n_steps_on_average():
    module, x = net(10), 2 * randn(200, 10)
    y = module(x).argmax(1)
    noise = 0.5 * randn(200, 8, 10, seed=5)
    draws = NoiseDraws.given(noise)
    losses = [soft_smoothed_loss(module, x, y, draws).mean().item()]
    for n_steps in (1, 2, 4, 8, 16):
        x_adv = l2_pgd(module, x, y, eps=2.0, noise=noise, n_steps=n_steps, step_size=0.25)
        losses.append(soft_smoothed_loss(module, x_adv, y, draws).mean().item())
    assert np.all(np.diff(losses) > 0)


def test_a_targeted_attack_goes_to_its_target():
    module, x = net(10), randn(100, 10)
    draws = NoiseDraws.given(0.25 * randn(100, 8, 10, seed=5))
    labels = module(x).argmax(1)
    target = (labels + 1) % 3
    x_adv = l2_pgd(module, x, target, eps=10.0, noise=draws, targeted=True, n_steps=30)
    assert (module(x_adv).argmax(1) == target).float().mean() > 0.95
    untargeted = l2_pgd(module, x, labels, eps=10.0, noise=draws, n_steps=30)
    assert (module(untargeted).argmax(1) != labels).float().mean() > 0.95


def test_examples_of_a_batch_are_attacked_independently():
    module, x, noise = net(4), randn(5, 4), 0.5 * randn(5, 3, 4, seed=2)
    y = torch.tensor([0, 1, 2, 0, 1])
    together = l2_pgd(module, x, y, eps=1.0, noise=noise)
    alone = [l2_pgd(module, x[[i]], y[[i]], eps=1.0, noise=noise[[i]]) for i in range(len(x))]
    np.testing.assert_allclose(together, torch.cat(alone), atol=1e-5)


@pytest.mark.parametrize("shape", [(4,), (1, 2, 2)])
@pytest.mark.parametrize("step_size", [None, 0.2])
def test_every_input_may_have_its_own_eps(shape, step_size):
    module, noise = net(4), 0.5 * randn(5, 3, *shape, seed=2)
    x, y = randn(5, *shape), torch.tensor([0, 1, 2, 0, 1])
    eps = torch.tensor([0.0, 0.1, 0.5, 1.0, 5.0])
    options = {"n_steps": 6, "step_size": step_size}
    together = l2_pgd(module, x, y, eps=eps, noise=noise, **options)
    alone = [
        l2_pgd(module, x[[i]], y[[i]], eps=float(eps[i]), noise=noise[[i]], **options)
        for i in range(len(x))
    ]
    np.testing.assert_allclose(together, torch.cat(alone), atol=1e-5)
    reached = lengths(together - x)
    assert (reached <= eps * (1 + 1e-4)).all()
    if step_size is None:
        assert (reached[1:] > 0.5 * eps[1:]).all()


@pytest.mark.parametrize("microbatch", [1, 2, 5])
def test_microbatches_change_nothing(microbatch):
    module, x, y = net(4), randn(5, 4), torch.tensor([0, 1, 2, 0, 1])
    results = [
        l2_pgd(
            module,
            x,
            y,
            eps=1.0,
            sigma=0.5,
            n_noise=5,
            generator=torch.Generator().manual_seed(3),
            microbatch=m,
        )
        for m in (None, microbatch)
    ]
    np.testing.assert_allclose(*results, atol=1e-5)


def test_a_generator_fixes_the_noise_and_no_generator_draws_afresh():
    module, x, y = net(4), randn(5, 4), torch.tensor([0, 1, 2, 0, 1])

    def attack(generator=None):
        return l2_pgd(module, x, y, eps=1.0, sigma=2.0, n_noise=1, generator=generator)

    first, second = (attack(torch.Generator().manual_seed(0)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(attack(), attack())


@pytest.mark.parametrize("training", [True, False])
def test_the_module_is_left_as_it_was(training):
    module = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    module.train(training)
    module[0].weight.grad = torch.ones_like(module[0].weight)
    before = copy.deepcopy(module.state_dict())
    x = randn(5, 4)
    l2_pgd(module, x, torch.tensor([0, 1, 2, 0, 1]), eps=1.0, sigma=0.5)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert module.training is training
    assert torch.equal(module[0].weight.grad, torch.ones_like(module[0].weight))
    assert all(p.grad is None for p in list(module.parameters())[1:])
    assert all(p.requires_grad for p in module.parameters())
    assert x.grad is None
    assert not x.requires_grad


def test_it_works_without_gradients_enabled():
    with torch.no_grad():
        x = randn(3, 4)
        x_adv = l2_pgd(net(4), x, torch.tensor([0, 1, 2]), eps=1.0, sigma=0.5)
    assert (lengths(x_adv - x) > 0.5).all()


def test_very_small_gradients_still_give_a_full_step():
    v = torch.tensor([[1e-30, 0.0], [0.0, 0.0], [3.0, 4.0]])
    np.testing.assert_allclose(unit_l2(v), [[1, 0], [0, 0], [0.6, 0.8]], rtol=1e-6)


def test_projection_leaves_the_inside_alone():
    v = torch.tensor([[0.3, 0.4], [3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(project_l2(v, 1.0), [[0.3, 0.4], [0.6, 0.8], [0, 0]], rtol=1e-6)


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"eps": -1.0}, "eps must be"),
        ({"eps": torch.ones(4)}, r"eps must be a number or a tensor of shape \(5,\)"),
        ({"eps": torch.tensor(1.0)}, r"eps must be a number or a tensor of shape \(5,\)"),
        ({"eps": torch.tensor([1.0, 1, 1, 1, -1])}, "eps must hold finite numbers"),
        ({"eps": torch.tensor([1.0, 1, 1, 1, torch.nan])}, "eps must hold finite numbers"),
        ({"eps": torch.tensor([1.0, 1, 1, 1, torch.inf])}, "eps must hold finite numbers"),
        ({"n_steps": 0}, "n_steps must be"),
        ({"step_size": 0.0}, "step_size must be"),
        ({"n_noise": 0}, "n_noise must be"),
        ({"sigma": 0.0}, "sigma must be"),
        ({"sigma": None}, "sigma must be given"),
        ({"noise": torch.zeros(5, 4)}, "noise must have shape"),
        ({"bounds": (0.0, 0.1)}, "bounds must hold every input"),
    ],
)
def test_bad_parameters_are_refused(kwargs, match):
    kwargs = {"eps": 1.0, "sigma": 0.5} | kwargs
    with pytest.raises(ValueError, match=match):
        l2_pgd(net(4), randn(5, 4), torch.zeros(5, dtype=torch.int64), **kwargs)


@pytest.mark.parametrize(
    "y", [torch.tensor([0, 1]), torch.tensor([0]), torch.zeros(6), [0, 1, 2, 0, 1, 2]]
)
def test_labels_that_are_not_one_for_each_input_are_refused(y):
    with pytest.raises(ValueError, match=r"y must be an int64 tensor of shape \(6,\)"):
        l2_pgd(nn.Linear(4, 3), torch.randn(6, 4), y, eps=1.0, sigma=0.25)


@pytest.mark.parametrize("bounds", [(1.0, 0.0), 5, (0.0,)])
def test_bounds_that_are_no_interval_are_refused(bounds):
    y = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ValueError, match="bounds must be None or"):
        l2_pgd(nn.Linear(4, 3), torch.zeros(2, 4), y, eps=1.0, sigma=0.25, bounds=bounds)


def test_inputs_made_in_inference_mode_are_attacked_as_others():
    module, y = nn.Linear(4, 3), torch.tensor([0, 1])
    with torch.inference_mode():
        x = torch.ones(2, 4)
    kwargs = {"eps": 1.0, "sigma": 0.25}
    one = l2_pgd(module, x, y, generator=torch.Generator().manual_seed(0), **kwargs)
    two = l2_pgd(module, torch.ones(2, 4), y, generator=torch.Generator().manual_seed(0), **kwargs)
    assert torch.equal(one, two)
