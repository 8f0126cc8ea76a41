"""Planes and pixels of the detector as arrays, built from a geometry table.

Frame of a ladder: the normal n points away from the beam at azimuth phi, e = (-sin phi, cos phi)
lies along r-phi, z along the beam. Frame of a sensor, in um: ``u`` lies along its rows and ``v``
along its columns, both from 0 at an edge of the active area; ``w`` points to the side of the gates,
from -thickness/2 to +thickness/2. Column 0 is at the outer end (largest pitch first) on both sides.
The gates of layer 1 face the beam pipe (``flipW``), so rows of layer 1 run against phi: the drift
is then the same in the frame of every sensor, and so is the sign of the Lorentz shift.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.errors import InputError

TABLES = ("silicon", "layers", "digitizer")
# Module, from ``pxd/data/PXD-Components.xml`` of basf2.
MODULE_HEIGHT_MM = 0.420  # rim and support; the sensitive area is thinned from below
WINDOW_U_MM, WINDOW_WIDTH_MM = 7.0, 12.0  # thinned window: centre and width along u
WINDOW_V_MM = {1: 45.39, 2: 53.888}  # layer: centre along v
WINDOW_LENGTH_MM = {1: 44.775, 2: 61.775}
# Double-walled beam pipe with coolant: material, inner and outer radius in mm.
BEAM_PIPE = (
    ("G4_Au", 9.99, 10.0),
    ("G4_Be", 10.0, 10.6),
    ("G4_PARAFFIN", 10.6, 11.6),
    ("G4_Be", 11.6, 12.0),
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Columns = TypeVar("Columns")


@dataclass(frozen=True)
class Detector:
    """Detector as arrays over ladders [L] and sensors [S], in mm and radians (pitches in um).

    Attributes:
        phi, distance: [L] azimuth of the normal, distance of the plane from the beam axis.
        u_low, u_high: [L] range of the active area along e.
        ladder: [S] ladder of each sensor.
        z_low, z_high: [S] range of the active area along z.
        forward: [S] whether the outer end is at the higher z.
        flipped: [S] whether w points to the beam.
        module_u, module_v: [S, 2] um, range of the module around the active area in u and v.
        window_u, window_v: [S, 2] um, range of the window that is thinned to the active layer;
            beside it the module is ``MODULE_HEIGHT_MM`` high, down from the face at positive w.
        split, pitch_outer, pitch_inner: [S] um, v at which the column pitch changes, and both
            pitches.
        pitch_u, thickness, field: row pitch and thickness in um, field in tesla.
        rows, cols: pixels of a sensor.
    """

    phi: Floats
    distance: Floats
    u_low: Floats
    u_high: Floats
    ladder: Ints
    z_low: Floats
    z_high: Floats
    forward: NDArray[np.bool_]
    flipped: NDArray[np.bool_]
    module_u: Floats
    module_v: Floats
    window_u: Floats
    window_v: Floats
    split: Floats
    pitch_outer: Floats
    pitch_inner: Floats
    pitch_u: float
    thickness: float
    field: float
    rows: int
    cols: int

    @property
    def width(self) -> float:
        """Active width along u, um."""
        return self.rows * self.pitch_u

    @property
    def length(self) -> Floats:
        """Active length along v, um, [S]."""
        return (self.z_high - self.z_low) * 1000.0


def build_detector(geometry: Geometry) -> Detector:
    """Build the planes and pixels of a geometry.

    Raises:
        InputError: no silicon, layer or digitizer table, or no sensor placement.
    """
    missing = [t for t in TABLES if t not in geometry.extra]
    placed = all(s.phi_deg is not None and s.z_mm is not None for s in geometry.sensors)
    if missing or not placed:
        raise InputError(
            f"geometry {geometry.name!r} cannot be simulated: it has no "
            f"{' and no '.join(missing) or 'sensor placement'} (allowed: belle2-pxd)"
        )
    silicon, layers = geometry.extra["silicon"], geometry.extra["layers"]
    keys = sorted({(s.layer, s.ladder) for s in geometry.sensors})
    first = {k: next(s for s in geometry.sensors if (s.layer, s.ladder) == k) for k in keys}
    # The active area is not centred on its module, and the windmill shifts the module along r-phi.
    low = (
        silicon["shift_rphi_mm"] - 0.5 * silicon["module_width_mm"] + silicon["active_u0_mm"]
    ) * np.ones(len(keys))
    tables = [layers[str(s.layer)] for s in geometry.sensors]
    z = np.array([s.z_mm for s in geometry.sensors], float)
    flipped = np.array([bool(t["flipW"]) for t in tables])
    u0, v0 = silicon["active_u0_mm"], np.array([t["active_v0_mm"] for t in tables])
    module_u, window_u = (
        1e3 * np.where(flipped[:, None], silicon["active_width_mm"] - side[::-1], side)
        for side in (
            np.array([0.0, silicon["module_width_mm"]]) - u0,
            WINDOW_U_MM + 0.5 * WINDOW_WIDTH_MM * np.array([-1.0, 1.0]) - u0,
        )
    )
    lengths = np.array([t["module_length_mm"] for t in tables])
    middle, half = (
        np.array([table[s.layer] for s in geometry.sensors])
        for table in (WINDOW_V_MM, {k: 0.5 * x for k, x in WINDOW_LENGTH_MM.items()})
    )
    return Detector(
        phi=np.deg2rad([float(first[k].phi_deg or 0.0) for k in keys]),
        distance=np.array([layers[str(k[0])]["radius_mm"] for k in keys], float),
        u_low=low,
        u_high=low + silicon["active_width_mm"],
        ladder=np.array([keys.index((s.layer, s.ladder)) for s in geometry.sensors]),
        z_low=z[:, 0],
        z_high=z[:, 1],
        forward=z.mean(1) > 0,
        flipped=flipped,
        module_u=module_u,
        module_v=1e3 * np.stack([-v0, lengths - v0], axis=1),
        window_u=window_u,
        window_v=1e3 * np.stack([middle - half - v0, middle + half - v0], axis=1),
        split=np.array([t["split_mm"] * 1000.0 for t in tables]),
        pitch_outer=np.array([t["pitch_v_um_outer_512"] for t in tables]),
        pitch_inner=np.array([t["pitch_v_um_inner_256"] for t in tables]),
        pitch_u=float(silicon["pitch_u_um"]),
        thickness=float(silicon["thickness_um"]),
        field=float(silicon["field_T"]),
        rows=geometry.rows,
        cols=geometry.cols,
    )


def column_position(detector: Detector, sensor: Ints, v: Floats) -> Floats:
    """Fractional column of positions v (um) on sensors: 0 at the outer edge."""
    split = detector.split[sensor]
    outer = detector.pitch_outer[sensor]
    inside = v > split
    return np.where(inside, split / outer + (v - split) / detector.pitch_inner[sensor], v / outer)


def column_centre(detector: Detector, sensor: Ints, column: Floats) -> Floats:
    """v in um of a fractional column number; inverse of ``column_position``."""
    outer, split = detector.pitch_outer[sensor], detector.split[sensor]
    return np.where(
        column * outer < split,
        column * outer,
        split + (column - split / outer) * detector.pitch_inner[sensor],
    )


def ladder_axes(detector: Detector, sensor: Ints) -> tuple[Floats, Floats]:
    """Unit vectors of the ladder of each sensor: e along r-phi and n outward; both [n, 3]."""
    phi = detector.phi[detector.ladder[sensor]]
    zero = np.zeros_like(phi)
    e = np.stack([-np.sin(phi), np.cos(phi), zero], axis=-1)
    n = np.stack([np.cos(phi), np.sin(phi), zero], axis=-1)
    return e, n


def to_sensor(detector: Detector, sensor: Ints, point: Floats) -> tuple[Floats, Floats, Floats]:
    """Convert points of the laboratory to the frames of their sensors.

    Args:
        detector: planes and pixels.
        sensor: [n] index of the sensor.
        point: [n, 3] mm.

    Returns:
        u, v, w: [n] um.
    """
    ladder, (e, n) = detector.ladder[sensor], ladder_axes(detector, sensor)
    u = 1e3 * ((point * e).sum(axis=1) - detector.u_low[ladder])
    w = 1e3 * ((point * n).sum(axis=1) - detector.distance[ladder])
    z = point[:, 2]
    forward, flipped = detector.forward[sensor], detector.flipped[sensor]
    v = 1e3 * np.where(forward, detector.z_high[sensor] - z, z - detector.z_low[sensor])
    return np.where(flipped, detector.width - u, u), v, np.where(flipped, -w, w)


def to_laboratory(detector: Detector, sensor: Ints, u: Floats, v: Floats, w: Floats) -> Floats:
    """Convert points u, v, w (um, [n]) in the frames of sensors to the laboratory: [n, 3] mm."""
    ladder, (e, n) = detector.ladder[sensor], ladder_axes(detector, sensor)
    forward, flipped = detector.forward[sensor], detector.flipped[sensor]
    along = 1e-3 * np.where(flipped, detector.width - u, u) + detector.u_low[ladder]
    outward = 1e-3 * np.where(flipped, -w, w) + detector.distance[ladder]
    z = np.where(forward, detector.z_high[sensor] - 1e-3 * v, detector.z_low[sensor] + 1e-3 * v)
    return along[:, None] * e + outward[:, None] * n + z[:, None] * np.array([0.0, 0.0, 1.0])


def direction_to_laboratory(detector: Detector, sensor: Ints, direction: Floats) -> Floats:
    """Convert unit vectors (u, v, w) in the frames of sensors to the laboratory; both [n, 3]."""
    e, n = ladder_axes(detector, sensor)
    outward = np.where(detector.flipped[sensor], -1.0, 1.0)
    towards = np.where(detector.forward[sensor], -1.0, 1.0)
    along, across = outward * direction[:, 0], outward * direction[:, 2]
    z = (towards * direction[:, 1])[:, None] * np.array([0.0, 0.0, 1.0])
    return along[:, None] * e + across[:, None] * n + z


def sensors_at(detector: Detector, point: Floats) -> Ints:
    """Find the sensor that each point in the active silicon belongs to.

    Args:
        detector: planes and pixels.
        point: [n, 3] mm, in the active silicon or within 1 um of it.

    Raises:
        ValueError: a point lies in no sensor.
    """
    found = np.full(len(point), -1)
    x, y, z = point.T
    margin = 1e-3
    half = 0.5e-3 * detector.thickness + margin
    for ladder, phi in enumerate(detector.phi):
        outward = x * np.cos(phi) + y * np.sin(phi) - detector.distance[ladder]
        near = np.flatnonzero(np.abs(outward) <= half)
        along = y[near] * np.cos(phi) - x[near] * np.sin(phi)
        near = near[
            (along >= detector.u_low[ladder] - margin) & (along <= detector.u_high[ladder] + margin)
        ]
        for sensor in np.flatnonzero(detector.ladder == ladder):
            low, high = detector.z_low[sensor] - margin, detector.z_high[sensor] + margin
            found[near[(z[near] >= low) & (z[near] <= high)]] = sensor
    if (found < 0).any():
        lost = point[int(np.argmin(found))]
        raise ValueError(f"the point {np.round(lost, 4).tolist()} mm lies in no sensor")
    return found


def concatenate(parts: list[Columns]) -> Columns:
    """Concatenate the arrays of all parts, which are of one class with arrays of one length."""
    arrays = (np.concatenate([getattr(part, k) for part in parts]) for k in vars(parts[0]))
    return type(parts[0])(*arrays)
