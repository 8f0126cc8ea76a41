"""Lists of dead, masked and hot pixels as text, one line per pixel or rectangle of pixels.

The first line names the columns, in any order: ``sensor`` (name, id, or ``*`` for all), ``row``
and ``col`` (``17``, ``0-3``, or ``*`` for all), ``kind`` (dead, masked, hot), ``rate`` (of hot
pixels: probability of a hit in an event), and optionally ``charge`` (of hot pixels: ``20`` or
``7-30`` ADU; default: from threshold to highest charge) and ``run`` (``7`` or ``7-12``; default:
all). Empty lines and those that start with ``#`` are left out.

Files of events have such a list with the column ``entry`` (positions in the file, from 0) in
place of ``run``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.pixel_mask import ALWAYS, HOT, KINDS, LINE, PixelMask, boxes, shape_of
from kerasgen.data.text_table import MAX_RUN, RUN, range_of, read_text, table_rows
from kerasgen.errors import InputError, nearest

REQUIRED, OF_HOT = ("sensor", "row", "col", "kind"), ("rate", "charge")
POSITION = "entry"  # the column of spans in a file; RUN in a list of the user's
HEADER = ",".join((*REQUIRED, *OF_HOT, POSITION))


def read_mask(path: Path, geometry: Geometry) -> PixelMask:
    """Read a user's list of pixels.

    Raises:
        InputError: missing, not a list of pixels, empty, a value outside the geometry, a line
            twice, or a pixel that is hot by two lines.
    """
    text = read_text(path, "a mask is a list of pixels")
    mask, numbers = _parse(text, RUN, geometry, str(path))
    if not len(mask.lines):
        raise InputError(f"{path}: empty, there are no pixels")
    _check_repeats(mask, numbers, str(path))
    return mask


def mask_of_run(path: Path, geometry: Geometry, run: int | None) -> PixelMask:
    """Read a user's list for events of one run.

    Raises:
        InputError: as ``read_mask``, or the list has runs and ``run`` is None.
    """
    mask = read_mask(path, geometry)
    if run is None and mask.has_spans:
        raise InputError(f"{path}: has a column 'run'; --run-number R says the run of the events")
    return mask.of_run(run or 0)


def mask_to_text(mask: PixelMask) -> str:
    """Write the list of a file of events; ``mask_from_text`` reads it back."""
    rows = [HEADER]
    names = mask.geometry.names
    for line in mask.lines:
        hot = KINDS[line["kind"]] == HOT
        values = [names[line["sensor"]], _range_text(line["row"]), _range_text(line["col"])]
        values += [KINDS[line["kind"]]]
        values += [repr(float(line["rate"])), _range_text(line["charge"])] if hot else ["", ""]
        values += ["" if tuple(line["span"]) == ALWAYS else _range_text(line["span"])]
        rows.append(",".join(values))
    return "\n".join(rows) + "\n"


def mask_from_text(text: str, geometry: Geometry, origin: str) -> PixelMask:
    """Read the list of a file of events.

    Args:
        text: as ``mask_to_text`` writes it; no lines: all pixels are healthy.
        geometry: of the file.
        origin: file, the start of the error message.

    Raises:
        InputError: as ``read_mask``, without the errors of empty and repeated lists.
    """
    return _parse(text, POSITION, geometry, f"{origin}: list of pixels")[0]


def is_mask(text: str) -> bool:
    """Return whether a text is the list of a file of events."""
    return text.startswith(f"{HEADER}\n")


def _range_text(pair: NDArray[np.int64]) -> str:
    first, last = pair.tolist()
    return f"{first}" if first == last else f"{first}-{last}"


def _parse(
    text: str, span: str, geometry: Geometry, origin: str
) -> tuple[PixelMask, NDArray[np.int64]]:
    """The mask of a list, and the number of the line of text that each of its lines is from."""
    found, numbers = [], []
    for where, values in table_rows(text, origin, "pixels", REQUIRED, (*OF_HOT, span)):
        lines = _lines_of(values, span, geometry, where)
        found += lines
        numbers += [int(where.rpartition(" ")[2])] * len(lines)
    return PixelMask(geometry, np.array(found, LINE)), np.array(numbers, np.int64)


def _lines_of(
    values: Mapping[str, str], span: str, geometry: Geometry, where: str
) -> list[tuple[Any, ...]]:
    """One line of text as lines of a mask, one for each sensor."""
    kind = values["kind"]
    if kind not in KINDS:
        raise InputError(f"{where}: unknown kind {kind!r}{nearest(kind, KINDS)}")
    for name in OF_HOT:
        if values[name] and kind != HOT:
            raise InputError(f"{where}: {name} {values[name]} of a pixel that is {kind}, not hot")

    def take(name: str, lowest: int, highest: int) -> tuple[int, int]:
        return range_of(values[name], where, name, lowest, highest)

    row, col = take("row", 0, geometry.rows - 1), take("col", 0, geometry.cols - 1)
    charge = geometry.threshold, geometry.max_charge
    if values["charge"]:
        charge = take("charge", *charge)
    last = MAX_RUN if span == RUN else ALWAYS[1]
    during = take(span, 0, last) if values[span] not in ("", "*") else ALWAYS
    rate = _rate(values["rate"], where) if kind == HOT else 0.0
    return [
        (sensor, row, col, KINDS.index(kind), rate, charge, during)
        for sensor in _sensors(values["sensor"], geometry, where)
    ]


def _sensors(text: str, geometry: Geometry, where: str) -> list[int]:
    if text == "*":
        return list(range(len(geometry.sensors)))
    if text in geometry.index_of_name:
        return [geometry.index_of_name[text]]
    if re.fullmatch(r"-?\d{1,10}", text, re.ASCII) and int(text) in geometry.index_of_id:
        return [geometry.index_of_id[int(text)]]
    raise InputError(
        f"{where}: unknown sensor {text!r}{nearest(text, geometry.names)}, * for all"
        if text
        else f"{where}: the sensor is missing (its name, or * for all)"
    )


def _rate(text: str, where: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= 1:
        raise InputError(
            f"{where}: rate {text!r} of a hot pixel, allowed: 0..1, the probability of a hit in an "
            "event"
        )
    return rate


def _check_repeats(mask: PixelMask, numbers: NDArray[np.int64], origin: str) -> None:
    """Raise InputError for lines of the same pixels and runs, or a pixel that is hot by two."""
    seen: dict[bytes, int] = {}
    same = mask.lines.copy()
    for name in ("kind", "rate", "charge"):
        same[name] = 0
    for line, number in zip(same, numbers.tolist(), strict=True):
        before = seen.setdefault(line.tobytes(), number)
        if before != number:
            raise InputError(f"{origin}: line {number}: has the pixels of line {before} again")
    kept = mask.lines["kind"] == KINDS.index(HOT)
    _check_hot(PixelMask(mask.geometry, mask.lines[kept]), numbers[kept], origin)


def _check_hot(mask: PixelMask, numbers: NDArray[np.int64], origin: str) -> None:
    """Raise InputError if two lines overlap in pixels and runs.

    Lines that do have both begun by the time that the later one begins, and neither has ended.
    """
    owner = np.zeros(shape_of(mask.geometry), np.int64)  # number of the line, 0: none
    for start in np.unique(mask.lines["span"][:, 0]).tolist():
        held = mask.holds(start)
        for number, box in zip(numbers[held].tolist(), boxes(mask.lines[held]), strict=True):
            if owner[box].any():
                sensor = box[0]
                row, col = np.argwhere(owner[box])[0] + (box[1].start, box[2].start)
                raise InputError(
                    f"{origin}: line {number}: pixel ({row}, {col}) of sensor "
                    f"{mask.geometry.names[sensor]} is hot by line {owner[sensor, row, col]} too"
                )
            owner[box] = number
        for box in boxes(mask.lines[held]):
            owner[box] = 0
