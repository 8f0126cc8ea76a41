"""What Geant4 finds at its import: the user's data files, or a folder that stands for them.

The import of ``geant4_pybind`` asks on standard input whether to download data files unless
``GEANT4_DATA_DIR`` names a folder with them. Without data files Geant4 cannot simulate the
photoelectric effect, Rayleigh scattering and bremsstrahlung; the rest needs none.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from kerasgen.errors import InputError

MODULE = "geant4_pybind"
VARIABLE = "GEANT4_DATA_DIR"
ELECTROMAGNETIC = "G4EMLOW8.8"  # data files of Geant4 11.4
NUCLEAR = "G4ENSDFSTATE3.0"
DE_EXCITATION = "PhotonEvaporation6.1.2"
# Variables of single data sets, as the shells of experiments set them for another Geant4.
OTHER_VARIABLES = ("G4LEDATA", "G4ENSDFSTATEDATA", "G4LEVELGAMMADATA")


def check_installed() -> None:
    """Raise InputError if the extra is not installed."""
    if find_spec(MODULE) is None:
        raise InputError("geant4-pybind is not installed: pip install 'kerasgen[geant4]'")


def uses_data_files() -> bool:
    """Return whether the environment names Geant4's data files."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return False
    parts = [Path(folder) / name for name in (ELECTROMAGNETIC, NUCLEAR, DE_EXCITATION)]
    return all(part.is_dir() and any(part.iterdir()) for part in parts)


def data_folder(place: Path) -> Path:
    """The folder of the user's data files, or one below ``place`` that stands for it.

    Raises:
        OSError: it cannot be made.
    """
    if uses_data_files():
        return Path(os.environ[VARIABLE])
    folder = place / "no-data-files"
    for part in (ELECTROMAGNETIC, NUCLEAR, DE_EXCITATION):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / NUCLEAR / "ENSDFSTATE.dat").touch()
    return folder


def use_data_folder(folder: Path) -> None:
    """Let Geant4 look for data files in ``folder`` alone; before its import."""
    for name in OTHER_VARIABLES:
        os.environ.pop(name, None)
    os.environ[VARIABLE] = str(folder)
