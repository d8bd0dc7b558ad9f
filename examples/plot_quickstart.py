"""
Quickstart: which mistakes can be provoked?
===========================================

A handwritten 8 must not be read as another digit; a malignant tumour must not be called benign.
Four ways of training are compared on both tasks. For every test input the smoothed classifier is
*certified*: within the certified radius no perturbation of the input makes it commit a mistake that
costs something, with failure probability at most ``alpha = 0.001``.
"""

# %%
# The tasks
# ---------
#
# Digits: the costs say that calling an 8 anything else costs 1 and nothing else matters. Pixels are
# in [0, 1]; the noise has ``sigma = 0.35``, which is also the radius at which we ask.
#
# Breast cancer: calling a malignant tumour benign costs 10, a false alarm costs 1. The features are
# standardised, so that radii are in standard deviations.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from smoothcs import CostMatrix, CostSensitiveSmoothedClassifier
from smoothcs.cost import as_cost_matrix
from smoothcs.objectives import Macer

X, y = load_digits(return_X_y=True)
digits = train_test_split(X / 16, y, test_size=0.3, random_state=0, stratify=y)

X, y = load_breast_cancer(return_X_y=True)
y = np.where(y == 0, "malignant", "benign")
cancer = train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)
scaler = StandardScaler().fit(cancer[0])
cancer[:2] = scaler.transform(cancer[0]), scaler.transform(cancer[1])

tasks = {
    "Digits: 8 read as another digit": (digits, CostMatrix.seedwise([8]), 0.35),
    "Breast cancer: malignant called benign, 10:1": (
        cancer,
        CostMatrix({("malignant", "benign"): 10, ("benign", "malignant"): 1}),
        0.5,
    ),
}

# %%
# Training and certifying
# -----------------------
#
# The defaults train: a network and a number of epochs that suit the data, and a learning rate that
# rises and falls. All four objectives see the same number of noisy copies, or more. *Gaussian* and
# *MACER* ignore the costs; *Gaussian-CS* gives sensitive classes more weight; *Margin-CS*, the
# default, widens the radius against costly mistakes in proportion to their cost.
#
# Accuracy counts abstentions as errors. Rob_cs is the share of sensitive test inputs that no
# perturbation within ``eps = sigma`` can turn into a costly mistake; Rob_cost is the mean cost of
# the mistakes that are not ruled out. With costs of 10:1 both classes are sensitive, so Rob_cs
# weighs a false alarm like a missed tumour; the next column counts missed tumours alone. For the
# same reason Gaussian-CS is Gaussian there: a weight that all classes share only rescales the loss.
#
# A report draws only the votes that its decisions need, up to ``n_estimation = 10,000`` an input;
# the last column is what it drew on average.

methods = {
    "Gaussian": "gaussian",
    "Gaussian-CS": "gaussian-cs",
    "MACER": Macer(lambda_robust=0.3, n_noise=2, cross_entropy="noisy"),
    "Margin-CS": "margin-cs",
}
grave = {"Breast cancer: malignant called benign, 10:1": {("malignant", "benign"): 10.0}}

models = {}
for task, (data, costs, sigma) in tasks.items():
    X_train, X_test, y_train, y_test = data
    print(f"\n{task} (eps = sigma = {sigma}, {len(y_test)} test inputs)")
    print(f"{'':14}{'Acc':>8}{'Rob_cs':>8}{'Rob_cost':>10}{'Rob_cs, gravest':>17}{'votes':>8}")
    for method, objective in methods.items():
        clf = CostSensitiveSmoothedClassifier(
            cost_matrix=costs, objective=objective, sigma=sigma, random_state=0
        ).fit(X_train, y_train)
        models[task, method] = clf
        report = clf.certified_report(X_test, y_test)
        gravest = report["rob_cs"]
        if task in grave:
            gravest = clf.certify_at(X_test, y_test, cost_matrix=grave[task]).rob_cs()
        print(
            f"{method:14}{report['accuracy']:8.3f}{report['rob_cs']:8.3f}{report['rob_cost']:10.3f}"
            f"{gravest:17.3f}{report['mean_votes']:8.0f}"
        )

# %%
# How far does it hold?
# ---------------------
#
# A certified *radius* answers for every ``eps`` at once, for a fixed number of votes an input: the
# share of the inputs whose class is gravest to get wrong that is still protected at ``eps``.

figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
styles = {"Gaussian": ":", "Gaussian-CS": "-.", "MACER": "--", "Margin-CS": "-"}
for ax, (task, (data, costs, sigma)) in zip(axes, tasks.items(), strict=True):
    costs = as_cost_matrix(grave.get(task, costs), classes=np.unique(data[3]))
    sensitive = costs.sensitive_mask(data[3])
    eps = np.linspace(0, 3 * sigma, 100)
    for method, style in styles.items():
        clf = models[task, method].set_params(n_estimation=2_000, bound="closed-form")
        certificates = clf.certify(data[1][sensitive], data[3][sensitive], cost_matrix=costs)
        ax.plot(eps, certificates.rob_cs(eps), style, label=method)
    ax.set(title=task, xlabel="l2 radius eps (units of X)", ylim=(0, 1))
axes[0].set_ylabel("Rob_cs")
axes[1].legend(loc="lower left")
figure.savefig("quickstart_certified_accuracy.png", dpi=150)
plt.show()
