"""Settings of Keras that a shell or ``keras.json`` holds: one line, or no influence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import kerasgen
from kerasgen import keras_import
from kerasgen.command import run
from kerasgen.errors import InputError
from kerasgen.keras_import import (
    check_keras,
    check_settings,
    check_tensorflow,
    choose_backend,
    settings_file,
)

RELEASED = {"superpixel_vae": 3, "jet_vae_flow": 3, "pxd_biggan": 1}
DEFAULTS = {"floatx": "float16", "epsilon": 0.1, "image_data_format": "channels_first"}
GENERATE = """
import sys, numpy as np, kerasgen
found = kerasgen.generate(kerasgen.load("superpixel_vae"), 3, seed=5)
import keras
assert keras.config.floatx() == "float16"
assert keras.config.image_data_format() == "channels_first"
np.savez(sys.argv[1], **vars(found))
"""


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {k: x for k, x in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=variables | environment,
    )


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KERAS_BACKEND", "")  # so that what is set later is undone
    monkeypatch.delenv("KERAS_BACKEND")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return tmp_path / "keras.json"


@pytest.mark.parametrize("backend", ["torch", "numpy", "nonsense"])
def test_another_backend_is_one_line(
    backend: str, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.write_text(json.dumps({"backend": backend}))
    with pytest.raises(InputError, match=f"{settings}: the backend '{backend}' was asked for"):
        choose_backend()
    for allowed in ("tensorflow", "jax"):
        monkeypatch.setenv("KERAS_BACKEND", allowed)  # it takes precedence, as in Keras
        choose_backend()
        assert os.environ["KERAS_BACKEND"] == allowed
    monkeypatch.setenv("KERAS_BACKEND", backend)
    with pytest.raises(InputError, match=r"KERAS_BACKEND: .* \(allowed: tensorflow, jax\); set"):
        choose_backend()


def without(monkeypatch: pytest.MonkeyPatch, *missing: str) -> None:
    """Have packages count as not installed."""
    monkeypatch.setattr(keras_import, "is_installed", lambda package: package not in missing)


def test_jax_is_taken_where_tensorflow_is_not_installed(
    settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose_backend()
    assert "KERAS_BACKEND" not in os.environ  # TensorFlow, the default
    without(monkeypatch, "tensorflow")
    settings.write_text('{"backend": "tensorflow"}')  # as Keras writes it by itself
    choose_backend()
    assert os.environ["KERAS_BACKEND"] == "jax"


@pytest.mark.parametrize(
    ("asked", "missing", "text"),
    [("tensorflow", ["tensorflow"], "TensorFlow is not installed; install it, or JAX with"),
     ("jax", ["jax"], "JAX is not installed; install it, or TensorFlow with"),
     ("", ["tensorflow", "jax"], "TensorFlow is not installed")],
)  # fmt: skip
def test_a_backend_that_is_not_installed_is_one_line(
    asked: str, missing: list[str], text: str, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", asked)
    without(monkeypatch, *missing)
    with pytest.raises(InputError, match=text):
        choose_backend()


def test_what_needs_tensorflow_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    check_tensorflow("it")
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(InputError, match=r"^it: needs TensorFlow; set KERAS_BACKEND=tensorflow$"):
        check_tensorflow("it")
    without(monkeypatch, "tensorflow")
    with pytest.raises(InputError, match=r"^it: needs TensorFlow, which is not installed$"):
        check_tensorflow("it")


def test_nnx_is_one_line(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.write_text('{"nnx_enabled": true}')
    with pytest.raises(InputError, match=f"{settings}: nnx_enabled: kerasgen does not run on NNX"):
        choose_backend()
    monkeypatch.setenv("KERAS_NNX_ENABLED", "0")
    choose_backend()
    monkeypatch.setenv("KERAS_NNX_ENABLED", "True")
    with pytest.raises(InputError, match="KERAS_NNX_ENABLED: kerasgen does not"):
        choose_backend()


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", '"jax"', "\x00"])
def test_a_file_that_holds_no_settings_is_one_line(text: str, settings: Path) -> None:
    settings.write_text(text)
    with pytest.raises(InputError, match=f"{settings}: no settings of Keras") as caught:
        check_settings()
    assert "\n" not in str(caught.value)


def test_no_file_and_an_empty_table_are_fine(settings: Path) -> None:
    check_settings()
    settings.write_text("{}")
    check_settings()


def test_the_file_is_the_one_that_keras_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KERAS_HOME", raising=False)
    from keras.src.backend import config

    if "KERAS_HOME" not in os.environ:
        assert settings_file() == Path(config.keras_home()) / "keras.json"


def test_a_backend_that_keras_already_has(monkeypatch: pytest.MonkeyPatch) -> None:
    check_keras()
    monkeypatch.setattr(keras.config, "backend", lambda: "torch")
    with pytest.raises(InputError, match="keras: the backend 'torch'"):
        kerasgen.load("superpixel_vae")
    assert run(lambda argv: 0, []) == 2


def test_commands_and_python_refuse_another_backend(tmp_path: Path) -> None:
    out = str(tmp_path / "x.h5")
    command = ["-m", "kerasgen", "generate", "superpixel_vae", "--events", "1", "--out", out]
    done = python(*command, KERAS_BACKEND="numpy")
    assert done.returncode == 2
    assert done.stderr.startswith("kerasgen: KERAS_BACKEND: the backend 'numpy' was asked for")
    assert done.stderr.count("\n") == 1
    assert python("-m", "kerasgen", "list", KERAS_BACKEND="numpy").returncode == 0
    code = "import kerasgen\ntry: kerasgen.load('superpixel_vae')\nexcept ValueError as e: print(e)"
    assert "the backend 'torch'" in python("-c", code, KERAS_BACKEND="torch").stdout


@pytest.mark.parametrize(
    ("values", "text"),
    [({"floatx": "bfloat16"}, "floatx = 'bfloat16' (allowed: float16, float32, float64)"),
     ({"image_data_format": 1}, "image_data_format = 1 (allowed: channels_last, channels_first)"),
     ({"epsilon": 1}, "epsilon = 1 (allowed: a number with a point)")],
)  # fmt: skip
def test_values_that_keras_refuses_are_one_line(
    values: dict[str, object], text: str, settings: Path
) -> None:
    settings.write_text(json.dumps(values))
    with pytest.raises(InputError) as caught:
        check_settings()
    assert str(caught.value) == f"{settings}: {text}"


def test_a_limit_of_keras_that_is_no_number_is_one_line(
    settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_MAX_EPOCHS", "x")
    with pytest.raises(InputError, match=r"KERAS_MAX_EPOCHS = 'x' \(allowed: a whole number"):
        check_settings()


def test_tensorflow_too_reads_the_settings_of_keras(tmp_path: Path) -> None:
    (tmp_path / "keras.json").write_text("[]")
    command = ["-m", "kerasgen", "generate", "superpixel_vae", "--events", "1"]
    done = python(*command, "--out", str(tmp_path / "x.h5"), KERAS_HOME=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith(f"kerasgen: {tmp_path}/keras.json: no settings of Keras")
    assert done.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def expected() -> dict[str, dict[str, np.ndarray]]:
    found = {}
    for name, events in RELEASED.items():
        sample = kerasgen.generate(kerasgen.load(name), events, seed=5)
        found[name] = {key: np.asarray(x) for key, x in vars(sample).items()}
    return found


@pytest.mark.parametrize("name", RELEASED)
def test_released_models_do_not_depend_on_the_defaults_of_keras(
    name: str, expected: dict[str, dict[str, np.ndarray]]
) -> None:
    names = ("dtype_policy", "floatx", "image_data_format", "epsilon")
    before = [getattr(keras.config, x)() for x in names]
    try:
        for x, value in (DEFAULTS | {"dtype_policy": "mixed_float16"}).items():
            getattr(keras.config, f"set_{x}")(value)
        found = kerasgen.generate(kerasgen.load(name), RELEASED[name], seed=5)
        assert keras.config.dtype_policy().name == "mixed_float16"
        assert {x: getattr(keras.config, x)() for x in DEFAULTS} == DEFAULTS
    finally:
        for x, value in zip(names, before, strict=True):
            getattr(keras.config, f"set_{x}")(value)
    for key, values in expected[name].items():
        np.testing.assert_array_equal(np.asarray(getattr(found, key)), values, err_msg=key)


def test_settings_of_a_file_change_no_event(
    expected: dict[str, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    (tmp_path / "keras.json").write_text(json.dumps(DEFAULTS))
    out = tmp_path / "found.npz"
    done = python("-c", GENERATE, str(out), KERAS_HOME=str(tmp_path), TF_USE_LEGACY_KERAS="1")
    assert done.returncode == 0, done.stderr
    with np.load(out) as found:
        for key, values in expected["superpixel_vae"].items():
            np.testing.assert_array_equal(found[key], values, err_msg=key)


def test_hparams_need_no_keras_2() -> None:
    """TensorBoard's public module of HParams imports ``tf.keras``, which then must be Keras 2."""
    code = "import kerasgen.training.monitor, kerasgen.tuning.progress as p; print(p.__name__)"
    done = python("-c", code, TF_USE_LEGACY_KERAS="1")
    assert done.stdout == "kerasgen.tuning.progress\n", done.stderr
