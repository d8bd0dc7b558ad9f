"""One input: what it is, how the noisy copies of it voted, and what that rules out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing

from smoothcs._estimator._inputs import is_dataset
from smoothcs._validation import Floats, check_integer
from smoothcs.bounds.binomial import clopper_pearson_lower, clopper_pearson_upper
from smoothcs.certification import Certificates
from smoothcs.plotting._common import (
    BLUE,
    GREY,
    ORANGE,
    UNITS,
    CertificatesDisplay,
    check_certificates,
    class_names,
    distance,
    final_step,
    no_figure_on_error,
    plain_text,
    several_axes,
    units_of,
)

MAX_FEATURES = 10


@dataclass(kw_only=True, eq=False, repr=False)
class VotesDisplay(CertificatesDisplay):
    """One input beside the votes on it and what its certificate says in words.

    The left panel, if the input is given, shows it as an image, or its features furthest from 0.
    The right one has a bar for each class: the share of the noisy copies to which the base
    classifier gave that label, with confidence limits at ``1 - alpha``. The bars of the sensitive
    targets are hatched, and say up to which radius each of them is ruled out. The title is the
    certificate in words.

    Created by :meth:`from_estimator` or :meth:`from_certificates`.

    Parameters
    ----------
    certificate : Certificates
        The certificate of one input.
    x : ndarray, default=None
        The input as it reached the classifier: an image (h, w), (c, h, w) or (h, w, c) with 1 or 3
        channels, or features (d,).
    feature_names : sequence of str, default=None
        Names of the features.

    Attributes
    ----------
    bars_ : matplotlib BarContainer
        The votes.
    image_ : matplotlib AxesImage or None
        The input, if it is an image.
    feature_bars_ : matplotlib BarContainer or None
        The input, if it is not.
    texts_ : list of matplotlib Text
        What is ruled out, one text per sensitive target.
    ax_ : ndarray of matplotlib Axes
        Axes of the input, if there is one, and of the votes.
    figure_ : matplotlib Figure
        Figure with the axes.

    Examples
    --------
    >>> from smoothcs import certify_votes
    >>> from smoothcs.plotting import VotesDisplay
    >>> certificates = certify_votes(
    ...     [[9, 91]], [[20, 980]], sigma=0.5, cost_matrix={("malignant", "benign"): 10},
    ...     classes=["benign", "malignant"],
    ... )
    >>> display = VotesDisplay.from_certificates(certificates)
    >>> print(display.ax_[-1].get_title())
    predicted: malignant
    not called benign
    within 0.889 (units of X)
    """

    certificate: Certificates
    x: NDArray[Any] | None = None
    feature_names: Any = None

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any = None, *, index: int = 0, **kwargs: Any
    ) -> VotesDisplay:
        """Certify one input with a fitted estimator and plot.

        Parameters
        ----------
        estimator : CostSensitiveSmoothedClassifier, or a Pipeline or search that ends in one
            Fitted.
        X : array-like (n, ...), or one input
            Inputs, of which one is certified; or that input itself, of the shape that the estimator
            was fitted with.
        y : array-like (n,), default=None
            True labels, or that of the one input. If None, as in deployment, the row of the
            predicted class applies.
        index : int, default=0
            Which input.
        **kwargs
            Passed to :meth:`from_certificates`, but for ``certify_params``, a dict that is passed
            to ``estimator.certify``. If not given, ``feature_names`` are the columns that the
            estimator was fitted on, if it knows them.

        Returns
        -------
        display : VotesDisplay
        """
        one, label = pick_one(estimator, X, y, index)
        _, x = final_step(estimator, one)
        return super().from_estimator(estimator, one, label, x=np.asarray(x)[0], **kwargs)

    @classmethod
    def _defaults(cls, clf: Any, X: Any) -> dict[str, Any]:
        return {"feature_names": getattr(clf, "feature_names_in_", None)}

    @classmethod
    def from_certificates(
        cls,
        certificates: Certificates,
        *,
        index: int = 0,
        x: ArrayLike | None = None,
        image_shape: tuple[int, ...] | None = None,
        feature_names: Any = None,
        ax: Any = None,
        units: str | None = None,
        **kwargs: Any,
    ) -> VotesDisplay:
        """Plot the certificate of one input.

        Parameters
        ----------
        certificates : Certificates
        index : int, default=0
            Which of them.
        x : array-like, default=None
            The input. If None, only the votes are shown.
        image_shape : tuple of int, default=None
            Shape of the image that ``x`` holds, if it is flat.
        feature_names : sequence of str, default=None
            Names of the features of ``x``.
        ax, units, **kwargs
            See :meth:`plot`.

        Returns
        -------
        display : VotesDisplay
        """
        if check_integer("index", index, low=0) >= len(check_certificates(certificates)):
            raise ValueError(f"index must be below {len(certificates)}; got {index}.")
        one = certificates[index]
        image = None if x is None else np.asarray(x, dtype=float)
        if image is not None and image_shape is not None:
            if np.prod(image_shape) != image.size:
                raise ValueError(
                    f"image_shape={image_shape!r} does not hold the {image.size} numbers of x."
                )
            image = image.reshape(image_shape)
        display = cls(certificate=one, x=image, feature_names=feature_names)
        return display.plot(ax, units=units_of(certificates, units), **kwargs)

    @no_figure_on_error()
    def plot(self, ax: Any = None, *, units: str = UNITS, **kwargs: Any) -> VotesDisplay:
        """Draw the input and the votes.

        Parameters
        ----------
        ax : matplotlib Axes or a sequence of them, default=None
            Where to plot: two axes (one if there is no ``x``), or one that is divided. If None, in
            a new figure.
        units : str
            Units of the radius.
        **kwargs : dict
            Passed to matplotlib's ``barh`` for the votes.

        Returns
        -------
        display : VotesDisplay
            This object.
        """
        votes = self.certificate.votes[0]
        height = max(3.2, 0.3 * len(votes) + 1.8)
        if self.x is None:
            self.figure_, self.ax_ = several_axes(ax, (1.0,), (5.5, height))
        else:
            self.figure_, self.ax_ = several_axes(ax, (1.0, 1.6), (8.5, max(height, 3.8)))
        self.image_ = self.feature_bars_ = None
        if self.x is not None:
            if self.x.ndim == 1:
                self.feature_bars_ = _draw_features(self.ax_[0], self.x, self.feature_names)
            else:
                image = as_image(
                    self.x, "x must be features (d,) or", "Pass image_shape, or leave x out."
                )
                limits = float(image.min()), float(image.max())
                self.image_ = draw_image(self.ax_[0], image, limits, "input")
        self._draw_votes(self.ax_[-1], kwargs)
        title = plain_text(in_words(self.certificate, units))
        self.ax_[-1].set_title(title, fontsize="medium")
        return self

    def _draw_votes(self, axes: Any, kwargs: dict[str, Any]) -> None:
        c = self.certificate
        votes, n = c.votes[0], int(c.votes[0].sum())
        names = class_names(c)
        # The longest bar need not win a weighted vote.
        top = int(np.flatnonzero(names == c.label[0])[0])
        level = float(np.ravel(c.level)[0]) / 2
        ruled_out, targets = c.radius_pair[0], ~np.isnan(c.radius_pair[0])
        places = np.arange(len(votes))
        share = votes / max(n, 1)
        limits = np.stack(
            [
                share - clopper_pearson_lower(votes, n, level),
                clopper_pearson_upper(votes, n, level) - share,
            ]
        )
        style = {
            "color": [BLUE if k == top else ORANGE if targets[k] else GREY for k in places],
            "edgecolor": "black",
            "linewidth": 0.8,
            "xerr": np.maximum(limits, 0.0),
            "error_kw": {"ecolor": "black", "capsize": 3, "elinewidth": 1},
        }
        self.bars_ = axes.barh(places, share, **{**style, **kwargs})
        self.texts_ = []
        for k in places[targets]:
            self.bars_[k].set_hatch("///")
            text = f"ruled out within {distance(ruled_out[k])}" if ruled_out[k] > 0 else "possible"
            end = float(share[k] + limits[1, k]) + 0.02
            inside = end > 0.6
            self.texts_.append(
                axes.text(
                    0.98 if inside else end,
                    k,
                    text,
                    ha="right" if inside else "left",
                    va="center",
                    fontsize="small",
                    bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
                )
            )
        axes.set_yticks(places, [plain_text(name) for name in names])
        axes.invert_yaxis()
        axes.set_xlim(0, 1.02)
        axes.set_xlabel(f"share of {n} noisy copies\n(sigma = {c.sigma:g})")


def in_words(certificate: Certificates, units: str = UNITS) -> str:
    """Return the certificate of one input in a few short lines."""
    c = certificate
    label, standard, group = c.label[0], float(c.radius_standard[0]), float(c.radius_group[0])
    first = "abstains" if c.abstained[0] else f"predicted: {label}"
    if c.y is not None:
        first += f" (true class: {c.y[0]})"
    targets = class_names(c)[~np.isnan(c.radius_pair[0])]
    if c.abstained[0]:
        second = "too close to certify anything"
    elif group > 0:
        # What is certified, and no more: not that the prediction is right.
        what = " or ".join(map(str, targets)) if len(targets) <= 2 else "a sensitive target"
        second = f"not called {what}\nwithin {distance(group)} ({units})"
    elif len(targets):
        second = "some costly mistake\nis not ruled out"
    else:
        second = f"stays {label}\nwithin {distance(standard)} ({units})"
    return f"{first}\n{second}"


def pick_one(estimator: Any, X: Any, y: Any, index: int) -> tuple[Any, Any]:
    """Return one input and its label (or None), each as a batch of one.

    ``X`` may be that input itself: then it has the shape in which inputs were seen in ``fit``.
    """
    if is_dataset(X):
        raise TypeError("X must be an array here; of a Dataset, pass X[index][0].")
    if hasattr(X, "shape") and tuple(X.shape) == _input_shape(estimator):
        if hasattr(X, "to_frame"):  # a row of a frame
            X = X.to_frame().T.infer_objects()
        else:
            X = X[None]
        if y is not None and np.ndim(y) == 0:
            y = np.asarray([y])
        index = 0
    label = None if y is None else _safe_indexing(y, [index])
    return _safe_indexing(X, [index]), label


def _input_shape(estimator: Any) -> tuple[int, ...] | None:
    """Return the shape of one input as the estimator takes it, if it knows."""
    shape = getattr(estimator, "input_shape_", None)
    if shape is None and hasattr(estimator, "best_estimator_"):
        return _input_shape(estimator.best_estimator_)
    if shape is None and hasattr(estimator, "label_weights_"):
        return _input_shape(estimator.estimator_)
    if isinstance(estimator, Pipeline):
        steps = [step for _, step in estimator.steps if step not in (None, "passthrough")]
        return _input_shape(steps[0])
    n = getattr(estimator, "n_features_in_", None)
    return (n,) if shape is None and n is not None else shape


def as_image(x: Floats, must_be: str, otherwise: str) -> Floats:
    """Return an image as (h, w) or (h, w, 3), or refuse in the words given."""
    if x.ndim == 3 and x.shape[0] in (1, 3):
        x = np.moveaxis(x, 0, -1)
    if x.ndim == 3 and x.shape[-1] == 1:
        x = x[..., 0]
    if not (x.ndim == 2 or (x.ndim == 3 and x.shape[-1] == 3)):
        raise ValueError(
            f"{must_be} an image (h, w), (c, h, w) or (h, w, c) with 1 or 3 channels; got shape "
            f"{x.shape}. {otherwise}"
        )
    return x


def draw_image(axes: Any, image: Floats, limits: tuple[float, float], title: str) -> Any:
    """Show an image of :func:`as_image`, whose values from low to high go from dark to bright."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title, fontsize="medium")
    low, high = limits
    if image.ndim == 2:
        return axes.imshow(image, cmap="gray_r", vmin=low, vmax=high)
    if low >= 0.0 and high <= 1.0:
        low, high = 0.0, 1.0
    return axes.imshow(np.clip((image - low) / max(high - low, np.finfo(float).tiny), 0.0, 1.0))


def _draw_features(axes: Any, x: Floats, names: Any) -> Any:
    labels = np.asarray([f"x[{i}]" for i in range(len(x))] if names is None else names, dtype=str)
    if len(labels) != len(x):
        raise ValueError(f"feature_names has {len(labels)} names for {len(x)} features.")
    shown = np.sort(np.argsort(-np.abs(x), kind="stable")[:MAX_FEATURES])
    places = np.arange(len(shown))
    bars = axes.barh(places, x[shown], color=GREY, edgecolor="black", linewidth=0.8)
    axes.axvline(0.0, color="black", linewidth=0.8)
    axes.set_yticks(places, [plain_text(name) for name in labels[shown]], fontsize="small")
    axes.invert_yaxis()
    axes.set_xlabel("value")
    few = len(shown) < len(x)
    axes.set_title(
        f"the {len(shown)} features furthest from 0" if few else "input", fontsize="medium"
    )
    return bars
