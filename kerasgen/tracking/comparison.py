"""Study of an evaluation: tracks under real and generated background."""

from __future__ import annotations

from typing import Any

import numpy as np

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.metrics.verdict import add_metric
from kerasgen.tracking.measures import (
    METRICS,
    bootstrap_measures,
    tracking_metrics,
    tracking_quantities,
    tracking_table,
)
from kerasgen.tracking.signal import TRACKS_PER_EVENT
from kerasgen.tracking.study import TRACKS, Records, TrackingStudy, join_records

SECONDS_PER_EVENT = 0.02  # 40 tracks through the background of an event, on two cores
BLOCK = 16  # events without background in memory at a time


class Recorder:
    """Receives background events in blocks, in order, and reconstructs signal tracks in them.

    Args:
        study: the signal.
        rotated: see ``TrackingStudy.block``.
    """

    def __init__(self, study: TrackingStudy, rotated: int = 0) -> None:
        self.study, self.rotated = study, rotated
        self.done = 0
        self.parts: list[Records] = []

    def add(self, background: Hits) -> None:
        """Reconstruct tracks in a block; events beyond the number of the study are left out."""
        sensors = len(self.study.geometry.sensors)
        n = min(len(background) // sensors, self.study.events - self.done)
        if n > 0:
            some = background.take(np.arange(n * sensors))
            self.parts.append(self.study.block(some, self.done, self.rotated))
            self.done += n

    @property
    def records(self) -> Records:
        """All tracks, sorted by background event."""
        tracks = join_records(self.parts)
        return tracks.take(np.argsort(tracks.event, kind="stable"))


class TrackingComparison:
    """Study of an evaluation: compare tracks under the background of each sample.

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
        """Recorders of the real events. Call before ``candidate``.

        Raises:
            InputError: a geometry that cannot be simulated.
        """
        n = min(events, self.events)
        self.study = TrackingStudy(geometry, n, self.seed, self.tracks)
        rotation = max(1, n // 2)
        self.real, self.rotated = Recorder(self.study), Recorder(self.study, rotation)
        return [self.real, self.rotated]

    def candidate(self, name: str) -> list[Recorder]:
        """Recorder of the events of a candidate."""
        self.candidates[name] = Recorder(self.study)
        return [self.candidates[name]]

    def seconds(self, events: int, candidates: int) -> float:
        """Estimated seconds on two cores: real background twice, none, and each candidate."""
        blocks = max(min(events, self.events), self.tracks // TRACKS_PER_EVENT)
        return SECONDS_PER_EVENT * blocks * (3 + candidates)

    def judge(self, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Add the tracking metrics to the comparisons of the candidates.

        Args:
            found: {candidate: from ``compare``}, changed in place: metrics, quantities, verdict.

        Returns:
            ``tracking_table`` of the measures, and ``about`` {metric: one line}.
        """
        empty = Recorder(self.study)
        for start in range(0, self.study.events, BLOCK):
            empty.add(self.study.empty(min(BLOCK, self.study.events - start)))
        recorders = {"no background": empty, "real background": self.real} | self.candidates
        cases = {name: recorder.records for name, recorder in recorders.items()}
        *measured, rotated = bootstrap_measures([*cases.values(), self.rotated.records], self.seed)
        measures = dict(zip(cases, measured, strict=True))
        real = measures["real background"]
        for name in self.candidates:
            generated = measures[name]
            metrics = tracking_metrics(real, rotated, generated, len(cases[name]))
            for metric, value in metrics.items():
                add_metric(found[name], metric, value)
            found[name]["quantities"] |= tracking_quantities(real, generated, self.study.events)
        return tracking_table(cases, measures) | {
            "about": {
                name: (m.__doc__ or "").strip().splitlines()[0] for name, (m, _) in METRICS.items()
            },
        }
