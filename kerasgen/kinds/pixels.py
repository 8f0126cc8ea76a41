"""Pixel hits of a detector: an event is the hits of all its sensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from kerasgen.command import check_folder
from kerasgen.data.geometry import Geometry, geometry_from_json
from kerasgen.data.hit_files import holds_job, write_stream
from kerasgen.data.hits import Hits, concatenate, without
from kerasgen.data.level import LEVEL
from kerasgen.data.mask_file import mask_of_run
from kerasgen.data.pixel_events import event_hits, one_event
from kerasgen.data.pixel_mask import EventMasking, PixelMask, any_unhealthy
from kerasgen.data.pixel_source import (
    PAPERS,
    PixelDataSettings,
    division,
    event_file,
    event_path,
    simulator,
    source_geometry,
)
from kerasgen.data.store import EventFile, checksum
from kerasgen.errors import InputError
from kerasgen.evaluation.cards import geant4_numbers
from kerasgen.kinds.kind import Comparison, Conditions, EvaluationRequest, Model
from kerasgen.metrics.compare import check_enough, same_events
from kerasgen.metrics.pixel import (
    METRIC_PAPERS,
    METRICS,
    jaccard_distance,
    quick_metrics,
    selection_score,
)
from kerasgen.metrics.pool import pool
from kerasgen.metrics.summary import check_same_geometry, summarise
from kerasgen.tracking.study import TRACKS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# Held-out events that generated ones are compared with during training, at most.
REFERENCE_EVENTS = 100
# Collapse: images of a sensor overlap this much more than the data's, in Jaccard distance, where
# they did not at an earlier evaluation. A network that has hardly learned repeats itself too.
LOST_DIVERSITY = 0.5


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


class HitReference:
    """Held-out hits that generated ones are compared with during training.

    Args:
        events: held-out events.
        geometry: the detector.
        generated_events: number of generated events that are compared.
        left_out: bool [sensors, rows, cols], pixels whose hits are not compared; None: all are.
    """

    def __init__(
        self,
        events: Hits,
        geometry: Geometry,
        generated_events: int,
        left_out: NDArray[np.bool_] | None = None,
    ) -> None:
        self.left_out = left_out
        self.events = without(events, left_out)
        self.generated_events = generated_events
        self.geometry = geometry
        self.summary = summarise(self.events, geometry)

    def compare(self, generated: Hits, history: list[dict[str, Any]]) -> Comparison:
        """Every metric without its error, the selection score, and whether images collapsed."""
        summary = summarise(without(generated, self.left_out), self.geometry)
        values = quick_metrics(self.summary, summary)
        failure = ""
        if not len(generated.adu):
            failure = "the generator makes no hits"
        elif any(is_diverse(line["metrics"]) for line in history):
            real = jaccard_distance(pool(self.summary))
            lost = real - jaccard_distance(pool(summary))
            if lost > LOST_DIVERSITY:
                failure = (
                    f"the generator repeats its images (diversity {real - lost:.2f} of {real:.2f})"
                )
        return Comparison(values, selection_score(values), failure, summary)

    def figures(self, generated: Hits, comparison: Comparison) -> dict[str, Figure]:
        """Hit maps, charge and occupancy; none of events without hits."""
        from kerasgen.evaluation import hit_figures

        if not len(generated.adu):
            return {}
        drawn = {"generated": comparison.summary}
        return {
            "hits": hit_figures.hit_maps(self.events, generated, self.geometry),
            "adu": hit_figures.adu_spectrum(self.summary, drawn),
            "occupancy_per_sensor": hit_figures.sensor_occupancies(self.summary, drawn),
        }

    def histograms(self, generated: Hits) -> dict[str, Any]:
        """Charges, ADU."""
        samples = {"generated": generated, "real": self.events}
        return {f"adu/{name}": hits.adu.astype(np.float32) for name, hits in samples.items()}


def is_diverse(values: dict[str, Any]) -> bool:
    """Whether the images of a sensor differ from each other nearly as those of the data do."""
    lost = values.get("diversity")
    return lost is not None and lost <= LOST_DIVERSITY


def levels(conditions: Conditions | None) -> list[float]:
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
        from kerasgen.evaluation.hits import evaluate_samples
        from kerasgen.evaluation.report import BASELINE
        from kerasgen.evaluation.samples import (
            held_out_count,
            held_out_sample,
            left_out_remarks,
            read_baseline,
            summarise_blocks,
            training_events,
            unhealthy_pixels,
        )
        from kerasgen.evaluation.studies import (
            candidate_recorders,
            chosen_studies,
            print_cost,
            reference_recorders,
        )

        check_folder(request.out, "--out")
        real = held_out_count(data, source)
        n = request.events or real
        studies = chosen_studies(
            request.studies, n, request.seed, request.tracks or TRACKS, request.ideal
        )
        if source is not None:
            for model in models.values():
                check_same_geometry(source_geometry(source), model.schema)
        left_out = unhealthy_pixels(source or data.source)
        own = request.bootstrap and source in (None, data.source)
        opened = training_events(data, request.training) if own else nullcontext()
        with opened as known:
            print_cost(real, n, len(models) + bool(known), len(known[1]) if known else 0, studies)
            reference, checksums = held_out_sample(
                data, source, reference_recorders(studies), left_out
            )
            geometry = reference.summary.geometry
            baseline = None
            if known and known[0].geometry == geometry:
                known[0].left_out = left_out
                size = {list(models)[-1]: request.model_bytes}
                recorders = candidate_recorders(studies, BASELINE)
                baseline = read_baseline(*known, n, request.seed, recorders, size)
        candidates = {}
        for name, model in models.items():
            seen = candidate_recorders(studies, name)(geometry, n)
            blocks = self.blocks(model, n, request.seed, f"generating, {name}", left_out)
            candidates[name] = summarise_blocks(blocks, geometry, seen)
        remarks = left_out_remarks(left_out)
        if source not in (None, data.source):  # all of its events are the reference
            (content,) = checksums.values()
            for known_file in request.training.items():
                remarks += same_events({
                    "reference": (str(source), content), "training": known_file
                })  # fmt: skip
        return evaluate_samples(
            reference, candidates, request.out, request.title, request.config, checksums,
            request.seed, studies, baseline, remarks,
        )  # fmt: skip

    def evaluate_files(
        self,
        reference: str,
        candidate: str,
        model: Model | None,
        training: str | None,
        request: EvaluationRequest,
    ) -> dict[str, Any]:
        from kerasgen.evaluation.hits import evaluate_samples
        from kerasgen.evaluation.report import BASELINE
        from kerasgen.evaluation.samples import (
            file_sample,
            left_out_remarks,
            read_baseline,
            summarise_blocks,
        )
        from kerasgen.evaluation.studies import (
            candidate_recorders,
            chosen_studies,
            print_cost,
            reference_recorders,
        )

        check_folder(request.out, "--out")
        paths = [reference, *([training] if training else [])]
        baseline, seed = None, request.seed
        with ExitStack() as stack:
            real = stack.enter_context(EventFile(reference))
            known = stack.enter_context(EventFile(training)) if training else None
            made = None if model else stack.enter_context(EventFile(candidate))
            there = made.n_events if made else real.n_events
            n = request.events or there
            if made and n > there:
                raise InputError(f"{candidate}: has {there} events, {n} were asked for")
            check_enough(reference, real.n_events)
            check_enough(candidate, n)
            geometry = real.geometry
            for other in (made, known):
                if other:
                    check_same_geometry(geometry, other.geometry)
            if model:
                check_same_geometry(geometry, model.schema)
            opened = [file for file in (real, made, known) if file]
            left_out = any_unhealthy(file.mask for file in opened)
            for file in opened:
                file.left_out = left_out
            studies = chosen_studies(request.studies, n, seed, request.tracks or TRACKS)
            stored = known.n_events if known else 0
            print_cost(real.n_events, n, 2 if known else 1, stored, studies)
            a = file_sample(real, range(real.n_events), reference_recorders(studies))
            if known:
                recorders = candidate_recorders(studies, BASELINE)
                baseline = read_baseline(known, range(stored), n, seed, recorders, {})
            recorders = candidate_recorders(studies, "candidate")
            if model:
                blocks = self.blocks(model, n, seed, "generating", left_out)
                b = summarise_blocks(blocks, geometry, recorders(geometry, n))
                name, version = model.title, model.identity
            elif made:
                b = file_sample(made, range(n), recorders)
                name, version = Path(candidate).name, checksum(candidate)
        alike = len({name, *(Path(p).name for p in paths)}) <= len(paths)
        sums = {p: checksum(p) for p in paths}
        data = {p if alike else Path(p).name: content for p, content in sums.items()}
        data[candidate if alike else name] = version
        samples = {"candidate": candidate, "reference": reference, "training": training}
        sums[candidate] = version
        remarks = left_out_remarks(left_out)
        remarks += same_events({k: (p, sums[p]) for k, p in samples.items() if p})
        return evaluate_samples(
            a, {"candidate": b}, request.out, request.title, None, data, seed, studies, baseline,
            remarks,
        )  # fmt: skip

    def blocks(
        self,
        model: Model,
        n: int,
        seed: int,
        name: str,
        left_out: NDArray[np.bool_] | None = None,
    ) -> Iterator[Hits]:
        """Generated events in blocks, as metrics of pairs of events want them, with a bar.

        ``left_out``: bool [sensors, rows, cols], pixels without their hits.
        """
        from kerasgen.evaluation.samples import BLOCK

        some: list[Hits] = []
        stream = self.stream(model, range(n), seed, name, None)
        for hits in tqdm(stream, name, n, unit=" events", disable=None):
            some.append(without(hits, left_out))
            if len(some) == BLOCK:
                yield concatenate(some)
                some = []
        if some:
            yield concatenate(some)

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
