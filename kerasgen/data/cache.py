"""The cache of simulated and downloaded events."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata, resources
from pathlib import Path

from kerasgen.data.simulation.geant4.environment import check_installed, uses_data_files
from kerasgen.errors import InputError, RunFailure

VARIABLE = "KERASGEN_CACHE"
ENGINES = FAST, GEANT4 = "fast", "geant4"  # of the simulation
# Files of the simulation that leave the events of Geant4 as they are.
NOT_FOR_GEANT4 = (
    "compton.py", "electron_physics.py", "electrons.py", "matter.py", "passages.py", "paths.py",
    "silicon.py", "straggling.py", "targets.json",
    "environment.py", "workers.py",
)  # fmt: skip


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

    That of Geant4 depends on its version and on whether it has data files as well.

    Args:
        engine: "fast" or "geant4".

    Raises:
        InputError: Geant4 is not installed.
    """
    digest = hashlib.sha256()
    folder = resources.files("kerasgen.data.simulation")
    items = list(folder.iterdir())
    if engine == GEANT4:
        items += (folder / "geant4").iterdir()
        items = [i for i in items if i.name not in NOT_FOR_GEANT4]
    for item in sorted(items, key=lambda i: i.name):
        if item.name.endswith((".py", ".json")):
            digest.update(item.read_bytes())
    if engine == GEANT4:
        check_installed()
        wheel = metadata.version("geant4-pybind")
        digest.update(f"{wheel} {uses_data_files()}".encode())
    return digest.hexdigest()[:10]
