"""BigGAN-deep at the published size (``pxd_biggan_deep``), for comparison and for large machines.

arXiv:1809.11096, appendix B, in the configuration of the PXD studies (H. Hashemi et al.;
arXiv:2303.08046): latent 128, shared embedding 128, a linear map to 512 x 4 x 12 cells, six
doublings to 256 x 768, stage widths 32 x (16, 16, 8, 8, 4, 2) -> (16, 8, 8, 4, 2, 1), bottleneck
4, nearest upsampling, tanh. The discriminator is mirrored, with average pooling.
Differences: the image may have any size that six doublings reach; the first map follows from it.
A training on crops computes their parts of the first map.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kerasgen.layers.attention import SelfAttention
from kerasgen.layers.conditional_batch_norm import ConditionalBatchNormalization
from kerasgen.layers.residual import DiscriminatorBlock, GeneratorBlock
from kerasgen.layers.spectral import SpectralConv2D, SpectralDense, SpectralEmbedding
from kerasgen.models.pxd_gan.output import EMPTY_PIXEL, HitmapGenerator

WIDTHS_IN = (16, 16, 8, 8, 4, 2)
WIDTHS_OUT = (16, 8, 8, 4, 2, 1)


class BigGANDeepGenerator(HitmapGenerator):
    """(sensor, latent) -> hitmaps of whole sensors.

    It takes ``noise`` and ``origin`` as ``SubPixelGenerator`` does, so that training and sampling
    know one interface; only the fixed-gain noise of the blocks uses ``noise``.

    Args: as in ``SubPixelGenerator``; ``channels`` is the width of the last stage and
        ``blocks`` the residual blocks per stage, of which the last doubles the resolution;
        ``attention`` switches the self-attention at a quarter of the resolution.
    """

    def __init__(
        self,
        image: tuple[int, int],
        sensors: int,
        image_channels: int = 1,
        channels: int = 32,
        blocks: int = 2,
        bottleneck: int = 4,
        latent_size: int = 128,
        embedding_size: int = 128,
        noise_gain: float = 0.0,
        attention: list[int] | None = None,
        output: str = "tanh",
        floor: float = -0.5,
        padding: str = "same",
        spectral_norm: bool = True,
        initializer: str = "orthogonal",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.image = image
        self.image_channels = image_channels
        self.latent_size = latent_size
        self.noise_gain = noise_gain
        self.output_variant = output
        self.floor = floor
        self.first = image[0] // 2 ** len(WIDTHS_IN), image[1] // 2 ** len(WIDTHS_IN)
        conv: dict[str, Any] = {
            "padding": padding,
            "spectral_norm": spectral_norm,
            "initializer": initializer,
            "dtype": self.dtype_policy,
        }
        self.embedding = SpectralEmbedding(
            sensors, embedding_size, False, initializer, name="sensor_embedding",
            dtype=self.dtype_policy,
        )  # fmt: skip
        self.widths = [w * channels for w in WIDTHS_IN]
        self.linear = SpectralDense(
            self.first[0] * self.first[1] * self.widths[0],
            spectral_norm=spectral_norm,
            initializer=initializer,
            name="linear",
            dtype=self.dtype_policy,
        )
        self.blocks: list[GeneratorBlock] = []
        for stage, (inputs, outputs) in enumerate(zip(WIDTHS_IN, WIDTHS_OUT, strict=True)):
            for k in range(blocks):
                last = k == blocks - 1
                self.blocks.append(
                    GeneratorBlock(
                        channels * (outputs if last else inputs),
                        bottleneck,
                        up=2 if last else 1,
                        noise_gain=noise_gain,
                        name=f"stage{stage}_block{k}",
                        **conv,
                    )
                )
        self.attention = None
        if attention:
            self.attention = SelfAttention(
                attention, spectral_norm, name="attention", dtype=self.dtype_policy
            )
        self.attend_after = 4 * blocks - 1
        self.norm = ConditionalBatchNormalization(
            spectral_norm=spectral_norm, name="head_norm", dtype=self.dtype_policy
        )
        self.planes = 2 if output == "gated" else 1
        self.head = SpectralConv2D(
            self.planes * image_channels,
            3,
            name="head",
            **(conv | {"spectral_norm": False, "dtype": "float32"}),
        )
        self.firing_threshold = self.add_weight(
            shape=(sensors,),
            initializer="zeros",
            name="firing_threshold",
            trainable=False,
            autocast=False,
        )

    @property
    def charge_bias(self) -> NDArray[np.int64]:
        """Indices of the head's biases of charges, [C, 1]."""
        return np.arange(self.head.filters // self.planes, self.head.filters)[:, None]

    def noise_shape(self, size: tuple[int, int]) -> tuple[int, int, int]:
        """Shape of one image's noise: a plane of pixels per block where there is a noise gain."""
        return size[0], size[1], len(self.blocks) if self.noise_gain else 0

    def distribution(
        self, sensor: Any, latent: Any, noise: Any, origin: Any, training: bool = False
    ) -> tuple[Any, Any]:
        """Firing logit and logit of the charge (``output.charge_from_logit``) of every pixel.

        Args:
            sensor, latent, noise, origin: as in ``call``.
            training: whether the normalisations use batch statistics.

        Returns:
            Both [B, H, W, C], float32. For a tanh output the normalised charge, twice.
        """
        x, condition, noises = self.trunk_inputs(sensor, latent, noise, origin)
        for i, block in enumerate(self.blocks):
            x = block(x, condition, noises[i], training=training)
            if i == self.attend_after and self.attention is not None:
                x = self.attention(x)
        y = self.head(ops.relu(self.norm(x, condition, training=training)))
        return self.split_head(y, sensor)

    def trunk_inputs(
        self, sensor: Any, latent: Any, noise: Any, origin: Any
    ) -> tuple[Any, Any, list[Any]]:
        """The first map, the condition of the normalisations, the noise of each block.

        Of an image smaller than the sensor, only that part of the first map is used.
        """
        condition = ops.concatenate(
            [ops.cast(t, self.compute_dtype) for t in (self.embedding(sensor), latent)], axis=-1
        )
        x = ops.reshape(self.linear(condition), (-1, *self.first, self.widths[0]))
        cell = 2 ** len(WIDTHS_IN)
        size = noise.shape[1] // cell, noise.shape[2] // cell
        if size != self.first:
            x = part_of_map(x, origin // cell, size)
        noises: list[Any] = [None] * len(self.blocks)
        if self.noise_gain:
            height = size[0]
            for i, block in enumerate(self.blocks):
                height *= block.up
                step = noise.shape[1] // height
                noises[i] = ops.cast(noise[:, ::step, ::step, i : i + 1], self.compute_dtype)
        return x, condition, noises

    def split_head(self, y: Any, sensor: Any) -> tuple[Any, Any]:
        """Split the output of the head into the results of ``distribution``."""
        if self.output_variant == "tanh":
            charge = ops.tanh(y)
            return charge, charge
        logit, charge = ops.split(y, 2, axis=-1)
        threshold = ops.take(self.firing_threshold, sensor, axis=0)[:, None, None, None]
        return logit - threshold, charge


def part_of_map(x: Any, corner: Any, size: tuple[int, int]) -> Any:
    """A part of each map, [B, H, W, C] -> [B, *size, C].

    Args:
        x: maps.
        corner: [B, 2] int, first row and column of each part.
        size: its rows and columns.
    """
    for axis, n in enumerate(size):
        shape = [-1, 1, 1, 1]
        shape[1 + axis] = n
        index = ops.reshape(corner[:, axis : axis + 1] + ops.arange(n, dtype=corner.dtype), shape)
        x = ops.take_along_axis(x, index, axis=1 + axis)
    return x


class BigGANDeepDiscriminator(keras.Model):
    """(image, sensor, origin) -> one logit per image, embedding, proxy of the sensor.

    Args: as in ``PatchDiscriminator``; ``channels`` is the width of the first stage and
        ``blocks`` the residual blocks per stage, of which the first halves the resolution.
    """

    def __init__(
        self,
        image: tuple[int, int],
        sensors: int,
        channels: int = 32,
        blocks: int = 2,
        bottleneck: int = 4,
        embedding_size: int = 1024,
        attention: list[int] | None = None,
        spectral_norm: bool = True,
        initializer: str = "orthogonal",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        conv: dict[str, Any] = {
            "spectral_norm": spectral_norm,
            "initializer": initializer,
            "dtype": self.dtype_policy,
        }
        self.stem = SpectralConv2D(channels, 3, name="stem", **conv)
        self.blocks = [
            DiscriminatorBlock(
                channels * width, bottleneck, down=2 if k == 0 else 1,
                name=f"stage{stage}_block{k}", **conv,
            )
            for stage, width in enumerate(reversed(WIDTHS_IN))
            for k in range(blocks)
        ]  # fmt: skip
        self.attention = None
        if attention:
            self.attention = SelfAttention(
                attention, spectral_norm, name="attention", dtype=self.dtype_policy
            )
        self.attend_after = 3 * blocks - 1
        width = channels * WIDTHS_IN[0]
        self.logit = SpectralDense(1, name="logit", **conv)
        self.projection = SpectralEmbedding(sensors, width, name="projection", **conv)
        self.embed = SpectralDense(embedding_size, name="embed", **conv)
        self.proxy = SpectralEmbedding(
            sensors, embedding_size, name="proxy", **conv | {"spectral_norm": False}
        )

    def call(self, image: Any, sensor: Any, origin: Any) -> tuple[Any, Any, Any]:
        """[B, H, W, C], [B], [B, 2] -> logits [B, 1, 1], embedding and proxy [B, K]; float32."""
        x = self.stem(ops.cast(image, self.compute_dtype) - EMPTY_PIXEL)
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i == self.attend_after and self.attention is not None:
                x = self.attention(x)
        x = ops.sum(ops.relu(x), axis=[1, 2])
        logits = self.logit(x)[:, 0] + ops.sum(x * self.projection(sensor), axis=-1)
        results = logits[:, None, None], self.embed(x), self.proxy(sensor)
        return tuple(ops.cast(t, "float32") for t in results)
