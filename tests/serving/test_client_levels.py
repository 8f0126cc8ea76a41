"""Levels and background types through a model server, by gRPC and REST."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from onnx_models import growth_model
from prediction_server import Server

from kerasgen.data.pixel_events import event_hits
from kerasgen.errors import InputError
from kerasgen.models.trained import Trained
from kerasgen.serving.client import GrpcClient, RestClient
from kerasgen.serving.model_client import ModelClient
from kerasgen.serving.saved_model import export_model

# Keras converts its variables so while it saves them.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ROWS: dict[str, Any] = {"sensor": [0, 1, 2], "seed": [[3, 0], [3, 1], [3, 2]]}
LEVEL = np.float32([[1, 2, 0], [0.5, 0.5, 0.5], [0, 0, 0]])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return growth_model(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def server(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = export_model(trained, tmp_path_factory.mktemp("exported"), "small").parent
    server = Server({"small": folder}, max_batch_size=40)
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["grpc", "rest"])
def client(request: pytest.FixtureRequest, server: Server, trained: Trained) -> ModelClient:
    types = trained.generator.types
    if request.param == "grpc":
        return GrpcClient(f"localhost:{server.port}", "small", types=types)
    return RestClient(f"http://localhost:{server.rest_port}", "small", types=types)


def test_levels_of_types_are_those_of_the_generator(client: ModelClient, trained: Trained) -> None:
    seed = np.array(ROWS["seed"])
    rows = {"sensor": np.int32(ROWS["sensor"]), "seed": seed, "level": LEVEL}
    for name in ("digits_level", "dense_level"):
        found = getattr(client, name)(**ROWS, level=LEVEL)
        expected = getattr(trained.generator, name)(**rows)
        assert found.keys() == expected.keys()
        for key, x in found.items():
            np.testing.assert_array_equal(x, expected[key], err_msg=key)
            assert x.dtype == np.asarray(expected[key]).dtype


def test_events_of_a_client_have_types(client: ModelClient, trained: Trained) -> None:
    for level in (None, 0.5, {"synchrotron": 3.0}):
        ours, theirs = (
            event_hits(x, trained.schema, range(2), 5, level) for x in (client, trained.generator)
        )
        for name, x in vars(ours).items():
            np.testing.assert_array_equal(x, getattr(theirs, name), err_msg=name)


@pytest.mark.parametrize(
    ("level", "words"),
    [
        ([1.0, 1.0, 1.0], r"level \[3\]: expected \[3, types\]"),
        ([[1.0]], r"level \[1, 1\]: expected \[3, types\]"),
        ([[1.0], [-1.0], [1.0]], r"level -1\.0: allowed: 0\.\.10"),
        ([[1.0], [np.nan], [1.0]], r"level nan: allowed: 0\.\.10"),
    ],
)
def test_levels_that_are_none_are_refused(client: ModelClient, level: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        client.digits_level(**ROWS, level=level)
