"""The rule by which a metric, and all metrics of a comparison together, are within the floor.

A metric is within the floor if value - floor <= 3 sqrt(error^2 + floor_error^2). An error excuses a
value up to a size only: if it is more than 1000 times the floor and more than 1000 times the error
of the floor, some events of the sample are so extreme that resampling says nothing, and everything
would be compatible with everything. Such a value, and one whose error is not finite, is not
defined: it is outside. A value that is beyond the floor even so is kept.

Of 30 metrics one or another exceeds 3 sigma by chance, and floors are not normally distributed. The
verdict therefore compares the largest (value - floor) / sqrt(error^2 + floor_error^2) of all
metrics with the largest of all splits of the reference (the maximum over metrics keeps their
correlations; Westfall and Young 1993, ISBN 0-471-55761-7), and with at least 3.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from kerasgen.metrics.bias import finite_or_none

SIGMAS = 3.0
MAX_ERROR = 1000.0  # times floor and error of the floor; released models: up to 70


def judged_metric(
    value: float, error: float, floor: float, floor_error: float, unit: str, n: int
) -> dict[str, Any]:
    """One metric as ``metrics.json`` records it.

    Args:
        value: larger is worse; NaN where it is not defined, which is outside the floor.
        error: of the value; NaN or infinite: the value is not defined.
        floor: value that real events reach against real events; NaN: no judgement.
        floor_error: standard deviation of the floor; NaN or infinite: no judgement.
        unit: of the value.
        n: events of the candidate.

    Returns:
        The arguments by name, None for those that are not finite, and ``within``; None (null)
        without a floor.
    """
    within: bool | None = None
    if math.isfinite(floor) and math.isfinite(floor_error):
        within = bool(value - floor <= SIGMAS * math.hypot(error, floor_error))
        scale = max(abs(floor), floor_error)
        excused = within and error > MAX_ERROR * scale > 0
        if excused or not (math.isfinite(value) and math.isfinite(error)):
            value, within = math.nan, False
    return {
        "value": finite_or_none(value),
        "error": finite_or_none(error),
        "floor": finite_or_none(floor),
        "floor_error": finite_or_none(floor_error),
        "unit": unit,
        "n": n,
        "within": within,
    }


def sigmas_above(metric: dict[str, Any]) -> float:
    """(value - floor) / sqrt(error^2 + floor_error^2) of a metric from ``judged_metric``.

    Infinite for a value above the floor without any error, and for an undefined value where the
    floor is defined; 0 without a floor or its error.
    """
    if metric["floor"] is None or metric["floor_error"] is None:
        return 0.0
    if metric["value"] is None:
        return float("inf")
    above = metric["value"] - metric["floor"]
    width = math.hypot(metric["error"] or 0.0, metric["floor_error"])
    if width > 0:
        return float(above / width)
    return float("inf") if above > 1e-12 else 0.0


def verdict_of_metrics(
    metrics: dict[str, dict[str, Any]], splits: Mapping[str, Iterable[float]]
) -> dict[str, Any]:
    """The verdict on all metrics of a comparison.

    Args:
        metrics: from ``judged_metric``, by name.
        splits: values of each metric between parts of the reference, scaled as its floor.

    Returns:
        ``metrics``; ``verdict``, "within floor" or "outside floor"; ``outside``, names of the
        metrics that are not within; ``sigmas``, the largest excess that the verdict allows.
    """
    chance = [
        sigmas_above(metrics[name] | {"value": value})
        for name, values in splits.items()
        for value in values
    ]
    limit = max(SIGMAS, float(np.fmax.reduce(chance, initial=0.0)))
    outside = [name for name, metric in metrics.items() if metric["within"] is False]
    beyond = any(sigmas_above(metrics[name]) > limit for name in outside)
    return {
        "metrics": metrics,
        "verdict": "outside floor" if beyond else "within floor",
        "outside": outside,
        "sigmas": limit,
    }


def add_metric(result: dict[str, Any], name: str, metric: dict[str, Any]) -> None:
    """Add a metric to a comparison, and to its verdict if it exceeds the limit.

    Args:
        result: from ``verdict_of_metrics``, changed in place.
        name: of the metric.
        metric: from ``judged_metric``.
    """
    result["metrics"][name] = metric
    if metric["within"] is False:
        result["outside"].append(name)
        if sigmas_above(metric) > result["sigmas"]:
            result["verdict"] = "outside floor"
