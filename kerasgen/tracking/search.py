"""Outside-in track search: fit the strips, then attach the closest pixel cluster to the helix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.simulation.detector import Detector, Floats, Ints
from kerasgen.tracking import material
from kerasgen.tracking.fit import SLOTS, UNMEASURED_MM, Fit, Points, fit_tracks, measurement_matrix
from kerasgen.tracking.helix import COT, as_tracks, from_points
from kerasgen.tracking.pixels import Crossing, PixelClusters, cross_layer
from kerasgen.tracking.signal import PIXEL_LAYERS, Signal

MAX_CHI2 = 20.0  # of a cluster's distance, 2 degrees of freedom: 5e-5 of the right are lost


@dataclass(frozen=True)
class FoundTracks:
    """Fitted tracks with their pixel clusters.

    Attributes:
        fit: of strips and attached clusters.
        cluster: int64 [N, 2], the cluster attached in each pixel layer; -1: none.
    """

    fit: Fit
    cluster: Ints


def strip_points(strips: Floats) -> Points:
    """Points of N tracks with measured strips and unmeasured pixel layers."""
    n = len(strips)
    x, y, z = (np.zeros((n, SLOTS)) for _ in range(3))
    for values, k in ((x, 0), (y, 1), (z, 2)):
        values[:, PIXEL_LAYERS:] = strips[:, :, k]
    sigma_e = np.full((n, SLOTS), UNMEASURED_MM)
    sigma_z, thickness = sigma_e.copy(), np.zeros((n, SLOTS))
    sigma_e[:, PIXEL_LAYERS:] = material.STRIP_RPHI_MM
    sigma_z[:, PIXEL_LAYERS:] = material.STRIP_Z_MM
    thickness[:, PIXEL_LAYERS:] = material.STRIPS
    return Points(x, y, z, np.arctan2(y, x), sigma_e, sigma_z, thickness)


def find_tracks(
    signal: Signal, clusters: PixelClusters, geometry: Geometry, detector: Detector
) -> FoundTracks:
    """Attach pixel clusters to the strip hits of each track, layer 2 before layer 1, and fit.

    The strip hits of a track are taken from the simulation: background in the pixels does not
    change the assignment in four strip layers far from the beam.
    """
    strips = signal.strips
    points = strip_points(strips)
    some = strips[:, [0, 1, 3]]
    start = from_points(some[..., 0], some[..., 1], some[..., 2])
    found = fit_tracks(points, start, detector.field)
    sensors = len(geometry.sensors)
    cluster = np.full((len(signal), PIXEL_LAYERS), -1)
    for layer in reversed(range(PIXEL_LAYERS)):
        for slot in range(layer + 1):  # the layers further in scatter, too
            crossing = cross_layer(as_tracks(found.parameters), geometry, detector, slot)
            points = _place_unmeasured(points, slot, crossing)
        found = fit_tracks(points, found.parameters, detector.field, iterations=1)
        crossing = cross_layer(as_tracks(found.parameters), geometry, detector, layer)
        points = _place_unmeasured(points, layer, crossing)
        found = fit_tracks(points, found.parameters, detector.field, iterations=0)
        image = np.where(crossing.sensor >= 0, signal.event * sensors + crossing.sensor, -1)
        chosen = closest_clusters(found, layer, crossing, image, clusters)
        rows = np.flatnonzero(chosen >= 0)
        cluster[:, layer] = chosen
        points = _place_clusters(points, layer, rows, crossing, chosen[rows], clusters)
        found = fit_tracks(points, found.parameters, detector.field, iterations=2)
    return FoundTracks(found, cluster)


def closest_clusters(
    found: Fit, slot: int, crossing: Crossing, image: Ints, clusters: PixelClusters
) -> Ints:
    """int64 [N], most likely cluster in each track's image; -1: none with chi2 < ``MAX_CHI2``."""
    mean, covariance = found.expected(slot)
    some = np.flatnonzero(image >= 0)
    first = clusters.start[image[some]]
    count = clusters.start[image[some] + 1] - first
    track = np.repeat(some, count)
    candidate = np.arange(len(track)) + np.repeat(first - (np.cumsum(count) - count), count)
    offset = np.stack(
        [
            clusters.e[candidate] - crossing.e[track],
            clusters.z[candidate] - crossing.z[track],
        ],
        -1,
    )
    near = (np.abs(offset) < 5.0).all(-1)  # mm, wider than any prediction
    track, candidate, offset = track[near], candidate[near], offset[near]
    angle = (crossing.direction - crossing.normal)[track]
    turn = measurement_matrix(angle, found.parameters[track, COT])
    error = np.stack([clusters.sigma_e[candidate], clusters.sigma_z[candidate]], -1) ** 2
    total = covariance[track] + np.einsum("nik,nk,njk->nij", turn, error, turn)
    gap = np.einsum("nij,nj->ni", turn, offset) - mean[track]
    chi2 = np.einsum("ni,nij,nj->n", gap, np.linalg.inv(total), gap)
    # Chi2 alone prefers clusters with large errors: the likelihood selects.
    rank = chi2 + np.log(np.linalg.det(total))
    good = chi2 < MAX_CHI2
    track, candidate, rank = track[good], candidate[good], rank[good]
    order = np.lexsort((rank, track))
    best = order[np.diff(track[order], prepend=-1) > 0]
    chosen = np.full(len(image), -1)
    chosen[track[best]] = candidate[best]
    return chosen


def _place_unmeasured(points: Points, slot: int, crossing: Crossing) -> Points:
    """Set unmeasured points at the crossings of the layer; no material for tracks that miss it."""
    hit = np.flatnonzero(crossing.sensor >= 0)
    every = np.arange(len(crossing.sensor))
    points = points.put(slot, every, thickness=0.0)
    return points.put(
        slot,
        hit,
        x=crossing.x[hit],
        y=crossing.y[hit],
        z=crossing.z[hit],
        normal=crossing.normal[hit],
        thickness=material.PIXELS,
    )


def _place_clusters(
    points: Points,
    slot: int,
    rows: NDArray,
    crossing: Crossing,
    chosen: Ints,
    clusters: PixelClusters,
) -> Points:
    """Set the points of tracks to their attached clusters."""
    normal = crossing.normal[rows]
    e = clusters.e[chosen] - crossing.e[rows]
    return points.put(
        slot,
        rows,
        x=crossing.x[rows] - e * np.sin(normal),
        y=crossing.y[rows] + e * np.cos(normal),
        z=clusters.z[chosen],
        sigma_e=clusters.sigma_e[chosen],
        sigma_z=clusters.sigma_z[chosen],
    )
