"""Pixel hits of a detector: an event is the hits of all its sensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasgen.data.geometry import Geometry, geometry_from_json
from kerasgen.data.hit_files import holds_job, write_stream
from kerasgen.data.hits import Hits
from kerasgen.data.level import LEVEL, Level
from kerasgen.data.mask_file import mask_of_run
from kerasgen.data.pixel_events import event_hits, one_event
from kerasgen.data.pixel_mask import EventMasking, PixelMask, any_unhealthy
from kerasgen.data.pixel_source import (
    PAPERS,
    PixelDataSettings,
    division,
    event_file,
    event_path,
    known_types,
    simulator,
    source_geometry,
)
from kerasgen.data.store import EventFile
from kerasgen.errors import InputError
from kerasgen.evaluation.cards import geant4_numbers
from kerasgen.kinds.hit_reference import HitReference
from kerasgen.kinds.kind import Conditions, EvaluationRequest, Model
from kerasgen.metrics.pixel import METRIC_PAPERS, METRICS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# Held-out events that generated ones are compared with during training, at most.
REFERENCE_EVENTS = 100


@dataclass(frozen=True)
class PixelData:
    """An open file of events.

    Attributes:
        file: the file.
        training, held_out: positions of the events.
    """

    file: EventFile
    training: range
    held_out: range

    @property
    def path(self) -> Path:
        """The file's path."""
        return self.file.path

    @property
    def schema(self) -> Geometry:
        """The geometry of the detector."""
        return self.file.geometry

    def held_out_events(self, at_most: int) -> Hits:
        """The first held-out events."""
        start = self.held_out.start
        return self.file.read_events(start, min(self.held_out.stop, start + at_most))

    def training_events(self, at_most: int) -> Hits:
        """The first training events."""
        return self.file.read_events(self.training.start, min(self.training.stop, at_most))


def levels(conditions: Conditions | None) -> list[Level]:
    """The level of the background, if one is asked for."""
    return [conditions[LEVEL]] if conditions and LEVEL in conditions else []


class PixelHits:
    """The data kind of pixel hits; see ``DataKind``."""

    name = "pixels"
    noun = "events"
    example_events = 1
    can_reduce = True
    can_resume = True

    def check_source(self, data: PixelDataSettings) -> None:
        simulator(data.source)  # ``known_schema`` opens a file

    def source_path(self, data: PixelDataSettings) -> Path:
        return event_path(data.source, data.events, data.seed)

    def portable_source(self, source: str) -> str:
        return source if source.startswith("simulate:") else str(Path(source).absolute())

    def fitting(self, data: PixelDataSettings) -> PixelDataSettings:
        return replace(data, channels=known_types(data.source, data.channels))

    def known_schema(self, data: PixelDataSettings) -> Geometry:
        return source_geometry(data.source)

    @contextmanager
    def open(self, data: PixelDataSettings) -> Iterator[PixelData]:
        with event_file(data.source, data.events, data.seed, data.channels) as file:
            yield PixelData(file, *division(file, data.events, data.held_out))

    def is_file(self, path: Path) -> bool:
        try:
            with EventFile(path):
                return True
        except InputError:
            return False

    def read_schema(self, text: str, origin: str) -> Geometry:
        return geometry_from_json(text, origin)

    def read_mask(self, path: Path, run: int | None, schema: Geometry) -> PixelMask:
        return mask_of_run(path, schema, run)

    def generate(
        self, model: Model, events: range, seed: int, conditions: Conditions | None = None
    ) -> Hits:
        hits = event_hits(model.generator, model.schema, events, seed, *levels(conditions))
        return hits if model.mask is None else EventMasking(model.mask).apply(hits, seed)

    def stream(
        self, model: Model, events: range, seed: int, name: str, conditions: Conditions | None
    ) -> Iterator[Hits]:
        masking = EventMasking(model.mask) if model.mask is not None else None
        for event in events:
            hits = one_event(model.generator, model.schema, event, seed, *levels(conditions))
            yield masking.apply(hits, seed) if masking else hits

    def write(
        self, model: Model, stream: Iterator[Hits], out: Path, events: int, creator: str, seed: int
    ) -> str:
        hits = write_stream(stream, out, events, model.schema, creator, seed, model.mask)
        masked = f", {model.mask.summary()}" if model.mask is not None else ""
        size = out.stat().st_size / events / 1000
        return f"{hits / events:.0f} hits and {size:.1f} kB per event{masked}"

    def is_complete(self, out: Path, numbers: range, seed: int, creator: str) -> bool:
        return holds_job(out, numbers, seed, creator)

    def plot(self, events: Hits, schema: Geometry) -> Figure:
        from kerasgen.evaluation.hit_figures import event_maps

        return event_maps(events, schema)

    def reference(self, data: PixelData, evaluate_events: int) -> HitReference:
        events = data.held_out_events(REFERENCE_EVENTS)
        left_out = any_unhealthy([data.file.mask])
        return HitReference(events, data.schema, evaluate_events, left_out)

    def evaluate_run(
        self,
        models: dict[str, Model],
        data: PixelDataSettings,
        source: str | None,
        request: EvaluationRequest,
    ) -> dict[str, Any]:
        from kerasgen.kinds.pixel_evaluation import evaluate_run

        return evaluate_run(self, models, data, source, request)

    def evaluate_files(
        self,
        reference: str,
        candidate: str,
        model: Model | None,
        training: str | None,
        request: EvaluationRequest,
    ) -> dict[str, Any]:
        from kerasgen.kinds.pixel_evaluation import evaluate_files

        return evaluate_files(self, reference, candidate, model, training, request)

    def check_studies(self, studies: Sequence[str]) -> None:
        """All studies are of pixel hits."""

    def metric_names(self, data: PixelDataSettings) -> dict[str, bool]:
        return dict.fromkeys(METRICS, False)

    def watched_names(self, data: PixelDataSettings) -> list[str]:
        return ["score"]

    def prepare(self, data: PixelDataSettings, reduction: Any, out: Path) -> tuple[str, int]:
        from kerasgen.data.reduction import reduced_file

        with event_file(data.source, data.events, data.seed) as file:
            path = reduced_file(file, reduction, out) if reduction.sensors else file.path
        with EventFile(path) as file:
            n = min(data.events or file.n_events, file.n_events)
        return str(path.absolute()), n

    def published_numbers(self, data: PixelDataSettings) -> dict[str, float]:
        return geant4_numbers() if simulator(data.source) else {}

    def data_papers(self, data: PixelDataSettings) -> tuple[str, ...]:
        simulated = simulator(data.source)
        return PAPERS[simulated[1]] if simulated else ()

    def metric_papers(self, data: PixelDataSettings) -> tuple[str, ...]:
        return METRIC_PAPERS


PIXELS = PixelHits()
