"""One step on several devices, in one process and in two, is the step of one device."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from small_run import resume_command, train_command, wait_for, write_events
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

from kerasgen.backend.random_numbers import normal, replica_normal
from kerasgen.data.pipeline import ImageSampler
from kerasgen.data.store import EventFile
from kerasgen.errors import InputError
from kerasgen.models.pxd_gan.algorithm import ALGORITHM
from kerasgen.training.distribution import check_cluster, replica_rows
from kerasgen.zoo.recipes import load_config

SCRIPT = Path(__file__).with_name("distributed_run.py")
STEPS = ("--set", "training.steps=8", "--set", "training.pretraining_steps=4")
QUICK = ("--set", "calibration.events=0", *STEPS)
# Long enough for a kill between two evaluations.
LONG = ("--set", "training.steps=40", "--set", "training.pretraining_steps=40")
PRETRAINING = ("--set", "calibration.events=0", *LONG, "--set", "training.evaluate_every=20")
MIRRORED, WORKERS = ("--strategy", "mirrored"), ("--strategy", "multiworker")


def start(
    devices: int, *trainings: list[str], task: int | None = None, ports: tuple[int, ...] = ()
) -> subprocess.Popen[str]:
    """A process that trains; with ``task``, one of the workers on ``ports``."""
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1"}
    # One thread for all operations is too few where workers wait for each other.
    del environment["TF_NUM_INTEROP_THREADS"]
    if task is not None:
        cluster = {"worker": [f"localhost:{port}" for port in ports]}
        role = {"type": "worker", "index": task}
        environment["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": role})
    arguments = [x for command in trainings for x in ("--", *command[3:])]
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(devices), *arguments],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and standard error."""
    _, error = process.communicate(timeout=400)
    assert "Traceback" not in error
    return process.returncode, error


def free_ports() -> tuple[int, ...]:
    """Two ports that no one listens on."""
    with socket.socket() as a, socket.socket() as b:
        for x in (a, b):
            x.bind(("localhost", 0))
        return a.getsockname()[1], b.getsockname()[1]


def curves(run: Path) -> dict[str, dict[int, float]]:
    """Every loss term in TensorBoard: step -> value."""
    events = EventAccumulator(str(run / "logs"), size_guidance={"tensors": 0})
    events.Reload()
    tags = [
        x
        for x in events.Tags()["tensors"]
        if x.split("/")[0] in ("pretraining", "discriminator", "generator")
    ]
    return {
        tag: {x.step: float(tf.make_ndarray(x.tensor_proto)) for x in events.Tensors(tag)}
        for tag in tags
    }


def assert_same_curves(run: Path, whole: Path, term: str, steps: int) -> None:
    """Every loss term of every step, within what rounding has grown to."""
    found, expected = curves(run), curves(whole)
    assert found.keys() == expected.keys()
    assert len(expected[term]) == steps
    for tag, values in expected.items():
        assert found[tag].keys() == values.keys()
        for step, value in values.items():
            assert found[tag][step] == pytest.approx(value, rel=1e-3, abs=1e-3), (tag, step)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("many devices")
    write_events(path / "events.h5")
    return path


@pytest.fixture(scope="module")
def runs(folder: Path) -> dict[str, Path]:
    """Trainings on one device and on two, and a pre-training on one."""
    commands = {
        "one": train_command(folder / "events.h5", folder / "one", *QUICK),
        "two": train_command(folder / "events.h5", folder / "two", *QUICK, *MIRRORED),
        "pretraining": train_command(folder / "events.h5", folder / "pretraining", *PRETRAINING),
    }
    code, error = finished(start(2, *commands.values()))
    assert code == 0, error
    return {name: folder / name for name in commands}


def test_two_devices(runs: dict[str, Path]) -> None:
    assert_same_curves(runs["two"], runs["one"], "discriminator/contrastive", 4)


def test_two_workers_of_which_one_is_killed(folder: Path, runs: dict[str, Path]) -> None:
    run, ports = folder / "workers", free_ports()
    command = train_command(folder / "events.h5", run, *PRETRAINING, *WORKERS)
    workers = [start(1, command, task=task, ports=ports) for task in (0, 1)]
    wait_for(run / "metrics.jsonl", workers[0])
    workers[1].send_signal(signal.SIGKILL)
    workers[1].communicate()
    code, error = finished(workers[0])
    assert code == 1
    assert "a worker was lost" in error
    assert "--resume" in error
    ports = free_ports()
    command = [*resume_command(run), *WORKERS]
    workers = [start(1, command, task=task, ports=ports) for task in (0, 1)]
    for worker in workers:
        code, error = finished(worker)
        assert code == 0, error
    assert_same_curves(run, runs["pretraining"], "pretraining/fired", 40)


def test_a_replica_draws_its_rows_of_the_batch() -> None:
    seed = tf.constant([3, -5], tf.int64)
    whole = normal(seed, [6, 5, 4]).numpy()
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    assert strategy.num_replicas_in_sync == 1
    np.testing.assert_array_equal(replica_normal(seed, [6, 5, 4]), whole)
    assert replica_normal(seed, [6, 5]).shape == (6, 5)


def test_rows_of_replicas_make_the_batch(folder: Path) -> None:
    rows = [replica_rows(12, 2, 3, k) for k in range(3)]
    assert rows[1].tolist() == [2, 3, 8, 9]
    assert sorted(np.concatenate(rows)) == list(range(12))
    with EventFile(folder / "events.h5") as file:
        sampler = ImageSampler(file, range(8), 12, 0, (16, 32), dequantise=True)
        whole = sampler.batch_at(5)
        for part in rows:
            for name, value in sampler.batch_at(5, part).items():
                np.testing.assert_array_equal(value, whole[name][part], err_msg=name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        '{"cluster": {"worker": ["a:1", "b:2"]}}',
        '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 2}}',
        '{"cluster": {"worker": ["a", "b"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"ps": ["a:1"], "worker": ["b:2"]}, "task": {"type": "worker", "index": 0}}',
    ],
)
def test_cluster_that_is_none(text: str) -> None:
    with pytest.raises(InputError, match="TF_CONFIG must be of the form"):
        check_cluster(text)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (["training.batch=8"], "training.batch = 8, the global batch, must be a multiple of the 3"),
        (
            ["training.batch=6", "training.pretraining_every=3"],
            "multiple of the 3 devices that share it, times training.pretraining_every = 3",
        ),
        (["training.batch=6", "training.accumulate=2"], "training.accumulate = 2: 1 with"),
    ],
)
def test_batch_that_cannot_be_shared(changes: list[str], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        ALGORITHM.check_devices(load_config("pxd_biggan", changes=changes), 3)
