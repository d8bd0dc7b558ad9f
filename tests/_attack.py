"""Attacks on smoothed classifiers, and a judge of whether they succeeded.

The judge shares nothing with the library: its own noise, its own counting, an exact test.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import binom
from torch.nn.functional import one_hot

from smoothcs.attacks import l2_pgd, normalized_ascent, project_l2

SIGMA = 0.35
N_STEPS = 40
LEVEL = 1e-6


class Goals(NamedTuple):
    """What b attacks look for: each a start, its forbidden classes, one of them to aim at, eps."""

    x: torch.Tensor  # (b, d)
    forbidden: torch.Tensor  # (b, m) bool
    target: torch.Tensor  # (b,)
    eps: torch.Tensor  # (b,)

    def rows(self, start, stop):
        return Goals(*(field[start:stop] for field in self))


def targeted_pgd(module, goals, weights, n_noise, generator):
    """The library's attack, which lowers -log G_target."""
    return l2_pgd(
        module,
        goals.x,
        goals.target,
        eps=goals.eps,
        sigma=SIGMA,
        n_noise=n_noise,
        generator=generator,
        n_steps=N_STEPS,
        targeted=True,
    )


def margin_pgd(module, goals, weights, n_noise, generator):
    """Raise log(w_j G_j) of the target over the largest log(w_k G_k) of what may be predicted."""
    x, log_weights = goals.x, torch.tensor(np.log(weights), dtype=torch.float32)
    noise = SIGMA * torch.randn(n_noise, 1, x.shape[1], generator=generator)

    def margin(z):
        # In logarithms, so that a target without a chance still has a gradient.
        log_p = module((z + noise).flatten(0, 1)).log_softmax(-1).unflatten(0, (n_noise, -1))
        score = log_p.logsumexp(0) + log_weights
        rival = score.masked_fill(goals.forbidden, -torch.inf).amax(1)
        return score.gather(1, goals.target[:, None])[:, 0] - rival

    return normalized_ascent(
        margin,
        x,
        n_steps=N_STEPS,
        step_size=2 * goals.eps[:, None] / N_STEPS,
        project=lambda z: x + project_l2(z - x, goals.eps),
    )


def attacked(attack, module, goals, weights, *, n_noise, seed=0):
    chunk = max(1, 4096 // n_noise)  # what fits into a cache
    generator = torch.Generator().manual_seed(seed)
    parts = [
        attack(module, goals.rows(start, start + chunk), weights, n_noise, generator)
        for start in range(0, len(goals.x), chunk)
    ]
    found = torch.cat(parts)
    length = (found - goals.x).norm(dim=1)
    # Points are float32: their entries end where the numbers do, however small eps is.
    rounding = 2.0**-24 * found.norm(dim=1)
    assert (length <= goals.eps * (1 + 1e-4) + rounding).all()
    return found


def hard_votes(module, x, n, generator, at_a_time=200):
    """Votes (b, m) among n draws, with neither the library's noise nor its counting."""
    votes = 0
    with torch.inference_mode():
        for start in range(0, n, at_a_time):
            size = (min(at_a_time, n - start), 1, x.shape[1])
            noise = SIGMA * torch.randn(size, generator=generator)
            logits = [module((part + noise).flatten(0, 1)) for part in x.split(20)]
            winners = [part.argmax(1).view(len(noise), -1) for part in logits]
            votes = votes + one_hot(torch.cat(winners, 1), logits[0].shape[1]).sum(0)
    return votes.numpy()


def costly_p_values(votes, forbidden, weights):
    """p-values (b, m) of "class j is no answer of the weighted vote"; 1 for classes not forbidden.

    w_j h_j <= w_k h_k makes n_j at most Binomial(n_j + n_k, w_k / (w_j + w_k)); j is the answer if
    this is false for every k that is not forbidden (intersection-union test).
    """
    pairs = votes[:, :, None] + votes[:, None, :]
    chance = weights[None, :] / (weights[:, None] + weights[None, :])
    p = binom.sf(votes[:, :, None] - 1, pairs, chance)
    p = np.where(forbidden[:, None, :], 0.0, p).max(axis=2)
    return np.where(forbidden, p, 1.0)


def costly(module, x, forbidden, weights, *, n, n_screen=200, seed=10**6):
    """Which points the smoothed classifier answers with a forbidden class, beyond chance (LEVEL).

    Where the first ``n_screen`` votes say clearly that it does not, no more are drawn.
    """
    generator, forbidden = torch.Generator().manual_seed(seed), forbidden.numpy()
    rows = np.arange(len(x))
    if n_screen:
        p = costly_p_values(hard_votes(module, x, n_screen, generator), forbidden, weights)
        rows = np.flatnonzero(p.min(axis=1) < 0.9999)
    found = np.zeros(len(x), dtype=bool)
    if len(rows):
        votes = hard_votes(module, x[rows], n, generator)
        p = costly_p_values(votes, forbidden[rows], weights).min(axis=1)
        found[rows] = p * forbidden[rows].sum(axis=1) < LEVEL
    return found
