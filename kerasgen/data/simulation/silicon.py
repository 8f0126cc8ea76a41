"""Energy deposits of fast particles in the silicon, in the fast simulator.

Fast particles lose energy in steps along their path: the mean of Bethe's formula and fluctuations
(see ``straggling``), both of collisions below 30 keV. Collisions above make delta electrons, which
are followed on their own (see ``electrons``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.simulation.charge import KEV_PER_PAIR, EnergyDeposits, Numbers, Single
from kerasgen.data.simulation.delta_electrons import delta_electrons
from kerasgen.data.simulation.detector import Detector, Floats, Ints, concatenate
from kerasgen.data.simulation.electron_physics import (
    DELTA_KEV,
    loss_table,
    restricted_stopping_power,
)
from kerasgen.data.simulation.electrons import FAR_KEV, Steps, transport
from kerasgen.data.simulation.particles import SlowElectrons
from kerasgen.data.simulation.passages import (
    Entries,
    grazing_entries,
    is_straight,
    straight_segments,
)
from kerasgen.data.simulation.paths import follow
from kerasgen.data.simulation.straggling import fluctuation
from kerasgen.data.simulation.tracks import Tracks, TrackSegments, kinetic_energy

STEP_UM = 36.0
FAST_KEV = 1e6  # a particle at the plateau of the energy loss


@dataclass(frozen=True)
class Chords:
    """Straight pieces of the paths of fast electrons and positrons in the silicon.

    Attributes:
        sensor: index of the sensor.
        u, v, w: um, middle.
        direction: [n, 3] unit vectors.
        length: um.
        energy: keV, kinetic.
        type: uint8, background type.
    """

    sensor: Ints
    u: Floats
    v: Floats
    w: Floats
    direction: Floats
    length: Floats
    energy: Floats
    type: NDArray[np.uint8]

    def electrons(self) -> SlowElectrons:
        """Electrons in the middle of the chords."""
        return SlowElectrons(self.sensor, self.u, self.v, self.w, self.direction, self.energy)


def energy_loss(rng: np.random.Generator, length_um: Single, mean_kev: Single) -> Single:
    """Sample the loss (keV) of fast electrons in collisions below ``DELTA_KEV``.

    Args:
        rng: random numbers.
        length_um: [n] lengths of steps.
        mean_kev: [n] mean losses.
    """
    return np.maximum(mean_kev + fluctuation(rng, length_um, loss_table()), np.float32(0.0))


def segment_chords(segments: TrackSegments, energy: Floats) -> Chords:
    """Make chords of straight track segments.

    Args:
        segments: n segments.
        energy: [n] kinetic energies, keV.
    """
    w = 0.5 * (segments.w_in + segments.w_out)
    along = np.stack([segments.slope_u, segments.slope_v, np.ones(len(w))])
    along *= np.where(segments.upwards, 1.0, -1.0) / np.sqrt((along**2).sum(0))
    return Chords(
        segments.sensor,
        segments.u + segments.slope_u * w,
        segments.v + segments.slope_v * w,
        w,
        along.T,
        segments.length,
        energy,
        segments.type,
    )


def entering_electrons(entries: Entries, energy: Floats) -> SlowElectrons:
    """Electrons (or positrons) where tracks enter the silicon; kinetic energies in keV."""
    e = entries
    return SlowElectrons(e.sensor, e.u, e.v, e.w, e.direction, energy[e.track])


def _steps_along(length: Numbers, direction: Numbers) -> tuple[Ints, Ints, Single]:
    """Divide straight paths into equal steps of at most ``STEP_UM`` across the sensor.

    Depth matters little, as charge drifts along w, so half of the path along w counts.

    Args:
        length: [n] um.
        direction: [n, 3] unit vectors.

    Returns:
        path: [m] index of the path of each step.
        steps: [n] number of steps.
        place: [m] middle of the step along its path, um from the middle of the path.
    """
    across = length * np.sqrt(1.0 - 0.75 * direction[:, 2] ** 2)
    steps = np.maximum(np.ceil(across / STEP_UM).astype(np.int64), 1)
    path = np.repeat(np.arange(len(steps)), steps)
    first = np.cumsum(steps) - steps
    spacing = (length / steps).astype(np.float32)
    start = (0.5 * (spacing - length)).astype(np.float32)
    place = (np.arange(len(path)) - first.take(path)).astype(np.float32)
    place = place * spacing.take(path) + start.take(path)
    return path, steps, place


def chord_deposits(rng: np.random.Generator, chords: Chords) -> EnergyDeposits:
    """Simulate energy deposits along chords, one in the middle of each of the equal steps."""
    chord, steps, place = _steps_along(chords.length, chords.direction)
    u, v, w = (
        at.astype(np.float32).take(chord)
        + chords.direction[:, k].astype(np.float32).take(chord) * place
        for k, at in enumerate((chords.u, chords.v, chords.w))
    )
    mean = restricted_stopping_power(chords.energy) * chords.length / steps
    spacing = (chords.length / steps).astype(np.float32)
    loss = energy_loss(rng, spacing.take(chord), mean.astype(np.float32).take(chord))
    sensor, hit_type = chords.sensor.take(chord), chords.type.take(chord)
    return EnergyDeposits(sensor, u, v, w, loss * np.float32(1.0 / KEV_PER_PAIR), hit_type)


def charged_deposits(
    rng: np.random.Generator,
    tracks: Tracks,
    electrons: SlowElectrons,
    electron_type: NDArray[np.uint8],
    detector: Detector,
) -> EnergyDeposits:
    """Simulate energy deposits of tracks, slow electrons and all delta electrons.

    Args:
        rng: random numbers.
        tracks: tracks.
        electrons: n electrons that start in the silicon.
        electron_type: [n] background type of the electrons.
        detector: planes and pixels.
    """
    passages = follow(rng, tracks, detector)
    straight = is_straight(passages, detector)
    segments = straight_segments(passages.take(straight), detector)
    energy = kinetic_energy(passages.momentum)
    chords = segment_chords(segments, energy[straight][segments.track])
    positive = (passages.turn[straight] < 0)[segments.track]
    parent, knocked = delta_electrons(
        rng, chords.electrons(), chords.length, positive, detector.thickness
    )
    entries = grazing_entries(passages.take(~straight), detector)
    entered = entering_electrons(entries, energy[~straight])
    slow = concatenate([entered, knocked, electrons])
    n, others = len(entered.u), len(slow.u) - len(entered.u)
    hit_type = np.concatenate([entries.type, chords.type[parent], electron_type])
    sign = np.concatenate([passages.turn[~straight][entries.track], np.ones(others)])
    far = knocked.energy > FAR_KEV  # the path follower has the rest of their way
    track = np.concatenate([np.ones(n, np.bool_), far, np.zeros(len(electrons.u), np.bool_)])
    steps = transport(rng, slow, detector, sign=sign, track=track)
    return concatenate(
        [
            chord_deposits(rng, chords),
            chord_deposits(rng, _step_chords(steps, hit_type)),
            _step_deposits(steps, hit_type),
            _moved_deposits(knocked, chords.type[parent]),
        ]
    )


def _moved_deposits(knocked: SlowElectrons, hit_type: NDArray[np.uint8]) -> EnergyDeposits:
    """Take the energy of short delta electrons off the loss of tracks, which it is part of."""
    short = np.flatnonzero(knocked.energy < DELTA_KEV)
    sensor, u, v, w, energy = (
        getattr(knocked, name)[short] for name in ("sensor", "u", "v", "w", "energy")
    )
    u, v, w, charge = (a.astype(np.float32) for a in (u, v, w, energy))
    charge = charge * np.float32(-1.0 / KEV_PER_PAIR)
    return EnergyDeposits(sensor, u, v, w, charge, hit_type[short])


def segment_deposits(
    rng: np.random.Generator, segments: TrackSegments, detector: Detector
) -> EnergyDeposits:
    """Simulate energy deposits of very fast particles along straight paths, with delta electrons.

    Args:
        rng: random numbers.
        segments: n segments; deposits have the ``type`` of theirs.
        detector: planes and pixels.
    """
    chords = segment_chords(segments, np.full(len(segments.u), FAST_KEV))
    positive = np.zeros(len(chords.u), np.bool_)
    parent, knocked = delta_electrons(
        rng, chords.electrons(), chords.length, positive, detector.thickness
    )
    hit_type = chords.type[parent]
    return concatenate(
        [
            chord_deposits(rng, chords),
            electron_deposits(rng, knocked, hit_type, detector),
            _moved_deposits(knocked, hit_type),
        ]
    )


def electron_deposits(
    rng: np.random.Generator,
    electrons: SlowElectrons,
    hit_type: NDArray[np.uint8],
    detector: Detector,
) -> EnergyDeposits:
    """Simulate energy deposits of electrons that start in the silicon, until they stop or leave."""
    return _step_deposits(transport(rng, electrons, detector), hit_type)


def _step_chords(steps: Steps, hit_type: NDArray[np.uint8]) -> Chords:
    """Make chords of the steps of tracks."""
    some = np.flatnonzero(steps.track)
    names = ("u", "v", "w", "direction", "length", "energy")
    arrays = {name: getattr(steps, name)[some] for name in names}
    return Chords(sensor=steps.sensor[some], type=hit_type[steps.row[some]], **arrays)


def _step_deposits(steps: Steps, hit_type: NDArray[np.uint8]) -> EnergyDeposits:
    """Spread the mean loss in the steps of slow electrons along them."""
    some = np.flatnonzero(~steps.track)
    length, direction = steps.length[some], steps.direction[some]
    step, number, place = _steps_along(length, direction)
    u, v, w = (
        at[some].take(step) + direction[:, k].take(step) * place
        for k, at in enumerate((steps.u, steps.v, steps.w))
    )
    share = np.float32(1.0 / KEV_PER_PAIR) / number.astype(np.float32)
    charge = (steps.loss[some] * share).take(step)
    sensor, types = steps.sensor[some].take(step), hit_type[steps.row[some]].take(step)
    return EnergyDeposits(sensor, u, v, w, charge, types)
