"""The fixed schedule of looks at growing votes, shared by all stopping rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothcs._validation import (
    Bools,
    Floats,
    Ints,
    check_integer,
    check_positive,
    check_probability,
    check_real,
)
from smoothcs.bounds.binomial import check_votes
from smoothcs.bounds.blockers import check_vote_weights, choose_blockers, single_blocker


def look_schedule(
    n_max: int,
    alpha: float,
    *,
    first_look: int = 30,
    growth: float = 1.3,
    final_share: float = 0.3,
) -> tuple[Ints, Floats]:
    """Return the cumulative votes at which to look and the level to be spent at each look.

    Parameters
    ----------
    n_max : int
        Votes at the last look.
    alpha : float
        Failure probability of the whole procedure, in (0, 1).
    first_look : int, default=30
        Votes at the first look.
    growth : float, default=1.3
        Ratio of successive looks, > 1.
    final_share : float, default=0.3
        Share of alpha kept for the last look; the others share the rest equally.

    Returns
    -------
    looks : ndarray of int64 of shape (n_looks,)
    levels : ndarray of float64 of shape (n_looks,)
        They sum to at most ``alpha``.

    Examples
    --------
    >>> looks, levels = look_schedule(100, alpha=0.001)
    >>> looks
    array([ 30,  39,  51,  66, 100])
    >>> levels[[0, -1]]
    array([0.000175, 0.0003  ])
    """
    n_max = check_integer("n_max", n_max)
    alpha = check_probability("alpha", alpha)
    first_look = check_integer("first_look", first_look)
    growth = check_real("growth", growth, low=1.0, low_open=True)
    final_share = check_probability("final_share", final_share)
    looks: list[int] = []
    wanted = float(first_look)
    # An early look too close to the last one would only cost level.
    while wanted < 0.75 * n_max:
        if not looks or round(wanted) > looks[-1]:
            looks.append(round(wanted))
        wanted *= growth
    if not looks:
        return np.array([n_max]), np.array([alpha])
    early = alpha * (1.0 - final_share) / len(looks)
    return np.array([*looks, n_max]), np.array([early] * len(looks) + [alpha * final_share])


def final_level(n_max: int, alpha: float, options: Mapping[str, Any]) -> float:
    """Return the level that is left for the last look, under those options that set the looks."""
    names = ("first_look", "growth", "final_share")
    given = {name: options[name] for name in names if name in options}
    return float(look_schedule(n_max, alpha, **given)[1][-1])


class Looks:
    """The part that all rules share: where each input stands on the schedule.

    A rule is the schedule of the vote engine: called with the cumulative votes of some inputs, it
    answers how many each of them needs next.  Every answer depends on the votes of that input
    alone, however inputs are grouped.
    """

    def __init__(
        self,
        n_inputs: int,
        *,
        alpha: float,
        n_max: int,
        first_look: int,
        growth: float,
        final_share: float,
        n_classes: int | None = None,
        **asked: Any,
    ) -> None:
        self.looks, self.levels = look_schedule(
            n_max, alpha, first_look=first_look, growth=growth, final_share=final_share
        )
        self.n_classes = n_classes
        self._asked = asked | {
            "alpha": alpha,
            "n_max": n_max,
            "first_look": first_look,
            "growth": growth,
            "final_share": final_share,
        }
        self._next_look = np.zeros(n_inputs, dtype=np.intp)
        self._finished = np.zeros(n_inputs, dtype=bool)

    def __repr__(self) -> str:
        asked = ", ".join(f"{name}={value!r}" for name, value in self._asked.items())
        return f"{type(self).__name__}({asked})"

    def claim(self, index: int) -> str:
        """Return what is to be shown of one input, for its resume record."""
        return ""

    def __len__(self) -> int:
        return len(self._finished)

    @property
    def finished(self) -> Bools:
        """Inputs, of shape (n_inputs,), for which no more votes are wanted."""
        return self._finished.copy()

    @property
    def n_seen(self) -> Ints:
        """Votes seen at the last look at each input, of shape (n_inputs,)."""
        return np.where(self._next_look > 0, self.looks[self._next_look - 1], 0)

    def update(self, index: ArrayLike, votes: ArrayLike) -> None:
        """Take the cumulative votes of some inputs at one of their next looks.

        Parameters
        ----------
        index : array_like of int of shape (n,)
            The inputs, each at most once.
        votes : array_like of int of shape (n, n_classes)
            All votes drawn so far; each row must sum to one of ``looks`` not yet passed.  Looks
            may be skipped (a resumed run): that gives up level but is never wrong.

        Raises
        ------
        ValueError
            If the votes are not counts or their number is not on the schedule: looking at other
            times would depend on the data, and the guarantee does not cover that.
        """
        inputs = np.asarray(index)
        counts = check_votes("votes", votes)
        if inputs.shape != (len(counts),) or len(np.unique(inputs)) != len(inputs):
            raise ValueError("index must name one distinct input for every row of votes.")
        # A negative index would name an input a second time.
        whole = inputs.size == 0 or inputs.dtype.kind in "iu"
        if not (whole and np.all((inputs >= 0) & (inputs < len(self)))):
            raise ValueError(f"index must hold integers from 0 to {len(self) - 1}; got {index!r}.")
        inputs = inputs.astype(np.intp)
        if self.n_classes is not None and counts.shape[1] != self.n_classes:
            raise ValueError(
                f"votes must have {self.n_classes} columns, one per class; got {counts.shape[1]}."
            )
        totals = counts.sum(axis=1)
        look = np.searchsorted(self.looks, totals)
        on_schedule = (look < len(self.looks)) & (look >= self._next_look[inputs])
        on_schedule &= self.looks[np.minimum(look, len(self.looks) - 1)] == totals
        if not on_schedule.all():
            wrong = int(np.flatnonzero(~on_schedule)[0])
            allowed = self.looks[self._next_look[inputs[wrong]] :].tolist()
            raise ValueError(
                f"votes of input {inputs[wrong]} sum to {totals[wrong]}; "
                f"the looks still to come are {allowed}."
            )
        if self._finished[inputs].any():
            raise ValueError("votes were given for an input that is finished.")
        self._look_at(inputs, counts, look)
        self._next_look[inputs] = look + 1
        self._finished[inputs] |= self._next_look[inputs] == len(self.looks)

    def __call__(self, index: ArrayLike, counts: ArrayLike) -> Ints:
        """Return how many cumulative votes each of some inputs should have next.

        Parameters
        ----------
        index : array_like of int of shape (n,)
            The inputs, each at most once.
        counts : array_like of int of shape (n, n_classes)
            All votes drawn so far.  A row that is not zero is taken as a look.

        Returns
        -------
        ndarray of int64 of shape (n,)
            0 for an input that is finished.

        Raises
        ------
        ValueError
            As `update`.
        """
        inputs, votes = np.asarray(index), np.asarray(counts)
        drawn = ~self._finished[inputs] & (votes.sum(axis=1) > 0)
        if drawn.any():
            self.update(inputs[drawn], votes[drawn])
        following = self.looks[np.minimum(self._next_look[inputs], len(self.looks) - 1)]
        return np.where(self._finished[inputs], 0, following)

    def _look_at(self, inputs: NDArray[np.intp], votes: Ints, look: NDArray[np.intp]) -> None:
        raise NotImplementedError


class TargetLooks(Looks):
    """Looks at the votes for sensitive targets and for the classes that block them."""

    def __init__(
        self,
        selection_votes: ArrayLike,
        targets: ArrayLike,
        *,
        sigma: float,
        mode: str,
        etas: Floats | None,
        blockers: bool | int,
        weights: ArrayLike | None,
        **asked: Any,
    ) -> None:
        self._selection = check_votes("selection_votes", selection_votes)
        self.targets = np.asarray(targets, dtype=bool)
        n_inputs, n_classes = self._selection.shape
        if self.targets.shape != (n_inputs, n_classes):
            raise ValueError(
                f"targets must have shape {(n_inputs, n_classes)} as selection_votes; got "
                f"{self.targets.shape}."
            )
        self.sigma = check_positive("sigma", sigma)
        self._weights = check_vote_weights(weights, n_classes)
        shares = None if weights is None else self._weights.tolist()
        super().__init__(
            n_inputs,
            n_classes=n_classes,
            sigma=self.sigma,
            mode=mode,
            blockers=blockers,
            weights=shares,
            **asked,
        )
        if blockers is False:
            top = (self._selection * self._weights).argmax(axis=1)
            self.blockers = single_blocker(top, n_classes, self._weights)
        else:
            self.blockers = choose_blockers(
                self._selection,
                self.targets,
                ~self.targets if mode == "group" else None,
                max_size=3 if blockers is True else check_integer("blockers", blockers),
                eta=etas,
                weights=self._weights,
            )

    def claim(self, index: int) -> str:
        """Return what is to be shown of one input, for its resume record."""
        targets = np.flatnonzero(self.targets[index]).tolist()
        return f"selection={self._selection[index].tolist()}, targets={targets}"
