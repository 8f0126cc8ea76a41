"""From random numbers to point sets: noise moves along the velocity fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from kerasgen.models.flow_matching.network import FlowNetworks
from kerasgen.models.flow_matching.settings import FlowSettings
from kerasgen.models.set_generation import SetGenerator, normal_quantile
from kerasgen.models.set_normaliser import Normaliser, value_at
from kerasgen.models.set_summary import MIN_TOTAL

TILE = 128  # rows that are computed together
MAX_SCALE = 1.5  # of moments of points to those of their summary
LARGEST = 8.0  # of a normalised number on its way; normal scores of data end at 4.3
SUMMARY_EVALUATIONS = 32  # of the small network of the summaries


class FlowSets(SetGenerator):
    """Velocity fields with normaliser and solver.

    Args:
        fields: trained.
        normaliser: of its points.
        flow: recipe keys.
    """

    def __init__(self, fields: FlowNetworks, normaliser: Normaliser, flow: FlowSettings) -> None:
        words = -(-3 * normaliser.size // 2)  # each gives two numbers
        super().__init__(normaliser, len(normaliser.summaries), words, TILE)
        self.fields, self.settings = fields, flow

    def generated_sets(
        self, count: Any, label: Any, jet: Any, uniform: Any, numbers: Any
    ) -> dict[str, Any]:
        """Sets of given conditions; arguments as in ``SetGenerator``."""
        condition, mask = self.normaliser.condition(label, count, jet[:, 0]), self.mask(count)
        fields, evaluations = self.fields, self.settings.evaluations
        summary = moved(
            normal_quantile(uniform), lambda x, time: fields.summary(x, time, condition),
            SUMMARY_EVALUATIONS, "midpoint",
        )  # fmt: skip
        noise = ops.reshape(normal_quantile(numbers[:, : 3 * self.size]), (-1, self.size, 3))
        both, centres = ops.concatenate([condition, summary], -1), self.normaliser.centres(summary)
        points = moved(
            noise, lambda x, time: fields.points(x, time, mask, both, centres), evaluations,
            self.settings.solver,
        )  # fmt: skip
        points = self.normaliser.to_physical(points)
        if self.normaliser.coordinates == "relative":
            points = self.adjusted(points, mask, summary)
        return self.stored(points, count, jet)

    def adjusted(self, points: Any, mask: Any, summary: Any) -> Any:
        """Points of jets, scaled and shifted to the sums and moments of their summary.

        A summary is exact to the errors of a small network, the sum of many points is not.

        Args:
            points: [n, P, 3], relative.
            mask: [n, P].
            summary: [n, K], normalised.
        """
        tables = [np.array(t, np.float32) for t in self.normaliser.summaries[:5]]
        total, *rest = (value_at(summary[:, k], t) for k, t in enumerate(tables))
        mean, variance = ops.stack(rest[:2], -1), ops.exp(ops.stack(rest[2:], -1)) - MIN_TOTAL
        weight = ops.where(mask, points[..., 2], 0.0)[..., None]
        own = ops.maximum(ops.sum(weight, axis=1), MIN_TOTAL)
        own_mean = ops.sum(points[..., :2] * weight, axis=1) / own
        away = points[..., :2] - own_mean[:, None]
        own_variance = ops.sum(ops.square(away) * weight, axis=1) / own
        scale = ops.sqrt(ops.maximum(variance, 0.0) / ops.maximum(own_variance, MIN_TOTAL))
        place = mean[:, None] + away * ops.clip(scale, 1 / MAX_SCALE, MAX_SCALE)[:, None]
        factor = ops.clip(total[:, None] / own, 1 / MAX_SCALE, MAX_SCALE)
        return ops.concatenate([place, points[..., 2:] * factor[:, None]], axis=-1)


def moved(x: Any, velocity: Callable[[Any, Any], Any], evaluations: int, solver: str) -> Any:
    """Data at time 1 of noise at time 0, within +-``LARGEST``.

    A field may run away under conditions that its training hardly had, such as a top jet of one
    constituent.

    Args:
        x: noise, [n, ...].
        velocity: of a place [n, ...] and times [n].
        evaluations: of the velocity.
        solver: "midpoint" or "euler".
    """

    def at(x: Any, time: float) -> Any:
        return velocity(x, ops.full(ops.shape(x)[:1], time, "float32"))

    def further(x: Any, slope: Any, time: float) -> Any:
        return ops.clip(x + slope * time, -LARGEST, LARGEST)

    steps = evaluations // (2 if solver == "midpoint" else 1)
    for k in range(steps):
        slope = at(x, k / steps)
        if solver == "midpoint":
            slope = at(further(x, slope, 0.5 / steps), (k + 0.5) / steps)
        x = further(x, slope, 1.0 / steps)
    return x
