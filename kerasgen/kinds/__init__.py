"""What an event is: pixel hits, or point sets.

A ``DataKind`` opens, divides, writes, compares and draws the events of one kind, for whatever
algorithm. ``kind_of_file`` finds the kind of a file.
"""

from __future__ import annotations

from pathlib import Path

from kerasgen.kinds.kind import DataKind


def kinds() -> tuple[DataKind, ...]:
    """Every data kind."""
    from kerasgen.kinds.pixels import PIXELS
    from kerasgen.kinds.points import POINTS

    return PIXELS, POINTS


def kind_of_file(path: Path) -> DataKind:
    """The kind of the events in a kerasgen HDF5 file; pixel hits if the file says nothing."""
    return next((kind for kind in kinds()[1:] if kind.is_file(path)), kinds()[0])
