"""The configuration for Triton in the documents: its schema, and the tensors of a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from onnx_models import gan_model

from kerasgen.data.geometry import load_geometry
from kerasgen.serving.onnx_export import export_onnx
from kerasgen.serving.onnx_model import OnnxModel

DOCUMENT = Path(__file__).parents[2] / "docs/onnx.md"
TENSOR = re.compile(r'name: "(\w+)" data_type: TYPE_(\w+) dims: \[ ([-\d, ]+) \]')
Tensors = dict[str, dict[str, tuple[str, list[int]]]]


def configuration() -> str:
    """The text of config.pbtxt."""
    section = DOCUMENT.read_text("utf-8").split("## Triton")[1]
    return section.split("```pbtxt\n")[1].split("```")[0]


def tensors() -> Tensors:
    """{side: {name: (type, shape)}} of the configuration."""
    parts = re.findall(r"^(input|output) \[(.*?)^\]", configuration(), re.S | re.M)
    return {
        side: {
            name: (kind.lower(), [int(x) for x in dims.split(",")])
            for name, kind, dims in TENSOR.findall(text)
        }
        for side, text in parts
    }


@pytest.mark.slow
def test_it_names_the_tensors_of_a_file(tmp_path: Path) -> None:
    trained = gan_model(tmp_path / "run")
    model = OnnxModel(export_onnx(trained, tmp_path / "out", "toy", ["serving_default"])[0])
    signature = model.manifest["signatures"]["serving_default"]
    pxd = load_geometry("belle2-pxd")
    sizes = {"N": -1, trained.schema.rows: pxd.rows, trained.schema.cols: pxd.cols}

    def of_pxd(tensor: dict[str, Any]) -> tuple[str, list[int]]:
        return tensor["type"], [sizes.get(x, x) for x in tensor["shape"]]

    for side, found in tensors().items():
        assert found == {name: of_pxd(x) for name, x in signature[f"{side}s"].items()}
    assert tensors().keys() == {"input", "output"}


def test_it_follows_the_schema_of_triton() -> None:
    schema = pytest.importorskip(
        "tritonclient.grpc.model_config_pb2", reason="tritonclient is not installed"
    )
    text_format = pytest.importorskip("google.protobuf.text_format")
    parsed = text_format.Parse(configuration(), schema.ModelConfig())
    assert [x.name for x in parsed.input] == list(tensors()["input"])
    assert [list(x.dims) for x in parsed.output] == [x[1] for x in tensors()["output"].values()]
    assert parsed.backend == "onnxruntime"
