"""The generator and the module for basf2, with stand-ins of the framework's classes.

The stand-ins follow the documented interface of basf2's ``pxd.background_generator``; nothing here
runs inside basf2.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import tensorflow as tf

from kerasgen.data.geometry import load_geometry
from kerasgen.serving.onnx_convert import converted

EXAMPLE = Path(__file__).parents[2] / "examples" / "basf2" / "onnx_background.py"
GEOMETRY = load_geometry("belle2-pxd")
ROWS = [tf.TensorSpec([None], tf.int32, "sensor"), tf.TensorSpec([None, 2], tf.int64, "seed")]


@tf.function(input_signature=ROWS, autograph=False)
def few_pixels(sensor: Any, seed: Any) -> dict[str, Any]:
    """One pixel of each sensor, whose row, column and charge follow from sensor and seed."""
    number = seed[:, 0] * 7 + seed[:, 1] * 3 + tf.cast(sensor, tf.int64)
    place = tf.stack([number % 250, number % 768], 1)
    known = tf.logical_and(sensor >= 0, sensor < 40)
    charge = tf.where(known, 7 + number % 240, 0)
    rows = tf.range(tf.shape(sensor)[0], dtype=tf.int64)[:, None]
    shape = tf.stack([tf.shape(sensor, tf.int64)[0], 250, 768])
    images = tf.scatter_nd(tf.concat([rows, place], 1), tf.cast(charge, tf.int32), shape)
    images = tf.ensure_shape(images, [None, 250, 768])
    return {"adu": tf.cast(images, tf.uint8), "status": 1 - tf.cast(known, tf.int32)}


@pytest.fixture(scope="module")
def payload() -> bytes:
    return converted(few_pixels).SerializeToString()


@pytest.fixture(scope="module")
def example() -> Any:
    return load_example()


def load_example() -> Any:
    spec = importlib.util.spec_from_file_location("onnx_background", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_contract_of_generate(example: Any, payload: bytes) -> None:
    first, second = (example.Generator(payload, seed=5, nintra=n, ninter=n) for n in (1, 2))
    images = [first.generate() for _ in range(3)]
    assert {(x.shape, x.dtype.name) for x in images} == {((40, 250, 768), "uint8")}
    assert not np.array_equal(images[0], images[1])
    for number, image in enumerate(images):
        np.testing.assert_array_equal(second.generate(), image)
        np.testing.assert_array_equal(first.generate(number), image)
    charges = np.stack(images)[np.stack(images) > 0]
    assert charges.min() >= GEOMETRY.threshold
    assert not np.array_equal(example.Generator(payload, seed=6).generate(0), images[0])


def test_sensors_are_those_of_the_geometry(example: Any) -> None:
    names = [".".join(map(str, x)) for x in example.sensor_numbers()]
    assert names == [sensor.name for sensor in GEOMETRY.sensors]
    assert (len(names), GEOMETRY.rows, GEOMETRY.cols) == example.SHAPE


def test_bad_arguments_are_refused(example: Any, payload: bytes, tmp_path: Path) -> None:
    for name, value in (("nintra", 0), ("ninter", -1), ("seed", 2**63)):
        with pytest.raises(ValueError, match=f"{name} {value}: allowed"):
            example.Generator(payload, **({"seed": 1} | {name: value}))
    with pytest.raises(TypeError, match="nintra: a whole number is needed"):
        example.Generator(payload, seed=1, nintra=1.5)
    with pytest.raises(RuntimeError, match="no ONNX model"):
        example.Generator(b"broken", seed=1)
    other = onnx.load_from_string(payload)
    other.graph.input[0].name = "other"
    for node in other.graph.node:
        node.input[:] = ["other" if x == "sensor" else x for x in node.input]
    with pytest.raises(RuntimeError, match="no model of images of the Belle II PXD"):
        example.Generator(other.SerializeToString(), seed=1)
    with pytest.raises(FileNotFoundError):
        example.Generator(tmp_path / "missing", seed=1)


def test_it_needs_numpy_and_onnxruntime_alone(payload: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(payload)
    program = (
        "import sys, json\n"
        f"sys.path.insert(0, {str(EXAMPLE.parent)!r})\n"
        "names = 'tensorflow keras torch jax onnx tf2onnx kerasgen scipy h5py basf2 ROOT'\n"
        "for name in names.split(): sys.modules[name] = None\n"
        "from onnx_background import Generator\n"
        "image = Generator('model.onnx', seed=3).generate()\n"
        "print(json.dumps([image.shape, str(image.dtype), int(image.sum())]))\n"
    )
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    sensors = tf.range(40)
    expected = few_pixels(sensors, tf.constant([[3, 0]] * 40, tf.int64))["adu"].numpy()
    assert json.loads(done.stdout) == [[40, 250, 768], "uint8", int(expected.sum())]


class DigitArray(list[tuple[int, ...]]):
    """Stand-in of ``PyStoreArray`` of PXD digits; ``fillArray`` appends."""

    name = ""

    def registerInDataStore(self, name: str) -> None:
        self.name = name

    def getPtr(self) -> Any:
        return SimpleNamespace(Clear=self.clear)

    def fillArray(self, sensorID: Any, uCellID: Any, vCellID: Any, charge: Any) -> None:
        columns = sensorID, uCellID, vCellID, charge
        assert {x.dtype for x in columns} == {np.dtype(np.ushort)}
        self.extend(zip(*(x.tolist() for x in columns), strict=True))


class Framework:
    """Stand-ins of the modules ``basf2`` and ``ROOT``."""

    def __init__(self, file: Path) -> None:
        self.digits = DigitArray()
        self.tags: list[str] = []
        self.payloads: list[Any] = []
        self.numbers = (1, 2, 3)
        belle2: Any = ModuleType("ROOT.Belle2")
        belle2.DataStore = SimpleNamespace(c_Persistent=1, c_DontWriteOut=2)
        belle2.DBStoreEntry = SimpleNamespace(c_RawFile=3)
        belle2.DBAccessorBase = lambda *x: (
            self.payloads.append(x) or SimpleNamespace(getFilename=lambda: str(file))
        )
        belle2.PyStoreObj = lambda name, *_: SimpleNamespace(
            isValid=lambda: name == "BackgroundInfo",
            getExtensionName=lambda: "_background",
            getExperiment=lambda: self.numbers[0],
            getRun=lambda: self.numbers[1],
            getEvent=lambda: self.numbers[2],
        )
        belle2.PyStoreArray = lambda *_: self.digits
        belle2.VxdID = lambda *x: SimpleNamespace(
            getID=lambda: next(s.id for s in GEOMETRY.sensors if s.name == ".".join(map(str, x)))
        )
        basf2: Any = ModuleType("basf2")
        basf2.Module = type("Module", (), {})
        basf2.conditions = SimpleNamespace(append_globaltag=self.tags.append)
        basf2.get_random_seed = lambda: "some seed"
        basf2.B2INFO = basf2.B2ERROR = lambda _: None
        root: Any = ModuleType("ROOT")
        root.Belle2 = belle2
        self.modules = {"basf2": basf2, "ROOT": root, "ROOT.Belle2": belle2}


@pytest.fixture
def framework(payload: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Framework:
    (tmp_path / "payload").write_bytes(payload)
    stand_in = Framework(tmp_path / "payload")
    for name, module in stand_in.modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return stand_in


def test_the_module_writes_the_digits_of_the_generator(framework: Framework) -> None:
    example = load_example()
    module = example.OnnxBackgroundGenerator()
    module.initialize()
    assert framework.tags == ["PXDBackgroundGenerator"]
    assert framework.payloads == [(3, "PXDBackgroundGenerator_kerasgen", True)]
    assert framework.digits.name == "PXDDigits_background"
    found = []
    for event in (3, 4, 3):
        framework.numbers = (1, 2, event)
        framework.digits.append((0, 0, 0, 0))  # of BGOverlayInput
        module.event()
        images = module.generator.generate(example.hashed(1, 2, event))
        sensor, row, col = images.nonzero()
        ids = [GEOMETRY.sensors[s].id for s in sensor]
        charge = images[sensor, row, col]
        assert framework.digits == list(zip(ids, row, col, charge, strict=True))
        found.append(list(framework.digits))
    assert found[0] == found[2] != found[1]


def test_seeds_of_the_module(framework: Framework, tmp_path: Path) -> None:
    example = load_example()
    seeds = []
    for seed in (None, None, 12):
        module = example.OnnxBackgroundGenerator(tmp_path / "payload", seed, nintra=2)
        module.initialize()
        seeds.append(module.generator.seed)
    assert framework.tags == framework.payloads == []
    assert seeds[0] == seeds[1] == example.hashed("some seed")
    assert seeds[2] == 12
