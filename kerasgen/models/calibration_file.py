"""Arrays of the calibration of a run."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from kerasgen.errors import InputError


def read_arrays(path: Path, *names: str, optional: Collection[str] = ()) -> dict[str, Any]:
    """Arrays of a calibration file, by name.

    Args:
        path: of ``calibration.npz``.
        names: of the arrays.
        optional: names of more, of which a file has all or none.

    Raises:
        InputError: missing or damaged.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; --no-calibration goes without")
    try:
        # np.load on a name leaves the file open when it fails.
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            if any(name in file for name in optional):
                names += tuple(optional)
            return {name: file[name] for name in names}
    except Exception as e:  # damaged files reach zipfile, zlib, tokenize and more
        raise InputError(f"{path}: not a calibration ({type(e).__name__}: {e})") from None
