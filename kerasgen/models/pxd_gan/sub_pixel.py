"""The generator of ``pxd_biggan_crops``: BigGAN-deep blocks on a coarse grid of cells.

The reduced form of the published network (``biggan_deep.py``), which a laptop can train. It
differs for cost, and because hits are local and independent:

- the generator works on cells of ``factor`` x ``factor`` pixels and writes all pixels of a
  cell at once (sub-pixel output), instead of growing an image from one latent vector;
- its input is a map of white noise, beside the latent vector and the sensor: 128 numbers cannot
  encode the positions of hundreds of clusters;
- it is fully convolutional with periodic edges, and position enters as a feature, so it learns
  on crops and generates whole sensors;
- the charge of a pixel is sampled, as energy loss fluctuates: its logit follows a mixture of normal
  distributions, truncated at the charge threshold;
- its output is gated (``output.straight_through_gate``), and the firing threshold of the gate is a
  running statistic per sensor, at which the data's fraction of pixels fires
  (``PXDGAN.update_firing_threshold``);
- the conditional normalisation starts neutral and without spectral norm: at full strength the
  latent vector makes images that are full or empty, while the data's occupancy varies by 10 %.

The discriminator is in ``patch_discriminator.py``.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kerasgen.layers.attention import SelfAttention
from kerasgen.layers.conditional_batch_norm import ConditionalBatchNormalization
from kerasgen.layers.residual import GeneratorBlock, depth_to_space
from kerasgen.layers.spectral import SpectralConv2D, SpectralEmbedding
from kerasgen.models.pxd_gan.output import (
    EMPTY_PIXEL,
    THRESHOLD_MARGIN,
    HitmapGenerator,
    logit_from_charge,
)
from kerasgen.models.pxd_gan.position import position_map

# Bounds of the log of the standard deviation of a charge's logit, relative to 0.5.
LOG_DEVIATION = (-4.0, 1.0)


class SubPixelGenerator(HitmapGenerator):
    """(sensor, latent, noise, origin) -> hitmaps, any number of cells.

    Args:
        image: (height, width) of the padded sensor, pixels; multiples of ``factor``.
        sensors: number of sensors.
        image_channels: charge channels of the hitmap.
        factor: pixels per cell along u and v.
        channels: width of the trunk.
        blocks: residual blocks of the trunk.
        up_blocks: residual blocks after the trunk that each double the resolution and have a
            quarter of the channels; the sub-pixel output covers the rest of ``factor``.
        bottleneck: trunk channels / hidden channels of a block.
        latent_size: numbers of the latent vector per image.
        embedding_size: of the shared sensor embedding.
        noise_channels: numbers of white noise per cell at the input.
        noise_gain: fixed gain of the noise added inside every block; 0 adds none.
        attention: window (cells) of the self-attention after the first block; None: off.
        output: "gated" or "tanh".
        charge_components: normal distributions in the mixture of a pixel's charge.
        floor: lowest normalised charge of a fired pixel of the gated output.
        charge_threshold: normalised (``output.charge_threshold``); lower charges are not read out.
        padding: "wrap" or "same".
        spectral_norm: switch of the spectral normalisation.
        initializer: "orthogonal", or another Keras initializer.
        options: of ``keras.Model``.
    """

    def __init__(
        self,
        image: tuple[int, int],
        sensors: int,
        image_channels: int = 1,
        factor: int = 4,
        channels: int = 64,
        blocks: int = 2,
        up_blocks: int = 1,
        bottleneck: int = 2,
        latent_size: int = 0,
        embedding_size: int = 32,
        noise_channels: int = 16,
        noise_gain: float = 0.1,
        attention: list[int] | None = None,
        output: str = "gated",
        charge_components: int = 3,
        floor: float = -0.5,
        charge_threshold: float = EMPTY_PIXEL,
        padding: str = "wrap",
        spectral_norm: bool = True,
        initializer: str = "orthogonal",
        **options: Any,
    ) -> None:
        # The noise stays float32 at the input: charges are sampled from it.
        super().__init__(autocast=False, **options)
        if factor % 2**up_blocks or channels < 4**up_blocks:
            raise ValueError(
                f"{up_blocks} up-blocks need a factor of a multiple of {2**up_blocks} and at least "
                f"{4**up_blocks} channels, not {factor} and {channels}"
            )
        self.image = image
        self.sensors = sensors
        self.image_channels = image_channels
        self.factor = factor
        self.latent_size = latent_size
        self.noise_channels = noise_channels
        self.noise_gain = noise_gain
        self.output_variant = output
        self.floor = floor
        lowest = float(logit_from_charge(np.float32(charge_threshold), floor))
        self.min_charge_logit = lowest + THRESHOLD_MARGIN
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
        self.stem = SpectralConv2D(channels, 3, name="stem", **conv)
        self.blocks = [
            GeneratorBlock(
                channels // 4 ** max(i - blocks + 1, 0),
                bottleneck if i < blocks else 4,
                up=1 if i < blocks else 2,
                noise_gain=noise_gain,
                neutral_condition=True,
                name=f"block{i}",
                **conv,
            )
            for i in range(blocks + up_blocks)
        ]
        self.attention = None
        if attention:
            self.attention = SelfAttention(
                attention, spectral_norm, name="attention", dtype=self.dtype_policy
            )
        self.norm = ConditionalBatchNormalization(
            spectral_norm=False, initializer="zeros", name="head_norm", dtype=self.dtype_policy
        )
        self.charge_components = charge_components
        self.planes = 1 + 3 * charge_components if output == "gated" else 1
        self.head_factor = factor // 2**up_blocks
        copies = self.head_factor**2
        equal = icnr(copies, image_channels, initializer)
        self.head = SpectralConv2D(
            copies * self.planes * image_channels,
            3,
            name="head",
            # Logits in bfloat16 can tie at the threshold, and pixels at the threshold do not fire.
            **(conv | {"spectral_norm": False, "initializer": equal, "dtype": "float32"}),
        )
        self.firing_threshold = self.add_weight(
            shape=(sensors,),
            initializer="zeros",
            name="firing_threshold",
            trainable=False,
            autocast=False,
        )

    @property
    def block_planes(self) -> list[int]:
        """Noise numbers per cell that each block takes: one per cell of its own resolution."""
        ups = [block.up for block in self.blocks]
        return [math.prod(ups[: i + 1]) ** 2 if self.noise_gain else 0 for i in range(len(ups))]

    @property
    def pixel_planes(self) -> int:
        """Noise numbers per cell that sample charges: one per pixel and channel if gated."""
        return self.factor**2 * self.image_channels if self.output_variant == "gated" else 0

    def noise_shape(self, size: tuple[int, int]) -> tuple[int, int, int]:
        """Shape of one image's noise for an image of the given size in pixels."""
        planes = self.noise_channels + sum(self.block_planes) + self.pixel_planes
        return size[0] // self.factor, size[1] // self.factor, planes

    @property
    def logit_planes(self) -> int:
        """Number of firing logits among the head's outputs: the first ones; charges follow."""
        return self.head_factor**2 * self.image_channels

    @property
    def charge_bias(self) -> NDArray[np.int64]:
        """Indices of the head's biases of charge means, [logit_planes, components]."""
        rest = np.arange(self.logit_planes, self.head.filters)
        return rest.reshape(self.logit_planes, 3, self.charge_components)[:, 1]

    def features(
        self, sensor: Any, latent: Any, noise: Any, origin: Any, training: bool = False
    ) -> Any:
        """Output of the head, [B, h, w, planes * head_factor^2 * C], float32.

        Args:
            sensor, latent, noise, origin: as in ``call``.
            training: whether the normalisations use batch statistics.
        """
        x, condition, noises = self.trunk_inputs(sensor, latent, noise, origin)
        x = self.stem(x)
        for i, block in enumerate(self.blocks):
            x = block(x, condition, noises[i], training=training)
            if i == 0 and self.attention is not None:
                x = self.attention(x)
        return self.head(ops.relu(self.norm(x, condition, training=training)))

    def trunk_inputs(
        self, sensor: Any, latent: Any, noise: Any, origin: Any
    ) -> tuple[Any, Any, list[Any]]:
        """Input of the stem, condition of the normalisations, noise of each block.

        Args:
            sensor, latent, origin: as in ``call``.
            noise: as in ``call``; the planes that sample charges may lack.
        """
        dtype = self.compute_dtype
        condition = ops.concatenate(
            [ops.cast(t, dtype) for t in (self.embedding(sensor), latent)], axis=-1
        )
        where = position_map(origin, (noise.shape[1], noise.shape[2]), self.factor, self.image)
        x, noise = ops.split(noise, [self.noise_channels], axis=-1)
        x = ops.cast(ops.concatenate([x, where], axis=-1), dtype)
        planes = self.block_planes
        noises = ops.split(ops.cast(noise, dtype), np.cumsum(planes), axis=-1)
        noises = [
            depth_to_space(part, math.isqrt(n)) if n > 1 else part
            for part, n in zip(noises[: len(planes)], planes, strict=True)
        ]
        return x, condition, noises

    def distribution(self, sensor: Any, *inputs: Any, **options: Any) -> tuple[Any, ...]:
        """Firing logit and charge distribution of every pixel, float32.

        Args:
            sensor: [B] int.
            inputs, options: further arguments of ``features``.

        Returns:
            Firing logit [B, h, w, head_factor^2 * C], before ``to_pixels``, and the mixture of the
            charge's logit (``output.charge_from_logit``): log weights, means and standard
            deviations of its components, each [..., components]. For a tanh output the normalised
            charge, twice.
        """
        features = self.features(sensor, *inputs, **options)
        if self.output_variant == "tanh":
            charge = ops.tanh(features)
            return charge, charge
        logit, charge = ops.split(features, [self.logit_planes], axis=-1)
        threshold = ops.take(self.firing_threshold, sensor, axis=0)[:, None, None, None]
        return logit - threshold, *self.mixture(charge)

    def mixture(self, x: Any) -> tuple[Any, Any, Any]:
        """Log weights, means and standard deviations of the charge mixtures.

        Args:
            x: outputs of the head, [..., logit_planes * 3 * components].
        """
        x = ops.reshape(x, (*ops.shape(x)[:-1], self.logit_planes, 3, self.charge_components))
        weight, mean, deviation = ops.unstack(x, 3, axis=-2)
        return ops.log_softmax(weight), mean, 0.5 * ops.exp(ops.clip(deviation, *LOG_DEVIATION))

    def charge_noise(self, noise: Any) -> Any:
        """[B, h, w, head_factor^2 * C], one number per pixel; None for a tanh output."""
        if self.output_variant == "tanh":
            return None
        return depth_to_space(noise[..., -self.pixel_planes :], self.factor // self.head_factor)

    def to_pixels(self, cells: Any) -> Any:
        """[B, h, w, head_factor^2 * C] -> [B, H, W, C]."""
        return depth_to_space(cells, self.head_factor)


def icnr(copies: int, logits: int, initializer: Any) -> Any:
    """Initializer of a sub-pixel kernel: all pixels of a cell start equal (arXiv:1707.02937).

    Without it neighbouring pixels start independent, hits are single pixels, and they stay so.

    Args:
        copies: pixels of a cell.
        logits: firing logits per pixel. The last axis of the kernel holds ``copies`` x ``logits``,
            then ``copies`` x the rest.
        initializer: of one pixel, a Keras initializer.
    """

    def initialise(shape: tuple[int, ...], dtype: Any = None) -> Any:
        few = keras.initializers.get(initializer)((*shape[:-1], shape[-1] // copies), dtype)
        parts = ops.split(few, [logits], -1)
        tiled = [ops.tile(t, (*[1] * (len(shape) - 1), copies)) for t in parts]
        return ops.concatenate(tiled, axis=-1)

    return initialise
