"""The clients, against servers over real sockets that run the real SavedModel.

Every test with the fixture ``served`` runs against the stand-in of ``prediction_server`` and, if it
is on the PATH, against the real ``tensorflow_model_server``.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from prediction_server import Server
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
from tensorflow_serving.apis.prediction_service_pb2_grpc import (
    PredictionServiceServicer,
    add_PredictionServiceServicer_to_server,
)
from toy_run import toy_geometry, write_toy_run

from kerasgen.data.pixel_events import event_hits
from kerasgen.errors import InputError
from kerasgen.models.trained import Trained, load_trained
from kerasgen.serving import model_client
from kerasgen.serving.client import GrpcClient, RestClient
from kerasgen.serving.model_client import ModelClient, ServingError
from kerasgen.serving.saved_model import Exported, export_model, load_exported

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


def test_an_event_of_dense_sensors_passes_the_limit_of_grpc(tmp_path: Path) -> None:
    """40 x 250 x 768 bytes are more than gRPC's default limit of 4 MiB."""
    module = tf.Module()
    rows = [tf.TensorSpec([None], tf.int32, "sensor"), tf.TensorSpec([None, 2], tf.int64, "seed")]
    module.serving_default = tf.function(
        lambda sensor, seed: {
            "adu": tf.tile(tf.cast(sensor, tf.uint8)[:, None, None], [1, 250, 768]),
            "status": tf.zeros_like(sensor),
        },
        rows,
    )
    tf.saved_model.save(
        module, str(tmp_path / "m" / "1"), {"serving_default": module.serving_default}
    )
    server = Server({"full": tmp_path / "m"})
    server.start()
    sensor, seed = np.arange(40, dtype=np.int32), np.zeros((40, 2), np.int64)
    try:
        full = GrpcClient(f"localhost:{server.port}", "full")
        adu = full.dense(sensor, seed)["adu"]
        assert adu.nbytes == 7_680_000
        np.testing.assert_array_equal(adu[:, 249, 767], sensor)
        small = GrpcClient(f"localhost:{server.port}", "full", max_message=4 * 2**20)
        with pytest.raises(ServingError, match=r"RESOURCE_EXHAUSTED.*raise it, ask for fewer rows"):
            small.dense(sensor, seed)
        assert len(small.dense(sensor[:20], seed[:20])["adu"]) == 20
        full.close()
        small.close()
    finally:
        server.stop()


def test_tensors_encoded_as_int_val() -> None:
    """By default the model server fills ``int_val`` instead of ``tensor_content``."""
    proto = tf.make_tensor_proto(np.zeros((1, 2, 3), np.int16))
    proto.ClearField("tensor_content")
    proto.int_val.extend([1, 2, 255, -1, -1, -1])
    np.testing.assert_array_equal(tf.make_ndarray(proto), [[[1, 2, 255], [-1, -1, -1]]])


def output(dtype: str, *sizes: int) -> dict[str, Any]:
    """The specification of an output, as metadata have it."""
    return {"dtype": dtype, "tensor_shape": {"dim": [{"size": str(n)} for n in sizes]}}


SIGNATURES = {
    "serving_default": {"outputs": {"adu": output("DT_UINT8", -1, 4, 5),
                                    "status": output("DT_INT32", -1)}},
    "digits": {"outputs": {"count": output("DT_INT32", -1), "hits": output("DT_INT16", -1, -1, 3)}},
    "points": {"outputs": {"points": output("DT_FLOAT", -1, 2)}},
}  # fmt: skip
METADATA = json.dumps({"metadata": {"signature_def": {"signature_def": SIGNATURES}}}).encode()
HITS = {"count": [1, 1], "hits": [[[1, 2, 9]], [[0, 0, 8]]]}


@contextmanager
def answering(
    predict: bytes, metadata: bytes = METADATA, status: int = 200, length: int | None = None
) -> Iterator[RestClient]:
    """A client of a server that always gives the same answers."""

    class Answers(BaseHTTPRequestHandler):
        def log_message(self, format: str, *arguments: Any) -> None: ...

        def answer(self, body: bytes, status: int, length: int | None) -> None:
            self.send_response(status)
            if status // 100 == 3:
                self.send_header("Location", "http://elsewhere.invalid/")
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.answer(metadata, 200, None)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(predict, status, length)

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield RestClient(f"http://127.0.0.1:{server.server_address[1]}", "toy", attempts=1)
        finally:
            server.shutdown()
            thread.join()


def outputs(**changes: Any) -> bytes:
    return json.dumps({"outputs": HITS | changes}).encode()


WRONG_ANSWERS = {
    "html": (b"<html>Login</html>", "not JSON"),
    "empty": (b"", "not JSON"),
    "no text": (b"\xff\xfe", "not JSON"),
    "deep": (b"[" * 100_000, "not JSON"),
    "list": (b"[1, 2]", "no prediction"),
    "number": (b"3", "no prediction"),
    "no prediction": (b'{"state": "fine"}', "no prediction.*outputs"),
    "null": (b'{"outputs": null}', "no prediction"),
    "another key": (b'{"outputs": {"count": [1, 1], "digits": []}}', "no prediction.*hits"),
    "ragged": (outputs(hits=[[[1, 2, 9]], [[0, 0]]]), "no prediction"),
    "text": (outputs(count=["a", "b"]), "no prediction.*count|instead of int32"),
    "fractions": (outputs(count=[0.5, 1]), "float64 instead of int32"),
    "not a number": (outputs(count=[float("nan"), 1]), "float64 instead of int32"),
    "overflow": (outputs(hits=[[[1, 2, 99_999]], [[0, 0, 8]]]), "no prediction"),
    "four numbers": (outputs(hits=[[[1, 2, 9, 1]], [[0, 0, 8, 1]]]), r"shape \[2, 1, 4\]"),
    "flat": (outputs(hits=[1, 2]), r"the shape \[2\]"),
    "one row": (outputs(count=[1], hits=[[[1, 2, 9]]]), r"\[1\], expected 2 rows"),
    "three rows": (outputs(count=[1] * 3, hits=[[[1, 2, 9]]] * 3), r"\[3\], expected 2 rows"),
    "unequal rows": (outputs(hits=[[[1, 2, 9]]]), r"hits has.*expected 2 rows"),
    "fewer hits than counted": (outputs(count=[1, 7]), "fewer hits"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_ANSWERS)
def test_a_rest_answer_that_is_no_prediction(name: str) -> None:
    body, text = WRONG_ANSWERS[name]
    with answering(body) as toy, pytest.raises(ServingError, match=text) as caught:
        toy.digits([0, 1], [[1, 2], [1, 3]])
    assert "\n" not in str(caught.value)
    assert caught.value.code == "INTERNAL"


def test_good_answers_pass_the_same_checks() -> None:
    with answering(outputs()) as toy:
        found = toy.digits([0, 1], [[1, 2], [1, 3]])
        np.testing.assert_array_equal(found["hits"], HITS["hits"])
    with answering(b'{"outputs": [[0.5, 1], [2, 3]]}') as toy:
        np.testing.assert_array_equal(
            toy.call("points", seed=[[1, 2], [1, 3]])["points"], [[0.5, 1], [2, 3]]
        )


@pytest.mark.parametrize(
    ("body", "text"),
    [(b"<html>", "not JSON"), (b"{}", "no metadata"), (b"[]", "no metadata"),
     (b'{"metadata": {"signature_def": {"signature_def": {"digits": {}}}}}', "no metadata"),
     (b'{"metadata": {"signature_def": {"signature_def": {"points": {}}}}}', "only points"),
     (b'{"metadata": {"signature_def": {"signature_def": {"digits": {"outputs": {"a": 1}}}}}}',
      "no prediction"),
     (METADATA.replace(b"DT_INT16", b"DT_STRING"), "no prediction")],
)  # fmt: skip
def test_rest_metadata_of_something_else(body: bytes, text: str) -> None:
    with answering(outputs(), body) as toy, pytest.raises(ServingError, match=text) as caught:
        toy.digits([0, 1], [[1, 2], [1, 3]])
    assert "\n" not in str(caught.value)


def test_redirects_errors_and_truncated_answers_over_rest() -> None:
    for status, length, text in (
        (302, None, "UNKNOWN: Found, redirected to http://elsewhere.invalid/"),
        (307, None, "redirected to http://elsewhere.invalid/"),
        (500, None, "UNKNOWN: Internal Server Error"),
        (200, 500, "UNAVAILABLE: IncompleteRead"),
    ):
        with (
            answering(b"", status=status, length=length) as toy,
            pytest.raises(ServingError, match=text) as caught,
        ):
            toy.digits([0, 1], [[1, 2], [1, 3]])
        assert "\n" not in str(caught.value)
    with (
        answering(b'{"outputs": [[0.5, NaN]]}') as toy,
        pytest.raises(ServingError, match="finite"),
    ):
        toy.call("points", seed=[[1, 2]])
    with pytest.raises(InputError, match=r"expected an address of the form http://host:port"):
        RestClient("localhost:8501", "toy")


@pytest.mark.parametrize(
    ("answer", "text"),
    [({}, "gives nothing, no model of pixel hits"),
     ({"points": np.zeros((2, 3, 3), np.float32)}, r"gives points float32 \[2, 3, 3\], no model"),
     ({"count": np.ones(1, np.int32), "hits": np.zeros((1, 1, 3), np.int16)}, "expected 2 rows"),
     ({"count": np.ones(2, np.int32), "hits": np.zeros((2, 1, 7), np.int16)}, "no model of pixel"),
     ({"count": np.ones(2, np.float32), "hits": np.zeros((2, 1, 3), np.int16)}, "no model of"),
     ({"count": np.float32(1), "hits": np.zeros((2, 1, 3), np.int16)}, "expected 2 rows"),
     ({"count": np.full(2, np.nan)}, "no finite numbers"),
     (None, "the response is no prediction")],
)  # fmt: skip
def test_a_grpc_answer_that_is_no_prediction(answer: Any, text: str) -> None:
    response = predict_pb2.PredictResponse()
    for name, x in ({} if answer is None else answer).items():
        response.outputs[name].CopyFrom(tf.make_tensor_proto(x))
    if answer is None:  # a tensor of a type that there is not
        response.outputs["count"].dtype = 99

    class Answers(PredictionServiceServicer):
        def Predict(self, request: Any, context: Any) -> Any:
            return response

    server = grpc.server(ThreadPoolExecutor(1))
    add_PredictionServiceServicer_to_server(Answers(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    toy = GrpcClient(f"localhost:{port}", "toy", attempts=1)
    try:
        with pytest.raises(ServingError, match=text) as caught:
            toy.digits([0, 1], [[1, 2], [1, 3]])
        assert "\n" not in str(caught.value)
    finally:
        toy.close()
        server.stop(None).wait()
