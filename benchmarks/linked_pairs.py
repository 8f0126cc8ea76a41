"""Pairs of clusters beyond mixed events: real ones, and first pixels of a model with and without
linked pairs.

``python benchmarks/linked_pairs.py MODEL FILE.h5 [--events N]`` prints a Markdown table for each
layer and relation, by cells of azimuth and slope; growth of the clusters is left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import kerasgen
from kerasgen.data.hit_files import EventFile
from kerasgen.data.simulation.detector import build_detector
from kerasgen.metrics.cluster_pairs import PlacedClusters, place_clusters
from kerasgen.models.cluster_growth import numpy_functions as xp
from kerasgen.models.cluster_growth.field import FirstPixels, coordinates
from kerasgen.models.cluster_growth.frequency import first_pixels, frequency_of
from kerasgen.models.cluster_growth.link_fit import layers_of, pair_counts
from kerasgen.models.cluster_growth.links import AZIMUTH, RELATIONS, SHAPE, SLOPE, Links
from kerasgen.models.cluster_growth.portable_sampling import StatisticsInNumpy
from kerasgen.models.cluster_growth.sampling import kinds_of

BLOCK = 8  # events in memory


def real_events(path: Path, events: int) -> Iterator[PlacedClusters]:
    """Clusters of the first events of a file."""
    file = EventFile(path)
    detector = build_detector(file.geometry)
    for start in range(0, events, BLOCK):
        hits = file.read_events(start, min(start + BLOCK, events))
        yield from place_clusters(hits, file.geometry, detector)


def made_events(generator: Any, links: Links | None, events: int) -> Iterator[PlacedClusters]:
    """First pixels of generated events."""
    network, rate = generator.network, np.asarray(generator.rate)
    statistics = StatisticsInNumpy(network)

    def kinds(*clusters: NDArray[Any]) -> NDArray[np.int32]:
        return np.asarray(kinds_of(network, *clusters))

    sensor = np.arange(len(statistics.place), dtype=np.int32)
    known = np.ones(len(sensor), bool)
    layer = layers_of(statistics)
    for seed in range(events):
        key, *keys = np.random.default_rng(seed).integers(2**62, size=1 + len(sensor))
        frequency = frequency_of(xp, statistics, rate, sensor, None, links)
        event_key = np.full(len(sensor), key)
        found = first_pixels(
            xp, statistics, frequency, sensor, known, np.array(keys), event_key, kinds, links
        )
        first = FirstPixels(found.image, found.sensor, found.row, found.col)
        index = found.sensor.astype(np.int64)
        x, y, z, _ = coordinates(statistics, first).T * statistics.radius[index]
        charge = np.ones(len(index))
        yield PlacedClusters(index, layer[index], np.hypot(x, y), np.arctan2(y, x), z, charge)


def excess(
    events: Iterable[PlacedClusters], statistics: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pairs of an event beyond mixed ones and their error, [S, RELATIONS, CELLS] each."""
    own, mixed, number = pair_counts(events, statistics)
    return (own - mixed) / number, (own + mixed) / number**2


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", help="a model of cluster growth with linked pairs")
    parser.add_argument("file", type=Path, help="events of Geant4")
    parser.add_argument("--events", type=int, default=200)
    a = parser.parse_args()
    generator = kerasgen.load(a.model).generator
    layer = layers_of(generator.network)
    samples = {
        "real": real_events(a.file, a.events),
        "with pairs": made_events(generator, generator.links, a.events),
        "without": made_events(generator, None, a.events),
    }
    found = {name: excess(events, generator.network) for name, events in samples.items()}
    for k, relation in np.ndindex(layer.max() + 1, RELATIONS):
        if k + relation > layer.max():
            continue
        print(f"\nLayers {k + 1} and {k + relation + 1}, pairs of an event beyond mixed ones:\n")
        edges = [f"slope to {x:g}" for x in SLOPE[1:]]
        print("| azimuth, rad | " + " | ".join(edges) + " |\n|---|" + "---|" * len(edges))
        table = {
            name: [x[layer == k, relation].sum(0).reshape(SHAPE) for x in both]
            for name, both in found.items()
        }
        for row in range(SHAPE[0]):
            cells = [
                " / ".join(
                    f"{value[row, col]:.0f} ± {variance[row, col] ** 0.5:.0f}"
                    for value, variance in table.values()
                )
                for col in range(SHAPE[1])
            ]
            print(f"| {AZIMUTH[row]:g} to {AZIMUTH[row + 1]:g} | " + " | ".join(cells) + " |")
    print("\nEach cell: " + " / ".join(found) + ".")


if __name__ == "__main__":
    main()
