"""Random directions: normal numbers, and unit vectors turned by an angle to a random side."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from kerasgen.data.simulation.charge import Single


@cache
def _normal_quantiles() -> Single:
    """Quantiles of the normal distribution at the middle of 2^16 equal bins."""
    return ndtri((np.arange(2**16) + 0.5) / 2**16).astype(np.float32)


def normal_numbers(rng: np.random.Generator, shape: tuple[int, ...]) -> Single:
    """Sample normal numbers up to 4.3 in size; four times as fast as a generator does."""
    return _normal_quantiles().take(rng.integers(0, 2**16, shape, np.uint16), mode="clip")


def rotate(rng: np.random.Generator, direction: NDArray, cosine: NDArray) -> NDArray:
    """Turn unit vectors [3, n] by angles of given cosines, to a random side."""
    across = normal_numbers(rng, direction.shape)
    across = across - np.einsum("ij,ij->j", across, direction) * direction
    return cosine * direction + np.sqrt(1.0 - cosine**2) * _normalise(across)


def _normalise(vectors: Single) -> Single:
    return vectors / np.sqrt(np.einsum("ij,ij->j", vectors, vectors))
