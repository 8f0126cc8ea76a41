"""The functions of ``frequency`` in numpy."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from scipy.special import gammaln as lgamma  # noqa: F401

from kerasgen.backend.numpy_seeds import key_at, uniform_at  # noqa: F401

arange = partial(np.arange, dtype=np.int32)
ceil, cos, exp, log, maximum, minimum, reshape, sin, sqrt, where, zeros_like = (
    np.ceil, np.cos, np.exp, np.log, np.maximum, np.minimum, np.reshape, np.sin, np.sqrt, np.where,
    np.zeros_like,
)  # fmt: skip
cumsum, repeat, take = partial(np.cumsum, axis=-1), np.repeat, partial(np.take, axis=0)
flat, highest_of, indices, size = np.ravel, partial(np.max, initial=0), np.flatnonzero, np.size
float32, float64, int32, int64 = (
    partial(np.asarray, dtype=x) for x in (np.float32, np.float64, np.int32, np.int64)
)
concat, equal, ones_like, stack, transpose = (
    np.concatenate, np.equal, np.ones_like, np.stack, np.transpose,
)  # fmt: skip


def arcsin(x: Any) -> Any:
    """Of float64, by way of float32: ONNX Runtime has no other."""
    return np.arcsin(x.astype(np.float32)).astype(np.float64)


def sum(x: Any) -> Any:
    """Over the last axis."""
    return np.sum(x, axis=-1, dtype=np.int32)


def highest(x: Any) -> Any:
    """Over the last axis."""
    return np.max(x, axis=-1)


def total(x: Any) -> Any:
    """Sum over the last axis, of floating-point numbers."""
    return np.sum(x, axis=-1)


def counts(index: Any, n: int) -> Any:
    """How often each of n indices occurs, int32 [n]."""
    return np.bincount(index, minlength=n).astype(np.int32)


def full(n: int, value: int) -> Any:
    """n times a value, int32."""
    return np.full(n, value, np.int32)


def raised(x: Any, index: Any, values: Any) -> Any:
    """x with its elements at indices [P] raised to values [P]; x is not used after it."""
    np.maximum.at(x, index, values)
    return x


def added(x: Any, index: Any, values: Any) -> Any:
    """x with values [P] added to its elements at indices [P]; x is not used after it."""
    np.add.at(x, index, values)
    return x


def lowered(x: Any, index: Any, values: Any) -> Any:
    """x with its elements at indices [P] lowered to values [P]; x is not used after it."""
    np.minimum.at(x, index, values)
    return x
