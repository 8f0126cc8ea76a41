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
import numpy as np
from keras import ops

from kerasgen.backend.engine import erfc, ndtri, true_indices
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


def segment_map(
    segment: Any, image: Any, present: Any, shape: tuple[Any, int, int], factor: int
) -> Any:
    """Rasterise track segments into the cells that they cross.

    Cells that several segments cross have the mean of their features. A segment that leaves the
    map re-enters on the other side.

    Args:
        segment: [n, SEGMENT_SIZE], pixels.
        image: int [n], image of each segment.
        present: bool [n], false for rows that are no segment.
        shape: images, and cells along u and v.
        factor: pixels per cell.

    Returns:
        [B, h, w, SEGMENT_FEATURES + factor^2], planes in this order: 1 where a segment crosses;
        position of the line in the cell (u, v); direction (u, v); nearness of the start and of
        the end; length; pixels per length; lines across; normalised mean and highest charge; 1
        for each pixel of the cell that the line crosses.
    """
    cells = shape[1:]
    points = segment_points(segment, present, limit=4 * math.prod(shape))
    index, position, direction, length, distance, used = points
    image = ops.take(image, index, axis=0)
    position = position / factor
    cell = ops.floor(position)
    # Just below 0 the difference rounds to 1.
    pixel = ops.minimum(ops.cast((position - cell) * factor, "int32"), factor - 1)
    remaining = length - distance
    size = ops.log1p(length)
    pixels, lines, mean, highest = ops.unstack(ops.take(segment[:, 4:], index, axis=0), axis=1)
    columns = [
        distance / (distance + HALF_NEARNESS),
        remaining / (remaining + HALF_NEARNESS),
        size,
        pixels - size,
        lines,
        mean,
        highest,
    ]
    one = ops.ones_like(distance)
    values = ops.concatenate(
        [one[:, None], position - cell - 0.5, direction, ops.stack(columns, 1)], axis=1
    )
    row, col = (ops.cast(cell[:, k], "int32") % cells[k] for k in range(2))
    where = ops.stack([ops.cast(image, "int32"), row, col], 1)
    used = ops.cast(used, "float32")[:, None]
    total = ops.scatter(where, values * used, (*shape, SEGMENT_FEATURES))
    plane = pixel[:, :1] * factor + pixel[:, 1:]
    crossed = ops.scatter(ops.concatenate([where, plane], 1), used[:, 0], (*shape, factor**2))
    crossed = ops.minimum(crossed, 1.0)
    return ops.concatenate([total / ops.maximum(total[..., :1], 1.0), crossed], axis=-1)


def segment_points(segment: Any, present: Any, limit: int) -> tuple[Any, ...]:
    """Points along track segments, a pixel apart, or farther to stay within MAX_POINTS.

    Args:
        segment: [n, SEGMENT_SIZE], pixels.
        present: bool [n], false for rows that are no segment.
        limit: see ``engine.true_indices``.

    Returns:
        For each of the k points: index of its segment [k]; position [k, 2] from the corner of the
        map, pixels; direction [k, 2] and length [k] of the segment; distance [k] from its start;
        whether there is such a point [k].
    """
    start, extent = segment[:, :2], segment[:, 2:4] - segment[:, :2]
    length = ops.sqrt(ops.sum(ops.square(extent), axis=1))
    spacing = ops.maximum(1.0, length / (MAX_POINTS - 1))
    number = ops.arange(MAX_POINTS, dtype="float32")
    distance = ops.minimum(number * spacing[:, None], length[:, None])  # [n, MAX_POINTS]
    inside = ops.logical_and((number - 1) * spacing[:, None] < length[:, None], present[:, None])
    point, used = true_indices(inside, limit)
    index = point[:, 0]
    distance = gather_at(distance, point)
    start, extent, length = (ops.take(x, index, axis=0) for x in (start, extent, length))
    direction = extent / ops.where(length > 0, length, 1.0)[:, None]
    return index, start + direction * distance[:, None] + 0.5, direction, length, distance, used


def gather_at(x: Any, index: Any) -> Any:
    """``x`` at positions [n, k] of its first k axes, [n, ...]."""
    rank = index.shape[1]
    size = [x.shape[axis] for axis in range(rank)]
    flat = index[:, 0]
    for axis in range(1, rank):
        flat = flat * size[axis] + index[:, axis]
    return ops.take(ops.reshape(x, (-1, *x.shape[rank:])), flat, axis=0)


def cluster_threshold(
    segment: Any, present: Any, position: Any, logit: Any, image: tuple[int, int]
) -> Any:
    """Per-cluster thresholds: the logit above which a cluster reaches its target number of pixels.

    A threshold lies halfway between the lowest logit that fires and the next one. One threshold
    for all clusters would leave out the pixels at the sides of tracks: each of many positions is
    unlikely, and one or two of them fire. The threshold is 0 for pixels that belong to no segment,
    and for clusters wider than SIDE_PIXELS on both sides.

    Args:
        segment: [n, SEGMENT_SIZE] of one image, pixels.
        present: bool [n], false for rows that are no segment.
        position: int32 [m, 2], row and column of all pixels with a logit above MIN_LOGIT; more
            pixels change nothing.
        logit: [m].
        image: height and width, at whose edges segments re-enter.

    Returns:
        [m], the threshold of each pixel.
    """
    cluster = nearest_segment(segment, present, position, image)
    order = ops.argsort(-logit)
    order = ops.take(order, ops.argsort(ops.take(cluster, order, axis=0)), axis=0)
    ordered = ops.concatenate(
        [ops.take(logit, order, axis=0), ops.full((1,), MIN_LOGIT, "float32")], 0
    )
    ordered = ops.maximum(ordered, MIN_LOGIT)
    pixels = ops.segment_sum(ops.ones_like(cluster), cluster, ops.shape(segment)[0] + 1)
    first, pixels = (ops.cumsum(pixels) - pixels)[1:], pixels[1:]

    def ranked(rank: Any) -> Any:
        """Logit of each cluster at a rank, from 0; MIN_LOGIT beyond its last pixel."""
        last = ops.shape(logit)[0]
        return ops.take(ordered, ops.where(rank < pixels, first + rank, last), axis=0)

    target = ops.maximum(ops.cast(ops.round(ops.exp(segment[:, 4])), "int32"), 1)
    wide = segment[:, 5] > math.log(2 * SIDE_PIXELS + 1.5)
    threshold = ops.where(wide, 0.0, 0.5 * (ranked(target - 1) + ranked(target)))
    return ops.take(ops.concatenate([ops.zeros((1,), "float32"), threshold], 0), cluster, axis=0)


def nearest_segment(segment: Any, present: Any, position: Any, image: tuple[int, int]) -> Any:
    """Number of the nearest track segment of each pixel, int32 [m].

    Numbers count from 1; 0 where no segment is within SIDE_PIXELS. A pixel that several segments
    cross belongs to the last one.

    Args:
        segment, present, position, image: as in ``cluster_threshold``.
    """
    index, point, *_, used = segment_points(segment, present, math.prod(image) // 4)
    pixel = pixel_index(ops.cast(ops.floor(point), "int32"), image)
    number = ops.where(used, ops.cast(index, "int32") + 1, 0)
    crossed_by = ops.segment_max(number, pixel, math.prod(image))
    steps = range(-SIDE_PIXELS, SIDE_PIXELS + 1)
    near = sorted(product(steps, steps), key=lambda step: math.hypot(*step))
    around = ops.take(crossed_by, pixel_index(position[:, None] + np.array(near, "int32"), image))
    # segment_max returns the lowest int32 where no segment crosses.
    first = ops.argmax(ops.cast(around > 0, "int32"), axis=1)
    nearest = ops.take_along_axis(around, first[:, None], axis=1)[:, 0]
    return ops.maximum(nearest, 0)


def pixel_index(position: Any, image: tuple[int, int]) -> Any:
    """Index of a pixel in the image, row by row, of int32 [..., 2] positions, periodic."""
    return position[..., 0] % image[0] * image[1] + position[..., 1] % image[1]


def real_segment_map(segments: Any, shape: tuple[int, int, int], factor: int) -> Any:
    """``segment_map`` of the segments of ``displaced_clusters``."""
    images, per_image, size = segments.shape
    row, present = true_indices(segments[..., SEGMENT_SIZE] > 0, images * per_image)
    segment = gather_at(segments, row)[:, : size - 1]
    return segment_map(segment, row[:, 0], present, shape, factor)


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
        cell: int [n, 2], start cell within the image.
        first: int32 [n, 2], position of the image's first cell in the whole sensor, cells.
        numbers: normal [n, 3]: choice of a template that starts near, start row and start column
            within the cell.
        factor: pixels per cell.
        size: rows and columns of the sensor, in which segments start.
    """
    cell = ops.cast(cell, "int32")
    whole = cell + first
    uniform = 0.5 * erfc(numbers * -math.sqrt(0.5))
    *_, along_v, templates = statistics
    before = ops.cumsum(along_v, axis=1) - along_v
    total = ops.take(ops.sum(along_v, 1), sensor, axis=0)
    rank = gather_at(before, ops.stack([sensor, whole[:, 1]], 1)) / total * TEMPLATES
    # Ranks beyond the first and the last template are reflected.
    rank = ops.abs(rank + NEIGHBOURS * (uniform[:, 0] - 0.5))
    rank = ops.cast(TEMPLATES - ops.abs(TEMPLATES - rank), "int32")
    rank = ops.clip(rank, 0, TEMPLATES - 1)
    template = gather_at(templates, ops.stack([sensor, rank], 1))
    inside = ops.cast(ops.clip(np.array(size, "int32") - whole * factor, 1, factor), "float32")
    pixel = ops.minimum(ops.floor(uniform[:, 1:] * inside), inside - 1.0)
    start = ops.cast(cell * factor, "float32") + pixel + template[:, :2]
    return ops.concatenate([start, start + template[:, 2:4], template[:, 4:]], 1)


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
    rate, deviation, *along = (ops.take(x, sensor, axis=0) for x in statistics[:-1])
    probability = (rate * (1.0 + ops.sum(deviation * number, 1)))[:, None, None]
    along = [
        ops.take_along_axis(along[k], first[:, k, None] + ops.arange(n, dtype="int32"), axis=1)
        for k, n in enumerate(shape)
    ]
    probability = probability * along[0][:, :, None] * along[1][:, None, :]
    return -ndtri(ops.clip(probability, 1e-7, 0.5))


def sample_batch_clusters(
    statistics: Statistics,
    sensor: Any,
    noise: Any,
    origin: Any,
    factor: int,
    size: tuple[int, int],
) -> tuple[Any, Any, Any]:
    """Sample the clusters of a batch from normal noise.

    Args:
        statistics: of ``cluster_statistics``.
        sensor: int32 [B].
        noise: normal [B, h, w, PLACEMENT_NORMALS + latents]. Two numbers of the first cell set
            the deviation of the rate; a segment that starts there uses them again.
        origin: int32 [B, 2], first row and column of the image in the sensor, pixels.
        factor: pixels per cell.
        size: rows and columns of the sensor.

    Returns:
        Input of the generator [B, h, w, known + latents]; the segments [n, SEGMENT_SIZE]; bool
        [n], false for rows that are no segment.
    """
    shape = noise.shape[:3]
    first = origin // factor
    threshold = start_threshold(statistics, sensor, noise[:, 0, 0, 1:3], first, shape[1:])
    start, present = true_indices(noise[..., 0] > threshold, math.prod(shape))
    numbers = gather_at(noise, start)[:, 1:PLACEMENT_NORMALS]
    image = start[:, 0]
    sensor, first = ops.take(sensor, image, axis=0), ops.take(first, image, axis=0)
    segment = placed_segments(statistics, sensor, start[:, 1:], first, numbers, factor, size)
    known = segment_map(segment, image, present, shape, factor)
    latents = known[..., :1] * noise[..., PLACEMENT_NORMALS:]
    return ops.concatenate([known, latents], axis=-1), segment, present
