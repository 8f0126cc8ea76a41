"""Files that appear under their name only when they are complete."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

PARTIAL = ".partial-"


def partial_name(path: Path) -> Path:
    """Temporary name beside ``path``, of this process alone.

    It ends as ``path`` does, which some writers insist on.
    """
    return path.with_name(f"{_machine()}{os.getpid()}-{path.name}")


def write_atomic(path: Path, write: Callable[[Path], Any]) -> None:
    """``write`` a file under a temporary name in the same folder, then rename it to ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_name(path)
    try:
        write(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


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
