"""How long training is, how its learning rate moves, and what is logged of it."""

from __future__ import annotations

import copy
import logging
import math
from typing import Any

from skorch.callbacks import Callback, LRScheduler

from smoothcs._validation import check_integer

_log = logging.getLogger(__name__)
_LOGGED = ("train_loss", "valid_loss", "event_lr")

COPIES = 48
MIN_EPOCHS = 24
MIN_STEPS = 1500
TABLE_EPOCHS = 16
TABLE_STEPS = 1000


def resolve_epochs(
    max_epochs: Any,
    n_examples: int,
    batch_size: int,
    objective: Any = None,
    input_shape: tuple[int, ...] = (1,),
) -> int:
    """Return the number of epochs.

    "auto": every example is seen in 48 noisy copies, however many the objective draws at a time,
    but in at least 24 epochs and 1,500 steps. The rows of a table, whose classes overlap and which
    a network soon knows by heart, are seen in 16 epochs, and at least 1,000 steps.

    Examples
    --------
    >>> resolve_epochs("auto", 60_000, 64, input_shape=(1, 28, 28))
    48
    >>> resolve_epochs("auto", 60_000, 64), resolve_epochs("auto", 640, 64)
    (16, 100)
    """
    if not (isinstance(max_epochs, str) and max_epochs == "auto"):
        if isinstance(max_epochs, str):
            raise ValueError(f"max_epochs must be 'auto' or an integer >= 1; got {max_epochs!r}.")
        return check_integer("max_epochs", max_epochs)
    steps = math.ceil(n_examples / batch_size)
    if len(input_shape) == 1:
        return max(TABLE_EPOCHS, math.ceil(TABLE_STEPS / steps))
    epochs = max(MIN_EPOCHS, COPIES // getattr(objective, "n_noise", 1))
    return max(epochs, math.ceil(MIN_STEPS / steps))


class OneCycle(Callback):
    """Learning rate per step: linear to ``lr`` over a fifth, then a cosine to 0 ([Smith19]_).

    One cycle spans the epochs of one ``fit``; a warm start begins another.

    References
    ----------
    .. [Smith19] Smith and Topin, "Super-convergence: very fast training of neural networks using
       large learning rates", SPIE 2019.
    """

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Start the cycle."""
        self.step_, self.n_steps_ = 0, 0
        for group in net.optimizer_.param_groups:
            group.setdefault("initial_lr", group["lr"])

    def on_epoch_begin(self, net: Any, dataset_train: Any = None, **kwargs: Any) -> None:
        """Count the steps of the cycle, now that a ``train_split`` has taken its share."""
        if self.n_steps_ == 0:
            batches = len(net.get_iterator(dataset_train, training=True))
            self.n_steps_ = max(1, net.max_epochs * batches)

    def on_batch_begin(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        """Set the learning rate of the step."""
        if not training:
            return
        self.step_ += 1
        factor = one_cycle(min(self.step_ / self.n_steps_, 1.0))
        for group in net.optimizer_.param_groups:
            group["lr"] = factor * group["initial_lr"]


def one_cycle(share: float) -> float:
    """Return the share of the largest learning rate when this share of all steps is reached."""
    if share < 0.2:
        return share / 0.2
    return 0.5 * (1.0 + math.cos(math.pi * (share - 0.2) / 0.8))


class LogEpochs(Callback):
    """One INFO line per epoch."""

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Log the losses of the epoch."""
        last = net.history[-1]
        logged = [f"{name} {last[name]:.4g}" for name in _LOGGED if name in last]
        _log.info(
            "epoch %d of %d: %s (%.1f s)",
            len(net.history),
            net.max_epochs,
            ", ".join(logged),
            last["dur"],
        )


def check_schedule(schedule: Any) -> None:
    """Refuse what is no schedule."""
    named = schedule is None or (isinstance(schedule, str) and schedule == "one-cycle")
    if not named and not isinstance(schedule, Callback):
        raise ValueError(
            "lr_schedule must be 'one-cycle', None or a skorch callback such as LRScheduler(...); "
            f"got {schedule!r}."
        )


def all_callbacks(clf: Any) -> list[Any]:
    """Return copies of the callbacks of a classifier, its schedule last.

    Where the user's own callbacks move the learning rate, "one-cycle" is left out.
    """
    callbacks = copy.deepcopy(list(clf.callbacks or []))
    schedule = getattr(clf, "lr_schedule", None)
    if schedule is None:
        return callbacks
    if not isinstance(schedule, str):
        return [*callbacks, copy.deepcopy(schedule)]
    given = [c[1] if isinstance(c, tuple) else c for c in callbacks]
    if any(isinstance(c, LRScheduler) for c in given):
        return callbacks
    return [*callbacks, OneCycle()]
