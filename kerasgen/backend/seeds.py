"""Mixing of 64-bit seeds on TensorFlow."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def mixed(x: Any) -> Any:
    """The finaliser of SplitMix64 (Steele et al., OOPSLA 2014) on int64: mixes all bits."""
    x = tf.bitcast(tf.cast(x, tf.int64), tf.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, tf.constant(shift, tf.uint64)))
        x = x * tf.constant(factor, tf.uint64)
    x = tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, tf.constant(31, tf.uint64)))
    return tf.bitcast(x, tf.int64)
