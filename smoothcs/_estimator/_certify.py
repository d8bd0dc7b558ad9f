"""How an estimator certifies: which votes to draw, and what to make of them.

``draw(n, purpose=...)`` is :func:`smoothcs.votes.sample_votes` with everything else filled in;
``certificates(selection, votes, **options)`` is :func:`smoothcs.certify_votes`, likewise.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothcs._validation import Ints, check_choice, check_positive
from smoothcs.certification import Certificates, CertifiedAt, certify_votes
from smoothcs.certification._at_eps import void_claims
from smoothcs.cost import CostMatrix
from smoothcs.decision import WeightedVotes
from smoothcs.sequential import KINDS, RadiusRule, Together
from smoothcs.sequential._decisions import CERTIFIED
from smoothcs.votes import VotesInterrupted
from smoothcs.votes._source import input_of

Draw = Callable[..., Ints]


class CertificationInterrupted(KeyboardInterrupt):
    """Certification was interrupted (Ctrl-C); carries what was finished.

    Attributes
    ----------
    certificates : Certificates or CertifiedAt
        Of all inputs; those that were not finished are not certified.
    """

    def __init__(self, certificates: Certificates | CertifiedAt, draw: Any = None) -> None:
        path = getattr(draw, "keywords", {}).get("resume_from")
        finished = int(np.count_nonzero(certificates.votes.any(axis=1)))
        super().__init__(
            f"certification was interrupted: {finished} of {len(certificates)} inputs are finished "
            "and in .certificates, the others are not certified. "
            + (
                "Nothing was kept on disk; with resume_from='votes.jsonl' a call could be "
                "continued after an interruption."
                if path is None
                else f"The same call, with resume_from={str(path)!r}, goes on from here."
            )
        )
        self.certificates = certificates


def certify_radii(
    draw: Draw, n_selection: int, n_estimation: int, certificates: Callable[..., Certificates]
) -> Certificates:
    """Certify with a fixed number of votes per input."""
    selection = _select(
        draw, n_selection, lambda none: certificates(none, none, n=none.sum(axis=1))
    )
    try:
        ask = _some_radius(selection, certificates) if _is_shown(draw) else None
        votes = draw(n_estimation, purpose="estimation", certified=ask)
    except VotesInterrupted as stop:
        part = certificates(selection, stop.votes, n=stop.votes.sum(axis=1))
        raise CertificationInterrupted(part, draw) from None
    return certificates(selection, votes)


def certify_to_tolerance(
    draw: Draw,
    n_selection: int,
    certificates: Callable[..., Certificates],
    omega: Callable[[Ints], NDArray[np.bool_]],
    decision: WeightedVotes,
    *,
    radius_tol: float,
    **rule_params: Any,
) -> Certificates:
    """Certify with as many votes as the radius still gains ``radius_tol`` from."""
    radius_tol = check_positive("radius_tol", radius_tol)
    selection = _select(
        draw, n_selection, lambda none: certificates(none, none, n=none.sum(axis=1))
    )
    targets = omega(selection)
    others = np.arange(targets.shape[1]) != decision.winner(selection)[:, None]
    targets = np.where(targets.any(axis=1, keepdims=True), targets, others)
    rule = RadiusRule(
        selection, targets, radius_tol=radius_tol, weights=decision.weights, **rule_params
    )

    def at_its_look(votes: Ints) -> Certificates:
        drawn = votes.sum(axis=1)
        # The look at which an input stopped has its own level: optional stopping is paid for.
        level = rule.levels[np.minimum(np.searchsorted(rule.looks, drawn), len(rule.levels) - 1)]
        return certificates(selection, votes, n=drawn, level=level)

    return at_its_look(_draw(draw, rule, at_its_look))


def certify_at_eps(
    draw: Draw,
    n_selection: int,
    omega: Callable[[Ints], NDArray[np.bool_]],
    decision: WeightedVotes,
    *,
    eps: ArrayLike,
    kinds: str | Collection[str],
    sigma: float,
    alpha: float,
    n_max: int,
    input_error: float,
    correct: NDArray[np.intp] | None,
    cost_matrix: CostMatrix,
    y: NDArray[Any] | None,
    harmless_errors: str,
    notes: dict[str, Any],
    **rule_params: Any,
) -> CertifiedAt:
    """Certify at given radii only, with as few votes as that needs."""
    chosen = [kinds] if isinstance(kinds, str) else list(kinds)
    if not chosen:
        raise ValueError(f"kinds must name at least one of {list(KINDS)}; got none.")
    for kind in chosen:
        check_choice("kinds", kind, KINDS)
    # Each radius once: metrics ask for one of them.
    given = [check_positive("eps", float(e)) for e in np.atleast_1d(np.asarray(eps))]
    radii = np.array(list(dict.fromkeys(given)))
    if not len(radii):
        raise ValueError("eps must hold at least one radius > 0; got none.")

    def rules_for(selection: Ints) -> Together:
        return Together(
            selection,
            omega(selection),
            kinds=set(chosen),
            eps=radii + input_error,
            sigma=sigma,
            alpha=alpha,
            n_max=n_max,
            correct=correct,
            weights=decision.weights,
            **rule_params,
        )

    def read_off(rules: Together, selection: Ints, votes: Ints) -> CertifiedAt:
        return CertifiedAt.from_rules(
            rules,
            votes,
            selection,
            eps=radii,
            sigma=sigma,
            alpha=alpha,
            n_max=n_max,
            cost_matrix=cost_matrix,
            y=y,
            decision=decision,
            harmless_errors=harmless_errors,
            **notes,
        )

    selection = _select(draw, n_selection, lambda none: read_off(rules_for(none), none, none))
    rules = rules_for(selection)
    void = void_claims(rules.top, cost_matrix, y, harmless_errors)[chosen[0]] | rules.unseen
    shown = rules.rules[chosen[0]]

    def ask(index: int, counts: Ints) -> bool:
        return not void[index] and bool((shown.status[index] == CERTIFIED).any())

    votes = _draw(draw, rules, lambda votes: read_off(rules, selection, votes), ask)
    return read_off(rules, selection, votes)


def _select(
    draw: Draw, n_selection: int, nothing: Callable[[Ints], Certificates | CertifiedAt]
) -> Ints:
    try:
        return draw(n_selection, purpose="selection")
    except VotesInterrupted as stop:
        # Without selection votes for all nothing can be said of any: stop without a certificate.
        raise CertificationInterrupted(nothing(np.zeros_like(stop.votes)), draw) from None


def _is_shown(draw: Draw) -> bool:
    return bool(getattr(draw, "keywords", {}).get("verbose"))


def _some_radius(
    selection: Ints, certificates: Callable[..., Certificates]
) -> Callable[[int, Ints], bool]:
    """Return what tells of one input whether it has a radius > 0; "closed-form", which is quick."""
    given = certificates.keywords  # type: ignore[attr-defined]
    names = ("sigma", "alpha", "cost_matrix", "decision", "also_correct", "harmless_errors")
    kept = {name: given[name] for name in names}

    def ask(index: int, counts: Ints) -> bool:
        if counts.sum() < kept["decision"].smallest_n(kept["alpha"], "closed-form"):
            return False
        one = certify_votes(
            selection[[index]],
            counts[None],
            y=None if given["y"] is None else given["y"][[index]],
            bound="closed-form",
            **kept,
        )
        return bool(np.where(np.isnan(one.radius_group), one.radius_standard, one.radius_group) > 0)

    return ask


def _draw(
    draw: Draw,
    schedule: Any,
    result: Callable[[Ints], Certificates | CertifiedAt],
    certified: Callable[[int, Ints], bool] | None = None,
) -> Ints:
    try:
        return draw(schedule, purpose="estimation", certified=certified)
    except VotesInterrupted as stop:
        raise CertificationInterrupted(result(stop.votes), draw) from None


def rounding_errors(
    X: Any, sigma: float, names: Any = None, scale: NDArray[np.float32] | None = None
) -> NDArray[np.float64]:
    """How far rounding to float32 may separate each input from what is voted on, l2, (n,).

    An input and its perturbed version are both rounded, each entry by at most half the spacing of
    float32 numbers of its size; no certified radius reaches 16 sigma.

    Raises
    ------
    ValueError
        If it exceeds sigma / 10 for some input; the message names the column.
    """
    errors = np.empty(len(X))
    noise = np.float32(1.0) if scale is None else scale.ravel()
    rows = 1024 if isinstance(X, np.ndarray) else 1
    for start in range(0, len(X), rows):
        x = X[start : start + rows] if rows > 1 else input_of(X[start])[None]
        x = np.reshape(np.asarray(x, dtype=np.float32), (len(x), -1))
        spacing = np.spacing(np.abs(x) + np.float32(16.0 * sigma) * noise).astype(np.float64)
        # Entries without noise do not change, and are rounded alike.
        spacing = np.divide(spacing, noise, out=np.zeros_like(spacing), where=noise > 0)
        errors[start : start + rows] = np.sqrt((spacing**2).sum(axis=1))
        too_large = np.flatnonzero(~(errors[start : start + rows] <= sigma / 10))
        if len(too_large):
            i = int(too_large[0])
            worst = int(spacing[i].argmax())
            column = worst if names is None else repr(names[worst])
            raise ValueError(
                f"sigma={sigma:g} is too small for X: rounding to float32 may move input "
                f"{start + i} by {errors[start + i]:.3g}, more than sigma / 10, because of column "
                f"{column}, which holds {x[i, worst]:g}. Subtract a constant from that column, or "
                "scale it."
            )
    return errors
