"""Checks of the classifier itself: constant answers, batch normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from smoothcs.certification._informative import uninformative
from smoothcs.diagnosis._checks import Answer, Case, check, issue, passed


@check("SC301", "answers that say little")
def constant_classifier(case: Case) -> Answer:
    """A constant answer can reach rob_cs = 1 where mistakes are free."""
    clf = case.clf
    given = clf.classes_[clf._decision(np.empty(0)).winner(case.votes)]
    answers, counts = np.unique(given, return_counts=True)
    top, share = answers[counts.argmax()], counts.max() / len(given)
    found = f"{share:.0%} of {len(given)} answers are {str(top)!r}"
    if case.y is None:
        if len(given) > 1 and share == 1.0:
            return issue(f"{found}: the classifier looks constant.")
        return passed(f"{found}; with y, accuracy is compared as well.")
    y = case.y[case.voted]
    found = f"accuracy is {np.mean(given == y):.3f}, and {found}"
    costs = None if case.costs is None else case.costs[case.voted]
    reason = uninformative(y, given, clf.cost_matrix_, costs=costs)
    if reason is not None:
        return issue(f"{reason} {found[0].upper()}{found[1:]}.")
    return passed(f"{found}.")


@check("SC302", "batch normalisation")
def batch_normalisation(case: Case) -> Answer:
    """What is certified is the module in eval mode, by its running statistics."""
    module = case.clf.module_
    if not isinstance(module, nn.Module):
        return passed("the base classifier is not a torch module.")
    layers = {n: part for n, part in module.named_modules() if _is_batch_norm(part)}
    never = [name for name, part in layers.items() if _never_saw_data(part)]
    if never:
        return issue(
            f"layer {never[0]!r} has seen no data: its running statistics are those it began with. "
            "Train it, or load the buffers with the weights."
        )
    training = [name for name, part in layers.items() if part.training]
    if training:
        return issue(
            f"layer {training[0]!r} is in train mode, in which its answers depend on the batch; "
            "what is certified is eval mode. Call module.eval() before it is used elsewhere."
        )
    return passed("all of it is in eval mode." if layers else "there is none.")


def _is_batch_norm(part: Any) -> bool:
    return isinstance(part, nn.modules.batchnorm._BatchNorm)


def _never_saw_data(part: Any) -> bool:
    seen, mean, var = part.num_batches_tracked, part.running_mean, part.running_var
    if seen is None or mean is None or var is None:
        return False
    return int(seen) == 0 and bool((mean == 0).all() and (var == 1).all())
