"""The volumes of a simulation, and those of the pixel vertex detector.

Numbers of the module: ``pxd/data/PXD-Components.xml`` of basf2. Not there: readout chips and
switchers (0.4 mm of silicon beside the sensitive area), thinned grooves of the rims, solder and
glue, the strip detector, cooling blocks, and all material upstream of the beam pipe.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kerasgen.data.geometry import Geometry
from kerasgen.data.simulation.detector import (
    BEAM_PIPE,
    MODULE_HEIGHT_MM,
    WINDOW_LENGTH_MM,
    WINDOW_U_MM,
    WINDOW_V_MM,
    WINDOW_WIDTH_MM,
    Detector,
    Floats,
    ladder_axes,
)


@dataclass(frozen=True)
class Box:
    """A box of silicon.

    Attributes:
        centre: [3] mm.
        axes: [3, 3] unit vectors along its sides, right-handed.
        size: [3] mm, along the axes.
        sensitive: whether energy deposits are recorded.
    """

    centre: Floats
    axes: Floats
    size: Floats
    sensitive: bool


@dataclass(frozen=True)
class World:
    """Volumes in vacuum and a uniform field along z.

    Attributes:
        boxes: boxes of silicon; they may touch, not overlap.
        tubes: material (NIST name), inner and outer radius in mm, around z.
        field: tesla.
    """

    boxes: list[Box]
    tubes: tuple[tuple[str, float, float], ...]
    field: float


def pxd_world(geometry: Geometry, detector: Detector) -> World:
    """The sensors with their modules, and the beam pipe."""
    boxes = [
        box
        for sensor, of in enumerate(geometry.sensors)
        for box in _module(detector, sensor, of.layer, geometry)
    ]
    return World(boxes, BEAM_PIPE, detector.field)


def _module(detector: Detector, sensor: int, layer: int, geometry: Geometry) -> list[Box]:
    """The sensitive area of a sensor and the silicon around and below it."""
    silicon, table = geometry.extra["silicon"], geometry.extra["layers"][str(layer)]
    width, length = float(silicon["module_width_mm"]), float(table["module_length_mm"])
    u0, v0 = float(silicon["active_u0_mm"]), float(table["active_v0_mm"])
    half = 0.5e-3 * detector.thickness
    top = (-half, half)
    support = (half - MODULE_HEIGHT_MM, -half)
    active = (
        (u0, u0 + 1e-3 * detector.width),
        (v0, v0 + 1e-3 * float(detector.length[sensor])),
    )
    window = (
        (WINDOW_U_MM - 0.5 * WINDOW_WIDTH_MM, WINDOW_U_MM + 0.5 * WINDOW_WIDTH_MM),
        (
            WINDOW_V_MM[layer] - 0.5 * WINDOW_LENGTH_MM[layer],
            WINDOW_V_MM[layer] + 0.5 * WINDOW_LENGTH_MM[layer],
        ),
    )
    parts = [((*active, top), True)]
    for hole, heights in ((active, top), (window, support)):
        parts += [((*side, heights), False) for side in _frame(hole, width, length)]
    return [_place(detector, sensor, u0, v0, ranges, sensitive) for ranges, sensitive in parts]


Range = tuple[float, float]


def _frame(hole: tuple[Range, Range], width: float, length: float) -> list[tuple[Range, Range]]:
    """The four rectangles around a hole in the module, in its coordinates (mm)."""
    (u_low, u_high), (v_low, v_high) = hole
    return [
        ((0.0, u_low), (0.0, length)),
        ((u_high, width), (0.0, length)),
        ((u_low, u_high), (0.0, v_low)),
        ((u_low, u_high), (v_high, length)),
    ]


def _place(
    detector: Detector,
    sensor: int,
    u0: float,
    v0: float,
    ranges: tuple[Range, Range, Range],
    sensitive: bool,
) -> Box:
    """A box of the module by its ranges of u, v (mm from a corner of the module) and w (mm)."""
    index = np.array([sensor])
    e, n = (axis[0] for axis in ladder_axes(detector, index))
    ladder = detector.ladder[sensor]
    u, v, w = (0.5 * (low + high) for low, high in ranges)
    along = detector.u_low[ladder] - u0 + u
    outward = detector.distance[ladder] + (-w if detector.flipped[sensor] else w)
    if detector.forward[sensor]:
        z = detector.z_high[sensor] + v0 - v
    else:
        z = detector.z_low[sensor] - v0 + v
    beam = np.array([0.0, 0.0, 1.0])
    size = np.array([high - low for low, high in ranges])
    return Box(along * e + outward * n + z * beam, np.stack([e, beam, n]), size, sensitive)
