"""Conditional normalizing flow of affine couplings (RealNVP, arXiv:1605.08803).

It maps latent vectors to standard normal numbers: z is standardised, then every layer applies a
fixed permutation, and one half of the numbers, a, sets scale and shift of the other half,
b <- b exp(s(a, c)) + t(a, c). log p(z | c) = log N(f(z); 0, 1) + log |det df/dz|.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

MAX_LOG_SCALE = 2.0


class Coupling(keras.layers.Layer):
    """One affine coupling; it transforms half of the numbers.

    Args:
        size: L, numbers of the latent vector.
        width: hidden units.
        permutation: [L] int, applied before the coupling.
        options: of ``keras.layers.Layer``.
    """

    def __init__(self, size: int, width: int, permutation: Any, **options: Any) -> None:
        super().__init__(**options)
        self.kept = size // 2
        self.permutation = np.asarray(permutation)
        self.inner = [
            keras.layers.Dense(width, activation="gelu", name=f"dense{k}", dtype=self.dtype_policy)
            for k in range(2)
        ]
        # Zero at the start: the flow begins as the identity.
        self.head = keras.layers.Dense(
            2 * (size - self.kept), kernel_initializer="zeros", name="head", dtype=self.dtype_policy
        )

    def scale_and_shift(self, kept: Any, condition: Any) -> tuple[Any, Any]:
        """Log scale and shift of the transformed half, from the kept half and the condition."""
        x = ops.concatenate([kept, condition], axis=-1)
        for layer in self.inner:
            x = layer(x)
        scale, shift = ops.split(self.head(x), 2, axis=-1)
        return MAX_LOG_SCALE * ops.tanh(scale / MAX_LOG_SCALE), shift

    def call(self, z: Any, condition: Any) -> tuple[Any, Any]:
        """[B, L] -> [B, L] and log |det| [B]."""
        z = ops.take(z, self.permutation, axis=-1)
        kept, other = z[:, : self.kept], z[:, self.kept :]
        scale, shift = self.scale_and_shift(kept, condition)
        z = ops.concatenate([kept, other * ops.exp(scale) + shift], axis=-1)
        return z, ops.sum(scale, axis=-1)

    def inverse(self, z: Any, condition: Any) -> Any:
        """The vector that ``call`` maps to z."""
        kept, other = z[:, : self.kept], z[:, self.kept :]
        scale, shift = self.scale_and_shift(kept, condition)
        z = ops.concatenate([kept, (other - shift) * ops.exp(-scale)], axis=-1)
        return ops.take(z, np.argsort(self.permutation), axis=-1)


class Flow(keras.Model):
    """Couplings between latent vectors and standard normal numbers, float32 under every policy.

    Args:
        size: L, numbers of the latent vector.
        layers: couplings.
        width: hidden units of each.
        options: of ``keras.Model``.
    """

    def __init__(self, size: int, layers: int, width: int, **options: Any) -> None:
        super().__init__(dtype="float32", **options)
        rng = np.random.default_rng(0)  # the permutations are part of the architecture
        self.couplings = [
            Coupling(size, width, rng.permutation(size), name=f"coupling{k}", dtype="float32")
            for k in range(layers)
        ]
        self.center = self.add_weight(
            shape=(size,), initializer="zeros", name="center", trainable=False
        )
        self.deviation = self.add_weight(
            shape=(size,), initializer="ones", name="deviation", trainable=False
        )

    def call(self, z: Any, condition: Any) -> tuple[Any, Any]:
        """[B, L], [B, C] -> standard normal [B, L] and log |det| [B]."""
        z = (z - self.center) / self.deviation
        total = -ops.sum(ops.log(self.deviation))
        for coupling in self.couplings:
            z, log_determinant = coupling(z, condition)
            total = total + log_determinant
        return z, total

    def inverse(self, normal: Any, condition: Any) -> Any:
        """Latent vectors from standard normal numbers, both [B, L]."""
        z = normal
        for coupling in reversed(self.couplings):
            z = coupling.inverse(z, condition)
        return z * self.deviation + self.center

    def log_probability(self, z: Any, condition: Any) -> Any:
        """log p(z | c), nats: [B]."""
        normal, log_determinant = self(z, condition)
        density = -0.5 * (ops.square(normal) + math.log(2 * math.pi))
        return ops.sum(density, axis=-1) + log_determinant
