"""The protocol of algorithms: how events are learned. One folder under ``models/`` each.

A folder has ``algorithm.py`` with ``ALGORITHM``, an object with the attributes and methods of
``Algorithm``; the recipe key ``algorithm`` names the folder. An installed package adds an
algorithm by an entry point of the group ``kerasgen.algorithms`` that leads to such an object.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from kerasgen.errors import InputError, nearest
from kerasgen.kinds.kind import DataKind, Generator

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

ENTRY_POINTS = "kerasgen.algorithms"


class TrainableModel(Protocol):
    """A compiled ``keras.Model`` that counts its steps.

    Attributes:
        stage: name of the stage that ``train_step`` trains; set it before the step is compiled.
        rate_scale: variable that multiplies every learning rate.
    """

    stage: str
    rate_scale: Any

    @property
    def step(self) -> Any:
        """Finished steps, scalar integer tensor."""
        ...

    @property
    def weights(self) -> Any: ...

    @property
    def state(self) -> list[Any]:
        """Every variable that a step reads or writes, optimisers' included."""
        ...

    @property
    def optimizers(self) -> dict[str, Any]:
        """Optimisers by name, for the log of learning rates."""
        ...

    def noise(self, real: Any) -> Any:
        """The random numbers of the next step, for a batch of this shape."""
        ...

    def train_step(self, real: Any, noise: Any) -> dict[str, Any]:
        """One step; loss terms as ``network/term``, their sum as ``network/loss``."""
        ...


class Batches(Protocol):
    """Training batches, each a pure function of (seed, step)."""

    def batch_at(self, step: int) -> Any:
        """The batch of a step: arrays in dictionaries and lists, rows on the first axis."""
        ...


@dataclass(frozen=True)
class Diagnostics:
    """Reports of an algorithm beside the comparison of events.

    Attributes:
        values: metrics for ``metrics.jsonl`` and TensorBoard.
        scalars: numbers for TensorBoard only.
        histograms: arrays for TensorBoard.
        figures: figures for TensorBoard.
    """

    values: dict[str, float] = field(default_factory=dict)
    scalars: dict[str, float] = field(default_factory=dict)
    histograms: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)


class Evaluator(Protocol):
    """The generator of a running training.

    Attributes:
        network: the weights that generate; a checkpoint keeps them.
        chosen_by_score: whether the run keeps the weights with the best score of all evaluations;
            False: those of the last one, where the loss itself says that it is the best.
    """

    network: Any
    chosen_by_score: bool

    @property
    def model(self) -> Any:
        """The generator as a ``Model`` of the data kind, valid after ``update``."""
        ...

    def update(self) -> None:
        """Update network and generator to the current step of the training."""
        ...

    def diagnostics(self, held_out: Any, generated: Any) -> Diagnostics: ...


@dataclass(frozen=True)
class Served:
    """Contents of a SavedModel of a generator.

    Attributes:
        variables: backend variables that the functions read.
        constants: further tensors that must be kept.
        functions: ``tf.function`` by signature.
        default: signature that is also ``serving_default``.
        requests: one example of the inputs of some signatures, for the warm-up of a server.
        attributes: of the loaded generator, values that JSON can hold.
    """

    variables: list[Any]
    constants: Any
    functions: dict[str, Any]
    default: str
    requests: Mapping[str, Mapping[str, Any]]
    attributes: dict[str, Any]


class Algorithm(Protocol):
    """How events are learned.

    Attributes:
        name: value of the recipe key ``algorithm``.
        kind: kind of its events.
        config: dataclass of its configurations (``kerasgen.config.RunConfig``).
        generation_threads: threads of one operation while it generates; 0: as many as there are
            cores.
        step_keys: recipe keys that count training steps.
    """

    name: str
    kind: DataKind
    config: type
    generation_threads: int
    step_keys: tuple[str, ...]

    @property
    def smallest(self) -> Mapping[str, Any]:
        """Recipe keys of the smallest training with everything in it, for tests."""
        ...

    def papers(self, config: Any) -> tuple[str, ...]:
        """What to cite for it: keys of ``kerasgen/references.bib``, or whole BibTeX entries."""
        ...

    def check(self, config: Any) -> None:
        """Raise InputError if recipe keys do not fit each other."""
        ...

    def check_schema(self, config: Any, schema: Any) -> None:
        """Raise InputError if the networks cannot be built for such events."""
        ...

    def check_events(self, config: Any, data: Any) -> None:
        """Raise InputError if the training events do not suffice for a training."""
        ...

    def fit(self, config: Any, data: Any) -> Any:
        """Statistics of the training events that the networks start from."""
        ...

    def write_fitted(self, folder: Path, fitted: Any) -> None:
        """Write the statistics that generation needs into the run folder."""
        ...

    def build(self, config: Any, schema: Any, fitted: Any) -> Any:
        """A compiled ``TrainableModel``, its optimisers built."""
        ...

    def stages(self, config: Any) -> tuple[tuple[str, int], ...]:
        """Stages of the training in order: name, and step at which it ends."""
        ...

    def begin_stage(self, model: Any, stage: str, batches: Any, fresh: bool) -> None:
        """Enter a stage.

        Args:
            model: that trains.
            stage: its name.
            batches: of the training.
            fresh: whether this is the first step of the stage, not a resume in its middle.
        """
        ...

    def batches(self, config: Any, data: Any, fitted: Any) -> Batches: ...

    def evaluator(self, model: Any, config: Any, schema: Any, fitted: Any) -> Evaluator: ...

    def finish(self, config: Any, folder: Path, data: Any, checkpoint: Path) -> None:
        """Write the final weights and further files from the selected checkpoint."""
        ...

    def load(self, folder: Path, config: Any, schema: Any, calibrated: bool) -> Generator:
        """The generator of a finished run, in float32; raises InputError for damaged files."""
        ...

    def files(self, config: Any, calibrated: bool = True) -> tuple[str, ...]:
        """Files of a run folder that generation reads beside weights, schema and configuration."""
        ...

    def variants(self, config: Any) -> tuple[str, ...]:
        """Variants that an evaluation compares; the last one is the result.

        "uncalibrated" is the generator without calibration.
        """
        ...

    def ideal_sampler(self, generator: Any) -> Callable[[Any], Any] | None:
        """From real events to those that a perfect network would give through this generator.

        Real events pass all that follows the network: scale, calibration, threshold, rounding.
        None: there is no such function.
        """
        ...

    def served(self, generator: Any) -> Served: ...

    def networks(self, config: Any, schema: Any, generator: Any) -> dict[str, keras.Model]:
        """Networks of the training by name, to count their weights."""
        ...

    def examples(self, config: Any) -> tuple[int, str]:
        """Number of training examples of a whole run, and their name in the plural."""
        ...

    def network_keys(self, config: Any) -> list[str]:
        """Recipe keys that must agree for the weights of one run to fit another."""
        ...

    def check_warm_start(self, config: Any, data: Any, folder: Path) -> None:
        """Raise InputError if released weights in ``folder`` are of other events."""
        ...

    def warm_start(self, model: Any, weights: Path, fitted: Any) -> None:
        """Start from released weights; the statistics stay those of the training events."""
        ...


@cache
def built_in() -> tuple[str, ...]:
    """Names of the algorithms of this package: its folders."""
    import kerasgen.models

    return tuple(m.name for m in pkgutil.iter_modules(kerasgen.models.__path__) if m.ispkg)


def algorithms() -> tuple[str, ...]:
    """Names of all algorithms: of this package, and of installed entry points."""
    others = (point.name for point in entry_points(group=ENTRY_POINTS))
    return (*built_in(), *(name for name in others if name not in built_in()))


@cache
def algorithm_of(name: str) -> Algorithm:
    """The algorithm that a recipe names.

    Raises:
        InputError: there is none of this name, or its package cannot be imported.
    """
    if name in built_in():
        return import_module(f"kerasgen.models.{name}.algorithm").ALGORITHM
    points = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name not in points:
        raise InputError(f"algorithm = {name!r}{nearest(name, algorithms())}")
    try:
        return points[name].load()
    except Exception as error:  # an import runs any code
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"algorithm = {name!r}: {points[name].value}: {reason}") from None
