"""The adversarial game: hinge form and discriminator form. Logits may be [B] or maps [B, H, W]."""

from __future__ import annotations

from typing import Any

from keras import ops


def hinge_discriminator(real: Any, fake: Any) -> Any:
    """mean relu(1 - D(x)) + mean relu(1 + D(G(z))) (arXiv:1705.02894, eq. 3)."""
    return ops.mean(ops.relu(1.0 - real)) + ops.mean(ops.relu(1.0 + fake))


def wasserstein_discriminator(real: Any, fake: Any) -> Any:
    """mean D(G(z)) - mean D(x), the discriminator form (arXiv:1701.07875, algorithm 1)."""
    return ops.mean(fake) - ops.mean(real)


def generator(fake: Any) -> Any:
    """- mean D(G(z)), the generator's side of both forms."""
    return -ops.mean(fake)


DISCRIMINATOR = {"hinge": hinge_discriminator, "wasserstein": wasserstein_discriminator}
