"""Held-out events and training events that an evaluation reads."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluated_events import GEOMETRY, events, write

from kerasgen.config import to_toml
from kerasgen.data.pixel_source import PixelDataSettings, event_path
from kerasgen.data.store import checksum
from kerasgen.errors import InputError
from kerasgen.evaluation.samples import held_out_sample, summarise_blocks, training_events
from kerasgen.models.pxd_gan.settings import Config
from kerasgen.run_folder import WEIGHTS
from kerasgen.zoo.run import is_evaluated, training_checksums


def test_training_events_are_those_of_the_run_or_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    path = tmp_path / "real.h5"
    settings = PixelDataSettings(write(path, events(12, 1)), 0, 5)
    (run / "config.toml").write_text(to_toml(Config("none", data=settings)))

    def known() -> range | None:
        with training_events(settings, training_checksums(run)) as found:
            return found and found[1]

    assert known() == range(7)  # nothing is recorded
    (run / WEIGHTS).touch()
    (run / "report").mkdir()
    (run / "report/metrics.json").write_text(json.dumps({"data": {"real.h5": checksum(path)}}))
    assert training_checksums(run) == {"real.h5": checksum(path)}
    assert not is_evaluated(run)  # it was killed before the report was recorded
    (run / "report/metrics.json").unlink()
    recorded: list[dict[str, Any]] = [{"step": 1}, {"step": 2, "data": {"other.h5": "others"}}]
    (run / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in recorded))
    assert training_checksums(run) == {}  # an evaluation on other data came first
    recorded.append({"step": 2, "data": {"real.h5": checksum(path)}})
    recorded.append({"step": 2, "data": {"real.h5": "of another evaluation"}})
    (run / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in recorded))
    assert known() == range(7)
    assert capsys.readouterr().out == ""
    write(path, events(12, 2))
    assert known() is None
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{path}: not the file of the training")
    path.unlink()
    assert known() is None


def test_held_out_events_are_the_last_ones_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "real.h5", events(12, 1))
    for n, numbers in ((0, [7, 8, 9, 10, 11]), (10, [5, 6, 7, 8, 9])):
        found, data = held_out_sample(PixelDataSettings(path, n, 5), None)
        assert found.summary.event.tolist() == numbers
        assert len(data["real.h5"]) == 64
    other = write(tmp_path / "other.h5", events(6, 2))
    assert len(held_out_sample(PixelDataSettings(path, 0, 5), other)[0].summary) == 6


def test_held_out_events_have_the_hits_that_training_used(tmp_path: Path) -> None:
    hits = events(8, 1)
    hits.type[:] = np.random.default_rng(3).integers(0, 4, len(hits.type))
    path = write(tmp_path / "real.h5", hits)
    found, _ = held_out_sample(PixelDataSettings(path, 0, 5, channels=[3, 1]), None)
    kept = np.bincount(hits.image, np.isin(hits.type, (1, 3))).reshape(8, -1)
    np.testing.assert_array_equal(found.summary.fired, kept[3:])
    hits.type[:] = 0  # another user's events have no types: all hits count
    other = write(tmp_path / "other.h5", hits)
    found, _ = held_out_sample(PixelDataSettings(path, 0, 5, channels=[3, 1]), other)
    np.testing.assert_array_equal(found.summary.fired, hits.counts.reshape(8, -1))


def test_held_out_events_of_the_simulator_are_those_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KERASGEN_CACHE", str(tmp_path))
    settings = PixelDataSettings("simulate:pxd", 30, 5)
    cache = event_path("simulate:pxd", 30, settings.seed)
    write(cache, events(30, 1))
    found, data = held_out_sample(settings, None)
    assert found.summary.geometry == GEOMETRY
    assert found.summary.event.tolist() == [25, 26, 27, 28, 29]
    assert data == {cache.name: checksum(cache)}
    assert capsys.readouterr().out == ""


def test_without_the_cache_no_more_than_the_held_out_events_is_simulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twice the same, simulated once; for a run on a file, any events are new."""
    monkeypatch.setenv("KERASGEN_CACHE", str(tmp_path))
    for _ in range(2):
        found, _ = held_out_sample(PixelDataSettings("simulate:pxd", 3000, 4), None)
        assert found.summary.event.tolist() == [2996, 2997, 2998, 2999]
    assert capsys.readouterr().out.count("Simulating 4 events") == 1
    found, _ = held_out_sample(PixelDataSettings("real.h5", 0, 4), "simulate:pxd")
    assert found.summary.event.tolist() == [0, 1, 2, 3]
    with pytest.raises(InputError, match="simulate:pxd"):
        held_out_sample(PixelDataSettings("simulate:px", 30, 4), None)


def test_no_blocks_are_refused() -> None:
    with pytest.raises(InputError, match="no events"):
        summarise_blocks([], GEOMETRY)
