"""Load test of a served generator: eight clients, good requests and wrong ones, for minutes.

``python benchmarks/serving_load.py [--minutes 5] [--out FILE.md]``. Every good answer is compared
with the exported graph called directly, every wrong request must be refused, and the memory of the
server is followed. Exit code 1 if a good request failed or a wrong one was answered. Model and
server are those of ``bench_serving.py``; the recorded result is ``serving_load.md``.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from bench_serving import (
    RECIPE,
    SENSORS,
    first_answer,
    memory,
    rows,
    server,
    server_command,
    write_versions,
)

from kerasgen.errors import InputError
from kerasgen.serving.client import GrpcClient, ModelClient, RestClient, ServingError
from kerasgen.serving.saved_model import load_exported

CLIENTS = 8
EVENTS = 4  # different ones that are asked for
WRONG: list[dict[str, Any]] = [
    {"sensor": np.zeros(1, np.float32), "seed": np.zeros((1, 2), np.int64)},
    {"sensor": np.zeros((1, 1), np.int32), "seed": np.zeros((1, 2), np.int64)},
    {"sensor": np.zeros(1, np.int32), "seed": np.zeros(2, np.int64)},
    {"sensor": np.zeros(2, np.int32), "seed": np.zeros((1, 2), np.int64)},
    {"sensor": np.zeros(1, np.int32)},
]


@dataclass
class Record:
    """What one client saw."""

    times: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    refused: int = 0
    answered: list[str] = field(default_factory=list)


def one_client(
    client: ModelClient, number: int, expected: list[dict[str, Any]], end: float, record: Record
) -> None:
    """Ask until the end: three good requests of some sensors, then a wrong one."""
    draw = np.random.default_rng(number)
    while time.monotonic() < end:
        for _ in range(3):
            event, first = int(draw.integers(EVENTS)), int(draw.integers(SENSORS))
            sensor, seed = (x[first : first + 4] for x in rows(event))
            start = time.perf_counter()
            try:
                found = client.digits(sensor, seed)
            except (ServingError, InputError) as error:
                record.failed.append(str(error))
                continue
            record.times.append(time.perf_counter() - start)
            whole = {k: x[first : first + 4] for k, x in expected[event].items()}
            longest = whole["count"].max()
            same = np.array_equal(found["count"], whole["count"])
            if not same or not np.array_equal(found["hits"], whole["hits"][:, :longest]):
                record.failed.append(f"event {event}, sensor {first}: other hits")
        wrong = int(draw.integers(len(WRONG) + 1))
        try:
            if wrong == len(WRONG):
                client.digits([40, -1], [[1, 2], [1, 2]])
            else:
                client.call("digits", **WRONG[wrong])
            record.answered.append(f"wrong request {wrong}")
        except InputError:
            record.refused += 1
        except ServingError as error:
            if error.code == "INVALID_ARGUMENT":
                record.refused += 1
            else:
                record.answered.append(str(error))


def load(minutes: float, folder: Path) -> tuple[list[Record], list[float]]:
    """What the clients saw, and the memory of the server every two seconds, MiB."""
    version, _ = write_versions(folder)
    exported = load_exported(version).generator
    expected = [
        {k: x.numpy() for k, x in exported.digits(*rows(event)).items()} for event in range(EVENTS)
    ]
    records, sizes = [Record() for _ in range(CLIENTS)], []
    with server(version.parent) as (process, port, rest_port):
        first_answer(process, GrpcClient(f"localhost:{port}", RECIPE, deadline=300))
        end = time.monotonic() + 60 * minutes
        threads = []
        for number, record in enumerate(records):
            client: ModelClient = GrpcClient(f"localhost:{port}", RECIPE)
            if number == CLIENTS - 1:
                client = RestClient(f"http://localhost:{rest_port}", RECIPE)
            work = (client, number, expected, end, record)
            threads.append(threading.Thread(target=one_client, args=work))
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            sizes.append(memory(process.pid, "VmRSS"))
            time.sleep(2)
    return records, sizes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--out", type=Path, help="file of the table")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        records, sizes = load(given.minutes, Path(folder))
    times = np.concatenate([r.times for r in records])
    failed = [x for r in records for x in r.failed]
    answered = [x for r in records for x in r.answered]
    fifth = max(len(sizes) // 5, 1)
    middle, last = np.median(sizes[fifth : 2 * fifth]), np.median(sizes[-fifth:])
    table = [
        ("server", Path(server_command()[-1]).name),
        ("clients (one over REST), minutes", f"{CLIENTS}, {given.minutes:g}"),
        ("good requests (4 sensors each), failed", f"{len(times)}, {len(failed)}"),
        ("wrong requests refused, answered or failed otherwise",
         f"{sum(r.refused for r in records)}, {len(answered)}"),
        ("time of a good request: median, 99 %, longest",
         ", ".join(f"{x:.2f} s" for x in (*np.quantile(times, [0.5, 0.99]), times.max()))),
        ("memory of the server, median of the second and of the last fifth of the time",
         f"{middle:.0f}, {last:.0f} MiB"),
    ]  # fmt: skip
    lines = [
        "| quantity | value |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in table),
    ]
    print("\n".join([*lines, *failed[:5], *answered[:5]]))
    if given.out:
        given.out.write_text("\n".join(lines) + "\n", "utf-8")
    return 1 if failed or answered else 0


if __name__ == "__main__":
    raise SystemExit(main())
