"""Encoders and decoders of point sets.

An encoder takes normalised points [B, P, 3], their mask [B, P] and the condition [B, C], and
returns mean and log variance of the latent vector, both [B, L]. A decoder takes the latent vector
and the condition, and returns normalised points [B, P, 3]; the condition holds the number of points
that count. The conv variants are those of arXiv:2109.15197 and 2203.00520: three convolutions along
the points, the first over all three coordinates, with kernels of 5, and a dense layer.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasgen.layers.set_layer import pooled
from kerasgen.models.sparse_vae.settings import NetworkSettings

KERNEL = 5
CONV_DENSE = 6  # units of the dense layer of the conv variants / filters of the last layer
MIN_LOG_VARIANCE = -12.0


def hidden_layer(width: int, name: str, dtype: Any) -> keras.layers.Layer:
    """A dense hidden layer that computes in ``dtype``."""
    return keras.layers.Dense(width, activation="gelu", name=name, dtype=dtype)


def convolution(layer: type[keras.layers.Layer], width: int, name: str, dtype: Any) -> Any:
    """A convolution along the points, or a transposed one, that computes in ``dtype``."""
    return layer(
        width, KERNEL, activation="relu", padding="same", data_format="channels_last", name=name,
        dtype=dtype,
    )  # fmt: skip


class Encoder(keras.Model):
    """(points, mask, condition) -> mean and log variance of the latent vector."""

    def __init__(self, settings: NetworkSettings, **options: Any) -> None:
        super().__init__(**options)
        self.settings = settings
        width, variant, dtype = settings.width, settings.encoder, self.dtype_policy
        if variant == "conv":
            self.local: list[Any] = [
                convolution(keras.layers.Conv1D, width * k, f"conv{k}", dtype) for k in (1, 2, 4)
            ]
            self.hidden = [hidden_layer(CONV_DENSE * 4 * width, "dense", dtype)]
        else:
            count = settings.layers if variant == "set" else 0
            self.local = [hidden_layer(width, f"point{k}", dtype) for k in range(count)]
            self.hidden = [hidden_layer(width, f"dense{k}", dtype) for k in range(settings.layers)]
        self.mean = keras.layers.Dense(settings.latent_size, name="mean", dtype="float32")
        self.log_variance = keras.layers.Dense(
            settings.latent_size, kernel_initializer="zeros", name="log_variance", dtype="float32"
        )

    def call(self, points: Any, mask: Any, condition: Any) -> tuple[Any, Any]:
        present = ops.cast(mask, points.dtype)[..., None]
        x = ops.concatenate([points * present, present], axis=-1)
        for layer in self.local:
            x = layer(x)
        if self.settings.encoder == "set":
            x = pooled(x, present)
        else:
            x = ops.reshape(x, (-1, x.shape[1] * x.shape[2]))
        x = ops.concatenate([x, ops.cast(condition, x.dtype)], axis=-1)
        for layer in self.hidden:
            x = layer(x)
        return self.mean(x), ops.maximum(self.log_variance(x), MIN_LOG_VARIANCE)


class Decoder(keras.Model):
    """(latent vector, condition) -> points."""

    def __init__(self, settings: NetworkSettings, size: int, **options: Any) -> None:
        super().__init__(**options)
        self.settings = settings
        self.size = size
        width, variant, dtype = settings.width, settings.decoder, self.dtype_policy
        self.local: list[Any] = []
        if variant == "conv":
            self.hidden = [
                hidden_layer(CONV_DENSE * 4 * width, "dense", dtype),
                keras.layers.Dense(size * 4 * width, activation="relu", name="points", dtype=dtype),
            ]
            self.local = [
                convolution(keras.layers.Conv1DTranspose, width * k, f"conv{k}", dtype)
                for k in (4, 2, 1)
            ]
        else:
            self.hidden = [hidden_layer(width, f"dense{k}", dtype) for k in range(settings.layers)]
        if variant == "set":
            self.position_bias = self.add_weight(shape=(size, width), name="position_bias")
            self.local = [hidden_layer(width, f"point{k}", dtype) for k in range(settings.layers)]
        outputs = 3 * size if variant == "dense" else 3
        self.head = keras.layers.Dense(outputs, name="head", dtype="float32")

    def call(self, latent: Any, condition: Any) -> Any:
        x = ops.concatenate([latent, ops.cast(condition, latent.dtype)], axis=-1)
        for layer in self.hidden:
            x = layer(x)
        if self.settings.decoder == "conv":
            x = ops.reshape(x, (-1, self.size, 4 * self.settings.width))
        elif self.settings.decoder == "set":
            x = x[:, None, :] + ops.cast(self.position_bias, x.dtype)
        for layer in self.local:
            x = layer(x)
        return ops.reshape(self.head(x), (-1, self.size, 3))
