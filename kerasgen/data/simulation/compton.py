"""Compton scattering of photons in the silicon of the sensors. Energies are in keV."""

from __future__ import annotations

import numpy as np

from kerasgen.data.simulation.detector import Floats
from kerasgen.data.simulation.electron_physics import MASS_KEV, momentum
from kerasgen.data.simulation.particles import Photons, SlowElectrons
from kerasgen.data.simulation.random_directions import rotate


def compton_electrons(rng: np.random.Generator, photons: Photons) -> SlowElectrons:
    """Sample the recoil electrons of Compton scattering on free electrons at rest.

    The fraction of energy that the photon keeps is sampled from the formula of O. Klein and
    Y. Nishina (Z. Phys. 52 (1929) 853) by J. C. Butcher and H. Messel's method (Nucl. Phys. 20
    (1960) 15); the angle of the electron follows from kinematics.

    Args:
        rng: random numbers.
        photons: n photons at the points where they scatter; energies in keV.
    """
    kept, lost_cosine = _klein_nishina(rng, photons.energy / MASS_KEV)
    energy = photons.energy * (1.0 - kept)
    # Momentum along the photon: k - k' cos(theta), over the momentum of the electron.
    along = photons.energy * (1.0 - kept * (1.0 - lost_cosine)) / momentum(energy)
    direction = rotate(rng, photons.direction.T, np.clip(along, -1.0, 1.0)).T
    return SlowElectrons(photons.sensor, photons.u, photons.v, photons.w, direction, energy)


def _klein_nishina(rng: np.random.Generator, energy: Floats) -> tuple[Floats, Floats]:
    """Sample energy kept by photons and 1 - cos(theta); energies in units of the electron mass."""
    kept, lost_cosine = np.ones(len(energy)), np.zeros(len(energy))
    todo = np.arange(len(energy))
    while len(todo):
        k = energy[todo]
        lowest = 1.0 / (1.0 + 2.0 * k)
        first = -np.log(lowest)
        second = 0.5 * (1.0 - lowest**2)
        which, r = rng.random(len(k)) * (first + second) < first, rng.random(len(k))
        e = np.where(which, lowest**r, np.sqrt(lowest**2 + (1.0 - lowest**2) * r))
        t = (1.0 - e) / (k * e)
        accepted = rng.random(len(k)) < 1.0 - e * t * (2.0 - t) / (1.0 + e**2)
        done = todo[accepted]
        kept[done], lost_cosine[done] = e[accepted], t[accepted]
        todo = todo[~accepted]
    return kept, lost_cosine
