"""Batches made in a thread of their own, ahead of the training that takes them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

WAIT = 0.1  # seconds until a thread that waits looks whether it shall end


@contextmanager
def prefetched(batches: Iterable[Any], ahead: int = 2) -> Iterator[Iterator[Any]]:
    """The same batches, of which up to ``ahead`` are ready before they are taken.

    An exception in the making of a batch is raised where the batch would be taken.
    """
    ready: queue.Queue[tuple[bool, Any]] = queue.Queue(ahead)
    ended = threading.Event()

    def put(item: tuple[bool, Any]) -> None:
        while not ended.is_set():
            try:
                return ready.put(item, timeout=WAIT)
            except queue.Full:
                continue

    def make() -> None:
        try:
            for batch in batches:
                put((True, batch))
                if ended.is_set():
                    return
            put((False, None))
        except BaseException as error:
            put((False, error))

    def take() -> Iterator[Any]:
        while True:
            more, item = ready.get()
            if not more and item is not None:
                raise item
            if not more:
                return
            yield item

    thread = threading.Thread(target=make, name="batches", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        ended.set()
        thread.join()
