"""The recipe keys of flow matching, each with its type, its allowed values and its default."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from kerasgen.config import Count, PositiveCount, Range, check_held_out
from kerasgen.data.point_source import PointDataSettings
from kerasgen.errors import InputError
from kerasgen.evaluation.point_sets import PointEvaluationSettings
from kerasgen.models.set_settings import SetOptimiserSettings, SetRunSettings

STAGE = "field"  # the one stage of a training


@dataclass(frozen=True)
class NetworkSettings:
    """Recipe keys of the velocity field.

    Attributes:
        width: numbers of a point in a layer.
        context: numbers of the whole set in a layer.
        layers: set layers, see ``kerasgen.layers.set_layer``.
        heads: of the attention of points to each other in a layer, divides ``width``; 0: points
            know of each other by the numbers of the whole set alone.
        pt: whether the field is conditional on the pT of the jet.
    """

    width: PositiveCount = 128
    context: PositiveCount = 256
    layers: PositiveCount = 6
    heads: Count = 0
    pt: bool = False


@dataclass(frozen=True)
class FlowSettings:
    """Recipe keys of the paths from noise to sets.

    Attributes:
        pairing: which noise becomes which point of a training set: "assignment" (the pairs with the
            least sum of squared distances, so that paths hardly cross and few steps suffice) or
            "independent".
        evaluations: network evaluations of a generated set.
        solver: "midpoint" (second order, two evaluations per step) or "euler" (first order, one).
        mirror: mirror jets in eta and phi at random, which does not change their physics; relative
            coordinates only.
    """

    pairing: Literal["assignment", "independent"] = "assignment"
    evaluations: PositiveCount = 8
    solver: Literal["midpoint", "euler"] = "midpoint"
    mirror: bool = False


@dataclass(frozen=True)
class OptimiserSettings(SetOptimiserSettings):
    """Length of a training, its optimiser and the moving average of the weights.

    Attributes:
        ema_decay: decay per step of the moving average of the weights, which generates; at step k
            at most (1 + k) / (10 + k).
    """

    steps: PositiveCount = 20000
    warm_up: Count = 500
    ema_decay: Annotated[float, Range(0.0, 1.0)] = 0.999


@dataclass(frozen=True)
class TrainingSettings(SetRunSettings, OptimiserSettings):
    """How to train."""


@dataclass(frozen=True)
class FlowConfig:
    """A run of flow matching, resolved.

    Attributes:
        recipe: name of the recipe.
        description: one line.
        algorithm: "flow_matching".
    """

    recipe: str
    description: str = ""
    algorithm: Literal["flow_matching"] = "flow_matching"
    data: PointDataSettings = field(default_factory=PointDataSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    flow: FlowSettings = field(default_factory=FlowSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    evaluation: PointEvaluationSettings = field(default_factory=PointEvaluationSettings)


def check(config: FlowConfig) -> None:
    """Check recipe keys against each other.

    Raises:
        InputError: no run could work with them.
    """
    check_held_out(config.data)
    if config.data.log_intensity and config.data.coordinates == "cartesian":
        raise InputError("data.log_intensity: a component of a momentum may be negative")
    if config.flow.mirror and config.data.coordinates != "relative":
        raise InputError("flow.mirror: for data.coordinates = 'relative'")
    if config.network.heads and config.network.width % config.network.heads:
        raise InputError("network.heads: must divide network.width")
    if config.flow.solver == "midpoint" and config.flow.evaluations % 2:
        raise InputError("flow.evaluations: even with flow.solver = 'midpoint'")
