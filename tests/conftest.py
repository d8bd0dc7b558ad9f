"""One thread and fixed seeds: the tests measure behaviour, not the machine."""

import numpy as np
import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("smoothcs", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("smoothcs")


def pytest_collection_modifyitems(items):
    skip = pytest.mark.skip(reason="needs a CUDA device")
    for item in items:
        if "cuda" in item.keywords and not torch.cuda.is_available():
            item.add_marker(skip)


@pytest.fixture
def rng():
    return np.random.default_rng(0)
