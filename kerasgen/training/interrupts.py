"""Ctrl-C during a training: never lost, and never in the middle of a step."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def unreported(error: type[BaseException]) -> Iterator[None]:
    """Where Python ignores an error of this type, report nothing: it is raised again."""
    report = sys.unraisablehook
    sys.unraisablehook = lambda given: None if given.exc_type is error else report(given)
    try:
        yield
    finally:
        sys.unraisablehook = report


class Interrupts:
    """Raises ``KeyboardInterrupt`` for a SIGINT at once, or at the end of ``deferred``.

    Python ignores an exception that a signal handler raises inside a destructor or inside a
    callback of a C library, as drawing a figure makes many. Such an interrupt is raised again at
    the next ``check``.
    """

    def __init__(self) -> None:
        self.received = False
        self.waits = False

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Take the signal, where it would raise ``KeyboardInterrupt`` in this thread."""
        before = signal.getsignal(signal.SIGINT)
        main = threading.current_thread() is threading.main_thread()
        if not main or before is not signal.default_int_handler:
            yield
            return
        signal.signal(signal.SIGINT, self._on_signal)
        try:
            with unreported(KeyboardInterrupt):
                yield
        finally:
            signal.signal(signal.SIGINT, before)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Let the block end before an interrupt is raised."""
        self.waits = True
        try:
            yield
        finally:
            self.waits = False
        self.check()

    def check(self) -> None:
        """Raise ``KeyboardInterrupt`` if a signal has come."""
        if self.received:
            raise KeyboardInterrupt

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        if not self.waits:
            raise KeyboardInterrupt
