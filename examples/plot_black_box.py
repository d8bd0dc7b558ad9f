"""
Certifying a model you already have
===================================

Certification asks a classifier for labels of noisy inputs and needs nothing else: no gradients, no
weights, no retraining. Here a random forest and a torch module that was trained elsewhere are
certified as they are.
"""

# %%
# A random forest, as it is
# -------------------------
#
# ``from_module`` takes a fitted scikit-learn classifier, a fitted torch module, or any function
# from a batch to labels or logits. What is certified is not the model itself but its *smoothed*
# version: the vote of the model among noisy copies. ``predict`` of the wrapped estimator is that
# vote.

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split
from torch.nn.functional import cross_entropy

from smoothcs import CostMatrix, CostSensitiveSmoothedClassifier, certify_votes
from smoothcs.modules import MLP
from smoothcs.plotting import CertifiedAccuracyDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, train_size=1200, test_size=150, random_state=0, stratify=y
)
sigma = 0.2
costs = CostMatrix.targetwise([8])  # calling anything else an 8 costs 1


def smoothed(model):
    return CostSensitiveSmoothedClassifier.from_module(
        model,
        classes=np.arange(10),
        cost_matrix=costs,
        sigma=sigma,
        n_estimation=500,
        random_state=0,
    )


forest = RandomForestClassifier(30, random_state=0).fit(X_train, y_train)
print(f"accuracy of the forest itself:       {forest.score(X_test, y_test):.3f}")
voted = smoothed(forest).predict(X_test)  # -1: too close to call
print(f"accuracy of the forest's noisy vote: {np.mean(voted == y_test):.3f}")

# %%
# Help it to withstand noise
# --------------------------
#
# A model that never saw noise may lose its way in it, and then there is little to certify. The
# plainest help, for any kind of model, is to train it on noisy copies of the data.

rng = np.random.default_rng(0)
copies = np.concatenate([X_train + sigma * rng.standard_normal(X_train.shape) for _ in range(5)])
noisy_forest = RandomForestClassifier(30, random_state=0).fit(copies, np.tile(y_train, 5))

# %%
# A torch module
# --------------
#
# Trained by a loop of one's own, with a fresh draw of noise at each step. ``from_module`` uses the
# module as it is and never changes it.

torch.manual_seed(0)
module = MLP(64, 10)
optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
inputs, labels = torch.tensor(X_train, dtype=torch.float32), torch.tensor(y_train)
for _ in range(300):
    optimizer.zero_grad()
    loss = cross_entropy(module(inputs + sigma * torch.randn_like(inputs)), labels)
    loss.backward()
    optimizer.step()

# %%
# The three on one axis
# ---------------------
#
# All inputs other than 8 are sensitive here. The curve shows which share of them cannot be moved to
# an 8 by any perturbation of length ``eps``, to be read with its confidence band: 150 test images
# are not many.

models = {"forest": forest, "forest, noisy copies": noisy_forest, "torch module": module}
certificates = {name: smoothed(model).certify(X_test, y_test) for name, model in models.items()}

figure, ax = plt.subplots(layout="constrained")
for name, c in certificates.items():
    CertifiedAccuracyDisplay.from_certificates(c, name=name, ax=ax, units="pixel values")
plt.show()

# %%
# The same certificates in numbers.

print(f"{'':24}{'accuracy':>10}{'Rob_cs(0.1)':>13}{'Rob_cs(0.2)':>13}{'abstains':>10}")
for name, c in certificates.items():
    robust = "".join(f"{value:13.3f}" for value in c.rob_cs([0.1, 0.2]))
    print(f"{name:24}{c.certified_accuracy():10.3f}{robust}{c.abstention_rate():10.3f}")

# %%
# How far can a radius reach? With ``n`` votes that all agree, no further than this: more votes
# reach further, slowly.

for n in (500, 10_000, 1_000_000):
    unanimous = np.zeros((1, 10), dtype=int)
    unanimous[0, 0] = n
    best = certify_votes(
        unanimous, unanimous, sigma=sigma, cost_matrix=costs, y=[0], classes=range(10)
    )
    print(f"n = {n:9,d}: radius {best.radius_group[0]:.3f}")
