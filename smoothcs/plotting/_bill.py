"""The bill against the radius: what mistakes cost, with and without an attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from smoothcs import metrics
from smoothcs._estimator._inputs import check_inputs, identical_inputs
from smoothcs._validation import Floats, check_probability
from smoothcs.certification import Certificates, CertifiedAt
from smoothcs.certification._reach import ceiling
from smoothcs.plotting._accuracy import default_eps
from smoothcs.plotting._common import (
    GREY,
    UNITS,
    CertificatesDisplay,
    ascending,
    check_truth,
    draw_ceiling,
    draw_curve,
    line_style,
    no_figure_on_error,
    plain_text,
    single_axes,
)


@dataclass(kw_only=True, eq=False, repr=False)
class CertifiedBillDisplay(CertificatesDisplay):
    """What the answers cost at worst as a function of the attack radius eps.

    Created by :meth:`from_estimator` or :meth:`from_certificates`. To compare models, pass the
    ``ax_`` of the first display to the others: each gets its own colour and line style.

    Parameters
    ----------
    bill : ndarray of shape (k,)
        The bill at each radius.
    clean_bill : float
        The bill without an attack, a dot at 0.
    constant_bill : float
        The bill of the cheapest constant answer, a grey line: above it a model is worth less than
        no model.
    constant_answer : label, default=None
        Which answer that is.
    upper : ndarray of shape (k,), default=None
        Limits of the true bill. If None, there is no band.
    eps, estimator_name, ceiling
        As of :class:`CertifiedAccuracyDisplay`.

    Attributes
    ----------
    clean_ : matplotlib Line2D
        The dot of the clean bill.
    constant_ : matplotlib Line2D
        The line of the cheapest constant answer.
    band_ : matplotlib PolyCollection or None
        From the bill to its limit.
    line_, ceiling_, ax_, figure_
        As of :class:`CertifiedAccuracyDisplay`.

    See Also
    --------
    smoothcs.metrics.bill : the numbers.

    Notes
    -----
    The band covers certificates that fail: with the given confidence over the votes, the true
    worst-case bill *of these inputs* lies below its upper edge, at all radii > 0 together. It does
    not cover the random draw of the inputs.

    The curve may start above the dot: a class that is not ruled out at any radius counts as soon as
    there is an attack. Between two computed radii, the worse of their values is drawn.

    Examples
    --------
    >>> from smoothcs import certify_votes
    >>> from smoothcs.plotting import CertifiedBillDisplay
    >>> certificates = certify_votes(
    ...     [[9, 1], [1, 9]],
    ...     [[950, 50], [80, 920]],
    ...     sigma=0.5,
    ...     y=[0, 1],
    ...     cost_matrix=[[0, 1], [9, 0]],
    ... )
    >>> display = CertifiedBillDisplay.from_certificates(certificates, eps=[0.1, 1.0])
    >>> display.bill, display.clean_bill, display.constant_bill
    (array([ 0., 10.]), 0.0, 1.0)
    """

    eps: Floats
    bill: Floats
    clean_bill: float
    constant_bill: float
    constant_answer: Any = None
    upper: Floats | None = None
    estimator_name: str | None = None
    ceiling: float | None = None

    @classmethod
    def from_certificates(
        cls,
        certificates: Certificates | CertifiedAt,
        *,
        eps: ArrayLike | None = None,
        confidence: float | None = 0.95,
        noise_groups: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        name: str | None = None,
        ax: Any = None,
        units: str = UNITS,
        money: str = "units of the costs",
        **kwargs: Any,
    ) -> CertifiedBillDisplay:
        """Plot certificates that were made with the true labels.

        Parameters
        ----------
        certificates : Certificates or CertifiedAt
            With ``y``; CertifiedAt with the kinds "pair" and "label".
        eps : array-like (k,), default=None
            Radii at which to compute the bill. If None, 256 from 0 to beyond the largest, or those
            that were decided.
        confidence : float or None, default=0.95
            Of the band, in (0, 1). If None, there is no band.
        noise_groups : array-like (n,), default=None
            Which inputs are identical, see :meth:`smoothcs.Certificates.bill`.
        sample_weight : array-like (n,), default=None
            Weights of the inputs in every bill.
        name
            As in :meth:`CertifiedAccuracyDisplay.from_certificates`.
        ax, units, money, **kwargs
            See :meth:`plot`.

        Returns
        -------
        display : CertifiedBillDisplay
        """
        c = certificates
        if not isinstance(c, (Certificates, CertifiedAt)):
            raise TypeError(
                "certificates must be a smoothcs.Certificates or CertifiedAt, as certify and "
                f"certify_at return them; got {type(c).__name__}."
            )
        cls._check(c.y, confidence=confidence)
        assert c.y is not None
        if eps is None:
            eps = default_eps(c) if isinstance(c, Certificates) else c.eps
        grid = ascending(eps)
        every = [float(e) for e in grid]
        upper = None
        weighted: dict[str, Any] = {"sample_weight": sample_weight}
        if isinstance(c, Certificates):
            bill = c.bill(grid, **weighted)
            if confidence is not None:
                upper = c.bill(grid, confidence, noise_groups=noise_groups, **weighted)
        else:
            bill = np.array([c.bill(e, **weighted) for e in every])
            if confidence is not None:
                limits = [
                    c.bill(e, confidence, noise_groups=noise_groups, **weighted) for e in every
                ]
                upper = np.array(limits)
        constants = metrics.constant_bills(
            c.y, cost_matrix=c.cost_matrix, costs=c.costs, **weighted
        )
        cheapest = int(constants.argmin())
        display = cls(
            eps=grid,
            bill=bill,
            clean_bill=c.bill(0.0, **weighted),
            constant_bill=float(constants[cheapest]),
            constant_answer=c.classes[cheapest],
            upper=upper,
            estimator_name=name,
            ceiling=ceiling(c) if isinstance(c, Certificates) else None,
        )
        return display.plot(ax, units=units, money=money, **kwargs)

    @classmethod
    def _check(cls, y: Any, *, confidence: float | None = 0.95, **kwargs: Any) -> None:
        if confidence is not None:
            check_probability("confidence", confidence)
        check_truth("a bill compares", y)

    @classmethod
    def _defaults(cls, clf: Any, X: Any) -> dict[str, Any]:
        groups = identical_inputs(check_inputs(clf, X, reset=False))
        return {**super()._defaults(clf, X), "noise_groups": groups}

    @no_figure_on_error()
    def plot(
        self,
        ax: Any = None,
        *,
        name: str | None = None,
        band: bool = True,
        units: str = UNITS,
        money: str = "units of the costs",
        **kwargs: Any,
    ) -> CertifiedBillDisplay:
        """Draw the curve, its band, the clean bill and the cheapest constant answer.

        Parameters
        ----------
        ax, name, units, **kwargs
            As in :meth:`CertifiedAccuracyDisplay.plot`.
        band : bool, default=True
            Whether to draw the band up to the limit of the true bill.
        money : str
            Units of the bill, for instance "euros", for the label of the axis.

        Returns
        -------
        display : CertifiedBillDisplay
            This object.
        """
        self.figure_, self.ax_ = single_axes(ax)
        ax = self.ax_
        name = self.estimator_name if name is None else name
        style = line_style(ax, _CURVE, name, kwargs)
        limits = (self.bill, self.upper) if band and self.upper is not None else None
        self.line_, self.band_ = draw_curve(ax, self.eps, self.bill, limits, style)
        color = self.line_.get_color()
        (self.clean_,) = ax.plot([0], [self.clean_bill], "o", color=color, clip_on=False, zorder=3)
        self.ceiling_ = draw_ceiling(ax, self.ceiling)
        self.constant_ = self._constant_line(ax)
        ax.set(xlabel=f"l2 radius eps ({units})", ylabel=f"Worst-case bill\n({money})")
        ax.set_xlim(left=0)
        ax.set_ylim(bottom=0)
        ax.legend(handlelength=3.5)
        return self

    def _constant_line(self, ax: Any) -> Any:
        """Draw the cheapest constant answer, or find it: models on the same inputs share it."""
        for line in ax.lines:
            if line.get_gid() == _CONSTANT and line.get_ydata()[0] == self.constant_bill:
                return line
        which = "" if self.constant_answer is None else f", {self.constant_answer!s}"
        return ax.axhline(
            self.constant_bill,
            color=GREY,
            linewidth=1,
            zorder=1,
            gid=_CONSTANT,
            label=plain_text(f"cheapest constant answer{which}"),
        )


_CURVE, _CONSTANT = "smoothcs-bill", "smoothcs-constant-bill"
