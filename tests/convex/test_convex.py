"""Convex relaxation: are the bounds sound, the objectives the paper's, the refusals clear?"""

import itertools
import pickle
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from _small import ListDataset
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import linprog
from sklearn.base import clone
from sklearn.datasets import load_digits, make_blobs
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from smoothcs import CostMatrix, best_under, certified_scorer, rob_cs_scorer
from smoothcs.convex import ConvexRelaxationClassifier
from smoothcs.convex._bounds import certified_lower_bounds, lower_bounds, plain_sequential
from smoothcs.convex._margins import CertifiedMargins
from smoothcs.convex._objectives import CostSensitiveRobust, OverallRobust, TrainingBall
from smoothcs.modules import MLP, small_conv
from smoothcs.objectives.base import TrainingContext

CPU = torch.device("cpu")


def margins_of(module, x, rows, *, eps, norm="linf", bounds=None):
    return certified_lower_bounds(
        module.double(), x, rows, eps=eps, norm=norm, bounds=bounds, device=CPU
    )


def random_problem(seed, module, shape, n, n_classes):
    torch.manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.normal_(layer.bias)
    generator = np.random.default_rng(seed)
    return generator.random((n, *shape)), generator.integers(n_classes, size=n)


def differences(logits, rows):
    """z_row - z_j for every target j."""
    return np.take_along_axis(logits, rows[:, None], axis=1) - logits


# ------------------------------------------------------------------ soundness


def conv_net():
    return nn.Sequential(
        nn.Conv2d(1, 4, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 8, 2, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32, 16),
        nn.ReLU(),
        nn.Linear(16, 10),
    )


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    # 2,000 and more inputs: every digit, and some of them shifted by one pixel.
    return np.concatenate([X, np.roll(X, 1, axis=3)[:253]]), np.concatenate([y, y[:253]])


EPS = {"linf": 0.05, "l2": 0.25}


@pytest.fixture(scope="module", params=["linf", "l2"])
def trained(request, digits):
    norm = request.param
    params = {"alpha_robust": 0.02, "lr": 0.01, "max_epochs": 3, "batch_size": 100}
    clf = ConvexRelaxationClassifier(conv_net, eps=EPS[norm], norm=norm, random_state=0, **params)
    return clf.fit(*digits)


def project(delta, eps, norm):
    if norm == "linf":
        return delta.clamp(-eps, eps)
    length = delta.flatten(1).norm(dim=1).clamp_min(1e-300)[:, None, None, None]
    return delta * (eps / length).clamp_max(1.0)


def least_found(module, X, y, targets, *, eps, norm, seed):
    """The least logit differences (n, m) at 25 random and 25 PGD points within the ball."""
    module = plain_sequential(module).double()
    generator = torch.Generator().manual_seed(seed)
    x, rows = torch.as_tensor(X).double(), torch.as_tensor(y)
    least = torch.full((len(x), 10), torch.inf, dtype=torch.float64)

    def visit(delta):
        # A hair inside, so that rounding does not carry a point out of the ball.
        logits = module(x + delta * (1 - 1e-12))
        found = logits.gather(1, rows[:, None]) - logits
        least.copy_(torch.minimum(least, found.detach()))
        return found

    with torch.no_grad():
        for _ in range(25):
            delta = torch.randn(x.shape, generator=generator, dtype=torch.float64)
            visit(eps * delta.sign() if norm == "linf" else project(1e9 * delta, eps, norm))
    delta = project(torch.randn(x.shape, generator=generator, dtype=torch.float64), eps, norm)
    for _ in range(25):
        delta.requires_grad_()
        loss = visit(delta).gather(1, torch.as_tensor(targets)[:, None]).sum()
        (gradient,) = torch.autograd.grad(loss, delta)
        step = gradient.sign() if norm == "linf" else project(1e9 * gradient, 1.0, norm)
        delta = project(delta.detach() - eps / 4 * step, eps, norm)
    return least.numpy()


def test_no_point_of_the_ball_beats_a_bound(trained, digits):
    X, y = digits
    assert len(X) >= 2_000
    margins = trained.certify(X, y)
    targets = np.nanargmin(margins, axis=1)
    attack = {"norm": trained.norm, "seed": 1}
    found = least_found(trained.module_, X, y, targets, eps=trained.eps, **attack)
    others = ~np.isnan(margins)
    assert others.sum() == 9 * len(X)
    assert (margins[others] <= found[others]).all()
    # The bounds are not sound for being empty, nor the attack harmless for being weak: bounds for
    # four fifths of the radius would be beaten.
    assert (margins[others] > 0).mean() > 0.8
    too_small = trained.certify(X, y, eps=0.8 * trained.eps)
    assert (too_small[others] > found[others]).mean() > 0.05


def test_a_certified_input_keeps_its_class_under_attack(trained, digits):
    X, _ = digits
    label = trained.predict(X)
    margins = trained.certify(X)  # without y: against the predicted class
    least = np.nanmin(margins, axis=1)
    certified = least > 0
    assert 0.3 < certified.mean() < 1
    found = least_found(
        trained.module_, X, label, np.nanargmin(margins, axis=1), eps=trained.eps,
        norm=trained.norm, seed=2,
    )  # fmt: skip
    found[np.arange(len(X)), label] = np.inf
    assert (found[certified] > 0).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("hidden", [(30,), (20, 20), (10, 10, 10)])
def test_bounds_of_untrained_networks_are_sound_however_large_the_ball(norm, hidden):
    module = MLP(6, 10, hidden)
    X, y = random_problem(len(hidden), module, (6, 1, 1), 300, 10)
    for eps in (0.01, 0.3, 3.0):
        margins = margins_of(module, X, y, eps=eps, norm=norm)
        found = least_found(module, X, y, (y + 1) % 10, eps=eps, norm=norm, seed=3)
        assert (margins <= found).all()


# ------------------------------------------------------------------ exactness


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("eps", [0.03, 0.5])
def test_a_linear_network_is_bounded_exactly(norm, eps):
    module = MLP(12, 4, hidden=()).double()
    X, y = random_problem(0, module, (12,), 50, 4)
    W = module[1].weight.detach().numpy()
    logits = X @ W.T + module[1].bias.detach().numpy()
    dual_norm = np.linalg.norm(W[y][:, None] - W, ord=1 if norm == "linf" else 2, axis=2)
    exact = differences(logits, y) - eps * dual_norm
    margins = margins_of(module, X, y, eps=eps, norm=norm)
    assert_allclose(margins, exact, atol=1e-5)
    assert (margins <= exact).all()


def test_bounds_of_the_input_range_clip_the_ball_of_a_linear_network():
    module = MLP(12, 4, hidden=()).double()
    X, y = random_problem(1, module, (12,), 50, 4)
    W = module[1].weight.detach().numpy()
    b = module[1].bias.detach().numpy()
    difference = W[y][:, None] - W
    low, high = np.maximum(X - 0.4, 0)[:, None], np.minimum(X + 0.4, 1)[:, None]
    exact = np.where(difference > 0, low, high) * difference
    exact = exact.sum(axis=2) + b[y][:, None] - b
    margins = margins_of(module, X, y, eps=0.4, bounds=(0.0, 1.0))
    assert_allclose(margins, exact, atol=1e-5)


def affine_pieces(layers, pattern):
    """Each layer's pre-activations as an affine map A x + c, for one pattern of active ReLUs."""
    A, c, pieces, active = np.eye(layers[0].in_features), 0.0, [], iter(pattern)
    for layer in layers[:-1]:
        W, b = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        A, c = W @ A, W @ c + b if np.ndim(c) else b
        on = np.array(list(itertools.islice(active, len(b))), dtype=bool)
        pieces.append((A, c, on))
        A, c = A * on[:, None], c * on
    W, b = layers[-1].weight.detach().numpy(), layers[-1].bias.detach().numpy()
    return pieces, W @ A, W @ c + b


def exact_minimum(layers, low, high, row, target):
    """min z_row - z_target over a box: the least over all activation patterns, each one an LP."""
    n_hidden = sum(layer.out_features for layer in layers[:-1])
    least = np.inf
    for pattern in itertools.product([False, True], repeat=n_hidden):
        pieces, A, c = affine_pieces(layers, pattern)
        # active: A x + c >= 0; inactive: A x + c <= 0
        A_ub = np.concatenate([np.where(on[:, None], -P, P) for P, _, on in pieces])
        b_ub = np.concatenate([np.where(on, q, -q) for _, q, on in pieces])
        result = linprog(
            A[row] - A[target], A_ub=A_ub, b_ub=b_ub, bounds=list(zip(low, high, strict=True))
        )
        assert result.status in (0, 2)  # solved, or no input has this pattern
        if result.status == 0:
            least = min(least, result.fun + c[row] - c[target])
    return least


@pytest.mark.parametrize("hidden", [(4,), (6,), (3, 4)])
@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)])
def test_bounds_never_exceed_the_exact_minimum_of_a_tiny_network(hidden, bounds):
    module = MLP(3, 3, hidden).double()
    X, y = random_problem(sum(hidden), module, (3,), 4, 3)
    layers = [layer for layer in module if isinstance(layer, nn.Linear)]
    gaps = []
    for eps in (0.05, 0.4):
        margins = margins_of(module, X, y, eps=eps, bounds=bounds)
        for x, row, bound in zip(X, y, margins, strict=True):
            low, high = x - eps, x + eps
            if bounds is not None:
                low, high = low.clip(*bounds), high.clip(*bounds)
            target = (row + 1) % 3
            exact = exact_minimum(layers, low, high, row, target)
            gaps.append(exact - bound[target])
    assert min(gaps) >= 0
    assert min(gaps) < 1e-6  # where no ReLU can change its sign, the bound is the minimum itself


def test_margins_fall_as_the_ball_grows_and_start_at_the_logits():
    module = MLP(5, 3, (8,)).double()
    X, y = random_problem(3, module, (5,), 20, 3)
    logits = module(torch.as_tensor(X)).detach().numpy()
    steps = [margins_of(module, X, y, eps=eps) for eps in (1e-9, 0.01, 0.1, 1.0)]
    assert_allclose(steps[0], differences(logits, y), atol=1e-6)
    off_diagonal = np.arange(3) != y[:, None]
    for wide, narrow in itertools.pairwise(reversed(steps)):
        assert (wide < narrow)[off_diagonal].all()


def test_bounds_do_not_depend_on_the_batch(trained, digits):
    X, y = digits[0][:60].copy(), digits[1][:60]
    whole = trained.certify(X, y)
    one_by_one = clone(trained).set_params(certify_batch_size=1)
    one_by_one.__dict__.update({k: v for k, v in vars(trained).items() if k.endswith("_")})
    assert_allclose(one_by_one.certify(X, y), whole, atol=1e-8)
    assert_allclose(trained.certify(X[::-1], y[::-1])[::-1], whole, atol=1e-8)
    X.flags.writeable = False
    assert_array_equal(trained.certify(X, y), whole)


# ------------------------------------------------------------------ no bound, no certificate


@pytest.fixture
def blobs():
    return make_blobs(90, centers=3, n_features=4, random_state=0, cluster_std=1.0)


def fast(**params):
    params = {"net_params": {"module__hidden": (8,)}, "random_state": 0, "lr": 0.02, **params}
    return ConvexRelaxationClassifier(**{"max_epochs": 5, **params})


@pytest.mark.filterwarnings("ignore::smoothcs.exceptions.UninformativeWarning")
@pytest.mark.parametrize("layer", [1, 3])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_bound_that_is_not_finite_certifies_nothing(blobs, layer, value):
    X, y = blobs
    clf = fast().fit(X, y)
    assert clf.score(X, y) > 0
    with torch.no_grad():
        clf.module_[layer].bias[0] = value
        if layer == 1:  # a ReLU that nothing reads: the logits stay finite
            clf.module_[3].weight[:, 0] = 0
    margins = clf.certify(X, y)
    assert_array_equal(np.isneginf(margins), np.arange(3) != y[:, None])
    assert clf.score(X, y) == 0
    assert clf.score(X, y, metric="certified_accuracy") == 0
    assert clf.score(X, y, metric="rob_cost") == 2


def test_a_bound_that_overflows_inside_the_network_certifies_nothing():
    # At x = 0 every layer is 0 and class 0 leads by its bias; to the right, class 1 is far ahead.
    # The lower bound of the ninth layer is 0 * inf = nan, for which its ReLU would count as off.
    module = MLP(1, 2, (1,) * 9)
    with torch.no_grad():
        for layer in module:
            if isinstance(layer, nn.Linear):
                layer.weight.fill_(1e38)
                layer.bias.zero_()
        module[-1].weight.copy_(torch.tensor([[-1.0], [1.0]]))
        module[-1].bias.copy_(torch.tensor([1.0, 0.0]))
    margins = margins_of(module, np.zeros((1, 1)), np.array([0]), eps=0.1, bounds=(0.0, 1.0))
    assert margins[0, 1] == -np.inf


def test_an_input_that_is_not_finite_is_refused_or_not_certified(blobs):
    X, y = blobs
    clf = fast().fit(X, y)
    broken = X.copy()
    broken[1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        clf.certify(broken, y)
    rows = [(x, label) for x, label in zip(broken.astype(np.float32), y, strict=True)]
    margins = clf.certify(ListDataset(rows), y)
    assert not (margins[1] > 0).any()


def test_projections_train_and_never_certify(digits):
    X, y = digits[0][:300], digits[1][:300]
    params = {"eps": 0.05, "lr": 0.01, "max_epochs": 2, "random_state": 0, "alpha_robust": 0.1}
    projected = ConvexRelaxationClassifier(conv_net, projection=8, **params).fit(X, y)
    exact = ConvexRelaxationClassifier(conv_net, **params).fit(X, y)
    assert projected.history_[-1]["train_loss"] != exact.history_[-1]["train_loss"]
    assert_array_equal(projected.certify(X, y), projected.certify(X, y))
    net = plain_sequential(projected.module_.double())
    arguments = {"eps": 0.05, "norm": "linf"}
    x, rows = torch.as_tensor(X).double(), torch.as_tensor(y)
    with torch.no_grad():
        bound = lower_bounds(net, x, rows, **arguments).numpy()
        torch.manual_seed(0)
        estimate = lower_bounds(net, x, rows, projection=8, **arguments).numpy()
    off_diagonal = np.arange(10) != y[:, None]
    certified = projected.certify(X, y)[off_diagonal]
    assert_allclose(certified, bound[off_diagonal], atol=1e-6)
    # Why: many an estimate lies above the bound.
    assert (estimate > bound + 1e-3)[off_diagonal].mean() > 0.1


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("projection", [3, 1000])
def test_a_projection_of_any_size_trains(digits, norm, projection):
    clf = ConvexRelaxationClassifier(
        conv_net, norm=norm, projection=projection, max_epochs=2, random_state=0
    ).fit(digits[0][:100], digits[1][:100])
    assert np.isfinite(clf.history_[-1]["train_loss"])


# ------------------------------------------------------------------ objectives


def objective_problem():
    module = MLP(5, 3, (8,))
    X, y = random_problem(5, module, (5,), 40, 3)
    cost = np.array([[0, 2.0, 0], [0, 0, 0], [1.0, 3.0, 0]])
    return module, X.astype(np.float32), y, cost


def context_for(cost, epoch=9):
    cost = torch.as_tensor(cost, dtype=torch.float32)
    return TrainingContext(0.0, cost, torch.Generator(), epoch=epoch, max_epochs=10)


def test_the_cost_sensitive_objective_is_equation_3_2():
    module, X, y, cost = objective_problem()
    share = np.bincount(y, minlength=3) / len(y)
    objective = CostSensitiveRobust(TrainingBall(0.05, "linf"), 0.7, share)
    loss, _ = objective(module, torch.as_tensor(X), torch.as_tensor(y), context_for(cost))
    J = margins_of(module, X, y, eps=0.05)
    logits = module(torch.as_tensor(X).double()).detach().numpy()
    expected = np.mean(np.log(np.exp(-differences(logits, y)).sum(axis=1)))
    for j in (0, 2):
        terms = []
        for i in np.flatnonzero(y == j):
            costly = sum(cost[j, k] * np.exp(-J[i, k]) for k in range(3) if cost[j, k] > 0)
            terms.append(np.log(1 + costly))
        expected += 0.7 * np.mean(terms)
    assert_allclose(loss.item(), expected, rtol=1e-5)


def test_the_robust_objective_is_equation_2_7_and_ignores_costs():
    module, X, y, cost = objective_problem()
    objective = OverallRobust(TrainingBall(0.05, "l2"))
    loss, _ = objective(module, torch.as_tensor(X), torch.as_tensor(y), context_for(cost))
    J = margins_of(module, X, y, eps=0.05, norm="l2")
    J[np.arange(len(y)), y] = np.inf
    assert_allclose(loss.item(), np.mean(np.log(1 + np.exp(-J).sum(axis=1))), rtol=1e-5)


def test_batches_of_any_size_add_up_to_the_objective_of_the_whole():
    module, X, y, cost = objective_problem()
    share = np.bincount(y, minlength=3) / len(y)
    objective = CostSensitiveRobust(TrainingBall(0.05, "linf"), 2.0, share)
    x, rows, context = torch.as_tensor(X), torch.as_tensor(y), context_for(cost)
    whole = objective(module, x, rows, context).loss.item()
    parts = [objective(module, x[i : i + 5], rows[i : i + 5], context) for i in range(0, 40, 5)]
    assert_allclose(np.mean([part.loss.item() for part in parts]), whole, rtol=1e-5)


def test_gradients_are_finite_where_costs_are_zero_and_nothing_crosses():
    module, X, y, cost = objective_problem()
    share = np.full(3, 1 / 3)
    for eps in (0.0, 1e-6, 0.1, 10.0):
        objective = CostSensitiveRobust(TrainingBall(eps, "linf"), 1.0, share)
        module.zero_grad()
        loss = objective(module, torch.as_tensor(X), torch.as_tensor(y), context_for(cost)).loss
        loss.backward()
        assert all(p.grad.isfinite().all() for p in module.parameters())


def test_the_radius_of_training_grows_linearly_over_the_warmup():
    ball = TrainingBall(0.2, "linf", eps_start=0.05, warmup_epochs=3)
    assert_allclose([ball.eps_at(epoch) for epoch in range(5)], [0.05, 0.1, 0.15, 0.2, 0.2])
    assert TrainingBall(0.2, "linf").eps_at(0) == 0.2


def test_an_integer_weight_counts_as_that_many_examples(blobs):
    X, y = blobs
    weights = np.where(y == 1, 3.0, 1.0)
    params = {"batch_size": 1000, "max_epochs": 3, "cost_matrix": CostMatrix.seedwise([1])}
    weighted = fast(**params, optimizer="sgd")
    repeated = clone(weighted)
    # The divisor of a weighted batch is its number of examples: the learning rate makes up for it.
    weighted.set_params(lr=0.01 * len(y))
    repeated.set_params(lr=0.01 * weights.sum())
    weighted.fit(X, y, sample_weight=weights)
    repeated.fit(np.repeat(X, weights.astype(int), 0), np.repeat(y, weights.astype(int)))
    assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-3)


def test_the_penalty_makes_costly_transformations_the_hard_ones(digits):
    X, y = digits
    params = {
        "cost_matrix": CostMatrix.pairwise([(8, 1), (9, 8)]),
        "eps": 0.06,
        "lr": 0.01,
        "max_epochs": 6,
        "batch_size": 100,
        "random_state": 0,
    }
    blind, aware = (
        ConvexRelaxationClassifier(conv_net, alpha_robust=alpha, **params)
        .fit(X, y)
        .certified_report(X, y)
        for alpha in (0.0, 0.03)
    )
    assert aware["cost_sensitive_robust_error"] < 0.7 * blind["cost_sensitive_robust_error"]
    assert aware["classification_error"] < blind["classification_error"] + 0.02


@pytest.mark.parametrize("objective", ["cost-sensitive", "robust", "cost-sensitive-ce"])
def test_every_objective_learns(blobs, objective):
    X, y = blobs
    assert np.mean(fast(objective=objective, max_epochs=20).fit(X, y).predict(X) == y) > 0.85


# ------------------------------------------------------------------ metrics


def test_reports_follow_the_definitions_of_the_paper():
    nan, inf = np.nan, np.inf
    margins = np.array(
        [[nan, 0.1, 0.3], [nan, 0.0, 2.0], [0.4, nan, -1.0], [1.0, 0.2, nan], [-inf, 5.0, nan]]
    )
    y = np.array([0, 0, 1, 2, 2])
    label = np.array([0, 0, 2, 2, 2])
    cost = CostMatrix([[0, 2, 5], [0, 0, 0], [10, 1, 0]]).align([0, 1, 2])
    got = CertifiedMargins(margins, y, cost, label).report()
    # Sensitive are the classes 0 and 2. A margin of 0 certifies nothing; -inf is a missing bound.
    assert got["cost_sensitive_robust_error"] == 2 / 4
    assert got["rob_cost"] == (0 + 2 + 0 + 10) / 4
    assert got["classification_error"] == pytest.approx(1 / 5)
    assert got["misclassification_cost"] == 0
    assert got["robust_error"] == pytest.approx(3 / 5)
    assert got["n_sensitive"] == 4
    assert_allclose(got["robust_error_matrix"], [[nan, 0.5, 0.0], [0.0, nan, 1.0], [0.5, 0.0, nan]])
    assert CertifiedMargins(margins, y, cost).rob_cs() == 2 / 4
    weights = np.array([3.0, 1.0, 7.0, 1.0, 0.0])
    assert CertifiedMargins(margins, y, cost).rob_cs(None, weights) == pytest.approx(4 / 5)


def test_without_a_sensitive_example_scores_are_nan_and_say_so(blobs):
    X, y = blobs
    clf = fast(cost_matrix=CostMatrix.seedwise([0])).fit(X, y)
    with pytest.warns(UserWarning, match="sensitive"):
        assert np.isnan(clf.score(X[y == 1], y[y == 1]))


def test_without_labels_the_predicted_class_is_certified(blobs):
    X, y = blobs
    clf = fast().fit(X, y)
    assert_array_equal(clf.certify(X), clf.certify(X, clf.predict(X)))
    assert_array_equal(np.isnan(clf.certify(X, y)), np.arange(3) == y[:, None])


# ------------------------------------------------------------------ refusals


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(16, 16)

    def forward(self, x):
        return x + self.inner(x)


class Twice(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def hooked():
    module = MLP(16, 3)
    module[1].register_forward_hook(lambda layer, args, out: 2 * out)
    return module


def replaced(where, name="forward"):
    """A network in which an attribute of one module stands for its forward."""
    module = MLP(16, 3)
    layer = where(module)
    setattr(layer, name, lambda x: 2 * type(layer).forward(layer, x))
    return module


class DoubledSequential(nn.Sequential):
    def forward(self, x):
        return 2 * super().forward(x)


class DoubledCall(nn.Sequential):
    def __call__(self, x):
        return 2 * super().__call__(x)


class DoubledImpl(nn.Sequential):
    def _call_impl(self, x):
        return 2 * super()._call_impl(x)


class Backwards(nn.Sequential):
    def __iter__(self):
        return iter([self[0], self[2], self[1]])


def conv(**params):
    return nn.Sequential(
        nn.Conv2d(1, 2, **{"kernel_size": 3, **params}), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)
    )


REFUSED = {
    "BatchNorm2d": lambda: nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(16, 3)),
    "Residual": lambda: nn.Sequential(nn.Flatten(), Residual(), nn.Linear(16, 3)),
    "Dropout": lambda: nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(16, 3)),
    "MaxPool2d": lambda: nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4, 3)),
    "Twice": lambda: nn.Sequential(nn.Flatten(), Twice(16, 3)),
    "Softmax": lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.Softmax(1)),
    "ReLU as the last layer": lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.ReLU()),
    "Conv2d with groups, dilation": lambda: conv(dilation=2, padding=2),
    "Conv2d with padding given as a string": lambda: conv(padding="same"),
    "must be a multiple of the stride": lambda: conv(stride=2),
    "Conv2d with groups": lambda: conv(padding=1, padding_mode="circular"),
    "put a Flatten before it": lambda: nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3)),
    "ParametrizedLinear": lambda: nn.Sequential(
        nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(16, 3))
    ),
    "Linear with forward hooks": hooked,
    "MLP with a method of its own": lambda: replaced(lambda m: m),
    "Flatten with a method of its own": lambda: replaced(lambda m: m[0]),
    "Linear with a method of its own": lambda: replaced(lambda m: m[1]),
    "ReLU with a method of its own": lambda: replaced(lambda m: m[2]),
    "Linear with a method of its own in place of": lambda: replaced(lambda m: m[-1], "_call_impl"),
    "DoubledSequential": lambda: DoubledSequential(nn.Flatten(), nn.Linear(16, 3)),
    "DoubledCall": lambda: DoubledCall(nn.Flatten(), nn.Linear(16, 3)),
    "DoubledImpl": lambda: nn.Sequential(DoubledImpl(nn.Flatten(), nn.Linear(16, 3))),
    "Backwards": lambda: Backwards(nn.Flatten(), nn.ReLU(), nn.Linear(16, 3)),
    "Flatten which does not flatten the whole input": lambda: nn.Sequential(
        nn.Flatten(2), nn.Linear(16, 3)
    ),
}


@pytest.mark.parametrize("found", REFUSED)
def test_a_module_that_cannot_be_bounded_is_refused_by_name(found):
    X, y = np.random.default_rng(0).random((12, 1, 4, 4)), np.arange(12) % 3
    clf = ConvexRelaxationClassifier(REFUSED[found], max_epochs=1)
    if found.startswith(("Conv2d", "must")):
        with torch.no_grad():  # a lazy layer takes its size from a first batch
            module = REFUSED[found]()
            module(torch.zeros(1, 1, 4, 4))
        clf.set_params(module=module)
    with pytest.raises(TypeError, match="Linear, Conv2d, ReLU and Flatten.*" + found):
        clf.fit(X, y)
    assert not hasattr(clf, "classes_")


@pytest.mark.parametrize("layer", [None, 0, 1, 2, -1])
def test_a_forward_replaced_after_fit_is_not_certified(blobs, layer):
    X, y = blobs
    clf = fast().fit(X, y)
    changed = clf.module_ if layer is None else clf.module_[layer]
    changed.forward = lambda x: -type(changed).forward(changed, x)
    for call in (clf.certify, clf.score, clf.certified_report):
        with pytest.raises(TypeError, match="with a method of its own in place of forward"):
            call(X, y)


def test_the_network_of_the_paper_and_nested_sequentials_are_accepted():
    X, y = np.random.default_rng(0).random((10, 1, 8, 8)), np.arange(10)
    nested = nn.Sequential(nn.Sequential(nn.Flatten(), nn.Linear(64, 9)), nn.ReLU(), MLP(9, 10))
    for module in (small_conv(image_size=8), nested):
        clf = ConvexRelaxationClassifier(module, max_epochs=1, random_state=0).fit(X, y)
        assert clf.certify(X, y).shape == (10, 10)


def test_without_the_extra_the_error_says_what_to_install(blobs, monkeypatch):
    X, y = blobs
    clf = fast().fit(X, y)
    monkeypatch.setitem(sys.modules, "convex_adversarial", None)
    for call in (clone(clf).fit, clf.certify, clf.score):
        with pytest.raises(ImportError, match=r"pip install smoothcs\[convex\]"):
            call(X, y)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("eps", 0.0), ("eps", np.nan), ("eps", "1"), ("norm", "l1"), ("objective", "ce"),
        ("alpha_robust", -1.0), ("alpha_robust", np.inf), ("eps_start", 0.3), ("max_epochs", 0),
        ("warmup_epochs", 5), ("projection", 0), ("batch_size", 2.5), ("certify_batch_size", 0),
        ("optimizer", "lbfgs"), ("lr", 0), ("bounds", (1.0, 0.0)), ("device", "quantum"),
    ],
)  # fmt: skip
def test_bad_parameters_are_refused_by_name(blobs, name, value):
    with pytest.raises((ValueError, TypeError), match=name):
        fast(**{name: value}).fit(*blobs)


def test_bounds_are_for_linf_and_inputs_must_lie_within_them(blobs):
    X, y = blobs
    with pytest.raises(ValueError, match="norm='l2'"):
        fast(bounds=(0, 1), norm="l2").fit(X, y)
    with pytest.raises(ValueError, match="within bounds"):
        fast(bounds=(0, 1)).fit(X, y)
    X = (X - X.min()) / np.ptp(X)
    clf = fast(bounds=(0, 1), eps=0.3).fit(X, y)
    with pytest.raises(ValueError, match="within bounds"):
        clf.certify(X + 0.5, y)
    free = pickle.loads(pickle.dumps(clf)).set_params(bounds=None)
    assert np.nanmean(clf.certify(X, y) - free.certify(X, y)) > 0


# ------------------------------------------------------------------ a scikit-learn estimator


EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": (
        "training in mini-batches is random: dropping an example and giving it weight 0 shuffle "
        "differently, as for scikit-learn's own SGD estimators"
    ),
}


@parametrize_with_checks(
    [ConvexRelaxationClassifier(max_epochs=10, lr=0.01, net_params={"module__hidden": (16,)})],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_pickles_frames_strings_and_datasets_give_the_same_margins(blobs):
    X, y = blobs
    clf = fast().fit(X, y)
    margins = clf.certify(X, y)
    assert_array_equal(pickle.loads(pickle.dumps(clf)).certify(X, y), margins)
    names = np.array(["ant", "bee", "cat"])[y]
    frame = pd.DataFrame(X, columns=list("abcd"))
    named = fast().fit(frame, names)
    assert_array_equal(named.certify(frame, names), margins)
    assert set(named.predict(frame)) == {"ant", "bee", "cat"}
    assert named.score(frame, names) == clf.score(X, y)
    dataset = ListDataset(list(zip(X.astype(np.float32), names, strict=True)))
    read = fast().fit(dataset)
    assert_allclose(read.certify(dataset, names), margins, atol=1e-4)
    assert read.score(dataset) == clf.score(X, y)


def test_scorers_and_searches_of_the_smoothed_classifier_work(blobs):
    X, y = blobs
    clf = fast(cost_matrix=CostMatrix.pairwise([(0, 1)]))
    scores = cross_val_score(clf, X, y, scoring=rob_cs_scorer, cv=2)
    assert ((scores >= 0) & (scores <= 1)).all()
    search = GridSearchCV(
        clf,
        {"alpha_robust": [0.1, 1.0]},
        scoring=certified_scorer(),
        refit=best_under("rob_cs", accuracy=-0.05),
        cv=2,
    ).fit(X, y)
    assert search.best_params_["alpha_robust"] in (0.1, 1.0)
    report = search.best_estimator_.certified_report(X, y)
    assert report["rob_cs"] == search.best_estimator_.score(X, y)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_order_of_the_memory_does_not_matter(norm):
    rng = np.random.default_rng(0)
    images = rng.random((30, 6, 6, 2)).astype(np.float32)
    y = (images.mean(axis=(1, 2, 3)) > 0.5).astype(int)

    def net():
        layers = nn.Conv2d(2, 3, 2, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(27, 2)
        return nn.Sequential(*layers).to(memory_format=torch.channels_last)

    clf = ConvexRelaxationClassifier(net, eps=0.01, norm=norm, max_epochs=2, random_state=0)
    turned = images.transpose(0, 3, 1, 2)
    expected = clone(clf).fit(np.ascontiguousarray(turned), y).certify(np.ascontiguousarray(turned))
    assert_allclose(clf.fit(turned, y).certify(turned), expected, atol=1e-5)


def test_bounds_may_be_taken_from_the_data():
    X, y = make_blobs(40, 2, random_state=0)
    X = X / 7.3
    clf = fast(bounds=(X.min(), X.max())).fit(X, y)
    assert np.isfinite(clf.certify(X, y)).any()


def test_the_ball_is_checked_again_where_it_is_used(blobs):
    clf = fast().fit(*blobs)
    for name, value in {"norm": "foo", "bounds": (3,)}.items():
        wrong = pickle.loads(pickle.dumps(clf)).set_params(**{name: value})
        with pytest.raises(ValueError, match=name):
            wrong.certify(*blobs)


def test_cancellation_inside_the_network_is_paid_for():
    # The sums of the first layer are 1e12 and their difference is what counts.
    first, last = nn.Linear(2, 2).double(), nn.Linear(2, 2).double()
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1e9, 1.0], [1e9, 0.0]]))
        first.bias.zero_()
        last.weight.copy_(torch.tensor([[1.0, -1.0], [0.0, 0.0]]))
        last.bias.copy_(torch.tensor([-1e-3, 0.0]))
    module = nn.Sequential(first, nn.ReLU(), last)
    rng = np.random.default_rng(0)
    x = rng.uniform(900, 1100, (50, 2))
    margins = margins_of(module, x, np.zeros(50, dtype=int), eps=1e-3)
    for corner in itertools.product((-1e-3, 1e-3), repeat=2):
        # x1 - 1e-3 without the cancellation
        true = (x + corner)[:, 1].clip(min=0) - 1e-3
        assert (margins[:, 1] <= true).all()
