"""Bottleneck residual blocks of BigGAN-deep (arXiv:1809.11096, appendix B, figure 16)."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasgen.layers.conditional_batch_norm import ConditionalBatchNormalization
from kerasgen.layers.spectral import SpectralConv2D


class GeneratorBlock(keras.layers.Layer):
    """Generator block: conditional normalisation, relu and convolution, four times, plus a skip.

    The kernels are 1 x 1, 3 x 3, 3 x 3, 1 x 1; the first convolution reduces the channels, the
    last restores them. The skip path drops channels if ``filters`` is below the input channels,
    and is upsampled (nearest) by ``up``.
    [B, H, W, inputs], condition [B, K], noise [B, H * up, W * up, 1]
    -> [B, H * up, W * up, filters].

    Args:
        filters: output channels, at most the input channels.
        bottleneck: input channels / hidden channels.
        up: upsampling factor between the first and the second convolution.
        noise_gain: fixed factor of the noise map, which is added to the input of the first 3 x 3
            convolution with alternating sign over the channels. A learned gain decays to zero,
            and events then repeat their hits.
        padding: padding of the convolutions, as in ``SpectralConv2D``.
        spectral_norm: apply spectral normalisation to convolutions and condition maps.
        initializer: initializer of convolutions and condition maps.
        neutral_condition: initialise the condition maps with zeros, without spectral
            normalisation, which would keep their effect at full size.
        options: keyword arguments of ``keras.layers.Layer``.
    """

    def __init__(
        self,
        filters: int,
        bottleneck: int = 4,
        up: int = 1,
        noise_gain: float = 0.0,
        padding: str = "same",
        spectral_norm: bool = True,
        initializer: str = "orthogonal",
        neutral_condition: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.filters = filters
        self.bottleneck = bottleneck
        self.up = up
        self.neutral_condition = neutral_condition
        self.noise_gain = noise_gain
        self.padding = padding
        self.spectral_norm = spectral_norm
        self.initializer = initializer

    def build(self, x_shape: tuple[Any, ...], condition_shape: tuple[Any, ...]) -> None:
        inputs = x_shape[-1]
        if self.filters > inputs:
            raise ValueError(f"a generator block cannot widen {inputs} to {self.filters} channels")
        hidden = inputs // self.bottleneck
        widths = [inputs, hidden, hidden, hidden, self.filters]
        self.norms, self.convs = [], []
        for i, size in enumerate((1, 3, 3, 1)):
            shape = (None, None, None, widths[i])
            norm = ConditionalBatchNormalization(
                spectral_norm=self.spectral_norm and not self.neutral_condition,
                initializer="zeros" if self.neutral_condition else self.initializer,
                name=f"norm{i}",
                dtype=self.dtype_policy,
            )
            norm.build(shape, condition_shape)
            conv = SpectralConv2D(
                widths[i + 1],
                size,
                padding=self.padding,
                spectral_norm=self.spectral_norm,
                initializer=self.initializer,
                name=f"conv{i}",
                dtype=self.dtype_policy,
            )
            conv.build(shape)
            self.norms.append(norm)
            self.convs.append(conv)

    def call(self, x: Any, condition: Any, noise: Any = None, training: bool = False) -> Any:
        y = ops.relu(self.norms[0](x, condition, training=training))
        for i, conv in enumerate(self.convs[:-1]):
            if i == 1:
                y = upsample(y, self.up) if self.up > 1 else y
                if self.noise_gain:
                    y = y + self.noise_gain * noise * alternating_signs(y.shape[-1], y.dtype)
            y = ops.relu(self.norms[i + 1](conv(y), condition, training=training))
        y = self.convs[-1](y)
        skip = x[..., : self.filters]
        return y + (upsample(skip, self.up) if self.up > 1 else skip)


class DiscriminatorBlock(keras.layers.Layer):
    """Discriminator block: relu and convolution, four times, plus a skip path.

    The kernels are 1 x 1, 3 x 3, 3 x 3, 1 x 1, with average pooling before the last. The skip path
    is pooled, and a 1 x 1 convolution of it gives the added channels.
    [B, H, W, inputs] -> [B, H / down, W / down, filters].

    Args:
        filters: output channels, at least the input channels.
        bottleneck: output channels / hidden channels.
        down: factor of the average pooling.
        spectral_norm: apply spectral normalisation to the convolutions.
        initializer: initializer of the convolutions.
        options: keyword arguments of ``keras.layers.Layer``.
    """

    def __init__(
        self,
        filters: int,
        bottleneck: int = 4,
        down: int = 1,
        spectral_norm: bool = True,
        initializer: str = "orthogonal",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.filters = filters
        self.bottleneck = bottleneck
        self.down = down
        self.spectral_norm = spectral_norm
        self.initializer = initializer

    def build(self, input_shape: tuple[Any, ...]) -> None:
        inputs = input_shape[-1]
        if self.filters < inputs:
            raise ValueError(
                f"a discriminator block cannot narrow {inputs} to {self.filters} channels"
            )
        hidden = self.filters // self.bottleneck
        widths = [inputs, hidden, hidden, hidden, self.filters]

        def build_conv(filters: int, size: int, channels: int, name: str) -> SpectralConv2D:
            layer = SpectralConv2D(
                filters,
                size,
                spectral_norm=self.spectral_norm,
                initializer=self.initializer,
                name=name,
                dtype=self.dtype_policy,
            )
            layer.build((None, None, None, channels))
            return layer

        self.convs = [
            build_conv(widths[i + 1], size, widths[i], f"conv{i}")
            for i, size in enumerate((1, 3, 3, 1))
        ]
        self.widen = None
        if self.filters > inputs:
            self.widen = build_conv(self.filters - inputs, 1, inputs, "widen")

    def call(self, x: Any) -> Any:
        y = ops.relu(x)
        for conv in self.convs[:-1]:
            y = ops.relu(conv(y))
        skip = x
        if self.down > 1:
            y, skip = (
                ops.average_pool(t, self.down, self.down, data_format="channels_last")
                for t in (y, skip)
            )
        y = self.convs[-1](y)
        if self.widen is not None:
            skip = ops.concatenate([skip, self.widen(skip)], axis=-1)
        return y + skip


def upsample(x: Any, factor: int) -> Any:
    """Nearest-neighbour upsampling of [B, H, W, C]."""
    return ops.repeat(ops.repeat(x, factor, axis=1), factor, axis=2)


def depth_to_space(x: Any, factor: int) -> Any:
    """Sub-pixel output (arXiv:1609.05158): [B, H, W, f * f * C] -> [B, f * H, f * W, C]."""
    _, h, w, channels = x.shape
    c = channels // factor**2
    x = ops.reshape(x, (-1, h, w, factor, factor, c))
    return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, h * factor, w * factor, c))


def alternating_signs(channels: int, dtype: Any) -> Any:
    """Signs +1, -1, +1, ... of the channels, [channels]."""
    return ops.cast(1 - 2 * (ops.arange(channels, dtype="int32") % 2), dtype)
