"""Losses, ranges, elastic collisions and collisions with electrons of electrons in silicon.

Energies are in keV, lengths in um, momenta in keV/c.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.simulation.detector import Floats, Ints
from kerasgen.data.simulation.straggling import straggling_table

MASS_KEV = 510.99895
RADIUS_CM = 2.8179403e-13  # classical radius of the electron
ALPHA = 1.0 / 137.035999
BOHR_UM = 0.529177e-4
HBAR_KEV_UM = 1.973270e-4  # hbar c
CHARGE, MASS_NUMBER, DENSITY = 14, 28.0855, 2.329  # silicon; g/mol, g/cm3
AVOGADRO = 6.02214076e23
EXCITATION_KEV = 0.173
XI_KEV_UM = 0.1535375 * CHARGE / MASS_NUMBER * DENSITY * 0.1  # xi = XI * length / beta^2

# Density effect of silicon: R. M. Sternheimer, M. J. Berger, S. M. Seltzer, At. Data Nucl. Data
# Tables 30 (1984) 261: -C, x0, x1, a, m, delta0.
STERNHEIMER = (4.4351, 0.2014, 2.8715, 0.1492, 3.2546, 0.14)

DELTA_KEV = 30.0  # electrons knocked out with more energy are followed on their own
MOLLER_BOUND = 2.25  # largest weight of a collision of two electrons
TABLE = np.geomspace(1.0, 1e6, 4096)  # kinetic energies
LOG_STEP = float(np.log(TABLE[1] / TABLE[0]))


def beta_squared(energy: Floats) -> Floats:
    """Square of the velocity (units of c) of electrons of kinetic energy ``energy`` (keV)."""
    return energy * (energy + 2.0 * MASS_KEV) / (energy + MASS_KEV) ** 2


def momentum(energy: Floats) -> Floats:
    """Momentum (keV/c) of electrons of kinetic energy ``energy`` (keV)."""
    return np.sqrt(energy * (energy + 2.0 * MASS_KEV))


def density_effect(beta_gamma: Floats) -> Floats:
    """Density effect correction delta of silicon (Sternheimer et al. 1984, eq. 5 and table)."""
    c, x0, x1, a, m, delta0 = STERNHEIMER
    x = np.log10(beta_gamma)
    high = 2.0 * np.log(10.0) * x - c
    middle = high + a * np.clip(x1 - x, 0.0, None) ** m
    return np.where(x < x0, delta0 * 10.0 ** (2.0 * np.minimum(x - x0, 0.0)), middle)


def stopping_power(energy: Floats) -> Floats:
    """Mean collision loss of electrons in silicon, keV/um.

    Bethe's formula for electrons (ICRU Report 37, 1984, eq. 2.12 and 2.14), as in NIST's ESTAR;
    without shell correction, which is small above 10 keV.

    Args:
        energy: kinetic energies, keV.
    """
    tau = energy / MASS_KEV
    beta2 = beta_squared(energy)
    f = (1.0 - beta2) * (1.0 + tau**2 / 8.0 - (2.0 * tau + 1.0) * np.log(2.0))
    brackets = 2.0 * np.log(energy / EXCITATION_KEV) + np.log1p(0.5 * tau) + f
    brackets -= density_effect(momentum(energy) / MASS_KEV)
    return XI_KEV_UM / beta2 * brackets


def csda_range(energy: Floats) -> Floats:
    """Path length until electrons stop, um: integral of dT / stopping power from 1 keV."""
    inverse = TABLE / stopping_power(TABLE)
    steps = 0.5 * (inverse[1:] + inverse[:-1]) * LOG_STEP
    return np.interp(energy, TABLE, np.concatenate([[0.0], np.cumsum(steps)]))


def elastic_collisions(energy: Floats) -> tuple[Floats, Floats]:
    """Strength and screening of elastic collisions in silicon.

    Screened Rutherford scattering: collisions per length of deflection mu = (1 - cos theta) / 2
    are dN/dmu = K / (mu + A)^2, with K = n pi Z (Z + 1) r_e^2 (m c / (beta p))^2 and Moliere's
    screening A = (hbar / (2 p a))^2 (1.13 + 3.76 (alpha Z / beta)^2), a = 0.885 a_0 Z^(-1/3)
    (G. Moliere, Z. Naturforsch. 3a (1948) 78; H. A. Bethe, Phys. Rev. 89 (1953) 1256).

    Returns:
        K: 1/um.
        A: screening parameter.
    """
    p, beta2 = momentum(energy), beta_squared(energy)
    atoms = AVOGADRO * DENSITY / MASS_NUMBER  # per cm3
    area = np.pi * CHARGE * (CHARGE + 1) * RADIUS_CM**2 * MASS_KEV**2 / (beta2 * p**2)
    atom = 0.885 * BOHR_UM * CHARGE ** (-1.0 / 3.0)
    screening = (HBAR_KEV_UM / (2.0 * p * atom)) ** 2
    screening *= 1.13 + 3.76 * (ALPHA * CHARGE) ** 2 / beta2
    return atoms * area * 1e-4, screening


def inverse_transport_length(k: Floats, a: Floats, mu: Floats | float = 1.0) -> Floats:
    """Integral of 2 mu dN from 0 to ``mu``: mean loss of cos theta per um (small angles)."""
    return 2.0 * k * (np.log((mu + a) / a) - mu / (mu + a))


def restricted_stopping_power(energy: Floats) -> Floats:
    """Mean loss in collisions that transfer less than ``DELTA_KEV``, keV/um; energies in keV."""
    return restricted_table()[table_index(energy)]


def table_index(energy: NDArray) -> Ints:
    """Index of the nearest energy of ``TABLE``."""
    index = (np.log(energy) * (1.0 / LOG_STEP) + 0.5).astype(np.int64)
    return np.minimum(np.maximum(index, 0), len(TABLE) - 1)


@cache
def loss_table() -> NDArray[np.float32]:
    """Quantiles of the fluctuation of the loss in collisions below ``DELTA_KEV``."""
    return straggling_table(float(restricted_table()[-1]), DELTA_KEV)


@cache
def restricted_table() -> Floats:
    """Restricted stopping power at the energies of ``TABLE``, keV/um."""
    top = np.maximum(0.5 * TABLE, DELTA_KEV)
    share = (np.arange(64) + 0.5) / 64
    transfer = DELTA_KEV * (top / DELTA_KEV)[:, None] ** share
    mean = moller_weight(TABLE[:, None], transfer).mean(1) * np.log(top / DELTA_KEV)
    return stopping_power(TABLE) - XI_KEV_UM / beta_squared(TABLE) * mean


def moller_weight(energy: Floats, transfer: Floats) -> Floats:
    """Factor on the spectrum xi / T^2 of energies T that electrons give to electrons.

    C. Moller, Ann. Phys. 14 (1932) 531, as in ICRU Report 37, eq. 2.11; T up to half the energy.

    Args:
        energy: kinetic energy of the electron, keV.
        transfer: energy T, keV.
    """
    gamma = 1.0 + energy / MASS_KEV
    x = transfer / energy
    y = x / (1.0 - x)
    return 1.0 + y * y + ((gamma - 1.0) / gamma * x) ** 2 - (2.0 * gamma - 1.0) / gamma**2 * y


def bhabha_weight(energy: Floats, transfer: Floats) -> Floats:
    """Factor on the spectrum xi / T^2 of energies T that positrons give to electrons.

    H. J. Bhabha, Proc. Roy. Soc. A154 (1936) 195, in the limit of high energy: T up to the energy.
    """
    x = transfer / energy
    return (1.0 - x + x * x) ** 2


def recoil_cosine(energy: Floats, transfer: Floats) -> Floats:
    """Cosine of the angle between an electron and one at rest to which it gives ``transfer``."""
    square = transfer * (energy + 2.0 * MASS_KEV) / (energy * (transfer + 2.0 * MASS_KEV))
    return np.sqrt(np.minimum(square, 1.0))
