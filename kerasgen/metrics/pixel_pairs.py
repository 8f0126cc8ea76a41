"""Pairs of fired pixels of one image in the same column (along u) or row (along v)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits

REACH = 32  # pixels, largest distance of a pair


def pair_counts(
    hits: Hits, geometry: Geometry
) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs up to ``REACH`` pixels apart.

    Returns:
        For "u" and "v": image of each pair [pairs], and its distance [pairs] in pixels, 1 to
        ``REACH``. Counts per distance over the number of fired pixels are the probability that the
        pixel at this distance fired too; their cosine transform is the power spectrum
        (Wiener-Khinchin).
    """
    image = hits.image
    row, col = hits.row.astype(np.int64), hits.col.astype(np.int64)
    return {
        "u": _pairs_on_lines(image, image * geometry.cols + col, row, geometry.rows),
        "v": _pairs_on_lines(image, image * geometry.rows + row, col, geometry.cols),
    }


def _pairs_on_lines(
    image: NDArray[np.int64], line: NDArray[np.int64], place: NDArray[np.int64], length: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Image and distance of pairs of pixels on the same line, in linear time."""
    position = line * (length + REACH) + place  # lines too far apart to pair
    if np.any(np.diff(position) < 0):
        order = np.argsort(position, kind="stable")
        position, image = position[order], image[order]
    first = np.arange(len(position))
    images, distances = [image[:0]], [position[:0]]
    for step in range(1, REACH + 1):
        first = first[first + step < len(position)]
        gap = position[first + step] - position[first]
        first, gap = first[gap <= REACH], gap[gap <= REACH]  # farther steps lie farther away
        if not len(first):
            break
        images.append(image[first])
        distances.append(gap)
    return np.concatenate(images), np.concatenate(distances)
