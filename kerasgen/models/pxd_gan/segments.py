"""Segments of the data: clusters of real pictures as straight lines, and what they are like.

numpy in, numbers out; ``clusters.py`` draws them into the cells of a generator.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.data.pipeline import log_scale_images, to_log_scale
from kerasgen.models.pxd_gan.output import EMPTY

# A segment: row and column of both ends; log of the pixels, and of the rows or columns across it
# that have any; level of the mean and of the highest charge on [-1, 1].
SEGMENT = 8
SHAPES = 4096  # clusters of each sensor whose segments are drawn from
BINS = 16  # of the places of starts, along u and v
CLASSES = 29  # of cluster sizes, up to 128 pixels
CLUSTERED = 64  # images of each sensor whose clusters are found
REACH = 16  # pixels that clusters move, at most
# Neighbours within an image, also by a corner.
TOUCH = np.stack([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))])


@dataclass(frozen=True)
class Clusters:
    """Clusters of pictures.

    Attributes:
        segment: float32 [n, SEGMENT]; the start has the lower column (row).
        image: [n], the picture of each, rising.
        pixel: [3, hits], picture, row and column of all fired pixels.
        of: [hits], the cluster of each.
    """

    segment: NDArray[np.float32]
    image: NDArray[np.int64]
    pixel: NDArray[np.int64]
    of: NDArray[np.int64]


def find_clusters(image: NDArray[np.float32], max_charge: int) -> Clusters:
    """The clusters of pictures and their segments.

    The ends are the means, weighted by charge, of the first and last column of a cluster (of its
    rows, where it is longer along u).

    Args:
        image: [B, H, W, C] on the log scale, empty pixels -1.
        max_charge: ADU at the upper end of the scale.
    """
    level = image.max(axis=-1)
    fired = level > EMPTY
    name, n = label(fired, TOUCH)
    where, row, col = np.nonzero(fired)
    of = name[fired] - 1
    level = level[fired].astype(np.float64)
    charge = to_charge(level, max_charge)
    first = np.zeros(n, np.int64)
    first[of[::-1]] = np.arange(len(of))[::-1]
    low, high = np.full((2, n), image.size), np.full((2, n), -1)
    for k, place in enumerate((row, col)):
        np.minimum.at(low[k], of, place)
        np.maximum.at(high[k], of, place)
    extent = high - low
    along_v = extent[1] >= extent[0]
    along = np.where(along_v[of], col, row)
    across = np.where(along_v[of], row, col)
    ends = []
    for bound in (low, high):
        end = np.where(along_v, bound[1], bound[0])
        weight = charge * (along == end[of])
        mean = np.bincount(of, weight * across, n) / np.bincount(of, weight, n)
        ends += [np.where(along_v, mean, end), np.where(along_v, end, mean)]
    pixels = np.bincount(of, minlength=n)
    average = to_log_scale(np.bincount(of, charge, n) / pixels, max_charge)
    highest = np.full(n, EMPTY)
    np.maximum.at(highest, of, level)
    lines = 1 + np.where(along_v, extent[0], extent[1])
    columns = [*ends, np.log(pixels), np.log(lines), average, highest]
    segment = np.stack(columns, 1).astype(np.float32)
    return Clusters(segment, where[first], np.stack([where, row, col]), of)


def moved_clusters(image: NDArray[np.float32], max_charge: int) -> dict[str, NDArray[np.float32]]:
    """Pictures in which every cluster has moved by up to REACH pixels, and their segments.

    Clusters of the data that touch are one. Generated segments meet by chance, and of real pictures
    alone a network learns that segments never touch, and leaves gaps between them. What leaves on
    one side comes in on the other; the distances follow from the (dequantised) charges.

    Args:
        image: [B, H, W, C] on the log scale, empty pixels -1.
        max_charge: ADU at the upper end of the scale.

    Returns:
        moved: as ``image``; pixels of several clusters have the sum of their charges.
        segments: [B, S, SEGMENT + 1], S the most of a picture; the last number is 1, and 0 where
            one has fewer.
    """
    clusters = find_clusters(image, max_charge)
    counts = np.bincount(clusters.image, minlength=len(image))
    distance = np.concatenate(
        [
            np.random.default_rng(zlib.crc32(picture.tobytes())).integers(
                -REACH, REACH, (n, 2), endpoint=True
            )
            for picture, n in zip(image, counts, strict=True)
        ]
    )
    where, row, col = clusters.pixel
    to_row, to_col = (clusters.pixel[1:].T + distance[clusters.of]).T
    charge: NDArray[np.float64] = np.zeros(image.shape)
    place = where, to_row % image.shape[1], to_col % image.shape[2]
    np.add.at(charge, place, to_charge(image[where, row, col], max_charge))
    moved = to_log_scale(np.minimum(charge, max_charge).astype(np.float32), max_charge)

    segments = np.zeros((len(image), max(counts.max(initial=0), 1), SEGMENT + 1), np.float32)
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    segments[clusters.image, number, :SEGMENT] = clusters.segment
    segments[clusters.image, number, :4] += np.tile(distance, 2)
    segments[clusters.image, number, SEGMENT] = 1
    return {"moved": moved, "segments": segments}


def to_charge(level: NDArray[np.floating], max_charge: int) -> NDArray[np.float64]:
    """ADU of levels on [-1, 1], the inverse of ``to_log_scale``."""
    return np.expm1((level.astype(np.float64) + 1) * 0.5 * math.log1p(max_charge))


def cluster_statistics(
    hits: Hits, geometry: Geometry, image: tuple[int, int], factor: int, seed: int
) -> tuple[NDArray[np.floating], ...]:
    """What the generator is told about the clusters of the data.

    Segments meet by chance, so that clusters of the data are fewer and larger than the segments
    that they come from: ``alone`` says how much, and clusters count that much more or less. They
    are those of the first CLUSTERED images of a sensor; pixels are counted in all.

    Args:
        hits: images of training events.
        image: height and width of the padded image.
        factor: pixels per cell.
        seed: of the choice of the shapes.

    Returns:
        rate: [sensors], share of the cells in which a segment starts.
        spread: [sensors, 2], relative sd of that share: of all sensors of an event together, and
            of each apart.
        along_u, along_v: [sensors, cells], how much of it there is in every row and column of
            cells, 1 on average over the sensor, and 0 outside; equal within a bin.
        shapes: [sensors, SHAPES, SEGMENT], segments of the data, by the column of their start,
            relative to its pixel: fractions of a pixel, extent, and the numbers that follow.
    """
    sensors, rng = len(geometry.sensors), np.random.default_rng(seed)
    layer = np.unique([s.layer for s in geometry.sensors], return_inverse=True)[1]
    pixels = geometry.rows, geometry.cols
    cells = [np.arange(n // factor) for n in image]
    inside = [np.clip(n / factor - k, 0, 1) for n, k in zip(pixels, cells, strict=True)]
    bins = [k * BINS // len(k) for k in cells]
    even = [np.bincount(*x, BINS) / x[1].sum() for x in zip(bins, inside, strict=True)]
    profile = [np.tile(x, (sensors, 1)) for x in even]  # as if of one start already
    shapes = np.zeros((sensors, SHAPES, SEGMENT), np.float32)
    starts, pixels_of, squares = np.zeros((3, sensors))
    where = [np.flatnonzero(hits.sensor == sensor)[:CLUSTERED] for sensor in range(sensors)]
    found = [clusters_of_sensor(hits.take(i), geometry, image) for i in where]
    sizes = np.array([numbers for *_, numbers in found])  # [sensors, 2, CLASSES]
    every, pairs = np.stack([sizes[layer == k].sum(0) for k in layer], 1)
    more = np.divide(pairs, every, out=np.zeros_like(pairs), where=every > 0)
    alone = np.clip(1 - 0.5 * more, 0, 2)
    for sensor, (own, _) in enumerate(found):
        size = np.exp(own[:, 4])
        weight = alone[sensor][size_class(size)]
        starts[sensor] = weight.sum()
        pixels_of[sensor], squares[sensor] = weight @ size, weight @ size**2
        for k in range(2):
            cell = (own[:, k] / factor).astype(np.int64)
            profile[k][sensor] += np.bincount(bins[k][cell], weight, BINS)
        if weight.any():
            shapes[sensor] = drawn_shapes(own, weight, rng)
    along = [
        (p / p.sum(1, keepdims=True))[:, b] * i / np.maximum(e[b], 1e-9)
        for p, b, i, e in zip(profile, bins, inside, even, strict=True)
    ]
    # As for the occupancy: a sensor without any hit keeps one start in all these images.
    mean = np.maximum(starts, 1) / np.maximum([len(i) for i in where], 1)
    # Segments have at least one pixel each, also those of a layer where none was seen.
    pile = np.maximum(np.bincount(layer, squares), 1) / np.maximum(np.bincount(layer, pixels_of), 1)
    spread = pixel_spread(hits, layer, pile)
    return mean / (math.prod(pixels) / factor**2), spread, *along, shapes


def clusters_of_sensor(
    hits: Hits, geometry: Geometry, image: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.floating]]:
    """Segments of the clusters of one sensor, and their number by size, [2, CLASSES].

    In an image; and how many more if two images are laid over each other, where clusters of one
    meet those of the other. Within an image half of that has happened by chance. One image is
    upside down, so that hardly a pixel of the detector meets itself. All images of the sensor are
    in memory at once, 20 bytes per pixel.
    """
    pictures = log_scale_images(hits, hits.adu.astype(np.float32), image, geometry.max_charge, None)
    found = find_clusters(pictures, geometry.max_charge)
    sizes = np.zeros((len(hits), CLASSES))
    np.add.at(sizes, (found.image, size_class(np.exp(found.segment[:, 4]))), 1)
    fired = pictures[:, : geometry.rows].max(-1) > EMPTY
    name, n = label(fired[1:] | fired[:-1, ::-1], TOUCH)
    both = size_class(np.bincount(name[name > 0] - 1, minlength=n))
    pairs = np.bincount(both, minlength=CLASSES) - sizes[1:].sum(0) - sizes[:-1].sum(0)
    numbers = np.stack([sizes.sum(0) / max(len(hits), 1), pairs / max(len(hits) - 1, 1)])
    return found.segment, numbers


def drawn_shapes(
    segment: NDArray[np.float32], weight: NDArray[np.floating], rng: np.random.Generator
) -> NDArray[np.float32]:
    """SHAPES segments, each as often as its weight says, as ``cluster_statistics`` gives them.

    Drawn at equal steps of the summed weights (systematic sampling): rare shapes are not lost.
    """
    order = np.argsort(segment[:, 1], kind="stable")
    reached = np.cumsum(weight[order])
    steps = (np.arange(SHAPES) + rng.random()) / SHAPES * reached[-1]
    shapes = segment[order[np.searchsorted(reached, steps, side="right")]]
    shapes[:, 2:4] -= shapes[:, :2]
    shapes[:, :2] -= np.floor(shapes[:, :2])
    return shapes


def size_class(pixels: NDArray[Any]) -> NDArray[np.int64]:
    """Classes of cluster sizes: four of a doubling, and one of all that are larger."""
    return np.minimum(4 * np.log2(pixels) + 0.01, CLASSES - 1).astype(np.int64)


def pixel_spread(
    hits: Hits, layer: NDArray[np.int64], pile: NDArray[np.floating]
) -> NDArray[np.float64]:
    """``spread`` of ``cluster_statistics``, from the fired pixels of all images.

    Pixels of independent segments of n pixels each have variance / mean E[n^2] / E[n] (a compound
    Poisson process); those of the data have more, as sensors have more background in one event than
    in another. The excess is taken as equal in the sensors of a layer, and what sensors of an event
    share as equal in all of them.

    Args:
        layer: [sensors], counted from 0.
        pile: [layers], E[n^2] / E[n], pixels.
    """
    sensors = len(layer)
    images = np.bincount(hits.sensor, minlength=sensors)
    total = np.bincount(hits.sensor, hits.counts, sensors)
    mean = np.maximum(total, 1) / np.maximum(images, 1)
    more = hits.counts / mean[hits.sensor] - 1
    known = (images > 1) & (total > 0)  # sensors that say how much numbers vary
    square = np.bincount(hits.sensor, more**2, sensors) / np.maximum(images - 1, 1)
    excess = np.bincount(layer, known * (square * mean - pile[layer])) / np.maximum(
        np.bincount(layer, known), 1
    )
    excess = np.where(known, np.maximum(excess, 0)[layer] / mean, 0)
    of_known = known[hits.sensor]
    event, more = np.unique(hits.event[of_known], return_inverse=True)[1], more[of_known]
    pairs = np.bincount(event, more) ** 2 - np.bincount(event, more**2)
    count = np.bincount(event) ** 2 - np.bincount(event)
    common = np.clip(pairs.sum() / max(count.sum(), 1), 0, excess)
    return np.sqrt(np.stack([common, excess - common], 1))
