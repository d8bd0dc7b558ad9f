"""No radius exceeds what unanimous votes certify."""

import numpy as np
import pytest
from scipy.stats import norm

from smoothcs import WeightedVotes, certify_votes
from smoothcs.certification import largest_radius
from smoothcs.certification._reach import ceiling


@pytest.mark.parametrize("bound", ["exact", "closed-form", "paper"])
def test_unanimous_votes_reach_it(bound):
    n, sigma = 500, 0.5
    most = largest_radius(n, 0.001, sigma, bound=bound)
    assert most == pytest.approx(sigma * norm.ppf(0.001 ** (1 / n)), rel=1e-6)
    found = certify_votes([[9, 0]], [[n, 0]], sigma=sigma, bound=bound)
    assert np.nanmax(found.radius_standard) == pytest.approx(most, rel=1e-9)
    assert ceiling(found) == most


@pytest.mark.parametrize("weights", [None, [1.0, 3.0, 0.5, 1.0]])
def test_no_radius_exceeds_it(weights, rng):
    decision = None if weights is None else WeightedVotes(weights)
    p = rng.dirichlet([0.2] * 4, 60)
    votes = rng.multinomial(300, p)
    votes[:4] = 300 * np.eye(4, dtype=int)
    costs = (rng.random((4, 4)) < 0.5) * (1 - np.eye(4))
    for simultaneous in (True, False):
        c = certify_votes(
            votes, votes, sigma=1.0, cost_matrix=costs, y=rng.integers(4, size=60),
            decision=decision, simultaneous=simultaneous,
        )  # fmt: skip
        radii = np.concatenate([c.radius_standard, c.radius_group, c.radius_pair.ravel()])
        assert np.nanmax(radii) <= ceiling(c) * (1 + 1e-9)
        assert decision is not None or np.nanmax(radii) > 0.95 * ceiling(c)


def test_too_few_votes_and_none():
    with pytest.raises(ValueError, match="can never certify"):
        largest_radius(5, 0.001, 1.0)
    with pytest.raises(TypeError, match="n must be an integer"):
        largest_radius(50.0, 0.001, 1.0)
    nothing = certify_votes([[0, 0]], [[0, 0]], sigma=1.0, n=[0])
    assert ceiling(nothing) is None
