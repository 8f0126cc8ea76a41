"""Background of another level than that of the training events."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from growth_events import DETECTOR, SIZE, random_network
from numpy.typing import NDArray
from test_event_field import one_kind

import kerasgen
from kerasgen.backend.checkpoint import save_weights
from kerasgen.command import run
from kerasgen.config import to_toml
from kerasgen.data.hits import Hits, from_dense
from kerasgen.data.pixel_events import event_hits
from kerasgen.data.store import EventFile, EventWriter
from kerasgen.errors import InputError
from kerasgen.models.cluster_growth import numpy_functions as xp
from kerasgen.models.cluster_growth.frequency import first_pixels, frequency_of
from kerasgen.models.cluster_growth.levels import superposed
from kerasgen.models.cluster_growth.portable_sampling import PortableEventGenerator
from kerasgen.models.cluster_growth.sampling import EventGenerator
from kerasgen.models.cluster_growth.settings import CalibrationSettings, Config, NetworkSettings
from kerasgen.models.cluster_growth.statistics import KNOTS_U, KNOTS_V
from kerasgen.models.trained import Trained, load_trained
from kerasgen.serving.saved_model import export_model, load_exported
from kerasgen.zoo.generate import main
from kerasgen.zoo.overlay import main as overlay

# Keras converts its variables so while it saves them.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Images = NDArray[np.int64]
IMAGES = 240


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of a network of random weights."""
    folder = tmp_path_factory.mktemp("runs") / "growth-1"
    folder.mkdir()
    settings = NetworkSettings(width=16, layers=1, recent=12, temperature=1.0)
    config = Config("growth", network=settings, calibration=CalibrationSettings(events=0))
    (folder / "config.toml").write_text(to_toml(config))
    (folder / "schema.json").write_text(DETECTOR.to_json())
    save_weights(random_network(), folder / "model.weights.h5")
    return folder


@pytest.fixture(scope="module")
def trained(folder: Path) -> Trained:
    return load_trained(folder)


@pytest.fixture(scope="module")
def portable(trained: Trained) -> PortableEventGenerator:
    network = trained.generator.network
    return PortableEventGenerator(network, DETECTOR.threshold, DETECTOR.max_charge)


@pytest.fixture(scope="module")
def exported(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_model(trained, tmp_path_factory.mktemp("exported"), "growth")


def same(a: Hits, b: Hits) -> None:
    for name, values in vars(a).items():
        np.testing.assert_array_equal(values, getattr(b, name), err_msg=name)


def images_of(generator: EventGenerator, level: float, run_seed: int) -> Images:
    """Images of sensor 0."""
    seed = np.stack([np.full(IMAGES, run_seed), np.arange(IMAGES)], 1)
    levels = np.full((IMAGES, 1), level, np.float32)
    answer = generator.dense_level(np.zeros(IMAGES, np.int32), seed, levels)
    return np.asarray(answer["adu"]).astype(np.int64)


def error_of_mean(x: NDArray[Any]) -> float:
    return float(x.std() / np.sqrt(len(x)))


def error_of_variance(x: NDArray[Any]) -> float:
    return error_of_mean((x - x.mean()) ** 2)


def statistics(merged: float) -> Any:
    """Of one sensor whose clusters are even, with a field and a spread."""
    return SimpleNamespace(
        size=SIZE,
        rate=np.float32([30]),
        share=np.float32([[1]]),
        spread=np.float32([0.3]),
        along_u=np.linspace(0, SIZE[0], KNOTS_U, dtype=np.float32)[None],
        along_v=np.linspace(0, SIZE[1], KNOTS_V, dtype=np.float32)[None],
        place=np.float32([[[0, 0, 0, 0], [1 / SIZE[0], 0, 0, 0], [0, 0, 1 / SIZE[1], 0]]]),
        pitch=np.ones((1, 3), np.float32),
        amplitude=np.float32([[[0.25, -0.15]]]),
        length=np.full((1, 2, 4), 2, np.float32),  # over the whole sensor
        merged=np.float32([merged]),
    )


def cluster_counts(level: float | None, n: int = 4000, merged: float = 0.0) -> NDArray[np.int64]:
    """Numbers of clusters of n images of independent events."""
    network, sensor = statistics(merged), np.zeros(n, np.int32)
    keys = np.random.default_rng(3).integers(-(2**62), 2**62, (2, n))
    levels = None if level is None else np.full(n, level, np.float32)
    frequency = frequency_of(xp, network, network.rate, sensor, levels)
    found = first_pixels(xp, network, frequency, sensor, np.ones(n, bool), *keys, one_kind)
    return np.bincount(found.image, minlength=n)


def test_clusters_at_a_low_level_are_those_of_fewer_independent_sources() -> None:
    """The mean is the level's share, and so is the variance, beyond Poisson as well."""
    usual = cluster_counts(None)
    np.testing.assert_array_equal(cluster_counts(1.0), usual)
    beyond = usual.var() - usual.mean()
    for level in (0.5, 0.2):
        counts = cluster_counts(level)
        assert abs(counts.mean() - 30 * level) < 4 * error_of_mean(counts)
        error = np.hypot(error_of_variance(counts), level * error_of_variance(usual))
        excess = counts.var() - counts.mean()
        assert abs(excess - level * beyond) < 4 * error
        assert excess - level**2 * beyond > 4 * error  # as if the sources were the same ones


def test_fewer_clusters_of_fewer_sources_merge() -> None:
    """Half the sources have 15 clusters of 30, and 15 * 0.01 * 15 more."""
    counts = cluster_counts(0.5, merged=0.01)
    assert abs(counts.mean() - 17.25) < 4 * error_of_mean(counts)
    np.testing.assert_array_equal(cluster_counts(1.0, merged=0.01), cluster_counts(None))


def test_parts_of_a_level() -> None:
    levels = np.float32([0, -0.1, np.nan, 10.5, np.inf, 0.5, 1, 1.5, 3, 10])
    parts, level = superposed(xp, levels)
    np.testing.assert_array_equal(parts, [0, 0, 0, 0, 0, 1, 1, 2, 3, 10])
    np.testing.assert_array_equal(level[5:], np.float32([0.5, 1, 0.75, 1, 1]))
    assert level.dtype == np.float32


@pytest.mark.parametrize("name", ["tensorflow", "portable"])
def test_level_one_is_the_event_without_a_level(
    name: str, trained: Trained, portable: PortableEventGenerator
) -> None:
    generator = trained.generator if name == "tensorflow" else portable
    usual = event_hits(generator, DETECTOR, range(4), 11)
    assert len(usual.adu) > 50
    same(event_hits(generator, DETECTOR, range(4), 11, 1.0), usual)
    assert not len(event_hits(generator, DETECTOR, range(2), 11, 0.0).adu)


def test_both_samplers_make_the_same_events(
    trained: Trained, portable: PortableEventGenerator
) -> None:
    for level in (0.4, 1.7):
        ours, theirs = (
            event_hits(x, DETECTOR, range(4), 11, level) for x in (trained.generator, portable)
        )
        assert len(ours.adu) > 20
        same(ours, theirs)


def test_images_of_levels_are_sums_of_independent_ones(trained: Trained) -> None:
    one, *others = (images_of(trained.generator, 1.0, seed) for seed in (5, 6, 7))
    for level, independent in ((2, others[0]), (3, others[0] + others[1])):
        found = images_of(trained.generator, level, 5)
        assert (found >= one).all()  # the first part has the seed itself
        more = np.where(found == DETECTOR.max_charge, 0, found - one)
        assert not any((more == x).all() for x in (one, *others))
        ours, theirs = (np.count_nonzero(x, axis=(1, 2)) for x in (found, one + independent))
        error = np.hypot(error_of_mean(ours), error_of_mean(theirs))
        assert abs(ours.mean() - theirs.mean()) < 4 * error
        error = np.hypot(error_of_variance(ours), error_of_variance(theirs))
        assert abs(ours.var() - theirs.var()) < 4 * error
        assert ours.mean() > 1.5 * np.count_nonzero(one, axis=(1, 2)).mean()
    assert found.max() <= DETECTOR.max_charge
    half = np.count_nonzero(images_of(trained.generator, 0.5, 5), axis=(1, 2))
    usual = np.count_nonzero(one, axis=(1, 2))
    error = np.hypot(error_of_mean(half), 0.5 * error_of_mean(usual))
    # Fewer clusters push each other off the sensor: a few per cent beside statistics.
    assert abs(half.mean() - 0.5 * usual.mean()) < 4 * error + 0.02 * usual.mean()


def test_a_row_depends_on_its_sensor_seed_and_level_alone(trained: Trained) -> None:
    sensor = np.array([0, 2, 1, 7, 0, 1, 2], np.int32)
    level = np.array([1.7, 0.3, 3, 1, np.nan, 0, 10.5], np.float32)[:, None]
    seed = np.stack([np.full(7, 5), np.arange(7)], 1)
    generator = trained.generator
    found = generator.digits_level(sensor, seed, level)
    count, hits = np.asarray(found["count"]), np.asarray(found["hits"])
    np.testing.assert_array_equal(count[3:], [-1, -1, 0, -1])
    assert (count[:3] > 0).all()
    for row in range(3):
        one = slice(row, row + 1)
        alone = generator.digits_level(sensor[one], seed[one], level[one])
        assert int(alone["count"][0]) == count[row]
        expected = hits[row, : count[row]]
        np.testing.assert_array_equal(np.asarray(alone["hits"])[0, : count[row]], expected)
    dense = generator.dense_level(sensor, seed, level)
    np.testing.assert_array_equal(dense["status"], [0, 0, 0, 1, 2, 0, 2])
    fired = np.count_nonzero(np.asarray(dense["adu"]), axis=(1, 2))
    np.testing.assert_array_equal(fired, count.clip(0))
    assert not np.asarray(generator.digits_level(sensor[:0], seed[:0], level[:0])["count"]).size
    with pytest.raises(tf.errors.InvalidArgumentError, match="equally many rows"):
        generator.digits_level(sensor, seed, level[:2])


def test_an_exported_model_has_levels(trained: Trained, exported: Path) -> None:
    model = load_exported(exported)
    assert model.generator.conditions == ("level",)
    assert {"serving_level", "digits_level"} < set(model.generator.model.signatures)
    ours, theirs = (kerasgen.generate(x, 2, seed=3, level=1.5) for x in (trained, model))
    same(ours, theirs)
    assert len(ours.adu) > len(kerasgen.generate(trained, 2, seed=3).adu)
    inputs = {"sensor": np.int32([1]), "seed": np.array([[3, 0]]), "level": np.float32([[1.5]])}
    images = (trained.generator.dense_level(**inputs), model.generator.serving_level(**inputs))
    np.testing.assert_array_equal(images[0]["adu"], images[1]["adu"])


def test_generated_files_say_their_level(
    folder: Path, trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("kerasgen.zoo.lookup.load_to_generate", lambda name, calibrated: trained)
    out = tmp_path / "x.h5"
    job = [str(folder), "--events", "2", "--seed", "3", "--out", str(out), "--resume"]
    assert run(main, [*job, "--level", "1.5"]) == 0
    with EventFile(out) as file:
        assert " level 1.5 " in file.attributes["creator"]
        same(file.read_events(0, 2), kerasgen.generate(trained, 2, seed=3, level=1.5))
    capsys.readouterr()
    assert run(main, [*job, "--level", "1.5"]) == 0
    assert "complete already" in capsys.readouterr().out
    for other in (["--level", "2"], []):
        assert run(main, [*job, *other]) == 2
        assert "holds 2 events of seed 3 by 'kerasgen generate" in capsys.readouterr().err


def test_overlay_takes_levels_by_run(
    folder: Path, trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signal, out, table = (tmp_path / x for x in ("signal.h5", "out.h5", "levels.csv"))
    empty = from_dense(np.zeros((6, *SIZE), np.uint8), np.arange(6) % 3, np.arange(6) // 3)
    with EventWriter(signal, DETECTOR, "tests") as file:
        file.write(empty)
    table.write_text("run,level\n7-9,1.5\n")
    job = [str(signal), str(out), "--model", str(folder), "--level-table", str(table)]
    assert run(overlay, [*job, "--run-number", "8"]) == 0
    with EventFile(out) as file:
        found = file.read_events(0, 2)
        assert "levels of levels.csv" in file.attributes["creator"]
    same(found, event_hits(trained.generator, DETECTOR, range(2), 8, 1.5))
    capsys.readouterr()
    for more, words in (
        (["--run-number", "6"], "levels.csv: no line for run 6"),
        (["--run-number", "8", "--level", "2"], "--level and --level-table: one of them"),
    ):
        assert run(overlay, [*job, "--force", *more]) == 2
        text = capsys.readouterr().err
        assert words in text
        assert text.count("\n") == 1


@pytest.mark.parametrize("level", ["-1", "nan", "10.5", "much", "two_photon=2"])
def test_levels_that_are_none_are_refused(
    level: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.h5"
    arguments = [str(folder), "--events", "1", "--out", str(out), "--level", level]
    assert run(main, arguments) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert ("does not know the types" if "=" in level else "in 0..10") in text
    assert not out.exists()


def test_levels_in_python(trained: Trained) -> None:
    with pytest.raises(InputError, match=r"level nan: allowed: 0\.\.10"):
        kerasgen.generate(trained, 1, level=float("nan"))
    with pytest.raises(InputError, match=r"level 11: allowed: 0\.\.10"):
        event_hits(trained.generator, DETECTOR, range(1), 0, 11)
