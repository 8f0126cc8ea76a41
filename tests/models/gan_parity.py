"""Steps of small GANs on the backend of this process; run by ``test_gan_backends``.

``python gan_parity.py FOLDER NAME``: do some steps of every case, each from the variables that the
first process left in ``FOLDER`` and with noise and batches from numpy; write the loss terms and
the weights of the EMA generator to ``FOLDER/NAME.npz``.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from tiny_gan import CHARGE_THRESHOLD, LOSS, SENSORS, batch, discriminator, generator
from tiny_gan import geometry as detector

from kerasgen.backend.engine import CompiledStep
from kerasgen.backend.schedule import WarmUpCosine
from kerasgen.models.pxd_gan.gan import PXDGAN

STEPS, RATE = 6, 3e-3
# Of Adam: with Keras's 1e-7 a gradient that is zero but for rounding errors makes a whole step.
EPSILON = 1e-3
EVERY = replace(LOSS, consistency_variant="balanced", gradient_penalty=0.1)
PAIRED = replace(EVERY, adversarial="relativistic", penalty_variant="exact")
CASES = {
    "sub_pixel": EVERY,
    "biggan_deep": replace(PAIRED, contrastive_variant="margin"),
}


def build(case: str) -> PXDGAN:
    """A compiled GAN with every term on; the weights are those of the backend's generator."""
    keras.utils.set_random_seed(3)
    size = (64, 64) if case == "biggan_deep" else (16, 48)
    sensors = detector(*size)
    networks = [generator(sensors, case) for _ in range(2)]
    networks[0].min_charge_logit = -100.0  # charges below threshold, for the pixel-aware term
    gan = PXDGAN(
        networks[0], discriminator(sensors, case), networks[1], CASES[case],
        CHARGE_THRESHOLD, np.full(SENSORS, 0.1), seed=11, ema_decay=0.9,
    )  # fmt: skip
    gan.compile(
        *(
            keras.optimizers.Adam(
                WarmUpCosine(RATE, 20, 3, 0.1, gan.rate_scale), 0.0, 0.99, EPSILON
            )
            for _ in range(2)
        )
    )
    return gan


def share(gan: PXDGAN, path: Path) -> None:
    """Set every variable of a step to the values in a file; the first process writes it.

    Rounding errors of two backends grow from step to step, and a pixel with a logit near zero then
    fires on one of them only. With a common start of each step they do not grow, and hardly any
    pixel is so near; among other random numbers one of 24 576 was.
    """
    if not path.exists():
        np.savez(path, *(values(v) for v in gan.state))
    with np.load(path) as file:
        for i, variable in enumerate(gan.state):
            variable.assign(file[f"arr_{i}"].astype(variable.dtype))


def scramble(gan: PXDGAN) -> None:
    """Give an effect to the weights that start without one."""
    rng = np.random.default_rng(5)
    for weight in gan.generator.weights:
        if weight.path.endswith(("gain/kernel", "shift/kernel", "attention/gain")):
            weight.assign(0.2 * rng.normal(size=weight.shape))
    for mean, weight in zip(gan.ema.weights, gan.generator.weights, strict=True):
        mean.assign(weight)


def values(variable: keras.Variable) -> np.ndarray:
    return np.asarray(ops.convert_to_tensor(variable)).copy()


def images(gan: PXDGAN, seed: int) -> dict[str, Any]:
    """A batch for the generator's images; those of ``tiny_gan`` are tiled to their size."""
    size = gan.generator.image
    found = batch(6 if size == (16, 48) else 4, seed=seed)
    if size != (16, 48):
        found["image"] = np.tile(found["image"], (1, 4, 2, 1))[:, : size[0], : size[1]]
    return found


def numbers(gan: PXDGAN, real: list[dict[str, Any]], step: int) -> dict[str, Any]:
    """Noise in the shapes of ``PXDGAN.noise``, from numpy."""
    rng = np.random.default_rng(300 + step)
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


def run(case: str, folder: Path) -> dict[str, np.ndarray]:
    """``CASE/terms/step/network/term`` and, after each step, ``CASE/ema/step/path``."""
    gan = build(case)
    scramble(gan)
    found: dict[str, Any] = {}
    step = CompiledStep(gan.train_step, gan.state)
    for k in range(STEPS):
        share(gan, folder / f"{case} {k}.npz")
        real = [images(gan, k)]
        step.read_variables()
        terms = step(real, numbers(gan, real, k))
        step.write_variables()
        found |= {f"{case}/terms/{k}/{name}": np.asarray(x) for name, x in terms.items()}
        found |= {f"{case}/ema/{k}/{w.path}": values(w) for w in gan.ema.weights}
    return found


if __name__ == "__main__":
    folder, found = Path(sys.argv[1]), {}
    for case in CASES:
        found |= run(case, folder)
    np.savez(folder / f"{sys.argv[2]}.npz", **found)
