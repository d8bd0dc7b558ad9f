"""The private skorch net: one train step is one call of the objective."""

from __future__ import annotations

import copy
import inspect
import warnings
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import EarlyStopping
from torch import nn
from torch.utils.data import Dataset

from ._memory import keep_freed_memory
from .modules import MLP
from .objectives import Objective, TrainingContext

OPTIMIZERS = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}


def resolve_device(device: Any) -> torch.device:
    """Turn ``"auto"``, a name or a ``torch.device`` into a device that exists here."""
    if isinstance(device, str) and device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            "device must be 'auto', 'cpu', 'cuda', 'cuda:N', 'mps' or a torch.device; "
            f"got {device!r}."
        ) from error
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device={device!r} asks for a CUDA device, and torch sees "
            f"{torch.cuda.device_count()} of them here."
        )
    if resolved.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"device={device!r} is not available here.")
    return resolved


def resolve_devices(device: Any) -> list[torch.device]:
    """Turn one device or a list of them into a list of devices that exist here."""
    several = isinstance(device, (list, tuple))
    if several and not device:
        raise ValueError("device must name at least one device; got an empty list.")
    return [resolve_device(one) for one in (device if several else [device])]


def device_here(device: Any) -> Any:
    """Return ``device``, or "auto" with a warning if it names a GPU that is not in this machine.

    For estimators that were fitted on another machine.
    """
    for one in device if isinstance(device, (list, tuple)) else [device]:
        try:
            resolve_device(one)
        except ValueError:
            if str(one).partition(":")[0] in ("cuda", "mps"):
                warnings.warn(
                    f"this estimator was fitted with device={device!r}, which is not available "
                    "here; it continues with device='auto'.",
                    stacklevel=2,
                )
                return "auto"
    return device


def resolve_optimizer(optimizer: Any) -> type[torch.optim.Optimizer]:
    """Turn a name or a class into an optimiser class."""
    if isinstance(optimizer, type) and issubclass(optimizer, torch.optim.Optimizer):
        return optimizer
    if isinstance(optimizer, str) and optimizer in OPTIMIZERS:
        return OPTIMIZERS[optimizer]
    raise ValueError(
        f"optimizer must be one of {sorted(OPTIMIZERS)} or a torch.optim.Optimizer class; "
        f"got {optimizer!r}."
    )


def build_module(
    module: Any, input_shape: tuple[int, ...], n_classes: int, params: dict[str, Any]
) -> nn.Module:
    """Make a fresh, trainable module from the estimator's ``module`` parameter.

    An instance is copied, so that ``fit`` never changes the caller's object. A class or a factory
    is called with those of ``n_features``, ``n_classes`` and ``input_shape`` that its signature
    names, and with ``params``.
    """
    if isinstance(module, nn.Module):
        if params:
            raise ValueError(
                f"net_params has module parameters {sorted(params)}, but module is an instance; "
                "pass the class or a factory."
            )
        return copy.deepcopy(module)
    factory = MLP if module is None else module
    if not callable(factory):
        raise TypeError(
            "module must be None, an nn.Module class, a factory or an instance; "
            f"got {module!r} of type {type(module).__name__}."
        )
    known = {
        "n_features": int(np.prod(input_shape)),
        "n_classes": n_classes,
        "input_shape": input_shape,
    }
    accepted = inspect.signature(factory).parameters
    offered = {name: value for name, value in known.items() if name in accepted}
    built = factory(**{**offered, **params})
    if not isinstance(built, nn.Module):
        raise TypeError(
            f"module must make an nn.Module; calling {factory!r} gave {type(built).__name__}."
        )
    return built


class ArrayDataset(Dataset):
    """Arrays in memory, fetched a whole batch at a time."""

    def __init__(self, x: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None) -> None:
        self.x, self.y, self.sample_weight = x, y, sample_weight

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: Any) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        inputs = {"x": torch.as_tensor(self.x[index])}
        if self.sample_weight is not None:
            inputs["sample_weight"] = torch.as_tensor(self.sample_weight[index])
        return inputs, torch.as_tensor(self.y[index])

    # torch's fetcher calls this once a batch; without it, images are collated one by one.
    __getitems__ = __getitem__


class EncodedDataset(Dataset):
    """A user's Dataset of ``(x, y)`` with its labels replaced by class indices."""

    def __init__(self, dataset: Any, encoded: np.ndarray, sample_weight: np.ndarray | None) -> None:
        self.dataset, self.y, self.sample_weight = dataset, encoded, sample_weight

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        item = self.dataset[index]
        x = item[0] if isinstance(item, (tuple, list)) else item
        inputs = {"x": torch.as_tensor(x, dtype=torch.float32)}
        if self.sample_weight is not None:
            inputs["sample_weight"] = torch.as_tensor(self.sample_weight[index])
        return inputs, torch.as_tensor(self.y[index])


def collate_arrays(batch: Any) -> Any:
    """Return what ``ArrayDataset.__getitems__`` made; it is a batch already."""
    return batch


class ObjectiveNet(NeuralNet):
    """A skorch net whose loss is an :class:`~smoothcs.objectives.Objective`.

    Callbacks, history, schedulers, checkpoints and the data loader are skorch's. The validation
    loss, where a ``train_split`` asks for one, is the cross-entropy under the same noise.
    """

    def __init__(
        self,
        module: Any,
        *args: Any,
        objective: Objective,
        sigma: float,
        cost: np.ndarray,
        seed: int = 0,
        criterion: Any = nn.CrossEntropyLoss,
        **kwargs: Any,
    ) -> None:
        super().__init__(module, *args, criterion=criterion, **kwargs)
        self.objective = objective
        self.sigma = sigma
        self.cost = cost
        self.seed = seed

    def train_on(self, dataset: ArrayDataset | EncodedDataset) -> ObjectiveNet:
        """Train for ``max_epochs``, or until an EarlyStopping callback has enough.

        Unlike in ``fit``, a Ctrl-C is not swallowed.
        """
        if not self.initialized_:
            self.initialize()
        keep_freed_memory()
        self._generator = torch.Generator(device=self.device).manual_seed(self.seed)
        self._cost = torch.tensor(self.cost, dtype=torch.float32, device=self.device)
        try:
            self.notify("on_train_begin", X=dataset, y=None)
            try:
                # A stratified train_split asks for the labels.
                self.fit_loop(dataset, dataset.y)
            except KeyboardInterrupt:
                # skorch's EarlyStopping raises it to end the loop.
                if not self._stopped_early():
                    raise
            self.notify("on_train_end", X=dataset, y=None)
        finally:
            del self._generator, self._cost
        return self

    def _stopped_early(self) -> bool:
        return any(
            isinstance(callback, EarlyStopping) and callback.misses_ >= callback.patience
            for _, callback in self.callbacks_
        )

    def get_iterator(self, dataset: Dataset, training: bool = False) -> Any:
        iterator = super().get_iterator(dataset, training=training)
        base = dataset
        while hasattr(base, "dataset") and not isinstance(base, EncodedDataset):
            base = base.dataset  # the Subset that a train_split makes
        if isinstance(base, ArrayDataset):
            iterator.collate_fn = collate_arrays
        return iterator

    def _on_device(self, batch: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        inputs, y = batch
        if isinstance(inputs, torch.Tensor):  # of a Dataset that predefined_split brought
            return inputs.to(self.device, torch.float32), y.to(self.device), None
        weight = inputs.get("sample_weight")
        if weight is not None:
            weight = weight.to(self.device, torch.float32)
        return inputs["x"].to(self.device), y.to(self.device), weight

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, torch.Tensor]:
        self._set_training(True)
        x, y, weight = self._on_device(batch)
        context = TrainingContext(
            sigma=self.sigma,
            cost=self._cost,
            generator=self._generator,
            epoch=len(self.history) - 1,
            max_epochs=self.max_epochs,
        )
        loss, logits = self.objective(self.module_, x, y, context, weight)
        if not torch.isfinite(loss):
            raise ValueError(
                f"the training loss became {loss.item()} in epoch {len(self.history)}: "
                "try a smaller lr, a milder objective (weights, gammas, eps), or scaled inputs."
            )
        loss.backward()
        return {"loss": loss, "y_pred": logits.detach()}

    def validation_step(self, batch: Any, **fit_params: Any) -> dict[str, torch.Tensor]:
        self._set_training(False)
        x, y, _ = self._on_device(batch)
        with torch.no_grad():
            noise = torch.randn(x.shape, device=x.device, generator=self._generator)
            logits = self.module_(x + self.sigma * noise)
            return {"loss": self.criterion_(logits, y), "y_pred": logits}
