"""The cache of simulated and downloaded events."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from kerasgen.errors import InputError, RunFailure

VARIABLE = "KERASGEN_CACHE"


def cache_folder() -> Path:
    """The folder of the cache: $KERASGEN_CACHE, or kerasgen in the user's cache.

    Raises:
        InputError: the user has no home folder.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kerasgen"
    except RuntimeError:
        raise InputError(f"no home folder for the cache; {VARIABLE} names a folder") from None


@contextmanager
def writable_cache() -> Iterator[None]:
    """Say how to move the cache where it cannot be written.

    Raises:
        RunFailure: it cannot; names the file.
    """
    folder = Path(os.path.realpath(cache_folder()))
    try:
        yield
    except OSError as error:
        path = Path(os.path.realpath(str(error.filename)))
        if folder not in (path, *path.parents) and path not in folder.parents:
            raise
        raise RunFailure(
            f"{path}: the cache cannot be written ({error.strerror}); {VARIABLE} names another "
            "folder for it"
        ) from None


def simulator_version() -> str:
    """Hash of the simulator's code and parameters: other physics gets another cache file."""
    digest = hashlib.sha256()
    folder = resources.files("kerasgen.data.simulation")
    for item in sorted(folder.iterdir(), key=lambda f: f.name):
        if item.name.endswith((".py", ".json")):
            digest.update(item.read_bytes())
    return digest.hexdigest()[:10]
