"""AUC of known scores, and classifiers of events with a known difference."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from kerasgen.data.geometry import load_geometry
from kerasgen.data.hits import Hits, concatenate, from_dense, to_dense
from kerasgen.data.simulation.pxd import simulate_events
from kerasgen.metrics import two_sample
from kerasgen.metrics.compare import compare
from kerasgen.metrics.summary import summarise
from kerasgen.metrics.two_sample import (
    CELLS,
    PATCH,
    NetworkComparison,
    NetworkInputs,
    auc,
    patches,
    two_sample_auc,
    whole_images,
)

GEOMETRY = load_geometry("belle2-pxd")
SENSORS = len(GEOMETRY.sensors)


@pytest.fixture(scope="module")
def events() -> Hits:
    return concatenate(list(simulate_events(GEOMETRY, 11, 0, 12)))


def some(events: Hits, first: int, last: int) -> Hits:
    return events.take(np.arange(first * SENSORS, last * SENSORS))


@pytest.mark.parametrize("shift", [0.0, 0.5, 2.0])
def test_auc_of_shifted_normal_distributions(shift: float) -> None:
    """Phi(shift / sqrt(2))."""
    rng = np.random.default_rng(0)
    found = auc(rng.standard_normal(40_000), rng.standard_normal(40_000) + shift)
    assert found == pytest.approx(norm.cdf(shift / np.sqrt(2)), abs=0.01)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.lists(st.integers(0, 9), min_size=1))
def test_auc_is_the_fraction_of_pairs_in_order(real: list[int], made: list[int]) -> None:
    pairs = [(m > r) + 0.5 * (m == r) for m in made for r in real]
    assert auc(np.array(real, float), np.array(made, float)) == pytest.approx(np.mean(pairs))


def test_patches_are_cut_from_the_image(events: Hits) -> None:
    found = patches(some(events, 0, 1), GEOMETRY, np.random.default_rng(1))
    dense = np.pad(to_dense(some(events, 0, 1), GEOMETRY), ((0, 0), (PATCH, PATCH), (PATCH, PATCH)))
    value = np.log1p(dense) / np.log(256)
    for k in range(0, 240, 60):
        image = value[found.sensor[k]]
        windows = np.lib.stride_tricks.sliding_window_view(image, (PATCH, PATCH))
        centre = float(found.image[k, PATCH // 2, PATCH // 2, 0])
        assert centre > 0
        same = np.argwhere(np.abs(windows[:, :, PATCH // 2, PATCH // 2] - centre) < 1e-3)
        patch = found.image[k, ..., 0].astype(float)
        assert any(np.abs(windows[r, c] - patch).max() < 1e-3 for r, c in same)


def test_images_keep_their_hits(events: Hits) -> None:
    hits = some(events, 0, 1)
    found = whole_images(hits, GEOMETRY, np.random.default_rng(1))
    assert found.image.shape == (SENSORS, *CELLS, 2)
    counts = 10 * found.image[..., 0].astype(float).sum((1, 2))
    np.testing.assert_allclose(counts, hits.counts, rtol=1e-2)


def test_events_are_renumbered() -> None:
    sample = NetworkInputs(np.zeros((6, 1, 1, 1)), np.arange(6), np.array([0, 0, 1, 1, 2, 2]))
    kept = sample.take(np.array([2, 0]))
    np.testing.assert_array_equal(kept.event, [0, 0, 1, 1])
    np.testing.assert_array_equal(kept.sensor, [0, 1, 4, 5])


def scattered(hits: Hits) -> Hits:
    """Move all hits of an image to random pixels."""
    rng = np.random.default_rng(2)
    images = to_dense(hits, GEOMETRY)
    for image in images:
        rng.shuffle(image.reshape(-1))
    return from_dense(images, hits.sensor, hits.event)


def test_classifiers_recognise_scattered_clusters_and_no_other_difference(
    events: Hits, monkeypatch: pytest.MonkeyPatch
) -> None:
    # This difference is learned quickly; the other classifier differs in its input only.
    monkeypatch.setattr(two_sample, "STEPS", 60)
    monkeypatch.setattr(two_sample, "BATCH", 64)
    monkeypatch.setattr(two_sample, "VIEWS", {"auc_patches": two_sample.VIEWS["auc_patches"]})
    comparison = NetworkComparison(4, 3)
    samples = {"same": some(events, 8, 12), "scattered": scattered(some(events, 8, 12))}
    real = some(events, 0, 8)
    for recorder in comparison.reference(GEOMETRY, 8):
        recorder.add(real)
    for name, hits in samples.items():
        for recorder in comparison.candidate(name):
            recorder.add(hits)
    found = {k: compare(*(summarise(h, GEOMETRY) for h in (real, s))) for k, s in samples.items()}
    comparison.judge(found)
    same, other = (found[k]["metrics"]["auc_patches"] for k in samples)
    assert abs(same["value"] - 0.5) < 0.08
    assert same["within"]
    assert other["value"] > 0.9
    assert other["within"] is False
    assert "auc_patches" in found["scattered"]["outside"]


def test_whole_images_recognise_another_occupancy(events: Hits) -> None:
    """Few steps with whole images: half of the hits are recognised."""
    rng = np.random.default_rng(1)
    real = whole_images(some(events, 0, 6), GEOMETRY, rng)
    half = replace(real, image=real.image * np.float16([0.5, 1]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(two_sample, "STEPS", 10)
        patch.setattr(two_sample, "BATCH", 32)
        value, error = two_sample_auc(real, half, 0)
    assert value > 0.8
    assert 0 < error < 0.1


def test_events_without_hits_have_no_patches(events: Hits) -> None:
    comparison = NetworkComparison(4, 3)
    for recorder in comparison.reference(GEOMETRY, 4):
        recorder.add(some(events, 0, 4))
    empty = from_dense(np.zeros((4 * SENSORS, 250, 768), np.uint8), events.sensor[:160],
                       events.event[:160])  # fmt: skip
    for recorder in comparison.candidate("empty"):
        recorder.add(empty)
    assert len(np.unique(comparison.candidates["empty"].inputs("auc_patches").event)) == 0
