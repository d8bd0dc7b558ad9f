"""What reaches the estimator: arrays, frames, tensors, images and Datasets, checked at the door."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    _num_samples,
    check_array,
    column_or_1d,
    validate_data,
)
from torch.utils.data import DataLoader, Dataset, IterableDataset

from smoothcs._labels import FOLDS, positions
from smoothcs.votes._source import SameInputs, input_of
from smoothcs.votes.noise import content_digest


def is_dataset(X: Any) -> bool:
    """Tell a torch Dataset, which is read item by item, from an array.

    Raises
    ------
    TypeError
        If ``X`` gives its items only in its own order: a DataLoader or an IterableDataset.
    """
    if isinstance(X, DataLoader):
        raise TypeError(
            "X must be an array or a Dataset; got a DataLoader, which mixes and groups the items. "
            "Pass its Dataset, loader.dataset; fit has batch_size, and voting vote_batch_size."
        )
    if isinstance(X, IterableDataset):
        raise TypeError(
            "X must be an array or a Dataset with __len__ and __getitem__; got "
            f"{type(X).__name__}, an IterableDataset, whose items cannot be read again by number. "
            "Read them into a TensorDataset, or write a Dataset that opens item i by its name."
        )
    return isinstance(X, Dataset | SameInputs)


def check_inputs(estimator: Any, X: Any, *, reset: bool) -> Any:
    """Return ``X`` as a float32 array (n, ...), or a Dataset as it is.

    Tables pass through :func:`sklearn.utils.validation.validate_data`, which keeps
    ``n_features_in_`` and ``feature_names_in_``; arrays of more dimensions have the shape of an
    input compared with the one seen in ``fit``.
    """
    if is_dataset(X):
        if len(X) == 0:
            raise ValueError("X is a Dataset of length 0; at least one item is needed.")
        shape = tuple(np.shape(first_input(X)))
        if reset:
            for name in ("n_features_in_", "feature_names_in_"):
                if hasattr(estimator, name):
                    delattr(estimator, name)
        _check_shape(estimator, shape, reset)
        return X
    if isinstance(X, torch.Tensor):
        X = X.detach().cpu().numpy()
    # A model wrapped by from_module has seen no data, hence has no count of features to compare.
    if reset or hasattr(estimator, "n_features_in_"):
        with np.errstate(over="ignore", invalid="ignore"):  # becomes inf and is refused
            X = validate_data(estimator, X, dtype=np.float32, allow_nd=True, reset=reset)
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            X = check_array(X, dtype=np.float32, allow_nd=True, estimator=estimator, input_name="X")
    _check_shape(estimator, X.shape[1:], reset)
    return X


def _check_shape(estimator: Any, shape: tuple[int, ...], reset: bool) -> None:
    if reset:
        estimator.input_shape_ = shape
    elif estimator.input_shape_ is not None and shape != estimator.input_shape_:
        raise ValueError(
            f"X has inputs of shape {shape}, but {type(estimator).__name__} was fitted with "
            f"inputs of shape {estimator.input_shape_}."
        )


def first_input(dataset: Any) -> np.ndarray:
    """Return the first input of a Dataset that yields ``x`` or ``(x, y)``."""
    return np.asarray(input_of(dataset[0]), dtype=np.float32)


def input_digests(X: Any) -> list[bytes]:
    """Return a digest of each input of an array or Dataset; the noise of a vote depends on it."""
    inputs = (np.asarray(input_of(X[i]), dtype=np.float32) for i in range(len(X)))
    return [content_digest(x) for x in inputs]


def identical_inputs(X: Any) -> NDArray[np.intp]:
    """Number the inputs such that identical ones, and only these, have equal numbers."""
    digests = [digest.hex() for digest in input_digests(X)]
    return np.unique(digests, return_inverse=True)[1].reshape(-1)


def read_labels(dataset: Any) -> np.ndarray:
    """Read the labels of a Dataset once, in order."""
    labels = []
    for i in range(len(dataset)):
        item = dataset[i]
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise ValueError(
                f"X is a Dataset and y is None, so items must be (x, y); item {i} is "
                f"a {type(item).__name__}."
            )
        label = item[1]
        labels.append(label.item() if isinstance(label, torch.Tensor) else label)
    return np.asarray(labels)


def check_labels(X: Any, y: Any, estimator: Any) -> np.ndarray:
    """Return the labels (n,) of ``X``, as given or read from the Dataset."""
    if y is None:
        if not is_dataset(X):
            raise ValueError(
                f"requires y to be passed, but the target y is None: {type(estimator).__name__} "
                "needs class labels, unless X is a Dataset that yields (x, y)."
            )
        y = read_labels(X)
    if isinstance(y, torch.Tensor):
        y = y.detach().cpu().numpy()
    y = column_or_1d(y, warn=True)
    assert_all_finite(y, input_name="y")
    check_classification_targets(y)
    n_inputs = len(X) if is_dataset(X) else _num_samples(X)
    if len(y) != n_inputs:
        raise ValueError(f"y has {len(y)} labels, but X has {n_inputs} inputs.")
    return y


def check_weights(sample_weight: Any, X: Any) -> np.ndarray | None:
    """Return non-negative weights (n,) in float32, or None."""
    if sample_weight is None:
        return None
    rows = np.empty((len(X), 1), dtype=np.float32) if is_dataset(X) else X
    weights = _check_sample_weight(sample_weight, rows, dtype=np.float32, ensure_non_negative=True)
    if not weights.any():
        raise ValueError("sample_weight is zero for every example; at least one must count.")
    return weights


def encode_labels(y: np.ndarray, classes: np.ndarray, refusal: str | None = None) -> np.ndarray:
    """Return class indices (n,), refusing other labels in the words of ``refusal``, if given."""
    codes = positions(y.tolist(), classes.tolist())
    unseen = sorted({repr(label) for label in y[codes < 0].tolist()})
    if unseen:
        said = refusal or "y contains labels that fit never saw"
        hint = "" if refusal else f" {FOLDS}"
        raise ValueError(
            f"{said}: {', '.join(unseen[:10])}; the classes are {classes.tolist()}.{hint}"
        )
    return codes


def resolve_abstain_label(abstain_label: Any, classes: np.ndarray) -> Any:
    """Return the label that means "abstain" for these classes, or None to never abstain.

    ``"auto"`` is -1 for numbers that lack -1 and ``"abstain"`` for strings that lack it.
    """
    if abstain_label is None:
        return None
    known = classes.tolist()
    is_auto = isinstance(abstain_label, str) and abstain_label == "auto"
    if is_auto:
        strings = all(isinstance(label, str) for label in known)
        abstain_label = "abstain" if strings else -1
        numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in known)
        if not (strings or numbers) or abstain_label in known:
            raise ValueError(
                f"abstain_label='auto' finds no free label among the classes {known}: pass a "
                "label that is none of them, or None to never abstain."
            )
    elif abstain_label in known:
        raise ValueError(
            f"abstain_label={abstain_label!r} is one of the classes {known}; pass another label, "
            "or None to never abstain."
        )
    return abstain_label


def with_abstentions(labels: np.ndarray, abstained: np.ndarray, abstain_label: Any) -> np.ndarray:
    """Return ``labels`` with ``abstain_label`` where abstained, in a dtype that holds both."""
    mark = np.asarray([abstain_label])
    both_numbers = labels.dtype.kind in "iuf" and mark.dtype.kind in "iuf"
    same_kind = labels.dtype.kind == mark.dtype.kind
    dtype = np.result_type(labels, mark) if both_numbers or same_kind else np.dtype(object)
    if labels.dtype.kind == "u" and both_numbers and abstain_label < 0:
        dtype = np.dtype(np.int64)  # uint64 with a negative would become float64
    out = labels.astype(dtype)
    out[abstained] = abstain_label
    return out


def as_fitted(named: Any, X: np.ndarray) -> Any:
    """Return ``X`` as a frame if ``named`` was fitted on one and pandas is installed."""
    names = getattr(named, "feature_names_in_", None)
    if names is None or X.ndim != 2:
        return X
    try:
        import pandas as pd
    except ImportError:
        return X
    return pd.DataFrame(X, columns=names)


def check_scores(model: Any) -> None:
    """Refuse a scikit-learn classifier without probabilities for a decision by scores."""
    if not hasattr(model, "predict_proba"):
        raise TypeError(
            f"a decision by scores needs predict_proba, which {type(model).__name__} lacks; use "
            "decision=None or WeightedVotes(...)."
        )


class PredictedClass:
    """Class indices, or probabilities, from a fitted scikit-learn classifier."""

    def __init__(self, estimator: Any, classes: np.ndarray) -> None:
        self.estimator, self.classes = estimator, classes

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        labels = np.asarray(self.estimator.predict(as_fitted(self.estimator, batch)))
        return encode_labels(labels, self.classes, "module predicts labels that classes lacks")

    def scores(self, batch: np.ndarray) -> np.ndarray:
        """Return the probability of each class, (b, m), in the order of ``classes``."""
        check_scores(self.estimator)
        p = np.asarray(self.estimator.predict_proba(as_fitted(self.estimator, batch)))
        own = np.asarray(self.estimator.classes_)
        found = encode_labels(own, self.classes, "module has labels that classes lacks")
        scores = np.zeros((len(batch), len(self.classes)))
        scores[:, found] = p
        return scores
