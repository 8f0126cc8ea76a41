"""A study: a recipe, the ranges of its searched keys, and the objective to minimise.

A study is a TOML file; the studies of kerasgen are in ``tuning/``. Its top-level keys are the
fields of ``Study``, ``[space]`` has the searched recipe keys, ``[set]`` recipe keys that are the
same in all trials, ``[quick]`` the changes of ``--quick``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

from kerasgen.config import (
    Count,
    Length,
    PositiveCount,
    Range,
    RunConfig,
    Weight,
    build,
    merge,
    read_toml,
    value_of,
)
from kerasgen.data.reduction import Reduction
from kerasgen.errors import InputError, nearest
from kerasgen.models.algorithm import algorithm_of
from kerasgen.tuning.space import Parameter, parse_parameter
from kerasgen.zoo.recipes import load_config

RESERVED = ("training.seed", "training.steps", "data.source", "data.events", "data.held_out")


class HeldOutTest(TypedDict):
    """The test events: the last ``held_out`` of the first ``events`` events of the source."""

    events: int
    held_out: int


@dataclass(frozen=True)
class Stop:
    """Rule by which trials are pruned.

    Attributes:
        metric: of the evaluations during training, smaller is better: "score" of pixel detectors,
            "w1_points", "w1_total" or "w1_mass" of point sets. Empty: no trial is pruned.
        factor: a trial is pruned if its metric is above ``factor`` times the median of the
            completed trials at the same step.
    """

    metric: str = ""
    factor: Annotated[float, Range(1, low_open=True)] = 3.0


@dataclass(frozen=True)
class Study:
    """A study, resolved.

    Attributes:
        name: of its file.
        recipe: name of the recipe that is tuned.
        description: one line.
        oracle: of KerasTuner: "random", "bayesian" or "hyperband".
        objective: names of metrics of the final evaluation; the search minimises the mean of
            value / floor (floor / value where high is good), before calibration.
        trials: of the search; the reruns that compare the winner with the recipe come on top.
        seed: of the oracle; every trial has its own seed, derived from it.
        test: number of events or sets that no trial sees, for the comparison with the recipe; 0:
            the comparison uses the events of the objective.
        time_limit: seconds after which a trial has failed; 0: no limit.
        stop: see ``Stop``.
        reduce: see ``Reduction``.
        fixed: the table ``[set]``, by dotted key.
        space: the searched keys.
        quick: whether recipe and study are in their quick variant.
    """

    name: str
    recipe: str
    description: str = ""
    oracle: Literal["random", "bayesian", "hyperband"] = "random"
    objective: Annotated[list[str], Length(unique=True)] = field(default_factory=list)
    trials: PositiveCount = 20
    seed: Count = 0
    test: Count = 0
    time_limit: Weight = 0.0
    stop: Stop = field(default_factory=Stop)
    reduce: Reduction = field(default_factory=Reduction)
    fixed: dict[str, Any] = field(default_factory=dict)
    space: tuple[Parameter, ...] = ()
    quick: bool = False

    def config(self, values: dict[str, Any]) -> RunConfig:
        """The checked configuration: the recipe with ``[set]`` and these values.

        Args:
            values: of recipe keys, by dotted key.

        Raises:
            InputError: as ``load_config``.
        """
        changes = [f"{key}={json.dumps(x)}" for key, x in (self.fixed | values).items()]
        return load_config(self.recipe, quick=self.quick, changes=changes)


def tuning_folder() -> Path:
    """Folder of the studies: ``kerasgen/_tuning`` in a wheel, ``tuning`` in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_tuning"
    return installed if installed.is_dir() else package.parent / "tuning"


def studies() -> dict[str, Path]:
    """Paths of the studies that come with kerasgen, by name."""
    return {path.stem: path for path in sorted(tuning_folder().glob("*.toml"))}


def read_study(name: str, quick: bool = False, trials: int | None = None) -> Study:
    """A checked study, by name or from a file.

    Args:
        name: of a study that comes with kerasgen, or path of a file that ends in ``.toml``.
        quick: read the quick variant.
        trials: replaces the number of trials of the study.

    Raises:
        InputError: no such study, an unknown key, an invalid range, an objective that the recipe
            does not compute.
    """
    known = studies()
    if not name.endswith(".toml") and name not in known:
        raise InputError(f"unknown study {name!r}{nearest(name, known)}, or a file.toml")
    path = known.get(name, Path(name))
    table = read_toml(path)
    quick_table = table.pop("quick", {})
    if quick:
        merge(table, quick_table)
    if trials is not None:
        table["trials"] = trials
    try:
        return resolve_study(path.stem, table, quick)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def resolve_study(name: str, table: dict[str, Any], quick: bool) -> Study:
    """A checked study from the table of its file."""
    sections = {key: table.pop(key, {}) for key in ("space", "set")}
    for key, section in sections.items():
        if not isinstance(section, dict):
            raise InputError(f"{key} must be a section of recipe keys")
    if "recipe" not in table:
        raise InputError("recipe is missing, the name of the recipe to tune")
    for key in ("name", "quick", "fixed"):  # fields that are not keys of the file
        if key in table:
            raise InputError(f"unknown key {key!r}")
    study = build(Study, table | {"name": name, "quick": quick}, "")
    fixed = dict(dotted_values(sections["set"]))
    base = load_config(study.recipe, quick=quick, changes=[
        f"{key}={json.dumps(value)}" for key, value in fixed.items()
    ])  # fmt: skip
    space = []
    for key, table_of_range in dotted_ranges(sections["space"]):
        if key in RESERVED or "." not in key:
            raise InputError(f"space: {key} is not searched")
        if key in fixed:
            raise InputError(f"{key} is both in [space] and in [set]")
        space.append(parse_parameter(key, table_of_range, default_of(study, fixed, base, key)))
    study = Study(**{**vars(study), "fixed": fixed, "space": tuple(space)})
    check_search(study, base)
    return study


def dotted_values(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of a nested table."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from dotted_values(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def dotted_ranges(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """(dotted key, range) of ``[space]``: a range is a table that contains no tables."""
    for key, value in table.items():
        if not isinstance(value, dict):
            raise InputError(
                f"space: {prefix}{key} = {value!r} is no range; write {{low = ..., high = ...}} "
                "or {choices = [...]}"
            )
        if value and all(isinstance(x, dict) for x in value.values()):
            yield from dotted_ranges(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def default_of(study: Study, fixed: dict[str, Any], base: RunConfig, key: str) -> Any:
    """The recipe's value of a key.

    Raises:
        InputError: the recipe has no such key.
    """
    try:
        return value_of(base, key)
    except AttributeError:
        # Its error names the keys that the recipe has.
        load_config(study.recipe, quick=study.quick, changes=[f"{key}=0"])
        raise InputError(f"space: {key} is a section") from None


def check_search(study: Study, base: RunConfig) -> None:
    """Raise unless a search can work with the study.

    Args:
        study: to check.
        base: recipe with ``[set]``.

    Raises:
        InputError: nothing to search or to minimise, metrics that the recipe does not compute, or
            values that it does not allow.
    """
    from kerasgen.tuning.objective import metric_names, watched_names

    if not study.space:
        raise InputError("[space] is empty: there is nothing to search")
    if not study.objective:
        raise InputError("objective is empty: name one metric or more")
    check_names("objective", study.objective, metric_names(base), study.recipe)
    if study.stop.metric:
        check_names("stop.metric", [study.stop.metric], watched_names(base), study.recipe)
    check_reduction(study, base)
    for ends in (0, -1):  # both ends of every range must build, together and one by one
        study.config({p.name: p.values()[ends] for p in study.space})
    for p in study.space:
        for value in p.values():
            study.config({p.name: value})


def check_names(key: str, names: Sequence[str], allowed: Sequence[str], recipe: str) -> None:
    """Raise InputError if a key of the study names a metric that the recipe does not compute."""
    for name in names:
        if name not in allowed:
            raise InputError(
                f"{key}: recipe {recipe!r} does not compute {name!r}{nearest(name, allowed)}"
            )


def check_reduction(study: Study, base: RunConfig) -> None:
    """Raise InputError if ``[reduce]`` is incomplete or the recipe has no pixel hits."""
    reduce = study.reduce
    if not reduce.sensors:
        if reduce.rows or reduce.cols:
            raise InputError("reduce: names the sensors to keep, or is left out")
        return
    if not algorithm_of(base.algorithm).kind.can_reduce:
        raise InputError("reduce: for recipes of pixel detectors")
    if reduce.rows < 1 or reduce.cols < 1:
        raise InputError("reduce: rows and cols, 1 at least")


def scaled_steps(config: RunConfig, fraction: float) -> dict[str, int]:
    """Every recipe key that counts steps, at a fraction of its value in a configuration.

    A trial of Hyperband with a third of the steps has a third of each of them.

    Args:
        config: whose steps are scaled.
        fraction: of the steps.
    """
    values = {key: value_of(config, key) for key in algorithm_of(config.algorithm).step_keys}
    return {key: max(1, round(x * fraction)) if x else 0 for key, x in values.items()}


def study_as_json(study: Study) -> dict[str, Any]:
    """The study as a table of JSON types."""
    return json.loads(json.dumps(asdict(study)))
