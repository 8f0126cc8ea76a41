"""From energy deposits to charge in pixels, for both engines: drift and a Gaussian charge cloud."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from kerasgen.data.simulation.detector import Detector, Floats, Ints
from kerasgen.data.simulation.parameters import Parameters
from kerasgen.data.simulation.particles import SYNCHROTRON, Photons

KEV_PER_PAIR = 3.65e-3  # energy per pair of charges in silicon
FANO = 0.115
TAIL_BINS = 256  # per standard deviation

Single = NDArray[np.float32]
Numbers = NDArray[np.floating[Any]]  # of single precision where there are many


@dataclass(frozen=True)
class EnergyDeposits:
    """Energy deposits in the silicon: sensor, u, v, w (um), charge (e), background type."""

    sensor: Ints
    u: Numbers
    v: Numbers
    w: Numbers
    charge: Numbers
    type: NDArray[np.uint8]


def photon_deposits(rng: np.random.Generator, photons: Photons) -> EnergyDeposits:
    """Simulate one energy deposit per absorbed photon, with Fano fluctuation."""
    mean = photons.energy / KEV_PER_PAIR
    charge = np.maximum(mean + np.sqrt(FANO * mean) * rng.standard_normal(len(mean)), 0.0)
    hit_type = np.full(len(mean), SYNCHROTRON, np.uint8)
    return EnergyDeposits(photons.sensor, photons.u, photons.v, photons.w, charge, hit_type)


def drift_to_gates(
    deposits: EnergyDeposits, parameters: Parameters, gate_w: float
) -> tuple[Numbers, Numbers]:
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
        pixel: int64 [m], sensor * rows * cols + row * cols + col.
        charge: [m], electrons.
        type: uint8 [m].
    """
    u, v = drift_to_gates(deposits, parameters, gate_w)
    row, to_row, row_fraction = _split(
        u * (1.0 / detector.pitch_u),
        detector.rows,
        np.float32(detector.pitch_u / parameters.diffusion_u_um),
    )
    column, pitch = _columns(deposits.sensor, v, detector)
    col, to_col, col_fraction = _split(
        column, detector.cols, pitch * np.float32(1.0 / parameters.diffusion_v_um)
    )
    here = (deposits.sensor * detector.rows + row) * detector.cols + col
    charge = deposits.charge.astype(np.float32)
    moved = charge * row_fraction
    to_row_too, to_col_too = row_fraction != 0, col_fraction != 0
    by_row, by_col, by_both = (
        some.nonzero()[0] for some in (to_row_too, to_col_too, to_row_too & to_col_too)
    )
    stayed = charge - moved
    some = moved.take(by_both) * col_fraction.take(by_both)
    aside = stayed.take(by_col) * col_fraction.take(by_col)
    stayed[by_col] -= aside
    moved[by_both] -= some
    above = here + to_row * detector.cols
    diagonal = above.take(by_both) + to_col.take(by_both)
    beside = here.take(by_col) + to_col.take(by_col)
    pixel = np.concatenate([here, above.take(by_row), beside, diagonal])
    shares = np.concatenate([stayed, moved.take(by_row), aside, some])
    kinds = (deposits.type, *(deposits.type.take(k) for k in (by_row, by_col, by_both)))
    return pixel, shares, np.concatenate(kinds)


def _columns(sensor: Ints, v: Numbers, detector: Detector) -> tuple[Numbers, Single]:
    """Fractional columns of positions v (um), and the pitch there."""
    split, outer, inner = (
        a.astype(np.float32).take(sensor)
        for a in (detector.split, detector.pitch_outer, detector.pitch_inner)
    )
    beyond = v > split
    pitch = np.where(beyond, inner, outer)
    start = np.where(beyond, split, np.float32(0.0))
    return (v - start) / pitch + start / outer, pitch


def _split(
    position: Numbers, cells: int, cell_over_sigma: np.float32 | Single
) -> tuple[NDArray[np.int32], NDArray[np.int32], Single]:
    """Find the cell of positions (in cells), the step to the nearest neighbour and its fraction.

    Fractions below 0.3 % are left out, and those beyond the last cell.
    """
    cell = np.clip(position.astype(np.int32), 0, cells - 1)
    offset = (position - cell).astype(np.float32) - np.float32(0.5)
    step = (offset > 0) * np.int32(2) - np.int32(1)
    distance = (np.float32(0.5) - np.abs(offset)) * cell_over_sigma
    at = (distance * np.float32(TAIL_BINS) + np.float32(0.5)).astype(np.int32)
    fraction: Single = _gauss_tail().take(at, mode="clip")
    neighbour = cell + step
    fraction *= (neighbour >= 0) & (neighbour < cells)
    return cell, step, fraction


@cache
def _gauss_tail() -> Single:
    """Probability beyond k / TAIL_BINS standard deviations, k = 0 .. 2.75 TAIL_BINS; then 0."""
    tail = ndtr(-np.arange(2.75 * TAIL_BINS) / TAIL_BINS).astype(np.float32)
    return np.append(tail, np.float32(0.0))
