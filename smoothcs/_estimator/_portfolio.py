"""The one-draw predictor of an estimator: its answers, its portfolio certificate, and an attack."""

from __future__ import annotations

import os
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from torch import nn

from smoothcs._estimator._inputs import check_inputs, check_labels, is_dataset
from smoothcs._estimator._voting import SmoothedSteps
from smoothcs._torch import resolve_devices
from smoothcs._validation import check_choice, check_integer, check_probability
from smoothcs.attacks import l2_pgd
from smoothcs.cost import CostMatrix, as_cost_matrix
from smoothcs.portfolio import PortfolioCertificate, certify_portfolio
from smoothcs.portfolio._certify import SAMPLINGS, check_n_votes, check_radii, read_prices

Draw = partial[NDArray[np.int64]]

ATTACK_NOISE, ATTACK_STEPS, ATTACK_VOTES, ATTACK_ROWS = 16, 10, 20, 256


def fresh_votes(draw: Draw, n_votes: int) -> NDArray[np.int64]:
    """Draw votes from noise that nobody has seen, whatever the key of the estimator."""
    return draw(n_votes, purpose="portfolio", random_state=None, resume_from=None)


def _certify(
    draw: Draw,
    y: NDArray[Any],
    cost: CostMatrix,
    *,
    eps: Any,
    input_error: float,
    n_votes: int,
    costs: Any,
    max_cost: float | None,
    sampling: str,
    alpha: float,
) -> PortfolioCertificate:
    """Draw votes that are independent between rows, and bound the risk.

    Rounding may separate an attacked input from what is voted on by ``input_error``, which is added
    to the radii.
    """
    prices = {"costs": costs, "max_cost": max_cost, "sampling": sampling}
    read_prices(y, len(y), cost, **prices)  # refused before anything is drawn
    check_radii(eps)
    votes = draw(check_n_votes(n_votes), purpose="portfolio")
    certificate = certify_portfolio(
        votes,
        y,
        sigma=draw.keywords["sigma"],
        eps=np.add(eps, input_error),
        alpha=alpha,
        cost_matrix=cost if costs is None else None,
        classes=cost.classes,
        **prices,
    )
    return replace(certificate, eps=eps if np.ndim(eps) == 0 else np.asarray(eps))


class OneDrawPredictions(SmoothedSteps):
    """The methods of an estimator that answer from one noisy copy, and their mean cost."""

    def predict_one_draw(self, X: Any, costs: Any = None) -> NDArray[np.generic]:
        """Answer from one noisy copy of each input: one forward pass instead of a vote.

        Randomised: every call draws fresh noise from the operating system, also when
        ``random_state`` is an int, so that two calls may differ. There is no abstention and no
        certificate of a single answer; :meth:`certify_portfolio` bounds the mean cost of the
        answers under attack. Whoever may ask again and choose among the answers has more tries
        than it allows for.

        Parameters
        ----------
        X : array-like (n, d), array or tensor (n, ...), or Dataset
        costs : array-like (n, m, m), default=None
            Costs of each example, by which "min-cost" decides.

        Returns
        -------
        labels : ndarray (n,)
            The answers of the base classifier, with its ``decision``. Weights of votes
            (:class:`WeightedVotes`) do not change a single vote.

        Examples
        --------
        >>> from smoothcs import CostSensitiveSmoothedClassifier
        >>> clf = CostSensitiveSmoothedClassifier.from_module(
        ...     lambda x: (x[:, 0] > 0).astype(int), classes=["no", "yes"], sigma=0.5
        ... )
        >>> clf.predict_one_draw([[-9.0], [9.0]])
        array(['no', 'yes'], dtype='<U3')
        """
        return self.classes_[self.portfolio_votes(X, 1, costs=costs).argmax(axis=1)]

    def portfolio_votes(self, X: Any, n_votes: int = 10, *, costs: Any = None) -> NDArray[np.int64]:
        """Draw votes with fresh secret noise, for :class:`smoothcs.portfolio.PortfolioMonitor`.

        Parameters
        ----------
        X, costs
            As in :meth:`predict_one_draw`.
        n_votes : int, default=10
            Votes per input.

        Returns
        -------
        votes : ndarray of int64 (n, m)
            Independent between rows, repeated ones included, and between calls.
        """
        X, costs = self._checked(X, costs)
        return fresh_votes(self._draw(X, costs), check_integer("n_votes", n_votes))

    def certify_portfolio(
        self,
        X: Any,
        y: Any = None,
        eps: Any = None,
        *,
        n_votes: int = 10,
        alpha: float | None = None,
        costs: Any = None,
        max_cost: float | None = None,
        cost_matrix: Any = None,
        sampling: str = "population",
        resume_from: str | os.PathLike[str] | None = None,
    ) -> PortfolioCertificate:
        """Bound the mean cost under attack of :meth:`predict_one_draw`, from a few votes per input.

        The attacker moves every input by at most ``eps`` before the noise is drawn. Nothing is said
        about a single input, or about :meth:`predict`.

        Parameters
        ----------
        X : array-like (n, d), array or tensor (n, ...), or Dataset
            Inputs; for ``sampling="population"`` an independent sample of the population.
        y : array-like (n,)
            True labels; optional for a Dataset that yields ``(x, y)``.
        eps : float or array-like (n_eps,), default=None
            Attack radii > 0, in the units of ``X`` (of ``||perturbation / noise_scale||_2``,
            where there is a noise scale); the bounds for several hold together. If None, the
            estimator's.
        n_votes : int, default=10
            Votes per input, from 1 to 100.
        alpha : float, default=None
            Failure probability. If None, the estimator's.
        costs, max_cost, sampling
            As in :func:`smoothcs.portfolio.certify_portfolio`; "min-cost" decides by the costs.
        cost_matrix : see the class, default=None
            Costs to use in place of ``cost_matrix_``.
        resume_from : path, default=None
            File to which finished inputs are appended, and from which a killed run continues.

        Returns
        -------
        certificate : PortfolioCertificate
            The bounds, overall and by true class.

        Raises
        ------
        ValueError, TypeError
            If the data or a parameter is refused.
        smoothcs.votes.VotesInterrupted
            On Ctrl-C, a KeyboardInterrupt: a part of a portfolio has no certificate.

        Warns
        -----
        UserWarning
            If the inputs show nothing; the warning names the number that would.

        See Also
        --------
        smoothcs.portfolio.certify_portfolio : the same from votes of any origin.
        smoothcs.portfolio.plan_portfolio : how many inputs and votes are needed.

        Notes
        -----
        The noise of an input depends on its row, so that repeated inputs have independent votes.
        What rounding inputs to float32 may change is added to ``eps``.

        Examples
        --------
        >>> import numpy as np
        >>> from smoothcs import CostSensitiveSmoothedClassifier
        >>> clf = CostSensitiveSmoothedClassifier.from_module(
        ...     lambda x: (x[:, 0] > 0).astype(int), classes=2, sigma=0.5, random_state=0
        ... )
        >>> X = np.random.default_rng(0).normal(1.5, 1.0, size=(2000, 1))
        >>> certificate = clf.certify_portfolio(X, np.ones(2000, int), eps=0.25)
        >>> round(certificate.clean_risk, 1), round(certificate.risk, 1)
        (0.1, 0.2)
        """
        check_is_fitted(self)
        y = check_labels(X, y, self)
        if costs is not None and cost_matrix is not None:
            raise TypeError("cost_matrix and costs are two ways to say the same; pass one of them.")
        X, y, own, cost, errors = self._certifiable(X, y, costs, cost_matrix, False, "count")
        return _certify(
            self._draw(X, own, resume_from),
            y,
            cost,
            eps=self._eps(eps),
            input_error=float(errors.max()),
            n_votes=n_votes,
            costs=costs,
            max_cost=max_cost,
            sampling=check_choice("sampling", sampling, SAMPLINGS),
            alpha=check_probability("alpha", self.alpha if alpha is None else alpha),
        )


def attacked_risk(
    clf: Any, X: Any, y: Any, eps: Sequence[float], *, costs: Any = None, cost_matrix: Any = None
) -> NDArray[np.float64] | None:
    """Return the mean cost (n_eps,) that an attack on the one-draw predictor reaches, if one can.

    Projected gradients of the expected answer move each input; fresh noise then tells what the
    answers cost. Up to the chance of that noise, no bound on the same inputs is below it. None if
    the base classifier is no module or the inputs are no array.
    """
    X = check_inputs(clf, X, reset=False)
    matrix = clf.cost_matrix_ if cost_matrix is None else cost_matrix
    cost = as_cost_matrix(matrix, classes=clf.classes_)
    truth, prices, _ = read_prices(
        check_labels(X, y, clf), len(X), cost, costs=costs, max_cost=None, sampling="fixed"
    )
    draw: Draw = clf._draw(X, costs)
    if is_dataset(X) or not isinstance(draw.args[0], nn.Module):
        return None
    module, inputs = draw.args
    moved = (_moved(module, inputs, truth, float(radius), **draw.keywords) for radius in eps)
    there = (partial(draw.func, module, x, **draw.keywords) for x in moved)
    votes = [fresh_votes(draw, ATTACK_VOTES) for draw in there]
    return np.array([(v * prices).sum(axis=1).mean() / ATTACK_VOTES for v in votes])


def _moved(
    module: nn.Module,
    X: NDArray[np.float32],
    truth: NDArray[np.intp],
    eps: float,
    *,
    sigma: float,
    noise_scale: NDArray[np.float32] | None,
    device: Any,
    **unused: Any,
) -> NDArray[np.float32]:
    """Return the inputs where the attack has moved them."""
    place = resolve_devices(device)[0]
    attack = partial(
        l2_pgd,
        deepcopy(module).to(place).eval(),
        eps=eps,
        sigma=sigma,
        n_noise=ATTACK_NOISE,
        n_steps=ATTACK_STEPS,
        generator=torch.Generator(place).manual_seed(0),
        noise_scale=None if noise_scale is None else torch.tensor(noise_scale).view(X.shape[1:]),
    )
    parts = zip(
        torch.tensor(X).split(ATTACK_ROWS), torch.tensor(truth).split(ATTACK_ROWS), strict=True
    )
    return torch.cat([attack(x.to(place), y.to(place)).cpu() for x, y in parts]).numpy()
