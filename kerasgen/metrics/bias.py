"""Means of real and generated events, and the number of events from which their difference matters.

An analysis of N events measures a number with the error s / sqrt(N), s its standard deviation from
event to event. A model whose number is off by b adds the bias b, which more events do not reduce:
it exceeds the error from N = (s / b)^2 events on.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.metrics.bootstrap import mean_and_deviation

MIN_BIAS_SIGMAS = 3.0  # a larger difference counts as a bias


def compare_quantity(
    values: NDArray[np.float64], events: int, unit: str, paired: bool = False
) -> dict[str, Any]:
    """Compare one number of both samples.

    Args:
        values: [1 + resamples, 2], reference and candidate: the samples, then their bootstraps.
        events: of the reference.
        unit: of the number.
        paired: reference and candidate were resampled together, so their errors may cancel.

    Returns:
        ``reference``, ``candidate`` and their ``..._error``, ``difference_error``, ``unit``;
        ``events``: the number of events from which the bias exceeds the statistical error;
        ``seen``: whether the bias exceeds 3 sigma. Without such a bias ``events`` is the number
        below which the bias does not exceed the statistical error (95 %). None where the number is
        not defined.
    """
    (a, b), resampled = values[0], values[1:]
    errors = [mean_and_deviation(resampled[:, k])[1] for k in range(2)]
    if paired:
        gap_error = mean_and_deviation(resampled[:, 1] - resampled[:, 0])[1]
    else:
        gap_error = math.hypot(*errors)
    number, seen = sufficient_events(b - a, gap_error, errors[0] * math.sqrt(events))
    return {
        "reference": finite_or_none(a),
        "candidate": finite_or_none(b),
        "reference_error": finite_or_none(errors[0]),
        "candidate_error": finite_or_none(errors[1]),
        "difference_error": finite_or_none(gap_error),
        "unit": unit,
        "events": number,
        "seen": seen,
    }


def sufficient_events(
    bias: float, error: float, deviation: float
) -> tuple[float | None, bool | None]:
    """Number of events from which a bias exceeds the statistical error.

    Args:
        bias: difference of the samples.
        error: of the bias.
        deviation: standard deviation of the number from event to event.

    Returns:
        The number of events, and whether the bias exceeds 3 sigma. If it does not: the number of
        events up to which the bias does not exceed the statistical error, at 95 % confidence.
    """
    if not (math.isfinite(bias) and math.isfinite(error) and math.isfinite(deviation)):
        return None, None
    seen = bool(abs(bias) > MIN_BIAS_SIGMAS * error)
    largest = abs(bias) if seen else abs(bias) + 1.96 * error
    return (float((deviation / largest) ** 2) if largest > 0 else None), seen


def finite_or_none(x: float) -> float | None:
    """A number for JSON: None where it is not finite."""
    return float(x) if math.isfinite(x) else None
