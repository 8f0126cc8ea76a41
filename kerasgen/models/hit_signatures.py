"""Signatures of an exported generator of pixel hits: dense images and hit lists."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasgen.data.level import LEVEL, MAX_LEVEL
from kerasgen.models.algorithm import Served

ROWS_SIGNATURE = [
    tf.TensorSpec([None], tf.int32, "sensor"),
    tf.TensorSpec([None, 2], tf.int64, "seed"),
]
LEVEL_SIGNATURE = [*ROWS_SIGNATURE, tf.TensorSpec([None, None], tf.float32, LEVEL)]


class HitSignatures(tf.Module):
    """Answers of a generator from its images.

    Args:
        rows, cols: pixels of a sensor.
        threshold, max_charge: range of stored charges, ADU.
        types: background types of the hits, T of them; empty: one unknown type.
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
        """[N, rows, cols, C], of which ``charge_and_type`` knows the meaning; 0: not fired.

        A row with an unknown sensor is empty.

        Args:
            sensor: [N] int32, index in the geometry.
            seed: [N, 2] int64, (run seed, event number).
        """

    def charge_and_type(self, values: Any) -> tuple[Any, Any]:
        """Charge in ADU and index of the type, int32 [..], of values [.., C] of images.

        Here each channel has the charges of one type: a pixel that fires in several ones has the
        sum of their charges, and the type of the largest.
        """
        values = tf.cast(values, tf.int32)
        charge = tf.minimum(tf.reduce_sum(values, -1), self.max_charge)
        return charge, tf.argmax(values, -1, output_type=tf.int32)

    def images_at(self, sensor: Any, seed: Any, level: Any) -> Any:
        """As ``images``, of background of any level, where ``conditions`` contain LEVEL.

        At level 1 they are those of ``images``; the image of n levels of 1 is the sum of n
        independent ones.

        Args:
            sensor, seed: as in ``images``.
            level: [N, T] float32, frequency of each type over that of the training events; a row
                with a level that is none of 0 to MAX_LEVEL is empty.
        """
        raise NotImplementedError

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
            adu: [N, rows, cols] ``charge_type``, ADU, 0 where no pixel fired.
            type: [N, rows, cols] uint8, background type, 0 where no pixel fired; only of models
                with several types.
            status: [N] int32, 0, or 1 for an unknown sensor, whose row is all zero.
        """
        sensor = checked_sensor(sensor, seed)
        return self.dense_answer(self.images(sensor, seed), self.status(sensor))

    @tf.function(input_signature=LEVEL_SIGNATURE, autograph=False)
    def dense_level(self, sensor: Any, seed: Any, level: Any) -> dict[str, Any]:
        """Charges of whole images of background of any level.

        Args:
            sensor, seed: as in ``images``.
            level: [N, T] float32, as in ``images_at``; or [N, 1], of all types.

        Returns:
            As ``dense``; ``status`` is 2 for a known sensor with a level that is none.
        """
        sensor = checked_sensor(sensor, seed, level)
        level = self.level_of_types(level)
        return self.dense_answer(self.images_at(sensor, seed, level), self.status(sensor, level))

    @tf.function(input_signature=LEVEL_SIGNATURE, autograph=False)
    def digits_level(self, sensor: Any, seed: Any, level: Any) -> dict[str, Any]:
        """Fired pixels of background of any level.

        Args:
            sensor, seed, level: as in ``dense_level``.

        Returns:
            As ``digits``; ``count`` is -1 also for a level that is none.
        """
        sensor = checked_sensor(sensor, seed, level)
        level = self.level_of_types(level)
        return self.hit_lists(self.images_at(sensor, seed, level), self.status(sensor, level))

    @tf.function(input_signature=ROWS_SIGNATURE, autograph=False)
    def digits(self, sensor: Any, seed: Any) -> dict[str, Any]:
        """Fired pixels.

        Args:
            sensor, seed: as in ``images``.

        Returns:
            count: [N] int32, fired pixels of each row; -1 for an unknown sensor.
            hits: [N, K, 3] ``digit_type``, (row, col, adu) in order of row, then column, padded
                with -1; K is the largest count of the batch.
            type: [N, K] uint8, background type of the hits, padded with 0; only of models with
                several types.
        """
        sensor = checked_sensor(sensor, seed)
        return self.hit_lists(self.images(sensor, seed), self.status(sensor))

    def level_of_types(self, level: Any) -> Any:
        """Level of each type, [N, T], of [N, T] or [N, 1]."""
        types = len(self.types)
        one = tf.debugging.assert_equal(
            tf.reduce_any(tf.equal(tf.shape(level)[1], [1, types])), True,
            f"{LEVEL} must have 1 or {types} columns, one for each type of {list(self.types)}",
        )  # fmt: skip
        with tf.control_dependencies([one]):
            level = tf.broadcast_to(level, [tf.shape(level)[0], types])
        return tf.ensure_shape(level, [None, types])

    def status(self, sensor: Any, level: Any = None) -> Any:
        """0, 1 for an unknown sensor, 2 for a level that is none, int32 [N].

        Args:
            sensor: [N].
            level: [N, T]; None: no level is asked for.
        """
        status = 1 - tf.cast(self.known(sensor), tf.int32)
        if level is None:
            return status
        good = tf.reduce_all(tf.logical_and(level >= 0, level <= MAX_LEVEL), -1)
        return tf.where(tf.logical_or(good, status > 0), status, 2)

    def dense_answer(self, images: Any, status: Any) -> dict[str, Any]:
        """Images [N, rows, cols, C] and status [N] as ``dense`` answers."""
        if len(self.types) == 1:
            return {"adu": images[..., 0], "status": status}
        charge, number = self.charge_and_type(images)
        types = tf.gather(tf.constant(self.types, tf.uint8), number)
        types = tf.where(charge > 0, types, tf.zeros_like(types))
        return {"adu": tf.cast(charge, self.charge_type), "type": types, "status": status}

    def hit_lists(self, images: Any, status: Any) -> dict[str, Any]:
        """Images [N, rows, cols, C] and status [N] as ``digits`` answers."""
        fired = images[..., 0] > 0 if images.shape[-1] == 1 else tf.reduce_any(images > 0, -1)
        position = tf.where(fired)  # [hits, 3] = image, row, col
        charge, number = self.charge_and_type(tf.gather_nd(images, position))
        position = tf.cast(position, tf.int32)
        hits = tf.cast(tf.concat([position[:, 1:], charge[:, None]], 1), self.digit_type)
        rows = tf.shape(status)[0]
        count = tf.math.unsorted_segment_sum(tf.ones_like(position[:, 0]), position[:, 0], rows)
        first = tf.cumsum(count, exclusive=True)
        rank = tf.range(tf.shape(position)[0]) - tf.gather(first, position[:, 0])
        longest = tf.maximum(tf.reduce_max(count), 0)  # without images, the maximum is -2^31
        place = tf.stack([position[:, 0], rank], 1)
        padded = tf.fill([rows, longest, 3], tf.constant(-1, self.digit_type))
        padded = tf.tensor_scatter_nd_update(padded, place, hits)
        answer = {"count": tf.where(status == 0, count, -1), "hits": padded}
        if len(self.types) > 1:
            types = tf.gather(tf.constant(self.types, tf.uint8), number)
            none = tf.zeros([rows, longest], tf.uint8)
            answer["type"] = tf.tensor_scatter_nd_update(none, place, types)
        return answer


def served_hits(generator: HitSignatures, network: keras.Model) -> Served:
    """Contents of the SavedModel of a generator; its variables are the weights of a network."""
    signatures = {"serving_default": generator.dense, "digits": generator.digits}
    one: dict[str, Any] = {"sensor": np.zeros(1, np.int32), "seed": np.zeros([1, 2], np.int64)}
    inputs = dict.fromkeys(signatures, one)
    if LEVEL in generator.conditions:
        levels = {"serving_level": generator.dense_level, "digits_level": generator.digits_level}
        signatures |= levels
        inputs |= dict.fromkeys(levels, one | {LEVEL: np.ones([1, 1], np.float32)})
    return Served(
        # The network itself would add the functions of its training.
        [weight.value for weight in network.weights],
        None,
        signatures,
        "serving_default",
        inputs,
        {"types": list(generator.types), "conditions": list(generator.conditions)},
    )


def checked_sensor(sensor: Any, seed: Any, level: Any = None) -> Any:
    """``sensor``, after a check that there are as many sensors as seeds, and as levels."""
    others = {"seed": seed} if level is None else {"seed": seed, LEVEL: level}
    checks = [
        tf.debugging.assert_equal(
            tf.shape(sensor)[0], tf.shape(x)[0], f"sensor and {name} must have equally many rows"
        )
        for name, x in others.items()
    ]
    with tf.control_dependencies(checks):
        return tf.identity(sensor)
