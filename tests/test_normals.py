"""Normals on the CPU: exactly Box-Muller on the bits of SFC64, seeded with all that is given."""

import numpy as np
import pytest
from scipy import stats

from smoothcs._normals import LARGEST_NORMAL, SEED_BYTES, fill_normals

N = 2**21
MASK = 2**64 - 1


def filled(seed=1, n=N, sigma=1.0):
    out = np.full(n, np.nan, dtype=np.float32)
    fill_normals(out, np.random.default_rng(seed).bytes(SEED_BYTES), sigma)
    return out


def sfc64(seed, n):
    """Doty-Humphrey's SFC64 in Python, with the seeding of its author."""
    a, b, c = np.frombuffer(seed, dtype="<u8").tolist()
    counter, words = 1, []
    for _ in range(12 + n):
        words.append((a + b + counter) & MASK)
        counter += 1
        a, b, c = b ^ (b >> 11), (c + (c << 3)) & MASK, ((c << 24) | (c >> 40)) & MASK
        c = (c + words[-1]) & MASK
    return np.array(words[12:], dtype=np.uint64)


def feed(monkeypatch, words):
    """Let the generator give these words instead of its own."""

    class Source:
        def __init__(self, seed):
            pass

        def random_raw(self, size):
            return np.array(words[:size], dtype=np.uint64)

    monkeypatch.setattr(np.random, "SFC64", Source)


@pytest.mark.parametrize("n", [1, 2, 7, 1000])
def test_normals_are_box_muller_of_sfc64_in_double_precision(n):
    seed = np.random.default_rng(n).bytes(SEED_BYTES)
    half = (n + 1) // 2
    bits = (sfc64(seed, half).astype("<u8").view("<i4") | 1).astype(np.float64) * 2.0**-31
    radius, angle = np.sqrt(-2 * np.log(np.abs(bits[:half]))), np.pi * bits[half:]
    expected = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:n]
    out = np.empty(n, dtype=np.float32)
    fill_normals(out, seed, 0.5)
    # Where u is next to 1 its 24 bits leave an error of 2^-25 in r^2 / 2.
    np.testing.assert_allclose(out, 0.5 * expected, rtol=1e-5, atol=1e-6)


def test_every_bit_of_the_seed_counts():
    seed = bytes(range(SEED_BYTES))
    seen = set()
    for bit in range(8 * SEED_BYTES):
        changed = bytearray(seed)
        changed[bit // 8] ^= 1 << bit % 8
        out = np.empty(16, dtype=np.float32)
        fill_normals(out, bytes(changed), 1.0)
        seen.add(out.tobytes())
    assert len(seen) == 8 * SEED_BYTES


def test_no_word_gives_an_infinite_number_and_the_largest_is_the_stated_one(monkeypatch):
    ends = [0, 1, 2, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 2, 2**32 - 1]
    radii = np.repeat(ends, len(ends)).astype(np.uint32)
    angles = np.tile(ends, len(ends)).astype(np.uint32)
    words = np.concatenate([radii, angles]).view(np.uint64)
    feed(monkeypatch, words)
    out = filled(n=2 * len(words))
    assert np.isfinite(out).all()
    assert np.abs(out).max() == pytest.approx(LARGEST_NORMAL, rel=1e-6)
    assert np.abs(out).max() <= LARGEST_NORMAL * (1 + 1e-6)
    assert stats.norm.sf(LARGEST_NORMAL) * 2 == pytest.approx(1 / (2 * 10**10), rel=0.15)


def test_the_radius_has_the_exact_tail(monkeypatch):
    # The smallest 2^12 radii words, both signs: u runs through the midpoints of equal cells.
    k = np.arange(-(2**12), 2**12, dtype=np.int32)
    words = np.concatenate([k, np.ones_like(k)]).view(np.uint64)  # angle next to 0: cosine 1
    feed(monkeypatch, words)
    radius = np.sort(filled(n=2 * len(words))[: len(k)].astype(np.float64))[::-1]
    cell = (np.arange(len(k)) // 4 + 0.5) * 2.0**-30  # each of four words
    np.testing.assert_allclose(radius, np.sqrt(-2 * np.log(cell)), rtol=2e-6)


@pytest.mark.parametrize("half", [0, 1])
def test_each_half_is_standard_normal(half):
    z = filled()[half * N // 2 :][: N // 2].astype(np.float64)
    assert stats.kstest(z, "norm").pvalue > 1e-3
    for k, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(np.mean(z**k) - expected) < 4 * np.sqrt(variance / len(z))


def test_the_two_normals_of_a_word_are_independent():
    z = filled().astype(np.float64)
    first, second = z[: N // 2], z[N // 2 :]
    limit = 4 / np.sqrt(len(first))
    for f in (np.sign, np.abs, lambda v: v, np.square, lambda v: v**3):
        for g in (np.sign, np.abs, lambda v: v, np.square, lambda v: v**3):
            assert abs(np.corrcoef(f(first), g(second))[0, 1]) < limit
    assert stats.kstest(first**2 + second**2, "expon", args=(0, 2)).pvalue > 1e-3
    assert stats.kstest(np.arctan2(second, first), "uniform", (-np.pi, 2 * np.pi)).pvalue > 1e-3
    # Of the same law in every quantile cell: 16 x 16 cells of equal mass.
    cells = np.histogram2d(stats.norm.cdf(first), stats.norm.cdf(second), bins=16)[0]
    assert stats.chisquare(cells.ravel()).pvalue > 1e-3


def test_tails_have_the_normal_mass_far_out():
    # 2^25 numbers from 16 seeds: 19 are expected beyond 5.
    count = sum(np.count_nonzero(np.abs(filled(seed)) > 5.0) for seed in range(16))
    assert stats.binomtest(count, 16 * N, 2 * stats.norm.sf(5.0)).pvalue > 1e-4


def test_neighbouring_numbers_are_uncorrelated():
    z = filled().astype(np.float64)
    for lag in (1, 2, 3, 7, 64, 784, N // 4, N // 2 - 1, N // 2 + 1):
        for f in (np.asarray, np.square):
            first, second = f(z[lag:]), f(z[:-lag])
            assert abs(np.corrcoef(first, second)[0, 1]) < 4.5 / np.sqrt(len(first))


def test_sigma_multiplies_even_where_its_square_underflows():
    for sigma in (0.25, 1e-30, 1e30):
        np.testing.assert_allclose(filled(n=100, sigma=sigma), sigma * filled(n=100), rtol=1e-6)
