"""Signatures of an exported generator of pixel hits: dense images and hit lists."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasgen.models.algorithm import Served

ROWS_SIGNATURE = [
    tf.TensorSpec([None], tf.int32, "sensor"),
    tf.TensorSpec([None, 2], tf.int64, "seed"),
]


class HitSignatures(tf.Module):
    """Answers of a generator from its images.

    Args:
        rows, cols: pixels of a sensor.
        threshold, max_charge: range of stored charges, ADU.
        types: background type of each image channel; empty: one channel of unknown type.
    """

    def __init__(
        self, rows: int, cols: int, threshold: int, max_charge: int, types: tuple[int, ...] = ()
    ) -> None:
        super().__init__(name="event_generator")
        self.rows, self.cols = rows, cols
        self.threshold, self.max_charge = threshold, max_charge
        self.types = types or (0,)
        self.conditions: tuple[str, ...] = ()

    @property
    @abstractmethod
    def sensors(self) -> int:
        """Number of sensors."""

    @abstractmethod
    def images(self, sensor: Any, seed: Any) -> Any:
        """[N, rows, cols, C] ``charge_type``, ADU; a row with an unknown sensor is empty.

        Args:
            sensor: [N] int32, index in the geometry.
            seed: [N, 2] int64, (run seed, event number).
        """

    @property
    def charge_type(self) -> tf.DType:
        """Type of dense images: uint8 where all charges fit, else uint16."""
        return tf.uint8 if self.max_charge <= 255 else tf.uint16

    @property
    def digit_type(self) -> tf.DType:
        """Type of hit lists: int16 where rows, columns and charges fit, else int32."""
        return tf.int16 if max(self.rows, self.cols, self.max_charge) < 2**15 else tf.int32

    def known(self, sensor: Any) -> Any:
        """Whether the geometry has such a sensor, bool in the shape of ``sensor``."""
        return tf.logical_and(sensor >= 0, sensor < self.sensors)

    @tf.function(input_signature=ROWS_SIGNATURE, autograph=False)
    def dense(self, sensor: Any, seed: Any) -> dict[str, Any]:
        """Charges of whole images.

        Args:
            sensor, seed: as in ``images``.

        Returns:
            adu: [N, rows, cols] ``charge_type``, ADU, 0 where no pixel fired; with several
                image channels [N, rows, cols, C].
            status: [N] int32, 0, or 1 for an unknown sensor, whose row is all zero.
        """
        sensor = checked_sensor(sensor, seed)
        adu = self.images(sensor, seed)
        if len(self.types) == 1:
            adu = adu[..., 0]
        return {"adu": adu, "status": 1 - tf.cast(self.known(sensor), tf.int32)}

    @tf.function(input_signature=ROWS_SIGNATURE, autograph=False)
    def digits(self, sensor: Any, seed: Any) -> dict[str, Any]:
        """Fired pixels.

        Args:
            sensor, seed: as in ``images``.

        Returns:
            count: [N] int32, fired pixels of each row; -1 for an unknown sensor.
            hits: [N, K, 3] ``digit_type``, (row, col, adu) in order of row, then column, padded
                with -1; K is the largest count of the batch. With several image channels
                [N, K, 4] with the background type: a pixel that fires in several channels is one
                hit with the sum of their charges and the type of the largest charge.
        """
        sensor = checked_sensor(sensor, seed)
        columns = self.hit_columns(self.images(sensor, seed))
        position = tf.where(columns[0] > 0)  # [hits, 3] = image, row, col
        values = [tf.cast(tf.gather_nd(c, position), tf.int32)[:, None] for c in columns]
        position = tf.cast(position, tf.int32)
        hits = tf.cast(tf.concat([position[:, 1:], *values], 1), self.digit_type)
        images = tf.shape(sensor)[0]
        count = tf.math.unsorted_segment_sum(tf.ones_like(position[:, 0]), position[:, 0], images)
        first = tf.cumsum(count, exclusive=True)
        rank = tf.range(tf.shape(position)[0]) - tf.gather(first, position[:, 0])
        longest = tf.maximum(tf.reduce_max(count), 0)  # without images, the maximum is -2^31
        padded = tf.fill([images, longest, len(columns) + 2], tf.constant(-1, self.digit_type))
        padded = tf.tensor_scatter_nd_update(padded, tf.stack([position[:, 0], rank], 1), hits)
        return {"count": tf.where(self.known(sensor), count, -1), "hits": padded}

    def hit_columns(self, images: Any) -> list[Any]:
        """Charge of each pixel, and with several channels its background type, [N, rows, cols].

        Args:
            images: [N, rows, cols, C], ADU.
        """
        if len(self.types) == 1:
            return [images[..., 0]]
        adu = tf.cast(images, tf.int32)
        charge = tf.minimum(tf.reduce_sum(adu, -1), self.max_charge)
        return [charge, tf.gather(tf.constant(self.types), tf.argmax(adu, -1))]


def served_hits(generator: HitSignatures, network: keras.Model) -> Served:
    """Contents of the SavedModel of a generator; its variables are the weights of a network."""
    signatures = {"serving_default": generator.dense, "digits": generator.digits}
    one = {"sensor": np.zeros(1, np.int32), "seed": np.zeros([1, 2], np.int64)}
    return Served(
        # The network itself would add the functions of its training.
        [weight.value for weight in network.weights],
        None,
        signatures,
        "serving_default",
        dict.fromkeys(signatures, one),
        {"types": list(generator.types), "conditions": []},
    )


def checked_sensor(sensor: Any, seed: Any) -> Any:
    """``sensor``, after a check that there are as many sensors as seeds."""
    check = tf.debugging.assert_equal(
        tf.shape(sensor)[0], tf.shape(seed)[0], "sensor and seed must have equally many rows"
    )
    with tf.control_dependencies([check]):
        return tf.identity(sensor)
