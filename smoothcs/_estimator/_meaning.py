"""What an exported base classifier means: the estimator around it, as JSON, and back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch

from smoothcs._labels import plain
from smoothcs._validation import check_positive
from smoothcs._version import __version__
from smoothcs.decision import MinCost, WeightedScores, WeightedVotes, read_decision

FORMAT = 1

_NUMBERS = "biuf"  # kinds of numpy dtype, booleans included

# Parameters that an estimator takes over from a file. The seed is left out: whoever knows it can
# foresee the noise.
_PARAMETERS = (
    "sigma",
    "eps",
    "alpha",
    "n_selection",
    "n_estimation",
    "n_prediction",
    "bound",
    "temperature",
    "precision",
    "abstain_label",
)
_DECISION = ("min_cost", "costs", "scores", "temperature", "votes")
_FIELDS = {
    "format",
    "versions",
    "classes",
    "dtype",
    "cost_matrix",
    "decision",
    "input_shape",
    "feature_names",
    "noise_scale",
    "units",
    "parameters",
}


def meaning_of(clf: Any, input_shape: tuple[int, ...], units: str | None) -> dict[str, Any]:
    """Return what makes a classifier of a module: labels, costs, decision, noise and inputs.

    Raises
    ------
    TypeError
        If labels are not numbers, strings or booleans.
    """
    labels = clf.classes_.tolist()
    if not all(isinstance(label, str | int | float) for label in labels):
        raise TypeError(
            f"labels must be numbers, strings or booleans to be exported; got {labels!r}."
        )
    names, scale = getattr(clf, "feature_names_in_", None), clf._scale(input_shape)
    dtype = clf.classes_.dtype
    return {
        "format": FORMAT,
        "versions": {"smoothcs": __version__, "torch": torch.__version__},
        "classes": labels,
        "dtype": dtype.str if dtype.kind in _NUMBERS else dtype.kind,
        "cost_matrix": clf.cost_matrix_.matrix.tolist(),
        "decision": _written(clf),
        "input_shape": list(input_shape),
        "feature_names": None if names is None else [str(name) for name in names],
        "noise_scale": None if scale is None else scale.tolist(),
        "units": units,
        "parameters": {name: plain(getattr(clf, name)) for name in _PARAMETERS},
    }


def read_meaning(text: str | bytes) -> dict[str, Any]:
    """Read what :func:`meaning_of` gave, as JSON.

    Raises
    ------
    ValueError
        If it is damaged, or of another format.
    """
    try:
        meaning = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the description is not readable ({error})") from None
    if not isinstance(meaning, dict) or meaning.get("format") != FORMAT:
        got = meaning.get("format") if isinstance(meaning, dict) else meaning
        raise ValueError(f"the description must have format {FORMAT}; got {got!r:.80}")
    if set(meaning) != _FIELDS:
        wrong = sorted(set(meaning) ^ _FIELDS)
        raise ValueError(f"the description lacks fields, or has others: {wrong}")
    parameters = meaning["parameters"]
    if not isinstance(parameters, dict) or set(parameters) != set(_PARAMETERS):
        raise ValueError(f"parameters must be those of {list(_PARAMETERS)}")
    shape = meaning["input_shape"]
    if not (isinstance(shape, list) and shape and all(type(k) is int and k > 0 for k in shape)):
        raise ValueError(f"input_shape must be a list of numbers >= 1; got {shape!r:.80}")
    names = meaning["feature_names"]
    if names is not None and not (
        isinstance(names, list) and all(isinstance(n, str) for n in names) and shape == [len(names)]
    ):
        raise ValueError(f"feature_names must be a name for each column; got {names!r:.80}")
    _classes(meaning)
    return meaning


def estimator_arguments(meaning: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``from_module`` that rebuild the estimator, but for its seed.

    Raises
    ------
    ValueError, TypeError
        If the decision cannot be read.
    """
    scale = meaning["noise_scale"]
    return {
        **meaning["parameters"],
        **_read(meaning["decision"], len(meaning["classes"]), meaning["parameters"]["temperature"]),
        "classes": _classes(meaning),
        "cost_matrix": meaning["cost_matrix"],
        "noise_scale": None if scale is None else np.asarray(scale, np.float32),
    }


def describe_inputs(clf: Any, meaning: dict[str, Any]) -> None:
    """Set what ``fit`` would have learned of the inputs."""
    clf.input_shape_ = tuple(meaning["input_shape"])
    clf.n_features_in_ = clf.input_shape_[0]
    if meaning["feature_names"] is not None:
        clf.feature_names_in_ = np.asarray(meaning["feature_names"], dtype=object)


def _classes(meaning: dict[str, Any]) -> np.ndarray:
    labels, dtype = meaning["classes"], meaning["dtype"]
    kinds = {str, int, float, bool}
    if not (isinstance(labels, list) and all(type(label) in kinds for label in labels)):
        raise ValueError(f"classes must be numbers, strings or booleans; got {labels!r:.80}")
    refusal = f"classes do not fit the dtype {dtype!r:.80}"
    try:
        if dtype not in ("U", "O") and np.dtype(dtype).kind not in _NUMBERS:
            raise ValueError(refusal)
        classes = np.asarray(labels, dtype=dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(refusal) from error
    if classes.tolist() != labels:
        raise ValueError(refusal)
    return classes


def _written(clf: Any) -> dict[str, Any]:
    """Return the decision of an estimator, by its numbers."""
    written: dict[str, Any] = dict.fromkeys(_DECISION)
    written["min_cost"] = isinstance(clf.decision, str) and clf.decision == "min-cost"
    if written["min_cost"] and clf.decision_costs is None:
        return written  # by the cost matrix, or by the costs of each example
    rule = read_decision(
        clf.decision, clf.cost_matrix_, clf.decision_costs, temperature=clf.temperature
    )
    if rule.inside is not None:
        written["temperature"] = rule.inside.temperature
    if isinstance(rule.inside, MinCost) and rule.inside.costs is not None:
        written["costs"] = rule.inside.costs.tolist()
    elif isinstance(rule.inside, WeightedScores):
        written["scores"] = rule.inside.weights.tolist()
    if not rule.is_plurality:
        written["votes"] = rule.weights.tolist()
    return written


def _read(written: Any, n_classes: int, parameter: float) -> dict[str, Any]:
    """Undo :func:`_written`: the parameters ``decision`` and ``decision_costs``.

    ``parameter`` is the temperature of the estimator; a rule may have one of its own.
    """
    if not isinstance(written, dict) or set(written) != set(_DECISION):
        raise ValueError(f"the decision is not readable: {written!r:.80}")
    costs = None if written["costs"] is None else np.asarray(written["costs"], np.float64)
    scores, votes = written["scores"], written["votes"]
    if written["min_cost"]:
        return {"decision": "min-cost", "decision_costs": costs}
    temperature = check_positive("temperature", written["temperature"] or 1.0)
    if votes is None and costs is None and (scores is None or temperature == parameter):
        return {"decision": scores}
    inside: Any = None if costs is None else MinCost(costs, temperature)
    if scores is not None:
        inside = WeightedScores(np.asarray(scores, np.float64), temperature)
    weights = np.ones(n_classes) if votes is None else votes
    return {"decision": WeightedVotes(weights, inside)}
