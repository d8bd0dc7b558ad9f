"""What an installed smoothcs must do, with nothing but its own requirements; outside a checkout."""

import pickle
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from sklearn.datasets import load_iris
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import smoothcs

here = Path(smoothcs.__file__).resolve()
assert here.is_relative_to(Path(sys.prefix).resolve()), f"{here} is not the installed package"
assert (here.parent / "py.typed").is_file(), "the package has lost its types"
assert smoothcs.__version__ == version("smoothcs")

X, y = load_iris(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
pipeline = make_pipeline(
    StandardScaler(),
    smoothcs.CostSensitiveSmoothedClassifier(
        cost_matrix={(2, 1): 10.0},
        objective="gaussian",
        sigma=0.3,
        n_estimation=500,
        lr=0.02,
        max_epochs=20,
        random_state=0,
    ),
)
pipeline.fit(X_train, y_train)
assert (pipeline.predict(X_test) == y_test).mean() > 0.8
certificates = smoothcs.certify(pipeline, X_test, y_test)
assert certificates.rob_cs(0.1) > 0.5
again = pickle.loads(pickle.dumps(pipeline))
np.testing.assert_array_equal(again.predict(X_test), pipeline.predict(X_test))
assert np.isfinite(cross_val_score(pipeline, X_train, y_train, cv=2)).all()
print(f"smoothcs {smoothcs.__version__}, Python {sys.version.split()[0]}: as it should be")
