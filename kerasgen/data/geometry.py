"""Detector geometry: sensors, their size in pixels and their charge range.

A geometry is a JSON file. The built-in ones are in ``kerasgen/data/geometries``; another
detector is another file. Sensors are listed in numeric order of their names
(1.1.1, 1.1.2, 1.2.1, ..., 2.12.2); their position in the list is their index in kerasgen.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from kerasgen.errors import InputError, nearest

DEFAULT_GEOMETRY = "belle2-pxd"


@dataclass(frozen=True)
class Sensor:
    """One pixel sensor.

    Attributes:
        name: ``layer.ladder.number``, as the VxdID of Belle II.
        id: number of the sensor in the experiment's files (16-bit VxdID for Belle II).
        layer, ladder: numbers of its layer and ladder.
        phi_deg: azimuth of the ladder's normal, degrees; None: unknown.
        radius_mm: distance of the sensor plane from the beam axis, mm; None: unknown.
        z_mm: range of the active area along the beam, mm; None: unknown.
    """

    name: str
    id: int
    layer: int
    ladder: int
    phi_deg: float | None = None
    radius_mm: float | None = None
    z_mm: tuple[float, float] | None = None


@dataclass(frozen=True)
class Geometry:
    """Sensors, their size in pixels, and the range of stored charges (integer ADU).

    Attributes:
        name: unique name, stored in event files.
        rows, cols: pixels along u and v of every sensor.
        threshold: lowest stored charge of a fired pixel, ADU.
        max_charge: highest stored charge, ADU.
        sensors: in numeric order of their names.
        extra: the other keys of the file (pitches, digitizer), for the simulator.
    """

    name: str
    rows: int
    cols: int
    threshold: int
    max_charge: int
    sensors: tuple[Sensor, ...]
    extra: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def index_of_name(self) -> dict[str, int]:
        return {s.name: i for i, s in enumerate(self.sensors)}

    @cached_property
    def index_of_id(self) -> dict[int, int]:
        return {s.id: i for i, s in enumerate(self.sensors)}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(s.name for s in self.sensors)

    @property
    def pixels(self) -> int:
        """Number of pixels of one sensor."""
        return self.rows * self.cols

    def select(self, names: list[str]) -> Geometry:
        """Select some sensors of the detector, in numeric order.

        Raises:
            InputError: unknown sensor.
        """
        unknown = [n for n in names if n not in self.index_of_name]
        if unknown:
            raise InputError(f"unknown sensor {unknown[0]!r}{nearest(unknown[0], self.names)}")
        kept = tuple(s for s in self.sensors if s.name in set(names))
        return Geometry(
            self.name, self.rows, self.cols, self.threshold, self.max_charge, kept, self.extra
        )

    def to_json(self) -> str:
        """Write the geometry as one line of JSON; ``geometry_from_json`` reads it back."""
        sensors = [{k: v for k, v in vars(s).items() if v is not None} for s in self.sensors]
        return json.dumps(
            {
                "name": self.name,
                "rows": self.rows,
                "cols": self.cols,
                "threshold": self.threshold,
                "max_charge": self.max_charge,
                "sensors": sensors,
                **self.extra,
            }
        )


def numeric_order(name: str) -> tuple[int, ...]:
    """Sort key of a sensor name: 2.2.1 comes before 2.10.1, unlike in string order."""
    try:
        return tuple(int(part) for part in name.split("."))
    except ValueError:
        raise InputError(f"sensor name {name!r} is not numbers joined by dots, as 1.3.2") from None


def geometry_from_json(text: str, origin: str = "geometry") -> Geometry:
    """Parse and check a geometry.

    Raises:
        InputError: not JSON, missing key, or invalid value.
    """
    try:
        d = json.loads(text)
        sensors = tuple(
            Sensor(
                name=str(s["name"]),
                id=int(s["id"]),
                layer=int(s["layer"]),
                ladder=int(s["ladder"]),
                phi_deg=s.get("phi_deg"),
                radius_mm=s.get("radius_mm"),
                z_mm=tuple(s["z_mm"]) if s.get("z_mm") else None,
            )
            for s in d["sensors"]
        )
        known = {"name", "rows", "cols", "threshold", "max_charge", "sensors"}
        geometry = Geometry(
            name=str(d["name"]),
            rows=int(d["rows"]),
            cols=int(d["cols"]),
            threshold=int(d["threshold"]),
            max_charge=int(d["max_charge"]),
            sensors=sensors,
            extra={k: v for k, v in d.items() if k not in known},
        )
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as e:
        raise InputError(f"{origin}: not a geometry ({type(e).__name__}: {e})") from None
    names = list(geometry.names)
    if not names or len(set(names)) != len(names):
        raise InputError(f"{origin}: sensors must be listed, each once")
    if names != sorted(names, key=numeric_order):
        raise InputError(f"{origin}: sensors must be in numeric order of their names")
    if len(geometry.index_of_id) != len(names):
        raise InputError(f"{origin}: two sensors have the same id")
    if any(not -(2**31) <= sensor.id < 2**31 for sensor in sensors):
        raise InputError(f"{origin}: ids of sensors must fit into 32 bits")
    if not 1 <= geometry.threshold <= geometry.max_charge <= 65535:
        raise InputError(f"{origin}: charges must obey 1 <= threshold <= max_charge <= 65535 ADU")
    if not (1 <= geometry.rows <= 65535 and 1 <= geometry.cols <= 65535):
        raise InputError(f"{origin}: rows and cols must be in 1..65535")
    return geometry


def is_geometry(text: str) -> bool:
    """Return whether a text is JSON with the keys of a geometry."""
    try:
        found = json.loads(text)
    except ValueError:
        return False
    return isinstance(found, dict) and {"rows", "cols", "threshold", "sensors"} <= set(found)


def builtin_geometries() -> list[str]:
    """List the names of the built-in geometries."""
    folder = resources.files("kerasgen.data") / "geometries"
    return sorted(f.name[: -len(".json")] for f in folder.iterdir() if f.name.endswith(".json"))


def load_geometry(name: str) -> Geometry:
    """Load a built-in geometry by name, or a geometry file by its path.

    Raises:
        InputError: unknown name, or the file holds no geometry.
    """
    if name.endswith(".json"):
        path = Path(name)
        if not path.is_file():
            raise InputError(f"{name}: no such geometry file")
        try:
            text = path.read_text(encoding="utf-8-sig")  # some editors begin with a mark
        except (OSError, UnicodeDecodeError) as e:
            raise InputError(f"{name}: cannot be read as text ({e})") from None
        return geometry_from_json(text, origin=name)
    if name not in builtin_geometries():
        raise InputError(f"unknown geometry {name!r}{nearest(name, builtin_geometries())}")
    text = (resources.files("kerasgen.data") / "geometries" / f"{name}.json").read_text("utf-8")
    return geometry_from_json(text, origin=name)
