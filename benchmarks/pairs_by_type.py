"""Pairs of first pixels of an event over those of different events, by background type.

``python benchmarks/pairs_by_type.py FILE.h5 [FILE.h5 ...] [--events N]`` prints a Markdown table:
each cell has the excess of pairs of each file, in the order of the files.
"""

from __future__ import annotations

import argparse
from itertools import combinations_with_replacement, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.hit_files import EventFile
from kerasgen.data.level import TYPES
from kerasgen.models.cluster_growth import field
from kerasgen.models.cluster_growth.growth import first_pixels

BLOCK = 16  # events in memory
DISTANCES = (0, 1, 3, 8, 18, 44, 128)  # edges, in bins of ``field.BINS`` along both axes


def clusters_of(
    path: Path, events: int, types: tuple[int, ...]
) -> tuple[field.FirstPixels, NDArray[np.int64], field.SensorPlaces]:
    """First pixels of the clusters of each type, their types, and the places of the sensors."""
    file, parts = EventFile(path), []
    for start in range(0, events, BLOCK):
        hits = file.read_events(start, min(start + BLOCK, events)).split_types(types)
        image, row, col = first_pixels(hits, file.geometry)
        event = hits.event[image] - hits.event[0] + start
        order = np.argsort(event, kind="stable")
        columns = event, hits.sensor[image].astype(np.int64), row, col, image % len(types)
        parts.append([x[order] for x in columns])
    *first, kind = (np.concatenate(x) for x in zip(*parts, strict=True))
    return field.FirstPixels(*first), kind, field.sensor_places(file.geometry)


def excess(
    first: field.FirstPixels, kind: NDArray[np.int64], places: field.SensorPlaces, layer: int
) -> dict[tuple[int, int], list[tuple[float, float]]]:
    """Pairs of two types over those of different events, less 1, and error, by distance."""
    here = places.place[first.sensor, 0, 3] == layer
    x = field.coordinates(places, first)[here]
    axes = np.stack([np.arctan2(x[:, 1], x[:, 0]), x[:, 2]])
    low = axes.min(1)[:, None]
    bins = np.array(field.BINS)[:, None]
    share = (axes - low) / np.maximum(axes.max(1)[:, None] - low, 1e-9)
    cell = np.minimum(share * bins, bins - 1).astype(np.int64)
    own, mixed = field.pair_counts(cell, first.event[here], kind[here])
    found = {}
    for a, b in combinations_with_replacement(range(len(own)), 2):
        cells = [(edges, edges) for edges in pairwise(DISTANCES)]
        numbers = [[field.folded(c[a, b], *e) for c in (own, mixed)] for e in cells]
        found[a, b] = [(n / m - 1, max(n, 1) ** 0.5 / m) for n, m in numbers]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+", help="events whose hits have types")
    parser.add_argument("--events", type=int, default=48)
    a = parser.parse_args()
    types = tuple(range(1, 1 + len(TYPES)))
    samples = [clusters_of(path, a.events, types) for path in a.files]
    ranges = [f"{low} to {high - 1}" for low, high in pairwise(DISTANCES)]
    print("| layer | types | " + " | ".join(ranges) + " |\n|---|---|" + "---|" * len(ranges))
    for layer in np.unique(samples[0][2].place[:, 0, 3]).astype(int):
        found = [excess(*sample, layer) for sample in samples]
        for pair in found[0]:
            names = ", ".join(TYPES[k] for k in pair)
            cells = [
                " / ".join(f"{value:.3f} ± {error:.3f}" for value, error in of_files)
                for of_files in zip(*(f[pair] for f in found), strict=True)
            ]
            print(f"| {layer + 1} | {names} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
