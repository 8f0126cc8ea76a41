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
ENGINES = FAST, GEANT4 = "fast", "geant4"  # of the simulation
FAST_ALONE = ("electrons.py", "silicon.py", "straggling.py")  # what Geant4 does otherwise


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


def simulator_version(engine: str) -> str:
    """Hash of the simulator's code and parameters: other physics gets another cache file.

    Args:
        engine: "fast" or "geant4".
    """
    digest = hashlib.sha256()
    folder = resources.files("kerasgen.data.simulation")
    items = list(folder.iterdir())
    if engine == GEANT4:
        items = [i for i in items if i.name not in FAST_ALONE]
        items += (folder / "geant4").iterdir()
    for item in sorted(items, key=lambda i: i.name):
        if item.name.endswith((".py", ".json")):
            digest.update(item.read_bytes())
    return digest.hexdigest()[:10]
