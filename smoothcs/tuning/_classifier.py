"""The estimator that tunes a decision: fit, hold out, draw scores or votes, weigh, fit again."""

from __future__ import annotations

import copy
import hashlib
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from smoothcs._classifier import CostSensitiveSmoothedClassifier
from smoothcs._estimator._inputs import check_inputs
from smoothcs._estimator._unwrap import certify, certify_at, final_step
from smoothcs._validation import check_choice, check_integer, check_positive
from smoothcs.certification import Certificates, CertifiedAt
from smoothcs.decision import WeightedVotes
from smoothcs.reporting import ReportMixin
from smoothcs.tuning._decision import OBJECTIVES, TunedDecision, tune_decision
from smoothcs.tuning._held_out import Tuner, last_step
from smoothcs.tuning._scores import draw_scores, has_scores


class TunedDecisionClassifier(ReportMixin, Tuner):
    """Smoothed classifier with weights tuned on inputs that it was not trained on.

    ``fit`` trains a copy of the estimator on a part of the data, draws the scores of noisy copies
    of the rest, finds weights of these scores with :func:`smoothcs.tuning.tune_decision`, and
    trains another copy on everything, to which it gives the weights as ``decision``. Predictions,
    certificates and scores are then those of the weighted base classifier, with the same failure
    probability ``alpha``: weights are no part of a certificate, they only must not be chosen on the
    noise that is certified. Where a base classifier answers labels only, its votes are weighed.

    Parameters
    ----------
    estimator : CostSensitiveSmoothedClassifier, or a Pipeline that ends in one
        Its costs, ``sigma``, ``alpha`` and ``n_estimation`` are those for which weights are found;
        its ``decision`` must be None: it is what is tuned.
    eps : float, default=None
        Attack radius for which to tune, in the units of what reaches the smoothed classifier, and
        at which ``score`` is then taken. If None, that of the estimator.
    objective : {"rob_cs", "rob_cost", "bill"}, default="rob_cs"
        "rob_cs" is maximised; "rob_cost" and "bill", the mean over all inputs of the largest cost
        that is not ruled out at ``eps``, are minimised. Costs are those given to ``fit``, or else
        those of the cost matrix.
    max_accuracy_loss : float, default=0.01
        Largest loss of accuracy against equal weights, as seen out-of-sample; ignored if another
        limit is given.
    min_accuracy : float, default=None
        Lowest accuracy.
    max_cost_increase : float, default=None
        Largest increase of the clean cost (the mean cost of the answers without an attack) against
        equal weights, as a share: 0.05 allows 5 % more, -0.1 demands 10 % less.
    weigh : {"auto", "scores", "votes"}, default="auto"
        What weights act on. "auto": scores, if the base classifier gives a probability per class;
        votes, if it answers labels only.
    validation : float, int, splitter, iterable or "prefit", default=0.2
        On what to tune. A float: a share of the data, stratified by class. An int or a splitter of
        scikit-learn: every fold, by a copy trained on the others. "prefit": all data given to
        ``fit``, by the estimator as it is, which must be fitted, on other data.
    n_votes : int, default=500
        Noisy copies of each of these inputs.
    refit : bool, default=True
        Whether to train on everything afterwards. False keeps the copy that was trained on the
        other part.
    random_state : int, RandomState or None, default=None
        Seeds the split. Training and noise are seeded by the estimator's own.

    Attributes
    ----------
    estimator_ : estimator
        The fitted estimator; the ``decision`` of its last step is that of ``tuned_``.
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
    smoothcs.TunedWeightsClassifier : the same without smoothing.
    smoothcs.plotting.FrontierDisplay : what weights reach, against their price.

    Notes
    -----
    Tuning noise has a key of its own: no input, not even one of the validation part, is certified
    with noise that its weights were chosen on. The shares of the tuning votes are judged as
    ``certify`` would bound them (closed form) if they were those of ``n_estimation`` votes.

    Scores are kept as float16, and those of copies that weights can change once more: at most
    4 bytes for each of ``n_votes`` scores of each class of each input of the validation part. For
    10,000 inputs, 500 votes and 10 classes that is 200 MB, and under 500 MB with all that the
    search needs.

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
        max_cost_increase: float | None = None,
        weigh: str = "auto",
        validation: Any = 0.2,
        n_votes: int = 500,
        refit: bool = True,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.eps = eps
        self.objective = objective
        self.max_accuracy_loss = max_accuracy_loss
        self.min_accuracy = min_accuracy
        self.max_cost_increase = max_cost_increase
        self.weigh = weigh
        self.validation = validation
        self.n_votes = n_votes
        self.refit = refit
        self.random_state = random_state

    def predict(self, X: Any) -> np.ndarray:
        """Predict the class that wins the vote, or abstain.

        See :meth:`CostSensitiveSmoothedClassifier.predict`.
        """
        clf, X = self._reached(X)
        return clf.predict(X)

    def abstains(self, X: Any) -> np.ndarray:
        """Tell where the vote is too close to call, bool (n,)."""
        clf, X = self._reached(X)
        return clf.abstains(X)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return each class's share of the votes, (n, m); weights of votes are left out."""
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

    def score(
        self, X: Any, y: Any = None, sample_weight: Any = None, costs: Any = None, **params: Any
    ) -> float:
        """Return one certified metric; see :meth:`CostSensitiveSmoothedClassifier.score`."""
        clf, X = self._reached(X)
        return clf.score(X, y, sample_weight, costs=costs, **params)

    def certified_report(self, X: Any, y: Any = None, **params: Any) -> dict[str, Any]:
        """Return every metric; see :meth:`CostSensitiveSmoothedClassifier.certified_report`."""
        clf, X = self._reached(X)
        return clf.certified_report(X, y, **params)

    def _reached(self, X: Any) -> tuple[Any, Any]:
        """Return the smoothed classifier, and X as it reaches it."""
        check_is_fitted(self)
        return final_step(self.estimator_, X)

    def _check_parameters(self) -> None:
        final = last_step(self.estimator)
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
        check_choice("weigh", self.weigh, ("auto", "scores", "votes"))
        if self.weigh == "votes":
            _check_can_weigh_votes(final)
        # What is tuned is certified in the end: refuse before training what cannot be.
        WeightedVotes.equal(2).check_can_certify(
            final.n_estimation, final.alpha, final.bound, "n_estimation"
        )
        if self.eps is not None:
            check_positive("eps", self.eps)
        check_choice("objective", self.objective, tuple(o for o in OBJECTIVES if o != "cost"))
        check_integer("n_votes", self.n_votes)

    def _answers(self, fitted: Any, X: Any) -> np.ndarray:
        clf, X = final_step(fitted, X)
        # A key of its own: certificates must not rest on noise that the weights have seen.
        person = b"tuning"
        key = hashlib.blake2b(clf.vote_key_, digest_size=len(clf.vote_key_), person=person).digest()
        X = check_inputs(clf, X, reset=False)
        if self.weigh == "scores" or (self.weigh == "auto" and has_scores(clf, X)):
            return draw_scores(clf, X, self.n_votes, "estimation", key)
        _check_can_weigh_votes(clf)
        return clf._draw(X)(self.n_votes, purpose="estimation", random_state=key)

    def _tune(self, fitted: Any, answers: np.ndarray, y: np.ndarray, **rows: Any) -> TunedDecision:
        clf = last_step(fitted)
        return tune_decision(
            answers,
            y,
            clf.cost_matrix_,
            clf._eps(self.eps),
            objective=self.objective,
            min_accuracy=self.min_accuracy,
            max_accuracy_loss=self.max_accuracy_loss,
            max_cost_increase=self.max_cost_increase,
            sigma=clf.sigma,
            alpha=clf.alpha,
            as_if=clf.n_estimation,
            **rows,
        )

    def _keep(self, fitted: Any) -> None:
        super()._keep(fitted)
        if self.eps is not None:
            last_step(fitted).set_params(eps=self.eps)

    def _use(self, tuned: TunedDecision) -> None:
        super()._use(tuned)
        self.estimator_ = _with_decision(self.estimator_, tuned.decision)


def _check_can_weigh_votes(clf: CostSensitiveSmoothedClassifier) -> None:
    unequal = WeightedVotes([1.0, 2.0]).align(2)
    if clf.bound not in unequal.bounds:
        unequal.check_can_certify(clf.n_estimation, clf.alpha, clf.bound)


def _with_decision(estimator: Any, decision: dict[Any, float] | WeightedVotes) -> Any:
    """Return the fitted estimator with other weights; a copy of it may still use the old ones."""
    estimator = copy.copy(estimator)
    if isinstance(estimator, Pipeline):
        name, last = estimator.steps[-1]
        estimator.steps = [*estimator.steps[:-1], (name, _with_decision(last, decision))]
        return estimator
    return estimator.set_params(decision=decision)
