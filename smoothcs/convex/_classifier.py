"""Deterministic certificates for small ReLU networks, by convex relaxation [ZE19]_.

An alternative to certificates by votes: no noise, no abstentions and no failure probability, but
only for small networks and small balls, whose radius is chosen beforehand. Both use the same cost
matrices, metrics and scorers, so that one table can compare them.

References
----------
.. [ZE19] Zhang, Evans, "Cost-Sensitive Robustness against Adversarial Examples", ICLR 2019.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from smoothcs._costs import check_costs
from smoothcs._estimator._fit import TrainedClassifier, check_training_data, draw_seed
from smoothcs._estimator._inputs import (
    check_inputs,
    check_labels,
    check_weights,
    encode_labels,
    is_dataset,
)
from smoothcs._estimator._state import unchanged_on_error
from smoothcs._net import check_module_output, new_net, resolve_optimizer
from smoothcs._torch import resolve_devices, seeded
from smoothcs._validation import check_choice, check_integer, check_positive, check_real
from smoothcs.certification._informative import warn_if_uninformative
from smoothcs.certification._metrics import SCORES
from smoothcs.convex._bounds import (
    NORMS,
    certified_lower_bounds,
    check_bounded_module,
    exact_batch_size,
    require_convex_adversarial,
)
from smoothcs.convex._margins import CertifiedMargins
from smoothcs.convex._objectives import CostSensitiveRobust, OverallRobust, TrainingBall
from smoothcs.modules import MLP
from smoothcs.objectives import CostSensitiveCrossEntropy, Objective
from smoothcs.votes._source import input_of

OBJECTIVES = ("cost-sensitive", "robust", "cost-sensitive-ce")


class ConvexRelaxationClassifier(TrainedClassifier):
    """Small ReLU network, trained and certified by convex relaxation ([ZE19]_).

    For an input x of class y and a target j, ``certify`` returns a number J that is at most
    min (logit_y - logit_j) over all inputs within ``eps`` of x. J > 0 proves that no perturbation
    of that size makes the network predict j. The bound is the dual of a linear program in which
    each ReLU is relaxed to a triangle [WK18]_; it always holds, and it is loose on networks that
    were not trained for it.

    Needs ``pip install smoothcs[convex]``.

    Parameters
    ----------
    module : nn.Module class, factory or instance, default=None
        A ``torch.nn.Sequential`` of Linear, Conv2d, ReLU and Flatten layers that ends in Linear;
        any other is refused (BatchNorm, residual blocks, a layer whose ``forward`` was replaced).
        If None, :class:`smoothcs.modules.MLP`, sized from the data.
    cost_matrix : array (m, m), DataFrame, dict, CostMatrix or None, default=None
        Entry [y, k] is the cost of calling a ``y`` a ``k``. If None, every mistake costs 1.
    eps : float, default=0.1
        Radius of the ball, in the units of ``X``, both in training and in certificates.
    norm : {"linf", "l2"}, default="linf"
        Norm of the ball.
    bounds : (float, float) or None, default=None
        Range of the entries of ``X`` and of perturbed inputs, such as (0, 1) for images; it
        tightens the bounds. For ``norm="linf"`` only.
    objective : {"cost-sensitive", "robust", "cost-sensitive-ce"}, default="cost-sensitive"
        What training minimises, by equations of [ZE19]_. "cost-sensitive" (3.2): cross-entropy
        plus ``alpha_robust`` times a penalty on the costly transformations that J does not exclude.
        "robust" (2.7): the bound on the worst-case cross-entropy, regardless of costs.
        "cost-sensitive-ce" (B.1): cost-sensitive cross-entropy, without robustness.
    alpha_robust : float, default=1.0
        Weight of the penalty of "cost-sensitive". The penalty is a sum over sensitive classes and
        targets: the more of them, the smaller ``alpha_robust`` should be ([ZE19]_ use 4 for one
        pair of MNIST, .04 for 45 pairs with costs up to 81). See Notes for the search.
    eps_start : float, default=0.0
        Radius in the first epoch.
    warmup_epochs : int or None, default=None
        Epochs over which the radius in training grows linearly from ``eps_start`` to ``eps``. If
        None, a third of ``max_epochs``.
    projection : int or None, default=None
        Dimension of the random projections that replace exact bounds in training [Wong18]_, which
        saves time and memory for inputs larger than ``projection``. They give estimates, so
        ``certify`` never uses them.
    optimizer : {"adam", "adamw", "sgd"} or torch optimizer class, default="adam"
        The optimiser; its parameters are ``net_params={"optimizer__weight_decay": 1e-4}``.
    lr : float, default=1e-3
        Learning rate.
    max_epochs, batch_size : int, default=20, 50
        Length of training and examples per step.
    callbacks, net_params, verbose
        As in :class:`smoothcs.CostSensitiveSmoothedClassifier`.
    certify_batch_size : int or "auto", default="auto"
        Examples that are bounded at once in ``certify``; "auto" keeps to about 256 MB.
    device : {"auto", "cpu", "cuda", "cuda:1", "mps"} or torch.device, default="auto"
        Where training and certification run. As "mps" lacks float64, certification then runs on the
        CPU. The fitted module is kept on the CPU.
    random_state : int, RandomState or None, default=None
        Seeds training; certificates are deterministic.

    Attributes
    ----------
    module_ : nn.Module
        The trained network, float32, on the CPU, in eval mode.
    classes_, cost_matrix_, net_, history_, input_shape_, n_features_in_, feature_names_in_
        As of :class:`smoothcs.CostSensitiveSmoothedClassifier`.

    See Also
    --------
    smoothcs.CostSensitiveSmoothedClassifier : certificates by votes, for networks of any kind.

    Notes
    -----
    Predictions and certificates are computed in float64, so that both apply to the same network.
    In float32, its logits differ by about 1e-6 of their size: require margins larger than that.

    ``alpha_robust`` is found as in [ZE19]_ (Appendix A): the lowest cost-sensitive robust error at
    an accuracy of at least .96, on a coarse grid and then on a finer one::

        search = GridSearchCV(
            ConvexRelaxationClassifier(small_conv, cost_matrix=CostMatrix.pairwise([(4, 9)])),
            {"alpha_robust": [0.01, 0.1, 1, 10, 100]},  # then best * 2.0 ** np.arange(-3, 4)
            scoring=certified_scorer(metrics=["rob_cs", "accuracy"]),
            refit=best_under("rob_cs", accuracy=0.96),
            cv=ShuffleSplit(1, test_size=0.2, random_state=0),
        ).fit(X, y)

    The tasks of [ZE19]_ are builders of :class:`CostMatrix`: ``pairwise``, ``seedwise``,
    ``targetwise``, ``small_large``, ``large_small`` and ``vehicle_animal``.

    References
    ----------
    .. [ZE19] Zhang, Evans, "Cost-Sensitive Robustness against Adversarial Examples", ICLR 2019.
    .. [WK18] Wong, Kolter, "Provable Defenses against Adversarial Examples via the Convex Outer
       Adversarial Polytope", ICML 2018.
    .. [Wong18] Wong, Schmidt, Metzen, Kolter, "Scaling Provable Adversarial Defenses", NeurIPS
       2018.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from smoothcs.convex import ConvexRelaxationClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = ConvexRelaxationClassifier(
    ...     cost_matrix={(2, 1): 10.0}, eps=0.2, lr=0.01, random_state=0
    ... ).fit(X, y)
    >>> bool(clf.score(X, y) > 0.5)  # share of class 2 that cannot be pushed into class 1
    True
    >>> clf.certify(X[:5], y[:5]).shape
    (5, 3)
    """

    # No noise is added; the net, which is shared with the smoothed classifier, reads how much.
    sigma = 0.0

    def __init__(
        self,
        module: Any = None,
        *,
        cost_matrix: Any = None,
        eps: float = 0.1,
        norm: str = "linf",
        bounds: tuple[float, float] | None = None,
        objective: str = "cost-sensitive",
        alpha_robust: float = 1.0,
        eps_start: float = 0.0,
        warmup_epochs: int | None = None,
        projection: int | None = None,
        optimizer: Any = "adam",
        lr: float = 1e-3,
        max_epochs: int = 20,
        batch_size: int = 50,
        callbacks: Any = None,
        net_params: dict[str, Any] | None = None,
        certify_batch_size: Any = "auto",
        device: Any = "auto",
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.module = module
        self.cost_matrix = cost_matrix
        self.eps = eps
        self.norm = norm
        self.bounds = bounds
        self.objective = objective
        self.alpha_robust = alpha_robust
        self.eps_start = eps_start
        self.warmup_epochs = warmup_epochs
        self.projection = projection
        self.optimizer = optimizer
        self.lr = lr
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.callbacks = callbacks
        self.net_params = net_params
        self.certify_batch_size = certify_batch_size
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Train the network.

        Parameters
        ----------
        X : array-like (n, d), array or tensor (n, ...), or Dataset
            Inputs. A torch Dataset yields ``(x, y)``.
        y : array-like (n,), optional for a Dataset
            Labels: integers, strings or booleans.
        sample_weight : array-like (n,), default=None
            Non-negative weights that multiply every per-example term of the objective.

        Returns
        -------
        self : ConvexRelaxationClassifier

        Raises
        ------
        ImportError
            If the extra ``smoothcs[convex]`` is not installed.
        TypeError
            If ``module`` has a layer that cannot be bounded; the message names it.
        ValueError
            If a parameter or the data is refused. The estimator is then as it was before.
        """
        require_convex_adversarial()
        with unchanged_on_error(self):
            self._check_parameters()
            optimizer = resolve_optimizer(self.optimizer)
            device = resolve_devices(self.device, training=True)[0]
            data = check_training_data(self, X, y, sample_weight)
            objective = self._resolved_objective(data.encoded, data.weights)
            seed = draw_seed(self.random_state)
            with seeded(seed, device):  # random projections, too, draw from torch's generator
                net = new_net(
                    self,
                    objective,
                    data.cost_matrix.matrix,
                    optimizer,
                    device,
                    seed,
                    len(data.encoded),
                    network=MLP,
                )
                check_bounded_module(net.module_, self.input_shape_)
                net.module_.to(memory_format=torch.contiguous_format)  # the package takes views
                check_module_output(net, data.X, len(data.classes))
                if not is_dataset(data.X):
                    self._check_bounds(data.X)
                net.train_on(data.dataset())
            self._keep(net, data)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the class of the largest logit.

        Parameters
        ----------
        X : array-like (n, d), array or tensor (n, ...), or Dataset

        Returns
        -------
        labels : ndarray (n,)
        """
        check_is_fitted(self)
        return self.classes_[self._logits(check_inputs(self, X, reset=False)).argmax(axis=1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the softmax of the logits.

        Parameters
        ----------
        X : array-like (n, d), array or tensor (n, ...), or Dataset

        Returns
        -------
        probabilities : ndarray (n, m)
        """
        check_is_fitted(self)
        logits = torch.as_tensor(self._logits(check_inputs(self, X, reset=False)))
        return logits.softmax(dim=1).numpy()

    def certify(self, X: Any, y: Any = None, *, eps: float | None = None) -> np.ndarray:
        """Return the lower bounds J: by how much each target stays behind within the ball.

        Parameters
        ----------
        X : array-like (n, d), array or tensor (n, ...), or Dataset
        y : array-like (n,), default=None
            True labels. If None, as in deployment, the predicted classes take their place.
        eps : float, default=None
            Radius, in place of the estimator's.

        Returns
        -------
        margins : ndarray (n, m), float64
            J[i, j] <= logit_y - logit_j for every float32 input within ``eps`` of X[i] (rounded to
            float32), where y is the class of row i; J[i, j] > 0 certifies that none of these inputs
            is called ``classes_[j]``. nan where j = y, which is not a target; -inf where no bound
            was found.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> clf = ConvexRelaxationClassifier(eps=0.1, random_state=0).fit(X, y)
        >>> clf.certify(X[:1], y[:1]) > 0
        array([[False,  True,  True]])
        """
        check_is_fitted(self)
        X = check_inputs(self, X, reset=False)
        if y is None:
            rows = self._logits(X).argmax(axis=1)
        else:
            rows = encode_labels(check_labels(X, y, self), self.classes_)
        return self._margins(X, rows, eps)

    def score(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        metric: str = "rob_cs",
        eps: float | None = None,
    ) -> float:
        """Return 1 - cost-sensitive robust error, or another certified metric.

        Parameters
        ----------
        X, y, sample_weight
            As in :meth:`smoothcs.CostSensitiveSmoothedClassifier.score`.
        metric : {"rob_cs", "rob_cost", "certified_accuracy"}, default="rob_cs"
            "rob_cs": share of sensitive examples with J > 0 for all their sensitive targets, which
            is 1 - cost-sensitive robust error; "rob_cost": mean, over sensitive examples, of the
            summed costs of the targets that J does not exclude,
            Eq. 3.1 (smaller is better); "certified_accuracy": share of all examples with J > 0 for
            every target.
        eps : float, default=None
            Radius, in place of the estimator's.

        Returns
        -------
        score : float
            nan, with a UserWarning, where no example is of a sensitive class.
        """
        check_choice("metric", metric, SCORES)
        X, y, margins = self._margins_of(X, y, eps)
        certified = CertifiedMargins(margins, y, self.cost_matrix_)
        weights = check_weights(sample_weight, X)
        score = float(getattr(certified, metric)(None, weights))
        if metric != "certified_accuracy":
            certified.label = self.classes_[self._logits(X).argmax(axis=1)]
            warn_if_uninformative(certified, score, weights)
        return score

    def certified_report(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        costs: Any = None,
        eps: float | None = None,
        groups: Any = None,
    ) -> dict[str, Any]:
        """Return every metric of [ZE19], under the names that the smoothed classifier also uses.

        Parameters
        ----------
        X, y, sample_weight, eps
            As in :meth:`score`.
        costs : array-like (n, m, m), default=None
            Costs of each example, ``costs[i, y, k]`` of calling a y a k, for the metrics in money.
        groups : array-like (n,), default=None
            To whom or what each input belongs; if given, the report has ``intervals``, by bootstrap
            over groups, and ``n_groups``.

        Returns
        -------
        report : dict
            ``classification_error``, ``cost_sensitive_robust_error``, ``rob_cost`` (the robust
            cost, Eq. 3.1), ``misclassification_cost``, ``robust_error`` (the share of examples not
            certified against every target); one minus each error as ``accuracy``, ``rob_cs``,
            ``certified_accuracy``; ``constant_accuracy`` (of the commonest class);
            ``rob_cs_standard``, ``rob_standard_nonsensitive``, ``abstention_rate`` (0); ``bill``,
            ``mean_bill``, ``clean_bill``, ``savings``, ``clean_savings``; ``precision`` and
            ``recall``, dicts by label; ``clean_error_matrix`` and ``robust_error_matrix``, arrays
            (m, m); ``eps``, ``norm``, ``n_inputs``, ``n_sensitive``.
        """
        X, y, margins = self._margins_of(X, y, eps)
        costs = check_costs(costs, len(X), len(self.classes_))
        label = self.classes_[self._logits(X).argmax(axis=1)]
        certified = CertifiedMargins(margins, y, self.cost_matrix_, label, costs)
        weights = check_weights(sample_weight, X)
        values = certified.report(sample_weight=weights, groups=groups)
        warn_if_uninformative(certified, values["rob_cs"], weights)
        return {
            **values,
            "eps": float(self.eps if eps is None else eps),
            "norm": self.norm,
        }

    def _resolved_objective(self, encoded: np.ndarray, weights: np.ndarray | None) -> Objective:
        if self.objective == "cost-sensitive-ce":
            return CostSensitiveCrossEntropy()
        ball = TrainingBall(
            eps=float(self.eps),
            norm=self.norm,
            eps_start=float(self.eps_start),
            warmup_epochs=(
                self.max_epochs // 3 if self.warmup_epochs is None else self.warmup_epochs
            ),
            bounds=self._box(),
            projection=self.projection,
        )
        if self.objective == "robust":
            return OverallRobust(ball)
        counts = np.bincount(encoded, weights=weights)
        share = np.where(counts > 0, counts / counts.sum(), 1.0)
        return CostSensitiveRobust(ball, float(self.alpha_robust), share)

    def _check_parameters(self) -> None:
        eps = check_positive("eps", self.eps)
        check_real("eps_start", self.eps_start, low=0.0, high=eps)
        self._check_ball()
        check_choice("objective", self.objective, OBJECTIVES)
        check_real("alpha_robust", self.alpha_robust, low=0.0, high_open=True)
        check_positive("lr", self.lr)
        for name in ("max_epochs", "batch_size"):
            check_integer(name, getattr(self, name))
        if self.projection is not None:
            check_integer("projection", self.projection)
        if self.certify_batch_size != "auto":
            check_integer("certify_batch_size", self.certify_batch_size)
        if self.warmup_epochs is not None:
            check_integer("warmup_epochs", self.warmup_epochs, low=0)
            if self.warmup_epochs >= self.max_epochs:
                raise ValueError(
                    f"warmup_epochs must be less than max_epochs={self.max_epochs}, or training "
                    f"never reaches eps; got {self.warmup_epochs}."
                )

    def _check_ball(self) -> None:
        check_choice("norm", self.norm, NORMS)
        if self.bounds is not None:
            if self.norm != "linf":
                raise ValueError(f"bounds must be None for norm={self.norm!r}; got {self.bounds}.")
            if np.shape(self.bounds) != (2,):
                raise ValueError(f"bounds must be None or (low, high); got {self.bounds!r}.")
            low, high = self.bounds
            check_real("bounds[0]", low)
            check_real("bounds[1]", high, low=low, low_open=True)

    def _check_bounds(self, x: np.ndarray) -> None:
        bounds = self._box()
        if bounds is not None and not ((x >= bounds[0]).all() and (x <= bounds[1]).all()):
            raise ValueError(
                f"X must lie within bounds={self.bounds}; it spans [{x.min():g}, {x.max():g}]."
            )

    def _box(self) -> tuple[float, float] | None:
        """Return the bounds, widened as far as rounding to float32 may move an input at a bound."""
        if self.bounds is None:
            return None
        low, high = (float(value) for value in self.bounds)
        return min(low, float(np.float32(low))), max(high, float(np.float32(high)))

    def _float64_module(self) -> tuple[torch.nn.Module, torch.device]:
        device = resolve_devices(self.device, training=True)[0]
        if device.type == "mps":
            device = torch.device("cpu")
        module = copy.deepcopy(self.module_).to(device, torch.float64).eval()
        return module.to(memory_format=torch.contiguous_format), device

    def _margins_of(self, X: Any, y: Any, eps: float | None) -> tuple[Any, np.ndarray, np.ndarray]:
        """Return the checked inputs and labels, and their margins J (n, m)."""
        check_is_fitted(self)
        X = check_inputs(self, X, reset=False)
        y = check_labels(X, y, self)
        return X, y, self._margins(X, encode_labels(y, self.classes_), eps)

    def _margins(self, X: Any, rows: np.ndarray, eps: float | None) -> np.ndarray:
        require_convex_adversarial()
        self._check_ball()
        eps = check_positive("eps", self.eps if eps is None else eps)
        module, device = self._float64_module()
        size = self.certify_batch_size
        if size == "auto":
            size = exact_batch_size(self.module_, self.input_shape_)
        margins = np.full((len(rows), len(self.classes_)), -np.inf)
        for batch, x in _batches(X, check_integer("certify_batch_size", size)):
            self._check_bounds(x)
            margins[batch] = certified_lower_bounds(
                module, x, rows[batch], eps=eps, norm=self.norm, bounds=self._box(), device=device
            )
        margins[np.arange(len(rows)), rows] = np.nan
        return margins

    def _logits(self, X: Any) -> np.ndarray:
        module, device = self._float64_module()
        with torch.inference_mode():
            return np.concatenate(
                [
                    module(torch.as_tensor(x, dtype=torch.float64, device=device)).cpu().numpy()
                    for _, x in _batches(X, 1024)
                ]
            )


def _batches(X: Any, size: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield slices of an array or Dataset, each with its inputs."""
    for start in range(0, len(X), size):
        batch = slice(start, min(start + size, len(X)))
        if is_dataset(X):
            items = (input_of(X[i]) for i in range(start, batch.stop))
            yield batch, np.stack([np.asarray(x, dtype=np.float32) for x in items])
        else:
            # A copy: torch takes no negative strides, and warns of read-only arrays.
            yield batch, np.array(X[batch], order="C")
