"""Bottleneck residual blocks of BigGAN-deep (arXiv:1809.11096, appendix B, figure 16)."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasgen.layers.conditional_batch_norm import ConditionalBatchNormalization
from kerasgen.layers.spectral import SpectralConv2D


class GeneratorBlock(keras.layers.Layer):
    """norm-relu-conv1, norm-relu-conv3, norm-relu-conv3, norm-relu-conv1, plus the input.

    The first 1 x 1 convolution reduces the channels, the last restores them. The skip path
    drops channels where fewer come out, and is upsampled (nearest) where ``up`` is set.
    [B, H, W, inputs], condition [B, K], noise [B, H * up, W * up, 1]
    -> [B, H * up, W * up, filters].

    Arguments:
        filters: output channels, at most the input channels.
        bottleneck: input channels / hidden channels.
        up: factor of the upsampling between the first and the second convolution.
        noise_gain: a fixed factor of the noise map, which is added to every channel that the first
            3 x 3 convolution sees, with the sign of a fixed pattern. A learned gain fades, and
            events then repeat their hits.
        neutral_condition: the condition starts without any effect, and its maps have no spectral
            norm, which would keep the effect at full size.
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
    """relu-conv1, relu-conv3, relu-conv3, relu, average-pool, conv1, plus the input.

    The skip path is pooled, and widened by a 1 x 1 convolution that makes the new channels.
    [B, H, W, inputs] -> [B, H / down, W / down, filters].

    Arguments:
        filters: output channels, at least the input channels.
        bottleneck: output channels / hidden channels.
        down: factor of the average pooling.
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

        def conv(filters: int, size: int, channels: int, name: str) -> SpectralConv2D:
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
            conv(widths[i + 1], size, widths[i], f"conv{i}") for i, size in enumerate((1, 3, 3, 1))
        ]
        self.widen = None
        if self.filters > inputs:
            self.widen = conv(self.filters - inputs, 1, inputs, "widen")

    def call(self, x: Any) -> Any:
        y = ops.relu(x)
        for conv in self.convs[:-1]:
            y = ops.relu(conv(y))
        skip = x
        if self.down > 1:
            y, skip = (ops.average_pool(t, self.down, self.down) for t in (y, skip))
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


def space_to_depth(x: Any, factor: int) -> Any:
    """The inverse of ``depth_to_space``: [B, f * H, f * W, C] -> [B, H, W, f * f * C]."""
    _, h, w, c = x.shape
    x = ops.reshape(x, (-1, h // factor, factor, w // factor, factor, c))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (-1, h // factor, w // factor, factor**2 * c))


def alternating_signs(channels: int, dtype: Any) -> Any:
    """[channels] of +1, -1, +1, ..."""
    return ops.cast(1 - 2 * (ops.arange(channels) % 2), dtype)
