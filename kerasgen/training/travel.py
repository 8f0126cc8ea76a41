"""The travel form of a run: its last checkpoint in float16, in small files, for another machine.

Matrices are rounded to float16; vectors, numbers and step counters stay exact. The moments of the
optimisers stay behind: first moments restart at 0, and second moments at the largest one of their
variable, so that steps begin small and grow as these decay. Exact resume is for one machine alone.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from kerasgen.atomic import make_folder
from kerasgen.errors import InputError
from kerasgen.run_folder import CONFIG, LAST, METRICS, SCHEMA, write_bytes

TRAVEL = "travel"  # folder of the files
MAX_FILE, MAX_BYTES = 15_000_000, 35_000_000
AVERAGE = "ema"  # the moving average, which restarts from what it averages where space is short
AVERAGED = ("generator", "fields")  # what that is, by algorithm


def pack(run: Path, out: Path) -> tuple[int, bool]:
    """Write the travel form of a run into a new folder.

    Args:
        run: run folder with a checkpoint.
        out: the folder, which takes the place of the run elsewhere.

    Returns:
        Bytes of the weights, and whether they hold the moving averages.

    Raises:
        InputError: no checkpoint, a weight beyond the range of float16, or too many weights.
    """
    if not (run / LAST).is_file():
        raise InputError(f"{run / LAST}: no such checkpoint; a run is packed while it trains")
    content, whole = travel_content(run / LAST), True
    if len(content) > MAX_BYTES:
        content, whole = travel_content(run / LAST, leave_out=(AVERAGE,)), False
    if len(content) > MAX_BYTES:
        raise InputError(
            f"{run / LAST}: {len(content) / 1e6:.1f} MB in float16, allowed: {MAX_BYTES / 1e6:g} MB"
        )
    make_folder(out / TRAVEL)
    for name in (CONFIG, SCHEMA, METRICS):
        if (run / name).is_file():
            write_bytes(out / name, (run / name).read_bytes())
    starts = range(0, len(content), MAX_FILE)
    for number, start in enumerate(starts, 1):
        name = f"{number}-of-{len(starts)}"
        write_bytes(out / TRAVEL / name, content[start : start + MAX_FILE])
    return len(content), whole


def has_travelled(run: Path) -> bool:
    """Whether a run is in its travel form and has no checkpoint of this machine yet."""
    return (run / TRAVEL).is_dir() and not (run / LAST).is_file()


def unpack(run: Path) -> None:
    """Make the checkpoint of a run that has travelled.

    Raises:
        InputError: a file is missing or damaged.
    """
    named = (re.fullmatch(r"\d+-of-(\d+)", x.name) for x in (run / TRAVEL).iterdir())
    last = max((int(x[1]) for x in named if x), default=1)
    files = [run / TRAVEL / f"{i}-of-{last}" for i in range(1, last + 1)]
    for path in files:
        if not path.is_file():
            raise InputError(f"{path}: no such file; the travel form is incomplete")
    try:
        content = b"".join(path.read_bytes() for path in files)
        target = io.BytesIO()
        with h5py.File(io.BytesIO(content)) as old, h5py.File(target, "w") as new:
            for name in old:
                old.copy(name, new)
            if old.attrs.get(f"without {AVERAGE}", False):
                (network,) = (x for x in AVERAGED if x in old)
                old.copy(network, new, AVERAGE)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{run / TRAVEL}: damaged ({reason})") from None
    make_folder((run / LAST).parent)
    write_bytes(run / LAST, target.getvalue())


def travel_content(path: Path, leave_out: tuple[str, ...] = ()) -> bytes:
    """A checkpoint of Keras in float16 without moments, an HDF5 file in memory.

    Args:
        path: of the checkpoint.
        leave_out: networks to leave out.
    """
    content = io.BytesIO()  # HDF5 on a full disk would end the process
    with h5py.File(path) as old, h5py.File(content, "w") as new:
        for name, array in arrays(old):
            network = name.split("/")[0]
            if network in leave_out:
                new.attrs[f"without {network}"] = True
                continue
            if "optimizer" in network:
                small = without_moments(array, is_second_moment(old, name))
            else:
                small = in_float16(path, name, array)
            compressed = {"compression": "gzip", "shuffle": True} if small.ndim else {}
            new.create_dataset(name, data=small, **compressed)
    return content.getvalue()


def arrays(file: h5py.File) -> Iterator[tuple[str, Any]]:
    """Every array of a file with its path."""
    names: list[str] = []
    file.visit(names.append)
    for name in names:
        if isinstance(file[name], h5py.Dataset):
            yield name, file[name][()]


def is_second_moment(file: h5py.File, name: str) -> bool:
    """Whether a variable of Adam is one: the last ones are pairs of first and second moments."""
    group, number = name.rsplit("/", 1)
    return (len(file[group]) - int(number)) % 2 == 1


def without_moments(array: Any, second: bool) -> Any:
    """What an optimiser restarts from: counters as they are, no direction, the largest square."""
    if not array.ndim or array.dtype.kind != "f":
        return array
    return np.full_like(array, array.max(initial=0) if second and (array >= 0).all() else 0)


def in_float16(path: Path, name: str, array: Any) -> Any:
    """Matrices in float16, all else as it is."""
    if array.ndim < 2 or array.dtype != np.float32:
        return array
    with np.errstate(over="ignore"):
        small = array.astype(np.float16)
    if not np.isfinite(small).all():
        raise InputError(f"{path}: {name} is beyond the range of 16 bit")
    return small
