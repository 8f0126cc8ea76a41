"""The tracking part of an evaluation: records of every background, metrics, table, verdict."""

from __future__ import annotations

from typing import Any

import numpy as np

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.metrics.compare import LEAST_EVENTS, add_metric
from kerasgen.tracking.study import METRICS, Records, TrackingStudy, join, table, tracking_metrics

SYSTEMATIC = {"d0": "d0 resolution", "z0": "z0 resolution", "wrong": "wrong-hit rate"}


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
    """

    name = "tracking"

    def __init__(self, events: int, seed: int) -> None:
        self.events, self.seed = events, seed
        self.candidates: dict[str, Recorder] = {}

    def reference(self, geometry: Geometry, events: int) -> list[Recorder]:
        """The recorders that real events go through; comes before ``candidate``.

        Raises:
            InputError: a geometry that cannot be simulated.
        """
        self.study = TrackingStudy(geometry, min(events, self.events), self.seed)
        turn = max(1, self.study.events // 2)
        self.real, self.rotated = Recorder(self.study), Recorder(self.study, turn)
        return [self.real, self.rotated]

    def candidate(self, name: str) -> list[Recorder]:
        """The recorder that a candidate's events go through."""
        self.candidates[name] = Recorder(self.study)
        return [self.candidates[name]]

    def judge(self, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Add the tracking metrics to the comparisons of the candidates.

        Args:
            found: {candidate: the form of ``compare``}, gets more metrics and another verdict
                where one of them is beyond.

        Returns:
            ``table`` of the study, ``about`` {metric: one line}, and ``effect`` {candidate:
            {quantity: how far generated and real background differ, over what real background
            changes}}.
        """
        nothing = Recorder(self.study)
        for start in range(0, self.study.events, 4 * LEAST_EVENTS):
            nothing.add(self.study.empty(min(4 * LEAST_EVENTS, self.study.events - start)))
        real, rotated = self.real.records, self.rotated.records
        cases = {"no background": nothing.records, "real background": real}
        for name, recorder in self.candidates.items():
            metrics = tracking_metrics(real, rotated, recorder.records, self.seed)
            for metric, value in metrics.items():
                add_metric(found[name], metric, value)
            cases[name] = recorder.records
        found_table = table(cases, self.seed)
        return found_table | {
            "effect": {c: effect(found_table, c) for c in self.candidates},
            "about": {
                name: (m.__doc__ or "").strip().splitlines()[0] for name, (m, _) in METRICS.items()
            },
        }


def effect(found: dict[str, Any], candidate: str) -> dict[str, float]:
    """|candidate - real| / |real - none| of each quantity, both averaged over bins or layers."""
    none, real, other = (found["cases"][c] for c in ("no background", "real background", candidate))

    def values(case: dict[str, Any], name: str) -> Any:
        return np.array([v for v, _ in case[name]], float)

    return {
        name: float(
            np.abs(values(other, name) - values(real, name)).mean()
            / max(np.abs(values(real, name) - values(none, name)).mean(), 1e-12)
        )
        for name in SYSTEMATIC
    }
