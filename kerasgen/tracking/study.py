"""Reconstruction of the same signal tracks under different backgrounds.

Every background event is overlaid with simulated signal (``signal``), its fired pixels are
clustered, tracks are searched from outside in and fitted. The signal of background event k is the
same for every background, so all differences come from the background.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits, overlay
from kerasgen.data.simulation.detector import Floats, Ints, build_detector
from kerasgen.data.simulation.parameters import calibrated_parameters
from kerasgen.data.simulation.tracks import LIGHT_MM
from kerasgen.tracking.helix import CURVATURE, D0, Z0
from kerasgen.tracking.pixels import SIZES, ClusterErrors, PixelClusters, measure_clusters
from kerasgen.tracking.search import find_tracks
from kerasgen.tracking.signal import (
    PIXEL_LAYERS,
    TRACKS_PER_EVENT,
    Signal,
    simulate_signal,
)

TRACKS = 20_000
CALIBRATION_EVENTS = 50
CALIBRATION_SEED = 2**31  # of no study, so that the calibration is independent


@dataclass(frozen=True)
class Records:
    """Reconstructed N tracks; those of a background event follow each other within a block.

    Attributes:
        event: [N], number of the background event, from 0.
        pt: [N], true transverse momentum, GeV/c.
        d0, z0: [N], mm, fitted minus true.
        sigma_d0, sigma_z0: [N], mm, errors from the fit.
        expected: bool [N, 2], whether the track crosses the pixel layer.
        found: bool [N, 2], whether a cluster with a pixel of the track was attached.
        wrong: bool [N, 2], whether another cluster was attached.
    """

    event: Ints
    pt: Floats
    d0: Floats
    z0: Floats
    sigma_d0: Floats
    sigma_z0: Floats
    expected: NDArray[np.bool_]
    found: NDArray[np.bool_]
    wrong: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.event)

    def take(self, rows: NDArray) -> Records:
        """Tracks in these rows."""
        return Records(*(getattr(self, f.name)[rows] for f in fields(self)))


def join_records(parts: list[Records]) -> Records:
    """Concatenate the tracks of all parts."""
    return Records(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Records)))


class TrackingStudy:
    """Signal that is overlaid with any background; errors of clusters are calibrated once.

    Args:
        geometry: with silicon, layer and digitizer tables (belle2-pxd).
        events: background events of each sample.
        seed: of the signal.
        tracks: minimum number; few background events are used several times, with other signal.

    Raises:
        InputError: a geometry that cannot be simulated.
    """

    def __init__(self, geometry: Geometry, events: int, seed: int, tracks: int = TRACKS) -> None:
        self.geometry, self.events, self.seed = geometry, events, seed
        self.detector = build_detector(geometry)
        self.parameters = calibrated_parameters()
        gate_w = 0.5 * self.detector.thickness
        gate_w -= float(geometry.extra["silicon"]["gate_depth_um"])
        self.shift_um = self.parameters.tan_lorentz * gate_w
        self.uses = max(1, -(-tracks // (TRACKS_PER_EVENT * events)))

    @cached_property
    def errors(self) -> ClusterErrors:
        """Errors of cluster positions by size, from signal without background."""
        signal = self._signal(range(CALIBRATION_EVENTS), CALIBRATION_SEED)
        hits = signal.hits(self.geometry)
        unknown = ClusterErrors(*(np.full((PIXEL_LAYERS, SIZES), np.nan) for _ in range(2)))
        clusters = measure_clusters(hits, self.geometry, self.detector, self.shift_um, unknown)
        cluster, first = np.unique(clusters.label, return_index=True)
        track = signal.track[first]
        sensor = hits.sensor[hits.image[first]]
        layer = np.array([s.layer for s in self.geometry.sensors])[sensor]
        layer = np.unique(layer, return_inverse=True)[1]
        gap = np.stack([clusters.e, clusters.z], 1)[cluster] - signal.position[track, layer]
        errors = []
        pitch = (self.detector.pitch_u / 1000, float(self.detector.pitch_outer.max()) / 1000)
        for axis, size in enumerate((clusters.size_u, clusters.size_v)):
            size_class = np.minimum(size[cluster], SIZES) - 1
            sigma = np.full((PIXEL_LAYERS, SIZES), np.nan)
            for at in range(PIXEL_LAYERS):
                for k in range(SIZES):
                    values = gap[(layer == at) & (size_class == k), axis]
                    # Error of a rare class: that of a uniform distribution over the cluster.
                    rare = pitch[axis] * (k + 1) / np.sqrt(12)
                    sigma[at, k] = half_width(values) if len(values) >= 30 else rare
            errors.append(sigma)
        return ClusterErrors(*errors)

    def _signal(self, events: Iterable[int], seed: int) -> Signal:
        return simulate_signal(self.geometry, self.detector, self.parameters, seed, events)

    def empty(self, events: int) -> Hits:
        """Events without background."""
        images = np.arange(events * len(self.geometry.sensors))
        none = np.zeros(0, np.uint16)
        return Hits(
            np.zeros(len(images) + 1, np.int64), none, none, none, none.astype(np.uint8),
            (images % len(self.geometry.sensors)).astype(np.uint16),
            images // len(self.geometry.sensors),
        )  # fmt: skip

    def block(self, background: Hits, first: int, rotated: int = 0) -> Records:
        """Records of all tracks under some background events.

        Args:
            background: whole events, numbers ``first`` and following of the study.
            first: number of the first event.
            rotated: background event k gets the signal of event k + rotated, so the same
                background is combined with other signal.
        """
        n = len(background) // len(self.geometry.sensors)
        numbers = (np.arange(first, first + n) + rotated) % self.events
        return join_records(
            [
                self._reconstruct(background, numbers + use * self.events, first)
                for use in range(self.uses)
            ]
        )

    def _reconstruct(self, background: Hits, numbers: Ints, first: int) -> Records:
        signal = self._signal(numbers.tolist(), self.seed)
        merged = overlay(signal.hits(self.geometry), background, self.geometry)
        clusters = measure_clusters(
            merged, self.geometry, self.detector, self.shift_um, self.errors
        )
        tracks = find_tracks(signal, clusters, self.geometry, self.detector)
        right = self._is_right(signal, merged, clusters, tracks.cluster)
        attached = tracks.cluster >= 0
        gap = tracks.fit.parameters - signal.parameters
        curvature = np.abs(signal.parameters[:, CURVATURE])
        return Records(
            signal.event + first,
            LIGHT_MM * self.detector.field / curvature,
            gap[:, D0],
            gap[:, Z0],
            tracks.fit.sigma(D0),
            tracks.fit.sigma(Z0),
            signal.crossed,
            attached & right,
            attached & ~right,
        )

    def _is_right(
        self, signal: Signal, merged: Hits, clusters: PixelClusters, chosen: Ints
    ) -> NDArray[np.bool_]:
        """bool [N, 2], whether the chosen clusters hold a pixel of the track."""
        cell = merged.row.astype(np.int64) * self.geometry.cols + merged.col
        pixel = merged.image * self.geometry.pixels + cell
        label = clusters.label[np.searchsorted(pixel, signal.pixel)]
        n = len(clusters.e)
        true = np.unique(signal.track * n + label)
        return np.isin(np.arange(len(signal))[:, None] * n + chosen, true) & (chosen >= 0)


def half_width(values: Floats) -> float:
    """Half of the central range with 68.27 % of the values: sigma of a normal distribution."""
    if len(values) < 2:
        return float("nan")
    low, high = np.percentile(values, [15.865, 84.135])
    return float(0.5 * (high - low))
