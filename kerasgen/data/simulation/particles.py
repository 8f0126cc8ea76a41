"""Sources of background: two-photon pairs, shower particles and photons, synchrotron photons.

Both engines start from these particles. They are assumptions: energy spectra, angles and rates are
chosen or fitted (``docs/simulator.md``), the transport through matter is the engine's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.simulation.detector import Detector, Floats, Ints
from kerasgen.data.simulation.parameters import Parameters
from kerasgen.data.simulation.tracks import Tracks, helix_radius

TWO_PHOTON, SHOWER, SYNCHROTRON = 1, 2, 3  # types of hits; 0 is unknown

ELECTRON_GEV = 0.51099895e-3
BEAM_PIPE_MM = 12.0
MIN_REACH_MM = 13.0  # a turn that stays inside cannot reach a sensor
ABSORPTION_LENGTH = {5.0: 17.8, 8.0: 69.0, 10.0: 133.0, 15.0: 444.0, 20.0: 1063.0}  # keV: um


@dataclass(frozen=True)
class Photons:
    """Photons at the points in the silicon where they interact.

    Attributes:
        sensor: [n] index of the sensor.
        u, v, w: [n] point in the frame of the sensor, um.
        direction: [n, 3] unit vectors (u, v, w).
        energy: [n] keV.
    """

    sensor: Ints
    u: Floats
    v: Floats
    w: Floats
    direction: Floats
    energy: Floats


@dataclass(frozen=True)
class SlowElectrons:
    """Electrons that start inside a sensor and stop there or leave it.

    Attributes:
        sensor, u, v, w: sensor and starting point, um.
        direction: [n, 3] unit vectors (u, v, w).
        energy: keV.
    """

    sensor: Ints
    u: Floats
    v: Floats
    w: Floats
    direction: Floats
    energy: Floats


def poisson_numbers(rng: np.random.Generator, mean: Floats, std: float) -> Ints:
    """Sample Poisson numbers, with all means scaled by one normal factor 1 +- std."""
    factor = max(0.0, 1.0 + std * rng.standard_normal())
    return np.asarray(rng.poisson(mean * factor), np.int64)


def two_photon_pairs(rng: np.random.Generator, parameters: Parameters, field: float) -> Tracks:
    """Sample e+ e- pairs of gamma gamma -> e+ e- from the interaction point.

    Both particles have opposite transverse momenta in the collision frame, with a power-law
    spectrum and flat rapidity; boosts along z (beam energies) and x (crossing angle) give the
    laboratory frame. Particles that cannot reach a sensor are left out.
    """
    p = parameters
    n = int(poisson_numbers(rng, np.array([p.pairs_per_event]), p.common_spread)[0])
    pt = p.pt_min_mev * 1e-3 * rng.random(n) ** (-1.0 / (p.pt_index - 1.0))
    phi = rng.uniform(0.0, 2.0 * np.pi, n)
    px, py = (np.concatenate([a, -a]) for a in (pt * np.cos(phi), pt * np.sin(phi)))
    rapidity = rng.uniform(-p.rapidity_max, p.rapidity_max, 2 * n)
    mt = np.sqrt(px**2 + py**2 + ELECTRON_GEV**2)
    energy, pz = mt * np.cosh(rapidity), mt * np.sinh(rapidity)
    energy, pz = _boost(energy, pz, p.boost_z)
    energy, px = _boost(energy, px, p.boost_x)
    pt = np.hypot(px, py)
    turn = np.concatenate([-np.ones(n), np.ones(n)])  # e+ turns against phi in a field along +z
    direction, cot, radius = np.arctan2(py, px), pz / pt, helix_radius(pt, field)
    reaching = 2.0 * radius > MIN_REACH_MM
    direction, turn, radius, cot = (a[reaching] for a in (direction, turn, radius, cot))
    zero = np.zeros(len(radius))
    full_turn = np.full(len(radius), 2.0 * np.pi)
    hit_type = np.full(len(radius), TWO_PHOTON, np.uint8)
    return Tracks(zero, zero, zero, direction, turn, radius, cot, zero, full_turn, hit_type)


def _boost(energy: Floats, along: Floats, beta: float) -> tuple[Floats, Floats]:
    """Boost energy and momentum component to a frame that moves with -beta along it."""
    gamma = 1.0 / np.sqrt(1.0 - beta**2)
    return gamma * (energy + beta * along), gamma * (along + beta * energy)


def shower_particles(
    rng: np.random.Generator, parameters: Parameters, detector: Detector, geometry: Geometry
) -> Tracks:
    """Sample secondaries of beam particles lost nearby (Touschek, beam-gas, radiative Bhabha).

    They leave the beam pipe at a shallow angle to the beam. A shower is aimed at a random point
    of a sensor; the calibrated rates of the sensors describe the azimuthal asymmetry. Particles of
    a shower arrive close to each other. Each track starts at the beam pipe, or a quarter turn
    before the sensor if its circle misses the pipe: the particle was made in other material.
    """
    p = parameters
    mean = np.array([p.shower_per_event[name] for name in geometry.names])
    showers = np.repeat(np.arange(len(mean)), poisson_numbers(rng, mean, p.common_spread))
    companions, typical, std, fan = (
        np.array([of_layer[str(s.layer)] for s in geometry.sensors])[showers]
        for of_layer in (p.shower_companions, p.shower_cot, p.shower_cot_spread, p.shower_fan_rad)
    )
    members = rng.geometric(1.0 / (1.0 + companions))

    def per_member(value: NDArray[Any]) -> NDArray[Any]:
        return np.repeat(value, members)

    n = int(members.sum())
    sensor = per_member(showers)
    ladder = detector.ladder[sensor]
    low, high = detector.u_low[ladder], detector.u_high[ladder]
    u = low + (high - low) * per_member(rng.random(len(showers)))
    z_low, z_high = detector.z_low[sensor], detector.z_high[sensor]
    z = z_low + (z_high - z_low) * per_member(rng.random(len(showers)))
    u += p.companion_mm * rng.standard_normal(n)
    z += p.companion_mm * rng.standard_normal(n)
    phi, distance = detector.phi[ladder], detector.distance[ladder]
    x = distance * np.cos(phi) - u * np.sin(phi)
    y = distance * np.sin(phi) + u * np.cos(phi)
    direction = np.arctan2(y, x) + per_member(fan * rng.standard_normal(len(showers)))
    direction += p.companion_rad * rng.standard_normal(n)
    cot = per_member(typical * np.exp(std * rng.standard_normal(len(showers))))
    cot *= per_member(np.where(rng.random(len(showers)) < p.shower_forward, 1.0, -1.0))
    lowest, highest = np.log(p.shower_p_mev)
    momentum = np.exp(rng.uniform(lowest, highest, n)) * 1e-3
    radius = helix_radius(momentum / np.sqrt(1.0 + cot**2), detector.field)
    turn = np.where(rng.random(n) < 0.5, -1.0, 1.0)
    born = _angle_at_beam_pipe(x, y, direction, turn, radius)
    hit_type = np.full(n, SHOWER, np.uint8)
    return Tracks(x, y, z, direction, turn, radius, cot, born, born + 1.5 * np.pi, hit_type)


def _angle_at_beam_pipe(
    x: Floats, y: Floats, direction: Floats, turn: Floats, radius: Floats
) -> Floats:
    """Compute the (negative) turning angle at the beam pipe; -pi/2 if the circle misses it."""
    cx = x - turn * radius * np.sin(direction)
    cy = y + turn * radius * np.cos(direction)
    distance, azimuth = np.hypot(cx, cy), np.arctan2(cy, cx)
    # |c + radius (cos a, sin a)| = beam pipe, a the azimuth seen from the centre of the circle
    cosine = (BEAM_PIPE_MM**2 - distance**2 - radius**2) / (2.0 * distance * radius)
    met = np.abs(cosine) < 1.0
    half = np.arccos(np.where(met, cosine, 0.0))
    here = np.arctan2(y - cy, x - cx)
    back = [np.mod(turn * (here - azimuth - side * half), 2.0 * np.pi) for side in (-1.0, 1.0)]
    return -np.where(met, np.minimum(*back), 0.5 * np.pi)


def shower_photons(
    rng: np.random.Generator, parameters: Parameters, detector: Detector, geometry: Geometry
) -> Photons:
    """Sample photons of showers at the points where they scatter in a sensor.

    Photons of positron annihilation (511 keV) come from all sides: an isotropic flux makes
    points of interaction that are uniform in thin silicon, with isotropic directions. A photon
    scatters in 75 um with a probability of 0.15 %, so other sensors on its way are left out.
    """
    p = parameters
    mean = np.array(
        [p.shower_per_event[s.name] * p.compton_per_shower[str(s.layer)] for s in geometry.sensors]
    )
    sensor = np.repeat(np.arange(len(mean)), poisson_numbers(rng, mean, p.common_spread))
    n = len(sensor)
    direction = rng.standard_normal((n, 3))
    return Photons(
        sensor,
        rng.random(n) * detector.width,
        rng.random(n) * detector.length[sensor],
        (rng.random(n) - 0.5) * detector.thickness,
        direction / np.linalg.norm(direction, axis=1, keepdims=True),
        np.full(n, p.shower_photon_kev),
    )


def synchrotron_photons(
    rng: np.random.Generator, parameters: Parameters, detector: Detector, geometry: Geometry
) -> Photons:
    """Sample X-rays of the beams at the points where silicon absorbs them.

    They have an exponential spectrum and uniform positions, and come from the beam at a right angle
    to the sensor.
    """
    p = parameters
    mean = np.array([p.photons_per_event[name] for name in geometry.names])
    sensor = np.repeat(np.arange(len(mean)), poisson_numbers(rng, mean, p.common_spread))
    n = len(sensor)
    u, v = rng.random(n) * detector.width, rng.random(n) * detector.length[sensor]
    energy = p.photon_kev[0] + p.photon_kev[1] * rng.standard_exponential(n)
    thickness, length = detector.thickness, absorption_length(energy)
    depth = -length * np.log1p(rng.random(n) * np.expm1(-thickness / length))
    # The beam is at negative w, at positive w where the sensor is flipped.
    along = np.where(detector.flipped[sensor], -1.0, 1.0)
    zero = np.zeros(n)
    return Photons(
        sensor,
        u,
        v,
        along * (depth - 0.5 * thickness),
        np.stack([zero, zero, along], axis=1),
        energy,
    )


def absorption_length(energy_kev: Floats) -> Floats:
    """Photoelectric absorption length of X-rays in silicon, um.

    A power law between the values of the Sandia table (F. Biggs, R. Lighthill, SAND87-0070) at a
    few energies, continued beyond the first and the last of them.

    Args:
        energy_kev: [n] keV, above the K edge at 1.84 keV.
    """
    energy, length = np.log(list(ABSORPTION_LENGTH)), np.log(list(ABSORPTION_LENGTH.values()))
    slope = np.diff(length) / np.diff(energy)
    x = np.log(energy_kev)
    k = np.clip(np.searchsorted(energy, x) - 1, 0, len(slope) - 1)
    return np.exp(length[k] + slope[k] * (x - energy[k]))
