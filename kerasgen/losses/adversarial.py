"""Adversarial losses: hinge, Wasserstein and relativistic pairing.

Logits are [B] or maps [B, H, W]; those of real and generated images have equal shapes, and row i of
both has the same condition.
"""

from __future__ import annotations

from typing import Any

from keras import ops


def hinge_discriminator(real: Any, fake: Any) -> Any:
    """Hinge loss mean relu(1 - D(x)) + mean relu(1 + D(G(z))) (arXiv:1705.02894, eq. 3)."""
    return ops.mean(ops.relu(1.0 - real)) + ops.mean(ops.relu(1.0 + fake))


def wasserstein_discriminator(real: Any, fake: Any) -> Any:
    """Wasserstein loss mean D(G(z)) - mean D(x) (arXiv:1701.07875, algorithm 1)."""
    return ops.mean(fake) - ops.mean(real)


def relativistic_discriminator(real: Any, fake: Any) -> Any:
    """Relativistic pairing mean softplus(D(G(z)) - D(x)) (arXiv:2501.05441, eq. 2)."""
    return ops.mean(ops.softplus(fake - real))


def generator_loss(real: Any, fake: Any) -> Any:
    """Loss - D(G(z)) of each image, hinge and Wasserstein form; real images have no part."""
    return -fake


def relativistic_generator(real: Any, fake: Any) -> Any:
    """Relativistic pairing softplus(D(x) - D(G(z))) of each pair (arXiv:2501.05441, eq. 2)."""
    return ops.softplus(real - fake)


# Losses by their names in recipes, of logits of real and generated images; those of the generator
# are terms whose mean is its loss.
DISCRIMINATOR_LOSSES = {
    "hinge": hinge_discriminator,
    "wasserstein": wasserstein_discriminator,
    "relativistic": relativistic_discriminator,
}
# What to cite for them.
PAPERS = {"hinge": "lim2017", "wasserstein": "arjovsky2017", "relativistic": "huang2025"}
GENERATOR_TERMS = {
    "hinge": generator_loss,
    "wasserstein": generator_loss,
    "relativistic": relativistic_generator,
}
