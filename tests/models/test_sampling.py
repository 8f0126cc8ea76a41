"""Seeds, clipping, hit lists, and the independence of rows."""

from __future__ import annotations

from itertools import product
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from tiny_gan import generator, geometry

from kerasgen.backend.engine import normal
from kerasgen.layers.residual import depth_to_space
from kerasgen.models.pxd_gan import sampling
from kerasgen.models.pxd_gan.image_logits import image_logits
from kerasgen.models.pxd_gan.output import (
    QUANTILE_MAP_SIZE,
    HitmapGenerator,
    quantile_map_index,
)
from kerasgen.models.pxd_gan.sampling import (
    STREAMS,
    EventGenerator,
    image_seed,
    pixel_positions,
)


class Planes(HitmapGenerator):
    """Stands in for a network: logit and charge of every pixel are given."""

    latent_size = 1
    output_variant = "gated"
    image = 4, 6

    def __init__(self, logit: Any, charge: Any) -> None:
        super().__init__()
        self.logit, self.charge = np.float32(logit)[None], np.float32(charge)[None]
        self.image_channels = self.logit.shape[-1]
        self.embedding = type("Embedding", (), {"entries": 2})

    def noise_shape(self, size: tuple[int, int]) -> tuple[int, int, int]:
        return *size, 1

    def distribution(self, sensor: Any, latent: Any, noise: Any, origin: Any) -> Any:
        return tf.constant(self.logit), tf.constant(self.charge)

    def sample_charge(self, charge: Any, numbers: Any) -> Any:
        return charge[0]

    def image_logits(self, sensor: Any, latent: Any, seed: Any) -> Any:
        noise = normal(seed, [1, *self.noise_shape(self.image)])
        logit, *charge = self.distribution(sensor, latent, noise, ops.zeros([1, 2], "int32"))
        return logit[0], lambda cell: [tf.gather_nd(x[0], cell) for x in charge]


@pytest.fixture(autouse=True)
def logits_of_planes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph folds the layers of real networks; given planes have none."""

    def logits(network: Any, *inputs: Any) -> Any:
        if isinstance(network, Planes):
            return network.image_logits(*inputs)
        return image_logits(network, *inputs)

    monkeypatch.setattr(sampling, "image_logits", logits)


def planes(channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Nothing fires, charge in the middle: [4, 6, C], of which [3, 5] is the sensor."""
    shape = 4, 6, channels
    return np.full(shape, -1.0), np.zeros(shape)


def call(events: EventGenerator, sensor: list[int], what: str) -> dict[str, np.ndarray]:
    seed = np.tile(np.array([1, 2], np.int64), (len(sensor), 1))
    found = getattr(events, what)(np.array(sensor, np.int32), seed)
    return {name: x.numpy() for name, x in found.items()}


def test_streams_of_one_run_seed_never_meet() -> None:
    """(event, sensor, stream) of a run, with the seeds and events where mixing has fixed points."""
    for run_seed in (0, 1, 2**63 - 1):
        found = {
            tuple(image_seed(s, tf.constant([run_seed, e], tf.int64), k).numpy())
            for e, s, k in product((0, 1, 2, 2**62), range(40), range(2))
        }
        assert len(found) == 4 * 40 * 2
    assert STREAMS >= 2


def test_neighbouring_seeds_do_not_meet_either() -> None:
    """Seed, event and sensor are not exchangeable: (1, 2), (2, 1), (3, 0) and so on all differ."""
    found = {
        tuple(image_seed(s, tf.constant([a, b], tf.int64), 0).numpy())
        for a, b, s in product(range(12), range(12), range(3))
    }
    assert len(found) == 12 * 12 * 3


def test_latent_and_noise_of_event_0_of_seed_0_are_independent() -> None:
    """0 is a fixed point of the mixing: without an offset both streams start alike there."""
    seen: dict[str, Any] = {}

    class Watching(Planes):
        latent_size = 24

        def distribution(self, sensor: Any, latent: Any, noise: Any, origin: Any) -> Any:
            seen["latent"], seen["noise"] = latent, noise
            return super().distribution(sensor, latent, noise, origin)

    events = EventGenerator(Watching(*planes()), 3, 5, 7, 255)
    events.pixels_above.python_function(tf.constant(0), tf.constant([0, 0], tf.int64), 0.0)
    assert not np.intersect1d(seen["latent"].numpy(), seen["noise"].numpy()).size


def test_charges_without_calibration_are_rounded_thresholded_and_clipped() -> None:
    logit, charge = planes()

    def normalised(adu: float) -> float:
        return 2 * np.log1p(adu) / np.log(256) - 1

    logit[0, :4] = 1.0
    charge[0, :4, 0] = [normalised(6.4), normalised(6.6), normalised(100.2), 1.0]
    logit[1, 0], charge[1, 0] = -0.1, normalised(50)  # the gate is closed
    logit[3, 5] = 1.0  # outside the sensor
    found = call(EventGenerator(Planes(logit, charge), 3, 5, 7, 255), [0, 1], "dense")
    expected = np.zeros((3, 5))
    expected[0, 1:4] = 7, 100, 255
    np.testing.assert_array_equal(found["adu"], [expected, expected])
    assert found["adu"].dtype == np.uint8


def test_calibration_decides_what_fires_and_with_which_charge() -> None:
    logit, charge = planes()
    logit[0, 0], charge[0, 0] = 0.5, -1.0  # closed at sensor 1, whose threshold is 0.5
    logit[2, 4], charge[2, 4] = 0.6, 1.0
    quantile_map = np.stack(
        [np.linspace(7, 200, QUANTILE_MAP_SIZE), np.linspace(9, 255, QUANTILE_MAP_SIZE)]
    )
    threshold = np.array([0.4, 0.5])
    events = EventGenerator(
        Planes(logit, charge), 3, 5, 7, 255, threshold, quantile_map.astype(np.uint16)
    )
    found = call(events, [0, 1], "dense")["adu"]
    assert found[0, 0, 0] == 7
    assert found[0, 2, 4] == 200
    assert found[1, 2, 4] == 255
    assert np.count_nonzero(found[0]) == 2
    assert np.count_nonzero(found[1]) == 1


def test_digits_are_the_dense_image() -> None:
    rng = np.random.default_rng(0)
    logit, charge = rng.normal(size=(4, 6, 1)), rng.uniform(0, 1, (4, 6, 1))
    events = EventGenerator(Planes(logit, charge), 3, 5, 7, 255)
    dense, digits = call(events, [1, 0], "dense")["adu"], call(events, [1, 0], "digits")
    for image, count, hits in zip(dense, digits["count"], digits["hits"], strict=True):
        row, col = np.nonzero(image)
        assert count == len(row) > 0
        np.testing.assert_array_equal(hits[:count].T, [row, col, image[row, col]])
        assert (hits[count:] == -1).all()
    assert digits["hits"].dtype == np.int16


def test_a_wrong_sensor_is_answered_in_its_own_row() -> None:
    logit, charge = planes()
    logit[0, 0] = 1.0
    events = EventGenerator(Planes(logit, charge), 3, 5, 7, 255)
    sensors = [0, 2, -1, 1]  # there are 0 and 1
    dense, digits = call(events, sensors, "dense"), call(events, sensors, "digits")
    np.testing.assert_array_equal(dense["status"], [0, 1, 1, 0])
    assert not dense["adu"][1:3].any()
    np.testing.assert_array_equal(digits["count"], [1, -1, -1, 1])
    assert (digits["hits"][1:3] == -1).all()
    np.testing.assert_array_equal(digits["hits"][0], digits["hits"][3])


def test_no_rows_give_no_rows() -> None:
    events = EventGenerator(Planes(*planes()), 3, 5, 7, 255)
    empty = np.zeros(0, np.int32), np.zeros((0, 2), np.int64)
    assert events.dense(*empty)["adu"].shape == (0, 3, 5)
    assert events.digits(*empty)["hits"].shape == (0, 0, 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="equally many rows"):
        events.digits(np.zeros(2, np.int32), np.zeros((3, 2), np.int64))


def test_channels_are_background_types() -> None:
    """A pixel that fires in two channels is one hit: summed, clipped, of the larger one's type."""
    logit, charge = planes(2)
    quantile_map = np.tile(np.linspace(7, 255, QUANTILE_MAP_SIZE).round(), (2, 1)).astype(np.uint16)
    logit[0, 0, 0] = logit[0, 1, 1] = 1.0
    logit[1, 1] = logit[2, 2] = 1.0
    charge[1, 1] = [-0.9, -0.5]
    charge[2, 2] = [1.0, 0.9]
    generator = Planes(logit, charge)
    events = EventGenerator(generator, 3, 5, 7, 255, np.zeros(2), quantile_map, types=(3, 5))
    dense, digits = call(events, [0], "dense"), call(events, [0], "digits")
    channels = np.asarray(events.images(np.zeros(1, np.int32), np.zeros((1, 2), np.int64)))[0]
    assert channels.shape == (3, 5, 2)
    assert digits["hits"].shape == (1, 4, 3)
    row, col, adu = digits["hits"][0].T
    np.testing.assert_array_equal(np.stack([row, col]), [[0, 0, 1, 2], [0, 1, 1, 2]])
    expected = [channels[0, 0, 0], channels[0, 1, 1], channels[1, 1].sum(), 255]
    np.testing.assert_array_equal(adu, expected)
    assert channels[2, 2].astype(int).sum() > 255
    np.testing.assert_array_equal(digits["type"], [[3, 5, 5, 3]])
    for name, values in (("adu", adu), ("type", digits["type"][0])):
        image = np.zeros((3, 5))
        image[row, col] = values
        np.testing.assert_array_equal(dense[name][0], image)
        assert dense[name].dtype == np.uint8


def test_charges_above_a_byte_take_two() -> None:
    logit, charge = planes()
    logit[0, 0], charge[0, 0] = 1.0, 1.0
    for max_charge, dense, digits in ((11810, np.uint16, np.int16), (40000, np.uint16, np.int32)):
        events = EventGenerator(Planes(logit, charge), 3, 5, 7, max_charge)
        image, hits = call(events, [0], "dense")["adu"], call(events, [0], "digits")["hits"]
        assert (image.dtype, hits.dtype) == (dense, digits)
        assert image.max() == hits.max() == max_charge


def test_tanh_output_fires_half_an_adu_below_threshold() -> None:
    class Tanh(Planes):
        output_variant = "tanh"

    charge = 2 * np.log1p(np.linspace(5, 8, 24).reshape(4, 6, 1)) / np.log(256) - 1
    found = call(EventGenerator(Tanh(charge, charge), 4, 6, 7, 255), [0], "dense")["adu"][0]
    expected = np.linspace(5, 8, 24).reshape(4, 6)
    np.testing.assert_array_equal(found, np.where(expected > 6.5, np.round(expected), 0))


@pytest.mark.parametrize(("side", "channels"), [(1, 1), (2, 1), (4, 2)])
def test_numbers_of_cells_have_the_positions_of_the_pixels(side: int, channels: int) -> None:
    cells = np.arange(3 * 5 * side**2 * channels).reshape(1, 3, 5, -1)
    image = depth_to_space(tf.constant(cells), side).numpy()[0]
    where = np.argwhere(cells[0] >= 0)
    row, col, channel = pixel_positions(tf.constant(where), side, cells.shape[-1]).numpy().T
    np.testing.assert_array_equal(image[row, col, channel], cells[0][tuple(where.T)])


def test_a_pixel_keeps_its_charge_whatever_else_fires() -> None:
    """Charges are sampled for fired pixels only, and calibration changes which pixels fire."""
    keras.utils.set_random_seed(1)
    network = generator(geometry(30, 90))
    events = EventGenerator(network, 30, 90, 7, 255)
    arguments = np.int32(1), np.array([3, 4])
    everything, few = (
        events.pixels_above(*arguments, np.float32(threshold)) for threshold in (-np.inf, 0.1)
    )
    assert 0 < len(few[1]) < len(everything[1]) == 30 * 90
    charges = dict(zip(map(tuple, everything[0].numpy()), everything[2].numpy(), strict=True))
    for position, charge in zip(few[0].numpy(), few[2].numpy(), strict=True):
        assert charges[tuple(position)] == pytest.approx(charge, abs=1e-6)


def test_a_higher_threshold_keeps_the_logits_above_it() -> None:
    keras.utils.set_random_seed(1)
    events = EventGenerator(generator(geometry(30, 90)), 30, 90, 7, 255)
    arguments = np.int32(1), np.array([3, 4])
    position, logit, _ = (x.numpy() for x in events.pixels_above(*arguments, np.float32(-np.inf)))
    for threshold in np.float32([-0.2, -0.05, 0, 0.05]):
        found, left, _ = (x.numpy() for x in events.pixels_above(*arguments, threshold))
        assert 0 < len(left) < len(logit)
        np.testing.assert_array_equal(found, position[logit > threshold])
        np.testing.assert_array_equal(left, logit[logit > threshold])


def test_quantile_map_indices_cover_the_scale() -> None:
    charges = np.float32([-1.5, -1, 0, 1, 1.5])
    expected = [0, 0, QUANTILE_MAP_SIZE // 2, QUANTILE_MAP_SIZE - 1, QUANTILE_MAP_SIZE - 1]
    np.testing.assert_array_equal(quantile_map_index(charges), expected)
