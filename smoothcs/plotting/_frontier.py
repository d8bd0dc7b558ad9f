"""What weights achieve, and what they cost in accuracy or money."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from smoothcs.decision._undominated import undominated
from smoothcs.plotting._common import (
    GREY,
    line_style,
    mark_single_point,
    no_figure_on_error,
    single_axes,
)

if TYPE_CHECKING:
    from smoothcs.tuning import TunedDecision

METRICS = {
    "rob_cs": "Rob_cs at eps = {eps:g}\n(share of sensitive inputs)",
    "rob_cost": "Rob_cost at eps = {eps:g}\n(summed costs per sensitive input, smaller is better)",
    "bill": "Bill at eps = {eps:g}\n(mean worst cost per input, smaller is better)",
    "cost": "Cost\n(mean per input, smaller is better)",
}
AGAINST = {"accuracy": "Accuracy", "clean_cost": "Clean cost"}
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@dataclass(kw_only=True, eq=False, repr=False)
class FrontierDisplay:
    """Accuracy, or clean cost, against certified robustness or cost, over tuned weights.

    Each dot is a choice of weights, judged out-of-sample: each fold by weights tuned on the others.
    The pale line is the same frontier in-sample; the gap between the two is what tuning fitted to
    single examples. The cross is that of equal weights, the ring the weights chosen.

    Created by :meth:`from_estimator` or :meth:`from_tuned`. To compare models, pass the ``ax_`` of
    the first display to the others: each gets its own colour, marker and line style.

    Parameters
    ----------
    tuned : TunedDecision
        The result of :func:`smoothcs.tuning.tune_decision`.
    estimator_name : str, default=None
        What the legend calls the model.

    Attributes
    ----------
    line_ : matplotlib Line2D
        The frontier out-of-sample; in-sample, if weights were tuned without folds.
    in_sample_ : matplotlib Line2D or None
        The frontier in-sample, if ``line_`` is not.
    plurality_, chosen_ : matplotlib Line2D
        Equal weights, and the weights chosen.
    ax_, figure_ : matplotlib Axes, Figure
        Where the frontier is drawn.

    See Also
    --------
    smoothcs.TunedDecisionClassifier : finds the weights, and picks a point.

    Examples
    --------
    >>> import numpy as np
    >>> from smoothcs.tuning import tune_decision
    >>> from smoothcs.plotting import FrontierDisplay
    >>> h = np.array([[.6, .4], [.7, .3], [.8, .2], [.95, .05]] * 50)
    >>> votes = np.random.default_rng(0).multinomial(1000, h)
    >>> tuned = tune_decision(votes, [1, 0, 0, 0] * 50, [[0, 0], [1, 0]], eps=0.1, sigma=0.5)
    >>> display = FrontierDisplay.from_tuned(tuned, name="one model")
    >>> display.ax_.get_ylabel()
    'Accuracy'
    """

    tuned: TunedDecision
    estimator_name: str | None = None

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, name: str | None = None, ax: Any = None, **kwargs: Any
    ) -> FrontierDisplay:
        """Plot the frontier of a fitted TunedDecisionClassifier, without certifying anything anew.

        Parameters
        ----------
        estimator : TunedDecisionClassifier, or a Pipeline or search that ends in one
            Fitted.
        name : str, default=None
            What the legend calls the model. If None, the class of the estimator that was tuned.
        ax, **kwargs
            See :meth:`plot`.

        Returns
        -------
        display : FrontierDisplay

        Raises
        ------
        TypeError
            If no decision was tuned.
        """
        while True:
            if isinstance(estimator, Pipeline):
                estimator = estimator[-1]
            elif hasattr(estimator, "best_estimator_"):
                estimator = estimator.best_estimator_
            else:
                break
        check_is_fitted(estimator)
        if not hasattr(estimator, "tuned_"):
            raise TypeError(
                "estimator must be a TunedDecisionClassifier, or a Pipeline or search that ends "
                f"in one; got {type(estimator).__name__}."
            )
        if name is None:
            name = type(estimator.estimator).__name__
        return cls.from_tuned(estimator.tuned_, name=name, ax=ax, **kwargs)

    @classmethod
    def from_tuned(
        cls, tuned: TunedDecision, *, name: str | None = None, ax: Any = None, **kwargs: Any
    ) -> FrontierDisplay:
        """Plot the result of :func:`~smoothcs.tuning.tune_decision`.

        Parameters
        ----------
        tuned : TunedDecision
        name : str, default=None
            What the legend calls the model. If None, there is no entry.
        ax, **kwargs
            See :meth:`plot`.

        Returns
        -------
        display : FrontierDisplay
        """
        if not hasattr(tuned, "frontier_metric_cv"):
            raise TypeError(
                "tuned must be a TunedDecision, as tune_decision returns it; "
                f"got {type(tuned).__name__}."
            )
        return cls(tuned=tuned, estimator_name=name).plot(ax, **kwargs)

    @no_figure_on_error()
    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> FrontierDisplay:
        """Draw the frontier.

        Parameters
        ----------
        ax, name, **kwargs
            As in :meth:`CertifiedAccuracyDisplay.plot`, for the frontier itself.

        Returns
        -------
        display : FrontierDisplay
            This object.

        Raises
        ------
        ValueError
            If the axes already hold the frontier of another metric, another eps, or against
            another number.
        """
        self.figure_, self.ax_ = single_axes(ax)
        ax, t = self.ax_, self.tuned
        label = METRICS[t.objective].format(eps=t.eps)
        others = [line for line in ax.lines if line.get_gid() == _FRONTIER]
        if others and (ax.get_xlabel(), ax.get_ylabel()) != (label, AGAINST[t.against]):
            raise ValueError(
                f"ax holds frontiers of {ax.get_xlabel().splitlines()[0]}, which cannot be "
                f"compared with {label.splitlines()[0]}."
            )
        name = self.estimator_name if name is None else name
        style = line_style(ax, _FRONTIER, name, kwargs, marker=MARKERS, markersize=4)
        has_folds = not np.isnan(t.frontier_accuracy_cv).all()
        inside, outside, baseline, chosen = (
            (getattr(t, name.format("metric")), getattr(t, name.format(t.against)))
            for name in ("frontier_{}", "frontier_{}_cv", "baseline_{}", "{}_cv")
        )
        (self.line_,) = ax.plot(*(outside if has_folds else inside), **style)
        same = {"color": self.line_.get_color(), "linestyle": "none"}
        self.in_sample_ = None
        if has_folds:
            sign = 1.0 if t.objective == "rob_cs" else -1.0
            kept = inside[1] if t.against == "accuracy" else -inside[1]
            best = undominated(kept, sign * t.frontier_metric)
            (self.in_sample_,) = ax.plot(
                *(values[best] for values in inside),
                color=same["color"],
                alpha=0.35,
                linewidth=1,
                zorder=1,
            )
            mark_single_point(self.in_sample_)
        (self.plurality_,) = ax.plot(*baseline, marker="x", markersize=9, mew=2, **same)
        at = chosen if has_folds else (t.metric, getattr(t, t.against))
        (self.chosen_,) = ax.plot(*at, marker="o", markersize=11, mew=1.5, mfc="none", **same)
        ax.set(xlabel=label, ylabel=AGAINST[t.against])
        handles, _ = ax.get_legend_handles_labels()
        if handles:
            ax.legend(handles=[*handles, *self._keys()], handlelength=3.5)
        return self

    def _keys(self) -> list[Any]:
        """Return the entries of the legend for the marks that all models share."""
        keys = []
        for line, label in (
            (self.plurality_, "equal weights"),
            (self.chosen_, "weights chosen"),
            (self.in_sample_, "in-sample"),
        ):
            if line is not None:
                key = copy.copy(line)
                key.set(color=GREY, label=label)
                keys.append(key)
        return keys


_FRONTIER = "smoothcs-frontier"  # marks our lines, so that each on one axes gets its own style
