"""What a study makes small: metrics of the final evaluation over their real-against-real floors.

A metric in units of its floor has no unit and does not depend on the weights of the loss, so that
trials with different weights compare, and several metrics can be averaged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from kerasgen.zoo.config import SPARSE_VAE

OBJECTIVE_TAG = "study/objective"  # in TensorBoard


def point_metrics(config: Any) -> dict[str, Any]:
    """The metrics of a recipe of point sets by name."""
    from kerasgen.metrics.point_sets import jet_metrics, superpixel_metrics

    return jet_metrics(2, 2) if is_jets(config) else superpixel_metrics(2, 2)


def is_jets(config: Any) -> bool:
    """Whether a recipe of point sets is of jets."""
    from kerasgen.data.points import PointFile
    from kerasgen.training.point_data import BUILT_IN

    source = config.data.source
    if source.startswith("simulate:") or source in BUILT_IN:
        return source.startswith("simulate:")
    with PointFile(source) as file:
        return file.form.name == "jets"


def metric_names(config: Any) -> list[str]:
    """Metrics that the final evaluation of a recipe computes."""
    if config.architecture == SPARSE_VAE:
        return list(point_metrics(config))
    from kerasgen.metrics.pixel import METRICS

    return list(METRICS)


def watched_names(config: Any) -> list[str]:
    """Numbers of the evaluations during training that do not depend on the weights of the loss."""
    if config.architecture == SPARSE_VAE:
        return ["w1_points", "w1_mass" if is_jets(config) else "w1_total"]
    return ["score"]


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


def objective(document: dict[str, Any], names: Sequence[str], config: Any) -> float:
    """Mean of the metrics over their floors; infinite where one is not defined."""
    point = point_metrics(config) if config.architecture == SPARSE_VAE else {}
    metrics = chosen(document)
    terms = [over_floor(metrics[name], name in point and point[name].high) for name in names]
    return sum(terms) / len(terms)
