"""The displays of a report as PNG, if matplotlib is installed."""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import Any

import numpy as np

from smoothcs.certification import Certificates
from smoothcs.plotting import (
    CertifiedAccuracyDisplay,
    RadiusDistributionDisplay,
    RobustErrorDisplay,
)
from smoothcs.reporting._document import Picture


def pictures(
    certificates: Certificates, eps: float, units: str, *, confidence: float, groups: Any = None
) -> list[Picture]:
    """Return the certified metric against the radius, the radii, and the errors at eps."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return []
    c = certificates
    sensitive = not np.isnan(c.radius_group).all()
    metric = "rob_cs" if sensitive else "certified_accuracy"

    def drawn(title: str, size: tuple[float, float], display: Any, n_axes: int, **how: Any) -> Any:
        # A figure of its own, unknown to pyplot: nothing is shown, nothing is left open.
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(1, n_axes, squeeze=False)[0]
        display.from_certificates(c, ax=axes if n_axes > 1 else axes[0], units=units, **how)
        buffer = BytesIO()
        with warnings.catch_warnings():
            # A label in a script that matplotlib's font lacks is drawn as boxes.
            warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
            figure.savefig(buffer, format="png", dpi=100)
        return Picture(title, buffer.getvalue())

    side = min(max(2.6, 0.34 * len(c.classes) + 0.6), 6.0)
    return [
        drawn(
            f"{metric} against eps",
            (7, 4),
            CertifiedAccuracyDisplay,
            1,
            metric=metric,
            confidence=confidence,
            groups=groups,
        ),
        drawn("Certified radii", (8, 3.5), RadiusDistributionDisplay, 1),
        drawn("Errors", (3 * side + 1.6, side + 1.4), RobustErrorDisplay, 3, eps=eps),
    ]
