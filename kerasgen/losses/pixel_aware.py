"""Pixel-aware regularisation: charge below the read-out threshold is pulled to zero."""

from __future__ import annotations

from typing import Any

from keras import ops


def pixel_aware(image: Any, cut: float, empty: float = -1.0) -> Any:
    """mean |G(z) - F[G(z)]|^2 over all pixels; F sets pixels below the cut to empty.

    Algorithm 1 of the talk of H. Hashemi et al. F is a constant for the gradient, so only
    pixels below the cut are pulled. The mean over pixels (not the sum) makes lambda independent
    of the image size: a lambda for the sum is smaller by the number of pixels.

    Arguments:
        image: [B, H, W, C] on the scale [-1, 1].
        cut: half an ADU below the read-out threshold, on the same scale.
        empty: value of an empty pixel.
    """
    image = ops.cast(image, "float32")
    suppressed = ops.stop_gradient(ops.where(image < cut, empty, image))
    return ops.mean(ops.square(image - suppressed))
