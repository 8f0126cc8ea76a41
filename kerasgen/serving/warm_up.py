"""Requests that a model server answers for itself before it opens a new version to clients.

The first call of a graph is slower than all others (memory, plans of convolutions). TensorFlow
Serving reads ``assets.extra/tf_serving_warmup_requests``, a TFRecord file of ``PredictionLog``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from numpy.typing import NDArray

WARM_UP = Path("assets.extra") / "tf_serving_warmup_requests"
Inputs = Mapping[str, NDArray[Any]]


def write_warm_up(folder: Path, model: str, requests: Mapping[str, Inputs]) -> None:
    """Write one request per signature into the folder of a version.

    Arguments:
        model: name that the model is served under.
        requests: {signature: {input: values}}.
    """
    path = folder / WARM_UP
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as file:
        for signature, inputs in requests.items():
            file.write(prediction_log(model, signature, inputs))


def prediction_log(model: str, signature: str, inputs: Inputs) -> bytes:
    """A serialised ``tensorflow.serving.PredictionLog`` that holds one ``PredictRequest``.

    Put together by hand, from five field numbers, so that an export does not depend on the
    optional package with the real classes; the tests read it with these.
    """
    spec = field(1, model.encode()) + field(3, signature.encode())
    request = field(1, spec)
    for name, values in inputs.items():
        tensor = tf.make_tensor_proto(values).SerializeToString()
        request += field(2, field(1, name.encode()) + field(2, tensor))
    return field(6, field(1, request))  # PredictionLog.predict_log, PredictLog.request


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field of the protocol buffer wire format; field numbers below 16."""
    size, length = len(content), b""
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content
