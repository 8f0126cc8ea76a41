"""Scores of known answers and features, and the released classifier on simulated events."""

from importlib import resources

import numpy as np
import pytest

from kerasgen.data.geometry import load_geometry
from kerasgen.data.hits import Hits, concatenate
from kerasgen.data.simulation.pxd import simulate_events
from kerasgen.metrics import sensor_classifier
from kerasgen.metrics.distance import frechet_distance
from kerasgen.metrics.sensor_scores import (
    EventAnswers,
    SensorComparison,
    accuracy,
    inception_score,
    kernel_means,
    mean_discrepancy,
    sensor_metrics,
    sum_answers,
    weighted_moments,
)

SENSORS, WIDTH = 4, 3


def event_answers(n: int, seed: int, shift: float = 0.0, sure: float = 1.0) -> EventAnswers:
    """Normal features; the true sensor has the probability ``sure`` + (1 - ``sure``) / SENSORS."""
    rng = np.random.default_rng(seed)
    answers = np.tile(np.eye(SENSORS) * sure + (1 - sure) / SENSORS, (n, 1))
    features = rng.standard_normal((n * SENSORS, WIDTH)) + shift
    return sum_answers(answers, features, np.tile(np.arange(SENSORS), n), SENSORS)


def test_inception_score_is_the_number_of_distinguished_sensors() -> None:
    one = np.ones(5)
    assert inception_score(event_answers(5, 0), one) == pytest.approx(SENSORS)
    assert inception_score(event_answers(5, 0, sure=0.0), one) == pytest.approx(1)
    p = np.array([0.5 + 0.125, *[0.125] * 3])
    expected = np.exp((p * np.log(p * SENSORS)).sum())
    assert inception_score(event_answers(5, 0, sure=0.5), one) == pytest.approx(expected)
    assert accuracy(event_answers(5, 0, sure=0.5), one) == 1


def test_moments_are_those_of_the_images() -> None:
    sample = event_answers(6, 1)
    weight = np.array([2.0, 0, 1, 1, 0, 1])
    flat = np.repeat(sample.features, weight.astype(int), axis=0).reshape(-1, WIDTH)
    mean, covariance = weighted_moments(sample, weight)
    np.testing.assert_allclose(mean, flat.mean(0), atol=1e-6)
    np.testing.assert_allclose(covariance, np.cov(flat, rowvar=False), atol=1e-6)


def test_frechet_distance_of_a_shift_is_its_square() -> None:
    a, b = event_answers(3000, 1), event_answers(3000, 2, shift=0.5)
    found = frechet_distance(weighted_moments(a, np.ones(3000)), weighted_moments(b, np.ones(3000)))
    assert found == pytest.approx(WIDTH * 0.25, rel=0.1)


def test_kernel_distance_is_that_of_all_pairs_of_different_events() -> None:
    a, b = event_answers(5, 1), event_answers(4, 2, shift=1.0)

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float(((x @ y.T / WIDTH + 1) ** 3).mean())

    def within(x: EventAnswers) -> float:
        pairs = [kernel(u, v) for i, u in enumerate(x.features)
                 for j, v in enumerate(x.features) if i != j]  # fmt: skip
        return float(np.mean(pairs))

    across = kernel(a.features.reshape(-1, WIDTH), b.features.reshape(-1, WIDTH))
    found = mean_discrepancy(
        kernel_means(a, a), kernel_means(b, b), kernel_means(a, b), np.ones(5), np.ones(4)
    )
    assert found == pytest.approx(within(a) + within(b) - 2 * across, rel=1e-4)


@pytest.mark.parametrize(("shift", "sure", "outside"), [(0.0, 0.5, 0), (0.5, 0.4, 3)])
def test_equal_samples_are_within_and_different_samples_are_outside(
    shift: float, sure: float, outside: int
) -> None:
    found = sensor_metrics(event_answers(60, 1, sure=0.5), event_answers(60, 2, shift, sure), 0)
    assert sum(m["within"] is False for m in found.values()) == outside  # accuracy is the same
    assert found["sensor_accuracy"]["within"]


@pytest.fixture(scope="module")
def events() -> Hits:
    return concatenate(list(simulate_events(load_geometry("belle2-pxd"), 17, 0, 8)))


def test_the_released_classifier_is_better_than_chance(events: Hits) -> None:
    geometry = load_geometry(sensor_classifier.GEOMETRY)
    answers, features = sensor_classifier.load_classifier(geometry)(events)
    assert answers.shape == (320, 40)
    assert features.shape == (320, sensor_classifier.FEATURES)
    np.testing.assert_allclose(answers.sum(1), 1, rtol=1e-5)
    assert (answers.argmax(1) == events.sensor).mean() > 0.1  # chance 0.025
    weights = resources.files("kerasgen.metrics") / sensor_classifier.WEIGHTS
    assert len(weights.read_bytes()) < 2e6


def test_comparison_adds_metrics_and_leaves_out_other_detectors(events: Hits) -> None:
    geometry = load_geometry("belle2-pxd")
    comparison = SensorComparison(4, 0)
    for recorder in comparison.reference(geometry, 8):
        recorder.add(events)
    for recorder in comparison.candidate("made"):
        recorder.add(events.take(np.arange(160)))
    found = {"made": {"metrics": {}, "outside": [], "verdict": "", "sigmas": 3.0}}
    extra = comparison.judge(found)
    assert set(found["made"]["metrics"]) == set(extra["about"])
    assert 1 < extra["real"]["inception_score"] < 40
    other = SensorComparison(4, 0)
    assert other.reference(load_geometry("timepix"), 8) == []
    assert other.candidate("made") == []
    assert other.judge({"made": {}}) == {"about": {}}
