"""Checks of the noise and of the votes: sigma, eps, alpha, n, and the key."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np

from smoothcs._estimator._fit import draw_seed
from smoothcs.certification import largest_radius
from smoothcs.diagnosis._checks import Answer, Case, check, issue, passed
from smoothcs.sequential import look_schedule
from smoothcs.votes.noise import make_key

NO_NOISE, DROWNED = 0.01, 3.0  # sigma in units of the spread of a column
NEAR = 0.8  # of the largest radius
GUESSES = 1000
CEILING_INPUTS, CEILING_VOTES = 20, 1000


@check("SC101", "sigma against the units of X")
def sigma_against_units(case: Case) -> Answer:
    """Noise far below the spread of the inputs does nothing; far above it, it drowns them."""
    moving = case.scale.ravel() > 0
    spread = case.X.reshape(len(case.X), -1)[:, moving].std(axis=0, dtype=np.float64)
    noise = case.clf.sigma * case.scale.ravel()[moving]
    if not (spread > 0).any():
        return Answer("tip", "all inputs are equal, so their units cannot be told.")
    # Of an image, pixels that never change say nothing.
    ratio = float(np.median(noise[spread > 0] / spread[spread > 0]))
    found = f"sigma={case.clf.sigma:g} is {ratio:.3g} times the spread of a typical column"
    if ratio < NO_NOISE:
        most = float(np.abs(case.X).max())
        hint = " (inputs in 0..255? divide by 255)" if 100 < most <= 255 else ""
        return issue(f"{found}: no radius can mean anything there. Scale X{hint}, or raise sigma.")
    if ratio > DROWNED:
        return issue(f"{found}: the noise drowns the inputs. Scale X, or lower sigma.")
    return passed(f"{found}.")


@check("SC102", "alpha and n against eps")
def reach_of_the_votes(case: Case) -> Answer:
    """Whether unanimous votes could certify eps."""
    clf = case.clf
    n, level = clf.n_estimation, clf.alpha
    if clf.bound == "exact":  # scores look at the votes as they come, and pay for each look
        level = float(look_schedule(n, clf.alpha)[1][-1])
    most = _reach(clf, level)
    found = f"n_estimation={n} votes at alpha={clf.alpha:g} reach {most:.4g}; eps is {case.eps:g}"
    if case.eps >= most:
        return issue(
            f"{found}: no input can be certified. Raise n_estimation or sigma, or lower eps."
        )
    if case.eps > NEAR * most:
        return Answer("tip", f"{found}: only almost unanimous votes certify it.")
    return passed(f"{found}.")


@check("SC103", "noise that can be foreseen")
def foreseeable_noise(case: Case) -> Answer:
    """Whether the key of the noise can be had from ``random_state`` or by guessing."""
    state, key = case.clf.random_state, case.clf.vote_key_
    seeds = [int(state)] if isinstance(state, Integral) and not isinstance(state, bool) else []
    for seed in [*seeds, *range(GUESSES)]:
        if make_key(draw_seed(seed)) == key:
            return issue(
                f"the noise follows from random_state={seed}: certificates hold for data that "
                "existed before, not for inputs chosen by someone who knows it. Fit with "
                "random_state=None for use."
            )
    if state is not None:
        return Answer("tip", f"the noise follows from random_state={state!r}; keep it secret.")
    return passed("the key was drawn in secret; a pickle of the estimator contains it.")


@check("SC104", "votes that are saturated")
def saturated_votes(case: Case) -> Answer:
    """Whether the noise changes any answer at all."""
    unanimous = float((case.votes.max(axis=1) == case.votes.sum(axis=1)).mean())
    found = (
        f"all {case.n_votes} votes agree on {unanimous:.0%} of {len(case.voted)} inputs "
        "(each class has 0 votes or all)"
    )
    if unanimous >= 0.95:
        return issue(f"{found}: the noise changes nothing. A larger sigma could certify more.")
    return passed(f"{found}.")


@check("SC105", "radii at the ceiling")
def radii_at_the_ceiling(case: Case) -> Answer:
    """Whether n and alpha limit most radii, not the classifier."""
    clf, rows = case.clf, case.rows(CEILING_INPUTS)
    n = min(clf.n_estimation, CEILING_VOTES)
    votes = case.draw(rows, n)
    share = float((votes.max(axis=1) == n).mean())
    most = _reach(clf, clf.alpha)
    found = f"{share:.0%} of {len(rows)} inputs have {n} equal votes"
    if share > 0.5 and n < clf.n_estimation:
        return Answer("tip", f"{found}; radii end at {most:.4g}, which many of them may reach.")
    if share > 0.5:
        return issue(
            f"{found}: most radii end at what n_estimation={clf.n_estimation} and alpha allow, "
            f"{most:.4g}. Read them as 'at least', or raise n_estimation."
        )
    return passed(f"{found}; radii end at {most:.4g}.")


def _reach(clf: Any, level: float) -> float:
    """Return the largest radius that the votes can certify at this level, 0 if there is none."""
    weights = clf._decision(np.empty(0)).align(clf.classes_).weights
    try:
        return largest_radius(clf.n_estimation, level, clf.sigma, weights=weights, bound=clf.bound)
    except ValueError:  # too few votes
        return 0.0
