"""Radii that a number of votes cannot certify, whatever the votes are."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smoothcs.certification import largest_radius
from smoothcs.exceptions import UnreachableRadiusWarning


def warn_out_of_reach(
    clf: Any, eps: Iterable[float], n: int, weights: NDArray[np.float64], level: float
) -> None:
    """Warn of radii that ``n`` votes, tested at ``level`` in the end, cannot certify."""
    try:
        limit = largest_radius(n, level, clf.sigma, weights=weights, bound=clf.bound)
    except ValueError:  # no votes certify anything at this level, which is refused elsewhere
        return
    beyond = [e for e in eps if e > limit]
    if beyond:
        warnings.warn(
            f"eps={beyond[0]:g} cannot be certified for any input: with sigma={clf.sigma:g}, "
            f"{n} votes and alpha={clf.alpha:g} the largest radius is {limit:.4g}. Choose a "
            "smaller eps, or a larger n_estimation or sigma.",
            UnreachableRadiusWarning,
            stacklevel=4,
        )
