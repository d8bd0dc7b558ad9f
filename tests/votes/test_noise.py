"""The noise is N(0, sigma^2), keyed, and independent across blocks, inputs and purposes."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from smoothcs.votes.noise import NoiseStream, block_draws, content_digest, make_key

SIZE = 64


def stream(seed=0, value=0.0, purpose="estimation", size=SIZE, row=0):
    x = np.full(size, value, dtype=np.float32)
    return NoiseStream(make_key(seed), content_digest(x), purpose, x.shape, row)


def draws(blocks, sigma=1.0, **kwargs):
    """The first blocks of a stream, (blocks * block_draws, size), float64."""
    source = stream(**kwargs)
    return torch.cat([source.block(i, sigma) for i in range(blocks)]).numpy().astype(np.float64)


@pytest.fixture(scope="module")
def sample():
    """Two million normals from 256 blocks."""
    return draws(256).ravel()


def test_noise_is_standard_normal_by_kolmogorov_smirnov(sample):
    assert stats.kstest(sample[::4], "norm").pvalue > 1e-3


def test_first_four_moments_are_those_of_the_normal(sample):
    n = len(sample)
    # Standard errors of the mean of z^k about E z^k.
    for k, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(np.mean(sample**k) - expected) < 4 * np.sqrt(variance / n)


@pytest.mark.parametrize("level", [2.0, 3.0, 4.0, 4.8])
@pytest.mark.parametrize("sign", [-1, 1])
def test_tails_have_the_normal_mass(sample, level, sign):
    expected = stats.norm.sf(level)
    count = np.count_nonzero(sign * sample > level)
    assert stats.binomtest(count, len(sample), expected).pvalue > 1e-4


def test_sigma_scales_the_noise():
    np.testing.assert_allclose(draws(2, sigma=0.25), 0.25 * draws(2), rtol=1e-6)


def test_squared_norms_of_draws_are_chi_squared():
    norms = (draws(128) ** 2).sum(axis=1)
    assert stats.kstest(norms, "chi2", args=(SIZE,)).pvalue > 1e-3


def test_coordinates_of_a_draw_are_uncorrelated():
    z = draws(128)
    correlation = np.corrcoef(z, rowvar=False)[np.triu_indices(SIZE, 1)]
    assert np.abs(correlation).max() < 5.5 / np.sqrt(len(z))
    assert abs((correlation**2).mean() * len(z) - 1) < 0.15


def test_successive_draws_are_uncorrelated(sample):
    z = sample.reshape(-1, SIZE)
    for lag in (1, 2, block_draws(SIZE)):
        correlation = (z[lag:] * z[:-lag]).mean()
        assert abs(correlation) < 4.5 / np.sqrt(z[lag:].size)


PAIRS = {
    "inputs": ({"value": 0.0}, {"value": 1e-7}),
    "keys": ({"seed": 0}, {"seed": 1}),
    "selection and estimation": ({"purpose": "selection"}, {"purpose": "estimation"}),
    "selection and prediction": ({"purpose": "selection"}, {"purpose": "prediction"}),
    "estimation and prediction": ({"purpose": "estimation"}, {"purpose": "prediction"}),
    "estimation and portfolio": ({"purpose": "estimation"}, {"purpose": "portfolio"}),
    "rows of a portfolio": ({"purpose": "portfolio", "row": 3}, {"purpose": "portfolio", "row": 4}),
}


@pytest.mark.parametrize(("one", "other"), PAIRS.values(), ids=PAIRS.keys())
def test_streams_of_different_inputs_keys_and_purposes_are_independent(one, other):
    first, second = draws(64, **one).ravel(), draws(64, **other).ravel()
    n = min(len(first), len(second))  # a portfolio has smaller blocks
    first, second = first[:n], second[:n]
    # Neither linear nor squared values correlate, and signs agree half of the time.
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(n)
    assert abs(np.corrcoef(first**2, second**2)[0, 1]) < 4 / np.sqrt(n)
    agree = np.count_nonzero((first > 0) == (second > 0))
    assert stats.binomtest(agree, n, 0.5).pvalue > 1e-4


def test_a_block_is_a_function_of_key_content_purpose_and_index():
    source, again = stream(), stream()
    again.block(7, 1.0)  # what was drawn before leaves no trace
    assert torch.equal(source.block(3, 1.0), again.block(3, 1.0))
    assert not torch.equal(source.block(3, 1.0), source.block(4, 1.0))


def test_out_is_filled_and_returned():
    source = stream()
    out = torch.empty(block_draws(SIZE), SIZE)
    assert source.block(0, 1.0, out=out) is out
    assert torch.equal(out, stream().block(0, 1.0))


def test_threads_do_not_change_the_noise():
    alone = [stream(size=5000).block(i, 1.0) for i in range(32)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda i: stream(size=5000).block(i, 1.0), range(32)))
    assert all(map(torch.equal, alone, together))


def test_another_process_draws_the_same_noise():
    code = (
        "from smoothcs.votes.noise import *; import numpy as np; x = np.zeros(64, dtype='f4'); "
        "s = NoiseStream(make_key(0), content_digest(x), 'estimation', x.shape); "
        "print(s.block(5, 1.0).numpy().tobytes().hex())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert bytes.fromhex(run.stdout) == stream().block(5, 1.0).numpy().tobytes()


@given(st.integers(1, 10**7), st.sampled_from(["cpu", "cuda", "mps"]))
def test_blocks_are_powers_of_two_of_bounded_memory(size, device):
    count = block_draws(size, device)
    assert count & (count - 1) == 0
    assert 1 <= count <= 1024
    assert count == 1 or count * size <= 2**19


def test_content_is_shape_and_float32_values():
    x = np.arange(6, dtype=np.float32)
    assert content_digest(x) == content_digest(x.astype(np.float64))
    assert content_digest(x) == content_digest(np.arange(12, dtype=np.float32)[:6])
    assert content_digest(x) != content_digest(x.reshape(2, 3))
    assert content_digest(x.reshape(3, 2).T) == content_digest(x.reshape(3, 2).T.copy())
    assert content_digest(x) != content_digest(np.nextafter(x, np.float32(9)))


@pytest.mark.parametrize("seed", [0, -1, 2**80, np.int64(3)])
def test_an_integer_gives_always_the_same_key(seed):
    assert make_key(seed) == make_key(int(seed))
    assert make_key(seed) != make_key(int(seed) + 1)
    assert len(make_key(seed)) == 32


def test_none_gives_a_fresh_key():
    assert len({make_key(None) for _ in range(100)}) == 100


def test_numpy_generators_give_a_key_and_advance():
    for make in (np.random.RandomState, np.random.default_rng):
        first, second = make(0), make(0)
        assert make_key(first) == make_key(second)
        assert make_key(first) != make_key(make(0))


def test_a_key_is_kept():
    key = bytes(range(32))
    assert make_key(key) is key


@pytest.mark.parametrize(
    ("bad", "error", "text"),
    [
        (b"short", ValueError, "32 bytes; got 5 bytes"),
        ("seed", TypeError, "got 'seed' of type str"),
        (1.0, TypeError, "float"),
        (True, TypeError, "bool"),
    ],
)
def test_bad_keys_are_refused(bad, error, text):
    with pytest.raises(error, match=text):
        make_key(bad)


def test_an_unknown_purpose_is_refused():
    with pytest.raises(ValueError, match=r"purpose must be one of.*'certify'"):
        stream(purpose="certify")


@pytest.mark.cuda
def test_noise_on_cuda_is_standard_normal_and_keyed():
    generator = torch.Generator(device="cuda")
    source = stream(size=1024)
    blocks = [source.block(i, 1.0, generator=generator).cpu().numpy() for i in range(4)]
    assert stats.kstest(np.concatenate(blocks).ravel(), "norm").pvalue > 1e-3
    assert abs(np.corrcoef(blocks[0].ravel(), blocks[1].ravel())[0, 1]) < 4 / blocks[0].size ** 0.5
    again = stream(size=1024).block(2, 1.0, generator=generator).cpu().numpy()
    np.testing.assert_array_equal(again, blocks[2])
