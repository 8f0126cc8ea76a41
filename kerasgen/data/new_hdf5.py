"""HDF5 files that are being written, on disks that may be full.

HDF5 does not survive a write that fails: what it could not write stays in its caches, and the
process ends in a segmentation fault when the file is closed, or at its exit. So HDF5 never learns
of a failure here. What does not fit on the disk is kept in memory, where HDF5 may read it again,
until the file is closed. An interrupt that comes while HDF5 writes would be lost in its C code, or
be such a failure: it waits for the next ``check``.
"""

from __future__ import annotations

import io
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import h5py


class NewHDF5(h5py.File):
    """A new HDF5 file, open for writing.

    Args:
        path: the file.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._output = _Output(path, "w+")
        self._interrupt = 0  # signal that waits
        self._handlers: dict[int, Any] = {}
        self._take_signals()
        try:
            # Since format 1.10 metadata have checksums: damage there raises an error instead of
            # crashing the library.
            super().__init__(self._output, "w", libver=("v110", "v110"))
        except BaseException:
            self._give_signals_back()
            raise

    def check(self) -> None:
        """Raise the OSError of the first write that failed, or an interrupt that has waited."""
        if self._interrupt:
            number, self._interrupt = self._interrupt, 0
            self._handlers.get(number, signal.default_int_handler)(number, None)
        if self._output.failure is not None:
            raise self._output.failure

    def close(self) -> None:
        """Write what is left, and ``check``."""
        try:
            super().close()
        finally:
            self._output.close()
            self._give_signals_back()
        self.check()

    def _take_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # Python runs handlers in the main thread
        for number in (signal.SIGINT, signal.SIGTERM):
            before = signal.getsignal(number)
            if callable(before):
                self._handlers[number] = before
                signal.signal(number, self._on_signal)

    def _give_signals_back(self) -> None:
        for number, before in self._handlers.items():
            if signal.getsignal(number) == self._on_signal:
                signal.signal(number, before)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        while frame is not None:
            if frame.f_code in CALLED_BY_HDF5:
                self._interrupt = number
                return
            frame = frame.f_back
        self._handlers[number](number, frame)


class _Output(io.FileIO):
    """A file whose writes never fail; after the first that would have, all stay in memory.

    Attributes:
        failure: why the first write failed.
    """

    failure: OSError | None = None

    def __init__(self, path: Path, mode: str) -> None:
        super().__init__(path, mode)
        self._kept: list[tuple[int, bytes]] = []  # position and content

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while len(rest) and self.failure is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.failure = error
        if len(rest):
            self._kept.append((self.tell(), bytes(rest)))
            self.seek(len(rest), io.SEEK_CUR)
        return size

    def readinto(self, buffer: Any) -> int:
        start = self.tell()
        n = super().readinto(buffer)
        if not self._kept:
            return n
        view = memoryview(buffer).cast("B")
        view[n:] = bytes(len(view) - n)
        for place, content in self._kept:
            first, last = max(start, place), min(start + len(view), place + len(content))
            if first < last:
                view[first - start : last - start] = content[first - place : last - place]
        self.seek(start + len(view))
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return size or 0


CALLED_BY_HDF5 = {f.__code__ for f in (_Output.write, _Output.readinto, _Output.truncate)}
