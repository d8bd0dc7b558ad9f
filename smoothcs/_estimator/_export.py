"""Export the base classifier of an estimator, with what it means, and read it back."""

from __future__ import annotations

import copy
import io
import json
import os
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from typing_extensions import Self

from smoothcs._estimator._meaning import meaning_of, read_meaning
from smoothcs._soft import check_logits
from smoothcs.certification._npz import written_whole
from smoothcs.votes._forward import copy_module, rounding

_NAME = "smoothcs.json"
_SUFFIXES = (".pt2", ".onnx")


def export_module(
    clf: Any,
    path: str | os.PathLike[str],
    *,
    input_shape: tuple[int, ...] | None = None,
    units: str | None = None,
) -> None:
    """Write the base classifier of a fitted estimator, with all that its answers depend on.

    The file holds the module as a graph that runs without the module's code, in eval mode and for
    batches of any size, and as metadata the classes, costs, decision, ``sigma``, ``noise_scale``,
    the numbers of votes and the shape of an input. ``CostSensitiveSmoothedClassifier.from_module``
    reads it back. The key of the noise is left out: give ``from_module`` the same integer
    ``random_state`` for the same votes.

    Parameters
    ----------
    clf : CostSensitiveSmoothedClassifier
        Fitted, with a torch module as its base.
    path : str or path
        Ends in ``.pt2`` (``torch.export``) or ``.onnx`` (needs ``smoothcs[export]``).
    input_shape : tuple of int, default=None
        Shape of one input; if None, that seen in ``fit``.
    units : str, default=None
        The units of an input, for the record: ``"standard deviations"``, ``"pixels, 0 to 1"``.

    Raises
    ------
    TypeError
        If the base classifier is not a torch module.
    ValueError
        If the suffix is unknown, no shape is known, or torch cannot write the module as a graph
        that gives the same logits.

    See Also
    --------
    smoothcs.load_module : read the file.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.datasets import load_iris
    >>> from smoothcs import CostSensitiveSmoothedClassifier, export_module
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = CostSensitiveSmoothedClassifier(
    ...     objective="gaussian", max_epochs=2, random_state=0
    ... ).fit(X, y)
    >>> path = os.path.join(tempfile.mkdtemp(), "iris.pt2")
    >>> export_module(clf, path, units="cm")
    >>> again = CostSensitiveSmoothedClassifier.from_module(path, random_state=0)
    >>> bool((again.predict(X) == clf.predict(X)).all())
    True
    """
    suffix = _suffix(path)
    check_is_fitted(clf)
    module = getattr(clf, "module_", None)
    if not isinstance(module, nn.Module) or not hasattr(clf, "vote_key_"):
        raise TypeError(
            "clf must be a CostSensitiveSmoothedClassifier whose base is a torch module; got "
            f"{type(clf).__name__}. Of a Pipeline, a search or a tuned classifier, "
            "export the classifier inside; skops and joblib save other bases."
        )
    shape = clf.input_shape_ if input_shape is None else tuple(input_shape)
    if shape is None:
        raise ValueError("input_shape must be given: this estimator has seen no input.")
    meaning = json.dumps(meaning_of(clf, shape, units))
    module = copy_module(module)
    x = torch.randn((2, *shape), generator=torch.Generator().manual_seed(0))
    try:
        content = (_pt2 if suffix == ".pt2" else _onnx)(module, x, meaning)
    except ImportError:
        raise
    except Exception as error:  # each step of torch's export has its own
        raise ValueError(
            f"torch cannot write {type(module).__name__} as a graph of a {suffix} file: {error}"
        ) from error
    written = _loaded(content, suffix, read_meaning(meaning))
    with torch.inference_mode():
        for rows in (x, x[:1], torch.cat([x, -x])):
            logits = module(rows)
            if not bool(((written(rows) - logits).abs() <= rounding(logits, "float32")).all()):
                raise ValueError(
                    f"{type(module).__name__} as a graph gives other logits than the module; does "
                    "its forward pass depend on values, or draw random numbers?"
                )
    with written_whole(path) as file:
        file.write(content)


def load_module(path: str | os.PathLike[str]) -> ExportedModule:
    """Read a file that :func:`export_module` wrote.

    Parameters
    ----------
    path : str or path
        Loading a ``.pt2`` file may run code that it contains, as with a pickle: load your own.
        An ``.onnx`` file is data.

    Returns
    -------
    ExportedModule
        The module; ``meaning`` has its classes, costs, ``sigma`` and the rest.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is damaged, was not written by :func:`export_module`, or contradicts itself.
    """
    suffix = _suffix(path)
    content = Path(path).read_bytes()
    try:
        meaning = _read_pt2(content) if suffix == ".pt2" else _read_onnx(content)
        return _checked(_loaded(content, suffix, meaning))
    except ImportError:
        raise
    except Exception as error:  # zipfile, protobuf, torch and onnxruntime each raise their own
        raise ValueError(
            f"{os.fspath(path)!r} is not a readable file of export_module: {error}"
        ) from error


class ExportedModule(nn.Module):
    """A base classifier read from a file of :func:`export_module`.

    Pickles, and hence joblib's workers, contain the file.

    Attributes
    ----------
    meaning : dict
        Classes, costs, decision, noise, numbers of votes, and the shape, names and units of
        the inputs.
    """

    def __init__(self, graph: Any, meaning: dict[str, Any], content: bytes, suffix: str) -> None:
        super().__init__()
        self.graph, self.meaning = graph, meaning
        self._content, self._suffix = content, suffix
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (b, m)."""
        if isinstance(self.graph, nn.Module):
            return self.graph(x)
        rows = np.ascontiguousarray(x.detach().float().cpu().numpy())
        (logits,) = self.graph.run(None, {self.graph.get_inputs()[0].name: rows})
        return torch.from_numpy(logits).to(x.device)

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode, which is what was exported."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _loaded, (self._content, self._suffix, self.meaning)

    def __deepcopy__(self, memo: dict[int, Any]) -> ExportedModule:
        graph = _twin(self.graph, memo) if isinstance(self.graph, nn.Module) else self.graph
        return type(self)(graph, self.meaning, self._content, self._suffix)


def _twin(module: nn.Module, memo: dict[int, Any]) -> nn.Module:
    """Return a module with tensors of its own that runs the same graph.

    torch copies the graph as well, which warns and is slow; the graph is never changed.
    """
    twin: nn.Module = object.__new__(type(module))
    twin.__dict__.update(module.__dict__)
    twin._parameters = copy.deepcopy(module._parameters, memo)
    twin._buffers = copy.deepcopy(module._buffers, memo)
    twin._modules = {
        name: None if part is None else _twin(part, memo) for name, part in module._modules.items()
    }
    return twin


def _suffix(path: str | os.PathLike[str]) -> str:
    suffix = Path(path).suffix
    if suffix not in _SUFFIXES:
        raise ValueError(f"path must end in one of {_SUFFIXES}; got {os.fspath(path)!r}.")
    return suffix


@contextmanager
def _quiet_torch() -> Iterator[None]:
    """Ignore warnings of torch about its own code."""
    with warnings.catch_warnings():
        for kind in (DeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", kind)
        yield


def _any_batch() -> tuple[dict[int, Any]]:
    return ({0: torch.export.Dim("batch", min=1)},)


def _pt2(module: nn.Module, x: Tensor, meaning: str) -> bytes:
    file = io.BytesIO()
    with _quiet_torch():
        program = torch.export.export(module, (x,), dynamic_shapes=_any_batch(), strict=False)
        torch.export.save(program, file, extra_files={_NAME: meaning})
    return file.getvalue()


def _onnx(module: nn.Module, x: Tensor, meaning: str) -> bytes:
    _onnx_packages()
    with _quiet_torch():
        program = torch.onnx.export(
            module, (x,), dynamo=True, dynamic_shapes=_any_batch(), verbose=False
        )
    proto = program.model_proto  # type: ignore[union-attr]
    entry = proto.metadata_props.add()
    entry.key, entry.value = _NAME, meaning
    return proto.SerializeToString()


def _onnx_packages() -> Any:
    """Return onnxruntime, or say how to install what ONNX files need."""
    try:
        import onnx
        import onnxruntime
        import onnxscript
    except ImportError as error:
        raise ImportError(
            f"ONNX files need {error.name}: pip install 'smoothcs[export]'."
        ) from error
    del onnx, onnxscript  # torch writes with them
    return onnxruntime


def _read_pt2(content: bytes) -> dict[str, Any]:
    """Read the description alone: torch would load more."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [name for name in archive.namelist() if name.endswith(f"/extra/{_NAME}")]
        if len(names) != 1:
            raise ValueError("it has no description by smoothcs")
        return read_meaning(archive.read(names[0]))


def _read_onnx(content: bytes) -> dict[str, Any]:
    metadata = _session(content).get_modelmeta().custom_metadata_map
    if _NAME not in metadata:
        raise ValueError("it has no description by smoothcs")
    return read_meaning(metadata[_NAME])


def _session(content: bytes) -> Any:
    return _onnx_packages().InferenceSession(content, providers=["CPUExecutionProvider"])


def _loaded(content: bytes, suffix: str, meaning: dict[str, Any]) -> ExportedModule:
    if suffix == ".onnx":
        return ExportedModule(_session(content), meaning, content, suffix)
    with _quiet_torch():
        graph = torch.export.load(io.BytesIO(content)).module()
    for parameter in graph.parameters():
        parameter.requires_grad_(False)
    return ExportedModule(graph, meaning, content, suffix)


def _checked(module: ExportedModule) -> ExportedModule:
    """Refuse a module that does not map inputs of its shape to a logit for each class."""
    meaning = module.meaning
    with torch.inference_mode():
        logits = module(torch.zeros((2, *meaning["input_shape"])))
    check_logits(logits, 2, len(meaning["classes"]))
    return module
