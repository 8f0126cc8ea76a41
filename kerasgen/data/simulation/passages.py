"""Passages of particles of the fast simulator through modules, in the frames of sensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.simulation.charge import Numbers
from kerasgen.data.simulation.detector import Detector, Floats, Ints
from kerasgen.data.simulation.tracks import (
    MAX_SLOPE,
    TrackSegments,
    clip_to_volume,
    grazing_cosine,
    pair_with_sensors,
    sensor_axes,
)


@dataclass(frozen=True)
class Passages:
    """Points where particles enter the active layer of a module, or the rim beside it.

    Attributes:
        track: row of the track.
        ladder: index of the ladder.
        u, z: mm, along e and along the beam.
        outwards: whether the particle comes from the side of the beam.
        direction: [n, 3] unit vectors along e, z and the normal of the ladder.
        middle: sine of the transverse direction to the normal in the middle of the layer; above
            1 in size: the particle does not get there.
        momentum: GeV/c.
        turn: +1 or -1, sense of rotation.
        type: uint8, background type.
    """

    track: Ints
    ladder: Ints
    u: Floats
    z: Floats
    outwards: NDArray[np.bool_]
    direction: Floats
    middle: Floats
    momentum: Floats
    turn: Floats
    type: NDArray[np.uint8]

    def take(self, some: NDArray) -> Passages:
        """Select passages by mask or index."""
        return Passages(*(getattr(self, name)[some] for name in vars(self)))


@dataclass(frozen=True)
class Entries:
    """Points where particles at grazing incidence enter the silicon of a sensor.

    Attributes:
        sensor: index of the sensor.
        u, v, w: um.
        direction: [n, 3] unit vectors.
        type: uint8, background type.
        track: row of the passage.
    """

    sensor: Ints
    u: Floats
    v: Floats
    w: Floats
    direction: Floats
    type: NDArray[np.uint8]
    track: Ints


def sensor_position(
    detector: Detector, sensor: Ints, u: Numbers, z: Numbers
) -> tuple[Floats, Floats]:
    """Convert u and z (mm) of points on ladders to u and v (um) in the frames of sensors."""
    low = 1e3 * (u - detector.u_low[detector.ladder[sensor]])
    su = np.where(detector.flipped[sensor], detector.width - low, low)
    z_low, z_high = detector.z_low[sensor], detector.z_high[sensor]
    return su, 1e3 * np.where(detector.forward[sensor], z_high - z, z - z_low)


def is_straight(passages: Passages, detector: Detector) -> NDArray[np.bool_]:
    """Whether the paths of particles through the active layer are straight."""
    cosine = grazing_cosine(passages.momentum, detector.thickness)
    return np.abs(passages.direction[:, 2]) > cosine


def straight_segments(passages: Passages, detector: Detector) -> TrackSegments:
    """Find the segments of straight paths in the active silicon; ``track``: row of the passage.

    A shallow path can leave one sensor of a ladder and enter the next, so each is tried on all
    sensors of its ladder and clipped to the active volume of each.
    """
    row, sensor = pair_with_sensors(passages.ladder, detector)
    u, v = sensor_position(detector, sensor, passages.u[row], passages.z[row])
    beside = MAX_SLOPE * detector.thickness  # more than that away along v: not on this sensor
    some = np.flatnonzero((v > -beside) & (v < detector.length[sensor] + beside))
    row, sensor, u, v = row[some], sensor[some], u[some], v[some]
    outward, towards = sensor_axes(detector, sensor)
    middle, upwards = passages.middle[row], passages.outwards[row] ^ (outward < 0)
    cosine = np.sqrt(np.maximum(1.0 - middle**2, 1e-6)) * np.where(
        passages.outwards[row], 1.0, -1.0
    )
    along_z = passages.direction[row, 1] / np.hypot(*passages.direction[row][:, [0, 2]].T)
    slope_u = middle / cosine
    slope_v = along_z / cosine * towards * outward
    at_face = np.where(upwards, -0.5, 0.5) * detector.thickness
    u, v = u - slope_u * at_face, v - slope_v * at_face
    w_in, w_out = clip_to_volume(u, slope_u, v, slope_v, detector, sensor)
    keep = (w_out > w_in) & (np.abs(slope_u) < MAX_SLOPE) & (np.abs(slope_v) < MAX_SLOPE)
    arrays = (sensor, u, v, slope_u, slope_v, w_in, w_out, upwards, passages.type[row], row)
    return TrackSegments(*(a[keep] for a in arrays))


def grazing_entries(passages: Passages, detector: Detector) -> Entries:
    """Find the points on the faces of sensors where particles enter the active silicon."""
    row, sensor = pair_with_sensors(passages.ladder, detector)
    outward, towards = sensor_axes(detector, sensor)
    u, v = sensor_position(detector, sensor, passages.u[row], passages.z[row])
    inside = (u > 0) & (u < detector.width) & (v > 0) & (v < detector.length[sensor])
    row, sensor, u, v = row[inside], sensor[inside], u[inside], v[inside]
    outward, towards = outward[inside], towards[inside]
    direction = passages.direction[row] * np.stack([outward, towards, outward], axis=1)
    w = -0.5 * detector.thickness * np.sign(direction[:, 2])
    return Entries(sensor, u, v, w, direction, passages.type[row], row)
