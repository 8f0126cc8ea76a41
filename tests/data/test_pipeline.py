"""Training input: scale, dense images, and an order that depends on (seed, step) alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pixel_events import random_events, toy_geometry

from kerasgen.data.hits import to_dense
from kerasgen.data.pipeline import (
    ImageSampler,
    dequantisation_half_width,
    padded_size,
    to_log_scale,
)
from kerasgen.data.store import EventFile, EventWriter
from kerasgen.errors import InputError
from kerasgen.models.pxd_gan.output import to_adu

EVENTS = [50 + 3 * i for i in range(11)]
SENSORS = 3


@pytest.fixture
def file(tmp_path: Path) -> Iterator[EventFile]:
    geometry = toy_geometry(rows=30, cols=48)
    with EventWriter(tmp_path / "a.h5", geometry, "a test") as writer:
        writer.write(random_events(geometry, EVENTS))
    with EventFile(tmp_path / "a.h5") as opened:
        yield opened


def sampler(file: EventFile, **changes: object) -> ImageSampler:
    keys: dict = {"events": range(file.n_events), "batch": 4, "seed": 3, "crop": None}
    keys |= {"dequantise": False, "window_events": 4}
    return ImageSampler(file, **(keys | changes))


def test_scale_values() -> None:
    # a -> log(1 + a) / log(256) * 2 - 1: 0 -> -1, 15 -> 0, 255 -> 1; 6.5 and 7 ADU are known.
    x = to_log_scale(np.array([0, 15, 255, 6.5, 7]), 255)
    np.testing.assert_allclose(x, [-1, 0, 1, -0.2733, -0.25], atol=5e-5)


@given(st.sampled_from([255, 11810, 65535]), st.data())
def test_scale_round_trip(max_charge: int, data: st.DataObject) -> None:
    a = np.array(data.draw(st.lists(st.integers(0, max_charge), max_size=50)), np.int64)
    x = to_log_scale(a, max_charge)
    assert np.all((x >= -1) & (x <= 1 + 1e-12))
    np.testing.assert_array_equal(np.rint(to_adu(x, max_charge)), a)
    single = to_log_scale(a.astype(np.float32), max_charge)
    assert single.dtype == np.float32
    np.testing.assert_array_equal(np.rint(to_adu(single, max_charge)), a)


@pytest.mark.parametrize("max_charge", [255, 11810, 65535])
def test_dequantised_charges_round_back(max_charge: int) -> None:
    a = np.arange(1, max_charge + 1)
    for shift in (-1, 1):
        shifted = np.minimum(a + shift * dequantisation_half_width(max_charge), max_charge)
        x = to_log_scale(shifted, max_charge).astype(np.float32)
        np.testing.assert_array_equal(np.rint(to_adu(x, max_charge)), a)


def test_padded_size() -> None:
    assert [padded_size(n) for n in (250, 256, 768, 1)] == [256, 256, 768, 16]


def test_whole_images_are_the_stored_ones(file: EventFile) -> None:
    truth = to_log_scale(to_dense(file.read_events(0, file.n_events), file.geometry), 300)
    batch = sampler(file).batch_at(2)
    assert batch["image"].shape == (4, 32, 48, 1)
    assert batch["image"].dtype == np.float32
    for image, event, sensor in zip(batch["image"], batch["event"], batch["sensor"], strict=True):
        expected = truth[EVENTS.index(event) * SENSORS + sensor]
        np.testing.assert_allclose(image[:30, :, 0], expected, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(image[30:], -1)
        np.testing.assert_array_equal(image[:30, :, 0] == -1, expected == -1)
    np.testing.assert_array_equal(batch["origin"], 0)


def test_crops_are_windows_of_the_padded_image(file: EventFile) -> None:
    whole, crops = sampler(file), sampler(file, crop=(8, 16))
    corners = set()
    for step in range(60):
        full, part = whole.batch_at(step), crops.batch_at(step)
        np.testing.assert_array_equal(full["event"], part["event"])
        for i, (row, col) in enumerate(part["origin"]):
            expected = full["image"][i, row : row + 8, col : col + 16]
            np.testing.assert_array_equal(part["image"][i], expected)
            corners.add((int(row), int(col)))
    # Every multiple of 4 where 8 x 16 fits into 32 x 48, and no other.
    assert corners <= {(r, c) for r in range(0, 25, 4) for c in range(0, 33, 4)}
    assert {r for r, _ in corners} == set(range(0, 25, 4))
    assert {c for _, c in corners} == set(range(0, 33, 4))


def test_each_image_once_per_epoch(file: EventFile) -> None:
    # 33 images and batches of 4: batches hold the end of one epoch and the start of the next.
    source = sampler(file)
    sampled = [
        (int(e), int(s))
        for step in range(33)
        for e, s in zip(*(source.batch_at(step)[k] for k in ("event", "sensor")), strict=True)
    ]
    everything = Counter((e, s) for e in EVENTS for s in range(SENSORS))
    epochs = [sampled[33 * i : 33 * (i + 1)] for i in range(4)]
    assert all(Counter(epoch) == everything for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_only_the_given_events(file: EventFile) -> None:
    source = sampler(file, events=range(2, 9, 3))
    sampled = {int(e) for step in range(5) for e in source.batch_at(step)["event"]}
    assert sampled == {EVENTS[i] for i in (2, 5, 8)}


@settings(max_examples=20)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=4))
def test_batch_is_a_function_of_seed_and_step(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int]
) -> None:
    path = tmp_path_factory.getbasetemp() / "order.h5"
    geometry = toy_geometry()
    if not path.exists():
        with EventWriter(path, geometry, "a test") as writer:
            writer.write(random_events(geometry, EVENTS))
    with EventFile(path) as opened:
        used = sampler(opened, crop=(8, 8), dequantise=True)
        for step in steps:
            fresh = sampler(opened, crop=(8, 8), dequantise=True)
            a, b = used.batch_at(step), fresh.batch_at(step)
            assert all(np.array_equal(a[k], b[k]) for k in a)
            other = sampler(opened, crop=(8, 8), dequantise=True, seed=4).batch_at(step)
            assert not np.array_equal(a["image"], other["image"])


def test_at_most_two_windows_in_memory(file: EventFile) -> None:
    source = sampler(file, batch=20, window_events=1)
    source.batch_at(0)
    assert len(source._windows) == 2


def test_dequantised_images(file: EventFile) -> None:
    plain, noisy = sampler(file).batch_at(1), sampler(file, dequantise=True).batch_at(1)
    np.testing.assert_array_equal(noisy["image"] == -1, plain["image"] == -1)
    assert noisy["image"].max() <= 1
    a, b = (np.array(to_adu(x["image"].astype(float), 300)) for x in (plain, noisy))
    np.testing.assert_array_equal(np.rint(b), np.rint(a))
    fired = a > 1
    shift = (b - a)[fired & (a < 299)]
    # Uniform over one ADU: mean 0 and variance 1/12 within four standard errors.
    assert abs(shift.mean()) < 4 / np.sqrt(12 * len(shift))
    assert abs(shift.var() - 1 / 12) < 4 / np.sqrt(180 * len(shift))


def test_one_channel_per_background_type(file: EventFile) -> None:
    one, three = sampler(file).batch_at(0), sampler(file, channels=(1, 3, 2)).batch_at(0)
    assert three["image"].shape == (4, 32, 48, 3)
    fired = three["image"] > -1
    assert fired.sum(-1).max() == 1
    hits = file.read_events(0, file.n_events)
    for i in range(4):
        image = EVENTS.index(one["event"][i]) * SENSORS + one["sensor"][i]
        part = hits.take(np.array([image]))
        for channel, hit_type in enumerate((1, 3, 2)):
            own = part.type == hit_type
            pixels = np.argwhere(fired[i, :, :, channel])
            np.testing.assert_array_equal(pixels, np.stack([part.row[own], part.col[own]], 1))
    some = fired.any(-1)
    np.testing.assert_array_equal(three["image"].max(-1)[some], one["image"][some][:, 0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"events": range(0)}, "not in the file"),
        ({"events": range(5, 12)}, r"events 5\.\.11 are not in the file, .* 0\.\.10"),
        ({"crop": (8, 64)}, "crop 8 x 64 does not fit into the padded image 32 x 48"),
        ({"batch": 0}, "batch"),
        ({"seed": -1}, "seed"),
        ({"channels": (1, 1)}, "each once"),
        ({"channels": (256,)}, r"0\.\.255"),
    ],
)
def test_bad_settings(file: EventFile, changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        sampler(file, **changes)
