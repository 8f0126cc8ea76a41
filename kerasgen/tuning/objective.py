"""What a study makes small: metrics of the final evaluation over their real-against-real floors.

A metric in units of its floor has no unit and does not depend on the weights of the loss, so that
trials with different weights compare, and several metrics can be averaged.
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
    """Numbers of the evaluations during training that do not depend on the weights of the loss."""
    return algorithm_of(config.algorithm).kind.watched_names(config.data)


def chosen(document: dict[str, Any]) -> dict[str, Any]:
    """The metrics of a ``metrics.json`` that count: those before calibration where there is one."""
    candidates = document["candidates"]
    return candidates.get("uncalibrated", candidates[document["candidate"]])["metrics"]


def over_floor(found: dict[str, Any], high: bool) -> float:
    """A metric in units of what real events reach; 1 is as good as real, below is chance.

    The unit is the floor, or the spread of the floor where that is larger: the floor of a
    distance without bias, as FPD, is 0 on average.

    Args:
        found: value, floor and floor_error of a metric.
        high: higher values are better.
    """
    value, floor = found["value"], found["floor"]
    if value is None or floor is None:
        return math.inf
    unit = max(floor, found["floor_error"] or 0.0)
    if unit <= 0:
        return math.inf if value > 0 else 1.0
    return unit / value if high and value > 0 else math.inf if high else value / unit


def objective(document: dict[str, Any], names: Sequence[str], config: RunConfig) -> float:
    """Mean of the metrics over their floors; infinite where one is not defined."""
    high = algorithm_of(config.algorithm).kind.metric_names(config.data)
    metrics = chosen(document)
    terms = [over_floor(metrics[name], high[name]) for name in names]
    return sum(terms) / len(terms)
