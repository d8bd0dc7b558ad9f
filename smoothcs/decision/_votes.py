"""Weighted votes: who wins, when to abstain, and what that allows an attacker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc

from smoothcs._labels import unknown_label
from smoothcs._validation import Bools, Floats, Indices, check_positive, check_probability
from smoothcs.bounds.binomial import check_votes, smallest_n, top_two_abstains
from smoothcs.bounds.geometry import vote_root
from smoothcs.decision._radii import BOUNDS, TIE, weighted_winner

# Weights further apart than this are a mistake; the radii would lose digits.
_LARGEST_RATIO = 1e9


class WeightedVotes:
    """Decide by ``argmax_k w_k h_k``, where ``h_k`` is the share of the votes for class k.

    With equal weights it is the plurality vote. Weights act on the votes, so they serve base
    classifiers that answer labels and nothing else. They must not depend on the votes that are
    certified: tune them on other inputs.

    Parameters
    ----------
    weights : array-like of shape (m,) or mapping
        Weights > 0 in the order of the classes, or by label (1 for labels left out). Only their
        ratios matter.

    inside : WeightedScores, MinCost, str or None, default=None
        The rule inside the base classifier that gave the votes, for the record; None: its argmax.

    Attributes
    ----------
    weights : ndarray of float64 of shape (m,)
        Once tied to classes by :meth:`align`; until then, as given.

    Examples
    --------
    >>> from smoothcs.decision import WeightedVotes
    >>> decision = WeightedVotes({"malignant": 3}).align(["benign", "malignant"])
    >>> decision.weights
    array([1., 3.])
    >>> decision.winner([[60, 40], [80, 20]])
    array([1, 0])
    """

    def __init__(self, weights: ArrayLike | Mapping[Any, float], inside: Any = None) -> None:
        self.weights: Any = weights
        self.inside = inside

    @classmethod
    def equal(cls, n_classes: int, inside: Any = None) -> WeightedVotes:
        """The plurality vote among ``n_classes`` classes."""
        return cls(np.ones(n_classes), inside)

    def align(self, classes: ArrayLike | int) -> WeightedVotes:
        """Tie the weights to these labels, or to this number of classes, in this order.

        Raises
        ------
        ValueError
            If a label is unknown, the number of weights differs from that of the classes, or
            weights are not finite, > 0 and within a factor of 1e9 of each other.
        """
        labels = list(range(classes)) if isinstance(classes, int) else np.asarray(classes).tolist()
        return type(self)(check_weights(self.weights, labels), self.inside)

    @property
    def is_plurality(self) -> bool:
        """Whether all weights are equal."""
        return bool(self.weights.max() <= self.weights.min() * (1.0 + TIE))

    @property
    def bounds(self) -> tuple[str, ...]:
        """The bounds that certify this vote: the published one knows the plurality vote alone."""
        return tuple(name for name in BOUNDS if name != "paper" or self.is_plurality)

    def winner(self, votes: ArrayLike) -> Indices:
        """Class indices (n,) with the largest weighted votes of (n, m); the lowest at ties."""
        return weighted_winner(np.asarray(votes), self.weights)

    def smallest_n(self, alpha: float, bound: str) -> int:
        """The fewest votes, all for one class, that could certify anything at level alpha."""
        if self.is_plurality:
            return smallest_n(alpha, bound)
        ratio = self.weights.min() / self.weights.max()
        # Under the tie the heavier class has the share ratio / (1 + ratio).
        return int(np.floor(np.log(alpha) / np.log(ratio / (1.0 + ratio)))) + 1

    def check_can_certify(self, n: int, alpha: float, bound: str, name: str = "n") -> None:
        """Refuse a bound that does not apply, and votes of which not even unanimity certifies."""
        if bound not in self.bounds:
            raise ValueError(
                f"bound={bound!r} is the published algorithms, which apply to the plurality vote "
                "alone; a weighted vote needs bound='exact' or 'closed-form'."
            )
        smallest = self.smallest_n(alpha, bound)
        if n < smallest:
            with_this = f"bound={bound!r}" if self.is_plurality else f"the weights {self.weights}"
            raise ValueError(
                f"{name}={n} can never certify anything at alpha={alpha:g} with {with_this}; the "
                f"smallest that can is {smallest}."
            )

    def abstains(self, votes: ArrayLike, alpha: float) -> Bools:
        """Inputs whose winner is not certain at level alpha, bool of shape (n,).

        Where this is False, ``winner(votes)`` is the prediction of the smoothed classifier with
        probability at least 1 - alpha. Each rival is tested given that the winner leads, by the
        binomial law of the votes of the two cut off where the lead begins ([HF19]_, for equal
        probabilities). With equal weights it is the test of PREDICT ([Cohen19]_).

        References
        ----------
        .. [HF19] K. Hung and W. Fithian, "Rank verification for exponential families", Annals of
           Statistics 47, 2019.
        .. [Cohen19] J. Cohen, E. Rosenfeld and J. Z. Kolter, "Certified adversarial robustness
           via randomized smoothing", ICML 2019.
        """
        counts = check_votes("votes", votes)
        alpha = check_probability("alpha", alpha)
        if self.is_plurality:
            return top_two_abstains(counts, alpha)
        w = self.weights
        rows, every = np.arange(len(counts)), np.arange(len(w))
        top = self.winner(counts)
        own = every == top[:, None]
        n_top = counts[rows, top].astype(np.float64)[:, None]
        ratio = w / w[top][:, None]
        # Fewest votes with which the winner would still lead; the third class may be what counts.
        score = np.where(own, -np.inf, counts * ratio)
        runner_up = score.argmax(axis=1)
        without = score.copy()
        without[rows, runner_up] = -np.inf
        third = np.where(
            every == runner_up[:, None], without.max(axis=1)[:, None], score.max(axis=1)[:, None]
        )
        both = n_top + counts
        share = ratio / (1.0 + ratio)
        edge = np.maximum(both * share, third)
        # A tie does not lead: rounded up, and past a tie that rounding might hide.
        first = np.floor(edge * (1.0 + TIE) + 1e-9) + 1.0
        leads = first <= n_top
        with np.errstate(divide="ignore", invalid="ignore"):
            tail = betainc(np.where(leads, n_top, 1.0), np.where(leads, counts, 0.0) + 1.0, share)
            start = np.where(leads, first, 1.0)
            cut = betainc(start, np.where(leads, both - first, 0.0) + 1.0, share)
            # Where the cut-off law underflows this is nan, and not shown.
            beaten = leads & (tail / cut <= alpha)
        return ~(beaten | own).all(axis=1)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, WeightedVotes):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> Any:
        if isinstance(self.weights, Mapping):
            return frozenset(self.weights.items()), str(self.inside)
        return tuple(np.asarray(self.weights, dtype=np.float64).tolist()), str(self.inside)

    def __repr__(self) -> str:
        weights = self.weights if isinstance(self.weights, Mapping) else list(self._key()[0])
        return f"WeightedVotes({weights}{'' if self.inside is None else f', {self.inside}'})"


def as_decision(decision: Any, classes: ArrayLike | int) -> WeightedVotes:
    """Read what a ``decision`` parameter accepts, tied to the classes.

    Parameters
    ----------
    decision : None, "argmax" or WeightedVotes
        None and "argmax": the plurality vote.
    classes : array-like of shape (m,) or int
        Labels, or the number of classes.

    Returns
    -------
    WeightedVotes

    Raises
    ------
    ValueError
        If the weights do not fit the classes, or ``decision`` is another name.
    TypeError
        If ``decision`` is none of these.

    Examples
    --------
    >>> from smoothcs.decision import as_decision
    >>> as_decision(None, classes=2)
    WeightedVotes([1.0, 1.0])
    """
    if isinstance(decision, WeightedVotes):
        return decision.align(classes)
    if decision is None or (isinstance(decision, str) and decision == "argmax"):
        n_classes = classes if isinstance(classes, int) else len(np.asarray(classes))
        return WeightedVotes.equal(n_classes)
    if isinstance(decision, str) and decision == "min-cost":
        raise ValueError(
            "decision='min-cost' is decided inside the base classifier, from its scores; votes "
            "alone cannot. Have the base classifier answer the class of least expected cost."
        )
    if isinstance(decision, str):
        raise ValueError(
            f"decision must be None, 'argmax' or a WeightedVotes; got {decision!r}. An estimator "
            "also takes 'min-cost' and weights of scores."
        )
    raise TypeError(
        "decision must be None, 'argmax' or a WeightedVotes: wrap weights of votes as "
        f"WeightedVotes(...); got {decision!r}."
    )


def weighted_radius(
    h_top: ArrayLike,
    h_target: ArrayLike,
    w_top: ArrayLike = 1.0,
    w_target: ArrayLike = 1.0,
    *,
    sigma: float,
) -> NDArray[np.float64]:
    """Radius within which a target class cannot overtake the top class of a weighted vote.

    Parameters
    ----------
    h_top, h_target : array-like of float
        Probabilities in [0, 1] that a noisy prediction is the top class and the target, or a lower
        bound of the first and an upper bound of the second.
    w_top, w_target : array-like of float, default=1
        The weights of the two classes, > 0. The four arguments broadcast.
    sigma : float
        Standard deviation of the noise.

    Returns
    -------
    ndarray of float64
        The root r of ``w_top Phi(PhiInv(h_top) - r/sigma) = w_target Phi(PhiInv(h_target) +
        r/sigma)``, never rounded up; 0 where it is not positive, and inf for a target without
        probability. It rises with h_top and w_top/w_target, and falls with h_target.

    Raises
    ------
    ValueError
        If probabilities are outside [0, 1] or nan, or weights are not finite and > 0.

    Notes
    -----
    With equal weights this is sigma/2 (PhiInv(h_top) - PhiInv(h_target)), Definition 4.1 of
    [Xin25]_. For two classes no larger radius is true: a linear classifier attains it.

    References
    ----------
    .. [Xin25] Y. Xin, D. Chen, M. Backes and X. Zhang, "Provably cost-sensitive adversarial
       defense via randomized smoothing", ICML 2025.

    Examples
    --------
    >>> from smoothcs.decision import weighted_radius
    >>> weighted_radius([0.6, 0.6], 0.2, [1, 3], 1, sigma=0.5).round(3)
    array([0.274, 0.547])
    """
    probabilities = [np.asarray(h, dtype=np.float64) for h in (h_top, h_target)]
    weights = [np.asarray(w, dtype=np.float64) for w in (w_top, w_target)]
    for name, h in zip(("h_top", "h_target"), probabilities, strict=True):
        if not np.all((h >= 0) & (h <= 1)):
            raise ValueError(f"{name} must hold probabilities from 0 to 1; got {h}.")
    for name, w in zip(("w_top", "w_target"), weights, strict=True):
        if not np.all((w > 0) & np.isfinite(w)):
            raise ValueError(f"{name} must hold finite weights > 0; got {w}.")
    sigma = check_positive("sigma", sigma)
    eta = vote_root(probabilities[0], probabilities[1], weights[1] / weights[0])
    # Written so that a root that is not a number certifies nothing.
    return np.where(eta > 0, eta, 0.0) * sigma


def check_weights(weights: Any, labels: list[Any], name: str = "weights") -> Floats:
    """Return weights as a read-only float64 array in the order of the labels, or raise."""
    if hasattr(weights, "to_dict") and hasattr(weights, "index"):  # a pandas Series
        weights = weights.to_dict()
    if isinstance(weights, Mapping):
        unknown = [label for label in weights if label not in labels]
        if unknown:
            raise ValueError(unknown_label(name, unknown[0], labels))
        weights = [weights.get(label, 1.0) for label in labels]
    wanted = f"{name} must hold one weight for each of {len(labels)} classes"
    try:
        array = np.array(weights, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{wanted}; got {weights!r}.") from None
    if array.shape != (len(labels),):
        raise ValueError(f"{wanted}; got shape {array.shape}.")
    if not np.all((array > 0) & np.isfinite(array)):
        raise ValueError(f"{name} must be finite and > 0; got {array}.")
    if array.max() > _LARGEST_RATIO * array.min():
        raise ValueError(f"{name} must lie within a factor of 1e9 of each other; got {array}.")
    array.flags.writeable = False
    return array
