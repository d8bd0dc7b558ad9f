"""The largest radius that exact probabilities certify: what votes are measured against."""

import numpy as np

from smoothcs.bounds.geometry import blocker_radius


def best_blocker_radius(h, target, allowed=None, max_size=None):
    """Return the largest certified radius of one target, in units of sigma, and its blockers.

    ``allowed`` (n_classes,) may block: for the group radius the classes outside the sensitive
    targets, by default every class but the target, for the pair radius. The best set of size s is
    the s most voted of them, see Theorem 2 of the theory page.
    """
    h = np.asarray(h, dtype=np.float64)
    may_block = np.arange(len(h)) != target
    if allowed is not None:
        may_block &= np.asarray(allowed)
    candidates = np.flatnonzero(may_block)
    order = candidates[np.argsort(-h[candidates], kind="stable")][:max_size]
    if len(order) == 0:
        return 0.0, order
    total = np.minimum(np.cumsum(h[order]), 1.0)
    radii = blocker_radius(total, h[target], np.arange(1, len(order) + 1))
    best = int(np.argmax(radii))
    return max(float(radii[best]), 0.0), order[: best + 1]
