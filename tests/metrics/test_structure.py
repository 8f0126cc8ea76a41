"""Metrics of positions of hits on samples with known values."""

from dataclasses import replace

import numpy as np
import pytest
from toy_events import TOY, toy_events

from kerasgen.data.hits import Hits, from_dense, to_dense
from kerasgen.metrics import structure
from kerasgen.metrics.compare import compare
from kerasgen.metrics.pixel import quick_metrics
from kerasgen.metrics.pool import pool
from kerasgen.metrics.summary import summarise

SENSORS = len(TOY.sensors)
LAYER = np.array([s.layer for s in TOY.sensors])
REAL = toy_events(60, seed=1)
IMAGES = to_dense(REAL, TOY).reshape(60, SENSORS, TOY.rows, TOY.cols)


def events(images: np.ndarray) -> Hits:
    n = len(images)
    flat = images.reshape(n * SENSORS, TOY.rows, TOY.cols)
    return from_dense(flat, np.tile(np.arange(SENSORS), n), np.repeat(np.arange(n), SENSORS))


def metrics(images: np.ndarray, reference: Hits = REAL) -> dict[str, float]:
    return quick_metrics(summarise(reference, TOY), summarise(events(images), TOY))


def test_one_layer_without_hits() -> None:
    """Half of the layers are off by 100 %, the others by nothing."""
    images = IMAGES * (LAYER == 1)[:, None, None]
    assert metrics(images)["occupancy_per_layer"] == pytest.approx(0.5)


@pytest.mark.parametrize(("axis", "moved", "other"), [(2, "profile_u", "profile_v"),
                                                      (3, "profile_v", "profile_u")])  # fmt: skip
def test_hits_moved_by_three_pixels(axis: int, moved: str, other: str) -> None:
    """W1 of a shift is the shift; hits near the far edge are removed from both samples."""
    images = IMAGES.copy()
    np.moveaxis(images, axis, 0)[-3:] = 0
    values = metrics(np.roll(images, 3, axis), events(images))
    assert values[moved] == pytest.approx(3)
    assert values[other] == 0


def test_exchanged_layers_change_metrics_per_layer_only() -> None:
    images = IMAGES.copy()
    images[:, LAYER == 1] *= 2
    values = metrics(images, events(np.concatenate([images[:, 3:], images[:, :3]], 1)))
    assert values["cluster_charge_w1"] < 1e-12
    assert values["layer_charge"] > 5
    assert values["layer_seed"] > 5


def test_pair_probability_of_lines() -> None:
    """Lines of L pixels along v: a fired pixel has one at distance d with chance (L - d) / L."""
    length = 5
    images = np.zeros((2, SENSORS, TOY.rows, TOY.cols), np.uint16)
    images[:, :, 7, 10 : 10 + length] = 20
    sample = pool(summarise(events(images), TOY))
    expected = np.maximum(length - np.arange(1, 33), 0) / length
    for layer in (0, 1):
        np.testing.assert_allclose(structure.pair_probability(sample, "pairs_v")[layer], expected)
        assert not structure.pair_probability(sample, "pairs_u")[layer].any()


def test_correlation_of_sensors_is_that_of_numpy() -> None:
    sample = pool(summarise(REAL, TOY))
    fired = (IMAGES > 0).sum(axis=(2, 3))
    np.testing.assert_allclose(structure.correlation(sample), np.corrcoef(fired.T), atol=1e-12)
    ratio = fired.sum(axis=1).var() / fired.var(axis=0).sum()
    assert structure.common_ratio(sample) == pytest.approx(ratio)


def test_fully_correlated_sensors() -> None:
    """S equal sensors: the variance of the event is S^2 times that of one, S times their sum."""
    same = np.repeat(IMAGES[:, :1], SENSORS, axis=1)
    sample = pool(summarise(events(same), TOY))
    assert structure.common_ratio(sample) == pytest.approx(SENSORS)
    np.testing.assert_allclose(structure.correlation(sample), 1)


def test_next_event_with_the_same_hits() -> None:
    same = np.repeat(IMAGES[:1], 8, axis=0)
    assert structure.next_probability(pool(summarise(events(same), TOY))) == pytest.approx(1)


def test_copies_are_counted_and_found_again() -> None:
    """Ten of sixty events twice: both of a pair count, so 20 of 70."""
    assert pool(summarise(REAL, TOY)).copies == 0
    doubled = np.concatenate([IMAGES, IMAGES[:10]])
    assert pool(summarise(events(doubled), TOY)).copies == pytest.approx(20 / 70)


def test_a_near_copy_counts_and_half_a_copy_does_not() -> None:
    """One pixel in ten lost: Jaccard similarity 0.9; three in four lost: 0.25."""
    rng = np.random.default_rng(5)
    for lost, fraction in ((0.1, 1.0), (0.75, 0.0)):
        thin = IMAGES[:20] * (rng.random(IMAGES[:20].shape) > lost)
        sample = pool(summarise(events(np.concatenate([IMAGES[:20], thin])), TOY))
        assert sample.copies == pytest.approx(fraction, abs=0.1)


def test_the_verdict_holds_the_largest_excess_against_chance() -> None:
    real = summarise(REAL, TOY)
    again = compare(real, summarise(toy_events(60, seed=2), TOY))
    assert again["verdict"] == "within floor"
    assert again["sigmas"] >= 3
    brighter = compare(real, summarise(replace(REAL, adu=REAL.adu + 3), TOY))
    assert brighter["verdict"] == "outside floor"
    assert "layer_seed" in brighter["outside"]
