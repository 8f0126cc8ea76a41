"""Configurations: tables of TOML as checked dataclasses.

A section of a configuration is a dataclass. Its fields are the keys; the annotation of a field
states the type and the allowed values (``Range``, ``Each``, ``Literal``), its default the value
where the table is silent. ``config.toml`` of a run folder holds every key, so that training from
it again gives the same run.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar, get_args, get_origin, get_type_hints

import tomli_w

from kerasgen.errors import InputError, nearest

MAX_INT = 2**31 - 1
T = TypeVar("T")


@dataclass(frozen=True)
class Range:
    """Allowed numbers: from ``low`` to ``high``; an open end is not allowed itself."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    def check(self, value: float, name: str) -> None:
        """Raise InputError unless the value is finite and in the range."""
        if not math.isfinite(value):
            raise InputError(f"{name} = {value} must be a finite number")
        if value < self.low or (self.low_open and value == self.low):
            word = "above" if self.low_open else "at least"
            raise InputError(f"{name} = {value} is too small, {word} {self.low:g}")
        if value > self.high or (self.high_open and value == self.high):
            word = "below" if self.high_open else "at most"
            raise InputError(f"{name} = {value} is too large, {word} {int_or_float(self.high)}")


@dataclass(frozen=True)
class Length:
    """Allowed lengths of a list, and whether an element may stand in it twice."""

    allowed: tuple[int, ...] = ()
    unique: bool = False
    form: str = ""

    def check(self, value: list[Any], name: str) -> None:
        """Raise InputError unless the list has an allowed length."""
        if self.allowed and len(value) not in self.allowed:
            raise InputError(f"{name} = {value} must be {self.form}")
        if self.unique and len({json.dumps(x) for x in value}) < len(value):
            raise InputError(f"{name} = {value}: each once")


@dataclass(frozen=True)
class Pattern:
    """Allowed texts: a regular expression that matches all of a text, and its meaning in words."""

    expression: str
    allowed: str

    def check(self, value: str, name: str) -> None:
        """Raise InputError unless the text matches."""
        if not re.fullmatch(self.expression, value):
            raise InputError(f"{name} = {value!r}: allowed: {self.allowed}")


Count = Annotated[int, Range(0, MAX_INT)]
PositiveCount = Annotated[int, Range(1, MAX_INT)]
Weight = Annotated[float, Range(0)]
PositiveFloat = Annotated[float, Range(0, low_open=True)]
Fraction = Annotated[float, Range(0, 1)]
Seed = Annotated[int, Range(0, 2**32, high_open=True)]
# [height, width], or [] for none
Size = Annotated[list[PositiveCount], Length((0, 2), form="[height, width] or []")]
# Weights to start from: random ones, or released ones, resolved with digits of their SHA-256.
Initial = Annotated[str, Pattern(r"|zoo(:[0-9a-f]{12})?", "'' and 'zoo'")]
Precision = Literal["auto", "bfloat16", "float32"]


class DataSection(Protocol):
    """What every command may ask of the section ``data``."""

    @property
    def source(self) -> str: ...

    @property
    def events(self) -> int: ...

    @property
    def held_out(self) -> int: ...

    @property
    def seed(self) -> int: ...


class TrainingSection(Protocol):
    """What every command may ask of the section ``training``."""

    @property
    def steps(self) -> int: ...

    @property
    def batch(self) -> int: ...

    @property
    def precision(self) -> str: ...

    @property
    def evaluate_every(self) -> int: ...

    @property
    def evaluate_events(self) -> int: ...

    @property
    def on_collapse(self) -> str: ...

    @property
    def seed(self) -> int: ...

    @property
    def init(self) -> str: ...


class EvaluationSection(Protocol):
    """What every command may ask of the section ``evaluation``."""

    @property
    def events(self) -> int: ...


class RunConfig(Protocol):
    """A resolved configuration, of whatever algorithm: a frozen dataclass with these fields."""

    @property
    def recipe(self) -> str: ...

    @property
    def description(self) -> str: ...

    @property
    def algorithm(self) -> str: ...

    @property
    def data(self) -> DataSection: ...

    @property
    def training(self) -> TrainingSection: ...

    @property
    def evaluation(self) -> EvaluationSection: ...


def int_or_float(value: float) -> str:
    """The number without a trailing ``.0``."""
    return str(int(value)) if value == int(value) else str(value)


def read_toml(path: Path) -> dict[str, Any]:
    """The table of a TOML file.

    Raises:
        InputError: the file is missing or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, not a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise InputError(f"{path}: not TOML: {e}") from None


def parse_change(change: str) -> dict[str, Any]:
    """``section.key=value`` as a nested table; the value is TOML, or a plain word."""
    name, separator, text = change.partition("=")
    if not separator or not name.strip():
        raise InputError(f"--set {change!r}: must have the form key=value, as training.steps=100")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    for key in reversed(name.strip().split(".")):
        value = {key: value}
    return value


def merge(table: dict[str, Any], changes: dict[str, Any]) -> None:
    """Write ``changes`` into ``table``, section by section."""
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(table.get(key), dict):
            merge(table[key], value)
        else:
            table[key] = value


def build(schema: type[T], table: dict[str, Any], where: str = "") -> T:
    """An instance of a dataclass from a table.

    Args:
        schema: the dataclass.
        table: values by key.
        where: prefix of the keys in messages, as "training.".

    Raises:
        InputError: an unknown key, a value of the wrong type or out of its range.
    """
    if not isinstance(table, dict):
        raise InputError(
            f"{where.rstrip('.')} is a section, it has keys: {', '.join(keys(schema))}"
        )
    hints = get_type_hints(schema, include_extras=True)
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in hints:
            raise InputError(f"unknown key {where + key!r}{nearest(key, keys(schema))}")
        hint = hints[key]
        if is_dataclass(hint):
            values[key] = build(hint, value, f"{where}{key}.")  # type: ignore[arg-type]
        else:
            values[key] = checked(value, hint, where + key)
    needed = [f.name for f in fields(schema) if f.default is f.default_factory is MISSING]  # type: ignore[arg-type]
    for key in needed:
        if key not in values:
            raise InputError(f"{where}{key} is missing")
    return schema(**values)


def keys(schema: Any) -> list[str]:
    """The keys of a section."""
    return [f.name for f in fields(schema)]


def checked(value: Any, hint: Any, name: str) -> Any:
    """The value, if its annotation allows it; whole numbers stand for floats too.

    Raises:
        InputError: another type, or not an allowed value.
    """
    if get_origin(hint) is Annotated:
        inner, *constraints = get_args(hint)
        value = checked(value, inner, name)
        for constraint in constraints:
            constraint.check(value, name)
        return value
    if get_origin(hint) is Literal:
        if value not in get_args(hint) or isinstance(value, bool):
            raise InputError(f"{name} = {value!r}{nearest(str(value), get_args(hint))}")
        return value
    if get_origin(hint) is list:
        (item,) = get_args(hint)
        if not isinstance(value, list):
            raise InputError(f"{name} must be a list of {type_name(item)}, not {value!r}")
        return [checked(x, item, name) for x in value]
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not hint:
        raise InputError(f"{name} must be of type {type_name(hint)}, not {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{name} = {value} must be a finite number")
    return value


def type_name(hint: Any) -> str:
    """The name of a type, without its constraints."""
    return type_name(get_args(hint)[0]) if get_origin(hint) is Annotated else hint.__name__


def value_of(config: Any, name: str) -> Any:
    """The value of a dotted key."""
    for part in name.split("."):
        config = getattr(config, part)
    return config


def to_toml(config: RunConfig) -> str:
    """Every key, as ``config.toml`` holds it."""
    return tomli_w.dumps(as_table(config))


def as_table(config: RunConfig) -> dict[str, Any]:
    """Every key as a nested table."""
    return asdict(config)  # type: ignore[call-overload]


def describe(config: RunConfig) -> str:
    """The sections in one line each, for the terminal."""
    lines = []
    for name, value in as_table(config).items():
        text = value if isinstance(value, str) else json.dumps(value).replace('"', "")
        lines.append(f"  {name:14s} {text}")
    return "\n".join(lines)


def check_held_out(data: DataSection) -> None:
    """Raise InputError if a simulation leaves no event to train on."""
    if data.source.startswith("simulate:") and data.events <= data.held_out:
        raise InputError(
            f"data.events = {data.events} of a simulation must be above data.held_out = "
            f"{data.held_out}, or none is left to train on"
        )
