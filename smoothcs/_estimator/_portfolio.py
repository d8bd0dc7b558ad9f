"""The one-draw predictor of an estimator: its votes, its portfolio certificate, and an attack."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from smoothcs._estimator._inputs import check_inputs, check_labels, is_dataset
from smoothcs._torch import resolve_devices
from smoothcs.attacks import l2_pgd
from smoothcs.cost import CostMatrix, as_cost_matrix
from smoothcs.portfolio import PortfolioCertificate, certify_portfolio
from smoothcs.portfolio._certify import check_budgets, check_n_votes, read_prices

Draw = partial[NDArray[np.int64]]

ATTACK_NOISE, ATTACK_STEPS, ATTACK_VOTES, ATTACK_ROWS = 16, 10, 20, 256


def fresh_votes(draw: Draw, n_votes: int) -> NDArray[np.int64]:
    """Draw votes from noise that nobody has seen, whatever the key of the estimator."""
    return draw(n_votes, purpose="portfolio", random_state=None, resume_from=None)


def certify(
    draw: Draw,
    y: NDArray[Any],
    cost: CostMatrix,
    *,
    eps: Any,
    input_error: float,
    n_votes: int,
    costs: Any,
    max_cost: float | None,
    sampling: str,
    alpha: float,
) -> PortfolioCertificate:
    """Draw votes that are independent between rows, and bound the risk.

    Rounding may separate an attacked input from what is voted on by ``input_error``, which is added
    to the budgets.
    """
    prices = {"costs": costs, "max_cost": max_cost, "sampling": sampling}
    read_prices(y, len(y), cost, **prices)  # refused before anything is drawn
    check_budgets(eps)
    votes = draw(check_n_votes(n_votes), purpose="portfolio")
    certificate = certify_portfolio(
        votes,
        y,
        sigma=draw.keywords["sigma"],
        eps=np.add(eps, input_error),
        alpha=alpha,
        cost_matrix=cost if costs is None else None,
        classes=cost.classes,
        **prices,
    )
    return replace(certificate, eps=eps if np.ndim(eps) == 0 else np.asarray(eps))


def attacked_risk(
    clf: Any, X: Any, y: Any, eps: Sequence[float], *, costs: Any = None, cost_matrix: Any = None
) -> NDArray[np.float64] | None:
    """Return the mean cost (n_eps,) that an attack on the one-draw predictor reaches, if one can.

    Projected gradients of the expected answer move each input; fresh noise then tells what the
    answers cost. Up to the chance of that noise, no bound on the same inputs is below it. None if
    the base classifier is no module or the inputs are no array.
    """
    X = check_inputs(clf, X, reset=False)
    matrix = clf.cost_matrix_ if cost_matrix is None else cost_matrix
    cost = as_cost_matrix(matrix, classes=clf.classes_)
    truth, prices, _ = read_prices(
        check_labels(X, y, clf), len(X), cost, costs=costs, max_cost=None, sampling="fixed"
    )
    draw: Draw = clf._draw(X, costs)
    if is_dataset(X) or not isinstance(draw.args[0], nn.Module):
        return None
    module, inputs = draw.args
    moved = (_moved(module, inputs, truth, float(budget), **draw.keywords) for budget in eps)
    there = (partial(draw.func, module, x, **draw.keywords) for x in moved)
    votes = [fresh_votes(draw, ATTACK_VOTES) for draw in there]
    return np.array([(v * prices).sum(axis=1).mean() / ATTACK_VOTES for v in votes])


def _moved(
    module: nn.Module,
    X: NDArray[np.float32],
    truth: NDArray[np.intp],
    eps: float,
    *,
    sigma: float,
    noise_scale: NDArray[np.float32] | None,
    device: Any,
    **unused: Any,
) -> NDArray[np.float32]:
    """Return the inputs where the attack has moved them."""
    place = resolve_devices(device)[0]
    attack = partial(
        l2_pgd,
        deepcopy(module).to(place).eval(),
        eps=eps,
        sigma=sigma,
        n_noise=ATTACK_NOISE,
        n_steps=ATTACK_STEPS,
        generator=torch.Generator(place).manual_seed(0),
        noise_scale=None if noise_scale is None else torch.tensor(noise_scale).view(X.shape[1:]),
    )
    parts = zip(
        torch.tensor(X).split(ATTACK_ROWS), torch.tensor(truth).split(ATTACK_ROWS), strict=True
    )
    return torch.cat([attack(x.to(place), y.to(place)).cpu() for x, y in parts]).numpy()
