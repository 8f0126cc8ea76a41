"""Per-sensor calibration of a trained generator against training events.

Two things are fitted for every sensor: the score above which a pixel fires, so that the mean
occupancy agrees, and a monotone map from generated level to charge (quantile matching), so that
the spectrum of fired pixels agrees. Every calibrated charge is at least the threshold, so that
the cut alone decides which pixels fire. Both are constants of the exported graph.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.errors import InputError
from kerasgen.models.pxd_gan.sampling import LEVELS, EventGenerator


def fit_calibration(
    generator: EventGenerator,
    data: Hits,
    geometry: Geometry,
    events: int,
    seed: int,
) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    """Cut and charge table of every sensor; memory holds the fired pixels of one sensor.

    Arguments:
        generator: what to calibrate, with or without a calibration of its own (not used).
        data: training events; of a generator with background types only hits of these count.
        geometry: of both.
        events: events to generate, numbers 0 to events - 1.
        seed: run seed of the generated events.

    Returns:
        cut: float32 [sensors], score above which a pixel fires, +inf for a sensor without hits.
        charge: uint16 [sensors, LEVELS], ADU of each step of the level.

    Raises:
        InputError: no image of a sensor in ``data``, or ``events`` below 1.
    """
    if events < 1:
        raise InputError(f"calibration.events = {events}, at least 1 is needed to calibrate")
    sensors = len(geometry.sensors)
    histogram = charge_histograms(data, geometry, generator.types)
    images = np.bincount(data.sensor, minlength=sensors)
    if not images.all():
        name = geometry.sensors[int(np.argmin(images))].name
        raise InputError(f"calibration needs training images of every sensor, {name} has none")
    cut = np.full(sensors, np.inf, np.float32)
    charge = np.full((sensors, LEVELS), geometry.threshold, np.uint16)
    for s in tqdm(range(sensors), "calibration", unit=" sensors", disable=None):
        fired = round(histogram[s].sum() / images[s] * events)
        if fired:
            score, level = highest(generator, s, fired + 1, events, seed)
            cut[s] = firing_cut(score, fired)
            charge[s] = charge_table(level[score > cut[s]], histogram[s], geometry.threshold)
    return cut, charge


def charge_histograms(
    data: Hits, geometry: Geometry, types: tuple[int, ...]
) -> NDArray[np.integer]:
    """[sensors, max_charge + 1], fired pixels of each sensor and ADU.

    Arguments:
        types: background types that count; 0 alone: all.
    """
    kept = np.isin(data.type, types) if any(types) else np.ones(len(data.type), bool)
    width = geometry.max_charge + 1
    place = data.sensor[data.image].astype(np.int64) * width + data.adu
    sensors = len(geometry.sensors)
    return np.bincount(place[kept], minlength=sensors * width).reshape(sensors, width)


def highest(
    generator: EventGenerator, sensor: int, number: int, events: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Score and level of the ``number`` pixels with the highest scores of all events together."""
    best = np.zeros((2, 0), np.float32)
    for event in range(events):
        cut = best[0].min() if best.shape[1] == number else -np.inf
        _, *new = generator.above(np.int32(sensor), np.array([seed, event]), np.float32(cut))
        best = np.concatenate([best, np.stack(new)], axis=1)
        if best.shape[1] > number:
            best = best[:, np.argpartition(-best[0], number - 1)[:number]]
    return best[0], best[1]


def firing_cut(score: NDArray[np.floating], fired: int) -> np.float32:
    """The score above which ``fired`` pixels lie; all of them if there are no more.

    Without ties it is the next lower score that there is, so that nothing is rounded.

    Arguments:
        score: at least the ``fired + 1`` highest scores.
    """
    if len(score) <= fired:
        return np.float32(-np.inf)
    return np.float32(np.partition(score, len(score) - fired - 1)[len(score) - fired - 1])


def charge_table(
    level: NDArray[np.floating], histogram: NDArray[np.integer], threshold: int
) -> NDArray[np.uint16]:
    """ADU of each of the LEVELS steps of the level, monotone, by matching quantiles.

    Arguments:
        level: levels of fired generated pixels, in [-1, 1].
        histogram: [max_charge + 1] fired pixels of the data per ADU.
        threshold: lowest charge, ADU.
    """
    scaled = (np.asarray(level, np.float32) + np.float32(1)) * np.float32(0.5 * LEVELS)
    step = np.clip(scaled.astype(np.int64), 0, LEVELS - 1)
    generated = np.bincount(step, minlength=LEVELS)
    # Of a step, half lies below its middle; in whole numbers, so that equal is equal.
    below = 2 * np.cumsum(generated) - generated
    data = np.cumsum(histogram[threshold:])
    place = np.searchsorted(data * (2 * max(len(step), 1)), below * data[-1], side="left")
    return (threshold + place).astype(np.uint16)
