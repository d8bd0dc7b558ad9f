"""Tables for users who have pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd


def as_frame(
    columns: dict[str, Any], name: str = "to_frame", noise_scale: NDArray[Any] | None = None
) -> pd.DataFrame:
    """Return a DataFrame with the scale of the noise in its ``attrs``, or say what to install."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(f"{name} needs pandas: pip install pandas.") from error
    frame = pd.DataFrame(columns)
    if noise_scale is not None:
        frame.attrs["noise_scale"] = noise_scale.tolist()
    return frame
