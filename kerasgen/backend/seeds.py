"""Mixing of 64-bit seeds on TensorFlow."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kerasgen.backend.numpy_seeds import GOLDEN

_SHIFT = tf.constant(40, tf.uint64)


def mixed(x: Any) -> Any:
    """The finaliser of SplitMix64 (Steele et al., OOPSLA 2014) on int64: mixes all bits."""
    x = tf.bitcast(tf.cast(x, tf.int64), tf.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, tf.constant(shift, tf.uint64)))
        x = x * tf.constant(factor, tf.uint64)
    x = tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, tf.constant(31, tf.uint64)))
    return tf.bitcast(x, tf.int64)


def key_at(key: Any, place: Any) -> Any:
    """Key of one of many streams of a key.

    Args:
        key: int64, any shape.
        place: int64, number of the stream, in a shape that fits.
    """
    return mixed(key + mixed(place + GOLDEN))


def uniform_at(key: Any, place: Any) -> Any:
    """A number on [0, 1) at an index, which does not depend on the others requested."""
    bits = tf.bitwise.right_shift(tf.bitcast(key_at(key, place), tf.uint64), _SHIFT)
    return tf.cast(tf.bitcast(bits, tf.int64), tf.float32) * 2.0**-24
