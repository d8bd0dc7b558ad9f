"""Cost matrices: how much each mistake costs, tied to the classes by label."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import partial
from numbers import Number
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothcs._costs import (
    check_matrix,
    check_size,
    example_costs,
    frozen,
    read_frame,
    read_pair,
    refuse_nested,
)
from smoothcs._labels import (
    class_array,
    distinct,
    holds_integers,
    label_array,
    one_or_several,
    positions,
    shorten,
    unknown_label,
)
from smoothcs._validation import check_positive

__all__ = ["CostMatrix", "as_cost_matrix", "example_costs"]

# For more classes than this, the repr summarises the costs instead of printing the matrix.
_REPR_CLASSES = 4


class CostMatrix:
    """The costs of calling an example of one class by the name of another.

    Entry ``[y, k]`` is the cost of calling a `y` a `k`: rows are true classes, columns predicted
    ones, as in :func:`sklearn.metrics.confusion_matrix`. Costs are finite and >= 0, the diagonal
    is zero. The *sensitive targets* of a class y are Omega_y = {k != y : C[y, k] > 0}; y is a
    *sensitive class* when it has at least one ([Xin25]_ Section 3, [ZE19]_ Section 3.1).

    A cost matrix is immutable and hashable: its arrays are read-only, and copies, pickles and
    :func:`sklearn.clone` give an equal object. One that only names labels (from a mapping, or from
    a builder such as :meth:`seedwise`) has no size until :meth:`align` ties it to classes, which an
    estimator does in ``fit``.

    Parameters
    ----------
    costs : array of shape (m, m), DataFrame or mapping
        An array needs `classes` to be addressed by label; without them its labels are the
        indices 0..m-1. A DataFrame carries its labels: true classes in the index, predicted ones
        in the columns, in any order. A pair that a mapping ``{(seed, target): cost}`` leaves
        out costs 0.
    classes : array-like of shape (m,), default=None
        Labels of the rows and columns, in order: strings, integers, floats or booleans.

    Raises
    ------
    ValueError
        If `costs` is not square, has another size than `classes`, holds a negative, nan or
        infinite entry or a non-zero diagonal, or if a label is unknown or given twice.
        The message names the entry.
    TypeError
        If `costs` holds something other than numbers.

    References
    ----------
    .. [Xin25] Xin, Chen, Backes, Zhang. Provably Cost-Sensitive Adversarial Defense via
       Randomized Smoothing. ICML 2025.
    .. [ZE19] Zhang, Evans. Cost-Sensitive Robustness against Adversarial Examples. ICLR 2019.

    Examples
    --------
    A malignant lesion called benign costs 10, the reverse 1.

    >>> from smoothcs.cost import CostMatrix
    >>> cost = CostMatrix([[0, 1], [10, 0]], classes=["benign", "malignant"])
    >>> cost.align(["malignant", "benign"]).matrix
    array([[ 0., 10.],
           [ 1.,  0.]])
    >>> CostMatrix({("malignant", "benign"): 10}).align(["benign", "malignant"])
    CostMatrix([[0, 0], [10, 0]], classes=['benign', 'malignant'])
    """

    # Without this, `array == cost` would compare element by element instead of giving False.
    __array_ufunc__ = None

    _matrix: NDArray[np.float64] | None
    _classes: NDArray[Any] | None
    _named: _NamedCosts | None  # how to fill the matrix once the classes are known

    def __init__(self, costs: Any, classes: ArrayLike | None = None) -> None:
        matrix, own_classes, named = None, None, None
        if isinstance(costs, CostMatrix):
            matrix, own_classes, named = costs._matrix, costs._classes, costs._named
        elif isinstance(costs, _NamedCosts):
            named = costs
        elif isinstance(costs, Mapping):
            refuse_nested(costs)
            items = [(read_pair(pair), cost) for pair, cost in costs.items()]
            arguments = "{" + ", ".join(f"{pair!r}: {cost!r}" for pair, cost in items) + "}"
            named = _read_entries("", arguments, [((y,), (k,), cost) for (y, k), cost in items])
        elif hasattr(costs, "columns"):
            matrix, own_classes = read_frame(costs)
        else:
            own_classes = None if classes is None else class_array(classes)
            matrix = check_matrix(costs, own_classes)
        self._set_state(matrix, own_classes, named)
        if classes is not None:
            self.__dict__.update(self.align(classes).__dict__)

    # -- builders -----------------------------------------------------------------------------

    @classmethod
    def uniform(cls, cost: float = 1.0, classes: ArrayLike | None = None) -> CostMatrix:
        """Every mistake costs the same, as in ordinary certified robustness.

        Parameters
        ----------
        cost : float > 0, default=1.0
        classes : array-like of shape (m,), default=None
            The classes to tie the matrix to. If None, :meth:`align` does so later.

        Returns
        -------
        CostMatrix

        Examples
        --------
        >>> CostMatrix.uniform(classes=["a", "b"])
        CostMatrix([[0, 1], [1, 0]], classes=['a', 'b'])
        """
        return cls._build("uniform", (), [((), ())], cost, classes)

    @classmethod
    def seedwise(
        cls, seeds: Any, cost: float = 1.0, classes: ArrayLike | None = None
    ) -> CostMatrix:
        """Calling one of `seeds` anything else is costly ("single seed" in [ZE19]).

        Parameters
        ----------
        seeds : label or iterable of labels
            The sensitive classes.
        cost, classes
            As in :meth:`uniform`.

        Examples
        --------
        >>> CostMatrix.seedwise("cat", cost=2, classes=["cat", "dog", "fox"])
        CostMatrix([[0, 2, 2], [0, 0, 0], [0, 0, 0]], classes=['cat', 'dog', 'fox'])
        """
        labels = one_or_several("seeds", seeds)
        return cls._build("seedwise", labels, [((y,), ()) for y in labels], cost, classes)

    @classmethod
    def targetwise(
        cls, targets: Any, cost: float = 1.0, classes: ArrayLike | None = None
    ) -> CostMatrix:
        """Calling anything else one of `targets` is costly ("single target" in [ZE19]).

        Parameters
        ----------
        targets : label or iterable of labels
            The classes that an attacker wants to reach.
        cost, classes
            As in :meth:`uniform`.

        Examples
        --------
        >>> CostMatrix.targetwise(["dog"], classes=["cat", "dog", "fox"])
        CostMatrix([[0, 1, 0], [0, 0, 0], [0, 1, 0]], classes=['cat', 'dog', 'fox'])
        """
        labels = one_or_several("targets", targets)
        return cls._build("targetwise", labels, [((), (k,)) for k in labels], cost, classes)

    @classmethod
    def pairwise(
        cls, pairs: Iterable[Any], cost: float = 1.0, classes: ArrayLike | None = None
    ) -> CostMatrix:
        """Calling the seed of a pair by its target is costly ("S-Pair", "M-Pair" in [Xin25]).

        Parameters
        ----------
        pairs : iterable of (seed, target)
            If each pair has its own cost, pass ``{(seed, target): cost}`` to :class:`CostMatrix`
            instead.
        cost, classes
            As in :meth:`uniform`.

        Examples
        --------
        >>> CostMatrix.pairwise([("cat", "dog")], classes=["cat", "dog", "fox"])
        CostMatrix([[0, 1, 0], [0, 0, 0], [0, 0, 0]], classes=['cat', 'dog', 'fox'])
        """
        if isinstance(pairs, Mapping):
            raise TypeError(
                "pairs must be an iterable of (seed, target); for a cost per pair, pass the "
                "mapping itself: CostMatrix({(seed, target): cost})."
            )
        named = distinct("pairs", map(read_pair, pairs))
        return cls._build("pairwise", named, [((y,), (k,)) for y, k in named], cost, classes)

    @classmethod
    def from_function(
        cls, function: Callable[[Any, Any], float], classes: ArrayLike | None = None
    ) -> CostMatrix:
        """The cost is a function of the two labels.

        Parameters
        ----------
        function : callable (seed, target) -> float >= 0
            Called once for every two distinct labels (plain Python values). With a lambda, the
            matrix can be pickled only once it is tied to classes.
        classes
            As in :meth:`uniform`.

        Examples
        --------
        >>> CostMatrix.from_function(lambda i, j: (i - j) ** 2, classes=[0, 1, 2])
        CostMatrix([[0, 1, 4], [1, 0, 1], [4, 1, 0]], classes=[0, 1, 2])
        """
        if not callable(function):
            raise TypeError(
                f"function must be a callable (seed, target) -> cost; got {function!r}."
            )
        name = str(getattr(function, "__name__", function))
        return cls(_NamedCosts(".from_function", name, function), classes)

    @classmethod
    def small_large(cls, classes: ArrayLike | None = None) -> CostMatrix:
        """Calling a number a larger one costs the squared difference ([ZE19], Section 4.1).

        Examples
        --------
        >>> CostMatrix.small_large(classes=[0, 1, 2])
        CostMatrix([[0, 1, 4], [0, 0, 1], [0, 0, 0]], classes=[0, 1, 2])
        """
        return cls.from_function(_gain_squared, classes)

    @classmethod
    def large_small(cls, classes: ArrayLike | None = None) -> CostMatrix:
        """Calling a number a smaller one costs the squared difference ([ZE19], Section 4.1).

        Examples
        --------
        >>> CostMatrix.large_small(classes=[0, 1, 2])
        CostMatrix([[0, 0, 0], [1, 0, 0], [4, 1, 0]], classes=[0, 1, 2])
        """
        return cls.from_function(_loss_squared, classes)

    @classmethod
    def vehicle_animal(
        cls,
        vehicles: Iterable[Any],
        animals: Iterable[Any],
        across: float = 10.0,
        within: float = 1.0,
        classes: ArrayLike | None = None,
    ) -> CostMatrix:
        """Calling a vehicle an animal costs `across`, another vehicle `within` ([ZE19], 4.2).

        Parameters
        ----------
        vehicles, animals : iterable of labels
            The group to protect, and the one that its members must not be called.
        across, within : float, default=10.0, 1.0
            Costs between the two groups, and within the first.
        classes
            As in :meth:`uniform`.

        Examples
        --------
        >>> CostMatrix.vehicle_animal(["car", "ship"], ["cat"], classes=["car", "cat", "ship"])
        CostMatrix([[0, 10, 1], [0, 0, 0], [1, 10, 0]], classes=['car', 'cat', 'ship'])
        """
        seeds, targets = list(vehicles), list(animals)
        costs = {(seed, other): within for seed in seeds for other in seeds if seed != other}
        costs.update({(seed, target): across for seed in seeds for target in targets})
        return cls(costs, classes=classes)

    def with_default(self, cost: float) -> CostMatrix:
        """The same costs, and `cost` for every mistake that is free.

        ``decision="min-cost"`` can then decide by them.

        Parameters
        ----------
        cost : float > 0

        Returns
        -------
        CostMatrix

        Examples
        --------
        >>> cost = CostMatrix({(1, 0): 10}, classes=[0, 1])
        >>> cost.with_default(1)
        CostMatrix([[0, 1], [10, 0]], classes=[0, 1])
        """
        cost = check_positive("cost", cost)
        if self._named is None:
            free = (self.matrix == 0) & ~np.eye(self.n_classes, dtype=bool)
            return self._new(np.where(free, cost, self.matrix), self._classes)
        builder, arguments, costs = self._named
        more = f"{arguments}).with_default({cost:g}"
        if callable(costs):
            return type(self)(_NamedCosts(builder, more, partial(_or_default, costs, cost)))
        kept = tuple(entry for entry in costs if entry[2] > 0)
        return type(self)(_NamedCosts(builder, more, (((), (), cost), *kept)))

    # -- views --------------------------------------------------------------------------------

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The costs: read-only float64 of shape (m, m), rows true, columns predicted."""
        if self._matrix is None:
            raise ValueError(
                f"{self!r} is not tied to classes yet, so it has no size: call "
                "align(classes), or pass classes= when building it."
            )
        return self._matrix

    @property
    def classes(self) -> NDArray[Any] | None:
        """The labels of rows and columns, read-only of shape (m,); None if they are indices."""
        return self._classes

    @property
    def labels(self) -> NDArray[Any]:
        """The labels of rows and columns, (m,): the indices where it has no classes."""
        return np.arange(self.n_classes) if self._classes is None else self._classes

    @property
    def n_classes(self) -> int:
        """The number m of classes."""
        return len(self.matrix)

    @property
    def omega(self) -> NDArray[np.bool_]:
        """The sensitive targets of every class: bool of shape (m, m), True where cost > 0."""
        sensitive: NDArray[np.bool_] = self.matrix > 0
        return sensitive

    # -- use ----------------------------------------------------------------------------------

    def align(self, classes: ArrayLike) -> CostMatrix:
        """Tie the matrix to exactly these classes, in this order.

        Parameters
        ----------
        classes : array-like of shape (m,)
            Distinct labels, for instance ``estimator.classes_``.

        Returns
        -------
        CostMatrix
            Rows and columns are permuted if the matrix has labels; otherwise they are taken to be
            in the order of `classes`.

        Raises
        ------
        ValueError
            If the sizes differ, or one side has a label that the other lacks.

        Examples
        --------
        >>> CostMatrix.seedwise(["stop"]).align(["limit", "stop"])
        CostMatrix([[0, 0], [1, 0]], classes=['limit', 'stop'])
        """
        array = class_array(classes)
        labels = array.tolist()
        if self._named is not None:
            return self._new(self._named.filled(array), array)
        assert self._matrix is not None
        if self._classes is None:
            check_size(self._matrix, labels)
            return self._new(self._matrix, array)
        own = self._classes.tolist()
        order = positions(labels, own)
        unknown = [own[i] for i in np.flatnonzero(positions(own, labels) < 0)]
        missing = [labels[i] for i in np.flatnonzero(order < 0)]
        if unknown or missing:
            what = "cost_matrix lacks a label."
            if unknown:
                what = unknown_label("cost_matrix", unknown[0], labels)
            raise ValueError(
                f"{what} The labels of cost_matrix are {own}, the classes {labels}"
                + (f" (missing: {missing})." if missing else ".")
            )
        return self._new(self._matrix[np.ix_(order, order)], array)

    def encode(self, y: ArrayLike) -> NDArray[np.intp]:
        """Turn labels into class indices.

        Parameters
        ----------
        y : array-like of shape (n,)
            Labels. If the classes are not numbers, integers are taken as class indices; if the
            matrix has no classes, its labels are the indices.

        Returns
        -------
        ndarray of shape (n,), intp

        Raises
        ------
        ValueError
            If `y` holds a label that is none of the classes.

        Examples
        --------
        >>> cost = CostMatrix([[0, 1], [5, 0]], classes=["benign", "malignant"])
        >>> cost.encode(["malignant", "benign"])
        array([1, 0])
        >>> cost.encode([1, 0])
        array([1, 0])
        """
        array = label_array("y", y)
        labels = self.labels.tolist()
        if not any(isinstance(label, Number) for label in labels) and holds_integers(array):
            labels = list(range(self.n_classes))
        codes = positions(array.tolist(), labels)
        if (codes < 0).any():
            unseen = array.tolist()[np.argmin(codes)]
            raise ValueError(f"y holds the label {unseen!r}, which is none of {labels}.")
        return codes.astype(np.intp)

    def sensitive_targets(self, y: Any) -> NDArray[Any]:
        """Omega_y: the labels that an example of class `y` must not be given.

        Parameters
        ----------
        y : label

        Returns
        -------
        ndarray of labels (of class indices where the matrix has no classes)

        Examples
        --------
        >>> cost = CostMatrix.pairwise([(3, 5), (3, 2)], classes=range(10))
        >>> cost.sensitive_targets(3)
        array([2, 5])
        """
        (row,) = self.encode([y])
        return self.labels[self.omega[row]]

    def sensitive_mask(self, y: ArrayLike) -> NDArray[np.bool_]:
        """Which examples belong to a sensitive class.

        Parameters
        ----------
        y : array-like of shape (n,)
            Labels, read as in :meth:`encode`.

        Returns
        -------
        ndarray of shape (n,), bool

        Examples
        --------
        >>> CostMatrix.seedwise([8], classes=range(10)).sensitive_mask([8, 1, 8])
        array([ True, False,  True])
        """
        by_class: NDArray[np.bool_] = np.any(self.omega, axis=1)
        return by_class[self.encode(y)]

    # -- the object itself --------------------------------------------------------------------

    @classmethod
    def _build(
        cls,
        builder: str,
        named: tuple[Any, ...],
        where: Iterable[tuple[tuple[Any, ...], tuple[Any, ...]]],
        cost: float,
        classes: ArrayLike | None,
    ) -> CostMatrix:
        cost = check_positive("cost", cost)
        arguments = f"{list(named)}, cost={cost:g}" if named else f"cost={cost:g}"
        entries = [(seed, target, cost) for seed, target in where]
        return cls(_read_entries(f".{builder}", arguments, entries), classes)

    @classmethod
    def _new(cls, matrix: NDArray[np.float64], classes: NDArray[Any] | None) -> CostMatrix:
        new = cls.__new__(cls)
        new._set_state(matrix, classes, None)
        return new

    def _set_state(self, matrix: Any, classes: Any, named: Any) -> None:
        self.__dict__.update(_matrix=frozen(matrix), _classes=frozen(classes), _named=named)

    def _with_indices(self, n_classes: int) -> CostMatrix:
        """Tie to `n_classes` classes whose only labels are their indices."""
        if self._named is not None:
            return self._new(self._named.filled(np.arange(n_classes)), None)
        check_size(self.matrix, range(n_classes))
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"CostMatrix is immutable; cannot set {name!r}. Build a new one.")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"CostMatrix is immutable; cannot delete {name!r}.")

    def __copy__(self) -> CostMatrix:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> CostMatrix:
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Unpickled arrays are writeable again.
        self._set_state(state["_matrix"], state["_classes"], state["_named"])

    def _key(self) -> tuple[Hashable, ...]:
        if self._named is not None:
            return self._named.key()
        assert self._matrix is not None
        labels = None if self._classes is None else tuple(self._classes.tolist())
        return self._matrix.shape, self._matrix.tobytes(), labels

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CostMatrix) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        if self._named is not None:
            return f"CostMatrix{self._named.builder}({self._named.arguments})"
        assert self._matrix is not None
        labels = self.labels.tolist()
        if len(labels) <= _REPR_CLASSES:
            rows = ", ".join("[" + ", ".join(f"{c:.6g}" for c in row) + "]" for row in self._matrix)
            tail = "" if self._classes is None else f", classes={labels}"
            return f"CostMatrix([{rows}]{tail})"
        seeds = [labels[i] for i in np.flatnonzero(np.any(self.omega, axis=1))]
        return (
            f"<CostMatrix of {len(labels)} classes {shorten(labels)}: "
            f"{np.count_nonzero(self._matrix)} costly mistakes, total cost "
            f"{self._matrix.sum():.6g}, {len(seeds)} sensitive classes {shorten(seeds)}>"
        )


def as_cost_matrix(
    cost_matrix: Any, classes: ArrayLike | None = None, n_classes: int | None = None
) -> CostMatrix:
    """Read whatever a `cost_matrix` parameter accepts.

    Parameters
    ----------
    cost_matrix : None, array, DataFrame, mapping or CostMatrix
        If None, every mistake costs 1.
    classes : array-like of shape (m,), default=None
        Labels to tie the matrix to, in this order.
    n_classes : int, default=None
        The number of classes, if indices are their only labels.

    Returns
    -------
    CostMatrix
        Tied to `classes`, else to `n_classes` classes (a matrix with labels keeps them), else as
        given.

    Raises
    ------
    ValueError
        As for :class:`CostMatrix` and :meth:`CostMatrix.align`, or if `classes` and `n_classes`
        disagree.

    Examples
    --------
    >>> from smoothcs.cost import as_cost_matrix
    >>> as_cost_matrix(None, n_classes=2)
    CostMatrix([[0, 1], [1, 0]])
    """
    cost = CostMatrix.uniform() if cost_matrix is None else cost_matrix
    if not isinstance(cost, CostMatrix):
        cost = CostMatrix(cost)
    if classes is not None:
        cost = cost.align(classes)
    return cost if n_classes is None else cost._with_indices(n_classes)


# -- costs by label ---------------------------------------------------------------------------

# (seed, target, cost), where seed and target are (label,) for one label and () for every one.
_Entry = tuple[tuple[Any, ...], tuple[Any, ...], Any]


class _NamedCosts(NamedTuple):
    """Costs that a mapping or a builder gives by label: a matrix for any classes."""

    builder: str
    arguments: str  # as the repr writes them
    costs: tuple[_Entry, ...] | Callable[[Any, Any], Any]

    def key(self) -> tuple[Hashable, ...]:
        return self.builder, self.costs if callable(self.costs) else frozenset(self.costs)

    def filled(self, classes: NDArray[Any]) -> NDArray[np.float64]:
        labels = classes.tolist()
        diagonal = np.eye(len(labels), dtype=bool)
        if callable(self.costs):
            matrix = np.zeros(diagonal.shape, dtype=object)
            for i, j in np.argwhere(~diagonal):
                matrix[i, j] = self.costs(labels[i], labels[j])
            return check_matrix(matrix, classes)
        floats = all(isinstance(cost, float) for _, _, cost in self.costs)
        matrix = np.zeros(diagonal.shape, dtype=np.float64 if floats else object)
        index = {label: i for i, label in enumerate(labels)}
        for seed, target, cost in self.costs:
            for label in (*seed, *target):
                if label not in index:
                    raise ValueError(unknown_label("cost_matrix", label, labels))
            row, column = (index[one[0]] if one else slice(None) for one in (seed, target))
            matrix[row, column] = cost
            if not (seed and target):
                matrix[diagonal] = 0.0
        return check_matrix(matrix, classes)


def _read_entries(builder: str, arguments: str, entries: list[_Entry]) -> _NamedCosts:
    """Refuse a bad cost when it is given, not when the classes become known."""
    if not entries:
        raise ValueError("cost_matrix must name at least one (seed, target) pair; got none.")
    named = _NamedCosts(builder, arguments, tuple(entries))
    labels = dict.fromkeys(label for seed, target, _ in entries for label in (*seed, *target))
    if labels:
        named.filled(class_array(tuple(labels)))
    return named


# Functions of the module, so that matrices which are not tied to classes yet can be pickled.
def _gain_squared(seed: float, target: float) -> float:
    return (target - seed) ** 2 if target > seed else 0.0


def _loss_squared(seed: float, target: float) -> float:
    return (target - seed) ** 2 if target < seed else 0.0


def _or_default(
    function: Callable[[Any, Any], float], default: float, seed: Any, target: Any
) -> float:
    return function(seed, target) or default
