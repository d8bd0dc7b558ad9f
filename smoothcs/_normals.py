"""Normal numbers on the CPU from a seed of 192 bits: the law of every noise drawn there."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray

SEED_BYTES = 24
LARGEST_NORMAL = math.sqrt(62 * math.log(2))
"""No number that is drawn exceeds so many standard deviations (6.556, in the last bit)."""


class _Seed(ISeedSequence):
    """Bytes that are random already, as the seed of one SFC64.

    ``SeedSequence`` would mix them into 128 bits, and take seven times as long.
    """

    def __init__(self, seed: bytes) -> None:
        self._words = np.frombuffer(seed, dtype="<u8", count=SEED_BYTES // 8)

    def generate_state(self, n_words: int, dtype: Any = np.uint64) -> NDArray[Any]:
        """Return the words, for SFC64 three of 64 bits."""
        return self._words[:n_words].astype(dtype)


def fill_normals(out: NDArray[np.float32], seed: bytes, sigma: float) -> None:
    """Fill an array with independent draws of N(0, sigma^2), a function of the seed.

    Box-Muller on the bits of NumPy's SFC64: a word of 64 bits gives the radius and the angle of
    the two normals ``sigma sqrt(-2 log u) (cos a, sin a)``, one in each half of ``out``. ``u`` is
    the midpoint of one of 2^30 equal cells of [0, 1] and ``a`` one of 2^31 equally spaced angles,
    each rounded to the 24 bits of a float32. Hence every number is finite and none exceeds
    ``LARGEST_NORMAL``; under the exact law one in 2 * 10^10 does.

    The bits are the same on every machine and for every release of NumPy and PyTorch. Logarithm,
    sine and cosine are NumPy's; their last bit may differ between two releases of NumPy and between
    two kinds of CPU. One thread does all the work, nearly always without Python's lock, so that
    several threads may each fill an array of their own.

    Parameters
    ----------
    out : ndarray of float32, shape (n,), contiguous
    seed : bytes
        At least 24 bytes; the first 24 are used.
    sigma : float
        Standard deviation.
    """
    half = -(-out.size // 2)
    source = np.random.SFC64(_Seed(seed))  # type: ignore[arg-type]  # typed as SeedSequence only
    words = source.random_raw(half)
    bits = words.view(np.int32)
    bits |= 1  # odd, hence never zero, and symmetric about it
    first, second = out[:half], out[half:]

    first[:] = bits[:half]
    first *= 2.0**-31
    np.square(first, out=first)
    np.log(first, out=first)  # 2 log u
    first *= -1.0
    np.sqrt(first, out=first)
    first *= sigma

    angle = bits[half:].astype(np.float32)
    angle *= math.pi * 2.0**-31
    cosine = np.cos(angle, out=words.view(np.float32)[:half])
    np.sin(angle[: second.size], out=second)
    second *= first[: second.size]
    first *= cosine
