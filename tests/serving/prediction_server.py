"""A stand-in for ``tensorflow_model_server``: its protocols over real sockets, the real SavedModel.

It serves gRPC (Predict, GetModelMetadata, GetModelStatus) and REST (status, metadata, predict),
loads the newest version of each model, changes to a newer version while it serves, and refuses the
requests that the model server refuses. It accepts the flags of the model server and ignores those
that it does not need: ``python prediction_server.py --port P --rest_api_port Q --model_name N
--model_base_path DIR``.
"""

from __future__ import annotations

import argparse
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2
from tensorflow_serving.apis.model_service_pb2_grpc import (
    ModelServiceServicer,
    add_ModelServiceServicer_to_server,
)
from tensorflow_serving.apis.prediction_service_pb2_grpc import (
    PredictionServiceServicer,
    add_PredictionServiceServicer_to_server,
)

HTTP = {"INVALID_ARGUMENT": 400, "NOT_FOUND": 404, "UNAVAILABLE": 503}
Tensors = dict[str, tf.Tensor]


class Refused(Exception):
    """A status that is not OK."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class Version:
    """One loaded version of a model, warmed up."""

    def __init__(self, folder: Path) -> None:
        self.number = int(folder.name)
        self.model = tf.saved_model.load(str(folder))
        proto = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
        self.signature_def = proto.meta_graphs[0].signature_def
        for name, signature in self.model.signatures.items():
            if name in ("serving_default", "digits"):
                signature(sensor=tf.zeros([1], tf.int32), seed=tf.zeros([1, 2], tf.int64))

    def predict(self, name: str, inputs: Tensors) -> Tensors:
        """Outputs of a signature, or the refusal that TensorFlow Serving sends for the inputs."""
        if name not in self.model.signatures:
            raise Refused("INVALID_ARGUMENT", f"No signature was found with the name: {name}")
        signature = self.model.signatures[name]
        expected = signature.structured_input_signature[1]
        if set(expected) != set(inputs):
            raise Refused("INVALID_ARGUMENT", f"input must be {sorted(expected)}")
        for key, spec in expected.items():
            if not spec.is_compatible_with(inputs[key]):
                found = inputs[key]
                raise Refused("INVALID_ARGUMENT", f"{key}: {found.dtype} {found.shape}, not {spec}")
        try:
            return signature(**inputs)
        except tf.errors.OpError as error:
            raise Refused("INVALID_ARGUMENT", error.message) from None


class Server(PredictionServiceServicer, ModelServiceServicer):
    """Serves every ``name: folder of versions``.

    Tests set ``failures``, the number of next requests that fail as unavailable, and ``delay``,
    seconds before a response. Without ``max_batch_size`` a request may have any number of rows.
    """

    def __init__(self, models: dict[str, Path], max_batch_size: int | None = None) -> None:
        self.models = models
        self.max_batch_size = max_batch_size
        self.loaded: dict[str, Version] = {}
        self.requests = 0
        self.failures = 0
        self.delay = 0.0
        self.lock = threading.Lock()
        self.ended = threading.Event()

    def start(self, port: int = 0, rest_port: int = 0, poll: float = 0.1) -> None:
        """Load, then listen; ``port`` and ``rest_port`` become attributes."""
        self.poll_once()
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self.grpc = grpc.server(ThreadPoolExecutor(16), options=options)
        add_PredictionServiceServicer_to_server(self, self.grpc)
        add_ModelServiceServicer_to_server(self, self.grpc)
        self.port = self.grpc.add_insecure_port(f"127.0.0.1:{port}")
        self.grpc.start()
        handler = type("Handler", (Rest,), {"served": self})
        self.rest = ThreadingHTTPServer(("127.0.0.1", rest_port), handler)
        self.rest_port = self.rest.server_address[1]
        self.threads = [threading.Thread(target=self.rest.serve_forever, daemon=True)]
        self.threads.append(threading.Thread(target=self.keep_polling, args=[poll], daemon=True))
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        self.ended.set()
        self.grpc.stop(1).wait()
        self.rest.shutdown()
        self.rest.server_close()
        for thread in self.threads:
            thread.join()

    def keep_polling(self, seconds: float) -> None:
        while not self.ended.wait(seconds):
            self.poll_once()

    def poll_once(self) -> None:
        """Load newer versions; the old version is served until the new one is loaded."""
        for name, folder in self.models.items():
            newest = max(int(p.name) for p in folder.iterdir() if p.name.isdigit())
            if name not in self.loaded or self.loaded[name].number != newest:
                self.loaded[name] = Version(folder / str(newest))

    def version(self, name: str, number: int | None = None, label: str = "") -> Version:
        found = self.loaded.get(name)
        if found is None or label or number not in (None, found.number):
            what = f"Specific({name}, {number or label})"
            raise Refused("NOT_FOUND", f"Servable not found for request: {what}")
        return found

    def predict(self, version: Version, signature: str, inputs: Tensors) -> Tensors:
        with self.lock:
            self.requests += 1
            failing, self.failures = self.failures > 0, max(self.failures - 1, 0)
        time.sleep(self.delay)
        if failing:
            raise Refused("UNAVAILABLE", "The batch scheduling queue is full")
        rows = max((int(x.shape[0]) for x in inputs.values() if x.shape.rank), default=0)
        if self.max_batch_size and rows > self.max_batch_size:
            limit = f"maximum input batch size {self.max_batch_size}"
            raise Refused("INVALID_ARGUMENT", f"Task size {rows} is larger than {limit}")
        return version.predict(signature, inputs)

    def Predict(self, request: Any, context: Any) -> Any:
        try:
            version = self.version_of(request.model_spec)
            inputs = {k: tf.constant(tf.make_ndarray(x)) for k, x in request.inputs.items()}
            name = request.model_spec.signature_name or "serving_default"
            found = self.predict(version, name, inputs)
        except Refused as refused:
            context.abort(grpc.StatusCode[refused.code], str(refused))
        answer = predict_pb2.PredictResponse()
        answer.model_spec.name = request.model_spec.name
        answer.model_spec.version.value = version.number
        for key, x in found.items():
            answer.outputs[key].CopyFrom(tf.make_tensor_proto(x.numpy()))
        return answer

    def version_of(self, spec: Any) -> Version:
        number = spec.version.value if spec.HasField("version") else None
        return self.version(spec.name, number, spec.version_label)

    def GetModelMetadata(self, request: Any, context: Any) -> Any:
        try:
            version = self.version_of(request.model_spec)
        except Refused as refused:
            context.abort(grpc.StatusCode[refused.code], str(refused))
        answer = get_model_metadata_pb2.GetModelMetadataResponse()
        answer.metadata["signature_def"].Pack(signature_map(version))
        return answer

    def GetModelStatus(self, request: Any, context: Any) -> Any:
        try:
            version = self.version_of(request.model_spec)
        except Refused as refused:
            context.abort(grpc.StatusCode[refused.code], str(refused))
        answer = get_model_status_pb2.GetModelStatusResponse()
        answer.model_version_status.add(version=version.number, state="AVAILABLE")
        return answer


def signature_map(version: Version) -> Any:
    """The signatures of a version as TensorFlow Serving's metadata have them."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, signature in version.signature_def.items():
        signatures.signature_def[name].CopyFrom(signature)
    return signatures


class Rest(BaseHTTPRequestHandler):
    """``/v1/models/NAME[/versions/V|/labels/L]`` with ``/metadata`` or ``:predict``."""

    protocol_version = "HTTP/1.1"
    served: Server

    def log_message(self, format: str, *arguments: Any) -> None: ...

    def answer(self, code: int, content: Any) -> None:
        text = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self) -> None:
        self.serve(b"")

    def do_POST(self) -> None:
        self.serve(self.rfile.read(int(self.headers["Content-Length"])))

    def serve(self, body: bytes) -> None:
        try:
            self.answer(200, self.content(body))
        except Refused as refused:
            self.answer(HTTP.get(refused.code, 500), {"error": str(refused)})

    def content(self, body: bytes) -> Any:
        place = r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?(/metadata|:predict|)"
        match = re.fullmatch(place, self.path)
        if not match:
            raise Refused("NOT_FOUND", f"Malformed request: {self.path}")
        number = int(match[2]) if match[2] else None
        version = self.served.version(match[1], number, match[3] or "")
        if match[4] == "/metadata":
            table = json_format.MessageToDict(
                signature_map(version),
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
            )
            return {"metadata": {"signature_def": table}}
        if match[4] == "":
            status = {"version": str(version.number), "state": "AVAILABLE"}
            return {"model_version_status": [status]}
        return self.predict(version, body)

    def predict(self, version: Version, body: bytes) -> Any:
        try:
            request = dict(json.loads(body))
            name = request.get("signature_name", "serving_default")
            specs = version.model.signatures[name].structured_input_signature[1]
            inputs = {k: tf.constant(x, specs[k].dtype) for k, x in request["inputs"].items()}
        except (ValueError, KeyError, TypeError) as error:
            raise Refused("INVALID_ARGUMENT", f"JSON Parse error: {error}") from None
        found = self.served.predict(version, name, inputs)
        outputs = {k: np.asarray(x).tolist() for k, x in found.items()}
        return {"outputs": outputs if len(outputs) > 1 else next(iter(outputs.values()))}


def main() -> None:
    parser = argparse.ArgumentParser()
    for flag, kind in (("port", int), ("rest_api_port", int), ("model_name", str)):
        parser.add_argument(f"--{flag}", type=kind, required=True)
    parser.add_argument("--model_base_path", type=Path, required=True)
    parser.add_argument("--batching_parameters_file", type=Path)
    flags, _ = parser.parse_known_args()
    most = None
    if flags.batching_parameters_file:
        text = flags.batching_parameters_file.read_text()
        most = int(re.search(r"^max_batch_size \{ value: (\d+) \}", text, re.M)[1])  # type: ignore[index]
    server = Server({flags.model_name: flags.model_base_path}, most)
    server.start(flags.port, flags.rest_api_port)
    server.grpc.wait_for_termination()


if __name__ == "__main__":
    main()
