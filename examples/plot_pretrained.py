"""
Fine-tuning a pretrained net
============================

A network that was trained on other classes knows strokes and shapes already. What is that worth
where labels are few? Here the other classes are the digits 0 to 4, the classes at hand are 5 to 9,
three labelled images of each, and an 8 must not be read as another digit.
"""

# %%
# A net that was trained elsewhere
# --------------------------------
#
# :class:`~smoothcs.modules.Normalize` stands first *inside* the module: pixels stay in [0, 1]
# outside, so that ``sigma`` and radii are in pixels, and the layers get the standardised inputs
# that they were trained on. Training under noise matters here too: features that fall apart in
# noise are of no use to a smoothed classifier.

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from skorch.callbacks import Freezer
from torch import nn

from smoothcs import CostMatrix, CostSensitiveSmoothedClassifier
from smoothcs.modules import Normalize

images, labels = load_digits(return_X_y=True)
images = (images / 16).astype(np.float32).reshape(-1, 1, 8, 8)


def new_net():
    return nn.Sequential(
        Normalize([images.mean()], [images.std()]),
        nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * 4 * 4, 64),
            nn.ReLU(),
        ),
        nn.Linear(64, 5),
    )


training = {"objective": "gaussian", "sigma": 0.4, "lr": 0.01, "lr_schedule": "one-cycle"}
old = labels < 5
torch.manual_seed(0)
elsewhere = CostSensitiveSmoothedClassifier(
    new_net(), **training, max_epochs=15, random_state=0
).fit(images[old], labels[old])
pretrained = elsewhere.module_

# %%
# New classes, few labels
# -----------------------
#
# Fifteen labelled images of the digits 5 to 9. The body keeps its weights, the head is new. Three
# ways to train: from nothing, the head alone, and all layers from the pretrained weights. skorch's
# ``Freezer`` is a callback: it names parameters as ``module.named_parameters()`` does, and what it
# freezes the optimiser leaves alone. An instance given as ``module`` is copied, so that
# ``pretrained`` is not changed. Few labels make for luck, hence three draws of them.


def with_new_head(net):
    return nn.Sequential(net[0], net[1], nn.Linear(64, 5))


ways = {
    "from nothing": (new_net, None),
    "head alone": (lambda: with_new_head(pretrained), [Freezer("1.*")]),
    "all layers": (lambda: with_new_head(pretrained), None),
}
models, accuracy, rob_cs = {}, {}, {}
for name, (make, callbacks) in ways.items():
    for draw in range(3):
        few, test, y_few, y_test = train_test_split(
            images[~old],
            labels[~old],
            train_size=15,
            test_size=400,
            random_state=draw,
            stratify=labels[~old],
        )
        torch.manual_seed(draw)
        clf = CostSensitiveSmoothedClassifier(
            make(),
            cost_matrix=CostMatrix.seedwise([8]),
            **training,
            max_epochs=40,
            callbacks=callbacks,
            n_estimation=1_000,
            random_state=draw,
        ).fit(few, y_few)
        report = clf.certified_report(test, y_test, eps=0.4)
        accuracy.setdefault(name, []).append(report["accuracy"])
        rob_cs.setdefault(name, []).append(report["rob_cs"])
        models.setdefault(name, clf)
    print(
        f"{name:14}accuracy {np.mean(accuracy[name]):.2f}  rob_cs {np.mean(rob_cs[name]):.2f} "
        f"({', '.join(f'{value:.2f}' for value in rob_cs[name])})"
    )

# %%
# Starting from the weights protects more of the eights than starting from nothing, for a similar
# accuracy or a better one. The head alone is not enough here: features for the digits 0 to 4 are
# not those that tell an 8 from a 9 in noise.
#
# What was frozen has stayed
# --------------------------
#
# The weights of the body are those of the pretrained net to the last bit. The running statistics of
# its batch normalisation are no weights and have moved to those of the new, noisy images, which is
# what the smoothed classifier will see.

frozen = dict(models["head alone"].module_[1].named_parameters())
same = all(torch.equal(frozen[name], value) for name, value in pretrained[1].named_parameters())
print("the body's weights are the same:", same)

# %%
# Draw by draw
# ------------

figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
for name, marker in zip(ways, ("x", "s", "o"), strict=True):
    ax.plot(accuracy[name], rob_cs[name], marker, markersize=9, label=name)
ax.set(xlabel="accuracy", ylabel="rob_cs at eps = 0.4 (pixels)", ylim=(0, None))
ax.legend(title="15 labelled images")
plt.show()
