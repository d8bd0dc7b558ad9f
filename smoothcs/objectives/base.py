"""The training objectives: small objects that turn a batch into a loss.

A new objective subclasses :class:`Objective`, implements ``validate`` and ``per_example``, is named
by :func:`register`, and is imported by one line in ``objectives/__init__.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from smoothcs._soft import NoiseDraws, noisy_logits
from smoothcs._validation import check_integer


@dataclass(frozen=True)
class TrainingContext:
    """What an objective needs to know besides the batch.

    Parameters
    ----------
    sigma : float
        Standard deviation of the Gaussian noise, in the units of the module's input.
    cost : Tensor of shape (m, m), float32
        ``cost[y, k]`` is the cost of calling a ``y`` a ``k``; on the device of the batch.
    generator : torch.Generator
        Source of every random number, on the same device.
    epoch, max_epochs : int
        Epochs finished so far and in total, for objectives that warm up.
    """

    sigma: float
    cost: Tensor
    generator: torch.Generator
    epoch: int = 0
    max_epochs: int = 1
    noise_scale: Tensor | None = None
    costs: Tensor | None = None

    def rows(self, y: Tensor) -> Tensor:
        """Costs of calling each example a class, Tensor (b, m): its own, or those of its class."""
        return self.cost[y] if self.costs is None else self.costs


class ObjectiveOutput(NamedTuple):
    """Loss to minimise (scalar) and logits (b, m) for logging, without a graph."""

    loss: Tensor
    logits: Tensor


class Objective(BaseEstimator):
    """Base class of the training objectives.

    Called with a module and a batch, it returns an :class:`ObjectiveOutput`. The loss is
    ``sum_i w_i * l_i / b``, where ``l_i`` is the term of example ``i``, ``w_i`` its sample weight
    and ``b`` the number of examples in the batch. Weights of one change nothing; an integer weight
    counts as that many copies of the example, except that the divisor stays ``b``.
    """

    def validate(self) -> None:
        """Check the parameters.

        Raises
        ------
        TypeError, ValueError
            Naming the parameter, what was got and what is allowed.
        """
        raise NotImplementedError

    def per_example(
        self, module: nn.Module, x: Tensor, y: Tensor, context: TrainingContext
    ) -> tuple[Tensor, Tensor]:
        """Return the unweighted terms l (b,) and logits (b, m) for logging."""
        raise NotImplementedError

    def __call__(
        self,
        module: nn.Module,
        x: Tensor,
        y: Tensor,
        context: TrainingContext,
        sample_weight: Tensor | None = None,
    ) -> ObjectiveOutput:
        """Return the loss of a batch.

        Parameters
        ----------
        module : nn.Module
            Maps (b, ...) to logits (b, m); it is run in its current mode.
        x : Tensor of shape (b, ...)
            Float inputs of any shape: rows of a table, images.
        y : Tensor of shape (b,), int64
            Class indices in ``[0, m)``.
        context : TrainingContext
        sample_weight : Tensor of shape (b,) or None
            Factors of the terms of the examples.

        Returns
        -------
        ObjectiveOutput
        """
        self.validate()
        if y.dtype != torch.int64 or y.shape != x.shape[:1]:
            raise ValueError(
                f"y must be int64 class indices of shape ({len(x)},); "
                f"got {y.dtype} of shape {tuple(y.shape)}."
            )
        terms, logits = self.per_example(module, x, y, context)
        if sample_weight is not None:
            terms = terms * sample_weight.to(terms)
        return ObjectiveOutput(terms.sum() / len(x), logits.detach())


class NoisyObjective(Objective):
    """Base class of the objectives that add noise, which have ``n_noise`` and ``microbatch``."""

    n_noise: int
    microbatch: int | None

    def validate(self) -> None:
        check_integer("n_noise", self.n_noise)
        if self.microbatch is not None:
            check_integer("microbatch", self.microbatch)

    def draw_noise(self, x: Tensor, context: TrainingContext) -> NoiseDraws:
        """Return the noise of this batch, which is the same at every request."""
        return NoiseDraws(
            x, self.n_noise, context.sigma, context.generator, self.microbatch, context.noise_scale
        )

    def noisy_logits(self, module: nn.Module, x: Tensor, context: TrainingContext) -> Tensor:
        """Return the logits of ``x`` under fresh noise, Tensor (b, n_noise, m)."""
        return noisy_logits(module, x, self.draw_noise(x, context), len(context.cost))


OBJECTIVES: dict[str, Callable[[], Objective]] = {}
"""The known names, each with a function that makes a new object."""

_ObjectiveType = TypeVar("_ObjectiveType", bound=type[Objective])


def register(name: str, **params: Any) -> Callable[[_ObjectiveType], _ObjectiveType]:
    """Class decorator: let ``name`` stand for the class with these parameters."""

    def decorate(cls: _ObjectiveType) -> _ObjectiveType:
        OBJECTIVES[name] = partial(cls, **params)
        return cls

    return decorate


def resolve_objective(objective: str | Objective) -> Objective:
    """Return a new object for a name, or the object that was passed.

    Raises
    ------
    ValueError
        For an unknown name; the message lists the known ones.
    TypeError
        For anything that is neither a name nor an :class:`Objective`.

    Examples
    --------
    >>> from smoothcs.objectives import resolve_objective
    >>> resolve_objective("gaussian-cs").weight_sensitive
    2.0
    """
    if isinstance(objective, Objective):
        return objective
    if not isinstance(objective, str):
        raise TypeError(
            f"objective must be a name or an Objective such as MarginCS(); got {objective!r} "
            f"of type {type(objective).__name__}."
        )
    if objective not in OBJECTIVES:
        raise ValueError(f"objective must be one of {sorted(OBJECTIVES)}; got {objective!r}.")
    return OBJECTIVES[objective]()
