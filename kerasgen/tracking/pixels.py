"""Pixel clusters as measured points, and crossings of tracks with the sensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.data.simulation.detector import Detector, Floats, Ints, column_centre
from kerasgen.data.simulation.tracks import Tracks, TrackSegments, cross_sensors
from kerasgen.metrics.clusters import label_clusters
from kerasgen.metrics.summary import layer_index

SIZES = 8  # classes of cluster sizes; the last contains all larger sizes


@dataclass(frozen=True)
class PixelClusters:
    """Clusters of many images, sorted by image.

    Attributes:
        start: [images + 1], CSR layout: image i owns clusters [start[i]:start[i+1]].
        e, z: mm, position along the ladder's r-phi axis and along the beam.
        sigma_e, sigma_z: mm, errors of e and z.
        size_u, size_v: extent in pixels.
        label: [hits], the cluster of each hit.
    """

    start: Ints
    e: Floats
    z: Floats
    sigma_e: Floats
    sigma_z: Floats
    size_u: Ints
    size_v: Ints
    label: Ints


@dataclass(frozen=True)
class ClusterErrors:
    """Errors of cluster positions, mm: [layers, SIZES] by the size along u and along v."""

    e: Floats
    z: Floats


def measure_clusters(
    hits: Hits, geometry: Geometry, detector: Detector, shift_um: float, errors: ClusterErrors
) -> PixelClusters:
    """Find clusters and their centres of charge, corrected for the mean Lorentz shift.

    Args:
        hits: images of whole events.
        geometry, detector: of the images.
        shift_um: displacement of the charge along u by the magnetic field.
        errors: of the positions.
    """
    label = label_clusters(hits, geometry).astype(np.int64)
    n = int(label.max(initial=-1)) + 1
    image = np.zeros(n, np.int64)
    image[label] = hits.image
    charge = np.bincount(label, hits.adu, n)
    row = np.bincount(label, hits.adu * hits.row.astype(float), n) / charge
    col = np.bincount(label, hits.adu * hits.col.astype(float), n) / charge
    size_u, size_v = (extent(label, x.astype(np.int64), n) for x in (hits.row, hits.col))
    sensor = hits.sensor[image].astype(np.int64)
    u = (row + 0.5) * detector.pitch_u - shift_um
    e, z = to_ladder(detector, sensor, u, column_centre(detector, sensor, col + 0.5))
    layer = layer_index(geometry)[sensor]
    order = np.argsort(image, kind="stable")
    rank = np.empty(n, np.int64)
    rank[order] = np.arange(n)
    sigma_e = errors.e[layer, np.minimum(size_u, SIZES) - 1]
    sigma_z = errors.z[layer, np.minimum(size_v, SIZES) - 1]
    return PixelClusters(
        np.searchsorted(image[order], np.arange(len(hits) + 1)),
        e[order],
        z[order],
        sigma_e[order],
        sigma_z[order],
        size_u[order],
        size_v[order],
        rank[label],
    )


def extent(label: Ints, value: Ints, n: int) -> Ints:
    """Largest minus smallest value of each label, plus 1."""
    low, high = np.full(n, np.iinfo(np.int64).max), np.full(n, -1)
    np.minimum.at(low, label, value)
    np.maximum.at(high, label, value)
    return high - low + 1


def to_ladder(detector: Detector, sensor: Ints, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    """Convert u and v (um) on sensors to e and z (mm) on their ladders."""
    along = np.where(detector.flipped[sensor], detector.width - u, u) / 1000.0
    e = detector.u_low[detector.ladder[sensor]] + along
    forward = detector.forward[sensor]
    z = np.where(forward, detector.z_high[sensor] - v / 1000, detector.z_low[sensor] + v / 1000)
    return e, z


@dataclass(frozen=True)
class Crossing:
    """First crossing of each track with one layer.

    Attributes:
        sensor: int64 [N], -1 where the track misses the layer.
        e, z: mm on the ladder.
        x, y: mm.
        normal: rad, azimuth of the ladder's normal.
        direction: rad, azimuth of the track.
        segments: the paths through the silicon, one per crossing track.
    """

    sensor: Ints
    e: Floats
    z: Floats
    x: Floats
    y: Floats
    normal: Floats
    direction: Floats
    segments: TrackSegments


def cross_layer(tracks: Tracks, geometry: Geometry, detector: Detector, layer: int) -> Crossing:
    """First crossing of tracks with an active sensor of a layer (counted from 0)."""
    found = cross_sensors(tracks, detector)
    some = np.flatnonzero(layer_index(geometry)[found.sensor] == layer)
    sensor = found.sensor[some]
    e, z = to_ladder(detector, sensor, found.u[some], found.v[some])
    normal = detector.phi[detector.ladder[sensor]]
    distance = detector.distance[detector.ladder[sensor]]
    x = distance * np.cos(normal) - e * np.sin(normal)
    y = distance * np.sin(normal) + e * np.cos(normal)
    # Two ladders overlap at their edges: the first crossing counts.
    track = found.track[some]
    order = np.lexsort((np.hypot(x - tracks.x[track], y - tracks.y[track]), track))
    order = order[np.diff(track[order], prepend=-1) > 0]
    n = len(tracks.x)

    def per_track(values: NDArray[Any], empty: float = 0.0) -> NDArray[Any]:
        out = np.full(n, empty)
        out[track[order]] = values[order]
        return out

    return Crossing(
        per_track(sensor, -1).astype(np.int64),
        per_track(e),
        per_track(z),
        per_track(x),
        per_track(y),
        per_track(normal),
        per_track(normal + np.arctan(found.slope_u[some])),
        TrackSegments(*(getattr(found, k)[some][order] for k in vars(found))),
    )
