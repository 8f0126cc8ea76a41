"""Clusters as sequences of tokens: how each grows from its first pixel.

Pixels of an image at most ``REACH`` rows and columns apart are linked, and linked pixels are one
cluster, so that tracks with gaps stay whole. A cluster begins at its pixel of the lowest column
(of these, the lowest row) and grows breadth first: the oldest pixel whose surroundings are not yet
known is the *head*. Each token adds one linked pixel of the head, in the order of ``OFFSETS``, and
says whether it is the last one; ``NOTHING`` adds none. Then the next pixel becomes the head. A
cluster of n pixels takes n - 1 tokens that add a pixel, and NOTHING at every head that adds none
before its last pixel is known: how many it has is planned, see ``plan``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits, sort_hits

REACH = 2
_AROUND = [(u, v) for v in range(-REACH, REACH + 1) for u in range(-REACH, REACH + 1)]
# Row and column of a linked pixel, relative to the head, by token: neighbours first.
OFFSETS = np.array(sorted(_AROUND, key=lambda place: max(map(abs, place)))[1:])
LINKS = len(OFFSETS)
# Tokens: k < LINKS adds pixel k and more follow; LINKS + k adds pixel k, the last of the head.
NOTHING = 2 * LINKS
TOKENS = NOTHING + 1
NO_LINK = -1
NEIGHBOURS = 8  # the first of OFFSETS
NEVER = 2**31 - 1
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class GrownClusters:
    """The pixels of many clusters, cluster by cluster in the order of growth.

    Attributes:
        image, row, col, adu, type: [n] of each pixel; the background type as in ``Hits``.
        first: [n], index of the first pixel of the cluster.
        parent: [n], index of the head that added the pixel; of a first pixel its own index.
        link: [n], index in OFFSETS of the pixel from its head; NO_LINK of a first pixel.
        behind: [n], how many pixels ago the latest neighbour of the pixel was added; NEVER without
            one, as of a first pixel, and of one beyond a gap.
    """

    image: Ints
    row: Ints
    col: Ints
    adu: Ints
    type: Ints
    first: Ints
    parent: Ints
    link: Ints
    behind: Ints

    def __len__(self) -> int:
        return len(self.row)

    @property
    def is_first(self) -> NDArray[np.bool_]:
        """[n], whether a pixel is the first of its cluster."""
        return self.link == NO_LINK


@dataclass(frozen=True)
class GrowthSteps:
    """The m tokens of clusters up to their last pixels, in no order.

    Attributes:
        token: [m].
        first, head: [m], index of the first pixel of the cluster, and of the head.
        end: [m], one past the last pixel that is known before the token.
        last: [m], link of the pixel before if the same head has added it, else NO_LINK.
    """

    token: Ints
    first: Ints
    head: Ints
    end: Ints
    last: Ints

    def __len__(self) -> int:
        return len(self.token)


def grown_clusters(hits: Hits, geometry: Geometry) -> GrownClusters:
    """Order the pixels of every cluster as it grows; the clusters by their first hit."""
    hits = sort_hits(hits, geometry)
    pixel, linked, offset = linked_pairs(hits, geometry)
    n = len(hits.row)
    label = component_labels(pixel, linked, n)
    by_column = np.argsort(column_key(hits, label, geometry))
    is_first = np.diff(label[by_column], prepend=-1) != 0
    begin = np.concatenate([[0], np.cumsum(np.bincount(pixel, minlength=n))])

    parent, link = np.arange(n), np.full(n, NO_LINK)
    front = by_column[is_first]
    known, finder = np.zeros(n, bool), np.empty(n, np.int64)
    known[front] = True
    generations = [front]
    while len(front):
        head, pair = _ranges(front, begin[front], begin[front + 1])
        head, pair = (x[~known[linked[pair]]] for x in (head, pair))
        number = np.arange(len(pair))
        finder[linked[pair[::-1]]] = number[::-1]  # the last one stays: that of the oldest head
        place = np.flatnonzero(finder[linked[pair]] == number)
        front = linked[pair[place]]
        known[front], parent[front], link[front] = True, head[place], offset[pair[place]]
        generations.append(front)
    grown = np.concatenate(generations)
    order = grown[np.argsort(label[grown], kind="stable")]
    rank = np.empty(n, np.int64)
    rank[order] = np.arange(n)
    starts = np.flatnonzero(np.diff(label[order], prepend=-1))
    first = np.repeat(starts, np.diff(starts, append=n))
    of_pixel = hits.image, hits.row, hits.col, hits.adu, hits.type
    image, row, col, adu, kind = (np.asarray(x, np.int64)[order] for x in of_pixel)
    ago = np.where(offset < NEIGHBOURS, rank[pixel] - rank[linked], 0)
    behind = np.full(n, NEVER)
    np.minimum.at(behind, rank[pixel[ago > 0]], ago[ago > 0])
    parent, link = rank[parent[order]], link[order]
    return GrownClusters(image, row, col, adu, kind, first, parent, link, behind)


def first_pixels(hits: Hits, geometry: Geometry) -> tuple[Ints, Ints, Ints]:
    """Image, row and column of the first pixels of all clusters, image by image.

    They are those of ``grown_clusters``, which takes three times as long.
    """
    hits = sort_hits(hits, geometry)
    pixel, linked, _ = pairs_once(hits, geometry)
    label = component_labels(pixel, linked, len(hits.row))
    by_column = np.argsort(column_key(hits, label, geometry))
    first = np.sort(by_column[np.diff(label[by_column], prepend=-1) != 0])
    image, row, col = (np.asarray(x, np.int64)[first] for x in (hits.image, hits.row, hits.col))
    return image, row, col


def component_labels(pixel: Ints, linked: Ints, n: int) -> NDArray[np.int32]:
    """Number of the cluster of each of n pixels, from pairs of linked ones."""
    graph = csr_array((np.ones(len(pixel), np.int8), (pixel, linked)), shape=(n, n))
    return connected_components(graph, directed=False)[1] if n else np.zeros(0, np.int32)


def column_key(hits: Hits, label: NDArray[np.int32], geometry: Geometry) -> Ints:
    """Sorts pixels by cluster, then column, then row."""
    return (np.int64(geometry.cols) * label + hits.col) * geometry.rows + hits.row


def linked_pairs(hits: Hits, geometry: Geometry) -> tuple[Ints, Ints, Ints]:
    """All pairs of linked pixels: pixel, linked pixel and its index in OFFSETS, sorted.

    Args:
        hits: the hits of each image sorted by row, then column.
        geometry: the detector.
    """
    pixel, linked, offset = pairs_once(hits, geometry)
    opposite = np.array([np.flatnonzero((-x == OFFSETS).all(1))[0] for x in OFFSETS])
    offset = np.concatenate([offset, opposite[offset]])
    pixel, linked = np.concatenate([pixel, linked]), np.concatenate([linked, pixel])
    order = np.argsort(pixel * LINKS + offset)
    return pixel[order], linked[order], offset[order]


def pairs_once(hits: Hits, geometry: Geometry) -> tuple[Ints, Ints, Ints]:
    """Each pair of ``linked_pairs`` once, the linked pixel after the pixel; not sorted."""
    stride = geometry.cols + REACH  # empty columns and rows: no links across an edge
    line = hits.image * (geometry.rows + REACH) + hits.row
    key = line * stride + hits.col
    every = np.arange(len(key))
    number = np.empty((2 * REACH + 1, 2 * REACH + 1), np.int64)
    number[tuple(OFFSETS.T)] = np.arange(LINKS)  # negative offsets count from the end
    found = []
    for u in range(REACH + 1):
        # Linked pixels of the row are neighbours in the order of the keys.
        begin = np.searchsorted(key, key + (u * stride - REACH)) if u else every + 1
        end = np.searchsorted(key, key + (u * stride + REACH), side="right")
        pixel, linked = _ranges(every, begin, end)
        found.append((pixel, linked, number[u, key[linked] - key[pixel] - u * stride]))
    pixel, linked, offset = (np.concatenate(x) for x in zip(*found, strict=True))
    return pixel, linked, offset


def _ranges(rows: Ints, begin: Ints, end: Ints) -> tuple[Ints, Ints]:
    """The elements begin[i] .. end[i] - 1 of every row i: its value and the index of each."""
    size = end - begin
    before = np.cumsum(size) - size
    return np.repeat(rows, size), np.arange(size.sum()) + np.repeat(begin - before, size)


def growth_steps(clusters: GrownClusters) -> GrowthSteps:
    """The tokens of every cluster: first those that add a pixel, then the others.

    Where every cluster is a single pixel, NOTHING of each, so that there are any.
    """
    n = np.arange(len(clusters))
    first, parent, link = clusters.first, clusters.parent, clusters.link
    adds = np.flatnonzero(~clusters.is_first)
    after = np.minimum(adds + 1, len(n) - 1)
    more = (parent[after] == parent[adds]) & (after > adds)
    after_first = link[adds - 1] == NO_LINK
    same_head = (parent[adds - 1] == parent[adds]) & ~after_first
    has_more = np.zeros(len(n), bool)
    has_more[parent[adds]] = True
    barren = np.flatnonzero(~has_more)
    known = np.searchsorted(parent, barren, side="right")
    whole = (known == len(n)) | (first[np.minimum(known, len(n) - 1)] != first[barren])
    if not whole.all() or len(adds):
        barren, known = barren[~whole], known[~whole]
    return GrowthSteps(
        token=np.concatenate([link[adds] + LINKS * ~more, np.full(len(barren), NOTHING)]),
        first=first[np.concatenate([adds, barren])],
        head=np.concatenate([parent[adds], barren]),
        end=np.concatenate([adds, known]),
        last=np.concatenate(
            [np.where(same_head, link[adds - 1], NO_LINK), np.full(len(barren), NO_LINK)]
        ),
    )
