"""From (sensor, seed) to charges in ADU: the generator as users, files and servers see it."""

from __future__ import annotations

from functools import partial
from typing import Any

import tensorflow as tf
from numpy.typing import NDArray

from kerasgen.backend.numpy_seeds import GOLDEN
from kerasgen.backend.seeds import key_at, mixed
from kerasgen.data.level import LEVEL
from kerasgen.models.cluster_growth import tensor_functions as xp
from kerasgen.models.cluster_growth.frequency import EVENT, Clusters, first_pixels, frequency_of
from kerasgen.models.cluster_growth.images import (
    BLOCK,
    charges,
    drawn,
    moved_apart,
    of_last_attempt,
    of_types,
)
from kerasgen.models.cluster_growth.lanes import (
    ADDED,
    BEGIN_STEPS,
    FIRST_ROWS,
    LANES,
    NUMBERS,
    beginnings,
    drawn_types,
    fewer,
    first_lanes,
    grow,
)
from kerasgen.models.cluster_growth.levels import passes, superposed, with_more
from kerasgen.models.cluster_growth.links import Links
from kerasgen.models.cluster_growth.network import ClusterNetwork
from kerasgen.models.cluster_growth.plan import PARTS, PIXELS, SIZES
from kerasgen.models.cluster_growth.surroundings import State
from kerasgen.models.hit_signatures import HitSignatures


class EventGenerator(HitSignatures):
    """A network with the statistics of the sensors: grows clusters and draws them.

    Each row depends on its sensor, seed and level alone.

    Args:
        network: that grows clusters.
        threshold, max_charge: range of stored charges, ADU.
        rate: [S], calibrated number of clusters; None: of the network.
        charge: [S, KNOTS_CHARGE], calibrated charges; None: of the network.
        links: pairs of clusters of two sensors; None: there are none.
    """

    def __init__(
        self,
        network: ClusterNetwork,
        threshold: int,
        max_charge: int,
        rate: NDArray[Any] | None = None,
        charge: NDArray[Any] | None = None,
        links: Links | None = None,
    ) -> None:
        super().__init__(*network.size, threshold, max_charge, network.types)
        self.conditions = (LEVEL,)
        self.network = network
        self.rate = network.rate if rate is None else tf.constant(rate, tf.float32)
        self.charge = network.charge if charge is None else tf.constant(charge, tf.float32)
        self.links = links

    @property
    def sensors(self) -> int:
        """Number of sensors."""
        return self.network.sensors

    @property
    def code_type(self) -> tf.DType:
        """Type of images of codes."""
        return self.charge_type if len(self.types) == 1 else tf.int32

    def charge_and_type(self, values: Any) -> tuple[Any, Any]:
        """See ``HitSignatures.charge_and_type``; the values are codes."""
        code, types = tf.cast(values[..., 0], tf.int32), len(self.types)
        return code // types, code % types

    def images(self, sensor: Any, seed: Any, level: Any = None, chosen: Any = None) -> Any:
        """Codes [N, rows, cols, 1], see ``with_more``; arguments as ``HitSignatures.images``.

        Args:
            sensor, seed: see there.
            level: [N] float32 on [0, 1]; None: 1.
            chosen: bool [N, T], types to make; None: all.
        """
        rows = tf.shape(sensor)[0]
        size = tf.clip_by_value(rows, 1, BLOCK)
        blocks = tf.maximum(-(-rows // size), 1)
        missing = blocks * size - rows
        sensor = tf.reshape(tf.pad(sensor, [[0, missing]], constant_values=-1), [blocks, size])
        seed = tf.reshape(tf.pad(seed, [[0, missing], [0, 0]]), [blocks, size, 2])
        given = [sensor, seed]
        if level is not None:
            given.append(tf.reshape(tf.pad(level, [[0, missing]]), [blocks, size]))
        if chosen is not None:
            chosen = tf.pad(chosen, [[0, missing], [0, 0]])
            given.append(tf.reshape(chosen, [blocks, size, len(self.types)]))
        found = tf.map_fn(
            lambda block: self.block(*block),
            tuple(given),
            fn_output_signature=tf.TensorSpec([None, self.rows, self.cols], self.code_type),
            parallel_iterations=1,
        )
        return tf.reshape(found, [-1, self.rows, self.cols, 1])[:rows]

    def images_at(self, sensor: Any, seed: Any, level: Any) -> Any:
        """See ``HitSignatures.images_at``."""
        types = len(self.types)
        level, chosen, makes = passes(xp, level)
        parts, fraction = superposed(xp, level)
        highest = tf.reduce_max(parts)

        def add(number: Any, code: Any) -> Any:
            of, part = number // highest, number % highest
            here = tf.where((part < parts[of]) & makes[of], sensor, -1)
            more = self.images(here, seed_of_part(seed, part), fraction[of], chosen[of])
            more = tf.cast(more, tf.int32)
            return number + 1, with_more(xp, code, more, types, self.max_charge)

        none = tf.zeros([tf.size(sensor), self.rows, self.cols, 1], tf.int32)
        _, code = tf.while_loop(lambda number, _: number < types * highest, add, (0, none))
        return tf.cast(code, self.code_type)

    def block(self, sensor: Any, seed: Any, level: Any = None, chosen: Any = None) -> Any:
        """[N, rows, cols] ``code_type`` of images that grow together; as ``images``."""
        network, known = self.network, self.known(sensor)
        sensor = tf.where(known, sensor, 0)
        keys = image_keys(sensor, seed), image_keys(tf.fill(tf.shape(sensor), EVENT), seed)
        frequency = frequency_of(xp, network, self.rate, sensor, level, self.links)
        kinds = partial(kinds_of, network)
        clusters = first_pixels(xp, network, frequency, sensor, known, *keys, kinds, self.links)
        if chosen is not None and len(self.types) > 1:
            kept = of_types(xp, clusters, chosen)
            clusters = Clusters(*(tf.gather(x, kept) for x in vars(clusters).values()))
        start = planned(network, clusters)
        cluster, row, col, charge_level = grown_pixels(network, start, clusters.key)
        shape = tf.shape(sensor)[0], self.rows, self.cols
        row, col = moved_apart(xp, network, clusters, cluster, row, col, shape)
        where = tf.gather(clusters.sensor, cluster)
        limits = self.threshold, self.max_charge
        adu = charges(xp, self.charge, where, charge_level, *limits)
        numbers = shape, len(self.types), self.max_charge
        code = drawn(xp, clusters, cluster, row, col, adu, *numbers)
        return tf.cast(code, self.code_type)


def seed_of_part(seed: Any, part: Any) -> Any:
    """Seeds [N, 2] of one of the parts that a level is the sum of; part 0 has the seed itself."""
    run = tf.where(part > 0, key_at(seed[:, 0], tf.cast(part, tf.int64)), seed[:, 0])
    return tf.stack([run, seed[:, 1]], 1)


def image_keys(sensor: Any, seed: Any) -> Any:
    """Key of the random numbers of every image, int64 [N], from sensor [N] and seed [N, 2]."""
    run = mixed(seed[:, 0] + GOLDEN) + tf.cast(sensor, tf.int64)
    return mixed(mixed(run) + mixed(seed[:, 1] + GOLDEN))


def grown_pixels(network: ClusterNetwork, start: State, key: Any) -> tuple[Any, Any, Any, Any]:
    """Number of the cluster, row, column and charge level of every pixel, [P] each.

    Args:
        network: that grows.
        start: of ``planned``.
        key: of the random numbers of the clusters, [n].
    """
    first, plan, level = (start[name] for name in ("first", "plan", "level"))
    every = [tf.cast(x, tf.float32) for x in (tf.range(tf.size(level))[:, None], first)]
    grows = xp.indices(plan[:, PIXELS] > 1)
    # The largest first, so that hardly a lane is left alone at the end.
    size = tf.gather(plan[:, PIXELS], grows)
    grows = tf.gather(grows, tf.argsort(size, direction="DESCENDING"))
    start, key = (
        {
            name: tf.pad(tf.gather(x, grows), [[0, 1], *[[0, 0]] * (len(x.shape) - 1)])
            for name, x in start.items()
        },
        tf.pad(tf.gather(key, grows), [[0, 1]]),
    )
    n = tf.size(grows)

    def step(place: Any, lanes: Any, parts: Any) -> Any:
        of_cluster = tf.gather(key, tf.minimum(lanes["cluster"], n))
        lanes, added = grow(network, start, lanes, numbers_of(of_cluster, lanes["step"]))
        return place + 1, lanes, parts.write(place, added)

    found = []
    lanes = first_lanes(network, start)
    for rows, fewer_rows in zip(LANES, (*LANES[1:], 0), strict=True):

        def enough(place: Any, lanes: Any, parts: Any, least: int = fewer_rows) -> Any:
            return tf.reduce_sum(tf.cast(lanes["cluster"] < n, tf.int32)) > least

        none = tf.TensorArray(tf.float32, 0, dynamic_size=True, element_shape=[rows, ADDED])
        lanes = fewer(lanes, rows)
        _, lanes, parts = tf.while_loop(enough, step, (0, lanes, none))
        found.append(tf.reshape(parts.stack(), [-1, ADDED]))
    added = tf.concat(found, 0)
    added = tf.gather(added, xp.indices(added[:, 0] >= 0))
    added = of_last_attempt(xp, n, added)
    of = tf.gather(grows, tf.cast(added[:, 0], tf.int32))
    added = tf.concat([tf.cast(of, tf.float32)[:, None], added[:, 1:4]], 1)
    pixels = tf.concat([tf.concat([*every, level[:, None]], 1), added], 0)
    cluster, row, col = (tf.cast(pixels[:, k], tf.int32) for k in range(3))
    return cluster, row, col, pixels[:, 3]


def planned(network: ClusterNetwork, found: Clusters) -> State:
    """Clusters as they begin, see ``lanes.first_lanes``, without that of idle lanes."""
    clusters = {"sensor": found.sensor, "activity": found.activity}
    clusters["first"] = tf.stack([found.row, found.col], 1)

    def block(rows: Any) -> Any:
        clusters, key = rows
        numbers = [numbers_of(key, tf.zeros_like(key) + k) for k in range(BEGIN_STEPS)]
        return beginnings(network, clusters, tf.concat(numbers, 1))

    rows = clusters | {"kind": found.kind}, found.key
    plan, level = in_blocks(block, rows, ([PARTS + SIZES], tf.int32), ([], tf.float32))
    return clusters | {"plan": plan, "level": level}


def kinds_of(network: ClusterNetwork, sensor: Any, row: Any, col: Any, number: Any) -> Any:
    """Types of clusters, see ``frequency.first_pixels``."""
    if len(network.types) == 1:
        return tf.zeros_like(row)
    rows = {"sensor": sensor, "first": tf.stack([row, col], 1)}, number
    return in_blocks(lambda x: drawn_types(network, *x), rows, ([], tf.int32))


def in_blocks(function: Any, rows: Any, *outputs: tuple[list[int], Any]) -> Any:
    """What a function makes of rows, FIRST_ROWS at a time.

    Args:
        function: of FIRST_ROWS rows.
        rows: tensors [n, ..].
        outputs: shape and type of a row of each tensor that the function returns.
    """
    n = tf.shape(tf.nest.flatten(rows)[0])[0]
    blocks = -(-n // FIRST_ROWS)

    def block(x: Any) -> Any:
        x = tf.pad(x, [[0, blocks * FIRST_ROWS - n], *[[0, 0]] * (len(x.shape) - 1)])
        return tf.reshape(x, [blocks, FIRST_ROWS, *x.shape[1:]])

    signature = [tf.TensorSpec([FIRST_ROWS, *shape], kind) for shape, kind in outputs]
    found = tf.map_fn(
        lambda x: tf.nest.flatten(function(x)), tf.nest.map_structure(block, rows),
        fn_output_signature=signature,
    )  # fmt: skip
    parts = [tf.reshape(x, [-1, *shape])[:n] for x, (shape, _) in zip(found, outputs, strict=True)]
    return parts if len(parts) > 1 else parts[0]


def numbers_of(key: Any, step: Any) -> Any:
    """Random numbers of steps [L] of clusters with these keys [L], float32 [L, NUMBERS]."""
    place = tf.cast(step, tf.int64)[:, None] * NUMBERS + tf.range(NUMBERS, dtype=tf.int64)
    return xp.uniform_at(key[:, None], place)
