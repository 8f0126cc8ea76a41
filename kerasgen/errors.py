"""The one exception that means "the user gave something that cannot be used"."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input: one line that says what was wrong and what is allowed.

    The command line prints it on standard error and exits with code 2, without a traceback.
    """


class RunFailure(RuntimeError):
    """A run that started well and cannot go on (NaN, collapse): exit code 1."""


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Text for an unknown name: the nearest match if there is one, and what is allowed."""
    names = sorted(allowed)
    match = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {match[0]!r}?" if match else ""
    return f"{hint} (allowed: {', '.join(names)})"
