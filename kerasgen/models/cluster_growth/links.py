"""Particles that cross two sensors: clusters of an event that lie on one line from the beam spot.

The field of ``field`` knows which regions of an event are busy. Pairs of clusters close to a line
from the beam spot are more frequent still: those of one particle, or of two from one shower. These
*linked* pairs are a Poisson process of their own (parents with one offspring each; Neyman and Scott
1958, J. R. Stat. Soc. B 20, 1). Each has a parent, placed as other clusters of its sensor are, and
an offspring on the same or on the next layer. Seen from the beam spot, it has another azimuth, and
its slope z / r differs from the expected one: on the same layer from that of the parent; on the
next one from that of the helix through the beam spot and the parent that has this azimuth there
(see ``metrics.cluster_pairs``). The distribution is a table of cells, fitted to what pairs of an
event have beyond those of different events and beyond the field.

Pairs come from the seed of the event alone, so that each sensor finds its own clusters without the
others. Sensors without places in the laboratory have no pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from kerasgen.metrics.cluster_pairs import helix_ratio
from kerasgen.models.cluster_growth.field import column_of_even, even_column
from kerasgen.models.cluster_growth.places import COL, ROW, numbered, places_at, poisson

RELATIONS = 2  # offspring on the same layer (another sensor), and on the next one
AZIMUTH = (0.0, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3)  # edges of the cells, rad
SLOPE = (0.0, 0.005, 0.0125, 0.025, 0.05)  # of z / r
SHAPE = len(AZIMUTH) - 1, len(SLOPE) - 1
CELLS = SHAPE[0] * SHAPE[1]
BINS = 16  # along u and v
LEAST = 0.1  # share of clusters that are of no pair
# Random numbers of an event, beside those of its field; and of a pair, beside those of its place.
COUNT, PAIRS = -1, -2
CELL, TURN, TILT = -3, -4, -5


@dataclass(frozen=True)
class Links:
    """Linked pairs of an event, of S sensors.

    The clusters of pairs are ``share`` of all clusters of a sensor, and in a bin of rows and one of
    columns ``share * rows * cols``: where sensors overlap there are more of them. The others make
    up the rest.

    Attributes:
        tried: [S, RELATIONS * CELLS], mean number of pairs with a parent on the sensor; those whose
            offspring would lie beside all sensors do not exist.
        share: [S].
        rows, cols: [S, BINS], of evenly wide bins along u and v; 1 on average over clusters.
    """

    tried: Any
    share: Any
    rows: Any
    cols: Any


def unlinked_share(xp: Any, network: Any, links: Links, sensor: Any, row: Any, col: Any) -> Any:
    """Share of clusters that are of no pair, at first pixels [n], float64 [n]."""
    share = xp.float64(xp.take(links.share, sensor))
    for table, place, size in zip((links.rows, links.cols), (row, col), network.size, strict=True):
        share *= xp.float64(xp.take(xp.flat(table), sensor * BINS + place * BINS // size))
    return xp.maximum(1 - share, LEAST)


def linked_clusters(
    xp: Any, network: Any, tried: Any, mean: Any, sensor: Any, known: Any, event_key: Any
) -> tuple[Any, ...]:
    """Linked clusters, image by image: image, key, key of the pair, row and column, [n] each.

    Args:
        xp: functions, see ``frequency``.
        network: with the statistics of the sensors.
        tried: see ``Links``.
        mean: number of tried pairs in the events of N images, [N].
        sensor, known: of the images, [N]; those that are not known have no clusters.
        event_key: of the random numbers that the images of an event share, [N].
    """
    tried, mean = xp.float64(tried), xp.float64(mean)
    number = xp.float64(xp.uniform_at(event_key, COUNT))
    mean = xp.where(known, mean, xp.zeros_like(mean))
    image, number = numbered(xp, poisson(xp, mean, xp.highest_of(mean), number))
    key = xp.key_at(xp.key_at(xp.take(event_key, image), PAIRS), xp.int64(number))
    index = choice(xp, xp.flat(tried), xp.float64(xp.uniform_at(key, CELL)))
    parent, cell = index // (RELATIONS * CELLS), index % (RELATIONS * CELLS)
    levels = [xp.uniform_at(key, place) for place in (ROW, COL)]
    row, col = places_at(xp, network, parent, levels)
    numbers = (xp.float64(xp.uniform_at(key, place)) for place in (TURN, TILT))
    turn, tilt = differences(xp, cell % CELLS, *numbers)
    here = xp.take(sensor, image)
    pairs = [parent, row, col, cell // CELLS, turn, tilt]
    # Few pairs have to do with the sensor: which they are is cheaper than where all of them lie.
    may = xp.indices((parent == here) | offspring(xp, network, here, *pairs)[0])
    image, key, here, *pairs = (xp.take(x, may) for x in (image, key, here, *pairs))
    exists, rows, cols = offspring_of_layer(xp, network, *pairs)
    parent, row, col = pairs[:3]
    at = xp.arange(xp.size(image)) * network.place.shape[0] + here
    is_first = (parent == here) & (xp.sum(xp.int32(exists)) > 0)
    some = xp.indices(beside(xp, is_first, xp.take(xp.flat(exists), at)))
    row, col = (beside(xp, x, xp.take(xp.flat(y), at)) for x, y in ((row, rows), (col, cols)))
    own_key = xp.key_at(key, xp.int64(here))
    image, own_key, key = (beside(xp, x, x) for x in (image, own_key, key))
    return tuple(xp.take(x, some) for x in (image, own_key, key, row, col))


def beside(xp: Any, a: Any, b: Any) -> Any:
    """Elements of a and b in turns, [2 n], of [n] each."""
    return xp.reshape(xp.concat([a[:, None], b[:, None]], 1), (-1,))


def choice(xp: Any, weight: Any, number: Any) -> Any:
    """Index, int32 [n], by weights [K] and numbers [n] on [0, 1)."""
    below, last = xp.cumsum(weight), weight.shape[0] - 1
    wanted = number * below[last]
    index = xp.zeros_like(xp.int32(number))
    for bit in reversed(range(last.bit_length())):
        further = xp.minimum(index + 2**bit, last)
        index = xp.where(xp.take(below, further - 1) <= wanted, further, index)
    return index


def differences(xp: Any, cell: Any, *numbers: Any) -> list[Any]:
    """Differences of azimuth and slope in cells [n], evenly and of either sign, by two numbers."""
    found = []
    indices = cell // SHAPE[1], cell % SHAPE[1]
    for edges, index, number in zip((AZIMUTH, SLOPE), indices, numbers, strict=True):
        low, high = (xp.take(xp.float64(np.array(x)), index) for x in (edges[:-1], edges[1:]))
        signed = 2 * number - 1
        by = low + abs(signed) * (high - low)
        found.append(xp.where(signed < 0, -by, by))
    return found


def offspring_of_layer(xp: Any, network: Any, *pairs: Any) -> tuple[Any, Any, Any]:
    """Where offspring lie: whether on a sensor, at most one, row and column, [n, S] each.

    Args:
        xp: functions.
        network: with the places of the sensors, see ``field.SensorPlaces``, and their ``size``.
        pairs: as of ``offspring``.
    """
    sensors, n = network.place.shape[0], xp.size(pairs[0])
    index = xp.arange(n * sensors)
    each = [xp.take(x, index // sensors) for x in pairs]
    found = offspring(xp, network, index % sensors, *each)
    exists, row, col = (xp.reshape(x, (n, sensors)) for x in found)
    return exists & (xp.cumsum(xp.int32(exists)) == 1), row, col


def offspring(
    xp: Any, network: Any, sensor: Any, parent: Any, row: Any, col: Any, relation: Any, turn: Any,
    tilt: Any,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """Where offspring meet a sensor each: whether they do, row and column, [n] each.

    Args:
        xp: functions.
        network: with the places of the sensors, see ``field.SensorPlaces``, and their ``size``.
        sensor: to meet, [n].
        parent, row, col: sensor and first pixel of the parents, [n].
        relation: [n], difference of the layers.
        turn, tilt: [n], differences of azimuth, rad, and of slope from the expected one.
    """
    place, pitch = xp.float64(network.place), xp.float64(network.pitch)
    radius, col = xp.float64(network.radius), even_column(xp, pitch, parent, xp.float64(col))
    begin, by_row, by_col = ([place[:, k, axis] for axis in range(3)] for k in range(3))
    x, y, z = (
        xp.take(b, parent) + xp.float64(row) * xp.take(u, parent) + col * xp.take(v, parent)
        for b, u, v in zip(begin, by_row, by_col, strict=True)
    )
    rho, there = xp.sqrt(x**2 + y**2), xp.take(radius, sensor)
    here = rho * xp.take(radius, parent)
    bent = helix_ratio(xp, here, there, abs(turn)) * here / there
    z = z * xp.where(relation > 0, bent, xp.ones_like(bent)) + tilt * rho
    cos, sin = xp.cos(turn), xp.cos(turn - math.pi / 2)
    ray = x * cos - y * sin, x * sin + y * cos, z
    # The ray meets the plane begin + row by_row + col by_col: numbers of the reciprocal basis.
    share = [
        sum(a * xp.take(b, sensor) for a, b in zip(ray, cross(*pair), strict=True))
        for pair in ((by_row, by_col), (by_col, begin), (begin, by_row))
    ]
    volume = sum(a * b for a, b in zip(begin, cross(by_row, by_col), strict=True))
    ahead = share[0] * xp.take(volume, sensor) > 0
    along = xp.where(ahead, share[0], xp.ones_like(share[0]))
    rows, cols = (s / along for s in share[1:])
    cols = column_of_even(xp, pitch, sensor, cols)
    rows, cols = (xp.maximum(xp.minimum(s + 0.5, 1e6), -1.0) for s in (rows, cols))
    layer = place[:, 0, 3]
    meets = ahead & (rows >= 0) & (rows < network.size[0]) & (cols >= 0) & (cols < network.size[1])
    meets &= xp.take(layer, sensor) == xp.take(layer, parent) + xp.float64(relation)
    return meets & (sensor != parent), xp.int32(rows), xp.int32(cols)


def cross(a: Any, b: Any) -> list[Any]:
    """Vector product of components [S] each."""
    return [a[k - 2] * b[k - 1] - a[k - 1] * b[k - 2] for k in range(3)]
