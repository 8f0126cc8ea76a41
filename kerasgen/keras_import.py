"""Keras is imported with the backend that kerasgen needs, or refused in one line.

Keras takes its settings from ``KERAS_BACKEND``, ``KERAS_HOME`` and ``keras.json`` while it is
imported, and answers to some of them with a traceback. Commands that need no Keras do not ask.
"""

from __future__ import annotations

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

BACKEND = "tensorflow"


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
    if backend != BACKEND:
        raise InputError(
            f"{place}: the backend {backend!r} was asked for, kerasgen needs {BACKEND!r}: "
            f"set KERAS_BACKEND={BACKEND}"
        )


def check_settings() -> None:
    """Check what Keras is about to read.

    Raises:
        InputError: another backend, or a settings file that holds no settings.
    """
    path = settings_file()
    table = read_settings(path)
    wanted = os.environ.get("KERAS_BACKEND")
    if wanted:
        check_backend(wanted, "KERAS_BACKEND")
    else:
        check_backend(table.get("backend", BACKEND), str(path))


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
        table = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: no settings of Keras ({error}); mend or delete it") from None
    if not isinstance(table, dict):
        raise InputError(f'{path}: no settings of Keras (expected {{"backend": ...}}); delete it')
    return table


class _CheckingFinder(MetaPathFinder):
    """Finds ``keras`` as the other finders do, and has its settings checked first."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "keras":
            return None
        check_settings()
        found = (x.find_spec(fullname, path, target) for x in sys.meta_path if x is not self)
        spec = next((x for x in found if x is not None), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_in_one_line(module: ModuleType) -> None:
                try:
                    execute(module)
                except (ValueError, AttributeError, TypeError, AssertionError) as error:
                    raise InputError(
                        f"Keras cannot be imported ({error}); its settings are {settings_file()} "
                        "and the variables KERAS_..."
                    ) from None

            spec.loader.exec_module = execute_in_one_line  # type: ignore[method-assign]
        return spec
