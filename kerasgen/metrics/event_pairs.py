"""Whether the sensors of an event know of each other: pairs of clusters of two sensors.

Particles from the beam spot cross several sensors. Events therefore have more pairs of clusters
about a line or a helix from the beam spot than *mixed* pairs, whose clusters come from different
events of the sample. A generator that draws sensors one by one has no such excess.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.data.simulation.detector import Detector, build_detector
from kerasgen.errors import InputError
from kerasgen.metrics.bias import compare_quantity
from kerasgen.metrics.bootstrap import mean_and_deviation, resample_events
from kerasgen.metrics.cluster_pairs import (
    Pairs,
    PlacedClusters,
    Window,
    find_pairs,
    place_clusters,
)
from kerasgen.metrics.summary import layer_index
from kerasgen.metrics.verdict import add_metric, judged_metric

LINE = Window((0, 0.025, 0.05, 0.1, 0.2), (0, 0.125, 0.25, 0.5, 1))
HELIX = Window((0.05, 0.1, 0.2, 0.3), (0, 0.25, 0.5, 1), helix=True)
CLOSE = 2  # cells of LINE along both axes in which a cluster of the same layer makes a triplet
SECONDS_PER_EVENT = 0.17
ABOUT = {
    "neighbour_pairs": "Pairs of clusters of two sensors of a layer about the line from the beam "
    "spot, beyond mixed events; sum over cells of |difference|.",
    "line_pairs": "Pairs of clusters of neighbouring layers about the straight line from the beam "
    "spot, beyond mixed events; sum over cells of |difference|.",
    "helix_pairs": "Pairs of clusters of neighbouring layers about the helix of low momentum from "
    "the beam spot, beyond mixed events; sum over cells of |difference|.",
    "pair_charge": "All these pairs, weighted with the roots of their charges over the mean root: "
    "difference of the sum.",
    "ghost_seeds": "Relative difference of the pairs about the straight line over the product of "
    "the numbers of clusters.",
    "ghost_triplets": "Relative difference of such pairs with a third cluster beside one of them, "
    "over the pairs.",
}
UNITS = dict.fromkeys(ABOUT, "pairs per event") | dict.fromkeys(
    ("ghost_seeds", "ghost_triplets"), "relative"
)
QUANTITIES = ("neighbour_pairs", "line_pairs", "helix_pairs")
CELLS = [int(np.prod(window.shape)) for window in (LINE, LINE, HELIX)]  # of one layer, two, two
EXCESSES = 2 * sum(CELLS)  # columns of counts: pairs in all cells, then weighted with charge
SEEDS = EXCESSES  # column of the pairs about the straight line, whatever their excess
Floats = NDArray[np.float64]


class PairRecorder:
    """Receives events in blocks and counts their pairs of clusters.

    The second clusters of mixed pairs are those of the event before, of the first event those of
    the last.

    Args:
        geometry, detector: of the events.
    """

    def __init__(self, geometry: Geometry, detector: Detector) -> None:
        self.geometry, self.detector = geometry, detector
        self.layers = int(layer_index(geometry).max()) + 1
        self.first: list[PlacedClusters] | None = None
        self.before: list[PlacedClusters] | None = None
        self.own: list[Floats] = []
        self.mixed: list[Floats] = []

    def add(self, hits: Hits) -> None:
        """Count the pairs of whole events."""
        for event in place_clusters(hits, self.geometry, self.detector):
            now = [event.take(event.layer == k) for k in range(self.layers)]
            self.own.append(count_pairs(now, now))
            if self.before is not None:
                self.mixed.append(count_pairs(now, self.before))
            self.first, self.before = self.first or now, now

    @property
    def counts(self) -> Floats:
        """Of every event the numbers of ``count_pairs``, those in cells less the mixed ones."""
        assert self.first is not None
        assert self.before is not None
        return np.stack(self.own) - np.stack([count_pairs(self.first, self.before), *self.mixed])


def count_pairs(first: Sequence[PlacedClusters], second: Sequence[PlacedClusters]) -> Floats:
    """Pairs of the clusters of two events.

    Args:
        first, second: clusters by layer. Pairs are scaled to as many second clusters as the first
            event has: else busy events would make an excess, and most of its error.

    Returns:
        [EXCESSES + 3]: pairs in the cells of LINE within the layers, and of LINE and HELIX between
        neighbouring layers; the same weighted with charge; pairs in LINE between the layers,
        triplets and product of the numbers of clusters, 0 for mixed events.
    """
    counts = [np.zeros((2, cells)) for cells in CELLS]
    beside, seeds = [], np.zeros(3)
    scale = [len(a) / max(len(b), 1) for a, b in zip(first, second, strict=True)]
    for k, (a, b) in enumerate(zip(first, second, strict=True)):
        pairs = find_pairs(a, b, LINE)
        other = a.sensor[pairs.first] != b.sensor[pairs.second]
        near = np.all(np.array(np.unravel_index(pairs.cell, LINE.shape)) < CLOSE, axis=0)
        beside.append(np.bincount(pairs.first[near & other], minlength=len(a)))
        pairs = pairs.take(a.sensor[pairs.first] < b.sensor[pairs.second])
        counts[0] += scale[k] * counts_and_charges(a, b, pairs, CELLS[0])
    for k, (a, b) in enumerate(zip(first[:-1], second[1:], strict=True)):
        line, helix = (find_pairs(a, b, window) for window in (LINE, HELIX))
        for number, pairs in enumerate((line, helix), 1):
            counts[number] += scale[k + 1] * counts_and_charges(a, b, pairs, CELLS[number])
        if first is second:
            third = beside[k][line.first].sum() + beside[k + 1][line.second].sum()
            seeds += len(line.cell), third, len(a) * len(b)
    pairs_and_charges = np.concatenate(counts, axis=1)
    return np.concatenate([*pairs_and_charges, seeds])


def counts_and_charges(
    first: PlacedClusters, second: PlacedClusters, pairs: Pairs, cells: int
) -> Floats:
    """Number of pairs in each cell, and sum of the products of their roots of charge, [2, cells].

    The root of the charge is in units of its mean over the layer of the event, so that events of
    high charges make no excess; as it is the charge of few clusters would count alone.
    """
    root = [np.sqrt(x.charge) / np.sqrt(x.charge).mean() for x in (first, second) if len(x)]
    charge = root[0][pairs.first] * root[-1][pairs.second] if len(pairs.cell) else None
    return np.stack([np.bincount(pairs.cell, x, cells) for x in (None, charge)])


def pair_values(reference: Floats, candidate: Floats) -> Floats:
    """Values of the metrics of ``ABOUT``, from the mean counts of events."""
    apart = abs(reference - candidate)
    ends = np.cumsum(CELLS)
    pairs = [x.sum() for x in np.split(apart[: ends[-1]], ends[:-1])]
    ours, theirs = (x[-3:] for x in (reference, candidate))
    with np.errstate(divide="ignore", invalid="ignore"):
        seeds = (theirs[0] / theirs[2]) / (ours[0] / ours[2]) - 1
        triplets = (theirs[1] / theirs[0]) / (ours[1] / ours[0]) - 1
    return np.array(
        [*pairs, abs((candidate - reference)[ends[-1] : EXCESSES].sum()), abs(seeds), abs(triplets)]
    )


def add_pairs(found: dict[str, Any], reference: Floats, candidate: Floats, seed: int) -> None:
    """Add metrics and quantities to a comparison of ``compare``, changed in place.

    Args:
        found: of the candidate.
        reference, candidate: counts of a ``PairRecorder``, of at least 4 events each.
        seed: of the resampling.
    """
    n, m = len(reference), len(candidate)
    resampling = resample_events(n, m, np.random.default_rng(seed))
    both = reference.mean(axis=0), candidate.mean(axis=0)
    value = pair_values(*both)
    drawn = [resampling.reference @ reference / n, resampling.candidate @ candidate / m]
    errors = np.array([pair_values(a, b) for a, b in zip(*drawn, strict=True)])
    part = resampling.part
    splits = [reference[~x].mean(axis=0) for x in part], [reference[x].mean(axis=0) for x in part]
    floors = resampling.scale * np.array([pair_values(a, b) for a, b in zip(*splits, strict=True)])
    for k, (name, unit) in enumerate(UNITS.items()):
        error, floor = mean_and_deviation(errors[:, k])[1], mean_and_deviation(floors[:, k])
        add_metric(found, name, judged_metric(value[k], error, *floor, unit, m))
    ends = np.cumsum([0, *CELLS])
    for name, start, stop in zip(QUANTITIES, ends[:-1], ends[1:], strict=True):
        totals = [x[..., start:stop].sum(axis=-1) for x in both]
        resampled = [x[:, start:stop].sum(axis=1) for x in drawn]
        values = np.concatenate([[totals], np.stack(resampled, 1)])
        found["quantities"][name] = compare_quantity(values, n, "pairs per event")
    seeds = np.stack([np.append(x[SEEDS], y[:, SEEDS]) for x, y in zip(both, drawn, strict=True)])
    found["quantities"]["ghost_seeds"] = compare_quantity(seeds.T, n, "pairs per event")


class EventPairs:
    """Study of an evaluation: whether the sensors of generated events know of each other.

    Geometries that place no sensors have no such metrics.

    Args:
        seed: of the resampling.
    """

    name = "pairs"

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.recorders: dict[str, PairRecorder] = {}
        self.detector: Detector | None = None

    def reference(self, geometry: Geometry, events: int) -> list[PairRecorder]:
        """Recorder of the real events. Call before ``candidate``."""
        self.geometry = geometry
        with suppress(InputError):
            self.detector = build_detector(geometry)
        return self.candidate("")

    def candidate(self, name: str) -> list[PairRecorder]:
        """Recorder of the events of a candidate."""
        if self.detector is None:
            return []
        self.recorders[name] = PairRecorder(self.geometry, self.detector)
        return [self.recorders[name]]

    def seconds(self, events: int, candidates: int) -> float:
        """Estimated seconds on two cores."""
        return SECONDS_PER_EVENT * events * (1 + candidates)

    def judge(self, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Add the metrics to the comparisons of the candidates.

        Args:
            found: {candidate: from ``compare``}, changed in place: metrics, quantities, verdict.

        Returns:
            ``about`` {metric: one sentence}.
        """
        if self.detector is None:
            return {"about": {}}
        counts = {name: recorder.counts for name, recorder in self.recorders.items()}
        real = counts.pop("")
        for name, made in counts.items():
            add_pairs(found[name], real, made, self.seed)
        return {"about": ABOUT}
