"""The largest radius that a number of votes can certify, however sure the classifier is."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from smoothcs._validation import check_integer
from smoothcs.certification._certificates import Certificates
from smoothcs.certification._certify import certify_votes
from smoothcs.decision import WeightedVotes


def largest_radius(
    n: int,
    alpha: float,
    sigma: float,
    *,
    weights: ArrayLike = (1.0, 1.0),
    bound: str = "exact",
) -> float:
    """Return the radius of unanimous votes, which no radius from n votes at alpha exceeds.

    Parameters
    ----------
    n : int
        Estimation votes per input.
    alpha : float
        Failure probability, in (0, 1).
    sigma : float
        Standard deviation of the noise; the radius comes in its units.
    weights : array-like (n_classes,), default=(1, 1)
        Weights of the votes.
    bound : {"exact", "closed-form", "paper"}, default="exact"
        How votes become certificates; see :func:`smoothcs.certify_votes`.

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
    >>> round(largest_radius(1_000, 0.001, 0.5), 3), round(largest_radius(100_000, 0.001, 0.5), 3)
    (1.232, 1.906)
    """
    n = check_integer("n", n)
    each = np.asarray(weights, dtype=np.float64)
    # The heaviest class against the lightest. With a third class the exact test is a little looser,
    # and no radius may exceed this one.
    unanimous = [[n, 0]]
    best = certify_votes(
        unanimous,
        unanimous,
        sigma=sigma,
        alpha=alpha,
        decision=WeightedVotes([each.max(), each.min()]),
        bound=bound,
        simultaneous=False,
        blockers=False,
    )
    return max(float(best.radius_standard.max()), float(np.nanmax(best.radius_pair)))


def ceiling(certificates: Certificates) -> float | None:
    """Return the largest radius that certificates could hold; None where there are no votes."""
    c = certificates
    n, level = int(np.max(c.n, initial=0)), float(np.max(c.level))
    if n == 0:
        return None
    return largest_radius(n, level, c.sigma, weights=c.decision.weights, bound=c.bound)
