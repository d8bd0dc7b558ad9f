"""An upper confidence bound of a mean by betting: what a fair game cannot pay too often.

Reference
---------
.. [WSR24] Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting",
   Journal of the Royal Statistical Society B 86, 2024.
"""

from __future__ import annotations

import numpy as np

from smoothcs._validation import Floats

_STAKES = 5  # how many constant stakes share the capital on a fixed list
_MOST = 0.9  # the share of the capital that one input may cost
_BISECTIONS = 50


def blocks(n: int) -> list[tuple[int, int]]:
    """Cut n inputs into blocks of growing length; a block is bet on as its predecessors say."""
    starts = [0]
    step = max(1, int(np.ceil(np.sqrt(n))))
    while step < n:
        starts.append(step)
        step *= 3
    return list(zip(starts, [*starts[1:], n], strict=True))


def upper_mean(values: Floats, alpha: float, *, reach: float, sampling: str, scale: float) -> float:
    """Bound the mean of what `values` estimate from above, in order; fails with chance <= alpha.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Each at most ``reach``, and in expectation, given the earlier ones, at least its term of the
        mean. Terms lie in [0, reach].
    alpha : float
    reach : float
    sampling : {"population", "fixed"}
        Whether terms are a sample (stakes follow the variance of earlier values) or fixed numbers
        (constant stakes, whose capital is averaged).
    scale : float
        Size of the squared values, known beforehand; guides the constant stakes.
    """
    stakes = _stakes(values, alpha, sampling, scale)
    wanted = -np.log(alpha) + np.log(len(stakes)) + 1e-9

    def rejected(mean: float) -> bool:
        affordable = np.minimum(stakes, _MOST / max(reach - mean, 1e-300))
        capitals = np.log1p(affordable * (mean - values)).sum(axis=1)
        return bool(np.logaddexp.reduce(capitals) >= wanted)

    low, high = float(np.clip(values.mean(), 0.0, reach)), reach
    if not rejected(high):
        return reach
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if rejected(middle) else (middle, high)
    return high


def _stakes(values: Floats, alpha: float, sampling: str, scale: float) -> Floats:
    n = len(values)
    if sampling == "fixed":
        variances = max(scale, 1e-300) * 4.0 ** -np.arange(1, _STAKES + 1)
        return np.sqrt(2 * np.log(_STAKES / alpha) / (n * variances))[:, None]
    stakes = np.empty((1, n))
    for start, stop in blocks(n):
        variance = values[:start].var() + 2.0 / start if start else 0.25
        stakes[0, start:stop] = np.sqrt(2 * np.log(1 / alpha) / (n * variance))
    return stakes
