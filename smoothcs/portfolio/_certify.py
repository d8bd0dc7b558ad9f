"""Portfolio certificates: the risk under attack of a predictor that answers from one noisy copy."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothcs._costs import read_costs
from smoothcs._metrics.frames import as_frame
from smoothcs._validation import (
    Floats,
    Ints,
    check_choice,
    check_integer,
    check_positive,
    check_probability,
)
from smoothcs.bounds.binomial import check_votes
from smoothcs.cost import CostMatrix, as_cost_matrix
from smoothcs.portfolio._bound import Rows, read_rows, risk_bounds
from smoothcs.portfolio._mean import upper_mean

if TYPE_CHECKING:
    import pandas as pd

SAMPLINGS = ("population", "fixed")
MOST_VOTES = 100
TRIVIAL = 0.99  # the share of the largest cost from which a bound counts as saying nothing


@dataclass(frozen=True, repr=False)
class PortfolioCertificate:
    """Bounds on the mean worst-case cost of answering from one noisy copy.

    Attributes
    ----------
    risk : float or ndarray of shape (n_eps,)
        With probability ``1 - alpha``, no attack within eps on each input brings the mean expected
        cost above it; several eps hold together. In units of the costs: with costs 0 and 1, the
        probability of a costly answer.
    risk_by_class : ndarray of shape (n_classes,) or (n_eps, n_classes)
        The same within each true class; each class holds by itself at ``alpha``. nan for a class
        without inputs.
    one_vote_risk : float or ndarray of shape (n_eps,)
        What ``risk`` would be with one vote per input, drawn at random from those given.
    clean_risk : float
        Mean cost of the votes: the estimate of the mean expected cost without attack.
    clean_risk_interval : tuple of (float, float)
        Confidence interval of the clean risk; holds by itself at ``alpha``.
    eps, sigma : float (``eps`` as given: float or ndarray of shape (n_eps,))
        Attack radius and standard deviation of the noise, in the same units.
    alpha : float
        Failure probability.
    largest_risk : float
        What the risk can be at most whatever the votes: the trivial bound.
    sampling : {"population", "fixed"}
    n_inputs, n_votes : int
        Number of inputs, and of votes per input.
    classes : ndarray of shape (n_classes,)
    """

    risk: float | Floats
    risk_by_class: Floats
    one_vote_risk: float | Floats
    clean_risk: float
    clean_risk_interval: tuple[float, float]
    eps: float | Floats
    sigma: float
    alpha: float
    largest_risk: float
    sampling: str
    n_inputs: int
    n_votes: int
    classes: NDArray[Any]

    def to_frame(self) -> pd.DataFrame:
        """One row per eps: the bounds, overall and per class; needs pandas."""
        columns: dict[str, Any] = {
            "eps": np.atleast_1d(self.eps),
            "risk": np.atleast_1d(self.risk),
            "one_vote_risk": np.atleast_1d(self.one_vote_risk),
        }
        for j, name in enumerate(self.classes):
            columns[f"risk_{name}"] = np.atleast_2d(self.risk_by_class)[:, j]
        return as_frame(columns, "PortfolioCertificate.to_frame")

    def __repr__(self) -> str:
        low, high = self.clean_risk_interval
        lines = [
            f"PortfolioCertificate({self.n_inputs} inputs, {self.n_votes} votes each, "
            f"sigma={self.sigma:g}, alpha={self.alpha:g}, sampling={self.sampling!r})",
            f"  without attack: {self.clean_risk:.4g} [{low:.4g}, {high:.4g}]",
        ]
        columns = (np.atleast_1d(x) for x in (self.eps, self.risk, self.one_vote_risk))
        lines += [
            f"  eps {eps:g}: at most {_round_up(risk)} (one vote: {_round_up(one)})"
            for eps, risk, one in zip(*columns, strict=True)
        ]
        return "\n".join(lines)


def certify_portfolio(
    votes: ArrayLike,
    y: ArrayLike,
    *,
    sigma: float,
    eps: float | ArrayLike,
    alpha: float = 0.001,
    cost_matrix: Any = None,
    costs: ArrayLike | None = None,
    max_cost: float | None = None,
    sampling: str = "population",
    classes: ArrayLike | None = None,
) -> PortfolioCertificate:
    """Bound the mean cost, under attack, of a predictor that answers from one noisy copy.

    The predictor answers ``f(x + d)`` with a fresh ``d ~ N(0, sigma^2 I)`` that the attacker does
    not know. The attacker moves every input by at most eps (l2, in the units of sigma) before d is
    drawn. What is bounded is the mean over inputs of the worst expected cost; nothing is said about
    a single input or about the plurality vote. 5 to 20 votes per input are enough.

    Parameters
    ----------
    votes : array-like of int of shape (n_inputs, n_classes)
        How often each answer was given to noisy copies of an input. All rows sum to the same number
        K of votes, from 1 to 100, and the noise is independent between rows, repeated inputs
        included.
    y : array-like of shape (n_inputs,)
        True classes, as labels or class indices.
    sigma : float
        Standard deviation of the noise.
    eps : float or array-like of shape (n_eps,)
        Attack radii > 0. The bounds for several hold together (alpha is divided among them).
    alpha : float, default=0.001
        Failure probability in (0, 1).
    cost_matrix : CostMatrix or anything it can be built from, default=None
        ``C[y, k]`` is the cost of answering k for a y. If None, every mistake costs 1.
    costs : array-like of shape (n_inputs, n_classes, n_classes), default=None
        Costs of the inputs themselves, ``costs[i, y, k]`` >= 0, instead of ``cost_matrix``; a right
        answer may cost something. The attacker does not change them.
    max_cost : float, default=None
        Only with ``costs``, and needed there for ``sampling="population"``: the largest cost that
        the population can hold (the limit of the contract). No sample shows it.
    sampling : {"population", "fixed"}, default="population"
        "population": the inputs are an independent sample; the bound is on the expected cost of a
        new input. "fixed": the bound is on the mean over these inputs.
    classes : array-like of shape (n_classes,), default=None
        Labels of the columns of the votes. If None, those of the cost matrix, else 0, 1, 2, ...

    Returns
    -------
    certificate : PortfolioCertificate

    Raises
    ------
    ValueError
        If votes are not counts with one common sum, a parameter is outside its range, or costs
        exceed ``max_cost``. The message names the parameter.
    TypeError
        If a scalar parameter is not of its type, both ``cost_matrix`` and ``costs`` are given, or
        ``max_cost`` without ``costs``.

    Warns
    -----
    UserWarning
        If the bound is no better than the largest cost; the warning names the number of inputs
        from which a portfolio without any costly vote would get half of it.

    Notes
    -----
    Proof and limits: the page "Portfolio certificates" of the documentation. Rows are bet on in an
    order that depends on their number alone; another order of the same rows gives a slightly
    different bound. Do not try several.

    Examples
    --------
    >>> import numpy as np
    >>> from smoothcs.portfolio import certify_portfolio
    >>> rng = np.random.default_rng(0)
    >>> missed = rng.binomial(10, rng.beta(0.3, 4.0, size=5000))
    >>> votes = np.stack([missed, 10 - missed], axis=1)
    >>> certificate = certify_portfolio(votes, np.ones(5000, int), sigma=0.5, eps=0.25)
    >>> round(certificate.clean_risk, 3), round(certificate.risk, 3)
    (0.069, 0.146)
    >>> round(certificate.one_vote_risk, 1)
    0.2
    """
    sigma = check_positive("sigma", sigma)
    alpha = check_probability("alpha", alpha)
    check_choice("sampling", sampling, SAMPLINGS)
    radii = check_radii(eps)
    if costs is not None and cost_matrix is not None:
        raise TypeError("cost_matrix and costs are two ways to say the same; pass one of them.")
    counts = check_votes("votes", votes)
    n_votes = _check_sum(counts)
    n_classes = counts.shape[1]
    cost = as_cost_matrix(cost_matrix, classes=classes, n_classes=n_classes)
    truth, prices, caps = read_prices(
        y, len(counts), cost, costs=costs, max_cost=max_cost, sampling=sampling
    )

    order = np.random.default_rng(0).permutation(len(counts))
    counts, prices, truth = counts[order], prices[order], truth[order]
    cap = float(caps.max())
    etas = in_sigmas(radii, sigma)

    def bound(rows: Any, votes: Ints, limit: float) -> Floats:
        return limit * risk_bounds(
            read_rows(votes[rows], prices[rows], limit), etas, alpha, sampling
        )

    risk = bound(slice(None), counts, cap)
    by_class = np.full((len(etas), n_classes), np.nan)
    for k in np.unique(truth):
        by_class[:, k] = bound(truth == k, counts, float(caps[k]))
    one_vote = bound(slice(None), _one_vote(counts), cap)
    clean = (counts * prices).sum(axis=1) / n_votes
    largest = cap if sampling == "population" else float(prices.max(axis=1).mean())
    _warn_if_trivial(risk, prices, n_votes, etas, alpha, sampling)

    shape: Any = (lambda values: float(values[0])) if np.ndim(eps) == 0 else (lambda values: values)
    return PortfolioCertificate(
        risk=shape(risk),
        risk_by_class=by_class[0] if np.ndim(eps) == 0 else by_class,
        one_vote_risk=shape(one_vote),
        clean_risk=float(clean.mean()),
        clean_risk_interval=_clean_interval(clean, prices, cap, alpha, sampling),
        eps=shape(radii),
        sigma=sigma,
        alpha=alpha,
        largest_risk=largest,
        sampling=sampling,
        n_inputs=len(counts),
        n_votes=n_votes,
        classes=cost.labels,
    )


def read_prices(
    y: ArrayLike,
    n_inputs: int,
    cost: CostMatrix,
    *,
    costs: ArrayLike | None,
    max_cost: float | None,
    sampling: str,
) -> tuple[NDArray[np.intp], Floats, Floats]:
    """Return true classes, costs of the answers (n_inputs, m), and the largest cost by class."""
    truth = cost.encode(y)
    if truth.shape != (n_inputs,):
        raise ValueError(f"y must hold one label per row of votes; got {len(truth)} of {n_inputs}.")
    if costs is None:
        if max_cost is not None:
            raise TypeError(
                "max_cost applies to costs of each input alone; the largest cost of a cost_matrix "
                f"is known. Got max_cost={max_cost!r} without costs."
            )
        return truth, cost.matrix[truth], cost.matrix.max(axis=1)
    n_classes = len(cost.labels)
    prices = read_costs(costs, n_inputs, n_classes)[np.arange(n_inputs), truth]
    return truth, prices, np.full(n_classes, _check_max_cost(max_cost, prices, sampling))


def _round_up(bound: float) -> str:
    """Four digits of a number that must not look smaller than it is."""
    if bound <= 0.0:
        return "0"
    unit = 10.0 ** (np.floor(np.log10(bound)) - 3)
    return f"{np.ceil(bound / unit) * unit:.6g}"


def check_n_votes(n_votes: Any) -> int:
    """Return a number of votes per input that a certificate can use, or raise."""
    if check_integer("n_votes", n_votes) > MOST_VOTES:
        raise ValueError(f"n_votes must be from 1 to {MOST_VOTES}; got {n_votes}.")
    return int(n_votes)


def check_radii(eps: Any) -> Floats:
    """Return eps as an array of shape (n_eps,), each finite and > 0, or raise."""
    if np.ndim(eps) == 0:
        return np.array([check_positive("eps", eps)])
    if np.ndim(eps) != 1 or not len(eps):
        raise ValueError(f"eps must be a number or a list of numbers; got shape {np.shape(eps)}.")
    return np.array([check_positive("eps", e) for e in eps])


def in_sigmas(radii: Any, sigma: float) -> Floats:
    """Return eps / sigma, or raise if that is no finite number."""
    with np.errstate(over="ignore"):
        etas = np.asarray(radii, dtype=np.float64) / sigma
    if not np.isfinite(etas).all():
        raise ValueError(
            f"eps / sigma must be finite; got eps={np.max(radii):g} and sigma={sigma:g}."
        )
    return etas


def _check_sum(counts: Ints) -> int:
    """Return the common number of votes of all rows, or raise."""
    if not len(counts):
        raise ValueError("votes must hold at least one input; got none.")
    sums = counts.sum(axis=1)
    if sums.min() != sums.max():
        odd = int(np.argmax(sums != sums[0]))
        raise ValueError(
            "votes must sum to the same number in every row; "
            f"row 0 holds {sums[0]} and row {odd} holds {sums[odd]}."
        )
    if not 1 <= sums[0] <= MOST_VOTES:
        raise ValueError(f"votes must hold from 1 to {MOST_VOTES} votes per row; got {sums[0]}.")
    return int(sums[0])


def _check_max_cost(max_cost: float | None, prices: Floats, sampling: str) -> float:
    highest = float(prices.max())
    if max_cost is None and sampling == "fixed":
        return highest
    if max_cost is None:
        raise ValueError(
            "max_cost is needed with costs and sampling='population': no sample shows how much the "
            "dearest input of the population costs. Pass the limit that contracts set, or "
            "sampling='fixed' for a statement about these inputs alone."
        )
    limit = check_positive("max_cost", max_cost)
    if not highest <= limit:
        raise ValueError(f"max_cost must be at least the largest cost, {highest:g}; got {limit:g}.")
    return limit


def _one_vote(counts: Ints) -> Ints:
    """Draw one of the votes of each row."""
    total = counts.cumsum(axis=1)
    drawn = np.random.default_rng(1).integers(total[0, -1], size=(len(counts), 1))
    answer = (total <= drawn).sum(axis=1)
    return (answer[:, None] == np.arange(counts.shape[1])).astype(np.int64)


def _clean_interval(
    clean: Floats, prices: Floats, cap: float, alpha: float, sampling: str
) -> tuple[float, float]:
    """Bound the mean of values that lie in [0, cap] from both sides, at alpha / 2 each."""
    if cap == 0.0:
        return 0.0, 0.0
    scale = float(np.mean((prices.max(axis=1) / cap) ** 2))
    above, below = (
        upper_mean(part, alpha / 2, reach=1.0, sampling=sampling, scale=scale)
        for part in (clean / cap, 1.0 - clean / cap)
    )
    return (1.0 - below) * cap, above * cap


def _warn_if_trivial(
    risk: Floats, prices: Floats, n_votes: int, etas: Floats, alpha: float, sampling: str
) -> None:
    least, largest = (float(part.mean()) for part in (prices.min(axis=1), prices.max(axis=1)))
    if largest == least or risk.min() < least + TRIVIAL * (largest - least):
        return
    needed = informative_n(n_votes, etas, alpha, sampling)
    warnings.warn(
        f"These {len(prices)} inputs show nothing about the risk: the bound is the trivial one. "
        + (
            f"Without a single costly vote, {needed} inputs would bring it to half of that."
            if needed
            else f"At eps / sigma = {etas.min():g} no number of inputs with {n_votes} votes would."
        ),
        stacklevel=3,
    )


def informative_n(n_votes: int, etas: Floats, alpha: float, sampling: str) -> int | None:
    """Return about how many inputs without a costly vote bound half the largest cost, if any do."""

    least, share = etas[[np.argmin(etas)]], alpha / len(etas)

    def informative(n: int) -> bool:
        rows = Rows(np.zeros((n, 1), np.int64), np.ones((n, 1)), np.zeros(n), n_votes)
        return bool(risk_bounds(rows, least, share, sampling)[0] <= 0.5)

    few, enough = 1, 2**16
    if not informative(enough):
        return None
    while enough > 1.1 * few + 1:
        middle = int(np.sqrt(few * enough))
        few, enough = (few, middle) if informative(middle) else (middle, enough)
    return enough
