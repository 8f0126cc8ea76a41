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

import csv
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.pixel_mask import ALWAYS, HOT, KINDS, LINE, PixelMask, boxes, shape_of
from kerasgen.errors import InputError, nearest

REQUIRED, OF_HOT = ("sensor", "row", "col", "kind"), ("rate", "charge")
RUN, POSITION = "run", "entry"  # the column of spans, in a list of the user's and in a file
MAX_RUN = 2**24 - 1
HEADER = ",".join((*REQUIRED, *OF_HOT, POSITION))


def read_mask(path: Path, geometry: Geometry) -> PixelMask:
    """Read a user's list of pixels.

    Raises:
        InputError: missing, not a list of pixels, empty, a value outside the geometry, a line
            twice, or a pixel that is hot by two lines.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    mask, numbers = _parse(_read_text(path), RUN, geometry, str(path))
    if not len(mask.lines):
        raise InputError(f"{path}: empty, there are no pixels")
    _check_repeats(mask, numbers, str(path))
    return mask


def _read_text(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            is_text = b"\0" not in file.read(1024)  # other files may be large
        if is_text:
            return path.read_text("utf-8-sig")  # some editors begin with a mark
    except UnicodeDecodeError:
        pass
    except OSError as e:
        raise InputError(f"{path}: cannot be read ({e.strerror})") from None
    raise InputError(f"{path}: not a text file; a mask is a list of pixels with commas (CSV)")


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
    rows = [
        (number, _values(line, f"{origin}: line {number}"))
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not rows:
        raise InputError(f"{origin}: empty, there are no pixels")
    (number, header), *rest = rows
    columns = _checked_header(header, span, f"{origin}: line {number}")
    found, numbers = [], []
    for number, row in rest:
        where = f"{origin}: line {number}"
        if len(row) > len(columns):
            raise InputError(f"{where}: {len(row)} values, there are {len(columns)} columns")
        values = dict.fromkeys((*REQUIRED, *OF_HOT, span), "")
        values |= dict(zip(columns, row, strict=False))
        lines = _lines_of(values, span, geometry, where)
        found += lines
        numbers += [number] * len(lines)
    return PixelMask(geometry, np.array(found, LINE)), np.array(numbers, np.int64)


def _values(line: str, where: str) -> list[str]:
    try:
        (values,) = csv.reader([line], skipinitialspace=True)
    except csv.Error as e:
        raise InputError(f"{where}: {e}") from None
    return [value.strip() for value in values]


def _checked_header(columns: list[str], span: str, where: str) -> list[str]:
    allowed = (*REQUIRED, *OF_HOT, span)
    for name in columns:
        if name not in allowed:
            raise InputError(f"{where}: unknown column {name!r}{nearest(name, allowed)}")
        if columns.count(name) > 1:
            raise InputError(f"{where}: the column {name!r} is there twice")
    for name in REQUIRED:
        if name not in columns:
            raise InputError(f"{where}: the column {name!r} is missing, of: {', '.join(REQUIRED)}")
    return columns


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
    take = partial(_range, values, where)
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


def _range(
    values: Mapping[str, str], where: str, name: str, lowest: int, highest: int
) -> tuple[int, int]:
    """``17`` as (17, 17), ``0-3`` as (0, 3), ``*`` as the whole range."""
    text = values[name]
    if text == "*":
        return lowest, highest
    match = re.fullmatch(r"(\d{1,19})(?:\s*-\s*(\d{1,19}))?", text, re.ASCII)
    if match:
        first, last = int(match[1]), int(match[2] or match[1])
        if lowest <= first <= last <= highest:
            return first, last
    raise InputError(
        f"{where}: {name} {text!r}, allowed: a whole number or a range in {lowest}-{highest}, or *"
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
