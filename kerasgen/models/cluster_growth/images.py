"""From grown clusters to images; in numpy or in a graph of TensorFlow, see ``frequency``."""

from __future__ import annotations

from typing import Any

from kerasgen.models.cluster_growth.frequency import KEPT, Clusters
from kerasgen.models.cluster_growth.growth import REACH
from kerasgen.models.cluster_growth.places import COL, ROW, places_at, quantile
from kerasgen.models.cluster_growth.statistics import KNOTS_CHARGE

FIRST_MOVE = KEPT - 1  # random numbers of a cluster from here on downward
ROUNDS = 6  # of moves apart
BLOCK = 40  # images that grow together, and are in memory as owner maps
LARGEST_MOVE = 0.15  # in probability of the first pixels along u and v
SHIFT = 1  # rows and columns, of a cluster that covers one of another type
WINDOW = [(u, v) for u in range(-REACH, REACH + 1) for v in range(-REACH, REACH + 1)]


def of_last_attempt(xp: Any, clusters: int, added: Any) -> Any:
    """Those of the added pixels that belong to the last attempt of their cluster which added any.

    Args:
        xp: functions.
        clusters: how many there are.
        added: [P, ADDED], see ``lanes.grow``.
    """
    cluster, attempt = xp.int32(added[:, 0]), xp.int32(added[:, -1])
    last = xp.raised(xp.full(clusters, 0), cluster, attempt)
    return xp.take(added, xp.indices(attempt == xp.take(last, cluster)))


def moved_apart(
    xp: Any,
    network: Any,
    clusters: Clusters,
    cluster: Any,
    row: Any,
    col: Any,
    shape: Any,
) -> Any:
    """Rows and columns of pixels after clusters that cannot be where they are were moved.

    Linked pixels of one type are one cluster in the data, and every pixel is of one type. So pixels
    of two clusters of a type must not be linked; those of different types may be, but must not be
    the same. A cluster that is linked with one of a higher number moves, at random, by up to
    LARGEST_MOVE of the distribution of first pixels, which stays as it is; one that only covers
    another moves by up to SHIFT rows and columns, so that they still touch. While it meets any it
    moves again, ROUNDS times at most.

    Args:
        xp: functions.
        network: with the statistics of the sensors.
        clusters: n of them.
        cluster, row, col: of each pixel, [P].
        shape: images, rows, columns.
    """
    images, rows, cols = shape
    n, types = xp.size(clusters.row), len(network.types)
    number = (clusters.number + 1) * types + clusters.kind  # tells types apart
    image, own = xp.take(clusters.image, cluster), xp.take(number, cluster)
    limits = []
    for x, size in ((row, rows), (col, cols)):
        low, high = xp.lowered(xp.full(n, size), cluster, x), xp.raised(xp.full(n, 0), cluster, x)
        limits.append((-low, size - 1 - high))
    first = clusters.row, clusters.col
    levels = [xp.uniform_at(clusters.key, number) for number in (ROW, COL)]
    height, width = rows + 2 * REACH, cols + 2 * REACH
    start = (image * height + row + REACH) * width + col + REACH
    owner = xp.raised(xp.full(images * height * width, 0), start, own)  # of a pixel; 0: none
    covers = xp.take(owner, start) > own
    linked = xp.zeros_like(own) < 0
    for du, dv in WINDOW:
        other = xp.take(owner, start + (du * width + dv))
        linked |= (other > own) & (other % types == own % types)
    some, place = xp.arange(xp.size(start)), start  # pixels of the clusters that moved last
    move = [xp.zeros_like(clusters.row)] * 2
    for turn in range(ROUNDS):
        of = xp.take(cluster, some)
        meets = xp.raised(xp.full(n, 0), of, 2 * xp.int32(linked) + xp.int32(covers))
        moves, shifts = meets > 1, meets == 1
        still = xp.indices(xp.take(moves | shifts, of))
        some, place = xp.take(some, still), xp.take(place, still)
        of, mine, here = xp.take(cluster, some), xp.take(own, some), xp.take(owner, place)
        owner = xp.lowered(owner, place, xp.where(here == mine, 0, here))
        numbers = [xp.uniform_at(clusters.key, FIRST_MOVE - 2 * turn - axis) for axis in (0, 1)]
        new = (x + LARGEST_MOVE * (2 * y - 1) for x, y in zip(levels, numbers, strict=True))
        new = (1 - abs(1 - abs(x)) for x in new)  # mirrored at 0 and 1
        for axis, at in enumerate(places_at(xp, network, clusters.sensor, new)):
            low, high = limits[axis]
            shifted = move[axis] + xp.int32(numbers[axis] * (2 * SHIFT + 1)) - SHIFT
            by = xp.where(moves, at - first[axis], xp.where(shifts, shifted, move[axis]))
            move[axis] = xp.minimum(xp.maximum(by, low), high)
        place = xp.take(start, some) + xp.take(move[0] * width + move[1], of)
        owner = xp.raised(owner, place, xp.where(xp.take(owner, place) == 0, mine, 0))
        other = xp.take(owner, place)
        covers = (other != 0) & (other != mine)
        linked = xp.zeros_like(mine) < 0
        for du, dv in WINDOW:
            other = xp.take(owner, place + (du * width + dv))
            linked |= (other != 0) & (other != mine) & (other % types == mine % types)
    return tuple(x + xp.take(m, cluster) for x, m in zip((row, col), move, strict=True))


def of_types(xp: Any, clusters: Clusters, chosen: Any) -> Any:
    """Indices of the clusters whose types are chosen.

    Args:
        xp: functions.
        clusters: n of them.
        chosen: bool [N, T], by image and type.
    """
    types = chosen.shape[1]
    return xp.indices(xp.take(xp.flat(chosen), clusters.image * types + clusters.kind))


def charges(xp: Any, table: Any, sensor: Any, level: Any, lowest: int, highest: int) -> Any:
    """Charges in ADU of charge levels, int32 [P].

    Args:
        xp: functions.
        table: [S, KNOTS_CHARGE], ADU.
        sensor, level: of each pixel.
        lowest, highest: range of charges.
    """
    place = 1 - xp.sqrt(1 - level)  # see ``statistics.TAIL``
    adu = xp.int32(quantile(xp, table, KNOTS_CHARGE, sensor, place) + 0.5)
    return xp.minimum(xp.maximum(adu, lowest), highest)


def drawn(
    xp: Any, clusters: Clusters, cluster: Any, row: Any, col: Any, adu: Any, shape: Any, types: int,
    max_charge: int,
) -> Any:  # fmt: skip
    """Images of codes, int32 [N, rows, cols]: charge * types + type.

    Charges in one pixel add up, to at most ``max_charge``; its type is that of the highest one.

    Args:
        xp: functions.
        clusters: that the pixels belong to.
        cluster, row, col, adu: of each pixel, [P].
        shape: N, rows, cols.
        types: how many there are.
        max_charge: ADU.
    """
    images, rows, cols = shape
    pixel = (xp.take(clusters.image, cluster) * rows + row) * cols + col
    none = xp.full(images * rows * cols, 0)
    total = xp.minimum(xp.added(none, pixel, adu), max_charge)
    if types > 1:
        none = xp.full(images * rows * cols, 0)
        highest = xp.raised(none, pixel, adu * types + xp.take(clusters.kind, cluster))
        total = total * types + highest % types
    return xp.reshape(total, (images, rows, cols))
