"""Pairs of clusters of two sensors that may belong to one particle from the beam spot.

Positions are cylinder coordinates around the beam axis, with the beam spot at the origin. A pair
has a difference of azimuth delta and a distance dz from the place on the second sensor where a
particle through the first cluster is expected:

- on the straight line from the beam spot, z2 = z1 r2 / r1;
- on the helix through the beam spot, z2 = z1 s2 / s1. The beam spot and both clusters fix its
  circle, of curvature 2 sin(delta) / d (law of sines, d their transverse distance), and s are the
  lengths of the arcs from the beam spot. At r = 14 and 22 mm and in 1.5 T, delta = 0.1, 0.2 and
  0.4 rad are transverse momenta of 18, 10 and 6 MeV.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.data.simulation.detector import Detector, column_centre, to_laboratory
from kerasgen.metrics.clusters import label_clusters
from kerasgen.metrics.summary import layer_index

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
CELL = 0.1  # rad, width of the cells in which pairs are searched


@dataclass(frozen=True)
class PlacedClusters:
    """Clusters at their centres of charge, without a correction of the Lorentz shift.

    Attributes:
        sensor: int64 [n], index in the geometry.
        layer: int64 [n], index of the layer, from 0.
        r, phi, z: [n], mm and rad; cylinder coordinates around the beam axis.
        charge: [n], ADU.
    """

    sensor: Ints
    layer: Ints
    r: Floats
    phi: Floats
    z: Floats
    charge: Floats

    def __len__(self) -> int:
        return len(self.sensor)

    def take(self, some: NDArray) -> PlacedClusters:
        """Select clusters by mask or index."""
        return PlacedClusters(*(values[some] for values in vars(self).values()))


@dataclass(frozen=True)
class Window:
    """Pairs that are counted, in cells of |delta| and |dz|.

    Attributes:
        delta: edges of the cells in |difference of azimuth|, rad, ascending, below pi / 4.
        dz: edges of the cells in |dz|, mm, ascending from 0.
        helix: dz is the distance from the helix, not from the straight line.
    """

    delta: tuple[float, ...]
    dz: tuple[float, ...]
    helix: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Number of cells in |delta| and in |dz|."""
        return len(self.delta) - 1, len(self.dz) - 1


@dataclass(frozen=True)
class Pairs:
    """Pairs in a window: index of both clusters, and the cell of the window, int64 [pairs]."""

    first: Ints
    second: Ints
    cell: Ints

    def take(self, some: NDArray) -> Pairs:
        """Select pairs by mask or index."""
        return Pairs(*(values[some] for values in vars(self).values()))


def place_clusters(hits: Hits, geometry: Geometry, detector: Detector) -> list[PlacedClusters]:
    """Find the clusters of whole events; one item per event.

    Args:
        hits: event-major images, every sensor of the geometry once per event.
        geometry, detector: of the images.
    """
    label = label_clusters(hits, geometry)
    n = int(label.max(initial=-1)) + 1
    image = np.zeros(n, np.int64)
    image[label] = hits.image
    charge: Floats = np.bincount(label, hits.adu, n).astype(np.float64)
    row, col = (np.bincount(label, hits.adu * x.astype(float), n) / charge
                for x in (hits.row, hits.col))  # fmt: skip
    sensor = hits.sensor[image].astype(np.int64)
    v = column_centre(detector, sensor, col + 0.5)
    x, y, z = to_laboratory(detector, sensor, (row + 0.5) * detector.pitch_u, v, np.zeros(n)).T
    layer = layer_index(geometry)[sensor]
    found = PlacedClusters(sensor, layer, np.hypot(x, y), np.arctan2(y, x), z, charge)
    size = len(geometry.sensors)
    order = np.argsort(image, kind="stable")
    edges = np.searchsorted(image[order], np.arange(0, len(hits) + 1, size))
    return [found.take(order[a:b]) for a, b in pairwise(edges)]


def find_pairs(first: PlacedClusters, second: PlacedClusters, window: Window) -> Pairs:
    """Find the pairs in a window.

    The second clusters are sorted by cell of azimuth and z / r, so that those near the expected
    place of a first cluster are a few ranges.

    Args:
        first, second: clusters of two layers, or of one.
        window: cells of the pairs.
    """
    if not len(first) or not len(second):
        return Pairs(*(np.zeros(0, np.int64) for _ in range(3)))
    cells = int(2 * np.pi / CELL)
    width = 2 * np.pi / cells
    slope = second.z / second.r
    low, high = slope.min(), slope.max()
    span = high - low + 1.0
    cell = np.floor(second.phi / width).astype(np.int64) % cells
    key = cell * span + (slope - low)
    order = np.argsort(key)
    key, sorted_second = key[order], second.take(order)
    own = np.floor(first.phi / width).astype(np.int64)
    reach = int(np.ceil(window.delta[-1] / width))
    parts = []
    for step in range(-reach, reach + 1):
        nearest, farthest = max(abs(step) - 1, 0) * width, (abs(step) + 1) * width
        if farthest <= window.delta[0]:
            continue
        bounds = max(nearest, window.delta[0]), min(farthest, window.delta[-1])
        start, stop = expected_slopes(first, second, window, bounds)
        begin = (own + step) % cells * span
        start = np.searchsorted(key, begin + np.clip(start - low, 0, high - low))
        stop = np.searchsorted(key, begin + np.clip(stop - low, -1e-9, high - low), side="right")
        number = np.maximum(stop - start, 0)
        i = np.repeat(np.arange(len(first)), number)
        j = np.arange(len(i)) + np.repeat(start - np.cumsum(number) + number, number)
        delta, dz = pair_distances(first, sorted_second, i, j, window.helix)
        parts.append(_in_window(i, order[j], delta, dz, window))
    return Pairs(*(np.concatenate([getattr(p, k) for p in parts]) for k in vars(parts[0])))


def pair_distances(
    first: PlacedClusters, second: PlacedClusters, i: Ints, j: Ints, helix: bool
) -> tuple[Floats, Floats]:
    """|delta| (rad) and |dz| (mm) of pairs, each [pairs].

    Args:
        first, second: clusters.
        i, j: [pairs], indices of the clusters.
        helix: dz is the distance from the helix, not from the straight line.
    """
    delta = np.abs(first.phi[i] - second.phi[j])
    delta = np.minimum(delta, 2 * np.pi - delta)
    r1, r2 = first.r[i], second.r[j]
    ratio = helix_ratio(np, r1, r2, delta) if helix else r2 / r1
    return delta, np.abs(second.z[j] - first.z[i] * ratio)


def helix_ratio(xp: Any, r1: Any, r2: Any, delta: Any) -> Any:
    """Ratio of the arcs from the beam spot to two points, s2 / s1, [n]; delta in rad, r1 < r2.

    Args:
        xp: functions, as numpy has them.
        r1, r2, delta: float64 [n].
    """
    distance = xp.sqrt(r1**2 + r2**2 - 2 * r1 * r2 * xp.cos(delta))
    half = xp.minimum(r1 * xp.sin(delta) / distance, 1.0)  # sine of half the turn to the first
    return xp.where(delta > 1e-9, 1 + delta / xp.arcsin(xp.maximum(half, 1e-12)), r2 / r1)


def expected_slopes(
    first: PlacedClusters, second: PlacedClusters, window: Window, delta: tuple[float, float]
) -> tuple[Floats, Floats]:
    """Range of z / r, [n] each, that holds all pairs of each first cluster with such a delta.

    Args:
        first, second: clusters.
        window: of the pairs.
        delta: smallest and largest |difference of azimuth|, rad.
    """
    near, far = second.r.min(), second.r.max()
    margin = window.dz[-1] / near
    slope = first.z / first.r
    if not window.helix:
        return slope - margin, slope + margin
    ratios = [helix_ratio(np, first.r, np.full_like(first.r, r2), np.full_like(first.r, d))
              * first.r / r2 for r2 in (near, far) for d in delta]  # fmt: skip
    ends = slope * np.min(ratios, axis=0), slope * np.max(ratios, axis=0)
    return np.minimum(*ends) - margin, np.maximum(*ends) + margin


def _in_window(i: Ints, j: Ints, delta: Floats, dz: Floats, window: Window) -> Pairs:
    inside = (delta >= window.delta[0]) & (delta < window.delta[-1]) & (dz < window.dz[-1])
    rows, columns = (
        np.searchsorted(edges[1:-1], x[inside], side="right")
        for edges, x in ((window.delta, delta), (window.dz, dz))
    )
    return Pairs(i[inside], j[inside], rows * window.shape[1] + columns)
