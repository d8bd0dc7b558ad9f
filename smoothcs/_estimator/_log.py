"""Training progress for the standard logger, beside what ``verbose`` prints."""

from __future__ import annotations

import logging
from typing import Any

from skorch.callbacks import Callback

_log = logging.getLogger(__name__)
_LOGGED = ("train_loss", "valid_loss", "event_lr")


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
