"""Helices in the solenoid and their crossings of the sensors.

A charged particle of transverse momentum pT runs on a circle of radius R = pT / (0.3 B)
(m, GeV/c, T); its z grows with the turning angle t. It crosses a plane n.x = d where
sin(psi - phi) = s (d - n.c) / R, with psi the azimuth of the direction, c the centre of the
circle and s the sense of turning: at two points per turn, or none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.simulation.detector import Detector, Floats, Ints

LIGHT_MM = 0.299792458e-3  # GeV/c per (T mm)
MAX_SLOPE = 40.0  # |du/dw| and |dv/dw|: the chord of a steeper path through 75 um leaves the circle
MARGIN_MM = (
    MAX_SLOPE * 0.04
)  # distance beside the sensor from which a path of maximum slope reaches it


@dataclass(frozen=True)
class Tracks:
    """Helices, one row per particle and turn.

    Attributes:
        x, y, z: mm, point at turning angle 0.
        direction: azimuth of the transverse direction there, rad.
        turn: +1 or -1, sense of rotation.
        radius: mm, radius of the circle.
        cot: dz over transverse path length.
        t_min, t_max: range of the turning angle in which the particle exists; at most one turn.
        type: uint8, background type.
    """

    x: Floats
    y: Floats
    z: Floats
    direction: Floats
    turn: Floats
    radius: Floats
    cot: Floats
    t_min: Floats
    t_max: Floats
    type: NDArray[np.uint8]

    def centre(self) -> tuple[Floats, Floats]:
        """Centres of the circles, mm."""
        signed = self.turn * self.radius
        return self.x - signed * np.sin(self.direction), self.y + signed * np.cos(self.direction)


@dataclass(frozen=True)
class Crossings:
    """Crossings of tracks and planes of ladders.

    Attributes:
        track, ladder: indices of track and ladder.
        u, z: mm, along e and along the beam.
        sine, cosine: of the angle between the transverse direction and the normal.
    """

    track: Ints
    ladder: Ints
    u: Floats
    z: Floats
    sine: Floats
    cosine: Floats

    def take(self, some: NDArray) -> Crossings:
        """Select crossings by mask or index."""
        return Crossings(*(getattr(self, name)[some] for name in vars(self)))


@dataclass(frozen=True)
class TrackSegments:
    """Track segments: straight paths through the silicon of one sensor each.

    Attributes:
        sensor: index of the sensor.
        u, v: um, position at w = 0 in the frame of the sensor (see ``detector``).
        slope_u, slope_v: du/dw and dv/dw.
        w_in, w_out: um, w_in < w_out, range of the path inside the active volume.
        type: uint8, background type.
        track: row of the track.
    """

    sensor: Ints
    u: Floats
    v: Floats
    slope_u: Floats
    slope_v: Floats
    w_in: Floats
    w_out: Floats
    type: NDArray[np.uint8]
    track: Ints

    @property
    def length(self) -> Floats:
        """Path length in the silicon, um: 75 um / cos for a full crossing."""
        slant = np.sqrt(1.0 + self.slope_u**2 + self.slope_v**2)
        return (self.w_out - self.w_in) * slant


def helix_radius(pt_gev: Floats, field_tesla: float) -> Floats:
    """Radius of the circle, mm: pT / (0.3 B)."""
    return pt_gev / (LIGHT_MM * field_tesla)


def cross_planes(tracks: Tracks, detector: Detector) -> Crossings:
    """Find the crossings of tracks and ladder planes, on the active width or close to it."""
    centre_x, centre_y = (c[:, None] for c in tracks.centre())
    cos_phi, sin_phi = np.cos(detector.phi), np.sin(detector.phi)
    signed = tracks.turn * tracks.radius
    every = (detector.distance - (centre_x * cos_phi + centre_y * sin_phi)) / signed[:, None]
    track, ladder = np.nonzero(np.abs(every) < 1.0)
    sine = every[track, ladder]
    along = (centre_y * cos_phi - centre_x * sin_phi)[track, ladder]
    # One point where the track runs along the normal, one where it runs against it.
    cosine = np.sqrt(1.0 - sine**2)
    cosine = np.concatenate([cosine, -cosine])
    track, ladder = np.tile(track, 2), np.tile(ladder, 2)
    sine, along = np.tile(sine, 2), np.tile(along, 2)
    u = along - signed[track] * cosine
    psi = np.arctan2(sine, cosine) + detector.phi[ladder]
    start = tracks.t_min[track]
    turned = tracks.turn[track] * (psi - tracks.direction[track])
    turned = start + np.mod(turned - start, 2.0 * np.pi)
    z = tracks.z[track] + tracks.radius[track] * tracks.cot[track] * turned
    near = (u > detector.u_low[ladder] - MARGIN_MM) & (u < detector.u_high[ladder] + MARGIN_MM)
    return Crossings(track, ladder, u, z, sine, cosine).take(near & (turned <= tracks.t_max[track]))


def cross_sensors(tracks: Tracks, detector: Detector) -> TrackSegments:
    """Find the track segments in the active silicon of the sensors.

    A shallow path can leave one sensor of a ladder and enter the next, so every crossing of a
    ladder is tried on all its sensors and clipped to the active volume of each.
    """
    found = cross_planes(tracks, detector)
    crossing, sensor = _pair_with_sensors(found.ladder, detector)
    found = found.take(crossing)
    outward = np.where(detector.flipped[sensor], -1.0, 1.0)  # dw/dn
    towards = np.where(detector.forward[sensor], -1.0, 1.0)  # dv/dz
    from_low = (found.u - detector.u_low[found.ladder]) * 1000.0
    u = np.where(outward > 0, from_low, detector.width - from_low)
    z_low, z_high = detector.z_low[sensor], detector.z_high[sensor]
    v = np.where(towards > 0, found.z - z_low, z_high - found.z) * 1000.0
    with np.errstate(divide="ignore", invalid="ignore"):
        slope_u = found.sine / found.cosine  # u and w are flipped together
        slope_v = tracks.cot[found.track] / found.cosine * towards * outward
    w_in, w_out = _clip_to_volume(u, slope_u, v, slope_v, detector, sensor)
    keep = (w_out > w_in) & (np.abs(slope_u) < MAX_SLOPE) & (np.abs(slope_v) < MAX_SLOPE)
    track = found.track[keep]
    return TrackSegments(
        sensor=sensor[keep],
        u=u[keep],
        v=v[keep],
        slope_u=slope_u[keep],
        slope_v=slope_v[keep],
        w_in=w_in[keep],
        w_out=w_out[keep],
        type=tracks.type[track],
        track=track,
    )


def _clip_to_volume(
    u: Floats, slope_u: Floats, v: Floats, slope_v: Floats, detector: Detector, sensor: Ints
) -> tuple[Floats, Floats]:
    """Range of w inside the active volume for each path; empty if w_out <= w_in."""
    half = 0.5 * detector.thickness
    w_in, w_out = np.full(len(u), -half), np.full(len(u), half)
    width = np.full(len(u), detector.width)
    for position, slope, size in ((u, slope_u, width), (v, slope_v, detector.length[sensor])):
        with np.errstate(divide="ignore", invalid="ignore"):
            one, two = -position / slope, (size - position) / slope
        w_in = np.fmax(w_in, np.fmin(one, two))
        w_out = np.fmin(w_out, np.fmax(one, two))
    return w_in, w_out


def _pair_with_sensors(ladder: Ints, detector: Detector) -> tuple[Ints, Ints]:
    """Pair every crossing with every sensor of its ladder; return both indices."""
    order = np.argsort(detector.ladder, kind="stable")
    count = np.bincount(detector.ladder, minlength=len(detector.phi))
    first = np.cumsum(count) - count
    crossings, sensors = [], []
    for k in range(int(count.max())):
        some = np.flatnonzero(count[ladder] > k)
        crossings.append(some)
        sensors.append(order[first[ladder[some]] + k])
    return np.concatenate(crossings), np.concatenate(sensors)
