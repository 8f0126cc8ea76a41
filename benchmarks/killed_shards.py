"""A production of 100 jobs of which 30 are killed midway and started again.

``python benchmarks/killed_shards.py MODEL [--out FILE.md]``: MODEL is a run, a recipe with released
weights or the folder of an exported model. Each job is a process of ``kerasgen generate --shard``;
a doomed job is killed (SIGKILL) before its last event. The hits of all files are compared with
those of a single job for all events. Exit code 1 if an event is lost, repeated or different. The
recorded result is ``killed_shards.md``.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from kerasgen.data.hits import Hits, concatenate
from kerasgen.data.store import EventFile

SHARDS, DOOMED, EVENTS, SEED = 100, 30, 300, 5
KILLED = """
import os, signal, sys
from kerasgen.kinds import pixels
from kerasgen.zoo import generate
one_event = pixels.one_event
def killed(generator, geometry, event, seed):
    if event == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    return one_event(generator, geometry, event, seed)
pixels.one_event = killed
sys.exit(generate.main(sys.argv[2:]))
"""
COMMAND = "import sys; from kerasgen.zoo import generate; sys.exit(generate.main(sys.argv[1:]))"


def arguments(model: str, out: Path, *more: str) -> list[str]:
    """Arguments of ``kerasgen generate``."""
    common = ["--events", str(EVENTS), "--seed", str(SEED), "--resume", "--out", str(out)]
    return [model, *common, *more]


def run_shard(model: str, folder: Path, shard: int, kill: bool) -> int:
    """Generate a shard in a process of its own; its exit code."""
    options = arguments(
        model, folder / f"{shard:03d}.h5", "--shards", str(SHARDS), "--shard", str(shard)
    )
    last = (shard + 1) * EVENTS // SHARDS - 1
    head = ["-c", KILLED, str(last)] if kill else ["-c", COMMAND]
    return subprocess.run(
        [sys.executable, *head, *options], capture_output=True, text=True, check=False
    ).returncode


def events_of(path: Path) -> Hits:
    """Read all events of a file."""
    with EventFile(path) as file:
        return file.read_events(0, file.n_events)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--out", type=Path)
    a = parser.parse_args()
    doomed = set(np.random.default_rng(SEED).choice(SHARDS, DOOMED, replace=False).tolist())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "shards"
        folder.mkdir()
        start = time.perf_counter()
        with ThreadPoolExecutor(2) as pool:  # each waits for a process
            codes = list(
                pool.map(lambda k: run_shard(a.model, folder, k, k in doomed), range(SHARDS))
            )
        complete = len(list(folder.glob("[0-9]*.h5")))
        with ThreadPoolExecutor(2) as pool:
            again = list(pool.map(lambda k: run_shard(a.model, folder, k, False), range(SHARDS)))
        took = time.perf_counter() - start
        left = len(list(folder.iterdir())) - len(list(folder.glob("[0-9]*.h5")))
        parts = concatenate([events_of(p) for p in sorted(folder.glob("[0-9]*.h5"))])
        whole = Path(temporary) / "whole.h5"
        subprocess.run(
            [sys.executable, "-c", COMMAND, *arguments(a.model, whole)],
            capture_output=True,
            check=True,
        )
        once = events_of(whole)
    same = all(
        np.array_equal(getattr(parts, k), getattr(once, k))
        for k in ("indptr", "row", "col", "adu", "type", "sensor", "event")
    )
    rows = {
        "jobs, killed midway": f"{SHARDS}, {codes.count(-signal.SIGKILL)}",
        "files after the first round": complete,
        "jobs of the second round that failed": len(again) - again.count(0),
        "partial files left": left,
        "events, distinct events": f"{len(parts) // len(np.unique(once.sensor))}, "
        f"{len(np.unique(parts.event))}",
        "hits equal to those of a single job": f"{'all' if same else 'not all'} of {len(once.adu)}",
        "both rounds, two jobs at a time": f"{took:.0f} s",
    }
    table = "\n".join(
        ["| quantity | value |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items())]
    )
    print(table)
    if a.out:
        a.out.write_text(table + "\n", "utf-8")
    killed = codes.count(-signal.SIGKILL) == DOOMED and codes.count(0) == complete
    good = complete == SHARDS - DOOMED and again.count(0) == SHARDS
    return 0 if killed and good and same and not left else 1


if __name__ == "__main__":
    sys.exit(main())
