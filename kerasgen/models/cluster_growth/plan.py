"""The plan of a cluster, drawn before it grows: rows, columns, pixels, gaps and tilt, by its type.

A network that only decides after each pixel whether one more follows makes long clusters too rare:
small errors of its own pixels add up. Lengths that are drawn at once are as frequent as those of
the data. In the same way straight tracks stay straight. A pixel beyond a gap has no neighbour in
the cluster when it is added.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from kerasgen.models.cluster_growth.growth import GrownClusters, Ints

PARTS = 6  # rows, columns, pixels, gaps + 1, tilt, type; each has a class
SIZES = 4  # the parts before the tilt, whose numbers the plan has too
ROWS, COLUMNS, PIXELS, GAPS = range(PARTS, PARTS + SIZES)  # columns of a plan: the numbers
PLANS, LARGEST = 66, 4096  # classes of a part; largest number


def edges(exact: range, below: int = 0) -> NDArray[np.int32]:
    """Edges of PLANS classes of numbers, the last one beyond the largest number.

    Those of ``exact`` have a class each. Larger ones up to LARGEST are in classes of equal ratio,
    and smaller ones down to -LARGEST in ``below`` classes.
    """
    lower = exact.start - 1 - np.geomspace(1, LARGEST, below + 1)[below:0:-1]
    higher = np.geomspace(exact.stop, LARGEST + 1, PLANS + 1 - len(exact) - below)
    return np.round(np.concatenate([lower, exact, higher])).astype(np.int32)


# The numbers of class k of a part are EDGES[part, k] to EDGES[part, k + 1] - 1. Pixels are counted
# from the larger one of rows and columns on: of tracks as straight as each other, whatever their
# length, these are as many.
COUNTS, PIXELS_BEYOND = edges(range(1, 33)), edges(range(-8, 32), 6)
EDGES = np.stack([COUNTS, COUNTS, PIXELS_BEYOND, COUNTS])
LAST_PLACE = np.float32(1 - 2**-24)  # in a class: rounding does not lead to the next one
OFFSET = PLANS * np.arange(PARTS, dtype=np.int32)  # of the rows of a part in a table of all classes
# Tilts 1, 2 .. are between these correlations of row and column; 0: a single row or column.
CORRELATIONS = (-0.97, -0.9, -0.75, -0.5, -0.2, 0.2, 0.5, 0.75, 0.9, 0.97)
STEEP = 3  # so many of the first and of the last tilts: rows go one way only
TILT, TILTS = SIZES, 2 + len(CORRELATIONS)  # column of a plan: the class; number of classes
TYPE = TILT + 1  # column of a plan: index of the background type in those of the model; known first


def plans_of(clusters: GrownClusters, recent: int, types: tuple[int, ...] = ()) -> Ints:
    """Plan of every cluster, [n, PARTS + SIZES]: classes of all parts, then numbers.

    Args:
        clusters: n of them.
        recent: latest pixels of a cluster, among which an added one has a neighbour or not.
        types: background types; the pixels of a cluster are of one. Empty: all clusters are alike.
    """
    start = np.flatnonzero(clusters.is_first)
    if not len(start):
        return np.zeros((0, PARTS + SIZES), np.int64)
    gaps = np.add.reduceat(beyond_gap(clusters, recent).astype(np.int64), start)
    pixels = np.diff(start, append=len(clusters))
    sizes = [
        np.maximum.reduceat(x, start) - np.minimum.reduceat(x, start) + 1
        for x in (clusters.row, clusters.col)
    ]
    numbers = *sizes, pixels, gaps + 1
    counted = *sizes, pixels - np.maximum(*sizes), gaps + 1
    classes = [
        np.searchsorted(edges[:-1], x, side="right") - 1
        for edges, x in zip(EDGES, counted, strict=True)
    ]
    classes.append(tilts(clusters, start, pixels))
    of_type = [clusters.type[start] == t for t in types]
    classes.append(np.argmax(of_type, 0) if types else np.zeros_like(start))
    return np.stack([*classes, *numbers], 1)


def tilts(clusters: GrownClusters, start: Ints, pixels: Ints) -> Ints:
    """Tilt of every cluster, [n]; see CORRELATIONS.

    Args:
        clusters: n of them.
        start, pixels: [n], index of the first pixel, and how many.
    """
    row, col = (
        x - np.repeat(np.add.reduceat(x, start) / pixels, pixels)
        for x in (clusters.row, clusters.col)
    )
    uu, vv, uv = (np.add.reduceat(x, start) for x in (row * row, col * col, row * col))
    flat = np.minimum(uu, vv) == 0
    correlation = uv / np.sqrt(np.where(flat, 1, uu * vv))
    return np.where(flat, 0, 1 + np.searchsorted(CORRELATIONS, correlation))


def beyond_gap(clusters: GrownClusters, recent: int) -> NDArray[np.bool_]:
    """[n], whether a pixel has no neighbour among the ``recent`` ones before it."""
    return (clusters.behind > recent) & ~clusters.is_first


def plan_frequencies(plans: Ints) -> NDArray[np.int64]:
    """How many clusters have each class of each part, [PARTS, PLANS]."""
    return np.stack([np.bincount(plans[:, k], minlength=PLANS) for k in range(PARTS)])


def number_of_class(part: int, classes: Any, logits: Any, share: Any) -> Any:
    """Numbers of classes of a part, int32 [B], drawn with ``share`` on [0, 1).

    Their density is linear in a class, with the geometric mean of the densities of two classes
    where they meet.

    Args:
        part: of the plan.
        classes: [B].
        logits: of all classes, [B, PLANS].
        share: [B].
    """
    edges = EDGES[part]
    density = logits - np.log(np.diff(edges)).astype(np.float32)
    before, after = (
        ops.take_along_axis(density, ops.clip(classes + k, 0, PLANS - 1)[:, None], 1)[:, 0]
        for k in (-1, 1)
    )
    slope = ops.tanh((after - before) / 4)  # the density at x on [0, 1) is 1 + slope (2 x - 1)
    root = ops.sqrt((1 - slope) ** 2 + 4 * slope * share)
    place = ops.minimum(2 * share / ops.maximum(1 - slope + root, 1e-6), LAST_PLACE)
    low, high = (ops.take(ops.convert_to_tensor(edges), classes + k) for k in (0, 1))
    return low + ops.cast(place * ops.cast(high - low, "float32"), "int32")


def class_of_number(part: int, number: Any) -> Any:
    """Classes of numbers of a part, int32 [B]."""
    return ops.sum(ops.cast(EDGES[part, :-1] <= number[:, None], "int32"), -1) - 1


def tilts_that_fit(rows: Any, first: Any, size: int) -> Any:
    """Whether clusters with a tilt of each class are on the sensor, bool [B, PLANS].

    The first pixel is in the lowest column: from there a steep cluster needs its rows one way.

    Args:
        rows: of the cluster, [B].
        first: row of its first pixel, [B].
        size: rows of the sensor.
    """
    tilt, rows, first = np.arange(PLANS), rows[:, None], first[:, None]
    falls, rises = (tilt > 0) & (tilt <= STEEP), tilt >= TILTS - STEEP
    return ~(falls & (first < rows - 1)) & ~(rises & (first + rows > size))


def planned_pixels(rows: Any, columns: Any, beyond: Any) -> Any:
    """Pixels of clusters, int32 [B], as many as can be linked in their rows and columns.

    Args:
        rows, columns: [B].
        beyond: pixels beyond the larger one of both, [B].
    """
    longer = ops.maximum(rows, columns)
    return ops.minimum(ops.maximum(longer + beyond, longer // 2 + 1), rows * columns)


def to_go(plan: Any, low: Any, high: Any, gaps: Any, known: Any) -> Any:
    """What is missing, [B, SIZES]: rows, columns, pixels and gaps."""
    size = ops.concatenate([high - low + 1, known[:, None], gaps[:, None] + 1], -1)
    return ops.arcsinh(ops.cast(plan[:, ROWS:] - size, "float32")) / 3
