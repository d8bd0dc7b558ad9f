"""What is certified about a portfolio, what an attack reaches, and what lies between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from smoothcs._estimator._portfolio import attacked_risk
from smoothcs._estimator._unwrap import final_step
from smoothcs.plotting._common import (
    BLUE,
    COLORS,
    GREY,
    ORANGE,
    UNITS,
    no_figure_on_error,
    several_axes,
)
from smoothcs.portfolio import PortfolioCertificate

GREEN = COLORS[2]
BY_VOTES = (1, 2, 5, 10, 20)


@dataclass(kw_only=True, eq=False, repr=False)
class PortfolioDisplay:
    """The certified risk of a portfolio against the attack radius, and against the votes.

    The true risk under attack lies in the shaded region: at most the bound, and at least what an
    attack has reached. How high the region is tells how loose bound and attack are together.

    Created by :meth:`from_estimator` or :meth:`from_certificate`.

    Parameters
    ----------
    certificate : PortfolioCertificate
        For one or several eps.
    attacked : ndarray of shape (n_eps,), default=None
        Mean cost that an attack with each eps reached on the same inputs.
    by_votes : sequence of PortfolioCertificate, default=()
        Certificates of the same inputs at one eps, from other numbers of votes.

    Attributes
    ----------
    bound_, one_vote_ : matplotlib Line2D
        The certified risk, and what one vote per input would certify.
    attacked_ : matplotlib Line2D
        What the attack reached; without one, the risk without attack.
    votes_ : matplotlib Line2D or None
        The certified risk against the votes.
    axes_ : ndarray of matplotlib Axes
        One, or two if there is ``by_votes``.
    figure_ : matplotlib Figure

    Examples
    --------
    >>> import numpy as np
    >>> from smoothcs.plotting import PortfolioDisplay
    >>> from smoothcs.portfolio import certify_portfolio
    >>> missed = np.random.default_rng(0).binomial(10, 0.05, size=2000)
    >>> votes = np.stack([missed, 10 - missed], axis=1)
    >>> certificate = certify_portfolio(votes, np.ones(2000, int), sigma=0.5, eps=[0.1, 0.2, 0.4])
    >>> display = PortfolioDisplay.from_certificate(certificate)
    >>> display.axes_[0].get_xlabel()
    'attack radius eps (units of X)'
    """

    certificate: PortfolioCertificate
    attacked: ArrayLike | None = None
    by_votes: Sequence[PortfolioCertificate] = ()

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        eps: Sequence[float],
        *,
        n_votes: int = 10,
        by_votes: Sequence[int] = BY_VOTES,
        attack: bool = True,
        certify_params: dict[str, Any] | None = None,
        ax: Any = None,
    ) -> PortfolioDisplay:
        """Certify inputs with a fitted estimator, attack them, and plot.

        Parameters
        ----------
        estimator : CostSensitiveSmoothedClassifier, or a Pipeline or search that ends in one
            Fitted.
        X, y, eps, n_votes
            As in :meth:`CostSensitiveSmoothedClassifier.certify_portfolio`; several eps.
        by_votes : sequence of int, default=(1, 2, 5, 10, 20)
            Votes per input to compare at the largest eps; empty for none. Each bound holds by
            itself: decide on a number before looking.
        attack : bool, default=True
            Whether to attack the one-draw predictor by projected gradients, which takes a few
            hundred forward passes per input and eps. Models without gradients are not attacked.
        certify_params : dict, default=None
            Passed to ``certify_portfolio``: ``costs``, ``max_cost``, ``cost_matrix``, ``alpha``,
            ``sampling``.
        ax : see :meth:`plot`

        Returns
        -------
        display : PortfolioDisplay
        """
        params = certify_params or {}
        clf, X = final_step(estimator, X)
        radii = np.atleast_1d(eps)
        certificate = clf.certify_portfolio(X, y, radii, n_votes=n_votes, **params)
        at = float(radii.max())
        others = [clf.certify_portfolio(X, y, at, n_votes=n, **params) for n in by_votes]
        prices = {name: params.get(name) for name in ("costs", "cost_matrix")}
        reached = attacked_risk(clf, X, y, list(radii), **prices) if attack else None
        return cls.from_certificate(certificate, attacked=reached, by_votes=others, ax=ax)

    @classmethod
    def from_certificate(
        cls,
        certificate: PortfolioCertificate,
        *,
        attacked: ArrayLike | None = None,
        by_votes: Sequence[PortfolioCertificate] = (),
        ax: Any = None,
    ) -> PortfolioDisplay:
        """Plot certificates that exist already.

        Parameters
        ----------
        certificate, attacked, by_votes
            As for the class.
        ax : see :meth:`plot`

        Returns
        -------
        display : PortfolioDisplay
        """
        if not isinstance(certificate, PortfolioCertificate):
            raise TypeError(
                "certificate must be a PortfolioCertificate, as certify_portfolio returns it; "
                f"got {type(certificate).__name__}."
            )
        if attacked is not None and np.shape(attacked) != np.shape(np.atleast_1d(certificate.eps)):
            raise ValueError(
                f"attacked must hold one number per eps, {np.size(certificate.eps)}; "
                f"got shape {np.shape(attacked)}."
            )
        if len({np.min(c.eps) for c in by_votes} | {np.max(c.eps) for c in by_votes}) > 1:
            raise ValueError("by_votes must hold certificates for one eps, the same in all.")
        return cls(certificate=certificate, attacked=attacked, by_votes=by_votes).plot(ax)

    @no_figure_on_error()
    def plot(self, ax: Any = None) -> PortfolioDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, or two of them, default=None
            Where to plot. If None, in a new figure.

        Returns
        -------
        display : PortfolioDisplay
            This object.
        """
        widths = (3, 2) if self.by_votes else (1,)
        self.figure_, self.axes_ = several_axes(ax, widths, (5.0 + 4.0 * len(self.by_votes[:1]), 4))
        self._against_eps(self.axes_[0])
        self.votes_ = None
        if self.by_votes:
            self._against_votes(self.axes_[1])
        return self

    def _against_eps(self, ax: Any) -> None:
        c = self.certificate
        order = np.argsort(np.atleast_1d(c.eps))
        eps, bound, one = (np.atleast_1d(v)[order] for v in (c.eps, c.risk, c.one_vote_risk))
        if self.attacked is None:
            lower, name = np.full(len(eps), c.clean_risk), "without attack"
        else:
            lower, name = np.asarray(self.attacked)[order], "reached by an attack"
        (self.one_vote_,) = ax.plot(eps, one, "s--", color=ORANGE, label="certified, 1 vote")
        (self.bound_,) = ax.plot(
            eps, bound, "o-", color=BLUE, label=f"certified, {_votes(c.n_votes)}"
        )
        ax.fill_between(eps, lower, bound, color=BLUE, alpha=0.12, linewidth=0)
        (self.attacked_,) = ax.plot(eps, lower, "^:", color=GREEN, label=name)
        low, high = c.clean_risk_interval
        ax.errorbar(
            0.0,
            c.clean_risk,
            [[c.clean_risk - low], [high - c.clean_risk]],
            fmt="D",
            color=GREY,
            capsize=4,
            label="without attack",
        )
        ax.set(
            xlabel=f"attack radius eps ({UNITS})",
            ylabel="mean cost of an answer",
            ylim=(0, None),
            title=f"{c.n_inputs} inputs, alpha = {c.alpha:g}",
        )
        ax.legend()

    def _against_votes(self, ax: Any) -> None:
        shown = sorted(self.by_votes, key=lambda c: c.n_votes)
        eps = float(np.max(shown[0].eps))
        votes = [c.n_votes for c in shown]
        (self.votes_,) = ax.plot(votes, [np.max(c.risk) for c in shown], "o-", color=BLUE)
        radii = np.atleast_1d(self.certificate.eps)
        if self.attacked is not None and eps in radii:
            reached = float(np.asarray(self.attacked)[radii == eps][0])
            ax.axhline(reached, color=GREEN, linestyle=":")
        ax.set(xscale="log", xlabel="votes per input", title=f"eps = {eps:g}")
        ax.set_xticks(votes, [str(n) for n in votes], minor=False)
        ax.minorticks_off()
        ax.set_ylim(self.axes_[0].get_ylim())


def _votes(n: int) -> str:
    return "1 vote" if n == 1 else f"{n} votes"
