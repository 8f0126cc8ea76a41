"""Layout of kerasgen HDF5 files of pixel hits: names, types and checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.errors import InputError

FORMAT_VERSION = 1
KIND = "pixel-hits"
UNITS = "row, col: pixel; adu: ADU; type: background type, 0 = unknown"
HIT_TYPES = {"row": np.uint16, "col": np.uint16, "adu": np.uint16, "type": np.uint8}
MASK = "pixel_mask"  # list of pixels that are not healthy, as text
IMAGE_TYPES = {"indptr": np.int64, "sensor": np.uint16, "event": np.int64}


def one_line(error: BaseException) -> str:
    """Message of an error without line breaks."""
    return " ".join(str(error).split())


def open_hdf5(path: Path) -> h5py.File:
    """Open an HDF5 file for reading.

    Raises:
        InputError: missing, truncated, or not HDF5.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        return h5py.File(path, "r")
    except OSError as e:
        reason = "truncated" if "truncated" in str(e) else "not an HDF5 file or corrupted"
        raise InputError(f"{path}: {reason} ({one_line(e)})") from None


def read_attributes(file: h5py.File, path: Path, kind: str = KIND) -> dict[str, Any]:
    """Read the root attributes of a file of the given kind.

    Raises:
        InputError: corrupted, another kind, or another format version.
    """
    try:
        attributes = {name: _plain(value) for name, value in file.attrs.items()}
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as e:
        raise InputError(f"{path}: corrupted attributes ({one_line(e)})") from None
    if attributes.get("kind") != kind:
        raise InputError(f"{path}: kind {attributes.get('kind')!r}, expected {kind!r}")
    if attributes.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"{path}: format version {attributes.get('format_version')!r}, "
            f"this version reads {FORMAT_VERSION}"
        )
    return attributes


def read_kind(file: h5py.File) -> Any:
    """Read the attribute ``kind``; None if it is missing or corrupted."""
    try:
        return _plain(file.attrs.get("kind"))
    except (OSError, RuntimeError, KeyError, ValueError, TypeError):
        return None


def write_text_dataset(file: h5py.File, name: str, text: str) -> None:
    """Write a text attribute of fixed length.

    By default h5py writes text of variable length, which the metadata checksums do not cover.
    """
    data = text.encode()
    file.attrs.create(name, data, dtype=h5py.string_dtype("utf-8", max(len(data), 1)))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def check_datasets(file: h5py.File, path: Path) -> None:
    """Check names, types and lengths of all datasets.

    Raises:
        InputError: missing or corrupted dataset, wrong type, or lengths that differ.
    """
    for name, dtype in (IMAGE_TYPES | HIT_TYPES).items():
        try:
            dataset = file.get(name)
        except (OSError, RuntimeError, KeyError) as e:
            raise InputError(f"{path}: {name} is corrupted ({one_line(e)})") from None
        if not isinstance(dataset, h5py.Dataset):
            raise InputError(f"{path}: the dataset {name!r} is missing")
        if dataset.dtype != dtype or dataset.ndim != 1:
            raise InputError(
                f"{path}: {name} is {dataset.dtype} with {dataset.ndim} axes, "
                f"expected {np.dtype(dtype)} with 1 axis (whole numbers, no NaN)"
            )
        if name in HIT_TYPES and len(dataset) != len(file["row"]):
            raise InputError(
                f"{path}: {name} has {len(dataset)} hits and row has {len(file['row'])}"
            )


def check_images(
    sensor: NDArray[np.uint16], event: NDArray[np.int64], geometry: Geometry, origin: str
) -> None:
    """Check that every event holds every sensor once, in order.

    Raises:
        InputError: unknown, missing or misplaced sensor; names the event.
    """
    sensors = len(geometry.sensors)
    known = sensor < sensors
    if not known.all():
        i = int(np.argmin(known))
        raise InputError(
            f"{origin}: event {event[i]}: unknown sensor {sensor[i]}, "
            f"allowed: 0..{sensors - 1} of geometry {geometry.name}"
        )
    image = np.arange(len(sensor))
    complete = (sensor == image % sensors) & (event == event[image - image % sensors])
    if not complete.all() or len(sensor) % sensors:
        i = int(np.argmin(complete)) if not complete.all() else len(sensor) - 1
        raise InputError(
            f"{origin}: event {event[i]}: an event must hold all {sensors} sensors of geometry "
            f"{geometry.name} in numeric order, also the empty ones; image {i} breaks it"
        )


def check_lengths(hits: Hits, origin: str) -> None:
    """Check types and lengths of the arrays of hits.

    Raises:
        InputError: wrong type or length, or ``indptr`` that does not rise from 0 to all hits.
    """
    n = len(hits.row)
    for name, dtype in HIT_TYPES.items():
        values = getattr(hits, name)
        if values.dtype != dtype or values.shape != (n,):
            raise InputError(
                f"{origin}: {name} is {values.dtype} {list(values.shape)}, "
                f"expected {np.dtype(dtype)} [{n}]"
            )
    indptr = hits.indptr
    if (
        len(indptr) != len(hits) + 1
        or len(hits.event) != len(hits)
        or indptr[0] != 0
        or indptr[-1] != n
        or np.any(indptr[1:] < indptr[:-1])
    ):
        raise InputError(
            f"{origin}: indptr must hold {len(hits) + 1} values that rise from 0 to {n}"
        )
