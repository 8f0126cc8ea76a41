"""Materials that particles of the fast simulator cross: beam pipe and silicon."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kerasgen.data.simulation.charge import Single
from kerasgen.data.simulation.detector import BEAM_PIPE

MASS_MEV = 0.51099895


@dataclass(frozen=True)
class Matter:
    """A material for fast electrons; its columns are used as an array.

    Attributes:
        radiation_mm: radiation length (Particle Data Group).
        xi: MeV per mm, 0.1535 MeV cm2/g Z/A density: width of the loss.
        plasma_mev: plasma energy.
        chi2: MeV2 per mm, 0.157 MeV2 cm2/g Z (Z + 1) / A density: square of Moliere's
            characteristic angle times momentum times velocity.
        first: share of the scattering in a thin layer on the inner side.
    """

    radiation_mm: float
    xi: float
    plasma_mev: float
    chi2: float
    first: float = 0.0


def _matter(radiation_mm: float, z_over_a: float, density: float, charge: float) -> Matter:
    """Matter by its radiation length (mm), Z / A (mol/g), density (g/cm3) and mean Z."""
    electrons = z_over_a * density
    plasma = 28.816e-6 * float(np.sqrt(electrons))
    return Matter(radiation_mm, 0.01535 * electrons, plasma, 0.0157 * electrons * (charge + 1.0))


MATERIALS = {
    "G4_Au": _matter(3.344, 0.40108, 19.32, 79.0),
    "G4_Be": _matter(352.8, 0.44384, 1.848, 4.0),
    "G4_PARAFFIN": _matter(481.0, 0.57275, 0.93, 4.8),
}
SILICON = _matter(93.70, 0.49848, 2.329, 14.0)


def _mix(layers: tuple[tuple[str, float, float], ...]) -> Matter:
    """The average of layers of materials."""
    depth = np.array([outer - inner for _, inner, outer in layers])
    parts = [MATERIALS[name] for name, _, _ in layers]
    share = depth / depth.sum()
    xi = np.array([part.xi for part in parts]) * share
    radiation = 1.0 / (share / [part.radiation_mm for part in parts]).sum()
    plasma = np.exp((xi * np.log([part.plasma_mev for part in parts])).sum() / xi.sum())
    chi2 = (share * [part.chi2 for part in parts]).sum()
    first = share[0] / parts[0].radiation_mm * radiation
    return Matter(*map(float, (radiation, xi.sum(), plasma, chi2, first)))


INNER, OUTER = np.float32(BEAM_PIPE[0][1]), np.float32(BEAM_PIPE[-1][2])
# Columns: beam pipe, silicon.
MATTER = np.array([list(vars(m).values()) for m in (_mix(BEAM_PIPE), SILICON)], np.float32).T


def _slowing() -> Single:
    """What ``slow_down`` needs of ``MATTER``.

    Rows: 1 / radiation length; xi per mm; ln(2 m / plasma energy^2) + 0.2; chi2; square roots of
    the shares of the scattering in the thin layer and in the rest.
    """
    radiation, xi, plasma, chi2, first = MATTER
    logarithm = np.log(2.0 * MASS_MEV / plasma**2) + 0.2
    return np.stack([1.0 / radiation, xi, logarithm, chi2, np.sqrt(first), np.sqrt(1.0 - first)])


SLOWING = _slowing()
