"""Background types as image channels: statistics and metrics of the hits that are drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_run import CHANGES, geometry

from kerasgen.data.hits import from_dense
from kerasgen.data.pipeline import ImageSampler
from kerasgen.data.pixel_source import event_file
from kerasgen.data.store import EventWriter
from kerasgen.kinds.pixels import PIXELS
from kerasgen.models.pxd_gan.settings import Config
from kerasgen.models.pxd_gan.start import build_gan, data_statistics
from kerasgen.zoo.recipes import load_config

EVENTS = 8


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Hits of four types, type 2 twice as often as each other one and with more charge."""
    rng = np.random.default_rng(1)
    size = (EVENTS * 3, 30, 48)
    images = rng.integers(7, 60, size) * (rng.random(size) < 0.1)
    hits = from_dense(images, np.tile(np.arange(3), EVENTS), np.repeat(np.arange(EVENTS), 3))
    hits.type[:] = rng.choice([0, 1, 2, 2, 3], len(hits.type))
    hits.adu[hits.type == 2] += 100
    with EventWriter(tmp_path / "events.h5", geometry(), "tests") as writer:
        writer.write(hits)
    return tmp_path / "events.h5"


def config(path: Path, channels: list[int]) -> Config:
    data = [f"data.source='{path}'", f"data.channels={channels}"]
    return load_config("pxd_biggan_crops", changes=[*CHANGES, *data])


@pytest.mark.parametrize("channels", [[], [2], [3, 1]])
def test_occupancy_is_that_of_the_images(path: Path, channels: list[int]) -> None:
    """What the networks are told of the data is what they are shown of it."""
    resolved, depth = config(path, channels), max(len(channels), 1)
    with event_file(str(path), 0, 0, channels) as file:
        statistics = data_statistics(resolved, file.read_events(0, EVENTS), geometry())
        batch = ImageSampler(
            file, range(EVENTS), EVENTS * 3, 0, None, False, tuple(channels) or None
        ).batch_at(0)
    assert batch["image"].shape[-1] == depth
    shares = (batch["image"] > -1).mean((1, 2, 3))
    shown = [shares[batch["sensor"] == sensor].mean() for sensor in range(3)]
    np.testing.assert_allclose(statistics.occupancy, shown, rtol=1e-6)
    assert (statistics.median > 100) == (channels == [2])
    gan = build_gan(resolved, geometry(), statistics)
    np.testing.assert_allclose(gan.data_occupancy, shown, rtol=1e-6)


def test_metrics_of_training_compare_with_the_types_drawn(path: Path) -> None:
    resolved = config(path, [3, 1])
    with PIXELS.open(resolved.data) as data, event_file(str(path), 0, 0) as every:
        reference = PIXELS.reference(data, 2)
        hits = every.read_events(4, EVENTS)
    drawn = np.bincount(hits.image, np.isin(hits.type, (1, 3)))
    np.testing.assert_array_equal(reference.summary.fired.ravel(), drawn)
