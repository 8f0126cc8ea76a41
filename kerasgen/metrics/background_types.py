"""Whether the types of the hits are right: how many of each on each sensor, which come together.

Types are those of the simulators' background, or of a user's data; 0 is unknown. Samples without
types have none of these metrics.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.data.level import TYPES
from kerasgen.metrics.bootstrap import Resampling, mean_and_deviation, resample_events
from kerasgen.metrics.compare import compare
from kerasgen.metrics.summary import Summary, join_summaries, layer_index, summarise
from kerasgen.metrics.verdict import add_metric, judged_metric

SECONDS_PER_EVENT = 0.04
ABOUT = {
    "type_shares": "Shares of the background types in the hits of a sensor, half the sum of "
    "|difference|, mean over sensors.",
    "type_correlation": "Correlation of the numbers of hits of two types or two layers in an "
    "event, mean |difference|.",
}
UNITS = {"type_shares": "fraction", "type_correlation": ""}
Floats = NDArray[np.float64]


def type_name(number: int) -> str:
    """Name of a background type, as ``two_photon``."""
    return TYPES[number - 1] if 1 <= number <= len(TYPES) else f"type_{number}"


class TypeRecorder:
    """Receives events in blocks and summarises the hits of each known type.

    Args:
        geometry: of the events.
    """

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self.events = 0
        self.parts: dict[int, list[Summary]] = {}

    def add(self, hits: Hits) -> None:
        """Summarise the types of whole events."""
        for number in np.unique(hits.type[hits.type > 0]).tolist():
            # A type that comes late had no hits before.
            before = self.parts.setdefault(number, [])
            seen = sum(map(len, before))
            if seen < self.events:
                before.append(empty_summary(self.geometry, self.events - seen))
        self.events += len(hits) // len(self.geometry.sensors)
        for number, parts in self.parts.items():
            parts.append(summarise(hits.of_types([number]), self.geometry))

    def summaries(self) -> dict[int, Summary]:
        """Summary of the hits of each known type."""
        return {number: join_summaries(parts) for number, parts in sorted(self.parts.items())}


def empty_summary(geometry: Geometry, events: int) -> Summary:
    """Summary of events without hits."""
    sensors = len(geometry.sensors)
    none = np.zeros(0, np.uint16)
    return summarise(
        Hits(
            np.zeros(events * sensors + 1, np.int64), none, none, none, none.astype(np.uint8),
            np.tile(np.arange(sensors, dtype=np.uint16), events),
            np.repeat(np.arange(events), sensors),
        ),
        geometry,
    )  # fmt: skip


def fired_of(summaries: dict[int, Summary], types: list[int]) -> Floats:
    """Hits of each event by sensor and type, [n, S, T]; 0 of a type that there is not."""
    none = np.zeros_like(next(iter(summaries.values())).fired)
    fired = [summaries[t].fired if t in summaries else none for t in types]
    return np.stack(fired, -1).astype(np.float64)


def type_values(reference: tuple[Floats, Floats], candidate: tuple[Floats, Floats]) -> Floats:
    """Values of the metrics of ``ABOUT``.

    Args:
        reference, candidate: mean hits by sensor and type [S, T], and correlation coefficients.
    """
    shares = [x / np.maximum(x.sum(-1, keepdims=True), 1e-12) for x, _ in (reference, candidate)]
    away = abs(shares[0] - shares[1]).sum(-1) / 2
    return np.array([away.mean(), abs(reference[1] - candidate[1]).mean()])


def mean_and_correlation(fired: Floats, layers: NDArray[np.int64], weight: Any = None) -> Any:
    """Mean hits by sensor and type [S, T], and correlation of all pairs of (layer, type).

    Args:
        fired: [n, S, T].
        layers: index of the layer of each sensor.
        weight: of the events, whole numbers; None: 1.
    """
    by_layer = [fired[:, layers == k].sum(1) for k in range(layers.max() + 1)]
    counts = np.concatenate(by_layer, 1).T
    covariance = np.atleast_2d(np.cov(counts, fweights=weight))
    width = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
    pairs = list(combinations(range(len(width)), 2))
    found = [covariance[a, b] / (width[a] * width[b]) for a, b in pairs]
    return np.average(fired, 0, weight), np.array(found)


def add_types(
    found: dict[str, Any], reference: Floats, candidate: Floats, layers: Any, seed: int
) -> None:
    """Add the metrics to a comparison of ``compare``, changed in place.

    Args:
        found: of the candidate.
        reference, candidate: hits by event, sensor and type.
        layers: index of the layer of each sensor.
        seed: of the resampling.
    """
    n, m = len(reference), len(candidate)
    drawn: Resampling = resample_events(n, m, np.random.default_rng(seed))
    value = type_values(*(mean_and_correlation(x, layers) for x in (reference, candidate)))
    errors, floors = [], []
    for of_reference, of_candidate, part in zip(
        drawn.reference, drawn.candidate, drawn.part, strict=True
    ):
        both = (reference, of_reference), (candidate, of_candidate)
        errors.append(type_values(*(mean_and_correlation(x, layers, w) for x, w in both)))
        parts = (reference[~part], reference[part])
        floors.append(type_values(*(mean_and_correlation(x, layers) for x in parts)))
    for k, (name, unit) in enumerate(UNITS.items()):
        error = mean_and_deviation(np.array(errors)[:, k])[1]
        floor = mean_and_deviation(drawn.scale * np.array(floors)[:, k])
        add_metric(found, name, judged_metric(value[k], error, *floor, unit, m))


class BackgroundTypes:
    """Study of an evaluation: the background types of generated hits.

    Args:
        seed: of the resampling.
    """

    name = "types"

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.recorders: dict[str, TypeRecorder] = {}

    def reference(self, geometry: Geometry, events: int) -> list[TypeRecorder]:
        """Recorder of the real events. Call before ``candidate``."""
        self.geometry = geometry
        return self.candidate("")

    def candidate(self, name: str) -> list[TypeRecorder]:
        """Recorder of the events of a candidate."""
        self.recorders[name] = TypeRecorder(self.geometry)
        return [self.recorders[name]]

    def seconds(self, events: int, candidates: int) -> float:
        """Estimated seconds on two cores."""
        return SECONDS_PER_EVENT * events * (1 + candidates)

    def judge(self, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Add the metrics to the comparisons of candidates whose types are known.

        Args:
            found: {candidate: from ``compare``}, changed in place: metrics and verdict.

        Returns:
            ``about`` {metric: one sentence}; ``metrics`` {type: {metric: as ``compare``}} of the
            last candidate, of the hits of each type alone.
        """
        summaries = {name: recorder.summaries() for name, recorder in self.recorders.items()}
        real = summaries.pop("")
        types = list(real)
        typed = {name: made for name, made in summaries.items() if made}
        if len(types) < 2 or not typed:
            return {"about": {}, "metrics": {}}
        layers = layer_index(self.geometry)
        for name, made in typed.items():
            both = fired_of(real, types), fired_of(made, types)
            add_types(found[name], *both, layers, self.seed)
        judged = typed.get(list(found)[-1], {})
        by_type = {
            type_name(t): compare(real[t], judged[t], self.seed)["metrics"]
            for t in types
            if t in judged
        }
        return {"about": ABOUT, "metrics": by_type}
