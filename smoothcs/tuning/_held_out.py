"""What estimators that tune weights share: hold out, tune, fit again, use."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.model_selection import (
    StratifiedGroupKFold,
    StratifiedKFold,
    StratifiedShuffleSplit,
    check_cv,
)
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, check_random_state, get_tags, indexable
from sklearn.utils.validation import check_is_fitted
from torch.utils.data import Subset

from smoothcs._costs import check_costs
from smoothcs._estimator._inputs import check_labels, check_weights, is_dataset
from smoothcs._estimator._state import unchanged_on_error
from smoothcs._validation import check_choice, check_integer, check_real
from smoothcs.certification._intervals import group_codes
from smoothcs.tuning._decision import TunedDecision, check_floor

_log = logging.getLogger(__name__)


class Tuner(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Fits an estimator, and weights of its answers on examples that it was not fitted on.

    Subclasses check their parameters in ``_check_parameters``, read a fitted estimator's answers in
    ``_answers``, and find weights in ``_tune``.
    """

    estimator: Any
    min_accuracy: float | None
    max_accuracy_loss: float | None
    max_cost_increase: float | None
    validation: Any
    refit: bool
    random_state: Any

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        costs: Any = None,
        groups: Any = None,
    ) -> Any:
        """Train, tune the weights, and train on everything.

        Parameters
        ----------
        X : array-like (n, d), array or tensor (n, ...), or Dataset
            Inputs. A torch Dataset yields ``(x, y)``.
        y : array-like (n,), optional for a Dataset
            Labels.
        sample_weight : array-like (n,), default=None
            Weights of the examples, in training and in what is tuned.
        costs : array-like (n, m, m), default=None
            ``costs[i, y, k]`` of calling example i, of class y, a k, in the order of ``classes_``:
            what "bill", "cost", "rob_cost" and ``max_cost_increase`` are in, in place of the cost
            matrix. A smoothed classifier is given them as well when it is trained.
        groups : array-like (n,), default=None
            To whom or what each input belongs (a patient, a sign seen in several frames). No group
            is then both trained and tuned on, and a splitter is given them.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data is refused, no validation example is of a sensitive class, or
            no weights keep the limits; the estimator is then as it was before.

        Notes
        -----
        In a Pipeline, ``sample_weight`` and ``costs`` go to its last step, unless scikit-learn's
        metadata routing is enabled: they then go where they are requested.
        """
        with unchanged_on_error(self):
            self._check()
            y = check_labels(X, y, self)
            costs = check_costs(costs, len(y), len(np.unique(y)))
            if groups is not None:
                groups = group_codes(groups, len(y))
            with_rows = {
                "sample_weight": check_weights(sample_weight, X),
                "costs": costs,
                "groups": groups,
            }
            weights = with_rows["sample_weight"]
            if weights is not None and not weights.all():
                rows = np.flatnonzero(weights)
                X, y, with_rows = _part(X, rows), y[rows], _rows_of(with_rows, rows)
            prefit = isinstance(self.validation, str)
            if prefit:
                check_is_fitted(self.estimator)
                fitted, rows = copy.deepcopy(self.estimator), np.arange(len(y))
                answers = self._answers(fitted, X)
            else:
                fitted, answers, rows = self._held_out(X, y, with_rows)
            tuned = self._tune(fitted, answers, y[rows], **_rows_of(with_rows, rows))
            if self.refit and not prefit:
                fitted = self._fitted(X, y, with_rows)
            self._keep(fitted)
            self._use(tuned)
            _log.info("tuned on %d examples: %r", len(rows), tuned)
            for name in ("n_features_in_", "feature_names_in_"):
                if hasattr(fitted, name):
                    setattr(self, name, getattr(fitted, name))
                elif hasattr(self, name):
                    delattr(self, name)
        return self

    def pick(
        self,
        *,
        min_accuracy: float | None = None,
        max_accuracy_loss: float | None = None,
        max_cost_increase: float | None = None,
    ) -> Any:
        """Use another point of the frontier from now on; nothing is trained or drawn again.

        Parameters
        ----------
        min_accuracy, max_accuracy_loss, max_cost_increase : float, default=None
            As the parameters of the class; all None: the best objective at any price.

        Returns
        -------
        self : object
        """
        check_is_fitted(self)
        self._use(
            self.tuned_.pick(
                min_accuracy=min_accuracy,
                max_accuracy_loss=max_accuracy_loss,
                max_cost_increase=max_cost_increase,
            )
        )
        return self

    def _check(self) -> None:
        self._check_parameters()
        check_floor(self.min_accuracy, self.max_accuracy_loss, self.max_cost_increase)
        check_choice("refit", self.refit, (True, False))
        if isinstance(self.validation, str):
            check_choice("validation", self.validation, ("prefit",))

    def _check_parameters(self) -> None:
        raise NotImplementedError

    def _answers(self, fitted: Any, X: Any) -> np.ndarray:
        """Return what a fitted estimator answers to inputs: scores or votes, one input a row."""
        raise NotImplementedError

    def _tune(self, fitted: Any, answers: np.ndarray, y: np.ndarray, **rows: Any) -> TunedDecision:
        raise NotImplementedError

    def _keep(self, fitted: Any) -> None:
        self.estimator_, self.classes_ = fitted, last_step(fitted).classes_

    def _use(self, tuned: TunedDecision) -> None:
        self.tuned_, self.label_weights_ = tuned, tuned.label_weights
        self.best_score_ = tuned.metric_cv

    def _held_out(
        self, X: Any, y: np.ndarray, with_rows: dict[str, Any]
    ) -> tuple[Any, np.ndarray, np.ndarray]:
        """Return the last copy that was trained, answers to what none had seen, and its rows."""
        splits = list(self._splits(y, with_rows["groups"]))
        if not splits:
            raise ValueError("validation holds no split: there is nothing to tune on.")
        if not self.refit and len(splits) > 1:
            raise ValueError(
                f"refit=False keeps the one copy that was trained, and validation="
                f"{self.validation!r} trains {len(splits)}: use a share of the data, or refit."
            )
        answers = []
        for train, held_out in splits:
            missing = np.setdiff1d(y, y[train])
            if len(missing):
                raise ValueError(
                    f"a split of validation leaves no example of {missing.tolist()[0]!r} to train "
                    "on."
                )
            fitted = self._fitted(_part(X, train), y[train], _rows_of(with_rows, train))
            answers.append(self._answers(fitted, _part(X, held_out)))
        rows = np.concatenate([held_out for _, held_out in splits])
        return fitted, answers[0] if len(answers) == 1 else np.concatenate(answers), rows

    def _splits(self, y: np.ndarray, groups: np.ndarray | None) -> Iterable[Any]:
        """Return pairs of rows to train on and rows to tune on."""
        how, random_state = self.validation, check_random_state(self.random_state)
        X = np.empty((len(y), 1))
        if isinstance(how, Integral) and not isinstance(how, bool):
            folds = check_integer("validation", how, low=2)
            kind = StratifiedKFold if groups is None else StratifiedGroupKFold
            return kind(folds, shuffle=True, random_state=random_state).split(X, y, groups)
        if isinstance(how, Real):
            share = check_real("validation", how, low=0.0, high=1.0, low_open=True, high_open=True)
            if groups is None:
                split = StratifiedShuffleSplit(1, test_size=share, random_state=random_state)
                return split.split(X, y)
            return [_share_of_groups(y, groups, share, random_state)]
        return check_cv(how, y, classifier=True).split(X, y, groups)

    def _fitted(self, X: Any, y: np.ndarray, with_rows: dict[str, Any]) -> Any:
        given = {k: v for k, v in with_rows.items() if k != "groups" and v is not None}
        if isinstance(self.estimator, Pipeline) and not get_config()["enable_metadata_routing"]:
            given = {f"{self.estimator.steps[-1][0]}__{name}": v for name, v in given.items()}
        # A Dataset carries its labels with it.
        return clone(self.estimator).fit(X, None if is_dataset(X) else y, **given)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "estimator_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.input_tags = inner.input_tags
        return tags


def _share_of_groups(
    y: np.ndarray, groups: np.ndarray, share: float, random_state: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Split off about a share of the inputs, whole groups of them, with the classes in proportion.

    They are as many small folds as come nearest to the share.
    """
    folds = min(20, len(np.unique(groups)), int(np.unique(y, return_counts=True)[1].min()))
    if folds < 2:
        raise ValueError(
            f"validation={share:g} by groups needs at least 2 examples of every class; "
            "give more, or a splitter."
        )
    parts = StratifiedGroupKFold(folds, shuffle=True, random_state=random_state).split(
        np.empty((len(y), 1)), y, groups
    )
    n_parts = min(max(round(share * folds), 1), folds - 1)
    held_out = np.sort(np.concatenate([test for _, test in parts][:n_parts]))
    return np.setdiff1d(np.arange(len(y)), held_out), held_out


def last_step(estimator: Any) -> Any:
    """Return the last step of a Pipeline."""
    while isinstance(estimator, Pipeline):
        estimator = estimator[-1]
    return estimator


def _rows_of(with_rows: dict[str, Any], rows: np.ndarray) -> dict[str, Any]:
    return {name: None if value is None else value[rows] for name, value in with_rows.items()}


def _part(X: Any, rows: np.ndarray) -> Any:
    """Return some of the inputs."""
    if is_dataset(X):
        return Subset(X, rows.tolist())
    if hasattr(X, "detach"):
        X = X.detach().cpu().numpy()
    return _safe_indexing(indexable(X)[0], rows)
