"""The adversarial stage of cluster growth: clusters grown in a step, discriminator, gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from growth_events import DETECTOR, SIZE
from keras import ops
from scipy.spatial.distance import pdist, squareform

from kerasgen.backend.engine import CompiledStep
from kerasgen.data.hits import Hits, from_dense
from kerasgen.data.store import EventWriter
from kerasgen.errors import InputError
from kerasgen.models.cluster_growth.algorithm import ALGORITHM
from kerasgen.models.cluster_growth.batches import (
    GrowthBatches,
    beginnings,
    block_of_events,
    examples,
    suitable,
    whole_clusters,
)
from kerasgen.models.cluster_growth.discriminator import CROP, seen
from kerasgen.models.cluster_growth.growth import NOTHING, REACH
from kerasgen.models.cluster_growth.model import ClusterGrowth
from kerasgen.models.cluster_growth.plan import PARTS, PIXELS, SIZES
from kerasgen.models.cluster_growth.rollout import rollout
from kerasgen.models.cluster_growth.settings import Config, check
from kerasgen.models.cluster_growth.start import build_growth, copy_weights
from kerasgen.models.cluster_growth.statistics import sensor_statistics
from kerasgen.models.trained import config_from_table
from kerasgen.training.trainer import compiled_step

RECENT = 16


def configuration(table: Any = None, **adversarial: Any) -> Config:
    table = {
        "recipe": "test", "algorithm": "cluster_growth",
        "network": {"width": 16, "layers": 1, "recent": RECENT},
        "training": {"steps": 1, "batch": 256},
        "adversarial": {
            "steps": 100, "alone": 0, "clusters": 64, "smallest": 3, "largest": 12, "width": 32,
        } | adversarial,
    } | (table or {})  # fmt: skip
    return config_from_table(table)


def tracks(events: int, rng: np.random.Generator) -> Hits:
    """Bright tracks of 3 to 12 pixels along v."""
    images = np.zeros((3 * events, *SIZE), np.int64)
    for image in images:
        for row in range(2, SIZE[0] - 2, 5):
            size = rng.integers(3, 13)
            col = rng.integers(0, SIZE[1] - size)
            image[row, col : col + size] = rng.integers(50, 200, size)
    return from_dense(images, np.tile(np.arange(3), events), np.repeat(np.arange(events), 3))


@pytest.fixture(scope="module")
def block() -> Any:
    rng = np.random.default_rng(1)
    hits = tracks(4, rng)
    statistics = sensor_statistics([hits], DETECTOR)
    return block_of_events([hits], DETECTOR, statistics, RECENT, rng), statistics


def batch(block: Any, config: Config) -> dict[str, Any]:
    return whole_clusters(block[0], config.adversarial, np.random.default_rng(2))


def model(block: Any, config: Config) -> ClusterGrowth:
    """Untrained, but for random last layers: at the start all tokens are alike."""
    made = build_growth(config, DETECTOR, block[1])
    rng = np.random.default_rng(3)
    for layer in (made.generator.token, made.generator.charge_class):
        layer.kernel.assign(rng.normal(0, 0.1, layer.kernel.shape))
    copy_weights(made.generator, made.ema)
    made.stage = "adversarial"
    return made


def grown(block: Any, config: Config) -> tuple[dict[str, Any], dict[str, Any]]:
    made, real = model(block, config), batch(block, config)
    growing = CompiledStep(
        lambda real, numbers: rollout(made.generator, real, numbers), made.generator.variables
    )
    growing.read_variables()
    numbers = np.random.default_rng(4).random((made.tokens, 16, 3)).astype(np.float32)
    found = growing(real, numbers)
    return tuple({name: np.asarray(x) for name, x in part.items()} for part in found)


def test_batches_have_whole_clusters_in_the_order_of_growth(block):
    config = configuration(smallest=5, largest=9)
    found = batch(block, config)
    assert len(found["count"]) == 64 * config.adversarial.discriminator_steps
    assert set(found["count"]) == {5, 6, 7, 8, 9}
    assert (np.diff(found["count"]) <= 0).all()
    for first, count, pixels in zip(found["first"], found["count"], found["pixels"], strict=True):
        assert (pixels[0, :2] == first).all()
        assert (pixels[:count, 1] == first[1] + np.arange(count)).all()  # tracks along v
        assert (pixels[count:] == pixels[count - 1]).all()


def test_grown_clusters_begin_as_real_ones_and_have_their_plan(block):
    real = batch(block, configuration())
    clusters, states = grown(block, configuration())
    assert clusters["whole"].all()
    assert (clusters["pixels"][:, 0] == real["pixels"][:, 0]).all()
    as_planned = clusters["count"] == clusters["plan"][:, PIXELS]
    assert as_planned.mean() > 0.9  # the others have no place for more
    assert (clusters["count"] <= clusters["plan"][:, PIXELS]).all()
    for count, pixels in zip(clusters["count"], clusters["pixels"], strict=True):
        places = pixels[:count, :2]
        assert ((places >= 0) & (places < SIZE)).all()
        distance = squareform(pdist(places, "chebyshev")) + 9 * np.eye(count)
        assert distance.min() >= 1  # no pixel twice
        assert (distance.min(1) <= REACH).all()
    real_places, places = (x["pixels"][:, 1:, :2] for x in (real, clusters))
    assert (real_places != places).any()
    adds = states["token"] != NOTHING
    number = np.bincount(states["cluster"][adds], minlength=len(real["count"]))
    assert (1 + number[: len(real["count"])] == clusters["count"]).all()


def test_states_lead_to_the_pixels_that_their_tokens_add(block):
    clusters, states = grown(block, configuration())
    adds = (states["token"] != NOTHING) & (states["cluster"] < len(clusters["count"]))
    cluster, known = states["cluster"][adds], states["known"][adds]
    pixel = clusters["pixels"][cluster, known]
    assert (pixel[:, :2] == states["place"][adds]).all()
    assert (pixel[:, 2] == states["level"][adds]).all()
    before = clusters["pixels"][cluster, known - 1]
    assert (states["pixels"][adds][:, :, 0] == before).all()  # the latest one of the state


def test_a_cluster_as_the_discriminator_sees_it(block):
    clusters = {
        "sensor": np.array([1]), "activity": np.array([[0.5, 0.0]], np.float32),
        "first": np.array([[20, 10]]), "plan": np.ones((1, PARTS + SIZES), np.int32),
        "pixels": np.array([[[20, 10, 0.25], [21, 11, 0.75], [29, 12, 0.5], [0, 0, 9]]], "f4"),
        "count": np.array([3]),
    }  # fmt: skip
    found = {name: np.asarray(x)[0] for name, x in seen(clusters, SIZE).items()}
    crop = np.zeros((*CROP, 2))
    crop[8, 0], crop[9, 1] = (1, 0.25), (1, 0.75)  # the third pixel is nine rows away
    np.testing.assert_allclose(found["crop"], crop)
    row, col, level = np.array([0, 1, 9]), np.array([0, 1, 2]), np.array([0.25, 0.75, 0.5])
    covariance = np.cov(row, col, bias=True)
    half = covariance.trace() / 2
    spread = np.sqrt([*covariance.diagonal(), np.linalg.eigvalsh(covariance)[0]])
    np.testing.assert_allclose(
        found["numbers"][:11],
        [
            *np.arcsinh([3, row.mean(), col.mean(), *spread]), covariance[0, 1] / (half + 1),
            4 * level.mean(), 8 * level.std(), 1 / 3, 0.5,
        ],
        rtol=1e-4,
    )  # fmt: skip


@pytest.mark.parametrize("loss", ["hinge", "relativistic", "wasserstein"])
def test_the_discriminator_learns_to_tell_grown_clusters(block, loss):
    """Alone, with every term; the generator stays."""
    config = configuration(
        loss=loss, contrastive=0.1, consistency=0.01, spectral_norm=loss != "relativistic"
    )
    made = model(block, config)
    made.stage = "discriminator"
    weights = [np.asarray(w).copy() for w in made.generator.weights]
    step = compiled_step(made)
    step.read_variables()
    real = likelihood_batch(block) | {"clusters": batch(block, config)}
    first = step(real)
    for _ in range(60):
        last = step(real)
    step.write_variables()
    assert set(last) == {
        f"discriminator/{x}" for x in ("adversarial", "contrastive", "consistency", "loss")
    }
    assert (
        float(last["discriminator/adversarial"]) < float(first["discriminator/adversarial"]) - 0.2
    )
    for before, weight in zip(weights, made.generator.weights, strict=True):
        assert (before == np.asarray(weight)).all()


def likelihood_batch(block: Any) -> dict[str, Any]:
    ready = block[0]
    found = examples(ready, ready.order[:256], RECENT) | beginnings(ready, ready.begins[:64])
    return found | {
        "weight": np.ones(256, np.float32), "begin_weight": np.ones(64, np.float32)
    }  # fmt: skip


def test_the_gradient_leads_to_clusters_that_the_discriminator_takes_for_real(block, monkeypatch):
    """In place of the discriminator a judge to whom dark pixels are real; plans stay."""
    config = configuration(rate=3e-3, weight=20.0)
    made = model(block, config)

    def dark(real: Any, found: Any, sensor: Any) -> Any:
        level = ops.sum(found["crop"][..., 1], [1, 2])
        return level / ops.sum(found["crop"][..., 0], [1, 2])

    monkeypatch.setattr(made, "generator_losses", dark)
    step = compiled_step(made)
    step.read_variables()
    real = likelihood_batch(block) | {"clusters": batch(block, config)}
    before = [np.asarray(w).copy() for w in made.generator.trainable_variables]
    levels = [float(step(real)["generator/of_discriminator"]) for _ in range(40)]
    assert np.mean(levels[-5:]) < np.mean(levels[:5]) - 0.1
    step.write_variables()
    growth = {id(w) for w in made.generator.growth_variables}
    for weight, old in zip(made.generator.trainable_variables, before, strict=True):
        assert (np.asarray(weight) != old).any() == (id(weight) in growth), weight.path
    assert len(growth) < len(before)


def test_what_does_not_fit_is_said():
    check(configuration())
    for wrong, words in (
        ({"alone": 101}, "adversarial.alone = 101: at most adversarial.steps = 100"),
        ({"smallest": 13}, "adversarial.smallest = 13: at most adversarial.largest = 12"),
    ):
        with pytest.raises(InputError, match=words):
            check(configuration(**wrong))


def test_a_block_lasts_until_its_clusters_have_been_used_once(tmp_path):
    """4 events have 72 tracks: 8 steps of 2 x 4."""
    hits, path = tracks(20, np.random.default_rng(1)), tmp_path / "events.h5"
    with EventWriter(path, DETECTOR, "test") as file:
        file.write(hits)
    config = configuration(table={"data": {"source": str(path), "held_out": 4}}, clusters=4)
    before = config.training.steps
    with ALGORITHM.kind.open(config.data) as opened:
        batches = GrowthBatches(config, opened, sensor_statistics([hits], DETECTOR))
        assert batches.block_of(before - 1)[0] == 0
        seen, blocks = set(), {0}
        for step in range(before, before + 2 * batches.stage_steps):
            number, place = batches.block_of(step)
            if place == 0:
                assert number not in blocks
                blocks.add(number)
                seen = set()
            clusters = batches.batch_at(step)["clusters"]
            found = {
                (s, *f, *p[:, 2])
                for s, f, p in zip(
                    clusters["sensor"], clusters["first"], clusters["pixels"], strict=True
                )
            }
            assert len(found) == 8
            assert not found & seen
            seen |= found
        assert len(blocks) == 3
        assert len(seen) == 8 * batches.stage_steps
        assert batches.stage_steps > 4


def test_rare_clusters_are_looked_for_and_missing_ones_said(tmp_path):
    """Single pixels, and in one of twelve training events a track of three."""
    images = np.zeros((3 * 16, *SIZE), np.int64)
    images[:, 20, 10] = 50
    images[0, 5, 5:8] = 60
    hits = from_dense(images, np.tile(np.arange(3), 16), np.repeat(np.arange(16), 3))
    path = tmp_path / "events.h5"
    with EventWriter(path, DETECTOR, "test") as file:
        file.write(hits)
    data = {"source": str(path), "held_out": 4}
    config = configuration(table={"data": data})
    statistics = sensor_statistics([hits], DETECTOR)
    with ALGORITHM.kind.open(config.data) as opened:
        ALGORITHM.check_events(config, opened)
        batches = GrowthBatches(config, opened, statistics)
        for number in range(4):
            assert len(suitable(batches.load(number).clusters, config.adversarial)[0]) == 1
        assert set(batches.batch_at(1)["clusters"]["count"]) == {3}
        config = configuration(table={"data": data}, smallest=4)
        with pytest.raises(InputError, match="no clusters of 4 to 12 pixels"):
            ALGORITHM.check_events(config, opened)
        ALGORITHM.check_events(configuration(table={"data": data}, smallest=4, steps=0), opened)
