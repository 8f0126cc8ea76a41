"""Clusters: connected fired pixels of one image, corners included (8-neighbourhood)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits


@dataclass(frozen=True)
class Clusters:
    """Clusters of many images, sorted by their first pixel.

    Attributes:
        image: int64 [clusters], image of each cluster.
        size: int64 [clusters], pixels.
        size_u, size_v: int64 [clusters], extent in pixels along rows (u) and columns (v).
        charge: int64 [clusters], summed ADU.
        seed: int64 [clusters], highest pixel charge, ADU.
    """

    image: NDArray[np.int64]
    size: NDArray[np.int64]
    size_u: NDArray[np.int64]
    size_v: NDArray[np.int64]
    charge: NDArray[np.int64]
    seed: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.image)


def find_clusters(hits: Hits, geometry: Geometry) -> Clusters:
    """Find clusters in sparse hits (10 ms for 70 000 hits)."""
    label = label_clusters(hits, geometry)
    image, u, v, adu = (np.asarray(x, np.int64) for x in (hits.image, hits.row, hits.col, hits.adu))
    by_label = np.argsort(label, kind="stable")
    size = np.bincount(label)
    start = np.cumsum(size) - size
    if not len(size):
        none = np.zeros(0, np.int64)
        return Clusters(none, none, none, none, none, none)
    u, v, adu = u[by_label], v[by_label], adu[by_label]
    return Clusters(
        image=image[by_label][start],
        size=size,
        size_u=np.maximum.reduceat(u, start) - np.minimum.reduceat(u, start) + 1,
        size_v=np.maximum.reduceat(v, start) - np.minimum.reduceat(v, start) + 1,
        charge=np.add.reduceat(adu, start),
        seed=np.maximum.reduceat(adu, start),
    )


def label_clusters(hits: Hits, geometry: Geometry) -> NDArray[np.int32]:
    """int32 [hits], cluster number of each hit."""
    return label_pixels(hits.image, hits.row, hits.col, (geometry.rows, geometry.cols))


def label_pixels(
    image: NDArray[np.int64],
    row: NDArray[np.integer],
    col: NDArray[np.integer],
    size: tuple[int, int],
) -> NDArray[np.int32]:
    """int32 [pixels], cluster number of each fired pixel, from 0 in the order of first pixels.

    Args:
        image: [pixels], index of the image.
        row, col: [pixels], position.
        size: rows and columns of the images.
    """
    stride = size[1] + 2  # one empty column on each side, one empty row between images:
    pixel = (image * (size[0] + 1) + row) * stride + col + 1  # no neighbour across an edge
    if not np.any(np.diff(pixel) < 0):
        return _label_sorted(pixel, stride)
    order = np.argsort(pixel, kind="stable")
    label = np.empty(len(pixel), np.int32)
    label[order] = _label_sorted(pixel[order], stride)
    return label


def _label_sorted(pixel: NDArray[np.int64], stride: int) -> NDArray[np.int32]:
    """int32 [hits], cluster of each hit, from ascending pixels with row length ``stride``."""
    n = len(pixel)
    padded = np.append(pixel, np.full(4, np.iinfo(np.int64).max))
    hit = np.arange(n)
    right = hit[padded[1 : n + 1] == pixel + 1]
    first, second = [right], [right + 1]
    below = np.searchsorted(pixel, pixel + stride - 1)  # of the three pixels of the next row
    for step in range(3):
        near = hit[padded[below + step] <= pixel + stride + 1]
        first.append(near)
        second.append(below[near] + step)
    i, j = np.concatenate(first), np.concatenate(second)
    pairs = csr_array((np.ones(len(i), np.int8), (i, j)), shape=(n, n))
    return connected_components(pairs, directed=False)[1]
