"""Plain numbers of real and generated events, and when their difference matters.

An analysis of N events measures a number with the error s / sqrt(N), s its spread from event to
event. A model whose number is off by b adds the bias b, which no statistics reduces: it exceeds the
error from N = (s / b)^2 events on.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

SEEN = 3.0  # sigma from which a difference is taken for a bias


def quantity(
    values: NDArray[np.float64], events: int, unit: str, paired: bool = False
) -> dict[str, Any]:
    """One number of both samples with errors, and from how many events on its bias counts.

    Args:
        values: [1 + resamples, 2], reference and candidate: the samples, then their bootstraps.
        events: of the reference.
        unit: of the number.
        paired: reference and candidate were resampled together, so their errors may cancel.

    Returns:
        ``reference``, ``candidate`` and their ``..._error``, ``difference_error``, ``unit``,
        ``events``: from how many on the bias exceeds the statistical error, and ``seen``: whether
        there is a bias beyond 3 sigma; without it ``events`` is the number below which it does not
        (95 %). None where the number is not defined.
    """
    (a, b), drawn = values[0], values[1:]
    errors = [_deviation(drawn[:, k]) for k in range(2)]
    gap_error = _deviation(drawn[:, 1] - drawn[:, 0]) if paired else math.hypot(*errors)
    number, seen = sufficient_events(b - a, gap_error, errors[0] * math.sqrt(events))
    return {
        "reference": finite(a),
        "candidate": finite(b),
        "reference_error": finite(errors[0]),
        "candidate_error": finite(errors[1]),
        "difference_error": finite(gap_error),
        "unit": unit,
        "events": number,
        "seen": seen,
    }


def sufficient_events(bias: float, error: float, spread: float) -> tuple[float | None, bool | None]:
    """Events from which a bias exceeds the statistical error, and whether the bias is beyond 3
    sigma; else the events up to which it does not, at 95 % confidence.

    Args:
        bias: difference of the samples.
        error: of the bias.
        spread: of the number from event to event.
    """
    if not (math.isfinite(bias) and math.isfinite(error) and math.isfinite(spread)):
        return None, None
    seen = bool(abs(bias) > SEEN * error)
    largest = abs(bias) if seen else abs(bias) + 1.96 * error
    return (float((spread / largest) ** 2) if largest > 0 else None), seen


def _deviation(values: NDArray[np.float64]) -> float:
    defined = values[np.isfinite(values)]
    return float(defined.std(ddof=1)) if len(defined) > 1 else float("nan")


def finite(x: float) -> float | None:
    """A number as JSON knows it: None where it is not finite."""
    return float(x) if math.isfinite(x) else None
