"""Segments of the data: clusters of real pictures as straight lines, and what they are like.

numpy in, numbers out; ``deposits.py`` draws them into the cells of a generator.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.data.pipeline import draw, to_log_scale
from kerasgen.models.pxd_gan.output import EMPTY

# A segment: row and column of both ends; log of the pixels, and of the rows or columns across it
# that have any; level of the mean and of the highest charge on [-1, 1].
SEGMENT = 8
SHAPES = 4096  # clusters of each sensor whose segments are drawn from
BINS = 16  # of the places of starts, along u and v
IMAGES = 40  # pictures in memory at a time
# Neighbours within an image, also by a corner.
TOUCH = np.stack([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))])


def find_segments(
    image: NDArray[np.float32], max_charge: int
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """The segments of the clusters of pictures.

    The ends are the means, weighted by charge, of the first and last column of a cluster (of its
    rows, where it is longer along u).

    Args:
        image: [B, H, W, C] on the log scale, empty pixels -1.
        max_charge: ADU at the upper end of the scale.

    Returns:
        segment: [n, SEGMENT]; the start has the lower column (row).
        image: [n], the picture of each, rising.
        starts: [n], pixels of the cluster without a fired neighbour in the column before or in the
            row above: as many as the tracks that it is made of.
    """
    level = image.max(axis=-1)
    fired = level > EMPTY
    name, n = label(fired, TOUCH)
    where, row, col = np.nonzero(fired)
    of = name[fired] - 1
    level = level[fired].astype(np.float64)
    charge = np.expm1((level + 1) * 0.5 * math.log1p(max_charge))
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
    padded = np.pad(fired, [(0, 0), (1, 1), (1, 0)])
    before = padded[:, :-2, :-1] | padded[:, 1:-1, :-1] | padded[:, 2:, :-1] | padded[:, :-2, 1:]
    starts = np.bincount(of, ~before[fired], n).astype(np.int64)
    lines = 1 + np.where(along_v, extent[0], extent[1])
    columns = [*ends, np.log(pixels), np.log(lines), average, highest]
    return np.stack(columns, 1).astype(np.float32), where[first], starts


def padded_segments(image: NDArray[np.float32], max_charge: int) -> NDArray[np.float32]:
    """[B, H, W, C] -> segments [B, S, SEGMENT + 1], S the most of an image; the last number is 1,
    and 0 where an image has fewer."""
    segment, of, _ = find_segments(image, max_charge)
    counts = np.bincount(of, minlength=len(image))
    found = np.zeros((len(image), max(counts.max(initial=0), 1), SEGMENT + 1), np.float32)
    place = np.arange(len(of)) - np.repeat(np.cumsum(counts) - counts, counts)
    found[of, place, :SEGMENT] = segment
    found[of, place, SEGMENT] = 1
    return found


def deposit_statistics(
    hits: Hits, geometry: Geometry, image: tuple[int, int], factor: int, seed: int
) -> tuple[NDArray[np.floating], ...]:
    """What the generator is told about the deposits of the data.

    Clusters of several tracks are left out of the shapes, as generated tracks touch by chance too.
    Their number varies more than that of independent ones, as a shower has several: variance / mean
    is taken as equal in the sensors of a layer.

    Args:
        hits: images of training events.
        image: height and width of the padded image.
        factor: pixels per cell.
        seed: of the choice of the shapes.

    Returns:
        rate: [sensors], share of the cells in which a segment starts.
        spread: [sensors], relative sd of that share from image to image.
        profile: [sensors, 2, BINS], how much of it there is along u and v, 1 on average.
        shapes: [sensors, SHAPES, SEGMENT], segments of the data, by the column of their start,
            relative to its pixel: fractions of a pixel, extent, and the numbers that follow.
    """
    sensors = len(geometry.sensors)
    starts, parts, owners = np.zeros(len(hits)), [], []
    bins = [np.arange(n // factor) * BINS // (n // factor) for n in image]  # of the cells
    even: NDArray[np.float64] = np.stack(
        [
            np.bincount(b, np.clip(pixels - factor * np.arange(len(b)), 0, factor) / pixels, BINS)
            for b, pixels in zip(bins, (geometry.rows, geometry.cols), strict=True)
        ]
    )
    profile: NDArray[np.float64] = np.tile(even, (sensors, 1, 1))  # as if of one start already
    for first in range(0, len(hits), IMAGES):
        part = hits.take(np.arange(first, min(first + IMAGES, len(hits))))
        pictures = draw(part, part.adu.astype(np.float32), image, geometry.max_charge, None)
        segment, of, tracks = find_segments(pictures, geometry.max_charge)
        starts[first : first + len(part)] = np.bincount(of, tracks, len(part))
        owner = part.sensor[of].astype(np.int64)
        for k in range(2):
            cell = (segment[:, k] / factor).astype(np.int64)
            np.add.at(profile[:, k], (owner, bins[k][cell]), tracks)
        parts.append(segment[tracks == 1])
        owners.append(owner[tracks == 1])
    segment, owner = np.concatenate(parts), np.concatenate(owners)
    by_column = np.argsort(segment[:, 1], kind="stable")
    segment, owner = segment[by_column], owner[by_column]
    segment[:, 2:4] -= segment[:, :2]
    segment[:, :2] -= np.floor(segment[:, :2])
    images = np.maximum(np.bincount(hits.sensor, minlength=sensors), 1)
    # As for the occupancy: a sensor without any hit keeps one start in all its images.
    mean = np.maximum(np.bincount(hits.sensor, starts, sensors), 1) / images
    excess = np.bincount(hits.sensor, (starts - mean[hits.sensor]) ** 2, sensors)
    excess = excess / np.maximum(images - 1, 1) / mean - 1
    layers = np.unique([s.layer for s in geometry.sensors], return_inverse=True)[1]
    excess = np.maximum(np.bincount(layers, excess) / np.bincount(layers), 0)[layers]
    profile /= profile.sum(-1, keepdims=True)
    profile = np.divide(profile, even, out=np.ones_like(profile), where=even > 0)
    rng = np.random.default_rng(seed)
    shapes = np.zeros((sensors, SHAPES, SEGMENT), np.float32)
    for sensor in range(sensors):
        own = segment[owner == sensor]
        if len(own):
            chosen = rng.choice(len(own), SHAPES, replace=len(own) < SHAPES)
            shapes[sensor] = own[np.sort(chosen)]
    cells = geometry.rows * geometry.cols / factor**2
    return mean / cells, np.sqrt(excess / mean), profile, shapes
