"""
Certifying on a cluster
=======================

Votes are independent, so inputs can be divided among processes and machines. The noise of an input
depends on its content and the key alone: whoever draws it, the votes are the same, and what a
worker that dies has not delivered is drawn again elsewhere.
"""

# %%
# One machine, several processes
# ------------------------------
#
# ``n_jobs`` divides the inputs among joblib's processes.

import joblib
import matplotlib.pyplot as plt
import numpy as np
from dask.distributed import Client, LocalCluster
from sklearn.datasets import load_iris

from smoothcs import CostSensitiveSmoothedClassifier

X, y = load_iris(return_X_y=True)
clf = CostSensitiveSmoothedClassifier(
    cost_matrix={(1, 2): 10, (2, 1): 1},
    objective="gaussian",
    n_estimation=2_000,
    random_state=0,
).fit(X, y)

alone = clf.certify(X, y)
together = clf.set_params(n_jobs=2).certify(X, y)
print("same votes from one and two processes:", np.array_equal(alone.votes, together.votes))

# %%
# Several machines
# ----------------
#
# The same call runs on a dask cluster inside ``joblib.parallel_config``. Here the cluster is a
# scheduler and two workers on this machine; on yours it is ``Client("tcp://scheduler:8786")``. The
# workers need smoothcs and the module's code installed. ``GridSearchCV`` runs there in the same
# way.

clf.set_params(n_jobs=None)
with (
    LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as hub,
    Client(hub),
    joblib.parallel_config(backend="dask", n_jobs=2),
):
    remote = clf.certify(X, y)
print("same votes from the cluster:", np.array_equal(alone.votes, remote.votes))
print(f"rob_cs at eps = {clf.sigma}: {remote.rob_cs(clf.sigma):.3f}")

# %%
# Input by input
# --------------
#
# The radii lie on the diagonal, exactly: where votes were drawn leaves no trace in a certificate.

figure, ax = plt.subplots(figsize=(4.2, 4), layout="constrained")
ax.plot(alone.radius_standard, remote.radius_standard, "o", alpha=0.4)
limit = ax.get_xlim()
ax.plot(limit, limit, color="grey", linewidth=1, zorder=0)
ax.set(xlabel="certified radius, one process", ylabel="certified radius, cluster")
plt.show()
