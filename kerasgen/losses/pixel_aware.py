"""Pixel-aware regularisation: pull charge below the read-out threshold to zero."""

from __future__ import annotations

from typing import Any

from keras import ops


def pixel_aware(image: Any, threshold: float, empty: float = -1.0) -> Any:
    """Pixel-aware loss mean |G(z) - F[G(z)]|^2; F sets pixels below the threshold to empty.

    Algorithm 1 of the talk of H. Hashemi et al. F is constant for the gradient, so only pixels
    below the threshold are pulled. The mean over all pixels (not the sum) makes lambda independent
    of the image size: a lambda for the sum is smaller by the number of pixels.

    Args:
        image: [B, H, W, C] on the scale [-1, 1].
        threshold: half an ADU below the read-out threshold, on the same scale.
        empty: value of an empty pixel.
    """
    image = ops.cast(image, "float32")
    suppressed = ops.stop_gradient(ops.where(image < threshold, empty, image))
    return ops.mean(ops.square(image - suppressed))
