"""Noisy scores of held-out inputs, and what any weights make of them, by exact counting.

A copy whose largest score leads by more than weights can differ answers the same at all weights:
it is counted once. The others keep their scores, in float16. Along a line of the search each of
them changes its answer at one threshold, so that one pass gives the votes at every point.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtri
from sklearn.utils.validation import check_is_fitted
from torch import nn

from smoothcs._estimator._base import base_classifier
from smoothcs._estimator._inputs import PredictedClass, check_inputs, first_input, is_dataset
from smoothcs._torch import resolve_devices
from smoothcs._validation import Bools, Floats, check_choice, check_integer, check_positive
from smoothcs.decision import WeightedScores
from smoothcs.tuning._frontier import STEP, Examples, Steps, kept
from smoothcs.votes._forward import Forward
from smoothcs.votes._run import default_batch_size
from smoothcs.votes._source import Source
from smoothcs.votes.noise import PURPOSES, NoiseLaw, NoiseStream, content_digest, make_key

Scores = NDArray[np.float16]

# Two weighted scores this close, relatively, tie; the class with the lower index wins.
_TIE = 1e-5
# Numbers of the largest array that a pass makes.
_CHUNK = 2**18


def sample_scores(
    estimator: Any,
    X: Any,
    n: int = 500,
    *,
    purpose: str = "estimation",
    random_state: Any = None,
) -> Scores:
    """Return the scores that a base classifier gives to noisy copies of each input.

    Parameters
    ----------
    estimator : CostSensitiveSmoothedClassifier
        Fitted; its ``sigma``, ``noise_scale``, ``precision`` and first ``device`` are used.
    X : array-like (n_inputs, d), array or tensor (n_inputs, ...), or Dataset
    n : int, default=500
        Copies of each input.
    purpose : {"selection", "estimation", "prediction"}, default="estimation"
        Which noise of the key to use.
    random_state : None, int, 32 bytes, RandomState or Generator, default=None
        The key of the noise. If None, a fresh one: weights must not be chosen on the noise that
        is certified.

    Returns
    -------
    scores : ndarray of float16 (n_inputs, n, m)
        Softmax of a module's logits, ``predict_proba`` of a scikit-learn model, or what a callable
        returns, at the ``temperature`` of the estimator. 10,000 inputs, 500 copies and 10 classes
        are 100 MB.

    Raises
    ------
    ValueError, TypeError
        If the base classifier has no scores, or gives some that are not finite and >= 0.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from smoothcs import CostSensitiveSmoothedClassifier
    >>> from smoothcs.tuning import sample_scores
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = CostSensitiveSmoothedClassifier(objective="gaussian", max_epochs=5).fit(X, y)
    >>> sample_scores(clf, X[:4], 20, random_state=0).shape
    (4, 20, 3)
    """
    check_is_fitted(estimator)
    # Noise "portfolio" depends on the row, which repeated rows share here.
    check_choice("purpose", purpose, [p for p in PURPOSES if p != "portfolio"])
    check_positive("sigma", estimator.sigma)
    X = check_inputs(estimator, X, reset=False)
    return draw_scores(estimator, X, check_integer("n", n), purpose, make_key(random_state))


def draw_scores(clf: Any, X: Any, n: int, purpose: str, key: bytes) -> Scores:
    """As `sample_scores`, of checked inputs."""
    source, m = Source(X), len(clf.classes_)
    shape = source.get(0).shape
    forward, batch_size = _forward(clf, shape)
    scale = clf._scale(shape)
    law = NoiseLaw(clf.sigma, None if scale is None else scale.ravel())
    scores = np.empty((len(source) * n, m), dtype=np.float16)
    row = 0
    for batch in _noisy_batches(source, n, law, key, purpose, forward.device, batch_size):
        p = _probabilities(forward, batch)
        scores[row : row + len(p)] = p
        row += len(p)
    return scores.reshape(len(source), n, m)


def has_scores(clf: Any, X: Any) -> bool:
    """Tell whether a fitted estimator's base classifier gives a probability per class."""
    module = clf.module_
    if isinstance(module, nn.Module):
        return True
    if isinstance(module, PredictedClass):
        return hasattr(module.estimator, "predict_proba")
    x = first_input(X) if is_dataset(X) else X[0]
    answer = np.asarray(module(np.stack([x, x]).astype(np.float32)))
    return answer.shape == (2, len(clf.classes_)) and bool(
        np.all(answer >= 0) and np.allclose(answer.sum(axis=1), 1.0, atol=1e-3)
    )


def _forward(clf: Any, shape: tuple[int, ...]) -> tuple[Forward, int]:
    """Return what gives scores, weighted by 1, and the rows of one batch."""
    m = len(clf.classes_)
    base = base_classifier(clf.module_, WeightedScores(np.ones(m), clf.temperature), shape, m)
    is_module = isinstance(base, nn.Module)
    device = resolve_devices(clf.device)[0] if is_module else torch.device("cpu")
    forward = Forward(base, shape, device=device, precision=clf.precision, n_classes=m)
    forward.probe(torch.zeros((1, int(np.prod(shape))), device=device))
    if clf.vote_batch_size != "auto":
        return forward, check_integer("vote_batch_size", clf.vote_batch_size)
    # The calls of a scikit-learn model are dear, whatever they hold.
    return forward, default_batch_size(int(np.prod(shape)), device.type) * (1 if is_module else 16)


def _noisy_batches(
    source: Source,
    n: int,
    law: NoiseLaw,
    key: bytes,
    purpose: str,
    device: torch.device,
    batch_size: int,
) -> Iterator[torch.Tensor]:
    """Yield the noisy copies of all inputs in order, as batches (b, size)."""
    generator = torch.Generator(device) if device.type == "cuda" else None
    scale = None if law.scale is None else torch.tensor(law.scale, device=device)
    size = source.get(0).size
    batch = torch.empty((batch_size, size), device=device)
    filled = 0
    for position in range(len(source)):
        x = source.get(position)
        stream = NoiseStream(key, content_digest(x), purpose, x.shape)
        flat = torch.from_numpy(x.copy()).view(-1).to(device)
        block, drawn = 0, 0
        while drawn < n:
            noise = stream.block(block, law.sigma, generator=generator)[: n - drawn]
            noise = noise if scale is None else noise * scale
            block, drawn = block + 1, drawn + len(noise)
            while len(noise) > 0:
                part = batch[filled : filled + len(noise)]
                torch.add(noise[: len(part)], flat, out=part)
                noise, filled = noise[len(part) :], filled + len(part)
                if filled == batch_size:
                    yield batch
                    filled = 0
    if filled > 0:
        yield batch[:filled]


def _probabilities(forward: Forward, batch: torch.Tensor) -> NDArray[np.float32]:
    seen: list[torch.Tensor] = []
    forward.observe = seen.append
    forward.labels(batch)
    with torch.inference_mode():
        output = seen[0].float()
        output = output.softmax(dim=1) if forward.is_module else output
        p: NDArray[np.float32] = output.cpu().numpy()
    if not np.isfinite(p).all():
        raise ValueError("the base classifier returned scores that are nan or infinite.")
    return p


@dataclass(frozen=True)
class ScoreTable:
    """What scores of noisy copies say about n examples at one eps.

    ``decided`` (n, m) are the votes that no weights change; ``scores`` (m, N) belong to the other
    copies, those of input i from ``start[i]`` on. ``most[t, k]`` is the largest number of votes of
    a target that cannot overtake an answer with k votes, if t targets share the level. The two
    inputs sums by fold, ``constant`` and what is known of points, serve every part of the table.
    """

    examples: Examples
    decided: NDArray[np.int64]
    scores: Scores
    start: NDArray[np.int64]
    most: NDArray[np.int64] | None
    n_targets: NDArray[np.int64]
    all_examples: Examples
    folds: tuple[int, ...]
    known: dict[bytes, Floats] = field(default_factory=dict)

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return self.decided.shape[1]

    def without(self, fold: int) -> ScoreTable:
        """The table of all folds but one."""
        return self._part(tuple(f for f in self.folds if f != fold))

    def only(self, fold: int) -> ScoreTable:
        """The table of one fold."""
        return self._part((fold,))

    def _part(self, folds: tuple[int, ...]) -> ScoreTable:
        rows = np.flatnonzero(np.isin(self.all_examples.fold, folds))
        return replace(self, examples=self.all_examples.take(rows), folds=folds)

    def totals(self, steps: Steps) -> Floats:
        """Totals (3,) of correct answers, clean cost and gain at log weights given in steps."""
        first = np.arange(self.n_classes) == 0
        return self._sums(steps, first, np.zeros(1, dtype=np.int64))[0]

    def along(self, steps: Steps, chosen: Bools, moves: Steps) -> tuple[Floats, Floats]:
        """What is kept, and mean gain, when the classes ``chosen`` move by each of ``moves``."""
        totals = self._sums(steps, chosen, moves)
        return kept(self.examples, totals), totals[:, 2] / self.examples.sizes()[2]

    def _sums(self, steps: Steps, chosen: Bools, moves: Steps) -> Floats:
        """Totals (g, 3) over the folds of this part; all folds are counted in one pass."""
        points = steps + moves[:, None] * chosen
        keys = [point.tobytes() for point in points - points.min(axis=1, keepdims=True)]
        if not all(key in self.known for key in keys):
            self.known.update(zip(keys, self._count(steps, chosen, moves), strict=True))
        return np.stack([self.known[key] for key in keys])[:, list(self.folds)].sum(axis=1)

    def _count(self, steps: Steps, chosen: Bools, moves: Steps) -> Floats:
        """Totals (g, F, 3) of every fold."""
        n, m = self.decided.shape
        n_points = len(moves)
        fold = np.arange(self.all_examples.fold.max() + 1)[:, None] == self.all_examples.fold
        totals = np.zeros((len(fold), n_points, 3))
        per_input = max(m * (n_points + 1), m * int(np.diff(self.start).max(initial=0)))
        for first in range(0, n, max(_CHUNK // per_input, 1)):
            rows = np.arange(first, min(first + max(_CHUNK // per_input, 1), n))
            votes = self._votes(rows, steps, chosen, moves)
            examples = self.all_examples.take(rows)
            label = votes.argmax(axis=1)
            values = examples.values(label, self._held(rows, votes, label))
            totals += np.einsum("fn,ngk->fgk", fold[:, rows].astype(np.float64), values)
        return totals.transpose(1, 0, 2)

    def _votes(
        self, rows: NDArray[np.intp], steps: Steps, chosen: Bools, moves: Steps
    ) -> NDArray[np.int64]:
        """Votes (r, m, g) of some inputs at every point of a line."""
        m, size = self.n_classes, len(moves) + 1
        stop = rows[-1] + 1
        weights = np.exp(STEP * (steps - steps.max())).astype(np.float32)
        scores = self.scores[:, self.start[rows[0]] : self.start[stop]]
        weighted = torch.from_numpy(scores).float().numpy()  # several times as fast as NumPy's
        weighted *= weights[:, None]
        inside, a_in = _leader(weighted, np.flatnonzero(chosen))
        outside, a_out = _leader(weighted, np.flatnonzero(~chosen))
        with np.errstate(divide="ignore"):
            change = np.log(outside) - np.log(inside)
        change += np.where(a_in > a_out, _TIE, -_TIE)
        # The chosen classes win from this point of the line on.
        place = np.ceil(change / STEP - moves[0]).clip(0, size - 1).astype(np.int64)
        held = np.diff(self.start[rows[0] : stop + 1])
        owner = np.repeat(np.arange(len(rows)) * m, held)
        shape = (len(rows), m, size)
        votes = np.bincount((owner + a_in) * size + place, minlength=np.prod(shape))
        votes -= np.bincount((owner + a_out) * size + place, minlength=np.prod(shape))
        at_start = np.bincount(owner + a_out, minlength=len(rows) * m).reshape(shape[:2])
        at_start += self.decided[rows]
        return (votes.reshape(shape).cumsum(axis=2) + at_start[:, :, None])[:, :, :-1]

    def _held(
        self, rows: NDArray[np.intp], votes: NDArray[np.int64], label: NDArray[np.intp]
    ) -> Bools | None:
        if self.most is None:
            return None
        top = np.take_along_axis(votes, label[:, None], axis=1)
        return votes <= self.most[self.n_targets[rows][:, None, None], top]


def score_table(
    scores: Scores,
    examples: Examples,
    span: int,
    bounds: Any,
    n_targets: NDArray[np.int64],
    eta: float,
) -> ScoreTable:
    """Prepare the table of scores (n, copies, m).

    ``bounds(counts, t)`` gives bounds on shares of votes if t targets share the level; None: there
    is no noise.
    """
    n, copies, m = scores.shape
    rows_at_once = max(_CHUNK // (copies * m), 1)
    decided = np.zeros((n, m), dtype=np.int64)
    is_open = np.empty((n, copies), dtype=bool)
    for first in range(0, n, rows_at_once):
        part = scores[first : first + rows_at_once].astype(np.float32)
        second, largest = np.moveaxis(np.partition(part, m - 2, axis=2)[:, :, -2:], 2, 0)
        if not (largest > 0).all():
            raise ValueError("every copy needs a score > 0 for some class.")
        still_open = largest <= 1.001 * np.exp(STEP * span) * second
        is_open[first : first + rows_at_once] = still_open
        answer = part.argmax(axis=2) + m * np.arange(len(part))[:, None]
        votes = np.bincount(answer[~still_open], minlength=len(part) * m)
        decided[first : first + rows_at_once] = votes.reshape(-1, m)
    start = np.concatenate([[0], is_open.sum(axis=1).cumsum()])
    kept_scores = np.empty((m, start[-1]), dtype=np.float16)
    for first in range(0, n, rows_at_once):
        stop = min(first + rows_at_once, n)
        kept_scores[:, start[first] : start[stop]] = scores[first:stop][is_open[first:stop]].T
    most = None if bounds is None else _most(copies, n_targets, bounds, eta)
    folds = tuple(range(int(examples.fold.max()) + 1))
    return ScoreTable(examples, decided, kept_scores, start, most, n_targets, examples, folds)


def _most(copies: int, n_targets: NDArray[np.int64], bounds: Any, eta: float) -> NDArray[np.int64]:
    """The largest number of votes of a target that cannot overtake k votes, -1 for none."""
    counts = np.arange(copies + 1)
    most = np.full((n_targets.max() + 1, copies + 1), -1, dtype=np.int64)
    for t in np.unique(n_targets):
        lower, upper = bounds(counts, t)
        stays = log_ndtr(ndtri(lower) - eta)
        taken, left = log_ndtr(ndtri(upper) + eta), log_ndtr(ndtri(1.0 - lower) + eta)
        # The bounds rise with the votes.
        fewer = np.searchsorted(taken, stays, side="left") - 1
        most[t] = np.where(stays > left, copies, fewer)
    return most


def _leader(
    weighted: NDArray[np.float32], classes: NDArray[np.intp]
) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
    """Largest score and its class, the lowest at a tie, among some classes."""
    best = weighted[classes[0]].copy()
    who = np.full(best.shape, classes[0], dtype=np.int16)
    for k in classes[1:].astype(np.int16):
        np.copyto(who, k, where=weighted[k] > best)
        np.maximum(best, weighted[k], out=best)
    return best, who
