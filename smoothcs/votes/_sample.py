"""The sampling engine: how often a base classifier predicts each class under Gaussian noise.

For every input x the classifier labels x + d for many draws d ~ N(0, sigma^2 I), and the labels are
counted. Several inputs share a batch, noise is drawn block by block where it is used, and memory is
in proportion to the batch, whatever ``n`` is.

What is promised about equal votes: the *noise* of an input depends on the key, the content of the
input, the purpose and the kind of device (and, for a portfolio, on the row), and on nothing else
(:mod:`smoothcs.votes.noise`): not on the batch size, the other inputs or their order, the number of
threads, processes or devices, nor on ``n``, whose draws begin with those of every smaller ``n``.
Votes are then equal as far as the classifier gives equal labels to a row whatever batch it is in.
All forward passes of a call have the same shape, so that this is so for nearly all modules at a
given ``batch_size``; between batch sizes the last bit of a logit may differ, and with it the label
of a row whose two largest logits agree to about seven digits (one in some millions).

A certificate applies to the classifier that was run. A module that votes in bfloat16 is another
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
from numpy.typing import ArrayLike
from torch import nn

from smoothcs._validation import (
    check_choice,
    check_integer,
    check_n_jobs,
    check_noise_scale,
    check_positive,
)
from smoothcs.votes._fingerprint import ENOUGH, VOTED_AGAIN, agree
from smoothcs.votes._forward import PRECISIONS
from smoothcs.votes._progress import Progress
from smoothcs.votes._resume import Record, ResumeFile, header_of
from smoothcs.votes._run import (
    _VOTES_GUESSED,
    LocalRun,
    Settings,
    ask_local_run,
    draw_in_shards,
    restore,
    settings_for_probe,
)
from smoothcs.votes._scheduler import Input, Schedule
from smoothcs.votes._source import Source
from smoothcs.votes.noise import PURPOSES, NoiseLaw, content_digest, make_key

__all__ = ["PRECISIONS", "FixedNumber", "VotesInterrupted", "sample_votes"]


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
        return np.full(len(index), self.n, dtype=np.int64)


def sample_votes(
    classifier: nn.Module | Callable[[np.ndarray], Any],
    X: Any,
    n: int | Schedule,
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
    noise_scale: ArrayLike | None = None,
    verbose: int = 0,
) -> np.ndarray:
    """Count the labels that a classifier gives to noisy copies of every input.

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
    n : int or callable
        Votes per input, or a schedule of a number of votes that depends on the votes:
        ``n(index, counts)`` receives the indices of some inputs, intp of shape (k,), and their
        votes so far, int64 of shape (k, n_classes), and returns the cumulative number of votes
        that each of them needs next, shape (k,). It is asked first with zeros and then whenever
        that number is reached; a number not above the current one finishes an input. The votes
        are always those of the first draws, however batches were made up. A schedule is never
        called by two threads at once and may keep a state for each input. With ``n_jobs`` > 1,
        copies of it (it must be picklable) decide in the workers, and it is then called itself
        with the same votes. A resume file tells schedules apart by their ``repr`` and, if they
        have the method, by ``n.claim(index) -> str``.
    sigma : float
        Standard deviation of the noise, in units of X.
    n_classes : int, optional
        Number of classes; needed for a classifier that returns labels, checked for one that returns
        logits.
    purpose : {"selection", "estimation", "prediction", "portfolio"}, default="estimation"
        What the votes are for. Different purposes never share noise. Votes for "portfolio" are
        independent between rows, as :func:`smoothcs.portfolio.certify_portfolio` needs them; for
        all others, equal rows of X have equal votes.
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
    certified : callable, optional
        ``certified(index, counts) -> bool`` is asked of every finished input, for the progress bar.
    noise_scale : array-like, default=None
        Entry j of an input gets noise of standard deviation ``sigma * noise_scale[j]``; of a shape
        that broadcasts to that of an input. 0: no noise. None: 1 everywhere.
    verbose : int, default=0
        Whether to show progress.

    Returns
    -------
    ndarray of int64, shape (n_inputs, n_classes)
        Votes; every row sums to ``n``, or to what the schedule asked for.

    Raises
    ------
    ValueError
        If a parameter is out of range, an input is not finite, or the classifier returns anything
        but finite logits of one width or labels in range; the message names the input. If the
        resume file is damaged or holds other votes.
    VotesInterrupted
        On Ctrl-C; a KeyboardInterrupt that carries the votes of the finished inputs.

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

    A schedule that stops when class 0 has ten votes:

    >>> def until_ten(index, counts):
    ...     return np.where(counts[:, 0] < 10, counts.sum(axis=1) + 10, 0)
    >>> X = np.array([[-2.0], [2.0], [0.0]])
    >>> votes = sample_votes(lambda x: (x[:, 0] > 0).astype(int), X, until_ten, 1.5, n_classes=2,
    ...                      random_state=0)
    >>> (votes[:, 0] >= 10).all()
    np.True_
    """
    settings = Settings(
        classifier=classifier,
        schedule=n if callable(n) else FixedNumber(check_integer("n", n)),
        noise=NoiseLaw(check_positive("sigma", sigma), None),
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
    if noise_scale is not None and len(source):
        scale = check_noise_scale(noise_scale, source.get(0).shape)
        settings = replace(settings, noise=NoiseLaw(settings.noise.sigma, scale.ravel()))
    if len(source) == 0:
        if n_classes is None:
            raise ValueError("X holds no input, and without one n_classes must be given.")
        return np.zeros((0, n_classes), dtype=np.int64)
    try:
        sampling = _Sampling(settings, source, n_jobs, certified, verbose)
    except KeyboardInterrupt:
        if n_classes is None:
            raise
        none = np.zeros((len(source), n_classes), dtype=np.int64)
        raise VotesInterrupted(none, np.zeros(len(source), dtype=bool)) from None
    return sampling.run(resume_from)


class _Sampling:
    """One call: what is restored, what is drawn where, and what is finished so far."""

    def __init__(
        self,
        settings: Settings,
        source: Source,
        n_jobs: int | None,
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
        self._local = LocalRun(
            settings_for_probe(settings) if self._sharded else settings,
            source.get(0),
            (self._fixed or _VOTES_GUESSED) * len(source),
        )
        self._votes = np.zeros((len(source), self._local.n_classes), dtype=np.int64)
        self._finished = np.zeros(len(source), dtype=bool)
        self._store: ResumeFile | None = None

    def run(self, resume_from: str | os.PathLike[str] | None) -> np.ndarray:
        """Return the votes of all inputs."""
        try:
            if resume_from is not None:
                self._restore(resume_from)
            self._draw(self._source.part(np.flatnonzero(~self._finished)))
        except KeyboardInterrupt:
            self._votes[~self._finished] = 0
            raise VotesInterrupted(self._votes, self._finished) from None
        finally:
            if self._store is not None:
                self._store.close()
        return self._votes

    def _restore(self, path: str | os.PathLike[str]) -> None:
        """Open the resume file and enter what it holds, if it holds votes of this call."""
        settings, run, x = self._settings, self._local, self._source.get(0)
        outputs = self._ask("outputs", x)
        if not agree(outputs, self._ask("outputs", x), settings.precision):
            raise ValueError(
                "resume_from needs a classifier that gives one answer to one input; this one gave "
                "two to noisy copies of X[0]."
            )
        header = header_of(
            noise=settings.noise,
            key=settings.key,
            precision=settings.precision,
            on_cuda=settings.on_cuda,
            n_classes=run.n_classes,
            batch_size=settings.batch_size if self._sharded else run.batch_size,
            digest=content_digest(x),
            outputs=outputs,
            rule=getattr(settings.classifier, "rule_id", None),
        )
        store = self._store = ResumeFile(path, header)
        batch_size = store.header["batch_size"]
        if settings.batch_size == "auto" and batch_size != "auto":
            if batch_size > max(_MOST_FLOATS_FROM_A_FILE // x.size, 32):
                raise ValueError(
                    f"resume_from={str(path)!r} asks for batches of {batch_size} inputs "
                    f"of size {x.size}; if it was drawn so, pass batch_size={batch_size}."
                )
            # The last bit of a logit may depend on it.
            run.batch_size = batch_size
            self._settings = replace(settings, batch_size=batch_size)
        records = restore(settings, self._source, store)
        name = f"resume_from={str(path)!r}"
        self._replay(records, f"{name} is damaged")
        self._vote_again(records, name)
        for record in records:
            self._enter(record.index, record.digest, record.looks)

    def _vote_again(self, records: list[Record], name: str) -> None:
        """Draw the closest of some votes again, and refuse them if they are others."""
        records = [record for record in records if len(record.looks) > 0]
        records.sort(key=lambda r: int(r.looks[-1].max() - r.looks[-1].sum()))
        for record in records[:VOTED_AGAIN]:
            enough = int(np.searchsorted(record.looks.sum(axis=1), ENOUGH))
            votes = record.looks[min(enough, len(record.looks) - 1)]
            x = self._source.get(record.index)
            again, near_ties = self._ask("vote_again", x, record.index, int(votes.sum()))
            if np.abs(again - votes).sum() > 2 * near_ties:
                raise ValueError(
                    f"{name} holds votes of another classifier: of {votes.sum()} noisy copies of "
                    f"X[{record.index}] it had the votes {votes.tolist()}, and this one has "
                    f"{again.tolist()}."
                )

    def _ask(self, method: str, x: np.ndarray, *args: Any) -> Any:
        """Call a method of a LocalRun where votes are drawn: here, or in a worker process."""
        if not self._sharded:
            return getattr(self._local, method)(x, *args)
        job = joblib.delayed(ask_local_run)(self._settings, method, x, *args)
        return joblib.Parallel(n_jobs=self._n_jobs)([job])[0]

    def _draw(self, left: Source) -> None:
        settings = self._settings
        progress = Progress(
            len(self._source),
            len(self._source) - len(left),
            settings.purpose,
            self._fixed,
            show=self._verbose,
        )

        def keep(index: int, digest: bytes, looks: np.ndarray) -> None:
            record = settings.record(index, digest, looks)
            self._enter(index, digest, looks)
            if self._store is not None and record not in self._store:
                self._store.append(record)
            progress.add_input(None if self._certified is None else self._n_certified)

        def keep_own(owner: Input) -> None:
            keep(owner.name, owner.digest, owner.all_looks())

        def keep_from_shard(index: int, digest: bytes, looks: np.ndarray) -> None:
            record = settings.record(index, digest, looks)
            self._replay([record], "n, the schedule, answers otherwise in a worker process")
            progress.add_votes(int(looks[-1:].sum()))
            keep(index, digest, looks)

        try:
            if len(left) > 0 and self._sharded:
                draw_in_shards(settings, left, self._n_jobs, self._store, keep_from_shard)
            elif len(left) > 0:
                self._local.draw(left, keep_own, progress.add_votes)
        finally:
            progress.close()

    def _replay(self, records: list[Record], otherwise: str) -> None:
        """Show the schedule what it would have seen, had the inputs been drawn in this process."""
        counts = np.zeros((len(records), self._local.n_classes), dtype=np.int64)
        asked, look = list(range(len(records))), 0
        while asked:
            index = np.array([records[i].index for i in asked])
            wanted = np.asarray(self._settings.schedule(index, counts[asked].copy()))
            for i, n in zip(asked, wanted, strict=True):
                looks = records[i].looks
                finished = n <= counts[i].sum()
                counts[i] = looks[look] if look < len(looks) else 0
                if counts[i].sum() != (0 if finished else n):
                    raise ValueError(
                        f"{otherwise}: input {records[i].index} has the votes {looks.tolist()}; "
                        f"expected {'no' if finished else n} votes at look {look + 1}."
                    )
            asked = [i for i in asked if look < len(records[i].looks)]
            look += 1

    def _enter(self, index: int, digest: bytes, looks: np.ndarray) -> None:
        self._source.check(index, digest)
        if len(looks) > 0:
            self._votes[index] = looks[-1]
        self._finished[index] = True
        if self._certified is not None:
            self._n_certified += bool(self._certified(index, self._votes[index].copy()))
