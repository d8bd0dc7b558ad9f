"""Certified metrics for scikit-learn's model selection.

``make_scorer`` calls ``predict`` and cannot certify; these scorers call ``certify`` once a fold and
read every metric off the same votes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from smoothcs._estimator._unwrap import final_step
from smoothcs._validation import check_choice, check_integer, check_positive

METRICS = (
    "rob_cs",
    "neg_rob_cost",
    "certified_accuracy",
    "accuracy",
    "rob_cs_standard",
    "rob_standard_nonsensitive",
    "neg_abstention_rate",
    "neg_misclassification_cost",
)
# Not defined, hence a nan and a warning of the search, where every class is sensitive: on request.
DEFAULT_METRICS = tuple(name for name in METRICS if name != "rob_standard_nonsensitive")


class CertifiedScorer:
    """Scorer that returns certified metrics, all of one Monte Carlo pass.

    Made by :func:`certified_scorer`. Called as ``scorer(estimator, X, y)``, it returns a dict, as
    GridSearchCV and cross_validate take it for multi-metric scoring; of a single metric it returns
    the float.
    """

    def __init__(
        self,
        eps: float | None,
        n_estimation: int | None,
        metrics: tuple[str, ...],
        single: bool = False,
    ) -> None:
        self.eps, self.n_estimation, self.metrics, self.single = eps, n_estimation, metrics, single

    def __call__(self, estimator: Any, X: Any, y: Any = None) -> Any:
        clf, X = final_step(estimator, X)
        votes = {} if self.n_estimation is None else {"n_estimation": self.n_estimation}
        values = clf.certified_report(X, y, eps=self.eps, **votes)
        scores = {
            name: float(
                -values[name.removeprefix("neg_")] if name.startswith("neg_") else values[name]
            )
            for name in self.metrics
        }
        return scores[self.metrics[0]] if self.single else scores

    def __repr__(self) -> str:
        return (
            f"certified_scorer(eps={self.eps}, n_estimation={self.n_estimation}, "
            f"metrics={list(self.metrics)})"
        )


def certified_scorer(
    eps: float | None = None,
    *,
    n_estimation: int | None = None,
    metrics: Iterable[str] = DEFAULT_METRICS,
) -> CertifiedScorer:
    """Make a multi-metric scorer of certified metrics.

    Parameters
    ----------
    eps : float, default=None
        The radius at which to score, in the units of what reaches the estimator; None: the
        estimator's own. Fix it when ``sigma`` is searched, or candidates are scored at different
        radii.
    n_estimation : int, default=None
        Votes per input, in place of the estimator's; fewer are often enough to rank candidates.
    metrics : iterable of str
        Which metrics; greater is better for each of them: ``rob_cs``, ``neg_rob_cost``,
        ``certified_accuracy``, ``accuracy`` (certified at radius 0), ``rob_cs_standard``,
        ``neg_abstention_rate``, ``neg_misclassification_cost``, and ``rob_standard_nonsensitive``,
        which is left out by default because it is nan where every class is sensitive.

    Returns
    -------
    scorer : CertifiedScorer
        Picklable callable ``(estimator, X, y) -> dict``.

    Raises
    ------
    ValueError
        If a metric is unknown or a number is out of range.

    Examples
    --------
    >>> from smoothcs import certified_scorer
    >>> certified_scorer(0.5, n_estimation=1000, metrics=["rob_cs", "accuracy"])
    certified_scorer(eps=0.5, n_estimation=1000, metrics=['rob_cs', 'accuracy'])
    """
    if eps is not None:
        check_positive("eps", eps)
    if n_estimation is not None:
        check_integer("n_estimation", n_estimation)
    names = (metrics,) if isinstance(metrics, str) else tuple(metrics)
    if not names:
        raise ValueError(f"metrics must name at least one of {list(METRICS)}; got none.")
    for name in names:
        check_choice("metrics", name, METRICS)
    return CertifiedScorer(eps, n_estimation, names)


#: Scorer for ``cross_val_score``: rob_cs at the estimator's own ``eps``.
rob_cs_scorer = CertifiedScorer(None, None, ("rob_cs",), single=True)
#: Scorer for ``cross_val_score``: minus rob_cost at the estimator's own ``eps``.
neg_rob_cost_scorer = CertifiedScorer(None, None, ("neg_rob_cost",), single=True)
#: Scorer for ``cross_val_score``: certified accuracy at the estimator's own ``eps``.
certified_accuracy_scorer = CertifiedScorer(None, None, ("certified_accuracy",), single=True)


class BestUnder:
    """Rule that picks a candidate of a search; made by :func:`best_under`."""

    def __init__(self, metric: str, limits: dict[str, float]) -> None:
        self.metric, self.limits = metric, limits

    def __call__(self, cv_results: Mapping[str, Any]) -> int:
        target = self._mean(cv_results, self.metric)
        allowed = np.isfinite(target)
        floors = {}
        for name, limit in self.limits.items():
            values = self._mean(cv_results, name)
            best = np.nanmax(values, initial=-np.inf)
            floors[name] = best + limit if np.signbit(limit) else limit
            with np.errstate(invalid="ignore"):
                # Means of folds carry rounding errors, which must not decide at the floor itself.
                allowed &= values >= floors[name] - 1e-12
        if not allowed.any():
            raise ValueError(
                f"no candidate has a finite mean_test_{self.metric} and meets "
                f"{', '.join(f'{k} >= {v:g}' for k, v in floors.items()) or 'no limit'}; "
                "lower the limits or widen the grid."
            )
        return int(np.where(allowed, target, -np.inf).argmax())

    @staticmethod
    def _mean(cv_results: Mapping[str, Any], name: str) -> np.ndarray:
        key = f"mean_test_{name}"
        if key not in cv_results:
            known = sorted(k.removeprefix("mean_test_") for k in cv_results if "mean_test_" in k)
            raise ValueError(f"the search has no metric {name!r}; it has {known}.")
        return np.asarray(cv_results[key], dtype=float)

    def __repr__(self) -> str:
        limits = "".join(f", {name}={limit}" for name, limit in self.limits.items())
        return f"best_under({self.metric!r}{limits})"


def best_under(metric: str, **limits: float) -> BestUnder:
    """Make a ``refit`` rule: the best ``metric`` among candidates within limits.

    The selection rule of [Xin25]_ (Appendix D.4) is ``best_under("rob_cs", accuracy=-0.01)``: the
    most robust candidate among those whose accuracy is comparable to the best.

    Parameters
    ----------
    metric : str
        The metric to maximise, as the scorer names it.
    **limits : float
        For each named metric, a floor: a number >= 0 is the floor itself, a negative one (or -0.0:
        lose nothing) is added to the best mean of the search.

    Returns
    -------
    rule : BestUnder
        Picklable callable ``(cv_results_) -> best_index_``, for ``GridSearchCV(refit=...)``. It
        raises ValueError where no candidate qualifies or a metric is unknown.

    References
    ----------
    .. [Xin25] Xin, Chen, Backes, Zhang, "Provably Cost-Sensitive Adversarial Defense via Randomized
       Smoothing", ICML 2025.

    Examples
    --------
    >>> from smoothcs import best_under
    >>> rule = best_under("rob_cs", accuracy=-0.01)
    >>> rule({"mean_test_rob_cs": [0.2, 0.5, 0.9], "mean_test_accuracy": [0.84, 0.835, 0.6]})
    1
    """
    for name, limit in limits.items():
        if isinstance(limit, bool) or not np.isreal(limit) or not np.isfinite(limit):
            raise ValueError(f"{name} must be a finite number; got {limit!r}.")
    return BestUnder(metric, {name: float(limit) for name, limit in limits.items()})
