"""Values of the objectives against numpy, and the semantics of weights, costs, masks and names."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, logsumexp, softmax
from scipy.stats import norm
from sklearn.base import clone
from torch import nn

from smoothcs.objectives import (
    OBJECTIVES,
    CostSensitiveCrossEntropy,
    CrossEntropy,
    Gaussian,
    Macer,
    MarginCS,
    Objective,
    SmoothAdv,
    SmoothMix,
    TrainingContext,
    resolve_objective,
)

SIGMA = 0.5
# Class 1 is normal; class 0 has two sensitive targets of unequal cost, class 2 has one.
COST = np.array([[0.0, 1.0, 3.0], [0.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
Y = np.array([0, 1, 2, 0, 1, 2])
NAMES = sorted(OBJECTIVES)


def margin_cs(**params):
    """Margin-CS as published, but for its weights and draws."""
    milder = {"lambda_robust": 0.3, "lambda_sensitive": 0.5, "gamma_sensitive": 8.0, "n_noise": 8}
    return MarginCS.published(**{**milder, **params})


@pytest.fixture
def x(rng):
    return rng.normal(size=(6, 4))


@pytest.fixture
def linear(rng):
    module = nn.Linear(4, 3).double()
    with torch.no_grad():
        module.weight.copy_(torch.as_tensor(rng.normal(size=(3, 4))))
        module.bias.copy_(torch.as_tensor(rng.normal(size=3)))
    return module


def context(cost=COST, sigma=SIGMA, seed=0, **kwargs):
    cost = torch.as_tensor(cost, dtype=torch.float32)
    return TrainingContext(sigma, cost, torch.Generator().manual_seed(seed), **kwargs)


def loss_of(objective, module, x, y=Y, sample_weight=None, **kwargs):
    weight = None if sample_weight is None else torch.as_tensor(sample_weight)
    x = torch.as_tensor(x)
    return objective(module, x, torch.as_tensor(y), context(**kwargs), weight).loss.item()


def noisy_logits(module, x, n_noise, sigma=SIGMA, seed=0):
    """Logits (b, n, m) in numpy: draw i of the batch is the i-th randn of the generator."""
    generator = torch.Generator().manual_seed(seed)
    weight, bias = (p.detach().numpy() for p in (module.weight, module.bias))
    draws = [
        torch.randn(x.shape, dtype=torch.float64, generator=generator).numpy()
        for _ in range(n_noise)
    ]
    return np.stack([(x + sigma * d) @ weight.T + bias for d in draws], axis=1)


def hinge(v, lower, upper):
    return np.where((v >= lower) & (v <= upper), np.maximum(upper - v, 0), 0)


def quantiles(logits, beta=16.0):
    return norm.ppf(np.clip(softmax(beta * logits, axis=-1).mean(1), 1e-7, 1 - 1e-7))


def average_cross_entropy(logits, y=Y):
    return -np.log(softmax(logits, axis=-1).mean(1)[np.arange(len(y)), y])


def standard_margins(q, y=Y):
    others = np.array([np.delete(row, label).max() for row, label in zip(q, y, strict=True)])
    return q[np.arange(len(y)), y] - others


# Values -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("weight", "n_noise"), [(1.0, 1), (2.5, 3)])
def test_gaussian_is_the_weighted_mean_cross_entropy_of_the_draws(linear, x, weight, n_noise):
    logits = noisy_logits(linear, x, n_noise)
    ce = -log_softmax(logits, axis=-1)[np.arange(6), :, Y].mean(1)
    expected = (np.where(Y == 1, 1.0, weight) * ce).mean()
    objective = Gaussian(weight_sensitive=weight, n_noise=n_noise)
    assert loss_of(objective, linear, x) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("gamma", [0.5, 4.0, 16.0])
def test_macer_is_cross_entropy_of_the_average_plus_the_radius_hinge(linear, x, gamma):
    x = x / 4  # margins on both sides of 0 and of gamma
    logits = noisy_logits(linear, x, 8)
    v = standard_margins(quantiles(logits))
    assert (v > 0).any()
    assert (v < 0).any()
    terms = average_cross_entropy(logits) + 4.0 * SIGMA / 2 * hinge(v, 0, gamma)
    assert loss_of(Macer(lambda_robust=4.0, gamma=gamma), linear, x) == pytest.approx(
        terms.mean(), rel=1e-6
    )


@pytest.mark.parametrize("objective", [Macer, margin_cs])
def test_noisy_cross_entropy_replaces_only_the_classification_term(linear, x, objective):
    logits = noisy_logits(linear, x, 8)
    noisy = -log_softmax(logits, axis=-1)[np.arange(6), :, Y].mean(1)
    change = (noisy - average_cross_entropy(logits)).mean()
    assert change > 0.01  # Jensen: holding each draw to its label costs more
    assert loss_of(objective(cross_entropy="noisy"), linear, x) == pytest.approx(
        loss_of(objective(), linear, x) + change, rel=1e-6
    )
    with pytest.raises(ValueError, match=r"cross_entropy.*'average', 'noisy'"):
        objective(cross_entropy="soft").validate()


@pytest.mark.parametrize("normal_term", ["normal", "all"])
@pytest.mark.parametrize("sensitive_lower", ["negative-gamma", "zero"])
@pytest.mark.parametrize("margin", ["pairwise", "group"])
@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("normalize_costs", [False, "row", "largest", "mean"])
def test_margin_cs_is_equation_four(
    linear, x, normal_term, sensitive_lower, margin, balanced, normalize_costs
):
    x = x / 4
    gamma_n, gamma_s, lam, lam_s = 3.0, 6.0, 0.7, 1.3
    logits = noisy_logits(linear, x, 8)
    q = quantiles(logits)
    lower = -gamma_s if sensitive_lower == "negative-gamma" else 0.0

    normal, sensitive = 0.0, 0.0
    v = standard_margins(q)
    n_normal = 0
    for i, label in enumerate(Y):
        if normal_term == "all" or label == 1:
            normal += hinge(v[i], 0, gamma_n)
            n_normal += 1
        targets = np.flatnonzero(COST[label])
        if len(targets) == 0:
            continue
        row_sum = COST[label].sum()
        units = {"largest": COST.max(), "mean": COST[COST > 0].mean(), False: 1.0}
        pair = {j: q[i, label] - q[i, j] for j in targets}
        if margin == "pairwise":
            unit = {"row": row_sum, **units}[normalize_costs]
            sensitive += sum(COST[label, j] / unit * hinge(pair[j], lower, gamma_s) for j in pair)
        else:
            unit = {"row": row_sum / len(targets), **units}[normalize_costs]
            j = min(pair, key=pair.get)
            sensitive += COST[label, j] / unit * hinge(pair[j], lower, gamma_s)
    normal /= n_normal if balanced else 6
    sensitive /= 4 if balanced else 6
    expected = average_cross_entropy(logits).mean() + lam * SIGMA / 2 * (normal + lam_s * sensitive)

    objective = margin_cs(
        lambda_robust=lam,
        lambda_sensitive=lam_s,
        gamma_normal=gamma_n,
        gamma_sensitive=gamma_s,
        margin=margin,
        sensitive_lower=sensitive_lower,
        normal_term=normal_term,
        balanced=balanced,
        normalize_costs=normalize_costs,
    )
    assert sensitive > 0
    assert loss_of(objective, linear, x) == pytest.approx(expected, rel=1e-6)


def test_cross_entropy_is_noise_free(linear, x):
    logits = noisy_logits(linear, x, 1, sigma=0.0)[:, 0]
    expected = -log_softmax(logits, axis=-1)[np.arange(6), Y].mean()
    assert loss_of(CrossEntropy(), linear, x) == pytest.approx(expected, rel=1e-12)


def test_cost_sensitive_cross_entropy_is_equation_b1(linear, x):
    f = noisy_logits(linear, x, 1, sigma=0.0)[:, 0]
    expected = np.mean(
        [
            np.log1p(sum(COST[y, j] * np.exp(f[i, j] - f[i, y]) for j in range(3) if j != y))
            for i, y in enumerate(Y)
        ]
    )
    assert loss_of(CostSensitiveCrossEntropy(), linear, x) == pytest.approx(expected, rel=1e-7)


def test_cost_sensitive_cross_entropy_with_unit_costs_is_cross_entropy(linear, x):
    ones = 1 - np.eye(3)
    cost_sensitive = loss_of(CostSensitiveCrossEntropy(), linear, x, cost=ones)
    assert cost_sensitive == pytest.approx(loss_of(CrossEntropy(), linear, x), rel=1e-12)


def numpy_attack(module, x, y, noise, *, n_steps, step_size, beta=0.0, eps=None):
    """Iterates of normalised gradient ascent on -log G_y - beta |x' - x|^2, gradients by hand."""
    weight, bias = (p.detach().numpy() for p in (module.weight, module.bias))
    iterates = [x]
    for _ in range(n_steps):
        x_adv = iterates[-1]
        p = softmax((x_adv[:, None] + noise) @ weight.T + bias, axis=-1)
        p_y = p[np.arange(len(y)), :, y]
        # d p_y / d x = p_y (W_y - sum_k p_k W_k), so d(-log mean p_y) / d x is the ratio of means.
        slope = p_y[..., None] * (weight[y][:, None] - p @ weight)
        gradient = -slope.mean(1) / p_y.mean(1)[:, None] - 2 * beta * (x_adv - x)
        x_adv = x_adv + step_size * gradient / np.linalg.norm(gradient, axis=1, keepdims=True)
        if eps is not None:
            length = np.linalg.norm(x_adv - x, axis=1, keepdims=True)
            x_adv = x + (x_adv - x) * np.minimum(1, eps / length)
        iterates.append(x_adv)
    return iterates


def numpy_noise(x, n_noise, generator):
    draws = [torch.randn(x.shape, dtype=torch.float64, generator=generator) for _ in range(n_noise)]
    return SIGMA * np.stack(draws, axis=1)


@pytest.mark.parametrize(("epoch", "share"), [(0, 0.25), (3, 1.0), (9, 1.0)])
def test_smoothadv_trains_on_inputs_attacked_within_the_warmed_up_radius(linear, x, epoch, share):
    noise = numpy_noise(x, 3, torch.Generator().manual_seed(0))
    eps = 0.8 * share
    x_adv = numpy_attack(linear, x, Y, noise, n_steps=4, step_size=2 * eps / 4, eps=eps)[-1]
    assert np.allclose(np.linalg.norm(x_adv - x, axis=1), eps)
    weight, bias = (p.detach().numpy() for p in (linear.weight, linear.bias))
    ce = -log_softmax((x_adv[:, None] + noise) @ weight.T + bias, axis=-1)
    expected = (np.where(Y == 1, 1, 2) * ce[np.arange(6), :, Y].mean(1)).mean()
    objective = SmoothAdv(eps_attack=0.8, warmup_epochs=4, weight_sensitive=2.0, n_noise=3)
    assert loss_of(objective, linear, x, epoch=epoch) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("one_step", [False, True])
@pytest.mark.parametrize("only_correct", [False, True])
@pytest.mark.parametrize(("epoch", "warm"), [(0, 0.5), (4, 1.0)])
def test_smoothmix_mixes_inputs_and_targets_by_hand(linear, x, one_step, only_correct, epoch, warm):
    generator = torch.Generator().manual_seed(0)
    noise = numpy_noise(x, 3, generator)
    t = torch.rand(6, dtype=torch.float64, generator=generator).numpy() / 2
    weight, bias = (p.detach().numpy() for p in (linear.weight, linear.bias))

    iterates = numpy_attack(linear, x, Y, noise, n_steps=3, step_size=0.4, beta=0.3)
    clean = x + warm * (iterates[1] - x) if one_step else x
    logits = (clean[:, None] + noise) @ weight.T + bias
    g = softmax(logits, axis=-1).mean(1)
    x_mix = (1 - t)[:, None] * clean + t[:, None] * iterates[-1]
    y_mix = (1 - t)[:, None] * g + t[:, None] / 3
    mixed = -(y_mix[:, None] * log_softmax((x_mix[:, None] + noise) @ weight.T + bias, axis=-1))
    mixed = mixed.sum(-1).mean(1)
    if only_correct:
        mixed = mixed * (g.argmax(1) == Y)
    ce = -log_softmax(logits, axis=-1)[np.arange(6), :, Y].mean(1)
    expected = (np.where(Y == 1, 1, 2) * ce + warm * 1.5 * mixed).mean()

    objective = SmoothMix(
        n_steps=3,
        step_size=0.4,
        beta=0.3,
        eta=1.5,
        one_step=one_step,
        only_correct=only_correct,
        warmup_epochs=2,
        weight_sensitive=2.0,
        n_noise=3,
    )
    assert loss_of(objective, linear, x, epoch=epoch) == pytest.approx(expected, rel=1e-9)


# Identities ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [Gaussian, SmoothAdv, SmoothMix])
def test_weight_sensitive_one_ignores_the_costs_exactly(linear, x, family):
    objective = family(weight_sensitive=1.0)
    assert loss_of(objective, linear, x) == loss_of(objective, linear, x, cost=np.zeros((3, 3)))
    heavier = family(weight_sensitive=2.0)
    assert loss_of(heavier, linear, x) > loss_of(objective, linear, x)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("normal_term", ["normal", "all"])
def test_margin_cs_without_sensitive_classes_is_macer_exactly(linear, x, normal_term, balanced):
    macer = Macer(lambda_robust=2.0, gamma=4.0)
    no_costs = margin_cs(
        lambda_robust=2.0, gamma_normal=4.0, normal_term=normal_term, balanced=balanced
    )
    zero = np.zeros((3, 3))
    assert loss_of(no_costs, linear, x, cost=zero) == loss_of(macer, linear, x, cost=zero)


def test_pairwise_and_group_margins_agree_for_one_target(linear, x):
    cost = np.array([[0.0, 0, 5], [0, 0, 0], [0, 0, 0]])
    pair, group = (
        loss_of(margin_cs(margin=margin), linear, x / 4, cost=cost)
        for margin in ("pairwise", "group")
    )
    assert pair == group


def test_each_class_of_a_normalised_uniform_row_counts_as_one_target(linear, x):
    """With 1 or 2 sensitive targets of any equal cost, the normalised costs sum to one."""
    for cost in (1.0, 7.0):
        full = cost * (1 - np.eye(3))
        group = margin_cs(margin="group", normalize_costs="row")
        unit = margin_cs(margin="group")
        normalised = loss_of(group, linear, x / 4, cost=full)
        assert normalised == pytest.approx(loss_of(unit, linear, x / 4, cost=1 - np.eye(3)))


def test_the_published_values_are_one_call_away():
    values = {
        "lambda_robust": 3.0, "lambda_sensitive": 3.0, "gamma_normal": 4.0,
        "gamma_sensitive": 16.0, "n_noise": 16, "inverse_temperature": 16.0,
        "margin": "pairwise", "cross_entropy": "average", "normalize_costs": False,
    }  # fmt: skip
    published = MarginCS.published()
    assert {name: getattr(published, name) for name in values} == values
    assert MarginCS.published(n_noise=4, margin="group").get_params() == {
        **published.get_params(), "n_noise": 4, "margin": "group",
    }  # fmt: skip


@pytest.mark.parametrize(("of_costs", "cost"), [("largest", 10.0), ("mean", 5.5)])
def test_the_unit_of_the_costs_leaves_ratios_alone(linear, x, of_costs, cost):
    dear = np.array([[0.0, 10, 0], [1, 0, 0], [0, 0, 0]])
    objective = margin_cs(normalize_costs=of_costs)
    expected = loss_of(margin_cs(normalize_costs=False), linear, x / 4, cost=dear / cost)
    for unit in (1.0, 1000.0):
        assert loss_of(objective, linear, x / 4, cost=unit * dear) == pytest.approx(expected)
    # Costs of the examples come scaled to a mean of 1, and stay.
    rows = torch.tensor(dear[Y])
    own = [
        loss_of(margin_cs(normalize_costs=unit), linear, x / 4, cost=dear, costs=rows)
        for unit in (of_costs, False)
    ]
    assert own[0] == own[1] > expected


# Costs and masks ----------------------------------------------------------------------------------


def test_cost_values_change_the_margin_loss_linearly(linear, x):
    cost = np.array([[0.0, 1, 0], [0, 0, 0], [0, 0, 0]])
    at_0, at_1, at_10 = (
        loss_of(margin_cs(normal_term="all"), linear, x / 4, cost=c * cost) for c in (0, 1, 10)
    )
    assert at_1 > at_0
    assert at_10 - at_0 == pytest.approx(10 * (at_1 - at_0), rel=1e-5)


@pytest.mark.parametrize("y_sensitive", [0, 2])
def test_the_sensitive_mask_selects_examples_by_class_not_rows_zero_and_one(linear, x, y_sensitive):
    """An integer mask used as an index would reweight rows 0 and 1 whatever their class."""
    y = np.array([1, 1, y_sensitive, 1, y_sensitive, 1])
    cost = np.zeros((3, 3))
    cost[y_sensitive, 1] = 1.0
    ce = -log_softmax(noisy_logits(linear, x, 1), axis=-1)[np.arange(6), 0, y]
    expected = (ce.sum() + 9 * ce[[2, 4]].sum()) / 6
    objective = Gaussian(weight_sensitive=10.0)
    assert loss_of(objective, linear, x, y=y, cost=cost) == pytest.approx(expected, rel=1e-12)


def test_only_sensitive_examples_get_the_sensitive_hinge(linear, x):
    """Margin-CS on a batch is the sum of Margin-CS on its halves, each masked for itself."""
    y = np.array([1, 1, 1, 0, 0, 0])
    weight_first, weight_last = np.repeat([1.0, 0.0], 3), np.repeat([0.0, 1.0], 3)
    normal_only = margin_cs(lambda_sensitive=0.0)
    with_sensitive = margin_cs(lambda_sensitive=5.0)
    args = (linear, x / 4, y)
    assert loss_of(with_sensitive, *args, weight_first) == loss_of(normal_only, *args, weight_first)
    assert loss_of(with_sensitive, *args, weight_last) > loss_of(normal_only, *args, weight_last)


# Sample weights -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_weights_of_one_change_nothing(linear, x, name):
    objective = resolve_objective(name)
    assert loss_of(objective, linear, x, sample_weight=np.ones(6)) == loss_of(objective, linear, x)


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_is_linear_in_the_weights(linear, x, name):
    """An integer weight counts as copies under the same noise; the divisor stays the batch size."""
    objective = resolve_objective(name)
    single = [loss_of(objective, linear, x, sample_weight=np.eye(6)[i]) for i in range(6)]
    weight = np.array([0.0, 1, 2, 3, 0.5, 1])
    total = loss_of(objective, linear, x, sample_weight=weight)
    assert total == pytest.approx(np.dot(weight, single), rel=1e-6)


@pytest.mark.parametrize("objective", [CrossEntropy(), CostSensitiveCrossEntropy()])
def test_integer_weights_are_repetitions_up_to_the_batch_size(linear, x, objective):
    weight = np.array([2.0, 1, 0, 3, 1, 1])
    repeated = np.repeat(np.arange(6), weight.astype(int))
    copies = loss_of(objective, linear, x[repeated], y=Y[repeated])
    weighted = loss_of(objective, linear, x, sample_weight=weight)
    assert weighted * 6 == pytest.approx(copies * len(repeated), rel=1e-12)


# Output, names, parameters ------------------------------------------------------------------------


def test_the_logits_for_logging_are_the_log_of_the_averaged_prediction(linear, x):
    y = torch.as_tensor(Y)
    output = margin_cs(n_noise=5)(linear, torch.as_tensor(x), y, context())
    expected = softmax(noisy_logits(linear, x, 5), axis=-1).mean(1)
    np.testing.assert_allclose(output.logits.exp().numpy(), expected, rtol=1e-9)
    assert not output.logits.requires_grad
    assert output.loss.shape == ()


def test_every_name_gives_a_fresh_valid_object():
    for name in NAMES:
        objective = resolve_objective(name)
        objective.validate()
        assert objective is not resolve_objective(name)
        assert getattr(objective, "weight_sensitive", 1.0) == (
            2.0 if name[-3:] == "-cs" and name != "margin-cs" else 1.0
        )


def test_an_object_is_passed_through():
    objective = margin_cs(lambda_sensitive=7.0)
    assert resolve_objective(objective) is objective


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(
        ValueError, match=r"objective must be one of .*'margin-cs'.*got 'margin_cs'"
    ):
        resolve_objective("margin_cs")


@pytest.mark.parametrize("wrong", [3, None, MarginCS])
def test_neither_a_name_nor_an_object_is_a_type_error(wrong):
    with pytest.raises(TypeError, match="objective must be a name or an Objective"):
        resolve_objective(wrong)


@pytest.mark.parametrize("name", NAMES)
def test_objectives_clone_and_set_params(name):
    objective = resolve_objective(name)
    for key, value in clone(objective).get_params().items():
        assert getattr(objective, key) == value
        objective.set_params(**{key: value})


@pytest.mark.parametrize(
    ("objective", "match"),
    [
        (Gaussian(weight_sensitive=0.5), "weight_sensitive"),
        (Gaussian(n_noise=0), "n_noise"),
        (Macer(gamma=0.0), "gamma"),
        (Macer(lambda_robust=-1.0), "lambda_robust"),
        (Macer(inverse_temperature=float("nan")), "inverse_temperature"),
        (margin_cs(gamma_normal=-1.0), "gamma_normal"),
        (margin_cs(gamma_sensitive=float("inf")), "gamma_sensitive"),
        (margin_cs(lambda_sensitive=-1.0), "lambda_sensitive"),
        (margin_cs(margin="both"), "margin"),
        (margin_cs(sensitive_lower=0), "sensitive_lower"),
        (margin_cs(normal_term="none"), "normal_term"),
        (margin_cs(balanced="yes"), "balanced"),
        (margin_cs(microbatch=0), "microbatch"),
        (SmoothAdv(eps_attack=0.0), "eps_attack"),
        (SmoothAdv(n_steps=0), "n_steps"),
        (SmoothAdv(step_size=-1.0), "step_size"),
        (SmoothAdv(warmup_epochs=-1), "warmup_epochs"),
        (SmoothMix(beta=-1.0), "beta"),
        (SmoothMix(eta=-1.0), "eta"),
        (SmoothMix(one_step=1), "one_step"),
    ],
)
def test_a_bad_parameter_is_refused_by_name_at_the_call(linear, x, objective, match):
    with pytest.raises(ValueError, match=rf"^{match} must be"):
        loss_of(objective, linear, x)


def test_labels_must_be_class_indices_of_the_batch(linear, x):
    for y in (Y.astype(float), Y[:4]):
        with pytest.raises(ValueError, match="y must be int64 class indices of shape"):
            loss_of(Gaussian(), linear, x, y=y)


@pytest.mark.parametrize("name", ["gaussian", "macer", "ce", "smoothmix"])
def test_a_module_with_the_wrong_output_is_refused(x, name):
    for module, got in (
        (nn.Linear(4, 5).double(), r"\(6, 3\); got shape \(6, 5\)|\(\d+, 3\); got shape"),
        (nn.Sequential(nn.Linear(4, 3).double(), nn.Flatten(0)), "got shape"),
    ):
        with pytest.raises(ValueError, match=got):
            loss_of(resolve_objective(name), module, x)


def test_the_base_class_asks_for_its_two_hooks(linear, x):
    class Halved(Objective):
        def validate(self):
            pass

        def per_example(self, module, x, y, context):
            logits = module(x)
            return torch.full_like(logits[:, 0], 0.5), logits

    assert loss_of(resolve_objective(Halved()), linear, x) == 0.5
    with pytest.raises(NotImplementedError):
        Objective().validate()


def test_logsumexp_form_survives_far_logits():
    """The average of softmaxes is taken in logarithms: G_y = exp(-2e4) has a finite -log."""
    from smoothcs._soft import soft_log_prediction

    logits = np.array([[[1e4, -1e4, 0.0], [1e4, -1e4, 50.0]]])
    got = soft_log_prediction(torch.as_tensor(logits)).numpy()
    expected = logsumexp(log_softmax(logits, axis=-1), axis=1) - np.log(2)
    np.testing.assert_allclose(got, expected, rtol=1e-12)
