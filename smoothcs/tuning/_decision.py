"""Weights of a decision, found on the stored votes or scores of a validation set.

The search is in `smoothcs.tuning._frontier`.  Nothing is random; what is gained by fitting the
validation set is seen by cross-fitting.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothcs._costs import check_costs
from smoothcs._metrics.checks import checked_weights
from smoothcs._metrics.frames import as_frame
from smoothcs._validation import (
    Floats,
    check_choice,
    check_integer,
    check_positive,
    check_probability,
    check_real,
)
from smoothcs.bounds.binomial import check_votes, clopper_pearson_lower, clopper_pearson_upper
from smoothcs.certification import Certificates
from smoothcs.certification._intervals import group_codes
from smoothcs.cost import CostMatrix, as_cost_matrix
from smoothcs.decision import WeightedVotes
from smoothcs.tuning._frontier import (
    STEP,
    Examples,
    Frontier,
    Table,
    cross_fit,
    joined,
    kept,
    search,
    undominated,
)
from smoothcs.tuning._scores import score_table
from smoothcs.tuning._votes import vote_table

if TYPE_CHECKING:
    import pandas as pd


OBJECTIVES = ("rob_cs", "rob_cost", "bill", "cost")
_NUMBERS = ("accuracy", "clean_cost", "metric")


@dataclass(frozen=True, eq=False, repr=False)
class TunedDecision:
    """Weights chosen by `tune_decision`, and the frontier from which they were chosen.

    Attributes
    ----------
    weights : ndarray of float64 of shape (m,)
        The chosen weights; the commonest is 1.
    classes : ndarray of shape (m,)
        The labels to which they belong.
    weigh : {"scores", "votes"}
        What they are weights of.
    objective : {"rob_cs", "rob_cost", "bill", "cost"}
        The metric at ``eps``; see `tune_decision`.
    against : {"accuracy", "clean_cost"}
        What the frontier weighs it against.
    eps : float
    accuracy, clean_cost, metric : float
        In-sample: on the examples on which the weights were chosen. ``clean_cost`` is the mean cost
        of the answers without an attack.
    accuracy_cv, clean_cost_cv, metric_cv : float
        Out-of-sample: each fold judged by weights tuned on the other folds. nan without folds.
    baseline_accuracy, baseline_clean_cost, baseline_metric : float
        With all weights 1.
    frontier_weights : ndarray of float64 of shape (p, m)
        One point a row, by falling accuracy or rising clean cost (out-of-sample if there are
        folds).
    frontier_accuracy, frontier_clean_cost, frontier_metric : ndarray (p,)
        In-sample numbers of the points.
    frontier_accuracy_cv, frontier_clean_cost_cv, frontier_metric_cv : ndarray (p,)
        Their out-of-sample numbers.

    Notes
    -----
    Out-of-sample numbers of a frontier point are those of the *procedure*: in each fold, the best
    weights whose loss against equal weights is no greater than the point's.
    """

    weights: Floats
    classes: NDArray[Any]
    weigh: str
    objective: str
    against: str
    eps: float
    accuracy: float
    clean_cost: float
    metric: float
    accuracy_cv: float
    clean_cost_cv: float
    metric_cv: float
    baseline_accuracy: float
    baseline_clean_cost: float
    baseline_metric: float
    frontier_weights: Floats
    frontier_accuracy: Floats
    frontier_clean_cost: Floats
    frontier_metric: Floats
    frontier_accuracy_cv: Floats
    frontier_clean_cost_cv: Floats
    frontier_metric_cv: Floats

    def __repr__(self) -> str:
        changed = {k: round(w, 3) for k, w in self.label_weights.items() if w != 1}
        at = "" if self.objective == "cost" else f"({self.eps:g})"
        numbers = [("accuracy", "accuracy"), ("metric", f"{self.objective}{at}")]
        if self.against == "clean_cost":
            numbers[0] = ("clean_cost", "clean cost")
        told = ", ".join(
            f"{title} {getattr(self, f'baseline_{name}'):.3f} -> {getattr(self, name):.3f}"
            for name, title in numbers
        )
        outside = " and ".join(f"{getattr(self, f'{name}_cv'):.3f}" for name, _ in numbers)
        return (
            f"TunedDecision({self.weigh} weigh {changed or 'all 1'}, {told}, out of sample "
            f"{outside})"
        )

    @property
    def label_weights(self) -> dict[Any, float]:
        """The weights by label."""
        return dict(zip(self.classes.tolist(), self.weights.tolist(), strict=True))

    @property
    def decision(self) -> dict[Any, float] | WeightedVotes:
        """The weights as the ``decision`` of an estimator: a dict weighs scores."""
        return self.label_weights if self.weigh == "scores" else WeightedVotes(self.label_weights)

    def pick(
        self,
        *,
        min_accuracy: float | None = None,
        max_accuracy_loss: float | None = None,
        max_cost_increase: float | None = None,
    ) -> TunedDecision:
        """Choose another point of the frontier; see `tune_decision`."""
        check_floor(min_accuracy, max_accuracy_loss, max_cost_increase)
        i = _choose(self, min_accuracy, max_accuracy_loss, max_cost_increase)
        values: dict[str, Any] = {}
        for name in _NUMBERS:
            for suffix in ("", "_cv"):
                values[name + suffix] = (
                    getattr(self, f"baseline_{name}")
                    if i is None
                    else float(getattr(self, f"frontier_{name}{suffix}")[i])
                )
        weights = np.ones_like(self.weights) if i is None else self.frontier_weights[i]
        return replace(self, weights=weights, **values)

    def to_frame(self) -> pd.DataFrame:
        """The frontier, one point a row; needs pandas."""
        kinds = (self.against, "metric")
        columns = {
            (name + suffix).replace("metric", self.objective): getattr(
                self, f"frontier_{name}{suffix}"
            )
            for suffix in ("", "_cv")
            for name in kinds
        }
        for k, label in enumerate(self.classes.tolist()):
            columns[f"weight_{label}"] = self.frontier_weights[:, k]
        return as_frame(columns, "TunedDecision.to_frame")


def tune_decision(
    votes: Certificates | ArrayLike,
    y: ArrayLike | None = None,
    cost_matrix: Any = None,
    eps: float | None = None,
    *,
    costs: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    objective: str = "rob_cs",
    min_accuracy: float | None = None,
    max_accuracy_loss: float | None = 0.01,
    max_cost_increase: float | None = None,
    sigma: float | None = None,
    alpha: float | None = None,
    as_if: int | None = None,
    selection: ArrayLike | None = None,
    cv: int = 5,
    max_ratio: float = 64.0,
) -> TunedDecision:
    """Find weights of scores or votes from stored ones: no forward pass, no retraining.

    Parameters
    ----------
    votes : Certificates, or array-like (n_inputs, n_classes) or (n_inputs, n_copies, n_classes)
        Of a validation set: inputs on which the base classifier was not trained, and which are not
        those to be certified in the end. Counts of votes, whose weights are then found; or scores
        of noisy copies (:func:`smoothcs.tuning.sample_scores`), whose weights act inside the base
        classifier. Scores are read as float16: at most 2 bytes for each, and as much again for
        those that weights can change.
    y : array-like of shape (n_inputs,), default=None
        True classes; None: those of the certificates.
    cost_matrix : CostMatrix or anything it can be built from, default=None
        None: that of the certificates, else every mistake costs 1.
    eps : float
        Attack radius > 0 at which the objective is taken, in the units of sigma; for "cost" it is
        ignored, as are sigma and alpha.
    costs : array-like of shape (n_inputs, n_classes, n_classes), default=None
        ``costs[i, y, k]`` of calling example i, of class y, a k, in place of those of
        ``cost_matrix``, which still says which targets are sensitive.
    sample_weight : array-like of shape (n_inputs,), default=None
        Weights of the examples in all means.
    groups : array-like of shape (n_inputs,), default=None
        To whom or what each input belongs: no group is in two folds of the cross-fitting.
    objective : {"rob_cs", "rob_cost", "bill", "cost"}, default="rob_cs"
        "rob_cs" is maximised. Minimised are "rob_cost"; "bill", the mean over all inputs of the
        largest cost among the answer and every one that is not ruled out at ``eps``; and "cost",
        the mean cost of the answers, without an attack.
    min_accuracy, max_accuracy_loss, max_cost_increase : float, default=None, 0.01, None
        As in :class:`smoothcs.TunedDecisionClassifier`. If ``max_cost_increase`` is given, the
        frontier weighs the objective against the clean cost.
    sigma : float, default=None
        Standard deviation of the noise; None: that of the certificates.
    alpha : float, default=None
        Failure probability at which radii are bounded (closed form) while tuning. None: that of the
        certificates; else, ``(k + 1/2) / (n + 1)`` is taken for the probability of a class with k
        of n votes: one without votes is not one that never gets any.
    as_if : int, default=None
        Bound radii as if this many votes with the same shares were there.
    selection : array-like of int of shape (n_inputs, n_classes), default=None
        Selection votes, which pick the class. None: those of the certificates, else ``votes``.
    cv : int, default=5
        Folds of the cross-fitting, stratified by class; 0: none.
    max_ratio : float, default=64
        Weights stay within this factor of each other.

    Returns
    -------
    TunedDecision
        The point chosen is the best of the frontier that keeps the limits, all judged
        out-of-sample (in-sample with ``cv=0``); equal weights if there is none better.
        Accuracy is the share of inputs whose winner is correct, without abstentions.

    Raises
    ------
    ValueError
        If a parameter is outside its range, no example is of a sensitive class, or no weights keep
        the limits.

    Examples
    --------
    >>> import numpy as np
    >>> from smoothcs.tuning import tune_decision
    >>> h = np.array([[.6, .4], [.9, .1], [.8, .2], [.95, .05]] * 50)
    >>> votes = np.random.default_rng(0).multinomial(1000, h)
    >>> y = [1, 0, 0, 0] * 50
    >>> tuned = tune_decision(votes, y, [[0, 0], [1, 0]], eps=0.1, sigma=0.5)
    >>> tuned.baseline_metric, tuned.metric, tuned.accuracy
    (0.0, 1.0, 1.0)

    The scores of 100 copies of each input, all the same:

    >>> scores = np.repeat(h[:, None], 100, axis=1)
    >>> tune_decision(scores, y, [[0, 0], [1, 0]], eps=0.1, sigma=0.5).decision
    {0: 1.0, 1: 1.542...}
    """
    check_choice("objective", objective, OBJECTIVES)
    folds = check_integer("cv", cv, low=0)
    if folds == 1:
        raise ValueError("cv must be an integer >= 2, or 0 for no cross-fitting; got 1.")
    span = int(np.log(check_real("max_ratio", max_ratio, low=1.0, high=1e6)) / STEP + 1e-9)
    check_floor(min_accuracy, max_accuracy_loss, max_cost_increase)
    if isinstance(votes, Certificates):
        y = votes.y if y is None else y
        sigma = votes.sigma if sigma is None else sigma
        alpha = votes.alpha if alpha is None else alpha
        selection = votes.selection_votes if selection is None else selection
        cost_matrix = votes.cost_matrix if cost_matrix is None else cost_matrix
        counts: Any = check_votes("votes", votes.votes)
        classes = votes.cost_matrix.classes
    else:
        counts, classes = _scores_or_votes(votes), None
    eta = 0.0
    if objective != "cost":
        if eps is None:
            raise ValueError("eps must be given: the attack radius at which to be robust.")
        if sigma is None:
            raise ValueError("sigma must be given: what is stored does not tell the noise.")
        eta = check_positive("eps", eps) / check_positive("sigma", sigma)
    if y is None:
        raise ValueError("y must be given: tuning compares with the true classes.")
    cost = as_cost_matrix(cost_matrix, classes=classes, n_classes=counts.shape[-1])
    against = "accuracy" if max_cost_increase is None else "clean_cost"
    examples = _examples(counts, y, cost, costs, sample_weight, (objective, against))
    if selection is not None and counts.ndim == 3:
        raise ValueError("selection applies to votes; scores pick the class by themselves.")
    picked = counts if selection is None else check_votes("selection", selection)
    if picked.shape != counts.shape:
        raise ValueError(f"selection must have shape {counts.shape} as votes; got {picked.shape}.")
    belongs = group_codes(groups, len(counts))
    if not examples.weight.all():  # a fold could be without any
        rows = np.flatnonzero(examples.weight)
        examples, counts, picked = examples.take(rows), counts[rows], picked[rows]
        belongs = np.unique(belongs[rows], return_inverse=True)[1].reshape(-1)
    if folds > 1:
        examples = replace(examples, fold=_stratified(examples, belongs, folds))
    if alpha is not None:
        alpha = check_probability("alpha", alpha)
    if as_if is not None:
        as_if = check_integer("as_if", as_if)
    # As "closed-form" bounds them: half of alpha each, and less for targets used together.
    together = np.maximum(examples.omega.sum(axis=1), 1)
    n_targets = np.ones_like(together) if objective == "rob_cs" else together
    table: Table
    if counts.ndim == 3:
        bounds = partial(_bounds, n=counts.shape[1], alpha=alpha, as_if=as_if)
        table = score_table(
            counts, examples, span, None if objective == "cost" else bounds, n_targets, eta
        )
    else:
        n = counts.sum(axis=1, keepdims=True)
        lower, upper = _bounds(counts, n_targets[:, None], n=n, alpha=alpha, as_if=as_if)
        table = vote_table(picked, lower, upper, _without_votes(examples, picked), eta)
    tuned = _tuned(table, cost, span, folds, "scores" if counts.ndim == 3 else "votes", eps or 0.0)
    return tuned.pick(
        min_accuracy=min_accuracy,
        max_accuracy_loss=max_accuracy_loss,
        max_cost_increase=max_cost_increase,
    )


def _scores_or_votes(votes: Any) -> Any:
    if np.ndim(votes) != 3:
        return check_votes("votes", votes)
    scores = np.asarray(votes)
    if scores.dtype.kind != "f" or scores.shape[1] < 1 or scores.shape[2] < 2:
        raise ValueError(
            "scores must be floats of shape (n_inputs, n_copies, n_classes); got "
            f"{scores.dtype} of shape {scores.shape}."
        )
    scores = scores.astype(np.float16, copy=False)
    if not (scores.min(initial=0) >= 0 and scores.max(initial=0) < np.inf):  # false for nan
        raise ValueError("scores must be finite and >= 0.")
    return scores


def _examples(
    counts: NDArray[Any],
    y: ArrayLike,
    cost: CostMatrix,
    costs: Any,
    sample_weight: Any,
    kinds: tuple[str, str],
) -> Examples:
    """Read what each example is worth."""
    n, m = len(counts), counts.shape[-1]
    truth = cost.encode(y)
    if truth.shape != (n,):
        raise ValueError(f"y must hold {n} labels; got shape {truth.shape}.")
    own = check_costs(costs, n, m)
    row = cost.matrix[truth] if own is None else own[np.arange(n), truth]
    weight = checked_weights(sample_weight, n)
    omega = cost.omega[truth]
    none = np.zeros(n, dtype=np.intp)
    examples = Examples(truth, row, omega, weight, none, *kinds)
    if kinds[0] == "cost" and not (row.any(axis=1) & (weight > 0)).any():
        raise ValueError("no answer to any example costs anything: there is nothing to tune.")
    if kinds[0] != "cost" and not (omega.any(axis=1) & (weight > 0)).any():
        raise ValueError("no example is of a sensitive class: there is nothing to tune.")
    return examples


def _without_votes(examples: Examples, picked: NDArray[np.int64]) -> Examples:
    """An input without votes is never correct, and pays its largest cost."""
    seen = picked.sum(axis=1) > 0
    row = np.where(seen[:, None], examples.row, examples.row.max(axis=1, keepdims=True))
    return replace(examples, truth=np.where(seen, examples.truth, -1), row=row)


def _bounds(
    counts: Any, n_targets: Any, *, n: Any, alpha: float | None, as_if: int | None
) -> tuple[Floats, Floats]:
    """Bound the shares of votes from below and above."""
    # With shares of 0 and 1 any weight at all would look safe, at any eps.
    shares = (counts + 0.5) / (n + 1.0)
    if alpha is None:
        return shares, shares
    if as_if is not None:
        counts, n = np.rint(shares * as_if).astype(np.int64), np.full_like(n, as_if)
    lower = clopper_pearson_lower(counts, n, alpha / 2)
    return lower, clopper_pearson_upper(counts, n, alpha / (2 * n_targets))


def _tuned(
    table: Table, cost: CostMatrix, span: int, folds: int, weigh: str, eps: float
) -> TunedDecision:
    """Search the table; equal weights are the point chosen."""
    examples = table.examples
    frontier, outside = _best_of_families(table, span, folds > 1)
    equal = np.zeros(table.n_classes, dtype=np.int64)
    sizes = examples.sizes()
    inside = [table.totals(steps) for steps in frontier.log_weights]

    def numbers(totals: Any) -> Any:
        means = np.asarray(totals).reshape(-1, 3) / sizes
        if examples.objective != "rob_cs":  # the gain is the cost that is avoided
            means[:, 2] = examples.most.sum() / sizes[2] - means[:, 2]
        return means.T

    base = dict(zip(_NUMBERS, numbers(table.totals(equal))[:, 0].tolist(), strict=True))
    values: dict[str, Any] = {}
    for name, within, beyond in zip(_NUMBERS, numbers(inside), numbers(outside), strict=True):
        values |= {name: base[name], f"{name}_cv": base[name], f"baseline_{name}": base[name]}
        values |= {f"frontier_{name}": within, f"frontier_{name}_cv": beyond}
    return TunedDecision(
        weights=np.ones(table.n_classes),
        classes=np.arange(cost.n_classes) if cost.classes is None else np.asarray(cost.classes),
        weigh=weigh,
        objective=examples.objective,
        against=examples.against,
        eps=eps,
        frontier_weights=_readable(frontier.log_weights),
        **values,
    )


def _best_of_families(table: Table, span: int, has_folds: bool) -> tuple[Frontier, Floats]:
    """The frontier, and totals (p, 3) of its points out-of-sample (nan without folds).

    One factor for all sensitive classes is hard to over-fit; a factor for each class reaches more.
    Both are searched, and the points are kept that no other beats out-of-sample.
    """
    examples = table.examples
    base = kept(examples, table.totals(np.zeros(table.n_classes, dtype=np.int64)))
    found: list[Frontier] = []
    held_out: list[Floats] = []
    for directions in _families(examples):
        frontier = search(table, span, directions)
        found.append(frontier)
        held_out.append(
            cross_fit(table, span, directions, base - frontier.kept)
            if has_folds
            else np.full((len(frontier.gain), 3), np.nan)
        )
    both, totals = joined(found), np.concatenate(held_out)
    best = (
        undominated(kept(examples, totals), totals[:, 2] / examples.sizes()[2])
        if has_folds
        else undominated(both.kept, both.gain)
    )
    return both.take(best), totals[best]


def _families(examples: Examples) -> list[list[NDArray[np.bool_]]]:
    """Sets of classes that move together: all seed classes and all targets; each class as well."""
    m = examples.omega.shape[1]
    seeds = np.isin(np.arange(m), examples.truth[examples.omega.any(axis=1)])
    families: list[list[NDArray[np.bool_]]] = []
    for candidates in ([seeds, examples.omega.any(axis=0)], [*np.eye(m, dtype=bool)]):
        distinct: dict[bytes, NDArray[np.bool_]] = {}
        for chosen in [*(families[0] if families else []), *candidates]:
            # Moving a set up or all others down is the same.
            if 0 < chosen.sum() < m and (~chosen).tobytes() not in distinct:
                distinct.setdefault(chosen.tobytes(), chosen)
        families.append(list(distinct.values()))
    return [family for family in families if family]


def _stratified(examples: Examples, groups: NDArray[np.intp], folds: int) -> NDArray[np.intp]:
    """Deal the groups to the folds in turn, class by class, those with sensitive examples first.

    Two groups with sensitive examples are then never in one fold alone.
    """
    first = np.unique(groups, return_index=True)[1]
    n_groups = len(first)
    harmless = np.ones(n_groups, dtype=bool)
    harmless[groups[examples.counted]] = False
    if np.count_nonzero(~harmless) < 2:
        raise ValueError(
            "cross-fitting needs at least 2 examples of sensitive classes, of different groups; "
            f"got {np.count_nonzero(~harmless)}: give more examples, or do without it (cv=0 of "
            "tune_decision, validation=3 of TunedDecisionClassifier)."
        )
    fold = np.empty(n_groups, dtype=np.intp)
    fold[np.lexsort((examples.truth[first], harmless))] = np.arange(n_groups) % folds
    dealt: NDArray[np.intp] = fold[groups]
    return dealt


def _readable(log_weights: NDArray[np.int64]) -> Floats:
    """Weights, scaled so that the commonest in each row (the smallest of several) is 1."""
    commonest = [np.bincount(row - row.min()).argmax() + row.min() for row in log_weights]
    return np.exp(STEP * (log_weights - np.array(commonest)[:, None]))


def check_floor(
    min_accuracy: float | None, max_accuracy_loss: float | None, max_cost_increase: float | None
) -> None:
    """Check the limits of a tuned decision."""
    if min_accuracy is not None:
        check_real("min_accuracy", min_accuracy, low=0.0, high=1.0)
    if max_cost_increase is not None:
        check_real("max_cost_increase", max_cost_increase, low=-1.0)
    if max_accuracy_loss is not None:
        check_real("max_accuracy_loss", max_accuracy_loss, low=0.0, high=1.0)


def _choose(
    tuned: TunedDecision,
    min_accuracy: float | None,
    max_accuracy_loss: float | None,
    max_cost_increase: float | None,
) -> int | None:
    """The best point that keeps the limits; None: no point is better than equal weights."""
    suffix = "" if np.isnan(tuned.frontier_accuracy_cv).all() else "_cv"
    accuracy, cost, metric = (getattr(tuned, f"frontier_{name}{suffix}") for name in _NUMBERS)
    sign = 1.0 if tuned.objective == "rob_cs" else -1.0
    floor, ceiling = -np.inf, np.inf
    if min_accuracy is not None:
        floor = min_accuracy
    elif max_accuracy_loss is not None and max_cost_increase is None:
        floor = tuned.baseline_accuracy - max_accuracy_loss
    if max_cost_increase is not None:
        ceiling = tuned.baseline_clean_cost * (1.0 + max_cost_increase)

    def allowed(accuracy: Any, cost: Any) -> Any:
        return (accuracy >= floor - 1e-12) & (cost <= ceiling + 1e-12 * abs(ceiling))

    value = np.where(allowed(accuracy, cost), sign * metric, -np.inf)
    best = int(value.argmax())
    plain_is_allowed = allowed(tuned.baseline_accuracy, tuned.baseline_clean_cost)
    if np.isneginf(value[best]) and not plain_is_allowed:
        if min_accuracy is not None and max_cost_increase is None:
            raise ValueError(
                f"no weights reach min_accuracy = {min_accuracy}; the largest accuracy is "
                f"{max(accuracy.max(), tuned.baseline_accuracy):.4f}."
            )
        least = min(cost.min(), tuned.baseline_clean_cost)
        raise ValueError(
            f"no weights keep max_cost_increase = {max_cost_increase} (and min_accuracy = "
            f"{min_accuracy}); the clean cost is {tuned.baseline_clean_cost:.6g} with equal "
            f"weights, and {least:.6g} at least."
        )
    if plain_is_allowed and value[best] <= sign * tuned.baseline_metric:
        return None
    return best
