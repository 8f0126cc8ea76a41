"""Linked pairs of training events: what they have beyond different events and beyond the field."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.data.simulation.detector import build_detector
from kerasgen.errors import InputError
from kerasgen.metrics.cluster_pairs import PlacedClusters, Window, find_pairs, place_clusters
from kerasgen.models.cluster_growth import numpy_functions as xp
from kerasgen.models.cluster_growth.field import FirstPixels, coordinates, covariance
from kerasgen.models.cluster_growth.links import (
    AZIMUTH,
    BINS,
    CELLS,
    RELATIONS,
    SLOPE,
    Links,
    differences,
    linked_clusters,
    offspring_of_layer,
)
from kerasgen.models.cluster_growth.places import places_at
from kerasgen.models.cluster_growth.statistics import even

TRIALS = 500  # of each sensor and cell
PLACES = 20_000  # random ones of a layer
EVENTS = 128  # by which the clusters of pairs are counted
SIGMAS = 1.0  # of a cell beyond the field, below which it has no linked pairs
RARE = 0.01  # share of pairs that exist below which a cell is left out
Floats = NDArray[np.float64]


def fit_links(blocks: Iterable[Hits], statistics: Any, geometry: Geometry) -> Links | None:
    """Fit linked pairs to training events: pairs of one background type.

    Args:
        blocks: the events, some at a time.
        statistics: of the sensors, ``portable_sampling.StatisticsInNumpy``.
        geometry: the detector.

    Returns:
        The pairs; None if the geometry does not place sensors, or there are no such pairs.
    """
    try:
        detector = build_detector(geometry)
    except InputError:
        return None
    types = statistics.types
    events: list[list[PlacedClusters]] = [[] for _ in types]
    for hits in tqdm(blocks, "linked pairs", unit=" blocks", disable=None):
        split = hits.split_types(types)
        for k, of_type in enumerate(events):
            images = split.take(np.arange(k, len(split), len(types)))
            of_type += place_clusters(images, geometry, detector)
    tried = np.zeros((len(geometry.sensors), RELATIONS, CELLS))
    for kind, of_type in enumerate(events):
        field = FieldOfType(statistics, kind)
        trials = try_pairs(field)
        excess = pair_excess(of_type, field, trials)
        tried += np.where(trials.share > RARE, excess / np.maximum(trials.share, RARE), 0)
    if not tried.any():
        return None
    return links_of(statistics, tried.reshape(len(tried), -1).astype(np.float32))


class FieldOfType:
    """The statistics of the sensors, with the field of one background type alone.

    Args:
        statistics: of the sensors.
        kind: index of the type in those of the model.
    """

    def __init__(self, statistics: Any, kind: int) -> None:
        vars(self).update(vars(statistics))
        self.amplitude = np.asarray(statistics.amplitude, float)[:, kind]
        self.length = np.asarray(statistics.length, float)[kind]


def layers_of(statistics: Any) -> NDArray[np.int64]:
    """Number of the layer of every sensor, from 0."""
    return np.asarray(statistics.place)[:, 0, 3].astype(np.int64)


def pair_excess(events: Iterable[PlacedClusters], statistics: Any, trials: Trials) -> Floats:
    """Linked pairs of an event by sensor of the parent, [S, RELATIONS, CELLS].

    The cells of a layer have the same shares on all its sensors; those that are not seen beyond
    the errors are 0. Either cluster of a pair of one layer is the parent of half of them.
    """
    layer = layers_of(statistics)
    own, mixed, number = pair_counts(events, statistics)
    usual = mixed * usual_ratio(statistics, trials)[layer]
    found = np.zeros_like(own)
    for k, relation in np.ndindex(layer.max() + 1, RELATIONS):
        here = layer == k
        excess, noise = own[here, relation] - usual[here, relation], own[here, relation].sum(0)
        seen = excess.sum(0) > SIGMAS * np.sqrt(noise + usual[here, relation].sum(0))
        by_cell = np.where(seen, excess.sum(0), 0)
        by_sensor = np.maximum(excess[:, seen].sum(1), 0)
        found[here, relation] = np.outer(by_sensor, by_cell) / max(by_sensor.sum(), 1)
    return found / max(number, 1)


def pair_counts(events: Iterable[PlacedClusters], statistics: Any) -> tuple[Floats, Floats, int]:
    """Pairs of all events, mixed ones, [S, RELATIONS, CELLS] each, and the number of events.

    The second clusters of mixed pairs are those of the event before; the first event has none and
    does not count.
    """
    layer, radius = layers_of(statistics), np.asarray(statistics.radius, float)
    of_layers = [radius[layer == k].mean() for k in range(layer.max() + 1)]
    own, mixed = (np.zeros((len(layer), RELATIONS, CELLS)) for _ in range(2))
    before, number = None, 0
    for event in events:
        now = [event.take(event.layer == k) for k in range(len(of_layers))]
        if before is not None:
            add_pairs(own, now, now, of_layers)
            add_pairs(mixed, now, before, of_layers)
            number += 1
        before = now
    return own, mixed, number


def add_pairs(
    counts: Floats, first: list[PlacedClusters], second: list[PlacedClusters], radius: list[float]
) -> None:
    """Add pairs of the clusters of two events, by layer, to [S, RELATIONS, CELLS].

    They are scaled to as many second clusters as the first event has.

    Args:
        counts: to add to.
        first, second: clusters by layer.
        radius: of the layers, mm.
    """
    for relation in range(RELATIONS):
        for k in range(len(first) - relation):
            a, b = first[k], second[k + relation]
            scale = len(first[k + relation]) / max(len(b), 1)
            distance = tuple(slope * radius[k + relation] for slope in SLOPE)
            pairs = find_pairs(a, b, Window(AZIMUTH, distance, helix=relation > 0))
            one, other = a.sensor[pairs.first], b.sensor[pairs.second]
            apart = one != other
            index = one[apart] * CELLS + pairs.cell[apart]
            found = np.bincount(index, minlength=len(counts) * CELLS).reshape(-1, CELLS)
            # Pairs of a layer are found twice, once from either cluster.
            counts[:, relation] += scale * found / (1 if relation else 2)


def usual_ratio(statistics: Any, trials: Trials) -> Floats:
    """Pairs of an event over those of different events by the field, [L, RELATIONS, CELLS].

    Over all pairs of the two layers it is 1 on average, because different events are scaled to the
    number of clusters.
    """
    layer = layers_of(statistics)
    amplitude, length = statistics.amplitude, statistics.length
    of_layer = np.stack([amplitude[layer == k].mean(0) for k in range(layer.max() + 1)])
    ratio = np.ones((len(of_layer), RELATIONS, CELLS))
    rate = np.asarray(statistics.rate, float)
    empty = [not rate[layer == k].any() for k in range(len(of_layer))] + [True]
    for k, relation in np.ndindex(ratio.shape[:2]):
        if empty[k] or empty[k + relation]:
            continue
        one, other = (random_places(statistics, layer == j, j) for j in (k, k + relation))
        far = (one - np.roll(other, 1, axis=0)) ** 2  # of a layer both are the same places
        a, b = of_layer[k], of_layer[k + relation]
        usual = np.exp(covariance(a, b, far, length)).mean()
        share, found = (x[layer == k, relation] for x in (trials.share, trials.ratio))
        ratio[k, relation] = (share * found).sum(0) / np.maximum(share.sum(0), 1e-9) / usual
    return ratio


def random_places(statistics: Any, some: NDArray[np.bool_], seed: int) -> Floats:
    """Coordinates of PLACES first pixels on some of the sensors, see ``field.coordinates``."""
    rng = np.random.default_rng(seed)
    rate = np.asarray(statistics.rate, float) * some
    sensor = rng.choice(len(rate), PLACES, p=rate / rate.sum())
    row, col = places_at(xp, statistics, sensor, rng.random((2, PLACES), np.float32))
    return coordinates(statistics, FirstPixels(sensor, sensor, row, col))


class Trials(NamedTuple):
    """What comes of tried pairs, [S, RELATIONS, CELLS] each.

    Attributes:
        share: of pairs that exist.
        ratio: by which the field makes those more frequent than pairs of different events.
    """

    share: Floats
    ratio: Floats


def try_pairs(statistics: Any) -> Trials:
    """Try pairs with parents on every sensor, TRIALS in each cell."""
    rng = np.random.default_rng(0)
    amplitude, length = statistics.amplitude, statistics.length
    sensors = len(statistics.place)
    trials = Trials(*np.zeros((2, sensors, RELATIONS, CELLS)))
    n = CELLS * TRIALS
    cell = np.repeat(np.arange(CELLS), TRIALS)
    for s, relation in np.ndindex(sensors, RELATIONS):
        parent = np.full(n, s)
        row, col = places_at(xp, statistics, parent, rng.random((2, n), np.float32))
        turn, tilt = differences(xp, cell, *rng.random((2, n)))
        exists, rows, cols = offspring_of_layer(
            xp, statistics, parent, row, col, np.full(n, relation), turn, tilt
        )
        pair, other = np.flatnonzero(exists.any(1)), exists.argmax(1)
        to = other[pair]
        one = coordinates(statistics, FirstPixels(pair, parent[pair], row[pair], col[pair]))
        two = coordinates(statistics, FirstPixels(pair, to, rows[pair, to], cols[pair, to]))
        near = np.exp(covariance(amplitude[s], amplitude[to], (one - two) ** 2, length))
        count = np.bincount(cell[pair], minlength=CELLS)
        trials.share[s, relation] = count / TRIALS
        summed = np.bincount(cell[pair], near, CELLS)
        trials.ratio[s, relation] = summed / np.maximum(count, 1)
    return trials


def links_of(statistics: Any, tried: NDArray[np.float32]) -> Links:
    """The links of tried pairs: which clusters are theirs, by EVENTS events."""
    sensors = len(tried)
    sensor, known = np.arange(sensors), np.ones(sensors, bool)
    mean = np.full(sensors, tried.sum())
    found = []
    for key in np.random.default_rng(0).integers(2**62, size=EVENTS):
        keys = np.full(sensors, key)
        image, _, _, *place = linked_clusters(xp, statistics, tried, mean, sensor, known, keys)
        found.append((image, *place))
    image, *places = [np.concatenate(x) for x in zip(*found, strict=True)]
    count = np.bincount(image, minlength=sensors)
    rate = np.asarray(statistics.rate, float)
    share = count / EVENTS / np.maximum(rate, 1e-9)
    tables = statistics.along_u, statistics.along_v
    ratios = []
    for where, table, size in zip(places, tables, statistics.size, strict=True):
        bins = np.bincount(image * BINS + where * BINS // size, minlength=sensors * BINS)
        edges = -(-np.arange(BINS + 1) * size // BINS)  # whole pixels
        below = np.stack([np.interp(edges, t, even(len(t))) for t in np.asarray(table)])
        usual = np.diff(below, axis=1) * count[:, None]
        ratios.append(np.where(usual > 0, bins.reshape(sensors, BINS) / np.maximum(usual, 1e-9), 0))
    return Links(*(np.float32(x) for x in (tried, share, *ratios)))
