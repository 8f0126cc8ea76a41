"""The folder of a run: what is in it and how it is written.

``config.toml``, ``schema.json`` (what the numbers of its events mean), ``checkpoints/``, ``logs/``
(TensorBoard), ``metrics.jsonl``, ``report/``, ``exported/``, and at the end ``model.weights.h5``
and the files of its algorithm.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from kerasgen.atomic import PARTIAL, make_folder, sweep_partials, write_atomic
from kerasgen.errors import InputError
from kerasgen.file_lock import file_lock

CONFIG = "config.toml"
SCHEMA = "schema.json"
WEIGHTS = "model.weights.h5"
LAST = "checkpoints/last.weights.h5"
BEST = "checkpoints/best.weights.h5"
METRICS = "metrics.jsonl"
LOCK = ".lock"


def write_text(path: Path, text: str) -> None:
    """Atomic write of a text file."""
    write_atomic(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Atomic write of any file."""
    write_atomic(path, lambda partial: partial.write_bytes(content))


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of ``metrics.jsonl``; none where there is no such file yet.

    A last line that is no JSON was cut by a crash of the machine: it is left out, with a warning.

    Raises:
        InputError: another line is damaged.
    """
    path = run / METRICS
    if not path.exists():
        return []
    texts = path.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()
    lines: list[dict[str, Any]] = []
    for number, text in enumerate(texts, 1):
        try:
            lines += [{"step": int(x["step"])} | x for x in [json.loads(text)]]
        except (ValueError, TypeError, KeyError):
            if number < len(texts):
                raise InputError(f"{path}: line {number} is damaged; delete it") from None
            warn_once(f"{path}: line {number}, the last, was cut and is left out")
    return lines


@cache
def warn_once(text: str) -> None:
    """One line on standard error, the first time that this process has cause to say it."""
    print(f"kerasgen: warning: {text}", file=sys.stderr)


def append_metrics(run: Path, step: int, document: dict[str, Any]) -> None:
    """Add one line to ``metrics.jsonl``; a reader never sees half a line.

    A training evaluation replaces the lines of its step and of later ones, which date from before
    a resume. A final evaluation, which has a verdict, takes the place of the one of the same step
    and data.
    """
    new = {"step": step} | document
    kept: list[dict[str, Any]] = []
    for line in read_metrics(run):
        if line["step"] > step or (line["step"] == step and "verdict" not in document):
            continue
        if line["step"] == step and line.get("data") == document.get("data"):
            line, new = new, {}
        kept.append(line)
    lines = [json.dumps(x, allow_nan=False) for x in [*kept, new] if x]
    write_text(run / METRICS, "\n".join(lines) + "\n")


def check_unused(run: Path) -> None:
    """Raise unless a new run may have this folder.

    Nothing is there, or what a start leaves that was killed: its lock, and no configuration yet.

    Raises:
        InputError: the folder holds anything else.
    """
    found = {p.name for p in run.iterdir()} if run.is_dir() else set()
    started = {x for x in found if x in (LOCK, SCHEMA) or x.startswith(PARTIAL)}
    if found - started or (found and LOCK not in found):
        raise InputError(f"{run}: exists already; --resume continues it, or name another --run")


def claim_folder(wanted: Path) -> Path:
    """Make a folder of this name or, if it is taken, with -2, -3, ... after it.

    Two processes that want the same name get a folder each.
    """
    make_folder(wanted.parent)
    for number in itertools.count(1):
        folder = wanted.with_name(f"{wanted.name}-{number}") if number > 1 else wanted
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError  # a count does not end


def create_run(run: Path, config: str, schema: str) -> None:
    """Write configuration and schema of a new run, whose folder is ``locked``.

    Raises:
        InputError: as ``check_unused``; another process may have been faster.
    """
    check_unused(run)
    write_text(run / SCHEMA, schema + "\n")
    write_text(run / CONFIG, config)


def check_run(run: Path) -> None:
    """Raise unless ``run`` is a run folder."""
    if not (run / CONFIG).is_file():
        raise InputError(f"{run}: not a run folder (it holds no config.toml)")


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Keep a second process from training in the same folder; delete half-written files.

    Raises:
        InputError: another process trains there.
    """
    with file_lock(run / LOCK, busy=f"{run}: another process is training there"):
        sweep_partials(run.rglob(f"{PARTIAL}*"))
        yield


def best_score(run: Path, step: int) -> float:
    """The lowest selection score that was recorded before a step; infinity at the start."""
    scores = [x.get("score") for x in read_metrics(run) if x["step"] < step]
    return min((x for x in scores if x is not None), default=math.inf)


def last_step(run: Path, default: int) -> int:
    """The step of the last recorded evaluation."""
    lines = read_metrics(run)
    return int(lines[-1]["step"]) if lines else default
