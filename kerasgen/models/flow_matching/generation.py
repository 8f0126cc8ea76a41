"""From seeds to point sets: noise moves along the velocity field."""

from __future__ import annotations

from typing import Any

from keras import ops

from kerasgen.backend.engine import BACKEND
from kerasgen.models.flow_matching.network import VelocityField
from kerasgen.models.flow_matching.settings import FlowSettings
from kerasgen.models.set_generation import SetGenerator, normal_quantile
from kerasgen.models.set_normaliser import Normaliser
from kerasgen.models.set_statistics import Fitted

TILE = 128  # rows that are computed together


class FlowSets(SetGenerator):
    """A velocity field with normaliser and solver.

    Args:
        field: trained.
        normaliser: of its points.
        flow: recipe keys.
    """

    def __init__(self, field: VelocityField, normaliser: Normaliser, flow: FlowSettings) -> None:
        super().__init__(normaliser, 0, -(-3 * normaliser.size // 2), TILE)
        self.field, self.settings = field, flow

    def generated_sets(
        self, count: Any, label: Any, jet: Any, uniform: Any, numbers: Any
    ) -> dict[str, Any]:
        """Sets of given conditions; arguments as in ``SetGenerator``."""
        noise = ops.reshape(normal_quantile(numbers[:, : 3 * self.size]), (-1, self.size, 3))
        condition = self.normaliser.condition(label, count, jet[:, 0])
        return self.stored(self.moved(noise, self.mask(count), condition), count, jet)

    def moved(self, x: Any, mask: Any, condition: Any) -> Any:
        """Points at time 1 of noise at time 0, both [n, P, 3]."""

        def velocity(x: Any, time: float) -> Any:
            return self.field(x, ops.full_like(x[:, 0, 0], time), mask, condition)

        midpoint = self.settings.solver == "midpoint"
        steps = self.settings.evaluations // (2 if midpoint else 1)
        for k in range(steps):
            slope = velocity(x, k / steps)
            if midpoint:
                slope = velocity(x + slope * (0.5 / steps), (k + 0.5) / steps)
            x = x + slope * (1.0 / steps)
        return x


def set_generator(field: VelocityField, fitted: Fitted, flow: FlowSettings) -> Any:
    """On TensorFlow a generator that can be exported, else a portable one.

    Both make the same sets of a seed, to rounding.

    Args:
        field: trained.
        fitted: statistics of the training sets.
        flow: recipe keys.
    """
    kind: Any
    if BACKEND == "tensorflow":
        from kerasgen.models.flow_matching.sampling import FlowGenerator as kind
    else:
        from kerasgen.models.flow_matching.portable_sampling import PortableFlowGenerator as kind
    return kind(field, fitted, flow)
