"""Weights of the probabilities of any scikit-learn classifier, without smoothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedShuffleSplit
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from smoothcs._validation import Floats, check_integer
from smoothcs.cost import CostMatrix, as_cost_matrix
from smoothcs.decision import WeightedScores
from smoothcs.tuning._decision import TunedDecision, tune_decision
from smoothcs.tuning._held_out import Tuner


class Stability(NamedTuple):
    """What weights tuned on one half of the examples do on the other half, split by split.

    Attributes
    ----------
    weights : ndarray (n_repeats, m)
        The weights found, divided by their geometric mean.
    cost, baseline_cost : ndarray (n_repeats,)
        Mean cost on the other half, with these weights and with equal ones.
    accuracy, baseline_accuracy : ndarray (n_repeats,)
        Accuracy on the other half.
    """

    weights: Floats
    cost: Floats
    baseline_cost: Floats
    accuracy: Floats
    baseline_accuracy: Floats

    def interval(self, level: float = 0.9) -> dict[str, Floats]:
        """Return the quantiles between which a share ``level`` of the splits lies.

        Returns
        -------
        intervals : dict of str to ndarray
            "weights" (2, m), lower and upper ends; "cost", "accuracy", "cost_saved" and
            "accuracy_lost" (2,), the last two against equal weights on the same half.
        """
        values = {
            "weights": self.weights,
            "cost": self.cost,
            "accuracy": self.accuracy,
            "cost_saved": self.baseline_cost - self.cost,
            "accuracy_lost": self.baseline_accuracy - self.accuracy,
        }
        ends = [(1 - level) / 2, (1 + level) / 2]
        return {name: np.quantile(value, ends, axis=0) for name, value in values.items()}


class TunedWeightsClassifier(Tuner):
    """Any scikit-learn classifier, with weights of its class probabilities tuned to costs.

    ``predict`` returns ``argmax_k w_k p_k``. The weights of least cost under a limit on accuracy
    are found on data that the classifier was not trained on: for several classes what
    :class:`~sklearn.model_selection.TunedThresholdClassifierCV` does for two. Nothing is smoothed,
    and nothing is certified; see :class:`TunedDecisionClassifier` for that.

    Parameters
    ----------
    estimator : classifier with ``predict_proba``
    cost_matrix : array (m, m), DataFrame, dict, CostMatrix or None, default=None
        Entry [y, k] is the cost of calling a ``y`` a ``k``. If None, all mistakes cost 1. Costs
        given to ``fit`` come first.
    max_accuracy_loss : float, default=None
        Largest loss of accuracy against equal weights, out-of-sample. If None, there is no limit.
    min_accuracy : float, default=None
        Lowest accuracy; if given, ``max_accuracy_loss`` is ignored.
    validation : float, int, splitter, iterable or "prefit", default=5
        On what to tune; as for :class:`TunedDecisionClassifier`.
    n_repeats : int, default=20
        Random halves of this data by which ``stability_`` is judged; 0: none.
    max_ratio : float, default=64
        Weights stay within this factor of each other.
    refit : bool, default=True
        Whether to train on everything afterwards.
    random_state : int, RandomState or None, default=None
        Seeds the splits.

    Attributes
    ----------
    estimator_ : classifier
        The fitted classifier.
    tuned_ : TunedDecision
        The weights and the whole frontier of cost against accuracy; see :meth:`pick`.
    label_weights_ : dict
        Weight of each class, by label.
    best_score_ : float
        The mean cost at the chosen weights, out-of-sample.
    stability_ : Stability or None
        Weights, costs and accuracies over random halves of the data;
        ``stability_.interval(0.9)`` sums them up. It is of the limits given to the class.
    classes_ : ndarray (m,)
        The labels seen in ``fit``.
    cost_matrix_ : CostMatrix
        ``cost_matrix`` aligned to ``classes_``.
    n_features_in_ : int
        Number of columns, if the classifier tells it.
    feature_names_in_ : ndarray of str
        Column names, if the classifier tells them.

    See Also
    --------
    TunedDecisionClassifier : the same for a smoothed classifier.

    Notes
    -----
    The spread over halves of n examples is about that of weights found on n of them. It is the
    spread of the tuning alone: the classifiers that gave the probabilities are the same in each.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from smoothcs import TunedWeightsClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = TunedWeightsClassifier(
    ...     LogisticRegression(), cost_matrix=[[0, 1, 1], [1, 0, 1], [1, 10, 0]], random_state=0
    ... ).fit(X[:, :2], y)
    >>> clf.label_weights_[2] > clf.label_weights_[1]
    True
    >>> low, high = clf.stability_.interval(0.9)["cost_saved"]
    """

    def __init__(
        self,
        estimator: Any,
        *,
        cost_matrix: Any = None,
        max_accuracy_loss: float | None = None,
        min_accuracy: float | None = None,
        validation: Any = 5,
        n_repeats: int = 20,
        max_ratio: float = 64.0,
        refit: bool = True,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.cost_matrix = cost_matrix
        self.max_accuracy_loss = max_accuracy_loss
        self.min_accuracy = min_accuracy
        self.validation = validation
        self.n_repeats = n_repeats
        self.max_ratio = max_ratio
        self.refit = refit
        self.random_state = random_state

    max_cost_increase = None  # the cost is the objective

    def predict(self, X: Any) -> np.ndarray:
        """Return the class of the largest weighted probability, (n,)."""
        check_is_fitted(self)
        scores = WeightedScores(self.tuned_.weights).adjusted(self.predict_proba(X))
        labels: np.ndarray = self.classes_[scores.argmax(axis=1)]
        return labels

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probabilities of the classifier, without the weights, (n, m)."""
        check_is_fitted(self)
        return np.asarray(self.estimator_.predict_proba(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None, costs: Any = None) -> float:
        """Return minus the mean cost of the predictions.

        Parameters
        ----------
        X : array-like (n, d)
        y : array-like (n,)
        sample_weight : array-like (n,), default=None
        costs : array-like (n, m, m), default=None
            As in ``fit``. If None, the cost matrix applies.

        Returns
        -------
        score : float
        """
        label = self.cost_matrix_.encode(self.predict(X))
        truth = self.cost_matrix_.encode(np.asarray(y))
        rows = np.arange(len(label))
        paid = (
            self.cost_matrix_.matrix[truth, label]
            if costs is None
            else np.asarray(costs, dtype=np.float64)[rows, truth, label]
        )
        return -float(np.average(paid, weights=sample_weight))

    def _check_parameters(self) -> None:
        if not hasattr(self.estimator, "predict_proba"):
            raise TypeError(
                "estimator must be a classifier with predict_proba; got "
                f"{type(self.estimator).__name__}."
            )
        check_integer("n_repeats", self.n_repeats, low=0)

    def _fitted(self, X: Any, y: np.ndarray, with_rows: dict[str, Any]) -> Any:
        return super()._fitted(X, y, {"sample_weight": with_rows["sample_weight"]})

    def _answers(self, fitted: Any, X: Any) -> np.ndarray:
        return np.asarray(fitted.predict_proba(X))

    def _tune(self, fitted: Any, answers: np.ndarray, y: np.ndarray, **rows: Any) -> TunedDecision:
        cost = as_cost_matrix(self.cost_matrix, classes=fitted.classes_)
        self.cost_matrix_ = cost
        tuned = self._search(answers, y, cost, rows, cv=5)
        self.stability_ = self._stability(answers, y, cost, rows) if self.n_repeats else None
        return tuned

    def _search(
        self, p: np.ndarray, y: np.ndarray, cost: CostMatrix, rows: dict[str, Any], cv: int
    ) -> TunedDecision:
        return tune_decision(
            p[:, None],
            y,
            cost,
            objective="cost",
            min_accuracy=self.min_accuracy,
            max_accuracy_loss=self.max_accuracy_loss,
            cv=cv,
            max_ratio=self.max_ratio,
            **rows,
        )

    def _halves(self, y: np.ndarray, groups: np.ndarray | None) -> Iterator[Any]:
        """Return random halves, stratified by class, that share no group."""
        random_state = check_random_state(self.random_state)
        if groups is None:
            halves = StratifiedShuffleSplit(
                self.n_repeats, test_size=0.5, random_state=random_state
            )
            yield from halves.split(y, y)
            return
        for _ in range(self.n_repeats):
            two = StratifiedGroupKFold(2, shuffle=True, random_state=random_state)
            yield next(iter(two.split(y, y, groups)))

    def _stability(
        self, p: np.ndarray, y: np.ndarray, cost: CostMatrix, rows: dict[str, Any]
    ) -> Stability:
        """Tune on random halves, and judge on the others."""
        truth, n = cost.encode(y), len(y)
        own = rows["costs"]
        row = cost.matrix[truth] if own is None else own[np.arange(n), truth]
        weight = np.ones(n) if rows["sample_weight"] is None else rows["sample_weight"]
        found: list[tuple[Any, ...]] = []
        for half, other in self._halves(y, rows["groups"]):
            part = {name: None if v is None else v[half] for name, v in rows.items()}
            w = self._search(p[half], y[half], cost, part, cv=0).weights
            numbers: list[Any] = [w / np.exp(np.log(w).mean())]
            for weights in (w, np.ones_like(w)):
                label = (p[other] * weights).argmax(axis=1)
                numbers.append(np.average(row[other, label], weights=weight[other]))
                numbers.append(np.average(label == truth[other], weights=weight[other]))
            found.append(tuple(numbers))
        w_all, paid, correct, paid_equal, correct_equal = map(np.array, zip(*found, strict=True))
        return Stability(w_all, paid, paid_equal, correct, correct_equal)
