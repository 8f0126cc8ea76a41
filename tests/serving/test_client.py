"""The clients, against servers over real sockets that run the real SavedModel.

Every test with the fixture ``served`` runs against the stand-in of ``prediction_server`` and, if it
is on the PATH, against the real ``tensorflow_model_server``.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from prediction_server import Server
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
from toy_run import toy_geometry, write_toy_run

from kerasgen.data.pixel_events import event_hits
from kerasgen.errors import InputError
from kerasgen.models.trained import Trained, load_trained
from kerasgen.serving import model_client
from kerasgen.serving.client import GrpcClient, RestClient
from kerasgen.serving.exported import Exported
from kerasgen.serving.model_client import ModelClient, ServingError
from kerasgen.serving.saved_model import export_model, load_exported

BINARY = "tensorflow_model_server"
CONFIGS = Path(__file__).parents[2] / "exported"
SENSORS = np.array([2, 0, 1, 2, 0], np.int32)
SEEDS = np.array([[1, 0], [1, 0], [5, 2**40], [1, 0], [-3, 7]], np.int64)
INPUTS: dict[str, Any] = {"sensor": SENSORS, "seed": SEEDS}


@dataclass
class Served:
    """A running server and the folder of the model ``toy`` that it serves."""

    folder: Path
    port: int
    rest_port: int

    def grpc(self, model: str = "toy", *arguments: Any, **more: Any) -> GrpcClient:
        return GrpcClient(f"localhost:{self.port}", model, *arguments, **more)

    def rest(self, model: str = "toy", *arguments: Any, **more: Any) -> RestClient:
        return RestClient(f"http://localhost:{self.rest_port}/", model, *arguments, **more)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return load_trained(write_toy_run(tmp_path_factory.mktemp("runs") / "toy-1"))


@pytest.fixture(scope="module")
def folder(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_model(trained, tmp_path_factory.mktemp("exported"), "toy").parent


@pytest.fixture(scope="module")
def exported(folder: Path) -> Exported:
    return load_exported(folder / "1")


@pytest.fixture(scope="module")
def stand_in(folder: Path) -> Iterator[Server]:
    server = Server({"toy": folder}, max_batch_size=40)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module", params=["stand-in", BINARY])
def served(
    request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    if request.param == "stand-in":
        server = request.getfixturevalue("stand_in")
        yield Served(folder, server.port, server.rest_port)
        return
    if not shutil.which(BINARY):
        pytest.skip(f"{BINARY} is not on the PATH: the same tests ran against the stand-in alone")
    port, rest_port = free_port(), free_port()
    command = [
        BINARY, f"--port={port}", f"--rest_api_port={rest_port}", "--model_name=toy",
        f"--model_base_path={folder}", "--enable_batching=true",
        f"--batching_parameters_file={CONFIGS / 'batching.config'}",
        f"--monitoring_config_file={CONFIGS / 'monitoring.config'}",
        "--file_system_poll_wait_seconds=1",
    ]  # fmt: skip
    log = tmp_path_factory.mktemp("log") / "server.log"
    with open(log, "w") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        try:
            wait_for_server(rest_port, process, log)
            yield Served(folder, port, rest_port)
        finally:
            process.terminate()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def wait_for_server(port: int, process: subprocess.Popen[Any], log: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"http://localhost:{port}/v1/models/toy") as answer:
                if b"AVAILABLE" in answer.read():
                    return
        except OSError:
            pass
        time.sleep(0.2)
    raise AssertionError(log.read_text())


@pytest.fixture(params=["grpc", "rest"])
def toy(request: pytest.FixtureRequest, served: Served) -> ModelClient:
    found: ModelClient = getattr(served, request.param)()
    return found


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name].dtype == np.asarray(values).dtype, name
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_answers_are_the_bits_of_the_model(toy: ModelClient, exported: Exported) -> None:
    assert_same(toy.dense(SENSORS, SEEDS), exported.generator.serving_default(**INPUTS))
    assert_same(toy.digits(SENSORS, SEEDS), exported.generator.digits(**INPUTS))
    assert_same(toy.call("digits", **INPUTS), exported.generator.digits(**INPUTS))


def test_long_requests_are_split(
    toy: ModelClient, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_client, "MAX_ROWS", 2)
    assert_same(toy.dense(SENSORS, SEEDS), exported.generator.serving_default(**INPUTS))
    assert_same(toy.digits(SENSORS, SEEDS), exported.generator.digits(**INPUTS))


def test_a_client_replaces_a_generator(toy: ModelClient, exported: Exported) -> None:
    geometry = toy_geometry()
    found = event_hits(toy, geometry, range(4, 6), 9)
    expected = event_hits(exported.generator, geometry, range(4, 6), 9)
    for name, values in vars(expected).items():
        np.testing.assert_array_equal(getattr(found, name), values, err_msg=name)


def test_an_unknown_sensor_is_named(toy: ModelClient) -> None:
    for sensor in (3, -1, 40):
        for ask in (toy.dense, toy.digits):
            with pytest.raises(InputError, match=f"row 1: the model has no sensor {sensor}"):
                ask([0, sensor], [[1, 2], [1, 2]])


def test_names_and_versions(served: Served) -> None:
    for make in (served.grpc, served.rest):
        assert len(make("toy", 1).digits(SENSORS, SEEDS)["count"]) == 5
        for model, version in (("toy", 7), ("toy", "canary"), ("pxd", None)):
            with pytest.raises(ServingError) as caught:
                make(model, version).digits(SENSORS, SEEDS)
            assert caught.value.code in ("NOT_FOUND", "INVALID_ARGUMENT")
            assert f"model {model}: " in str(caught.value)
        with pytest.raises(ServingError, match=r"INVALID_ARGUMENT.*signature"):
            make().call("nonsense", **INPUTS)


def test_many_at_the_same_time(served: Served, exported: Exported) -> None:
    def ask(job: int) -> Any:
        toy = served.grpc() if job % 4 else served.rest()
        return toy.digits(SENSORS, SEEDS + job)

    with ThreadPoolExecutor(8) as pool:
        for job, found in enumerate(pool.map(ask, range(24))):
            assert_same(found, exported.generator.digits(sensor=SENSORS, seed=SEEDS + job))


def unchecked_request(served: Served, signature: str, **inputs: Any) -> Any:
    """Outputs of a gRPC request without the checks of ``GrpcClient``."""
    message = predict_pb2.PredictRequest()
    message.model_spec.name = "toy"
    message.model_spec.signature_name = signature
    for name, values in inputs.items():
        message.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    with grpc.insecure_channel(f"localhost:{served.port}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        outputs = stub.Predict(message, timeout=60).outputs
    return {name: tf.make_ndarray(x) for name, x in outputs.items()}


WRONG = {
    "wrong dtype": {"sensor": SENSORS.astype(np.int64), "seed": SEEDS},
    "floats": {"sensor": SENSORS.astype(np.float32), "seed": SEEDS},
    "wrong rank": {"sensor": SENSORS[:, None], "seed": SEEDS},
    "scalar": {"sensor": np.int32(1), "seed": SEEDS},
    "seed without pairs": {"sensor": SENSORS, "seed": SEEDS[:, 0]},
    "unequal rows": {"sensor": SENSORS[:4], "seed": SEEDS},
    "input missing": {"sensor": SENSORS},
    "input unknown": {"sensor": SENSORS, "seed": SEEDS, "x": SENSORS},
    "10 000 rows": {"sensor": np.zeros(10_000, np.int32), "seed": np.zeros((10_000, 2), np.int64)},
}


def test_wrong_requests_get_a_status_and_harm_no_other(served: Served, exported: Exported) -> None:
    """Each wrong request eight times, at the same time as good requests."""
    good, ended = [], threading.Event()

    def keep_asking() -> None:
        toy = served.grpc()
        while not ended.is_set():
            good.append(toy.digits(SENSORS, SEEDS))

    thread = threading.Thread(target=keep_asking)
    thread.start()
    try:
        for signature in ("serving_default", "digits"):
            for name, inputs in WRONG.items():
                for _ in range(8):
                    with pytest.raises(grpc.RpcError) as caught:
                        unchecked_request(served, signature, **inputs)
                    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT, name
                    assert caught.value.details(), name
        unknown = np.array([40, -1, 0, 2**31 - 1, -(2**31)], np.int32)
        dense = unchecked_request(served, "serving_default", sensor=unknown, seed=SEEDS)
        np.testing.assert_array_equal(dense["status"], [1, 1, 0, 1, 1])
        assert not dense["adu"][[0, 1, 3, 4]].any()
        empty = unchecked_request(served, "digits", sensor=SENSORS[:0], seed=SEEDS[:0])
        assert empty["hits"].shape == (0, 0, 3)
    finally:
        ended.set()
        thread.join()
    assert len(good) > 5
    for found in good:
        assert_same(found, exported.generator.digits(**INPUTS))


def test_wrong_text_over_rest(served: Served) -> None:
    url = f"http://localhost:{served.rest_port}/v1/models/toy:predict"
    for body in (b"", b"{", b"[]", b'{"inputs": {"sensor": [0.5], "seed": [[1, 2]]}}',
                 b'{"inputs": {"sensor": ["a"], "seed": [[1, 2]]}}',
                 b'{"inputs": {"sensor": [[0]], "seed": [[1, 2]]}}'):  # fmt: skip
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(url, body)
        caught.value.close()
        assert caught.value.code == 400, body
    assert len(served.rest().digits(SENSORS, SEEDS)["count"]) == 5


def test_a_new_version_under_load(served: Served, trained: Trained) -> None:
    """No request fails, and the new version answers at the end."""
    good, failed, ended = [], [], threading.Event()

    def keep_asking(toy: ModelClient) -> None:
        while not ended.is_set():
            try:
                good.append(toy.digits(SENSORS[:1], SEEDS[:1]))
            except ServingError as error:
                failed.append(error)

    makers = (served.grpc, served.rest, served.grpc)
    threads = [threading.Thread(target=keep_asking, args=[m(attempts=1)]) for m in makers]
    for thread in threads:
        thread.start()
    new = export_model(trained, served.folder.parent, "toy")
    try:
        number, end = int(new.name), time.monotonic() + 60
        while not is_served(served.grpc("toy", number)):
            assert time.monotonic() < end
            time.sleep(0.1)
        asked = len(good)
        time.sleep(0.3)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
        shutil.rmtree(new)
    assert not failed
    assert len(good) > asked > 0
    end = time.monotonic() + 60
    while not is_served(served.grpc("toy", 1)):
        assert time.monotonic() < end
        time.sleep(0.1)


def is_served(toy: ModelClient) -> bool:
    """Whether the server has the version of the client."""
    try:
        return len(toy.digits(SENSORS, SEEDS)["count"]) == 5
    except ServingError as error:
        if error.code != "NOT_FOUND":
            raise
        return False


@pytest.mark.parametrize("kind", ["grpc", "rest"])
def test_invalid_inputs_are_not_sent(stand_in: Server, kind: str) -> None:
    toy = getattr(Served(Path(), stand_in.port, stand_in.rest_port), kind)()
    before = stand_in.requests
    for sensor, seed, text in (
        ([], np.zeros((0, 2), np.int64), "no rows"),
        ([0.5], [[1, 2]], "whole numbers"),
        (3, [[1, 2]], "1 dimension"),
        ([[1]], [[1, 2]], "1 dimension"),
        ([1], [1, 2], "2 dimension"),
        ([1], [[1, 2, 3]], r"expected \[1, 2\]"),
        ([1, 2], [[1, 2]], r"expected \[2, 2\]"),
        ([2**31], [[1, 2]], "allowed: -2147483648..2147483647"),
        ([1], np.array([[1, 2**63]], np.uint64), "allowed: "),
    ):
        with pytest.raises(InputError, match=text):
            toy.digits(sensor, seed)
    assert stand_in.requests == before


@pytest.mark.parametrize("kind", ["grpc", "rest"])
def test_deadlines_and_attempts(
    stand_in: Server, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_client, "RETRY_PAUSE", 0.01)
    make = getattr(Served(Path(), stand_in.port, stand_in.rest_port), kind)
    stand_in.failures, before = 3, stand_in.requests
    assert len(make().digits(SENSORS, SEEDS)["count"]) == 5
    assert stand_in.requests - before == 4
    stand_in.failures, before = 3, stand_in.requests
    with pytest.raises(ServingError, match="UNAVAILABLE: The batch scheduling queue is full"):
        make(attempts=3).digits(SENSORS, SEEDS)
    assert stand_in.requests - before == 3
    stand_in.delay = 1.0
    try:
        start = time.monotonic()
        with pytest.raises(ServingError, match="DEADLINE_EXCEEDED"):
            make(deadline=0.2).digits(SENSORS, SEEDS)
        assert time.monotonic() - start < 0.9
    finally:
        stand_in.delay = 0.0


@pytest.mark.parametrize("kind", ["grpc", "rest"])
def test_a_server_that_starts_late(kind: str, folder: Path) -> None:
    """Attempts are repeated until the deadline; a server that starts meanwhile answers."""
    ports = free_port(), free_port()
    make = getattr(Served(folder, *ports), kind)
    with pytest.raises(ServingError, match="UNAVAILABLE") as caught:
        make(attempts=2).digits(SENSORS, SEEDS)
    assert "localhost" in str(caught.value)
    late = Server({"toy": folder})
    timer = threading.Timer(0.5, late.start, ports)
    timer.start()
    try:
        found = make(attempts=100).digits(SENSORS, SEEDS)
        assert len(found["count"]) == 5
    finally:
        timer.join()
        late.stop()
