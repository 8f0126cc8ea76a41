"""A chief and its workers as processes of this machine, over KerasTuner's own protocol.

Workers on other machines need the same three environment variables, see docs/tuning.md.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from kerasgen.errors import InputError

COMMAND = [sys.executable, "-m", "kerasgen.tuning.worker"]
GRACE_PERIOD = 150.0  # seconds that an interrupted worker has to save its trial


def check_workers(workers: int, trials: int) -> None:
    """Raise unless this machine and the search can occupy so many workers.

    Raises:
        InputError: more workers than cores or trials.
    """
    cores = len(os.sched_getaffinity(0))
    for limit, noun in ((trials, "trials"), (cores, "cores of this machine")):
        if workers > limit:
            raise InputError(f"--workers {workers}: more than the {limit} {noun}")


@contextmanager
def running_workers(workers: int, command: Sequence[str]) -> Iterator[None]:
    """Start workers with this process as their chief; the workers end with the context.

    Args:
        workers: number of workers; their trainings share the cores.
        command: arguments of ``kerasgen tune``.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    os.environ |= {"KERASTUNER_ORACLE_IP": "localhost", "KERASTUNER_ORACLE_PORT": str(port)}
    os.environ["KERASTUNER_TUNER_ID"] = "chief"
    count = str(max(1, len(os.sched_getaffinity(0)) // workers))
    threads = {"TF_NUM_INTRAOP_THREADS": count, "OMP_NUM_THREADS": count}
    processes = [
        subprocess.Popen(
            [*COMMAND, *command],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True,
            env=os.environ | threads | {"KERASTUNER_TUNER_ID": f"worker{k}"},
        )
        for k in range(workers)
    ]  # fmt: skip
    try:
        yield
    finally:
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in processes:
            try:
                process.wait(GRACE_PERIOD)
            except subprocess.TimeoutExpired:
                process.kill()
            process.stdin.close()  # type: ignore[union-attr]
