"""Files that appear under their name only when they are complete."""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PARTIAL = ".partial-"
# Why an operating system does not write: errors that come from the disk, not from a defect.
REFUSALS = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO,
)  # fmt: skip


def partial_name(path: Path) -> Path:
    """Temporary name beside ``path``, of this process alone.

    It ends as ``path`` does, which some writers insist on.
    """
    return path.with_name(f"{_machine()}{os.getpid()}-{path.name}")


def behind_links(path: Path) -> Path:
    """The file or folder that ``path`` stands for, which a link may name before it is there.

    Raises:
        OSError: a link that leads to itself.
    """
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return target


def make_folder(path: Path) -> None:
    """Make a folder, with those above it, unless it is there; a link to none yet makes its own."""
    behind_links(path).mkdir(parents=True, exist_ok=True)


def missing_folders(path: Path) -> list[Path]:
    """The folders that ``make_folder`` would make, the innermost first."""
    target = behind_links(path)
    return [folder for folder in (target, *target.parents) if not os.path.lexists(folder)]


def remove_empty(folders: Iterable[Path]) -> None:
    """Delete those folders that are there and empty, in this order."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``, or beside the file that the link ``path`` names.

    The file takes its place at a clean exit, its content on the disk by then, so that a power cut
    leaves the old file or the new one; at any other exit it is deleted.

    Raises:
        OSError: as ``refused_writes``.
    """
    target = behind_links(path)
    partial = partial_name(target)
    try:
        with refused_writes(path):
            yield partial
            flush_to_disk(partial)
            os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def flush_to_disk(path: Path) -> None:
    """Wait until the content of a file is on the disk, not only in the memory of the system."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, write: Callable[[Path], Any]) -> None:
    """``write`` a file under a temporary name in the same folder, then rename it to ``path``."""
    make_folder(path.parent)
    with new_file(path) as partial:
        write(partial)


@contextmanager
def refused_writes(path: Path) -> Iterator[None]:
    """Name ``path`` where writing it is refused, whichever library says so, and in whatever form.

    Raises:
        OSError: with ``path`` as its file: no space, no permission, another of ``REFUSALS``.
    """
    try:
        yield
    except Exception as error:
        number = _refusal(error)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from None


def _refusal(error: Exception) -> int | None:
    """Which of ``REFUSALS`` an exception is about; None: about none, or about another file."""
    if isinstance(error, OSError) and error.errno is not None:
        own = error.filename is None or PARTIAL in str(error.filename)
        return error.errno if own and error.errno in REFUSALS else None
    return next((n for n in REFUSALS if os.strerror(n) in str(error)), None)


def sweep_partials(found: Iterable[Path]) -> None:
    """Delete those of the paths that killed processes of this machine have left half written."""
    name = re.compile(re.escape(_machine()) + r"(\d+)-")
    for path in list(found):
        match = name.match(path.name)
        if not match or not _ended(int(match[1])):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _machine() -> str:
    """How the temporary names of this machine start: others may share the folder."""
    return f"{PARTIAL}{platform.node()}-"


def _ended(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False  # it runs, for another user
    return False
