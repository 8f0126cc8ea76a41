"""Energy loss and deflection of particles in a piece of matter.

Losses from the most probable value of L. D. Landau (J. Phys. 8 (1944) 201) with the density effect
and fluctuations of J. E. Moyal (Phil. Mag. 46 (1955) 263), deflections from V. L. Highland's
formula (Nucl. Instrum. Meth. 129 (1975) 497; PDG review, eq. 34.16).
"""

from __future__ import annotations

import numpy as np

from kerasgen.data.simulation.charge import Numbers, Single
from kerasgen.data.simulation.detector import Ints
from kerasgen.data.simulation.electron_physics import recoil_cosine
from kerasgen.data.simulation.helices import AZIMUTH, COT, MOMENTUM, TURN, X, Y, Z
from kerasgen.data.simulation.knocked_out import knock_out
from kerasgen.data.simulation.matter import MASS_MEV, SLOWING
from kerasgen.data.simulation.random_directions import normal_numbers

HARD = 2.5  # collisions by more than this times the width of the normal deflection are single ones


def slow_down(
    rng: np.random.Generator,
    state: Single,
    length: Single,
    matter: Ints,
    normal: Single,
    height: Single,
) -> tuple[Ints, Numbers, Numbers]:
    """Let particles lose energy and turn their directions in matter.

    A particle that is scattered towards the normal has a shorter path, and the reverse; the mean
    deflection on the way of one that is scattered by z_2 standard deviations is z_1 / sqrt(12) +
    z_2 / 2 of them (PDG review, eq. 34.20). The momentum of those that stop becomes 0.

    Args:
        rng: random numbers.
        state: n particles.
        length: [n] mm, of the path without scattering.
        matter: [n] row of ``MATTER``.
        normal: [n] azimuth of the normal of the matter.
        height: [n] mm, of the matter along its normal.

    Returns:
        parent: [m] row of particles that knock an electron out with more than ``KNOCKED_MEV``.
        energy: [m] its energy, MeV.
        cosine: [m] of the angle to its parent.
    """
    n = len(length)
    per_radiation, xi_per_mm, logarithm, chi2, first, rest = SLOWING.take(matter, axis=1)
    azimuth, cot, before = state[AZIMUTH], state[COT], state[MOMENTUM]
    kinetic = np.sqrt(before * before + np.float32(MASS_MEV**2)) - np.float32(MASS_MEV)
    beta2 = before / (kinetic + np.float32(MASS_MEV))
    beta2 *= beta2
    xi_way = xi_per_mm * length
    about = np.maximum(before - np.float32(10.0) * xi_way, np.float32(0.3) * before)
    depth = length * per_radiation + np.float32(1e-9)
    width = np.sqrt(depth) * (np.float32(13.6 * 0.038) * np.log(depth) + np.float32(13.6))
    width = np.minimum(width / (beta2 * about), np.float32(1.0))
    scale = 1.0 / np.sqrt(1.0 + cot * cot)
    from_normal = azimuth - normal
    along, across = np.cos(from_normal), np.sin(from_normal)
    numbers = normal_numbers(rng, (7, n))
    outwards = along > 0
    early, late = first * width, rest * width
    one, two = turns = early * numbers[:2] + late * numbers[2:4]
    early *= outwards
    on_way = np.float32(12**-0.5) * numbers[4:6] + np.float32(0.5) * numbers[2:4]
    on_way = late * on_way + early * numbers[:2]
    tilt = cot * scale
    shift = on_way[0] * across + on_way[1] * tilt * along
    cosine = height / np.maximum(length, height + np.float32(1e-6))
    now = np.abs(cosine + np.where(outwards, -shift, shift))
    # Deflections before the middle move the path aside.
    aside = (length * (matter == 0)) * (on_way - np.float32(0.5) * turns)
    cos_psi, sin_psi = np.cos(azimuth), np.sin(azimuth)
    back = aside[1] * tilt
    state[X] -= aside[0] * sin_psi + back * cos_psi
    state[Y] += aside[0] * cos_psi - back * sin_psi
    state[Z] += aside[1] * scale
    cosine /= np.maximum(now, np.float32(0.5) * cosine + np.float32(1e-6))
    xi = xi_way * cosine / beta2 + np.float32(1e-9)
    moyal = numbers[6] * numbers[6] + np.float32(1e-9)
    loss = np.maximum(xi * (logarithm + np.log(xi / moyal)), np.float32(0.0))
    parent, knocked = knock_out(rng, kinetic, state[TURN] < 0, xi)
    recoil = recoil_cosine(1e3 * kinetic[parent], 1e3 * knocked)
    loss[parent] += knocked
    after = np.maximum(kinetic - loss, np.float32(0.0))
    state[MOMENTUM] = np.sqrt(after * (after + np.float32(2.0 * MASS_MEV)))
    # Single collisions beyond the normal distribution: a fraction chi^2 / angle^2 above an angle.
    least = np.float32(HARD) * np.maximum(width, np.float32(1e-6))
    chance = state[MOMENTUM] * least  # after the loss
    chance = chi2 * length * cosine / (beta2 * (chance * chance) + np.float32(1e-12))
    some = (rng.random(n, np.float32) < chance).nonzero()[0]
    if len(some):
        angle = np.minimum(least[some] / np.sqrt(1.0 - rng.random(len(some), np.float32)), 1.5)
        side, angle = 2.0 * np.pi * rng.random(len(some), np.float32), np.tan(angle)
        one[some], two[some] = angle * np.cos(side), angle * np.sin(side)
    forwards = scale - two * tilt
    # Turned by an angle in the transverse plane: tan = one / forwards.
    azimuth += np.arctan2(one, forwards)
    state[COT] = (cot + two) * scale / np.sqrt(forwards * forwards + one * one)
    return parent, knocked, recoil
