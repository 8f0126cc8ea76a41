"""Material between the beam and the outermost strips: multiple scattering and energy loss.

Thickness and radii are those of the Belle II beam pipe and vertex detector (Belle II Technical
Design Report, arXiv:1011.0352): a beam pipe of beryllium between 10 and 12 mm, 0.75 % of a
radiation length; two pixel layers of 0.2 %; four strip layers of 0.7 %. The strip layers are
cylinders here, with a resolution of 10 um in r-phi and 25 um in z.
"""

from __future__ import annotations

import numpy as np

from kerasgen.data.simulation.detector import Floats

PION_GEV = 0.13957
PIPE_MM = 11.0
STRIPS_MM = (39.0, 80.0, 104.0, 135.0)
STRIP_RPHI_MM, STRIP_Z_MM = 0.010, 0.025
# Radiation lengths that a perpendicular track crosses.
PIPE, PIXELS, STRIPS = 0.0075, 0.002, 0.007
# Mean energy that a minimum-ionising particle loses in one radiation length, GeV: smallest dE/dx
# times density times radiation length (Particle Data Group, Atomic and nuclear properties).
BERYLLIUM_GEV, SILICON_GEV = 0.104, 0.0363


def beta(momentum: Floats) -> Floats:
    """Velocity of a pion of a momentum in GeV/c."""
    return momentum / np.hypot(momentum, PION_GEV)


def scattering_angle(momentum: Floats, thickness: Floats) -> Floats:
    """rms of the projected angle, rad, of a pion (Particle Data Group, eq. 34.16; Highland).

    Args:
        momentum: GeV/c.
        thickness: radiation lengths along the path; 0 where there is nothing.
    """
    length = np.maximum(thickness, 1e-12)
    angle = 0.0136 / (beta(momentum) * momentum) * np.sqrt(length) * (1 + 0.038 * np.log(length))
    return np.where(thickness > 0, angle, 0.0)


def momentum_loss(momentum: Floats, thickness: Floats, per_length_gev: float | Floats) -> Floats:
    """GeV/c lost on average, growing as 1 / beta^2 below the minimum of ionisation."""
    return thickness * per_length_gev / beta(momentum) ** 3
