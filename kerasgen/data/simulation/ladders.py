"""Modules on the way of particles: where helices meet them, and the silicon there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.simulation.charge import Single
from kerasgen.data.simulation.detector import MODULE_HEIGHT_MM, Detector, Ints
from kerasgen.data.simulation.helices import (
    AZIMUTH,
    COT,
    REGION,
    TURN,
    X,
    Y,
    Z,
    positive_angle,
)

NEVER = np.float32(100.0)  # rad


@dataclass(frozen=True)
class Ladders:
    """Ladders and their modules, in single precision.

    Attributes:
        phi: [L] rad.
        planes: [4, L] cosine and sine of phi; distance and middle of the modules along e, mm.
        middles: [L, 2] -2 times the middles of the modules in the transverse plane, mm.
        middle2: [L] mm2, square of their distance from the beam.
        reach: mm, largest distance of silicon from the middle.
        u_half: mm, half of the width of the modules.
        z_low, z_high: [L] mm, range of the modules along the beam.
        z_gap: [L] mm, between both modules.
        boxes: [5, 2 L] mm, for the modules below the gaps and then those above: range of the
            thinned window along e and along the beam, and z of the end at the gap.
    """

    phi: Single
    planes: Single
    middles: Single
    middle2: Single
    reach: np.float32
    u_half: np.float32
    z_low: Single
    z_high: Single
    z_gap: Single
    boxes: Single


def build_ladders(detector: Detector) -> Ladders:
    """Ladders of a detector."""
    d = detector
    sensors = np.zeros((2, len(d.phi)), np.int64)
    sensors[d.forward.astype(np.int64), d.ladder] = np.arange(len(d.ladder))
    lower, upper = sensors
    width, flipped = 1e-3 * d.width, d.flipped[lower]
    low, high = 1e-3 * d.module_u[lower].T
    low, high = np.where(flipped, width - high, low), np.where(flipped, width - low, high)
    end = 1e-3 * d.module_v[:, 0]
    u_middle, sine, cosine = d.u_low + 0.5 * (low + high), np.sin(d.phi), np.cos(d.phi)
    middles = d.distance * cosine - u_middle * sine, d.distance * sine + u_middle * cosine
    z_gap = 0.5 * (d.z_high[lower] + d.z_low[upper])
    return Ladders(
        phi=d.phi.astype(np.float32),
        planes=np.stack([cosine, sine, d.distance, u_middle]).astype(np.float32),
        middles=(-2.0 * np.stack(middles, axis=1)).astype(np.float32),
        middle2=(d.distance**2 + u_middle**2).astype(np.float32),
        reach=np.float32(0.5 * (high - low).max() + d.thickness * 1e-3),
        u_half=np.float32(0.5 * (high - low).max()),
        z_low=(d.z_low[lower] + end[lower]).astype(np.float32),
        z_high=(d.z_high[upper] - end[upper]).astype(np.float32),
        z_gap=z_gap.astype(np.float32),
        boxes=_boxes(d, sensors.ravel()),
    )


def _boxes(detector: Detector, sensor: Ints) -> Single:
    """See ``Ladders``."""
    d, one = detector, 1e-3
    low, high = one * d.window_u[sensor].T
    width, flipped = one * d.width, d.flipped[sensor]
    u = np.where(flipped, width - high, low), np.where(flipped, width - low, high)
    near, far, end = one * np.stack([*d.window_v[sensor].T, d.module_v[sensor, 1]])
    forward, z_low, z_high = d.forward[sensor], d.z_low[sensor], d.z_high[sensor]
    z = np.where(forward, z_high - far, z_low + near), np.where(forward, z_high - near, z_low + far)
    u_low = d.u_low[d.ladder[sensor]]
    gap = np.where(forward, z_high - end, z_low + end)
    return np.stack([u_low + u[0], u_low + u[1], *z, gap]).astype(np.float32)


def meet_modules(
    state: Single,
    centre: Single,
    signed: Single,
    turned: Single,
    ladders: Ladders,
    thickness: np.float32,
) -> tuple[Single, Ints, Single]:
    """Find the first module on the way of particles.

    Args:
        state: n particles.
        centre, signed: of their circles, mm; radius times sense of turning.
        turned: [n] angle to turn until they meet the beam pipe.
        ladders: of the detector.
        thickness: mm, of the active layer.

    Returns:
        turned: [n] angle to turn until a module or the beam pipe is met; ``NEVER``: neither.
        ladder: [n] index of the ladder, -1: no module comes first.
        psi: [n] azimuth of the direction there, from the normal of the ladder.
    """
    radius, turned = np.abs(signed), turned.copy()
    which, azimuth = np.full(len(turned), -1), np.zeros(len(turned), np.float32)
    # Circles that come closer to the middle of a ladder than it reaches from there.
    half = ladders.reach
    power = centre[0] * centre[0] + centre[1] * centre[1] - radius * radius
    most = np.where(state[REGION] > 0, half * (half + 2.0 * radius), -NEVER) - power
    least = np.where(radius > half, half * (half - 2.0 * radius), -radius * radius - half) - power
    away2 = ladders.middles @ centre
    away2 += ladders.middle2[:, None]
    at = ((away2 < most) & (away2 > least)).ravel().nonzero()[0]
    ladder = at // max(len(turned), 1)
    track = at - ladder * len(turned)
    circle, (x, y) = signed.take(track), centre.take(track, axis=1)
    cos_phi, sin_phi, distance, u_middle = ladders.planes.take(ladder, axis=1)
    away = distance - x * cos_phi - y * sin_phi
    offset = y * cos_phi - x * sin_phi - u_middle
    # Outwards and inwards, at +- half a chord; the particle enters through the face before.
    side = np.copysign(np.float32(1.0), offset * circle)  # of the nearer crossing
    chord = np.sqrt(np.maximum(circle * circle - away * away, np.float32(0.0)))
    both = np.abs(offset) + chord < half + np.sqrt(thickness * np.abs(circle))
    both = both.nonzero()[0]
    if len(both):
        track, ladder, offset, away, circle = (
            np.concatenate([a, a.take(both)]) for a in (track, ladder, offset, away, circle)
        )
        side = np.concatenate([side, -side.take(both)])
    sine = (away - side * (np.float32(0.5) * thickness)) / circle
    square = 1.0 - sine * sine
    cosine = side * np.sqrt(np.maximum(square, np.float32(0.0)))
    kept = (np.abs(offset - circle * cosine) < ladders.u_half) & (square > 0)
    kept = kept.nonzero()[0]
    track, ladder, circle = track.take(kept), ladder.take(kept), circle.take(kept)
    psi = np.arctan2(sine.take(kept), cosine.take(kept))
    azimuths = state[AZIMUTH].take(track) - ladders.phi.take(ladder)
    angle = positive_angle(state[TURN].take(track) * (psi - azimuths))
    first = (angle < turned.take(track)).nonzero()[0]
    track, ladder, circle, psi, angle = (a.take(first) for a in (track, ladder, circle, psi, angle))
    z = state[Z].take(track) + np.abs(circle) * state[COT].take(track) * angle
    first = (z > ladders.z_low.take(ladder)) & (z < ladders.z_high.take(ladder))
    first = first.nonzero()[0]
    track, ladder, psi, angle = (a.take(first) for a in (track, ladder, psi, angle))
    np.minimum.at(turned, track, angle)
    first = (angle == turned[track]).nonzero()[0]
    which[track[first]], azimuth[track[first]] = ladder[first], psi[first]
    return turned, which, azimuth


@dataclass(frozen=True)
class Silicon:
    """Modules on the way of particles.

    Attributes:
        normal: rad, azimuth.
        height: mm, of the silicon.
        came_out: whether the particle leaves the active layer through its outer face.
    """

    normal: Single
    height: Single
    came_out: NDArray[np.bool_]


def enter_modules(
    state: Single,
    signed: Single,
    ladder: Ints,
    psi: Single,
    ladders: Ladders,
    thickness: np.float32,
) -> tuple[Single, Silicon, Single]:
    """Find what particles meet in modules.

    Args:
        state: n particles where they enter.
        signed: [n] mm, radius of their circles times sense of turning.
        ladder: [n] that of the module.
        psi: [n] azimuth of the direction, from the normal of the ladder.
        ladders: of the detector.
        thickness: mm, of the active layer.

    Returns:
        u: [n] mm, where they enter.
        the modules.
        angle: [n] to turn in the active layer.
    """
    phi = ladders.phi[ladder]
    sine, cosine = np.sin(psi), np.cos(psi)
    outwards = cosine > 0
    step = np.copysign(thickness, cosine) / signed
    cos_phi, sin_phi = ladders.planes[:2].take(ladder, axis=1)
    u = state[Y] * cos_phi - state[X] * sin_phi
    behind = sine + step
    returns = np.abs(behind) >= 1.0
    flat = np.sqrt(np.maximum(1.0 - behind * behind, np.float32(0.0)))
    leaves = outwards ^ returns
    behind = np.where(returns, sine, behind)
    flat = np.where(returns, np.abs(cosine), flat)
    angle = np.arctan2(behind, np.where(leaves, flat, -flat)) - psi
    angle = positive_angle(state[TURN] * angle)
    angle *= angle < 3.2  # rounding where the path is a point
    height = _height(ladders, ladder, u, state[Z], thickness)
    return u, Silicon(phi, height, leaves), angle


def _height(ladders: Ladders, ladder: Ints, u: Single, z: Single, thickness: np.float32) -> Single:
    """Height (mm) of the silicon of modules at points u and z (mm); 0 between modules."""
    above = z > ladders.z_gap[ladder]
    box = ladders.boxes.take(ladder + above * len(ladders.phi), axis=1)
    window = (u > box[0]) & (u < box[1]) & (z > box[2]) & (z < box[3])
    height = np.where(window, thickness, np.float32(MODULE_HEIGHT_MM))
    return height * np.where(above, z > box[4], z < box[4])
