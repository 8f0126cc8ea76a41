"""A GAN of a few thousand weights, and batches for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasgen.data.geometry import Geometry, Sensor
from kerasgen.models.pxd_gan.build import build_discriminator, build_generator
from kerasgen.models.pxd_gan.gan import PXDGAN
from kerasgen.models.pxd_gan.settings import DiscriminatorSettings, GeneratorSettings, LossSettings
from kerasgen.models.pxd_gan.shapes import padded_image

CHARGE_THRESHOLD = -0.2733
SENSORS = 3
GENERATOR = GeneratorSettings(
    channels=8,
    blocks=1,
    bottleneck=2,
    latent_size=3,
    embedding_size=4,
    noise_channels=6,
    noise_gain=0.5,
    attention=[],
)
DISCRIMINATOR = DiscriminatorSettings(
    channels=8, blocks=1, bottleneck=2, embedding_size=6, attention=[]
)
# BigGAN-deep has many layers, up to sixteen times as wide: small, to build quickly.
DEEP: dict[str, Any] = {"channels": 2, "spectral_norm": False}
# Every term with a visible weight.
LOSS = LossSettings(
    contrastive=0.5, consistency=2.0, consistency_shift=2, pixel_aware=5.0, orthogonal=0.01
)


def geometry(rows: int = 16, cols: int = 48, sensors: int = SENSORS) -> Geometry:
    """A detector of a few small sensors."""
    listed = tuple(Sensor(f"1.1.{i + 1}", i, 1, 1) for i in range(sensors))
    return Geometry("tiny", rows, cols, threshold=7, max_charge=255, sensors=listed)


def generator(
    detector: Geometry, architecture: str = "sub_pixel", channels: int = 1, **changes: Any
) -> keras.Model:
    if architecture == "biggan_deep":
        changes = DEEP | changes
    settings = replace(GENERATOR, **changes)
    return build_generator(architecture, settings, detector, channels, "float32", "generator")


def discriminator(
    detector: Geometry, architecture: str = "sub_pixel", channels: int = 1, **changes: Any
) -> keras.Model:
    size = padded_image(detector, architecture)
    if architecture == "biggan_deep":
        changes = DEEP | changes
    settings = replace(DISCRIMINATOR, **changes)
    return build_discriminator(architecture, settings, detector, channels, size, "float32")


def inputs(network: keras.Model, sensors: list[int], size: tuple[int, int], seed: int = 0) -> list:
    """Arguments of a generator's call for images of a size."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> Any:
        return rng.normal(size=(len(sensors), *shape)).astype(np.float32)

    origin = np.zeros([len(sensors), 2], np.int32)
    return [
        np.int32(sensors),
        normal(network.latent_size),
        normal(*network.noise_shape(size)),
        origin,
    ]


def batch(images: int = 4, channels: int = 1, seed: int = 0) -> dict[str, Any]:
    """Images with a tenth of the pixels fired; sensors 0, 1, 2, 0, ..."""
    rng = np.random.default_rng(seed)
    shape = (images, 16, 48, channels)
    image = np.where(rng.random(shape) < 0.1, rng.uniform(-0.25, 1, shape), -1.0)
    image = image.astype(np.float32)
    return {
        "image": image,
        "sensor": np.arange(images, dtype=np.int32) % SENSORS,
        "origin": np.zeros([images, 2], np.int32),
    }


def gan(seed: int = 7) -> PXDGAN:
    """A compiled GAN whose weights depend only on the seed."""
    keras.utils.set_random_seed(seed)
    detector = geometry()
    networks = [generator(detector) for _ in range(2)]
    networks[0].min_charge_logit = -100.0  # charges below threshold, for the pixel-aware term
    model = PXDGAN(
        networks[0],
        discriminator(detector),
        networks[1],
        LOSS,
        CHARGE_THRESHOLD,
        np.full(SENSORS, 0.1),
        seed=11,
        ema_decay=0.9,
    )
    for mean, weight in zip(model.ema.weights, model.generator.weights, strict=True):
        mean.assign(weight)
    model.compile(*(keras.optimizers.Adam(1e-3, 0.0, 0.99) for _ in range(2)))
    return model


def numbers(model, real, stream: str = "discriminator", step: int = 0) -> dict[str, Any]:
    """The noise of a sub-step, as ``PXDGAN.noise`` draws it."""
    model.iterations.assign(step)
    found = model.noise([real])
    model.iterations.assign(0)
    return found[stream][0] if stream == "discriminator" else found[stream]


def train_step(model, *real) -> dict[str, Any]:
    """A step on batches of the discriminator, with the noise that belongs to it."""
    return model.train_step(real, model.noise(real))


def weights(network: keras.Model) -> dict[str, np.ndarray]:
    """All weights of a network by path."""
    by_path = {w.path: np.asarray(ops.convert_to_tensor(w)).copy() for w in network.weights}
    assert len(by_path) == len(network.weights)
    return by_path


def changed(before: dict[str, np.ndarray], network: keras.Model) -> set[str]:
    """Paths of the weights of which at least one bit is different."""
    after = weights(network)
    return {path for path, old in before.items() if old.tobytes() != after[path].tobytes()}
