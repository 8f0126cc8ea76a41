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

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.errors import InputError

TABLES = ("silicon", "layers", "digitizer")

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


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
    return Detector(
        phi=np.deg2rad([float(first[k].phi_deg or 0.0) for k in keys]),
        distance=np.array([layers[str(k[0])]["radius_mm"] for k in keys], float),
        u_low=low,
        u_high=low + silicon["active_width_mm"],
        ladder=np.array([keys.index((s.layer, s.ladder)) for s in geometry.sensors]),
        z_low=z[:, 0],
        z_high=z[:, 1],
        forward=z.mean(1) > 0,
        flipped=np.array([bool(t["flipW"]) for t in tables]),
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
