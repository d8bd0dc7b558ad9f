"""A certified metric against the radius, with the uncertainty that the test inputs leave."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothcs._validation import check_choice, check_probability
from smoothcs.bounds.binomial import clopper_pearson_lower, clopper_pearson_upper
from smoothcs.certification._certify import Certificates
from smoothcs.plotting._common import (
    COLORS,
    LINE_STYLES,
    UNITS,
    certify,
    check_certificates,
    no_figure_on_error,
    single_axes,
)

METRICS = {
    "rob_cs": "Rob_cs\n(share of sensitive inputs)",
    "rob_cost": "Rob_cost\n(mean cost per sensitive input)",
    "certified_accuracy": "Certified accuracy\n(share of inputs)",
}

N_POINTS = 256

Floats = NDArray[np.float64]


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


class CertifiedAccuracyDisplay:
    """A certified metric as a function of the attack radius eps.

    Made by :meth:`from_estimator` or :meth:`from_certificates`. To compare models, pass the ``ax_``
    of the first display to the others: each gets a colour and a line style of its own.

    Parameters
    ----------
    eps : ndarray of shape (k,)
        Radii, ascending.
    values : ndarray of shape (k,)
        The metric at each of them.
    metric : {"rob_cs", "rob_cost", "certified_accuracy"}, default="rob_cs"
        What ``values`` are.
    lower, upper : ndarray of shape (k,), default=None
        Confidence limits of ``values``; None: no band.
    estimator_name : str, default=None
        What the legend calls the model.

    Attributes
    ----------
    line_ : matplotlib Line2D
        The curve.
    band_ : matplotlib PolyCollection or None
        The confidence band.
    ax_ : matplotlib Axes
        Axes with the curve.
    figure_ : matplotlib Figure
        Figure with the axes.

    See Also
    --------
    RadiusDistributionDisplay : the radii themselves.

    Notes
    -----
    The band is pointwise and speaks of the draw of the test inputs: with the given confidence, the
    metric over the whole population lies within it at a given eps. For shares it is the interval of
    Clopper and Pearson; for ``rob_cost``, a mean of bounded numbers, the same at a level e times
    smaller, as an inequality of [Ben04]_ allows. That each certificate has its own failure
    probability ``alpha`` is another matter, and not in the band.

    Between the computed radii the worse of the two neighbouring values is drawn.

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

    def __init__(
        self,
        *,
        eps: Floats,
        values: Floats,
        metric: str = "rob_cs",
        lower: Floats | None = None,
        upper: Floats | None = None,
        estimator_name: str | None = None,
    ) -> None:
        self.eps = eps
        self.values = values
        self.metric = metric
        self.lower = lower
        self.upper = upper
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        eps: ArrayLike | None = None,
        metric: str = "rob_cs",
        confidence: float = 0.95,
        certify_params: dict[str, Any] | None = None,
        name: str | None = None,
        ax: Any = None,
        units: str = UNITS,
        **kwargs: Any,
    ) -> CertifiedAccuracyDisplay:
        """Certify inputs with a fitted estimator and plot.

        Parameters
        ----------
        estimator : CostSensitiveSmoothedClassifier, or a Pipeline or search that ends in one
            Fitted.
        X : array-like (n, ...)
            Inputs.
        y : array-like (n,)
            True labels.
        certify_params : dict, default=None
            Passed to ``estimator.certify``, for instance ``{"n_estimation": 1000}``.
        eps, metric, confidence, name, ax, units, **kwargs
            See :meth:`from_certificates`; ``name`` defaults to the class of the estimator.

        Returns
        -------
        display : CertifiedAccuracyDisplay
        """
        check_choice("metric", metric, METRICS)
        certificates, class_name = certify(estimator, X, y, certify_params)
        return cls.from_certificates(
            certificates,
            eps=eps,
            metric=metric,
            confidence=confidence,
            name=class_name if name is None else name,
            ax=ax,
            units=units,
            **kwargs,
        )

    @classmethod
    def from_certificates(
        cls,
        certificates: Certificates,
        *,
        eps: ArrayLike | None = None,
        metric: str = "rob_cs",
        confidence: float = 0.95,
        name: str | None = None,
        ax: Any = None,
        units: str = UNITS,
        **kwargs: Any,
    ) -> CertifiedAccuracyDisplay:
        """Plot certificates that were made with the true labels.

        Parameters
        ----------
        certificates : Certificates
            With ``y``.
        eps : array-like (k,), default=None
            Radii at which to compute the metric; None: 256 from 0 to beyond the largest.
        metric : {"rob_cs", "rob_cost", "certified_accuracy"}, default="rob_cs"
        confidence : float, default=0.95
            Of the band, in (0, 1).
        name : str, default=None
            What the legend calls the model; None: no entry.
        ax : matplotlib Axes, default=None
            Where to plot; None: a new figure.
        units : str
            Units of the radius, for the label of the axis.
        **kwargs : dict
            Passed to matplotlib's ``plot``.

        Returns
        -------
        display : CertifiedAccuracyDisplay

        Raises
        ------
        ValueError
            If the certificates hold no true labels, or none of a sensitive class where the metric
            speaks of these.
        """
        c = check_certificates(certificates)
        check_choice("metric", metric, METRICS)
        check_probability("confidence", confidence)
        if c.y is None:
            raise ValueError(f"{metric} compares with the true classes: certify with y to have it.")
        rows = c.cost_matrix.matrix[c.cost_matrix.encode(c.y)].sum(axis=1)
        n = len(c)
        if metric != "certified_accuracy":
            n = int(np.count_nonzero(rows))
            if n == 0:
                raise ValueError(f"{metric} speaks of sensitive inputs, and there is none.")
        top = float(rows.max()) if metric == "rob_cost" else None
        grid = _default_eps(c) if eps is None else np.sort(np.asarray(eps, dtype=float).ravel())
        values = np.asarray(getattr(c, metric)(grid))
        lower, upper = confidence_band(values, n, confidence, top=top)
        display = cls(
            eps=grid, values=values, metric=metric, lower=lower, upper=upper, estimator_name=name
        )
        return display.plot(ax, units=units, **kwargs)

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
            Where to plot; None: a new figure.
        name : str, default=None
            What the legend calls the model; None: ``estimator_name``.
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
        k = sum(line.get_gid() == _CURVE for line in ax.lines)
        style = {
            "color": COLORS[k % len(COLORS)],
            "linestyle": LINE_STYLES[k % len(LINE_STYLES)],
            "drawstyle": "steps-pre",
            "gid": _CURVE,
            **({} if name is None else {"label": name}),
        }
        for short, long in (("c", "color"), ("ls", "linestyle"), ("ds", "drawstyle")):
            if short in kwargs:
                kwargs[long] = kwargs.pop(short)
        (self.line_,) = ax.plot(self.eps, self.values, **{**style, **kwargs})
        self.band_ = None
        if band and self.lower is not None and self.upper is not None:
            self.band_ = ax.fill_between(
                self.eps,
                self.lower,
                self.upper,
                step="pre",
                color=self.line_.get_color(),
                alpha=0.15,
                linewidth=0,
            )
        ax.set(xlabel=f"l2 radius eps ({units})", ylabel=METRICS[self.metric])
        ax.set_xlim(left=0)
        if self.metric == "rob_cost":
            ax.set_ylim(bottom=0)
        else:
            ax.set_ylim(0, 1)
        if ax.get_legend_handles_labels()[1]:
            ax.legend(handlelength=3.5)
        return self


_CURVE = "smoothcs-curve"  # marks our lines, to give each on one axes a style of its own


def _default_eps(certificates: Certificates) -> Floats:
    """Radii from 0 to a little beyond the largest one of any kind, or beyond sigma."""
    largest = max(
        float(np.nanmax(radius, initial=certificates.sigma))
        for radius in (certificates.radius_standard, certificates.radius_pair)
    )
    return np.linspace(0.0, 1.02 * largest, N_POINTS)
