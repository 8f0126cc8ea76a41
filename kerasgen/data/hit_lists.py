"""Reader of NPZ hit lists in two layouts.

Columns: arrays ``event``, ``sensor`` (index in numeric order of the names), ``row``, ``col``,
``adu``, all [hits]; optional ``type`` [hits] (background type) and ``events`` (all event numbers,
including events without hits) and ``pixel_mask`` (uint8, a list as text, see ``mask_file``).

Frames of one sensor: ``<name>`` whole numbers [hits, 4] = frame, x, y, charge and optionally the
scalar ``<name>_nframes``. x becomes the column, y the row and the frame number the event number;
frames without hits stay as empty events: frames 0 to ``<name>_nframes`` - 1, or else the first to
the last that has hits. If a file holds several such arrays, ``array`` chooses one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits, from_lists
from kerasgen.data.layout import MASK
from kerasgen.data.mask_file import is_mask, mask_from_text
from kerasgen.data.pixel_mask import PixelMask
from kerasgen.data.source import FORMATS, Source, whole_numbers
from kerasgen.errors import InputError, nearest

COLUMNS = ("event", "sensor", "row", "col", "adu")
BLOCK = 64  # events per block
MAX_FRAMES = 10**7  # of a file, with those without hits

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
    frames = sorted(
        name for name in arrays if arrays[name].shape[1:] == (4,) or f"{name}_nframes" in arrays
    )
    if array is not None or (frames and not set(COLUMNS) <= set(arrays)):
        name = array or _only_frames(frames, path)
        events, lists = _read_frames(arrays, name, frames, geometry, path)
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
    mask = _read_mask(arrays, geometry, path)
    return Source(geometry, len(events), _split_blocks(hits, geometry), creator, mask=mask)


def _load_arrays(path: Path) -> Arrays:
    try:
        # np.load on a name leaves the file open when it fails.
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    except Exception as e:  # damaged headers reach zipfile, zlib, tokenize and more
        reason = " ".join(str(e).split())
        raise InputError(
            f"{path}: not an NPZ file of numbers, truncated or corrupted ({reason})"
        ) from None
    # Members of the archive that are no arrays come as bytes.
    return {name: values for name, values in found.items() if isinstance(values, np.ndarray)}


def _read_mask(arrays: Arrays, geometry: Geometry, path: Path) -> PixelMask | None:
    """Pixels that are not healthy; None if there is no list of ours."""
    found = arrays.get(MASK)
    if found is None or found.dtype != np.uint8:
        return None
    text = found.tobytes().decode(errors="replace")
    return mask_from_text(text, geometry, str(path)) if is_mask(text) else None


def _only_frames(frames: list[str], path: Path) -> str:
    if len(frames) > 1:
        raise InputError(f"{path}: several hit lists, choose one by --array: {', '.join(frames)}")
    return frames[0]


def _read_frames(
    arrays: Arrays, name: str, frames: list[str], geometry: Geometry, path: Path
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.int64]]]:
    if len(geometry.sensors) != 1:
        raise InputError(
            f"{path}: frames need one sensor and geometry {geometry.name} has "
            f"{len(geometry.sensors)}; choose another by --geometry, as timepix"
        )
    if name not in arrays:
        hint = nearest(name, frames) if frames else " (there are none)"
        raise InputError(f"{path}: no hit list {name!r}{hint}")
    if arrays[name].shape[1:] != (4,):
        raise InputError(
            f"{path}: {name} has shape {list(arrays[name].shape)}, expected [hits, 4] = frame, x, "
            "y, charge"
        )
    frame, x, y, adu = whole_numbers(arrays[name], name, str(path)).T
    numbers = _frame_numbers(frame, arrays.get(f"{name}_nframes"), name, path)
    bad = (frame < numbers.start) | (frame >= numbers.stop)
    if bad.any():
        i = int(np.argmax(bad))
        allowed = f"{numbers.start}..{numbers.stop - 1}"
        raise InputError(f"{path}: {name}: frame {frame[i]} in row {i}, allowed: {allowed}")
    zero = np.zeros(len(frame), np.int64)
    lists = {"event": frame, "sensor": zero, "row": y, "col": x, "adu": adu, "type": zero}
    return np.arange(numbers.start, numbers.stop), lists


def _frame_numbers(
    frame: NDArray[np.int64], count: NDArray[np.generic] | None, name: str, path: Path
) -> range:
    """Numbers of all frames: 0 to ``count`` - 1, or the first to the last of ``frame``."""
    if count is None:
        numbers = range(max(int(frame.min()), 0), int(frame.max()) + 1) if len(frame) else range(0)
    elif count.size != 1:
        raise InputError(
            f"{path}: {name}_nframes has shape {list(count.shape)}, expected one number"
        )
    else:
        numbers = range(int(whole_numbers(count.reshape(1), f"{name}_nframes", str(path))[0]))
    if numbers.stop - numbers.start > MAX_FRAMES:
        raise InputError(
            f"{path}: {name}: {numbers.stop - numbers.start} frames, at most {MAX_FRAMES}"
        )
    return numbers


def _read_columns(
    arrays: Arrays, geometry: Geometry, path: Path
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.int64]]]:
    missing = [name for name in COLUMNS if name not in arrays]
    if len(missing) == len(COLUMNS):
        listed = ", ".join(sorted(arrays)) or "none"
        raise InputError(f"{path}: no hit list (arrays: {listed}); {FORMATS}")
    if missing:
        raise InputError(
            f"{path}: no array {missing[0]!r}; expected {', '.join(COLUMNS)}, or <name> [hits, 4]"
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
    if arrays["events"].ndim != 1:
        raise InputError(f"{path}: events has shape {list(arrays['events'].shape)}, expected [n]")
    events = np.unique(whole_numbers(arrays["events"], "events", str(path)))
    lost = ~np.isin(lists["event"], events)
    if lost.any():
        raise InputError(f"{path}: event {lists['event'][np.argmax(lost)]} is not in 'events'")
    return events, lists


def _split_blocks(hits: Hits, geometry: Geometry) -> Iterator[Hits]:
    step = BLOCK * len(geometry.sensors)
    for start in range(0, len(hits), step):
        yield hits.take(np.arange(start, min(start + step, len(hits))))
