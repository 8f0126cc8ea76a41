"""Charge in pixels from paths in silicon: energy loss, drift, diffusion.

Energy loss follows a Landau distribution in every step along the path. Its location is the most
probable loss with the density effect of a relativistic particle (H. Bichsel, Rev. Mod. Phys. 60
(1988) 663; PDG review "Passage of particles through matter", eq. 34.12): xi [ln(2 m xi /
(hbar omega_p)^2) + 0.2]. The Landau distribution is stable: the sum over steps has the
distribution of the whole path, so the step length sets the spatial resolution only. Atomic binding
adds a Gaussian width (Shulek's correction).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from kerasgen.data.simulation.detector import Detector, Floats, Ints
from kerasgen.data.simulation.parameters import Parameters
from kerasgen.data.simulation.particles import SHOWER, SYNCHROTRON, Photons, SlowElectrons
from kerasgen.data.simulation.tracks import TrackSegments

XI_EV_PER_UM = 17.83  # 0.1535 MeV cm2/g * Z/A * density of silicon
ELECTRON_EV = 510998.95
PLASMON_EV = 31.05
LANDAU_MODE = -0.22278
EV_PER_PAIR = 3.65
FANO = 0.115
DENSITY = 2.33  # g/cm3
STEP_UM = 18.75
ELECTRON_STEPS = 8
STRAIGHT = 0.6  # straight length over path length of slow electrons
ABSORPTION_UM_AT_10_KEV = 133.0  # grows with the cube of the energy


@dataclass(frozen=True)
class EnergyDeposits:
    """Energy deposits in the silicon: sensor, u, v, w (um), charge (e), background type."""

    sensor: Ints
    u: Floats
    v: Floats
    w: Floats
    charge: Floats
    type: NDArray[np.uint8]


def landau(rng: np.random.Generator, n: int) -> Floats:
    """Sample n values of the standard Landau distribution (mode -0.223).

    The Chambers-Mallows-Stuck method applies, because the Landau distribution is the stable
    distribution with index 1 and skewness 1 up to scale and location
    (J. Amer. Statist. Assoc. 71 (1976) 340).
    """
    angle = np.pi * (rng.random(n) - 0.5)
    half = 0.5 * np.pi
    width = half + angle
    stable = width * np.tan(angle) - np.log(
        half * rng.standard_exponential(n) * np.cos(angle) / width
    )
    return stable + np.log(half)


def energy_loss(rng: np.random.Generator, length_um: Floats, parameters: Parameters) -> Floats:
    """Sample the energy deposit (eV) of steps of the given lengths."""
    p = parameters
    xi = XI_EV_PER_UM * p.energy_scale * length_um
    centre = np.log(2.0 * ELECTRON_EV * xi / PLASMON_EV**2) + 0.2 - LANDAU_MODE
    loss = xi * (centre + landau(rng, len(xi)))
    loss += 1e3 * np.sqrt(p.binding_kev2_per_um * length_um) * rng.standard_normal(len(xi))
    return np.clip(loss, 0.0, 1e3 * p.delta_max_kev)


def count_steps(segments: TrackSegments) -> Ints:
    """Count the equal steps of at most ``STEP_UM`` along each path."""
    return np.maximum(np.ceil(segments.length / STEP_UM).astype(np.int64), 1)


def track_deposits(
    rng: np.random.Generator, segments: TrackSegments, parameters: Parameters
) -> EnergyDeposits:
    """Simulate energy deposits along tracks, one in the middle of each of the equal steps."""
    length, steps = segments.length, count_steps(segments)
    path = np.repeat(np.arange(len(steps)), steps)
    first = np.cumsum(steps) - steps
    fraction = (np.arange(len(path)) - first[path] + 0.5) / steps[path]
    w = segments.w_in[path] + fraction * (segments.w_out - segments.w_in)[path]
    loss = energy_loss(rng, (length / steps)[path], parameters)
    return EnergyDeposits(
        segments.sensor[path],
        segments.u[path] + segments.slope_u[path] * w,
        segments.v[path] + segments.slope_v[path] * w,
        w,
        loss / EV_PER_PAIR,
        segments.type[path],
    )


def photon_deposits(
    rng: np.random.Generator, photons: Photons, detector: Detector
) -> EnergyDeposits:
    """Simulate one energy deposit per photon, at its absorption depth, with Fano fluctuation."""
    n = len(photons.energy)
    t = detector.thickness
    absorption = ABSORPTION_UM_AT_10_KEV * (photons.energy / 10.0) ** 3
    depth = -absorption * np.log1p(-rng.random(n) * -np.expm1(-t / absorption))
    # Photons come from the beam: depth counts from the sensor face towards the beam.
    w = np.where(detector.flipped[photons.sensor], 0.5 * t - depth, depth - 0.5 * t)
    mean = 1e3 * photons.energy / EV_PER_PAIR
    charge = np.maximum(mean + np.sqrt(FANO * mean) * rng.standard_normal(n), 0.0)
    hit_type = np.full(n, SYNCHROTRON, np.uint8)
    return EnergyDeposits(photons.sensor, photons.u, photons.v, w, charge, hit_type)


def electron_deposits(electrons: SlowElectrons, detector: Detector) -> EnergyDeposits:
    """Simulate energy deposits along the short path of slow electrons, inside the sensor only.

    The range follows L. Katz and A. S. Penfold, Rev. Mod. Phys. 24 (1952) 28. With a range
    R ~ T^1.7, the energy T (1 - s)^(1/1.7) is left after the fraction s of the path: most charge is
    at its end. Scattering shortens the path to STRAIGHT of its length.
    """
    energy = electrons.energy * 1e-3  # MeV
    milligram = 412.0 * energy ** (1.265 - 0.0954 * np.log(energy))
    length = STRAIGHT * milligram / DENSITY * 10.0  # um
    edges = np.linspace(0.0, 1.0, ELECTRON_STEPS + 1)
    left = (1.0 - edges) ** (1.0 / 1.7)
    fraction = left[:-1] - left[1:]
    middle = 0.5 * (edges[1:] + edges[:-1])
    travelled = length[:, None] * middle  # [n, steps]
    u, v, w = (
        (start[:, None] + electrons.direction[:, [k]] * travelled).ravel()
        for k, start in enumerate((electrons.u, electrons.v, electrons.w))
    )
    charge = (1e3 * electrons.energy[:, None] / EV_PER_PAIR * fraction).ravel()
    sensor = np.repeat(electrons.sensor, ELECTRON_STEPS)
    inside = (np.abs(w) < 0.5 * detector.thickness) & (u > 0) & (u < detector.width)
    inside &= (v > 0) & (v < detector.length[sensor])
    hit_type = np.full(int(inside.sum()), SHOWER, np.uint8)
    return EnergyDeposits(sensor[inside], u[inside], v[inside], w[inside], charge[inside], hit_type)


def concatenate_deposits(parts: list[EnergyDeposits]) -> EnergyDeposits:
    """Concatenate the energy deposits of all parts."""
    names = ("sensor", "u", "v", "w", "charge", "type")
    return EnergyDeposits(*(np.concatenate([getattr(part, k) for part in parts]) for k in names))


def drift_to_gates(
    deposits: EnergyDeposits, parameters: Parameters, gate_w: float
) -> tuple[Floats, Floats]:
    """Drift to the plane of the gates (w = gate_w), deflected along u; return u and v, um."""
    return deposits.u + parameters.tan_lorentz * (gate_w - deposits.w), deposits.v


def share_among_pixels(
    deposits: EnergyDeposits, detector: Detector, parameters: Parameters, gate_w: float
) -> tuple[Ints, Floats, NDArray[np.uint8]]:
    """Divide the charge of each deposit among its pixel and the neighbours along u, v and both.

    The charge cloud is a Gaussian of a few um and reaches across the nearest pixel borders only.
    Charge beyond the edge of the sensor stays in the last pixel.

    Args:
        deposits: n energy deposits.
        detector: planes and pixels.
        parameters: diffusion and Lorentz angle.
        gate_w: w of the plane of the gates, um.

    Returns:
        pixel: int64 [4 n], sensor * rows * cols + row * cols + col.
        charge: [4 n], electrons.
        type: uint8 [4 n].
    """
    u, v = drift_to_gates(deposits, parameters, gate_w)
    row, row_next, row_fraction = _split(
        u / detector.pitch_u, detector.rows, detector.pitch_u / parameters.diffusion_u_um
    )
    split = detector.split[deposits.sensor]
    outer, inner = detector.pitch_outer[deposits.sensor], detector.pitch_inner[deposits.sensor]
    inside = v > split
    pitch = np.where(inside, inner, outer)
    column = np.where(inside, split / outer + (v - split) / inner, v / outer)
    col, col_next, col_fraction = _split(column, detector.cols, pitch / parameters.diffusion_v_um)
    base = deposits.sensor * (detector.rows * detector.cols)
    here, there = base + row * detector.cols, base + row_next * detector.cols
    moved = deposits.charge * row_fraction
    stayed = deposits.charge - moved
    pixel = np.concatenate([here + col, here + col_next, there + col, there + col_next])
    charge = np.concatenate(
        [
            stayed * (1.0 - col_fraction),
            stayed * col_fraction,
            moved * (1.0 - col_fraction),
            moved * col_fraction,
        ]
    )
    return pixel, charge, np.tile(deposits.type, 4)


def _split(
    position: Floats, cells: int, cell_over_sigma: float | Floats
) -> tuple[Ints, Ints, Floats]:
    """Find cell and nearest neighbour of a position (in cells), and the neighbour's fraction."""
    cell = np.clip(position.astype(np.int64), 0, cells - 1)
    offset = position - cell - 0.5
    neighbour = np.clip(cell + np.where(offset > 0, 1, -1), 0, cells - 1)
    fraction = ndtr((np.abs(offset) - 0.5) * cell_over_sigma)
    return cell, neighbour, fraction
