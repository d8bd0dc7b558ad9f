"""The estimator: parameters, fit, predict, certify and score.

A newcomer starts here. ``fit`` trains a torch module under Gaussian noise, ``predict`` takes a vote
among noisy copies of each input or abstains, ``certify`` turns votes into radii, and ``score`` and
``certified_report`` average them.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from copy import copy
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from typing_extensions import Self

from smoothcs._estimator._callers import refuse_hard_vote, warn_of_default_scoring
from smoothcs._estimator._certify import (
    certify_at_eps,
    certify_radii,
    certify_to_tolerance,
)
from smoothcs._estimator._export import ExportedModule, load_module
from smoothcs._estimator._fit import (
    check_training_data,
    draw_seed,
)
from smoothcs._estimator._html import UnitsInHTML
from smoothcs._estimator._inputs import (
    PredictedClass,
    check_labels,
    check_scores,
    check_weights,
    resolve_abstain_label,
    with_abstentions,
)
from smoothcs._estimator._meaning import describe_inputs, estimator_arguments
from smoothcs._estimator._models import check_model, fit_on_noisy_copies, is_model, wrap_fitted
from smoothcs._estimator._portfolio import OneDrawPredictions
from smoothcs._estimator._schedule import check_schedule, resolve_epochs
from smoothcs._estimator._state import unchanged_on_error
from smoothcs._net import (
    check_module_output,
    continued_net,
    new_net,
    resolve_optimizer,
)
from smoothcs._torch import resolve_devices, seeded
from smoothcs._validation import (
    check_choice,
    check_integer,
    check_n_jobs,
    check_positive,
    check_probability,
)
from smoothcs.certification import Certificates, CertifiedAt, certify_votes
from smoothcs.certification._informative import warn_if_uninformative
from smoothcs.certification._metrics import SCORES
from smoothcs.cost import CostMatrix, as_cost_matrix
from smoothcs.decision import BOUNDS, WeightedVotes, read_decision
from smoothcs.objectives import resolve_objective
from smoothcs.reporting import ReportMixin
from smoothcs.sequential import KINDS, PredictionRule
from smoothcs.sequential._looks import final_level
from smoothcs.sequential.planning import plan_votes
from smoothcs.votes import PRECISIONS
from smoothcs.votes.noise import make_key

RADII = ("group", "pair", "standard")


class CostSensitiveSmoothedClassifier(UnitsInHTML, ReportMixin, OneDrawPredictions):
    """Classifier whose costly mistakes are provably hard to provoke.

    A base classifier, any torch module, is trained under Gaussian noise. The smoothed classifier
    predicts the class that wins a vote among noisy copies of an input. Because a small l2
    perturbation can move only so much of a Gaussian, the votes bound how far an input must move
    before the smoothed classifier can predict a class of ``Omega_y = {k : cost_matrix[y, k] > 0}``,
    the *sensitive targets* of its class: that distance is the certified radius [1]_.

    Each radius is a lower confidence bound: it is false with probability at most ``alpha``, over
    the noise that was drawn for that input. It applies to l2 perturbations in the units of the
    ``X`` given to this estimator, and to the classifier as it was run (same ``sigma``,
    ``precision``).

    Parameters
    ----------
    module : nn.Module class, factory or instance, default=None
        The base classifier; it returns logits (b, n_classes). A class or factory is called with
        those of ``n_features``, ``n_classes`` and ``input_shape`` that its signature names, an
        instance is copied. If None, a network with batch normalisation that is sized from the data:
        a small convolutional one for images (c, h, w), a residual one from 64 pixels on, an MLP for
        anything else (:func:`smoothcs.modules.default_module`). An unfitted
        scikit-learn classifier is cloned and trained by its own loss on ``n_copies`` noisy copies
        of each row: ``objective`` must then be left at its default, and the parameters of the
        optimiser too, and the epochs are ignored. So are the costs in training; they act where
        ``decision`` says so. Where ``X`` is a frame, the model is given frames, so that it may name
        columns.
    cost_matrix : array (m, m), DataFrame, dict, CostMatrix or None, default=None
        Entry [y, k] is the cost of calling a ``y`` a ``k``; a dict maps (seed, target) labels to
        costs. None: all mistakes cost 1.
    objective : str or Objective, default="margin-cs"
        What training minimises: a name of ``smoothcs.objectives.OBJECTIVES``, or an object,
        whose parameters are then reached as ``objective__...``.
    sigma : float, default=0.25
        Standard deviation of the noise, in the units of ``X``.
    noise_scale : None, array or dict, default=None
        Column j gets noise of standard deviation ``sigma * noise_scale[j]``: a change of units, so
        that radii are those of ``||perturbation / noise_scale||_2``. 0: no noise, for what an
        attacker cannot change (a category, a verified age). A dict holds scales by column name or
        pattern (``{"job_*": 0}``), 1 elsewhere; see :func:`smoothcs.category_scale`.
    n_copies : int, default=10
        If ``module`` is a scikit-learn classifier, noisy copies of each row to train on.
    eps : float or None, default=None
        The radius at which ``score`` is taken, in the units of ``X``; None: ``sigma``.
    alpha : float, default=0.001
        Failure probability of each certificate and of each prediction that is not an abstention.
    n_selection, n_estimation, n_prediction : int, default=100, 10_000, 1_000
        Votes per input that choose the class to certify, that bound its radius, and that predict;
        the last two are upper limits where votes are drawn until a decision is reached.
    bound : {"exact", "closed-form", "paper"}, default="exact"
        How votes become certificates; see :func:`smoothcs.certify_votes`. With
        "exact", ``score`` and ``certified_report`` draw only the votes that they need.
    decision : None, "argmax", dict, array, "min-cost" or WeightedVotes, default=None
        How scores and votes become a label; predictions, certificates and scores all follow it,
        also when it is set after ``fit``. It acts on the scores of each noisy copy, before the
        vote: None and "argmax" take the likeliest class. A dict by label (1 for labels left out)
        or an array holds weights of scores: ``{"malignant": 3}`` counts the probability of
        "malignant" three times. "min-cost" takes the class of least expected cost: by the
        ``costs`` of the example where they are given, else by ``decision_costs``, else by
        ``cost_matrix``, in which every mistake must then cost something. For models that answer
        labels only, ``WeightedVotes({"malignant": 3})`` weighs the votes instead.
        :class:`smoothcs.TunedDecisionClassifier` finds weights.
    decision_costs : see ``cost_matrix``, default=None
        Costs by which "min-cost" decides; ``CostMatrix(...).with_default(1.0)`` fills free
        mistakes. A plain array may have a diagonal that is not 0: what a right answer costs.
    temperature : float, default=1.0
        Where ``decision`` acts on scores: logits, or logarithms of probabilities, are divided by it
        first. :func:`smoothcs.tuning.fit_temperature` finds it on held-out data.
    abstain_label : label, "auto" or None, default="auto"
        What ``predict`` returns where the vote is too close to call. "auto": -1 for numbers,
        "abstain" for strings. None: never abstain.
    optimizer : {"adam", "adamw", "sgd"} or torch optimizer class, default="adam"
        The optimiser; its parameters are ``net_params={"optimizer__momentum": 0.9}``.
    lr : float, default=2e-3
        Learning rate; the largest, if there is a schedule.
    lr_schedule : "one-cycle", skorch callback or None, default="one-cycle"
        "one-cycle": the learning rate rises linearly to ``lr`` over the first fifth of all steps
        and falls to 0 as a cosine. It is left out where ``callbacks`` have an ``LRScheduler``.
    max_epochs : int or "auto", default="auto"
        Length of training. "auto": every example is seen in 48 noisy copies, however many the
        objective draws at a time, but in at least 24 epochs and 1,500 steps; rows of a table in 16
        epochs, and at least 1,000 steps.
    batch_size : int, default=64
        Examples per step. A last batch of one example is left out where there is batch
        normalisation, to which a single example has no variance.
    callbacks : list of skorch callbacks, default=None
        Schedulers, checkpoints, early stopping: skorch's own.
    warm_start : bool, default=False
        Whether a second ``fit`` of this object goes on from the weights of the first, with its
        optimiser, lr and batch_size. A loaded or copied estimator begins anew: it has no optimiser.
    net_params : dict, default=None
        Further parameters of :class:`skorch.NeuralNet`, for instance ``module__hidden``,
        ``optimizer__weight_decay`` or ``train_split``.
    device : {"auto", "cpu", "cuda", "cuda:1", "mps"}, torch.device or list of these, default="auto"
        Where training and voting run; of a list, training uses the first and votes are spread over
        all. The fitted module rests on the CPU.
    precision : {"float32", "bfloat16", "float16"}, default="float32"
        What the module computes in when it votes; noise is always float32.
    compile : bool, default=False
        Whether the module is run through ``torch.compile`` when it votes.
    vote_batch_size : int or "auto", default="auto"
        Noisy inputs per forward pass when voting. It does not change the noise.
    n_jobs : int, default=None
        joblib workers among which inputs are divided when voting. It does not change the votes.
    random_state : int, RandomState or None, default=None
        Seeds training and the noise of votes. An int makes results repeatable, and must then not be
        known to whoever chooses the inputs; None draws a secret key at ``fit``.
    verbose : int, default=0
        Whether training and voting show progress.

    Attributes
    ----------
    classes_ : ndarray (m,)
        The labels seen in ``fit``.
    cost_matrix_ : CostMatrix
        ``cost_matrix`` aligned to ``classes_``.
    objective_ : Objective
        The objective used, unless the base is a scikit-learn classifier.
    module_ : nn.Module or object with the attribute ``estimator``
        The trained base classifier: a module, on the CPU, in eval mode, or a scikit-learn
        classifier as ``module_.estimator``.
    net_ : skorch.NeuralNet
        The net that trained the module. Pickles and copies leave it out.
    history_ : skorch.history.History
        One entry per epoch of that net.
    abstain_label_ : label or None
        What ``predict`` returns for "abstain".
    input_shape_ : tuple of int
        Shape of one input.
    n_features_in_ : int
        Number of columns (channels, for images), when ``X`` is an array.
    feature_names_in_ : ndarray of str
        Column names, when ``X`` is a frame.

    See Also
    --------
    smoothcs.certified_scorer : certified metrics for GridSearchCV.
    smoothcs.certify_votes : the certificates, from votes of any origin.

    Notes
    -----
    In a Pipeline, radii are in the units of what reaches this estimator: after a StandardScaler, in
    standard deviations. :class:`smoothcs.modules.Normalize` puts a scaling inside the module, where
    it leaves the units of the radius alone.

    References
    ----------
    .. [1] Xin, Chen, Backes, Zhang, "Provably Cost-Sensitive Adversarial Defense via Randomized
       Smoothing", ICML 2025.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from smoothcs import CostSensitiveSmoothedClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = CostSensitiveSmoothedClassifier(
    ...     cost_matrix={(2, 1): 10.0}, random_state=0
    ... ).fit(X, y)
    >>> bool(clf.score(X, y) > 0.5)  # share of class 2 that cannot be pushed into class 1
    True
    """

    def __init__(
        self,
        module: Any = None,
        *,
        cost_matrix: Any = None,
        objective: Any = "margin-cs",
        sigma: float = 0.25,
        eps: float | None = None,
        alpha: float = 0.001,
        n_selection: int = 100,
        n_estimation: int = 10_000,
        n_prediction: int = 1_000,
        bound: str = "exact",
        decision: Any = None,
        decision_costs: Any = None,
        temperature: float = 1.0,
        noise_scale: Any = None,
        n_copies: int = 10,
        abstain_label: Any = "auto",
        optimizer: Any = "adam",
        lr: float = 2e-3,
        lr_schedule: Any = "one-cycle",
        max_epochs: Any = "auto",
        batch_size: int = 64,
        callbacks: Any = None,
        warm_start: bool = False,
        net_params: dict[str, Any] | None = None,
        device: Any = "auto",
        precision: str = "float32",
        compile: bool = False,
        vote_batch_size: Any = "auto",
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.module = module
        self.cost_matrix = cost_matrix
        self.objective = objective
        self.sigma = sigma
        self.eps = eps
        self.alpha = alpha
        self.n_selection = n_selection
        self.n_estimation = n_estimation
        self.n_prediction = n_prediction
        self.bound = bound
        self.decision = decision
        self.decision_costs = decision_costs
        self.temperature = temperature
        self.noise_scale = noise_scale
        self.n_copies = n_copies
        self.abstain_label = abstain_label
        self.optimizer = optimizer
        self.lr = lr
        self.lr_schedule = lr_schedule
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.callbacks = callbacks
        self.warm_start = warm_start
        self.net_params = net_params
        self.device = device
        self.precision = precision
        self.compile = compile
        self.vote_batch_size = vote_batch_size
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    # ------------------------------------------------------------------ training

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, costs: Any = None) -> Self:
        """Train the base classifier under Gaussian noise.

        Parameters
        ----------
        X : array-like (n, d), array or tensor (n, ...), or Dataset
            Inputs. A torch Dataset yields ``(x, y)``.
        y : array-like (n,), optional for a Dataset
            Labels: integers, strings or booleans.
        sample_weight : array-like (n,), default=None
            Non-negative weights that multiply every per-example term of the objective.
        costs : array-like (n, m, m), default=None
            ``costs[i, y, k]`` is what calling example i, of class y, a k costs. Objectives that
            know costs use what a mistake costs more than the right answer, at least 0, scaled so
            that the dearest mistakes of the examples cost 1 on average, in place of the cost
            matrix.

        Returns
        -------
        self : CostSensitiveSmoothedClassifier

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data is refused; the estimator is then as it was before.
        """
        with unchanged_on_error(self):
            self._check_parameters()
            optimizer = resolve_optimizer(self.optimizer)
            device = resolve_devices(self.device, training=True)[0]
            objective = resolve_objective(self.objective)
            objective.validate()
            check_integer("n_copies", self.n_copies)
            warm = self.warm_start and hasattr(self, "net_")
            data = check_training_data(self, X, y, sample_weight, costs, reset=not warm)
            abstain_label = resolve_abstain_label(self.abstain_label, data.classes)
            decision = read_decision(
                self.decision,
                data.cost_matrix,
                self.decision_costs,
                costs is not None,
                self.temperature,
            )
            self._check_votes(decision)
            scale = self._scale()
            if is_model(self.module):
                check_model(self, data, decision.inside)
            seed = draw_seed(self.random_state)
            if is_model(self.module):
                self._keep_model(fit_on_noisy_copies(self, data, scale, seed), data)
            else:
                with seeded(seed, device):
                    matrix, n = data.cost_matrix.matrix, len(data.encoded)
                    if warm:
                        net = continued_net(self, data.classes, objective, matrix, seed, n, scale)
                    else:
                        net = new_net(self, objective, matrix, optimizer, device, seed, n, scale)
                    check_module_output(net, data.X, len(data.classes))
                    net.train_on(data.dataset())
                self._keep(net, data)
                self.objective_ = objective
            self.abstain_label_ = abstain_label
            self.vote_key_ = make_key(None if self.random_state is None else seed)
            self._had_costs = costs is not None
        return self

    @classmethod
    def from_module(
        cls, module: Any, *, classes: Any = None, cost_matrix: Any = None, **params: Any
    ) -> CostSensitiveSmoothedClassifier:
        """Wrap a classifier that is fitted already, to certify it without training.

        Parameters
        ----------
        module : nn.Module, fitted scikit-learn classifier, callable, or path
            A callable takes a float32 array (b, ...) and returns logits (b, m) or integer class
            indices (b,); for a decision by scores, probabilities (b, m). Of a scikit-learn
            classifier, ``predict`` is used, or ``predict_proba`` for a decision by scores. A path,
            or what :func:`smoothcs.load_module` gave, is a file of :func:`smoothcs.export_module`,
            which brings its classes, its costs and the parameters that are not given here.
        classes : int or array-like (m,)
            The labels, in the order of the module's outputs; an int m means 0 ... m - 1. May be
            left out for a fitted scikit-learn classifier, and must be for an exported module.
        cost_matrix : see the class
            The costs.
        **params
            Further parameters of the estimator.

        Returns
        -------
        clf : CostSensitiveSmoothedClassifier
            A fitted estimator.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.ensemble import RandomForestClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> forest = RandomForestClassifier(20, random_state=0).fit(X, y)
        >>> clf = CostSensitiveSmoothedClassifier.from_module(
        ...     forest, classes=forest.classes_, sigma=0.2, n_estimation=200, random_state=0
        ... )
        >>> clf.certify_radius(X[:3]).shape
        (3,)
        """
        exported = None
        if isinstance(module, str | os.PathLike):
            module = load_module(module)
        if isinstance(module, ExportedModule):
            if classes is not None:
                raise TypeError("classes must be left out: an exported module knows its own.")
            exported = module.meaning
            own = estimator_arguments(exported)
            classes, own_costs = own.pop("classes"), own.pop("cost_matrix")
            cost_matrix = own_costs if cost_matrix is None else cost_matrix
            params = {**own, **params}
        elif classes is None:
            classes = getattr(module, "classes_", None)
            if classes is None:
                raise TypeError("classes must be given, unless the module knows its own.")
        clf = cls(module, cost_matrix=cost_matrix, **params)
        clf._check_parameters()
        resolve_devices(clf.device)
        if isinstance(classes, (int, np.integer)):
            classes = np.arange(check_integer("classes", classes, low=2))
        clf.classes_ = np.asarray(classes)
        if clf.classes_.ndim != 1 or not 2 <= len(clf.classes_) == len(set(clf.classes_.tolist())):
            raise ValueError(f"classes must be at least 2 different labels; got {classes!r}.")
        wrap_fitted(clf, module)
        if exported is not None:
            describe_inputs(clf, exported)
        clf.abstain_label_ = resolve_abstain_label(clf.abstain_label, clf.classes_)
        clf.cost_matrix_ = as_cost_matrix(cost_matrix, classes=clf.classes_)
        decision = clf._decision(np.empty(0))  # costs may come with the inputs
        clf._check_votes(decision)
        if decision.inside is not None and isinstance(clf.module_, PredictedClass):
            check_scores(module)
        clf._scale()
        seed = draw_seed(clf.random_state)
        clf.vote_key_ = make_key(None if clf.random_state is None else seed)
        return clf

    # ------------------------------------------------------------------ prediction

    def predict(self, X: Any, costs: Any = None) -> NDArray[np.generic]:
        """Predict the class that wins the vote, or abstain.

        The smoothed classifier's class is returned where the two-sided binomial test between the
        two classes with most votes is significant, and ``abstain_label_`` elsewhere; a class that
        is returned is wrong about the smoothed classifier with probability at most ``alpha``
        ([Cohen19]_, PREDICT). The test is sequential: an input takes up to ``n_prediction`` votes,
        and most are decided by far fewer. With ``abstain_label=None`` the winner of
        ``n_prediction`` votes is returned, without a guarantee.

        With weighted votes, their own test takes its place
        (:meth:`smoothcs.decision.WeightedVotes.abstains`), with the same ``alpha``.

        Parameters
        ----------
        X : array-like (n, d), array or tensor (n, ...), or Dataset
        costs : array-like (n, m, m), default=None
            Costs of each example, by which ``decision="min-cost"`` then decides.

        Returns
        -------
        labels : ndarray (n,)

        References
        ----------
        .. [Cohen19] Cohen, Rosenfeld, Kolter, "Certified Adversarial Robustness via Randomized
           Smoothing", ICML 2019.
        """
        check_is_fitted(self)
        if self.abstain_label_ is None:
            votes = self._votes(X, costs, self._n("n_prediction"), "prediction")
            return self.classes_[self._decision(costs).winner(votes)]
        decided = self._decided_label(X, costs)
        abstained = decided < 0
        if abstained.any():
            refuse_hard_vote()
        labels = self.classes_[np.where(abstained, 0, decided)]
        return with_abstentions(labels, abstained, self.abstain_label_)

    def abstains(self, X: Any, costs: Any = None) -> NDArray[np.bool_]:
        """Tell where the vote is too close to call at ``alpha``.

        Parameters
        ----------
        X, costs
            As in :meth:`predict`.

        Returns
        -------
        abstained : ndarray of bool (n,)
            Also when ``abstain_label`` is None.
        """
        return self._decided_label(X, costs) < 0

    def _decided_label(self, X: Any, costs: Any) -> NDArray[np.intp]:
        """Return the class index of each input, -1 where it cannot be decided."""
        X, costs = self._checked(X, costs)
        n_max = self._n("n_prediction")
        rule = PredictionRule(len(X), alpha=self.alpha, n_max=n_max, decision=self._decision(costs))
        self._draw(X, costs)(rule, purpose="prediction")
        return rule.label

    def predict_proba(self, X: Any, costs: Any = None) -> NDArray[np.float64]:
        """Return each class's share of the ``n_prediction`` votes.

        Parameters
        ----------
        X, costs
            As in :meth:`predict`.

        Returns
        -------
        shares : ndarray (n, m)
            Of the votes as they were cast, which is by the ``decision`` where it acts on scores.
            With weighted votes, the largest share need not be that of the class that
            :meth:`predict` returns.
        """
        votes = self._votes(X, costs, self._n("n_prediction"), "prediction")
        return votes / votes.sum(axis=1, keepdims=True)

    # ------------------------------------------------------------------ certification

    def certify(
        self,
        X: Any,
        y: Any = None,
        *,
        costs: Any = None,
        cost_matrix: Any = None,
        simultaneous: bool = True,
        blockers: bool | int = True,
        also_correct: bool = False,
        harmless_errors: str = "count",
        radius_tol: float | None = None,
        resume_from: str | os.PathLike[str] | None = None,
    ) -> Certificates:
        """Certify each input: how far it must move before a costly mistake is possible.

        An input has ``n_estimation`` votes, a number that must be fixed beforehand. Asking again
        with more votes until an input is certified gives false certificates far more often than
        ``alpha`` says (17 % at alpha = 5 % in a simulation): use ``radius_tol`` or
        :meth:`certify_at`, which pay for every look at the votes.

        Parameters
        ----------
        X : array-like (n, d), array or tensor (n, ...), or Dataset
            Inputs. The items of a Dataset must be the same each time they are read.
        y : array-like (n,), default=None
            True labels, whose rows of the cost matrix apply. None, as in deployment: the row of
            the predicted class applies.
        costs : array-like (n, m, m), default=None
            Costs of each example, ``costs[i, y, k]`` of calling a y a k: what "min-cost" decides
            by, and the metrics in money are in. An attacker is taken not to change them.
        cost_matrix : see the class, default=None
            Costs to use in place of ``cost_matrix_``.
        simultaneous : bool, default=True
            Whether the pair radii of one input hold together or each by itself.
        blockers : bool or int, default=True
            With the exact bound, how many harmless classes together may block a target; True is 3.
        also_correct : bool, default=False
            Whether claims about costly mistakes are to include that ``y`` is predicted.
        harmless_errors : {"count", "zero"}, default="count"
            Whether a wrong prediction that costs nothing keeps its radii.
        radius_tol : float, default=None
            If given, votes are drawn only while ``n_estimation`` of them would enlarge the radius
            by more than this; needs ``bound="exact"``.
        resume_from : path, default=None
            File to which finished inputs are appended, and from which a killed run continues.

        Returns
        -------
        certificates : Certificates

        Raises
        ------
        ValueError, TypeError
            If the data or a parameter is refused.
        CertificationInterrupted
            On Ctrl-C: a KeyboardInterrupt whose ``certificates`` are those of the finished inputs;
            the others are not certified.

        Notes
        -----
        Inputs are rounded to float32 before they are voted on. What that may change is taken off
        every radius; where it exceeds sigma / 10, the input is refused.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> clf = CostSensitiveSmoothedClassifier(
        ...     objective="gaussian", max_epochs=30, n_estimation=500, random_state=0
        ... ).fit(X, y)
        >>> certificates = clf.certify(X[:5], y[:5])
        >>> certificates.radius_pair.shape
        (5, 3)
        """
        checked = self._certifiable(X, y, costs, cost_matrix, also_correct, harmless_errors)
        X, y, costs, cost_matrix, errors = checked
        decision = self._decision(costs)
        n_estimation = self._n("n_estimation")
        certificates = partial(
            certify_votes,
            sigma=self.sigma,
            alpha=self.alpha,
            cost_matrix=cost_matrix,
            y=y,
            decision=decision,
            bound=self.bound,
            simultaneous=simultaneous,
            blockers=blockers,
            also_correct=also_correct,
            harmless_errors=harmless_errors,
            input_error=errors,
            **self._notes(X, costs),
        )
        draw, n_selection = self._draw(X, costs, resume_from), self._n("n_selection")
        if radius_tol is None:
            return certify_radii(draw, n_selection, n_estimation, certificates)
        self._check_sequential("radius_tol")
        return certify_to_tolerance(
            draw,
            n_selection,
            certificates,
            partial(_omega, cost_matrix, decision, y),
            decision,
            radius_tol=radius_tol,
            sigma=self.sigma,
            alpha=self.alpha,
            n_max=n_estimation,
            blockers=blockers,
        )

    def certify_at(
        self,
        X: Any,
        y: Any = None,
        eps: Any = None,
        *,
        kinds: str | Collection[str] = ("group",),
        n_max: int | None = None,
        costs: Any = None,
        cost_matrix: Any = None,
        blockers: bool | int = True,
        also_correct: bool = False,
        harmless_errors: str = "count",
        resume_from: str | os.PathLike[str] | None = None,
        **looks: Any,
    ) -> CertifiedAt:
        """Decide whether each input is certified at ``eps``, with as few votes as that needs.

        Parameters
        ----------
        eps : float or array-like (n_eps,), default=None
            Radii; None: the estimator's.
        kinds : collection of {"group", "pair", "standard", "label"}, default=("group",)
            Which claims to decide: no sensitive target is predicted, this target is not, the label
            does not change, the label is that of the smoothed classifier.
        n_max : int, default=None
            Most estimation votes an input may use; None: ``n_estimation``. It may be larger, since
            few inputs use them all.
        X, y, costs, cost_matrix, blockers, also_correct, harmless_errors, resume_from
            As in :meth:`certify`.
        **looks
            When to look at the votes: ``first_look``, ``growth``, ``final_share`` and ``futility``
            of :class:`smoothcs.sequential.StoppingRule`.

        Returns
        -------
        certified : CertifiedAt

        Raises
        ------
        ValueError, TypeError, CertificationInterrupted
            As in :meth:`certify`.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> clf = CostSensitiveSmoothedClassifier(
        ...     objective="gaussian", max_epochs=30, n_estimation=500, random_state=0
        ... ).fit(X, y)
        >>> clf.certify_at(X[:5], y[:5], [0.1, 0.2]).certified_group.shape
        (5, 2)
        """
        checked = self._certifiable(X, y, costs, cost_matrix, also_correct, harmless_errors)
        X, y, costs, cost_matrix, errors = checked
        self._check_sequential("certify_at")
        decision = self._decision(costs)
        n_max = self._n("n_estimation") if n_max is None else n_max
        # With so few votes there is a single look, at the whole of alpha.
        decision.check_can_certify(check_integer("n_max", n_max), self.alpha, "exact", "n_max")
        radii = self._eps(eps)
        if kinds not in ("label", ("label",), ["label"]):
            self._check_reach(radii, n_max, decision, final_level(n_max, self.alpha, looks))
        return certify_at_eps(
            self._draw(X, costs, resume_from),
            self._n("n_selection"),
            partial(_omega, cost_matrix, decision, y),
            decision,
            eps=radii,
            kinds=kinds,
            sigma=self.sigma,
            alpha=self.alpha,
            n_max=n_max,
            # Rounded up, so that the claim of an input seldom depends on the others.
            input_error=float(2.0 ** np.ceil(np.log2(errors.max()))),
            correct=cost_matrix.encode(y) if also_correct else None,
            cost_matrix=cost_matrix,
            y=y,
            harmless_errors=harmless_errors,
            notes=self._notes(X, costs),
            blockers=blockers,
            **looks,
        )

    def certify_radius(
        self, X: Any, y: Any = None, kind: str = "group", *, costs: Any = None
    ) -> NDArray[np.float64]:
        """Return certified radii, in the units of ``X``; 0 where nothing is certified.

        Parameters
        ----------
        X, y, costs
            As in :meth:`certify`.
        kind : {"group", "pair", "standard"}, default="group"
            "group": no sensitive target is predicted within it; "pair": the same for each
            target; "standard": the prediction does not change within it.

        Returns
        -------
        radii : ndarray (n,), or (n, m) for "pair"
            nan where a radius is not defined (no sensitive target).
        """
        check_choice("kind", kind, RADII)
        radii: NDArray[np.float64] = getattr(self.certify(X, y, costs=costs), f"radius_{kind}")
        return radii

    def plan_votes(
        self, X: Any, y: Any = None, *, eps: Any = None, power: float = 0.9, costs: Any = None
    ) -> NDArray[np.float64]:
        """Estimate how many votes a decision at ``eps`` will need, before spending them.

        Parameters
        ----------
        X, y, costs
            As in :meth:`certify`.
        eps : float or array-like (n_eps,), default=None
            Radii, in place of the estimator's.
        power : float, default=0.9
            Chance with which the certificate is to be found.

        Returns
        -------
        n_votes : ndarray (n,) or (n, n_eps)
            From ``n_selection`` votes an input, hence rough; inf where the radius looks smaller
            than eps, 0 where the class has no sensitive target.
        """
        votes = self._votes(X, costs, self._n("n_selection"), "selection")
        decision = self._decision(costs)
        labels = self.classes_[decision.winner(votes)]
        if y is not None:
            labels = check_labels(X, y, self)
        return plan_votes(
            votes,
            y=labels,
            cost_matrix=self.cost_matrix_,
            sigma=self.sigma,
            eps=self._eps(eps),
            alpha=self.alpha,
            power=power,
            weights=decision.weights,
        )

    # ------------------------------------------------------------------ scores

    def score(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        costs: Any = None,
        metric: str = "rob_cs",
        eps: float | None = None,
    ) -> float:
        """Return one certified metric at ``eps``.

        Parameters
        ----------
        X : array-like (n, d), array or tensor (n, ...), or Dataset
        y : array-like (n,)
            True labels; optional for a Dataset that yields ``(x, y)``.
        sample_weight : array-like (n,), default=None
            Weights of the examples in the mean.
        costs : array-like (n, m, m), default=None
            As in :meth:`certify`.
        metric : {"rob_cs", "rob_cost", "certified_accuracy"}, default="rob_cs"
            "rob_cs": share of sensitive examples that no perturbation within ``eps`` can turn into
            a costly mistake (greater is better); "rob_cost": mean, over sensitive examples, of the
            summed costs of the targets that are not ruled out (smaller is better);
            "certified_accuracy": share of examples certified to keep their true label.
        eps : float, default=None
            Radius, in place of the estimator's.

        Returns
        -------
        score : float

        Warns
        -----
        UninformativeWarning
            If a constant answer would do as well, so that the score alone misleads
            (:class:`smoothcs.exceptions.UninformativeWarning`); not for "certified_accuracy".
        """
        check_choice("metric", metric, SCORES)
        warn_of_default_scoring()
        eps = self._eps(eps)
        check_is_fitted(self)
        y = check_labels(X, y, self)
        certificates: Certificates | CertifiedAt
        if self.bound == "exact":
            certificates = self.certify_at(X, y, eps, kinds=(SCORES[metric],), costs=costs)
        else:
            certificates = self.certify(X, y, costs=costs)
            self._check_reach(eps, self.n_estimation, self._decision(costs), self.alpha)
        weights = check_weights(sample_weight, X)
        score = float(getattr(certificates, metric)(eps, sample_weight=weights))
        if metric != "certified_accuracy":
            warn_if_uninformative(certificates, score, weights)
        return score

    def certified_report(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        costs: Any = None,
        eps: float | None = None,
        n_estimation: int | None = None,
        groups: Any = None,
    ) -> dict[str, Any]:
        """Return every certified metric at ``eps`` from one Monte Carlo pass.

        With ``bound="exact"`` each input draws only the votes that its decisions at ``eps`` need.

        Parameters
        ----------
        X, y, sample_weight, costs, eps
            As in :meth:`score`.
        n_estimation : int, default=None
            Votes, in place of the estimator's.
        groups : array-like (n,), default=None
            To whom or what each input belongs (a patient, a sign seen in several frames). If given,
            the report has ``intervals``, approximate 95 % intervals by bootstrap over groups
            (:meth:`Certificates.intervals <smoothcs.Certificates.intervals>`), and ``n_groups``.

        Returns
        -------
        report : dict
            ``rob_cs``, ``accuracy`` and, beside it, ``constant_accuracy`` (of the commonest class),
            ``rob_cost``, ``certified_accuracy``, ``rob_cs_standard``,
            ``rob_standard_nonsensitive``, ``abstention_rate``, ``misclassification_cost``; ``bill``
            (at ``eps``, of all examples), ``mean_bill``, ``clean_bill``, ``savings`` (nan where
            some constant answer is free) and ``clean_savings``;
            ``rob_cost`` and ``misclassification_cost`` are by the cost matrix, also where there are
            ``costs``;
            ``precision`` and ``recall``, dicts by label; ``clean_error_matrix`` and
            ``robust_error_matrix``, arrays (m, m), the latter for the sensitive pairs; ``eps``,
            ``sigma``, ``alpha``, ``n_inputs``, ``n_sensitive``, ``mean_votes``.

        Warns
        -----
        UninformativeWarning
            As in :meth:`score`.
        """
        check_is_fitted(self)
        eps = self._eps(eps)
        if np.ndim(eps):
            raise ValueError(f"eps must be one number for a report; got {eps!r}.")
        y = check_labels(X, y, self)
        weights = check_weights(sample_weight, X)
        certified: Certificates | CertifiedAt
        if self.bound == "exact":
            certified = self.certify_at(X, y, eps, kinds=KINDS, n_max=n_estimation, costs=costs)
        else:
            clf = self if n_estimation is None else copy(self).set_params(n_estimation=n_estimation)
            self._check_reach(eps, clf.n_estimation, self._decision(costs), self.alpha)
            certified = clf.certify(X, y, costs=costs)
        report = certified.report(eps, weights, groups)
        warn_if_uninformative(certified, report["rob_cs"], weights)
        return report

    # ------------------------------------------------------------------ parameters

    def _check_parameters(self) -> None:
        check_positive("sigma", self.sigma)
        check_probability("alpha", self.alpha)
        if self.eps is not None:
            check_positive("eps", self.eps)
        check_positive("lr", self.lr)
        check_schedule(self.lr_schedule)
        for name in ("n_selection", "n_estimation", "n_prediction", "batch_size"):
            self._n(name)
        resolve_epochs(self.max_epochs, 1, self.batch_size)
        check_choice("bound", self.bound, BOUNDS)
        check_choice("precision", self.precision, PRECISIONS)
        if not (isinstance(self.vote_batch_size, str) and self.vote_batch_size == "auto"):
            check_integer("vote_batch_size", self.vote_batch_size)
        check_n_jobs(self.n_jobs)

    def set_params(self, **params: Any) -> Any:
        """Set parameters; ``objective__...`` also reaches an objective given by name."""
        nested = any(name.startswith("objective__") for name in params)
        objective = params.get("objective", self.objective)
        if nested and isinstance(objective, str):
            params["objective"] = resolve_objective(objective)
        with unchanged_on_error(self):
            return super().set_params(**params)


def _omega(
    cost_matrix: CostMatrix, decision: WeightedVotes, y: Any, selection: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return each input's sensitive targets (n, m)."""
    row = decision.winner(selection) if y is None else cost_matrix.encode(y)
    return cost_matrix.omega[row]
