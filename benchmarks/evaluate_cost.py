"""Processor time and memory of an evaluation: 500 events with tracks, and a long file.

python benchmarks/evaluate_cost.py --folder FOLDER --out benchmarks/evaluate_cost.md
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from kerasgen.data.simulators import write_events
from kerasgen.data.store import EventFile, EventWriter

SIMULATED, BLOCK = 500, 20  # events of a simulated file, and of a block
SHIFT = 11  # rows by which a repeated event is shifted
SEEDS = {"real": 71, "made": 73}


def write_shifted(source: Path, path: Path, events: int) -> None:
    """Write repeated simulated events, each time with rows shifted cyclically around the sensor.

    Clusters, charges and sizes are those of the simulation, and no two images are copies.
    """
    with EventFile(source) as file, EventWriter(path, file.geometry, "shifted events") as writer:
        for first in range(0, events, BLOCK):
            repeat, start = divmod(first, file.n_events)
            hits = file.read_events(start, start + BLOCK)
            row = (hits.row + SHIFT * repeat) % file.geometry.rows
            number = first + np.repeat(np.arange(BLOCK), len(file.geometry.sensors))
            writer.write(replace(hits, row=row.astype(np.uint16), event=number))


def evaluation_cost(folder: Path, files: dict[str, Path], *more: str) -> dict[str, float]:
    """Cost of ``kerasgen evaluate`` in a process of its own, in seconds and GiB."""
    command = [sys.executable, "-m", "kerasgen.zoo.evaluate", "--out", str(folder / "report")]
    command += ["--reference", str(files["real"]), "--candidate", str(files["made"]), *more]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return {
        "processor": used.ru_utime + used.ru_stime,
        "wall": time.perf_counter() - start,
        "memory": used.ru_maxrss / 2**20,
    }


def table_row(name: str, files: dict[str, Path], cost: dict[str, float]) -> str:
    """Format a line of the table."""
    size = sum(path.stat().st_size for path in files.values()) / 1e9
    return (
        f"| {name} | {size:.2f} GB | {cost['processor']:.0f} s | {cost['wall']:.0f} s "
        f"| {cost['memory']:.2f} GiB |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="for the event files")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--events", type=int, default=10_000, help="of a long file")
    a = parser.parse_args()
    if a.events % BLOCK:
        parser.error(f"--events: a multiple of {BLOCK}")
    files = {name: a.folder / f"{name}.h5" for name in SEEDS}
    for name, path in files.items():
        if not path.exists():
            write_events("pxd", path, SIMULATED, SEEDS[name], processes=2)
    n = SIMULATED
    lines = [
        "# Cost of an evaluation",
        "",
        "`python benchmarks/evaluate_cost.py --folder FOLDER --out benchmarks/evaluate_cost.md`",
        "",
        f"The files have {n} simulated events (seeds {SEEDS['real']} and {SEEDS['made']}), or "
        f"{a.events}: the same events repeated, with rows shifted by {SHIFT} each time. The "
        f"machine has {os.cpu_count()} processor cores; other jobs make the wall-clock time "
        "longer.",
        "",
        "| `kerasgen evaluate --reference A.h5 --candidate B.h5` | files | processor | wall clock "
        "| memory, largest |",
        "|---|---|---|---|---|",
        table_row(
            f"{n} and {n} events, `--tracking`",
            files,
            evaluation_cost(a.folder, files, "--tracking"),
        ),
    ]
    a.out.write_text("\n".join(lines) + "\n")
    long = {name: a.folder / f"{name}-{a.events}.h5" for name in SEEDS}
    for name, path in long.items():
        write_shifted(files[name], path, a.events)
    lines.append(
        table_row(f"{a.events} and {a.events} events", long, evaluation_cost(a.folder, long))
    )
    a.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
