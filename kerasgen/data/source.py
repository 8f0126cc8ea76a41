"""Common result of the readers of foreign file formats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.data.pixel_mask import PixelMask
from kerasgen.errors import InputError

FORMATS = (
    "kerasgen reads: ROOT files (a tree with the branches sensor, u, v, adu; PXDDigits of basf2; "
    "jets with constituents of CMS PFNano or NanoAOD v15), HDF5 files (kerasgen, JetNet), NPZ hit "
    "lists (columns event, sensor, row, col, adu, or frames [hits, 4] = frame, x, y, charge), "
    "MNIST idx files (also gzip), folders of PNG images"
)


@dataclass(frozen=True)
class Source:
    """Opened foreign file of events.

    Attributes:
        geometry: sensors and charge range of the events.
        n_events: number of events.
        blocks: iterator of blocks of complete events.
        creator: program that made the events.
        seed: run seed of the events, if the file has it.
        mask: pixels that are not healthy, by position of the events; None: the file does not say.
    """

    geometry: Geometry
    n_events: int
    blocks: Iterator[Hits]
    creator: str
    seed: int | None = None
    mask: PixelMask | None = None


def whole_numbers(values: NDArray[np.generic], what: str, origin: str) -> NDArray[np.int64]:
    """Convert values to int64.

    Args:
        values: numbers.
        what: name of the values for the error message.
        origin: file or source, the start of the error message.

    Raises:
        InputError: not numbers, NaN, not whole, or beyond 64 bits; names the first bad row.
    """
    if values.dtype.kind not in "iuf":
        raise InputError(f"{origin}: {what} has type {values.dtype}, expected whole numbers")
    if values.dtype.kind == "f":
        # NaN and infinity are not below 2^63 either.
        bad = ~(np.abs(values) < 2.0**63) | (values != np.floor(values))
        if bad.any():
            index = tuple(int(i) for i in np.argwhere(bad)[0])
            raise InputError(
                f"{origin}: {what} is {values[index]} in row {index[0]}, expected whole numbers"
                + (" below 2^63" if abs(values[index]) >= 2.0**63 else "")
            )
    elif values.dtype == np.uint64 and values.size and values.max() > np.iinfo(np.int64).max:
        raise InputError(f"{origin}: {what} holds {values.max()}, which does not fit into 64 bits")
    return values.astype(np.int64)
