"""The protocol of data kinds, and the objects that pass through it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Conditions of generated events beside the seed, by name: {"pt": GeV}, {"level": Level}.
Conditions = Mapping[str, Any]


class Generator(Protocol):
    """From seeds to events; its signatures are those that the data kind asks for."""

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the conditions that it takes."""
        ...


class Model(Protocol):
    """A trained or exported model."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str:
        """Name in reports, which says so of an exported model."""
        ...

    @property
    def identity(self) -> str:
        """Twelve digits that differ with the files that generate."""
        ...

    @property
    def schema(self) -> Any: ...

    @property
    def generator(self) -> Any: ...

    @property
    def mask(self) -> Any:
        """Parts of the detector that are not healthy, see ``read_mask``; None: all are."""
        ...


class EventData(Protocol):
    """An open source of events, divided into training and held-out events."""

    @property
    def path(self) -> Path: ...

    @property
    def schema(self) -> Any: ...

    def held_out_events(self, at_most: int) -> Any:
        """The first held-out events, in memory."""
        ...


@dataclass(frozen=True)
class Comparison:
    """Generated events against held-out ones, during training.

    Attributes:
        values: metrics by name.
        score: the number whose minimum selects the checkpoint; None: the last checkpoint is it.
        failure: why the generator has collapsed; empty if it has not.
        summary: of the generated events, for the figures.
    """

    values: dict[str, float]
    score: float | None = None
    failure: str = ""
    summary: Any = None


class Reference(Protocol):
    """Held-out events that generated ones are compared with during training."""

    @property
    def events(self) -> Any: ...

    @property
    def generated_events(self) -> int:
        """Number of generated events that are compared."""
        ...

    def compare(self, generated: Any, history: list[dict[str, Any]]) -> Comparison:
        """Quick metrics; ``history``: earlier lines of ``metrics.jsonl``."""
        ...

    def figures(self, generated: Any, comparison: Comparison) -> dict[str, Figure]: ...

    def histograms(self, generated: Any) -> dict[str, Any]: ...


@dataclass(frozen=True)
class EvaluationRequest:
    """What an evaluation is asked for.

    Attributes:
        out: folder of the report.
        title: heading of the report.
        events: generated events of each candidate; None: as many as there are real ones.
        seed: of generation and resampling.
        studies: names of further studies.
        tracks: signal tracks of the study "tracking".
        settings: evaluation section of the run's configuration; None where there is no run.
        config: resolved configuration for the record.
        bootstrap: whether training events are read, to look for copies and as the baseline.
        training: checksums of the run's data by file name, as recorded by its training.
        training_data: data section that says which events trained; None: the one that says which
            are held out.
        model_bytes: size of the model's files.
        ideal: see ``Algorithm.ideal_sampler``.
    """

    out: Path
    title: str
    events: int | None
    seed: int
    studies: tuple[str, ...] = ()
    tracks: int | None = None
    settings: Any = None
    config: dict[str, Any] | None = None
    bootstrap: bool = True
    training: dict[str, str] = field(default_factory=dict)
    training_data: Any = None
    model_bytes: int = 0
    ideal: Callable[[Any], Any] | None = None


class DataKind(Protocol):
    """What an event is.

    Attributes:
        name: of the kind.
        noun: of one event, in the plural, for messages.
        example_events: events of a plot.
        can_reduce: whether studies may cut events down (``reduce``).
        can_resume: whether a file says which job wrote it (``is_complete``).
    """

    name: str
    noun: str
    example_events: int
    can_reduce: bool
    can_resume: bool

    def check_source(self, data: Any) -> None:
        """Raise InputError unless the events are there or can be made here."""
        ...

    def source_path(self, data: Any) -> Path:
        """The file of the events; of simulated ones the file in the cache, once it is made."""
        ...

    def portable_source(self, source: str) -> str:
        """The source as another folder can read it: a file by its absolute path."""
        ...

    def fitting(self, data: Any) -> Any:
        """The data section of a recipe as the events of its source allow.

        Raises:
            InputError: no such source.
        """
        ...

    def known_schema(self, data: Any) -> Any:
        """The schema of a source, without making the events."""
        ...

    def open(self, data: Any) -> AbstractContextManager[Any]:
        """An ``EventData``; simulated events are made at first use."""
        ...

    def is_file(self, path: Path) -> bool:
        """Whether a file holds events of this kind."""
        ...

    def read_schema(self, text: str, origin: str) -> Any:
        """The schema of a JSON text; raises InputError, which names ``origin``."""
        ...

    def read_mask(self, path: Path, run: int | None, schema: Any) -> Any:
        """The mask of events of one run; raises InputError if such events have none."""
        ...

    def generate(
        self, model: Model, events: range, seed: int, conditions: Conditions | None = None
    ) -> Any:
        """Events of these numbers, in memory."""
        ...

    def stream(
        self, model: Model, events: range, seed: int, name: str, conditions: Conditions | None
    ) -> Iterator[Any]:
        """The same a few at a time; ``name``: of the progress bar, where ``write`` has none."""
        ...

    def write(
        self, model: Model, stream: Iterator[Any], out: Path, events: int, creator: str, seed: int
    ) -> str:
        """Write a stream to a file that appears when it is complete; what was written, in words."""
        ...

    def is_complete(self, out: Path, numbers: range, seed: int, creator: str) -> bool:
        """Whether the file of this very job is there; raises InputError for another file."""
        ...

    def plot(self, events: Any, schema: Any) -> Figure: ...

    def reference(self, data: Any, evaluate_events: int) -> Reference: ...

    def evaluate_run(
        self, models: dict[str, Model], data: Any, source: str | None, request: EvaluationRequest
    ) -> dict[str, Any]:
        """Compare models with held-out events, and write the report.

        Args:
            models: by the name of the candidate; the last one counts.
            data: data section of the configuration.
            source: other data than the configuration's.
            request: see there.

        Returns:
            The content of ``metrics.json``.
        """
        ...

    def evaluate_files(
        self,
        reference: str,
        candidate: str,
        model: Model | None,
        training: str | None,
        request: EvaluationRequest,
    ) -> dict[str, Any]:
        """Compare a file of events with another, or with a model."""
        ...

    def check_studies(self, studies: Sequence[str]) -> None:
        """Raise InputError for a study that does not go with such events."""
        ...

    def metric_names(self, data: Any) -> dict[str, bool]:
        """Metrics of the evaluation: whether higher is better, by name."""
        ...

    def watched_names(self, data: Any) -> list[str]:
        """Metrics during training that do not depend on the weights of a loss."""
        ...

    def prepare(self, data: Any, reduction: Any, out: Path) -> tuple[str, int]:
        """The source of a study's events, cut down if asked for, and how many there are."""
        ...

    def published_numbers(self, data: Any) -> dict[str, float]:
        """Published numbers of what the source simulates, for model cards."""
        ...

    def data_papers(self, data: Any) -> tuple[str, ...]:
        """What to cite for a source of events: keys of ``kerasgen/references.bib``.

        Empty where only its owner knows: a file.
        """
        ...

    def metric_papers(self, data: Any) -> tuple[str, ...]:
        """What to cite for the metrics of an evaluation, likewise."""
        ...
