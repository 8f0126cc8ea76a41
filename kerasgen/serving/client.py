"""Clients of a TensorFlow model server that serves exported models: gRPC and REST.

``GrpcClient("localhost:8500", "pxd_biggan")`` and ``RestClient("http://localhost:8501",
"pxd_biggan")`` have the signatures of the model, ``dense`` and ``digits``, with numpy arrays, and
can stand wherever a generator is asked for (``kerasgen.data.pixel_events.one_event``,
``kerasgen.serving.overlay``). gRPC needs ``pip install 'kerasgen[serving]'``, REST nothing more.

A request may be repeated at will, as the same seed gives the same row: what fails because the
server is not there, or not ready, is tried again until the deadline.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import random
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.errors import InputError, RunFailure

ROWS = 40  # of one request: the sensors of an event, and the most that exported/batching.config has
MAX_MESSAGE = 64 * 2**20  # bytes; the default of gRPC, 4 MiB, is less than 40 dense sensors
PAUSE, LONGEST_PAUSE = 0.1, 2.0  # seconds between attempts, doubled each time
# numpy's name of the types that TensorFlow's JSON calls otherwise
TYPES = {"DT_FLOAT": "float32", "DT_DOUBLE": "float64", "DT_HALF": "float16"}

Arrays = dict[str, NDArray[Any]]


class ServingError(RunFailure):
    """The server refused a request, failed, or could not be reached.

    Attributes:
        code: gRPC's name of the status, as ``NOT_FOUND``.
        passing: whether the same request may succeed later.
    """

    def __init__(self, where: str, code: str, detail: str) -> None:
        super().__init__(f"{where}: {code}: {' '.join(detail.split())[:300]}")
        self.code = code
        self.passing = code == "UNAVAILABLE"


class ModelClient(ABC):
    """What both clients share.

    Arguments:
        address: of the server.
        model: name that the model is served under.
        version: number of a version, or its label; None: the version that the server prefers.
        deadline: seconds that a call may take, with all its requests and attempts.
        attempts: how often a request is tried while the server is unavailable; None: until the
            deadline.
        types: background type of single-channel hits, which the server does not know.
    """

    def __init__(
        self,
        address: str,
        model: str,
        version: int | str | None = None,
        deadline: float = 60.0,
        attempts: int | None = None,
        types: tuple[int, ...] = (0,),
    ) -> None:
        self.address = address
        self.model = model
        self.version = version
        self.deadline = deadline
        self.attempts = attempts
        self.types = types

    @abstractmethod
    def request(self, signature: str, inputs: Arrays, seconds: float) -> Arrays:
        """One attempt; raises ServingError."""

    def call(self, signature: str, **inputs: Any) -> Arrays:
        """Any signature of the model, in one request.

        Raises:
            ServingError: see there.
        """
        arrays = {name: np.asarray(x) for name, x in inputs.items()}
        return self._call(signature, arrays, time.monotonic() + self.deadline)

    def dense(self, sensor: Any, seed: Any) -> Arrays:
        """Whole images; arguments and result as ``EventGenerator.dense``, in numpy arrays.

        Raises:
            InputError: arguments of another form, or a sensor that the model does not have.
            ServingError: see there.
        """
        found = join(self._parts("serving_default", sensor, seed))
        check_sensors(sensor, found["status"] != 0)
        return found

    def digits(self, sensor: Any, seed: Any) -> Arrays:
        """Fired pixels; result as ``EventGenerator.digits``, arguments and errors as ``dense``."""
        parts = self._parts("digits", sensor, seed)
        longest = max(int(part["count"].max(initial=0)) for part in parts)
        for part in parts:
            # A server that joins requests pads to the longest row of all of them.
            hits = part["hits"][:, :longest]
            padding = ((0, 0), (0, longest - hits.shape[1]), (0, 0))
            part["hits"] = np.pad(hits, padding, constant_values=-1)
        found = join(parts)
        check_sensors(sensor, found["count"] < 0)
        return found

    def _parts(self, signature: str, sensor: Any, seed: Any) -> list[Arrays]:
        """Answers to requests of at most ``ROWS`` rows each."""
        rows = {"sensor": whole(sensor, np.int32, 1), "seed": whole(seed, np.int64, 2)}
        n = len(rows["sensor"])
        if not n:
            raise InputError("no rows: at least one sensor is needed")
        if rows["seed"].shape != (n, 2):
            raise InputError(f"seed {list(rows['seed'].shape)}: expected [{n}, 2], one per sensor")
        end = time.monotonic() + self.deadline
        return [
            self._call(signature, {k: x[i : i + ROWS] for k, x in rows.items()}, end)
            for i in range(0, n, ROWS)
        ]

    def _call(self, signature: str, inputs: Arrays, end: float) -> Arrays:
        for attempt in itertools.count(1):
            try:
                return self.request(signature, inputs, max(end - time.monotonic(), 1e-3))
            except ServingError as error:
                # A part of the pause is left to chance, so that many jobs do not come back at once.
                pause = min(PAUSE * 2.0 ** min(attempt - 1, 9), LONGEST_PAUSE)
                pause *= random.uniform(0.5, 1.0)
                late = time.monotonic() + pause > end
                if not error.passing or attempt == self.attempts or late:
                    raise
                time.sleep(pause)
        raise AssertionError  # the loop has no end of its own


class GrpcClient(ModelClient):
    """Client over gRPC; ``address`` is ``host:port``, the rest as ``ModelClient``.

    Arguments:
        max_message: bytes of the largest answer that is accepted.

    Raises:
        InputError: tensorflow-serving-api is not installed.
    """

    def __init__(
        self, address: str, model: str, *arguments: Any, max_message: int = MAX_MESSAGE, **more: Any
    ) -> None:
        super().__init__(address, model, *arguments, **more)
        try:
            import grpc
            from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub
        except ImportError:
            raise InputError(
                "gRPC needs tensorflow-serving-api: pip install 'kerasgen[serving]'"
            ) from None
        self.max_message = max_message
        sizes = ("grpc.max_receive_message_length", "grpc.max_send_message_length")
        self.channel = grpc.insecure_channel(address, [(name, max_message) for name in sizes])
        self.stub = PredictionServiceStub(self.channel)

    def request(self, signature: str, inputs: Arrays, seconds: float) -> Arrays:
        import grpc
        import tensorflow as tf
        from tensorflow_serving.apis.predict_pb2 import PredictRequest

        message = PredictRequest()
        message.model_spec.name = self.model
        message.model_spec.signature_name = signature
        if isinstance(self.version, int):
            message.model_spec.version.value = self.version
        elif self.version is not None:
            message.model_spec.version_label = self.version
        for name, values in inputs.items():
            message.inputs[name].CopyFrom(tf.make_tensor_proto(values))
        try:
            answer = self.stub.Predict(message, timeout=seconds)
        except grpc.RpcError as error:
            raise self._error(error.code().name, error.details() or "") from None
        return {name: tf.make_ndarray(x) for name, x in answer.outputs.items()}

    def _error(self, code: str, detail: str) -> ServingError:
        if code == "RESOURCE_EXHAUSTED" and "larger than max" in detail:
            detail += (
                f" (max_message is {self.max_message} bytes: raise it, ask for fewer rows, or for "
                "digits instead of dense)"
            )
        return ServingError(f"{self.address}, model {self.model}", code, detail)

    def close(self) -> None:
        """Give the connection back."""
        self.channel.close()


# What REST answers for the statuses of gRPC.
CODES = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 412: "FAILED_PRECONDITION",
         429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}  # fmt: skip


class RestClient(ModelClient):
    """Client over HTTP and JSON; ``address`` is ``http://host:port``, the rest as ``ModelClient``.

    Numbers travel as text: dense images are an order of magnitude slower than over gRPC.
    """

    def __init__(self, address: str, model: str, *arguments: Any, **more: Any) -> None:
        super().__init__(address.rstrip("/"), model, *arguments, **more)
        self._outputs: dict[str, Any] = {}

    def request(self, signature: str, inputs: Arrays, seconds: float) -> Arrays:
        body = {"signature_name": signature, "inputs": {k: x.tolist() for k, x in inputs.items()}}
        end = time.monotonic() + seconds
        if signature not in self._outputs:
            table = self._open("/metadata", None, seconds)["metadata"]["signature_def"]
            table = table["signature_def"]
            if signature not in table:
                known = ", ".join(sorted(table))
                raise self._error("INVALID_ARGUMENT", f"no signature {signature!r}, only {known}")
            self._outputs[signature] = table[signature]["outputs"]
        left = max(end - time.monotonic(), 1e-3)
        found = self._open(":predict", json.dumps(body).encode(), left)["outputs"]
        forms = self._outputs[signature]
        if len(forms) == 1:  # a single output comes without its name
            found = dict.fromkeys(forms, found)
        return {name: array(found[name], form) for name, form in forms.items()}

    def _open(self, what: str, body: bytes | None, seconds: float) -> Any:
        """The answer to GET, or to POST with a body."""
        place = ""
        if self.version is not None:
            kind = "versions" if isinstance(self.version, int) else "labels"
            place = f"/{kind}/{self.version}"
        url = f"{self.address}/v1/models/{self.model}{place}{what}"
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(url, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            text = error.read().decode("utf-8", "replace")
            with contextlib.suppress(ValueError, KeyError, TypeError):
                text = str(json.loads(text)["error"])
            raise self._error(CODES.get(error.code, "UNKNOWN"), text) from None
        except TimeoutError:
            raise self._error("DEADLINE_EXCEEDED", f"no answer in {seconds:.3g} s") from None
        except (OSError, http.client.HTTPException) as error:
            late = isinstance(getattr(error, "reason", None), TimeoutError)
            code = "DEADLINE_EXCEEDED" if late else "UNAVAILABLE"
            raise self._error(code, str(error)) from None
        except ValueError as error:
            raise self._error("INTERNAL", f"the answer is not JSON ({error})") from None

    def _error(self, code: str, detail: str) -> ServingError:
        return ServingError(f"{self.address}, model {self.model}", code, detail)


def array(values: Any, form: dict[str, Any]) -> NDArray[Any]:
    """Nested lists of JSON with the type and rank that the metadata of the model say."""
    name = form["dtype"]
    found = np.array(values, TYPES.get(name, name.removeprefix("DT_").lower()))
    sizes = [max(int(d["size"]), 0) for d in form["tensor_shape"].get("dim", [])]
    return found if found.size else found.reshape([*found.shape, *sizes[found.ndim :]])


def whole(values: Any, dtype: type[np.signedinteger], rank: int) -> NDArray[Any]:
    """Whole numbers as an array of the type and rank that the server expects.

    Raises:
        InputError: another rank, or numbers that are not whole or do not fit.
    """
    given = np.asarray(values)
    limits = np.iinfo(dtype)
    if given.ndim != rank or (given.size and not np.issubdtype(given.dtype, np.integer)):
        raise InputError(
            f"an array {list(given.shape)} of {given.dtype}: expected {rank} dimension(s) of whole "
            "numbers"
        )
    if given.size and not limits.min <= int(given.min()) <= int(given.max()) <= limits.max:
        raise InputError(f"{given.min()}..{given.max()}: allowed: {limits.min}..{limits.max}")
    return given.astype(dtype)


def check_sensors(sensor: Any, unknown: NDArray[np.bool_]) -> None:
    """Raise InputError for the first row that the server marked as no sensor of the model."""
    if unknown.any():
        row = int(np.argmax(unknown))
        raise InputError(f"row {row}: the model has no sensor {np.asarray(sensor)[row]}")


def join(parts: list[Arrays]) -> Arrays:
    """Rows of all parts, one after the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
