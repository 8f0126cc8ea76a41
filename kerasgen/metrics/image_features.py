"""Physics features of whole sensor images: one vector of numbers for each image.

Counts of pixels and clusters; moments, fractions and quantiles of the charge of pixels and of
size, lengths along u and v, charge and highest charge of clusters; pairs of fired pixels.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.metrics.clusters import find_clusters
from kerasgen.metrics.pixel_pairs import pair_counts

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
SIZE_EDGES = (2, 3, 4, 5, 6, 9, 12, 16, 25)  # pixels; fractions of clusters of at least as many
LENGTH_EDGES = (2, 3, 4, 5, 7, 10, 15, 20)  # pixels
PAIR_EDGES = (1, 2, 3, 4, 5, 7, 10, 15, 33)  # distances of pairs, pixels
Floats = NDArray[np.float64]


def image_features(hits: Hits, geometry: Geometry) -> NDArray[np.float32]:
    """Features of every image, float32 [images, F]; finite, also without hits.

    Charges are logarithms of ADU, so that no number depends on their range.

    Args:
        hits: the images.
        geometry: the detector.
    """
    n = len(hits)
    clusters = find_clusters(hits, geometry)
    of_clusters = Grouped(clusters.image, n)
    fired = hits.counts.astype(np.float64)
    columns = [np.sqrt(fired), np.sqrt(of_clusters.count)]
    columns += of_values(Grouped(hits.image, n), np.log(hits.adu.astype(np.float64)))
    for values, edges in (
        (clusters.size, SIZE_EDGES),
        (clusters.size_u, LENGTH_EDGES),
        (clusters.size_v, LENGTH_EDGES),
    ):
        columns += [of_clusters.mean(values >= edge) for edge in edges]
        columns += moments(of_clusters, values.astype(np.float64))
        columns += moments(of_clusters, np.log(values))
    for values in (clusters.charge, clusters.seed):
        columns += of_values(of_clusters, np.log(values))
    for image, distance in pair_counts(hits, geometry).values():
        for low, high in pairwise(PAIR_EDGES):
            there = (distance >= low) & (distance < high)
            columns.append(np.bincount(image[there], minlength=n) / np.maximum(fired, 1))
    return np.stack(columns, axis=1).astype(np.float32)


class Grouped:
    """Statistics of values by image.

    Args:
        image: [values], image of each value.
        images: number of images.
    """

    def __init__(self, image: NDArray[np.int64], images: int) -> None:
        self.image, self.images = image, images
        self.count = np.bincount(image, minlength=images).astype(np.float64)

    def mean(self, values: NDArray) -> Floats:
        """[images], 0 without values."""
        sums = np.bincount(self.image, values, minlength=self.images)
        return sums / np.maximum(self.count, 1)

    def quantile(self, values: Floats, fractions: tuple[float, ...]) -> list[Floats]:
        """[images] for each fraction, interpolated linearly; 0 without values."""
        ordered = np.append(values[np.lexsort((values, self.image))], 0.0)
        first = np.cumsum(self.count) - self.count
        found = []
        for fraction in fractions:
            place = fraction * np.maximum(self.count - 1, 0)
            low = np.floor(place)
            high = np.minimum(low + 1, np.maximum(self.count - 1, 0))
            at = [ordered[(first + k).astype(np.int64)] for k in (low, high)]
            value = at[0] + (place - low) * (at[1] - at[0])
            found.append(np.where(self.count > 0, value, 0.0))
        return found


def moments(group: Grouped, values: Floats) -> list[Floats]:
    """Mean and standard deviation of each image, two arrays [images]."""
    mean = group.mean(values)
    return [mean, np.sqrt(group.mean((values - mean[group.image]) ** 2))]


def of_values(group: Grouped, values: Floats) -> list[Floats]:
    """Moments and quantiles of each image, arrays [images]."""
    return [*moments(group, values), *group.quantile(values, QUANTILES)]
