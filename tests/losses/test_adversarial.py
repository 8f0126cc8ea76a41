"""The adversarial losses on hand-written logits."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from kerasgen.losses.adversarial import (
    DISCRIMINATOR_LOSSES,
    GENERATOR_TERMS,
    generator_loss,
    hinge_discriminator,
    relativistic_discriminator,
    relativistic_generator,
    wasserstein_discriminator,
)

REAL = tf.constant([2.0, 0.5, -1.0])
FAKE = tf.constant([-3.0, 0.0, 1.5])


def test_hinge_value():
    # mean(0, 0.5, 2) + mean(0, 1, 2.5) = 2.5 / 3 + 3.5 / 3
    assert float(hinge_discriminator(REAL, FAKE)) == pytest.approx(2.0)


def test_wasserstein_value():
    # mean(-3, 0, 1.5) - mean(2, 0.5, -1) = -0.5 - 0.5
    assert float(wasserstein_discriminator(REAL, FAKE)) == pytest.approx(-1.0)


def test_generator_value():
    assert np.mean(generator_loss(REAL, FAKE)) == pytest.approx(0.5)


def test_relativistic_value():
    # D(G(z)) - D(x) = -5, -0.5, 2.5; softplus of it and of its negative
    assert float(relativistic_discriminator(REAL, FAKE)) == pytest.approx(
        np.mean(np.log1p(np.exp([-5.0, -0.5, 2.5])))
    )
    assert np.mean(relativistic_generator(REAL, FAKE)) == pytest.approx(
        np.mean(np.log1p(np.exp([5.0, 0.5, -2.5])))
    )


def test_relativistic_losses_do_not_see_a_common_offset():
    for loss in (relativistic_discriminator, relativistic_generator):
        moved = loss(REAL + 7.0, FAKE + 7.0)
        np.testing.assert_allclose(moved, loss(REAL, FAKE), rtol=1e-6)


def test_relativistic_gradient_is_the_doubt_of_each_pair():
    with tf.GradientTape() as tape:
        tape.watch([REAL, FAKE])
        loss = relativistic_discriminator(REAL, FAKE)
    real, fake = tape.gradient(loss, [REAL, FAKE])
    doubt = 1 / (1 + np.exp([5.0, 0.5, -2.5])) / 3
    assert real.numpy().tolist() == pytest.approx((-doubt).tolist())
    assert fake.numpy().tolist() == pytest.approx(doubt.tolist())


def test_hinge_gradient_stops_beyond_the_margin():
    with tf.GradientTape() as tape:
        tape.watch([REAL, FAKE])
        loss = hinge_discriminator(REAL, FAKE)
    real, fake = tape.gradient(loss, [REAL, FAKE])
    assert real.numpy().tolist() == pytest.approx([0, -1 / 3, -1 / 3])
    assert fake.numpy().tolist() == pytest.approx([0, 1 / 3, 1 / 3])


def test_wasserstein_gradient_is_constant():
    with tf.GradientTape() as tape:
        tape.watch([REAL, FAKE])
        loss = wasserstein_discriminator(REAL, FAKE)
    real, fake = tape.gradient(loss, [REAL, FAKE])
    assert real.numpy().tolist() == pytest.approx([-1 / 3] * 3)
    assert fake.numpy().tolist() == pytest.approx([1 / 3] * 3)


def test_generator_terms_are_those_of_each_pair():
    assert generator_loss(REAL, FAKE).numpy().tolist() == [3.0, 0.0, -1.5]
    terms = relativistic_generator(REAL, FAKE).numpy()
    assert terms.tolist() == pytest.approx(np.log1p(np.exp([5.0, 0.5, -2.5])).tolist())


def test_maps_of_logits_average_over_their_patches():
    real, fake = tf.reshape(REAL, (1, 3, 1)), tf.reshape(FAKE, (1, 1, 3))
    assert float(hinge_discriminator(real, fake)) == pytest.approx(2.0)
    assert np.mean(generator_loss(real, fake)) == pytest.approx(0.5)


def test_names_of_the_recipe():
    assert DISCRIMINATOR_LOSSES["hinge"] is hinge_discriminator
    assert DISCRIMINATOR_LOSSES["wasserstein"] is wasserstein_discriminator
    assert DISCRIMINATOR_LOSSES["relativistic"] is relativistic_discriminator
    assert GENERATOR_TERMS["relativistic"] is relativistic_generator
    assert GENERATOR_TERMS["hinge"] is GENERATOR_TERMS["wasserstein"] is generator_loss
