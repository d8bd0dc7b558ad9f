"""What is compared: objectives on the default recipe, and the recipe with one default put back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Parameters = dict[str, Any]

OBJECTIVES: dict[str, Callable[[], Parameters]] = {
    "gaussian": lambda: {"objective": "gaussian"},
    "weight 2": lambda: {"objective": "gaussian-cs"},
    "margin-cs": lambda: {"objective": "margin-cs"},
}
