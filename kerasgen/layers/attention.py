"""Self-attention over the cells of a feature map."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasgen.layers.spectral import SpectralConv2D


class SelfAttention(keras.layers.Layer):
    """Self-attention, y = x + gamma * attention(x), [B, H, W, C] -> [B, H, W, C].

    SAGAN (arXiv:1805.08318, section 3) as in BigGAN: queries have C / 8 channels; keys (C / 8) and
    values (C / 2) come from the 2 x 2 max-pooled map. gamma starts at zero.

    Args:
        window: [height, width] in cells, both even. Cells attend inside windows of this size,
            so that a crop and the whole image compute the same function; None: the whole map.
        spectral_norm: apply spectral normalisation to the four 1 x 1 convolutions.
        options: keyword arguments of ``keras.layers.Layer``.
    """

    def __init__(
        self, window: list[int] | None = None, spectral_norm: bool = True, **options: Any
    ) -> None:
        super().__init__(**options)
        self.window = window
        self.spectral_norm = spectral_norm

    def build(self, input_shape: tuple[Any, ...]) -> None:
        channels = input_shape[-1]
        if channels < 8:
            raise ValueError(f"self-attention needs at least 8 channels, got {channels}")

        def build_conv(filters: int, inputs: int, name: str) -> SpectralConv2D:
            layer = SpectralConv2D(
                filters,
                1,
                use_bias=False,
                spectral_norm=self.spectral_norm,
                name=name,
                dtype=self.dtype_policy,
            )
            layer.build((None, None, None, inputs))
            return layer

        self.query = build_conv(channels // 8, channels, "query")
        self.key = build_conv(channels // 8, channels, "key")
        self.value = build_conv(channels // 2, channels, "value")
        self.out = build_conv(channels, channels // 2, "out")
        self.gamma = self.add_weight(shape=(), initializer="zeros", name="gamma")

    def call(self, x: Any) -> Any:
        _, height, width, channels = x.shape
        h, w = self.window or (height, width)
        if h % 2 or w % 2:
            raise ValueError(f"attention windows need even sides, not {h} x {w} cells")
        if height % h or width % w:
            raise ValueError(f"a map of {height} x {width} cells has no whole {h} x {w} windows")
        tiles = to_windows(x, h, w)  # [B * windows, h, w, C]
        pool = {"pool_size": 2, "strides": 2, "data_format": "channels_last"}
        query = ops.reshape(self.query(tiles), (-1, h * w, channels // 8))
        key = ops.reshape(ops.max_pool(self.key(tiles), **pool), (-1, h * w // 4, channels // 8))
        value = ops.max_pool(self.value(tiles), **pool)
        value = ops.reshape(value, (-1, h * w // 4, channels // 2))
        score = ops.matmul(query, ops.transpose(key, (0, 2, 1)))  # [B * windows, hw, hw / 4]
        weight = ops.cast(ops.softmax(ops.cast(score, "float32"), axis=-1), x.dtype)
        y = ops.reshape(ops.matmul(weight, value), (-1, h, w, channels // 2))
        return x + self.gamma * from_windows(self.out(y), height, width)


def to_windows(x: Any, h: int, w: int) -> Any:
    """[B, H, W, C] -> [B * (H / h) * (W / w), h, w, C]."""
    _, height, width, channels = x.shape
    x = ops.reshape(x, (-1, height // h, h, width // w, w, channels))
    return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, h, w, channels))


def from_windows(x: Any, height: int, width: int) -> Any:
    """Inverse of ``to_windows``: [B * windows, h, w, C] -> [B, height, width, C]."""
    _, h, w, channels = x.shape
    x = ops.reshape(x, (-1, height // h, width // w, h, w, channels))
    return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, height, width, channels))
