"""Cost of serving a generator: time of an event of 40 sensors from the graph to a client.

``python benchmarks/bench_serving.py [--out FILE.md]`` prints a Markdown table; the recorded one is
``bench_serving.md``. The model is ``pxd_biggan`` with its released weights. The server is
``tensorflow_model_server`` where it is on the PATH, else the stand-in of the tests, which runs the
same graph behind the same protocols in Python. The calls are measured in turns.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from kerasgen.backend.precision import describe_device
from kerasgen.errors import RunFailure
from kerasgen.serving.client import GrpcClient, RestClient
from kerasgen.serving.saved_model import export_model, load_exported
from kerasgen.zoo.lookup import load_run

ROOT = Path(__file__).resolve().parents[1]
SENSORS = 40
RECIPE = "pxd_biggan"
BINARY = "tensorflow_model_server"
STAND_IN = ROOT / "tests" / "serving" / "prediction_server.py"
# A process of its own, from its start to the first event.
FIRST_EVENT = """
import sys
from pathlib import Path
from kerasgen.serving.saved_model import load_exported
from kerasgen.data.pixel_events import one_event
model = load_exported(Path(sys.argv[1]))
one_event(model.generator, model.schema, 0, 1)
"""


def write_version(out: Path) -> Path:
    """Export the model; the folder of the version."""
    return export_model(load_run(RECIPE), out, RECIPE)


def event_inputs(event: int) -> tuple[Any, Any]:
    """Sensors and seeds of all images of an event."""
    return np.arange(SENSORS, dtype=np.int32), np.tile(np.array([[1, event]]), (SENSORS, 1))


def named_inputs(event: int) -> dict[str, Any]:
    """``event_inputs`` by the names of the signatures."""
    return dict(zip(("sensor", "seed"), event_inputs(event), strict=True))


def in_turns(calls: dict[str, Callable[[int], object]], rounds: int) -> dict[str, list[float]]:
    """Wall time of each call in each round, after a warm-up round."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for event in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call(event)
            if event:
                times[name].append(time.perf_counter() - start)
    return times


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def server_command() -> list[str]:
    """Command of the model server if there is one, else of the stand-in."""
    return [BINARY] if shutil.which(BINARY) else [sys.executable, str(STAND_IN)]


@contextmanager
def server(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int, int]]:
    """Run a server of a folder of versions; yield the process, its gRPC and its REST port."""
    port, rest_port = free_port(), free_port()
    command = [
        *server_command(), f"--port={port}", f"--rest_api_port={rest_port}",
        f"--model_name={RECIPE}", f"--model_base_path={folder}",
        "--enable_serialization_as_tensor_content=true",
    ]  # fmt: skip
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    with subprocess.Popen(command, env=quiet, stderr=subprocess.DEVNULL) as process:
        try:
            yield process, port, rest_port
        finally:
            process.terminate()


def wait_for_response(process: subprocess.Popen[bytes], client: GrpcClient) -> None:
    """Wait until the server answers."""
    while True:
        try:
            client.digits([0], [[1, 0]])
            return
        except RunFailure:
            if process.poll() is not None:
                raise


def memory(process: int, field: str) -> float:
    """Memory of a process, MiB: VmRSS (now) or VmHWM (peak)."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    (line,) = (x for x in lines if x.startswith(field))
    return int(line.split()[1]) / 1024


def child_cost(command: list[str]) -> tuple[float, float]:
    """Seconds and peak memory (MiB) of a process from its start to its end."""
    start, peak = time.perf_counter(), 0.0
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    process = subprocess.Popen(
        command, env=quiet, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    # The rusage of the child would start with the memory of this process, which forked it.
    while process.poll() is None:
        with contextlib.suppress(ValueError):  # it has ended meanwhile
            peak = memory(process.pid, "VmHWM")
        time.sleep(0.005)
    if process.returncode:
        raise RunFailure(f"{command[0]} ended with {process.returncode}")
    return time.perf_counter() - start, peak


def c_program(folder: Path) -> Path:
    """Build the example in C."""
    source = ROOT / "examples" / "c"
    for name in ("Makefile", "generate_hits.c"):
        shutil.copy(source / name, folder)
    subprocess.run(["make", "-s", f"PYTHON={sys.executable}"], cwd=folder, check=True)
    return folder / "generate_hits"


def measure(rounds: int, out: Path) -> list[tuple[str, str]]:
    """Rows of the table."""
    version = write_version(out)
    exported = load_exported(version).generator
    dense, digits = exported.serving_default, exported.digits
    # Clients return numpy arrays, so the graph has to as well.
    calls: dict[str, Callable[[int], Any]] = {
        "exported graph, dense": lambda e: dense(**named_inputs(e))["adu"].numpy(),
        "exported graph, digits": lambda e: digits(**named_inputs(e))["hits"].numpy(),
    }
    start = time.perf_counter()
    with server(version.parent) as (process, port, rest_port):
        grpc = GrpcClient(f"localhost:{port}", RECIPE, deadline=600)
        rest = RestClient(f"http://localhost:{rest_port}", RECIPE, deadline=600)
        wait_for_response(process, grpc)
        up = time.perf_counter() - start
        calls |= {
            "gRPC, digits": lambda e: grpc.digits(*event_inputs(e)),
            "gRPC, dense": lambda e: grpc.dense(*event_inputs(e)),
            "REST, digits": lambda e: rest.digits(*event_inputs(e)),
        }
        times = in_turns(calls, rounds)
        peak = memory(process.pid, "VmHWM")
        hits = int(grpc.digits(*event_inputs(0))["count"].sum())
        grpc.close()
    table = [
        (f"server: {Path(server_command()[-1]).name}; hits per event", f"{hits}"),
        *((name, median_and_quartiles(values)) for name, values in times.items()),
    ]
    for output in ("digits", "dense"):
        served, bare = (np.array(times[f"{x}, {output}"]) for x in ("gRPC", "exported graph"))
        overhead = 100 * (served / bare - 1)
        table.append((f"gRPC over the bare graph, {output}", f"{np.median(overhead):+.1f} %"))
    table.append(("start of the server to its first response", f"{up:.1f} s"))
    table.append(("largest memory of the server", f"{peak:.0f} MiB"))
    program = c_program(out)
    starts = {
        "Python, start to first event": [sys.executable, "-c", FIRST_EVENT, str(version)],
        "C program, start to first event": [str(program), str(version), "40", "1", "0", "1"],
    }
    for name, command in starts.items():
        found = [child_cost(command) for _ in range(3)]
        took, size = (float(np.median(x)) for x in zip(*found, strict=True))
        table += [(name, f"{took:.1f} s"), (f"{name}: largest memory", f"{size:.0f} MiB")]
    return table


def median_and_quartiles(times: list[float]) -> str:
    """Format median and quartiles, in seconds."""
    low, middle, high = np.quantile(times, [0.25, 0.5, 0.75])
    return f"{middle:.3f} s ({low:.3f} to {high:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="file of the table")
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    print(describe_device())
    with tempfile.TemporaryDirectory() as folder:
        table = measure(given.rounds, Path(folder))
    lines = ["| event of 40 sensors | median (quartiles) |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in table]
    print("\n".join(lines))
    if given.out:
        given.out.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
