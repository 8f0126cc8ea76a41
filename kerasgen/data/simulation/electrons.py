"""Electrons in thin silicon: delta rays and the steps on their way.

Condensed history. In every step an electron loses energy continuously, turns in the magnetic field
and is deflected by elastic collisions. Deflections below a limit are summed up to a normal one,
the rare ones above it are sampled one by one (mixed simulation, PENELOPE manual, OECD/NEA 2019,
ch. 4). The deflection of a step lies at a random point of it ("random hinge", same source). An
electron that leaves through a face of the sensor flies on its helix until it meets the plane again.

Energies are in keV, lengths in um, momenta in keV/c, in the frame of the sensor (see ``detector``):
rows along u, the magnetic field along +v or -v, normal w.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, ndtri

from kerasgen.data.simulation.detector import Detector, Floats, Ints
from kerasgen.data.simulation.electron_physics import (
    DELTA_KEV,
    MASS_KEV,
    MOLLER_BOUND,
    TABLE,
    XI_KEV_UM,
    beta_squared,
    bhabha_weight,
    csda_range,
    elastic_collisions,
    inverse_transport_length,
    moller_weight,
    momentum,
    recoil_cosine,
    restricted_table,
    table_index,
)
from kerasgen.data.simulation.particles import BEAM_PIPE_MM, SlowElectrons

LIGHT_KEV_UM = 0.299792458  # momentum in keV/c = LIGHT * field in tesla * radius in um
FAR_KEV = 300.0  # those with more energy may fly to other sensors: they are followed as tracks
STOP_KEV = 20.0  # reach 2.5 um, well below the size of the charge cloud
ESCAPE_KEV = 8.0  # those that could leave through a face are followed down to this energy
LONGEST_UM = 40.0  # step, up to 2.7 MeV; then it grows with the energy
LONGEST_PER_KEV = 0.015
RANGE_FRACTION = 0.2  # of a step
DEFLECTION = 0.4  # longest step over transport mean free path
HARD_PER_STEP = 0.4  # mean number of collisions sampled one by one, at most one is
MAX_STEPS = 120
FEW = 0.012  # when fewer than this share of all are left, they stop: it saves half of the steps

Single = NDArray[np.float32]


def _mean_cosine(sigma: Floats) -> Floats:
    """Mean cosine of the angle of e + sigma g to e, g three standard normal numbers."""
    gauss = np.sqrt(2.0 / np.pi) * sigma * np.exp(-0.5 / sigma**2)
    return (1.0 - sigma**2) * erf(1.0 / (np.sqrt(2.0) * sigma)) + gauss


@cache
def _step_table() -> Single:
    """Quantities of a step as a function of ln(energy), float32 [8, len(TABLE)].

    Rows: step length (um); restricted stopping power (keV/um); 1 / momentum; range (um);
    sigma of the soft deflection; probability of a hard collision; its smallest mu; screening.
    """
    k, a = elastic_collisions(TABLE)
    longest = np.maximum(LONGEST_UM, LONGEST_PER_KEV * TABLE)
    ranges = csda_range(TABLE)
    step = np.minimum(RANGE_FRACTION * ranges, longest)
    step = np.minimum(step, DEFLECTION / inverse_transport_length(k, a)) + 0.01
    hard = np.minimum(HARD_PER_STEP, step * k / a)
    smallest = np.maximum(1.0 / (hard / (step * k) + 1.0 / (1.0 + a)) - a, 0.0)
    soft = np.exp(-step * inverse_transport_length(k, a, smallest))
    sigmas = np.geomspace(1e-4, 3.0, 2000)
    sigma = np.interp(-soft, -_mean_cosine(sigmas), sigmas)
    rows = (step, restricted_table(), 1.0 / momentum(TABLE), ranges, sigma, hard, smallest, a)
    return np.stack(rows).astype(np.float32)


@dataclass(frozen=True)
class Steps:
    """Straight steps of electrons in silicon.

    Attributes:
        row: index of the electron; that of their parent for delta electrons.
        sensor: index of the sensor.
        track: whether the electron is part of a track, not a delta or Compton electron.
        u, v, w: um, middle of the step.
        direction: [n, 3] unit vectors.
        length: um.
        loss: keV, mean loss in collisions below ``DELTA_KEV``, and the rest where it stops.
        energy: keV, kinetic energy before the step.
    """

    row: Ints
    sensor: Ints
    track: NDArray[np.bool_]
    u: Single
    v: Single
    w: Single
    direction: Single
    length: Single
    loss: Single
    energy: Single


# Rows of the state of electrons on their way, float32 [13, n].
POSITION, DIRECTION, ENERGY, REST, BEND, TRACK = slice(0, 3), slice(3, 6), 6, 7, 8, 9
LENGTH, INDEX, SENSOR = 10, 11, 12


def transport(
    rng: np.random.Generator,
    electrons: SlowElectrons,
    detector: Detector,
    *,
    sign: Floats | float = 1.0,
    track: NDArray[np.bool_] | bool = False,
    stop_kev: float = STOP_KEV,
) -> Steps:
    """Follow electrons and their delta electrons through the silicon of their sensor.

    They stop there, leave through a side, or hit the beam pipe.

    Args:
        rng: random numbers.
        electrons: n electrons (or positrons) inside their sensors.
        detector: planes of the detector and field.
        sign: [n] sense of turning in the field, +1 for electrons, -1 for positrons.
        track: [n] whether an electron that leaves through a face is done, as part of a track whose
            other crossings are found elsewhere; the others come back in the field.
        stop_kev: energy below which an electron stops and leaves the rest where it is, unless it
            could leave through a face.
    """
    table = _step_table()
    state = _start(electrons, detector, sign, track)
    half, width = np.float32(0.5 * detector.thickness), np.float32(detector.width)
    lowest = min(stop_kev, ESCAPE_KEV)
    recorded = [np.zeros((12, 0), np.float32)]
    few = FEW * state.shape[1]
    for number in range(MAX_STEPS):
        if not state.shape[1]:
            break
        if state.shape[1] < few or number == MAX_STEPS - 1:
            state = state.compress(state[TRACK] == 0, axis=1)
            rest = np.stack([np.zeros_like(state[ENERGY]), state[ENERGY]])
            recorded.append(np.concatenate([state[:7], rest, state[[TRACK, INDEX, SENSOR]]]))
            break
        energy, w, dw = state[ENERGY], state[2], state[5]
        values = table.take(table_index(energy), axis=1)
        step, power, per_momentum, ranges = values[:4]
        hinge = rng.random(len(step), np.float32)
        path = state[REST] + hinge * step
        with np.errstate(divide="ignore", invalid="ignore"):  # parallel to the faces
            to_face = (np.copysign(half, dw) - w) / dw
        leaves = to_face < path
        path = np.fmin(path, to_face)
        loss = power * path
        # Second order: the stopping power grows as 1 / energy^0.8 on the way.
        loss = np.minimum(loss * (1.0 + np.float32(0.4) * loss / energy), energy)
        after = energy - loss
        delta = _knock_out(rng, state, path, after)
        stops = after < stop_kev
        stops &= (ranges < half - np.abs(w)) | (after < lowest)
        loss += stops * after
        move = path * state[DIRECTION]
        state[POSITION] += 0.5 * move
        recorded.append(
            np.concatenate([state[:7], path[None], loss[None], state[[TRACK, INDEX, SENSOR]]])
        )
        state[POSITION] += 0.5 * move
        state[ENERGY] = after
        state[REST] = step - hinge * step
        curvature = state[BEND] * per_momentum  # 1/um
        _turn(state, curvature * path)
        _deflect(rng, state, leaves, values[4:])
        tracks = state[TRACK] > 0
        stops |= leaves & tracks
        out = (leaves & ~tracks).nonzero()[0]
        if len(out):
            sensor = state[SENSOR, out].astype(np.int64)
            stops[out] |= _fly_back(state, out, curvature[out], sensor, detector)
            _change_sensor(state, out, sensor, detector)
        u, v = state[:2]
        stops |= (u < 0) | (u > width) | (v < 0) | (v > state[LENGTH])
        state = np.concatenate([state.compress(~stops, axis=1), delta], axis=1)
    columns = np.concatenate(recorded, axis=1)
    return Steps(
        row=columns[10].astype(np.int64),
        sensor=columns[11].astype(np.int64),
        track=columns[9] > 0,
        u=columns[0],
        v=columns[1],
        w=columns[2],
        direction=columns[DIRECTION].T,
        length=columns[7],
        loss=columns[8],
        energy=columns[ENERGY],
    )


def _start(
    electrons: SlowElectrons,
    detector: Detector,
    sign: Floats | float,
    track: NDArray[np.bool_] | bool,
) -> Single:
    """State of electrons at their start."""
    state = np.zeros((13, len(electrons.u)), np.float32)
    state[POSITION] = electrons.u, electrons.v, electrons.w
    state[DIRECTION] = electrons.direction.T
    state[5] += np.float32(1e-6) * (state[5] == 0)  # not along the face
    state[ENERGY] = electrons.energy
    state[BEND] = LIGHT_KEV_UM * detector.field * np.asarray(sign)
    state[TRACK], state[LENGTH] = track, detector.length[electrons.sensor]
    state[INDEX], state[SENSOR] = np.arange(len(electrons.u)), electrons.sensor
    return state


def _knock_out(rng: np.random.Generator, state: Single, path: Single, after: Single) -> Single:
    """Sample delta electrons of steps; their energy is taken off ``after``.

    Returns:
        state of the new electrons, at the middle of the step.
    """
    fast = (state[ENERGY] > 2.0 * DELTA_KEV).nonzero()[0]
    energy = state[ENERGY, fast]
    beta2 = energy * (energy + 2.0 * MASS_KEV) / (energy + np.float32(MASS_KEV)) ** 2
    spread = 1.0 / DELTA_KEV - 2.0 / energy
    chance = np.float32(MOLLER_BOUND * XI_KEV_UM) * path[fast] / beta2 * spread
    some = (rng.random(len(fast), np.float32) < chance).nonzero()[0]
    if not len(some):
        return state[:, :0]
    energy, spread, some = energy[some], spread[some], fast[some]
    transfer = 1.0 / (1.0 / DELTA_KEV - rng.random(len(some), np.float32) * spread)
    kept = rng.random(len(some)) * MOLLER_BOUND < moller_weight(energy, transfer)
    kept &= transfer < 0.5 * energy
    some, transfer, energy = some[kept], transfer[kept], energy[kept]
    transfer = np.minimum(transfer, after[some])
    new = state[:, some]
    new[POSITION] += 0.5 * path[some] * new[DIRECTION]
    new[DIRECTION] = rotate(rng, new[DIRECTION], recoil_cosine(energy, transfer))
    new[ENERGY], new[REST], new[TRACK] = transfer, 0.0, 0.0
    new[BEND] = np.abs(new[BEND])
    after[some] -= transfer
    return new


@cache
def _normal_quantiles() -> Single:
    """Quantiles of the normal distribution at the middle of 2^16 equal bins."""
    return ndtri((np.arange(2**16) + 0.5) / 2**16).astype(np.float32)


def normal_numbers(rng: np.random.Generator, shape: tuple[int, ...]) -> Single:
    """Sample normal numbers up to 4.3 in size; four times as fast as a generator does."""
    return _normal_quantiles().take(rng.integers(0, 2**16, shape, np.uint16), mode="clip")


def _turn(state: Single, angle: Single) -> None:
    """Turn directions in the plane of u and w by small angles."""
    du, dw = state[3].copy(), state[5]
    state[3] += angle * dw
    state[5] -= angle * du


def _deflect(
    rng: np.random.Generator, state: Single, leaves: NDArray[np.bool_], values: Single
) -> None:
    """Deflect electrons by the elastic collisions of a step, unless they leave the silicon.

    Args:
        rng: random numbers.
        state: state of the electrons.
        leaves: whether they leave.
        values: sigma of the soft deflection, probability, smallest mu and screening of a hard one.
    """
    sigma, hard, smallest, screening = values
    values[:2] *= ~leaves
    n = len(sigma)
    direction = state[DIRECTION]
    direction += sigma * normal_numbers(rng, (3, n))
    direction /= np.sqrt(np.einsum("ij,ij->j", direction, direction))
    some = (rng.random(n, np.float32) < hard).nonzero()[0]
    if len(some):
        direction[:, some] = _collide(rng, direction[:, some], smallest[some], screening[some])


def _normalise(vectors: Single) -> Single:
    return vectors / np.sqrt(np.einsum("ij,ij->j", vectors, vectors))


def _collide(
    rng: np.random.Generator, direction: Single, smallest: Single, screening: Single
) -> Single:
    """Deflect unit vectors [3, n] by single collisions with mu between ``smallest`` and 1."""
    low, high = 1.0 / (smallest + screening), 1.0 / (1.0 + screening)
    uniform = rng.random(direction.shape[1], np.float32)
    mu = 1.0 / (high + uniform * (low - high)) - screening
    cosine = np.clip(1.0 - 2.0 * mu, -1.0, 1.0)
    return rotate(rng, direction, cosine)


def rotate(rng: np.random.Generator, direction: NDArray, cosine: NDArray) -> NDArray:
    """Turn unit vectors [3, n] by angles of given cosines, to a random side."""
    across = normal_numbers(rng, direction.shape)
    across = across - np.einsum("ij,ij->j", across, direction) * direction
    return cosine * direction + np.sqrt(1.0 - cosine**2) * _normalise(across)


def _fly_back(
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


def _change_sensor(state: Single, some: Ints, sensor: Ints, detector: Detector) -> None:
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


def delta_electrons(
    rng: np.random.Generator,
    parents: SlowElectrons,
    length: Floats,
    positive: NDArray[np.bool_],
    thickness: float,
) -> tuple[Ints, SlowElectrons]:
    """Sample electrons that fast electrons and positrons knock out.

    All those above ``DELTA_KEV``, and below it, down to ``ESCAPE_KEV``, those that start within
    their range of a face of the sensor.

    Args:
        rng: random numbers.
        parents: n electrons or positrons, in the middle of a straight path.
        length: [n] um, of the path.
        positive: [n] whether it is a positron.
        thickness: um, of the sensor.

    Returns:
        parent: [m] index of the parent.
        electrons: m electrons, anywhere on the paths.
    """
    top = np.where(positive, 1.0, 0.5) * parents.energy
    spread = np.maximum(1.0 / ESCAPE_KEV - 1.0 / top, 0.0)
    mean = MOLLER_BOUND * XI_KEV_UM * length / beta_squared(parents.energy) * spread
    parent = np.repeat(np.arange(len(mean)), rng.poisson(mean))
    transfer = 1.0 / (1.0 / ESCAPE_KEV - rng.random(len(parent)) * spread[parent])
    place = (rng.random(len(parent)) - 0.5) * length[parent]
    depth = 0.5 * thickness - np.abs(parents.w[parent] + parents.direction[parent, 2] * place)
    kept = (transfer > DELTA_KEV) | (depth < np.interp(transfer, *_short_ranges()))
    parent, transfer, place = parent[kept], transfer[kept], place[kept]
    energy, positron = parents.energy[parent], positive[parent]
    with np.errstate(divide="ignore"):  # Moller's formula ends at half the energy
        moller = moller_weight(energy, np.minimum(transfer, 0.5 * energy))
    weight = np.where(positron, bhabha_weight(energy, transfer), moller)
    kept = rng.random(len(parent)) * MOLLER_BOUND < weight
    parent, transfer, place = parent[kept], transfer[kept], place[kept]
    direction = parents.direction[parent]
    u, v, w = (
        at[parent] + direction[:, k] * place
        for k, at in enumerate((parents.u, parents.v, parents.w))
    )
    direction = rotate(rng, direction.T, recoil_cosine(parents.energy[parent], transfer)).T
    return parent, SlowElectrons(parents.sensor[parent], u, v, w, direction, transfer)


@cache
def _short_ranges() -> tuple[Floats, Floats]:
    """Energies up to ``DELTA_KEV`` and their ranges, keV and um."""
    energy = np.linspace(ESCAPE_KEV, DELTA_KEV, 50)
    return energy, csda_range(energy)
