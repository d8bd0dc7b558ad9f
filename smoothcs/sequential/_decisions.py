"""When to stop drawing votes: decisions at given attack radii, predictions and radii.

"Does the certificate hold at eps?" needs far fewer votes than a radius.  Votes are looked at on a
fixed schedule, n_i = 30, 39, 51, ... up to n_max; look i tests at level alpha_i and the levels
sum to alpha, so whatever stops the sampling, a false claim has probability at most alpha (a union
bound).  A rejected hypothesis stays rejected.  Stopping without a claim is never false, so
futility may be judged by any approximation.

The rules know nothing of networks: they are fed cumulative votes and answer how many are wanted
next.

References
----------
.. [Holm79] Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
   Statistics 6, 1979.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothcs._validation import Bools, Floats, Ints, check_choice, check_positive, check_real
from smoothcs.sequential._looks import TargetLooks
from smoothcs.sequential._tests import LookTests

CONTINUE, CERTIFIED, FUTILE = 0, 1, -1


class StoppingRule(TargetLooks):
    """Decide at given attack radii whether the sensitive targets can be predicted.

    Parameters
    ----------
    selection_votes : array_like of int of shape (n_inputs, n_classes)
        Votes used to choose the blocker sets and for nothing else.
    targets : array_like of bool of shape (n_inputs, n_classes)
        The sensitive targets of each input (``cost_matrix.omega[y]``).  An input without any is
        finished at once and certified.
    eps : float or array_like of shape (n_eps,)
        Attack radii > 0, in the units of sigma.
    sigma : float
        Standard deviation of the noise.
    alpha : float, default=0.001
        Failure probability per input, over all looks and all eps together.
    n_max : int, default=100_000
        Most votes drawn for one input.
    mode : {"group", "pairs"}, default="group"
        "group" claims that no target is predicted within eps.  "pairs" claims single targets, all
        claims of one input being valid together.
    blockers : bool or int, default=True
        Largest blocker set; True means 3.  False uses the most voted class alone, as the papers do.
    also_correct : array_like of int of shape (n_inputs,), optional
        Class indices y: every claim then includes "the smoothed classifier predicts y at the
        input". It costs no alpha (an intersection-union test).
    weights : array_like of float of shape (n_classes,), optional
        Weights > 0 of a weighted vote: the claims are then about ``argmax_k w_k h_k``.
    first_look, growth, final_share
        See `look_schedule`.
    futility : float, default=0.005
        Sampling stops when the estimated chance of a certificate at n_max falls below; 0 never
        stops.

    Attributes
    ----------
    status : ndarray of int of shape (n_inputs, n_eps)
        ``CONTINUE`` (0), ``CERTIFIED`` (1: every claim asked for holds) or ``FUTILE`` (-1: stopped
        without).  What is not ``CERTIFIED`` is not certified, an interrupted input included.
    proven : ndarray of bool of shape (n_inputs, n_eps, n_classes)
        Targets shown not to be predicted within eps.  In "group" mode each entry holds by itself;
        only in "pairs" mode do those of one input hold together.
    eps : ndarray of shape (n_eps,)
        The radii in the order given.

    Notes
    -----
    A false group claim needs the false rejection of the one target whose true radius is smallest,
    and its hypotheses at several eps are nested: the rejection at the smallest false eps has
    probability at most the sum of the levels, alpha.  Pairs at one eps share the level by Holm's
    procedure [Holm79] (the first false rejection happens while all true hypotheses are open); at
    several eps, where Holm is not valid, each target gets level / number of targets.

    Examples
    --------
    >>> rule = StoppingRule([[95, 5, 0]], [[False, True, True]], eps=0.25, sigma=0.5, n_max=1000)
    >>> rule([0], [[0, 0, 0]])
    array([30])
    >>> rule([0], [[30, 0, 0]])
    array([0])
    >>> rule.status
    array([[1]])
    """

    def __init__(
        self,
        selection_votes: ArrayLike,
        targets: ArrayLike,
        *,
        eps: float | ArrayLike,
        sigma: float,
        alpha: float = 0.001,
        n_max: int = 100_000,
        mode: str = "group",
        blockers: bool | int = True,
        also_correct: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        first_look: int = 30,
        growth: float = 1.3,
        final_share: float = 0.3,
        futility: float = 0.005,
    ) -> None:
        self.eps = np.atleast_1d(np.asarray(eps, dtype=np.float64))
        allowed = np.isfinite(self.eps) & (self.eps > 0)
        if self.eps.ndim != 1 or not (self.eps.size and allowed.all()):
            raise ValueError(f"eps must be one or more finite numbers > 0; got {eps!r}.")
        self.mode = check_choice("mode", mode, ("group", "pairs"))
        self.futility = check_real("futility", futility, low=0.0, high=1.0, high_open=True)
        self._order = np.argsort(self.eps, kind="stable")
        self._eta = self.eps / check_positive("sigma", sigma)
        super().__init__(
            selection_votes,
            targets,
            eps=self.eps.tolist(),
            sigma=sigma,
            mode=mode,
            etas=self._eta,
            alpha=alpha,
            n_max=n_max,
            blockers=blockers,
            weights=weights,
            first_look=first_look,
            growth=growth,
            final_share=final_share,
            futility=futility,
        )
        n_inputs, n_classes = self.targets.shape
        self.proven = np.zeros((n_inputs, len(self.eps), n_classes), dtype=bool)
        self.status = np.full((n_inputs, len(self.eps)), CONTINUE)
        self._with_label = also_correct is not None
        self._label, self._rivals = _rivals(also_correct, self.targets.shape)
        self._settle(np.arange(n_inputs))

    def claim(self, index: int) -> str:
        """Return what is to be shown of one input, for its resume record."""
        label = int(self._label[index]) if self._with_label else None
        return f"{super().claim(index)}, also_correct={label}"

    @property
    def certified(self) -> Bools:
        """Inputs and radii, (n_inputs, n_eps), at which the claim about all targets holds."""
        return self.status == CERTIFIED

    @property
    def certified_pair(self) -> Bools:
        """Claims about single targets, (n_inputs, n_eps, n_classes); False outside the targets."""
        return self.proven & ~np.any(self._rivals[:, None], axis=2, keepdims=True)

    def _look_at(self, inputs: NDArray[np.intp], votes: Ints, look: NDArray[np.intp]) -> None:
        n, level = self.looks[look], self.levels[look]
        sets = self.blockers[inputs]
        test = LookTests(sets.count(votes), votes, sets.scale, n, level)
        label_test = self._label_test(inputs, votes, n, level)
        rivals = self._rivals[inputs]
        self._rivals[inputs] = rivals & ~label_test.reject_worst_first(rivals, 0.0)

        targets = self.targets[inputs]
        # Hypotheses are nested in eps: what is not shown at one eps cannot be shown at a larger
        # one.
        candidates = targets.copy()
        for e in self._order:
            opened = self._open(inputs, e) & candidates
            eta = float(self._eta[e])
            if self.mode == "group":
                new = test.reject_worst_first(opened, eta)
            elif len(self.eps) == 1:
                new = test.reject_holm(opened, eta, targets.sum(axis=1))
            else:
                new = test.reject_bonferroni(opened, eta, targets.sum(axis=1))
            self.proven[inputs, e] |= new
            candidates &= self.proven[inputs, e]
            if self.mode == "group":
                candidates[(targets & ~self.proven[inputs, e]).any(axis=1)] = False
        self._settle(inputs)
        last = look == len(self.looks) - 1
        stop = np.tile(last[:, None], (1, len(self.eps)))
        if self.futility > 0 and not last.all():
            stop |= self._hopeless(inputs, test, label_test)
        self._stop(inputs, stop)

    def _open(self, inputs: NDArray[np.intp], e: int) -> Bools:
        """Return the hypotheses at one eps that are neither rejected nor given up."""
        undecided = self.status[inputs, e] == CONTINUE
        return self.targets[inputs] & ~self.proven[inputs, e] & undecided[:, None]

    def _label_test(
        self, inputs: NDArray[np.intp], votes: Ints, n: Ints, level: Floats
    ) -> LookTests:
        """Return the test that the label gets more votes than each rival, at the input itself."""
        label = self._label[inputs][:, None]
        own = np.take_along_axis(votes, label, axis=1)
        scale = self._weights / self._weights[label]
        return LookTests(np.broadcast_to(own, votes.shape), votes, scale, n, level)

    def _settle(self, inputs: NDArray[np.intp]) -> None:
        """Certify where every hypothesis has been rejected."""
        missing = (self.targets[inputs][:, None, :] & ~self.proven[inputs]).any(axis=2)
        holds = ~missing & ~self._rivals[inputs].any(axis=1, keepdims=True)
        status = self.status[inputs]
        self.status[inputs] = np.where(holds & (status == CONTINUE), CERTIFIED, status)
        self._finished[inputs] = (self.status[inputs] != CONTINUE).all(axis=1)

    def _stop(self, inputs: NDArray[np.intp], where: Bools) -> None:
        """Give up, at some inputs and radii, whatever is still undecided."""
        status = self.status[inputs]
        self.status[inputs] = np.where(where & (status == CONTINUE), FUTILE, status)
        self._finished[inputs] = (self.status[inputs] != CONTINUE).all(axis=1)

    def _hopeless(self, inputs: NDArray[np.intp], test: LookTests, label_test: LookTests) -> Bools:
        """Return inputs and radii whose chance of a claim at the last look is negligible."""
        n_max, final = int(self.looks[-1]), np.full(len(inputs), self.levels[-1])
        chance = label_test.chance(self._rivals[inputs], 0.0, n_max, final).min(axis=1)
        hopeless = np.tile((chance < self.futility)[:, None], (1, len(self.eps)))
        if self.mode == "pairs":
            final /= np.maximum(self.targets[inputs].sum(axis=1), 1)
        below = np.zeros(len(inputs), dtype=bool)
        for e in self._order:
            opened = self._open(inputs, e)
            chance = test.chance(opened, float(self._eta[e]), n_max, final)
            if self.mode == "group":
                # A group falls with its worst target, and with it at every larger eps.
                below |= chance.min(axis=1) < self.futility
                hopeless[:, e] |= below
            else:
                best = np.where(opened, chance, 0.0).max(axis=1)
                hopeless[:, e] |= opened.any(axis=1) & (best < self.futility)
        return hopeless


def _rivals(also_correct: ArrayLike | None, shape: tuple[int, int]) -> tuple[NDArray[Any], Bools]:
    """Return the labels and the classes they have still to be shown to beat."""
    if also_correct is None:
        return np.zeros(shape[0], dtype=np.intp), np.zeros(shape, dtype=bool)
    label = np.asarray(also_correct)
    if label.shape != shape[:1] or label.dtype.kind not in "iu":
        raise ValueError(f"also_correct must be {shape[0]} class indices; got {also_correct!r}.")
    if np.any((label < 0) | (label >= shape[1])):
        raise ValueError(f"also_correct must hold class indices from 0 to {shape[1] - 1}.")
    return label, np.arange(shape[1]) != label[:, None]
