"""How the estimator certifies: which votes to draw, and what to make of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothcs._validation import check_choice, check_integer, check_positive
from smoothcs.bounds.binomial import smallest_n
from smoothcs.certification._at_eps import CertifiedDecisions
from smoothcs.certification._certify import Certificates
from smoothcs.certification._decision import certify_decision
from smoothcs.cost import CostMatrix
from smoothcs.decision._votes import ExpectedCost, WeightedVote
from smoothcs.sequential._radius import RadiusRule
from smoothcs.sequential._together import KINDS, Together
from smoothcs.votes._sample import VotesInterrupted, draw_votes, sample_votes


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


def winner(decision: WeightedVote | ExpectedCost | None, votes: NDArray[Any]) -> NDArray[np.intp]:
    """Return the class indices that votes make the decision rule (None: plurality) choose, (n,)."""
    return votes.argmax(axis=1) if decision is None else decision.winner(votes)


@dataclass(frozen=True)
class Request:
    """What is to be certified, checked: see ``CostSensitiveSmoothedClassifier.certify``."""

    decision: WeightedVote | ExpectedCost | None
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

    def winner(self, selection: NDArray[np.int64]) -> NDArray[np.intp]:
        """Return the class that is to be certified, (n,)."""
        return winner(self.decision, selection)

    def omega(self, selection: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return each input's sensitive targets (n, m)."""
        row = self.winner(selection) if self.y is None else self.cost_matrix.encode(self.y)
        return self.cost_matrix.omega[row]

    def certificates(
        self, selection: NDArray[np.int64], votes: NDArray[np.int64], **params: Any
    ) -> Certificates:
        """Return the certificates of these votes."""
        return certify_decision(
            self.decision,
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
    check_can_certify(request.n_estimation, request.alpha, request.bound, request.decision)
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
    decision = _check_sequential(request, n_max)
    radius_tol = check_positive("radius_tol", radius_tol)
    selection = _select(request, classifier, X, vote_params)
    omega = request.omega(selection)
    others = np.arange(omega.shape[1]) != request.winner(selection)[:, None]
    targets = np.where(omega.any(axis=1, keepdims=True), omega, others)
    rule = RadiusRule(
        selection,
        targets,
        sigma=request.sigma,
        radius_tol=radius_tol,
        alpha=request.alpha,
        n_max=n_max,
        blockers=request.blockers,
        weights=None if decision is None else decision.weights,
    )

    def certificates(votes: NDArray[np.int64]) -> Certificates:
        drawn = votes.sum(axis=1)
        # The look at which an input stopped has its own level: optional stopping is paid for.
        level = rule.levels[np.minimum(np.searchsorted(rule.looks, drawn), len(rule.levels) - 1)]
        return request.certificates(selection, votes, n=drawn, level=level)

    return certificates(_draw(request, classifier, X, rule, vote_params, certificates))


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
    decision = _check_sequential(request, n_max)
    if not kinds:
        raise ValueError(f"kinds must name at least one of {list(KINDS)}; got none.")
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        check_choice("kinds", kind, KINDS)
    # Each radius once: metrics ask for one of them.
    given = [check_positive("eps", float(e)) for e in np.atleast_1d(np.asarray(eps))]
    radii = np.array(list(dict.fromkeys(given)))
    if not len(radii):
        raise ValueError("eps must hold at least one radius > 0; got none.")
    correct = None
    if request.also_correct and request.y is not None:
        correct = request.cost_matrix.encode(request.y)

    def rules_for(selection: NDArray[np.int64]) -> Together:
        return Together(
            selection,
            request.omega(selection),
            kinds={kinds} if isinstance(kinds, str) else kinds,
            eps=radii,
            sigma=request.sigma,
            alpha=request.alpha,
            n_max=n_max,
            blockers=request.blockers,
            correct=correct,
            weights=None if decision is None else decision.weights,
        )

    def read_off(rules: Together, selection: NDArray, votes: NDArray) -> CertifiedDecisions:
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

    selection = _select(
        request, classifier, X, vote_params, lambda none: read_off(rules_for(none), none, none)
    )
    rules = rules_for(selection)

    def decisions(votes: NDArray[np.int64]) -> CertifiedDecisions:
        return read_off(rules, selection, votes)

    return decisions(_draw(request, classifier, X, rules, vote_params, decisions))


def _select(
    request: Request,
    classifier: Any,
    X: Any,
    vote_params: dict[str, Any],
    result: Callable[[NDArray[np.int64]], Any] | None = None,
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
        if result is None:
            raise CertificationInterrupted(
                request.certificates(none, none, n=none.sum(axis=1))
            ) from None
        raise CertificationInterrupted(result(none)) from None


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


def check_can_certify(
    n: int,
    alpha: float,
    bound: str,
    decision: WeightedVote | ExpectedCost | None,
    name: str = "n_estimation",
) -> None:
    """Refuse a number of votes with which not even unanimity certifies anything."""
    if decision is not None and bound == "paper":
        raise ValueError(
            "bound='paper' is the published algorithms, which know the plurality vote alone; "
            "another decision needs bound='exact' or 'closed-form'."
        )
    smallest = smallest_n(alpha, bound) if decision is None else decision.smallest_n(alpha)
    if n < smallest:
        with_this = f"bound={bound!r}" if decision is None else "the weights of decision"
        raise ValueError(
            f"{name}={n} can never certify anything at alpha={alpha} with {with_this}; the "
            f"smallest that can is {smallest}."
        )


def is_sequential(bound: str, decision: WeightedVote | ExpectedCost | None) -> bool:
    """Tell whether decisions at given radii can be drawn vote by vote."""
    return bound == "exact" and not isinstance(decision, ExpectedCost)


def _check_sequential(request: Request, n_max: int) -> WeightedVote | None:
    """Return the rule, which sequential certificates know; refuse what they do not."""
    if isinstance(request.decision, ExpectedCost):
        raise ValueError(
            "the decision of least expected cost knows no sequential certificates: call certify "
            "with mode='radius' and without radius_tol, or use a weighted vote."
        )
    if request.bound != "exact":
        raise ValueError(
            f"bound={request.bound!r} knows no sequential certificates; mode='decide' and "
            "radius_tol need bound='exact'."
        )
    check_integer("n_max", n_max)
    # With so few votes there is a single look, at the whole of alpha.
    check_can_certify(n_max, request.alpha, request.bound, request.decision, name="n_max")
    return request.decision
