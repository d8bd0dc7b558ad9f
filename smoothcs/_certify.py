"""How the estimator certifies: which votes to draw, and what to make of them."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._decide import KINDS, CertifiedDecisions, DecisionRules, RuleSchedule
from ._inputs import check_can_certify
from ._validation import check_choice, check_integer, check_positive
from .bounds import smallest_n
from .certification import Certificates, certify_votes
from .cost import CostMatrix
from .sequential import RadiusRule
from .votes import VotesInterrupted, draw_votes, sample_votes


class CertificationInterrupted(KeyboardInterrupt):
    """Certification was interrupted (Ctrl-C); carries what was finished.

    Attributes
    ----------
    certificates : Certificates or CertifiedDecisions
        Of all inputs; those that were not finished are not certified.
    """

    def __init__(self, certificates: Certificates | CertifiedDecisions) -> None:
        super().__init__("certification was interrupted; finished inputs are in .certificates")
        self.certificates = certificates


@dataclass(frozen=True)
class Request:
    """What is to be certified, checked: see ``CostSensitiveSmoothedClassifier.certify``."""

    cost_matrix: CostMatrix
    y: NDArray[Any] | None
    sigma: float
    alpha: float
    bound: str
    n_selection: int
    n_estimation: int
    simultaneous: bool
    blockers: bool | int
    also_correct: bool
    harmless_errors: str
    resume_from: str | os.PathLike[str] | None

    def omega(self, selection: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return each input's sensitive targets (n, m)."""
        row = selection.argmax(axis=1) if self.y is None else self.cost_matrix.encode(self.y)
        return self.cost_matrix.omega[row]

    def certificates(
        self, selection: NDArray[np.int64], votes: NDArray[np.int64], **params: Any
    ) -> Certificates:
        """Return the certificates of these votes."""
        return certify_votes(
            selection,
            votes,
            sigma=self.sigma,
            alpha=self.alpha,
            cost_matrix=self.cost_matrix,
            y=self.y,
            bound=self.bound,
            simultaneous=self.simultaneous,
            blockers=self.blockers,
            also_correct=self.also_correct,
            harmless_errors=self.harmless_errors,
            **params,
        )


def certify_radii(
    request: Request, classifier: Any, X: Any, vote_params: dict[str, Any]
) -> Certificates:
    """Certify with a fixed number of votes an input."""
    check_can_certify(request.n_estimation, request.alpha, request.bound)
    selection = _select(request, classifier, X, vote_params)
    try:
        votes = sample_votes(
            classifier,
            X,
            request.n_estimation,
            request.sigma,
            purpose="estimation",
            resume_from=request.resume_from,
            **vote_params,
        )
    except VotesInterrupted as stop:
        part = request.certificates(selection, stop.votes, n=stop.votes.sum(axis=1))
        raise CertificationInterrupted(part) from None
    return request.certificates(selection, votes)


def certify_to_tolerance(
    request: Request,
    classifier: Any,
    X: Any,
    vote_params: dict[str, Any],
    *,
    radius_tol: float,
    n_max: int,
) -> Certificates:
    """Certify with as many votes as the radius still gains ``radius_tol`` from."""
    _check_sequential(request, n_max)
    radius_tol = check_positive("radius_tol", radius_tol)
    selection = _select(request, classifier, X, vote_params)
    omega = request.omega(selection)
    others = np.arange(omega.shape[1]) != selection.argmax(axis=1)[:, None]
    rule = RadiusRule(
        selection,
        np.where(omega.any(axis=1, keepdims=True), omega, others),
        sigma=request.sigma,
        radius_tol=radius_tol,
        alpha=request.alpha,
        n_max=n_max,
        blockers=request.blockers,
    )
    schedule = RuleSchedule(rule, f"radius_tol={radius_tol}, alpha={request.alpha}, n_max={n_max}")

    def certificates(votes: NDArray[np.int64]) -> Certificates:
        drawn = votes.sum(axis=1)
        # The look at which an input stopped has its own level: optional stopping is paid for.
        level = rule.levels[np.minimum(np.searchsorted(rule.looks, drawn), len(rule.levels) - 1)]
        return request.certificates(selection, votes, n=drawn, level=level)

    return certificates(_draw(request, classifier, X, schedule, vote_params, certificates))


def decide(
    request: Request,
    classifier: Any,
    X: Any,
    vote_params: dict[str, Any],
    *,
    eps: ArrayLike,
    n_max: int,
    kinds: Collection[str],
) -> CertifiedDecisions:
    """Certify at given radii only, with as few votes as that needs."""
    _check_sequential(request, n_max)
    for kind in kinds:
        check_choice("kinds", kind, KINDS)
    radii = np.array([check_positive("eps", float(e)) for e in np.atleast_1d(np.asarray(eps))])
    selection = _select(request, classifier, X, vote_params)
    correct = None
    if request.also_correct and request.y is not None:
        correct = request.cost_matrix.encode(request.y)
    rules = DecisionRules(
        selection,
        request.omega(selection),
        kinds=kinds,
        eps=radii,
        sigma=request.sigma,
        alpha=request.alpha,
        n_max=n_max,
        blockers=request.blockers,
        correct=correct,
    )

    def decisions(votes: NDArray[np.int64]) -> CertifiedDecisions:
        return CertifiedDecisions.from_rules(
            rules,
            votes,
            selection,
            sigma=request.sigma,
            alpha=request.alpha,
            n_max=n_max,
            eps=radii,
            cost_matrix=request.cost_matrix,
            y=request.y,
            harmless_errors=request.harmless_errors,
        )

    return decisions(_draw(request, classifier, X, rules, vote_params, decisions))


def _select(
    request: Request, classifier: Any, X: Any, vote_params: dict[str, Any]
) -> NDArray[np.int64]:
    try:
        return sample_votes(
            classifier,
            X,
            request.n_selection,
            request.sigma,
            purpose="selection",
            resume_from=request.resume_from,
            **vote_params,
        )
    except VotesInterrupted as stop:
        # Without selection votes for all nothing can be said of any: stop without a certificate.
        none = np.zeros_like(stop.votes)
        part = request.certificates(none, none, n=none.sum(axis=1))
        raise CertificationInterrupted(part) from None


def _draw(
    request: Request,
    classifier: Any,
    X: Any,
    schedule: Any,
    vote_params: dict[str, Any],
    result: Any,
) -> NDArray[np.int64]:
    try:
        return draw_votes(
            classifier,
            X,
            schedule,
            request.sigma,
            purpose="estimation",
            resume_from=request.resume_from,
            **vote_params,
        )
    except VotesInterrupted as stop:
        raise CertificationInterrupted(result(stop.votes)) from None


def _check_sequential(request: Request, n_max: int) -> None:
    if request.bound != "exact":
        raise ValueError(
            f"bound={request.bound!r} knows no sequential certificates; mode='decide' and "
            "radius_tol need bound='exact'."
        )
    check_integer("n_max", n_max)
    # With so few votes there is a single look, at the whole of alpha.
    smallest = smallest_n(request.alpha, request.bound)
    if n_max < smallest:
        raise ValueError(
            f"n_max={n_max} can never certify anything at alpha={request.alpha}; the smallest "
            f"that can is {smallest}."
        )
