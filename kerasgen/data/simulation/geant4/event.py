"""One background event: particles, transport by Geant4, charge sharing, digitizer."""

from __future__ import annotations

import numpy as np

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.data.simulation.charge import KEV_PER_PAIR, EnergyDeposits, photon_deposits
from kerasgen.data.simulation.detector import (
    Detector,
    Floats,
    build_detector,
    concatenate,
    direction_to_laboratory,
    sensors_at,
    to_laboratory,
    to_sensor,
)
from kerasgen.data.simulation.geant4.kernel import Kernel, Primaries
from kerasgen.data.simulation.parameters import Parameters
from kerasgen.data.simulation.particles import (
    ELECTRON_GEV,
    SHOWER,
    SYNCHROTRON,
    TWO_PHOTON,
    Photons,
    shower_particles,
    shower_photons,
    synchrotron_photons,
    two_photon_pairs,
)
from kerasgen.data.simulation.pxd import hits_of_deposits, random_streams
from kerasgen.data.simulation.tracks import LIGHT_MM, Tracks

PHOTON, ELECTRON, POSITRON = 22, 11, -11  # PDG codes
MAX_PIECE_MM = 0.005  # a step is divided into clouds of charge at most this far apart
ELECTRON_MEV = 1e3 * ELECTRON_GEV


def simulate_event(
    kernel: Kernel, geometry: Geometry, seed: int, event: int, parameters: Parameters
) -> Hits:
    """Simulate the hits of one background event; a pure function of all but the kernel.

    Args:
        kernel: Geant4 with the volumes of the geometry.
        geometry: belle2-pxd.
        seed, event: >= 0, key of the random numbers.
        parameters: sources and charge sharing.
    """
    detector = build_detector(geometry)
    deposits = geant4_deposits(kernel, geometry, detector, seed, event, parameters)
    return hits_of_deposits(deposits, geometry, detector, parameters, seed, event)


def geant4_deposits(
    kernel: Kernel,
    geometry: Geometry,
    detector: Detector,
    seed: int,
    event: int,
    parameters: Parameters,
) -> EnergyDeposits:
    """Transport the particles of one event; return their energy deposits in the sensors."""
    p, streams = parameters, random_streams(seed, event)
    pairs = two_photon_pairs(streams["pairs"], p, detector.field)
    showers = shower_particles(streams["showers"], p, detector, geometry)
    scattering = shower_photons(streams["compton"], p, detector, geometry)
    x_rays = synchrotron_photons(streams["photons"], p, detector, geometry)
    sources = [
        (TWO_PHOTON, start_of_helices(pairs, detector.field), None),
        (SHOWER, start_of_helices(showers, detector.field), None),
        (SHOWER, photons_at(scattering, detector), "compt"),
    ]
    if "phot" in kernel.photon_processes:
        sources.append((SYNCHROTRON, photons_at(x_rays, detector), "phot"))
    seeds = np.random.SeedSequence([seed, event]).generate_state(len(sources)).tolist()
    parts = [
        deposits_of_steps(kernel.shoot(primaries, key, forced), detector, hit_type)
        for (hit_type, primaries, forced), key in zip(sources, seeds, strict=True)
    ]
    if "phot" not in kernel.photon_processes:
        parts.append(photon_deposits(streams["photons"], x_rays))
    return concatenate(parts)


def start_of_helices(tracks: Tracks, field: float) -> Primaries:
    """Electrons (turn +1) and positrons (turn -1) at the start of their helices."""
    cx, cy = tracks.centre()
    heading = tracks.direction + tracks.turn * tracks.t_min
    signed = tracks.turn * tracks.radius
    point = np.stack(
        [
            cx + signed * np.sin(heading),
            cy - signed * np.cos(heading),
            tracks.z + tracks.radius * tracks.cot * tracks.t_min,
        ],
        axis=1,
    )
    slant = np.sqrt(1.0 + tracks.cot**2)
    direction = np.stack([np.cos(heading), np.sin(heading), tracks.cot], axis=1) / slant[:, None]
    momentum = 1e3 * LIGHT_MM * field * tracks.radius * slant  # MeV/c
    energy = np.hypot(momentum, ELECTRON_MEV) - ELECTRON_MEV
    return Primaries(np.where(tracks.turn > 0, ELECTRON, POSITRON), point, direction, energy)


def photons_at(photons: Photons, detector: Detector) -> Primaries:
    """Photons at their points of interaction."""
    p = photons
    return Primaries(
        np.full(len(p.sensor), PHOTON),
        to_laboratory(detector, p.sensor, p.u, p.v, p.w),
        direction_to_laboratory(detector, p.sensor, p.direction),
        1e-3 * p.energy,
    )


def deposits_of_steps(steps: Floats, detector: Detector, hit_type: int) -> EnergyDeposits:
    """Divide the energy of each step evenly among points along it.

    Args:
        steps: [n, 7] start and end (mm), energy (MeV).
        detector: planes and pixels.
        hit_type: background type.
    """
    start, path = steps[:, :3], steps[:, 3:6] - steps[:, :3]
    sensor = sensors_at(detector, start + 0.5 * path)
    pieces = np.maximum(np.ceil(np.linalg.norm(path, axis=1) / MAX_PIECE_MM), 1.0).astype(np.int64)
    row = np.repeat(np.arange(len(steps)), pieces)
    first = np.cumsum(pieces) - pieces
    fraction = (np.arange(len(row)) - first[row] + 0.5) / pieces[row]
    u, v, w = to_sensor(detector, sensor[row], start[row] + fraction[:, None] * path[row])
    charge = 1e3 * steps[:, 6] / pieces / KEV_PER_PAIR
    return EnergyDeposits(sensor[row], u, v, w, charge[row], np.full(len(row), hit_type, np.uint8))
