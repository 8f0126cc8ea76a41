"""Number of clusters by length, of generated against real events.

kerasgen simulate pxd --engine geant4 --events 300 --seed 2 --processes 2 --out held_out.h5
kerasgen generate RUN --events 200 --seed 1 --out generated.h5
python benchmarks/cluster_lengths.py held_out.h5 generated.h5
"""

from __future__ import annotations

import argparse
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.store import EventFile
from kerasgen.metrics.clusters import find_clusters

LENGTHS = (1, 2, 3, 4, 6, 10, 15, 20, 30, 40, 60)


def counts(path: str, along: str) -> NDArray[np.int64]:
    """Clusters of each event by their extent along u or v, [events, lengths]."""
    with EventFile(path) as file:
        found = []
        for event in range(file.n_events):
            clusters = find_clusters(file.read_events(event, event + 1), file.geometry)
            length = {"u": clusters.size_u, "v": clusters.size_v}[along]
            found.append(np.histogram(length, [*LENGTHS, np.inf])[0])
    return np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("real")
    parser.add_argument("generated")
    parser.add_argument("--along", choices=("u", "v"), default="v", help="rows or columns")
    a = parser.parse_args()
    real, made = (counts(path, a.along) for path in (a.real, a.generated))
    names = [
        f"{low}" if high - low == 1 else f"{low} to {high - 1}" for low, high in pairwise(LENGTHS)
    ]
    rows = [(name, real[:, k], made[:, k]) for k, name in enumerate([*names, "60 and more"])]
    first = LENGTHS.index(20)
    rows.append(("20 and more", real[:, first:].sum(1), made[:, first:].sum(1)))
    print(f"{len(real)} real and {len(made)} generated events\n")
    along = "rows" if a.along == "u" else "columns"
    print(f"| {along} | real, per event | generated / real |\n|---|---|---|")
    for name, x, y in rows:
        ratio = y.mean() / x.mean()
        error = ratio * np.hypot(*(z.std() / np.sqrt(len(z)) / z.mean() for z in (x, y)))
        print(f"| {name} | {x.mean():.4g} | {ratio:.3f} ± {error:.3f} |")


if __name__ == "__main__":
    main()
