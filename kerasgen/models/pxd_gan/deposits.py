"""Deposits: straight segments on which clusters lie, and the numbers that say what they look like.

Background hits are independent deposits, and most of them are short straight tracks. The generator
therefore starts from a marked Poisson process of segments instead of white noise: as many start in
a sensor as in the data; extent, number of pixels and charge of each are those of a cluster of the
training events, drawn with equal chances; and in every cell that a segment crosses there are marks,
normal numbers from which the pixels are drawn.

The marks of real clusters are inferred by an encoder, so that the generator learns to draw
clusters by reconstruction before, and while, it plays against the critic: a variational
auto-encoder of clusters beside a GAN (arXiv:1512.09300; for calorimeter showers arXiv:2005.05334).
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray
from scipy.ndimage import label

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.data.pipeline import draw
from kerasgen.models.pxd_gan.output import EMPTY
from kerasgen.models.pxd_gan.randomness import normal

# log variance of a mark; outside, a posterior is a point or wider than any prior.
LOG_VARIANCE = (-6.0, 4.0)
IMAGES = 40  # pictures in memory at a time
# A segment: row and column of both ends; log of the pixels, and of the rows or columns across it
# that have any; level of the mean and of the highest charge on [-1, 1].
SEGMENT = 8
# Clusters of each sensor whose segments are drawn from, and how many of them are near enough along
# v: tracks are longer where they come in at a smaller angle.
SHAPES, NEIGHBOURS = 4096, 512
BINS = 16  # of the places of starts, along u and v
PLACE = 4  # normal numbers of a cell: is there a segment, which, and its two places in the cell
POINTS = 128  # of a segment, at most; a pixel apart, where they are enough
FEATURES = 12  # of ``segment_map`` beside the pixels of a cell
NEAR = 8.0  # pixels from an end of a segment that count as half of the way
Statistics = tuple[Any, ...]  # of ``deposit_statistics``
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
        image: [n], the picture of each.
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
    mean = np.log1p(np.bincount(of, charge, n) / pixels) * (2 / math.log1p(max_charge)) - 1
    highest = np.full(n, EMPTY)
    np.maximum.at(highest, of, level)
    padded = np.pad(fired, [(0, 0), (1, 1), (1, 0)])
    before = padded[:, :-2, :-1] | padded[:, 1:-1, :-1] | padded[:, 2:, :-1] | padded[:, :-2, 1:]
    starts = np.bincount(of, ~before[fired], n).astype(np.int64)
    lines = 1 + np.where(along_v, extent[0], extent[1])
    columns = [*ends, np.log(pixels), np.log(lines), mean, highest]
    return np.stack(columns, 1).astype(np.float32), where[first], starts


def padded_segments(image: NDArray[np.float32], max_charge: int) -> NDArray[np.float32]:
    """[B, H, W, C] -> segments [B, S, SEGMENT + 1], S the most of an image; the last number is 1,
    and 0 where an image has fewer."""
    segment, of, _ = find_segments(image, max_charge)
    counts = np.bincount(of, minlength=len(image))
    found = np.zeros((len(image), max(counts.max(initial=0), 1), SEGMENT + 1), np.float32)
    place = np.arange(len(of)) - np.repeat(np.cumsum(counts) - counts, counts)
    order = np.argsort(of, kind="stable")
    found[of[order], place, :SEGMENT] = segment[order]
    found[of[order], place, SEGMENT] = 1
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


def segment_map(segment: Any, image: Any, shape: tuple[Any, int, int], factor: int) -> Any:
    """Segments drawn into the cells that they cross; cells of several have their mean.

    A segment that leaves the map comes in again on the other side.

    Arguments:
        segment: [n, SEGMENT], pixels.
        image: int64 [n], the image of each.
        shape: images, and cells along u and v.

    Returns:
        [B, h, w, FEATURES + factor^2]: 1 where there is one; place of the line in the cell (u, v);
        direction (u, v); nearness of the start and of the end; length; pixels per length; lines
        across; levels of the mean and of the highest charge; 1 for the pixels of the cell that the
        line crosses.
    """
    batch, height, width = shape
    start, way = segment[:, :2], segment[:, 2:4] - segment[:, :2]
    length = tf.sqrt(tf.reduce_sum(tf.square(way), axis=1))
    spacing = tf.maximum(1.0, length / (POINTS - 1))
    number = tf.range(POINTS, dtype=tf.float32)
    gone = tf.minimum(number * spacing[:, None], length[:, None])  # [n, POINTS] pixels
    used = tf.where((number - 1) * spacing[:, None] < length[:, None])
    of = used[:, 0]
    gone = tf.gather_nd(gone, used)
    start, way, length, image = (tf.gather(x, of) for x in (start, way, length, image))
    direction = tf.math.divide_no_nan(way, length[:, None])
    place = (start + direction * gone[:, None] + 0.5) / factor
    cell = tf.floor(place)
    pixel = tf.cast((place - cell) * factor, tf.int64)
    left = length - gone
    size = tf.math.log1p(length)
    pixels, lines, mean, highest = tf.unstack(tf.gather(segment[:, 4:], of), axis=1)
    values = [
        tf.ones_like(gone)[:, None],
        place - cell - 0.5,
        direction,
        tf.stack(
            [gone / (gone + NEAR), left / (left + NEAR), size, pixels - size, lines, mean, highest],
            1,
        ),
    ]
    cells = tf.constant([height, width], tf.int64)
    full = tf.concat([tf.cast(batch, tf.int64)[None], cells], 0)
    index = tf.concat([image[:, None], tf.cast(cell, tf.int64) % cells], 1)
    total = tf.scatter_nd(index, tf.concat(values, 1), tf.concat([full, [FEATURES]], 0))
    index = tf.concat([index, pixel[:, :1] * factor + pixel[:, 1:]], 1)
    full = tf.concat([full, [factor**2]], 0)
    crossed = tf.minimum(tf.scatter_nd(index, tf.ones_like(gone), full), 1.0)
    return tf.concat([total / tf.maximum(total[..., :1], 1.0), crossed], -1)


def real_segment_map(segments: Any, shape: tuple[Any, int, int], factor: int) -> Any:
    """``segment_map`` of ``padded_segments``."""
    there = tf.where(segments[..., SEGMENT] > 0)
    segment = tf.ensure_shape(tf.gather_nd(segments, there)[:, :SEGMENT], [None, SEGMENT])
    return segment_map(segment, there[:, 0], shape, factor)


def placed_segments(
    statistics: Statistics, sensor: Any, cell: Any, column: Any, numbers: Any, factor: int
) -> Any:
    """Segments of the data moved to other places, [n, SEGMENT].

    Arguments:
        statistics: of ``deposit_statistics``.
        sensor: int32 [n].
        cell: int64 [n, 2], where they start.
        column: [n] in 0..1, the same along v as a share of the whole image.
        numbers: normal [n, 3], which of the segments near there, and the pixel of the cell.
    """
    uniform = tf.cast(
        0.5 * tf.math.erfc(tf.cast(numbers, tf.float64) * -math.sqrt(0.5)), tf.float32
    )
    along = tf.gather(statistics[2][:, 1], sensor)  # [n, BINS]
    fine = column * BINS
    reached = tf.clip_by_value(fine[:, None] - tf.range(BINS, dtype=tf.float32), 0.0, 1.0)
    rank = tf.reduce_sum(along * reached, 1) / tf.reduce_sum(along, 1) * SHAPES
    # What would be beyond the first and the last is as far on this side.
    rank = tf.abs(rank + NEIGHBOURS * (uniform[:, 0] - 0.5))
    rank = tf.cast(SHAPES - tf.abs(SHAPES - rank), tf.int32)
    rank = tf.clip_by_value(rank, 0, SHAPES - 1)
    chosen = tf.gather_nd(statistics[3], tf.stack([sensor, rank], 1))
    pixel = tf.minimum(tf.floor(uniform[:, 1:] * factor), factor - 1.0)
    start = tf.cast(cell * factor, tf.float32) + pixel + chosen[:, :2]
    return tf.concat([start, start + chosen[:, 2:4], chosen[:, 4:]], 1)


class DepositEncoder(keras.Model):
    """image -> mean and log variance of the marks in every cell, both [B, h, w, marks], float32.

    Kernels are longer along v, where the tracks are: it sees 40 pixels before and after a cell.

    Arguments:
        marks: numbers per deposit.
        factor: pixels per cell along u and v.
        channels: width.
        layers: convolutions after the first.
    """

    def __init__(
        self, marks: int, factor: int, channels: int = 32, layers: int = 3, **options: Any
    ) -> None:
        super().__init__(**options)
        conv = keras.layers.Conv2D
        shared: dict[str, Any] = {"padding": "same", "activation": "relu"}
        self.stem = conv(channels, 2 * factor, strides=factor, name="stem", **shared)
        self.convs = [conv(channels, (3, 7), name=f"conv{i}", **shared) for i in range(layers)]
        self.head = conv(2 * marks, 1, kernel_initializer="zeros", name="head", dtype="float32")

    def call(self, image: Any) -> tuple[Any, Any]:
        x = self.stem(image - EMPTY)  # an empty pixel is 0
        for conv in self.convs:
            x = conv(x)
        mean, log_variance = ops.split(self.head(x), 2, axis=-1)
        return mean, ops.clip(log_variance, *LOG_VARIANCE)


def inferred_deposits(known: Any, mean: Any, log_variance: Any, noise: Any) -> Any:
    """Segments and marks drawn from the posterior, [B, h, w, known + marks].

    Arguments:
        known: ``segment_map`` of real images.
    """
    marks = known[..., :1] * (mean + ops.exp(0.5 * log_variance) * noise)
    return ops.concatenate([known, marks], -1)


def start_level(
    statistics: Statistics, sensor: Any, number: Any, first: Any, shape: tuple[int, int], cells: Any
) -> Any:
    """The level that normal numbers are above where a segment starts, [B, h, w].

    Arguments:
        statistics: of ``deposit_statistics``.
        sensor: int32 [B].
        number: normal [B], says whether the image has many of them.
        first: int32 [B, 2], the first cell along u and v in the whole image.
        shape: cells of the images.
        cells: of the whole image.
    """
    rate, spread, profile = (tf.gather(x, sensor) for x in statistics[:3])
    share = (rate * (1.0 + spread * number))[:, None, None]
    along = [
        tf.gather(profile[:, k], (first[:, k, None] + tf.range(n)) * BINS // cells[k], batch_dims=1)
        for k, n in enumerate(shape)
    ]
    share *= along[0][:, :, None] * along[1][:, None, :]
    return tf.cast(
        -tf.math.ndtri(tf.clip_by_value(tf.cast(share, tf.float64), 1e-7, 0.5)), "float32"
    )


def drawn_deposits(
    statistics: Statistics, sensor: Any, presence: Any, seed: Any, marks: int, factor: int
) -> Any:
    """The deposits of one image, [1, h, w, known + marks], with numbers drawn for them alone.

    Arguments:
        statistics: of ``deposit_statistics``.
        sensor: [1] int32.
        presence: normal noise [1, h, w, 1]; a segment starts where it is high.
        seed: int64 [2]; the next two after it belong to it too.
    """
    _, height, width, _ = presence.shape
    number, first = normal(seed, [1]), tf.zeros([1, 2], tf.int32)
    level = start_level(statistics, sensor, number, first, (height, width), (height, width))
    seed += 1
    place = tf.where(presence[..., 0] > level)
    n = tf.shape(place)[0]
    numbers = normal(seed, [n, PLACE - 1])
    column, of = tf.cast(place[:, 2], tf.float32) / width, tf.fill([n], sensor[0])
    segment = placed_segments(statistics, of, place[:, 1:], column, numbers, factor)
    known = segment_map(segment, place[:, 0], (1, height, width), factor)
    cell = tf.where(known[..., 0] > 0)
    values = normal(seed + 1, [tf.shape(cell)[0], marks])
    drawn = tf.scatter_nd(cell, values, tf.constant([1, height, width, marks], tf.int64))
    return tf.concat([known, drawn], -1)


def sampled_deposits(
    statistics: Statistics, sensor: Any, noise: Any, origin: Any, cells: Any, factor: int
) -> Any:
    """Segments and marks of a batch from normal noise [B, h, w, PLACE + marks].

    Arguments as in ``drawn_deposits`` and ``start_level``, ``sensor`` is [B], ``origin`` [B, 2] the
    first row and column. How many there are is said by a number
    that is used again for the shape of a segment in the first cell, if there is one.
    """
    number = noise[:, 0, 0, 1]
    batch, height, width = tf.shape(noise)[0], noise.shape[1], noise.shape[2]
    first = origin // factor
    level = start_level(statistics, sensor, number, first, (height, width), cells)
    place = tf.where(noise[..., 0] > level)
    numbers = tf.gather_nd(noise[..., 1:PLACE], place)
    of = tf.gather(sensor, place[:, 0])
    column = tf.cast(place[:, 2], tf.int32) + tf.gather(first[:, 1], place[:, 0])
    column = tf.cast(column, tf.float32) / cells[1]
    segment = placed_segments(statistics, of, place[:, 1:], column, numbers, factor)
    known = segment_map(segment, place[:, 0], (batch, height, width), factor)
    return tf.concat([known, known[..., :1] * noise[..., PLACE:]], -1)
