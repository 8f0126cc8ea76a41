"""Per-sensor calibration of a trained generator against training events.

Each sensor gets a firing threshold of the logit, at which the mean occupancy is that of the data,
and a quantile map, a monotone map from normalised charge to ADU, with which the charge spectrum of
fired pixels is that of the data. Every charge of the quantile map is at least the readout
threshold, so the firing threshold alone decides which pixels fire. Both are constants of the
exported graph.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.errors import InputError
from kerasgen.models.pxd_gan.output import QUANTILE_MAP_SIZE


def fit_calibration(
    generator: Any,
    data: Hits,
    geometry: Geometry,
    events: int,
    seed: int,
) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    """Fit firing threshold and quantile map of every sensor.

    Memory holds the fired pixels of one sensor.

    Args:
        generator: to calibrate; a calibration that it already has is not used.
        data: training events; for a generator with background types only hits of these count.
        geometry: of generator and data.
        events: events to generate, numbers 0 to events - 1.
        seed: run seed of the generated events.

    Returns:
        threshold: float32 [sensors], logit above which a pixel fires, +inf for a sensor without
            hits.
        quantile_map: uint16 [sensors, QUANTILE_MAP_SIZE], ADU of each step of the normalised
            charge.

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
    threshold = np.full(sensors, np.inf, np.float32)
    quantile_map = np.full((sensors, QUANTILE_MAP_SIZE), geometry.threshold, np.uint16)
    for s in tqdm(range(sensors), "calibration", unit=" sensors", disable=None):
        fired = round(histogram[s].sum() / images[s] * events)
        if fired:
            logit, charge = highest_logits(generator, s, fired + 1, events, seed)
            threshold[s] = fit_firing_threshold(logit, fired)
            quantile_map[s] = fit_quantile_map(
                charge[logit > threshold[s]], histogram[s], geometry.threshold
            )
    return threshold, quantile_map


def charge_histograms(
    data: Hits, geometry: Geometry, types: tuple[int, ...]
) -> NDArray[np.integer]:
    """Histogram of the charges of fired pixels, [sensors, max_charge + 1].

    Args:
        data: events.
        geometry: the detector.
        types: background types that count; 0 alone: all.
    """
    kept = np.isin(data.type, types) if any(types) else np.ones(len(data.type), bool)
    width = geometry.max_charge + 1
    bins = data.sensor[data.image].astype(np.int64) * width + data.adu
    sensors = len(geometry.sensors)
    return np.bincount(bins[kept], minlength=sensors * width).reshape(sensors, width)


def highest_logits(
    generator: Any, sensor: int, number: int, events: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logit and normalised charge of the ``number`` pixels with the highest logits of all events.

    Args:
        generator: without calibration.
        sensor: index in the geometry.
        number: pixels to keep.
        events: events to generate, numbers 0 to events - 1.
        seed: run seed of the generated events.
    """
    best = np.zeros((2, 0), np.float32)
    for event in range(events):
        threshold = best[0].min() if best.shape[1] == number else -np.inf
        _, *new = generator.pixels_above(
            np.int32(sensor), np.array([seed, event]), np.float32(threshold)
        )
        best = np.concatenate([best, np.stack(new)], axis=1)
        if best.shape[1] > number:
            best = best[:, np.argpartition(-best[0], number - 1)[:number]]
    return best[0], best[1]


def fit_firing_threshold(logit: NDArray[np.floating], fired: int) -> np.float32:
    """The logit that ``fired`` pixels exceed; -inf if there are no more pixels than that.

    Without ties it is the highest logit of the other pixels, so that nothing is rounded.

    Args:
        logit: at least the ``fired + 1`` highest logits.
        fired: pixels that shall fire.
    """
    if len(logit) <= fired:
        return np.float32(-np.inf)
    return np.float32(np.partition(logit, len(logit) - fired - 1)[len(logit) - fired - 1])


def fit_quantile_map(
    charge: NDArray[np.floating], histogram: NDArray[np.integer], threshold: int
) -> NDArray[np.uint16]:
    """ADU of each of the QUANTILE_MAP_SIZE steps of the normalised charge, by quantile matching.

    Args:
        charge: normalised charges of fired generated pixels, in [-1, 1].
        histogram: [max_charge + 1] fired pixels of the data per ADU.
        threshold: lowest charge, ADU.

    Returns:
        [QUANTILE_MAP_SIZE], monotone.
    """
    scaled = (np.asarray(charge, np.float32) + np.float32(1)) * np.float32(0.5 * QUANTILE_MAP_SIZE)
    step = np.clip(scaled.astype(np.int64), 0, QUANTILE_MAP_SIZE - 1)
    generated = np.bincount(step, minlength=QUANTILE_MAP_SIZE)
    # Half of a step lies below its middle; doubled to integers, so that equal quantiles are equal.
    below = 2 * np.cumsum(generated) - generated
    data = np.cumsum(histogram[threshold:])
    above_threshold = np.searchsorted(data * (2 * max(len(step), 1)), below * data[-1], side="left")
    return (threshold + above_threshold).astype(np.uint16)
