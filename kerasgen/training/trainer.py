"""A training run of the PXD GAN: data in, averaged generator with its evaluation out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.data.pipeline import ImageSampler, to_log_scale
from kerasgen.data.store import EventFile
from kerasgen.errors import RunFailure
from kerasgen.models.pxd_gan.build import (
    build_critic,
    build_encoder,
    build_generator,
    padded_image,
)
from kerasgen.models.pxd_gan.gan import PXDGAN
from kerasgen.models.pxd_gan.output import charge_cut
from kerasgen.models.pxd_gan.segments import deposit_statistics
from kerasgen.models.pxd_gan.statistics import settle, start_output
from kerasgen.training.adam import FusedAdam
from kerasgen.training.checkpoint import BEST, LAST, load_weights, save_weights
from kerasgen.training.data import division, first_events
from kerasgen.training.distribution import distributed_dataset, together
from kerasgen.training.monitor import Monitor, best_score, recorded
from kerasgen.training.precision import resolve_precision
from kerasgen.training.progress import Progress, ScalarLog
from kerasgen.training.schedule import WarmUpCosine
from kerasgen.zoo.config import Config
from kerasgen.zoo.initial import initial_weights

# Generated images, of all sensors together, that the cuts of an evaluation are measured on.
SETTLE_IMAGES = 480
# beta1 of the reconstruction's Adam: it is no game, and its gradients may gather speed.
MOMENTUM = 0.9
# A rollback does not go below this share of the learning rates.
LEAST_SCALE = 1 / 16


@dataclass(frozen=True)
class DataStatistics:
    """What the networks are told about the data before they learn.

    Attributes:
        occupancy: [sensors], fraction of fired pixels of the padded image, of its channels on
            average.
        median: median charge of fired pixels, ADU.
        deposits: of ``deposit_statistics``; None where the generator does not ask.
    """

    occupancy: NDArray[np.floating]
    median: float
    deposits: tuple[NDArray[Any], ...] | None = None


def data_statistics(
    hits: Hits, geometry: Geometry, image: tuple[int, int], channels: int
) -> DataStatistics:
    """Occupancy per sensor and median charge of training events, drawn in ``channels``."""
    sensors = len(geometry.sensors)
    fired = np.bincount(hits.sensor, hits.counts, sensors)
    images = np.maximum(np.bincount(hits.sensor, minlength=sensors), 1)
    # A sensor without any hit keeps a share of one pixel in all its images, so that ratios exist.
    share = np.maximum(fired, 1) / (images * image[0] * image[1] * channels)
    return DataStatistics(share, float(np.median(hits.adu)))


def network_statistics(config: Config, hits: Hits, geometry: Geometry) -> DataStatistics:
    """What the networks of a configuration ask for."""
    image = padded_image(geometry, config.architecture)
    statistics = data_statistics(hits, geometry, image, max(len(config.data.channels), 1))
    if config.architecture != "sub_pixel" or not config.generator.deposits:
        return statistics
    factor, seed = config.generator.factor, config.training.seed
    return replace(statistics, deposits=deposit_statistics(hits, geometry, image, factor, seed))


def build_gan(config: Config, geometry: Geometry, statistics: DataStatistics) -> PXDGAN:
    """Networks and optimisers of a run, built, with the output started at the data's statistics.

    On several devices inside the scope of their strategy.
    """
    settings = config.training
    keras.utils.set_random_seed(settings.seed)
    tf.config.experimental.enable_op_determinism()
    image = padded_image(geometry, config.architecture)
    channels = max(len(config.data.channels), 1)
    dtype = resolve_precision(settings.precision)
    size = (settings.crop[0], settings.crop[1]) if settings.crop else image
    networks = [
        build_generator(config.architecture, config.generator, geometry, channels, dtype, name)
        for name in ("generator", "average")
    ]
    generator, average = networks
    critic = build_critic(config.architecture, config.critic, geometry, channels, size, dtype)
    encoder = None
    if settings.reconstruction_steps:
        encoder = build_encoder(config.generator, channels, size, dtype)
    set_deposits(generator, statistics)
    median = to_log_scale(np.array(statistics.median), geometry.max_charge)
    start_output(generator, statistics.occupancy, float(median), settings.seed)
    for mean, weight in zip(average.weights, generator.weights, strict=True):
        mean.assign(weight)
    gan = PXDGAN(
        generator,
        critic,
        average,
        config.loss,
        charge_cut(geometry.threshold, geometry.max_charge),
        statistics.occupancy,
        settings.seed,
        settings.average_decay,
        encoder,
        settings.reconstruction_every,
    )
    final = settings.final_rate if settings.schedule == "cosine" else 1.0

    def adam(peak: float, updates: int, warm_up: int, beta1: float) -> FusedAdam:
        rate = WarmUpCosine(peak, updates, warm_up, final, gan.rate_scale)
        return FusedAdam(
            rate,
            beta_1=beta1,
            beta_2=settings.beta2,
            gradient_accumulation_steps=settings.accumulate if settings.accumulate > 1 else None,
        )

    game, warm_up = settings.steps - settings.reconstruction_steps, settings.warm_up
    critic_steps = config.loss.critic_steps
    gan.compile(
        adam(settings.generator_rate, game, warm_up, settings.beta1),
        adam(
            settings.critic_rate,
            game * critic_steps,
            warm_up * critic_steps,
            settings.beta1,
        ),
        adam(settings.reconstruction_rate, settings.reconstruction_steps, warm_up, MOMENTUM),
    )
    return gan


def train(
    config: Config,
    run: Path,
    file: EventFile,
    resume: bool,
    strategy: tf.distribute.Strategy | None = None,
) -> None:
    """Train until ``training.steps``; the best averaged generator lies in the run folder after.

    Arguments:
        config: resolved configuration.
        run: run folder, with ``config.toml`` and ``geometry.json``.
        file: open file of events.
        resume: continue from the last checkpoint.
        strategy: of several devices (``distribution.make_strategy``); None: one device.

    Raises:
        RunFailure: NaN or collapse, where the recipe says stop.
        KeyboardInterrupt: after saving a checkpoint.
    """
    geometry, settings = file.geometry, config.training
    training, held_out = division(file, config.data.events, config.data.held_out)
    statistics = network_statistics(config, first_events(config, file), geometry)
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        gan = build_gan(config, geometry, statistics)
    if resume:
        load_weights(gan, run / LAST)
    else:
        if settings.init:
            start_from(gan, initial_weights(config), statistics)
        save_weights(gan, run / LAST)
    sampler = ImageSampler(
        file,
        training,
        settings.batch * config.loss.critic_steps,
        settings.seed,
        (settings.crop[0], settings.crop[1]) if settings.crop else None,
        dequantise=True,
        channels=tuple(config.data.channels) or None,
    )
    evaluated = build_generator(
        config.architecture, config.generator, geometry, gan.generator.image_channels,
        resolve_precision(settings.precision), "evaluated",
    )  # fmt: skip
    monitor = Monitor(config, run, file, held_out, evaluated, int(gan.step))
    logs: list[keras.callbacks.Callback] = [
        ScalarLog(monitor.writer, gan),
        Progress(gan, settings.steps),
    ]

    def boundary() -> None:
        at_boundary(gan, config, run, monitor, statistics)

    try:
        # An interrupt at the very end of a stretch leaves a checkpoint that was not evaluated.
        step = int(gan.step)
        due = at_end_of_stretch(step, config) if step else settings.init
        if due and not recorded(run, step):
            boundary()
        with together(strategy, run):
            run_steps(gan, config, run, sampler, logs, boundary)
    except KeyboardInterrupt:
        print(f"\nInterrupted; {run} holds a checkpoint, and --resume goes on from it.")
        raise
    finally:
        monitor.close()


def start_from(gan: PXDGAN, weights: Path, statistics: DataStatistics) -> None:
    """Generator and its average from a file; where deposits are is that of the data.

    Raises:
        InputError: the weights do not fit.
    """
    load_weights(gan.generator, weights)
    set_deposits(gan.generator, statistics)
    for mean, weight in zip(gan.average.weights, gan.generator.weights, strict=True):
        mean.assign(weight)


def set_deposits(generator: keras.Model, statistics: DataStatistics) -> None:
    """Give a generator the statistics of the data's deposits, if it has any."""
    if statistics.deposits is not None:
        for weight, values in zip(generator.deposit_weights, statistics.deposits, strict=True):
            weight.assign(values)


def at_end_of_stretch(step: int, config: Config) -> bool:
    """Whether an evaluation follows this step."""
    settings = config.training
    ends = (settings.reconstruction_steps, settings.steps)
    return step % settings.evaluate_every == 0 or step in ends


def run_steps(
    gan: PXDGAN,
    config: Config,
    run: Path,
    sampler: ImageSampler,
    logs: list[keras.callbacks.Callback],
    boundary: Callable[[], None],
) -> None:
    """Steps up to the end, with a boundary after every ``evaluate_every`` of them.

    An interrupt during the steps saves them; one during a boundary goes back to the one before.
    """
    settings, warm = config.training, config.training.reconstruction_steps
    while (step := int(gan.step)) < settings.steps:
        end = min(warm, settings.steps) if step < warm else settings.steps
        count = min(settings.evaluate_every - step % settings.evaluate_every, end - step)
        if gan.adversarial != (step >= warm):
            gan.adversarial = step >= warm
            gan.make_train_function(force=True)
        parts = config.loss.critic_steps
        dataset = distributed_dataset(
            gan.distribute_strategy, sampler, parts, step, count, gan.encoder is not None
        )
        try:
            gan.fit(
                dataset, epochs=1, steps_per_epoch=count, callbacks=logs, verbose=0, shuffle=False
            )
        except KeyboardInterrupt:
            save_weights(gan, run / LAST)
            raise
        boundary()


def at_boundary(
    gan: PXDGAN, config: Config, run: Path, monitor: Monitor, statistics: DataStatistics
) -> None:
    """Evaluate the averaged generator, keep the best, save the state; stop or roll back."""
    step = int(gan.step)
    trouble = "" if finite(gan) else "a weight is not a number"
    if not trouble:
        for copy, weight in zip(monitor.generator.weights, gan.average.weights, strict=True):
            copy.assign(weight)
        images = max(4, SETTLE_IMAGES // len(statistics.occupancy))
        settle(
            monitor.generator, statistics.occupancy, gan.cut, config.training.seed, images,
            (monitor.geometry.rows, monitor.geometry.cols),
        )  # fmt: skip
        if step == config.training.reconstruction_steps:
            gan.generator.cut.assign(monitor.generator.cut)  # the game starts where data is
        trouble, better = monitor.evaluate(step)
        if better and not trouble:
            save_weights(monitor.generator, run / BEST)
    if not trouble:
        save_weights(gan, run / LAST)
        return
    if config.training.on_collapse == "rollback":
        load_weights(gan, run / LAST)
        scale = 0.5 * float(gan.rate_scale)
        if scale >= LEAST_SCALE:
            gan.rate_scale.assign(scale)
            save_weights(gan, run / LAST)
            monitor.best = best_score(run, int(gan.step))
            print(f"\nStep {step}: {trouble}; back to step {int(gan.step)} with half the rates.")
            return
    raise RunFailure(
        f"step {step}: {trouble}; the last good checkpoint is kept in {run / LAST} "
        "(training.on_collapse = 'rollback' goes back to it with half the rates)"
    )


def finite(gan: PXDGAN) -> bool:
    """Whether every weight of the networks is a number."""
    return all(
        math.isfinite(float(tf.reduce_sum(tf.abs(w.value))))
        for network in (gan.generator, gan.critic)
        for w in network.weights
    )
