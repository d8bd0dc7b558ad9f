"""Gradients, noise layout, microbatches and running statistics."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from torch import nn

from smoothcs._soft import (
    NoiseDraws,
    frozen_running_statistics,
    noisy_logits,
    normal_quantile,
    soft_prediction,
)
from smoothcs.modules import MLP
from smoothcs.objectives import OBJECTIVES, Macer, MarginCS, TrainingContext, resolve_objective
from smoothcs.objectives._losses import margin_loss
from smoothcs.objectives.base import NoisyObjective

NOISY = [name for name in sorted(OBJECTIVES) if isinstance(OBJECTIVES[name](), NoisyObjective)]
COST = torch.tensor([[0.0, 1.0, 3.0], [0.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
Y = torch.tensor([0, 1, 2, 0, 1, 2])


def context(sigma=0.5, seed=0):
    return TrainingContext(sigma, COST, torch.Generator().manual_seed(seed))


def randn(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def small_net(n_features=4):
    torch.manual_seed(3)
    return MLP(n_features, 3, hidden=(8,))


def gradients(objective, module, x, **kwargs):
    module.zero_grad()
    output = objective(module, x, Y, context(**kwargs))
    output.loss.backward()
    return output.loss.detach(), torch.cat([p.grad.flatten() for p in module.parameters()])


# Finite everywhere --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_quantile_and_slope_are_finite_at_the_clamps(dtype):
    p = torch.tensor([0.0, 1e-7, 0.3, 0.5, 1 - 1e-7, 1.0], dtype=dtype, requires_grad=True)
    z = normal_quantile(p)
    z.sum().backward()
    assert torch.isfinite(z).all()
    assert torch.isfinite(p.grad).all()
    tolerance = 1e-9 if dtype == torch.float64 else 2e-2
    expected = norm.ppf([1e-7, 1e-7, 0.3, 0.5, 1 - 1e-7, 1 - 1e-7])
    np.testing.assert_allclose(z.detach().numpy(), expected, rtol=tolerance)
    inside = [2, 3]
    np.testing.assert_allclose(p.grad.numpy()[inside], 1 / norm.pdf(expected[inside]), rtol=1e-6)


class Fixed(nn.Module):
    """Logits that ignore the input; the rows are the parameters."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, x):
        return self.logits.repeat(len(x) // len(self.logits), 1) + 0 * x.flatten(1).sum(1)[:, None]


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
@pytest.mark.parametrize("size", [0.0, 1.0, 16.0, 1e4])
def test_loss_and_gradients_are_finite_for_extreme_logits(name, size):
    logits = size * torch.tensor(
        [[1.0, -1, 0], [1, -1, 0], [1, -1, 0], [-1, 1, 1], [-1, 1, -1], [0, 0, 0]]
    )
    loss, gradient = gradients(resolve_objective(name), Fixed(logits), randn(6, 4))
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize(
    "p", [[0.0, 1.0, 0.0], [1e-7, 1 - 1e-7, 0.0], [1 - 1e-7, 1e-7, 0.0], [1.0, 0.0, 0.0]]
)
def test_gradients_are_finite_at_probabilities_on_the_clamps(p):
    logits = torch.tensor(p).log().clamp(min=-1e4).expand(6, 3).clone() / 16
    for objective in (Macer(gamma=20.0), MarginCS(gamma_sensitive=20.0)):
        loss, gradient = gradients(objective, Fixed(logits), randn(6, 4))
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()


def test_the_margin_gradient_flows_through_both_quantiles():
    """d v / d logits for one draw, against the closed form beta p_k (...) / phi(PhiInv(p))."""
    logits = torch.tensor([[[0.02, -0.03, 0.01]]], dtype=torch.float64, requires_grad=True)
    p = soft_prediction(logits, 16.0)
    z = normal_quantile(p)
    (z[0, 0] - z[0, 2]).backward()
    q = p.detach().numpy()[0]
    slope = 1 / norm.pdf(norm.ppf(q))
    jacobian = 16 * (np.diag(q) - np.outer(q, q))
    expected = slope[0] * jacobian[0] - slope[2] * jacobian[2]
    np.testing.assert_allclose(logits.grad.numpy()[0, 0], expected, rtol=1e-9)


@pytest.mark.parametrize("v", [-16.01, -16.0, 0.0, 15.9, 16.0, 16.1])
def test_margin_loss_is_zero_outside_its_interval(v):
    loss = margin_loss(torch.tensor(v), -16.0, 16.0)
    assert loss == pytest.approx(16.0 - v if -16 <= v <= 16 else 0.0, abs=1e-5)


def test_misclassified_sensitive_inputs_move_only_with_the_negative_lower_end():
    wrong = Fixed(torch.tensor([[0.0, 0.2, 0.0]]).repeat(6, 1))
    y = torch.zeros(6, dtype=torch.int64)
    gradient = {}
    for lower in ("negative-gamma", "zero"):
        for weight in (0.0, 1.0):
            wrong.zero_grad()
            objective = MarginCS(lambda_robust=weight, sensitive_lower=lower)
            objective(wrong, randn(6, 4), y, context()).loss.backward()
            gradient[lower, weight] = wrong.logits.grad[0, 1].item()
    assert gradient["negative-gamma", 1.0] > gradient["negative-gamma", 0.0]
    # Target 1 lies below the lower end 0; target 2 ties with y, which cancels in logit 1.
    assert gradient["zero", 1.0] == pytest.approx(gradient["zero", 0.0], abs=1e-7)


# Noise --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 7), (5, 2, 3, 4)])
@pytest.mark.parametrize("microbatch", [None, 1, 2, 3])
def test_draw_i_of_example_j_belongs_to_example_j(shape, microbatch):
    """With negligible noise every draw of example j must show example j's own value."""
    x = torch.arange(5.0).view(-1, *[1] * (len(shape) - 1)).expand(shape).contiguous()

    class Echo(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :3]

    draws = NoiseDraws(x, 4, 1e-6, torch.Generator().manual_seed(0), microbatch)
    logits = noisy_logits(Echo(), x, draws)
    assert logits.shape == (5, 4, 3)
    np.testing.assert_allclose(logits, x.flatten(1)[:, None, :3].expand(5, 4, 3), atol=1e-4)


@pytest.mark.parametrize("microbatch", [None, 1, 3, 4, 9])
def test_noise_is_the_generators_stream_however_it_is_grouped(microbatch):
    x = randn(5, 7)
    generator, reference = (torch.Generator().manual_seed(4) for _ in range(2))
    draws = NoiseDraws(x, 4, 0.5, generator, microbatch)
    expected = torch.stack([0.5 * torch.randn(x.shape, generator=reference) for _ in range(4)])
    for _ in range(2):
        again = torch.cat([draws.chunk(start) for start in draws.chunks()])
        assert torch.equal(again, expected)
    assert torch.equal(torch.rand(3, generator=generator), torch.rand(3, generator=reference))


def test_every_example_and_every_call_has_its_own_noise():
    x = torch.zeros(4, 50)
    generator = torch.Generator().manual_seed(0)
    first, second = (NoiseDraws(x, 3, 1.0, generator).chunk(0) for _ in range(2))
    rows = torch.cat([first, second]).flatten(0, 1)
    assert len(torch.unique(rows, dim=0)) == 2 * 3 * 4


def test_noise_has_the_asked_standard_deviation():
    noise = NoiseDraws(torch.zeros(100, 100), 20, 0.3, torch.Generator().manual_seed(0)).chunk(0)
    # 200,000 values: the standard error of the standard deviation is 0.3 / sqrt(400,000).
    assert noise.std().item() == pytest.approx(0.3, abs=5 * 0.3 / 400_000**0.5)


# Microbatches -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NOISY)
@pytest.mark.parametrize("microbatch", [1, 2, 5, 9])
@pytest.mark.parametrize("shape", [(6, 4), (6, 1, 2, 2)])
def test_microbatches_change_neither_loss_nor_gradient(name, microbatch, shape):
    module, x = small_net(), randn(*shape)
    whole = resolve_objective(name).set_params(n_noise=5)
    split = resolve_objective(name).set_params(n_noise=5, microbatch=microbatch)
    loss, gradient = gradients(whole, module, x)
    split_loss, split_gradient = gradients(split, module, x)
    assert split_loss.item() == pytest.approx(loss.item(), abs=1e-5)
    np.testing.assert_allclose(split_gradient, gradient, atol=1e-5)
    assert gradient.abs().max() > 1e-3


@given(n_noise=st.integers(1, 6), microbatch=st.integers(1, 7), seed=st.integers(0, 1000))
def test_microbatch_equality_holds_for_any_split(n_noise, microbatch, seed):
    module, x = small_net(), randn(6, 4)
    results = [
        gradients(MarginCS(n_noise=n_noise, microbatch=m), module, x, seed=seed)
        for m in (None, microbatch)
    ]
    assert results[0][0].item() == pytest.approx(results[1][0].item(), abs=1e-5)
    np.testing.assert_allclose(results[0][1], results[1][1], atol=1e-5)


class CountsRows(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.rows = []

    def forward(self, x):
        self.rows.append(len(x))
        return self.linear(x)


@pytest.mark.parametrize("name", NOISY)
def test_no_forward_sees_more_than_a_microbatch_of_draws(name):
    module = CountsRows()
    objective = resolve_objective(name).set_params(n_noise=7, microbatch=2)
    objective(module, randn(6, 4), Y, context()).loss.backward()
    assert max(module.rows) == 2 * 6


def test_activations_kept_for_backward_do_not_grow_with_n_noise():
    """Largest amount of saved activations alive at once, seen through saved-tensor hooks."""

    def kept(n_noise):
        total = 0

        def pack(tensor):
            nonlocal total
            total += tensor.numel()
            return tensor

        module = MLP(4, 3, hidden=(256,))
        objective = MarginCS(n_noise=n_noise, microbatch=2)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            objective(module, randn(6, 4), Y, context())
        return total

    hidden_per_draw = 6 * 256
    assert kept(32) - kept(4) < 28 * hidden_per_draw / 4


# Batch normalisation ------------------------------------------------------------------------------


def batch_norm_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


@pytest.mark.parametrize("training", [True, False])
def test_freezing_running_statistics_changes_no_output(training):
    module, x = batch_norm_net().train(training), randn(6, 4)
    expected = copy.deepcopy(module)(x)
    before = copy.deepcopy(module.state_dict())
    with frozen_running_statistics(module):
        assert torch.equal(module(x), expected)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert module[1].momentum == 0.1


def test_statistics_are_tracked_again_after_an_error():
    module = batch_norm_net().train()
    with pytest.raises(RuntimeError), frozen_running_statistics(module):
        module(randn(6, 5))
    assert module[1].momentum == 0.1
    assert module[1].num_batches_tracked == 0


def test_recomputation_does_not_count_a_batch_twice():
    module = batch_norm_net().train()
    MarginCS(n_noise=6, microbatch=2)(module, randn(6, 4), Y, context()).loss.backward()
    assert module[1].num_batches_tracked == 3


@pytest.mark.parametrize(("name", "passes"), [("smoothadv", 1), ("smoothmix", 2)])
def test_only_training_passes_update_running_statistics(name, passes):
    module = batch_norm_net().train()
    resolve_objective(name)(module, randn(6, 4), Y, context())
    assert module[1].num_batches_tracked == passes


# Detachment ---------------------------------------------------------------------------------------


def test_smoothmix_targets_and_mixed_inputs_carry_no_gradient():
    """The gradient of the loss equals that of the loss with x_mix and y_mix held constant."""
    module, x = small_net().double(), randn(6, 4).double()
    objective = resolve_objective("smoothmix").set_params(warmup_epochs=0, eta=2.0, n_noise=2)
    seen = []
    handle = module.register_forward_hook(lambda _, args, out: seen.append((args[0], out)))
    loss, gradient = gradients(objective, module, x)
    handle.remove()
    clean_in, clean_out = seen[-2]
    mix_in, _ = seen[-1]
    assert not mix_in.requires_grad
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        torch.randn(x.shape, dtype=x.dtype, generator=generator)
    t = torch.rand(6, dtype=x.dtype, generator=generator) / 2
    assert ((t >= 0) & (t <= 0.5)).all()
    g = clean_out.detach().softmax(1).view(2, 6, 3).mean(0)
    target = ((1 - t)[:, None] * g + t[:, None] / 3).repeat(2, 1)
    by_hand = nn.functional.cross_entropy(module(clean_in), Y.repeat(2))
    by_hand = by_hand + 2.0 * nn.functional.cross_entropy(module(mix_in), target)
    module.zero_grad()
    by_hand.backward()
    expected = torch.cat([p.grad.flatten() for p in module.parameters()])
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-9)
    np.testing.assert_allclose(gradient, expected, rtol=1e-7, atol=1e-12)


# Precision ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_half_precision_logits_give_a_single_precision_loss(name):
    module = small_net()

    class Half(nn.Module):
        def forward(self, x):
            return module(x).bfloat16()

    objective = resolve_objective(name)
    half = objective(Half(), randn(6, 4), Y, context()).loss
    full = objective(module, randn(6, 4), Y, context()).loss
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(full.item(), rel=0.1)
