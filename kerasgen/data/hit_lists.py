"""Reader of NPZ hit lists in two layouts.

Columns: arrays ``event``, ``sensor`` (index in numeric order of the names), ``row``, ``col``,
``adu``, all [hits]; optional ``type`` [hits] (background type) and ``events`` (all event numbers,
including events without hits).

Frames of one sensor: ``<name>`` whole numbers [hits, 4] = frame, x, y, charge and the scalar
``<name>_nframes``. x becomes the column, y the row and the frame number the event number; frames
without hits stay as empty events. If a file holds several such arrays, ``array`` chooses one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits, from_lists
from kerasgen.data.source import Source, whole_numbers
from kerasgen.errors import InputError, nearest

COLUMNS = ("event", "sensor", "row", "col", "adu")
BLOCK = 64  # events per block

Arrays = dict[str, NDArray[np.generic]]


def read_hit_list(
    path: Path, geometry: Geometry, array: str | None = None, drop_below_threshold: bool = False
) -> Source:
    """Read the events of an NPZ file in one of the layouts of this module, all at once.

    Args:
        path: the NPZ file.
        geometry: detector of the hits; frames need a detector of one sensor.
        array: name of the frames, if the file holds several.
        drop_below_threshold: drop charges below the threshold instead of raising an error.

    Raises:
        InputError: not NPZ, truncated, unknown layout, NaN, unknown sensor, no events, or a value
            outside the geometry (charges above its limit are never clipped).
    """
    arrays = _load_arrays(path)
    frames = sorted(name for name in arrays if f"{name}_nframes" in arrays)
    if array is not None or (frames and not set(COLUMNS) <= set(arrays)):
        name = _choose_frames(frames, array, path)
        events, lists = _read_frames(arrays, name, geometry, path)
        creator = f"NPZ frames {name} of {path.name}"
    else:
        events, lists = _read_columns(arrays, geometry, path)
        creator = f"NPZ hit list {path.name}"
    if not len(events):
        raise InputError(f"{path}: empty, there are no events")
    hits = from_lists(
        events,
        np.searchsorted(events, lists["event"]),
        lists["sensor"],
        {name: lists[name] for name in ("row", "col", "adu", "type")},
        geometry,
        str(path),
        drop_below_threshold,
    )
    return Source(geometry, len(events), _split_blocks(hits, geometry), creator)


def _load_arrays(path: Path) -> Arrays:
    try:
        # np.load on a name leaves the file open when it fails.
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as e:  # damaged headers reach zipfile, zlib, tokenize and more
        reason = " ".join(str(e).split())
        raise InputError(
            f"{path}: not an NPZ file of numbers, truncated or corrupted ({reason})"
        ) from None


def _choose_frames(frames: list[str], array: str | None, path: Path) -> str:
    if array is None and len(frames) > 1:
        raise InputError(f"{path}: several hit lists, choose one by --array: {', '.join(frames)}")
    name = frames[0] if array is None else array
    if name not in frames:
        raise InputError(
            f"{path}: no hit list {name!r} with a {name}_nframes{_suggestion(name, frames)}"
        )
    return name


def _suggestion(name: str, frames: list[str]) -> str:
    return nearest(name, frames) if frames else " (there are none)"


def _read_frames(
    arrays: Arrays, name: str, geometry: Geometry, path: Path
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.int64]]]:
    if len(geometry.sensors) != 1:
        raise InputError(
            f"{path}: frames need one sensor and geometry {geometry.name} has "
            f"{len(geometry.sensors)}; choose another by --geometry, as timepix"
        )
    table, count = arrays[name], arrays[f"{name}_nframes"]
    if table.ndim != 2 or table.shape[1] != 4 or count.size != 1:
        raise InputError(
            f"{path}: {name} has shape {list(table.shape)} and {name}_nframes "
            f"{list(count.shape)}, expected [hits, 4] = frame, x, y, charge and one number"
        )
    frame, x, y, adu = whole_numbers(table, name, str(path)).T
    n_frames = int(whole_numbers(count.reshape(1), f"{name}_nframes", str(path))[0])
    if len(frame) and not 0 <= frame.min() <= frame.max() < n_frames:
        i = int(np.argmax((frame < 0) | (frame >= n_frames)))
        raise InputError(f"{path}: {name}: frame {frame[i]} in row {i}, allowed: 0..{n_frames - 1}")
    zero = np.zeros(len(frame), np.int64)
    lists = {"event": frame, "sensor": zero, "row": y, "col": x, "adu": adu, "type": zero}
    return np.arange(n_frames), lists


def _read_columns(
    arrays: Arrays, geometry: Geometry, path: Path
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.int64]]]:
    missing = [name for name in COLUMNS if name not in arrays]
    if missing:
        raise InputError(
            f"{path}: no array {missing[0]!r}; expected {', '.join(COLUMNS)}, or <name> [hits, 4] "
            "with <name>_nframes"
        )
    shape = arrays["event"].shape
    lists = {}
    for name in (*COLUMNS, "type"):
        values = arrays.get(name, np.zeros(shape, np.int64))
        if values.shape != shape or values.ndim != 1:
            raise InputError(
                f"{path}: {name} has shape {list(values.shape)} and event {list(shape)}, "
                "expected [hits] for all"
            )
        lists[name] = whole_numbers(values, name, str(path))
    sensors, sensor = len(geometry.sensors), lists["sensor"]
    unknown = (sensor < 0) | (sensor >= sensors)
    if unknown.any():
        i = int(np.argmax(unknown))
        raise InputError(
            f"{path}: event {lists['event'][i]}: unknown sensor {sensor[i]} in row {i}, "
            f"allowed: 0..{sensors - 1} of geometry {geometry.name}"
        )
    if "events" not in arrays:
        return np.unique(lists["event"]), lists
    events = np.unique(whole_numbers(arrays["events"], "events", str(path)))
    lost = ~np.isin(lists["event"], events)
    if lost.any():
        raise InputError(f"{path}: event {lists['event'][np.argmax(lost)]} is not in 'events'")
    return events, lists


def _split_blocks(hits: Hits, geometry: Geometry) -> Iterator[Hits]:
    step = BLOCK * len(geometry.sensors)
    for start in range(0, len(hits), step):
        yield hits.take(np.arange(start, min(start + step, len(hits))))
