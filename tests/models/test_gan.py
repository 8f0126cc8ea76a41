"""The training algorithm: which step and which term changes which network."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tiny_gan import (
    CHARGE_THRESHOLD,
    LOSS,
    SENSORS,
    batch,
    changed,
    gan,
    numbers,
    train_step,
    weights,
)

from kerasgen.backend.engine import CompiledStep
from kerasgen.layers.spectral import power_iteration
from kerasgen.losses.consistency import shift_images
from kerasgen.losses.orthogonal import orthogonal
from kerasgen.models.pxd_gan import gan as algorithm
from kerasgen.models.pxd_gan.gan import regularised_layers
from kerasgen.training.trainer import compiled_step

OFF = replace(
    LOSS, contrastive=0.0, consistency=0.0, pixel_aware=0.0, orthogonal=0.0, occupancy=0.0
)


def variables(model) -> list:
    """All variables that a step can change, including the optimisers'."""
    optimizers = model.generator_optimizer, model.discriminator_optimizer
    return [*model.weights, *(v for o in optimizers for v in o.variables)]


@pytest.fixture(scope="module")
def built():
    """The GAN, built once because that takes seconds, and its initial values."""
    model = gan()
    return model, [v.numpy() for v in variables(model)]


@pytest.fixture
def model(built):
    """The GAN as it was built."""
    restore(*built)
    return built[0]


def restore(model, start: list[np.ndarray]) -> None:
    """Reset all values."""
    for variable, value in zip(variables(model), start, strict=True):
        variable.assign(value)
    model.settings = LOSS
    model.seed = 11
    model.iterations.assign(0)
    model.data_occupancy = np.full(SENSORS, 0.1, np.float32)


def is_statistic(path: str) -> bool:
    """The moving mean and variance of a normalisation, which every training pass updates."""
    return path.endswith(("/mean", "/variance"))


def test_generator_step_changes_only_the_generator(model):
    real = batch()
    networks = model.generator, model.discriminator, model.ema
    before = [weights(n) for n in networks]
    model.generator_step(real, numbers(model, real, "generator"))
    altered = changed(before[0], model.generator)
    trainable = {w.path for w in model.generator.trainable_variables}
    kernels = {p for p in trainable if p.endswith("/kernel")}
    # The condition maps start at zero: the embedding before them learns from the second step on.
    assert {p.split("/")[-2] for p in kernels - altered} == {"sensor_embedding"}
    assert any(p.endswith("/u") for p in altered)
    assert any(p.endswith("/firing_threshold") for p in altered)
    model.generator_step(real, numbers(model, real, "generator", step=1))
    assert kernels <= changed(before[0], model.generator)
    assert changed(before[1], model.discriminator) == set()  # the singular vectors too
    assert changed(before[2], model.ema) == set()


def test_discriminator_step_changes_only_the_discriminator(model):
    real = batch()
    networks = model.generator, model.discriminator, model.ema
    before = [weights(n) for n in networks]
    model.discriminator_step(real, numbers(model, real))
    altered = changed(before[1], model.discriminator)
    trainable = {w.path for w in model.discriminator.trainable_variables}
    assert {p for p in trainable if p.endswith("kernel")} <= altered
    assert any(p.endswith("/u") for p in altered)
    # Generating images updates the generator's normalisation statistics, as every pass does.
    assert {p for p in changed(before[0], model.generator) if not is_statistic(p)} == set()
    assert changed(before[2], model.ema) == set()


def test_ema_follows_its_formula_and_changes_nothing_else(model):
    real = batch()
    model.generator_step(real, numbers(model, real, "generator"))
    generator, ema = weights(model.generator), weights(model.ema)
    discriminator = weights(model.discriminator)
    model.update_ema()
    for old, weight, new in zip(ema.values(), generator.values(), model.ema.weights, strict=True):
        if not new.path.endswith("/u"):  # one power iteration later
            np.testing.assert_allclose(new, 0.9 * old + 0.1 * weight, rtol=1e-5, atol=1e-7)
    assert changed(ema, model.ema)
    assert changed(generator, model.generator) == set()
    assert changed(discriminator, model.discriminator) == set()


def test_train_step_runs_the_discriminator_n_d_times(model):
    model.settings = replace(LOSS, discriminator_steps=3)
    logs = train_step(model, *(batch(seed=k) for k in range(3)))
    assert int(model.discriminator_optimizer.iterations) == 3
    assert int(model.generator_optimizer.iterations) == int(model.step) == 1
    assert all(np.isfinite(float(x)) for x in logs.values())


def test_each_discriminator_step_has_its_own_images_and_numbers(model):
    model.settings = replace(LOSS, discriminator_steps=2)
    real = [batch(seed=0), batch(seed=1)]
    noise = model.noise(real)
    first, second = noise["discriminator"]
    for name in ("latent", "noise", "shift"):
        assert not np.array_equal(first[name], second[name]), name
    seen = []
    model.discriminator_step = lambda *x: seen.append(x) or {}
    try:
        model.train_step(real, noise)
    finally:
        del model.discriminator_step
    for (images, given), expected, drawn in zip(seen, real, (first, second), strict=True):
        assert images is expected
        assert given is drawn


def test_logs_name_every_term_and_their_sum(model):
    logs = train_step(model, batch())
    assert set(logs) == {
        *(f"discriminator/{x}" for x in ("adversarial", "contrastive", "consistency", "loss")),
        *(f"generator/{x}" for x in ("adversarial", "contrastive", "pixel_aware", "orthogonal")),
        "generator/loss",
    }
    for network in ("discriminator", "generator"):
        terms = [float(v) for k, v in logs.items() if k.startswith(network) and "loss" not in k]
        assert float(logs[f"{network}/loss"]) == pytest.approx(sum(terms), rel=1e-5)


def fake_images(model, real):
    return model.generate_images(real, numbers(model, real))


def norm(gradients) -> float:
    """Sum of |gradient| over all weights; None counts as zero."""
    return sum(float(tf.reduce_sum(tf.abs(g))) for g in gradients if g is not None)


def test_discriminator_terms_have_gradients_only_to_the_discriminator(model):
    real = batch()
    fake = fake_images(model, real)
    with tf.GradientTape(persistent=True) as tape:
        terms = model.discriminator_terms(real, fake, numbers(model, real)["shift"])
    assert set(terms) == {"adversarial", "contrastive", "consistency"}
    for term in terms.values():
        assert norm(tape.gradient(term, model.discriminator.trainable_variables)) > 1e-6
        none = tape.gradient(term, model.generator.trainable_variables)
        assert all(g is None for g in none)


def test_generator_terms_have_gradients_to_the_generator(model):
    real = batch()
    with tf.GradientTape(persistent=True) as tape:
        terms = model.generator_terms(real, fake_images(model, real))
    assert set(terms) == {"adversarial", "contrastive", "pixel_aware", "orthogonal"}
    for term in terms.values():
        assert norm(tape.gradient(term, model.generator.trainable_variables)) > 1e-7
    for name in ("pixel_aware", "orthogonal"):
        none = tape.gradient(terms[name], model.discriminator.trainable_variables)
        assert all(g is None for g in none)


def test_every_generator_weight_learns(model):
    """The condition maps start at zero and the gate is a step: still a gradient everywhere."""
    real = batch()
    with tf.GradientTape() as tape:
        loss = model.generator_terms(real, fake_images(model, real))["adversarial"]
    variables = model.generator.trainable_variables
    without = [
        w.path
        for w, g in zip(variables, tape.gradient(loss, variables), strict=True)
        if g is None or not norm([tf.convert_to_tensor(g)])
    ]
    # Only the embedding: its gradient passes through the condition maps, which are zero.
    assert {path.split("/")[-2] for path in without} <= {"sensor_embedding"}


def hand_written_discriminator_step(model, real) -> None:
    """The hinge loss and nothing else."""
    fake = fake_images(model, real)
    power_iteration(model.discriminator)
    variables = model.discriminator.trainable_variables
    with tf.GradientTape() as tape:
        logits = model.discriminator(
            tf.concat([real["image"], fake], 0),
            tf.tile(real["sensor"], [2]),
            tf.tile(real["origin"], [2, 1]),
        )[0]
        up, down = tf.split(logits, 2)
        loss = tf.reduce_mean(tf.nn.relu(1 - up)) + tf.reduce_mean(tf.nn.relu(1 + down))
    zero = tf.UnconnectedGradients.ZERO  # of the heads that this loss does not use
    gradients = tape.gradient(loss, [v.value for v in variables], unconnected_gradients=zero)
    model.discriminator_optimizer.apply(gradients, variables)


def hand_written_generator_step(model, real) -> None:
    power_iteration(model.generator)
    variables = model.generator.trainable_variables
    with tf.GradientTape() as tape:
        fake = model.generate_images(real, numbers(model, real, "generator"))
        loss = -tf.reduce_mean(model.discriminator(fake, real["sensor"], real["origin"])[0])
    model.generator_optimizer.apply(tape.gradient(loss, variables), variables)


def test_terms_that_are_off_contribute_nothing(built):
    """Weights after a step are those of a step that was written without these terms, bit by bit."""
    real = batch()
    model = built[0]

    def after(discriminator_step, generator_step, settings):
        restore(*built)
        model.settings = settings
        discriminator_step()
        generator_step()
        return weights(model.generator) | weights(model.discriminator)

    expected = after(
        lambda: hand_written_discriminator_step(model, real),
        lambda: hand_written_generator_step(model, real),
        OFF,
    )
    steps = (
        lambda: model.discriminator_step(real, numbers(model, real)),
        lambda: model.generator_step(real, numbers(model, real, "generator")),
    )
    off, full = (after(*steps, settings) for settings in (OFF, LOSS))
    assert [p for p in expected if off[p].tobytes() != expected[p].tobytes()] == []
    assert len([p for p in expected if full[p].tobytes() != expected[p].tobytes()]) > 20


TERMS = {
    "contrastive": "conditional_contrastive",
    "consistency": "consistency",
    "pixel_aware": "pixel_aware",
    "orthogonal": "orthogonal",
    "occupancy": "occupancy_ratio",
}


@pytest.mark.parametrize("term", TERMS)
def test_a_term_that_is_off_is_not_computed_and_not_logged(model, term: str, monkeypatch):
    def fail(*_):
        raise AssertionError(f"{term} was computed")

    monkeypatch.setattr(algorithm, TERMS[term], fail)
    model.settings = replace(LOSS, **{term: 0.0})
    logs = train_step(model, batch())
    assert [name for name in logs if term in name] == []
    model.settings = LOSS
    with pytest.raises(AssertionError, match="was computed"):
        train_step(model, batch())


def test_weights_multiply_the_terms(model):
    real = batch()
    _, embedding, proxy = model.discriminator(real["image"], real["sensor"], real["origin"])
    fake = fake_images(model, real)
    terms = model.generator_terms(real, fake)
    kernels = [x.kernel for x in regularised_layers(model.generator)]
    assert float(terms["orthogonal"]) == pytest.approx(0.01 * float(orthogonal(kernels)))
    below = np.where(fake < CHARGE_THRESHOLD, fake, -1.0)
    expected = 5.0 * np.mean((below + 1.0) ** 2)
    assert float(terms["pixel_aware"]) == pytest.approx(expected, rel=1e-5)
    discriminator = model.discriminator_terms(real, fake, numbers(model, real)["shift"])
    term = model.contrastive_term(embedding, proxy, real["sensor"])
    assert float(discriminator["contrastive"]) == pytest.approx(0.5 * float(term), rel=1e-4)


def test_contrastive_term_uses_real_images_for_the_discriminator_and_generated_for_the_generator(
    model,
):
    real = batch()
    other = real | {"image": batch(seed=1)["image"]}
    fakes = [model.generate_images(real, numbers(model, real, step=k)) for k in (0, 1)]
    shift = numbers(model, real)["shift"]

    def of_discriminator(images, fake) -> float:
        return float(model.discriminator_terms(images, fake, shift)["contrastive"])

    value = of_discriminator(real, fakes[0])
    assert of_discriminator(real, fakes[1]) == pytest.approx(value)
    assert abs(of_discriminator(other, fakes[0]) - value) > 1e-6
    value = float(model.generator_terms(real, fakes[0])["contrastive"])
    assert float(model.generator_terms(other, fakes[0])["contrastive"]) == pytest.approx(value)
    assert abs(float(model.generator_terms(real, fakes[1])["contrastive"]) - value) > 1e-6


def test_margin_variant_replaces_2c(model):
    real = batch()
    model.settings = replace(LOSS, contrastive_variant="margin")
    _, embedding, proxy = model.discriminator(real["image"], real["sensor"], real["origin"])
    margin = algorithm.margin_contrastive(embedding, proxy, real["sensor"], 1.0)
    assert float(model.contrastive_term(embedding, proxy, real["sensor"])) == float(margin)


def test_variants_of_the_adversarial_term(model):
    real = batch()
    fake = fake_images(model, real)
    up = model.discriminator(real["image"], real["sensor"], real["origin"])[0]
    down = model.discriminator(fake, real["sensor"], real["origin"])[0]
    expected = {
        "hinge": np.maximum(1 - up, 0).mean() + np.maximum(1 + down, 0).mean(),
        "wasserstein": np.mean(down) - np.mean(up),
        "relativistic": np.mean(np.log1p(np.exp(down - up))),
    }
    for variant, value in expected.items():
        model.settings = replace(OFF, adversarial=variant)
        term = model.discriminator_terms(real, fake, numbers(model, real)["shift"])["adversarial"]
        assert float(term) == pytest.approx(float(value), rel=1e-4, abs=1e-6)


def test_the_relativistic_generator_is_paired_with_the_real_images(model):
    real = batch()
    fake = fake_images(model, real)
    up, down = (
        model.discriminator(x, real["sensor"], real["origin"])[0] for x in (real["image"], fake)
    )
    model.settings = replace(OFF, adversarial="relativistic")
    term = model.generator_terms(real, fake)["adversarial"]
    assert float(term) == pytest.approx(np.mean(np.log1p(np.exp(up - down))), rel=1e-4)


def test_both_gradient_penalties_are_small_for_the_same_reason(model):
    real = batch()
    fake = fake_images(model, real)
    found = {}
    for variant in ("exact", "jitter"):
        model.settings = replace(
            LOSS, gradient_penalty=2.0, penalty_variant=variant, penalty_sigma=1e-3
        )
        terms = [
            model.penalty_terms(real, fake, numbers(model, real, step=k)["jitter"])["penalty"]
            for k in range(20)
        ]
        found[variant] = float(np.mean(terms))
    assert found["exact"] > 0
    # 160 squares of normal numbers
    assert found["jitter"] == pytest.approx(found["exact"], rel=5 * np.sqrt(2 / 160))
    model.settings = LOSS
    assert model.penalty_terms(real, fake, numbers(model, real)["jitter"]) == {}


def test_balanced_consistency_adds_the_generated_images(model):
    real = batch()
    fake = fake_images(model, real)
    model.settings = replace(LOSS, consistency_variant="balanced")
    shift = numbers(model, real)["shift"]
    assert shift.shape == (2, 4, 2)
    assert not np.array_equal(shift[0], shift[1])
    both = model.discriminator_terms(real, fake, shift)["consistency"]
    model.settings = LOSS
    parts = [
        float(model.discriminator_terms(real | {"image": image}, real["image"], s)["consistency"])
        for image, s in ((real["image"], shift[:1]), (fake, shift[1:]))
    ]
    assert min(parts) > 0
    assert float(both) == pytest.approx(sum(parts), rel=1e-3)


def test_shifts_are_whole_pixels_within_the_limit_and_differ_by_image(model):
    image = np.full((64, 16, 48, 1), -1.0, "float32")
    image[:, 8, 24] = 1.0
    shift = model.shifts({"image": image}, 0)
    assert shift.dtype == tf.int32
    shifted = shift_images(image, shift[0], LOSS.consistency_shift)
    positions = np.argwhere(shifted.numpy()[..., 0] == 1.0)[:, 1:] - [8, 24]
    assert len(positions) == 64
    assert positions.min() == -2
    assert positions.max() == 2
    assert len(np.unique(positions, axis=0)) > 15  # of 25


def test_orthogonal_regularisation_leaves_embeddings_out(model):
    paths = {x.kernel.path for x in regularised_layers(model.generator)}
    every = {w.path for w in model.generator.trainable_variables if w.path.endswith("/kernel")}
    assert {p.split("/")[-2] for p in every - paths} == {"sensor_embedding"}


def fired_images(fired_pixels: list[int]) -> tf.Tensor:
    """Images of 16 x 48 pixels with given numbers of fired pixels."""
    x = np.full((len(fired_pixels), 16 * 48), -1.0, "float32")
    for image, n in zip(x, fired_pixels, strict=True):
        image[:n] = 0.5
    return tf.constant(x.reshape(-1, 16, 48, 1))


def test_firing_threshold_follows_the_occupancy(model):
    """Expected are 76.8 fired pixels; rate 0.02; the excess is clipped at -1 and 1."""
    model.generator.firing_threshold.assign([0.5, 0.5, 0.5])
    model.update_firing_threshold(fired_images([96, 700]), tf.constant([0, 0]))
    # 96 / 76.8 - 1 = 0.25, 700 / 76.8 - 1 > 1 counts as 1
    np.testing.assert_allclose(
        model.generator.firing_threshold, [0.5 + 0.02 * 1.25, 0.5, 0.5], rtol=1e-5
    )
    model.update_firing_threshold(fired_images([0, 48]), tf.constant([1, 2]))
    expected = [0.5 + 0.02 * 1.25, 0.5 - 0.02, 0.5 + 0.02 * (48 / 76.8 - 1)]
    np.testing.assert_allclose(model.generator.firing_threshold, expected, rtol=1e-5)


def test_charge_below_threshold_is_not_a_hit(model):
    low = tf.fill([1, 16, 48, 1], CHARGE_THRESHOLD - 0.01)
    model.update_firing_threshold(low, tf.constant([1]))
    np.testing.assert_allclose(model.generator.firing_threshold, [0, -0.02, 0], rtol=1e-5)


def test_a_dead_sensor_does_not_end_the_training(model):
    model.data_occupancy = np.float32([0.0, 0.1, 0.1])
    model.update_firing_threshold(fired_images([0, 5]), tf.constant([0, 0]))
    np.testing.assert_allclose(model.generator.firing_threshold, [0.02, 0, 0], rtol=1e-5)


def test_a_compiled_step_computes_what_eager_computes_for_any_batch_size(model):
    def terms(real, noise):
        fake = model.generate_images(real, noise)
        of_discriminator = model.discriminator_terms(real, fake, noise["shift"])
        of_generator = model.generator_terms(real, fake)
        return list(of_discriminator.values()), list(of_generator.values())

    compiled = CompiledStep(terms, model.state)
    for images in (4, 6):
        real = batch(images)
        noise = numbers(model, real)
        compiled.read_variables()
        for eager, traced in zip(terms(real, noise), compiled(real, noise), strict=True):
            np.testing.assert_allclose(traced, eager, rtol=1e-3, atol=1e-5)


def test_a_compiled_training_is_that_of_eager(built):
    """With every variable of the state, the optimisers' too."""
    model, after = built[0], []
    for compile_step in (False, True):
        restore(*built)
        step = compiled_step(model) if compile_step else partial(train_step, model)
        if compile_step:
            step.read_variables()
        for k in range(2):
            step(*([[batch(seed=k)]] if compile_step else [batch(seed=k)]))
        if compile_step:
            step.write_variables()
        after.append([v.numpy() for v in variables(model)])
    for variable, eager, compiled in zip(variables(model), *after, strict=True):
        # A bias before a normalisation has no gradient but rounding errors, of which Adam makes
        # steps of its rate; a moving mean follows it.
        free = variable.path.endswith(("/bias", "/mean"))
        np.testing.assert_allclose(
            compiled, eager, rtol=1e-3, atol=4e-3 if free else 1e-4, err_msg=variable.path
        )


def test_the_state_is_every_variable_that_a_step_changes(model):
    names = {id(v) for v in model.state}
    assert {id(v) for v in variables(model)} <= names
    assert len(names) == len(model.state)


# Keras reads its variables in a way that numpy 2 deprecates.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_saved_training_continues_bit_by_bit(model, tmp_path: Path):
    """Both optimisers are restored; Keras would warn (an error here) where it skips one."""
    train_step(model, batch(seed=1))
    model.rate_scale.assign(0.25)
    path = tmp_path / "state.weights.h5"
    model.save_weights(path)
    again = gan(seed=8)
    again.load_weights(path)
    assert float(again.rate_scale) == 0.25
    assert int(again.step) == 1
    for m in (model, again):
        train_step(m, batch(seed=2))
    for ours, theirs in zip(variables(model), variables(again), strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy(), err_msg=ours.path)


def test_same_seed_same_weights_other_seed_other_weights(built):
    model = built[0]
    results = []
    for seed in (11, 11, 12):
        restore(*built)
        model.seed = seed
        train_step(model, batch())
        results.append(b"".join(v.numpy().tobytes() for v in variables(model)))
    assert results[0] == results[1] != results[2]


def test_optimisers_are_built_by_compile(model):
    for optimizer, network in (
        (model.generator_optimizer, model.generator),
        (model.discriminator_optimizer, model.discriminator),
    ):
        assert len(optimizer.variables) == 2 + 2 * len(network.trainable_variables)
