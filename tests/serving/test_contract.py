"""Content of an exported folder: operations, warm-up requests, manifest; hostile files refused."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.python.client.pywrap_tf_session import TF_SessionRun_wrapper
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig
from toy_run import write_toy_run

from kerasgen.errors import InputError
from kerasgen.models.trained import load_trained
from kerasgen.serving.inspection import CALLS, CHECKPOINT, check_graph
from kerasgen.serving.saved_model import export_model, load_exported
from kerasgen.serving.versions import file_checksums
from kerasgen.serving.warm_up import WARM_UP, length_delimited
from kerasgen.zoo.catalogue import recipes

CONFIGS = Path(__file__).parents[2] / "exported"
TRAINING = ("Grad", "Apply", "Dropout", "Optimizer", "Assign", "Random")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_run(tmp_path_factory.mktemp("runs") / "toy-1")


@pytest.fixture(scope="module")
def folder(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    report = run_folder / "report"
    report.mkdir()
    calibrated = {"metrics": {"w1": {"value": 1.5}}, "verdict": "within floor", "outside": []}
    plain = {"metrics": {"w1": {"value": 9.5}}, "verdict": "outside floor", "outside": ["w1"]}
    document = {
        "candidates": {"uncalibrated": plain, "calibrated": calibrated},
        "data": {"x.h5": "ab"},
    }
    (report / "metrics.json").write_text(json.dumps(document | plain))
    trained = load_trained(run_folder)
    return export_model(trained, tmp_path_factory.mktemp("exported"), "toy")


def read_meta_graph(folder: Path) -> Any:
    model = SavedModel()
    model.ParseFromString((folder / "saved_model.pb").read_bytes())
    (meta,) = model.meta_graphs
    return meta


def test_operations_of_the_file_are_stock_and_none_trains(folder: Path) -> None:
    """Inspects the file itself, as any program would load it."""
    check_graph(folder)
    meta = read_meta_graph(folder)
    library = {f.signature.name: f.node_def for f in meta.graph_def.library.function}
    used = {n.op for n in meta.graph_def.node} | {n.op for f in library.values() for n in f}
    used -= set(library)
    assert used >= {"Conv2D", "StatelessRandomNormalV2", "While"}
    assert {op for op in used if not hasattr(tf.raw_ops, op)} <= {"NoOp", "Const"}
    trains = {op for op in used if any(word in op for word in TRAINING)}
    assert {op for op in trains if not op.startswith("StatelessRandom")} == {"AssignVariableOp"}
    assert not [name for name in library if "grad" in name.lower() or "train" in name.lower()]
    writes = {f for f, nodes in library.items() if any(n.op in CHECKPOINT for n in nodes)}
    assert all("_traced_save" in f or "_traced_restore" in f for f in writes), writes
    assert not any("keras" in str(n.user_object.identifier) for n in meta.object_graph_def.nodes)


ROWS = [2, 0, 1]
PAIRS = [[1, 0]] * 3


@pytest.mark.parametrize("signature", ["serving_default", "digits"])
def test_the_graph_itself_refuses_other_shapes(folder: Path, signature: str) -> None:
    """Feeds inputs unchecked, as model servers do; Python's own session would check them first."""
    cases = [
        ([[2], [0], [1]], PAIRS), (ROWS, [1, 0, 5]), (ROWS, [[1, 0, 3]] * 3), (ROWS, [[1]] * 3),
        (2, [[1, 0]]), (ROWS[:2], PAIRS), (ROWS, PAIRS[:2]),
    ]  # fmt: skip
    with tf.Graph().as_default() as graph, tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
        definition = meta.signature_def[signature]
        tensors = {k: graph.get_tensor_by_name(x.name) for k, x in definition.inputs.items()}
        outputs = [graph.get_tensor_by_name(x.name) for x in definition.outputs.values()]
        session._extend_graph()

        def feed(sensor: Any, seed: Any) -> Any:
            values = {"sensor": np.array(sensor, np.int32), "seed": np.array(seed, np.int64)}
            fed = {tensors[k]._as_tf_output(): v for k, v in values.items()}
            wanted = [x._as_tf_output() for x in outputs]
            return TF_SessionRun_wrapper(session._session, None, fed, wanted, [], None)

        assert all(len(x) == 3 for x in feed(ROWS, PAIRS))
        assert all(len(x) == 0 for x in feed(ROWS[:0], np.zeros((0, 2))))
        for sensor, seed in cases:
            with pytest.raises(tf.errors.InvalidArgumentError):
                feed(sensor, seed)


def test_warm_up_requests_are_those_of_tensorflow_serving(folder: Path) -> None:
    records = list(tf.data.TFRecordDataset(str(folder / WARM_UP)).as_numpy_iterator())
    signatures = tf.saved_model.load(str(folder)).signatures
    assert len(records) == len(signatures) == 2
    for record in records:
        log = PredictionLog.FromString(record)
        assert log.WhichOneof("log_type") == "predict_log"
        request = log.predict_log.request
        assert request.model_spec.name == "toy"
        answer = signatures[request.model_spec.signature_name](
            **{k: tf.constant(tf.make_ndarray(v)) for k, v in request.inputs.items()}
        )
        assert len(next(iter(answer.values()))) == 1


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16383, 16384, 300000])
def test_fields_of_any_length(size: int) -> None:
    text = "x" * size
    content = text.encode()
    for number in (1, 1, 1, 6):
        content = length_delimited(number, content)
    message = PredictionLog.FromString(content)
    assert message.predict_log.request.model_spec.name == text


def test_manifest_holds_metrics_and_checksums(folder: Path) -> None:
    table = json.loads((folder / "manifest.json").read_text())
    assert table["evaluation"]["metrics"]["w1"]["value"] == 1.5
    assert table["evaluation"]["data"] == {"x.h5": "ab"}
    names = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert set(table["files"]) == names - {"manifest.json"}
    assert table["files"] == file_checksums(folder)


def copy_folder(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to


def test_a_changed_or_missing_file_is_found_before_it_is_loaded(
    folder: Path, tmp_path: Path
) -> None:
    data = "variables/variables.data-00000-of-00001"
    copy = copy_folder(folder, tmp_path / "copy")
    content = bytearray((copy / data).read_bytes())
    content[-5] ^= 1
    (copy / data).write_bytes(content)
    with pytest.raises(InputError, match=f"damaged, {data} is not the file that manifest.json"):
        load_exported(copy)
    (copy / data).unlink()
    with pytest.raises(InputError, match=f"incomplete, {data} is missing"):
        load_exported(copy)


def test_a_damaged_report_is_named(run_folder: Path, tmp_path: Path) -> None:
    copy = copy_folder(run_folder, tmp_path / "run")
    (copy / "report" / "metrics.json").write_text("{")
    with pytest.raises(InputError, match=r"metrics\.json: damaged"):
        export_model(load_trained(copy), tmp_path / "out", "toy")
    assert not (tmp_path / "out").exists()


# Hostile models. Each gets a manifest with the checksums of its own files, as an attacker would.


def python_call(marker: str) -> Callable[[Any], Any]:
    return lambda x: tf.py_function(lambda y: Path(marker).write_text("x") and y, [x], tf.int32)


def numpy_call(marker: str) -> Callable[[Any], Any]:
    return lambda x: tf.numpy_function(lambda y: y, [x], tf.int32, stateful=False)


def written_file(marker: str) -> Callable[[Any], Any]:
    def call(x: Any) -> Any:
        with tf.control_dependencies([tf.io.write_file(marker, "x")]):
            return tf.identity(x)

    return call


def in_a_loop(marker: str) -> Callable[[Any], Any]:
    return lambda x: tf.map_fn(written_file(marker), x)


def read_file(marker: str) -> Callable[[Any], Any]:
    return lambda x: x + tf.strings.length(tf.io.read_file("/etc/hostname"))


def saved_variables(marker: str) -> Callable[[Any], Any]:
    def call(x: Any) -> Any:
        tf.raw_ops.SaveV2(prefix=marker, tensor_names=["x"], shape_and_slices=[""], tensors=[x])
        return x

    return call


HOSTILE = {"EagerPyFunc": python_call, "PyFuncStateless": numpy_call, "WriteFile": written_file,
           "WriteFile_": in_a_loop, "ReadFile": read_file, "SaveV2": saved_variables}  # fmt: skip


def with_manifest(folder: Path, original: Path) -> Path:
    table = json.loads((original / "manifest.json").read_text())
    table["files"] = file_checksums(folder)
    (folder / "manifest.json").write_text(json.dumps(table))
    return folder


@pytest.mark.parametrize("name", HOSTILE)
def test_operations_with_side_effects_are_refused(folder: Path, tmp_path: Path, name: str) -> None:
    marker, hostile = tmp_path / "marker", tmp_path / "hostile"
    module = tf.Module()
    module.call = tf.function(HOSTILE[name](str(marker)), [tf.TensorSpec([None], tf.int32)])
    tf.saved_model.save(module, str(hostile), {"serving_default": module.call})
    op = name.rstrip("_")
    with pytest.raises(InputError, match=f"refused, the operation '{op}' at "):
        load_exported(with_manifest(hostile, folder))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["hostile"]


def test_an_unknown_operation_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = copy_folder(folder, tmp_path / "copy")
    content = (copy / "saved_model.pb").read_bytes()
    (copy / "saved_model.pb").write_bytes(content.replace(b"\x06Conv2D", b"\x06Conv2X"))
    with pytest.raises(InputError, match="refused, the operation 'Conv2X' at "):
        load_exported(with_manifest(copy, folder))


def test_nothing_runs_while_loading(folder: Path, tmp_path: Path) -> None:
    """Initialisers of TensorFlow 1, of tables, and one added to a good file."""
    marker, old = tmp_path / "marker", tmp_path / "old"
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.int32, [None])
        signature = tf.compat.v1.saved_model.predict_signature_def({"x": x}, {"y": x + 1})
        builder = tf.compat.v1.saved_model.Builder(str(old))
        builder.add_meta_graph_and_variables(
            session, ["serve"], {"serving_default": signature},
            main_op=tf.io.write_file(str(marker), "x"),
        )  # fmt: skip
        builder.save()
    with pytest.raises(InputError, match="refused, it wants to run the initialisers of TensorFlow"):
        load_exported(with_manifest(old, folder))
    assert not marker.exists()
    tf.saved_model.load(str(old))
    assert marker.exists()  # proves that the file is hostile
    marker.unlink()

    words = tmp_path / "words.txt"
    words.write_text("a\nb\n")
    module = tf.Module()
    entries = tf.lookup.TextFileInitializer(
        str(words), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
        tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
    )  # fmt: skip
    module.table = tf.lookup.StaticHashTable(entries, 0)
    module.call = tf.function(lambda x: x, [tf.TensorSpec([None], tf.int32)])
    tf.saved_model.save(module, str(tmp_path / "table"), {"serving_default": module.call})
    with pytest.raises(InputError, match="refused, it wants to run the initialiser of a"):
        load_exported(with_manifest(tmp_path / "table", folder))

    copy = copy_folder(folder, tmp_path / "copy")
    model = SavedModel()
    model.ParseFromString((copy / "saved_model.pb").read_bytes())
    (node,) = (n for n in model.meta_graphs[0].graph_def.node if n.op == "NoOp")
    node.input.append("^StatefulPartitionedCall")
    (copy / "saved_model.pb").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=r"refused, it wants to run the operation NoOp"):
        load_exported(with_manifest(copy, folder))


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


def test_weights_and_calibration_run_nothing(run_folder: Path, tmp_path: Path) -> None:
    """Pickled arrays and the configuration of a Lambda layer are never read."""
    marker, run = tmp_path / "marker", copy_folder(run_folder, tmp_path / "run")
    payload = Payload(marker)
    np.savez(
        run / "calibration.npz", threshold=np.array([payload], object), quantile_map=np.zeros(1)
    )
    with pytest.raises(InputError, match="not a calibration"):
        load_trained(run)
    assert not marker.exists()
    with open(run / "calibration.npz", "wb") as file:
        pickle.dump(payload, file)
    with pytest.raises(InputError, match="not a calibration"):
        load_trained(run)
    code = f"__import__('pathlib').Path({str(marker)!r}).touch()"
    layer = {"class_name": "Lambda", "config": {"function": {"class_name": "__lambda__",
             "config": {"code": code}}}}  # fmt: skip
    with h5py.File(run / "model.weights.h5", "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": [layer]})
        file.create_group("layers").attrs["function"] = code
    with pytest.raises(InputError, match="damaged, or not the weights"):
        load_trained(run)
    assert not marker.exists()
    pickle.loads(pickle.dumps(payload))
    assert marker.exists()  # proves that the payload is hostile


def test_server_configurations_are_those_of_the_recipes() -> None:
    config = ModelServerConfig()
    text_format.Parse((CONFIGS / "models.config").read_text(), config)
    models = config.model_config_list.config
    assert models
    for model in models:
        assert model.name in recipes()
        assert model.base_path == f"/models/{model.name}"
        assert model.model_platform == "tensorflow"


def test_calls_are_operations_that_tensorflow_has() -> None:
    assert all(hasattr(tf.raw_ops, op) for op in CALLS | CHECKPOINT)
