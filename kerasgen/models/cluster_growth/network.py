"""The network that grows clusters: probabilities of the next token and of the charge."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kerasgen.models.cluster_growth.activity import ACTIVITY
from kerasgen.models.cluster_growth.field import COORDINATES, FIELDS
from kerasgen.models.cluster_growth.growth import LINKS, NO_LINK, TOKENS
from kerasgen.models.cluster_growth.plan import OFFSET, PARTS, PLANS, SIZES, TYPE, to_go
from kerasgen.models.cluster_growth.statistics import (
    CLASSES,
    KNOTS_CHARGE,
    KNOTS_U,
    KNOTS_V,
)
from kerasgen.models.cluster_growth.surroundings import (
    LINKED,
    SIDE,
    State,
    earlier_heads,
    linked_pixels,
    possible_tokens,
    surroundings,
)

CHARGE_WIDTH, SENSOR_WIDTH, PLAN_WIDTH, TYPE_WIDTH = 64, 64, 128, 32
# Ends of the groups of latest pixels, from the latest one on, of which the network sees the means.
GROUPS = (2, 5, 10, 18, 32, 64, 128)
SCALE = 8.0  # pixels
ARM = 2.0  # rows from the first pixel, beyond which pixels are of one arm or the other
WAVES = np.pi * np.array([1, 2, 4], np.float32)  # along u and v, by which clusters vary in kind
# Numbers of ``place_on_sensor``, ``extent``, ``shape`` and ``sum_terms``.
PLACE, EXTENT, SHAPE, SUMS = 5 + 4 * len(WAVES), 8, 8 + ACTIVITY, 7
IMPOSSIBLE = -1e9  # logit
# Rows of the table of cases. The linked pixels of the head are in groups of PART, the neighbours
# first; each of the patterns in which a group can fire is a case, as are the link before and the
# charge class of the head. (A linear function of the view tells them apart less well.)
PART = 8
PATTERNS = LINKS // PART * 2**PART
CASES = PATTERNS + CLASSES + LINKS + 1
POWERS = np.kron(np.eye(LINKS // PART), 2.0 ** np.arange(PART)[:, None]).astype(np.float32)
FIRST_CASE = np.append(2**PART * np.arange(LINKS // PART), [PATTERNS, PATTERNS + CLASSES - NO_LINK])


class ClusterNetwork(keras.Model):
    """An autoregressive network of the plans, tokens and charges of clusters.

    A cluster begins with its type, by sensor and place; then come its plan (see ``plan``) and the
    charge of its first pixel, by type, sensor, place and activity; then it grows by tokens.

    A *state* is a cluster that grows, one row each: ``sensor`` [B]; ``activity`` [B, ACTIVITY], of
    its surroundings (see ``activity``); ``plan`` [B, PARTS + SIZES]; ``first`` and ``head``
    [B, 2], row and column; ``last`` [B], link of the pixel before if the head is the same;
    ``known`` [B], pixels so far, at least 1; ``gaps`` [B], so far; ``done`` [B], heads before this
    one; ``low`` and ``high`` [B, 2], extent; ``sums`` [B, SUMS], of the ``sum_terms`` of its
    pixels; and ``pixels`` [B, 3, R] float32, row, column and charge level of the R latest pixels,
    the latest first; those beyond ``known`` are anything.

    The statistics of the sensors are weights that do not train.

    Args:
        sensors: number of sensors.
        size: rows and columns of a sensor.
        width: hidden units of a layer.
        layers: residual layers.
        recent: R, latest pixels of a cluster that it sees.
        precision: of the hidden layers, "float32" or "mixed_bfloat16".
        temperature: of tokens that are drawn; training has no part in it.
        types: background types of clusters; empty: they have none, and a plan has the class 0.
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
        temperature: float = 1.0,
        types: tuple[int, ...] = (),
    ) -> None:
        super().__init__(name=name, dtype="float32")
        self.types = types or (0,)
        self.sensors, self.size, self.recent = sensors, size, recent
        self.temperature = temperature

        def dense(units: int, dtype: str = "float32", start: str = "glorot_uniform") -> Any:
            return keras.layers.Dense(units, kernel_initializer=start, dtype=dtype)

        def statistic(name: str, *shape: int) -> Any:
            return self.add_weight(
                shape=(sensors, *shape), initializer="zeros", name=name, trainable=False
            )

        self.rate, self.spread = statistic("rate"), statistic("spread")
        self.along_u, self.along_v = statistic("along_u", KNOTS_U), statistic("along_v", KNOTS_V)
        self.charge = statistic("charge", KNOTS_CHARGE)
        self.place = statistic("place", 3, COORDINATES)
        self.pitch, self.radius = statistic("pitch", 3), statistic("radius")
        kinds = len(self.types)
        self.share = statistic("share", kinds)
        self.amplitude = statistic("amplitude", kinds, FIELDS)
        self.length = self.add_weight(
            shape=(kinds, FIELDS, COORDINATES), initializer="ones", name="length", trainable=False
        )
        self.merged = self.add_weight(
            shape=(1,), name="merged", initializer="zeros", trainable=False
        )
        self.of_sensor = keras.layers.Embedding(sensors, SENSOR_WIDTH, dtype="float32")
        self.enter_sensor = dense(width)
        self.of_case = keras.layers.Embedding(CASES + PARTS * PLANS, width, dtype="float32")
        self.enter = dense(width, precision)
        self.residual = [dense(width, precision) for _ in range(layers)]
        self.token = dense(TOKENS, start="zeros")
        self.before_type = dense(TYPE_WIDTH)
        self.type_class = dense(kinds, start="zeros")
        self.before_plan = dense(PLAN_WIDTH)
        self.of_plan = keras.layers.Embedding(PARTS * PLANS, PLAN_WIDTH, dtype="float32")
        self.plan_class = [dense(PLANS, start="zeros") for _ in range(TYPE)]
        self.before_first = dense(CHARGE_WIDTH)
        self.before_charge = dense(CHARGE_WIDTH)
        self.of_token = keras.layers.Embedding(TOKENS, CHARGE_WIDTH, dtype="float32")
        self.charge_class = dense(CLASSES)
        self.build_layers(width)

    @property
    def statistics(self) -> list[Any]:
        """Weights named as the attributes of ``SensorStatistics``."""
        tables = [self.rate, self.spread, self.along_u, self.along_v, self.charge]
        places = [self.place, self.pitch, self.radius]
        return [*tables, *places, self.share, self.amplitude, self.length, self.merged]

    @property
    def growth_variables(self) -> list[Any]:
        """Trainable weights that growth and charges depend on, types and plans not."""
        of_plans = [
            self.of_sensor, self.before_type, self.type_class, self.before_plan, self.of_plan,
            *self.plan_class,
        ]  # fmt: skip
        others = {id(weight) for layer in of_plans for weight in layer.trainable_weights}
        return [weight for weight in self.trainable_weights if id(weight) not in others]

    def build_layers(self, width: int) -> None:
        """Make all weights; nothing is computed."""
        for table in (self.of_sensor, self.of_case, self.of_token, self.of_plan):
            table.build((1,))
        self.enter_sensor.build((1, SENSOR_WIDTH))
        seen = SIDE**2 + LINKS + PLACE + EXTENT + SIZES + SHAPE + 4 * len(groups(self.recent))
        self.enter.build((1, seen))
        for layer in self.residual:
            layer.build((1, width))
        self.token.build((1, width))
        self.before_type.build((1, SENSOR_WIDTH + PLACE))
        self.type_class.build((1, TYPE_WIDTH))
        self.before_plan.build((1, SENSOR_WIDTH + PLACE + ACTIVITY))
        for layer in (*self.plan_class, self.before_first):
            layer.build((1, PLAN_WIDTH))
        self.before_charge.build((1, width))
        self.charge_class.build((1, CHARGE_WIDTH))
        self.built = True

    def call(self, state: State) -> tuple[Any, Any]:
        """Logits of the next token [B, TOKENS], IMPOSSIBLE where it cannot be; hidden [B, W]."""
        view = surroundings(state)
        around = ops.take(view, LINKED, axis=1)
        place = place_on_sensor(state["head"], self.size)
        earlier = earlier_heads(view)
        decided = linked_pixels(earlier)
        missing = to_go(*(state[name] for name in ("plan", "low", "high", "gaps", "known")))
        cluster = [extent(state), missing, shape(state), latest_pixels(state)]
        seen = ops.concatenate([ops.abs(view), decided, place, *cluster], -1)
        x = ops.cast(self.enter(seen), "float32")
        of_sensor = self.enter_sensor(self.of_sensor.embeddings)
        x = x + ops.take(of_sensor, state["sensor"], axis=0)
        x = ops.silu(x + ops.sum(self.of_case(cases(state, around)), 1))
        for layer in self.residual:
            x = x + ops.cast(ops.silu(layer(x)), "float32")
        possible = possible_tokens(state, view, earlier, self.size)
        return ops.where(possible, self.token(x), IMPOSSIBLE), x

    def type_logits(self, state: State) -> Any:
        """Logits of the type, [B, T].

        Args:
            state: ``sensor`` and ``first`` of it.
        """
        return self.type_class(ops.silu(self.before_type(self.begin_place(state))))

    def begin(self, state: State) -> Any:
        """What a plan depends on, [B, PLAN_WIDTH].

        Args:
            state: ``sensor``, ``activity`` and ``first`` of it, and ``kind`` [B], the type.
        """
        begin = self.before_plan(ops.concatenate([self.begin_place(state), state["activity"]], -1))
        return self.with_plan(begin, TYPE, state["kind"])

    def begin_place(self, state: State) -> Any:
        """Where clusters begin, [B, SENSOR_WIDTH + PLACE]."""
        place = place_on_sensor(state["first"], self.size)
        return ops.concatenate([self.of_sensor(state["sensor"]), place], -1)

    def plan_logits(self, begin: Any, part: int) -> Any:
        """Logits of the class of a part of plans, [B, PLANS]; ``begin`` knows the parts before."""
        return self.plan_class[part](ops.silu(begin))

    def with_plan(self, begin: Any, part: int, classes: Any) -> Any:
        """``begin`` that knows the classes [B] of a part of plans."""
        return begin + self.of_plan(classes + int(OFFSET[part]))

    def first_charge_logits(self, begin: Any) -> Any:
        """Logits of the class of the charge level of first pixels, [B, CLASSES], by whole plans."""
        return self.charge_class(ops.silu(self.before_first(ops.silu(begin))))

    def charge_logits(self, hidden: Any, token: Any) -> Any:
        """Logits of the class of the charge level of an added pixel, [B, CLASSES].

        Args:
            hidden: of ``call``.
            token: [B], that adds it.
        """
        return self.charge_class(ops.silu(self.before_charge(hidden) + self.of_token(token)))


def cases(state: State, around: Any) -> Any:
    """Rows of the table: patterns around the head, its charge, link before, plan, [B, 10]."""
    fires = ops.cast(around != 0, "float32")
    level = head_pixel(state)[:, 2:]
    charge = ops.minimum(ops.cast(level * CLASSES, "int32"), CLASSES - 1)
    patterns = ops.cast(ops.matmul(fires, POWERS), "int32")
    here = ops.concatenate([patterns, charge, state["last"][:, None], state["plan"][:, :PARTS]], -1)
    return here + np.append(FIRST_CASE, CASES + OFFSET).astype(np.int32)


def head_pixel(state: State) -> Any:
    """Row, column and charge level of the head, [B, 3]; of the oldest pixel if it is older."""
    pixels = state["pixels"]
    rows, numbers, recent = pixels.shape
    age = ops.minimum(state["known"] - 1 - state["done"], recent - 1)
    start = np.arange(rows * numbers, dtype=np.int32).reshape(rows, numbers) * recent
    return ops.take(ops.reshape(pixels, (-1,)), start + age[:, None])


def place_on_sensor(place: Any, size: tuple[int, int]) -> Any:
    """Row and column [B, 2] as the network sees them, [B, PLACE]."""
    last = np.array(size, np.int32) - 1
    edges = ops.concatenate([ops.min(place, -1, keepdims=True), last - place], -1)
    near = ops.exp(ops.cast(edges, "float32") / -SCALE)
    share = ops.cast(place, "float32") / np.array(size, np.float32)
    waves = ops.concatenate([share[:, k : k + 1] * WAVES for k in range(2)], -1)
    return ops.concatenate([share, near, ops.sin(waves), ops.cos(waves)], -1)


def extent(state: State) -> Any:
    """Distances from the head to the ends of the cluster, its size, [B, EXTENT]."""
    first, head = state["first"], state["head"]
    known = ops.cast(state["known"], "float32")[:, None]
    ends = [head - state["low"], state["high"] - head, (head - first)[:, :1]]
    distances = ops.concatenate([*(ops.cast(x, "float32") for x in ends), known], -1)
    rows, columns = (ops.cast((head - first)[:, k : k + 1], "float32") for k in range(2))
    slope, thickness = rows / (columns + 1), known / (columns + 1)
    # The logarithm: that a long cluster ends is ever less likely.
    return ops.arcsinh(ops.concatenate([distances, slope, thickness], -1)) / 3


def sum_terms(xp: Any, from_first: Any, level: Any) -> Any:
    """What a state sums over the pixels of its cluster, [B, SUMS].

    Args:
        xp: numpy or ``keras.ops``.
        from_first: [B, 2], rows and columns from the first pixel, float32.
        level: [B], charge level.
    """
    u, v, level = from_first[:, :1], from_first[:, 1:], level[:, None]
    return xp.concatenate([u, v, u * u, v * v, u * v, level, level * level], axis=-1)


def shape(state: State) -> Any:
    """How straight and how bright the whole cluster is, and activity of its image, [B, SHAPE].

    Distance of the head from the mean pixel; root of the variances of rows, of columns and across
    the axis of the cluster; direction of the axis; mean and variance of the charge level.
    """
    known = ops.cast(state["known"], "float32")[:, None]
    mean = state["sums"] / known
    square = mean[:, :2] ** 2
    variance = ops.maximum(mean[:, 2:4] - square, 0)
    covariance = mean[:, 4:5] - mean[:, :1] * mean[:, 1:2]
    half, difference = ((variance[:, :1] + sign * variance[:, 1:]) / 2 for sign in (1.0, -1.0))
    across = half - ops.sqrt(difference**2 + covariance**2)
    head = ops.cast(state["head"] - state["first"], "float32") - mean[:, :2]
    spread = ops.sqrt(ops.maximum(ops.concatenate([variance, across], -1), 1e-6))
    lengths = ops.arcsinh(ops.concatenate([head, spread], -1)) / 3
    level, level_square = mean[:, 5:6], mean[:, 6:]
    numbers = [lengths, covariance / (half + 1), level, level_square - level**2]
    return ops.concatenate([*numbers, state["activity"]], -1)


def groups(recent: int) -> list[tuple[int, int]]:
    """The groups of ``recent`` latest pixels, by age."""
    ends = [*(x for x in GROUPS if x < recent), recent]
    return list(zip([0, *ends[:-1]], ends, strict=True))


def means(recent: int) -> NDArray[np.float32]:
    """By this matrix, numbers of the latest pixels become their means in groups, [R, G]."""
    matrix = [[(a <= age < b) / (b - a) for a, b in groups(recent)] for age in range(recent)]
    return np.array(matrix, np.float32)


def latest_pixels(state: State) -> Any:
    """Where a cluster comes from, [B, 4 G].

    Of each group of latest pixels its share, and the sums of rows and columns from the head and of
    charge levels, over its full size. A cluster that begins in the middle of a track grows along
    two arms in turns: pixels of the other arm are left out.
    """
    pixels, head = state["pixels"], ops.cast(state["head"], "float32")
    rows, _, recent = pixels.shape
    begin = ops.cast(state["first"][:, :1], "float32")
    same_arm = (pixels[:, 0] - begin) * (head[:, :1] - begin) >= -(ARM**2)
    there = (np.arange(recent) < state["known"][:, None]) & same_arm
    there = ops.cast(there, "float32")[:, None]
    zero = ops.zeros_like(head[:, :1])
    from_head = (pixels - ops.concatenate([head, zero], -1)[:, :, None]) / SCALES
    numbers = ops.concatenate([from_head * there, there], 1)
    return ops.reshape(ops.matmul(ops.reshape(numbers, (-1, recent)), means(recent)), (rows, -1))


SCALES = np.array([SCALE, SCALE, 1], np.float32)[:, None]  # of row, column and charge level
