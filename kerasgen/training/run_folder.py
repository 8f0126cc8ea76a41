"""The folder of a run: what is in it and how it is written.

``config.toml``, ``geometry.json``, ``checkpoints/``, ``logs/`` (TensorBoard), ``metrics.jsonl``,
``report/``, ``exported/``, and at the end ``generator.weights.h5`` and ``calibration.npz``.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kerasgen.errors import InputError


def write_atomic(path: Path, write: Callable[[Path], Any]) -> None:
    """``write`` a file under a temporary name in the same folder, then rename it to ``path``.

    The temporary name ends as ``path`` does, which some writers insist on.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        write(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Atomic write of a text file."""
    write_atomic(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of ``metrics.jsonl``; none where there is no such file yet."""
    path = run / "metrics.jsonl"
    if not path.exists():
        return []
    return [json.loads(x) for x in path.read_text(encoding="utf-8").splitlines() if x.strip()]


def append_metrics(run: Path, step: int, document: dict[str, Any]) -> None:
    """One line of ``metrics.jsonl``; lines of this step and later, from before a resume, go."""
    kept = [x for x in read_metrics(run) if x.get("step", -1) < step]
    lines = [json.dumps(x) for x in [*kept, {"step": step} | document]]
    write_text(run / "metrics.jsonl", "\n".join(lines) + "\n")


def create_run(run: Path, config: str, geometry: str) -> None:
    """A new run folder with its configuration and geometry.

    Raises:
        InputError: the folder exists and is not empty, or is a file.
    """
    if run.is_file() or (run.is_dir() and any(run.iterdir())):
        raise InputError(f"{run}: exists already; --resume continues it, or name another --run")
    write_text(run / "geometry.json", geometry + "\n")
    write_text(run / "config.toml", config)


def check_run(run: Path) -> None:
    """Raise unless ``run`` is a run folder."""
    if not (run / "config.toml").is_file():
        raise InputError(f"{run}: not a run folder (it holds no config.toml)")


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Keep a second process from training in the same folder.

    Raises:
        InputError: another process trains there.
    """
    with open(run / ".lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"{run}: another process is training there") from None
        yield
