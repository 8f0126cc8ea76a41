"""VAE pre-training: which networks it changes, and that it lowers its loss."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_gan import batch, changed, gan, numbers, train_step, weights

from kerasgen.models.pxd_gan.gan import ADVERSARIAL, PRETRAINING
from kerasgen.training.trainer import compiled_step


@pytest.fixture
def model():
    return gan(pretraining=True)


def test_pretraining_changes_only_generator_and_encoder(model):
    networks = model.generator, model.encoder, model.discriminator, model.ema
    before = [weights(n) for n in networks]
    real = batch()
    model.pretraining_step(real, numbers(model, real, "pretraining"))
    altered = changed(before[0], model.generator)
    assert {w.path for w in (model.generator.stem.kernel, model.generator.head.kernel)} <= altered
    # From the prior, where the divergence is flat: only through the latents.
    assert model.encoder.head.kernel.path in changed(before[1], model.encoder)
    assert changed(before[2], model.discriminator) == set()
    assert changed(before[3], model.ema) == set()


def test_displaced_clusters_are_reconstructed(model):
    def terms(real):
        found = model.pretraining_terms(real, numbers(model, real, "pretraining"))
        return {name: float(value) for name, value in found.items()}

    real = batch()
    other = {name: real[name][:, ::-1] for name in ("image", "displaced")}
    assert terms(real | {"image": other["image"]}) == terms(real)
    with_other = terms(real | {"displaced": other["displaced"]})
    assert all(with_other[name] != terms(real)[name] for name in ("fired", "charge"))


def test_a_pretraining_step_has_no_adversarial_part(model):
    discriminator = weights(model.discriminator)
    model.stage = PRETRAINING
    logs = train_step(model, batch())
    assert set(logs) == {f"pretraining/{x}" for x in ("fired", "charge", "kl", "loss")}
    assert changed(discriminator, model.discriminator) == set()
    assert int(model.step) == 1
    model.stage = ADVERSARIAL
    assert {"discriminator/loss", "generator/loss"} < set(train_step(model, batch()))
    assert changed(discriminator, model.discriminator)
    assert int(model.step) == 2


@pytest.mark.parametrize(
    ("every", "stage", "rows"),
    [(1, ADVERSARIAL, 4), (2, PRETRAINING, 4), (2, ADVERSARIAL, 2)],
)
def test_the_adversarial_stage_reconstructs_some_images_of_a_batch(
    model, every: int, stage: str, rows: int
):
    real = batch(4)
    some = {k: v[:: 4 // rows] for k, v in real.items()}
    expected = model.pretraining_step(some, numbers(model, some, "pretraining"))
    again = gan(pretraining=True)
    again.pretraining_every, again.stage = every, stage
    logs = train_step(again, real)
    for name, value in expected.items():
        assert float(logs[name]) == pytest.approx(float(value), rel=1e-6), name


def test_terms_are_per_cluster(model):
    """Twice the same images have twice the clusters and the same loss."""
    one = batch(2)
    two = {name: np.concatenate([x, x]) for name, x in one.items()}
    # Noise differs between the copies; without any effect of it they cost the same.
    model.generator.stem.kernel.assign(0 * model.generator.stem.kernel)
    model.generator.noise_gain = 0.0
    for block in model.generator.blocks:
        block.noise_gain = 0.0
    first, second = (
        model.pretraining_terms(x, numbers(model, x, "pretraining")) for x in (one, two)
    )
    for name, value in first.items():
        assert float(value) == pytest.approx(float(second[name]), rel=1e-4), name
    assert float(first["kl"]) == 0.0


def test_pretraining_lowers_the_loss(model):
    real = batch()
    model.stage = PRETRAINING
    step = compiled_step(model)
    step.read_variables()
    losses = [float(step([real])["pretraining/loss"]) for _ in range(150)]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
