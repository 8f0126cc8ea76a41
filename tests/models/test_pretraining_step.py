"""Reconstruction of real clusters: who learns from it, and that it is learnt."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tiny_gan import batch, changed, gan, weights

STEP = tf.constant(0, tf.int64)


@pytest.fixture
def model():
    return gan(reconstruction=True)


def test_reconstruction_changes_generator_and_encoder_alone(model):
    networks = model.generator, model.encoder, model.discriminator, model.ema
    before = [weights(n) for n in networks]
    model.pretraining_step(batch(), STEP)
    moved = changed(before[0], model.generator)
    assert {w.path for w in (model.generator.stem.kernel, model.generator.head.kernel)} <= moved
    # From the prior, where the divergence is flat: through the cell_latents alone.
    assert model.encoder.head.kernel.path in changed(before[1], model.encoder)
    assert changed(before[2], model.discriminator) == set()
    assert changed(before[3], model.ema) == set()


def test_what_is_reconstructed_are_the_moved_clusters(model):
    def terms(real):
        found = model.pretraining_terms(real, tf.constant([1, 2], tf.int64))
        return {name: float(value) for name, value in found.items()}

    real = batch()
    other = {name: tf.reverse(real[name], [1]) for name in ("image", "moved")}
    assert terms(real | {"image": other["image"]}) == terms(real)
    with_other = terms(real | {"moved": other["moved"]})
    assert all(with_other[name] != terms(real)[name] for name in ("fired", "charge"))


def test_before_the_game_a_step_is_reconstruction_alone(model):
    discriminator = weights(model.discriminator)
    model.adversarial = False
    logs = model.train_step(batch())
    assert set(logs) == {f"pretraining/{x}" for x in ("fired", "charge", "kl", "loss")}
    assert changed(discriminator, model.discriminator) == set()
    assert int(model.step) == 1
    model.adversarial = True
    assert {"discriminator/loss", "generator/loss"} < set(model.train_step(batch()))
    assert changed(discriminator, model.discriminator)
    assert int(model.step) == 2


@pytest.mark.parametrize(
    ("every", "adversarial", "rows"), [(1, True, 4), (2, False, 4), (2, True, 2)]
)
def test_beside_the_game_some_images_of_a_batch_are_reconstructed(
    model, every: int, adversarial: bool, rows: int
):
    real = batch(4)
    expected = model.pretraining_step({k: v[:: 4 // rows] for k, v in real.items()}, STEP)
    again = gan(reconstruction=True)
    again.pretraining_every, again.adversarial = every, adversarial
    logs = again.train_step(real)
    for name, value in expected.items():
        assert float(logs[name]) == pytest.approx(float(value), rel=1e-6), name


def test_terms_are_per_cluster(model):
    """Twice the same images have twice the clusters and the same loss."""
    one = batch(2)
    two = {name: tf.concat([x, x], 0) for name, x in one.items()}
    # Noise differs between the copies; without any effect of it they cost the same.
    model.generator.stem.kernel.assign(0 * model.generator.stem.kernel)
    model.generator.noise_gain = 0.0
    for block in model.generator.blocks:
        block.noise_gain = 0.0
    first, second = (model.pretraining_terms(x, tf.constant([1, 2], tf.int64)) for x in (one, two))
    for name, value in first.items():
        assert float(value) == pytest.approx(float(second[name]), rel=1e-4), name
    assert float(first["kl"]) == 0.0


def test_reconstruction_is_learnt(model):
    real = batch()
    step = tf.function(model.reconstruction_step)
    losses = [float(step(real, STEP + k)["pretraining/loss"]) for k in range(150)]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
