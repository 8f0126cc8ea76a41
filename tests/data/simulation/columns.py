"""Positions of the columns of a sensor."""

from __future__ import annotations

import numpy as np

from kerasgen.data.simulation.detector import Detector, Floats, Ints


def column_edge(detector: Detector, sensor: Ints, column: Floats) -> Floats:
    """Position v (um) of a fractional column; inverse of ``column_position``."""
    split, outer = detector.split[sensor], detector.pitch_outer[sensor]
    change = split / outer
    return np.where(
        column > change, split + (column - change) * detector.pitch_inner[sensor], column * outer
    )
