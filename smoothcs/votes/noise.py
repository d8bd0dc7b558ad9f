"""Keyed Gaussian noise: which noise an input gets depends on the input, not on how it is batched.

The draws of an input are cut into *blocks*. The generator of a block is seeded from a keyed hash
of (secret key, content of the input, purpose, block index) and of nothing else. Hence the same
input gets the same draws in any batch size, position, shard, process or resumed run; the draws for
``n = 1000`` are the first 1000 of those for ``n = 2000``; and selection, estimation and prediction
never share noise. Two *identical* inputs share their draws: each of their certificates has the
stated failure probability, but they fail together.

A claim about many inputs at once (:mod:`smoothcs.portfolio`) needs votes that are independent
between inputs, repeated ones included. So the purpose "portfolio" has the index of the row in its
seed as well: the draws of an input are then those of its place in ``X``.

The certificates assume that whoever chose the input did not know the noise. A public key (an
integer ``random_state``) lets anybody who knows it before choosing the input look for inputs whose
draws happen to flatter a class. Integers are for reproducible experiments; ``None`` draws a fresh
secret key and is the right choice in deployment.

Streams are a function of the device kind: on CUDA the noise is drawn on the device (Philox), for
all other devices on the CPU (:func:`smoothcs._normals.fill_normals`). They are the same for any
number of threads, processes or devices. On the CPU they do not depend on the version of PyTorch,
and on that of NumPy and the kind of CPU only in the last bit; on CUDA they are not promised to be
the same for two versions of PyTorch or two models of GPU.
The uniforms below a normal have 24 bits or more. On the CPU no coordinate exceeds 6.56 standard
deviations; the exact law does so once in 2 * 10^10.
"""

from __future__ import annotations

import hashlib
import secrets
from numbers import Integral
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from smoothcs._normals import fill_normals
from smoothcs._validation import check_choice, check_integer


class NoiseLaw(NamedTuple):
    """The law of the noise: entry j has standard deviation ``sigma * scale[j]``.

    ``scale`` is flat, of the size of an input; None: 1 everywhere.
    """

    sigma: float
    scale: NDArray[np.float32] | None = None

    @property
    def digest(self) -> str | None:
        """A digest of the scale, by which files of votes know it."""
        return None if self.scale is None else content_digest(self.scale).hex()


PURPOSES = ("selection", "estimation", "prediction", "portfolio")
KEY_BYTES = 32

# A block is large enough that seeding it costs a few percent of drawing it, and small enough that
# it stays in the cache of one core and that 100 draws do not waste much of it. Launching a kernel
# is dear, so blocks on a GPU are larger. (floats, draws) at most:
_BLOCK_LIMITS = {"cpu": (2**17, 128), "cuda": (2**19, 1024)}
_FEW_DRAWS = {"cpu": 4, "cuda": 32}  # of a portfolio, which has about 10 votes per input


def make_key(
    random_state: int | bytes | np.random.RandomState | np.random.Generator | None,
) -> bytes:
    """Return the 32-byte key of all noise streams.

    Parameters
    ----------
    random_state : None, int, bytes, RandomState or Generator
        ``None``: a fresh key from the operating system, unknown to everybody. An integer: always
        the same key. ``bytes`` of length 32: the key itself. A NumPy generator: a key drawn from
        it, which advances it.

    Returns
    -------
    bytes
        The key, 32 bytes.

    Raises
    ------
    TypeError
        If ``random_state`` is of another type.
    ValueError
        If ``bytes`` of another length are given.

    Examples
    --------
    >>> from smoothcs.votes.noise import make_key
    >>> make_key(0) == make_key(0), make_key(0) == make_key(1), make_key(None) == make_key(None)
    (True, False, False)
    """
    if random_state is None:
        return secrets.token_bytes(KEY_BYTES)
    if isinstance(random_state, bytes):
        if len(random_state) != KEY_BYTES:
            raise ValueError(
                f"random_state given as bytes must be a key of {KEY_BYTES} bytes; "
                f"got {len(random_state)} bytes."
            )
        return random_state
    if isinstance(random_state, np.random.RandomState | np.random.Generator):
        return random_state.bytes(KEY_BYTES)
    if isinstance(random_state, Integral) and not isinstance(random_state, bool):
        text = b"smoothcs key from integer " + str(int(random_state)).encode()
        return hashlib.blake2b(text, digest_size=KEY_BYTES).digest()
    raise TypeError(
        "random_state must be None, an integer, 32 bytes, a numpy RandomState or a numpy "
        f"Generator; got {random_state!r} of type {type(random_state).__name__}."
    )


def content_digest(x: np.ndarray) -> bytes:
    """Return a 32-byte digest of one input: its shape and its values as float32."""
    x = np.ascontiguousarray(x, dtype="<f4")
    hasher = hashlib.blake2b(repr(x.shape).encode(), digest_size=32)
    hasher.update(x.data)
    return hasher.digest()


def block_draws(size: int, device_type: str = "cpu", purpose: str = "estimation") -> int:
    """Return how many draws make a block, for inputs of ``size`` numbers: a power of two.

    It depends on nothing but the size of an input, the kind of device and the purpose, so that the
    draws of an input do not depend on the batch size.
    """
    size = check_integer("size", size)
    kind = "cuda" if device_type == "cuda" else "cpu"
    max_floats, max_draws = _BLOCK_LIMITS[kind]
    if purpose == "portfolio":
        max_draws = _FEW_DRAWS[kind]
    draws = min(max(max_floats // size, 1), max_draws)
    return 1 << (draws.bit_length() - 1)


class NoiseStream:
    """The standard normal draws of one input for one purpose, block by block.

    Parameters
    ----------
    key : bytes
        The key, see :func:`make_key`.
    digest : bytes
        The content of the input, see :func:`content_digest`.
    purpose : {"selection", "estimation", "prediction", "portfolio"}
        What the votes are for.
    shape : tuple of int
        Shape of the input.
    row : int, default=0
        Index of the input; it makes a difference to the purpose "portfolio" alone.

    Examples
    --------
    >>> import numpy as np
    >>> from smoothcs.votes.noise import NoiseStream, content_digest, make_key
    >>> x = np.zeros((3, 8, 8), dtype=np.float32)
    >>> stream = NoiseStream(make_key(0), content_digest(x), "estimation", x.shape)
    >>> block = stream.block(0, sigma=0.5)
    >>> block.shape, block.dtype
    (torch.Size([128, 192]), torch.float32)
    """

    def __init__(
        self, key: bytes, digest: bytes, purpose: str, shape: tuple[int, ...], row: int = 0
    ) -> None:
        self.purpose = check_choice("purpose", purpose, PURPOSES)
        self.size = int(np.prod(shape, dtype=np.int64))
        if purpose == "portfolio":
            digest += row.to_bytes(8, "little")
        self._key = hashlib.blake2b(
            digest, key=key, digest_size=KEY_BYTES, person=purpose.encode()
        ).digest()

    def block(
        self,
        index: int,
        sigma: float,
        *,
        generator: torch.Generator | None = None,
        out: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Draw block ``index``: noise of standard deviation ``sigma``.

        Parameters
        ----------
        index : int
            Index of the block, from 0.
        sigma : float
            Standard deviation, in units of the input.
        generator : torch.Generator, optional
            A generator on CUDA, to be reseeded and used. If None, the noise is drawn on the CPU.
        out : torch.Tensor, optional
            Filled and returned; contiguous, float32, (block_draws, size), on the same device.

        Returns
        -------
        torch.Tensor
            float32 of shape (block_draws(size), size).
        """
        device = torch.device("cpu") if generator is None else generator.device
        if out is None:
            draws = block_draws(self.size, device.type, self.purpose)
            out = torch.empty((draws, self.size), dtype=torch.float32, device=device)
        seed = hashlib.blake2b(index.to_bytes(8, "little"), key=self._key).digest()
        if generator is None or device.type == "cpu":
            # PyTorch's CPU generators keep 32 bits of a seed: far too few for millions of blocks.
            fill_normals(out.view(-1).numpy(), seed, sigma)
            return out
        seed = hashlib.shake_128(seed).digest(8)
        generator.manual_seed(int.from_bytes(seed, "little") >> 1)
        return out.normal_(0.0, sigma, generator=generator)
