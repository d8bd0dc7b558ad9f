"""Which class can be made to look like which: clean and robust errors beside the costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothcs import metrics
from smoothcs._validation import Floats, check_real
from smoothcs.certification import Certificates
from smoothcs.plotting._common import (
    ORANGE,
    UNITS,
    CertificatesDisplay,
    check_certificates,
    check_truth,
    class_names,
    final_step,
    no_figure_on_error,
    plain_text,
    several_axes,
    units_of,
)


@dataclass(kw_only=True, eq=False, repr=False)
class RobustErrorDisplay(CertificatesDisplay):
    """Heat maps of the costs, the clean errors and the errors that are not ruled out at eps.

    Rows are true classes (seeds), columns the classes that they are, or might be, called. An entry
    of the error maps is a percentage of the inputs of the row's class; the costly entries are
    framed, unless all are costly. The clean error counts the class with the most votes, whether or
    not the vote is clear; the robust error counts what the certificates do not rule out for an
    adversary who moves each input by at most eps, and is never smaller ([Xin25]_, Figure 6;
    [ZE19]_, Figure 1b).

    Created by :meth:`from_estimator` or :meth:`from_certificates`.

    Parameters
    ----------
    clean, robust : ndarray of shape (m, m)
        Shares in [0, 1]; nan on the diagonal and in rows without inputs.
    costs : ndarray of shape (m, m)
        The cost matrix.
    classes : ndarray of shape (m,)
        Labels of the rows and columns.
    eps : float
        The radius at which ``robust`` holds.

    Attributes
    ----------
    images_ : list of matplotlib AxesImage
        Costs, clean errors, robust errors.
    texts_ : list of matplotlib Text
        The written values.
    ax_ : ndarray of three matplotlib Axes
        Axes of the three maps.
    figure_ : matplotlib Figure
        Figure with the axes.

    References
    ----------
    .. [Xin25] Xin, Chen, Backes, Zhang, "Provably Cost-Sensitive Adversarial Defense via Randomized
       Smoothing", ICML 2025.
    .. [ZE19] Zhang, Evans, "Cost-Sensitive Robustness against Adversarial Examples", ICLR 2019.

    Examples
    --------
    >>> from smoothcs import certify_votes
    >>> from smoothcs.plotting import RobustErrorDisplay
    >>> certificates = certify_votes([[9, 1], [1, 9]], [[950, 50], [580, 420]], sigma=0.5, y=[0, 1])
    >>> display = RobustErrorDisplay.from_certificates(certificates, eps=0.25)
    >>> display.robust
    array([[nan,  0.],
           [ 1., nan]])
    """

    clean: Floats
    robust: Floats
    costs: Floats
    classes: NDArray[Any]
    eps: float

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        costs: Any = None,
        certify_params: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> RobustErrorDisplay:
        clf, reached = final_step(estimator, X)
        if hasattr(clf, "alpha"):
            return super().from_estimator(
                estimator, X, y, costs=costs, certify_params=certify_params, **kwargs
            )
        # ConvexRelaxationClassifier: bounds, no votes.
        report = clf.certified_report(
            reached,
            y,
            kwargs.pop("sample_weight", None),
            eps=kwargs.pop("eps", None),
            costs=costs,
            **(certify_params or {}),
        )
        display = cls(
            clean=report["clean_error_matrix"],
            robust=report["robust_error_matrix"],
            costs=clf.cost_matrix_.matrix,
            classes=clf.classes_,
            eps=report["eps"],
        )
        return display.plot(kwargs.pop("ax", None), **kwargs)

    @classmethod
    def from_certificates(
        cls,
        certificates: Certificates,
        *,
        eps: float,
        sample_weight: ArrayLike | None = None,
        ax: Any = None,
        units: str | None = None,
        **kwargs: Any,
    ) -> RobustErrorDisplay:
        """Plot certificates that were made with the true labels.

        Parameters
        ----------
        certificates : Certificates
            With ``y``.
        eps : float
            Radius of the attack.
        sample_weight : array-like (n,), default=None
            Weights of the inputs in the shares.
        ax, units, **kwargs
            See :meth:`plot`.

        Returns
        -------
        display : RobustErrorDisplay

        Raises
        ------
        ValueError
            If the certificates hold no true labels.
        """
        c = check_certificates(certificates)
        check_real("eps", eps, low=0.0, high_open=True)
        cls._check(c.y)
        y = c.y
        assert y is not None
        display = cls(
            # From the votes alone: an abstention would count in every column, and the map without
            # an attack would show larger errors than the map under one.
            clean=metrics.clean_error_matrix(
                y, c.label, classes=class_names(c), sample_weight=sample_weight
            ),
            robust=c.robust_error_matrix(eps, sample_weight),
            costs=c.cost_matrix.matrix,
            classes=class_names(c),
            eps=float(eps),
        )
        return display.plot(ax, units=units_of(certificates, units), **kwargs)

    @classmethod
    def _check(cls, y: Any, **kwargs: Any) -> None:
        check_truth("errors compare", y)

    @classmethod
    def _defaults(cls, clf: Any, X: Any) -> dict[str, Any]:
        return {"eps": clf.sigma if clf.eps is None else clf.eps}

    @no_figure_on_error()
    def plot(
        self,
        ax: Any = None,
        *,
        include_values: bool | None = None,
        cmap: str = "Blues",
        units: str = UNITS,
        **kwargs: Any,
    ) -> RobustErrorDisplay:
        """Draw the three maps.

        Parameters
        ----------
        ax : matplotlib Axes or three of them, default=None
            Where to plot; one axes is divided into three. If None, in a new figure.
        include_values : bool, default=None
            Whether to write the values into the cells. If None, only where they fit.
        cmap : str, default="Blues"
            Colour map of the errors; the costs are grey.
        units : str
            Units of eps, for the title.
        **kwargs : dict
            Passed to matplotlib's ``imshow`` for the error maps.

        Returns
        -------
        display : RobustErrorDisplay
            This object.
        """
        m = len(self.classes)
        side = min(max(2.4, 0.34 * m + 0.4), 6.0)
        self.figure_, self.ax_ = several_axes(ax, (1, 1, 1), (3 * side + 1.6, side + 1.4))
        self.images_, self.texts_ = [], []
        off_diagonal = np.where(np.eye(m, dtype=bool), np.nan, self.costs)
        error_style = {"cmap": cmap, "vmin": 0.0, "vmax": 1.0, **kwargs}
        cost_style = {"cmap": "Greys", "vmin": 0.0, "vmax": 1.5 * self.costs.max() or 1.0}
        maps = (
            ("Cost", off_diagonal, cost_style, "{:g}"),
            ("Clean error (%)", self.clean, error_style, "{:.0f}"),
            (
                f"Robust error (%)\nwithin {self.eps:g}\n({units})",
                self.robust,
                error_style,
                "{:.0f}",
            ),
        )
        for axes, (title, matrix, style, form) in zip(self.ax_, maps, strict=True):
            # Cells need not be square: with a fixed aspect, automatic layouts cut off titles.
            image = axes.imshow(matrix, aspect="auto", **style)
            axes.set_facecolor("0.9")  # where there is no value: the diagonal, absent classes
            self.images_.append(image)
            axes.set_title(title, fontsize="medium")
            _label_axes(axes, self.classes, first=axes is self.ax_[0])
            shown = matrix if title == "Cost" else 100.0 * matrix
            if include_values or (include_values is None and _cell_inches(axes, m) > 0.2):
                self.texts_ += _write(axes, image, matrix, shown, form)
            elif axes is self.ax_[-1]:
                axes.figure.colorbar(image, ax=axes, shrink=0.7, format=lambda v, _: f"{v:.0%}")
            if title != "Cost" and np.any((self.costs == 0) & ~np.eye(m, dtype=bool)):
                _frame(axes, self.costs > 0)
        return self


def _label_axes(axes: Any, classes: NDArray[Any], *, first: bool) -> None:
    labels = np.asarray([plain_text(label) for label in classes])
    long = max(map(len, labels)) > 2
    # Every second, third, ... label where all of them would overlap.
    ticks = np.arange(0, len(labels), max(1, int(np.ceil(0.22 / _cell_inches(axes, len(labels))))))
    axes.set_xticks(ticks, labels[ticks])
    axes.set_yticks(ticks, labels[ticks] if first or not long else [""] * len(ticks))
    if long:
        axes.tick_params(axis="x", labelrotation=45)
        for tick in axes.get_xticklabels():
            tick.set(ha="right", rotation_mode="anchor")
    axes.set_xlabel("predicted class")
    if first:
        axes.set_ylabel("true class")


def _cell_inches(axes: Any, m: int) -> float:
    """Width of a cell, as far as it is known before the figure is laid out."""
    width = axes.get_position().width * axes.figure.get_figwidth()
    return float(width / m)


def _write(axes: Any, image: Any, matrix: Floats, shown: Floats, form: str) -> list[Any]:
    """Write the values that are not 0, dark on light and light on dark."""
    size = min(10.0, 72 * _cell_inches(axes, len(matrix)) * 0.42)
    texts = []
    for i, j in np.argwhere(matrix > 0):
        red, green, blue, _ = image.cmap(image.norm(matrix[i, j]))
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
        text = form.format(shown[i, j])
        color = "white" if dark else "black"
        texts.append(axes.text(j, i, text, ha="center", va="center", color=color, fontsize=size))
    return texts


def _frame(axes: Any, costly: NDArray[np.bool_]) -> None:
    """Draw the outline of the costly cells, leaving out the borders between two of them."""
    padded = np.pad(costly, 1)
    for i, j in np.argwhere(costly):
        top, bottom, left, right = i - 0.5, i + 0.5, j - 0.5, j + 0.5
        sides = (
            (padded[i, j + 1], (left, right), (top, top)),
            (padded[i + 2, j + 1], (left, right), (bottom, bottom)),
            (padded[i + 1, j], (left, left), (top, bottom)),
            (padded[i + 1, j + 2], (right, right), (top, bottom)),
        )
        for neighbour_is_costly, x, y in sides:
            if not neighbour_is_costly:
                axes.plot(x, y, color=ORANGE, linewidth=2, clip_on=False, zorder=3)
