"""The lock of a file that processes of one machine, or of a shared folder, agree on."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kerasgen.errors import InputError

POLL_SECONDS = 0.5


@contextmanager
def file_lock(
    path: Path, busy: str | None = None, while_waiting: Callable[[], None] | None = None
) -> Iterator[int]:
    """Hold the lock of ``path``, which is made if missing and stays.

    A killed process loses its lock. A child that inherits the descriptor holds the lock too.

    Args:
        path: the file.
        busy: the complaint if another process holds the lock; None: wait for it.
        while_waiting: is called every half second of the wait.

    Yields:
        The file descriptor.

    Raises:
        InputError: ``busy``.
    """
    with open(path, "w", encoding="utf-8") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if busy is not None:
                    raise InputError(busy) from None
            if while_waiting is not None:
                while_waiting()
            time.sleep(POLL_SECONDS)
        yield lock.fileno()
