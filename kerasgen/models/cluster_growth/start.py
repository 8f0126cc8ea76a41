"""Start of a training: networks with the statistics of the sensors, optimiser."""

from __future__ import annotations

import math
from pathlib import Path

import keras
import numpy as np

from kerasgen.backend.checkpoint import load_weights
from kerasgen.backend.engine import use_deterministic_kernels
from kerasgen.backend.precision import resolve_precision
from kerasgen.backend.random_numbers import seed_initializers
from kerasgen.backend.schedule import WarmUpCosine
from kerasgen.data.geometry import Geometry
from kerasgen.models.cluster_growth.discriminator import ClusterDiscriminator
from kerasgen.models.cluster_growth.model import CLUSTERS_PER_LANE, ClusterGrowth
from kerasgen.models.cluster_growth.network import ClusterNetwork
from kerasgen.models.cluster_growth.plan import COUNTS, TYPE
from kerasgen.models.cluster_growth.settings import AdversarialSettings, Config
from kerasgen.models.cluster_growth.statistics import SensorStatistics


def build_network(
    config: Config, geometry: Geometry, name: str, precision: str = "float32"
) -> ClusterNetwork:
    """The network of a configuration, with random weights and without statistics."""
    settings = config.network
    size = geometry.rows, geometry.cols
    return ClusterNetwork(
        len(geometry.sensors), size, settings.width, settings.layers, settings.recent, name,
        precision, settings.temperature, tuple(config.data.channels),
    )  # fmt: skip


def build_discriminator(
    stage: AdversarialSettings, geometry: Geometry
) -> ClusterDiscriminator | None:
    """The discriminator of the adversarial stage, with random weights; None without a stage."""
    if not stage.steps:
        return None
    return ClusterDiscriminator(
        len(geometry.sensors), stage.width, stage.self_attention, stage.spectral_norm
    )


def build_growth(config: Config, geometry: Geometry, statistics: SensorStatistics) -> ClusterGrowth:
    """Networks, and an optimiser that is built."""
    settings = config.training
    seed_initializers(settings.seed)
    use_deterministic_kernels()
    generator, ema = (
        build_network(config, geometry, name, resolve_precision(settings.precision))
        for name in ("generator", "ema")
    )
    set_statistics(generator, statistics)
    # The start: clusters of any size, as frequent as in the data.
    generator.token.bias.assign(np.log(statistics.token))
    for layer, frequency in zip(generator.plan_class, statistics.plan[:TYPE], strict=True):
        layer.bias.assign(np.log(frequency))
    generator.type_class.bias.assign(np.log(statistics.plan[TYPE, : len(generator.types)]))
    copy_weights(generator, ema)
    stage = config.adversarial
    discriminator = build_discriminator(stage, geometry)
    model = ClusterGrowth(
        generator, ema, settings.ema_decay, discriminator, stage,
        tokens_of_lane(config, statistics), settings.seed,
    )  # fmt: skip
    scale = model.rate_scale
    rate = WarmUpCosine(settings.rate, settings.steps, settings.warm_up, settings.final_rate, scale)
    optimizers = [keras.optimizers.Adam(rate)]
    if stage.steps:
        both, updates = stage.steps - stage.alone, stage.steps * stage.discriminator_steps
        for peak, steps, beta in (
            (stage.rate, both, 0.9), (stage.discriminator_rate, updates, 0.5),
        ):  # fmt: skip
            rate = WarmUpCosine(peak, steps, 0, stage.final_rate, scale)
            optimizers.append(keras.optimizers.Adam(rate, beta_1=beta))
    model.compile(*optimizers)
    return model


def tokens_of_lane(config: Config, statistics: SensorStatistics) -> int:
    """Tokens of a lane that nearly always suffice for the clusters of an adversarial step."""
    stage = config.adversarial
    middle = (COUNTS[:-1] + COUNTS[1:] - 1) / 2  # pixels of a class
    frequency = statistics.pixels * ((middle >= stage.smallest) & (middle <= stage.largest))
    pixels = float(middle @ frequency / max(frequency.sum(), 1e-9))
    return math.ceil(1.5 * max(0.75 * CLUSTERS_PER_LANE * pixels, stage.largest))


def set_statistics(network: ClusterNetwork, statistics: SensorStatistics) -> None:
    """Assign the statistics of the sensors to a network."""
    for weight in network.statistics:
        weight.assign(getattr(statistics, weight.name))


def copy_weights(source: ClusterNetwork, target: ClusterNetwork) -> None:
    """Assign all weights of a network to another of the same shape."""
    for copy, weight in zip(target.weights, source.weights, strict=True):
        copy.assign(weight)


def warm_start(model: ClusterGrowth, weights: Path, statistics: SensorStatistics) -> None:
    """Read both networks from a file, except the statistics, which are those of the events.

    Raises:
        InputError: the weights do not fit.
    """
    load_weights(model.generator, weights)
    set_statistics(model.generator, statistics)
    copy_weights(model.generator, model.ema)
