"""
When to say nothing: abstention, risk and coverage
==================================================

``predict`` does not guess: where the vote among noisy copies is too close to call, it abstains.
This example shows what decides that, what it costs, and what it saves.
"""

# %%
# Too close to call
# -----------------
#
# A class is returned only if it leads the runner-up by more than chance explains, at the level
# ``alpha``: the two-sided binomial test between the two classes with most votes. What is returned
# is then the class of the smoothed classifier, except with probability ``alpha``. Votes are drawn
# until the test is decided, and no more than ``n_prediction`` of them. Abstentions have a label of
# their own, -1 for numbers.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from smoothcs import CostMatrix, CostSensitiveSmoothedClassifier
from smoothcs.plotting import VotesDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, test_size=0.3, random_state=0, stratify=y
)
costs = CostMatrix.seedwise([8], cost=10)
clf = CostSensitiveSmoothedClassifier(
    cost_matrix=costs,
    objective="gaussian",
    sigma=0.5,
    n_estimation=1_000,
    random_state=0,
).fit(X_train, y_train)

prediction = clf.predict(X_test)
print("label of an abstention:", clf.abstain_label_)
print(f"share of abstentions:   {np.mean(prediction == clf.abstain_label_):.3f}")

# %%
# The image whose two leading classes are closest: more votes may settle it, or not.

votes = np.sort(clf.predict_proba(X_test), axis=1)
closest = int(np.argmin(votes[:, -1] - votes[:, -2]))
VotesDisplay.from_estimator(
    clf,
    X_test,
    index=closest,
    image_shape=(8, 8),
    units="pixel values",
)
plt.show()

# %%
# More votes, fewer abstentions
# -----------------------------
#
# ``n_prediction`` decides how small a lead can be told from chance. Errors among the answers are
# mistakes of the smoothed classifier itself, but for the share ``alpha``: more votes do not remove
# them. On the contrary, the inputs that are answered last are the difficult ones.

print(f"{'n_prediction':>12}{'abstains':>10}{'errors among answers':>22}")
points = {}
for n in (20, 50, 200, 1000, 5000):
    answer = clf.set_params(n_prediction=n).predict(X_test)
    given = answer != clf.abstain_label_
    points[n] = given.mean(), np.mean(answer[given] != y_test[given])
    print(f"{n:12d}{1 - points[n][0]:10.3f}{points[n][1]:22.3f}")

# %%
# Risk and coverage
# -----------------
#
# One may want to abstain more often than the test does, because a human looks at the rest. Rank the
# inputs by the lead of their class, answer the clearest ones, and read off the risk of the answers
# at every coverage. The test's own working points, one for every number of votes, lie close to the
# curve.
#
# For costs the picture may be another: the mean cost per answer, with 10 for an 8 that is called
# something else and 0 for any other mistake.

shares = clf.set_params(n_prediction=1000).predict_proba(X_test)
ranked = np.sort(shares, axis=1)
order = np.argsort(-(ranked[:, -1] - ranked[:, -2]), kind="stable")
label = clf.classes_[shares.argmax(axis=1)]
coverage = np.arange(1, len(order) + 1) / len(order)
wrong = (label != y_test)[order]
paid = clf.cost_matrix_.matrix[y_test, label][order]  # the labels are 0 ... 9, as the indices

figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
axes[0].plot(coverage, np.cumsum(wrong) / np.arange(1, len(order) + 1), color="#0072B2")
for (n, (x, risk)), marker in zip(points.items(), "ov^sD", strict=True):
    axes[0].plot(x, risk, marker, color="#D55E00", label=f"n_prediction = {n}")
axes[0].set(xlabel="coverage (share answered)", ylabel="risk (errors among answers)")
axes[0].legend()
axes[1].plot(coverage, np.cumsum(paid) / np.arange(1, len(order) + 1), color="#0072B2")
axes[1].set(xlabel="coverage (share answered)", ylabel="mean cost of an answer")
plt.show()

# %%
# In a certificate an abstention is never a success
# -------------------------------------------------
#
# Answering less cannot make a model look more robust here: an input on which the procedure abstains
# has radius 0, counts as an error in accuracy, pays every cost of its row in Rob_cost, and the
# largest one in the misclassification cost.

certificates = clf.certify(X_test, y_test)
silent = certificates.abstained
assert not np.any(certificates.radius_standard[silent] > 0)
print(f"abstentions of the certificates: {certificates.abstention_rate():.3f}")
print(f"accuracy, abstentions as errors: {certificates.certified_accuracy():.3f}")
print(
    f"mean cost, abstentions at the most they can cost: {certificates.misclassification_cost():.3f}"
)
