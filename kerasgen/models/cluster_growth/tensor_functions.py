"""The functions of ``frequency`` in a graph of TensorFlow."""

from __future__ import annotations

from functools import partial
from typing import Any

import tensorflow as tf

from kerasgen.backend.seeds import key_at, uniform_at  # noqa: F401

arange = partial(tf.range, dtype=tf.int32)
ceil, cos, exp, log, maximum, minimum, reshape, sin, sqrt, where, zeros_like = (
    tf.math.ceil, tf.cos, tf.exp, tf.math.log, tf.maximum, tf.minimum, tf.reshape, tf.sin, tf.sqrt,
    tf.where, tf.zeros_like,
)  # fmt: skip
cumsum, repeat, take = partial(tf.cumsum, axis=-1), tf.repeat, tf.gather
highest_of, lgamma, size = tf.reduce_max, tf.math.lgamma, tf.size
float32, float64, int32, int64 = (
    partial(tf.cast, dtype=x) for x in (tf.float32, tf.float64, tf.int32, tf.int64)
)
concat, equal, ones_like, stack, transpose = (
    tf.concat, tf.equal, tf.ones_like, tf.stack, tf.transpose,
)  # fmt: skip


def flat(x: Any) -> Any:
    """All numbers in one row."""
    return tf.reshape(x, [-1])


def arcsin(x: Any) -> Any:
    """Of float64, by way of float32: ONNX Runtime has no other."""
    return tf.cast(tf.asin(tf.cast(x, tf.float32)), tf.float64)


def indices(mask: Any) -> Any:
    """Where a mask is true."""
    return tf.cast(tf.where(mask)[:, 0], tf.int32)


def sum(x: Any) -> Any:
    """Over the last axis."""
    return tf.reduce_sum(x, axis=-1)


def highest(x: Any) -> Any:
    """Over the last axis."""
    return tf.reduce_max(x, axis=-1)


def total(x: Any) -> Any:
    """Sum over the last axis, of floating-point numbers."""
    # The shape again, because an exported model gets that of an empty sum wrong in ONNX Runtime.
    return tf.reshape(tf.reduce_sum(x, axis=-1), tf.shape(x)[:-1])


def counts(index: Any, n: Any) -> Any:
    """How often each of n indices occurs, int32 [n]."""
    return tf.math.unsorted_segment_sum(tf.ones_like(index), index, n)


def full(n: Any, value: int) -> Any:
    """n times a value, int32."""
    return tf.fill([n], value)


def raised(x: Any, index: Any, values: Any) -> Any:
    """x with its elements at indices [P] raised to values [P]."""
    return tf.tensor_scatter_nd_max(x, index[:, None], values)


def added(x: Any, index: Any, values: Any) -> Any:
    """x with values [P] added to its elements at indices [P]."""
    return tf.tensor_scatter_nd_add(x, index[:, None], values)


def lowered(x: Any, index: Any, values: Any) -> Any:
    """x with its elements at indices [P] lowered to values [P]."""
    return tf.tensor_scatter_nd_min(x, index[:, None], values)
