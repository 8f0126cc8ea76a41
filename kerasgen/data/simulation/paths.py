"""Paths of electrons and positrons through beam pipe and modules, in the fast simulator.

A particle runs on a helix from one piece of matter to the next: the wall of the beam pipe or a
module. There it loses energy and is deflected; it ends where it has lost its energy, leaves the
detector or cannot leave the beam pipe any more. Where it enters the active silicon of a module is
recorded. Nothing here is fitted: lengths of paths follow from the volumes that Geant4 has as well,
losses and deflections from published formulas (see ``slow_down``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.simulation.charge import Single
from kerasgen.data.simulation.detector import Detector, Ints
from kerasgen.data.simulation.electrons import FAR_KEV
from kerasgen.data.simulation.helices import (
    AZIMUTH,
    COT,
    MOMENTUM,
    REGION,
    TRACK,
    TURN,
    X,
    Y,
    Z,
    circles,
    positive_angle,
    start,
    turn,
)
from kerasgen.data.simulation.knocked_out import Waiting, release
from kerasgen.data.simulation.ladders import NEVER, build_ladders, enter_modules, meet_modules
from kerasgen.data.simulation.matter import INNER, OUTER
from kerasgen.data.simulation.passages import Passages
from kerasgen.data.simulation.slow_down import slow_down
from kerasgen.data.simulation.tracks import Tracks

MAX_PIECES = 50  # of matter on the way of a particle
STOPPED = 0.3  # MeV/c: a radius of 0.7 mm
STOPPED_INSIDE = (
    1.0  # MeV/c, in the beam pipe: less does not get through its wall and on to a sensor
)
FEW = 0.005  # when fewer than this share of all particles are left, they end: a tail of many turns


def follow(rng: np.random.Generator, tracks: Tracks, detector: Detector) -> Passages:
    """Follow particles from the start of their tracks; see the module."""
    state, ladders = start(tracks, detector), build_ladders(detector)
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
        signed, centre = circles(state, detector.field)
        wall = _meet_wall(state, centre, np.abs(signed))
        turned, ladder, psi = meet_modules(state, centre, signed, wall.turned, ladders, thickness)
        some = (turned < NEVER).nonzero()[0]
        state, centre, signed = state.take(some, axis=1), centre.take(some, axis=1), signed[some]
        turned, ladder, psi = turned[some], ladder[some], psi[some]
        through = wall.through[some]
        turn(state, centre, signed, turned)
        modules = (ladder >= 0).nonzero()[0]
        entering = (
            state.take(modules, axis=1),
            signed[modules],
            ladder[modules],
            psi[modules],
        )
        u, silicon, angle = enter_modules(*entering, ladders, thickness)
        found.append((*entering, u))
        through[modules] = angle
        hinge = np.float32(0.5) * through
        hinge[modules] = angle
        turn(state, centre, signed, hinge)
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
            new, way, depth = release(rng, waiting)
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
        parent, energy, cosine = slow_down(rng, state, length, matter, normal, height)
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
    turned = positive_angle(target - beta)
    turned[np.where(outside, outer < 0.0, inner > 1.0)] = NEVER
    crosses = np.where(outside, inner > 0.0, outer < 1.0)
    through = np.where(crosses, np.float32(1.0), np.float32(2.0)) * (at_inner - at_outer)
    return Wall(turned, through)


def _passages(
    state: Single,
    signed: Single,
    ladder: Ints,
    psi: Single,
    u: Single,
    detector: Detector,
    types: NDArray[np.uint8],
) -> Passages:
    """Describe where particles enter modules; for arguments see ``enter_modules``."""
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
