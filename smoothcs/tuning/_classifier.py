"""The estimator that tunes a decision rule: fit, hold out, vote, weigh, fit again."""

from __future__ import annotations

import copy
import hashlib
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit, check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, check_random_state, get_tags, indexable
from sklearn.utils.validation import check_is_fitted
from torch.utils.data import Subset

from smoothcs._classifier import CostSensitiveSmoothedClassifier
from smoothcs._estimator._inputs import check_inputs, check_labels, is_dataset
from smoothcs._estimator._state import unchanged_on_error
from smoothcs._estimator._unwrap import certify, certify_at, final_step
from smoothcs._validation import check_choice, check_integer, check_positive, check_real
from smoothcs.certification import Certificates, CertifiedAt
from smoothcs.decision import WeightedVotes
from smoothcs.tuning._decision import OBJECTIVES, TunedDecision, _check_floor, tune


class TunedDecisionClassifier(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Smoothed classifier with weights of the vote tuned on inputs that it was not trained on.

    ``fit`` trains a copy of the estimator on a part of the data, lets it vote on the rest, finds
    weights with :func:`smoothcs.tuning.tune_decision`, and trains another copy on everything, to
    which it gives these weights as ``decision``. Predictions, certificates and scores are then
    those of the weighted vote, with the same failure probability ``alpha``: weights are no part of
    a certificate, they only must not be chosen on the votes that are certified.

    Parameters
    ----------
    estimator : CostSensitiveSmoothedClassifier, or a Pipeline that ends in one
        Its costs, ``sigma``, ``alpha`` and ``n_estimation`` are those for which weights are found;
        its ``decision`` must be None: it is what is tuned.
    eps : float, default=None
        Attack radius for which to tune, in the units of what reaches the smoothed classifier, and
        at which ``score`` then speaks; None: that of the estimator.
    objective : {"rob_cs", "rob_cost"}, default="rob_cs"
        "rob_cs" is maximised, "rob_cost" minimised.
    max_accuracy_loss : float, default=0.01
        Largest loss of accuracy against the plurality vote, as seen out-of-sample.
    min_accuracy : float, default=None
        Lowest accuracy; if given, ``max_accuracy_loss`` is ignored.
    validation : float, int, splitter, iterable or "prefit", default=0.2
        On what to tune. A float: a share of the data, stratified by class. An int or a splitter of
        scikit-learn: every fold, by a copy trained on the others. "prefit": all data given to
        ``fit``, by the estimator as it is, which must be fitted, on other data.
    n_votes : int, default=1000
        Votes for each of these inputs.
    refit : bool, default=True
        Whether to train on everything afterwards. False keeps the copy that was trained on the
        other part.
    random_state : int, RandomState or None, default=None
        Seeds the split. Training and voting are seeded by the estimator's own.

    Attributes
    ----------
    estimator_ : estimator
        The fitted estimator; the ``decision`` of its last step is ``label_weights_``.
    tuned_ : TunedDecision
        The weights and the whole frontier; see :meth:`pick`.
    label_weights_ : dict
        Weight of each class, by label.
    best_score_ : float
        The objective at the chosen weights, out-of-sample.
    classes_ : ndarray (m,)
        The labels seen in ``fit``.
    n_features_in_ : int
        Number of columns, when ``X`` is an array.
    feature_names_in_ : ndarray of str
        Column names, when ``X`` is a frame.

    See Also
    --------
    smoothcs.tuning.tune_decision : the search for weights.
    smoothcs.plotting.FrontierDisplay : what weights reach, against their price.

    Notes
    -----
    Tuning votes come from noise of their own: no input, not even one of the validation part, is
    certified with noise that its weights were chosen on. The shares of the tuning votes are judged
    as ``certify`` would bound them (closed form) if they were those of ``n_estimation`` votes.

    As in scikit-learn's TunedThresholdClassifierCV, refitting gives the weights to a model other
    than the one that they were found on; "prefit" and ``refit=False`` do not.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from smoothcs import CostSensitiveSmoothedClassifier, TunedDecisionClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = CostSensitiveSmoothedClassifier(
    ...     cost_matrix={(2, 1): 10.0}, objective="gaussian", max_epochs=40, lr=0.01, random_state=0
    ... )
    >>> tuned = TunedDecisionClassifier(clf, max_accuracy_loss=0.05, random_state=0).fit(X, y)
    >>> bool(tuned.tuned_.metric_cv >= tuned.tuned_.baseline_metric)
    True
    """

    def __init__(
        self,
        estimator: Any,
        *,
        eps: float | None = None,
        objective: str = "rob_cs",
        max_accuracy_loss: float | None = 0.01,
        min_accuracy: float | None = None,
        validation: Any = 0.2,
        n_votes: int = 1000,
        refit: bool = True,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.eps = eps
        self.objective = objective
        self.max_accuracy_loss = max_accuracy_loss
        self.min_accuracy = min_accuracy
        self.validation = validation
        self.n_votes = n_votes
        self.refit = refit
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Any:
        """Train, tune the weights of the vote, and train on everything.

        Parameters
        ----------
        X : array-like (n, d), array or tensor (n, ...), or Dataset
            Inputs. A torch Dataset yields ``(x, y)``.
        y : array-like (n,), optional for a Dataset
            Labels.

        Returns
        -------
        self : TunedDecisionClassifier

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data is refused, no validation example is of a sensitive class, or
            no weights reach ``min_accuracy``; the estimator is then as it was before.
        """
        with unchanged_on_error(self):
            self._check_parameters()
            y = check_labels(X, y, self)
            prefit = isinstance(self.validation, str)
            if prefit:
                check_is_fitted(self.estimator)
                fitted = copy.deepcopy(self.estimator)
                clf, votes = self._vote(fitted, X)
                truth = y
            else:
                fitted, clf, votes, truth = self._vote_on_held_out(X, y)
            tuned = self._tune(clf, votes, truth)
            if self.refit and not prefit:
                fitted = self._fitted(X, y)
            final = _last(fitted)
            if self.eps is not None:
                final.set_params(eps=self.eps)
            self.estimator_, self.classes_ = fitted, final.classes_
            self._use(tuned)
            for name in ("n_features_in_", "feature_names_in_"):
                if hasattr(fitted, name):
                    setattr(self, name, getattr(fitted, name))
                elif hasattr(self, name):
                    delattr(self, name)
        return self

    def pick(
        self, *, min_accuracy: float | None = None, max_accuracy_loss: float | None = None
    ) -> Any:
        """Use another point of the frontier from now on; nothing is trained or voted again.

        Parameters
        ----------
        min_accuracy, max_accuracy_loss : float, default=None
            As the parameters of the class; both None: the best objective at any accuracy.

        Returns
        -------
        self : TunedDecisionClassifier
        """
        check_is_fitted(self)
        self._use(self.tuned_.pick(min_accuracy=min_accuracy, max_accuracy_loss=max_accuracy_loss))
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predict the class that wins the weighted vote, or abstain.

        See :meth:`CostSensitiveSmoothedClassifier.predict`.
        """
        clf, X = self._reached(X)
        return clf.predict(X)

    def abstains(self, X: Any) -> np.ndarray:
        """Tell where the weighted vote is too close to call, bool (n,)."""
        clf, X = self._reached(X)
        return clf.abstains(X)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return each class's share of the votes, without the weights, (n, m)."""
        clf, X = self._reached(X)
        return clf.predict_proba(X)

    def certify(self, X: Any, y: Any = None, **params: Any) -> Certificates:
        """Certify each input; see :meth:`CostSensitiveSmoothedClassifier.certify`."""
        return certify(self, X, y, **params)

    def certify_at(self, X: Any, y: Any = None, eps: Any = None, **params: Any) -> CertifiedAt:
        """Decide at eps; see :meth:`CostSensitiveSmoothedClassifier.certify_at`."""
        return certify_at(self, X, y, eps, **params)

    def certify_radius(self, X: Any, y: Any = None, kind: str = "group") -> np.ndarray:
        """Return radii; see :meth:`CostSensitiveSmoothedClassifier.certify_radius`."""
        clf, X = self._reached(X)
        return clf.certify_radius(X, y, kind)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None, **params: Any) -> float:
        """Return one certified metric; see :meth:`CostSensitiveSmoothedClassifier.score`."""
        clf, X = self._reached(X)
        return clf.score(X, y, sample_weight, **params)

    def certified_report(self, X: Any, y: Any = None, **params: Any) -> dict[str, Any]:
        """Return every metric; see :meth:`CostSensitiveSmoothedClassifier.certified_report`."""
        clf, X = self._reached(X)
        return clf.certified_report(X, y, **params)

    def _reached(self, X: Any) -> tuple[Any, Any]:
        """Return the smoothed classifier, and X as it reaches it."""
        check_is_fitted(self)
        return final_step(self.estimator_, X)

    def _check_parameters(self) -> None:
        final = _last(self.estimator)
        if not isinstance(final, CostSensitiveSmoothedClassifier):
            raise TypeError(
                "estimator must be a CostSensitiveSmoothedClassifier or a Pipeline that ends in "
                f"one; got {type(final).__name__}."
            )
        if final.decision is not None:
            raise ValueError(
                "decision of the estimator must be None: it is what is tuned; "
                f"got {final.decision!r}."
            )
        # What is tuned is certified in the end: refuse before training what cannot be.
        unequal = WeightedVotes([1.0, 2.0]).align(2)
        if final.bound not in unequal.bounds:
            unequal.check_can_certify(final.n_estimation, final.alpha, final.bound)
        WeightedVotes.equal(2).check_can_certify(
            final.n_estimation, final.alpha, final.bound, "n_estimation"
        )
        if self.eps is not None:
            check_positive("eps", self.eps)
        check_choice("objective", self.objective, OBJECTIVES)
        _check_floor(self.min_accuracy, self.max_accuracy_loss)
        check_integer("n_votes", self.n_votes)
        check_choice("refit", self.refit, (True, False))
        if isinstance(self.validation, str):
            check_choice("validation", self.validation, ("prefit",))

    def _vote_on_held_out(self, X: Any, y: np.ndarray) -> tuple[Any, Any, np.ndarray, np.ndarray]:
        """Return the last copy that was trained, and the votes on what none had seen."""
        splits = list(self._splitter(y).split(np.empty((len(y), 1)), y))
        if not splits:
            raise ValueError("validation holds no split: there is nothing to tune on.")
        if not self.refit and len(splits) > 1:
            raise ValueError(
                f"refit=False keeps the one copy that was trained, and validation="
                f"{self.validation!r} trains {len(splits)}: use a share of the data, or refit."
            )
        all_votes = []
        for train, held_out in splits:
            missing = np.setdiff1d(y, y[train])
            if len(missing):
                raise ValueError(
                    f"a split of validation leaves no example of {missing.tolist()[0]!r} to train "
                    "on."
                )
            fitted = self._fitted(_part(X, train), y[train])
            clf, votes = self._vote(fitted, _part(X, held_out))
            all_votes.append(votes)
        truth = y[np.concatenate([held_out for _, held_out in splits])]
        return fitted, clf, np.concatenate(all_votes), truth

    def _splitter(self, y: np.ndarray) -> Any:
        how, random_state = self.validation, check_random_state(self.random_state)
        if isinstance(how, Integral) and not isinstance(how, bool):
            folds = check_integer("validation", how, low=2)
            return StratifiedKFold(folds, shuffle=True, random_state=random_state)
        if isinstance(how, Real):
            share = check_real("validation", how, low=0.0, high=1.0, low_open=True, high_open=True)
            return StratifiedShuffleSplit(1, test_size=share, random_state=random_state)
        return check_cv(how, y, classifier=True)

    def _fitted(self, X: Any, y: np.ndarray) -> Any:
        # A Dataset carries its labels with it.
        return clone(self.estimator).fit(X, None if is_dataset(X) else y)

    def _vote(self, fitted: Any, X: Any) -> tuple[CostSensitiveSmoothedClassifier, np.ndarray]:
        clf, X = final_step(fitted, X)
        # A key of its own: certificates must not rest on noise that the weights have seen.
        key = hashlib.blake2b(clf.vote_key_, digest_size=len(clf.vote_key_), person=b"tuning")
        draw = clf._draw(check_inputs(clf, X, reset=False))
        return clf, draw(self.n_votes, purpose="estimation", random_state=key.digest())

    def _tune(
        self, clf: CostSensitiveSmoothedClassifier, votes: np.ndarray, y: np.ndarray
    ) -> TunedDecision:
        return tune(
            votes,
            y,
            clf.cost_matrix_,
            clf._eps(self.eps),
            objective=self.objective,
            min_accuracy=self.min_accuracy,
            max_accuracy_loss=self.max_accuracy_loss,
            sigma=clf.sigma,
            alpha=clf.alpha,
            as_if=clf.n_estimation,
        )

    def _use(self, tuned: TunedDecision) -> None:
        self.estimator_ = _with_decision(self.estimator_, tuned.label_weights)
        self.tuned_, self.label_weights_ = tuned, tuned.label_weights
        self.best_score_ = tuned.metric_cv

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "estimator_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.estimator).input_tags
        return tags


def _last(estimator: Any) -> Any:
    """Return the last step of a Pipeline."""
    while isinstance(estimator, Pipeline):
        estimator = estimator[-1]
    return estimator


def _with_decision(estimator: Any, weights: dict[Any, float]) -> Any:
    """Return the fitted estimator with other weights; a copy of it may still use the old ones."""
    estimator = copy.copy(estimator)
    if isinstance(estimator, Pipeline):
        name, last = estimator.steps[-1]
        estimator.steps = [*estimator.steps[:-1], (name, _with_decision(last, weights))]
        return estimator
    return estimator.set_params(decision=WeightedVotes(dict(weights)))


def _part(X: Any, rows: np.ndarray) -> Any:
    """Return some of the inputs."""
    if is_dataset(X):
        return Subset(X, rows.tolist())
    if hasattr(X, "detach"):
        X = X.detach().cpu().numpy()
    return _safe_indexing(indexable(X)[0], rows)
