"""Several devices, or several machines, that share every training step (``tf.distribute``).

A step computes the same on any number of replicas as on one with the same global batch: batch
statistics, embeddings and random numbers are those of the global batch (``backend.replicas``).
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kerasgen.errors import InputError, RunFailure
from kerasgen.models.algorithm import Batches
from kerasgen.run_folder import CONFIG, LAST, METRICS, SCHEMA

TF_CONFIG = (
    '{"cluster": {"worker": ["host0:port", "host1:port"]}, "task": {"type": "worker", "index": 0}}'
)


def make_strategy(name: str | None) -> tf.distribute.Strategy:
    """The strategy of ``--strategy``; to be made before TensorFlow computes anything.

    "mirrored" takes all GPUs of this machine, or its logical CPU devices where there are none;
    "multiworker" the devices of all machines that ``TF_CONFIG`` names; None one device.

    Raises:
        InputError: ``TF_CONFIG`` is missing or wrong.
    """
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    if name == "multiworker":
        check_cluster(os.environ.get("TF_CONFIG", ""))
        return tf.distribute.MultiWorkerMirroredStrategy()
    return tf.distribute.get_strategy()


def check_cluster(text: str) -> None:
    """Raise unless the environment variable ``TF_CONFIG`` names this process among workers.

    Raises:
        InputError: it does not.
    """
    try:
        config = json.loads(text or "{}")
        workers, task = config["cluster"]["worker"], config["task"]
        good = task["type"] == "worker" and 0 <= int(task["index"]) < len(workers)
        good &= len(config["cluster"]) == 1 and all(":" in address for address in workers)
    except (ValueError, KeyError, TypeError):
        good = False
    if not good:
        raise InputError(
            f"--strategy multiworker: TF_CONFIG must be of the form {TF_CONFIG}, "
            f"not {text or 'unset'}"
        )


def worker() -> int:
    """The number of this process among the workers; 0 where there is one."""
    return int(json.loads(os.environ["TF_CONFIG"])["task"]["index"])


def distributed_dataset(
    strategy: tf.distribute.Strategy, batches: Batches, start: int, steps: int
) -> Any:
    """Batches from step ``start`` on; every replica gets its own rows of each part of a batch."""
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        return batches.dataset(start, steps)

    def worker_dataset(context: tf.distribute.InputContext) -> tf.data.Dataset:
        here = replicas // context.num_input_pipelines
        first = context.input_pipeline_id * here
        rows = [replica_rows(batches.rows, batches.parts, replicas, first + i) for i in range(here)]
        return batches.dataset(start, steps, rows)

    return strategy.distribute_datasets_from_function(worker_dataset)


def replica_rows(batch: int, parts: int, replicas: int, replica: int) -> NDArray[np.int64]:
    """Rows of the global batch that a replica has: its fraction of every part."""
    return np.arange(batch).reshape(parts, replicas, -1)[:, replica].reshape(-1)


@contextmanager
def copied(run: Path) -> Iterator[Path]:
    """A copy of what a run goes on from, for a worker that shall not write into the run."""
    with tempfile.TemporaryDirectory() as folder:
        for name in (CONFIG, SCHEMA, METRICS, LAST):
            if (run / name).is_file():
                (Path(folder) / name).parent.mkdir(exist_ok=True)
                shutil.copy(run / name, Path(folder) / name)
        yield Path(folder)


@contextmanager
def together(strategy: tf.distribute.Strategy, run: Path) -> Iterator[None]:
    """Tell that a worker was lost, which TensorFlow says at length.

    Raises:
        RunFailure: it was.
    """
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.InternalError) as error:
        if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            raise
        reason = str(error).strip().splitlines()[0]
        raise RunFailure(
            f"a worker was lost ({reason[:200]}); start all workers again with --resume "
            f"--run {run}, and they go on from the last checkpoint"
        ) from None
