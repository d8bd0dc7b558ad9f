"""Progress of a run: inputs done, votes per second, certified so far, time left.

It is shown as a bar if asked for, and told to the standard logger of this module in any case: every
half minute and at the end, as INFO.
"""

from __future__ import annotations

import logging
import sys
import time

from tqdm.auto import tqdm

_SECONDS_BETWEEN_LINES = 30.0
_log = logging.getLogger(__name__)

_FORMAT = (
    "{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total} inputs [{elapsed}<{remaining}{postfix}]"
)


class Progress:
    """A progress bar, if it is to be shown, and lines of the logger.

    Parameters
    ----------
    n_inputs, n_done : int
        Inputs of the run, and those finished before it.
    purpose : str
        What the votes are for.
    votes_per_input : int or None
        If not None, inputs in flight count in proportion to their votes.
    show : bool
        Whether to show the bar.
    """

    def __init__(
        self, n_inputs: int, n_done: int, purpose: str, votes_per_input: int | None, *, show: bool
    ) -> None:
        self._votes = 0
        self._certified: int | None = None
        self._per_input = votes_per_input
        self._purpose, self._n_inputs, self._n_done = purpose, n_inputs, n_done
        self._begin = self._told = time.monotonic()
        # A log file has no use for ten lines a second.
        interval = 0.2 if sys.stderr.isatty() else 10.0
        self._bar = tqdm(
            total=n_inputs,
            initial=n_done,
            desc=f"{purpose} votes",
            disable=not show,
            bar_format=_FORMAT,
            mininterval=interval,
        )

    def add_votes(self, votes: int) -> None:
        """Note that votes were counted."""
        self._votes += votes
        if not self._bar.disable and self._per_input is not None:
            self._bar.set_postfix_str(self._text(), refresh=False)
            # Rounding, or votes that are drawn again, must not carry the bar past its end.
            self._bar.update(min(votes / self._per_input, self._bar.total - self._bar.n))

    def add_input(self, n_certified: int | None) -> None:
        """Note that an input is finished, and how many are certified so far, if that is known."""
        self._certified = n_certified
        self._n_done += 1
        if time.monotonic() - self._told > _SECONDS_BETWEEN_LINES:
            self._told = time.monotonic()
            self._tell()
        if not self._bar.disable:
            self._bar.set_postfix_str(self._text(), refresh=False)
            if self._per_input is None:
                self._bar.update(1)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()
        self._tell()

    def _tell(self) -> None:
        _log.info(
            "%s votes: %d of %d inputs after %.1f s, %s",
            self._purpose,
            self._n_done,
            self._n_inputs,
            time.monotonic() - self._begin,
            self._text(),
        )

    def _text(self) -> str:
        rate = self._votes / max(time.monotonic() - self._begin, 1e-9)
        text = f"{rate:,.0f} votes/s"
        return text if self._certified is None else f"{text}, {self._certified} certified"
