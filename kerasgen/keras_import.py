"""Keras is imported with a backend that kerasgen runs on, or refused in one line.

Keras takes its settings from ``KERAS_BACKEND``, ``KERAS_HOME`` and ``keras.json`` while it is
imported, and answers to some of them with a traceback. Commands that need no Keras do not ask.
The values have no influence on a model: every layer has its own precision and data format.
Where nothing names a backend and TensorFlow is not installed, JAX is taken.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from kerasgen.errors import InputError

DEFAULT = "tensorflow"
BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX"}
VALUES = {
    "floatx": ("float16", "float32", "float64"),
    "image_data_format": ("channels_last", "channels_first"),
}
LIMITS = ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH")


def check_keras() -> None:
    """Check Keras's settings when it is imported from now on, or its backend if it is there.

    Raises:
        InputError: it is there, with another backend.
    """
    keras = sys.modules.get("keras")
    if keras is not None:
        check_backend(keras.config.backend(), "keras")
    elif not any(isinstance(finder, _CheckingFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _CheckingFinder())


def check_backend(backend: object, place: str) -> None:
    """Raise InputError for a backend that kerasgen does not run on, set at ``place``."""
    if backend not in BACKENDS:
        raise InputError(
            f"{place}: the backend {backend!r} was asked for (allowed: {', '.join(BACKENDS)}); "
            "set KERAS_BACKEND to one of them"
        )


def check_tensorflow(what: str) -> None:
    """Raise InputError unless TensorFlow is installed, and is or will be Keras's backend.

    Args:
        what: needs it, for the message.
    """
    keras = sys.modules.get("keras")
    if not is_installed("tensorflow"):
        raise InputError(f"{what}: needs TensorFlow, which is not installed")
    if (keras.config.backend() if keras else wanted_backend()[0]) != "tensorflow":
        raise InputError(f"{what}: needs TensorFlow; set KERAS_BACKEND=tensorflow")


def is_installed(package: str) -> bool:
    """Whether a package can be imported; it is not."""
    return package in sys.modules or importlib.util.find_spec(package) is not None


def check_settings() -> None:
    """Check what Keras, and the old Keras inside TensorFlow, are about to read.

    Raises:
        InputError: a settings file that holds no settings, or a value that Keras does not take.
    """
    path = settings_file()
    table = read_settings(path)
    for key, allowed in VALUES.items():
        if key in table and table[key] not in allowed:
            names = ", ".join(allowed)
            raise InputError(f"{path}: {key} = {table[key]!r} (allowed: {names})")
    if not isinstance(table.get("epsilon", 0.0), float):
        raise InputError(f"{path}: epsilon = {table['epsilon']!r} (allowed: a number with a point)")
    for name in LIMITS:
        if not os.environ.get(name, "1").isdecimal():
            raise InputError(f"{name} = {os.environ[name]!r} (allowed: a whole number, or unset)")


def choose_backend() -> None:
    """Check the backend that Keras is about to take; JAX where nothing names another that is there.

    Raises:
        InputError: the settings ask for a backend that kerasgen does not run on, or that is not
            installed.
    """
    path = settings_file()
    switch = os.environ.get("KERAS_NNX_ENABLED")
    if switch.lower() in ("1", "true") if switch else read_settings(path).get("nnx_enabled"):
        place = "KERAS_NNX_ENABLED" if switch else f"{path}: nnx_enabled"
        raise InputError(f"{place}: kerasgen does not run on NNX: unset it")
    backend, place = wanted_backend()
    check_backend(backend, place)
    if not is_installed(backend):
        # Keras itself writes "tensorflow" into its file: that is nobody's wish.
        if backend != DEFAULT or place == "KERAS_BACKEND" or not is_installed("jax"):
            other = next(x for x in BACKENDS if x != backend)
            raise InputError(
                f"{place}: {BACKENDS[backend]} is not installed; install it, or "
                f"{BACKENDS[other]} with KERAS_BACKEND={other}"
            )
        os.environ["KERAS_BACKEND"] = "jax"


def wanted_backend() -> tuple[str, str]:
    """The backend that the settings of Keras ask for, and what says so."""
    wanted = os.environ.get("KERAS_BACKEND")
    if wanted:
        return wanted, "KERAS_BACKEND"
    path = settings_file()
    return read_settings(path).get("backend", DEFAULT), str(path)


def settings_file() -> Path:
    """The file that Keras reads, by its own rule; it need not be there."""
    if "KERAS_HOME" in os.environ:
        return Path(os.environ["KERAS_HOME"]).expanduser() / "keras.json"
    home = Path.home()
    return (home if os.access(home, os.W_OK) else Path("/tmp")) / ".keras" / "keras.json"


def read_settings(path: Path) -> dict[str, Any]:
    """The settings of a file of Keras; none where there is no file.

    Raises:
        InputError: it cannot be read, or is no table in JSON.
    """
    if not path.exists():
        return {}
    try:
        table = json.loads(path.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: no settings of Keras ({error}); mend or delete it") from None
    if not isinstance(table, dict):
        raise InputError(f'{path}: no settings of Keras (expected {{"backend": ...}}); delete it')
    return table


class _CheckingFinder(MetaPathFinder):
    """Finds nothing; it has the settings checked before TensorFlow and Keras read them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in ("tensorflow", "keras"):
            check_settings()
        if fullname == "keras":
            choose_backend()
        return None
