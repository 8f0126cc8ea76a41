"""The folder of a run: what is in it and how it is written.

``config.toml``, ``geometry.json``, ``checkpoints/``, ``logs/`` (TensorBoard), ``metrics.jsonl``,
``report/``, ``exported/``, and at the end ``generator.weights.h5`` and ``calibration.npz``.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kerasgen.atomic import PARTIAL, sweep_partials, write_atomic
from kerasgen.errors import InputError

LOCK = ".lock"
GEOMETRY = "geometry.json"


def write_text(path: Path, text: str) -> None:
    """Atomic write of a text file."""
    write_atomic(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Atomic write of any file."""
    write_atomic(path, lambda partial: partial.write_bytes(content))


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of ``metrics.jsonl``; none where there is no such file yet."""
    path = run / "metrics.jsonl"
    if not path.exists():
        return []
    return [json.loads(x) for x in path.read_text(encoding="utf-8").splitlines() if x.strip()]


def append_metrics(run: Path, step: int, document: dict[str, Any]) -> None:
    """One line of ``metrics.jsonl``; lines of this step and later, from before a resume, go.

    The evaluation at the end of a run, which has a verdict, leaves that of the last step, which
    has none.
    """
    kept = [
        x
        for x in read_metrics(run)
        if (x.get("step", -1), "verdict" in x) < (step, "verdict" in document)
    ]
    lines = [json.dumps(x) for x in [*kept, {"step": step} | document]]
    write_text(run / "metrics.jsonl", "\n".join(lines) + "\n")


def check_unused(run: Path) -> None:
    """Raise unless a new run may have this folder.

    Nothing is there, or what a start leaves that was killed: its lock, and no configuration yet.

    Raises:
        InputError: the folder holds anything else.
    """
    found = {p.name for p in run.iterdir()} if run.is_dir() else set()
    started = {x for x in found if x in (LOCK, GEOMETRY) or x.startswith(PARTIAL)}
    if found - started or (found and LOCK not in found):
        raise InputError(f"{run}: exists already; --resume continues it, or name another --run")


def create_run(run: Path, config: str, geometry: str) -> None:
    """Configuration and geometry of a new run, whose folder is ``locked``.

    Raises:
        InputError: as ``check_unused``; another process may have been faster.
    """
    check_unused(run)
    write_text(run / GEOMETRY, geometry + "\n")
    write_text(run / "config.toml", config)


def check_run(run: Path) -> None:
    """Raise unless ``run`` is a run folder."""
    if not (run / "config.toml").is_file():
        raise InputError(f"{run}: not a run folder (it holds no config.toml)")


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Keep a second process from training in the same folder; what a killed one left half goes.

    Raises:
        InputError: another process trains there.
    """
    with open(run / LOCK, "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"{run}: another process is training there") from None
        sweep_partials(run.rglob(f"{PARTIAL}*"))
        yield
