"""A part of every event of a pixel detector: some sensors, the first rows and columns of each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path

import numpy as np

from kerasgen.config import Count
from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.data.store import EventFile, EventWriter
from kerasgen.errors import InputError
from kerasgen.file_lock import file_lock


@dataclass(frozen=True)
class Reduction:
    """A part of every event, for trials of a study that cost less.

    Attributes:
        sensors: names of the sensors to keep; empty: the events stay as they are.
        rows, cols: of each sensor, the first so many.
    """

    sensors: list[str] = field(default_factory=list)
    rows: Count = 0
    cols: Count = 0


def reduced_file(file: EventFile, reduction: Reduction, out: Path) -> Path:
    """The file of the reduced events in the folder ``out``, made at first use.

    Raises:
        InputError: as ``write_reduced``.
    """
    path = out / "data.h5"
    with file_lock(out / "data.lock"):  # several workers may start together
        if not path.is_file():
            write_reduced(file, path, reduction)
    return path


def write_reduced(file: EventFile, path: Path, reduction: Reduction) -> None:
    """Some sensors, and the first rows and columns of each, of all events of a file.

    Raises:
        InputError: an unknown sensor, or more rows or columns than there are.
    """
    whole = file.geometry
    if reduction.rows > whole.rows or reduction.cols > whole.cols:
        raise InputError(
            f"reduce: {reduction.rows} x {reduction.cols} pixels of {whole.rows} x {whole.cols}"
        )
    part = whole.select(reduction.sensors)
    geometry = replace(
        part, name=f"{whole.name}-part", rows=reduction.rows, cols=reduction.cols, extra={}
    )
    creator = f"kerasgen.data.reduction {metadata.version('kerasgen')}, part of {file.path.name}"
    mask = file.mask.part(geometry) if file.mask is not None else None
    with EventWriter(path, geometry, creator, mask=mask) as writer:
        for hits in file.blocks():
            writer.write(reduced_hits(hits, whole, geometry))


def reduced_hits(hits: Hits, whole: Geometry, part: Geometry) -> Hits:
    """The hits of ``whole`` that are in ``part``, whose sensors are some of it."""
    index = np.array([part.index_of_name.get(name, -1) for name in whole.names])
    hits = hits.take(np.flatnonzero(index[hits.sensor] >= 0))
    hits = hits.where((hits.row < part.rows) & (hits.col < part.cols))
    return replace(hits, sensor=index[hits.sensor].astype(hits.sensor.dtype))
