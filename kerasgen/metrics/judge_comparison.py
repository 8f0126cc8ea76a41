"""Study of an evaluation: AUC of the judges, at several sample sizes.

The AUC is taken at 100, 200 and 300 events of each side; that of the largest size is the metric.
The steps of the training rise with the events. Two values go with each: the floor, real against
other real events, and that of the ideal sampler, real against other real events that went through
the charge scale, quantile map, threshold and rounding of the model, so that only they differ. Both
need twice the real events; with fewer, as many as there are on each side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.metrics.bias import finite_or_none
from kerasgen.metrics.cluster_samples import first_events
from kerasgen.metrics.judges import JUDGES
from kerasgen.metrics.two_sample import NetworkInputs, two_sample_auc
from kerasgen.metrics.verdict import add_metric, judged_metric

SIZES = (100, 200, 300)  # events of each side
SECONDS = 100.0  # to train and test all judges at all sizes, on two cores
Sampler = Callable[[Hits], Hits]


class InputRecorder:
    """Receives events in blocks and keeps the inputs of the judges from the first of them.

    Args:
        geometry: of the events.
        events: number of events to record.
        seed: of the patches.
        change: of the events, before they are recorded; None: as they are.
    """

    def __init__(
        self, geometry: Geometry, events: int, seed: int, change: Sampler | None = None
    ) -> None:
        self.geometry, self.events, self.change = geometry, events, change
        self.rng = np.random.default_rng(seed)
        self.done = 0
        self.parts: dict[str, list[NetworkInputs]] = {name: [] for name in JUDGES}

    def add(self, hits: Hits) -> None:
        """Record a block of events; those beyond ``events`` are left out."""
        some, n = first_events(hits, self.geometry, self.events - self.done)
        if not n:
            return
        some = self.change(some) if self.change else some
        for name, judge in JUDGES.items():
            new = judge.view(some, self.geometry, self.rng)
            self.parts[name].append(NetworkInputs(new.image, new.sensor, new.event + self.done))
        self.done += n

    def inputs(self, name: str) -> NetworkInputs:
        """All inputs of one judge."""
        parts = self.parts[name]
        return NetworkInputs(
            np.concatenate([p.image for p in parts]),
            np.concatenate([p.sensor for p in parts]),
            np.concatenate([p.event for p in parts]),
        )


class NetworkComparison:
    """Study of an evaluation; see the module.

    Args:
        events: of each candidate.
        seed: of patches, judges and bootstrap.
        ideal: the ideal sampler of the model; None: it has none.
    """

    name = "networks"

    def __init__(self, events: int, seed: int, ideal: Sampler | None = None) -> None:
        self.events, self.seed, self.sampler = min(events, SIZES[-1]), seed, ideal
        self.candidates: dict[str, InputRecorder] = {}

    def reference(self, geometry: Geometry, events: int) -> list[InputRecorder]:
        """Recorders of the real events. Call before ``candidate``."""
        self.geometry = geometry
        wanted = min(events, 2 * self.events)
        self.real = InputRecorder(geometry, wanted, self.seed)
        if self.sampler is None:
            return [self.real]
        self.ideal = InputRecorder(geometry, wanted, self.seed + 2, self.sampler)
        return [self.real, self.ideal]

    def candidate(self, name: str) -> list[InputRecorder]:
        """Recorder of the events of a candidate."""
        self.candidates[name] = InputRecorder(self.geometry, self.events, self.seed + 1)
        return [self.candidates[name]]

    def seconds(self, events: int, candidates: int) -> float:
        """Estimated seconds on two cores: floor, ideal sampler and every candidate."""
        return SECONDS * (1 + candidates + (self.sampler is not None))

    def judge(self, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Add the AUCs to the comparisons of the candidates.

        Args:
            found: {candidate: from ``compare``}, changed in place.

        Returns:
            ``about`` {metric: one line}; ``curves`` {judge: {"real", "ideal" and candidates:
            [[events of each side, AUC, its error], ...]}}, "real" the floor; None: not defined.
        """
        curves: dict[str, dict[str, list[list[float | None]]]] = {}
        for name in JUDGES:
            real = self.real.inputs(name)
            order = np.random.default_rng(self.seed).permutation(self.real.done)
            mine, others = np.array_split(order, 2)
            of_judge = {"real": self.curve(name, real.take(mine), real.take(others))}
            if self.sampler is not None:
                ideal = self.ideal.inputs(name).take(others)
                of_judge["ideal"] = self.curve(name, real.take(mine), ideal)
            _, floor, floor_error = of_judge["real"][-1]
            for candidate, recorder in self.candidates.items():
                inputs = recorder.inputs(name)
                curve = self.curve(name, real, inputs)
                if not inputs.events and real.events > 1:  # without hits: fully distinguished
                    curve = [[float(recorder.done), 1.0, 0.0]]
                of_judge[candidate] = curve
                n, value, error = curve[-1]
                metric = judged_metric(value, error, floor, floor_error, "AUC", int(n))
                add_metric(found[candidate], name, metric)
            curves[name] = {
                k: [[finite_or_none(x) for x in point] for point in curve]
                for k, curve in of_judge.items()
            }
        return {"about": {k: judge.about for k, judge in JUDGES.items()}, "curves": curves}

    def curve(self, name: str, real: NetworkInputs, other: NetworkInputs) -> list[list[float]]:
        """[[events of each side, AUC, error], ...] at each of ``SIZES`` and at all events there.

        Events without inputs do not count. AUC and error are NaN with fewer than two events of a
        side, the error also where ``two_sample_auc`` has none.

        Args:
            name: of the judge.
            real, other: inputs of both sides.
        """
        most = min(real.events, other.events, SIZES[-1])
        if most < 2:
            return [[float(most), math.nan, math.nan]]
        train = partial(JUDGES[name].train, sensors=len(self.geometry.sensors))
        found = []
        for n in sorted({min(n, most) for n in SIZES}):
            a, b = (x.first(n) for x in (real, other))
            found.append([float(n), *two_sample_auc(a, b, self.seed, train)])
        return found
