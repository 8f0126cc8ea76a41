"""The objective that a study minimises: metrics of the final evaluation over their floors.

The floor of a metric compares real events with real events. A metric in units of its floor is
dimensionless and does not depend on the weights of the loss: trials with different weights can be
compared, and several metrics can be averaged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from kerasgen.config import RunConfig
from kerasgen.models.algorithm import algorithm_of

OBJECTIVE_TAG = "study/objective"  # in TensorBoard


def metric_names(config: RunConfig) -> list[str]:
    """Metrics that the final evaluation of a recipe computes."""
    return list(algorithm_of(config.algorithm).kind.metric_names(config.data))


def watched_names(config: RunConfig) -> list[str]:
    """Metrics during training that do not depend on the weights of the loss."""
    return algorithm_of(config.algorithm).kind.watched_names(config.data)


def objective_metrics(document: dict[str, Any]) -> dict[str, Any]:
    """Metrics of a ``metrics.json`` that enter the objective: those before calibration, if any."""
    candidates = document["candidates"]
    return candidates.get("uncalibrated", candidates[document["candidate"]])["metrics"]


def over_floor(metric: dict[str, Any], high: bool) -> float:
    """A metric in units of its floor: 1 is as good as real events, below 1 is a fluctuation.

    The unit is the floor, or the standard deviation of the floor where that is larger: the floor
    of an unbiased distance, as FPD, is 0 on average.

    Args:
        metric: value, floor and floor_error of a metric.
        high: higher values are better.
    """
    value, floor = metric["value"], metric["floor"]
    if value is None or floor is None:
        return math.inf
    unit = max(floor, metric["floor_error"] or 0.0)
    if unit <= 0:
        return math.inf if value > 0 else 1.0
    return unit / value if high and value > 0 else math.inf if high else value / unit


def objective(document: dict[str, Any], names: Sequence[str], config: RunConfig) -> float:
    """Mean of the metrics over their floors; infinite if one of them is not defined.

    Args:
        document: content of ``metrics.json``.
        names: of the metrics.
        config: of the run.
    """
    high = algorithm_of(config.algorithm).kind.metric_names(config.data)
    metrics = objective_metrics(document)
    terms = [over_floor(metrics[name], high[name]) for name in names]
    return sum(terms) / len(terms)
