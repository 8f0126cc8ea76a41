"""Electrons that particles knock out of beam pipe and modules with much energy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.simulation.charge import Numbers, Single
from kerasgen.data.simulation.detector import Floats, Ints
from kerasgen.data.simulation.electron_physics import MOLLER_BOUND, bhabha_weight, moller_weight
from kerasgen.data.simulation.helices import AZIMUTH, COT, MOMENTUM, TURN, directions
from kerasgen.data.simulation.matter import MASS_MEV
from kerasgen.data.simulation.random_directions import rotate

KNOCKED_MEV = 0.1  # electrons knocked out with more energy are followed


def knock_out(
    rng: np.random.Generator, energy: Floats, positive: NDArray[np.bool_], xi: Floats
) -> tuple[Ints, Floats]:
    """Sample electrons knocked out with more than ``KNOCKED_MEV``, at most one per particle.

    Args:
        rng: random numbers.
        energy: [n] kinetic energies, MeV.
        positive: [n] whether it is a positron.
        xi: [n] MeV; the spectrum of the energy T is xi / T^2 times Moller's or Bhabha's factor.

    Returns:
        parent: [m] row of the particle.
        transfer: [m] energy of the electron, MeV.
    """
    top = np.float32(0.5) * energy * (np.float32(1.0) + positive)
    spread = 1.0 / KNOCKED_MEV - 1.0 / np.maximum(top, np.float32(KNOCKED_MEV))
    parent = (rng.random(len(xi), np.float32) < MOLLER_BOUND * xi * spread).nonzero()[0]
    if not len(parent):
        return parent, energy[:0]
    transfer = 1.0 / (1.0 / KNOCKED_MEV - rng.random(len(parent)) * spread[parent])
    of = energy[parent]
    moller = moller_weight(1e3 * of, 1e3 * np.minimum(transfer, 0.5 * of))
    weight = np.where(positive[parent], bhabha_weight(of, transfer), moller)
    kept = rng.random(len(parent)) * MOLLER_BOUND < weight
    return parent[kept], transfer[kept]


@dataclass(frozen=True)
class Waiting:
    """Electrons knocked out of matter, to be followed from the next piece on.

    Attributes:
        parents: [9, n] state of the particles that knock them out.
        energy: MeV, kinetic.
        cosine: of the angle to the parent.
        matter: 0: beam pipe, 1: module.
        normal: rad, azimuth of its normal.
        height: mm, of the matter.
        came_out: whether ``parents`` are on the outer face of a module.
    """

    parents: Single
    energy: Numbers
    cosine: Numbers
    matter: Ints
    normal: Single
    height: Single
    came_out: NDArray[np.bool_]


def release(rng: np.random.Generator, electrons: Waiting) -> tuple[Single, Single, Single]:
    """Start electrons in matter, at a random depth.

    Returns:
        their state.
        length: mm, of their path through the rest of the matter.
        depth: mm, of the rest along its normal.
    """
    e = electrons
    state = _electrons(rng, e.parents, e.energy, e.cosine)
    across = np.cos(state[AZIMUTH] - e.normal) / np.sqrt(1.0 + state[COT] ** 2)
    depth = e.height * rng.random(len(e.height), np.float32)
    return state, depth / np.maximum(np.abs(across), np.float32(0.05)), depth


def _electrons(
    rng: np.random.Generator, parents: Single, energy: Numbers, cosine: Numbers
) -> Single:
    """State of electrons that particles knock out, at the place of these."""
    new = parents
    x, y, z = rotate(rng, directions(parents), cosine)
    new[AZIMUTH], new[COT] = np.arctan2(y, x), z / np.maximum(np.hypot(x, y), np.float32(1e-6))
    new[MOMENTUM], new[TURN] = np.sqrt(energy * (energy + 2.0 * MASS_MEV)), 1.0
    return new
