"""Devices of one or more processes that share every training step (``keras.distribution``).

Each process runs the same training; its steps are one program on the global batch (SPMD):
variables are replicated, rows are divided among the devices, and the compiler adds the
communication. Hence batch statistics, embeddings and losses are those of the global batch, for
every algorithm.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kerasgen.errors import InputError
from kerasgen.run_folder import CONFIG, LAST, METRICS, SCHEMA

ADDRESSES, PROCESSES, PROCESS = (
    f"KERAS_DISTRIBUTION_{name}" for name in ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID")
)


def use_all_devices(batch: int) -> Any:
    """All devices, to share every step; to be called before anything is computed.

    They are those of this process, or of all processes that the environment variables of
    ``keras.distribution.initialize`` name.

    Args:
        batch: rows of the global batch.

    Returns:
        A ``keras.distribution.DeviceMesh``.

    Raises:
        InputError: another backend than JAX, wrong environment variables, or a batch that cannot
            be divided evenly.
    """
    import keras

    if keras.config.backend() != "jax":
        raise InputError("--distribute: several devices need JAX, set KERAS_BACKEND=jax")
    if PROCESSES in os.environ:
        check_processes()
        keras.distribution.initialize()
    devices = keras.distribution.list_devices()
    if batch % len(devices):
        raise InputError(
            f"training.batch = {batch}, the global batch, must be a multiple of the "
            f"{len(devices)} devices that share it"
        )
    return keras.distribution.DeviceMesh((len(devices),), ["batch"], devices)


def check_processes() -> None:
    """Raise InputError unless the environment names this process among several."""
    number, own = os.environ[PROCESSES], os.environ.get(PROCESS, "")
    good = number.isdecimal() and own.isdecimal() and int(own) < int(number)
    if not (good and ":" in os.environ.get(ADDRESSES, "")):
        raise InputError(
            f"--distribute: {ADDRESSES} (host:port of process 0), {PROCESSES} (N) and {PROCESS} "
            "(0..N-1) go together"
        )


def process() -> int:
    """The number of this process; 0 where there is one."""
    return int(os.environ[PROCESS]) if PROCESSES in os.environ else 0


@contextmanager
def copied(run: Path) -> Iterator[Path]:
    """A copy of what a run goes on from, for a process that shall not write into the run."""
    with tempfile.TemporaryDirectory() as folder:
        for name in (CONFIG, SCHEMA, METRICS, LAST):
            if (run / name).is_file():
                (Path(folder) / name).parent.mkdir(exist_ok=True)
                shutil.copy(run / name, Path(folder) / name)
        yield Path(folder)
