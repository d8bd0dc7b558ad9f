"""The geometry of Gaussian smoothing: how far a perturbation moves the probability of a set.

A perturbation of l2 norm eps can bring the probability P of a set of noisy inputs down to
Phi(PhiInv(P) - eta) and up to Phi(PhiInv(P) + eta), eta = eps / sigma, and no further ([Cohen19],
Lemma 4). Everything here is in units of sigma. Only the published algorithms, the search for
weights and the portfolio's majorant read the law of the noise elsewhere.

References
----------
.. [Cohen19] Cohen, Rosenfeld and Kolter, "Certified Adversarial Robustness via Randomized
   Smoothing", ICML 2019.
.. [Xin25] Xin, Chen, Backes and Zhang, "Provably Cost-Sensitive Adversarial Defense via Randomized
   Smoothing", ICML 2025, Definition 4.1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_ndtr, ndtr, ndtri

_LOG_SQRT_2PI = 0.5 * np.log(2 * np.pi)


def null_boundary(p: ArrayLike, eta: ArrayLike, s: ArrayLike = 1.0) -> NDArray[np.float64]:
    """Return the largest blocker probability that still lets the target win within ``eta``.

    Parameters
    ----------
    p : array_like
        Probability h_j of the target, in [0, 1].
    eta : array_like
        Attack radius in units of sigma.
    s : array_like, default=1
        Size of the blocker set (or the weighted size), > 0.

    Returns
    -------
    ndarray of float64, broadcast shape
        ``Phi(eta + PhiInv(min(1, s Phi(PhiInv(p) + eta))))``, increasing in each argument.

    Examples
    --------
    >>> round(float(null_boundary(0.1, 0.5)), 4)  # Phi(2 * 0.5 + PhiInv(0.1))
    0.3891
    """
    eta = np.asarray(eta, dtype=np.float64)
    return ndtr(eta + ndtri(np.minimum(1.0, np.asarray(s) * ndtr(ndtri(p) + eta))))


def feasible_end(eta: ArrayLike, s: ArrayLike = 1.0) -> NDArray[np.float64]:
    """Return the p at which ``null_boundary(p, eta, s) + p = 1``: no null votes lie beyond it."""
    return ndtr(ndtri(1.0 / (1.0 + np.asarray(s, dtype=np.float64))) - np.asarray(eta))


def two_class_radius(P: ArrayLike, s: ArrayLike = 1.0) -> NDArray[np.float64]:
    """Return ``blocker_radius(P, 1 - P, s)``: the blockers have all votes but the target's.

    It is the eta at which ``feasible_end(eta, s)`` is 1 - P.

    Examples
    --------
    >>> two_class_radius(0.9).round(4)  # PhiInv(0.9)
    np.float64(1.2816)
    """
    return ndtri(np.asarray(P, dtype=np.float64)) + ndtri(1.0 / (1.0 + np.asarray(s)))


def blocker_radius(P: ArrayLike, q: ArrayLike, s: ArrayLike = 1.0) -> NDArray[np.float64]:
    """Return the radius, in units of sigma, within which a target cannot be predicted.

    Parameters
    ----------
    P : array_like
        Probability that a noisy prediction falls in the blocker set.
    q : array_like
        Probability of the target.
    s : array_like, default=1
        Size of the blocker set, > 0 (real for weighted votes).

    Returns
    -------
    ndarray of float64, broadcast shape
        The root eta of ``Phi(PhiInv(P) - eta) = s Phi(PhiInv(q) + eta)``: negative when
        ``P < s q``; ``-inf`` when P = 0 or q = 1; ``inf`` when P > 0 = q or P = 1 > q; nan stays
        nan.

    Notes
    -----
    s = 1 is half the difference of the quantiles, the pair radius of [Xin25].  Otherwise, with c
    the mean of the quantiles, the correction u solves ``log Phi(c + u) - log Phi(c - u) = |log
    s|``, whose left side is convex and increasing for u >= 0: Newton's method from 0 overshoots
    once and then falls to the root.

    Examples
    --------
    >>> blocker_radius([0.6, 0.9], 0.01, [1, 2]).round(3)
    array([1.29 , 1.505])
    """
    a, b, log_s = np.broadcast_arrays(
        ndtri(np.asarray(P, dtype=np.float64)),
        ndtri(np.asarray(q, dtype=np.float64)),
        np.log(np.asarray(s, dtype=np.float64)),
    )
    with np.errstate(invalid="ignore"):
        radius = np.array(0.5 * (a - b), dtype=np.float64)
    # PhiInv(P) - PhiInv(q) is inf - inf when both are 0 or both are 1: neither proves anything.
    tie = (np.isneginf(a) & np.isneginf(b)) | (np.isposinf(a) & np.isposinf(b))
    radius[tie] = -np.inf
    work = np.isfinite(radius) & (log_s != 0)
    if work.any():
        centre = 0.5 * (a[work] + b[work])
        radius[work] -= np.sign(log_s[work]) * _correction(centre, np.abs(log_s[work]))
    return radius


def _correction(centre: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve ``log_ndtr(centre + u) - log_ndtr(centre - u) = target`` for u >= 0."""
    u = np.zeros_like(centre)
    for _ in range(100):
        up, down = centre + u, centre - u
        log_up, log_down = log_ndtr(up), log_ndtr(down)
        # phi / Phi through logarithms: both underflow for a target of a few hundred sigma.
        slope = np.exp(-0.5 * up * up - _LOG_SQRT_2PI - log_up)
        slope += np.exp(-0.5 * down * down - _LOG_SQRT_2PI - log_down)
        step = (target - (log_up - log_down)) / slope
        u = np.maximum(u + step, 0.0)
        if np.all(np.abs(step) <= 1e-14 * (1.0 + u)):
            break
    return u


def null_slope(p: ArrayLike, eta: ArrayLike, s: ArrayLike = 1.0) -> NDArray[np.float64]:
    """Return the derivative of `null_boundary` in p, for 0 < p < ``feasible_end(eta, s)``."""
    eta = np.asarray(eta, dtype=np.float64)
    x = ndtri(np.asarray(p, dtype=np.float64))
    inner = ndtri(np.minimum(np.asarray(s) * ndtr(x + eta), 1.0 - 1e-12))
    exponent = 0.5 * (inner**2 - (eta + inner) ** 2 + x**2 - (x + eta) ** 2)
    return np.asarray(s) * np.exp(exponent)


def vote_variance(P: NDArray[Any], q: NDArray[Any], slope: NDArray[Any]) -> NDArray[np.float64]:
    """Return the variance, per vote, of (blocker votes) - slope * (target votes)."""
    return P * (1.0 - P) + slope**2 * q * (1.0 - q) + 2.0 * slope * P * q


def vote_root(h_top: NDArray, h_target: NDArray, ratio: NDArray) -> NDArray[np.float64]:
    """Root of Phi(PhiInv(h_top) - eta) = ratio Phi(PhiInv(h_target) + eta), never rounded up.

    Negative where the target is ahead, nan where an argument is.
    """
    h_top, h_target, ratio = np.broadcast_arrays(h_top, h_target, ratio)
    root = blocker_radius(h_top, h_target, ratio)
    ends = np.isfinite(root)
    a, b, log_ratio = ndtri(h_top[ends]), ndtri(h_target[ends]), np.log(ratio[ends])
    step = 1e-14 * (1.0 + np.abs(root[ends]))
    # At an exact tie rounding could otherwise leave a positive radius.
    radius = root[ends] - step
    for _ in range(60):
        # Step back until the target is behind by what is computed, and not only by intention.
        ahead = ~(log_ndtr(a - radius) - log_ndtr(b + radius) >= log_ratio)
        if not ahead.any():
            break
        radius = np.where(ahead, radius - step, radius)
        step = np.where(ahead, 4.0 * step, step)
    else:
        radius = np.where(ahead, -np.inf, radius)
    root[ends] = radius
    return root
