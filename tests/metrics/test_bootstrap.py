"""Bootstrap samples hold whole events, and their random streams stay as they are."""

import json

import numpy as np
import pytest
from bootstrap_golden import GOLDEN, golden_metrics

from kerasgen.metrics.bootstrap import (
    RESAMPLES,
    bootstrap_rows,
    bootstrap_weights,
    mean_and_deviation,
    resample_events,
    variance_ratio,
)


def test_rows_are_those_of_the_drawn_events() -> None:
    event = np.repeat(np.arange(5), [3, 1, 2, 4, 1])
    rows = bootstrap_rows(event, np.random.default_rng(1))
    drawn = np.random.default_rng(1).integers(5, size=5)
    expected = [np.flatnonzero(event == k) for k in drawn]
    np.testing.assert_array_equal(rows, np.concatenate(expected))


def test_single_rows_are_drawn_with_replacement() -> None:
    rows = bootstrap_rows(np.arange(40), np.random.default_rng(2))
    np.testing.assert_array_equal(rows, np.random.default_rng(2).integers(40, size=40))


def test_weights_have_as_many_events_as_the_sample() -> None:
    weights = bootstrap_weights(12, np.random.default_rng(0))
    assert weights.shape == (RESAMPLES, 12)
    assert (weights.sum(axis=1) == 12).all()


@pytest.mark.parametrize(("candidate", "part"), [(6, 6), (100, 10)])
def test_the_smaller_part_of_a_split_has_at_most_half_of_the_events(
    candidate: int, part: int
) -> None:
    found = resample_events(20, candidate, np.random.default_rng(0))
    assert (found.part.sum(axis=1) == part).all()
    assert found.scale**2 == pytest.approx(variance_ratio(20, candidate, part))


def test_halves_of_samples_of_one_size_have_twice_the_variance() -> None:
    assert variance_ratio(20, 20, 10) == pytest.approx(0.5)


def test_undefined_values_are_left_out() -> None:
    assert mean_and_deviation(np.array([1.0, np.nan, 3.0])) == (2, pytest.approx(2**0.5))
    assert np.isnan(mean_and_deviation(np.array([1.0, np.nan]))).all()


def test_metrics_of_fixed_samples_stay_the_same() -> None:
    expected = json.loads(GOLDEN.read_text())
    found = golden_metrics()
    assert found.keys() == expected.keys()
    for name, values in found.items():
        assert values == pytest.approx(expected[name], rel=1e-6, abs=1e-12), name
