"""Intervals of certified metrics where inputs come in groups, by bootstrap over the groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, stdtrit

from smoothcs._labels import label_array, positions
from smoothcs._metrics.checks import checked_weights
from smoothcs._validation import Floats, check_choice, check_integer, check_probability
from smoothcs.bounds.binomial import clopper_pearson_lower
from smoothcs.cost import CostMatrix

SHARES = (
    "rob_cs",
    "rob_cs_standard",
    "certified_accuracy",
    "accuracy",
    "rob_standard_nonsensitive",
    "abstention_rate",
)
SAVINGS = ("savings", "clean_savings")
MEANS = ("rob_cost", "misclassification_cost", "mean_bill", *SAVINGS)
# What must have been decided, as the attribute that is None if it was not.
_NEEDS = {
    "rob_cs": "certified_group",
    "rob_cs_standard": "certified_standard",
    "certified_accuracy": "certified_standard",
    "rob_standard_nonsensitive": "certified_standard",
    "rob_cost": "certified_pair",
    "mean_bill": "certified_pair",
    "savings": "certified_pair",
}
_FLOATS_AT_ONCE = 2**22


class GroupIntervals:
    """Mixin: intervals of the metrics of :class:`CertifiedMetrics`."""

    label: NDArray[Any]
    cost_matrix: CostMatrix
    costs: NDArray[np.float64] | None
    _at: Callable[..., Any]
    _abstained: Callable[[], NDArray[np.bool_]]
    _truth: Callable[[str], NDArray[Any]]
    _apart: Callable[[], str]
    worst_cost: Callable[..., Floats]

    def intervals(
        self,
        eps: Any = None,
        *,
        groups: ArrayLike | None = None,
        names: Iterable[str] | None = None,
        confidence: float = 0.95,
        n_resamples: int = 2000,
        sample_weight: ArrayLike | None = None,
        random_state: int = 0,
    ) -> dict[str, tuple[Any, Any]]:
        """Return an interval of each metric, by bootstrap over groups of inputs.

        Images of one patient, or frames of one sign, tell less than as many images of different
        ones. Groups are drawn with replacement, each with all its inputs.

        Parameters
        ----------
        eps : float, default=None
            Radius of the attack, as for the metrics; certificates with radii take an array of k.
        groups : array-like (n,), default=None
            To whom or what each input belongs, as labels of any kind; at least two. If None, each
            input is a group.
        names : iterable of str, default=None
            Which metrics, by their names in a report: shares, ``rob_cost``,
            ``misclassification_cost``, ``mean_bill``, ``savings`` and ``clean_savings``. If None,
            all that can be computed.
        confidence : float, default=0.95
            Of each interval by itself, in (0, 1).
        n_resamples : int, default=2000
            Bootstrap samples.
        sample_weight : array-like (n,), default=None
            Weights of the inputs in the metrics.
        random_state : int, default=0
            Seeds the bootstrap.

        Returns
        -------
        intervals : dict of str to (lower, upper)
            Floats, or arrays (k,).

        Notes
        -----
        The limits are percentiles of the bootstrap at the level that makes the interval of a mean
        of G normal values right ([Hesterberg15]_, "expanded percentile"): a little wider than plain
        percentiles where groups are few. They are approximate, and rely on some 20 groups or more;
        a metric over sensitive inputs needs as many groups with sensitive inputs, and is nan if
        there is only one. A share of 0 or 1 in all groups is bounded as if each group were one
        trial. The failure probability ``alpha`` of certificates is not included.

        References
        ----------
        .. [Hesterberg15] Hesterberg, "What teachers should know about the bootstrap", The American
           Statistician 69, 2015.

        Examples
        --------
        >>> from smoothcs import certify_votes
        >>> c = certify_votes([[9, 1]] * 6, [[950, 50], [600, 400]] * 3, sigma=0.5, y=[0] * 6)
        >>> c.intervals(0.5, groups=[0, 0, 1, 1, 2, 2], names=["rob_cs"])
        {'rob_cs': (0.5, 0.5)}
        """
        y = self._truth("intervals")
        codes = group_codes(groups, len(y))
        weight = checked_weights(sample_weight, len(y))
        level = 1.0 - check_probability("confidence", confidence)
        n_resamples = check_integer("n_resamples", n_resamples, low=2)
        found: dict[str, tuple[Any, Any]] = {}
        for name in self._available() if names is None else names:
            check_choice("names", name, SHARES + MEANS)
            paid, against = self._columns(name, eps)
            found[name] = _interval(
                _sums(paid * weight[:, None], codes),
                _sums(against * weight[:, None], codes),
                level,
                n_resamples,
                random_state,
                is_share=name in SHARES,
                is_saved=name in SAVINGS,
            )
            if np.ndim(eps) == 0:
                low, high = found[name]
                found[name] = low.item(), high.item()
        return found

    def _available(self) -> list[str]:
        """Return the metrics whose claims were decided, and hold together where they must."""
        return [
            name
            for name in SHARES + MEANS
            if getattr(self, _NEEDS.get(name, "abstained"), True) is not None
            and not (name in ("mean_bill", "savings") and self._apart())
        ]

    def _columns(self, name: str, eps: Any) -> tuple[Floats, Floats]:
        """Return rows (n, k) and (n, l) whose sums make the metric at k radii.

        The metric is the sum of each of the k columns over that of the one other, or, for savings,
        what is saved of the smallest of l sums.
        """
        y, cost = self._truth(name), self.cost_matrix
        values: Any
        codes, sensitive = cost.encode(y), cost.sensitive_mask(y)
        if name in SAVINGS:
            paid = self.worst_cost(0.0 if name == "clean_savings" else eps)
            rows = (
                cost.matrix[codes] if self.costs is None else self.costs[np.arange(len(y)), codes]
            )
            return paid.T.reshape(len(y), -1), rows
        counted = np.ones(len(y), dtype=bool)
        if name in ("rob_cs", "rob_cs_standard", "rob_cost"):
            counted = sensitive
        elif name == "rob_standard_nonsensitive":
            counted = ~sensitive
        if name == "mean_bill":
            values = self.worst_cost(eps).T
        elif name == "abstention_rate":
            values = self._abstained()
        elif name == "misclassification_cost":
            rows = cost.matrix[codes]
            given = rows[np.arange(len(y)), cost.encode(self.label)]
            values = np.where(self._abstained(), rows.max(axis=1), given)
        elif name == "rob_cost":
            e, radius = self._at("pair", eps)
            rows = cost.matrix[codes]
            values = np.stack(
                [(rows * ~(radius > at)).sum(axis=1) for at in np.atleast_1d(e).tolist()], axis=1
            )
        else:
            kinds = {"rob_cs": "group", "accuracy": "label"}
            e, radius = self._at(kinds.get(name, "standard"), 0.0 if name == "accuracy" else eps)
            values = radius[:, None] > np.atleast_1d(e)
            if not name.startswith("rob_cs"):
                values &= (self.label == y)[:, None]
        values = np.asarray(values, dtype=np.float64).reshape(len(y), -1)
        return values * counted[:, None], counted[:, None].astype(np.float64)


def group_codes(groups: Any, n: int) -> NDArray[np.intp]:
    """Return the number (n,) of each input's group, 0, 1, ...; at least two groups."""
    if groups is None:
        return np.arange(n)
    labels = label_array("groups", groups)
    if len(labels) != n:
        raise ValueError(f"groups must hold one label per input, {n}; got {len(labels)}.")
    listed = labels.tolist()
    if any(label is None or label != label for label in listed):
        raise ValueError("groups must name a group for every input; got None or nan.")
    codes = positions(listed, list(dict.fromkeys(listed)))
    if codes.max(initial=0) < 1:
        raise ValueError("groups must name at least 2 groups; got 1.")
    return codes


def _sums(rows: Floats, codes: NDArray[np.intp]) -> Floats:
    """Return the sums (G, k) over each group."""
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    return np.add.reduceat(rows[order], starts, axis=0)


def _metric(paid: Floats, against: Floats, is_saved: bool) -> Floats:
    """Return the metric at k radii of sums (..., k) and (..., l)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        share: Floats = paid / against.min(axis=-1, keepdims=True)
    return 1.0 - share if is_saved else share


def _interval(
    paid: Floats,
    against: Floats,
    level: float,
    n_resamples: int,
    random_state: int,
    *,
    is_share: bool,
    is_saved: bool,
) -> tuple[Floats, Floats]:
    """Return lower and upper limits (k,) of a metric of sums (G, k) and (G, l) over groups."""
    n_groups = len(paid)
    # Groups without any input that counts say nothing of the spread between groups.
    telling = int(np.count_nonzero(against.any(axis=1)))
    rng = np.random.default_rng(random_state)
    at_once = max(_FLOATS_AT_ONCE // n_groups, 1)
    values = []
    for first in range(0, n_resamples, at_once):
        size = min(at_once, n_resamples - first)
        drawn = rng.multinomial(n_groups, np.full(n_groups, 1.0 / n_groups), size=size)
        values.append(_metric(drawn @ paid, drawn @ against, is_saved))
    drawn_values = np.concatenate(values)
    # A sample without any input that counts has no value, nor have savings where nothing is paid
    # and nothing need be.
    nothing = np.asarray(np.isnan(drawn_values).all(axis=0))
    if telling < 2 or nothing.all():
        return np.full(len(nothing), np.nan), np.full(len(nothing), np.nan)
    drawn_values[:, nothing] = 0.0
    tail = ndtr(np.sqrt(telling / (telling - 1)) * stdtrit(telling - 1, level / 2))
    # Values that were drawn, the outer ones: savings are -inf where an answer costs nothing.
    low = np.nanquantile(drawn_values, tail, axis=0, method="lower")
    high = np.nanquantile(drawn_values, 1.0 - tail, axis=0, method="higher")
    if is_share:
        point = _metric(paid.sum(axis=0), against.sum(axis=0), is_saved)
        bound = float(clopper_pearson_lower(np.array([telling]), telling, level / 2)[0])
        low = np.where(point >= 1.0, np.minimum(low, bound), low)
        high = np.where(point <= 0.0, np.maximum(high, 1.0 - bound), high)
    return np.where(nothing, np.nan, low), np.where(nothing, np.nan, high)
