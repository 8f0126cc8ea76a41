"""Levels of background: how frequent it is, over how frequent it was in the training events."""

from __future__ import annotations

from argparse import ArgumentTypeError

from kerasgen.errors import InputError, nearest

LEVEL = "level"  # name of the condition
MAX_LEVEL = 10.0
TYPES = ("two_photon", "shower", "synchrotron")  # of the simulators' background


def checked_level(value: float) -> float:
    """A level that events can have.

    Raises:
        InputError: below 0, above MAX_LEVEL, or no number.
    """
    if not 0 <= value <= MAX_LEVEL:
        raise InputError(f"level {value}: allowed: 0..{MAX_LEVEL:g}, 1 is that of the training")
    return float(value)


def level_of_all(text: str) -> float:
    """Argument type: one level of all background."""
    if "=" in text:
        raise ArgumentTypeError(
            f"{text!r}: a model does not know the types of its background; allowed: one number"
        )
    return _number(text)


def levels_of_types(text: str) -> dict[str, float]:
    """Argument type: one level of all background, or ``two_photon=2,synchrotron=0.5``.

    Returns:
        The level of each of TYPES; those that are not named have 1.
    """
    if "=" not in text:
        return dict.fromkeys(TYPES, _number(text))
    found: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        if name not in TYPES:
            raise ArgumentTypeError(f"unknown type {name!r}{nearest(name, TYPES)}")
        if name in found:
            raise ArgumentTypeError(f"{name} is there twice")
        found[name] = _number(value)
    return dict.fromkeys(TYPES, 1.0) | found


def _number(text: str) -> float:
    try:
        return checked_level(float(text))
    except ValueError:  # an InputError is one
        raise ArgumentTypeError(f"{text!r} is not a number in 0..{MAX_LEVEL:g}") from None
