"""Random numbers that depend on nothing but their seed: no generator state anywhere."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from kerasgen.backend.replicas import replica_index

PHILOX = 1  # tf.random.Algorithm, as the raw ops want it
# One stream per use of randomness; the numbers are part of a run's identity.
STREAMS = {
    "discriminator": 1, "generator": 2, "shift": 3, "start": 4, "statistics": 5, "sample": 6,
    "pretraining": 7, "encode": 8, "mirror": 9,
}  # fmt: skip


def mixed(x: Any) -> Any:
    """The finaliser of SplitMix64 (Steele et al., OOPSLA 2014) on int64: mixes all bits."""
    x = tf.bitcast(tf.cast(x, tf.int64), tf.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, tf.constant(shift, tf.uint64)))
        x = x * tf.constant(factor, tf.uint64)
    x = tf.bitwise.bitwise_xor(x, tf.bitwise.right_shift(x, tf.constant(31, tf.uint64)))
    return tf.bitcast(x, tf.int64)


def step_seed(run_seed: int, step: Any, stream: str, part: Any = 0) -> Any:
    """int64 [2] for one use of randomness in one training step."""
    number = run_seed * 16 + STREAMS[stream]
    first = mixed(tf.constant((number + 2**63) % 2**64 - 2**63, tf.int64))  # wraps around
    second = mixed(tf.cast(step, tf.int64) * 256 + tf.cast(part, tf.int64))
    return tf.stack([first, second])


def normal(seed: Any, shape: Any) -> Any:
    """Standard normal float32 numbers, the same in eager and graph mode.

    Not under XLA, which makes other normal numbers from the bits of philox (TensorFlow 2.21;
    its uniform numbers agree): whatever calls this must not be compiled by XLA.
    """
    return tf.random.stateless_normal(shape, seed, alg="philox")


def replica_normal(seed: Any, shape: Any) -> Any:
    """The rows of this replica of ``normal(seed, [replicas * B, ...])``, [B, ...] as ``shape``.

    Philox makes four numbers per count, so rows of a multiple of four numbers can be skipped to;
    other rows are padded to one, with numbers that are not those of ``normal``.
    """
    per_row = math.prod(shape[1:])
    padded = -(-per_row // 4) * 4
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    skipped = tf.cast(replica_index() * shape[0], tf.uint64) * (padded // 4)
    rows = tf.raw_ops.StatelessRandomNormalV2(
        shape=[shape[0], padded], key=key, counter=counter + tf.stack([skipped, 0]), alg=PHILOX
    )
    return tf.reshape(rows[:, :per_row], shape)


def normal_at(seed: Any, place: Any) -> Any:
    """Standard normal float32 numbers, one for each place, whatever others are asked for.

    Args:
        seed: int64 [2].
        place: int64 [n].
    """
    bits = tf.bitcast(mixed(seed[1] + mixed(seed[0] + place)), tf.uint64)
    upper = tf.cast(tf.bitwise.right_shift(bits, tf.constant(12, tf.uint64)), tf.float64)
    return tf.cast(tf.math.ndtri((upper + 0.5) * 2.0**-52), tf.float32)  # of a share inside (0, 1)


def image_inputs(seed: Any, generator: Any, size: tuple[int, int], batch: Any) -> tuple[Any, Any]:
    """Latent [B, L] and noise [B, h, w, N] for a training batch, drawn from one seed; a row of the
    global batch has its own, whichever replica draws it."""
    latent = replica_normal(seed, [batch, generator.latent_size])
    noise = replica_normal(seed + 1, [batch, *generator.noise_shape(size)])
    return latent, noise
