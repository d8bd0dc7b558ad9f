"""What only the caller makes wrong: a search without a scorer, a hard vote over abstentions."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from typing import Any


def _callers() -> Iterator[tuple[Any, tuple[str, str]]]:
    """Yield the frames from the caller of our caller upwards, with module and function."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        yield frame, (frame.f_globals.get("__name__", ""), frame.f_code.co_name)
        frame = frame.f_back


def warn_of_default_scoring() -> None:
    """Warn if a search of scikit-learn scores its candidates by ``score``, at each one's own eps.

    Such a score says nothing of accuracy, and with ``eps=None`` candidates of a smaller sigma are
    scored at a smaller radius.
    """
    by_default = False
    for frame, place in _callers():
        if place == ("sklearn.metrics._scorer", "__call__"):
            by_default |= type(frame.f_locals.get("self")).__name__ == "_PassthroughScorer"
        elif place == ("sklearn.model_selection._validation", "_fit_and_score"):
            if by_default and frame.f_locals.get("parameters"):
                warnings.warn(
                    "this search compares candidates by rob_cs alone, each at its own eps: where "
                    "mistakes are free, a constant answer can win. Pass "
                    "scoring=smoothcs.certified_scorer(eps) and "
                    "refit=smoothcs.best_under('rob_cs', accuracy=-0.01).",
                    UserWarning,
                    stacklevel=3,
                )
            return


def refuse_hard_vote() -> None:
    """Refuse abstentions for a VotingClassifier that counts labels 0 to m - 1.

    Raises
    ------
    ValueError
        If it is what asks for the predictions.
    """
    if any(place == ("sklearn.ensemble._voting", "predict") for _, place in _callers()):
        raise ValueError(
            "VotingClassifier(voting='hard') counts labels, and cannot count an abstention: use "
            "abstain_label=None or voting='soft'."
        )
