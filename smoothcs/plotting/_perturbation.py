"""What a radius looks like: an image, noise of that size, and an attack of that size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from smoothcs._estimator._inputs import encode_labels
from smoothcs._validation import check_positive
from smoothcs.attacks import l2_pgd
from smoothcs.plotting._common import (
    UNITS,
    final_step,
    no_figure_on_error,
    plain_text,
    several_axes,
    units_of_scale,
)
from smoothcs.plotting._votes import as_image, draw_image, pick_one
from smoothcs.votes._forward import copy_module


@dataclass(kw_only=True, eq=False, repr=False)
class PerturbationDisplay:
    """An image, the image under random noise of l2 size eps, and under an attack of that size.

    An attacker who may move an image by eps achieves much more than chance does: random noise of
    the same size has no direction. All images share one scale of grey or colour.

    Created by :meth:`from_estimator`.

    Parameters
    ----------
    images : dict of str to ndarray
        The images, (h, w), (c, h, w) or (h, w, c), by their titles.
    eps : float
        Size of the perturbations.

    Attributes
    ----------
    images_ : list of matplotlib AxesImage
        The images as drawn.
    ax_ : ndarray of matplotlib Axes
        One for each.
    figure_ : matplotlib Figure
        Figure with the axes.

    See Also
    --------
    smoothcs.attacks.l2_pgd : the attack.
    VotesDisplay : an input beside its certificate.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from smoothcs import CostSensitiveSmoothedClassifier
    >>> from smoothcs.plotting import PerturbationDisplay
    >>> module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    >>> clf = CostSensitiveSmoothedClassifier.from_module(module, classes=3, n_prediction=100)
    >>> images = np.random.default_rng(0).random((5, 8, 8))
    >>> display = PerturbationDisplay.from_estimator(clf, images, index=2, eps=0.5)
    >>> [axes.get_title().splitlines()[0] for axes in display.ax_]
    ['input', 'noise of size 0.5', 'attack of size 0.5']
    """

    images: dict[str, NDArray[Any]]
    eps: float

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        index: int = 0,
        eps: float | None = None,
        costs: Any = None,
        attack_params: dict[str, Any] | None = None,
        random_state: int = 0,
        ax: Any = None,
        units: str | None = None,
    ) -> PerturbationDisplay:
        """Attack one image, let the smoothed classifier answer for all three, and plot.

        Parameters
        ----------
        estimator : CostSensitiveSmoothedClassifier, or a Pipeline or search that ends in one
            Fitted, with a torch module as its base.
        X : array-like (n, ...), or one image
            Images (h, w), (c, h, w) or (h, w, c) with 1 or 3 channels.
        y : array-like (n,), default=None
            True labels, from which the attack moves away. If None, from the class predicted.
        index : int, default=0
            Which image.
        eps : float, default=None
            Size of the perturbations, in the units of what reaches the classifier. If None, the
            estimator's own.
        costs : array-like (n, m, m), default=None
            Costs of each example, if the decision needs them.
        attack_params : dict, default=None
            Passed to :func:`smoothcs.attacks.l2_pgd`, for instance ``{"n_steps": 50}`` or
            ``{"bounds": (0, 1)}``.
        random_state : int, default=0
            Seeds the noise and the attack.
        ax, units
            See :meth:`plot`.

        Returns
        -------
        display : PerturbationDisplay

        Raises
        ------
        ValueError
            If the inputs are no images.
        TypeError
            If the base classifier has no gradients.
        """
        one, label = pick_one(estimator, X, y, index)
        clf, reached = final_step(estimator, one)
        if not isinstance(clf.module_, torch.nn.Module):
            base = getattr(clf.module_, "estimator", clf.module_)
            raise TypeError(
                "the attack needs gradients, so the base classifier must be a torch module; got "
                f"{getattr(base, '__name__', type(base).__name__)}."
            )
        x = np.asarray(reached, dtype=np.float32)
        as_image(x[0], "each input must be", "For a row of a table, use VotesDisplay.")
        eps = check_positive("eps", clf._eps(eps))
        costs = None if costs is None else np.asarray(costs)[[index]]
        if label is None:
            label = clf.classes_[clf.predict_proba(x, costs).argmax(axis=1)]
        scale = clf._scale(x.shape[1:])
        generator = torch.Generator().manual_seed(random_state)
        noise = torch.randn(x.shape, generator=generator).numpy()
        noise *= eps / np.linalg.norm(noise if scale is None else noise * (scale > 0))
        attacked = l2_pgd(
            copy_module(clf.module_, torch.device("cpu")),
            torch.from_numpy(x),
            torch.from_numpy(encode_labels(np.asarray(label), clf.classes_)),
            eps=eps,
            sigma=clf.sigma,
            generator=generator,
            noise_scale=scale,
            **(attack_params or {}),
        ).numpy()
        shown = [x, x + (noise if scale is None else noise * scale), attacked]
        again = None if costs is None else np.repeat(costs, len(shown), axis=0)
        answers = clf.predict(np.concatenate(shown), again)
        names = ("input", f"noise of size {eps:g}", f"attack of size {eps:g}")
        titles = [f"{name}\ncalled {answer}" for name, answer in zip(names, answers, strict=True)]
        images = {title: image[0] for title, image in zip(titles, shown, strict=True)}
        display = cls(images=images, eps=eps)
        return display.plot(ax, units=units_of_scale(scale, units))

    @no_figure_on_error()
    def plot(self, ax: Any = None, *, units: str = UNITS) -> PerturbationDisplay:
        """Draw the images.

        Parameters
        ----------
        ax : matplotlib Axes or three of them, default=None
            Where to plot; one axes is divided. If None, in a new figure.
        units : str
            Units of eps, below the images.

        Returns
        -------
        display : PerturbationDisplay
            This object.
        """
        images = [
            as_image(np.asarray(image, dtype=float), "images must hold", "Reshape it.")
            for image in self.images.values()
        ]
        limits = min(map(np.min, images)), max(map(np.max, images))
        self.figure_, self.ax_ = several_axes(ax, (1.0,) * len(images), (3.0 * len(images), 3.6))
        self.images_ = [
            draw_image(axes, image, limits, plain_text(title))
            for axes, title, image in zip(self.ax_, self.images, images, strict=True)
        ]
        for axes in self.ax_[1:]:
            axes.set_xlabel(f"l2, {units}", fontsize="small")
        return self
