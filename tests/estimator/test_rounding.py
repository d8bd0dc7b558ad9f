"""Inputs are rounded to float32 before they are voted on: no certificate forgets it."""

import numpy as np
import pandas as pd
import pytest
import torch
from _small import X, Y, by_distance, wrap
from scipy.special import ndtr

from smoothcs import CostSensitiveSmoothedClassifier, certify_votes, sample_votes
from smoothcs.certification import with_costs

LARGE = np.array([[0.5, 1e8, 2.0], [0.1, 3.0, 1.0]])


def sums(batch):
    return (batch.sum(axis=1) > 0).astype(int)


def summing(**params):
    params = {"sigma": 0.5, "n_estimation": 100, "random_state": 0, **params}
    return CostSensitiveSmoothedClassifier.from_module(sums, classes=2, **params)


METHODS = {
    "certify": lambda clf, X: clf.certify(X),
    "tolerance": lambda clf, X: clf.certify(X, radius_tol=0.1),
    "radius": lambda clf, X: clf.certify_radius(X),
    "at eps": lambda clf, X: clf.certify_at(X),
    "score": lambda clf, X: clf.score(X, np.array([0, 1])),
    "report": lambda clf, X: clf.certified_report(X, np.array([0, 1])),
}


@pytest.mark.parametrize("method", METHODS)
def test_noise_that_float32_swallows_is_refused_by_the_name_of_the_column(method):
    # At 1e8 neighbours lie 8 apart: the noise disappears, and all votes agree.
    votes = sample_votes(sums, LARGE.astype(np.float32), 100, 0.5, n_classes=2)
    assert votes[0].tolist() == [0, 100]
    with pytest.raises(ValueError, match=r"input 0 by 8.* because of column 1, which holds 1e\+08"):
        METHODS[method](summing(), LARGE)
    METHODS[method](summing(), LARGE - [[0, 1e8, 0], [0, 0, 0]])


def test_the_column_of_a_frame_is_named_and_the_row_found():
    frame = pd.DataFrame(
        {"age": np.linspace(0, 1, 1500), "income": 1.0, "year": np.linspace(-1, 1, 1500)}
    )
    y = (frame["year"] > 0).astype(int)
    clf = CostSensitiveSmoothedClassifier(max_epochs=1, n_estimation=50, random_state=0)
    clf.fit(frame, y)
    frame.loc[1400, "income"] = -1e8
    with pytest.raises(ValueError, match=r"input 1400 .*column 'income', which holds -1e\+08"):
        clf.certify(frame)


def test_items_of_a_data_set_are_looked_at_too():
    data = torch.utils.data.TensorDataset(torch.tensor(LARGE), torch.tensor([0, 1]))
    for use in (METHODS["certify"], METHODS["at eps"], METHODS["score"]):
        with pytest.raises(ValueError, match="input 0 by 8.* because of column 1"):
            use(summing(), data)


def spacing(x):
    """The distance from float32 numbers of this size to the next larger one."""
    x = np.abs(x).astype(np.float32)
    return np.nextafter(x, np.float32(np.inf)).astype(np.float64) - x


@pytest.mark.parametrize("bound", ["exact", "closed-form", "paper"])
@pytest.mark.parametrize("size", [1.0, 300.0])
def test_every_radius_shrinks_by_the_bound(size, bound):
    Z = size * X
    clf = wrap(lambda x: by_distance(x / size), sigma=0.5 * size, bound=bound)
    found = clf.certify(Z, Y)
    # No radius reaches 16 sigma, so both ends are no larger than this.
    expected = np.linalg.norm(spacing(np.abs(Z) + 16 * clf.sigma), axis=1)
    np.testing.assert_allclose(found.input_error, expected, rtol=1e-12)
    without = certify_votes(found.selection_votes, found.votes, sigma=clf.sigma, y=Y, bound=bound)
    for kind in ("standard", "group", "pair"):
        kept, whole = getattr(found, f"radius_{kind}"), getattr(without, f"radius_{kind}")
        lost = np.broadcast_to(expected.reshape(-1, *[1] * (whole.ndim - 1)), whole.shape)
        np.testing.assert_allclose(kept, np.maximum(whole - lost, 0), rtol=1e-12, atol=1e-12)
        assert (kept > 0).any()


STEP = 2.0**-4  # between neighbours from 2^19 to 2^20
SIGMA, N = 1.0, 400_000
BOUNDARY = 600_000.0  # a float32 number, and the last one that is called 0
POINT = BOUNDARY + 1.0 - 0.49 * STEP  # rounded up, to BOUNDARY + 1
ACROSS = BOUNDARY + 0.49 * STEP  # rounded down, to BOUNDARY
DISTANCE = POINT - ACROSS


def beyond_the_boundary(batch):
    return (batch[:, 0] > BOUNDARY).astype(int)


def test_without_it_a_radius_would_be_false():
    """In closed form: the noise is rounded as well, so the boundary lies half a step further."""
    assert float(np.float32(POINT)) == BOUNDARY + 1.0
    assert float(np.float32(ACROSS)) == BOUNDARY
    share_of_one = ndtr(-0.5 * STEP / SIGMA)  # at ACROSS: what is rounded up, beyond the boundary
    assert share_of_one < 0.5
    clf = CostSensitiveSmoothedClassifier.from_module(
        beyond_the_boundary, classes=2, sigma=SIGMA, n_estimation=N, random_state=0
    )
    votes = sample_votes(beyond_the_boundary, np.float32([[ACROSS]]), N, SIGMA, n_classes=2)
    assert abs(votes[0, 1] / N - share_of_one) < 5 * 0.5 / np.sqrt(N)

    found = clf.certify([[POINT]])
    assert found.label[0] == 1
    for radius in (found.radius_standard[0], found.radius_group[0]):
        assert radius + found.input_error[0] > DISTANCE  # false: the label differs at ACROSS
        assert 0.9 * DISTANCE < radius <= DISTANCE
    without = certify_votes(found.selection_votes, found.votes, sigma=SIGMA)
    assert without.radius_standard[0] > DISTANCE

    kinds = ("group", "standard")
    decided = clf.certify_at([[POINT]], eps=[0.8 * DISTANCE, DISTANCE + 1e-6], kinds=kinds)
    for certified in (decided.certified_group, decided.certified_standard):
        assert certified.tolist() == [[True, False]]


def test_costs_and_error_matrices_of_other_costs_keep_it():
    clf = wrap(lambda x: by_distance(x - 1e4), sigma=0.5)
    found = clf.certify(X + np.float32(1e4), Y)
    np.testing.assert_array_equal(
        with_costs(found, found.cost_matrix).radius_pair, found.radius_pair
    )
    i = int(np.nanargmax(found.radius_pair[:, 1]))
    one, eps = found[[i]], float(found.radius_pair[i, 1])
    row = one.y[0]
    # Just within the radius, as voted on; beyond it, as what was certified.
    assert one.robust_error_matrix(eps - 1e-9)[row, 1] == 0.0
    assert one.robust_error_matrix(eps + 0.5 * one.input_error[0])[row, 1] == 1.0
