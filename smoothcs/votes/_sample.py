"""The sampling engine: how often a base classifier predicts each class under Gaussian noise.

For every input x the classifier labels x + d for many draws d ~ N(0, sigma^2 I), and the labels are
counted. Several inputs share a batch, noise is drawn block by block where it is used, and memory is
in proportion to the batch, whatever ``n`` is.

What is promised about equal votes: the *noise* of an input depends on the key, the content of the
input, the purpose and the kind of device, and on nothing else (:mod:`smoothcs.votes.noise`): not
on the batch size, the other inputs or their order, the number of threads, processes or devices, nor
on ``n``, whose draws begin with those of every smaller ``n``. Votes are then equal as far as the
classifier gives equal labels to a row whatever batch it is in. All forward passes of a call have
the same shape, so that this is so for nearly all modules at a given ``batch_size``; between batch
sizes the last bit of a logit may differ, and with it the label of a row whose two largest logits
agree to about seven digits (one in some millions).

The certificate speaks of the classifier that was run. A module that votes in bfloat16 is another
classifier than the same module in float32: certify and predict with the same ``precision``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import joblib
import numpy as np
import torch
from torch import nn

from smoothcs._validation import check_choice, check_integer, check_n_jobs, check_positive
from smoothcs.votes._forward import PRECISIONS
from smoothcs.votes._progress import Progress
from smoothcs.votes._resume import ResumeFile, header_of
from smoothcs.votes._run import LocalRun, Settings, draw_in_shards, restore, settings_for_probe
from smoothcs.votes._scheduler import Input, Schedule, Source
from smoothcs.votes.noise import PURPOSES, make_key

__all__ = ["PRECISIONS", "FixedNumber", "VotesInterrupted", "draw_votes", "sample_votes"]


# Twice the largest batch that "auto" makes: a file must not ask for all memory (256 MiB).
_MOST_FLOATS_FROM_A_FILE = 2**26


class VotesInterrupted(KeyboardInterrupt):
    """Sampling was interrupted (Ctrl-C); carries the finished part.

    Attributes
    ----------
    votes : ndarray of int64, shape (n_inputs, n_classes)
        Votes of the finished inputs; zeros for the others, which certifies nothing.
    finished : ndarray of bool, shape (n_inputs,)
        Which inputs are finished.
    """

    def __init__(self, votes: np.ndarray, finished: np.ndarray) -> None:
        super().__init__(f"interrupted with {finished.sum()} of {len(finished)} inputs finished")
        self.votes = votes
        self.finished = finished


@dataclass(frozen=True)
class FixedNumber:
    """The schedule that wants ``n`` votes of every input."""

    n: int

    def __call__(self, index: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return ``n`` for each input."""
        return np.full(len(index), self.n)


def sample_votes(
    classifier: nn.Module | Callable[[np.ndarray], Any],
    X: Any,
    n: int,
    sigma: float,
    *,
    n_classes: int | None = None,
    purpose: str = "estimation",
    random_state: int | bytes | np.random.RandomState | np.random.Generator | None = None,
    precision: str = "float32",
    device: str | torch.device | Sequence[str | torch.device] = "auto",
    batch_size: int | str = "auto",
    compile: bool = False,
    n_jobs: int | None = None,
    resume_from: str | os.PathLike[str] | None = None,
    verbose: int = 0,
) -> np.ndarray:
    """Count the labels that a classifier gives to ``n`` noisy copies of every input.

    Parameters
    ----------
    classifier : nn.Module or callable
        A module receives tensors of shape (b, ...) and runs in eval and inference mode; it is
        copied (weights shared) and never changed. Any other callable receives NumPy float32 arrays
        of shape (b, ...), in one thread at a time. Either returns logits of shape (b, m), where
        ties go to the lowest class, or integer labels of shape (b,).
    X : array, tensor or data set
        The inputs, shape (n_inputs, ...): a NumPy array or a tensor, converted to float32 without
        scaling, or anything with ``__len__`` and ``__getitem__`` (a torch Dataset) that gives x or
        (x, y); items of a data set are read when their turn comes.
    n : int
        Votes per input.
    sigma : float
        Standard deviation of the noise, in units of X.
    n_classes : int, optional
        Number of classes; needed for a classifier that returns labels, checked for one that returns
        logits.
    purpose : {"selection", "estimation", "prediction"}, default="estimation"
        What the votes are for. Different purposes never share noise.
    random_state : None, int, 32 bytes, RandomState or Generator, default=None
        The key of the noise, see :func:`smoothcs.votes.noise.make_key`. None draws a
        fresh secret one.
    precision : {"float32", "bfloat16", "float16"}, default="float32"
        What a module computes in. Noise is drawn and added in float32 and then cast.
    device : "auto", str, torch.device or list of these, default="auto"
        Where a module runs; "auto" is CUDA if there is a device, else the CPU. Inputs are spread
        over a list of devices.
    batch_size : int or "auto", default="auto"
        Rows of one forward pass (of each core, on the CPU). "auto" depends on the size of an input
        and, where a run is long enough to gain by it, is measured once for a module and a device.
        It is halved when memory does not suffice.
    compile : bool, default=False
        Whether a module is run through ``torch.compile``, which needs a C++ compiler and about
        half a minute; on the CPU with its weights frozen.
    n_jobs : int, optional
        Number of joblib processes among which the inputs are divided; None means 1 unless in a
        :func:`joblib.parallel_config` context (loky, dask). It does not change the votes. What a
        worker process that dies has not delivered is drawn again.
    resume_from : path, optional
        A file to which the votes of every finished input are appended, and from which a run that
        was killed is continued to the same votes. It may serve several purposes. Needs a
        ``random_state`` other than None.
    verbose : int, default=0
        Whether to show progress.

    Returns
    -------
    ndarray of int64, shape (n_inputs, n_classes)
        Votes; every row sums to ``n``.

    Raises
    ------
    ValueError
        If a parameter is out of range, an input is not finite, or the classifier returns anything
        but finite logits of one width or labels in range; the message names the input. If the
        resume file is damaged or holds other votes.
    VotesInterrupted
        On Ctrl-C; a KeyboardInterrupt that carries the votes of the finished inputs.

    See Also
    --------
    draw_votes : a number of votes that depends on the votes.

    Examples
    --------
    >>> import numpy as np
    >>> from smoothcs.votes import sample_votes
    >>> X = np.array([[0.0, 0.0], [0.5, 0.0], [3.0, 0.0]])
    >>> votes = sample_votes(lambda x: (x[:, 0] > 0).astype(int), X, 1000, 0.5, n_classes=2,
    ...                      random_state=0)
    >>> votes.sum(axis=1)
    array([1000, 1000, 1000])
    >>> votes[2]
    array([   0, 1000])
    """
    n = check_integer("n", n)
    return draw_votes(
        classifier,
        X,
        FixedNumber(n),
        sigma,
        n_classes=n_classes,
        purpose=purpose,
        random_state=random_state,
        precision=precision,
        device=device,
        batch_size=batch_size,
        compile=compile,
        n_jobs=n_jobs,
        resume_from=resume_from,
        verbose=verbose,
    )


def draw_votes(
    classifier: nn.Module | Callable[[np.ndarray], Any],
    X: Any,
    schedule: Schedule,
    sigma: float,
    *,
    n_classes: int | None = None,
    purpose: str = "estimation",
    random_state: int | bytes | np.random.RandomState | np.random.Generator | None = None,
    precision: str = "float32",
    device: str | torch.device | Sequence[str | torch.device] = "auto",
    batch_size: int | str = "auto",
    compile: bool = False,
    n_jobs: int | None = None,
    resume_from: str | os.PathLike[str] | None = None,
    certified: Callable[[int, np.ndarray], bool] | None = None,
    verbose: int = 0,
) -> np.ndarray:
    """Count labels until ``schedule`` has enough of them, input by input.

    Parameters
    ----------
    schedule : callable
        ``schedule(index, counts) -> targets`` is asked for the cumulative number of votes that
        each of k inputs needs next: ``index`` and the answer are int arrays of shape (k,),
        ``counts`` is int64 of shape (k, n_classes). It is asked about an input first with counts
        of zero and then whenever the last number is reached; an answer not above the current
        number finishes the input. The counts are always those of the first draws of the stream,
        however batches were made up; which inputs are asked about together may differ from run to
        run, so an answer must depend on the counts of that input only. It is never called by two
        threads at once, and may keep a state.
        With ``n_jobs`` > 1 copies of it (it must be picklable) decide in the workers, and it is
        then called itself with the same counts. A resume file tells schedules apart by their
        ``repr``.
    certified : callable, optional
        ``certified(index, counts) -> bool`` is asked for every finished input, for the bar.
    classifier, X, sigma, n_classes, purpose, random_state, precision, device, batch_size, \
    compile, n_jobs, resume_from, verbose
        As in :func:`sample_votes`.

    Returns
    -------
    ndarray of int64, shape (n_inputs, n_classes)
        Votes; rows have different sums.

    Raises
    ------
    ValueError, VotesInterrupted
        As :func:`sample_votes`.

    Examples
    --------
    >>> import numpy as np
    >>> from smoothcs.votes import draw_votes
    >>> def until_ten_of_class_0(index, counts):
    ...     return counts.sum(axis=1) + np.where(counts[:, 0] < 10, 10, 0)
    >>> X = np.array([[-2.0], [2.0], [0.0]])
    >>> votes = draw_votes(lambda x: (x[:, 0] > 0).astype(int), X, until_ten_of_class_0, 1.5,
    ...                    n_classes=2, random_state=0)
    >>> (votes[:, 0] >= 10).all()
    np.True_
    """
    settings = Settings(
        classifier=classifier,
        schedule=schedule,
        sigma=check_positive("sigma", sigma),
        n_classes=None if n_classes is None else check_integer("n_classes", n_classes, low=2),
        purpose=check_choice("purpose", purpose, PURPOSES),
        key=make_key(random_state),
        precision=check_choice("precision", precision, PRECISIONS),
        device=device,
        batch_size=batch_size
        if isinstance(batch_size, str) and batch_size == "auto"
        else check_integer("batch_size", batch_size),
        compile=compile,
    )
    if not callable(classifier):
        raise TypeError(
            "classifier must be an nn.Module or a callable that maps a batch to logits or labels; "
            f"got {type(classifier).__name__}."
        )
    if resume_from is not None and random_state is None:
        raise ValueError(
            "resume_from needs a random_state: an integer, or the bytes of "
            "smoothcs.votes.noise.make_key kept between the runs. A fresh secret key cannot be "
            "continued."
        )
    check_n_jobs(n_jobs)
    source = Source(X)
    if len(source) == 0:
        if n_classes is None:
            raise ValueError("X holds no input, and without one n_classes must be given.")
        return np.zeros((0, n_classes), dtype=np.int64)
    try:
        sampling = _Sampling(settings, source, n_jobs, resume_from, certified, verbose)
    except KeyboardInterrupt:
        if n_classes is None:
            raise
        none = np.zeros((len(source), n_classes), dtype=np.int64)
        raise VotesInterrupted(none, np.zeros(len(source), dtype=bool)) from None
    return sampling.run()


def _is_one_look(looks: np.ndarray, n: int) -> bool:
    # The largest first: a sum of huge numbers may wrap round.
    return len(looks) == 1 and bool(looks.max() <= n) and bool(looks.sum() == n)


class _Sampling:
    """One call: what is restored, what is drawn where, and what is finished so far."""

    def __init__(
        self,
        settings: Settings,
        source: Source,
        n_jobs: int | None,
        resume_from: str | os.PathLike[str] | None,
        certified: Callable[[int, np.ndarray], bool] | None,
        verbose: int,
    ) -> None:
        self._settings = settings
        self._source = source
        self._n_jobs = n_jobs
        self._certified = certified
        self._n_certified = 0
        self._verbose = bool(verbose)
        self._fixed = settings.schedule.n if isinstance(settings.schedule, FixedNumber) else None
        self._sharded = min(joblib.effective_n_jobs(n_jobs), len(source)) > 1
        # Workers may have other devices than this process, which then only counts the classes.
        run = LocalRun(
            settings_for_probe(settings) if self._sharded else settings,
            source.get(0),
            (self._fixed or 1000) * len(source),
        )
        self._local = run
        self._votes = np.zeros((len(source), run.n_classes), dtype=np.int64)
        self._finished = np.zeros(len(source), dtype=bool)
        self._store: ResumeFile | None = None
        if resume_from is not None:
            header = header_of(
                settings.classifier,
                sigma=settings.sigma,
                key=settings.key,
                precision=settings.precision,
                on_cuda=settings.on_cuda,
                n_classes=run.n_classes,
                batch_size=settings.batch_size if self._sharded else run.batch_size,
            )
            self._store = ResumeFile(resume_from, header)
            batch_size = self._store.header["batch_size"]
            if settings.batch_size == "auto" and batch_size != "auto":
                size = source.get(0).size
                if batch_size > max(_MOST_FLOATS_FROM_A_FILE // size, 32):
                    self._store.close()
                    raise ValueError(
                        f"resume_from={str(resume_from)!r} asks for batches of {batch_size} inputs "
                        f"of size {size}; if it was drawn so, pass batch_size={batch_size}."
                    )
                # The last bit of a logit may depend on it.
                run.batch_size = batch_size
                self._settings = replace(settings, batch_size=batch_size)

    def run(self) -> np.ndarray:
        """Return the votes of all inputs."""
        progress = None
        try:
            if self._store is not None:
                for index, _, looks in restore(self._settings, self._source, self._store):
                    if self._fixed is not None and not _is_one_look(looks, self._fixed):
                        raise ValueError(
                            f"resume_from={str(self._store.path)!r} is damaged: the votes of input "
                            f"{index} are {looks.tolist()}; expected one look at n = {self._fixed}."
                        )
                    self._replay(index, looks)
                    self._enter(index, looks)
            left = self._source.part(np.flatnonzero(~self._finished))
            progress = Progress(
                len(self._source),
                len(self._source) - len(left),
                self._settings.purpose,
                self._fixed,
                show=self._verbose,
            )
            self._draw(left, progress)
        except KeyboardInterrupt:
            self._votes[~self._finished] = 0
            raise VotesInterrupted(self._votes, self._finished) from None
        finally:
            if progress is not None:
                progress.close()
            if self._store is not None:
                self._store.close()
        return self._votes

    def _draw(self, left: Source, progress: Progress) -> None:
        def keep(index: int, digest: bytes, looks: np.ndarray) -> None:
            record = self._settings.record(index, digest, looks)
            if self._store is not None and record not in self._store:
                self._store.append(record)
            self._enter(index, looks)
            progress.add_input(None if self._certified is None else self._n_certified)

        def keep_own(owner: Input) -> None:
            keep(owner.name, owner.digest, owner.all_looks())

        def keep_from_shard(index: int, digest: bytes, looks: np.ndarray) -> None:
            self._replay(index, looks)
            progress.add_votes(int(looks[-1:].sum()))
            keep(index, digest, looks)

        if len(left) > 0 and self._sharded:
            draw_in_shards(self._settings, left, self._n_jobs, self._store, keep_from_shard)
        elif len(left) > 0:
            self._local.draw(left, keep_own, progress.add_votes)

    def _replay(self, index: int, looks: np.ndarray) -> None:
        """Show the schedule what it would have seen, had the input been drawn in this process."""
        for counts in looks:
            self._settings.schedule(np.array([index]), counts[None].copy())

    def _enter(self, index: int, looks: np.ndarray) -> None:
        if len(looks) > 0:
            self._votes[index] = looks[-1]
        self._finished[index] = True
        if self._certified is not None:
            self._n_certified += bool(self._certified(index, self._votes[index].copy()))
