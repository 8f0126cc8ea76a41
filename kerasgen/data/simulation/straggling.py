"""Fluctuations of the energy loss of fast electrons in thin silicon.

Straggling functions by convolution of the spectrum of single collisions (H. Bichsel, Rev. Mod.
Phys. 60 (1988) 663, sec. IV). The spectrum is that of a particle of v = c with the density effect
(W. W. M. Allison and J. H. Cobb, Annu. Rev. Nucl. Part. Sci. 30 (1980) 253, eq. 2.10, for energies
above the plasmon):

dN/dE = xi [f(E) / E ln(2 m E / (hbar omega)^2) + F(E) / E^2],

with f the oscillator strength of the L and K shells, F its integral up to E together with the M
shell, and omega the plasma frequency of all electrons. The M shell makes plasmons of 17 eV; their
number gives the mean loss of Bethe's formula. Strengths fall as a power of the energy from the
edge of their shell: that of the K shell as photoabsorption does, that of the L shell such that the
mean excitation energy is 173 eV.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.simulation.detector import Floats

XI_KEV_UM = 17.83e-3  # for v = c: 0.1535 MeV cm2/g * Z/A * density of silicon
MASS_KEV = 510.99895
PLASMA_KEV = 31.05e-3
PLASMON_KEV = 16.9e-3
EXCITATION_KEV = 0.173
M_SHELL, L_SHELL, K_SHELL = 4 / 14, 8.2 / 14, 1.8 / 14  # oscillator strengths
L_EDGE, K_EDGE = 0.1, 1.839  # keV
K_POWER = 2.75

LENGTHS = 2.0 ** np.arange(-2.0, 6.5, 0.5)  # um
SHORTEST_UM = np.float32(1e-3)  # a step may have no length
BINS = 4096  # of the probability
WIDTH_KEV = 0.005
ENERGY_BINS = 2**14


def _l_power() -> float:
    """Power of the L strength: sum of strength * mean ln(energy) = ln(mean excitation energy)."""
    others = M_SHELL * np.log(PLASMON_KEV) + K_SHELL * (np.log(K_EDGE) + 1.0 / (K_POWER - 1.0))
    mean = (np.log(EXCITATION_KEV) - others) / L_SHELL
    return 1.0 + 1.0 / float(mean - np.log(L_EDGE))


def collision_spectrum(energy: Floats) -> Floats:
    """Collisions per um and keV with the L and K shells and close ones with all electrons.

    Args:
        energy: keV.
    """
    strength, integral = np.zeros(len(energy)), np.full(len(energy), M_SHELL)
    shells = ((L_SHELL, L_EDGE, _l_power()), (K_SHELL, K_EDGE, K_POWER))
    for total, edge, power in shells:
        ratio = np.maximum(energy / edge, 1.0)
        strength += np.where(energy > edge, total * (power - 1.0) / edge * ratio**-power, 0.0)
        integral += total * (1.0 - ratio ** (1.0 - power))
    distant = strength / energy * np.log(2.0 * MASS_KEV * energy / PLASMA_KEV**2)
    close = np.where(energy > 2.0 * PLASMON_KEV, integral / energy**2, 0.0)
    return XI_KEV_UM * (distant + close)


@cache
def straggling_table(mean_kev_um: float, largest_kev: float) -> NDArray[np.float32]:
    """Quantiles of the loss of steps, less their mean, keV.

    Args:
        mean_kev_um: mean loss.
        largest_kev: largest energy of a collision.

    Returns:
        float32 [len(LENGTHS), BINS], at the middle of equal bins of the probability.
    """
    centres = (np.arange(ENERGY_BINS, dtype=np.float64) + 0.5) * WIDTH_KEV
    number = np.where(centres < largest_kev, collision_spectrum(centres), 0.0) * WIDTH_KEV
    plasmons = max(mean_kev_um - float((number * centres).sum()), 0.0) / PLASMON_KEV
    omega = 2.0 * np.pi * np.fft.rfftfreq(ENERGY_BINS, WIDTH_KEV)
    exponent = np.fft.rfft(number) * np.exp(-0.5j * omega * WIDTH_KEV) - number.sum()
    exponent += plasmons * np.expm1(-1j * omega * PLASMON_KEV)
    # A width of one bin makes the density smooth.
    smooth = np.exp(-0.5 * (1.5 * WIDTH_KEV * omega) ** 2)
    shift = 10.0 * WIDTH_KEV
    probability = (np.arange(BINS) + 0.5) / BINS
    edges = np.arange(ENERGY_BINS + 1) * WIDTH_KEV - shift - 0.5 * WIDTH_KEV
    table = np.empty((len(LENGTHS), BINS))
    for row, length in zip(table, LENGTHS, strict=True):
        density = np.fft.irfft(np.exp(length * exponent - 1j * omega * shift) * smooth)
        below = np.concatenate([[0.0], np.cumsum(np.maximum(density, 0.0))])
        row[:] = np.interp(probability, below / below[-1], edges)
        row -= row.mean()
    return table.astype(np.float32)


def fluctuation(
    rng: np.random.Generator, length_um: NDArray[np.float32], table: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Sample losses less their mean (keV) of particles of v = c in steps of given lengths."""
    place = np.log2(np.maximum(length_um, SHORTEST_UM)) * 2.0 + np.float32(4.0)
    place += rng.random(len(place), np.float32)  # between two lengths of the table by chance
    row = np.minimum(np.maximum(place.astype(np.int64), 0), len(LENGTHS) - 1)
    column = rng.integers(0, BINS, len(place), np.int32)
    ratio = length_um * (1.0 / LENGTHS).astype(np.float32).take(row)
    return table.ravel().take(row * BINS + column) * ratio
