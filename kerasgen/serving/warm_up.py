"""Warm-up requests: a model server runs them before clients can use a new version.

The first call of a graph is slower than later calls (memory, plans of convolutions). TensorFlow
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

    Args:
        folder: of the version.
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

    The message is encoded by hand, from five field numbers, so that an export does not depend on
    the optional package with its classes; the tests parse it with these classes.

    Args:
        model: name that the model is served under.
        signature: name of the signature.
        inputs: values by the name of the input.
    """
    spec = length_delimited(1, model.encode()) + length_delimited(3, signature.encode())
    request = length_delimited(1, spec)
    for name, values in inputs.items():
        tensor = tf.make_tensor_proto(values).SerializeToString()
        entry = length_delimited(1, name.encode()) + length_delimited(2, tensor)
        request += length_delimited(2, entry)
    # PredictionLog.predict_log, PredictLog.request
    return length_delimited(6, length_delimited(1, request))


def length_delimited(number: int, content: bytes) -> bytes:
    """A length-delimited field of the protocol buffer wire format.

    Args:
        number: of the field, below 16.
        content: of the field.
    """
    size, length = len(content), b""
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content
