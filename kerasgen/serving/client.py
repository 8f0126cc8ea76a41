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
import json
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.errors import InputError
from kerasgen.serving.model_client import Arrays, ModelClient, ServingError

MAX_MESSAGE = 64 * 2**20  # bytes; the default of gRPC, 4 MiB, is less than 40 dense sensors
# numpy's names of the types whose names in TensorFlow's JSON differ
NUMPY_TYPES = {"DT_FLOAT": "float32", "DT_DOUBLE": "float64", "DT_HALF": "float16"}


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
