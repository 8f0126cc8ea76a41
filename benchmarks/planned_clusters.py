"""How much of what is planned of clusters they have: rows, columns and pixels.

``python benchmarks/planned_clusters.py pxd_clusters [--events 6] [--attempts 1 3]``: a cluster that
is smaller than planned begins again, up to so many times (``lanes.ATTEMPTS``).
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf

from kerasgen.models.cluster_growth import lanes, sampling
from kerasgen.models.cluster_growth import tensor_functions as xp
from kerasgen.models.cluster_growth.frequency import EVENT, first_pixels, frequency_of
from kerasgen.models.cluster_growth.plan import COLUMNS, PIXELS, ROWS
from kerasgen.zoo.lookup import load_run

PARTS = {"rows": ROWS, "columns": COLUMNS, "pixels": PIXELS}


def planned_and_grown(generator: Any, attempts: int, events: int) -> tuple[Any, Any]:
    """Sums over all clusters of the planned and of the grown numbers of PARTS, and their count."""
    network = generator.network

    @tf.function
    def event(seed: Any) -> Any:
        sensor = tf.range(generator.sensors)
        keys = (sampling.image_keys(x, seed) for x in (sensor, tf.fill(tf.shape(sensor), EVENT)))
        frequency = frequency_of(xp, network, generator.rate, sensor, None, generator.links)
        known, kinds = sensor >= 0, partial(sampling.kinds_of, network)
        clusters = first_pixels(
            xp, network, frequency, sensor, known, *keys, kinds, generator.links
        )
        start = sampling.planned(network, clusters)
        return start["plan"], sampling.grown_pixels(network, start, clusters.key)[:3]

    planned, grown = [], []
    with mock.patch.object(lanes, "ATTEMPTS", attempts):
        for number in range(events):
            seed = np.tile(np.int64([[5, number]]), (generator.sensors, 1))
            plan, pixels = event(seed)
            cluster, *places = (x.numpy() for x in pixels)
            n = len(plan)
            sizes = [spread(cluster, place, n) for place in places]
            grown.append(np.stack([*sizes, np.bincount(cluster, minlength=n)], 1))
            planned.append(plan.numpy()[:, list(PARTS.values())])
    return np.concatenate(planned), np.concatenate(grown)


def spread(cluster: Any, place: Any, n: int) -> Any:
    """Rows or columns of each of n clusters, from those of its pixels."""
    low, high = np.full(n, 2**31 - 1), np.full(n, -1)
    np.minimum.at(low, cluster, place)
    np.maximum.at(high, cluster, place)
    return high - low + 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="run folder or recipe")
    parser.add_argument("--events", type=int, default=6)
    parser.add_argument("--attempts", type=int, nargs="+", default=[1, lanes.ATTEMPTS])
    given = parser.parse_args()
    generator = load_run(given.run).generator
    print("| attempts | clusters smaller than planned, % | " + ", ".join(PARTS) + " missing, % |")
    print("|---|---|---|")
    for attempts in given.attempts:
        planned, grown = planned_and_grown(generator, attempts, given.events)
        missing = 100 * (1 - grown.sum(0) / planned.sum(0))
        smaller = 100 * (grown < planned).any(1).mean()
        print(f"| {attempts} | {smaller:.2f} | {', '.join(f'{x:.3f}' for x in missing)} |")


if __name__ == "__main__":
    main()
