"""Helices in the solenoid and their crossings of the sensors.

A charged particle of transverse momentum pT runs on a circle of radius R = pT / (0.3 B)
(m, GeV/c, T); its z grows with the turning angle t. It crosses a plane n.x = d where
sin(psi - phi) = s (d - n.c) / R, with psi the azimuth of the direction, c the centre of the
circle and s the sense of turning: at two points per turn, or none.

``cross_sensors`` is for signal tracks, which matter disturbs little (see ``tracking.signal``). The
particles of the background are followed from one piece of matter to the next (see ``paths``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.simulation.detector import Detector, Floats, Ints, concatenate

ELECTRON_KEV = 510.99895
RADIATION_LENGTH_UM = 93_700.0  # of silicon (Particle Data Group)
SCATTERED = 0.4  # multiple scattering over angle to the plane, above which a path is not straight
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

    def take(self, some: NDArray) -> Tracks:
        """Select tracks by mask or index."""
        return Tracks(*(getattr(self, name)[some] for name in vars(self)))

    def momentum(self, field: float) -> Floats:
        """Momentum, GeV/c, in a field in tesla."""
        return self.radius * (LIGHT_MM * field) * np.sqrt(1.0 + self.cot**2)


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
        upwards: whether the particle moves towards higher w.
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
    upwards: NDArray[np.bool_]
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


def kinetic_energy(momentum_gev: Floats) -> Floats:
    """Kinetic energy (keV) of electrons of given momenta (GeV/c)."""
    return np.hypot(momentum_gev * 1e6, ELECTRON_KEV) - ELECTRON_KEV


def grazing_cosine(momentum_gev: Floats, thickness_um: float) -> Floats:
    """Cosine of the incidence below which the path through the silicon is not straight.

    The width of multiple scattering over the path thickness / cosine, 13.6 MeV / p
    sqrt(length / X0) (V. L. Highland, Nucl. Instrum. Meth. 129 (1975) 497; PDG review, eq. 34.16,
    without the logarithm), is ``SCATTERED`` times the cosine there.
    """
    width = 13.6e-3 / momentum_gev * np.sqrt(thickness_um / RADIATION_LENGTH_UM)
    return np.minimum((width / SCATTERED) ** (2.0 / 3.0), 1.0)


def cross_planes(tracks: Tracks, detector: Detector) -> Crossings:
    """Find the crossings of tracks and ladder planes, on the active width or close to it."""
    every = _sines(tracks, detector)
    track, ladder = np.nonzero(np.abs(every) < 1.0)
    sine = every[track, ladder]
    # One point where the track runs along the normal, one where it runs against it.
    cosine = np.sqrt(1.0 - sine**2)
    found = [_follow(tracks, detector, track, ladder, sine, c) for c in (cosine, -cosine)]
    return concatenate(found)


def _sines(tracks: Tracks, detector: Detector) -> Floats:
    """Sine of the angle to the normal at each plane [tracks, ladders]; above 1: no crossing."""
    centre_x, centre_y = tracks.centre()
    normals = np.stack([np.cos(detector.phi), np.sin(detector.phi)])
    along = np.stack([centre_x, centre_y], axis=1) @ normals
    return (detector.distance - along) / (tracks.turn * tracks.radius)[:, None]


def _follow(
    tracks: Tracks, detector: Detector, track: Ints, ladder: Ints, sine: Floats, cosine: Floats
) -> Crossings:
    """Find where tracks have the given directions; keep points they reach, close to a sensor."""
    centre_x, centre_y = tracks.centre()
    cos_phi, sin_phi = np.cos(detector.phi)[ladder], np.sin(detector.phi)[ladder]
    along = centre_y[track] * cos_phi - centre_x[track] * sin_phi
    u = along - (tracks.turn * tracks.radius)[track] * cosine
    near = np.flatnonzero(
        (u > detector.u_low[ladder] - MARGIN_MM) & (u < detector.u_high[ladder] + MARGIN_MM)
    )
    track, ladder = track[near], ladder[near]
    u, sine, cosine = (a[near] for a in (u, sine, cosine))
    psi = np.arctan2(sine, cosine) + detector.phi[ladder]
    start = tracks.t_min[track]
    turned = tracks.turn[track] * (psi - tracks.direction[track])
    turned = start + np.mod(turned - start, 2.0 * np.pi)
    z = tracks.z[track] + tracks.radius[track] * tracks.cot[track] * turned
    reached = turned <= tracks.t_max[track]
    return Crossings(track, ladder, u, z, sine, cosine).take(reached)


def cross_sensors(tracks: Tracks, detector: Detector) -> TrackSegments:
    """Find the track segments in the active silicon of the sensors.

    A shallow path can leave one sensor of a ladder and enter the next, so every crossing of a
    ladder is tried on all its sensors and clipped to the active volume of each.

    Args:
        tracks: n tracks.
        detector: planes and pixels.
    """
    found = cross_planes(tracks, detector)
    found, sensor = _on_sensors(found, detector)
    outward, towards = sensor_axes(detector, sensor)
    u, v = _sensor_position(found, detector, sensor)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope_u = found.sine / found.cosine  # u and w are flipped together
        slope_v = tracks.cot[found.track] / found.cosine * towards * outward
    w_in, w_out = clip_to_volume(u, slope_u, v, slope_v, detector, sensor)
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
        upwards=(found.cosine * outward > 0)[keep],
        type=tracks.type[track],
        track=track,
    )


def _on_sensors(crossings: Crossings, detector: Detector) -> tuple[Crossings, Ints]:
    """Try every crossing on every sensor of its ladder."""
    crossing, sensor = pair_with_sensors(crossings.ladder, detector)
    return crossings.take(crossing), sensor


def sensor_axes(detector: Detector, sensor: Ints) -> tuple[Floats, Floats]:
    """dw/dn (and du/de) and dv/dz of sensors, each +1 or -1."""
    return (
        np.where(detector.flipped[sensor], -1.0, 1.0),
        np.where(detector.forward[sensor], -1.0, 1.0),
    )


def _sensor_position(
    crossings: Crossings, detector: Detector, sensor: Ints
) -> tuple[Floats, Floats]:
    """Positions u and v (um) of crossings in the frames of sensors."""
    from_low = (crossings.u - detector.u_low[crossings.ladder]) * 1000.0
    u = np.where(detector.flipped[sensor], detector.width - from_low, from_low)
    z_low, z_high = detector.z_low[sensor], detector.z_high[sensor]
    v = np.where(detector.forward[sensor], z_high - crossings.z, crossings.z - z_low) * 1000.0
    return u, v


def clip_to_volume(
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


def pair_with_sensors(ladder: Ints, detector: Detector) -> tuple[Ints, Ints]:
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
