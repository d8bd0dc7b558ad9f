"""A certified metric against the radius, with the uncertainty that the test inputs leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from smoothcs._validation import Floats, check_choice, check_probability
from smoothcs.bounds.binomial import clopper_pearson_lower, clopper_pearson_upper
from smoothcs.certification import Certificates
from smoothcs.certification._reach import ceiling
from smoothcs.plotting._common import (
    UNITS,
    CertificatesDisplay,
    ascending,
    check_certificates,
    check_truth,
    draw_ceiling,
    draw_curve,
    line_style,
    no_figure_on_error,
    single_axes,
    units_of,
)

METRICS = {
    "rob_cs": "Rob_cs\n(share of sensitive inputs)",
    "rob_cost": "Rob_cost\n(summed costs of open targets, per sensitive input)",
    "certified_accuracy": "Certified accuracy\n(share of inputs)",
}

N_POINTS = 256


def confidence_band(
    mean: Floats, n: int, confidence: float, *, top: float | None = None
) -> tuple[Floats, Floats]:
    """Two-sided pointwise confidence limits for a share of n or, with ``top``, for a mean.

    For a share these are the limits of Clopper and Pearson. For the mean of n values in [0, top],
    the tail of a sum is at most e times that of a binomial with the same mean [Ben04], so the same
    limits hold at a level e times smaller, of the sum rounded outwards.
    """
    level = (1.0 - confidence) / 2.0
    if top is None:
        total, top = np.round(mean * n), 1.0
    else:
        total, level = np.clip(mean / top, 0.0, 1.0) * n, level / np.e
    lower = clopper_pearson_lower(np.floor(total), n, level)
    upper = clopper_pearson_upper(np.ceil(total), n, level)
    return lower * top, upper * top


@dataclass(kw_only=True, eq=False, repr=False)
class CertifiedAccuracyDisplay(CertificatesDisplay):
    """A certified metric as a function of the attack radius eps.

    Created by :meth:`from_estimator` or :meth:`from_certificates`. To compare models, pass the
    ``ax_`` of the first display to the others: each gets its own colour and line style.

    Parameters
    ----------
    eps : ndarray of shape (k,)
        Radii, ascending.
    values : ndarray of shape (k,)
        The metric at each of them.
    metric : {"rob_cs", "rob_cost", "certified_accuracy"}, default="rob_cs"
        What ``values`` are.
    lower, upper : ndarray of shape (k,), default=None
        Confidence limits of ``values``. If None, there is no band.
    estimator_name : str, default=None
        What the legend calls the model.
    ceiling : float, default=None
        The largest radius that the votes could certify
        (:func:`smoothcs.certification.largest_radius`). If None, it is not drawn.

    Attributes
    ----------
    line_ : matplotlib Line2D
        The curve.
    ceiling_ : matplotlib Line2D or None
        The largest radius that the votes could certify: where a curve falls there, more votes may
        certify more.
    band_ : matplotlib PolyCollection or None
        The confidence band.
    ax_, figure_ : matplotlib Axes, Figure
        Where the curve is drawn.

    See Also
    --------
    RadiusDistributionDisplay : the radii themselves.

    Notes
    -----
    The band is pointwise and covers the random draw of the test inputs: with the given confidence,
    the metric over the whole population lies within it at a given eps. For shares it is the
    interval of Clopper and Pearson; for ``rob_cost``, a mean of bounded numbers, it is the same
    interval at a level e times smaller, as an inequality of [Ben04]_ allows. The band does not
    include the failure probability ``alpha`` of each certificate.

    Where inputs belong together (frames of one sign), such a band is far too narrow: with
    ``groups`` it is by bootstrap over the groups, which is approximate
    (:meth:`smoothcs.Certificates.intervals`).

    Between two computed radii, the worse of their values is drawn.

    References
    ----------
    .. [Ben04] Bentkus, "On Hoeffding's inequalities", Annals of Probability 32, 2004.

    Examples
    --------
    >>> from smoothcs import certify_votes
    >>> from smoothcs.plotting import CertifiedAccuracyDisplay
    >>> certificates = certify_votes([[9, 1], [1, 9]], [[950, 50], [80, 920]], sigma=0.5, y=[0, 1])
    >>> display = CertifiedAccuracyDisplay.from_certificates(certificates, name="one model")
    >>> display.ax_.get_xlabel()
    'l2 radius eps (units of X)'
    """

    eps: Floats
    values: Floats
    metric: str = "rob_cs"
    lower: Floats | None = None
    upper: Floats | None = None
    estimator_name: str | None = None
    ceiling: float | None = None

    @classmethod
    def from_certificates(
        cls,
        certificates: Certificates,
        *,
        eps: ArrayLike | None = None,
        metric: str = "rob_cs",
        confidence: float = 0.95,
        groups: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        name: str | None = None,
        ax: Any = None,
        units: str | None = None,
        **kwargs: Any,
    ) -> CertifiedAccuracyDisplay:
        """Plot certificates that were made with the true labels.

        Parameters
        ----------
        certificates : Certificates
            With ``y``.
        eps : array-like (k,), default=None
            Radii at which to compute the metric. If None, 256 from 0 to beyond the largest.
        metric : {"rob_cs", "rob_cost", "certified_accuracy"}, default="rob_cs"
        confidence : float, default=0.95
            Of the band, in (0, 1).
        groups : array-like (n,), default=None
            To whom or what each input belongs; if given, the band is by bootstrap over groups.
        sample_weight : array-like (n,), default=None
            Weights of the inputs; if given, the band is by bootstrap.
        name : str, default=None
            What the legend calls the model. If None, there is no entry.
        ax, units, **kwargs
            See :meth:`plot`.

        Returns
        -------
        display : CertifiedAccuracyDisplay

        Raises
        ------
        ValueError
            If the certificates hold no true labels, or if the metric averages over sensitive
            inputs and there are none.
        """
        c = check_certificates(certificates)
        cls._check(c.y, metric=metric, confidence=confidence)
        assert c.y is not None
        rows = c.cost_matrix.matrix[c.cost_matrix.encode(c.y)].sum(axis=1)
        n = len(c)
        if metric != "certified_accuracy":
            n = int(np.count_nonzero(rows))
            if n == 0:
                raise ValueError(f"{metric} averages over sensitive inputs, and there are none.")
        top = float(rows.max()) if metric == "rob_cost" else None
        grid = default_eps(c) if eps is None else ascending(eps)
        values = np.asarray(getattr(c, metric)(grid, sample_weight=sample_weight))
        if groups is None and sample_weight is None:
            lower, upper = confidence_band(values, n, confidence, top=top)
        else:
            lower, upper = c.intervals(
                grid,
                groups=groups,
                names=[metric],
                confidence=confidence,
                sample_weight=sample_weight,
            )[metric]
        display = cls(
            eps=grid,
            values=values,
            metric=metric,
            lower=lower,
            upper=upper,
            estimator_name=name,
            ceiling=ceiling(c),
        )
        return display.plot(ax, units=units_of(certificates, units), **kwargs)

    @classmethod
    def _check(
        cls, y: Any, *, metric: str = "rob_cs", confidence: float = 0.95, **kwargs: Any
    ) -> None:
        check_choice("metric", metric, METRICS)
        check_probability("confidence", confidence)
        check_truth(f"{metric} compares", y)

    @no_figure_on_error()
    def plot(
        self,
        ax: Any = None,
        *,
        name: str | None = None,
        band: bool = True,
        units: str = UNITS,
        **kwargs: Any,
    ) -> CertifiedAccuracyDisplay:
        """Draw the curve and its band.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to plot. If None, in a new figure.
        name : str, default=None
            What the legend calls the model. If None, ``estimator_name``.
        band : bool, default=True
            Whether to draw the confidence band.
        units : str
            Units of the radius, for the label of the axis.
        **kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        display : CertifiedAccuracyDisplay
            This object.
        """
        check_choice("metric", self.metric, METRICS)
        self.figure_, self.ax_ = single_axes(ax)
        ax = self.ax_
        name = self.estimator_name if name is None else name
        style = line_style(ax, _CURVE, name, kwargs)
        limits = None
        if band and self.lower is not None and self.upper is not None:
            limits = self.lower, self.upper
        self.line_, self.band_ = draw_curve(ax, self.eps, self.values, limits, style)
        self.ceiling_ = draw_ceiling(ax, self.ceiling)
        ax.set(xlabel=f"l2 radius eps ({units})", ylabel=METRICS[self.metric])
        ax.set_xlim(left=0)
        if self.metric == "rob_cost":
            ax.set_ylim(bottom=0)
        else:
            ax.set_ylim(0, 1)
        if ax.get_legend_handles_labels()[1]:
            ax.legend(handlelength=3.5)
        return self


_CURVE = "smoothcs-curve"  # marks our lines, so that each on one axes gets its own style


def default_eps(certificates: Certificates) -> Floats:
    """Radii from 0 to a little beyond the largest one of any kind, or beyond sigma."""
    largest = max(
        float(np.nanmax(radius, initial=certificates.sigma))
        for radius in (certificates.radius_standard, certificates.radius_pair)
    )
    return np.linspace(0.0, 1.02 * largest, N_POINTS)
