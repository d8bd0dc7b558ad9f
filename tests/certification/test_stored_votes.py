"""Certificates of 6,048 random vote rows, stored before the package was laid out anew.

Radii of the published bound are the same to the last bit, those of the closed form and of the exact
test within 1e-12: numpy's last bits depend on the processor and on the place in an array. With two
classes the exact test became a binomial test: radii may only have grown. With more it searches: of
these cases every second row is certified, or every fourth where there are 1,000 votes and more.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from smoothcs.certification import certify_votes
from smoothcs.decision import WeightedVotes

HERE = Path(__file__).parent
STORED = np.load(HERE / "stored_votes.npz")
CASES = json.loads(str(STORED["options"]))


def names(case):
    options = CASES[case]
    weighted = "-weighted" if f"{case:03d}_weights" in STORED else ""
    return f"{case:03d}-{options['m']}-classes-{options['bound']}{weighted}"


@pytest.mark.parametrize("case", range(len(CASES)), ids=names)
def test_radii_are_those_stored(case):
    options = CASES[case]
    searched = options["bound"] == "exact" and options["m"] > 2
    many = STORED[f"{case:03d}_estimation"][0].sum() >= 1000
    rows = slice(None, None, (4 if many else 2) if searched else 1)

    def stored(name):
        value = STORED.get(f"{case:03d}_{name}")
        return value if name in ("costs", "weights") or value is None else value[rows]

    weights = stored("weights")
    found = certify_votes(
        stored("selection"),
        stored("estimation"),
        cost_matrix=stored("costs"),
        y=stored("y"),
        level=stored("level"),
        decision=None if weights is None else WeightedVotes(weights),
        **{k: v for k, v in options.items() if k not in ("rows", "m")},
    )
    np.testing.assert_array_equal(found.label, stored("label"))
    for kind in ("standard", "group", "pair"):
        radius, before = getattr(found, f"radius_{kind}"), stored(kind)
        if options["bound"] == "closed-form":
            np.testing.assert_allclose(radius, before, rtol=0, atol=1e-12)
        elif searched:
            np.testing.assert_allclose(radius, before, rtol=1e-12, atol=0)
        elif options["bound"] == "exact":
            assert not np.any(radius < before)
            assert np.nanmax(radius - before, initial=0) <= 0.02 * options["sigma"]
        else:
            np.testing.assert_array_equal(radius, before)


@pytest.mark.parametrize("bound", ["exact", "paper", "closed-form"])
def test_a_fitted_estimators_radii_follow_from_its_votes_as_before(bound):
    stored = np.load(HERE / "stored_estimator.npz")
    found = certify_votes(
        stored["selection"],
        stored["estimation"],
        sigma=0.5,
        cost_matrix=stored["costs"],
        y=stored["y"],
        bound=bound,
    )
    np.testing.assert_array_equal(found.label, stored["label"])
    if bound == "exact":
        for kind in ("standard", "group", "pair"):
            radius = getattr(found, f"radius_{kind}")
            np.testing.assert_allclose(radius, stored[kind], rtol=1e-12, atol=0)
        np.testing.assert_array_equal(found.abstained, stored["abstained"])
    else:
        assert np.all(found.radius_group[~np.isnan(found.radius_group)] >= 0)
