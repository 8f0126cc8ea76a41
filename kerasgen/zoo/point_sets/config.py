"""The configuration of a run of the sparse VAE; see ``kerasgen.zoo.config``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from kerasgen.data.jets import COORDINATES
from kerasgen.errors import InputError
from kerasgen.models.sparse_vae.settings import (
    RECONSTRUCTIONS,
    NetworkSettings,
    PriorSettings,
    VAELossSettings,
)
from kerasgen.zoo.config import check_values

NETWORKS = ["dense", "set", "conv"]


@dataclass(frozen=True)
class PointDataSettings:
    """Where the point sets come from.

    Attributes:
        source: "simulate:jets", "digits" (ships inside scikit-learn), "mnist" (downloads) or the
            path of a kerasgen HDF5 file of point sets.
        classes: names of the classes to use; empty: all of the source (of simulated jets: gluon).
        points: P, most points of a set; 0: as many as the source has.
        coordinates: of jets: "relative", "polar" or "cartesian"; of superpixels no choice.
        log_intensity: standardise the intensity on a log scale.
        events: sets to simulate; of a file, sets to use, 0 for all.
        held_out: sets drawn at random that training never sees; the metrics are computed on them.
        seed: of the simulation.
    """

    source: str = "simulate:jets"
    classes: list[str] = field(default_factory=list)
    points: int = 0
    coordinates: str = "relative"
    log_intensity: bool = False
    events: int = 0
    held_out: int = 1000
    seed: int = 1


@dataclass(frozen=True)
class VAETrainingSettings:
    """How to train.

    Attributes:
        steps: of the auto-encoder; ``prior.steps`` of the flow follow.
        batch: sets of a step.
        rate: peak learning rate of Adam; it falls as a cosine to ``final_rate`` of it.
        final_rate: last learning rate / peak.
        warm_up: steps of linear warm-up.
        precision: "float32", "bfloat16" or "auto", of encoder and decoder.
        evaluate_every: steps between evaluations on held-out sets; a checkpoint goes with each.
        evaluate_events: sets of such an evaluation.
        seed: of weights, noise and order of the sets.
        init: networks to start from: "" (random weights) or "zoo" (those that the recipe ships).
    """

    steps: int = 10000
    batch: int = 256
    rate: float = 1e-3
    final_rate: float = 0.02
    warm_up: int = 100
    precision: str = "float32"
    evaluate_every: int = 2000
    evaluate_events: int = 2000
    seed: int = 0
    init: str = ""


@dataclass(frozen=True)
class PointEvaluationSettings:
    """The evaluation at the end of a run.

    Attributes:
        events: generated sets, compared with the held-out ones.
        batches: how many batches COV and MMD are the mean of.
        batch: real sets, and as many generated ones, of such a batch.
    """

    events: int = 10000
    batches: int = 10
    batch: int = 100


@dataclass(frozen=True)
class VAEConfig:
    """A run, resolved."""

    recipe: str
    description: str = ""
    architecture: str = "sparse_vae"
    data: PointDataSettings = field(default_factory=PointDataSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    prior: PriorSettings = field(default_factory=PriorSettings)
    loss: VAELossSettings = field(default_factory=VAELossSettings)
    training: VAETrainingSettings = field(default_factory=VAETrainingSettings)
    evaluation: PointEvaluationSettings = field(default_factory=PointEvaluationSettings)


def check_vae(config: VAEConfig) -> None:
    """Values that no run could work with.

    Raises:
        InputError: there is one.
    """
    choices: dict[str, Sequence[str]] = {
        "data.coordinates": list(COORDINATES),
        "network.encoder": NETWORKS,
        "network.decoder": [*NETWORKS, "drawn"],
        "prior.form": ["normal", "flow"],
        "loss.reconstruction": RECONSTRUCTIONS,
        "training.precision": ["auto", "bfloat16", "float32"],
    }
    at_least: dict[str, float] = {
        "data.points": 0, "data.events": 0, "data.held_out": 100, "data.seed": 0,
        "network.width": 1, "network.layers": 1, "network.latent_size": 2,
        "network.components": 1, "network.temperature": 0.1, "prior.layers": 1, "prior.width": 1,
        "prior.steps": 0, "prior.rate": 0, "loss.beta": 0, "loss.warm_up": 0,
        "loss.features": 0, "loss.mass": 0, "loss.eta": 0, "training.steps": 1,
        "training.batch": 1, "training.rate": 0, "training.final_rate": 0,
        "training.warm_up": 0, "training.evaluate_every": 1, "training.evaluate_events": 100,
        "training.seed": 0, "evaluation.events": 100, "evaluation.batches": 2,
        "evaluation.batch": 2,
    }  # fmt: skip
    check_values(config, choices, at_least)
    data, loss = config.data, config.loss
    if (config.prior.form == "flow") != (config.prior.steps > 0):
        raise InputError("prior.steps: above 0 with prior.form = 'flow', and 0 with 'normal'")
    if data.source.startswith("simulate:") and data.events <= data.held_out:
        raise InputError(
            f"data.events = {data.events} of a simulation must be above data.held_out = "
            f"{data.held_out}, or none is left to train on"
        )
    if data.log_intensity and data.coordinates == "cartesian":
        raise InputError("data.log_intensity: a component of a momentum may be negative")
    if (config.network.decoder == "drawn") != (loss.reconstruction == "likelihood"):
        raise InputError("network.decoder = 'drawn' goes with loss.reconstruction = 'likelihood'")
    if loss.features and loss.reconstruction == "likelihood":
        raise InputError("loss.features: 0 with loss.reconstruction = 'likelihood'")
    if loss.mirror and data.coordinates != "relative":
        raise InputError("loss.mirror: for data.coordinates = 'relative'")
    fits = config.network.decoder == "drawn" and config.prior.form == "flow"
    if config.network.total and not (
        fits and data.log_intensity and data.coordinates == "relative"
    ):
        raise InputError(
            "network.total: for network.decoder = 'drawn', prior.form = 'flow', "
            "data.log_intensity = true and data.coordinates = 'relative'"
        )
