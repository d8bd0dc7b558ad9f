"""Cost matrices: which mistake costs how much, tied to the classes by label."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from numbers import Number, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothcs._validation import check_positive

__all__ = ["CostMatrix", "as_cost_matrix"]

# Above this many classes the repr names the sensitive pairs instead of printing the matrix.
_REPR_CLASSES = 4


class CostMatrix:
    """What it costs to call an example of one class by the name of another.

    Entry ``[y, k]`` is the cost of calling a `y` a `k`: rows are true classes, columns predicted
    ones, as in :func:`sklearn.metrics.confusion_matrix`. Costs are finite and >= 0, the diagonal
    is zero. The *sensitive targets* of a class y are Omega_y = {k != y : C[y, k] > 0}; y is a
    *sensitive class* when it has at least one ([Xin25]_ Section 3, [ZE19]_ Section 3.1).

    A cost matrix is immutable and hashable: its arrays are read-only, and copies, pickles and
    :func:`sklearn.clone` give back an equal object. What names labels only (a mapping, or a
    builder such as :meth:`seedwise`) needs no size until it is tied to classes by :meth:`align`,
    which an estimator does in ``fit``.

    Parameters
    ----------
    costs : array of shape (m, m), DataFrame or mapping
        An array needs `classes` to be addressed by label; without them its labels are the
        indices 0..m-1. A DataFrame carries its labels: the index are true classes, the columns
        predicted ones, in any order. A mapping ``{(seed, target): cost}`` costs 0 wherever it
        is silent.
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
    # (kind, what it names, cost): how to fill the matrix once the classes are known.
    _rule: tuple[str, tuple[Any, ...], float | None] | None

    def __init__(self, costs: Any, classes: ArrayLike | None = None) -> None:
        matrix, own_classes, rule = None, None, None
        if isinstance(costs, CostMatrix):
            matrix, own_classes, rule = costs._matrix, costs._classes, costs._rule
        elif isinstance(costs, Mapping):
            items = tuple((_pair(pair), cost) for pair, cost in costs.items())
            rule = ("costs", items, None)
            _check_entries(items)
        elif hasattr(costs, "columns"):
            matrix, own_classes = _from_frame(costs)
        elif classes is not None:
            own_classes = _class_array(classes)
            matrix = _check_matrix(costs, own_classes)
        else:
            matrix = _check_matrix(costs, None)
        self._set_state(matrix, own_classes, rule)
        if classes is not None:
            self.__dict__.update(self.align(classes).__dict__)

    # -- builders -----------------------------------------------------------------------------

    @classmethod
    def uniform(cls, cost: float = 1.0, classes: ArrayLike | None = None) -> CostMatrix:
        """Every mistake costs the same: certified robustness in the ordinary sense.

        Parameters
        ----------
        cost : float > 0, default=1.0
        classes : array-like of shape (m,), default=None
            The classes to tie the matrix to; None leaves that to :meth:`align`.

        Returns
        -------
        CostMatrix

        Examples
        --------
        >>> CostMatrix.uniform(classes=["a", "b"])
        CostMatrix([[0, 1], [1, 0]], classes=['a', 'b'])
        """
        return cls._build("uniform", (), cost, classes)

    @classmethod
    def seedwise(
        cls, seeds: Any, cost: float = 1.0, classes: ArrayLike | None = None
    ) -> CostMatrix:
        """Calling one of `seeds` anything else is costly ("single seed" in [ZE19]).

        Parameters
        ----------
        seeds : label or iterable of labels
            The sensitive classes.
        cost : float > 0, default=1.0
        classes : array-like of shape (m,), default=None
            The classes to tie the matrix to; None leaves that to :meth:`align`.

        Returns
        -------
        CostMatrix

        Examples
        --------
        >>> CostMatrix.seedwise("cat", cost=2, classes=["cat", "dog", "fox"])
        CostMatrix([[0, 2, 2], [0, 0, 0], [0, 0, 0]], classes=['cat', 'dog', 'fox'])
        """
        return cls._build("seedwise", _labels("seeds", seeds), cost, classes)

    @classmethod
    def targetwise(
        cls, targets: Any, cost: float = 1.0, classes: ArrayLike | None = None
    ) -> CostMatrix:
        """Calling anything else one of `targets` is costly ("single target" in [ZE19]).

        Parameters
        ----------
        targets : label or iterable of labels
            The classes that an attacker wants to reach.
        cost : float > 0, default=1.0
        classes : array-like of shape (m,), default=None
            The classes to tie the matrix to; None leaves that to :meth:`align`.

        Returns
        -------
        CostMatrix

        Examples
        --------
        >>> CostMatrix.targetwise(["dog"], classes=["cat", "dog", "fox"])
        CostMatrix([[0, 1, 0], [0, 0, 0], [0, 1, 0]], classes=['cat', 'dog', 'fox'])
        """
        return cls._build("targetwise", _labels("targets", targets), cost, classes)

    @classmethod
    def pairwise(
        cls, pairs: Iterable[Any], cost: float = 1.0, classes: ArrayLike | None = None
    ) -> CostMatrix:
        """Calling the seed of a pair its target is costly ("S-Pair", "M-Pair" in [Xin25]).

        Parameters
        ----------
        pairs : iterable of (seed, target)
            Where each pair has a cost of its own, give ``{(seed, target): cost}`` to
            :class:`CostMatrix` instead.
        cost : float > 0, default=1.0
        classes : array-like of shape (m,), default=None
            The classes to tie the matrix to; None leaves that to :meth:`align`.

        Returns
        -------
        CostMatrix

        Examples
        --------
        >>> CostMatrix.pairwise([("cat", "dog")], classes=["cat", "dog", "fox"])
        CostMatrix([[0, 1, 0], [0, 0, 0], [0, 0, 0]], classes=['cat', 'dog', 'fox'])
        """
        if isinstance(pairs, Mapping):
            raise TypeError(
                "pairs must be an iterable of (seed, target); for a cost per pair give the "
                "mapping itself: CostMatrix({(seed, target): cost})."
            )
        distinct = _unique("pairs", map(_pair, pairs))
        _check_entries([(pair, cost) for pair in distinct])
        return cls._build("pairwise", distinct, cost, classes)

    @classmethod
    def from_function(
        cls, function: Callable[[Any, Any], float], classes: ArrayLike | None = None
    ) -> CostMatrix:
        """The cost is a function of the two labels.

        Parameters
        ----------
        function : callable (seed, target) -> float >= 0
            Called once for every two distinct labels (plain Python values). A lambda cannot be
            pickled by the standard library until the matrix is tied to classes.
        classes : array-like of shape (m,), default=None
            The classes to tie the matrix to; None leaves that to :meth:`align`.

        Returns
        -------
        CostMatrix

        Examples
        --------
        The check forger of [ZE19] Section 4.1 gains by making a digit larger ("small-large",
        (i - j)^2 where j > i):

        >>> def small_large(i, j):
        ...     return (i - j) ** 2 if j > i else 0
        >>> CostMatrix.from_function(small_large, classes=[0, 1, 2])
        CostMatrix([[0, 1, 4], [0, 0, 1], [0, 0, 0]], classes=[0, 1, 2])

        Their CIFAR-10 task: a vehicle called an animal costs 10, called another vehicle 1.

        >>> vehicles = {"car", "ship"}
        >>> def vehicle_animal(seed, target):
        ...     return 0 if seed not in vehicles else 1 if target in vehicles else 10
        >>> CostMatrix.from_function(vehicle_animal, classes=["car", "cat", "ship"])
        CostMatrix([[0, 10, 1], [0, 0, 0], [1, 10, 0]], classes=['car', 'cat', 'ship'])
        """
        if not callable(function):
            raise TypeError(
                f"function must be a callable (seed, target) -> cost; got {function!r}."
            )
        return cls._build("from_function", (function,), None, classes)

    @classmethod
    def small_large(cls, classes: ArrayLike | None = None) -> CostMatrix:
        """Calling a number a larger one costs the square of the gain ([ZE19], Section 4.1).

        Examples
        --------
        >>> CostMatrix.small_large(classes=[0, 1, 2])
        CostMatrix([[0, 1, 4], [0, 0, 1], [0, 0, 0]], classes=[0, 1, 2])
        """
        return cls.from_function(_gain_squared, classes)

    @classmethod
    def large_small(cls, classes: ArrayLike | None = None) -> CostMatrix:
        """Calling a number a smaller one costs the square of the loss ([ZE19], Section 4.1).

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
        """Calling a vehicle an animal costs ``across``, another vehicle ``within`` ([ZE19], 4.2).

        Parameters
        ----------
        vehicles, animals : iterable of labels
            The group that is guarded, and the one it must least be taken for.
        across, within : float, default=10.0, 1.0
            Costs between the groups and inside the first.
        classes : array-like of shape (m,), default=None
            The classes to tie the matrix to; None leaves that to :meth:`align`.

        Examples
        --------
        >>> CostMatrix.vehicle_animal(["car", "ship"], ["cat"], classes=["car", "cat", "ship"])
        CostMatrix([[0, 10, 1], [0, 0, 0], [1, 10, 0]], classes=['car', 'cat', 'ship'])
        """
        seeds, targets = list(vehicles), list(animals)
        costs = {(seed, other): within for seed in seeds for other in seeds if seed != other}
        costs.update({(seed, target): across for seed in seeds for target in targets})
        return cls(costs, classes=classes)

    # -- views --------------------------------------------------------------------------------

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The costs: read-only float64 of shape (m, m), rows true, columns predicted."""
        if self._matrix is None:
            raise ValueError(
                f"{self!r} is not tied to classes yet, so it has no size: call "
                "align(classes), or give classes= when building it."
            )
        return self._matrix

    @property
    def classes(self) -> NDArray[Any] | None:
        """The labels of rows and columns, read-only of shape (m,); None: labels are indices."""
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
            Rows and columns permuted where the matrix has labels of its own; taken to be in the
            order of `classes` where it has none.

        Raises
        ------
        ValueError
            If the sizes differ, or one side has a label that the other lacks.

        Examples
        --------
        >>> CostMatrix.seedwise(["stop"]).align(["limit", "stop"])
        CostMatrix([[0, 0], [1, 0]], classes=['limit', 'stop'])
        """
        array = _class_array(classes)
        labels = array.tolist()
        if self._matrix is None:
            return self._new(_check_matrix(self._fill(labels), array), array)
        if self._classes is None:
            _check_size(self._matrix, labels)
            return self._new(self._matrix, array)
        own = {label: i for i, label in enumerate(self._classes.tolist())}
        known = set(labels)
        unknown = [label for label in own if label not in known]
        missing = [label for label in labels if label not in own]
        if unknown or missing:
            what = f"names the unknown label {unknown[0]!r}" if unknown else "lacks a label"
            raise ValueError(
                f"cost_matrix {what}: its labels are {list(own)}, the classes are {labels}"
                + (f" (missing: {missing})." if missing else ".")
            )
        order = [own[label] for label in labels]
        return self._new(self._matrix[np.ix_(order, order)], array)

    def encode(self, y: ArrayLike) -> NDArray[np.intp]:
        """Turn labels into class indices.

        Parameters
        ----------
        y : array-like of shape (n,)
            Labels. Where the classes are not numbers, integers are taken as class indices; where
            the matrix has no classes, its labels are the indices.

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
        array = _label_array("y", y)
        labels = self._label_list()
        indices = range(self.n_classes)
        if not any(isinstance(label, Number) for label in labels) and _holds_integers(array):
            labels = list(indices)
        position = dict(zip(labels, indices, strict=True))
        codes = [position.get(label, -1) for label in array.tolist()]
        if -1 in codes:
            unseen = array.tolist()[codes.index(-1)]
            raise ValueError(f"y holds the label {unseen!r}, which is none of {labels}.")
        return np.asarray(codes, dtype=np.intp)

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
        labels = np.arange(self.n_classes) if self._classes is None else self._classes
        return labels[self.omega[row]]

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
        cls, kind: str, items: tuple[Any, ...], cost: float | None, classes: ArrayLike | None
    ) -> CostMatrix:
        if cost is not None:
            cost = check_positive("cost", cost)
        built = cls._new(None, None, (kind, items, cost))
        return built if classes is None else built.align(classes)

    @classmethod
    def _new(
        cls,
        matrix: NDArray[np.float64] | None,
        classes: NDArray[Any] | None,
        rule: tuple[str, tuple[Any, ...], float | None] | None = None,
    ) -> CostMatrix:
        new = cls.__new__(cls)
        new._set_state(matrix, classes, rule)
        return new

    def _set_state(self, matrix: Any, classes: Any, rule: Any) -> None:
        self.__dict__.update(_matrix=_frozen(matrix), _classes=_frozen(classes), _rule=rule)

    def _label_list(self) -> list[Any]:
        return list(range(self.n_classes)) if self._classes is None else self._classes.tolist()

    def _with_indices(self, n_classes: int) -> CostMatrix:
        """Tie to `n_classes` classes that have no labels but their indices."""
        if self._matrix is None:
            indices = list(range(n_classes))
            return self._new(_check_matrix(self._fill(indices), None), None)
        if self.n_classes != n_classes:
            raise ValueError(
                f"cost_matrix is {self.n_classes} x {self.n_classes}, "
                f"but there are {n_classes} classes."
            )
        return self

    def _fill(self, labels: Sequence[Any]) -> NDArray[Any]:
        """Apply the rule of a builder or mapping to `labels`."""
        assert self._rule is not None
        kind, items, cost = self._rule
        find = _finder(labels)
        off_diagonal: NDArray[np.bool_] = np.eye(len(labels)) == 0
        if kind == "costs":
            return _fill_entries(items, labels)
        if kind == "pairwise":
            return _fill_entries([(pair, cost) for pair in items], labels)
        given = object if kind == "from_function" else np.float64
        matrix = np.zeros((len(labels), len(labels)), dtype=given)
        if kind == "uniform":
            matrix[off_diagonal] = cost
        elif kind == "seedwise":
            matrix[[find(label) for label in items], :] = cost
            matrix[~off_diagonal] = 0.0
        elif kind == "targetwise":
            matrix[:, [find(label) for label in items]] = cost
            matrix[~off_diagonal] = 0.0
        else:
            for i, j in zip(*np.nonzero(off_diagonal), strict=True):
                matrix[i, j] = items[0](labels[i], labels[j])
        return matrix

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"CostMatrix is immutable; cannot set {name!r}. Build a new one.")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"CostMatrix is immutable; cannot delete {name!r}.")

    def __copy__(self) -> CostMatrix:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> CostMatrix:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Unpickled arrays are writeable again.
        self._set_state(state["_matrix"], state["_classes"], state["_rule"])

    def _key(self) -> tuple[Hashable, ...]:
        if self._matrix is None:
            assert self._rule is not None
            kind, items, cost = self._rule
            return kind, frozenset(items), cost
        labels = None if self._classes is None else tuple(self._classes.tolist())
        return self._matrix.shape, self._matrix.tobytes(), labels

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CostMatrix) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        if self._matrix is None:
            assert self._rule is not None
            kind, items, cost = self._rule
            if kind == "costs":
                return "CostMatrix({" + ", ".join(f"{p!r}: {c!r}" for p, c in items) + "})"
            if kind == "from_function":
                return f"CostMatrix.from_function({getattr(items[0], '__name__', items[0])})"
            named = f"{list(items)}, " if kind != "uniform" else ""
            return f"CostMatrix.{kind}({named}cost={cost:g})"
        labels = self._label_list()
        if len(labels) <= _REPR_CLASSES:
            rows = ", ".join("[" + ", ".join(f"{c:.6g}" for c in row) + "]" for row in self._matrix)
            tail = "" if self._classes is None else f", classes={labels}"
            return f"CostMatrix([{rows}]{tail})"
        seeds = [labels[i] for i in np.flatnonzero(np.any(self.omega, axis=1))]
        return (
            f"<CostMatrix of {len(labels)} classes {_shorten(labels)}: "
            f"{np.count_nonzero(self._matrix)} costly mistakes, total cost "
            f"{self._matrix.sum():.6g}, {len(seeds)} sensitive classes {_shorten(seeds)}>"
        )


def as_cost_matrix(
    cost_matrix: Any, classes: ArrayLike | None = None, n_classes: int | None = None
) -> CostMatrix:
    """Read whatever a `cost_matrix` parameter accepts.

    Parameters
    ----------
    cost_matrix : None, array, DataFrame, mapping or CostMatrix
        None: every mistake costs 1.
    classes : array-like of shape (m,), default=None
        Labels to tie the matrix to, in this order.
    n_classes : int, default=None
        The number of classes, where they have no labels but their indices.

    Returns
    -------
    CostMatrix
        Tied to `classes`, else to `n_classes` classes (a matrix with labels of its own keeps
        them), else as given.

    Raises
    ------
    ValueError
        As :class:`CostMatrix` and :meth:`CostMatrix.align`; or if `classes` and `n_classes`
        disagree.

    Examples
    --------
    >>> from smoothcs.cost import as_cost_matrix
    >>> as_cost_matrix(None, n_classes=2)
    CostMatrix([[0, 1], [1, 0]])
    """
    if cost_matrix is None:
        cost = CostMatrix.uniform()
    elif isinstance(cost_matrix, CostMatrix):
        cost = cost_matrix
    else:
        cost = CostMatrix(cost_matrix)
    if classes is not None:
        cost = cost.align(classes)
    return cost if n_classes is None else cost._with_indices(n_classes)


# -- labels -----------------------------------------------------------------------------------


def _plain(label: Any) -> Any:
    """A numpy scalar as the Python value it equals."""
    return label.item() if isinstance(label, np.generic) else label


def _label_array(name: str, values: Any) -> NDArray[Any]:
    """A 1-D array of labels, without numpy's coercions (``[1, "a"]`` keeps its integer)."""
    if isinstance(values, str | bytes | Mapping | AbstractSet) or not (
        hasattr(values, "__array__") or isinstance(values, Iterable)
    ):
        raise TypeError(f"{name} must be a 1-D array of labels; got {values!r}.")
    if hasattr(values, "__array__"):
        array = np.asarray(values)
    else:
        plain = [_plain(value) for value in values]
        try:
            array = np.asarray(plain)
        except ValueError:  # ragged
            raise ValueError(f"{name} must be a 1-D array of labels; got {plain!r}.") from None
        if array.ndim == 1 and array.tolist() != plain:
            array = np.empty(len(plain), dtype=object)
            array[:] = plain
    if array.ndim != 1:
        raise ValueError(f"{name} must be a 1-D array of labels; got shape {array.shape}.")
    return array


def _class_array(classes: Any) -> NDArray[Any]:
    array = _label_array("classes", classes)
    if array.size == 0:
        raise ValueError("classes must hold at least one label; got none.")
    _unique("classes", array.tolist())
    return array


def _unique(name: str, labels: Iterable[Any]) -> tuple[Any, ...]:
    seen: dict[Any, None] = {}
    for label in labels:
        if label != label:
            raise ValueError(f"{name} must not hold nan: it equals no label.")
        if label in seen:
            raise ValueError(f"{name} gives {label!r} twice.")
        seen[label] = None
    return tuple(seen)


def _labels(name: str, labels: Any) -> tuple[Any, ...]:
    """One label or several, as a tuple of distinct ones."""
    if isinstance(labels, str | bytes) or not isinstance(labels, Iterable):
        labels = [labels]
    unique = _unique(name, map(_plain, labels))
    if not unique:
        raise ValueError(f"{name} must name at least one class; got none.")
    return unique


def _pair(pair: Any) -> tuple[Any, Any]:
    # A string of two letters would unpack too, and a set in any order.
    if isinstance(pair, tuple | list | np.ndarray) and len(pair) == 2:
        seed, target = map(_plain, pair)
        return seed, target
    raise ValueError(f"every pair must be (seed, target); got {pair!r}.")


def _finder(labels: Sequence[Any]) -> Callable[[Any], int]:
    """A function from a label to its position in `labels` that refuses unknown ones."""
    position = {label: i for i, label in enumerate(labels)}

    def find(label: Any) -> int:
        if label not in position:
            raise ValueError(
                f"cost_matrix names the unknown label {label!r}; the classes are {list(labels)}."
            )
        return position[label]

    return find


def _shorten(labels: list[Any]) -> str:
    if len(labels) <= 12:
        return str(labels)
    return f"[{', '.join(map(repr, labels[:3]))}, ..., {labels[-1]!r}]"


def _holds_integers(array: NDArray[Any]) -> bool:
    if array.dtype != object:
        return array.dtype.kind in "iu"
    return all(isinstance(x, int | np.integer) and not isinstance(x, bool) for x in array)


# -- costs ------------------------------------------------------------------------------------


def _frozen(array: NDArray[Any] | None) -> NDArray[Any] | None:
    """A private read-only copy."""
    if array is not None:
        array = array.copy()
        array.flags.writeable = False
    return array


def _fill_entries(entries: Iterable[Any], labels: Sequence[Any]) -> NDArray[Any]:
    """The matrix of the entries ((seed, target), cost); 0 where they are silent."""
    find = _finder(labels)
    matrix = np.zeros((len(labels), len(labels)), dtype=object)
    for (seed, target), cost in entries:
        matrix[find(seed), find(target)] = cost
    return matrix


def _check_entries(entries: Sequence[Any]) -> None:
    """Refuse a bad cost when it is given, not when the classes become known."""
    labels = list(dict.fromkeys(label for pair, _ in entries for label in pair))
    if not labels:
        raise ValueError("cost_matrix must name at least one (seed, target) pair; got none.")
    _check_matrix(_fill_entries(entries, labels), _class_array(labels))


def _check_size(matrix: NDArray[Any], labels: Sequence[Any]) -> None:
    if len(matrix) != len(labels):
        raise ValueError(
            f"cost_matrix is {len(matrix)} x {len(matrix)}, but there are {len(labels)} "
            f"classes: {labels}."
        )


def _check_matrix(costs: Any, classes: NDArray[Any] | None) -> NDArray[np.float64]:
    """Return `costs` as float64 (m, m), or raise naming the first bad entry."""
    try:
        array = np.asarray(costs)
    except ValueError:
        raise ValueError("cost_matrix must be square; got rows of different lengths.") from None
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.size == 0:
        raise ValueError(
            "cost_matrix must be a square array (rows true, columns predicted classes); "
            f"got shape {array.shape}."
        )
    labels = list(range(len(array))) if classes is None else classes.tolist()
    _check_size(array, labels)

    def refuse(error: type[Exception], bad: NDArray[np.bool_], allowed: str) -> None:
        if bad.any():
            i, j = np.argwhere(bad)[0]
            raise error(
                f"cost_matrix entry (seed {labels[i]!r}, target {labels[j]!r}) is "
                f"{_plain(array[i, j])!r}; {allowed}."
            )

    if array.dtype == object:
        is_number = np.frompyfunc(lambda entry: isinstance(entry, Real), 1, 1)
        refuse(TypeError, ~is_number(array).astype(bool), "every cost must be a number")
    elif array.dtype.kind not in "buif":
        refuse(TypeError, np.ones(array.shape, dtype=bool), "every cost must be a number")
    matrix = array.astype(np.float64)
    refuse(ValueError, ~np.isfinite(matrix), "costs must be finite")
    refuse(ValueError, matrix < 0, "costs must be >= 0")
    diagonal = np.eye(len(matrix), dtype=bool)
    refuse(ValueError, diagonal & (matrix != 0), "the diagonal (a correct prediction) must cost 0")
    return matrix + 0.0  # -0.0 would hash differently


def _from_frame(frame: Any) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Matrix and labels of a DataFrame whose columns may stand in another order than its index."""
    if not hasattr(frame, "index") or not hasattr(frame, "to_numpy"):
        raise TypeError(
            f"cost_matrix of type {type(frame).__name__} has column names but no row labels; "
            "give an array and its classes instead: CostMatrix(array, classes=...)."
        )
    rows = _unique("the index of cost_matrix", map(_plain, frame.index))
    columns = _unique("the columns of cost_matrix", map(_plain, frame.columns))
    if len(rows) != len(columns):
        raise ValueError(f"cost_matrix must be square; got shape {(len(rows), len(columns))}.")
    for label in columns:
        if label not in rows:
            raise ValueError(
                f"cost_matrix has the column {label!r}, an unknown label: its index is "
                f"{list(rows)}."
            )
    order = [columns.index(label) for label in rows]
    classes = _class_array(list(rows))
    return _check_matrix(frame.to_numpy()[:, order], classes), classes


# Functions of the module, so that matrices which are not tied to classes yet can be pickled.
def _gain_squared(seed: float, target: float) -> float:
    return (target - seed) ** 2 if target > seed else 0.0


def _loss_squared(seed: float, target: float) -> float:
    return (target - seed) ** 2 if target < seed else 0.0
