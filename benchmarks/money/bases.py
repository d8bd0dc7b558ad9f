"""The base classifiers: networks for tables in several forms, and gradient-boosted trees."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor, nn
from torch.nn import functional as F

from smoothcs import CostSensitiveSmoothedClassifier
from smoothcs.objectives import Gaussian
from smoothcs.objectives.base import TrainingContext


class Nets(nn.Module):
    """BatchNorm networks whose log-probabilities are averaged.

    In training every example goes to one of them, drawn at random, so that they do not learn to
    rely on each other.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        hidden: tuple[int, ...] = (128, 64),
        dropout: float = 0.0,
        members: int = 1,
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList()
        for _ in range(members):
            layers: list[nn.Module] = []
            for width, following in zip((n_features, *hidden), hidden, strict=False):
                layers += [nn.Linear(width, following), nn.BatchNorm1d(following), nn.ReLU()]
                layers += [nn.Dropout(dropout)] if dropout else []
            self.members.append(nn.Sequential(*layers, nn.Linear(hidden[-1], n_classes)))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (b, m)."""
        if len(self.members) == 1:
            return self.members[0](x)
        logits = torch.stack([member(x) for member in self.members])
        if self.training:
            return logits[torch.randint(len(logits), (len(x),)), torch.arange(len(x))]
        return logits.log_softmax(dim=2).mean(dim=0)


class ExpectedCost(Gaussian):
    """What the noisy probabilities cost each example, with a little cross-entropy."""

    def per_example(
        self, module: nn.Module, x: Tensor, y: Tensor, context: TrainingContext
    ) -> tuple[Tensor, Tensor]:
        """Return the terms (b,) and logits (b, m) of one noisy copy of each example."""
        logits = self.noisy_logits(module, x, context)[:, 0]
        paid = (logits.softmax(dim=1) * context.rows(y)).sum(dim=1)
        return paid + 0.05 * F.cross_entropy(logits, y, reduction="none"), logits


NETS: dict[str, dict[str, Any]] = {
    "mlp": {},
    "mlp, 15 epochs": {"epochs": 15},
    "mlp, costs": {"dropout": 0.2},
    "small nets": {"hidden": (32,), "dropout": 0.3, "members": 4},
    "small nets, costs": {"hidden": (32,), "dropout": 0.3, "members": 4},
}
BASES = (*NETS, "trees")


def estimator(
    base: str, n_rows: int, scale: np.ndarray, **shared: Any
) -> CostSensitiveSmoothedClassifier:
    """Return an unfitted smoothed classifier.

    ``scale`` is 0 for the columns of categories, of which trees are told.
    """
    shared = {"noise_scale": scale, "device": "cpu", **shared}
    if base == "trees":
        categories = np.flatnonzero(scale == 0).tolist()
        model = HistGradientBoostingClassifier(
            categorical_features=categories or None, early_stopping=True, max_iter=60
        )
        return CostSensitiveSmoothedClassifier(model, **shared)
    params = dict(NETS[base])
    # Few rows are soon known by heart, and a net that is sure of everything prices nothing well.
    epochs = int(np.clip(n_rows / 30, 15, 40)) * (3 if params.get("members", 1) > 1 else 1)
    epochs = params.pop("epochs", epochs)
    return CostSensitiveSmoothedClassifier(
        Nets,
        objective=ExpectedCost() if base.endswith("costs") else "gaussian",
        net_params={
            "optimizer__weight_decay": 1e-2,
            **{f"module__{name}": value for name, value in params.items()},
        },
        optimizer="adamw",
        lr=2e-3,
        lr_schedule="one-cycle",
        max_epochs=epochs,
        batch_size=256 if n_rows > 2000 else 128,
        **shared,
    )
