"""Batch normalisation whose gain and bias depend on a condition."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasgen.layers.spectral import SpectralDense


class ConditionalBatchNormalization(keras.layers.Layer):
    """Conditional batch normalisation, y = (1 + W c) * (x - mean) / sd + V c.

    BigGAN (arXiv:1809.11096, appendix B): the gain is centred on one; W and V are linear maps
    of the condition c (shared class embedding and latent vector) without bias. mean and sd are
    taken over the global batch and all pixels. Statistics are float32 under every policy.

    Args:
        momentum: momentum of the moving statistics, which inference uses.
        epsilon: number added to the variance.
        spectral_norm: apply spectral normalisation to W and V.
        initializer: initializer of W and V; "zeros" starts with a plain batch normalisation.
        options: keyword arguments of ``keras.layers.Layer``.
    """

    def __init__(
        self,
        momentum: float = 0.99,
        epsilon: float = 1e-4,
        spectral_norm: bool = True,
        initializer: str = "orthogonal",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.momentum = momentum
        self.epsilon = epsilon
        maps: dict[str, Any] = {
            "use_bias": False,
            "spectral_norm": spectral_norm,
            "initializer": initializer,
            "dtype": self.dtype_policy,
        }
        self.gain = SpectralDense(0, name="gain", **maps)
        self.shift = SpectralDense(0, name="shift", **maps)

    def build(self, x_shape: tuple[Any, ...], condition_shape: tuple[Any, ...]) -> None:
        channels = x_shape[-1]
        for dense in (self.gain, self.shift):
            dense.units = channels
            dense.build(condition_shape)
        self.moving_mean = self.add_weight(
            shape=(channels,), initializer="zeros", name="mean", trainable=False, autocast=False
        )
        self.moving_variance = self.add_weight(
            shape=(channels,), initializer="ones", name="variance", trainable=False, autocast=False
        )

    def call(self, x: Any, condition: Any, training: bool = False) -> Any:
        if training:
            mean, variance = ops.moments(ops.cast(x, "float32"), axes=[0, 1, 2])
            m = self.momentum
            self.moving_mean.assign(m * self.moving_mean + (1 - m) * mean)
            self.moving_variance.assign(m * self.moving_variance + (1 - m) * variance)
        else:
            mean, variance = self.moving_mean, self.moving_variance
        scale, shift = self.affine(mean, variance, condition)
        return x * ops.cast(scale, x.dtype) + ops.cast(shift, x.dtype)

    def affine(self, mean: Any, variance: Any, condition: Any) -> tuple[Any, Any]:
        """Scale and shift of y = scale * x + shift, both [B, 1, 1, C] float32."""
        gain = 1.0 + ops.cast(self.gain(condition), "float32")
        scale = gain * ops.rsqrt(variance + self.epsilon)
        shift = ops.cast(self.shift(condition), "float32") - mean * scale
        return scale[:, None, None, :], shift[:, None, None, :]
