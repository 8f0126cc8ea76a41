"""Electrons in thin silicon: the steps on their way, and the delta rays that they knock out.

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
from scipy.special import erf

from kerasgen.data.simulation.charge import Single
from kerasgen.data.simulation.detector import Detector, Floats, Ints
from kerasgen.data.simulation.electron_physics import (
    DELTA_KEV,
    MASS_KEV,
    MOLLER_BOUND,
    TABLE,
    XI_KEV_UM,
    csda_range,
    elastic_collisions,
    inverse_transport_length,
    moller_weight,
    momentum,
    recoil_cosine,
    restricted_table,
    table_index,
)
from kerasgen.data.simulation.electron_state import (
    BEND,
    DIRECTION,
    ENERGY,
    INDEX,
    LENGTH,
    POSITION,
    REST,
    SENSOR,
    TRACK,
    start,
)
from kerasgen.data.simulation.fly_back import change_sensor, fly_back
from kerasgen.data.simulation.particles import SlowElectrons
from kerasgen.data.simulation.random_directions import normal_numbers, rotate

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
    state = start(electrons, detector, sign, track)
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
            stops[out] |= fly_back(state, out, curvature[out], sensor, detector)
            change_sensor(state, out, sensor, detector)
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


def _collide(
    rng: np.random.Generator, direction: Single, smallest: Single, screening: Single
) -> Single:
    """Deflect unit vectors [3, n] by single collisions with mu between ``smallest`` and 1."""
    low, high = 1.0 / (smallest + screening), 1.0 / (1.0 + screening)
    uniform = rng.random(direction.shape[1], np.float32)
    mu = 1.0 / (high + uniform * (low - high)) - screening
    cosine = np.clip(1.0 - 2.0 * mu, -1.0, 1.0)
    return rotate(rng, direction, cosine)
