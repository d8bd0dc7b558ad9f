"""What the HTML representation of an estimator adds to scikit-learn's."""

from __future__ import annotations

from typing import Any

NOTE = (
    "<p><code>sigma</code>, <code>eps</code> and radii are in the units of the <code>X</code> that "
    "reaches this estimator: behind a StandardScaler, in standard deviations.</p>"
)


class _WithNote:
    def __init__(self, params: Any) -> None:
        self._params = params

    def _repr_html_inner(self) -> str:
        return self._params._repr_html_inner() + NOTE


class UnitsInHTML:
    """Mixin: the table of parameters is followed by the units of a radius, in a Pipeline too."""

    # scikit-learn >= 1.7 calls it for each block of a diagram; earlier ones show no parameters.
    def _get_params_html(self, *args: Any, **kwargs: Any) -> Any:
        return _WithNote(super()._get_params_html(*args, **kwargs))  # type: ignore[misc]
