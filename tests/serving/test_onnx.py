"""Exported ONNX models in ONNX Runtime, on one thread, against the generators."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from onnx_models import flow_model, gan_model, growth_model, point_model

from kerasgen.data.pixel_events import one_event
from kerasgen.errors import InputError
from kerasgen.models.algorithm import Served
from kerasgen.models.trained import Trained
from kerasgen.serving.onnx_export import converted_signatures, export_onnx
from kerasgen.serving.onnx_model import OnnxModel

# Bits of matrix products differ between the programs: now and then another pixel is drawn.
MAX_DIFFERENCE = 1e-3  # of the fired pixels of both
KNOWN = 22  # rows with a sensor that exists
ROWS = {
    "sensor": np.array([*np.arange(KNOWN) % 3, 3, -1], np.int32),
    "seed": np.array(
        [[3, 4], [3, 4], [-(2**63), 2**63 - 1], *([5, k] for k in range(KNOWN - 1))], np.int64
    ),
}
MAKE = {"growth": growth_model, "gan": gan_model}
Pair = tuple[Trained, OnnxModel]


@pytest.fixture(scope="module", params=MAKE)
def pixels(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A model of pixel hits, and its signature ``digits`` as ONNX."""
    home = tmp_path_factory.mktemp("pixels")
    trained = MAKE[request.param](home / "run")
    return trained, OnnxModel(export_onnx(trained, home / "out", "small", ["digits"])[0])


@pytest.fixture(scope="module")
def gan(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A GAN of two image channels and all its signatures."""
    home = tmp_path_factory.mktemp("gan")
    trained = gan_model(home / "run", (2, 6))
    folder, left_out = export_onnx(trained, home / "out", "toy")
    assert left_out == {}
    return trained, OnnxModel(folder)


@pytest.fixture(scope="module", params=["jet_vae_flow", "superpixel_vae"])
def points(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Two signatures of jets with a flow, or all of digits."""
    home = tmp_path_factory.mktemp("points")
    trained = point_model(home / "run", request.param)
    some = ["serving_default", "encode"] if request.param == "jet_vae_flow" else None
    return trained, OnnxModel(export_onnx(trained, home / "out", "points", some)[0])


def images_of(digits: dict[str, NDArray[Any]], rows: int, cols: int) -> NDArray[np.int64]:
    """Hit lists of single-channel events as images [N, rows, cols]."""
    images = np.zeros((len(digits["count"]), rows, cols), np.int64)
    for image, count, hits in zip(images, digits["count"], digits["hits"], strict=True):
        row, col, adu = hits[: max(count, 0)].T
        image[row, col] = adu
    return images


def fraction_of_difference(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Pixels that differ, over those that fired in either."""
    return float(np.count_nonzero(a != b) / max(np.count_nonzero((a != 0) | (b != 0)), 1))


def test_hits_are_those_of_the_generator(pixels: Pair) -> None:
    trained, model = pixels
    size = trained.schema.rows, trained.schema.cols
    ours = {k: np.asarray(x) for k, x in trained.generator.digits(**ROWS).items()}
    theirs = model.digits(**ROWS)
    assert {k: x.dtype for k, x in ours.items()} == {k: x.dtype for k, x in theirs.items()}
    np.testing.assert_array_equal(theirs["count"][KNOWN:], -1)
    images = [images_of(x, *size) for x in (ours, theirs)]
    assert np.count_nonzero(images[0]) > 100
    assert fraction_of_difference(*images) <= MAX_DIFFERENCE
    fired = images[1][images[1] > 0]
    assert trained.schema.threshold <= fired.min() <= fired.max() <= trained.schema.max_charge
    other = model.digits(sensor=ROWS["sensor"], seed=ROWS["seed"] ^ 1)
    assert fraction_of_difference(images[0], images_of(other, *size)) > 0.5


def test_a_row_does_not_depend_on_the_others(pixels: Pair) -> None:
    _, model = pixels
    together = model.digits(**ROWS)
    for row in range(4):
        alone = model.digits(**{name: x[row : row + 1] for name, x in ROWS.items()})
        count = together["count"][row]
        assert alone["count"] == [count]
        np.testing.assert_array_equal(alone["hits"][0, :count], together["hits"][row, :count])


def test_images_without_hits(pixels: Pair) -> None:
    """Alone in a call, so that there are no hits at all; random numbers make some such images."""
    trained, model = pixels
    for event in range(60):
        inputs = {"sensor": np.int32([1]), "seed": np.array([[4, event]])}
        count = trained.generator.digits(**inputs)["count"].numpy()
        np.testing.assert_array_equal(model.digits(**inputs)["count"], count)
    assert model.digits(sensor=[9, 9], seed=[[1, 1]] * 2)["hits"].shape[1] == 0


def test_it_replaces_a_generator(pixels: Pair) -> None:
    trained, model = pixels
    ours, theirs = (one_event(x, trained.schema, 5, 8) for x in (trained.generator, model))
    np.testing.assert_array_equal(ours.indptr, theirs.indptr)
    np.testing.assert_array_equal(ours.row, theirs.row)
    np.testing.assert_array_equal(ours.adu, theirs.adu)


def test_many_images_are_many_blocks(pixels: Pair) -> None:
    _, model = pixels
    seed = np.array([[1, k] for k in range(43)])
    found = model.digits(sensor=np.arange(43) % 3, seed=seed)
    last = model.digits(sensor=[42 % 3], seed=seed[-1:])
    assert found["count"][-1] == last["count"][0]


def test_flow_matching_makes_the_jets_of_the_generator(tmp_path: Path) -> None:
    trained = flow_model(tmp_path / "run")
    folder, left_out = export_onnx(trained, tmp_path / "out", "jet_flow")
    assert left_out == {}
    model = OnnxModel(folder)
    seed = np.array([[7, k] for k in range(30)])
    found = model.serving_default(seed=seed)
    for name, x in trained.generator.generate(seed).items():
        # Each coordinate sorted: points of equal pT change places by rounding.
        ours, theirs = (
            np.sort(y, axis=1) if name == "points" else y for y in (found[name], np.asarray(x))
        )
        np.testing.assert_allclose(ours, theirs, atol=1e-4, err_msg=name)
    assert found["points"].std() > 0.05
    of_class = model.generate_class(seed=seed, label=np.ones(30, np.int32))
    np.testing.assert_array_equal(of_class["label"], 1)


def test_images_and_hits_of_two_channels(gan: Pair) -> None:
    trained, model = gan
    dense = model.serving_default(**ROWS)
    expected = trained.generator.dense(**ROWS)
    assert dense["adu"].dtype == np.uint8
    assert fraction_of_difference(dense["adu"], np.asarray(expected["adu"])) <= MAX_DIFFERENCE
    np.testing.assert_array_equal(dense["status"], [0] * KNOWN + [1, 1])
    assert model.types == (2, 6)
    same = np.asarray(expected["adu"]) == dense["adu"]
    np.testing.assert_array_equal(dense["type"][same], np.asarray(expected["type"])[same])
    digits = model.digits(**ROWS)
    assert digits["hits"].shape[2] == 3
    assert set(np.unique(digits["type"])) == {0, 2, 6}
    fired = np.count_nonzero(dense["adu"], axis=(1, 2))[:KNOWN]
    np.testing.assert_array_equal(fired, digits["count"][:KNOWN])


def test_point_sets_are_those_of_the_generator(points: Pair) -> None:
    trained, model = points
    seed = np.array([[1, k] for k in range(20)])
    ours = {k: x.numpy() for k, x in trained.generator.generate(seed).items()}
    label = np.arange(20, dtype=np.int32) % 12 - 1
    calls: dict[str, dict[str, Any]] = {
        "generate": {"seed": seed},
        "generate_class": {"seed": seed, "label": label},
        "encode": {name: ours[name] for name in ("points", "count", "label", "jet")},
    }
    calls["reconstruct"] = calls["encode"]
    for signature, inputs in calls.items():
        name = "serving_default" if signature == "generate" else signature
        if name in model.manifest["signatures"]:
            expected = getattr(trained.generator, signature)(**inputs)
            found = getattr(model, name)(**inputs)
            assert expected.keys() == found.keys()
            for key, values in expected.items():
                np.testing.assert_allclose(found[key], values, rtol=1e-4, atol=1e-5)
    other = model.serving_default(seed=seed + 1)["points"]
    assert np.abs(other - ours["points"]).max() > 0.01


def test_what_onnx_cannot_express_is_left_out() -> None:
    one = [tf.TensorSpec([None], tf.float32, "x")]
    functions = {
        "good": tf.function(lambda x: {"y": 2 * x}, input_signature=one),
        "bits": tf.function(lambda x: {"y": tf.bitcast(x, tf.int32)}, input_signature=one),
    }
    graphs, left_out = converted_signatures(Served([], None, functions, "good", {}, {}), None)
    assert graphs.keys() == {"serving_default"}
    assert "Bitcast" in left_out["bits"]
    with pytest.raises(InputError, match="bits: Bitcast"):
        converted_signatures(Served([], None, functions, "good", {}, {}), ["bits"])
    with pytest.raises(InputError, match="serving_default: Bitcast"):
        converted_signatures(Served([], None, functions, "bits", {}, {}), None)


def test_files_say_what_they_are(gan: Pair) -> None:
    trained, model = gan
    assert sorted(p.name for p in model.folder.iterdir()) == [
        "digits.onnx", "manifest.json", "model.onnx"
    ]  # fmt: skip
    table = json.loads((model.folder / "manifest.json").read_text())
    assert (table["format"], table["opset"], table["licence"]) == ("onnx", 18, "MIT")
    assert table["schema"] == json.loads(trained.schema.to_json())
    assert table["files"].keys() == {"digits.onnx", "model.onnx"}
    assert table["calibrated"] is True
    for name, file in (("serving_default", "model.onnx"), ("digits", "digits.onnx")):
        graph = onnx.load(model.folder / file)
        onnx.checker.check_model(graph, full_check=True)
        written = {x.key: json.loads(x.value) for x in graph.metadata_props}
        assert written["signature"] == name
        assert written["schema"]["threshold"] == trained.schema.threshold
        assert written["licence"] == "MIT"
        session = model.session(name)
        for side, tensors in (("inputs", session.get_inputs()), ("outputs", session.get_outputs())):
            described = table["signatures"][name][side]
            assert [x.name for x in tensors] == list(described)
            assert all(x["meaning"] for x in described.values())
            assert "tensor(bool)" not in [x.type for x in tensors]
    inputs = table["signatures"]["digits"]["inputs"]
    assert inputs["seed"] | {"meaning": ""} == {"type": "int64", "shape": ["N", 2], "meaning": ""}


def test_neither_tensorflow_nor_keras_is_imported(gan: Pair) -> None:
    program = (
        "import sys, numpy\n"
        "for name in ('tensorflow', 'keras', 'torch', 'jax', 'onnx'): sys.modules[name] = None\n"
        "from kerasgen.serving.onnx_model import OnnxModel\n"
        "model = OnnxModel(sys.argv[1])\n"
        "print(model.digits(sensor=[0, 1], seed=numpy.ones((2, 2)))['count'].tolist())\n"
    )
    command = [sys.executable, "-W", "error", "-c", program, str(gan[1].folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = gan[1].digits(sensor=[0, 1], seed=np.ones((2, 2)))["count"]
    assert json.loads(done.stdout) == expected.tolist()


def test_bad_calls_are_one_line(gan: Pair) -> None:
    with pytest.raises(InputError, match="digits takes sensor, seed, not sensor"):
        gan[1].digits(sensor=[0])
    with pytest.raises(InputError, match="equally many rows"):
        gan[1].digits(sensor=[0, 1], seed=[[1, 1]])
    with pytest.raises(InputError, match="digits: "):
        gan[1].digits(sensor=[0], seed=[[1, 1, 1]])
    with pytest.raises(InputError, match="digits: at least one row is needed"):
        gan[1].digits(sensor=np.zeros(0), seed=np.zeros((0, 2)))
    with pytest.raises(InputError, match="no signature 'dense'"):
        export_onnx(gan[0], gan[1].folder, "toy", ["dense"])


def test_damaged_exports_are_bad_input(gan: Pair, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    with pytest.raises(InputError, match=r"holds no exported model \(no manifest\.json\)"):
        OnnxModel(copy)
    shutil.copytree(gan[1].folder, copy)
    (copy / "model.onnx").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"model\.onnx is not the file that manifest\.json names"):
        OnnxModel(copy)
    table = json.loads((copy / "manifest.json").read_text())
    table["files"] = {}
    (copy / "manifest.json").write_text(json.dumps(table))
    with pytest.raises(InputError, match="damaged, it cannot be loaded"):
        OnnxModel(copy).serving_default(**ROWS)
    del table["signatures"]
    (copy / "manifest.json").write_text(json.dumps(table))
    with pytest.raises(InputError, match="not a manifest"):
        OnnxModel(copy)
