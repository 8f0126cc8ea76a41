"""Spectrally normalised layers: the effective kernel is W / sigma(W).

Miyato et al., Spectral Normalization for GANs, arXiv:1802.05957. Intended differences from
``keras.layers.SpectralNormalization``: the stored kernel is never overwritten, the gradient passes
through sigma, training and inference use the same kernel, and the power iteration runs only when
the training algorithm calls ``power_iteration``, once per step.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

EPSILON = 1e-12


def unit_vector(x: Any) -> Any:
    """Normalise a vector, x / |x|."""
    return x / (ops.sqrt(ops.sum(ops.square(x))) + EPSILON)


class SpectralLayer(keras.layers.Layer):
    """Layer with one kernel, divided by its largest singular value.

    sigma = |W u| with u constant for the gradient, W the kernel as a matrix [inputs, outputs]
    (arXiv:1802.05957, eq. 10-12: with v = W u / |W u|, sigma and its gradient equal those of
    v^T W u).

    Args:
        spectral_norm: divide the kernel by sigma; False: use the stored kernel.
        options: keyword arguments of ``keras.layers.Layer``.

    Attributes:
        kernel: the stored weights, outputs on the last axis, float32.
        u: [outputs], estimate of the first right singular vector, not trained.
    """

    def __init__(self, spectral_norm: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.spectral_norm = spectral_norm

    def add_kernel(self, shape: tuple[int, ...], initializer: str = "orthogonal") -> None:
        """Create ``kernel`` and ``u``; both stay float32 under a mixed policy."""
        self.kernel = self.add_weight(
            shape=shape, initializer=initializer, name="kernel", autocast=False
        )
        if self.spectral_norm:
            self.u = self.add_weight(
                shape=(shape[-1],),
                initializer=keras.initializers.RandomNormal(stddev=1.0),
                name="u",
                trainable=False,
                autocast=False,
            )

    def matrix(self) -> Any:
        """The kernel as [inputs, outputs], float32."""
        return ops.reshape(self.kernel, (-1, self.kernel.shape[-1]))

    def power_iteration(self) -> None:
        """Run one power iteration: u <- W^T W u / |W^T W u|."""
        w = self.matrix()
        step = ops.matmul(ops.matmul(w, self.u), w)
        # A kernel of zeros keeps its u: no later iteration recovers from u = 0.
        kept = ops.convert_to_tensor(self.u)  # JAX's where takes no Variable
        self.u.assign(ops.where(ops.any(step != 0), unit_vector(step), kept))

    def sigma(self) -> Any:
        """Estimate |W u| of the largest singular value, a scalar."""
        w_u = ops.matmul(self.matrix(), unit_vector(self.u))
        return ops.sqrt(ops.sum(ops.square(w_u)) + EPSILON)

    def effective_kernel(self, scale: Any = 1.0) -> Any:
        """The normalised kernel times ``scale`` per output, in the layer's compute dtype."""
        kernel = ops.convert_to_tensor(self.kernel)
        if self.spectral_norm:
            scale = scale / self.sigma()
        return ops.cast(kernel * scale, self.compute_dtype)


class SpectralDense(SpectralLayer):
    """Spectrally normalised dense layer, [B, inputs] -> [B, units]."""

    def __init__(
        self,
        units: int,
        use_bias: bool = True,
        spectral_norm: bool = True,
        initializer: str = "orthogonal",
        **options: Any,
    ) -> None:
        super().__init__(spectral_norm, **options)
        self.units = units
        self.use_bias = use_bias
        self.initializer = initializer

    def build(self, input_shape: tuple[Any, ...]) -> None:
        self.add_kernel((input_shape[-1], self.units), self.initializer)
        if self.use_bias:
            self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")

    def call(self, x: Any) -> Any:
        y = ops.matmul(x, self.effective_kernel())
        return y + self.bias if self.use_bias else y


class SpectralEmbedding(SpectralLayer):
    """Spectrally normalised embedding, [B] int -> [B, units]."""

    def __init__(
        self,
        entries: int,
        units: int,
        spectral_norm: bool = True,
        initializer: str = "orthogonal",
        **options: Any,
    ) -> None:
        super().__init__(spectral_norm, **options)
        self.entries = entries
        self.units = units
        self.initializer = initializer

    def build(self, input_shape: tuple[Any, ...]) -> None:
        self.add_kernel((self.entries, self.units), self.initializer)

    def call(self, index: Any) -> Any:
        return ops.take(self.effective_kernel(), index, axis=0)


class SpectralConv2D(SpectralLayer):
    """Spectrally normalised convolution, [B, H, W, C] -> [B, H / strides, W / strides, filters].

    Args:
        filters: output channels.
        size: side of the square kernel, pixels.
        strides: step, pixels.
        padding: "same" (zeros outside) or "wrap" (periodic: training on crops needs crops with
            the statistics of the inside of a large image).
        use_bias: add a bias.
        spectral_norm: divide the kernel by sigma.
        initializer: initializer of the kernel.
        options: keyword arguments of ``keras.layers.Layer``.
    """

    def __init__(
        self,
        filters: int,
        size: int,
        strides: int = 1,
        padding: str = "same",
        use_bias: bool = True,
        spectral_norm: bool = True,
        initializer: str = "orthogonal",
        **options: Any,
    ) -> None:
        super().__init__(spectral_norm, **options)
        self.filters = filters
        self.size = size
        self.strides = strides
        self.padding = padding
        self.use_bias = use_bias
        self.initializer = initializer

    def build(self, input_shape: tuple[Any, ...]) -> None:
        self.add_kernel((self.size, self.size, input_shape[-1], self.filters), self.initializer)
        if self.use_bias:
            self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, x: Any) -> Any:
        y = self.convolve(x, self.effective_kernel())
        return y + self.bias if self.use_bias else y

    def convolve(self, x: Any, kernel: Any) -> Any:
        """Pad and convolve ``x`` with a kernel."""
        padding = "same"
        if self.padding == "wrap" and self.size > 1:
            x, padding = pad_periodic(x, self.size // 2), "valid"
        return ops.conv(x, kernel, self.strides, padding, data_format="channels_last")


def pad_periodic(x: Any, n: int) -> Any:
    """Pad [B, H, W, C] periodically by n pixels on every side: [B, H + 2n, W + 2n, C]."""

    def pad(x: Any) -> Any:
        y = ops.concatenate([x[:, -n:], x, x[:, :n]], axis=1)
        return ops.concatenate([y[:, :, -n:], y, y[:, :, :n]], axis=2)

    @ops.custom_gradient
    def with_gradient(x: Any) -> tuple[Any, Any]:
        return pad(x), lambda dy: fold_gradient(fold_gradient(dy, n, 2), n, 1)

    # Without it, the gradient of each of the six slices is a full map of zeros.
    return with_gradient(x) if min(x.shape[1:3]) >= 2 * n else pad(x)


def fold_gradient(y: Any, n: int, axis: int) -> Any:
    """Gradient of the periodic padding along an axis: add every copy to its original."""
    size = y.shape[axis]
    low, first, inner, last, high = ops.split(y, [n, 2 * n, size - 2 * n, size - n], axis=axis)
    return ops.concatenate([first + high, inner, last + low], axis=axis)


def spectral_layers(model: keras.layers.Layer) -> list[SpectralLayer]:
    """List all spectrally normalised layers of a model."""
    found = [x for x in model._flatten_layers() if isinstance(x, SpectralLayer)]
    return [x for x in found if x.spectral_norm]


def power_iteration(model: keras.layers.Layer) -> None:
    """Run one power iteration of every spectrally normalised layer of a model."""
    for layer in spectral_layers(model):
        layer.power_iteration()
