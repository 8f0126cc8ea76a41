"""Events on their way from a foreign file into the store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.errors import InputError


@dataclass(frozen=True)
class Source:
    """An opened foreign file.

    Attributes:
        geometry: sensors and charge range of the events.
        n_events: how many events there are.
        blocks: the events, whole, a few at a time.
        creator: what made the events.
        seed: run seed of the events, where the file knows it.
    """

    geometry: Geometry
    n_events: int
    blocks: Iterator[Hits]
    creator: str
    seed: int | None = None


def whole_numbers(values: NDArray[np.generic], what: str, origin: str) -> NDArray[np.int64]:
    """The values as int64.

    Raises:
        InputError: not numbers, NaN, or not whole; names the first bad row.
    """
    if values.dtype.kind not in "iuf":
        raise InputError(f"{origin}: {what} has type {values.dtype}, expected whole numbers")
    if values.dtype.kind == "f":
        bad = ~np.isfinite(values) | (values != np.floor(values))
        if bad.any():
            index = tuple(int(i) for i in np.argwhere(bad)[0])
            raise InputError(
                f"{origin}: {what} is {values[index]} in row {index[0]}, expected whole numbers"
            )
    elif values.dtype == np.uint64 and values.size and values.max() > np.iinfo(np.int64).max:
        raise InputError(f"{origin}: {what} holds {values.max()}, which does not fit into 64 bits")
    return values.astype(np.int64)
