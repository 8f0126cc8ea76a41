"""From (sensor, seed) to whole charges: the generator as users, files and servers see it."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from numpy.typing import NDArray

from kerasgen.backend.random_numbers import mixed, normal, normal_at
from kerasgen.data.geometry import Geometry
from kerasgen.models.pxd_gan.clusters import LEAST_SCORE, cluster_threshold
from kerasgen.models.pxd_gan.output import charge_threshold, scale_to_charge
from kerasgen.models.pxd_gan.settings import Config

# Steps of the level on [-1, 1] in which a calibration table is tabulated.
LEVELS = 4096

# One stream per use of randomness of an image; a sensor owns STREAMS consecutive numbers.
LATENT, NOISE, CHARGE, STREAMS = 0, 1, 2, 16
ALL = -1  # sensor of the numbers that all sensors of an event share
PARALLEL = 4  # images at a time: what of one is a single thread's work fills gaps of the others
GOLDEN = 0x1E3779B97F4A7C15  # moves 0, the fixed point of ``mixed``, away from itself

IMAGE = [tf.TensorSpec(*x) for x in (([], tf.int32), ([2], tf.int64), ([], tf.float32))]
ROWS = [tf.TensorSpec([None], tf.int32, "sensor"), tf.TensorSpec([None, 2], tf.int64, "seed")]


class EventGenerator(tf.Module):
    """A generator with everything that turns its output into stored charges.

    Each row depends on its sensor and seed alone: rows are generated one by one, because the
    bits of a convolution or matrix product depend on the size of its batch.

    Arguments:
        generator: the averaged generator.
        rows, cols: pixels of a sensor; what the padded image has more is cut off.
        threshold, max_charge: range of stored charges, ADU.
        cut: [sensors] float32, calibrated score (of ``above``) above which a pixel fires; None: not
            calibrated.
        charge: [sensors, LEVELS] uint16, calibrated ADU of each level; None: not calibrated.
        types: background type of each image channel; empty: one channel of unknown type.
    """

    def __init__(
        self,
        generator: Any,
        rows: int,
        cols: int,
        threshold: int,
        max_charge: int,
        cut: NDArray[Any] | None = None,
        charge: NDArray[Any] | None = None,
        types: tuple[int, ...] = (),
    ) -> None:
        super().__init__(name="event_generator")
        self.generator = generator
        self.rows = rows
        self.cols = cols
        self.threshold = threshold
        self.max_charge = max_charge
        self.types = types or (0,)
        self.conditions: tuple[str, ...] = ()
        self.calibrated = cut is not None
        if cut is not None:
            self.cut = tf.constant(cut, tf.float32)
            self.charge = tf.constant(charge, tf.int32)

    @property
    def sensors(self) -> int:
        return self.generator.embedding.entries

    @property
    def charge_type(self) -> tf.DType:
        """Type of dense images: uint8 where all charges fit, else uint16."""
        return tf.uint8 if self.max_charge <= 255 else tf.uint16

    @property
    def digit_type(self) -> tf.DType:
        """Type of hit lists: int16 where rows, columns and charges fit, else int32."""
        return tf.int16 if max(self.rows, self.cols, self.max_charge) < 2**15 else tf.int32

    @tf.function(input_signature=IMAGE)
    def above(self, sensor: Any, seed: Any, cut: Any) -> tuple[Any, Any, Any]:
        """The pixels of one image whose score is above a cut.

        Charges are drawn for these alone: a hundredth of the pixels fires.

        Arguments:
            sensor: scalar int32.
            seed: [2] int64.
            cut: scalar float32.

        Returns:
            place: [n, 3] int32, row, column and channel.
            score, level: [n] float32; of a generator of clusters the score is relative to the cut
                of the pixel's own cluster.
        """
        generator = self.generator
        latent = normal(image_seed(sensor, seed, LATENT), [1, generator.latent_size])
        score, charge, segments = generator.image_scores(
            sensor[None], latent, image_seed(sensor, seed, NOISE), image_seed(ALL, seed, NOISE)
        )
        least = cut if segments is None else tf.minimum(cut, 0.0) + LEAST_SCORE
        # The places of what is not zero: a map of truth values costs a pass that is no vector one.
        cell = tf.cast(tf.where(tf.nn.relu(score - least)), tf.int32)
        place = pixels(cell, generator.image[0] // score.shape[0], score.shape[2])
        score = tf.gather_nd(score, cell)
        fires = tf.logical_and(place[:, 0] < self.rows, place[:, 1] < self.cols)
        if segments is not None:
            score -= cluster_threshold(segments, place[:, :2], score, generator.image)
            fires = tf.logical_and(fires, score > cut)
        cell, place, score = (tf.boolean_mask(x, fires) for x in (cell, place, score))
        number = (place[:, 0] * self.cols + place[:, 1]) * generator.image_channels + place[:, 2]
        numbers = normal_at(image_seed(sensor, seed, CHARGE), tf.cast(number, tf.int64))
        return place, score, generator.level(charge(cell), numbers)

    def image(self, sensor: Any, seed: Any) -> Any:
        """Whole ADU of one image, [rows, cols, C] ``charge_type``: scalar sensor, [2] seed.

        An unknown sensor has an empty image.
        """
        known = self.known(sensor)
        sensor = tf.where(known, sensor, 0)
        cut = tf.gather(self.cut, sensor) if self.calibrated else self.open_score()
        place, _, level = self.above(sensor, seed, cut)
        if self.calibrated:
            adu = tf.gather(tf.gather(self.charge, sensor), level_step(level))
        else:
            adu = tf.cast(tf.round(scale_to_charge(level, self.max_charge)), tf.int32)
            adu = tf.minimum(tf.where(adu >= self.threshold, adu, 0), self.max_charge)
        shape = self.rows, self.cols, self.generator.image_channels
        return tf.scatter_nd(place, tf.cast(tf.where(known, adu, 0), self.charge_type), shape)

    def open_score(self) -> float:
        """Score above which a pixel fires without calibration."""
        if self.generator.output_form == "tanh":
            return charge_threshold(self.threshold, self.max_charge)
        return 0.0

    def images(self, sensor: Any, seed: Any) -> Any:
        """[N, rows, cols, C] ``charge_type``, ADU; a row with an unknown sensor is empty.

        Arguments:
            sensor: [N] int32, index in the geometry.
            seed: [N, 2] int64, (run seed, event number).
        """
        shape = self.rows, self.cols, self.generator.image_channels
        return tf.map_fn(
            lambda row: self.image(row[0], row[1]),
            (sensor, seed),
            fn_output_signature=tf.TensorSpec(shape, self.charge_type),
            parallel_iterations=PARALLEL,
        )

    def known(self, sensor: Any) -> Any:
        """Whether there is such a sensor, bool of the same shape."""
        return tf.logical_and(sensor >= 0, sensor < self.sensors)

    @tf.function(input_signature=ROWS)
    def dense(self, sensor: Any, seed: Any) -> dict[str, Any]:
        """Charges of whole images; arguments as in ``images``.

        Returns:
            adu: [N, rows, cols] ``charge_type``, ADU, 0 where no pixel fired; with several
                image channels [N, rows, cols, C].
            status: [N] int32, 0, or 1 for an unknown sensor, whose row is all zero.
        """
        sensor = same_rows(sensor, seed)
        adu = self.images(sensor, seed)
        if self.generator.image_channels == 1:
            adu = adu[..., 0]
        return {"adu": adu, "status": 1 - tf.cast(self.known(sensor), tf.int32)}

    @tf.function(input_signature=ROWS)
    def digits(self, sensor: Any, seed: Any) -> dict[str, Any]:
        """Fired pixels; arguments as in ``images``.

        Returns:
            count: [N] int32, fired pixels of each row; -1 for an unknown sensor.
            hits: [N, K, 3] ``digit_type``, (row, col, adu) in order of row, then column, padded
                with -1; K is the largest count of the batch. With several image channels
                [N, K, 4] with the background type: a pixel that fires in several of them is one
                hit with the sum of their charges and the type of the largest.
        """
        sensor = same_rows(sensor, seed)
        columns = self.columns(self.images(sensor, seed))
        place = tf.where(columns[0] > 0)  # [hits, 3] = image, row, col
        values = [tf.cast(tf.gather_nd(c, place), tf.int32)[:, None] for c in columns]
        place = tf.cast(place, tf.int32)
        hits = tf.cast(tf.concat([place[:, 1:], *values], 1), self.digit_type)
        images = tf.shape(sensor)[0]
        count = tf.math.unsorted_segment_sum(tf.ones_like(place[:, 0]), place[:, 0], images)
        first = tf.cumsum(count, exclusive=True)
        rank = tf.range(tf.shape(place)[0]) - tf.gather(first, place[:, 0])
        longest = tf.maximum(tf.reduce_max(count), 0)  # of no images, the maximum is -2^31
        padded = tf.fill([images, longest, len(columns) + 2], tf.constant(-1, self.digit_type))
        padded = tf.tensor_scatter_nd_update(padded, tf.stack([place[:, 0], rank], 1), hits)
        return {"count": tf.where(self.known(sensor), count, -1), "hits": padded}

    def columns(self, images: Any) -> list[Any]:
        """[N, rows, cols, C] -> charge, and with several channels background type of each pixel."""
        if self.generator.image_channels == 1:
            return [images[..., 0]]
        adu = tf.cast(images, tf.int32)
        charge = tf.minimum(tf.reduce_sum(adu, -1), self.max_charge)
        return [charge, tf.gather(tf.constant(self.types), tf.argmax(adu, -1))]


def event_generator(
    network: Any, config: Config, geometry: Geometry, cut: Any = None, charge: Any = None
) -> EventGenerator:
    """The event generator of a network, for configuration and geometry of a run.

    Args:
        network: generator.
        config: of the run.
        geometry: the detector.
        cut, charge: calibration, see ``EventGenerator``; None: not calibrated.
    """
    return EventGenerator(
        network, geometry.rows, geometry.cols, geometry.threshold, geometry.max_charge, cut,
        charge, tuple(config.data.channels),
    )  # fmt: skip


def image_seed(sensor: Any, seed: Any, stream: int) -> Any:
    """int64 [2] for one use of randomness of one image.

    ``mixed`` is one-to-one and philox's own scrambling of the 128 bits is too, so (event, sensor,
    stream) of one run seed never share their numbers; for two run seeds it would take a
    coincidence of some 55 bits.
    """
    first = mixed(seed[0] + GOLDEN) + tf.cast(sensor, tf.int64) * STREAMS + stream
    return tf.stack([mixed(first), mixed(seed[1] + GOLDEN)])


def pixels(cell: Any, side: int, planes: int) -> Any:
    """Row, column and channel of the numbers of cells, in the order of ``depth_to_space``.

    Arguments:
        cell: [n, 3] int, row and column of the cell, and place in its ``planes`` numbers.
        side: pixels of a cell along u and v.
        planes: side^2 * channels.
    """
    channels = planes // side**2
    row, col = (cell[:, k] * side for k in range(2))
    pixel, channel = cell[:, 2] // channels, cell[:, 2] % channels
    return tf.stack([row + pixel // side, col + pixel % side, channel], axis=1)


def level_step(level: Any) -> Any:
    """Place of a level in the calibration table: [-1, 1] -> int32 in 0..LEVELS - 1."""
    step = tf.cast((level + 1.0) * (0.5 * LEVELS), tf.int32)
    return tf.clip_by_value(step, 0, LEVELS - 1)


def same_rows(sensor: Any, seed: Any) -> Any:
    """``sensor``, if there are as many sensors as seeds."""
    check = tf.debugging.assert_equal(
        tf.shape(sensor)[0], tf.shape(seed)[0], "sensor and seed must have equally many rows"
    )
    with tf.control_dependencies([check]):
        return tf.identity(sensor)
