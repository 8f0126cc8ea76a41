"""Optional studies of an evaluation besides the metrics of pixels, and estimates of the cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.evaluation.samples import Recorder, Recorders
from kerasgen.metrics.background_types import BackgroundTypes
from kerasgen.metrics.event_pairs import EventPairs
from kerasgen.tracking.comparison import TrackingComparison
from kerasgen.tracking.study import TRACKS

# Seconds on two cores, PXD: reading and summarising an event; comparing two samples, per event of
# both.
EVENT_SECONDS, COMPARE_SECONDS = 0.06, 0.006


class Study(Protocol):
    """A part of the evaluation that records the events of all samples and judges at the end."""

    name: str

    def reference(self, geometry: Geometry, events: int) -> Sequence[Recorder]: ...

    def candidate(self, name: str) -> Sequence[Recorder]: ...

    def judge(self, found: dict[str, dict[str, Any]]) -> dict[str, Any]: ...

    def seconds(self, events: int, candidates: int) -> float: ...


def chosen_studies(
    names: Sequence[str],
    events: int,
    seed: int,
    tracks: int = TRACKS,
    ideal: Callable[[Hits], Hits] | None = None,
) -> list[Study]:
    """Make the studies of an evaluation.

    Args:
        names: "tracking"; "networks", which gives two studies. Pairs of clusters and
            background types always are one.
        events: of each candidate.
        seed: of their random numbers.
        tracks: signal tracks of "tracking".
        ideal: ideal sampler of the model, for "networks"; None: it has none.
    """
    studies: list[Study] = [EventPairs(seed), BackgroundTypes(seed)]
    if "tracking" in names:
        studies.append(TrackingComparison(events, seed, tracks))
    if "networks" in names:
        from kerasgen.metrics.judge_comparison import NetworkComparison  # imports TensorFlow
        from kerasgen.metrics.sensor_scores import SensorComparison

        studies += [NetworkComparison(events, seed, ideal), SensorComparison(events, seed)]
    return studies


def reference_recorders(studies: Sequence[Study]) -> Recorders:
    """Recorders of the real events, by geometry; call before ``candidate_recorders``."""
    return lambda geometry, events: [r for s in studies for r in s.reference(geometry, events)]


def candidate_recorders(studies: Sequence[Study], name: str) -> Recorders:
    """Recorders of the events of a candidate, by geometry."""
    return lambda geometry, events: [r for s in studies for r in s.candidate(name)]


def print_cost(
    real: int, generated: int, candidates: int, stored: int, studies: Sequence[Study]
) -> None:
    """Print the estimated cost of an evaluation, without generation.

    Args:
        real: events of the reference.
        generated: events of each candidate.
        candidates: number of candidates.
        stored: number of training events.
        studies: studies of the evaluation.
    """
    all_events = real + candidates * generated
    parts = {
        "events": EVENT_SECONDS * all_events + 0.2 * EVENT_SECONDS * stored,
        "metrics": COMPARE_SECONDS * candidates * (real + generated),
    }
    parts |= {s.name: s.seconds(real, candidates) for s in studies}
    each = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in parts.items())
    print(
        f"{real} real and {candidates} x {generated} events: about {sum(parts.values()):.0f} s "
        f"for PXD events on two cores ({each})",
        flush=True,
    )
