"""Electrons that leave the silicon of a sensor and come back to it in the magnetic field."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.simulation.charge import Single
from kerasgen.data.simulation.detector import Detector, Floats, Ints
from kerasgen.data.simulation.electron_state import DIRECTION, LENGTH, REST, SENSOR
from kerasgen.data.simulation.particles import BEAM_PIPE_MM


def fly_back(
    state: Single, some: Ints, bend: Single, sensor: Ints, detector: Detector
) -> NDArray[np.bool_]:
    """Move electrons that leave the sensor along their helix to where they enter it again.

    With du = t sin(psi), dw = t cos(psi) and dpsi/ds = bend the plane of the face is met again
    where sin(psi) is the same: u moves by 2 dw / bend and dw changes its sign. If that is beside
    the sensor, the electron goes on to complete its turn and enters through the other face, where
    sin(psi) differs by bend * thickness / t.

    Args:
        state: state of all electrons.
        some: [n] index of those that leave.
        bend: [n] curvature, 1/um.
        sensor: [n] sensors that they leave.
        detector: planes of the detector.

    Returns:
        [n] whether they do not come back, because they hit the rim of the module or the beam pipe
        at the point of the helix farthest from the sensor, or because the helix does not meet the
        other face.
    """
    du, dv, dw = state[DIRECTION, some]
    across = np.hypot(du, dw)
    u = state[0, some] + 2.0 * dw / bend
    turned = np.mod(np.sign(bend) * (np.pi - 2.0 * np.arctan2(du, dw)), np.float32(2.0 * np.pi))
    v = state[1, some] + dv * turned / np.abs(bend)
    stopped = _in_rim(u, v, sensor, detector)
    below = state[2, some] < 0  # the side where the module is thinned
    for at_u, at_v in ((state[0, some], state[1, some]), (u, v)):
        stopped |= below & _on_support(at_u, at_v, sensor, detector)
    module_u = detector.module_u[sensor].T
    beside = (u < module_u[0]) | (u > module_u[1])
    shift = np.sign(dw) * np.float32(detector.thickness) * bend
    sine = du - shift * beside
    misses = np.abs(sine) >= across
    cosine = np.copysign(np.sqrt(np.maximum(across**2 - sine**2, 0.0)), dw)
    lost = _hits_pipe(state[0, some] + dw / bend, dw, across, du, bend, sensor, detector)
    behind = _hits_pipe(state[0, some] + dw / bend, -dw, across, du, bend, sensor, detector)
    state[0, some] += np.where(beside, dw - cosine, 2.0 * dw) / bend
    state[1, some] += dv * np.where(beside, np.float32(2.0 * np.pi), turned) / np.abs(bend)
    state[2, some] *= np.where(beside, np.float32(-1.0), np.float32(1.0))
    state[3, some] = sine
    state[5, some] = np.where(beside, cosine, -dw)
    state[REST, some] = 0.0
    return lost | stopped | (beside & (misses | behind))


def _in_rim(u: Single, v: Single, sensor: Ints, detector: Detector) -> NDArray[np.bool_]:
    """Whether points (um) of the face of a module are beside the active area."""
    module_u, module_v = detector.module_u[sensor].T, detector.module_v[sensor].T
    module = (u > module_u[0]) & (u < module_u[1]) & (v > module_v[0]) & (v < module_v[1])
    return module & ((u < 0) | (u > detector.width) | (v < 0) | (v > detector.length[sensor]))


def _on_support(u: Single, v: Single, sensor: Ints, detector: Detector) -> NDArray[np.bool_]:
    """Whether points (um) of the active area are beside the thinned window of the module."""
    window_u, window_v = detector.window_u[sensor].T, detector.window_v[sensor].T
    return (u < window_u[0]) | (u > window_u[1]) | (v < window_v[0]) | (v > window_v[1])


def change_sensor(state: Single, some: Ints, sensor: Ints, detector: Detector) -> None:
    """Let electrons that come back beyond the inner end of a sensor enter the other of its ladder.

    Both sensors of a ladder have their v from the outer ends: v, and dv with it, runs backwards.
    """
    beyond = np.flatnonzero(state[1, some] > state[LENGTH, some])
    if not len(beyond):
        return
    here = sensor[beyond]
    other, gap = neighbours(detector)
    there, at = other[here], some[beyond]
    at, here, there = at[there >= 0], here[there >= 0], there[there >= 0]
    state[1, at] = detector.length[here] + gap[here] + detector.length[there] - state[1, at]
    state[4, at] *= -1.0
    state[LENGTH, at], state[SENSOR, at] = detector.length[there], there


def neighbours(detector: Detector) -> tuple[Ints, Floats]:
    """Other sensor of the ladder of each sensor (-1: none) and the gap between both, um."""
    same = detector.ladder[:, None] == detector.ladder
    same &= detector.forward[:, None] != detector.forward
    other = np.where(same.any(1), same.argmax(1), -1)
    gap = np.where(
        detector.forward,
        detector.z_low - detector.z_high[other],
        detector.z_low[other] - detector.z_high,
    )
    return other, gap * 1e3


def _hits_pipe(
    u: Single,
    dw: Single,
    across: Single,
    du: Single,
    bend: Single,
    sensor: Ints,
    detector: Detector,
) -> NDArray[np.bool_]:
    """Whether the point of a helix farthest from the sensor, on the side of dw, is in the pipe."""
    flipped, ladder = detector.flipped[sensor], detector.ladder[sensor]
    height = (across - du * np.sign(dw * bend)) / np.abs(bend) * 1e-3
    along = np.where(flipped, detector.width - u, u) * 1e-3 + detector.u_low[ladder]
    inwards = (dw > 0) == flipped
    return inwards & (np.hypot(along, detector.distance[ladder] - height) < BEAM_PIPE_MM)
