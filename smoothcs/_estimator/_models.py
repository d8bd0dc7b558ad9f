"""Any scikit-learn classifier as the base: trained on noisy copies of every row."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import get_config
from sklearn.base import clone, is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter
from torch import nn

from smoothcs._estimator._fit import TrainingData
from smoothcs._estimator._inputs import PredictedClass, as_fitted, check_scores, is_dataset


def is_model(module: Any) -> bool:
    """Tell an unfitted scikit-learn estimator from a torch module, its class or a factory."""
    return (
        hasattr(module, "fit")
        and hasattr(module, "predict")
        and not isinstance(module, nn.Module)
        and not inspect.isclass(module)
    )


def check_model(clf: Any, data: TrainingData, rule: Any) -> None:
    """Refuse what a scikit-learn classifier as the base cannot do, before anything is trained.

    Raises
    ------
    TypeError
        If the model is not a classifier, lacks the scores by which ``rule`` decides, or takes no
        sample weights where there are some, and if the inputs are a Dataset.
    ValueError
        If an objective or a parameter of networks is set, which nothing would use.
    """
    name = type(clf.module).__name__
    if not is_classifier(clf.module):
        raise TypeError(f"module must be a classifier; {name} is not one.")
    if is_dataset(data.X):
        raise TypeError(
            "a scikit-learn classifier as the base needs X as an array or a frame, not a Dataset."
        )
    default = _default(clf, "objective")
    if not (isinstance(clf.objective, str) and clf.objective == default):
        raise ValueError(
            f"objective must be left at its default, {default!r}, with a scikit-learn classifier "
            f"as the base, which trains by its own loss; got {clf.objective!r}."
        )
    ignored = [name for name in _OF_NETWORKS if getattr(clf, name) != _default(clf, name)]
    if ignored:
        raise ValueError(
            f"{ignored[0]}={getattr(clf, ignored[0])!r} trains networks, and has no effect with a "
            f"scikit-learn classifier as the base; set parameters of {name} instead."
        )
    if rule is not None:
        check_scores(clf.module)
    if data.weights is not None and _weight_name(clf.module) is None:
        raise TypeError(f"sample_weight was given, but the module, {name}, takes none in fit.")


# Not max_epochs and batch_size: whoever shortens training in general may leave them set.
_OF_NETWORKS = ("optimizer", "lr", "lr_schedule", "callbacks", "warm_start", "net_params")


def _default(clf: Any, name: str) -> Any:
    return inspect.signature(type(clf)).parameters[name].default


def fit_on_noisy_copies(
    clf: Any, data: TrainingData, scale: NDArray[np.float32] | None, seed: int
) -> PredictedClass:
    """Return a clone of ``clf.module``, fitted on ``n_copies`` noisy copies of every row.

    Where the estimator was fitted on a frame, so is the model.
    """
    noise = np.random.default_rng(seed)
    X = np.tile(data.X, (clf.n_copies, *[1] * (data.X.ndim - 1)))
    draws = noise.standard_normal(X.shape, dtype=np.float32)
    X += np.float32(clf.sigma) * (draws if scale is None else draws * scale)
    model = clone(clf.module)
    model.set_params(**dict.fromkeys(_unset_seeds(model), seed))
    fit_params, weight_name = {}, _weight_name(model)
    if data.weights is not None and weight_name is not None:
        fit_params[weight_name] = np.tile(data.weights, clf.n_copies)
    y = np.tile(data.classes[data.encoded], clf.n_copies)
    return PredictedClass(model.fit(as_fitted(clf, X), y, **fit_params), data.classes)


def wrap_fitted(clf: Any, module: Any) -> None:
    """Make a module, a scikit-learn classifier or a callable, fitted already, the base of ``clf``.

    Raises
    ------
    TypeError
        If it is none of them.
    """
    clf.module_, clf.input_shape_ = module, None
    if not isinstance(module, nn.Module) and hasattr(module, "predict"):
        clf.module_ = PredictedClass(module, clf.classes_)
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(module, name):
                setattr(clf, name, getattr(module, name))
        if hasattr(module, "n_features_in_"):
            clf.input_shape_ = (module.n_features_in_,)
    elif not callable(module):
        raise TypeError(
            "module must be a fitted nn.Module, a scikit-learn classifier or a callable; "
            f"got {module!r}."
        )


def _unset_seeds(model: Any) -> list[str]:
    """Return the parameters of a model, and of models in it, that seed it and are None."""
    return [
        name
        for name, value in sorted(model.get_params().items())
        if value is None and name.split("__")[-1] == "random_state"
    ]


def _weight_name(model: Any) -> str | None:
    """Return under which name a model takes sample weights in ``fit``, or None."""
    if has_fit_parameter(model, "sample_weight"):
        return "sample_weight"
    if isinstance(model, Pipeline) and has_fit_parameter(model[-1], "sample_weight"):
        routed = get_config()["enable_metadata_routing"]
        return "sample_weight" if routed else f"{model.steps[-1][0]}__sample_weight"
    return None
