"""Load test of a served generator: valid and invalid requests of eight clients, for minutes.

``python benchmarks/serving_load.py [--minutes 5] [--out FILE.md]``. Each valid response is
compared with the exported graph, each invalid request must be refused, and the memory of the server
is recorded. Exit code 1 if a valid request failed or an invalid one was answered. Model and server
are those of ``bench_serving.py``; the recorded result is ``serving_load.md``.
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
    event_inputs,
    memory,
    named_inputs,
    server,
    server_command,
    wait_for_response,
    write_version,
)

from kerasgen.errors import InputError
from kerasgen.serving.client import GrpcClient, RestClient
from kerasgen.serving.model_client import ModelClient, ServingError
from kerasgen.serving.saved_model import load_exported

CLIENTS = 8
EVENTS = 4  # distinct events of the requests
INVALID: list[dict[str, Any]] = [
    {"sensor": np.zeros(1, np.float32), "seed": np.zeros((1, 2), np.int64)},
    {"sensor": np.zeros((1, 1), np.int32), "seed": np.zeros((1, 2), np.int64)},
    {"sensor": np.zeros(1, np.int32), "seed": np.zeros(2, np.int64)},
    {"sensor": np.zeros(2, np.int32), "seed": np.zeros((1, 2), np.int64)},
    {"sensor": np.zeros(1, np.int32)},
]


@dataclass
class Record:
    """Results of one client.

    Attributes:
        times: seconds of valid requests.
        failed: failures of valid requests.
        refused: number of refused invalid requests.
        answered: invalid requests that were answered or failed otherwise.
    """

    times: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    refused: int = 0
    answered: list[str] = field(default_factory=list)


def one_client(
    client: ModelClient, number: int, expected: list[dict[str, Any]], end: float, record: Record
) -> None:
    """Send requests until the end: three valid ones of four sensors, then an invalid one."""
    rng = np.random.default_rng(number)
    while time.monotonic() < end:
        for _ in range(3):
            event, first = int(rng.integers(EVENTS)), int(rng.integers(SENSORS))
            sensor, seed = (x[first : first + 4] for x in event_inputs(event))
            start = time.perf_counter()
            try:
                found = client.digits(sensor, seed)
            except (ServingError, InputError) as error:
                record.failed.append(str(error))
                continue
            record.times.append(time.perf_counter() - start)
            want = {k: x[first : first + 4] for k, x in expected[event].items()}
            longest = want["count"].max()
            same = np.array_equal(found["count"], want["count"])
            if not same or not np.array_equal(found["hits"], want["hits"][:, :longest]):
                record.failed.append(f"event {event}, sensor {first}: other hits")
        invalid = int(rng.integers(len(INVALID) + 1))
        try:
            if invalid == len(INVALID):
                client.digits([40, -1], [[1, 2], [1, 2]])
            else:
                client.call("digits", **INVALID[invalid])
            record.answered.append(f"invalid request {invalid}")
        except InputError:
            record.refused += 1
        except ServingError as error:
            if error.code == "INVALID_ARGUMENT":
                record.refused += 1
            else:
                record.answered.append(str(error))


def run_clients(minutes: float, folder: Path) -> tuple[list[Record], list[float]]:
    """Records of the clients, and the memory of the server every two seconds, MiB."""
    version = write_version(folder)
    exported = load_exported(version).generator
    expected = [
        {k: x.numpy() for k, x in exported.digits(**named_inputs(event)).items()}
        for event in range(EVENTS)
    ]
    records, sizes = [Record() for _ in range(CLIENTS)], []
    with server(version.parent) as (process, port, rest_port):
        wait_for_response(process, GrpcClient(f"localhost:{port}", RECIPE, deadline=300))
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
        records, sizes = run_clients(given.minutes, Path(folder))
    times = np.concatenate([r.times for r in records])
    failed = [x for r in records for x in r.failed]
    answered = [x for r in records for x in r.answered]
    fifth = max(len(sizes) // 5, 1)
    middle, last = np.median(sizes[fifth : 2 * fifth]), np.median(sizes[-fifth:])
    table = [
        ("server", Path(server_command()[-1]).name),
        ("clients (one over REST), minutes", f"{CLIENTS}, {given.minutes:g}"),
        ("valid requests (4 sensors each), failed", f"{len(times)}, {len(failed)}"),
        ("invalid requests refused, answered or failed otherwise",
         f"{sum(r.refused for r in records)}, {len(answered)}"),
        ("time of a valid request: median, 99 %, longest",
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
