"""The private skorch net: one train step is one call of the objective."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import EarlyStopping
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import Dataset

from smoothcs._estimator._fit import ArrayDataset, EncodedDataset
from smoothcs._estimator._inputs import first_input, is_dataset
from smoothcs._estimator._nested import check_callbacks
from smoothcs._estimator._schedule import LogEpochs, all_callbacks, resolve_epochs
from smoothcs._torch import keep_freed_memory
from smoothcs.modules import default_module
from smoothcs.modules.augment import fixed_augmentation
from smoothcs.objectives import Objective, TrainingContext

OPTIMIZERS = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}


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
    if not callable(module):
        raise TypeError(
            "module must be None, an nn.Module class, a factory or an instance; "
            f"got {module!r} of type {type(module).__name__}."
        )
    known = {
        "n_features": int(np.prod(input_shape)),
        "n_classes": n_classes,
        "input_shape": input_shape,
    }
    accepted = inspect.signature(module).parameters
    offered = {name: value for name, value in known.items() if name in accepted}
    try:
        built = module(**{**offered, **params})
    except TypeError as error:
        if not params:
            raise
        names = [f"module__{name}" for name in sorted(params)]
        raise TypeError(f"net_params has {names}, which the module refused: {error}") from error
    if not isinstance(built, nn.Module):
        raise TypeError(
            f"module must make an nn.Module; calling {module!r} gave {type(built).__name__}."
        )
    return built


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
        noise_scale: np.ndarray | None = None,
        seed: int = 0,
        criterion: Any = nn.CrossEntropyLoss,
        **kwargs: Any,
    ) -> None:
        super().__init__(module, *args, criterion=criterion, **kwargs)
        self.objective = objective
        self.sigma = sigma
        self.cost = cost
        self.noise_scale = noise_scale
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
        self._scale = None
        if self.noise_scale is not None:
            self._scale = torch.tensor(self.noise_scale, device=self.device)
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
            del self._generator, self._cost, self._scale
        return self

    def _stopped_early(self) -> bool:
        return any(
            isinstance(callback, EarlyStopping) and callback.misses_ >= callback.patience
            for _, callback in self.callbacks_
        )

    def get_iterator(self, dataset: Dataset, training: bool = False) -> Any:
        iterator = super().get_iterator(dataset, training=training)
        if training and has_batch_norm(self.module_):
            _drop_lone_example(iterator)
        base = dataset
        while hasattr(base, "dataset") and not isinstance(base, EncodedDataset):
            base = base.dataset  # the Subset that a train_split makes
        if isinstance(base, ArrayDataset):
            iterator.collate_fn = collate_arrays
        return iterator

    def _on_device(self, batch: Any) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        inputs, y = batch
        if isinstance(inputs, torch.Tensor):  # of a Dataset that predefined_split brought
            inputs = {"x": inputs}
        more = {name: value.to(self.device, torch.float32) for name, value in inputs.items()}
        return more.pop("x"), y.to(self.device), more

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, torch.Tensor]:
        self._set_training(True)
        x, y, more = self._on_device(batch)
        context = TrainingContext(
            sigma=self.sigma,
            cost=self._cost,
            generator=self._generator,
            epoch=len(self.history) - 1,
            max_epochs=self.max_epochs,
            noise_scale=self._scale,
            costs=more.get("costs"),
        )
        # Microbatches run the module again in the backward pass.
        with fixed_augmentation(self.module_, len(x), self._generator, x.device):
            loss, logits = self.objective(self.module_, x, y, context, more.get("sample_weight"))
            if not torch.isfinite(loss):
                raise ValueError(
                    f"the training loss became {loss.item()} in epoch {len(self.history)}: "
                    "try a smaller lr, a milder objective (weights, gammas, eps), or scaled inputs."
                )
            loss.backward()
        return {"loss": loss, "y_pred": logits.detach()}

    def predict(self, X: Any) -> np.ndarray:
        """Return class indices (n,), which skorch's EpochScoring compares with the labels."""
        return np.asarray(self.predict_proba(X)).argmax(axis=1)

    def validation_step(self, batch: Any, **fit_params: Any) -> dict[str, torch.Tensor]:
        self._set_training(False)
        x, y, _ = self._on_device(batch)
        with torch.no_grad():
            noise = torch.randn(x.shape, device=x.device, generator=self._generator)
            if self._scale is not None:
                noise *= self._scale
            logits = self.module_(x + self.sigma * noise)
            return {"loss": self.criterion_(logits, y), "y_pred": logits}


def new_net(
    clf: Any,
    objective: Objective,
    cost: np.ndarray,
    optimizer: type[torch.optim.Optimizer],
    device: torch.device,
    seed: int,
    n_examples: int,
    noise_scale: np.ndarray | None = None,
    network: Any = default_module,
) -> ObjectiveNet:
    """Return an initialised net for a first ``fit``; ``network`` stands in for no module."""
    if not isinstance(clf.net_params, Mapping | None):
        raise TypeError(
            "net_params must be None or a dict of parameters of skorch.NeuralNet; "
            f"got {clf.net_params!r} of type {type(clf.net_params).__name__}."
        )
    params = dict(clf.net_params or {})
    own = sorted({"lr", "max_epochs", "batch_size", "optimizer", "callbacks"}.intersection(params))
    if own:
        raise ValueError(f"net_params has {own[0]!r}; set {own[0]} of the estimator instead.")
    check_callbacks(clf.callbacks, params)
    module_params = {
        name.removeprefix("module__"): params.pop(name)
        for name in list(params)
        if name.startswith("module__")
    }
    module = network if clf.module is None else clf.module
    module = build_module(module, clf.input_shape_, len(cost), module_params)
    if clf.batch_size == 1 and has_batch_norm(module):
        raise ValueError(
            "batch_size must be at least 2 for a module with batch normalisation; got 1."
        )
    defaults = {"train_split": None, "iterator_train__shuffle": True}
    return ObjectiveNet(
        module,
        objective=objective,
        sigma=float(clf.sigma),
        cost=cost,
        noise_scale=noise_scale,
        seed=seed,
        optimizer=optimizer,
        lr=clf.lr,
        max_epochs=resolve_epochs(
            clf.max_epochs, n_examples, clf.batch_size, objective, clf.input_shape_
        ),
        batch_size=clf.batch_size,
        callbacks=[*all_callbacks(clf), ("log_epochs", LogEpochs())],
        device=str(device),
        verbose=int(clf.verbose),
        **{**defaults, **params},
    ).initialize()


def continued_net(
    clf: Any,
    classes: np.ndarray,
    objective: Objective,
    cost: np.ndarray,
    seed: int,
    n_examples: int,
    noise_scale: np.ndarray | None = None,
) -> ObjectiveNet:
    """Return a copy of the fitted net that goes on training (``warm_start``)."""
    if not np.array_equal(classes, clf.classes_):
        raise ValueError(
            f"warm_start=True goes on with the classes {clf.classes_.tolist()}, "
            f"but y has {classes.tolist()}."
        )
    # A copy, so that a failure leaves the fitted weights alone.
    net = copy.deepcopy(clf.net_)
    net.module_.to(net.device)
    net.objective, net.sigma, net.cost, net.seed = objective, float(clf.sigma), cost, seed
    net.noise_scale = noise_scale
    net.max_epochs = resolve_epochs(
        clf.max_epochs, n_examples, net.batch_size, objective, clf.input_shape_
    )
    return net


def has_batch_norm(module: nn.Module) -> bool:
    """Tell whether a layer computes statistics of its batch."""
    return any(isinstance(layer, _BatchNorm) for layer in module.modules())


def _drop_lone_example(iterator: Any) -> None:
    """Leave out a last batch of one example, which has no variance."""
    batches: Any = getattr(iterator, "batch_sampler", None)
    size = getattr(batches, "batch_size", None)
    if size is not None and len(iterator.dataset) > size and len(iterator.dataset) % size == 1:
        batches.drop_last = True


def check_module_output(net: ObjectiveNet, X: Any, n_classes: int) -> None:
    """Refuse a module whose output for one input is not (1, n_classes) logits."""
    # A copy: frames and memory maps may be read-only, which torch warns of.
    first = np.array(first_input(X)[None] if is_dataset(X) else X[:1])
    was_training = net.module_.training
    net.module_.eval()
    try:
        with torch.no_grad():
            logits = net.module_(torch.as_tensor(first, device=net.device))
    except RuntimeError as error:
        raise ValueError(
            f"module failed on an input batch of shape {tuple(first.shape)}: {error}"
        ) from error
    net.module_.train(was_training)
    shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if shape != (1, n_classes):
        raise ValueError(
            f"module must return logits of shape (b, {n_classes}), one column a class of y; "
            f"for an input batch of shape {tuple(first.shape)} it returned {shape}."
        )
    if not logits.is_floating_point():
        raise TypeError(
            "module must return logits in floating point; "
            f"got dtype {str(logits.dtype).removeprefix('torch.')}."
        )
    if not bool(torch.isfinite(logits).all()):
        raise ValueError(
            f"module must return finite logits; for the first input it returned {logits.tolist()}."
        )
