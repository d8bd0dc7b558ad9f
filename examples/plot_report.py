"""
Checks before, a report after: a certificate to hand on
=======================================================

Is this classifier worth certifying as it stands? :func:`smoothcs.diagnose` looks for what often
goes wrong, on few votes. When nothing is left to mend, :func:`smoothcs.report` certifies the test
data once and writes up what is certified and what is not.
"""

# %%
# A first try
# -----------
#
# Chemical analyses of wines from three growers. Selling the third grower's wine as the second's is
# a fraud that costs 10; the reverse costs 1. The table is used as it comes.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits, load_wine
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import smoothcs
from smoothcs.plotting import PerturbationDisplay, VotesDisplay

X, y = load_wine(return_X_y=True, as_frame=True)
y = np.array(["first", "second", "third"])[y]
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)

clf = smoothcs.CostSensitiveSmoothedClassifier(
    objective="gaussian",
    cost_matrix={("third", "second"): 10, ("second", "third"): 1},
    sigma=0.5,
    lr=0.01,
    max_epochs=40,
    random_state=0,
).fit(X_train, y_train)
smoothcs.diagnose(clf, X_test, y_test, X_train=X_train)

# %%
# The columns have unequal units: a sigma of 0.5 is nothing beside proline, which goes up to 1,680,
# and much beside the hue. So the noise hardly changes an answer, and radii pile up at the largest
# that the votes allow.
#
# Mended
# ------
#
# Behind a StandardScaler, noise and radii are in standard deviations. What remains is
# ``random_state=0``: right for an example that is to print the same numbers each time, wrong for
# inputs of somebody who could foresee the noise.

model = make_pipeline(StandardScaler().set_output(transform="pandas"), clf).fit(X_train, y_train)
smoothcs.diagnose(model, X_test, y_test, X_train=X_train)

# %%
# The report
# ----------
#
# Each of the 45 test wines is certified once. The report shows itself as HTML in a notebook, and as
# text at a prompt; ``report.to_html("report.html")`` and ``report.to_markdown("card.md")`` write
# files.

report = smoothcs.report(model, X_test, y_test, n_estimation=2_000, units="standard deviations")
report  # noqa: B018

# %%
# Its numbers, with their intervals, are there to be used:

report.metrics["rob_cs"], report.by_class["third"]["recall"]

# %%
# What a radius looks like
# ------------------------
#
# For images, a picture says what eps means: random noise of size 1.5 beside an attack of that size
# on a classifier of digits, and below how the noisy copies of the first image voted.

digits, labels = load_digits(return_X_y=True)
digits = digits.reshape(-1, 8, 8) / 16
reader = smoothcs.CostSensitiveSmoothedClassifier(
    objective="gaussian",
    sigma=0.35,
    lr=0.01,
    max_epochs=10,
    n_estimation=1_000,
    random_state=0,
).fit(digits[:1200], labels[:1200])

PerturbationDisplay.from_estimator(reader, digits[1203], labels[1203], eps=1.5, units="grey values")
plt.show()

# %%

VotesDisplay.from_estimator(reader, digits[1203], labels[1203])
plt.show()
