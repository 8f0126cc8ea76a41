"""What Geant4 finds at its import: the user's data files, or a folder that stands for them.

The import of ``geant4_pybind`` asks on standard input whether to download data files unless
``GEANT4_DATA_DIR`` names a folder with them. Without data files Geant4 cannot simulate the
photoelectric effect, Rayleigh scattering and bremsstrahlung; the rest needs none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from kerasgen.errors import InputError

MODULE = "geant4_pybind"
VARIABLE = "GEANT4_DATA_DIR"
ELECTROMAGNETIC = "G4EMLOW8.8"  # data files of Geant4 11.4
NUCLEAR = "G4ENSDFSTATE3.0"
DE_EXCITATION = "PhotonEvaporation6.1.2"


def check_installed() -> None:
    """Raise InputError if the extra is not installed."""
    if find_spec(MODULE) is None:
        raise InputError("geant4-pybind is not installed: pip install 'kerasgen[geant4]'")


def has_data_files(environment: Mapping[str, str]) -> bool:
    """Return whether the environment names Geant4's data files."""
    folder = environment.get(VARIABLE)
    if not folder:
        return False
    parts = [Path(folder) / name for name in (ELECTROMAGNETIC, NUCLEAR, DE_EXCITATION)]
    return all(part.is_dir() and any(part.iterdir()) for part in parts)


def uses_data_files() -> bool:
    """Return whether Geant4 will find data files."""
    return has_data_files(os.environ)


@contextmanager
def data_folder() -> Iterator[tuple[Path, bool]]:
    """The folder of the user's data files and True, or one that stands for it and False."""
    if has_data_files(os.environ):
        yield Path(os.environ[VARIABLE]), True
        return
    with TemporaryDirectory(prefix="kerasgen-geant4-") as name:
        folder = Path(name)
        for part in (ELECTROMAGNETIC, NUCLEAR, DE_EXCITATION):
            (folder / part).mkdir()
        (folder / NUCLEAR / "ENSDFSTATE.dat").touch()
        yield folder, False


def use_data_folder(folder: Path) -> None:
    """Let Geant4 look for data files in ``folder``; before its import."""
    os.environ[VARIABLE] = str(folder)
