"""The number of events from which a bias exceeds the statistical error."""

import numpy as np
import pytest

from kerasgen.metrics.bias import compare_quantity, sufficient_events


def test_a_bias_of_a_tenth_of_the_standard_deviation_counts_from_a_hundred_events() -> None:
    assert sufficient_events(-0.2, 0.01, 2.0) == (pytest.approx(100), True)


def test_without_a_bias_the_number_is_a_limit() -> None:
    events, seen = sufficient_events(0.0, 0.1, 1.96)
    assert (events, seen) == (pytest.approx(100), False)
    assert sufficient_events(float("nan"), 0.1, 1.0) == (None, None)


def test_standard_deviation_and_errors_come_from_the_bootstrap() -> None:
    """Means of 400 events, standard deviation 3, candidate 1 higher: counts from 9 events."""
    rng = np.random.default_rng(0)
    resampled = np.array([10.0, 11.0]) + 3 / np.sqrt(400) * rng.standard_normal((4000, 2))
    found = compare_quantity(np.vstack([[10.0, 11.0], resampled]), 400, "ADU")
    assert found["events"] == pytest.approx(9, rel=0.1)
    assert found["seen"]
    assert found["reference_error"] == pytest.approx(0.15, rel=0.1)
    assert found["difference_error"] == pytest.approx(0.15 * np.sqrt(2), rel=0.1)


def test_common_errors_cancel_for_paired_resampling() -> None:
    resampled = np.array([10.0, 10.1]) + np.random.default_rng(0).standard_normal((50, 1))
    values = np.vstack([[10.0, 10.1], resampled])
    assert compare_quantity(values, 100, "um", paired=True)["seen"]
    assert not compare_quantity(values, 100, "um")["seen"]
