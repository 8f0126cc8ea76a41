"""Cost of serving a generator: what an event of 40 sensors takes on its way to a client.

``python benchmarks/bench_serving.py [--out FILE.md]`` prints a table of Markdown; the recorded one
is ``bench_serving.md``. The model is ``pxd_biggan`` with the weights that it ships. The server is
``tensorflow_model_server`` where it is on the PATH, else the stand-in of the tests, which runs the
same graph behind the same protocols in Python. What is compared is measured in turns.
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
import tensorflow as tf

from kerasgen.backend.precision import describe_device
from kerasgen.errors import RunFailure
from kerasgen.models.pxd_gan.sampling import EventGenerator
from kerasgen.models.trained import load_trained
from kerasgen.serving.client import GrpcClient, RestClient
from kerasgen.serving.saved_model import export_model, load_exported

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
one_event(model.generator, model.geometry, 0, 1)
"""


def write_versions(out: Path) -> tuple[Path, EventGenerator]:
    """The folder of the exported version, and the generator that is in it."""
    trained = load_trained(RECIPE)
    return export_model(trained, out, RECIPE), trained.generator


def rows(event: int) -> tuple[Any, Any]:
    """Sensors and seeds of a whole event."""
    return np.arange(SENSORS, dtype=np.int32), np.tile(np.array([[1, event]]), (SENSORS, 1))


def in_turns(calls: dict[str, Callable[[int], object]], rounds: int) -> dict[str, list[float]]:
    """Wall time of each call in each round, after one round that does not count."""
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
    """The model server if there is one, else the stand-in."""
    return [BINARY] if shutil.which(BINARY) else [sys.executable, str(STAND_IN)]


@contextmanager
def server(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int, int]]:
    """A running server of the folder of versions; its gRPC and its REST port."""
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


def first_answer(process: subprocess.Popen[bytes], client: GrpcClient) -> None:
    """Wait until the server answers."""
    while True:
        try:
            client.digits([0], [[1, 0]])
            return
        except RunFailure:
            if process.poll() is not None:
                raise


def memory(process: int, what: str) -> float:
    """MiB of a process: VmRSS (now) or VmHWM (at most)."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    (line,) = (x for x in lines if x.startswith(what))
    return int(line.split()[1]) / 1024


def of_child(command: list[str]) -> tuple[float, float]:
    """Seconds and largest memory (MiB) of a process from its start to its end."""
    start, held = time.perf_counter(), 0.0
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    process = subprocess.Popen(
        command, env=quiet, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    # The system's own record would start with the memory of this process, which forked it.
    while process.poll() is None:
        with contextlib.suppress(ValueError):  # it has ended meanwhile
            held = memory(process.pid, "VmHWM")
        time.sleep(0.005)
    if process.returncode:
        raise RunFailure(f"{command[0]} ended with {process.returncode}")
    return time.perf_counter() - start, held


def c_program(folder: Path) -> Path:
    """The example in C, built."""
    source = ROOT / "examples" / "c"
    for name in ("Makefile", "generate_hits.c"):
        shutil.copy(source / name, folder)
    subprocess.run(["make", "-s", f"PYTHON={sys.executable}"], cwd=folder, check=True)
    return folder / "generate_hits"


def eager(events: EventGenerator, event: int) -> None:
    """The Keras network and all that follows it, operation by operation."""
    tf.config.run_functions_eagerly(True)
    try:
        events.dense(*rows(event))
    finally:
        tf.config.run_functions_eagerly(False)


def measure(rounds: int, out: Path) -> list[tuple[str, str]]:
    """Everything, as rows of a table."""
    version, events = write_versions(out)
    exported = load_exported(version).generator
    # What a client gets is in numpy's arrays, so that is what the graph is asked for too.
    calls: dict[str, Callable[[int], Any]] = {
        "plain Keras call, dense": lambda e: eager(events, e),
        "exported graph, dense": lambda e: exported.dense(*rows(e))["adu"].numpy(),
        "exported graph, digits": lambda e: exported.digits(*rows(e))["hits"].numpy(),
    }
    start = time.perf_counter()
    with server(version.parent) as (process, port, rest_port):
        grpc = GrpcClient(f"localhost:{port}", RECIPE, deadline=600)
        rest = RestClient(f"http://localhost:{rest_port}", RECIPE, deadline=600)
        first_answer(process, grpc)
        up = time.perf_counter() - start
        calls |= {
            "gRPC, digits": lambda e: grpc.digits(*rows(e)),
            "gRPC, dense": lambda e: grpc.dense(*rows(e)),
            "REST, digits": lambda e: rest.digits(*rows(e)),
        }
        times = in_turns(calls, rounds)
        held = memory(process.pid, "VmHWM")
        hits = int(grpc.digits(*rows(0))["count"].sum())
        grpc.close()
    table = [
        (f"server: {Path(server_command()[-1]).name}; hits per event", f"{hits}"),
        *((name, spread(values)) for name, values in times.items()),
    ]
    for kind in ("digits", "dense"):
        served, bare = (np.array(times[f"{x}, {kind}"]) for x in ("gRPC", "exported graph"))
        over = 100 * (served / bare - 1)
        table.append((f"gRPC over the bare graph, {kind}", f"{np.median(over):+.1f} %"))
    table.append(("start of the server to its first answer", f"{up:.1f} s"))
    table.append(("largest memory of the server", f"{held:.0f} MiB"))
    program = c_program(out)
    starts = {
        "Python, start to first event": [sys.executable, "-c", FIRST_EVENT, str(version)],
        "C program, start to first event": [str(program), str(version), "40", "1", "0", "1"],
    }
    for name, command in starts.items():
        found = [of_child(command) for _ in range(3)]
        took, size = (float(np.median(x)) for x in zip(*found, strict=True))
        table += [(name, f"{took:.1f} s"), (f"{name}: largest memory", f"{size:.0f} MiB")]
    return table


def spread(times: list[float]) -> str:
    """Median and quartiles, in seconds."""
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
