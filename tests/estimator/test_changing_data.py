"""A Dataset that answers differently in another pass is not certified."""

import joblib
import numpy as np
import pytest
import torch
from _small import ListDataset, X, Y, by_distance, wrap


class Augmenting(ListDataset):
    """Moves its items from ``first`` on at random, each time that they are read."""

    def __init__(self, items, first):
        super().__init__(items)
        self.first = first

    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        if index >= self.first:
            # Workers have copies of the data set: only fresh entropy differs between them.
            x = x + np.random.default_rng().normal(scale=0.01, size=x.shape).astype(np.float32)
        return torch.tensor(x), y


METHODS = {
    "certify": lambda clf, data: clf.certify(data, Y),
    "without the truth": lambda clf, data: clf.certify(data),
    "tolerance": lambda clf, data: clf.certify(data, Y, radius_tol=0.05),
    "radius": lambda clf, data: clf.certify_radius(data, Y),
    "certify_at": lambda clf, data: clf.certify_at(data, Y, 0.1),
    "score": lambda clf, data: clf.score(data),
    "report": lambda clf, data: clf.certified_report(data),
}
ITEMS = list(zip(X, Y.tolist(), strict=True))


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("method", METHODS)
def test_a_data_set_that_augments_at_random_is_refused_with_the_index(method, n_jobs):
    if n_jobs and method not in ("certify", "certify_at"):
        pytest.skip("the same votes are drawn by certify or certify_at")
    clf = wrap(by_distance, n_jobs=n_jobs)
    # An error ends the workers, which take seconds to start: the other method has threads.
    backend = "loky" if method == "certify" else "threading"
    with joblib.parallel_config(backend=backend):
        METHODS[method](clf, Augmenting(ITEMS, 36))
        with pytest.raises(ValueError, match=r"X\[35\] is another input than in an earlier pass"):
            METHODS[method](clf, Augmenting(ITEMS, 35))


def test_no_resume_file_hides_it(tmp_path):
    clf, path = wrap(by_distance), tmp_path / "votes"
    with pytest.raises(ValueError, match="is another input"):
        clf.certify(Augmenting(ITEMS, 20), Y, resume_from=path)
    with pytest.raises(ValueError, match="is another input|holds .* votes of other data"):
        clf.certify(Augmenting(ITEMS, 20), Y, resume_from=path)
