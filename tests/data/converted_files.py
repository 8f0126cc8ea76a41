"""Files that converters read, and the command on them."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import uproot
from PIL import Image

from kerasgen.data.convert import main
from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits, concatenate, to_dense
from kerasgen.data.store import EventFile, EventWriter


def convert(*arguments: object) -> None:
    assert main([str(a) for a in arguments]) == 0


def stored(path: Path) -> Hits:
    with EventFile(path) as file:
        return concatenate(list(file.blocks()))


def store(path: Path, geometry: Geometry, hits: Hits, seed: int | None = None) -> Path:
    with EventWriter(path, geometry, "a test", seed) as writer:
        writer.write(hits)
    return path


def write_basf2(path: Path, events: list[dict[str, list[int]]], name: str = "tree") -> Path:
    digits = {
        f"PXDDigits.m_{key}": ak.values_astype(ak.Array([e[key] for e in events]), np.uint16)
        for key in ("sensorID", "uCellID", "vCellID", "charge")
    }
    types = dict.fromkeys(digits, "var * uint16")
    with uproot.recreate(path) as file:
        tree = file.mktree(name, types, counter_name=lambda _: "PXDDigits")
        tree.extend(digits)
    return path


def write_images(folder: Path, geometry: Geometry, hits: Hits, dtype: type = np.uint8) -> Path:
    for image, sensor, event in zip(to_dense(hits, geometry), hits.sensor, hits.event, strict=True):
        path = folder / geometry.names[sensor] / f"{event}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.astype(dtype)).save(path)
    return folder


def columns(hits: Hits) -> dict[str, np.ndarray]:
    flat = {name: getattr(hits, name) for name in ("row", "col", "adu", "type")}
    return {"event": hits.event[hits.image], "sensor": hits.sensor[hits.image], **flat}
