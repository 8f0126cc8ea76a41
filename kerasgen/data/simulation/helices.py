"""State of the particles that ``paths`` follows, and their motion on helices."""

from __future__ import annotations

import numpy as np

from kerasgen.data.simulation.charge import Single
from kerasgen.data.simulation.detector import Detector, Floats
from kerasgen.data.simulation.matter import INNER, OUTER
from kerasgen.data.simulation.tracks import LIGHT_MM, Tracks

# Rows of the state of particles: point (mm), direction (azimuth, dz over transverse path), momentum
# (MeV/c), sense of turning, 0 in the beam pipe or 1 outside, row of the track.
X, Y, Z, AZIMUTH, COT, MOMENTUM, TURN, REGION, TRACK = range(9)


def start(tracks: Tracks, detector: Detector) -> Single:
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


def circles(state: Single, field: float) -> tuple[Single, Single]:
    """Radius times sense of turning, and centres [2, n] of the circles of particles, mm."""
    per_mm = np.float32(LIGHT_MM * 1e3 * field)  # MeV/c per mm of radius
    signed = state[TURN] * state[MOMENTUM] / (per_mm * np.sqrt(1.0 + state[COT] ** 2))
    x = state[X] - signed * np.sin(state[AZIMUTH])
    return signed, np.stack([x, state[Y] + signed * np.cos(state[AZIMUTH])])


def turn(state: Single, centre: Single, signed: Single, angle: Single) -> None:
    """Move particles on their helices by a turning angle."""
    state[AZIMUTH] += state[TURN] * angle
    state[X] = centre[0] + signed * np.sin(state[AZIMUTH])
    state[Y] = centre[1] - signed * np.cos(state[AZIMUTH])
    state[Z] += np.abs(signed) * state[COT] * angle


def positive_angle(angle: Single) -> Single:
    """Angles between 0 and 2 pi; faster than a remainder."""
    circle = np.float32(2.0 * np.pi)
    return np.maximum(angle - circle * np.floor(angle * (1.0 / circle)), np.float32(0.0))


def directions(state: Single) -> Floats:
    """Unit vectors of the directions, [3, n]."""
    scale = 1.0 / np.sqrt(1.0 + state[COT] ** 2)
    azimuth = state[AZIMUTH]
    return np.stack([np.cos(azimuth) * scale, np.sin(azimuth) * scale, state[COT] * scale])
