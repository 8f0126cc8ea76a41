"""The plan of a cluster, drawn before it grows: how many rows, columns and pixels it has.

A network that only decides after each pixel whether one more follows makes long clusters too rare:
small errors of its own pixels add up. Lengths that are drawn at once are as frequent as those of
the data.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from kerasgen.models.cluster_growth.growth import GrownClusters, Ints

PARTS = 3  # rows, columns, pixels; each has a class
NUMBER = 3  # column of a plan with the number of pixels itself
# The numbers of class k are EDGES[k] to EDGES[k + 1] - 1: small ones exact, others within 15 %.
EXACT, RATIO, LARGEST = 16, 1.15, 4096
_LARGER = EXACT * RATIO ** np.arange(1, np.ceil(np.log(LARGEST / EXACT) / np.log(RATIO)))
EDGES = np.r_[1 : EXACT + 1, np.round(_LARGER), LARGEST + 1].astype(np.int32)
PLANS = len(EDGES) - 1
OFFSET = PLANS * np.arange(PARTS, dtype=np.int32)  # of the rows of a part in a table of all classes


def plans_of(clusters: GrownClusters) -> Ints:
    """Plan of every cluster, [n, 4]: classes of its rows, columns and pixels, number of pixels."""
    start = np.flatnonzero(clusters.is_first)
    if not len(start):
        return np.zeros((0, PARTS + 1), np.int64)
    pixels = np.diff(start, append=len(clusters))
    sizes = [
        np.maximum.reduceat(x, start) - np.minimum.reduceat(x, start) + 1
        for x in (clusters.row, clusters.col)
    ]
    classes = [np.searchsorted(EDGES[:-1], x, side="right") - 1 for x in (*sizes, pixels)]
    return np.stack([*classes, pixels], 1)


def plan_frequencies(plans: Ints) -> NDArray[np.int64]:
    """How many clusters have each class of rows, of columns and of pixels, [PARTS, PLANS]."""
    return np.stack([np.bincount(plans[:, k], minlength=PLANS) for k in range(PARTS)])


def number_of_class(classes: Any, share: Any) -> Any:
    """Number of pixels of a class, int32 [B], evenly drawn with ``share`` on [0, 1)."""
    low, high = (ops.take(ops.convert_to_tensor(EDGES), classes + k) for k in (0, 1))
    return low + ops.cast(share * ops.cast(high - low, "float32"), "int32")


def longest(plan: Any) -> Any:
    """Largest numbers of rows and of columns of plans, int32 [B, 2]."""
    return ops.take(ops.convert_to_tensor(EDGES), plan[:, :2] + 1) - 1


def to_go(plan: Any, low: Any, high: Any, known: Any) -> Any:
    """What is missing, [B, 5]: rows and columns to the lowest and largest planned ones, pixels."""
    size = high - low + 1
    least = ops.take(ops.convert_to_tensor(EDGES), plan[:, :2])
    missing = [least - size, longest(plan) - size, (plan[:, NUMBER] - known)[:, None]]
    return ops.arcsinh(ops.cast(ops.concatenate(missing, -1), "float32")) / 3
