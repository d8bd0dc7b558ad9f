"""Models, votes and results on disk: everything is written once, whole, and skipped if present.

    OUT/dataset-budget/models/<candidate>-s<seed>/   checkpoint/, valid.npz, frontiers
    OUT/dataset-budget/<task>/<method>-s<seed>.json  what was chosen, and what it is worth

Training continues from the last epoch that was finished, unless its schedule is one-cycle: a run
may be killed at any time.
"""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skorch.callbacks import Checkpoint, LoadInitState, LRScheduler

from smoothcs import CostMatrix, CostSensitiveSmoothedClassifier
from smoothcs.modules import Augment, Normalize, cifar_resnet56, default_module, small_conv
from smoothcs.modules.resnet import _resnet, _stages
from smoothcs.votes import sample_votes

from .data import Images, Split
from .methods import Budget, Candidate, budget_of
from .tasks import Task

Votes = NDArray[np.int64]


class Store:
    """The folder of one data set and budget."""

    def __init__(self, out: Path, dataset: str, budget: Budget, name: str, images: Images) -> None:
        self.folder = out / f"{dataset}-{name}"
        self.budget = budget
        self.images = images
        self.floor: Store | None = None

    @classmethod
    def of(cls, out: Path, dataset: str, name: str, images: Images) -> Store:
        """Return the folder of a budget by its name, with the one that sets its floors."""
        store = cls(out, dataset, budget_of(name, dataset), name, images)
        if store.budget.floor is not None:
            store.floor = cls.of(out, dataset, store.budget.floor, images)
        return store

    def place(self, candidate: Candidate, seed: int) -> Path:
        """Return the folder of a model."""
        return self.folder / "models" / f"{candidate.key}-s{seed}"

    def classifier(
        self, candidate: Candidate, seed: int, task: Task, **params: Any
    ) -> CostSensitiveSmoothedClassifier:
        """Return the trained model as an estimator of the costs of which rob_cs speaks."""
        return CostSensitiveSmoothedClassifier.from_module(
            self.module(candidate, seed),
            classes=len(task.costs),
            cost_matrix=task.graver,
            sigma=candidate.sigma,
            precision=self.budget.precision,
            random_state=1000 + seed,
            **params,
        )

    def valid_votes(self, candidate: Candidate, seed: int) -> Votes:
        """Return votes on the validation split; train first if need be."""
        path = self.place(candidate, seed) / "valid.npz"
        if not path.exists():
            votes = sample_votes(
                self.module(candidate, seed),
                self.validation.X,
                self.budget.n_valid_votes,
                candidate.sigma,
                random_state=1000 + seed,
                precision=self.budget.precision,
            )
            save_atomically(path, votes=votes)
            note(self.place(candidate, seed) / "candidate.json", self._describe(candidate))
        with np.load(path, allow_pickle=False) as data:
            return data["votes"]

    @property
    def validation(self) -> Split:
        """The validation examples of this budget."""
        return self.images.valid.take(np.arange(min(self.budget.n_valid, len(self.images.valid.y))))

    @property
    def test(self) -> Split:
        """The test examples on which accuracy is measured."""
        return self.images.test.take(
            np.arange(min(self.budget.n_accuracy, len(self.images.test.y)))
        )

    def seconds(self, candidate: Candidate, seed: int) -> float:
        """Return the CPU seconds of training, without the pieces that were lost."""
        notes = self.place(candidate, seed).glob("train-from-*.json")
        return sum(json.loads(path.read_text())["seconds"] for path in notes)

    def _describe(self, candidate: Candidate) -> dict[str, Any]:
        return {"objective": repr(candidate.objective), "setting": candidate.setting}

    def module(self, candidate: Candidate, seed: int) -> torch.nn.Module:
        """Return the trained base classifier; train it, or the epochs that are left."""
        place = self.place(candidate, seed)
        checkpoint = Checkpoint(dirname=str(place / "checkpoint"), monitor=None)
        history = place / "checkpoint" / "history.json"
        done = len(json.loads(history.read_text())) if history.exists() else 0
        rows = np.random.default_rng(seed).permutation(len(self.images.train.y))
        train = self.images.train.take(rows[: self.budget.n_train])
        epochs = self.budget.epochs(candidate.objective)
        if done < epochs:
            done = 0 if self.budget.schedule == "one-cycle" else done
            classifier = self._classifier(candidate, seed, checkpoint, epochs, epochs - done)
            start = time.process_time()
            classifier.fit(train.X, train.y)
            spent = time.process_time() - start
            note(place / f"train-from-{done}.json", {"seconds": spent})
            return classifier.module_
        module = network(self.budget.module, self.images.train)
        state = torch.load(
            place / "checkpoint" / "params.pt", map_location="cpu", weights_only=True
        )
        module.load_state_dict(state)
        return module.eval()

    def _classifier(
        self, candidate: Candidate, seed: int, checkpoint: Checkpoint, total: int, epochs: int
    ) -> CostSensitiveSmoothedClassifier:
        schedules = {
            "cosine": LRScheduler(
                "LambdaLR", lr_lambda=lambda e: (1 + math.cos(math.pi * e / total)) / 2
            ),
            "milestones": LRScheduler("MultiStepLR", milestones=[total // 2, 9 * total // 10]),
        }
        callbacks: list[Any] = [("checkpoint", checkpoint)]
        if self.budget.schedule in schedules:
            resume = ("resume", LoadInitState(checkpoint))
            callbacks = [resume, ("schedule", schedules[self.budget.schedule]), *callbacks]
        published = {"optimizer__momentum": 0.9, "optimizer__weight_decay": 5e-4}
        return CostSensitiveSmoothedClassifier(
            lambda: network(self.budget.module, self.images.train),
            objective=candidate.objective,
            cost_matrix=None if candidate.costs is None else CostMatrix(candidate.costs),
            sigma=candidate.sigma,
            optimizer=self.budget.optimizer,
            lr=self.budget.lr,
            max_epochs=epochs,
            batch_size=64,
            net_params=published if self.budget.optimizer == "sgd" else None,
            callbacks=callbacks,
            random_state=seed,
        )


def network(kind: str, train: Split) -> torch.nn.Module:
    """Return an untrained base classifier for these images.

    Colours are normalised inside it, so that noise and radii are in units of pixels in [0, 1].
    Lesions, which have no right way up, are flipped while training, except in the old recipe.
    """
    n_classes, shape = int(train.y.max()) + 1, train.X.shape[1:]
    if kind == "resnet56" and shape[1] == 32:
        base: torch.nn.Module = cifar_resnet56(n_classes=n_classes, in_channels=shape[0])
    elif kind == "small-resnet":
        base = small_resnet(n_classes, in_channels=shape[0])
    elif kind == "small":
        base = small_conv(n_classes, in_channels=shape[0], image_size=shape[1])
    else:
        base = default_module(shape, n_classes)
    if shape[0] == 1:
        return base
    axes = (0, 2, 3)
    normalize = Normalize(train.X.mean(axes).tolist(), train.X.std(axes).tolist())
    flips = [] if kind == "small" else [Augment(vertical=n_classes == 2)]
    return torch.nn.Sequential(*flips, normalize, base)


def small_resnet(n_classes: int, in_channels: int, width: int = 32) -> torch.nn.Module:
    """Return a residual network of 8 layers that halves the image at once, for one CPU core."""
    first = torch.nn.Conv2d(in_channels, width, 3, stride=2, padding=1, bias=False)
    stem = [first, torch.nn.BatchNorm2d(width), torch.nn.ReLU()]
    blocks = _stages((width, 2 * width, 4 * width), 1, padded=True)
    return _resnet(stem, blocks, 4 * width, n_classes)


def save_atomically(path: Path, **arrays: Any) -> None:
    """Write an npz file that is either whole or absent."""
    part = path.with_suffix(f".{os.getpid()}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(part, "wb") as file:
        np.savez_compressed(file, **arrays)
    os.replace(part, path)


def note(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file that is either whole or absent."""
    part = path.with_suffix(f".{os.getpid()}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    part.write_text(json.dumps(content, indent=1))
    os.replace(part, path)
