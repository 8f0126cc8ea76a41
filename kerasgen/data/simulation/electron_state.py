"""State of the electrons that ``electrons`` follows through a sensor.

Its rows, float32 [13, n]: position (um), direction, energy (keV), rest of the step (um), curvature
times momentum, whether it is part of a track, and of its sensor; see ``start``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.simulation.charge import Single
from kerasgen.data.simulation.detector import Detector, Floats
from kerasgen.data.simulation.particles import SlowElectrons

LIGHT_KEV_UM = 0.299792458  # momentum in keV/c = LIGHT * field in tesla * radius in um
# Rows of the state of electrons on their way, float32 [13, n].
POSITION, DIRECTION, ENERGY, REST, BEND, TRACK = slice(0, 3), slice(3, 6), 6, 7, 8, 9
LENGTH, INDEX, SENSOR = 10, 11, 12


def start(
    electrons: SlowElectrons,
    detector: Detector,
    sign: Floats | float,
    track: NDArray[np.bool_] | bool,
) -> Single:
    """State of electrons at their start."""
    state = np.zeros((13, len(electrons.u)), np.float32)
    state[POSITION] = electrons.u, electrons.v, electrons.w
    state[DIRECTION] = electrons.direction.T
    state[5] += np.float32(1e-6) * (state[5] == 0)  # not along the face
    state[ENERGY] = electrons.energy
    state[BEND] = LIGHT_KEV_UM * detector.field * np.asarray(sign)
    state[TRACK], state[LENGTH] = track, detector.length[electrons.sensor]
    state[INDEX], state[SENSOR] = np.arange(len(electrons.u)), electrons.sensor
    return state
