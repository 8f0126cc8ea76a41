"""Zero-centred gradient penalties of the discriminator on real and on generated images.

R1 of real images (arXiv:1801.04406, eq. 9) and R2 of generated ones, mean |grad_x D(x)|^2 over
images. Both with relativistic pairing converge locally (arXiv:2501.05441, proposition II).
"""

from __future__ import annotations

from typing import Any

from keras import ops


def exact_penalty(gradient: Any) -> Any:
    """Mean over images of the squared norm of gradients of D, [B, H, W, C]."""
    return ops.mean(ops.sum(ops.square(ops.cast(gradient, "float32")), axis=[1, 2, 3]))


def jitter_penalty(before: Any, after: Any, sigma: float) -> Any:
    """The penalty to first order in sigma, without second derivatives.

    Mean (D(x + sigma n) - D(x))^2 / sigma^2, whose expectation over normal n is |grad_x D(x)|^2 as
    sigma -> 0: consistency regularisation with a jitter as transformation.

    Args:
        before, after: [B], D of images x and x + sigma n.
        sigma: of the jitter, in units of the image.
    """
    difference = ops.cast(after, "float32") - ops.cast(before, "float32")
    return ops.mean(ops.square(difference / sigma))
