"""Background types of the hits of cluster growth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from growth_events import DETECTOR, SIZE, hits_of, random_events, random_network

from kerasgen.backend.checkpoint import save_weights
from kerasgen.config import to_toml
from kerasgen.data.hits import Hits
from kerasgen.data.pixel_events import event_hits
from kerasgen.data.pixel_source import PixelDataSettings
from kerasgen.data.store import EventWriter
from kerasgen.errors import InputError
from kerasgen.kinds.pixels import PIXELS as PIXELS_KIND
from kerasgen.models.cluster_growth import numpy_functions as xp
from kerasgen.models.cluster_growth.batches import GrowthBatches, block_of_events
from kerasgen.models.cluster_growth.growth import grown_clusters
from kerasgen.models.cluster_growth.levels import passes, with_more
from kerasgen.models.cluster_growth.plan import PIXELS, TYPE, plans_of
from kerasgen.models.cluster_growth.portable_sampling import PortableEventGenerator
from kerasgen.models.cluster_growth.settings import CalibrationSettings, Config, NetworkSettings
from kerasgen.models.cluster_growth.statistics import sensor_statistics
from kerasgen.models.trained import Trained, config_from_table, load_trained
from kerasgen.serving.saved_model import export_model, load_exported

# Keras converts its variables so while it saves them.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TYPES = (1, 2, 3)
RUN = 11


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("runs") / "growth-1"
    folder.mkdir()
    settings = NetworkSettings(width=16, layers=1, recent=12, temperature=1.0)
    data = PixelDataSettings(channels=list(TYPES))
    config = Config("growth", data=data, network=settings, calibration=CalibrationSettings(0))
    (folder / "config.toml").write_text(to_toml(config))
    (folder / "schema.json").write_text(DETECTOR.to_json())
    save_weights(random_network(TYPES), folder / "model.weights.h5")
    return load_trained(folder)


@pytest.fixture(scope="module")
def portable(trained: Trained) -> PortableEventGenerator:
    network = trained.generator.network
    return PortableEventGenerator(network, DETECTOR.threshold, DETECTOR.max_charge)


def same(a: Hits, b: Hits) -> None:
    for name, values in vars(a).items():
        np.testing.assert_array_equal(values, getattr(b, name), err_msg=name)


def events(generator: Any, level: Any = None, number: int = 4) -> Hits:
    return event_hits(generator, DETECTOR, range(number), RUN, level)


TOUCHING = np.array([6, 2, 2, 2, 6, 5, 5, 6], np.uint8)  # types of the pixels of ``touching``


def touching() -> Hits:
    """Five pixels in a row of two types, two, and one."""
    image = np.zeros(SIZE, int)
    image[3, 4:9], image[10, 20:22], image[15, 30] = 9, 9, 9
    return replace(hits_of(image), type=TOUCHING)


def test_hits_of_each_type_make_clusters_of_their_own() -> None:
    types = 6, 2, 5
    clusters = grown_clusters(touching().split_types(types), DETECTOR)
    plans = plans_of(clusters, 64, types)
    assert plans[:, [TYPE, PIXELS]].tolist() == [[0, 1], [0, 1], [0, 1], [1, 3], [2, 2]]
    assert plans_of(grown_clusters(touching(), DETECTOR), 64)[:, PIXELS].tolist() == [5, 2, 1]
    # The number of clusters of an image is relative to that of their type.
    rng = np.random.default_rng(0)
    statistics = sensor_statistics([touching()], DETECTOR, types)
    assert statistics.rate.tolist() == [5, 0, 0]
    block = block_of_events([touching()], DETECTOR, statistics, 12, rng, types)
    np.testing.assert_allclose(block.activity[:, [0, -1]], 0)


def test_split_types_keep_sensors_events_and_hits() -> None:
    hits = touching().take(np.array([0, 1, 0]))
    split = hits.split_types((5, 6))
    assert split.sensor.tolist() == [0, 0, 1, 1, 0, 0]
    assert split.counts.tolist() == [2, 3, 0, 0, 2, 3]
    np.testing.assert_array_equal(split.type, [5, 5, 6, 6, 6] * 2)
    np.testing.assert_array_equal(split.col, [20, 21, 4, 8, 30] * 2)
    assert hits.split_types((6,)) is hits


def test_superposed_events_are_of_level_two(tmp_path: Path) -> None:
    path = tmp_path / "events.h5"
    events = random_events(16)
    with EventWriter(path, DETECTOR, "test") as writer:
        writer.write(events)
    table = {
        "recipe": "x",
        "algorithm": "cluster_growth",
        "data": {"source": str(path), "held_out": 4},
    }
    table |= {"training": {"superposed": 0.5, "batch": 64}}
    config = config_from_table(table | {"network": {"width": 8, "layers": 1, "recent": 12}})
    with PIXELS_KIND.open(config.data) as data:
        statistics = sensor_statistics([events], DETECTOR)
        blocks = [GrowthBatches(config, data, statistics).load(k) for k in range(40)]
    doubled = np.concatenate([b.activity[:, -1] for b in blocks]) > 0
    number = [np.bincount(b.activity[:, -1] > 0, minlength=2) for b in blocks]
    assert set(np.concatenate([b.activity[:, -1] for b in blocks]).tolist()) == {0, 1}
    assert 0.55 < doubled.mean() < 0.78  # two thirds of the pixels
    assert len({tuple(x) for x in number}) > 5
    # Their number of clusters is relative to twice the rate, but some clusters touch.
    both = np.concatenate([b.activity for b in blocks])
    assert abs(both[doubled, 0].mean() - both[~doubled, 0].mean()) < 0.25


def test_every_hit_has_one_of_the_types(trained: Trained) -> None:
    hits = events(trained.generator, number=8)
    assert set(hits.type.tolist()) == set(TYPES)

    def mixed(hits: Hits) -> float:
        clusters = grown_clusters(hits, DETECTOR)
        starts = np.flatnonzero(clusters.is_first)
        low, high = (f.reduceat(clusters.type, starts) for f in (np.minimum, np.maximum))
        return float((low != high).mean())

    shuffled = np.random.default_rng(1).permutation(hits.type)
    assert mixed(hits) < 0.2 * mixed(replace(hits, type=shuffled))  # few clusters meet


def test_both_samplers_make_the_same_types(
    trained: Trained, portable: PortableEventGenerator
) -> None:
    for level in (None, 0.6, 2.0, {"two_photon": 2.5, "shower": 0.5}):
        ours, theirs = events(trained.generator, level), events(portable, level)
        assert len(ours.adu) > 20
        same(ours, theirs)
    row = {"sensor": np.array([1], np.int32), "seed": np.array([[RUN, 0]])}
    ours, theirs = (x.dense(**row) for x in (trained.generator, portable))
    for name in ("adu", "type"):
        assert ours[name].dtype == theirs[name].dtype == np.uint8
        np.testing.assert_array_equal(ours[name], theirs[name])
    assert ((np.asarray(ours["adu"]) > 0) == (np.asarray(ours["type"]) > 0)).all()


def test_equal_levels_of_all_types_are_a_level_of_all(trained: Trained) -> None:
    named = dict.fromkeys(("two_photon", "shower", "synchrotron"), 1.5)
    same(events(trained.generator, named), events(trained.generator, 1.5))
    same(events(trained.generator, dict.fromkeys(named, 1.0)), events(trained.generator))


@pytest.mark.parametrize("off", TYPES)
def test_level_0_of_a_type_leaves_the_others_as_they_are(trained: Trained, off: int) -> None:
    name = ("two_photon", "shower", "synchrotron")[off - 1]
    usual = events(trained.generator)
    found = events(trained.generator, {name: 0.0})
    assert set(found.type.tolist()) == set(TYPES) - {off}
    kept = usual.of_types(set(TYPES) - {off})
    key, expected = (((x.image * 99 + x.row) * 99 + x.col) * 300 + x.adu for x in (found, kept))
    common = np.intersect1d(key, expected)
    # Clusters that have met one of the type that is left out moved from it.
    assert len(common) > 0.85 * len(expected)


def test_more_of_a_type_is_more_of_that_type_alone(trained: Trained) -> None:
    usual = events(trained.generator, number=60)
    found = events(trained.generator, {"shower": 3.0}, number=60)
    ratio = [np.sum(found.type == t) / np.sum(usual.type == t) for t in TYPES]
    assert ratio == pytest.approx([1, 3, 1], rel=0.15)


def test_passes_make_every_type_once() -> None:
    level = np.float32([[1, 1, 1], [2, 1, 2], [0, 0.5, 3], [np.nan, 1, 1]])
    by_pass, chosen, makes = passes(xp, level)
    np.testing.assert_array_equal(by_pass, level.T)
    made = (chosen & makes[..., None]).sum(0)
    np.testing.assert_array_equal(made[:3], 1)
    np.testing.assert_array_equal(makes.T[:3], [[1, 0, 0], [1, 1, 0], [1, 1, 1]])


def test_charges_of_two_images_add_up_and_the_higher_one_says_the_type() -> None:
    charges, kinds = (
        np.array([[0, 9, 9, 250], [7, 0, 30, 20]]),
        np.array([[0, 1, 2, 1], [2, 0, 1, 0]]),
    )
    code = with_more(xp, *(charges * 3 + kinds * (charges > 0)), 3, 255)
    np.testing.assert_array_equal(code // 3, [7, 9, 39, 255])
    np.testing.assert_array_equal(code % 3, [2, 1, 1, 1])


def test_an_exported_model_gives_the_types(trained: Trained, tmp_path: Path) -> None:
    model = load_exported(export_model(trained, tmp_path, "growth"))
    assert model.generator.types == TYPES
    for level in (None, {"synchrotron": 0.0}):
        same(events(model.generator, level, 2), events(trained.generator, level, 2))
    row = {"sensor": np.int32([0, 1, 5]), "seed": np.array([[3, 0], [3, 0], [3, 0]])}
    digits = model.generator.digits(**row)
    count, types = digits["count"].numpy(), digits["type"].numpy()
    assert types.dtype == np.uint8
    assert (np.count_nonzero(types, axis=1) == count.clip(0)).all()
    assert digits["hits"].shape[2] == 3
    dense = model.generator.serving_level(
        **row, level=np.float32([[1, 2, 0], [0, 0, 0], [1, 1, 1]])
    )
    assert dense["status"].numpy().tolist() == [0, 0, 1]
    types = dense["type"].numpy()
    assert set(np.unique(types[0])) == {0, 1, 2}
    assert not types[1:].any()


def test_levels_of_types_that_are_none_are_refused(trained: Trained) -> None:
    generator = trained.generator
    row = {"sensor": np.zeros(1, np.int32), "seed": np.zeros((1, 2), np.int64)}
    with pytest.raises(tf.errors.InvalidArgumentError, match="level must have 1 or 3 columns"):
        generator.digits_level(**row, level=np.ones((1, 2), np.float32))
    bad = generator.digits_level(**row, level=np.float32([[1, np.nan, 1]]))
    assert int(bad["count"][0]) == -1
    with pytest.raises(InputError, match=r"level 11: allowed: 0\.\.10"):
        events(generator, {"shower": 11})
    with pytest.raises(InputError, match="knows the types two_photon, shower, synchrotron"):
        events(generator, {"neutron": 1})
