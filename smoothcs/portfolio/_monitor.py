"""Does the certified risk of inputs that arrive in batches stay within its budget?"""

from __future__ import annotations

from collections import deque
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from smoothcs._validation import check_integer, check_positive, check_probability, check_real
from smoothcs.portfolio._certify import PortfolioCertificate, certify_portfolio


@dataclass(frozen=True)
class MonitorStatus:
    """What a batch changed.

    Attributes
    ----------
    state : {"within", "unknown", "exceeded"}
        "within": the certified risk is at most the budget. "exceeded": the lower confidence bound
        of the risk without any attack is above it. "unknown": neither is shown.
    left : bool
        Whether the state was "within" after the previous batch and is no longer.
    look : int
        Number of this batch, from 1.
    certificate : PortfolioCertificate
        Of the inputs in the window, at this look's share of alpha.
    """

    state: str
    left: bool
    look: int
    certificate: PortfolioCertificate


class BudgetExceeded(RuntimeError):
    """The certified risk has left its budget; ``status`` says how."""

    def __init__(self, message: str, status: MonitorStatus) -> None:
        super().__init__(message)
        self.status = status


class PortfolioMonitor:
    """Certify the risk of a stream again after every batch, with one alpha for all of them.

    Look b spends ``alpha / (b (b + 1))``; these shares sum to alpha over any number of looks, so
    with probability ``1 - alpha`` every bound and every "exceeded" that is ever reported is true.
    (The two sides of a look, the bound on the risk under attack and the lower bound on the risk
    without attack, take half of its share each.)

    Parameters
    ----------
    sigma, cost_matrix, classes, max_cost
        As in :func:`certify_portfolio`.
    eps : float
        Attack budget.
    budget : float
        The mean cost that is acceptable, in units of the costs.
    alpha : float, default=0.001
        Failure probability of all states, risks and intervals of the clean risk that the monitor
        ever reports, together; bounds by class and from one vote are not counted.
    window : int, default=None
        How many of the latest batches a certificate covers. If None, all so far.
    sampling : {"fixed", "population"}, default="fixed"
        "fixed": a statement about the inputs in the window, which may drift. "population":
        about the population, if it does not change.
    raises : bool, default=False
        Whether :meth:`update` raises :class:`BudgetExceeded` when the state is "exceeded", or is
        no longer "within".

    Examples
    --------
    >>> import numpy as np
    >>> from smoothcs.portfolio import PortfolioMonitor
    >>> rng = np.random.default_rng(0)
    >>> monitor = PortfolioMonitor(sigma=0.5, eps=0.25, budget=0.2)
    >>> for n in (100, 400, 1500):
    ...     missed = rng.binomial(10, rng.beta(0.3, 4.0, size=n))
    ...     status = monitor.update(np.stack([missed, 10 - missed], axis=1), np.ones(n, int))
    ...     print(status.state, round(status.certificate.risk, 2))
    unknown 0.31
    within 0.18
    within 0.15
    """

    def __init__(
        self,
        *,
        sigma: float,
        eps: float,
        budget: float,
        alpha: float = 0.001,
        cost_matrix: Any = None,
        max_cost: float | None = None,
        window: int | None = None,
        sampling: str = "fixed",
        classes: ArrayLike | None = None,
        raises: bool = False,
    ) -> None:
        self.eps = check_positive("eps", eps)
        self.budget = check_real("budget", budget, low=0.0)
        self.alpha = check_probability("alpha", alpha)
        self.raises = raises
        self.status: MonitorStatus | None = None
        self._options = {
            "sigma": check_positive("sigma", sigma),
            "cost_matrix": deepcopy(cost_matrix),
            "max_cost": max_cost,
            "sampling": sampling,
            "classes": classes,
        }
        length = None if window is None else check_integer("window", window)
        self._batches: deque[tuple[Any, ...]] = deque(maxlen=length)

    def update(
        self, votes: ArrayLike, y: ArrayLike, costs: ArrayLike | None = None
    ) -> MonitorStatus:
        """Add a batch and certify the window.

        Parameters
        ----------
        votes, y, costs
            Of the new inputs, as in :func:`certify_portfolio`. Which inputs arrive, and how many,
            must not depend on the votes drawn for earlier ones.

        Returns
        -------
        status : MonitorStatus
            Also kept as ``monitor.status``.

        Raises
        ------
        BudgetExceeded
            See ``raises``. The batch counts nevertheless.
        ValueError, TypeError
            As :func:`certify_portfolio`; a batch that is refused is not added.
        """
        look = 1 if self.status is None else self.status.look + 1
        share = self.alpha / (look * (look + 1))
        batch = (np.array(votes), np.array(y), None if costs is None else np.array(costs))
        kept = [*self._batches, batch]
        if self._batches.maxlen is not None:
            kept = kept[-self._batches.maxlen :]
        if len({part[2] is None for part in kept}) > 1:
            raise ValueError(
                "costs must come with every batch of the window or with none; got both kinds."
            )
        certificate = certify_portfolio(
            np.concatenate([part[0] for part in kept]),
            np.concatenate([part[1] for part in kept]),
            costs=None if costs is None else np.concatenate([part[2] for part in kept]),
            eps=self.eps,
            alpha=share / 2,
            **self._options,
        )
        if certificate.risk <= self.budget:
            state = "within"
        else:
            state = "exceeded" if certificate.clean_risk_interval[0] > self.budget else "unknown"
        left = self.status is not None and self.status.state == "within" and state != "within"
        self._batches.append(batch)
        self.status = MonitorStatus(state, left, look, certificate)
        if self.raises and (left or state == "exceeded"):
            raise BudgetExceeded(
                f"The certified risk is {certificate.risk:.4g}, the budget {self.budget:.4g}; "
                f"state {state!r} at look {look}.",
                self.status,
            )
        return self.status
