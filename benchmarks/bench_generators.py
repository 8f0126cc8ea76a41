"""Cost of an event of PXD background: Geant4, the fast simulator, the released and deep models.

    python benchmarks/bench_generators.py --out benchmarks/bench_generators.md

Each generator runs as the command of a user, in processes that share one core, one after another.
The cost of an event is the difference between a long and a short run over the difference of their
events, so that start-up is apart. ``pxd_biggan_deep`` has no weights: its network generates two
events in Python.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kerasgen.data.store import EventFile

MODULE = [sys.executable, "-m"]


@dataclass(frozen=True)
class Run:
    """Clock and processor time (s), largest memory of a process (MiB), file size (bytes)."""

    wall: float
    cpu: float
    memory: float
    size: int


def run(command: list[str], out: Path) -> Run:
    """Run a command on one core; its processes share it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    report = out.with_suffix(".memory")
    code = (
        "import os, resource, subprocess, sys; "
        "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); "
        "done = subprocess.run(sys.argv[2:]); "
        "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss; "
        "open(sys.argv[1], 'w').write(str(peak)); sys.exit(done.returncode)"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-c", code, str(report), *command],
        check=True,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(wall, cpu, int(report.read_text()) / 1024, out.stat().st_size)


def row(name: str, command: Callable[[int, Path], list[str]], short: int, long: int) -> str:
    """The row of a generator; ``command`` takes the number of events and the file."""
    with tempfile.TemporaryDirectory() as folder:
        few = run(command(short, Path(folder) / "few.h5"), Path(folder) / "few.h5")
        many = run(command(long, Path(folder) / "many.h5"), Path(folder) / "many.h5")
        with EventFile(Path(folder) / "many.h5") as file:
            pixels = file.n_hits / file.n_events
    n = long - short
    wall, cpu = (many.wall - few.wall) / n, (many.cpu - few.cpu) / n
    start = few.wall - short * wall
    return (
        f"| {name} | {wall:.3f} | {cpu:.3f} | {start:.1f} | {many.memory:.0f} "
        f"| {many.size / long / 1000:.0f} | {pixels:.0f} |"
    )


def simulator(engine: str) -> Callable[[int, Path], list[str]]:
    def command(events: int, out: Path) -> list[str]:
        module = [*MODULE, "kerasgen.data.simulate", "pxd", "--engine", engine]
        return [*module, "--events", str(events), "--seed", "77", "--out", str(out)]

    return command


def model(run_name: str) -> Callable[[int, Path], list[str]]:
    def command(events: int, out: Path) -> list[str]:
        module = [*MODULE, "kerasgen.zoo.generate", run_name]
        return [*module, "--events", str(events), "--seed", "77", "--out", str(out)]

    return command


DEEP = """
import os, resource, time
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
from benchmarks.bench_training import generator_of
from kerasgen.data.geometry import load_geometry
from kerasgen.kinds.pixels import PIXELS
start = time.perf_counter()
trained = generator_of("pxd_biggan_deep", load_geometry("belle2-pxd"))
PIXELS.generate(trained, range(1), 0)
ready, cpu = time.perf_counter(), time.process_time()
PIXELS.generate(trained, range(1, 3), 0)
wall, cpu = time.perf_counter() - ready, time.process_time() - cpu
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(wall / 2, cpu / 2, ready - start - wall / 2, memory)
"""


def deep_row() -> str:
    """The row of the untrained ``pxd_biggan_deep``, whose events mean nothing but their cost."""
    done = subprocess.run(
        [sys.executable, "-c", DEEP],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"},
    )
    wall, cpu, start, memory = map(float, done.stdout.split()[-4:])
    return (
        f"| pxd_biggan_deep, untrained, in Python | {wall:.3f} | {cpu:.3f} | {start:.1f} "
        f"| {memory:.0f} | - | - |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="Markdown file")
    parser.add_argument("--model", default="pxd_biggan", help="run or released model")
    a = parser.parse_args()
    rows = [
        row("Geant4", simulator("geant4"), 2, 12),
        row("fast simulator", simulator("fast"), 10, 60),
        row(a.model, model(a.model), 10, 60),
    ]
    rows.append(deep_row())
    lines = [
        "# Cost of an event of PXD background",
        "",
        "`python benchmarks/bench_generators.py`: one core; the cost of an event is the slope "
        "between a short and a long run of the command. Memory is that of the largest process.",
        "",
        "| generator | s per event | processor s per event | start-up, s | MiB | kB per event "
        "| fired pixels |",
        "|---|---|---|---|---|---|---|",
        *rows,
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if a.out:
        a.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
