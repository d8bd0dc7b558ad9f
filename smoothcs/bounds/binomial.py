"""Confidence bounds and tests for binomial vote counts.

Everything here is exact (no normal approximation), vectorised and in float64. These functions
know nothing of classes, costs or radii.

References
----------
.. [CP34] C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits illustrated in
   the case of the binomial", Biometrika 26, 1934.
.. [Cohen19] J. Cohen, E. Rosenfeld and J. Z. Kolter, "Certified adversarial robustness via
   randomized smoothing", ICML 2019.
.. [Xin25] Y. Xin, D. Chen, M. Backes and X. Zhang, "Provably cost-sensitive adversarial defense
   via randomized smoothing", ICML 2025.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, betainccinv, betaincinv

from smoothcs._validation import check_choice, check_probability

__all__ = [
    "check_counts",
    "check_votes",
    "clopper_pearson_lower",
    "clopper_pearson_upper",
    "smallest_n",
    "top_two_abstains",
]

# Counts are turned into floats by the special functions; beyond this they would not be exact.
MAX_COUNT = 2**53

# The share of alpha that each bound can spend on the lower end of the top class's probability
# when every vote agrees: what a positive group radius costs at the least.
_LOWER_SHARE = {"exact": 0.99, "paper": 1.0, "closed-form": 0.5}


def clopper_pearson_lower(k: ArrayLike, n: ArrayLike, alpha: ArrayLike) -> NDArray[np.float64]:
    """One-sided lower confidence bound of a binomial probability [CP34].

    Parameters
    ----------
    k : array-like of int
        Successes, ``0 <= k <= n``.
    n : array-like of int
        Trials. With ``n = 0`` nothing is known: the bound is 0.
    alpha : array-like of float
        Failure probability in (0, 1). The three arguments broadcast.

    Returns
    -------
    lower : ndarray of float64
        ``betaincinv(k, n - k + 1, alpha)``, and 0 at ``k = 0``. It exceeds the true probability
        with probability at most ``alpha``.

    Raises
    ------
    ValueError
        If counts are not integers with ``0 <= k <= n``, or ``alpha`` is outside (0, 1).

    Examples
    --------
    >>> from smoothcs.bounds import clopper_pearson_lower
    >>> float(clopper_pearson_lower(990, 1000, 0.001).round(4))
    0.976
    """
    k, n, alpha = _check_binomial(k, n, alpha)
    known = k > 0
    lower = betaincinv(np.where(known, k, 1.0), n - k + 1.0, alpha)
    # A nan from the special function means "nothing is known", never "anything goes".
    return np.where(known & ~np.isnan(lower), lower, 0.0)


def clopper_pearson_upper(k: ArrayLike, n: ArrayLike, alpha: ArrayLike) -> NDArray[np.float64]:
    """One-sided upper confidence bound of a binomial probability [CP34].

    Parameters
    ----------
    k, n, alpha
        As in :func:`clopper_pearson_lower`; with ``n = 0`` the bound is 1.

    Returns
    -------
    upper : ndarray of float64
        ``betaincinv(k + 1, n - k, 1 - alpha)``, and 1 at ``k = n``. It falls below the true
        probability with probability at most ``alpha``.

    Raises
    ------
    ValueError
        As :func:`clopper_pearson_lower`.

    Examples
    --------
    >>> from smoothcs.bounds import clopper_pearson_upper
    >>> float(clopper_pearson_upper(10, 1000, 0.001).round(4))
    0.024
    """
    k, n, alpha = _check_binomial(k, n, alpha)
    known = k < n
    # The complemented inverse keeps its digits where alpha is tiny and 1 - alpha would round.
    upper = betainccinv(k + 1.0, np.where(known, n - k, 1.0), alpha)
    return np.where(known & ~np.isnan(upper), upper, 1.0)


def top_two_abstains(votes: ArrayLike, alpha: float) -> NDArray[np.bool_]:
    """Inputs whose two most voted classes cannot be told apart ([Cohen19], PREDICT).

    A two-sided binomial test of the hypothesis that the first of the two is as likely as the
    second: the procedure abstains unless its p-value is at most ``alpha``. If it does not abstain,
    the most voted class is the prediction of the smoothed classifier with probability at least
    ``1 - alpha``.

    Parameters
    ----------
    votes : array-like of int of shape (n_inputs, n_classes)
        Votes for each class. A tie, or no votes at all, abstains.
    alpha : float
        Failure probability in (0, 1).

    Returns
    -------
    abstains : ndarray of bool of shape (n_inputs,)

    Raises
    ------
    ValueError
        If ``votes`` are not counts of at least two classes, or ``alpha`` is outside (0, 1).

    Examples
    --------
    >>> from smoothcs.bounds import top_two_abstains
    >>> top_two_abstains([[60, 40, 0], [90, 10, 0]], alpha=0.001)
    array([ True, False])
    """
    votes = check_votes("votes", votes)
    alpha = check_probability("alpha", alpha)
    top_two = np.partition(votes, -2, axis=1)[:, -2:].astype(np.float64)
    second, first = top_two[:, 0], top_two[:, 1]
    decided = first > second
    # At probability 1/2 the test is symmetric: twice the upper tail P(X >= first).
    tail = betainc(np.where(decided, first, 1.0), second + 1.0, 0.5)
    return ~(decided & (2.0 * tail <= alpha))


def smallest_n(alpha: float, bound: str = "closed-form") -> int:
    """The fewest estimation votes that can ever certify a group radius above zero.

    With all ``n`` votes for one class its lower bound is ``level ** (1 / n)``, which has to exceed
    one half; ``level`` is ``alpha`` for ``bound="paper"`` (by its standard radius) and
    ``alpha / 2`` for ``bound="closed-form"``.

    Parameters
    ----------
    alpha : float
        Failure probability in (0, 1).
    bound : {"closed-form", "paper"}
        How radii are bounded, see :func:`smoothcs.certify_votes`.

    Returns
    -------
    n : int

    Raises
    ------
    ValueError
        If ``alpha`` is outside (0, 1) or ``bound`` is unknown.

    Examples
    --------
    >>> from smoothcs.bounds import smallest_n
    >>> smallest_n(0.001, "paper"), smallest_n(0.001, "closed-form")
    (10, 11)
    """
    level = (
        check_probability("alpha", alpha) * _LOWER_SHARE[check_choice("bound", bound, _LOWER_SHARE)]
    )
    n = max(1, int(np.log(level) / np.log(0.5)) - 1)
    while not clopper_pearson_lower(n, n, level) > 0.5:
        n += 1
    return n


def check_votes(name: str, votes: Any) -> NDArray[np.int64]:
    """Return ``votes`` as int64 counts of shape (n_inputs, n_classes), or raise naming ``name``.

    Floats with integral values are accepted; nan, fractions and negative counts are not.

    Examples
    --------
    >>> from smoothcs.bounds.binomial import check_votes
    >>> check_votes("votes", [[3.0, 1.0]])
    array([[3, 1]])
    """
    array = np.asarray(votes)
    if array.ndim != 2 or array.shape[1] < 2:
        raise ValueError(
            f"{name} must be an array of shape (n_inputs, n_classes) with at least two classes; "
            f"got shape {array.shape}."
        )
    counts = check_counts(name, array)
    if counts.size and counts.max() > MAX_COUNT // counts.shape[1]:
        raise ValueError(f"{name} must sum to at most 2**53 in a row; got {counts.max()} in one.")
    return counts


def check_counts(name: str, values: Any) -> NDArray[np.int64]:
    """Return ``values`` as int64 counts of any shape, or raise naming ``name``."""
    array = np.asarray(values)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name} must hold integer counts; got dtype {array.dtype}.")
    # Written so that nan, of which every comparison is false, is refused.
    allowed = (array >= 0) & (array <= MAX_COUNT) & (array == np.floor(array))
    if not np.all(allowed):
        worst = array[~allowed].flat[0]
        raise ValueError(f"{name} must hold integer counts from 0 to 2**53; got {worst}.")
    return array.astype(np.int64)


def _check_binomial(
    k: ArrayLike, n: ArrayLike, alpha: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    successes = check_counts("k", k).astype(np.float64)
    trials = check_counts("n", n).astype(np.float64)
    level = np.asarray(alpha, dtype=np.float64)
    if not np.all((level > 0.0) & (level < 1.0)):
        raise ValueError(f"alpha must lie strictly between 0 and 1; got {alpha!r}.")
    if not np.all(successes <= trials):
        raise ValueError("k must not exceed n: there cannot be more successes than trials.")
    return successes, trials, level
