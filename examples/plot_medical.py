"""
A missed tumour and a false alarm
=================================

Calling a malignant tumour benign costs 10, calling a benign one malignant costs 1. This example
trains for these costs and then reads the certificates three ways: both mistakes together, each
alone, and one patient at a time.
"""

# %%
# Costs, in words
# ---------------
#
# The cost matrix is written with the labels themselves. The features are standardised, so every
# radius below is in standard deviations of the training data.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from smoothcs import CostMatrix, CostSensitiveSmoothedClassifier
from smoothcs.certification import with_costs
from smoothcs.plotting import (
    CertifiedAccuracyDisplay,
    RadiusDistributionDisplay,
    VotesDisplay,
)

data = load_breast_cancer()
y = data.target_names[data.target]
X_train, X_test, y_train, y_test = train_test_split(
    data.data, y, test_size=0.3, random_state=0, stratify=y
)
scaler = StandardScaler().fit(X_train)
X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)

costs = CostMatrix({("malignant", "benign"): 10, ("benign", "malignant"): 1})
sigma = 0.5
units = "standard deviations"

objectives = {
    "Gaussian": "gaussian",
    "Margin-CS": "margin-cs",
}
models = {
    name: CostSensitiveSmoothedClassifier(
        cost_matrix=costs,
        objective=objective,
        sigma=sigma,
        n_estimation=2000,
        random_state=0,
    ).fit(X_train, y_train)
    for name, objective in objectives.items()
}
certificates = {name: clf.certify(X_test, y_test) for name, clf in models.items()}

# %%
# Which mistakes does Rob_cs count?
# ---------------------------------
#
# All that cost anything. Here both directions do, so every patient belongs to a sensitive class and
# Rob_cs weighs a false alarm exactly like a missed tumour. It is the mean of the two one-sided
# numbers, weighted by how many patients of each class there are; since benign tumours are more
# frequent, it speaks of false alarms for the most part. The one-sided numbers come from the same
# votes with other costs: ``with_costs`` samples nothing again.

one_sided = {
    "tumours not missed": {("malignant", "benign"): 10},
    "no false alarm": {("benign", "malignant"): 1},
}
print(f"at eps = {sigma} {units}:")
print(f"{'':12}{'Rob_cs':>10}{'Rob_cost':>10}" + "".join(f"{k:>22}" for k in one_sided))
for name, c in certificates.items():
    alone = [with_costs(c, matrix).rob_cs(sigma) for matrix in one_sided.values()]
    row = "".join(f"{value:22.3f}" for value in alone)
    print(f"{name:12}{c.rob_cs(sigma):10.3f}{c.rob_cost(sigma):10.3f}{row}")

    share = np.mean(y_test == "malignant")
    assert np.isclose(c.rob_cs(sigma), share * alone[0] + (1 - share) * alone[1])

# %%
# Rob_cost is where the 10:1 appears: it is the mean cost of the mistakes that are not ruled out.
# When one direction is what matters, say so in the cost matrix that is certified, as in the left
# panel, which counts missed tumours alone. The bands are 95 % confidence bands for the draw of the
# test patients.

figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for name, c in certificates.items():
    missed = with_costs(c, one_sided["tumours not missed"])
    CertifiedAccuracyDisplay.from_certificates(missed, name=name, ax=axes[0], units=units)
    CertifiedAccuracyDisplay.from_certificates(
        c, metric="rob_cost", name=name, ax=axes[1], units=units
    )
axes[0].set_title("Missed tumours alone")
axes[1].set_title("Both mistakes, 10:1")
plt.show()

# %%
# How large are the radii?
# ------------------------
#
# With missed tumours alone, malignant tumours are the sensitive inputs. For two classes the group
# radius and the standard radius of a right prediction nearly coincide: there is one class to
# exclude either way. They come apart where a class may be mistaken for several others, only some of
# them at a cost.

missed = with_costs(certificates["Margin-CS"], one_sided["tumours not missed"])
RadiusDistributionDisplay.from_certificates(missed, name="Margin-CS", units=units)
plt.show()

# %%
# One patient
# -----------
#
# What would a clinician look at? Here is the malignant tumour with the smallest certified radius
# above 0: its most unusual features, how the noisy copies voted, and what that rules out. The title
# says what is certified and no more: within that distance the classifier does not say "benign".

positive = np.where(missed.radius_group > 0, missed.radius_group, np.inf)
patient = int(np.argmin(np.where(y_test == "malignant", positive, np.inf)))
VotesDisplay.from_certificates(
    missed, index=patient, x=X_test[patient], feature_names=data.feature_names, units=units
)
plt.show()
