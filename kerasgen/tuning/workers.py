"""A chief and its workers as processes of this machine, over KerasTuner's own protocol.

Workers elsewhere need no more than the same three variables, see the README.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from kerasgen.command import run
from kerasgen.errors import InputError
from kerasgen.tuning.one_run import end_with_the_search
from kerasgen.tuning.search import main

COMMAND = [sys.executable, "-m", "kerasgen.tuning.workers"]
PATIENCE = 150.0  # seconds that an interrupted worker has to save what it is at


def check_workers(workers: int, trials: int) -> None:
    """Raise unless so many workers make sense.

    Raises:
        InputError: more than there are cores or trials.
    """
    cores = len(os.sched_getaffinity(0))
    for most, what in ((trials, "trials"), (cores, "cores of this machine")):
        if workers > most:
            raise InputError(f"--workers {workers}: more than the {most} {what}")


@contextmanager
def started(workers: int, command: Sequence[str]) -> Iterator[None]:
    """Workers that run ``command``, and this process as their chief; ended on the way out.

    Args:
        workers: how many; the cores are shared among their trainings.
        command: arguments of ``kerasgen tune``.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    os.environ |= {"KERASTUNER_ORACLE_IP": "localhost", "KERASTUNER_ORACLE_PORT": str(port)}
    os.environ["KERASTUNER_TUNER_ID"] = "chief"
    threads = str(max(1, len(os.sched_getaffinity(0)) // workers))
    share = {"TF_NUM_INTRAOP_THREADS": threads, "OMP_NUM_THREADS": threads}
    processes = [
        subprocess.Popen(
            [*COMMAND, *command],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True,
            env=os.environ | share | {"KERASTUNER_TUNER_ID": f"worker{k}"},
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
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
            process.stdin.close()  # type: ignore[union-attr]


if __name__ == "__main__":
    end_with_the_search()
    raise SystemExit(run(main))
