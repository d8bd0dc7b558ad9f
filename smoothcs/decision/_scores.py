"""Rules inside the base classifier: how the scores of one noisy copy become its answer.

Where the costly class is rare, nearly every noisy copy of nearly every input answers the harmless
class, and no weight on votes can raise a share of 0. So costs act here, before the vote: the rule
turns scores p(x) into ``argmax_k adjusted(p)_k``, and the vote is taken among these answers. The
result is just another base classifier, so that every certificate applies to it unchanged.

References
----------
.. [Elkan01] C. Elkan, "The foundations of cost-sensitive learning", IJCAI 2001.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smoothcs._validation import check_positive
from smoothcs.cost import CostMatrix, as_cost_matrix
from smoothcs.decision._votes import WeightedVotes, as_decision, check_weights


class WeightedScores:
    """The class with the largest weighted score, ``argmax_k w_k p_k(x)``.

    Parameters
    ----------
    weights : ndarray of float64 of shape (m,)
        Weights > 0 in the order of the classes; only their ratios matter.
    temperature : float, default=1.0
        By which logits (the logarithms of probabilities) are divided before the rule acts.
    """

    needs_costs = False
    temperature: float = 1.0

    def __init__(self, weights: NDArray[np.float64], temperature: float = 1.0) -> None:
        self.weights, self.temperature = weights, temperature

    def adjusted(self, scores: NDArray[Any], costs: Any = None) -> NDArray[Any]:
        """Return the weighted scores (b, m); ``costs`` are ignored."""
        return scores * self.weights

    def __repr__(self) -> str:
        return f"WeightedScores({self.weights.tolist()}{_said(self.temperature)})"


class MinCost:
    """The class of least expected cost, ``argmin_j sum_k p_k(x) C[k, j]`` ([Elkan01]_).

    Parameters
    ----------
    costs : ndarray of float64 of shape (m, m) or None
        ``costs[k, j]`` is the cost of calling a k a j; None if every input has its own.
    temperature : float, default=1.0
        As in :class:`WeightedScores`.

    References
    ----------
    .. [Elkan01] C. Elkan, "The foundations of cost-sensitive learning", IJCAI 2001.
    """

    temperature: float = 1.0

    def __init__(self, costs: NDArray[np.float64] | None, temperature: float = 1.0) -> None:
        self.costs, self.temperature = costs, temperature

    @property
    def needs_costs(self) -> bool:
        """Whether the costs of each input must be given."""
        return self.costs is None

    def adjusted(self, scores: NDArray[Any], costs: Any = None) -> NDArray[Any]:
        """Return minus the expected cost of each answer (b, m); ``costs`` (b, m, m) come first."""
        if costs is None:
            return -(scores @ self.costs)
        return -(scores[:, None, :] @ costs)[:, 0]

    def __repr__(self) -> str:
        costs = "of each example" if self.costs is None else self.costs.tolist()
        return f"MinCost({costs}{_said(self.temperature)})"


def _said(temperature: float) -> str:
    return "" if temperature == 1.0 else f", temperature={temperature:g}"


def read_decision(
    decision: Any,
    cost_matrix: CostMatrix,
    decision_costs: Any = None,
    own_costs: bool = False,
    temperature: Any = 1.0,
) -> WeightedVotes:
    """Read what the ``decision`` of an estimator accepts.

    Parameters
    ----------
    decision : None, "argmax", mapping, array-like (m,), "min-cost" or WeightedVotes
        A mapping or array holds weights of scores.
    cost_matrix : CostMatrix
        Tied to the classes; the costs of "min-cost" unless there are others.
    decision_costs : CostMatrix or anything it can be built from, default=None
        Costs by which "min-cost" decides; a plain array may have a diagonal that is not 0, since
        only what a mistake costs more than the truth matters.
    own_costs : bool, default=False
        Whether every input brings costs of its own, which then come first.
    temperature : float, default=1.0
        By which logits are divided before a rule acts on their softmax.

    Returns
    -------
    WeightedVotes
        How votes become a label; its ``inside`` is the rule inside the base classifier, if any.

    Raises
    ------
    ValueError, TypeError
        If ``decision`` is none of these, weights do not fit the classes, or some mistake is free.

    Examples
    --------
    >>> from smoothcs import CostMatrix
    >>> from smoothcs.decision import read_decision
    >>> cost = CostMatrix([[0, 1], [10, 0]], classes=["benign", "malignant"])
    >>> read_decision({"malignant": 3}, cost).inside
    WeightedScores([1.0, 3.0])
    >>> read_decision("min-cost", cost).inside
    MinCost([[0.0, 1.0], [10.0, 0.0]])
    """
    labels = cost_matrix.labels
    temperature = check_positive("temperature", temperature)
    if isinstance(decision, str) and decision == "min-cost":
        costs = None if own_costs else _full_costs(cost_matrix, decision_costs)
        return WeightedVotes.equal(len(labels), inside=MinCost(costs, temperature))
    if decision is None or isinstance(decision, str | WeightedVotes):
        found = as_decision(decision, labels)
        _check_inside(found.inside)
        own = 1.0 if found.inside is None else found.inside.temperature
        if found.inside is not None and temperature not in (1.0, own):
            raise ValueError(
                f"temperature={temperature:g} has no effect on the rule {found.inside!r} inside "
                "decision; set decision to the weights or to 'min-cost', or leave temperature at 1."
            )
        return found
    if isinstance(decision, Mapping) or np.ndim(decision) == 1 or hasattr(decision, "to_dict"):
        weights = check_weights(decision, labels.tolist(), "decision")
        return WeightedVotes.equal(len(labels), inside=WeightedScores(weights, temperature))
    raise TypeError(
        "decision must be None, 'argmax', 'min-cost', weights of scores (an array or a dict by "
        f"label) or WeightedVotes(...); got {decision!r}."
    )


def _check_inside(rule: Any) -> None:
    """Refuse a rule that a WeightedVotes has only for the record."""
    if rule is not None and not isinstance(rule, WeightedScores | MinCost):
        raise TypeError(
            f"decision has the rule {rule!r} inside, of which a file keeps the name alone; set "
            "decision to the weights or to 'min-cost'."
        )
    if isinstance(rule, MinCost) and rule.costs is None:
        raise ValueError(
            "decision has MinCost(of each example) inside; set decision='min-cost', which takes "
            "the costs that are given with each X."
        )


def _full_costs(cost_matrix: CostMatrix, decision_costs: Any) -> NDArray[np.float64]:
    """Return costs in which every mistake costs something, or raise."""
    name = "cost_matrix"
    if decision_costs is not None:
        name = "decision_costs"
        try:
            if isinstance(decision_costs, list | tuple | np.ndarray):
                decision_costs = _less_diagonal(decision_costs)
            cost_matrix = as_cost_matrix(decision_costs, cost_matrix.classes, cost_matrix.n_classes)
        except ValueError as error:
            raise ValueError(str(error).replace("cost_matrix", name)) from None
    matrix = cost_matrix.matrix
    free = (matrix == 0) & ~np.eye(len(matrix), dtype=bool)
    if free.any():
        y, k = (cost_matrix.labels.tolist()[i] for i in np.argwhere(free)[0])
        raise ValueError(
            f"decision='min-cost' needs costs in which every mistake costs something; in {name}, "
            f"calling {y!r} by the name {k!r} is free. Pass decision_costs, for instance "
            "CostMatrix(...).with_default(1.0), which fills free mistakes; cost_matrix still says "
            "which mistakes are sensitive."
        )
    return matrix


def _less_diagonal(costs: Any) -> Any:
    """Return what each answer costs more than the right one, if that is a matrix of costs >= 0."""
    array = np.asarray(costs, dtype=np.float64)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or not np.all(array >= 0):
        return costs  # refused, in the words of CostMatrix
    return array - array.diagonal()[:, None]
