"""Events of crooked clusters on a small detector, and a network of random weights for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from small_run import geometry

from kerasgen.data.hits import Hits, from_dense
from kerasgen.models.cluster_growth.batches import block_of_events, examples
from kerasgen.models.cluster_growth.links import BINS, CELLS, RELATIONS, Links
from kerasgen.models.cluster_growth.network import ClusterNetwork
from kerasgen.models.cluster_growth.plan import TYPE
from kerasgen.models.cluster_growth.start import set_statistics
from kerasgen.models.cluster_growth.statistics import sensor_statistics

DETECTOR = geometry()
SIZE = DETECTOR.rows, DETECTOR.cols


def hits_of(image: NDArray[Any]) -> Hits:
    """One event whose sensor 0 has this image, [rows, cols] ADU; the others are empty."""
    images = np.zeros((3, *SIZE), np.int64)
    images[0, : image.shape[0], : image.shape[1]] = image
    return from_dense(images, np.arange(3), np.zeros(3, np.int64))


def random_events(events: int = 6, seed: int = 3) -> Hits:
    """Events of crooked clusters with gaps."""
    rng = np.random.default_rng(seed)
    images = np.zeros((events * 3, *SIZE), np.int64)
    for image in images:
        for _ in range(rng.poisson(6)):
            row, col = rng.integers(SIZE[0]), rng.integers(SIZE[1])
            for _ in range(rng.integers(1, 9)):
                image[row % SIZE[0], col % SIZE[1]] = rng.integers(7, 200)
                row, col = row + rng.integers(-1, 2), col + rng.integers(0, 3)
    return from_dense(images, np.tile(np.arange(3), events), np.repeat(np.arange(events), 3))


def states(hits: Hits, recent: int) -> tuple[Any, Any, Any, dict[str, Any]]:
    """Clusters, levels, steps and the states before all steps."""
    rng = np.random.default_rng(0)
    block = block_of_events([hits], DETECTOR, sensor_statistics([hits], DETECTOR), recent, rng)
    state = examples(block, np.arange(len(block.steps)), recent)
    return block.clusters, block.level, block.steps, state


def random_network(types: tuple[int, ...] = ()) -> ClusterNetwork:
    """Random weights, with the statistics of random events; equally many clusters of each type."""
    keras.utils.set_random_seed(1)
    made = ClusterNetwork(3, SIZE, width=16, layers=1, recent=12, types=types)
    statistics = sensor_statistics([random_events()], DETECTOR)
    kinds = len(made.types)
    amplitude, length = statistics.amplitude.repeat(kinds, 1), statistics.length.repeat(kinds, 0)
    share = statistics.share.repeat(kinds, 1) / kinds
    fields = {"share": share, "amplitude": amplitude, "length": length}
    set_statistics(made, replace(statistics, **fields))
    made.token.kernel.assign(np.random.default_rng(1).normal(0, 0.2, made.token.kernel.shape))
    made.token.bias.assign(np.log(statistics.token))
    for layer, frequency in zip(made.plan_class, statistics.plan[:TYPE], strict=True):
        layer.bias.assign(np.log(frequency))
    return made


def linked_pairs(network: ClusterNetwork) -> Links:
    """Pairs of a network whose sensors 0 and 2 are put side by side, and 1 beyond them."""
    place = np.zeros((3, 3, 4), np.float32)
    for sensor, (y, layer) in enumerate(((-0.1, 0), (-0.05, 1), (0.1, 0))):
        place[sensor, 0] = 1, y, -0.1, layer
        place[sensor, 1, 1], place[sensor, 2, 2] = 0.2 / SIZE[0], 0.2 / SIZE[1]
    network.place.assign(place)
    network.radius.assign([10, 15, 10])
    tried = np.full((3, RELATIONS * CELLS), 0.05, np.float32)
    bins = np.linspace(0.5, 1.5, BINS, dtype=np.float32)[None].repeat(3, 0)
    return Links(tried, np.full(3, 0.2, np.float32), bins, bins)
