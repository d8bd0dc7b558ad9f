"""Certified metrics for scikit-learn's model selection.

``make_scorer`` calls ``predict`` and cannot certify; these scorers call ``certify`` once per fold
and read every metric off the same votes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.utils.metadata_routing import MetadataRequest

from smoothcs._estimator._unwrap import final_step
from smoothcs._validation import check_choice, check_integer, check_positive
from smoothcs.certification._informative import shown_with_accuracy

METRICS = (
    "rob_cs",
    "neg_rob_cost",
    "certified_accuracy",
    "accuracy",
    "rob_cs_standard",
    "rob_standard_nonsensitive",
    "neg_abstention_rate",
    "neg_misclassification_cost",
    "savings",
    "clean_savings",
    "neg_mean_bill",
)
METADATA = ("sample_weight", "costs")
# Not always defined: the search then has a nan, and warns.
ON_REQUEST = ("rob_standard_nonsensitive", "savings", "clean_savings", "neg_mean_bill")
DEFAULT_METRICS = tuple(name for name in METRICS if name not in ON_REQUEST)


class CertifiedScorer:
    """Scorer that returns certified metrics, all of one Monte Carlo pass.

    Made by :func:`certified_scorer`. Called as ``scorer(estimator, X, y)``, it returns a dict, as
    GridSearchCV and cross_validate take it for multi-metric scoring; of a single metric it returns
    the float.

    With scikit-learn's metadata routing, ``sample_weight`` (n,) and ``costs`` (n, m, m) of the
    examples reach it if :meth:`set_score_request` asked for them.
    """

    def __init__(
        self,
        eps: float | None,
        n_estimation: int | None,
        metrics: tuple[str, ...],
        single: bool = False,
    ) -> None:
        self.eps, self.n_estimation, self.metrics, self.single = eps, n_estimation, metrics, single
        self.requests: dict[str, bool | str | None] = {}

    def __call__(
        self, estimator: Any, X: Any, y: Any = None, sample_weight: Any = None, costs: Any = None
    ) -> Any:
        clf, X = final_step(estimator, X)
        given = {
            "n_estimation": self.n_estimation,
            "sample_weight": sample_weight,
            "costs": costs,
        }
        given = {name: value for name, value in given.items() if value is not None}
        with shown_with_accuracy(self.metrics):
            values = clf.certified_report(X, y, eps=self.eps, **given)
        scores = {
            name: float(
                -values[name.removeprefix("neg_")] if name.startswith("neg_") else values[name]
            )
            for name in self.metrics
        }
        return scores[self.metrics[0]] if self.single else scores

    def set_score_request(self, **requests: bool | str | None) -> CertifiedScorer:
        """Say which metadata to take, as for scikit-learn's own scorers.

        Parameters
        ----------
        **requests : bool, str or None
            ``sample_weight`` and ``costs``: True, take it; False, ignore it; None, raise an error
            if it is given; a string, take it under that name. What is not named is set to None.

        Returns
        -------
        self : CertifiedScorer

        Raises
        ------
        RuntimeError
            If metadata routing is not enabled.
        TypeError
            If the scorer does not take such metadata.

        Examples
        --------
        >>> import sklearn
        >>> from smoothcs import certified_scorer
        >>> with sklearn.config_context(enable_metadata_routing=True):
        ...     scorer = certified_scorer(0.1, metrics="savings").set_score_request(costs=True)
        """
        if not get_config()["enable_metadata_routing"]:
            raise RuntimeError(
                "set_score_request needs metadata routing: call "
                "sklearn.set_config(enable_metadata_routing=True) first."
            )
        unknown = set(requests) - set(METADATA)
        if unknown:
            raise TypeError(
                f"a certified scorer takes the metadata {list(METADATA)}; got {sorted(unknown)}."
            )
        self.requests = requests
        return self

    def get_metadata_routing(self) -> MetadataRequest:
        """Return the requests; called by scikit-learn."""
        routing = MetadataRequest(owner=self)
        for name in METADATA:
            routing.score.add_request(param=name, alias=self.requests.get(name))
        return routing

    def _routing_repr(self) -> str:
        return repr(self)

    def _accept_sample_weight(self) -> bool:
        # scikit-learn asks this of its scorers where routing is not enabled.
        return True

    def __repr__(self) -> str:
        metrics = self.metrics[0] if self.single else list(self.metrics)
        return (
            f"certified_scorer(eps={self.eps}, n_estimation={self.n_estimation}, "
            f"metrics={metrics!r})"
        )


def certified_scorer(
    eps: float | None = None,
    *,
    n_estimation: int | None = None,
    metrics: str | Iterable[str] = DEFAULT_METRICS,
) -> CertifiedScorer:
    """Make a scorer of one certified metric, or of several from the same votes.

    Parameters
    ----------
    eps : float, default=None
        The radius at which to score, in the units of what reaches the estimator; None: the
        estimator's own. Fix it when ``sigma`` is searched, or candidates are scored at different
        radii.
    n_estimation : int, default=None
        Votes per input, in place of the estimator's; fewer are often enough to rank candidates.
    metrics : str or iterable of str
        Which metrics; greater is better for each of them: ``rob_cs``, ``neg_rob_cost``,
        ``certified_accuracy``, ``accuracy`` (certified at radius 0), ``rob_cs_standard``,
        ``neg_abstention_rate``, ``neg_misclassification_cost``; and, on request because they may be
        nan, ``rob_standard_nonsensitive`` (where every class is sensitive), ``savings`` and
        ``clean_savings`` (where some constant answer costs nothing) and ``neg_mean_bill`` (minus
        the bill per example, with ``bound="paper"``).

    Returns
    -------
    scorer : CertifiedScorer
        Picklable callable ``(estimator, X, y) -> dict``; of one name, ``-> float``, which can also
        stand beside scikit-learn's scorers in a dict of them.

    Raises
    ------
    ValueError
        If a metric is unknown or a number is out of range.

    Examples
    --------
    >>> from smoothcs import certified_scorer
    >>> certified_scorer(0.5, n_estimation=1000, metrics=["rob_cs", "accuracy"])
    certified_scorer(eps=0.5, n_estimation=1000, metrics=['rob_cs', 'accuracy'])
    >>> scoring = {"robust": certified_scorer(0.5, metrics="rob_cs"), "plain": "accuracy"}
    """
    if eps is not None:
        check_positive("eps", eps)
    if n_estimation is not None:
        check_integer("n_estimation", n_estimation)
    single = isinstance(metrics, str)
    names = (metrics,) if isinstance(metrics, str) else tuple(metrics)
    if not names:
        raise ValueError(f"metrics must name at least one of {list(METRICS)}; got none.")
    for name in names:
        check_choice("metrics", name, METRICS)
    return CertifiedScorer(eps, n_estimation, names, single)


#: Scorer for ``cross_val_score``: rob_cs at the estimator's own ``eps``.
rob_cs_scorer = CertifiedScorer(None, None, ("rob_cs",), single=True)
#: Scorer for ``cross_val_score``: minus rob_cost at the estimator's own ``eps``.
neg_rob_cost_scorer = CertifiedScorer(None, None, ("neg_rob_cost",), single=True)
#: Scorer for ``cross_val_score``: certified accuracy at the estimator's own ``eps``.
certified_accuracy_scorer = CertifiedScorer(None, None, ("certified_accuracy",), single=True)


class BestUnder(str):
    """Rule that picks a candidate of a search; made by :func:`best_under`.

    It is the name of its metric as well: ``search.score`` looks up ``scores[search.refit]``.
    """

    limits: dict[str, float]

    def __new__(cls, metric: str, limits: Mapping[str, float] | None = None) -> BestUnder:
        rule = super().__new__(cls, metric)
        rule.limits = dict(limits or {})
        return rule

    def __call__(self, cv_results: Mapping[str, Any]) -> int:
        target = self._mean(cv_results, str(self))
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
                f"no candidate has a finite mean_test_{self} and meets "
                f"{', '.join(f'{k} >= {v:g}' for k, v in floors.items()) or 'no limit'}; "
                "lower the limits or widen the grid."
            )
        return int(np.where(allowed, target, -np.inf).argmax())

    @staticmethod
    def _mean(cv_results: Mapping[str, Any], name: str) -> np.ndarray:
        key = f"mean_test_{name}"
        if key not in cv_results:
            known = sorted(k.removeprefix("mean_test_") for k in cv_results if "mean_test_" in k)
            if known == ["score"]:
                raise ValueError(
                    f"the search scores a single metric, which then has no name, and "
                    f"best_under looks for {name!r}: pass a list, as in "
                    f"scoring=certified_scorer(eps, metrics=['rob_cs', 'accuracy'])."
                )
            raise ValueError(f"the search has no metric {name!r}; it has {known}.")
        return np.asarray(cv_results[key], dtype=float)

    def __repr__(self) -> str:
        limits = "".join(f", {name}={limit}" for name, limit in self.limits.items())
        return f"best_under({str(self)!r}{limits})"


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
        raises ValueError where no candidate qualifies or a metric is unknown. ``search.score``,
        and with it nested cross-validation, then returns `metric`.

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
