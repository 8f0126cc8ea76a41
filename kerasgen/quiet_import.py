"""Keep TensorFlow's start-up notes off the terminal of a command.

``TF_CPP_MIN_LOG_LEVEL`` does not reach the notes that are written while the library is loaded
(tensorflow/tensorflow issue 100442), so those are taken out of standard error during the import.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

# "I0000 00:00:1795298093.700175    7399 port.cc:153] ...", and the line that announces such lines
NOTE = re.compile(
    rb"[IWE]\d{4} |\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWE] |WARNING: All log messages"
)


def quiet_tensorflow() -> None:
    """Hide the notes of a TensorFlow that is imported from now on.

    Does nothing where TensorFlow is not installed, or the environment sets
    ``TF_CPP_MIN_LOG_LEVEL``: 0 shows everything.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ or "tensorflow" in sys.modules:
        return
    if importlib.util.find_spec("tensorflow") is None:
        return
    # Without a driver every start reports that there is none, as an error; with one, errors count.
    driver = Path("/proc/driver/nvidia").exists()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2" if driver else "3"
    importlib.import_module("absl.logging")  # first: it makes its logger of a class of its own
    logging.getLogger("absl").setLevel(logging.ERROR)
    sys.meta_path.insert(0, _QuietFinder())


class _QuietFinder(MetaPathFinder):
    """Finds ``tensorflow`` as the others do, to have it executed without notes."""

    searching = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "tensorflow" or self.searching:
            return None
        self.searching = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self.searching = False
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_quietly(module: ModuleType) -> None:
                with without_notes():
                    execute(module)

            spec.loader.exec_module = execute_quietly  # type: ignore[method-assign]
        return spec


@contextmanager
def without_notes() -> Iterator[None]:
    """Hold back standard error, libraries' included, and release it without the notes."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
            held.seek(0)
            os.write(2, b"".join(line for line in held if not NOTE.match(line)))
