"""Warnings that users may want to filter by name."""

from __future__ import annotations

__all__ = ["UninformativeWarning", "UnreachableRadiusWarning"]


class UninformativeWarning(UserWarning):
    """A certified score of answers that say little about the inputs.

    Where some mistakes are free, a constant answer can reach ``rob_cs = 1``. ``score`` and
    ``certified_report`` warn where one class takes nearly all answers, or where these are no more
    accurate than the commonest class; not where they are cheaper than any constant answer.

    To silence it where such models are expected, in a wide search for instance::

        warnings.simplefilter("ignore", smoothcs.exceptions.UninformativeWarning)
    """


class UnreachableRadiusWarning(UserWarning):
    """A radius is asked for that these numbers of votes cannot certify, for any input."""
