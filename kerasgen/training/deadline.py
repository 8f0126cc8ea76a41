"""The end of a training on a machine that is held for minutes."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from kerasgen.training.interrupts import unreported

# Before the first one is measured, an evaluation counts as this fraction of the whole time.
UNKNOWN = 0.2
# Seconds until an alarm comes again that a callback of a C library has ignored.
AGAIN = 1.0


class OutOfTime(BaseException):
    """The next part of the training would not fit; a checkpoint holds all steps."""


class Deadline:
    """Time at which a training must have ended, and how long its parts take.

    Args:
        minutes: from ``start`` on; None: no limit.
        start: ``time.monotonic()`` at the start of the command.
    """

    def __init__(self, minutes: float | None = None, start: float = 0.0) -> None:
        self.limited = minutes is not None
        self.end = start + 60 * minutes if minutes is not None else math.inf
        self.longest = {"step": 0.0, "save": 1.0, "evaluation": UNKNOWN * 60 * (minutes or 0)}
        self.measured: set[str] = set()

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Time a part; the latest steps count, and the longest of the others."""
        start = time.monotonic()
        yield
        took = time.monotonic() - start
        if part == "step" or part not in self.measured:
            self.longest[part] = took
        self.longest[part] = max(self.longest[part], took)
        self.measured.add(part)

    def check(self, *parts: str) -> None:
        """Raise OutOfTime if these parts and a checkpoint would not fit any more."""
        if time.monotonic() + sum(self.longest[part] for part in (*parts, "save")) > self.end:
            raise OutOfTime

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Without a limit in the block, whose parts are measured all the same."""
        limited, self.limited = self.limited, False
        try:
            yield
        finally:
            self.limited = limited

    @contextmanager
    def alarm(self) -> Iterator[None]:
        """Raise OutOfTime in the middle of the block, in the main thread, where it takes longer.

        Where Python ignores it, in a destructor or a callback, it reports nothing: the alarm comes
        again.
        """
        if not self.limited or threading.current_thread() is not threading.main_thread():
            yield
            return
        left = self.end - self.longest["save"] - time.monotonic()
        before = signal.signal(signal.SIGALRM, _raise)
        signal.setitimer(signal.ITIMER_REAL, max(left, 1e-3), AGAIN)
        try:
            try:
                with unreported(OutOfTime):
                    yield
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        finally:  # the alarm may have come in the line above
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


def _raise(number: int, frame: Any) -> NoReturn:
    raise OutOfTime
