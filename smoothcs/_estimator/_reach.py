"""Warnings of scores that cannot mean what they seem to: eps out of reach, unequal eps."""

from __future__ import annotations

import sys
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
    limit = largest_radius(n, level, clf.sigma, weights=weights, bound=clf.bound)
    beyond = [e for e in eps if e > limit]
    if beyond:
        warnings.warn(
            f"eps={beyond[0]:g} cannot be certified for any input: with sigma={clf.sigma:g}, "
            f"{n} votes and alpha={clf.alpha:g} the largest radius is {limit:.4g}. Choose a "
            "smaller eps, or a larger n_estimation or sigma.",
            UnreachableRadiusWarning,
            stacklevel=4,
        )


def warn_of_default_scoring() -> None:
    """Warn if a search of scikit-learn scores its candidates by ``score``, at each one's own eps.

    Such a score says nothing of accuracy, and with ``eps=None`` candidates of a smaller sigma are
    scored at a smaller radius.
    """
    frame: Any = sys._getframe(1)
    by_default = False
    while frame is not None:
        place = frame.f_globals.get("__name__"), frame.f_code.co_name
        if place == ("sklearn.metrics._scorer", "__call__"):
            by_default |= type(frame.f_locals.get("self")).__name__ == "_PassthroughScorer"
        elif place == ("sklearn.model_selection._validation", "_fit_and_score"):
            if by_default and frame.f_locals.get("parameters"):
                warnings.warn(
                    "this search compares candidates by rob_cs alone, each at its own eps: where "
                    "mistakes are free, a constant answer can win. Pass "
                    "scoring=smoothcs.certified_scorer(eps) and "
                    "refit=smoothcs.best_under('rob_cs', accuracy=-0.01).",
                    UserWarning,
                    stacklevel=3,
                )
            return
        frame = frame.f_back
