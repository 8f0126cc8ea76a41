"""The recipe keys of cluster growth, each with its type, its allowed values and its default."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from kerasgen.config import (
    Count,
    Fraction,
    Initial,
    PositiveCount,
    Precision,
    Range,
    Seed,
    Weight,
    check_held_out,
)
from kerasgen.data.pixel_source import PixelDataSettings, PixelEvaluationSettings
from kerasgen.errors import InputError

STAGE = "likelihood"  # the only one of a training
Decay = Annotated[float, Range(0, 1, high_open=True)]


@dataclass(frozen=True)
class NetworkSettings:
    """Recipe keys of ``ClusterNetwork``.

    Attributes:
        width: hidden units of a layer.
        layers: residual layers after the first one.
        recent: latest pixels of a cluster that the network sees: of a solid blob all in its view.
        temperature: of the tokens of generated clusters. At 1 their shapes are more varied than
            those of the data: an unlikely token leads to clusters that the training has not seen.
    """

    width: Annotated[int, Range(8, 4096)] = 160
    layers: Count = 2
    recent: Annotated[int, Range(8, 512)] = 32
    temperature: Annotated[float, Range(0.1)] = 0.89


@dataclass(frozen=True)
class TrainingSettings:
    """How to train.

    Attributes:
        steps: training steps.
        batch: growth steps of clusters in a training step.
        rate: peak learning rate of Adam; it falls as a cosine to ``final_rate`` of it.
        final_rate: last learning rate / peak.
        warm_up: steps of linear warm-up.
        ema_decay: of the exponential moving average of the weights.
        precision: "float32", "bfloat16" or "auto" (bfloat16 where the processor has it), of the
            hidden layers.
        evaluate_every: steps between evaluations on held-out events, each with a checkpoint.
        evaluate_events: events of such an evaluation.
        on_collapse: "stop" or "rollback" (to the last good checkpoint, with half the rates).
        seed: of weights and order of the clusters.
        init: network to start from: "" (random weights) or "zoo" (the released weights).
    """

    steps: PositiveCount = 15000
    batch: PositiveCount = 4096
    rate: Weight = 2e-3
    final_rate: Fraction = 0.01
    warm_up: Count = 200
    ema_decay: Decay = 0.998
    precision: Precision = "float32"
    evaluate_every: PositiveCount = 2500
    evaluate_events: Annotated[int, Range(2)] = 8
    on_collapse: Literal["stop", "rollback"] = "stop"
    seed: Seed = 0
    init: Initial = ""


@dataclass(frozen=True)
class CalibrationSettings:
    """Fit of the number of clusters and of the charges of every sensor, after training.

    Attributes:
        events: generated events of the fit, which are compared with training events; the result
            becomes part of the exported graph. 0 switches it off.
    """

    events: Count = 100


@dataclass(frozen=True)
class Config:
    """A run of cluster growth, resolved.

    Attributes:
        recipe: name of the recipe.
        description: one line.
        algorithm: "cluster_growth".
    """

    recipe: str
    description: str = ""
    algorithm: Literal["cluster_growth"] = "cluster_growth"
    data: PixelDataSettings = field(default_factory=PixelDataSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    calibration: CalibrationSettings = field(default_factory=CalibrationSettings)
    evaluation: PixelEvaluationSettings = field(default_factory=PixelEvaluationSettings)


def check(config: Config) -> None:
    """Check recipe keys against each other.

    Raises:
        InputError: no run could work with them.
    """
    check_held_out(config.data)
    if config.data.channels:
        raise InputError(
            f"data.channels = {config.data.channels}: [] with algorithm = 'cluster_growth', "
            "whose clusters have no type"
        )
