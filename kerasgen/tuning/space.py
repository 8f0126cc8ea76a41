"""Searched recipe keys: ranges, choices, and their form in KerasTuner."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from kerasgen.errors import InputError, nearest

KEYS = ("low", "high", "log", "choices")


@dataclass(frozen=True)
class Parameter:
    """A searched recipe key.

    Attributes:
        name: the dotted key.
        low, high: the ends of a range, both included; integers where the recipe has an integer.
        log: whether the range is searched on a log scale.
        choices: values instead of a range.
        default: the recipe's own value.
    """

    name: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Any, ...] = ()
    default: Any = None

    def values(self) -> tuple[Any, ...]:
        """The choices, or the two ends of the range."""
        return self.choices or (self.low, self.high)

    def position(self, value: Any) -> float:
        """Position of a value: 0 at the low end, 1 at the high end (choices: in their order)."""
        if self.choices:
            return self.choices.index(value) / (len(self.choices) - 1)
        scale = math.log if self.log else float
        return (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))


def parse_parameter(name: str, table: dict[str, Any], default: Any) -> Parameter:
    """A checked range or choice of ``[space]``.

    Args:
        name: dotted recipe key.
        table: {low, high, log} or {choices}.
        default: the recipe's value, whose type the range must have.

    Raises:
        InputError: no range, an empty range, or a log range that includes zero.
    """
    for key in table:
        if key not in KEYS:
            raise InputError(f"space: {name}: unknown key {key!r}{nearest(key, KEYS)}")
    if "choices" in table:
        return parse_choices(name, table, default)
    missing = [key for key in ("low", "high") if key not in table]
    if missing:
        raise InputError(f"space: {name}: {missing[0]} is missing (or give choices)")
    if isinstance(default, bool) or not isinstance(default, int | float):
        raise InputError(f"space: {name} is not a number: give choices")
    low, high, log = table["low"], table["high"], table.get("log", False)
    kind = int if isinstance(default, int) else float
    allowed: tuple[type, ...] = (int,) if kind is int else (int, float)
    for key, value in (("low", low), ("high", high)):
        if type(value) not in allowed or not math.isfinite(value):
            what = "a whole number" if kind is int else "a finite number"
            raise InputError(f"space: {name}: {key} = {value!r} must be {what}")
    if type(log) is not bool:
        raise InputError(f"space: {name}: log = {log!r} must be true or false")
    if not low < high:
        raise InputError(f"space: {name}: the range {low} to {high} is empty")
    if log and low <= 0:
        raise InputError(f"space: {name}: a log range must start above 0, not at {low}")
    return Parameter(name, kind(low), kind(high), log, (), default)


def parse_choices(name: str, table: dict[str, Any], default: Any) -> Parameter:
    """Checked choices of ``[space]``; building the recipe shows whether they are allowed values.

    Args:
        name, table, default: as in ``parse_parameter``.

    Raises:
        InputError: fewer than two choices, equal choices, or a range beside them.
    """
    choices = table["choices"]
    if len(table) > 1:
        raise InputError(f"space: {name}: choices stand alone, without low, high and log")
    if not isinstance(choices, list) or len(choices) < 2:
        raise InputError(f"space: {name}: choices = {choices!r} must be a list of two or more")
    if len({json.dumps(x) for x in choices}) < len(choices):
        raise InputError(f"space: {name}: choices = {choices!r} has a value twice")
    return Parameter(name, choices=tuple(choices), default=default)


def hyper_parameters(space: tuple[Parameter, ...]) -> Any:
    """The space as KerasTuner's ``HyperParameters``; choices become JSON, as they may be lists."""
    import keras_tuner

    parameters = keras_tuner.HyperParameters()
    for p in space:
        if p.choices:
            parameters.Choice(p.name, [json.dumps(x) for x in p.choices])
            continue
        add = parameters.Int if isinstance(p.low, int) else parameters.Float
        add(p.name, p.low, p.high, sampling="log" if p.log else "linear")
    return parameters


def recipe_values(space: tuple[Parameter, ...], values: dict[str, Any]) -> dict[str, Any]:
    """Values of the recipe keys from the values that KerasTuner chose."""
    return {p.name: json.loads(values[p.name]) if p.choices else values[p.name] for p in space}
