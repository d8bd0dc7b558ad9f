"""What a user writes, revealed to mypy by test_types.py; it is never run."""

import numpy as np
from numpy.typing import NDArray
from typing_extensions import reveal_type

import smoothcs
from smoothcs import CostMatrix, CostSensitiveSmoothedClassifier, WeightedVotes
from smoothcs.certification import with_costs
from smoothcs.plotting import CertifiedAccuracyDisplay, RobustErrorDisplay, VotesDisplay

rng = np.random.default_rng(0)
X: NDArray[np.float64] = rng.normal(size=(60, 2))
y: NDArray[np.int64] = (X[:, 0] > 0).astype(np.int64)

clf = CostSensitiveSmoothedClassifier(
    cost_matrix=CostMatrix({(1, 0): 10.0}), decision=WeightedVotes([1, 3]), max_epochs=1
)
clf = reveal_type(clf.fit(X, y))
reveal_type(clf.predict(X))
reveal_type(clf.abstains(X))
reveal_type(clf.predict_proba(X))
reveal_type(clf.plan_votes(X, y))

certificates = reveal_type(clf.certify(X, y))
reveal_type(certificates.radius_group)
reveal_type(certificates.rob_cs(0.1))
reveal_type(certificates.rob_cs([0.1, 0.2]))
reveal_type(certificates.robust_error_matrix(0.1))
reveal_type(with_costs(certificates, {(0, 1): 1.0}))
reveal_type(smoothcs.Certificates.load("certificates.npz"))
reveal_type(clf.certify_radius(X, y))

certified = reveal_type(clf.certify_at(X, y, [0.1, 0.2], kinds=("group", "label")))
reveal_type(certified.certified_group)
reveal_type(certified.n_used)
reveal_type(smoothcs.certify(clf, X, y))
reveal_type(smoothcs.certify_at(clf, X, y, 0.1))

reveal_type(clf.score(X, y, metric="rob_cost"))
reveal_type(smoothcs.certified_scorer(0.1))

reveal_type(CertifiedAccuracyDisplay.from_estimator(clf, X, y))
reveal_type(RobustErrorDisplay.from_certificates(certificates, eps=0.1))
reveal_type(VotesDisplay.from_certificates(certificates, index=3))
