"""
A loan book
===========

A loan of 20,000 that defaults hurts more than one of 500. Here every application has its own
costs; the classifier decides by them, and the certificate is a sum of money: what the loan book may
cost at most if applicants embellish what they can.
"""

# %%
# Applications, and what mistakes cost
# ------------------------------------
#
# The German Credit data: 1,000 loans in Deutsche Mark, with twenty attributes each. A bad loan that
# is granted costs three quarters of its amount, a good one that is declined a tenth of it, the
# interest. (The data brings no such amounts; these are our choice.)

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from smoothcs import CostSensitiveSmoothedClassifier, category_scale, example_costs
from smoothcs.modules import MLP
from smoothcs.plotting import CertifiedBillDisplay

folder = Path("examples") if Path("examples").is_dir() else Path()
loans = pd.read_csv(folder / "german_credit.csv.gz")  # its licence is in german_credit.txt
X, y = loans.drop(columns=["label", "split"]), loans["label"]
costs = example_costs(
    false_positive=0.1 * loans["amount_dm"],
    false_negative=0.75 * loans["amount_dm"],
    classes=["bad", "good"],
    positive="bad",
)
train, test = (loans["split"] == 0).to_numpy(), (loans["split"] == 1).to_numpy()

# %%
# What an applicant can change
# ----------------------------
#
# An attacker moves what is a number and can be embellished: the amount asked for, the duration, the
# years at an address, the instalment rate. Categories, which the bank verifies, and the age do not
# move: they get no noise, and the certificate says so. Radii are in standard deviations.

numeric = ["duration_months", "amount_dm", "residence_since", "age", "installment_rate"]
columns = make_column_transformer(
    (StandardScaler(), numeric),
    (
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
        [c for c in X if c not in numeric],
    ),
    verbose_feature_names_out=False,
).set_output(transform="pandas")
Z_train, Z_test = columns.fit_transform(X[train]), columns.transform(X[test])
noise_scale = category_scale(columns) | {"age": 0.0}
print([name for name, scale in noise_scale.items() if scale > 0])

# %%
# One network, two decisions
# --------------------------
#
# The network is trained on the labels. What it answers for a noisy copy of an application is the
# likelier class, or the class of least expected cost: that is ``decision="min-cost"``, which acts
# before the vote.

clf = CostSensitiveSmoothedClassifier(
    MLP,
    net_params={"module__hidden": (64,), "optimizer__weight_decay": 0.1},
    objective="gaussian",
    optimizer="adamw",
    sigma=0.5,
    noise_scale=noise_scale,
    lr=5e-3,
    max_epochs=25,
    n_estimation=2000,
    random_state=0,
).fit(Z_train, y[train])

certificates = {}
for name, decision in [("likeliest class", None), ("least cost", "min-cost")]:
    clf.set_params(decision=decision)
    certificates[name] = clf.certify(Z_test, y[test], costs=costs[test])

# %%
# The bill
# --------
#
# The curve is the bill of the test loans if every applicant moves by ``eps`` at the worst. The grey
# line is the cheapest answer that looks at nobody. The band reaches to a limit that the true
# worst-case bill exceeds with probability at most 5 % over the votes.

ax = None
for name, c in certificates.items():
    display = CertifiedBillDisplay.from_certificates(
        c, confidence=0.95, name=name, ax=ax, units="standard deviations", money="Deutsche Mark"
    )
    ax = display.ax_
ax.set_title("What 300 loans cost at worst")
plt.show()

# %%
# In shares of that grey line:

eps = [0.0, 0.05, 0.1, 0.2]
print(
    pd.DataFrame(
        {name: np.round(c.savings(eps), 3) for name, c in certificates.items()}, index=eps
    ).rename_axis("certified savings at eps")
)

# %%
# One loan at a time
# ------------------
#
# What a controller reads: which answers can be provoked, to what, and at which price.

frame = certificates["least cost"].bill_frame(0.2)
print(frame.sort_values("at_risk", ascending=False).head(8).to_string())
