"""From (sensor, seed) to charges in ADU: the generator as users, files and servers see it."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from numpy.typing import NDArray

from kerasgen.backend.engine import ndtri, normal
from kerasgen.backend.numpy_seeds import GOLDEN
from kerasgen.backend.seeds import mixed
from kerasgen.models.hit_signatures import HitSignatures
from kerasgen.models.pxd_gan.image_logits import image_logits
from kerasgen.models.pxd_gan.output import (
    HitmapGenerator,
    charge_threshold,
    quantile_map_index,
    to_adu,
)

# Streams of random numbers of an image; a sensor owns STREAMS consecutive stream numbers.
LATENT, NOISE, CHARGE, STREAMS = 0, 1, 2, 16
PARALLEL_IMAGES = 4  # single-threaded parts of one image fill the gaps of the others

IMAGE_SIGNATURE = [tf.TensorSpec(*x) for x in (([], tf.int32), ([2], tf.int64), ([], tf.float32))]


class EventGenerator(HitSignatures):
    """A generator network with calibration and random numbers: makes stored charges.

    Each row depends on its sensor and seed alone: rows are generated one by one, because the
    bits of a convolution or matrix product depend on the size of its batch.

    Args:
        generator: the EMA generator.
        rows, cols: pixels of a sensor; the padding of the image is dropped.
        threshold, max_charge: range of stored charges, ADU.
        firing_threshold: [sensors] float32, calibrated logit (of ``pixels_above``) above which a
            pixel fires; None: not calibrated.
        quantile_map: [sensors, QUANTILE_MAP_SIZE] uint16, calibrated ADU of each step of the
            normalised charge; None: not calibrated.
        types: background type of each image channel; empty: one channel of unknown type.
    """

    def __init__(
        self,
        generator: HitmapGenerator,
        rows: int,
        cols: int,
        threshold: int,
        max_charge: int,
        firing_threshold: NDArray[Any] | None = None,
        quantile_map: NDArray[Any] | None = None,
        types: tuple[int, ...] = (),
    ) -> None:
        super().__init__(rows, cols, threshold, max_charge, types)
        self.generator = generator
        self.calibrated = firing_threshold is not None
        if firing_threshold is not None:
            self.firing_threshold = tf.constant(firing_threshold, tf.float32)
            self.quantile_map = tf.constant(quantile_map, tf.int32)

    @property
    def sensors(self) -> int:
        """Number of sensors."""
        return self.generator.embedding.entries

    @tf.function(input_signature=IMAGE_SIGNATURE, autograph=False)
    def pixels_above(self, sensor: Any, seed: Any, threshold: Any) -> tuple[Any, Any, Any]:
        """The pixels of one image whose logit exceeds a threshold.

        Charges are sampled for these pixels only: about one in a hundred fires.

        Args:
            sensor: scalar int32.
            seed: [2] int64.
            threshold: scalar float32.

        Returns:
            position: [n, 3] int32, row, column and channel.
            logit: [n] float32.
            charge: [n] float32, normalised.
        """
        generator = self.generator
        latent = normal(image_seed(sensor, seed, LATENT), [1, generator.latent_size])
        noise_seed = image_seed(sensor, seed, NOISE)
        logit, charge_at = image_logits(generator, sensor[None], latent, noise_seed)
        # tf.where of numbers: of booleans it costs a further pass that is not vectorised.
        cell = tf.cast(tf.where(tf.nn.relu(logit - threshold)), tf.int32)
        position = pixel_positions(cell, generator.image[0] // logit.shape[0], logit.shape[2])
        logit = tf.gather_nd(logit, cell)
        fires = tf.logical_and(position[:, 0] < self.rows, position[:, 1] < self.cols)
        cell, position, logit = (tf.boolean_mask(x, fires) for x in (cell, position, logit))
        row, col, channel = position[:, 0], position[:, 1], position[:, 2]
        number = (row * self.cols + col) * generator.image_channels + channel
        numbers = normal_at(image_seed(sensor, seed, CHARGE), tf.cast(number, tf.int64))
        return position, logit, generator.sample_charge(charge_at(cell), numbers)

    def image(self, sensor: Any, seed: Any) -> Any:
        """Charges of one image in ADU, [rows, cols, C] ``charge_type``.

        Args:
            sensor: scalar int32; the image of an unknown sensor is empty.
            seed: [2] int64.
        """
        known = self.known(sensor)
        sensor = tf.where(known, sensor, 0)
        if self.calibrated:
            threshold = tf.gather(self.firing_threshold, sensor)
        else:
            threshold = self.default_threshold()
        position, _, charge = self.pixels_above(sensor, seed, threshold)
        if self.calibrated:
            adu = tf.gather(tf.gather(self.quantile_map, sensor), quantile_map_index(charge))
        else:
            adu = tf.cast(tf.round(to_adu(charge, self.max_charge)), tf.int32)
            adu = tf.minimum(tf.where(adu >= self.threshold, adu, 0), self.max_charge)
        shape = self.rows, self.cols, self.generator.image_channels
        return tf.scatter_nd(position, tf.cast(tf.where(known, adu, 0), self.charge_type), shape)

    def default_threshold(self) -> float:
        """Logit (tanh output: normalised charge) above which a pixel fires without calibration."""
        if self.generator.output_variant == "tanh":
            return charge_threshold(self.threshold, self.max_charge)
        return 0.0

    def images(self, sensor: Any, seed: Any) -> Any:
        """[N, rows, cols, C] ``charge_type``, ADU; a row with an unknown sensor is empty.

        Args:
            sensor: [N] int32, index in the geometry.
            seed: [N, 2] int64, (run seed, event number).
        """
        shape = self.rows, self.cols, self.generator.image_channels
        return tf.map_fn(
            lambda row: self.image(row[0], row[1]),
            (sensor, seed),
            fn_output_signature=tf.TensorSpec(shape, self.charge_type),
            parallel_iterations=PARALLEL_IMAGES,
        )


def image_seed(sensor: Any, seed: Any, stream: int) -> Any:
    """Seed, int64 [2], of one stream of random numbers of one image.

    ``mixed`` is one-to-one, and so is philox's scrambling of the 128 bits. Hence two different
    (event, sensor, stream) of one run seed never share a seed; for two run seeds some 55 bits
    would have to coincide.

    Args:
        sensor: scalar int32.
        seed: [2] int64, (run seed, event number).
        stream: LATENT, NOISE or CHARGE.
    """
    first = mixed(seed[0] + GOLDEN) + tf.cast(sensor, tf.int64) * STREAMS + stream
    return tf.stack([mixed(first), mixed(seed[1] + GOLDEN)])


def normal_at(seed: Any, place: Any) -> Any:
    """Counter-based normals: the value at an index does not depend on the others requested.

    Args:
        seed: int64 [2].
        place: int64 [n], indices.
    """
    bits = tf.bitcast(mixed(seed[1] + mixed(seed[0] + place)), tf.uint64)
    upper = tf.cast(tf.bitwise.right_shift(bits, tf.constant(12, tf.uint64)), tf.float64)
    return tf.cast(ndtri((upper + 0.5) * 2.0**-52), tf.float32)


def pixel_positions(cell: Any, side: int, planes: int) -> Any:
    """Row, column and channel of numbers of cells, in the order of ``depth_to_space``, [n, 3].

    Args:
        cell: [n, 3] int, row and column of the cell, and index among its ``planes`` numbers.
        side: pixels of a cell along u and v.
        planes: side^2 * channels.
    """
    channels = planes // side**2
    row, col = (cell[:, k] * side for k in range(2))
    pixel, channel = cell[:, 2] // channels, cell[:, 2] % channels
    return tf.stack([row + pixel // side, col + pixel % side, channel], axis=1)
