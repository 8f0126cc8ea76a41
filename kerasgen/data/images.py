"""Reader of grey PNG hitmaps, with one folder per sensor: ``1.1.1/<event>.png``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits, from_lists
from kerasgen.data.source import Source
from kerasgen.errors import InputError, nearest

# Pillow's names of 8 and 16 bit grey images.
GREY_MODES = ("L", "I;16", "I;16B", "I")


def read_images(folder: Path, geometry: Geometry, drop_below_threshold: bool = False) -> Source:
    """Read the events of a folder with one sub-folder per sensor; grey value = charge in ADU.

    Sensors and events come in numeric order, independent of the file system.

    Args:
        folder: folder of ``<sensor name>/<event number>.png``, each rows x cols pixels.
        geometry: detector with one sub-folder per sensor.
        drop_below_threshold: drop charges below the threshold instead of raising an error.

    Raises:
        InputError: unknown or missing sensor, missing or misnamed image, or no image; while
            reading: not a grey image, wrong size, or a charge outside the geometry.
    """
    found = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    for name in found:
        if name not in geometry.index_of_name:
            raise InputError(f"{folder}: unknown sensor {name!r}{nearest(name, geometry.names)}")
    missing = [name for name in geometry.names if name not in found]
    if missing:
        raise InputError(
            f"{folder}: no folder for {_first_names(missing)} of geometry {geometry.name}"
        )
    files = {name: _images_by_event(folder / name) for name in geometry.names}
    events = sorted(set().union(*files.values()))
    if not events:
        raise InputError(f"{folder}: empty, there are no images <sensor>/<event>.png")
    absent = [f"{name}/{e}.png" for name in geometry.names for e in events if e not in files[name]]
    if absent:
        raise InputError(
            f"{folder}: missing images: {_first_names(absent)}; an event needs all sensors"
        )
    blocks = _read_events(folder, geometry, events, files, drop_below_threshold)
    return Source(geometry, len(events), blocks, f"PNG images of {folder.name}")


def _first_names(names: list[str]) -> str:
    rest = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + rest


def _images_by_event(folder: Path) -> dict[int, Path]:
    files: dict[int, Path] = {}
    for path in sorted(folder.glob("*.png")):
        if not (path.stem.isascii() and path.stem.isdigit() and len(path.stem) < 19):
            raise InputError(f"{path}: the name of an image is its event number, as 17.png")
        if int(path.stem) in files:
            raise InputError(f"{path}: event {int(path.stem)} is there twice")
        files[int(path.stem)] = path
    return files


def _read_events(
    folder: Path,
    geometry: Geometry,
    events: list[int],
    files: dict[str, dict[int, Path]],
    drop_below_threshold: bool,
) -> Iterator[Hits]:
    for event in events:
        images = np.stack([_read_grey(files[name][event], geometry) for name in geometry.names])
        sensor, row, col = np.nonzero(images)
        adu = images[sensor, row, col]
        yield from_lists(
            np.array([event]),
            np.zeros(len(adu), np.int64),
            sensor,
            {"row": row, "col": col, "adu": adu, "type": np.zeros(len(adu), np.int64)},
            geometry,
            str(folder),
            drop_below_threshold,
        )


def _read_grey(path: Path, geometry: Geometry) -> NDArray[np.int64]:
    try:
        with Image.open(path) as image:
            if image.mode not in GREY_MODES:
                raise InputError(f"{path}: image mode {image.mode}, expected 8 or 16 bit grey")
            if image.size != (geometry.cols, geometry.rows):
                raise InputError(
                    f"{path}: {image.height} x {image.width} pixels, expected {geometry.rows} x "
                    f"{geometry.cols} (rows x columns) of geometry {geometry.name}"
                )
            return np.asarray(image).astype(np.int64)
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as e:
        reason = " ".join(str(e).split())
        raise InputError(f"{path}: not a PNG image, truncated or corrupted ({reason})") from None
