"""Weights of a weighted vote, found on the stored votes of a validation set.

The search is in `smoothcs.tuning._frontier`.  Nothing is random; what is gained by fitting the
validation set is seen by cross-fitting.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothcs._validation import (
    check_choice,
    check_integer,
    check_positive,
    check_probability,
    check_real,
)
from smoothcs.bounds.binomial import check_votes, clopper_pearson_lower, clopper_pearson_upper
from smoothcs.certification import Certificates
from smoothcs.cost import CostMatrix, as_cost_matrix
from smoothcs.tuning._frontier import (
    STEP,
    Frontier,
    VoteTable,
    cross_fit,
    joined,
    search,
    undominated,
    vote_table,
)

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

OBJECTIVES = ("rob_cs", "rob_cost")


@dataclass(frozen=True, eq=False, repr=False)
class TunedDecision:
    """Weights chosen by `tune_decision`, and the frontier from which they were chosen.

    Attributes
    ----------
    weights : ndarray of float64 of shape (m,)
        The chosen weights; the commonest is 1.
    classes : ndarray of shape (m,)
        The labels to which they belong.
    objective : {"rob_cs", "rob_cost"}
        The metric at ``eps``.
    eps : float
    accuracy, metric : float
        In-sample: on the votes on which the weights were chosen.
    accuracy_cv, metric_cv : float
        Out-of-sample: each fold judged by weights tuned on the other folds. nan without folds.
    baseline_accuracy, baseline_metric : float
        Of the plurality vote (all weights 1).
    frontier_weights : ndarray of float64 of shape (p, m)
        One point a row, by falling accuracy (out-of-sample if there are folds).
    frontier_accuracy, frontier_metric, frontier_accuracy_cv, frontier_metric_cv : ndarray (p,)
        In- and out-of-sample numbers of the points.

    Notes
    -----
    Out-of-sample numbers of a frontier point are those of the *procedure*: in each fold, the best
    weights whose loss of accuracy against the plurality vote is no greater than the point's.
    """

    weights: Floats
    classes: NDArray[Any]
    objective: str
    eps: float
    accuracy: float
    metric: float
    accuracy_cv: float
    metric_cv: float
    baseline_accuracy: float
    baseline_metric: float
    frontier_weights: Floats
    frontier_accuracy: Floats
    frontier_metric: Floats
    frontier_accuracy_cv: Floats
    frontier_metric_cv: Floats

    def __repr__(self) -> str:
        changed = {k: round(w, 3) for k, w in self.label_weights.items() if w != 1}
        return (
            f"TunedDecision(weights={changed or 'all 1'}, accuracy {self.baseline_accuracy:.3f} -> "
            f"{self.accuracy:.3f}, {self.objective}({self.eps:g}) {self.baseline_metric:.3f} -> "
            f"{self.metric:.3f}, out of sample {self.accuracy_cv:.3f} and {self.metric_cv:.3f})"
        )

    @property
    def label_weights(self) -> dict[Any, float]:
        """The weights by label."""
        return dict(zip(self.classes.tolist(), self.weights.tolist(), strict=True))

    def pick(
        self, *, min_accuracy: float | None = None, max_accuracy_loss: float | None = None
    ) -> TunedDecision:
        """Choose another point of the frontier; see `tune_decision`."""
        _check_floor(min_accuracy, max_accuracy_loss)
        i = _choose(self, min_accuracy, max_accuracy_loss)
        if i is None:
            plain = (self.baseline_accuracy, self.baseline_metric)
            return self._at(np.ones_like(self.weights), plain, plain)
        return self._at(
            self.frontier_weights[i],
            (float(self.frontier_accuracy[i]), float(self.frontier_metric[i])),
            (float(self.frontier_accuracy_cv[i]), float(self.frontier_metric_cv[i])),
        )

    def _at(
        self, weights: Floats, inside: tuple[float, float], outside: tuple[float, float]
    ) -> TunedDecision:
        return replace(
            self,
            weights=weights,
            accuracy=inside[0],
            metric=inside[1],
            accuracy_cv=outside[0],
            metric_cv=outside[1],
        )

    def to_frame(self) -> pd.DataFrame:
        """The frontier, one point a row; needs pandas."""
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("TunedDecision.to_frame needs pandas: pip install pandas.") from error
        names = ("accuracy", "metric", "accuracy_cv", "metric_cv")
        columns = {
            name.replace("metric", self.objective): getattr(self, f"frontier_{name}")
            for name in names
        }
        for k, label in enumerate(self.classes.tolist()):
            columns[f"weight_{label}"] = self.frontier_weights[:, k]
        return pd.DataFrame(columns)


def tune_decision(
    votes: Certificates | ArrayLike,
    y: ArrayLike | None = None,
    cost_matrix: Any = None,
    eps: float | None = None,
    *,
    objective: str = "rob_cs",
    min_accuracy: float | None = None,
    max_accuracy_loss: float | None = 0.01,
    sigma: float | None = None,
    alpha: float | None = None,
    selection: ArrayLike | None = None,
    cv: int = 5,
    max_ratio: float = 64.0,
) -> TunedDecision:
    """Find weights of a weighted vote from stored votes: no forward pass, no retraining.

    Parameters
    ----------
    votes : Certificates or array-like of int of shape (n_inputs, n_classes)
        Votes of a validation set: inputs on which the base classifier was not trained, and which
        are not those to be certified in the end.
    y : array-like of shape (n_inputs,), default=None
        True classes; None: those of the certificates.
    cost_matrix : CostMatrix or anything it can be built from, default=None
        None: that of the certificates, else every mistake costs 1.
    eps : float
        Attack radius > 0 at which the objective is taken, in the units of sigma.
    objective : {"rob_cs", "rob_cost"}, default="rob_cs"
        "rob_cs" is maximised, "rob_cost" minimised.
    min_accuracy : float, default=None
        Lowest accuracy allowed; if given, ``max_accuracy_loss`` is ignored.
    max_accuracy_loss : float, default=0.01
        Largest loss of accuracy against the plurality vote, on the same inputs.
    sigma : float, default=None
        Standard deviation of the noise; None: that of the certificates.
    alpha : float, default=None
        Failure probability at which radii are bounded (closed form) while tuning. None: that of the
        certificates; for plain votes, ``(k + 1/2) / (n + 1)`` is taken for the probability of a
        class with k of n votes: one without votes is not one that never gets any.
    selection : array-like of int of shape (n_inputs, n_classes), default=None
        Selection votes, which pick the class. None: those of the certificates, else ``votes``.
    cv : int, default=5
        Folds of the cross-fitting, stratified by class; 0: none.
    max_ratio : float, default=64
        Weights stay within this factor of each other.

    Returns
    -------
    TunedDecision
        The point chosen is the best of the frontier that keeps the accuracy, both judged
        out-of-sample (in-sample with ``cv=0``); the plurality vote if there is none better.
        Accuracy is the share of inputs whose weighted winner is correct, without abstentions.

    Raises
    ------
    ValueError
        If a parameter is outside its range, no example is of a sensitive class, or no weights reach
        ``min_accuracy``.

    Examples
    --------
    >>> import numpy as np
    >>> from smoothcs.tuning import tune_decision
    >>> h = np.array([[.6, .4], [.9, .1], [.8, .2], [.95, .05]] * 50)
    >>> votes = np.random.default_rng(0).multinomial(1000, h)
    >>> tuned = tune_decision(votes, [1, 0, 0, 0] * 50, [[0, 0], [1, 0]], eps=0.1, sigma=0.5)
    >>> tuned.baseline_metric, tuned.metric, tuned.accuracy
    (0.0, 1.0, 1.0)
    """
    return tune(
        votes,
        y,
        cost_matrix,
        eps,
        objective=objective,
        min_accuracy=min_accuracy,
        max_accuracy_loss=max_accuracy_loss,
        sigma=sigma,
        alpha=alpha,
        selection=selection,
        cv=cv,
        max_ratio=max_ratio,
    )


def tune(
    votes: Certificates | ArrayLike,
    y: ArrayLike | None,
    cost_matrix: Any,
    eps: float | None,
    *,
    objective: str,
    min_accuracy: float | None,
    max_accuracy_loss: float | None,
    sigma: float | None,
    alpha: float | None,
    selection: ArrayLike | None = None,
    cv: int = 5,
    max_ratio: float = 64.0,
    as_if: int | None = None,
) -> TunedDecision:
    """As `tune_decision`; radii are bounded as if ``as_if`` votes with these shares were there."""
    check_choice("objective", objective, OBJECTIVES)
    folds = check_integer("cv", cv, low=0)
    if folds == 1:
        raise ValueError("cv must be an integer >= 2, or 0 for no cross-fitting; got 1.")
    span = int(np.log(check_real("max_ratio", max_ratio, low=1.0, high=1e6)) / STEP + 1e-9)
    _check_floor(min_accuracy, max_accuracy_loss)
    if eps is None:
        raise ValueError("eps must be given: the attack radius at which to be robust.")
    eps = check_positive("eps", eps)
    table, cost = _read(
        votes, y, cost_matrix, eps, sigma, alpha, selection, objective == "rob_cs", as_if
    )

    correct, gain = table.totals(np.zeros(table.n_classes, dtype=np.int64))
    base, base_gain = correct / len(table.votes), gain / len(table.sensitive)
    if folds > 1 and len(table.sensitive) < 2:
        raise ValueError(
            "cross-fitting needs at least 2 examples of sensitive classes; got 1: give more "
            "examples, or cv=0."
        )
    fold = _stratified(table, folds) if folds > 1 else None
    frontier, accuracy_cv, gain_cv = _best_of_families(table, fold, span, base)

    # The gain is the share that is robust, or the cost that is avoided.
    def metric(gain: Any) -> Any:
        return gain if objective == "rob_cs" else table.worth - gain

    return TunedDecision(
        weights=np.ones(table.n_classes),
        classes=np.arange(cost.n_classes) if cost.classes is None else np.asarray(cost.classes),
        objective=objective,
        eps=eps,
        accuracy=base,
        metric=metric(base_gain),
        accuracy_cv=base,
        metric_cv=metric(base_gain),
        baseline_accuracy=base,
        baseline_metric=metric(base_gain),
        frontier_weights=_readable(frontier.log_weights),
        frontier_accuracy=frontier.accuracy,
        frontier_metric=metric(frontier.gain),
        frontier_accuracy_cv=accuracy_cv,
        frontier_metric_cv=metric(gain_cv),
    ).pick(min_accuracy=min_accuracy, max_accuracy_loss=max_accuracy_loss)


def _read(
    votes: Any,
    y: ArrayLike | None,
    cost_matrix: Any,
    eps: float,
    sigma: float | None,
    alpha: float | None,
    selection: ArrayLike | None,
    together: bool,
    as_if: int | None = None,
) -> tuple[VoteTable, CostMatrix]:
    """Bound the shares of all classes and put them in a table."""
    if isinstance(votes, Certificates):
        y = votes.y if y is None else y
        sigma = votes.sigma if sigma is None else sigma
        alpha = votes.alpha if alpha is None else alpha
        selection = votes.selection_votes if selection is None else selection
        classes = votes.cost_matrix.classes
        cost_matrix = votes.cost_matrix if cost_matrix is None else cost_matrix
        counts = check_votes("votes", votes.votes)
    else:
        counts, classes = check_votes("votes", votes), None
    picked = counts if selection is None else check_votes("selection", selection)
    if picked.shape != counts.shape:
        raise ValueError(f"selection must have shape {counts.shape} as votes; got {picked.shape}.")
    if y is None:
        raise ValueError("y must be given: tuning compares with the true classes.")
    if sigma is None:
        raise ValueError("sigma must be given: votes alone do not tell the noise.")
    eta = eps / check_positive("sigma", sigma)
    cost = as_cost_matrix(cost_matrix, classes=classes, n_classes=counts.shape[1])
    truth = cost.encode(y)
    if truth.shape != counts.shape[:1]:
        raise ValueError(f"y must hold {len(counts)} labels; got shape {truth.shape}.")
    omega = cost.omega[truth]
    if not omega.any():
        raise ValueError("no example is of a sensitive class: there is nothing to tune.")

    n = counts.sum(axis=1, keepdims=True)
    # With shares of 0 and 1 any weight at all would look safe, at any eps.
    shares = (counts + 0.5) / (n + 1.0)
    if as_if is not None:
        counts, n = np.rint(shares * as_if).astype(np.int64), np.full_like(n, as_if)
    if alpha is None:
        lower = upper = shares
    else:
        # As "closed-form" bounds them: half of alpha each, and less for targets used together.
        alpha = check_probability("alpha", alpha)
        targets = 1 if together else np.maximum(omega.sum(axis=1, keepdims=True), 1)
        lower = clopper_pearson_lower(counts, n, alpha / 2)
        upper = clopper_pearson_upper(counts, n, alpha / (2 * targets))
    table = vote_table(picked, lower, upper, truth, omega, cost.matrix[truth], eta, together)
    return table, cost


def _best_of_families(
    table: VoteTable, fold: NDArray[np.intp] | None, span: int, base: float
) -> tuple[Frontier, Floats, Floats]:
    """The frontier, and its out-of-sample numbers (nan without folds).

    One factor for all sensitive classes is hard to over-fit; a factor for each class reaches more.
    Both are searched, and the points are kept that no other beats out-of-sample.
    """
    found: list[Frontier] = []
    held_out: list[tuple[Floats, Floats]] = []
    for directions in _families(table):
        frontier = search(table, span, directions)
        unknown = np.full(len(frontier.gain), np.nan)
        losses = base - frontier.accuracy
        found.append(frontier)
        held_out.append(
            (unknown, unknown) if fold is None else cross_fit(table, fold, span, directions, losses)
        )
    both = joined(found)
    accuracy, gain = (np.concatenate(parts) for parts in zip(*held_out, strict=True))
    kept = undominated(both.accuracy, both.gain) if fold is None else undominated(accuracy, gain)
    return both.take(kept), accuracy[kept], gain[kept]


def _families(table: VoteTable) -> list[list[NDArray[np.bool_]]]:
    """Sets of classes that move together: all seed classes and all targets; each class as well."""
    m = table.n_classes
    seeds = np.isin(np.arange(m), table.truth[table.sensitive])
    families: list[list[NDArray[np.bool_]]] = []
    for candidates in ([seeds, table.omega.any(axis=0)], [*np.eye(m, dtype=bool)]):
        distinct: dict[bytes, NDArray[np.bool_]] = {}
        for chosen in [*(families[0] if families else []), *candidates]:
            # Moving a set up or all others down is the same.
            if 0 < chosen.sum() < m and (~chosen).tobytes() not in distinct:
                distinct.setdefault(chosen.tobytes(), chosen)
        families.append(list(distinct.values()))
    return [family for family in families if family]


def _stratified(table: VoteTable, folds: int) -> NDArray[np.intp]:
    """Deal the examples to the folds in turn, class by class, sensitive classes first.

    Two sensitive examples are then never in one fold alone.
    """
    harmless = ~np.isin(np.arange(len(table.truth)), table.sensitive)
    fold = np.empty(len(table.truth), dtype=np.intp)
    fold[np.lexsort((table.truth, harmless))] = np.arange(len(fold)) % folds
    return fold


def _readable(log_weights: NDArray[np.int64]) -> Floats:
    """Weights, scaled so that the commonest in each row (the smallest of several) is 1."""
    commonest = [np.bincount(row - row.min()).argmax() + row.min() for row in log_weights]
    return np.exp(STEP * (log_weights - np.array(commonest)[:, None]))


def _check_floor(min_accuracy: float | None, max_accuracy_loss: float | None) -> None:
    if min_accuracy is not None:
        check_real("min_accuracy", min_accuracy, low=0.0, high=1.0)
    elif max_accuracy_loss is not None:
        check_real("max_accuracy_loss", max_accuracy_loss, low=0.0, high=1.0)


def _choose(
    tuned: TunedDecision, min_accuracy: float | None, max_accuracy_loss: float | None
) -> int | None:
    """The best point that keeps the accuracy; None: no point is better than equal weights."""
    held_out = not np.isnan(tuned.frontier_accuracy_cv).all()
    accuracy = tuned.frontier_accuracy_cv if held_out else tuned.frontier_accuracy
    metric = tuned.frontier_metric_cv if held_out else tuned.frontier_metric
    sign = 1.0 if tuned.objective == "rob_cs" else -1.0
    floor = -np.inf
    if min_accuracy is not None:
        floor = min_accuracy
    elif max_accuracy_loss is not None:
        floor = tuned.baseline_accuracy - max_accuracy_loss
    value = np.where(accuracy >= floor - 1e-12, sign * metric, -np.inf)
    best = int(value.argmax())
    plain_is_allowed = tuned.baseline_accuracy >= floor - 1e-12
    if np.isneginf(value[best]) and not plain_is_allowed:
        raise ValueError(
            f"no weights reach min_accuracy = {min_accuracy}; the largest accuracy is "
            f"{max(accuracy.max(), tuned.baseline_accuracy):.4f}."
        )
    if plain_is_allowed and value[best] <= sign * tuned.baseline_metric:
        return None
    return best
