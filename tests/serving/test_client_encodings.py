"""Answers that are large, or encoded as the model server does by default."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from prediction_server import Server

from kerasgen.serving.client import GrpcClient
from kerasgen.serving.model_client import ServingError


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
