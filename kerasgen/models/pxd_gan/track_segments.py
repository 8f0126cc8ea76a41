"""Track segments: clusters of real images as straight lines, and their statistics.

numpy only; ``clusters.py`` rasterises segments into the cells of a generator.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.data.pipeline import to_log_scale
from kerasgen.metrics.clusters import label_pixels
from kerasgen.models.pxd_gan.output import EMPTY_PIXEL

# Numbers of a segment: row and column of the start and of the end; log of the number of pixels;
# log of the number of fired rows or columns across it; normalised mean charge and highest charge.
SEGMENT_SIZE = 8
TEMPLATES = 4096  # segments of real clusters that each sensor samples from
POSITION_BINS = 16  # of the start positions, along u and v
SIZE_CLASSES = 29  # classes of cluster sizes, up to 128 pixels
IMAGES_PER_SENSOR = 64  # images whose clusters are measured
MAX_DISPLACEMENT = 16  # pixels
MIN_ROWS = 256  # of the padded segments of an image; more are rare on crops


@dataclass(frozen=True)
class Clusters:
    """Clusters of images.

    Attributes:
        segment: float32 [n, SEGMENT_SIZE]; the start has the lower column (row).
        image: [n], image of each cluster, rising.
        pixel: [3, hits], image, row and column of all fired pixels.
        cluster: [hits], cluster of each fired pixel.
    """

    segment: NDArray[np.float32]
    image: NDArray[np.int64]
    pixel: NDArray[np.int64]
    cluster: NDArray[np.int64]


def image_clusters(image: NDArray[np.float32], max_charge: int) -> Clusters:
    """The clusters of dense images, see ``pixel_clusters``.

    Args:
        image: [B, H, W, C] normalised charges, empty pixels -1.
        max_charge: ADU at the upper end of the scale.
    """
    normalised = image.max(axis=-1)
    pixel = np.stack(np.nonzero(normalised > EMPTY_PIXEL))
    return pixel_clusters(pixel, normalised[tuple(pixel)], image.shape[1:3], max_charge)


def pixel_clusters(
    pixel: NDArray[np.int64], normalised: NDArray[np.float32], size: Any, max_charge: int
) -> Clusters:
    """Find the clusters of images and fit a segment to each.

    A cluster is a set of 8-connected fired pixels. It runs along v if it has at least as many
    columns as rows, else along u. Its ends are the charge-weighted mean positions in its first
    and its last column (row).

    Args:
        pixel: [3, hits], image, row and column of the fired pixels, in this order.
        normalised: [hits], charges.
        size: height and width of the images.
        max_charge: ADU at the upper end of the scale.
    """
    where, row, col = pixel
    cluster = label_pixels(where, row, col, size).astype(np.int64)
    n = cluster.max(initial=-1) + 1
    normalised = normalised.astype(np.float64)
    charge = to_adu_float64(normalised, max_charge)
    first = np.zeros(n, np.int64)
    first[cluster[::-1]] = np.arange(len(cluster))[::-1]
    low, high = np.full((2, n), max(size)), np.full((2, n), -1)
    for k, position in enumerate((row, col)):
        np.minimum.at(low[k], cluster, position)
        np.maximum.at(high[k], cluster, position)
    extent = high - low
    along_v = extent[1] >= extent[0]
    along = np.where(along_v[cluster], col, row)
    across = np.where(along_v[cluster], row, col)
    ends = []
    for bound in (low, high):
        end = np.where(along_v, bound[1], bound[0])
        weight = charge * (along == end[cluster])
        mean = np.bincount(cluster, weight * across, n) / np.bincount(cluster, weight, n)
        ends += [np.where(along_v, mean, end), np.where(along_v, end, mean)]
    pixels = np.bincount(cluster, minlength=n)
    average = to_log_scale(np.bincount(cluster, charge, n) / pixels, max_charge)
    highest = np.full(n, EMPTY_PIXEL)
    np.maximum.at(highest, cluster, normalised)
    lines = 1 + np.where(along_v, extent[0], extent[1])
    columns = [*ends, np.log(pixels), np.log(lines), average, highest]
    segment = np.stack(columns, 1).astype(np.float32)
    return Clusters(segment, where[first], pixel, cluster)


def displaced_clusters(
    image: NDArray[np.float32], max_charge: int
) -> dict[str, NDArray[np.float32]]:
    """Displace every cluster of real images by up to MAX_DISPLACEMENT pixels along u and v.

    Real clusters that touch count as one cluster, so segments of real images never touch, whereas
    generated segments overlap by chance. Trained on undisplaced images alone, a network leaves
    gaps between clusters. Clusters that leave on one side re-enter on the other. The displacements
    follow from the (dequantised) charges of the image.

    Args:
        image: [B, H, W, C] normalised charges, empty pixels -1.
        max_charge: ADU at the upper end of the scale.

    Returns:
        displaced: like ``image``; charges of overlapping clusters add up.
        segments: [B, S, SEGMENT_SIZE + 1], segments of each image at their new positions; S is a
            power of two. The last number is 1, or 0 for padding.
    """
    clusters = image_clusters(image, max_charge)
    counts = np.bincount(clusters.image, minlength=len(image))
    displacement = np.concatenate(
        [
            np.random.default_rng(zlib.crc32(x.tobytes())).integers(
                -MAX_DISPLACEMENT, MAX_DISPLACEMENT, (n, 2), endpoint=True
            )
            for x, n in zip(image, counts, strict=True)
        ]
    )
    where, row, col = clusters.pixel
    to_row, to_col = (clusters.pixel[1:].T + displacement[clusters.cluster]).T
    charge: NDArray[np.float64] = np.zeros(image.shape)
    position = where, to_row % image.shape[1], to_col % image.shape[2]
    np.add.at(charge, position, to_adu_float64(image[where, row, col], max_charge))
    displaced = to_log_scale(np.minimum(charge, max_charge).astype(np.float32), max_charge)

    rows = max(MIN_ROWS, 1 << int(counts.max(initial=1) - 1).bit_length())  # few shapes to compile
    segments = np.zeros((len(image), rows, SEGMENT_SIZE + 1), np.float32)
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    segments[clusters.image, number, :SEGMENT_SIZE] = clusters.segment
    segments[clusters.image, number, :4] += np.tile(displacement, 2)
    segments[clusters.image, number, SEGMENT_SIZE] = 1
    return {"displaced": displaced, "segments": segments}


def to_adu_float64(charge: NDArray[np.floating], max_charge: int) -> NDArray[np.float64]:
    """ADU of normalised charges, the inverse of ``to_log_scale``."""
    return np.expm1((charge.astype(np.float64) + 1) * 0.5 * math.log1p(max_charge))


def cluster_statistics(
    hits: Hits, geometry: Geometry, image: tuple[int, int], factor: int, seed: int
) -> tuple[NDArray[np.floating], ...]:
    """Measure the cluster statistics that a generator starts from.

    Segments overlap by chance, so real clusters are fewer and larger than the segments behind
    them. ``correction`` weights each cluster by its size to undo this. Clusters come from the
    first IMAGES_PER_SENSOR images of a sensor, fired pixels from all images.

    Args:
        hits: images of training events.
        geometry: the detector.
        image: height and width of the padded image.
        factor: pixels per cell.
        seed: of the choice of the templates.

    Returns:
        rate: [sensors], fraction of the cells in which a segment starts.
        deviation: [sensors, 2], relative standard deviation of the rate from event to event: the
            part that all sensors share, and the part of each sensor.
        along_u, along_v: [sensors, cells], profile of the rate along rows and columns of cells,
            1 on average over the sensor and 0 outside; constant within a bin.
        templates: [sensors, TEMPLATES, SEGMENT_SIZE], real segments sorted by start column,
            relative to the start pixel: its fractional position, extent, the other numbers.
    """
    sensors, rng = len(geometry.sensors), np.random.default_rng(seed)
    layer = np.unique([s.layer for s in geometry.sensors], return_inverse=True)[1]
    pixels = geometry.rows, geometry.cols
    cells = [np.arange(n // factor) for n in image]
    inside = [np.clip(n / factor - k, 0, 1) for n, k in zip(pixels, cells, strict=True)]
    bins = [k * POSITION_BINS // len(k) for k in cells]
    even = [np.bincount(*x, POSITION_BINS) / x[1].sum() for x in zip(bins, inside, strict=True)]
    profile = [np.tile(x, (sensors, 1)) for x in even]  # as if one segment had started already
    templates = np.zeros((sensors, TEMPLATES, SEGMENT_SIZE), np.float32)
    starts, sizes_sum, squares_sum = np.zeros((3, sensors))
    where = [np.flatnonzero(hits.sensor == sensor)[:IMAGES_PER_SENSOR] for sensor in range(sensors)]
    measured = [clusters_of_sensor(hits.take(i), geometry, image) for i in where]
    numbers = np.array([x for *_, x in measured])  # [sensors, 2, SIZE_CLASSES]
    single, gained = np.stack([numbers[layer == k].sum(0) for k in layer], 1)
    gain = np.divide(gained, single, out=np.zeros_like(gained), where=single > 0)
    correction = np.clip(1 - 0.5 * gain, 0, 2)
    for sensor, (segment, _) in enumerate(measured):
        size = np.exp(segment[:, 4])
        weight = correction[sensor][size_class(size)]
        starts[sensor] = weight.sum()
        sizes_sum[sensor], squares_sum[sensor] = weight @ size, weight @ size**2
        for k in range(2):
            cell = (segment[:, k] / factor).astype(np.int64)
            profile[k][sensor] += np.bincount(bins[k][cell], weight, POSITION_BINS)
        if weight.any():
            templates[sensor] = sampled_templates(segment, weight, rng)
    along = [
        (p / p.sum(1, keepdims=True))[:, b] * i / np.maximum(e[b], 1e-9)
        for p, b, i, e in zip(profile, bins, inside, even, strict=True)
    ]
    # As for the occupancy: a sensor without any hit keeps one start in all these images.
    mean = np.maximum(starts, 1) / np.maximum([len(i) for i in where], 1)
    # Segments have at least one pixel each, also in a layer without any cluster.
    size_ratio = np.maximum(np.bincount(layer, squares_sum), 1) / np.maximum(
        np.bincount(layer, sizes_sum), 1
    )
    deviation = occupancy_deviation(hits, layer, size_ratio)
    return mean / (math.prod(pixels) / factor**2), deviation, *along, templates


def clusters_of_sensor(
    hits: Hits, geometry: Geometry, image: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.floating]]:
    """Segments of the clusters of one sensor, and numbers of clusters by size.

    To measure how clusters merge by chance, neighbouring images are overlaid; overlaid images
    have fewer small and more large clusters than the two images apart. Within one image half of
    that change has happened already. One of the two images is upside down, so that hardly a pixel
    of the detector meets itself.

    Args:
        hits: images of the sensor, hits in the order of pixels.
        geometry: the detector.
        image: height and width of the padded image.

    Returns:
        Segments [n, SEGMENT_SIZE]. Numbers [2, SIZE_CLASSES]: clusters per image, and how many
        more clusters two overlaid images have than the two apart.
    """
    charge = to_log_scale(hits.adu.astype(np.float32), geometry.max_charge)
    number, row, col = hits.image, hits.row.astype(np.int64), hits.col.astype(np.int64)
    clusters = pixel_clusters(np.stack([number, row, col]), charge, image, geometry.max_charge)
    sizes = np.zeros((len(hits), SIZE_CLASSES))
    np.add.at(sizes, (clusters.image, size_class(np.exp(clusters.segment[:, 4]))), 1)
    below = (number * image[0] + geometry.rows - 1 - row) * image[1] + col
    above = ((number - 1) * image[0] + row) * image[1] + col
    # The first image lies above none, the last one below none.
    pixel = np.sort(np.concatenate([below[number < len(hits) - 1], above[number > 0]]))
    pixel = pixel[np.diff(pixel, prepend=-1) > 0]
    where, row, col = np.unravel_index(pixel, (len(hits), *image))
    overlaid = size_class(np.bincount(label_pixels(where, row, col, image)))
    gained = np.bincount(overlaid, minlength=SIZE_CLASSES) - sizes[1:].sum(0) - sizes[:-1].sum(0)
    numbers = np.stack([sizes.sum(0) / max(len(hits), 1), gained / max(len(hits) - 1, 1)])
    return clusters.segment, numbers


def sampled_templates(
    segment: NDArray[np.float32], weight: NDArray[np.floating], rng: np.random.Generator
) -> NDArray[np.float32]:
    """TEMPLATES segments, each in proportion to its weight, as ``cluster_statistics`` returns.

    Systematic sampling, at equal steps of the cumulative weight, keeps rare segments.

    Args:
        segment: [n, SEGMENT_SIZE].
        weight: [n].
        rng: for the offset of the steps.
    """
    order = np.argsort(segment[:, 1], kind="stable")
    cumulative = np.cumsum(weight[order])
    steps = (np.arange(TEMPLATES) + rng.random()) / TEMPLATES * cumulative[-1]
    templates = segment[order[np.searchsorted(cumulative, steps, side="right")]]
    templates[:, 2:4] -= templates[:, :2]
    templates[:, :2] -= np.floor(templates[:, :2])
    return templates


def size_class(pixels: NDArray[Any]) -> NDArray[np.int64]:
    """Class of each cluster size: four per doubling, the last one for all larger sizes."""
    return np.minimum(4 * np.log2(pixels) + 0.01, SIZE_CLASSES - 1).astype(np.int64)


def occupancy_deviation(
    hits: Hits, layer: NDArray[np.int64], size_ratio: NDArray[np.floating]
) -> NDArray[np.float64]:
    """``deviation`` of ``cluster_statistics``, from the fired pixels of all images.

    Pixels of independent segments of n pixels each have variance / mean E[n^2] / E[n] (a compound
    Poisson process). Real pixels vary more, because the background differs between events. The
    excess variance is taken as equal within a layer, and the part that the sensors of an event
    share as equal in all sensors.

    Args:
        hits: images of training events.
        layer: [sensors], layer of each sensor, counted from 0.
        size_ratio: [layers], E[n^2] / E[n], pixels.

    Returns:
        [sensors, 2], the shared part and the part of each sensor.
    """
    sensors = len(layer)
    images = np.bincount(hits.sensor, minlength=sensors)
    total = np.bincount(hits.sensor, hits.counts, sensors)
    mean = np.maximum(total, 1) / np.maximum(images, 1)
    relative = hits.counts / mean[hits.sensor] - 1
    known = (images > 1) & (total > 0)  # sensors that have a variance
    square = np.bincount(hits.sensor, relative**2, sensors) / np.maximum(images - 1, 1)
    excess = np.bincount(layer, known * (square * mean - size_ratio[layer])) / np.maximum(
        np.bincount(layer, known), 1
    )
    excess = np.where(known, np.maximum(excess, 0)[layer] / mean, 0)
    of_known = known[hits.sensor]
    event, relative = np.unique(hits.event[of_known], return_inverse=True)[1], relative[of_known]
    pairs = np.bincount(event, relative) ** 2 - np.bincount(event, relative**2)
    count = np.bincount(event) ** 2 - np.bincount(event)
    common = np.clip(pairs.sum() / max(count.sum(), 1), 0, excess)
    return np.sqrt(np.stack([common, excess - common], 1))
