"""The steps by which every method of a smoothed classifier draws votes and decides on them."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from smoothcs._costs import check_costs
from smoothcs._estimator._base import base_classifier, with_costs
from smoothcs._estimator._certify import rounding_errors
from smoothcs._estimator._fit import TrainedClassifier
from smoothcs._estimator._inputs import (
    check_inputs,
    check_labels,
    encode_labels,
    first_input,
    is_dataset,
)
from smoothcs._estimator._scale import resolve_noise_scale
from smoothcs._validation import check_choice, check_integer, check_positive, check_probability
from smoothcs.certification import largest_radius
from smoothcs.cost import CostMatrix, as_cost_matrix
from smoothcs.decision import BOUNDS, WeightedVotes, read_decision
from smoothcs.exceptions import UnreachableRadiusWarning
from smoothcs.votes import sample_votes
from smoothcs.votes._source import SameInputs


class SmoothedSteps(TrainedClassifier):
    """Base class of classifiers that vote among noisy copies of an input."""

    def _eps(self, eps: Any = None) -> Any:
        """Return the radius, or the list of radii, to be used."""
        eps = self.eps if eps is None else eps
        if np.ndim(eps):
            return [check_positive("eps", float(e)) for e in np.ravel(eps)]
        return check_positive("eps", self.sigma if eps is None else eps)

    def _n(self, name: str) -> int:
        return check_integer(name, getattr(self, name))

    def _draw(
        self, X: Any, costs: Any = None, resume_from: Any = None
    ) -> partial[NDArray[np.int64]]:
        """Return ``sample_votes`` with all filled in but the number of votes and the purpose."""
        n_classes = len(self.classes_)
        shape = _input_shape(X)
        rule, scale = self._decision(costs).inside, self._scale(shape)
        if rule is not None and rule.needs_costs:
            # Costs are entries of the input that have no noise.
            X = with_costs(X, costs)
            scale = np.ones(shape, np.float32) if scale is None else scale
            scale = np.append(scale.ravel(), np.zeros(n_classes**2, np.float32))
        if is_dataset(X):
            X = SameInputs(X)
        return partial(
            sample_votes,
            base_classifier(self.module_, rule, shape, n_classes),
            X,
            sigma=check_positive("sigma", self.sigma),
            n_classes=n_classes,
            noise_scale=scale,
            random_state=self.vote_key_,
            precision=self.precision,
            device=self.device,
            batch_size=self.vote_batch_size,
            compile=self.compile,
            n_jobs=self.n_jobs,
            resume_from=resume_from,
            verbose=self.verbose,
        )

    def _votes(self, X: Any, costs: Any, n: int, purpose: str) -> NDArray[np.int64]:
        X, costs = self._checked(X, costs)
        return self._draw(X, costs)(n, purpose=purpose)

    def _checked(self, X: Any, costs: Any) -> tuple[Any, NDArray[np.float64] | None]:
        """Return inputs, and costs of each, as a fitted estimator takes them."""
        check_is_fitted(self)
        X = check_inputs(self, X, reset=False)
        return X, check_costs(costs, len(X), len(self.classes_))

    def _scale(self, shape: tuple[int, ...] | None = None) -> NDArray[np.float32] | None:
        """Return the scale of the noise of each entry of an input of this shape, or None."""
        names = getattr(self, "feature_names_in_", None)
        return resolve_noise_scale(self.noise_scale, shape or self.input_shape_, names)

    def _notes(self, X: Any, costs: Any) -> dict[str, Any]:
        """Return what certificates keep of the costs and the noise."""
        return {"costs": costs, "noise_scale": self._scale(_input_shape(X))}

    def _certifiable(
        self,
        X: Any,
        y: Any,
        costs: Any,
        cost_matrix: Any,
        also_correct: bool,
        harmless_errors: str,
    ) -> tuple[Any, Any, Any, CostMatrix, NDArray[np.float64]]:
        """Return checked inputs, labels and costs, and what rounding takes off the radii."""
        check_is_fitted(self)
        check_probability("alpha", self.alpha)
        check_choice("bound", self.bound, BOUNDS)
        self._check_votes(self._decision(costs))
        if cost_matrix is None:
            cost_matrix = self.cost_matrix_
        cost_matrix = as_cost_matrix(cost_matrix, classes=self.classes_)
        X, costs = self._checked(X, costs)
        if y is not None:
            y = check_labels(X, y, self)
            encode_labels(y, self.classes_)
        elif also_correct or harmless_errors == "zero":
            raise ValueError(
                "also_correct=True and harmless_errors='zero' compare with the truth: pass y."
            )
        names = getattr(self, "feature_names_in_", None)
        sigma = check_positive("sigma", self.sigma)
        errors = rounding_errors(X, sigma, names, self._scale(_input_shape(X)))
        return X, y, costs, cost_matrix, errors

    def _check_votes(self, decision: WeightedVotes) -> None:
        n = self._n("n_estimation")
        decision.check_can_certify(n, self.alpha, self.bound, "n_estimation")

    def _check_reach(self, eps: Any, n: int, decision: WeightedVotes, level: float) -> None:
        """Warn of radii that ``n`` votes, tested at ``level`` in the end, cannot certify."""
        weights = decision.align(self.classes_).weights
        try:
            limit = largest_radius(n, level, self.sigma, weights=weights, bound=self.bound)
        except ValueError:  # no votes certify anything at this level, which is refused elsewhere
            return
        beyond = [e for e in np.ravel(eps).tolist() if e > limit]
        if beyond:
            warnings.warn(
                f"eps={beyond[0]:g} cannot be certified for any input: with sigma={self.sigma:g}, "
                f"{n} votes and alpha={self.alpha:g} the largest radius is {limit:.4g}. Choose a "
                "smaller eps, or a larger n_estimation or sigma.",
                UnreachableRadiusWarning,
                stacklevel=3,
            )

    def _check_sequential(self, what: str) -> None:
        if self.bound != "exact":
            raise ValueError(
                f"{what} needs bound='exact', the only one with sequential certificates; "
                f"got bound={self.bound!r}."
            )

    def _decision(self, costs: Any = None) -> WeightedVotes:
        """Return how scores and votes become a label, tied to the classes."""
        by_cost = isinstance(self.decision, str) and self.decision == "min-cost"
        given = (costs, self.decision_costs, self.cost_matrix)
        if by_cost and getattr(self, "_had_costs", False) and all(c is None for c in given):
            raise ValueError(
                "decision='min-cost' needs costs, and there are none: pass costs=... with X, as in "
                "fit, or set decision_costs or cost_matrix."
            )
        return read_decision(
            self.decision,
            self.cost_matrix_,
            self.decision_costs,
            costs is not None,
            self.temperature,
        )


def _input_shape(X: Any) -> tuple[int, ...]:
    return np.shape(first_input(X)) if is_dataset(X) else X.shape[1:]
