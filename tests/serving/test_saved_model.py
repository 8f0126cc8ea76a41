"""The SavedModel: documented signatures, and the same bits as the generator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from toy_run import write_toy_run

import kerasgen
from kerasgen.data.store import checksum
from kerasgen.errors import InputError
from kerasgen.kinds.pixels import PIXELS
from kerasgen.models.trained import Trained, load_trained
from kerasgen.serving.exported import Exported
from kerasgen.serving.saved_model import export_model, load_exported
from kerasgen.serving.versions import claim_version, is_exported, newest_version, versions
from kerasgen.zoo.lookup import load_model

ROOT = Path(__file__).parents[2]
SENSORS = np.array([2, 0, 1, 2, 0], np.int32)
SEEDS = np.array([[1, 0], [1, 0], [5, 2**40], [1, 0], [-3, 7]], np.int64)
INPUTS = {"sensor": SENSORS, "seed": SEEDS}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return load_trained(write_toy_run(tmp_path_factory.mktemp("runs") / "toy-1"))


@pytest.fixture(scope="module")
def folder(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_model(trained, tmp_path_factory.mktemp("exported"), "toy")


@pytest.fixture(scope="module")
def exported(folder: Path) -> Exported:
    return load_exported(folder)


def test_signatures_are_the_documented_ones(exported: Exported) -> None:
    signatures: Any = exported.generator.model.signatures
    assert set(signatures) == {"serving_default", "digits"}
    inputs = {
        "sensor": tf.TensorSpec([None], tf.int32, "sensor"),
        "seed": tf.TensorSpec([None, 2], tf.int64, "seed"),
    }
    outputs = {
        "serving_default": {"adu": ([None, 20, 48], tf.uint8), "status": ([None], tf.int32)},
        "digits": {"count": ([None], tf.int32), "hits": ([None, None, 3], tf.int16)},
    }
    for name, expected in outputs.items():
        assert signatures[name].structured_input_signature[1] == inputs
        found = signatures[name].structured_outputs
        assert {k: (v.shape.as_list(), v.dtype) for k, v in found.items()} == expected


def test_a_reloaded_model_repeats_the_generator(trained: Trained, exported: Exported) -> None:
    for method, signature in (("dense", "serving_default"), ("digits", "digits")):
        ours = getattr(trained.generator, method)(**INPUTS)
        theirs = getattr(exported.generator, signature)(**INPUTS)
        assert set(ours) == set(theirs)
        for name, values in ours.items():
            np.testing.assert_array_equal(values, theirs[name], err_msg=name)
    assert ours["count"].numpy().sum() > 20


def test_a_row_does_not_depend_on_other_rows(exported: Exported) -> None:
    images = exported.generator.serving_default(**INPUTS)["adu"].numpy()
    np.testing.assert_array_equal(images[0], images[3])
    assert len(np.unique(images.reshape(5, -1), axis=0)) == 4
    for split in ([1, 4], [2, 3], [1] * 5):
        ends = np.cumsum(split)[:-1]
        parts = [
            exported.generator.serving_default(sensor=s, seed=k)["adu"].numpy()
            for s, k in zip(np.split(SENSORS, ends), np.split(SEEDS, ends), strict=True)
        ]
        np.testing.assert_array_equal(np.concatenate(parts), images)
    order = np.array([4, 2, 0, 1, 3])
    permuted = exported.generator.serving_default(sensor=SENSORS[order], seed=SEEDS[order])
    np.testing.assert_array_equal(permuted["adu"], images[order])


def test_another_process_without_kerasgen_gives_the_same_bits(
    exported: Exported, folder: Path, tmp_path: Path
) -> None:
    code = (
        "import sys, numpy as np, tensorflow as tf\n"
        "f = tf.saved_model.load(sys.argv[1]).signatures['serving_default']\n"
        "i = np.load(sys.argv[2])\n"
        "r = f(sensor=tf.constant(i['sensor']), seed=tf.constant(i['seed']))\n"
        "np.save(sys.argv[3], r['adu'].numpy())\n"
        "assert 'kerasgen' not in sys.modules and 'keras' not in str(type(f))\n"
    )
    np.savez(tmp_path / "in.npz", sensor=SENSORS, seed=SEEDS)
    arguments = [str(folder), str(tmp_path / "in.npz"), str(tmp_path / "out.npy")]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, cwd=tmp_path)
    expected = exported.generator.serving_default(**INPUTS)["adu"]
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)


def test_digits_are_the_dense_image(exported: Exported) -> None:
    images = exported.generator.serving_default(**INPUTS)["adu"].numpy()
    found = {k: v.numpy() for k, v in exported.generator.digits(**INPUTS).items()}
    assert found["hits"].shape[1] == found["count"].max()
    for image, count, hits in zip(images, found["count"], found["hits"], strict=True):
        drawn = np.zeros_like(image)
        drawn[hits[:count, 0], hits[:count, 1]] = hits[:count, 2]
        np.testing.assert_array_equal(drawn, image)
        assert (hits[count:] == -1).all()
    assert images[images > 0].min() >= 7


def test_an_unknown_sensor_changes_only_its_own_row(exported: Exported) -> None:
    sensors = np.array([0, 3, -1, 2**31 - 1, 2], np.int32)
    dense = exported.generator.serving_default(sensor=sensors, seed=SEEDS)
    digits = exported.generator.digits(sensor=sensors, seed=SEEDS)
    np.testing.assert_array_equal(dense["status"], [0, 1, 1, 1, 0])
    np.testing.assert_array_equal(digits["count"].numpy()[1:4], [-1, -1, -1])
    assert not dense["adu"].numpy()[1:4].any()
    assert (digits["hits"].numpy()[1:4] == -1).all()
    known = exported.generator.serving_default(sensor=sensors[[0, 4]], seed=SEEDS[[0, 4]])
    np.testing.assert_array_equal(dense["adu"].numpy()[[0, 4]], known["adu"])


def test_the_manifest_holds_the_origin(folder: Path, trained: Trained) -> None:
    table = json.loads((folder / "manifest.json").read_text())
    assert table["recipe"] == "toy"
    assert table["calibrated"] is True
    assert table["seed"] == trained.config.training.seed
    assert table["algorithm"] == "pxd_gan"
    assert table["schema"] == json.loads(trained.schema.to_json())
    assert table["variants"] == ["uncalibrated", "calibrated"]
    assert table["identity"] == trained.identity
    assert set(table["sha256"]) == {"model.weights.h5", "calibration.npz"}
    for name in ("model.weights.h5", "calibration.npz"):
        assert table["sha256"][name] == checksum(trained.folder / name)
    assert set(table["versions"]) == {"kerasgen", "keras", "tensorflow"}


def test_versions_count_up_and_are_never_touched(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "toy" / "7").mkdir(parents=True)
    (tmp_path / "toy" / "7" / "saved_model.pb").write_bytes(b"seven")
    (tmp_path / "toy" / "notes").mkdir()
    new = export_model(trained, tmp_path, "toy")
    assert new == tmp_path / "toy" / "8"
    assert (tmp_path / "toy" / "7" / "saved_model.pb").read_bytes() == b"seven"
    assert sorted(os.listdir(tmp_path / "toy")) == ["7", "8", "notes"]


def test_names_of_versions_are_read_as_tensorflow_serving_reads_them(tmp_path: Path) -> None:
    def export(name: str) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "saved_model.pb").touch()

    assert not is_exported(tmp_path / "missing")
    for name in ("1.5", "v2", "-1", "1_0", "²", "٣", str(2**63), "9" * 30):
        export(name)
    assert not is_exported(tmp_path)
    assert versions(tmp_path) == {}
    with pytest.raises(InputError, match="holds no exported model"):
        newest_version(tmp_path)
    export("00000123")
    assert is_exported(tmp_path)
    assert newest_version(tmp_path) == tmp_path / "00000123"
    (tmp_path / "130").touch()  # a file, no version; its name is taken
    assert newest_version(tmp_path) == tmp_path / "00000123"
    partial = tmp_path / ".partial"
    partial.mkdir()
    assert claim_version(partial, tmp_path) == tmp_path / "131"
    export("123")
    assert newest_version(tmp_path) == tmp_path / "123"
    export(str(2**63 - 1))
    partial.mkdir()
    with pytest.raises(InputError, match="no number is left"):
        claim_version(partial, tmp_path)


def test_a_version_is_claimed_once(tmp_path: Path) -> None:
    """Sixteen concurrent claims get sixteen versions, each with its own content."""
    partials = []
    for i in range(16):
        partial = tmp_path / f".partial-{i}"
        partial.mkdir()
        (partial / "saved_model.pb").write_text(str(i))
        partials.append(partial)
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda p: claim_version(p, tmp_path), partials))
    assert sorted(int(p.name) for p in found) == list(range(1, 17))
    assert [(p / "saved_model.pb").read_text() for p in found] == [str(i) for i in range(16)]


def test_a_failed_export_leaves_nothing(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(KeyboardInterrupt):
        export_model(trained, tmp_path, "toy")
    assert not list(tmp_path.iterdir())


def test_an_exported_model_generates(folder: Path, trained: Trained) -> None:
    """Found by the folder of its version, or by the folder of its versions."""
    expected = PIXELS.generate(load_model(str(trained.folder)), range(2), 4)
    assert len(expected.adu) > 20
    for run in (folder, folder.parent):
        assert is_exported(run)
        found = PIXELS.generate(load_model(str(run)), range(2), 4)
        for name, values in vars(expected).items():
            np.testing.assert_array_equal(getattr(found, name), values, err_msg=name)
    with pytest.raises(InputError, match="was exported with calibration"):
        load_model(str(folder), calibrated=False)


def test_events_of_an_exported_model_are_masked(folder: Path, tmp_path: Path) -> None:
    mask = tmp_path / "mask.csv"
    mask.write_text("sensor,row,col,kind\n1.1.1,*,0-23,dead\n")
    hits, plain = (kerasgen.generate(kerasgen.load(folder, mask=x), 4) for x in (mask, None))
    silent = (plain.sensor[plain.image] == 0) & (plain.col < 24)
    assert silent.any()
    expected = plain.where(~silent)
    for name, values in vars(expected).items():
        np.testing.assert_array_equal(getattr(hits, name), values, err_msg=name)


def test_channels_and_high_charges(tmp_path: Path) -> None:
    run = load_trained(write_toy_run(tmp_path / "run", (2, 6), max_charge=1000))
    exported = load_exported(export_model(run, tmp_path / "out", "toy"))
    assert exported.generator.types == (2, 6)
    answer = exported.generator.serving_default(**INPUTS)
    dense, types = answer["adu"].numpy(), answer["type"].numpy()
    assert (dense.shape, dense.dtype) == ((5, 20, 48), np.uint16)
    assert (types.shape, types.dtype) == ((5, 20, 48), np.uint8)
    np.testing.assert_array_equal(types > 0, dense > 0)
    digits = exported.generator.digits(**INPUTS)
    assert digits["hits"].shape[2] == 3
    fired = digits["hits"].numpy()[..., 0] >= 0
    assert set(digits["type"].numpy()[fired].tolist()) == {2, 6}
    assert not digits["type"].numpy()[~fired].any()
    assert dense.max() > 255


def test_damaged_exports_are_bad_input(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "saved_model.pb").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"manifest\.json: no such file"):
        load_exported(copy)
    (copy / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match="not a manifest"):
        load_exported(copy)
    table = json.loads((folder / "manifest.json").read_text())
    table["files"] = {"saved_model.pb": checksum(copy / "saved_model.pb")}
    (copy / "manifest.json").write_text(json.dumps(table))
    with pytest.raises(InputError, match="damaged, it cannot be loaded"):
        load_exported(copy)
