"""Tables of users as text: a line of column names, then values with commas between them (CSV).

Empty lines and those that start with ``#`` are left out, as are empty values at the end of a line.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from kerasgen.errors import InputError, nearest

RUN = "run"  # name of the column of runs
MAX_RUN = 2**24 - 1
Row = tuple[str, dict[str, str]]


def read_text(path: Path, what: str) -> str:
    """The text of a user's table.

    Args:
        path: of the file.
        what: it should be, as "a mask is a list of pixels".

    Raises:
        InputError: there is none, or it is no text.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with open(path, "rb") as file:
            is_text = b"\0" not in file.read(1024)  # other files may be large
        if is_text:
            return path.read_text("utf-8-sig")  # some editors begin with a mark
    except UnicodeDecodeError:
        pass
    except OSError as e:
        raise InputError(f"{path}: cannot be read ({e.strerror})") from None
    raise InputError(f"{path}: not a text file; {what} with commas (CSV)")


def table_rows(
    text: str, origin: str, of: str, required: Sequence[str], optional: Sequence[str]
) -> list[Row]:
    """Rows of a table: where each is, for messages, and its values by column, "" where missing.

    Args:
        text: of the table.
        origin: start of the messages.
        of: what the rows are of, as "pixels".
        required, optional: names of columns.

    Raises:
        InputError: empty, an unknown, repeated or missing column, or more values than columns.
    """
    rows = [
        (f"{origin}: line {number}", _values(line, f"{origin}: line {number}"))
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not rows:
        raise InputError(f"{origin}: empty, there are no {of}")
    (where, columns), *rest = rows
    allowed = (*required, *optional)
    for name in columns:
        if name not in allowed:
            raise InputError(f"{where}: unknown column {name!r}{nearest(name, allowed)}")
        if columns.count(name) > 1:
            raise InputError(f"{where}: the column {name!r} is there twice")
    for name in required:
        if name not in columns:
            raise InputError(f"{where}: the column {name!r} is missing, of: {', '.join(required)}")
    found = []
    for where, row in rest:
        if len(row) > len(columns):
            raise InputError(f"{where}: {len(row)} values, there are {len(columns)} columns")
        found.append((where, dict.fromkeys(allowed, "") | dict(zip(columns, row, strict=False))))
    return found


def _values(line: str, where: str) -> list[str]:
    try:
        (values,) = csv.reader([line], skipinitialspace=True)
    except csv.Error as e:
        raise InputError(f"{where}: {e}") from None
    return [value.strip() for value in values]


def range_of(text: str, where: str, name: str, lowest: int, highest: int) -> tuple[int, int]:
    """``17`` as (17, 17), ``0-3`` as (0, 3), ``*`` as the whole range.

    Raises:
        InputError: anything else, or beyond lowest to highest.
    """
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
