"""HDF5 files that are being written, on disks that may be full.

HDF5 does not survive a write that fails: what it could not write stays in its caches, and the
process ends in a segmentation fault when the file is closed, or at its exit. So HDF5 never learns
of a failure here. What does not fit on the disk is kept in memory, where HDF5 may read it again,
until the file is closed.
"""

from __future__ import annotations

import io
from pathlib import Path
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
        # Since format 1.10 metadata have checksums: damage there raises an error instead of
        # crashing the library.
        super().__init__(self._output, "w", libver=("v110", "v110"))

    def check(self) -> None:
        """Raise the OSError of the first write that failed, if one did."""
        if self._output.failure is not None:
            raise self._output.failure

    def close(self) -> None:
        """Write what is left, and ``check``."""
        try:
            super().close()
        finally:
            self._output.close()
        self.check()


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
