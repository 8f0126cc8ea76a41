"""Clients of a TensorFlow model server that serves exported models: gRPC and REST.

``GrpcClient("localhost:8500", "pxd_biggan")`` and ``RestClient("http://localhost:8501",
"pxd_biggan")`` have methods for the signatures of a model of pixel hits, ``dense`` (the signature
``serving_default``) and ``digits``, with numpy arrays. A client can replace a generator
(``kerasgen.data.pixel_events.one_event``, ``kerasgen.serving.overlay``). gRPC needs
``pip install 'kerasgen[serving]'``, REST needs no extra package.

The same seed gives the same row, so that a request can be repeated: requests that fail because the
server is unreachable or not ready are repeated until the deadline.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from http.client import HTTPException
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.errors import InputError, RunFailure

# Of one request: the sensors of an event, and the max_batch_size of exported/batching.config.
MAX_ROWS = 40
MAX_MESSAGE = 64 * 2**20  # bytes; the default of gRPC, 4 MiB, is less than 40 dense sensors
RETRY_PAUSE, MAX_RETRY_PAUSE = 0.1, 2.0  # seconds between attempts, doubled each time
# Outputs of the signatures of a model of pixel hits, and their numbers of dimensions.
PIXEL_OUTPUTS: dict[str, dict[str, tuple[int, ...]]] = {
    "serving_default": {"adu": (3, 4), "status": (1,)},
    "digits": {"count": (1,), "hits": (3,)},
}
HIT_NUMBERS = (3, 4)  # row, column, ADU, and the type where there are several
# numpy's names of the types whose names in TensorFlow's JSON differ
NUMPY_TYPES = {"DT_FLOAT": "float32", "DT_DOUBLE": "float64", "DT_HALF": "float16"}

Arrays = dict[str, NDArray[Any]]


class ServingError(RunFailure):
    """The server refused a request, failed, or could not be reached.

    Attributes:
        code: gRPC's name of the status, as ``NOT_FOUND``.
        transient: whether the same request may succeed later.
    """

    def __init__(self, where: str, code: str, detail: str) -> None:
        super().__init__(f"{where}: {code}: {' '.join(detail.split())[:300]}")
        self.code = code
        self.transient = code == "UNAVAILABLE"


class ModelClient(ABC):
    """Signatures, split requests and repeated attempts, common to both clients.

    Args:
        address: of the server.
        model: name that the model is served under.
        version: number of a version, or its label; None: the default version of the server.
        deadline: seconds that a call may take, with all its requests and attempts.
        attempts: maximum number of attempts of a request while the server is unavailable; None:
            until the deadline.
        types: background type of single-channel hits, which the server does not return.
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
        """Outputs of a signature, from one attempt.

        Args:
            signature: name of the signature.
            inputs: its inputs by name.
            seconds: that the attempt may take.

        Raises:
            ServingError: the attempt failed.
        """

    def call(self, signature: str, **inputs: Any) -> Arrays:
        """Outputs of any signature of the model, in one request.

        Args:
            signature: name of the signature.
            inputs: its inputs by name.

        Raises:
            ServingError: see there.
        """
        arrays = {name: np.asarray(x) for name, x in inputs.items()}
        return self._attempt(signature, arrays, time.monotonic() + self.deadline)

    def dense(self, sensor: Any, seed: Any) -> Arrays:
        """Dense images; arguments and result as ``EventGenerator.dense``, in numpy arrays.

        Raises:
            InputError: arguments of another shape or type, or a sensor that the model does not
                have.
            ServingError: see there.
        """
        images = concatenate_rows(self._split_requests("serving_default", sensor, seed))
        check_sensors(sensor, images["status"] != 0)
        return images

    def digits(self, sensor: Any, seed: Any) -> Arrays:
        """Fired pixels; result as ``EventGenerator.digits``, arguments and errors as ``dense``."""
        parts = self._split_requests("digits", sensor, seed)
        for part in parts:
            if part["count"].max(initial=0) > part["hits"].shape[1]:
                raise self._error("INTERNAL", "a row has fewer hits than its count says")
        longest = max(int(part["count"].max(initial=0)) for part in parts)
        for part in parts:
            # A server that batches requests pads to the longest row of the batch.
            hits = part["hits"][:, :longest]
            padding = ((0, 0), (0, longest - hits.shape[1]), (0, 0))
            part["hits"] = np.pad(hits, padding, constant_values=-1)
        digits = concatenate_rows(parts)
        check_sensors(sensor, digits["count"] < 0)
        return digits

    def _split_requests(self, signature: str, sensor: Any, seed: Any) -> list[Arrays]:
        """Outputs of requests of at most ``MAX_ROWS`` rows each."""
        rows = {
            "sensor": checked_integers(sensor, np.int32, 1),
            "seed": checked_integers(seed, np.int64, 2),
        }
        n = len(rows["sensor"])
        if not n:
            raise InputError("no rows: at least one sensor is needed")
        if rows["seed"].shape != (n, 2):
            raise InputError(f"seed {list(rows['seed'].shape)}: expected [{n}, 2], one per sensor")
        end = time.monotonic() + self.deadline
        parts = [
            self._attempt(signature, {k: x[i : i + MAX_ROWS] for k, x in rows.items()}, end)
            for i in range(0, n, MAX_ROWS)
        ]
        for part in parts:
            self._check_pixels(signature, part)
        return parts

    def _check_pixels(self, signature: str, outputs: Arrays) -> None:
        """Raise ServingError unless outputs are those of a model of pixel hits."""
        ranks = PIXEL_OUTPUTS[signature]
        good = ranks.keys() <= outputs.keys() and all(
            outputs[name].ndim in allowed and outputs[name].dtype.kind in "iu"
            for name, allowed in ranks.items()
        )
        if good and signature == "digits":
            good = outputs["hits"].shape[2] in HIT_NUMBERS
        if not good:
            found = ", ".join(f"{k} {x.dtype} {list(x.shape)}" for k, x in outputs.items())
            raise self._error(
                "INTERNAL",
                f"{signature} gives {found or 'nothing'}, no model of pixel hits "
                f"(expected whole numbers {' and '.join(ranks)})",
            )

    def _checked(self, inputs: Arrays, outputs: Arrays) -> Arrays:
        """Outputs with one row for each row of the inputs, and numbers in all of them.

        Raises:
            ServingError: other outputs.
        """
        rows = {len(x) for x in inputs.values() if x.ndim}
        for name, x in outputs.items():
            if len(rows) == 1 and (not x.ndim or {len(x)} != rows):
                wanted = f"expected {rows.pop()} rows"
                raise self._error("INTERNAL", f"{name} has the shape {list(x.shape)}, {wanted}")
            if x.dtype.kind == "f" and not np.isfinite(x).all():
                raise self._error("INTERNAL", f"{name} holds values that are no finite numbers")
        return outputs

    def _error(self, code: str, detail: str) -> ServingError:
        return ServingError(f"{self.address}, model {self.model}", code, detail)

    def _attempt(self, signature: str, inputs: Arrays, end: float) -> Arrays:
        """Outputs of one request, repeated on transient errors until the time ``end``."""
        for attempt in itertools.count(1):
            try:
                outputs = self.request(signature, inputs, max(end - time.monotonic(), 1e-3))
                return self._checked(inputs, outputs)
            except ServingError as error:
                # The pause is partly random, so that many jobs do not return at the same time.
                pause = min(RETRY_PAUSE * 2.0 ** min(attempt - 1, 9), MAX_RETRY_PAUSE)
                pause *= random.uniform(0.5, 1.0)
                late = time.monotonic() + pause > end
                if not error.transient or attempt == self.attempts or late:
                    raise
                time.sleep(pause)
        raise AssertionError  # the loop ends by return or raise only


class GrpcClient(ModelClient):
    """Client over gRPC.

    Args:
        address: ``host:port`` of the server.
        model: name that the model is served under.
        arguments, more: as in ``ModelClient``.
        max_message: bytes of the largest response that is accepted.

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
            response = self.stub.Predict(message, timeout=seconds)
        except grpc.RpcError as error:
            raise self._refusal(error.code().name, error.details() or "") from None
        try:
            return {name: tf.make_ndarray(x) for name, x in response.outputs.items()}
        except (ValueError, TypeError) as error:
            raise self._error("INTERNAL", f"the response is no prediction ({error})") from None

    def _refusal(self, code: str, detail: str) -> ServingError:
        if code == "RESOURCE_EXHAUSTED" and "larger than max" in detail:
            detail += (
                f" (max_message is {self.max_message} bytes: raise it, ask for fewer rows, or for "
                "digits instead of dense)"
            )
        return self._error(code, detail)

    def close(self) -> None:
        """Close the connection."""
        self.channel.close()


# gRPC's names of the statuses, by the HTTP status that TensorFlow Serving's REST interface sends.
STATUS_NAMES = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 412: "FAILED_PRECONDITION",
         429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}  # fmt: skip
REDIRECTS = (301, 302, 303, 307, 308)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: a model server sends none, and a POST would become a GET."""

    def redirect_request(self, *arguments: Any) -> None:
        return None


OPENER = urllib.request.build_opener(_NoRedirect)


class RestClient(ModelClient):
    """Client over HTTP and JSON.

    Numbers are sent as text: dense images are an order of magnitude slower than over gRPC.

    Args:
        address: ``http://host:port`` of the server.
        model: name that the model is served under.
        arguments, more: as in ``ModelClient``.

    Raises:
        InputError: an address of another form.
    """

    def __init__(self, address: str, model: str, *arguments: Any, **more: Any) -> None:
        super().__init__(address.rstrip("/"), model, *arguments, **more)
        if not address.startswith(("http://", "https://")):
            raise InputError(f"{address}: expected an address of the form http://host:port")
        self._outputs: dict[str, Any] = {}

    def request(self, signature: str, inputs: Arrays, seconds: float) -> Arrays:
        body = {"signature_name": signature, "inputs": {k: x.tolist() for k, x in inputs.items()}}
        end = time.monotonic() + seconds
        if signature not in self._outputs:
            self._outputs[signature] = self._specs(signature, seconds)
        specs = self._outputs[signature]
        left = max(end - time.monotonic(), 1e-3)
        answer = self._open(":predict", json.dumps(body).encode(), left)
        try:
            outputs = answer["outputs"]
            if len(specs) == 1:  # a single output is sent without its name
                outputs = dict.fromkeys(specs, outputs)
            return {name: array_from_json(outputs[name], spec) for name, spec in specs.items()}
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise self._error("INTERNAL", f"the response is no prediction ({reason})") from None

    def _specs(self, signature: str, seconds: float) -> dict[str, Any]:
        """Type and shape of the outputs of a signature, from the metadata of the model.

        Raises:
            ServingError: the model has no such signature, or the response is no metadata.
        """
        answer = self._open("/metadata", None, seconds)
        try:
            signatures = answer["metadata"]["signature_def"]["signature_def"]
            if signature in signatures:
                return dict(signatures[signature]["outputs"])
            known = ", ".join(sorted(signatures))
        except (KeyError, TypeError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise self._error("INTERNAL", f"the response is no metadata ({reason})") from None
        raise self._error("INVALID_ARGUMENT", f"no signature {signature!r}, only {known}")

    def _open(self, action: str, body: bytes | None, seconds: float) -> Any:
        """The JSON response to GET, or to POST with a body.

        Args:
            action: end of the URL, "/metadata" or ":predict".
            body: of the request; None: GET.
            seconds: that the request may take.

        Raises:
            ServingError: an error status, or no response.
        """
        version = ""
        if self.version is not None:
            kind = "versions" if isinstance(self.version, int) else "labels"
            version = f"/{kind}/{self.version}"
        url = f"{self.address}/v1/models/{self.model}{version}{action}"
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(url, body, headers)
        try:
            with OPENER.open(request, timeout=seconds) as response:
                return json.loads(response.read())
        except urllib.error.HTTPError as error:
            text = str(error.reason)
            if error.code in REDIRECTS:
                text += f", redirected to {error.headers.get('Location')}"
            with contextlib.suppress(ValueError, KeyError, TypeError, OSError, HTTPException):
                text = error.read().decode("utf-8", "replace") or text
                text = str(json.loads(text)["error"])
            raise self._error(STATUS_NAMES.get(error.code, "UNKNOWN"), text) from None
        except TimeoutError:
            raise self._error("DEADLINE_EXCEEDED", f"no response in {seconds:.3g} s") from None
        except (OSError, HTTPException) as error:
            late = isinstance(getattr(error, "reason", None), TimeoutError)
            code = "DEADLINE_EXCEEDED" if late else "UNAVAILABLE"
            raise self._error(code, str(error)) from None
        except (ValueError, RecursionError) as error:
            raise self._error("INTERNAL", f"the response is not JSON ({error})") from None


def array_from_json(values: Any, spec: dict[str, Any]) -> NDArray[Any]:
    """Nested lists of JSON as an array of the type and rank of an output.

    Args:
        values: nested lists.
        spec: of the output, from the metadata of the model.

    Raises:
        KeyError, TypeError, ValueError, AttributeError, OverflowError: values of another type or
            shape, or no metadata.
    """
    name = spec["dtype"]
    dtype = np.dtype(NUMPY_TYPES.get(name, name.removeprefix("DT_").lower()))
    sizes = [int(d["size"]) for d in spec["tensor_shape"].get("dim", [])]  # -1: any
    given = np.array(values)
    allowed = {"i": "iu", "u": "iu", "f": "iuf"}.get(dtype.kind, dtype.kind)
    if given.size and given.dtype.kind not in allowed:
        raise ValueError(f"{given.dtype} instead of {dtype}")
    array = np.array(values, dtype)
    if not array.size:
        array = array.reshape([*array.shape, *(max(n, 0) for n in sizes[array.ndim :])])
    known = not spec["tensor_shape"].get("unknown_rank")
    if known and (
        array.ndim != len(sizes)
        or any(n >= 0 and n != m for n, m in zip(sizes, array.shape, strict=True))
    ):
        raise ValueError(f"the shape {list(array.shape)} instead of {sizes}")
    return array


def checked_integers(values: Any, dtype: type[np.signedinteger], rank: int) -> NDArray[Any]:
    """Integers as an array of the type and rank that the server expects.

    Args:
        values: nested lists or an array.
        dtype: integer type of the result.
        rank: number of dimensions.

    Raises:
        InputError: another rank, or numbers that are not integers or out of range.
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
    """Raise InputError for the first row whose sensor the model does not have.

    Args:
        sensor: [N], as requested.
        unknown: [N], whether the server marked the sensor as unknown.
    """
    if unknown.any():
        row = int(np.argmax(unknown))
        raise InputError(f"row {row}: the model has no sensor {np.asarray(sensor)[row]}")


def concatenate_rows(parts: list[Arrays]) -> Arrays:
    """Concatenate the outputs of several requests along their rows."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
