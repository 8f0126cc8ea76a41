"""Statistics measured on a generator's own output."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_gan import CHARGE_THRESHOLD, generator, geometry, inputs

from kerasgen.backend.random_numbers import image_inputs, key_of
from kerasgen.layers.conditional_batch_norm import ConditionalBatchNormalization
from kerasgen.models.pxd_gan.position import POSITION_GAIN
from kerasgen.models.pxd_gan.statistics import (
    BATCH,
    PreciseStatistics,
    balanced_sensors,
    initialise_output,
)

SIZE = (32, 96)
OCCUPANCY = np.array([0.02, 0.05, 0.2])


@pytest.fixture(scope="module")
def built() -> tuple[keras.Model, list[np.ndarray]]:
    """A generator whose head depends on the sensor, and its weights."""
    keras.utils.set_random_seed(2)
    network = generator(geometry(*SIZE))
    shift = 0.3 * np.random.default_rng(0).normal(size=(7, 2))
    shift[4:] = 0.0  # the latent vector has no effect: a few images then show the mean
    network.norm.shift.kernel.assign(shift)
    # Pixels of a cell start equal, and groups that tie at the threshold fire or not by a rounding.
    head = network.head.kernel
    head.assign(head + 0.01 * np.random.default_rng(1).normal(size=head.shape))
    return network, [w.numpy() for w in network.weights]


@pytest.fixture
def network(built) -> keras.Model:
    """The generator as it was built."""
    for weight, value in zip(built[0].weights, built[1], strict=True):
        weight.assign(value)
    return built[0]


def fired_fraction(network: keras.Model, images: int = 64) -> np.ndarray:
    """Fraction of pixels with a charge above threshold, [sensors], with new random numbers."""
    fractions = []
    for sensor in range(len(OCCUPANCY)):
        image, _ = network(*inputs(network, [sensor] * images, SIZE, seed=99 + sensor))
        fractions.append(np.mean(image.numpy() > CHARGE_THRESHOLD))
    return np.array(fractions)


def precise(network: keras.Model, size: tuple[int, int] = SIZE) -> PreciseStatistics:
    return PreciseStatistics(network, OCCUPANCY, CHARGE_THRESHOLD, seed=5, size=size)


def test_generated_occupancy_is_that_of_the_data(network):
    assert np.abs(fired_fraction(network) / OCCUPANCY - 1).max() > 0.5
    precise(network).set(96)
    np.testing.assert_allclose(fired_fraction(network), OCCUPANCY, rtol=0.15)


def images_of_fit(network: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    """Sensors of the images of ``set(12)``, where all three share each batch, and the images."""
    rows, images = np.array([0, 1, 2, 0], np.int32), []
    for part in range(3):
        seed = key_of(5, np.int32(0), "statistics", part + 1)
        latent, noise = image_inputs(seed, network, SIZE, 4)
        image, _ = network(rows, latent, noise, tf.zeros([4, 2], tf.int32))
        images.append(image.numpy())
    return np.tile(rows, 3), np.concatenate(images)


def test_occupancy_is_exact_on_the_images_of_the_fit(network):
    precise(network).set(12)
    rows, images = images_of_fit(network)
    for sensor, expected in enumerate(OCCUPANCY):
        fired = images[rows == sensor] > CHARGE_THRESHOLD
        assert np.sum(fired) == pytest.approx(expected * fired.size, abs=3)  # roundings


def test_occupancy_is_that_of_the_sensor_not_of_the_padding(network):
    rows, cols = SIZE[0] - 4, SIZE[1] - 8
    precise(network, (rows, cols)).set(12)
    sensor, images = images_of_fit(network)
    fired = images[sensor == 1] > CHARGE_THRESHOLD
    assert np.sum(fired[:, :rows, :cols]) == pytest.approx(OCCUPANCY[1] * fired.size, abs=3)


def test_images_of_one_sensor_all_count(network):
    """No image is generated in vain for a detector of few sensors."""
    statistics = PreciseStatistics(network, OCCUPANCY[:1], CHARGE_THRESHOLD, 5, SIZE)
    calls = []
    logits = statistics.logits

    class Counted:
        read_variables, write_variables = logits.read_variables, logits.write_variables

        def __call__(self, *inputs):
            calls.append(inputs)
            return logits(*inputs)

    statistics.logits = Counted()
    statistics.set_firing_threshold(8)
    assert len(calls) == 8 / BATCH


def test_precise_statistics_are_a_fixed_point(network):
    statistics = precise(network)
    statistics.set(4)
    first = [w.numpy() for w in network.weights]
    statistics.set(4)
    for weight, old in zip(network.weights, first, strict=True):
        np.testing.assert_allclose(weight, old, atol=1e-5, err_msg=weight.path)


def test_statistics_are_those_of_the_present_weights(network):
    """Also where they were compiled for earlier ones, as in an evaluation after the first."""
    statistics = precise(network)
    statistics.set(4)
    before = network.firing_threshold.numpy()
    network.head.kernel.assign(1.5 * network.head.kernel)
    statistics.set(4)
    found = [w.numpy() for w in network.weights]
    assert np.abs(network.firing_threshold.numpy() - before).min() > 1e-3
    precise(network).set(4)
    for weight, again in zip(network.weights, found, strict=True):
        np.testing.assert_allclose(weight, again, atol=1e-5, err_msg=weight.path)


def test_moving_statistics_are_the_moments_of_the_generated_maps(network):
    """Tested at the first normalisation: its input is the output of the stem."""
    precise(network).set_batch_norm()
    sensors = balanced_sensors(3, 16 * BATCH)
    seen = []
    for k in range(len(sensors) // BATCH):
        _, noise = image_inputs(key_of(5, k, "statistics"), network, SIZE, BATCH)
        seen.append(stem_output(network, noise))
    seen = np.stack(seen)  # [batches, B, h, w, C]
    norm = network.blocks[0].norms[0]
    np.testing.assert_allclose(norm.moving_mean, seen.mean((0, 1, 2, 3)), atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, seen.var((0, 1, 2, 3)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("sensors", [1, 3, 6, 40])
def test_every_sensor_counts_the_same_in_the_statistics(sensors):
    rows = balanced_sensors(sensors, 64)
    assert len(rows) >= 64
    assert len(rows) % BATCH == 0
    assert len(set(np.bincount(rows, minlength=sensors))) == 1


def stem_output(network: keras.Model, noise: tf.Tensor) -> np.ndarray:
    """[B, h, w, C]: output of the stem for noise and position."""
    height, width = noise.shape[1:3]
    u, v = (2 * (np.arange(n) + 0.5) / n - 1 for n in (height, width))
    where = POSITION_GAIN * np.stack(np.broadcast_arrays(u[:, None], v[None, :]), -1).astype(
        "float32"
    )
    where = np.broadcast_to(where, (len(noise), height, width, 2))
    x = np.concatenate([noise[..., : network.noise_channels], where], -1)
    return network.stem(tf.constant(x)).numpy()


def test_precise_statistics_keep_trained_weights_and_momentum(network):
    before = {w.path: w.numpy() for w in network.trainable_variables}
    precise(network).set(4)
    for weight in network.trainable_variables:
        np.testing.assert_array_equal(weight, before[weight.path])
    norms = [x for x in network._flatten_layers() if isinstance(x, ConditionalBatchNormalization)]
    assert {norm.momentum for norm in norms} == {0.99}
    assert all(np.abs(norm.moving_mean.numpy()).max() > 0 for norm in norms)


def test_start_is_the_occupancy_and_median_charge_of_the_data(network):
    initialise_output(network, OCCUPANCY, median_charge=0.1, seed=5)
    image, _ = network(*inputs(network, [0, 1, 2] * 4, SIZE))
    fired = image.numpy()[image.numpy() > -1]
    assert fired.size / image.numpy().size == pytest.approx(OCCUPANCY.mean(), rel=0.3)
    # With a zero kernel only the biases of the head count.
    network.head.kernel.assign(0 * network.head.kernel)
    mean = network.distribution(*inputs(network, [0], SIZE))[2].numpy()
    charge = -0.5 + 1.5 / (1 + np.exp(-mean.mean(-1)))
    np.testing.assert_allclose(charge, 0.1, atol=1e-6)
    np.testing.assert_allclose(np.diff(mean), 1, atol=1e-6)


def test_one_charge_for_a_pixel_starts_at_the_median():
    deep = generator(geometry(64, 64), "biggan_deep")
    initialise_output(deep, OCCUPANCY, median_charge=0.1, seed=5)
    deep.head.kernel.assign(0 * deep.head.kernel)
    charge = deep.distribution(*inputs(deep, [0], (64, 64)))[1]
    np.testing.assert_allclose(-0.5 + 1.5 / (1 + np.exp(-charge)), 0.1, atol=1e-6)


def test_tanh_output_has_no_firing_threshold():
    network = generator(geometry(), output="tanh")
    precise(network).set(4)
    initialise_output(network, OCCUPANCY, 0.1, seed=5)
    np.testing.assert_array_equal(network.firing_threshold, [0, 0, 0])
