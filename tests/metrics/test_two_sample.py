"""AUC of known scores, and classifiers of events with a known difference."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from kerasgen.data.geometry import load_geometry
from kerasgen.data.hits import Hits, concatenate, from_dense, to_dense
from kerasgen.data.simulation.pxd import simulate_events
from kerasgen.metrics import judge_comparison
from kerasgen.metrics.compare import compare
from kerasgen.metrics.judge_comparison import NetworkComparison
from kerasgen.metrics.judges import JUDGES, whole_images
from kerasgen.metrics.summary import summarise
from kerasgen.metrics.two_sample import NetworkInputs, auc, random_halves, two_sample_auc

GEOMETRY = load_geometry("belle2-pxd")
SENSORS = len(GEOMETRY.sensors)


@pytest.fixture(scope="module")
def events() -> Hits:
    return concatenate(list(simulate_events(GEOMETRY, 11, 0, 24)))


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


def test_events_are_renumbered() -> None:
    sample = NetworkInputs(np.zeros((6, 1, 1, 1)), np.arange(6), np.array([0, 0, 1, 1, 2, 2]))
    kept = sample.take(np.array([2, 0]))
    np.testing.assert_array_equal(kept.event, [0, 0, 1, 1])
    np.testing.assert_array_equal(kept.sensor, [0, 1, 4, 5])


def test_events_without_inputs_do_not_count() -> None:
    event = np.repeat([3, 7, 40, 41, 90], 2)
    sample = NetworkInputs(np.zeros((10, 1)), np.arange(10), event)
    np.testing.assert_array_equal(sample.first(3).event, [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(sample.first(3).sensor, np.arange(6))
    for seed in range(20):
        halves = random_halves(sample, np.random.default_rng(seed))
        assert [len(h.event) for h in halves] == [4, 6]
        for half in halves:
            assert set(half.event.tolist()) == set(range(half.events))


def scattered(hits: Hits) -> Hits:
    """Move all hits of an image to random pixels."""
    rng = np.random.default_rng(2)
    images = to_dense(hits, GEOMETRY)
    for image in images:
        rng.shuffle(image.reshape(-1))
    return from_dense(images, hits.sensor, hits.event)


def one_charge(hits: Hits) -> Hits:
    """An ideal sampler of a poor charge scale."""
    return replace(hits, adu=np.full_like(hits.adu, 200))


def test_judges_recognise_scattered_clusters_and_no_other_difference(
    events: Hits, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The judge that learns quickly; the others differ in inputs and network only.
    judges = {"auc_features": replace(JUDGES["auc_features"], steps=300)}
    monkeypatch.setattr(judge_comparison, "JUDGES", judges)
    monkeypatch.setattr(judge_comparison, "SIZES", (4, 8, 300))
    comparison = NetworkComparison(8, 3, one_charge)
    samples = {"same": some(events, 16, 24), "scattered": scattered(some(events, 16, 24))}
    real = some(events, 0, 16)
    for recorder in comparison.reference(GEOMETRY, 16):
        recorder.add(real)
    for name, hits in samples.items():
        for recorder in comparison.candidate(name):
            recorder.add(hits)
    found = {k: compare(*(summarise(h, GEOMETRY) for h in (real, s))) for k, s in samples.items()}
    curves = comparison.judge(found)["curves"]
    assert curves.keys() == judges.keys()
    for judge, of_judge in curves.items():
        assert list(of_judge) == ["real", "ideal", "same", "scattered"]
        for curve in of_judge.values():
            assert [n for n, _, _ in curve] == [4, 8]
        assert of_judge["ideal"][-1][1] > 0.9
        same, other = (found[k]["metrics"][judge] for k in samples)
        assert other["value"] == of_judge["scattered"][-1][1]
        assert other["floor"] == of_judge["real"][-1][1]
        assert other["n"] == 8
        assert same["within"]
        assert other["value"] > 0.9
        assert other["within"] is False
        assert judge in found["scattered"]["outside"]


def test_whole_images_recognise_another_occupancy(events: Hits) -> None:
    """Few steps with whole images: missing hits are recognised."""
    rng = np.random.default_rng(1)
    real = whole_images(some(events, 0, 8), GEOMETRY, rng)
    less = replace(real, image=real.image * np.float16([0.8, 1, 0.8, 0.8, 0.8]))
    train = partial(replace(JUDGES["auc_images"], steps=50).train, sensors=SENSORS)
    value, error = two_sample_auc(real, less, 0, train)
    assert value > 0.8
    assert 0 < error < 0.1
    few = [sample.first(6) for sample in (real, less)]
    assert np.isnan(two_sample_auc(*few, 0, lambda *_: lambda s: s.event.astype(float))[1])


def test_events_without_hits_are_distinguished(
    events: Hits, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "auc_patches"
    monkeypatch.setattr(judge_comparison, "JUDGES", {name: replace(JUDGES[name], steps=10)})
    comparison = NetworkComparison(4, 3)
    for recorder in comparison.reference(GEOMETRY, 4):
        recorder.add(some(events, 0, 4))
    empty = from_dense(np.zeros((4 * SENSORS, 250, 768), np.uint8), events.sensor[:160],
                       events.event[:160])  # fmt: skip
    for recorder in comparison.candidate("empty"):
        recorder.add(empty)
    found = {"empty": compare(*(summarise(some(events, k, k + 4), GEOMETRY) for k in (0, 4)))}
    curves = comparison.judge(found)["curves"]
    assert curves[name]["empty"] == [[4.0, 1.0, 0.0]]
    metric = found["empty"]["metrics"][name]
    assert metric["value"] == 1.0
    assert metric["within"] is metric["floor_error"] is None  # too few real events for a floor


def test_real_events_without_hits_are_no_judgement(
    events: Hits, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "auc_patches"
    monkeypatch.setattr(judge_comparison, "JUDGES", {name: JUDGES[name]})
    comparison = NetworkComparison(4, 3, lambda hits: hits)
    empty = some(events, 0, 4).where(some(events, 0, 4).adu > 999)
    for recorder in (*comparison.reference(GEOMETRY, 4), *comparison.candidate("empty")):
        recorder.add(empty)
    found = {"empty": compare(*(summarise(some(events, k, k + 4), GEOMETRY) for k in (0, 4)))}
    curves = comparison.judge(found)["curves"][name]
    assert all(curve == [[0.0, None, None]] for curve in curves.values())
    assert found["empty"]["metrics"][name]["within"] is None
