"""Clusters at the generator's input: track segments with per-cell latents.

Background hits are independent clusters, and most of them are short straight tracks. The generator
therefore starts from a marked Poisson process of track segments instead of white noise. Their rate
is that of the data. Extent, number of pixels and charge of each come from a real cluster, sampled
with weights that undo overlaps by chance (``track_segments.cluster_statistics``). Every cell that
a segment crosses has per-cell latents, normal numbers that shape its pixels. At generation time the
pixels of a segment with the highest logits fire, as many as it has (``cluster_threshold``).

An encoder infers the latents of real clusters, so that the generator learns to draw clusters in the
VAE pre-training and beside the adversarial stage: a variational auto-encoder combined with a GAN
(arXiv:1512.09300; for calorimeter showers arXiv:2005.05334).
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from kerasgen.backend.random_numbers import normal
from kerasgen.models.pxd_gan.output import EMPTY_PIXEL
from kerasgen.models.pxd_gan.track_segments import SEGMENT_SIZE, TEMPLATES

# Bounds of the log variance of a latent; outside, a posterior is a point or wider than any prior.
LOG_VARIANCE = (-6.0, 4.0)
# A segment samples from so many templates that start near along v: the length of tracks depends on
# the angle of incidence, and so on the position.
NEIGHBOURS = 512
# Normal numbers of a cell: whether a segment starts, its template, its start row and column.
PLACEMENT_NORMALS = 4
MAX_POINTS = 128  # of a segment; a pixel apart, where they are enough
SEGMENT_FEATURES = 12  # planes of ``segment_map`` beside the pixels of a cell
HALF_NEARNESS = 8.0  # pixels from an end of a segment at which its nearness is one half
SIDE_PIXELS = 2  # pixels within this distance along u and v belong to a segment
MIN_LOGIT = -0.5  # pixels above it may fire to complete their segment
Statistics = tuple[Any, ...]  # of ``cluster_statistics``


def segment_map(segment: Any, image: Any, shape: tuple[Any, int, int], factor: int) -> Any:
    """Rasterise track segments into the cells that they cross.

    Cells that several segments cross have the mean of their features. A segment that leaves the
    map re-enters on the other side.

    Args:
        segment: [n, SEGMENT_SIZE], pixels.
        image: int64 [n], image of each segment.
        shape: images, and cells along u and v.
        factor: pixels per cell.

    Returns:
        [B, h, w, SEGMENT_FEATURES + factor^2], planes in this order: 1 where a segment crosses;
        position of the line in the cell (u, v); direction (u, v); nearness of the start and of
        the end; length; pixels per length; lines across; normalised mean and highest charge; 1
        for each pixel of the cell that the line crosses.
    """
    batch, height, width = shape
    index, position, direction, length, distance = segment_points(segment)
    image = tf.gather(image, index)
    position /= factor
    cell = tf.floor(position)
    # Just below 0 the difference rounds to 1.
    pixel = tf.minimum(tf.cast((position - cell) * factor, tf.int64), factor - 1)
    remaining = length - distance
    size = tf.math.log1p(length)
    pixels, lines, mean, highest = tf.unstack(tf.gather(segment[:, 4:], index), axis=1)
    values = [
        tf.ones_like(distance)[:, None],
        position - cell - 0.5,
        direction,
        tf.stack(
            [
                distance / (distance + HALF_NEARNESS),
                remaining / (remaining + HALF_NEARNESS),
                size,
                pixels - size,
                lines,
                mean,
                highest,
            ],
            1,
        ),
    ]
    cells = tf.constant([height, width], tf.int64)
    full = tf.concat([tf.cast(batch, tf.int64)[None], cells], 0)
    index = tf.concat([image[:, None], tf.cast(cell, tf.int64) % cells], 1)
    total = tf.scatter_nd(index, tf.concat(values, 1), tf.concat([full, [SEGMENT_FEATURES]], 0))
    index = tf.concat([index, pixel[:, :1] * factor + pixel[:, 1:]], 1)
    full = tf.concat([full, [factor**2]], 0)
    crossed = tf.minimum(tf.scatter_nd(index, tf.ones_like(distance), full), 1.0)
    return tf.concat([total / tf.maximum(total[..., :1], 1.0), crossed], -1)


def segment_points(segment: Any) -> tuple[Any, ...]:
    """Points along track segments, a pixel apart, or farther to stay within MAX_POINTS.

    Args:
        segment: [n, SEGMENT_SIZE], pixels.

    Returns:
        For each of the k points: index of its segment [k]; position [k, 2] from the corner of the
        map, pixels; direction [k, 2] and length [k] of the segment; distance [k] from its start.
    """
    start, extent = segment[:, :2], segment[:, 2:4] - segment[:, :2]
    length = tf.sqrt(tf.reduce_sum(tf.square(extent), axis=1))
    spacing = tf.maximum(1.0, length / (MAX_POINTS - 1))
    number = tf.range(MAX_POINTS, dtype=tf.float32)
    distance = tf.minimum(number * spacing[:, None], length[:, None])  # [n, MAX_POINTS]
    used = tf.where((number - 1) * spacing[:, None] < length[:, None])
    index = used[:, 0]
    distance = tf.gather_nd(distance, used)
    start, extent, length = (tf.gather(x, index) for x in (start, extent, length))
    direction = tf.math.divide_no_nan(extent, length[:, None])
    return index, start + direction * distance[:, None] + 0.5, direction, length, distance


def cluster_threshold(segment: Any, position: Any, logit: Any, image: tuple[int, int]) -> Any:
    """Per-cluster thresholds: the logit above which a cluster reaches its target number of pixels.

    A threshold lies halfway between the lowest logit that fires and the next one. One threshold
    for all clusters would leave out the pixels at the sides of tracks: each of many positions is
    unlikely, and one or two of them fire. The threshold is 0 for pixels that belong to no segment,
    and for clusters wider than SIDE_PIXELS on both sides.

    Args:
        segment: [n, SEGMENT_SIZE] of one image, pixels.
        position: int32 [m, 2], row and column of all pixels with a logit above MIN_LOGIT; more
            pixels change nothing.
        logit: [m].
        image: height and width, at whose edges segments re-enter.

    Returns:
        [m], the threshold of each pixel.
    """
    cluster = nearest_segment(segment, position, image)
    order = tf.argsort(logit, direction="DESCENDING", stable=True)
    order = tf.gather(order, tf.argsort(tf.gather(cluster, order), stable=True))
    ordered = tf.maximum(tf.concat([tf.gather(logit, order), [MIN_LOGIT]], 0), MIN_LOGIT)
    pixels = tf.math.unsorted_segment_sum(tf.ones_like(cluster), cluster, tf.shape(segment)[0] + 1)
    first, pixels = tf.cumsum(pixels, exclusive=True)[1:], pixels[1:]

    def ranked(rank: Any) -> Any:
        """Logit of each cluster at a rank, from 0; MIN_LOGIT beyond its last pixel."""
        return tf.gather(ordered, tf.where(rank < pixels, first + rank, tf.size(logit)))

    target = tf.maximum(tf.cast(tf.round(tf.exp(segment[:, 4])), tf.int32), 1)
    wide = segment[:, 5] > math.log(2 * SIDE_PIXELS + 1.5)
    threshold = tf.where(wide, 0.0, 0.5 * (ranked(target - 1) + ranked(target)))
    return tf.gather(tf.concat([[0.0], threshold], 0), cluster)


def nearest_segment(segment: Any, position: Any, image: tuple[int, int]) -> Any:
    """Number of the nearest track segment of each pixel, int32 [m].

    Numbers count from 1; 0 where no segment is within SIDE_PIXELS. A pixel that several segments
    cross belongs to the last one.

    Args:
        segment, position, image: as in ``cluster_threshold``.
    """
    index, point, *_ = segment_points(segment)
    pixel = pixel_index(tf.cast(tf.floor(point), tf.int32), image)
    number = tf.cast(index, tf.int32) + 1
    crossed_by = tf.math.unsorted_segment_max(number, pixel, math.prod(image))
    steps = range(-SIDE_PIXELS, SIDE_PIXELS + 1)
    around = sorted(product(steps, steps), key=lambda step: math.hypot(*step))
    around = tf.gather(
        crossed_by, pixel_index(position[:, None] + tf.constant(around, tf.int32), image)
    )
    # unsorted_segment_max returns the lowest int32 where no segment crosses.
    nearest = tf.gather(around, tf.argmax(around > 0, axis=1), batch_dims=1)
    return tf.maximum(nearest, 0)


def pixel_index(position: Any, image: tuple[int, int]) -> Any:
    """Index of a pixel in the image, row by row, of int32 [..., 2] positions, periodic."""
    return position[..., 0] % image[0] * image[1] + position[..., 1] % image[1]


def real_segment_map(segments: Any, shape: tuple[Any, int, int], factor: int) -> Any:
    """``segment_map`` of the segments of ``displaced_clusters``."""
    used = tf.where(segments[..., SEGMENT_SIZE] > 0)
    segment = tf.ensure_shape(tf.gather_nd(segments, used)[:, :SEGMENT_SIZE], [None, SEGMENT_SIZE])
    return segment_map(segment, used[:, 0], shape, factor)


def placed_segments(
    statistics: Statistics,
    sensor: Any,
    cell: Any,
    first: Any,
    numbers: Any,
    factor: int,
    size: tuple[int, int],
) -> Any:
    """Templates placed at start cells, [n, SEGMENT_SIZE].

    Args:
        statistics: of ``cluster_statistics``.
        sensor: int32 [n].
        cell: int64 [n, 2], start cell within the image.
        first: int32 [n, 2], position of the image's first cell in the whole sensor, cells.
        numbers: normal [n, 3]: choice of a template that starts near, start row and start column
            within the cell.
        factor: pixels per cell.
        size: rows and columns of the sensor, in which segments start.
    """
    whole = tf.cast(cell, tf.int32) + first
    uniform = tf.cast(
        0.5 * tf.math.erfc(tf.cast(numbers, tf.float64) * -math.sqrt(0.5)), tf.float32
    )
    *_, along_v, templates = statistics
    before = tf.cumsum(along_v, axis=1, exclusive=True)
    total = tf.gather(tf.reduce_sum(along_v, 1), sensor)
    rank = tf.gather_nd(before, tf.stack([sensor, whole[:, 1]], 1)) / total * TEMPLATES
    # Ranks beyond the first and the last template are reflected.
    rank = tf.abs(rank + NEIGHBOURS * (uniform[:, 0] - 0.5))
    rank = tf.cast(TEMPLATES - tf.abs(TEMPLATES - rank), tf.int32)
    rank = tf.clip_by_value(rank, 0, TEMPLATES - 1)
    template = tf.gather_nd(templates, tf.stack([sensor, rank], 1))
    inside = tf.cast(tf.clip_by_value(tf.constant(size) - whole * factor, 1, factor), tf.float32)
    pixel = tf.minimum(tf.floor(uniform[:, 1:] * inside), inside - 1.0)
    start = tf.cast(cell * factor, tf.float32) + pixel + template[:, :2]
    return tf.concat([start, start + template[:, 2:4], template[:, 4:]], 1)


class ClusterEncoder(keras.Model):
    """image -> mean and log variance of the per-cell latents, both [B, h, w, latents], float32.

    Kernels are longer along v, the direction of the tracks: the receptive field reaches 40 pixels
    before and after a cell.

    Args:
        cell_latents: latents per cell.
        factor: pixels per cell along u and v.
        channels: width.
        layers: convolutions after the first.
        options: of ``keras.Model``.
    """

    def __init__(
        self,
        cell_latents: int,
        factor: int,
        channels: int = 32,
        layers: int = 3,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        conv = keras.layers.Conv2D
        shared: dict[str, Any] = {
            "padding": "same",
            "activation": "relu",
            "data_format": "channels_last",
            "dtype": self.dtype_policy,
        }
        self.stem = conv(channels, 2 * factor, strides=factor, name="stem", **shared)
        self.convs = [conv(channels, (3, 7), name=f"conv{i}", **shared) for i in range(layers)]
        self.head = conv(
            2 * cell_latents, 1, kernel_initializer="zeros", name="head", dtype="float32",
            data_format="channels_last",
        )  # fmt: skip

    def call(self, image: Any) -> tuple[Any, Any]:
        x = self.stem(image - EMPTY_PIXEL)  # an empty pixel is 0
        for conv in self.convs:
            x = conv(x)
        mean, log_variance = ops.split(self.head(x), 2, axis=-1)
        return mean, ops.clip(log_variance, *LOG_VARIANCE)


def inferred_clusters(known: Any, mean: Any, log_variance: Any, noise: Any) -> Any:
    """Real segments with latents sampled from the posterior, [B, h, w, known + latents].

    Args:
        known: ``segment_map`` of real images.
        mean, log_variance: of the posterior, [B, h, w, latents].
        noise: standard normal, [B, h, w, latents].
    """
    cell_latents = known[..., :1] * (mean + ops.exp(0.5 * log_variance) * noise)
    return ops.concatenate([known, cell_latents], -1)


def start_threshold(
    statistics: Statistics, sensor: Any, number: Any, first: Any, shape: tuple[int, int]
) -> Any:
    """Threshold of normal noise above which a segment starts in a cell, [B, h, w].

    Args:
        statistics: of ``cluster_statistics``.
        sensor: int32 [B].
        number: normal [B, 2], deviation of the rate in the event and in the image.
        first: int32 [B, 2], position of the image's first cell in the whole sensor, cells.
        shape: cells of the images along u and v.
    """
    rate, deviation, *along = (tf.gather(x, sensor) for x in statistics[:-1])
    probability = (rate * (1.0 + tf.reduce_sum(deviation * number, 1)))[:, None, None]
    along = [
        tf.gather(along[k], first[:, k, None] + tf.range(n), batch_dims=1)
        for k, n in enumerate(shape)
    ]
    probability *= along[0][:, :, None] * along[1][:, None, :]
    return tf.cast(
        -tf.math.ndtri(tf.clip_by_value(tf.cast(probability, tf.float64), 1e-7, 0.5)), "float32"
    )


def sample_image_clusters(
    statistics: Statistics,
    sensor: Any,
    event: Any,
    presence: Any,
    seed: Any,
    cell_latents: int,
    factor: int,
    size: tuple[int, int],
) -> tuple[Any, Any]:
    """Sample the clusters of one image, with random numbers only where segments are.

    Args:
        statistics: of ``cluster_statistics``.
        sensor: [1] int32.
        event: int64 [2], a seed that all sensors of the event share.
        presence: normal noise [1, h, w, 1]; a segment starts where it is high.
        seed: int64 [2]; ``seed + 1`` and ``seed + 2`` are used too.
        cell_latents: latents per cell.
        factor: pixels per cell.
        size: rows and columns of the sensor.

    Returns:
        Input of the generator [1, h, w, known + latents], and the segments [n, SEGMENT_SIZE].
    """
    _, height, width, _ = presence.shape
    number = tf.concat([normal(event, [1, 1]), normal(seed, [1, 1])], 1)
    first = tf.zeros([1, 2], tf.int32)
    threshold = start_threshold(statistics, sensor, number, first, (height, width))
    seed += 1
    start = tf.where(presence[..., 0] > threshold)
    n = tf.shape(start)[0]
    numbers = normal(seed, [n, PLACEMENT_NORMALS - 1])
    sensors = tf.fill([n], sensor[0])
    segment = placed_segments(statistics, sensors, start[:, 1:], first, numbers, factor, size)
    known = segment_map(segment, start[:, 0], (1, height, width), factor)
    cell = tf.where(known[..., 0] > 0)
    values = normal(seed + 1, [tf.shape(cell)[0], cell_latents])
    latents = tf.scatter_nd(cell, values, tf.constant([1, height, width, cell_latents], tf.int64))
    return tf.concat([known, latents], -1), segment


def sample_batch_clusters(
    statistics: Statistics,
    sensor: Any,
    noise: Any,
    origin: Any,
    factor: int,
    size: tuple[int, int],
) -> Any:
    """Sample the clusters of a batch from normal noise, [B, h, w, known + latents].

    Args:
        statistics: of ``cluster_statistics``.
        sensor: int32 [B].
        noise: normal [B, h, w, PLACEMENT_NORMALS + latents]. Two numbers of the first cell set
            the deviation of the rate; a segment that starts there uses them again.
        origin: int32 [B, 2], first row and column of the image in the sensor, pixels.
        factor: pixels per cell.
        size: rows and columns of the sensor.
    """
    number = noise[:, 0, 0, 1:3]
    batch, height, width = tf.shape(noise)[0], noise.shape[1], noise.shape[2]
    first = origin // factor
    threshold = start_threshold(statistics, sensor, number, first, (height, width))
    start = tf.where(noise[..., 0] > threshold)
    numbers = tf.gather_nd(noise[..., 1:PLACEMENT_NORMALS], start)
    sensors, first = tf.gather(sensor, start[:, 0]), tf.gather(first, start[:, 0])
    segment = placed_segments(statistics, sensors, start[:, 1:], first, numbers, factor, size)
    known = segment_map(segment, start[:, 0], (batch, height, width), factor)
    return tf.concat([known, known[..., :1] * noise[..., PLACEMENT_NORMALS:]], -1)
