"""A study: a recipe, which of its keys are searched and where, and what is to become small.

A study is a TOML file; those that come with kerasgen are in ``tuning/``. Its top-level keys are the
fields of ``Study``, ``[space]`` has the searched recipe keys, ``[set]`` recipe keys that are the
same in all trials, ``[quick]`` what ``--quick`` changes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

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
from kerasgen.tuning.space import Parameter, parameter
from kerasgen.zoo.recipes import load_config

RESERVED = ("training.seed", "training.steps", "data.source", "data.events", "data.held_out")


@dataclass(frozen=True)
class Stop:
    """When a trial is hopeless.

    Attributes:
        metric: of the evaluations during training, smaller is better: "score" of pixel detectors,
            "w1_points", "w1_total" or "w1_mass" of point sets. Empty: no trial is hopeless.
        factor: a trial ends whose metric is above so many times the median of the completed
            trials at the same step.
    """

    metric: str = ""
    factor: Annotated[float, Range(1, low_open=True)] = 3.0


@dataclass(frozen=True)
class Study:
    """A study, resolved.

    Attributes:
        name: of its file.
        recipe: that is tuned.
        description: one line.
        oracle: of KerasTuner: "random", "bayesian" or "hyperband".
        objective: names of metrics of the final evaluation; what becomes small is the mean of
            value / floor (floor / value where high is good), of events before calibration.
        trials: of the search; the runs that compare the winner with the recipe come on top.
        seed: of the oracle; every trial has its own, derived from it.
        test: events or sets that no trial sees, for the comparison with the recipe; 0: the
            comparison is on those that the objective is computed on.
        time_limit: seconds after which a trial has failed; 0: none.
        stop: see ``Stop``.
        reduce: see ``Reduction``.
        fixed: the table ``[set]``, by dotted key.
        space: the searched keys.
        quick: whether recipe and study are in their quick form.
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
        """The recipe with ``[set]`` and these values, checked.

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
    """The studies that come with kerasgen, by name."""
    return {path.stem: path for path in sorted(tuning_folder().glob("*.toml"))}


def read_study(name: str, quick: bool = False, trials: int | None = None) -> Study:
    """A study that comes with kerasgen, or one from a file, checked.

    Args:
        name: of the study, or path of a file that ends in ``.toml``.
        quick: its quick form.
        trials: in place of its own number.

    Raises:
        InputError: no such study, an unknown key, a range that is none, an objective that the
            recipe does not compute.
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
        return resolve(path.stem, table, quick)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def resolve(name: str, table: dict[str, Any], quick: bool) -> Study:
    """A table as a checked study."""
    sections = {key: table.pop(key, {}) for key in ("space", "set")}
    for key, section in sections.items():
        if not isinstance(section, dict):
            raise InputError(f"{key} must be a section of recipe keys")
    if "recipe" not in table:
        raise InputError("recipe is missing, the name of the recipe to tune")
    for key in ("name", "quick", "fixed"):  # fields that are no keys
        if key in table:
            raise InputError(f"unknown key {key!r}")
    study = build(Study, table | {"name": name, "quick": quick}, "")
    fixed = dict(leaves(sections["set"]))
    base = load_config(study.recipe, quick=quick, changes=[
        f"{key}={json.dumps(value)}" for key, value in fixed.items()
    ])  # fmt: skip
    space = []
    for key, table_of_range in ranges(sections["space"]):
        if key in RESERVED or "." not in key:
            raise InputError(f"space: {key} is not searched")
        if key in fixed:
            raise InputError(f"{key} is both in [space] and in [set]")
        space.append(parameter(key, table_of_range, default_of(study, fixed, base, key)))
    study = Study(**{**vars(study), "fixed": fixed, "space": tuple(space)})
    check(study, base)
    return study


def leaves(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of a nested table."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def ranges(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """(dotted key, range) of ``[space]``: a range is a table without tables in it."""
    for key, value in table.items():
        if not isinstance(value, dict):
            raise InputError(
                f"space: {prefix}{key} = {value!r} is no range; write {{low = ..., high = ...}} "
                "or {choices = [...]}"
            )
        if value and all(isinstance(x, dict) for x in value.values()):
            yield from ranges(value, f"{prefix}{key}.")
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
        # Says which keys there are.
        load_config(study.recipe, quick=study.quick, changes=[f"{key}=0"])
        raise InputError(f"space: {key} is a section") from None


def check(study: Study, base: RunConfig) -> None:
    """What no search could work with.

    Raises:
        InputError: there is some.
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
    for ends in (0, -1):  # every range can be built at both ends, alone and together
        study.config({p.name: p.values()[ends] for p in study.space})
    for p in study.space:
        for value in p.values():
            study.config({p.name: value})


def check_names(what: str, names: Sequence[str], allowed: Sequence[str], recipe: str) -> None:
    for name in names:
        if name not in allowed:
            raise InputError(
                f"{what}: recipe {recipe!r} does not compute {name!r}{nearest(name, allowed)}"
            )


def check_reduction(study: Study, base: RunConfig) -> None:
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

    A trial of Hyperband with a third of the steps has a third of each.
    """
    values = {key: value_of(config, key) for key in algorithm_of(config.algorithm).step_keys}
    return {key: max(1, round(x * fraction)) if x else 0 for key, x in values.items()}


def document(study: Study) -> dict[str, Any]:
    """The study as JSON holds it."""
    return json.loads(json.dumps(asdict(study)))
