"""Clusters: straight segments on which clusters lie, and the numbers that say what they look like.

Background hits are independent clusters, and most of them are short straight tracks. The generator
therefore starts from a marked Poisson process of segments instead of white noise: as many start in
a sensor as in the data; extent, number of pixels and charge of each are those of a cluster of the
training events, drawn as often as it is there when nothing meets by chance; and in every cell that
a segment crosses there are marks, normal numbers from which the pixels are drawn. Where it
generates, the most likely pixels of a segment fire, as many as it has (``cluster_threshold``).

The marks of real clusters are inferred by an encoder, so that the generator learns to draw
clusters by reconstruction before, and while, it plays against the discriminator: a variational
auto-encoder of clusters beside a GAN (arXiv:1512.09300; for calorimeter showers arXiv:2005.05334).
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from kerasgen.backend.random_numbers import normal
from kerasgen.models.pxd_gan.output import EMPTY
from kerasgen.models.pxd_gan.segments import SEGMENT, SHAPES

# log variance of a mark; outside, a posterior is a point or wider than any prior.
LOG_VARIANCE = (-6.0, 4.0)
# Segments of the data that are near enough along v: tracks are longer where they come in at a
# smaller angle.
NEIGHBOURS = 512
PLACE = 4  # normal numbers of a cell: is there a segment, which, and its two places in the cell
POINTS = 128  # of a segment, at most; a pixel apart, where they are enough
FEATURES = 12  # of ``segment_map`` beside the pixels of a cell
NEAR = 8.0  # pixels from an end of a segment that count as half of the way
SIDES = 2  # pixels from a segment, along u and v, that belong to it
LEAST_SCORE = -0.5  # of a pixel that may fire because its segment lacks pixels
Statistics = tuple[Any, ...]  # of ``cluster_statistics``


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
    of, place, direction, length, gone = points_of(segment)
    image = tf.gather(image, of)
    place /= factor
    cell = tf.floor(place)
    # Just below 0 the difference rounds to 1.
    pixel = tf.minimum(tf.cast((place - cell) * factor, tf.int64), factor - 1)
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


def points_of(segment: Any) -> tuple[Any, ...]:
    """Points of segments [n, SEGMENT], a pixel apart; farther where a segment would have more than
    POINTS.

    Returns:
        The segment of each point, its place [k, 2] in pixels from the corner of the map, direction
        [k, 2] and length of the segment, and pixels from its start.
    """
    start, way = segment[:, :2], segment[:, 2:4] - segment[:, :2]
    length = tf.sqrt(tf.reduce_sum(tf.square(way), axis=1))
    spacing = tf.maximum(1.0, length / (POINTS - 1))
    number = tf.range(POINTS, dtype=tf.float32)
    gone = tf.minimum(number * spacing[:, None], length[:, None])  # [n, POINTS]
    used = tf.where((number - 1) * spacing[:, None] < length[:, None])
    of = used[:, 0]
    gone = tf.gather_nd(gone, used)
    start, way, length = (tf.gather(x, of) for x in (start, way, length))
    direction = tf.math.divide_no_nan(way, length[:, None])
    return of, start + direction * gone[:, None] + 0.5, direction, length, gone


def cluster_threshold(segment: Any, place: Any, score: Any, image: tuple[int, int]) -> Any:
    """The score of each pixel above which its segment has as many pixels as it shall have, [m].

    It lies halfway between the lowest of these pixels and the next. One cut for all would leave out
    the pixels at the sides of tracks: each of many places is unlikely, and one or two of them fire.
    The cut of pixels of no segment, and of one whose cluster is wider than its SIDES, is 0.

    Arguments:
        segment: [n, SEGMENT] of one image, pixels.
        place: int32 [m, 2], row and column of all pixels of a score above LEAST_SCORE, or more.
        score: [m].
        image: height and width, at whose edges segments come in again.
    """
    own = nearest_segment(segment, place, image)
    order = tf.argsort(score, direction="DESCENDING", stable=True)
    order = tf.gather(order, tf.argsort(tf.gather(own, order), stable=True))
    ordered = tf.maximum(tf.concat([tf.gather(score, order), [LEAST_SCORE]], 0), LEAST_SCORE)
    owned = tf.math.unsorted_segment_sum(tf.ones_like(own), own, tf.shape(segment)[0] + 1)
    first, owned = tf.cumsum(owned, exclusive=True)[1:], owned[1:]

    def ranked(rank: Any) -> Any:
        """Scores, counted from 0; LEAST_SCORE, the last one of all, where there are not so many."""
        return tf.gather(ordered, tf.where(rank < owned, first + rank, tf.size(score)))

    wanted = tf.maximum(tf.cast(tf.round(tf.exp(segment[:, 4])), tf.int32), 1)
    wide = segment[:, 5] > math.log(2 * SIDES + 1.5)
    cut = tf.where(wide, 0.0, 0.5 * (ranked(wanted - 1) + ranked(wanted)))
    return tf.gather(tf.concat([[0.0], cut], 0), own)


def nearest_segment(segment: Any, place: Any, image: tuple[int, int]) -> Any:
    """Number of the nearest segment of each pixel, from 1, int32 [m]; 0 beyond SIDES pixels.

    Of segments that cross, the last one has the pixel. Arguments as in ``cluster_threshold``.
    """
    of, point, *_ = points_of(segment)
    pixel = in_map(tf.cast(tf.floor(point), tf.int32), image)
    number = tf.cast(of, tf.int32) + 1
    crossed_by = tf.math.unsorted_segment_max(number, pixel, math.prod(image))
    steps = range(-SIDES, SIDES + 1)
    around = sorted(product(steps, steps), key=lambda step: math.hypot(*step))
    around = tf.gather(crossed_by, in_map(place[:, None] + tf.constant(around, tf.int32), image))
    # Where there is none, unsorted_segment_max has the lowest number that there is.
    nearest = tf.gather(around, tf.argmax(around > 0, axis=1), batch_dims=1)
    return tf.maximum(nearest, 0)


def in_map(place: Any, image: tuple[int, int]) -> Any:
    """Number of a pixel in the image, row by row, of int32 [..., 2] places, periodic."""
    return place[..., 0] % image[0] * image[1] + place[..., 1] % image[1]


def real_segment_map(segments: Any, shape: tuple[Any, int, int], factor: int) -> Any:
    """``segment_map`` of the segments of ``moved_clusters``."""
    there = tf.where(segments[..., SEGMENT] > 0)
    segment = tf.ensure_shape(tf.gather_nd(segments, there)[:, :SEGMENT], [None, SEGMENT])
    return segment_map(segment, there[:, 0], shape, factor)


def placed_segments(
    statistics: Statistics,
    sensor: Any,
    cell: Any,
    first: Any,
    numbers: Any,
    factor: int,
    size: tuple[int, int],
) -> Any:
    """Segments of the data moved to other places, [n, SEGMENT].

    Arguments:
        statistics: of ``cluster_statistics``.
        sensor: int32 [n].
        cell: int64 [n, 2], where they start.
        first: int32 [n, 2], the first cell of their image in the whole one.
        numbers: normal [n, 3], which of the segments near there, and the pixel of the cell.
        size: rows and columns of the sensor, in which they start.
    """
    whole = tf.cast(cell, tf.int32) + first
    uniform = tf.cast(
        0.5 * tf.math.erfc(tf.cast(numbers, tf.float64) * -math.sqrt(0.5)), tf.float32
    )
    *_, along_v, shapes = statistics
    before = tf.cumsum(along_v, axis=1, exclusive=True)
    every = tf.gather(tf.reduce_sum(along_v, 1), sensor)
    rank = tf.gather_nd(before, tf.stack([sensor, whole[:, 1]], 1)) / every * SHAPES
    # What would be beyond the first and the last is as far on this side.
    rank = tf.abs(rank + NEIGHBOURS * (uniform[:, 0] - 0.5))
    rank = tf.cast(SHAPES - tf.abs(SHAPES - rank), tf.int32)
    rank = tf.clip_by_value(rank, 0, SHAPES - 1)
    chosen = tf.gather_nd(shapes, tf.stack([sensor, rank], 1))
    inside = tf.cast(tf.clip_by_value(tf.constant(size) - whole * factor, 1, factor), tf.float32)
    pixel = tf.minimum(tf.floor(uniform[:, 1:] * inside), inside - 1.0)
    start = tf.cast(cell * factor, tf.float32) + pixel + chosen[:, :2]
    return tf.concat([start, start + chosen[:, 2:4], chosen[:, 4:]], 1)


class ClusterEncoder(keras.Model):
    """image -> mean and log variance of the marks in every cell, both [B, h, w, marks], float32.

    Kernels are longer along v, where the tracks are: it sees 40 pixels before and after a cell.

    Arguments:
        marks: numbers per cluster.
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


def inferred_clusters(known: Any, mean: Any, log_variance: Any, noise: Any) -> Any:
    """Segments and marks drawn from the posterior, [B, h, w, known + marks].

    Arguments:
        known: ``segment_map`` of real images.
    """
    marks = known[..., :1] * (mean + ops.exp(0.5 * log_variance) * noise)
    return ops.concatenate([known, marks], -1)


def start_level(
    statistics: Statistics, sensor: Any, number: Any, first: Any, shape: tuple[int, int]
) -> Any:
    """The level that normal numbers are above where a segment starts, [B, h, w].

    Arguments:
        statistics: of ``cluster_statistics``.
        sensor: int32 [B].
        number: normal [B, 2], say whether the event and whether the image has many of them.
        first: int32 [B, 2], the first cell along u and v in the whole image.
        shape: cells of the images.
    """
    rate, spread, *along = (tf.gather(x, sensor) for x in statistics[:-1])
    share = (rate * (1.0 + tf.reduce_sum(spread * number, 1)))[:, None, None]
    along = [
        tf.gather(along[k], first[:, k, None] + tf.range(n), batch_dims=1)
        for k, n in enumerate(shape)
    ]
    share *= along[0][:, :, None] * along[1][:, None, :]
    return tf.cast(
        -tf.math.ndtri(tf.clip_by_value(tf.cast(share, tf.float64), 1e-7, 0.5)), "float32"
    )


def drawn_clusters(
    statistics: Statistics,
    sensor: Any,
    event: Any,
    presence: Any,
    seed: Any,
    marks: int,
    factor: int,
    size: tuple[int, int],
) -> tuple[Any, Any]:
    """The clusters of one image, [1, h, w, known + marks], and their segments [n, SEGMENT].

    Arguments:
        statistics: of ``cluster_statistics``.
        sensor: [1] int32.
        event: int64 [2], a seed that all sensors of the event have.
        presence: normal noise [1, h, w, 1]; a segment starts where it is high.
        seed: int64 [2]; the next two after it belong to it too.
        size: rows and columns of the sensor.
    """
    _, height, width, _ = presence.shape
    number = tf.concat([normal(event, [1, 1]), normal(seed, [1, 1])], 1)
    first = tf.zeros([1, 2], tf.int32)
    level = start_level(statistics, sensor, number, first, (height, width))
    seed += 1
    place = tf.where(presence[..., 0] > level)
    n = tf.shape(place)[0]
    numbers = normal(seed, [n, PLACE - 1])
    of = tf.fill([n], sensor[0])
    segment = placed_segments(statistics, of, place[:, 1:], first, numbers, factor, size)
    known = segment_map(segment, place[:, 0], (1, height, width), factor)
    cell = tf.where(known[..., 0] > 0)
    values = normal(seed + 1, [tf.shape(cell)[0], marks])
    drawn = tf.scatter_nd(cell, values, tf.constant([1, height, width, marks], tf.int64))
    return tf.concat([known, drawn], -1), segment


def sampled_clusters(
    statistics: Statistics,
    sensor: Any,
    noise: Any,
    origin: Any,
    factor: int,
    size: tuple[int, int],
) -> Any:
    """Segments and marks of a batch from normal noise [B, h, w, PLACE + marks].

    Arguments as in ``drawn_clusters`` and ``start_level``, ``sensor`` is [B], ``origin`` [B, 2] the
    first row and column. How many there are is said by two numbers
    that are used again for the shape of a segment in the first cell, if there is one.
    """
    number = noise[:, 0, 0, 1:3]
    batch, height, width = tf.shape(noise)[0], noise.shape[1], noise.shape[2]
    first = origin // factor
    level = start_level(statistics, sensor, number, first, (height, width))
    place = tf.where(noise[..., 0] > level)
    numbers = tf.gather_nd(noise[..., 1:PLACE], place)
    of, first = tf.gather(sensor, place[:, 0]), tf.gather(first, place[:, 0])
    segment = placed_segments(statistics, of, place[:, 1:], first, numbers, factor, size)
    known = segment_map(segment, place[:, 0], (batch, height, width), factor)
    return tf.concat([known, known[..., :1] * noise[..., PLACE:]], -1)
