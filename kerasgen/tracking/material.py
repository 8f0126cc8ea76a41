"""Material between the beam and the outermost strips: multiple scattering and energy loss.

Beam pipe: 10 um of gold, 0.6 mm of beryllium, 1 mm of paraffin and 0.4 mm of beryllium, from a
radius of 10 mm outwards (The Belle II Physics Book, arXiv:1808.10567). With radiation lengths and
minimum dE/dx of the Particle Data Group (Atomic and nuclear properties) this is 0.79 % of a
radiation length, of which gold is 0.30 %. Pixel layers: 0.2 % each (Belle II Technical Design
Report, arXiv:1011.0352). Strip layers: radii, 0.7 % each, and a resolution of about 10 um in r-phi
and 25 um in z from the silicon vertex detector (F. Forti, The Design, Construction, Operation and
Performance of the Belle II Silicon Vertex Detector, arXiv:2201.09824); they are modelled as
cylinders. All numbers are rounded: the detector resembles Belle II but is not its survey.
"""

from __future__ import annotations

import numpy as np

from kerasgen.data.simulation.detector import Floats

PION_GEV = 0.13957
PIPE_MM = 11.0
STRIPS_MM = (39.0, 80.0, 104.0, 135.0)
STRIP_RPHI_MM, STRIP_Z_MM = 0.010, 0.025
# Radiation lengths that a perpendicular track crosses.
PIPE, PIXELS, STRIPS = 0.0079, 0.002, 0.007
# Mean energy loss of a minimum-ionising particle per radiation length, GeV: 0.51 MeV in 0.79 % for
# the pipe, 1.664 MeV cm2/g times 21.82 g/cm2 for silicon.
PIPE_GEV, SILICON_GEV = 0.065, 0.0363


def beta(momentum: Floats) -> Floats:
    """Velocity of a pion of a momentum in GeV/c."""
    return momentum / np.hypot(momentum, PION_GEV)


def scattering_angle(momentum: Floats, thickness: Floats) -> Floats:
    """rms of the projected angle, rad, of a pion (Highland's formula).

    0.0136 GeV / (beta p) sqrt(x) (1 + 0.038 ln(x / beta^2)), from the review "Passage of particles
    through matter" of the Particle Data Group.

    Args:
        momentum: GeV/c.
        thickness: radiation lengths along the path; 0 without material.
    """
    length = np.maximum(thickness, 1e-12)
    velocity = beta(momentum)
    angle = 0.0136 / (velocity * momentum) * np.sqrt(length)
    angle = angle * (1 + 0.038 * np.log(length / velocity**2))
    return np.where(thickness > 0, angle, 0.0)


def momentum_loss(momentum: Floats, thickness: Floats, per_length_gev: float | Floats) -> Floats:
    """Mean momentum loss, GeV/c; the energy loss grows as 1 / beta^2 below minimum ionisation."""
    return thickness * per_length_gev / beta(momentum) ** 3
