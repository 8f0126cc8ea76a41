"""Updates from the gradients of several steps."""

from __future__ import annotations

import numpy as np
from keras import ops
from small_run import CHANGES, geometry

from kerasgen.models.pxd_gan.gan import PXDGAN
from kerasgen.models.pxd_gan.start import DataStatistics, build_gan
from kerasgen.training.trainer import compiled_step
from kerasgen.zoo.recipes import load_config


def values(gan: PXDGAN) -> list[np.ndarray]:
    """The weights that the optimisers change."""
    networks = gan.generator, gan.discriminator
    weights = [w for network in networks for w in network.trainable_variables]
    return [np.asarray(ops.convert_to_tensor(w)).copy() for w in weights]


def test_two_steps_make_one_update() -> None:
    changes = [*CHANGES, "training.accumulate=2", "data.source='none.h5'"]
    statistics = DataStatistics(np.full(3, 0.1), 20.0)
    gan = build_gan(load_config("pxd_biggan_crops", changes=changes), geometry(), statistics)
    rng = np.random.default_rng(0)
    fired = rng.random((8, 16, 32, 1)) < 0.1
    image = np.where(fired, rng.uniform(-0.2, 0.8, fired.shape), -1.0).astype(np.float32)
    sensor, origin = np.arange(8, dtype=np.int32) % 3, np.zeros([8, 2], np.int32)
    batch = {"image": image, "sensor": sensor, "origin": origin}
    step = compiled_step(gan)
    step.read_variables()
    start = values(gan)
    step([batch])
    step.write_variables()
    for value, old in zip(values(gan), start, strict=True):
        np.testing.assert_array_equal(value, old)
    step([batch])
    step.write_variables()
    moved = [np.any(w != old) for w, old in zip(values(gan), start, strict=True)]
    # Attention starts at zero, and a bias before a normalisation has no gradient.
    assert np.mean(moved) > 0.7
    assert gan.discriminator_optimizer.gradient_accumulation_steps == 2
