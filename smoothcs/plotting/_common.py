"""What the displays share: matplotlib when it is needed, axes, styles, and one certification."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothcs._estimator._unwrap import final_step
from smoothcs.certification import Certificates

# Okabe & Ito's colours, told apart with every common colour vision deficiency; yellow, which is
# lost on white paper, is left out. Line styles say the same where there is no colour at all.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00")
LINE_STYLES: tuple[Any, ...] = (
    "-",
    "--",
    "-.",
    ":",
    (0, (6, 1, 1, 1, 1, 1)),
    (0, (3, 2)),
    (0, (1, 2)),
)
BLUE, ORANGE, GREY = COLORS[0], COLORS[1], "#8C8C8C"

UNITS = "units of X"


def units_of(certificates: Any, units: str | None) -> str:
    """Return in what units radii are: as given or, if None, as the noise of certificates says."""
    return units_of_scale(getattr(certificates, "noise_scale", None), units)


def units_of_scale(scale: Any, units: str | None) -> str:
    """As `units_of`, from the scale of the noise of each entry of an input, or None."""
    if scale is not None and units is not None and not np.isin(scale, (0, 1)).all():
        return f"{units} / noise_scale"
    if units is not None or scale is None:
        return units or UNITS
    unit = UNITS if np.isin(scale, (0, 1)).all() else "units of noise_scale"
    fixed = scale.size - np.count_nonzero(scale)
    return f"{unit}, {fixed} of {scale.size} entries fixed" if fixed else unit


def pyplot() -> Any:
    """Return ``matplotlib.pyplot``, or say how to get it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "smoothcs.plotting draws with matplotlib, which is not installed: "
            "pip install smoothcs[plot]."
        ) from error
    return plt


@contextmanager
def no_figure_on_error() -> Iterator[None]:
    """Close the figures that the block opened, if it raises."""
    plt = pyplot()
    before = set(plt.get_fignums())
    try:
        yield
    except BaseException:
        for number in set(plt.get_fignums()) - before:
            plt.close(number)
        raise


def single_axes(ax: Any) -> tuple[Any, Any]:
    """Return (figure, axes) for one axes or, with None, for a new figure."""
    plt = pyplot()
    if ax is None:
        _, ax = plt.subplots(layout="constrained")
    return ax.figure, ax


def several_axes(ax: Any, widths: Sequence[float], size: tuple[float, float]) -> tuple[Any, Any]:
    """Return (figure, array of axes), one axes per width.

    ``ax`` may be None (a new figure of ``size``), as many axes as there are widths, or one axes,
    whose place is then divided.
    """
    plt = pyplot()
    n = len(widths)
    if ax is None:
        figure, axes = plt.subplots(
            1, n, figsize=size, layout="constrained", width_ratios=widths, squeeze=False
        )
        return figure, axes[0]
    given = np.asarray(ax, dtype=object).ravel()
    if len(given) == n:
        return given[0].figure, given
    if len(given) != 1:
        raise ValueError(f"ax must be None, one axes, or {n} axes; got {len(given)} of them.")
    place = given[0]
    place.set_axis_off()
    grid = place.get_subplotspec()
    if grid is None:
        raise ValueError(
            "ax has no place in a grid that could be divided: make it with plt.subplots, "
            f"or pass {n} axes."
        )
    grid = grid.subgridspec(1, n, width_ratios=widths, wspace=0.3)
    axes = [place.figure.add_subplot(grid[0, i]) for i in range(n)]
    return place.figure, np.array(axes, dtype=object)


def line_style(
    ax: Any, gid: str, name: str | None, given: dict[str, Any], **style: Any
) -> dict[str, Any]:
    """Return how to draw the next line marked ``gid`` on ``ax``; what is ``given`` wins.

    Each such line on one axes has a colour and a line style of its own, and so has each further
    property of which ``style`` holds a tuple of choices.
    """
    k = sum(line.get_gid() == gid for line in ax.lines)
    choices = {"color": COLORS, "linestyle": LINE_STYLES, **style}
    own = {
        key: value[k % len(value)] if isinstance(value, tuple) else value
        for key, value in choices.items()
    }
    short = {"c": "color", "ls": "linestyle", "ds": "drawstyle", "ms": "markersize"}
    label = {} if name is None else {"label": name}
    return {**own, **label, "gid": gid, **{short.get(key, key): v for key, v in given.items()}}


def draw_curve(
    ax: Any, eps: Any, values: Any, limits: tuple[Any, Any] | None, style: dict[str, Any]
) -> tuple[Any, Any]:
    """Draw a curve against the radius, and the band between ``limits``; return both.

    Between two radii the worse of their values is drawn.
    """
    (line,) = ax.plot(eps, values, **{"drawstyle": "steps-pre", **style})
    mark_single_point(line)
    band = None
    if limits is not None:
        band = ax.fill_between(
            eps, *limits, step="pre", color=line.get_color(), alpha=0.15, linewidth=0
        )
    return line, band


def mark_single_point(line: Any) -> None:
    """Give a line whose points are all the same a marker, without which it cannot be seen."""
    points = np.column_stack(line.get_data())
    unmarked = line.get_marker() in ("None", "none", "", None)
    if unmarked and len(points) and (points == points[0]).all():
        line.set(marker="o", markersize=6, clip_on=False)


def draw_ceiling(ax: Any, ceiling: float | None) -> Any:
    """Draw the largest radius that the votes could certify, or find the line of an equal one."""
    if ceiling is None:
        return None
    for line in ax.lines:
        if line.get_gid() == _CEILING and line.get_xdata()[0] == ceiling:
            return line
    ax.text(
        ceiling,
        0.98,
        "the most that n and alpha allow ",
        transform=ax.get_xaxis_transform(),
        rotation=90,
        ha="right",
        va="top",
        color=GREY,
        fontsize="small",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1},
    )
    return ax.axvline(ceiling, color=GREY, linewidth=1, linestyle=":", zorder=1, gid=_CEILING)


_CEILING = "smoothcs-ceiling"


def printable(text: str) -> str:
    """Replace characters that are no text, such as those that act on a terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def plain_text(label: Any) -> str:
    """Write a label such that matplotlib takes no dollar sign in it for mathematics."""
    return "\n".join(map(printable, str(label).split("\n"))).replace("$", r"\$")


def ascending(eps: ArrayLike) -> NDArray[np.float64]:
    """Return radii as a sorted array."""
    return np.sort(np.asarray(eps, dtype=float).ravel())


def check_truth(what: str, y: Any) -> None:
    """Refuse certificates without the true classes, in the words of ``what``."""
    if y is None:
        raise ValueError(f"{what} with the true classes: certify with y.")


_Display = TypeVar("_Display", bound="CertificatesDisplay")


class CertificatesDisplay:
    """Base of the displays of certificates: certifies with an estimator what it then plots."""

    from_certificates: ClassVar[Callable[..., Any]]

    @classmethod
    def from_estimator(
        cls: type[_Display],
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        costs: Any = None,
        certify_params: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> _Display:
        """Certify inputs with a fitted estimator and plot.

        Parameters
        ----------
        estimator : CostSensitiveSmoothedClassifier, or a Pipeline or search that ends in one
            Fitted.
        X : array-like (n, ...)
            Inputs.
        y : array-like (n,)
            True labels. Optional where :meth:`from_certificates` does without: then the rows of
            the cost matrix are those of the predicted classes.
        costs : array-like (n, m, m), default=None
            Costs of each example, as for ``estimator.certify``.
        certify_params : dict, default=None
            Passed to ``estimator.certify``, for instance ``{"radius_tol": 0.01}``.
        **kwargs
            Passed to :meth:`from_certificates`, for instance ``sample_weight`` and ``groups`` where
            it takes them. If not given, ``name`` is the class of the estimator, ``eps``, for
            errors, is the estimator's own, and ``noise_groups``, for bills, tells which inputs are
            identical.

        Returns
        -------
        display
            An object of this class.
        """
        cls._check(y, **kwargs)
        clf, X = final_step(estimator, X)
        own = {} if costs is None else {"costs": costs}
        certificates = clf.certify(X, y, **own, **(certify_params or {}))
        if not isinstance(certificates, Certificates):
            raise TypeError(
                f"{type(clf).__name__}.certify does not return Certificates, which hold the radii "
                "that this display shows; RobustErrorDisplay works for every certifying estimator."
            )
        given = {key: value for key, value in kwargs.items() if value is not None}
        drawn = {**cls._defaults(clf, X), **given}
        display: _Display = cls.from_certificates(certificates, **drawn)
        return display

    @classmethod
    def _check(cls, y: Any, **kwargs: Any) -> None:
        """Refuse arguments before anything is certified for them."""

    @classmethod
    def _defaults(cls, clf: Any, X: Any) -> dict[str, Any]:
        return {"name": type(clf).__name__}


def check_certificates(certificates: Any) -> Certificates:
    """Return ``certificates``, or raise naming what was got."""
    if not isinstance(certificates, Certificates):
        raise TypeError(
            "certificates must be a smoothcs.Certificates, as certify returns them; "
            f"got {type(certificates).__name__}."
        )
    return certificates


def class_names(certificates: Certificates) -> np.ndarray:
    """Return the labels of the columns of the votes."""
    return np.asarray(certificates.classes)


def distance(radius: float) -> str:
    """Write a radius with three figures, rounded down: never more than was certified."""
    if not radius > 0:
        return "0"
    step = 10.0 ** (np.floor(np.log10(radius)) - 2)
    return f"{np.floor(radius / step) * step:.3g}"
