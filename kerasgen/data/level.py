"""Levels of background: how frequent it is, over how frequent it was in the training events."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Mapping, Sequence

from kerasgen.errors import InputError, nearest

LEVEL = "level"  # name of the condition
MAX_LEVEL = 10.0
TYPES = ("two_photon", "shower", "synchrotron")  # of the simulators' background, from 1 on
Level = float | Mapping[str, float]  # of all background, or of types by name; others have 1


def checked_level(value: float) -> float:
    """A level that events can have.

    Raises:
        InputError: below 0, above MAX_LEVEL, or no number.
    """
    if not 0 <= value <= MAX_LEVEL:
        raise InputError(f"level {value}: allowed: 0..{MAX_LEVEL:g}, 1 is that of the training")
    return float(value)


def level_argument(text: str) -> Level:
    """Argument type: one level of all background, or ``two_photon=2,synchrotron=0.5``."""
    if "=" not in text:
        return _number(text)
    found: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        if name not in TYPES:
            raise ArgumentTypeError(f"unknown type {name!r}{nearest(name, TYPES)}")
        if name in found:
            raise ArgumentTypeError(f"{name} is there twice")
        found[name] = _number(value)
    return found


def level_text(level: Level) -> str:
    """A level as files state it."""
    if not isinstance(level, Mapping):
        return repr(level)
    return ",".join(f"{name}={value!r}" for name, value in level.items())


def levels_of_types(level: Level) -> dict[str, float]:
    """The level of each of TYPES."""
    if not isinstance(level, Mapping):
        return dict.fromkeys(TYPES, checked_level(level))
    return dict.fromkeys(TYPES, 1.0) | {name: checked_level(x) for name, x in level.items()}


def level_columns(level: Level, types: Sequence[int]) -> list[float]:
    """Columns of the input ``level`` of a model: one for all background, or one for each type.

    Args:
        level: that is asked for.
        types: of the model, as in ``Hits``.

    Raises:
        InputError: no level, or of a type that the model does not know.
    """
    if not isinstance(level, Mapping):
        return [checked_level(level)]
    known = {TYPES[t - 1]: t for t in types if 1 <= t <= len(TYPES)}
    if len(types) == 1 or len(known) < len(types):
        raise InputError(
            f"level {level_text(level)}: the model does not know the types of its background; "
            "allowed: one number"
        )
    for name in level:
        if name not in known:
            raise InputError(
                f"level {level_text(level)}: the model knows the types {', '.join(known)}"
            )
    return [checked_level(level.get(name, 1.0)) for name in known]


def _number(text: str) -> float:
    try:
        return checked_level(float(text))
    except ValueError:  # an InputError is one
        raise ArgumentTypeError(f"{text!r} is not a number in 0..{MAX_LEVEL:g}") from None
