"""Point sets: an event is a list of (position, position, intensity)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import wasserstein_distance
from tqdm import tqdm

from kerasgen.command import check_folder
from kerasgen.data import jets
from kerasgen.data.point_events import generated_sets, reconstructed_sets
from kerasgen.data.point_files import write_sets
from kerasgen.data.point_source import (
    BUILT_IN,
    JETS,
    PAPERS,
    Division,
    PointDataSettings,
    SetFile,
    check_source,
    divide,
    holds_point_sets,
    open_sets,
    point_file,
    point_path,
    read_rows,
    read_sets,
)
from kerasgen.data.points import (
    PointSchema,
    PointSets,
    concatenate,
    schema_from_json,
)
from kerasgen.data.store import checksum
from kerasgen.errors import InputError
from kerasgen.kinds.kind import Comparison, Conditions, EvaluationRequest, Model
from kerasgen.metrics.compare import same_events
from kerasgen.metrics.point_sets import (
    JET_PAPERS,
    SUPERPIXEL_PAPERS,
    jet_metrics,
    superpixel_metrics,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLOCK = 10_000  # sets that are generated together
MIN_SETS = 100  # of a comparison: Frechet distances of fewer are not defined or mean nothing


@dataclass(frozen=True)
class PointData:
    """An open file of point sets.

    Attributes:
        file: the file.
        division: which rows train and which are held out.
    """

    file: SetFile
    division: Division

    @property
    def path(self) -> Path:
        """The file's path."""
        return self.file.path

    @property
    def schema(self) -> PointSchema:
        """What the numbers of a set mean."""
        return self.file.schema

    def held_out_events(self, at_most: int) -> PointSets:
        """The first held-out sets."""
        return read_rows(self.file, self.division.held_out[:at_most], self.division.size)

    def training_events(self, at_most: int) -> PointSets:
        """The first training sets."""
        return read_rows(self.file, self.division.training[:at_most], self.division.size)


class SetReference:
    """Held-out sets that generated ones are compared with during training.

    Args:
        events: held-out sets.
        schema: schema of the sets.
    """

    def __init__(self, events: PointSets, schema: PointSchema) -> None:
        self.events = events
        self.generated_events = len(events)
        self.schema = schema

    def compare(self, generated: PointSets, history: list[dict[str, Any]]) -> Comparison:
        """W1 of the coordinates of points (mean), and of summed intensity or mass of jets."""
        real = self.events
        a, b = (x.points[x.mask] for x in (real, generated))
        values = {"w1_points": np.mean([wasserstein_distance(a[:, k], b[:, k]) for k in range(3)])}
        if is_jets(self.schema):
            masses = [jets.jet_observables(x.points, x.mask)["mass"] for x in (real, generated)]
            values["w1_mass"] = wasserstein_distance(*masses)
        else:
            sums = [x.points[..., 2].sum(axis=1) for x in (real, generated)]
            values["w1_total"] = wasserstein_distance(*sums)
        return Comparison({name: float(value) for name, value in values.items()})

    def figures(self, generated: PointSets, comparison: Comparison) -> dict[str, Figure]:
        """Distributions of points and sets."""
        from kerasgen.evaluation import point_figures

        sets = {"generated": generated}
        return {
            "features": point_figures.feature_distributions(self.events, sets, is_jets(self.schema))
        }

    def histograms(self, generated: PointSets) -> dict[str, Any]:
        """None beside the figures."""
        return {}


def is_jets(schema: PointSchema) -> bool:
    """Whether the sets are jets, and not superpixels."""
    return schema.name == jets.SCHEMA.name


def check_jet_keys(schema: PointSchema, wanted: dict[str, Any]) -> None:
    """Raise InputError where recipe keys that are for jets are set for other sets.

    Args:
        schema: of the sets.
        wanted: by key, whether it is set.
    """
    for key, value in wanted.items():
        if value and not is_jets(schema):
            raise InputError(f"{key}: for jets, the data hold {schema.name}")


class Points:
    """The data kind of point sets; see ``DataKind``."""

    name = "points"
    noun = "sets"
    example_events = 200
    can_reduce = False
    can_resume = False

    def check_source(self, data: PointDataSettings) -> None:
        if not point_path(data).exists():
            check_source(data)

    def source_path(self, data: PointDataSettings) -> Path:
        return point_path(data)

    def portable_source(self, source: str) -> str:
        # A word that names neither data nor a file stays as it is: it is misspelt.
        named = source.startswith("simulate:") or source in BUILT_IN or not Path(source).exists()
        return source if named else str(Path(source).absolute())

    def fitting(self, data: PointDataSettings) -> PointDataSettings:
        return data

    def known_schema(self, data: PointDataSettings) -> PointSchema:
        if data.source == JETS:
            return jets.SCHEMA
        if data.source in BUILT_IN:
            from kerasgen.data.superpixels import DIGITS_SCHEMA, SCHEMA

            return DIGITS_SCHEMA if data.source == "digits" else SCHEMA
        with open_sets(data.source) as file:
            return file.schema

    @contextmanager
    def open(self, data: PointDataSettings) -> Iterator[PointData]:
        with point_file(data) as file:
            yield PointData(file, divide(file, data))

    def is_file(self, path: Path) -> bool:
        return holds_point_sets(path)

    def read_schema(self, text: str, origin: str) -> PointSchema:
        return schema_from_json(text, origin)

    def read_mask(self, path: Path, run: int | None, schema: PointSchema) -> Any:
        raise InputError(f"--mask {path}: is for pixel hits, the model makes {schema.name}")

    def generate(
        self, model: Model, events: range, seed: int, conditions: Conditions | None = None
    ) -> PointSets:
        return generated_sets(model.generator, events, seed, (conditions or {}).get("pt"))

    def stream(
        self, model: Model, events: range, seed: int, name: str, conditions: Conditions | None
    ) -> Iterator[PointSets]:
        with tqdm(total=len(events), unit=" sets", desc=name, disable=None) as bar:
            for start in range(events.start, events.stop, BLOCK):
                block = range(start, min(start + BLOCK, events.stop))
                yield self.generate(model, block, seed, conditions)
                bar.update(len(block))

    def write(
        self, model: Model, stream: Iterator[PointSets], out: Path, events: int, creator: str,
        seed: int,
    ) -> str:  # fmt: skip
        write_sets(stream, out, model.schema, creator, seed)
        return f"{out.stat().st_size / events / 1000:.2f} kB per set"

    def is_complete(self, out: Path, numbers: range, seed: int, creator: str) -> bool:
        raise InputError(f"{out}: a file of point sets does not say which job wrote it")

    def plot(self, events: PointSets, schema: PointSchema) -> Figure:
        from kerasgen.evaluation.point_figures import sets_by_class

        return sets_by_class(events, schema.classes, is_jets(schema))

    def reference(self, data: PointData, evaluate_events: int) -> SetReference:
        return SetReference(data.held_out_events(evaluate_events), data.schema)

    def evaluate_run(
        self,
        models: dict[str, Model],
        data: PointDataSettings,
        source: str | None,
        request: EvaluationRequest,
    ) -> dict[str, Any]:
        from kerasgen.evaluation.point_figures import SHOWN
        from kerasgen.evaluation.point_sets import evaluate_sets

        self.check_studies(request.studies)
        networks = "networks" in request.studies
        check_folder(request.out, "--out")
        settings = replace(data, source=source) if source else data
        trained_on = request.training_data or data
        (model,) = models.values()
        with point_file(settings) as file:
            if file.schema.name != model.schema.name:
                raise InputError(
                    f"{file.path}: holds {file.schema.name}, {model.name} is of {model.schema.name}"
                )
            check_networks(networks, model.schema)
            training = read_sets(file, replace(trained_on, source=settings.source))[0]
            held_out = read_sets(file, settings)[1]
            checksums = {file.path.name: checksum(file.path)}
        n = request.events or len(held_out)
        check_enough_sets("reference", len(held_out))
        check_enough_sets("candidate", n)
        generated = self.generate_all(model, n, request.seed)
        rebuilt = None
        if hasattr(model.generator, "reconstruct"):
            rebuilt = reconstructed_sets(model.generator, held_out.take(slice(0, SHOWN)))
        return evaluate_sets(
            held_out, generated, training, model.schema, request.out, request.title,
            request.settings, request.config, checksums, rebuilt, request.seed,
            networks=networks,
        )  # fmt: skip

    def evaluate_files(
        self,
        reference: str,
        candidate: str,
        model: Model | None,
        training: str | None,
        request: EvaluationRequest,
    ) -> dict[str, Any]:
        from kerasgen.evaluation import point_sets

        self.check_studies([*request.studies, *(["training"] if training else [])])
        check_folder(request.out, "--out")
        with open_sets(reference) as real:
            a, schema = real.read(0, len(real)), real.schema
        events = request.events
        if is_jets(schema):
            jets.check_jets(a, schema, reference)
        networks = "networks" in request.studies
        check_networks(networks, schema)
        # Of superpixels half trains the classifier that judges the other half.
        check_enough_sets(reference, len(a), MIN_SETS if is_jets(schema) else 2 * MIN_SETS)
        if events is not None:
            check_enough_sets("candidate", events)
        if model:
            name, version = model.title, model.identity
            check_same_schema(reference, schema, candidate, model.schema)
            b = self.generate_all(model, events or len(a), request.seed)
        else:
            name, version = Path(candidate).name, checksum(candidate)
            with open_sets(candidate) as file:
                check_same_schema(reference, schema, candidate, file.schema)
                if events is not None and events > len(file):
                    raise InputError(f"{candidate}: has {len(file)} sets, {events} were asked for")
                check_enough_sets(candidate, len(file))
                b = file.read(0, events or len(file))
                if is_jets(schema):
                    jets.check_jets(b, file.schema, candidate)
        sizes = [x.points.shape[1] for x in (a, b)]
        if sizes[0] != sizes[1]:
            hardest = f"; kerasgen convert IN OUT --points {min(sizes)} keeps the hardest particles"
            raise InputError(
                f"sets of at most {sizes[0]} and of {sizes[1]} points do not compare"
                f"{hardest if is_jets(schema) else ''}"
            )
        alike = name == Path(reference).name
        content = checksum(reference)
        data = {(reference if alike else Path(reference).name): content}
        data[candidate if alike else name] = version
        remarks = same_events({
            "candidate": (candidate, version), "reference": (reference, content)
        })  # fmt: skip
        half = np.arange(len(a)) % 2 == 0
        sets, held_out = (a, a) if is_jets(schema) else (a.take(half), a.take(~half))
        return point_sets.evaluate_sets(
            held_out, b, sets, schema, request.out, request.title, point_sets.WITHOUT_RUN, None,
            data, seed=request.seed, remarks=remarks, networks=networks,
        )  # fmt: skip

    def check_studies(self, studies: Sequence[str]) -> None:
        """Raise InputError if studies of pixel hits are asked for."""
        for study in studies:
            if study != "networks":
                raise InputError(
                    f"--{study}: goes with events of a pixel detector, not with points"
                )

    def generate_all(self, model: Model, n: int, seed: int) -> PointSets:
        """n generated sets."""
        return concatenate(self.stream(model, range(n), seed, "generating", None))

    def metric_names(self, data: PointDataSettings) -> dict[str, bool]:
        metrics = jet_metrics(2, 2) if self.holds_jets(data) else superpixel_metrics(2, 2)
        return {name: metric.high for name, metric in metrics.items()}

    def watched_names(self, data: PointDataSettings) -> list[str]:
        return ["w1_points", "w1_mass" if self.holds_jets(data) else "w1_total"]

    def holds_jets(self, data: PointDataSettings) -> bool:
        """Whether the sets of a source are jets."""
        schema = self.known_schema(data)
        return is_jets(schema)

    def prepare(self, data: PointDataSettings, reduction: Any, out: Path) -> tuple[str, int]:
        with point_file(data) as file:
            found = divide(file, data)
            n, path = len(found.training) + len(found.held_out), file.path
        return data.source if data.source in BUILT_IN else str(path.absolute()), n

    def published_numbers(self, data: PointDataSettings) -> dict[str, float]:
        return {}

    def data_papers(self, data: PointDataSettings) -> tuple[str, ...]:
        return PAPERS.get(data.source, ())

    def metric_papers(self, data: PointDataSettings) -> tuple[str, ...]:
        if data.source == JETS or data.source in BUILT_IN or Path(data.source).is_file():
            return JET_PAPERS if self.holds_jets(data) else SUPERPIXEL_PAPERS
        return tuple(dict.fromkeys((*JET_PAPERS, *SUPERPIXEL_PAPERS)))  # a file that is not here


def check_networks(asked: bool, schema: PointSchema) -> None:
    """Raise InputError where a network is to judge sets that it does not know."""
    if asked and not is_jets(schema):
        raise InputError(f"--networks: for pixel hits and jets, the data hold {schema.name}")


def check_enough_sets(name: str, sets: int, least: int = MIN_SETS) -> None:
    """Raise InputError unless a sample has enough sets to be compared."""
    if sets < least:
        raise InputError(f"{name} has {sets} point sets; at least {least} are needed")


def check_same_schema(
    reference: str, schema: PointSchema, candidate: str, other: PointSchema
) -> None:
    """Raise InputError unless sets of two sources mean the same."""
    if (schema.name, schema.coordinates) != (other.name, other.coordinates):
        raise InputError(f"{reference} holds {schema.name}, {candidate} {other.name}")


POINTS = Points()
