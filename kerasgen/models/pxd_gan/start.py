"""Start of a training: statistics of the data, networks, optimisers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kerasgen.backend.checkpoint import load_weights
from kerasgen.backend.engine import use_deterministic_kernels
from kerasgen.backend.precision import resolve_precision
from kerasgen.backend.random_numbers import seed_initializers
from kerasgen.backend.schedule import WarmUpCosine
from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.data.pipeline import to_log_scale
from kerasgen.models.pxd_gan.build import build_discriminator, build_generator
from kerasgen.models.pxd_gan.gan import PXDGAN
from kerasgen.models.pxd_gan.output import charge_threshold
from kerasgen.models.pxd_gan.settings import Config
from kerasgen.models.pxd_gan.shapes import shapes_of
from kerasgen.models.pxd_gan.statistics import initialise_output


@dataclass(frozen=True)
class DataStatistics:
    """Statistics of the training events that the networks start from.

    Attributes:
        occupancy: [sensors], fraction of fired pixels of the padded image, mean over channels.
        median: median charge of fired pixels, ADU.
    """

    occupancy: NDArray[np.floating]
    median: float


def data_statistics(config: Config, hits: Hits, geometry: Geometry) -> DataStatistics:
    """The statistics of training events that the networks of a configuration need."""
    shapes = shapes_of(config, geometry)
    occupancy = sensor_occupancy(hits, len(geometry.sensors), shapes.image, shapes.channels)
    return DataStatistics(occupancy, float(np.median(hits.adu)))


def sensor_occupancy(
    hits: Hits, sensors: int, image: tuple[int, int], channels: int
) -> NDArray[np.floating]:
    """Fraction of fired pixels of each sensor, [sensors].

    A sensor without any hit counts as one with a single fired pixel in all its images, so that
    ratios exist.

    Args:
        hits: training events.
        sensors: number of sensors.
        image: height and width of the padded image.
        channels: charge channels.
    """
    fired = np.bincount(hits.sensor, hits.counts, sensors)
    images = np.maximum(np.bincount(hits.sensor, minlength=sensors), 1)
    return np.maximum(fired, 1) / (images * image[0] * image[1] * channels)


def build_gan(config: Config, geometry: Geometry, statistics: DataStatistics) -> PXDGAN:
    """Build networks and optimisers; the output starts at the statistics of the data."""
    settings = config.training
    seed_initializers(settings.seed)
    use_deterministic_kernels()
    shapes, architecture = shapes_of(config, geometry), config.architecture
    dtype = resolve_precision(settings.precision)
    generator, ema = (
        build_generator(architecture, config.generator, geometry, shapes.channels, dtype, name)
        for name in ("generator", "ema")
    )
    discriminator = build_discriminator(
        architecture, config.discriminator, geometry, shapes.channels, shapes.crop, dtype
    )
    median = to_log_scale(np.array(statistics.median), geometry.max_charge)
    initialise_output(generator, statistics.occupancy, float(median), settings.seed)
    copy_weights(generator, ema)
    gan = PXDGAN(
        generator,
        discriminator,
        ema,
        config.loss,
        charge_threshold(geometry.threshold, geometry.max_charge),
        statistics.occupancy,
        settings.seed,
        settings.ema_decay,
    )
    gan.compile(*optimizers(config, gan.rate_scale))
    return gan


def optimizers(config: Config, rate_scale: Any) -> tuple[keras.Optimizer, ...]:
    """Adam optimisers of generator and discriminator, each with its schedule."""
    settings = config.training
    final = settings.final_rate if settings.schedule == "cosine" else 1.0

    def adam(peak: float, steps: int) -> keras.Optimizer:
        return keras.optimizers.Adam(
            WarmUpCosine(peak, settings.steps * steps, settings.warm_up * steps, final, rate_scale),
            beta_1=settings.beta1,
            beta_2=settings.beta2,
            gradient_accumulation_steps=settings.accumulate if settings.accumulate > 1 else None,
        )

    n = config.loss.discriminator_steps
    return adam(settings.generator_rate, 1), adam(settings.discriminator_rate, n)


def warm_start(gan: PXDGAN, weights: Path) -> None:
    """Read generator and EMA generator from a file.

    Args:
        gan: to start.
        weights: file of a generator.

    Raises:
        InputError: the weights do not fit.
    """
    load_weights(gan.generator, weights)
    copy_weights(gan.generator, gan.ema)


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Assign all weights of a network to another of the same shape."""
    for copy, weight in zip(target.weights, source.weights, strict=True):
        copy.assign(weight)
