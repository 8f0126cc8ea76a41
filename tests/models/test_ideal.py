"""The ideal sampler: real charges through scale, quantile map, threshold and rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tiny_gan import generator, geometry

from kerasgen.data.hits import Hits, from_dense
from kerasgen.models.pxd_gan.algorithm import ALGORITHM
from kerasgen.models.pxd_gan.output import QUANTILE_MAP_SIZE
from kerasgen.models.pxd_gan.portable_sampling import PortableEventGenerator
from kerasgen.models.pxd_gan.sampling import EventGenerator
from kerasgen.models.sparse_vae.algorithm import ALGORITHM as POINTS

DETECTOR = geometry()
KINDS = pytest.mark.parametrize("kind", [EventGenerator, PortableEventGenerator])


def real_hits() -> Hits:
    """Two events of three sensors, each with every charge from 7 to 255 ADU."""
    images = np.zeros((6, DETECTOR.rows * DETECTOR.cols), np.uint16)
    images[:, : 256 - 7] = np.arange(7, 256)
    images = images.reshape(6, DETECTOR.rows, DETECTOR.cols)
    return from_dense(images, np.tile(np.arange(3), 2), np.repeat([4, 9], 3))


def made_by(kind: Any, *calibration: Any) -> Hits:
    size = DETECTOR.rows, DETECTOR.cols, DETECTOR.threshold, DETECTOR.max_charge
    sampler = ALGORITHM.ideal_sampler(kind(generator(DETECTOR), *size, *calibration))
    return sampler(real_hits())


@KINDS
def test_without_calibration_whole_charges_come_back(kind: Any) -> None:
    for name, want in vars(real_hits()).items():
        np.testing.assert_array_equal(getattr(made_by(kind), name), want, name)


@KINDS
def test_charges_take_the_quantile_map_of_their_sensor(kind: Any) -> None:
    quantile_map = np.full((3, QUANTILE_MAP_SIZE), 20, np.uint16)
    scale = (np.arange(QUANTILE_MAP_SIZE) + 0.5) / QUANTILE_MAP_SIZE  # of the logarithm
    quantile_map[1] = np.clip(np.rint(256**scale - 1), 7, 255)
    low = np.log(101) / np.log(256)
    quantile_map[2, scale < low] = 3  # below the threshold of 7 ADU, which calibration ignores
    quantile_map[2, scale < low / 2] = 0  # not a hit
    real = real_hits()
    made = made_by(kind, np.zeros(3, np.float32), quantile_map)
    sensor = made.sensor[made.image]
    assert set(made.adu[sensor == 0].tolist()) == {20}
    assert set(made.adu[sensor == 2].tolist()) == {3, 20}
    moved = made.adu[sensor == 1].astype(int) - np.tile(np.arange(7, 256), 2)
    assert np.abs(moved).max() <= 1
    # From about 9 ADU on; the dequantisation noise differs between the events.
    assert [n for n in made.counts.tolist() if n != 249] == pytest.approx([246, 246], abs=2)
    np.testing.assert_array_equal(made.event, real.event)


@KINDS
def test_equal_charges_get_the_noise_of_the_training(kind: Any) -> None:
    fine = np.tile(7 + np.arange(QUANTILE_MAP_SIZE, dtype=np.uint16) % 249, (3, 1))
    made, again = (made_by(kind, np.zeros(3, np.float32), fine).adu for _ in range(2))
    np.testing.assert_array_equal(made, again)
    first, second = np.split(made, 2)  # two events of the same charges
    assert (first != second).mean() > 0.3


def test_points_have_no_ideal_sampler() -> None:
    assert POINTS.ideal_sampler(None) is None
