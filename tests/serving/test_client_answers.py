"""Answers of a server that are no predictions: the clients say so in one line."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis.prediction_service_pb2_grpc import (
    PredictionServiceServicer,
    add_PredictionServiceServicer_to_server,
)

from kerasgen.errors import InputError
from kerasgen.serving.client import GrpcClient, RestClient
from kerasgen.serving.model_client import ServingError


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
