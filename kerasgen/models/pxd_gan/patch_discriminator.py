"""The discriminator of ``pxd_biggan_crops``: a map of logits, one per patch."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasgen.layers.attention import SelfAttention
from kerasgen.layers.residual import DiscriminatorBlock
from kerasgen.layers.spectral import SpectralConv2D, SpectralDense, SpectralEmbedding
from kerasgen.models.pxd_gan.position import position_map


class PatchDiscriminator(keras.Model):
    """(image, sensor, origin) -> map of logits, embedding, proxy of the sensor.

    Args:
        image: (height, width) of the padded sensor, pixels.
        sensors: number of sensors.
        channels: width of the first stem convolution (cells of 4 x 4 pixels); the second and
            the blocks have twice as many, on cells of 8 x 8 pixels.
        blocks: residual blocks.
        bottleneck: block channels / hidden channels.
        embedding_size: of the metric learning.
        logit_scale: factor of the logits; spectral norm keeps them small on nearly empty images.
        attention: window (cells of 8 x 8 pixels) of the self-attention; None: off.
        spectral_norm: switch of the spectral normalisation.
        initializer: "orthogonal", or another Keras initializer.
        options: of ``keras.Model``.
    """

    def __init__(
        self,
        image: tuple[int, int],
        sensors: int,
        channels: int = 64,
        blocks: int = 2,
        bottleneck: int = 2,
        embedding_size: int = 64,
        logit_scale: float = 4.0,
        attention: list[int] | None = None,
        spectral_norm: bool = True,
        initializer: str = "orthogonal",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.image = image
        self.logit_scale = logit_scale
        conv: dict[str, Any] = {
            "spectral_norm": spectral_norm,
            "initializer": initializer,
            "dtype": self.dtype_policy,
        }
        self.stem0 = SpectralConv2D(channels, 8, strides=4, name="stem0", **conv)
        self.stem1 = SpectralConv2D(2 * channels, 4, strides=2, name="stem1", **conv)
        self.blocks = [
            DiscriminatorBlock(2 * channels, bottleneck, name=f"block{i}", **conv)
            for i in range(blocks)
        ]
        self.attention = None
        if attention:
            self.attention = SelfAttention(
                attention, spectral_norm, name="attention", dtype=self.dtype_policy
            )
        self.logit = SpectralConv2D(1, 1, name="logit", **conv)
        self.projection = SpectralEmbedding(sensors, 2 * channels, name="projection", **conv)
        self.embed = SpectralDense(embedding_size, name="embed", **conv)
        self.proxy = SpectralEmbedding(
            sensors, embedding_size, name="proxy", **conv | {"spectral_norm": False}
        )

    def call(self, image: Any, sensor: Any, origin: Any) -> tuple[Any, Any, Any]:
        """[B, H, W, C], [B], [B, 2] -> logits [B, h, w], embedding and proxy [B, K]; float32."""
        x = ops.cast(image, self.compute_dtype) + 1.0  # an empty pixel is 0
        x = ops.relu(self.stem0(x))
        where = position_map(origin, (x.shape[1], x.shape[2]), 4, self.image)
        x = self.stem1(ops.concatenate([x, ops.cast(where, x.dtype)], axis=-1))
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i == 0 and self.attention is not None:
                x = self.attention(x)
        x = ops.relu(x)
        class_match = ops.sum(x * self.projection(sensor)[:, None, None, :], axis=-1)
        logits = self.logit_scale * (self.logit(x)[..., 0] + class_match)
        embedding = self.embed(ops.mean(x, axis=[1, 2]))
        return tuple(ops.cast(t, "float32") for t in (logits, embedding, self.proxy(sensor)))
