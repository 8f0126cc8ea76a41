"""Paths of electrons and positrons through beam pipe and modules, in the fast simulator.

A particle runs on a helix from one piece of matter to the next: the wall of the beam pipe or a
module. There it loses energy and is deflected; it ends where it has lost its energy, leaves the
detector or cannot leave the beam pipe any more. Where it enters the active silicon of a module is
recorded. Nothing here is fitted: lengths of paths follow from the volumes that Geant4 has as well,
losses from the most probable value of L. D. Landau (J. Phys. 8 (1944) 201) with the density effect
and fluctuations of J. E. Moyal (Phil. Mag. 46 (1955) 263), deflections from V. L. Highland's
formula (Nucl. Instrum. Meth. 129 (1975) 497; PDG review, eq. 34.16).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.simulation.charge import Numbers, Single
from kerasgen.data.simulation.detector import (
    MODULE_HEIGHT_MM,
    Detector,
    Floats,
    Ints,
)
from kerasgen.data.simulation.electron_physics import (
    MOLLER_BOUND,
    bhabha_weight,
    moller_weight,
    recoil_cosine,
)
from kerasgen.data.simulation.electrons import FAR_KEV, normal_numbers, rotate
from kerasgen.data.simulation.matter import INNER, MASS_MEV, OUTER, SLOWING
from kerasgen.data.simulation.passages import Passages
from kerasgen.data.simulation.tracks import LIGHT_MM, Tracks

MAX_PIECES = 50  # of matter on the way of a particle
STOPPED = 0.3  # MeV/c: a radius of 0.7 mm
STOPPED_INSIDE = (
    1.0  # MeV/c, in the beam pipe: less does not get through its wall and on to a sensor
)
FEW = 0.005  # when fewer than this share of all particles are left, they end: a tail of many turns
KNOCKED_MEV = 0.1  # electrons knocked out with more energy are followed
HARD = 2.5  # collisions by more than this times the width of the normal deflection are single ones
NEVER = np.float32(100.0)  # rad


# Rows of the state of particles: point (mm), direction (azimuth, dz over transverse path), momentum
# (MeV/c), sense of turning, 0 in the beam pipe or 1 outside, row of the track.
X, Y, Z, AZIMUTH, COT, MOMENTUM, TURN, REGION, TRACK = range(9)


def follow(rng: np.random.Generator, tracks: Tracks, detector: Detector) -> Passages:
    """Follow particles from the start of their tracks; see the module."""
    state, ladders = _start(tracks, detector), _ladders(detector)
    thickness = np.float32(1e-3 * detector.thickness)
    z_end = 1e-3 * (detector.module_v[:, 0].min() - 1e3)  # a mm beyond the ends
    z_low, z_high = detector.z_low.min() + z_end, detector.z_high.max() - z_end
    none = np.zeros(0, np.float32)
    found: list[tuple[NDArray, ...]] = [(state[:, :0], none, none.astype(np.int64), none, none)]
    waiting: Waiting | None = None
    few = FEW * state.shape[1]
    for _ in range(MAX_PIECES):
        leaves = np.where(state[COT] > 0, state[Z] > z_high, state[Z] < z_low)
        least = STOPPED_INSIDE + (STOPPED - STOPPED_INSIDE) * state[REGION]
        state = state.compress((state[MOMENTUM] > least) & ~leaves, axis=1)
        if state.shape[1] + (0 if waiting is None else len(waiting.energy)) <= few:
            break
        signed, centre = _circles(state, detector.field)
        wall = _meet_wall(state, centre, np.abs(signed))
        turned, ladder, psi = _meet_modules(state, centre, signed, wall.turned, ladders, thickness)
        some = (turned < NEVER).nonzero()[0]
        state, centre, signed = state.take(some, axis=1), centre.take(some, axis=1), signed[some]
        turned, ladder, psi = turned[some], ladder[some], psi[some]
        through = wall.through[some]
        _turn(state, centre, signed, turned)
        modules = (ladder >= 0).nonzero()[0]
        entering = (
            state.take(modules, axis=1),
            signed[modules],
            ladder[modules],
            psi[modules],
        )
        u, silicon, angle = _enter_modules(*entering, ladders, thickness)
        found.append((*entering, u))
        through[modules] = angle
        hinge = np.float32(0.5) * through
        hinge[modules] = angle
        _turn(state, centre, signed, hinge)
        length = np.abs(signed) * through * np.sqrt(1.0 + state[COT] ** 2)
        normal = np.arctan2(state[Y], state[X])
        height = np.full(len(length), OUTER - INNER)
        matter = np.zeros(len(length), np.int64)
        came_out = np.ones(len(length), np.bool_)
        normal[modules], height[modules], matter[modules] = silicon.normal, silicon.height, 1
        length[modules] *= silicon.height / thickness
        came_out[modules] = silicon.came_out
        moved = len(length)
        if waiting is not None:  # electrons from the matter before, through the rest of it
            new, way, depth = _release(rng, waiting)
            state = np.concatenate([state, new], axis=1)
            length, height = np.concatenate([length, way]), np.concatenate([height, depth])
            matter, normal, came_out = (
                np.concatenate(pair)
                for pair in (
                    (matter, waiting.matter),
                    (normal, waiting.normal),
                    (came_out, waiting.came_out),
                )
            )
        before = state.copy()
        parent, energy, cosine = _slow_down(rng, state, length, matter, normal, height)
        waiting = None
        if len(parent):
            # The others from the active layer stay close: they are made with the energy deposits.
            kept = (matter[parent] == 0) | (height[parent] > 2.0 * thickness)
            kept |= (energy > np.float32(1e-3 * FAR_KEV)) & (parent < moved)
            parent = parent[kept]
            waiting = Waiting(
                before.take(parent, axis=1),
                energy[kept],
                cosine[kept],
                matter[parent],
                normal[parent],
                height[parent],
                came_out[parent],
            )
        _leave(state, matter, normal, came_out, thickness)
    entered, signed, ladder, psi, u = (
        np.concatenate(parts, axis=-1) for parts in zip(*found, strict=True)
    )
    return _passages(entered, signed, ladder, psi, u, detector, tracks.type)


@dataclass(frozen=True)
class Waiting:
    """Electrons knocked out of matter, to be followed from the next piece on.

    Attributes:
        parents: [9, n] state of the particles that knock them out.
        energy: MeV, kinetic.
        cosine: of the angle to the parent.
        matter: 0: beam pipe, 1: module.
        normal: rad, azimuth of its normal.
        height: mm, of the matter.
        came_out: whether ``parents`` are on the outer face of a module.
    """

    parents: Single
    energy: Numbers
    cosine: Numbers
    matter: Ints
    normal: Single
    height: Single
    came_out: NDArray[np.bool_]


def _release(rng: np.random.Generator, electrons: Waiting) -> tuple[Single, Single, Single]:
    """Start electrons in matter, at a random depth.

    Returns:
        their state.
        length: mm, of their path through the rest of the matter.
        depth: mm, of the rest along its normal.
    """
    e = electrons
    state = _electrons(rng, e.parents, e.energy, e.cosine)
    across = np.cos(state[AZIMUTH] - e.normal) / np.sqrt(1.0 + state[COT] ** 2)
    depth = e.height * rng.random(len(e.height), np.float32)
    return state, depth / np.maximum(np.abs(across), np.float32(0.05)), depth


def _leave(
    state: Single,
    matter: Ints,
    normal: Single,
    came_out: NDArray[np.bool_],
    thickness: np.float32,
) -> None:
    """Put particles on the side of matter to which they go.

    Args:
        state: n particles.
        matter: [n] 0: beam pipe, 1: module.
        normal: [n] azimuth of its normal.
        came_out: [n] whether they are on the outer face of the module.
        thickness: mm, of the active layer.
    """
    outwards = np.cos(state[AZIMUTH] - normal) > 0
    state[REGION] = outwards | (matter > 0)
    shift = (outwards.astype(np.float32) - came_out) * (matter * thickness).astype(np.float32)
    state[X] += shift * np.cos(normal)
    state[Y] += shift * np.sin(normal)


def _circles(state: Single, field: float) -> tuple[Single, Single]:
    """Radius times sense of turning, and centres [2, n] of the circles of particles, mm."""
    per_mm = np.float32(LIGHT_MM * 1e3 * field)  # MeV/c per mm of radius
    signed = state[TURN] * state[MOMENTUM] / (per_mm * np.sqrt(1.0 + state[COT] ** 2))
    x = state[X] - signed * np.sin(state[AZIMUTH])
    return signed, np.stack([x, state[Y] + signed * np.cos(state[AZIMUTH])])


def _start(tracks: Tracks, detector: Detector) -> Single:
    """State of particles at the start of their tracks."""
    centre_x, centre_y = tracks.centre()
    heading = tracks.direction + tracks.turn * tracks.t_min
    signed = tracks.turn * tracks.radius
    state = np.empty((9, len(tracks.x)), np.float32)
    state[X] = centre_x + signed * np.sin(heading)
    state[Y] = centre_y - signed * np.cos(heading)
    state[Z] = tracks.z + tracks.radius * tracks.cot * tracks.t_min
    state[AZIMUTH], state[COT], state[TURN] = heading, tracks.cot, tracks.turn
    state[MOMENTUM] = 1e3 * tracks.momentum(detector.field)
    in_pipe = np.hypot(state[X], state[Y]) < 0.5 * (INNER + OUTER)
    state[REGION] = ~in_pipe
    state[TRACK] = np.arange(len(tracks.x))
    return state


@dataclass(frozen=True)
class Wall:
    """Where particles meet the wall of the beam pipe.

    Attributes:
        turned: angle to turn until then; ``NEVER``: it does not.
        through: angle to turn in the wall.
    """

    turned: Single
    through: Single


def _meet_wall(state: Single, centre: Single, radius: Single) -> Wall:
    """Find where particles enter the wall of the beam pipe.

    The distance from the beam is r^2 = (D - R)^2 + 4 D R cos(beta / 2)^2, with D the distance of
    the centre and beta the angle on the circle from its farthest point, in the sense of turning.
    """
    distance = np.sqrt(centre[0] ** 2 + centre[1] ** 2)
    beta = np.arctan2(state[Y] - centre[1], state[X] - centre[0])
    beta = state[TURN] * (beta - np.arctan2(centre[1], centre[0]))
    nearest, scale = (distance - radius) ** 2, 4.0 * distance * radius + np.float32(1e-9)
    inner, outer = (INNER**2 - nearest) / scale, (OUTER**2 - nearest) / scale
    at_inner, at_outer = (2.0 * np.arccos(np.sqrt(np.clip(c, 0.0, 1.0))) for c in (inner, outer))
    # Particles in the wall may not get out of it on the side to which they go.
    outside = ((state[REGION] > 0) & (outer < 1.0)) | (inner < 0.0)
    state[REGION] = outside
    target = np.where(outside, at_outer, -at_inner)
    turned = _positive(target - beta)
    turned[np.where(outside, outer < 0.0, inner > 1.0)] = NEVER
    crosses = np.where(outside, inner > 0.0, outer < 1.0)
    through = np.where(crosses, np.float32(1.0), np.float32(2.0)) * (at_inner - at_outer)
    return Wall(turned, through)


def _positive(angle: Single) -> Single:
    """Angles between 0 and 2 pi; faster than a remainder."""
    circle = np.float32(2.0 * np.pi)
    return np.maximum(angle - circle * np.floor(angle * (1.0 / circle)), np.float32(0.0))


def _turn(state: Single, centre: Single, signed: Single, angle: Single) -> None:
    """Move particles on their helices by a turning angle."""
    state[AZIMUTH] += state[TURN] * angle
    state[X] = centre[0] + signed * np.sin(state[AZIMUTH])
    state[Y] = centre[1] - signed * np.cos(state[AZIMUTH])
    state[Z] += np.abs(signed) * state[COT] * angle


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


def _ladders(detector: Detector) -> Ladders:
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


def _meet_modules(
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
    angle = _positive(state[TURN].take(track) * (psi - azimuths))
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


def _slow_down(
    rng: np.random.Generator,
    state: Single,
    length: Single,
    matter: Ints,
    normal: Single,
    height: Single,
) -> tuple[Ints, Numbers, Numbers]:
    """Let particles lose energy and turn their directions in matter.

    A particle that is scattered towards the normal has a shorter path, and the reverse; the mean
    deflection on the way of one that is scattered by z_2 standard deviations is z_1 / sqrt(12) +
    z_2 / 2 of them (PDG review, eq. 34.20). The momentum of those that stop becomes 0.

    Args:
        rng: random numbers.
        state: n particles.
        length: [n] mm, of the path without scattering.
        matter: [n] row of ``MATTER``.
        normal: [n] azimuth of the normal of the matter.
        height: [n] mm, of the matter along its normal.

    Returns:
        parent: [m] row of particles that knock an electron out with more than ``KNOCKED_MEV``.
        energy: [m] its energy, MeV.
        cosine: [m] of the angle to its parent.
    """
    n = len(length)
    per_radiation, xi_per_mm, logarithm, chi2, first, rest = SLOWING.take(matter, axis=1)
    azimuth, cot, before = state[AZIMUTH], state[COT], state[MOMENTUM]
    kinetic = np.sqrt(before * before + np.float32(MASS_MEV**2)) - np.float32(MASS_MEV)
    beta2 = before / (kinetic + np.float32(MASS_MEV))
    beta2 *= beta2
    xi_way = xi_per_mm * length
    about = np.maximum(before - np.float32(10.0) * xi_way, np.float32(0.3) * before)
    depth = length * per_radiation + np.float32(1e-9)
    width = np.sqrt(depth) * (np.float32(13.6 * 0.038) * np.log(depth) + np.float32(13.6))
    width = np.minimum(width / (beta2 * about), np.float32(1.0))
    scale = 1.0 / np.sqrt(1.0 + cot * cot)
    from_normal = azimuth - normal
    along, across = np.cos(from_normal), np.sin(from_normal)
    numbers = normal_numbers(rng, (7, n))
    outwards = along > 0
    early, late = first * width, rest * width
    one, two = turns = early * numbers[:2] + late * numbers[2:4]
    early *= outwards
    on_way = np.float32(12**-0.5) * numbers[4:6] + np.float32(0.5) * numbers[2:4]
    on_way = late * on_way + early * numbers[:2]
    tilt = cot * scale
    shift = on_way[0] * across + on_way[1] * tilt * along
    cosine = height / np.maximum(length, height + np.float32(1e-6))
    now = np.abs(cosine + np.where(outwards, -shift, shift))
    # Deflections before the middle move the path aside.
    aside = (length * (matter == 0)) * (on_way - np.float32(0.5) * turns)
    cos_psi, sin_psi = np.cos(azimuth), np.sin(azimuth)
    back = aside[1] * tilt
    state[X] -= aside[0] * sin_psi + back * cos_psi
    state[Y] += aside[0] * cos_psi - back * sin_psi
    state[Z] += aside[1] * scale
    cosine /= np.maximum(now, np.float32(0.5) * cosine + np.float32(1e-6))
    xi = xi_way * cosine / beta2 + np.float32(1e-9)
    moyal = numbers[6] * numbers[6] + np.float32(1e-9)
    loss = np.maximum(xi * (logarithm + np.log(xi / moyal)), np.float32(0.0))
    parent, knocked = _knock_out(rng, kinetic, state[TURN] < 0, xi)
    recoil = recoil_cosine(1e3 * kinetic[parent], 1e3 * knocked)
    loss[parent] += knocked
    after = np.maximum(kinetic - loss, np.float32(0.0))
    state[MOMENTUM] = np.sqrt(after * (after + np.float32(2.0 * MASS_MEV)))
    # Single collisions beyond the normal distribution: a fraction chi^2 / angle^2 above an angle.
    least = np.float32(HARD) * np.maximum(width, np.float32(1e-6))
    chance = state[MOMENTUM] * least  # after the loss
    chance = chi2 * length * cosine / (beta2 * (chance * chance) + np.float32(1e-12))
    some = (rng.random(n, np.float32) < chance).nonzero()[0]
    if len(some):
        angle = np.minimum(least[some] / np.sqrt(1.0 - rng.random(len(some), np.float32)), 1.5)
        side, angle = 2.0 * np.pi * rng.random(len(some), np.float32), np.tan(angle)
        one[some], two[some] = angle * np.cos(side), angle * np.sin(side)
    forwards = scale - two * tilt
    # Turned by an angle in the transverse plane: tan = one / forwards.
    azimuth += np.arctan2(one, forwards)
    state[COT] = (cot + two) * scale / np.sqrt(forwards * forwards + one * one)
    return parent, knocked, recoil


def _knock_out(
    rng: np.random.Generator, energy: Floats, positive: NDArray[np.bool_], xi: Floats
) -> tuple[Ints, Floats]:
    """Sample electrons knocked out with more than ``KNOCKED_MEV``, at most one per particle.

    Args:
        rng: random numbers.
        energy: [n] kinetic energies, MeV.
        positive: [n] whether it is a positron.
        xi: [n] MeV; the spectrum of the energy T is xi / T^2 times Moller's or Bhabha's factor.

    Returns:
        parent: [m] row of the particle.
        transfer: [m] energy of the electron, MeV.
    """
    top = np.float32(0.5) * energy * (np.float32(1.0) + positive)
    spread = 1.0 / KNOCKED_MEV - 1.0 / np.maximum(top, np.float32(KNOCKED_MEV))
    parent = (rng.random(len(xi), np.float32) < MOLLER_BOUND * xi * spread).nonzero()[0]
    if not len(parent):
        return parent, energy[:0]
    transfer = 1.0 / (1.0 / KNOCKED_MEV - rng.random(len(parent)) * spread[parent])
    of = energy[parent]
    moller = moller_weight(1e3 * of, 1e3 * np.minimum(transfer, 0.5 * of))
    weight = np.where(positive[parent], bhabha_weight(of, transfer), moller)
    kept = rng.random(len(parent)) * MOLLER_BOUND < weight
    return parent[kept], transfer[kept]


def _directions(state: Single) -> Floats:
    """Unit vectors of the directions, [3, n]."""
    scale = 1.0 / np.sqrt(1.0 + state[COT] ** 2)
    azimuth = state[AZIMUTH]
    return np.stack([np.cos(azimuth) * scale, np.sin(azimuth) * scale, state[COT] * scale])


def _electrons(
    rng: np.random.Generator, parents: Single, energy: Numbers, cosine: Numbers
) -> Single:
    """State of electrons that particles knock out, at the place of these."""
    new = parents
    x, y, z = rotate(rng, _directions(parents), cosine)
    new[AZIMUTH], new[COT] = np.arctan2(y, x), z / np.maximum(np.hypot(x, y), np.float32(1e-6))
    new[MOMENTUM], new[TURN] = np.sqrt(energy * (energy + 2.0 * MASS_MEV)), 1.0
    return new


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


def _enter_modules(
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
    angle = _positive(state[TURN] * angle)
    angle *= angle < 3.2  # rounding where the path is a point
    height = _height(ladders, ladder, u, state[Z], thickness)
    return u, Silicon(phi, height, leaves), angle


def _passages(
    state: Single,
    signed: Single,
    ladder: Ints,
    psi: Single,
    u: Single,
    detector: Detector,
    types: NDArray[np.uint8],
) -> Passages:
    """Describe where particles enter modules; for arguments see ``_enter_modules``."""
    half = 0.5e-3 * detector.thickness
    double = state.astype(np.float64)
    sine, cosine = np.sin(psi.astype(np.float64)), np.cos(psi.astype(np.float64))
    outwards = cosine > 0
    scale = 1.0 / np.sqrt(1.0 + double[COT] ** 2)
    track = state[TRACK].astype(np.int64)
    return Passages(
        track,
        ladder,
        u.astype(np.float64),
        double[Z],
        outwards,
        np.stack([sine * scale, double[COT] * scale, cosine * scale], axis=1),
        sine + np.where(outwards, half, -half) / signed,
        1e-3 * double[MOMENTUM],
        double[TURN],
        types[track],
    )


def _height(ladders: Ladders, ladder: Ints, u: Single, z: Single, thickness: np.float32) -> Single:
    """Height (mm) of the silicon of modules at points u and z (mm); 0 between modules."""
    above = z > ladders.z_gap[ladder]
    box = ladders.boxes.take(ladder + above * len(ladders.phi), axis=1)
    window = (u > box[0]) & (u < box[1]) & (z > box[2]) & (z < box[3])
    height = np.where(window, thickness, np.float32(MODULE_HEIGHT_MM))
    return height * np.where(above, z > box[4], z < box[4])
