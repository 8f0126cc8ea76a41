"""Calibration against distributions whose quantiles are known, and against its own output."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_run import toy_geometry

from kerasgen.data.hits import Hits, from_dense
from kerasgen.errors import InputError
from kerasgen.models.pxd_gan.calibration import (
    charge_histograms,
    fit_calibration,
    fit_firing_threshold,
    fit_quantile_map,
    highest_logits,
)
from kerasgen.models.pxd_gan.inference import read_calibration
from kerasgen.models.pxd_gan.output import QUANTILE_MAP_SIZE
from kerasgen.models.pxd_gan.sampling import EventGenerator

GEOMETRY = toy_geometry()
SHAPE = GEOMETRY.rows, GEOMETRY.cols, 1


def stand_in(charges: Any, types: tuple[int, ...] = (0,)) -> EventGenerator:
    """A stand-in for a generator: normal logits, normalised charges from ``charges(rng)``."""

    def pixels_above(sensor: Any, seed: Any, threshold: Any) -> tuple[Any, Any, Any]:
        rng = np.random.default_rng([int(sensor), *np.asarray(seed).tolist()])
        logit = rng.normal(size=SHAPE).astype(np.float32)
        return selected(logit, np.float32(charges(rng)), threshold)

    return cast(EventGenerator, SimpleNamespace(pixels_above=pixels_above, types=types))


def selected(logit: Any, charge: Any, threshold: Any = -np.inf) -> tuple[Any, Any, Any]:
    """The result of ``EventGenerator.pixels_above`` for these pixels."""
    return np.argwhere(logit > threshold), logit[logit > threshold], charge[logit > threshold]


def uniform(rng: np.random.Generator) -> Any:
    return rng.uniform(-1, 1, SHAPE)


def data_events(occupancy: list[float], events: int, adu: Any = 50, seed: int = 0) -> Hits:
    """Events whose sensors have the given occupancies."""
    rng = np.random.default_rng(seed)
    shape = events, len(occupancy), GEOMETRY.rows, GEOMETRY.cols
    fired = rng.random(shape) < np.array(occupancy)[:, None, None]
    charge = adu(rng, shape) if callable(adu) else np.full(shape, adu)
    images = np.where(fired, charge, 0).reshape(-1, *shape[2:])
    sensors = np.tile(np.arange(len(occupancy)), events)
    return from_dense(images, sensors, np.repeat(np.arange(events), len(occupancy)))


def test_each_sensor_gets_the_occupancy_of_its_data() -> None:
    data = data_events([0.2, 0.01, 0.05], 30)
    generator = stand_in(uniform)
    threshold, _ = fit_calibration(generator, data, GEOMETRY, 25, 3)
    for s in range(3):
        fired = [
            len(generator.pixels_above(s, np.array([3, e]), threshold[s])[1]) for e in range(25)
        ]
        assert sum(fired) == round(data.counts[data.sensor == s].mean() * 25)


def test_uniform_charges_are_mapped_to_the_spectrum_of_the_data() -> None:
    """The quantile map is then the quantile function of the data itself."""
    data = data_events([0.3] * 3, 200, lambda rng, shape: rng.integers(7, 107, shape))
    _, quantile_map = fit_calibration(stand_in(uniform), data, GEOMETRY, 200, 0)
    expected = 7 + np.floor(np.arange(QUANTILE_MAP_SIZE) / QUANTILE_MAP_SIZE * 100)
    # 58 000 hits on both sides: 0.4 % of the range, 3 standard errors are below 1 ADU
    assert np.abs(quantile_map - expected).max() <= 2
    assert np.abs(quantile_map - expected).mean() < 0.5


def test_a_sensor_without_hits_never_fires() -> None:
    data = data_events([0.1, 0.0, 0.1], 10)
    threshold, quantile_map = fit_calibration(stand_in(uniform), data, GEOMETRY, 5, 0)
    assert threshold[1] == np.inf
    assert np.isfinite(threshold[[0, 2]]).all()
    assert (quantile_map[1] == GEOMETRY.threshold).all()


def test_only_types_of_the_recipe_count() -> None:
    data = data_events([0.1] * 3, 20)
    mixed = replace(data, type=np.arange(len(data.row), dtype=np.uint8) % 4 + 1)
    found = charge_histograms(mixed, GEOMETRY, (2, 3))
    assert found.sum() == np.isin(mixed.type, (2, 3)).sum()
    assert charge_histograms(mixed, GEOMETRY, (0,)).sum() == len(data.row)


def test_missing_sensor_and_no_events_are_bad_input() -> None:
    data = data_events([0.1] * 3, 3)
    some = data.take(np.flatnonzero(data.sensor != 1))
    with pytest.raises(InputError, match=r"every sensor, 1\.1\.2 has none"):
        fit_calibration(stand_in(uniform), some, GEOMETRY, 3, 0)
    with pytest.raises(InputError, match=r"calibration\.events = 0"):
        fit_calibration(stand_in(uniform), data, GEOMETRY, 0, 0)


def test_highest_scores_are_those_of_all_events_together() -> None:
    """Also where one event holds nearly all of them."""

    def pixels_above(sensor: Any, seed: Any, threshold: Any) -> tuple[Any, Any, Any]:
        rng = np.random.default_rng(int(seed[1]))
        logit = np.float32(rng.normal(5.0 if int(seed[1]) == 2 else 0.0, 1, SHAPE))
        return selected(logit, -logit, threshold)

    generator = cast(EventGenerator, SimpleNamespace(pixels_above=pixels_above))
    logits = np.concatenate([pixels_above(0, (1, e), -np.inf)[1] for e in range(6)])
    logit, charge = highest_logits(generator, 0, 500, 6, 1)
    np.testing.assert_array_equal(np.sort(logit), np.sort(logits)[-500:])
    np.testing.assert_array_equal(charge, -logit)


@given(st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=40, unique=True), st.data())
def test_the_threshold_fires_the_requested_number(logits: list[float], data: st.DataObject) -> None:
    fired = data.draw(st.integers(1, len(logits)))
    found = np.float32(logits)
    assert (found > fit_firing_threshold(found, fired)).sum() == fired


@given(
    st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=50),
    st.lists(st.integers(0, 20), min_size=249, max_size=249).filter(any),
)
def test_charges_rise_and_stay_inside_the_data(charge: list[float], counts: list[int]) -> None:
    histogram = np.array([0] * 7 + counts)
    quantile_map = fit_quantile_map(np.float32(charge), histogram, 7).astype(int)
    assert (np.diff(quantile_map) >= 0).all()
    assert quantile_map.min() >= 7
    assert quantile_map.max() <= np.flatnonzero(histogram).max()


def test_normalised_charges_of_the_data_keep_their_adu() -> None:
    """A step whose charges all lie inside one ADU is mapped to that ADU."""
    rng = np.random.default_rng(1)
    adu = np.clip(np.round(rng.exponential(15, 50000) + 7), 7, 120).astype(int)
    charge = np.float32(2 * np.log1p(adu) / np.log(256) - 1)
    quantile_map = fit_quantile_map(charge, np.bincount(adu, minlength=256), 7)
    step = np.clip(((charge + 1) * (QUANTILE_MAP_SIZE / 2)).astype(int), 0, QUANTILE_MAP_SIZE - 1)
    np.testing.assert_array_equal(quantile_map[step], adu)


def test_calibration_against_its_own_output_changes_only_roundings() -> None:
    """The same pixels fire; a charge differs by 1 ADU where a step covers parts of two ADU."""
    events = stand_in(lambda rng: rng.beta(2, 3, SHAPE) * 1.2 - 0.24)
    images, logits, charges = [], [], []
    for e, s in np.ndindex(20, 3):
        everything = events.pixels_above(s, np.array([0, e]), -np.inf)[1:]
        logit, charge = (x.reshape(GEOMETRY.rows, GEOMETRY.cols) for x in everything)
        adu = np.round(np.exp((charge + 1) * 0.5 * np.log(256)) - 1)
        images.append(np.where((logit > 1.2) & (adu >= 7), adu, 0).astype(int))
        logits.append(logit)
        charges.append(charge)
    sensor = np.tile(np.arange(3), 20)
    data = from_dense(np.array(images), sensor, np.repeat(np.arange(20), 3))
    threshold, quantile_map = fit_calibration(events, data, GEOMETRY, 20, 0)
    step = np.clip(
        ((np.array(charges) + 1) * (QUANTILE_MAP_SIZE / 2)).astype(int), 0, QUANTILE_MAP_SIZE - 1
    )
    fired = np.array(logits) > threshold[sensor][:, None, None]
    np.testing.assert_array_equal(fired, np.array(images) > 0)
    shift = np.abs(quantile_map[sensor[:, None, None], step].astype(int) - np.array(images))[fired]
    assert shift.max() <= 1
    assert shift.mean() < 0.1


@pytest.mark.parametrize("place", [8, 10, 30])  # method of compression, time, name of an array
def test_a_damaged_file_is_refused_in_a_line(place: int, tmp_path: Path) -> None:
    path = tmp_path / "calibration.npz"
    np.savez_compressed(path, threshold=np.zeros(3), quantile_map=np.zeros((3, 4)))
    content = path.read_bytes()
    directory = content.index(b"PK\1\2")
    damaged = bytearray(content)
    damaged[directory + 2 + place] ^= 0x5B
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="calibration"):
        read_calibration(path, GEOMETRY)
