"""From (sensor, seed) to charges in ADU on any backend: ``EventGenerator`` without an export.

Both make the same events of a seed, but for rounding.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from kerasgen.backend.engine import CompiledStep
from kerasgen.backend.numpy_seeds import GOLDEN, key_at, mixed
from kerasgen.data.level import LEVEL
from kerasgen.models.cluster_growth import numpy_functions as xp
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
from kerasgen.models.portable_hits import PortableHits

CAPACITY = 1024  # clusters grow in arrays of this length, doubled if needed: few compilations


class PortableEventGenerator(PortableHits):
    """See ``sampling.EventGenerator``.

    Args: as there.
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
        self.network = network
        self.threshold, self.max_charge = threshold, max_charge
        self.rate = network.rate if rate is None else rate
        self.charge = network.charge if charge is None else charge
        self.links = links
        self.types = network.types
        self.conditions = (LEVEL,)
        self.grow = CompiledStep(partial(grow, network), network.variables)
        self.beginnings = CompiledStep(partial(beginnings, network), network.variables)
        self.drawn_types = CompiledStep(partial(drawn_types, network), network.variables)

    @property
    def sensors(self) -> int:
        """Number of sensors."""
        return self.network.sensors

    def charge_and_type(self, values: Any) -> tuple[Any, Any]:
        """See ``sampling.EventGenerator.charge_and_type``."""
        code, types = values[..., 0].astype(np.int32), len(self.types)
        return code // types, code % types

    def images(
        self, sensor: Any, seed: Any, level: Any = None, chosen: Any = None
    ) -> NDArray[np.integer]:
        """See ``sampling.EventGenerator.images``."""
        sensor, seed = np.asarray(sensor), np.asarray(seed, np.int64)
        starts = range(0, max(len(sensor), 1), BLOCK)
        parts = (slice(start, start + BLOCK) for start in starts)
        given = [x for x in (sensor, seed, level, chosen) if x is not None]
        return np.concatenate([self.block(*(x[part] for x in given)) for part in parts])

    def images_at(self, sensor: Any, seed: Any, level: Any) -> NDArray[np.integer]:
        """See ``PortableHits.images_at``."""
        sensor, seed = np.asarray(sensor), np.asarray(seed, np.int64)
        types = len(self.types)
        level, chosen, makes = passes(xp, np.asarray(level, np.float32))
        parts, fraction = superposed(xp, level)
        code = np.zeros((len(sensor), *self.network.size, 1), np.int32)
        for of in range(types):
            for part in range(parts[of].max(initial=0, where=makes[of])):
                here = np.where((part < parts[of]) & makes[of], sensor, -1)
                more = self.images(here, seed_of_part(seed, part), fraction[of], chosen[of])
                code = with_more(xp, code, more.astype(np.int32), types, self.max_charge)
        return code

    def block(
        self, sensor: NDArray[Any], seed: NDArray[np.int64], level: Any = None, chosen: Any = None
    ) -> NDArray[np.integer]:
        """As ``images``, of images that grow together."""
        known = self.known(sensor)
        sensor = np.where(known, sensor, 0).astype(np.int32)
        statistics = StatisticsInNumpy(self.network)
        rate, charge = (np.asarray(x) for x in (self.rate, self.charge))
        keys = image_keys(sensor, seed), image_keys(np.full_like(sensor, EVENT), seed)
        frequency = frequency_of(xp, statistics, rate, sensor, level, self.links)
        clusters = first_pixels(
            xp, statistics, frequency, sensor, known, *keys, self.kinds, self.links
        )
        if chosen is not None and len(self.types) > 1:
            kept = of_types(xp, clusters, chosen)
            clusters = Clusters(*(x[kept] for x in vars(clusters).values()))
        start = self.planned(clusters)
        cluster, row, col, charge_level = self.grown_pixels(start, clusters.key)
        shape = len(sensor), *self.network.size
        row, col = moved_apart(xp, statistics, clusters, cluster, row, col, shape)
        where, limits = clusters.sensor[cluster], (self.threshold, self.max_charge)
        adu = charges(xp, charge, where, charge_level, *limits)
        numbers = shape, len(self.types), self.max_charge
        return drawn(xp, clusters, cluster, row, col, adu, *numbers)[..., None]

    def grown_pixels(
        self, start: dict[str, Any], key: NDArray[np.int64]
    ) -> tuple[Any, Any, Any, Any]:
        """As ``sampling.grown_pixels``."""
        first, plan, level = (start[name] for name in ("first", "plan", "level"))
        every = np.column_stack([np.arange(len(first)), first, level]).astype(np.float32)
        grows = np.flatnonzero(plan[:, PIXELS] > 1)
        grows = grows[np.argsort(-plan[grows, PIXELS], kind="stable")]  # as in ``sampling``
        n = len(grows)
        length = max(CAPACITY, 1 << n.bit_length())
        start = {
            name: ops.convert_to_tensor(
                np.pad(x[grows], [(0, length - n), *[(0, 0)] * (x.ndim - 1)])
            )
            for name, x in start.items()
        }
        key = np.append(key[grows], 0)
        self.grow.read_variables()
        parts = [np.zeros((0, ADDED), np.float32)]
        lanes: Any = {name: np.asarray(x) for name, x in first_lanes(self.network, start).items()}
        for rows, fewer_rows in zip(LANES, (*LANES[1:], 0), strict=True):
            lanes = fewer(lanes, rows)
            while ((now := np.asarray(lanes["cluster"])) < n).sum() > fewer_rows:
                numbers = numbers_of(key[np.minimum(now, n)], np.asarray(lanes["step"]))
                lanes, added = self.grow(start, lanes, numbers)
                parts.append(np.asarray(added))
        added = np.concatenate(parts)
        added = of_last_attempt(xp, n, added[(added[:, 0] >= 0) & (added[:, 0] < n)])
        added[:, 0] = grows[added[:, 0].astype(np.int64)]
        pixels = np.concatenate([every, added[:, :4]])
        return *pixels[:, :3].T.astype(np.int32), pixels[:, 3]

    def planned(self, found: Clusters) -> dict[str, NDArray[Any]]:
        """As ``sampling.planned``."""
        key, n = found.key, len(found.key)
        clusters = {"sensor": found.sensor, "activity": found.activity}
        clusters["first"] = np.stack([found.row, found.col], 1)
        known = clusters | {"kind": found.kind}
        self.beginnings.read_variables()
        plans = [np.zeros((0, PARTS + SIZES), np.int32)]
        levels = [np.zeros(0, np.float32)]
        for start in range(0, n, FIRST_ROWS):
            rows = np.minimum(np.arange(start, start + FIRST_ROWS), n - 1)
            numbers = [numbers_of(key[rows], np.full(FIRST_ROWS, k)) for k in range(BEGIN_STEPS)]
            some = {name: x[rows] for name, x in known.items()}
            plan, level = self.beginnings(some, np.concatenate(numbers, 1))
            plans.append(np.asarray(plan))
            levels.append(np.asarray(level))
        return clusters | {"plan": np.concatenate(plans)[:n], "level": np.concatenate(levels)[:n]}

    def kinds(
        self, sensor: NDArray[Any], row: NDArray[Any], col: NDArray[Any], number: NDArray[Any]
    ) -> NDArray[np.int32]:
        """As ``sampling.kinds_of``."""
        kind, first = np.zeros(len(row), np.int32), np.stack([row, col], 1)
        if len(self.types) == 1:
            return kind
        self.drawn_types.read_variables()
        for start in range(0, len(row), FIRST_ROWS):
            rows = np.minimum(np.arange(start, start + FIRST_ROWS), len(row) - 1)
            found = self.drawn_types({"sensor": sensor[rows], "first": first[rows]}, number[rows])
            kind[start : start + FIRST_ROWS] = np.asarray(found)[: len(row) - start]
        return kind


def numbers_of(key: NDArray[np.int64], step: NDArray[Any]) -> NDArray[np.float32]:
    """As ``sampling.numbers_of``."""
    place = step.astype(np.int64)[:, None] * NUMBERS + np.arange(NUMBERS)
    return xp.uniform_at(key[:, None], place)


class StatisticsInNumpy:
    """The statistics of the sensors of a network."""

    def __init__(self, network: ClusterNetwork) -> None:
        self.size, self.types = network.size, network.types
        for weight in network.statistics:
            setattr(self, weight.name, np.asarray(weight))


def seed_of_part(seed: NDArray[np.int64], part: int) -> NDArray[np.int64]:
    """As ``sampling.seed_of_part``."""
    return np.stack([key_at(seed[:, 0], part), seed[:, 1]], 1) if part else seed


def image_keys(sensor: NDArray[Any], seed: NDArray[np.int64]) -> NDArray[np.int64]:
    """As ``sampling.image_keys``."""
    golden = np.uint64(GOLDEN)
    run, event = seed.astype(np.uint64).T
    first = mixed(mixed(run + golden) + sensor.astype(np.uint64))
    return mixed(first + mixed(event + golden)).astype(np.int64)
