"""What is stored of the training events: numbers of each sensor, none of a single cluster."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits, overlay
from kerasgen.models.cluster_growth.field import FirstPixels, fit_field, sensor_places
from kerasgen.models.cluster_growth.growth import (
    NEVER,
    TOKENS,
    first_pixels,
    grown_clusters,
    growth_steps,
)
from kerasgen.models.cluster_growth.plan import (
    COUNTS,
    PARTS,
    PIXELS,
    PLANS,
    plan_frequencies,
    plans_of,
)

CLASSES = 64  # of the charge of a pixel
KNOTS_U, KNOTS_V, KNOTS_CHARGE = 64, 85, 2 * CLASSES + 1
GROWN_BLOCKS = 1  # of the events, from which the frequencies of tokens and plans come
# The charge level x stands for the fraction 1 - (1 - x)^TAIL of lower charges: finer at the top.
# Knot k stands for the level 1 - (1 - k / (KNOTS_CHARGE - 1))^2, finer still: between knots charges
# are even, and those of the highest class fall steeply.
TAIL = 1.5
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class SensorStatistics:
    """Moments and quantiles of every sensor, S sensors.

    Attributes:
        rate: [S], mean number of clusters of an image.
        share: [S, T], of the types among them.
        spread: [S], standard deviation of the logarithm of the expected number, over images.
        along_u, along_v: [S, KNOTS_U], [S, KNOTS_V], quantiles of row and column of the first
            pixel of a cluster, in pixels from the edge of the sensor, evenly spaced in probability.
        charge: [S, KNOTS_CHARGE], ADU, at the knots of the charge level.
        token: [TOKENS], frequency of the tokens of clusters, at which a training starts.
        place, pitch, radius: of the geometry, see ``field.SensorPlaces``.
        amplitude, length: [S, T, K], [T, K, COORDINATES], of the fields of T types, see there.
        plan: [PARTS, PLANS], frequency of the classes of each part of the plans, likewise.
        pixels: [PLANS], of the classes of numbers of pixels.
        merged: [1], see ``merged_share``.
    """

    rate: Floats
    share: Floats
    spread: Floats
    along_u: Floats
    along_v: Floats
    charge: Floats
    token: Floats
    plan: Floats
    pixels: Floats
    place: Floats
    pitch: Floats
    radius: Floats
    amplitude: Floats
    length: Floats
    merged: Floats


def sensor_statistics(
    blocks: Iterable[Hits], geometry: Geometry, types: tuple[int, ...] = ()
) -> SensorStatistics:
    """Measure the statistics of training events.

    A sensor without hits gets the distributions of all sensors, and the rate 0.

    Args:
        blocks: the events, some at a time.
        geometry: the detector.
        types: background types, whose hits make clusters of their own; empty: all are one.
    """
    sensors = len(geometry.sensors)
    kinds = max(len(types), 1)
    sums = np.zeros((3, sensors))  # images, clusters, squared clusters of an image
    of_types = np.zeros((2, sensors, kinds))  # likewise clusters and their squares of each type
    counts = [
        np.zeros((sensors, bins), np.int64)
        for bins in (geometry.rows, geometry.cols, geometry.max_charge + 1)
    ]
    tokens, plans = np.ones(TOKENS), np.full((PARTS, PLANS), 0.1)  # none has the frequency 0
    pixels = np.zeros(PLANS)
    merged: list[float] = []
    firsts: list[FirstPixels] = []
    kinds_of_firsts: list[NDArray[np.integer]] = []
    for whole in blocks:
        hits = whole.split_types(types)
        if len(firsts) < GROWN_BLOCKS:
            clusters = grown_clusters(hits, geometry)
            tokens += np.bincount(growth_steps(clusters).token, minlength=TOKENS)
            found = plans_of(clusters, NEVER - 1, types)
            plans += plan_frequencies(found)
            pixels += np.histogram(found[:, PIXELS], COUNTS)[0]
            merged.append(merged_share(whole, geometry, types))
        image, row, col = first_pixels(hits, geometry)
        by_type = np.bincount(image, minlength=len(hits)).reshape(len(whole), kinds)
        number = by_type.sum(1)
        for power in range(3):
            sums[power] += np.bincount(whole.sensor, number**power, sensors)
        for power in (1, 2):
            np.add.at(of_types[power - 1], whole.sensor, by_type**power)
        sensor = hits.sensor[image].astype(np.int64)
        last = next((p.event[-1] for p in reversed(firsts) if len(p.event)), -1)
        event = np.unique(hits.event, return_inverse=True)[1][image] + last + 1
        order = np.argsort(event, kind="stable")
        firsts.append(FirstPixels(*(x[order] for x in (event, sensor, row, col))))
        kinds_of_firsts.append((image % kinds)[order])
        counts[0] += _histograms(sensor, row, sensors, geometry.rows)
        counts[1] += _histograms(sensor, col, sensors, geometry.cols)
        counts[2] += charge_histograms(hits, geometry)
    images = np.maximum(sums[0], 1)
    mean, left = sums[1] / images, variance_beyond_poisson(sums[1:] / images)
    share, excess = of_types[0] / images[:, None], of_types / images[:, None]
    share, excess = share / np.maximum(mean, 1e-9)[:, None], variance_beyond_poisson(excess)
    first, kind, fields = joined(firsts), np.concatenate(kinds_of_firsts), []
    places = sensor_places(geometry)
    for k in range(kinds):
        some = FirstPixels(*(x[kind == k] for x in vars(first).values()))
        field, explained = fit_field(some, excess[:, k], places)
        left = np.maximum(left - share[:, k] ** 2 * explained, 0)
        fields.append(field)
    levels = even(KNOTS_U), even(KNOTS_V), charge_levels()
    along_u, along_v, charge = (
        np.stack([quantiles(c if c.any() else table.sum(0), at) for c in table])
        for table, at in zip(counts, levels, strict=True)
    )
    values = (
        mean, share, np.sqrt(np.log1p(left)), along_u, along_v, charge - 0.5,
        tokens / tokens.sum(), plans / plans.sum(1, keepdims=True),
        pixels / max(pixels.sum(), 1),
        places.place, places.pitch, places.radius,
        np.stack([f.amplitude for f in fields], 1),
        np.stack([f.length for f in fields]),
        np.array([np.mean(merged)]),
    )  # fmt: skip
    return SensorStatistics(*(x.astype(np.float32) for x in values))


def variance_beyond_poisson(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variance of numbers beyond a Poisson distribution of their mean, over the squared mean.

    Args:
        moments: [2, ..], mean of the numbers and of their squares.
    """
    mean, square = moments
    return np.maximum(square - mean**2 - mean, 0) / np.maximum(mean, 1e-9) ** 2


def merged_share(events: Hits, geometry: Geometry, types: tuple[int, ...]) -> float:
    """Half the chance that a cluster of an event and one of another on top of it are one.

    The first half of the events lies on the second one; without two events it is 0. Clusters of L
    events on top of each other are then n L (1 - m n (L - 1)) of a sensor that has n of one, and
    those of independent sources at a level L < 1 likewise.
    """
    sensors, kinds = len(geometry.sensors), max(len(types), 1)
    half = len(events) // sensors // 2 * sensors
    a, b = (events.take(np.arange(half) + k) for k in (0, half))
    number = []
    for hits in (a, b, overlay(a, b, geometry)):
        image, _, _ = first_pixels(hits.split_types(types), geometry)
        number.append(np.bincount(image // kinds, minlength=half))
    of_a, of_b, of_both = number
    return float((of_a + of_b - of_both).sum() / max(2 * of_a @ of_b, 1))


def joined(parts: list[FirstPixels]) -> FirstPixels:
    """All first pixels."""
    return FirstPixels(
        *(np.concatenate(x) for x in zip(*(vars(p).values() for p in parts), strict=True))
    )


def charge_levels() -> NDArray[np.float64]:
    """Fraction of lower charges at the knots of the charge."""
    return 1 - (1 - even(KNOTS_CHARGE)) ** (2 * TAIL)


def even(knots: int) -> NDArray[np.float64]:
    """Numbers evenly spaced on [0, 1]."""
    return np.linspace(0, 1, knots)


def quantiles(counts: NDArray[np.integer], levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantiles of whole numbers k with these counts, each spread evenly over [k, k + 1]."""
    edges = np.concatenate([[0], np.cumsum(counts)]) / max(counts.sum(), 1)
    filled = np.flatnonzero(counts)
    if not len(filled):
        return levels * len(counts)
    at = np.concatenate([filled, filled + 1])  # ends of the steps alone: np.interp takes one of
    at = np.sort(at)  # equal points
    return np.interp(levels, edges[at], at)


def charge_histograms(hits: Hits, geometry: Geometry) -> NDArray[np.int64]:
    """Number of fired pixels by sensor and charge, [S, max_charge + 1]."""
    sensor = hits.sensor[hits.image].astype(np.int64)
    return _histograms(sensor, hits.adu, len(geometry.sensors), geometry.max_charge + 1)


def _histograms(
    sensor: NDArray[np.int64], value: NDArray[np.integer], sensors: int, bins: int
) -> NDArray[np.int64]:
    flat = np.bincount(sensor * bins + value, minlength=sensors * bins)
    return flat.reshape(sensors, bins)


def charge_level(
    charge: NDArray[np.floating], sensor: NDArray[np.integer], table: Floats
) -> Floats:
    """Charge level on [0, 1] of charges in ADU, the inverse of ``charge_of_level``.

    Args:
        charge: [n], not rounded.
        sensor: [n].
        table: [S, KNOTS_CHARGE], ADU.
    """
    level = np.empty(len(charge), np.float32)
    for s in np.unique(sensor):
        here = sensor == s
        level[here] = 1 - (1 - np.interp(charge[here], table[s], even(KNOTS_CHARGE))) ** 2
    return level


def charge_of_level(
    level: NDArray[np.floating], sensor: NDArray[np.integer], table: Floats
) -> NDArray[np.float64]:
    """Charge in ADU, not rounded, of charge levels; arguments as ``charge_level``."""
    place = (1 - np.sqrt(1 - level)) * (KNOTS_CHARGE - 1)
    knot = np.minimum(place.astype(np.int64), KNOTS_CHARGE - 2)
    below, above = (table[sensor, knot + k].astype(np.float64) for k in (0, 1))
    return below + (place - knot) * (above - below)
