"""The network that grows clusters: probabilities of the next token and of the charge."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kerasgen.backend.engine import sum_at
from kerasgen.models.cluster_growth.growth import NO_TOKEN, OFFSETS, STOP, TOKENS
from kerasgen.models.cluster_growth.statistics import (
    CLASSES,
    KNOTS_CHARGE,
    KNOTS_U,
    KNOTS_V,
)

VIEW = 5  # pixels that the network sees on every side of the head
SIDE = 2 * VIEW + 1
CHARGE_WIDTH, SENSOR_WIDTH = 64, 64
# Ends of the groups of latest pixels, from the latest one on, of which the network sees the means.
GROUPS = (2, 5, 10, 18, 32, 64, 128)
SCALE = 8.0  # pixels
# Index in the view of every linked pixel of the head.
LINKED = (OFFSETS[:, 0] + VIEW) * SIDE + OFFSETS[:, 1] + VIEW
IMPOSSIBLE = -1e9  # logit
# The linked pixels of the head in groups of so many, the neighbours first: each of the patterns in
# which a group can fire has a row of a table, which tells them apart better than a linear function.
PART = 8
POWERS = 2 ** np.arange(PART, dtype=np.int32)
State = dict[str, Any]


class ClusterNetwork(keras.Model):
    """An autoregressive network of the tokens and charges of clusters.

    A *state* is a cluster that grows, one row each: ``sensor`` [B]; ``first`` and ``head`` [B, 2],
    row and column; ``last`` [B], the token before if the head is the same; ``known`` [B], pixels so
    far; ``done`` [B], heads before this one; ``low_row``, ``high_row``, ``high_col`` [B], extent;
    ``level_sum`` [B], sum of charge levels; and of the R latest pixels in any order ``pixel_row``,
    ``pixel_col``, ``pixel_level`` and ``pixel_number`` (order of growth, -1 for none), [B, R].

    The statistics of the sensors are weights that do not train.

    Args:
        sensors: number of sensors.
        size: rows and columns of a sensor.
        width: hidden units of a layer.
        layers: residual layers.
        recent: R, latest pixels of a cluster that it sees.
        precision: of the hidden layers, "float32" or "mixed_bfloat16".
    """

    def __init__(
        self,
        sensors: int,
        size: tuple[int, int],
        width: int = 160,
        layers: int = 2,
        recent: int = 32,
        name: str = "network",
        precision: str = "float32",
    ) -> None:
        super().__init__(name=name, dtype="float32")
        self.sensors, self.size, self.recent = sensors, size, recent

        def dense(units: int, dtype: str = "float32", start: str = "glorot_uniform") -> Any:
            return keras.layers.Dense(units, kernel_initializer=start, dtype=dtype)

        def statistic(name: str, *shape: int) -> Any:
            return self.add_weight(
                shape=(sensors, *shape), initializer="zeros", name=name, trainable=False
            )

        self.rate, self.spread = statistic("rate"), statistic("spread")
        self.along_u, self.along_v = statistic("along_u", KNOTS_U), statistic("along_v", KNOTS_V)
        self.charge = statistic("charge", KNOTS_CHARGE)
        self.of_sensor = keras.layers.Embedding(sensors, SENSOR_WIDTH, dtype="float32")
        self.of_charge = keras.layers.Embedding(CLASSES + 1, width, dtype="float32")
        self.of_pattern = [
            keras.layers.Embedding(2**PART, width, dtype="float32") for _ in range(STOP // PART)
        ]
        self.enter = dense(width, precision)
        self.residual = [dense(width, precision) for _ in range(layers)]
        self.token = dense(STOP + 1, start="zeros")
        self.before_charge = dense(CHARGE_WIDTH)
        self.of_token = keras.layers.Embedding(TOKENS, CHARGE_WIDTH, dtype="float32")
        self.charge_class = dense(CLASSES)
        self.build_layers(width)

    @property
    def statistics(self) -> list[Any]:
        """Weights named as the attributes of ``SensorStatistics``."""
        return [self.rate, self.spread, self.along_u, self.along_v, self.charge]

    def build_layers(self, width: int) -> None:
        """Make all weights; nothing is computed."""
        self.of_sensor.build((1,))
        for table in (self.of_charge, *self.of_pattern):
            table.build((1,))
        seen = 12 + 4 * len(groups(self.recent)) + STOP + 1
        self.enter.build((1, 2 * SIDE**2 + seen + SENSOR_WIDTH))
        for layer in self.residual:
            layer.build((1, width))
        self.token.build((1, width))
        self.before_charge.build((1, width))
        self.of_token.build((1,))
        self.charge_class.build((1, CHARGE_WIDTH))
        self.built = True

    def call(self, state: State) -> tuple[Any, Any]:
        """Logits of the next token [B, STOP + 1], IMPOSSIBLE where it cannot be; hidden [B, W]."""
        view = surroundings(state)
        flat, seen = ops.reshape(view, (-1, 2 * SIDE**2)), features(state, self.size)
        x = self.enter(ops.concatenate([flat, seen, self.of_sensor(state["sensor"])], -1))
        x = x + self.of_charge(head_charge(state))
        for part, table in enumerate(self.of_pattern):
            x = x + table(pattern(view, part))
        x = ops.silu(x)
        for layer in self.residual:
            x = x + ops.silu(layer(x))
        possible = possible_tokens(state, view, self.size)
        return ops.where(possible, self.token(x), IMPOSSIBLE), x

    def charge_logits(self, hidden: Any, token: Any) -> Any:
        """Logits of the class of the charge level of an added pixel, [B, CLASSES].

        Args:
            hidden: of ``call``.
            token: [B], that adds it.
        """
        return self.charge_class(ops.silu(self.before_charge(hidden) + self.of_token(token)))


def surroundings(state: State) -> Any:
    """The pixels around the head, [B, SIDE^2, 2].

    The first number is 0 where the cluster has no pixel, else 0.5 + charge level; the second is 1
    where the linked pixels of a pixel are known.
    """
    row = state["pixel_row"] - state["head"][:, :1] + VIEW
    col = state["pixel_col"] - state["head"][:, 1:] + VIEW
    number = state["pixel_number"]
    seen = (number >= 0) & (row >= 0) & (row < SIDE) & (col >= 0) & (col < SIDE)
    done = ops.cast(number < state["done"][:, None], "float32")
    values = ops.stack([0.5 + state["pixel_level"], done], -1)
    rows = row.shape[0]
    cell = row * SIDE + col + ops.arange(rows, dtype="int32")[:, None] * SIDE**2
    return ops.reshape(sum_at(seen, cell, values, rows * SIDE**2), (rows, SIDE**2, 2))


def features(state: State, size: tuple[int, int]) -> Any:
    """Extent, charge, place and latest pixels of a cluster, and the token before, [B, F]."""
    row, col = (ops.cast(state["head"][:, k], "float32") for k in range(2))

    def distance(x: Any) -> Any:  # the logarithm: that a long cluster ends is ever less likely
        return ops.arcsinh(x) / 3

    number = ops.cast(state["known"], "float32")
    extent = [
        distance(row - ops.cast(state["low_row"], "float32")),
        distance(ops.cast(state["high_row"], "float32") - row),
        distance(ops.cast(state["high_col"], "float32") - col),
        distance(col - ops.cast(state["first"][:, 1], "float32")),
        distance(row - ops.cast(state["first"][:, 0], "float32")),
        distance(number),
        state["level_sum"] / ops.maximum(number, 1.0),
    ]
    place = [
        row / size[0], col / size[1],
        ops.exp(-ops.minimum(row, col) / SCALE),
        ops.exp((row + 1 - size[0]) / SCALE), ops.exp((col + 1 - size[1]) / SCALE),
    ]  # fmt: skip
    last = ops.one_hot(state["last"] - NO_TOKEN, STOP + 1)
    return ops.concatenate([ops.stack([*extent, *place, *latest_pixels(state)], -1), last], -1)


def pattern(view: Any, part: int) -> Any:
    """Number of the pattern of a group of linked pixels of the head, int32 [B], below 2^PART.

    Args:
        view: of ``surroundings``.
        part: number of the group.
    """
    fires = ops.take(view[..., 0], LINKED[part * PART : (part + 1) * PART], axis=1) > 0
    return ops.sum(ops.where(fires, POWERS, 0), -1)


def head_charge(state: State) -> Any:
    """Class of the charge level of the head, int32 [B]; CLASSES before the first pixel.

    A linear function of the level is no substitute: which kind of cluster begins is often a matter
    of a few ADU.
    """
    here = state["pixel_number"] == state["done"][:, None]
    level = ops.sum(ops.where(here, state["pixel_level"], 0.0), -1)
    charge = ops.minimum(ops.cast(level * CLASSES, "int32"), CLASSES - 1)
    return ops.where(state["known"] == 0, CLASSES, charge)


def groups(recent: int) -> list[tuple[int, int]]:
    """The groups of ``recent`` latest pixels, by age."""
    ends = [*(x for x in GROUPS if x < recent), recent]
    return list(zip([0, *ends[:-1]], ends, strict=True))


def latest_pixels(state: State) -> list[Any]:
    """Where a cluster comes from, [B] each.

    Of each group of latest pixels its share, and the sums of rows and columns from the head and of
    charge levels, over its full size. (One product of all groups is slower than these sums.)
    """
    number = state["pixel_number"]
    age = state["known"][:, None] - 1 - number
    row = ops.cast(state["pixel_row"] - state["head"][:, :1], "float32") / SCALE
    col = ops.cast(state["pixel_col"] - state["head"][:, 1:], "float32") / SCALE
    found = []
    for start, end in groups(number.shape[1]):
        here = ops.cast((number >= 0) & (age >= start) & (age < end), "float32") / (end - start)
        found += [ops.sum(here * x, -1) for x in (1.0, row, col, state["pixel_level"])]
    return found


def possible_tokens(state: State, view: Any, size: tuple[int, int]) -> Any:
    """Whether a token can be the next, bool [B, STOP + 1].

    A pixel is added once, inside the sensor, after those of the same head with lower tokens, and
    never before the first pixel of the cluster.
    """
    row = state["head"][:, :1] + OFFSETS[:, 0]
    col = state["head"][:, 1:] + OFFSETS[:, 1]
    inside = (row >= 0) & (row < size[0]) & (col >= 0) & (col < size[1])
    first_row, first_col = state["first"][:, :1], state["first"][:, 1:]
    later = (col > first_col) | ((col == first_col) & (row > first_row))
    free = ops.take(view[..., 0], LINKED, axis=1) == 0.0
    ascending = np.arange(STOP) > state["last"][:, None]
    possible = inside & later & free & ascending
    return ops.concatenate([possible, ops.ones_like(possible[:, :1])], -1)
