"""Child processes that leave Ctrl-C to their parent, which ends them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker


@contextmanager
def ctrl_c_blocked() -> Iterator[None]:
    """Block SIGINT while child processes start: they inherit it, and print no traceback.

    A child ignores the signal once it runs ``ignore_ctrl_c``; this is for the second before.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # of multiprocessing: its start unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_ctrl_c() -> None:
    """Leave Ctrl-C to the parent; called in a child process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
