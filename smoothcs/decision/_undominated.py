"""Points that no other point beats in both of two numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smoothcs._validation import Floats


def undominated(kept: Floats, gain: Floats) -> NDArray[np.intp]:
    """Indices, by falling ``kept``, of points of larger gain than all before; the first of equals.

    Examples
    --------
    >>> undominated(np.array([0.7, 0.9, 0.8, 0.9]), np.array([0.5, 0.3, 0.2, 0.3]))
    array([1, 0])
    """
    order = np.lexsort((-gain, -kept))
    best_before = np.maximum.accumulate(np.concatenate([[-np.inf], gain[order][:-1]]))
    return order[gain[order] > best_before + 1e-12]
