"""
Choosing lambda and gamma by a certified metric
===============================================

Margin-CS has weights (lambda) and margins (gamma) that trade accuracy for robustness where it
matters. They are tuned like any other parameter of scikit-learn, on certified metrics: the most
robust candidate among those whose accuracy is comparable to the best.
"""

# %%
# One pass for all metrics
# ------------------------
#
# ``certified_scorer`` certifies each validation fold once and reads every metric off the same
# votes. Few votes are enough to rank candidates. ``eps`` is fixed, so that all candidates answer
# the same question; it is in standard deviations here, because the scaler comes first.
#
# The rule that picks the winner is ``best_under``: the highest ``rob_cs`` among the candidates
# whose accuracy is within two points of the best.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from smoothcs import CostSensitiveSmoothedClassifier, best_under, certified_scorer
from smoothcs.plotting import CertifiedAccuracyDisplay

data = load_breast_cancer()
y = data.target_names[data.target]
X_train, X_test, y_train, y_test = train_test_split(
    data.data, y, test_size=0.3, random_state=0, stratify=y
)

eps = 0.5
pipeline = make_pipeline(
    StandardScaler(),
    CostSensitiveSmoothedClassifier(
        cost_matrix={("malignant", "benign"): 10},
        sigma=0.5,
        max_epochs=60,  # enough to choose by
        n_estimation=2_000,
        random_state=0,
    ),
)
step = "costsensitivesmoothedclassifier__"
search = GridSearchCV(
    pipeline,
    {
        step + "objective__lambda_robust": [0.1, 0.3, 1.0],
        step + "objective__gamma_sensitive": [4.0, 8.0],
    },
    cv=3,
    scoring=certified_scorer(eps, n_estimation=500),
    refit=best_under("rob_cs", accuracy=-0.02),
).fit(X_train, y_train)

chosen = {name.removeprefix(step): value for name, value in search.best_params_.items()}
print("chosen:", chosen)

# %%
# What was there to choose from?
# ------------------------------
#
# Each point is a candidate. The shaded side is what the rule does not allow: accuracy more than two
# points below the best candidate's. Without a limit, a classifier that calls everything malignant
# would win: it never misses a tumour and is of no use.

results = search.cv_results_
accuracy, rob_cs = results["mean_test_accuracy"], results["mean_test_rob_cs"]
figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
looks = {4.0: ("o", "#0072B2"), 8.0: ("s", "#D55E00")}
for gamma, (marker, color) in looks.items():
    rows = results[f"param_{step}objective__gamma_sensitive"] == gamma
    ax.scatter(
        accuracy[rows],
        rob_cs[rows],
        marker=marker,
        color=color,
        s=50,
        label=f"gamma_sensitive = {gamma:g}",
    )
for i, params in enumerate(results["params"]):
    text = f"{params[step + 'objective__lambda_robust']:g}"
    ax.annotate(text, (accuracy[i], rob_cs[i]), xytext=(5, 4), textcoords="offset points")
best = search.best_index_
ax.scatter(accuracy[best], rob_cs[best], s=220, facecolor="none", edgecolor="black", label="chosen")
left = min(accuracy.min(), accuracy.max() - 0.02) - 0.005
ax.axvspan(left, accuracy.max() - 0.02, color="0.85", zorder=0)
ax.set_xlim(left, accuracy.max() + 0.008)
ax.margins(y=0.12)
ax.set(xlabel="accuracy (cross-validated)", ylabel=f"Rob_cs at eps = {eps} (cross-validated)")
ax.set_title("numbers at the points: lambda_robust")
ax.legend()
plt.show()

# %%
# The certificates of the chosen model
# ------------------------------------
#
# The search is refitted on all training data and is itself an estimator that displays understand.
# The test data took no part in the choice, so the band means what it says.

CertifiedAccuracyDisplay.from_estimator(
    search,
    X_test,
    y_test,
    name="chosen",
    units="standard deviations",
)
plt.show()

# %%
# The rule in numbers: no candidate it allows has a higher ``rob_cs``.

allowed = accuracy >= accuracy.max() - 0.02 - 1e-12
assert rob_cs[best] == np.max(rob_cs[allowed])
