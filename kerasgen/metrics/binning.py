"""Integer histogram axes with few bins, fine at small values, and W1 of histograms on them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@lru_cache(maxsize=32)
def integer_edges(highest: int, fine: int = 128, growth: float = 0.02) -> NDArray[np.int64]:
    """Bin edges for integers 0..highest: width 1 up to ``fine``, then growing by ``growth``.

    A bin holds the integers ``edges[i] <= x < edges[i + 1]``.

    Args:
        highest: largest value.
        fine: each value below it has its own bin.
        growth: relative width of the bins above ``fine``, which bounds the error of W1 there.
    """
    edges = list(range(min(fine, highest + 1) + 1))
    while edges[-1] <= highest:
        edges.append(min(highest + 1, edges[-1] + max(1, int(edges[-1] * growth))))
    array = np.array(edges, np.int64)
    array.setflags(write=False)  # shared by all callers
    return array


def bin_centres(edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """float64 [bins], the mean integer of each bin (the integer itself where the width is 1)."""
    return (edges[:-1] + edges[1:] - 1) / 2


def wasserstein(
    reference: NDArray[np.floating],
    candidate: NDArray[np.floating],
    positions: NDArray[np.floating],
) -> float:
    """First Wasserstein distance of two weighted samples on common positions.

    On a line it is the area between the two distribution functions (Vallender 1974,
    doi:10.1137/1118101).

    Args:
        reference, candidate: [bins], weights; each is normalised to 1.
        positions: [bins], ascending; the result has their unit.

    Returns:
        The distance, NaN if either sample is empty.
    """
    if not (reference.sum() > 0 and candidate.sum() > 0):
        return float("nan")
    gap = np.cumsum(reference / reference.sum() - candidate / candidate.sum())
    return float(np.abs(gap[:-1]) @ np.diff(positions))
