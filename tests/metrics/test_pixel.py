"""Each metric on samples with a known value."""

from dataclasses import replace

import numpy as np
import pytest
from toy_events import TOY, toy_events

from kerasgen.data.hits import Hits, from_dense, to_dense
from kerasgen.metrics.pixel import METRICS, SELECTION_SCALES, quick_metrics, selection_score
from kerasgen.metrics.summary import summarise

REAL = toy_events(60, seed=1)
REFERENCE = summarise(REAL, TOY)


def metrics(candidate: Hits) -> dict[str, float]:
    return quick_metrics(REFERENCE, summarise(candidate, TOY))


def keep(hits: Hits, kept: np.ndarray) -> Hits:
    counts = np.bincount(hits.image[kept], minlength=len(hits))
    return Hits(
        np.concatenate([[0], np.cumsum(counts)]), hits.row[kept], hits.col[kept], hits.adu[kept],
        hits.type[kept], hits.sensor, hits.event,
    )  # fmt: skip


def test_every_metric_of_equal_samples_is_zero() -> None:
    values = metrics(REAL)
    assert values.keys() == METRICS.keys()
    assert max(values.values()) < 1e-12
    assert selection_score(values) < 1e-9


def test_one_more_adu_in_every_hit() -> None:
    values = metrics(replace(REAL, adu=REAL.adu + 1))
    assert values["adu_w1"] == pytest.approx(1)
    assert values["adu_mean"] == pytest.approx(1 / REAL.adu.mean())
    assert values["cluster_seed_w1"] == pytest.approx(1)
    for name in ("occupancy_w1", "occupancy_per_sensor", "cluster_size", "refired"):
        assert values[name] == 0


def test_one_tenth_of_the_hits_lost() -> None:
    kept = np.random.default_rng(0).permutation(len(REAL.row)) % 10 > 0
    values = metrics(keep(REAL, kept))
    assert values["occupancy_mean"] == pytest.approx(0.1, abs=1e-4)
    assert values["occupancy_per_sensor"] == pytest.approx(0.1, abs=0.01)
    occupancy = REFERENCE.occupancy.mean()
    assert values["occupancy_w1"] == pytest.approx(0.1 * occupancy, rel=0.01)
    assert values["refired"] > 0


def test_doubled_events_double_the_standard_deviation() -> None:
    """Counts n -> 2 n in mirrored halves: mean and sd twice, variance / mean twice."""
    wide = replace(TOY, cols=128)
    images = to_dense(REAL, TOY)
    alone = np.concatenate([images, np.zeros_like(images)], axis=2)
    twice = np.concatenate([images, images], axis=2)
    a, b = (summarise(from_dense(x, REAL.sensor, REAL.event), wide) for x in (alone, twice))
    values = quick_metrics(a, b)
    for name in ("occupancy_mean", "occupancy_per_sensor", "occupancy_width", "variance_over_mean"):
        assert values[name] == pytest.approx(1)
    assert values["cluster_size"] < 0.05


def test_one_sensor_half_as_occupied() -> None:
    rng = np.random.default_rng(0)
    lost = (REAL.sensor[REAL.image] == 2) & (rng.random(len(REAL.row)) < 0.5)
    assert metrics(keep(REAL, ~lost))["occupancy_per_sensor"] == pytest.approx(0.5 / 6, rel=0.1)


def test_hits_scattered_over_the_sensor_have_no_clusters() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.permuted(to_dense(REAL, TOY).reshape(len(REAL), -1), axis=1)
    scattered = pixels.reshape(-1, TOY.rows, TOY.cols)
    values = metrics(from_dense(scattered, REAL.sensor, REAL.event))
    size = REFERENCE.fired.sum() / REFERENCE.clusters.sum()
    assert values["cluster_size"] > 0.4 * size
    assert values["cluster_size_w1"] == pytest.approx(values["cluster_size"], rel=0.01)
    assert values["cluster_size_v"] > values["cluster_size_u"]
    assert values["cluster_charge_w1"] > 0.3
    assert values["adu_w1"] == values["occupancy_w1"] == 0


def test_events_with_rows_and_columns_in_exchange_differ_in_u_and_v_alone() -> None:
    square = replace(TOY, cols=48)
    images = to_dense(REAL, TOY)[:, :, :48]
    a, b = (
        summarise(from_dense(x, REAL.sensor, REAL.event), square)
        for x in (images, images.transpose(0, 2, 1))
    )
    values = quick_metrics(a, b)
    assert values["cluster_size_u"] == pytest.approx(values["cluster_size_v"])
    assert values["cluster_size_u"] > 0.5
    assert values["cluster_size"] == values["cluster_charge_w1"] == 0


def test_one_event_over_and_over_is_a_collapse() -> None:
    first = np.tile(np.arange(6), 60)
    values = metrics(replace(REAL.take(first), event=REAL.event))
    occupancy = REFERENCE.occupancy.mean()
    assert values["refired"] == pytest.approx(1 - occupancy, abs=0.02)
    assert values["diversity"] > 0.9
    assert values["refire_excess"] > 20
    assert values["occupancy_width"] == pytest.approx(1)


def test_a_fifth_of_the_events_repeated_is_seen() -> None:
    pattern = np.arange(60)
    pattern[::5] = 0  # every fifth event is event 0
    images = (pattern[:, None] * 6 + np.arange(6)).ravel()
    values = metrics(replace(REAL.take(images), event=REAL.event))
    assert values["refired"] == pytest.approx(0.2**2, rel=0.5)
    assert values["refire_excess"] > 1


def test_refire_excess_ignores_a_wrong_occupancy() -> None:
    more = metrics(toy_events(60, seed=2, clusters=60))
    assert more["occupancy_mean"] > 0.8
    assert more["refire_excess"] < 0.15
    assert more["refired"] > 0.5 * REFERENCE.occupancy.mean()


def test_a_generator_without_hits_has_undefined_charge_and_the_worst_score() -> None:
    values = metrics(keep(REAL, np.zeros(len(REAL.row), bool)))
    assert values["occupancy_mean"] == 1
    assert np.isnan(values["adu_w1"])
    assert np.isnan(values["cluster_size"])
    assert selection_score(values) == float("inf")


def test_the_score_adds_metrics_over_their_scales() -> None:
    assert selection_score(dict(SELECTION_SCALES)) == pytest.approx(len(SELECTION_SCALES))
    assert SELECTION_SCALES.keys() <= METRICS.keys()
