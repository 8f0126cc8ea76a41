"""Adversarial losses, hinge and Wasserstein. Logits are [B] or maps [B, H, W]."""

from __future__ import annotations

from typing import Any

from keras import ops


def hinge_discriminator(real: Any, fake: Any) -> Any:
    """Hinge loss mean relu(1 - D(x)) + mean relu(1 + D(G(z))) (arXiv:1705.02894, eq. 3)."""
    return ops.mean(ops.relu(1.0 - real)) + ops.mean(ops.relu(1.0 + fake))


def wasserstein_discriminator(real: Any, fake: Any) -> Any:
    """Wasserstein loss mean D(G(z)) - mean D(x) (arXiv:1701.07875, algorithm 1)."""
    return ops.mean(fake) - ops.mean(real)


def generator_loss(fake: Any) -> Any:
    """Generator loss - mean D(G(z)) of both forms."""
    return -ops.mean(fake)


# Discriminator losses by the recipe's ``loss.adversarial``.
DISCRIMINATOR_LOSSES = {"hinge": hinge_discriminator, "wasserstein": wasserstein_discriminator}
