"""Levels of background by run, as text, one line per run or range of runs.

The first line names the columns, in any order: ``run`` (``7``, ``7-12``, or ``*`` for all others),
and ``level``, or one column for each type of background, as ``two_photon`` (see ``level``).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from kerasgen.data.level import LEVEL, MAX_LEVEL, TYPES, Level, checked_level
from kerasgen.data.text_table import MAX_RUN, RUN, range_of, read_text, table_rows
from kerasgen.errors import InputError


@dataclass(frozen=True)
class LevelTable:
    """Levels of ranges of runs.

    Attributes:
        origin: where the table is from.
        spans: first and last run of each line, in order of the runs.
        levels: of each line.
        other: of runs that no line names; None: there are none.
    """

    origin: str
    spans: list[tuple[int, int]]
    levels: list[Level]
    other: Level | None = None

    def at(self, run: int) -> Level:
        """Level of a run.

        Raises:
            InputError: the table does not have it.
        """
        for (first, last), level in zip(self.spans, self.levels, strict=True):
            if first <= run <= last:
                return level
        if self.other is None:
            raise InputError(f"{self.origin}: no line for run {run} (* is for all other runs)")
        return self.other


def read_levels(path: Path) -> LevelTable:
    """Read a user's table of levels.

    Raises:
        InputError: missing, not such a table, a value that is no level, or a run twice.
    """
    text, origin = read_text(path, "levels are a table of runs"), str(path)
    lines, other = [], None
    for where, values in table_rows(text, origin, "runs", (RUN,), (LEVEL, *TYPES)):
        level = _level_of(values, where)
        if values[RUN] == "*":
            if other is not None:
                raise InputError(f"{where}: run * is there twice")
            other = level
            continue
        lines.append((range_of(values[RUN], where, RUN, 0, MAX_RUN), level, where))
    if not lines and other is None:
        raise InputError(f"{origin}: empty, there are no runs")
    lines.sort(key=lambda line: line[0])
    for before, (span, _, where) in pairwise(lines):
        if span[0] <= before[0][1]:
            raise InputError(f"{where}: run {span[0]} is there twice")
    return LevelTable(origin, [x[0] for x in lines], [x[1] for x in lines], other)


def _level_of(values: dict[str, str], where: str) -> Level:
    """Level of a line: of all background, or of the types that have one."""
    numbers = {}
    for name in (LEVEL, *TYPES):
        if values[name]:
            try:
                numbers[name] = checked_level(float(values[name]))
            except ValueError:  # an InputError is one
                raise InputError(
                    f"{where}: {name} {values[name]!r} is not in 0..{MAX_LEVEL:g}"
                ) from None
    if LEVEL in numbers and len(numbers) > 1:
        raise InputError(f"{where}: {LEVEL} is of all types, others cannot be given beside it")
    if not numbers:
        raise InputError(f"{where}: the level is missing")
    return numbers.get(LEVEL, numbers)
