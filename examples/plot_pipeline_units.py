"""
The units of a radius
=====================

A certified radius is a distance in the space in which the noise was added: that of the ``X`` that
reaches the estimator. A scaler in front of it changes the units, and with them the meaning of every
number. This example shows what happens with a scaler, without one, and with the scaling inside the
module.
"""

# %%
# With a scaler in front: standard deviations
# -------------------------------------------
#
# In a Pipeline the estimator sees standardised features. Its noise, its ``sigma`` and its radii are
# in standard deviations of the training data.

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from smoothcs import CostSensitiveSmoothedClassifier
from smoothcs.modules import Normalize
from smoothcs.objectives import Gaussian
from smoothcs.plotting import CertifiedAccuracyDisplay

data = load_breast_cancer()
y = data.target_names[data.target]
X_train, X_test, y_train, y_test = train_test_split(
    data.data, y, test_size=0.3, random_state=0, stratify=y
)
settings = {
    "cost_matrix": {("malignant", "benign"): 10},
    "objective": Gaussian(n_noise=8),
    "sigma": 0.5,
    "lr": 0.01,
    "max_epochs": 20,
    "n_estimation": 1000,
    "random_state": 0,
}
scaled = make_pipeline(StandardScaler(), CostSensitiveSmoothedClassifier(**settings))
scaled.fit(X_train, y_train)

# %%
# What does a radius in standard deviations allow? All of it may be spent on one feature: that one
# may then move by ``radius * scale`` in its own unit, while the others stay where they are. Or it
# is shared: then each moves less, and the squares add up. Noise of ``sigma`` shakes each feature by
# its own ``sigma * scale``.

scale = scaled[0].scale_
print(f"{'in the unit of the feature':28}{'one standard deviation':>24}{'a radius of 0.5':>18}")
for name in ("mean radius", "mean texture", "mean area", "mean smoothness"):
    unit = scale[list(data.feature_names).index(name)]
    print(f"{name:28}{unit:24.4g}{0.5 * unit:18.4g}")

# %%
# Without a scaler: one noise for all features
# --------------------------------------------
#
# The same noise of 0.5 *units of each feature* is next to nothing for an area of some hundred
# square units, and drowns a smoothness of about 0.1. The bars show the noise in standard deviations
# of each feature: with a scaler they would all be 0.5 long. A single radius over features of such
# different scales answers a question that nobody asks.

order = np.argsort(scale)
figure, ax = plt.subplots(figsize=(7, 6), layout="constrained")
ax.barh(np.array(data.feature_names)[order], 0.5 / scale[order], color="#0072B2")
ax.axvline(0.5, color="black", linestyle="--", label="after a StandardScaler")
ax.set_xscale("log")
ax.set_xlabel("noise of 0.5 raw units, in standard deviations of the feature")
ax.tick_params(axis="y", labelsize=8)
ax.legend()
plt.show()

# %%
# The two models can both be certified, each in its own units. Their curves do not belong on one
# axis: a longer radius in raw units is not a more robust classifier.

raw = CostSensitiveSmoothedClassifier(**settings).fit(X_train, y_train)
figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
CertifiedAccuracyDisplay.from_estimator(
    scaled, X_test, y_test, name="with StandardScaler", ax=axes[0], units="standard deviations"
)
CertifiedAccuracyDisplay.from_estimator(
    raw, X_test, y_test, name="no scaler", ax=axes[1], units="raw units, all mixed"
)
plt.show()

# %%
# Scaling inside the module: input units
# --------------------------------------
#
# Where all features share a unit, as pixels do, radii in that unit are what one wants to quote, and
# the network still likes small numbers. ``Normalize`` as the first layer of the module gives both:
# noise is added to the raw input, and scaled together with it.
#
# Digits have 17 grey levels, 0 to 16. We train on ``X / 16`` and wrap the same weights a second
# time, with the division inside and ``sigma`` 16 times as large: the same smoothed classifier, in
# grey levels.

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=100, train_size=1000, random_state=0, stratify=y
)
unit = CostSensitiveSmoothedClassifier(
    objective=Gaussian(n_noise=4),
    sigma=0.35,
    lr=0.01,
    max_epochs=15,
    n_estimation=2000,
    random_state=0,
).fit(X_train / 16, y_train)

grey_levels = CostSensitiveSmoothedClassifier.from_module(
    torch.nn.Sequential(Normalize(mean=0.0, std=16.0), unit.module_),
    classes=unit.classes_,
    sigma=16 * 0.35,
    n_estimation=2000,
    random_state=0,
)
small = unit.certify(X_test / 16, y_test).radius_group
large = grey_levels.certify(X_test, y_test).radius_group

# %%
# The radii are 16 times as large, and mean the same. They differ by chance alone: another input
# (even a rescaled one) draws other noise.

figure, ax = plt.subplots(figsize=(5, 4.5), layout="constrained")
ax.scatter(16 * small, large, s=14, color="#0072B2")
end = 1.05 * max(16 * small.max(), large.max())
ax.plot([0, end], [0, end], color="black", linewidth=0.8)
ax.set_xlabel("16 x radius of X / 16")
ax.set_ylabel("radius with Normalize inside (grey levels)")
plt.show()

# %%
# To train with the scaling inside from the start, pass such a module to the estimator:
# ``CostSensitiveSmoothedClassifier(module=torch.nn.Sequential(Normalize(0.0, 16.0), MLP(64, 10)),
# sigma=5.6)``.
