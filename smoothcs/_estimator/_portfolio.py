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

from smoothcs._torch import resolve_devices
from smoothcs.attacks import l2_pgd
from smoothcs.cost import CostMatrix
from smoothcs.portfolio import PortfolioCertificate, certify_portfolio
from smoothcs.portfolio._certify import check_n_votes, read_prices

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
    draw: Draw, truth: NDArray[np.intp], prices: NDArray[np.float64], eps: Sequence[float]
) -> NDArray[np.float64] | None:
    """Return the mean cost (n_eps,) that an attack on the one-draw predictor reaches, if one can.

    Projected gradients of the expected answer move each input; fresh noise then tells what the
    answers cost. Up to the chance of that noise, no bound on the same inputs is below it. None if
    the base classifier is no module or the inputs are no array. The two are ``draw.args``.
    """
    module, X = draw.args
    if not (isinstance(module, nn.Module) and isinstance(X, np.ndarray)):
        return None
    device = resolve_devices(draw.keywords["device"])[0]
    module = deepcopy(module).to(device).eval()
    scale = draw.keywords["noise_scale"]
    attack = partial(
        l2_pgd,
        module,
        sigma=draw.keywords["sigma"],
        n_noise=ATTACK_NOISE,
        n_steps=ATTACK_STEPS,
        generator=torch.Generator(device).manual_seed(0),
        noise_scale=None
        if scale is None
        else torch.as_tensor(scale.reshape(X.shape[1:]), device=device),
    )
    found = []
    for budget in eps:
        moved = [
            attack(x.to(device), target.to(device), eps=float(budget)).cpu().numpy()
            for x, target in zip(
                torch.as_tensor(X).split(ATTACK_ROWS),
                torch.as_tensor(truth).split(ATTACK_ROWS),
                strict=True,
            )
        ]
        there = partial(draw.func, module, np.concatenate(moved), **draw.keywords)
        votes = fresh_votes(there, ATTACK_VOTES)
        found.append(float((votes * prices).sum(axis=1).mean() / ATTACK_VOTES))
    return np.array(found)
