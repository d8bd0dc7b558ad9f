"""The largest radius that a number of votes can certify, however sure the classifier is."""

from __future__ import annotations

from typing import Any

import numpy as np

from smoothcs._validation import check_integer
from smoothcs.certification._certificates import Certificates
from smoothcs.certification._certify import certify_votes
from smoothcs.decision import WeightedVotes


def largest_radius(
    n: int,
    *,
    sigma: float,
    alpha: float = 0.001,
    bound: str = "exact",
    decision: WeightedVotes | None = None,
    n_classes: int = 2,
) -> float:
    """Return the radius of unanimous votes, which no radius from n votes at alpha exceeds.

    Parameters
    ----------
    n : int
        Estimation votes per input.
    sigma : float
        Standard deviation of the noise; the radius comes in its units.
    alpha, bound, decision
        As in :func:`smoothcs.certify_votes`.
    n_classes : int, default=2
        Number of classes.

    Returns
    -------
    radius : float

    Raises
    ------
    ValueError, TypeError
        If not even unanimous votes certify anything, or a parameter is outside its range.

    Examples
    --------
    >>> from smoothcs.certification import largest_radius
    >>> round(largest_radius(1_000, sigma=0.5), 3), round(largest_radius(100_000, sigma=0.5), 3)
    (1.232, 1.906)
    """
    n = check_integer("n", n)
    # Equal weights treat all classes alike, so that one of them answers for all.
    rows = 1 if decision is None or decision.is_plurality else n_classes
    unanimous = n * np.eye(rows, n_classes, dtype=np.int64)
    c = certify_votes(
        unanimous,
        unanimous,
        sigma=sigma,
        alpha=alpha,
        bound=bound,
        decision=decision,
        simultaneous=False,
    )
    return max(float(c.radius_standard.max()), float(np.nanmax(c.radius_pair)))


def ceiling(certificates: Certificates) -> float | None:
    """Return the largest radius that certificates could hold; None where there are no votes."""
    c = certificates
    n = int(np.max(c.n, initial=0))
    if n == 0:
        return None
    return largest_radius(
        n,
        sigma=c.sigma,
        alpha=float(np.max(c.level)),
        bound=c.bound,
        decision=_votes_only(c.decision),
        n_classes=c.votes.shape[1],
    )


def _votes_only(decision: Any) -> WeightedVotes:
    """Return the weights of the votes by position: labels do not matter for a radius."""
    return WeightedVotes(np.asarray(decision.weights))
