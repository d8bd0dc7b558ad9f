"""How the certified radii of a data set are distributed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smoothcs.certification import Certificates
from smoothcs.certification._reach import ceiling
from smoothcs.plotting._common import (
    BLUE,
    GREY,
    ORANGE,
    UNITS,
    CertificatesDisplay,
    check_certificates,
    draw_ceiling,
    no_figure_on_error,
    single_axes,
    units_of,
)


@dataclass(kw_only=True, eq=False, repr=False)
class RadiusDistributionDisplay(CertificatesDisplay):
    """Distribution of certified radii: sensitive and other inputs, group and standard radius.

    There is one row per set of inputs and kind of radius. A box holds the middle half of the radii,
    its thick line is the median, the whiskers reach the 5th and the 95th percentile, and each dot
    is one input. The text at the end of a row gives the number of inputs and the share of them for
    which nothing is certified.

    Created by :meth:`from_estimator` or :meth:`from_certificates`.

    Parameters
    ----------
    radii : dict of str to ndarray of float
        The radii of each row, by its name, from top to bottom.
    estimator_name : str, default=None
        Title of the axes.
    ceiling
        As of :class:`CertifiedAccuracyDisplay`.

    Attributes
    ----------
    ceiling_ : matplotlib Line2D or None
        The largest radius that the votes could certify: of radii that pile up there, n and alpha
        are the limit, not the classifier.
    boxes_ : dict of lists of matplotlib artists
        What matplotlib's ``boxplot`` returns.
    points_ : list of matplotlib PathCollection
        The dots, one collection per row.
    texts_ : list of matplotlib Text
        The counts, one text per row.
    ax_, figure_ : matplotlib Axes, Figure
        Where the rows are drawn.

    See Also
    --------
    CertifiedAccuracyDisplay : the share of inputs beyond each radius.

    Examples
    --------
    >>> from smoothcs import certify_votes
    >>> from smoothcs.plotting import RadiusDistributionDisplay
    >>> certificates = certify_votes(
    ...     [[9, 1], [1, 9]], [[950, 50], [80, 920]], sigma=0.5, y=[0, 1], cost_matrix={(1, 0): 10}
    ... )
    >>> display = RadiusDistributionDisplay.from_certificates(certificates)
    >>> list(display.radii)
    ['sensitive, group', 'sensitive, standard', 'other, standard', 'all, standard']
    """

    radii: dict[str, NDArray[np.float64]]
    estimator_name: str | None = None
    ceiling: float | None = None

    @classmethod
    def from_certificates(
        cls,
        certificates: Certificates,
        *,
        name: str | None = None,
        ax: Any = None,
        units: str | None = None,
    ) -> RadiusDistributionDisplay:
        """Plot the radii of certificates.

        Parameters
        ----------
        certificates : Certificates
            Where they hold no true labels, an input counts as sensitive if its predicted class is.
        name, ax, units
            See :meth:`plot`.

        Returns
        -------
        display : RadiusDistributionDisplay
        """
        c = check_certificates(certificates)
        sensitive = ~np.isnan(c.radius_group)
        rows = {
            "sensitive, group": c.radius_group[sensitive],
            "sensitive, standard": c.radius_standard[sensitive],
            "other, standard": c.radius_standard[~sensitive],
            "all, standard": c.radius_standard,
        }
        if sensitive.all():  # then "all" says nothing new
            del rows["all, standard"]
        radii = {row: values for row, values in rows.items() if len(values)}
        display = cls(radii=radii, estimator_name=name, ceiling=ceiling(c))
        return display.plot(ax, units=units_of(certificates, units))

    @no_figure_on_error()
    def plot(
        self,
        ax: Any = None,
        *,
        name: str | None = None,
        show_points: bool = True,
        units: str = UNITS,
        **kwargs: Any,
    ) -> RadiusDistributionDisplay:
        """Draw the rows.

        Parameters
        ----------
        ax, units
            As in :meth:`CertifiedAccuracyDisplay.plot`.
        name : str, default=None
            Title of the axes. If None, ``estimator_name``.
        show_points : bool, default=True
            Whether to draw a dot for every input.
        **kwargs : dict
            Passed to matplotlib's ``boxplot``.

        Returns
        -------
        display : RadiusDistributionDisplay
            This object.
        """
        self.figure_, self.ax_ = single_axes(ax)
        ax = self.ax_
        names, values = list(self.radii), list(self.radii.values())
        places = np.arange(len(names), 0, -1)
        ink = {"color": "black"}
        style = {
            "positions": places,
            "widths": 0.55,
            "whis": (5, 95),
            "showfliers": False,
            "patch_artist": True,
            "medianprops": {**ink, "linewidth": 2.5},
            "whiskerprops": ink,
            "capprops": ink,
            **_sideways(),
        }
        self.boxes_ = ax.boxplot(values, **{**style, **kwargs})
        self.points_, self.texts_ = [], []
        jitter = np.random.default_rng(0)
        for row, box, place, radius in zip(
            names, self.boxes_["boxes"], places, values, strict=True
        ):
            sensitive, group = row.startswith("sensitive"), row.endswith("group")
            color = GREY if not sensitive else ORANGE if group else BLUE
            box.set(facecolor=color, alpha=0.45, edgecolor="black", hatch="///" if group else None)
            if show_points:
                height = place + jitter.uniform(-0.22, 0.22, len(radius))
                self.points_.append(
                    ax.scatter(
                        radius, height, s=6, color="black", alpha=0.5, linewidths=0, zorder=3
                    )
                )
            text = f" n = {len(radius)}\n {np.mean(radius == 0):.0%} at 0"
            self.texts_.append(
                ax.text(1.0, place, text, transform=ax.get_yaxis_transform(), va="center")
            )
        ax.set_yticks(places, names)
        ax.set_ylim(0.4, len(names) + 0.6)
        self.ceiling_ = draw_ceiling(ax, self.ceiling)
        largest = max([self.ceiling or 0.0, *(float(radius.max()) for radius in values)])
        ax.set_xlim(-0.02 * (largest or 1.0), 1.04 * (largest or 1.0))
        ax.set_xlabel(f"certified l2 radius ({units})")
        name = self.estimator_name if name is None else name
        if name is not None:
            ax.set_title(name)
        return self


def _sideways() -> dict[str, Any]:
    """The argument that makes boxes horizontal; matplotlib 3.10 changed its name."""
    import matplotlib

    major, minor = (int(part) for part in matplotlib.__version__.split(".")[:2])
    return {"orientation": "horizontal"} if (major, minor) >= (3, 10) else {"vert": False}
