"""Several devices share a step, on JAX: the numbers of one device, in one process and in two."""

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
from shared_runs import Case, shared_case, tensors
from small_run import wait_for

from kerasgen.run_folder import LAST, METRICS, WEIGHTS

# Keras converts its variables so while it saves them.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
HERE = Path(__file__).parent
TWO = "--xla_force_host_platform_device_count=2"


@pytest.fixture(scope="module")
def case(shared_folder: Path) -> Case:
    return shared_case("sparse_vae", shared_folder)


def environment(**more: str) -> dict[str, str]:
    """Variables of a process on JAX."""
    return {"KERAS_BACKEND": "jax"} | more


def assert_close_weights(run: Path, other: Path) -> None:
    one, two = (tensors(folder / WEIGHTS) for folder in (run, other))
    assert one.keys() == two.keys()
    for name, values in one.items():
        np.testing.assert_allclose(values, two[name], rtol=1e-3, atol=1e-5, err_msg=name)


def test_two_devices_compute_the_losses_of_one() -> None:
    path = os.pathsep.join([str(HERE.parent / "models"), *sys.path])
    done = subprocess.run(
        [sys.executable, str(HERE / "distributed_steps.py")],
        env=os.environ | environment(XLA_FLAGS=TWO, PYTHONPATH=path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["devices"] == 2
    one, two = found["terms"]
    assert one[0] != one[1]
    for alone, shared in zip(one, two, strict=True):
        assert alone == pytest.approx(shared, rel=1e-4, abs=1e-5)


def test_rows_that_cannot_be_divided_are_on_every_device(
    shared_folder: Path, tmp_path: Path
) -> None:
    """Those of the adversarial stage of cluster growth: 13 pairs of clusters on two devices."""
    case = shared_case("cluster_growth", shared_folder)
    odd = ("--set", "adversarial.clusters=13", "--set", "adversarial.discriminator_steps=1")
    for name, more, flags in (("one", (), ""), ("two", ("--distribute",), TWO)):
        variables = environment(XLA_FLAGS=flags)
        process = case.start(tmp_path / name, *odd, *more, **variables)
        _, error = process.communicate(timeout=300)
        assert process.returncode == 0, error
    assert_close_weights(tmp_path / "one", tmp_path / "two")


def processes(case: Case, folder: Path, *more: str) -> list[subprocess.Popen[str]]:
    """Two processes that share a training."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    common = {"KERAS_DISTRIBUTION_JOB_ADDRESSES": address, "KERAS_DISTRIBUTION_NUM_PROCESSES": "2"}
    return [
        case.start(
            folder, "--distribute", *more,
            **environment(**common, KERAS_DISTRIBUTION_PROCESS_ID=str(i)),
        )
        for i in range(2)
    ]  # fmt: skip


def test_two_processes_of_which_one_is_killed(case: Case, tmp_path: Path) -> None:
    """They resume to the weights of one device."""
    folder = tmp_path / "two"
    first, second = processes(case, folder)
    wait_for(folder / METRICS, first)
    second.kill()
    _, error = first.communicate(timeout=300)
    assert first.returncode in (1, -signal.SIGABRT)  # JAX aborts where it waits for the other
    second.communicate()
    assert second.returncode == -signal.SIGKILL
    assert (folder / LAST).is_file(), error
    for process in processes(case, folder, "--resume"):
        _, error = process.communicate(timeout=300)
        assert process.returncode == 0, error
    alone = case.start(tmp_path / "one", **environment())
    _, error = alone.communicate(timeout=300)
    assert alone.returncode == 0, error
    assert_close_weights(tmp_path / "one", tmp_path / "two")


def test_what_cannot_be_shared_is_refused(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")  # where it is set, libraries print what they like

    def complaint(*more: str, **variables: str) -> str:
        process = case.start(tmp_path / "none", "--distribute", *more, **variables)
        _, error = process.communicate(timeout=300)
        assert process.returncode == 2, error
        assert not (tmp_path / "none").exists()
        (line,) = error.strip().splitlines()
        return line

    assert "set KERAS_BACKEND=jax" in complaint(KERAS_BACKEND="tensorflow")
    odd = environment(XLA_FLAGS=TWO)
    assert "must be a multiple of the 2 devices" in complaint("--set", "training.batch=7", **odd)
    wrong = environment(KERAS_DISTRIBUTION_NUM_PROCESSES="2", KERAS_DISTRIBUTION_PROCESS_ID="2")
    assert "KERAS_DISTRIBUTION_JOB_ADDRESSES (host:port" in complaint(**wrong)
    assert "each of which has its own clock" in complaint("--minutes", "1", **wrong)
