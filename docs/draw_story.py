"""Draw the picture of the first page, from a real model: ``python docs/draw_story.py [FOLDER]``.

A handwritten 8 must not be read as a 3; other mistakes cost nothing. One test image, its noisy
copies, their votes, and a slice through the space of images: the certified disc may reach into
harmless mistakes, never into the costly one.
"""

import sys
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.colors import ListedColormap
from matplotlib.patches import Circle
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from smoothcs import CostSensitiveSmoothedClassifier, sample_votes
from smoothcs.attacks import l2_pgd
from smoothcs.modules import MLP

matplotlib.use("Agg")
import matplotlib.pyplot as plt

TRUE, COSTLY, SIGMA = 8, 3, 0.5
INDEX = 420  # of the test images
NOISE_SEED = 8  # as many eights among its nine copies as among 10,000
SHIFT = 0.5  # of the slice, towards the costly class
COLOURS = {
    "light": {"ink": "#24292f", "soft": "#8b949e", "good": "#0b8f6a", "bad": "#c9371a"},
    "dark": {"ink": "#e6edf3", "soft": "#8b949e", "good": "#3fc79a", "bad": "#ff7b59"},
}


def train():
    """Return a fitted classifier and the test images (n, 64)."""
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.3, random_state=0, stratify=y
    )
    clf = CostSensitiveSmoothedClassifier(
        MLP,
        cost_matrix={(TRUE, COSTLY): 1.0},
        objective="gaussian",
        sigma=SIGMA,
        lr=0.005,
        max_epochs=30,
        random_state=0,
        device="cpu",
    ).fit(X_train, y_train)
    return clf, X_test, y_test


def directions(clf, x, harmless):
    """Return two orthogonal unit vectors: towards the costly class, and towards a harmless one."""
    found = []
    for target in (COSTLY, harmless):
        nearby = l2_pgd(
            clf.module_,
            torch.as_tensor(x[None]),
            torch.tensor([target]),
            eps=2.0,
            sigma=SIGMA,
            n_noise=256,
            n_steps=40,
            targeted=True,
            generator=torch.Generator().manual_seed(0),
        )
        step = nearby[0].numpy() - x
        for other in found:
            step = step - (step @ other) * other
        found.append(step / np.linalg.norm(step))
    return found


def slice_of_space(clf, x, axes, reach=1.7, steps=81, n=400):
    """Return what the smoothed classifier answers on a grid of the plane through x."""
    ticks = np.linspace(-reach, reach, steps)
    across = ticks + SHIFT
    grid = x + across[None, :, None] * axes[0] + ticks[:, None, None] * axes[1]
    rows = grid.reshape(-1, x.size).astype(np.float32)
    votes = sample_votes(clf.module_, rows, n, sigma=SIGMA, n_classes=10, random_state=1)
    return across, ticks, votes.argmax(axis=1).reshape(steps, steps)


def draw(folder: Path) -> None:
    clf, X_test, _ = train()
    x = X_test[INDEX]
    certificate = clf.certify(x[None], [TRUE])
    votes, radius = certificate.votes[0], float(certificate.radius_group[0])
    any_mistake = float(certificate.radius_standard[0])
    rivals = [k for k in np.argsort(-votes) if k not in (TRUE, COSTLY)]
    axes = directions(clf, x, rivals[0])
    plane = slice_of_space(clf, x, axes)
    noise = np.random.default_rng(NOISE_SEED).normal(0.0, SIGMA, (9, x.size)).astype(np.float32)
    with torch.no_grad():
        labels = clf.module_(torch.as_tensor(x + noise)).argmax(1).tolist()
    for name, colours in COLOURS.items():
        figure = plot(x, noise, labels, votes, radius, plane, colours)
        # The light one stands on its own background, since the README may be read on a dark one.
        figure.savefig(
            folder / f"story-{name}.png",
            dpi=130,
            facecolor="white" if name == "light" else "none",
            pil_kwargs={"optimize": True},
        )
        plt.close(figure)
    print(f"votes {votes.tolist()}, radius {radius:.3f} (any mistake: {any_mistake:.3f})")


def plot(x, noise, labels, votes, radius, plane_answers, colours):
    """Return the figure in four parts."""
    ink, soft, good, bad = (colours[key] for key in ("ink", "soft", "good", "bad"))
    plt.rcParams.update({"font.size": 11, "text.color": ink, "axes.labelcolor": ink})
    plt.rcParams.update({"xtick.color": ink, "ytick.color": ink, "axes.edgecolor": soft})
    figure = plt.figure(figsize=(11.2, 3.3))
    outer = figure.add_gridspec(1, 4, left=0.005, right=0.995, top=0.9, bottom=0.14, wspace=0.1)

    def colour(label):
        return good if label == TRUE else bad if label == COSTLY else soft

    one = figure.add_subplot(outer[0])
    show(one, x)
    title(one, "1  An input")
    one.set_xlabel(f"an {TRUE}; calling it\na {COSTLY} would be costly")

    inner = outer[1].subgridspec(3, 3, hspace=0.06, wspace=0.06)
    for k in range(9):
        cell = figure.add_subplot(inner[k // 3, k % 3])
        show(cell, x + noise[k])
        cell.text(
            0.97, 0.04, labels[k], transform=cell.transAxes, ha="right", va="bottom", color="white",
            fontweight="bold", fontsize=10,
            bbox={"boxstyle": "round,pad=0.15", "fc": colour(labels[k]), "ec": "none"},
        )  # fmt: skip
        if k == 0:
            title(cell, "2  Noisy copies")
        if k == 7:
            cell.set_xlabel("what the network\nreads in each")

    bars = figure.add_subplot(outer[2], box_aspect=1, anchor="N")
    bars.bar(range(10), votes / votes.sum(), color=[colour(k) for k in range(10)])
    bars.set_xticks(range(10))
    bars.set_yticks([])
    bars.set_ylim(0, 1.12 * votes.max() / votes.sum())
    bars.spines[["left", "right", "top"]].set_visible(False)
    bars.patch.set_alpha(0)
    for k in (TRUE, COSTLY):
        share = votes[k] / votes.sum()
        bars.text(k, share + 0.01, f"{share:.1%}", ha="center", color=colour(k), fontweight="bold")
    title(bars, "3  Their votes")
    bars.set_xlabel(f"of {votes.sum():,} copies")

    across, ticks, answers = plane_answers
    plane = figure.add_subplot(outer[3], anchor="N")
    plane.patch.set_alpha(0)
    kinds = np.where(answers == TRUE, 0, np.where(answers == COSTLY, 2, 1))
    shades = ListedColormap([good + "66", soft + "4d", bad + "b3"])
    extent = (across[0], across[-1], ticks[0], ticks[-1])
    plane.imshow(kinds, origin="lower", extent=extent, cmap=shades, vmin=0, vmax=2)
    plane.add_patch(Circle((0, 0), radius, fill=False, ec=ink, lw=2))
    plane.plot(0, 0, "o", color=ink, ms=5)
    plane.text(0, -0.12, f"{radius:.2f}", ha="center", va="top", fontweight="bold")
    plane.text(across[0] + 0.1, -1.6, f"read as {TRUE}")
    plane.text(across[0] + 0.1, 1.58, "other digits:\nharmless", va="top")
    plane.text(across[-1] - 0.1, 0.2, f"{COSTLY}:\ncostly", ha="right")
    plane.set_xticks([])
    plane.set_yticks([])
    title(plane, "4  The certified radius")
    plane.set_xlabel(f"nothing within the circle\nis read as a {COSTLY}")
    return figure


def title(axes, text):
    axes.set_title(text, loc="left", fontweight="bold", fontsize=12)


def show(axes, image):
    axes.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1, interpolation="bilinear")
    axes.set_anchor("N")
    axes.set_xticks([])
    axes.set_yticks([])


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "_static"
    folder.mkdir(parents=True, exist_ok=True)
    draw(folder)
