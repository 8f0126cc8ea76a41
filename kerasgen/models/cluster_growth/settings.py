"""The recipe keys of cluster growth, each with its type, its allowed values and its default."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from kerasgen.config import (
    Count,
    Fraction,
    Initial,
    PositiveCount,
    PositiveFloat,
    Precision,
    Range,
    Seed,
    Weight,
    check_held_out,
)
from kerasgen.data.pixel_source import PixelDataSettings, PixelEvaluationSettings
from kerasgen.errors import InputError

# Stages of a training, by what trains in them; "adversarial": discriminator and generator.
LIKELIHOOD, DISCRIMINATOR, ADVERSARIAL = "likelihood", "discriminator", "adversarial"
MOST_TYPES = 16  # of background
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
        superposed: share of the events that have another event on top, so that the network learns
            what a higher level of background does to clusters, and below 1 follows it.
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
    superposed: Fraction = 0.0
    evaluate_every: PositiveCount = 2500
    evaluate_events: Annotated[int, Range(2)] = 8
    on_collapse: Literal["stop", "rollback"] = "stop"
    seed: Seed = 0
    init: Initial = ""


@dataclass(frozen=True)
class AdversarialSettings:
    """The adversarial stage, after ``training.steps``: a discriminator beside the likelihood.

    Attributes:
        steps: steps of the stage; 0: none.
        alone: of these, at first, steps in which only the discriminator trains.
        clusters: pairs of a real and a grown cluster in a step of the discriminator.
        discriminator_steps: N_D, discriminator steps per generator step.
        smallest, largest: pixels of these clusters.
        rate, discriminator_rate: peak learning rates of Adam; they fall as ``training.rate`` does.
        final_rate: last learning rate / peak.
        weight: lambda of the generator's adversarial loss beside the likelihood.
        loss: "hinge", "wasserstein" or "relativistic" (each grown cluster is paired with the real
            one of its condition).
        contrastive: weight of the metric-learning term 2C of the discriminator.
        temperature: of the metric-learning term.
        consistency: weight of the consistency term, whose transformation is a small jitter: a
            gradient penalty to first order, on real and on grown clusters.
        sigma: of the jitter.
        spectral_norm, self_attention: of the discriminator.
        width: hidden units of the discriminator.
    """

    steps: Count = 0
    alone: Count = 500
    clusters: PositiveCount = 1024
    discriminator_steps: PositiveCount = 2
    smallest: Annotated[int, Range(2)] = 5
    largest: Annotated[int, Range(2, 512)] = 64
    rate: Weight = 1e-4
    discriminator_rate: Weight = 1e-3
    final_rate: Fraction = 0.1
    weight: Weight = 1.0
    loss: Literal["hinge", "wasserstein", "relativistic"] = "relativistic"
    contrastive: Weight = 0.0
    temperature: PositiveFloat = 0.5
    consistency: Weight = 0.0
    sigma: PositiveFloat = 0.05
    spectral_norm: bool = False
    self_attention: bool = True
    width: Annotated[int, Range(8, 4096)] = 256


@dataclass(frozen=True)
class CalibrationSettings:
    """Fit of the number of clusters and of the charges of every sensor, after training.

    Attributes:
        events: generated events of the fit, which are compared with training events; the result
            becomes part of the exported graph. 0 switches it off.
    """

    events: Count = 200


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
    adversarial: AdversarialSettings = field(default_factory=AdversarialSettings)
    calibration: CalibrationSettings = field(default_factory=CalibrationSettings)
    evaluation: PixelEvaluationSettings = field(default_factory=PixelEvaluationSettings)


def check(config: Config) -> None:
    """Check recipe keys against each other.

    Raises:
        InputError: no run could work with them.
    """
    check_held_out(config.data)
    if len(config.data.channels) > MOST_TYPES:
        raise InputError(f"data.channels: {len(config.data.channels)} types, at most {MOST_TYPES}")
    settings = config.adversarial
    if settings.alone > settings.steps > 0:
        raise InputError(
            f"adversarial.alone = {settings.alone}: at most adversarial.steps = {settings.steps}"
        )
    if settings.smallest > settings.largest:
        raise InputError(
            f"adversarial.smallest = {settings.smallest}: at most adversarial.largest = "
            f"{settings.largest}"
        )
