"""Electrons that fast electrons and positrons knock out in the silicon of a sensor."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.simulation.detector import Floats, Ints
from kerasgen.data.simulation.electron_physics import (
    DELTA_KEV,
    MOLLER_BOUND,
    XI_KEV_UM,
    beta_squared,
    bhabha_weight,
    csda_range,
    moller_weight,
    recoil_cosine,
)
from kerasgen.data.simulation.electrons import ESCAPE_KEV
from kerasgen.data.simulation.particles import SlowElectrons
from kerasgen.data.simulation.random_directions import rotate


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
