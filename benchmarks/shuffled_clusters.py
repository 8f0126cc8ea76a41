"""What generators of independent clusters can reach: real clusters, shuffled among events.

Trees on the features of sensor images tell shuffled events from others of another seed.

kerasgen simulate pxd --engine geant4 --events 800 --seed 1 --processes 2 --out train.h5
kerasgen simulate pxd --engine geant4 --events 300 --seed 2 --processes 2 --out held_out.h5
python benchmarks/shuffled_clusters.py train.h5 held_out.h5
python benchmarks/shuffled_clusters.py train.h5 held_out.h5 --candidate generated.h5
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits, from_dense
from kerasgen.data.store import EventFile
from kerasgen.metrics.image_features import image_features
from kerasgen.models.cluster_growth.growth import REACH, grown_clusters

NEAR = 12  # images of nearly the same number of clusters that lend theirs to each other
LARGEST_MOVE, ROUNDS = 64, 6  # of clusters that meet, pixels
AROUND = [(u, v) for u in range(-REACH, REACH + 1) for v in range(-REACH, REACH + 1) if u or v]
SOURCES = {
    "sensor": "clusters from all events",
    "count": f"clusters from the {NEAR} events with the nearest number of them",
    "image": "clusters of the event itself, their places exchanged",
}
Ints = NDArray[np.int64]


class ClusterPool:
    """All clusters of some events, to be put together in other ways."""

    def __init__(self, hits: Hits, geometry: Geometry, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.shape = len(geometry.sensors), geometry.rows, geometry.cols
        self.pixels = grown_clusters(hits, geometry)
        self.start = np.flatnonzero(self.pixels.is_first)
        self.size = np.diff(np.append(self.start, len(self.pixels)))
        places = np.stack([self.pixels.row, self.pixels.col])
        self.first = places[:, self.start]
        self.low, self.high = (f.reduceat(places, self.start, 1) for f in (np.minimum, np.maximum))
        image = self.pixels.image[self.start]
        sensors = self.shape[0]
        of_image = np.split(np.arange(len(image)), np.searchsorted(image, np.arange(1, len(hits))))
        self.clusters = [of_image[k::sensors] for k in range(sensors)]  # [sensor][event]

    def event(self, number: int, source: str) -> Hits:
        """One event; each of its images has as many clusters as that of the data."""
        found = np.zeros(self.shape, np.int64)
        for sensor, events in enumerate(self.clusters):
            count = len(events[number])
            counts = np.array([len(x) for x in events])
            lenders = {
                "sensor": np.arange(len(events)),
                "count": np.argsort(abs(counts - count) + self.rng.random(len(counts)))[:NEAR],
                "image": np.array([number]),
            }[source]
            pool = np.concatenate([events[k] for k in lenders])
            chosen = self.rng.choice(pool, count, replace=False)
            places = self.rng.permutation(chosen) if source == "image" else chosen
            found[sensor] = self.image(chosen, places)
        sensors = np.arange(self.shape[0])
        return from_dense(found, sensors, np.full(len(sensors), number))

    def image(self, chosen: Ints, places: Ints) -> Ints:
        """[rows, cols], ADU, of clusters at the first pixels of others."""
        cluster, row, col, adu = self.pixels_of(chosen)
        low, high = self.low[:, chosen], self.high[:, chosen]
        last = np.array(self.shape[1:])[:, None] - 1
        move = np.clip(self.first[:, places] - self.first[:, chosen], -low, last - high)
        for turn in range(ROUNDS + 1):
            u, v = row + move[0, cluster] + REACH, col + move[1, cluster] + REACH
            owner = np.zeros([n + 2 * REACH for n in self.shape[1:]], np.int64)
            np.maximum.at(owner, (u, v), cluster + 1)
            met = np.unique(cluster[self.meets(owner, cluster, u, v)])
            if turn < ROUNDS:
                by = self.rng.integers(-LARGEST_MOVE, LARGEST_MOVE + 1, (2, len(met)))
                move[:, met] = np.clip(move[:, met] + by, -low[:, met], last - high[:, met])
        image = np.zeros(self.shape[1:], np.int64)
        np.maximum.at(image, (u - REACH, v - REACH), adu)
        return image

    def pixels_of(self, chosen: Ints) -> tuple[Ints, Ints, Ints, Ints]:
        """Number in ``chosen``, row, column and ADU of the pixels of clusters."""
        size = self.size[chosen]
        cluster = np.repeat(np.arange(len(chosen)), size)
        at = np.arange(size.sum()) + np.repeat(self.start[chosen] - (np.cumsum(size) - size), size)
        return cluster, *(x[at] for x in (self.pixels.row, self.pixels.col, self.pixels.adu))

    @staticmethod
    def meets(owner: Ints, cluster: Ints, u: Ints, v: Ints) -> NDArray[np.bool_]:
        """Whether a pixel is linked to a cluster of a higher number."""
        return np.any([owner[u + du, v + dv] > cluster + 1 for du, dv in AROUND], axis=0)


def features(hits: Hits, geometry: Geometry) -> tuple[NDArray[np.float64], Ints, Ints]:
    """Features, sensor and event of each image."""
    return image_features(hits, geometry), hits.sensor.astype(int), hits.event.astype(int)


def separation(real: tuple[Any, Ints, Ints], other: tuple[Any, Ints, Ints]) -> dict[str, list[Any]]:
    """AUC of trees and of a linear model; each half of the events is tested by the other half."""
    x, sensor, event = (np.concatenate(pair) for pair in zip(real, other, strict=True))
    label = np.repeat([0, 1], [len(real[0]), len(other[0])])
    half = event % 2
    found: dict[str, list[Any]] = {"trees": [], "linear": []}
    for k in range(2):
        learn, test = half == k, half != k
        z = np.array(x)
        for s in np.unique(sensor):
            here = sensor == s
            known = x[here & learn]
            z[here] = (x[here] - known.mean(0)) / (known.std(0) + 1e-6)
        trees = HistGradientBoostingClassifier(
            max_iter=100, learning_rate=0.08, max_leaf_nodes=8, random_state=0
        )
        for name, model in (("trees", trees), ("linear", LogisticRegression(C=0.01, max_iter=500))):
            model.fit(z[learn], label[learn])
            found[name].append(roc_auc_score(label[test], model.predict_proba(z[test])[:, 1]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train")
    parser.add_argument("held_out")
    parser.add_argument("--candidate", help="events to compare instead of shuffled ones")
    parser.add_argument("--events", type=int, default=200)
    a = parser.parse_args()
    with EventFile(a.held_out) as file:
        geometry = file.geometry
        real = features(file.read_events(0, a.events), geometry)
    with EventFile(a.candidate or a.train) as file:
        hits = file.read_events(0, a.events)
    print(f"{a.events} events of each side\n\n| | AUC of trees | linear |\n|---|---|---|")
    rows = [("as they are", features(hits, geometry))]
    for source in () if a.candidate else SOURCES:
        pool = ClusterPool(hits, geometry, seed=3)
        events = [features(pool.event(k, source), geometry) for k in range(a.events)]
        parts = [np.concatenate(part) for part in zip(*events, strict=True)]
        rows.append((SOURCES[source], (parts[0], parts[1], parts[2])))
    for name, other in rows:
        auc = separation(real, other)
        print(f"| {name} | " + " | ".join(f"{np.mean(x):.3f}" for x in auc.values()) + " |")


if __name__ == "__main__":
    main()
