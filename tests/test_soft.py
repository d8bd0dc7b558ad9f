"""Training noise: a function of the generator alone, not of threads or grouping."""

import numpy as np
import pytest
import torch
from scipy import stats

from smoothcs._soft import NoiseDraws

SHAPE = (50, 3, 31, 31)  # more than two pieces, of which the last is not full


def draws(microbatch=None, n_noise=3, dtype=torch.float32, generator=None, shape=SHAPE):
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    made = NoiseDraws(torch.zeros(shape, dtype=dtype), n_noise, 0.5, generator, microbatch)
    return torch.cat([made.chunk(start) for start in made.chunks()])


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("microbatch", [None, 1, 2])
def test_neither_threads_nor_microbatches_change_the_draws(threads, microbatch):
    expected = draws()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert torch.equal(draws(microbatch), expected)
    finally:
        torch.set_num_threads(before)


def test_draws_are_normal_and_uncorrelated_over_draws_and_pieces():
    z = 2 * draws(n_noise=4).flatten(1).numpy().astype(np.float64)
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3
    pieces = z[:, : 2 * 2**16].reshape(8, -1)
    correlation = np.corrcoef(pieces)[np.triu_indices(8, 1)]
    assert np.abs(correlation).max() < 4.5 / np.sqrt(pieces.shape[1])


def test_the_generator_is_advanced_alike_and_gives_new_draws_each_time():
    whole, parts = (torch.Generator().manual_seed(1) for _ in range(2))
    for _ in range(2):
        assert torch.equal(draws(None, generator=whole), draws(1, generator=parts))
        assert torch.equal(whole.get_state(), parts.get_state())
    assert not torch.equal(draws(generator=whole), draws(generator=whole))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_draws_have_the_dtype_of_the_batch(dtype):
    made = draws(dtype=dtype)
    assert made.dtype == dtype
    assert torch.equal(made, draws().to(dtype))


@pytest.mark.parametrize("shape", [(0, 4), (1, 1)])
def test_empty_and_tiny_batches_are_drawn(shape):
    assert draws(shape=shape).shape == (3, *shape)
