"""Steps of small GANs on the backend of this process; run by ``test_gan_backends``.

``python gan_parity.py FOLDER NAME``: start every case from the weights ``FOLDER/start CASE.npz``,
which it writes where they are missing; take noise and batches from numpy; write the loss terms of
all steps and the weights of the EMA generator to ``FOLDER/NAME.npz``.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from tiny_gan import CHARGE_THRESHOLD, GENERATOR, LOSS, SENSORS, batch, discriminator, generator
from tiny_gan import geometry as detector

from kerasgen.backend.engine import CompiledStep
from kerasgen.backend.schedule import WarmUpCosine
from kerasgen.models.pxd_gan.build import build_encoder
from kerasgen.models.pxd_gan.gan import ADVERSARIAL, PRETRAINING, PXDGAN

STEPS, RATE = 6, 3e-3
# Of Adam: with Keras's 1e-7 a gradient that is zero but for rounding errors makes a whole step.
EPSILON = 1e-3
EVERY = replace(LOSS, consistency_variant="balanced")
CASES = {
    "sub_pixel": EVERY,
    "biggan_deep": replace(EVERY, contrastive_variant="margin", adversarial="wasserstein"),
}


def build(case: str) -> PXDGAN:
    """A compiled GAN with every term on; the weights are those of the backend's generator."""
    keras.utils.set_random_seed(3)
    size = (64, 64) if case == "biggan_deep" else (16, 48)
    sensors = detector(*size)
    networks = [generator(sensors, case) for _ in range(2)]
    networks[0].min_charge_logit = -100.0  # charges below threshold, for the pixel-aware term
    encoder = None if case == "biggan_deep" else build_encoder(GENERATOR, 1, size, "float32")
    gan = PXDGAN(
        networks[0], discriminator(sensors, case), networks[1], CASES[case],
        CHARGE_THRESHOLD, np.full(SENSORS, 0.1), seed=11, ema_decay=0.9, encoder=encoder,
    )  # fmt: skip
    gan.compile(
        *(
            keras.optimizers.Adam(
                WarmUpCosine(RATE, 20, 3, 0.1, gan.rate_scale), beta1, 0.99, EPSILON
            )
            for beta1 in (0.0, 0.0, 0.9)
        )
    )
    return gan


def start(gan: PXDGAN, path: Path) -> None:
    """Set the weights to those of a file; the first process writes it."""
    if not path.exists():
        rng, values = np.random.default_rng(5), []
        for weight in gan.weights:
            value = np.asarray(ops.convert_to_tensor(weight)).copy()
            if weight.path.endswith(("gain/kernel", "shift/kernel", "attention/gain")):
                value = 0.2 * rng.normal(size=value.shape)  # they start without effect
            values.append(value)
        for mean, weight in zip(gan.ema.weights, gan.generator.weights, strict=True):
            values[index(gan, mean)] = values[index(gan, weight)]
        np.savez(path, *values)
    with np.load(path) as file:
        for i, weight in enumerate(gan.weights):
            weight.assign(file[f"arr_{i}"].astype(weight.dtype))


def index(gan: PXDGAN, weight: Any) -> int:
    return next(i for i, w in enumerate(gan.weights) if w is weight)


def images(gan: PXDGAN, seed: int) -> dict[str, Any]:
    """A batch for the generator's images; those of ``tiny_gan`` are tiled to their size."""
    found = batch(6, seed=seed)
    size = gan.generator.image
    if size != (16, 48):
        found = {name: found[name] for name in ("image", "sensor", "origin")}
        found["image"] = np.tile(found["image"], (1, 4, 2, 1))[:, : size[0], : size[1]]
    return found


def numbers(gan: PXDGAN, real: list[dict[str, Any]], step: int) -> dict[str, Any]:
    """Noise in the shapes of ``PXDGAN.noise``, from numpy."""
    rng = np.random.default_rng(100 + step)
    limit = gan.settings.consistency_shift

    def drawn(x: Any) -> Any:
        if isinstance(x, dict):
            return {name: drawn(value) for name, value in sorted(x.items())}
        if isinstance(x, list):
            return [drawn(value) for value in x]
        if "int" in str(x.dtype):
            return rng.integers(-limit, limit, x.shape, endpoint=True).astype(np.int32)
        return rng.normal(size=x.shape).astype(np.float32)

    return drawn(gan.noise(real))


def run(case: str, start_file: Path) -> dict[str, np.ndarray]:
    """Six steps of each stage: ``CASE/terms/stage/step/network/term`` and ``CASE/ema/path``."""
    gan = build(case)
    start(gan, start_file)
    found: dict[str, Any] = {}
    stages = [ADVERSARIAL] if gan.encoder is None else [PRETRAINING, ADVERSARIAL]
    for stage in stages:
        gan.stage = stage
        step = CompiledStep(gan.train_step, gan.state)
        step.read_variables()
        for k in range(STEPS):
            real = [images(gan, k)]
            terms = step(real, numbers(gan, real, k))
            found |= {
                f"{case}/terms/{stage}/{k}/{name}": np.asarray(x) for name, x in terms.items()
            }
        step.write_variables()
    for weight in gan.ema.weights:
        found[f"{case}/ema/{weight.path}"] = np.asarray(ops.convert_to_tensor(weight)).copy()
    return found


if __name__ == "__main__":
    folder, found = Path(sys.argv[1]), {}
    for case in CASES:
        found |= run(case, folder / f"start {case}.npz")
    np.savez(folder / f"{sys.argv[2]}.npz", **found)
