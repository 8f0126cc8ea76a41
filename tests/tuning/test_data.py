"""Reduced events: the hits of the chosen sensors, rows and columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toy_run import toy_geometry

from kerasgen.data.hits import from_dense, to_dense
from kerasgen.data.reduction import Reduction, write_reduced
from kerasgen.data.store import EventFile, EventWriter
from kerasgen.errors import InputError


@pytest.fixture
def file(tmp_path: Path):
    geometry = toy_geometry()
    path = tmp_path / "events.h5"
    rng = np.random.default_rng(1)
    images = rng.integers(7, 200, (9, 20, 48)) * (rng.random((9, 20, 48)) < 0.3)
    with EventWriter(path, geometry, "tests") as writer:
        writer.write(from_dense(images, np.tile(np.arange(3), 3), np.repeat([0, 1, 5], 3)))
    with EventFile(path) as opened:
        yield opened


def test_reduced_events_are_the_corner_of_the_chosen_sensors(file: EventFile, tmp_path: Path):
    reduce = Reduction(["1.10.1", "1.1.1"], 5, 8)
    write_reduced(file, tmp_path / "part.h5", reduce)
    with EventFile(tmp_path / "part.h5") as part:
        assert part.geometry.names == ("1.1.1", "1.10.1")
        assert (part.geometry.rows, part.geometry.cols, part.n_events) == (5, 8, 3)
        hits = part.read_events(0, 3)
        reduced = to_dense(hits, part.geometry)
    full = to_dense(file.read_events(0, 3), file.geometry).reshape(3, 3, 20, 48)
    np.testing.assert_array_equal(reduced.reshape(3, 2, 5, 8), full[:, [0, 2], :5, :8])
    assert hits.event.tolist() == [0, 0, 1, 1, 5, 5]


def test_larger_or_unknown_sensors_are_refused(file: EventFile, tmp_path: Path):
    with pytest.raises(InputError, match="21 x 8 pixels of 20 x 48"):
        write_reduced(file, tmp_path / "part.h5", Reduction(["1.1.1"], 21, 8))
    with pytest.raises(InputError, match=r"unknown sensor '1\.3\.1'"):
        write_reduced(file, tmp_path / "part.h5", Reduction(["1.3.1"], 3, 8))
    assert not (tmp_path / "part.h5").exists()
