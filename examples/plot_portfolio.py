"""
The risk of a whole portfolio, from ten votes per input
=======================================================

A certificate per input takes thousands of votes for it, and answers for that input alone. Who runs
a screening programme or a card scheme may have another question: what will an attacker cost us on
average? For the predictor that answers from *one* noisy copy, that mean is certified from ten votes
per input, and every prediction is a single forward pass.
"""

# %%
# A model, and a price for its mistakes
# -------------------------------------
#
# Handwritten digits. To call an 8 something else costs 3, any other mistake 1.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from smoothcs import CostMatrix, CostSensitiveSmoothedClassifier
from smoothcs.plotting import PortfolioDisplay
from smoothcs.portfolio import plan_portfolio

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, test_size=0.5, random_state=0, stratify=y
)
matrix = np.ones((10, 10)) - np.eye(10)
matrix[8] *= 3
clf = CostSensitiveSmoothedClassifier(
    cost_matrix=CostMatrix(matrix, classes=np.arange(10)),
    objective="gaussian",
    sigma=0.5,
    alpha=0.01,
    lr=0.01,
    max_epochs=30,
    random_state=0,
).fit(X_train, y_train)

# %%
# The predictor
# -------------
#
# ``predict_one_draw`` answers from one noisy copy. It is randomised: the noise is fresh and secret,
# and a second call may answer otherwise. That is what the certificate is about, so ``random_state``
# does not make it repeatable.

first, second = clf.predict_one_draw(X_test), clf.predict_one_draw(X_test)
print(f"wrong: {np.mean(first != y_test):.3f} and {np.mean(second != y_test):.3f}")
print(f"answers that differ between two calls: {np.mean(first != second):.3f}")

# %%
# The certificate
# ---------------
#
# With probability ``1 - alpha``, no attack that moves every input by at most eps brings the
# expected cost of an answer above ``risk``, for new inputs from the population of which these are a
# sample. The bound is in units of the costs.
# :meth:`~smoothcs.CostSensitiveSmoothedClassifier.certify_portfolio` computes it; the display does
# so too, for other numbers of votes as well, and attacks the same predictor by projected gradients
# of its expected answer. The truth lies in the shaded region: it is at least what the attack
# reached. The rest is what the attack did not find, what the classifier could have been, and what
# 899 inputs leave open; more votes than five add little here.

display = PortfolioDisplay.from_estimator(clf, X_test, y_test, [0.25, 0.5], by_votes=(1, 5, 20))
plt.show()
print(display.certificate)

# %%
# The bounds by class show which inputs an attacker would choose. Each holds by itself.

print(display.certificate.to_frame().round(2).T.to_string(header=False))

# %%
# Planning
# --------
#
# How many inputs and votes would bring the bound on the share of wrong answers to within .03 of the
# truth? A pilot tells: here, the wrong answers among ten votes of each of 200 inputs.

pilot = clf.portfolio_votes(X_test[:200], 10)
wrong = 10 - pilot[np.arange(200), y_test[:200]]
plan = plan_portfolio(0.03, sigma=clf.sigma, eps=0.25, pilot=(wrong, 10), alpha=clf.alpha)
for option in plan.options:
    needed = "more than any" if option.n_inputs is None else f"{option.n_inputs:,}"
    print(f"{option.n_votes:2} votes per input: {needed} inputs")
