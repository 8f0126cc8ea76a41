"""How busy the surroundings of a cluster are, on which its plan and growth depend.

Clusters of busy images, and of busy regions of an image, are of another kind: showers, for example,
make many short ones close to each other.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

# Rows and columns of equal regions of a sensor, in which the clusters of a type are counted.
REGIONS = (1, 1), (1, 3), (2, 6)
ACTIVITY = len(REGIONS) + 1  # numbers of a cluster


def activity_of(
    xp: Any, statistics: Any, size: tuple[int, int], which: Any, sensor: Any, row: Any, col: Any,
    usual: Any, level: Any,
) -> Any:  # fmt: skip
    """What clusters depend on of their images, float32 [n, ACTIVITY].

    For each of REGIONS the logarithm of the number of clusters of the type in the region of the
    cluster, over the mean on the sensor at this level. The level - 1: the higher it is, the more
    clusters are of two particles.

    Args:
        xp: functions, see ``frequency``.
        statistics: of the sensors, with ``along_u`` and ``along_v``.
        size: rows and columns of a sensor.
        which: image and type of the clusters, [n], below N.
        sensor, row, col: sensor and first pixel of the clusters, [n].
        usual: mean number of clusters of the images and types, [N].
        level: of the images and types, [N].
    """
    found = []
    for regions in REGIONS:
        at, mean = which, xp.take(usual, which)
        tables = statistics.along_u, statistics.along_v
        for table, place, length, n in zip(tables, (row, col), size, regions, strict=True):
            region = place * n // length
            shares = xp.flat(region_shares(xp, table, length, n))
            at, mean = at * n + region, mean * xp.take(shares, sensor * n + region)
        count = xp.counts(at, xp.size(usual) * regions[0] * regions[1])
        found.append(xp.log((xp.float32(xp.take(count, at)) + 1) / (mean + 1)))
    return xp.stack([*found, xp.take(level, which) - 1], 1)


def region_shares(xp: Any, table: Any, length: int, n: int) -> Any:
    """Share of first pixels in n regions of a side, float32 [S, n], by quantiles [S, K]."""
    low, high = table[:, :-1], table[:, 1:]
    below = []
    for k in range(n + 1):
        edge = float(-(-k * length // n))  # in whole pixels
        share = (edge - low) / xp.maximum(high - low, 1e-6)
        below.append(xp.total(xp.minimum(xp.maximum(share, 0.0), 1.0)) / (table.shape[1] - 1))
    return xp.stack([b - a for a, b in pairwise(below)], 1)
