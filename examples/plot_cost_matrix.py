"""
A cost matrix per class
=======================

Ten digits, and a price for every way to misread one: a bank that reads the first digit of an amount
too high pays the difference, and one that reads it too low a complaint. From the matrix to a
decision, a certified mean cost, and the digits that an attacker would choose.
"""

# %%
# What mistakes cost
# ------------------
#
# ``C[y, k]`` is the cost of reading a ``y`` as a ``k``, in hundreds. Every mistake costs something,
# so that the matrix can decide as well as judge.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from smoothcs import CostMatrix, CostSensitiveSmoothedClassifier
from smoothcs.plotting import CertifiedBillDisplay

cost = CostMatrix.from_function(
    lambda digit, read: read - digit if read > digit else 0.5, classes=np.arange(10)
)
print(cost.matrix)

X, y = load_digits(return_X_y=True)
X = (X / 16.0).astype(np.float32)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=250, stratify=y, random_state=0)

# %%
# One network, three decisions
# ----------------------------
#
# The network learns the digits under noise and knows nothing of the costs. Whether a noisy copy
# counts as the likeliest digit, as the one of least expected cost, or by weights, is a decision
# that can be changed after training. The weights make small digits count more, by a rule of thumb.

clf = CostSensitiveSmoothedClassifier(
    objective="gaussian",
    cost_matrix=cost,
    sigma=0.5,
    max_epochs=30,
    lr_schedule="one-cycle",
    n_estimation=1000,
    random_state=0,
).fit(X_train, y_train)

decisions = {
    "likeliest": None,
    "weighted": 1.2 ** -np.arange(10.0),
    "least cost": "min-cost",
}
certificates = {
    name: clf.set_params(decision=decision).certify(X_test, y_test)
    for name, decision in decisions.items()
}

# %%
# Mean cost, clean and under attack
# ---------------------------------
#
# ``worst_cost`` charges each digit the dearest reading that an attack of length ``eps`` may lead
# to. A digit that is misread already is charged that reading, and what else is not ruled out.
# Deciding by cost gives up accuracy for answers that err on the cheap side and are hard to move.

eps = [0.0, 0.1, 0.25, 0.5]
print(
    pd.DataFrame(
        {name: c.worst_cost(eps).mean(axis=1).round(3) for name, c in certificates.items()},
        index=eps,
    ).rename_axis("mean cost within eps")
)
print({name: round(float((c.label == y_test).mean()), 3) for name, c in certificates.items()})

ax = None
for name, c in certificates.items():
    display = CertifiedBillDisplay.from_certificates(c, name=name, ax=ax, money="hundreds")
    ax = display.ax_
ax.set_title("What 250 digits cost at worst")
plt.show()

# %%
# Which digits are at risk
# ------------------------
#
# By true digit: what is paid now, and what an attack of length .25 might add.

frame = certificates["least cost"].bill_frame(0.25)
print(frame.groupby("y")[["cost_now", "at_risk"]].mean().round(2).T.to_string())
print(frame.sort_values("at_risk", ascending=False).head(5).to_string())
