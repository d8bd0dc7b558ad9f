"""What is compared: objectives on the default recipe, and the recipe with one default put back."""

from __future__ import annotations

from functools import partial
from typing import Any

from smoothcs.modules import MLP, small_conv
from smoothcs.objectives import Gaussian, MarginCS

Parameters = dict[str, Any]

OBJECTIVES: dict[str, Parameters] = {
    "gaussian": {"objective": "gaussian"},
    "weight 2": {"objective": "gaussian-cs"},
    "margin-cs": {"objective": "margin-cs"},
    "margin-cs, largest cost 1": {"objective": MarginCS(normalize_costs="largest")},
    "published margin-cs": {"objective": MarginCS.published(), "max_epochs": 6},
}

OLD_MARGIN = MarginCS.published(
    lambda_robust=0.3, lambda_sensitive=0.5, gamma_sensitive=8.0, n_noise=8
)
OLD: Parameters = {
    "lr": 1e-3, "lr_schedule": None, "max_epochs": 20, "batch_size": 128, "module": MLP,
}  # fmt: skip

_plain = partial(MLP, hidden=(256, 256), dropout=0.25)
_without_dropout = partial(MLP, hidden=(256, 256), batch_norm=True)
_narrow = partial(MLP, batch_norm=True)

# Gaussian noise throughout, but for the first line: the defaults as they were.
RECIPES: dict[str, Parameters] = {
    "all defaults as before": {"objective": OLD_MARGIN, **OLD},
    "as before, Gaussian": {"objective": "gaussian", **OLD},
    "as before, Gaussian, small_conv": {"objective": "gaussian", **OLD, "module": small_conv},
    "new": {"objective": "gaussian"},
    "new, without batch normalisation": {"objective": "gaussian", "module": small_conv},
    "new, without a schedule": {"objective": "gaussian", "lr_schedule": None},
    "new, lr 1e-3": {"objective": "gaussian", "lr": 1e-3},
    "new, batches of 128": {"objective": "gaussian", "batch_size": 128},
    "new, 2 draws, 24 epochs": {"objective": Gaussian(n_noise=2), "max_epochs": 24},
    "new, 8 draws, 6 epochs": {"objective": Gaussian(n_noise=8), "max_epochs": 6},
    "new, 24 epochs": {"objective": "gaussian", "max_epochs": 24},
    "new, 96 epochs": {"objective": "gaussian", "max_epochs": 96},
}
TABLE_RECIPES: dict[str, Parameters] = {
    "all defaults as before": {"objective": OLD_MARGIN, **OLD},
    "as before, Gaussian": {"objective": "gaussian", **OLD},
    "new": {"objective": "gaussian"},
    "new, without batch normalisation": {"objective": "gaussian", "module": _plain},
    "new, without dropout": {"objective": "gaussian", "module": _without_dropout},
    "new, 128 units, without dropout": {"objective": "gaussian", "module": _narrow},
    "new, without a schedule": {"objective": "gaussian", "lr_schedule": None},
    "new, 48 epochs": {"objective": "gaussian", "max_epochs": 48},
}
