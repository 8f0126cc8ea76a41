"""Random numbers of a training: a pure function of (run seed, step, use), no state anywhere."""

from __future__ import annotations

import random
from typing import Any

from kerasgen.backend.engine import normal, step_key

# One stream per use of randomness; the numbers are part of a run's identity.
STREAMS = {
    "discriminator": 1, "generator": 2, "shift": 3, "start": 4, "statistics": 5, "sample": 6,
    "encode": 8, "mirror": 9, "jitter": 10,
}  # fmt: skip


def seed_initializers(seed: int) -> None:
    """Make the initial weights of the networks built next a function of a seed.

    Keras draws the seeds of its initialisers from Python's generator, and nothing else is drawn.
    ``keras.utils.set_random_seed`` imports TensorFlow for its generator, also on JAX.
    """
    random.seed(seed)


def key_of(run_seed: int, step: Any, stream: str, part: Any = 0) -> Any:
    """Key of one use of randomness in one training step, see ``engine.step_key``."""
    return step_key(run_seed * 16 + STREAMS[stream], step, part)


def image_inputs(key: Any, generator: Any, size: tuple[int, int], batch: int) -> tuple[Any, Any]:
    """Latent [B, L] and noise [B, h, w, N] of a batch of images.

    Args:
        key: of the batch.
        generator: with ``latent_size`` and ``noise_shape``.
        size: height and width of the images, pixels.
        batch: B.
    """
    latent = normal(key, (batch, generator.latent_size))
    return latent, normal(key, (batch, *generator.noise_shape(size)), 1)
