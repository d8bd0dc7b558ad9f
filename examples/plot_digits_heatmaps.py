"""
Which digit can be made to look like which?
===========================================

Two tasks on handwritten digits: *seed*, where an 8 must not be read as anything else, and *pair*,
where a 1 must not be read as an 8. Heat maps show what the certificates cannot rule out, class by
class, and where training for one cost matrix or the other made a difference.
"""

# %%
# A model that knows no costs
# ---------------------------
#
# Gaussian training ignores the cost matrix; it is our point of reference. Pixels are in [0, 1], and
# the radius at which we ask is ``sigma``. A heat map needs a bound for each of 90 pairs of digits:
# the closed-form bound is a little smaller than the exact one, and takes no time.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from smoothcs import CostMatrix, CostSensitiveSmoothedClassifier
from smoothcs.certification import with_costs
from smoothcs.plotting import RobustErrorDisplay, VotesDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, test_size=0.3, random_state=0, stratify=y
)
seed, pair = CostMatrix.seedwise([8]), CostMatrix.pairwise([(1, 8)])
eps = sigma = 0.35


def fit_and_certify(costs, objective):
    clf = CostSensitiveSmoothedClassifier(
        cost_matrix=costs,
        objective=objective,
        sigma=sigma,
        n_estimation=2000,
        bound="closed-form",
        random_state=0,
    )
    return clf.fit(X_train, y_train).certify(X_test, y_test)


reference = fit_and_certify(seed, "gaussian")
RobustErrorDisplay.from_certificates(reference, eps=eps, units="pixel values")
plt.show()

# %%
# The left map is the cost matrix. In the middle are the mistakes without any attack, on the right
# those that an adversary who moves an image by ``eps`` might cause: the share of each row's images
# that are not certified against the column's class. Costly entries are framed. An image can be
# counted in several columns, so rows of the right map do not add up to 100.
#
# Training for each task
# ----------------------
#
# Margin-CS widens the radius against the likeliest costly mistake. Costs enter through the matrix
# alone; the code is the same for both tasks, of one costly target and of nine.

trained = {
    "seed": fit_and_certify(seed, "margin-cs"),
    "pair": fit_and_certify(pair, "margin-cs"),
}

print(
    f"{'task':6}{'trained with':14}{'accuracy':>10}{'Rob_cs':>10}{'Rob_cost':>10}   (eps = {eps})"
)
for task, costs in {"seed": seed, "pair": pair}.items():
    for method, c in {"Gaussian": reference, "Margin-CS": trained[task]}.items():
        c = with_costs(c, costs)  # the votes of the reference serve both tasks
        print(
            f"{task:6}{method:14}{c.certified_accuracy():10.3f}{c.rob_cs(eps):10.3f}"
            f"{c.rob_cost(eps):10.3f}"
        )

# %%
# The maps of the two trained models. What is outside the frames costs nothing, and training is free
# to give it up.

for task in trained:
    display = RobustErrorDisplay.from_certificates(trained[task], eps=eps, units="pixel values")
    display.figure_.suptitle(f"Margin-CS, {task}")
    plt.show()

# %%
# The difference to the reference, at a glance: blue entries are ruled out more often than before,
# red ones less often.

before = reference.robust_error_matrix(eps)
figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
for ax, (task, c) in zip(axes, trained.items(), strict=True):
    change = 100 * (c.robust_error_matrix(eps) - before)
    image = ax.imshow(change, cmap="RdBu_r", vmin=-50, vmax=50)
    for i, j in np.argwhere(c.cost_matrix.omega):
        ax.text(j, i, f"{change[i, j]:+.0f}", ha="center", va="center", fontsize=8)
    ax.set(title=f"{task} task", xlabel="predicted class", ylabel="true class")
    ax.set(xticks=range(10), yticks=range(10))
figure.colorbar(image, ax=axes, label="change of the robust error\n(percentage points)")
plt.show()

# %%
# One image
# ---------
#
# The 8 with the smallest certified radius above 0, and what its certificate excludes.

radius = np.where(y_test == 8, trained["seed"].radius_group, np.nan)
index = int(np.nanargmin(np.where(radius > 0, radius, np.nan)))
VotesDisplay.from_certificates(
    trained["seed"], index=index, x=X_test[index], image_shape=(8, 8), units="pixel values"
)
plt.show()
