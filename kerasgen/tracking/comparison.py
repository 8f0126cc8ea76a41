"""The tracking part of an evaluation: records of every background, metrics, table, verdict."""

from __future__ import annotations

from typing import Any

import numpy as np

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.metrics.compare import add_metric
from kerasgen.tracking.measures import (
    METRICS,
    resampled,
    table,
    tracking_metrics,
    tracking_quantities,
)
from kerasgen.tracking.signal import TRACKS_PER_EVENT
from kerasgen.tracking.study import TRACKS, Records, TrackingStudy, join

SECONDS_PER_EVENT = 0.02  # 40 tracks through the background of an event, on two cores
BLOCK = 16  # events without background in memory at a time


class Recorder:
    """Takes background events in blocks, in order, and follows tracks through them.

    Args:
        study: the signal.
        rotated: see ``TrackingStudy.block``.
    """

    def __init__(self, study: TrackingStudy, rotated: int = 0) -> None:
        self.study, self.rotated = study, rotated
        self.done = 0
        self.parts: list[Records] = []

    def add(self, background: Hits) -> None:
        """Follow tracks through some more events; those beyond the study's number are left out."""
        sensors = len(self.study.geometry.sensors)
        n = min(len(background) // sensors, self.study.events - self.done)
        if n > 0:
            some = background.take(np.arange(n * sensors))
            self.parts.append(self.study.block(some, self.done, self.rotated))
            self.done += n

    @property
    def records(self) -> Records:
        """All tracks, by background event."""
        found = join(self.parts)
        return found.take(np.argsort(found.event, kind="stable"))


class TrackingComparison:
    """Recorders of the reference and of each candidate, and what they say.

    Args:
        events: of each candidate.
        seed: of signal and bootstrap.
        tracks: see ``TrackingStudy``.
    """

    name = "tracking"

    def __init__(self, events: int, seed: int, tracks: int = TRACKS) -> None:
        self.events, self.seed, self.tracks = events, seed, tracks
        self.candidates: dict[str, Recorder] = {}

    def reference(self, geometry: Geometry, events: int) -> list[Recorder]:
        """The recorders that real events go through; comes before ``candidate``.

        Raises:
            InputError: a geometry that cannot be simulated.
        """
        n = min(events, self.events)
        self.study = TrackingStudy(geometry, n, self.seed, self.tracks)
        turn = max(1, n // 2)
        self.real, self.rotated = Recorder(self.study), Recorder(self.study, turn)
        return [self.real, self.rotated]

    def candidate(self, name: str) -> list[Recorder]:
        """The recorder that a candidate's events go through."""
        self.candidates[name] = Recorder(self.study)
        return [self.candidates[name]]

    def seconds(self, events: int, candidates: int) -> float:
        """On two cores: real background twice, none, and each candidate under the same signal."""
        blocks = max(min(events, self.events), self.tracks // TRACKS_PER_EVENT)
        return SECONDS_PER_EVENT * blocks * (3 + candidates)

    def judge(self, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Add the tracking metrics to the comparisons of the candidates.

        Args:
            found: {candidate: the form of ``compare``}, gets more metrics and quantities, and
                another verdict where a metric is beyond.

        Returns:
            ``table`` of the measures, and ``about`` {metric: one line}.
        """
        nothing = Recorder(self.study)
        for start in range(0, self.study.events, BLOCK):
            nothing.add(self.study.empty(min(BLOCK, self.study.events - start)))
        recorders = {"no background": nothing, "real background": self.real} | self.candidates
        cases = {name: recorder.records for name, recorder in recorders.items()}
        *measured, rotated = resampled([*cases.values(), self.rotated.records], self.seed)
        measures = dict(zip(cases, measured, strict=True))
        real = measures["real background"]
        for name in self.candidates:
            made = measures[name]
            for metric, value in tracking_metrics(real, rotated, made, len(cases[name])).items():
                add_metric(found[name], metric, value)
            found[name]["quantities"] |= tracking_quantities(real, made, self.study.events)
        return table(cases, measures) | {
            "about": {
                name: (m.__doc__ or "").strip().splitlines()[0] for name, (m, _) in METRICS.items()
            },
        }
